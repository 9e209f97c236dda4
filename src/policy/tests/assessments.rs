//! Tests required assessments with attacks. Each test checks that the verdict is still right.
//!
//! All cases use one requirement: the metric `gap` is at most 0.05, with at least 100 samples, no sample without a
//! score, and an age of at most ten seconds. An independent person in the role `validator` must sign the result.

use k8s_openapi::jiff::Timestamp;

use super::generate::{Assessed, Case, Signed, second};
use crate::{
    api::{
        AISystemSpec, Approver, AssessmentKind, AssessmentResult, Comparator, Direction, ModelVersionSpec,
        Owner, OwnerKind, RequiredAssessment, RiskLevelSpec,
    },
    policy::{Reason, Verdict, assessment_effects, assessments::AssessmentEffect},
};

fn bar() -> RequiredAssessment {
    RequiredAssessment {
        name: "fairness".to_owned(),
        kind: AssessmentKind::Fairness,
        metric: "gap".to_owned(),
        slice: String::new(),
        comparator: Comparator::AtMost,
        threshold: "0.05".parse().expect("a decimal"),
        confidence_level: None,
        min_samples: 100,
        max_error_rate: "0".parse().expect("a decimal"),
        max_age: std::time::Duration::from_secs(10).into(),
        role: "validator".to_owned(),
        independent: true,
        third_party: false,
    }
}

fn case(assessed: Vec<Assessed>) -> Case {
    Case {
        version: ModelVersionSpec { system: "triage".to_owned(), ..ModelVersionSpec::default() },
        system: Some(AISystemSpec {
            owners: vec![Owner { kind: OwnerKind::User, name: "olga".to_owned() }],
            risk_level: "high".to_owned(),
            ..AISystemSpec::default()
        }),
        level: Some(RiskLevelSpec { assessments: vec![bar()], ..RiskLevelSpec::default() }),
        authors: [Some("vera".to_owned()), Some("sam".to_owned())],
        said: Vec::new(),
        assessed,
        unmet: Vec::new(),
        overrides: crate::policy::OverrideFacts::default(),
        unmonitored: Vec::new(),
    }
}

/// The assessment `name` with one result, whose value is `value`. The assessment was performed at the second `at` and
/// signed by the user `by`. If `by` is empty, nobody signed it.
fn assessed(name: &str, at: i64, value: &str, by: &str) -> Assessed {
    let signed = |user: &str| Signed {
        approver: Approver { user: user.to_owned(), ..Approver::default() },
        role: "validator".to_owned(),
        is_valid: true,
    };
    Assessed {
        name: name.to_owned(),
        kind: AssessmentKind::Fairness,
        results: vec![AssessmentResult {
            metric: "gap".into(),
            value: value.parse().expect("a decimal"),
            direction: Direction::LowerIsBetter,
            slice: "".into(),
            samples: 100,
            errors: 0,
            interval: None,
        }],
        relationship: None,
        performed_at: second(at),
        signatures: [by].into_iter().filter(|user| !user.is_empty()).map(signed).collect(),
    }
}

/// The codes of the reasons at the second `now`. Empty if the version is cleared.
fn reasons(case: &Case, now: i64) -> Vec<&'static str> {
    case.judge(second(now)).verdict.reasons().iter().map(Reason::code).collect()
}

#[test]
fn a_signed_good_result_clears_until_its_maximum_age() {
    let case = case(vec![assessed("good", 1, "0.05", "alice")]);
    assert_eq!(reasons(&case, 2), [""; 0]);
    assert_eq!(case.judge(second(2)).not_after, Some(second(11)));
    assert_eq!(reasons(&case, 11), ["AssessmentExpired"]);
}

#[test]
fn a_good_result_without_a_signature_does_not_clear() {
    let case = case(vec![assessed("good", 1, "0.01", "")]);
    let Verdict::Withheld(reasons) = case.judge(second(2)).verdict else { panic!("cleared") };
    let [Reason::AssessmentMissing { unsigned, role, .. }] = &reasons[..] else { panic!("{reasons:?}") };
    assert_eq!((unsigned.as_deref(), role.as_str()), (Some("good"), "validator"));
}

