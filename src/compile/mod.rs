//! Compiles the decisions of people into one [`Clearance`](crate::api::Clearance) for each namespace, and writes the
//! verdicts into the statuses of the objects.
//!
//! ```text
//!  watches ──► Index: objects by namespace ──► Queue of namespaces ──► compile ──┬─► Clearance
//!                                                      ▲                         ├─► statuses
//!                                                      └──── next expiry ────────┘
//! ```
//!
//! The watches deliver all objects that people write, such as `AISystems`, Approvals and Incidents. They also deliver
//! Namespaces and Clearances. If expressions may read network policies or claims, the watches deliver these too.
//!
//! A write of a Clearance states the resource version that the operator read. So an operator with old data gets a
//! conflict.
//!
//! A compile waits for the first list of every kind that it reads. With an incomplete cache, the Clearance would lack
//! approved versions, and the operator would stop their pods.

mod by_namespace;
pub(crate) mod clearance;
mod cost;
mod fingerprint;
mod history;
mod incident_events;
mod incident_status;
pub(crate) mod index;
mod judged;
mod notice;
mod objections;
mod on_loss;
mod override_events;
mod overrides;
mod records;
mod refused;
mod room;
mod status;
mod stored;
mod stored_status;
mod subjects;
mod trusted;
mod withheld;
mod write;
mod write_status;

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use k8s_openapi::{api::core::v1::ObjectReference, jiff::Timestamp};
use kube::{
    Client, Resource, ResourceExt,
    runtime::events::{Event, EventType},
};
use tokio::sync::Semaphore;
use tracing::warn;

pub(crate) use self::{clearance::compile, index::NamespaceFacts, notice::Notice, trusted::trust};
use self::{
    history::{Histories, snapshots},
    index::{Index, Key, feed},
    objections::{Announcement, Objections},
    refused::Refused,
    status::Statuses,
    subjects::Subjects,
    write::compiled_clearance,
    write_status::Writer,
};
use crate::{
    api::{Assessment, CLEARANCE_EXPIRING, CLEARANCE_NAME, Clearance, ClearanceSpec, Governance},
    event_recorder::EventRecorder,
    metrics::{IncidentGauges, Metrics},
    policy::ClusterVariable,
    truncate::{NOTE_BYTES, shorten},
    watch::{Outcome, Queue, Watches, report},
};

/// The error if the operator cannot compile a namespace, or cannot write the status of a risk level or trusted sidecar.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request to read or write an object failed.
    #[error("{what}: {source}")]
    Write {
        /// The objects that the request reads or writes, such as the kind and name of one object.
        what: String,
        /// The error of the request.
        source: kube::Error,
    },
    /// The compile of a namespace panicked.
    #[error(
        "the facts of namespace {namespace} cannot be compiled: this is a bug in Assent, please report it"
    )]
    Compile {
        /// The name of the namespace.
        namespace: String,
    },
}

/// The maximum number of namespaces whose objects the operator writes at the same time.
const CONCURRENCY: usize = 16;

/// The maximum delay until the next compile of a namespace, because a timer of tokio cannot wait for years.
const LONGEST_WAIT: Duration = Duration::from_hours(24);

/// The minimum pause after a compile, as a multiple of the duration of the compile. So a large namespace that changes
/// all the time usually uses at most a third of one processor. The queue cuts the pause to one second.
const REST: u32 = 2;

/// The delay before the next attempt to compile, if the operator has not yet listed a kind that an expression reads.
const LISTS: Duration = Duration::from_secs(1);

/// The maximum number of Events about failing results of tests in one compile. Any user who may deploy can also record
/// results. Without this limit, such a user could cause a flood of Events.
const FAILING_AT_ONCE: usize = 16;

/// The minimum time between two counts of the systems that use a risk level. The count is part of the level's status.
const COUNT_EVERY: Duration = Duration::from_secs(1);

struct Context {
    client: Client,
    index: Arc<Index>,
    metrics: Arc<Metrics>,
    refused: Refused,
    recorder: EventRecorder,
    objections: Objections,
    subjects: Subjects,
    histories: Histories,
    /// Limits how many namespaces the operator writes at the same time. The semaphore serves tasks in the order of
    /// their calls. So if approvals end in many namespaces at once, the operator writes all Clearances before the
    /// statuses.
    turns: Semaphore,
}

