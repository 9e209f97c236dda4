//! Decides about pods, carries out each decision, and owns the state of enforcement.
//!
//! The [`Enforcer`] decides about a pod after each change that a watch delivers, and when a timer of the pod ends. It
//! carries out the decision as follows:
//!
//! - Release or stop a pod, or set its deadline: it queues a request about the pod.
//! - Stop the workload of a pod: it sends a [`StopRequest`] to another task.
//! - Hold a pod, or only record the loss of its clearance: it emits an Event.
//! - Decide again later: it sets a timer.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use k8s_openapi::jiff::Timestamp;
use kube::Client;

use super::{
    act::ActionResult,
    channels::{Channels, ClearanceUpdate, NotSupported, StopRequest},
    decide::{CONFIRMATION, decide, decide_alone},
    decision::{HoldReason, KeepReason, PodDecision, RevisitReason, StopAction},
    events::{ENDS_LATE, EventEmitter, OVERDUE},
    owner::OwnerRef,
    pod::{Notes, Pod, PodKey},
    pod_cache::PodCache,
    pod_counts::PodCounter,
    subject::EventSubject,
};
use crate::{
    metrics::{Enforcement, EnforcementLabels, Metrics},
    watch::{Pool, RETRY, Relist, Timers},
};

/// The pods about which the operator decides again when a timer ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TimerKey {
    Namespace(Arc<str>),
    Pod(PodKey),
}

/// The preconditions of decisions: the first lists of Clearances and pods are complete, and this replica of the
/// operator is the leader.
#[derive(Default)]
pub(super) struct Synced {
    pub(super) clearances: bool,
    pub(super) pods: bool,
    pub(super) leading: bool,
}

impl Synced {
    pub(super) fn enough(&self) -> bool {
        self.clearances && self.pods && self.leading
    }
}

/// For each watch, the keys that its list in progress has returned so far.
#[derive(Default)]
pub(super) struct Relists {
    pub(super) clearances: Relist<String>,
    pub(super) pods: Relist<PodKey>,
    pub(super) sets: Relist<String>,
}

pub(super) struct Enforcer {
    pub(super) client: Client,
    pub(super) metrics: Arc<Metrics>,
    pub(super) events: EventEmitter,
    pub(super) counts: PodCounter,
    pub(super) channels: Channels,
    pub(super) cache: PodCache,
    /// The time of the last stop request, by UID of the controller.
    stop_requests: HashMap<String, Timestamp>,
    /// The UIDs of controllers whose pods the operator evicts one by one. The operator cannot stop the workload of such
    /// a controller, or another user started this workload again too often.
    pub(super) evict_individually: HashSet<String>,
    pub(super) synced: Synced,
    pub(super) relists: Relists,
    pub(super) timers: Timers<Timestamp, TimerKey>,
    /// The requests about pods. Each result contains a copy of the pod, because the cache may no longer contain the pod
    /// after the request.
    pub(super) pool: Pool<PodKey, (Pod, ActionResult)>,
}

impl Enforcer {
    pub(super) fn new(
        client: Client,
        cache: PodCache,
        metrics: Arc<Metrics>,
        events: EventEmitter,
        counts: PodCounter,
        channels: Channels,
    ) -> Self {
        Self {
            client,
            metrics,
            events,
            counts,
            channels,
            cache,
            stop_requests: HashMap::new(),
            evict_individually: HashSet::new(),
            synced: Synced::default(),
            relists: Relists::default(),
            timers: Timers::default(),
            pool: Pool::default(),
        }
    }

    pub(super) fn lead(&mut self) {
        self.synced.leading = true;
        self.look_at_all();
        self.tell_all();
    }

    /// Tells the tasks for Jobs and workloads that they have received every Clearance. Does nothing before the first
    /// list of Clearances is complete and this replica is the leader.
    pub(super) fn tell_all(&self) {
        if self.synced.clearances && self.synced.leading {
            self.channels.update(ClearanceUpdate::All);
        }
    }

    pub(super) fn look_at_all(&mut self) {
        let all: Vec<_> = self.cache.namespaces().map(|(namespace, _)| Arc::clone(namespace)).collect();
        for namespace in &all {
            self.look_at_namespace(namespace);
        }
    }

