//! Whose signature an approval carries: the decision of somebody who signed it outside the cluster, whoever applies it.
//!
//! ```text
//!  Approval ── namespace, system, version, digest, decision, role, reason, end, when ──► canonical JSON
//!     └─ signature ── by a key of the ApproverRole, valid when it was recorded ───────────► Approver
//! ```
//!
//! All that a decision says is signed, so that none of it can be used for another. When it was signed is part of that,
//! and it counts as decided then at the latest: one that is applied once more, after a revocation, still came before it.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use k8s_openapi::jiff::Timestamp;
use serde_json::json;
use ssh_key::{PublicKey, SshSig};

use super::effect::whole_seconds;
use crate::api::{Approval, ApprovalSpec, Approver, ApproverKey, ApproverRole, Decision, Signature};

/// The namespace of the signatures (OpenSSH PROTOCOL.sshsig): one that was made for anything else is none.
pub const SIGNATURE_NAMESPACE: &str = "approval@assent.dev";

/// The roles that exist, by name.
pub type ApproverRoles = BTreeMap<String, Arc<ApproverRole>>;

/// Why a signature does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSigned {
    /// It has no signature, and no approver either.
    #[error("it is not signed, and the API server did not record who decided")]
    Unsigned,
    /// Nobody says which keys count.
    #[error("there is no ApproverRole {role}, which would list the keys of that role")]
    RoleNotFound {
        /// The role.
        role: String,
    },
    /// It is no signature at all.
    #[error("the signature cannot be read: {why}")]
    Unreadable {
        /// Why.
        why: String,
    },
    /// It is of a key that the role does not list.
    #[error("ApproverRole {role} does not list the key of the signature")]
    KeyNotListed {
        /// The role.
        role: String,
    },
    /// The key did not count when the approval was recorded.
    #[error("the key of {user} in ApproverRole {role} did not count at {at}, when this was recorded")]
    KeyNotValid {
        /// Whose key.
        user: String,
        /// The role.
        role: String,
        /// When.
        at: Timestamp,
    },
    /// It says that it was signed after it was recorded.
    #[error("the signature of {user} is dated {signed_at}, after {at}, when this was recorded")]
    DatedAhead {
        /// Whose.
        user: String,
        /// When it says that it was signed.
        signed_at: Timestamp,
        /// When it was recorded.
        at: Timestamp,
    },
    /// It is the signature of something else.
    #[error(
        "the signature of {user} is not of this: namespace, system, version, digest, decision, role, reason, notAfter or signedAt is another"
    )]
    OfAnother {
        /// Whose.
        user: String,
    },
}

/// What is signed: canonical JSON (RFC 8785) of all that a decision says; none where it says not when.
pub fn signed_text(namespace: &str, spec: &ApprovalSpec) -> Option<Vec<u8>> {
    let signature = spec.signature.as_ref()?;
    serde_jcs::to_vec(&json!({
        "namespace": namespace,
        "system": spec.system,
        "modelVersion": spec.model_version,
        "subjectDigest": spec.subject_digest,
        "decision": spec.decision,
        "role": spec.role,
        "reason": spec.reason,
        "notAfter": spec.not_after,
        "signedAt": signature.signed_at,
    }))
    .ok()
}

/// Who decided: whom the API server recorded, or whose signature it is.
///
/// A rejection or revocation stays when its key leaves the role: the operator recorded in the status, which only it
/// can write, whose signature it verified. Somebody with the role lifts it by deciding otherwise.
///
/// # Errors
/// Nobody did whose decision counts.
pub fn approver_of<'a>(
    approval: &'a Approval,
    roles: &'a ApproverRoles,
) -> Result<Cow<'a, Approver>, NotSigned> {
    let spec = &approval.spec;
    let Some(signature) = &spec.signature else {
        return spec.approver.as_ref().map(Cow::Borrowed).ok_or(NotSigned::Unsigned);
    };
    let signer = verified(approval, signature, roles);
    signer.map(Cow::Borrowed).or_else(|why| verified_before(approval).map(Cow::Owned).ok_or(why))
}

/// Whose signature the operator found on a decision that withholds, when it verified it.
fn verified_before(approval: &Approval) -> Option<Approver> {
    let withholds = approval.spec.decision != Decision::Approve;
    let status = approval.status.as_ref().filter(|_| withholds)?;
    status.signed_by.clone().map(|user| Approver { user, ..Approver::default() })
}

fn verified<'a>(
    approval: &Approval,
    signature: &Signature,
    roles: &'a ApproverRoles,
) -> Result<&'a Approver, NotSigned> {
    let spec = &approval.spec;
    let role = &spec.role;
    let listed = roles.get(role).ok_or_else(|| NotSigned::RoleNotFound { role: role.clone() })?;
    let unreadable = |why: &dyn ToString| NotSigned::Unreadable { why: why.to_string() };
    let signed = SshSig::from_pem(&signature.ssh).map_err(|why| unreadable(&why))?;
    let at = approval.metadata.creation_timestamp.as_ref().ok_or(NotSigned::Unsigned)?.0;
    let text = signed_text(approval.metadata.namespace.as_deref().unwrap_or_default(), spec);
    let text = text.ok_or(NotSigned::Unsigned)?;
    let keys = listed.spec.keys.iter().filter_map(|key| Some((key, public_key(key)?)));
    let mut same = keys.filter(|(_, public)| public.key_data() == signed.public_key()).peekable();
    let Some((first, public)) = same.peek() else {
        return Err(NotSigned::KeyNotListed { role: role.clone() });
    };
    let user = first.approver.user.clone();
    if public.verify(SIGNATURE_NAMESPACE, &text, &signed).is_err() {
        return Err(NotSigned::OfAnother { user });
    }
    // An approval that is dated ahead could be kept back, and lift a revocation that comes before its date.
    let signed_at = whole_seconds(signature.signed_at.0);
    if spec.decision == Decision::Approve && signed_at > at {
        return Err(NotSigned::DatedAhead { user, signed_at, at });
    }
    let valid = same.find(|(key, _)| key.is_valid_at(at));
    valid.map(|(key, _)| &key.approver).ok_or_else(|| NotSigned::KeyNotValid { user, role: role.clone(), at })
}

/// The key; one that cannot be read is none.
pub fn public_key(key: &ApproverKey) -> Option<PublicKey> {
    PublicKey::from_openssh(&key.public_key).ok()
}

impl ApproverKey {
    /// Whether a decision that was recorded `at` that instant counts.
    pub fn is_valid_at(&self, at: Timestamp) -> bool {
        self.not_before.as_ref().is_none_or(|begin| begin.0 <= at)
            && self.not_after.as_ref().is_none_or(|end| at < end.0)
    }
}
