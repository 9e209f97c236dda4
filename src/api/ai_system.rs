//! The `AISystem` resource: the purpose, the owners and the risk level of an AI system.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Conditions, Digest, HostedModel, ReviewDates, Risk, conditions_schema};

/// Purpose, owners and risk level of an AI system in the inventory of the organisation (ISO/IEC 42001 A.4.2, A.6.2).
///
/// Pods name their system with the label `assent.dev/system`.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "assent.dev",
    version = "v1alpha1",
    kind = "AISystem",
    plural = "aisystems",
    doc = "An AI system: its purpose, owners and risk level (ISO/IEC 42001 A.4.2).",
    namespaced,
    status = "AISystemStatus",
    derive = "PartialEq",
    shortname = "ais",
    category = "assent",
    validation = Rule::new("self.metadata.name.size() <= 63").message("the name must have at most 63 characters, because pods carry it as a label value"),
    validation = Rule::new("!has(self.spec.decommission) || !has(self.spec.decommission.successor) || self.spec.decommission.successor != self.metadata.name").message("a system cannot be its own successor").field_path(".spec.decommission"),
    validation = Rule::new("!has(oldSelf.status) || !has(oldSelf.status.decommissioned) || !oldSelf.status.decommissioned || (has(self.spec.decommission) && self.spec.decommission.date <= oldSelf.spec.decommission.date)").message("the system is decommissioned, and this is final: create a new AISystem for its replacement").field_path(".spec.decommission"),
    printcolumn(name = "Level", type_ = "string", json_path = ".spec.riskLevel"),
    printcolumn(name = "Cleared", type_ = "string", json_path = ".status.conditions[?(@.type=='Cleared')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Cleared')].reason"),
    printcolumn(name = "Versions", type_ = "string", json_path = ".status.clearedVersions", description = "The model versions that may run"),
    printcolumn(name = "Until", type_ = "string", json_path = ".status.notAfter", description = "The earliest end of these clearances"),
    printcolumn(name = "Running", type_ = "integer", json_path = ".status.pods.running"),
    printcolumn(name = "Held", type_ = "integer", json_path = ".status.pods.held"),
    printcolumn(name = "Changed By", type_ = "string", json_path = r".metadata.annotations.assent\.dev/changed-by", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Cleared')].message", priority = 1)
)]
#[serde(rename_all = "camelCase")]
pub struct AISystemSpec {
    /// Purpose of the system and its intended users (EU AI Act article 3(12)). Approvers sign this text.
    /// Example: `Scores the creditworthiness of persons who apply for a consumer loan`.
    #[schemars(length(min = 1, max = 4096))]
    pub intended_purpose: String,

    /// Users and groups that are responsible for the system, by the names with which the API server
    /// authenticates them.
    /// Example: `[{ kind: Group, name: credit-ml }]`.
    #[schemars(length(min = 1, max = 32))]
    pub owners: Vec<Owner>,

    /// Name of the `RiskLevel` of the system. Approvers sign this name. Example: `high`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub risk_level: String,

    /// Jurisdictions in which the system is used. Approvers sign them. Default: none. Example: `[EU, CH]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 32)), extend("x-kubernetes-list-type" = "set"))]
    pub jurisdictions: Vec<String>,

    /// Organisation that provides the system, with its certifications. Default: none.
    /// Example: `{ name: Acme Bank SE }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,

    /// Documents about the system, such as an impact assessment (ISO/IEC 42001 A.5.3). Approvers sign the digests of
    /// the documents that the risk level requires. Default: none.
    /// Example: `[{ type: impact-assessment, uri: https://docs.example.org/ia.pdf }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub documentation: Vec<Document>,

    /// Risks of the system with their treatment (ISO/IEC 42001 6.1.2 to 6.1.4). Approvers sign the risks if the risk
    /// level requires them. Default: none. Example: the file `examples/chatbot/aisystem.yaml`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub risks: Vec<Risk>,

    /// Models that the system calls at a provider and that do not run in this cluster. Approvers sign all fields except
    /// `retiresAt`. Default: none. Example: `[{ name: summaries, provider: OpenAI, model: gpt-5 }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub hosted_models: Vec<HostedModel>,

    /// Organisations that supply hosted models, with their certifications (ISO/IEC 42001 A.10.3). Default: none.
    /// Example: `[{ name: OpenAI, certifications: [{ name: ISO/IEC 42001 }] }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub suppliers: Vec<Provider>,

