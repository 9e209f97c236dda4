//! Caches only two parts of a stored status. The next compile reads the kept fields, such as the states of the
//! conditions. The fingerprint covers the fields that a compile writes. If the new status has the same fingerprint, the
//! operator does not write the new status.
//!
//! Whole statuses with their texts would need much more memory.

use std::{fmt::Debug, ops::Deref};

use serde::Serialize;
use serde_json::Value;

use super::fingerprint::fingerprint;
use crate::{
    api::{
        AISystemStatus, ApprovalStatus, AssessmentStatus, ConditionState, IncidentStatus, ModelVersionStatus,
        OverrideStatus, PODS_HELD, PodCount, condition_states,
    },
    truncate::plain,
};

/// The cached part of a stored status: the kept fields `T` and a fingerprint.
#[derive(Debug)]
pub struct StoredStatus<T> {
    kept: T,
    fingerprint: u64,
}

impl<T> StoredStatus<T> {
    pub fn new<S: Serialize + Slim<Kept = T>>(status: S) -> Self {
        let fingerprint = fingerprint(&owned_fields(&status));
        Self { kept: status.slim(), fingerprint }
    }

    /// The fingerprint of the stored values of the fields that a compile writes.
    pub const fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

impl<T> Deref for StoredStatus<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.kept
    }
}

/// A status of which the operator caches only a part.
pub trait Slim {
    /// The fields of the status that the next compile reads.
    type Kept: Debug;

    fn slim(self) -> Self::Kept;
}

#[derive(Debug)]
pub struct KeptOfSystem {
    pub conditions: Box<[ConditionState]>,
    pub decommissioned: Option<bool>,
    pub pods: Option<PodCount>,
}

impl Slim for AISystemStatus {
    type Kept = KeptOfSystem;

    fn slim(self) -> KeptOfSystem {
        KeptOfSystem {
            conditions: condition_states(&self.conditions),
            decommissioned: self.decommissioned,
            pods: self.pods,
        }
    }
}

#[derive(Debug)]
pub struct KeptOfApproval {
    pub conditions: Box<[ConditionState]>,
    pub signed_by: Option<String>,
}

impl Slim for ApprovalStatus {
    type Kept = KeptOfApproval;

    fn slim(self) -> KeptOfApproval {
        KeptOfApproval { conditions: condition_states(&self.conditions), signed_by: self.signed_by }
    }
}

impl Slim for ModelVersionStatus {
    type Kept = Box<[ConditionState]>;

    fn slim(self) -> Box<[ConditionState]> {
        condition_states(&self.conditions)
    }
}

impl Slim for AssessmentStatus {
    type Kept = Box<[ConditionState]>;

    fn slim(self) -> Box<[ConditionState]> {
        condition_states(&self.conditions)
    }
}

#[derive(Debug)]
pub struct KeptOfIncident {
    pub conditions: Box<[ConditionState]>,
    /// The number of the tier that the escalation of the incident reached, or 0.
    pub tier: u32,
    /// The number of missed deadlines for which people have not written a note.
    pub missed: usize,
}

impl Slim for IncidentStatus {
    type Kept = KeptOfIncident;

    fn slim(self) -> KeptOfIncident {
        KeptOfIncident {
            conditions: condition_states(&self.conditions),
            tier: self.tier(),
            missed: self.missed().count(),
        }
    }
}

impl Slim for OverrideStatus {
    type Kept = Box<[ConditionState]>;

    fn slim(self) -> Box<[ConditionState]> {
        condition_states(&self.conditions)
    }
}

/// The fields of a status that a compile writes, without characters that the API server refuses. The pod counts and the
/// condition `PodsHeld` are left out, because `enforce` writes them.
pub fn owned_fields<S: Serialize>(status: &S) -> Value {
    let mut status = serde_json::to_value(status).unwrap_or_default();
    status.as_object_mut().map(|fields| fields.remove("pods"));
    if let Some(conditions) = status.get_mut("conditions").and_then(Value::as_array_mut) {
        conditions.retain(|condition| condition["type"] != PODS_HELD);
    }
    make_plain(&mut status);
    status
}

fn make_plain(value: &mut Value) {
    match value {
        Value::String(text) => *text = plain(text).into_owned(),
        Value::Array(items) => items.iter_mut().for_each(make_plain),
        Value::Object(fields) => fields.values_mut().for_each(make_plain),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_text_of_a_status_is_plain() {
        let status = json!({ "conditions": [{ "type": "Cleared", "message": "image x\u{80}y" }], "pods": 1,
            "approvals": [{ "user": "al\u{9f}ice" }] });
        let plain = json!({ "conditions": [{ "type": "Cleared", "message": "image x\u{fffd}y" }],
            "approvals": [{ "user": "al\u{fffd}ice" }] });
        assert_eq!(owned_fields(&status), plain);
    }

    #[test]
    fn a_status_without_its_texts_still_differs_from_another_text() {
        let status = |message: &str, pods: u32| -> AISystemStatus {
            serde_json::from_value(json!({ "clearedVersions": "v1", "decommissioned": true,
                "pods": { "running": pods, "held": 0, "terminating": 0 },
                "conditions": [{ "type": "Ready", "status": "True", "reason": "Cleared", "message": message,
                    "lastTransitionTime": "2026-01-01T00:00:00Z" }] }))
            .expect("a status")
        };
        let stored = StoredStatus::new(status("may run", 1));
        assert_eq!((stored.decommissioned, stored.pods.map(|pods| pods.running)), (Some(true), Some(1)));
        assert_eq!(&*stored.conditions[0].reason, "Cleared");
        let is_stored = |wanted: &AISystemStatus| fingerprint(&owned_fields(wanted)) == stored.fingerprint();
        assert!(is_stored(&status("may run", 1)));
        // The fingerprint ignores the pod counts, because `enforce` writes them.
        assert!(is_stored(&status("may run", 2)));
        assert!(!is_stored(&status("may run until tomorrow", 1)));
    }
}
