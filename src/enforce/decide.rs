//! What is to become of a pod: a pure function of the pod, its namespace's clearance and the time.
//!
//! ```text
//!                    cleared     not cleared
//!  gated             Release     Hold
//!  bound or pending  Keep        Stop: evict for the first half of the grace, then delete
//!   ran out          Keep        Await: the Clearance is rewritten; then, or after half of the grace, as above
//!   of a Job         Keep        Await: the Job is suspended; after half of the grace, as above
//!  being deleted     Ignore      Ending: nobody can make it end sooner
//!  ended             Ignore      Ignore
//! ```
//!
//! A kubelet does not shorten a stop that it has begun; a later deletion with less grace would change the object
//! and not the containers. So the first request carries the final grace, and a pod that is being deleted is left
//! to its node. Admission bounds the grace of everybody else's requests: see `admission::grace`.
//!
//! A pod that has a node is never deleted with a grace of zero: the API server would forget it at once, while
//! its containers may run on, on a node that does not answer even for ever.
//!
//! Where a namespace has just begun to enforce, what ran before it did is evicted one by one over the first
//! half of the grace, and not all at once: who turned it on by mistake sees it while most still runs.

use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::{
    action::Step,
    deadline::{Deadline, deadline},
    pod::Pod,
};
use crate::{
    api::{ClearanceSpec, ClearedVersion, Mode, OnLoss, OnLossMode, Runtime, Scope, SystemClearance},
    policy::matches,
};

/// What is to become of a pod.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Decision<'a> {
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
    /// It is to be stopped, and not by the operator yet: its Job is suspended and stops it, others of its
    /// `StatefulSet` go first, or the `Clearance` is to be rewritten first.
    Await {
        /// Since when it should not run.
        since: Timestamp,
        /// When it is looked at again.
        until: Timestamp,
    },
    /// It is to be stopped, and not before its turn comes: its namespace has only begun to enforce.
    Wait {
        /// Since when it should not run.
        since: Timestamp,
        /// When its turn comes.
        turn: Timestamp,
    },
    /// It is stopped.
    Stop {
        /// Since when it should not run.
        since: Timestamp,
        /// How.
        step: Step,
    },
    /// It is being stopped, and nobody can make it end sooner.
    Ending {
        /// Since when it should not run.
        since: Timestamp,
        /// From when on it is overdue.
        overdue: Timestamp,
    },
}

/// How long after its end a kubelet may take to tell that a pod has ended.
pub const CONFIRMATION: SignedDuration = SignedDuration::from_secs(5);

/// The least grace that leaves it to the kubelet to say when a pod has ended.
pub const LEAST_GRACE: u32 = 1;

/// How long the news of a clearance may take to come here. The API server lets in a pod by the clearance that it
/// has; who does not have it yet must not stop the pod for that.
const NEWS: SignedDuration = SignedDuration::from_secs(1);

/// Decides about `pod` at `now`.
pub(crate) fn decide<'a>(pod: &Pod, clearance: Option<&'a ClearanceSpec>, now: Timestamp) -> Decision<'a> {
    if pod.ended {
        return Decision::Ignore;
    }
    let Some(clearance) = governing(clearance, pod.scope) else {
        return if pod.gated { Decision::Release(None) } else { Decision::Ignore };
    };
    let system = clearance.systems.get(&*pod.system);
    match (cleared(pod, clearance, now), pod.gated) {
        (Some(_), _) | (None, true) if pod.ending.is_some() => Decision::Ignore,
        (Some(_), true) if ends_too_slowly(pod, system) => Decision::Hold,
        (Some(version), true) => Decision::Release(Some(version)),
        (Some(version), false) => end(pod, system, version, now),
        (None, true) => Decision::Hold,
        (None, false) => stop(pod, clearance, now),
    }
}

/// Whether the pod asks for more time to end than its system's level leaves. Then it is not released: nobody
/// can change that of a pod.
fn ends_too_slowly(pod: &Pod, system: Option<&SystemClearance>) -> bool {
    system.is_some_and(|system| pod.longest_grace > system.on_loss.pod_grace_seconds())
}

