//! The `ModelVersion` resource: the exact runtime of one version of a model, and its provenance.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Conditions, Decimal, Digest, SharedRuntime, conditions_schema};

/// Exact runtime and provenance of one version of a model (ISO/IEC 42001 A.6.2, A.7). Immutable: create a new
/// `ModelVersion` for a change.
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
#[x_kube(validation = ("self == oldSelf", "a model version is immutable: create a new ModelVersion for the change"))]
pub struct ModelVersionSpec {
    /// Name of the `AISystem` of this namespace to which the version belongs. Example: `credit-scorer`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub system: String,

    /// Containers, volumes and host settings that a pod of this version must have. `kubectl assent capture`
    /// writes them for a workload.
    /// Example: `{ containers: [{ name: vllm, image: vllm/vllm-openai@sha256:… }] }`.
    pub runtime: SharedRuntime,

    /// Origin of the model, such as its data, base model and tests. The risk level can require some of these
    /// fields.
    /// Default: none. Example: `{ baseModel: { name: base-7b, digest: sha256:… } }`.
    #[serde(default, skip_serializing_if = "Provenance::is_empty")]
    pub provenance: Provenance,
}

/// Origin of a model (ISO/IEC 42001 A.7.5, EU AI Act annex IV).
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    /// Data on which the model was trained, tuned or grounded. Default: none.
    /// Example: `[{ name: consumer-loans-2019-2025, digest: sha256:… }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub data: Vec<Artifact>,
    /// Model from which this model was made. Default: none.
    /// Example: `{ name: base-7b, digest: sha256:… }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_model: Option<Artifact>,
    /// Architecture of the model as text. Default: none.
    /// Example: `Decoder-only transformer, 7 billion parameters`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub architecture: Option<String>,
    /// Reason for this version as text. Default: none. Example: `Longer context, retrained on 2025`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub rationale: Option<String>,
    /// Reports of the tests that the version passed. Default: none.
    /// Example: `[{ name: bias-report, digest: sha256:… }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub tests: Vec<Artifact>,
    /// Software bill of materials of the version. Default: none.
    /// Example: `{ name: sbom.cdx.json, digest: sha256:… }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sbom: Option<Artifact>,
}

impl Provenance {
    /// Whether no field of the provenance is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A part of the provenance of a version that a risk level can require.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Evidence {
    /// The field `provenance.data`.
    Data,
    /// The field `provenance.baseModel`.
    BaseModel,
    /// The field `provenance.architecture`.
    Architecture,
    /// The field `provenance.rationale`.
    Rationale,
    /// The field `provenance.tests`.
    Tests,
    /// The field `provenance.sbom`.
    Sbom,
}

/// A file or data set that people can fetch and check by its digest.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// Name of the artifact, for people. Example: `consumer-loans-2019-2025`.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// Address of the artifact. Default: none. Example: `s3://datasets/loans-2019-2025`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub uri: Option<String>,
    /// Digest of the content of the artifact. Example: `sha256:` and 64 hexadecimal digits.
    pub digest: Digest,
}

/// State of a version: whether it may run, the end of its clearance, and the reasons if it may not run.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelVersionStatus {
    /// Generation of the object that this status describes. Absent before the first status. Example: `1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Conditions of the version. `Cleared`: whether it may run. `Ready`, for tools that use kstatus: the version is
    /// cleared, or its system is decommissioned. `Stalled`: whether a person must act, because waiting does not help.
    /// `ClearanceExpiring`: only present while the clearance of the version ends soon. `IncidentOpen`: only present
    /// while an open incident concerns the version. Absent before the first status.
    /// Example: `[{ type: Cleared, status: "True", … }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Conditions,

    /// Digest that an approval of this version must name. Absent if the system does not exist.
    /// Example: `sha256:` and 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_digest: Option<Digest>,

    /// Time until which the version may run. Absent if the version may not run, or may run without an end.
    /// Example: `2027-03-31T00:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,

    /// Approvals of this version that count, at most 256. Absent if none counts.
    /// Example: `[{ name: credit-scorer-v1-risk-officer, role: risk-officer, user: alice@acme-bank.example }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub approvals: Vec<CountedApproval>,

    /// State of each assessment that the risk level requires. Absent if the level requires none.
    /// Example: `[{ name: fairness-sex, state: Missing, required: at most 0.05 }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub assessments: Vec<RequirementStatus>,
}

/// State of an assessment that the risk level requires.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequirementStatus {
    /// Name of the requirement in the risk level. Example: `fairness-sex`.
    #[schemars(length(max = 63))]
    pub name: String,
    /// State of the requirement: `Met`, `Expired`, `Inconclusive`, `Failed` or `Missing`. Example: `Met`.
    pub state: RequirementState,
    /// Required comparison, as text. Example: `at most 0.05`.
    #[schemars(length(max = 64))]
    pub required: String,
    /// Value of the newest signed result. If the requirement has a `confidenceLevel`, this is the worst of
    /// the value and both ends of the interval. Absent without a signed result. Example: `"0.031"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Decimal>,
    /// Distance from the value to the threshold. It is negative if the value does not meet the threshold.
    /// Absent without a signed result. Example: `"0.019"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub margin: Option<String>,
    /// Name of the `Assessment` with the newest signed result. Absent without a signed result.
    /// Example: `credit-scorer-v1-fairness`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub assessment: Option<String>,
    /// User name of the person who signed the result. Absent without a signed result.
    /// Example: `vera@acme-bank.example`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub signer: Option<String>,
    /// Time at which the result was measured. Absent without a signed result. Example: `2026-09-01T10:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub performed_at: Option<Time>,
    /// Time at which the result becomes too old. Only present if the requirement is met.
    /// Example: `2026-12-01T10:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,
    /// Name of an `Assessment` that awaits a signature in the required role and is at least as new as the
    /// signed result. If there are several, one that would not meet the requirement takes precedence. Absent
    /// if no assessment awaits a signature.
    /// Example: `credit-scorer-v1-fairness-2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub unsigned: Option<String>,
}

/// The state of an assessment that the risk level requires.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RequirementState {
    /// The newest signed result meets the requirement.
    Met,
    /// The newest signed result is too old.
    Expired,
    /// The newest signed result does not show whether the requirement is met.
    Inconclusive,
    /// The newest signed result does not meet the requirement.
    Failed,
    /// There is no signed result.
    Missing,
}

/// An approval that counts for a clearance.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CountedApproval {
    /// Name of the `Approval` object. Example: `credit-scorer-v1-risk-officer`.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Role in which the person approved. Example: `risk-officer`.
    #[schemars(length(max = 63))]
    pub role: String,
    /// User name of the approver. Example: `alice@acme-bank.example`.
    #[schemars(length(max = 1024))]
    pub user: String,
    /// Time until which the approval counts. Absent if the approval has no end. Example: `2027-03-31T00:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,
}