    /// Other AI systems that this system needs, for example because it reads their output (EU AI Act annex IV 2(a)).
    /// The list has no effect on clearances. `kubectl assent decommission` refuses to end a listed system without
    /// `--force`. Default: none. Example: `[{ name: fraud-detector }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub depends_on: Vec<SystemReference>,

    /// Date and reason of the end of the system (NIST AI RMF GOVERN 1.7). From this date on, no pod of the system may
    /// run, and no user can undo the end. Default: none, so the system has no planned end.
    /// Example: `{ date: 2027-03-31T00:00:00Z, reason: replaced }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decommission: Option<Decommission>,
}

/// A user or group that owns a system, as in the `subjects` of a `RoleBinding`.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// Kind of the owner: `User` for a person, or `Group` for all members of a group. Default: `User`.
    /// Example: `Group`.
    #[serde(default)]
    pub kind: OwnerKind,
    /// Name of the user or group, as the API server authenticates it. Example: `dana.weber@acme-bank.example`.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.kind, self.name)
    }
}

/// The kind of an owner: one person, or a group.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OwnerKind {
    /// A single person.
    #[default]
    User,
    /// All members of a group.
    Group,
}

/// An organisation that provides a system (EU AI Act article 3(3)) or supplies hosted models.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provider {
    /// Name of the organisation. For a supplier, this is the `provider` of its hosted models. Example: `Acme Bank SE`.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// Certifications that the organisation holds. Default: none.
    /// Example: `[{ name: ISO/IEC 42001, notAfter: 2028-03-31T00:00:00Z }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub certifications: Vec<Certification>,
}

/// A certification that a provider or a supplier holds.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!has(self.signature) || has(self.digest)", "a signed certification must state the digest of the certificate"))]
pub struct Certification {
    /// Name of the certification, as a risk level requires it. Example: `ISO/IEC 42001`.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// Time from which the certification does not count. Default: none, so the certification has no end.
    /// Example: `2028-03-31T00:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("self < timestamp('9000-01-01T00:00:00Z')", "the year must be before 9000"))]
    pub not_after: Option<Time>,
    /// Address of the certificate. Default: none. Example: `https://docs.example.org/iso-42001.pdf`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub uri: Option<String>,
    /// Digest of the certificate. Default: none. Example: `sha256:` and 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Signature of a person who verified the certificate, made with `kubectl assent certify`. Default: none, so the
    /// certification is self-asserted.
    /// Example: `{ role: vendor-manager, signedAt: 2026-11-24T12:00:00Z, ssh: "-----BEGIN SSH SIGNATURE-----…" }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<CertificationSignature>,
}

/// A signature of a certification. It covers the name of the provider, all other fields of the certification, the role
/// and the time of the signature.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificationSignature {
    /// Name of the `ApproverRole` that lists the key. Example: `vendor-manager`.
    #[schemars(length(min = 1, max = 63))]
    pub role: String,
    /// Time of the signature. The key must be valid at this time. When the key expires, or is removed from
    /// the role, the signature no longer counts. Example: `2026-11-24T12:00:00Z`.
    #[serde(deserialize_with = "super::time::time_or_past")]
    #[schemars(regex(pattern = super::time::TIME_PATTERN))]
    pub signed_at: Time,
    /// Signature in the format of `ssh-keygen -Y sign -n approval@assent.dev`.
    /// Example: text that starts with `-----BEGIN SSH SIGNATURE-----`.
    #[schemars(length(min = 1, max = 4096), regex(pattern = r"^-----BEGIN SSH SIGNATURE-----"))]
    pub ssh: String,
}

/// A document about a system.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// Type of the document, as a `RiskLevel` requires it. Example: `impact-assessment`.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 63))]
    pub type_: String,
    /// Address of the document. Example: `https://docs.example.org/impact-assessment.pdf`.
    #[schemars(length(min = 1, max = 2048))]
    pub uri: String,
    /// Digest of the content of the document. Default: none, so approvers sign only its address.
    /// Example: `sha256:` and 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Person or team that is responsible for the document. Default: none. Example: `credit-ml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub owner: Option<String>,
    /// Version of the document. Default: none. Example: `2.1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub version: Option<String>,
    /// Dates of the last and the next review. Approvers sign them if the risk level requires the document and withholds
    /// versions while the review is overdue. Default: none. Example: `{ last: 2026-09-01T00:00:00Z }`.
    #[serde(default, skip_serializing_if = "ReviewDates::is_empty")]
    pub review: ReviewDates,
}

