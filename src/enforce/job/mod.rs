//! Suspends Jobs and `CronJobs` without clearance, and resumes them. The operator does not stop the pods of a Job one
//! by one, because a Job counts each stopped pod as failed and fails at its back-off limit.
//!
//! To suspend a Job, the operator sets `spec.suspend` and adds the label `assent.dev/suspended` in one patch. To resume
//! the Job, it undoes both. If a suspended Job does not have the label, a user suspended the Job, so it stays
//! suspended. An admission policy suspends new Jobs in the same way (`admission/jobs.rs`).
//!
//! Some Jobs have a manager: a queue or a controller that suspends and resumes them. Assent suspends such a Job only if
//! the Job loses its clearance while it runs. When the Job is cleared again, Assent only removes its label, and the
//! manager resumes the Job. If the Job is not cleared from the start, Assent holds the pods of the Job instead.

mod decide;
mod object;
mod request;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use futures::{Stream, StreamExt};
use k8s_openapi::{api::batch::v1 as batch, jiff::Timestamp};
use kube::Client;
use tokio::sync::mpsc;

use self::{
    decide::{JobChange, decide},
    object::{Job, Key, Kind, State, Suspendable, key, subject},
    request::{Patched, apply, patch},
};
use super::{channels::ClearanceUpdate, cleared::governing, events::EventEmitter};
use crate::{
    api::ClearanceSpec,
    metrics::Metrics,
    policy::Accelerators,
    timer::{sleep_until_opt, sleep_until_time},
    watch::{Change, Pool, Relist, Timers, Watches},
};

/// The changes of all Jobs or all `CronJobs`. If this program cannot read a Job, the Job counts as missing. The
/// operator then holds and stops the pods of the Job one by one.
fn watch<K: Suspendable + Send + 'static>(
    watches: &Arc<Watches>,
    accelerators: Accelerators,
) -> impl Stream<Item = (Kind, Change<Key, Job>)> + Send + use<K> + 'static {
    let mut relist = Relist::default();
    watches.all::<K>().filter_map(move |event| {
        let change = relist.change(event, |object| key::<K>(object));
        let change =
            change.map(|change| change.readable().filter_map(|object| Some(object.read(&accelerators))));
        std::future::ready(change.map(|change| (K::KIND, change)))
    })
}

/// Suspends and resumes Jobs until `updates` ends.
pub(super) async fn run(
    client: Client,
    accelerators: Accelerators,
    metrics: Arc<Metrics>,
    watches: &Arc<Watches>,
    events: EventEmitter,
    mut updates: mpsc::UnboundedReceiver<ClearanceUpdate>,
) {
    let mut changes = futures::stream::select(
        watch::<batch::Job>(watches, accelerators.clone()).boxed(),
        watch::<batch::CronJob>(watches, accelerators.clone()).boxed(),
    );
    let mut jobs = JobSuspender {
        client,
        accelerators,
        metrics,
        events,
        known: BTreeMap::new(),
        clearances: HashMap::new(),
        has_all: false,
        timers: Timers::default(),
        pool: Pool::default(),
    };
    loop {
        let (opens_at, next) = (jobs.pool.opens_at(), jobs.timers.next());
        tokio::select! {
            update = updates.recv() => match update {
                Some(update) => jobs.update(update),
                None => break,
            },
            Some((kind, change)) = changes.next() => jobs.apply(kind, change),
            () = sleep_until_time(next) => jobs.look_again(Timestamp::now()),
            Some((key, (change, patched))) = jobs.pool.finished() => jobs.done(&key, change, patched),
            () = sleep_until_opt(opens_at) => jobs.pool.open(),
        }
        jobs.start();
    }
    while jobs.pool.finished().await.is_some() {}
}

struct JobSuspender {
    client: Client,
    accelerators: Accelerators,
    metrics: Arc<Metrics>,
    events: EventEmitter,
    known: BTreeMap<String, HashMap<Key, Job>>,
    clearances: HashMap<Arc<str>, Arc<ClearanceSpec>>,
    /// Whether this task has received every Clearance. If so, a namespace without an entry in `clearances` has no
    /// Clearance.
    has_all: bool,
    timers: Timers<Timestamp, Key>,
    pool: Pool<Key, (JobChange, Patched)>,
}

