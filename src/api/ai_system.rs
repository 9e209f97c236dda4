//! An AI system: what it is for, whose it is, and how much risk it bears.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Conditions, Digest, conditions_schema};

/// An AI system of the AI management system's inventory (ISO/IEC 42001 A.4.2, A.6.2).
///
/// Pods belong to it by the label `assent.dev/system`.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "assent.dev",
    version = "v1alpha1",
    kind = "AISystem",
    plural = "aisystems",
    doc = "An AI system: its purpose, owners and level of risk (ISO/IEC 42001 A.4.2).",
    namespaced,
    status = "AISystemStatus",
    derive = "PartialEq",
    shortname = "ais",
    category = "assent",
    validation = Rule::new("self.metadata.name.size() <= 63").message("the name must be at most 63 characters long: pods carry it as the value of a label"),
    validation = Rule::new("!has(self.spec.decommission) || !has(self.spec.decommission.successor) || self.spec.decommission.successor != self.metadata.name").message("a system can not be its own successor").field_path(".spec.decommission"),
    validation = Rule::new("!has(oldSelf.status) || !has(oldSelf.status.decommissioned) || !oldSelf.status.decommissioned || (has(self.spec.decommission) && self.spec.decommission.date <= oldSelf.spec.decommission.date)").message("the system is decommissioned, for good: describe what replaces it as a new AISystem").field_path(".spec.decommission"),
    printcolumn(name = "Level", type_ = "string", json_path = ".spec.riskLevel"),
    printcolumn(name = "Cleared", type_ = "string", json_path = ".status.conditions[?(@.type=='Cleared')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Cleared')].reason"),
    printcolumn(name = "Versions", type_ = "string", json_path = ".status.clearedVersions", description = "The model versions that may run"),
    printcolumn(name = "Until", type_ = "string", json_path = ".status.notAfter", description = "When the first of them loses its clearance"),
    printcolumn(name = "Running", type_ = "integer", json_path = ".status.pods.running"),
    printcolumn(name = "Held", type_ = "integer", json_path = ".status.pods.held"),
    printcolumn(name = "Changed By", type_ = "string", json_path = r".metadata.annotations.assent\.dev/changed-by", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Cleared')].message", priority = 1)
)]
#[serde(rename_all = "camelCase")]
pub struct AISystemSpec {
    /// What the system is meant to do, for whom (EU AI Act article 3(12)). Part of what approvers sign.
    #[schemars(length(min = 1, max = 4096))]
    pub intended_purpose: String,

    /// Who answers for it: users and groups as the API server knows them.
    #[schemars(length(min = 1, max = 32))]
    pub owners: Vec<Owner>,

    /// The name of its `RiskLevel`. Part of what approvers sign.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub risk_level: String,

    /// Where it is used, such as `EU` or `DE`. Part of what approvers sign.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 32)), extend("x-kubernetes-list-type" = "set"))]
    pub jurisdictions: Vec<String>,

    /// Who provides it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,

    /// Its documents, such as an impact assessment (ISO/IEC 42001 A.5.3).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub documentation: Vec<Document>,

    /// The AI systems that it needs to do its work, such as one whose output it reads (EU AI Act annex IV 2(a)).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub depends_on: Vec<SystemReference>,

    /// When and why it is retired (NIST AI RMF GOVERN 1.7). Once the date has come it stops for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decommission: Option<Decommission>,
}

/// An owner, as in the `subjects` of a `RoleBinding`.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// What `name` names.
    #[serde(default)]
    pub kind: OwnerKind,
    /// The name as the API server authenticates it.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.kind, self.name)
    }
}

/// What an owner's name names.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OwnerKind {
    /// A person.
    #[default]
    User,
    /// Everybody in a group.
    Group,
}

/// The provider of a system (EU AI Act article 3(3)).
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provider {
    /// The organisation.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// What it is certified for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub certifications: Vec<Certification>,
}

/// A certification and its end.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Certification {
    /// Such as `ISO/IEC 42001`.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("self < timestamp('9000-01-01T00:00:00Z')", "the year must be before 9000"))]
    pub not_after: Option<Time>,
    /// Where the certificate is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub uri: Option<String>,
}

/// A document about a system.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// Such as `impact-assessment` or `technical-documentation`; what a `RiskLevel` asks for.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 63))]
    pub type_: String,
    /// Where it is.
    #[schemars(length(min = 1, max = 2048))]
    pub uri: String,
    /// Its content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// Another AI system.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SystemReference {
    /// Its name.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Its namespace; otherwise the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
}

/// The end of a system's life.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decommission {
    /// From this instant on nothing of the system runs. One in the past means: now.
    #[x_kube(validation = ("self < timestamp('9000-01-01T00:00:00Z')", "the year must be before 9000"))]
    pub date: Time,
    /// Why.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
    /// The `AISystem` of this namespace that replaces it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub successor: Option<String>,
}

/// What may run of a system, until when, and why not.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AISystemStatus {
    /// The generation that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// `Ready` and `Cleared`; `Stalled` when somebody has to act against a standing decision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Conditions,

    /// The names of the cleared model versions, separated by commas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16384))]
    pub cleared_versions: Option<String>,

    /// When the first of them loses its clearance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,

    /// The verdict on each model version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub versions: Vec<VersionSummary>,

    /// The decommission date has come. Never goes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decommissioned: Option<bool>,

    /// Its pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<PodCount>,
}

/// The verdict on one model version of a system.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionSummary {
    /// The `ModelVersion`.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Whether it may run.
    pub cleared: bool,
    /// The reason of its `Cleared` condition.
    #[schemars(length(max = 63))]
    pub reason: String,
    /// Until when it may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,
}

/// The type of the condition that says whether pods of a system are held, and names their workloads.
pub const PODS_HELD: &str = "PodsHeld";

/// The type of the condition that says that a clearance ends soon, and what will be the matter then.
pub const CLEARANCE_EXPIRING: &str = "ClearanceExpiring";

/// The pods of a system.
#[derive(KubeSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodCount {
    /// Neither held, nor being deleted, nor ended.
    #[schemars(extend("format" = "int32"))]
    pub running: u32,
    /// Held by the gate `assent.dev/clearance`.
    #[schemars(extend("format" = "int32"))]
    pub held: u32,
    /// Being deleted, and not known to have ended.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(extend("format" = "int32"))]
    pub terminating: u32,

    /// Of those that run, the ones that would stop if their namespace enforced. Only where it warns or audits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "int32"))]
    pub would_stop: Option<u32>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
const fn is_zero(count: &u32) -> bool {
    *count == 0
}
