//! The Prometheus metrics of the operator, served at `/metrics`.

mod incidents;

use std::{collections::BTreeMap, hash::Hash, sync::atomic::AtomicU64, time::Duration};

use k8s_openapi::jiff::Timestamp;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use crate::{api::MonitorState, policy::Measurement};

pub use incidents::{DeadlineLabels, EscalationLabels, IncidentGauges, IncidentLabels, IncidentMetrics};

/// An action on a pod or its workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Enforcement {
    /// The gate of the pod is removed.
    Release,
    /// The pod is evicted.
    Evict,
    /// The pod is deleted.
    Delete,
    /// The pod gets an `activeDeadlineSeconds`, so that the kubelet stops it at the end of its clearance.
    Bound,
    /// The pod is evicted, so that its replacement gets a later deadline.
    Roll,
    /// The workload is suspended.
    Suspend,
    /// The workload is scaled to zero.
    ScaleDown,
    /// The workload is resumed or scaled up again.
    Resume,
    /// The loss of clearance is recorded, and the pod continues to run.
    Audit,
}

/// The labels of the enforcement counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct EnforcementLabels {
    /// The action on the pod or workload.
    pub action: Enforcement,
    /// Whether the API server accepted the request.
    pub done: bool,
}

/// The label of the counter of restored policies.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PolicyLabels {
    /// The kind and name of the policy.
    pub policy: String,
}

/// The label of metrics by namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct NamespaceLabel {
    /// The name of the namespace.
    pub namespace: String,
}

/// The label of metrics by kind of object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KindLabel {
    /// The kind, such as `AISystem`.
    pub kind: String,
}

impl KindLabel {
    /// The label of `kind`.
    pub fn of(kind: &str) -> Self {
        Self { kind: kind.to_owned() }
    }
}

/// The labels of the metrics of one monitor.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct MonitorLabels {
    /// The namespace of the monitor.
    pub namespace: String,
    /// The name of the monitor.
    pub monitor: String,
}

/// The labels of the state of one monitor.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct MonitorStateLabels {
    /// The namespace of the monitor.
    pub namespace: String,
    /// The name of the monitor.
    pub monitor: String,
    /// The state: `Within`, `Breached` or `Unknown`.
    pub state: &'static str,
}

/// The label of the counter of queries of monitors.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct QueryLabels {
    /// The result: `value`, `no_value` or `no_answer`.
    pub result: &'static str,
}

/// The labels of the gauge of clearances that end soon.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ExpiringLabels {
    /// The name of the namespace.
    pub namespace: String,
    /// The clearances end within this many days.
    pub days: u32,
}

/// The labels of the gauge of overrides that are in effect.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SystemLabels {
    /// The name of the namespace.
    pub namespace: String,
    /// The name of the system.
    pub system: String,
}

/// The state of the review of an override.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum ReviewState {
    /// A person must review the override.
    Due,
    /// Nobody reviewed the override in time.
    Overdue,
}

/// The labels of the gauge of reviews of overrides.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReviewLabels {
    /// The name of the namespace.
    pub namespace: String,
    /// The state of the reviews.
    pub state: ReviewState,
}

