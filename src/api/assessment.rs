//! The `Assessment` resource: results that a tool or a person measured for one subject digest.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Conditions, Decimal, Digest, Text, conditions_schema};

/// Results of one fairness test, red team exercise or other assessment of a model version (EU AI Act annex IV 2(g),
/// ISO/IEC 42001 A.6.2.4). No user can edit or delete an `Assessment`.
///
/// Any account that may create the object can record results, for example CI. The results count after a person in the
/// role of the requirement signs them with an `Approval` whose decision is `Attest`.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "assent.dev",
    version = "v1alpha1",
    kind = "Assessment",
    doc = "Results that a tool or a person measured for one subject digest. Nobody can edit or delete it.",
    namespaced,
    status = "AssessmentStatus",
    derive = "PartialEq",
    shortname = "asm",
    category = "assent",
    printcolumn(name = "System", type_ = "string", json_path = ".spec.system"),
    printcolumn(name = "Version", type_ = "string", json_path = ".spec.modelVersion"),
    printcolumn(name = "Kind", type_ = "string", json_path = ".spec.kind"),
    printcolumn(name = "Metrics", type_ = "string", json_path = ".spec.results[*].metric"),
    printcolumn(name = "Values", type_ = "string", json_path = ".spec.results[*].value"),
    printcolumn(
        name = "Counts",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Counted')].reason"
    ),
    printcolumn(name = "Performed", type_ = "date", json_path = ".spec.performedAt"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Digest", type_ = "string", json_path = ".spec.subjectDigest", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self == oldSelf", "an assessment is final: record another Assessment with the new results"))]
pub struct AssessmentSpec {
    /// Name of the `AISystem` of this namespace. Example: `credit-scorer`.
    #[schemars(length(min = 1, max = 63))]
    pub system: Text,

    /// Name of the `ModelVersion` of this namespace that was assessed. Example: `credit-scorer-v1`.
    #[schemars(length(min = 1, max = 253))]
    pub model_version: Text,

    /// Digest of the content that was assessed, from `status.subjectDigest` of the `ModelVersion`. The results apply to
    /// every version with this content, under any name.
    /// Example: the output of `kubectl get modelversion NAME -o jsonpath='{.status.subjectDigest}'`.
    pub subject_digest: Digest,

    /// Kind of the assessment. A requirement of a risk level names one kind. Example: `Fairness`.
    pub kind: AssessmentKind,

    /// Measured values. Each pair of metric and slice occurs only once. Example:
    /// `[{ metric: demographic_parity_difference, value: "0.031", direction: LowerIsBetter, samples: 18231 }]`.
    #[schemars(length(min = 1, max = 64))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["metric", "slice"]))]
    pub results: Vec<AssessmentResult>,

    /// Method of the assessment, in the words of the person or tool. Default: none.
    /// Example: `5-shot, greedy decoding, seed 7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub method: Option<String>,

    /// Tool that measured the results. Default: none. Example: `{ name: fairlearn, version: 0.13.0 }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<Box<Tool>>,

    /// Reference to the whole report of the assessment. The report stays outside the cluster. Default: none.
    /// Example: `{ uri: s3://reports/credit-v1.json, digest: sha256:… }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Box<Report>>,

    /// Relation of the assessor to the provider of the system, as the recorder claims it: `FirstParty` or
    /// `ThirdParty`. Default: none, so the relation is not stated. Example: `ThirdParty`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relationship: Option<Relationship>,

    /// Time at which the assessment was performed, as the recorder claims it. It must not be later than the creation
    /// of the object. The age of the results starts at this time. Write whole seconds in UTC.
    /// Example: `2026-09-01T10:00:00Z`.
    #[schemars(regex(pattern = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"))]
    #[x_kube(validation = ("self < timestamp('9000-01-01T00:00:00Z')", "the year must be before 9000"))]
    pub performed_at: Time,
}

/// One measured value.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AssessmentResult {
    /// Name of the metric, in the words of the tool, as printable ASCII. Example: `demographic_parity_difference`.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[ -~]+$"))]
    pub metric: Text,

    /// Measured value as a decimal number in quotes, with at most 12 digits before the point and at most 12 after it.
    /// Example: `"0.031"`.
    pub value: Decimal,

    /// Whether a higher or a lower value is better: `HigherIsBetter` or `LowerIsBetter`. Example: `LowerIsBetter`.
    pub direction: Direction,

    /// Part of the samples that the value describes, such as `sex=male`. If the value compares groups, this
    /// is the attribute that separates the groups. Default: empty, so the value describes all samples.
    /// Example: `sex`.
    #[serde(default)]
    #[schemars(length(max = 63), regex(pattern = r"^[ -~]*$"))]
    pub slice: Text,

    /// Number of samples with a score, from which the value was computed. Example: `18231`.
    #[schemars(range(max = 1_000_000_000_000_u64), extend("format" = "int64"))]
    pub samples: u64,

    /// Number of additional samples that could not be scored. Default: 0. Example: `3`.
    #[serde(default)]
    #[schemars(range(max = 1_000_000_000_000_u64), extend("format" = "int64"))]
    pub errors: u64,

    /// Confidence interval of the value. Default: none.
    /// Example: `{ lower: "0.027", upper: "0.036", level: "0.95" }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Box<Interval>>,
}

