//! The requests that the operator sends about a pod.

use k8s_openapi::jiff::Timestamp;

use crate::policy::Pins;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Remove the gate. `None` if the namespace does not govern the pod.
    Release(Option<ReleasedAs>),
    Stop(Step),
    /// Delete a gated pod, so that its controller creates another pod.
    Replace(Replacement),
    /// Set the `activeDeadlineSeconds` of the pod.
    Bound(i64),
    /// Evict the pod with its own grace period, so that its controller creates a pod with a later deadline.
    Roll,
}

/// The version as which a pod is released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReleasedAs {
    /// The name and the digest of the version.
    pub(crate) version: String,
    /// The images that the pod gets with its release.
    pub(crate) pins: Pins,
}

/// The reason to delete a gated pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replacement {
    /// Its `StatefulSet` wants another revision.
    Revision,
    /// A volume names its image by tag. Only a new pod gets the digest.
    Pinned,
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
