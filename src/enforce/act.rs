//! Doing what was decided, one request each.

use std::time::{Duration, Instant};

use k8s_openapi::{api::core::v1::Pod, jiff::Timestamp};
use kube::{
    Api, Client,
    api::{DeleteParams, EvictParams, Patch, PatchParams, Preconditions},
};
use serde_json::json;
use tokio::time::timeout;

use super::{decide::Step, roster::PodKey};
use crate::{
    admission::RELEASE_MANAGER,
    api::{GATE, HELD_LABEL, RELEASED_ANNOTATION},
    metrics::{Enforcement, EnforcementLabels, Metrics},
};

/// How long an answer may take; after it the same is tried again.
const PATIENCE: Duration = Duration::from_secs(5);

/// A request about one pod.
#[derive(Clone, Debug)]
pub enum Action {
    /// Lift its gate; for which version.
    Release(String),
    /// Stop it.
    Stop(Step),
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
    /// Not now: the API server has too much to do, or did not answer, and it may have been done all the same.
    Overloaded(Action, String),
}

/// Does `action` to the pod with `uid`, and to no other of its name.
pub async fn act(client: Client, key: &PodKey, uid: String, action: Action, metrics: &Metrics) -> Done {
    let pods: Api<Pod> = Api::namespaced(client, &key.namespace);
    let begun = Instant::now();
    let Ok(result) = timeout(PATIENCE, request(&pods, &key.name, uid, &action)).await else {
        return Done::Overloaded(action, format!("the API server did not answer within {PATIENCE:?}"));
    };
    let kind = match action {
        Action::Release(_) => Enforcement::Release,
        Action::Stop(Step::Evict { .. }) => Enforcement::Evict,
        Action::Stop(Step::Delete { .. }) => Enforcement::Delete,
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
        Err(kube::Error::Api(answer)) => Done::NotNow(action, answer.message),
        Err(error) => Done::Overloaded(action, error.to_string()),
    }
}

/// A disruption budget says "too many requests" too.
const fn is_overload(code: u16, action: &Action) -> bool {
    match action {
        Action::Stop(Step::Evict { .. }) => code >= 500,
        Action::Stop(Step::Delete { .. }) | Action::Release(_) => code == 429 || code >= 500,
    }
}

async fn request(pods: &Api<Pod>, name: &str, uid: String, action: &Action) -> Result<(), kube::Error> {
    match action {
        Action::Release(version) => release(pods, name, &uid, version).await,
        Action::Stop(Step::Evict { grace_period_seconds, .. }) => {
            let delete_options = Some(delete_params(*grace_period_seconds, uid));
            let params = EvictParams { delete_options, ..EvictParams::default() };
            pods.evict(name, &params).await.map(drop)
        }
        Action::Stop(Step::Delete { grace_period_seconds }) => {
            pods.delete(name, &delete_params(*grace_period_seconds, uid)).await.map(drop)
        }
    }
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

fn delete_params(grace_period_seconds: u32, uid: String) -> DeleteParams {
    DeleteParams {
        grace_period_seconds: Some(grace_period_seconds),
        preconditions: Some(Preconditions { uid: Some(uid), ..Preconditions::default() }),
        ..DeleteParams::default()
    }
}
