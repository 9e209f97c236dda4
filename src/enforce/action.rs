//! The requests that the operator sends about a pod.

use k8s_openapi::jiff::Timestamp;

/// A request about one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Remove the gate. The text names the cleared version; `None` means that the namespace is not governed.
    Release(Option<String>),
    Stop(Step),
    /// Delete a gated pod, so that its controller makes another.
    Replace,
    /// Set the `activeDeadlineSeconds` of the pod.
    Bound(i64),
    /// Evict the pod with its own grace, so that its controller makes one with a later deadline.
    Roll,
}

/// The next step to stop a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// An eviction, which respects disruption budgets. A refused eviction is tried again until `until`.
    Evict { grace_period_seconds: u32, until: Timestamp },
    /// A deletion, whatever the disruption budgets say.
    Delete { grace_period_seconds: u32 },
}
