//! What a pod must look like to be the model that was approved: the fields of a pod that can name
//! or load a model, in the words of the pod API.
//!
//! ```text
//! Runtime ─┬─ containers      ┐ image, command, args, env, envFrom, workingDir, volumeMounts,
//!          ├─ initContainers  ┘ exec hooks and probes, http hooks; mayVary
//!          ├─ volumes           image, claim, configMap, secret, downwardAPI, projected, emptyDir
//!          └─ hostNetwork, hostPID, hostIPC, shareProcessNamespace
//! ```
//!
//! `policy::fields` says of every field of a pod whether it is compared.
//! What is referred to by name, such as the content of a claim or a config map, is not pinned by it.
#![allow(clippy::struct_field_names, reason = "the names are those of the pod API")]
#![allow(clippy::struct_excessive_bools, reason = "each is a field of the pod API")]

use std::ops::Deref;

use internment::ArcIntern;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::{Text, Volume};

/// The containers and volumes of a pod, exact but for what a container lists in `mayVary`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(clippy::struct_excessive_bools, reason = "each is a field of the pod API")]
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

    /// Whether the pod uses the network of its node, so that other programs of the node can answer at its
    /// addresses. Default: false. Example: `hostNetwork: true`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub host_network: bool,

    /// Whether the pod sees the processes of its node. Default: false. Example: `hostPID: true`.
    #[serde(default, rename = "hostPID", skip_serializing_if = "std::ops::Not::not")]
    pub host_pid: bool,

    /// Whether the pod uses the shared memory of its node, which other programs can write. Default: false.
    /// Example: `hostIPC: true`.
    #[serde(default, rename = "hostIPC", skip_serializing_if = "std::ops::Not::not")]
    pub host_ipc: bool,

    /// Whether the containers of the pod see each other's processes. Default: false.
    /// Example: `shareProcessNamespace: true`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub share_process_namespace: bool,
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

    /// The HTTP requests that its hooks send to it. Default: none.
    /// Example: `http: { preStop: { path: /drain, port: 8022 } }`.
    #[serde(default, skip_serializing_if = "HttpHooks::is_empty")]
    pub http: HttpHooks,

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

/// The HTTP requests that the node sends to a container when it starts and before it stops.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpHooks {
    /// `lifecycle.postStart.httpGet`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_start: Option<HttpGet>,
    /// `lifecycle.preStop.httpGet`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_stop: Option<HttpGet>,
}

impl HttpHooks {
    /// Whether no request is sent.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A GET request to the container itself, as in a pod.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpGet {
    /// The path. Default: `/`. Example: `/drain`.
    #[serde(default = "slash")]
    #[schemars(length(min = 1, max = 4096))]
    pub path: Text,
    /// The number of the port; a hook that names its port never matches. Example: 8022.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// `HTTP` or `HTTPS`. Default: `HTTP`.
    #[serde(default = "http")]
    #[schemars(extend("enum" = ["HTTP", "HTTPS"]))]
    pub scheme: Text,
    /// The headers, in their order. Default: none. Example: `[{ name: Accept, value: text/plain }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub http_headers: Vec<HttpHeader>,
}

fn slash() -> Text {
    "/".into()
}

fn http() -> Text {
    "HTTP".into()
}

/// A header of an HTTP request.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpHeader {
    /// Its name. Example: `Accept`.
    #[schemars(length(min = 1, max = 253))]
    pub name: Text,
    /// Its value. Example: `text/plain`.
    #[schemars(length(max = 4096))]
    pub value: Text,
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
