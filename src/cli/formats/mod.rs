//! Reads result files of AI evaluation tools into the fields of an `Assessment`. The content of a file determines its
//! format.
//!
//! ```text
//!  bytes ─► detect ─┬─ lm_eval, inspect, garak, junit, … ─────────┬─► Content ─► select ─► Reading
//!                   └─ envelope ─► signature ─► statement ────────┘
//! ```
//!
//! Rules that hold for all formats:
//!
//! * If the file names a test, a metric is named `TEST/METRIC`. So the value of an easy test cannot count for a hard
//!   test.
//! * The reader ignores thresholds, grades and overall verdicts, because thresholds belong to the risk level.
//!   The reader does take counts of passed and failed tests, from `JUnit`, in-toto, promptfoo and garak.
//! * The reader does not guess. If the file does not state the direction of a metric or the number of
//!   samples, the user states it with an option.
//! * Each metric of the chosen model is a result, or [`Reading::not_taken`] lists it with a reason, or the file is
//!   refused. The exception is a standard error of lm-evaluation-harness, which only states the uncertainty of another
//!   metric.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test"))]

mod cyclonedx;
mod decimal;
mod deepeval;
mod detect;
mod envelope;
mod evalhub;
mod every_eval_ever;
mod garak;
mod inspect;
mod json;
mod junit;
mod lm_eval;
mod native;
mod node;
mod promptfoo;
mod refusal;
mod ring_provider;
mod select;
mod signature;
mod statement;
mod text;
mod value_deserializer;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod testing;

use std::collections::BTreeSet;

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use crate::api::{AssessmentKind as Kind, Direction, Relationship};

pub use self::{
    decimal::Decimal,
    refusal::{Problem, Refusal},
    signature::Trust,
};

/// The maximum size of a file, in bytes.
pub const MAX_BYTES: usize = 64 << 20;
/// The maximum number of results in an assessment.
pub const MAX_RESULTS: usize = 64;
/// The maximum length of the name of a metric, in characters.
pub const MAX_METRIC: usize = 128;
/// The maximum length of the name of a slice, in characters. A slice is a group of samples.
pub const MAX_SLICE: usize = 63;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// The fields of an `Assessment` as JSON or YAML.
    Native,
    LmEval,
    Inspect,
    Garak,
    Promptfoo,
    DeepEval,
    EvalHubJob,
    EvalHubCard,
    EveryEvalEver,
    JUnit,
    Statement,
    Dsse,
    SigstoreBundle,
    CycloneDx,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "Assent results",
            Self::LmEval => "lm-evaluation-harness results",
            Self::Inspect => "Inspect log",
            Self::Garak => "garak report",
            Self::Promptfoo => "promptfoo output",
            Self::DeepEval => "deepeval test run",
            Self::EvalHubJob => "EvalHub job",
            Self::EvalHubCard => "EvalHub evaluation card",
            Self::EveryEvalEver => "Every Eval Ever record",
            Self::JUnit => "JUnit report",
            Self::Statement => "in-toto statement",
            Self::Dsse => "DSSE envelope",
            Self::SigstoreBundle => "sigstore bundle",
            Self::CycloneDx => "CycloneDX BOM",
        })
    }
}

/// The tool that made the measurement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// The full report of the evaluation, which stays outside the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// The digest of the report, as `sha256:HEX`.
    pub digest: String,
}

/// A confidence interval around a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interval {
    pub lower: Decimal,
    /// The upper bound, which is not below the lower bound.
    pub upper: Decimal,
    /// The confidence level, above 0 and below 1.
    pub level: Decimal,
}

/// One value of one metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// The metric, with 1 to 128 characters and without control characters.
    pub metric: String,
    /// The value, with at most 12 decimals. Longer values are rounded half to even.
    pub value: Decimal,
    pub direction: Direction,
    /// The group of samples to which the value applies, with at most 63 characters. `None` if the value applies to all
    /// samples.
    pub slice: Option<String>,
    /// The number of samples with a score.
    pub samples: u64,
    /// The number of samples in the test that have no score.
    pub errors: u64,
    /// The confidence interval. The value can be outside the interval, because garak corrects the bounds for errors of
    /// its detectors.
    pub interval: Option<Interval>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotTaken {
    /// The name of the metric, or of another part of the file.
    pub metric: String,
    /// Why the part is not taken, as a clause that continues the name, such as `is not a finite number`.
    pub reason: String,
}

