//! Selects the recorded decisions that apply to a version in its current state.
//!
//! ```text
//!  Approve          applies to the version that it names, if the version still has the digest of the decision
//!  Reject, Revoke   apply to the version that they name, with any digest,
//!                   and to every version with the digest of the decision, with any name
//! ```
//!
//! So no user can avoid a rejection or revocation by a temporary change of the content, or by another name for the same
//! content.

use std::{borrow::Cow, collections::BTreeMap};

use k8s_openapi::jiff::Timestamp;

use super::{ApproverRoles, RecordedDecision, SubjectDigests, approver_of, signed_text};
use crate::api::{Approval, ApprovalSpec, Approver, Decision};

/// An `Approval`, or the part of an `Approval` that a caller keeps in memory.
pub trait ApprovalObject {
    /// The name of the object.
    fn name(&self) -> Option<&str>;
    /// The namespace of the object.
    fn namespace(&self) -> Option<&str>;
    /// The time at which the API server recorded the object.
    fn created(&self) -> Option<Timestamp>;
    /// The content of the object.
    fn spec(&self) -> &ApprovalSpec;
    /// The name of the signer in the status. The operator writes this name after it has verified the signature.
    fn signed_by(&self) -> Option<&str>;
}

impl ApprovalObject for Approval {
    fn name(&self) -> Option<&str> {
        self.metadata.name.as_deref()
    }

    fn namespace(&self) -> Option<&str> {
        self.metadata.namespace.as_deref()
    }

    fn created(&self) -> Option<Timestamp> {
        self.metadata.creation_timestamp.as_ref().map(|time| time.0)
    }

    fn spec(&self) -> &ApprovalSpec {
        &self.spec
    }

    fn signed_by(&self) -> Option<&str> {
        self.status.as_ref()?.signed_by.as_deref()
    }
}

/// Whether `approval` applies to `version` of `system`. `digests` are the digests of the present content of the
/// version.
pub fn applies_to(
    approval: &impl ApprovalObject,
    system: &str,
    version: &str,
    digests: &SubjectDigests,
) -> bool {
    let spec = approval.spec();
    let same_name = spec.model_version == version;
    let applies = match spec.decision {
        Decision::Approve => same_name && spec.subject_digest == digests.signed,
        Decision::Reject | Decision::Revoke => same_name || digests.contains(&spec.subject_digest),
        // These decisions are about assessments, incidents and overrides, and not about the version.
        Decision::Attest | Decision::Resume | Decision::Override | Decision::Review => false,
    };
    spec.system == system && applies
}

/// The decisions about versions in `approvals`. Decisions whose approver or time is not known are left out.
///
/// If several `Approval` objects contain the same signed decision, all of them get the earliest of their times. So a
/// copy of an old rejection or revocation has no new effect.
pub fn statements<'a, A: ApprovalObject + 'a>(
    approvals: impl IntoIterator<Item = &'a A>,
    roles: &'a ApproverRoles,
) -> Vec<RecordedDecision<'a>> {
    let mut first: BTreeMap<Vec<u8>, Timestamp> = BTreeMap::new();
    let stated = approvals.into_iter().filter_map(|approval| {
        let statement = RecordedDecision::of(approval, roles)?;
        let text = signed_text(approval.namespace().unwrap_or_default(), approval.spec());
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
    /// The decision in `approval`. `None` if the approver or the time is not known, or if the decision is not about the
    /// version itself.
    pub fn of(approval: &'a impl ApprovalObject, roles: &'a ApproverRoles) -> Option<Self> {
        Self::by(approver_of(approval, roles).ok()?, approval)
    }

    /// The decision in `approval`, with `approver` as the person who decided. `None` if the time is not known, or if
    /// the decision is not about the version itself.
    pub fn by(approver: Cow<'a, Approver>, approval: &'a impl ApprovalObject) -> Option<Self> {
        let spec = approval.spec();
        if !spec.decision.is_about_version() {
            return None;
        }
        Some(Self {
            name: approval.name()?,
            approver,
            version: &spec.model_version,
            role: &spec.role,
            decision: spec.decision,
            reason: spec.reason.as_deref(),
            at: decided_at(approval)?,
            not_after: spec.not_after.as_ref().map(|end| end.0),
        })
    }
}

/// The time from which a decision counts. `None` if the API server has not recorded the `Approval`.
///
/// A signed decision that [permits](Decision::permits) a version to run counts from the time of its signature. So if a
/// user applies an old signed decision again, the decision lifts no later revocation or hold. Every other decision
/// counts from the creation of its `Approval`.
pub fn decided_at(approval: &impl ApprovalObject) -> Option<Timestamp> {
    let recorded = approval.created()?;
    let spec = approval.spec();
    let signed = spec.signature.as_ref().map(|signature| signature.signed_at.0);
    let signed = signed.filter(|_| spec.decision.permits());
    Some(signed.map_or(recorded, |signed| signed.min(recorded)))
}
