//! The escalation of an incident that nobody acknowledges.
//!
//! The risk level lists tiers. Each tier has a role and a time after the creation of the incident. At this time, the
//! incident reaches the tier, and people in the role must handle the incident. A tier with the effect `Hold` also holds
//! versions from this time on. An acknowledgement or a closing of the incident ends the escalation and this hold.

use k8s_openapi::jiff::Timestamp;

use super::{MissingToResume, RecordedIncident, effect::whole_seconds};
use crate::api::{EscalationTier, IncidentEffect, RiskLevelSpec};

/// The tiers of an incident that nobody acknowledged or closed, the earliest first.
#[derive(Clone, Debug)]
pub struct Escalation<'a> {
    tiers: Vec<(Timestamp, &'a EscalationTier)>,
    effect: IncidentEffect,
}

/// A tier is one step of the escalation of an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tier<'a> {
    /// The number of the tier, from 1.
    pub number: u32,
    /// The role that must handle the incident from this tier on.
    pub role: &'a str,
    /// The time at which the incident reaches the tier.
    pub at: Timestamp,
}

impl<'a> Escalation<'a> {
    /// The escalation of the incident by the rules of the level. `None` if the level has no tiers, or if a person
    /// acknowledged or closed the incident.
    pub fn of(incident: &RecordedIncident<'_>, level: &'a RiskLevelSpec) -> Option<Self> {
        let rules = level.incidents.as_ref().filter(|rules| !rules.escalation.is_empty())?;
        if incident.handled().is_some() {
            return None;
        }
        let timed = |tier: &'a EscalationTier| (whole_seconds(tier.reached_at(incident.at)), tier);
        let mut tiers: Vec<_> = rules.escalation.iter().map(timed).collect();
        tiers.sort_by_key(|(at, tier)| (*at, &tier.role));
        Some(Self { tiers, effect: incident.spec.effect })
    }

    /// The last tier that the incident reached at `now`. `None` if the incident reached no tier.
    pub fn reached(&self, now: Timestamp) -> Option<Tier<'a>> {
        self.numbered().take_while(|tier| tier.at <= now).last()
    }

    /// The next tier after `now`.
    pub fn next(&self, now: Timestamp) -> Option<Tier<'a>> {
        self.numbered().find(|tier| tier.at > now)
    }

    /// The time of the first tier that holds versions, and the missing acknowledgement. `None` if no tier holds
    /// versions. `None` also if the incident itself has the effect `Hold`. An acknowledgement is then not enough:
    /// people must resume the versions.
    pub(super) fn hold(&self) -> Option<(Timestamp, MissingToResume)> {
        let (at, tier) = self.tiers.iter().find(|(_, tier)| tier.effect == IncidentEffect::Hold)?;
        let missing = MissingToResume::Acknowledgement { role: tier.role.clone() };
        (self.effect == IncidentEffect::None).then_some((*at, missing))
    }

    fn numbered(&self) -> impl Iterator<Item = Tier<'a>> {
        (1..).zip(&self.tiers).map(|(number, (at, tier))| Tier { number, role: &tier.role, at: *at })
    }
}
