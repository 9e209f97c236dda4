//! Computes the status of an incident, and the next time at which the status of an incident can change.
//!
//! An incident has these conditions:
//!
//! - `Holding`: whether the incident holds versions, and what people must do before these versions may run again.
//! - `Handled`: whether people acknowledged or closed the incident. Until they do, the incident can escalate to further
//!   roles.
//! - `Closed`: whether a person other than the opener closed the incident.
//! - `Reviewed`: whether the review of the incident is complete. Exists only if the risk level requires a review.

use std::collections::BTreeMap;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use super::{
    index::{Cached, CachedIncident, NamespaceFacts},
    judged::Judged,
};
use crate::{
    api::{
        Approval, Condition, DeadlineStatus, EscalationStatus, IncidentEffect, IncidentStatus, NoteType,
        RiskLevelSpec, condition,
    },
    policy::{
        Deadline, Escalation, INCIDENT_NAMES, Incidents, NotSigned, Reason, RecordedIncident, ReviewEffect,
        deadlines, due_review, review_effect,
    },
    truncate::{plain, shorten},
};

/// The maximum number of held versions that a message lists.
const SHOWN_VERSIONS: usize = 16;

/// The reason of the condition `Reviewed` if the review was due and is not complete.
pub const REVIEW_MISSED: &str = "ReviewMissed";

/// The reason of the condition `Handled` if nobody handled the incident in time, and a further role must act.
const ESCALATED: &str = "Escalated";

/// The content of a condition: type, status, reason and message.
type Content = (&'static str, bool, &'static str, String);

pub fn of_incident(
    namespace: &str,
    facts: &NamespaceFacts,
    (cached, incident): (&CachedIncident, &RecordedIncident<'_>),
    judged: &BTreeMap<&str, Judged>,
    now: Timestamp,
) -> IncidentStatus {
    let level = level(facts, incident);
    let escalation = level.and_then(|level| Escalation::of(incident, level));
    let deadlines = deadlines(incident, level, now);
    let (holding, reason, message) = holding(namespace, level, incident, judged);
    let mut contents = vec![
        ("Ready", true, reason, message.clone()),
        ("Holding", holding, reason, message),
        handled(namespace, incident, escalation.as_ref(), now),
        closed(incident),
    ];
    contents.extend(level.and_then(|level| reviewed(namespace, incident, level, now)));
    let before = cached.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let condition = |(type_, status, reason, message): Content| -> Condition {
        let message = shorten(plain(&message).into_owned(), 4096);
        condition(before, (type_, status), reason, message, cached.generation, now)
    };
    IncidentStatus {
        observed_generation: cached.generation,
        conditions: contents.into_iter().map(condition).collect(),
        digest: Some(cached.digest.clone()),
        escalation: escalation.map(|escalation| stated(&escalation, now)),
        next_deadline: deadlines
            .iter()
            .find(|deadline| deadline.is_open())
            .map(|deadline| Time(deadline.due)),
        deadlines: deadlines.iter().map(deadline).collect(),
        review_due: level.and_then(|level| due_review(incident, level)).map(|review| Time(review.due)),
    }
}

/// The next time after `now` at which the status of any incident in `incidents` can change.
pub fn next(facts: &NamespaceFacts, incidents: &Incidents<'_>, now: Timestamp) -> Option<Timestamp> {
    let times = incidents.all().flat_map(|incident| {
        let level = level(facts, incident);
        let tier = level.and_then(|level| Escalation::of(incident, level)?.next(now)).map(|tier| tier.at);
        let review = level.and_then(|level| due_review(incident, level)).map(|review| review.due);
        let deadlines = deadlines(incident, level, now);
        let deadlines = deadlines.into_iter().filter(Deadline::is_open).map(|deadline| deadline.due);
        deadlines.chain(tier).chain(review).collect::<Vec<_>>()
    });
    times.filter(|time| *time > now).min()
}

/// Finds the incident that the decision names. The incident must have the digest and the system that the decision
/// states. Otherwise, returns the reason and message of the decision's condition `Counted`.
pub fn named_incident<'a>(
    approval: &Cached<Approval>,
    facts: &'a NamespaceFacts,
) -> Result<&'a CachedIncident, (&'static str, String)> {
    let (spec, named) = (&approval.spec, approval.spec.incident.as_ref());
    let incident = named.and_then(|named| {
        let incident = facts.incidents.get(&*named.name)?;
        (incident.digest == named.digest && *incident.spec.system == *spec.system).then_some(&**incident)
    });
    incident.ok_or_else(|| {
        let (system, name) = (&spec.system, named.map_or("", |named| &*named.name));
        let message = format!("no Incident of system {system} has the name and digest of the named {name}");
        ("IncidentNotFound", message)
    })
}

/// The reason and message of the condition `Counted` of a decision that reviews an incident.
pub fn review(
    approval: &Cached<Approval>,
    not_signed: Option<&NotSigned>,
    facts: &NamespaceFacts,
    incidents: &Incidents<'_>,
) -> (&'static str, String) {
    if let Some(why) = not_signed {
        let message = format!("{why}; have it signed again: kubectl assent incident review --help");
        return ("SignatureNotValid", message);
    }
    let named = match named_incident(approval, facts) {
        Ok(named) => named,
        Err(missing) => return missing,
    };
    let incident = incidents.of(&named.spec.system).iter().find(|incident| incident.name == named.name);
    let level = incident.and_then(|incident| level(facts, incident));
    let decision = incident.and_then(|incident| incident.reviews.iter().find(|r| r.name == approval.name));
    let Some(((incident, level), decision)) = incident.zip(level).zip(decision) else {
        return (
            "RiskLevelNotFound",
            "the system of the incident, or its risk level, does not exist".to_owned(),
        );
    };
    let effect = review_effect(incident, level, decision);
    let message = match effect {
        ReviewEffect::Counted => format!("it counts as the review of incident/{}", incident.name),
        ReviewEffect::TooEarly => {
            "before this review, people neither resumed a version nor closed the incident: review again"
                .to_owned()
        }
        ReviewEffect::ReviewerIsInvolved => {
            "its reviewer opened the incident, or is the only person who resumed: another person must review"
                .to_owned()
        }
        ReviewEffect::RoleNotRequired => {
            format!("the risk level requires no review of incidents in role {}", approval.spec.role)
        }
    };
    (effect.code(), message)
}