#[test]
fn an_older_good_result_does_not_cover_a_bad_one() {
    let case = case(vec![assessed("bad", 3, "0.06", "alice"), assessed("good", 2, "0.01", "bob")]);
    assert_eq!(reasons(&case, 4), ["AssessmentFailed"]);
}

#[test]
fn a_bad_result_from_the_same_second_decides() {
    let case = case(vec![assessed("bad", 3, "0.06", "alice"), assessed("good", 3, "0.01", "bob")]);
    assert_eq!(reasons(&case, 4), ["AssessmentFailed"]);
}

#[test]
fn the_first_of_equally_inconclusive_results_from_the_same_second_decides() {
    // Both results are inconclusive: `a` has too few samples, and an owner signed `b`.
    let mut few = assessed("a", 3, "0.01", "alice");
    few.results[0].samples = 1;
    let Verdict::Withheld(reasons) =
        case(vec![few, assessed("b", 3, "0.01", "olga")]).judge(second(4)).verdict
    else {
        panic!("cleared")
    };
    let [Reason::AssessmentInconclusive { result, .. }] = &reasons[..] else { panic!("{reasons:?}") };
    assert_eq!(result.assessment, "a");
}

#[test]
fn a_newer_good_result_replaces_a_bad_one() {
    let case = case(vec![assessed("bad", 3, "0.06", "alice"), assessed("good", 4, "0.01", "bob")]);
    assert_eq!(reasons(&case, 5), [""; 0]);
}

#[test]
fn a_bad_result_does_not_expire() {
    let case = case(vec![assessed("bad", 3, "0.06", "alice")]);
    assert_eq!(reasons(&case, 1_000_000), ["AssessmentFailed"]);
}

#[test]
fn a_bad_result_stays_when_its_signer_becomes_an_owner() {
    let mut case = case(vec![assessed("good", 1, "0.01", "bob"), assessed("bad", 2, "0.9", "alice")]);
    let alice = Owner { kind: OwnerKind::User, name: "alice".to_owned() };
    case.system.iter_mut().for_each(|system| system.owners.push(alice.clone()));
    assert_eq!(reasons(&case, 3), ["AssessmentFailed"]);
    // Alice is now an owner. Her newer good result does not meet the requirement, but it replaces the older results. So
    // no older good result decides.
    case.assessed[1] = assessed("newer", 2, "0.01", "alice");
    assert_eq!(reasons(&case, 3), ["AssessmentInconclusive"]);
}

#[test]
fn a_newer_unsigned_good_result_does_not_hide_an_unsigned_bad_one() {
    let case = case(vec![assessed("bad", 2, "0.9", ""), assessed("good", 3, "0.01", "")]);
    let facts = case.facts();
    let findings = facts.findings(second(4));
    assert_eq!(findings[0].unsigned.as_ref().map(|measured| measured.assessment), Some("bad"));
    let effects = assessment_effects(&facts.assessments, &findings, second(4));
    let AssessmentEffect::Unsigned { failing, .. } = &effects["bad"] else { panic!("{effects:?}") };
    assert!(failing.contains("fairness"));
}

#[test]
fn owners_and_authors_do_not_sign_for_an_independent_requirement() {
    for user in ["olga", "vera", "sam"] {
        let mut case = case(vec![assessed("good", 1, "0.01", user)]);
        assert_eq!(reasons(&case, 2), ["AssessmentInconclusive"], "{user}");
        case.level.iter_mut().for_each(|level| level.assessments[0].independent = false);
        assert_eq!(reasons(&case, 2), [""; 0], "{user}");
    }
}

#[test]
fn a_signature_in_another_role_does_not_count() {
    let mut good = assessed("good", 1, "0.01", "alice");
    good.signatures[0].role = "risk-officer".to_owned();
    assert_eq!(reasons(&case(vec![good]), 2), ["AssessmentMissing"]);
}

