//! A pod with only the fields that decisions read, and the operator's own [`Notes`] about the pod. The notes stay until
//! the UID of the pod changes.

use std::{fmt, sync::Arc, time::Duration};

use k8s_openapi::{api::core::v1 as core, jiff::Timestamp};
use tokio::time::Instant;
use uuid::Uuid;

use super::{action::Action, deadline::Life, owner::OwnerRef, statefulset::Member};
use crate::{
    api::{Scope, SharedRuntime},
    policy::Unmatchable,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PodKey {
    pub(super) namespace: Arc<str>,
    pub(super) name: Arc<str>,
}

/// The UID of a pod. The API server generates UUIDs (RFC 9562). A UUID needs less memory as a number than as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Uid {
    Uuid(Uuid),
    Other(Box<str>),
}

impl From<String> for Uid {
    fn from(text: String) -> Self {
        let uuid = Uuid::try_parse(&text).ok().filter(|uuid| uuid.to_string() == text);
        uuid.map_or_else(|| Self::Other(text.into()), Self::Uuid)
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uuid(uuid) => uuid.fmt(f),
            Self::Other(uid) => uid.fmt(f),
        }
    }
}

/// The fields of a pod that decisions read. The operator caches all pods of the cluster, so the type must stay small.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    pub(super) uid: Uid,
    pub(super) system: Arc<str>,
    pub(super) runtime: Result<SharedRuntime, Unmatchable>,
    pub(super) owner: Option<Arc<OwnerRef>>,
    /// The state of the pod in its `StatefulSet`. `None` if no `StatefulSet` owns the pod.
    pub(super) member: Option<Box<Member>>,
    pub(super) gated: bool,
    /// The narrowest scope that includes the pod.
    pub(super) scope: Scope,
    /// Whether the pod uses an accelerator, or one of its images matches a pattern of AI workloads.
    pub(super) suspect: bool,
    pub(super) ended: bool,
    /// The deletion of the pod. `None` if the pod is not being deleted.
    pub(super) ending: Option<Box<Deletion>>,
    pub(super) created: Timestamp,
    /// The `terminationGracePeriodSeconds` of the pod.
    pub(super) termination_grace: u32,
    /// The longest termination grace period of the pod and its probes, in seconds.
    pub(super) longest_grace: u32,
    pub(super) life: Life,
    /// The notes of the operator. `None` stands for [`NO_NOTES`] and saves memory, because most pods have no
    /// notes.
    pub(super) notes: Option<Box<Notes>>,
}

/// The facts about the deletion of a pod that still exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Deletion {
    /// The `deletionTimestamp` of the pod: the end of the grace period of the deletion.
    pub(super) at: Timestamp,
    /// The `deletionGracePeriodSeconds` of the pod: the grace period of the deletion.
    pub(super) with: Option<u32>,
    pub(super) kept_by: KeptBy,
}

/// The reason why a pod that is being deleted still exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeptBy {
    /// The kubelet of this node has not confirmed that the pod ended.
    Node(Arc<str>),
    /// The containers ended. These finalizers, separated by commas, prevent the removal of the pod.
    Finalizers(Arc<str>),
}

/// The time that the API server may still need to carry out a request after the client timed out.
const COMPLETION_LAG: Duration = Duration::from_secs(10);

/// The state that only this operator keeps about a pod. A restart of the operator loses this state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes {
    /// The instant at which the pod lost its clearance.
    pub(crate) lost_since: Option<Timestamp>,
    /// The operator sends no further request before this instant. There are three causes: the watch has not delivered
    /// the last change yet, the last request failed, or [`Action::Roll`] has no response yet.
    pub(super) quiet_until: Option<Timestamp>,
    /// The last request with an unknown result, and its time. The API server may have carried out the request.
    pub(super) unanswered: Option<(Action, Instant)>,
    /// The number of consecutive failed releases.
    pub(super) refusals: u32,
    /// The reason of the last Event, so that the operator does not send the same Event twice.
    pub(super) last_event: Option<&'static str>,
}

