//! From what may run to what does: pods are released, held and stopped as their namespace's
//! [`Clearance`] says, and as nothing else does.
//!
//! ```text
//!  watch Clearance ─┐              ┌─ Release ─► patch: gate and label off
//!                   ├─► PodCache ─► decide ─ Stop ─► evict … then delete, within the grace
//!  watch Pod ───────┘   pods by    └─ Hold, Keep ─► (an Event, a timer)
//!        ▲              namespace        │
//!        │                               └─► Action, as many at a time as the Window allows
//!        └──────────── what came of it ◄──────┘
//! ```
//!
//! Jobs and `CronJobs` are suspended as a whole, in a task of its own ([`jobs`]), which is told of clearances.
//! One task owns the cache; there is no lock. What it decides is done by others, and comes back.

mod act;
pub(crate) mod action;
mod census;
mod cleared;
mod deadline;
pub(crate) mod decide;
pub(crate) mod decision;
mod fair;
mod jobs;
mod keep;
mod news;
mod owner;
pub(crate) mod pod;
pub(crate) mod pod_cache;
mod pod_reader;
mod queue;
mod rehearsal;
mod report;
mod say;
mod statefulset;
mod stopped;
mod watched;
mod whole;
mod window;

pub(crate) use self::{
    owner::{OwnerRef, Roots},
    pod::has_ended,
    rehearsal::{Stopped, would_stop},
};

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use k8s_openapi::{api::apps::v1::StatefulSet, jiff::Timestamp};
use kube::Client;
use tokio::sync::{mpsc, watch};

use self::{
    act::Done,
    census::Census,
    decide::{CONFIRMATION, decide, decide_alone},
    decision::{Decision, HoldReason, KeepReason, RevisitReason, StopAction},
    pod::{Notes, Pod, PodKey},
    pod_cache::PodCache,
    say::{ENDS_LATE, OVERDUE, Subject, Voice},
    watched::Watched,
    whole::{Lost, Unable},
    window::Window,
};
use crate::{
    api::{Clearance, ClearanceSpec},
    images::Signs,
    metrics::{Enforcement, EnforcementLabels, Metrics},
    timer::at,
    watch::{RETRY, Watches},
};

/// How long the API server's policies may take to see a new clearance: a release that came before that is
/// refused, and tried again after twice as long each time, up to [`RETRY`].
const LAG: Duration = Duration::from_millis(5);

/// Watches, and enforces while `leading`, until `shutdown`; what is under way then is finished.
/// By `signs` it knows the pods of AI workloads.
pub(crate) async fn run(
    client: Client,
    signs: Signs,
    metrics: Arc<Metrics>,
    watches: Arc<Watches>,
    mut leading: watch::Receiver<bool>,
    shutdown: impl Future<Output = ()>,
) {
    let mut clearances = watches.all::<Clearance>().boxed();
    let mut pods = watches.all::<Watched>().boxed();
    let mut sets = watches.all::<StatefulSet>().boxed();
    let (voice, speaking) = Voice::new(client.clone(), Arc::clone(&metrics));
    let (census, counting) = Census::new(client.clone(), Arc::clone(&metrics));
    let (jobs, told_jobs) = mpsc::unbounded_channel();
    let (whole, told_whole) = mpsc::unbounded_channel();
    let (lost, losses) = mpsc::unbounded_channel();
    let (unable, mut failures) = mpsc::unbounded_channel();
    let (accelerators, observed) = (signs.accelerators.clone(), Arc::clone(&metrics));
    let suspending = jobs::run(client.clone(), accelerators, observed, &watches, voice.clone(), told_jobs);
    let stopping =
        whole::run(client.clone(), Arc::clone(&metrics), voice.clone(), told_whole, losses, unable);
    let mut enforcer =
        Enforcer::new(client, PodCache::new(signs), metrics, voice, census, Tell { jobs, whole, lost });
    let enforcing = async {
        tokio::pin!(shutdown);
        loop {
            let next = enforcer.timers.first_key_value().map(|(at, _)| *at);
            let census_due = enforcer.census.due;
            let window_opens = enforcer.window.opens_at();
            tokio::select! {
                () = &mut shutdown => break,
                Ok(_) = leading.wait_for(|leading| *leading), if !enforcer.known.leading => enforcer.lead(),
                Some(event) = clearances.next() => enforcer.clearance_event(event),
                Some(event) = pods.next() => enforcer.pod_event(event),
                Some(event) = sets.next() => enforcer.set_event(event),
                Some(unable) = failures.recv() => enforcer.unable(&unable),
                Some((key, asked, done)) = enforcer.under_way.next() => enforcer.done(&key, &asked, done),
                () = sleep_until(next) => enforcer.look_again(Timestamp::now()),
                () = at(window_opens) => enforcer.window.open(),
                () = at(census_due), if enforcer.known.enough() => enforcer.census.publish(&enforcer.cache),
            }
            enforcer.start();
        }
        while enforcer.under_way.next().await.is_some() {}
        // With it ends what is told to the others, and so they.
        drop(enforcer);
    };
    tokio::select! {
        () = async { tokio::join!(enforcing, suspending, stopping); } => {}
        () = async { tokio::join!(speaking, counting); } => {}
    }
}

