//! Turns the content of a file into results: applies the options, and refuses ambiguous files.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{
    Direction, Format, Interval, Kind, MAX_METRIC, MAX_RESULTS, MAX_SLICE, Measured, NotTaken, Options,
    Provenance, Reading, Relationship, Report, Tool,
    decimal::Decimal,
    refusal::Problem,
    text::{shortened, shown},
};
use crate::cli::render::escape::is_hidden;

/// The maximum number of samples that the schema of an `Assessment` allows.
const MAX_SAMPLES: u64 = 1_000_000_000_000;
/// The maximum number of names in an error.
const MAX_NAMES: usize = 10;

/// A value of a file that can become a result.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) metric: String,
    /// The value, or the reason why it cannot be taken, as a clause that continues the name of the metric.
    pub(super) value: Result<Decimal, String>,
    pub(super) direction: Option<Direction>,
    pub(super) slice: Option<String>,
    /// The number of samples with a score. `None` if the file does not state this number.
    pub(super) samples: Option<u64>,
    pub(super) errors: u64,
    pub(super) interval: Option<Interval>,
    /// The range that the file declares.
    pub(super) range: Range,
}

/// The range of possible values. `None` means that there is no bound.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Range {
    pub(super) min: Option<Decimal>,
    pub(super) max: Option<Decimal>,
}

impl Candidate {
    pub(super) fn new(metric: impl Into<String>, value: Result<Decimal, String>) -> Self {
        Self {
            metric: metric.into(),
            value,
            direction: None,
            slice: None,
            samples: None,
            errors: 0,
            interval: None,
            range: Range::default(),
        }
    }

    pub(super) fn direction(self, direction: Option<Direction>) -> Self {
        Self { direction, ..self }
    }

    pub(super) fn samples(self, samples: Option<u64>, errors: u64) -> Self {
        Self { samples, errors, ..self }
    }
}

/// The content of a file before the options apply.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    pub(super) kind: Option<Kind>,
    /// The kind if neither the file nor the user states one.
    pub(super) default_kind: Option<Kind>,
    pub(super) candidates: Vec<Candidate>,
    pub(super) not_taken: Vec<NotTaken>,
    pub(super) method: Option<String>,
    pub(super) tool: Option<Tool>,
    pub(super) performed_at: Option<Timestamp>,
    pub(super) model: Option<String>,
    /// The digests of the models or artifacts that the file is about, as `sha256:HEX`.
    pub(super) model_digests: Vec<String>,
    pub(super) relationship: Option<Relationship>,
    pub(super) report: Option<Report>,
    /// Whether a person or a script wrote the file for Assent. In such a file, zero samples and samples
    /// without a score are accepted.
    pub(super) authored: bool,
}

/// Applies the options to the content of a file. Fails if the file is ambiguous or has no result.
pub(super) fn reading(
    format: Format,
    mut content: Content,
    provenance: Provenance,
    options: &Options,
    file_digest: String,
) -> Result<Reading, Problem> {
    let model_digest = model_digest(&content.model_digests, options)?;
    let kind = kind(content.kind, options)?.or(content.default_kind);
    check_model(content.model.as_deref(), options)?;
    let picked = pick(&mut content, options)?;
    refuse_several_values(&picked)?;
    let taken = values(picked, content.authored, &mut content.not_taken, options)?;
    if taken.len() > MAX_RESULTS {
        return Err(Problem::TooMany { found: taken.len(), limit: MAX_RESULTS });
    }
    let directions = directions(&taken, options)?;
    let results = taken
        .into_iter()
        .zip(directions)
        .map(|((candidate, value), direction)| {
            measured(candidate, value, direction, content.authored, options)
        })
        .collect::<Result<Vec<_>, _>>()?;
    if results.is_empty() {
        return Err(Problem::NoResults(content.not_taken));
    }
    Ok(Reading {
        format,
        kind,
        results,
        method: content.method,
        tool: content.tool.map(clean_tool),
        performed_at: content.performed_at,
        model: content.model.map(|model| shortened(&model, 256)),
        model_digest,
        relationship: content.relationship,
        report: content.report,
        not_taken: content.not_taken,
        provenance,
        file_digest,
    })
}

