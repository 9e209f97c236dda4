//! One version of a system's model: exactly what runs, and where it comes from.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Conditions, Digest, SharedRuntime, conditions_schema};

/// A version of a model as it runs, and its provenance (ISO/IEC 42001 A.6.2, A.7). Immutable.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "assent.dev",
    version = "v1alpha1",
    kind = "ModelVersion",
    doc = "One version of a model: its exact runtime and its provenance. Immutable.",
    namespaced,
    status = "ModelVersionStatus",
    derive = "PartialEq",
    shortname = "mv",
    category = "assent",
    printcolumn(name = "System", type_ = "string", json_path = ".spec.system"),
    printcolumn(
        name = "Cleared",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Cleared')].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Cleared')].reason"
    ),
    printcolumn(name = "Until", type_ = "string", json_path = ".status.notAfter"),
    printcolumn(
        name = "Author",
        type_ = "string",
        json_path = r".metadata.annotations.assent\.dev/author",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Digest", type_ = "string", json_path = ".status.subjectDigest", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Cleared')].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self == oldSelf", "a model version is immutable: create a new ModelVersion for what changed"))]
pub struct ModelVersionSpec {
    /// The `AISystem` of this namespace that it is a version of.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub system: String,

    /// What its pods must look like.
    pub runtime: SharedRuntime,

    /// Where it comes from.
    #[serde(default, skip_serializing_if = "Provenance::is_empty")]
    pub provenance: Provenance,
}

/// Where a model comes from (ISO/IEC 42001 A.7.5, EU AI Act annex IV).
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    /// The data it was trained, tuned or grounded on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub data: Vec<Artifact>,
    /// The model it was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_model: Option<Artifact>,
    /// What kind of model it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub architecture: Option<String>,
    /// Why this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub rationale: Option<String>,
    /// Reports of the tests it passed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub tests: Vec<Artifact>,
    /// Its bill of materials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sbom: Option<Artifact>,
}

impl Provenance {
    /// Whether nothing is stated.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The parts of a provenance that a risk level can require.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Evidence {
    /// `provenance.data`
    Data,
    /// `provenance.baseModel`
    BaseModel,
    /// `provenance.architecture`
    Architecture,
    /// `provenance.rationale`
    Rationale,
    /// `provenance.tests`
    Tests,
    /// `provenance.sbom`
    Sbom,
}

/// Something that can be fetched and checked.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// What it is called.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// Where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub uri: Option<String>,
    /// Its content.
    pub digest: Digest,
}

/// Whether a version may run, until when, and why not.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelVersionStatus {
    /// The generation that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// `Ready` and `Cleared`; `Stalled` when somebody has to act against a standing decision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Conditions,

    /// What an approval of this version signs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_digest: Option<Digest>,

    /// Until when it may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,

    /// The approvals that count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub approvals: Vec<CountedApproval>,
}

/// An approval that counts towards a clearance.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CountedApproval {
    /// The `Approval`.
    #[schemars(length(max = 253))]
    pub name: String,
    /// The role it was given in.
    #[schemars(length(max = 63))]
    pub role: String,
    /// Who gave it.
    #[schemars(length(max = 1024))]
    pub user: String,
    /// Until when it counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,
}
