//! The `Incident` resource: an event that harmed people or could have harmed them, and its effect on a system.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{CustomResource, KubeSchema, core::Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    Approver, Condition, Conditions, Digest, RequiredApproval, Text, conditions_schema, duration::after,
};

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
    printcolumn(
        name = "Handled",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Handled')].reason",
        description = "Whether a person acknowledged or closed the incident, or the role to which it escalated"
    ),
    printcolumn(name = "Next Deadline", type_ = "string", json_path = ".status.nextDeadline"),
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

    /// Version that a hold of all versions does not affect, for a rollback to this version. The version still runs only
    /// if it is cleared. Default: none. Example: `{ name: credit-scorer-v1, subjectDigest: sha256:… }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub except: Option<ConcernedVersion>,

    /// Event and its cause as known at the start, in the words of the person or of the monitor.
    /// Example: `Applicants over 60 are refused twice as often`.
    #[schemars(length(min = 1, max = 4096))]
    pub description: String,

    /// Harm that occurred or is likely, by the criteria of EU AI Act article 3(49) and 3(61). Default: none,
    /// so the harm is not known, or no criterion applies. Example: `[FundamentalRights]`.
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

    /// Name of the `Monitor` of this namespace that opened the incident. Only the operator sets it. Default: none, so
    /// a user opened the incident. Example: `fairness-drift`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub monitor: Option<Text>,

    /// User who opened the incident. Leave this field out. The API server sets it from the request. Before Kubernetes
    /// 1.36, the `kubectl assent` plugin sets it. Default: the user of the request.
    /// Example: `{ user: alice@acme-bank.example }`.
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
    /// Digest of the content of this version, from `status.subjectDigest` of the `ModelVersion`. The incident also
    /// concerns versions with this content under other names. Example: `sha256:` and 64 hexadecimal digits.
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

/// A kind of harm in the EU AI Act.
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

impl HarmCriterion {
    /// Whether a rule with these criteria applies to an incident with the criteria `stated`. A rule without criteria
    /// applies to every incident.
    pub(crate) fn applies(of_rule: &[Self], stated: &[Self]) -> bool {
        of_rule.is_empty() || of_rule.iter().any(|criterion| stated.contains(criterion))
    }
}

impl Incident {
    /// The condition `Holding`. `None` before the operator has processed the incident.
    pub fn holding(&self) -> Option<&Condition> {
        self.condition("Holding")
    }

    /// The condition of the type `type_`. `None` if the operator has not written this condition.
    pub fn condition(&self, type_: &str) -> Option<&Condition> {
        self.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == *type_)
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

    /// Whether the incident concerns the version `name`. `has` says whether a digest is the current digest of
    /// the version. If the incident holds versions, it holds exactly the versions that it concerns.
    pub fn concerns(&self, name: &str, has: impl Fn(&Digest) -> bool) -> bool {
        let is_named = |version: &ConcernedVersion| version.name == *name || has(&version.subject_digest);
        // The name alone is not enough: a user could delete the exempt version, and give its name to other content.
        let is_exempt = |version: &ConcernedVersion| version.name == *name && has(&version.subject_digest);
        (self.model_versions.is_empty() || self.model_versions.iter().any(is_named))
            && !self.except.as_ref().is_some_and(is_exempt)
    }
}

/// Rules of a risk level for incidents of its systems.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IncidentRules {
    /// People who must decide `Resume` before a held version may run again, by role. At least one of them
    /// must neither have opened the incident nor have noted an action before the decision. Default: none, so
    /// the roles in `approvals` of the risk level must resume the version.
    /// Example: `[{ role: risk-officer, count: 2 }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["role"]))]
    pub resume: Vec<RequiredApproval>,

    /// Roles to which an incident escalates while nobody acknowledges it. Default: none, so an incident does
    /// not escalate.
    /// Example: `[{ after: 30m, role: risk-officer }, { after: 4h, role: ethics-board, effect: Hold }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["after"]))]
    pub escalation: Vec<EscalationTier>,

    /// Deadlines of the organisation, beside those of EU AI Act article 73. Default: none.
    /// Example: `[{ name: tell-customers, within: 72h, reference: customer contract section 8 }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub deadlines: Vec<RequiredDeadline>,

    /// Review that is due after people resumed a version or closed the incident. Default: none, so no review is due.
    /// Example: `{ within: 336h, roles: [{ role: risk-officer }], onMissed: Hold }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<RequiredIncidentReview>,
}

