//! The requests that the operator sends about a pod.

use k8s_openapi::jiff::Timestamp;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Remove the gate. The text names the cleared version. `None` if the namespace does not govern the pod.
    Release(Option<String>),
    Stop(Step),
    /// Delete a gated pod of an old revision, so that its `StatefulSet` creates a pod of the new revision.
    Replace,
    /// Set the `activeDeadlineSeconds` of the pod.
    Bound(i64),
    /// Evict the pod with its own grace period, so that its controller creates a pod with a later deadline.
    Roll,
}

/// A request that stops a pod. The operator evicts the pod first. If the API server refuses the evictions for too long,
/// the operator deletes the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// An eviction respects disruption budgets. The operator retries a refused eviction until `until`.
    Evict { grace_period_seconds: u32, until: Timestamp },
    /// A deletion ignores disruption budgets.
    Delete { grace_period_seconds: u32 },
}
