//! The `Override` resource, which lets one version run for a limited time without meeting some requirements, and the
//! rules of a risk level for overrides.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema, core::Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Approver, Condition, Conditions, Digest, RequiredApproval, Text, conditions_schema};

/// Emergency request to run one version for a limited time although it does not meet the requirements in `waives`
/// (ISO/IEC 42001 A.6.2.6). No user can edit or delete an `Override`.
///
/// Any account that may create the object can request an override. The override has an effect only after
/// people in the roles of the risk level grant it with an `Approval` whose decision is `Override`. Another
/// person must review it afterwards.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "assent.dev",
    version = "v1alpha1",
    kind = "Override",
    doc = "A limited exception from named requirements for one version. Nobody can edit or delete it.",
    namespaced,
    status = "OverrideStatus",
    derive = "PartialEq",
    shortname = "ovr",
    category = "assent",
    printcolumn(name = "System", type_ = "string", json_path = ".spec.system"),
    printcolumn(name = "Version", type_ = "string", json_path = ".spec.modelVersion"),
    printcolumn(name = "Waives", type_ = "string", json_path = ".spec.waives[*].name"),
    printcolumn(
        name = "State",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Active')].reason"
    ),
    printcolumn(name = "Until", type_ = "string", json_path = ".status.notAfter"),
    printcolumn(
        name = "Review",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Reviewed')].reason"
    ),
    printcolumn(name = "Requested By", type_ = "string", json_path = ".spec.requestedBy.user"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".spec.reason", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self == oldSelf", "an override is final: create another Override"))]
pub struct OverrideSpec {
    /// Name of the `AISystem` of this namespace. Example: `credit-scorer`.
    #[schemars(length(min = 1, max = 63))]
    pub system: Text,

    /// Name of the `ModelVersion` of this namespace that may run. Example: `credit-scorer-v2`.
    #[schemars(length(min = 1, max = 253))]
    pub model_version: Text,

    /// Digest of the content of this version, from `status.subjectDigest` of the `ModelVersion`. The override has no
    /// effect on other content. Example: `sha256:` and 64 hexadecimal digits.
    pub subject_digest: Digest,

    /// Requirements that the version need not meet during the override. All other requirements still apply.
    /// Example: `[{ type: Assessment, name: fairness-sex }, { type: Approval, name: risk-officer }]`.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type", "name"]))]
    pub waives: Vec<Waiver>,

    /// Reason for the override, in the words of the person. Example: `The previous version refuses all applicants`.
    #[schemars(length(min = 1, max = 4096))]
    pub reason: String,

    /// Ticket or change request of the emergency. Default: none. Example: `INC-2026-117`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub ticket: Option<String>,

    /// Time at which the override ends. The time must be in the future, and at most 744 hours (31 days) after
    /// the creation of the object. The risk level can end the override earlier.
    /// Example: `2026-09-01T14:00:00Z`.
    #[schemars(regex(pattern = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"))]
    #[x_kube(validation = ("self < timestamp('9000-01-01T00:00:00Z')", "the year must be before 9000"))]
    pub not_after: Time,

    /// User who requests the override. Leave this field out. The API server sets it from the request. Before Kubernetes
    /// 1.36, the `kubectl assent` plugin sets it. Default: the user of the request.
    /// Example: `{ user: alice@acme-bank.example }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<Approver>,
}

/// A requirement that a version need not meet during an override.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiver {
    /// Type of the requirement. Example: `Assessment`.
    #[serde(rename = "type")]
    pub type_: WaiverType,
    /// Name of the requirement. Wildcards are not allowed. `Approval`: the role. `Assessment`, `Requirement`: the
    /// name in the risk level. `Document`: the type. `Evidence`: the part of the provenance, such as `Data`.
    /// `Certification`, `SupplierCertification`: the certification. `HostedModel`, `Risk`: the name in the
    /// system. `Review`: `risk/NAME` or `document/TYPE`. `Monitor`: the name of the requirement in the risk
    /// level. Example: `fairness-sex`.
    #[schemars(length(min = 1, max = 253))]
    pub name: Text,
}

/// The type of a requirement that an override can waive.
#[derive(
    JsonSchema,
    clap::ValueEnum,
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
)]
pub enum WaiverType {
    /// Missing or expired approvals in a role.
    Approval,
    /// A missing, expired, inconclusive or failed result.
    Assessment,
    /// An expression that is false. An expression that cannot be evaluated is never waived.
    Requirement,
    /// A missing document.
    Document,
    /// A missing part of the provenance.
    Evidence,
    /// A missing certification of the provider of the system.
    Certification,
    /// A missing certification of the providers of hosted models.
    SupplierCertification,
    /// A hosted model that is retired or has no agreement.
    HostedModel,
    /// A risk whose rating is too high.
    Risk,
    /// An overdue review of a risk or a document.
    Review,
    /// A required monitor that is missing, differs from the requirement, is looser than the requirement
    /// allows, or never had a value.
    Monitor,
}

impl Override {
    /// The condition of the type `type_`. `None` if the operator has not written this condition.
    pub fn condition(&self, type_: &str) -> Option<&Condition> {
        let conditions = &self.status.as_ref()?.conditions;
        conditions.iter().find(|condition| condition.type_ == type_)
    }
}

