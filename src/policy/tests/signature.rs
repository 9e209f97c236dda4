//! Attacks on signed decisions: the use of a signature for another decision, and a second use of a signature.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use ssh_key::{HashAlg, LineEnding, PrivateKey};

use super::generate::second;
use crate::{
    api::{
        Approval, ApprovalSpec, ApprovalStatus, Approver, ApproverKey, ApproverRole, ApproverRoleSpec,
        AttestedAssessment, Decision, Digest, RecordReference, ReviewOutcome, Signature,
    },
    policy::{
        ApproverRoles, Content, NotSigned, SIGNATURE_NAMESPACE, approver_of, attester_of, signed_text,
        statements,
    },
};

pub(super) fn key() -> PrivateKey {
    PrivateKey::from_openssh(include_str!("alice.key")).expect("a key")
}

pub(super) fn roles(change: impl FnOnce(&mut ApproverKey)) -> ApproverRoles {
    let approver = Approver { user: "alice".to_owned(), ..Approver::default() };
    let public_key = key().public_key().to_openssh().expect("a public key");
    let mut listed = ApproverKey { approver, public_key, ..ApproverKey::default() };
    change(&mut listed);
    let spec = ApproverRoleSpec { keys: vec![listed], ..ApproverRoleSpec::default() };
    ApproverRoles::from([("risk".to_owned(), Arc::new(ApproverRole::new("risk", spec)))])
}

/// A decision in the namespace `lending`, signed for `namespace` at the second `signed`, and created at the second
/// `recorded`.
fn signed_for(namespace: &str, decision: Decision, name: &str, signed: i64, recorded: i64) -> Approval {
    let assessment = AttestedAssessment { name: "fairness".into(), digest: Digest::from_sha256([7; 32]) };
    let record = RecordReference { name: "drift".into(), digest: Digest::from_sha256([8; 32]) };
    let mut spec = ApprovalSpec {
        system: "triage".to_owned(),
        model_version: "v1".to_owned(),
        subject_digest: Digest::from_sha256([1; 32]),
        decision,
        role: "risk".to_owned(),
        assessments: [assessment].into_iter().filter(|_| decision == Decision::Attest).collect(),
        incident: Some(record.clone()).filter(|_| decision == Decision::Resume),
        override_: Some(record).filter(|_| matches!(decision, Decision::Override | Decision::Review)),
        outcome: Some(ReviewOutcome::Justified).filter(|_| decision == Decision::Review),
        reason: Some("tested".to_owned()),
        not_after: Some(Time(second(90))),
        approver: None,
        signature: Some(Signature { signed_at: Time(second(signed)), ssh: String::new() }),
    };
    let text = signed_text(namespace, &spec).expect("a text");
    let signature = key().sign(SIGNATURE_NAMESPACE, HashAlg::Sha512, &text).expect("a signature");
    let ssh = signature.to_pem(LineEnding::LF).expect("PEM");
    spec.signature = Some(Signature { signed_at: Time(second(signed)), ssh });
    let mut approval = Approval::new(name, spec);
    approval.metadata.namespace = Some("lending".to_owned());
    approval.metadata.creation_timestamp = Some(Time(second(recorded)));
    approval
}

fn signed(decision: Decision, name: &str, signed: i64, recorded: i64) -> Approval {
    signed_for("lending", decision, name, signed, recorded)
}

#[test]
fn the_key_names_the_approver_and_the_signature_the_time() {
    let (approval, roles) = (signed(Decision::Approve, "a", 3, 7), roles(|_| {}));
    assert_eq!(approver_of(&approval, &roles).map(|approver| approver.user.clone()), Ok("alice".to_owned()));
    assert_eq!(statements([&approval], &roles)[0].at, second(3));
}

#[test]
fn an_approval_dated_after_its_creation_does_not_count() {
    let roles = roles(|_| {});
    let early = signed(Decision::Approve, "a", 9, 7);
    let (signed_at, at) = (second(9), second(7));
    let ahead = NotSigned::DatedAhead { user: "alice".to_owned(), signed_at, at };
    assert_eq!(approver_of(&early, &roles).map(drop), Err(ahead));
    assert!(statements([&early], &roles).is_empty());
    for decision in [Decision::Resume, Decision::Override, Decision::Review] {
        let early = signed(decision, "a", 9, 7);
        assert!(approver_of(&early, &roles).is_err(), "{decision:?} would lift what comes later");
    }
    for decision in [Decision::Reject, Decision::Revoke] {
        let early = signed(decision, "a", 9, 7);
        assert_eq!(
            statements([&early], &roles)[0].at,
            second(7),
            "{decision:?} withholds from its creation time"
        );
    }
}

