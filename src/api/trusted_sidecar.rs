//! The `TrustedSidecar` resource: additions of the cluster to pods. Governance trusts these additions in every pod.
//! Examples are the containers of a service mesh, an agent that fetches secrets, and their mounts and variables in
//! other containers.
//!
//! A pod may have the approved runtime of a `ModelVersion` and trusted additions, and nothing else. These additions are
//! possible:
//!
//! - A container or init container that equals an entry in all fields, except the fields that the entry lets vary.
//! - A volume that equals an entry in name and source.
//! - A mount or variable that equals an entry. Any container of the pod may have it.
//!
//! A container, volume or variable never counts as a trusted addition if the approved runtime has one with the same
//! name. A mount never counts as a trusted addition if its volume is in the approved runtime.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Conditions, Container, EnvVar, Volume, VolumeMount, conditions_schema};

/// Additions of the cluster to pods, such as the proxy of a service mesh. Any pod may have them beside its approved
/// runtime.
///
/// Governance writes this resource. A pod with any other addition is held.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "assent.dev",
    version = "v1alpha1",
    kind = "TrustedSidecar",
    doc = "Additions of the cluster to pods, such as the proxy of a service mesh. Any pod may have them beside its approved runtime.",
    status = "TrustedSidecarStatus",
    derive = "PartialEq",
    shortname = "tsc",
    category = "assent",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Changed By",
        type_ = "string",
        json_path = r".metadata.annotations.assent\.dev/changed-by",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct TrustedSidecarSpec {
    /// Description of the tool that makes the addition, and the reason to trust the addition. Default: none.
    /// Example: `Istio injects this proxy; the platform team verifies its images`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub description: Option<String>,

    /// The trusted additions.
    #[serde(flatten)]
    pub trusted: Trusted,
}

/// Additions that any pod may have beside its approved runtime.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trusted {
    /// Containers that a pod may have in addition. Default: none.
    /// Example: `[{ name: istio-proxy, image: docker.io/istio/proxyv2@sha256:… }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub containers: Vec<TrustedContainer>,

    /// Init containers that a pod may have in addition, at any position. Default: none.
    /// Example: `[{ name: istio-init, image: docker.io/istio/proxyv2@sha256:… }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub init_containers: Vec<TrustedContainer>,

    /// Volumes that a pod may have in addition, by name and source. Default: none.
    /// Example: `[{ name: istio-envoy, emptyDir: {} }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub volumes: Vec<Volume>,

    /// Mounts that any container may have in addition. They cannot be mounts of approved volumes. Default: none.
    /// Example: `[{ name: secrets, mountPath: /vault/secrets }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub volume_mounts: Vec<VolumeMount>,

    /// Variables that any container may have in addition, with exactly these values. Default: none.
    /// Example: `[{ name: VAULT_ADDR, value: https://vault.example.org }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub env: Vec<EnvVar>,
}

impl Trusted {
    /// Whether there is no trusted addition.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A container that a pod may have in addition. All fields must be equal, except those that this entry allows to vary.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (r"self.?images.orValue('Digest') == 'Name' ? self.image.matches('^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+$') : self.image.matches('^[^@ ]+@sha256:[0-9a-f]{64}$')",
    "image must end in @sha256: and its digest; with images: Name, it must be the registry and the repository without tag or digest"))]
pub struct TrustedContainer {
    /// The fields that must be equal.
    #[serde(flatten)]
    pub container: Container,

    /// Trusted images. `Digest`: only the image with the digest in `image`. `Name`: all images of the repository in
    /// `image`, with any tag or digest. Use `Name` only if another policy verifies these images.
    /// Default: `Digest`. Example: `Name`.
    #[serde(default)]
    pub images: TrustedImages,

    /// Whether the container may have any arguments. Do not set this if arguments of the image can name code or models
    /// to load. Default: false. Example: `true`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub any_args: bool,

    /// Prefixes of names of variables. The container may have such variables with any value. Default: none.
    /// Example: `[ISTIO_META_]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 3, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub env_prefixes: Vec<String>,
}

/// The images of a container that are trusted.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TrustedImages {
    /// Only the image with the digest in `image`.
    #[default]
    Digest,
    /// All images of the repository in `image`, with any tag or digest. Use this value only if another policy verifies
    /// these images, such as a signature policy.
    Name,
}

/// State of a trusted sidecar, as the operator observed it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrustedSidecarStatus {
    /// Generation of the object that this status describes. Absent before the first status. Example: `3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Conditions of the trusted sidecar. `Ready`: whether every `Clearance` contains it. Absent before the first
    /// status.
    /// Example: `[{ type: Ready, status: "True", … }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Conditions,
}
