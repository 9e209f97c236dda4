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
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use prometheus_client::metrics::gauge::Gauge;
use serde_json::json;
use tokio::{sync::mpsc, time::Instant};
use tracing::debug;

use super::{
    RETRY,
    act::is_passing,
    decide::{is_live, would_stop},
    jittered,
    roster::Roster,
    say::OVERDUE,
};
use crate::{
    api::{AISystem, Mode, PodCount},
    metrics::{Metrics, NamespaceLabel},
};

/// How long counts may lag behind.
const LAG: Duration = Duration::from_millis(500);

/// How many systems are read at a time.
const PAGE: u32 = 500;

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
        let pods = || roster.namespaces().flat_map(|(_, n)| n.pods.values());
        let set = |gauge: &Gauge, count: usize| {
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        };
        set(&self.metrics.held_pods, pods().filter(|pod| pod.gated).count());
        set(&self.metrics.overdue_pods, pods().filter(|pod| pod.said == Some(OVERDUE)).count());
    }

    fn count(&mut self, namespace: &Arc<str>, roster: &Roster) {
        let known = roster.namespace(namespace);
        let clearance = known.and_then(|known| known.clearance.as_deref());
        self.forget_all_but(namespace, |system| clearance.is_some_and(|c| c.systems.contains_key(system)));
        let Some(known) = known else {
            self.tell(namespace, Observed::default());
            return;
        };
        let systems = clearance.iter().flat_map(|c| c.systems.keys());
        let only_watched = clearance.filter(|c| matches!(c.mode, Some(Mode::Warn | Mode::Audit)));
        let none = PodCount { would_stop: only_watched.map(|_| 0), ..PodCount::default() };
        let mut counts: BTreeMap<Arc<str>, PodCount> =
            systems.map(|system| (Arc::from(system.as_str()), none)).collect();
        let (mut observed, now) = (Observed::default(), Timestamp::now());
        for pod in known.pods.values().filter(|pod| !pod.ended) {
            let would_stop = only_watched.is_some_and(|clearance| would_stop(pod, clearance, now));
            observed.would_stop += i64::from(would_stop);
            match counts.get_mut(&pod.system) {
                Some(count) => {
                    match (pod.ends_at, pod.gated) {
                        (Some(_), _) => count.terminating += 1,
                        (None, true) => count.held += 1,
                        (None, false) => count.running += 1,
                    }
                    count.would_stop.iter_mut().for_each(|count| *count += u32::from(would_stop));
                }
                None => observed.shadow += i64::from(pod.suspect && is_live(pod)),
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

impl Census {
    /// A system that is gone takes its counts along: one that comes in its place has none.
    fn forget_all_but(&mut self, namespace: &Arc<str>, stays: impl Fn(&str) -> bool) {
        let of_namespace = self.written.range((Arc::clone(namespace), Arc::from(""))..);
        let of_namespace = of_namespace.map(|(system, _)| system).take_while(|(of, _)| of == namespace);
        let gone: Vec<System> = of_namespace.filter(|(_, system)| !stays(system)).cloned().collect();
        for system in gone {
            self.written.remove(&system);
        }
    }
}

/// Writes the last count of each system, again and again if the API server has too much to do; but not what the
/// operator before this one wrote already.
async fn write(client: Client, mut counts: mpsc::UnboundedReceiver<(System, PodCount)>) {
    let (mut unwritten, mut before) = (BTreeMap::new(), None);
    loop {
        if unwritten.is_empty() {
            let Some((system, count)) = counts.recv().await else { return };
            unwritten.insert(system, count);
        }
        while let Ok((system, count)) = counts.try_recv() {
            unwritten.insert(system, count);
        }
        let Some((system, count)) = unwritten.pop_first() else { continue };
        let known = match &mut before {
            Some(known) => known,
            None => before.insert(written_before(&client).await),
        };
        if known.remove(&system) == Some(count) {
            continue;
        }
        match write_one(&client, &system, count).await {
            Ok(()) => {}
            Err(error) if is_passing(&error) => {
                unwritten.insert(system, count);
                tokio::time::sleep(jittered(RETRY)).await;
            }
            Err(error) => {
                debug!(namespace = &*system.0, system = &*system.1, "a count was not taken: {error}");
            }
        }
    }
}

/// The counts in the statuses of all systems; those that cannot be read are written again.
async fn written_before(client: &Client) -> BTreeMap<System, PodCount> {
    let api: Api<AISystem> = Api::all(client.clone());
    let (mut counts, mut page) = (BTreeMap::new(), ListParams::default().limit(PAGE));
    loop {
        let listed = match api.list(&page).await {
            Ok(listed) => listed,
            Err(error) => {
                debug!("the counts of before are not known: {error}");
                return counts;
            }
        };
        for system in listed.items {
            let name = (Arc::from(system.namespace().unwrap_or_default()), Arc::from(system.name_any()));
            counts.extend(system.status.and_then(|status| status.pods).map(|count| (name, count)));
        }
        match listed.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return counts,
        }
    }
}

async fn write_one(
    client: &Client,
    (namespace, system): &System,
    count: PodCount,
) -> Result<(), kube::Error> {
    let api: Api<AISystem> = Api::namespaced(client.clone(), namespace);
    let status =
        json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "AISystem", "status": { "pods": count } });
    api.patch_status(system, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&status)).await.map(drop)
}
