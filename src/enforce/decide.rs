//! Decides about a pod. The decision is a pure function of the pod cache and the time.
//!
//! ```text
//!  pod            clearance     condition, the first that holds                decision  reason
//!  ended                                                                       Keep      Ended
//!  gated          not governed                                                 Release   Ungoverned
//!  runs           not governed                                                 Keep      Ungoverned
//!  being deleted  cleared, or the pod is gated                                 Keep      Deleted
//!  gated          cleared       its termination grace period is too long       Hold      EndsTooSlowly
//!                               a volume names its image by tag                Hold, Stop  VolumeByTag: delete
//!                               the previous pod of its StatefulSet not ready  Hold      PreviousNotReady
//!                                                                              Release   Cleared
//!  gated          not cleared   its StatefulSet wants another revision         Stop      Outdated: delete
//!                                                                              Hold      NotCleared
//!  runs           cleared       no dead-man switch, or the deadline stays      Keep      Cleared
//!                               the deadline is missing or too late            Keep      Cleared: set it
//!                               too early, and the replacement is not due yet  Revisit   Renewal
//!                               too early, and another pod is unavailable      Revisit   SiblingIsAway
//!                               too early                                      Stop      Renewed: evict
//!  runs           not cleared   the mode is Audit                              Keep      AuditOnly, Deleted
//!                               being deleted                                  Revisit   Deleted
//!                               the namespace has begun to enforce             Revisit   NamespaceBegan
//!                               expired, and in the first half of the grace    Revisit   RanOut
//!                               no known loss, and in the first second         Revisit   WatchLag
//!                               in the second half of the grace                Stop      NotCleared: delete
//!                               of a Job                                       Revisit   JobIsSuspended
//!                               has an owner; mode is ScaleDown or Suspend     Stop      NotCleared: workload
//!                               later pods of its StatefulSet run              Revisit   LaterPodsFirst
//!                                                                              Stop      NotCleared: evict
//! ```
//!
//! A gated pod counts as cleared if it is cleared with the digests that its release adds to its images. A release cannot
//! change volumes. So a pod whose volume lacks a digest is deleted, and the API server adds the digest to the next pod.
//!
//! The row `Outdated` also applies to a cleared pod whose grace period is too long. If the operator cannot stop a
//! workload, it evicts the pods instead.
//!
//! A kubelet does not shorten a stop that has begun. So the first request has the final grace period, and the operator
//! sends no further request about a pod that is being deleted. A policy limits the grace period in the requests of other
//! users: see `admission::grace`.
//!
//! The operator never deletes a pod on a node with a grace period of zero. With zero, the API server deletes the object
//! at once, but the containers can continue to run.
//!
//! When a namespace begins to enforce, its older pods stop one after the other, in the first half of the grace period.
//! So a user who enabled enforcement by mistake notices the mistake while most pods still run.

#[cfg(test)]
mod tests;

use std::collections::HashSet;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::{
    action::{Action, ReleasedAs, Replacement, Step},
    cleared::{began, cleared, cleared_if_pinned, governing, loss, place, ran_out, turn},
    deadline::{Deadline, deadline},
    decision::{HoldReason, KeepReason, PodDecision, ReleaseReason, RevisitReason, StopAction, StopReason},
    pod::{Pod, PodKey},
    pod_cache::PodCache,
    statefulset::{self, Member},
};
use crate::{
    api::{ClearanceSpec, ClearedVersion, OnLoss, OnLossMode, SystemClearance},
    policy::Pins,
    watch::RETRY,
};

/// The time that a kubelet may need to confirm the end of a pod.
pub(super) const CONFIRMATION: SignedDuration = SignedDuration::from_secs(5);

/// The minimum grace period of a deletion, in seconds. With zero, the kubelet does not confirm the end of the pod.
pub(crate) const LEAST_GRACE: u32 = 1;

/// The time that the operator waits before it stops an uncleared pod if it does not know when the pod lost its
/// clearance. The API server may have admitted the pod by a Clearance that the watch has not delivered yet.
const WATCH_LAG: SignedDuration = SignedDuration::from_secs(1);

