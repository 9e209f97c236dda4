//! The `Runtime`: the fields of a pod that can name or load a model. These fields have the same names as in
//! the pod API.
//!
//! ```text
//! Runtime ─┬─ containers, initContainers   see `Container`
//!          ├─ volumes                      see `Volume`
//!          ├─ hostAliases, dnsConfig
//!          ├─ hostNetwork, hostPID, hostIPC, shareProcessNamespace
//!          └─ placeholders                 see `Placeholder`
//! ```
//!
//! `policy::fields` states for each field of a pod whether Assent compares it. A runtime contains only the name of a
//! claim, `ConfigMap` or Secret. So the content of the claim, `ConfigMap` or Secret can change without a new approval.
#![allow(clippy::struct_field_names, reason = "the fields have the names of the pod API")]
#![allow(clippy::struct_excessive_bools, reason = "each is a field of the pod API")]

use std::ops::Deref;

use internment::ArcIntern;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Text, Volume, quantity};

/// Containers, volumes and host settings that a pod must have. Only the variables in `mayVary` of a container and the
/// values of `placeholders` can differ.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(clippy::struct_excessive_bools, reason = "each is a field of the pod API")]
pub struct Runtime {
    /// Containers of the pod. The order does not matter.
    /// Example: `[{ name: vllm, image: vllm/vllm-openai@sha256:… }]`.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub containers: Vec<Container>,

    /// Init containers of the pod. The order matters. Default: none.
    /// Example: `[{ name: download, image: registry.example.org/download@sha256:… }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub init_containers: Vec<Container>,

    /// Volumes of the pod. The order does not matter. Default: none.
    /// Example: `[{ name: weights, persistentVolumeClaim: { claimName: weights } }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub volumes: Vec<Volume>,

    /// Entries that the pod adds to its file `/etc/hosts`, in this order. Default: none.
    /// Example: `[{ ip: 10.0.0.5, hostnames: [models.example.org] }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub host_aliases: Vec<HostAlias>,

    /// Name servers and search domains of the pod, beside those that its `dnsPolicy` chooses. Default: none.
    /// Example: `{ nameservers: [10.0.0.10] }`.
    #[serde(default, skip_serializing_if = "DnsConfig::is_empty")]
    pub dns_config: DnsConfig,

    /// Placeholders that this runtime uses in `command`, `args`, values of `env`, entries of `mayVary.env`, and names
    /// of claims and volumes. A placeholder that is not in this list counts as plain text. Default: none.
    /// Example: `[ordinal]`, so that `<ordinal>` means any ordinal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "set"))]
    pub placeholders: Vec<Placeholder>,

    /// Whether the pod uses the network of its node. Other programs of the node can then answer at the pod's addresses.
    /// Default: false. Example: `true`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub host_network: bool,

    /// Whether the pod sees the processes of its node. Default: false. Example: `true`.
    #[serde(default, rename = "hostPID", skip_serializing_if = "std::ops::Not::not")]
    pub host_pid: bool,

    /// Whether the pod uses the shared memory of its node. Other programs of the node can then change this memory.
    /// Default: false. Example: `true`.
    #[serde(default, rename = "hostIPC", skip_serializing_if = "std::ops::Not::not")]
    pub host_ipc: bool,

    /// Whether the containers of the pod see each other's processes. Default: false.
    /// Example: `true`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub share_process_namespace: bool,
}

impl Runtime {
    /// The images of all containers, init containers and volumes.
    pub fn images(&self) -> impl Iterator<Item = &str> {
        let containers =
            self.containers.iter().chain(&self.init_containers).map(|container| &*container.image);
        let volumes = self.volumes.iter().filter_map(|volume| volume.image.as_ref());
        containers.chain(volumes.map(|volume| &*volume.reference))
    }
}

/// A placeholder: a part of a text that may differ between the pods of one version. The text contains the name of the
/// placeholder in angle brackets.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Placeholder {
    /// `<ordinal>`: a number from 0 to 99999 without leading zeros, such as the ordinal of a `StatefulSet`'s pod.
    Ordinal,
    /// `<number>`: a number without a sign, with up to 20 digits. A fraction of up to 20 digits and an exponent of
    /// one or two digits can follow, as in `2.5e-05`.
    Number,
    /// `<name>`: one DNS label of at most 63 characters: lower case letters, digits and inner dashes.
    Name,
    /// `<host>`: a host name or an IPv4 address of at most 253 characters: lower case letters, digits, dashes and dots.
    Host,
    /// `<host:port>`: a host as in `<host>`, a colon, and a port of at most five digits.
    #[serde(rename = "host:port")]
    HostPort,
    /// `<uid>`: a UID of Kubernetes: 32 lower case hexadecimal digits with four dashes.
    Uid,
    /// `<random5>`: the five characters that Kubernetes adds to generated names, without vowels.
    Random5,
}

