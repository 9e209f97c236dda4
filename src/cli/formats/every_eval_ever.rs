//! A record of Every Eval Ever, schema 0.2 and 0.3.
//!
//! ```text
//!  evaluation_results[]: evaluation_name
//!    metric_config: metric_id, lower_is_better, min_score, max_score
//!    score_details: score, uncertainty{confidence_interval, num_samples}
//! ```
//!
//! The schema requires `lower_is_better`. A record whose `source_type` is not `evaluation_run` is refused, because its
//! numbers come from a publication and not from a run of this model version.

use jiff::Timestamp;

use super::{
    Direction, Interval, NotTaken, Relationship, Tool,
    decimal::Decimal,
    node::Node,
    refusal::Problem,
    select::{Candidate, Content, Range},
    text::shown,
};

pub(super) fn content(root: &Node<'_>) -> Result<Content, Problem> {
    let version = root.need("schema_version")?.text()?;
    if !["0.2.", "0.3."].iter().any(|known| version.starts_with(known)) {
        return Err(Problem::field("schema_version", format!("{} is not 0.2 or 0.3", shown(version))));
    }
    let source = root.need("source_metadata")?;
    if source.need("source_type")?.text()? != "evaluation_run" {
        let why = "the record repeats published numbers (source_type is not evaluation_run)";
        return Err(Problem::Unfinished(why.to_owned()));
    }
    let mut content = Content {
        tool: tool(root)?,
        model: root.path(&["model_info", "id"]).and_then(|id| id.text().ok()).map(str::to_owned),
        relationship: match source.need("evaluator_relationship")?.text()? {
            "first_party" => Some(Relationship::FirstParty),
            "third_party" => Some(Relationship::ThirdParty),
            _ => None,
        },
        ..Content::default()
    };
    let results = root.need("evaluation_results")?.items()?;
    for result in &results {
        add(result, &mut content)?;
    }
    content.performed_at = performed_at(root, &results);
    Ok(content)
}

fn tool(root: &Node<'_>) -> Result<Option<Tool>, Problem> {
    let Some(library) = root.get("eval_library") else { return Ok(None) };
    let version = library.get("version").map(|version| version.text()).transpose()?;
    Ok(Some(Tool {
        name: library.need("name")?.text()?.to_owned(),
        version: version.filter(|version| *version != "unknown").map(str::to_owned),
    }))
}

/// The earliest time of all results, so that no result looks newer than it is. A result without its own time has the
/// time of the whole record. `None` if a result has no readable time.
fn performed_at(root: &Node<'_>, results: &[Node<'_>]) -> Option<Timestamp> {
    let whole = root.get("evaluation_timestamp").and_then(|time| time.time());
    let times = results.iter().map(|result| match result.get("evaluation_timestamp") {
        Some(time) => time.time(),
        None => whole,
    });
    times.collect::<Option<Vec<_>>>()?.into_iter().min()
}

fn add(result: &Node<'_>, content: &mut Content) -> Result<(), Problem> {
    let (config, details) = (result.need("metric_config")?, result.need("score_details")?);
    let evaluation = result.need("evaluation_name")?.text()?;
    let metric = ["metric_id", "metric_name"].iter().find_map(|key| config.get(key));
    let metric = match metric.map(|metric| metric.text()).transpose()? {
        Some(metric) => format!("{evaluation}/{metric}"),
        None => evaluation.to_owned(),
    };
    let lower = config.need("lower_is_better")?.bool()?;
    let direction = if lower { Direction::LowerIsBetter } else { Direction::HigherIsBetter };
    let samples = details.path(&["uncertainty", "num_samples"]).map(|count| count.count()).transpose()?;
    let candidate = Candidate::new(metric.clone(), score(&config, &details)?);
    let candidate = candidate.direction(Some(direction)).samples(samples, 0);
    let range = Range { min: bound(&config, "min_score")?, max: bound(&config, "max_score")? };
    let interval = match details.path(&["uncertainty", "confidence_interval"]) {
        None => None,
        Some(interval) if interval.get("confidence_level").is_none() => {
            content.not_taken.push(NotTaken::new(&format!("{metric} (interval)"), "has no confidence level"));
            None
        }
        Some(interval) => Some(Interval {
            lower: interval.need("lower")?.decimal()?,
            upper: interval.need("upper")?.decimal()?,
            level: interval.need("confidence_level")?.decimal()?,
        }),
    };
    content.candidates.push(Candidate { interval, range, ..candidate });
    Ok(())
}

