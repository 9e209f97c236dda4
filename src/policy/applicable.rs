//! Which of the recorded decisions bear on a version as it is now.
//!
//! ```text
//!  Approve          counts for the version that it names, with the digest that was read
//!  Reject, Revoke   count for the version that they name, whatever its digest is now,
//!                   and for every version with the digest that was read, whatever its name is
//! ```
//!
//! So nobody undoes a rejection by changing something and changing it back, or by applying the same content
//! under another name.

use std::{borrow::Cow, collections::BTreeMap};

use k8s_openapi::jiff::Timestamp;

use super::{ApproverRoles, RecordedDecision, SubjectDigests, approver_of, signed_text};
use crate::api::{Approval, Approver, Decision};

/// Whether `approval` bears on the version `version` of `system`, whose subject now has `digests`.
pub fn applies_to(approval: &Approval, system: &str, version: &str, digests: &SubjectDigests) -> bool {
    let spec = &approval.spec;
    let same_name = spec.model_version == version;
    let bears = match spec.decision {
        Decision::Approve => same_name && spec.subject_digest == digests.signed,
        Decision::Reject | Decision::Revoke => same_name || digests.contains(&spec.subject_digest),
    };
    spec.system == system && bears
}

/// What was stated in `approvals`. A signed decision that is there more than once was made when it first was: applied
/// again, it withholds nothing again.
pub fn statements<'a>(
    approvals: impl IntoIterator<Item = &'a Approval>,
    roles: &'a ApproverRoles,
) -> Vec<RecordedDecision<'a>> {
    let mut first: BTreeMap<Vec<u8>, Timestamp> = BTreeMap::new();
    let stated = approvals.into_iter().filter_map(|approval| {
        let statement = RecordedDecision::of(approval, roles)?;
        let text = signed_text(approval.metadata.namespace.as_deref().unwrap_or_default(), &approval.spec);
        Some((statement, text))
    });
    let stated: Vec<_> = stated.collect();
    for (statement, text) in &stated {
        let Some(text) = text else { continue };
        let at = first.entry(text.clone()).or_insert(statement.at);
        *at = statement.at.min(*at);
    }
    let dated = |(statement, text): (RecordedDecision<'a>, Option<Vec<u8>>)| {
        let at = text.and_then(|text| first.get(&text).copied()).unwrap_or(statement.at);
        RecordedDecision { at, ..statement }
    };
    stated.into_iter().map(dated).collect()
}

impl<'a> RecordedDecision<'a> {
    /// What was stated; none where neither the API server nor a signature says by whom, or nobody when.
    pub fn of(approval: &'a Approval, roles: &'a ApproverRoles) -> Option<Self> {
        Self::by(approver_of(approval, roles).ok()?, approval)
    }

    /// What `approver` stated in `approval`; none where nobody recorded when.
    pub fn by(approver: Cow<'a, Approver>, approval: &'a Approval) -> Option<Self> {
        let recorded = approval.metadata.creation_timestamp.as_ref()?.0;
        let signed = approval.spec.signature.as_ref().map(|signature| signature.signed_at.0);
        // An approval is of the time at which somebody looked; what withholds, of the time from which it is known.
        let signed = signed.filter(|_| approval.spec.decision == Decision::Approve);
        Some(Self {
            name: approval.metadata.name.as_deref()?,
            approver,
            version: &approval.spec.model_version,
            role: &approval.spec.role,
            decision: approval.spec.decision,
            reason: approval.spec.reason.as_deref(),
            at: signed.map_or(recorded, |signed| signed.min(recorded)),
            not_after: approval.spec.not_after.as_ref().map(|end| end.0),
        })
    }
}
