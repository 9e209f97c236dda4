//! Every pod and clearance by namespace, as small as deciding allows.
//!
//! ```text
//!  Roster ── namespace ─┬─ clearance: ClearanceSpec
//!                       └─ pods: name ─► Pod ── runtime ──► one Runtime, shared by all that have it
//! ```

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    hash::Hash,
    sync::Arc,
    time::Duration,
};

use k8s_openapi::{api::core::v1 as core, jiff::Timestamp};
use kube::ResourceExt;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    act::Action,
    deadline::Life,
    turn::{self, Member, Set},
};
use crate::{
    api::{ClearanceSpec, GATE, Runtime, SYSTEM_LABEL, Scope, SharedRuntime},
    images::Signs,
    policy::{Unmatchable, narrowest_scope, runtime_of_pod},
};

/// Which pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodKey {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

/// Which pod of all that ever had its name: the API server makes up a UUID (RFC 9562), which is smaller as a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Uid {
    Uuid(Uuid),
    Other(Box<str>),
}

impl From<String> for Uid {
    fn from(text: String) -> Self {
        let uuid = Uuid::try_parse(&text).ok().filter(|uuid| uuid.to_string() == text);
        uuid.map_or_else(|| Self::Other(text.into()), Self::Uuid)
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uuid(uuid) => uuid.fmt(f),
            Self::Other(uid) => uid.fmt(f),
        }
    }
}

/// What deciding about a pod needs to know of it.
#[derive(Clone, Debug)]
pub struct Pod {
    pub uid: Uid,
    pub system: Arc<str>,
    pub runtime: Result<SharedRuntime, Unmatchable>,
    pub owner: Option<Arc<OwnerIs>>,
    /// Its place in its `StatefulSet`.
    pub member: Option<Box<Member>>,
    pub gated: bool,
    /// The narrowest scope that takes it in.
    pub scope: Scope,
    /// It asks for an accelerator, or its image is that of an AI workload.
    pub suspect: bool,
    /// It has run to its end.
    pub ended: bool,
    /// It is being deleted.
    pub ending: Option<Box<Ending>>,
    pub created: Timestamp,
    /// The seconds that it asks for to end by itself.
    pub termination_grace: u32,
    /// The longest grace with which its kubelet stops it, or by a failed probe one of its containers.
    pub longest_grace: u32,
    pub life: Life,
    /// `None` where it is [`NOTHING`].
    notes: Option<Box<Notes>>,
}

/// What is known of a pod that is being deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// When it will have been deleted.
    pub at: Timestamp,
    /// The seconds that it was given to end by itself.
    pub with: Option<u32>,
    pub kept_by: KeptBy,
}

/// How long after a request was not answered the API server may still do what it asks.
const DONE_BY: Duration = Duration::from_secs(10);

/// What this operator noted about a pod; about most, nothing.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// Since when it should not run.
    pub lost_since: Option<Timestamp>,
    /// Nothing is asked before: the API server did what was asked and the watch has not told yet, or it
    /// refused and is asked again then.
    pub quiet_until: Option<Timestamp>,
    /// The last request without an answer, and its time. The API server may have carried it out all the same.
    pub unanswered: Option<(Action, Instant)>,
    /// How often its release was refused in a row.
    pub refusals: u32,
    /// What was last said about it.
    pub said: Option<&'static str>,
}

static NOTHING: Notes =
    Notes { lost_since: None, quiet_until: None, unanswered: None, refusals: 0, said: None };

/// On whom it depends when a pod that is being deleted is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeptBy {
    /// The kubelet of this node has to say that it ended.
    Node(Arc<str>),
    /// It ended, or somebody said so; these have to be taken off, separated by commas.
    Finalizers(Arc<str>),
}

/// The controller of a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnerIs {
    pub api_version: String,
    pub kind: String,
    pub name: String,
    pub uid: String,
}