static NO_NOTES: Notes =
    Notes { lost_since: None, quiet_until: None, unanswered: None, refusals: 0, last_event: None };

impl Pod {
    pub(crate) fn notes(&self) -> &Notes {
        self.notes.as_deref().unwrap_or(&NO_NOTES)
    }

    /// Changes the notes, and drops them if they are empty afterwards.
    pub(crate) fn note<T>(&mut self, note: impl FnOnce(&mut Notes) -> T) -> T {
        let mut notes = self.notes.take().map_or_else(Notes::default, |notes| *notes);
        let result = note(&mut notes);
        self.notes = (!notes.is_empty()).then(|| Box::new(notes));
        result
    }

    /// The end of the grace period, if the pod is being deleted.
    pub(super) fn ends_at(&self) -> Option<Timestamp> {
        self.ending.as_ref().map(|ending| ending.at)
    }

    /// Removes and returns the unanswered request, if the pod now shows that the API server carried out the request.
    /// `gone` says whether the pod no longer exists.
    ///
    /// If the pod is cleared again, its deletion confirms a stop only within [`COMPLETION_LAG`] after the request. A
    /// later deletion comes from another user.
    pub(super) fn take_done(&mut self, gone: bool, now: Instant) -> Option<Action> {
        let (released, ended) = (!self.gated && !gone, self.ending.is_some() || gone);
        let is_lost = self.notes().lost_since.is_some();
        let seconds = self.life.seconds;
        let is_confirmed = |(action, asked): &mut (Action, Instant)| match *action {
            Action::Release(_) => released,
            Action::Stop(_) | Action::Replace(_) | Action::Roll => {
                ended && (is_lost || now.duration_since(*asked) < COMPLETION_LAG)
            }
            Action::Bound(wanted) => seconds == Some(wanted),
        };
        self.note(|notes| notes.unanswered.take_if(is_confirmed)).map(|(action, _)| action)
    }

    /// Whether a Job owns the pod. A Job counts a stopped pod as failed.
    pub(super) fn is_of_a_job(&self) -> bool {
        self.owner
            .as_ref()
            .is_some_and(|owner| owner.kind == "Job" && owner.api_version.starts_with("batch/"))
    }

    /// Whether the controller of the pod always creates a new pod after a deletion. Other controllers, such as those of
    /// workflows, can count a deleted pod as failed.
    pub(super) fn is_recreated(&self) -> bool {
        self.owner.as_ref().is_some_and(|owner| match &*owner.kind {
            "ReplicaSet" | "StatefulSet" | "DaemonSet" => owner.api_version.starts_with("apps/"),
            "ReplicationController" => owner.api_version == "v1",
            _ => false,
        })
    }

    pub(super) const fn is_live(&self) -> bool {
        !self.ended && self.ending.is_none()
    }
}

impl Notes {
    /// Records the reason of an Event. Returns `false` if the last Event had the same reason.
    pub(super) fn say(&mut self, reason: &'static str) -> bool {
        self.last_event.replace(reason) != Some(reason)
    }

    fn is_empty(&self) -> bool {
        let Self { lost_since, quiet_until, unanswered, refusals, last_event } = self;
        lost_since.is_none()
            && quiet_until.is_none()
            && unanswered.is_none()
            && *refusals == 0
            && last_event.is_none()
    }
}

/// Whether all containers of a pod have ended, and none restarts.
pub(crate) fn has_ended(pod: &core::Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_keeps_its_spelling() {
        for uid in ["a6624e78-9d75-4f49-b9b7-adc43973495e", "A6624E78-9D75-4F49-B9B7-ADC43973495E", "1", ""] {
            assert_eq!(Uid::from(uid.to_owned()).to_string(), uid);
        }
    }
}
