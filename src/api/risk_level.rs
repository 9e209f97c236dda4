//! What a level of risk asks for before a model may run, and what happens when it is lost.

use kube::{CustomResource, KubeSchema, core::Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error};

use super::{Conditions, conditions_schema};

/// A level of risk, as in the EU AI Act or the organisation's own scheme, and the assent it needs.
///
/// Written by governance. Assigning a level to an `AISystem` needs the RBAC verb `use` on it.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "assent.dev",
    version = "v1alpha1",
    kind = "RiskLevel",
    doc = "A level of risk and the assent it needs (ISO/IEC 42001 clause 6.1, EU AI Act chapter III).",
    status = "RiskLevelStatus",
    derive = "PartialEq",
    shortname = "rl",
    category = "assent",
    printcolumn(name = "Requires", type_ = "string", json_path = ".status.requires"),
    printcolumn(name = "Prohibited", type_ = "boolean", json_path = ".spec.prohibited"),
    printcolumn(name = "Validity", type_ = "string", json_path = ".spec.validity"),
    printcolumn(name = "On Loss", type_ = "string", json_path = ".spec.onLoss.mode"),
    printcolumn(name = "Grace", type_ = "integer", json_path = ".spec.onLoss.gracePeriodSeconds"),
    printcolumn(name = "Systems", type_ = "integer", json_path = ".status.systems"),
    printcolumn(
        name = "Changed By",
        type_ = "string",
        json_path = r".metadata.annotations.assent\.dev/changed-by",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct RiskLevelSpec {
    /// What the level is for, in the organisation's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub description: Option<String>,

    /// No system of this level may run, whoever approves (EU AI Act article 5).
    #[serde(default)]
    pub prohibited: bool,

    /// The approvals needed; all of them. Empty: none is needed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["role"]))]
    pub approvals: Vec<RequiredApproval>,

    /// One person fills one role only. The owners of a system do not count as its approvers; nor does whoever created
    /// the version, or last changed anything of the system but its `decommission`. False by default.
    #[serde(default)]
    pub separation_of_duties: bool,

    /// How long an approval holds, as a Go duration such as `8760h`; at most ten years. Absent: until
    /// its own `notAfter`, if it has one.
    #[serde(default, deserialize_with = "validity", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 32))]
    #[x_kube(validation = (r"self.matches('^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) > duration('0s') && duration(self) <= duration('87600h')", "must be a duration such as 8760h, which is a year, or 90m: longer than 0s, and at most 87600h"))]
    pub validity: Option<Duration>,

    /// The types of document that the system must have, each matching a `documentation[].type`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub documents: Vec<String>,

    /// The parts of its provenance that a model version must state.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "set"))]
    pub evidence: Vec<super::Evidence>,

    /// The certifications, such as `ISO/IEC 42001`, that the system's provider must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "set"))]
    pub certifications: Vec<String>,

    /// Whether images must be named by digest.
    #[serde(default)]
    pub images: ImagePolicy,

    /// What happens to running pods when clearance is lost.
    #[serde(default)]
    pub on_loss: OnLoss,

    /// The controls that this level implements, for auditors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub controls: Vec<Control>,
}

/// As the schema has it: `Duration` panics when it reads one that is too long to be one, and an object that got past
/// the schema must count as missing and not end the operator.
fn validity<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    const DIGITS: usize = 15;
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    let is_short = text.len() <= 32 && text.split(|c: char| !c.is_ascii_digit()).all(|n| n.len() <= DIGITS);
    // The last two are in what `Duration` writes for less than a millisecond.
    let is_plain = text.chars().all(|c| c.is_ascii_digit() || ".hmsnµ".contains(c));
    if !(is_short && is_plain) {
        return Err(D::Error::custom(format!("\"{text}\" is no validity: want one such as 8760h")));
    }
    text.parse().map(Some).map_err(D::Error::custom)
}

/// Approvals by `count` different people in one role.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequiredApproval {
    /// The role, held by whoever has the RBAC verb `approve` on `approverroles.assent.dev/<role>`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub role: String,

    /// How many different people; 1 to 16.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 16), extend("format" = "int32"))]
    pub count: u32,
}

const fn one() -> u32 {
    1
}

/// How images may be named.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImagePolicy {
    /// By digest only: what was approved is what runs.
    #[default]
    Digest,
    /// By tag too. A tag can be moved after the approval.
    Tag,
}

/// What happens to running pods when clearance is lost.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!(self.?deadManSwitch.orValue(false) && self.?mode.orValue('Evict') == 'Audit')", "a dead-man switch stops what loses its clearance, and mode Audit only records it: leave out one of them"))]
pub struct OnLoss {
    /// How they are stopped.
    #[serde(default)]
    pub mode: OnLossMode,