async fn sleep_until(instant: Option<Timestamp>) {
    match instant {
        None => std::future::pending().await,
        Some(instant) => {
            let wait = Duration::try_from(instant.duration_since(Timestamp::now())).unwrap_or_default();
            tokio::time::sleep(wait.min(Duration::from_hours(24))).await;
        }
    }
}

/// What the Enforcer tells those who stop workloads as a whole.
#[derive(Clone, Debug)]
enum Told {
    /// What a namespace's clearance is, and that its workloads are to be looked at.
    Clearance(Arc<str>, Option<Arc<ClearanceSpec>>),
    /// From now on, a namespace of which nothing was told has none.
    All,
}

/// Where the Enforcer tells it.
struct Tell {
    jobs: mpsc::UnboundedSender<Told>,
    whole: mpsc::UnboundedSender<Told>,
    lost: mpsc::UnboundedSender<Lost>,
}

impl Tell {
    fn all(&self, told: Told) {
        // They end only after the Enforcer.
        let _ = self.jobs.send(told.clone());
        let _ = self.whole.send(told);
    }
}

/// What to look at again when a timer ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Namespace(Arc<str>),
    Pod(PodKey),
}

/// What must be before anything is decided or counted: both watches have listed once, and this operator leads.
#[derive(Default)]
struct Known {
    clearances: bool,
    pods: bool,
    leading: bool,
}

impl Known {
    fn enough(&self) -> bool {
        self.clearances && self.pods && self.leading
    }
}

struct Enforcer {
    client: Client,
    metrics: Arc<Metrics>,
    voice: Voice,
    census: Census,
    tell: Tell,
    cache: PodCache,
    /// The uids of controllers whose pods were stopped as a whole, with when that was last asked for, and of
    /// those where it is not possible.
    whole: HashMap<String, Timestamp>,
    one_by_one: HashSet<String>,
    known: Known,
    /// What a list that is under way has named so far.
    relisted: HashSet<PodKey>,
    relisted_clearances: HashSet<String>,
    relisted_sets: HashSet<String>,
    timers: BTreeMap<Timestamp, BTreeSet<Due>>,
    waiting: VecDeque<PodKey>,
    busy: HashSet<PodKey>,
    /// Each with the pod as it was, which may be gone when the answer comes.
    under_way: FuturesUnordered<BoxFuture<'static, (PodKey, Pod, Done)>>,
    window: Window,
}

impl Enforcer {
    fn new(
        client: Client,
        cache: PodCache,
        metrics: Arc<Metrics>,
        voice: Voice,
        census: Census,
        tell: Tell,
    ) -> Self {
        Self {
            client,
            metrics,
            voice,
            census,
            tell,
            cache,
            whole: HashMap::new(),
            one_by_one: HashSet::new(),
            known: Known::default(),
            relisted: HashSet::new(),
            relisted_clearances: HashSet::new(),
            relisted_sets: HashSet::new(),
            timers: BTreeMap::new(),
            waiting: VecDeque::new(),
            busy: HashSet::new(),
            under_way: FuturesUnordered::new(),
            window: Window::default(),
        }
    }

    fn lead(&mut self) {
        self.known.leading = true;
        self.look_at_all();
        self.tell_all();
    }

