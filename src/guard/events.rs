//! Publishes an Event about a restored policy.

use kube::runtime::events::{Event, EventType};
use tracing::warn;

use super::restore::Restored;
use crate::event_recorder::EventRecorder;

pub(super) async fn publish(recorder: &EventRecorder, restored: &Restored) {
    let event = Event {
        type_: EventType::Warning,
        reason: "PolicyRestored".to_owned(),
        note: Some(format!(
            "{}; the operator stops uncleared pods that were created meanwhile; to see other changes of that time: \
             kubectl get approvals,namespaces -A --sort-by=.metadata.creationTimestamp",
            restored.what
        )),
        action: "Restore".to_owned(),
        secondary: None,
    };
    if let Err(error) = recorder.publish(&event, &restored.policy.reference()).await {
        warn!(policy = %restored.policy.key(), "the Event was not recorded: {error}");
    }
}
