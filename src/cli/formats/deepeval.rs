//! The test run of deepeval: the file `.latest_test_run.json`, or only the value of its `testRunData`.
//!
//! ```text
//!  metricsScores[]: metric, scores[], errors         value: the mean of the scores
//!  testCases[].metricsData[]: name, flaky            a flaky metric does not count
//! ```
//!
//! The reader ignores `passes`, `fails`, `success` and `threshold`, because thresholds belong to the risk level. For
//! some metrics of deepeval a lower value is better, but the file does not state for which ones. So the user must state
//! the direction of each metric.

use std::collections::BTreeSet;

use super::{
    Tool,
    decimal::Decimal,
    node::Node,
    refusal::Problem,
    select::{Candidate, Content},
};

pub(super) fn content(root: &Node<'_>) -> Result<Content, Problem> {
    let run = root.get("testRunData").unwrap_or_else(|| root.clone());
    let flaky = flaky(&run)?;
    let metrics = run.need("metricsScores")?.items()?;
    Ok(Content {
        candidates: metrics.iter().map(|metric| candidate(metric, &flaky)).collect::<Result<_, _>>()?,
        tool: Some(Tool { name: "deepeval".to_owned(), version: None }),
        ..Content::default()
    })
}

/// The metrics that at least one test case marks as flaky.
fn flaky<'a>(run: &Node<'a>) -> Result<BTreeSet<&'a str>, Problem> {
    let mut flaky = BTreeSet::new();
    for key in ["testCases", "conversationalTestCases"] {
        for case in run.get(key).map_or(Ok(Vec::new()), |cases| cases.items())? {
            for metric in case.get("metricsData").map_or(Ok(Vec::new()), |metrics| metrics.items())? {
                if metric.get("flaky").map_or(Ok(false), |flaky| flaky.bool())? {
                    flaky.insert(metric.need("name")?.text()?);
                }
            }
        }
    }
    Ok(flaky)
}

fn candidate(metric: &Node<'_>, flaky: &BTreeSet<&str>) -> Result<Candidate, Problem> {
    let name = metric.need("metric")?.text()?;
    let scores = metric.need("scores")?.items()?;
    let values: Result<Vec<_>, String> = scores.iter().map(Node::measured).collect();
    let mean = values.and_then(|values| Decimal::mean(&values).ok_or_else(|| "has no scores".to_owned()));
    let value = if flaky.contains(name) { Err("is marked as flaky".to_owned()) } else { mean };
    let samples = u64::try_from(scores.len()).ok();
    Ok(Candidate::new(name, value).samples(samples, metric.need("errors")?.count()?))
}

#[cfg(test)]
mod tests {
    use super::super::{
        Direction, Options,
        testing::{edited, problem, problem_with, read_with, row},
    };

    const RUN: &[u8] = include_bytes!("samples/deepeval.json");
    const ERRORS: &[u8] = include_bytes!("samples/deepeval-errors.json");

    fn higher() -> Options {
        Options {
            directions: [("Exact Length".to_owned(), Direction::HigherIsBetter)].into(),
            ..Options::default()
        }
    }

    #[test]
    fn mean_of_the_scores_is_read_with_a_direction() {
        let reading = read_with(RUN, &higher()).unwrap();
        assert_eq!(row(&reading.results[0]), "Exact Length = 0.75 HigherIsBetter, 3 samples, 0 errors");
        assert!(problem(std::str::from_utf8(RUN).unwrap()).contains("whether a higher value is better"));
    }

    #[test]
    fn cases_without_a_score_are_errors() {
        let text = std::str::from_utf8(ERRORS).unwrap();
        assert_eq!(
            problem_with(text, &higher()),
            "Exact Length: samples without a score: 1, with a score: 3"
        );
        let options = Options { allow_errors: true, ..higher() };
        assert_eq!(read_with(ERRORS, &options).unwrap().results[0].errors, 1);
    }

    #[test]
    fn flaky_metric_does_not_count() {
        let text =
            edited(RUN, r#""strictMode": false, "flaky": false"#, r#""strictMode": false, "flaky": true"#);
        assert_eq!(
            problem(&text),
            "the file has no value that can be taken: Exact Length is marked as flaky"
        );
    }

    #[test]
    fn scores_that_are_not_numbers_are_not_averaged() {
        let text = edited(RUN, "\"scores\": [1.0,", "\"scores\": [NaN,");
        assert!(problem(&text).contains("Exact Length NaN is not a finite number"));
        let text = edited(RUN, "\"scores\": [1.0, 0.25, 1.0]", "\"scores\": []");
        assert!(problem(&text).contains("has no scores"));
    }
}
