//! Verifies the signature of a decision that a person made outside the cluster. Any account may apply the signed
//! decision.
//!
//! The signed text is all fields of the decision as canonical JSON ([`signed_text`]). The signature counts if the
//! `ApproverRole` lists the key that signed, and if this key was valid at the creation of the `Approval`. The approver
//! is the owner of the key.
//!
//! The signature covers all fields of a decision, so no user can use the signature for another decision. The signature
//! also covers the time of signing, and an approval counts from this time. So an old approval that a user applies again
//! does not lift a later revocation.

use std::{borrow::Cow, collections::BTreeMap, fmt, sync::Arc};

use k8s_openapi::jiff::Timestamp;
use serde_json::json;
use ssh_key::{PublicKey, SshSig};

use super::{ApprovalObject, effect::whole_seconds};
use crate::api::{ApprovalSpec, Approver, ApproverKey, ApproverRole, Signature};

/// The namespace of the SSH signatures, which states their purpose (see `PROTOCOL.sshsig` of OpenSSH). Signatures with
/// another SSH namespace do not count.
pub const SIGNATURE_NAMESPACE: &str = "approval@assent.dev";

/// The existing `ApproverRole` objects, by name.
pub type ApproverRoles = BTreeMap<String, Arc<ApproverRole>>;

/// The reason why Assent does not know which person made a decision or signed a certification.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSigned {
    /// The decision has no signature and no approver, or the API server has not recorded the decision.
    #[error("it is not signed, and the API server did not record an approver")]
    Unsigned,
    /// The `ApproverRole` with the name of the role does not exist.
    #[error("there is no ApproverRole {role} with the keys of that role")]
    RoleNotFound {
        /// The name of the role.
        role: String,
    },
    /// The text in the signature field is not an SSH signature.
    #[error("the signature cannot be read: {why}")]
    Unreadable {
        /// The error of the parser.
        why: String,
    },
    /// The role does not list the key of the signature.
    #[error("ApproverRole {role} does not list the key of the signature")]
    KeyNotListed {
        /// The name of the role.
        role: String,
    },
    /// The key was not valid at the time `at`.
    #[error("the key of {user} in ApproverRole {role} was not valid at {at}, {}", .content.time_of_key())]
    KeyNotValid {
        /// The owner of the key.
        user: String,
        /// The name of the role.
        role: String,
        /// The time at which the API server recorded the decision. For a certification, the time of the signature.
        at: Timestamp,
        /// The kind of the signed text.
        content: Content,
    },
    /// The time of the signature is later than the creation of the `Approval`.
    #[error(
        "the signature of {user} has the time {signed_at}, but the API server recorded this decision earlier, at {at}"
    )]
    DatedAhead {
        /// The owner of the key.
        user: String,
        /// The time of the signature.
        signed_at: Timestamp,
        /// The time at which the API server recorded the decision.
        at: Timestamp,
    },
    /// The listed key signed another text than the text of the decision or certification.
    #[error("the signature of {user} is for other content: {content} differs")]
    OfAnother {
        /// The owner of the key.
        user: String,
        /// The kind of the signed text.
        content: Content,
    },
}

/// The kind of a signed text. The `Display` text lists the fields that the signature covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A decision.
    Decision,
    /// A certification of a provider.
    Certification,
}

impl Content {
    /// The event at which the key must be valid. For a certification, this event is the signature, because the API
    /// server does not record when a certification was made.
    const fn time_of_key(self) -> &'static str {
        match self {
            Self::Decision => "when this decision was recorded",
            Self::Certification => "when this certification was signed",
        }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Decision => {
                "namespace, system, version, digest, decision, role, assessments, incident, override, outcome, reason, notAfter or signedAt"
            }
            Self::Certification => "provider, name, notAfter, uri, digest, role or signedAt",
        })
    }
}

/// The text that the signature of a decision covers: all fields of the decision as canonical JSON (RFC 8785). `None` if
/// the decision has no signature.
pub fn signed_text(namespace: &str, spec: &ApprovalSpec) -> Option<Vec<u8>> {
    let signature = spec.signature.as_ref()?;
    let mut text = json!({
        "namespace": namespace,
        "system": spec.system,
        "modelVersion": spec.model_version,
        "subjectDigest": spec.subject_digest,
        "decision": spec.decision,
        "role": spec.role,
        "reason": spec.reason,
        "notAfter": spec.not_after,
        "signedAt": signature.signed_at,
    });
    // The text has each of the following fields only if the decision states the field. So signatures from older
    // releases of Assent, which did not know these fields, stay valid.
    if !spec.assessments.is_empty() {
        text["assessments"] = json!(spec.assessments);
    }
    if let Some(incident) = &spec.incident {
        text["incident"] = json!(incident);
    }
    if let Some(granted) = &spec.override_ {
        text["override"] = json!(granted);
    }
    if let Some(outcome) = &spec.outcome {
        text["outcome"] = json!(outcome);
    }
    serde_jcs::to_vec(&text).ok()
}

