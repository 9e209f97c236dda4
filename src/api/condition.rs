//! The conditions in the status of an object, in the form that the Kubernetes API conventions and kstatus require.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::Text;

/// A `metav1.Condition`. The fields have the type [`Text`], because many conditions have equal texts, and [`Text`]
/// keeps each text in memory only once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// The type of the condition, such as `Ready`.
    #[serde(rename = "type")]
    pub type_: Text,
    /// The status: `True`, `False` or `Unknown`.
    pub status: Text,
    /// The reason for the status, as one word.
    pub reason: Text,
    /// The reason for the status, as text.
    pub message: Text,
    /// The generation of the object that the condition describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The time of the last change of the status.
    pub last_transition_time: Time,
}

/// The `conditions` of a status, with one entry for each type.
pub type Conditions = Vec<Condition>;

/// The fields of a stored condition that the operator needs for the next condition of the same type.
#[derive(Clone, Debug)]
pub struct ConditionState {
    /// The type of the condition, such as `Ready`.
    pub type_: Text,
    /// The status: `True`, `False` or `Unknown`.
    pub status: Text,
    /// The reason for the status, as one word.
    pub reason: Text,
    /// The time of the last change of the status.
    pub since: Time,
}

/// The [`ConditionState`] of each condition.
pub fn condition_states(conditions: &[Condition]) -> Box<[ConditionState]> {
    let state = |Condition { type_, status, reason, last_transition_time, .. }: &Condition| ConditionState {
        type_: type_.clone(),
        status: status.clone(),
        reason: reason.clone(),
        since: last_transition_time.clone(),
    };
    conditions.iter().map(state).collect()
}

/// Makes a condition as [`condition_of`] does, with the status `True` or `False`.
pub fn condition(
    before: &[ConditionState],
    (type_, status): (&str, bool),
    reason: &str,
    message: String,
    observed_generation: Option<i64>,
    now: Timestamp,
) -> Condition {
    let status = if status { "True" } else { "False" };
    condition_of(before, (type_, status), reason, message, observed_generation, now)
}

/// Makes a condition with the status `True`, `False` or `Unknown`. If `before` contains a condition of the same type
/// with the same status, the new condition keeps the earlier `lastTransitionTime`.
pub fn condition_of(
    before: &[ConditionState],
    (type_, status): (&str, &str),
    reason: &str,
    message: String,
    observed_generation: Option<i64>,
    now: Timestamp,
) -> Condition {
    let since = before.iter().find(|c| c.type_ == type_ && c.status == status);
    Condition {
        type_: type_.into(),
        status: status.into(),
        reason: reason.into(),
        message: message.into(),
        observed_generation,
        last_transition_time: since.map_or(Time(now), |c| c.since.clone()),
    }
}

/// The type of the condition that systems and versions have while an open incident concerns them.
pub const INCIDENT_OPEN: &str = "IncidentOpen";

/// The schema of [`Conditions`]: a list map keyed by `type`, as in `metav1.Condition`.
pub fn conditions_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "description": "A condition of the object, as in other Kubernetes APIs.",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": {
                    "type": "string",
                    "maxLength": 316,
                    "description": "Type of the condition. Example: `Ready`."
                },
                "status": {
                    "type": "string",
                    "enum": ["True", "False", "Unknown"],
                    "description": "Status of the condition. Example: `True`."
                },
                "observedGeneration": {
                    "type": "integer",
                    "format": "int64",
                    "minimum": 0,
                    "description": "Generation of the object that the condition describes. Absent if not known. Example: `3`."
                },
                "lastTransitionTime": {
                    "type": "string",
                    "format": "date-time",
                    "description": "Time of the last change of the status. Example: `2026-11-24T12:00:00Z`."
                },
                "reason": {
                    "type": "string",
                    "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                    "description": "Reason for the status as one word. Example: `AwaitingApproval`."
                },
                "message": {
                    "type": "string",
                    "maxLength": 32768,
                    "description": "Reason for the status as text, with the next command if one helps."
                }
            }
        }
    })
}
