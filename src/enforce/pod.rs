//! A pod, with only the fields that decisions read.
//!
//! ```text
//!  core::Pod ─► PodReader ─► Pod ─┬─ fields of the object: owner, runtime, gate, deadline, deletion
//!                                 └─ Notes: state of this operator, kept while the UID stays the same
//! ```

use std::{fmt, sync::Arc, time::Duration};

use k8s_openapi::{api::core::v1 as core, jiff::Timestamp};
use tokio::time::Instant;
use uuid::Uuid;

use super::{action::Action, deadline::Life, owner::OwnerRef, statefulset::Member};
use crate::{
    api::{Scope, SharedRuntime},
    policy::Unmatchable,
};

/// The namespace and name of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PodKey {
    pub(super) namespace: Arc<str>,
    pub(super) name: Arc<str>,
}

/// The UID of a pod. The API server generates UUIDs (RFC 9562), and a UUID is smaller as a number than as text.
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

/// The fields of a pod that decisions read. The operator has one for each pod of the cluster, so it is small.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    pub(super) uid: Uid,
    pub(super) system: Arc<str>,
    pub(super) runtime: Result<SharedRuntime, Unmatchable>,
    pub(super) owner: Option<Arc<OwnerRef>>,
    /// The place of the pod in its `StatefulSet`.
    pub(super) member: Option<Box<Member>>,
    pub(super) gated: bool,
    /// The narrowest scope that includes the pod.
    pub(super) scope: Scope,
    /// The pod asks for an accelerator, or its image is that of an AI workload.
    pub(super) suspect: bool,
    pub(super) ended: bool,
    /// `None` unless the pod is being deleted.
    pub(super) ending: Option<Box<Deletion>>,
    pub(super) created: Timestamp,
    /// `terminationGracePeriodSeconds`.
    pub(super) termination_grace: u32,
    /// The greatest of the termination graces of the pod and of its probes.
    pub(super) longest_grace: u32,
    pub(super) life: Life,
    /// `None` stands for [`NO_NOTES`]. Most pods have no notes.
    pub(super) notes: Option<Box<Notes>>,
}

/// The deletion of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Deletion {
    /// `deletionTimestamp`: the end of the grace.
    pub(super) at: Timestamp,
    /// `deletionGracePeriodSeconds`.
    pub(super) with: Option<u32>,
    pub(super) kept_by: KeptBy,
}

/// The reason why a pod that is being deleted still exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeptBy {
    /// The kubelet of this node has not confirmed the end of the pod.
    Node(Arc<str>),
    /// The pod ended. These finalizers, separated by commas, keep the object.
    Finalizers(Arc<str>),
}

/// The time that the API server may need to carry out a request after the client gave up waiting.
const DONE_BY: Duration = Duration::from_secs(10);

/// The state of this operator about a pod.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes {
    /// The instant of the loss of the clearance.
    pub(crate) lost_since: Option<Timestamp>,
    /// The operator sends no request before this instant. Either the watch has not delivered the last change yet,
    /// or the API server refused it.
    pub(super) quiet_until: Option<Timestamp>,
    /// The last request without an answer, and its time. The API server can have carried it out.
    pub(super) unanswered: Option<(Action, Instant)>,
    /// The number of refused releases in a row.
    pub(super) refusals: u32,
    /// The reason of the last Event, so that the same Event is not sent twice.
    pub(super) said: Option<&'static str>,
}

static NO_NOTES: Notes =
    Notes { lost_since: None, quiet_until: None, unanswered: None, refusals: 0, said: None };

impl Pod {
    pub(crate) fn notes(&self) -> &Notes {
        self.notes.as_deref().unwrap_or(&NO_NOTES)
    }

    /// Changes the notes. Notes that become empty are dropped.
    pub(crate) fn note<T>(&mut self, note: impl FnOnce(&mut Notes) -> T) -> T {
        let mut notes = self.notes.take().map_or_else(Notes::default, |notes| *notes);
        let result = note(&mut notes);
        self.notes = (!notes.is_empty()).then(|| Box::new(notes));
        result
    }

    /// The end of the grace, if the pod is being deleted.
    pub(super) fn ends_at(&self) -> Option<Timestamp> {
        self.ending.as_ref().map(|ending| ending.at)
    }

    /// Takes the unanswered request, if the pod or its absence shows that the API server carried it out. A stop
    /// does not count if the pod is cleared again and ends late: then somebody else deleted it.
    pub(super) fn take_done(&mut self, gone: bool, now: Instant) -> Option<Action> {
        let (released, ended) = (!self.gated && !gone, self.ending.is_some() || gone);
        let is_lost = self.notes().lost_since.is_some();
        let seconds = self.life.seconds;
        let shows = |(action, asked): &mut (Action, Instant)| match *action {
            Action::Release(_) => released,
            Action::Stop(_) | Action::Replace | Action::Roll => {
                ended && (is_lost || now.duration_since(*asked) < DONE_BY)
            }
            Action::Bound(wanted) => seconds == Some(wanted),
        };
        self.note(|notes| notes.unanswered.take_if(shows)).map(|(action, _)| action)
    }

    /// Whether a Job owns the pod. A Job counts a stopped pod as a failure.
    pub(super) fn is_of_a_job(&self) -> bool {
        self.owner
            .as_ref()
            .is_some_and(|owner| owner.kind == "Job" && owner.api_version.starts_with("batch/"))
    }

    /// Whether the pod has not ended and is not being deleted.
    pub(super) const fn is_live(&self) -> bool {
        !self.ended && self.ending.is_none()
    }
}

impl Notes {
    /// Notes an Event by its reason. Returns whether the Event is new.
    pub(super) fn say(&mut self, reason: &'static str) -> bool {
        self.said.replace(reason) != Some(reason)
    }

    fn is_empty(&self) -> bool {
        let Self { lost_since, quiet_until, unanswered, refusals, said } = self;
        lost_since.is_none()
            && quiet_until.is_none()
            && unanswered.is_none()
            && *refusals == 0
            && said.is_none()
    }
}

/// Whether a pod has run to its end.
pub(crate) fn has_ended(pod: &core::Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_stays_as_it_is_written() {
        for uid in ["a6624e78-9d75-4f49-b9b7-adc43973495e", "A6624E78-9D75-4F49-B9B7-ADC43973495E", "1", ""] {
            assert_eq!(Uid::from(uid.to_owned()).to_string(), uid);
        }
    }
}
