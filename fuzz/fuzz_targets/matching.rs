//! A pod is its own runtime, and a pod that runs anything else is not; whatever the pod, the approval and what is
//! trusted beside it.

#![no_main]

use std::collections::BTreeSet;

use assent::{
    api::{Runtime, Trusted},
    policy::{self, runtime_of_pod},
};
use k8s_openapi::api::core::v1::PodSpec;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Admission {
    approved: Runtime,
    #[serde(default)]
    trusted: Trusted,
    pod: Value,
}

fuzz_mutator!(|data: &mut [u8], size: usize, max: usize, seed: u32| {
    assent_fuzz::mutate(data, size, max, seed)
});

fuzz_target!(|data: &[u8]| {
    let Ok(Admission { approved, trusted, pod }) = serde_json::from_slice(data) else { return };
    let Some(runtime) = runtime_of(&pod) else { return };
    let is_with_trusted = policy::matches(&approved, &trusted, &runtime);
    assert!(is_with_trusted || !matches(&approved, &runtime), "trust makes it stricter: {runtime:#?}");
    assert!(matches(&runtime, &runtime), "it is not itself: {runtime:#?}");
    let mut dice = assent_fuzz::dice(data);
    let mut changed = pod.clone();
    assent_fuzz::change(&mut changed, &mut dice);
    let Some(other) = runtime_of(&changed) else { return };
    if has_names_of_its_own(&runtime) && has_names_of_its_own(&other) {
        let same = in_order(&runtime) == in_order(&other);
        assert_eq!(matches(&runtime, &other), same, "{runtime:#?}\n{other:#?}");
        assert_eq!(matches(&other, &runtime), same, "{other:#?}\n{runtime:#?}");
        // What the approved one lets vary makes it stricter in nothing.
        assert!(!matches(&approved, &other) || !same || matches(&approved, &runtime));
    }
});

/// Where nothing is trusted.
fn matches(approved: &Runtime, pod: &Runtime) -> bool {
    policy::matches(approved, &Trusted::default(), pod)
}

fn runtime_of(pod: &Value) -> Option<Runtime> {
    runtime_of_pod(None, &serde_json::from_value::<PodSpec>(pod.clone()).ok()?).ok()
}

/// The API server takes no two containers or volumes of one name.
fn has_names_of_its_own(runtime: &Runtime) -> bool {
    let containers: BTreeSet<_> = runtime.containers.iter().map(|c| &c.name).collect();
    let volumes: BTreeSet<_> = runtime.volumes.iter().map(|v| &v.name).collect();
    containers.len() == runtime.containers.len() && volumes.len() == runtime.volumes.len()
}

/// The order of containers and of volumes says nothing.
fn in_order(runtime: &Runtime) -> Runtime {
    let mut runtime = runtime.clone();
    runtime.containers.sort_by(|a, b| a.name.cmp(&b.name));
    runtime.volumes.sort_by(|a, b| a.name.cmp(&b.name));
    runtime
}
