//! The `Approval` resource: the decision of one person on the exact content that they read.

use k8s_openapi::{api::authentication::v1::UserInfo, apimachinery::pkg::apis::meta::v1::Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AssessmentSpec, Conditions, Digest, Text, conditions_schema};

/// Decision of one person in one role on one subject digest, or on assessments, an incident or an override for this
/// digest. No user can edit or delete an `Approval`. A later revocation ends an approval. A later rejection by the same
/// person in the same role ends it too. A later approval is valid in addition to an earlier approval.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "assent.dev",
    version = "v1alpha1",
    kind = "Approval",
    doc = "A decision of one person, in one role, on one subject digest. Nobody can edit or delete it.",
    namespaced,
    status = "ApprovalStatus",
    derive = "PartialEq",
    shortname = "apv",
    category = "assent",
    printcolumn(name = "System", type_ = "string", json_path = ".spec.system"),
    printcolumn(name = "Version", type_ = "string", json_path = ".spec.modelVersion"),
    printcolumn(name = "Decision", type_ = "string", json_path = ".spec.decision"),
    printcolumn(name = "Role", type_ = "string", json_path = ".spec.role"),
    printcolumn(
        name = "Approver",
        type_ = "string",
        json_path = ".*['approver.user','signedBy']",
        description = "The person who decided, by the record of the API server or by the signature"
    ),
    printcolumn(
        name = "Counts",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Counted')].reason"
    ),
    printcolumn(name = "Until", type_ = "string", json_path = ".status.notAfter"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Digest", type_ = "string", json_path = ".spec.subjectDigest", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self == oldSelf", "an approval is final: create another Approval"))]
#[x_kube(validation = ("(self.decision == 'Attest') == (has(self.assessments) && self.assessments.size() > 0)", "the decision Attest, and no other decision, must name assessments"))]
#[x_kube(validation = ("(self.decision == 'Resume' || self.decision == 'Review' && !has(self.override)) == has(self.incident)", "the decision Resume must name an incident, the decision Review an incident or an override, and no other decision may name an incident"))]
#[x_kube(validation = ("self.decision == 'Override' ? has(self.override) : self.decision == 'Review' || !has(self.override)", "the decision Override must name an override, and of the other decisions only Review may name one"))]
#[x_kube(validation = ("(self.decision == 'Review') == has(self.outcome)", "the decision Review, and no other decision, must state an outcome"))]
#[x_kube(validation = ("self.decision in ['Approve', 'Reject', 'Revoke'] || !has(self.notAfter)", "this decision has no end of its own: leave notAfter out"))]
#[x_kube(validation = ("!has(self.signature) || !has(self.approver)", "the key of the signature names the approver: leave spec.approver out"))]
pub struct ApprovalSpec {
    /// Name of the `AISystem` of this namespace. Example: `credit-scorer`.
    #[schemars(length(min = 1, max = 63))]
    pub system: String,

    /// Name of the `ModelVersion` of this namespace. Example: `credit-scorer-v1`.
    #[schemars(length(min = 1, max = 253))]
    pub model_version: String,

    /// Digest of the content that the person read, from `status.subjectDigest` of the `ModelVersion`.
    /// Example: the output of `kubectl get modelversion NAME -o jsonpath='{.status.subjectDigest}'`.
    pub subject_digest: Digest,

    /// Decision of the person. `Approve`: the person approves the version in the role. `Reject`: the version may not
    /// run until the same user approves it in the same role. A rejection counts only in a role that the risk level
    /// requires, or in any role if the level requires none. `Revoke`: all earlier approvals are void, so every required
    /// role must approve again. `Attest`: the results in `assessments` count, whether they are good or bad. `Resume`:
    /// the version may run again after the incident in `incident` held it. `Override`: the version may run although the
    /// requirements in `override` are not met. `Review`: the person judged an override or an incident afterwards.
    /// Example: `Approve`.
    pub decision: Decision,

    /// Role in which the person decides. An unsigned decision needs the RBAC verb `approve` on
    /// `approverroles.assent.dev/<role>`. Example: `risk-officer`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub role: String,

