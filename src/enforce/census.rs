//! How many pods of each system run, are held, and would stop if their namespace enforced, in the system's
//! status; and, by namespace, how many would stop and how many belong to no system though they look like AI.
//!
//! ```text
//!  PodCache ─► Count: how many, and of which controllers ─► their roots ─► status.pods, condition PodsHeld
//! ```
//!
//! Counting waits until things are quiet for a moment, so that a rollout costs one write and not many.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;
use kube::Client;
use prometheus_client::metrics::gauge::Gauge;
use tokio::{sync::mpsc, time::Instant};

use super::{
    cleared::would_stop,
    pod_cache::PodCache,
    report::{Count, Report, System},
    say::{ENDS_LATE, OVERDUE},
};
use crate::{
    api::{Mode, PodCount},
    metrics::{Metrics, NamespaceLabel},
};

/// How long counts may lag behind.
const LAG: Duration = Duration::from_millis(500);

/// Counts, and has written what changed.
pub struct Census {
    dirty: BTreeSet<Arc<str>>,
    /// When it is time to count.
    pub due: Option<Instant>,
    written: BTreeMap<System, Count>,
    queue: mpsc::UnboundedSender<(System, Option<Count>)>,
    metrics: Arc<Metrics>,
}

impl Census {
    /// A census, and the work of writing it.
    pub fn new(client: Client, metrics: Arc<Metrics>) -> (Self, impl Future<Output = ()> + Send) {
        let (queue, counts) = mpsc::unbounded_channel();
        let census = Self { dirty: BTreeSet::new(), due: None, written: BTreeMap::new(), queue, metrics };
        (census, Report::new(client).run(counts))
    }

    /// Something changed in `namespace`.
    pub fn mark(&mut self, namespace: &Arc<str>) {
        self.dirty.insert(Arc::clone(namespace));
        self.due.get_or_insert_with(|| Instant::now() + LAG);
    }

    /// Counts what changed.
    pub fn publish(&mut self, cache: &PodCache) {
        self.due = None;
        for namespace in std::mem::take(&mut self.dirty) {
            self.count(&namespace, cache);
        }
        let pods = || cache.namespaces().flat_map(|(_, n)| n.pods.values());
        let set = |gauge: &Gauge, count: usize| {
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        };
        set(&self.metrics.held_pods, pods().filter(|pod| pod.gated).count());
        set(
            &self.metrics.overdue_pods,
            pods().filter(|pod| matches!(pod.notes().said, Some(OVERDUE | ENDS_LATE))).count(),
        );
    }

    fn count(&mut self, namespace: &Arc<str>, cache: &PodCache) {
        let known = cache.namespace(namespace);
        let clearance = known.and_then(|known| known.clearance.as_deref());
        self.forget_all_but(namespace, |system| clearance.is_some_and(|c| c.systems.contains_key(system)));
        let Some(known) = known else {
            self.tell(namespace, Observed::default());
            return;
        };
        let systems = clearance.iter().flat_map(|c| c.systems.keys());
        let only_watched = clearance.filter(|c| matches!(c.mode, Some(Mode::Warn | Mode::Audit)));
        let none = PodCount { would_stop: only_watched.map(|_| 0), ..PodCount::default() };
        let none = Count::none(none);
        let mut counts: BTreeMap<Arc<str>, Count> =
            systems.map(|system| (Arc::from(system.as_str()), none.clone())).collect();
        let (mut observed, now) = (Observed::default(), Timestamp::now());
        for pod in known.pods.values().filter(|pod| !pod.ended) {
            let would_stop = only_watched.is_some_and(|clearance| would_stop(pod, clearance, now));
            observed.would_stop += i64::from(would_stop);
            match counts.get_mut(&pod.system) {
                Some(count) => {
                    match (&pod.ending, pod.gated) {
                        (Some(_), _) => count.pods.terminating += 1,
                        (None, true) => count.hold(pod.owner.as_ref()),
                        (None, false) => count.pods.running += 1,
                    }
                    count.pods.would_stop.iter_mut().for_each(|count| *count += u32::from(would_stop));
                }
                None => observed.shadow += i64::from(pod.suspect && pod.is_live()),
            }
        }
        self.tell(namespace, observed);
        for (system, count) in counts {
            let system = (Arc::clone(namespace), system);
            if self.written.get(&system) != Some(&count) {
                self.written.insert(system.clone(), count.clone());
                // The writer ends only with the operator.
                let _ = self.queue.send((system, Some(count)));
            }
        }
    }

    /// Tells Prometheus; of a namespace with nothing to tell, nothing.
    fn tell(&self, namespace: &Arc<str>, observed: Observed) {
        let label = NamespaceLabel { namespace: namespace.to_string() };
        let (would_stop, shadow) = (&self.metrics.would_stop_pods, &self.metrics.shadow_pods);
        for (family, count) in [(would_stop, observed.would_stop), (shadow, observed.shadow)] {
            if count == 0 {
                family.remove(&label);
            } else {
                family.get_or_create(&label).set(count);
            }
        }
    }
}

/// Pods of a namespace about which nothing is done.
#[derive(Clone, Copy, Default)]
struct Observed {
    would_stop: i64,
    shadow: i64,
}

impl Census {
    /// A system that is gone takes its counts along: one that comes in its place has none.
    fn forget_all_but(&mut self, namespace: &Arc<str>, stays: impl Fn(&str) -> bool) {
        let of_namespace = self.written.range((Arc::clone(namespace), Arc::from(""))..);
        let of_namespace = of_namespace.map(|(system, _)| system).take_while(|(of, _)| of == namespace);
        let gone: Vec<System> = of_namespace.filter(|(_, system)| !stays(system)).cloned().collect();
        for system in gone {
            self.written.remove(&system);
            let _ = self.queue.send((system, None));
        }
    }
}