/// The score of a result. If `has_unknown_level` is set, the score -1 means that the result is unknown, so the reader
/// does not take the score. The inner error states why the score cannot be taken.
fn score(config: &Node<'_>, details: &Node<'_>) -> Result<Result<Decimal, String>, Problem> {
    let unknown = config.get("has_unknown_level").map_or(Ok(false), |unknown| unknown.bool())?;
    let score = details.need("score")?.measured();
    Ok(match score {
        Ok(score) if unknown && Some(score) == Decimal::parse("-1").ok() => {
            Err("has an unknown level".to_owned())
        }
        score => score,
    })
}

/// A bound of the range of possible scores. `None` if there is no bound: the field is missing, or it is the text
/// `-Infinity` or `Infinity`.
fn bound(config: &Node<'_>, key: &str) -> Result<Option<Decimal>, Problem> {
    match config.get(key) {
        None => Ok(None),
        Some(bound) if bound.text().is_ok_and(|text| ["-Infinity", "Infinity"].contains(&text)) => Ok(None),
        Some(bound) => bound.decimal().map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        Format, Options, Relationship,
        testing::{edited, problem, read, read_with, row},
    };

    const RECORD: &[u8] = include_bytes!("samples/every-eval-ever.json");
    const CONVERTED: &[u8] = include_bytes!("samples/every-eval-ever-converted.json");

    #[test]
    fn record_is_read_with_its_directions() {
        let reading = read(RECORD).unwrap();
        assert_eq!(
            (reading.format, reading.relationship),
            (Format::EveryEvalEver, Some(Relationship::FirstParty))
        );
        assert!(reading.results.len() >= 2);
        let rows: Vec<_> = reading.results.iter().map(row).collect();
        assert_eq!(
            rows[0],
            "arithmetic/accuracy = 0.666666666667 HigherIsBetter, 6 samples, 0 errors, 0.25 to 0.92 at 0.95"
        );
        assert_eq!(rows[1], "latency/seconds = 1.5 LowerIsBetter, 6 samples, 0 errors");
        assert_eq!(reading.performed_at.unwrap().to_string(), "2026-11-28T14:09:11Z");
        assert_eq!(reading.model.as_deref(), Some("mockllm/model"));
    }

    #[test]
    fn record_that_the_project_converted_from_lm_eval_is_read() {
        let reading = read(CONVERTED).unwrap();
        let rows: Vec<_> = reading.results.iter().map(row).collect();
        assert_eq!(
            rows,
            [
                "tiny_gen/strict-match/exact-match = 0 HigherIsBetter, 5 samples, 0 errors",
                "tiny_gen/flexible/exact-match = 0 HigherIsBetter, 5 samples, 0 errors",
            ]
        );
        assert_eq!(reading.tool.unwrap().name, "lm_eval");
        assert_eq!(reading.performed_at.unwrap().to_string(), "2026-11-28T14:08:34Z");
    }

    #[test]
    fn value_outside_the_declared_range_is_refused() {
        let text = edited(RECORD, "\"score\": 0.6666666666666666", "\"score\": 66.7");
        assert_eq!(
            problem(&text),
            "arithmetic/accuracy: the value 66.7 is outside the declared range 0 to 1"
        );
    }

    #[test]
    fn missing_direction_or_samples_are_not_guessed() {
        let text = edited(RECORD, "\"lower_is_better\": false,", "");
        assert!(
            problem(&text)
                .contains("evaluation_results[0].metric_config.lower_is_better: the field is missing")
        );
        let text = edited(RECORD, "\"num_samples\": 6", "\"other\": 6");
        assert!(
            problem(&text).contains("arithmetic/accuracy: the file does not state the number of samples")
        );
        let options = Options { samples: Some(6), ..Options::default() };
        assert!(read_with(text.as_bytes(), &options).is_ok());
    }

    #[test]
    fn interval_without_a_level_is_not_taken() {
        let text = edited(RECORD, "\"confidence_level\": 0.95", "\"method\": \"bootstrap\"");
        let reading = read(text.as_bytes()).unwrap();
        assert_eq!(reading.results[0].interval, None);
        assert_eq!(reading.not_taken[0].reason, "has no confidence level");
    }

    #[test]
    fn published_numbers_and_other_versions_are_refused() {
        let text =
            edited(RECORD, "\"source_type\": \"evaluation_run\"", "\"source_type\": \"documentation\"");
        assert!(problem(&text).contains("repeats published numbers"));
        assert!(problem(&edited(RECORD, "\"0.3.0\"", "\"1.0.0\"")).contains("1.0.0 is not 0.2 or 0.3"));
        let text = edited(RECORD, "\"evaluation_timestamp\": \"2026-11-28T14:09:11Z\",", "");
        assert_eq!(read(text.as_bytes()).unwrap().performed_at, None);
    }
}
