//! Joins incidents with their notes and with the decisions about them.
//!
//! ```text
//!  Incident ─────────────────────┐
//!  IncidentNotes ────────────────┼─► RecordedIncident
//!  Approvals (Resume, Review) ───┘
//! ```
//!
//! A note counts only if it is not older than its incident. An approval counts only if it names the incident with the
//! digest of the incident.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use k8s_openapi::jiff::Timestamp;

use super::{ApprovalObject, ApproverRoles, approver_of, decided_at, roles::assign_roles};
use crate::api::{
    Approver, Decision, Digest, IncidentNoteSpec, IncidentSpec, NoteType, RecordReference, RequiredApproval,
    RiskLevelSpec, Text,
};

/// An incident of the system of the judged version.
#[derive(Clone, Debug)]
pub struct RecordedIncident<'a> {
    /// The name of the `Incident`.
    pub name: &'a str,
    /// The time at which the API server recorded the incident. Earlier notes and decisions do not count.
    pub at: Timestamp,
    /// The content of the incident.
    pub spec: &'a IncidentSpec,
    /// The digest of the content. A decision about the incident must name this digest.
    pub digest: Digest,
    /// The notes of the incident.
    pub notes: Vec<RecordedNote<'a>>,
    /// The decisions to resume a version after the incident. Each names the incident with its digest.
    pub resumes: Vec<IncidentDecision<'a>>,
    /// The reviews of the incident. Each names the incident with its digest.
    pub reviews: Vec<IncidentDecision<'a>>,
}

impl RecordedIncident<'_> {
    /// The time of the first note that closes the incident. A closing by the opener or by an unknown user does not
    /// count.
    pub fn closed_at(&self) -> Option<Timestamp> {
        self.closings().map(|note| note.at).min()
    }

    /// The notes that close the incident. A closing by the opener or by an unknown user does not count.
    pub(super) fn closings(&self) -> impl Iterator<Item = &RecordedNote<'_>> {
        let by_another = move |note: &&RecordedNote<'_>| note.by.is_some_and(|by| !self.is_opener(by));
        self.notes.iter().filter(|note| note.type_ == NoteType::Closing).filter(by_another)
    }

    /// The first note that acknowledges or closes the incident. A note by an unknown user, and a closing by the opener,
    /// do not count.
    pub fn handled(&self) -> Option<&RecordedNote<'_>> {
        let acknowledged = |note: &&RecordedNote<'_>| note.type_ == NoteType::Acknowledgement;
        let acknowledged = self.notes.iter().filter(acknowledged).filter(|note| note.by.is_some());
        acknowledged.chain(self.closings()).min_by_key(|note| (note.at, note.by))
    }

    pub(super) fn is_opener(&self, user: &str) -> bool {
        self.spec.opened_by.as_ref().is_some_and(|person| person.user == user)
    }
}

/// The incidents of a namespace, by the name of the system.
#[derive(Clone, Debug, Default)]
pub struct Incidents<'a>(BTreeMap<&'a str, Vec<RecordedIncident<'a>>>);

impl<'a> Incidents<'a> {
    /// Joins incidents with their notes, and with the verified decisions about them. Each item of `incidents` is the
    /// name, the creation time, the content and the digest of one incident. Each item of `notes` is the content and the
    /// creation time of one note.
    pub fn new<A: ApprovalObject + 'a>(
        incidents: impl IntoIterator<Item = ((&'a str, Timestamp), &'a IncidentSpec, Digest)>,
        notes: impl IntoIterator<Item = (&'a IncidentNoteSpec, Timestamp)>,
        approvals: impl IntoIterator<Item = &'a A>,
        roles: &'a ApproverRoles,
    ) -> Self {
        let recorded = |((name, at), spec, digest): ((&'a str, Timestamp), &'a IncidentSpec, Digest)| {
            let (notes, resumes, reviews) = (Vec::new(), Vec::new(), Vec::new());
            (name, RecordedIncident { name, at, spec, digest, notes, resumes, reviews })
        };
        let mut by_name: BTreeMap<&str, RecordedIncident<'a>> = incidents.into_iter().map(recorded).collect();
        for (note, at) in notes {
            let by = note.by.as_ref().map(|person| &*person.user);
            if let Some(incident) = by_name.get_mut(&*note.incident).filter(|incident| incident.at <= at) {
                incident.notes.push(RecordedNote { type_: note.type_, by, at, deadlines: &note.deadlines });
            }
        }
        for approval in approvals {
            let Some((named, decision)) = IncidentDecision::of(approval, roles) else { continue };
            let incident = by_name.get_mut(&*named.name).filter(|incident| {
                incident.digest == named.digest && *incident.spec.system == *approval.spec().system
            });
            match incident {
                Some(incident) if approval.spec().decision == Decision::Resume => {
                    incident.resumes.push(decision);
                }
                Some(incident) => incident.reviews.push(decision),
                None => {}
            }
        }
        let mut by_system: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for incident in by_name.into_values() {
            by_system.entry(&incident.spec.system).or_default().push(incident);
        }
        Self(by_system)
    }

    /// The incidents of all systems.
    pub fn all(&self) -> impl Iterator<Item = &RecordedIncident<'a>> {
        self.0.values().flatten()
    }

    /// The incidents of a system, in the order of their names.
    pub fn of(&self, system: &str) -> &[RecordedIncident<'a>] {
        self.0.get(system).map_or(&[], Vec::as_slice)
    }
}

/// A note of an incident.
#[derive(Clone, Debug)]
pub struct RecordedNote<'a> {
    /// The type of the note.
    pub type_: NoteType,
    /// The user who wrote the note. `None` if the user is not known.
    pub by: Option<&'a str>,
    /// The time at which the API server recorded the note.
    pub at: Timestamp,
    /// The names of the deadlines that the note is about.
    pub deadlines: &'a [Text],
}

