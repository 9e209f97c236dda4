//! The reasons why a result file is not read. Each message states the problem and its place. Many also state
//! the next step.

use super::{Format, decimal::Decimal, json::JsonError, text::shortened};
use crate::cli::render::shell;

/// A file that the reader refuses, and the reason.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {problem}")]
pub struct Refusal {
    /// The name of the file, as the user typed it.
    pub file: String,
    pub problem: Box<Problem>,
}

impl Refusal {
    /// The next step that helps, as a sentence. `None` if none is known.
    pub fn next(&self) -> Option<String> {
        self.problem.next(&self.file)
    }
}

/// The reason why a file is not read.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file is larger than the limit.
    #[error("the file has {bytes} bytes, and the limit is {limit}")]
    TooBig {
        /// The size of the file.
        bytes: usize,
        /// The maximum size of a file.
        limit: usize,
    },
    /// The file is not UTF-8.
    #[error("the file is not UTF-8 text")]
    NotText,
    /// The file is a zip archive, as the `.eval` logs of Inspect are.
    #[error("the file is a zip archive, such as an .eval log of Inspect, and only JSON logs can be read")]
    Zip,
    /// The file is not valid JSON.
    #[error("the file is not valid JSON: {0}")]
    Json(#[from] JsonError),
    /// The file is not valid XML.
    #[error("the file is not valid XML: {0}")]
    Xml(String),
    /// The content has the marks of no format.
    #[error("the format is unknown: {0}")]
    UnknownFormat(String),
    /// The content belongs to a tool or a format that is not supported.
    #[error("this is a file of {tool}, which is not supported: {why}")]
    Unsupported {
        /// The tool or the specification.
        tool: &'static str,
        /// The reason, as a clause.
        why: &'static str,
    },
    /// The content has the marks of several formats.
    #[error("the content has the marks of several formats: {}", names(.0))]
    SeveralFormats(Vec<Format>),
    /// A field is missing or has the wrong type.
    #[error("{at}: {why}")]
    Field {
        /// The path of the field.
        at: String,
        why: String,
    },
    /// The results do not count, for example because the run did not finish or is marked as invalid.
    #[error("the results do not count: {0}")]
    Unfinished(String),
    /// Only a part of the data set was evaluated.
    #[error("only a part of the data set was evaluated: {0}")]
    Subset(String),
    /// Samples were not scored.
    #[error("{metric}: samples without a score: {errors}, with a score: {samples}")]
    Errors {
        metric: String,
        /// The samples without a score.
        errors: u64,
        /// The samples with a score.
        samples: u64,
    },
    /// The file does not state the number of samples for a metric, and no option states it.
    #[error("{metric}: the file does not state the number of samples")]
    NoSamples {
        /// The metric.
        metric: String,
    },
    /// Neither the file nor an option states whether a higher value is better.
    #[error("{}: the file does not state whether a higher value is better", .metrics.join(", "))]
    NoDirection {
        /// The metrics.
        metrics: Vec<String>,
    },
    /// The direction on the command line differs from the direction in the file.
    #[error("{metric}: --direction states {option}, but the file states {file}")]
    OtherDirection {
        metric: String,
        /// The direction on the command line.
        option: super::Direction,
        /// The direction in the file.
        file: super::Direction,
    },
    /// A value that `--metric` names cannot be taken, or the interval of a value is not valid.
    #[error("{metric}: {why}")]
    Value {
        metric: String,
        /// The reason, as a clause.
        why: String,
    },
    /// A value is outside the range that the file declares.
    #[error("{metric}: the value {value} is outside the declared range {range}")]
    OutOfRange {
        metric: String,
        value: Decimal,
        /// The declared range, such as `0 to 1`.
        range: String,
    },
    /// A metric occurs twice with the same slice.
    #[error("{metric}: the file has several values{}", in_slice(.slice.as_deref()))]
    SeveralValues {
        metric: String,
        /// The slice. `None` if the values have no slice.
        slice: Option<String>,
    },
    /// The file has results of several models.
    #[error("the file has results of several models: {}", .0.join(", "))]
    SeveralModels(Vec<String>),
    /// The file has no results of the model on the command line.
    #[error("the file has no results of model {model}{}", only_of(.known))]
    OtherModel {
        /// The model on the command line.
        model: String,
        /// The models of the file.
        known: Vec<String>,
    },
    /// The file is about another model.
    #[error("the file is about a model with digest {found}, and the version names only {expected}")]
    OtherDigest {
        /// The digests that the version names.
        expected: String,
        /// The digests of the model in the file.
        found: String,
    },
    /// An option names a metric that the file does not have.
    #[error("{option} {metric}: the file has no such metric, only {}", .known.join(", "))]
    NoSuchMetric {
        /// The option, such as `--metric`.
        option: &'static str,
        /// The name on the command line.
        metric: String,
        /// Metrics of the file.
        known: Vec<String>,
    },
    /// The kind on the command line differs from the kind in the file.
    #[error("--kind {option}: the file states {file}")]
    OtherKind {
        /// The kind on the command line.
        option: super::Kind,
        /// The kind in the file.
        file: super::Kind,
    },
    /// The file has more results than an assessment can hold.
    #[error("the file has {found} results, and an assessment holds {limit}")]
    TooMany {
        /// The number of results.
        found: usize,
        limit: usize,
    },
    /// The file has no value that can be taken.
    #[error("the file has no value that can be taken{}", because(.0))]
    NoResults(Vec<super::NotTaken>),
    /// The predicate type of a statement is not supported.
    #[error("the predicate type {found} is not read: {why}")]
    Predicate {
        /// The predicate type in the file.
        found: String,
        why: &'static str,
    },
    /// The file has no signature, but an option requires one.
    #[error("the file is not signed, but {0} requires a signature")]
    NotSigned(&'static str),
    /// The signature is not valid for the key or the identity.
    #[error("the signature is not valid: {0}")]
    Signature(String),
    /// An option for the signature is unusable, conflicts with another, needs another, or does not fit the file.
    #[error("{option}: {why}")]
    Trust {
        /// The option, such as `--key`.
        option: &'static str,
        why: String,
    },
}

impl Problem {
    /// An error about one field.
    pub(super) fn field(at: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Field { at: shortened(&at.into(), 256), why: why.into() }
    }

    /// The next step that helps, as a sentence. `None` if none is known.
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

/// The names of formats, separated by commas.
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

/// A text of the file as one word of a shell command.
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