#[test]
fn a_verified_objection_stays_when_its_key_leaves_the_role() {
    for decision in [Decision::Approve, Decision::Reject, Decision::Revoke] {
        let mut approval = signed(decision, "a", 3, 7);
        let no_key = roles(|key| key.public_key.clear());
        for roles in [&no_key, &ApproverRoles::new()] {
            assert!(statements([&approval], roles).is_empty(), "{decision:?} that was never verified");
        }
        let signed_by = Some("alice".to_owned());
        approval.status = Some(ApprovalStatus { signed_by, ..ApprovalStatus::default() });
        for roles in [&no_key, &ApproverRoles::new()] {
            let stays = statements([&approval], roles).len() == 1;
            assert_eq!(stays, decision != Decision::Approve, "{decision:?}");
        }
    }
}

#[test]
fn a_signature_of_assessments_covers_their_names_and_digests() {
    let (approval, roles) = (signed(Decision::Attest, "a", 3, 7), roles(|_| {}));
    let attester =
        |approval: &Approval| attester_of(approval, &roles).map(|(who, valid)| (who.user.clone(), valid));
    assert_eq!(attester(&approval), Some(("alice".to_owned(), true)));
    let changes: [fn(&mut ApprovalSpec); 4] = [
        |spec| spec.assessments[0].name = "robustness".into(),
        |spec| spec.assessments[0].digest = Digest::from_sha256([8; 32]),
        |spec| spec.assessments.push(spec.assessments[0].clone()),
        |spec| spec.assessments.clear(),
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let mut forged = approval.clone();
        change(&mut forged.spec);
        assert_eq!(attester(&forged), None, "change {n}");
    }
    // A signature of assessments is no decision about the version.
    assert!(statements([&approval], &roles).is_empty());
}

#[test]
fn a_signature_to_resume_covers_the_incident_and_needs_a_listed_key() {
    let (mut approval, roles) = (signed(Decision::Resume, "a", 3, 7), roles(|_| {}));
    assert!(approver_of(&approval, &roles).is_ok());
    assert!(statements([&approval], &roles).is_empty(), "it is no decision about the version");
    let changes: [fn(&mut ApprovalSpec); 3] = [
        |spec| spec.incident.as_mut().expect("an incident").name = "other".into(),
        |spec| spec.incident.as_mut().expect("an incident").digest = Digest::from_sha256([9; 32]),
        |spec| spec.incident = None,
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let mut forged = approval.clone();
        change(&mut forged.spec);
        assert!(approver_of(&forged, &roles).is_err(), "change {n}");
    }
    // Unlike a rejection, a decision to resume no longer counts after the role no longer lists the key.
    approval.status =
        Some(ApprovalStatus { signed_by: Some("alice".to_owned()), ..ApprovalStatus::default() });
    assert!(approver_of(&approval, &ApproverRoles::new()).is_err());
}

#[test]
fn a_verified_signature_of_assessments_is_known_but_not_valid_when_its_key_leaves_the_role() {
    let mut approval = signed(Decision::Attest, "a", 3, 7);
    let no_key = roles(|key| key.public_key.clear());
    assert!(attester_of(&approval, &no_key).is_none(), "it was never verified");
    approval.status =
        Some(ApprovalStatus { signed_by: Some("alice".to_owned()), ..ApprovalStatus::default() });
    let attester = attester_of(&approval, &no_key).map(|(who, valid)| (who.user.clone(), valid));
    assert_eq!(attester, Some(("alice".to_owned(), false)));
}

#[test]
fn an_objection_with_an_unreadable_time_still_withholds() {
    let digest = Digest::from_sha256([1; 32]);
    let read = |decision: &str| -> Approval {
        let spec = serde_json::json!({ "system": "triage", "modelVersion": "v1", "subjectDigest": digest,
            "decision": decision, "role": "risk", "notAfter": "2030-01-01T00:00:00.123456789123Z",
            "approver": { "user": "alice" } });
        let metadata = serde_json::json!({ "name": "a", "creationTimestamp": "2026-01-01T00:00:00Z" });
        serde_json::from_value(serde_json::json!({
            "apiVersion": "assent.dev/v1alpha1", "kind": "Approval", "metadata": metadata, "spec": spec }))
        .expect("an Approval")
    };
    let roles = ApproverRoles::new();
    for decision in ["Reject", "Revoke"] {
        assert_eq!(statements([&read(decision)], &roles).len(), 1, "{decision}");
    }
    let approval = read("Approve");
    let end = statements([&approval], &roles)[0].not_after;
    assert!(end < Some(second(0)), "an approval with an unreadable end must have ended: {end:?}");
}

