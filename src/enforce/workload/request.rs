//! Sends the requests that stop one workload, and that start it again.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, GroupVersionKind, Patch, PatchParams},
    discovery::pinned_kind,
};
use serde_json::{Value, json};
use tracing::warn;

use super::{
    super::{
        channels::StopRequest,
        owner::{OwnerRef, root_of},
    },
    record::{PreviousState, StoppedWorkload, delete_record, template_is_cleared, write_record},
};
use crate::{
    api::{ClearanceSpec, OnLossMode},
    policy::is_queued,
    watch::{Lenient, retry_delay},
};

/// Workloads of a kind that is known only at run time.
type WorkloadApi = Api<Lenient<DynamicObject>>;

/// The field manager of stops and starts only. So a field of this manager has the value that the last stop or start
/// wrote.
const MANAGER: &str = "assent-stop";

/// The name that the API server records for the manager of a field, if it does not know the manager.
const UNKNOWN_MANAGER: &str = "before-first-apply";

/// The number of starts by another user after which the operator no longer stops the workload.
const MAX_CONTESTS: u32 = 3;

pub(super) enum WorkloadResult {
    Stopped(StopRequest, StoppedWorkload),
    AlreadyStopped,
    /// The operator cannot stop the workload. The root is `Some` if the cause is [`MAX_CONTESTS`] starts by another
    /// user.
    NotSupported(StopRequest, Option<OwnerRef>),
    Started(Arc<str>, StoppedWorkload),
    /// The operator did not start the workload, because this Clearance does not clear the pods of the workload.
    NotCleared(Arc<str>, StoppedWorkload, Option<Arc<ClearanceSpec>>),
    /// Another user started, stopped or deleted the workload, so the operator does not start it.
    LeftAlone(Arc<str>, StoppedWorkload),
    StopFailed(StopRequest),
    StartFailed(Arc<str>, StoppedWorkload),
}

pub(super) async fn stop(
    client: Client,
    request: StopRequest,
    clearance: Option<Arc<ClearanceSpec>>,
    before: BTreeMap<String, StoppedWorkload>,
) -> WorkloadResult {
    let root = root_of(&client, &request.namespace, &request.owner).await;
    match try_stop(&client, &request, &root, clearance.as_deref(), before.get(&root.uid)).await {
        Ok(Attempt::Stopped(stopped)) => WorkloadResult::Stopped(request, stopped),
        Ok(Attempt::AlreadyStopped) => WorkloadResult::AlreadyStopped,
        Ok(Attempt::Contested) => WorkloadResult::NotSupported(request, Some(root)),
        Ok(Attempt::NotSupported) => WorkloadResult::NotSupported(request, None),
        // The workload is gone, its kind has no scale subresource, or the operator has no permission for its kind
        // because the chart value `workloads` does not list the kind.
        Err(kube::Error::Api(answer)) if matches!(answer.code, 403..=405) => {
            WorkloadResult::NotSupported(request, None)
        }
        Err(error) => {
            warn!(
                namespace = &*request.namespace,
                kind = root.kind,
                name = root.name,
                "cannot stop the workload: {error}; retrying in about 1 s"
            );
            retry_delay().await;
            WorkloadResult::StopFailed(request)
        }
    }
}

enum Attempt {
    Stopped(StoppedWorkload),
    AlreadyStopped,
    Contested,
    NotSupported,
}

async fn try_stop(
    client: &Client,
    request: &StopRequest,
    root: &OwnerRef,
    clearance: Option<&ClearanceSpec>,
    before: Option<&StoppedWorkload>,
) -> Result<Attempt, kube::Error> {
    let api = api_of(client, &request.namespace, root).await?;
    let object = api.get(&root.name).await?.readable()?;
    // During a rollout to a cleared version, only the pods of the old revision stop, not the workload. A queue clears
    // `spec.suspend` of an admitted workload at once, so a suspension would have no effect.
    let is_rolling_out = clearance.is_some_and(|c| template_is_cleared(root, &object, c));
    if is_rolling_out || request.mode == OnLossMode::Suspend && is_queued(object.labels()) {
        return Ok(Attempt::NotSupported);
    }
    let (was, resource_version) = read(&api, root, request.mode).await?;
    if is_stopped(was) {
        return Ok(Attempt::AlreadyStopped);
    }
    let put_back = before.map_or(0, |before| before.put_back + 1);
    if put_back >= MAX_CONTESTS {
        return Ok(Attempt::Contested);
    }
    let stopped = StoppedWorkload {
        root: root.clone(),
        system: request.system.to_string(),
        was,
        put_back,
        runtime: request.runtime.clone(),
        generation: object.metadata.generation,
    };
    write_record(client, &request.namespace, &stopped).await?;
    let to = match was {
        PreviousState::Replicas(_) => PreviousState::Replicas(0),
        PreviousState::Suspend(_) => PreviousState::Suspend(Some(true)),
    };
    let done = write(&api, root, to, resource_version).await?;
    Ok(if done { Attempt::Stopped(stopped) } else { Attempt::NotSupported })
}

