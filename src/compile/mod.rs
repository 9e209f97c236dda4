//! From what people wrote to what may run: one [`Clearance`](crate::api::Clearance) a namespace, and
//! the statuses that tell people why.
//!
//! ```text
//!  watches ──► Index ──► dirty namespace ──► compile ──► Clearance   (replaced at a known version,
//!  AISystem    facts by       ▲              pure         │           so that a stale operator fails)
//!  ModelVersion namespace     │                           └► statuses (server-side apply)
//!  Approval                   │
//!  RiskLevel              the instant of the next expiry
//!  TrustedSidecar
//!  Clearance
//! ```
//!
//! Nothing is compiled before every watch has listed once: a clearance compiled from a part of the
//! facts would stop what is approved.

pub(crate) mod clearance;
mod cost;
pub(crate) mod index;
mod notice;
mod on_loss;
mod refused;
mod room;
mod status;
mod stored;
mod subjects;
mod trust;
mod withheld;
mod write;
mod write_status;

#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use futures::{Stream, StreamExt};
use k8s_openapi::{
    api::core::v1::{Namespace, ObjectReference},
    jiff::Timestamp,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::{
        controller::{Action, Controller},
        events::{Event, EventType, Recorder, Reporter},
        reflector::ObjectRef,
        watcher,
    },
};
use tokio::sync::{Mutex, Semaphore};
use tracing::{debug, warn};

pub(crate) use self::{clearance::compile, index::Facts, notice::Notice, trust::trust};
use self::{
    index::{Feed, Index},
    refused::Refused,
    status::Statuses,
    subjects::Subjects,
    write::compiled_clearance,
    write_status::Writer,
};
use crate::{
    api::{
        CLEARANCE_EXPIRING, CLEARANCE_NAME, Clearance, ClearanceSpec, Governance, RiskLevel, TrustedSidecar,
    },
    bounds::{NOTE_BYTES, shorten},
    metrics::Metrics,
};

/// A namespace, risk level or trusted sidecar could not be compiled.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server did not take what was compiled.
    #[error("{what}: {source}")]
    Write {
        /// What was written.
        what: String,
        /// Its answer.
        source: kube::Error,
    },
}

/// How many namespaces are written at the same time.
const CONCURRENCY: usize = 16;

/// The longest wait before a namespace is looked at again; timers cannot wait for years.
const LONGEST_WAIT: Duration = Duration::from_hours(24);

/// The longest wait after a failure, about: how late a decision can be that was taken while the API server
/// had too much to do.
const SLOWEST: Duration = Duration::from_secs(4);

struct Context {
    client: Client,
    index: Arc<Index>,
    metrics: Arc<Metrics>,
    refused: Refused,
    retries: Mutex<HashMap<String, ExponentialBackoff>>,
    recorder: Recorder,
    subjects: Subjects,
    /// Who writes; first come, first served. Of what ends in the same second, all clearances are asked for
    /// before the first is written, and so before the first status.
    turns: Semaphore,
}

impl Context {
    fn writer(&self) -> Writer<'_> {
        Writer { client: &self.client, refused: &self.refused, metrics: &self.metrics }
    }

    /// Somebody else wrote or deleted a clearance, which the policies refuse as long as they stand.
    async fn alarm(&self, namespace: &str) {
        let note =
            "changed or deleted by somebody else, restored; pods that slipped in meanwhile are stopped";
        warn!(namespace, "the clearance was {note}");
        self.metrics.clearances_restored.inc();
        self.warn_of_clearance(namespace, "ClearanceRestored", "Restore", note).await;
    }

    /// The API server took only a smaller Clearance.
    async fn tell_of_refusal(&self, namespace: &str, why: &str) {
        let note = format!(
            "the API server refused to store it: {why}; a smaller one is in force, and some versions are withheld: \
             kubectl get modelversions -n {namespace}"
        );
        self.warn_of_clearance(namespace, "ClearanceReduced", "Reduce", &note).await;
    }

    async fn warn_of_clearance(&self, namespace: &str, reason: &str, action: &str, note: &str) {
        let mut about = Clearance::new(CLEARANCE_NAME, ClearanceSpec::default()).object_ref(&());
        about.namespace = Some(namespace.to_owned());
        let event = Event {
            type_: EventType::Warning,
            reason: reason.to_owned(),
            note: Some(shorten(note.to_owned(), NOTE_BYTES)),
            action: action.to_owned(),
            secondary: None,
        };
        self.publish(&event, &about).await;
    }

    /// Says which clearances have come closer to their end by a step, once: the statuses, which are written after
    /// this, remember what was said.
    async fn give_notice(&self, namespace: &str, facts: &Facts, statuses: &Statuses) {
        self.metrics.expiring(namespace, &statuses.expiring());
        for (name, status) in &statuses.versions {
            let Some(version) = facts.versions.get(name) else { continue };
            let Some(expiring) = status::came_closer(version.status.as_ref(), status) else { continue };
            let Some(system) = facts.systems.get(&version.spec.system) else { continue };
            let event = Event {
                type_: EventType::Warning,
                reason: CLEARANCE_EXPIRING.to_owned(),
                note: Some(shorten(expiring.message.to_string(), NOTE_BYTES)),
                action: "Renew".to_owned(),
                secondary: Some(version.reference(namespace)),
            };
            self.publish(&event, &system.reference(namespace)).await;
        }
    }

    async fn publish(&self, event: &Event, about: &ObjectReference) {
        if let Err(error) = self.recorder.publish(event, about).await {
            let namespace = about.namespace.as_deref();
            warn!(namespace, "an Event was not taken: {error}");
        }
    }
}

