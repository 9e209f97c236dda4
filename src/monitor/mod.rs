//! Runs the queries of monitors, writes their statuses, and opens an incident on a breach.
//!
//! ```text
//!  watch ──► Entries ──► Queue ──► Turns ──► Source: query ──► Measurement ──► MonitorTrack ──┬─► status, Event
//!                                                                                            └─► breach: Incident
//! ```
//!
//! The queue spreads the queries of the monitors evenly over their intervals. `Turns` limits the queries of one
//! namespace to 2 at a time. A `Source` is a Prometheus server from the configuration. It gets at most 16 queries at
//! a time.
//!
//! This module never clears a version, and never lifts a hold. A status contains the counted times, so the operator
//! continues with these times after a restart.

mod answer;
mod entries;
mod entry;
mod incident;
mod schedule;
mod source;
mod status;
mod turns;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::{Stream, StreamExt};
use k8s_openapi::{api::core::v1::ObjectReference, jiff::Timestamp};
use kube::{
    Api, Client, ResourceExt,
    api::ListParams,
    runtime::events::{Event, EventType},
};
use tracing::warn;

pub use self::source::{InvalidSources, MonitorOptions, SourceList};
use self::{
    entries::{Entries, Query, Task},
    entry::{Begun, Place, Unopened},
    incident::Opener,
    source::Source,
    status::{Wrote, write},
    turns::{Turn, Turns},
};
use crate::{
    api::Monitor,
    event_recorder::EventRecorder,
    lock::lock,
    metrics::Metrics,
    policy::Measurement,
    promql::LimitedQueries,
    truncate::{NOTE_BYTES, plain, shorten},
    watch::{Outcome, Queue, Relist, Watches, request},
};

/// The maximum number of status writes in one report. Usually two writes suffice: the first contains the breach, and
/// the second also contains the name of the incident.
const WRITES: usize = 4;

struct Context {
    client: Client,
    entries: Arc<Mutex<Entries>>,
    sources: HashMap<String, Source>,
    label: String,
    metrics: Arc<Metrics>,
    recorder: EventRecorder,
    opener: Opener,
    turns: Turns,
}

/// Queries the monitors until `shutdown`. Then drops the queries and writes in progress, because a slow query would
/// delay the release of the leader's Lease.
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
        turns: Turns::default(),
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