fn clean_tool(tool: Tool) -> Tool {
    Tool { name: shown(&tool.name), version: tool.version.map(|version| shown(&version)) }
}

fn kind(stated: Option<Kind>, options: &Options) -> Result<Option<Kind>, Problem> {
    match (options.kind, stated) {
        (Some(option), Some(file)) if option != file => Err(Problem::OtherKind { option, file }),
        (option, file) => Ok(option.or(file)),
    }
}

/// Refuses a file that is not about the model of the option `--model`.
fn check_model(found: Option<&str>, options: &Options) -> Result<(), Problem> {
    match &options.model {
        Some(model) if found != Some(model) => Err(Problem::OtherModel {
            model: model.clone(),
            known: found.iter().map(|found| shown(found)).collect(),
        }),
        _ => Ok(()),
    }
}

fn model_digest(digests: &[String], options: &Options) -> Result<Option<String>, Problem> {
    let expected = &options.version_digests;
    match (digests.iter().find(|digest| expected.contains(*digest)), digests) {
        (Some(known), _) => Ok(Some(known.clone())),
        (None, [only]) if expected.is_empty() => Ok(Some(only.clone())),
        (None, found) if expected.is_empty() || found.is_empty() => Ok(None),
        (None, found) => Err(Problem::OtherDigest {
            expected: listed(expected.iter().map(String::as_str)).join(", "),
            found: listed(found.iter().map(String::as_str)).join(", "),
        }),
    }
}

/// The candidates that `--metric` names. Moves the others to `content.not_taken`. Without `--metric`, all candidates.
fn pick(content: &mut Content, options: &Options) -> Result<Vec<Candidate>, Problem> {
    let candidates = std::mem::take(&mut content.candidates);
    if options.metrics.is_empty() {
        return Ok(candidates);
    }
    for metric in &options.metrics {
        if !candidates.iter().any(|candidate| candidate.metric == *metric) {
            return Err(missing("--metric", metric, &candidates, &content.not_taken));
        }
    }
    let (picked, rest): (Vec<_>, Vec<_>) =
        candidates.into_iter().partition(|candidate| options.metrics.contains(&candidate.metric));
    let not_picked = |candidate: Candidate| NotTaken::new(&candidate.metric, "is not named by --metric");
    content.not_taken.extend(rest.into_iter().map(not_picked));
    Ok(picked)
}

/// The error for a metric that `option` names, if the file does not have the metric or its value cannot be taken.
fn missing(option: &'static str, metric: &str, candidates: &[Candidate], not_taken: &[NotTaken]) -> Problem {
    match not_taken.iter().find(|not_taken| not_taken.metric == metric) {
        Some(found) => Problem::Value { metric: metric.to_owned(), why: found.reason.clone() },
        None => Problem::NoSuchMetric {
            option,
            metric: metric.to_owned(),
            known: listed(candidates.iter().map(|candidate| candidate.metric.as_str())),
        },
    }
}

/// At most ten different names, without hidden characters. If there are more names, a last entry states the
/// number of the rest.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let names: Vec<_> = names.filter(|name| seen.insert(*name)).map(shown).collect();
    let rest = names.len().saturating_sub(MAX_NAMES);
    let more = (rest > 0).then(|| format!("and {rest} more"));
    names.into_iter().take(MAX_NAMES).chain(more).collect()
}

fn refuse_several_values(candidates: &[Candidate]) -> Result<(), Problem> {
    let mut seen = BTreeSet::new();
    match candidates.iter().find(|candidate| !seen.insert((&candidate.metric, &candidate.slice))) {
        None => Ok(()),
        Some(twice) => Err(Problem::SeveralValues {
            metric: shown(&twice.metric),
            slice: twice.slice.as_deref().map(shown),
        }),
    }
}