    /// Assessments whose results the person signs. Required for `Attest`, and not allowed for other decisions.
    /// Default: none. Example: `[{ name: credit-scorer-v1-fairness, digest: sha256:… }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub assessments: Vec<AttestedAssessment>,

    /// Incident whose hold the person lifts for this content, or incident that the person reviewed. Required for
    /// `Resume`, and for a `Review` without `override`. Not allowed for other decisions. Default: none.
    /// Example: `{ name: credit-scorer-7f3k2, digest: sha256:… }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<RecordReference>,

    /// Override that the person grants, or override that the person reviewed. Required for `Override`, and for a
    /// `Review` without `incident`. Not allowed for other decisions. Default: none.
    /// Example: `{ name: credit-scorer-x2b9q, digest: sha256:… }`.
    #[serde(default, rename = "override", skip_serializing_if = "Option::is_none")]
    pub override_: Option<RecordReference>,

    /// Result of the review. `Justified`: the override or the reaction to the incident was right. `NotJustified`: the
    /// override or the reaction was wrong. Required for `Review`, and not allowed for other decisions. Default: none.
    /// Example: `Justified`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<ReviewOutcome>,

    /// Reason for the decision, in the words of the person. Required for `Reject`, `Revoke` and `Review`.
    /// Default: none. Example: `Impact assessment and test reports reviewed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub reason: Option<String>,

    /// Time at which the approval ends. The time must be in the future, unless the decision is signed. The validity of
    /// the risk level can end the approval earlier. Rejections and revocations have no end, and ignore this time.
    /// Default: none, so only the validity of the risk level ends the approval. Example: `2027-03-31T00:00:00Z`.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "super::time::optional_time_or_past"
    )]
    #[schemars(regex(pattern = super::time::TIME_PATTERN))]
    #[x_kube(validation = ("self < timestamp('9000-01-01T00:00:00Z')", "the year must be before 9000"))]
    pub not_after: Option<Time>,

    /// Person who decided. Leave this field out. The API server sets it from the request. Before Kubernetes 1.36, the
    /// `kubectl assent` plugin sets it. Absent in a signed decision. Example: `{ user: alice@acme-bank.example }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approver: Option<Approver>,

    /// Signature of the decision by a key that the `ApproverRole` lists. The owner of the key is the approver, and any
    /// account may apply the object. Default: none, so the user who creates the object is the approver.
    /// Example: `{ signedAt: 2026-11-24T12:00:00Z, ssh: "-----BEGIN SSH SIGNATURE-----…" }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
}

/// A signature that a person made outside the cluster, for example with `kubectl assent approve --ssh-key`.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Signature {
    /// Time of the signature. This time is part of the signed text. The decisions `Approve`, `Resume`,
    /// `Override` and `Review` count from this time. In these decisions, the time must not be later than the
    /// creation of the `Approval`.
    /// Example: `2026-11-24T12:00:00Z`.
    #[serde(deserialize_with = "super::time::time_or_past")]
    #[schemars(regex(pattern = super::time::TIME_PATTERN))]
    pub signed_at: Time,
    /// Signature in the format of `ssh-keygen -Y sign -n approval@assent.dev`.
    /// Example: text that starts with `-----BEGIN SSH SIGNATURE-----`.
    #[schemars(length(min = 1, max = 4096), regex(pattern = r"^-----BEGIN SSH SIGNATURE-----"))]
    pub ssh: String,
}

/// The decision of a person.
#[derive(
    JsonSchema,
    clap::ValueEnum,
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
)]
pub enum Decision {
    /// The version may run.
    Approve,
    /// The version may not run, under any name, until the same user approves it in the same role.
    Reject,
    /// The version may no longer run, under any name. All earlier approvals are void.
    Revoke,
    /// The named assessments count as evidence. This decision neither clears nor withholds a version by itself.
    Attest,
    /// The named incident no longer holds the version. This decision does not clear a version by itself.
    Resume,
    /// The named override waives requirements of the version.
    Override,
    /// The person judged the named override or incident afterwards. This decision clears no version.
    Review,
}

