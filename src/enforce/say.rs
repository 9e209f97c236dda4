//! Telling people: Events on the pod or Job, its workload and its AI system, that name the next command.
//!
//! Events never delay enforcement: they wait in a queue, where namespaces take turns ([`Fair`]). An Event without room is
//! dropped and counted. If the API server is too busy for an Event, its namespace backs off: an API server can limit the
//! rate of Events by namespace, so other namespaces do not wait.

use std::{
    borrow::Cow,
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBackoff};
use k8s_openapi::{api::core::v1::ObjectReference, jiff::Timestamp};
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::time::Instant;
use tracing::{debug, info};

use super::{
    action::{Action, Step},
    fair::Fair,
    keep,
    owner::{OwnerRef, Roots},
    pod::{Ending, KeptBy, Pod, PodKey},
};
use crate::{
    api::{ClearanceSpec, SharedRuntime, SystemClearance},
    bounds::{NOTE_BYTES, shorten},
    metrics::Metrics,
    policy::Unmatchable,
    watch::{background_backoff, is_transient},
};

/// How much waits to be said, in all namespaces together.
const QUEUE: usize = 4096;

/// How long the same is not said again about a workload or a system, whose pods are many.
const QUIET: Duration = Duration::from_mins(1);

/// The reason of an Event about a pod that should be gone.
pub const OVERDUE: &str = "StopOverdue";

/// What is noted about a pod whose deletion, begun by somebody else, takes longer than its grace. Its Event has
/// the same reason.
pub const ENDS_LATE: &str = "StopOverdue, ends later";

/// What something is said about.
#[derive(Debug)]
pub struct Subject<'a> {
    pub api_version: &'a str,
    pub kind: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
    pub uid: Cow<'a, str>,
    pub owner: Option<&'a Arc<OwnerRef>>,
    pub system: &'a Arc<str>,
    pub runtime: &'a Result<SharedRuntime, Unmatchable>,
}

impl<'a> Subject<'a> {
    pub fn pod(key: &'a PodKey, pod: &'a Pod) -> Self {
        Self {
            api_version: "v1",
            kind: "Pod",
            namespace: &key.namespace,
            name: &key.name,
            uid: pod.uid.to_string().into(),
            owner: pod.owner.as_ref(),
            system: &pod.system,
            runtime: &pod.runtime,
        }
    }
}

/// Something to say.
#[derive(Debug)]
struct Saying {
    namespace: String,
    /// The objects that still need their Event.
    about: VecDeque<About>,
    type_: EventType,
    reason: &'static str,
    action: &'static str,
    note: String,
    /// The delays before further tries.
    backoff: ExponentialBackoff,
}

/// An object that an Event is about.
#[derive(Debug)]
enum About {
    Itself(ObjectReference),
    /// The workload that people know, above this controller.
    RootOf(Arc<OwnerRef>),
    System(Arc<str>),
}

/// Where what is to be said goes.
#[derive(Clone)]
pub struct Voice {
    queue: Arc<Fair<Saying>>,
    metrics: Arc<Metrics>,
}

impl Voice {
    /// A voice, and the work of speaking.
    pub fn new(client: Client, metrics: Arc<Metrics>) -> (Self, impl Future<Output = ()> + Send) {
        let queue = Arc::new(Fair::new(QUEUE));
        (Self { queue: Arc::clone(&queue), metrics: Arc::clone(&metrics) }, speak(client, queue, metrics))
    }

    /// It does not start: a pod is gated, a Job or `CronJob` is suspended.
    pub fn held(&self, subject: &Subject<'_>, clearance: Option<&ClearanceSpec>) {
        let note = format!("held: {}; see: {}", why(subject, clearance), explain(subject));
        self.say(subject, clearance, (EventType::Warning, "Held", "Hold", note));
    }

    /// What was decided about a pod was done.
    pub fn done(&self, key: &PodKey, pod: &Pod, clearance: Option<&ClearanceSpec>, action: &Action) {
        let subject = &Subject::pod(key, pod);
        if matches!(action, Action::Stop(_)) && pod.owner.is_none() {
            self.kept(subject, clearance);
        }
        match action {
            Action::Release(version) => self.released(subject, clearance, version.as_deref()),
            Action::Stop(Step::Evict { .. }) => self.stopped(subject, clearance, "Evict"),
            Action::Stop(Step::Delete { .. }) => self.stopped(subject, clearance, "Delete"),
            Action::Replace => self.replaced(subject, clearance),
            Action::Roll => self.rolled(subject, clearance),
            Action::Bound(_) => {}
        }
    }

