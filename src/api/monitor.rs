//! The `Monitor` resource: a condition on a metric of a system, and the action when the metric breaches it.

#![allow(clippy::struct_field_names, reason = "the names of counted times state the unit")]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema, core::Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Conditions, Decimal, Digest, RiskRating, Text, conditions_schema};

/// A condition on a metric of a system, which the operator checks in Prometheus (EU AI Act article 72, ISO/IEC 42001
/// A.6.2.6). On a breach, the operator warns, opens an incident, or holds the system.
///
/// A query reads only the series of the monitor's namespace. A monitor never clears a version and never lifts a hold.
/// To create, change or delete a monitor that holds a system, the user needs the RBAC verb `hold` on the `AISystem`.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "assent.dev",
    version = "v1alpha1",
    kind = "Monitor",
    doc = "A condition on a metric of a system in Prometheus, and the action when the metric breaches it.",
    namespaced,
    status = "MonitorStatus",
    derive = "PartialEq",
    shortname = "amon",
    category = "assent",
    printcolumn(name = "System", type_ = "string", json_path = ".spec.system"),
    printcolumn(name = "Metric", type_ = "string", json_path = ".spec.metric"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Value", type_ = "string", json_path = ".status.value"),
    printcolumn(name = "On Breach", type_ = "string", json_path = ".spec.onBreach"),
    printcolumn(name = "Incident", type_ = "string", json_path = ".status.breach.incident"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Query", type_ = "string", json_path = ".status.query", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.query) != has(self.alert)", "set exactly one of query and alert"))]
#[x_kube(validation = ("has(self.alert) ? !has(self.breach.above) && !has(self.breach.below) : has(self.breach.above) != has(self.breach.below)", "with a query, set exactly one of breach.above and breach.below; with an alert, set none of them"))]
#[x_kube(validation = ("!has(self.clear) || !has(self.clear.below) || (has(self.breach.above) && double(self.clear.below) <= double(self.breach.above))", "clear.below needs breach.above, and must not be higher"))]
#[x_kube(validation = ("!has(self.clear) || !has(self.clear.above) || (has(self.breach.below) && double(self.clear.above) >= double(self.breach.below))", "clear.above needs breach.below, and must not be lower"))]
pub struct MonitorSpec {
    /// Name of the `AISystem` of this namespace. Example: `credit-scorer`.
    #[schemars(length(min = 1, max = 63))]
    pub system: Text,

    /// Name of the metric, for people. Risk levels require monitors by this name. Example: `trustyai_spd`.
    #[schemars(length(min = 1, max = 128))]
    pub metric: Text,

    /// PromQL instant query. Its result must be a number, or exactly one series. The operator adds a matcher for this
    /// namespace to every selector. Default: none, so `alert` is set. Example: `max(abs(trustyai_spd))`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub query: Option<String>,

    /// Alert of Prometheus. The condition is breached while the alert fires. Without a firing alert, the value is 0,
    /// even if Prometheus has no rule for the alert. To notice a missing rule, state `samples`, with a query that has a
    /// value while the rule works. Default: none, so `query` is set. Example: `{ name: CreditDrift }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert: Option<ExistingAlert>,

    /// Limit of the value, and the time after which a value beyond it is a breach.
    /// Example: `{ above: "0.1", for: 30m }`.
    pub breach: BreachBar,

    /// Limit and time that end a breach. A breach ends when the values stay within this limit for this time. A later
    /// breach opens a new incident. The end of a breach never lifts a hold. Default: the limit of `breach`, for ten minutes.
    /// Example: `{ below: "0.08", for: 2h }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clear: Option<ClearBar>,

    /// Query for the number of samples, and the smallest number with which a value counts. Default: none, so every
    /// value counts.
    /// Example: `{ query: sum(increase(predictions_total[1d])), atLeast: "500" }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<RequiredSamples>,

    /// Action when Prometheus answers, but has no usable value. Example: `{ after: 6h, then: Unknown }`.
    pub no_data: NoData,

