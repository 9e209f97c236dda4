//! Jobs and `CronJobs` are suspended as a whole: were their pods stopped one by one, each would count as a
//! failure of its Job, until the Job has none left to forgive.
//!
//! ```text
//!  watch Job, CronJob ──────────────► Jobs ─► due ─┬─ Suspend ──► patch: suspend and label on
//!  Clearance, told by the Enforcer ──►             ├─ Resume ───► patch: both off
//!                                                  └─ HandBack ─► patch: label off, its manager resumes it
//! ```
//!
//! The API server suspends new ones by itself (`admission/jobs.rs`). What has the label was suspended by
//! Assent; what is suspended without it was suspended by its user, and stays so. A Job that a queue or a
//! controller suspends and resumes is suspended only if it lost its clearance while it ran: before, its pods
//! are held.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    fmt::Debug,
    sync::Arc,
};

use futures::{FutureExt, Stream, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use k8s_openapi::{
    api::{batch::v1 as batch, core::v1::PodTemplateSpec},
    apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry,
    jiff::{SignedDuration, Timestamp},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::NamespaceResourceScope,
    runtime::watcher::Event,
};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};
use tracing::warn;

use super::{
    Told,
    cleared::{began, cleared_version, governing, turn},
    owner::OwnerRef,
    say::{Subject, Voice},
    window::Window,
};
use crate::{
    api::{ClearanceSpec, OnLoss, OnLossMode, Runtime, SUSPENDED_LABEL, SYSTEM_LABEL, Scope, SharedRuntime},
    metrics::{Enforcement, EnforcementLabels, Metrics},
    policy::{Accelerators, Suspender, Unmatchable, narrowest_scope, runtime_of_pod},
    timer::at,
    watch::{Lenient, RETRY, Watches, is_transient, jittered},
};

/// The field manager of suspensions.
const MANAGER: &str = "assent-suspend";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    Job,
    CronJob,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Key {
    namespace: String,
    kind: Kind,
    name: String,
}

/// What deciding about a Job or `CronJob` needs to know of it.
#[derive(Debug)]
struct Job {
    uid: String,
    resource_version: String,
    owner: Option<Arc<OwnerRef>>,
    system: Arc<str>,
    runtime: Result<SharedRuntime, Unmatchable>,
    /// The narrowest scope that takes its pods in.
    scope: Scope,
    created: Timestamp,
    state: State,
    suspender: Suspender,
    /// Whether it has the label. One that runs with it was resumed by somebody else.
    labelled: bool,
    /// Whether it was said why it is as it is.
    said: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Runs,
    SuspendedByAssent,
    SuspendedByItsUser,
    /// It has run to its end, or is being deleted.
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Suspend,
    Resume,
    /// It may run, and whoever manages it decides when.
    HandBack,
}

/// What is to become of `job`, and when its turn comes.
fn due(job: &Job, clearance: Option<&ClearanceSpec>, now: Timestamp) -> Option<(Change, Timestamp)> {
    let clearance = governing(clearance, job.scope);
    let may_run = clearance.is_none_or(|clearance| {
        job.runtime.as_ref().is_ok_and(|r| cleared_version(clearance, &job.system, r, now).is_some())
    });
    let on_loss = clearance.and_then(|c| c.systems.get(&*job.system)).map(|s| &s.on_loss);
    match (job.state, may_run) {
        (State::Runs, false)
            if on_loss.is_none_or(|on_loss| on_loss.mode != OnLossMode::Audit)
                && clearance.is_some_and(|clearance| is_ours_to_suspend(job, clearance)) =>
        {
            let grace = on_loss.map_or(OnLoss::DEFAULT_GRACE_PERIOD_SECONDS, |o| o.grace_period_seconds);
            let began = clearance.and_then(|clearance| began(clearance, job.created));
            Some((Change::Suspend, began.map_or(now, |began| turn(&job.uid, began, grace))))
        }
        (State::SuspendedByAssent, true) if job.suspender == Suspender::Manager => {
            Some((Change::HandBack, now))
        }
        (State::SuspendedByAssent, true) => Some((Change::Resume, now)),
        _ => None,
    }
}

