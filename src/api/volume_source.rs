//! The sources of volumes that a [`Volume`](super::Volume) states with all their fields: `hostPath`, `csi`, `nfs`,
//! `iscsi`, `ephemeral`, and `clusterTrustBundle` and `podCertificate` in a projected volume. The fields have the same
//! names as in the pod API.
//!
//! Values with equal meaning serialize to the same text, because the API server compares the serialized runtime with
//! the pod.

use std::{collections::BTreeMap, fmt};

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::{Text, quantity};

/// The kind of a volume, or of a source in a projected volume. The names are those of the pod API.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum VolumeKind {
    /// An OCI image or artifact.
    Image,
    /// A `PersistentVolumeClaim`.
    PersistentVolumeClaim,
    /// A `ConfigMap`, also in a projected volume.
    ConfigMap,
    /// A Secret, also in a projected volume.
    Secret,
    /// Fields of the pod, also in a projected volume.
    #[serde(rename = "downwardAPI")]
    DownwardApi,
    /// Several sources in one directory.
    Projected,
    /// An empty directory.
    EmptyDir,
    /// A path on the node.
    HostPath,
    /// A volume that a CSI driver creates for the pod.
    Csi,
    /// A directory of an NFS server.
    Nfs,
    /// A disk of an iSCSI target.
    Iscsi,
    /// A claim that the cluster creates for each pod.
    Ephemeral,
    /// A token of the service account, in a projected volume.
    ServiceAccountToken,
    /// Certificates of a `ClusterTrustBundle`, in a projected volume.
    ClusterTrustBundle,
    /// A certificate of the pod itself, in a projected volume.
    PodCertificate,
}

impl fmt::Display for VolumeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// A path on the node as a volume.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostPathVolume {
    /// Path on the node, compared as text. Example: `/dev/kfd`.
    #[schemars(length(min = 1, max = 4096))]
    pub path: Text,
    /// Type of the file that must exist at the path. With `DirectoryOrCreate` or `FileOrCreate`, Kubernetes creates a
    /// missing directory or file. Default: none, so Kubernetes does not check the path. Example: `DirectoryOrCreate`.
    #[serde(
        default,
        rename = "type",
        skip_serializing_if = "Option::is_none",
        deserialize_with = "super::non_empty"
    )]
    #[schemars(extend("enum" = ["", "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice"]))]
    pub type_: Option<Text>,
}

/// A volume that a CSI driver creates for the pod.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CsiVolume {
    /// Name of the driver. Example: `gcsfuse.csi.storage.gke.io`.
    #[schemars(length(min = 1, max = 63))]
    pub driver: Text,
    /// Whether the volume is read-only. Default: false. Example: `true`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// File system. Default: none, so the driver decides. Example: `ext4`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "super::non_empty")]
    #[schemars(length(max = 63))]
    pub fs_type: Option<Text>,
    /// Attributes for the driver. Default: none. Example: `{ bucketName: models }`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("additionalProperties" = { "type": "string", "maxLength": 4096 }, "maxProperties" = 64))]
    pub volume_attributes: BTreeMap<Text, Text>,
    /// Secret for the driver. Its content can change without a new approval. Default: none.
    /// Example: `{ name: bucket-key }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_publish_secret_ref: Option<SecretName>,
}

/// The name of a Secret.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretName {
    /// Name of the Secret. Example: `bucket-key`.
    #[schemars(length(min = 1, max = 253))]
    pub name: Text,
}

/// A directory of an NFS server as a volume.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NfsVolume {
    /// Name or address of the server. Example: `nfs.example.org`.
    #[schemars(length(min = 1, max = 253))]
    pub server: Text,
    /// Path that the server exports. Example: `/models`.
    #[schemars(length(min = 1, max = 4096))]
    pub path: Text,
    /// Whether the volume is read-only. Default: false. Example: `true`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

/// A disk of an iSCSI target as a volume.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IscsiVolume {
    /// Address of the target, with its port. Example: `10.0.0.5:3260`.
    #[schemars(length(min = 1, max = 253))]
    pub target_portal: Text,
    /// Name of the target. Example: `iqn.2026-01.org.example:models`.
    #[schemars(length(min = 1, max = 223))]
    pub iqn: Text,
    /// Number of the disk. Example: `0`.
    #[schemars(range(min = 0, max = 255))]
    pub lun: i32,
    /// Name of the iSCSI interface of the node. Default: `default`. Example: `default`.
    #[serde(default = "default_interface")]
    #[schemars(length(min = 1, max = 253))]
    pub iscsi_interface: Text,
    /// File system. Default: none, so Kubernetes uses `ext4`. Example: `ext4`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "super::non_empty")]
    #[schemars(length(max = 63))]
    pub fs_type: Option<Text>,
    /// Whether the disk is read-only. Default: false. Example: `true`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// More addresses of the target. The order must be the same in the pod. Default: none. Example: `[10.0.0.6:3260]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 253)))]
    pub portals: Vec<Text>,
    /// Whether the node uses CHAP when it discovers targets. Default: false. Example: `true`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub chap_auth_discovery: bool,
    /// Whether the node uses CHAP when it opens a session. Default: false. Example: `true`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub chap_auth_session: bool,
    /// Secret with the passwords. Its content can change without a new approval. Default: none.
    /// Example: `{ name: storage-chap }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretName>,
    /// Name with which the node logs in at the target. Default: none, so the node uses its own initiator name.
    /// Example: `iqn.2026-01.org.example:gpu`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "super::non_empty")]
    #[schemars(length(max = 223))]
    pub initiator_name: Option<Text>,
}

