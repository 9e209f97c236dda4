//! Runs the queries of monitors, writes their statuses, and opens an incident on a breach.
//!
//! ```text
//!  watch ──► Entries ──► Queue: one query for each monitor and interval, spread evenly
//!                          │
//!                          ▼  at most 2 at a time for a namespace, 64 in total
//!                        Source (Prometheus, from the configuration) ──► Measurement ──► policy::MonitorTrack
//!                                                                                          │
//!                                Incident (None or Hold) ◄── breach ◄── status, Event ◄────┘
//! ```
//!
//! Nothing here clears a version or lifts a hold. If the process ends, the next leader continues with the counted times
//! in the statuses.

mod answer;
mod entry;
mod incident;
mod schedule;
mod source;
mod status;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::{Stream, StreamExt};
use k8s_openapi::{api::core::v1::ObjectReference, jiff::Timestamp};
use kube::{
    Client, ResourceExt,
    runtime::events::{Event, EventType},
};
use tokio::sync::Semaphore;
use tracing::warn;

pub use self::source::{InvalidSources, MonitorOptions, SourceList};
use self::{
    entry::{Entries, Place, Task},
    incident::Opener,
    source::Source,
    status::{Wrote, write},
};
use crate::{
    api::{Monitor, OnBreach},
    event_recorder::EventRecorder,
    lock::lock,
    metrics::Metrics,
    policy::Measurement,
    truncate::{NOTE_BYTES, plain, shorten},
    watch::{Outcome, Queue, Relist, Watches},
};

/// The maximum number of queries at the same time.
const CONCURRENCY: usize = 64;

/// The maximum number of queries at the same time for one namespace. Slow queries of one tenant leave room for others.
const OF_NAMESPACE: usize = 2;

/// The pause before the next query, if a write conflicted or an incident could not be opened.
const RETRY: Duration = Duration::from_secs(1);

struct Context {
    client: Client,
    entries: Arc<Mutex<Entries>>,
    sources: HashMap<String, Source>,
    label: String,
    metrics: Arc<Metrics>,
    recorder: EventRecorder,
    opener: Opener,
    turns: Semaphore,
    turns_of: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// Queries the monitors until `shutdown`. It does not wait for queries in progress, because a slow query would delay the
/// release of the Lease. A measurement that is dropped changes nothing.
pub(crate) async fn run(
    client: Client,
    options: MonitorOptions,
    metrics: Arc<Metrics>,
    watches: Arc<Watches>,
    shutdown: impl Future<Output = ()> + Clone + Send + Sync + 'static,
) {
    let entries = Arc::<Mutex<Entries>>::default();
    let context = Context {
        client: client.clone(),
        entries: Arc::clone(&entries),
        sources: options.sources(),
        label: options.label,
        metrics,
        recorder: EventRecorder::new(client.clone()),
        opener: Opener::new(client),
        turns: Semaphore::new(CONCURRENCY),
        turns_of: Mutex::default(),
    };
    let changed = feed(&entries, &watches);
    let work = |place| {
        let (work, shutdown) = (context.work(place), shutdown.clone());
        async {
            tokio::select! {
                outcome = work => outcome,
                () = shutdown => None,
            }
        }
    };
    Queue::default().run(changed, work, shutdown.clone()).await;
}

/// Updates the entries from the watch. The stream yields the monitors that are new, changed or deleted.
fn feed(
    entries: &Arc<Mutex<Entries>>,
    watches: &Arc<Watches>,
) -> impl Stream<Item = Place> + Send + use<> + 'static {
    let (entries, mut relist) = (Arc::clone(entries), Relist::default());
    watches.all::<Monitor>().flat_map(move |event| {
        let change = relist.change(event, |object| (namespace(object), object.name_any()));
        let change = change.map(crate::watch::Change::readable);
        let changed = change.map(|change| lock(&entries).apply(change, Timestamp::now()));
        futures::stream::iter(changed.unwrap_or_default())
    })
}

fn namespace(object: &impl kube::Resource) -> String {
    object.meta().namespace.clone().unwrap_or_default()
}

impl Context {
    /// Queries the monitor at `place` if it is due. If the monitor was deleted, removes its metrics.
    async fn work(&self, place: Place) -> Option<Outcome> {
        let turn_of = self.turn_of(&place.0);
        let own = turn_of.acquire().await;
        let task = lock(&self.entries).task(&place, &self.label, Timestamp::now());
        let again = match task {
            Task::Gone { is_last } => {
                self.metrics.monitor_gone(&place.0, &place.1);
                drop(own);
                // A query of a deleted monitor can still hold a permit. Without this check, the next monitor of the
                // namespace would get new permits.
                let mut semaphores = lock(&self.turns_of);
                if is_last && Arc::strong_count(&turn_of) == 2 {
                    semaphores.remove(&place.0);
                }
                drop(semaphores);
                return Some(Outcome::default());
            }
            Task::Wait(time) => time,
            // Thousands of monitors can wait at the same time. The box keeps the future of each of them small.
            Task::Query(query) => Box::pin(self.query(&place, query)).await,
            Task::Report(again) => {
                Box::pin(self.report(&place)).await;
                again
            }
        };
        Some(Outcome { again: Some(again), rest: Duration::ZERO })
    }

