//! Property: a pod matches its own runtime, and does not match a runtime that differs. Trusted sidecars never make a
//! match stricter. If a pod matches a runtime with placeholders, it equals the runtime after the approved texts replace its
//! values. A pod that matches also matches if its images are pinned, and a pinned pod matches as it is.

#![no_main]

use std::collections::BTreeSet;

use assent::{
    api::{Runtime, Trusted},
    policy::{self, Pins, Placeholders, runtime_of_pod},
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
    assert!(
        is_with_trusted || !matches(&approved, &runtime),
        "trusted sidecars make the match stricter: {runtime:#?}"
    );
    let pinned = Pins::of(&approved, &runtime).apply(&runtime);
    let is_if_pinned = policy::matches_if_pinned(&approved, &trusted, &runtime);
    assert!(is_if_pinned || !is_with_trusted, "pins make the match stricter: {runtime:#?}");
    assert_eq!(is_if_pinned, policy::matches(&approved, &trusted, &pinned), "{pinned:#?}");
    assert!(matches(&runtime, &runtime), "a runtime does not match itself: {runtime:#?}");
    let literal = Runtime { placeholders: Vec::new(), ..approved.clone() };
    if has_unique_names(&runtime) && matches(&approved, &runtime) {
        let replaced = Placeholders::of(&approved).as_approved(&approved, &runtime);
        assert!(matches(&literal, &replaced), "{approved:#?}\n{replaced:#?}");
    }
    let mut rng = assent_fuzz::rng(data);
    let mut changed = pod.clone();
    assent_fuzz::change(&mut changed, &mut rng);
    let Some(other) = runtime_of(&changed) else { return };
    if has_unique_names(&runtime) && has_unique_names(&other) {
        let same = sorted(&runtime) == sorted(&other);
        assert_eq!(matches(&runtime, &other), same, "{runtime:#?}\n{other:#?}");
        assert_eq!(matches(&other, &runtime), same, "{other:#?}\n{runtime:#?}");
        // If two runtimes are equal, an approved runtime that matches one also matches the other.
        assert!(!matches(&approved, &other) || !same || matches(&approved, &runtime));
    }
});

/// Whether `pod` matches `approved` without trusted additions.
fn matches(approved: &Runtime, pod: &Runtime) -> bool {
    policy::matches(approved, &Trusted::default(), pod)
}

fn runtime_of(pod: &Value) -> Option<Runtime> {
    runtime_of_pod(None, &serde_json::from_value::<PodSpec>(pod.clone()).ok()?).ok()
}

/// Whether the names of containers and of volumes are unique. The API server requires unique names.
fn has_unique_names(runtime: &Runtime) -> bool {
    let containers: BTreeSet<_> = runtime.containers.iter().map(|c| &c.name).collect();
    let volumes: BTreeSet<_> = runtime.volumes.iter().map(|v| &v.name).collect();
    containers.len() == runtime.containers.len() && volumes.len() == runtime.volumes.len()
}

/// The image without its tag if it has a digest.
fn untagged(image: &str) -> String {
    let Some((name, digest)) = image.rsplit_once('@') else { return image.to_owned() };
    let tag = name.rfind(':').filter(|colon| !name[*colon..].contains('/'));
    format!("{}@{digest}", tag.map_or(name, |colon| &name[..colon]))
}

/// Sorts containers and volumes by name, because their order does not matter. Removes the tags beside digests, because
/// such tags do not matter either.
fn sorted(runtime: &Runtime) -> Runtime {
    let mut runtime = runtime.clone();
    for container in runtime.containers.iter_mut().chain(&mut runtime.init_containers) {
        container.image = untagged(&container.image).as_str().into();
    }
    for image in runtime.volumes.iter_mut().filter_map(|volume| volume.image.as_mut()) {
        image.reference = untagged(&image.reference).as_str().into();
    }
    runtime.containers.sort_by(|a, b| a.name.cmp(&b.name));
    runtime.volumes.sort_by(|a, b| a.name.cmp(&b.name));
    runtime
}