/// A decision of a person about an incident: to resume a version, or to review the incident.
#[derive(Clone, Debug)]
pub struct IncidentDecision<'a> {
    /// The name of the `Approval`.
    pub name: &'a str,
    /// The person who decided, from the record of the API server or from the signature.
    pub approver: Cow<'a, Approver>,
    /// The role in which the person decided.
    pub role: &'a str,
    /// The subject digest in the decision. A decision to resume lets only this content run again.
    pub subject: &'a Digest,
    /// The time of the decision.
    pub at: Timestamp,
}

impl<'a> IncidentDecision<'a> {
    /// The decision in `approval`, and the incident that `approval` names. `None` if the decision is not about an
    /// incident, or if the person or the time is not known.
    pub fn of(
        approval: &'a impl ApprovalObject,
        roles: &'a ApproverRoles,
    ) -> Option<(&'a RecordReference, Self)> {
        let spec = approval.spec();
        let is_about_incident = matches!(spec.decision, Decision::Resume | Decision::Review);
        let incident = spec.incident.as_ref().filter(|_| is_about_incident)?;
        let decision = Self {
            name: approval.name()?,
            approver: approver_of(approval, roles).ok()?,
            role: &spec.role,
            subject: &spec.subject_digest,
            at: decided_at(approval)?,
        };
        Some((incident, decision))
    }
}

/// The notes or decisions that people must add before a held version may run again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MissingToResume {
    /// Notes of these types are missing.
    Notes(Vec<NoteType>),
    /// Decisions to resume by more people in a role are missing.
    Approvals {
        /// The name of the role.
        role: String,
        /// The number of required people.
        needed: usize,
        /// The number of people whose decisions count.
        have: usize,
    },
    /// Nobody decided to resume the version. A decision in any role is enough, because the level requires no role.
    AnyApproval,
    /// Everybody who decided to resume opened the incident or noted an action. Another person must decide too.
    IndependentPerson,
    /// A tier of the escalation holds the version until a person acknowledges or closes the incident.
    Acknowledgement {
        /// The role that the tier names.
        role: String,
    },
    /// Reviews of the incident are overdue.
    Review {
        /// The name of the role. `None` if any role may review.
        role: Option<String>,
        /// The number of required people.
        needed: usize,
        /// The number of people whose reviews count.
        have: usize,
    },
}

impl fmt::Display for MissingToResume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Notes(types) => {
                let types: Vec<_> = types.iter().map(|type_| type_.words()).collect();
                write!(f, "no note states the {}", types.join(" and the "))
            }
            Self::Approvals { role, needed, have } => {
                write!(f, "awaiting the decision to resume by role {role}: {have} of {needed} given")
            }
            Self::AnyApproval => f.write_str("awaiting the decision to resume, in any role"),
            Self::IndependentPerson => f.write_str(
                "awaiting a decision by a person who neither opened the incident nor noted an action",
            ),
            Self::Acknowledgement { role } => {
                write!(f, "it escalated to role {role}, and nobody acknowledged it")
            }
            Self::Review { role: Some(role), needed, have } => {
                write!(f, "its review by role {role} is overdue: {have} of {needed} given")
            }
            Self::Review { role: None, .. } => f.write_str("its review is overdue, in any role"),
        }
    }
}

/// The first role of `required` with too few people in `counted`, and the number of people who fill this role. `None`
/// if enough people fill each role.
pub(super) fn first_short<'r>(
    required: &'r [RequiredApproval],
    counted: &[&IncidentDecision<'_>],
    level: &RiskLevelSpec,
) -> Option<(&'r RequiredApproval, usize)> {
    let mut people: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for decision in counted {
        people.entry(decision.role).or_default().insert(&decision.approver.user);
    }
    let have = assign_roles(required, &people, level.separation_of_duties);
    required.iter().zip(have).find(|(role, have)| *have < role.count as usize)
}

/// Whether a decision in `role` counts: the role is one of `required`, or `required` is empty.
pub(super) fn requires(required: &[RequiredApproval], role: &str) -> bool {
    required.is_empty() || required.iter().any(|required| required.role == role)
}

/// Whether a root cause, an action and a verification were noted before the decision `resume`.
pub(super) fn is_after_notes(incident: &RecordedIncident<'_>, resume: &IncidentDecision<'_>) -> bool {
    noted_at(incident).is_some_and(|noted_at| resume.at > noted_at)
}

/// The roles that must resume a held version: `incidents.resume` of the level, or its `approvals` if `incidents.resume`
/// is empty.
pub fn required(level: &RiskLevelSpec) -> &[RequiredApproval] {
    match &level.incidents {
        Some(rules) if !rules.resume.is_empty() => &rules.resume,
        _ => &level.approvals,
    }
}

/// The time from which a root cause, an action and a verification are all noted. `None` if one of the three is missing.
fn noted_at(incident: &RecordedIncident<'_>) -> Option<Timestamp> {
    let first = |type_| incident.notes.iter().filter(|note| note.type_ == type_).map(|note| note.at).min();
    let firsts: Option<Vec<_>> = NoteType::BEFORE_RESUME.into_iter().map(first).collect();
    firsts?.into_iter().max()
}