/// A reference to another AI system.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SystemReference {
    /// Name of the other `AISystem`. Example: `fraud-detector`.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Namespace of the other `AISystem`. Default: the namespace of this system. Example: `payments`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
}

/// The planned or completed end of a system.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decommission {
    /// Time from which no pod of the system may run. A time in the past ends the system at once. From the
    /// date on, no user can undo or postpone the end. Example: `2027-03-31T00:00:00Z`.
    #[x_kube(validation = ("self < timestamp('9000-01-01T00:00:00Z')", "the year must be before 9000"))]
    pub date: Time,
    /// Reason for the end, in the words of the owner. Example: `replaced by support-assistant`.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
    /// Name of the `AISystem` of this namespace that replaces the system. Default: none.
    /// Example: `support-assistant`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub successor: Option<String>,
}

/// State of a system: the versions that may run, the end of their clearance, and the reasons for versions that may not
/// run.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AISystemStatus {
    /// Generation of the object that this status describes. Absent before the first status. Example: `3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Conditions of the system. `Cleared`: whether a version may run. `Ready`, for tools that use kstatus: the system
    /// is decommissioned, or it is cleared and its planned successors exist and form no cycle. `Stalled`: whether a
    /// person must act, because waiting does not help. `PodsHeld`: whether pods are held. `ClearanceExpiring`: only
    /// present while a clearance ends soon. `ReviewsOverdue`: only present while reviews are overdue and the risk level
    /// only warns. `IncidentOpen`: only present while an incident of the system is open. Absent before the first
    /// status.
    /// Example: `[{ type: Cleared, status: "True", … }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Conditions,

    /// Names of the model versions that may run, separated by commas. Absent if no version may run.
    /// Example: `credit-scorer-v1,credit-scorer-v2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16384))]
    pub cleared_versions: Option<String>,

    /// Earliest time at which one of the cleared versions loses its clearance. Absent if no clearance has an end.
    /// Example: `2027-03-31T00:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,

    /// Verdicts on the model versions of the system, at most 256. Absent if the system has no version.
    /// Example: `[{ name: credit-scorer-v1, cleared: false, reason: AwaitingApproval }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub versions: Vec<VersionSummary>,

    /// Whether the decommission date has passed. The value never becomes false again. Absent before the date.
    /// Example: `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decommissioned: Option<bool>,

    /// Numbers of pods of the system, by state. Absent before the operator counted them.
    /// Example: `{ running: 2, held: 1 }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<PodCount>,
}

/// The verdict on one model version of a system.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionSummary {
    /// Name of the `ModelVersion`. Example: `credit-scorer-v1`.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Whether the version may run. Example: `true`.
    pub cleared: bool,
    /// Reason of the condition `Cleared` of the version. Example: `AwaitingApproval`.
    #[schemars(length(max = 63))]
    pub reason: String,
    /// Time until which the version may run. Absent if the version may not run, or may run without an end.
    /// Example: `2027-03-31T00:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,
}

/// The type of the condition that says whether pods of a system are held. The message of the condition names the
/// workloads of these pods.
pub const PODS_HELD: &str = "PodsHeld";

/// The type of the condition that a system or version has while its clearance ends soon. The message of the condition
/// says why the clearance ends.
pub const CLEARANCE_EXPIRING: &str = "ClearanceExpiring";

/// The type of the condition that a system has while reviews of risks or documents are overdue and its risk level only
/// warns. The message of the condition names the overdue reviews.
pub const REVIEWS_OVERDUE: &str = "ReviewsOverdue";

/// Numbers of pods of a system, by state.
#[derive(KubeSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodCount {
    /// Number of pods that are neither held, nor being deleted, nor ended. Example: `2`.
    #[schemars(extend("format" = "int32"))]
    pub running: u32,
    /// Number of pods that the scheduling gate `assent.dev/clearance` holds. Example: `1`.
    #[schemars(extend("format" = "int32"))]
    pub held: u32,
    /// Number of pods that are being deleted and have not ended. Default: 0. Example: `1`.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(extend("format" = "int32"))]
    pub terminating: u32,

    /// Number of running pods that would stop in the mode `enforce`. Only present in namespaces with the mode `warn`
    /// or `audit`. Example: `1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "int32"))]
    pub would_stop: Option<u32>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde requires this signature")]
const fn is_zero(count: &u32) -> bool {
    *count == 0
}
