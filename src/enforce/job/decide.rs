//! Decides about a Job or `CronJob`. The decision is a pure function of the object, its clearance and the time.
//!
//! ```text
//!  state                may not run    may run
//!  Runs                 Suspend
//!  SuspendedByAssent                   Resume, or HandBack if a manager resumes the Job
//!  SuspendedByItsUser
//! ```

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::{
    super::cleared::{began, cleared_if_pinned, governing, turn},
    object::{Job, State},
};
use crate::{
    api::{ClearanceSpec, OnLoss, OnLossMode},
    policy::Suspender,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JobChange {
    Suspend,
    Resume,
    /// Remove only the label. The manager of the Job resumes the Job.
    HandBack,
}

/// The next change of `job`, and the instant at which it is due.
pub(super) fn decide(
    job: &Job,
    clearance: Option<&ClearanceSpec>,
    now: Timestamp,
) -> Option<(JobChange, Timestamp)> {
    let clearance = governing(clearance, job.scope);
    let may_run = clearance.is_none_or(|clearance| {
        job.runtime.as_ref().is_ok_and(|r| cleared_if_pinned(clearance, &job.system, r, now).is_some())
    });
    let on_loss = clearance.and_then(|c| c.systems.get(&*job.system)).map(|s| &s.on_loss);
    match (job.state, may_run) {
        (State::Runs, false)
            if on_loss.is_none_or(|on_loss| on_loss.mode != OnLossMode::Audit)
                && clearance.is_some_and(|clearance| may_suspend(job, clearance)) =>
        {
            let grace = on_loss.map_or(OnLoss::DEFAULT_GRACE_PERIOD_SECONDS, |o| o.grace_period_seconds);
            let began = clearance.and_then(|clearance| began(clearance, job.created));
            Some((JobChange::Suspend, began.map_or(now, |began| turn(&job.uid, began, grace))))
        }
        (State::SuspendedByAssent, true) if job.suspender == Suspender::Manager => {
            Some((JobChange::HandBack, now))
        }
        (State::SuspendedByAssent, true) => Some((JobChange::Resume, now)),
        _ => None,
    }
}

/// Whether Assent may suspend `job`. If a controller or a queue also sets `spec.suspend`, Assent suspends the Job only
/// once. Such a Job must also be older than the last loss of clearance in its system, or than the start of enforcement in
/// its namespace.
fn may_suspend(job: &Job, clearance: &ClearanceSpec) -> bool {
    let lost_at = clearance.systems.get(&*job.system).and_then(|system| system.lost_at.as_ref());
    // `lostAt` also counts for a Job that is up to one second younger. The operator first sets `lostAt` and then writes
    // the Clearance. Until this write, the API server decides by the old Clearance.
    let lost = lost_at.is_some_and(|at| at.0 + SignedDuration::from_secs(1) >= job.created);
    job.suspender == Suspender::User || !job.labelled && (lost || began(clearance, job.created).is_some())
}
