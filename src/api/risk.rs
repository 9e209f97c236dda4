//! The risks of an AI system, and the risks that a `RiskLevel` accepts.

use std::fmt;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{RequiredReview, ReviewDates};

/// A risk of an AI system with its treatment (ISO/IEC 42001 6.1.2 to 6.1.4, EU AI Act article 9(2)).
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Risk {
    /// Name of the risk in this system. Example: `discrimination-by-age`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,

    /// Description of the harm and the people whom it affects.
    /// Example: `Applicants over 60 get worse scores than others with the same income`.
    #[schemars(length(min = 1, max = 1024))]
    pub description: String,

    /// Treatment of the risk: `Avoid`, `Mitigate`, `Transfer` or `Accept` (NIST AI RMF MANAGE 1.3).
    /// Example: `Mitigate`.
    pub treatment: RiskTreatment,

    /// Measures of the treatment. Default: none. Example: `Fairness test for each version, human review of refusals`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub measures: Option<String>,

    /// Person or team that is responsible for the risk. Example: `dana.weber@acme-bank.example`.
    #[schemars(length(min = 1, max = 256))]
    pub owner: String,

    /// Rating of the risk after the treatment: `Low`, `Medium`, `High` or `Critical`. Example: `Low`.
    pub residual: RiskRating,

    /// Dates of the last and the next review. Default: none. Example: `{ last: 2026-09-01T00:00:00Z }`.
    #[serde(default, skip_serializing_if = "ReviewDates::is_empty")]
    pub review: ReviewDates,
}

/// The decision of the organisation about a risk.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RiskTreatment {
    /// Stop the activity that causes the risk.
    Avoid,
    /// Make the harm less likely or less severe.
    Mitigate,
    /// Share the risk with another organisation, for example by insurance.
    Transfer,
    /// Keep the risk as it is.
    Accept,
}

/// The rating of a risk, from low to critical.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RiskRating {
    /// The organisation can ignore the risk.
    Low,
    /// The organisation watches the risk.
    Medium,
    /// The risk needs a decision by the management.
    High,
    /// The risk threatens people or the organisation.
    Critical,
}

impl fmt::Display for RiskRating {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The risks that a system of a level must state. Approvers sign the risks.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequiredRisks {
    /// Highest rating that a risk may have after its treatment. Default: none, so every rating is accepted.
    /// Example: `Medium`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_residual: Option<RiskRating>,

    /// Review that each risk needs. Default: none, so the dates of the risks do not matter.
    /// Example: `{ maxAge: 4380h, overdue: Withhold }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<RequiredReview>,
}
