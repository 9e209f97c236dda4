//! The evaluation job of `EvalHub`, and its evaluation card.
//!
//! ```text
//!  job:  status.state, status.benchmarks[].status, results.benchmarks[]: id, metrics{}
//!        benchmarks[] or collection.benchmarks[]: id, primary_score{metric, lower_is_better}
//!  card: results.status.state, results.benchmarks[]: id, status, metrics{}; context.benchmarks[]
//! ```
//!
//! The reader ignores the fields `test`, `pass` and `pass_criteria`. They describe a verdict on the average of all
//! benchmarks, with a default threshold of 0.5. `EvalHub` omits `lower_is_better` if it is false or if nobody set it.
//! So only the value `true` states a direction.

use super::{
    Direction, NotTaken, Tool,
    node::Node,
    refusal::Problem,
    select::{Candidate, Content},
    text::shown,
};

pub(super) fn job(root: &Node<'_>) -> Result<Content, Problem> {
    completed(&root.need_path(&["status", "state"])?, "the job")?;
    let mut performed_at = None;
    for benchmark in
        root.path(&["status", "benchmarks"]).map_or(Ok(Vec::new()), |benchmarks| benchmarks.items())?
    {
        completed(&benchmark.need("status")?, benchmark.need("id")?.text()?)?;
        performed_at = performed_at.max(benchmark.get("completed_at").and_then(|time| time.time()));
    }
    let mut configured = list(root.get("benchmarks"))?;
    configured.extend(list(root.path(&["collection", "benchmarks"]))?);
    let mut content =
        content(root.path(&["model", "name"]), &root.need_path(&["results", "benchmarks"])?, &configured)?;
    content.performed_at = performed_at;
    Ok(content)
}

/// Reads an evaluation card. The reader ignores the times in the card, because they state when the job object was
/// created or changed, not when the evaluation ended.
pub(super) fn card(root: &Node<'_>) -> Result<Content, Problem> {
    completed(&root.need_path(&["results", "status", "state"])?, "the job")?;
    let benchmarks = root.need_path(&["results", "benchmarks"])?;
    for benchmark in benchmarks.items()? {
        completed(&benchmark.need("status")?, benchmark.need("id")?.text()?)?;
    }
    let configured = list(root.path(&["context", "benchmarks"]))?;
    content(root.path(&["context", "model", "name"]), &benchmarks, &configured)
}

fn list(node: Option<Node<'_>>) -> Result<Vec<Node<'_>>, Problem> {
    node.map_or(Ok(Vec::new()), |node| node.items())
}

fn completed(state: &Node<'_>, what: &str) -> Result<(), Problem> {
    match state.text()? {
        "completed" => Ok(()),
        state => Err(Problem::Unfinished(format!(
            "the state of {} is {}, not completed",
            shown(what),
            shown(state)
        ))),
    }
}

fn content(
    model: Option<Node<'_>>,
    benchmarks: &Node<'_>,
    configured: &[Node<'_>],
) -> Result<Content, Problem> {
    let mut content = Content {
        tool: Some(Tool { name: "EvalHub".to_owned(), version: None }),
        model: model.map(|model| model.text().map(str::to_owned)).transpose()?,
        ..Content::default()
    };
    for benchmark in benchmarks.items()? {
        let id = benchmark.need("id")?.text()?;
        let Some(metrics) = benchmark.get("metrics") else {
            content.not_taken.push(NotTaken::new(id, "has no metrics"));
            continue;
        };
        for (name, value) in metrics.members()? {
            let metric = format!("{id}/{name}");
            if name.ends_with("_stderr") {
                content.not_taken.push(NotTaken::new(&metric, "is a standard error"));
                continue;
            }
            let candidate = Candidate::new(metric, value.measured());
            content.candidates.push(candidate.direction(direction(id, name, configured)?));
        }
    }
    Ok(content)
}

/// `LowerIsBetter` if every primary score with this benchmark and metric states that a lower value is better.
/// Otherwise `None`, because the file does not state a direction.
fn direction(id: &str, metric: &str, configured: &[Node<'_>]) -> Result<Option<Direction>, Problem> {
    let mut lower = None;
    for benchmark in configured {
        let Some(score) = benchmark.get("primary_score") else { continue };
        if benchmark.need("id")?.text()? != id || score.need("metric")?.text()? != metric {
            continue;
        }
        let stated = score.get("lower_is_better").map_or(Ok(false), |lower| lower.bool())?;
        lower = Some(lower.unwrap_or(true) && stated);
    }
    Ok((lower == Some(true)).then_some(Direction::LowerIsBetter))
}

#[cfg(test)]
mod tests {
    use super::super::{
        Direction, Format, Options,
        testing::{edited, problem_with, read_with, row},
    };

    const JOB: &[u8] = include_bytes!("samples/evalhub-job.json");
    const CARD: &[u8] = include_bytes!("samples/evalhub-card.json");

    fn options() -> Options {
        Options {
            samples: Some(500),
            directions: [("acc".to_owned(), Direction::HigherIsBetter)].into(),
            metrics: vec!["arc_easy/acc".to_owned(), "toxigen/toxicity".to_owned()],
            ..Options::default()
        }
    }

    #[test]
    fn job_and_card_have_the_same_results() {
        let (job, card) = (read_with(JOB, &options()).unwrap(), read_with(CARD, &options()).unwrap());
        assert_eq!((job.format, card.format), (Format::EvalHubJob, Format::EvalHubCard));
        let rows: Vec<_> = job.results.iter().map(row).collect();
        assert_eq!(
            rows,
            [
                "arc_easy/acc = 0.71 HigherIsBetter, 500 samples, 0 errors",
                "toxigen/toxicity = 0.08 LowerIsBetter, 500 samples, 0 errors",
            ]
        );
        assert_eq!(job.results, card.results);
        assert_eq!(job.performed_at.unwrap().to_string(), "2026-08-20T11:00:00Z");
        assert_eq!(card.performed_at, None);
        assert_eq!(job.model.as_deref(), Some("granite-3"));
    }

    #[test]
    fn absent_lower_is_better_states_nothing() {
        let text = std::str::from_utf8(JOB).unwrap();
        let error = problem_with(text, &Options { directions: [].into(), ..options() });
        assert_eq!(error, "arc_easy/acc: the file does not state whether a higher value is better");
    }

    #[test]
    fn jobs_that_did_not_complete_are_refused() {
        let error = problem_with(
            &edited(JOB, "\"state\": \"completed\"", "\"state\": \"partially_failed\""),
            &options(),
        );
        assert_eq!(
            error,
            "the results do not count: the state of the job is partially_failed, not completed"
        );
        let error =
            problem_with(&edited(JOB, "\"status\": \"completed\"", "\"status\": \"failed\""), &options());
        assert!(error.contains("the state of arc_easy is failed"), "{error}");
        let error =
            problem_with(&edited(CARD, "\"status\": \"completed\"", "\"status\": \"failed\""), &options());
        assert!(error.contains("the state of arc_easy is failed"), "{error}");
    }

    #[test]
    fn same_benchmark_twice_is_refused() {
        let text = edited(
            JOB,
            "\"id\": \"toxigen\", \"provider_id\": \"lm_evaluation_harness\", \"benchmark_index\": 1",
            "\"id\": \"arc_easy\", \"benchmark_index\": 1",
        );
        let text = text.replace("\"toxicity\": 0.08", "\"acc\": 0.9");
        let options = Options { metrics: vec!["arc_easy/acc".to_owned()], ..options() };
        assert_eq!(problem_with(&text, &options), "arc_easy/acc: the file has several values");
    }
}
