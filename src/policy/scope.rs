//! Which pods a namespace's scope takes in.
//!
//! ```text
//!                  names a system   uses an accelerator   any other
//!  labelled              ✓
//!  accelerated           ✓                    ✓
//!  all                   ✓                    ✓                   ✓
//! ```
//!
//! The API server decides the same by expressions that `admission` makes of the same [`Accelerators`].

use k8s_openapi::{api::core::v1::PodSpec, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use super::Accelerators;
use crate::api::{SYSTEM_LABEL, Scope};

/// The narrowest scope that takes a pod in, or what a template makes: it is governed in namespaces of that scope and
/// of wider ones.
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
    fn a_wider_scope_takes_in_what_a_narrower_one_does() {
        let gpu: PodSpec =
            serde_json::from_value(json!({ "containers": [], "resourceClaims": [{ "name": "g" }] }))
                .expect("a PodSpec");
        let plain = PodSpec::default();
        let taken_in = |labels: &[&str], pod| {
            let labels: BTreeMap<_, _> = labels.iter().map(|l| ((*l).to_owned(), String::new())).collect();
            let metadata = ObjectMeta { labels: Some(labels), ..ObjectMeta::default() };
            Scope::ALL.map(|scope| narrowest_scope(&metadata, pod, &Accelerators::default()) <= scope)
        };
        assert_eq!(taken_in(&[SYSTEM_LABEL], &plain), [true, true, true]);
        assert_eq!(taken_in(&[SYSTEM_LABEL], &gpu), [true, true, true]);
        assert_eq!(taken_in(&[], &gpu), [false, true, true]);
        assert_eq!(taken_in(&[], &plain), [false, false, true]);
    }
}