/// Whether Assent suspends `job`. What others suspend and resume, it suspends once, after a loss.
fn is_ours_to_suspend(job: &Job, clearance: &ClearanceSpec) -> bool {
    let lost_at = clearance.systems.get(&*job.system).and_then(|system| system.lost_at.as_ref());
    // Both are in whole seconds or cut to them.
    let lost = lost_at.is_some_and(|at| at.0 + SignedDuration::from_secs(1) >= job.created);
    job.suspender == Suspender::User || !job.labelled && (lost || began(clearance, job.created).is_some())
}

/// Whether somebody else applied the same suspension: then both own the field.
fn is_applied_by_others(entries: &[ManagedFieldsEntry]) -> bool {
    let suspends = |entry: &&ManagedFieldsEntry| {
        entry.fields_v1.as_ref().is_some_and(|fields| !fields.0["f:spec"]["f:suspend"].is_null())
    };
    let is_ours = |entry: &ManagedFieldsEntry| entry.manager.as_deref() == Some(MANAGER);
    let (ours, others): (Vec<_>, Vec<_>) = entries.iter().filter(suspends).partition(|entry| is_ours(entry));
    !ours.is_empty() && others.iter().any(|entry| entry.operation.as_deref() == Some("Apply"))
}

/// What has a template of pods and can be suspended.
trait Suspendable:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned
{
    const KIND: Kind;
    fn template(&self) -> Option<&PodTemplateSpec>;
    fn is_suspended(&self) -> bool;
    fn is_done(&self) -> bool;
    fn suspender(&self) -> Suspender;

    fn read(&self, accelerators: &Accelerators) -> Job {
        let template = self.template();
        let metadata = template.and_then(|template| template.metadata.clone()).unwrap_or_default();
        let labelled = self.labels().contains_key(SUSPENDED_LABEL);
        let state = match (self.is_suspended(), labelled) {
            _ if self.is_done() || self.meta().deletion_timestamp.is_some() => State::Done,
            (false, _) => State::Runs,
            (true, true) if !is_applied_by_others(self.managed_fields()) => State::SuspendedByAssent,
            (true, _) => State::SuspendedByItsUser,
        };
        Job {
            uid: self.uid().unwrap_or_default(),
            resource_version: self.resource_version().unwrap_or_default(),
            owner: OwnerRef::of(self).map(Arc::new),
            system: metadata
                .labels
                .as_ref()
                .and_then(|l| l.get(SYSTEM_LABEL))
                .map_or("", String::as_str)
                .into(),
            runtime: template
                .and_then(|t| {
                    Some((t.metadata.as_ref().and_then(|m| m.annotations.as_ref()), t.spec.as_ref()?))
                })
                .map_or_else(
                    || Ok(Runtime::default()),
                    |(annotations, spec)| runtime_of_pod(annotations, spec),
                )
                .map(SharedRuntime::from),
            scope: template
                .and_then(|t| t.spec.as_ref())
                .map_or(Scope::All, |spec| narrowest_scope(&metadata, spec, accelerators)),
            created: self.creation_timestamp().map_or(Timestamp::UNIX_EPOCH, |at| at.0),
            state,
            suspender: self.suspender(),
            labelled,
            said: false,
        }
    }
}

impl Suspendable for batch::Job {
    const KIND: Kind = Kind::Job;

    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref().map(|spec| &spec.template)
    }

    fn is_suspended(&self) -> bool {
        self.spec.as_ref().and_then(|spec| spec.suspend).unwrap_or_default()
    }

    fn is_done(&self) -> bool {
        let conditions = self.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.into_iter().any(|c| matches!(&*c.type_, "Complete" | "Failed") && c.status == "True")
    }

    fn suspender(&self) -> Suspender {
        Suspender::of(self)
    }
}

