//! The record of a stopped workload, and the rule that decides whether the workload may start again. The record is in a
//! `ControllerRevision` with the name `assent-` and the UID of the root.
//!
//! ```text
//!  ControllerRevision assent-<UID of the root>: data ─► StoppedWorkload
//!    generation unchanged ─► the runtime of the pod that lost its clearance, or with the tags of its template
//!    changed, apps kinds  ─► names and images of its pod template      ├─► cleared: it may start
//!    changed, other kinds ─► unknown: any cleared version of its system
//! ```

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use k8s_openapi::{
    api::{apps::v1::ControllerRevision, core::v1::PodTemplateSpec},
    apimachinery::pkg::runtime::RawExtension,
    jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams, ObjectMeta, PostParams},
};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::super::{
    backup,
    cleared::{cleared_if_pinned, cleared_version},
    owner::OwnerRef,
};
use crate::{
    api::{
        ClearanceSpec, ClearedVersion, OnLossMode, Runtime, STOPPED_FOR_LABEL, SYSTEM_LABEL, SharedRuntime,
    },
    policy::{Unmatchable, as_in_template, is_pinned_by, runtime_of_pod},
    watch::Lenient,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum PreviousState {
    Replicas(i32),
    /// `spec.suspend`, if it was set.
    Suspend(Option<bool>),
}

impl From<PreviousState> for OnLossMode {
    fn from(was: PreviousState) -> Self {
        match was {
            PreviousState::Replicas(_) => Self::ScaleDown,
            PreviousState::Suspend(_) => Self::Suspend,
        }
    }
}

/// The record of a stopped workload. The API server stores these field names, so they must not change.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StoppedWorkload {
    pub(super) root: OwnerRef,
    pub(super) system: String,
    pub(super) was: PreviousState,
    /// The number of times that another user started the workload again.
    pub(super) put_back: u32,
    /// The runtime of a pod that lost its clearance. `None` if no version can match the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) runtime: Option<SharedRuntime>,
    /// The generation of the root before the stop. Records of earlier versions of Assent have no generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) generation: Option<i64>,
}

impl StoppedWorkload {
    /// Whether `clearance` clears the pods that the workload would run. `object` is the workload as it is now.
    pub(super) fn may_start(
        &self,
        object: &DynamicObject,
        clearance: &ClearanceSpec,
        now: Timestamp,
    ) -> bool {
        // The stop itself raised the generation by one.
        if self.generation.is_some_and(|before| object.metadata.generation == Some(before + 1)) {
            return self.runtime.as_ref().is_some_and(|runtime| {
                cleared_version(clearance, &self.system, runtime, now).is_some()
                    || self.is_cleared_by_tag(runtime, object, clearance, now)
            });
        }
        match template_of(&self.root, object) {
            Some((system, template)) => {
                let runtime = runtime_of(&template).ok();
                if runtime.is_some() && runtime == self.runtime {
                    return runtime.is_some_and(|runtime| is_cleared(clearance, &system, &runtime, now));
                }
                live_versions(clearance, &system, now).any(|version| may_become(&template, &version.runtime))
            }
            None => live_versions(clearance, &self.system, now).next().is_some(),
        }
    }

    /// Whether new pods of the workload get other digests for the tags in its template, and are then cleared. `runtime` is
    /// the runtime of an earlier pod.
    fn is_cleared_by_tag(
        &self,
        runtime: &Runtime,
        object: &DynamicObject,
        clearance: &ClearanceSpec,
        now: Timestamp,
    ) -> bool {
        let template = template_of(&self.root, object).and_then(|(_, template)| runtime_of(&template).ok());
        template.is_some_and(|template| {
            is_cleared(clearance, &self.system, &as_in_template(runtime, &template), now)
        })
    }
}

fn live_versions<'a>(
    clearance: &'a ClearanceSpec,
    system: &str,
    now: Timestamp,
) -> impl Iterator<Item = &'a ClearedVersion> {
    let versions = clearance.systems.get(system).into_iter().flat_map(|system| &system.cleared);
    versions.filter(move |version| now < version.not_after.0)
}

/// Whether new pods of a template with this runtime are cleared.
fn is_cleared(clearance: &ClearanceSpec, system: &str, runtime: &Runtime, now: Timestamp) -> bool {
    cleared_if_pinned(clearance, system, runtime, now).is_some()
}