/// The seconds that a pod may take to end, if it would be released but takes longer.
pub(crate) fn held_for_its_grace(pod: &Pod, clearance: &ClearanceSpec, now: Timestamp) -> Option<u32> {
    let system = clearance.systems.get(&*pod.system)?;
    let is_held = ends_too_slowly(pod, Some(system)) && cleared(pod, clearance, now).is_some();
    is_held.then(|| system.on_loss.pod_grace_seconds())
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

/// The clearance, if by it the namespace enforces what is of this `scope`.
pub(crate) fn governing(clearance: Option<&ClearanceSpec>, scope: Scope) -> Option<&ClearanceSpec> {
    clearance.filter(|clearance| clearance.mode == Some(Mode::Enforce) && scope <= clearance.scope)
}

/// Whether the pod would be stopped if its namespace enforced.
pub(crate) fn would_stop(pod: &Pod, clearance: &ClearanceSpec, now: Timestamp) -> bool {
    pod.scope <= clearance.scope && pod.is_live() && cleared(pod, clearance, now).is_none()
}

/// The cleared version that the pod is.
fn cleared<'a>(pod: &Pod, clearance: &'a ClearanceSpec, now: Timestamp) -> Option<&'a ClearedVersion> {
    cleared_version(clearance, &pod.system, pod.runtime.as_ref().ok()?, now)
}

/// The version of `system` that is cleared at `now` and has this runtime.
pub(crate) fn cleared_version<'a>(
    clearance: &'a ClearanceSpec,
    system: &str,
    runtime: &Runtime,
    now: Timestamp,
) -> Option<&'a ClearedVersion> {
    version_of(clearance, system, runtime, |end| now < end)
}

/// The version of `system` that has this runtime, of those in the `Clearance` that end when asked for.
fn version_of<'a>(
    clearance: &'a ClearanceSpec,
    system: &str,
    runtime: &Runtime,
    ends: impl Fn(Timestamp) -> bool,
) -> Option<&'a ClearedVersion> {
    let cleared = &clearance.systems.get(system)?.cleared;
    let is = |version: &&ClearedVersion| matches(&version.runtime, &clearance.trusted, runtime);
    cleared.iter().find(|version| ends(version.not_after.0) && is(version))
}

/// Since when the pod should not run, if anybody knows: since what it is ran out, its system lost a clearance or,
/// if the pod was there before, its namespace began to enforce, whichever came last.
fn loss(pod: &Pod, clearance: &ClearanceSpec, ran_out: Option<Timestamp>) -> Option<Timestamp> {
    // A second of slack: what the API server writes is cut to whole seconds.
    let lost = clearance.systems.get(&*pod.system).and_then(|system| system.lost_at.as_ref()).map(|at| at.0);
    let lost = lost.filter(|at| *at + SignedDuration::from_secs(1) >= pod.created);
    ran_out.into_iter().chain(lost).chain(began(clearance, pod.created)).max()
}

/// When the version that the pod is ran out, if the `Clearance` has it still.
fn ran_out(pod: &Pod, clearance: &ClearanceSpec, now: Timestamp) -> Option<Timestamp> {
    let runtime = pod.runtime.as_ref().ok()?;
    let version = version_of(clearance, &pod.system, runtime, |end| end <= now)?;
    Some(version.not_after.0)
}

/// When the namespace began to enforce, if what was created then was there before.
pub(crate) fn began(clearance: &ClearanceSpec, created: Timestamp) -> Option<Timestamp> {
    clearance.since.as_ref().map(|at| at.0).filter(|at| *at > created)
}

/// When it is the turn of what has this uid, if its namespace began to enforce at `began`.
pub(crate) fn turn(uid: &str, began: Timestamp, grace: u32) -> Timestamp {
    began + SignedDuration::from_millis(i64::from(grace) * 500).mul_f64(0.1 + 0.9 * place(uid))
}

fn stop(pod: &Pod, clearance: &ClearanceSpec, now: Timestamp) -> Decision<'static> {
    let ran_out = ran_out(pod, clearance, now);
    let loss = loss(pod, clearance, ran_out);
    let since = pod.notes().lost_since.or(loss).unwrap_or(now);
    let system = clearance.systems.get(&*pod.system);
    let grace = system.map_or(OnLoss::DEFAULT_GRACE_PERIOD_SECONDS, |s| s.on_loss.grace_period_seconds);
    let deadline = since + SignedDuration::from_secs(grace.into());
    let budgets_until = since + SignedDuration::from_millis(i64::from(grace) * 500);
    let mode = system.map(|s| s.on_loss.mode).unwrap_or_default();
    if mode == OnLossMode::Audit {
        return if pod.ending.is_some() { Decision::Ignore } else { Decision::Record };
    }
    if let Some(ending) = &pod.ending {
        // Who deleted it with a longer grace has fixed its end: that is told as soon as it is late.
        let by_request = ending.with.is_some_and(|grace| grace > LEAST_GRACE) && ending.at > deadline;
        let due = if by_request { deadline } else { ending.at.max(deadline) };
        return Decision::Ending { since, overdue: due + CONFIRMATION };
    }
    let left = u32::try_from(deadline.duration_since(now).as_secs()).unwrap_or(0);
    let grace_period_seconds = left.min(pod.termination_grace).max(LEAST_GRACE);
    let evict = Step::Evict { grace_period_seconds, until: budgets_until };
    let began = began(clearance, pod.created).filter(|began| *began == since);
    let turn = began.map(|began| turn(&pod.uid.to_string(), began, grace)).filter(|turn| now < *turn);
    match (mode, turn) {
        (_, Some(turn)) => Decision::Wait { since, turn },
        // Until the `Clearance` is rewritten the API server refuses what takes its place, and does not hold it.
        _ if ran_out.is_some() && now < budgets_until => Decision::Await { since, until: budgets_until },
        // The API server let it in, and nothing is known to have changed since: the news of it may be late.
        _ if loss.is_none() && now < since + NEWS && since + NEWS < budgets_until => {
            Decision::Await { since, until: since + NEWS }
        }
        _ if now >= budgets_until => Decision::Stop { since, step: Step::Delete { grace_period_seconds } },
        _ if pod.is_of_a_job() => Decision::Await { since, until: budgets_until },
        (OnLossMode::ScaleDown | OnLossMode::Suspend, _) if pod.owner.is_some() => {
            Decision::StopWhole { since, until: budgets_until, otherwise: evict }
        }
        _ => Decision::Stop { since, step: evict },
    }
}

