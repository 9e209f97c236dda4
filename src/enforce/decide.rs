//! What is to become of a pod: a pure function of the pod, its namespace's clearance and the time.
//!
//! ```text
//!                    cleared     not cleared
//!  gated             Release     Hold
//!  bound or pending  Keep        Stop: evict for the first half of the grace, then delete
//!   of a Job         Keep        Await: the Job is suspended; after half of the grace, as above
//!  ended             Ignore      Ignore
//! ```

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::{
    deadline::{Deadline, deadline},
    roster::Pod,
};
use crate::{
    api::{ClearanceSpec, ClearedVersion, OnLoss, OnLossMode, Runtime, SystemClearance},
    policy::matches,
};

/// What is to become of a pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision<'a> {
    /// Nothing: it ended, it is ending in time, or nobody governs it.
    Ignore,
    /// It runs on.
    Keep,
    /// It runs on, and is looked at again then.
    KeepUntil(Timestamp),
    /// It runs on, and is to end so many seconds after its start.
    Bound(i64),
    /// It is cleared for longer than it may run: another takes its place.
    Roll,
    /// It stays held.
    Hold,
    /// Its gate is lifted, for the version or because its namespace is governed no more.
    Release(Option<&'a ClearedVersion>),
    /// It is held, and its controller waits for another in its place.
    Replace,
    /// It lost its clearance and runs on: its level only records that.
    Record,
    /// Its workload is stopped as a whole, and if that has not ended it by then, it is stopped by itself.
    StopWhole {
        /// Since when it should not run.
        since: Timestamp,
        /// When it is looked at again.
        until: Timestamp,
        /// What is done where a workload cannot be stopped as a whole.
        otherwise: Step,
    },
    /// It is to be stopped, and not by the operator yet: its Job is suspended and stops it, or others of its
    /// `StatefulSet` go first.
    Await {
        /// Since when it should not run.
        since: Timestamp,
        /// When it is looked at again.
        until: Timestamp,
    },
    /// It is stopped.
    Stop {
        /// Since when it should not run.
        since: Timestamp,
        /// How.
        step: Step,
    },
}

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

/// Decides about `pod` at `now`.
pub fn decide<'a>(pod: &Pod, clearance: Option<&'a ClearanceSpec>, now: Timestamp) -> Decision<'a> {
    if pod.ended {
        return Decision::Ignore;
    }
    let Some(clearance) = clearance.filter(|c| c.enforced) else {
        return if pod.gated { Decision::Release(None) } else { Decision::Ignore };
    };
    let system = clearance.systems.get(&*pod.system);
    match (cleared(pod, clearance, now), pod.gated) {
        (Some(_), _) | (None, true) if pod.ends_at.is_some() => Decision::Ignore,
        (Some(version), true) => Decision::Release(Some(version)),
        (Some(version), false) => end(pod, system, version, now),
        (None, true) => Decision::Hold,
        (None, false) => stop(pod, system, now),
    }
}

/// What becomes of a pod that runs and is cleared.
fn end(
    pod: &Pod,
    system: Option<&SystemClearance>,
    version: &ClearedVersion,
    now: Timestamp,
) -> Decision<'static> {
    let Some(system) = system.filter(|system| system.on_loss.dead_man_switch) else { return Decision::Keep };
    match deadline(&pod.life, version.not_after.0, system.on_loss.grace_period_seconds) {
        Deadline::Stays => Decision::Keep,
        Deadline::Set(seconds) => Decision::Bound(seconds),
        Deadline::RollAt(at) if now < at => Decision::KeepUntil(at),
        Deadline::RollAt(_) => Decision::Roll,
    }
}

/// The cleared version that the pod is.
fn cleared<'a>(pod: &Pod, clearance: &'a ClearanceSpec, now: Timestamp) -> Option<&'a ClearedVersion> {
    cleared_version(clearance, &pod.system, pod.runtime.as_ref().as_ref().ok()?, now)
}

/// The version of `system` that is cleared at `now` and has this runtime.
pub fn cleared_version<'a>(
    clearance: &'a ClearanceSpec,
    system: &str,
    runtime: &Runtime,
    now: Timestamp,
) -> Option<&'a ClearedVersion> {
    let cleared = &clearance.systems.get(system)?.cleared;
    let is = |version: &&ClearedVersion| matches(&version.runtime, &clearance.trusted, runtime);
    cleared.iter().find(|version| now < version.not_after.0 && is(version))
}

fn stop(pod: &Pod, system: Option<&SystemClearance>, now: Timestamp) -> Decision<'static> {
    let since = pod.lost_since(system.and_then(|s| s.lost_at.as_ref()).map(|at| at.0), now);
    let grace = system.map_or(OnLoss::DEFAULT_GRACE_PERIOD_SECONDS, |s| s.on_loss.grace_period_seconds);
    let deadline = since + SignedDuration::from_secs(grace.into());
    let budgets_until = since + SignedDuration::from_millis(i64::from(grace) * 500);
    if pod.ends_at.is_some_and(|ends_at| ends_at <= deadline.max(now)) {
        return Decision::Ignore;
    }
    let left = u32::try_from(deadline.duration_since(now).as_secs()).unwrap_or(0);
    let grace_period_seconds = left.min(pod.termination_grace);
    let evict = Step::Evict { grace_period_seconds, until: budgets_until };
    match system.map(|s| s.on_loss.mode).unwrap_or_default() {
        OnLossMode::Audit => Decision::Record,
        _ if now >= budgets_until || pod.ends_at.is_some() => {
            Decision::Stop { since, step: Step::Delete { grace_period_seconds } }
        }
        _ if pod.is_of_a_job() => Decision::Await { since, until: budgets_until },
        OnLossMode::ScaleDown | OnLossMode::Suspend if pod.owner.is_some() => {
            Decision::StopWhole { since, until: budgets_until, otherwise: evict }
        }
        OnLossMode::ScaleDown | OnLossMode::Suspend | OnLossMode::Evict => {
            Decision::Stop { since, step: evict }
        }
    }
}
