//! A `CycloneDX` bill of materials with a model card, in JSON.
//!
//! ```text
//!  metadata.component, components[]: name, version, hashes[]
//!    modelCard.quantitativeAnalysis.performanceMetrics[]: type, value, slice, confidenceInterval
//! ```
//!
//! The format does not state whether a higher value of a metric is better. It also does not state the number of samples
//! or the date of the test. An interval has no confidence level, so the reader ignores intervals.

use super::{
    NotTaken, Options,
    node::Node,
    refusal::Problem,
    select::{Candidate, Content},
    text::shown,
};

pub(super) fn content(root: &Node<'_>, options: &Options) -> Result<Content, Problem> {
    let mut models = Vec::new();
    models.extend(root.path(&["metadata", "component"]).filter(has_metrics));
    for component in root.get("components").map_or(Ok(Vec::new()), |components| components.items())? {
        models.extend(Some(component).filter(has_metrics));
    }
    let Some(model) = pick(&models, options)? else {
        return Err(Problem::field(
            "components",
            "no component has modelCard.quantitativeAnalysis.performanceMetrics",
        ));
    };
    let mut content =
        Content { model: Some(name(model)?), model_digests: digests(model)?, ..Content::default() };
    for metric in model.need_path(&METRICS)?.items()? {
        add(&metric, &mut content)?;
    }
    Ok(content)
}

const METRICS: [&str; 3] = ["modelCard", "quantitativeAnalysis", "performanceMetrics"];

fn has_metrics(component: &Node<'_>) -> bool {
    component.path(&METRICS).is_some()
}

fn pick<'n, 'a>(models: &'n [Node<'a>], options: &Options) -> Result<Option<&'n Node<'a>>, Problem> {
    let names = models.iter().map(name).collect::<Result<Vec<_>, _>>()?;
    let listed = || names.iter().map(|name| shown(name)).collect();
    let Some(wanted) = &options.model else {
        return if models.len() > 1 { Err(Problem::SeveralModels(listed())) } else { Ok(models.first()) };
    };
    let mut found = models.iter().zip(&names).filter(|(_, name)| *name == wanted).map(|(model, _)| model);
    match (found.next(), found.next()) {
        (Some(model), None) => Ok(Some(model)),
        (Some(_), Some(_)) => Err(Problem::SeveralModels(listed())),
        (None, _) => Err(Problem::OtherModel { model: wanted.clone(), known: listed() }),
    }
}

fn name(component: &Node<'_>) -> Result<String, Problem> {
    let name = component.need("name")?.text()?;
    Ok(match component.get("version") {
        Some(version) => format!("{name}@{}", version.text()?),
        None => name.to_owned(),
    })
}

fn digests(component: &Node<'_>) -> Result<Vec<String>, Problem> {
    let mut digests = Vec::new();
    for hash in component.get("hashes").map_or(Ok(Vec::new()), |hashes| hashes.items())? {
        if hash.need("alg")?.text()? == "SHA-256" {
            digests.push(format!("sha256:{}", hash.need("content")?.sha256()?));
        }
    }
    Ok(digests)
}

fn add(metric: &Node<'_>, content: &mut Content) -> Result<(), Problem> {
    let Some(kind) = metric.get("type") else {
        content.not_taken.push(NotTaken::new(metric.at(), "has no type"));
        return Ok(());
    };
    let kind = kind.text()?;
    if metric.get("confidenceInterval").is_some() {
        content.not_taken.push(NotTaken::new(&format!("{kind} (interval)"), "has no confidence level"));
    }
    let value =
        metric.get("value").ok_or_else(|| "has no value".to_owned()).and_then(|value| value.decimal_text());
    let slice = metric.get("slice").map(|slice| slice.text().map(str::to_owned)).transpose()?;
    content.candidates.push(Candidate { slice, ..Candidate::new(kind, value) });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{
        Direction, Options,
        testing::{edited, problem, problem_with, read_with, row},
    };

    const BOM: &[u8] = include_bytes!("samples/cyclonedx-1.6.json");
    const DIGEST: &str = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    fn options() -> Options {
        Options {
            samples: Some(1000),
            directions: [
                ("accuracy", Direction::HigherIsBetter),
                ("false positive rate", Direction::LowerIsBetter),
            ]
            .map(|(name, direction)| (name.to_owned(), direction))
            .into(),
            ..Options::default()
        }
    }

    #[test]
    fn performance_metrics_need_directions_and_samples() {
        let reading = read_with(BOM, &options()).unwrap();
        let rows: Vec<_> = reading.results.iter().map(row).collect();
        assert_eq!(
            rows,
            [
                "accuracy = 0.913 HigherIsBetter, 1000 samples, 0 errors",
                "false positive rate[age over 60] = 0.041 LowerIsBetter, 1000 samples, 0 errors",
            ]
        );
        let reasons: Vec<_> = reading.not_taken.iter().map(|not_taken| not_taken.reason.as_str()).collect();
        assert_eq!(reasons, ["has no confidence level", "\"20.0 ± 1.2\" is not a decimal number"]);
        assert_eq!(
            (reading.model.as_deref(), reading.model_digest.as_deref()),
            (Some("credit@3"), Some(DIGEST))
        );
        let text = std::str::from_utf8(BOM).unwrap();
        assert!(problem(text).contains("whether a higher value is better"));
        assert!(
            problem_with(text, &Options { samples: None, ..options() }).contains("the number of samples")
        );
    }

    #[test]
    fn bom_of_another_model_is_refused() {
        let text = std::str::from_utf8(BOM).unwrap();
        let other = Options { version_digests: ["sha256:00".to_owned()].into(), ..options() };
        assert!(problem_with(text, &other).contains("the file is about a model with digest"));
        assert!(
            problem_with(text, &Options { model: Some("x".to_owned()), ..options() })
                .contains("only of credit@3")
        );
    }

    #[test]
    fn bom_with_several_models_or_none_is_refused() {
        let second = r#""components": [{"type": "machine-learning-model", "name": "b",
            "modelCard": {"quantitativeAnalysis": {"performanceMetrics": [{"type": "accuracy", "value": "1"}]}}}, "#;
        let text = edited(BOM, "\"components\": [", second);
        assert_eq!(problem_with(&text, &options()), "the file has results of several models: b, credit@3");
        let none = r#"{"bomFormat": "CycloneDX", "specVersion": "1.6", "components": []}"#;
        assert!(problem(none).contains("no component has modelCard"));
    }
}
