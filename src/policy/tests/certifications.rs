//! Attacks on signed certifications: the use of a signature for another certification, role or provider, and the use of
//! a key that is not valid.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use ssh_key::{HashAlg, LineEnding};

use super::{
    cases::cleared,
    generate::{Case, second},
    signature::{key, roles},
};
use crate::{
    api::{ApproverKey, Certification, CertificationSignature, Digest, Provider},
    policy::{
        ApproverRoles, Content, NotSigned, Reason, SIGNATURE_NAMESPACE, SignedCertifications, Verdict,
        certification_text, certifier, judge,
    },
};

const NAME: &str = "ISO/IEC 42001";

/// A certification of the provider `Acme` that ends at the second `end`, with a signature in the role `risk`.
fn signed(end: i64) -> Certification {
    let signature = |ssh| CertificationSignature { role: "risk".to_owned(), signed_at: Time(second(1)), ssh };
    let mut certification = Certification {
        name: NAME.to_owned(),
        not_after: Some(Time(second(end))),
        uri: Some("https://docs.example/iso.pdf".to_owned()),
        digest: Some(Digest::from_sha256([1; 32])),
        signature: Some(signature(String::new())),
    };
    let text = certification_text("Acme", &certification).expect("a text");
    let made = key().sign(SIGNATURE_NAMESPACE, HashAlg::Sha512, &text).expect("a signature");
    certification.signature = Some(signature(made.to_pem(LineEnding::LF).expect("PEM")));
    certification
}

fn case(role: Option<&str>, holder: &str, certifications: Vec<Certification>) -> Case {
    let provider = Provider { name: holder.to_owned(), certifications };
    cleared()
        .at_level(|level| {
            level.certifications = vec![NAME.to_owned()];
            level.certification_role = role.map(str::to_owned);
        })
        .of_system(|system| system.provider = Some(provider))
}

/// The verdict at the second 2, and the time at which the verdict changes.
fn judged(case: &Case, roles: &ApproverRoles) -> (Verdict, Option<Timestamp>) {
    let mut facts = case.facts();
    let system = facts.system.expect("a system");
    facts.certified = SignedCertifications::of(system, facts.level, roles);
    let judgement = judge(&facts, second(2));
    (judgement.verdict, judgement.not_after)
}

fn listed() -> ApproverRoles {
    roles(|_| {})
}

fn missing() -> Verdict {
    Verdict::Withheld(vec![Reason::CertificationMissing {
        certification: NAME.to_owned(),
        supplier: None,
        role: Some("risk".to_owned()),
    }])
}

#[test]
fn a_level_with_a_role_accepts_only_signed_certifications() {
    let self_asserted = Certification { signature: None, ..signed(9) };
    let without_role = case(None, "Acme", vec![self_asserted.clone()]);
    assert_eq!(judged(&without_role, &ApproverRoles::new()), (Verdict::Cleared, Some(second(9))));
    assert_eq!(judged(&case(Some("risk"), "Acme", vec![self_asserted]), &listed()).0, missing());
    let with_signature = case(Some("risk"), "Acme", vec![signed(9)]);
    assert_eq!(judged(&with_signature, &listed()), (Verdict::Cleared, Some(second(9))));
}

#[test]
fn a_signature_counts_only_for_its_provider_and_its_certification() {
    let of_another = Err(NotSigned::OfAnother { user: "alice".to_owned(), content: Content::Certification });
    assert_eq!(certifier("Other", &signed(9), &listed()), of_another);
    assert_eq!(judged(&case(Some("risk"), "Other", vec![signed(9)]), &listed()).0, missing());
    let changes: [fn(&mut Certification); 5] = [
        |c| c.not_after = Some(Time(second(90))),
        |c| c.not_after = None,
        |c| c.uri = None,
        |c| c.digest = Some(Digest::from_sha256([2; 32])),
        |c| c.signature.as_mut().expect("a signature").signed_at = Time(second(2)),
    ];
    for change in changes {
        let mut other = signed(9);
        change(&mut other);
        assert_eq!(certifier("Acme", &other, &listed()), of_another);
        assert_eq!(judged(&case(Some("risk"), "Acme", vec![other]), &listed()).0, missing());
    }
}

#[test]
fn an_unsigned_certification_does_not_extend_a_signed_one() {
    let longer = Certification { signature: None, not_after: Some(Time(second(90))), ..signed(9) };
    let both = case(Some("risk"), "Acme", vec![longer, signed(9)]);
    assert_eq!(judged(&both, &listed()), (Verdict::Cleared, Some(second(9))));
}

#[test]
fn only_a_signature_in_the_role_of_the_level_counts() {
    let other = case(Some("ethics"), "Acme", vec![signed(9)]);
    assert!(matches!(judged(&other, &listed()).0, Verdict::Withheld(_)));
    assert_eq!(judged(&case(Some("risk"), "Acme", vec![signed(9)]), &ApproverRoles::new()).0, missing());
}

#[test]
fn a_certification_ends_with_the_key_of_its_signature() {
    let ends = |end: i64| move |key: &mut ApproverKey| key.not_after = Some(Time(second(end)));
    let case = case(Some("risk"), "Acme", vec![signed(9)]);
    assert_eq!(judged(&case, &roles(ends(5))), (Verdict::Cleared, Some(second(5))));
    assert_eq!(judged(&case, &roles(ends(2))).0, missing());
    // The key was not valid at the time of the signature.
    assert_eq!(judged(&case, &roles(ends(1))).0, missing());
    assert_eq!(judged(&case, &roles(|key| key.not_before = Some(Time(second(2))))).0, missing());
}

#[test]
fn message_about_a_key_of_a_certification_names_the_time_of_the_signature() {
    let keys = roles(|key| key.not_before = Some(Time(second(2))));
    let why = certifier("Acme", &signed(9), &keys).expect_err("the key is not valid");
    let wanted = format!(
        "the key of alice in ApproverRole risk was not valid at {}, when this certification was signed",
        second(1)
    );
    assert_eq!(why.to_string(), wanted);
}
