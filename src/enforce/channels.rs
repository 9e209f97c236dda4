//! The messages between the tasks of `enforce`.
//!
//! - The Enforcer sends each [`ClearanceUpdate`] to the `JobSuspender` and to the `WorkloadStopper`.
//! - The Enforcer sends a [`StopRequest`] to the `WorkloadStopper`, which can reply with [`NotSupported`].

use std::sync::Arc;

use tokio::sync::mpsc;

use super::owner::OwnerRef;
use crate::api::{ClearanceSpec, OnLossMode, SharedRuntime};

#[derive(Clone, Debug)]
pub(super) enum ClearanceUpdate {
    /// A namespace and its Clearance, or `None` if the namespace has no Clearance. The receiver decides again about the
    /// workloads of the namespace.
    Clearance(Arc<str>, Option<Arc<ClearanceSpec>>),
    /// The Enforcer has sent every existing Clearance. From now on, the receiver treats a namespace without a message
    /// as a namespace without a Clearance.
    All,
}

/// A request to stop the workload above the controller `owner`. The pods of `owner` lost their clearance.
#[derive(Clone, Debug)]
pub(super) struct StopRequest {
    pub(super) namespace: Arc<str>,
    pub(super) owner: Arc<OwnerRef>,
    pub(super) system: Arc<str>,
    pub(super) mode: OnLossMode,
    /// The runtime of a pod of `owner`. `None` if no version can match the pod.
    pub(super) runtime: Option<SharedRuntime>,
}

/// The reply that the operator cannot stop the workload above the controller `owner`. The Enforcer then evicts the pods
/// of `owner` one by one.
#[derive(Debug)]
pub(super) struct NotSupported {
    pub(super) namespace: Arc<str>,
    pub(super) owner: Arc<OwnerRef>,
}

/// The senders of the Enforcer. The receiving tasks end after the Enforcer, so a send cannot fail.
pub(super) struct Channels {
    pub(super) jobs: mpsc::UnboundedSender<ClearanceUpdate>,
    pub(super) workloads: mpsc::UnboundedSender<ClearanceUpdate>,
    pub(super) stops: mpsc::UnboundedSender<StopRequest>,
}

impl Channels {
    pub(super) fn update(&self, update: ClearanceUpdate) {
        let _ = self.jobs.send(update.clone());
        let _ = self.workloads.send(update);
    }

    pub(super) fn stop(&self, request: StopRequest) {
        let _ = self.stops.send(request);
    }
}
