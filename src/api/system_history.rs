//! The life of an AI system as the operator saw it: it stays when the system is deleted.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Every change that altered a verdict on a version of one `AISystem`, and every deletion. It has the name of the
/// system. The operator alone writes it; it goes when its namespace goes.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "assent.dev",
    version = "v1alpha1",
    kind = "SystemHistory",
    plural = "systemhistories",
    doc = "The changes that altered a verdict on an AISystem, and the deletions. Written by the operator alone.",
    namespaced,
    derive = "PartialEq",
    shortname = "syshist",
    category = "assent",
    printcolumn(name = "Dropped", type_ = "integer", json_path = ".spec.dropped"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct SystemHistorySpec {
    /// The last 256 entries, the oldest first. `kubectl assent history SYSTEM` shows them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub entries: Vec<HistoryEntry>,

    /// How many older entries had no room. 0 by default.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub dropped: u64,

    /// The state that the next change is compared with.
    #[serde(default)]
    pub observed: Observed,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// When the operator saw it.
    pub at: Time,

    /// The kind of change, such as `Withheld`.
    pub change: Change,

    /// The object that changed, such as `modelversion/v2` or `risklevel/high`.
    #[schemars(length(min = 1, max = 512))]
    pub object: String,

    /// The user who made the change, as the API server stamped it, such as `alice`. Absent for deletions, for verdicts,
    /// and before Kubernetes 1.36.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub by: Option<String>,

    /// The field manager that made the change, where the API server stamped no user. It proves nothing: any client can
    /// claim any name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub field_manager: Option<String>,

    /// The reason of a verdict, such as `AwaitingApproval`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub reason: Option<String>,

    /// The verdict in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub note: Option<String>,
}

/// A kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Change {
    /// Somebody changed or replaced the object, and a verdict is another.
    Changed,
    /// Somebody deleted the object.
    Deleted,
    /// The version may run from now on.
    Cleared,
    /// The version may not run from now on.
    Withheld,
}

/// The state of one system at the last compile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Observed {
    /// The system, its risk level, and the roles that the level requires, as far as they exist.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub sources: Vec<ObservedSource>,

    /// The versions with their verdicts: at most 512, those that may run first, then the newest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 512))]
    pub versions: Vec<ObservedVersion>,
}

/// One state of an object that verdicts depend on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObservedSource {
    /// The object, such as `risklevel/high`.
    #[schemars(length(min = 1, max = 512))]
    pub object: String,
    /// Its uid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub uid: Option<String>,
    /// Its generation, which counts the changes of its `spec`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub generation: Option<i64>,
}

/// The verdict on one version.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObservedVersion {
    /// The `ModelVersion`.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its uid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub uid: Option<String>,
    /// The reason of its `Cleared` condition, such as `Cleared` or `Revoked`.
    #[schemars(length(min = 1, max = 64))]
    pub verdict: String,
}
