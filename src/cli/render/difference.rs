//! What differs between two things of the cluster, as a unified difference of YAML: the language in
//! which whoever wrote them can change them.
//!
//! ```text
//!  version, version ─► Material ─┐
//!                                ├─ YAML ─ unified ─► "- old / + new"
//!  pod's runtime, version's ─────┘  where the order does not matter, sorted; what may vary, left out
//! ```

use serde::Serialize;
use similar::TextDiff;

use crate::api::{Container, ModelVersion, Provenance, Runtime};

/// What of a version an approver signs, besides the system's own fields.
#[derive(Serialize)]
struct Material<'a> {
    runtime: &'a Runtime,
    #[serde(skip_serializing_if = "Provenance::is_empty")]
    provenance: &'a Provenance,
}

/// What changed from `old` to `new`; empty if nothing.
pub fn between_versions(old: &ModelVersion, new: &ModelVersion) -> String {
    let text =
        |v: &ModelVersion| yaml(&Material { runtime: &v.spec.runtime, provenance: &v.spec.provenance });
    unified(&text(old), &text(new), 2)
}

/// What of a pod is not as the version wants it; empty if nothing.
pub fn of_pod(version: &Runtime, pod: &Runtime) -> String {
    let pod = varying_as(version, pod.clone());
    unified(&yaml(&sorted(version.clone())), &yaml(&sorted(pod)), 1)
}

/// How alike a pod and a version are, from 0 to 1.
pub fn likeness(version: &Runtime, pod: &Runtime) -> f32 {
    let pod = varying_as(version, pod.clone());
    TextDiff::from_lines(yaml(&sorted(version.clone())), yaml(&sorted(pod))).ratio()
}

/// The pod's runtime without what its version lets vary, and with the same list of that.
pub fn varying_as(version: &Runtime, mut pod: Runtime) -> Runtime {
    let same = |c: &Container| {
        version.containers.iter().chain(&version.init_containers).find(|v| v.name == c.name).cloned()
    };
    for container in pod.containers.iter_mut().chain(&mut pod.init_containers) {
        if let Some(approved) = same(container) {
            container.env.retain(|env| !approved.may_vary.env.contains(&env.name));
            container.may_vary = approved.may_vary;
        }
    }
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

/// YAML with every string on one line, so that a long text reads like it is compared.
pub fn yaml<T: Serialize>(value: &T) -> String {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(value, options).unwrap_or_else(|error| format!("# {error}\n"))
}
