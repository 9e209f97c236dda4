//! Emits Events about pods, Jobs and workloads. Each Event names the next command.
//!
//! ```text
//!  EventEmitter ─ PendingEvent ─► FairQueue ─► EventSender ─► API server
//! ```
//!
//! Events never delay enforcement: they wait in a queue, where namespaces take turns. An Event without room is dropped
//! and counted. If the API server is too busy for an Event, its namespace backs off: an API server can limit the rate of
//! Events by namespace, so other namespaces do not wait.

use std::sync::Arc;

use backon::BackoffBuilder;
use k8s_openapi::jiff::Timestamp;
use kube::{Client, runtime::events::EventType};
use tracing::info;

use super::{
    action::{Action, Step},
    backup,
    event_sender::{About, PendingEvent, reference, send_events},
    fair::FairQueue,
    pod::{Deletion, KeptBy, Pod, PodKey},
    subject::{EventSubject, explain, explain_system, why},
};
use crate::{
    api::ClearanceSpec,
    metrics::Metrics,
    truncate::{NOTE_BYTES, shorten},
    watch::background_backoff,
};

/// The capacity of the queue, for all namespaces together.
const QUEUE: usize = 4096;

/// The reason of an Event about a pod that is not gone within its grace.
pub(super) const OVERDUE: &str = "StopOverdue";

/// The note about a pod whose deletion by somebody else takes longer than its grace. Its Event has the reason
/// [`OVERDUE`].
pub(super) const ENDS_LATE: &str = "StopOverdue, ends later";

/// Puts Events into the queue.
#[derive(Clone)]
pub(super) struct EventEmitter {
    queue: Arc<FairQueue<PendingEvent>>,
    metrics: Arc<Metrics>,
}

impl EventEmitter {
    /// An emitter, and the task that sends its Events.
    pub(super) fn new(client: Client, metrics: Arc<Metrics>) -> (Self, impl Future<Output = ()> + Send) {
        let queue = Arc::new(FairQueue::new(QUEUE));
        (
            Self { queue: Arc::clone(&queue), metrics: Arc::clone(&metrics) },
            send_events(client, queue, metrics),
        )
    }

    /// The subject does not start: a pod is gated, a Job or `CronJob` is suspended.
    pub(super) fn held(&self, subject: &EventSubject<'_>, clearance: Option<&ClearanceSpec>) {
        let note = format!("held: {}; see: {}", why(subject, clearance), explain(subject));
        self.emit(subject, clearance, (EventType::Warning, "Held", "Hold", note));
    }

