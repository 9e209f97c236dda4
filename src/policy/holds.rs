//! Finds the incidents that hold a version, and the notes and decisions that are missing before the version may run
//! again.
//!
//! An incident with the effect `Hold` holds the versions that it names, and every version of the system with the same
//! content. If the incident names no version, it holds all versions of the system, except an exempt version. People
//! lift this hold for one content:
//!
//! - Notes state the root cause, an action and a verification.
//! - After these notes, people in the roles of the level decide to resume this content.
//! - At least one of these people neither opened the incident nor noted an action.
//!
//! By a rule of the level, an incident can also begin to hold versions later. There are two cases: the escalation of
//! the incident reaches a tier with the effect `Hold`, or people miss the review of the incident. A hold never ends by
//! itself. Only people lift a hold.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use k8s_openapi::jiff::Timestamp;

use super::{
    IncidentDecision, MissingToResume, RecordedIncident, SubjectDigests,
    effect::{Authors, is_involved},
    escalation::Escalation,
    incident_review,
    incidents::{RecordedNote, first_short, is_after_notes, required, requires},
};
use crate::{
    api::{IncidentEffect, NoteType, Owner, RiskLevelSpec},
    truncate::shorten,
};

/// The maximum number of holds in [`HoldJudgement::holds`].
const HOLDS: usize = 16;

/// The maximum number of names in [`HoldJudgement::held_by`] and in [`HoldJudgement::lifted`].
pub const NAMES: usize = 256;

/// The effect of a decision to resume a version after an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResumeEffect {
    /// The decision counts.
    Counted,
    /// A root cause, an action or a verification was not noted before the decision. A note in the same second is too
    /// late.
    BeforeNotes,
    /// The level separates duties, and the person owns the system, or wrote the version or the system.
    ApproverIsInvolved,
    /// The level does not let this role resume versions.
    RoleNotRequired,
}

impl ResumeEffect {
    /// The stable machine-readable reason, in upper camel case.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Counted => "Counted",
            Self::BeforeNotes => "BeforeNotes",
            Self::ApproverIsInvolved => "ApproverIsInvolved",
            Self::RoleNotRequired => "RoleNotRequired",
        }
    }
}

/// The hold of a version by an incident.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hold {
    /// The name of the `Incident`.
    pub incident: String,
    /// The user who opened the incident, if it is known.
    pub by: Option<String>,
    /// The beginning of the description of the incident, in one line.
    pub why: String,
    /// The notes or decisions that people must add before the version may run again.
    pub missing: MissingToResume,
    /// The time from which the incident holds the version. `None` if the incident holds the version from the creation
    /// of the incident on.
    pub from: Option<Timestamp>,
}

impl Hold {
    /// Whether the incident holds the version at `now`.
    pub fn has_begun(&self, now: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= now)
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "held by incident/{}", self.incident)?;
        self.by.iter().try_for_each(|by| write!(f, " of {by}"))?;
        self.from.iter().try_for_each(|from| write!(f, " since {from}"))?;
        write!(f, ": {}; {}", self.why, self.missing)
    }
}

/// The judged version, with the facts that decide who may resume it.
#[derive(Clone, Copy, Debug)]
pub struct HeldSubject<'a> {
    /// The name of the version.
    pub name: &'a str,
    /// The digests of the content of the version.
    pub digests: &'a SubjectDigests,
    /// The risk level of the system.
    pub level: &'a RiskLevelSpec,
    /// The owners of the system.
    pub owners: &'a [Owner],
    /// The users who wrote the version and the system.
    pub authors: Authors<'a>,
}

/// The effect of incidents on a version.
#[derive(Clone, Debug, Default)]
pub struct HoldJudgement {
    /// The present and future holds, the earliest first, at most [`HOLDS`]. If there are more holds, the later holds
    /// appear after people lift earlier holds.
    pub holds: Vec<Hold>,
    /// The incidents that hold the version, or will hold it from a known time on, by name, each with its
    /// [`Hold::from`]. The map has at most [`NAMES`] incidents.
    pub held_by: BTreeMap<String, Option<Timestamp>>,
    /// The names of the incidents whose hold of the version people lifted, at most [`NAMES`].
    pub lifted: BTreeSet<String>,
    /// The name of an open incident that concerns the version. An incident stays open if only its opener closed it.
    /// `None` if no such incident is open.
    pub open: Option<String>,
    /// The effect of each decision to resume the content of the version, by the name of the `Approval`. A decision has
    /// an entry only if its incident concerns the version and has the effect `Hold`.
    pub resumes: BTreeMap<String, ResumeEffect>,
}

