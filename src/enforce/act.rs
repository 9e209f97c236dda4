//! Sends the request of an [`Action`] to the API server: a patch, an eviction or a deletion. Each request contains the
//! UID of the pod, so it has no effect on another pod with the same name.

use std::time::{Duration, Instant};

use k8s_openapi::{api::core::v1 as core, jiff::Timestamp};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    core::Status,
};
use serde_json::json;
use tokio::time::timeout;
use tracing::warn;

use super::{
    action::{Action, ReleasedAs, Step},
    backup::keep,
    pod::{Pod, PodKey},
};
use crate::{
    admission::{RELEASE_MANAGER, RELEASE_WITHOUT_TIME},
    api::{DEADLINE_ANNOTATION, GATE, HELD_LABEL, RELEASED_ANNOTATION},
    metrics::{Enforcement, EnforcementLabels, Metrics},
    policy::Pin,
    watch::{Lenient, is_transient, request::delete},
};

/// The API of pods. A request succeeds even if this program cannot parse the pod in the response.
type Pods = Api<Lenient<core::Pod>>;

/// The longest timeout of a request. After a timeout, the operator retries the request.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

/// The shortest timeout of an eviction, even if the operator must delete the pod earlier.
const LEAST_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) enum ActionResult {
    /// The API server carried out the request. The watch of pods then delivers the changed pod.
    Ok(Action),
    /// The pod is gone, or another pod has its name.
    Gone,
    /// The API server refused the request, for example because of a disruption budget or a policy.
    NotNow(Action, String),
    /// The result is unknown: the API server may have carried out the request.
    Unclear(Action, String),
    /// The API server is overloaded or unavailable, or did not answer in time. It may have carried out the request.
    Overloaded(Action, String),
}

/// The timeout of a request. An eviction gets the time from `now` until the operator deletes the pod, but at least
/// [`LEAST_TIMEOUT`] and at most [`TIMEOUT`].
fn timeout_of(action: &Action, now: Timestamp) -> Duration {
    match action {
        Action::Stop(Step::Evict { until, .. }) => {
            let left = Duration::try_from(until.duration_since(now)).unwrap_or_default();
            left.clamp(LEAST_TIMEOUT, TIMEOUT)
        }
        _ => TIMEOUT,
    }
}

/// Carries out `action` on this pod, and not on another pod with the same name.
pub(super) async fn act(
    client: Client,
    key: &PodKey,
    pod: &Pod,
    action: Action,
    metrics: &Metrics,
) -> ActionResult {
    let begun = Instant::now();
    let limit = timeout_of(&action, Timestamp::now());
    let Ok(result) = timeout(limit, request(&client, key, pod, &action)).await else {
        return ActionResult::Overloaded(action, format!("the API server did not answer within {limit:.1?}"));
    };
    let kind = match action {
        Action::Release(_) => Enforcement::Release,
        Action::Stop(Step::Evict { .. }) => Enforcement::Evict,
        Action::Stop(Step::Delete { .. }) | Action::Replace(_) => Enforcement::Delete,
        Action::Bound(_) => Enforcement::Bound,
        Action::Roll => Enforcement::Roll,
    };
    metrics.enforcements.get_or_create(&EnforcementLabels { action: kind, done: result.is_ok() }).inc();
    match result {
        Ok(()) => {
            if kind == Enforcement::Release {
                metrics.release_seconds.observe(begun.elapsed().as_secs_f64());
            }
            ActionResult::Ok(action)
        }
        // A conflict means that another pod has the name.
        Err(kube::Error::Api(answer)) if answer.code == 404 || answer.code == 409 => ActionResult::Gone,
        Err(error) if is_transient(&error) => ActionResult::Overloaded(action, error.to_string()),
        Err(kube::Error::Api(answer)) if answer.code >= 500 => ActionResult::Unclear(action, answer.message),
        Err(kube::Error::Api(answer)) => ActionResult::NotNow(action, answer.message),
        Err(error) => ActionResult::Unclear(action, error.to_string()),
    }
}

async fn request(client: &Client, key: &PodKey, pod: &Pod, action: &Action) -> Result<(), kube::Error> {
    let (pods, name) = (Pods::namespaced(client.clone(), &key.namespace), &*key.name);
    let uid = &pod.uid.to_string();
    match action {
        Action::Release(released) => release(&pods, name, uid, released.as_ref()).await,
        Action::Replace(_) => delete::<core::Pod>(client, &key.namespace, name, &delete_params(0, uid)).await,
        Action::Bound(seconds) => bound(&pods, name, uid, *seconds).await,
        Action::Roll => {
            evict(&pods, name, &DeleteParams { grace_period_seconds: None, ..delete_params(0, uid) }).await
        }
        Action::Stop(Step::Evict { grace_period_seconds, .. }) => {
            keep_if_bare(client, key, pod).await?;
            evict(&pods, name, &delete_params(*grace_period_seconds, uid)).await
        }
        Action::Stop(Step::Delete { grace_period_seconds }) => {
            // If the backup fails, for example because of a quota, the pod must stop nevertheless.
            if let Err(error) = keep_if_bare(client, key, pod).await {
                warn!(namespace = &*key.namespace, pod = name, "deleted without a backup: {error}");
            }
            let params = delete_params(*grace_period_seconds, uid);
            delete::<core::Pod>(client, &key.namespace, name, &params).await
        }
    }
}

