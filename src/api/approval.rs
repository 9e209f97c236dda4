//! A person's decision on what they read, and on nothing else.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Conditions, Digest, conditions_schema};

/// A decision by one person in one role on one subject digest. Final: it can be neither edited nor
/// deleted. A rejection or revocation supersedes it; another approval adds to it.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "assent.dev",
    version = "v1alpha1",
    kind = "Approval",
    doc = "A person's decision on one subject digest, in one role. Final.",
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
        description = "Who decided: whom the API server recorded, or whose key signed it"
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
#[x_kube(validation = ("self == oldSelf", "an approval is final: create another Approval with the decision Approve, Reject or Revoke"))]
#[x_kube(validation = ("!has(self.signature) || !has(self.approver)", "whose key signed it is who decided: leave spec.approver out"))]
pub struct ApprovalSpec {
    /// The `AISystem` of this namespace.
    #[schemars(length(min = 1, max = 63))]
    pub system: String,

    /// The `ModelVersion` of this namespace.
    #[schemars(length(min = 1, max = 253))]
    pub model_version: String,

    /// What was read: `kubectl get modelversion NAME -o jsonpath='{.status.subjectDigest}'`.
    pub subject_digest: Digest,

    /// The decision.
    pub decision: Decision,

    /// The role it is made in. Needs the RBAC verb `approve` on `approverroles.assent.dev/<role>`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub role: String,

    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub reason: Option<String>,

    /// When it ends, if before the level's validity does. Must lie in the future.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "super::time::optional_time_or_past"
    )]
    #[schemars(regex(pattern = super::time::TIME_PATTERN))]
    #[x_kube(validation = ("self < timestamp('9000-01-01T00:00:00Z')", "the year must be before 9000"))]
    pub not_after: Option<Time>,

    /// Who decided. Set by the API server from the request; leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approver: Option<Approver>,

    /// The signature of all this by a key that the `ApproverRole` lists. Then whose key it is has decided, and any
    /// account may apply it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
}

/// A signature that was made outside the cluster, as `kubectl assent approve --ssh-key` does.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Signature {
    /// When it was made; part of what is signed. An approval counts as made then, such as `2026-11-24T12:00:00Z`. It
    /// must not be later than the approval is recorded.
    #[serde(deserialize_with = "super::time::time_or_past")]
    #[schemars(regex(pattern = super::time::TIME_PATTERN))]
    pub signed_at: Time,
    /// The signature, as `ssh-keygen -Y sign -n approval@assent.dev` writes it.
    #[schemars(length(min = 1, max = 4096), regex(pattern = r"^-----BEGIN SSH SIGNATURE-----"))]
    pub ssh: String,
}

/// What is decided.
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
    /// It may run.
    Approve,
    /// It may not run, under whatever name, as long as this person does not approve after all.
    Reject,
    /// It may no longer run, under whatever name: every approval given before counts no more.
    Revoke,
}

/// A person as the API server authenticated them.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Approver {
    /// The user name.
    #[schemars(length(min = 1, max = 1024))]
    pub user: String,
    /// The user's identifier, where the authenticator has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub uid: Option<String>,
    /// The user's groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024), inner(length(max = 1024)))]
    pub groups: Vec<String>,
}

/// Whether a decision counts, and why not.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalStatus {
    /// The generation that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// `Ready`: it was read. `Counted`: it has effect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Conditions,

    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,

    /// Whose key signed it, where it carries a signature that counts. A rejection or revocation keeps it, and its
    /// effect, when the key leaves the role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub signed_by: Option<String>,
}
