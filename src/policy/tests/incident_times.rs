//! Tests the escalation, closing and review of incidents: with attacks, and with random incidents. A second,
//! naive implementation checks each second of a random incident separately, and must agree.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;

use super::generate::{clearable_case, second};
use crate::{
    api::{
        Approval, ApprovalSpec, Approver, Decision, Digest, EscalationTier, IncidentEffect, IncidentNoteSpec,
        IncidentRules, IncidentSpec, MissedIncidentReview, NoteType, RecordReference, RequiredApproval,
        RequiredIncidentReview, ReviewOutcome, RiskLevelSpec,
    },
    policy::{
        ApproverRoles, Authors, Escalation, HeldSubject, Hold, Incidents, MissingToResume, RecordedIncident,
        ReviewEffect, SubjectDigests, Verdict, due_review, judge, review_effect,
    },
};

/// The number of seconds that the tests check.
const SECONDS: i64 = 14;

fn digest(byte: u8) -> Digest {
    Digest::from_sha256([byte; 32])
}

fn person(user: &str) -> Approver {
    Approver { user: user.to_owned(), ..Approver::default() }
}

#[derive(Clone, Debug)]
struct Note {
    type_: NoteType,
    by: String,
    at: i64,
}

#[derive(Clone, Debug)]
struct Decided {
    decision: Decision,
    by: String,
    role: String,
    at: i64,
}

/// One incident, which `oscar` opened at the second 0. The incident concerns the version `v1`.
#[derive(Clone, Debug)]
struct Case {
    effect: IncidentEffect,
    notes: Vec<Note>,
    decided: Vec<Decided>,
    /// The tiers of the escalation. Each tier has the seconds after which it begins, its role and its effect.
    tiers: Vec<(i64, String, IncidentEffect)>,
    /// The review that the level requires: the period in seconds, the roles, and the effect if people miss the review.
    review: Option<(i64, Vec<String>, MissedIncidentReview)>,
}

fn note(type_: NoteType, by: &str, at: i64) -> Note {
    Note { type_, by: by.to_owned(), at }
}

fn decided(decision: Decision, by: &str, at: i64) -> Decided {
    Decided { decision, by: by.to_owned(), role: "risk".to_owned(), at }
}

/// An incident without a hold, with two tiers. The second tier holds versions.
fn escalating(notes: Vec<Note>) -> Case {
    let tiers =
        vec![(3, "risk".to_owned(), IncidentEffect::None), (6, "board".to_owned(), IncidentEffect::Hold)];
    Case { effect: IncidentEffect::None, notes, decided: Vec::new(), tiers, review: None }
}

/// An incident with all notes at the seconds 1 to 3. `alice` resumed the version at the second 4. The review is due at
/// the second 9.
fn resumed(more: Vec<Decided>, on_missed: MissedIncidentReview) -> Case {
    let [cause, action, check] = NoteType::BEFORE_RESUME;
    Case {
        effect: IncidentEffect::Hold,
        notes: vec![note(cause, "fiona", 1), note(action, "fiona", 2), note(check, "fiona", 3)],
        decided: [vec![decided(Decision::Resume, "alice", 4)], more].concat(),
        tiers: Vec::new(),
        review: Some((5, vec!["risk".to_owned()], on_missed)),
    }
}

impl Case {
    fn level(&self) -> RiskLevelSpec {
        let seconds = |n: &i64| format!("{n}s").parse().expect("a duration");
        let required = |role: &String| RequiredApproval { role: role.clone(), count: 1 };
        let tier = |(after, role, effect): &(i64, String, IncidentEffect)| EscalationTier {
            after: seconds(after),
            role: role.clone(),
            effect: *effect,
        };
        let review = self.review.as_ref().map(|(within, roles, on_missed)| RequiredIncidentReview {
            within: seconds(within),
            roles: roles.iter().map(required).collect(),
            on_missed: *on_missed,
        });
        let rules = IncidentRules {
            resume: vec![required(&"risk".to_owned())],
            escalation: self.tiers.iter().map(tier).collect(),
            deadlines: Vec::new(),
            review,
        };
        RiskLevelSpec { incidents: Some(rules), ..RiskLevelSpec::default() }
    }