/// All metrics, and their registry.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Compiles of namespaces.
    compiles: Counter,
    /// The time of the last compile of a namespace, in seconds since 1970.
    last_compile: Gauge<f64, AtomicU64>,
    /// Failed compiles.
    pub compile_errors: Counter,
    /// Clearances and statuses that the API server refused. The operator then writes a smaller Clearance or
    /// status.
    refused_writes: Family<KindLabel, Counter>,
    /// Failures of watches.
    pub watch_errors: Counter,
    /// 1 if all watches of a kind work, or else 0.
    pub watch_up: Family<KindLabel, Gauge>,
    /// Objects of a kind that the operator cannot parse now. They count as missing.
    pub invalid_objects: Family<KindLabel, Gauge>,
    /// Actions on pods and their workloads.
    pub enforcements: Family<EnforcementLabels, Counter>,
    /// Events that the operator dropped, because the queue was full or all retries failed.
    pub events_dropped: Counter,
    /// Pods that are held now.
    pub held_pods: Gauge,
    /// Policies that were restored after another user deleted or changed them.
    pub policies_restored: Family<PolicyLabels, Counter>,
    /// Clearances that were restored after another user deleted or changed them.
    pub clearances_restored: Counter,
    /// Pods in namespaces with the mode `warn` or `audit` that would stop in the mode `enforce`.
    pub would_stop_pods: Family<NamespaceLabel, Gauge>,
    /// Cleared versions that lose their clearance soon.
    clearances_expiring: Family<ExpiringLabels, Gauge>,
    /// Overrides that are in effect.
    override_active: Family<SystemLabels, Gauge>,
    /// Ended overrides without a review.
    override_reviews: Family<ReviewLabels, Gauge>,
    /// Pods that belong to no system and have signs of an AI workload.
    pub shadow_pods: Family<NamespaceLabel, Gauge>,
    /// Pods that still exist after the grace period of their risk level, for example because the kubelet has not
    /// confirmed their end, or because they have finalizers.
    pub overdue_pods: Gauge,
    /// The gauges of incidents.
    pub incidents: IncidentMetrics,
    /// The duration of release requests in seconds.
    pub release_seconds: Histogram,
    /// The state of each monitor. The gauge of the current state is 1, and the gauges of other states do not exist.
    monitor_states: Family<MonitorStateLabels, Gauge>,
    /// The time of the last value of each monitor, in seconds since 1970.
    monitor_success: Family<MonitorLabels, Gauge<f64, AtomicU64>>,
    /// Queries of monitors, by result.
    monitor_queries: Family<QueryLabels, Counter>,
    /// The duration of the queries of monitors in seconds.
    monitor_query_seconds: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("assent"),
            compiles: Counter::default(),
            last_compile: Gauge::default(),
            compile_errors: Counter::default(),
            refused_writes: Family::default(),
            watch_errors: Counter::default(),
            watch_up: Family::default(),
            invalid_objects: Family::default(),
            enforcements: Family::default(),
            events_dropped: Counter::default(),
            held_pods: Gauge::default(),
            policies_restored: Family::default(),
            clearances_restored: Counter::default(),
            would_stop_pods: Family::default(),
            clearances_expiring: Family::default(),
            override_active: Family::default(),
            override_reviews: Family::default(),
            shadow_pods: Family::default(),
            overdue_pods: Gauge::default(),
            incidents: IncidentMetrics::default(),
            release_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
            monitor_states: Family::default(),
            monitor_success: Family::default(),
            monitor_queries: Family::default(),
            monitor_query_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("compiles", "Namespaces compiled", self.compiles.clone());
        registry.register_with_unit(
            "last_compile_timestamp",
            "Time of the last compile of a namespace",
            Unit::Seconds,
            self.last_compile.clone(),
        );
        registry.register("compile_errors", "Failed compiles of namespaces", self.compile_errors.clone());
        registry.register(
            "refused_writes",
            "Clearances and statuses that the API server refused, so that the operator wrote a smaller one",
            self.refused_writes.clone(),
        );
        registry.register("watch_errors", "Failures of watches", self.watch_errors.clone());
        registry.register(
            "watch_up",
            "1 if all watches of a kind work, 0 if one is broken and its changes are not seen",
            self.watch_up.clone(),
        );
        registry.register(
            "invalid_objects",
            "Objects that cannot be parsed and count as missing",
            self.invalid_objects.clone(),
        );
        registry.register("enforcements", "Actions on pods and their workloads", self.enforcements.clone());
        registry.register(
            "events_dropped",
            "Events that were dropped because too many were queued, or because their retries failed",
            self.events_dropped.clone(),
        );
        registry.register("held_pods", "Pods held by the gate", self.held_pods.clone());
        registry.register(
            "policies_restored",
            "Admission policies that were restored after a deletion or change",
            self.policies_restored.clone(),
        );
        registry.register(
            "clearances_restored",
            "Clearances that were restored after a deletion or change by another user",
            self.clearances_restored.clone(),
        );
        registry.register(
            "would_stop_pods",
            "Pods that would stop if their namespace enforced",
            self.would_stop_pods.clone(),
        );
        registry.register(
            "clearances_expiring",
            "Cleared model versions that lose their clearance within the given days",
            self.clearances_expiring.clone(),
        );
        registry.register(
            "override_active",
            "Overrides that are in effect now",
            self.override_active.clone(),
        );
        registry.register(
            "override_reviews",
            "Ended overrides without a review, by state: Due or Overdue",
            self.override_reviews.clone(),
        );
        registry.register(
            "shadow_pods",
            "Pods that use an accelerator or an AI image and belong to no AISystem",
            self.shadow_pods.clone(),
        );
        registry.register(
            "overdue_pods",
            "Pods whose grace period is over and whose end is not reported",
            self.overdue_pods.clone(),
        );
        self.incidents.register(registry);
        registry.register_with_unit(
            "release",
            "Duration of the request that releases a pod",
            Unit::Seconds,
            self.release_seconds.clone(),
        );
        self.register_monitors();
    }

    fn register_monitors(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "monitor_state",
            "1 for the current state of a monitor: Within, Breached or Unknown",
            self.monitor_states.clone(),
        );
        registry.register_with_unit(
            "monitor_last_success_timestamp",
            "Time of the last value of a monitor",
            Unit::Seconds,
            self.monitor_success.clone(),
        );
        registry.register(
            "monitor_queries",
            "Queries of monitors by result: value, no_value or no_answer",
            self.monitor_queries.clone(),
        );
        registry.register_with_unit(
            "monitor_query",
            "Duration of the queries of monitors",
            Unit::Seconds,
            self.monitor_query_seconds.clone(),
        );
    }

    /// Sets the state of a monitor.
    pub fn monitor_state(&self, namespace: &str, monitor: &str, state: MonitorState) {
        self.set_monitor_state(namespace, monitor, Some(state));
    }

    fn set_monitor_state(&self, namespace: &str, monitor: &str, state: Option<MonitorState>) {
        for other in MonitorState::ALL {
            let labels = MonitorStateLabels {
                namespace: namespace.to_owned(),
                monitor: monitor.to_owned(),
                state: other.name(),
            };
            if Some(other) == state {
                self.monitor_states.get_or_create(&labels).set(1);
            } else {
                self.monitor_states.remove(&labels);
            }
        }
    }

    /// Records that a monitor had a value at `at`.
    #[allow(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
    pub fn monitor_succeeded(&self, namespace: &str, monitor: &str, at: Timestamp) {
        let labels = MonitorLabels { namespace: namespace.to_owned(), monitor: monitor.to_owned() };
        self.monitor_success.get_or_create(&labels).set(at.as_second() as f64);
    }

    /// Counts a query of a monitor, and records its duration.
    pub fn monitor_queried(&self, measured: &Measurement, took: Duration) {
        let result = match measured {
            Measurement::Value(_) => "value",
            Measurement::NoValue(_) => "no_value",
            Measurement::NoAnswer(_) => "no_answer",
        };
        self.monitor_queries.get_or_create(&QueryLabels { result }).inc();
        self.monitor_query_seconds.observe(took.as_secs_f64());
    }

    /// Removes the metrics of a monitor that is deleted, or that the operator does not query.
    pub fn monitor_gone(&self, namespace: &str, monitor: &str) {
        self.set_monitor_state(namespace, monitor, None);
        let labels = MonitorLabels { namespace: namespace.to_owned(), monitor: monitor.to_owned() };
        self.monitor_success.remove(&labels);
    }

    /// Counts a compile of a namespace at `now`.
    #[allow(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
    pub fn compiled(&self, now: Timestamp) {
        self.compiles.inc();
        self.last_compile.set(now.as_second() as f64);
    }

    /// Counts a write that the API server refused: a Clearance, or the status of an object of `kind`.
    pub fn refused(&self, kind: &str) {
        self.refused_writes.get_or_create(&KindLabel { kind: kind.to_owned() }).inc();
    }

    /// Sets the gauges of the clearances of `namespace` that end soon. Each pair in `versions` is a number of days, and
    /// the number of versions that lose their clearance within that time. Removes a gauge whose number of versions is
    /// zero.
    pub fn expiring(&self, namespace: &str, versions: &[(u32, usize)]) {
        for &(days, versions) in versions {
            let labels = ExpiringLabels { namespace: namespace.to_owned(), days };
            set_or_remove(&self.clearances_expiring, &labels, versions);
        }
    }

    /// Sets the gauges of the overrides of `namespace`. `active` is the number of overrides in effect, by system. `due`
    /// and `overdue` are the numbers of overrides whose review is due or overdue. Removes a gauge whose number is zero.
    pub fn overrides(&self, namespace: &str, active: &BTreeMap<&str, usize>, [due, overdue]: [usize; 2]) {
        for (system, count) in active {
            let labels = SystemLabels { namespace: namespace.to_owned(), system: (*system).to_owned() };
            set_or_remove(&self.override_active, &labels, *count);
        }
        for (state, count) in [(ReviewState::Due, due), (ReviewState::Overdue, overdue)] {
            let labels = ReviewLabels { namespace: namespace.to_owned(), state };
            set_or_remove(&self.override_reviews, &labels, count);
        }
    }

    /// Encodes all metrics in the text format of Prometheus.
    ///
    /// # Errors
    /// None in practice, because a write to a `String` does not fail.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// Sets the gauge with these labels, or removes it if `count` is zero.
fn set_or_remove<L: Clone + Hash + Eq>(gauges: &Family<L, Gauge>, labels: &L, count: usize) {
    if count == 0 {
        gauges.remove(labels);
    } else {
        gauges.get_or_create(labels).set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}