impl Suspendable for batch::CronJob {
    const KIND: Kind = Kind::CronJob;

    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.job_template.spec.as_ref().map(|spec| &spec.template)
    }

    fn is_suspended(&self) -> bool {
        self.spec.suspend.unwrap_or_default()
    }

    fn is_done(&self) -> bool {
        false
    }

    fn suspender(&self) -> Suspender {
        Suspender::User
    }
}

fn key<K: Suspendable>(object: &impl ResourceExt) -> Key {
    Key { namespace: object.namespace().unwrap_or_default(), kind: K::KIND, name: object.name_any() }
}

/// What the watches tell, of either kind.
enum News {
    Relisting(Kind),
    Is(Key, Job),
    Listed(Kind),
    Gone(Key),
}

/// An unreadable object counts as missing: its pods are held and stopped one by one.
fn watch<K: Suspendable + Send + 'static>(
    watches: &Arc<Watches>,
    accelerators: Accelerators,
) -> impl Stream<Item = News> + Send + use<K> + 'static {
    watches.all::<K>().map(move |event| match event {
        Event::Init => News::Relisting(K::KIND),
        Event::InitApply(Lenient(Ok(job))) | Event::Apply(Lenient(Ok(job))) => {
            News::Is(key::<K>(&job), job.read(&accelerators))
        }
        Event::InitDone => News::Listed(K::KIND),
        Event::InitApply(gone) | Event::Apply(gone) | Event::Delete(gone) => News::Gone(key::<K>(&gone)),
    })
}

/// What came of a patch.
enum Patched {
    /// The object as it is now.
    Is(Job),
    /// It was not taken.
    Refused,
    /// The API server has too much to do.
    Overloaded,
}

type Done = (Key, Change, Patched);

/// Suspends and resumes until `told` ends.
pub async fn run(
    client: Client,
    accelerators: Accelerators,
    metrics: Arc<Metrics>,
    watches: &Arc<Watches>,
    voice: Voice,
    mut told: mpsc::UnboundedReceiver<Told>,
) {
    let mut news = futures::stream::select(
        watch::<batch::Job>(watches, accelerators.clone()).boxed(),
        watch::<batch::CronJob>(watches, accelerators.clone()).boxed(),
    );
    let mut jobs = Jobs::new(client, accelerators, metrics, voice);
    loop {
        let window_opens = jobs.window.opens_at();
        tokio::select! {
            told = told.recv() => match told {
                Some(told) => jobs.told(told),
                None => break,
            },
            Some(news) = news.next() => jobs.news(news),
            Some(key) = jobs.later.next() => jobs.turn_of(&key),
            Some((key, change, now)) = jobs.under_way.next() => jobs.done(&key, change, now),
            () = at(window_opens) => jobs.window.open(),
        }
        jobs.start();
    }
    while jobs.under_way.next().await.is_some() {}
}

struct Jobs {
    client: Client,
    accelerators: Accelerators,
    metrics: Arc<Metrics>,
    voice: Voice,
    known: BTreeMap<String, HashMap<Key, Job>>,
    clearances: HashMap<Arc<str>, Arc<ClearanceSpec>>,
    /// Whether a namespace of which no clearance was told has none.
    all_told: bool,
    /// What a list that is under way has named so far.
    relisted: HashSet<Key>,
    waiting: VecDeque<Key>,
    /// Whose turn comes later, and has not come.
    deferred: HashSet<Key>,
    later: FuturesUnordered<BoxFuture<'static, Key>>,
    busy: HashSet<Key>,
    under_way: FuturesUnordered<BoxFuture<'static, Done>>,
    window: Window,
}

