//! The effect of one assessment result on one requirement: met, too old, inconclusive or failed.

use std::fmt;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::effect::whole_seconds;
use crate::api::{AssessmentResult, Comparator, Decimal, RequiredAssessment};

/// A result of an assessment, with its signer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured<'a> {
    /// The name of the `Assessment`.
    pub assessment: &'a str,
    /// The result, with its metric, slice, value and number of samples.
    pub result: &'a AssessmentResult,
    /// The time at which the assessment was performed.
    pub performed_at: Timestamp,
    /// The user who signed the result. `None` if no person in the required role signed it.
    pub signer: Option<String>,
}

impl Measured<'_> {
    /// The value that is compared with the threshold. With a confidence level in the requirement and an interval in the
    /// result, this is the worst of three values: the measured value and both ends of the interval. The measured value
    /// is one of them, because some tools correct the interval, and the measured value can then be outside the
    /// interval.
    pub fn compared(&self, required: &RequiredAssessment) -> Decimal {
        let worse = |a, b| required.comparator.worse(a, b);
        match &self.result.interval {
            Some(interval) if required.confidence_level.is_some() => {
                worse(self.result.value, worse(interval.lower, interval.upper))
            }
            _ => self.result.value,
        }
    }

    /// The distance between the compared value and the threshold. The distance is negative if the value does not meet
    /// the threshold.
    pub fn margin(&self, required: &RequiredAssessment) -> Decimal {
        match required.comparator {
            Comparator::AtMost => required.threshold.minus(self.compared(required)),
            Comparator::AtLeast => self.compared(required).minus(required.threshold),
        }
    }
}

/// The validity of a signature for one requirement, from the worst to the best.
///
/// A result stays in effect even if its signature is no longer valid. So a change of keys, owners or authors never
/// hides a bad result. But a result meets a requirement only with a valid signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Validity {
    /// The key of the signature was removed from the role.
    KeyRemoved,
    /// The requirement needs an independent signer, but the signer owns the system, or wrote the version or the system.
    Involved,
    /// The signature counts.
    Valid,
}

/// The effect of a signed result on its requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultEffect {
    /// The result meets the requirement.
    Met,
    /// The result is too old from this time on.
    Expired(Timestamp),
    /// The result does not show whether the requirement is met.
    Inconclusive(Inconclusive),
    /// The compared value does not meet the threshold.
    Failed,
}

impl ResultEffect {
    /// The rank of the effect. A worse effect has a higher rank, and all inconclusive effects have the same rank.
    pub const fn severity(self) -> u8 {
        match self {
            Self::Met => 0,
            Self::Expired(_) => 1,
            Self::Inconclusive(_) => 2,
            Self::Failed => 3,
        }
    }
}

/// An assessment result in the form that a [`Reason`](super::Reason) contains.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CitedResult {
    /// The name of the `Assessment`.
    pub assessment: String,
    /// The metric with its slice.
    pub measure: String,
    /// The value that is compared with the threshold (see [`Measured::compared`]).
    pub value: Decimal,
    /// The user who signed the result.
    pub signer: String,
}

impl fmt::Display for CitedResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { assessment, measure, value, signer } = self;
        write!(f, "{measure} is {value} (assessment/{assessment}, signed by {signer})")
    }
}

/// The comparison of a result with the threshold of a requirement.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Comparison {
    /// Whether the result must be at most, or at least, the threshold.
    pub comparator: Comparator,
    /// The threshold of the requirement.
    pub threshold: Decimal,
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.comparator, self.threshold)
    }
}

/// The cause of an inconclusive result.
#[derive(Clone, Debug, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Inconclusive {
    /// The number of scored samples is smaller than the requirement allows.
    TooFewSamples {
        /// The number of scored samples.
        scored: u64,
        /// The smallest number of scored samples that the requirement allows.
        needed: u64,
    },
    /// The share of samples without a score is too large.
    TooManyErrors {
        /// The number of samples without a score.
        errors: u64,
        /// The number of all samples, with and without a score.
        samples: u64,
        /// The largest share of samples without a score that the requirement allows.
        most: Decimal,
    },
    /// The result has no interval of the required confidence level or a higher one.
    NoInterval {
        /// The required confidence level.
        level: Decimal,
    },
    /// The result states that a higher value is better, and the requirement states that a lower value is better, or the
    /// reverse.
    OtherDirection,
    /// The key of the signature was removed from the role.
    SignatureNotValid,
    /// The requirement needs an independent signer, but the signer owns the system, or wrote the version or the system.
    SignerInvolved,
}

impl fmt::Display for Inconclusive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFewSamples { scored, needed } => {
                write!(f, "only {scored} samples were scored, at least {needed} are required")
            }
            Self::TooManyErrors { errors, samples, most } => {
                write!(f, "{errors} of {samples} samples have no score, a share of at most {most} is allowed")
            }
            Self::NoInterval { level } => {
                write!(f, "it has no interval at confidence level {level} or higher")
            }
            Self::OtherDirection => f.write_str(
                "the result and the requirement disagree whether a higher or a lower value is better",
            ),
            Self::SignatureNotValid => f.write_str("the key of its signature no longer belongs to the role"),
            Self::SignerInvolved => f.write_str(
                "its signer owns the system, or wrote the version or the system, and does not count",
            ),
        }
    }
}

pub fn effect(
    measured: &Measured<'_>,
    required: &RequiredAssessment,
    validity: Validity,
    now: Timestamp,
) -> ResultEffect {
    let result = measured.result;
    let (scored, all) = (result.samples, result.samples.saturating_add(result.errors));
    let rate = Decimal::ratio(result.errors, all);
    let has_interval = |level| result.interval.as_ref().is_some_and(|interval| interval.level >= level);
    let is_met = required.comparator.is_met(measured.compared(required), required.threshold);
    let inconclusive = ResultEffect::Inconclusive;
    if result.direction != required.comparator.direction() {
        inconclusive(Inconclusive::OtherDirection)
    } else if !is_met {
        ResultEffect::Failed
    } else if let Some(level) = required.confidence_level.filter(|level| !has_interval(*level)) {
        inconclusive(Inconclusive::NoInterval { level })
    } else if scored < required.min_samples {
        inconclusive(Inconclusive::TooFewSamples { scored, needed: required.min_samples })
    } else if rate.is_none_or(|rate| rate > required.max_error_rate) {
        let (errors, samples, most) = (result.errors, all, required.max_error_rate);
        inconclusive(Inconclusive::TooManyErrors { errors, samples, most })
    } else if validity == Validity::KeyRemoved {
        inconclusive(Inconclusive::SignatureNotValid)
    } else if validity == Validity::Involved {
        inconclusive(Inconclusive::SignerInvolved)
    } else if end(measured, required) <= now {
        ResultEffect::Expired(end(measured, required))
    } else {
        ResultEffect::Met
    }
}

/// The time from which a result is too old.
pub fn end(measured: &Measured<'_>, required: &RequiredAssessment) -> Timestamp {
    let age = SignedDuration::try_from(std::time::Duration::from(required.max_age)).unwrap_or_default();
    measured.performed_at.checked_add(age).map_or(Timestamp::MAX, whole_seconds)
}
