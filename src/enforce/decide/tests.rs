use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1 as core, apimachinery::pkg::apis::meta::v1::Time};
use kube::core::ObjectMeta;

use super::*;
use crate::{
    api::{Digest, Mode},
    enforce::{owner::OwnerRef, pod_cache::PodCache},
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).expect("in range")
}

/// A pod with an empty runtime, created at 0, and a Clearance that clears this runtime until `not_after`. The namespace
/// began to enforce at `since`.
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
        patterns: None,
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

fn decided(pod: &Pod, clearance: &ClearanceSpec, second: i64) -> PodDecision {
    decide_alone(pod, Some(clearance), at(second))
}

const fn stop(since: Timestamp, step: Step) -> PodDecision {
    let action = StopAction::Pod(Action::Stop(step));
    PodDecision::Stop { reason: StopReason::NotCleared { since }, action }
}

const fn evict(since: Timestamp, until: Timestamp) -> PodDecision {
    stop(since, Step::Evict { grace_period_seconds: 30, until })
}

const fn delete(since: Timestamp) -> PodDecision {
    stop(since, Step::Delete { grace_period_seconds: 30 })
}

/// A pod with the runtime `pod`, and a Clearance that clears the runtime `approved`.
fn pinned_scene(pod: serde_json::Value, approved: serde_json::Value) -> (Pod, ClearanceSpec) {
    let runtime = |value| serde_json::from_value::<crate::api::Runtime>(value).expect("a runtime").into();
    let (mut scene_pod, mut clearance) = scene(-10, 1000, None);
    scene_pod.runtime = Ok(runtime(pod));
    clearance.systems.get_mut("s").expect("the system").cleared[0].runtime = runtime(approved);
    (scene_pod, clearance)
}

#[test]
fn a_held_pod_gets_its_digests_with_its_release_and_a_running_pod_gets_none() {
    let containers = |image: &str| serde_json::json!({ "containers": [{ "name": "c", "image": image }] });
    let (mut pod, clearance) = pinned_scene(containers("repo:tag"), containers("repo:tag@sha256:0"));
    assert_eq!(decided(&pod, &clearance, 500).lost_since(), Some(at(500)), "a running pod gets no digest");
    pod.gated = true;
    let PodDecision::Release { action: Action::Release(Some(released)), .. } = decided(&pod, &clearance, 500)
    else {
        panic!("not released: {:?}", decided(&pod, &clearance, 500));
    };
    assert_eq!(
        released.pins.containers.iter().map(|pin| &*pin.image).collect::<Vec<_>>(),
        ["repo:tag@sha256:0"]
    );
    let (mut other, clearance) = pinned_scene(containers("repo:other"), containers("repo:tag@sha256:0"));
    other.gated = true;
    assert_eq!(decided(&other, &clearance, 500), PodDecision::Hold(HoldReason::NotCleared));
}

#[test]
fn a_held_pod_with_a_volume_by_tag_is_replaced_if_a_controller_creates_another() {
    let volumes = |image: &str| {
        serde_json::json!({ "containers": [{ "name": "c", "image": "a@sha256:0" }],
            "volumes": [{ "name": "v", "image": { "reference": image } }] })
    };
    let (mut pod, clearance) = pinned_scene(volumes("w:1"), volumes("w:1@sha256:0"));
    pod.gated = true;
    let held = |replace_at| PodDecision::Hold(HoldReason::VolumeByTag { replace_at });
    assert_eq!(decided(&pod, &clearance, 500), held(None), "nobody would create a bare pod again");
    let owner = |kind: &str, api_version: &str| {
        let (kind, api_version) = (kind.to_owned(), api_version.to_owned());
        Some(std::sync::Arc::new(OwnerRef { api_version, kind, name: "o".to_owned(), uid: "2".to_owned() }))
    };
    for (kind, api_version) in
        [("Job", "batch/v1"), ("TaskRun", "tekton.dev/v1"), ("StatefulSet", "apps.kruise.io/v1beta1")]
    {
        pod.owner = owner(kind, api_version);
        assert_eq!(decided(&pod, &clearance, 500), held(None), "{kind} can count a deleted pod as failed");
    }
    pod.owner = owner("ReplicaSet", "apps/v1");
    assert_eq!(decided(&pod, &clearance, 9), held(Some(at(10))));
    let action = StopAction::Pod(Action::Replace(Replacement::Pinned));
    assert_eq!(decided(&pod, &clearance, 10), PodDecision::Stop { reason: StopReason::VolumeByTag, action });
}

