//! Requests that do not fail because an object in the answer cannot be read.
//!
//! The answer to a write is the whole object. Whoever may patch an object could otherwise make each write of the
//! operator look like a failure.

use kube::{
    Api, Client, Resource,
    api::{DeleteParams, ListParams, ObjectList, Patch, PatchParams},
    core::Request,
};
use serde::{Serialize, de::DeserializeOwned};

use super::Lenient;

/// Lists the objects that can be read. Others count as missing.
pub(crate) async fn list<K>(api: &Api<K>, params: &ListParams) -> Result<ObjectList<K>, kube::Error>
where
    K: Resource + Clone + DeserializeOwned,
{
    let request = Request::new(api.resource_url()).list(params).map_err(kube::Error::BuildRequest)?;
    let ObjectList { types, metadata, items }: ObjectList<Lenient<K>> =
        api.clone().into_client().request(request).await?;
    Ok(ObjectList { types, metadata, items: items.into_iter().filter_map(|object| object.0.ok()).collect() })
}

/// Deletes an object.
pub(crate) async fn delete<K: Resource<DynamicType = ()>>(
    client: &Client,
    namespace: &str,
    name: &str,
    params: &DeleteParams,
) -> Result<(), kube::Error> {
    let request = Request::new(K::url_path(&(), Some(namespace))).delete(name, params);
    client.request_text(request.map_err(kube::Error::BuildRequest)?).await.map(drop)
}

/// Patches the status of an object; `collection` is the path of its kind in its namespace.
pub(crate) async fn patch_status<P: Serialize>(
    client: &Client,
    collection: &str,
    name: &str,
    params: &PatchParams,
    patch: &Patch<P>,
) -> Result<(), kube::Error> {
    let request = Request::new(collection).patch_subresource("status", name, params, patch);
    client.request_text(request.map_err(kube::Error::BuildRequest)?).await.map(drop)
}