impl OverrideSpec {
    /// The digest that people sign when they grant or review the override: SHA-256 over the canonical JSON (RFC 8785)
    /// of the namespace and the spec.
    ///
    /// # Panics
    /// Never: the fields always serialise.
    pub fn digest(&self, namespace: &str) -> Digest {
        let text = serde_jcs::to_vec(&serde_json::json!({ "namespace": namespace, "override": self }));
        Digest::from_sha256(Sha256::digest(text.expect("strings, numbers and lists serialise")).into())
    }
}

/// Rules of a risk level for overrides of its systems.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OverrideRules {
    /// Longest time from the creation of an override to its end, as a Go duration with the units `h`, `m`,
    /// `s` and `ms`, at most `744h`. If `notAfter` of an override is later, the override still ends after
    /// this time.
    /// Example: `24h`.
    #[serde(deserialize_with = "super::duration::required")]
    #[schemars(extend("maxLength" = 32))]
    #[x_kube(validation = (r"self.matches('^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) > duration('0s') && duration(self) <= duration('744h')", "must be a duration such as 24h, longer than 0s and at most 744h (31 days)"))]
    pub max_duration: Duration,

    /// People who must grant an override, by role. With `separationOfDuties`, one person fills only one role,
    /// and owners and authors do not count. Default: none, so nobody can grant an override.
    /// Example: `[{ role: duty-officer }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["role"]))]
    pub roles: Vec<RequiredApproval>,

    /// Types of requirements that an override can waive. Default: none, so an override waives nothing.
    /// Example: `[Approval, Assessment]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "set"))]
    pub waivable: Vec<WaiverType>,

    /// Largest number of overrides that one system can use in a period. Expired overrides count too.
    /// Example: `{ count: 2, within: 720h }`.
    pub per_system: OverrideQuota,

    /// Review that each override needs. A review also ends the override.
    /// Example: `{ within: 72h, roles: [risk-officer], onMissed: NoFurtherOverrides }`.
    pub review: OverrideReview,
}

/// The number of overrides that one system can use in a period.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OverrideQuota {
    /// Largest number of granted overrides of one system within the period, from 1 to 64. Example: `2`.
    #[schemars(range(min = 1, max = 64), extend("format" = "int32"))]
    pub count: u32,
    /// Length of the period before a grant, as a Go duration with the units `h`, `m`, `s` and `ms`, at most
    /// `87600h`. In this period, the granted overrides of the system are counted. Example: `720h`, which is
    /// 30 days.
    #[serde(deserialize_with = "super::duration::required")]
    #[schemars(extend("maxLength" = 32))]
    #[x_kube(validation = (r"self.matches('^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) > duration('0s') && duration(self) <= duration('87600h')", "must be a duration such as 720h (30 days), longer than 0s and at most 87600h"))]
    pub within: Duration,
}

/// The review that each override needs. A review also ends the override.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OverrideReview {
    /// Longest time from the end of an override to its review, as a Go duration with the units `h`, `m`, `s` and `ms`,
    /// at most `87600h`. The override ends at its `notAfter`, or earlier by the risk level. Example: `72h`.
    #[serde(deserialize_with = "super::duration::required")]
    #[schemars(extend("maxLength" = 32))]
    #[x_kube(validation = (r"self.matches('^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) > duration('0s') && duration(self) <= duration('87600h')", "must be a duration such as 72h, longer than 0s and at most 87600h"))]
    pub within: Duration,

    /// Roles that may review. One review in one of these roles is enough. The reviewer must neither have requested nor
    /// have granted the override. Example: `[risk-officer]`.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub roles: Vec<String>,

    /// Effect of a missed review, until a person reviews the override. `NoFurtherOverrides`: the system can
    /// use no other override. `Hold`: in addition, no version of the system may run.
    /// Default: `NoFurtherOverrides`. Example: `Hold`.
    #[serde(default)]
    pub on_missed: MissedOverrideReview,
}

/// The effect of a missed review of an override.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MissedOverrideReview {
    /// The system can use no other override.
    #[default]
    NoFurtherOverrides,
    /// The system can use no other override, and no version of the system may run.
    Hold,
}

/// State of an override: whether people granted it, whether it has an effect, and whether it was reviewed.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OverrideStatus {
    /// Generation of the object that this status describes. Absent before the first status. Example: `1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Conditions of the override. `Ready`: whether the operator processed the override. `Granted`: whether
    /// people granted it. `Active`: whether it waives requirements now. `Reviewed`: whether a person reviewed
    /// it. Absent before the first status.
    /// Example: `[{ type: Granted, status: "True", … }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Conditions,

    /// Digest that a person signs with the decisions `Override` and `Review`. Absent before the first status.
    /// Example: `sha256:` and 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,

    /// Time at which the override ends: its own `notAfter`, the limit of the risk level, or its review, whichever is
    /// first. Absent if the risk level allows no override. Example: `2026-09-01T14:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,

    /// Time at which the review is due. Absent if the override was not granted.
    /// Example: `2026-09-04T14:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review_due: Option<Time>,
}