/// The confidence interval of a value.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("double(self.lower) <= double(self.upper)", "lower must not be greater than upper"))]
#[x_kube(validation = ("double(self.level) > 0.0 && double(self.level) < 1.0", "level must be between 0 and 1, such as 0.95"))]
pub struct Interval {
    /// Lower end of the interval, as a decimal number in quotes. Example: `"0.027"`.
    pub lower: Decimal,
    /// Upper end of the interval, as a decimal number in quotes. Example: `"0.036"`.
    pub upper: Decimal,
    /// Confidence level of the interval, between 0 and 1, in quotes. Example: `"0.95"`.
    pub level: Decimal,
}

/// The property or behaviour that an assessment examines.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AssessmentKind {
    /// Differences between groups of people (EU AI Act annex IV 2(g), NIST AI RMF MEASURE 2.11).
    Fairness,
    /// Accuracy and other metrics of the task (EU AI Act article 15, NIST AI RMF MEASURE 2.5).
    Performance,
    /// Behaviour on unusual, shifted or disturbed input (EU AI Act article 15(4)).
    Robustness,
    /// Harm to people, property or the environment (NIST AI RMF MEASURE 2.6).
    Safety,
    /// Resistance to attacks (EU AI Act article 15(5), NIST AI RMF MEASURE 2.7).
    Security,
    /// Disclosure of personal data (NIST AI RMF MEASURE 2.10).
    Privacy,
    /// Explanations of the output (NIST AI RMF MEASURE 2.9).
    Explainability,
    /// Attacks by people or tools that search for harmful behaviour.
    RedTeam,
    /// Impact on individuals, groups and societies (ISO/IEC 42001 A.5).
    Impact,
    /// Any other assessment.
    Other,
}

impl fmt::Display for AssessmentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Whether a higher or a lower value of a metric is better.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    /// A higher value is better, as for accuracy.
    HigherIsBetter,
    /// A lower value is better, as for a difference between groups.
    LowerIsBetter,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The relation of the assessor to the provider of the system.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Relationship {
    /// The provider assessed its own system.
    FirstParty,
    /// Another organisation assessed the system.
    ThirdParty,
}

/// The tool that measured the results.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tool {
    /// Name of the tool. Example: `lm-evaluation-harness`.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// Version of the tool. Default: none. Example: `0.4.9`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub version: Option<String>,
}

/// The whole report of an assessment.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Address of the report. Default: none. Example: `https://reports.example.org/credit-v1.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub uri: Option<String>,
    /// Digest of the content of the report. Example: `sha256:` and 64 hexadecimal digits.
    pub digest: Digest,
}

impl AssessmentSpec {
    /// The digest that people sign: SHA-256 over the canonical JSON (RFC 8785) of the namespace and the spec. The
    /// results are sorted by metric and then by slice. The schema allows only values that do not change when Assent
    /// reads and writes them. So everybody who reads the object computes the same digest.
    ///
    /// # Panics
    /// Never: the fields always serialise.
    pub fn digest(&self, namespace: &str) -> Digest {
        let mut sorted = self.clone();
        sorted.results.sort_by(|a, b| (&a.metric, &a.slice).cmp(&(&b.metric, &b.slice)));
        let text = serde_jcs::to_vec(&serde_json::json!({ "namespace": namespace, "assessment": sorted }));
        Digest::from_sha256(Sha256::digest(text.expect("strings, numbers and lists serialise")).into())
    }
}

/// State of an assessment: whether its results count.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AssessmentStatus {
    /// Generation of the object that this status describes. Absent before the first status. Example: `1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Conditions of the assessment. `Ready`: whether the operator processed it. `Counted`: whether a result decides
    /// about a requirement. Absent before the first status.
    /// Example: `[{ type: Counted, status: "True", … }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Conditions,

    /// Digest that a person signs with the decision `Attest`. Absent before the first status.
    /// Example: `sha256:` and 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}