/// The system and the pod template of a workload. `None` if the workload is not in the API group `apps`.
fn template_of(root: &OwnerRef, object: &DynamicObject) -> Option<(String, PodTemplateSpec)> {
    if !root.api_version.starts_with("apps/") {
        return None;
    }
    let template: PodTemplateSpec = serde_json::from_value(object.data["spec"]["template"].clone()).ok()?;
    let labels = template.metadata.as_ref().and_then(|metadata| metadata.labels.as_ref());
    let system = labels.and_then(|labels| labels.get(SYSTEM_LABEL)).cloned().unwrap_or_default();
    Some((system, template))
}

fn runtime_of(template: &PodTemplateSpec) -> Result<SharedRuntime, Unmatchable> {
    let annotations = template.metadata.as_ref().and_then(|metadata| metadata.annotations.as_ref());
    let runtime = template.spec.as_ref().map(|spec| runtime_of_pod(annotations, spec));
    runtime.unwrap_or_else(|| Ok(Runtime::default())).map(SharedRuntime::from)
}

/// Whether pods of `template` can have this runtime after webhooks changed them. Compares only names and images of
/// containers, because webhooks can change other fields. If the pods get another runtime, the API server holds them,
/// and the operator stops the workload again.
fn may_become(template: &PodTemplateSpec, runtime: &Runtime) -> bool {
    let approved = || runtime.containers.iter().chain(&runtime.init_containers);
    let Some(spec) = &template.spec else { return true };
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    containers.into_iter().all(|container| {
        let image = container.image.as_deref().unwrap_or_default();
        approved().any(|approved| {
            *approved.name == *container.name
                && (*approved.image == *image || is_pinned_by(image, &approved.image))
        })
    })
}

pub(super) fn template_is_cleared(
    root: &OwnerRef,
    object: &DynamicObject,
    clearance: &ClearanceSpec,
) -> bool {
    let Some((system, template)) = template_of(root, object) else { return false };
    let runtime = runtime_of(&template);
    runtime.is_ok_and(|runtime| is_cleared(clearance, &system, &runtime, Timestamp::now()))
}

/// Lists the records by namespace and UID of the root. Logs and skips unreadable records.
pub(super) async fn read_all(
    client: &Client,
) -> Result<HashMap<Arc<str>, BTreeMap<String, StoppedWorkload>>, kube::Error> {
    let kept: Api<Lenient<ControllerRevision>> = Api::all(client.clone());
    let mut stopped: HashMap<Arc<str>, BTreeMap<_, _>> = HashMap::new();
    for revision in kept.list(&ListParams::default().labels(STOPPED_FOR_LABEL)).await? {
        let (namespace, name) = (revision.namespace().unwrap_or_default(), revision.name_any());
        match revision.readable().map(|revision| serde_json::from_value::<StoppedWorkload>(revision.data.0)) {
            Ok(Ok(one)) => {
                drop(stopped.entry(namespace.into()).or_default().insert(one.root.uid.clone(), one));
            }
            Ok(Err(_)) | Err(_) => {
                warn!(namespace, name, "cannot read the record of a stopped workload; it stays stopped");
            }
        }
    }
    Ok(stopped)
}

/// Writes a record. If another user started the workload since the last stop, this record replaces the older record.
pub(super) async fn write_record(
    client: &Client,
    namespace: &str,
    stopped: &StoppedWorkload,
) -> Result<(), kube::Error> {
    let kept: Api<ControllerRevision> = Api::namespaced(client.clone(), namespace);
    let name = backup::name(&stopped.root.uid);
    let revision = ControllerRevision {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            labels: Some([(STOPPED_FOR_LABEL.to_owned(), stopped.system.clone())].into()),
            ..ObjectMeta::default()
        },
        revision: Some(i64::from(stopped.put_back) + 1),
        data: RawExtension(serde_json::to_value(stopped).map_err(kube::Error::SerdeError)?),
    };
    if stopped.put_back > 0 {
        delete_record(client, namespace, &stopped.root).await?;
    }
    match kept.create(&PostParams::default(), &revision).await {
        // An earlier attempt wrote the record.
        Err(kube::Error::Api(answer)) if answer.code == 409 => Ok(()),
        done => done.map(drop),
    }
}

