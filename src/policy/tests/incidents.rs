//! Tests holds: with attacks, and with random incidents, for which a second, naive implementation must agree.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;

use super::generate::second;
use crate::{
    api::{
        Approval, ApprovalSpec, Approver, ConcernedVersion, Decision, Digest, IncidentEffect,
        IncidentNoteSpec, IncidentRules, IncidentSpec, NoteType, Owner, OwnerKind, RecordReference,
        RequiredApproval, RiskLevelSpec,
    },
    policy::{
        ApproverRoles, Authors, HeldSubject, Hold, Incidents, MissingToResume, ResumeEffect, SubjectDigests,
    },
};

fn digest(byte: u8) -> Digest {
    Digest::from_sha256([byte; 32])
}

fn person(user: &str) -> Approver {
    Approver { user: user.to_owned(), ..Approver::default() }
}

/// An incident of the system, opened by `oscar`, that holds every version.
fn incident() -> IncidentSpec {
    IncidentSpec {
        system: "triage".into(),
        model_versions: Vec::new(),
        effect: IncidentEffect::Hold,
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

#[derive(Clone, Debug)]
struct Note {
    type_: NoteType,
    by: String,
    at: i64,
}

#[derive(Clone, Debug)]
struct Resumed {
    by: String,
    role: String,
    at: i64,
    subject: u8,
    incident: u8,
}

/// All facts about one incident and one version `v1`. The subject digest of `v1` is `digest(1)`.
#[derive(Clone, Debug)]
struct Case {
    incident: IncidentSpec,
    notes: Vec<Note>,
    resumes: Vec<Resumed>,
    resume: Vec<(String, u32)>,
    separation: bool,
}

fn note(type_: NoteType, by: &str, at: i64) -> Note {
    Note { type_, by: by.to_owned(), at }
}

fn resumed(by: &str, role: &str, at: i64) -> Resumed {
    Resumed { by: by.to_owned(), role: role.to_owned(), at, subject: 1, incident: 9 }
}

/// An incident with all notes at the seconds 1 to 3, by `fiona`. At the level, people in `roles` must resume the
/// version.
fn noted(roles: &[(&str, u32)], resumes: Vec<Resumed>) -> Case {
    let [cause, action, check] = NoteType::BEFORE_RESUME;
    Case {
        incident: incident(),
        notes: vec![note(cause, "fiona", 1), note(action, "fiona", 2), note(check, "fiona", 3)],
        resumes,
        resume: roles.iter().map(|(role, count)| ((*role).to_owned(), *count)).collect(),
        separation: false,
    }
}

impl Case {
    fn approval(n: usize, resumed: &Resumed) -> Approval {
        let spec = ApprovalSpec {
            system: "triage".to_owned(),
            model_version: "v1".to_owned(),
            subject_digest: digest(resumed.subject),
            decision: Decision::Resume,
            role: resumed.role.clone(),
            assessments: Vec::new(),
            incident: Some(RecordReference { name: "drift".into(), digest: digest(resumed.incident) }),
            override_: None,
            outcome: None,
            reason: None,
            not_after: None,
            approver: Some(person(&resumed.by)),
            signature: None,
        };
        let mut approval = Approval::new(&format!("resume-{n}"), spec);
        approval.metadata.creation_timestamp = Some(Time(second(resumed.at)));
        approval
    }

    fn level(&self) -> RiskLevelSpec {
        let required = |(role, count): &(String, u32)| RequiredApproval { role: role.clone(), count: *count };
        RiskLevelSpec {
            separation_of_duties: self.separation,
            incidents: Some(IncidentRules {
                resume: self.resume.iter().map(required).collect(),
                ..IncidentRules::default()
            }),
            ..RiskLevelSpec::default()
        }
    }

    /// The hold of the version `name` with the subject digest `digest(content)`, and the effects of the decisions to
    /// resume.
    fn of(&self, name: &str, content: u8) -> (Option<Hold>, Vec<(String, ResumeEffect)>) {
        let notes: Vec<_> = self
            .notes
            .iter()
            .map(|note| IncidentNoteSpec {
                incident: "drift".into(),
                type_: note.type_,
                deadlines: Vec::new(),
                text: "text".to_owned(),
                report: None,
                by: Some(person(&note.by)),
            })
            .collect();
        let approvals: Vec<_> = self.resumes.iter().enumerate().map(|(n, r)| Self::approval(n, r)).collect();
        let (roles, level) = (ApproverRoles::new(), self.level());
        let timed = notes.iter().zip(&self.notes).map(|(spec, note)| (spec, second(note.at)));
        let incidents =
            Incidents::new([(("drift", second(0)), &self.incident, digest(9))], timed, &approvals, &roles);
        let digests = SubjectDigests { signed: digest(content), without_documents: None };
        let owners = [Owner { kind: OwnerKind::User, name: "olga".to_owned() }];
        let authors = Authors { version: Some("vera"), system: Some("sam") };
        let held = HeldSubject { name, digests: &digests, level: &level, owners: &owners, authors };
        let of_system = incidents.of("triage");
        let mut judged = held.judge(of_system);
        (judged.holds.pop(), judged.resumes.into_iter().collect())
    }

    fn missing(&self) -> Option<MissingToResume> {
        self.of("v1", 1).0.map(|hold| hold.missing)
    }
}

#[test]
fn a_hold_names_a_version_by_name_or_by_content() {
    let mut case = noted(&[("risk", 1)], Vec::new());
    assert!(
        case.of("v1", 1).0.is_some() && case.of("v2", 2).0.is_some(),
        "no version is named, so all are held"
    );
    case.incident.model_versions = vec![ConcernedVersion { name: "v1".into(), subject_digest: digest(1) }];
    assert!(case.of("v1", 1).0.is_some());
    assert!(case.of("v1", 2).0.is_some(), "new content under the same name");
    assert!(case.of("copy", 1).0.is_some(), "the same content under a new name");
    assert!(case.of("v2", 2).0.is_none());
    case.incident.effect = IncidentEffect::None;
    assert!(case.of("v1", 1).0.is_none());
}

#[test]
fn a_rollback_spares_only_the_same_name_with_the_same_content() {
    let mut case = noted(&[("risk", 1)], Vec::new());
    case.incident.except = Some(ConcernedVersion { name: "v1".into(), subject_digest: digest(1) });
    assert!(case.of("v1", 1).0.is_none());
    assert!(case.of("v1", 2).0.is_some(), "other content under the spared name");
    assert!(case.of("copy", 1).0.is_some(), "another name");
}

#[test]
fn nobody_resumes_before_root_cause_action_and_verification_are_noted() {
    let complete = noted(&[("risk", 1)], vec![resumed("alice", "risk", 4)]);
    assert_eq!(complete.missing(), None);
    for left_out in NoteType::BEFORE_RESUME {
        let mut case = complete.clone();
        case.notes.retain(|note| note.type_ != left_out);
        assert_eq!(case.missing(), Some(MissingToResume::Notes(vec![left_out])));
        assert_eq!(case.of("v1", 1).1[0].1, ResumeEffect::BeforeNotes);
        // The missing note comes after the decision, so people must decide again.
        case.notes.push(note(left_out, "fiona", 5));
        assert_eq!(case.of("v1", 1).1[0].1, ResumeEffect::BeforeNotes);
        assert!(case.missing().is_some());
    }
    let facts = Case { notes: vec![note(NoteType::Fact, "fiona", 1)], ..complete };
    assert!(facts.missing().is_some(), "facts alone are not sufficient");
}

#[test]
fn the_opener_and_the_author_of_the_action_do_not_resume_alone() {
    for involved in ["oscar", "fiona"] {
        let case = noted(&[("risk", 1)], vec![resumed(involved, "risk", 4)]);
        assert_eq!(case.missing(), Some(MissingToResume::IndependentPerson), "{involved}");
    }
    let both = vec![resumed("oscar", "risk", 4), resumed("fiona", "risk", 4)];
    assert_eq!(noted(&[("risk", 2)], both.clone()).missing(), Some(MissingToResume::IndependentPerson));
    let with_alice = both.into_iter().chain([resumed("alice", "ethics", 4)]).collect();
    assert_eq!(noted(&[("risk", 2), ("ethics", 1)], with_alice).missing(), None);
}

#[test]
fn a_later_action_does_not_take_a_decision_back() {
    let mut case = noted(&[("risk", 1)], vec![resumed("alice", "risk", 4)]);
    case.notes.push(note(NoteType::Action, "alice", 5));
    assert_eq!(case.missing(), None);
}

#[test]
fn notes_and_decisions_from_before_the_incident_do_not_count() {
    let mut case = noted(&[("risk", 1)], vec![resumed("alice", "risk", 4)]);
    for note in &mut case.notes {
        note.at = -1;
    }
    assert!(matches!(case.missing(), Some(MissingToResume::Notes(types)) if types.len() == 3));
    let early = noted(&[("risk", 1)], vec![resumed("alice", "risk", -1)]);
    assert_eq!(early.of("v1", 1).1[0].1, ResumeEffect::BeforeNotes);
}

#[test]
fn a_decision_in_the_second_of_the_last_note_does_not_count() {
    let case = noted(&[("risk", 1)], vec![resumed("alice", "risk", 3)]);
    assert_eq!(case.of("v1", 1).1[0].1, ResumeEffect::BeforeNotes);
}

#[test]
fn a_decision_counts_for_its_content_and_incident_only() {
    let decision = resumed("alice", "risk", 4);
    for other in [
        Resumed { subject: 2, ..decision.clone() },
        Resumed { incident: 8, ..decision.clone() },
        Resumed { role: "guest".to_owned(), ..decision.clone() },
    ] {
        assert!(noted(&[("risk", 1)], vec![other.clone()]).missing().is_some(), "{other:?}");
    }
    assert_eq!(noted(&[("risk", 1)], vec![decision]).missing(), None);
}

#[test]
fn separated_duties_exclude_owners_and_authors() {
    for involved in ["olga", "vera", "sam"] {
        let mut case = noted(&[("risk", 1)], vec![resumed(involved, "risk", 4)]);
        assert_eq!(case.missing(), None, "{involved}");
        case.separation = true;
        assert!(case.missing().is_some(), "{involved}");
        assert_eq!(case.of("v1", 1).1[0].1, ResumeEffect::ApproverIsInvolved);
    }
    // With separation of duties, a person with decisions in two roles fills only one of these roles.
    let mut case = noted(
        &[("risk", 1), ("ethics", 1)],
        vec![resumed("alice", "risk", 4), resumed("alice", "ethics", 4)],
    );
    assert_eq!(case.missing(), None);
    case.separation = true;
    assert!(case.missing().is_some());
}

#[test]
fn a_level_without_roles_needs_one_independent_person() {
    assert_eq!(noted(&[], Vec::new()).missing(), Some(MissingToResume::AnyApproval));
    assert_eq!(
        noted(&[], vec![resumed("oscar", "any", 4)]).missing(),
        Some(MissingToResume::IndependentPerson)
    );
    assert_eq!(noted(&[], vec![resumed("alice", "any", 4)]).missing(), None);
}

/// The naive implementation: whether the version `v1` is held. This function tries every assignment of people to the
/// required roles.
fn is_held(case: &Case) -> bool {
    if case.incident.effect == IncidentEffect::None {
        return false;
    }
    let first = |wanted: NoteType| case.notes.iter().filter(|n| n.type_ == wanted).map(|n| n.at).min();
    let mut ready = i64::MIN;
    for type_ in [NoteType::RootCause, NoteType::Action, NoteType::Verification] {
        let Some(at) = first(type_) else { return true };
        ready = ready.max(at);
    }
    let involved: &[&str] = if case.separation { &["olga", "vera", "sam"] } else { &[] };
    let counts = |r: &&Resumed| {
        r.subject == 1
            && r.incident == 9
            && r.at > ready
            && !involved.contains(&r.by.as_str())
            && (case.resume.is_empty() || case.resume.iter().any(|(role, _)| *role == r.role))
    };
    let counted: BTreeSet<(&str, &str)> =
        case.resumes.iter().filter(counts).map(|r| (r.role.as_str(), r.by.as_str())).collect();
    let fixed =
        |r: &Resumed| case.notes.iter().any(|n| n.type_ == NoteType::Action && n.by == r.by && n.at <= r.at);
    if !case.resumes.iter().filter(counts).any(|r| r.by != "oscar" && !fixed(r)) {
        return true;
    }
    let places: Vec<&str> =
        case.resume.iter().flat_map(|(role, count)| vec![role.as_str(); *count as usize]).collect();
    !fills(&places, &counted, &mut Vec::new(), case.separation)
}

/// Whether people can fill all of `places`. Each place is the name of a role, and needs one person. Two places of one
/// role need two people. With `separate`, one person fills only one place.
pub(super) fn fills<'a>(
    places: &[&'a str],
    counted: &BTreeSet<(&'a str, &'a str)>,
    used: &mut Vec<(&'a str, &'a str)>,
    separate: bool,
) -> bool {
    let Some((role, rest)) = places.split_first() else { return true };
    counted.iter().filter(|(of, _)| of == role).any(|(_, by)| {
        let taken = used.iter().any(|(of, person)| person == by && (separate || of == role));
        if taken {
            return false;
        }
        used.push((role, by));
        let filled = fills(rest, counted, used, separate);
        used.pop();
        filled
    })
}

fn cases() -> impl Strategy<Value = Case> {
    let people = prop::sample::select(vec!["oscar", "fiona", "alice", "bob", "olga", "vera"]);
    let roles = prop::sample::select(vec!["risk", "ethics", "guest"]);
    let types = prop::sample::select(vec![
        NoteType::Fact,
        NoteType::RootCause,
        NoteType::Action,
        NoteType::Verification,
    ]);
    let note = (types, people.clone(), 0..6i64).prop_map(|(type_, by, at)| note(type_, by, at));
    let resumed = (people, roles, 0..9i64, 1..3u8, prop::sample::select(vec![9u8, 9, 9, 8]))
        .prop_map(|(by, role, at, subject, incident)| Resumed { subject, incident, ..resumed(by, role, at) });
    let resume = prop::sample::select(vec![
        vec![],
        vec![("risk".to_owned(), 1)],
        vec![("risk".to_owned(), 2)],
        vec![("risk".to_owned(), 1), ("ethics".to_owned(), 1)],
    ]);
    let complete = prop::bool::weighted(0.8);
    let notes = (complete, prop::collection::vec(note, 0..5)).prop_map(|(complete, mut notes)| {
        notes.extend(noted(&[], Vec::new()).notes.into_iter().filter(|_| complete));
        notes
    });
    (notes, prop::collection::vec(resumed, 0..7), resume, any::<bool>(), prop::bool::weighted(0.9)).prop_map(
        |(notes, resumes, resume, separation, holds)| {
            let effect = if holds { IncidentEffect::Hold } else { IncidentEffect::None };
            Case { incident: IncidentSpec { effect, ..incident() }, notes, resumes, resume, separation }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn the_naive_implementation_agrees(case in cases()) {
        prop_assert_eq!(case.missing().is_some(), is_held(&case));
    }

    #[test]
    fn the_order_of_the_records_does_not_matter(case in cases()) {
        let mut reversed = case.clone();
        reversed.notes.reverse();
        reversed.resumes.reverse();
        prop_assert_eq!(reversed.missing(), case.missing());
    }

    #[test]
    fn fewer_decisions_never_lift_a_hold(case in cases(), left_out in any::<prop::sample::Index>()) {
        prop_assume!(!case.resumes.is_empty());
        let mut fewer = case.clone();
        fewer.resumes.remove(left_out.index(case.resumes.len()));
        prop_assert!(case.missing().is_none() || fewer.missing().is_some());
    }
}