/// The minimum age of a gated pod that is deleted because a volume names its image by tag. A pod that the API server
/// created by an older Clearance waits this long. The limit also bounds the rate of deletions if nobody pins new pods.
const REPLACED_AFTER: SignedDuration = SignedDuration::from_secs(10);

/// Decides about the pod `key` at `now`. `evict_individually` has the UIDs of controllers whose pods the operator evicts
/// one by one, because it cannot stop the whole workload, or because another user started the workload again too often.
pub(crate) fn decide(
    cache: &PodCache,
    evict_individually: &HashSet<String>,
    key: &PodKey,
    now: Timestamp,
) -> Option<PodDecision> {
    let (pod, clearance) = cache.pod(key)?;
    let clearance = clearance.map(|clearance| &**clearance);
    let is_individual = pod.owner.as_ref().is_some_and(|owner| evict_individually.contains(&owner.uid));
    let decision = match decide_alone(pod, clearance, now) {
        PodDecision::Stop { reason, action: StopAction::Workload { otherwise, .. } } if is_individual => {
            PodDecision::Stop { reason, action: StopAction::Pod(Action::Stop(otherwise)) }
        }
        PodDecision::Stop { reason: StopReason::Renewed, .. } if sibling_is_away(cache, key, pod, now) => {
            // The delay differs between pods, so that the operator does not decide again about all of them at once.
            let delay = RETRY.mul_f64(0.5 + place(&pod.uid.to_string()));
            PodDecision::Revisit { reason: RevisitReason::SiblingIsAway, lost_since: None, at: now + delay }
        }
        decision => decision,
    };
    let Some(member) = &pod.member else { return Some(decision) };
    Some(in_set_order(cache, key, (pod, member), clearance, decision, now))
}

/// Applies the order of a `StatefulSet` to `decision` about one of its pods. `member` is the state of this pod in the
/// set.
fn in_set_order(
    cache: &PodCache,
    key: &PodKey,
    (pod, member): (&Pod, &Member),
    clearance: Option<&ClearanceSpec>,
    decision: PodDecision,
    now: Timestamp,
) -> PodDecision {
    let runs = |other: &Pod| decide_alone(other, clearance, now).lets_run();
    match decision {
        PodDecision::Stop {
            reason: StopReason::NotCleared { since },
            action: StopAction::Pod(Action::Stop(Step::Evict { until, .. })),
        } => {
            let at = stops_at(cache, key, (pod, member), since, until);
            if at <= now {
                return decision;
            }
            PodDecision::Revisit { reason: RevisitReason::LaterPodsFirst, lost_since: Some(since), at }
        }
        PodDecision::Release { reason: ReleaseReason::Cleared, .. } if !may_start(cache, key, pod, runs) => {
            PodDecision::Hold(HoldReason::PreviousNotReady)
        }
        PodDecision::Hold(_) if cache.set_of(pod).wants_another(member) => {
            let action = StopAction::Pod(Action::Replace(Replacement::Revision));
            PodDecision::Stop { reason: StopReason::Outdated, action }
        }
        decision => decision,
    }
}

/// Decides about a pod without the state of other pods.
pub(super) fn decide_alone(pod: &Pod, clearance: Option<&ClearanceSpec>, now: Timestamp) -> PodDecision {
    if pod.ended {
        return PodDecision::Keep(KeepReason::Ended);
    }
    let Some(clearance) = governing(clearance, pod.scope) else {
        return if pod.gated {
            PodDecision::Release { reason: ReleaseReason::Ungoverned, action: Action::Release(None) }
        } else {
            PodDecision::Keep(KeepReason::Ungoverned)
        };
    };
    let system = clearance.systems.get(&*pod.system);
    let version = if pod.gated { released_as(pod, clearance, now) } else { cleared(pod, clearance, now) };
    match (version, pod.gated) {
        (Some(_), _) | (None, true) if pod.ending.is_some() => PodDecision::Keep(KeepReason::Deleted),
        (Some(version), true) => release(pod, system, version, now),
        (Some(version), false) => keep(pod, system, version, now),
        (None, true) => PodDecision::Hold(HoldReason::NotCleared),
        (None, false) => stop(pod, clearance, now),
    }
}