impl OwnerIs {
    /// The controller of an object, if it has one.
    pub fn of(object: &impl ResourceExt) -> Option<Self> {
        let owner = object.owner_references().iter().find(|owner| owner.controller == Some(true))?;
        Some(Self {
            api_version: owner.api_version.clone(),
            kind: owner.kind.clone(),
            name: owner.name.clone(),
            uid: owner.uid.clone(),
        })
    }
}

/// Whether a pod has run to its end.
pub fn has_ended(pod: &core::Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// What is known of one namespace.
#[derive(Debug, Default)]
pub struct Namespace {
    pub clearance: Option<Arc<ClearanceSpec>>,
    /// Boxed, for a map is up to twice as large as what is in it.
    pub pods: HashMap<Arc<str>, Box<Pod>>,
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
    /// `StatefulSets` by uid.
    sets: HashMap<String, Set>,
    texts: Shared<str>,
    owners: Shared<OwnerIs>,
    prune_at: usize,
    signs: Signs,
}

impl Roster {
    /// An empty roster, which knows the pods of AI workloads by `signs`.
    pub fn new(signs: Signs) -> Self {
        Self {
            signs,
            namespaces: BTreeMap::new(),
            sets: HashMap::new(),
            texts: Shared(HashSet::new()),
            owners: Shared(HashSet::new()),
            prune_at: PRUNE_AT,
        }
    }

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

    /// A pod and its namespace's clearance.
    pub fn pod(&self, key: &PodKey) -> Option<(&Pod, Option<&Arc<ClearanceSpec>>)> {
        let namespace = self.namespaces.get(&key.namespace)?;
        Some((namespace.pods.get(&key.name)?, namespace.clearance.as_ref()))
    }

    /// A pod, to note something about it, and its namespace's clearance.
    pub fn pod_mut(&mut self, key: &PodKey) -> Option<(&mut Pod, Option<&Arc<ClearanceSpec>>)> {
        let namespace = self.namespaces.get_mut(&key.namespace)?;
        Some((namespace.pods.get_mut(&key.name)?, namespace.clearance.as_ref()))
    }

    /// Takes in a `StatefulSet`; whether it is another than before.
    pub fn set_set(&mut self, uid: String, set: Set) -> bool {
        let changed = self.sets.get(&uid) != Some(&set);
        self.sets.insert(uid, set);
        changed
    }

    /// Keeps only the `StatefulSets` that `is_there` knows.
    pub fn retain_sets(&mut self, is_there: impl Fn(&str) -> bool) {
        self.sets.retain(|uid, _| is_there(uid));
    }

    /// The pods of a `StatefulSet`.
    pub fn keys_of_set(&self, namespace: &str, uid: &str) -> Vec<PodKey> {
        let of_set = |key: &PodKey| {
            self.pod(key).is_some_and(|(pod, _)| {
                pod.member.is_some() && pod.owner.as_ref().is_some_and(|o| o.uid == uid)
            })
        };
        self.keys(namespace).into_iter().filter(of_set).collect()
    }

    /// The pods before and after a pod in its `StatefulSet`.
    pub fn neighbours(&self, key: &PodKey) -> [Option<PodKey>; 2] {
        let place = self.pod(key).and_then(|(pod, _)| Some((pod.owner.as_ref()?, pod.member.as_ref()?)));
        let named = |owner: &OwnerIs, ordinal: u32| PodKey {
            namespace: Arc::clone(&key.namespace),
            name: format!("{}-{ordinal}", owner.name).into(),
        };
        [
            place.and_then(|(owner, member)| Some(named(owner, member.ordinal.checked_sub(1)?))),
            place.map(|(owner, member)| named(owner, member.ordinal.saturating_add(1))),
        ]
    }

    /// When it is the turn of a pod to be stopped, in a set that is without clearance since `since`.
    pub fn stops_at(&self, key: &PodKey, member: &Member, since: Timestamp, until: Timestamp) -> Timestamp {
        let pods = self.namespaces.get(&key.namespace).map(|n| &n.pods);
        let owner = pods.and_then(|pods| pods.get(&key.name)).and_then(|pod| pod.owner.as_ref());
        let running = pods
            .into_iter()
            .flat_map(HashMap::values)
            .filter(|pod| !pod.gated && !pod.ended && pod.owner.as_ref() == owner);
        let running: Vec<_> = running.filter_map(|pod| pod.member.as_ref().map(|m| m.ordinal)).collect();
        turn::stops_at(member.ordinal, &running, since, until)
    }

    /// Whether another pod of the owner of `pod` is away: it ends, waits, did not start yet, or was just asked
    /// to end.
    pub fn one_is_away(&self, key: &PodKey, pod: &Pod, now: Timestamp) -> bool {
        let others = self.namespaces.get(&key.namespace).into_iter().flat_map(|n| n.pods.values());
        others.filter(|other| other.owner == pod.owner && other.uid != pod.uid && !other.ended).any(|other| {
            let is_asked = other.notes().quiet_until.is_some_and(|until| until > now);
            other.gated || other.ending.is_some() || other.life.started.is_none() || is_asked
        })
    }

    /// Whether it is the turn of a held pod to be released. Another pod may have the name of the one before it.
    pub fn may_start(&self, key: &PodKey, pod: &Pod, is_to_run: impl FnOnce(&Pod) -> bool) -> bool {
        let [before, _] = self.neighbours(key);
        let before = before.and_then(|before| self.pod(&before)).map(|(pod, _)| pod);
        self.set_of(pod).may_follow(before.filter(|before| before.owner == pod.owner), is_to_run)
    }

    /// Whether the set of a held pod waits for another in its place.
    pub fn is_outdated(&self, held: &Pod) -> bool {
        held.member.as_ref().is_some_and(|member| self.set_of(held).wants_another(member))
    }

    /// One that is not known yet counts as ordered.
    fn set_of(&self, pod: &Pod) -> Cow<'_, Set> {
        let known = pod.owner.as_ref().and_then(|owner| self.sets.get(&owner.uid));
        known.map_or_else(|| Cow::Owned(Set::default()), Cow::Borrowed)
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
            // What was asked shows in these; news of anything else may have been under way before.
            let told = (before.gated, before.ends_at(), before.life.seconds)
                != (next.gated, next.ends_at(), next.life.seconds);
            next.note(|notes| {
                notes.clone_from(before.notes());
                notes.quiet_until = notes.quiet_until.filter(|_| !told);
            });
        }
        namespace.pods.insert(Arc::clone(&key.name), Box::new(next));
        key
    }

    /// Forgets a pod.
    pub fn remove_pod(&mut self, key: &PodKey) -> Option<Pod> {
        let namespace = self.namespaces.get_mut(&key.namespace)?;
        let pod = namespace.pods.remove(&key.name);
        if namespace.pods.is_empty() && namespace.clearance.is_none() {
            self.namespaces.remove(&key.namespace);
        }
        pod.map(|pod| *pod)
    }

    /// What deciding about a pod needs to know of it.
    pub fn read(&mut self, pod: &core::Pod) -> Pod {
        self.prune();
        let spec = pod.spec.as_ref();
        let gates = spec.iter().flat_map(|spec| spec.scheduling_gates.iter().flatten());
        let owner = OwnerIs::of(pod).map(|owner| self.owners.get(Arc::new(owner)));
        let runtime = spec
            .map_or_else(|| Ok(Runtime::default()), |spec| runtime_of_pod(Some(pod.annotations()), spec))
            .map(SharedRuntime::from);
        let termination_grace = seconds(spec.and_then(|spec| spec.termination_grace_period_seconds), 30);
        let probes = spec.into_iter().flat_map(probe_graces).max();
        Pod {
            uid: pod.uid().unwrap_or_default().into(),
            system: self.texts.get(pod.labels().get(SYSTEM_LABEL).map_or("", String::as_str).into()),
            runtime,
            member: Member::of(pod, owner.as_deref()).map(Box::new),
            life: Life::of(pod, owner.as_deref()),
            owner,
            gated: gates.into_iter().any(|gate| gate.name == GATE),
            scope: spec
                .map_or(Scope::All, |spec| narrowest_scope(&pod.metadata, spec, &self.signs.accelerators)),
            suspect: spec.is_some_and(|spec| self.signs.suspect(&pod.metadata, spec)),
            ended: has_ended(pod),
            ending: pod.metadata.deletion_timestamp.as_ref().map(|at| Box::new(self.ending(pod, at.0))),
            created: pod.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |at| at.0),
            termination_grace,
            longest_grace: termination_grace.max(seconds(probes, 0)),
            notes: None,
        }
    }

    fn ending(&mut self, pod: &core::Pod, at: Timestamp) -> Ending {
        let with = pod.metadata.deletion_grace_period_seconds.and_then(|s| u32::try_from(s).ok());
        Ending { at, with, kept_by: self.kept_by(pod) }
    }

    fn kept_by(&mut self, pod: &core::Pod) -> KeptBy {
        // The kubelet deletes what ended with a grace of zero; finalizers keep the object all the same.
        let ended = pod.metadata.deletion_grace_period_seconds == Some(0);
        match pod.finalizers() {
            finalizers if ended && !finalizers.is_empty() => {
                KeptBy::Finalizers(self.texts.get(finalizers.join(", ").into()))
            }
            _ => {
                let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
                KeptBy::Node(self.texts.get(node.into()))
            }
        }
    }

    fn prune(&mut self) {
        if self.owners.0.len() + self.texts.0.len() > self.prune_at {
            self.owners.prune();
            self.texts.prune();
            self.prune_at = PRUNE_AT + 2 * (self.owners.0.len() + self.texts.0.len());
        }
    }
}

