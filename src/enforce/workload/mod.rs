//! Stops the root of a pod, if the mode of the risk level is `ScaleDown` or `Suspend`. The root is the topmost
//! controller of the pod. Starts the root again when its pods are cleared.
//!
//! - After a [`StopRequest`], the operator first writes a record ([`StoppedWorkload`]). It then scales the root to
//!   zero, or suspends the root. A restart of the operator does not lose the record.
//! - When the pods are cleared again, the operator restores the previous state of the root. It does not do this if
//!   another user set the replicas or `spec.suspend` of the root after the stop. `managedFields` shows who set them.
//! - If the operator cannot stop the root, it replies with [`NotSupported`]. The Enforcer then evicts the pods one by
//!   one.
//! - If another user starts the root for the third time, the operator sends the Event `Contested`. The Enforcer then
//!   evicts the pods one by one too.

mod record;
mod request;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;
use kube::Client;
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use tracing::warn;

use self::{
    record::{PreviousState, StoppedWorkload, read_all},
    request::{WorkloadResult, start, stop},
};
use super::{
    channels::{ClearanceUpdate, NotSupported, StopRequest},
    events::EventEmitter,
    owner::OwnerRef,
    subject::EventSubject,
};
use crate::{
    api::{ClearanceSpec, Mode, OnLossMode},
    metrics::{Enforcement, EnforcementLabels, Metrics},
    watch::{Pool, retry_delay},
};

/// The interval at which the operator reads stopped workloads again. The operator does not watch workloads, so it does
/// not notice at once that a user changed the pod template of a stopped workload.
const RECHECK: Duration = Duration::from_secs(10);

/// Stops and starts workloads until `updates` ends.
pub(super) async fn run(
    client: Client,
    metrics: Arc<Metrics>,
    events: EventEmitter,
    mut updates: mpsc::UnboundedReceiver<ClearanceUpdate>,
    mut stops: mpsc::UnboundedReceiver<StopRequest>,
    not_supported: mpsc::UnboundedSender<NotSupported>,
) {
    // The first update arrives when this replica of the operator is the leader. Before that, another replica may change
    // the records.
    let Some(first) = updates.recv().await else { return };
    let stopped = records(&client).await;
    let mut recheck = interval(RECHECK);
    recheck.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut workloads = WorkloadStopper {
        client,
        metrics,
        events,
        not_supported,
        stopped,
        clearances: HashMap::new(),
        pool: Pool::default(),
    };
    workloads.update(first);
    loop {
        tokio::select! {
            // With `biased`, updates of Clearances come first, because a stop depends on the newest Clearance.
            biased;
            update = updates.recv() => match update {
                Some(update) => workloads.update(update),
                None => break,
            },
            Some(request) = stops.recv() => workloads.stop(request),
            Some((_, done)) = workloads.pool.finished() => workloads.done(done),
            _ = recheck.tick() => workloads.start_all(),
        }
    }
    while workloads.pool.finished().await.is_some() {}
}

/// Reads the records that earlier operators wrote, by namespace and UID of the root. Retries until it succeeds.
async fn records(client: &Client) -> HashMap<Arc<str>, BTreeMap<String, StoppedWorkload>> {
    loop {
        match read_all(client).await {
            Ok(stopped) => return stopped,
            Err(error) => {
                warn!("cannot list the records of stopped workloads: {error}; retrying in about 1 s");
                retry_delay().await;
            }
        }
    }
}

struct WorkloadStopper {
    client: Client,
    metrics: Arc<Metrics>,
    events: EventEmitter,
    not_supported: mpsc::UnboundedSender<NotSupported>,
    stopped: HashMap<Arc<str>, BTreeMap<String, StoppedWorkload>>,
    clearances: HashMap<Arc<str>, Arc<ClearanceSpec>>,
    /// The requests in progress. The key of a stop is the UID of the direct controller of the pods. The key of a start
    /// is the UID of the root. Each request starts at once, without the limit of the pool.
    pool: Pool<String, WorkloadResult>,
}

impl WorkloadStopper {
    fn update(&mut self, update: ClearanceUpdate) {
        let ClearanceUpdate::Clearance(namespace, clearance) = update else { return };
        match clearance {
            Some(clearance) => drop(self.clearances.insert(Arc::clone(&namespace), clearance)),
            None => drop(self.clearances.remove(&namespace)),
        }
        self.start_all_of(&namespace);
    }

    fn stop(&mut self, request: StopRequest) {
        let key = request.owner.uid.clone();
        if !self.pool.is_busy(&key) {
            let before = self.stopped.get(&request.namespace).cloned().unwrap_or_default();
            let clearance = self.clearances.get(&request.namespace).cloned();
            self.pool.start(key, stop(self.client.clone(), request, clearance, before));
        }
    }

    /// Starts the stopped workloads of each namespace whose Clearance has arrived. Skips other namespaces,
    /// because their Clearance may still arrive.
    fn start_all(&mut self) {
        for namespace in self.clearances.keys().cloned().collect::<Vec<_>>() {
            self.start_all_of(&namespace);
        }
    }

