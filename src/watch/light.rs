//! Types that parse only a part of an object. A skipped field needs no memory and cannot make the object unreadable.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::Namespace,
    apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, OwnerReference, Time},
};
use kube::{Resource, core::ObjectMeta};
use serde::Deserialize;

/// The metadata without `managedFields`. The `managedFields` are half of the bytes that the API server sends. A user
/// who may patch an object may write any text into its `managedFields`, and so could make the object unreadable.
#[derive(Deserialize)]
#[serde(remote = "ObjectMeta", rename_all = "camelCase")]
pub(crate) struct Metadata {
    annotations: Option<BTreeMap<String, String>>,
    creation_timestamp: Option<Time>,
    deletion_grace_period_seconds: Option<i64>,
    deletion_timestamp: Option<Time>,
    finalizers: Option<Vec<String>>,
    generate_name: Option<String>,
    generation: Option<i64>,
    labels: Option<BTreeMap<String, String>>,
    #[serde(skip)]
    managed_fields: Option<Vec<ManagedFieldsEntry>>,
    name: Option<String>,
    namespace: Option<String>,
    owner_references: Option<Vec<OwnerReference>>,
    resource_version: Option<String>,
    self_link: Option<String>,
    uid: Option<String>,
}

#[derive(Resource, Clone, Debug, Deserialize)]
#[resource(inherit = "Namespace")]
pub(crate) struct NamespaceMeta {
    #[serde(with = "Metadata")]
    metadata: ObjectMeta,
}