/// A number of seconds that a pod asks for; negative ones are taken as a second, as Kubernetes does.
fn seconds(asked: Option<i64>, default: u32) -> u32 {
    asked.map_or(default, |seconds| if seconds < 0 { 1 } else { u32::try_from(seconds).unwrap_or(u32::MAX) })
}

/// The graces of the probes whose failure stops a container.
fn probe_graces(spec: &core::PodSpec) -> impl Iterator<Item = i64> {
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let probes = containers.flat_map(|container| [&container.liveness_probe, &container.startup_probe]);
    probes.flatten().filter_map(|probe| probe.termination_grace_period_seconds)
}

impl Pod {
    /// What was noted about it.
    pub fn notes(&self) -> &Notes {
        self.notes.as_deref().unwrap_or(&NOTHING)
    }

    /// Has something noted about it, or forgotten.
    pub fn note<T>(&mut self, note: impl FnOnce(&mut Notes) -> T) -> T {
        let mut notes = self.notes.take().map_or_else(Notes::default, |notes| *notes);
        let told = note(&mut notes);
        self.notes = (!notes.is_nothing()).then(|| Box::new(notes));
        told
    }

    /// When it will have been deleted, if it is being.
    pub fn ends_at(&self) -> Option<Timestamp> {
        self.ending.as_ref().map(|ending| ending.at)
    }