/// A role to which an incident escalates while nobody acknowledges it, and the effect of this tier.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EscalationTier {
    /// Time from the creation of the incident to this tier, as a Go duration with the units `h`, `m`, `s` and
    /// `ms`. It must be longer than `0s` and at most `8760h`. Example: `30m`.
    #[serde(deserialize_with = "super::duration::required")]
    #[schemars(extend("maxLength" = 32))]
    #[x_kube(validation = (r"self.matches('^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) > duration('0s') && duration(self) <= duration('8760h')", "must be a duration such as 30m or 4h, longer than 0s and at most 8760h"))]
    pub after: Duration,

    /// Role that must handle the incident from this tier on. Alerts have this role as a label.
    /// Example: `risk-officer`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub role: String,

    /// Effect on the concerned versions from this tier on, until a person acknowledges or closes the
    /// incident. `None`: the versions continue to run. `Hold`: the versions may not run. If the effect of the
    /// incident itself is `Hold`, this field has no effect. Choose `Hold` with care, because any account that
    /// may create incidents can then stop a system.
    /// Default: `None`. Example: `Hold`.
    #[serde(default)]
    pub effect: IncidentEffect,
}

impl EscalationTier {
    /// The time at which an incident reaches the tier. `created` is the creation time of the incident.
    pub(crate) fn reached_at(&self, created: Timestamp) -> Timestamp {
        after(created, self.after)
    }
}

/// Deadline of the organisation after an incident.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequiredDeadline {
    /// Name of the deadline. Notes name the deadlines that they settle. Names that begin with `eu-ai-act-`
    /// are reserved.
    /// Example: `tell-customers`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    #[x_kube(validation = ("!self.startsWith('eu-ai-act-')", "names that begin with eu-ai-act- are reserved"))]
    pub name: Text,

    /// Time from `awareAt` of the incident to the deadline, as a Go duration with the units `h`, `m`, `s` and `ms`. It
    /// must be longer than `0s` and at most `87600h`. Example: `72h`.
    #[serde(deserialize_with = "super::duration::required")]
    #[schemars(extend("maxLength" = 32))]
    #[x_kube(validation = (r"self.matches('^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) > duration('0s') && duration(self) <= duration('87600h')", "must be a duration such as 72h, longer than 0s and at most 87600h"))]
    pub within: Duration,

    /// Criteria of which the incident must state at least one. Default: none, so the deadline applies to every
    /// incident.
    /// Example: `[FundamentalRights]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "set"))]
    pub criteria: Vec<HarmCriterion>,

    /// Text that sets the deadline, such as a section of a contract. Example: `customer contract section 8`.
    #[schemars(length(min = 1, max = 256))]
    pub reference: Text,
}

impl RequiredDeadline {
    /// The time of the deadline. `aware` is the time at which the organisation became aware of the incident.
    pub(crate) fn due(&self, aware: Timestamp) -> Timestamp {
        after(aware, self.within)
    }
}

/// Review that is due after an incident.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequiredIncidentReview {
    /// Longest time to the review, as a Go duration with the units `h`, `m`, `s` and `ms`. It must be longer than `0s`
    /// and at most `87600h`. The time starts at the first decision to resume or at the closing, whichever is earlier.
    /// Example: `336h`, which is 14 days.
    #[serde(deserialize_with = "super::duration::required")]
    #[schemars(extend("maxLength" = 32))]
    #[x_kube(validation = (r"self.matches('^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) > duration('0s') && duration(self) <= duration('87600h')", "must be a duration such as 336h (14 days), longer than 0s and at most 87600h"))]
    pub within: Duration,

    /// People who must review the incident, by role. A review does not count if the reviewer opened the
    /// incident, or is the only person who resumed. Default: none, so the roles that must resume also review.
    /// Example: `[{ role: risk-officer }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["role"]))]
    pub roles: Vec<RequiredApproval>,

    /// Effect of a missed review. `Warn`: the versions continue to run, and alerts report the review. `Hold`: the
    /// concerned versions may not run until the review is complete. Default: `Warn`. Example: `Hold`.
    #[serde(default)]
    pub on_missed: MissedIncidentReview,
}

impl RequiredIncidentReview {
    /// The time at which the review is due. `start` is the time of the first decision to resume, or of the closing.
    pub(crate) fn due(&self, start: Timestamp) -> Timestamp {
        after(start, self.within)
    }
}

