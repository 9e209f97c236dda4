//! Finds the incidents that hold a version, and the notes and decisions that are missing to resume it.
//!
//! ```text
//!  Incident (Hold) ── names the version, its content or the whole system ──► Hold
//!  IncidentNotes ──── root cause, action and verification exist ─────┐
//!  Approvals (Resume) after these notes, in the roles of the level, ─┴─► no Hold for this subject digest
//!                     one by a person who is not involved
//! ```
//!
//! A hold has no end. Only people lift it.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use k8s_openapi::jiff::Timestamp;

use super::{
    ApprovalObject, ApproverRoles, SubjectDigests, approver_of, decided_at,
    effect::{Authors, is_involved},
    roles::assign_roles,
};
use crate::{
    api::{
        Approver, Decision, Digest, IncidentNoteSpec, IncidentSpec, NoteType, Owner, RecordReference,
        RequiredApproval, RiskLevelSpec,
    },
    truncate::shorten,
};

/// The maximum number of holds among the reasons of a version.
const HOLDS: usize = 16;

/// The maximum number of incident names for a version.
pub const NAMES: usize = 256;

/// An incident of the system of the judged version.
#[derive(Clone, Debug)]
pub struct RecordedIncident<'a> {
    /// The name of the `Incident`.
    pub name: &'a str,
    /// The time at which the API server recorded the incident. Notes and decisions from before it do not count.
    pub at: Timestamp,
    /// The content of the incident.
    pub spec: &'a IncidentSpec,
    /// The digest of the content, which a decision to resume must name.
    pub digest: Digest,
    /// The notes of the incident.
    pub notes: Vec<RecordedNote<'a>>,
    /// The decisions to resume that name the incident with its digest.
    pub resumes: Vec<Resume<'a>>,
}

/// The incidents of a namespace, by the name of the system.
#[derive(Clone, Debug, Default)]
pub struct Incidents<'a>(BTreeMap<&'a str, Vec<RecordedIncident<'a>>>);

impl<'a> Incidents<'a> {
    /// Joins incidents with their notes, and with the verified decisions to resume. `incidents` are names with
    /// creation times, contents and digests. `notes` are contents and creation times.
    pub fn new<A: ApprovalObject + 'a>(
        incidents: impl IntoIterator<Item = ((&'a str, Timestamp), &'a IncidentSpec, Digest)>,
        notes: impl IntoIterator<Item = (&'a IncidentNoteSpec, Timestamp)>,
        approvals: impl IntoIterator<Item = &'a A>,
        roles: &'a ApproverRoles,
    ) -> Self {
        let recorded = |((name, at), spec, digest): ((&'a str, Timestamp), &'a IncidentSpec, Digest)| {
            (name, RecordedIncident { name, at, spec, digest, notes: Vec::new(), resumes: Vec::new() })
        };
        let mut by_name: BTreeMap<&str, RecordedIncident<'a>> = incidents.into_iter().map(recorded).collect();
        for (note, at) in notes {
            let by = note.by.as_ref().map(|person| &*person.user);
            if let Some(incident) = by_name.get_mut(&*note.incident).filter(|incident| incident.at <= at) {
                incident.notes.push(RecordedNote { type_: note.type_, by, at });
            }
        }
        for approval in approvals {
            let Some((resumed, resume)) = Resume::of(approval, roles) else { continue };
            let incident = by_name.get_mut(&*resumed.name).filter(|incident| {
                incident.digest == resumed.digest && *incident.spec.system == *approval.spec().system
            });
            if let Some(incident) = incident {
                incident.resumes.push(resume);
            }
        }
        let mut by_system: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for incident in by_name.into_values() {
            by_system.entry(&incident.spec.system).or_default().push(incident);
        }
        Self(by_system)
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
    /// The user who wrote the note, if it is known.
    pub by: Option<&'a str>,
    /// The time at which the API server recorded the note.
    pub at: Timestamp,
}

/// A decision of a person to resume a subject.
#[derive(Clone, Debug)]
pub struct Resume<'a> {
    /// The name of the `Approval`.
    pub name: &'a str,
    /// The person, from the record of the API server or from the signature.
    pub approver: Cow<'a, Approver>,
    /// The role in which the person decided.
    pub role: &'a str,
    /// The subject that may run again.
    pub subject: &'a Digest,
    /// The time of the decision.
    pub at: Timestamp,
}

impl<'a> Resume<'a> {
    /// The decision in `approval`, with the incident that it names. `None` if it is another decision, or if the person
    /// or the time is not known.
    pub fn of(
        approval: &'a impl ApprovalObject,
        roles: &'a ApproverRoles,
    ) -> Option<(&'a RecordReference, Self)> {
        let spec = approval.spec();
        let incident = spec.incident.as_ref().filter(|_| spec.decision == Decision::Resume)?;
        let resume = Self {
            name: approval.name()?,
            approver: approver_of(approval, roles).ok()?,
            role: &spec.role,
            subject: &spec.subject_digest,
            at: decided_at(approval)?,
        };
        Some((incident, resume))
    }
}

/// The effect of a decision to resume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResumeEffect {
    /// The decision counts.
    Counted,
    /// A root cause, an action or a verification was noted only after the decision, or not at all.
    BeforeNotes,
    /// The level separates duties, and the person owns the system, or wrote the version or the system.
    ApproverIsInvolved,
    /// The level does not name the role.
    RoleNotRequired,
}

impl ResumeEffect {
    /// The stable word for programs, in upper camel case.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Counted => "Counted",
            Self::BeforeNotes => "BeforeNotes",
            Self::ApproverIsInvolved => "ApproverIsInvolved",
            Self::RoleNotRequired => "RoleNotRequired",
        }
    }
}

