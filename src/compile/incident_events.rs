//! Computes the Events and gauges about incidents. An Event reports a change from the stored status to the new status:
//!
//! - a new incident: `Paused` with the effect `Hold`, or else `IncidentOpened`
//! - the next tier of the escalation: `IncidentEscalated`
//! - a missed deadline: `DeadlineMissed`
//! - a missed review: `ReviewMissed`

use kube::runtime::events::{Event, EventType};

use super::{
    incident_status::REVIEW_MISSED,
    index::{CachedIncident, NamespaceFacts},
    objections::Announcement,
    status::Statuses,
};
use crate::{
    api::{ConditionState, IncidentEffect, IncidentStatus, condition_states},
    metrics::{DeadlineLabels, EscalationLabels, IncidentGauges, IncidentLabels},
    truncate::{note, plain},
};

/// The maximum number of Events about incidents in one compile. Any user who may deploy can also open incidents.
/// Without this limit, such a user could cause a flood of Events.
const AT_ONCE: usize = 16;

/// The maximum number of series of each gauge about the incidents of one namespace.
const GAUGES: usize = 64;

/// The warning in the Event about a hold. A hold stops pods, and the logs of a stopped pod can be lost.
const SAVE_LOGS: &str =
    "save the logs before the pods end, because authorities may need them (EU AI Act article 73(6))";

struct Told<'a> {
    namespace: &'a str,
    incident: &'a CachedIncident,
    /// The new status. `incident` has the stored status.
    status: &'a IncidentStatus,
}

/// The Events about the differences between the stored statuses and `statuses`, at most [`AT_ONCE`].
pub fn begun(namespace: &str, facts: &NamespaceFacts, statuses: &Statuses) -> Vec<Announcement> {
    let mut events: Vec<_> = told(namespace, facts, statuses)
        .flat_map(|told| told.events().map(move |event| (told.rank(), event, told.incident)))
        .collect();
    // Incidents with a hold come first. So a flood of other incidents cannot displace the Events about holds.
    events.sort_by_key(|(rank, ..)| *rank);
    events.truncate(AT_ONCE);
    let announcement = |(_, (reason, action, text), incident): (_, (&str, &str, String), &CachedIncident)| {
        let system = facts.systems.get(&*incident.spec.system)?.reference(namespace);
        let own = incident.reference(namespace);
        let (about, secondary) = if reason == "IncidentEscalated" {
            (vec![system.clone(), own.clone()], own)
        } else {
            (vec![system], own)
        };
        let (type_, reason, action) = (EventType::Warning, reason.to_owned(), action.to_owned());
        Some(Announcement {
            event: Event { type_, reason, action, note: Some(text), secondary: Some(secondary) },
            about,
        })
    };
    events.into_iter().filter_map(announcement).collect()
}

/// The gauges of escalations, open deadlines, incomplete reviews and open incidents. Each gauge has at most [`GAUGES`]
/// series.
pub fn gauges(namespace: &str, facts: &NamespaceFacts, statuses: &Statuses) -> IncidentGauges {
    let mut gauges = IncidentGauges::default();
    let mut told: Vec<_> = told(namespace, facts, statuses).collect();
    told.sort_by_key(Told::rank);
    for told in told {
        told.add_to(&mut gauges);
    }
    gauges
}

fn told<'a>(
    namespace: &'a str,
    facts: &'a NamespaceFacts,
    statuses: &'a Statuses,
) -> impl Iterator<Item = Told<'a>> {
    statuses.incidents.iter().filter_map(move |(name, status)| {
        Some(Told { namespace, incident: facts.incidents.get(name)?, status })
    })
}

impl<'a> Told<'a> {
    /// The reason, action and text of each Event about the incident.
    fn events(&self) -> impl Iterator<Item = (&'static str, &'static str, String)> + use<'a> {
        let stored = self.incident.status.as_ref();
        let (tier, missed) = stored.map_or((0, 0), |stored| (stored.tier, stored.missed));
        let opened = stored.is_none().then(|| self.opened());
        let escalated = (self.status.tier() > tier)
            .then(|| ("IncidentEscalated", "Acknowledge", self.text(self.message("Handled"), "")));
        let deadline =
            self.status.missed().last().filter(|_| self.status.missed().count() > missed).map(|missed| {
                let text = format!(
                    "deadline {} ({}) passed at {} without a note",
                    missed.name, missed.reference, missed.due.0
                );
                ("DeadlineMissed", "Report", self.text(&text, &self.show()))
            });
        let overdue = |conditions: &[ConditionState]| conditions.iter().any(|c| c.reason == REVIEW_MISSED);
        let review = overdue(&condition_states(&self.status.conditions))
            && !stored.is_some_and(|stored| overdue(&stored.conditions));
        let review = review.then(|| (REVIEW_MISSED, "Review", self.text(self.message("Reviewed"), "")));
        [opened, escalated, deadline, review].into_iter().flatten()
    }

    fn opened(&self) -> (&'static str, &'static str, String) {
        let state = self.message("Holding");
        match self.incident.spec.effect {
            IncidentEffect::Hold => {
                let text = format!("{state}; {SAVE_LOGS}");
                ("Paused", "Hold", self.text(&text, &self.show()))
            }
            IncidentEffect::None => ("IncidentOpened", "Open", self.text(state, &self.show())),
        }
    }

    fn message(&self, type_: &str) -> &'a str {
        let condition = self.status.conditions.iter().find(|condition| condition.type_ == *type_);
        condition.map_or("", |condition| &condition.message)
    }

    fn text(&self, state: &str, next: &str) -> String {
        let text = format!("incident/{}: {}; {state}", self.incident.name, self.incident.spec.description);
        note(plain(&text).into_owned(), next)
    }

    fn show(&self) -> String {
        format!("; see: kubectl assent incident show {} -n {}", self.incident.name, self.namespace)
    }

    /// The sort key: incidents with the effect `Hold` come first. Among equal effects, the highest tier comes first.
    fn rank(&self) -> (bool, std::cmp::Reverse<u32>) {
        (self.incident.spec.effect == IncidentEffect::None, std::cmp::Reverse(self.status.tier()))
    }

    fn add_to(&self, gauges: &mut IncidentGauges) {
        let of = || IncidentLabels {
            namespace: self.namespace.to_owned(),
            system: self.incident.spec.system.to_string(),
            incident: self.incident.name.clone(),
        };
        let escalation = self.status.escalation.as_ref();
        let role = escalation.and_then(|escalation| escalation.role.clone());
        if let Some(role) = role.filter(|_| gauges.tiers.len() < GAUGES) {
            gauges.tiers.insert(EscalationLabels::of(of(), role), self.status.tier());
        }
        for deadline in self.status.deadlines.iter().filter(|deadline| deadline.settled_at.is_none()) {
            if gauges.deadlines.len() < GAUGES {
                let labels = DeadlineLabels::of(of(), deadline.name.to_string());
                gauges.deadlines.insert(labels, deadline.due.0);
            }
        }
        let complete = self.status.conditions.iter().any(|c| c.type_ == *"Reviewed" && c.status == *"True");
        let due = self.status.review_due.as_ref().filter(|_| !complete && gauges.reviews.len() < GAUGES);
        if let Some(due) = due {
            gauges.reviews.insert(of(), due.0);
        }
        let closed = self.status.conditions.iter().any(|c| c.type_ == *"Closed" && c.status == *"True");
        gauges.open += usize::from(!closed);
    }
}