    /// It may start: a version is cleared, or nobody governs it.
    pub fn released(&self, subject: &Subject<'_>, clearance: Option<&ClearanceSpec>, version: Option<&str>) {
        let note = match version {
            Some(version) => format!("released: {version} is cleared"),
            None => format!("released: namespace {} does not govern it any more", subject.namespace),
        };
        self.say(subject, clearance, (EventType::Normal, "Released", "Release", note));
    }

    /// It is being stopped.
    pub fn stopped(&self, subject: &Subject<'_>, clearance: Option<&ClearanceSpec>, action: &'static str) {
        let note = format!("clearance lost: {}; see: {}", why(subject, clearance), explain_system(subject));
        self.say(subject, clearance, (EventType::Warning, "ClearanceLost", action, note));
    }

    /// It is evicted for another that may run for longer.
    fn rolled(&self, subject: &Subject<'_>, clearance: Option<&ClearanceSpec>) {
        let note = "replaced: its clearance was renewed, and a pod's activeDeadlineSeconds cannot be raised";
        self.say(subject, clearance, (EventType::Normal, "Renewed", "Evict", note.to_owned()));
    }

    /// It will be stopped, because its namespace has begun to enforce.
    pub fn will_stop(&self, subject: &Subject<'_>, clearance: Option<&ClearanceSpec>, turn: Timestamp) {
        let note = format!(
            "namespace {namespace} has begun to enforce, and this is not cleared: {}; it is stopped from {turn:.0} on; what else would: kubectl assent status --as-if-enforced -n {namespace}",
            why(subject, clearance),
            namespace = subject.namespace,
        );
        self.say(subject, clearance, (EventType::Warning, "WillStop", "Wait", note));
    }

    /// It could not be evicted yet.
    pub fn delayed(&self, pod: &Subject<'_>, clearance: Option<&ClearanceSpec>, answer: &str) {
        let note =
            format!("clearance lost, not stopped yet: {answer}; it is deleted when its grace is half over");
        self.say(pod, clearance, (EventType::Warning, "EvictionDelayed", "Evict", note));
    }

    /// It cannot be stopped as a whole.
    pub fn contested(&self, root: &Subject<'_>, clearance: Option<&ClearanceSpec>, why: &str) {
        self.say(root, clearance, (EventType::Warning, "Contested", "Hold", why.to_owned()));
    }

    /// It is stopped, nobody makes it again, and its manifest is kept.
    fn kept(&self, pod: &Subject<'_>, clearance: Option<&ClearanceSpec>) {
        let note = format!(
            "its manifest is kept; to make it again: kubectl get controllerrevision {} -n {} -o jsonpath='{{.data}}' | kubectl create -f -",
            keep::name(&pod.uid),
            pod.namespace
        );
        self.say(pod, clearance, (EventType::Normal, "Kept", "Keep", note));
    }

    /// It was held and made room for another.
    fn replaced(&self, pod: &Subject<'_>, clearance: Option<&ClearanceSpec>) {
        let note = "deleted while held: its StatefulSet waits for a pod of another revision".to_owned();
        self.say(pod, clearance, (EventType::Normal, "Replaced", "Delete", note));
    }

    /// It would be released, but takes longer to end than its level leaves to a pod: `most` seconds.
    pub fn ends_too_slowly(&self, key: &PodKey, pod: &Pod, clearance: Option<&ClearanceSpec>, most: u32) {
        let note = format!(
            "held: it has a termination grace of {} s, and the risk level of its AI system leaves {most} s to a pod (half of onLoss.gracePeriodSeconds); a pod's grace cannot be changed: set it in the pod template, then kubectl delete pod {} -n {}",
            pod.longest_grace, key.name, key.namespace
        );
        // With the action of another Event, it would count as that one once more, and its note be lost.
        self.say(&Subject::pod(key, pod), clearance, (EventType::Warning, "Held", "AskForLessGrace", note));
    }

    /// It should have ended, and nobody knows that it did; or it ends later than it should.
    pub fn overdue(&self, key: &PodKey, pod: &Pod, clearance: Option<&ClearanceSpec>, ends_late: bool) {
        let why = match pod.ending.as_deref() {
            Some(Ending { kept_by: KeptBy::Finalizers(finalizers), .. }) => {
                format!("it is kept by the finalizers {finalizers}; whoever set them has to take them off")
            }
            Some(Ending { at, with: Some(with), kept_by: KeptBy::Node(node) }) if ends_late => format!(
                "it was deleted with a grace of {with} s before Assent could stop it, and a node does not shorten a stop that has begun: node {node} ends it at {at:.0} at the latest"
            ),
            Some(Ending { kept_by: KeptBy::Node(node), .. }) => format!(
                "the kubelet of node {node} has not said that it ended; if that machine is off for good: kubectl delete node {node}"
            ),
            None => "it is not being deleted".to_owned(),
        };
        let note = format!("clearance lost, and the pod is not gone within the grace: {why}");
        let action = if ends_late { "Wait" } else { "Delete" };
        self.say(&Subject::pod(key, pod), clearance, (EventType::Warning, OVERDUE, action, note));
    }

