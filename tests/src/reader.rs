//! Reads objects as JSON without kubectl. Tests poll often, and each kubectl process costs a quarter of a second of CPU
//! time. Callers name a kind as they do for kubectl.

use std::sync::Mutex;

use anyhow::{Context as _, Result, bail};
use kube::api::{DynamicObject, ListParams};
use kube::core::params::GetParams;
use kube::core::{ApiResource, Request};
use kube::discovery::{ApiCapabilities, Discovery, Scope};
use kube::{Client, Resource as _};
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
        let object = self.request(&api.get(name, &GetParams::default())?).await;
        Ok(shown(object.with_context(|| format!("reading {kind} {name}"))?, &resource))
    }

    /// Lists the objects that have the labels of `selector`, which may be empty.
    pub async fn list(&self, kind: &str, namespace: &str, selector: &str) -> Result<Vec<Value>> {
        let (api, resource) = self.api(kind, namespace).await?;
        let list = self.request(&api.list(&ListParams::default().labels(selector))?).await;
        let mut list = list.with_context(|| format!("listing {kind}"))?;
        let Value::Array(objects) = list["items"].take() else {
            bail!("a list of {kind} without items: {list}")
        };
        Ok(objects.into_iter().map(|object| shown(object, &resource)).collect())
    }

    /// The answer as JSON. Typed metadata cannot hold some times that the API server stores, such as the year 9999.
    async fn request(&self, request: &http::Request<Vec<u8>>) -> kube::Result<Value> {
        match self.client.request(request.clone()).await {
            // The API server may have closed the idle connection, for example because it restarted. So the read is
            // tried again.
            Err(error) if !matches!(error, kube::Error::Api(_)) => self.client.request(request.clone()).await,
            answer => answer,
        }
    }

    /// The builder of requests for `kind`, and the API resource of the kind.
    async fn api(&self, kind: &str, namespace: &str) -> Result<(Request, ApiResource)> {
        if self.find(kind).is_none() {
            let discovered = Discovery::new(self.client.clone()).run_aggregated().await?;
            let kinds =
                |(resource, capabilities): (ApiResource, ApiCapabilities)| (resource, capabilities.scope);
            // The core group is first, so that `events` are those of the core group.
            let kinds = discovered.groups_alphabetical().into_iter().flat_map(|group| {
                group.versions().flat_map(|version| group.versioned_resources(version)).map(kinds)
            });
            *self.kinds() = kinds.collect();
        }
        let (resource, scope) =
            self.find(kind).with_context(|| format!("the API server has no kind {kind}"))?;
        let namespace = (scope == Scope::Namespaced).then_some(namespace);
        Ok((Request::new(DynamicObject::url_path(&resource, namespace)), resource))
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
fn shown(mut object: Value, resource: &ApiResource) -> Value {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    object["apiVersion"] = resource.api_version.clone().into();
    object["kind"] = resource.kind.clone().into();
    object
}