    fn turn_of(&self, namespace: &str) -> Arc<Semaphore> {
        let mut turns = lock(&self.turns_of);
        let turn = || Arc::new(Semaphore::new(OF_NAMESPACE));
        Arc::clone(turns.entry(namespace.to_owned()).or_insert_with(turn))
    }

    /// Measures once. Returns the time until the next query.
    async fn query(&self, place: &Place, query: entry::Query) -> Duration {
        let turn = self.turns.acquire().await;
        let measured = self.measure(&query).await;
        drop(turn);
        let at = Timestamp::now();
        if let Measurement::Value(_) = measured {
            self.metrics.monitor_succeeded(&place.0, &place.1, at);
        }
        let begun = lock(&self.entries).add(place, &query, at, measured);
        if let Some(change) = begun {
            self.publish(place, change).await;
        }
        if self.report(place).await { query.until_next(Timestamp::now()) } else { RETRY }
    }

    /// Queries the number of samples, if the monitor requires samples, and then the value.
    async fn measure(&self, query: &entry::Query) -> Measurement {
        let Some(source) = self.sources.get(&query.source) else {
            return Measurement::NoAnswer(format!("the operator has no Prometheus named {}", query.source));
        };
        if let Some((samples, at_least)) = &query.samples {
            match self.timed(source, samples).await {
                Measurement::Value(value) if value >= *at_least => {}
                Measurement::Value(value) => {
                    return Measurement::NoValue(format!(
                        "{value} samples, and at least {at_least} are required"
                    ));
                }
                Measurement::NoValue(why) => return Measurement::NoValue(format!("samples: {why}")),
                Measurement::NoAnswer(why) => return Measurement::NoAnswer(format!("samples: {why}")),
            }
        }
        self.timed(source, &query.value).await
    }

    async fn timed(&self, source: &Source, query: &str) -> Measurement {
        let begun = Instant::now();
        let measured = source.query(query).await;
        self.metrics.monitor_queried(&measured, begun.elapsed());
        measured
    }

    /// Writes the status if it is due, and opens the incident of a breach. Returns false if the next attempt must come
    /// soon. A failed write is tried again only at the next query, because the writes of many monitors can fail
    /// together.
    async fn report(&self, place: &Place) -> bool {
        let Some(wanted) = lock(&self.entries).status(place, &self.sources, Timestamp::now()) else {
            return true;
        };
        if wanted.is_queried {
            self.metrics.monitor_state(&place.0, &place.1, wanted.state);
        } else {
            // Without this, thousands of monitors in one namespace would add thousands of series.
            self.metrics.monitor_gone(&place.0, &place.1);
        }
        if let Some(status) = &wanted.write {
            let wrote = write(&self.client, place, status).await;
            lock(&self.entries).wrote(place, &wrote);
            if let Wrote::Conflict = wrote {
                // Another writer changed the object. A second operator can have opened the incident already.
                return false;
            }
        }
        let Some(breach) = wanted.unopened else { return true };
        match self.opener.open(place, &breach).await {
            Ok(name) => {
                lock(&self.entries).opened(place, &breach, name);
                // The next call writes the name of the incident into the status.
                Box::pin(self.report(place)).await
            }
            Err(error) => {
                let (namespace, monitor) = place;
                warn!(namespace, monitor, "the incident was not opened: {error}; retrying");
                false
            }
        }
    }

    /// Sends an Event about a monitor.
    async fn publish(&self, (namespace, name): &Place, change: entry::Begun) {
        let about = ObjectReference {
            api_version: Some("assent.dev/v1alpha1".to_owned()),
            kind: Some("Monitor".to_owned()),
            name: Some(name.clone()),
            namespace: Some(namespace.clone()),
            uid: Some(change.uid),
            ..ObjectReference::default()
        };
        let event = Event {
            type_: if change.reason == "MonitorRecovered" { EventType::Normal } else { EventType::Warning },
            reason: change.reason.to_owned(),
            note: Some(shorten(plain(&change.note).into_owned(), NOTE_BYTES)),
            action: "Measure".to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, &about).await {
            warn!(namespace, name, "the Event was not recorded: {error}");
        }
    }
}

/// Whether a breach of a monitor with this action opens an incident.
const fn opens_incident(on_breach: OnBreach) -> bool {
    matches!(on_breach, OnBreach::OpenIncident | OnBreach::Hold)
}
