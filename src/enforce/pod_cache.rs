//! The cache of pods, `StatefulSets` and Clearances, as the API server last sent them.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use k8s_openapi::api::core::v1 as core;
#[cfg(test)]
use kube::ResourceExt;

use super::{
    owner::OwnerRef,
    pod::{Pod, PodKey},
    pod_reader::PodReader,
    statefulset::Set,
};
use crate::{api::ClearanceSpec, images::Signs};

#[derive(Debug, Default)]
pub(crate) struct Namespace {
    pub(super) clearance: Option<Arc<ClearanceSpec>>,
    /// The pods are in boxes, so that an empty slot of the map needs little memory. A map has up to twice as many slots
    /// as entries.
    pub(super) pods: HashMap<Arc<str>, Box<Pod>>,
}

#[derive(Debug)]
pub(crate) struct PodCache {
    namespaces: BTreeMap<Arc<str>, Namespace>,
    /// `StatefulSets` by UID.
    sets: HashMap<String, Set>,
    reader: PodReader,
}

impl PodCache {
    /// An empty cache that recognises the pods of AI workloads by `signs`.
    pub(crate) fn new(signs: Signs) -> Self {
        Self { namespaces: BTreeMap::new(), sets: HashMap::new(), reader: PodReader::new(signs) }
    }

    pub(super) fn key(&mut self, namespace: &str, name: &str) -> PodKey {
        self.reader.key(namespace, name)
    }

    pub(super) fn namespace(&self, namespace: &str) -> Option<&Namespace> {
        self.namespaces.get(namespace)
    }

    pub(super) fn namespaces(&self) -> impl Iterator<Item = (&Arc<str>, &Namespace)> {
        self.namespaces.iter()
    }

    pub(super) fn keys(&self, namespace: &str) -> Vec<PodKey> {
        let Some((namespace, known)) = self.namespaces.get_key_value(namespace) else { return Vec::new() };
        known
            .pods
            .keys()
            .map(|name| PodKey { namespace: Arc::clone(namespace), name: Arc::clone(name) })
            .collect()
    }

    pub(super) fn pod(&self, key: &PodKey) -> Option<(&Pod, Option<&Arc<ClearanceSpec>>)> {
        let namespace = self.namespaces.get(&key.namespace)?;
        Some((namespace.pods.get(&key.name)?, namespace.clearance.as_ref()))
    }

    /// Like [`Self::pod`], but mutable. The caller may change only [`Pod::notes`], the operator's own state.
    pub(crate) fn pod_mut(&mut self, key: &PodKey) -> Option<(&mut Pod, Option<&Arc<ClearanceSpec>>)> {
        let namespace = self.namespaces.get_mut(&key.namespace)?;
        Some((namespace.pods.get_mut(&key.name)?, namespace.clearance.as_ref()))
    }

    /// All pods of a namespace that have the same owner as `pod`. Pods without an owner count as one group.
    pub(super) fn pods_like<'a>(&'a self, key: &PodKey, pod: &'a Pod) -> impl Iterator<Item = &'a Pod> {
        let pods = self.namespaces.get(&key.namespace).into_iter().flat_map(|n| n.pods.values());
        pods.map(|other| &**other).filter(|other| other.owner == pod.owner)
    }

    /// Inserts or replaces a `StatefulSet`. Returns whether the cache changed.
    pub(super) fn set_set(&mut self, uid: String, set: Set) -> bool {
        let changed = self.sets.get(&uid) != Some(&set);
        self.sets.insert(uid, set);
        changed
    }

    pub(super) fn retain_sets(&mut self, exists: impl Fn(&str) -> bool) {
        self.sets.retain(|uid, _| exists(uid));
    }

    pub(super) fn keys_of_set(&self, namespace: &str, uid: &str) -> Vec<PodKey> {
        let of_set = |key: &PodKey| {
            self.pod(key).is_some_and(|(pod, _)| {
                pod.member.is_some() && pod.owner.as_ref().is_some_and(|o| o.uid == uid)
            })
        };
        self.keys(namespace).into_iter().filter(of_set).collect()
    }

