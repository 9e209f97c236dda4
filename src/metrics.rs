//! What the operator counts, for Prometheus at `/metrics`.

use std::sync::atomic::AtomicU64;

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

/// What was done to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Enforcement {
    /// Its gate was lifted.
    Release,
    /// It was evicted.
    Evict,
    /// It was deleted.
    Delete,
    /// It was given the end of its clearance, for the kubelet to keep.
    Bound,
    /// It was evicted for another that may run for longer.
    Roll,
    /// Its workload was suspended.
    Suspend,
    /// Its workload was scaled to zero.
    ScaleDown,
    /// Its workload was resumed, or scaled back.
    Resume,
    /// It runs on, and its loss was recorded.
    Audit,
}

/// The labels of the enforcement counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct EnforcementLabels {
    /// What was done.
    pub action: Enforcement,
    /// Whether the API server did it.
    pub done: bool,
}

/// The label of the counter of restored policies.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PolicyLabels {
    /// Its kind and name.
    pub policy: String,
}

/// The label of what is counted by namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct NamespaceLabel {
    /// Its name.
    pub namespace: String,
}

/// The label of what is counted by kind of object.
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

/// The labels of the gauge of clearances that end.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ExpiringLabels {
    /// The namespace.
    pub namespace: String,
    /// Within how many days.
    pub days: u32,
}

/// Every metric, and the registry that prints them.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Namespaces compiled, and when last.
    compiles: Counter,
    last_compile: Gauge<f64, AtomicU64>,
    /// Compiles that the API server did not take.
    pub compile_errors: Counter,
    /// Clearances and statuses that the API server refused to store, of which a smaller one was written.
    refused_writes: Family<KindLabel, Counter>,
    /// Watches that broke.
    pub watch_errors: Counter,
    /// Whether the watches of a kind are up.
    pub watch_up: Family<KindLabel, Gauge>,
    /// Objects of a kind that cannot be read now and count as missing.
    pub invalid_objects: Family<KindLabel, Gauge>,
    /// What was done to pods.
    pub enforcements: Family<EnforcementLabels, Counter>,
    /// Events that were not sent because too many waited.
    pub events_dropped: Counter,
    /// Pods held now.
    pub held_pods: Gauge,
    /// Policies that somebody deleted or changed.
    pub policies_restored: Family<PolicyLabels, Counter>,
    /// Clearances that somebody other than an operator deleted or changed.
    pub clearances_restored: Counter,
    /// Pods that would stop if their namespace, which warns or audits, enforced.
    pub would_stop_pods: Family<NamespaceLabel, Gauge>,
    /// Cleared versions that lose their clearance soon.
    clearances_expiring: Family<ExpiringLabels, Gauge>,
    /// Pods that look like AI and belong to no system.
    pub shadow_pods: Family<NamespaceLabel, Gauge>,
    /// Pods that should be gone, and are not known to be.
    pub overdue_pods: Gauge,
    /// Seconds that the API server took to release a pod.
    pub release_seconds: Histogram,
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
            shadow_pods: Family::default(),
            overdue_pods: Gauge::default(),
            release_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
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
            "When a namespace was last compiled",
            Unit::Seconds,
            self.last_compile.clone(),
        );
        registry.register(
            "compile_errors",
            "Compiles that could not be written",
            self.compile_errors.clone(),
        );
        registry.register(
            "refused_writes",
            "Clearances and statuses that the API server refused to store as a whole",
            self.refused_writes.clone(),
        );
        registry.register("watch_errors", "Watches that broke", self.watch_errors.clone());
        registry.register(
            "watch_up",
            "1 while the watches of a kind are up, 0 while one is broken and nothing new of that kind is known",
            self.watch_up.clone(),
        );
        registry.register(
            "invalid_objects",
            "Objects that cannot be read now and count as missing",
            self.invalid_objects.clone(),
        );
        registry.register("enforcements", "What was done to pods", self.enforcements.clone());
        registry.register("events_dropped", "Events that were not sent", self.events_dropped.clone());
        registry.register("held_pods", "Pods held by the gate", self.held_pods.clone());
        registry.register(
            "policies_restored",
            "Admission policies that somebody deleted or changed",
            self.policies_restored.clone(),
        );
        registry.register(
            "clearances_restored",
            "Clearances that somebody else deleted or changed",
            self.clearances_restored.clone(),
        );
        registry.register(
            "would_stop_pods",
            "Pods that would stop if their namespace enforced",
            self.would_stop_pods.clone(),
        );
        registry.register(
            "clearances_expiring",
            "Cleared model versions that lose their clearance within so many days",
            self.clearances_expiring.clone(),
        );
        registry.register(
            "shadow_pods",
            "Pods that ask for accelerators or run an image of AI, and belong to no AISystem",
            self.shadow_pods.clone(),
        );
        registry.register(
            "overdue_pods",
            "Pods that should have ended within the grace and are not known to have",
            self.overdue_pods.clone(),
        );
        registry.register_with_unit(
            "release",
            "What the API server took to release a pod",
            Unit::Seconds,
            self.release_seconds.clone(),
        );
    }

    /// A namespace was compiled at `now`.
    #[allow(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
    pub fn compiled(&self, now: Timestamp) {
        self.compiles.inc();
        self.last_compile.set(now.as_second() as f64);
    }

    /// The API server refused to store a Clearance, or the status of an object of `kind`.
    pub fn refused(&self, kind: &str) {
        self.refused_writes.get_or_create(&KindLabel { kind: kind.to_owned() }).inc();
    }

    /// How many versions of `namespace` lose their clearance within so many days; those that are none are left out.
    pub fn expiring(&self, namespace: &str, versions: &[(u32, usize)]) {
        for &(days, versions) in versions {
            let labels = ExpiringLabels { namespace: namespace.to_owned(), days };
            if versions == 0 {
                self.clearances_expiring.remove(&labels);
            } else {
                let versions = i64::try_from(versions).unwrap_or(i64::MAX);
                self.clearances_expiring.get_or_create(&labels).set(versions);
            }
        }
    }

    /// All metrics in the text format.
    ///
    /// # Errors
    /// None in practice: a `String` takes every write.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