    fn say(
        &self,
        subject: &Subject<'_>,
        clearance: Option<&ClearanceSpec>,
        (type_, reason, action, note): (EventType, &'static str, &'static str, String),
    ) {
        let Subject { api_version, kind, namespace, name, ref uid, owner, system, .. } = *subject;
        info!(namespace, kind, name, uid = &**uid, system = &**system, reason, "{note}");
        let known = clearance.is_some_and(|c| c.systems.contains_key(&**system));
        let itself = About::Itself(reference(namespace, api_version, kind, name, Some(uid.to_string())));
        let root = owner.cloned().map(About::RootOf);
        let system = known.then(|| About::System(Arc::clone(system)));
        let saying = Saying {
            namespace: namespace.to_owned(),
            about: [Some(itself), root, system].into_iter().flatten().collect(),
            type_,
            reason,
            action,
            note: shorten(note, NOTE_BYTES),
            backoff: background_backoff().build(),
        };
        if !self.queue.push(namespace, saying) {
            self.metrics.events_dropped.inc();
        }
    }
}

/// The plugin explains pods; of a Job, whose system is the matter.
fn explain(subject: &Subject<'_>) -> String {
    match subject.kind {
        "Pod" => format!("kubectl assent explain pod/{} -n {}", subject.name, subject.namespace),
        _ => explain_system(subject),
    }
}

fn explain_system(subject: &Subject<'_>) -> String {
    let system = if subject.system.is_empty() { "NAME" } else { subject.system };
    format!("kubectl assent explain aisystem/{system} -n {}", subject.namespace)
}

/// Why a pod, or the pods of a Job, may not run.
pub fn why(pod: &Subject<'_>, clearance: Option<&ClearanceSpec>) -> String {
    let system = clearance.and_then(|c| c.systems.get(&**pod.system));
    match (pod.runtime, system) {
        _ if pod.system.is_empty() => "it has no label assent.dev/system to name its AISystem".to_owned(),
        (_, None) => format!("there is no AISystem {}", pod.system),
        (Err(unmatchable), _) => unmatchable.to_string(),
        (Ok(_), Some(system)) => why_of_system(pod.system, system),
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

async fn speak(client: Client, queue: Arc<Fair<Saying>>, metrics: Arc<Metrics>) {
    let reporter = Reporter { controller: "assent.dev/operator".to_owned(), instance: None };
    let mut speaker = Speaker {
        recorder: Recorder::new(client.clone(), reporter),
        client,
        roots: Roots::default(),
        quiet: HashMap::new(),
    };
    loop {
        let mut saying = queue.pop().await;
        if speaker.say(&mut saying).await.is_ok() {
            continue;
        }
        let Some(delay) = saying.backoff.next() else {
            metrics.events_dropped.inc();
            continue;
        };
        let namespace = saying.namespace.clone();
        queue.put_back(&namespace, saying, delay);
    }
}

struct Speaker {
    client: Client,
    recorder: Recorder,
    roots: Roots,
    /// Until when the same is not said again about an object.
    quiet: HashMap<(String, String, &'static str), Instant>,
}

impl Speaker {
    /// Says it about each object that it is about. Fails if the API server may take it later.
    async fn say(&mut self, saying: &mut Saying) -> Result<(), kube::Error> {
        self.quiet.retain(|_, until| *until > Instant::now());
        while let Some(about) = saying.about.front() {
            let object = self.reference(&saying.namespace, about).await;
            let topic =
                (saying.namespace.clone(), format!("{:?}/{:?}", object.kind, object.name), saying.reason);
            if matches!(about, About::Itself(_)) {
                self.publish(saying, &object).await?;
            } else if !self.quiet.contains_key(&topic) {
                self.publish(saying, &object).await?;
                self.quiet.insert(topic, Instant::now() + QUIET);
            }
            saying.about.pop_front();
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

    async fn publish(&self, saying: &Saying, object: &ObjectReference) -> Result<(), kube::Error> {
        let event = Event {
            type_: saying.type_,
            reason: saying.reason.to_owned(),
            note: Some(saying.note.clone()),
            action: saying.action.to_owned(),
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
