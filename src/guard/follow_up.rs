//! Does the work after the operator restored a policy: publishes an Event, and gives the ownership of the policy's
//! fields back to the field manager that installed the policy, such as Helm. Otherwise, the next upgrade of the chart
//! would report a conflict. This work is a separate task, so that it does not delay the next restore.

use futures::{StreamExt, stream};
use kube::Client;
use tokio::sync::mpsc;
use tracing::warn;

use super::{CONCURRENCY, events::publish, ownership::give_back, restore::Restored};
use crate::event_recorder::EventRecorder;

/// Handles each restored policy until the sender is dropped.
pub async fn follow_up(client: Client, mut restored: mpsc::UnboundedReceiver<Restored>) {
    let recorder = EventRecorder::new(client.clone());
    let restored = stream::poll_fn(move |context| restored.poll_recv(context));
    restored
        .for_each_concurrent(CONCURRENCY, |restored| {
            let (client, recorder) = (&client, &recorder);
            async move {
                if let Err(error) = give_back(client, &restored).await {
                    let policy = restored.policy.key();
                    warn!(%policy, "the field manager could not be restored: {error}; the next upgrade can need --force-conflicts");
                }
                publish(recorder, &restored).await;
            }
        })
        .await;
}