    /// Time between two queries, as a Go duration from `5s` to `1h`. Default: `1m`. Example: `30s`.
    #[serde(default = "default_interval", deserialize_with = "super::duration::required")]
    #[schemars(extend("maxLength" = 32))]
    #[x_kube(validation = (r"self.matches('^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('5s') && duration(self) <= duration('1h')", "must be a duration from 5s to 1h, such as 1m"))]
    pub interval: Duration,

    /// Action on a breach. `Warn`: an Event and a condition in the status. `OpenIncident`: an `Incident` that holds no
    /// version. `Hold`: an `Incident` that holds all versions of the system. Default: `Warn`. Example: `Hold`.
    #[serde(default)]
    pub on_breach: OnBreach,

    /// Severity of a breach, for people: `Low`, `Medium`, `High` or `Critical`. The description of the incident states
    /// it. Default: none. Example: `High`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<RiskRating>,

    /// Name of a Prometheus in the configuration of the operator. Default: `default`. Example: `platform`.
    #[serde(default = "default_source")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub source: Text,
}

fn default_interval() -> Duration {
    std::time::Duration::from_mins(1).into()
}

fn default_source() -> Text {
    "default".into()
}

impl MonitorSpec {
    /// A digest of what the monitor measures: the query or alert, the required samples and the source.
    pub fn measured_digest(&self) -> Digest {
        let measured = serde_json::json!([&self.query, &self.alert, &self.samples, &self.source]);
        Digest::from_sha256(Sha256::digest(measured.to_string()).into())
    }
}

/// An alert of Prometheus.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExistingAlert {
    /// Name of the alert, as in its rule. Example: `CreditDrift`.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[^\\\x00-\x1f]+$"))]
    pub name: String,

    /// Labels that the alert must have. Default: none, so the labels do not matter. Example: `{ severity: critical }`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels_schema")]
    pub labels: BTreeMap<String, String>,
}

fn labels_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": { "type": "string", "maxLength": 256 },
        "x-kubernetes-validations": [{
            "rule": "self.all(label, size(label) <= 128)",
            "message": "the name of a label must have at most 128 characters"
        }],
        "description": "Labels that the alert must have."
    })
}

/// The limit of a value, and the time after which a value beyond it is a breach.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BreachBar {
    /// Limit in quotes. A value above it is beyond the limit. Default: none, so `below` is set. Example: `"0.1"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<Decimal>,

    /// Limit in quotes. A value below it is beyond the limit. Default: none, so `above` is set. Example: `"0.8"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<Decimal>,

    /// Time for which the value must be beyond the limit, as a Go duration of at most `744h`. Only a value that is not
    /// beyond the limit starts the time again. The time between two values beyond the limit counts if it is at most
    /// three intervals, also if measurements between them have no value. Default: `0s`, so one value is a breach.
    /// Example: `30m`.
    #[serde(
        default = "no_time",
        rename = "for",
        serialize_with = "super::duration::written",
        deserialize_with = "super::duration::required"
    )]
    #[schemars(extend("maxLength" = 32))]
    #[x_kube(validation = (r"self.matches('^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) <= duration('744h')", "must be a duration such as 30m, at most 744h"))]
    pub for_: Duration,
}

fn no_time() -> Duration {
    std::time::Duration::ZERO.into()
}

/// The limit of a value, and the time after which a value within it ends a breach.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClearBar {
    /// Limit in quotes. A value at or above it is within the limit. Default: none, so the limit of `breach` counts.
    /// Example: `"0.85"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<Decimal>,

    /// Limit in quotes. A value at or below it is within the limit. Default: none, so the limit of `breach` counts.
    /// Example: `"0.08"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<Decimal>,

    /// Time for which the value must be within the limit, as a Go duration of at most `744h`. Default: `10m`.
    /// Example: `2h`.
    #[serde(
        default = "ClearBar::default_for",
        rename = "for",
        serialize_with = "super::duration::written",
        deserialize_with = "super::duration::required"
    )]
    #[schemars(extend("maxLength" = 32))]
    #[x_kube(validation = (r"self.matches('^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) <= duration('744h')", "must be a duration such as 2h, at most 744h"))]
    pub for_: Duration,
}

