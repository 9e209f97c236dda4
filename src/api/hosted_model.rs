//! The models that a system calls at a provider, and the requirements of a `RiskLevel` for them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::Digest;

/// A model that runs at a provider, and that the system calls there (ISO/IEC 42001 A.10.3, EU AI Act annex IV 2(a)).
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostedModel {
    /// Name of the model in this system. Messages contain this name. Example: `summaries`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,

    /// Organisation that hosts the model. The entry of `spec.suppliers` with exactly this name states the
    /// certifications of the organisation. Example: `OpenAI`.
    #[schemars(length(min = 1, max = 256))]
    pub provider: String,

    /// Name of the model at the provider. Example: `gpt-5`.
    #[schemars(length(min = 1, max = 256))]
    pub model: String,

    /// Version of the model at the provider. Default: none, so the provider can change the model at any time.
    /// Example: `2026-08-06`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub version: Option<String>,

    /// Region in which the provider processes the data. Default: none. Example: `eu-central-1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub region: Option<String>,

    /// Address at which the system calls the model. Default: none. Example: `https://api.openai.com/v1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub endpoint: Option<String>,

    /// Agreement with the provider, such as a contract on data processing. Default: none.
    /// Example: `{ uri: https://docs.example.org/dpa.pdf, digest: sha256:… }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreement: Option<Agreement>,

    /// Time at which the provider retires the model. From this time on, no version of the system may run. Approvers do
    /// not sign this time, so a new date needs no new approval. Default: none. Example: `2027-10-01T00:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("self < timestamp('9000-01-01T00:00:00Z')", "the year must be before 9000"))]
    pub retires_at: Option<Time>,
}

/// An agreement with the provider of a hosted model.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Agreement {
    /// Address of the agreement. Approvers sign the digest, and not this address.
    /// Example: `https://docs.example.org/dpa.pdf`.
    #[schemars(length(min = 1, max = 2048))]
    pub uri: String,
    /// Digest of the content of the agreement. Example: `sha256:` and 64 hexadecimal digits.
    pub digest: Digest,
}

/// The requirements for the hosted models of a system.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequiredOfHostedModels {
    /// Names of the certifications that the provider of each hosted model must hold. The `AISystem` lists
    /// certifications of providers in `spec.suppliers`. Default: none. Example: `[ISO/IEC 42001]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "set"))]
    pub certifications: Vec<String>,

    /// Whether each hosted model needs an agreement. Default: false. Example: `true`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub agreement: bool,
}