/// A version that an incident holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hold {
    /// The name of the `Incident`.
    pub incident: String,
    /// The user who opened the incident, if it is known.
    pub by: Option<String>,
    /// The description of the incident.
    pub why: String,
    /// The note or decision that must come before the version may run again.
    pub missing: MissingToResume,
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "held by incident/{}", self.incident)?;
        self.by.iter().try_for_each(|by| write!(f, " of {by}"))?;
        write!(f, ": {}; {}", self.why, self.missing)
    }
}

/// The note or decision that must come before a held version may run again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MissingToResume {
    /// Notes of these types.
    Notes(Vec<NoteType>),
    /// Decisions to resume in a role.
    Approvals {
        /// The name of the role.
        role: String,
        /// The number of required people.
        needed: usize,
        /// The number of people whose decisions count.
        have: usize,
    },
    /// A decision in any role, because the level requires no role.
    AnyApproval,
    /// A decision by a person who neither opened the incident nor wrote an action.
    IndependentPerson,
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
        }
    }
}

/// The version that is judged, with the people who must not resume it alone.
#[derive(Clone, Copy, Debug)]
pub struct HeldSubject<'a> {
    /// The name of the version.
    pub name: &'a str,
    /// The digests of its content.
    pub digests: &'a SubjectDigests,
    /// The level of its system.
    pub level: &'a RiskLevelSpec,
    /// The owners of its system.
    pub owners: &'a [Owner],
    /// The users who wrote the version and the system.
    pub authors: Authors<'a>,
}

/// The effect of incidents on a version.
#[derive(Clone, Debug, Default)]
pub struct HoldJudgement {
    /// The holds, in the order of the incident names, at most [`HOLDS`]. The other incidents hold the version too, and
    /// appear after people resumed these.
    pub holds: Vec<Hold>,
    /// The names of the incidents that hold the version, at most [`NAMES`].
    pub held_by: BTreeSet<String>,
    /// The names of the incidents whose hold people lifted, at most [`NAMES`].
    pub lifted: BTreeSet<String>,
    /// The effect of each decision to resume this content, by the name of the `Approval`. A decision about an incident
    /// that does not concern the version has no effect.
    pub resumes: BTreeMap<String, ResumeEffect>,
}

