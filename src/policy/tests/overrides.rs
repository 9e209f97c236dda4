//! Tests the grants, reviews, quota and ends of overrides, with attacks on each rule.

use std::{collections::BTreeSet, time::Duration as StdDuration};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::core::Duration;
use proptest::{prelude::*, sample::select};

use super::generate::second;
use crate::{
    api::{
        Approval, ApprovalSpec, Approver, Decision, Digest, MissedOverrideReview as OnMissed, Override,
        OverrideQuota, OverrideReview, OverrideRules, OverrideSpec, Owner, OwnerKind, RecordReference,
        RequiredApproval, ReviewOutcome, RiskLevelSpec, Waiver, WaiverType,
    },
    policy::{
        ApproverRoles, Authors, GrantState, HeldSubject, NoEffect, NoReview, OverrideFacts, Overrides,
        RecordedDecision, SubjectDigests, SystemOverrides,
    },
};

fn digest(content: u8) -> Digest {
    Digest::from_sha256([content; 32])
}

fn person(user: &str) -> Approver {
    Approver { user: user.to_owned(), ..Approver::default() }
}

fn seconds(n: i64) -> Duration {
    Duration::from(StdDuration::from_secs(n.unsigned_abs()))
}

#[derive(Clone, Debug)]
struct Asked {
    name: &'static str,
    by: &'static str,
    at: i64,
    end: i64,
    content: u8,
    version: &'static str,
}

/// A grant or a review of the override `of`. Only a review has an outcome.
#[derive(Clone, Debug)]
struct Decided {
    of: &'static str,
    by: &'static str,
    role: &'static str,
    at: i64,
    outcome: Option<ReviewOutcome>,
}

/// All facts about the overrides of one system. The version `v1` of the system has the subject digest `digest(1)` and
/// was created at the second 0.
#[derive(Clone, Debug)]
struct Case {
    asked: Vec<Asked>,
    decided: Vec<Decided>,
    revoked: Vec<i64>,
    roles: Vec<(&'static str, u32)>,
    separation: bool,
    quota: (u32, i64),
    longest: i64,
    review_within: i64,
}

fn asked(name: &'static str, at: i64) -> Asked {
    Asked { name, by: "rita", at, end: at + 10, content: 1, version: "v1" }
}

fn grant(of: &'static str, by: &'static str, at: i64) -> Decided {
    Decided { of, by, role: "duty", at, outcome: None }
}

fn review(of: &'static str, by: &'static str, at: i64) -> Decided {
    Decided { of, by, role: "risk", at, outcome: Some(ReviewOutcome::Justified) }
}

/// One override, requested at the second 1 with its end at the second 11. One person in the role `duty` grants the
/// override at the second 2.
fn granted() -> Case {
    Case {
        asked: vec![asked("a", 1)],
        decided: vec![grant("a", "dora", 2)],
        revoked: Vec::new(),
        roles: vec![("duty", 1)],
        separation: false,
        quota: (2, 100),
        longest: 20,
        review_within: 5,
    }
}

/// The names of the overrides that are in effect at one time, and the names of the overrides whose review is overdue at
/// that time.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    active: BTreeSet<String>,
    missed: BTreeSet<String>,
}

impl Case {
    fn rules(&self) -> OverrideRules {
        let required =
            |(role, count): &(&str, u32)| RequiredApproval { role: (*role).to_owned(), count: *count };
        OverrideRules {
            max_duration: seconds(self.longest),
            roles: self.roles.iter().map(required).collect(),
            waivable: vec![WaiverType::Approval],
            per_system: OverrideQuota { count: self.quota.0, within: seconds(self.quota.1) },
            review: OverrideReview {
                within: seconds(self.review_within),
                roles: vec!["risk".to_owned(), "audit".to_owned()],
                on_missed: OnMissed::Hold,
            },
        }
    }

    fn overrides(&self) -> Vec<Override> {
        let make = |asked: &Asked| {
            let spec = OverrideSpec {
                system: "triage".into(),
                model_version: asked.version.into(),
                subject_digest: digest(asked.content),
                waives: vec![
                    Waiver { type_: WaiverType::Approval, name: "safety".into() },
                    Waiver { type_: WaiverType::Document, name: "manual".into() },
                ],
                reason: "the previous version is broken".to_owned(),
                ticket: None,
                not_after: Time(second(asked.end)),
                requested_by: Some(person(asked.by)),
            };
            let mut made = Override::new(asked.name, spec);
            made.metadata.creation_timestamp = Some(Time(second(asked.at)));
            made
        };
        self.asked.iter().map(make).collect()
    }

