//! The log of Inspect AI in JSON, in version 2 of the log format.
//!
//! ```text
//!  status, invalidated, error                     a run that did not finish does not count
//!  results.total_samples, completed_samples       the difference counts as errors
//!  results.scores[]: scored_samples, unscored_samples, reducer, metrics{accuracy: {value}}
//! ```
//!
//! A metric is named `TASK/SCORER/METRIC`. Inspect can run each sample in several epochs, and a reducer combines the
//! scores of the epochs. If the reducer is not `mean`, the name of the metric ends with `,REDUCER`. The log does not
//! state the direction of a metric.

use super::{
    NotTaken, Options, Tool,
    node::Node,
    refusal::Problem,
    select::{Candidate, Content},
    text::shown,
};

/// Metrics that state the uncertainty of another metric.
const UNCERTAINTY: [&str; 4] = ["stderr", "bootstrap_stderr", "std", "var"];

pub(super) fn content(root: &Node<'_>, options: &Options) -> Result<Content, Problem> {
    refuse_unfinished(root)?;
    refuse_edited(root)?;
    if !options.allow_subset {
        refuse_subset(root)?;
    }
    let text = |keys: &[&str]| root.path(keys).and_then(|node| node.text().ok()).map(str::to_owned);
    let results = root.need("results")?;
    let lost = lost_samples(&results)?;
    let task = root.need_path(&["eval", "task"])?.text()?;
    let mut content = Content {
        tool: Some(Tool {
            name: "inspect_ai".to_owned(),
            version: text(&["eval", "packages", "inspect_ai"]),
        }),
        performed_at: root.path(&["stats", "completed_at"]).and_then(|time| time.time()),
        model: text(&["eval", "model"]),
        ..Content::default()
    };
    for score in results.need("scores")?.items()? {
        add_score(task, &score, lost, &mut content)?;
    }
    Ok(content)
}

fn refuse_unfinished(root: &Node<'_>) -> Result<(), Problem> {
    match root.need("version")?.count()? {
        2 => {}
        version => {
            return Err(Problem::field("version", format!("expected version 2 of the log, found {version}")));
        }
    }
    match root.need("status")?.text()? {
        "success" => {}
        status => {
            return Err(Problem::Unfinished(format!("the status is {:?}, not \"success\"", shown(status))));
        }
    }
    if root.get("invalidated").map_or(Ok(false), |invalidated| invalidated.bool())? {
        return Err(Problem::Unfinished("the log is marked as invalidated".to_owned()));
    }
    Ok(())
}

/// Refuses logs that were edited after the run. Edits of tags and metadata are allowed.
fn refuse_edited(root: &Node<'_>) -> Result<(), Problem> {
    for update in items(root, "log_updates")? {
        for edit in items(&update, "edits")? {
            let kind = edit.need("type")?.text()?;
            if !["tags", "metadata"].contains(&kind) {
                return Err(Problem::Unfinished(format!(
                    "the log was edited after the run ({})",
                    shown(kind)
                )));
            }
        }
    }
    for sample in items(root, "samples")? {
        for (scorer, score) in sample.get("scores").map_or(Ok(Vec::new()), |scores| scores.members())? {
            if !items(&score, "history")?.is_empty() {
                return Err(Problem::Unfinished(format!(
                    "the scores of {} were edited after the run ({})",
                    shown(scorer),
                    score.at()
                )));
            }
        }
    }
    Ok(())
}

fn items<'a>(node: &Node<'a>, key: &str) -> Result<Vec<Node<'a>>, Problem> {
    node.get(key).map_or(Ok(Vec::new()), |items| items.items())
}

fn refuse_subset(root: &Node<'_>) -> Result<(), Problem> {
    for key in ["limit", "sample_id"] {
        if root.path(&["eval", "config", key]).is_some() {
            return Err(Problem::Subset(format!("eval.config.{key} is set")));
        }
    }
    let stops = root
        .path(&["results", "early_stopping"])
        .map_or(Ok(Vec::new()), |node| items(&node, "early_stops"))?;
    if stops.is_empty() {
        return Ok(());
    }
    Err(Problem::Subset(format!("samples that were stopped early: {}", stops.len())))
}

/// The number of samples that did not complete. They count as errors, because no metric includes them in its
/// average.
fn lost_samples(results: &Node<'_>) -> Result<u64, Problem> {
    let total = results.need("total_samples")?.count()?;
    let completed = results.need("completed_samples")?.count()?;
    total.checked_sub(completed).ok_or_else(|| {
        Problem::field("results.completed_samples", format!("{completed} samples completed, of only {total}"))
    })
}

