//! The `ApproverRole` resource: a role in which people decide, and the keys of people who sign outside the cluster.
//!
//! There are two ways to hold a role, and one is enough. RBAC gives the role for decisions at the API server, with the
//! verb `approve` on `approverroles.assent.dev/<role>`. The keys of this resource give the role for signed decisions in
//! Git.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::Approver;

/// Description and keys of a role in which people decide (ISO/IEC 42001 A.3.2). A `RiskLevel` requires roles by name.
///
/// Governance writes this resource. A user who can write the resource can let any person approve.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "assent.dev",
    version = "v1alpha1",
    kind = "ApproverRole",
    doc = "A role in which people decide, and the keys with which they can sign (ISO/IEC 42001 A.3.2).",
    derive = "PartialEq",
    shortname = "apr",
    category = "assent",
    printcolumn(name = "Keys Of", type_ = "string", json_path = ".spec.keys[*].approver.user"),
    printcolumn(
        name = "Changed By",
        type_ = "string",
        json_path = r".metadata.annotations.assent\.dev/changed-by",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ApproverRoleSpec {
    /// Task of the role, in the words of the organisation. Default: none.
    /// Example: `Accepts the residual risk of high-risk systems`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub description: Option<String>,

    /// Keys whose signatures count as decisions in this role. If you remove a key, approvals and results that this key
    /// signed no longer clear a version. Verified rejections and revocations stay in effect. Default: none, so no
    /// signature counts.
    /// Example: `[{ approver: { user: alice@acme-bank.example }, publicKey: ssh-ed25519 AAAAC3… alice }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub keys: Vec<ApproverKey>,
}

/// A public key of a person.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!self.approver.user.startsWith('system:')", "a user whose name begins with system: is not a person and cannot approve"))]
pub struct ApproverKey {
    /// Owner of the key. Use the names with which the API server authenticates this person. Otherwise Assent does not
    /// notice that the person owns or wrote a system. Example: `{ user: alice@acme-bank.example }`.
    pub approver: Approver,

    /// Public key as one line in the format of OpenSSH. Ed25519 and ECDSA P-256 are allowed, also on a security key.
    /// Example: `ssh-ed25519 AAAAC3… alice`.
    #[schemars(
        length(max = 1024),
        regex(
            pattern = r"^(ssh-ed25519|ecdsa-sha2-nistp256|sk-ssh-ed25519@openssh\.com|sk-ecdsa-sha2-nistp256@openssh\.com) [A-Za-z0-9+/]+=*( .*)?$"
        )
    )]
    pub public_key: String,

    /// Time from which the key is valid. Decisions that were recorded earlier do not count. Default: no limit.
    /// Example: `2026-01-01T00:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("self < timestamp('9000-01-01T00:00:00Z')", "the year must be before 9000"))]
    pub not_before: Option<Time>,

    /// Time until which the key is valid. Decisions that are recorded from then on do not count. Default: no limit.
    /// Example: `2027-01-01T00:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("self < timestamp('9000-01-01T00:00:00Z')", "the year must be before 9000"))]
    pub not_after: Option<Time>,
}
