//! The `Clearance` resource: the only object with which the API server and the operator decide about pods.
//!
//! ```text
//! Clearance "clearance" ─┬─ mode, scope, since
//!                        ├─ trusted            additions that any pod may have
//!                        └─ systems ── <name> ─┬─ cleared[]       each with its runtime and notAfter
//!                                              ├─ withheld[]      each with its reason and message
//!                                              └─ onLoss, lostAt  how pods stop, and since when
//! ```
//!
//! The API server admits pods by `trusted` and `cleared`. The operator releases held pods by the same fields, and
//! copies the messages in `withheld` into Events.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{Digest, Mode, OnLoss, Scope, SharedRuntime, Trusted};

/// The name of the only `Clearance` of a namespace.
pub const CLEARANCE_NAME: &str = "clearance";

/// Versions that may run in a namespace, each with the end of its clearance. Only the operator writes this object.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "assent.dev",
    version = "v1alpha1",
    kind = "Clearance",
    doc = "The versions that may run in a namespace, each with the end of its clearance. Only the operator writes this object.",
    namespaced,
    derive = "PartialEq",
    shortname = "clr",
    category = "assent",
    validation = ("self.metadata.name == 'clearance'", "the Clearance of a namespace must have the name clearance"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(name = "Scope", type_ = "string", json_path = ".spec.scope"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
// With `atomic`, the API server does not record a manager for each field, so a Clearance stays small. The size matters,
// because the API server reads the Clearance for every new pod. The record is not needed, because only the operator
// writes a Clearance, and always replaces the whole spec.
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct ClearanceSpec {
    /// Mode of the namespace, from its label `assent.dev/mode`. `enforce`: hold and stop pods that are not cleared.
    /// `warn`: warn the user and write to the audit log. `audit`: only write to the audit log.
    /// Absent: the namespace is not governed. Example: `enforce`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,

    /// Scope of the namespace, from its label `assent.dev/scope`. `all`: every pod. `accelerated`: pods that use an
    /// accelerator or name a system. `labelled`: pods that name a system. Default: `all`. Example: `labelled`.
    #[serde(default)]
    pub scope: Scope,

    /// Time at which the mode and the scope got these values. For pods that existed before, the grace period
    /// begins at this time. Absent if the time is not known. Example: `2026-11-24T12:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,

    /// Additions to pods from all `TrustedSidecars` that are `Ready`. Default: none.
    /// Example: `{ env: [{ name: VAULT_ADDR, value: https://vault.example.org }] }`.
    #[serde(default, skip_serializing_if = "Trusted::is_empty")]
    pub trusted: Trusted,

    /// Systems of the namespace, by name. Default: none. Example: `{ credit-scorer: { riskLevel: high } }`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 256))]
    pub systems: BTreeMap<String, SystemClearance>,
}

/// Versions of one system that may run, and the action on pods that lose their clearance.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SystemClearance {
    /// Versions that may run. Default: none. Example: `[{ modelVersion: credit-scorer-v1, … }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub cleared: Vec<ClearedVersion>,

    /// Newest versions that may not run. The operator copies the reasons into Events about held pods. At most
    /// 16 versions are listed, and fewer if the `Clearance` would be too large. Default: none.
    /// Example: `[{ modelVersion: credit-scorer-v2, reason: AwaitingApproval, … }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub withheld: Vec<WithheldVersion>,

    /// Action on running pods that lose their clearance, from the risk level of the system. For some time after a
    /// change to a milder level, the stricter values of both levels apply. Default: mode `Evict` within 60 seconds.
    /// Example: `{ mode: ScaleDown, gracePeriodSeconds: 300 }`.
    #[serde(default)]
    pub on_loss: OnLoss,

    /// Name of the risk level of the system. Absent if the name is not known. Example: `high`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub risk_level: Option<String>,

    /// Time at which the system changed to a milder risk level while pods of the earlier level could still run. Absent
    /// if `onLoss` comes only from the current level. Example: `2026-11-24T12:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switched_at: Option<Time>,

    /// Time at which a version of the system last lost its clearance. The grace period begins at this time. Absent if
    /// this never happened. Example: `2026-11-24T12:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_at: Option<Time>,
}

/// A version that may run.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClearedVersion {
    /// Name of the `ModelVersion`. Example: `credit-scorer-v1`.
    #[schemars(length(max = 253))]
    pub model_version: String,
    /// Digest of the approved content. Example: `sha256:` and 64 hexadecimal digits.
    pub subject_digest: Digest,
    /// Time from which the version may not run, in whole seconds like the creation time of a pod. If the clearance has
    /// no end, the time is `9999-12-30T00:00:00Z`. Example: `2027-03-31T00:00:00Z`.
    pub not_after: Time,
    /// Containers, volumes and host settings. A pod of this version must have exactly these, except for variables in
    /// `mayVary`, values of placeholders and additions of trusted sidecars.
    /// Example: `{ containers: [{ name: vllm, image: vllm/vllm-openai@sha256:… }] }`.
    pub runtime: SharedRuntime,
    /// Texts of the runtime with placeholders, as regular expressions for the API server. Absent if the runtime has no
    /// placeholders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patterns: Option<Patterns>,
}

/// Texts of a runtime with placeholders, as the API server compares them. The operator derives them from the runtime.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Patterns {
    /// Regular expression of each text with placeholders.
    /// Example: `{ --rank=<ordinal>: ^--rank=(?:[0]|[1-9][0-9]{0,4})$ }`.
    #[schemars(extend("additionalProperties" = { "type": "string", "maxLength": 65536 }, "maxProperties" = 64))]
    pub texts: BTreeMap<String, String>,
    /// Positions in the longest list of commands, arguments or variables of a container, from 0 to the last position.
    /// The CEL expression needs this list, because it cannot count. Example: `[0, 1, 2]`.
    #[schemars(length(max = 256))]
    pub positions: Vec<i32>,
    /// Number of characters of the longest text that matches one of the expressions. A longer text matches none.
    /// Example: `12`.
    pub longest: i32,
    /// Name of the volume whose name has a placeholder. Default: none. Example: `volume-<name>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub volume: Option<String>,
}

/// A version that may not run.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WithheldVersion {
    /// Name of the `ModelVersion`. Example: `credit-scorer-v1`.
    #[schemars(length(max = 253))]
    pub model_version: String,
    /// Reason as one word. Example: `AwaitingApproval`.
    #[schemars(length(max = 63))]
    pub reason: String,
    /// Reasons as text, each with the next step. A long text is cut.
    /// Example: `awaiting approval by role risk-officer: 0 of 1 given (someone in role risk-officer runs: kubectl …)`.
    #[schemars(length(max = 4096))]
    pub message: String,
}
