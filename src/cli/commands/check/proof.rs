//! Checks whether the Approvals in a file count. In a file, only a signature proves who decided. A signature is valid
//! only if the `ApproverRole` of the Approval lists the key.
//!
//! ```text
//!  Approval ─┬─ with a valid signature ────────────────────────► counts            ├─ Reject or Revoke without a valid
//! signature ────► counts            └─ any other decision without a valid signature ──► Unproven
//! ```
//!
//! A rejection or revocation counts without a signature, because it lets no version run.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use crate::{
    api::{Approval, Approver},
    cli::error::verb,
    policy::{ApproverRoles, approver_of},
};

#[derive(Debug, PartialEq, Eq)]
pub struct Unproven {
    pub why: String,
    pub next: Vec<String>,
}

/// Sets the creation time of an Approval from a file, and returns the Approval. Fails if the Approval does not count.
///
/// Any user can edit the times in a file. So a signed Approval counts from the time in its signature, and its key must
/// be valid at `now`. A signed rejection or revocation never counts from a time before its signature. Otherwise a user
/// could move such a decision to the past, and so restore the approvals that the decision ended.
pub fn proven(mut approval: Approval, roles: &ApproverRoles, now: Timestamp) -> Result<Approval, Unproven> {
    let signed_at = approval.spec.signature.as_ref().map(|signature| signature.signed_at.0);
    if !approval.spec.decision.withholds() {
        approval.metadata.creation_timestamp = Some(Time(now));
        return proven_approve(approval, roles);
    }
    let recorded = approval.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
    let recorded = signed_at.map_or(recorded, |signed| signed.max(recorded));
    approval.metadata.creation_timestamp = Some(Time(recorded));
    if approver_of(&approval, roles).is_err() {
        let unknown = Approver { user: "an unknown person".to_owned(), ..Approver::default() };
        approval.spec.approver = Some(approval.spec.approver.take().unwrap_or(unknown));
        approval.spec.signature = None;
    }
    Ok(approval)
}

fn proven_approve(approval: Approval, roles: &ApproverRoles) -> Result<Approval, Unproven> {
    let why = if approval.spec.signature.is_none() {
        let who = approval.spec.approver.as_ref().map_or("a person", |approver| &approver.user);
        format!("it has no signature, so the file does not prove that {who} decided")
    } else {
        match approver_of(&approval, roles) {
            Ok(_) => return Ok(approval),
            Err(error) => error.to_string(),
        }
    };
    let namespace = approval.metadata.namespace.as_deref().unwrap_or_default();
    let (system, version) = (&approval.spec.system, &approval.spec.model_version);
    let next = vec![
        format!("see in the cluster who decided: kubectl assent status {system} -n {namespace}"),
        format!(
            "or sign it: kubectl assent {} {system} --version {version} -n {namespace} --ssh-key KEY --to FILE",
            verb(approval.spec.decision)
        ),
    ];
    Err(Unproven { why, next })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use ssh_key::{HashAlg, LineEnding, PrivateKey};

    use super::*;
    use crate::{
        api::{ApproverKey, ApproverRole, ApproverRoleSpec, Signature},
        cli::fixtures::{at, now, person},
        policy::{RecordedDecision, SIGNATURE_NAMESPACE, signed_text},
    };

    const SIGNED: &str = "2026-11-20T09:00:00Z";

    fn key() -> PrivateKey {
        PrivateKey::from_openssh(include_str!("../../../policy/tests/alice.key")).expect("a key")
    }

    fn roles() -> ApproverRoles {
        let public_key = key().public_key().to_openssh().expect("a public key");
        let listed = ApproverKey { approver: person("alice"), public_key, ..ApproverKey::default() };
        let spec = ApproverRoleSpec { keys: vec![listed], ..ApproverRoleSpec::default() };
        ApproverRoles::from([("risk".to_owned(), Arc::new(ApproverRole::new("risk", spec)))])
    }

    fn unsigned(decision: &str, approver: Option<&str>, recorded: &str) -> Approval {
        serde_json::from_value(json!({
            "apiVersion": "assent.dev/v1alpha1", "kind": "Approval",
            "metadata": { "name": "a", "namespace": "lending", "creationTimestamp": recorded },
            "spec": { "system": "triage", "modelVersion": "v1", "role": "risk", "decision": decision,
                "reason": "tested", "subjectDigest": format!("sha256:{}", "0".repeat(64)),
                "approver": approver.map(|user| json!({ "user": user })) } }))
        .expect("an Approval")
    }

    fn signed(decision: &str, recorded: &str) -> Approval {
        let mut approval = unsigned(decision, None, recorded);
        approval.spec.signature = Some(Signature { signed_at: Time(at(SIGNED)), ssh: String::new() });
        let text = signed_text("lending", &approval.spec).expect("a text");
        let signature = key().sign(SIGNATURE_NAMESPACE, HashAlg::Sha512, &text).expect("a signature");
        let ssh = signature.to_pem(LineEnding::LF).expect("PEM");
        approval.spec.signature = Some(Signature { signed_at: Time(at(SIGNED)), ssh });
        approval
    }

    #[test]
    fn approve_without_a_signature_does_not_count() {
        for approver in [Some("mallory"), None] {
            let unproven =
                proven(unsigned("Approve", approver, SIGNED), &roles(), now()).expect_err("unproven");
            let who = approver.unwrap_or("a person");
            assert!(unproven.why.contains(&format!("does not prove that {who} decided")), "{unproven:?}");
            assert!(unproven.next[1].contains("--ssh-key KEY"), "{unproven:?}");
        }
    }

    #[test]
    fn signed_approve_counts_from_the_time_of_its_signature_and_not_of_the_file() {
        for recorded in ["2020-01-01T00:00:00Z", "2026-11-23T00:00:00Z"] {
            let approval = proven(signed("Approve", recorded), &roles(), now()).expect("proven");
            let (roles, signed_at) = (roles(), at(SIGNED));
            assert_eq!(RecordedDecision::of(&approval, &roles).map(|decision| decision.at), Some(signed_at));
        }
    }

    #[test]
    fn edited_signed_approve_says_why_it_does_not_count() {
        let mut edited = signed("Approve", SIGNED);
        edited.spec.model_version = "v2".to_owned();
        let unproven = proven(edited, &roles(), now()).expect_err("unproven");
        assert!(unproven.why.contains("the signature of alice is for other content"), "{unproven:?}");
        let unproven = proven(signed("Approve", SIGNED), &ApproverRoles::new(), now()).expect_err("unproven");
        assert!(unproven.why.contains("there is no ApproverRole risk"), "{unproven:?}");
    }

    #[test]
    fn rejection_or_revocation_counts_unsigned_and_never_before_its_signature() {
        for decision in ["Reject", "Revoke"] {
            for approval in [unsigned(decision, Some("bob"), SIGNED), unsigned(decision, None, SIGNED)] {
                let approval = proven(approval, &roles(), now()).expect("counts");
                assert!(RecordedDecision::of(&approval, &roles()).is_some(), "{decision}");
            }
            let moved = proven(signed(decision, "2020-01-01T00:00:00Z"), &roles(), now()).expect("counts");
            assert_eq!(RecordedDecision::of(&moved, &roles()).map(|decision| decision.at), Some(at(SIGNED)));
            let mut edited = signed(decision, SIGNED);
            edited.spec.role = "nobody".to_owned();
            let edited = proven(edited, &ApproverRoles::new(), now()).expect("counts");
            assert!(RecordedDecision::of(&edited, &roles()).is_some(), "{decision}");
        }
    }
}
