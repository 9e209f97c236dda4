//! Compares the certifications of a provider with the required certifications. The same rules apply to the provider of
//! a system and to the providers of the hosted models of this system.
//!
//! If the level names a role for signatures, a certification counts only if a key in the `ApproverRole` of this role
//! signed the certification. The signed text names no system and no namespace, because a certification applies to all
//! systems of its provider.

use std::collections::BTreeSet;

use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::{
    ApproverRoles, NotSigned,
    effect::whole_seconds,
    signature::{Content, signing_keys},
};
use crate::api::{AISystemSpec, ApproverKey, Certification, Provider, RiskLevelSpec};

pub(super) fn end_times(system: &AISystemSpec) -> impl Iterator<Item = Timestamp> {
    let ends = holders(system).flat_map(|holder| &holder.certifications).filter_map(|c| c.not_after.as_ref());
    ends.map(|end| whole_seconds(end.0))
}

fn holders(system: &AISystemSpec) -> impl Iterator<Item = &Provider> {
    system.provider.iter().chain(&system.suppliers)
}

/// The certifications in the spec of a system that a person signed in the role that the level names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignedCertifications(Vec<SignedCertification>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct SignedCertification {
    holder: String,
    certification: Certification,
    /// The end of the validity of the signing key. From this time on, the signature does not count.
    key_end: Option<Timestamp>,
}

impl SignedCertifications {
    /// Verifies the signatures of the certifications that the level requires, if the level names a role for signatures.
    /// Skips all other signatures, because a verification is expensive.
    pub fn of(system: &AISystemSpec, level: Option<&RiskLevelSpec>, roles: &ApproverRoles) -> Self {
        let Some(level) = level.filter(|level| level.certification_role.is_some()) else {
            return Self::default();
        };
        let hosted = level.hosted_models.iter().flat_map(|required| &required.certifications);
        let required: BTreeSet<_> = level.certifications.iter().chain(hosted).collect();
        let all = holders(system).flat_map(|holder| holder.certifications.iter().map(move |c| (holder, c)));
        let signed = all.filter_map(|(holder, certification)| {
            let role = certification.signature.as_ref().map(|signature| &signature.role);
            if role != level.certification_role.as_ref() || !required.contains(&certification.name) {
                return None;
            }
            let key = certifier(&holder.name, certification, roles).ok()??;
            let key_end = key.not_after.as_ref().map(|end| whole_seconds(end.0));
            Some(SignedCertification {
                holder: holder.name.clone(),
                certification: certification.clone(),
                key_end,
            })
        });
        Self(signed.collect())
    }

    pub(super) fn end_times(&self) -> impl Iterator<Item = Timestamp> {
        self.0.iter().filter_map(|signed| signed.key_end)
    }

    fn counts(&self, holder: &str, certification: &Certification, now: Timestamp) -> bool {
        self.0.iter().any(|signed| {
            signed.holder == holder
                && signed.certification == *certification
                && signed.key_end.is_none_or(|end| now < end)
        })
    }
}

/// The names in `required` for which `holder` has no certification at `now`. If the level names a role for signatures,
/// only certifications with a signature in this role count.
pub(super) fn missing<'a>(
    holder: Option<&Provider>,
    required: &'a [String],
    (level, signed): (&RiskLevelSpec, &SignedCertifications),
    now: Timestamp,
) -> impl Iterator<Item = &'a String> {
    let held = holder.into_iter().flat_map(|holder| holder.certifications.iter().map(move |c| (holder, c)));
    let held = held.filter(|(holder, held)| {
        held.not_after.as_ref().is_none_or(|end| now < whole_seconds(end.0))
            && (level.certification_role.is_none() || signed.counts(&holder.name, held, now))
    });
    let held: BTreeSet<_> = held.map(|(_, held)| &held.name).collect();
    required.iter().filter(move |wanted| !held.contains(wanted))
}

/// The text that the signature of a certification covers, as canonical JSON (RFC 8785). `None` if the certification has
/// no signature.
pub fn certification_text(holder: &str, certification: &Certification) -> Option<Vec<u8>> {
    let Certification { name, not_after, uri, digest, signature } = certification;
    let signature = signature.as_ref()?;
    let text = json!({
        "certification": {
            "provider": holder, "name": name, "notAfter": not_after, "uri": uri, "digest": digest,
        },
        "role": signature.role,
        "signedAt": signature.signed_at,
    });
    serde_jcs::to_vec(&text).ok()
}

/// Returns the entry of the `ApproverRole` for the key that signed `certification` of `holder`. `None` if the
/// certification has no signature. This function checks that the key was valid at the time of the signature. The caller
/// must check that the key is still valid.
///
/// # Errors
/// [`NotSigned`] says why the signature does not count.
pub fn certifier<'a>(
    holder: &str,
    certification: &Certification,
    roles: &'a ApproverRoles,
) -> Result<Option<&'a ApproverKey>, NotSigned> {
    let Some(signature) = &certification.signature else { return Ok(None) };
    let text = certification_text(holder, certification).ok_or(NotSigned::Unsigned)?;
    let keys = signing_keys(&signature.role, &signature.ssh, &text, roles, Content::Certification)?;
    let at = whole_seconds(signature.signed_at.0);
    let user = keys.first().map(|key| key.approver.user.clone()).unwrap_or_default();
    let valid = keys.into_iter().find(|key| key.is_valid_at(at));
    let (role, content) = (signature.role.clone(), Content::Certification);
    valid.map(Some).ok_or(NotSigned::KeyNotValid { user, role, at, content })
}