/// Compiles until `shutdown`; what is being written then is finished.
pub async fn run(
    client: Client,
    metrics: Arc<Metrics>,
    shutdown: impl Future<Output = ()> + Clone + Send + Sync + 'static,
) {
    let index = Arc::new(Index::default());
    let feed = Feed::new(client.clone(), Arc::clone(&index), Arc::clone(&metrics));
    let (namespaces, levels, sidecars, watching) = feed.start();
    let reporter = Reporter { controller: "assent.dev/operator".to_owned(), instance: None };
    let context = Arc::new(Context {
        client: client.clone(),
        index,
        metrics,
        refused: Refused::default(),
        retries: Mutex::new(HashMap::new()),
        recorder: Recorder::new(client.clone(), reporter),
        subjects: Subjects::default(),
        turns: Semaphore::new(CONCURRENCY),
    });
    let namespaces = Controller::new(Api::<Namespace>::all(client.clone()), watcher::Config::default())
        .reconcile_on(namespaces)
        .graceful_shutdown_on(shutdown.clone())
        .run(namespace, retry, Arc::clone(&context));
    let levels = Controller::new(Api::<RiskLevel>::all(client.clone()), watcher::Config::default())
        .reconcile_on(levels)
        .graceful_shutdown_on(shutdown.clone())
        .run(level, retry, Arc::clone(&context));
    let sidecars = Controller::new(Api::<TrustedSidecar>::all(client), watcher::Config::default())
        .reconcile_on(sidecars)
        .graceful_shutdown_on(shutdown)
        .run(sidecar, retry, context);
    tokio::select! {
        () = async { tokio::join!(drain(namespaces), drain(levels), drain(sidecars)); } => {}
        () = watching => {}
    }
}

/// Drives a controller; what went wrong was already logged by its error policy.
async fn drain<T, E: std::fmt::Display>(results: impl Stream<Item = Result<T, E>>) {
    results.for_each(|result| async move { result.err().into_iter().for_each(|e| debug!("{e}")) }).await;
}

async fn namespace(namespace: Arc<Namespace>, context: Arc<Context>) -> Result<Action, Error> {
    context.index.synced().await;
    let name = namespace.name_any();
    if namespace.metadata.deletion_timestamp.is_some() {
        context.index.withdrew(&name);
        context.subjects.forget(&name);
        context.metrics.expiring(&name, &Statuses::default().expiring());
        return Ok(Action::await_change());
    }
    let governance = Governance::of(namespace.labels());
    let turn = context.turns.acquire().await;
    let facts = context.index.facts(&name);
    let now = Timestamp::now();
    let by = (&context.client, &*context.index, &context.refused, &*context.metrics);
    let written = compiled_clearance(by, (&name, governance), &facts, now).await?;
    if written.anothers {
        context.alarm(&name).await;
    }
    drop(turn);
    if let Some(why) = &written.refusal {
        context.tell_of_refusal(&name, why).await;
    }
    let compiled = written.compiled;
    context.give_notice(&name, &facts, &compiled.statuses).await;
    let turn = context.turns.acquire().await;
    let recorded = context.subjects.record(&context.client, &name, &facts, &compiled.statuses).await;
    context.writer().statuses(&name, &facts, compiled.statuses).await?;
    drop(turn);
    recorded?;
    context.metrics.compiled(now);
    context.retries.lock().await.remove(&name);
    Ok(compiled.revisit.map_or_else(Action::await_change, |at| Action::requeue(until(at))))
}

async fn level(level: Arc<RiskLevel>, context: Arc<Context>) -> Result<Action, Error> {
    context.index.synced().await;
    let systems = context.index.systems_of_level(&level.name_any());
    context.writer().level(&level, &status::of_level(&level, systems, Timestamp::now())).await?;
    Ok(Action::await_change())
}

async fn sidecar(sidecar: Arc<TrustedSidecar>, context: Arc<Context>) -> Result<Action, Error> {
    context.index.synced().await;
    let has_room = context.index.has_room_for(&sidecar.name_any());
    let status = status::of_sidecar(&sidecar, has_room, Timestamp::now());
    context.writer().sidecar(&sidecar, &status).await?;
    Ok(Action::await_change())
}

fn until(instant: Timestamp) -> Duration {
    let wait = instant.duration_since(Timestamp::now());
    Duration::try_from(wait).unwrap_or_default().min(LONGEST_WAIT)
}

/// Waits longer after each failure of the same object, with jitter, up to [`SLOWEST`].
#[allow(clippy::needless_pass_by_value, reason = "the signature that Controller::run asks for")]
fn retry<K: ResourceExt>(object: Arc<K>, error: &Error, context: Arc<Context>) -> Action {
    let name = object.name_any();
    context.metrics.compile_errors.inc();
    let wait = context.retries.try_lock().ok().and_then(|mut retries| {
        let fresh = || {
            let backoff = ExponentialBuilder::default().with_min_delay(Duration::from_millis(50));
            backoff.with_max_delay(SLOWEST).without_max_times().with_jitter().build()
        };
        retries.entry(name.clone()).or_insert_with(fresh).next()
    });
    let wait = wait.unwrap_or(Duration::from_secs(1));
    warn!(object = name, ?wait, "{error}; trying again");
    Action::requeue(wait)
}

type NamespaceRef = ObjectRef<Namespace>;
type LevelRef = ObjectRef<RiskLevel>;
type SidecarRef = ObjectRef<TrustedSidecar>;
