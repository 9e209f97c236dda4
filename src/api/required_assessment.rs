//! The results that a `RiskLevel` requires of a version before it may run.

use std::fmt;

use kube::{KubeSchema, core::Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AssessmentKind, Decimal, Direction};

/// A result that a version needs (EU AI Act article 9(8): prior defined metrics and thresholds).
///
/// The newest result with a signature in the required role decides. The operator never averages results.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequiredAssessment {
    /// Name of the requirement in this level. Messages and statuses contain this name. Example: `fairness-sex`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,

    /// Kind of the assessment. Results in assessments of another kind do not count. Example: `Fairness`.
    pub kind: AssessmentKind,

    /// Name of the metric, as the results state it. Example: `demographic_parity_difference`.
    #[schemars(length(min = 1, max = 128))]
    pub metric: String,

    /// Part of the samples that the value must describe, such as `sex=male`. If the value must compare
    /// groups, this is the attribute that separates the groups. The text must equal the `slice` of the
    /// results. Default: empty, so the value must describe all samples. Example: `sex`.
    #[serde(default)]
    #[schemars(length(max = 63))]
    pub slice: String,

    /// Comparison of the value with the threshold: `AtMost` or `AtLeast`. Example: `AtMost`.
    pub comparator: Comparator,

    /// Threshold as a decimal number in quotes. A value that equals the threshold meets it.
    /// Example: `"0.05"`.
    pub threshold: Decimal,

    /// Smallest confidence level that the interval of a result may have, in quotes. The value and both ends
    /// of the interval must meet the threshold. A result that meets the threshold without such an interval is
    /// inconclusive. Default: none, so only the value must meet the threshold.
    /// Example: `"0.95"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("double(self) > 0.0 && double(self) < 1.0", "must be between 0 and 1, such as 0.95"))]
    pub confidence_level: Option<Decimal>,

    /// Smallest number of samples with a score. With fewer samples, a result that meets the threshold is
    /// inconclusive.
    /// Example: `1000`.
    #[schemars(range(min = 1, max = 1_000_000_000_000_u64), extend("format" = "int64"))]
    pub min_samples: u64,

    /// Largest share of samples that could not be scored, between 0 and 1, in quotes. With a larger share, a
    /// result that meets the threshold is inconclusive. Example: `"0.01"`.
    #[x_kube(validation = ("double(self) >= 0.0 && double(self) <= 1.0", "must be between 0 and 1"))]
    pub max_error_rate: Decimal,

    /// Longest time since the assessment was performed, as a Go duration with the units `h`, `m`, `s` and
    /// `ms`, at most `87600h`. When the result reaches this age, the clearance ends. Example: `2160h`, which
    /// is 90 days.
    #[serde(deserialize_with = "super::duration::required")]
    #[schemars(extend("maxLength" = 32))]
    #[x_kube(validation = (r"self.matches('^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) > duration('0s') && duration(self) <= duration('87600h')", "must be a duration such as 2160h (90 days), longer than 0s and at most 87600h"))]
    pub max_age: Duration,

    /// Role in which a person must sign the result, as for an approval. Example: `model-validator`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub role: String,

    /// Whether an independent person must sign. Owners of the system, and authors of the version or the
    /// system, are not independent. If only these people signed, a result that meets the threshold is
    /// inconclusive, and a result that does not meet it fails. Before Kubernetes 1.36, authors are not known,
    /// and their signatures count. Default: false. Example: `true`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub independent: bool,

    /// Whether another organisation must have performed the assessment (`relationship: ThirdParty`). The assessment
    /// claims this relation, and the person who signs is responsible for the claim. Default: false. Example: `true`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub third_party: bool,
}

/// The comparison of a value with a threshold.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Comparator {
    /// The value is at most the threshold.
    AtMost,
    /// The value is at least the threshold.
    AtLeast,
}

impl Comparator {
    /// Whether `value` meets `threshold`.
    pub fn is_met(self, value: Decimal, threshold: Decimal) -> bool {
        match self {
            Self::AtMost => value <= threshold,
            Self::AtLeast => value >= threshold,
        }
    }

    /// Returns the worse of two values: the greater value for `AtMost`, the smaller value for `AtLeast`.
    pub fn worse(self, a: Decimal, b: Decimal) -> Decimal {
        match self {
            Self::AtMost => a.max(b),
            Self::AtLeast => a.min(b),
        }
    }

    /// Whether a higher or a lower value is better.
    pub const fn direction(self) -> Direction {
        match self {
            Self::AtMost => Direction::LowerIsBetter,
            Self::AtLeast => Direction::HigherIsBetter,
        }
    }
}

impl fmt::Display for Comparator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AtMost => "at most",
            Self::AtLeast => "at least",
        })
    }
}

impl RequiredAssessment {
    /// The metric with its slice, such as `demographic_parity_difference (sex)`.
    pub fn measure(&self) -> String {
        measure(&self.metric, &self.slice)
    }
}

/// The name of a metric with its slice, such as `demographic_parity_difference (sex)`.
pub fn measure(metric: &str, slice: &str) -> String {
    if slice.is_empty() { metric.to_owned() } else { format!("{metric} ({slice})") }
}