/// The result of a review.
#[derive(
    JsonSchema,
    clap::ValueEnum,
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
)]
#[value(rename_all = "verbatim")]
pub enum ReviewOutcome {
    /// The override or the reaction to the incident was right.
    Justified,
    /// The override or the reaction to the incident was not right.
    NotJustified,
}

impl Decision {
    /// Whether the decision by itself withholds a version.
    pub const fn withholds(self) -> bool {
        matches!(self, Self::Reject | Self::Revoke)
    }

    /// Whether the decision is about the version itself. The other decisions are about assessments, incidents or
    /// overrides.
    pub const fn is_about_version(self) -> bool {
        matches!(self, Self::Approve | Self::Reject | Self::Revoke)
    }

    /// Whether the decision can let a version run. A signed decision of this kind counts from the time of its
    /// signature, and only while its key belongs to the role. `Review` is of this kind, because a missing review can
    /// withhold a version.
    pub const fn permits(self) -> bool {
        matches!(self, Self::Approve | Self::Resume | Self::Override | Self::Review)
    }
}

impl ApprovalSpec {
    /// Whether the decision signs the assessment `name`. `digest` is the digest of `assessment`.
    pub fn attests(&self, name: &str, digest: &Digest, assessment: &AssessmentSpec) -> bool {
        assessment.system == *self.system
            && assessment.subject_digest == self.subject_digest
            && self.assessments.iter().any(|signed| signed.name == *name && signed.digest == *digest)
    }
}

/// An assessment that a person signs.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttestedAssessment {
    /// Name of the `Assessment` of this namespace. Example: `credit-scorer-v1-fairness`.
    #[schemars(length(min = 1, max = 253))]
    pub name: Text,
    /// Digest of the content of the `Assessment`, from its `status.digest`. The decision counts only for this content.
    /// Example: `sha256:` and 64 hexadecimal digits.
    pub digest: Digest,
}

/// A record that a decision is about: an `Incident` or an `Override`.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordReference {
    /// Name of the record in this namespace. Example: `credit-scorer-7f3k2`.
    #[schemars(length(min = 1, max = 253))]
    pub name: Text,
    /// Digest of the content of the record, from its `status.digest`. The decision counts only for this content.
    /// Example: `sha256:` and 64 hexadecimal digits.
    pub digest: Digest,
}

/// A person, as the API server authenticates them.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Approver {
    /// User name of the person. Example: `alice@acme-bank.example`.
    #[schemars(length(min = 1, max = 1024))]
    pub user: String,
    /// Identifier of the user, if the authenticator provides one. Default: none. Example: `1f6c2a70`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub uid: Option<String>,
    /// Groups of the user. Default: none. Example: `[risk-officers]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024), inner(length(max = 1024)))]
    pub groups: Vec<String>,
}

impl From<UserInfo> for Approver {
    fn from(user: UserInfo) -> Self {
        Self {
            user: user.username.unwrap_or_default(),
            uid: user.uid.filter(|uid| !uid.is_empty()),
            groups: user.groups.unwrap_or_default(),
        }
    }
}

/// State of a decision: whether it counts, its end, and the reason if it does not count.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalStatus {
    /// Generation of the object that this status describes. Absent before the first status. Example: `1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Conditions of the decision. `Ready`: whether the operator processed it. `Counted`: whether the decision has an
    /// effect. Absent before the first status.
    /// Example: `[{ type: Counted, status: "True", … }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Conditions,

    /// Time at which the approval ends, by its own `notAfter` or by the validity of the risk level. Absent if the
    /// approval has no end, and for all other decisions. Example: `2027-03-31T00:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,

    /// User name of the owner of the key that signed the decision, if the signature is valid. If governance removes the
    /// key from the role, `Approve`, `Resume`, `Override` and `Review` lose this name and no longer count. Rejections
    /// and revocations stay in effect. Absent without a valid signature. Example: `alice@acme-bank.example`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub signed_by: Option<String>,
}
