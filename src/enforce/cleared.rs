//! Decides whether a Clearance clears a pod, and finds the instant at which a pod lost its clearance.
//!
//! ```text
//!  ClearanceSpec ─► governing: the mode is enforce, and the scope includes the pod
//!               ─► cleared: a version of the system of the pod has its runtime, and notAfter is later
//!               ─► cleared_if_pinned: the same for a held pod or a template, whose images still get digests
//!               ─► loss: the latest of notAfter, lostAt and the start of enforcement
//! ```

use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::pod::Pod;
use crate::{
    api::{ClearanceSpec, ClearedVersion, Mode, Runtime, Scope},
    policy::{matches, matches_if_pinned},
};

/// The Clearance, if its mode is `enforce` and its scope includes the pod or workload. `scope` is the narrowest scope
/// that includes this pod or workload.
pub(super) fn governing(clearance: Option<&ClearanceSpec>, scope: Scope) -> Option<&ClearanceSpec> {
    clearance.filter(|clearance| clearance.mode == Some(Mode::Enforce) && scope <= clearance.scope)
}

/// Whether the operator would stop the pod if the namespace of the pod had the mode `enforce`.
pub(super) fn would_stop(pod: &Pod, clearance: &ClearanceSpec, now: Timestamp) -> bool {
    pod.scope <= clearance.scope && pod.is_live() && cleared(pod, clearance, now).is_none()
}

/// Whether the API server would hold the pod `template` if its namespace had the mode `enforce`.
pub(super) fn would_be_held(template: &Pod, clearance: &ClearanceSpec, now: Timestamp) -> bool {
    let version = template.runtime.as_ref().ok();
    let version = version.and_then(|runtime| cleared_if_pinned(clearance, &template.system, runtime, now));
    template.scope <= clearance.scope && version.is_none()
}

/// The version of the pod's system that is cleared at `now` and has the runtime of the pod.
pub(super) fn cleared<'a>(
    pod: &Pod,
    clearance: &'a ClearanceSpec,
    now: Timestamp,
) -> Option<&'a ClearedVersion> {
    cleared_version(clearance, &pod.system, pod.runtime.as_ref().ok()?, now)
}

pub(super) fn cleared_version<'a>(
    clearance: &'a ClearanceSpec,
    system: &str,
    runtime: &Runtime,
    now: Timestamp,
) -> Option<&'a ClearedVersion> {
    version_of(clearance, system, runtime, |end| now < end)
}

/// The newest version of `system` that is cleared at `now`, and that has this runtime after the API server or the operator
/// pins its images.
pub(super) fn cleared_if_pinned<'a>(
    clearance: &'a ClearanceSpec,
    system: &str,
    runtime: &Runtime,
    now: Timestamp,
) -> Option<&'a ClearedVersion> {
    // The operator writes the newest version first.
    let mut cleared = clearance.systems.get(system)?.cleared.iter();
    cleared.find(|version| {
        now < version.not_after.0 && matches_if_pinned(&version.runtime, &clearance.trusted, runtime)
    })
}

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

/// The instant at which the pod lost its clearance. This is the latest of three instants: when the version of the pod
/// expired (`ran_out`), when the system last lost a clearance (`lostAt`), and when the namespace began to enforce
/// (`since`). `None` if no such instant is known.
pub(super) fn loss(pod: &Pod, clearance: &ClearanceSpec, ran_out: Option<Timestamp>) -> Option<Timestamp> {
    // `lostAt` also counts for a pod that was created up to one second after `lostAt`. The operator first chooses
    // `lostAt` and then writes the Clearance. Until this write, the API server admits pods by the old Clearance.
    let lost = clearance.systems.get(&*pod.system).and_then(|system| system.lost_at.as_ref()).map(|at| at.0);
    let lost = lost.filter(|at| *at + SignedDuration::from_secs(1) >= pod.created);
    ran_out.into_iter().chain(lost).chain(began(clearance, pod.created)).max()
}

/// The instant at which the version of the pod expired. `None` if no expired version has the runtime of the pod.
pub(super) fn ran_out(pod: &Pod, clearance: &ClearanceSpec, now: Timestamp) -> Option<Timestamp> {
    let runtime = pod.runtime.as_ref().ok()?;
    let version = version_of(clearance, &pod.system, runtime, |end| end <= now)?;
    Some(version.not_after.0)
}

/// The instant at which the namespace began to enforce. `None` if the Clearance does not state this instant, or if a
/// pod or workload with the creation time `created` did not exist before it.
pub(super) fn began(clearance: &ClearanceSpec, created: Timestamp) -> Option<Timestamp> {
    clearance.since.as_ref().map(|at| at.0).filter(|at| *at > created)
}

/// The instant at which the operator stops a pod or workload that existed when its namespace began to enforce. The
/// instants of different UIDs are spread over the first half of the grace period. `grace` is the grace period in
/// seconds.
pub(super) fn turn(uid: &str, began: Timestamp, grace: u32) -> Timestamp {
    began + SignedDuration::from_millis(i64::from(grace) * 500).mul_f64(0.1 + 0.9 * place(uid))
}

/// The position of a pod or workload in the order of stops: at least 0 and less than 1. The position depends only on
/// the UID, so a repeated decision gives the same position.
pub(super) fn place(uid: &str) -> f64 {
    let mut hasher = DefaultHasher::new();
    uid.hash(&mut hasher);
    f64::from(u16::try_from(hasher.finish() % 1000).unwrap_or_default()) / 1000.0
}
