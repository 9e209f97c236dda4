//! A pod as the watch reads it: without its `managedFields`, of which nothing is decided, and which are half of what
//! the API server sends and most of the work of reading it where there are a hundred thousand.
//!
//! ```text
//!  metadata ─► all but managedFields ─┐
//!  spec, status ──────────────────────┴─► Pod
//! ```

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Pod, PodSpec, PodStatus},
    apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, OwnerReference, Time},
};
use kube::{Resource, core::ObjectMeta};
use serde::Deserialize;

/// A pod whose `managedFields` were not read.
#[derive(Resource, Clone, Debug, Deserialize)]
#[resource(inherit = "Pod")]
pub struct Watched {
    #[serde(with = "Metadata")]
    metadata: ObjectMeta,
    spec: Option<PodSpec>,
    status: Option<PodStatus>,
}

#[derive(Deserialize)]
#[serde(remote = "ObjectMeta", rename_all = "camelCase")]
struct Metadata {
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

impl From<Watched> for Pod {
    fn from(Watched { metadata, spec, status }: Watched) -> Self {
        Self { metadata, spec, status }
    }
}
