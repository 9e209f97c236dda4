//! The volumes of a [`Runtime`](super::Runtime). The fields have the same names as in the pod API. The second column of
//! the diagram says what a runtime states about each kind of volume.
//!
//! ```text
//! Volume ─┬─ image                                  the reference of the image
//!         ├─ persistentVolumeClaim                  the name of the claim
//!         ├─ configMap, secret                      the name, and the keys that become files
//!         ├─ downwardAPI                            the fields of the pod that become files
//!         ├─ projected                              a list of sources, see `ProjectedSource`
//!         ├─ emptyDir                               nothing
//!         └─ hostPath, csi, nfs, iscsi, ephemeral   all fields, see `volume_source`
//! ```

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{
    ClusterTrustBundleSource, CsiVolume, EphemeralVolume, FieldRef, HostPathVolume, IscsiVolume, NfsVolume,
    PodCertificateSource, ResourceFieldRef, Text, VolumeKind,
};

/// A volume, as in a pod. Exactly one source must be set.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 2, "maxProperties" = 2))]
pub struct Volume {
    /// Name of the volume in the pod. Example: `weights`.
    #[schemars(length(min = 1, max = 63))]
    pub name: Text,
    /// OCI image or artifact (KEP-4639). Default: none.
    /// Example: `{ reference: registry.example.org/weights@sha256:… }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageVolume>,
    /// `PersistentVolumeClaim`. Its content can change without a new approval. Default: none.
    /// Example: `{ claimName: weights }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim: Option<PersistentVolumeClaimVolume>,
    /// `ConfigMap`. Its content can change without a new approval. Default: none. Example: `{ name: model-settings }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapVolume>,
    /// Secret. Its content can change without a new approval. Default: none. Example: `{ secretName: model-license }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretVolume>,
    /// Fields of the pod as files. Default: none.
    /// Example: `{ items: [{ path: labels, fieldRef: { fieldPath: metadata.labels } }] }`.
    #[serde(default, rename = "downwardAPI", skip_serializing_if = "Option::is_none")]
    pub downward_api: Option<DownwardApiVolume>,
    /// Several sources in one directory. Default: none. Example: `{ sources: [{ secret: { name: tokens } }] }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projected: Option<ProjectedVolume>,
    /// Empty directory of any size and medium. Default: none. Example: `{}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_dir: Option<EmptyDirVolume>,
    /// Path on the node. The files on the node can change without a new approval. Default: none.
    /// Example: `{ path: /dev/kfd }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_path: Option<HostPathVolume>,
    /// Volume that a CSI driver creates for the pod. Its content can change without a new approval. Default: none.
    /// Example: `{ driver: gcsfuse.csi.storage.gke.io, volumeAttributes: { bucketName: models } }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csi: Option<Box<CsiVolume>>,
    /// Directory of an NFS server. Its content can change without a new approval. Default: none.
    /// Example: `{ server: nfs.example.org, path: /models }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nfs: Option<NfsVolume>,
    /// Disk of an iSCSI target. Its content can change without a new approval. Default: none.
    /// Example: `{ targetPortal: 10.0.0.5:3260, iqn: iqn.2026-01.org.example:models, lun: 0 }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iscsi: Option<Box<IscsiVolume>>,
    /// Claim that the cluster creates for each pod. Its content can change without a new approval. Default: none.
    /// Example: `{ volumeClaimTemplate: { spec: { accessModes: [ReadWriteOnce], … } } }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ephemeral: Option<Box<EphemeralVolume>>,
}

impl Volume {
    /// The kind of the volume, and the kinds of its projected sources.
    pub fn kinds(&self) -> impl Iterator<Item = VolumeKind> {
        let own = [
            self.image.is_some().then_some(VolumeKind::Image),
            self.persistent_volume_claim.is_some().then_some(VolumeKind::PersistentVolumeClaim),
            self.config_map.is_some().then_some(VolumeKind::ConfigMap),
            self.secret.is_some().then_some(VolumeKind::Secret),
            self.downward_api.is_some().then_some(VolumeKind::DownwardApi),
            self.projected.is_some().then_some(VolumeKind::Projected),
            self.empty_dir.is_some().then_some(VolumeKind::EmptyDir),
            self.host_path.is_some().then_some(VolumeKind::HostPath),
            self.csi.is_some().then_some(VolumeKind::Csi),
            self.nfs.is_some().then_some(VolumeKind::Nfs),
            self.iscsi.is_some().then_some(VolumeKind::Iscsi),
            self.ephemeral.is_some().then_some(VolumeKind::Ephemeral),
        ];
        let sources = self.projected.iter().flat_map(|projected| &projected.sources);
        own.into_iter().flatten().chain(sources.flat_map(ProjectedSource::kinds))
    }
}

/// An OCI image or artifact as a volume.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageVolume {
    /// Reference of the image. Assent compares it in the same way as the image of a container.
    /// Example: `registry.example.org/weights@sha256:…`.
    #[schemars(length(min = 1, max = 1024))]
    pub reference: Text,
}

/// A `PersistentVolumeClaim` as a volume.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PersistentVolumeClaimVolume {
    /// Name of the claim. Example: `weights`.
    #[schemars(length(min = 1, max = 253))]
    pub claim_name: Text,
}