    pub(super) fn look_at_namespace(&mut self, namespace: &str) {
        for key in self.cache.keys(namespace) {
            self.look_at(&key);
        }
        let namespace = self.cache.key(namespace, "").namespace;
        self.counts.mark(&namespace);
        if self.synced.clearances && self.synced.leading {
            let clearance = self.cache.namespace(&namespace).and_then(|n| n.clearance.clone());
            self.channels.update(ClearanceUpdate::Clearance(namespace, clearance));
        }
    }

    pub(super) fn look_again(&mut self, now: Timestamp) {
        for key in self.timers.take(now) {
            match key {
                TimerKey::Namespace(namespace) => self.look_at_namespace(&namespace),
                TimerKey::Pod(key) => self.look_at(&key),
            }
        }
    }

    /// Decides about a pod, and queues or schedules the next request about the pod.
    pub(super) fn look_at(&mut self, key: &PodKey) {
        self.counts.mark(&key.namespace);
        if !self.synced.enough() || self.pool.is_busy(key) {
            return;
        }
        let now = Timestamp::now();
        let quiet_until = self.cache.pod(key).and_then(|(pod, _)| pod.notes().quiet_until);
        if let Some(until) = quiet_until.filter(|until| *until > now) {
            return self.schedule(key, until);
        }
        let Some(decision) = decide(&self.cache, &self.evict_individually, key, now) else { return };
        if let Some(since) = decision.lost_since() {
            self.note(key, |notes| notes.lost_since = Some(since));
        }
        if decision.is_cleared() {
            self.note_cleared(key);
        }
        self.carry_out(key, &decision, now);
    }

    fn carry_out(&mut self, key: &PodKey, decision: &PodDecision, now: Timestamp) {
        match *decision {
            PodDecision::Keep(KeepReason::Cleared { deadline: Some(_) })
            | PodDecision::Release { .. }
            | PodDecision::Stop { action: StopAction::Pod(_), .. } => self.pool.add(key),
            PodDecision::Keep(KeepReason::AuditOnly) => self.record_loss(key),
            PodDecision::Keep(_) | PodDecision::Hold(HoldReason::PreviousNotReady) => {}
            PodDecision::Hold(reason) => {
                self.emit_held(key, reason);
                if let HoldReason::VolumeByTag { replace_at: Some(at) } = reason {
                    self.schedule(key, at);
                }
                self.stop_workload_again(key);
            }
            PodDecision::Stop { action: StopAction::Workload { until, .. }, .. } => {
                self.schedule(key, until);
                self.stop_workload(key);
            }
            PodDecision::Revisit { reason: RevisitReason::Deleted, at, .. } if at <= now => {
                self.emit_overdue(key, now);
            }
            PodDecision::Revisit { reason, at, .. } => {
                self.schedule(key, at);
                if reason == RevisitReason::NamespaceBegan {
                    self.emit_will_stop(key, at);
                }
            }
        }
    }

    pub(super) fn note(&mut self, key: &PodKey, note: impl FnOnce(&mut Notes)) {
        if let Some((pod, _)) = self.cache.pod_mut(key) {
            pod.note(note);
        }
    }

    fn emit_held(&mut self, key: &PodKey, reason: HoldReason) {
        let Some((pod, clearance)) = self.cache.pod_mut(key) else { return };
        let clearance = clearance.map(|c| &**c);
        match reason {
            HoldReason::EndsTooSlowly { most } => {
                if pod.note(|notes| notes.say("EndsTooSlowly")) {
                    self.events.ends_too_slowly(key, pod, clearance, most);
                }
            }
            // The operator soon replaces the pod.
            HoldReason::VolumeByTag { replace_at: Some(_) } => {}
            HoldReason::VolumeByTag { replace_at: None } => {
                if pod.note(|notes| notes.say("VolumeByTag")) {
                    self.events.volume_by_tag(key, pod, clearance);
                }
            }
            HoldReason::NotCleared | HoldReason::PreviousNotReady => {
                if pod.note(|notes| notes.say("Held")) {
                    self.events.held(&EventSubject::pod(key, pod), clearance);
                }
            }
        }
    }

    fn emit_will_stop(&mut self, key: &PodKey, turn: Timestamp) {
        let Some((pod, clearance)) = self.cache.pod_mut(key) else { return };
        if pod.note(|notes| notes.say("WillStop")) {
            self.events.will_stop(&EventSubject::pod(key, pod), clearance.map(|c| &**c), turn);
        }
    }

