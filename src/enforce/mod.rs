//! From what may run to what does: pods are released, held and stopped as their namespace's
//! [`Clearance`] says, and as nothing else does.
//!
//! ```text
//!  watch Clearance ─┐              ┌─ Release ─► patch: gate and label off
//!                   ├─► Roster ─► decide ─ Stop ─► evict … then delete, within the grace
//!  watch Pod ───────┘   pods by    └─ Hold, Keep ─► (an Event, a timer)
//!        ▲              namespace        │
//!        │                               └─► Action, as many at a time as the Window allows
//!        └──────────── what came of it ◄──────┘
//! ```
//!
//! Jobs and `CronJobs` are suspended as a whole, in a task of its own ([`jobs`]), which is told of clearances.
//! One task owns the roster; there is no lock. What it decides is done by others, and comes back.

mod act;
mod census;
mod deadline;
pub(crate) mod decide;
mod jobs;
mod keep;
mod owner;
mod rehearsal;
pub(crate) mod roster;
mod say;
mod turn;
mod whole;
mod window;

pub(crate) use self::{
    owner::Roots,
    rehearsal::{Stopped, would_stop},
    roster::OwnerIs,
};

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use k8s_openapi::{
    api::{apps::v1::StatefulSet, core::v1 as core},
    jiff::Timestamp,
};
use kube::{
    Client, ResourceExt,
    runtime::{watcher, watcher::Event},
};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tracing::warn;

use self::{
    act::{Action, Done, PATIENCE, act},
    census::Census,
    decide::{Decision, Step, decide},
    roster::{Pod, PodKey, Roster},
    say::{OVERDUE, Subject, Voice},
    whole::{Lost, Unable},
    window::Window,
};
use crate::{
    api::{CLEARANCE_NAME, Clearance, ClearanceSpec},
    images::ImagePatterns,
    metrics::{Enforcement, EnforcementLabels, Metrics},
    watching::watch_all,
};

/// How long after a refusal the same is tried again, about.
const RETRY: Duration = Duration::from_secs(1);

/// How long the API server's policies may take to see a new clearance: a release that came before that is
/// refused, and tried again after twice as long each time, up to [`RETRY`].
const LAG: Duration = Duration::from_millis(10);

