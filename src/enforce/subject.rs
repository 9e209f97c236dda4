//! The subject of an Event, and the reason why the subject may not run.

use std::{
    borrow::Cow,
    sync::{Arc, LazyLock},
};

use super::{
    owner::OwnerRef,
    pod::{Pod, PodKey},
};
use crate::{
    api::{ClearanceSpec, ClearedVersion, Runtime, SharedRuntime, SystemClearance, WithheldVersion},
    policy::{Pins, Unmatchable, matches_if_pinned},
    truncate::shorten,
};

static ANY_RUNTIME: LazyLock<Result<SharedRuntime, Unmatchable>> =
    LazyLock::new(|| Ok(SharedRuntime::default()));

#[derive(Debug)]
pub(crate) struct EventSubject<'a> {
    pub(super) api_version: &'a str,
    pub(super) kind: &'a str,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) uid: Cow<'a, str>,
    pub(super) owner: Option<&'a Arc<OwnerRef>>,
    pub(super) system: &'a Arc<str>,
    pub(super) runtime: &'a Result<SharedRuntime, Unmatchable>,
}

impl<'a> EventSubject<'a> {
    pub(super) fn pod(key: &'a PodKey, pod: &'a Pod) -> Self {
        Self {
            api_version: "v1",
            kind: "Pod",
            namespace: &key.namespace,
            name: &key.name,
            uid: pod.uid.to_string().into(),
            owner: pod.owner.as_ref(),
            system: &pod.system,
            runtime: &pod.runtime,
        }
    }

    /// The subject for a workload. Events about workloads do not mention the runtime, so the subject has an empty
    /// runtime.
    pub(super) fn workload(namespace: &'a str, root: &'a OwnerRef, system: &'a Arc<str>) -> Self {
        Self {
            api_version: &root.api_version,
            kind: &root.kind,
            namespace,
            name: &root.name,
            uid: root.uid.as_str().into(),
            owner: None,
            system,
            runtime: &ANY_RUNTIME,
        }
    }
}

/// The command that explains the subject if it is a pod, or else the system of the subject.
pub(super) fn explain(subject: &EventSubject<'_>) -> String {
    match subject.kind {
        "Pod" => format!("kubectl assent explain pod/{} -n {}", subject.name, subject.namespace),
        _ => explain_system(subject),
    }
}

/// The command that explains the system of the subject, or the subject itself if it names no system.
pub(super) fn explain_system(subject: &EventSubject<'_>) -> String {
    let EventSubject { kind, name, namespace, system, .. } = subject;
    if system.is_empty() {
        return format!("kubectl assent explain {}/{name} -n {namespace}", kind.to_lowercase());
    }
    format!("kubectl assent explain aisystem/{system} -n {namespace}")
}

/// The reason why a pod, or a pod of a Job, may not run.
pub(super) fn why(pod: &EventSubject<'_>, clearance: Option<&ClearanceSpec>) -> String {
    let system = clearance.and_then(|c| c.systems.get(&**pod.system));
    match (pod.runtime, system) {
        _ if pod.system.is_empty() => {
            "it has no label assent.dev/system, so it names no AI system".to_owned()
        }
        (_, None) => format!("there is no AISystem {}", pod.system),
        (Err(unmatchable), _) => unmatchable.to_string(),
        (Ok(runtime), Some(system)) => {
            why_by_tag(runtime, clearance, system).unwrap_or_else(|| why_of_system(pod.system, system))
        }
    }
}

/// The reason for a pod that differs from a cleared version only in the digests of its images.
fn why_by_tag(
    runtime: &Runtime,
    clearance: Option<&ClearanceSpec>,
    system: &SystemClearance,
) -> Option<String> {
    let trusted = &clearance?.trusted;
    let is = |version: &&ClearedVersion| {
        !Pins::of(&version.runtime, runtime).is_empty()
            && matches_if_pinned(&version.runtime, trusted, runtime)
    };
    let version = &system.cleared.iter().find(is)?.model_version;
    Some(format!("it names an image by tag, and only a new pod gets the digest that {version} approves"))
}

/// The maximum length of a text about a system, in bytes. This limit leaves room in the Event for the command at the end.
const WHY_BYTES: usize = 128;

fn why_of_system(name: &str, system: &SystemClearance) -> String {
    let cleared: Vec<_> = system.cleared.iter().map(|v| v.model_version.as_str()).collect();
    let withheld: Vec<_> = causes(system).collect();
    let text = match (cleared.is_empty(), withheld.is_empty()) {
        (true, true) => format!("AI system {name} has no ModelVersion"),
        (true, false) => withheld.join("; "),
        (false, true) => format!("it is not what was approved for AI system {name} ({})", cleared.join(", ")),
        (false, false) => format!(
            "it is not what was approved for AI system {name} ({}); {}",
            cleared.join(", "),
            withheld.join("; ")
        ),
    };
    shorten(text, WHY_BYTES)
}

/// The name of each withheld version and the cause, without the next step, in the order of `withheld`. After a loss of
/// clearance, the versions that await approval come last.
fn causes(system: &SystemClearance) -> impl Iterator<Item = String> {
    let waits = |version: &WithheldVersion| version.reason == "AwaitingApproval";
    let mut versions: Vec<_> = system.withheld.iter().collect();
    versions.sort_by_key(|version| system.lost_at.is_some() && waits(version));
    versions.into_iter().map(|version| {
        let cause = version.message.split(" (").next().unwrap_or_default();
        format!("{} {cause}", version.model_version)
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

    use super::*;

    fn withheld(version: &str, reason: &str, message: &str) -> WithheldVersion {
        WithheldVersion {
            model_version: version.to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
        }
    }

    #[test]
    fn the_cause_of_a_loss_comes_before_versions_that_were_never_cleared() {
        let awaiting =
            "awaiting approval by role risk-officer: 0 of 1 given (someone in role risk-officer runs: …)";
        let revoked =
            "revoked by alice at 2026-11-24T12:00:00Z: drift (when resolved, every role approves again: …)";
        let mut system = SystemClearance {
            withheld: vec![withheld("v2", "AwaitingApproval", awaiting), withheld("v1", "Revoked", revoked)],
            ..SystemClearance::default()
        };
        let held = why_of_system("scorer", &system);
        assert!(
            held.starts_with("v2 awaiting approval by role risk-officer: 0 of 1 given; v1 revoked"),
            "{held}"
        );
        system.lost_at = Some(Time(Timestamp::UNIX_EPOCH));
        let lost = why_of_system("scorer", &system);
        assert!(
            lost.starts_with("v1 revoked by alice at 2026-11-24T12:00:00Z: drift; v2 awaiting"),
            "{lost}"
        );
    }

    #[test]
    fn a_text_about_a_system_leaves_room_for_the_command() {
        let versions = (0..16).map(|n| withheld(&format!("v{n}"), "Rejected", &"x".repeat(4096)));
        let system = SystemClearance { withheld: versions.collect(), ..SystemClearance::default() };
        assert!(why_of_system("scorer", &system).len() <= WHY_BYTES);
    }
}