impl NotTaken {
    pub(crate) fn new(metric: &str, reason: impl Into<String>) -> Self {
        Self { metric: text::shown(metric), reason: reason.into() }
    }
}

/// The signer of a file, if the file has a verified signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// The file has no signature, or the options do not ask to verify the signature.
    Unsigned,
    /// A signature by the key on the command line is valid.
    Key {
        /// The SHA-256 digest of the public key in DER, in hex.
        fingerprint: String,
        /// The time in the transparency log or in a verified timestamp. `None` if no log entry was verified, or if the
        /// bundle has neither time.
        logged_at: Option<Timestamp>,
    },
    /// The signature is valid, and its certificate names the identity and the issuer from the command line.
    Identity {
        /// An e-mail address or the URI of a workflow, for example.
        identity: String,
        issuer: String,
        /// The time in the transparency log or in a verified timestamp. `None` if the bundle has neither.
        signed_at: Option<Timestamp>,
    },
}

/// The content of a file, translated into the fields of an `Assessment`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    pub format: Format,
    pub kind: Option<Kind>,
    /// Never empty.
    pub results: Vec<Measured>,
    /// How the test was done, in the words of the author of the file.
    pub method: Option<String>,
    pub tool: Option<Tool>,
    /// The start or the end of the run, depending on the format. `None` if the file does not state this time with a UTC
    /// offset. The reader cannot verify this time.
    pub performed_at: Option<Timestamp>,
    pub model: Option<String>,
    /// The digest of the tested model that the file states, as `sha256:HEX`.
    pub model_digest: Option<String>,
    /// The relationship between the assessor and the provider.
    pub relationship: Option<Relationship>,
    pub report: Option<Report>,
    pub not_taken: Vec<NotTaken>,
    pub provenance: Provenance,
    /// The digest of the file, as `sha256:HEX`.
    pub file_digest: String,
}

/// The options of the command line that affect how a file is read.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The metrics that the user picks. If empty, the reader takes all metrics.
    pub metrics: Vec<String>,
    /// The direction of each metric, by name. A name is the full name of a metric, or the part after the last
    /// `/`, such as `accuracy`.
    pub directions: BTreeMap<String, Direction>,
    /// The kind of the assessment, for files that do not state the kind.
    pub kind: Option<Kind>,
    /// The model whose results are taken. A file without results of this model is refused.
    pub model: Option<String>,
    /// The number of samples, for files that do not state this number.
    pub samples: Option<u64>,
    /// Whether to take metrics that have samples without a score, and to record these samples as errors.
    pub allow_errors: bool,
    /// Whether to take the results of a run on a part of the data set.
    pub allow_subset: bool,
    /// The digests by which a file can name the version, as `sha256:HEX`. A file that names a model only by other
    /// digests is refused. If the set is empty, any digest is allowed.
    pub version_digests: BTreeSet<String>,
    /// The key or the identity that must have signed the file. By default, the file needs no signature.
    pub trust: Trust,
}

/// Reads a result file. The content determines the format. `name` is the name of the file, only for error messages.
pub fn read(name: &str, bytes: &[u8], options: &Options) -> Result<Reading, Refusal> {
    read_content(bytes, options)
        .map_err(|problem| Refusal { file: text::shortened(name, 1024), problem: Box::new(problem) })
}

fn read_content(bytes: &[u8], options: &Options) -> Result<Reading, Problem> {
    if bytes.len() > MAX_BYTES {
        return Err(Problem::TooBig { bytes: bytes.len(), limit: MAX_BYTES });
    }
    if bytes.starts_with(b"PK\x03\x04") {
        return Err(Problem::Zip);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Problem::NotText)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (format, content, provenance) = detect::content(text, options)?;
    select::reading(format, content, provenance, options, sha256(bytes))
}

fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
