//! A role in which people decide, and the keys with which they can do so from outside the cluster.
//!
//! Who holds a role is said twice over: by RBAC (the verb `approve` on `approverroles.assent.dev/<role>`) for those who
//! sign at the API server, and here, by key, for those who sign in Git. Either is enough.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::Approver;

/// A role in which people decide, by the name that a `RiskLevel` gives it (ISO/IEC 42001 A.3.2).
///
/// Written by governance: whoever can write it can let anybody approve.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "assent.dev",
    version = "v1alpha1",
    kind = "ApproverRole",
    doc = "A role in which people decide, and the keys whose signatures count in it (ISO/IEC 42001 A.3.2).",
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
    /// What the role decides, in the organisation's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub description: Option<String>,

    /// The keys whose signatures count as decisions in this role. A key that is taken away takes the decisions
    /// signed with it along.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub keys: Vec<ApproverKey>,
}

/// A person's key.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!self.approver.user.startsWith('system:')", "a service account or a component of the cluster is not a person and cannot approve"))]
pub struct ApproverKey {
    /// Whose it is, by the names that the API server knows the person by: owners do not count where duties are separated.
    pub approver: Approver,

    /// The key as OpenSSH writes it, in one line: Ed25519 or ECDSA P-256, in a file, an agent or a security key.
    #[schemars(
        length(max = 1024),
        regex(
            pattern = r"^(ssh-ed25519|ecdsa-sha2-nistp256|sk-ssh-ed25519@openssh\.com|sk-ecdsa-sha2-nistp256@openssh\.com) [A-Za-z0-9+/]+=*( .*)?$"
        )
    )]
    pub public_key: String,

    /// Decisions that were recorded before do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("self < timestamp('9000-01-01T00:00:00Z')", "the year must be before 9000"))]
    pub not_before: Option<Time>,

    /// Decisions that were recorded from then on do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("self < timestamp('9000-01-01T00:00:00Z')", "the year must be before 9000"))]
    pub not_after: Option<Time>,
}