/// Updates the entries from the watch. Returns a stream of the monitors that are new, changed or deleted.
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
    /// Takes the next step for the monitor at `place`, such as a query. If the monitor was deleted, removes its
    /// metrics.
    async fn work(&self, place: Place) -> Option<Outcome> {
        let is_slow = lock(&self.entries).is_slow(&place);
        let mut turn = self.turns.of(&place.0, is_slow).await?;
        self.parse(&place);
        let task = lock(&self.entries).task(&place, Timestamp::now());
        let again = match task {
            Task::Gone { is_last } => {
                self.metrics.monitor_gone(&place.0, &place.1);
                drop(turn);
                if is_last {
                    self.turns.forget(&place.0);
                }
                return Some(Outcome::default());
            }
            Task::Wait(time) => time,
            // Thousands of monitors can wait at the same time. The boxes keep the future of each waiting monitor small.
            Task::Query(query) => Box::pin(self.query(&place, query, &mut turn)).await,
            Task::Open => Box::pin(self.report(&place)).await.unwrap_or_default(),
            Task::Report(again) => Box::pin(self.report(&place)).await.unwrap_or(again),
        };
        Some(Outcome { again: Some(again), rest: Duration::ZERO })
    }

    /// Parses the queries of a monitor, if they are not parsed yet. Parsing can take milliseconds, so it does not lock
    /// `entries`.
    fn parse(&self, place: &Place) {
        let unparsed = lock(&self.entries).unparsed(place);
        if let Some(spec) = unparsed {
            let queries = LimitedQueries::of(&spec, &self.label, &place.0).map_err(|why| why.to_string());
            lock(&self.entries).parsed(place, &spec, queries);
        }
    }

    /// Queries a monitor once, and reports the result. Returns the time until the next query or retry.
    async fn query(&self, place: &Place, query: Query, turn: &mut Turn) -> Duration {
        let (measured, took) = self.measure(&query).await;
        turn.queried(took);
        let at = Timestamp::now();
        if let Measurement::Value(_) = measured {
            self.metrics.monitor_succeeded(&place.0, &place.1, at);
        }
        let begun = lock(&self.entries).add(place, &query, at, (measured, took));
        if let Some(change) = begun {
            self.publish(place, change).await;
        }
        self.report(place).await.unwrap_or_else(|| query.until_next(Timestamp::now()))
    }

    /// Waits until the Prometheus server is free for a query, and then queries it. Also returns the duration of the
    /// queries, without the wait.
    async fn measure(&self, query: &Query) -> (Measurement, Duration) {
        let Some(source) = self.sources.get(&query.source) else {
            let why = format!("the operator has no Prometheus named {}", query.source);
            return (Measurement::NoAnswer(why), Duration::ZERO);
        };
        let turn = source.turns.acquire().await;
        let begun = Instant::now();
        let measured = self.ask(source, query).await;
        drop(turn);
        (measured, begun.elapsed())
    }

    /// If the monitor requires samples, queries their number first. Then queries the value.
    async fn ask(&self, source: &Source, query: &Query) -> Measurement {
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

    /// Writes the status if it is due, and opens the incident of a breach. Returns the pause before the next attempt,
    /// or `None` if no attempt is needed. After a failed status write, the next write waits for the next query. The
    /// reason is that the writes of many monitors can fail together.
    async fn report(&self, place: &Place) -> Option<Duration> {
        for _ in 0..WRITES {
            match self.report_once(place).await {
                Reported::Done => {
                    lock(&self.entries).succeeded(place);
                    return None;
                }
                Reported::Again => {}
                Reported::Failed => break,
            }
        }
        Some(lock(&self.entries).failed(place))
    }

    async fn report_once(&self, place: &Place) -> Reported {
        let Some(wanted) = lock(&self.entries).status(place, &self.sources, Timestamp::now()) else {
            return Reported::Done;
        };
        if wanted.is_queried {
            self.metrics.monitor_state(&place.0, &place.1, wanted.state);
        } else {
            // A monitor that the operator does not query has no metrics. Otherwise, thousands of monitors in one
            // namespace would add thousands of series.
            self.metrics.monitor_gone(&place.0, &place.1);
        }
        if let Some(status) = &wanted.write {
            let wrote = write(&self.client, place, status).await;
            lock(&self.entries).wrote(place, &wrote);
            if let Wrote::Conflict = wrote {
                return self.reread(place).await;
            }
        }
        let Some(breach) = wanted.unopened else { return Reported::Done };
        self.open(place, &breach).await
    }

    /// Opens the incident of a breach. The next report writes the name of the incident into the status.
    async fn open(&self, place: &Place, breach: &Unopened) -> Reported {
        match self.opener.open(place, breach).await {
            Ok(incident) => {
                lock(&self.entries).opened(place, breach, incident);
                Reported::Again
            }
            Err(error) => {
                let (namespace, monitor) = place;
                warn!(namespace, monitor, "the incident was not opened: {error}; retrying");
                Reported::Failed
            }
        }
    }

    /// Reads the monitor again after a conflict. A user can have changed the monitor, or a second operator can have
    /// written its status.
    async fn reread(&self, place: &Place) -> Reported {
        let (namespace, name) = place;
        let api = Api::<Monitor>::namespaced(self.client.clone(), namespace);
        // RBAC lets the operator list monitors, but not get a single one.
        let named = ListParams::default().fields(&format!("metadata.name={name}"));
        match request::list(&api, &named).await {
            Ok(found) => {
                if let Some(monitor) = found.items.into_iter().next() {
                    lock(&self.entries).reread(place, monitor);
                }
                Reported::Again
            }
            Err(error) => {
                warn!(namespace, name, "the monitor was not read after a conflict: {error}; retrying");
                Reported::Failed
            }
        }
    }

    async fn publish(&self, (namespace, name): &Place, change: Begun) {
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

enum Reported {
    Done,
    /// Another report is necessary, because the status changed.
    Again,
    Failed,
}
