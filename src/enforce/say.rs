//! Telling people: Events on the pod, its workload and its AI system, that name the next command.
//!
//! What is said never holds up what is done: it waits in a queue, and what does not fit is dropped and
//! counted.

use std::{collections::HashMap, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::{sync::mpsc, time::Instant};
use tracing::{debug, info};

use super::{
    act::Action,
    decide::Step,
    owner::Roots,
    roster::{OwnerIs, Pod, PodKey},
};
use crate::{
    api::{ClearanceSpec, SystemClearance},
    bounds::shorten,
    metrics::Metrics,
};

/// How much waits to be said.
const QUEUE: usize = 4096;

/// How long the same is not said again about a workload or a system, whose pods are many.
const QUIET: Duration = Duration::from_mins(1);

/// The bound of the API server on an Event's note, in bytes.
const NOTE_BYTES: usize = 1024;

/// Something to say about a pod.
#[derive(Debug)]
struct Saying {
    key: PodKey,
    uid: String,
    owner: Option<Arc<OwnerIs>>,
    system: Option<Arc<str>>,
    type_: EventType,
    reason: &'static str,
    action: &'static str,
    note: String,
}

/// Where what is to be said goes.
pub struct Voice {
    queue: mpsc::Sender<Saying>,
    metrics: Arc<Metrics>,
}

impl Voice {
    /// A voice, and the work of speaking.
    pub fn new(client: Client, metrics: Arc<Metrics>) -> (Self, impl Future<Output = ()> + Send) {
        let (queue, said) = mpsc::channel(QUEUE);
        (Self { queue, metrics }, speak(client, said))
    }

    /// The pod is held.
    pub fn held(&self, key: &PodKey, pod: &Pod, clearance: Option<&ClearanceSpec>) {
        let note = format!(
            "held: {}; see: kubectl assent explain pod/{} -n {}",
            why(pod, clearance),
            key.name,
            key.namespace
        );
        self.say(key, pod, clearance, (EventType::Warning, "Held", "Hold", note));
    }

    /// What was decided was done.
    pub fn done(&self, key: &PodKey, pod: &Pod, clearance: Option<&ClearanceSpec>, action: &Action) {
        match action {
            Action::Release(version) => self.released(key, pod, clearance, version),
            Action::Stop(Step::Evict { .. }) => self.stopped(key, pod, clearance, "Evict"),
            Action::Stop(Step::Delete { .. }) => self.stopped(key, pod, clearance, "Delete"),
        }
    }

    /// Its gate was lifted.
    fn released(&self, key: &PodKey, pod: &Pod, clearance: Option<&ClearanceSpec>, version: &str) {
        let note = format!("released: {version} is cleared");
        self.say(key, pod, clearance, (EventType::Normal, "Released", "Release", note));
    }

    /// It is being stopped.
    fn stopped(&self, key: &PodKey, pod: &Pod, clearance: Option<&ClearanceSpec>, action: &'static str) {
        let system = if pod.system.is_empty() { "NAME" } else { &pod.system };
        let note = format!(
            "clearance lost: {}; see: kubectl assent explain aisystem/{system} -n {}",
            why(pod, clearance),
            key.namespace
        );
        self.say(key, pod, clearance, (EventType::Warning, "ClearanceLost", action, note));
    }

    /// It could not be evicted yet.
    pub fn delayed(&self, key: &PodKey, pod: &Pod, clearance: Option<&ClearanceSpec>, answer: &str) {
        let note =
            format!("clearance lost, not stopped yet: {answer}; it is deleted when its grace is half over");
        self.say(key, pod, clearance, (EventType::Warning, "EvictionDelayed", "Evict", note));
    }

    fn say(
        &self,
        key: &PodKey,
        pod: &Pod,
        clearance: Option<&ClearanceSpec>,
        (type_, reason, action, note): (EventType, &'static str, &'static str, String),
    ) {
        info!(
            namespace = &*key.namespace,
            pod = &*key.name,
            uid = pod.uid,
            system = &*pod.system,
            reason,
            "{note}"
        );
        let known = clearance.is_some_and(|c| c.systems.contains_key(&*pod.system));
        let saying = Saying {
            key: key.clone(),
            uid: pod.uid.clone(),
            owner: pod.owner.clone(),
            system: known.then(|| Arc::clone(&pod.system)),
            type_,
            reason,
            action,
            note: shorten(note, NOTE_BYTES),
        };
        if self.queue.try_send(saying).is_err() {
            self.metrics.events_dropped.inc();
        }
    }
}

/// Why a pod may not run.
fn why(pod: &Pod, clearance: Option<&ClearanceSpec>) -> String {
    let system = clearance.and_then(|c| c.systems.get(&*pod.system));
    match (&*pod.runtime, system) {
        _ if pod.system.is_empty() => "it has no label assent.dev/system to name its AISystem".to_owned(),
        (_, None) => format!("there is no AISystem {}", pod.system),
        (Err(unmatchable), _) => unmatchable.to_string(),
        (Ok(_), Some(system)) => why_of_system(&pod.system, system),
    }
}

fn why_of_system(name: &str, system: &SystemClearance) -> String {
    let cleared: Vec<_> = system.cleared.iter().map(|v| v.model_version.as_str()).collect();
    let withheld: Vec<_> =
        system.withheld.iter().map(|v| format!("{} {}", v.model_version, v.message)).collect();
    match (cleared.is_empty(), withheld.is_empty()) {
        (true, true) => format!("AI system {name} has no ModelVersion"),
        (true, false) => format!("of AI system {name}, {}", withheld.join("; ")),
        (false, true) => format!("it is not what was approved for AI system {name} ({})", cleared.join(", ")),
        (false, false) => {
            format!("of AI system {name}, it is not {}, and {}", cleared.join(" or "), withheld.join("; "))
        }
    }
}

async fn speak(client: Client, mut queue: mpsc::Receiver<Saying>) {
    let recorder = Recorder::new(
        client.clone(),
        Reporter { controller: "assent.dev/operator".to_owned(), instance: None },
    );
    let mut roots = Roots::default();
    let mut quiet: HashMap<(String, String, &'static str), Instant> = HashMap::new();
    while let Some(saying) = queue.recv().await {
        quiet.retain(|_, until| *until > Instant::now());
        let mut about =
            vec![reference(&saying.key.namespace, "v1", "Pod", &saying.key.name, Some(saying.uid.clone()))];
        if let Some(owner) = &saying.owner {
            let root = roots.of(&client, &saying.key.namespace, owner).await;
            about.push(reference(
                &saying.key.namespace,
                &root.api_version,
                &root.kind,
                &root.name,
                Some(root.uid),
            ));
        }
        about.extend(
            saying.system.as_ref().map(|system| {
                reference(&saying.key.namespace, "assent.dev/v1alpha1", "AISystem", system, None)
            }),
        );
        for object in about {
            let of_pod = object.kind.as_deref() == Some("Pod");
            let topic = (
                saying.key.namespace.to_string(),
                format!("{:?}/{:?}", object.kind, object.name),
                saying.reason,
            );
            if of_pod || quiet.insert(topic, Instant::now() + QUIET).is_none() {
                publish(&recorder, &saying, &object).await;
            }
        }
    }
}

async fn publish(recorder: &Recorder, saying: &Saying, object: &ObjectReference) {
    let event = Event {
        type_: saying.type_,
        reason: saying.reason.to_owned(),
        note: Some(saying.note.clone()),
        action: saying.action.to_owned(),
        secondary: None,
    };
    if let Err(error) = recorder.publish(&event, object).await {
        debug!(object = object.name, "an Event was not taken: {error}");
    }
}

fn reference(
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
