//! The signatures that make the results of assessments count.
//!
//! An `Approval` with the decision `Attest` is the signature of one person for one or more assessments. The `Approval`
//! names each assessment with its digest.

use std::{borrow::Cow, collections::BTreeMap};

use super::{ApprovalObject, ApproverRoles, attester_of};
use crate::api::{ApprovalSpec, Approver, AssessmentSpec, Digest};

/// A signature of one person for one assessment.
#[derive(Clone, Debug)]
pub struct Attestation<'a> {
    /// The person who signed.
    pub approver: Cow<'a, Approver>,
    /// The role in which the person signed.
    pub role: &'a str,
    /// False if the role no longer lists the key of the signature. Then a bad result still withholds a version, but a
    /// good result no longer meets a requirement.
    pub is_valid: bool,
}

/// The signatures in a namespace, by the name of the signed assessment. Next to each signature is the spec of the
/// `Approval` that contains the signature.
#[derive(Clone, Debug, Default)]
pub struct Attestations<'a>(BTreeMap<&'a str, Vec<(&'a ApprovalSpec, Attestation<'a>)>>);

impl<'a> Attestations<'a> {
    /// Verifies the signatures in `approvals`. Leaves out an `Approval` that names no assessment, or whose signer is
    /// not known.
    pub fn new<A: ApprovalObject + 'a>(
        approvals: impl IntoIterator<Item = &'a A>,
        roles: &'a ApproverRoles,
    ) -> Self {
        let mut by_name: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for approval in approvals.into_iter().filter(|approval| !approval.spec().assessments.is_empty()) {
            let spec = approval.spec();
            let Some((approver, is_valid)) = attester_of(approval, roles) else { continue };
            let attestation = Attestation { approver, role: &spec.role, is_valid };
            for signed in &spec.assessments {
                by_name.entry(&signed.name).or_default().push((spec, attestation.clone()));
            }
        }
        Self(by_name)
    }

    /// The signatures of the assessment `name` with the content `spec`. `digest` is the digest of `spec`.
    pub fn of(&self, name: &str, digest: &Digest, spec: &AssessmentSpec) -> Vec<Attestation<'a>> {
        let signed = self.0.get(name).into_iter().flatten();
        let signed = signed.filter(|(decision, _)| decision.attests(name, digest, spec));
        signed.map(|(_, attestation)| attestation.clone()).collect()
    }
}
