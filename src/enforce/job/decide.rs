//! Decides about a Job or `CronJob`. The decision is a pure function of the Job, the Clearance and the time.
//!
//! - Assent suspends a Job that runs and is not cleared.
//! - If Assent suspended a Job, and the Job may run again, Assent resumes the Job. If the Job has a manager, such as a
//!   queue, this manager resumes the Job. Assent then only removes its label.
//! - If a user suspended a Job, Assent does not change the Job.

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
    /// Remove only [`SUSPENDED_LABEL`](crate::api::SUSPENDED_LABEL). The manager of the Job resumes the Job.
    HandBack,
}

/// The next change of `job`, and the instant at which the change is due. `None` if `job` stays as it is.
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
/// once. Such a Job must also be older than the last loss of clearance in its system, or than the start of enforcement
/// in its namespace.
fn may_suspend(job: &Job, clearance: &ClearanceSpec) -> bool {
    let lost_at = clearance.systems.get(&*job.system).and_then(|system| system.lost_at.as_ref());
    // `lostAt` also counts for a Job that was created up to one second after `lostAt`. The operator first chooses
    // `lostAt` and then writes the Clearance. Until this write, the API server decides by the old Clearance.
    let lost = lost_at.is_some_and(|at| at.0 + SignedDuration::from_secs(1) >= job.created);
    job.suspender == Suspender::User || !job.labelled && (lost || began(clearance, job.created).is_some())
}