/// Returns the candidates that can become results, with their values. Any other candidate is an error if `--metric`
/// names it. Otherwise, this candidate moves to `not_taken`.
fn values(
    picked: Vec<Candidate>,
    authored: bool,
    not_taken: &mut Vec<NotTaken>,
    options: &Options,
) -> Result<Vec<(Candidate, Decimal)>, Problem> {
    let mut taken = Vec::new();
    for candidate in picked {
        match candidate.value.clone().and_then(|value| problem(&candidate, authored).map_or(Ok(value), Err)) {
            Ok(value) => taken.push((candidate, value)),
            Err(why) if options.metrics.contains(&candidate.metric) => {
                return Err(Problem::Value { metric: shown(&candidate.metric), why });
            }
            Err(why) => not_taken.push(NotTaken::new(&candidate.metric, why)),
        }
    }
    Ok(taken)
}

/// The reason why a candidate cannot become a result although it has a value. `None` if the candidate can become a
/// result.
fn problem(candidate: &Candidate, authored: bool) -> Option<String> {
    if candidate.samples == Some(0) && !authored {
        return Some("has no samples".to_owned());
    }
    if candidate.samples.max(Some(candidate.errors)) > Some(MAX_SAMPLES) {
        return Some(format!("has more than {MAX_SAMPLES} samples or errors"));
    }
    let slice = candidate.slice.as_deref().unwrap_or_default();
    if candidate.metric.is_empty() {
        return Some("has no name".to_owned());
    }
    if candidate.metric.chars().count() > MAX_METRIC {
        return Some(format!("has a name with more than {MAX_METRIC} characters"));
    }
    if slice.chars().count() > MAX_SLICE {
        return Some(format!("has a slice with more than {MAX_SLICE} characters"));
    }
    let controls = candidate.metric.chars().chain(slice.chars()).any(is_hidden);
    controls.then(|| "has control characters in its name or slice".to_owned())
}

/// The direction of each candidate. Fails if neither the file nor an option states the direction, or if the file and
/// the option state different ones. Also fails if an option names no candidate.
fn directions(taken: &[(Candidate, Decimal)], options: &Options) -> Result<Vec<Direction>, Problem> {
    let mut used = BTreeSet::new();
    let mut unknown = Vec::new();
    let mut directions = Vec::new();
    for (candidate, _) in taken {
        let option = direction_option(&candidate.metric, options);
        used.extend(option.map(|(name, _)| name));
        match (option.map(|(_, direction)| direction), candidate.direction) {
            (Some(option), Some(file)) if option != file => {
                return Err(Problem::OtherDirection { metric: candidate.metric.clone(), option, file });
            }
            (None, None) => unknown.push(candidate.metric.as_str()),
            (option, file) => directions.extend(option.or(file)),
        }
    }
    if let Some(unused) = options.directions.keys().find(|name| !used.contains(*name)) {
        let candidates: Vec<_> = taken.iter().map(|(candidate, _)| candidate.clone()).collect();
        return Err(missing("--direction", unused, &candidates, &[]));
    }
    if unknown.is_empty() {
        return Ok(directions);
    }
    Err(Problem::NoDirection { metrics: listed(unknown.into_iter()) })
}

/// The option `--direction` for the full name of a metric. Without such an option, the option for the part of
/// the name after the last `/`.
fn direction_option<'a>(metric: &str, options: &'a Options) -> Option<(&'a String, Direction)> {
    let last = metric.rsplit('/').next().unwrap_or(metric);
    let found = options.directions.get_key_value(metric).or_else(|| options.directions.get_key_value(last));
    found.map(|(name, direction)| (name, *direction))
}

fn measured(
    candidate: Candidate,
    value: Decimal,
    direction: Direction,
    authored: bool,
    options: &Options,
) -> Result<Measured, Problem> {
    check_range(&candidate, value)?;
    check_interval(&candidate)?;
    let Candidate { metric, slice, errors, interval, .. } = candidate;
    let option = options.samples.filter(|samples| (1..=MAX_SAMPLES).contains(samples));
    let Some(samples) = candidate.samples.or(option) else {
        return Err(Problem::NoSamples { metric });
    };
    if errors > 0 && !authored && !options.allow_errors {
        return Err(Problem::Errors { metric, errors, samples });
    }
    Ok(Measured { metric, value, direction, slice, samples, errors, interval })
}