/// The version that a gated pod has after its images are pinned.
fn released_as<'a>(pod: &Pod, clearance: &'a ClearanceSpec, now: Timestamp) -> Option<&'a ClearedVersion> {
    cleared_if_pinned(clearance, &pod.system, pod.runtime.as_ref().ok()?, now)
}

/// Decides about a gated pod that is cleared.
fn release(
    pod: &Pod,
    system: Option<&SystemClearance>,
    version: &ClearedVersion,
    now: Timestamp,
) -> PodDecision {
    let most = system.map(|system| system.on_loss.pod_grace_seconds());
    if let Some(most) = most.filter(|most| pod.longest_grace > *most) {
        return PodDecision::Hold(HoldReason::EndsTooSlowly { most });
    }
    let pins = pod.runtime.as_ref().map(|runtime| Pins::of(&version.runtime, runtime)).unwrap_or_default();
    if !pins.volumes.is_empty() {
        return replace(pod, now);
    }
    let version = format!("{}@{}", version.model_version, version.subject_digest);
    let action = Action::Release(Some(ReleasedAs { version, pins }));
    PodDecision::Release { reason: ReleaseReason::Cleared, action }
}

/// Decides about a gated pod that would be cleared with another image of a volume. The operator deletes the pod only if its
/// controller creates a new pod.
fn replace(pod: &Pod, now: Timestamp) -> PodDecision {
    let replace_at = pod.created + REPLACED_AFTER;
    if !pod.is_recreated() {
        return PodDecision::Hold(HoldReason::VolumeByTag { replace_at: None });
    }
    if now < replace_at {
        return PodDecision::Hold(HoldReason::VolumeByTag { replace_at: Some(replace_at) });
    }
    let action = StopAction::Pod(Action::Replace(Replacement::Pinned));
    PodDecision::Stop { reason: StopReason::VolumeByTag, action }
}

/// Decides about a pod that runs and is cleared.
fn keep(
    pod: &Pod,
    system: Option<&SystemClearance>,
    version: &ClearedVersion,
    now: Timestamp,
) -> PodDecision {
    let keep = |deadline| PodDecision::Keep(KeepReason::Cleared { deadline });
    let Some(system) = system.filter(|system| system.on_loss.dead_man_switch) else { return keep(None) };
    match deadline(&pod.life, version.not_after.0, system.on_loss.grace_period_seconds) {
        Deadline::Stays => keep(None),
        Deadline::Set(seconds) => keep(Some(seconds)),
        Deadline::RollAt(at) if now < at => {
            PodDecision::Revisit { reason: RevisitReason::Renewal, lost_since: None, at }
        }
        Deadline::RollAt(_) => {
            PodDecision::Stop { reason: StopReason::Renewed, action: StopAction::Pod(Action::Roll) }
        }
    }
}

