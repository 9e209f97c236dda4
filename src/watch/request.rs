//! Requests whose answer is not needed: the API server has done them, whether its answer can be read or not.
//!
//! The answer to a write is the whole object. Whoever may patch an object could otherwise make each write of the
//! operator look like a failure.

use kube::{
    Client, Resource,
    api::{DeleteParams, Patch, PatchParams},
    core::Request,
};
use serde::Serialize;

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

/// Patches the status of an object; `path` is that of its kind in its namespace.
pub(crate) async fn patch_status<P: Serialize>(
    client: &Client,
    path: &str,
    name: &str,
    params: &PatchParams,
    patch: &Patch<P>,
) -> Result<(), kube::Error> {
    let request = Request::new(path).patch_subresource("status", name, params, patch);
    client.request_text(request.map_err(kube::Error::BuildRequest)?).await.map(drop)
}
