//! Reports unreadable objects with an Event. An object of a kind in [`WITH_STATUS`] also gets the condition `Ready`.

use std::sync::Arc;

use kube::{
    Client,
    api::{Patch, PatchParams},
    runtime::events::{Event, EventType},
};
use serde_json::json;
use tracing::warn;

use super::{Watches, request, watches::UnreadableReport};
use crate::{event_recorder::EventRecorder, truncate::note};

/// The field manager of the condition. The compile writes statuses with the same manager. So when the operator applies
/// the condition, the API server removes the other status fields that the compile wrote.
const MANAGER: &str = "assent";

const UNREADABLE: &str = "UnreadableObject";

/// The kinds whose unreadable objects get the condition `Ready`.
const WITH_STATUS: [&str; 9] = [
    "AISystem",
    "ModelVersion",
    "Approval",
    "Assessment",
    "Incident",
    "Monitor",
    "Override",
    "RiskLevel",
    "TrustedSidecar",
];

pub(crate) async fn report(client: Client, watches: Arc<Watches>, shutdown: impl Future<Output = ()>) {
    let recorder = EventRecorder::new(client.clone());
    let reporting = async {
        loop {
            let reports = watches.take_reports();
            if reports.is_empty() {
                watches.unreadable_added.notified().await;
            }
            for report in reports {
                publish(&recorder, &report).await;
                write_condition(&client, &report).await;
            }
        }
    };
    tokio::select! {
        () = shutdown => {}
        () = reporting => {}
    }
}

/// The two parts of the message: why the object is unreadable, and the command that corrects the object.
fn message(report: &UnreadableReport) -> [String; 2] {
    let object = &report.object;
    let (kind, name) =
        (object.kind.as_deref().unwrap_or_default(), object.name.as_deref().unwrap_or_default());
    let namespace =
        object.namespace.as_ref().map_or_else(String::new, |namespace| format!(" -n {namespace}"));
    let next = format!("; correct it: kubectl edit {} {name}{namespace}", kind.to_lowercase());
    let cause = format!("unreadable, so it counts as missing: {}", report.why);
    [cause, next]
}

async fn publish(recorder: &EventRecorder, report: &UnreadableReport) {
    let [cause, next] = message(report);
    let event = Event {
        type_: EventType::Warning,
        reason: UNREADABLE.to_owned(),
        note: Some(note(cause, &next)),
        action: "Read".to_owned(),
        secondary: None,
    };
    if let Err(error) = recorder.publish(&event, &report.object).await {
        warn!(namespace = report.object.namespace, "the API server refused an Event: {error}");
    }
}

async fn write_condition(client: &Client, report: &UnreadableReport) {
    let object = &report.object;
    let (kind, name) = (object.kind.as_deref().unwrap_or_default(), object.name.as_deref());
    let Some(name) = name.filter(|_| WITH_STATUS.contains(&kind)) else { return };
    let status = json!({
        "apiVersion": object.api_version,
        "kind": kind,
        "status": { "conditions": [{
            "type": "Ready", "status": "False", "reason": UNREADABLE, "message": message(report).concat(),
            "observedGeneration": report.generation, "lastTransitionTime": report.since,
        }] },
    });
    let params = PatchParams::apply(MANAGER).force();
    match request::patch_status(client, &report.path, name, &params, &Patch::Apply(&status)).await {
        // The object was deleted in the meantime, so it needs no condition.
        Err(kube::Error::Api(answer)) if answer.code == 404 => {}
        Err(error) => {
            warn!(kind, namespace = object.namespace, name, "the API server refused the condition: {error}");
        }
        Ok(()) => {}
    }
}
