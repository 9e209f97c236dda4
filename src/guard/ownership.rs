//! Gives the fields of a restored policy back to the field manager that installed the policy, such as Helm.
//!
//! `helm upgrade` uses server-side apply. Without this step, the next upgrade would report a conflict between the field
//! managers.

use std::fmt::Debug;

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, Time},
    jiff::Timestamp,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::ClusterResourceScope,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::restore::{MANAGER, Restored};
use crate::admission::PolicyObject;

/// Makes `restored.applier` the only manager of the policy.
pub(super) async fn give_back(client: &Client, restored: &Restored) -> Result<(), kube::Error> {
    match &restored.policy {
        PolicyObject::Mutating(policy) => set_manager(client, policy, &restored.applier).await,
        PolicyObject::MutatingBinding(policy) => set_manager(client, policy, &restored.applier).await,
        PolicyObject::Validating(policy) => set_manager(client, policy, &restored.applier).await,
        PolicyObject::ValidatingBinding(policy) => set_manager(client, policy, &restored.applier).await,
    }
}

async fn set_manager<K>(client: &Client, policy: &K, applier: &ManagedFieldsEntry) -> Result<(), kube::Error>
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

fn unite(fields: &mut Value, more: &Value) {
    if let (Value::Object(fields), Value::Object(more)) = (fields, more) {
        for (field, more) in more {
            unite(fields.entry(field).or_insert_with(|| json!({})), more);
        }
    }
}
