//! What is to become of a pod: a pure function of the pod, its namespace's clearance and the time.
//!
//! ```text
//!                    cleared     not cleared
//!  gated             Release     Hold
//!  bound or pending  Keep        Stop: evict for the first half of the grace, then delete
//!  ended             Ignore      Ignore
//! ```
//!
//! Where a namespace has just begun to enforce, what ran before it did is evicted one by one over the first
//! half of the grace, and not all at once: who turned it on by mistake sees it while most still runs.

use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::roster::Pod;
use crate::{
    api::{ClearanceSpec, ClearedVersion, Mode, OnLoss, Scope},
    policy::{in_scope, matches},
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
    /// It is stopped, beginning then.
    Wait(Timestamp),
    /// It is stopped.
    Stop(Step),
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
    let Some(clearance) = clearance.filter(|c| c.mode == Some(Mode::Enforce) && governs(c.scope, pod)) else {
        return if pod.gated { Decision::Release(None) } else { Decision::Ignore };
    };
    match (cleared(pod, clearance, now), pod.gated) {
        (Some(_), _) | (None, true) if pod.ends_at.is_some() => Decision::Ignore,
        (Some(version), true) => Decision::Release(Some(version)),
        (Some(_), false) => Decision::Keep,
        (None, true) => Decision::Hold,
        (None, false) => stop(pod, clearance, now),
    }
}

/// Whether the pod would be stopped if its namespace enforced.
pub fn would_stop(pod: &Pod, clearance: &ClearanceSpec, now: Timestamp) -> bool {
    governs(clearance.scope, pod) && is_live(pod) && cleared(pod, clearance, now).is_none()
}

/// Whether the pod has neither ended nor is about to.
pub const fn is_live(pod: &Pod) -> bool {
    !pod.ended && pod.ends_at.is_none()
}

fn governs(scope: Scope, pod: &Pod) -> bool {
    in_scope(scope, pod.labelled, pod.accelerated)
}

/// The cleared version that the pod is.
fn cleared<'a>(pod: &Pod, clearance: &'a ClearanceSpec, now: Timestamp) -> Option<&'a ClearedVersion> {
    let runtime = pod.runtime.as_ref().as_ref().ok()?;
    let versions = &clearance.systems.get(&*pod.system)?.cleared;
    versions.iter().find(|version| now < version.not_after.0 && matches(&version.runtime, runtime))
}

/// Since when the pod should not run: since its system lost a clearance or its namespace began to enforce,
/// whichever came later; since now, where that was before the pod was there or nobody knows.
pub fn lost_since(pod: &Pod, clearance: &ClearanceSpec, now: Timestamp) -> Timestamp {
    let lost_at = clearance.systems.get(&*pod.system).and_then(|system| system.lost_at.as_ref());
    // A second of slack: what the API server writes is cut to whole seconds.
    let known = lost_at.into_iter().chain(&clearance.since).map(|at| at.0);
    let known = known.filter(|at| *at + SignedDuration::from_secs(1) >= pod.created).max();
    pod.lost_since.or(known).unwrap_or(now)
}

fn stop(pod: &Pod, clearance: &ClearanceSpec, now: Timestamp) -> Decision<'static> {
    let since = lost_since(pod, clearance, now);
    let system = clearance.systems.get(&*pod.system);
    let grace = system.map_or(OnLoss::DEFAULT_GRACE_PERIOD_SECONDS, |s| s.grace_period_seconds);
    let deadline = since + SignedDuration::from_secs(grace.into());
    let half = SignedDuration::from_millis(i64::from(grace) * 500);
    if pod.ends_at.is_some_and(|ends_at| ends_at <= deadline.max(now)) {
        return Decision::Ignore;
    }
    if clearance.since.as_ref().is_some_and(|began| began.0 == since) {
        let turn = since + half.mul_f64(turn(&pod.uid));
        if now < turn && pod.ends_at.is_none() {
            return Decision::Wait(turn);
        }
    }
    let left = u32::try_from(deadline.duration_since(now).as_secs()).unwrap_or(0);
    let grace_period_seconds = left.min(pod.termination_grace);
    Decision::Stop(if now < since + half && pod.ends_at.is_none() {
        Step::Evict { grace_period_seconds, until: since + half }
    } else {
        Step::Delete { grace_period_seconds }
    })
}

/// When it is a pod's turn: from 0, the first, up to 1, the last. The same whoever asks, and whenever.
fn turn(uid: &str) -> f64 {
    let mut hasher = DefaultHasher::new();
    uid.hash(&mut hasher);
    f64::from(u16::try_from(hasher.finish() % 1000).unwrap_or_default()) / 1000.0
}