impl HeldSubject<'_> {
    /// The effect of the incidents on the version.
    pub fn judge<'i>(&self, incidents: impl IntoIterator<Item = &'i RecordedIncident<'i>>) -> HoldJudgement {
        let mut judged = HoldJudgement::default();
        for incident in incidents.into_iter().filter(|incident| self.is_concerned(incident)) {
            let resumes = incident.resumes.iter().filter(|resume| *resume.subject == self.digests.signed);
            judged.resumes.extend(resumes.map(|r| (r.name.to_owned(), self.effect(incident, r))));
            let missing = self.missing(incident);
            let names = if missing.is_some() { &mut judged.held_by } else { &mut judged.lifted };
            if names.len() < NAMES {
                names.insert(incident.name.to_owned());
            }
            let hold = missing.map(|missing| hold(incident, missing));
            judged.holds.extend(hold.filter(|_| judged.holds.len() < HOLDS));
        }
        judged
    }

    /// Whether the incident holds the version, or held it before people resumed it.
    fn is_concerned(&self, incident: &RecordedIncident<'_>) -> bool {
        incident.spec.holds(self.name, |digest| self.digests.contains(digest))
    }

    fn missing(&self, incident: &RecordedIncident<'_>) -> Option<MissingToResume> {
        let noted = |type_: &NoteType| incident.notes.iter().any(|note| note.type_ == *type_);
        let unnoted: Vec<_> = NoteType::BEFORE_RESUME.into_iter().filter(|type_| !noted(type_)).collect();
        if !unnoted.is_empty() {
            return Some(MissingToResume::Notes(unnoted));
        }
        let resumes = incident.resumes.iter().filter(|resume| *resume.subject == self.digests.signed);
        let counted: Vec<_> =
            resumes.filter(|resume| self.effect(incident, resume) == ResumeEffect::Counted).collect();
        self.missing_people(&counted).or_else(|| {
            (!counted.iter().any(|r| is_independent(incident, r)))
                .then_some(MissingToResume::IndependentPerson)
        })
    }

    /// The first role without enough people.
    fn missing_people(&self, counted: &[&Resume<'_>]) -> Option<MissingToResume> {
        let required = required(self.level);
        if required.is_empty() {
            return counted.is_empty().then_some(MissingToResume::AnyApproval);
        }
        let mut people: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for resume in counted {
            people.entry(resume.role).or_default().insert(&resume.approver.user);
        }
        let have = assign_roles(required, &people, self.level.separation_of_duties);
        let mut short = required.iter().zip(have).filter(|(role, have)| *have < role.count as usize);
        short.next().map(|(role, have)| MissingToResume::Approvals {
            role: role.role.clone(),
            needed: role.count as usize,
            have,
        })
    }

    /// The effect of a decision to resume this version.
    pub fn effect(&self, incident: &RecordedIncident<'_>, resume: &Resume<'_>) -> ResumeEffect {
        let required = required(self.level);
        let is_required = required.is_empty() || required.iter().any(|role| role.role == resume.role);
        if !is_required {
            ResumeEffect::RoleNotRequired
        } else if noted_at(incident).is_none_or(|noted_at| resume.at <= noted_at) {
            ResumeEffect::BeforeNotes
        } else if self.level.separation_of_duties && is_involved(self.owners, self.authors, &resume.approver)
        {
            ResumeEffect::ApproverIsInvolved
        } else {
            ResumeEffect::Counted
        }
    }
}

fn hold(incident: &RecordedIncident<'_>, missing: MissingToResume) -> Hold {
    Hold {
        incident: incident.name.to_owned(),
        by: incident.spec.opened_by.as_ref().map(|person| person.user.clone()),
        why: in_one_line(&incident.spec.description),
        missing,
    }
}

/// The roles that must resume a held version: `incidents.resume` of the level, or its approvals.
pub fn required(level: &RiskLevelSpec) -> &[RequiredApproval] {
    match &level.incidents {
        Some(rules) if !rules.resume.is_empty() => &rules.resume,
        _ => &level.approvals,
    }
}

/// The time from which a root cause, an action and a verification are noted.
fn noted_at(incident: &RecordedIncident<'_>) -> Option<Timestamp> {
    let first = |type_| incident.notes.iter().filter(|note| note.type_ == type_).map(|note| note.at).min();
    let firsts: Option<Vec<_>> = NoteType::BEFORE_RESUME.into_iter().map(first).collect();
    firsts?.into_iter().max()
}

/// The beginning of a description, without line breaks. The text is part of each reason, so it must not hide the others.
fn in_one_line(description: &str) -> String {
    shorten(description.split_whitespace().collect::<Vec<_>>().join(" "), 256)
}

/// Whether the person neither opened the incident nor noted an action before the decision. An action that the person
/// notes later does not take the decision back.
fn is_independent(incident: &RecordedIncident<'_>, resume: &Resume<'_>) -> bool {
    let user = &*resume.approver.user;
    let opened = incident.spec.opened_by.as_ref().is_some_and(|person| person.user == user);
    let acted = |note: &RecordedNote<'_>| {
        note.type_ == NoteType::Action && note.by == Some(user) && note.at <= resume.at
    };
    !opened && !incident.notes.iter().any(acted)
}
