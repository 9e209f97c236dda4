//! Requests that tolerate an unreadable object in the response. Only [`get_opt`] returns an error for such an object.
//!
//! The API server answers a write with the whole object. So without this module, every write of the operator to an
//! unreadable object would return an error, although the write succeeds.

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::{
    Api, Client, Resource,
    api::{
        DeleteParams, GetParams, ListParams, ObjectList, PartialObjectMeta, Patch, PatchParams, PostParams,
    },
    core::Request,
};
use serde::{Serialize, de::DeserializeOwned};

use super::Lenient;
use crate::api::Approver;

/// Lists the readable objects. Unreadable objects count as missing.
pub(crate) async fn list<K>(api: &Api<K>, params: &ListParams) -> Result<ObjectList<K>, kube::Error>
where
    K: Resource + Clone + DeserializeOwned,
{
    let request = Request::new(api.resource_url()).list(params).map_err(kube::Error::BuildRequest)?;
    let ObjectList { types, metadata, items }: ObjectList<Lenient<K>> =
        api.clone().into_client().request(request).await?;
    Ok(ObjectList { types, metadata, items: items.into_iter().filter_map(|object| object.0.ok()).collect() })
}

pub(crate) async fn list_metadata<K>(
    api: &Api<K>,
    params: &ListParams,
) -> Result<Vec<PartialObjectMeta<K>>, kube::Error>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned,
{
    let request =
        Request::new(api.resource_url()).list_metadata(params).map_err(kube::Error::BuildRequest)?;
    let list: ObjectList<Lenient<PartialObjectMeta<K>>> = api.clone().into_client().request(request).await?;
    Ok(list.items.into_iter().filter_map(|object| object.0.ok()).collect())
}

/// Reads an object. Returns `None` if the object does not exist, and an error if the object is unreadable.
pub(crate) async fn get_opt<K>(api: &Api<K>, name: &str) -> Result<Option<K>, kube::Error>
where
    K: Resource + Clone + DeserializeOwned,
{
    let params = GetParams::default();
    let request = Request::new(api.resource_url()).get(name, &params).map_err(kube::Error::BuildRequest)?;
    match api.clone().into_client().request::<Lenient<K>>(request).await {
        Ok(object) => object.readable().map(Some),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Creates `object`, or replaces the stored object if `object` has a resource version.
pub(crate) async fn put<K>(api: &Api<K>, params: &PostParams, object: &K) -> Result<(), kube::Error>
where
    K: Resource + Clone + Serialize,
{
    let (request, body) = (Request::new(api.resource_url()), serde_json::to_vec(object));
    let body = body.map_err(kube::Error::SerdeError)?;
    let request = match (&object.meta().name, &object.meta().resource_version) {
        (Some(name), Some(_)) => request.replace(name, params, body),
        _ => request.create(params, body),
    };
    let request = request.map_err(kube::Error::BuildRequest)?;
    api.clone().into_client().request_text(request).await.map(drop)
}

pub(crate) async fn delete<K: Resource<DynamicType = ()>>(
    client: &Client,
    namespace: &str,
    name: &str,
    params: &DeleteParams,
) -> Result<(), kube::Error> {
    let request = Request::new(K::url_path(&(), Some(namespace))).delete(name, params);
    client.request_text(request.map_err(kube::Error::BuildRequest)?).await.map(drop)
}

/// Patches the status of an object. `collection` is the URL path of all objects of the same kind in the same namespace.
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

/// The user as whom the API server authenticates `client`.
pub(crate) async fn myself(client: &Client) -> Result<Approver, kube::Error> {
    let api = Api::<SelfSubjectReview>::all(client.clone());
    let review = api.create(&PostParams::default(), &SelfSubjectReview::default()).await?;
    Ok(review.status.and_then(|status| status.user_info).unwrap_or_default().into())
}