impl Context {
    fn writer(&self) -> Writer<'_> {
        Writer { client: &self.client, refused: &self.refused, metrics: &self.metrics }
    }

    /// Reports that another user changed or deleted a Clearance. The admission policies normally refuse such a change.
    async fn report_restored(&self, namespace: &str) {
        let note = "another user changed or deleted the Clearance; Assent restored it, and stops uncleared pods \
                    that were created in the meantime";
        warn!(namespace, "{note}");
        self.metrics.clearances_restored.inc();
        self.warn_of_clearance(namespace, "ClearanceRestored", "Restore", note).await;
    }

    /// Reports that the API server refused the full Clearance, and stored only a smaller one.
    async fn report_reduced(&self, namespace: &str, why: &str) {
        // Drop the prefix, which names the admission policy. An Event has no space for both the prefix and the message.
        let why = why.rsplit_once("denied request: ").map_or(why, |(_, message)| message);
        let note = format!(
            "some versions are withheld, because the API server stored only a smaller Clearance: \
             kubectl get modelversions -n {namespace}; the API server answered: {why}"
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

    /// Sends an Event when a cleared version reaches 30, 14, 7 or 1 days before the end of its clearance. Call this
    /// before the statuses are written. A written status records the reached step, so a later compile sends no second
    /// Event.
    async fn warn_of_expiry(&self, namespace: &str, facts: &NamespaceFacts, statuses: &Statuses) {
        self.metrics.expiring(namespace, &statuses.expiring());
        for (name, status) in &statuses.versions {
            let Some(version) = facts.versions.get(name) else { continue };
            let Some(expiring) = status::next_notice(version.status.as_deref().map(AsRef::as_ref), status)
            else {
                continue;
            };
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

    /// Sends an Event for each new assessment with an unsigned result that would not meet a requirement. An assessment
    /// is new while it has no status. Call this before the statuses are written.
    async fn warn_of_failing(&self, namespace: &str, facts: &NamespaceFacts, statuses: &Statuses) {
        for name in statuses.failing.iter().take(FAILING_AT_ONCE) {
            let counted = statuses.assessments.get(name).and_then(|status| status.conditions.first());
            let (Some(assessment), Some(counted)) = (facts.assessments.get(name), counted) else { continue };
            let Some(system) = facts.systems.get(&*assessment.spec.system) else { continue };
            let mut about = Assessment::new(name, assessment.spec.clone()).object_ref(&());
            about.namespace = Some(namespace.to_owned());
            let event = Event {
                type_: EventType::Warning,
                reason: "ResultFails".to_owned(),
                note: Some(shorten(format!("assessment/{name}: {}", counted.message), NOTE_BYTES)),
                action: "Sign".to_owned(),
                secondary: Some(about),
            };
            self.publish(&event, &system.reference(namespace)).await;
        }
    }

    /// Sends the Events about changes of incidents that the stored statuses do not show yet. Call this before the
    /// statuses are written.
    async fn tell_of_incidents(&self, namespace: &str, facts: &NamespaceFacts, statuses: &Statuses) {
        self.metrics.incidents.set(namespace, incident_events::gauges(namespace, facts, statuses));
        for announcement in incident_events::begun(namespace, facts, statuses) {
            self.announce(&announcement).await;
        }
    }

    async fn announce(&self, announcement: &Announcement) {
        for about in &announcement.about {
            self.publish(&announcement.event, about).await;
        }
    }

    /// Sends an Event when people granted an override, when its review is due, and when they missed the review. Call
    /// this before the statuses are written.
    async fn announce_overrides(&self, namespace: &str, facts: &NamespaceFacts, statuses: &Statuses) {
        let (active, reviews) = override_events::counts(facts, statuses);
        self.metrics.overrides(namespace, &active, reviews);
        for announcement in override_events::announcements(namespace, facts, statuses) {
            let Some(system) = facts.systems.get(announcement.system) else { continue };
            self.publish(&announcement.event, &system.reference(namespace)).await;
        }
    }

    async fn publish(&self, event: &Event, about: &ObjectReference) {
        if let Err(error) = self.recorder.publish(event, about).await {
            let namespace = about.namespace.as_deref();
            warn!(namespace, "the Event was not recorded: {error}");
        }
    }
}

/// Compiles until `shutdown`, and then waits for the compiles in progress.
pub(crate) async fn run(
    client: Client,
    variables: BTreeSet<ClusterVariable>,
    metrics: Arc<Metrics>,
    watches: Arc<Watches>,
    shutdown: impl Future<Output = ()> + Clone + Send + Sync + 'static,
) {
    let index = Arc::new(Index::new(variables));
    let changed = feed(&index, &watches);
    let context = Context {
        client: client.clone(),
        index,
        metrics,
        refused: Refused::default(),
        recorder: EventRecorder::new(client.clone()),
        objections: Objections::default(),
        subjects: Subjects::default(),
        histories: Histories::default(),
        turns: Semaphore::new(CONCURRENCY),
    };
    let working = Queue::default().run(changed, |key| context.work(key), shutdown.clone());
    tokio::join!(working, report(client, watches, shutdown));
}

impl Context {
    /// Handles one key of the queue. After a failure, logs the error and returns `None`, so that the queue retries.
    async fn work(&self, key: Key) -> Option<Outcome> {
        self.index.synced().await;
        let done = match &key {
            Key::Namespace(name) => self.namespace(name).await,
            Key::Level(name) => self.level(name).await,
            Key::Sidecar(name) => self.sidecar(name).await,
        };
        match done {
            Ok(outcome) => Some(outcome),
            Err(error) => {
                self.metrics.compile_errors.inc();
                warn!(?key, "{error}; retrying with back-off");
                None
            }
        }
    }

    async fn namespace(&self, name: &str) -> Result<Outcome, Error> {
        let Some(namespace) = self.index.namespace(name) else { return Ok(Outcome::default()) };
        if namespace.meta().deletion_timestamp.is_some() {
            self.index.record_delete(name);
            self.objections.forget(name);
            self.subjects.forget(name);
            self.histories.forget(name);
            self.metrics.expiring(name, &Statuses::default().expiring());
            let gone = self.index.facts(name);
            let (none, reviews) = override_events::counts(&gone, &Statuses::default());
            self.metrics.overrides(name, &none, reviews);
            self.metrics.incidents.set(name, IncidentGauges::default());
            return Ok(Outcome::default());
        }
        let governance = Governance::of(namespace.labels());
        let turn = self.turns.acquire().await;
        let facts = Arc::new(self.index.facts(name));
        if !self.index.is_complete(&facts) {
            // Keep the stored Clearance. The operator has not yet listed all objects that the expressions of the levels
            // read. Without these objects, an expression can withhold an approved version.
            return Ok(Outcome { again: Some(LISTS), rest: Duration::ZERO });
        }
        let now = Timestamp::now();
        let by = (&self.client, &*self.index, &self.refused, &*self.metrics);
        let written = compiled_clearance(by, (name, governance), &facts, now).await?;
        if written.modified_externally {
            self.report_restored(name).await;
        }
        drop(turn);
        if let Some(why) = &written.refusal {
            self.report_reduced(name, why).await;
        }
        let compiled = written.compiled;
        self.warn_of_expiry(name, &facts, &compiled.statuses).await;
        self.warn_of_failing(name, &facts, &compiled.statuses).await;
        self.tell_of_incidents(name, &facts, &compiled.statuses).await;
        self.announce_overrides(name, &facts, &compiled.statuses).await;
        for announcement in self.objections.begun(name, &facts, &compiled.statuses) {
            self.announce(&announcement).await;
        }
        let turn = self.turns.acquire().await;
        let recorded = self.subjects.record(&self.client, name, &facts, &compiled.statuses).await;
        let snapshots = snapshots(&facts, &compiled.statuses);
        let statuses = self.writer().statuses(name, &facts, compiled.statuses).await;
        let histories_left = self.histories.record(&self.client, name, snapshots, now).await;
        drop(turn);
        statuses.and(recorded)?;
        // One compile writes only a limited number of SystemHistories. If more are due, compile again at once.
        let again = if histories_left? { Some(Duration::ZERO) } else { compiled.revisit.map(until) };
        self.metrics.compiled(now);
        Ok(Outcome { again, rest: written.took * REST })
    }

    async fn level(&self, name: &str) -> Result<Outcome, Error> {
        if let Some((level, requirements)) = self.index.level(name) {
            let in_use = self.index.use_of_level(name);
            let status = status::of_level((&level, &requirements), in_use, Timestamp::now());
            self.writer().level(&level, &status).await?;
        }
        Ok(Outcome { again: None, rest: COUNT_EVERY })
    }

    async fn sidecar(&self, name: &str) -> Result<Outcome, Error> {
        if let Some(sidecar) = self.index.sidecar(name) {
            let status = status::of_sidecar(&sidecar, self.index.has_room_for(name), Timestamp::now());
            self.writer().sidecar(&sidecar, &status).await?;
        }
        Ok(Outcome::default())
    }
}

fn until(instant: Timestamp) -> Duration {
    let wait = instant.duration_since(Timestamp::now());
    Duration::try_from(wait).unwrap_or_default().min(LONGEST_WAIT)
}
