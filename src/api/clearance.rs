//! The one object that enforcement reads, in the API server and in the operator alike.
//!
//! ```text
//! Clearance "clearance" ─┬ trusted              what may be in any pod besides  admission, release
//!                        └ systems ── <name> ─┬─ cleared[]   runtime + notAfter  admission, release
//!                                             ├─ withheld[]  reason, message     events
//!                                             └─ onLoss, lostAt                  stop
//! ```

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{Digest, Mode, OnLoss, Scope, SharedRuntime, Trusted};

/// The name of the one `Clearance` of a namespace.
pub const CLEARANCE_NAME: &str = "clearance";

/// What may run in a namespace and until when. Written by the operator alone.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "assent.dev",
    version = "v1alpha1",
    kind = "Clearance",
    doc = "What may run in a namespace and until when. Written by the operator alone.",
    namespaced,
    derive = "PartialEq",
    shortname = "clr",
    category = "assent",
    validation = ("self.metadata.name == 'clearance'", "the one Clearance of a namespace is named clearance"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(name = "Scope", type_ = "string", json_path = ".spec.scope"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
// Written as a whole: who owns which field need not be told, and read with every pod that is created.
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct ClearanceSpec {
    /// What is done about pods that are not cleared; absent: nothing, the namespace is not governed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,

    /// Which pods are governed.
    #[serde(default)]
    pub scope: Scope,

    /// Since when mode and scope are these: the grace of what ran before counts from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,

    /// What the cluster may put into pods besides what was approved: of every `TrustedSidecar`.
    #[serde(default, skip_serializing_if = "Trusted::is_empty")]
    pub trusted: Trusted,

    /// The systems of the namespace by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 256))]
    pub systems: BTreeMap<String, SystemClearance>,
}

/// What may run of one system.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SystemClearance {
    /// The versions that may run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub cleared: Vec<ClearedVersion>,

    /// The versions that may not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub withheld: Vec<WithheldVersion>,

    /// What happens to running pods on a loss: as the risk level says or, for a while after the system
    /// changed to a milder level, as the earlier level says.
    #[serde(default)]
    pub on_loss: OnLoss,

    /// The risk level that the system names, such as `high`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub risk_level: Option<String>,

    /// When the system last changed to a milder risk level while pods of an earlier level could still run.
    /// Absent: `onLoss` is that of the level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switched_at: Option<Time>,

    /// When a version last lost its clearance: the grace counts from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_at: Option<Time>,
}

/// A version that may run.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClearedVersion {
    /// The `ModelVersion`.
    #[schemars(length(max = 253))]
    pub model_version: String,
    /// What was approved.
    pub subject_digest: Digest,
    /// From this instant on it may not run. In whole seconds, as is a pod's creation.
    pub not_after: Time,
    /// What its pods must look like.
    pub runtime: SharedRuntime,
}

/// A version that may not run.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WithheldVersion {
    /// The `ModelVersion`.
    #[schemars(length(max = 253))]
    pub model_version: String,
    /// Why, in one word.
    #[schemars(length(max = 63))]
    pub reason: String,
    /// Why, in words, and what to do.
    #[schemars(length(max = 4096))]
    pub message: String,
}
