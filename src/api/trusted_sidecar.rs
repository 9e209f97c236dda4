//! What the cluster itself puts into pods, and governance trusts wherever it is: the containers of a
//! service mesh, the agent that fetches secrets, and what they add to the pod's own containers.
//!
//! ```text
//!  pod = what was approved + what is trusted, and nothing else
//!        Runtime             containers, initContainers   whole, each by image and command
//!        of a ModelVersion   volumes                      whole
//!                            volumeMounts, env            added to any container of the pod
//! ```
//!
//! A name that the approved runtime has is never a trusted one's: what was approved must be there itself.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Conditions, Container, EnvVar, Volume, VolumeMount, conditions_schema};

/// What the cluster adds to pods, and may be in any pod besides what was approved.
///
/// Written by governance. What is in none of them, and was not approved, is held.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "assent.dev",
    version = "v1alpha1",
    kind = "TrustedSidecar",
    doc = "What the cluster adds to pods, such as a service mesh's proxy, and may be in any pod besides what was approved.",
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
    /// Who adds it and why it is trusted, in the organisation's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub description: Option<String>,

    /// What is trusted.
    #[serde(flatten)]
    pub trusted: Trusted,
}

/// What may be in a pod besides what was approved.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trusted {
    /// Containers that may be there besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub containers: Vec<TrustedContainer>,

    /// Init containers that may be there besides, anywhere among the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub init_containers: Vec<TrustedContainer>,

    /// Volumes that may be there besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub volumes: Vec<Volume>,

    /// Mounts that any container may have besides its own, of volumes that are not the approved ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub volume_mounts: Vec<VolumeMount>,

    /// Variables that any container may have besides its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub env: Vec<EnvVar>,
}

impl Trusted {
    /// Whether nothing is trusted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A container that is trusted, exact but for what it lists.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (r"self.?images.orValue('Digest') == 'Name' ? self.image.matches('^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+$') : self.image.matches('^[^@ ]+@sha256:[0-9a-f]{64}$')",
    "image must end in @sha256: and its digest or, with images: Name, be the whole name of a repository with its registry and neither tag nor digest"))]
pub struct TrustedContainer {
    /// What it must be.
    #[serde(flatten)]
    pub container: Container,

    /// Whether its image is the one of this digest, or any that the repository of this name has.
    #[serde(default)]
    pub images: TrustedImages,

    /// Whether it may have any arguments. Not for an image that loads what its arguments name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub any_args: bool,

    /// Variables whose names begin with one of these may be there with any value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 3, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub env_prefixes: Vec<String>,
}

/// Which images of a container are trusted.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TrustedImages {
    /// The one whose digest it names.
    #[default]
    Digest,
    /// Every one of the repository that it names, whatever its tag or digest: only where something else
    /// makes sure what is in the repository, such as a policy that verifies signatures.
    Name,
}

/// What the operator made of it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrustedSidecarStatus {
    /// The generation that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// `Ready`: it is part of every `Clearance`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Conditions,
}