impl Placeholder {
    /// All placeholders, the most specific first.
    pub const ALL: [Self; 7] =
        [Self::Ordinal, Self::Random5, Self::Uid, Self::Number, Self::Name, Self::HostPort, Self::Host];

    /// The name of the placeholder in angle brackets, as a text of a runtime contains it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Ordinal => "<ordinal>",
            Self::Number => "<number>",
            Self::Name => "<name>",
            Self::Host => "<host>",
            Self::HostPort => "<host:port>",
            Self::Uid => "<uid>",
            Self::Random5 => "<random5>",
        }
    }

    /// Describes to an approver which values the placeholder allows.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Ordinal => "any whole number from 0 to 99999",
            Self::Number => "any number without a sign, such as 8, 0.001 or 1e-05",
            Self::Name => "any name of lower case letters, digits and dashes, at most 63 characters",
            Self::Host => "any host name or IPv4 address, also of a host outside the cluster",
            Self::HostPort => "any host name or IPv4 address and any port, also outside the cluster",
            Self::Uid => "any UID of Kubernetes",
            Self::Random5 => "any five characters of a generated name",
        }
    }
}

/// An entry in the file `/etc/hosts` of a pod.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostAlias {
    /// IP address of the host names. Example: `10.0.0.5`.
    #[schemars(length(min = 1, max = 63))]
    pub ip: Text,
    /// Host names of the address, in this order. Default: none. Example: `[models.example.org]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 253)))]
    pub hostnames: Vec<Text>,
}

/// Name servers and search domains of a pod.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DnsConfig {
    /// Addresses of name servers, in this order. Default: none. Example: `[10.0.0.10]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3), inner(length(max = 63)))]
    pub nameservers: Vec<Text>,
    /// Domains that the pod appends to short host names, in this order. Default: none.
    /// Example: `[models.svc.cluster.local]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 253)))]
    pub searches: Vec<Text>,
}

impl DnsConfig {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// An interned [`Runtime`]: versions, clearances and pods with the same runtime share one copy in memory.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Runtime")]
#[schemars(with = "Runtime")]
pub struct SharedRuntime(ArcIntern<Runtime>);

impl From<Runtime> for SharedRuntime {
    fn from(runtime: Runtime) -> Self {
        Self(ArcIntern::from_ref(&runtime))
    }
}

/// Copies a runtime for the interner. The copy needs less memory, because `clone` leaves out unused capacity of lists.
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

/// Fields of a container that can name, load or replace a model.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// Name of the container in the pod. Example: `vllm`.
    #[schemars(length(min = 1, max = 63))]
    pub name: Text,

    /// Image of the container. Assent compares it as text with the image in the pod. If both images have a
    /// digest, their tags do not matter. A new pod of a `ModelVersion` can name the image without the digest: the API server
    /// then adds it.
    /// Example: `vllm/vllm-openai@sha256:…`.
    #[schemars(length(min = 1, max = 1024))]
    pub image: Text,

    /// Entry point of the container. Default: none, so the entry point of the image applies. Example: `[vllm, serve]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 16384)))]
    pub command: Vec<Text>,

    /// Arguments of the entry point, in this order. Default: none. Example: `[--max-model-len=8192]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 16384)))]
    pub args: Vec<Text>,

    /// Working directory of the container. Default: none, so the working directory of the image applies.
    /// Example: `/srv`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "super::non_empty")]
    #[schemars(length(max = 4096))]
    pub working_dir: Option<Text>,

    /// Restart policy of the container. `Always` makes an init container a sidecar. Default: none. Example: `Always`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    pub restart_policy: Option<Text>,

    /// Environment variables in this order, without those that `mayVary` names. Default: none.
    /// Example: `[{ name: HF_HOME, value: /cache/huggingface }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub env: Vec<EnvVar>,

    /// `ConfigMaps` and Secrets whose keys become environment variables, in this order. Default: none.
    /// Example: `[{ configMapRef: { name: model-settings } }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub env_from: Vec<EnvFrom>,

    /// Mounts of volumes, in this order. Default: none. Example: `[{ name: cache, mountPath: /cache }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub volume_mounts: Vec<VolumeMount>,

    /// Block devices of claims, in this order. Default: none. Example: `[{ name: weights, devicePath: /dev/weights }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub volume_devices: Vec<VolumeDevice>,