#[test]
fn a_removed_key_ends_a_good_result_and_keeps_a_bad_one() {
    let without_key = |mut assessed: Assessed| {
        assessed.signatures[0].is_valid = false;
        assessed
    };
    let good = without_key(assessed("good", 3, "0.01", "alice"));
    assert_eq!(reasons(&case(vec![good.clone()]), 4), ["AssessmentInconclusive"]);
    // The older good result does not decide instead of the newer result.
    assert_eq!(
        reasons(&case(vec![good, assessed("older", 2, "0.01", "bob")]), 4),
        ["AssessmentInconclusive"]
    );
    let bad = without_key(assessed("bad", 3, "0.06", "alice"));
    assert_eq!(reasons(&case(vec![bad, assessed("older", 2, "0.01", "bob")]), 4), ["AssessmentFailed"]);
}

#[test]
fn too_few_samples_errors_and_the_other_direction_are_inconclusive() {
    let with = |change: fn(&mut AssessmentResult)| {
        let mut good = assessed("good", 1, "0.01", "alice");
        change(&mut good.results[0]);
        reasons(&case(vec![good]), 2)
    };
    assert_eq!(with(|r| r.samples = 99), ["AssessmentInconclusive"]);
    assert_eq!(with(|r| (r.samples, r.errors) = (1000, 1)), ["AssessmentInconclusive"]);
    assert_eq!(with(|r| r.direction = Direction::HigherIsBetter), ["AssessmentInconclusive"]);
    // Samples without a score do not count towards the required number of samples.
    assert_eq!(with(|r| (r.samples, r.errors) = (0, u64::MAX)), ["AssessmentInconclusive"]);
    assert_eq!(with(|r| (r.samples, r.errors) = (u64::MAX, u64::MAX)), ["AssessmentInconclusive"]);
    assert_eq!(with(|r| r.samples = 0), ["AssessmentInconclusive"]);
}

#[test]
fn a_result_of_another_kind_metric_or_slice_does_not_count() {
    let with = |change: fn(&mut Assessed)| {
        let mut good = assessed("good", 1, "0.01", "alice");
        change(&mut good);
        reasons(&case(vec![good]), 2)
    };
    assert_eq!(with(|a| a.kind = AssessmentKind::Other), ["AssessmentMissing"]);
    assert_eq!(with(|a| a.results[0].metric = "Gap".into()), ["AssessmentMissing"]);
    assert_eq!(with(|a| a.results[0].slice = "sex".into()), ["AssessmentMissing"]);
}

#[test]
fn a_required_third_party_result_must_claim_a_third_party() {
    let mut case = case(vec![assessed("good", 1, "0.01", "alice")]);
    case.level.iter_mut().for_each(|level| level.assessments[0].third_party = true);
    assert_eq!(reasons(&case, 2), ["AssessmentMissing"]);
    case.assessed[0].relationship = Some(crate::api::Relationship::ThirdParty);
    assert_eq!(reasons(&case, 2), [""; 0]);
}

#[test]
fn an_unsigned_bad_result_asks_for_a_person_and_changes_nothing() {
    let case = case(vec![assessed("good", 1, "0.01", "alice"), assessed("bad", 2, "0.9", "")]);
    assert_eq!(reasons(&case, 3), [""; 0]);
    let facts = case.facts();
    let findings = facts.findings(second(3));
    assert_eq!(findings[0].unsigned.as_ref().map(|measured| measured.assessment), Some("bad"));
    let effects = assessment_effects(&facts.assessments, &findings, second(3));
    let AssessmentEffect::Unsigned { roles, failing } = &effects["bad"] else { panic!("{effects:?}") };
    assert!(roles.contains("validator") && failing.contains("fairness"));
    assert!(matches!(effects["good"], AssessmentEffect::Counted(_)));
}

#[test]
fn extreme_times_do_not_panic() {
    for at in [Timestamp::MIN, Timestamp::MAX] {
        let mut good = assessed("good", 1, "0.01", "alice");
        good.performed_at = at;
        let case = case(vec![good]);
        for now in [Timestamp::MIN, second(1), Timestamp::MAX] {
            case.judge(now);
        }
    }
}