impl HeldSubject<'_> {
    /// The effect of the incidents on the version.
    pub fn judge<'i>(&self, incidents: impl IntoIterator<Item = &'i RecordedIncident<'i>>) -> HoldJudgement {
        let mut judged = HoldJudgement::default();
        let mut holds = Vec::new();
        for incident in incidents.into_iter().filter(|incident| self.is_concerned(incident)) {
            if judged.open.is_none() && incident.closed_at().is_none() {
                judged.open = Some(incident.name.to_owned());
            }
            let at_once = if incident.spec.effect == IncidentEffect::Hold {
                let resumes = incident.resumes.iter().filter(|resume| *resume.subject == self.digests.signed);
                judged.resumes.extend(resumes.map(|r| (r.name.to_owned(), self.effect(incident, r))));
                let missing = self.missing(incident);
                if missing.is_none() && judged.lifted.len() < NAMES {
                    judged.lifted.insert(incident.name.to_owned());
                }
                missing.map(|missing| (None, missing))
            } else {
                None
            };
            let hold = at_once.or_else(|| self.later(incident));
            holds.extend(hold.map(|(from, missing)| (from, incident, missing)));
        }
        holds.sort_by_key(|(from, incident, _)| (*from, incident.name));
        judged.held_by =
            holds.iter().take(NAMES).map(|(from, incident, _)| (incident.name.to_owned(), *from)).collect();
        holds.truncate(HOLDS);
        judged.holds =
            holds.into_iter().map(|(from, incident, missing)| hold(incident, from, missing)).collect();
        judged
    }

    fn is_concerned(&self, incident: &RecordedIncident<'_>) -> bool {
        incident.spec.concerns(self.name, |digest| self.digests.contains(digest))
    }

    /// The first hold that begins after the creation of the incident: from a tier of the escalation, or from a missed
    /// review.
    fn later(&self, incident: &RecordedIncident<'_>) -> Option<(Option<Timestamp>, MissingToResume)> {
        let escalated = Escalation::of(incident, self.level).and_then(|escalation| escalation.hold());
        let unreviewed = incident_review::hold(incident, self.level);
        let (from, missing) = escalated.into_iter().chain(unreviewed).min()?;
        Some((Some(from), missing))
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

    fn missing_people(&self, counted: &[&IncidentDecision<'_>]) -> Option<MissingToResume> {
        let required = required(self.level);
        if required.is_empty() {
            return counted.is_empty().then_some(MissingToResume::AnyApproval);
        }
        let (role, have) = first_short(required, counted, self.level)?;
        Some(MissingToResume::Approvals { role: role.role.clone(), needed: role.count as usize, have })
    }

    /// The effect of `resume`, which is a decision to resume this version after `incident`.
    pub fn effect(&self, incident: &RecordedIncident<'_>, resume: &IncidentDecision<'_>) -> ResumeEffect {
        if !requires(required(self.level), resume.role) {
            ResumeEffect::RoleNotRequired
        } else if !is_after_notes(incident, resume) {
            ResumeEffect::BeforeNotes
        } else if self.level.separation_of_duties && is_involved(self.owners, self.authors, &resume.approver)
        {
            ResumeEffect::ApproverIsInvolved
        } else {
            ResumeEffect::Counted
        }
    }
}

fn hold(incident: &RecordedIncident<'_>, from: Option<Timestamp>, missing: MissingToResume) -> Hold {
    Hold {
        incident: incident.name.to_owned(),
        by: incident.spec.opened_by.as_ref().map(|person| person.user.clone()),
        why: in_one_line(&incident.spec.description),
        missing,
        from,
    }
}

/// The beginning of a description, at most 256 bytes, without line breaks. One message lists several reasons, so a long
/// description must not hide the other reasons.
fn in_one_line(description: &str) -> String {
    shorten(description.split_whitespace().collect::<Vec<_>>().join(" "), 256)
}

/// Whether the person in `resume` neither opened the incident nor noted an action. A note of an action after the
/// decision does not matter.
fn is_independent(incident: &RecordedIncident<'_>, resume: &IncidentDecision<'_>) -> bool {
    let user = &*resume.approver.user;
    let acted = |note: &RecordedNote<'_>| {
        note.type_ == NoteType::Action && note.by == Some(user) && note.at <= resume.at
    };
    !incident.is_opener(user) && !incident.notes.iter().any(acted)
}
