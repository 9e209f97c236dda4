//! Writing what was compiled, and only what is not there already.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc};

use futures::{StreamExt, TryStreamExt};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use super::{
    Error,
    index::{Facts, Index},
    status::Statuses,
};
use crate::{
    api::{
        AISystem, Approval, CLEARANCE_NAME, Clearance, ClearanceSpec, ModelVersion, PODS_HELD, RiskLevel,
        RiskLevelStatus, TrustedSidecar, TrustedSidecarStatus,
    },
    watch::request,
};

/// The field manager of clearances and statuses.
const MANAGER: &str = "assent";

/// How many statuses of a namespace are written at the same time.
const CONCURRENCY: usize = 8;

/// Brings the `Clearance` of `namespace` to `wanted`, from the version that `facts` knows: an operator
/// that missed another's write gets a conflict and looks again. Returns whether it was somebody else who had
/// written or deleted it.
pub async fn clearance(
    client: &Client,
    index: &Index,
    namespace: &str,
    facts: &Facts,
    wanted: Option<ClearanceSpec>,
) -> Result<bool, Error> {
    let api: Api<Clearance> = Api::namespaced(client.clone(), namespace);
    let failed = |source| Error::Write { what: format!("clearance of namespace {namespace}"), source };
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    let anothers = index.is_anothers(namespace, facts.clearance.as_deref());
    match (wanted, &facts.clearance) {
        (None, None) => return Ok(false),
        (Some(wanted), Some(is)) if is.spec == wanted => return Ok(false),
        (Some(wanted), Some(is)) => {
            let mut next = Clearance::new(CLEARANCE_NAME, wanted);
            next.metadata.resource_version = is.resource_version();
            index.wrote(api.replace(CLEARANCE_NAME, &params, &next).await.map_err(failed)?);
        }
        (Some(wanted), None) => {
            let first = Clearance::new(CLEARANCE_NAME, wanted);
            index.wrote(api.create(&params, &first).await.map_err(failed)?);
        }
        (None, Some(_)) => {
            api.delete(CLEARANCE_NAME, &DeleteParams::default()).await.map_err(failed)?;
            index.withdrew(namespace);
        }
    }
    Ok(anothers)
}

/// Brings every status of a namespace to what was compiled.
pub async fn statuses(
    client: &Client,
    namespace: &str,
    facts: &Facts,
    statuses: Statuses,
) -> Result<(), Error> {
    let Statuses { mut systems, versions, approvals } = statuses;
    for (name, status) in &mut systems {
        // Counted elsewhere, under a field manager of its own.
        let Some(before) = facts.systems.get(name).and_then(|system| system.status.as_ref()) else {
            continue;
        };
        status.pods = before.pods;
        if let Some(at) = before.conditions.iter().position(|condition| condition.type_ == PODS_HELD) {
            let at_most = at.min(status.conditions.len());
            status.conditions.insert(at_most, before.conditions[at].clone());
        }
    }
    changed::<AISystem, _, _>(client, namespace, &facts.systems, systems, |s| s.status.as_ref()).await?;
    changed::<ModelVersion, _, _>(client, namespace, &facts.versions, versions, |v| v.status.as_ref())
        .await?;
    changed::<Approval, _, _>(client, namespace, &facts.approvals, approvals, |a| a.status.as_ref()).await
}

async fn changed<K, V, S>(
    client: &Client,
    namespace: &str,
    kept: &BTreeMap<String, Arc<V>>,
    wanted: BTreeMap<String, S>,
    status: fn(&V) -> Option<&S>,
) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    S: Serialize + PartialEq,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let differs = |(name, wanted): &(String, S)| kept.get(name).and_then(|o| status(o)) != Some(wanted);
    let writes = wanted.into_iter().filter(differs).map(|(name, wanted)| {
        let api = api.clone();
        async move { apply(&api, &name, &wanted).await }
    });
    futures::stream::iter(writes).buffer_unordered(CONCURRENCY).try_collect().await
}

/// Writes the status of a level if it is another.
pub async fn level_status(client: &Client, level: &RiskLevel, wanted: RiskLevelStatus) -> Result<(), Error> {
    if level.status.as_ref() == Some(&wanted) {
        return Ok(());
    }
    apply(&Api::<RiskLevel>::all(client.clone()), &level.name_any(), &wanted).await
}

/// Writes the status of a trusted sidecar if it is another.
pub async fn sidecar_status(
    client: &Client,
    sidecar: &TrustedSidecar,
    wanted: TrustedSidecarStatus,
) -> Result<(), Error> {
    if sidecar.status.as_ref() == Some(&wanted) {
        return Ok(());
    }
    apply(&Api::<TrustedSidecar>::all(client.clone()), &sidecar.name_any(), &wanted).await
}

async fn apply<K, S>(api: &Api<K>, name: &str, status: &S) -> Result<(), Error>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
    S: Serialize,
{
    let mut status = serde_json::to_value(status)
        .map_err(kube::Error::SerdeError)
        .map_err(|source| Error::Write { what: format!("status of {} {name}", K::kind(&())), source })?;
    status.as_object_mut().map(|fields| fields.remove("pods"));
    if let Some(conditions) = status["conditions"].as_array_mut() {
        conditions.retain(|condition| condition["type"] != PODS_HELD);
    }
    let object = json!({ "apiVersion": K::api_version(&()), "kind": K::kind(&()), "status": status });
    let (client, params) = (api.clone().into_client(), PatchParams::apply(MANAGER).force());
    let written =
        request::patch_status(&client, api.resource_url(), name, &params, &Patch::Apply(&object)).await;
    match written {
        // Deleted meanwhile: the watch will say so.
        Err(kube::Error::Api(answer)) if answer.code == 404 => Ok(()),
        Err(source) => Err(Error::Write { what: format!("status of {} {name}", K::kind(&())), source }),
        Ok(()) => Ok(()),
    }
}
