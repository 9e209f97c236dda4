//! What somebody decided on, in full: it stays when the objects that described it are deleted or replaced.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{AISystemSpec, Digest, ModelVersionSpec};

/// The content that one subject digest stands for. The operator writes it when the first decision on the digest is
/// recorded; nobody changes or deletes it. It goes when its namespace goes.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "assent.dev",
    version = "v1alpha1",
    kind = "DecisionSubject",
    doc = "What somebody decided on, in full. Written by the operator alone, for good.",
    namespaced,
    derive = "PartialEq",
    shortname = "dsub",
    category = "assent",
    printcolumn(name = "System", type_ = "string", json_path = ".spec.version.system"),
    printcolumn(name = "Version", type_ = "string", json_path = ".spec.modelVersion"),
    printcolumn(name = "Level", type_ = "string", json_path = ".spec.aiSystem.riskLevel"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct DecisionSubjectSpec {
    /// The digest that the decisions name, such as `sha256:f4f8…`. The name of the object is the same with a dash.
    pub subject_digest: Digest,

    /// The name that the version had when the first decision was recorded. Others may have the same content.
    #[schemars(length(min = 1, max = 253))]
    pub model_version: String,

    /// The types of documents that the risk level required then, such as `impact-assessment`. The digests of these
    /// documents are part of the subject digest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63)))]
    pub required_documents: Vec<String>,

    /// The spec of the `AISystem` then. The subject digest covers its purpose, its risk level, its jurisdictions and
    /// the required documents.
    pub ai_system: AISystemSpec,

    /// The spec of the `ModelVersion`. The subject digest covers all of it.
    pub version: ModelVersionSpec,
}

impl DecisionSubject {
    /// The name of the object for `digest`.
    pub fn name_of(digest: &Digest) -> String {
        digest.as_str().replace(':', "-")
    }
}
