//! The pods that each scope of a namespace governs.
//!
//! ```text
//!  scope         pod names a system   pod uses an accelerator   any other pod
//!  labelled              ✓
//!  accelerated           ✓                      ✓
//!  all                   ✓                      ✓                     ✓
//! ```
//!
//! The module `admission` generates CEL expressions from the same [`Accelerators`], so that the API server selects the
//! same pods.

use k8s_openapi::{api::core::v1::PodSpec, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use super::Accelerators;
use crate::api::{SYSTEM_LABEL, Scope};

/// The narrowest scope that governs a pod or a pod template. A namespace governs the pod if the namespace has
/// this scope or a wider scope.
pub fn narrowest_scope(metadata: &ObjectMeta, pod: &PodSpec, accelerators: &Accelerators) -> Scope {
    let names_system = metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(SYSTEM_LABEL));
    match (names_system, accelerators.of(metadata.annotations.as_ref(), pod).next()) {
        (true, _) => Scope::Labelled,
        (false, Some(_)) => Scope::Accelerated,
        (false, None) => Scope::All,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_wider_scope_governs_all_pods_of_a_narrower_one() {
        let gpu: PodSpec =
            serde_json::from_value(json!({ "containers": [], "resourceClaims": [{ "name": "g" }] }))
                .expect("a PodSpec");
        let plain = PodSpec::default();
        let governed = |labels: &[&str], pod| {
            let labels: BTreeMap<_, _> = labels.iter().map(|l| ((*l).to_owned(), String::new())).collect();
            let metadata = ObjectMeta { labels: Some(labels), ..ObjectMeta::default() };
            Scope::ALL.map(|scope| narrowest_scope(&metadata, pod, &Accelerators::default()) <= scope)
        };
        assert_eq!(governed(&[SYSTEM_LABEL], &plain), [true, true, true]);
        assert_eq!(governed(&[SYSTEM_LABEL], &gpu), [true, true, true]);
        assert_eq!(governed(&[], &gpu), [false, true, true]);
        assert_eq!(governed(&[], &plain), [false, false, true]);
    }
}
