//! The object of a pod without its `managedFields`. No decision reads them. They are half of the bytes that the API
//! server sends, and most of the work to parse a hundred thousand pods.
//!
//! ```text
//!  metadata ─► without managedFields ─┐
//!  spec, status ──────────────────────┴─► TrimmedPod ─► Pod
//! ```

use k8s_openapi::api::core::v1::{Pod, PodSpec, PodStatus};
use kube::{Resource, core::ObjectMeta};
use serde::Deserialize;

use crate::watch::{Lenient, Metadata};

/// The object of a pod without its `managedFields`.
#[derive(Resource, Clone, Debug, Deserialize)]
#[resource(inherit = "Pod")]
pub(super) struct TrimmedPod {
    #[serde(with = "Metadata")]
    metadata: ObjectMeta,
    spec: Option<PodSpec>,
    status: Option<PodStatus>,
}

impl From<Lenient<TrimmedPod>> for TrimmedPod {
    /// An unreadable pod has no runtime that could be cleared. If it counted as missing, it would run on.
    fn from(pod: Lenient<TrimmedPod>) -> Self {
        pod.0.unwrap_or_else(|unreadable| Self { metadata: unreadable.metadata, spec: None, status: None })
    }
}

impl From<TrimmedPod> for Pod {
    fn from(TrimmedPod { metadata, spec, status }: TrimmedPod) -> Self {
        Self { metadata, spec, status }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::SYSTEM_LABEL;

    #[test]
    fn a_pod_that_cannot_be_read_is_still_a_pod_of_its_system() {
        let metadata = json!({ "name": "p", "namespace": "n", "labels": { SYSTEM_LABEL: "scorer" } });
        let pod = json!({ "metadata": metadata, "spec": { "containers": 1 } });
        let pod: Lenient<TrimmedPod> = serde_json::from_str(&pod.to_string()).expect("never fails");
        assert!(pod.0.is_err());
        let pod = TrimmedPod::from(pod);
        assert_eq!(pod.metadata.labels.expect("labels")[SYSTEM_LABEL], "scorer");
        assert_eq!(pod.spec, None);
    }
}