    /// Tells the others that they know of every clearance.
    fn tell_all(&self) {
        if self.known.clearances && self.known.leading {
            self.tell.all(Told::All);
        }
    }

    fn look_at_all(&mut self) {
        let all: Vec<_> = self.cache.namespaces().map(|(namespace, _)| Arc::clone(namespace)).collect();
        for namespace in &all {
            self.look_at_namespace(namespace);
        }
    }

    fn look_at_namespace(&mut self, namespace: &str) {
        for key in self.cache.keys(namespace) {
            self.look_at(&key);
        }
        let namespace = self.cache.key(namespace, "").namespace;
        self.census.mark(&namespace);
        if self.known.clearances && self.known.leading {
            let clearance = self.cache.namespace(&namespace).and_then(|n| n.clearance.clone());
            self.tell.all(Told::Clearance(namespace, clearance));
        }
    }

    fn look_again(&mut self, now: Timestamp) {
        let later = self.timers.split_off(&now);
        let mut due = std::mem::replace(&mut self.timers, later);
        due.extend(self.timers.remove(&now).map(|at_now| (now, at_now)));
        for due in due.into_values().flatten() {
            match due {
                Due::Namespace(namespace) => self.look_at_namespace(&namespace),
                Due::Pod(key) => self.look_at(&key),
            }
        }
    }

    /// Decides about a pod, and puts what is to be done in the queue.
    fn look_at(&mut self, key: &PodKey) {
        self.census.mark(&key.namespace);
        if !self.known.enough() || self.busy.contains(key) {
            return;
        }
        let now = Timestamp::now();
        let quiet_until = self.cache.pod(key).and_then(|(pod, _)| pod.notes().quiet_until);
        if let Some(until) = quiet_until.filter(|until| *until > now) {
            return self.look_later(key, until);
        }
        let Some(decision) = decide(&self.cache, &self.one_by_one, key, now) else { return };
        if let Some(since) = decision.lost_since() {
            self.note(key, |notes| notes.lost_since = Some(since));
        }
        if decision.is_cleared() {
            self.is_cleared(key);
        }
        self.follow(key, decision, now);
    }

    fn follow(&mut self, key: &PodKey, decision: Decision, now: Timestamp) {
        match decision {
            Decision::Keep(KeepReason::Cleared { deadline: Some(_) })
            | Decision::Release { .. }
            | Decision::Stop { action: StopAction::Pod(_), .. } => self.wait(key),
            Decision::Keep(KeepReason::AuditOnly) => self.record(key),
            Decision::Keep(_) | Decision::Hold(HoldReason::PreviousNotReady) => {}
            Decision::Hold(reason) => {
                self.say_held(key, reason);
                self.stop_whole_again(key);
            }
            Decision::Stop { action: StopAction::Workload { until, .. }, .. } => {
                self.look_later(key, until);
                self.stop_whole(key);
            }
            Decision::Revisit { reason: RevisitReason::Deleted, at, .. } if at <= now => {
                self.say_overdue(key, now);
            }
            Decision::Revisit { reason, at, .. } => {
                self.look_later(key, at);
                if reason == RevisitReason::NamespaceBegan {
                    self.say_will_stop(key, at);
                }
            }
        }
    }

    fn note(&mut self, key: &PodKey, note: impl FnOnce(&mut Notes)) {
        if let Some((pod, _)) = self.cache.pod_mut(key) {
            pod.note(note);
        }
    }

    fn say_held(&mut self, key: &PodKey, reason: HoldReason) {
        let Some((pod, clearance)) = self.cache.pod_mut(key) else { return };
        let clearance = clearance.map(|c| &**c);
        if let HoldReason::EndsTooSlowly { most } = reason {
            if pod.note(|notes| notes.say("EndsTooSlowly")) {
                self.voice.ends_too_slowly(key, pod, clearance, most);
            }
        } else if pod.note(|notes| notes.say("Held")) {
            self.voice.held(&Subject::pod(key, pod), clearance);
        }
    }

    fn say_will_stop(&mut self, key: &PodKey, turn: Timestamp) {
        let Some((pod, clearance)) = self.cache.pod_mut(key) else { return };
        if pod.note(|notes| notes.say("WillStop")) {
            self.voice.will_stop(&Subject::pod(key, pod), clearance.map(|c| &**c), turn);
        }
    }