fn level<'a>(facts: &'a NamespaceFacts, incident: &RecordedIncident<'_>) -> Option<&'a RiskLevelSpec> {
    let system = facts.systems.get(&*incident.spec.system)?;
    facts.levels.get(&system.spec.risk_level).map(|level| &level.spec)
}

fn holding(
    namespace: &str,
    level: Option<&RiskLevelSpec>,
    incident: &RecordedIncident<'_>,
    judged: &BTreeMap<&str, Judged>,
) -> (bool, &'static str, String) {
    let (system, name) = (&*incident.spec.system, incident.name);
    let of_system = || judged.iter().filter(|(_, judged)| judged.system == system);
    let holds = |judged: &Judged| judged.held_by.contains(name) || judged.held_by.len() >= INCIDENT_NAMES;
    let versions: Vec<_> = of_system().filter(|(_, judged)| holds(judged)).collect();
    if !versions.is_empty() {
        let each = versions.iter().map(|(version, judged)| match judged.hold_of(name) {
            Some(hold) => {
                let remedy = Reason::Held(hold.clone()).remedy(namespace, system, version);
                format!("{version}: {} ({remedy})", hold.missing)
            }
            None => format!("{version}, which other incidents hold too"),
        });
        let each = each.take(SHOWN_VERSIONS).collect::<Vec<_>>().join("; ");
        (true, "Holding", format!("it holds {each}"))
    } else if incident.spec.effect == IncidentEffect::None {
        (false, "NoEffect", "its effect is None, so it holds no version".to_owned())
    } else if level.is_none() {
        let message =
            format!("system {system} or its risk level does not exist, so no version of the system may run");
        (true, "SubjectNotFound", message)
    } else if of_system().any(|(_, judged)| judged.lifted.contains(name)) {
        (false, "Resumed", "people resumed every version that it held".to_owned())
    } else {
        (false, "VersionNotFound", format!("system {system} has no version that it holds"))
    }
}

fn handled(
    namespace: &str,
    incident: &RecordedIncident<'_>,
    escalation: Option<&Escalation<'_>>,
    now: Timestamp,
) -> Content {
    if let Some(note) = incident.handled() {
        let by = note.by.unwrap_or_default();
        return if note.type_ == NoteType::Closing {
            ("Handled", true, "Closed", format!("{by} closed it at {}", note.at))
        } else {
            ("Handled", true, "Acknowledged", format!("{by} acknowledged it at {}", note.at))
        };
    }
    let next = escalation.and_then(|escalation| escalation.next(now));
    let next = next.map(|tier| format!("; role {} is next at {}", tier.role, tier.at)).unwrap_or_default();
    let command = format!("(kubectl assent incident acknowledge {} -n {namespace})", incident.name);
    match escalation.and_then(|escalation| escalation.reached(now)) {
        Some(tier) => {
            let since = format!("role {} must handle it since {}", tier.role, tier.at);
            ("Handled", false, ESCALATED, format!("nobody acknowledged it, so {since}{next} {command}"))
        }
        None => ("Handled", false, "Unacknowledged", format!("nobody acknowledged it{next} {command}")),
    }
}

fn closed(incident: &RecordedIncident<'_>) -> Content {
    let noted = incident.notes.iter().any(|note| note.type_ == NoteType::Closing);
    match incident.closed_at() {
        Some(at) => ("Closed", true, "Closed", format!("people closed it at {at}")),
        None if noted => {
            let message = "only its opener closed it, so another person must close it too".to_owned();
            ("Closed", false, "ClosedByOpener", message)
        }
        None => ("Closed", false, "Open", "nobody closed it".to_owned()),
    }
}

fn reviewed(
    namespace: &str,
    incident: &RecordedIncident<'_>,
    level: &RiskLevelSpec,
    now: Timestamp,
) -> Option<Content> {
    let review = due_review(incident, level)?;
    let command = format!("kubectl assent incident review {} -n {namespace}", incident.name);
    Some(match review.missing {
        None => ("Reviewed", true, "Reviewed", "its review is complete".to_owned()),
        Some(_) if review.due > now => {
            ("Reviewed", false, "ReviewDue", format!("its review is due at {} ({command})", review.due))
        }
        Some(missing) => {
            ("Reviewed", false, REVIEW_MISSED, format!("{missing}, since {} ({command})", review.due))
        }
    })
}

fn stated(escalation: &Escalation<'_>, now: Timestamp) -> EscalationStatus {
    let (reached, next) = (escalation.reached(now), escalation.next(now));
    EscalationStatus {
        tier: reached.map_or(0, |tier| tier.number),
        role: reached.map(|tier| tier.role.to_owned()),
        since: reached.map(|tier| Time(tier.at)),
        next_role: next.map(|tier| tier.role.to_owned()),
        next_at: next.map(|tier| Time(tier.at)),
    }
}

fn deadline(deadline: &Deadline<'_>) -> DeadlineStatus {
    DeadlineStatus {
        name: deadline.name.into(),
        reference: deadline.reference.into(),
        due: Time(deadline.due),
        state: deadline.state,
        settled_at: deadline.settled_at.map(Time),
    }
}
