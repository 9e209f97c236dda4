//! Applies the events of the watches to the cache, and decides again about the affected pods:
//!
//! - After a change of a pod, about this pod and the pods before and after it in its `StatefulSet`.
//! - After a change of a `StatefulSet`, about its pods.
//! - After a change of a Clearance, about all pods of its namespace.
//! - After a complete list of pods or Clearances, about all pods of the cluster.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::{api::apps::v1::StatefulSet, jiff::Timestamp};
use kube::{Resource, ResourceExt, runtime::watcher::Event};
use tokio::time::Instant;

use super::{
    enforcer::{Enforcer, TimerKey},
    pod::PodKey,
    trimmed_pod::TrimmedPod,
};
use crate::{
    api::{CLEARANCE_NAME, Clearance},
    watch::{Change, Lenient},
};

impl Enforcer {
    pub(super) fn clearance_event(&mut self, event: Event<Lenient<Clearance>>) {
        let change = self.relists.clearances.change(event, |object| object.namespace().unwrap_or_default());
        match change {
            None => {}
            Some(Change::Apply { key: namespace, object, .. }) => self.set_clearance(&namespace, object),
            Some(Change::Delete { key: namespace }) => {
                self.cache.set_clearance(&namespace, None);
                self.look_at_namespace(&namespace);
            }
            Some(Change::Listed(namespaces)) => {
                let gone = self
                    .cache
                    .namespaces()
                    .filter(|(n, known)| known.clearance.is_some() && !namespaces.contains(&***n));
                for namespace in gone.map(|(namespace, _)| Arc::clone(namespace)).collect::<Vec<_>>() {
                    self.cache.set_clearance(&namespace, None);
                    self.look_at_namespace(&namespace);
                }
                self.synced.clearances = true;
                self.look_at_all();
                self.tell_all();
            }
        }
    }

    /// Sets the Clearance of a namespace. The function ignores a Clearance that this program cannot read, because the
    /// leader soon replaces it. If such a Clearance counted as missing, the namespace would not be governed.
    fn set_clearance(&mut self, namespace: &str, clearance: Lenient<Clearance>) {
        let Ok(clearance) = clearance.0 else { return };
        if clearance.metadata.name.as_deref() != Some(CLEARANCE_NAME) {
            return;
        }
        let now = Timestamp::now();
        let ends = clearance.spec.systems.values().flat_map(|s| &s.cleared).map(|v| v.not_after.0);
        for end in ends.filter(|end| *end > now).collect::<BTreeSet<_>>() {
            self.timers.add(end, TimerKey::Namespace(namespace.into()));
        }
        // The clone needs less memory, because it leaves out the unused capacity of lists.
        self.cache.set_clearance(namespace, Some(clearance.spec.clone()));
        self.look_at_namespace(namespace);
    }

    pub(super) fn pod_event(&mut self, event: Event<Lenient<TrimmedPod>>) {
        let cache = &mut self.cache;
        let change = self.relists.pods.change(event, |pod| {
            cache.key(pod.meta().namespace.as_deref().unwrap_or_default(), &pod.name_any())
        });
        match change {
            None => {}
            Some(Change::Apply { key, object, listing }) => {
                self.cache.insert(&key, &TrimmedPod::from(object).into());
                self.acknowledge(&key, false);
                self.look_at(&key);
                if !listing {
                    self.look_at_neighbours(&key);
                }
            }
            Some(Change::Delete { key }) => self.forget(&key),
            Some(Change::Listed(keys)) => {
                let all: Vec<_> =
                    self.cache.namespaces().map(|(namespace, _)| Arc::clone(namespace)).collect();
                let known = all.iter().flat_map(|namespace| self.cache.keys(namespace)).collect::<Vec<_>>();
                known.iter().filter(|key| !keys.contains(key)).for_each(|key| self.forget(key));
                self.synced.pods = true;
                self.look_at_all();
            }
        }
    }

    pub(super) fn set_event(&mut self, event: Event<Lenient<StatefulSet>>) {
        let change = self.relists.sets.change(event, |set| set.uid().unwrap_or_default());
        match change.map(Change::readable) {
            None => {}
            Some(Change::Apply { object, .. }) => self.set_set(&object),
            Some(Change::Delete { key: gone }) => self.cache.retain_sets(|uid| uid != gone),
            Some(Change::Listed(uids)) => self.cache.retain_sets(|uid| uids.contains(uid)),
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
        self.counts.mark(&key.namespace);
    }

    /// Emits the Event of a request with an unknown result, if the watch shows that the API server carried out the
    /// request.
    fn acknowledge(&mut self, key: &PodKey, gone: bool) {
        let Some((pod, clearance)) = self.cache.pod_mut(key) else { return };
        if let Some(action) = pod.take_done(gone, Instant::now()) {
            self.events.done(key, pod, clearance.map(|c| &**c), &action);
        }
    }
}