fn default_interface() -> Text {
    IscsiVolume::INTERFACE.into()
}

impl IscsiVolume {
    /// The default of [`IscsiVolume::iscsi_interface`].
    pub const INTERFACE: &str = "default";
}

/// A `PersistentVolumeClaim` that the cluster creates for each pod, and deletes with the pod.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EphemeralVolume {
    /// Template of the claim.
    /// Example: `{ spec: { accessModes: [ReadWriteOnce], resources: { requests: { storage: 10Gi } } } }`.
    pub volume_claim_template: ClaimTemplate,
}

/// The template of a `PersistentVolumeClaim`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimTemplate {
    /// Labels and annotations of the claim. Default: none. Example: `{ labels: { app: scorer } }`.
    #[serde(default, skip_serializing_if = "ClaimMetadata::is_empty")]
    pub metadata: ClaimMetadata,
    /// Spec of the claim. Example: `{ accessModes: [ReadWriteOnce], resources: { requests: { storage: 10Gi } } }`.
    pub spec: ClaimSpec,
}

/// The labels and annotations of a `PersistentVolumeClaim`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimMetadata {
    /// Labels of the claim. Default: none. Example: `{ app: scorer }`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("additionalProperties" = { "type": "string", "maxLength": 63 }, "maxProperties" = 64))]
    pub labels: BTreeMap<Text, Text>,
    /// Annotations of the claim. Default: none. Example: `{ example.org/tier: fast }`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("additionalProperties" = { "type": "string", "maxLength": 4096 }, "maxProperties" = 64))]
    pub annotations: BTreeMap<Text, Text>,
}

impl ClaimMetadata {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The spec of a `PersistentVolumeClaim`.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimSpec {
    /// Access modes. The order must be the same in the pod. Default: none. Example: `[ReadWriteOnce]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(max = 32)))]
    pub access_modes: Vec<Text>,
    /// Size of the volume. Default: none. Example: `{ requests: { storage: 10Gi } }`.
    #[serde(default, skip_serializing_if = "ClaimResources::is_empty")]
    pub resources: ClaimResources,
    /// Name of the storage class. Default: none, so the cluster uses its default class. An empty name means
    /// no class.
    /// Example: `fast`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub storage_class_name: Option<Text>,
    /// Mode of the volume: `Filesystem`, or `Block` for a raw block device. Default: `Filesystem`.
    /// Example: `Block`.
    #[serde(default = "filesystem")]
    #[schemars(extend("enum" = ["Filesystem", "Block"]))]
    pub volume_mode: Text,
    /// Name of the `PersistentVolume`. Default: none, so the cluster chooses or creates one. Example: `models`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "super::non_empty")]
    #[schemars(length(max = 253))]
    pub volume_name: Option<Text>,
    /// Labels of the `PersistentVolumes` that the cluster may choose. Default: none.
    /// Example: `{ matchLabels: { tier: fast } }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// Object whose content the new volume gets. This content can change without a new approval. Default: none.
    /// Example: `{ kind: PersistentVolumeClaim, name: weights }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_source: Option<DataSource>,
    /// Object whose content the new volume gets. The object can be in another namespace, and its content can
    /// change without a new approval. Default: none.
    /// Example: `{ kind: PersistentVolumeClaim, name: weights }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_source_ref: Option<DataSourceRef>,
    /// Name of the `VolumeAttributesClass`. Default: none. Example: `gold`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub volume_attributes_class_name: Option<Text>,
}

impl Default for ClaimSpec {
    fn default() -> Self {
        Self {
            access_modes: Vec::new(),
            resources: ClaimResources::default(),
            storage_class_name: None,
            volume_mode: filesystem(),
            volume_name: None,
            selector: None,
            data_source: None,
            data_source_ref: None,
            volume_attributes_class_name: None,
        }
    }
}

fn filesystem() -> Text {
    "Filesystem".into()
}

/// The requested and the largest size of a volume, as quantities.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimResources {
    /// Requested size. `1Gi` and `1024Mi` are equal. Default: none. Example: `{ storage: 10Gi }`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "quantities")]
    #[schemars(extend("additionalProperties" = { "type": "string", "maxLength": 32 }, "maxProperties" = 8))]
    pub requests: BTreeMap<Text, Text>,
    /// Largest size. Default: none. Example: `{ storage: 20Gi }`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "quantities")]
    #[schemars(extend("additionalProperties" = { "type": "string", "maxLength": 32 }, "maxProperties" = 8))]
    pub limits: BTreeMap<Text, Text>,
}

