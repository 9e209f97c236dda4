//! Conditions as the API conventions and kstatus want them, the same for every kind.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::Text;

/// A `metav1.Condition`, whose words, most of them those of many others, are in memory once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What it is about.
    #[serde(rename = "type")]
    pub type_: Text,
    /// `True` or `False`.
    pub status: Text,
    /// Why, in one word.
    pub reason: Text,
    /// Why, in words.
    pub message: Text,
    /// The generation of the object that it describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Since when its status is this.
    pub last_transition_time: Time,
}

/// The `conditions` of a status; one entry a type.
pub type Conditions = Vec<Condition>;

/// A condition that keeps its `lastTransitionTime` as long as its status is the one in `before`.
pub fn condition(
    before: &[Condition],
    (type_, status): (&str, bool),
    reason: &str,
    message: String,
    observed_generation: Option<i64>,
    now: Timestamp,
) -> Condition {
    let status = if status { "True" } else { "False" };
    let since = before.iter().find(|c| c.type_ == type_ && c.status == status);
    Condition {
        type_: type_.into(),
        status: status.into(),
        reason: reason.into(),
        message: message.into(),
        observed_generation,
        last_transition_time: since.map_or(Time(now), |c| c.last_transition_time.clone()),
    }
}

/// The schema of [`Conditions`]: a list map keyed by `type`, as in `metav1.Condition`.
pub fn conditions_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": { "type": "string", "maxLength": 316 },
                "status": { "type": "string", "enum": ["True", "False", "Unknown"] },
                "observedGeneration": { "type": "integer", "format": "int64", "minimum": 0 },
                "lastTransitionTime": { "type": "string", "format": "date-time" },
                "reason": { "type": "string", "maxLength": 1024, "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$" },
                "message": { "type": "string", "maxLength": 32768 }
            }
        }
    })
}