    /// Takes what was not answered, if it shows in the pod, or in its absence, that it was done. When the pod was
    /// cleared again meanwhile, somebody else has ended it, unless it ends soon.
    pub fn take_done(&mut self, gone: bool, now: Instant) -> Option<Action> {
        let (released, ended) = (!self.gated && !gone, self.ending.is_some() || gone);
        let is_lost = self.notes().lost_since.is_some();
        let seconds = self.life.seconds;
        let shows = |(action, asked): &mut (Action, Instant)| match *action {
            Action::Release(_) => released,
            Action::Stop(_) | Action::Replace | Action::Roll => {
                ended && (is_lost || now.duration_since(*asked) < DONE_BY)
            }
            Action::Bound(wanted) => seconds == Some(wanted),
        };
        self.note(|notes| notes.unanswered.take_if(shows)).map(|(action, _)| action)
    }

    /// Whether a Job made it, which would count its end as a failure.
    pub fn is_of_a_job(&self) -> bool {
        self.owner
            .as_ref()
            .is_some_and(|owner| owner.kind == "Job" && owner.api_version.starts_with("batch/"))
    }
}

impl Notes {
    /// Notes that it is said, and whether that is new.
    pub fn say(&mut self, what: &'static str) -> bool {
        self.said.replace(what) != Some(what)
    }

