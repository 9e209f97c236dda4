//! The JSON output of promptfoo, version 3.
//!
//! ```text
//!  results.prompts[]: provider, label, metrics{testPassCount, testFailCount, testErrorCount, namedScores, …}
//! ```
//!
//! `pass_rate` is the share of passed tests among the tests that passed or failed. A named score is the mean of the
//! scores of its assertions. promptfoo defines a higher score as better. Each provider is a separate model.

use std::collections::BTreeSet;

use super::{
    Direction, NotTaken, Options, Tool,
    decimal::Decimal,
    node::Node,
    refusal::Problem,
    select::{Candidate, Content},
    text::shown,
};

pub(super) fn content(root: &Node<'_>, options: &Options) -> Result<Content, Problem> {
    let results = root.need("results")?;
    match results.need("version")?.count()? {
        3 => {}
        version => {
            return Err(Problem::field("results.version", format!("expected version 3, found {version}")));
        }
    }
    let prompts = results.need("prompts")?.items()?;
    let provider = provider(&prompts, options)?;
    let mut content = Content {
        tool: Some(Tool {
            name: "promptfoo".to_owned(),
            version: root
                .path(&["metadata", "promptfooVersion"])
                .and_then(|node| node.text().ok())
                .map(str::to_owned),
        }),
        performed_at: results.get("timestamp").and_then(|time| time.time()),
        model: provider.map(str::to_owned),
        ..Content::default()
    };
    let mut of_provider = Vec::new();
    for prompt in &prompts {
        if Some(prompt.need("provider")?.text()?) == provider {
            of_provider.push(prompt);
        }
    }
    for prompt in &of_provider {
        let slice = if of_provider.len() > 1 { Some(prompt.need("label")?.text()?) } else { None };
        add_prompt(prompt, slice, &mut content)?;
    }
    Ok(content)
}

/// The provider whose results are taken. `None` if the file has no prompts.
fn provider<'a>(prompts: &[Node<'a>], options: &Options) -> Result<Option<&'a str>, Problem> {
    let providers: BTreeSet<&str> =
        prompts.iter().map(|prompt| prompt.need("provider")?.text()).collect::<Result<_, _>>()?;
    let names = || providers.iter().map(|provider| shown(provider)).collect();
    match (&options.model, providers.len()) {
        (Some(model), _) => match providers.get(model.as_str()) {
            Some(provider) => Ok(Some(provider)),
            None => Err(Problem::OtherModel { model: model.clone(), known: names() }),
        },
        (None, 0 | 1) => Ok(providers.first().copied()),
        (None, _) => Err(Problem::SeveralModels(names())),
    }
}

fn add_prompt(prompt: &Node<'_>, slice: Option<&str>, content: &mut Content) -> Result<(), Problem> {
    let metrics = prompt.need("metrics")?;
    let count = |key: &str| metrics.need(key)?.count();
    let (passed, failed, errors) =
        (count("testPassCount")?, count("testFailCount")?, count("testErrorCount")?);
    let scored = passed.saturating_add(failed);
    let rate = Decimal::ratio(passed, scored).ok_or_else(|| "has no tests that passed or failed".to_owned());
    let mut add = |metric: &str, value: Result<Decimal, String>, samples: u64| {
        let candidate = Candidate::new(metric, value).direction(Some(Direction::HigherIsBetter));
        let candidate = candidate.samples(Some(samples), errors);
        content.candidates.push(Candidate { slice: slice.map(str::to_owned), ..candidate });
    };
    add("pass_rate", rate, scored);
    for (name, sum) in metrics.get("namedScores").map_or(Ok(Vec::new()), |scores| scores.members())? {
        let metric = format!("{name}/score");
        match metrics.path(&["namedScoresCount", name]) {
            None => {
                content.not_taken.push(NotTaken::new(&metric, "is derived from other scores by a formula"));
            }
            Some(count) => {
                let count = count.count()?;
                add(&metric, mean(&metrics, name, &sum, count), count);
            }
        }
    }
    Ok(())
}

/// The mean of a named score. Fails if the sum of the weights differs from the number of assertions, because
/// then the sum of the scores is weighted.
fn mean(metrics: &Node<'_>, name: &str, sum: &Node<'_>, count: u64) -> Result<Decimal, String> {
    let weight = metrics.path(&["namedScoreWeights", name]).map(|weight| weight.measured()).transpose()?;
    if weight.is_some_and(|weight| Some(weight) != Decimal::from_count(count)) {
        return Err("has assertions with different weights".to_owned());
    }
    sum.measured()?.over(count).ok_or_else(|| "has no assertions".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::{
        Options,
        testing::{edited, problem, problem_with, read, read_with, row},
    };

    const ONE: &[u8] = include_bytes!("samples/promptfoo.json");
    const TWO: &[u8] = include_bytes!("samples/promptfoo-two-providers.json");

    #[test]
    fn pass_rate_and_named_scores_are_read() {
        let reading = read(ONE).unwrap();
        assert_eq!(row(&reading.results[0]), "pass_rate = 0.75 HigherIsBetter, 4 samples, 0 errors");
        assert_eq!(
            row(&reading.results[1]),
            "fruit/score = 0.666666666667 HigherIsBetter, 3 samples, 0 errors"
        );
        assert_eq!(reading.model.as_deref(), Some("echo"));
        assert_eq!(reading.tool.unwrap().version.as_deref(), Some("0.121.20"));
        assert_eq!(reading.performed_at.unwrap().to_string(), "2026-11-28T14:09:39.889Z");
    }

    #[test]
    fn one_of_several_providers_must_be_picked() {
        let text = std::str::from_utf8(TWO).unwrap();
        assert_eq!(problem(text), "the file has results of several models: broken, echo");
        let pick = |model: &str| Options { model: Some(model.to_owned()), ..Options::default() };
        let reading = read_with(TWO, &pick("echo")).unwrap();
        assert_eq!(
            row(&reading.results[0]),
            "pass_rate[Answer shortly: {{q}}] = 1 HigherIsBetter, 2 samples, 0 errors"
        );
        assert_eq!(reading.not_taken[0].reason, "has assertions with different weights");
        assert!(problem_with(text, &pick("broken")).contains("samples without a score: 1, with a score: 1"));
        let errors = Options { allow_errors: true, ..pick("broken") };
        assert_eq!(read_with(TWO, &errors).unwrap().results[0].errors, 1);
        assert_eq!(
            problem_with(text, &pick("gpt")),
            "the file has no results of model gpt, only of broken, echo"
        );
    }

    #[test]
    fn empty_or_old_outputs_are_refused() {
        let none = edited(ONE, "\"testPassCount\": 3", "\"testPassCount\": 0");
        let none = edited(none.as_bytes(), "\"testFailCount\": 1", "\"testFailCount\": 0");
        assert_eq!(read(none.as_bytes()).unwrap().not_taken[0].reason, "has no tests that passed or failed");
        assert!(
            problem(&edited(ONE, "\"version\": 3", "\"version\": 2")).contains("expected version 3, found 2")
        );
        let derived = edited(ONE, "\"namedScoresCount\": {", "\"namedScoresCount\": {}, \"other\": {");
        assert_eq!(
            read(derived.as_bytes()).unwrap().not_taken[0].reason,
            "is derived from other scores by a formula"
        );
    }
}
