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
//! One task owns the roster; there is no lock. What it decides is done by others, and comes back.

mod act;
mod census;
mod decide;
mod owner;
mod roster;
mod say;
mod window;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use k8s_openapi::{api::core::v1 as core, jiff::Timestamp};
use kube::{
    Api, Client, ResourceExt,
    runtime::{WatchStreamExt, watcher, watcher::Event},
};
use tokio::sync::watch;
use tracing::warn;

use self::{
    act::{Action, Done, act},
    census::Census,
    decide::{Decision, Step, decide},
    roster::{Pod, PodKey, Roster},
    say::Voice,
    window::Window,
};
use crate::{
    api::{CLEARANCE_NAME, Clearance, ClearanceSpec},
    metrics::Metrics,
};

/// How long after a refusal the same is tried again, about.
const RETRY: Duration = Duration::from_secs(1);

/// How long the API server's policies may take to see a new clearance: a release that came before that is
/// refused, and tried again after twice as long each time, up to [`RETRY`].
const LAG: Duration = Duration::from_millis(10);

/// Watches, and enforces while `leading`, until `shutdown`; what is under way then is finished.
pub async fn run(
    client: Client,
    metrics: Arc<Metrics>,
    mut leading: watch::Receiver<bool>,
    shutdown: impl Future<Output = ()>,
) {
    let mut clearances =
        watcher(Api::<Clearance>::all(client.clone()), watcher::Config::default()).default_backoff().boxed();
    let mut pods =
        watcher(Api::<core::Pod>::all(client.clone()), watcher::Config::default()).default_backoff().boxed();
    let (voice, speaking) = Voice::new(client.clone(), Arc::clone(&metrics));
    let (census, counting) = Census::new(client.clone(), Arc::clone(&metrics));
    let mut enforcer = Enforcer::new(client, metrics, voice, census);
    let enforcing = async {
        tokio::pin!(shutdown);
        loop {
            let next = enforcer.timers.first_key_value().map(|(at, _)| *at);
            let census_due = enforcer.census.due();
            tokio::select! {
                () = &mut shutdown => break,
                Ok(_) = leading.wait_for(|leading| *leading), if !enforcer.known.leading => enforcer.lead(),
                Some(event) = clearances.next() => enforcer.clearance_event(event),
                Some(event) = pods.next() => enforcer.pod_event(event),
                Some((key, asked, done)) = enforcer.under_way.next() => enforcer.done(&key, &asked, done),
                () = sleep_until(next) => enforcer.look_again(Timestamp::now()),
                () = census_due, if enforcer.known.leading => enforcer.census.publish(&enforcer.roster),
            }
            enforcer.start();
        }
        while enforcer.under_way.next().await.is_some() {}
    };
    tokio::select! {
        () = enforcing => {}
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
    roster: Roster,
    known: Known,
    /// What a list that is under way has named so far.
    relisted: HashSet<PodKey>,
    relisted_clearances: HashSet<String>,
    timers: BTreeMap<Timestamp, BTreeSet<Due>>,
    waiting: VecDeque<PodKey>,
    busy: HashSet<PodKey>,
    /// Each with the pod as it was, which may be gone when the answer comes.
    under_way: FuturesUnordered<BoxFuture<'static, (PodKey, Pod, Done)>>,
    window: Window,
}

impl Enforcer {
    fn new(client: Client, metrics: Arc<Metrics>, voice: Voice, census: Census) -> Self {
        Self {
            client,
            metrics,
            voice,
            census,
            roster: Roster::default(),
            known: Known::default(),
            relisted: HashSet::new(),
            relisted_clearances: HashSet::new(),
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
    }

    fn clearance_event(&mut self, event: Result<Event<Clearance>, watcher::Error>) {
        match event {
            Err(error) => self.watch_error("Clearance", &error),
            Ok(Event::Init) => self.relisted_clearances.clear(),
            Ok(Event::InitApply(clearance)) => {
                self.relisted_clearances.insert(clearance.namespace().unwrap_or_default());
                self.set_clearance(clearance);
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
            }
            Ok(Event::Apply(clearance)) => self.set_clearance(clearance),
            Ok(Event::Delete(clearance)) => {
                let namespace = clearance.namespace().unwrap_or_default();
                self.roster.set_clearance(&namespace, None);
                self.look_at_namespace(&namespace);
            }
        }
    }

    fn set_clearance(&mut self, clearance: Clearance) {
        if clearance.metadata.name.as_deref() != Some(CLEARANCE_NAME) {
            return;
        }
        let namespace = clearance.namespace().unwrap_or_default();
        let now = Timestamp::now();
        let ends = clearance.spec.systems.values().flat_map(|s| &s.cleared).map(|v| v.not_after.0);
        for end in ends.filter(|end| *end > now).collect::<BTreeSet<_>>() {
            self.timers.entry(end).or_default().insert(Due::Namespace(namespace.as_str().into()));
        }
        self.roster.set_clearance(&namespace, Some(clearance.spec));
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
            }
            Ok(Event::Delete(pod)) => {
                let key = self.roster.key(&pod.namespace().unwrap_or_default(), &pod.name_any());
                self.forget(&key);
            }
        }
    }

    fn forget(&mut self, key: &PodKey) {
        self.acknowledge(key, true);
        self.roster.remove_pod(key);
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
        let Some((pod, clearance)) = self.roster.pod_mut(key) else { return };
        if let Some(until) = pod.quiet_until.filter(|until| *until > now) {
            self.timers.entry(until).or_default().insert(Due::Pod(key.clone()));
            return;
        }
        let clearance = clearance.map(|c| &**c);
        match decide(pod, clearance, pod.lost_since, now) {
            Decision::Ignore => {}
            Decision::Keep => pod.lost_since = None,
            Decision::Hold => {
                if pod.said != Some("Held") {
                    pod.said = Some("Held");
                    self.voice.held(key, pod, clearance);
                }
            }
            Decision::Release(_) => self.wait(key),
            Decision::Stop(_) => {
                let lost_at =
                    clearance.and_then(|c| c.systems.get(&*pod.system)).and_then(|s| s.lost_at.as_ref());
                pod.lost(lost_at.map(|at| at.0), now);
                self.wait(key);
            }
        }
    }

    /// Puts a pod in the queue of those for which something is to be done.
    fn wait(&mut self, key: &PodKey) {
        self.busy.insert(key.clone());
        self.waiting.push_back(key.clone());
    }

    /// Starts what waits, as far as there is room, if it is still to be done.
    fn start(&mut self) {
        while self.window.has_room(self.under_way.len()) {
            let Some(key) = self.waiting.pop_front() else { break };
            let Some((pod, action)) = self.action(&key) else {
                self.busy.remove(&key);
                continue;
            };
            let (client, metrics) = (self.client.clone(), Arc::clone(&self.metrics));
            let work = async move {
                let done = act(client, &key, pod.uid.clone(), action, &metrics).await;
                (key, pod, done)
            };
            self.under_way.push(work.boxed());
        }
        if self.under_way.is_empty() {
            self.window.rest();
        }
    }

    fn action(&mut self, key: &PodKey) -> Option<(Pod, Action)> {
        let (pod, clearance) = self.roster.pod_mut(key)?;
        let action = match decide(pod, clearance.map(|c| &**c), pod.lost_since, Timestamp::now()) {
            Decision::Release(version) => Action::Release(version.map_or_else(
                || "ungoverned".to_owned(),
                |v| format!("{}@{}", v.model_version, v.subject_digest),
            )),
            Decision::Stop(step) => Action::Stop(step),
            Decision::Ignore | Decision::Keep | Decision::Hold => return None,
        };
        Some((pod.clone(), action))
    }

    /// Takes in what came of an action on the pod as it was when it was `asked`.
    fn done(&mut self, key: &PodKey, asked: &Pod, done: Done) {
        self.busy.remove(key);
        match done {
            Done::Ok(_) | Done::Gone | Done::NotNow(..) => self.window.answered(),
            Done::Overloaded(..) => self.window.overloaded(),
        }
        let now = Timestamp::now();
        let clearance: Option<Arc<ClearanceSpec>> =
            self.roster.namespace(&key.namespace).and_then(|namespace| namespace.clearance.clone());
        let Some((pod, _)) = self.roster.pod_mut(key).filter(|(pod, _)| pod.uid == asked.uid) else {
            if let Done::Ok(action) | Done::Overloaded(action, _) = done {
                self.voice.done(key, asked, clearance.as_deref(), &action);
            }
            return self.look_at(key);
        };
        let again = now + jittered(RETRY);
        let uncertain = matches!(done, Done::Overloaded(..));
        match done {
            Done::Gone => {}
            Done::Ok(action) => {
                let told = match &action {
                    Action::Release(_) => !pod.gated,
                    Action::Stop(_) => pod.ends_at.is_some(),
                };
                pod.quiet_until = (!told).then_some(again);
                (pod.said, pod.refusals, pod.unanswered) = (None, 0, None);
                self.voice.done(key, asked, clearance.as_deref(), &action);
            }
            Done::NotNow(action, answer) | Done::Overloaded(action, answer) => {
                warn!(namespace = &*key.namespace, pod = &*key.name, ?action, "not done yet: {answer}");
                let until = match action {
                    Action::Stop(Step::Evict { until, .. }) if until > now => again.min(until),
                    Action::Stop(_) => again,
                    Action::Release(_) => {
                        pod.refusals += 1;
                        now + jittered(RETRY.min(LAG * 2_u32.saturating_pow(pod.refusals)))
                    }
                };
                pod.quiet_until = Some(until);
                pod.unanswered = uncertain.then(|| action.clone()).or(pod.unanswered.take());
                if matches!(action, Action::Stop(Step::Evict { .. })) && pod.said != Some("EvictionDelayed") {
                    pod.said = Some("EvictionDelayed");
                    self.voice.delayed(key, pod, clearance.as_deref(), &answer);
                }
            }
        }
        self.look_at(key);
    }
}

/// Between half and one and a half of `duration`, so that many do not come back at once.
fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(0.5 + fastrand::f64())
}
