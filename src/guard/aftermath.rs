//! What can wait until a policy is back: that the release finds it as if it had never been away, and that
//! people are told.
//!
//! The fields of what was restored are signed over to who applied the release: the next `helm upgrade`, which
//! applies on the server's side, would meet a conflict otherwise.

use std::fmt::Debug;

use futures::{StreamExt, stream};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, Time},
    jiff::Timestamp,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::ClusterResourceScope,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tracing::warn;

use super::{CONCURRENCY, restore::MANAGER};
use crate::admission::Manifest;

/// A policy that was restored.
pub struct Restored {
    /// As it is now.
    pub policy: Manifest,
    /// What had become of it.
    pub what: String,
    /// Whose its fields are.
    pub applier: ManagedFieldsEntry,
}

/// Sees to what was restored, until nothing more will be.
pub async fn see_to(client: Client, mut restored: mpsc::UnboundedReceiver<Restored>) {
    let reporter = Reporter { controller: "assent.dev/operator".to_owned(), instance: None };
    let recorder = Recorder::new(client.clone(), reporter);
    let restored = stream::poll_fn(move |context| restored.poll_recv(context));
    restored
        .for_each_concurrent(CONCURRENCY, |restored| {
            let (client, recorder) = (client.clone(), recorder.clone());
            async move {
                if let Err(error) = sign_over(&client, &restored).await {
                    let policy = restored.policy.key();
                    warn!(%policy, "it may be that the next upgrade needs --force-conflicts: {error}");
                }
                tell(&recorder, &restored).await;
            }
        })
        .await;
}

async fn sign_over(client: &Client, restored: &Restored) -> Result<(), kube::Error> {
    match &restored.policy {
        Manifest::Mutating(policy) => own(client, policy, &restored.applier).await,
        Manifest::MutatingBinding(policy) => own(client, policy, &restored.applier).await,
        Manifest::Validating(policy) => own(client, policy, &restored.applier).await,
        Manifest::ValidatingBinding(policy) => own(client, policy, &restored.applier).await,
    }
}

/// Makes every field one of `applier`, as if nobody else had ever written.
async fn own<K>(client: &Client, policy: &K, applier: &ManagedFieldsEntry) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + DeserializeOwned + Debug,
{
    let mut fields = Value::Object(Map::new());
    let entries = policy.managed_fields().iter().filter(|entry| entry.subresource.is_none());
    entries.filter_map(|entry| entry.fields_v1.as_ref()).for_each(|more| unite(&mut fields, &more.0));
    let entry = ManagedFieldsEntry {
        api_version: Some(K::api_version(&()).into_owned()),
        fields_type: Some("FieldsV1".to_owned()),
        fields_v1: Some(FieldsV1(fields)),
        time: Some(Time(Timestamp::now())),
        manager: applier.manager.clone(),
        operation: applier.operation.clone(),
        subresource: None,
    };
    let patch = json!({ "metadata": { "uid": policy.uid(), "managedFields": [entry] } });
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    Api::<K>::all(client.clone()).patch(&policy.name_any(), &params, &Patch::Merge(patch)).await.map(drop)
}

/// Adds the fields of one set to another.
fn unite(fields: &mut Value, more: &Value) {
    if let (Value::Object(fields), Value::Object(more)) = (fields, more) {
        for (field, more) in more {
            unite(fields.entry(field).or_insert_with(|| json!({})), more);
        }
    }
}

async fn tell(recorder: &Recorder, restored: &Restored) {
    let event = Event {
        type_: EventType::Warning,
        reason: "PolicyRestored".to_owned(),
        note: Some(format!(
            "{}; pods that slipped in meanwhile are stopped; see what else was written: \
             kubectl get approvals,namespaces -A --sort-by=.metadata.creationTimestamp",
            restored.what
        )),
        action: "Restore".to_owned(),
        secondary: None,
    };
    if let Err(error) = recorder.publish(&event, &restored.policy.reference()).await {
        warn!(policy = %restored.policy.key(), "an Event was not taken: {error}");
    }
}
