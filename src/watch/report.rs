//! Telling people of objects that cannot be read: an Event on the object, and its condition `Ready`.

use std::sync::Arc;

use kube::{
    Client,
    api::{Patch, PatchParams},
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use serde_json::json;
use tracing::warn;

use super::{Watches, request, watches::Told};
use crate::truncate::{NOTE_BYTES, shorten};

/// The field manager of statuses: what it says of an object that cannot be read takes the place of all else.
const MANAGER: &str = "assent";

/// The reason of the Event and of the condition.
const UNREADABLE: &str = "UnreadableObject";

/// The kinds whose status the operator writes.
const WITH_STATUS: [&str; 5] = ["AISystem", "ModelVersion", "Approval", "RiskLevel", "TrustedSidecar"];

/// Tells of every object that cannot be read, until `shutdown`.
pub(crate) async fn report(client: Client, watches: Arc<Watches>, shutdown: impl Future<Output = ()>) {
    let reporter = Reporter { controller: "assent.dev/operator".to_owned(), instance: None };
    let recorder = Recorder::new(client.clone(), reporter);
    let telling = async {
        loop {
            let untold = watches.untold();
            if untold.is_empty() {
                watches.news.notified().await;
            }
            for told in untold {
                publish(&recorder, &told).await;
                write(&client, &told).await;
            }
        }
    };
    tokio::select! {
        () = shutdown => {}
        () = telling => {}
    }
}

fn message(told: &Told) -> String {
    let object = &told.object;
    let (kind, name) =
        (object.kind.as_deref().unwrap_or_default(), object.name.as_deref().unwrap_or_default());
    let namespace =
        object.namespace.as_ref().map_or_else(String::new, |namespace| format!(" -n {namespace}"));
    let kind = kind.to_lowercase();
    format!(
        "counts as missing, because it cannot be read; correct it: kubectl edit {kind} {name}{namespace}; {}",
        told.why
    )
}

async fn publish(recorder: &Recorder, told: &Told) {
    let event = Event {
        type_: EventType::Warning,
        reason: UNREADABLE.to_owned(),
        note: Some(shorten(message(told), NOTE_BYTES)),
        action: "Read".to_owned(),
        secondary: None,
    };
    if let Err(error) = recorder.publish(&event, &told.object).await {
        warn!(namespace = told.object.namespace, "an Event was not taken: {error}");
    }
}

/// Writes the condition, where the kind has a status.
async fn write(client: &Client, told: &Told) {
    let (kind, name) = (told.object.kind.as_deref().unwrap_or_default(), told.object.name.as_deref());
    let Some(name) = name.filter(|_| WITH_STATUS.contains(&kind)) else { return };
    let object = json!({
        "apiVersion": told.object.api_version,
        "kind": kind,
        "status": { "conditions": [{
            "type": "Ready", "status": "False", "reason": UNREADABLE, "message": message(told),
            "observedGeneration": told.generation, "lastTransitionTime": told.since,
        }] },
    });
    let params = PatchParams::apply(MANAGER).force();
    match request::patch_status(client, &told.path, name, &params, &Patch::Apply(&object)).await {
        // Deleted meanwhile.
        Err(kube::Error::Api(answer)) if answer.code == 404 => {}
        Err(error) => {
            warn!(kind, namespace = told.object.namespace, name, "its condition was not taken: {error}");
        }
        Ok(()) => {}
    }
}