    fn is_nothing(&self) -> bool {
        let Self { lost_since, quiet_until, unanswered, refusals, said } = self;
        lost_since.is_none()
            && quiet_until.is_none()
            && unanswered.is_none()
            && *refusals == 0
            && said.is_none()
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
    fn a_uid_stays_as_it_is_written() {
        for uid in ["a6624e78-9d75-4f49-b9b7-adc43973495e", "A6624E78-9D75-4F49-B9B7-ADC43973495E", "1", ""] {
            assert_eq!(Uid::from(uid.to_owned()).to_string(), uid);
        }
    }

    #[test]
    fn nothing_is_asked_twice_because_of_other_news() {
        let mut roster = Roster::new(Signs::default());
        let key = roster.set_pod(&pod(&[], false));
        let quiet = |roster: &mut Roster| roster.pod(&key).and_then(|(pod, _)| pod.notes().quiet_until);
        if let Some((pod, _)) = roster.pod_mut(&key) {
            pod.note(|notes| notes.quiet_until = Some(Timestamp::MAX));
        }
        roster.set_pod(&pod(&[("team", "ml")], false));
        assert_eq!(quiet(&mut roster), Some(Timestamp::MAX));
        roster.set_pod(&pod(&[("team", "ml")], true));
        assert_eq!(quiet(&mut roster), None, "it is told now that the pod ends");
    }

    #[test]
    fn what_was_asked_and_not_answered_shows_in_the_pod_or_in_its_absence() {
        let mut roster = Roster::new(Signs::default());
        let stop = Action::Stop(Step::Delete { grace_period_seconds: 0 });
        let now = Instant::now();
        let mut asked = |deleted, gone| {
            let key = roster.set_pod(&pod(&[], false));
            roster.pod_mut(&key)?.0.note(|notes| notes.unanswered = Some((stop.clone(), now)));
            roster.set_pod(&pod(&[], deleted));
            let (pod, _) = roster.pod_mut(&key)?;
            let taken = pod.take_done(gone, now);
            assert_eq!(taken.is_none(), pod.notes().unanswered.is_some(), "it is said once");
            taken
        };
        assert!(asked(false, false).is_none(), "it was not done");
        assert!(asked(true, false).is_some() && asked(false, true).is_some());
    }
    #[test]
    fn a_pod_that_was_cleared_again_and_ends_later_was_not_stopped() {
        let mut roster = Roster::new(Signs::default());
        let now = Instant::now();
        let mut ended = |lost_since, after| {
            let key = roster.set_pod(&pod(&[], false));
            roster.pod_mut(&key)?.0.note(|notes| {
                notes.unanswered = Some((Action::Stop(Step::Delete { grace_period_seconds: 0 }), now));
                notes.lost_since = lost_since;
            });
            roster.pod_mut(&key)?.0.take_done(true, now + Duration::from_secs(after))
        };
        assert!(ended(None, 15).is_none(), "its ReplicaSet deleted it");
        assert!(ended(None, 2).is_some(), "the request was under way when it was cleared again");
        assert!(ended(Some(Timestamp::MIN), 15).is_some(), "the watch tells late");
    }
}
