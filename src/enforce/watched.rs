//! A pod as the watch reads it: without its `managedFields`, of which nothing is decided, and which are half of what
//! the API server sends and most of the work of reading it where there are a hundred thousand.
//!
//! ```text
//!  metadata ─► all but managedFields ─┐
//!  spec, status ──────────────────────┴─► Pod
//! ```

use k8s_openapi::api::core::v1::{Pod, PodSpec, PodStatus};
use kube::{Resource, core::ObjectMeta};
use serde::Deserialize;

use crate::watch::{Lenient, Metadata};

/// A pod whose `managedFields` were not read.
#[derive(Resource, Clone, Debug, Deserialize)]
#[resource(inherit = "Pod")]
pub struct Watched {
    #[serde(with = "Metadata")]
    metadata: ObjectMeta,
    spec: Option<PodSpec>,
    status: Option<PodStatus>,
}

impl From<Lenient<Watched>> for Watched {
    /// One that cannot be read has nothing that could be cleared. If it counted as missing, it would run on.
    fn from(pod: Lenient<Watched>) -> Self {
        pod.0.unwrap_or_else(|unreadable| Self { metadata: unreadable.metadata, spec: None, status: None })
    }
}

impl From<Watched> for Pod {
    fn from(Watched { metadata, spec, status }: Watched) -> Self {
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
        let pod: Lenient<Watched> = serde_json::from_str(&pod.to_string()).expect("never fails");
        assert!(pod.0.is_err());
        let pod = Watched::from(pod);
        assert_eq!(pod.metadata.labels.expect("labels")[SYSTEM_LABEL], "scorer");
        assert_eq!(pod.spec, None);
    }
}
