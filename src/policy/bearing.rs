//! Which of the recorded decisions bear on a version as it is now.
//!
//! An approval holds for what was read, and for nothing else. A rejection or revocation holds for the
//! version whatever it was then: else it would be undone by changing something and changing it back.

use super::Statement;
use crate::api::{Approval, Decision, Digest};

/// Whether `approval` bears on the version `version` of `system`, whose subject digest is now `digest`.
pub fn bears_on(approval: &Approval, system: &str, version: &str, digest: &Digest) -> bool {
    let spec = &approval.spec;
    let same_subject = spec.subject_digest == *digest || spec.decision != Decision::Approve;
    spec.system == system && spec.model_version == version && same_subject
}

impl<'a> Statement<'a> {
    /// What was stated; none where the API server did not record by whom or when.
    pub fn of(approval: &'a Approval) -> Option<Self> {
        Some(Self {
            name: approval.metadata.name.as_deref()?,
            approver: approval.spec.approver.as_ref()?,
            role: &approval.spec.role,
            decision: approval.spec.decision,
            reason: approval.spec.reason.as_deref(),
            at: approval.metadata.creation_timestamp.as_ref()?.0,
            not_after: approval.spec.not_after.as_ref().map(|end| end.0),
        })
    }
}
