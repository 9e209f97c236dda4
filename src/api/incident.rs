//! The `Incident` resource: an event that harmed people or could have harmed them, and its effect on a system.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Approver, Condition, Conditions, Digest, RequiredApproval, Text, conditions_schema};

/// An event in which a system harmed people, property or the environment, or could have harmed them (EU AI Act articles
/// 3(49) and 73, ISO/IEC 42001 A.8.4). No user can edit or delete an `Incident`. People add what they learn later as
/// `IncidentNote`s.
///
/// Any account that may create the object can open an incident. To hold versions, the account also needs the RBAC verb
/// `hold` on the `AISystem`. A held version may not run until people resume it with an `Approval` whose decision is
/// `Resume`.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "assent.dev",
    version = "v1alpha1",
    kind = "Incident",
    doc = "An event that harmed people or could have harmed them, and its effect. Nobody can edit or delete it.",
    namespaced,
    status = "IncidentStatus",
    derive = "PartialEq",
    shortname = "inc",
    category = "assent",
    printcolumn(name = "System", type_ = "string", json_path = ".spec.system"),
    printcolumn(name = "Effect", type_ = "string", json_path = ".spec.effect"),
    printcolumn(
        name = "State",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Holding')].reason"
    ),
    printcolumn(name = "Opened By", type_ = "string", json_path = ".spec.openedBy.user"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Description", type_ = "string", json_path = ".spec.description", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self == oldSelf", "an incident is final: add an IncidentNote"))]
#[x_kube(validation = ("!has(self.except) || (self.effect == 'Hold' && !has(self.modelVersions))", "except needs the effect Hold on all versions: leave modelVersions out"))]
pub struct IncidentSpec {
    /// Name of the `AISystem` of this namespace. Example: `credit-scorer`.
    #[schemars(length(min = 1, max = 63))]
    pub system: Text,

    /// Versions that the incident concerns, with the digests of their content. Default: none, so the incident concerns
    /// every version of the system, also later ones.
    /// Example: `[{ name: credit-scorer-v1, subjectDigest: sha256:… }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub model_versions: Vec<ConcernedVersion>,

    /// Effect on the concerned versions. `None`: they continue to run. `Hold`: they may not run until people resume
    /// them. Default: `None`. Example: `Hold`.
    #[serde(default)]
    pub effect: IncidentEffect,

    /// Version that a hold of all versions does not affect, for a rollback to this version. It runs only if it is
    /// cleared. Default: none. Example: `{ name: credit-scorer-v1, subjectDigest: sha256:… }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub except: Option<ConcernedVersion>,

    /// Event and its cause as known at the start, in the words of the person or of the monitor.
    /// Example: `Applicants over 60 are refused twice as often`.
    #[schemars(length(min = 1, max = 4096))]
    pub description: String,

    /// Harm that occurred or is likely, by the criteria of EU AI Act article 3(49) and 3(61). Default: none, so the
    /// harm is not known or none of them applies. Example: `[FundamentalRights]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "set"))]
    pub criteria: Vec<HarmCriterion>,

    /// People, groups or things that the incident affects. Default: none, so they are not known.
    /// Example: `About 300 applicants over 60 in Austria`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub affected: Option<String>,

    /// Time at which the event occurred or began, not later than `awareAt`. Default: none, so the time is not known.
    /// Example: `2026-09-01T08:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"))]
    #[x_kube(validation = ("self < timestamp('9000-01-01T00:00:00Z')", "the year must be before 9000"))]
    pub occurred_at: Option<Time>,

    /// Time at which the organisation became aware of the event, not later than the creation of the object. Legal
    /// deadlines begin at this time. Default: the creation time of the object. Example: `2026-09-01T10:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"))]
    #[x_kube(validation = ("self < timestamp('9000-01-01T00:00:00Z')", "the year must be before 9000"))]
    pub aware_at: Option<Time>,

