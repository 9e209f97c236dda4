//! The volumes of a [`Runtime`](super::Runtime), in the words of the pod API.
//!
//! ```text
//! Volume ─┬─ image                                  by reference
//!         ├─ persistentVolumeClaim                  by name
//!         ├─ configMap, secret                      by name, with the items that become files
//!         ├─ downwardAPI                            the items: which field of the pod is which file
//!         ├─ projected ── sources                   configMap, secret, downwardAPI, serviceAccountToken
//!         └─ emptyDir
//! ```

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{FieldRef, ResourceFieldRef, Text};

/// A volume, as in a pod; one source.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 2, "maxProperties" = 2))]
pub struct Volume {
    /// Its name in the pod.
    #[schemars(length(min = 1, max = 63))]
    pub name: Text,
    /// An OCI image or artifact (KEP-4639).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageVolume>,
    /// A claim; its content is not pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim: Option<PersistentVolumeClaimVolume>,
    /// A config map; its content is not pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapVolume>,
    /// A secret; its content is not pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretVolume>,
    /// Fields of the pod as files.
    #[serde(default, rename = "downwardAPI", skip_serializing_if = "Option::is_none")]
    pub downward_api: Option<DownwardApiVolume>,
    /// Several sources in one directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projected: Option<ProjectedVolume>,
    /// An empty directory of any size and medium.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_dir: Option<EmptyDirVolume>,
}

/// An OCI image or artifact.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageVolume {
    /// Its reference, compared as it is written.
    #[schemars(length(min = 1, max = 1024))]
    pub reference: Text,
}

/// A claim.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PersistentVolumeClaimVolume {
    /// The claim.
    #[schemars(length(min = 1, max = 253))]
    pub claim_name: Text,
}

/// A config map.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapVolume {
    /// The config map.
    #[schemars(length(min = 1, max = 253))]
    pub name: Text,

    /// Which keys become which files, in their order. Default: none, which is every key under its own name.
    /// Example: `[{ key: config.json, path: model/config.json }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub items: Vec<KeyToPath>,
}

/// A secret.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretVolume {
    /// The secret.
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: Text,

    /// Which keys become which files, in their order. Default: none, which is every key under its own name.
    /// Example: `[{ key: config.json, path: model/config.json }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub items: Vec<KeyToPath>,
}

/// A key of a config map or secret that becomes a file.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyToPath {
    /// The key. Example: `config.json`.
    #[schemars(length(min = 1, max = 253))]
    pub key: Text,
    /// The path of the file in the volume. Example: `model/config.json`.
    #[schemars(length(min = 1, max = 4096))]
    pub path: Text,
}

/// Fields of the pod as files.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DownwardApiVolume {
    /// Which fields become which files, in their order. Default: none. Labels and annotations can change
    /// while the pod runs, and so do their files.
    /// Example: `[{ path: labels, fieldRef: { fieldPath: metadata.labels } }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub items: Vec<DownwardApiFile>,
}

/// A field of the pod, or a resource of a container, that becomes a file.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 2, "maxProperties" = 2))]
pub struct DownwardApiFile {
    /// The path of the file in the volume. Example: `labels`.
    #[schemars(length(min = 1, max = 4096))]
    pub path: Text,
    /// A field of the pod. Example: `{ fieldPath: metadata.labels }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field_ref: Option<FieldRef>,
    /// A resource of a container. Example: `{ containerName: server, resource: limits.memory }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_field_ref: Option<ResourceFieldRef>,
}

/// Several sources in one directory.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProjectedVolume {
    /// The sources, in their order.
    #[schemars(length(max = 16))]
    pub sources: Vec<ProjectedSource>,
}

/// One source of a projected volume.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct ProjectedSource {
    /// A token of the pod's service account, for any audience.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_token: Option<ServiceAccountTokenSource>,
    /// Fields of the pod.
    #[serde(default, rename = "downwardAPI", skip_serializing_if = "Option::is_none")]
    pub downward_api: Option<DownwardApiVolume>,
    /// A config map; its content is not pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ProjectedObject>,
    /// A secret; its content is not pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<ProjectedObject>,
}

/// A token of the pod's service account, for any audience.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountTokenSource {
    /// The path of its file in the volume. Default: `token`. Example: `istio-token`.
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

/// A config map or secret in a projected volume.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProjectedObject {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: Text,

    /// Which keys become which files, in their order. Default: none, which is every key under its own name.
    /// Example: `[{ key: config.json, path: model/config.json }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub items: Vec<KeyToPath>,
}

/// An empty directory.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EmptyDirVolume {}
