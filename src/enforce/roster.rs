//! Every pod and clearance by namespace, as small as deciding allows.
//!
//! ```text
//!  Roster ── namespace ─┬─ clearance: ClearanceSpec
//!                       └─ pods: name ─► Pod ── runtime ──► one Runtime shared by all pods like it
//! ```

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::Hash,
    sync::Arc,
};

use k8s_openapi::{
    api::core::v1 as core,
    apimachinery::pkg::apis::meta::v1::OwnerReference,
    jiff::{SignedDuration, Timestamp},
};
use kube::ResourceExt;

use super::act::Action;
use crate::{
    api::{ClearanceSpec, GATE, Runtime, SYSTEM_LABEL},
    policy::{Unmatchable, runtime_of_pod},
};

/// Which pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodKey {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

/// What deciding about a pod needs to know of it.
#[derive(Clone, Debug)]
pub struct Pod {
    pub uid: String,
    pub system: Arc<str>,
    pub runtime: Arc<Result<Runtime, Unmatchable>>,
    pub owner: Option<Arc<OwnerIs>>,
    pub gated: bool,
    /// It has run to its end.
    pub ended: bool,
    /// When it will have been deleted, if it is being.
    pub ends_at: Option<Timestamp>,
    pub created: Timestamp,
    /// The seconds that it asks for to end by itself.
    pub termination_grace: u32,
    /// Since when it should not run.
    pub lost_since: Option<Timestamp>,
    /// Nothing is asked before: the API server did what was asked and the watch has not told yet, or it
    /// refused and is asked again then.
    pub quiet_until: Option<Timestamp>,
    /// What was asked and not answered: it may have been done all the same.
    pub unanswered: Option<Action>,
    /// How often its release was refused in a row.
    pub refusals: u32,
    /// What was last said about it.
    pub said: Option<&'static str>,
}

/// The controller of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OwnerIs {
    pub api_version: String,
    pub kind: String,
    pub name: String,
    pub uid: String,
}

impl From<&OwnerReference> for OwnerIs {
    fn from(owner: &OwnerReference) -> Self {
        Self {
            api_version: owner.api_version.clone(),
            kind: owner.kind.clone(),
            name: owner.name.clone(),
            uid: owner.uid.clone(),
        }
    }
}

/// What is known of one namespace.
#[derive(Debug, Default)]
pub struct Namespace {
    pub clearance: Option<Arc<ClearanceSpec>>,
    pub pods: HashMap<Arc<str>, Pod>,
}

/// Values that many pods share.
#[derive(Debug)]
struct Shared<T: ?Sized>(HashSet<Arc<T>>);

impl<T: ?Sized + Hash + Eq> Shared<T>
where
    Arc<T>: std::borrow::Borrow<T>,
{
    fn get(&mut self, value: Arc<T>) -> Arc<T> {
        if let Some(known) = self.0.get(&*value) {
            return Arc::clone(known);
        }
        self.0.insert(Arc::clone(&value));
        value
    }

    /// Drops what nobody else has any more.
    fn prune(&mut self) {
        self.0.retain(|value| Arc::strong_count(value) > 1);
    }
}

/// How many values are shared before those that nobody has any more are looked for.
const PRUNE_AT: usize = 1024;

/// Every pod and clearance that the API server told of.
#[derive(Debug)]
pub struct Roster {
    namespaces: BTreeMap<Arc<str>, Namespace>,
    texts: Shared<str>,
    runtimes: Shared<Result<Runtime, Unmatchable>>,
    owners: Shared<OwnerIs>,
    prune_at: usize,
}

impl Default for Roster {
    fn default() -> Self {
        Self {
            namespaces: BTreeMap::new(),
            texts: Shared(HashSet::new()),
            runtimes: Shared(HashSet::new()),
            owners: Shared(HashSet::new()),
            prune_at: PRUNE_AT,
        }
    }
}

impl Roster {
    pub fn key(&mut self, namespace: &str, name: &str) -> PodKey {
        PodKey { namespace: self.texts.get(namespace.into()), name: name.into() }
    }

    pub fn namespace(&self, namespace: &str) -> Option<&Namespace> {
        self.namespaces.get(namespace)
    }

    pub fn namespaces(&self) -> impl Iterator<Item = (&Arc<str>, &Namespace)> {
        self.namespaces.iter()
    }

    /// The pods of a namespace.
    pub fn keys(&self, namespace: &str) -> Vec<PodKey> {
        let Some((namespace, known)) = self.namespaces.get_key_value(namespace) else { return Vec::new() };
        known
            .pods
            .keys()
            .map(|name| PodKey { namespace: Arc::clone(namespace), name: Arc::clone(name) })
            .collect()
    }

    /// A pod, to note something about it, and its namespace's clearance.
    pub fn pod_mut(&mut self, key: &PodKey) -> Option<(&mut Pod, Option<&Arc<ClearanceSpec>>)> {
        let namespace = self.namespaces.get_mut(&key.namespace)?;
        Some((namespace.pods.get_mut(&key.name)?, namespace.clearance.as_ref()))
    }

    /// Takes in a clearance, or that there is none.
    pub fn set_clearance(&mut self, namespace: &str, clearance: Option<ClearanceSpec>) {
        let namespace = self.texts.get(namespace.into());
        self.namespaces.entry(namespace).or_default().clearance = clearance.map(Arc::new);
    }