/// Decides about a pod that runs and is not cleared.
fn stop(pod: &Pod, clearance: &ClearanceSpec, now: Timestamp) -> PodDecision {
    let ran_out = ran_out(pod, clearance, now);
    let loss = loss(pod, clearance, ran_out);
    let since = pod.notes().lost_since.or(loss).unwrap_or(now);
    let system = clearance.systems.get(&*pod.system);
    let grace = system.map_or(OnLoss::DEFAULT_GRACE_PERIOD_SECONDS, |s| s.on_loss.grace_period_seconds);
    let deadline = since + SignedDuration::from_secs(grace.into());
    let budgets_until = since + SignedDuration::from_millis(i64::from(grace) * 500);
    let mode = system.map(|s| s.on_loss.mode).unwrap_or_default();
    if mode == OnLossMode::Audit {
        let is_deleted = pod.ending.is_some();
        return PodDecision::Keep(if is_deleted { KeepReason::Deleted } else { KeepReason::AuditOnly });
    }
    let revisit = |reason, at| PodDecision::Revisit { reason, lost_since: Some(since), at };
    let stop = |action| PodDecision::Stop { reason: StopReason::NotCleared { since }, action };
    if let Some(ending) = &pod.ending {
        // Another user deleted the pod with a longer grace period, which the operator cannot shorten. So the pod is
        // overdue after `deadline`.
        let by_request = ending.with.is_some_and(|grace| grace > LEAST_GRACE) && ending.at > deadline;
        let due = if by_request { deadline } else { ending.at.max(deadline) };
        return revisit(RevisitReason::Deleted, due + CONFIRMATION);
    }
    let left = u32::try_from(deadline.duration_since(now).as_secs()).unwrap_or(0);
    let grace_period_seconds = left.min(pod.termination_grace).max(LEAST_GRACE);
    let evict = Step::Evict { grace_period_seconds, until: budgets_until };
    let began = began(clearance, pod.created).filter(|began| *began == since);
    let turn = began.map(|began| turn(&pod.uid.to_string(), began, grace)).filter(|turn| now < *turn);
    match (mode, turn) {
        (_, Some(turn)) => revisit(RevisitReason::NamespaceBegan, turn),
        // While the Clearance contains the expired version, the API server refuses a replacement pod instead of holding
        // it. So the operator first waits until the Clearance no longer contains this version.
        _ if ran_out.is_some() && now < budgets_until => revisit(RevisitReason::RanOut, budgets_until),
        _ if loss.is_none() && now < since + WATCH_LAG && since + WATCH_LAG < budgets_until => {
            revisit(RevisitReason::WatchLag, since + WATCH_LAG)
        }
        _ if now >= budgets_until => {
            stop(StopAction::Pod(Action::Stop(Step::Delete { grace_period_seconds })))
        }
        _ if pod.is_of_a_job() => revisit(RevisitReason::JobIsSuspended, budgets_until),
        (OnLossMode::ScaleDown | OnLossMode::Suspend, _) if pod.owner.is_some() => {
            stop(StopAction::Workload { until: budgets_until, otherwise: evict })
        }
        _ => stop(StopAction::Pod(Action::Stop(evict))),
    }
}

/// The instant at which the operator evicts a pod of a `StatefulSet`. The pod lost its clearance at `since`, and
/// evictions end at `until`.
fn stops_at(
    cache: &PodCache,
    key: &PodKey,
    (pod, member): (&Pod, &Member),
    since: Timestamp,
    until: Timestamp,
) -> Timestamp {
    let running = cache.pods_like(key, pod).filter(|pod| !pod.gated && !pod.ended);
    let running: Vec<_> = running.filter_map(|pod| pod.member.as_ref().map(|m| m.ordinal)).collect();
    statefulset::stops_at(member.ordinal, &running, since, until)
}

/// Whether another pod of the owner is unavailable: it is gated, has not started or is being deleted. A pod about which
/// the operator has just sent a request, such as an eviction, counts too.
fn sibling_is_away(cache: &PodCache, key: &PodKey, pod: &Pod, now: Timestamp) -> bool {
    cache.pods_like(key, pod).filter(|other| other.uid != pod.uid && !other.ended).any(|other| {
        let is_asked = other.notes().quiet_until.is_some_and(|until| until > now);
        other.gated || other.ending.is_some() || other.life.started.is_none() || is_asked
    })
}

/// Whether the order of its `StatefulSet` allows the gated pod to start. In a set with `Parallel`, each pod may start.
/// In other sets, the pod waits for the previous pod only if the previous pod has the same owner and may run.
fn may_start(cache: &PodCache, key: &PodKey, pod: &Pod, runs: impl FnOnce(&Pod) -> bool) -> bool {
    let [previous, _] = cache.neighbours(key);
    let previous = previous.and_then(|previous| cache.pod(&previous)).map(|(pod, _)| pod);
    let is_ready = |pod: &Pod| !pod.gated && pod.member.as_ref().is_none_or(|member| member.ready);
    cache.set_of(pod).is_parallel()
        || previous
            .filter(|previous| previous.owner == pod.owner)
            .is_none_or(|previous| previous.ended || is_ready(previous) || !runs(previous))
}