    /// The API server carried out `action`.
    pub(super) fn done(&self, key: &PodKey, pod: &Pod, clearance: Option<&ClearanceSpec>, action: &Action) {
        let subject = &EventSubject::pod(key, pod);
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

    /// The subject may start: a version is cleared, or its namespace does not govern it.
    pub(super) fn released(
        &self,
        subject: &EventSubject<'_>,
        clearance: Option<&ClearanceSpec>,
        version: Option<&str>,
    ) {
        let note = match version {
            Some(version) => format!("released: {version} is cleared"),
            None => format!("released: namespace {} does not govern it any more", subject.namespace),
        };
        self.emit(subject, clearance, (EventType::Normal, "Released", "Release", note));
    }

    pub(super) fn stopped(
        &self,
        subject: &EventSubject<'_>,
        clearance: Option<&ClearanceSpec>,
        action: &'static str,
    ) {
        let note = format!("clearance lost: {}; see: {}", why(subject, clearance), explain_system(subject));
        self.emit(subject, clearance, (EventType::Warning, "ClearanceLost", action, note));
    }

    /// The pod is evicted, and its controller makes one with a later deadline.
    fn rolled(&self, subject: &EventSubject<'_>, clearance: Option<&ClearanceSpec>) {
        let note = "replaced: its clearance was renewed, and a pod's activeDeadlineSeconds cannot be raised";
        self.emit(subject, clearance, (EventType::Normal, "Renewed", "Evict", note.to_owned()));
    }

    /// The subject stops at `turn`, because its namespace has begun to enforce.
    pub(super) fn will_stop(
        &self,
        subject: &EventSubject<'_>,
        clearance: Option<&ClearanceSpec>,
        turn: Timestamp,
    ) {
        let note = format!(
            "namespace {namespace} has begun to enforce, and this is not cleared: {}; it is stopped from {turn:.0} on; what else would: kubectl assent status --as-if-enforced -n {namespace}",
            why(subject, clearance),
            namespace = subject.namespace,
        );
        self.emit(subject, clearance, (EventType::Warning, "WillStop", "Wait", note));
    }

    /// A disruption budget refused the eviction.
    pub(super) fn delayed(&self, pod: &EventSubject<'_>, clearance: Option<&ClearanceSpec>, answer: &str) {
        let note =
            format!("clearance lost, not stopped yet: {answer}; it is deleted when its grace is half over");
        self.emit(pod, clearance, (EventType::Warning, "EvictionDelayed", "Evict", note));
    }

    /// Somebody starts the workload again and again.
    pub(super) fn contested(&self, root: &EventSubject<'_>, clearance: Option<&ClearanceSpec>, why: &str) {
        self.emit(root, clearance, (EventType::Warning, "Contested", "Hold", why.to_owned()));
    }

    /// The pod has no owner, and its manifest is kept.
    fn kept(&self, pod: &EventSubject<'_>, clearance: Option<&ClearanceSpec>) {
        let note = format!(
            "its manifest is kept; to make it again: kubectl get controllerrevision {} -n {} -o jsonpath='{{.data}}' | kubectl create -f -",
            backup::name(&pod.uid),
            pod.namespace
        );
        self.emit(pod, clearance, (EventType::Normal, "Kept", "Keep", note));
    }

    /// The gated pod was deleted, so that its controller makes another.
    fn replaced(&self, pod: &EventSubject<'_>, clearance: Option<&ClearanceSpec>) {
        let note = "deleted while held: its StatefulSet waits for a pod of another revision".to_owned();
        self.emit(pod, clearance, (EventType::Normal, "Replaced", "Delete", note));
    }

    /// The pod is cleared, but its termination grace is longer than `most` seconds.
    pub(super) fn ends_too_slowly(
        &self,
        key: &PodKey,
        pod: &Pod,
        clearance: Option<&ClearanceSpec>,
        most: u32,
    ) {
        let note = format!(
            "held: it has a termination grace of {} s, and the risk level of its AI system leaves {most} s to a pod (half of onLoss.gracePeriodSeconds); a pod's grace cannot be changed: set it in the pod template, then kubectl delete pod {} -n {}",
            pod.longest_grace, key.name, key.namespace
        );
        // With the action of another Event, it would count as that one once more, and its note be lost.
        self.emit(
            &EventSubject::pod(key, pod),
            clearance,
            (EventType::Warning, "Held", "AskForLessGrace", note),
        );
    }

    /// The pod is not gone within its grace, or ends after it.
    pub(super) fn overdue(
        &self,
        key: &PodKey,
        pod: &Pod,
        clearance: Option<&ClearanceSpec>,
        ends_late: bool,
    ) {
        let why = match pod.ending.as_deref() {
            Some(Deletion { kept_by: KeptBy::Finalizers(finalizers), .. }) => {
                format!("it is kept by the finalizers {finalizers}; whoever set them has to take them off")
            }
            Some(Deletion { at, with: Some(with), kept_by: KeptBy::Node(node) }) if ends_late => format!(
                "it was deleted with a grace of {with} s before Assent could stop it, and a node does not shorten a stop that has begun: node {node} ends it at {at:.0} at the latest"
            ),
            Some(Deletion { kept_by: KeptBy::Node(node), .. }) => format!(
                "the kubelet of node {node} has not said that it ended; if that machine is off for good: kubectl delete node {node}"
            ),
            None => "it is not being deleted".to_owned(),
        };
        let note = format!("clearance lost, and the pod is not gone within the grace: {why}");
        let action = if ends_late { "Wait" } else { "Delete" };
        self.emit(&EventSubject::pod(key, pod), clearance, (EventType::Warning, OVERDUE, action, note));
    }

    fn emit(
        &self,
        subject: &EventSubject<'_>,
        clearance: Option<&ClearanceSpec>,
        (type_, reason, action, note): (EventType, &'static str, &'static str, String),
    ) {
        let EventSubject { api_version, kind, namespace, name, ref uid, owner, system, .. } = *subject;
        info!(namespace, kind, name, uid = &**uid, system = &**system, reason, "{note}");
        let known = clearance.is_some_and(|c| c.systems.contains_key(&**system));
        let itself = About::Itself(reference(namespace, api_version, kind, name, Some(uid.to_string())));
        let root = owner.cloned().map(About::RootOf);
        let system = known.then(|| About::System(Arc::clone(system)));
        let event = PendingEvent {
            namespace: namespace.to_owned(),
            about: [Some(itself), root, system].into_iter().flatten().collect(),
            type_,
            reason,
            action,
            note: shorten(note, NOTE_BYTES),
            backoff: background_backoff().build(),
        };
        if !self.queue.push(namespace, event) {
            self.metrics.events_dropped.inc();
        }
    }
}