    /// Takes in a pod. What was noted about it stays, as long as it is the same pod.
    pub fn set_pod(&mut self, pod: &core::Pod) -> PodKey {
        let key = self.key(&pod.namespace().unwrap_or_default(), &pod.name_any());
        let mut next = self.read(pod);
        let namespace = self.namespaces.entry(Arc::clone(&key.namespace)).or_default();
        if let Some(before) = namespace.pods.get(&key.name).filter(|before| before.uid == next.uid) {
            next.lost_since = before.lost_since;
            next.said = before.said;
            next.unanswered.clone_from(&before.unanswered);
            next.refusals = before.refusals;
            // What was asked shows in these; news of anything else may have been under way before.
            let told = (before.gated, before.ends_at) != (next.gated, next.ends_at);
            next.quiet_until = before.quiet_until.filter(|_| !told);
        }
        namespace.pods.insert(Arc::clone(&key.name), next);
        key
    }

    /// Forgets a pod.
    pub fn remove_pod(&mut self, key: &PodKey) -> Option<Pod> {
        let namespace = self.namespaces.get_mut(&key.namespace)?;
        let pod = namespace.pods.remove(&key.name);
        if namespace.pods.is_empty() && namespace.clearance.is_none() {
            self.namespaces.remove(&key.namespace);
        }
        pod
    }

    fn read(&mut self, pod: &core::Pod) -> Pod {
        self.prune();
        let spec = pod.spec.as_ref();
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let gates = spec.iter().flat_map(|spec| spec.scheduling_gates.iter().flatten());
        let owner = pod.owner_references().iter().find(|owner| owner.controller == Some(true));
        let runtime = spec.map_or_else(|| Ok(Runtime::default()), runtime_of_pod);
        let asked = spec.and_then(|spec| spec.termination_grace_period_seconds);
        Pod {
            uid: pod.uid().unwrap_or_default(),
            system: self.texts.get(pod.labels().get(SYSTEM_LABEL).map_or("", String::as_str).into()),
            runtime: self.runtimes.get(Arc::new(runtime)),
            owner: owner.map(|owner| self.owners.get(Arc::new(owner.into()))),
            gated: gates.into_iter().any(|gate| gate.name == GATE),
            ended: matches!(phase, Some("Succeeded" | "Failed")),
            ends_at: pod.metadata.deletion_timestamp.as_ref().map(|at| at.0),
            created: pod.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |at| at.0),
            termination_grace: asked.and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or(30),
            lost_since: None,
            quiet_until: None,
            unanswered: None,
            refusals: 0,
            said: None,
        }
    }

    fn prune(&mut self) {
        if self.runtimes.0.len() + self.owners.0.len() + self.texts.0.len() > self.prune_at {
            self.runtimes.prune();
            self.owners.prune();
            self.texts.prune();
            self.prune_at = PRUNE_AT + 2 * (self.runtimes.0.len() + self.owners.0.len() + self.texts.0.len());
        }
    }
}

impl Pod {
    /// Takes what was not answered, if it shows in the pod, or in its absence, that it was done.
    pub fn take_done(&mut self, gone: bool) -> Option<Action> {
        let (released, stopped) = (!self.gated && !gone, self.ends_at.is_some() || gone);
        self.unanswered.take_if(|action| match action {
            Action::Release(_) => released,
            Action::Stop(_) => stopped,
        })
    }

    /// Notes since when the pod should not run: since its system lost a clearance or, where that was
    /// before the pod was there or nobody knows, since now.
    pub fn lost(&mut self, lost_at: Option<Timestamp>, now: Timestamp) -> Timestamp {
        // A second of slack: what the API server writes is cut to whole seconds.
        let known = lost_at.filter(|at| *at + SignedDuration::from_secs(1) >= self.created);
        *self.lost_since.get_or_insert_with(|| known.unwrap_or(now))
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use kube::core::ObjectMeta;

    use super::*;
    use crate::enforce::decide::Step;

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
    fn nothing_is_asked_twice_because_of_other_news() {
        let mut roster = Roster::default();
        let key = roster.set_pod(&pod(&[], false));
        let quiet = |roster: &mut Roster| roster.pod_mut(&key).and_then(|(pod, _)| pod.quiet_until);
        if let Some((pod, _)) = roster.pod_mut(&key) {
            pod.quiet_until = Some(Timestamp::MAX);
        }
        roster.set_pod(&pod(&[("team", "ml")], false));
        assert_eq!(quiet(&mut roster), Some(Timestamp::MAX));
        roster.set_pod(&pod(&[("team", "ml")], true));
        assert_eq!(quiet(&mut roster), None, "it is told now that the pod ends");
    }

    #[test]
    fn what_was_asked_and_not_answered_shows_in_the_pod_or_in_its_absence() {
        let mut roster = Roster::default();
        let stop = Action::Stop(Step::Delete { grace_period_seconds: 0 });
        let mut asked = |deleted, gone| {
            let key = roster.set_pod(&pod(&[], false));
            roster.pod_mut(&key)?.0.unanswered = Some(stop.clone());
            roster.set_pod(&pod(&[], deleted));
            let (pod, _) = roster.pod_mut(&key)?;
            let taken = pod.take_done(gone);
            assert_eq!(taken.is_none(), pod.unanswered.is_some(), "it is said once");
            taken
        };
        assert!(asked(false, false).is_none(), "it was not done");
        assert!(asked(true, false).is_some() && asked(false, true).is_some());
    }
}