impl Jobs {
    fn new(client: Client, accelerators: Accelerators, metrics: Arc<Metrics>, voice: Voice) -> Self {
        Self {
            client,
            accelerators,
            metrics,
            voice,
            known: BTreeMap::new(),
            clearances: HashMap::new(),
            all_told: false,
            relisted: HashSet::new(),
            waiting: VecDeque::new(),
            deferred: HashSet::new(),
            later: FuturesUnordered::new(),
            busy: HashSet::new(),
            under_way: FuturesUnordered::new(),
            window: Window::default(),
        }
    }

    fn told(&mut self, told: Told) {
        let namespaces = match told {
            Told::Clearance(namespace, clearance) => {
                match clearance {
                    Some(clearance) => self.clearances.insert(Arc::clone(&namespace), clearance),
                    None => self.clearances.remove(&namespace),
                };
                vec![namespace.to_string()]
            }
            Told::All => {
                self.all_told = true;
                self.known.keys().cloned().collect()
            }
        };
        for namespace in namespaces {
            let keys: Vec<_> =
                self.known.get(&namespace).into_iter().flat_map(HashMap::keys).cloned().collect();
            for key in &keys {
                self.look_at(key);
            }
        }
    }

    fn news(&mut self, news: News) {
        match news {
            News::Relisting(kind) => self.relisted.retain(|key| key.kind != kind),
            News::Is(key, job) => {
                self.relisted.insert(key.clone());
                self.set(&key, job);
            }
            News::Listed(kind) => {
                let relisted = std::mem::take(&mut self.relisted);
                for jobs in self.known.values_mut() {
                    jobs.retain(|key, _| key.kind != kind || relisted.contains(key));
                }
            }
            News::Gone(key) => self.forget(&key),
        }
    }

    fn set(&mut self, key: &Key, mut job: Job) {
        let jobs = self.known.entry(key.namespace.clone()).or_default();
        job.said |= jobs.get(key).is_some_and(|before| before.said && before.state == job.state);
        jobs.insert(key.clone(), job);
        self.look_at(key);
    }

    fn forget(&mut self, key: &Key) {
        if let Some(jobs) = self.known.get_mut(&key.namespace) {
            jobs.remove(key);
            if jobs.is_empty() {
                self.known.remove(&key.namespace);
            }
        }
    }

    fn due(&self, key: &Key, now: Timestamp) -> Option<(&Job, Option<(Change, Timestamp)>)> {
        let clearance = self.clearances.get(&*key.namespace);
        let job = self.known.get(&key.namespace)?.get(key)?;
        let known = clearance.is_some() || self.all_told;
        known.then(|| (job, due(job, clearance.map(|c| &**c), now)))
    }

    fn look_at(&mut self, key: &Key) {
        let now = Timestamp::now();
        let Some((job, change)) = self.due(key, now) else { return };
        let untold = job.state == State::SuspendedByAssent && !job.said;
        if let Some((_, turn)) = change {
            if turn > now {
                return self.look_later(key, turn, now);
            }
            if self.busy.insert(key.clone()) {
                self.waiting.push_back(key.clone());
            }
        } else if untold {
            self.say_held(key);
        }
    }

    fn look_later(&mut self, key: &Key, turn: Timestamp, now: Timestamp) {
        if self.deferred.insert(key.clone()) {
            let (key, wait) = (key.clone(), turn.duration_since(now).unsigned_abs());
            self.later.push(
                async move {
                    sleep(wait).await;
                    key
                }
                .boxed(),
            );
        }
    }

    fn turn_of(&mut self, key: &Key) {
        self.deferred.remove(key);
        self.look_at(key);
    }

    fn say_held(&mut self, key: &Key) {
        let clearance = self.clearances.get(&*key.namespace).map(|c| &**c);
        if let Some(job) = self.known.get_mut(&key.namespace).and_then(|jobs| jobs.get_mut(key)) {
            self.voice.held(&subject(key, job), clearance);
            job.said = true;
        }
    }