    fn approvals(&self) -> Vec<Approval> {
        let overrides = self.overrides();
        let make = |(n, decided): (usize, &Decided)| {
            let about = overrides.iter().find(|about| about.metadata.name.as_deref() == Some(decided.of));
            let about = about.expect("a known override");
            let reviews = decided.outcome.is_some();
            let spec = ApprovalSpec {
                system: "triage".to_owned(),
                model_version: about.spec.model_version.to_string(),
                subject_digest: about.spec.subject_digest.clone(),
                decision: if reviews { Decision::Review } else { Decision::Override },
                role: decided.role.to_owned(),
                assessments: Vec::new(),
                incident: None,
                override_: Some(RecordReference {
                    name: decided.of.into(),
                    digest: about.spec.digest("lending"),
                }),
                outcome: decided.outcome,
                reason: None,
                not_after: None,
                approver: Some(person(decided.by)),
                signature: None,
            };
            let mut approval = Approval::new(&format!("decision-{n:02}"), spec);
            approval.metadata.creation_timestamp = Some(Time(second(decided.at)));
            approval
        };
        self.decided.iter().enumerate().map(make).collect()
    }

    /// Calls `read` with three arguments: all overrides, the facts about the version `name` with the content `content`,
    /// and the effect of each granted override by name.
    fn judged<T>(
        &self,
        (name, content): (&str, u8),
        read: impl FnOnce(&SystemOverrides<'_>, OverrideFacts, Vec<(String, Result<Timestamp, NoEffect>)>) -> T,
    ) -> T {
        let (overrides, approvals, keys) = (self.overrides(), self.approvals(), ApproverRoles::new());
        let recorded = overrides.iter().map(|about| {
            let at = about.metadata.creation_timestamp.as_ref().expect("a time").0;
            ((about.metadata.name.as_deref().expect("a name"), at), &about.spec, about.spec.digest("lending"))
        });
        let recorded = Overrides::new(recorded, &approvals, &keys);
        let rules = self.rules();
        let level = RiskLevelSpec {
            separation_of_duties: self.separation,
            overrides: Some(rules.clone()),
            ..RiskLevelSpec::default()
        };
        let judged = SystemOverrides::new(recorded.of("triage"), &rules);
        let digests = SubjectDigests { signed: digest(content), without_documents: None };
        let owners = [Owner { kind: OwnerKind::User, name: "olga".to_owned() }];
        let authors = Authors { version: Some("vera"), system: None };
        let subject = HeldSubject { name, digests: &digests, level: &level, owners: &owners, authors };
        let by = person("rex");
        let revocation = |at: &i64| RecordedDecision {
            name: "revocation",
            approver: std::borrow::Cow::Borrowed(&by),
            version: "v1",
            role: "any",
            decision: Decision::Revoke,
            reason: None,
            at: second(*at),
            not_after: None,
        };
        let statements: Vec<_> = self.revoked.iter().map(revocation).collect();
        let (facts, effects) = judged.on_version(&subject, Some(second(0)), &statements);
        read(&judged, facts, effects.into_iter().collect())
    }

    fn at(&self, now: i64) -> Found {
        self.judged(("v1", 1), |_, facts, _| {
            let active = facts.waiving.iter().filter(|waiving| waiving.end > second(now));
            let missed = facts.missed.iter().filter(|missed| missed.due <= second(now));
            Found {
                active: active.map(|waiving| waiving.name.clone()).collect(),
                missed: missed.map(|missed| missed.name.clone()).collect(),
            }
        })
    }

    fn is_active(&self, name: &str, now: i64) -> bool {
        self.at(now).active.contains(name)
    }

    fn state(&self, of: &str) -> GrantState {
        self.judged(("v1", 1), |judged, _, _| {
            let mut states = judged.states();
            states.find(|(about, _)| about.name == of).map(|(_, state)| state.grant.clone()).expect("known")
        })
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

#[test]
fn override_counts_from_its_grant_to_its_end() {
    let case = granted();
    assert_eq!(case.state("a"), GrantState::Granted(second(2)));
    assert!(case.is_active("a", 2) && case.is_active("a", 10));
    assert!(!case.is_active("a", 11));
}

#[test]
fn request_without_a_grant_waives_nothing() {
    let case = granted().with(|case| case.decided.clear());
    assert!(matches!(case.state("a"), GrantState::Awaiting(_)));
    assert!(!case.is_active("a", 2));
}

#[test]
fn level_without_roles_lets_nobody_grant() {
    let case = granted().with(|case| case.roles.clear());
    assert!(!case.is_active("a", 3));
}

#[test]
fn grant_in_another_role_does_not_count() {
    let case = granted().with(|case| case.decided[0].role = "visitor");
    assert!(!case.is_active("a", 3));
}

#[test]
fn maximum_duration_of_the_level_ends_the_override_first() {
    let case = granted().with(|case| case.longest = 4);
    assert!(case.is_active("a", 4) && !case.is_active("a", 5));
}

#[test]
fn only_types_that_the_level_allows_are_waived() {
    granted().judged(("v1", 1), |_, facts, _| {
        let types: Vec<_> = facts.waiving[0].waives.iter().map(|waiver| waiver.type_).collect();
        assert_eq!(types, [WaiverType::Approval]);
    });
}

#[test]
fn other_content_or_another_name_is_not_overridden() {
    for (name, content) in [("v1", 2), ("copy", 1), ("v2", 2)] {
        granted()
            .judged((name, content), |_, facts, _| assert!(facts.waiving.is_empty(), "{name} {content}"));
    }
}

#[test]
fn override_from_before_the_version_does_not_count() {
    let case = granted().with(|case| {
        case.asked[0].at = -1;
        case.decided[0].at = -1;
    });
    case.judged(("v1", 1), |_, _, effects| assert_eq!(effects[0].1, Err(NoEffect::SubjectChanged)));
}

#[test]
fn revocation_ends_the_override_even_after_a_new_approval() {
    for at in [1, 2, 5] {
        let case = granted().with(|case| case.revoked.push(at));
        case.judged(("v1", 1), |_, _, effects| assert!(effects[0].1.is_err(), "revoked at {at}"));
    }
    let case = granted().with(|case| case.revoked.push(0));
    assert!(case.is_active("a", 3), "the revocation came before the override");
}

#[test]
fn grant_after_the_end_is_too_late() {
    let case = granted().with(|case| case.decided[0].at = 11);
    assert_eq!(case.state("a"), GrantState::TooLate);
}

#[test]
fn separated_duties_exclude_owners_authors_and_two_roles_of_one_person() {
    for involved in ["olga", "vera"] {
        let case = granted().with(|case| case.decided[0].by = involved);
        assert!(case.is_active("a", 3), "{involved}");
        let case = case.with(|case| case.separation = true);
        assert!(!case.is_active("a", 3), "{involved}");
    }
    let case = granted().with(|case| {
        case.roles = vec![("duty", 1), ("risk", 1)];
        case.decided.push(Decided { role: "risk", ..grant("a", "dora", 3) });
    });
    assert!(case.is_active("a", 4));
    assert!(!case.with(|case| case.separation = true).is_active("a", 4));
}

#[test]
fn involved_granter_still_owes_the_review() {
    let case = granted().with(|case| {
        case.separation = true;
        case.decided[0].by = "olga";
    });
    assert_eq!(case.at(16).missed.len(), 1);
}

/// Overrides `a`, `b` and `c`, each granted one second after its request.
fn three() -> Case {
    let names = ["a", "b", "c"];
    granted().with(|case| {
        case.asked = names.into_iter().zip(1..).map(|(name, n)| asked(name, 2 * n)).collect();
        case.decided = names.into_iter().zip(1..).map(|(name, n)| grant(name, "dora", 2 * n + 1)).collect();
        case.review_within = 50;
    })
}

#[test]
fn quota_counts_granted_overrides_also_expired_ones() {
    let case = three();
    assert_eq!(case.at(8).active, BTreeSet::from(["a".to_owned(), "b".to_owned()]));
    assert_eq!(case.state("c"), GrantState::OverQuota);
    let expired = case.with(|case| {
        case.asked[0].end = 4;
        case.asked[1].end = 6;
    });
    assert_eq!(expired.state("c"), GrantState::OverQuota);
    let later = three().with(|case| case.quota.1 = 4);
    assert!(matches!(later.state("c"), GrantState::Granted(_)), "the first is out of the period");
}

#[test]
fn ungranted_requests_do_not_use_the_quota() {
    let case = three().with(|case| case.decided.retain(|decided| decided.of == "c"));
    assert!(case.is_active("c", 8));
}

#[test]
fn late_grant_of_an_old_request_does_not_displace_a_later_override() {
    let case = three().with(|case| case.decided[0].at = 8);
    assert_eq!(case.at(8).active, BTreeSet::from(["b".to_owned(), "c".to_owned()]));
    assert_eq!(case.state("a"), GrantState::OverQuota);
}

#[test]
fn two_grants_in_the_same_second_share_one_place_of_the_quota() {
    let case = three().with(|case| {
        case.quota.0 = 1;
        case.decided.iter_mut().for_each(|decided| decided.at = 8);
    });
    assert_eq!(case.at(8).active.len(), 1);
}

#[test]
fn review_closes_the_override_whatever_its_outcome() {
    for outcome in [ReviewOutcome::Justified, ReviewOutcome::NotJustified] {
        let case = granted().with(|case| {
            case.decided.push(Decided { outcome: Some(outcome), ..review("a", "rolf", 6) });
        });
        assert!(case.is_active("a", 5) && !case.is_active("a", 6), "{outcome:?}");
        assert!(case.at(100).missed.is_empty());
    }
}

#[test]
fn requester_and_granters_cannot_review() {
    for (by, role) in [("rita", "risk"), ("dora", "risk"), ("rolf", "duty")] {
        let case = granted().with(|case| case.decided.push(Decided { role, ..review("a", by, 12) }));
        assert_eq!(case.at(16).missed.len(), 1, "{by} as {role}");
    }
}

#[test]
fn grant_after_a_review_does_not_take_the_review_back() {
    let case = granted().with(|case| {
        case.decided.push(review("a", "rolf", 12));
        case.decided.push(grant("a", "rolf", 13));
    });
    assert!(case.at(100).missed.is_empty());
}

#[test]
fn review_before_the_grant_leaves_nothing_to_grant() {
    let case = granted().with(|case| {
        case.decided[0].at = 5;
        case.decided.push(review("a", "rolf", 3));
    });
    assert_eq!(case.state("a"), GrantState::TooLate);
}

#[test]
fn signature_from_before_the_override_is_no_review() {
    let case = granted();
    let (overrides, approvals, roles) = (case.overrides(), case.approvals(), ApproverRoles::new());
    let recorded = [(("a", second(1)), &overrides[0].spec, overrides[0].spec.digest("lending"))];
    let recorded = Overrides::new(recorded, &approvals, &roles);
    let about = &recorded.of("triage")[0];
    let mut early = about.grants[0].clone();
    (early.role, early.at, early.recorded) = ("risk", second(0), second(12));
    early.approver = std::borrow::Cow::Owned(person("rolf"));
    assert_eq!(about.why_not(&early, &case.rules()), Some(NoReview::BeforeOverride));
}

#[test]
fn missed_review_blocks_the_next_override_for_good() {
    let case = granted().with(|case| {
        case.asked.push(asked("b", 20));
        case.decided.push(grant("b", "dora", 21));
    });
    assert_eq!(case.state("b"), GrantState::AfterMissedReview("a".to_owned()));
    let late = case.clone().with(|case| case.decided.push(review("a", "rolf", 22)));
    assert!(!late.is_active("b", 23), "the review came after the grant");
    let in_time = case.with(|case| case.decided.push(review("a", "rolf", 20)));
    assert!(in_time.is_active("b", 22));
}

#[test]
fn missed_review_holds_until_somebody_reviews() {
    let case = granted();
    assert!(case.at(15).missed.is_empty());
    assert_eq!(case.at(16).missed.len(), 1);
    assert!(case.with(|case| case.decided.push(review("a", "rolf", 30))).at(31).missed.is_empty());
}

#[test]
fn decision_about_another_content_of_the_override_does_not_count() {
    let case = granted();
    let (overrides, approvals, roles) = (case.overrides(), case.approvals(), ApproverRoles::new());
    for change in [
        (|spec: &mut ApprovalSpec| spec.override_.as_mut().expect("named").digest = digest(9)) as fn(&mut _),
        |spec| spec.override_.as_mut().expect("named").name = "b".into(),
        |spec| spec.system = "other".to_owned(),
        |spec| spec.model_version = "v2".to_owned(),
        |spec| spec.subject_digest = digest(2),
        |spec| spec.decision = Decision::Approve,
    ] {
        let mut forged = approvals.clone();
        change(&mut forged[0].spec);
        let recorded = [(("a", second(1)), &overrides[0].spec, overrides[0].spec.digest("lending"))];
        assert!(Overrides::new(recorded, &forged, &roles).of("triage")[0].grants.is_empty());
    }
}

/// A second, naive implementation. It goes through the seconds, and decides whether an override counts in the first
/// second in which enough people granted the override.
fn naive(case: &Case, now: i64) -> Found {
    let mut accepted: Vec<(&Asked, i64)> = Vec::new();
    let mut refused: Vec<&str> = Vec::new();
    let mut asked: Vec<_> = case.asked.iter().collect();
    asked.sort_by_key(|asked| asked.name);
    let planned = |asked: &Asked| asked.end.min(asked.at + case.longest);
    let due = |asked: &Asked| planned(asked) + case.review_within;
    let reviewed = |asked: &Asked| {
        let of_it = || case.decided.iter().filter(|decided| decided.of == asked.name);
        let mut first = None;
        for review in of_it().filter(|decided| decided.outcome.is_some()) {
            let granted = of_it()
                .any(|other| other.outcome.is_none() && other.by == review.by && other.at <= review.at);
            let counts = ["risk", "audit"].contains(&review.role)
                && review.at >= asked.at
                && review.by != asked.by
                && !granted;
            if counts && first.is_none_or(|first| review.at < first) {
                first = Some(review.at);
            }
        }
        first
    };
    let suffices = |asked: &Asked, until: i64, separate: bool, counts: &dyn Fn(&Decided) -> bool| {
        let grants =
            case.decided.iter().filter(|d| d.of == asked.name && d.outcome.is_none() && d.at <= until);
        let who: BTreeSet<_> = grants.filter(|d| counts(d)).map(|d| (d.role, d.by)).collect();
        let places: Vec<_> =
            case.roles.iter().flat_map(|(role, count)| vec![*role; *count as usize]).collect();
        !places.is_empty() && super::incidents::fills(&places, &who, &mut Vec::new(), separate)
    };
    for t in -5..=80 {
        for asked in &asked {
            let is_known = accepted.iter().any(|(known, _)| known.name == asked.name);
            if is_known || refused.contains(&asked.name) || t < asked.at {
                continue;
            }
            if !suffices(asked, t, false, &|_| true) {
                continue;
            }
            let late = t >= planned(asked) || reviewed(asked).is_some_and(|at| at <= t);
            let is_missed =
                |(other, _): &(&Asked, i64)| due(other) <= t && reviewed(other).is_none_or(|at| at > t);
            let used = accepted.iter().filter(|(_, at)| at + case.quota.1 > t).count();
            if late || accepted.iter().any(is_missed) || used >= case.quota.0 as usize {
                refused.push(asked.name);
            } else {
                accepted.push((asked, t));
            }
        }
    }
    let involved: &[&str] = if case.separation { &["olga", "vera"] } else { &[] };
    let last_revoked = case.revoked.iter().copied().max().unwrap_or(i64::MIN);
    let mut found = Found { active: BTreeSet::new(), missed: BTreeSet::new() };
    for (asked, _) in accepted {
        if reviewed(asked).is_none() && due(asked) <= now {
            found.missed.insert(asked.name.to_owned());
        }
        let counts = |d: &Decided| !involved.contains(&d.by) && d.at > last_revoked;
        let is_role = |d: &&Decided| case.roles.iter().any(|(role, _)| *role == d.role);
        let grants = case.decided.iter().filter(|d| d.of == asked.name && d.outcome.is_none());
        let last = grants.filter(is_role).filter(|d| counts(d)).map(|d| d.at).max();
        let active = asked.version == "v1"
            && asked.content == 1
            && asked.at >= 0
            && asked.at > last_revoked
            && suffices(asked, i64::MAX, case.separation, &counts)
            && now < planned(asked)
            && reviewed(asked).is_none_or(|at| now < at)
            && last.is_some_and(|last| now < last + case.longest);
        if active {
            found.active.insert(asked.name.to_owned());
        }
    }
    found
}

fn cases() -> impl Strategy<Value = Case> {
    let people = || select(vec!["rita", "dora", "dave", "rolf", "olga", "vera"]);
    let names = vec!["a", "b", "c", "d"];
    let one =
        (people(), -2..30i64, 1..15i64, select(vec![1u8, 1, 1, 2]), select(vec!["v1", "v1", "v1", "v2"]));
    let asked = prop::collection::vec(one, 1..=4).prop_map({
        let names = names.clone();
        move |asked| {
            let pairs = names.iter().zip(asked);
            let one = |(name, (by, at, length, content, version)): (
                &&'static str,
                (&'static str, _, i64, _, _),
            )| { Asked { name, by, at, end: at + length, content, version } };
            pairs.map(one).collect::<Vec<_>>()
        }
    });
    asked.prop_flat_map(move |asked| {
        let names: Vec<_> = asked.iter().map(|asked| asked.name).collect();
        let outcome =
            select(vec![None, None, Some(ReviewOutcome::Justified), Some(ReviewOutcome::NotJustified)]);
        let roles = select(vec!["duty", "duty", "risk", "audit", "visitor"]);
        let decided = (select(names), people(), roles, -2..40i64, outcome)
            .prop_map(|(of, by, role, at, outcome)| Decided { of, by, role, at, outcome });
        let required = select(vec![
            vec![],
            vec![("duty", 1)],
            vec![("duty", 1)],
            vec![("duty", 2)],
            vec![("duty", 1), ("risk", 1)],
        ]);
        let numbers = (1..4u32, 1..40i64, 1..20i64, 1..20i64);
        let revoked = prop::collection::vec(-2..30i64, 0..=1);
        (Just(asked), prop::collection::vec(decided, 0..12), required, any::<bool>(), numbers, revoked)
            .prop_map(
                |(asked, decided, roles, separation, (count, within, longest, review_within), revoked)| {
                    Case {
                        asked,
                        decided,
                        revoked,
                        roles,
                        separation,
                        quota: (count, within),
                        longest,
                        review_within,
                    }
                },
            )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn the_naive_implementation_agrees(case in cases(), now in -2..80i64) {
        prop_assert_eq!(case.at(now), naive(&case, now));
    }

    #[test]
    fn the_order_of_the_records_does_not_matter(case in cases(), now in -2..80i64) {
        let mut reversed = case.clone();
        reversed.asked.reverse();
        let found = case.at(now);
        prop_assert_eq!(&reversed.at(now), &found);
        reversed.decided.reverse();
        prop_assert_eq!(reversed.at(now), found);
    }

    #[test]
    fn an_override_only_ends_with_the_time(case in cases(), now in -2..60i64, later in 0..20i64) {
        let (first, then) = (case.at(now), case.at(now + later));
        prop_assert!(then.active.is_subset(&first.active));
        prop_assert!(first.missed.is_subset(&then.missed));
    }

    #[test]
    fn a_later_record_never_revives_a_refused_override(case in cases(), at in 41..60i64, now in 41..80i64) {
        let mut more = case.clone();
        for asked in &case.asked {
            more.decided.push(review(asked.name, "zoe", at));
        }
        prop_assert!(more.at(now).active.is_subset(&case.at(now).active));
    }

    #[test]
    fn the_quota_bounds_the_overrides_in_any_period(case in cases(), now in -2..80i64) {
        let granted = case.judged(("v1", 1), |judged, _, _| {
            let times = judged.states().filter_map(|(_, state)| match state.grant {
                GrantState::Granted(at) => Some(at),
                _ => None,
            });
            times.collect::<Vec<_>>()
        });
        let (from, to) = (second(now - case.quota.1), second(now));
        let within = granted.iter().filter(|at| **at > from && **at <= to).count();
        prop_assert!(within <= case.quota.0 as usize);
    }
}
