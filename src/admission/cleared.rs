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

/// Whether `pod` has the runtime of the version `v`.
pub(super) fn matches(pod: &str) -> String {
    let container = format!("({})", include_str!("container.cel").trim_end());
    let predicate = include_str!("matches.cel").trim_end().replace("CONTAINER", &container);
    format!("({})", predicate.replace("POD.", &format!("{pod}.")))
}
