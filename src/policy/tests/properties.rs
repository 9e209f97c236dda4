//! Property tests of the policy. Each property must hold for all generated facts, at every time.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use proptest::{
    prelude::*,
    sample::{Index, select},
    strategy::ValueTree,
    test_runner::TestRunner,
};

use super::{
    generate::{
        Assessed, Case, HORIZON, Judged, PEOPLE, ROLES, Said, any_assessment, any_case, any_now,
        any_required, any_statement, clearable_case, half, just_before,
    },
    oracle,
};
use crate::{
    api::{Comparator, Decision, OwnerKind},
    policy::{ApprovalEffect, Reason, Verdict, roles::assign_roles},
};

fn cases() -> impl Strategy<Value = Case> {
    prop_oneof![2 => clearable_case(), 1 => any_case()]
}

/// Whether `a` is not after `b`. `None` means never, which is after every instant.
fn is_no_later(a: Option<Timestamp>, b: Option<Timestamp>) -> bool {
    b.is_none_or(|b| a.is_some_and(|a| a <= b))
}

/// Checks that `after` is cleared only if `before` is cleared. Also checks that the clearance of `after` ends no later
/// than the clearance of `before`.
fn assert_not_less_strict(before: &Judged, after: &Judged) -> Result<(), TestCaseError> {
    if after.verdict == Verdict::Cleared {
        prop_assert_eq!(&before.verdict, &Verdict::Cleared);
        prop_assert!(
            is_no_later(after.not_after, before.not_after),
            "{:?} became {:?}",
            before.not_after,
            after.not_after
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn the_judgement_equals_that_of_the_oracle(case in cases(), now in any_now()) {
        let judged = case.judge(now);
        let (verdict, waived) = oracle::with_waived(&case, now);
        prop_assert_eq!((&judged.verdict, &judged.waived), (&verdict, &waived));
        prop_assert_eq!(&judged.effects, &oracle::effects(&case, now));
        prop_assert_eq!(judged.not_after, oracle::not_after(&case, now));
        prop_assert_eq!(judged.revisit, oracle::revisit(&case, now));
    }

    #[test]
    fn an_override_waives_no_objection_hold_or_missed_review(case in cases(), now in any_now()) {
        let never = |reason: &&Reason| {
            matches!(
                reason.code(),
                "SystemNotFound" | "RiskLevelNotFound" | "Prohibited" | "Decommissioned" | "Revoked" | "Rejected"
                    | "Held" | "OverrideNotReviewed" | "ImageNotPinned" | "RequirementInvalid" | "RiskMissing"
            )
        };
        let mut without = case.clone();
        without.overrides.waiving.clear();
        let (with, without) = (case.judge(now).verdict, without.judge(now).verdict);
        let list = |verdict: &Verdict| verdict.reasons().iter().filter(never).cloned().collect::<Vec<_>>();
        prop_assert_eq!(list(&with), list(&without));
    }

    #[test]
    fn removing_an_override_never_clears_and_never_prolongs(case in cases(), now in any_now()) {
        let before = case.judge(now);
        for n in 0..case.overrides.waiving.len() {
            let mut fewer = case.clone();
            fewer.overrides.waiving.remove(n);
            assert_not_less_strict(&before, &fewer.judge(now))?;
        }
    }

    #[test]
    fn an_objection_never_clears_and_never_prolongs(
        case in cases(),
        more in any_statement(),
        revokes in any::<bool>(),
        now in any_now(),
    ) {
        let decision = if revokes { Decision::Revoke } else { Decision::Reject };
        let objected = case.with(Said { decision, ..more });
        assert_not_less_strict(&case.judge(now), &objected.judge(now))?;
    }

    #[test]
    fn removing_an_approval_never_clears_and_never_prolongs(case in cases(), now in any_now()) {
        let before = case.judge(now);
        for (n, said) in case.said.iter().enumerate() {
            if said.decision == Decision::Approve {
                assert_not_less_strict(&before, &case.without(n).judge(now))?;
            }
        }
    }

    #[test]
    fn an_earlier_end_never_clears_and_never_prolongs(
        case in cases(),
        which in any::<Index>(),
        ends in any_now(),
        now in any_now(),
    ) {
        let mut shorter = case.clone();
        if !case.said.is_empty() {
            let said = which.get_mut(&mut shorter.said);
            said.not_after = Some(said.not_after.map_or(ends, |own| own.min(ends)));
        }
        assert_not_less_strict(&case.judge(now), &shorter.judge(now))?;
    }

    #[test]
    fn a_stricter_level_never_clears_and_never_prolongs(
        case in cases(),
        which in any::<Index>(),
        now in any_now(),
    ) {
        let before = case.judge(now);
        let Some(level) = &case.level else { return Ok(()) };
        let mut stricter = vec![level.clone(); 2];
        stricter[0].prohibited = true;
        // A level without required approvals has no count to raise.
        if !level.approvals.is_empty() {
            stricter[1].separation_of_duties = true;
            which.get_mut(&mut stricter[1].approvals).count += 1;
        }
        for level in stricter {
            assert_not_less_strict(&before, &Case { level: Some(level), ..case.clone() }.judge(now))?;
        }
    }

    #[test]
    fn a_result_without_a_signature_never_changes_the_verdict(
        case in cases(),
        more in any_assessment(),
        now in any_now(),
    ) {
        let unsigned = Assessed { signatures: Vec::new(), ..more };
        let with = case.with_assessed([case.assessed.clone(), vec![unsigned]].concat()).judge(now);
        let without = case.judge(now);
        prop_assert_eq!(with.not_after, without.not_after);
        prop_assert_eq!(with.verdict == Verdict::Cleared, without.verdict == Verdict::Cleared);
    }

    #[test]
    fn an_older_result_never_changes_the_verdict(case in cases(), more in any_assessment(), now in any_now()) {
        let older = Assessed { performed_at: half(-2), ..more };
        let Some(Verdict::Withheld(reasons)) = Some(case.judge(now).verdict) else {
            let with = case.with_assessed([case.assessed.clone(), vec![older]].concat());
            let has_bar = case.level.as_ref().is_some_and(|level| !level.assessments.is_empty());
            prop_assert!(!has_bar || with.is_cleared(now));
            return Ok(());
        };
        // If a requirement has no other result, the older result decides about the requirement, and can change the
        // verdict.
        if !reasons.iter().any(|reason| matches!(reason, Reason::AssessmentMissing { .. })) {
            let with = case.with_assessed([case.assessed.clone(), vec![older]].concat());
            prop_assert_eq!(with.judge(now).verdict, Verdict::Withheld(reasons));
        }
    }

    #[test]
    fn a_stricter_bar_never_clears_and_never_prolongs(case in cases(), which in 0..5_usize, now in any_now()) {
        let before = case.judge(now);
        let mut stricter = case.clone();
        for bar in stricter.level.iter_mut().flat_map(|level| &mut level.assessments) {
            match which {
                0 => bar.threshold = if bar.comparator == Comparator::AtMost { "-1" } else { "2" }.parse().expect("a decimal"),
                1 => bar.min_samples += 30,
                2 => bar.max_error_rate = "0".parse().expect("a decimal"),
                3 => bar.max_age = std::time::Duration::from_secs(3).into(),
                _ => bar.confidence_level = Some("0.99".parse().expect("a decimal")),
            }
        }
        assert_not_less_strict(&before, &stricter.judge(now))?;
    }

    #[test]
    fn removing_a_signature_of_the_newest_good_result_never_clears(case in cases(), now in any_now()) {
        let before = case.judge(now);
        for n in 0..case.assessed.len() {
            let mut assessed = case.assessed.clone();
            for signed in &mut assessed[n].signatures {
                signed.is_valid = false;
            }
            assert_not_less_strict(&before, &case.with_assessed(assessed).judge(now))?;
        }
    }

    #[test]
    fn the_order_of_lists_does_not_matter(
        (case, shuffled) in cases().prop_flat_map(|case| (Just(case.clone()), shuffled(case))),
        now in any_now(),
    ) {
        prop_assert_eq!(case.judge(now), shuffled.judge(now));
    }

    #[test]
    fn reasons_are_sorted_and_unique(case in cases(), now in any_now()) {
        if let Verdict::Withheld(reasons) = case.judge(now).verdict {
            prop_assert!(!reasons.is_empty());
            prop_assert!(reasons.is_sorted_by(|a, b| a < b), "{:?}", reasons);
        }
    }

    #[test]
    fn prohibited_undefined_and_decommissioned_systems_never_clear(case in clearable_case(), now in any_now()) {
        let mut prohibited = case.clone();
        prohibited.level.iter_mut().for_each(|level| level.prohibited = true);
        prop_assert!(!prohibited.is_cleared(now));
        for (system, level) in [(&None, &case.level), (&case.system, &None), (&None, &None)] {
            let undefined = Case { system: system.clone(), level: level.clone(), ..case.clone() };
            prop_assert!(!undefined.is_cleared(now));
        }
        if let Some(end) = case.system.as_ref().and_then(|s| s.decommission.as_ref()) {
            let whole = Timestamp::from_second(end.date.0.as_second()).expect("in range");
            prop_assert!(!case.is_cleared(whole));
            prop_assert!(!case.is_cleared(Timestamp::MAX));
        }
    }

    /// No approval by an owner counts, and the verdict is the same without these approvals.
    #[test]
    fn owners_never_count_where_duties_are_separated(case in clearable_case(), now in any_now()) {
        let mut case = case;
        case.level.iter_mut().for_each(|level| level.separation_of_duties = true);
        let owners = case.system.as_ref().map(|s| s.owners.clone()).unwrap_or_default();
        let owns = |said: &Said| owners.iter().any(|owner| match owner.kind {
            OwnerKind::User => said.approver.user == owner.name,
            OwnerKind::Group => said.approver.groups.contains(&owner.name),
        });
        let judged = case.judge(now);
        let counted = |name: &str| judged.effects.iter().any(|(n, s)| n == name && *s == ApprovalEffect::Counted);
        for said in case.said.iter().filter(|said| said.decision == Decision::Approve && owns(said)) {
            prop_assert!(!counted(&said.name));
        }
        // An approval supersedes a rejection by the same person, even if the person is an owner. So the approvals by
        // people who also rejected stay.
        let rejects = |who: &str| case.said.iter().any(|s| s.decision == Decision::Reject && s.approver.user == who);
        let mut independent = case.clone();
        independent.said.retain(|s| s.decision != Decision::Approve || !owns(s) || rejects(&s.approver.user));
        prop_assert_eq!(case.is_cleared(now), independent.is_cleared(now));
    }

    /// A cleared version has the required number of people in each role. With separation of duties, these
    /// people are all different.
    #[test]
    fn a_cleared_version_without_an_override_has_enough_different_approvers(
        case in clearable_case(),
        now in any_now(),
    ) {
        let judged = case.judge(now);
        prop_assume!(judged.waived.is_empty());
        let Some(level) = case.level.as_ref().filter(|_| judged.verdict == Verdict::Cleared) else {
            return Ok(());
        };
        let effects: BTreeMap<_, _> = judged.effects.into_iter().collect();
        let counted = case.said.iter().filter(|s| effects[&s.name] == ApprovalEffect::Counted);
        let who: BTreeSet<_> = counted
            .filter(|s| s.decision == Decision::Approve)
            .map(|s| (s.approver.user.as_str(), s.role.as_str()))
            .collect();
        let approvals: u32 = level.approvals.iter().map(|r| r.count).sum();
        let people: BTreeSet<_> = who.iter().map(|(person, _)| person).collect();
        if level.separation_of_duties {
            prop_assert!(people.len() >= approvals as usize, "{} people for {} required approvals", people.len(), approvals);
        }
        for required in &level.approvals {
            let in_role = who.iter().filter(|(_, role)| *role == required.role).count();
            prop_assert!(in_role >= required.count as usize);
        }
    }

    #[test]
    fn the_assignment_of_roles_equals_that_of_the_oracle(
        required in any_required(),
        who in prop::collection::btree_set((select(&PEOPLE), select(&ROLES)), 0..=10),
        separate in any::<bool>(),
    ) {
        let mut approvers: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (person, role) in &who {
            approvers.entry(role).or_default().insert(person);
        }
        let by_oracle = oracle::assignments(&required, &who, separate);
        let by_oracle: Vec<_> = required.iter().map(|r| by_oracle[r.role.as_str()]).collect();
        prop_assert_eq!(assign_roles(&required, &approvers, separate), by_oracle);
    }
}

// The following properties judge each case at every half second, so they use fewer cases.
proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn the_verdict_holds_until_not_after_and_not_longer(case in cases(), now in any_now()) {
        let judged = case.judge(now);
        let at = |then| case.judge(then).verdict;
        if let Some(end) = judged.not_after {
            prop_assert!(now < end);
            prop_assert_eq!(end.subsec_nanosecond(), 0, "the API server compares whole seconds");
            prop_assert_eq!(&at(just_before(end)), &judged.verdict);
            prop_assert_ne!(&at(end), &judged.verdict);
        } else {
            prop_assert_eq!(&at(Timestamp::MAX), &judged.verdict);
        }
        let holds = |then: &Timestamp| now <= *then && judged.not_after.is_none_or(|end| *then < end);
        for then in (0..=HORIZON).map(half).filter(holds) {
            prop_assert_eq!(&at(then), &judged.verdict, "at {}", then);
            prop_assert_eq!(case.judge(then).not_after, judged.not_after, "at {}", then);
        }
    }

    #[test]
    fn effects_hold_until_revisit_and_not_longer(case in cases(), now in any_now()) {
        let judged = case.judge(now);
        let judge = |then| { let then = case.judge(then); (then.verdict, then.waived, then.effects) };
        let here = (judged.verdict.clone(), judged.waived.clone(), judged.effects.clone());
        prop_assert!(is_no_later(judged.revisit, judged.not_after));
        if let Some(end) = judged.revisit {
            prop_assert!(now < end);
            prop_assert_eq!(&judge(just_before(end)), &here);
            prop_assert_ne!(&judge(end), &here);
        } else {
            prop_assert_eq!(&judge(Timestamp::MAX), &here);
        }
        let holds = |then: &Timestamp| now <= *then && judged.revisit.is_none_or(|end| *then < end);
        for then in (0..=HORIZON).map(half).filter(holds) {
            prop_assert_eq!(&judge(then), &here, "at {}", then);
        }
    }

    /// `judge` finds the end of a verdict by binary search, which is correct only because of this property.
    #[test]
    fn no_verdict_returns_as_time_passes(case in cases()) {
        let judge = |then| { let then = case.judge(then); (then.verdict, then.waived, then.effects) };
        let (mut verdicts, mut whole) = (Vec::new(), Vec::new());
        for then in (0..=HORIZON).map(half) {
            let here = judge(then);
            verdicts.push(here.0.clone());
            whole.push(here);
        }
        verdicts.dedup();
        whole.dedup();
        for (n, verdict) in verdicts.iter().enumerate() {
            prop_assert!(!verdicts[..n].contains(verdict), "{:?} came back", verdict);
            prop_assert!(n == 0 || *verdict != Verdict::Cleared, "time alone cleared a version");
        }
        for (n, here) in whole.iter().enumerate() {
            prop_assert!(!whole[..n].contains(here), "{:?} came back", here);
        }
    }
}

fn shuffled(case: Case) -> impl Strategy<Value = Case> {
    let level = case.level.clone().unwrap_or_default();
    let system = case.system.clone().unwrap_or_default();
    let certifications = system.provider.clone().map(|p| p.certifications).unwrap_or_default();
    let mix = (
        Just(case.said.clone()).prop_shuffle(),
        Just(level.approvals.clone()).prop_shuffle(),
        Just(level.documents.clone()).prop_shuffle(),
        Just(system.owners.clone()).prop_shuffle(),
        Just(system.documentation.clone()).prop_shuffle(),
        Just(certifications).prop_shuffle(),
        Just(case.assessed.clone()).prop_shuffle(),
    );
    mix.prop_map(move |(said, approvals, documents, owners, documentation, certifications, assessed)| {
        let mut case = Case { said, assessed, ..case.clone() };
        if let Some(level) = &mut case.level {
            (level.approvals, level.documents) = (approvals, documents);
        }
        if let Some(system) = &mut case.system {
            (system.owners, system.documentation) = (owners, documentation);
            system.provider.iter_mut().for_each(|p| p.certifications.clone_from(&certifications));
        }
        case
    })
}

/// If the generated versions were rarely cleared, a policy that never clears would pass the other properties.
#[test]
fn the_generators_reach_every_verdict_reason_and_effect() {
    let mut runner = TestRunner::deterministic();
    let (mut cleared, mut ending, mut with_bar) = (0, 0, 0);
    let (mut reasons, mut effects) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..1000 {
        let case = cases().new_tree(&mut runner).expect("no filters").current();
        let now = any_now().new_tree(&mut runner).expect("no filters").current();
        let judged = case.judge(now);
        effects.extend(judged.effects.iter().map(|(_, effect)| effect.code()));
        match judged.verdict {
            Verdict::Cleared => {
                cleared += 1;
                ending += usize::from(judged.not_after.is_some());
                with_bar += usize::from(case.level.is_some_and(|level| !level.assessments.is_empty()));
            }
            Verdict::Withheld(why) => reasons.extend(why.iter().map(Reason::code)),
        }
    }
    assert!(cleared > 100, "only {cleared} of 1000 are cleared");
    assert!(with_bar > 2, "only {with_bar} of 1000 are cleared by a result");
    assert!(ending > 50, "only {ending} of 1000 are cleared with an end");
    assert_eq!(
        reasons.len(),
        26,
        "every reason but CapacityExceeded, which `judge` does not give: {reasons:?}"
    );
    assert_eq!(effects.len(), 7, "{effects:?}");
}

#[test]
fn extreme_instants_do_not_panic() {
    let mut runner = TestRunner::deterministic();
    let day = SignedDuration::from_hours(24);
    let edges = [
        Timestamp::MIN,
        Timestamp::MIN + day,
        Timestamp::UNIX_EPOCH - SignedDuration::from_millis(500),
        "8999-12-31T23:59:59Z".parse().expect("valid"),
        Timestamp::MAX - day,
        Timestamp::MAX,
    ];
    let ten_years = std::time::Duration::from_hours(87_600);
    for _ in 0..50 {
        let mut case = cases().new_tree(&mut runner).expect("no filters").current();
        for validity in [None, Some(ten_years), Some(std::time::Duration::MAX)] {
            if let Some(level) = &mut case.level {
                level.validity = validity.map(Into::into);
            }
            for (n, said) in case.said.iter_mut().enumerate() {
                said.at = edges[n % edges.len()];
                said.not_after = said.not_after.map(|_| edges[(n / 2) % edges.len()]);
            }
            for now in edges {
                let judged = case.judge(now);
                assert!(judged.not_after.is_none_or(|end| now < end));
            }
        }
    }
}