    fn spec(&self) -> IncidentSpec {
        IncidentSpec {
            system: "triage".into(),
            model_versions: Vec::new(),
            effect: self.effect,
            except: None,
            description: "drift".to_owned(),
            criteria: Vec::new(),
            affected: None,
            occurred_at: None,
            aware_at: None,
            monitor: None,
            opened_by: Some(person("oscar")),
        }
    }

    fn approval(n: usize, decided: &Decided) -> Approval {
        let spec = ApprovalSpec {
            system: "triage".to_owned(),
            model_version: "v1".to_owned(),
            subject_digest: digest(1),
            decision: decided.decision,
            role: decided.role.clone(),
            assessments: Vec::new(),
            incident: Some(RecordReference { name: "drift".into(), digest: digest(9) }),
            override_: None,
            outcome: Some(ReviewOutcome::Justified).filter(|_| decided.decision == Decision::Review),
            reason: None,
            not_after: None,
            approver: Some(person(&decided.by)),
            signature: None,
        };
        let mut approval = Approval::new(&format!("decision-{n}"), spec);
        approval.metadata.creation_timestamp = Some(Time(second(decided.at)));
        approval
    }

    fn judged<T>(&self, with: impl FnOnce(&RecordedIncident<'_>, &RiskLevelSpec) -> T) -> T {
        let spec_of = |note: &Note| IncidentNoteSpec {
            incident: "drift".into(),
            type_: note.type_,
            deadlines: Vec::new(),
            text: "text".to_owned(),
            report: None,
            by: Some(person(&note.by)),
        };
        let (spec, level) = (self.spec(), self.level());
        let notes: Vec<_> = self.notes.iter().map(spec_of).collect();
        let approvals: Vec<_> = self.decided.iter().enumerate().map(|(n, d)| Self::approval(n, d)).collect();
        let (roles, timed) =
            (ApproverRoles::new(), notes.iter().zip(self.notes.iter().map(|n| second(n.at))));
        let incidents = Incidents::new([(("drift", second(0)), &spec, digest(9))], timed, &approvals, &roles);
        with(&incidents.of("triage")[0], &level)
    }

    fn hold(&self) -> Option<Hold> {
        self.judged(|incident, level| {
            let digests = SubjectDigests { signed: digest(1), without_documents: None };
            let authors = Authors::default();
            let held = HeldSubject { name: "v1", digests: &digests, level, owners: &[], authors };
            held.judge([incident]).holds.pop()
        })
    }

    fn is_held(&self, at: i64) -> bool {
        self.hold().is_some_and(|hold| hold.has_begun(second(at)))
    }

    /// The number of the tier that the incident has reached at each second. 0 means that the incident has reached no
    /// tier.
    fn tiers(&self) -> Vec<u32> {
        self.judged(|incident, level| {
            let escalation = Escalation::of(incident, level);
            let tier = |at| escalation.as_ref().and_then(|e| e.reached(second(at))).map_or(0, |t| t.number);
            (0..SECONDS).map(tier).collect()
        })
    }
}

#[test]
fn an_unacknowledged_incident_reaches_each_tier_and_then_holds() {
    let case = escalating(Vec::new());
    assert_eq!(case.tiers()[..8], [0, 0, 0, 1, 1, 1, 2, 2]);
    assert!(!case.is_held(5) && case.is_held(6));
    let missing = case.hold().map(|hold| hold.missing);
    assert_eq!(missing, Some(MissingToResume::Acknowledgement { role: "board".to_owned() }));
}

#[test]
fn an_acknowledgement_ends_the_escalation_and_its_hold_at_any_time() {
    for at in [1, 4, 9] {
        let case = escalating(vec![note(NoteType::Acknowledgement, "oscar", at)]);
        assert_eq!(case.hold(), None, "{at}");
        assert!(case.tiers().iter().all(|tier| *tier == 0), "{at}");
    }
}

#[test]
fn an_acknowledgement_does_not_lift_a_hold_from_the_start() {
    let mut case = escalating(vec![note(NoteType::Acknowledgement, "alice", 1)]);
    case.effect = IncidentEffect::Hold;
    assert!(case.is_held(0) && case.is_held(13));
}

#[test]
fn the_opener_alone_does_not_close_the_incident() {
    let case = escalating(vec![note(NoteType::Closing, "oscar", 1)]);
    assert!(case.is_held(6));
    let case = escalating(vec![note(NoteType::Closing, "oscar", 1), note(NoteType::Closing, "alice", 2)]);
    assert_eq!(case.judged(|incident, _| incident.closed_at()), Some(second(2)));
    assert!(!case.is_held(6));
}

#[test]
fn a_closing_lifts_no_hold_from_the_start() {
    let mut case = escalating(vec![note(NoteType::Closing, "alice", 1)]);
    case.effect = IncidentEffect::Hold;
    assert!(case.is_held(13));
}

#[test]
fn a_missed_review_holds_again_until_somebody_else_reviews() {
    let case = resumed(Vec::new(), MissedIncidentReview::Hold);
    assert!(!case.is_held(8) && case.is_held(9));
    assert!(!resumed(Vec::new(), MissedIncidentReview::Warn).is_held(13));
    // Neither the opener nor the only person who resumed the version may review.
    for involved in ["oscar", "alice"] {
        let case = resumed(vec![decided(Decision::Review, involved, 6)], MissedIncidentReview::Hold);
        assert!(case.is_held(9), "{involved}");
    }
    assert!(!resumed(vec![decided(Decision::Review, "bob", 12)], MissedIncidentReview::Hold).is_held(13));
    // If two people resumed the version, each of them may review.
    let both = vec![decided(Decision::Resume, "bob", 5), decided(Decision::Review, "alice", 6)];
    assert!(!resumed(both, MissedIncidentReview::Hold).is_held(13));
}

#[test]
fn a_review_in_another_role_or_before_the_end_of_the_incident_does_not_count() {
    let other = Decided { role: "visitor".to_owned(), ..decided(Decision::Review, "bob", 6) };
    for (review, effect) in [
        (other, ReviewEffect::RoleNotRequired),
        (decided(Decision::Review, "bob", 3), ReviewEffect::TooEarly),
        (decided(Decision::Review, "oscar", 6), ReviewEffect::ReviewerIsInvolved),
        (decided(Decision::Review, "bob", 4), ReviewEffect::Counted),
    ] {
        let case = resumed(vec![review], MissedIncidentReview::Hold);
        let found = case.judged(|incident, level| review_effect(incident, level, &incident.reviews[0]));
        assert_eq!(found, effect);
        assert_eq!(case.is_held(9), effect != ReviewEffect::Counted);
    }
}

#[test]
fn a_closing_without_a_decision_to_resume_starts_the_period_of_the_review() {
    let mut case = resumed(Vec::new(), MissedIncidentReview::Hold);
    (case.effect, case.decided) = (IncidentEffect::None, Vec::new());
    case.notes.push(note(NoteType::Closing, "alice", 6));
    assert_eq!(case.judged(|i, l| due_review(i, l).map(|review| review.due)), Some(second(11)));
    assert!(!case.is_held(10) && case.is_held(11));
}

/// The naive implementation: whether the version is held at the second `now`.
fn naive(case: &Case, now: i64) -> bool {
    let closed =
        case.notes.iter().filter(|n| n.type_ == NoteType::Closing && n.by != "oscar").map(|n| n.at).min();
    let noted = NoteType::BEFORE_RESUME
        .map(|type_| case.notes.iter().filter(|n| n.type_ == type_).map(|n| n.at).min().unwrap_or(i64::MAX));
    let ready = *noted.iter().max().expect("three notes");
    let resumes: Vec<_> = case
        .decided
        .iter()
        .filter(|d| d.decision == Decision::Resume && d.role == "risk" && d.at > ready)
        .collect();
    if case.effect == IncidentEffect::Hold {
        let acted = |d: &Decided| {
            case.notes.iter().any(|n| n.type_ == NoteType::Action && n.by == d.by && n.at <= d.at)
        };
        if !resumes.iter().any(|d| d.by != "oscar" && !acted(d)) {
            return true;
        }
    } else {
        let acknowledged =
            closed.is_some() || case.notes.iter().any(|n| n.type_ == NoteType::Acknowledgement);
        let due =
            |(at, _, effect): &(i64, String, IncidentEffect)| *effect == IncidentEffect::Hold && *at <= now;
        if !acknowledged && case.tiers.iter().any(due) {
            return true;
        }
    }
    let Some((within, roles, MissedIncidentReview::Hold)) = &case.review else { return false };
    let start = resumes.iter().map(|d| d.at).chain(closed).min();
    let Some(start) = start.filter(|start| start + within <= now) else { return false };
    let alone = |by: &str| !resumes.is_empty() && resumes.iter().all(|d| d.by == by);
    let counts =
        |d: &&Decided| d.decision == Decision::Review && d.at >= start && d.by != "oscar" && !alone(&d.by);
    let roles = if roles.is_empty() { vec!["risk".to_owned()] } else { roles.clone() };
    !roles.iter().all(|role| case.decided.iter().filter(counts).any(|d| d.role == *role))
}

fn any_case() -> impl Strategy<Value = Case> {
    let people = prop::sample::select(vec!["oscar", "fiona", "alice", "bob"]);
    let roles = prop::sample::select(vec!["risk", "board"]);
    let effects = prop::sample::select(vec![IncidentEffect::None, IncidentEffect::Hold]);
    let types = prop::sample::select(vec![
        NoteType::RootCause,
        NoteType::Action,
        NoteType::Verification,
        NoteType::Acknowledgement,
        NoteType::Closing,
        NoteType::Report,
    ]);
    let notes = (types, people.clone(), 0..6i64).prop_map(|(type_, by, at)| note(type_, by, at));
    let notes = (any::<bool>(), prop::collection::vec(notes, 0..4)).prop_map(|(complete, mut notes)| {
        let all = resumed(Vec::new(), MissedIncidentReview::Warn).notes;
        notes.extend(all.into_iter().filter(|_| complete));
        notes
    });
    let decision = prop::sample::select(vec![Decision::Resume, Decision::Review]);
    let decided = (decision, people, roles.clone(), 0..12i64)
        .prop_map(|(decision, by, role, at)| Decided { role: role.to_owned(), ..decided(decision, by, at) });
    let tiers = (1..9i64, roles.clone(), effects.clone());
    let tiers = tiers.prop_map(|(after, role, effect)| (after, role.to_owned(), effect));
    let missed = prop::sample::select(vec![MissedIncidentReview::Warn, MissedIncidentReview::Hold]);
    let roles = prop::collection::vec(roles.prop_map(str::to_owned), 0..3).prop_map(|mut roles| {
        roles.sort();
        roles.dedup();
        roles
    });
    let review = prop::option::of((1..7i64, roles, missed));
    (effects, notes, prop::collection::vec(decided, 0..6), prop::collection::vec(tiers, 0..3), review)
        .prop_map(|(effect, notes, decided, tiers, review)| Case { effect, notes, decided, tiers, review })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn the_naive_implementation_agrees_at_each_second(case in any_case()) {
        for now in 0..SECONDS {
            prop_assert_eq!(case.is_held(now), naive(&case, now), "second {}", now);
        }
    }

    #[test]
    fn time_alone_never_lifts_a_hold(case in any_case()) {
        for now in 1..SECONDS {
            prop_assert!(!case.is_held(now - 1) || case.is_held(now), "second {}", now);
        }
    }

    #[test]
    fn the_order_of_the_records_does_not_matter(case in any_case()) {
        let mut reversed = case.clone();
        reversed.notes.reverse();
        reversed.decided.reverse();
        reversed.tiers.reverse();
        prop_assert_eq!(reversed.hold().map(|hold| hold.from), case.hold().map(|hold| hold.from));
    }

    #[test]
    fn a_review_never_adds_a_hold(case in any_case(), left_out in any::<prop::sample::Index>()) {
        let reviews: Vec<_> = (0..case.decided.len()).filter(|n| case.decided[*n].decision == Decision::Review).collect();
        if reviews.is_empty() {
            return Ok(());
        }
        let mut fewer = case.clone();
        fewer.decided.remove(reviews[left_out.index(reviews.len())]);
        for now in 0..SECONDS {
            prop_assert!(!case.is_held(now) || fewer.is_held(now), "second {}", now);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_verdict_ends_when_a_hold_begins(facts in clearable_case(), case in any_case()) {
        let mut held = facts.facts();
        held.holds.extend(case.hold());
        for now in 0..SECONDS {
            let judged = judge(&held, second(now));
            let is_held = matches!(&judged.verdict, Verdict::Withheld(why) if why.iter().any(|r| r.code() == "Held"));
            prop_assert_eq!(is_held, case.is_held(now));
            for then in now..SECONDS {
                let same = judged.not_after.is_none_or(|end| second(then) < end);
                prop_assert!(!same || judge(&held, second(then)).verdict == judged.verdict);
            }
        }
    }
}