    /// The `StatefulSet` of a pod. A set that the watch has not delivered yet counts as ordered.
    pub(super) fn set_of(&self, pod: &Pod) -> Cow<'_, Set> {
        let known = pod.owner.as_ref().and_then(|owner| self.sets.get(&owner.uid));
        known.map_or_else(|| Cow::Owned(Set::default()), Cow::Borrowed)
    }

    /// The keys of the pods before and after a pod in its `StatefulSet`. These pods may not exist. Both keys are `None`
    /// if no `StatefulSet` owns the pod.
    pub(super) fn neighbours(&self, key: &PodKey) -> [Option<PodKey>; 2] {
        let place = self.pod(key).and_then(|(pod, _)| Some((pod.owner.as_ref()?, pod.member.as_ref()?)));
        let named = |owner: &OwnerRef, ordinal: u32| PodKey {
            namespace: Arc::clone(&key.namespace),
            name: format!("{}-{ordinal}", owner.name).into(),
        };
        [
            place.and_then(|(owner, member)| Some(named(owner, member.ordinal.checked_sub(1)?))),
            place.map(|(owner, member)| named(owner, member.ordinal.saturating_add(1))),
        ]
    }

    pub(crate) fn set_clearance(&mut self, namespace: &str, clearance: Option<ClearanceSpec>) {
        let namespace = self.reader.text(namespace);
        self.namespaces.entry(namespace).or_default().clearance = clearance.map(Arc::new);
    }

    #[cfg(test)]
    pub(crate) fn set_pod(&mut self, pod: &core::Pod) -> PodKey {
        let key = self.key(&pod.namespace().unwrap_or_default(), &pod.name_any());
        self.insert(&key, pod);
        key
    }

    /// Inserts or replaces a pod. The notes of a pod stay until its UID changes.
    pub(super) fn insert(&mut self, key: &PodKey, pod: &core::Pod) {
        let mut next = self.reader.read(pod);
        let namespace = self.namespaces.entry(Arc::clone(&key.namespace)).or_default();
        if let Some(before) = namespace.pods.get(&key.name).filter(|before| before.uid == next.uid) {
            // A request of the operator changes one of these fields. If no field changed, the event may be older than
            // the last request, so `quiet_until` stays.
            let changed = (before.gated, before.ends_at(), before.life.seconds)
                != (next.gated, next.ends_at(), next.life.seconds);
            next.note(|notes| {
                notes.clone_from(before.notes());
                notes.quiet_until = notes.quiet_until.filter(|_| !changed);
            });
        }
        namespace.pods.insert(Arc::clone(&key.name), Box::new(next));
    }

    pub(super) fn remove_pod(&mut self, key: &PodKey) -> Option<Pod> {
        let namespace = self.namespaces.get_mut(&key.namespace)?;
        let pod = namespace.pods.remove(&key.name);
        if namespace.pods.is_empty() && namespace.clearance.is_none() {
            self.namespaces.remove(&key.namespace);
        }
        pod.map(|pod| *pod)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;
    use kube::core::ObjectMeta;
    use tokio::time::Instant;

    use super::*;
    use crate::enforce::action::{Action, Step};

    fn pod(labels: &[(&str, &str)], deleted: bool) -> core::Pod {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let metadata = ObjectMeta {
            name: Some("pod".to_owned()),
            namespace: Some("lending".to_owned()),
            uid: Some("1".to_owned()),
            labels: Some(labels.collect()),
            deletion_timestamp: deleted.then_some(Time(Timestamp::UNIX_EPOCH)),
            ..ObjectMeta::default()
        };
        core::Pod { metadata, ..core::Pod::default() }
    }

    #[test]
    fn an_event_without_the_requested_change_does_not_end_the_quiet_time() {
        let mut cache = PodCache::new(Signs::default());
        let key = cache.set_pod(&pod(&[], false));
        let quiet = |cache: &mut PodCache| cache.pod(&key).and_then(|(pod, _)| pod.notes().quiet_until);
        if let Some((pod, _)) = cache.pod_mut(&key) {
            pod.note(|notes| notes.quiet_until = Some(Timestamp::MAX));
        }
        cache.set_pod(&pod(&[("team", "ml")], false));
        assert_eq!(quiet(&mut cache), Some(Timestamp::MAX));
        cache.set_pod(&pod(&[("team", "ml")], true));
        assert_eq!(quiet(&mut cache), None, "the event shows the deletion");
    }

    #[test]
    fn a_changed_or_missing_pod_confirms_an_unanswered_request() {
        let mut cache = PodCache::new(Signs::default());
        let stop = Action::Stop(Step::Delete { grace_period_seconds: 0 });
        let now = Instant::now();
        let mut asked = |deleted, gone| {
            let key = cache.set_pod(&pod(&[], false));
            cache.pod_mut(&key)?.0.note(|notes| notes.unanswered = Some((stop.clone(), now)));
            cache.set_pod(&pod(&[], deleted));
            let (pod, _) = cache.pod_mut(&key)?;
            let taken = pod.take_done(gone, now);
            assert_eq!(
                taken.is_none(),
                pod.notes().unanswered.is_some(),
                "the notes keep a confirmed request"
            );
            taken
        };
        assert!(asked(false, false).is_none(), "the pod did not change");
        assert!(asked(true, false).is_some() && asked(false, true).is_some());
    }

    #[test]
    fn a_late_deletion_of_a_pod_that_is_cleared_again_is_not_a_stop() {
        let mut cache = PodCache::new(Signs::default());
        let now = Instant::now();
        let mut ended = |lost_since, after| {
            let key = cache.set_pod(&pod(&[], false));
            cache.pod_mut(&key)?.0.note(|notes| {
                notes.unanswered = Some((Action::Stop(Step::Delete { grace_period_seconds: 0 }), now));
                notes.lost_since = lost_since;
            });
            cache.pod_mut(&key)?.0.take_done(true, now + Duration::from_secs(after))
        };
        assert!(ended(None, 15).is_none(), "its ReplicaSet deleted it");
        assert!(ended(None, 2).is_some(), "the request was in progress when the pod was cleared again");
        assert!(ended(Some(Timestamp::MIN), 15).is_some(), "not cleared again: the watch was late");
    }
}