    fn start(&mut self) {
        while self.window.has_room(self.under_way.len(), Instant::now()) {
            let Some(key) = self.waiting.pop_front() else { break };
            let Some((job, Some((change, _)))) = self.due(&key, Timestamp::now()) else {
                self.busy.remove(&key);
                continue;
            };
            let patch = patch(job, change);
            let (client, metrics) = (self.client.clone(), Arc::clone(&self.metrics));
            let accelerators = self.accelerators.clone();
            let work = async move {
                let known = (&accelerators, &*metrics);
                let now = match key.kind {
                    Kind::Job => apply::<batch::Job>(client, &key, &patch, change, known).await,
                    Kind::CronJob => apply::<batch::CronJob>(client, &key, &patch, change, known).await,
                };
                (key, change, now)
            };
            self.under_way.push(work.boxed());
        }
        if self.under_way.is_empty() {
            self.window.rest();
        }
    }

    fn done(&mut self, key: &Key, change: Change, now: Patched) {
        self.busy.remove(key);
        match now {
            Patched::Overloaded => self.window.overloaded(Instant::now()),
            Patched::Is(_) | Patched::Refused => self.window.answered(),
        }
        let Patched::Is(mut now) = now else { return self.look_at(key) };
        let clearance = self.clearances.get(&*key.namespace).map(|c| &**c);
        let subject = subject(key, &now);
        match change {
            Change::Suspend => self.voice.stopped(&subject, clearance, "Suspend"),
            Change::Resume | Change::HandBack => {
                let system = governing(clearance, now.scope).map(|_| &*now.system);
                self.voice.released(&subject, clearance, system);
            }
        }
        now.said = true;
        self.set(key, now);
    }
}

fn subject<'a>(key: &'a Key, job: &'a Job) -> Subject<'a> {
    Subject {
        api_version: "batch/v1",
        kind: match key.kind {
            Kind::Job => "Job",
            Kind::CronJob => "CronJob",
        },
        namespace: &key.namespace,
        name: &key.name,
        uid: job.uid.as_str().into(),
        owner: job.owner.as_ref(),
        system: &job.system,
        runtime: &job.runtime,
    }
}

/// From the version that was looked at: what its user suspends in the same moment, stays so.
fn patch(job: &Job, change: Change) -> Patch<serde_json::Value> {
    let (spec, label) = match change {
        Change::Suspend => (json!({ "suspend": true }), json!("true")),
        Change::Resume => (json!({ "suspend": false }), json!(null)),
        Change::HandBack => (json!({}), json!(null)),
    };
    Patch::Merge(json!({
        "metadata": {
            "uid": job.uid,
            "resourceVersion": job.resource_version,
            "labels": { SUSPENDED_LABEL: label },
        },
        "spec": spec,
    }))
}

async fn apply<K: Suspendable>(
    client: Client,
    key: &Key,
    patch: &Patch<serde_json::Value>,
    change: Change,
    (accelerators, metrics): (&Accelerators, &Metrics),
) -> Patched {
    let api: Api<Lenient<K>> = Api::namespaced(client, &key.namespace);
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let result = api.patch(&key.name, &params, patch).await;
    let action = match change {
        Change::Suspend => Enforcement::Suspend,
        Change::Resume | Change::HandBack => Enforcement::Resume,
    };
    metrics.enforcements.get_or_create(&EnforcementLabels { action, done: result.is_ok() }).inc();
    match result {
        Ok(Lenient(Ok(job))) => Patched::Is(job.read(accelerators)),
        // It was done; the watch tells what can be told.
        Ok(Lenient(Err(_))) => Patched::Refused,
        Err(error) if is_transient(&error) => Patched::Overloaded,
        Err(error) => {
            // A conflict, or gone: the watch tells.
            if !matches!(&error, kube::Error::Api(answer) if matches!(answer.code, 404 | 409)) {
                warn!(namespace = key.namespace, job = key.name, ?change, "not done yet: {error}");
            }
            sleep(jittered(RETRY)).await;
            Patched::Refused
        }
    }
}