    /// User who opened the incident. Leave this field out. The API server sets it from the request. Before Kubernetes
    /// 1.36, the `kubectl assent` plugin sets it. Example: `{ user: alice@acme-bank.example }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened_by: Option<Approver>,
}

/// A version that an incident concerns.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConcernedVersion {
    /// Name of the `ModelVersion` of this namespace. Example: `credit-scorer-v1`.
    #[schemars(length(min = 1, max = 253))]
    pub name: Text,
    /// Digest of its content, from `status.subjectDigest` of the `ModelVersion`. The incident also concerns versions
    /// with this content under other names. Example: `sha256:` and 64 hexadecimal digits.
    pub subject_digest: Digest,
}

/// The effect of an incident on the concerned versions.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum IncidentEffect {
    /// The versions continue to run.
    #[default]
    None,
    /// The versions may not run until people resume them.
    Hold,
}

/// Harm by the criteria of the EU AI Act.
#[derive(
    JsonSchema, clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
#[value(rename_all = "verbatim")]
pub enum HarmCriterion {
    /// Death of a person (article 3(49)(a)).
    Death,
    /// Serious harm to the health of a person (article 3(49)(a)).
    Health,
    /// Serious and irreversible disruption of critical infrastructure (article 3(49)(b)).
    CriticalInfrastructure,
    /// Infringement of obligations that protect fundamental rights (article 3(49)(c)).
    FundamentalRights,
    /// Serious harm to property (article 3(49)(d)).
    Property,
    /// Serious harm to the environment (article 3(49)(d)).
    Environment,
    /// Widespread infringement (article 3(61)).
    WidespreadInfringement,
}

impl Incident {
    /// The condition `Holding`. `None` before the operator has processed the incident.
    pub fn holding(&self) -> Option<&Condition> {
        let conditions = &self.status.as_ref()?.conditions;
        conditions.iter().find(|condition| condition.type_ == "Holding")
    }
}

impl IncidentSpec {
    /// The digest that people sign when they resume a version: SHA-256 over the canonical JSON (RFC 8785) of the
    /// namespace and the spec.
    ///
    /// # Panics
    /// Never: the fields always serialise.
    pub fn digest(&self, namespace: &str) -> Digest {
        let text = serde_jcs::to_vec(&serde_json::json!({ "namespace": namespace, "incident": self }));
        Digest::from_sha256(Sha256::digest(text.expect("strings, numbers and lists serialise")).into())
    }

    /// Whether the incident holds the version `name`, whose current content has one of these digests.
    pub fn holds(&self, name: &str, has: impl Fn(&Digest) -> bool) -> bool {
        let is_named = |version: &ConcernedVersion| version.name == *name || has(&version.subject_digest);
        // A name alone does not exempt: another version could have the name after a deletion.
        let is_exempt = |version: &ConcernedVersion| version.name == *name && has(&version.subject_digest);
        self.effect == IncidentEffect::Hold
            && (self.model_versions.is_empty() || self.model_versions.iter().any(is_named))
            && !self.except.as_ref().is_some_and(is_exempt)
    }
}

/// Rules of a risk level for incidents of its systems.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IncidentRules {
    /// Decisions `Resume` that a held version needs before it may run again. At least one of these people must neither
    /// have opened the incident nor have noted an action. Default: none, so the roles in `approvals` of the risk level
    /// must resume it. Example: `[{ role: risk-officer, count: 2 }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["role"]))]
    pub resume: Vec<RequiredApproval>,
}

/// State of an incident: whether it holds versions.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IncidentStatus {
    /// Generation of the object that this status describes. Absent before the first status. Example: `1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Conditions of the incident. `Ready`: whether the operator processed it. `Holding`: whether it holds a version.
    /// Absent before the first status.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Conditions,

    /// Digest that a person signs with the decision `Resume`. Absent before the first status.
    /// Example: `sha256:` and 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}
