//! Restores one policy with one request.

use std::{collections::BTreeMap, fmt::Debug};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams, PostParams},
    core::ClusterResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use super::release::Release;
use crate::admission::PolicyObject;

/// The field manager of the requests that restore policies.
pub const MANAGER: &str = "assent";

/// A restored policy, with the data for the follow-up work.
pub struct Restored {
    pub policy: PolicyObject,
    /// The change that the restore reverted, as text for the Event.
    pub what: String,
    /// The `managedFields` entry of the client that installed the chart.
    pub applier: ManagedFieldsEntry,
}

/// Creates the policy `wanted`, or overwrites the policy `found` with it. Returns the restored policy.
pub async fn restore(
    client: &Client,
    wanted: &PolicyObject,
    found: Option<&PolicyObject>,
    release: &Release,
) -> Result<PolicyObject, kube::Error> {
    let labels = found.map(|found| found.metadata().labels.clone().unwrap_or_default());
    match wanted {
        PolicyObject::Mutating(policy) => put(client, policy, labels, release).await.map(Into::into),
        PolicyObject::MutatingBinding(policy) => put(client, policy, labels, release).await.map(Into::into),
        PolicyObject::Validating(policy) => put(client, policy, labels, release).await.map(Into::into),
        PolicyObject::ValidatingBinding(policy) => put(client, policy, labels, release).await.map(Into::into),
    }
}

type Labels = BTreeMap<String, String>;

async fn put<K>(
    client: &Client,
    wanted: &K,
    labels: Option<Labels>,
    release: &Release,
) -> Result<K, kube::Error>
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope>,
    K: Clone + Serialize + DeserializeOwned + Debug,
{
    let api: Api<K> = Api::all(client.clone());
    match labels {
        None => create(&api, wanted.clone(), release).await,
        Some(labels) => overwrite(&api, wanted, labels).await,
    }
}

async fn create<K>(api: &Api<K>, mut policy: K, release: &Release) -> Result<K, kube::Error>
where
    K: Resource + Clone + Serialize + DeserializeOwned + Debug,
{
    policy.labels_mut().extend(release.labels());
    policy.annotations_mut().extend(release.annotations());
    policy.owner_references_mut().extend(release.owner());
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    api.create(&params, &policy).await
}

/// Replaces the whole spec, so that fields that another user added are removed too.
async fn overwrite<K>(api: &Api<K>, wanted: &K, mut labels: Labels) -> Result<K, kube::Error>
where
    K: Resource + Clone + Serialize + DeserializeOwned + Debug,
{
    labels.extend(wanted.labels().clone());
    let spec = serde_json::to_value(wanted).map_err(kube::Error::SerdeError)?["spec"].take();
    let patch = json!([
        { "op": "add", "path": "/metadata/labels", "value": labels },
        { "op": "add", "path": "/spec", "value": spec },
    ]);
    let patch = serde_json::from_value(patch).map_err(kube::Error::SerdeError)?;
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    api.patch(&wanted.name_any(), &params, &Patch::<()>::Json(patch)).await
}
