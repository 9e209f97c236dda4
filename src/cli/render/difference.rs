//! Compares a version with another version or with a pod. The result is a unified difference of YAML, because people
//! write both as YAML. In a comparison with a pod, containers and volumes are sorted, and differences that the version
//! allows are left out.
//!
//! ```text
//!  version, version ──────────► Material ─┐
//!                                         ├─► YAML ─► unified ─► "- old / + new"
//!  version, runtime of a pod ─► sorted ───┘
//! ```

use serde::Serialize;
use similar::TextDiff;

use crate::{
    api::{ModelVersion, Provenance, Runtime},
    policy::Placeholders,
};

/// The fields of a version that the comparison with another version shows.
#[derive(Serialize)]
struct Material<'a> {
    runtime: &'a Runtime,
    #[serde(skip_serializing_if = "Provenance::is_empty")]
    provenance: &'a Provenance,
}

/// The changes from `old` to `new`. Empty if there are none.
pub fn between_versions(old: &ModelVersion, new: &ModelVersion) -> String {
    let text =
        |v: &ModelVersion| yaml(&Material { runtime: &v.spec.runtime, provenance: &v.spec.provenance });
    unified(&text(old), &text(new), 2)
}

/// The differences from the version to the pod. Empty if there are none.
pub fn of_pod(version: &Runtime, pod: &Runtime) -> String {
    let pod = varying_as(version, pod);
    unified(&yaml(&sorted(version.clone())), &yaml(&sorted(pod)), 1)
}

/// The similarity of the runtime of a version and another runtime, such as that of a pod, from 0 (nothing in common) to
/// 1 (equal).
pub fn likeness(version: &Runtime, pod: &Runtime) -> f32 {
    let pod = varying_as(version, pod);
    TextDiff::from_lines(yaml(&sorted(version.clone())), yaml(&sorted(pod))).ratio()
}

/// The runtime of the pod, without the differences that the version allows. Variables that may vary are removed. If a
/// value matches a text with placeholders in the version, this text replaces the value. `mayVary` is copied from the
/// version.
pub fn varying_as(version: &Runtime, pod: &Runtime) -> Runtime {
    let mut pod = Placeholders::of(version).as_approved(version, pod);
    for container in pod.containers.iter_mut().chain(&mut pod.init_containers) {
        let mut approved = version.containers.iter().chain(&version.init_containers);
        if let Some(approved) = approved.find(|approved| approved.name == container.name) {
            container.may_vary = approved.may_vary.clone();
        }
    }
    pod.placeholders.clone_from(&version.placeholders);
    pod
}

fn sorted(mut runtime: Runtime) -> Runtime {
    runtime.containers.sort_by(|a, b| a.name.cmp(&b.name));
    runtime.volumes.sort_by(|a, b| a.name.cmp(&b.name));
    runtime
}

fn unified(old: &str, new: &str, context: usize) -> String {
    let diff = TextDiff::from_lines(old, new);
    let hunks = diff.unified_diff().context_radius(context).missing_newline_hint(false).to_string();
    hunks
        .lines()
        .map(|line| if line.starts_with("@@") { "@@\n".to_owned() } else { format!("{line}\n") })
        .collect()
}

/// YAML with every string on one line, because the comparison works on lines.
pub fn yaml<T: Serialize>(value: &T) -> String {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(value, options).unwrap_or_else(|error| format!("# {error}\n"))
}
