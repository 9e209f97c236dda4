//! Doing what was decided, one request each.

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
    action::{Action, Step},
    keep::keep,
    pod::{Pod, PodKey},
};
use crate::{
    admission::{RELEASE_MANAGER, RELEASE_WITHOUT_TIME},
    api::{DEADLINE_ANNOTATION, GATE, HELD_LABEL, RELEASED_ANNOTATION},
    metrics::{Enforcement, EnforcementLabels, Metrics},
    watch::{Lenient, is_transient, request::delete},
};

/// Pods, whose answers need not be readable.
type Pods = Api<Lenient<core::Pod>>;

/// How long an answer may take; after it the same is tried again.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// How long it may take at least.
const LEAST_PATIENCE: Duration = Duration::from_secs(1);

/// What came of an action.
#[derive(Debug)]
pub enum Done {
    /// The API server did it; the watch will tell.
    Ok(Action),
    /// The pod is gone, or is another one by now.
    Gone,
    /// Not now: a budget or a policy.
    NotNow(Action, String),
    /// It may have been done, or not.
    Unclear(Action, String),
    /// Likewise, and the API server has too much to do.
    Overloaded(Action, String),
}

/// How long the answer may take. An eviction that is not answered must not take the time of the deletion after it.
fn patience_for(action: &Action, now: Timestamp) -> Duration {
    match action {
        Action::Stop(Step::Evict { until, .. }) => {
            let left = Duration::try_from(until.duration_since(now)).unwrap_or_default();
            left.clamp(LEAST_PATIENCE, PATIENCE)
        }
        _ => PATIENCE,
    }
}

/// Does `action` to the pod, and to no other of its name.
pub async fn act(client: Client, key: &PodKey, pod: &Pod, action: Action, metrics: &Metrics) -> Done {
    let begun = Instant::now();
    let patience = patience_for(&action, Timestamp::now());
    let Ok(result) = timeout(patience, request(&client, key, pod, &action)).await else {
        return Done::Overloaded(action, format!("the API server did not answer within {patience:.1?}"));
    };
    let kind = match action {
        Action::Release(_) => Enforcement::Release,
        Action::Stop(Step::Evict { .. }) => Enforcement::Evict,
        Action::Stop(Step::Delete { .. }) | Action::Replace => Enforcement::Delete,
        Action::Bound(_) => Enforcement::Bound,
        Action::Roll => Enforcement::Roll,
    };
    metrics.enforcements.get_or_create(&EnforcementLabels { action: kind, done: result.is_ok() }).inc();
    match result {
        Ok(()) => {
            if kind == Enforcement::Release {
                metrics.release_seconds.observe(begun.elapsed().as_secs_f64());
            }
            Done::Ok(action)
        }
        // Conflict: the name is another pod's by now.
        Err(kube::Error::Api(answer)) if answer.code == 404 || answer.code == 409 => Done::Gone,
        Err(error) if is_transient(&error) => Done::Overloaded(action, error.to_string()),
        Err(kube::Error::Api(answer)) if answer.code >= 500 => Done::Unclear(action, answer.message),
        Err(kube::Error::Api(answer)) => Done::NotNow(action, answer.message),
        Err(error) => Done::Unclear(action, error.to_string()),
    }
}

async fn request(client: &Client, key: &PodKey, pod: &Pod, action: &Action) -> Result<(), kube::Error> {
    let (pods, name) = (Pods::namespaced(client.clone(), &key.namespace), &*key.name);
    let uid = &pod.uid.to_string();
    match action {
        Action::Release(version) => {
            release(&pods, name, uid, version.as_deref().unwrap_or("ungoverned")).await
        }
        Action::Replace => delete::<core::Pod>(client, &key.namespace, name, &delete_params(0, uid)).await,
        Action::Bound(seconds) => bound(&pods, name, uid, *seconds).await,
        Action::Roll => {
            evict(&pods, name, &DeleteParams { grace_period_seconds: None, ..delete_params(0, uid) }).await
        }
        Action::Stop(Step::Evict { grace_period_seconds, .. }) => {
            keep_if_bare(client, key, pod).await?;
            evict(&pods, name, &delete_params(*grace_period_seconds, uid)).await
        }
        Action::Stop(Step::Delete { grace_period_seconds }) => {
            // A quota must not keep it running.
            if let Err(error) = keep_if_bare(client, key, pod).await {
                warn!(namespace = &*key.namespace, pod = name, "deleted without being kept: {error}");
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

/// Lifts the gate and the label, and notes for which version and when: the note is what makes the API
/// server write the time of this request beside the field manager, and so it is never the same twice.
///
/// The API server tracks no managers of a pod whose `managedFields` somebody emptied, and drops the newest entry
/// where others have times in the future. Then a second request brings an entry of its own to start tracking anew.
async fn release(pods: &Pods, name: &str, uid: &str, version: &str) -> Result<(), kube::Error> {
    let mut patch = json!({
        "metadata": {
            "uid": uid,
            "labels": { HELD_LABEL: null },
            "annotations": { RELEASED_ANNOTATION: format!("{version} {}", Timestamp::now()) },
        },
        "spec": { "schedulingGates": [{ "$patch": "delete", "name": GATE }] },
    });
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

/// Has the kubelet end it, and notes that it was us.
async fn bound(pods: &Pods, name: &str, uid: &str, seconds: i64) -> Result<(), kube::Error> {
    let patch = json!({
        "metadata": { "uid": uid, "annotations": { DEADLINE_ANNOTATION: seconds.to_string() } },
        "spec": { "activeDeadlineSeconds": seconds },
    });
    pods.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
}

/// Evicts a pod. `Api::evict` of kube 5.0.0 sends the options as `delete_options`, which the API server ignores:
/// the pod would end with its own grace, and another pod of its name would be evicted in its place.
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
    fn an_eviction_is_given_up_when_its_time_is_over() {
        let now = Timestamp::UNIX_EPOCH;
        let evict = |seconds| {
            let until = now + SignedDuration::from_secs(seconds);
            patience_for(&Action::Stop(Step::Evict { grace_period_seconds: 1, until }), now)
        };
        assert_eq!([evict(60), evict(2), evict(0), evict(-9)].map(|d| d.as_secs()), [5, 2, 1, 1]);
        let delete = Action::Stop(Step::Delete { grace_period_seconds: 1 });
        assert_eq!(patience_for(&delete, now), PATIENCE);
    }
}
