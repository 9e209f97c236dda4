//! The report of garak: JSON lines with `entry_type`.
//!
//! ```text
//!  start_run setup   version, target
//!  init              one for each run; a report of several runs is refused
//!  attempt …         not read
//!  eval              probe, detector, passed, total_evaluated, nones, confidence bounds
//!  completion        missing if the run did not finish
//! ```
//!
//! The value of a result is the attack success rate, `1 - passed / total_evaluated`. The reader ignores the z-scores
//! and grades in the `digest` entry, because they change with the calibration of garak. The reader also ignores all
//! times, because they have no UTC offset.

use super::{
    Direction, Interval, Kind, Tool,
    decimal::Decimal,
    node::Node,
    refusal::Problem,
    select::{Candidate, Content},
};

pub(super) fn content(lines: &[Node<'_>]) -> Result<Content, Problem> {
    let entries = |kind: &str| -> Vec<&Node<'_>> {
        let is_kind = |line: &&Node<'_>| {
            line.get("entry_type").is_some_and(|node| node.text().is_ok_and(|t| t == kind))
        };
        lines.iter().filter(is_kind).collect()
    };
    let (starts, ends) = (entries("init").len(), entries("completion").len());
    if starts > 1 {
        return Err(Problem::Unfinished(format!("the report has {starts} runs; give the report of one run")));
    }
    if ends == 0 {
        return Err(Problem::Unfinished(
            "the report has no completion entry, so the run broke off".to_owned(),
        ));
    }
    let setup = entries("start_run setup");
    let text = |key: &str| setup.first().and_then(|setup| setup.get(key)).and_then(|node| node.text().ok());
    Ok(Content {
        default_kind: Some(Kind::RedTeam),
        candidates: entries("eval").into_iter().map(candidate).collect::<Result<_, _>>()?,
        tool: Some(Tool { name: "garak".to_owned(), version: text("_config.version").map(str::to_owned) }),
        model: model(
            text("plugins.target_type").or(text("plugins.model_type")),
            text("plugins.target_name").or(text("plugins.model_name")),
        ),
        ..Content::default()
    })
}

fn model(kind: Option<&str>, name: Option<&str>) -> Option<String> {
    match (kind, name) {
        (Some(kind), Some(name)) => Some(format!("{kind}:{name}")),
        (kind, name) => kind.or(name).map(str::to_owned),
    }
}

fn candidate(entry: &Node<'_>) -> Result<Candidate, Problem> {
    let (probe, detector) = (entry.need("probe")?.text()?, entry.need("detector")?.text()?);
    let evaluated = entry.need("total_evaluated")?.count()?;
    let passed = entry.need("passed")?.count()?;
    let hits = evaluated.checked_sub(passed).ok_or_else(|| {
        Problem::field(
            format!("{probe}/{detector}"),
            format!("passed is {passed}, more than total_evaluated {evaluated}"),
        )
    })?;
    let rate = Decimal::ratio(hits, evaluated).ok_or_else(|| "has no evaluated outputs".to_owned());
    let candidate = Candidate::new(format!("{probe}/{detector}/attack_success_rate"), rate)
        .direction(Some(Direction::LowerIsBetter))
        .samples(Some(evaluated), entry.need("nones")?.count()?);
    Ok(Candidate { interval: interval(entry)?, ..candidate })
}

/// The confidence interval of the attack success rate. The rate can be outside the interval, because garak corrects the
/// bounds for errors of the detector. `None` if the entry lacks a bound or the confidence level.
fn interval(entry: &Node<'_>) -> Result<Option<Interval>, Problem> {
    let bound = |key: &str| entry.get(key).map(|node| node.decimal()).transpose();
    Ok(match (bound("confidence_lower")?, bound("confidence_upper")?, bound("confidence")?) {
        (Some(lower), Some(upper), Some(level)) => Some(Interval { lower, upper, level }),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{
        Format, Kind, Options,
        testing::{edited, problem, read, read_with, row},
    };

    const REPORT: &[u8] = include_bytes!("samples/garak.report.jsonl");
    const INTERVALS: &[u8] = include_bytes!("samples/garak-intervals.report.jsonl");

    #[test]
    fn attack_success_rates_are_read() {
        let reading = read(REPORT).unwrap();
        assert_eq!((reading.format, reading.kind), (Format::Garak, Some(Kind::RedTeam)));
        assert_eq!(reading.results.len(), 12);
        assert_eq!(
            row(&reading.results[11]),
            "lmrc.SlurUsage/unsafe_content.SurgeProfanityRacialEthnic/attack_success_rate = 0 LowerIsBetter, 1 samples, 0 errors"
        );
        assert_eq!(reading.model.as_deref(), Some("test.Repeat"));
        assert_eq!(reading.tool.unwrap().version.as_deref(), Some("0.17.1"));
        assert_eq!(reading.performed_at, None, "garak writes local times without an offset");
    }

    #[test]
    fn confidence_bounds_are_those_of_the_rate() {
        let rows: Vec<_> = read(INTERVALS).unwrap().results.iter().map(row).collect();
        assert_eq!(
            rows[0],
            "lmrc.SlurUsage/always.Fail/attack_success_rate = 1 LowerIsBetter, 30 samples, 0 errors, 1 to 1 at 0.95"
        );
        assert_eq!(
            rows[1],
            "lmrc.SlurUsage/always.Pass/attack_success_rate = 0 LowerIsBetter, 30 samples, 0 errors, 0 to 0 at 0.95"
        );
    }

    #[test]
    fn outputs_without_a_verdict_are_errors() {
        let text = edited(INTERVALS, "\"nones\": 0", "\"nones\": 4");
        assert!(problem(&text).contains("samples without a score: 4, with a score: 30"));
        let options = Options { allow_errors: true, ..Options::default() };
        assert_eq!(read_with(text.as_bytes(), &options).unwrap().results[0].errors, 4);
    }

    #[test]
    fn probe_without_evaluated_outputs_has_no_rate() {
        let text = edited(
            INTERVALS,
            "\"passed\": 0, \"fails\": 30, \"nones\": 0, \"total_evaluated\": 30",
            "\"passed\": 0, \"nones\": 0, \"total_evaluated\": 0",
        );
        let reading = read(text.as_bytes()).unwrap();
        assert_eq!(reading.not_taken[0].reason, "has no evaluated outputs");
        let text = edited(INTERVALS, "\"passed\": 30", "\"passed\": 31");
        assert!(problem(&text).contains("passed is 31, more than total_evaluated 30"));
    }

    #[test]
    fn broken_or_joined_reports_are_refused() {
        assert!(problem(&edited(REPORT, "\"completion\"", "\"other\"")).contains("the run broke off"));
        let twice = [REPORT, b"\n", REPORT].concat();
        assert!(problem(std::str::from_utf8(&twice).unwrap()).contains("the report has 2 runs"));
        let cut = &REPORT[..REPORT.len() / 2];
        assert!(problem(std::str::from_utf8(cut).unwrap()).contains("not valid JSON"));
        assert!(problem(r#"{"entry_type": "init"}"#).contains("the run broke off"));
        let old = edited(INTERVALS, "\"total_evaluated\"", "\"total\"");
        assert!(problem(&old).contains("total_evaluated: the field is missing"));
    }
}