#[test]
fn a_signature_is_valid_for_its_own_decision_only() {
    type Change = fn(&mut Approval);
    let changes: [(&str, Change); 10] = [
        ("namespace", |a| a.metadata.namespace = Some("other".to_owned())),
        ("system", |a| a.spec.system = "other".to_owned()),
        ("version", |a| a.spec.model_version = "v2".to_owned()),
        ("digest", |a| a.spec.subject_digest = Digest::from_sha256([2; 32])),
        ("decision", |a| a.spec.decision = Decision::Revoke),
        ("reason", |a| a.spec.reason = None),
        ("later end", |a| a.spec.not_after = Some(Time(second(99)))),
        ("no end", |a| a.spec.not_after = None),
        ("later signature", |a| {
            a.spec.signature.as_mut().expect("signed").signed_at = Time(second(8));
        }),
        ("another use of the key", |a| {
            let text = signed_text("lending", &a.spec).expect("a text");
            let signature = key().sign("git", HashAlg::Sha512, &text).expect("a signature");
            a.spec.signature.as_mut().expect("signed").ssh = signature.to_pem(LineEnding::LF).expect("PEM");
        }),
    ];
    let roles = roles(|_| {});
    for (what, change) in changes {
        let mut approval = signed(Decision::Approve, "a", 3, 7);
        change(&mut approval);
        let not_signed = approver_of(&approval, &roles).map(drop);
        assert_eq!(
            not_signed,
            Err(NotSigned::OfAnother { user: "alice".to_owned(), content: Content::Decision }),
            "{what}"
        );
        assert!(statements([&approval], &roles).is_empty(), "{what}");
    }
    let mut other_role = signed(Decision::Approve, "a", 3, 7);
    other_role.spec.role = "ethics".to_owned();
    assert_eq!(
        approver_of(&other_role, &roles).map(drop),
        Err(NotSigned::RoleNotFound { role: "ethics".to_owned() })
    );
}

#[test]
fn a_key_counts_while_the_role_lists_it() {
    let approval = signed(Decision::Approve, "a", 3, 7);
    let by = |change: fn(&mut ApproverKey)| approver_of(&approval, &roles(change)).map(drop);
    assert_eq!(by(|key| key.not_after = Some(Time(second(8)))), Ok(()));
    let invalid = NotSigned::KeyNotValid {
        user: "alice".to_owned(),
        role: "risk".to_owned(),
        at: second(7),
        content: Content::Decision,
    };
    assert!(invalid.to_string().ends_with(", when this decision was recorded"), "{invalid}");
    // The key must be valid when the API server creates the Approval. The date in the signature does not count, because
    // a thief of an old key can state any date.
    assert_eq!(by(|key| key.not_after = Some(Time(second(7)))), Err(invalid.clone()));
    assert_eq!(by(|key| key.not_before = Some(Time(second(8)))), Err(invalid));
    let not_listed = Err(NotSigned::KeyNotListed { role: "risk".to_owned() });
    assert_eq!(by(|key| key.public_key.clear()), not_listed);
    let another = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHLIiDnINiLH+cc9CYm2eHFIeLdsgjwgdPaUmkrtGDWi";
    let listed = roles(|key| another.clone_into(&mut key.public_key));
    assert_eq!(approver_of(&approval, &listed).map(drop), not_listed);
}

#[test]
fn a_decision_that_is_applied_again_keeps_its_time() {
    let roles = roles(|_| {});
    let at = |approvals: &[Approval]| -> Vec<_> {
        statements(approvals, &roles).into_iter().map(|statement| statement.at).collect()
    };
    let again = [signed(Decision::Approve, "a", 3, 7), signed(Decision::Approve, "b", 3, 50)];
    assert_eq!(at(&again), [second(3), second(3)]);
    // A revocation that is applied again counts from the creation time of the first `Approval` with this revocation.
    let again = [signed(Decision::Revoke, "a", 3, 7), signed(Decision::Revoke, "b", 3, 50)];
    assert_eq!(at(&again), [second(7), second(7)]);
}

#[test]
fn an_unreadable_or_missing_signature_is_reported() {
    let mut approval = signed(Decision::Approve, "a", 3, 7);
    approval.spec.signature.as_mut().expect("signed").ssh = "-----BEGIN SSH SIGNATURE-----\n".to_owned();
    let why = approver_of(&approval, &roles(|_| {})).expect_err("no signature");
    assert!(matches!(why, NotSigned::Unreadable { .. }), "{why}");
    approval.spec.signature = None;
    assert_eq!(approver_of(&approval, &roles(|_| {})).map(drop), Err(NotSigned::Unsigned));
}