pub(super) async fn delete_record(
    client: &Client,
    namespace: &str,
    root: &OwnerRef,
) -> Result<(), kube::Error> {
    let kept: Api<ControllerRevision> = Api::namespaced(client.clone(), namespace);
    match kept.delete(&backup::name(&root.uid), &DeleteParams::default()).await {
        Err(kube::Error::Api(answer)) if answer.code == 404 => Ok(()),
        done => done.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::json;

    use super::*;
    use crate::api::{Digest, SystemClearance};

    fn runtime(image: &str) -> SharedRuntime {
        let runtime: Runtime =
            serde_json::from_value(json!({ "containers": [{ "name": "c", "image": image }] }))
                .expect("a runtime");
        runtime.into()
    }

    fn clears(image: &str) -> ClearanceSpec {
        let digest: Digest = format!("sha256:{}", "0".repeat(64)).parse().expect("a digest");
        let version = ClearedVersion {
            model_version: "v".to_owned(),
            subject_digest: digest,
            not_after: Time(Timestamp::from_second(1000).expect("in range")),
            runtime: runtime(image),
            patterns: None,
        };
        let system = SystemClearance { cleared: vec![version], ..SystemClearance::default() };
        ClearanceSpec { systems: [("s".to_owned(), system)].into(), ..ClearanceSpec::default() }
    }

    fn root(api_version: &str, generation: i64, image: &str) -> (OwnerRef, DynamicObject) {
        let object = json!({ "apiVersion": api_version, "kind": "K", "metadata": { "name": "r", "generation": generation },
            "spec": { "template": { "metadata": { "labels": { "assent.dev/system": "s" } },
                "spec": { "containers": [{ "name": "c", "image": image }] } } } });
        let (kind, name, uid) = ("K".to_owned(), "r".to_owned(), "1".to_owned());
        let owner = OwnerRef { api_version: api_version.to_owned(), kind, name, uid };
        (owner, serde_json::from_value(object).expect("an object"))
    }

    fn starts(api_version: &str, before: Option<i64>, now: i64, image: &str, cleared: &str) -> bool {
        let (root, object) = root(api_version, now, image);
        let stopped = StoppedWorkload {
            root,
            system: "s".to_owned(),
            was: PreviousState::Replicas(2),
            put_back: 0,
            runtime: before.map(|_| runtime("m:1")),
            generation: before,
        };
        stopped.may_start(&object, &clears(cleared), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn an_unchanged_workload_starts_when_its_previous_runtime_is_cleared() {
        for api_version in ["apps/v1", "made-up.example/v1"] {
            assert!(starts(api_version, Some(3), 4, "m:1", "m:1"));
            assert!(!starts(api_version, Some(3), 4, "m:1", "m:2"), "another version is cleared");
        }
    }

    #[test]
    fn a_changed_workload_starts_when_its_new_pod_template_is_cleared() {
        assert!(starts("apps/v1", Some(3), 5, "m:2", "m:2"));
        assert!(!starts("apps/v1", Some(3), 5, "m:2", "m:1"));
        assert!(!starts("apps/v1", Some(3), 5, "m:1", "m:2"), "a user changed only its replicas");
        assert!(starts("made-up.example/v1", Some(3), 5, "m:2", "m:7"), "its pod template is unknown");
    }

    #[test]
    fn a_stopped_workload_starts_when_a_new_digest_of_its_tag_is_cleared() {
        let starts = |template: &str, before: &str, cleared: &str| {
            let (root, object) = root("apps/v1", 4, template);
            let stopped = StoppedWorkload {
                root,
                system: "s".to_owned(),
                was: PreviousState::Replicas(2),
                put_back: 0,
                runtime: Some(runtime(before)),
                generation: Some(3),
            };
            stopped.may_start(&object, &clears(cleared), Timestamp::UNIX_EPOCH)
        };
        assert!(starts("m:1", "m:1@sha256:a", "m:1@sha256:b"));
        assert!(
            !starts("m:1@sha256:a", "m:1@sha256:a", "m:1@sha256:b"),
            "its template states the old digest"
        );
        assert!(!starts("m:1", "m:1@sha256:a", "m:2@sha256:b"));
        assert!(!starts("m:2", "m:1@sha256:a", "m:2@sha256:b"), "only the template differs from the pod");
    }

    #[test]
    fn records_of_earlier_releases_are_read() {
        assert!(!starts("apps/v1", None, 4, "m:1", "m:2") && starts("apps/v1", None, 4, "m:1", "m:1"));
        let old = json!({ "root": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "uid": "1" },
            "system": "s", "was": { "replicas": 2 }, "putBack": 0 });
        let old: StoppedWorkload = serde_json::from_value(old).expect("a record");
        assert_eq!((old.was, old.generation), (PreviousState::Replicas(2), None));
    }
}
