//! Describes volume sources in one line of text each. An approver signs every field of these sources, so the text
//! contains each field that differs from its default.
//!
//! ```text
//!  csi { driver, readOnly, volumeAttributes }
//!    ──► inline volume of CSI driver bucket.example, read only, attribute bucket=models
//! ```

use std::collections::BTreeMap;

use crate::api::{
    ClaimMetadata, ClaimResources, ClaimSpec, ClaimTemplate, ClusterTrustBundleSource, CsiVolume, DataSource,
    DataSourceRef, EphemeralVolume, HostPathVolume, IscsiVolume, LabelRule, LabelSelector, NfsVolume,
    PodCertificateSource, SecretName, Text,
};

pub fn host_path(source: &HostPathVolume) -> String {
    let HostPathVolume { path, type_ } = source;
    format!("path {path} of the node{}", named("type", type_.as_ref()))
}

pub fn csi(source: &CsiVolume) -> String {
    let CsiVolume { driver, read_only, fs_type, volume_attributes, node_publish_secret_ref } = source;
    let secret = node_publish_secret_ref.as_ref().map(|SecretName { name }| name);
    [
        format!("inline volume of CSI driver {driver}"),
        only_reads(*read_only),
        named("file system", fs_type.as_ref()),
        pairs("attribute", volume_attributes),
        named("secret", secret),
    ]
    .concat()
}

pub fn nfs(source: &NfsVolume) -> String {
    let NfsVolume { server, path, read_only } = source;
    format!("NFS directory {server}:{path}{}", only_reads(*read_only))
}

pub fn iscsi(source: &IscsiVolume) -> String {
    let IscsiVolume {
        target_portal,
        iqn,
        lun,
        iscsi_interface,
        fs_type,
        read_only,
        portals,
        chap_auth_discovery,
        chap_auth_session,
        secret_ref,
        initiator_name,
    } = source;
    let portals = portals.iter().map(|portal| format!(", also at {portal}")).collect::<Vec<_>>().concat();
    let chap =
        [(chap_auth_discovery, ", with CHAP for discovery"), (chap_auth_session, ", with CHAP for sessions")];
    let chap = chap.iter().filter(|(is_set, _)| **is_set).map(|(_, text)| *text).collect::<Vec<_>>().concat();
    [
        format!("disk {lun} of iSCSI target {iqn} at {target_portal}{portals}"),
        only_reads(*read_only),
        named("file system", fs_type.as_ref()),
        named("interface", Some(iscsi_interface).filter(|name| ***name != *IscsiVolume::INTERFACE)),
        chap,
        named("secret", secret_ref.as_ref().map(|SecretName { name }| name)),
        named("initiator", initiator_name.as_ref()),
    ]
    .concat()
}

pub fn ephemeral(source: &EphemeralVolume) -> String {
    let EphemeralVolume { volume_claim_template: ClaimTemplate { metadata, spec } } = source;
    let ClaimMetadata { labels, annotations } = metadata;
    let ClaimSpec {
        access_modes,
        resources: ClaimResources { requests, limits },
        storage_class_name,
        volume_mode,
        volume_name,
        selector,
        data_source,
        data_source_ref,
        volume_attributes_class_name,
    } = spec;
    let modes = access_modes.iter().map(|mode| format!(", {mode}")).collect::<Vec<_>>().concat();
    let sources = [data_source.as_ref().map(data), data_source_ref.as_ref().map(data_ref)];
    [
        format!("a new claim for each pod{modes}"),
        pairs("requests", requests),
        pairs("limits", limits),
        named("storage class", storage_class_name.as_ref()),
        named("mode", Some(volume_mode)),
        named("persistent volume", volume_name.as_ref()),
        selector
            .as_ref()
            .map(|selector| format!(", of volumes with {}", labels_of(selector)))
            .unwrap_or_default(),
        sources.into_iter().flatten().collect::<Vec<_>>().concat(),
        named("attributes class", volume_attributes_class_name.as_ref()),
        pairs("label", labels),
        pairs("annotation", annotations),
    ]
    .concat()
}

fn data(source: &DataSource) -> String {
    let DataSource { api_group, kind, name } = source;
    let group = api_group.as_ref().map(|group| format!(".{group}")).unwrap_or_default();
    format!(", with the content of {kind}{group} {name}")
}

fn data_ref(source: &DataSourceRef) -> String {
    let DataSourceRef { object, namespace } = source;
    let of = namespace.as_ref().map(|namespace| format!(" of namespace {namespace}")).unwrap_or_default();
    format!("{}{of}", data(object))
}

pub fn cluster_trust_bundle(source: &ClusterTrustBundleSource) -> String {
    let ClusterTrustBundleSource { name, signer_name, label_selector, optional, path } = source;
    let labels = label_selector.as_ref().map(|selector| format!(", with {}", labels_of(selector)));
    let may_be_missing = if *optional == Some(true) { ", may be missing" } else { "" };
    [
        "cluster trust bundle".to_owned(),
        named("name", name.as_ref()),
        named("signer", signer_name.as_ref()),
        labels.unwrap_or_default(),
        format!("{may_be_missing}, as file {path}"),
    ]
    .concat()
}

pub fn pod_certificate(source: &PodCertificateSource) -> String {
    let PodCertificateSource {
        signer_name,
        key_type,
        max_expiration_seconds,
        credential_bundle_path,
        key_path,
        certificate_chain_path,
        user_annotations,
    } = source;
    let seconds = max_expiration_seconds.map(|seconds| format!(", valid for at most {seconds} seconds"));
    [
        format!("a certificate of the pod by {signer_name}, key {key_type}"),
        seconds.unwrap_or_default(),
        named("as file", credential_bundle_path.as_ref()),
        named("its key as file", key_path.as_ref()),
        named("its chain as file", certificate_chain_path.as_ref()),
        pairs("annotation", user_annotations),
    ]
    .concat()
}

fn only_reads(read_only: bool) -> String {
    if read_only { ", read only".to_owned() } else { String::new() }
}

fn named(label: &str, text: Option<&Text>) -> String {
    text.map(|text| format!(", {label} {text}")).unwrap_or_default()
}

fn pairs(label: &str, map: &BTreeMap<Text, Text>) -> String {
    map.iter().map(|(name, value)| format!(", {label} {name}={value}")).collect::<Vec<_>>().concat()
}

fn labels_of(selector: &LabelSelector) -> String {
    let LabelSelector { match_labels, match_expressions } = selector;
    let equal = match_labels.iter().map(|(name, value)| format!("{name}={value}"));
    let rules = match_expressions.iter().map(|LabelRule { key, operator, values }| {
        let values = values.iter().map(|value| format!(" {value}")).collect::<Vec<_>>().concat();
        format!("{key} {operator}{values}")
    });
    let all = equal.chain(rules).collect::<Vec<_>>().join(" and ");
    if all.is_empty() { "any labels".to_owned() } else { all }
}
