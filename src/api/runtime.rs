//! What a pod must look like to be the model that was approved: the fields of a pod that can name
//! or load a model, in the words of the pod API.
//!
//! ```text
//! Runtime ─┬─ containers      ┐ image, command, args, env, envFrom, workingDir,
//!          ├─ initContainers  ┘ volumeMounts, exec hooks and probes; mayVary
//!          └─ volumes           image, claim, configMap, secret, downwardAPI, projected, emptyDir
//! ```
//!
//! What is referred to by name, such as the content of a claim or a config map, is not pinned by it.
#![allow(clippy::struct_field_names, reason = "the names are those of the pod API")]

use std::ops::Deref;

use internment::ArcIntern;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::Text;

/// The containers and volumes of a pod, exact but for what a container lists in `mayVary`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Runtime {
    /// The containers, in any order.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub containers: Vec<Container>,

    /// The init containers, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub init_containers: Vec<Container>,

    /// The volumes, in any order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub volumes: Vec<Volume>,
}

impl Runtime {
    /// The images of containers, init containers and volumes.
    pub fn images(&self) -> impl Iterator<Item = &str> {
        let containers =
            self.containers.iter().chain(&self.init_containers).map(|container| &*container.image);
        let volumes = self.volumes.iter().filter_map(|volume| volume.image.as_ref());
        containers.chain(volumes.map(|volume| &*volume.reference))
    }
}

/// A [`Runtime`] that is in memory once, however many versions, clearances and pods have it.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Runtime")]
#[schemars(with = "Runtime")]
pub struct SharedRuntime(ArcIntern<Runtime>);

impl From<Runtime> for SharedRuntime {
    fn from(runtime: Runtime) -> Self {
        Self(ArcIntern::from_ref(&runtime))
    }
}

/// What is kept of a runtime that was not known: what was read has room for four where there is one container.
impl From<&Self> for Runtime {
    fn from(read: &Self) -> Self {
        read.clone()
    }
}

impl Deref for SharedRuntime {
    type Target = Runtime;

    fn deref(&self) -> &Runtime {
        &self.0
    }
}

/// A container: what of it can name, load or replace a model.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// Its name in the pod.
    #[schemars(length(min = 1, max = 63))]
    pub name: Text,

    /// Its image, compared as it is written.
    #[schemars(length(min = 1, max = 1024))]
    pub image: Text,

    /// Its entry point.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 16384)))]
    pub command: Vec<Text>,

    /// Its arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 16384)))]
    pub args: Vec<Text>,

    /// Its working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub working_dir: Option<Text>,

    /// `Always` for an init container that runs beside the others and that they do not wait for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    pub restart_policy: Option<Text>,

    /// Its environment, in its order, without what `mayVary` lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub env: Vec<EnvVar>,

    /// Where more of its environment comes from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub env_from: Vec<EnvFrom>,

    /// Where its volumes are mounted, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub volume_mounts: Vec<VolumeMount>,

    /// The commands that its hooks and probes run in it.
    #[serde(default, skip_serializing_if = "ExecHooks::is_empty")]
    pub exec: ExecHooks,

    /// What need not be as it is here.
    #[serde(default, skip_serializing_if = "MayVary::is_empty")]
    pub may_vary: MayVary,
}

/// What may differ between pods of one version.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MayVary {
    /// The names of environment variables that may have any value, such as a token or a log level.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)), extend("x-kubernetes-list-type" = "set"))]
    pub env: Vec<Text>,
}

impl MayVary {
    fn is_empty(&self) -> bool {
        self.env.is_empty()
    }
}

/// The commands that hooks and probes run in a container.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecHooks {
    /// `lifecycle.postStart.exec.command`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 16384)))]
    pub post_start: Vec<Text>,
    /// `lifecycle.preStop.exec.command`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 16384)))]
    pub pre_stop: Vec<Text>,
    /// `livenessProbe.exec.command`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 16384)))]
    pub liveness_probe: Vec<Text>,
    /// `readinessProbe.exec.command`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 16384)))]
    pub readiness_probe: Vec<Text>,
    /// `startupProbe.exec.command`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 16384)))]
    pub startup_probe: Vec<Text>,
}

impl ExecHooks {
    /// Whether nothing is run.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// An environment variable, as in a pod.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("maxProperties" = 2))]
pub struct EnvVar {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: Text,
    /// Its value; an empty one is none, as in a pod.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "non_empty")]
    #[schemars(length(max = 32768))]
    pub value: Option<Text>,
    /// Where its value comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<Box<EnvVarSource>>,
}

fn non_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Text>, D::Error> {
    Ok(Option::<Text>::deserialize(deserializer)?.filter(|value| !value.is_empty()))
}

/// Where the value of an environment variable comes from; one of them.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct EnvVarSource {
    /// A field of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field_ref: Option<FieldRef>,
    /// A resource of a container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_field_ref: Option<ResourceFieldRef>,
    /// A key of a config map; its value is not pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<KeyRef>,
    /// A key of a secret; its value is not pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<KeyRef>,
}

/// A field of the pod.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldRef {
    /// The version of the pod's API.
    #[serde(default = "v1")]
    #[schemars(length(min = 1, max = 63))]
    pub api_version: Text,
    /// The path, such as `metadata.name`.
    #[schemars(length(min = 1, max = 512))]
    pub field_path: Text,
}

fn v1() -> Text {
    "v1".into()
}

/// A resource of a container.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceFieldRef {
    /// The container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub container_name: Option<Text>,
    /// Such as `limits.memory`.
    #[schemars(length(min = 1, max = 253))]
    pub resource: Text,
    /// The unit, as a quantity.
    #[serde(default = "zero")]
    #[schemars(length(min = 1, max = 32))]
    pub divisor: Text,
}

fn zero() -> Text {
    "0".into()
}

/// A key of a config map or secret.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyRef {
    /// The object.
    #[schemars(length(min = 1, max = 253))]
    pub name: Text,
    /// The key.
    #[schemars(length(min = 1, max = 253))]
    pub key: Text,
    /// Whether it may be missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// A config map or secret whose keys become environment variables; their values are not pinned.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("oneOf" = [{ "required": ["configMapRef"] }, { "required": ["secretRef"] }]))]
pub struct EnvFrom {
    /// Put before every key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub prefix: Option<Text>,
    /// A config map.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<SourceRef>,
    /// A secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SourceRef>,
}

/// A config map or secret.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceRef {
    /// The object.
    #[schemars(length(min = 1, max = 253))]
    pub name: Text,
    /// Whether it may be missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// Where a volume is mounted, as in a pod.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeMount {
    /// The volume.
    #[schemars(length(min = 1, max = 63))]
    pub name: Text,
    /// The path in the container.
    #[schemars(length(min = 1, max = 4096))]
    pub mount_path: Text,
    /// The path in the volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub sub_path: Option<Text>,
    /// The path in the volume, with environment variables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub sub_path_expr: Option<Text>,
    /// Whether the container may not write to it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("enum" = [true]))]
    pub read_only: bool,
}

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
    /// Fields of the pod as files, whichever.
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
}

/// A secret.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretVolume {
    /// The secret.
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: Text,
}

/// Fields of the pod as files, whichever.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DownwardApiVolume {}

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
    /// Fields of the pod, whichever.
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
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ServiceAccountTokenSource {}

/// A config map or secret in a projected volume.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProjectedObject {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: Text,
}

/// An empty directory.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EmptyDirVolume {}
