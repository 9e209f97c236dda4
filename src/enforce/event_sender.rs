//! Sends Events to the API server. An Event goes to its subject, the workload of the subject and its AI system.
//!
//! ```text
//!  FairQueue ─ PendingEvent ─► EventSender ─► create Event ─► refused for now: put back, the namespace backs off
//! ```

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use backon::ExponentialBackoff;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::time::Instant;
use tracing::debug;

use super::{
    fair::FairQueue,
    owner::{OwnerRef, Roots},
};
use crate::{metrics::Metrics, watch::is_transient};

/// The time in which an Event is sent once for a workload or a system, which can have many pods.
const QUIET: Duration = Duration::from_mins(1);

/// An Event that waits in the queue.
#[derive(Debug)]
pub(super) struct PendingEvent {
    pub(super) namespace: String,
    /// The objects that still need the Event.
    pub(super) about: VecDeque<About>,
    pub(super) type_: EventType,
    pub(super) reason: &'static str,
    pub(super) action: &'static str,
    pub(super) note: String,
    /// The delays before further tries.
    pub(super) backoff: ExponentialBackoff,
}

/// An object that an Event is about.
#[derive(Debug)]
pub(super) enum About {
    Itself(ObjectReference),
    /// The workload that people know, above this controller.
    RootOf(Arc<OwnerRef>),
    System(Arc<str>),
}

/// Sends the Events of the queue, for ever.
pub(super) async fn send_events(client: Client, queue: Arc<FairQueue<PendingEvent>>, metrics: Arc<Metrics>) {
    let reporter = Reporter { controller: "assent.dev/operator".to_owned(), instance: None };
    let mut sender = EventSender {
        recorder: Recorder::new(client.clone(), reporter),
        client,
        roots: Roots::default(),
        quiet: HashMap::new(),
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
    recorder: Recorder,
    roots: Roots,
    /// The end of the time in which the Event is not sent again, by object and reason.
    quiet: HashMap<(String, String, &'static str), Instant>,
}

impl EventSender {
    /// Sends the Event to each of its objects. Fails if the API server may accept it later.
    async fn send(&mut self, event: &mut PendingEvent) -> Result<(), kube::Error> {
        self.quiet.retain(|_, until| *until > Instant::now());
        while let Some(about) = event.about.front() {
            let object = self.reference(&event.namespace, about).await;
            let topic =
                (event.namespace.clone(), format!("{:?}/{:?}", object.kind, object.name), event.reason);
            if matches!(about, About::Itself(_)) {
                self.publish(event, &object).await?;
            } else if !self.quiet.contains_key(&topic) {
                self.publish(event, &object).await?;
                self.quiet.insert(topic, Instant::now() + QUIET);
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
        match self.recorder.publish(&event, object).await {
            Err(error) if is_transient(&error) => Err(error),
            Err(error) => {
                debug!(object = object.name, "an Event was not taken: {error}");
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
