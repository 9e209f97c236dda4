//! Reads objects as JSON without kubectl, because tests poll often and each kubectl process costs a quarter of a second
//! of CPU time. The names of kinds are those of kubectl.

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
    /// The result of the last discovery. A request for a kind that is not in this result causes a new discovery.
    kinds: Mutex<Vec<(ApiResource, Scope)>>,
}

impl Reader {
    pub fn new(client: Client) -> Self {
        Self { client, kinds: Mutex::default() }
    }

    /// Reads one object. Ignores `namespace` for cluster-scoped kinds.
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

    /// Whether the object of a manifest exists.
    pub async fn has(&self, manifest: &Value) -> Result<bool> {
        let name = manifest["metadata"]["name"].as_str().context("a manifest without a name")?;
        let request = Request::new(self.collection(manifest).await?).get(name, &GetParams::default())?;
        match self.request(&request).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
            Err(error) => Err(error).with_context(|| format!("reading {} {name}", manifest["kind"])),
        }
    }

    /// The API path of the collection that contains the object of a manifest.
    pub async fn collection(&self, manifest: &Value) -> Result<String> {
        let (version, kind) = (&manifest["apiVersion"], &manifest["kind"]);
        let is_same = |resource: &ApiResource| {
            *version == resource.api_version.as_str() && *kind == resource.kind.as_str()
        };
        let (resource, scope) = self.discovered(&format!("{kind} in {version}"), is_same).await?;
        let namespace = manifest["metadata"]["namespace"].as_str().unwrap_or("default");
        let namespace = (scope == Scope::Namespaced).then_some(namespace);
        Ok(DynamicObject::url_path(&resource, namespace))
    }

    /// Sends a request. Returns untyped JSON, because typed metadata cannot represent each time that the API server
    /// stores.
    async fn request(&self, request: &http::Request<Vec<u8>>) -> kube::Result<Value> {
        match self.client.request(request.clone()).await {
            // The idle connection may be closed, for example after a restart of the API server. So the reader tries
            // once more.
            Err(error) if !matches!(error, kube::Error::Api(_)) => self.client.request(request.clone()).await,
            answer => answer,
        }
    }

    /// The builder of requests for `kind`, and the API resource. `kind` is, for example, `pod`, `Pod`, `pods`,
    /// `deployments.apps` or `events.v1.events.k8s.io`.
    async fn api(&self, kind: &str, namespace: &str) -> Result<(Request, ApiResource)> {
        let name = kind.to_lowercase();
        let is_named = |resource: &ApiResource| {
            let ApiResource { group, version, kind, plural, .. } = resource;
            *plural == name
                || kind.to_lowercase() == name
                || format!("{plural}.{group}") == name
                || format!("{plural}.{version}.{group}") == name
        };
        let (resource, scope) = self.discovered(kind, is_named).await?;
        let namespace = (scope == Scope::Namespaced).then_some(namespace);
        Ok((Request::new(DynamicObject::url_path(&resource, namespace)), resource))
    }

    /// The first kind that `is_wanted` accepts. Only the error message uses `name`.
    async fn discovered(
        &self,
        name: &str,
        is_wanted: impl Fn(&ApiResource) -> bool,
    ) -> Result<(ApiResource, Scope)> {
        let find = || self.kinds().iter().find(|(resource, _)| is_wanted(resource)).cloned();
        if let Some(known) = find() {
            return Ok(known);
        }
        let discovered = Discovery::new(self.client.clone()).run_aggregated().await?;
        let kinds = |(resource, capabilities): (ApiResource, ApiCapabilities)| (resource, capabilities.scope);
        // The core group is first, so that `events` are those of the core group.
        let kinds = discovered.groups_alphabetical().into_iter().flat_map(|group| {
            group.versions().flat_map(|version| group.versioned_resources(version)).map(kinds)
        });
        *self.kinds() = kinds.collect();
        find().with_context(|| format!("the API server has no kind {name}"))
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
