//! Reads objects as JSON without kubectl. Tests poll often, and each kubectl process costs a quarter of a second of CPU
//! time. Callers name a kind as they do for kubectl.

use std::sync::Mutex;

use anyhow::{Context as _, Result};
use kube::api::{DynamicObject, ListParams};
use kube::core::ApiResource;
use kube::discovery::{ApiCapabilities, Discovery, Scope};
use kube::{Api, Client, ResourceExt as _};
use serde_json::Value;

/// A client that finds the API of a kind by discovery.
pub struct Reader {
    client: Client,
    /// The result of the last discovery. A request for a kind that is not in it causes a new discovery.
    kinds: Mutex<Vec<(ApiResource, Scope)>>,
}

impl Reader {
    /// A reader with the rights of `client`.
    pub fn new(client: Client) -> Self {
        Self { client, kinds: Mutex::default() }
    }

    /// Reads one object. `namespace` is not used for cluster-scoped kinds.
    pub async fn get(&self, kind: &str, namespace: &str, name: &str) -> Result<Value> {
        let (api, resource) = self.api(kind, namespace).await?;
        let object = match api.get(name).await {
            // The API server may have closed the idle connection, for example because it restarted. So the read is
            // tried again.
            Err(error) if !matches!(error, kube::Error::Api(_)) => api.get(name).await,
            read => read,
        };
        shown(object.with_context(|| format!("reading {kind} {name}"))?, &resource)
    }

    /// Lists the objects that have the labels of `selector`, which may be empty.
    pub async fn list(&self, kind: &str, namespace: &str, selector: &str) -> Result<Vec<Value>> {
        let (api, resource) = self.api(kind, namespace).await?;
        let wanted = ListParams::default().labels(selector);
        let objects = match api.list(&wanted).await {
            Err(error) if !matches!(error, kube::Error::Api(_)) => api.list(&wanted).await,
            read => read,
        };
        let objects = objects.with_context(|| format!("listing {kind}"))?;
        objects.items.into_iter().map(|object| shown(object, &resource)).collect()
    }

    async fn api(&self, kind: &str, namespace: &str) -> Result<(Api<DynamicObject>, ApiResource)> {
        if self.find(kind).is_none() {
            let discovered = Discovery::new(self.client.clone()).run_aggregated().await?;
            let kinds =
                |(resource, capabilities): (ApiResource, ApiCapabilities)| (resource, capabilities.scope);
            let kinds = discovered.groups().flat_map(|group| {
                group.versions().flat_map(|version| group.versioned_resources(version)).map(kinds)
            });
            *self.kinds() = kinds.collect();
        }
        let (resource, scope) =
            self.find(kind).with_context(|| format!("the API server has no kind {kind}"))?;
        let api = match scope {
            Scope::Namespaced => Api::namespaced_with(self.client.clone(), namespace, &resource),
            Scope::Cluster => Api::all_with(self.client.clone(), &resource),
        };
        Ok((api, resource))
    }

    /// The kind with this name. The name is, for example, `pod`, `Pod`, `pods`, `deployments.apps` or
    /// `events.v1.events.k8s.io`.
    fn find(&self, name: &str) -> Option<(ApiResource, Scope)> {
        let name = name.to_lowercase();
        let is_named = |(resource, _): &&(ApiResource, Scope)| {
            let ApiResource { group, version, kind, plural, .. } = resource;
            *plural == name
                || kind.to_lowercase() == name
                || format!("{plural}.{group}") == name
                || format!("{plural}.{version}.{group}") == name
        };
        self.kinds().iter().find(is_named).cloned()
    }

    fn kinds(&self) -> std::sync::MutexGuard<'_, Vec<(ApiResource, Scope)>> {
        self.kinds.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The object as `kubectl get -o json` prints it: with its kind, and without managed fields.
fn shown(mut object: DynamicObject, resource: &ApiResource) -> Result<Value> {
    object.managed_fields_mut().clear();
    let mut shown = serde_json::to_value(object)?;
    shown["apiVersion"] = resource.api_version.clone().into();
    shown["kind"] = resource.kind.clone().into();
    Ok(shown)
}
