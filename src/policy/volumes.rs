//! Converts the volumes of a pod to volumes of a runtime.
//!
//! [`is_token`] and [`is_token_mount`] find the volume and the mounts of the service account token, which the API
//! server adds. The comparison leaves them out. A volume of a kind that a runtime cannot state is an error.

use k8s_openapi::api::core::v1 as core;

use super::{
    convert::{field, resource},
    unmatchable::{Unmatchable, refuse},
    volume_sources::{cluster_trust_bundle, csi, ephemeral, host_path, iscsi, nfs, pod_certificate},
};
use crate::api::{
    ConfigMapVolume, DownwardApiFile, DownwardApiVolume, EmptyDirVolume, ImageVolume, KeyToPath,
    PersistentVolumeClaimVolume, ProjectedObject, ProjectedSource, ProjectedVolume, SecretVolume,
    ServiceAccountTokenSource, Volume,
};

/// The path at which the API server mounts the service account token.
const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The prefix of the name that the API server gives to the volume with the service account token.
const TOKEN_VOLUME: &str = "kube-api-access-";

const TOKEN_FILE: &str = "token";

/// The `ConfigMaps` whose certificates are in the volume of the token, each with its only key. The key is also the name
/// of the file. The first `ConfigMap` has certificates of the API server, the second has certificates of services on
/// `OpenShift`.
const TOKEN_BUNDLES: [(&str, &str); 2] =
    [("kube-root-ca.crt", "ca.crt"), ("openshift-service-ca.crt", "service-ca.crt")];

/// Whether a volume contains only files that the API server puts into the volume of the service account token. Programs
/// trust these files, so the volume must have no other file and no other content.
pub(super) fn is_token(volume: &core::Volume) -> bool {
    volume.name.starts_with(TOKEN_VOLUME)
        && volume.projected.as_ref().is_some_and(|p| p.sources.iter().flatten().all(is_part_of_token))
}

fn is_part_of_token(source: &core::VolumeProjection) -> bool {
    let is_bundle = |map: &core::ConfigMapProjection| match map.items.as_deref() {
        Some([item]) => TOKEN_BUNDLES
            .iter()
            .any(|(name, file)| map.name == *name && item.key == *file && item.path == *file),
        _ => false,
    };
    let is_namespace = |pod: &core::DownwardAPIProjection| match pod.items.as_deref() {
        Some([file]) => {
            let is_of = |field: &core::ObjectFieldSelector| field.field_path == "metadata.namespace";
            file.path == "namespace" && file.field_ref.as_ref().is_some_and(is_of)
        }
        _ => false,
    };
    source.service_account_token.as_ref().is_some_and(|token| token.path == TOKEN_FILE)
        || source.config_map.as_ref().is_some_and(is_bundle)
        || source.downward_api.as_ref().is_some_and(is_namespace)
}

/// Whether a mount is the mount of the service account token, exactly as the API server adds it.
pub(super) fn is_token_mount(mount: &core::VolumeMount) -> bool {
    let core::VolumeMount {
        bind_mount_options,
        mount_path,
        mount_propagation,
        name,
        read_only,
        recursive_read_only,
        sub_path,
        sub_path_expr,
    } = mount;
    mount_path == TOKEN_PATH
        && name.starts_with(TOKEN_VOLUME)
        && *read_only == Some(true)
        && bind_mount_options.is_none()
        && mount_propagation.is_none()
        && recursive_read_only.is_none()
        && sub_path.is_none()
        && sub_path_expr.is_none()
}

pub(super) fn volume(pod: &core::Volume) -> Result<Volume, Unmatchable> {
    let volume = Volume {
        name: pod.name.as_str().into(),
        image: pod
            .image
            .as_ref()
            .map(|i| ImageVolume { reference: i.reference.as_deref().unwrap_or_default().into() }),
        persistent_volume_claim: pod
            .persistent_volume_claim
            .as_ref()
            .map(|claim| PersistentVolumeClaimVolume { claim_name: claim.claim_name.as_str().into() }),
        config_map: pod
            .config_map
            .as_ref()
            .map(|c| ConfigMapVolume { name: c.name.as_str().into(), items: items(c.items.as_ref()) }),
        secret: pod.secret.as_ref().map(|s| SecretVolume {
            secret_name: s.secret_name.as_deref().unwrap_or_default().into(),
            items: items(s.items.as_ref()),
        }),
        downward_api: pod.downward_api.as_ref().map(|d| downward_api(d.items.as_ref())),
        projected: pod.projected.as_ref().map(|p| projected(&pod.name, p)).transpose()?,
        empty_dir: pod.empty_dir.as_ref().map(|_| EmptyDirVolume {}),
        host_path: pod.host_path.as_ref().map(host_path),
        csi: pod.csi.as_ref().map(|source| Box::new(csi(source))),
        nfs: pod.nfs.as_ref().map(nfs),
        iscsi: pod.iscsi.as_ref().map(|source| Box::new(iscsi(source))),
        ephemeral: pod.ephemeral.as_ref().map(|source| Box::new(ephemeral(source))),
    };
    if volume.kinds().next().is_some() {
        return Ok(volume);
    }
    let kind = removed_kind(pod);
    refuse(kind.is_some(), kind.unwrap_or_default(), format_args!("the kind of volume {}", pod.name))?;
    Err(Unmatchable::unknown(format_args!("volume {}", pod.name)))
}