    /// Commands that hooks and probes run in the container. Default: none.
    /// Example: `{ preStop: [sleep, "5"] }`.
    #[serde(default, skip_serializing_if = "ExecHooks::is_empty")]
    pub exec: ExecHooks,

    /// HTTP requests that hooks send to the container. Default: none.
    /// Example: `{ preStop: { path: /drain, port: 8022 } }`.
    #[serde(default, skip_serializing_if = "HttpHooks::is_empty")]
    pub http: HttpHooks,

    /// Variables that can differ between the pods of one version. Default: none. Example: `{ env: [HF_TOKEN] }`.
    #[serde(default, skip_serializing_if = "MayVary::is_empty")]
    pub may_vary: MayVary,
}

/// The environment variables of a container that can differ between pods of one version.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MayVary {
    /// Environment variables that may differ or be missing. An entry `NAME` allows any value of this variable. An entry
    /// `NAME=TEXT`, with placeholders in the text, allows only values that match the text. Default: none.
    /// Example: `[HF_TOKEN, LWS_LEADER_ADDRESS=<host>]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 1024)), extend("x-kubernetes-list-type" = "set"))]
    pub env: Vec<Text>,
}

impl MayVary {
    fn is_empty(&self) -> bool {
        self.env.is_empty()
    }
}

/// Commands that hooks and probes run in a container.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecHooks {
    /// Value of `lifecycle.postStart.exec.command`. Default: none. Example: `[/bin/warm-up]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 16384)))]
    pub post_start: Vec<Text>,
    /// Value of `lifecycle.preStop.exec.command`. Default: none. Example: `[sleep, "5"]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 16384)))]
    pub pre_stop: Vec<Text>,
    /// Value of `livenessProbe.exec.command`. Default: none. Example: `[/bin/health]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 16384)))]
    pub liveness_probe: Vec<Text>,
    /// Value of `readinessProbe.exec.command`. Default: none. Example: `[/bin/ready]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 16384)))]
    pub readiness_probe: Vec<Text>,
    /// Value of `startupProbe.exec.command`. Default: none. Example: `[/bin/health]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 16384)))]
    pub startup_probe: Vec<Text>,
}

impl ExecHooks {
    /// Whether no hook or probe runs a command.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// HTTP requests that the node sends to a container after its start and before its stop.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpHooks {
    /// Value of `lifecycle.postStart.httpGet`. Default: none. Example: `{ path: /warm-up, port: 8000 }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_start: Option<HttpGet>,
    /// Value of `lifecycle.preStop.httpGet`. Default: none. Example: `{ path: /drain, port: 8022 }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_stop: Option<HttpGet>,
}

impl HttpHooks {
    /// Whether no hook sends a request.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A GET request to the container itself, as in a pod.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpGet {
    /// Path of the request. Default: `/`. Example: `/drain`.
    #[serde(default = "slash")]
    #[schemars(length(min = 1, max = 4096))]
    pub path: Text,
    /// Number of the port. A pod whose hook uses the name of a port never matches. Example: `8022`.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// Scheme of the request, `HTTP` or `HTTPS`. Default: `HTTP`. Example: `HTTPS`.
    #[serde(default = "http")]
    #[schemars(extend("enum" = ["HTTP", "HTTPS"]))]
    pub scheme: Text,
    /// Headers of the request, in this order. Default: none. Example: `[{ name: Accept, value: text/plain }]`.
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
    /// Name of the header. Example: `Accept`.
    #[schemars(length(min = 1, max = 253))]
    pub name: Text,
    /// Value of the header. Example: `text/plain`.
    #[schemars(length(max = 4096))]
    pub value: Text,
}

/// An environment variable, as in a pod.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("maxProperties" = 2))]
pub struct EnvVar {
    /// Name of the variable. Example: `HF_HOME`.
    #[schemars(length(min = 1, max = 253))]
    pub name: Text,
    /// Value of the variable. An empty value is the same as none. Default: none. Example: `/cache/huggingface`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "super::non_empty")]
    #[schemars(length(max = 32768))]
    pub value: Option<Text>,
    /// Source of the value. Default: none. Example: `{ fieldRef: { fieldPath: metadata.name } }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<Box<EnvVarSource>>,
}

/// Source of the value of an environment variable. Exactly one field must be set.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct EnvVarSource {
    /// Field of the pod. Default: none. Example: `{ fieldPath: metadata.name }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field_ref: Option<FieldRef>,
    /// Resource of a container. Default: none. Example: `{ resource: limits.memory }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_field_ref: Option<ResourceFieldRef>,
    /// Key of a `ConfigMap`. The value of the key can change without a new approval. Default: none.
    /// Example: `{ name: model-settings, key: level }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<KeyRef>,
    /// Key of a Secret. The value of the key can change without a new approval. Default: none.
    /// Example: `{ name: huggingface, key: token }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<KeyRef>,
}