    fn say_overdue(&mut self, key: &PodKey, now: Timestamp) {
        let Some((pod, clearance)) = self.cache.pod_mut(key) else { return };
        // Its end is still to come, because somebody else had fixed it: it is looked at again then.
        let ends = pod.ends_at().map(|at| at + CONFIRMATION).filter(|at| *at > now);
        let what = if ends.is_some() { ENDS_LATE } else { OVERDUE };
        if pod.note(|notes| notes.say(what)) {
            self.voice.overdue(key, pod, clearance.map(|c| &**c), ends.is_some());
        }
        if let Some(at) = ends {
            self.look_later(key, at);
        }
    }

    fn record(&mut self, key: &PodKey) {
        let Some((pod, clearance)) = self.cache.pod_mut(key) else { return };
        if pod.note(|notes| notes.say("ClearanceLost")) {
            self.voice.stopped(&Subject::pod(key, pod), clearance.map(|c| &**c), "Audit");
            let labels = EnforcementLabels { action: Enforcement::Audit, done: true };
            self.metrics.enforcements.get_or_create(&labels).inc();
        }
    }

    /// A pod may run. When all pods of its workload may and it loses its clearance again, that is a new case: it is
    /// stopped as a whole, though last time somebody would not have it.
    fn is_cleared(&mut self, key: &PodKey) {
        self.note(key, |notes| notes.lost_since = None);
        let Some(owner) = self.cache.pod(key).and_then(|(pod, _)| pod.owner.clone()) else { return };
        let was_stopped = self.whole.contains_key(&owner.uid) || self.one_by_one.contains(&owner.uid);
        if was_stopped && self.all_may_run(&key.namespace, &owner) {
            self.whole.remove(&owner.uid);
            self.one_by_one.remove(&owner.uid);
        }
    }

    fn all_may_run(&self, namespace: &str, owner: &Arc<OwnerRef>) -> bool {
        let (now, known) = (Timestamp::now(), self.cache.namespace(namespace));
        let clearance = known.and_then(|known| known.clearance.as_deref());
        let pods = known.into_iter().flat_map(|known| known.pods.values());
        pods.filter(|pod| pod.owner.as_ref() == Some(owner))
            .all(|pod| decide_alone(pod, clearance, now).lets_run())
    }

    /// Has the workload of a pod stopped as a whole; of many pods, not more often than once in [`RETRY`].
    fn stop_whole(&mut self, key: &PodKey) {
        let Some((pod, clearance)) = self.cache.pod(key) else { return };
        let system = clearance.and_then(|c| c.systems.get(&*pod.system));
        let Some((owner, system)) = pod.owner.as_ref().zip(system) else { return };
        let now = Timestamp::now();
        let again = self.whole.get(&owner.uid).map(|last| *last + RETRY).filter(|again| *again > now);
        if let Some(again) = again {
            return self.look_later(key, again);
        }
        self.whole.insert(owner.uid.clone(), now);
        // It ends only after the Enforcer.
        let _ = self.tell.lost.send(Lost {
            namespace: Arc::clone(&key.namespace),
            owner: Arc::clone(owner),
            system: Arc::clone(&pod.system),
            mode: system.on_loss.mode,
            runtime: pod.runtime.as_ref().ok().cloned(),
        });
    }

    /// A workload that was stopped has pods again: somebody put it back.
    fn stop_whole_again(&mut self, key: &PodKey) {
        let owner = self.cache.pod(key).and_then(|(pod, _)| pod.owner.as_ref());
        if owner.is_some_and(|o| self.whole.contains_key(&o.uid) && !self.one_by_one.contains(&o.uid)) {
            self.stop_whole(key);
        }
    }

    fn unable(&mut self, unable: &Unable) {
        self.one_by_one.insert(unable.owner.uid.clone());
        self.look_at_namespace(&unable.namespace);
    }

    fn look_later(&mut self, key: &PodKey, at: Timestamp) {
        self.timers.entry(at).or_default().insert(Due::Pod(key.clone()));
    }

    /// What becomes of one pod may make it the turn of another of its `StatefulSet`.
    fn look_at_neighbours(&mut self, key: &PodKey) {
        for neighbour in self.cache.neighbours(key).into_iter().flatten() {
            self.look_at(&neighbour);
        }
    }
}