fn check_range(candidate: &Candidate, value: Decimal) -> Result<(), Problem> {
    let Range { min, max } = candidate.range;
    if min.is_none_or(|min| min <= value) && max.is_none_or(|max| value <= max) {
        return Ok(());
    }
    let bound =
        |bound: Option<Decimal>| bound.map_or_else(|| "unbounded".to_owned(), |bound| bound.to_string());
    let range = format!("{} to {}", bound(min), bound(max));
    Err(Problem::OutOfRange { metric: candidate.metric.clone(), value, range })
}

fn check_interval(candidate: &Candidate) -> Result<(), Problem> {
    let Some(Interval { lower, upper, level }) = &candidate.interval else { return Ok(()) };
    let why = if lower > upper {
        format!("the interval ends at {upper}, below its start {lower}")
    } else if *level <= Decimal::ZERO || *level >= Decimal::ONE {
        format!("the level {level} of the interval is not between 0 and 1")
    } else {
        return Ok(());
    };
    Err(Problem::Value { metric: candidate.metric.clone(), why })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(metric: &str, value: &str) -> Candidate {
        let value = Decimal::parse(value).map_err(|error| error.to_string());
        Candidate::new(metric, value).direction(Some(Direction::HigherIsBetter)).samples(Some(10), 0)
    }

    fn read(candidates: Vec<Candidate>, options: &Options) -> Result<Reading, Problem> {
        let content = Content { candidates, ..Content::default() };
        reading(Format::Native, content, Provenance::Unsigned, options, String::new())
    }

    fn refused(candidates: Vec<Candidate>, options: &Options) -> String {
        read(candidates, options).unwrap_err().to_string()
    }

    #[test]
    fn value_that_is_not_finite_is_not_taken_but_refused_if_named() {
        let candidates = vec![candidate("a", "1"), candidate("b", "NaN")];
        let reading = read(candidates.clone(), &Options::default()).unwrap();
        assert_eq!(reading.results.len(), 1);
        assert_eq!(reading.not_taken, [NotTaken::new("b", "is not a finite number")]);
        let options = Options { metrics: vec!["b".to_owned()], ..Options::default() };
        assert_eq!(refused(candidates, &options), "b: is not a finite number");
    }

    #[test]
    fn more_than_64_results_are_refused_until_some_are_picked() {
        let candidates: Vec<_> = (0..65).map(|index| candidate(&format!("t{index}/acc"), "0.5")).collect();
        let error = read(candidates.clone(), &Options::default()).unwrap_err();
        assert_eq!(error.to_string(), "the file has 65 results, and an assessment holds 64");
        assert_eq!(error.next("f").unwrap(), "Pick results with --metric");
        let options = Options { metrics: vec!["t3/acc".to_owned()], ..Options::default() };
        let reading = read(candidates, &options).unwrap();
        assert_eq!((reading.results.len(), reading.not_taken.len()), (1, 64));
    }

    #[test]
    fn several_values_of_a_metric_and_slice_are_refused_even_if_one_is_not_finite() {
        let candidates = vec![candidate("a", "1"), candidate("a", "NaN")];
        assert_eq!(refused(candidates, &Options::default()), "a: the file has several values");
    }

    #[test]
    fn unknown_or_contradicting_directions_are_refused() {
        let unknown = candidate("t/m", "1").direction(None);
        let error = read(vec![unknown.clone()], &Options::default()).unwrap_err();
        assert!(error.next("f").unwrap().contains("--direction t/m=HigherIsBetter"));
        for key in ["m", "t/m"] {
            let options = Options {
                directions: [(key.to_owned(), Direction::LowerIsBetter)].into(),
                ..Options::default()
            };
            let reading = read(vec![unknown.clone()], &options).unwrap();
            assert_eq!(reading.results[0].direction, Direction::LowerIsBetter);
            assert!(
                refused(vec![candidate("t/m", "1")], &options).contains("but the file states HigherIsBetter")
            );
        }
        let options =
            Options { directions: [("x".to_owned(), Direction::LowerIsBetter)].into(), ..Options::default() };
        assert_eq!(
            refused(vec![candidate("a", "1")], &options),
            "--direction x: the file has no such metric, only a"
        );
    }

    #[test]
    fn metric_option_without_a_match_lists_the_metrics() {
        let options = Options { metrics: vec!["b".to_owned()], ..Options::default() };
        assert_eq!(
            refused(vec![candidate("a", "1")], &options),
            "--metric b: the file has no such metric, only a"
        );
    }

    #[test]
    fn samples_come_from_the_option_only_if_the_file_has_none() {
        let without = candidate("a", "1").samples(None, 0);
        assert_eq!(
            refused(vec![without.clone()], &Options::default()),
            "a: the file does not state the number of samples"
        );
        let options = Options { samples: Some(7), ..Options::default() };
        assert_eq!(read(vec![without], &options).unwrap().results[0].samples, 7);
        assert_eq!(read(vec![candidate("a", "1")], &options).unwrap().results[0].samples, 10);
    }

    #[test]
    fn values_without_samples_and_absurd_counts_are_not_taken() {
        for samples in [0, u64::MAX] {
            let candidates = vec![candidate("a", "1"), candidate("b", "0").samples(Some(samples), 0)];
            assert_eq!(read(candidates, &Options::default()).unwrap().not_taken[0].metric, "b");
        }
    }

    #[test]
    fn model_on_the_command_line_must_be_that_of_the_file() {
        let options = Options { model: Some("a".to_owned()), ..Options::default() };
        assert!(check_model(Some("a"), &options).is_ok());
        let error = |found| check_model(found, &options).unwrap_err().to_string();
        assert_eq!(error(Some("b")), "the file has no results of model a, only of b");
        assert_eq!(error(None), "the file has no results of model a; it names no model");
    }

    #[test]
    fn errors_need_an_option_unless_the_author_states_them() {
        let candidates = vec![candidate("a", "1").samples(Some(9), 1)];
        assert_eq!(
            refused(candidates.clone(), &Options::default()),
            "a: samples without a score: 1, with a score: 9"
        );
        let options = Options { allow_errors: true, ..Options::default() };
        assert_eq!(read(candidates, &options).unwrap().results[0].errors, 1);
    }

    #[test]
    fn value_outside_the_declared_range_is_refused() {
        let mut percent = candidate("a", "55");
        percent.range = Range { min: Some(Decimal::ZERO), max: Some(Decimal::ONE) };
        assert_eq!(
            refused(vec![percent], &Options::default()),
            "a: the value 55 is outside the declared range 0 to 1"
        );
    }

    #[test]
    fn names_with_control_characters_are_not_taken() {
        let candidates =
            vec![candidate("a", "1"), candidate("b\u{1b}[2J", "1"), candidate(&"x".repeat(129), "1")];
        let reading = read(candidates, &Options::default()).unwrap();
        assert_eq!(reading.results.len(), 1);
        assert_eq!(reading.not_taken[0].metric, "b\u{fffd}[2J");
    }

    #[test]
    fn contradicting_digest_or_kind_is_refused() {
        let digests = ["sha256:aa".to_owned(), "sha256:bb".to_owned()];
        let expect =
            |digest: &str| Options { version_digests: [digest.to_owned()].into(), ..Options::default() };
        assert!(model_digest(&digests, &expect("sha256:cc")).is_err());
        assert_eq!(model_digest(&digests, &expect("sha256:bb")).unwrap().as_deref(), Some("sha256:bb"));
        assert_eq!(model_digest(&digests, &Options::default()).unwrap(), None);
        let options = Options { kind: Some(Kind::Safety), ..Options::default() };
        assert!(kind(Some(Kind::Other), &options).is_err());
    }
}
