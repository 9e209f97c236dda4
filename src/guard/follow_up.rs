//! The work after a policy is restored, which must not delay the next restore: ownership and Events.

use futures::{StreamExt, stream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::{
    Client,
    runtime::events::{Recorder, Reporter},
};
use tokio::sync::mpsc;
use tracing::warn;

use super::{CONCURRENCY, events::publish, ownership::give_back};
use crate::admission::PolicyObject;

/// A policy that was restored.
pub struct Restored {
    pub policy: PolicyObject,
    /// The change that was undone, as text for the Event.
    pub what: String,
    /// The field manager that applied the release.
    pub applier: ManagedFieldsEntry,
}

/// Handles each restored policy until the sender is dropped.
pub async fn follow_up(client: Client, mut restored: mpsc::UnboundedReceiver<Restored>) {
    let reporter = Reporter { controller: "assent.dev/operator".to_owned(), instance: None };
    let recorder = Recorder::new(client.clone(), reporter);
    let restored = stream::poll_fn(move |context| restored.poll_recv(context));
    restored
        .for_each_concurrent(CONCURRENCY, |restored| {
            let (client, recorder) = (client.clone(), recorder.clone());
            async move {
                if let Err(error) = give_back(&client, &restored).await {
                    let policy = restored.policy.key();
                    warn!(%policy, "the field manager could not be restored: {error}; the next upgrade can need --force-conflicts");
                }
                publish(&recorder, &restored).await;
            }
        })
        .await;
}
