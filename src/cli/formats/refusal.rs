//! The reasons why a result file is refused. Each message states the problem. [`Problem::next`] states the next step.

use super::{Format, decimal::Decimal, json::JsonError, text::shortened};
use crate::cli::render::shell;

#[derive(Debug, thiserror::Error)]
#[error("{file}: {problem}")]
pub struct Refusal {
    pub file: String,
    pub problem: Box<Problem>,
}

impl Refusal {
    pub fn next(&self) -> Option<String> {
        self.problem.next(&self.file)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("the file has {bytes} bytes, and the limit is {limit}")]
    TooBig { bytes: usize, limit: usize },
    #[error("the file is not UTF-8 text")]
    NotText,
    #[error("the file is a zip archive, such as an .eval log of Inspect, and only JSON logs can be read")]
    Zip,
    #[error("the file is not valid JSON: {0}")]
    Json(#[from] JsonError),
    #[error("the file is not valid XML: {0}")]
    Xml(String),
    #[error("the format is unknown: {0}")]
    UnknownFormat(String),
    #[error("this is a file of {tool}, which is not supported: {why}")]
    Unsupported {
        /// The tool that wrote the file, or the specification that the file follows.
        tool: &'static str,
        why: &'static str,
    },
    #[error("the content has the marks of several formats: {}", names(.0))]
    SeveralFormats(Vec<Format>),
    /// A field is missing or has the wrong type.
    #[error("{at}: {why}")]
    Field {
        /// The path of the field.
        at: String,
        why: String,
    },
    /// The results do not count. For example, the run did not finish, or somebody edited the log of the run.
    #[error("the results do not count: {0}")]
    Unfinished(String),
    #[error("only a part of the data set was evaluated: {0}")]
    Subset(String),
    #[error("{metric}: samples without a score: {errors}, with a score: {samples}")]
    Errors { metric: String, errors: u64, samples: u64 },
    #[error("{metric}: the file does not state the number of samples")]
    NoSamples { metric: String },
    #[error("{}: the file does not state whether a higher value is better", .metrics.join(", "))]
    NoDirection { metrics: Vec<String> },
    #[error("{metric}: --direction states {option}, but the file states {file}")]
    OtherDirection { metric: String, option: super::Direction, file: super::Direction },
    /// A value that `--metric` names cannot be taken, or the interval of a value is not valid.
    #[error("{metric}: {why}")]
    Value { metric: String, why: String },
    #[error("{metric}: the value {value} is outside the declared range {range}")]
    OutOfRange {
        metric: String,
        value: Decimal,
        /// The declared range, such as `0 to 1`.
        range: String,
    },
    #[error("{metric}: the file has several values{}", in_slice(.slice.as_deref()))]
    SeveralValues { metric: String, slice: Option<String> },
    #[error("the file has results of several models: {}", .0.join(", "))]
    SeveralModels(Vec<String>),
    #[error("the file has no results of model {model}{}", only_of(.known))]
    OtherModel { model: String, known: Vec<String> },
    #[error("the file is about a model with digest {found}, and the version names only {expected}")]
    OtherDigest { expected: String, found: String },
    #[error("{option} {metric}: the file has no such metric, only {}", .known.join(", "))]
    NoSuchMetric {
        option: &'static str,
        metric: String,
        /// At most ten metrics of the file. If the file has more metrics, a last entry states the number of the rest.
        known: Vec<String>,
    },
    #[error("--kind {option}: the file states {file}")]
    OtherKind { option: super::Kind, file: super::Kind },
    #[error("the file has {found} results, and an assessment holds {limit}")]
    TooMany { found: usize, limit: usize },
    #[error("the file has no value that can be taken{}", because(.0))]
    NoResults(Vec<super::NotTaken>),
    #[error("the predicate type {found} is not read: {why}")]
    Predicate { found: String, why: &'static str },
    #[error("the file is not signed, but {0} requires a signature")]
    NotSigned(&'static str),
    #[error("the signature is not valid: {0}")]
    Signature(String),
    /// An option such as `--key` has an invalid value, lacks another option, or does not fit the file.
    #[error("{option}: {why}")]
    Trust {
        /// The option, such as `--key`.
        option: &'static str,
        why: String,
    },
}

impl Problem {
    pub(super) fn field(at: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Field { at: shortened(&at.into(), 256), why: why.into() }
    }

    /// The next step for the user, as a sentence. `None` if no step is known.
    pub fn next(&self, file: &str) -> Option<String> {
        let file = shell_word(file);
        Some(match self {
            Self::TooBig { .. } => "Give a file with the results only, without the samples".to_owned(),
            Self::Zip => format!("Run: inspect log dump --header-only {file} > log.json"),
            Self::NotText => "Save the file as UTF-8".to_owned(),
            Self::UnknownFormat(_) | Self::Unsupported { .. } => {
                "Write the values as JSON or YAML with kind and results[] (see `kubectl explain assessment.spec`)"
                    .to_owned()
            }
            Self::Unfinished(_) => "Run the evaluation again".to_owned(),
            Self::Subset(_) => {
                "Run the evaluation without a limit, or pass --allow-subset to record the smaller number of samples"
                    .to_owned()
            }
            Self::Errors { .. } => {
                "Run the evaluation again, or pass --allow-errors to record these samples as errors".to_owned()
            }
            Self::OtherDigest { .. } => {
                "Assess the version that was tested, or pass --allow-other-digest if the file is about this version"
                    .to_owned()
            }
            Self::NoSamples { .. } => "Pass --samples NUMBER".to_owned(),
            Self::NoDirection { metrics } => format!(
                "Pass --direction {}=HigherIsBetter or =LowerIsBetter, or pick other metrics with --metric",
                shell_word(metrics.first().map_or("METRIC", String::as_str))
            ),
            Self::TooMany { .. } | Self::SeveralValues { .. } => "Pick results with --metric".to_owned(),
            Self::OutOfRange { .. } => {
                "Check the unit of the value, such as percent or fraction, and correct the file".to_owned()
            }
            Self::SeveralModels(models) => {
                format!("Pass --model {}", shell_word(models.first().map_or("MODEL", String::as_str)))
            }
            _ => return None,
        })
    }
}

fn names(formats: &[Format]) -> String {
    formats.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn only_of(models: &[String]) -> String {
    if models.is_empty() {
        "; it names no model".to_owned()
    } else {
        format!(", only of {}", models.join(", "))
    }
}

fn in_slice(slice: Option<&str>) -> String {
    slice.map_or_else(String::new, |slice| format!(" for the slice {slice}"))
}

fn because(not_taken: &[super::NotTaken]) -> String {
    not_taken.first().map_or_else(String::new, |first| format!(": {} {}", first.metric, first.reason))
}

fn shell_word(text: &str) -> String {
    shell::quoted(&shortened(text, 1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_quote_the_file_name() {
        assert_eq!(
            Problem::Zip.next("my log.eval").unwrap(),
            "Run: inspect log dump --header-only 'my log.eval' > log.json"
        );
    }
}
