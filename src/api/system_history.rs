//! The `SystemHistory` resource: the changes of an AI system, as the operator saw them. The history stays after the
//! system is deleted.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Changes that altered a verdict on a version of one `AISystem`, and deletions of the system and its versions. The
/// object has the name of the system. Only the operator writes the object. Kubernetes deletes it with its namespace.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "assent.dev",
    version = "v1alpha1",
    kind = "SystemHistory",
    plural = "systemhistories",
    doc = "The changes that altered a verdict on an AISystem, and the deletions. Only the operator writes it.",
    namespaced,
    derive = "PartialEq",
    shortname = "syshist",
    category = "assent",
    printcolumn(name = "Dropped", type_ = "integer", json_path = ".spec.dropped"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct SystemHistorySpec {
    /// Entries of the history, the oldest first, at most the last 256. `kubectl assent history SYSTEM` shows them.
    /// Default: none.
    /// Example: `[{ at: 2026-11-24T12:00:00Z, change: Changed, object: risklevel/high }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub entries: Vec<HistoryEntry>,

    /// Number of older entries that the operator removed to limit the list. Default: 0. Example: `12`.
    #[serde(default)]
    #[schemars(range(min = 0), extend("format" = "int64"))]
    pub dropped: u64,

    /// State at the last entry. To find the next change, the operator compares the current objects with this state.
    /// Default: empty. Example: `{ versions: [{ name: credit-scorer-v1, verdict: Revoked }] }`.
    #[serde(default)]
    pub observed: Observed,
}

/// One change in the history of a system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// Time at which the operator saw the change. Example: `2026-11-24T12:00:00Z`.
    pub at: Time,

    /// Kind of the change. `Changed`: a user changed or replaced the object, and this altered a verdict. `Deleted`: a
    /// user deleted the object, and perhaps created it again. `Cleared`: the version may run from now on. `Withheld`:
    /// the version may not run from now on. Example: `Withheld`.
    pub change: Change,

    /// Object that changed, as kind and name. Example: `modelversion/v2` or `risklevel/high`.
    #[schemars(length(min = 1, max = 512))]
    pub object: String,

    /// User who made the change, as the API server recorded it. Absent for deletions, for verdicts, and before
    /// Kubernetes 1.36. Example: `alice`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub by: Option<String>,

    /// Field manager that made the change, if the API server recorded no user. The name proves nothing, because any
    /// client can claim any name. Absent if the user is known, for deletions and for verdicts.
    /// Example: `kubectl-client-side-apply`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub field_manager: Option<String>,

    /// Reason why the version may not run. Absent for other changes. Example: `AwaitingApproval`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub reason: Option<String>,

    /// Verdict as text. Absent if the change is not a verdict. Example: `may run until 2027-03-31T00:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub note: Option<String>,
}

/// The kind of a change in a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Change {
    /// A user changed or replaced the object, and this altered a verdict.
    Changed,
    /// A user deleted the object.
    Deleted,
    /// The version may run from now on.
    Cleared,
    /// The version may not run from now on.
    Withheld,
}

impl Change {
    /// The name of the kind of change. Programs can rely on this name.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Changed => "Changed",
            Self::Deleted => "Deleted",
            Self::Cleared => "Cleared",
            Self::Withheld => "Withheld",
        }
    }
}

/// The state of one system. To find the next change, the operator compares the current objects with this state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Observed {
    /// Objects on which the verdicts depend: the system, its risk level, and the `ApproverRoles` that the level
    /// requires. Objects that do not exist are not listed. Default: none.
    /// Example: `[{ object: risklevel/high, generation: 3 }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub sources: Vec<ObservedSource>,

    /// Versions with their verdicts, at most 512. If there are more, versions that may run take precedence, then the
    /// newest versions. Default: none. Example: `[{ name: credit-scorer-v1, verdict: Revoked }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 512))]
    pub versions: Vec<ObservedVersion>,
}

/// The state of one object on which verdicts depend.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObservedSource {
    /// Object as kind and name. Example: `risklevel/high`.
    #[schemars(length(min = 1, max = 512))]
    pub object: String,
    /// UID of the object. Absent if not known. Example: `1f6c2a70-3b1d-4c55-9a58-0f6d6e4c1f11`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub uid: Option<String>,
    /// Generation of the object. It increases with each change of the `spec`. Absent if not known.
    /// Example: `3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub generation: Option<i64>,
}

/// The verdict on one version.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObservedVersion {
    /// Name of the `ModelVersion`. Example: `credit-scorer-v1`.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// UID of the object. Absent if not known. Example: `1f6c2a70-3b1d-4c55-9a58-0f6d6e4c1f11`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub uid: Option<String>,
    /// Reason of the condition `Cleared` of the version. Example: `Revoked`.
    #[schemars(length(min = 1, max = 64))]
    pub verdict: String,
}