/// The effect of a missed review on the concerned versions.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MissedIncidentReview {
    /// The versions continue to run.
    #[default]
    Warn,
    /// The versions may not run until the review is complete.
    Hold,
}

/// State of an incident: its hold, its escalation, its deadlines and its review.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IncidentStatus {
    /// Generation of the object that this status describes. Absent before the first status. Example: `1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Conditions of the incident. `Ready`: whether the operator processed it. `Holding`: whether it holds a
    /// version. `Handled`: whether a person acknowledged or closed it. `Closed`: whether a person who did not
    /// open it closed it. `Reviewed`: whether the review is complete, if one is due. Absent before the first
    /// status.
    /// Example: `[{ type: Holding, status: "True", … }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Conditions,

    /// Digest that a person signs with the decisions `Resume` and `Review`. Absent before the first status.
    /// Example: `sha256:` and 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,

    /// Escalation of the incident. Absent if the risk level has no tiers, or if a person acknowledged or closed the
    /// incident. Example: `{ tier: 1, role: risk-officer, since: 2026-09-01T10:30:00Z }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalation: Option<EscalationStatus>,

    /// Deadlines of the incident, the earliest first. The deadlines of the law apply only if the law requires a report
    /// of the incident. People decide this, not Assent. Absent before the first status.
    /// Example: `[{ name: eu-ai-act-73-2, due: 2026-09-16T10:00:00Z, state: Running, … }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub deadlines: Vec<DeadlineStatus>,

    /// Earliest deadline that no note settles. Absent if every deadline is settled. Example: `2026-09-16T10:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_deadline: Option<Time>,

    /// Time at which the review is due. Absent if no review is due. Example: `2026-09-15T10:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review_due: Option<Time>,
}

impl IncidentStatus {
    /// The number of the tier that the incident reached, from 1. 0 if the incident reached no tier so far, or if it
    /// does not escalate, for example after a person acknowledged it.
    pub fn tier(&self) -> u32 {
        self.escalation.as_ref().map_or(0, |escalation| escalation.tier)
    }

    /// The missed deadlines that no late note settles.
    pub fn missed(&self) -> impl Iterator<Item = &DeadlineStatus> {
        let is_missed = |deadline: &&DeadlineStatus| {
            deadline.state == DeadlineState::Missed && deadline.settled_at.is_none()
        };
        self.deadlines.iter().filter(is_missed)
    }
}

/// Escalation of an incident that nobody acknowledged.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EscalationStatus {
    /// Number of the tier that the incident reached, from 1. 0 if it reached none so far. Default: 0. Example: `1`.
    #[serde(default)]
    #[schemars(extend("format" = "int32", "minimum" = 0))]
    pub tier: u32,
    /// Role of this tier. Absent before the first tier. Example: `risk-officer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub role: Option<String>,
    /// Time at which the incident reached this tier. Absent before the first tier. Example: `2026-09-01T10:30:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Role of the next tier. Absent after the last tier. Example: `ethics-board`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub next_role: Option<String>,
    /// Time at which the incident reaches the next tier, unless a person acknowledges it before. Absent after the last tier. Example: `2026-09-01T14:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Time>,
}

/// State of a deadline of an incident.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadlineStatus {
    /// Name of the deadline. Example: `eu-ai-act-73-2`.
    #[schemars(length(max = 63))]
    pub name: Text,
    /// Text that sets the deadline, such as a paragraph of a law. Example: `EU AI Act article 73(2)`.
    #[schemars(length(max = 256))]
    pub reference: Text,
    /// Time of the deadline. Example: `2026-09-16T10:00:00Z`.
    pub due: Time,
    /// State of the deadline. `Running`: no note settles the deadline so far. `Met`: a note of the type
    /// `Report` or `Notified` settled the deadline in time. `Missed`: the deadline passed without such a note.
    /// `NotApplicable`: a note of the type `Closing` names the deadline. Example: `Running`.
    pub state: DeadlineState,
    /// Time of the note that settles the deadline. A missed deadline can have a late note. Absent without such a note.
    /// Example: `2026-09-02T09:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_at: Option<Time>,
}

/// The state of a deadline.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeadlineState {
    /// No note settles the deadline so far.
    Running,
    /// A note settled the deadline in time.
    Met,
    /// The deadline passed before a note settled it.
    Missed,
    /// The people who closed the incident noted that the deadline does not apply.
    NotApplicable,
}

impl DeadlineState {
    /// The state in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Met => "met",
            Self::Missed => "missed",
            Self::NotApplicable => "not applicable",
        }
    }
}
