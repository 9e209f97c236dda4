//! Emits Events about pods, Jobs and workloads. If a user must act, the Event names the next command.
//!
//! ```text
//!  EventEmitter ─ PendingEvent ─► FairQueue ─► EventSender ─► API server
//! ```
//!
//! Events never delay enforcement. Events wait in a queue, which returns the Events of different namespaces in
//! rotation. A full queue drops an Event, and a metric counts the dropped Events. If the API server is too busy for an
//! Event, only the Events of this namespace wait. The API server can limit the rate of Events by namespace, so it may
//! accept the Events of other namespaces.

use std::sync::Arc;

use backon::BackoffBuilder;
use k8s_openapi::jiff::Timestamp;
use kube::{Client, runtime::events::EventType};
use tracing::info;

use super::{
    action::{Action, Replacement, Step},
    backup,
    event_sender::{About, PendingEvent, reference, send_events},
    fair::FairQueue,
    pod::{Deletion, KeptBy, Pod, PodKey},
    subject::{EventSubject, explain, explain_system, why},
};
use crate::{api::ClearanceSpec, metrics::Metrics, truncate, watch::background_backoff};

/// The capacity of the queue, for all namespaces together.
const QUEUE: usize = 4096;

/// The reason of an Event about a pod that still exists after its grace period.
pub(super) const OVERDUE: &str = "StopOverdue";

/// The entry in `Notes` for an Event about a pod that another user deleted with a longer grace period. The Event itself
/// has the reason [`OVERDUE`].
pub(super) const ENDS_LATE: &str = "StopOverdue, ends later";

/// The note of an Event. Events with an equal cause about the same workload or system are deduplicated.
struct Note {
    cause: String,
    /// The details of one pod, and the next command.
    next: String,
}

impl From<String> for Note {
    fn from(cause: String) -> Self {
        Self { cause, next: String::new() }
    }
}

#[derive(Clone)]
pub(super) struct EventEmitter {
    queue: Arc<FairQueue<PendingEvent>>,
    metrics: Arc<Metrics>,
}

impl EventEmitter {
    /// Returns an emitter, and the task that sends its Events.
    pub(super) fn new(client: Client, metrics: Arc<Metrics>) -> (Self, impl Future<Output = ()> + Send) {
        let queue = Arc::new(FairQueue::new(QUEUE));
        (
            Self { queue: Arc::clone(&queue), metrics: Arc::clone(&metrics) },
            send_events(client, queue, metrics),
        )
    }

    /// Emits the Event `Held`: the pod is gated, or the Job or `CronJob` is suspended.
    pub(super) fn held(&self, subject: &EventSubject<'_>, clearance: Option<&ClearanceSpec>) {
        let note = Note {
            cause: format!("held: {}", why(subject, clearance)),
            next: format!("; see: {}", explain(subject)),
        };
        self.emit(subject, clearance, (EventType::Warning, "Held", "Hold", note));
    }

    /// Emits the Events of `action` after the API server carried it out.
    pub(super) fn done(&self, key: &PodKey, pod: &Pod, clearance: Option<&ClearanceSpec>, action: &Action) {
        let subject = &EventSubject::pod(key, pod);
        if matches!(action, Action::Stop(_)) && pod.owner.is_none() {
            self.kept(subject, clearance);
        }
        match action {
            Action::Release(released) => {
                let version = released.as_ref().map(|released| &*released.version);
                self.released(subject, clearance, version);
            }
            Action::Stop(Step::Evict { .. }) => self.stopped(subject, clearance, "Evict"),
            Action::Stop(Step::Delete { .. }) => self.stopped(subject, clearance, "Delete"),
            Action::Replace(why) => self.replaced(subject, clearance, *why),
            Action::Roll => self.rolled(subject, clearance),
            Action::Bound(_) => {}
        }
    }

