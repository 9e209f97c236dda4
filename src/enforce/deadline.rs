//! The dead-man switch: `activeDeadlineSeconds` stops a pod when its clearance ends. The kubelet stops the pod even if
//! the operator and the API server are down. The deadline counts from `status.startTime` of the pod.
//!
//! - If the clearance ends earlier than before, the operator lowers the deadline.
//! - If the clearance ends later than before, the operator cannot raise the deadline, because the API server refuses a
//!   higher value. So the operator evicts the pods of an owner one after the other. The replacements have the later
//!   deadline.
//! - The operator does not evict a pod of a Job or a pod without an owner, because no other pod continues its work.
//!   Such a pod keeps its deadline.

use k8s_openapi::{
    api::core::v1 as core,
    jiff::{SignedDuration, Timestamp},
};
use kube::ResourceExt;

use super::owner::OwnerRef;
use crate::api::DEADLINE_ANNOTATION;

/// The maximum `activeDeadlineSeconds` that the API server accepts.
const MAX_SECONDS: i64 = i32::MAX as i64;

/// The fields of a pod that determine its deadline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Life {
    pub(super) started: Option<Timestamp>,
    /// The `activeDeadlineSeconds` of the pod.
    pub(super) seconds: Option<i64>,
    /// Whether the operator set the deadline. If the pod template sets the deadline, a replacement has the same
    /// deadline, so an eviction would not help.
    set_by_operator: bool,
    /// Whether the pod has an owner, and this owner is not a Job.
    replaced: bool,
}

impl Life {
    pub(super) fn of(pod: &core::Pod, owner: Option<&OwnerRef>) -> Self {
        let seconds = pod.spec.as_ref().and_then(|spec| spec.active_deadline_seconds);
        let noted = pod.annotations().get(DEADLINE_ANNOTATION).and_then(|noted| noted.parse().ok());
        Self {
            started: pod.status.as_ref().and_then(|status| status.start_time.as_ref()).map(|at| at.0),
            seconds,
            set_by_operator: seconds.is_some() && noted == seconds,
            replaced: owner.is_some_and(|owner| owner.kind != "Job"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deadline {
    Stays,
    /// The new `activeDeadlineSeconds`.
    Set(i64),
    /// The deadline is too early, and the API server does not let the operator raise it. The operator replaces the pod
    /// at this instant.
    RollAt(Timestamp),
}

/// Decides about the deadline of a pod that is cleared until `not_after`. `grace` is the grace period of the
/// risk level, in seconds.
pub(super) fn deadline(life: &Life, not_after: Timestamp, grace: u32) -> Deadline {
    let Some(started) = life.started else { return Deadline::Stays };
    let wanted = not_after.duration_since(started).as_secs().max(1);
    match life.seconds {
        None if wanted <= MAX_SECONDS => Deadline::Set(wanted),
        Some(seconds) if wanted < seconds => Deadline::Set(wanted),
        Some(seconds) if wanted > seconds && life.set_by_operator && life.replaced => {
            let ahead = i64::from(grace).max(seconds / 10);
            Deadline::RollAt(started + SignedDuration::from_secs(seconds.saturating_sub(ahead).max(0)))
        }
        _ => Deadline::Stays,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: u32 = 60;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).expect("an instant")
    }

    fn never() -> Timestamp {
        "9999-12-30T00:00:00Z".parse().expect("an instant")
    }

    fn life(seconds: Option<i64>) -> Life {
        Life { started: Some(at(0)), seconds, set_by_operator: true, replaced: true }
    }

    #[test]
    fn deadline_is_not_later_than_the_clearance_and_missing_without_an_end() {
        assert_eq!(deadline(&life(None), at(3600), GRACE), Deadline::Set(3600));
        let half = at(3600) + SignedDuration::from_millis(999);
        assert_eq!(deadline(&life(None), half, GRACE), Deadline::Set(3600));
        assert_eq!(deadline(&life(None), at(0), GRACE), Deadline::Set(1));
        assert_eq!(deadline(&life(None), never(), GRACE), Deadline::Stays);
        let waiting = Life { started: None, ..life(None) };
        assert_eq!(deadline(&waiting, at(3600), GRACE), Deadline::Stays);
    }

    #[test]
    fn earlier_end_lowers_every_deadline() {
        for set_by_operator in [true, false] {
            let life = Life { set_by_operator, replaced: false, ..life(Some(3600)) };
            assert_eq!(deadline(&life, at(1800), GRACE), Deadline::Set(1800));
            assert_eq!(deadline(&life, at(3600), GRACE), Deadline::Stays);
        }
    }

    #[test]
    fn later_end_replaces_the_pod_in_the_last_tenth_or_the_grace_if_that_is_longer() {
        assert_eq!(deadline(&life(Some(3600)), at(7200), GRACE), Deadline::RollAt(at(3240)));
        assert_eq!(deadline(&life(Some(3600)), never(), GRACE), Deadline::RollAt(at(3240)));
        assert_eq!(deadline(&life(Some(100)), at(7200), GRACE), Deadline::RollAt(at(40)));
        assert_eq!(deadline(&life(Some(100)), at(7200), 3600), Deadline::RollAt(at(0)));
    }

    #[test]
    fn deadline_of_a_user_and_of_a_pod_without_replacement_stays() {
        for life in
            [Life { set_by_operator: false, ..life(Some(100)) }, Life { replaced: false, ..life(Some(100)) }]
        {
            assert_eq!(deadline(&life, at(7200), GRACE), Deadline::Stays);
        }
    }
}
