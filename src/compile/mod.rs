//! From what people wrote to what may run: one [`Clearance`](crate::api::Clearance) a namespace, and
//! the statuses that tell people why.
//!
//! ```text
//!  watches ──► Index ──► dirty namespace ──► compile ──► Clearance   (replaced at a known version,
//!  AISystem    facts by       ▲              pure         │           so that a stale operator fails)
//!  ModelVersion namespace     │                           └► statuses (server-side apply)
//!  Approval                   │
//!  RiskLevel              the instant of the next expiry
//!  Clearance
//! ```
//!
//! Nothing is compiled before this operator leads, and before every watch has listed once: a clearance compiled from a part of the
//! facts would stop what is approved.

mod clearance;
mod index;
mod status;
mod write;

use std::{collections::HashMap, sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use futures::{Stream, StreamExt};
use k8s_openapi::{api::core::v1::Namespace, jiff::Timestamp};
use kube::{
    Api, Client, ResourceExt,
    runtime::{
        controller::{Action, Config, Controller},
        reflector::ObjectRef,
        watcher,
    },
};
use tokio::sync::{Mutex, watch};
use tracing::{debug, warn};

use self::{
    clearance::compile,
    index::{Feed, Index},
};
use crate::{
    api::{MODE_ENFORCE, MODE_LABEL, RiskLevel},
    metrics::Metrics,
};

/// A namespace or risk level could not be compiled.
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

/// How many namespaces are compiled at the same time.
const CONCURRENCY: u16 = 16;

/// The longest wait before a namespace is looked at again; timers cannot wait for years.
const LONGEST_WAIT: Duration = Duration::from_hours(24);

struct Context {
    client: Client,
    index: Arc<Index>,
    metrics: Arc<Metrics>,
    leading: watch::Receiver<bool>,
    retries: Mutex<HashMap<String, ExponentialBackoff>>,
}

impl Context {
    /// Waits until it is this operator's turn to write, and it knows all that it needs to.
    async fn ready(&self) {
        // The sender lives as long as the operator does.
        let _ = self.leading.clone().wait_for(|leading| *leading).await;
        self.index.synced().await;
    }
}

/// Watches, and compiles while `leading`, until `shutdown`; what is being written then is finished.
pub async fn run(
    client: Client,
    metrics: Arc<Metrics>,
    leading: watch::Receiver<bool>,
    shutdown: impl Future<Output = ()> + Clone + Send + Sync + 'static,
) {
    let index = Arc::new(Index::default());
    let feed = Feed::new(client.clone(), Arc::clone(&index), Arc::clone(&metrics));
    let (namespaces, levels, watching) = feed.start();
    let context = Arc::new(Context {
        client: client.clone(),
        index,
        metrics,
        leading,
        retries: Mutex::new(HashMap::new()),
    });
    let config = Config::default().concurrency(CONCURRENCY);
    let namespaces = Controller::new(Api::<Namespace>::all(client.clone()), watcher::Config::default())
        .with_config(config.clone())
        .reconcile_on(namespaces)
        .graceful_shutdown_on(shutdown.clone())
        .run(namespace, retry, Arc::clone(&context));
    let levels = Controller::new(Api::<RiskLevel>::all(client), watcher::Config::default())
        .with_config(config)
        .reconcile_on(levels)
        .graceful_shutdown_on(shutdown.clone())
        .run(level, retry, context);
    tokio::select! {
        () = async { tokio::join!(drain(namespaces), drain(levels)); } => {}
        () = watching => {}
    }
}

/// Drives a controller; what went wrong was already logged by its error policy.
async fn drain<T, E: std::fmt::Display>(results: impl Stream<Item = Result<T, E>>) {
    results.for_each(|result| async move { result.err().into_iter().for_each(|e| debug!("{e}")) }).await;
}

async fn namespace(namespace: Arc<Namespace>, context: Arc<Context>) -> Result<Action, Error> {
    context.ready().await;
    let name = namespace.name_any();
    if namespace.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let enforced = namespace.labels().get(MODE_LABEL).is_some_and(|mode| mode == MODE_ENFORCE);
    let facts = context.index.facts(&name);
    let now = Timestamp::now();
    let compiled = compile(&name, enforced, &facts, now);
    write::clearance(&context.client, &context.index, &name, &facts, compiled.clearance).await?;
    write::statuses(&context.client, &name, &facts, compiled.statuses).await?;
    context.metrics.compiled(now);
    context.retries.lock().await.remove(&name);
    Ok(compiled.revisit.map_or_else(Action::await_change, |at| Action::requeue(until(at))))
}

async fn level(level: Arc<RiskLevel>, context: Arc<Context>) -> Result<Action, Error> {
    context.ready().await;
    let systems = context.index.systems_of_level(&level.name_any());
    write::level_status(&context.client, &level, status::of_level(&level, systems, Timestamp::now())).await?;
    Ok(Action::await_change())
}

fn until(instant: Timestamp) -> Duration {
    let wait = instant.duration_since(Timestamp::now());
    Duration::try_from(wait).unwrap_or_default().min(LONGEST_WAIT)
}

/// Waits longer after each failure of the same object, with jitter, up to half a minute.
#[allow(clippy::needless_pass_by_value, reason = "the signature that Controller::run asks for")]
fn retry<K: ResourceExt>(object: Arc<K>, error: &Error, context: Arc<Context>) -> Action {
    let name = object.name_any();
    context.metrics.compile_errors.inc();
    let wait = context.retries.try_lock().ok().and_then(|mut retries| {
        let fresh = || {
            let backoff = ExponentialBuilder::default().with_min_delay(Duration::from_millis(50));
            backoff.with_max_delay(Duration::from_secs(30)).without_max_times().with_jitter().build()
        };
        retries.entry(name.clone()).or_insert_with(fresh).next()
    });
    let wait = wait.unwrap_or(Duration::from_secs(1));
    warn!(object = name, ?wait, "{error}; trying again");
    Action::requeue(wait)
}

type NamespaceRef = ObjectRef<Namespace>;
type LevelRef = ObjectRef<RiskLevel>;
