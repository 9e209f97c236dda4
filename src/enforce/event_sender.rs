//! Sends Events to the API server. A pod, Job or workload is the subject of an Event. The workload and the AI system of
//! the subject get an Event too.
//!
//! The Events wait in a [`FairQueue`]. If the API server is too busy for an Event, the Event returns to the queue, and
//! the sender waits before it sends more Events of this namespace.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use backon::ExponentialBackoff;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType},
};
use tokio::time::Instant;
use tracing::debug;

use super::{
    fair::FairQueue,
    owner::{OwnerRef, Roots},
};
use crate::{event_recorder::EventRecorder, metrics::Metrics, watch::is_transient};

/// The time in which a workload or a system gets Events with the same cause only once. Many pods of a workload or
/// system can have the same cause.
const DEDUPLICATION: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub(super) struct PendingEvent {
    pub(super) namespace: String,
    /// The subject, the workload and the system, if they still need the Event.
    pub(super) about: VecDeque<About>,
    pub(super) type_: EventType,
    pub(super) reason: &'static str,
    pub(super) action: &'static str,
    /// The part of the note that contains no details of one pod. Events with equal causes are deduplicated.
    pub(super) cause: String,
    pub(super) note: String,
    pub(super) backoff: ExponentialBackoff,
}

#[derive(Debug)]
pub(super) enum About {
    Itself(ObjectReference),
    /// The topmost controller above this controller, such as the Deployment above a `ReplicaSet`.
    RootOf(Arc<OwnerRef>),
    System(Arc<str>),
}

/// Sends the Events of the queue, and never returns. Drops an Event that failed too often.
pub(super) async fn send_events(client: Client, queue: Arc<FairQueue<PendingEvent>>, metrics: Arc<Metrics>) {
    let mut sender = EventSender {
        recorder: EventRecorder::new(client.clone()),
        client,
        roots: Roots::default(),
        deduplicated_until: HashMap::new(),
    };
    loop {
        let mut event = queue.pop().await;
        if sender.send(&mut event).await.is_ok() {
            continue;
        }
        let Some(delay) = event.backoff.next() else {
            metrics.events_dropped.inc();
            continue;
        };
        let namespace = event.namespace.clone();
        queue.put_back(&namespace, event, delay);
    }
}

struct EventSender {
    client: Client,
    recorder: EventRecorder,
    roots: Roots,
    /// The instant until which the sender skips an equal Event, by namespace, object, reason and cause.
    deduplicated_until: HashMap<(String, String, &'static str, String), Instant>,
}

impl EventSender {
    /// Publishes one Event about each object in `event.about`. Skips recent duplicates about workloads and systems.
    /// Returns an error if a retry can succeed.
    async fn send(&mut self, event: &mut PendingEvent) -> Result<(), kube::Error> {
        self.deduplicated_until.retain(|_, until| *until > Instant::now());
        while let Some(about) = event.about.front() {
            let object = self.reference(&event.namespace, about).await;
            let kind_and_name = format!("{:?}/{:?}", object.kind, object.name);
            let topic = (event.namespace.clone(), kind_and_name, event.reason, event.cause.clone());
            if matches!(about, About::Itself(_)) {
                self.publish(event, &object).await?;
            } else if !self.deduplicated_until.contains_key(&topic) {
                self.publish(event, &object).await?;
                self.deduplicated_until.insert(topic, Instant::now() + DEDUPLICATION);
            }
            event.about.pop_front();
        }
        Ok(())
    }

    async fn reference(&mut self, namespace: &str, about: &About) -> ObjectReference {
        match about {
            About::Itself(object) => object.clone(),
            About::RootOf(owner) => {
                let OwnerRef { api_version, kind, name, uid } =
                    self.roots.of(&self.client, namespace, owner).await;
                reference(namespace, &api_version, &kind, &name, Some(uid))
            }
            About::System(system) => reference(namespace, "assent.dev/v1alpha1", "AISystem", system, None),
        }
    }

    async fn publish(&self, pending: &PendingEvent, object: &ObjectReference) -> Result<(), kube::Error> {
        let event = Event {
            type_: pending.type_,
            reason: pending.reason.to_owned(),
            note: Some(pending.note.clone()),
            action: pending.action.to_owned(),
            secondary: None,
        };
        match self.recorder.publish_with_cause(&event, &pending.cause, object).await {
            Err(error) if is_transient(&error) => Err(error),
            Err(error) => {
                debug!(object = object.name, "the API server refused an Event: {error}");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}

pub(super) fn reference(
    namespace: &str,
    api_version: &str,
    kind: &str,
    name: &str,
    uid: Option<String>,
) -> ObjectReference {
    ObjectReference {
        api_version: Some(api_version.to_owned()),
        kind: Some(kind.to_owned()),
        name: Some(name.to_owned()),
        namespace: Some(namespace.to_owned()),
        uid,
        ..ObjectReference::default()
    }
}
