//! Counts the pods of each system for its status: running, held and terminating pods, and the pods that would stop in
//! the mode `enforce`. Two gauges per namespace count the pods that would stop, and the AI workloads without a system.
//!
//! A count starts half a second after the first change. So the many changes of a rollout cause few writes of the
//! status.

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
    events::{ENDS_LATE, OVERDUE},
    pod_cache::PodCache,
    status_writer::{Count, StatusWriter, System},
};
use crate::{
    api::{Mode, PodCount},
    metrics::{Metrics, NamespaceLabel},
};

/// The delay between the first change and the count.
const DELAY: Duration = Duration::from_millis(500);

/// Counts the pods of changed namespaces, and sends changed counts to the [`StatusWriter`].
pub(super) struct PodCounter {
    dirty: BTreeSet<Arc<str>>,
    /// The time of the next count.
    pub(super) due: Option<Instant>,
    written: BTreeMap<System, Count>,
    queue: mpsc::UnboundedSender<(System, Option<Count>)>,
    metrics: Arc<Metrics>,
}

impl PodCounter {
    /// A counter, and the task that writes its counts.
    pub(super) fn new(client: Client, metrics: Arc<Metrics>) -> (Self, impl Future<Output = ()> + Send) {
        let (queue, counts) = mpsc::unbounded_channel();
        let counter = Self { dirty: BTreeSet::new(), due: None, written: BTreeMap::new(), queue, metrics };
        (counter, StatusWriter::new(client).run(counts))
    }

    /// Records a change in `namespace`, so that its pods are counted again.
    pub(super) fn mark(&mut self, namespace: &Arc<str>) {
        self.dirty.insert(Arc::clone(namespace));
        self.due.get_or_insert_with(|| Instant::now() + DELAY);
    }

    /// Counts the pods of the changed namespaces, and sets the gauges of held and overdue pods in the cluster.
    pub(super) fn publish(&mut self, cache: &PodCache) {
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
            pods().filter(|pod| matches!(pod.notes().last_event, Some(OVERDUE | ENDS_LATE))).count(),
        );
    }

    fn count(&mut self, namespace: &Arc<str>, cache: &PodCache) {
        let known = cache.namespace(namespace);
        let clearance = known.and_then(|known| known.clearance.as_deref());
        self.forget_all_but(namespace, |system| clearance.is_some_and(|c| c.systems.contains_key(system)));
        let Some(known) = known else {
            self.set_gauges(namespace, Observed::default());
            return;
        };
        let systems = clearance.iter().flat_map(|c| c.systems.keys());
        let only_observed = clearance.filter(|c| matches!(c.mode, Some(Mode::Warn | Mode::Audit)));
        let none = PodCount { would_stop: only_observed.map(|_| 0), ..PodCount::default() };
        let none = Count::none(none);
        let mut counts: BTreeMap<Arc<str>, Count> =
            systems.map(|system| (Arc::from(system.as_str()), none.clone())).collect();
        let (mut observed, now) = (Observed::default(), Timestamp::now());
        for pod in known.pods.values().filter(|pod| !pod.ended) {
            let would_stop = only_observed.is_some_and(|clearance| would_stop(pod, clearance, now));
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
        self.set_gauges(namespace, observed);
        for (system, count) in counts {
            let system = (Arc::clone(namespace), system);
            if self.written.get(&system) != Some(&count) {
                self.written.insert(system.clone(), count.clone());
                // A send fails only while the operator ends.
                let _ = self.queue.send((system, Some(count)));
            }
        }
    }

    /// Sets the gauges of a namespace. A gauge with the value 0 is removed.
    fn set_gauges(&self, namespace: &Arc<str>, observed: Observed) {
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

/// The values of the two gauges of one namespace.
#[derive(Clone, Copy, Default)]
struct Observed {
    would_stop: i64,
    shadow: i64,
}

impl PodCounter {
    /// Forgets the counts of all systems of `namespace` for which `stays` is false. If a user creates a system with the
    /// same name again, it starts without counts.
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