    /// Emits the Event `Released`: the version `version` is cleared, or the subject is no longer governed.
    pub(super) fn released(
        &self,
        subject: &EventSubject<'_>,
        clearance: Option<&ClearanceSpec>,
        version: Option<&str>,
    ) {
        let note = match version {
            Some(version) => format!("released: {version} is cleared"),
            None => format!("released: namespace {} no longer governs it", subject.namespace),
        };
        self.emit(subject, clearance, (EventType::Normal, "Released", "Release", note));
    }

    /// Emits the Event `ClearanceLost`: the subject was stopped or suspended, or its risk level only records the loss.
    pub(super) fn stopped(
        &self,
        subject: &EventSubject<'_>,
        clearance: Option<&ClearanceSpec>,
        action: &'static str,
    ) {
        let note = Note {
            cause: format!("clearance lost: {}", why(subject, clearance)),
            next: format!("; see: {}", explain_system(subject)),
        };
        self.emit(subject, clearance, (EventType::Warning, "ClearanceLost", action, note));
    }

    /// Emits the Event `Renewed`: the pod was evicted, so that its controller creates a pod with a later deadline.
    fn rolled(&self, subject: &EventSubject<'_>, clearance: Option<&ClearanceSpec>) {
        let note = "replaced: its clearance was renewed, and a pod's activeDeadlineSeconds cannot be raised";
        self.emit(subject, clearance, (EventType::Normal, "Renewed", "Evict", note.to_owned()));
    }

    /// Emits the Event `WillStop`: the pod will stop at `turn` or later, because its namespace has begun to enforce.
    pub(super) fn will_stop(
        &self,
        subject: &EventSubject<'_>,
        clearance: Option<&ClearanceSpec>,
        turn: Timestamp,
    ) {
        let note = Note {
            cause: format!("not cleared: {}", why(subject, clearance)),
            next: format!(
                "; the namespace has begun to enforce, so it stops at {turn:.0} or later; see: kubectl assent status --as-if-enforced -n {}",
                subject.namespace
            ),
        };
        self.emit(subject, clearance, (EventType::Warning, "WillStop", "Wait", note));
    }

    /// Emits the Event `EvictionDelayed`: a disruption budget or a policy refused the eviction, or the result of the
    /// eviction is unknown.
    pub(super) fn delayed(&self, pod: &EventSubject<'_>, clearance: Option<&ClearanceSpec>, answer: &str) {
        let note = format!(
            "clearance lost, not evicted yet: {answer}; the pod is deleted after half of onLoss.gracePeriodSeconds"
        );
        self.emit(pod, clearance, (EventType::Warning, "EvictionDelayed", "Evict", note));
    }

    /// Emits the Event `Contested`: another user starts the workload `root` again after each stop. `why` is the note.
    pub(super) fn contested(&self, root: &EventSubject<'_>, clearance: Option<&ClearanceSpec>, why: &str) {
        self.emit(root, clearance, (EventType::Warning, "Contested", "Hold", why.to_owned()));
    }

    /// Emits the Event `Kept`: the pod has no owner, and a backup of its manifest exists.
    fn kept(&self, pod: &EventSubject<'_>, clearance: Option<&ClearanceSpec>) {
        let note = Note {
            cause: "manifest kept".to_owned(),
            next: format!(
                "; to create the pod again: kubectl get controllerrevision {} -n {} -o jsonpath='{{.data}}' | kubectl create -f -",
                backup::name(&pod.uid),
                pod.namespace
            ),
        };
        self.emit(pod, clearance, (EventType::Normal, "Kept", "Keep", note));
    }

    /// Emits the Event `Replaced`: the gated pod was deleted, so that its controller creates another pod.
    fn replaced(&self, pod: &EventSubject<'_>, clearance: Option<&ClearanceSpec>, why: Replacement) {
        let note = match why {
            Replacement::Revision => {
                "deleted while held: its StatefulSet waits for a pod of another revision"
            }
            Replacement::Pinned => {
                "deleted while held: a volume names its image by tag, and only a new pod gets the approved digest"
            }
        };
        self.emit(pod, clearance, (EventType::Normal, "Replaced", "Delete", note.to_owned()));
    }

