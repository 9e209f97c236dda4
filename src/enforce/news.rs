//! What the watches tell: the cache follows, and what it says of is looked at.
//!
//! ```text
//!  Init ─► InitApply … ─► InitDone: what was not named is gone      Apply, Delete: one by one
//! ```

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::{api::apps::v1::StatefulSet, jiff::Timestamp};
use kube::{ResourceExt, runtime::watcher::Event};
use tokio::time::Instant;

use super::{Due, Enforcer, pod::PodKey, watched::Watched};
use crate::{
    api::{CLEARANCE_NAME, Clearance},
    watch::Lenient,
};

impl Enforcer {
    pub(super) fn clearance_event(&mut self, event: Event<Lenient<Clearance>>) {
        match event {
            Event::Init => self.relisted_clearances.clear(),
            Event::InitApply(clearance) => {
                self.relisted_clearances.insert(clearance.namespace().unwrap_or_default());
                self.set_clearance(clearance);
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.relisted_clearances);
                let gone = self
                    .cache
                    .namespaces()
                    .filter(|(n, known)| known.clearance.is_some() && !listed.contains(&***n));
                for namespace in gone.map(|(namespace, _)| Arc::clone(namespace)).collect::<Vec<_>>() {
                    self.cache.set_clearance(&namespace, None);
                    self.look_at_namespace(&namespace);
                }
                self.known.clearances = true;
                self.look_at_all();
                self.tell_all();
            }
            Event::Apply(clearance) => self.set_clearance(clearance),
            Event::Delete(clearance) => {
                let namespace = clearance.namespace().unwrap_or_default();
                self.cache.set_clearance(&namespace, None);
                self.look_at_namespace(&namespace);
            }
        }
    }

    /// One that cannot be read changes nothing: none would mean that nobody governs the namespace. The operator that
    /// leads replaces it.
    fn set_clearance(&mut self, clearance: Lenient<Clearance>) {
        let Ok(clearance) = clearance.0 else { return };
        if clearance.metadata.name.as_deref() != Some(CLEARANCE_NAME) {
            return;
        }
        let namespace = clearance.namespace().unwrap_or_default();
        let now = Timestamp::now();
        let ends = clearance.spec.systems.values().flat_map(|s| &s.cleared).map(|v| v.not_after.0);
        for end in ends.filter(|end| *end > now).collect::<BTreeSet<_>>() {
            self.timers.entry(end).or_default().insert(Due::Namespace(namespace.as_str().into()));
        }
        // Cloned, as in compile::index: without the spare room of what was read.
        self.cache.set_clearance(&namespace, Some(clearance.spec.clone()));
        self.look_at_namespace(&namespace);
    }

    pub(super) fn pod_event(&mut self, event: Event<Lenient<Watched>>) {
        match event {
            Event::Init => self.relisted.clear(),
            Event::InitApply(pod) => {
                let key = self.cache.set_pod(&Watched::from(pod).into());
                self.relisted.insert(key.clone());
                self.acknowledge(&key, false);
                self.look_at(&key);
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.relisted);
                let all: Vec<_> =
                    self.cache.namespaces().map(|(namespace, _)| Arc::clone(namespace)).collect();
                let known = all.iter().flat_map(|namespace| self.cache.keys(namespace)).collect::<Vec<_>>();
                known.iter().filter(|key| !listed.contains(key)).for_each(|key| self.forget(key));
                self.known.pods = true;
                self.look_at_all();
            }
            Event::Apply(pod) => {
                let key = self.cache.set_pod(&Watched::from(pod).into());
                self.acknowledge(&key, false);
                self.look_at(&key);
                self.look_at_neighbours(&key);
            }
            Event::Delete(pod) => {
                let key = self.cache.key(&pod.namespace().unwrap_or_default(), &pod.name_any());
                self.forget(&key);
            }
        }
    }

    pub(super) fn set_event(&mut self, event: Event<Lenient<StatefulSet>>) {
        match event {
            Event::Init => self.relisted_sets.clear(),
            Event::InitApply(Lenient(Ok(set))) => {
                self.relisted_sets.insert(set.uid().unwrap_or_default());
                self.set_set(&set);
            }
            Event::InitApply(Lenient(Err(_))) => {}
            Event::InitDone => {
                let listed = std::mem::take(&mut self.relisted_sets);
                self.cache.retain_sets(|uid| listed.contains(uid));
            }
            Event::Apply(Lenient(Ok(set))) => self.set_set(&set),
            Event::Apply(set) | Event::Delete(set) => {
                let gone = set.uid().unwrap_or_default();
                self.cache.retain_sets(|uid| uid != gone);
            }
        }
    }

    fn set_set(&mut self, set: &StatefulSet) {
        let (namespace, uid) = (set.namespace().unwrap_or_default(), set.uid().unwrap_or_default());
        if self.cache.set_set(uid.clone(), set.into()) {
            for key in self.cache.keys_of_set(&namespace, &uid) {
                self.look_at(&key);
            }
        }
    }

    fn forget(&mut self, key: &PodKey) {
        self.acknowledge(key, true);
        let neighbours = self.cache.neighbours(key);
        self.cache.remove_pod(key);
        neighbours.into_iter().flatten().for_each(|neighbour| self.look_at(&neighbour));
        self.census.mark(&key.namespace);
    }

    /// Says what was done though nobody answered: its record is lost if the watch is not believed.
    fn acknowledge(&mut self, key: &PodKey, gone: bool) {
        let Some((pod, clearance)) = self.cache.pod_mut(key) else { return };
        if let Some(action) = pod.take_done(gone, Instant::now()) {
            self.voice.done(key, pod, clearance.map(|c| &**c), &action);
        }
    }
}