async fn keep_if_bare(client: &Client, key: &PodKey, pod: &Pod) -> Result<(), kube::Error> {
    if pod.owner.is_none() {
        keep(client, &key.namespace, &key.name, &pod.uid.to_string()).await?;
    }
    Ok(())
}

/// Removes the gate and the label, adds the approved digests to the images, and writes an annotation with the version
/// and the time. The annotation changes in
/// every request, so the API server records the time of this request in `managedFields`.
///
/// A policy refuses a release without this record ([`RELEASE_WITHOUT_TIME`]). The record is missing if a user emptied
/// `managedFields`, or if the other entries have later times and the API server dropped the oldest entry. A second
/// request then replaces `managedFields`, so the API server starts to record again.
async fn release(
    pods: &Pods,
    name: &str,
    uid: &str,
    released: Option<&ReleasedAs>,
) -> Result<(), kube::Error> {
    let version = released.map_or("ungoverned", |released| &released.version);
    let mut patch = json!({
        "metadata": {
            "uid": uid,
            "labels": { HELD_LABEL: null },
            "annotations": { RELEASED_ANNOTATION: format!("{version} {}", Timestamp::now()) },
        },
        "spec": { "schedulingGates": [{ "$patch": "delete", "name": GATE }] },
    });
    for (field, pins) in released.into_iter().flat_map(|released| {
        [("containers", &released.pins.containers), ("initContainers", &released.pins.init_containers)]
    }) {
        if !pins.is_empty() {
            let image = |pin: &Pin| json!({ "name": &*pin.name, "image": &*pin.image });
            patch["spec"][field] = pins.iter().map(image).collect();
        }
    }
    let params = PatchParams { field_manager: Some(RELEASE_MANAGER.to_owned()), ..PatchParams::default() };
    match pods.patch(name, &params, &Patch::Strategic(&patch)).await {
        Err(kube::Error::Api(answer)) if answer.message.contains(RELEASE_WITHOUT_TIME) => {
            patch["metadata"]["managedFields"] = json!([{
                "manager": "assent", "operation": "Update", "apiVersion": "v1",
                "fieldsType": "FieldsV1", "fieldsV1": { "f:spec": { "f:containers": {} } },
            }]);
            pods.patch(name, &params, &Patch::Strategic(&patch)).await.map(drop)
        }
        done => done.map(drop),
    }
}

/// Sets `activeDeadlineSeconds` of the pod. [`DEADLINE_ANNOTATION`] shows that the operator set this value.
async fn bound(pods: &Pods, name: &str, uid: &str, seconds: i64) -> Result<(), kube::Error> {
    let patch = json!({
        "metadata": { "uid": uid, "annotations": { DEADLINE_ANNOTATION: seconds.to_string() } },
        "spec": { "activeDeadlineSeconds": seconds },
    });
    pods.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
}

/// Evicts a pod without `Api::evict`. `Api::evict` of kube 5.0.0 sends the options as `delete_options`, and the API
/// server ignores a field of this name. So the grace period and the UID in the options would have no effect.
async fn evict(pods: &Pods, name: &str, options: &DeleteParams) -> Result<(), kube::Error> {
    let eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": name },
        "deleteOptions": options });
    pods.create_subresource::<_, Status>("eviction", name, &PostParams::default(), &eviction).await.map(drop)
}

fn delete_params(grace_period_seconds: u32, uid: &str) -> DeleteParams {
    DeleteParams {
        grace_period_seconds: Some(grace_period_seconds),
        preconditions: Some(Preconditions { uid: Some(uid.to_owned()), ..Preconditions::default() }),
        ..DeleteParams::default()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::SignedDuration;

    use super::*;

    #[test]
    fn eviction_leaves_the_deletion_its_time() {
        let now = Timestamp::UNIX_EPOCH;
        let evict = |seconds| {
            let until = now + SignedDuration::from_secs(seconds);
            timeout_of(&Action::Stop(Step::Evict { grace_period_seconds: 1, until }), now)
        };
        assert_eq!([evict(60), evict(2), evict(0), evict(-9)].map(|d| d.as_secs()), [5, 2, 1, 1]);
        let delete = Action::Stop(Step::Delete { grace_period_seconds: 1 });
        assert_eq!(timeout_of(&delete, now), TIMEOUT);
    }
}