impl ClaimResources {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn quantities<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<Text, Text>, D::Error> {
    let written = BTreeMap::<Text, String>::deserialize(deserializer)?;
    Ok(written.into_iter().map(|(name, text)| (name, quantity::canonical(&text))).collect())
}

/// An object whose content a new volume gets.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataSource {
    /// API group of the object. Default: none, so the core group. Example: `snapshot.storage.k8s.io`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "super::non_empty")]
    #[schemars(length(max = 253))]
    pub api_group: Option<Text>,
    /// Kind of the object. Example: `VolumeSnapshot`.
    #[schemars(length(min = 1, max = 63))]
    pub kind: Text,
    /// Name of the object. Example: `weights-v1`.
    #[schemars(length(min = 1, max = 253))]
    pub name: Text,
}

/// An object whose content a new volume gets. The object can be in another namespace than the pod.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataSourceRef {
    /// The object, without its namespace.
    #[serde(flatten)]
    pub object: DataSource,
    /// Namespace of the object. Default: none, so the namespace of the pod. Example: `models`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "super::non_empty")]
    #[schemars(length(max = 63))]
    pub namespace: Option<Text>,
}

/// A selector of objects by their labels. An empty selector selects every object.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels that an object must have. Default: none. Example: `{ tier: fast }`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("additionalProperties" = { "type": "string", "maxLength": 63 }, "maxProperties" = 16))]
    pub match_labels: BTreeMap<Text, Text>,
    /// Rules that an object must meet. The order must be the same in the pod. Default: none.
    /// Example: `[{ key: tier, operator: In, values: [fast] }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub match_expressions: Vec<LabelRule>,
}

/// A rule about one label.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LabelRule {
    /// Name of the label. Example: `tier`.
    #[schemars(length(min = 1, max = 317))]
    pub key: Text,
    /// Comparison: `In`, `NotIn`, `Exists` or `DoesNotExist`. Example: `In`.
    #[schemars(length(min = 1, max = 16))]
    pub operator: Text,
    /// Values with which `In` and `NotIn` compare the label. The order must be the same in the pod. Default: none.
    /// Example: `[fast]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 63)))]
    pub values: Vec<Text>,
}

/// The certificates of a `ClusterTrustBundle`, as a file.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterTrustBundleSource {
    /// Name of the bundle. Default: none, so `signerName` selects bundles. Example: `internal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 316))]
    pub name: Option<Text>,
    /// Signer of the bundles. Default: none. Example: `example.org/internal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 571))]
    pub signer_name: Option<Text>,
    /// Labels that select bundles of the signer. Default: none, so no bundle of the signer is selected.
    /// Example: `{ matchLabels: { live: "true" } }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<LabelSelector>,
    /// Whether the container may start without the bundle. Default: none. A pod that states `false` does not
    /// match a version without this field.
    /// Example: `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
    /// Path of the file in the volume. Example: `ca.crt`.
    #[schemars(length(min = 1, max = 4096))]
    pub path: Text,
}

/// A certificate of the pod itself, as files.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodCertificateSource {
    /// Signer of the certificate. Example: `example.org/internal`.
    #[schemars(length(min = 1, max = 571))]
    pub signer_name: Text,
    /// Type of the key. Example: `ED25519`.
    #[schemars(length(min = 1, max = 32))]
    pub key_type: Text,
    /// Longest validity of the certificate, in seconds. Default: none, so Kubernetes uses 86400. Example: `86400`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_expiration_seconds: Option<i32>,
    /// Path of the file with the key and the certificates. Default: none. Example: `credentials.pem`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "super::non_empty")]
    #[schemars(length(max = 4096))]
    pub credential_bundle_path: Option<Text>,
    /// Path of the file with the key. Default: none. Example: `key.pem`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "super::non_empty")]
    #[schemars(length(max = 4096))]
    pub key_path: Option<Text>,
    /// Path of the file with the certificates. Default: none. Example: `chain.pem`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "super::non_empty")]
    #[schemars(length(max = 4096))]
    pub certificate_chain_path: Option<Text>,
    /// Annotations for the signer. Default: none. Example: `{ example.org/team: scoring }`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("additionalProperties" = { "type": "string", "maxLength": 4096 }, "maxProperties" = 64))]
    pub user_annotations: BTreeMap<Text, Text>,
}