/// Whose turn it is: from 0, the first, up to 1, the last. The same whoever asks, and whenever.
fn place(uid: &str) -> f64 {
    let mut hasher = DefaultHasher::new();
    uid.hash(&mut hasher);
    f64::from(u16::try_from(hasher.finish() % 1000).unwrap_or_default()) / 1000.0
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::{api::core::v1 as core, apimachinery::pkg::apis::meta::v1::Time};
    use kube::core::ObjectMeta;

    use super::*;
    use crate::{
        api::{Digest, SystemClearance},
        enforce::pod_cache::PodCache,
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).expect("in range")
    }

    /// A pod of an empty runtime, created at 0, and what a clearance that began at `since` says of it.
    fn scene(since: i64, not_after: i64, lost_at: Option<i64>) -> (Pod, ClearanceSpec) {
        let pod = serde_json::json!({ "metadata": { "name": "p", "namespace": "n", "uid": "1",
            "creationTimestamp": at(0).to_string(), "labels": { "assent.dev/system": "s" } },
            "spec": { "containers": [] } });
        let mut cache = PodCache::new(crate::images::Signs::default());
        let key = cache.set_pod(&serde_json::from_value(pod).expect("a pod"));
        let pod = cache.pod_mut(&key).expect("the pod").0.clone();
        let digest: Digest = format!("sha256:{}", "0".repeat(64)).parse().expect("a digest");
        let version = ClearedVersion {
            model_version: "v".to_owned(),
            subject_digest: digest,
            not_after: Time(at(not_after)),
            runtime: pod.runtime.clone().expect("a runtime"),
        };
        let system = SystemClearance {
            cleared: vec![version],
            on_loss: OnLoss { grace_period_seconds: 60, ..OnLoss::default() },
            lost_at: lost_at.map(|second| Time(at(second))),
            ..SystemClearance::default()
        };
        let clearance = ClearanceSpec {
            mode: Some(Mode::Enforce),
            since: Some(Time(at(since))),
            systems: BTreeMap::from([("s".to_owned(), system)]),
            ..ClearanceSpec::default()
        };
        (pod, clearance)
    }

    fn decided(pod: &Pod, clearance: &ClearanceSpec, second: i64) -> Decision<'static> {
        match decide(pod, Some(clearance), at(second)) {
            Decision::Stop { since, step } => Decision::Stop { since, step },
            Decision::Wait { since, turn } => Decision::Wait { since, turn },
            Decision::Await { since, until } => Decision::Await { since, until },
            Decision::Keep => Decision::Keep,
            other => panic!("{other:?}"),
        }
    }

    const fn evict(since: Timestamp, until: Timestamp) -> Decision<'static> {
        Decision::Stop { since, step: Step::Evict { grace_period_seconds: 30, until } }
    }

    const fn delete(since: Timestamp) -> Decision<'static> {
        Decision::Stop { since, step: Step::Delete { grace_period_seconds: 30 } }
    }

    #[test]
    fn what_runs_out_has_its_grace_whatever_was_lost_before() {
        for (since, lost_at) in [(-10, None), (500, None), (-10, Some(500))] {
            let (mut pod, mut clearance) = scene(since, 1000, lost_at);
            assert_eq!(decided(&pod, &clearance, 999), Decision::Keep);
            let to_be_rewritten = Decision::Await { since: at(1000), until: at(1030) };
            assert_eq!(decided(&pod, &clearance, 1000), to_be_rewritten, "{since} {lost_at:?}");
            assert_eq!(decided(&pod, &clearance, 1030), delete(at(1000)));
            pod.note(|notes| notes.lost_since = Some(at(1000)));
            let system = clearance.systems.get_mut("s").expect("the system");
            (system.cleared, system.lost_at) = (Vec::new(), Some(Time(at(1004))));
            assert_eq!(decided(&pod, &clearance, 1004), evict(at(1000), at(1030)));
            assert_eq!(decided(&pod, &clearance, 1030), delete(at(1000)));
        }
    }

    #[test]
    fn what_ran_before_its_namespace_enforced_goes_in_its_turn() {
        let (mut pod, clearance) = scene(500, 100, Some(100));
        let mut turns = Vec::new();
        for uid in 0..100 {
            pod.uid = uid.to_string().into();
            match decided(&pod, &clearance, 500) {
                Decision::Wait { turn, .. } => turns.push(turn),
                other => panic!("{other:?}"),
            }
            let turn = turns[uid];
            assert_eq!(decided(&pod, &clearance, 530), delete(at(500)));
            assert!(turn >= at(500) && turn < at(530), "{turn}");
        }
        let first_second = turns.iter().filter(|turn| **turn < at(501)).count();
        assert!(first_second < 20, "{first_second} of 100 stop in the first second");
    }

    #[test]
    fn what_came_after_its_namespace_enforced_is_stopped_once_news_of_its_clearance_would_have_come() {
        let (mut pod, mut clearance) = scene(0, 100, None);
        clearance.systems.clear();
        let decide = |pod: &Pod, second| match decide(pod, Some(&clearance), at(second)) {
            Decision::Await { since, until } => Err((since, until)),
            Decision::Stop { since, step: Step::Evict { .. } } => Ok(since),
            other => panic!("{other:?}"),
        };
        assert_eq!(decide(&pod, 1), Err((at(1), at(2))));
        pod.note(|notes| notes.lost_since = Some(at(1)));
        assert_eq!(decide(&pod, 2), Ok(at(1)));
    }

    /// A pod that names no system; when it is to be gone, and with which grace it was deleted.
    fn deleted(deleted: Option<(Timestamp, i64)>) -> Pod {
        let metadata = ObjectMeta {
            name: Some("pod".to_owned()),
            deletion_timestamp: deleted.map(|(at, _)| Time(at)),
            deletion_grace_period_seconds: deleted.map(|(_, grace)| grace),
            ..ObjectMeta::default()
        };
        let mut cache = PodCache::new(crate::images::Signs::default());
        let key = cache.set_pod(&core::Pod { metadata, ..core::Pod::default() });
        let mut pod = cache.pod_mut(&key).map(|(pod, _)| pod.clone()).expect("it was put in");
        pod.note(|notes| notes.lost_since = Some(at(0)));
        pod
    }

    #[test]
    fn what_is_long_overdue_is_asked_to_end_once_and_not_forgotten() {
        let clearance = ClearanceSpec { mode: Some(Mode::Enforce), ..ClearanceSpec::default() };
        let decide = |pod: &Pod| decide(pod, Some(&clearance), at(3600));
        let late =
            || Decision::Stop { since: at(0), step: Step::Delete { grace_period_seconds: LEAST_GRACE } };
        assert_eq!(decide(&deleted(None)), late());
        // By a clock of the API server that is half a minute ahead, it ends too late; but there is no sooner.
        let ending = |overdue| Decision::Ending { since: at(0), overdue: overdue + CONFIRMATION };
        assert_eq!(decide(&deleted(Some((at(3631), 1)))), ending(at(3631)));
        let once = decide(&deleted(Some((at(3631), 30))));
        assert_eq!(
            once,
            ending(at(60)),
            "somebody gave it longer than it has: that is told, and not asked again"
        );
    }

    #[test]
    fn a_pod_that_asks_for_more_time_to_end_than_its_level_leaves_is_not_released() {
        let (mut pod, mut clearance) = scene(-10, 1000, None);
        pod.gated = true;
        let released = |pod: &Pod, clearance: &ClearanceSpec| {
            matches!(decide(pod, Some(clearance), at(1)), Decision::Release(_))
        };
        assert!(released(&pod, &clearance), "30 s of 60 s");
        let system = clearance.systems.get_mut("s").expect("the system");
        system.on_loss.grace_period_seconds = 59;
        assert!(!released(&pod, &clearance), "30 s of 59 s");
        pod.longest_grace = 29;
        assert!(released(&pod, &clearance));
    }
}