impl JobSuspender {
    fn update(&mut self, update: ClearanceUpdate) {
        let namespaces = match update {
            ClearanceUpdate::Clearance(namespace, clearance) => {
                match clearance {
                    Some(clearance) => self.clearances.insert(Arc::clone(&namespace), clearance),
                    None => self.clearances.remove(&namespace),
                };
                vec![namespace.to_string()]
            }
            ClearanceUpdate::All => {
                self.has_all = true;
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

    fn apply(&mut self, kind: Kind, change: Change<Key, Job>) {
        match change {
            Change::Apply { key, object, .. } => self.set(&key, object),
            Change::Delete { key } => {
                if let Some(jobs) = self.known.get_mut(&key.namespace) {
                    jobs.remove(&key);
                    if jobs.is_empty() {
                        self.known.remove(&key.namespace);
                    }
                }
            }
            Change::Listed(keys) => {
                for jobs in self.known.values_mut() {
                    jobs.retain(|key, _| key.kind != kind || keys.contains(key));
                }
                self.known.retain(|_, jobs| !jobs.is_empty());
            }
        }
    }

    fn set(&mut self, key: &Key, mut job: Job) {
        let jobs = self.known.entry(key.namespace.clone()).or_default();
        job.event_sent |= jobs.get(key).is_some_and(|old| old.event_sent && old.state == job.state);
        jobs.insert(key.clone(), job);
        self.look_at(key);
    }

    fn decide(&self, key: &Key, now: Timestamp) -> Option<(&Job, Option<(JobChange, Timestamp)>)> {
        let clearance = self.clearances.get(&*key.namespace);
        let job = self.known.get(&key.namespace)?.get(key)?;
        let is_known = clearance.is_some() || self.has_all;
        is_known.then(|| (job, decide(job, clearance.map(|c| &**c), now)))
    }

    fn look_again(&mut self, now: Timestamp) {
        for key in self.timers.take(now) {
            self.look_at(&key);
        }
    }

    fn look_at(&mut self, key: &Key) {
        let now = Timestamp::now();
        let Some((job, change)) = self.decide(key, now) else { return };
        let has_no_event = job.state == State::SuspendedByAssent && !job.event_sent;
        match change {
            Some((_, at)) if at > now => self.timers.add(at, key.clone()),
            Some(_) => self.pool.add(key),
            None if has_no_event => self.emit_held(key),
            None => {}
        }
    }

    fn emit_held(&mut self, key: &Key) {
        let clearance = self.clearances.get(&*key.namespace).map(|c| &**c);
        if let Some(job) = self.known.get_mut(&key.namespace).and_then(|jobs| jobs.get_mut(key)) {
            self.events.held(&subject(key, job), clearance);
            job.event_sent = true;
        }
    }

    fn start(&mut self) {
        while let Some(key) = self.pool.take() {
            let Some((job, Some((change, _)))) = self.decide(&key, Timestamp::now()) else {
                self.pool.give_up(&key);
                continue;
            };
            let patch = patch(job, change);
            let (client, metrics) = (self.client.clone(), Arc::clone(&self.metrics));
            let (accelerators, target) = (self.accelerators.clone(), key.clone());
            self.pool.start(key, async move {
                let known = (&accelerators, &*metrics);
                let patched = match target.kind {
                    Kind::Job => apply::<batch::Job>(client, &target, &patch, change, known).await,
                    Kind::CronJob => apply::<batch::CronJob>(client, &target, &patch, change, known).await,
                };
                (change, patched)
            });
        }
        self.pool.reset_if_empty();
    }

    fn done(&mut self, key: &Key, change: JobChange, patched: Patched) {
        match patched {
            Patched::Overloaded => self.pool.overloaded(),
            Patched::Is(_) | Patched::Refused => self.pool.answered(),
        }
        let Patched::Is(mut job) = patched else { return self.look_at(key) };
        let clearance = self.clearances.get(&*key.namespace).map(|c| &**c);
        let subject = subject(key, &job);
        match change {
            JobChange::Suspend => self.events.stopped(&subject, clearance, "Suspend"),
            JobChange::Resume | JobChange::HandBack => {
                let system = governing(clearance, job.scope).map(|_| &*job.system);
                self.events.released(&subject, clearance, system);
            }
        }
        job.event_sent = true;
        self.set(key, job);
    }
}
