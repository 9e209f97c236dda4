//! Writes the statuses that changed. A failed write does not stop the other writes.
//!
//! If the API server refuses a status, the operator writes only its conditions, with short messages. If the API server
//! refuses these too, the operator logs the error, and the stored status stays out of date. The operator does not send
//! a refused status again for ten minutes.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc};

use futures::StreamExt;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tracing::warn;

use super::{
    Error,
    fingerprint::fingerprint,
    index::NamespaceFacts,
    refused::{Refused, answer, is_refusal},
    status::Statuses,
    stored_status::{StoredStatus, owned_fields},
    write::MANAGER,
};
use crate::{
    api::{
        AISystem, Approval, Assessment, Incident, ModelVersion, Override, RiskLevel, RiskLevelStatus,
        TrustedSidecar, TrustedSidecarStatus,
    },
    metrics::Metrics,
    truncate::shorten,
    watch::request,
};

/// The maximum number of statuses of one namespace that the operator writes at the same time.
const CONCURRENCY: usize = 8;

/// The maximum size of a condition's message in bytes, after the API server refused the whole status.
const SHORT_MESSAGE: usize = 256;

#[derive(Clone, Copy)]
pub struct Writer<'a> {
    pub client: &'a Client,
    pub refused: &'a Refused,
    pub metrics: &'a Metrics,
}

impl Writer<'_> {
    pub async fn statuses(
        self,
        namespace: &str,
        facts: &NamespaceFacts,
        statuses: Statuses,
    ) -> Result<(), Error> {
        let Statuses { systems, versions, approvals, assessments, incidents, overrides, failing: _ } =
            statuses;
        let systems = self
            .changed::<AISystem, _, _>(namespace, &facts.systems, systems, |s| of(s.status.as_ref()))
            .await;
        let versions = self
            .changed::<ModelVersion, _, _>(namespace, &facts.versions, versions, |v| of(v.status.as_ref()))
            .await;
        let approvals = self
            .changed::<Approval, _, _>(namespace, &facts.approvals, approvals, |a| of(a.status.as_ref()))
            .await;
        let assessments = self
            .changed::<Assessment, _, _>(namespace, &facts.assessments, assessments, |a| {
                of(a.status.as_ref())
            })
            .await;
        let incidents = self
            .changed::<Incident, _, _>(namespace, &facts.incidents, incidents, |i| of(i.status.as_ref()))
            .await;
        let overrides = self
            .changed::<Override, _, _>(namespace, &facts.overrides, overrides, |o| of(o.status.as_ref()))
            .await;
        systems.and(versions).and(approvals).and(assessments).and(incidents).and(overrides)
    }

    /// Writes the statuses in `wanted` that differ from the stored statuses. Returns an error if a write failed.
    async fn changed<K, V, S>(
        self,
        namespace: &str,
        objects: &BTreeMap<String, Arc<V>>,
        wanted: BTreeMap<String, S>,
        stored: fn(&V) -> Option<u64>,
    ) -> Result<(), Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
        S: Serialize,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let writes = wanted.into_iter().map(|(name, wanted)| {
            let (api, current) = (api.clone(), objects.get(&name).and_then(|object| stored(object)));
            async move { self.write(&api, (namespace, &name), current, &wanted).await }
        });
        let results: Vec<_> = futures::stream::iter(writes).buffer_unordered(CONCURRENCY).collect().await;
        results.into_iter().collect()
    }

    pub async fn level(self, level: &RiskLevel, wanted: &RiskLevelStatus) -> Result<(), Error> {
        let api: Api<RiskLevel> = Api::all(self.client.clone());
        self.write(&api, ("", &level.name_any()), whole(level.status.as_ref()), wanted).await
    }

    pub async fn sidecar(self, sidecar: &TrustedSidecar, wanted: &TrustedSidecarStatus) -> Result<(), Error> {
        let api: Api<TrustedSidecar> = Api::all(self.client.clone());
        self.write(&api, ("", &sidecar.name_any()), whole(sidecar.status.as_ref()), wanted).await
    }

    async fn write<K, S>(
        self,
        api: &Api<K>,
        (namespace, name): (&str, &str),
        stored: Option<u64>,
        wanted: &S,
    ) -> Result<(), Error>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
        S: Serialize,
    {
        // Compare without the characters that the API server refuses, because no stored status has them.
        let status = owned_fields(wanted);
        if stored == Some(fingerprint(&status)) {
            return Ok(());
        }
        let kind = K::kind(&());
        let failed = |source| Error::Write { what: format!("status of {kind} {name}"), source };
        let (object, text) = (format!("{kind} {namespace}/{name}"), without_times(&status).to_string());
        if self.refused.has_status(&object, &text) {
            return Ok(());
        }
        let Some(refusal) = apply(api, name, &status).await.map_err(failed)? else { return Ok(()) };
        self.metrics.refused(&kind);
        warn!(
            kind = &*kind,
            namespace, name, "the API server refused the status: {refusal}; writing its conditions only"
        );
        if let Some(refusal) = apply(api, name, &in_short(&status)).await.map_err(failed)? {
            warn!(
                kind = &*kind,
                namespace,
                name,
                "the API server refused the conditions too: {refusal}; the status is out of date"
            );
        }
        self.refused.note_status(&object, &text);
        Ok(())
    }
}

