//! Doing what was decided, one request each.

use std::time::{Duration, Instant};

use k8s_openapi::{api::core::v1::Pod, jiff::Timestamp};
use kube::{
    Api, Client,
    api::{DeleteParams, EvictParams, Patch, PatchParams, Preconditions},
};
use serde_json::json;
use tokio::time::timeout;
use tracing::warn;

use super::{decide::Step, keep::keep, roster::PodKey};
use crate::{
    admission::RELEASE_MANAGER,
    api::{DEADLINE_ANNOTATION, GATE, HELD_LABEL, RELEASED_ANNOTATION},
    metrics::{Enforcement, EnforcementLabels, Metrics},
};

/// How long an answer may take; after it the same is tried again.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A request about one pod.
#[derive(Clone, Debug)]
pub enum Action {
    /// Lift its gate; for which version.
    Release(String),
    /// Stop it.
    Stop(Step),
    /// Delete it, held as it is, so that its controller makes another.
    Replace,
    /// Have it end so many seconds after its start.
    Bound(i64),
    /// Evict it, in its own time, so that its controller makes another that may run for longer.
    Roll,
}

/// Whom it is done to.
#[derive(Clone, Debug)]
pub struct Target {
    pub key: PodKey,
    pub uid: String,
    /// No controller makes another in its place.
    pub is_bare: bool,
}

/// What came of an action.
#[derive(Debug)]
pub enum Done {
    /// The API server did it; the watch will tell.
    Ok(Action),
    /// The pod is gone, or is another one by now.
    Gone,
    /// Not now: a budget or a policy.
    NotNow(Action, String),
    /// Not now: the API server has too much to do.
    Overloaded(Action, String),
}

/// Does `action` to the pod, and to no other of its name.
pub async fn act(client: Client, target: &Target, action: Action, metrics: &Metrics) -> Done {
    let begun = Instant::now();
    let Ok(result) = timeout(PATIENCE, request(&client, target, &action)).await else {
        return Done::Overloaded(action, format!("the API server did not answer within {PATIENCE:?}"));
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
        Err(kube::Error::Api(answer)) if is_overload(answer.code, &action) => {
            Done::Overloaded(action, answer.message)
        }
        Err(error) => Done::NotNow(action, error.to_string()),
    }
}

/// A disruption budget says "too many requests" too.
const fn is_overload(code: u16, action: &Action) -> bool {
    match action {
        Action::Stop(Step::Evict { .. }) | Action::Roll => code >= 500,
        Action::Stop(Step::Delete { .. }) | Action::Release(_) | Action::Replace | Action::Bound(_) => {
            code == 429 || code >= 500
        }
    }
}

async fn request(client: &Client, target: &Target, action: &Action) -> Result<(), kube::Error> {
    let Target { key, uid, .. } = target;
    let (pods, name) = (Api::<Pod>::namespaced(client.clone(), &key.namespace), &*key.name);
    match action {
        Action::Release(version) => release(&pods, name, uid, version).await,
        Action::Replace => pods.delete(name, &delete_params(0, uid)).await.map(drop),
        Action::Bound(seconds) => bound(&pods, name, uid, *seconds).await,
        Action::Roll => {
            let delete_options = Some(DeleteParams { grace_period_seconds: None, ..delete_params(0, uid) });
            pods.evict(name, &EvictParams { delete_options, ..EvictParams::default() }).await.map(drop)
        }
        Action::Stop(Step::Evict { grace_period_seconds, .. }) => {
            keep_if_bare(client, target).await?;
            let delete_options = Some(delete_params(*grace_period_seconds, uid));
            let params = EvictParams { delete_options, ..EvictParams::default() };
            pods.evict(name, &params).await.map(drop)
        }
        Action::Stop(Step::Delete { grace_period_seconds }) => {
            // A quota must not keep it running.
            if let Err(error) = keep_if_bare(client, target).await {
                warn!(namespace = &*key.namespace, pod = name, "deleted without being kept: {error}");
            }
            pods.delete(name, &delete_params(*grace_period_seconds, uid)).await.map(drop)
        }
    }
}

async fn keep_if_bare(client: &Client, target: &Target) -> Result<(), kube::Error> {
    if target.is_bare {
        keep(client, &target.key.namespace, &target.key.name, &target.uid).await?;
    }
    Ok(())
}

/// Lifts the gate and the label, and notes for which version and when: the note is what makes the API
/// server write the time of this request beside the field manager, and so it is never the same twice.
async fn release(pods: &Api<Pod>, name: &str, uid: &str, version: &str) -> Result<(), kube::Error> {
    let patch = json!({
        "metadata": {
            "uid": uid,
            "labels": { HELD_LABEL: null },
            "annotations": { RELEASED_ANNOTATION: format!("{version} {}", Timestamp::now()) },
        },
        "spec": { "schedulingGates": [{ "$patch": "delete", "name": GATE }] },
    });
    let params = PatchParams { field_manager: Some(RELEASE_MANAGER.to_owned()), ..PatchParams::default() };
    pods.patch(name, &params, &Patch::Strategic(patch)).await.map(drop)
}

/// Has the kubelet end it, and notes that it was us.
async fn bound(pods: &Api<Pod>, name: &str, uid: &str, seconds: i64) -> Result<(), kube::Error> {
    let patch = json!({
        "metadata": { "uid": uid, "annotations": { DEADLINE_ANNOTATION: seconds.to_string() } },
        "spec": { "activeDeadlineSeconds": seconds },
    });
    pods.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
}

fn delete_params(grace_period_seconds: u32, uid: &str) -> DeleteParams {
    DeleteParams {
        grace_period_seconds: Some(grace_period_seconds),
        preconditions: Some(Preconditions { uid: Some(uid.to_owned()), ..Preconditions::default() }),
        ..DeleteParams::default()
    }
}