impl ClearBar {
    fn default_for() -> Duration {
        std::time::Duration::from_mins(10).into()
    }
}

impl Default for ClearBar {
    fn default() -> Self {
        Self { above: None, below: None, for_: Self::default_for() }
    }
}

/// The query for the number of samples, and the smallest number with which a value counts.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequiredSamples {
    /// PromQL instant query for the number of samples, with the same rules as `query`.
    /// Example: `sum(increase(predictions_total[1d]))`.
    #[schemars(length(min = 1, max = 4096))]
    pub query: String,

    /// Smallest number of samples, in quotes. With fewer samples, the state is `Unknown`. Example: `"500"`.
    pub at_least: Decimal,
}

/// The action when Prometheus answers, but has no usable value.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NoData {
    /// Time without a usable value before `then` applies, as a Go duration from `1s` to `8760h`. Time in which
    /// Prometheus does not answer does not count. Example: `6h`.
    #[serde(deserialize_with = "super::duration::required")]
    #[schemars(extend("maxLength" = 32))]
    #[x_kube(validation = (r"self.matches('^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('8760h')", "must be a duration such as 6h, from 1s to 8760h"))]
    pub after: Duration,

    /// Effect if the query had no usable value for the time `after`. `Unknown`: an Event, and no other effect. `Breach`: the same as a breach of the limit.
    /// Example: `Unknown`.
    pub then: NoDataEffect,
}

/// The effect if a query had no usable value for the time `noData.after`.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum NoDataEffect {
    /// An Event, and no other effect.
    Unknown,
    /// The same as a breach of the limit.
    Breach,
}

/// The action on a breach, from the mildest to the strictest.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum OnBreach {
    /// An Event and a condition in the status.
    #[default]
    Warn,
    /// An `Incident` that holds no version.
    OpenIncident,
    /// An `Incident` that holds all versions of the system.
    Hold,
}

/// A monitor that a version needs before it may run.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.breach.above) != has(self.breach.below)", "set exactly one of breach.above and breach.below"))]
pub struct RequiredMonitor {
    /// Name of the requirement in this level. Messages contain this name. Example: `fairness-drift`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,

    /// Name of the metric that a `Monitor` of the system must have. Example: `trustyai_spd`.
    #[schemars(length(min = 1, max = 128))]
    pub metric: String,

    /// Query that the monitor must have, with the same text. If the level states a query, the `samples` and the
    /// `source` of the monitor must also equal those of the level. Default: none, so the owner of the system chooses
    /// the query, and the level does not control what the monitor measures.
    /// Example: `max(abs(trustyai_spd))`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub query: Option<String>,

    /// Samples that the monitor must require, if the level states a query. Default: none, so the monitor must state
    /// none. Example: `{ query: sum(increase(predictions_total[1d])), atLeast: "500" }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<RequiredSamples>,

    /// Prometheus that the monitor must use, if the level states a query. Default: `default`. Example: `platform`.
    #[serde(default = "default_source")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub source: Text,

    /// Loosest limit that the monitor may have, and its longest `for`. A stricter monitor is accepted.
    /// Example: `{ above: "0.1", for: 30m }`.
    pub breach: BreachBar,

    /// Longest time that a monitor may wait between two queries, as a Go duration from `5s` to `1h`. Default: none, so
    /// the owner chooses the time. Example: `5m`.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "super::duration::optional"
    )]
    #[schemars(extend("maxLength" = 32))]
    #[x_kube(validation = (r"self.matches('^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('5s') && duration(self) <= duration('1h')", "must be a duration from 5s to 1h, such as 1m"))]
    pub interval: Option<Duration>,

    /// Mildest action that the monitor may have. Default: `Warn`. Example: `Hold`.
    #[serde(default)]
    pub on_breach: OnBreach,

    /// Mildest rule for missing data that the monitor may have. Default: none, so the owner chooses the rule.
    /// Example: `{ after: 24h, then: Breach }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_data: Option<NoData>,
}