    /// Seconds from the loss to the end of the last pod; 0 to 3600, by default 60. What `mode` says has the
    /// first half of it; pods that are left then are deleted. A node does not shorten a stop that has begun, so
    /// a pod's own `terminationGracePeriodSeconds`, and the grace of whoever deletes it, is at most half of this.
    #[serde(default = "default_grace")]
    #[schemars(range(min = 0, max = 3600), extend("format" = "int32"))]
    pub grace_period_seconds: u32,

    /// Running pods also carry the end of their clearance, as `activeDeadlineSeconds`: the kubelet stops them
    /// then even if the operator and the API server are gone. Where a clearance is renewed, they are replaced
    /// before; pods of Jobs and those that nothing owns cannot be, and end with the clearance they started with.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dead_man_switch: bool,
}

/// How what lost its clearance is stopped. Jobs and `CronJobs` are suspended in every mode but `Audit`.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnLossMode {
    /// Its pods are evicted, respecting disruption budgets; their replacements are held.
    #[default]
    Evict,
    /// The workload at the root of its pods' controllers is scaled to zero, and back when clearance returns.
    /// Where it has no `scale` subresource, or somebody else keeps scaling it up: `Evict`.
    ScaleDown,
    /// `spec.suspend` of the workload at the root of its pods' controllers is set, and taken back when
    /// clearance returns. Where it has no such field: `Evict`.
    Suspend,
    /// It runs on, and the loss is recorded. What is new is still held.
    Audit,
}

const fn default_grace() -> u32 {
    OnLoss::DEFAULT_GRACE_PERIOD_SECONDS
}

impl OnLoss {
    /// The grace where no risk level says another: a minute.
    pub const DEFAULT_GRACE_PERIOD_SECONDS: u32 = 60;

    /// The longest that one pod may take to end once it is deleted: half of the grace. In the first half
    /// anybody may delete it; from then on the operator does, and leaves it what is left.
    pub fn pod_grace_seconds(&self) -> u32 {
        // With a grace of 0 the API server forgets a pod whose containers may run on.
        (self.grace_period_seconds / 2).max(1)
    }
}

impl Default for OnLoss {
    fn default() -> Self {
        Self {
            mode: OnLossMode::default(),
            dead_man_switch: false,
            grace_period_seconds: Self::DEFAULT_GRACE_PERIOD_SECONDS,
        }
    }
}

/// A control of a framework that a level helps to implement.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Control {
    /// The framework, such as `ISO/IEC 42001`, `EU AI Act` or `NIST AI RMF`.
    #[schemars(length(min = 1, max = 63))]
    pub framework: String,

    /// The control, such as `A.5.4`, `Article 14` or `GOVERN 1.3`.
    #[schemars(length(min = 1, max = 63))]
    pub id: String,

    /// Its title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub title: Option<String>,
}

/// What the operator saw of a level.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RiskLevelStatus {
    /// The generation that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// `Ready`: the level is in force.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Conditions,

    /// The approvals in words, such as `1 risk-officer, 1 ethics-board`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub requires: Option<String>,

    /// How many systems have it, such as 3; 0 by default. A level that is in use cannot be deleted.
    #[serde(default)]
    #[schemars(extend("format" = "int32", "minimum" = 0))]
    pub systems: u32,

    /// How many pods of these systems run in namespaces that enforce, such as 12; 0 by default.
    #[serde(default)]
    #[schemars(extend("format" = "int32", "minimum" = 0))]
    pub running_pods: u32,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_validity_that_the_schema_does_not_take_is_an_error_and_no_panic() {
        let read = |validity: &str| serde_json::from_value::<RiskLevelSpec>(json!({ "validity": validity }));
        for good in ["8760h", "1h30m", "0.5h", "87600h", "999999999999999h999999999999999h"] {
            assert!(read(good).is_ok(), "{good}");
        }
        for bad in
            ["9223372036854775807h", "-1h", "1e300h", "NaNh", "infh", "h", "8760", "soon", &"1h".repeat(17)]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
        for short in ["0s", "0.0000001s", "0.00001s", "0.5ms"] {
            let level = read(short).expect("the schema refuses zero, and takes the others");
            let written = serde_json::to_value(&level).expect("an object serialises");
            assert_eq!(serde_json::from_value(written).ok(), Some(level), "{short}");
        }
        assert_eq!(read("90m").ok().and_then(|level| level.validity), "1h30m".parse().ok());
        assert_eq!(
            serde_json::from_value::<RiskLevelSpec>(json!({ "validity": null })).ok(),
            Some(RiskLevelSpec::default())
        );
    }
}
