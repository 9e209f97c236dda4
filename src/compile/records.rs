//! Joins the assessments, certifications, incidents and overrides of a namespace with the decisions about them. Also
//! joins the monitors with the requirements of the risk levels.
//!
//! The verdict of each version and the statuses use these records.

use std::collections::BTreeMap;

use super::{
    index::{Cached, CachedAssessment, CachedMonitor, NamespaceFacts},
    overrides::{self, JudgedOverrides},
};
use crate::{
    api::{AISystem, Digest, OnBreach},
    policy::{
        Attestations, Incidents, MissingMonitor, Overrides, RecordedAssessment, RecordedMonitor,
        SignedCertifications, counted_monitors, missing_monitors,
    },
};

/// The maximum number of unsigned assessments that count for one subject digest. Any user who may deploy can record
/// assessments. Unsigned assessments never decide a verdict, so the newest of them are enough.
pub const UNSIGNED: usize = 64;

/// The assessments of a namespace by subject digest, each with the decisions that sign it.
pub struct Evidence<'a>(BTreeMap<&'a Digest, Vec<RecordedAssessment<'a>>>);

impl<'a> Evidence<'a> {
    fn new(facts: &'a NamespaceFacts) -> Self {
        let attestations = Attestations::new(facts.approvals.values().map(AsRef::as_ref), &facts.roles);
        let mut newest_first: Vec<_> = facts.assessments.iter().collect();
        newest_first.sort_by_key(|(_, assessment)| std::cmp::Reverse(assessment.spec.performed_at.0));
        let mut by_subject: BTreeMap<&Digest, Vec<RecordedAssessment<'a>>> = BTreeMap::new();
        for (name, assessment) in newest_first {
            let CachedAssessment { spec, digest, created: Some(created), .. } = &**assessment else {
                continue;
            };
            let recorded = RecordedAssessment::new(name, spec, digest, *created, &attestations);
            let of_subject = by_subject.entry(&spec.subject_digest).or_default();
            let unsigned = || of_subject.iter().filter(|other| other.attestations.is_empty()).count();
            if !recorded.attestations.is_empty() || unsigned() < UNSIGNED {
                of_subject.push(recorded);
            }
        }
        Self(by_subject)
    }

    /// The assessments of one subject digest. The digest covers the name of the system, so all these assessments are
    /// about the same system.
    pub fn of(&self, subject: Option<&Digest>) -> Vec<RecordedAssessment<'a>> {
        subject.and_then(|subject| self.0.get(subject)).cloned().unwrap_or_default()
    }
}

/// The signed certifications, by the name of the system.
pub type Certified<'a> = BTreeMap<&'a str, SignedCertifications>;

/// Verifies each certification only once, although a system can have many versions.
fn certified(facts: &NamespaceFacts) -> Certified<'_> {
    let signed = |system: &Cached<AISystem>| {
        let level = facts.levels.get(&system.spec.risk_level).map(|level| &level.spec);
        SignedCertifications::of(&system.spec, level, &facts.roles)
    };
    facts.systems.iter().map(|(name, system)| (&**name, signed(system))).collect()
}

/// The monitors that a risk level requires and that are missing, by the name of the system.
pub type Unmonitored<'a> = BTreeMap<&'a str, Vec<MissingMonitor>>;

fn unmonitored(facts: &NamespaceFacts) -> Unmonitored<'_> {
    let mut of_system: BTreeMap<&str, Vec<RecordedMonitor<'_>>> = BTreeMap::new();
    let holds = |monitor: &CachedMonitor| monitor.spec.on_breach == OnBreach::Hold;
    let holding = facts.monitors.iter().filter(|(_, monitor)| holds(monitor));
    let others = facts.monitors.iter().filter(|(_, monitor)| !holds(monitor));
    for (name, monitor) in counted_monitors(holding, others) {
        let recorded = RecordedMonitor { name, spec: &monitor.spec, measured: monitor.measured.as_ref() };
        of_system.entry(&monitor.spec.system).or_default().push(recorded);
    }
    let missing = |system: &Cached<AISystem>| {
        let level = facts.levels.get(&system.spec.risk_level)?;
        let monitors = of_system.get(&*system.name).into_iter().flatten().copied();
        Some(missing_monitors(&level.spec, monitors))
    };
    facts.systems.iter().filter_map(|(name, system)| Some((&**name, missing(system)?))).collect()
}

pub struct Records<'a> {
    pub evidence: Evidence<'a>,
    pub certified: Certified<'a>,
    pub incidents: Incidents<'a>,
    pub overrides: JudgedOverrides<'a>,
    pub unmonitored: Unmonitored<'a>,
}

impl<'a> Records<'a> {
    pub fn new(facts: &'a NamespaceFacts, overrides: &'a Overrides<'a>) -> Self {
        Self {
            evidence: Evidence::new(facts),
            certified: certified(facts),
            incidents: incidents(facts),
            overrides: overrides::judged(facts, overrides),
            unmonitored: unmonitored(facts),
        }
    }
}

fn incidents(facts: &NamespaceFacts) -> Incidents<'_> {
    let incidents = facts.incidents.values().filter_map(|incident| {
        Some(((&*incident.name, incident.created?), &incident.spec, incident.digest.clone()))
    });
    let notes = facts.notes.values().filter_map(|note| Some((&note.spec, note.created?)));
    Incidents::new(incidents, notes, facts.approvals.values().map(AsRef::as_ref), &facts.roles)
}