/// A `ConfigMap` as a volume.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapVolume {
    /// Name of the `ConfigMap`. Example: `model-settings`.
    #[schemars(length(min = 1, max = 253))]
    pub name: Text,

    /// Keys that become files. The order must be the same in the pod. Default: none, so every key becomes a file with
    /// its own name. Example: `[{ key: config.json, path: model/config.json }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub items: Vec<KeyToPath>,
}

/// A Secret as a volume.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretVolume {
    /// Name of the Secret. Example: `model-license`.
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: Text,

    /// Keys that become files. The order must be the same in the pod. Default: none, so every key becomes a file with
    /// its own name. Example: `[{ key: config.json, path: model/config.json }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub items: Vec<KeyToPath>,
}

/// A key of a `ConfigMap` or Secret that becomes a file.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyToPath {
    /// Key in the object. Example: `config.json`.
    #[schemars(length(min = 1, max = 253))]
    pub key: Text,
    /// Path of the file in the volume. Example: `model/config.json`.
    #[schemars(length(min = 1, max = 4096))]
    pub path: Text,
}

/// Fields of the pod as files in a volume.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DownwardApiVolume {
    /// Fields that become files. The order must be the same in the pod. Files of labels and annotations can change
    /// while the pod runs. Default: none. Example: `[{ path: labels, fieldRef: { fieldPath: metadata.labels } }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub items: Vec<DownwardApiFile>,
}

/// A field of the pod, or a resource of a container, that becomes a file.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 2, "maxProperties" = 2))]
pub struct DownwardApiFile {
    /// Path of the file in the volume. Example: `labels`.
    #[schemars(length(min = 1, max = 4096))]
    pub path: Text,
    /// Field of the pod. Default: none. Example: `{ fieldPath: metadata.labels }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field_ref: Option<FieldRef>,
    /// Resource of a container. Default: none. Example: `{ containerName: server, resource: limits.memory }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_field_ref: Option<ResourceFieldRef>,
}

/// Several sources in one directory of a volume.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProjectedVolume {
    /// Sources of the volume. The order must be the same in the pod. Example: `[{ secret: { name: tokens } }]`.
    #[schemars(length(max = 16))]
    pub sources: Vec<ProjectedSource>,
}

/// One source of a projected volume. Exactly one field must be set.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct ProjectedSource {
    /// Token of the service account of the pod. Assent does not compare the token's audience and expiry.
    /// Default: none. Example: `{ path: token }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_token: Option<ServiceAccountTokenSource>,
    /// Fields of the pod as files. Default: none.
    /// Example: `{ items: [{ path: labels, fieldRef: { fieldPath: metadata.labels } }] }`.
    #[serde(default, rename = "downwardAPI", skip_serializing_if = "Option::is_none")]
    pub downward_api: Option<DownwardApiVolume>,
    /// `ConfigMap`. Its content can change without a new approval. Default: none. Example: `{ name: model-settings }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ProjectedObject>,
    /// Secret. Its content can change without a new approval. Default: none. Example: `{ name: model-license }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<ProjectedObject>,
    /// Certificates of a `ClusterTrustBundle`. They can change without a new approval. Default: none.
    /// Example: `{ name: internal, path: ca.crt }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_trust_bundle: Option<Box<ClusterTrustBundleSource>>,
    /// Certificate of the pod itself, with its key. Default: none.
    /// Example: `{ signerName: example.org/internal, keyType: ED25519, credentialBundlePath: credentials.pem }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_certificate: Option<Box<PodCertificateSource>>,
}

impl ProjectedSource {
    fn kinds(&self) -> impl Iterator<Item = VolumeKind> {
        let kinds = [
            self.service_account_token.is_some().then_some(VolumeKind::ServiceAccountToken),
            self.downward_api.is_some().then_some(VolumeKind::DownwardApi),
            self.config_map.is_some().then_some(VolumeKind::ConfigMap),
            self.secret.is_some().then_some(VolumeKind::Secret),
            self.cluster_trust_bundle.is_some().then_some(VolumeKind::ClusterTrustBundle),
            self.pod_certificate.is_some().then_some(VolumeKind::PodCertificate),
        ];
        kinds.into_iter().flatten()
    }
}

/// A token of the service account of the pod. Assent does not compare the token's audience and expiry.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountTokenSource {
    /// Path of the token file in the volume. Default: `token`. Example: `istio-token`.
    #[serde(default = "token", skip_serializing_if = "is_token")]
    #[schemars(length(min = 1, max = 4096))]
    pub path: Text,
}

impl Default for ServiceAccountTokenSource {
    fn default() -> Self {
        Self { path: token() }
    }
}

fn token() -> Text {
    "token".into()
}

fn is_token(path: &Text) -> bool {
    **path == *"token"
}

/// A `ConfigMap` or Secret in a projected volume.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProjectedObject {
    /// Name of the `ConfigMap` or Secret. Example: `model-settings`.
    #[schemars(length(min = 1, max = 253))]
    pub name: Text,

    /// Keys that become files. The order must be the same in the pod. Default: none, so every key becomes a file with
    /// its own name. Example: `[{ key: config.json, path: model/config.json }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub items: Vec<KeyToPath>,
}

/// An empty directory as a volume.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EmptyDirVolume {}