#[test]
fn expired_version_gets_its_full_grace_despite_an_earlier_loss() {
    for (since, lost_at) in [(-10, None), (500, None), (-10, Some(500))] {
        let (mut pod, mut clearance) = scene(since, 1000, lost_at);
        let keep = PodDecision::Keep(KeepReason::Cleared { deadline: None });
        assert_eq!(decided(&pod, &clearance, 999), keep);
        let (reason, lost_since) = (RevisitReason::RanOut, Some(at(1000)));
        let to_be_rewritten = PodDecision::Revisit { reason, lost_since, at: at(1030) };
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
fn pods_older_than_enforcement_stop_one_after_the_other() {
    let (mut pod, clearance) = scene(500, 100, Some(100));
    let mut turns = Vec::new();
    for uid in 0..100 {
        pod.uid = uid.to_string().into();
        match decided(&pod, &clearance, 500) {
            PodDecision::Revisit { reason: RevisitReason::NamespaceBegan, at, .. } => turns.push(at),
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
fn pod_newer_than_enforcement_stops_after_the_watch_lag() {
    let (mut pod, mut clearance) = scene(0, 100, None);
    clearance.systems.clear();
    let decide = |pod: &Pod, second| match decided(pod, &clearance, second) {
        PodDecision::Revisit { reason: RevisitReason::WatchLag, lost_since: Some(since), at } => {
            Err((since, at))
        }
        PodDecision::Stop {
            reason: StopReason::NotCleared { since },
            action: StopAction::Pod(Action::Stop(Step::Evict { .. })),
        } => Ok(since),
        other => panic!("{other:?}"),
    };
    assert_eq!(decide(&pod, 1), Err((at(1), at(2))));
    pod.note(|notes| notes.lost_since = Some(at(1)));
    assert_eq!(decide(&pod, 2), Ok(at(1)));
}

/// A pod without a system that lost its clearance at 0. If a user deleted the pod, `deleted` contains the deletion
/// timestamp, and the grace period of the deletion in seconds.
fn deleted(deleted: Option<(Timestamp, i64)>) -> Pod {
    let metadata = ObjectMeta {
        name: Some("pod".to_owned()),
        deletion_timestamp: deleted.map(|(at, _)| Time(at)),
        deletion_grace_period_seconds: deleted.map(|(_, grace)| grace),
        ..ObjectMeta::default()
    };
    let mut cache = PodCache::new(crate::images::Signs::default());
    let key = cache.set_pod(&core::Pod { metadata, ..core::Pod::default() });
    let mut pod = cache.pod_mut(&key).map(|(pod, _)| pod.clone()).expect("the pod");
    pod.note(|notes| notes.lost_since = Some(at(0)));
    pod
}

#[test]
fn overdue_pod_is_deleted_once_and_then_checked_again() {
    let clearance = ClearanceSpec { mode: Some(Mode::Enforce), ..ClearanceSpec::default() };
    let decide = |pod: &Pod| decided(pod, &clearance, 3600);
    let late = || stop(at(0), Step::Delete { grace_period_seconds: LEAST_GRACE });
    assert_eq!(decide(&deleted(None)), late());
    // The clock of the API server is 30 s ahead, so a deletion with the minimum grace period of 1 s ends at 3631. The
    // operator must not report this end as too late.
    let ending = |overdue: Timestamp| {
        let (reason, lost_since) = (RevisitReason::Deleted, Some(at(0)));
        PodDecision::Revisit { reason, lost_since, at: overdue + CONFIRMATION }
    };
    assert_eq!(decide(&deleted(Some((at(3631), 1)))), ending(at(3631)));
    let once = decide(&deleted(Some((at(3631), 30))));
    assert_eq!(
        once,
        ending(at(60)),
        "another user deleted it with a longer grace period: the operator reports it and does not delete it again"
    );
}

#[test]
fn gated_pod_with_too_long_a_termination_grace_is_not_released() {
    let (mut pod, mut clearance) = scene(-10, 1000, None);
    pod.gated = true;
    let released = |pod: &Pod, clearance: &ClearanceSpec| {
        matches!(decided(pod, clearance, 1), PodDecision::Release { .. })
    };
    assert!(released(&pod, &clearance), "30 s is half of 60 s");
    let system = clearance.systems.get_mut("s").expect("the system");
    system.on_loss.grace_period_seconds = 59;
    assert!(!released(&pod, &clearance), "30 s is more than half of 59 s");
    pod.longest_grace = 29;
    assert!(released(&pod, &clearance));
}
