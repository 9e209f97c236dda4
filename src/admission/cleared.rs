//! Whether a pod, or the template of one, is what the namespace's `Clearance` clears, in CEL.

use crate::api::SYSTEM_LABEL;

/// The name of the system that a pod or template says it belongs to; empty where it says none.
pub(super) fn system(pod: &str) -> String {
    format!("{pod}.metadata.?labels[?'{SYSTEM_LABEL}'].orValue('')")
}

/// The versions that are cleared, as far as the operator got to write, for the system of `pod`.
pub(super) fn cleared_versions(pod: &str) -> String {
    format!("params.?spec.?systems[?{}].?cleared.orValue([])", system(pod))
}

/// Whether `pod` has the runtime of the version `v`, and besides at most what is trusted.
pub(super) fn matches(pod: &str) -> String {
    let parts = [
        ("CONTAINER", include_str!("container.cel")),
        ("ENV", include_str!("env.cel")),
        ("MOUNTS", include_str!("mounts.cel")),
        ("VOLUMES", include_str!("volumes.cel")),
        ("VOLUME", include_str!("volume.cel")),
        ("SOURCE", include_str!("source.cel")),
    ];
    let whole = include_str!("matches.cel").trim_end().to_owned();
    let whole =
        parts.iter().fold(whole, |text, (name, part)| text.replace(name, &format!("({})", part.trim_end())));
    format!("({})", whole.replace("POD.", &format!("{pod}.")))
}
