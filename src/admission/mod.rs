//! The policies by which the API server itself enforces, with no webhook: one source for the chart,
//! the operator and the tests.
//!
//! ```text
//!  CREATE pod ─► assent-gate (mutating)      no cleared runtime matches: add gate and label
//!     held    ─► assent-pod-held             gated
//!     others  ─► assent-pod-create           cleared at the pod's creationTimestamp
//!  UPDATE pod ─► assent-pod-update           gate, label and images stay; no ephemeral containers
//!     held    ─► assent-pod-release          gate lifted: cleared at the time of this very request
//!  CREATE pod, or what makes pods ─► assent-preview    where a namespace warns or audits: says what would be held
//!                        ▲
//!                    Clearance               param, written by the operator only
//!
//!  Approval   ─► assent-approval-stamp       who asks is who approves
//!             ─► assent-approvals            role by RBAC, final, kept
//!  AISystem   ─► assent-aisystems            level by RBAC, decommissioned stays so
//!  RiskLevel  ─► assent-risklevels           not deleted while in use
//!  Namespace  ─► assent-namespaces           opting out by RBAC
//!  Clearance, statuses ─► assent-operator-only
//! ```
//!
//! CREATE and UPDATE of pods are kept apart because a binding that denies where its parameter is
//! missing does so before its match conditions are looked at: an update of a pod that is not held
//! must never depend on a `Clearance`.

mod manifest;
mod pods;
mod preview;
mod records;

pub use manifest::Manifest;

/// The service account that the operator runs as: the one that may write clearances and lift gates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub service_account: String,
}

impl Operator {
    /// Its name as the API server authenticates it.
    pub fn username(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.service_account)
    }

    /// The CEL expression for "the operator asks".
    fn asks(&self) -> String {
        format!("request.userInfo.username == '{}'", self.username())
    }
}

/// The field manager by which the operator lifts gates, and by nothing else: its entry in
/// `managedFields` tells the API server's time of the release.
pub const RELEASE_MANAGER: &str = "assent-release";

/// Every policy and binding, in the order in which they are best read.
pub fn policies(operator: &Operator) -> Vec<Manifest> {
    let mut manifests = pods::policies(operator);
    manifests.extend(preview::policies());
    manifests.extend(records::policies(operator));
    manifests
}