    fn emit_overdue(&mut self, key: &PodKey, now: Timestamp) {
        let Some((pod, clearance)) = self.cache.pod_mut(key) else { return };
        // `Some` if another user deleted the pod with a longer grace period, and the kubelet still has time to end the
        // pod.
        let ends = pod.ends_at().map(|at| at + CONFIRMATION).filter(|at| *at > now);
        let topic = if ends.is_some() { ENDS_LATE } else { OVERDUE };
        if pod.note(|notes| notes.say(topic)) {
            self.events.overdue(key, pod, clearance.map(|c| &**c), ends.is_some());
        }
        if let Some(at) = ends {
            self.schedule(key, at);
        }
    }

    /// Records the loss of clearance of a pod whose risk level has the mode `Audit`.
    fn record_loss(&mut self, key: &PodKey) {
        let Some((pod, clearance)) = self.cache.pod_mut(key) else { return };
        if pod.note(|notes| notes.say("ClearanceLost")) {
            self.events.stopped(&EventSubject::pod(key, pod), clearance.map(|c| &**c), "Audit");
            let labels = EnforcementLabels { action: Enforcement::Audit, done: true };
            self.metrics.enforcements.get_or_create(&labels).inc();
        }
    }

    /// Records that a pod is cleared. If all pods of its owner may run, the operator forgets the last stop of the
    /// workload. So the next loss stops the workload again, even if users started the workload too often before.
    fn note_cleared(&mut self, key: &PodKey) {
        self.note(key, |notes| notes.lost_since = None);
        let Some(owner) = self.cache.pod(key).and_then(|(pod, _)| pod.owner.clone()) else { return };
        let was_stopped =
            self.stop_requests.contains_key(&owner.uid) || self.evict_individually.contains(&owner.uid);
        if was_stopped && self.all_may_run(&key.namespace, &owner) {
            self.stop_requests.remove(&owner.uid);
            self.evict_individually.remove(&owner.uid);
        }
    }

    fn all_may_run(&self, namespace: &str, owner: &Arc<OwnerRef>) -> bool {
        let (now, known) = (Timestamp::now(), self.cache.namespace(namespace));
        let clearance = known.and_then(|known| known.clearance.as_deref());
        let pods = known.into_iter().flat_map(|known| known.pods.values());
        pods.filter(|pod| pod.owner.as_ref() == Some(owner))
            .all(|pod| decide_alone(pod, clearance, now).lets_run())
    }

    /// Requests the stop of the workload of a pod, at most once per [`RETRY`] for all pods of the same controller.
    fn stop_workload(&mut self, key: &PodKey) {
        let Some((pod, clearance)) = self.cache.pod(key) else { return };
        let system = clearance.and_then(|c| c.systems.get(&*pod.system));
        let Some((owner, system)) = pod.owner.as_ref().zip(system) else { return };
        let now = Timestamp::now();
        let again = self.stop_requests.get(&owner.uid).map(|last| *last + RETRY).filter(|again| *again > now);
        if let Some(again) = again {
            return self.schedule(key, again);
        }
        self.stop_requests.insert(owner.uid.clone(), now);
        self.channels.stop(StopRequest {
            namespace: Arc::clone(&key.namespace),
            owner: Arc::clone(owner),
            system: Arc::clone(&pod.system),
            mode: system.on_loss.mode,
            runtime: pod.runtime.as_ref().ok().cloned(),
        });
    }

    /// Stops the workload of a held pod again, if the operator stopped the workload before. The held pod shows that
    /// another user started the workload.
    fn stop_workload_again(&mut self, key: &PodKey) {
        let owner = self.cache.pod(key).and_then(|(pod, _)| pod.owner.as_ref());
        if owner.is_some_and(|o| {
            self.stop_requests.contains_key(&o.uid) && !self.evict_individually.contains(&o.uid)
        }) {
            self.stop_workload(key);
        }
    }

    pub(super) fn not_supported(&mut self, answer: &NotSupported) {
        self.evict_individually.insert(answer.owner.uid.clone());
        self.look_at_namespace(&answer.namespace);
    }

    fn schedule(&mut self, key: &PodKey, at: Timestamp) {
        self.timers.add(at, TimerKey::Pod(key.clone()));
    }

    /// Decides about the neighbours of a pod. After a change of one pod, another pod may be the next to start or stop
    /// in the order of their `StatefulSet`.
    pub(super) fn look_at_neighbours(&mut self, key: &PodKey) {
        for neighbour in self.cache.neighbours(key).into_iter().flatten() {
            self.look_at(&neighbour);
        }
    }
}
