//! Converts the volume sources of which a runtime states every field. The result is the same source in canonical form,
//! in which two sources with the same meaning are equal.
//!
//! The code destructures each source without `..`, so that a new field of a later Kubernetes version is a compile
//! error.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1 as core,
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector as CoreSelector, ObjectMeta},
    },
};

use super::{
    convert::{map, non_empty, texts},
    unmatchable::{Unmatchable, refuse_of},
};
use crate::api::{
    ClaimMetadata, ClaimResources, ClaimSpec, ClaimTemplate, ClusterTrustBundleSource, CsiVolume, DataSource,
    DataSourceRef, EphemeralVolume, HostPathVolume, IscsiVolume, LabelRule, LabelSelector, NfsVolume,
    PodCertificateSource, SecretName, Text, canonical_quantity,
};

pub(super) fn host_path(pod: &core::HostPathVolumeSource) -> HostPathVolume {
    let core::HostPathVolumeSource { path, type_ } = pod;
    HostPathVolume { path: path.as_str().into(), type_: non_empty(type_.as_ref()) }
}

pub(super) fn csi(pod: &core::CSIVolumeSource) -> CsiVolume {
    let core::CSIVolumeSource { driver, fs_type, node_publish_secret_ref, read_only, volume_attributes } =
        pod;
    CsiVolume {
        driver: driver.as_str().into(),
        read_only: read_only.unwrap_or_default(),
        fs_type: non_empty(fs_type.as_ref()),
        volume_attributes: map(volume_attributes.as_ref()),
        node_publish_secret_ref: node_publish_secret_ref.as_ref().map(secret),
    }
}

fn secret(pod: &core::LocalObjectReference) -> SecretName {
    SecretName { name: pod.name.as_str().into() }
}

pub(super) fn nfs(pod: &core::NFSVolumeSource) -> NfsVolume {
    let core::NFSVolumeSource { path, read_only, server } = pod;
    NfsVolume {
        server: server.as_str().into(),
        path: path.as_str().into(),
        read_only: read_only.unwrap_or_default(),
    }
}

pub(super) fn iscsi(pod: &core::ISCSIVolumeSource) -> IscsiVolume {
    let core::ISCSIVolumeSource {
        chap_auth_discovery,
        chap_auth_session,
        fs_type,
        initiator_name,
        iqn,
        iscsi_interface,
        lun,
        portals,
        read_only,
        secret_ref,
        target_portal,
    } = pod;
    IscsiVolume {
        target_portal: target_portal.as_str().into(),
        iqn: iqn.as_str().into(),
        lun: *lun,
        iscsi_interface: non_empty(iscsi_interface.as_ref()).unwrap_or(IscsiVolume::INTERFACE.into()),
        fs_type: non_empty(fs_type.as_ref()),
        read_only: read_only.unwrap_or_default(),
        portals: texts(portals.as_ref()),
        chap_auth_discovery: chap_auth_discovery.unwrap_or_default(),
        chap_auth_session: chap_auth_session.unwrap_or_default(),
        secret_ref: secret_ref.as_ref().map(secret),
        initiator_name: non_empty(initiator_name.as_ref()),
    }
}

/// Converts the claim of an ephemeral volume. Of the metadata of the claim template, it converts only labels and
/// annotations, because the API server refuses a template with other metadata.
pub(super) fn ephemeral(pod: &core::EphemeralVolumeSource) -> EphemeralVolume {
    let core::EphemeralVolumeSource { volume_claim_template } = pod;
    let Some(core::PersistentVolumeClaimTemplate { metadata, spec }) = volume_claim_template else {
        return EphemeralVolume::default();
    };
    let of =
        |read: fn(&ObjectMeta) -> Option<&BTreeMap<String, String>>| map(metadata.as_ref().and_then(read));
    let metadata =
        ClaimMetadata { labels: of(|m| m.labels.as_ref()), annotations: of(|m| m.annotations.as_ref()) };
    EphemeralVolume { volume_claim_template: ClaimTemplate { metadata, spec: claim(spec) } }
}