/// The person who decided, from the record of the API server or from the signature.
///
/// A rejection or revocation stays in effect after the role no longer lists the key that signed. To make this possible,
/// the operator writes the verified signer to the status of the `Approval`, and this function reads the signer there.
///
/// # Errors
/// [`NotSigned`] if the person who decided is not known.
pub fn approver_of<'a>(
    approval: &'a impl ApprovalObject,
    roles: &'a ApproverRoles,
) -> Result<Cow<'a, Approver>, NotSigned> {
    identified(approval, roles).map(|(approver, _)| approver)
}

/// The person who signed assessments, and whether the signature is valid now. `None` if the person is not known.
///
/// If a role no longer lists the key of a person, a person who was verified earlier stays known. Otherwise, the removal of
/// a key would also remove a bad result.
pub fn attester_of<'a>(
    approval: &'a impl ApprovalObject,
    roles: &'a ApproverRoles,
) -> Option<(Cow<'a, Approver>, bool)> {
    identified(approval, roles).ok()
}

/// The person who decided, and whether the signature is valid now. If the API server recorded the approver of a
/// decision without a signature, this decision is always valid.
fn identified<'a>(
    approval: &'a impl ApprovalObject,
    roles: &'a ApproverRoles,
) -> Result<(Cow<'a, Approver>, bool), NotSigned> {
    let spec = approval.spec();
    let Some(signature) = &spec.signature else {
        let approver = spec.approver.as_ref().ok_or(NotSigned::Unsigned)?;
        return Ok((Cow::Borrowed(approver), true));
    };
    match verified(approval, signature, roles) {
        Ok(signer) => Ok((Cow::Borrowed(signer), true)),
        Err(why) => verified_before(approval).map(|signer| (Cow::Owned(signer), false)).ok_or(why),
    }
}

/// The signer that the operator verified earlier and wrote to the status. `None` for a decision that lets a version
/// run, because this decision no longer counts after the role no longer lists the key.
fn verified_before(approval: &impl ApprovalObject) -> Option<Approver> {
    let stays = !approval.spec().decision.permits();
    let user = approval.signed_by().filter(|_| stays)?;
    Some(Approver { user: user.to_owned(), ..Approver::default() })
}

fn verified<'a>(
    approval: &impl ApprovalObject,
    signature: &Signature,
    roles: &'a ApproverRoles,
) -> Result<&'a Approver, NotSigned> {
    let spec = approval.spec();
    let role = &spec.role;
    let at = approval.created().ok_or(NotSigned::Unsigned)?;
    let text = signed_text(approval.namespace().unwrap_or_default(), spec);
    let text = text.ok_or(NotSigned::Unsigned)?;
    let keys = signing_keys(role, &signature.ssh, &text, roles, Content::Decision)?;
    let user = keys.first().map(|key| key.approver.user.clone()).unwrap_or_default();
    // Without this check, a user could keep a signed approval with a date in the far future, and lift each later
    // revocation with this approval.
    let signed_at = whole_seconds(signature.signed_at.0);
    if spec.decision.permits() && signed_at > at {
        return Err(NotSigned::DatedAhead { user, signed_at, at });
    }
    let valid = keys.into_iter().find(|key| key.is_valid_at(at));
    let content = Content::Decision;
    let not_valid = || NotSigned::KeyNotValid { user, role: role.clone(), at, content };
    valid.map(|key| &key.approver).ok_or_else(not_valid)
}

/// The entries of `role` whose key made the signature `ssh` of `text`. The list is never empty. A role can list one key
/// several times, with different periods of validity.
pub(super) fn signing_keys<'a>(
    role: &str,
    ssh: &str,
    text: &[u8],
    roles: &'a ApproverRoles,
    content: Content,
) -> Result<Vec<&'a ApproverKey>, NotSigned> {
    let listed = roles.get(role).ok_or_else(|| NotSigned::RoleNotFound { role: role.to_owned() })?;
    let signed = SshSig::from_pem(ssh).map_err(|why| NotSigned::Unreadable { why: why.to_string() })?;
    let keys = listed.spec.keys.iter().filter_map(|key| Some((key, public_key(key)?)));
    let same: Vec<_> = keys.filter(|(_, public)| public.key_data() == signed.public_key()).collect();
    let Some((first, public)) = same.first() else {
        return Err(NotSigned::KeyNotListed { role: role.to_owned() });
    };
    if public.verify(SIGNATURE_NAMESPACE, text, &signed).is_err() {
        return Err(NotSigned::OfAnother { user: first.approver.user.clone(), content });
    }
    Ok(same.into_iter().map(|(key, _)| key).collect())
}

/// Parses the public key of `key`. `None` if the text is not a public key in the format of OpenSSH.
pub fn public_key(key: &ApproverKey) -> Option<PublicKey> {
    PublicKey::from_openssh(&key.public_key).ok()
}

impl ApproverKey {
    /// Whether the key is valid at the time `at`. This is the time at which a decision was recorded or a certification
    /// signed.
    pub fn is_valid_at(&self, at: Timestamp) -> bool {
        self.not_before.as_ref().is_none_or(|begin| begin.0 <= at)
            && self.not_after.as_ref().is_none_or(|end| at < end.0)
    }
}