    /// Emits the Event `Held` for a pod with a volume that names its image by tag. The operator does not replace this pod,
    /// because no controller is known to create a new pod.
    pub(super) fn volume_by_tag(&self, key: &PodKey, pod: &Pod, clearance: Option<&ClearanceSpec>) {
        let note = Note {
            cause: "held: a volume names its image by tag, and only a new pod gets the approved digest"
                .to_owned(),
            next: format!("; create the pod again: kubectl delete pod {} -n {}", key.name, key.namespace),
        };
        self.emit(&EventSubject::pod(key, pod), clearance, (EventType::Warning, "Held", "Hold", note));
    }

    /// Emits the Event `Held` for a cleared pod whose longest termination grace period exceeds `most` seconds.
    pub(super) fn ends_too_slowly(
        &self,
        key: &PodKey,
        pod: &Pod,
        clearance: Option<&ClearanceSpec>,
        most: u32,
    ) {
        let note = Note {
            cause: format!(
                "held: its termination grace period is {} s, but its risk level allows at most {most} s (half of onLoss.gracePeriodSeconds)",
                pod.longest_grace
            ),
            next: format!(
                "; set a shorter grace period in the pod template, then: kubectl delete pod {} -n {}",
                key.name, key.namespace
            ),
        };
        self.emit(&EventSubject::pod(key, pod), clearance, (EventType::Warning, "Held", "Hold", note));
    }

    /// Emits the Event [`OVERDUE`]: the pod still exists after the grace period of its level. If `ends_late`, another
    /// user deleted the pod with a longer grace period, which has not ended yet.
    pub(super) fn overdue(
        &self,
        key: &PodKey,
        pod: &Pod,
        clearance: Option<&ClearanceSpec>,
        ends_late: bool,
    ) {
        let (why, next) = match pod.ending.as_deref() {
            Some(Deletion { kept_by: KeptBy::Finalizers(finalizers), .. }) => {
                let edit = format!("kubectl edit pod {} -n {}", key.name, key.namespace);
                let next = format!("; their owner must remove them; if that owner is gone: {edit}");
                (format!("finalizers {finalizers} keep the pod"), next)
            }
            Some(Deletion { at, with: Some(with), kept_by: KeptBy::Node(node) }) if ends_late => (
                format!(
                    "it was deleted with a grace period of {with} s before Assent could stop it, and a kubelet does not shorten it"
                ),
                format!("; node {node} ends it at {at:.0} at the latest"),
            ),
            Some(Deletion { kept_by: KeptBy::Node(node), .. }) => (
                format!("the kubelet of node {node} has not confirmed that the pod ended"),
                format!("; if the machine is off for good: kubectl delete node {node}"),
            ),
            None => ("it is not being deleted".to_owned(), String::new()),
        };
        let cause = format!("clearance lost, and the pod exceeds its grace period: {why}");
        let note = Note { cause, next };
        let action = if ends_late { "Wait" } else { "Delete" };
        self.emit(&EventSubject::pod(key, pod), clearance, (EventType::Warning, OVERDUE, action, note));
    }

    fn emit(
        &self,
        subject: &EventSubject<'_>,
        clearance: Option<&ClearanceSpec>,
        (type_, reason, action, note): (EventType, &'static str, &'static str, impl Into<Note>),
    ) {
        let Note { cause, next } = note.into();
        let EventSubject { api_version, kind, namespace, name, ref uid, owner, system, .. } = *subject;
        info!(namespace, kind, name, uid = &**uid, system = &**system, reason, "{cause}{next}");
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
            note: truncate::note(cause.clone(), &next),
            cause,
            backoff: background_backoff().build(),
        };
        if !self.queue.push(namespace, event) {
            self.metrics.events_dropped.inc();
        }
    }
}