fn add_score(task: &str, score: &Node<'_>, lost: u64, content: &mut Content) -> Result<(), Problem> {
    let name = score.need("name")?.text()?;
    let reducer = match score.get("reducer").map(|reducer| reducer.text()).transpose()? {
        None | Some("mean") => String::new(),
        Some(reducer) => format!(",{reducer}"),
    };
    let scored = score.get("scored_samples").map(|count| count.count()).transpose()?;
    let unscored = score.get("unscored_samples").map_or(Ok(0), |count| count.count())?;
    for (key, metric) in score.need("metrics")?.members()? {
        let full = format!("{task}/{name}/{key}{reducer}");
        let measure = metric.get("name").map_or(Ok(key), |name| name.text())?;
        if UNCERTAINTY.contains(&measure.rsplit('/').next().unwrap_or(measure)) {
            content.not_taken.push(NotTaken::new(&full, "is the uncertainty of a metric"));
            continue;
        }
        let value =
            metric.need("value").map_err(|_| "has no value".to_owned()).and_then(|value| value.measured());
        content.candidates.push(Candidate::new(full, value).samples(scored, lost.saturating_add(unscored)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{
        Direction, Options,
        testing::{edited, problem, problem_with, read, read_with, row},
    };

    const SUCCESS: &[u8] = include_bytes!("samples/inspect-success.json");
    const ERRORS: &[u8] = include_bytes!("samples/inspect-errors.json");
    const FAILED: &[u8] = include_bytes!("samples/inspect-failed.json");
    const ARCHIVE: &[u8] = include_bytes!("samples/inspect.eval");

    fn higher() -> Options {
        Options {
            directions: [("accuracy".to_owned(), Direction::HigherIsBetter)].into(),
            ..Options::default()
        }
    }

    #[test]
    fn finished_run_is_read_with_a_direction() {
        let reading = read_with(SUCCESS, &higher()).unwrap();
        assert_eq!(
            row(&reading.results[0]),
            "arithmetic/match/accuracy = 0.666666666667 HigherIsBetter, 6 samples, 0 errors"
        );
        assert_eq!(reading.not_taken[0].metric, "arithmetic/match/stderr");
        assert_eq!(reading.model.as_deref(), Some("mockllm/model"));
        assert_eq!(reading.tool.unwrap().version.as_deref(), Some("0.3.285"));
        assert_eq!(reading.performed_at.unwrap().to_string(), "2026-11-28T14:09:11Z");
        assert!(
            problem(std::str::from_utf8(SUCCESS).unwrap())
                .contains("does not state whether a higher value is better")
        );
    }

    #[test]
    fn samples_that_failed_are_errors_and_not_lost() {
        let text = std::str::from_utf8(ERRORS).unwrap();
        assert_eq!(
            problem_with(text, &higher()),
            "arithmetic/match/accuracy: samples without a score: 1, with a score: 5"
        );
        let options = Options { allow_errors: true, ..higher() };
        let reading = read_with(ERRORS, &options).unwrap();
        assert_eq!(
            row(&reading.results[0]),
            "arithmetic/match/accuracy = 0.4 HigherIsBetter, 5 samples, 1 errors"
        );
        let unscored = edited(SUCCESS, "\"unscored_samples\": 0", "\"unscored_samples\": 2");
        assert!(problem_with(&unscored, &higher()).contains("samples without a score: 2"));
    }

    #[test]
    fn runs_that_did_not_finish_or_were_edited_are_refused() {
        let status = problem_with(std::str::from_utf8(FAILED).unwrap(), &higher());
        assert_eq!(status, "the results do not count: the status is \"error\", not \"success\"");
        for (from, to, expected) in [
            ("\"status\": \"success\"", "\"status\": \"started\"", "the status is \"started\""),
            ("\"invalidated\": false", "\"invalidated\": true", "marked as invalidated"),
            ("\"version\": 2", "\"version\": 1", "expected version 2"),
            (
                "\"tags\": []",
                "\"log_updates\": [{\"edits\": [{\"type\": \"score\"}]}]",
                "edited after the run (score)",
            ),
            (
                "\"tags\": []",
                "\"samples\": [{\"scores\": {\"match\": {\"value\": 1, \"history\": [{}]}}}]",
                "samples[0].scores.match",
            ),
            ("\"completed_samples\": 6", "\"completed_samples\": 7", "7 samples completed, of only 6"),
        ] {
            let error = problem_with(&edited(SUCCESS, from, to), &higher());
            assert!(error.contains(expected), "{error}");
        }
        let tags = edited(SUCCESS, "\"tags\": []", "\"log_updates\": [{\"edits\": [{\"type\": \"tags\"}]}]");
        assert!(read_with(tags.as_bytes(), &higher()).is_ok());
    }

    #[test]
    fn run_on_a_part_of_the_data_set_is_refused() {
        let text = edited(SUCCESS, "\"epochs\": 1", "\"epochs\": 1, \"limit\": 6");
        assert!(problem_with(&text, &higher()).contains("eval.config.limit is set"));
        let stops = "\"results\": {\"early_stopping\": {\"early_stops\": [{}, {}]},";
        let text = edited(SUCCESS, "\"results\": {", stops);
        assert!(problem_with(&text, &higher()).contains("samples that were stopped early: 2"));
    }

    #[test]
    fn nan_and_several_scorers_with_one_name_are_not_guessed() {
        let nan = edited(SUCCESS, "0.6666666666666666", "NaN");
        let error = read_with(nan.as_bytes(), &Options::default()).unwrap_err().problem.to_string();
        assert_eq!(
            error,
            "the file has no value that can be taken: arithmetic/match/stderr is the uncertainty of a metric"
        );
        let score = r#"{"name":"match","scorer":"match","scored_samples":6,"unscored_samples":0,"metrics":{"accuracy":{"name":"accuracy","value":1}}}, "#;
        let twice = edited(SUCCESS, "\"scores\": [", &format!("\"scores\": [{score}"));
        assert_eq!(problem_with(&twice, &higher()), "arithmetic/match/accuracy: the file has several values");
        let reduced = twice.replacen("\"scorer\":", "\"reducer\":\"max\",\"scorer\":", 1);
        let options = Options {
            directions: [
                ("accuracy", Direction::HigherIsBetter),
                ("accuracy,max", Direction::HigherIsBetter),
            ]
            .map(|(name, direction)| (name.to_owned(), direction))
            .into(),
            ..Options::default()
        };
        assert_eq!(read_with(reduced.as_bytes(), &options).unwrap().results.len(), 2);
    }

    #[test]
    fn archive_is_refused_with_the_command_that_converts_it() {
        let refusal = read(ARCHIVE).unwrap_err();
        assert_eq!(refusal.next().unwrap(), "Run: inspect log dump --header-only results > log.json");
    }
}