/// The fingerprint of a stored status of which the operator caches only a part.
fn of<S>(stored: Option<&StoredStatus<S>>) -> Option<u64> {
    stored.map(StoredStatus::fingerprint)
}

/// The fingerprint of a stored status that the operator caches as a whole.
fn whole<S: Serialize>(status: Option<&S>) -> Option<u64> {
    status.map(|status| fingerprint(&owned_fields(status)))
}

/// The status without the times of its conditions. Until a status is stored, each compile gives it new times. Without
/// the times, the operator recognises the refused status.
fn without_times(status: &Value) -> Value {
    let mut status = status.clone();
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        condition.as_object_mut().map(|fields| fields.remove("lastTransitionTime"));
    }
    status
}

/// The conditions of a status, with short messages in ASCII.
fn in_short(status: &Value) -> Value {
    let mut conditions = status["conditions"].clone();
    for condition in conditions.as_array_mut().into_iter().flatten() {
        let message = condition["message"].as_str().unwrap_or_default();
        let ascii = message.replace(|char: char| !char.is_ascii() || "&<>".contains(char), "?");
        condition["message"] = json!(shorten(ascii, SHORT_MESSAGE));
    }
    json!({ "observedGeneration": status["observedGeneration"], "conditions": conditions })
}

/// Applies a status. Returns the error message if the API server refused the content of the status, or else `None`.
async fn apply<K>(api: &Api<K>, name: &str, status: &Value) -> Result<Option<String>, kube::Error>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let object = json!({ "apiVersion": K::api_version(&()), "kind": K::kind(&()), "status": status });
    let (client, params) = (api.clone().into_client(), PatchParams::apply(MANAGER).force());
    let patch = Patch::Apply(&object);
    match request::patch_status(&client, api.resource_url(), name, &params, &patch).await {
        // The object was deleted in the meantime. The watch delivers the deletion.
        Err(kube::Error::Api(answer)) if answer.code == 404 => Ok(None),
        Err(error) if is_refusal(&error) => Ok(Some(answer(&error))),
        Err(error) => Err(error),
        Ok(()) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_status_is_equal_a_second_later() {
        let at =
            |time| json!({ "conditions": [{ "type": "Ready", "message": "m", "lastTransitionTime": time }] });
        assert_eq!(without_times(&at("2026-01-01T00:00:00Z")), without_times(&at("2026-01-01T00:00:01Z")));
    }

    #[test]
    fn a_shortened_status_is_small() {
        let long = "&".repeat(32768);
        let status = json!({ "observedGeneration": 3, "versions": ["v1"],
            "conditions": [{ "type": "Ready", "message": long }, { "type": "Cleared", "message": "é" }] });
        let short = in_short(&status);
        assert_eq!((&short["observedGeneration"], &short["versions"]), (&json!(3), &Value::Null));
        assert!(super::super::stored::stored_size(&short) < 1024, "{short}");
    }
}
