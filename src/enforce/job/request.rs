//! Sends the change of a Job or `CronJob` to the API server.

use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tracing::warn;

use super::{
    decide::JobChange,
    object::{Job, Key, MANAGER, Suspendable},
};
use crate::{
    api::SUSPENDED_LABEL,
    metrics::{Enforcement, EnforcementLabels, Metrics},
    policy::Accelerators,
    watch::{Lenient, is_transient, retry_delay},
};

pub(super) enum Patched {
    /// The Job after the patch.
    Is(Job),
    Refused,
    Overloaded,
}

/// The patch for `change`. The patch contains the resource version of `job`, so that it cannot overwrite a concurrent
/// suspension by a user.
pub(super) fn patch(job: &Job, change: JobChange) -> Patch<serde_json::Value> {
    let (spec, label) = match change {
        JobChange::Suspend => (json!({ "suspend": true }), json!("true")),
        JobChange::Resume => (json!({ "suspend": false }), json!(null)),
        JobChange::HandBack => (json!({}), json!(null)),
    };
    Patch::Merge(json!({
        "metadata": {
            "uid": job.uid,
            "resourceVersion": job.resource_version,
            "labels": { SUSPENDED_LABEL: label },
        },
        "spec": spec,
    }))
}

pub(super) async fn apply<K: Suspendable>(
    client: Client,
    key: &Key,
    patch: &Patch<serde_json::Value>,
    change: JobChange,
    (accelerators, metrics): (&Accelerators, &Metrics),
) -> Patched {
    let api: Api<Lenient<K>> = Api::namespaced(client, &key.namespace);
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let result = api.patch(&key.name, &params, patch).await;
    let action = match change {
        JobChange::Suspend => Enforcement::Suspend,
        JobChange::Resume | JobChange::HandBack => Enforcement::Resume,
    };
    metrics.enforcements.get_or_create(&EnforcementLabels { action, done: result.is_ok() }).inc();
    match result {
        Ok(Lenient(Ok(job))) => Patched::Is(job.read(accelerators)),
        // The patch succeeded, but this program cannot read the Job in the response. As after a refusal, the operator
        // decides again when the watch delivers the Job.
        Ok(Lenient(Err(_))) => Patched::Refused,
        Err(error) if is_transient(&error) => Patched::Overloaded,
        Err(error) => {
            // A conflict or a deletion is no reason to warn, because the watch then delivers the new state of the Job.
            if !matches!(&error, kube::Error::Api(answer) if matches!(answer.code, 404 | 409)) {
                warn!(
                    namespace = key.namespace,
                    job = key.name,
                    ?change,
                    "the change failed: {error}; retrying in about 1 s"
                );
            }
            retry_delay().await;
            Patched::Refused
        }
    }
}
