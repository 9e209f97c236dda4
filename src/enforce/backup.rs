//! Stores the manifest of a pod without an owner before the operator stops the pod. No controller replaces such a pod.
//!
//! The manifest is in a `ControllerRevision` with the name `assent-` and the UID of the pod. The API server refuses
//! every change of the data of a `ControllerRevision`. The default roles of Kubernetes let the users who may read pods
//! also read `ControllerRevisions`.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{apps::v1::ControllerRevision, core::v1::Pod},
    apimachinery::pkg::runtime::RawExtension,
};
use kube::{
    Api, Client, ResourceExt,
    api::{ObjectMeta, PostParams},
};

use crate::{
    api::{GROUP, HELD_LABEL, KEPT_FOR_LABEL, SYSTEM_LABEL},
    watch::Lenient,
};

/// The name of the `ControllerRevision` that keeps the data of the pod or workload with this UID.
pub(super) fn name(uid: &str) -> String {
    format!("assent-{uid}")
}

pub(super) async fn keep(client: &Client, namespace: &str, pod: &str, uid: &str) -> Result<(), kube::Error> {
    let pod = Api::<Lenient<Pod>>::namespaced(client.clone(), namespace).get(pod).await?.readable()?;
    let system = pod.labels().get(SYSTEM_LABEL).map(|system| (KEPT_FOR_LABEL.to_owned(), system.clone()));
    let revision = ControllerRevision {
        metadata: ObjectMeta {
            name: Some(name(uid)),
            labels: Some(system.into_iter().collect()),
            ..ObjectMeta::default()
        },
        revision: Some(1),
        data: RawExtension(serde_json::to_value(as_written(pod)).map_err(kube::Error::SerdeError)?),
    };
    match Api::namespaced(client.clone(), namespace).create(&PostParams::default(), &revision).await {
        // An earlier attempt to stop the pod stored the manifest.
        Err(kube::Error::Api(answer)) if answer.code == 409 => Ok(()),
        done => done.map(|_: ControllerRevision| ()),
    }
}

/// The pod without its status, its node, the volume of the service account token, and the metadata that the cluster and
/// Assent added.
fn as_written(pod: Pod) -> Pod {
    let without = |map: Option<BTreeMap<String, String>>, added: &dyn Fn(&str) -> bool| {
        map.map(|mut map| {
            map.retain(|key, _| !added(key));
            map
        })
    };
    // The API server refuses a new pod with an annotation of Assent.
    let is_of_assent = |key: &str| key.strip_prefix(GROUP).is_some_and(|rest| rest.starts_with('/'));
    let metadata = ObjectMeta {
        name: pod.metadata.name,
        namespace: pod.metadata.namespace,
        labels: without(pod.metadata.labels, &|key| key == HELD_LABEL),
        annotations: without(pod.metadata.annotations, &is_of_assent),
        owner_references: pod.metadata.owner_references,
        ..ObjectMeta::default()
    };
    let spec = pod.spec.map(|mut spec| {
        spec.node_name = None;
        let is_token = |name: &str| name.starts_with("kube-api-access-");
        spec.volumes.iter_mut().for_each(|volumes| volumes.retain(|volume| !is_token(&volume.name)));
        for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
            container
                .volume_mounts
                .iter_mut()
                .for_each(|mounts| mounts.retain(|mount| !is_token(&mount.name)));
        }
        spec
    });
    Pod { metadata, spec, status: None }
}