pub(super) async fn start(
    client: Client,
    namespace: Arc<str>,
    stopped: StoppedWorkload,
    clearance: Option<Arc<ClearanceSpec>>,
) -> WorkloadResult {
    match try_start(&client, &namespace, &stopped, clearance.as_deref()).await {
        Ok(Outcome::Started) => WorkloadResult::Started(namespace, stopped),
        Ok(Outcome::NotCleared) => WorkloadResult::NotCleared(namespace, stopped, clearance),
        Ok(Outcome::LeftAlone) => WorkloadResult::LeftAlone(namespace, stopped),
        Err(error) => {
            let StoppedWorkload { root, .. } = &stopped;
            warn!(
                namespace = &*namespace,
                kind = root.kind,
                name = root.name,
                "cannot start the workload again: {error}; retrying in about 1 s"
            );
            retry_delay().await;
            WorkloadResult::StartFailed(namespace, stopped)
        }
    }
}

enum Outcome {
    Started,
    NotCleared,
    LeftAlone,
}

/// Starts a workload again, if its pods are cleared, and no other user set its replicas or `spec.suspend` after the
/// stop. If `clearance` is `None`, the namespace does not enforce, so the pods may start.
async fn try_start(
    client: &Client,
    namespace: &str,
    stopped: &StoppedWorkload,
    clearance: Option<&ClearanceSpec>,
) -> Result<Outcome, kube::Error> {
    let StoppedWorkload { root, was, .. } = stopped;
    let api = api_of(client, namespace, root).await?;
    let object = api
        .get_opt(&root.name)
        .await?
        .map(Lenient::readable)
        .transpose()?
        .filter(|object| object.uid().as_ref() == Some(&root.uid));
    let Some(object) = object else {
        delete_record(client, namespace, root).await?;
        return Ok(Outcome::LeftAlone);
    };
    // The record stays until the pods are cleared, because it counts the starts by other users.
    if clearance.is_some_and(|clearance| !stopped.may_start(&object, clearance, Timestamp::now())) {
        return Ok(Outcome::NotCleared);
    }
    let is_unchanged = nobody_else_set(&object, *was) && is_stopped(read(&api, root, (*was).into()).await?.0);
    if !is_unchanged {
        delete_record(client, namespace, root).await?;
        return Ok(Outcome::LeftAlone);
    }
    write(&api, root, *was, object.resource_version()).await?;
    delete_record(client, namespace, root).await?;
    Ok(Outcome::Started)
}

const fn is_stopped(state: PreviousState) -> bool {
    matches!(state, PreviousState::Replicas(0) | PreviousState::Suspend(Some(true)))
}

/// Whether no other manager set the field that the stop changed: `spec.replicas` or `spec.suspend`. After a scale to
/// zero, no manager owns `spec.replicas`, because `Scale` omits 0.
fn nobody_else_set(object: &DynamicObject, was: PreviousState) -> bool {
    let field = match was {
        PreviousState::Replicas(_) => "f:replicas",
        PreviousState::Suspend(_) => "f:suspend",
    };
    let is_other = |manager: Option<&str>| !matches!(manager, Some(MANAGER | UNKNOWN_MANAGER));
    let others = object.managed_fields().iter().filter(|entry| is_other(entry.manager.as_deref()));
    others.filter_map(|entry| entry.fields_v1.as_ref()).all(|fields| fields.0["f:spec"][field].is_null())
}

async fn api_of(client: &Client, namespace: &str, root: &OwnerRef) -> Result<WorkloadApi, kube::Error> {
    let (group, version) = root.api_version.split_once('/').unwrap_or(("", &root.api_version));
    let (resource, _) = pinned_kind(client, &GroupVersionKind::gvk(group, version, &root.kind)).await?;
    Ok(Api::namespaced_with(client.clone(), namespace, &resource))
}

/// Reads the state that `mode` changes, and the resource version of the workload.
async fn read(
    api: &WorkloadApi,
    root: &OwnerRef,
    mode: OnLossMode,
) -> Result<(PreviousState, Option<String>), kube::Error> {
    if mode == OnLossMode::ScaleDown {
        let scale = api.get_scale(&root.name).await?;
        let replicas = scale.spec.and_then(|spec| spec.replicas).unwrap_or_default();
        return Ok((PreviousState::Replicas(replicas), scale.metadata.resource_version));
    }
    let object = api.get(&root.name).await?.readable()?;
    Ok((PreviousState::Suspend(object.data["spec"]["suspend"].as_bool()), object.resource_version()))
}

/// Writes the state `wanted` of a workload, if the workload still has `resource_version`. Returns whether the workload
/// has the field that `wanted` sets.
async fn write(
    api: &WorkloadApi,
    root: &OwnerRef,
    wanted: PreviousState,
    resource_version: Option<String>,
) -> Result<bool, kube::Error> {
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let patch = |spec: Value| {
        Patch::Merge(
            json!({ "metadata": { "uid": root.uid, "resourceVersion": resource_version }, "spec": spec }),
        )
    };
    match wanted {
        PreviousState::Replicas(replicas) => {
            api.patch_scale(&root.name, &params, &patch(json!({ "replicas": replicas }))).await.map(|_| true)
        }
        PreviousState::Suspend(suspend) => {
            let object = api.patch(&root.name, &params, &patch(json!({ "suspend": suspend }))).await?;
            // An unreadable response is not an error, because the patch succeeded.
            Ok(object.0.map_or(true, |object| object.data["spec"]["suspend"].as_bool() == suspend))
        }
    }
}