    fn start_all_of(&mut self, namespace: &Arc<str>) {
        let stopped: Vec<_> =
            self.stopped.get(namespace).into_iter().flat_map(BTreeMap::values).cloned().collect();
        for stopped in stopped {
            self.start(namespace, stopped);
        }
    }

    /// Begins a request that starts the workload if its pods are cleared, or if its namespace does not enforce. If the
    /// namespace enforces and has no cleared version, this function sends no request.
    fn start(&mut self, namespace: &Arc<str>, stopped: StoppedWorkload) {
        let clearance = self.clearances.get(namespace).filter(|c| c.mode == Some(Mode::Enforce)).cloned();
        let now = Timestamp::now();
        let clears_any = |clearance: &Arc<ClearanceSpec>| {
            let versions = clearance.systems.values().flat_map(|system| &system.cleared);
            versions.into_iter().any(|version| now < version.not_after.0)
        };
        let key = stopped.root.uid.clone();
        if clearance.as_ref().is_none_or(clears_any) && !self.pool.is_busy(&key) {
            self.pool.start(key, start(self.client.clone(), Arc::clone(namespace), stopped, clearance));
        }
    }

    fn done(&mut self, done: WorkloadResult) {
        match done {
            WorkloadResult::Stopped(request, stopped) => {
                self.count(Enforcement::of(stopped.was), true);
                self.emit_stopped(&request.namespace, &stopped);
                let known = self.stopped.entry(Arc::clone(&request.namespace)).or_default();
                known.insert(stopped.root.uid.clone(), stopped.clone());
                // A Clearance that clears the pods of the workload may have arrived during the request.
                self.start(&request.namespace, stopped);
            }
            WorkloadResult::AlreadyStopped => {}
            WorkloadResult::NotSupported(request, contested) => {
                if let Some(root) = contested {
                    self.emit_contested(&request, &root);
                }
                let StopRequest { namespace, owner, .. } = request;
                // A send fails only after the Enforcer ended.
                let _ = self.not_supported.send(NotSupported { namespace, owner });
            }
            WorkloadResult::Started(namespace, stopped) => {
                self.count(Enforcement::Resume, true);
                self.emit_started(&namespace, &stopped);
                self.forget(&namespace, &stopped);
            }
            WorkloadResult::NotCleared(namespace, stopped, by) => {
                let now = self.clearances.get(&namespace).filter(|c| c.mode == Some(Mode::Enforce));
                if now.map(Arc::as_ptr) != by.as_ref().map(Arc::as_ptr) {
                    self.start(&namespace, stopped);
                }
            }
            WorkloadResult::LeftAlone(namespace, stopped) => self.forget(&namespace, &stopped),
            WorkloadResult::StopFailed(request) => {
                let scales = request.mode == OnLossMode::ScaleDown;
                let action = if scales { Enforcement::ScaleDown } else { Enforcement::Suspend };
                self.count(action, false);
                self.stop(request);
            }
            WorkloadResult::StartFailed(namespace, stopped) => {
                self.count(Enforcement::Resume, false);
                self.start(&namespace, stopped);
            }
        }
    }

    fn forget(&mut self, namespace: &Arc<str>, stopped: &StoppedWorkload) {
        if let Some(known) = self.stopped.get_mut(namespace) {
            known.remove(&stopped.root.uid);
        }
    }

    fn count(&self, action: Enforcement, done: bool) {
        self.metrics.enforcements.get_or_create(&EnforcementLabels { action, done }).inc();
    }

    fn emit_stopped(&self, namespace: &str, stopped: &StoppedWorkload) {
        let action = match stopped.was {
            PreviousState::Replicas(_) => "ScaleDown",
            PreviousState::Suspend(_) => "Suspend",
        };
        let system = stopped.system.as_str().into();
        let subject = EventSubject::workload(namespace, &stopped.root, &system);
        self.events.stopped(&subject, self.clearance(namespace), action);
    }

    fn emit_started(&self, namespace: &str, stopped: &StoppedWorkload) {
        let started = match stopped.was {
            PreviousState::Replicas(n) => format!("{} (scaled back to {n})", stopped.system),
            PreviousState::Suspend(_) => stopped.system.clone(),
        };
        let system = stopped.system.as_str().into();
        let subject = EventSubject::workload(namespace, &stopped.root, &system);
        self.events.released(&subject, self.clearance(namespace), Some(&started));
    }

    fn emit_contested(&self, request: &StopRequest, root: &OwnerRef) {
        let StopRequest { namespace, system, .. } = request;
        let why = format!(
            "another user or controller keeps starting it again; its pods are held instead; to see who: \
             kubectl get {}/{} -n {namespace} -o yaml --show-managed-fields",
            root.kind.to_lowercase(),
            root.name
        );
        let subject = EventSubject::workload(namespace, root, system);
        self.events.contested(&subject, self.clearance(namespace), &why);
    }

    fn clearance(&self, namespace: &str) -> Option<&ClearanceSpec> {
        self.clearances.get(namespace).map(|clearance| &**clearance)
    }
}

impl Enforcement {
    const fn of(was: PreviousState) -> Self {
        match was {
            PreviousState::Replicas(_) => Self::ScaleDown,
            PreviousState::Suspend(_) => Self::Suspend,
        }
    }
}
