//! The error for a pod that no runtime can describe.

use std::fmt;

use super::fields::instead_of;

/// The error for a pod with a field or annotation that can change what the pod runs, and that a
/// [`Runtime`](crate::api::Runtime) cannot contain.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{0}")]
pub struct Unmatchable(pub(super) Box<str>);

impl Unmatchable {
    /// The error for a `part` whose kind this release of Assent does not know. A later Kubernetes version can add
    /// kinds.
    pub(super) fn unknown(part: impl fmt::Display) -> Self {
        Self(format!(
            "the kind of {part} is unknown to this release of Assent, so no approved runtime can state it: use another kind, or upgrade Assent"
        ).into())
    }

    /// The error for a pod that sets a refused field. `field` is the path of the field in the table `FIELDS`. `what`
    /// describes the field in the message.
    pub(super) fn new(field: &str, what: impl fmt::Display) -> Self {
        Self(format!("{what} cannot be part of an approved runtime: {}", instead_of(field)).into())
    }
}

/// Returns an error if `present` is true, because a pod then has the refused field. `field` is the path of the field in
/// the table `FIELDS`. `what` describes the field in the message.
pub(super) fn refuse(present: bool, field: &str, what: impl fmt::Display) -> Result<(), Unmatchable> {
    if present { Err(Unmatchable::new(field, what)) } else { Ok(()) }
}

/// Returns an error if `present` is true, because one `part` of a pod, such as a container, then has the refused field.
/// `field` is the path of the field in the table `FIELDS`.
pub(super) fn refuse_of(present: bool, field: &str, part: impl fmt::Display) -> Result<(), Unmatchable> {
    let name = field.rsplit('.').next().unwrap_or(field);
    refuse(present, field, format_args!("{name} of {part}"))
}
