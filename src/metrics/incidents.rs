//! The gauges of incidents. Each compile of a namespace replaces the gauges of this namespace.

use std::{
    collections::BTreeMap,
    hash::Hash,
    sync::{Mutex, atomic::AtomicU64},
};

use k8s_openapi::jiff::Timestamp;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use super::NamespaceLabel;
use crate::lock::lock;

/// The labels of the gauges of one incident.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub struct IncidentLabels {
    /// The namespace that contains the incident and its system.
    pub namespace: String,
    /// The name of the system that the incident affects.
    pub system: String,
    /// The name of the `Incident` object.
    pub incident: String,
}

/// The labels of the gauge of an escalation tier.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub struct EscalationLabels {
    namespace: String,
    system: String,
    incident: String,
    /// The role that must handle the incident.
    role: String,
}

impl EscalationLabels {
    /// The labels of `incident` at a tier with this role.
    pub fn of(incident: IncidentLabels, role: String) -> Self {
        let IncidentLabels { namespace, system, incident } = incident;
        Self { namespace, system, incident, role }
    }
}

/// The labels of the gauge of a deadline.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub struct DeadlineLabels {
    namespace: String,
    system: String,
    incident: String,
    deadline: String,
}

impl DeadlineLabels {
    /// The labels of a deadline of `incident`.
    pub fn of(incident: IncidentLabels, deadline: String) -> Self {
        let IncidentLabels { namespace, system, incident } = incident;
        Self { namespace, system, incident, deadline }
    }
}

/// The values of the gauges of one namespace.
#[derive(Clone, Debug, Default)]
pub struct IncidentGauges {
    /// The tiers of incidents that nobody acknowledged.
    pub tiers: BTreeMap<EscalationLabels, u32>,
    /// The due times of deadlines that no note settles.
    pub deadlines: BTreeMap<DeadlineLabels, Timestamp>,
    /// The due times of reviews that are not complete.
    pub reviews: BTreeMap<IncidentLabels, Timestamp>,
    /// The number of incidents that are not closed.
    pub open: usize,
}

type Times = Gauge<f64, AtomicU64>;

/// The gauges of the incidents of all namespaces.
#[derive(Debug, Default)]
pub struct IncidentMetrics {
    tiers: Family<EscalationLabels, Gauge>,
    deadlines: Family<DeadlineLabels, Times>,
    reviews: Family<IncidentLabels, Times>,
    open: Family<NamespaceLabel, Gauge>,
    /// For each namespace with tiers, deadlines or reviews: the current values of the gauges.
    now: Mutex<BTreeMap<String, IncidentGauges>>,
}

impl IncidentMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "incident_escalation_tier",
            "Tier of an incident that nobody acknowledged, with the role that must handle it",
            self.tiers.clone(),
        );
        registry.register_with_unit(
            "incident_deadline_timestamp",
            "End of a deadline of an incident that no note settles",
            Unit::Seconds,
            self.deadlines.clone(),
        );
        registry.register_with_unit(
            "incident_review_due_timestamp",
            "Time at which the review of an incident is due. Absent after the review is complete",
            Unit::Seconds,
            self.reviews.clone(),
        );
        registry.register("incidents_open", "Incidents that people did not close", self.open.clone());
    }

    /// Replaces the gauges of `namespace`.
    #[allow(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
    pub fn set(&self, namespace: &str, wanted: IncidentGauges) {
        let mut now = lock(&self.now);
        let before = now.remove(namespace).unwrap_or_default();
        let seconds = |time: &Timestamp| time.as_second() as f64;
        replace(&self.tiers, &before.tiers, &wanted.tiers, |gauge, tier| {
            gauge.set(i64::from(*tier));
        });
        replace(&self.deadlines, &before.deadlines, &wanted.deadlines, |gauge, due| {
            gauge.set(seconds(due));
        });
        replace(&self.reviews, &before.reviews, &wanted.reviews, |gauge, due| {
            gauge.set(seconds(due));
        });
        let label = NamespaceLabel { namespace: namespace.to_owned() };
        if wanted.open == 0 {
            self.open.remove(&label);
        } else {
            self.open.get_or_create(&label).set(i64::try_from(wanted.open).unwrap_or(i64::MAX));
        }
        // The values in `now` serve only to remove old tiers, deadlines and reviews, so `open` does not matter here.
        let is_empty = wanted.tiers.is_empty() && wanted.deadlines.is_empty() && wanted.reviews.is_empty();
        if !is_empty {
            now.insert(namespace.to_owned(), wanted);
        }
    }
}

fn replace<L: Clone + Ord + Hash, G: Clone + Default, V>(
    family: &Family<L, G>,
    before: &BTreeMap<L, V>,
    wanted: &BTreeMap<L, V>,
    set: impl Fn(&G, &V),
) {
    for gone in before.keys().filter(|labels| !wanted.contains_key(labels)) {
        family.remove(gone);
    }
    for (labels, value) in wanted {
        set(&family.get_or_create(labels), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(incident: &str) -> IncidentLabels {
        let [namespace, system, incident] = ["lending", "scorer", incident].map(str::to_owned);
        IncidentLabels { namespace, system, incident }
    }

    fn text(metrics: &IncidentMetrics) -> String {
        let (mut registry, mut text) = (Registry::default(), String::new());
        metrics.register(&mut registry);
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("a string");
        text
    }

    #[test]
    fn a_compile_replaces_the_gauges_of_its_namespace_only() {
        let metrics = IncidentMetrics::default();
        let tier = |role: &str| BTreeMap::from([(EscalationLabels::of(labels("drift"), role.to_owned()), 1)]);
        metrics.set("lending", IncidentGauges { tiers: tier("risk"), open: 1, ..IncidentGauges::default() });
        metrics.set("other", IncidentGauges { open: 2, ..IncidentGauges::default() });
        assert!(
            text(&metrics).contains(r#"role="risk""#)
                && text(&metrics).contains(r#"incidents_open{namespace="other"} 2"#)
        );
        metrics.set("lending", IncidentGauges { tiers: tier("board"), open: 1, ..IncidentGauges::default() });
        assert!(text(&metrics).contains(r#"role="board""#) && !text(&metrics).contains(r#"role="risk""#));
        metrics.set("lending", IncidentGauges::default());
        assert!(!text(&metrics).contains("lending") && text(&metrics).contains("other"));
    }
}
