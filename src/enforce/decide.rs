//! What is to become of a pod: a pure function of the pod, its namespace's clearance and the time.
//!
//! ```text
//!                    cleared     not cleared
//!  gated             Release     Hold
//!  bound or pending  Keep        Stop: evict for the first half of the grace, then delete
//!  being deleted     Ignore      Stop if its end is beyond the grace, else Ending
//!  ended             Ignore      Ignore
//! ```
//!
//! A pod that has a node is never deleted with a grace of zero: the API server would forget it at once, while
//! its containers may run on, on a node that does not answer even for ever.

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::roster::Pod;
use crate::{
    api::{ClearanceSpec, ClearedVersion, OnLoss, SystemClearance},
    policy::matches,
};

/// What is to become of a pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision<'a> {
    /// Nothing: it ended, it is ending in time, or nobody governs it.
    Ignore,
    /// It runs on.
    Keep,
    /// It stays held.
    Hold,
    /// Its gate is lifted, for the version or because its namespace is governed no more.
    Release(Option<&'a ClearedVersion>),
    /// It is stopped.
    Stop(Step),
    /// It is being stopped as fast as can be asked for, and overdue from this instant on.
    Ending(Timestamp),
}

/// How long after its end a kubelet may take to tell that a pod has ended.
const CONFIRMATION: SignedDuration = SignedDuration::from_secs(5);

/// The least grace that leaves it to the kubelet to say when a pod has ended.
const LEAST_GRACE: u32 = 1;

/// The next step of stopping a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Respecting disruption budgets; if they do not allow it, again until `until`.
    Evict {
        /// Seconds for the pod to end by itself.
        grace_period_seconds: u32,
        /// When the budgets' time is over.
        until: Timestamp,
    },
    /// Whatever the budgets say.
    Delete {
        /// Seconds for the pod to end by itself.
        grace_period_seconds: u32,
    },
}

/// Decides about `pod` at `now`. `lost_since` is when it was first seen without clearance.
pub fn decide<'a>(
    pod: &Pod,
    clearance: Option<&'a ClearanceSpec>,
    lost_since: Option<Timestamp>,
    now: Timestamp,
) -> Decision<'a> {
    if pod.ended {
        return Decision::Ignore;
    }
    let Some(clearance) = clearance.filter(|c| c.enforced) else {
        return if pod.gated { Decision::Release(None) } else { Decision::Ignore };
    };
    let system = clearance.systems.get(&*pod.system);
    match (cleared(pod, system, now), pod.gated) {
        (Some(_), _) | (None, true) if pod.ends_at.is_some() => Decision::Ignore,
        (Some(version), true) => Decision::Release(Some(version)),
        (Some(_), false) => Decision::Keep,
        (None, true) => Decision::Hold,
        (None, false) => stop(pod, system, lost_since.unwrap_or(now), now),
    }
}

/// The cleared version that the pod is.
fn cleared<'a>(pod: &Pod, system: Option<&'a SystemClearance>, now: Timestamp) -> Option<&'a ClearedVersion> {
    let runtime = pod.runtime.as_ref().as_ref().ok()?;
    system?.cleared.iter().find(|version| now < version.not_after.0 && matches(&version.runtime, runtime))
}

fn stop(pod: &Pod, system: Option<&SystemClearance>, since: Timestamp, now: Timestamp) -> Decision<'static> {
    let grace = system.map_or(OnLoss::DEFAULT_GRACE_PERIOD_SECONDS, |s| s.grace_period_seconds);
    let deadline = since + SignedDuration::from_secs(grace.into());
    let budgets_until = since + SignedDuration::from_millis(i64::from(grace) * 500);
    if let Some(ends_at) = pod.ends_at
        && (ends_at <= deadline.max(now) || pod.ends_with.is_some_and(|grace| grace <= LEAST_GRACE))
    {
        return Decision::Ending(ends_at.max(deadline) + CONFIRMATION);
    }
    let left = u32::try_from(deadline.duration_since(now).as_secs()).unwrap_or(0);
    let grace_period_seconds = left.min(pod.termination_grace).max(LEAST_GRACE);
    Decision::Stop(if now < budgets_until && pod.ends_at.is_none() {
        Step::Evict { grace_period_seconds, until: budgets_until }
    } else {
        Step::Delete { grace_period_seconds }
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{api::core::v1 as core, apimachinery::pkg::apis::meta::v1::Time};
    use kube::core::ObjectMeta;

    use super::{super::roster::Roster, *};

    fn pod(deleted: Option<(Timestamp, i64)>) -> Pod {
        let metadata = ObjectMeta {
            name: Some("pod".to_owned()),
            deletion_timestamp: deleted.map(|(at, _)| Time(at)),
            deletion_grace_period_seconds: deleted.map(|(_, grace)| grace),
            ..ObjectMeta::default()
        };
        let mut roster = Roster::default();
        let key = roster.set_pod(&core::Pod { metadata, ..core::Pod::default() });
        roster.pod_mut(&key).map(|(pod, _)| pod.clone()).expect("it was put in")
    }

    #[test]
    fn what_is_long_overdue_is_asked_to_end_once_and_not_forgotten() {
        let clearance = ClearanceSpec { enforced: true, ..ClearanceSpec::default() };
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1);
        let decide = |pod: &Pod| decide(pod, Some(&clearance), Some(Timestamp::UNIX_EPOCH), now);
        assert_eq!(decide(&pod(None)), Decision::Stop(Step::Delete { grace_period_seconds: 1 }));
        // By a clock of the API server that is half a minute ahead, it ends too late; but there is no sooner.
        let ahead = now + SignedDuration::from_secs(31);
        assert_eq!(decide(&pod(Some((ahead, 1)))), Decision::Ending(ahead + CONFIRMATION));
        assert_eq!(
            decide(&pod(Some((ahead, 30)))),
            Decision::Stop(Step::Delete { grace_period_seconds: 1 }),
            "somebody gave it longer than it has"
        );
    }
}
