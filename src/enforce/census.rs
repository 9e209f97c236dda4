//! How many pods of each system run, are held, and would stop if their namespace enforced, in the system's
//! status; and, by namespace, how many would stop and how many belong to no system though they look like AI.
//!
//! Counting waits until things are quiet for a moment, so that a rollout costs one write and not many.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::{sync::mpsc, time::Instant};
use tracing::debug;

use super::{
    decide::{is_live, would_stop},
    roster::Roster,
};
use crate::{
    api::{AISystem, Mode, PodCount},
    metrics::{Metrics, NamespaceLabel},
};

/// How long counts may lag behind.
const LAG: Duration = Duration::from_millis(500);

/// The field manager of the counts.
const MANAGER: &str = "assent-census";

type System = (Arc<str>, Arc<str>);

/// Counts, and has written what changed.
pub struct Census {
    dirty: BTreeSet<Arc<str>>,
    due: Option<Instant>,
    written: BTreeMap<System, PodCount>,
    queue: mpsc::UnboundedSender<(System, PodCount)>,
    metrics: Arc<Metrics>,
}

impl Census {
    /// A census, and the work of writing it.
    pub fn new(client: Client, metrics: Arc<Metrics>) -> (Self, impl Future<Output = ()> + Send) {
        let (queue, counts) = mpsc::unbounded_channel();
        let census = Self { dirty: BTreeSet::new(), due: None, written: BTreeMap::new(), queue, metrics };
        (census, write(client, counts))
    }

    /// Something changed in `namespace`.
    pub fn mark(&mut self, namespace: &Arc<str>) {
        self.dirty.insert(Arc::clone(namespace));
        self.due.get_or_insert_with(|| Instant::now() + LAG);
    }

    /// When it is time to count.
    pub fn due(&self) -> impl Future<Output = ()> + use<> {
        let due = self.due;
        async move {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Counts what changed.
    pub fn publish(&mut self, roster: &Roster) {
        self.due = None;
        for namespace in std::mem::take(&mut self.dirty) {
            self.count(&namespace, roster);
        }
        let held = roster.namespaces().flat_map(|(_, n)| n.pods.values()).filter(|pod| pod.gated).count();
        self.metrics.held_pods.set(i64::try_from(held).unwrap_or(i64::MAX));
    }

    fn count(&mut self, namespace: &Arc<str>, roster: &Roster) {
        let Some(known) = roster.namespace(namespace) else {
            self.tell(namespace, Observed::default());
            return;
        };
        let clearance = known.clearance.as_deref();
        let systems = clearance.iter().flat_map(|c| c.systems.keys());
        let only_watched = clearance.filter(|c| matches!(c.mode, Some(Mode::Warn | Mode::Audit)));
        let none = PodCount { would_stop: only_watched.map(|_| 0), ..PodCount::default() };
        let mut counts: BTreeMap<Arc<str>, PodCount> =
            systems.map(|system| (Arc::from(system.as_str()), none)).collect();
        let (mut observed, now) = (Observed::default(), Timestamp::now());
        for pod in known.pods.values().filter(|pod| is_live(pod)) {
            let would_stop = only_watched.is_some_and(|clearance| would_stop(pod, clearance, now));
            observed.would_stop += i64::from(would_stop);
            match counts.get_mut(&pod.system) {
                Some(count) => {
                    if pod.gated {
                        count.held += 1;
                    } else {
                        count.running += 1;
                    }
                    count.would_stop.iter_mut().for_each(|count| *count += u32::from(would_stop));
                }
                None => observed.shadow += i64::from(pod.suspect),
            }
        }
        self.tell(namespace, observed);
        for (system, count) in counts {
            let system = (Arc::clone(namespace), system);
            if self.written.get(&system) != Some(&count) {
                self.written.insert(system.clone(), count);
                // The writer ends only with the operator.
                let _ = self.queue.send((system, count));
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

async fn write(client: Client, mut counts: mpsc::UnboundedReceiver<(System, PodCount)>) {
    while let Some(((namespace, system), count)) = counts.recv().await {
        let api: Api<AISystem> = Api::namespaced(client.clone(), &namespace);
        let status =
            json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "AISystem", "status": { "pods": count } });
        if let Err(error) =
            api.patch_status(&system, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&status)).await
        {
            debug!(namespace = &*namespace, system = &*system, "a count was not taken: {error}");
        }
    }
}
