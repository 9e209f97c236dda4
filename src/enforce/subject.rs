//! The subject of an Event, and the reason why it may not run.

use std::{
    borrow::Cow,
    sync::{Arc, LazyLock},
};

use super::{
    owner::OwnerRef,
    pod::{Pod, PodKey},
};
use crate::{
    api::{ClearanceSpec, SharedRuntime, SystemClearance},
    policy::Unmatchable,
};

static ANY_RUNTIME: LazyLock<Result<SharedRuntime, Unmatchable>> =
    LazyLock::new(|| Ok(SharedRuntime::default()));

/// The subject of an Event.
#[derive(Debug)]
pub(crate) struct Subject<'a> {
    pub(super) api_version: &'a str,
    pub(super) kind: &'a str,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) uid: Cow<'a, str>,
    pub(super) owner: Option<&'a Arc<OwnerRef>>,
    pub(super) system: &'a Arc<str>,
    pub(super) runtime: &'a Result<SharedRuntime, Unmatchable>,
}

impl<'a> Subject<'a> {
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

    /// A workload. The reason of its Event does not depend on a runtime.
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

/// The command that explains the subject. The plugin explains pods, and the system of any other subject.
pub(super) fn explain(subject: &Subject<'_>) -> String {
    match subject.kind {
        "Pod" => format!("kubectl assent explain pod/{} -n {}", subject.name, subject.namespace),
        _ => explain_system(subject),
    }
}

pub(super) fn explain_system(subject: &Subject<'_>) -> String {
    let system = if subject.system.is_empty() { "NAME" } else { subject.system };
    format!("kubectl assent explain aisystem/{system} -n {}", subject.namespace)
}

/// Why a pod, or a pod of a Job, may not run.
pub(super) fn why(pod: &Subject<'_>, clearance: Option<&ClearanceSpec>) -> String {
    let system = clearance.and_then(|c| c.systems.get(&**pod.system));
    match (pod.runtime, system) {
        _ if pod.system.is_empty() => "it has no label assent.dev/system to name its AISystem".to_owned(),
        (_, None) => format!("there is no AISystem {}", pod.system),
        (Err(unmatchable), _) => unmatchable.to_string(),
        (Ok(_), Some(system)) => why_of_system(pod.system, system),
    }
}

fn why_of_system(name: &str, system: &SystemClearance) -> String {
    let cleared: Vec<_> = system.cleared.iter().map(|v| v.model_version.as_str()).collect();
    let withheld: Vec<_> =
        system.withheld.iter().map(|v| format!("{} {}", v.model_version, v.message)).collect();
    match (cleared.is_empty(), withheld.is_empty()) {
        (true, true) => format!("AI system {name} has no ModelVersion"),
        (true, false) => format!("of AI system {name}, {}", withheld.join("; ")),
        (false, true) => format!("it is not what was approved for AI system {name} ({})", cleared.join(", ")),
        (false, false) => {
            format!("of AI system {name}, it is not {}, and {}", cleared.join(" or "), withheld.join("; "))
        }
    }
}