/// The path in `FIELDS` of a volume kind that Kubernetes removed or that CSI drivers replaced. `None` for other kinds.
/// The code destructures the volume without `..`, so that a new kind of a later Kubernetes version is a compile error.
fn removed_kind(pod: &core::Volume) -> Option<&'static str> {
    let core::Volume {
        aws_elastic_block_store,
        azure_disk,
        azure_file,
        cephfs,
        cinder,
        config_map: _,
        csi: _,
        downward_api: _,
        empty_dir: _,
        ephemeral: _,
        fc,
        flex_volume,
        flocker,
        gce_persistent_disk,
        git_repo,
        glusterfs,
        host_path: _,
        image: _,
        iscsi: _,
        name: _,
        nfs: _,
        persistent_volume_claim: _,
        photon_persistent_disk,
        portworx_volume,
        projected: _,
        quobyte,
        rbd,
        scale_io,
        secret: _,
        storageos,
        vsphere_volume,
    } = pod;
    let kinds = [
        (aws_elastic_block_store.is_some(), "volumes.awsElasticBlockStore"),
        (azure_disk.is_some(), "volumes.azureDisk"),
        (azure_file.is_some(), "volumes.azureFile"),
        (cephfs.is_some(), "volumes.cephfs"),
        (cinder.is_some(), "volumes.cinder"),
        (fc.is_some(), "volumes.fc"),
        (flex_volume.is_some(), "volumes.flexVolume"),
        (flocker.is_some(), "volumes.flocker"),
        (gce_persistent_disk.is_some(), "volumes.gcePersistentDisk"),
        (git_repo.is_some(), "volumes.gitRepo"),
        (glusterfs.is_some(), "volumes.glusterfs"),
        (photon_persistent_disk.is_some(), "volumes.photonPersistentDisk"),
        (portworx_volume.is_some(), "volumes.portworxVolume"),
        (quobyte.is_some(), "volumes.quobyte"),
        (rbd.is_some(), "volumes.rbd"),
        (scale_io.is_some(), "volumes.scaleIO"),
        (storageos.is_some(), "volumes.storageos"),
        (vsphere_volume.is_some(), "volumes.vsphereVolume"),
    ];
    kinds.into_iter().find(|(is_set, _)| *is_set).map(|(_, field)| field)
}

fn items(pod: Option<&Vec<core::KeyToPath>>) -> Vec<KeyToPath> {
    let item = |item: &core::KeyToPath| {
        let core::KeyToPath { key, path, mode: _, user: _ } = item;
        KeyToPath { key: key.as_str().into(), path: path.as_str().into() }
    };
    pod.into_iter().flatten().map(item).collect()
}

fn downward_api(pod: Option<&Vec<core::DownwardAPIVolumeFile>>) -> DownwardApiVolume {
    let file = |file: &core::DownwardAPIVolumeFile| {
        let core::DownwardAPIVolumeFile { field_ref, path, resource_field_ref, mode: _, user: _ } = file;
        DownwardApiFile {
            path: path.as_str().into(),
            field_ref: field_ref.as_ref().map(field),
            resource_field_ref: resource_field_ref.as_ref().map(resource),
        }
    };
    DownwardApiVolume { items: pod.into_iter().flatten().map(file).collect() }
}

/// Converts a projected volume. Returns an error if the name has the prefix of the volume with the service account
/// token. Only [`is_token`] accepts such a name, and only with the content that the API server gives to this volume.
fn projected(name: &str, pod: &core::ProjectedVolumeSource) -> Result<ProjectedVolume, Unmatchable> {
    if name.starts_with(TOKEN_VOLUME) {
        return Err(Unmatchable::new(
            "",
            format_args!("a volume {name} that differs from the one that the API server adds"),
        ));
    }
    let sources = pod.sources.iter().flatten().map(|source| projected_source(name, source));
    Ok(ProjectedVolume { sources: sources.collect::<Result<_, _>>()? })
}

fn projected_source(name: &str, pod: &core::VolumeProjection) -> Result<ProjectedSource, Unmatchable> {
    let object = |name: &str, keys| ProjectedObject { name: name.into(), items: items(keys) };
    let source = ProjectedSource {
        service_account_token: pod
            .service_account_token
            .as_ref()
            .map(|token| ServiceAccountTokenSource { path: token.path.as_str().into() }),
        downward_api: pod.downward_api.as_ref().map(|d| downward_api(d.items.as_ref())),
        config_map: pod.config_map.as_ref().map(|c| object(&c.name, c.items.as_ref())),
        secret: pod.secret.as_ref().map(|s| object(&s.name, s.items.as_ref())),
        cluster_trust_bundle: pod
            .cluster_trust_bundle
            .as_ref()
            .map(|source| cluster_trust_bundle(name, source).map(Box::new))
            .transpose()?,
        pod_certificate: pod
            .pod_certificate
            .as_ref()
            .map(|source| pod_certificate(name, source).map(Box::new))
            .transpose()?,
    };
    if source == ProjectedSource::default() {
        return Err(Unmatchable::unknown(format_args!("a source of volume {name}")));
    }
    Ok(source)
}