/// Watches, and enforces while `leading`, until `shutdown`; what is under way then is finished.
/// An image that one of `images` matches counts as that of an AI workload.
pub async fn run(
    client: Client,
    images: ImagePatterns,
    metrics: Arc<Metrics>,
    mut leading: watch::Receiver<bool>,
    shutdown: impl Future<Output = ()>,
) {
    let mut clearances = watch_all::<Clearance>(&client).boxed();
    let mut pods = watch_all::<core::Pod>(&client).boxed();
    let mut sets = watch_all::<StatefulSet>(&client).boxed();
    let (voice, speaking) = Voice::new(client.clone(), Arc::clone(&metrics));
    let (census, counting) = Census::new(client.clone(), Arc::clone(&metrics));
    let (jobs, told_jobs) = mpsc::unbounded_channel();
    let (whole, told_whole) = mpsc::unbounded_channel();
    let (lost, losses) = mpsc::unbounded_channel();
    let (unable, mut failures) = mpsc::unbounded_channel();
    let suspending = jobs::run(client.clone(), Arc::clone(&metrics), voice.clone(), told_jobs);
    let stopping =
        whole::run(client.clone(), Arc::clone(&metrics), voice.clone(), told_whole, losses, unable);
    let mut enforcer =
        Enforcer::new(client, Roster::new(images), metrics, voice, census, Tell { jobs, whole, lost });
    let enforcing = async {
        tokio::pin!(shutdown);
        loop {
            let next = enforcer.timers.first_key_value().map(|(at, _)| *at);
            let census_due = enforcer.census.due();
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
                () = pause(window_opens) => enforcer.window.open(),
                () = census_due, if enforcer.known.leading => enforcer.census.publish(&enforcer.roster),
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

async fn pause(until: Option<Instant>) {
    match until {
        None => std::future::pending().await,
        Some(until) => tokio::time::sleep_until(until).await,
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

/// What must be before anything is decided: both watches have listed once, and this operator leads.
#[derive(Default)]
struct Known {
    clearances: bool,
    pods: bool,
    leading: bool,
}

struct Enforcer {
    client: Client,
    metrics: Arc<Metrics>,
    voice: Voice,
    census: Census,
    tell: Tell,
    roster: Roster,
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
        roster: Roster,
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
            roster,
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

    fn clearance_event(&mut self, event: Result<Event<Clearance>, watcher::Error>) {
        match event {
            Err(error) => self.watch_error("Clearance", &error),
            Ok(Event::Init) => self.relisted_clearances.clear(),
            Ok(Event::InitApply(clearance)) => {
                self.relisted_clearances.insert(clearance.namespace().unwrap_or_default());
                self.set_clearance(&clearance);
            }
            Ok(Event::InitDone) => {
                let listed = std::mem::take(&mut self.relisted_clearances);
                let gone = self
                    .roster
                    .namespaces()
                    .filter(|(n, known)| known.clearance.is_some() && !listed.contains(&***n));
                for namespace in gone.map(|(namespace, _)| Arc::clone(namespace)).collect::<Vec<_>>() {
                    self.roster.set_clearance(&namespace, None);
                    self.look_at_namespace(&namespace);
                }
                self.known.clearances = true;
                self.look_at_all();
                self.tell_all();
            }
            Ok(Event::Apply(clearance)) => self.set_clearance(&clearance),
            Ok(Event::Delete(clearance)) => {
                let namespace = clearance.namespace().unwrap_or_default();
                self.roster.set_clearance(&namespace, None);
                self.look_at_namespace(&namespace);
            }
        }
    }

    fn set_clearance(&mut self, clearance: &Clearance) {
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
        self.roster.set_clearance(&namespace, Some(clearance.spec.clone()));
        self.look_at_namespace(&namespace);
    }

    fn pod_event(&mut self, event: Result<Event<core::Pod>, watcher::Error>) {
        match event {
            Err(error) => self.watch_error("Pod", &error),
            Ok(Event::Init) => self.relisted.clear(),
            Ok(Event::InitApply(pod)) => {
                let key = self.roster.set_pod(&pod);
                self.relisted.insert(key.clone());
                self.acknowledge(&key, false);
                self.look_at(&key);
            }
            Ok(Event::InitDone) => {
                let listed = std::mem::take(&mut self.relisted);
                let all: Vec<_> =
                    self.roster.namespaces().map(|(namespace, _)| Arc::clone(namespace)).collect();
                let known = all.iter().flat_map(|namespace| self.roster.keys(namespace)).collect::<Vec<_>>();
                known.iter().filter(|key| !listed.contains(key)).for_each(|key| self.forget(key));
                self.known.pods = true;
                self.look_at_all();
            }
            Ok(Event::Apply(pod)) => {
                let key = self.roster.set_pod(&pod);
                self.acknowledge(&key, false);
                self.look_at(&key);
                self.look_at_neighbours(&key);
            }
            Ok(Event::Delete(pod)) => {
                let key = self.roster.key(&pod.namespace().unwrap_or_default(), &pod.name_any());
                self.forget(&key);
            }
        }
    }

    fn set_event(&mut self, event: Result<Event<StatefulSet>, watcher::Error>) {
        match event {
            Err(error) => self.watch_error("StatefulSet", &error),
            Ok(Event::Init) => self.relisted_sets.clear(),
            Ok(Event::InitApply(set)) => {
                self.relisted_sets.insert(set.uid().unwrap_or_default());
                self.set_set(&set);
            }
            Ok(Event::InitDone) => {
                let listed = std::mem::take(&mut self.relisted_sets);
                self.roster.retain_sets(|uid| listed.contains(uid));
            }
            Ok(Event::Apply(set)) => self.set_set(&set),
            Ok(Event::Delete(set)) => {
                let gone = set.uid().unwrap_or_default();
                self.roster.retain_sets(|uid| uid != gone);
            }
        }
    }

    fn set_set(&mut self, set: &StatefulSet) {
        let (namespace, uid) = (set.namespace().unwrap_or_default(), set.uid().unwrap_or_default());
        if self.roster.set_set(uid.clone(), set.into()) {
            for key in self.roster.keys_of_set(&namespace, &uid) {
                self.look_at(&key);
            }
        }
    }

    fn forget(&mut self, key: &PodKey) {
        self.acknowledge(key, true);
        let neighbours = self.roster.neighbours(key);
        self.roster.remove_pod(key);
        neighbours.into_iter().flatten().for_each(|neighbour| self.look_at(&neighbour));
        self.census.mark(&key.namespace);
    }

    /// Says what was done though nobody answered: its record is lost if the watch is not believed.
    fn acknowledge(&mut self, key: &PodKey, gone: bool) {
        let Some((pod, clearance)) = self.roster.pod_mut(key) else { return };
        if let Some(action) = pod.take_done(gone) {
            self.voice.done(key, pod, clearance.map(|c| &**c), &action);
        }
    }

    fn watch_error(&self, kind: &str, error: &watcher::Error) {
        self.metrics.watch_errors.inc();
        warn!(kind, "watch: {error}; trying again");
    }

    fn look_at_all(&mut self) {
        let all: Vec<_> = self.roster.namespaces().map(|(namespace, _)| Arc::clone(namespace)).collect();
        for namespace in &all {
            self.look_at_namespace(namespace);
        }
    }

    fn look_at_namespace(&mut self, namespace: &str) {
        for key in self.roster.keys(namespace) {
            self.look_at(&key);
        }
        let namespace = self.roster.key(namespace, "").namespace;
        self.census.mark(&namespace);
        if self.known.clearances && self.known.leading {
            let clearance = self.roster.namespace(&namespace).and_then(|n| n.clearance.clone());
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
        if !(self.known.clearances && self.known.pods && self.known.leading) || self.busy.contains(key) {
            return;
        }
        let now = Timestamp::now();
        let quiet_until = self.roster.pod(key).and_then(|(pod, _)| pod.quiet_until);
        if let Some(until) = quiet_until.filter(|until| *until > now) {
            return self.look_later(key, until);
        }
        let Some(decision) = decide_in_turn(&self.roster, &self.one_by_one, key, now) else { return };
        match decision {
            Decision::Ignore => {}
            Decision::Keep => self.note(key, |pod| pod.lost_since = None),
            Decision::KeepUntil(at) => {
                self.note(key, |pod| pod.lost_since = None);
                self.look_later(key, at);
            }
            Decision::Bound(_) | Decision::Roll => {
                self.note(key, |pod| pod.lost_since = None);
                self.wait(key);
            }
            Decision::Record => self.record(key),
            Decision::Hold => {
                self.say_held(key);
                self.stop_whole_again(key);
            }
            Decision::StopWhole { since, until, .. } => {
                self.note(key, |pod| pod.lost_since = Some(since));
                self.look_later(key, until);
                self.stop_whole(key);
            }
            Decision::Wait { since, turn } => {
                self.note(key, |pod| pod.lost_since = Some(since));
                self.look_later(key, turn);
                self.say_will_stop(key, turn);
            }
            Decision::Await { since, until } => {
                self.note(key, |pod| pod.lost_since = Some(since));
                self.look_later(key, until);
            }
            Decision::Stop { since, .. } => {
                self.note(key, |pod| pod.lost_since = Some(since));
                self.wait(key);
            }
            Decision::Ending { since, overdue } => {
                self.note(key, |pod| pod.lost_since = Some(since));
                if now < overdue {
                    self.look_later(key, overdue);
                } else {
                    self.say_overdue(key);
                }
            }
            Decision::Release(_) | Decision::Replace => self.wait(key),
        }
    }

    fn note(&mut self, key: &PodKey, note: impl FnOnce(&mut Pod)) {
        if let Some((pod, _)) = self.roster.pod_mut(key) {
            note(pod);
        }
    }

    fn say_held(&mut self, key: &PodKey) {
        let Some((pod, clearance)) = self.roster.pod_mut(key) else { return };
        if pod.said.replace("Held") != Some("Held") {
            self.voice.held(&Subject::pod(key, pod), clearance.map(|c| &**c));
        }
    }

    fn say_will_stop(&mut self, key: &PodKey, turn: Timestamp) {
        let Some((pod, clearance)) = self.roster.pod_mut(key) else { return };
        if pod.said.replace("WillStop") != Some("WillStop") {
            self.voice.will_stop(&Subject::pod(key, pod), clearance.map(|c| &**c), turn);
        }
    }

    fn say_overdue(&mut self, key: &PodKey) {
        let Some((pod, clearance)) = self.roster.pod_mut(key) else { return };
        if pod.said.replace(OVERDUE) != Some(OVERDUE) {
            self.voice.overdue(key, pod, clearance.map(|c| &**c));
        }
    }

    fn record(&mut self, key: &PodKey) {
        let Some((pod, clearance)) = self.roster.pod_mut(key) else { return };
        if pod.said.replace("ClearanceLost") != Some("ClearanceLost") {
            self.voice.stopped(&Subject::pod(key, pod), clearance.map(|c| &**c), "Audit");
            let labels = EnforcementLabels { action: Enforcement::Audit, done: true };
            self.metrics.enforcements.get_or_create(&labels).inc();
        }
    }

    /// Has the workload of a pod stopped as a whole; of many pods, not more often than once in [`RETRY`].
    fn stop_whole(&mut self, key: &PodKey) {
        let Some((pod, clearance)) = self.roster.pod(key) else { return };
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
        });
    }

    /// A workload that was stopped has pods again: somebody put it back.
    fn stop_whole_again(&mut self, key: &PodKey) {
        let owner = self.roster.pod(key).and_then(|(pod, _)| pod.owner.as_ref());
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
        for neighbour in self.roster.neighbours(key).into_iter().flatten() {
            self.look_at(&neighbour);
        }
    }

    /// Puts a pod in the queue of those for which something is to be done.
    fn wait(&mut self, key: &PodKey) {
        self.busy.insert(key.clone());
        self.waiting.push_back(key.clone());
    }

    /// Starts what waits, as far as there is room, if it is still to be done.
    fn start(&mut self) {
        while self.window.has_room(self.under_way.len(), Instant::now()) {
            let Some(key) = self.waiting.pop_front() else { break };
            let Some((pod, action)) = self.action(&key) else {
                // It may be its turn no longer.
                self.busy.remove(&key);
                self.look_at(&key);
                continue;
            };
            if matches!(action, Action::Roll) {
                // Until it is answered, none of its siblings goes.
                self.note(&key, |pod| pod.quiet_until = Some(Timestamp::now() + PATIENCE));
            }
            let (client, metrics) = (self.client.clone(), Arc::clone(&self.metrics));
            let work = async move {
                let done = act(client, &key, &pod, action, &metrics).await;
                (key, pod, done)
            };
            self.under_way.push(work.boxed());
        }
        if self.under_way.is_empty() && self.waiting.is_empty() && self.window.opens_at().is_none() {
            self.window.rest();
        }
    }

    fn action(&self, key: &PodKey) -> Option<(Pod, Action)> {
        let action = match decide_in_turn(&self.roster, &self.one_by_one, key, Timestamp::now())? {
            Decision::Release(version) => {
                Action::Release(version.map(|v| format!("{}@{}", v.model_version, v.subject_digest)))
            }
            Decision::Stop { step, .. } => Action::Stop(step),
            Decision::Replace => Action::Replace,
            Decision::Bound(seconds) => Action::Bound(seconds),
            Decision::Roll => Action::Roll,
            _ => return None,
        };
        let (pod, _) = self.roster.pod(key)?;
        Some((pod.clone(), action))
    }

    /// Takes in what came of an action on the pod as it was when it was `asked`.
    fn done(&mut self, key: &PodKey, asked: &Pod, done: Done) {
        self.busy.remove(key);
        match done {
            Done::Ok(_) | Done::Gone | Done::NotNow(..) | Done::Unclear(..) => self.window.answered(),
            Done::Overloaded(..) => self.window.overloaded(Instant::now()),
        }
        let now = Timestamp::now();
        let clearance: Option<Arc<ClearanceSpec>> =
            self.roster.namespace(&key.namespace).and_then(|namespace| namespace.clearance.clone());
        let Some((pod, _)) = self.roster.pod_mut(key).filter(|(pod, _)| pod.uid == asked.uid) else {
            if let Done::Ok(action) | Done::Overloaded(action, _) | Done::Unclear(action, _) = done {
                self.voice.done(key, asked, clearance.as_deref(), &action);
            }
            return self.look_at(key);
        };
        let again = now + jittered(RETRY);
        // A busy API server is not told of by yet more requests.
        let is_busy = matches!(done, Done::Overloaded(..));
        let is_unclear = matches!(done, Done::Overloaded(..) | Done::Unclear(..));
        match done {
            Done::Gone => {}
            Done::Ok(action) => {
                // A stop may be told and still have to be asked for again, but not at once.
                let told = match &action {
                    Action::Release(_) => !pod.gated,
                    Action::Bound(seconds) => pod.life.seconds == Some(*seconds),
                    Action::Stop(_) | Action::Replace | Action::Roll => false,
                };
                pod.quiet_until = (!told).then_some(again);
                (pod.said, pod.refusals, pod.unanswered) = (None, 0, None);
                self.voice.done(key, asked, clearance.as_deref(), &action);
            }
            Done::NotNow(action, answer)
            | Done::Overloaded(action, answer)
            | Done::Unclear(action, answer) => {
                warn!(namespace = &*key.namespace, pod = &*key.name, ?action, "not done yet: {answer}");
                let until = match action {
                    Action::Stop(Step::Evict { until, .. }) if until > now => again.min(until),
                    Action::Stop(_) | Action::Replace | Action::Bound(_) | Action::Roll => again,
                    Action::Release(_) => {
                        pod.refusals += 1;
                        now + jittered(RETRY.min(LAG * 2_u32.saturating_pow(pod.refusals)))
                    }
                };
                pod.quiet_until = Some(until);
                if is_unclear {
                    pod.unanswered = Some(Box::new(action.clone()));
                }
                let evicts = matches!(action, Action::Stop(Step::Evict { .. }));
                if evicts && !is_busy && pod.said != Some("EvictionDelayed") {
                    pod.said = Some("EvictionDelayed");
                    self.voice.delayed(&Subject::pod(key, pod), clearance.as_deref(), &answer);
                }
            }
        }
        self.look_at(key);
    }
}

/// What is to become of a pod, as soon as it is its turn, by itself if its controller is `one_by_one`.
fn decide_in_turn<'a>(
    roster: &'a Roster,
    one_by_one: &HashSet<String>,
    key: &PodKey,
    now: Timestamp,
) -> Option<Decision<'a>> {
    let (pod, clearance) = roster.pod(key)?;
    let decision = match decide(pod, clearance.map(|c| &**c), now) {
        Decision::StopWhole { since, otherwise: step, .. }
            if pod.owner.as_ref().is_some_and(|owner| one_by_one.contains(&owner.uid)) =>
        {
            Decision::Stop { since, step }
        }
        decision => decision,
    };
    Some(match (&decision, &pod.member) {
        (&Decision::Stop { since, step: Step::Evict { until, .. } }, Some(member)) => {
            let turn = roster.stops_at(key, member, since, until);
            if turn > now { Decision::Await { since, until: turn } } else { decision }
        }
        (Decision::Roll, _) if roster.one_is_away(key, pod, now) => {
            Decision::KeepUntil(now + jittered(RETRY))
        }
        (Decision::Release(Some(_)), Some(_)) if !roster.may_start(key, pod) => Decision::Ignore,
        (Decision::Hold, Some(_)) if roster.is_outdated(pod) => Decision::Replace,
        _ => decision,
    })
}

/// Between half and one and a half of `duration`, so that many do not come back at once.
fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(0.5 + fastrand::f64())
}
