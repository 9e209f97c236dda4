//! The `DecisionSubject` resource: the full content that people decided about. The resource stays after the
//! `ModelVersion` and the `AISystem` are deleted.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{AISystemSpec, Digest, ModelVersionSpec};

/// Full content that one subject digest identifies. The operator writes this object at the first decision on the
/// digest. No user can change or delete the object. Kubernetes deletes it with its namespace.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "assent.dev",
    version = "v1alpha1",
    kind = "DecisionSubject",
    doc = "The full content of a decision. Only the operator writes it, and nobody can change or delete it.",
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
    /// Digest that the decisions name. The name of this object is the digest with a dash instead of the colon.
    /// Example: `sha256:` and 64 hexadecimal digits.
    pub subject_digest: Digest,

    /// Name of the `ModelVersion` at the first decision. Other versions can have the same content.
    /// Example: `credit-scorer-v1`.
    #[schemars(length(min = 1, max = 253))]
    pub model_version: String,

    /// Types of documents that the risk level required at the first decision. The subject digest covers these
    /// documents. Default: none. Example: `[impact-assessment]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63)))]
    pub required_documents: Vec<String>,

    /// Whether the risk level required risks at the first decision. If so, the subject digest covers `spec.risks` of
    /// the `AISystem`. Default: false. Example: `true`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required_risks: bool,

    /// Whether, at the first decision, the risk level withheld versions while the review of a risk was overdue. If so,
    /// the subject digest covers the review dates of the risks. Default: false. Example: `true`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required_risk_review: bool,

    /// Whether, at the first decision, the risk level withheld versions while the review of a document was overdue. If
    /// so, the subject digest covers the review dates of the required documents. Default: false. Example: `true`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required_document_review: bool,

    /// Copy of the spec of the `AISystem` at the first decision. The subject digest covers the purpose, the
    /// name of the risk level, the jurisdictions, the hosted models, and the required risks and documents.
    /// Example: `{ riskLevel: high, … }`.
    pub ai_system: AISystemSpec,

    /// Copy of the spec of the `ModelVersion`. The subject digest covers all of it.
    /// Example: `{ system: credit-scorer, … }`.
    pub version: ModelVersionSpec,
}

impl DecisionSubject {
    /// The name of the `DecisionSubject` for `digest`.
    pub fn name_of(digest: &Digest) -> String {
        digest.to_string().replace(':', "-")
    }
}
