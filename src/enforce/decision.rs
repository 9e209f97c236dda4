//! The five decisions about a pod, each with its reason.

use k8s_openapi::jiff::Timestamp;

use super::action::{Action, Step};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PodDecision {
    /// The pod is neither held, released nor stopped. A cleared pod may get a deadline.
    Keep(KeepReason),
    /// The pod stays gated.
    Hold(HoldReason),
    Release {
        reason: ReleaseReason,
        action: Action,
    },
    Stop {
        reason: StopReason,
        action: StopAction,
    },
    /// The operator does nothing now, and decides again at `at`. `lost_since` is the time at which the pod lost its
    /// clearance. It is `None` if the pod is cleared.
    Revisit {
        reason: RevisitReason,
        lost_since: Option<Timestamp>,
        at: Timestamp,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeepReason {
    Ended,
    /// The pod is being deleted. The operator does not limit the time of the deletion, because the pod is cleared or
    /// gated, or the mode of its risk level is `Audit`.
    Deleted,
    /// The pod is not governed.
    Ungoverned,
    /// The pod is cleared. `deadline` is its new `activeDeadlineSeconds`. `None` if the current value stays.
    Cleared {
        deadline: Option<i64>,
    },
    /// The pod lost its clearance, and its risk level only records the loss.
    AuditOnly,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HoldReason {
    NotCleared,
    /// The pod is cleared, but its longest termination grace period exceeds `most` seconds. Nobody can change the
    /// period of the pod, so the pod stays gated until its risk level allows a longer period.
    EndsTooSlowly {
        most: u32,
    },
    /// The pod is cleared, but the previous pod of its `StatefulSet` is not ready.
    PreviousNotReady,
    /// The pod would be cleared with the approved digest of a volume's image, but the volumes of a pod are immutable. At
    /// `replace_at`, the operator deletes the pod. `None` if no controller would create another pod.
    VolumeByTag {
        replace_at: Option<Timestamp>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReleaseReason {
    Cleared,
    /// The pod is not governed.
    Ungoverned,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopReason {
    NotCleared {
        since: Timestamp,
    },
    /// The deadline of the pod is earlier than the end of its clearance. Its controller creates a replacement.
    Renewed,
    /// The pod is gated, and its `StatefulSet` now wants a pod of another revision instead.
    Outdated,
    /// The pod is gated, and only a new pod gets the approved digest of a volume's image.
    VolumeByTag,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StopAction {
    Pod(Action),
    /// The operator stops the topmost controller of the pod, and decides again about the pod at `until`. If the
    /// operator cannot stop the controller, it takes the step `otherwise` for the pod.
    Workload {
        until: Timestamp,
        otherwise: Step,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RevisitReason {
    /// The pod is cleared, but its deadline is too early. The operator replaces the pod at the instant `at`.
    Renewal,
    /// The pod is cleared, but its deadline is too early. The operator does not replace the pod while another pod of
    /// its owner is unavailable.
    SiblingIsAway,
    /// The version of the pod expired. The API server refuses a replacement until the operator removes the version from
    /// the Clearance.
    RanOut,
    /// The API server may have admitted the pod by a Clearance that the watch has not delivered yet.
    WatchLag,
    /// The operator suspends the Job of the pod, and the suspension stops the pod.
    JobIsSuspended,
    /// Pods with higher ordinals in the same `StatefulSet` stop first.
    LaterPodsFirst,
    /// The namespace began to enforce while the pod existed. Such pods stop one after the other.
    NamespaceBegan,
    /// The pod is being deleted. If the pod still exists at the time `at` of [`PodDecision::Revisit`], the operator reports
    /// it as overdue.
    Deleted,
}

impl PodDecision {
    pub(crate) fn into_action(self) -> Option<Action> {
        match self {
            Self::Keep(KeepReason::Cleared { deadline }) => deadline.map(Action::Bound),
            Self::Release { action, .. } | Self::Stop { action: StopAction::Pod(action), .. } => Some(action),
            Self::Keep(_) | Self::Hold(_) | Self::Stop { .. } | Self::Revisit { .. } => None,
        }
    }

    /// The instant of the loss, if the pod runs without clearance and must stop.
    pub(crate) const fn lost_since(&self) -> Option<Timestamp> {
        match self {
            Self::Stop { reason: StopReason::NotCleared { since }, .. } => Some(*since),
            Self::Revisit { lost_since, .. } => *lost_since,
            Self::Keep(_) | Self::Hold(_) | Self::Release { .. } | Self::Stop { .. } => None,
        }
    }

    /// Whether the pod runs, is cleared, and is not being deleted.
    pub(crate) const fn is_cleared(&self) -> bool {
        matches!(
            self,
            Self::Keep(KeepReason::Cleared { .. })
                | Self::Stop { reason: StopReason::Renewed, .. }
                | Self::Revisit { lost_since: None, .. }
        )
    }

    /// Whether the pod continues to run, or starts soon. The result is also true for a pod that has ended, and for a
    /// pod with the reason [`KeepReason::Deleted`].
    pub(super) const fn lets_run(&self) -> bool {
        matches!(self, Self::Keep(_) | Self::Release { .. }) || self.is_cleared()
    }
}