/// State of a monitor, as the operator observed it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MonitorStatus {
    /// Generation of the object that this status describes. Absent before the first status. Example: `3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Conditions of the monitor. `Ready`: whether the operator can run the query. `WithinLimits`: whether the value is
    /// within the limit, with the status `Unknown` if the value is not known. Absent before the first status.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Conditions,

    /// State of the condition: `Within`, `Breached` or `Unknown`. Absent before the first status. Example: `Within`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<MonitorState>,

    /// Query as the operator sends it, with the matcher for the namespace. Absent if the query is invalid.
    /// Example: `max(abs(trustyai_spd{namespace="credit"}))`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536))]
    pub query: Option<String>,

    /// Last value. Absent before the first value. Example: `0.031`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub value: Option<String>,

    /// Time since which the monitor is in this state. Absent before the first status. Example: `2026-09-01T10:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,

    /// Time at which Prometheus gave `value`. Absent before the first value. Example: `2026-09-01T10:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<Time>,

    /// Digest of the query, samples and source that gave the last value. Absent before the first value.
    /// Example: `sha256:` and 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<Digest>,

    /// Last measurements, the newest first, at most 10. Absent before the first measurement.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub measurements: Vec<MonitorMeasurement>,

    /// Breach that is not over. Absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breach: Option<OpenBreach>,

    /// Last incident that the operator opened for this monitor. The field stays after the breach is over. While this
    /// incident is open, a later breach opens no other incident. The exception is a breach that must hold all versions,
    /// while this incident does not hold all of them. Absent before the first incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_incident: Option<OpenedIncident>,

    /// Seconds that the operator counted, so that it can continue to count after a restart. Absent before the first
    /// status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<MonitorProgress>,
}

/// The state of the condition of a monitor.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum MonitorState {
    /// The last value is within the limit, or beyond it for less than the required time.
    Within,
    /// A breach is not over.
    Breached,
    /// There is no usable value.
    Unknown,
}

impl MonitorState {
    /// All states.
    pub const ALL: [Self; 3] = [Self::Within, Self::Breached, Self::Unknown];

    /// The name of the state in metrics and messages. Programs can rely on it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Within => "Within",
            Self::Breached => "Breached",
            Self::Unknown => "Unknown",
        }
    }
}

/// One measurement.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MonitorMeasurement {
    /// Time of the query. Example: `2026-09-01T10:00:00Z`.
    pub at: Time,

    /// Measured value. Absent if there was no usable value. Example: `0.031`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub value: Option<String>,
}

/// A breach that is not over.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenBreach {
    /// Time at which the condition was breached. Example: `2026-09-01T10:30:00Z`.
    pub since: Time,

    /// Cause in words. Example: `0.14 is above 0.1 for 30m`.
    #[schemars(length(max = 1024))]
    pub cause: String,

    /// Name of the `Incident` of this breach. An open incident of an earlier breach can count for this breach too.
    /// Absent if the action is `Warn`. Example: `drift-1f3c9a20`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub incident: Option<String>,
}

/// An incident that the operator opened for a monitor.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenedIncident {
    /// Name of the `Incident`. Example: `drift-1f3c9a20`.
    #[schemars(length(max = 253))]
    pub name: String,

    /// Whether the incident holds the system. Default: `false`. Example: `true`.
    #[serde(default)]
    pub holds: bool,
}

/// Seconds that the operator counted, so that it can continue to count after a restart.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MonitorProgress {
    /// Seconds for which the value is beyond the limit of `breach`. Default: 0. Example: `120`.
    #[serde(default)]
    pub beyond_seconds: u32,

    /// Seconds for which the value is within the limit of `clear`, during a breach. Default: 0. Example: `60`.
    #[serde(default)]
    pub clear_seconds: u32,

    /// Seconds without a usable value, while Prometheus answered. Default: 0. Example: `300`.
    #[serde(default)]
    pub no_data_seconds: u32,
}