fn claim(pod: &core::PersistentVolumeClaimSpec) -> ClaimSpec {
    let core::PersistentVolumeClaimSpec {
        access_modes,
        data_source,
        data_source_ref,
        resources,
        selector: of_volumes,
        storage_class_name,
        volume_attributes_class_name,
        volume_mode,
        volume_name,
    } = pod;
    ClaimSpec {
        access_modes: texts(access_modes.as_ref()),
        resources: resources.as_ref().map(sizes).unwrap_or_default(),
        storage_class_name: storage_class_name.as_deref().map(Text::from),
        volume_mode: volume_mode.as_deref().map_or(ClaimSpec::default().volume_mode, Text::from),
        volume_name: non_empty(volume_name.as_ref()),
        selector: of_volumes.as_ref().map(selector),
        data_source: data_source.as_ref().map(data),
        data_source_ref: data_source_ref.as_ref().map(data_ref),
        volume_attributes_class_name: volume_attributes_class_name.as_deref().map(Text::from),
    }
}

fn data(pod: &core::TypedLocalObjectReference) -> DataSource {
    let core::TypedLocalObjectReference { api_group, kind, name } = pod;
    DataSource {
        api_group: non_empty(api_group.as_ref()),
        kind: kind.as_str().into(),
        name: name.as_str().into(),
    }
}

fn data_ref(pod: &core::TypedObjectReference) -> DataSourceRef {
    let core::TypedObjectReference { api_group, kind, name, namespace } = pod;
    let object = DataSource {
        api_group: non_empty(api_group.as_ref()),
        kind: kind.as_str().into(),
        name: name.as_str().into(),
    };
    DataSourceRef { object, namespace: non_empty(namespace.as_ref()) }
}

fn sizes(pod: &core::VolumeResourceRequirements) -> ClaimResources {
    let core::VolumeResourceRequirements { limits, requests } = pod;
    let quantities = |all: &Option<BTreeMap<String, Quantity>>| {
        let all = all.iter().flatten();
        all.map(|(name, size)| (name.as_str().into(), canonical_quantity(&size.0))).collect()
    };
    ClaimResources { requests: quantities(requests), limits: quantities(limits) }
}

fn selector(pod: &CoreSelector) -> LabelSelector {
    let CoreSelector { match_expressions, match_labels } = pod;
    let rules = match_expressions.iter().flatten().map(|rule| LabelRule {
        key: rule.key.as_str().into(),
        operator: rule.operator.as_str().into(),
        values: texts(rule.values.as_ref()),
    });
    LabelSelector { match_labels: map(match_labels.as_ref()), match_expressions: rules.collect() }
}

/// Converts a `clusterTrustBundle` source of the volume `volume`. A runtime has no field for the owner of a file, so a
/// source that sets the owner is refused.
pub(super) fn cluster_trust_bundle(
    volume: &str,
    pod: &core::ClusterTrustBundleProjection,
) -> Result<ClusterTrustBundleSource, Unmatchable> {
    let core::ClusterTrustBundleProjection { label_selector, name, optional, path, signer_name, user } = pod;
    let field = "volumes.projected.sources.clusterTrustBundle.user";
    refuse_of(user.is_some(), field, format_args!("a source of volume {volume}"))?;
    Ok(ClusterTrustBundleSource {
        name: name.as_deref().map(Text::from),
        signer_name: signer_name.as_deref().map(Text::from),
        label_selector: label_selector.as_ref().map(selector),
        optional: *optional,
        path: path.as_str().into(),
    })
}

/// Converts a `podCertificate` source of the volume `volume`. A runtime has no field for the owner of a file, so a
/// source that sets the owner is refused.
pub(super) fn pod_certificate(
    volume: &str,
    pod: &core::PodCertificateProjection,
) -> Result<PodCertificateSource, Unmatchable> {
    let core::PodCertificateProjection {
        certificate_chain_path,
        credential_bundle_path,
        key_path,
        key_type,
        max_expiration_seconds,
        signer_name,
        user,
        user_annotations,
    } = pod;
    let field = "volumes.projected.sources.podCertificate.user";
    refuse_of(user.is_some(), field, format_args!("a source of volume {volume}"))?;
    Ok(PodCertificateSource {
        signer_name: signer_name.as_str().into(),
        key_type: key_type.as_str().into(),
        max_expiration_seconds: *max_expiration_seconds,
        credential_bundle_path: non_empty(credential_bundle_path.as_ref()),
        key_path: non_empty(key_path.as_ref()),
        certificate_chain_path: non_empty(certificate_chain_path.as_ref()),
        user_annotations: map(user_annotations.as_ref()),
    })
}