/// A reference to a field of the pod.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldRef {
    /// Version of the pod API. Default: `v1`. Example: `v1`.
    #[serde(default = "v1")]
    #[schemars(length(min = 1, max = 63))]
    pub api_version: Text,
    /// Path of the field in the pod. Example: `metadata.name`.
    #[schemars(length(min = 1, max = 512))]
    pub field_path: Text,
}

fn v1() -> Text {
    "v1".into()
}

/// A reference to a resource of a container.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceFieldRef {
    /// Name of the container. Default: none, so a variable describes its own container. Example: `vllm`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "super::non_empty")]
    #[schemars(length(max = 63))]
    pub container_name: Option<Text>,
    /// Name of the resource. Example: `limits.memory`.
    #[schemars(length(min = 1, max = 253))]
    pub resource: Text,
    /// Unit of the value, as a quantity. Default: `0`, which means `1` in Kubernetes. Example: `1Mi`.
    #[serde(default = "zero", deserialize_with = "quantity::deserialize")]
    #[schemars(length(min = 1, max = 32))]
    pub divisor: Text,
}

fn zero() -> Text {
    "0".into()
}

/// A reference to a key of a `ConfigMap` or Secret.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyRef {
    /// Name of the `ConfigMap` or Secret. Example: `model-settings`.
    #[schemars(length(min = 1, max = 253))]
    pub name: Text,
    /// Key in the `ConfigMap` or Secret. Example: `token`.
    #[schemars(length(min = 1, max = 253))]
    pub key: Text,
    /// Whether the container may start without the `ConfigMap` or Secret, or without the key. Default: none. A pod that
    /// states `false` does not match a version without this field.
    /// Example: `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// A `ConfigMap` or Secret whose keys become environment variables. The values of these variables can change
/// without a new approval.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("oneOf" = [{ "required": ["configMapRef"] }, { "required": ["secretRef"] }]))]
pub struct EnvFrom {
    /// Prefix of the names of the variables. Default: none. Example: `MODEL_`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "super::non_empty")]
    #[schemars(length(max = 253))]
    pub prefix: Option<Text>,
    /// `ConfigMap` with the values. Default: none. Example: `{ name: model-settings }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<SourceRef>,
    /// Secret with the values. Default: none. Example: `{ name: model-tokens }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SourceRef>,
}

/// A reference to a `ConfigMap` or Secret.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceRef {
    /// Name of the `ConfigMap` or Secret. Example: `model-settings`.
    #[schemars(length(min = 1, max = 253))]
    pub name: Text,
    /// Whether the container may start without the `ConfigMap` or Secret. Default: none. A pod that states `false` does
    /// not match a version without this field.
    /// Example: `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// A mount of a volume, as in a pod.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeMount {
    /// Name of the volume. Example: `cache`.
    #[schemars(length(min = 1, max = 63))]
    pub name: Text,
    /// Path of the mount in the container. Example: `/cache`.
    #[schemars(length(min = 1, max = 4096))]
    pub mount_path: Text,
    /// Path inside the volume. Only this path is mounted. Default: none, so the whole volume is mounted.
    /// Example: `models/v1`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "super::non_empty")]
    #[schemars(length(max = 4096))]
    pub sub_path: Option<Text>,
    /// Path in the volume, with environment variables that Kubernetes replaces. Default: none.
    /// Example: `$(POD_NAME)`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "super::non_empty")]
    #[schemars(length(max = 4096))]
    pub sub_path_expr: Option<Text>,
    /// Whether the mount is read-only. Default: false. Example: `true`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// Visibility of later mounts. `HostToContainer`: new mounts on the node appear in the container.
    /// `Bidirectional`: new mounts in the container also appear on the node. Default: none. A pod that states
    /// `None` does not match a version without this field.
    /// Example: `HostToContainer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["None", "HostToContainer", "Bidirectional"]))]
    pub mount_propagation: Option<Text>,
}

/// A block device of a claim in a container, as in a pod.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeDevice {
    /// Name of the volume. Kubernetes requires a volume of type `persistentVolumeClaim` or `ephemeral`. Example:
    /// `weights`.
    #[schemars(length(min = 1, max = 253))]
    pub name: Text,
    /// Path of the device in the container. Example: `/dev/weights`.
    #[schemars(length(min = 1, max = 4096))]
    pub device_path: Text,
}
