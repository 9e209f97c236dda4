//! Tests of `applies_to`: an approval applies by name and content. A rejection or revocation applies by name or
//! content.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::generate::second;
use crate::{
    api::{Approval, ApprovalSpec, Approver, Decision, Digest},
    policy::{ApproverRoles, RecordedDecision, SubjectDigests, applies_to},
};

fn approval(decision: Decision, system: &str, version: &str, read: u8) -> Approval {
    let spec = ApprovalSpec {
        system: system.to_owned(),
        model_version: version.to_owned(),
        subject_digest: Digest::from_sha256([read; 32]),
        decision,
        role: "risk".to_owned(),
        assessments: Vec::new(),
        incident: None,
        override_: None,
        outcome: None,
        reason: None,
        not_after: Some(Time(second(9))),
        approver: Some(Approver { user: "alice".to_owned(), ..Approver::default() }),
        signature: None,
    };
    let mut approval = Approval::new("approval-00", spec);
    approval.metadata.creation_timestamp = Some(Time(second(1)));
    approval
}

#[test]
fn an_approval_applies_to_name_and_content_and_an_objection_to_either() {
    for decision in [Decision::Approve, Decision::Reject, Decision::Revoke] {
        let objects = decision != Decision::Approve;
        let cases = [
            ("the signed subject", approval(decision, "triage", "v1", 1), true),
            ("the same version of another subject", approval(decision, "triage", "v1", 2), objects),
            ("the same content under another name", approval(decision, "triage", "v2", 1), objects),
            ("other content under another name", approval(decision, "triage", "v2", 2), false),
            ("the same without its documents", approval(decision, "triage", "v2", 3), objects),
            ("the version of another system", approval(decision, "other", "v1", 1), false),
        ];
        for (what, approval, applies) in cases {
            let digests = SubjectDigests {
                signed: Digest::from_sha256([1; 32]),
                without_documents: Some(Digest::from_sha256([3; 32])),
            };
            assert_eq!(applies_to(&approval, "triage", "v1", &digests), applies, "{decision:?} of {what}");
        }
    }
}

#[test]
fn an_approval_without_a_stamp_is_no_decision() {
    let (stamped, roles) = (approval(Decision::Approve, "triage", "v1", 1), ApproverRoles::new());
    let statement = RecordedDecision::of(&stamped, &roles).expect("who and when are known");
    assert_eq!((statement.name, statement.approver.user.as_str()), ("approval-00", "alice"));
    assert_eq!((statement.role, statement.decision), ("risk", Decision::Approve));
    assert_eq!((statement.at, statement.not_after), (second(1), Some(second(9))));

    let (mut nameless, mut timeless) = (stamped.clone(), stamped);
    nameless.spec.approver = None;
    timeless.metadata.creation_timestamp = None;
    assert!(RecordedDecision::of(&nameless, &roles).is_none());
    assert!(RecordedDecision::of(&timeless, &roles).is_none());
}
