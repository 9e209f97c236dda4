//! The results file of lm-evaluation-harness, version 0.4 and later.
//!
//! ```text
//!  results: {arc: {"acc,none": 0.6, "acc_stderr,none": 0.2}}     metric arc/acc
//!  higher_is_better: {arc: {acc: true}}                          whether a higher value is better
//!  n-samples: {arc: {original: 5, effective: 5}}                 samples; effective < original: only a part ran
//! ```

use std::collections::BTreeSet;

use super::{
    Direction, NotTaken, Options, Tool,
    node::Node,
    refusal::Problem,
    select::{Candidate, Content},
    text::shown,
};

/// The keys in the results of a task that are not metrics.
const NO_METRICS: [&str; 4] = ["name", "alias", "sample_len", "sample_count"];

pub(super) fn content(root: &Node<'_>, options: &Options) -> Result<Content, Problem> {
    let file = File { root: root.clone(), samples: root.need("n-samples").map_err(|_| too_old())? };
    file.refuse_subset(options)?;
    let mut content = Content {
        tool: Some(Tool { name: "lm-evaluation-harness".to_owned(), version: version(root) }),
        performed_at: root.get("date").and_then(|date| date.time()),
        model: model(root),
        ..Content::default()
    };
    for (task, results) in root.need("results")?.members()? {
        file.task(task, &results, &mut content)?;
    }
    Ok(content)
}

fn too_old() -> Problem {
    Problem::Unsupported {
        tool: "lm-evaluation-harness",
        why: "it has no n-samples, so an old version wrote it, and the number of samples is unknown",
    }
}

struct File<'a> {
    root: Node<'a>,
    samples: Node<'a>,
}

impl<'a> File<'a> {
    fn refuse_subset(&self, options: &Options) -> Result<(), Problem> {
        if options.allow_subset {
            return Ok(());
        }
        if let Some(limit) = self.root.path(&["config", "limit"]) {
            let limit = limit.measured().map_or_else(|_| "set".to_owned(), |limit| limit.to_string());
            return Err(Problem::Subset(format!("config.limit is {limit}")));
        }
        for (task, samples) in self.samples.members()? {
            let (effective, original) =
                (samples.need("effective")?.count()?, samples.need("original")?.count()?);
            if effective < original {
                return Err(Problem::Subset(format!("{}: {effective} of {original} samples", shown(task))));
            }
        }
        Ok(())
    }

    /// Adds the metrics of a task or a group. A standard error is not added, because it is the uncertainty of another
    /// metric. If this other metric is missing, `not_taken` lists the standard error.
    fn task(&self, task: &str, results: &Node<'a>, content: &mut Content) -> Result<(), Problem> {
        let members = results.members()?;
        let leaves = self.leaves(task)?;
        let names: BTreeSet<_> = members.iter().map(|(name, _)| *name).collect();
        for (name, value) in members.iter().filter(|(name, _)| !NO_METRICS.contains(name)) {
            let Some((metric, filter)) = name.split_once(',') else {
                content.not_taken.push(NotTaken::new(&format!("{task}/{name}"), "has no filter in its key"));
                continue;
            };
            if let Some(of) = metric.strip_suffix("_stderr") {
                if !names.contains(format!("{of},{filter}").as_str()) {
                    let reason = "is the standard error of a metric that is missing";
                    content.not_taken.push(NotTaken::new(&format!("{task}/{name}"), reason));
                }
                continue;
            }
            let full = match filter {
                "none" => format!("{task}/{metric}"),
                _ => format!("{task}/{metric},{filter}"),
            };
            let direction = self.direction(task, metric)?;
            let counted = self.count(task, name, &leaves)?;
            let value = value.measured().and_then(|value| counted.clone().map(|_| value));
            content.candidates.push(
                Candidate::new(full, value).direction(direction).samples(counted.unwrap_or_default(), 0),
            );
        }
        Ok(())
    }

    fn direction(&self, task: &str, metric: &str) -> Result<Option<Direction>, Problem> {
        let Some(higher) = self.root.path(&["higher_is_better", task, metric]) else { return Ok(None) };
        Ok(Some(if higher.bool()? { Direction::HigherIsBetter } else { Direction::LowerIsBetter }))
    }

    /// The number of samples of a metric. `None` if the file does not state this number. For a group, the sum over the
    /// tasks of the group. The inner error states why the value of the group cannot be taken.
    fn count(
        &self,
        task: &str,
        name: &str,
        leaves: &BTreeSet<&str>,
    ) -> Result<Result<Option<u64>, String>, Problem> {
        if let Some(samples) = self.samples.get(task) {
            return Ok(Ok(Some(samples.need("effective")?.count()?)));
        }
        let mut samples = 0_u64;
        for leaf in leaves {
            if self.root.path(&["results", leaf, name]).is_none() {
                return Ok(Err(format!("covers only some tasks of the group, not {}", shown(leaf))));
            }
            match self.samples.get(leaf) {
                Some(leaf) => samples = samples.saturating_add(leaf.need("effective")?.count()?),
                None => return Ok(Ok(None)),
            }
        }
        Ok(Ok((!leaves.is_empty()).then_some(samples)))
    }

    /// The tasks of a group and of its subgroups, but not the subgroups. A group that contains itself is visited once.
    fn leaves(&self, group: &str) -> Result<BTreeSet<&'a str>, Problem> {
        let subtasks = |group: &str| {
            self.root.path(&["group_subtasks", group]).map_or(Ok(Vec::new()), |subtasks| subtasks.items())
        };
        let (mut leaves, mut seen) = (BTreeSet::new(), BTreeSet::new());
        let mut open = subtasks(group)?;
        while let Some(task) = open.pop() {
            let task = task.text()?;
            if !seen.insert(task) {
                continue;
            }
            let inner = subtasks(task)?;
            if inner.is_empty() {
                leaves.insert(task);
            }
            open.extend(inner);
        }
        Ok(leaves)
    }
}

fn version(root: &Node<'_>) -> Option<String> {
    ["lm_eval_version", "git_hash"].iter().find_map(|key| root.get(key)?.text().ok().map(str::to_owned))
}

/// The name of the model, with the commit of its repository.
fn model(root: &Node<'_>) -> Option<String> {
    let text =
        |keys: &[&str]| root.path(keys).and_then(|node| node.text().ok()).filter(|text| !text.is_empty());
    let name = text(&["model_name"]).or_else(|| text(&["config", "model"]))?;
    Some(text(&["config", "model_sha"]).map_or_else(|| name.to_owned(), |sha| format!("{name}@{sha}")))
}

#[cfg(test)]
mod tests {
    use super::super::{
        Format, Options,
        testing::{edited, problem, problem_with, read, read_with, row},
    };

    const FULL: &[u8] = include_bytes!("samples/lm-eval.json");
    const LIMIT: &[u8] = include_bytes!("samples/lm-eval-limit.json");

    #[test]
    fn metrics_have_the_direction_and_samples_of_the_file() {
        let reading = read(FULL).unwrap();
        assert_eq!(reading.format, Format::LmEval);
        let rows: Vec<_> = reading.results.iter().map(row).collect();
        assert_eq!(
            rows,
            [
                "tiny_arith/acc = 0.6 HigherIsBetter, 5 samples, 0 errors",
                "tiny_arith/acc_norm = 0.6 HigherIsBetter, 5 samples, 0 errors",
                "tiny_gen/exact_match,flexible = 0 HigherIsBetter, 5 samples, 0 errors",
                "tiny_gen/exact_match,strict-match = 0 HigherIsBetter, 5 samples, 0 errors",
            ]
        );
        let tool = reading.tool.unwrap();
        assert_eq!((tool.name.as_str(), tool.version.as_deref()), ("lm-evaluation-harness", Some("0.4.13")));
        assert_eq!(reading.performed_at.unwrap().to_string(), "2026-11-28T14:08:34.3462975Z");
        assert!(reading.model.is_some());
    }

    #[test]
    fn group_value_that_covers_some_tasks_is_not_taken() {
        let reading = read(FULL).unwrap();
        assert_eq!(reading.not_taken.len(), 1);
        assert_eq!(reading.not_taken[0].metric, "tiny/acc");
        assert_eq!(reading.not_taken[0].reason, "covers only some tasks of the group, not tiny_gen");
        let named = Options { metrics: vec!["tiny/acc".to_owned()], ..Options::default() };
        assert!(problem_with(std::str::from_utf8(FULL).unwrap(), &named).contains("covers only some tasks"));
    }

    #[test]
    fn group_value_that_covers_all_tasks_has_the_sum_of_their_samples() {
        let text = edited(FULL, r#""exact_match,strict-match": 0.0,"#, r#""acc,none": 0.5,"#);
        let options = Options { metrics: vec!["tiny/acc".to_owned()], ..Options::default() };
        let reading = read_with(text.as_bytes(), &options).unwrap();
        assert_eq!(row(&reading.results[0]), "tiny/acc = 0.6 HigherIsBetter, 10 samples, 0 errors");
    }

    #[test]
    fn groups_that_contain_each_other_end() {
        let from = r#""group_subtasks": {"#;
        let group = |group| format!(r#""g{group}": ["g0", "g{}", "g{}"],"#, group + 1, group / 2);
        let groups: String = (0..40).map(group).collect();
        let text = edited(FULL, from, &format!("{from}{groups}"));
        let text = edited(text.as_bytes(), r#""results": {"#, r#""results": {"g0": {"acc,none": 1},"#);
        let reading = read(text.as_bytes()).unwrap();
        assert_eq!(reading.not_taken[0].reason, "covers only some tasks of the group, not g40");
    }

    #[test]
    fn run_with_a_limit_is_refused_unless_allowed() {
        let text = std::str::from_utf8(LIMIT).unwrap();
        assert_eq!(problem(text), "only a part of the data set was evaluated: config.limit is 2");
        let without = edited(LIMIT, "\"limit\": 2.0", "\"limit\": null");
        assert_eq!(
            problem(&without),
            "only a part of the data set was evaluated: tiny_arith: 2 of 5 samples"
        );
        let options = Options { allow_subset: true, ..Options::default() };
        assert_eq!(read_with(LIMIT, &options).unwrap().results[0].samples, 2);
    }

    #[test]
    fn standard_errors_are_never_values() {
        let reading = read(FULL).unwrap();
        assert!(reading.results.iter().all(|result| !result.metric.contains("stderr")));
        assert!(reading.not_taken.iter().all(|metric| !metric.metric.contains("stderr")));
    }

    #[test]
    fn unknown_direction_and_missing_numbers_are_not_guessed() {
        let text = edited(FULL, r#""acc": true,"#, r#""acc": null,"#);
        let text = edited(
            text.as_bytes(),
            r#""tiny_arith": {
      "acc": true"#,
            r#""tiny_arith": {
      "acc": null"#,
        );
        assert_eq!(
            problem(&text),
            "tiny_arith/acc: the file does not state whether a higher value is better"
        );
        for value in ["NaN", "\"N/A\""] {
            let text = edited(FULL, r#""acc_norm,none": 0.6"#, &format!(r#""acc_norm,none": {value}"#));
            let reading = read(text.as_bytes()).unwrap();
            assert!(reading.not_taken.iter().any(|not_taken| not_taken.metric == "tiny_arith/acc_norm"));
            let options = Options { metrics: vec!["tiny_arith/acc_norm".to_owned()], ..Options::default() };
            assert!(problem_with(&text, &options).contains("number"));
        }
    }

    #[test]
    fn files_before_version_0_4_are_refused() {
        assert!(
            problem(r#"{"results": {"arc": {"acc": 1, "acc_stderr": 0.1}}, "versions": {}, "config": {}}"#)
                .contains("lm-evaluation-harness, which is not supported: it has no n-samples")
        );
        let text = edited(FULL, r#""acc_norm,none""#, r#""acc_norm""#);
        let reading = read(text.as_bytes()).unwrap();
        let reason = |metric: &str| {
            let found = reading.not_taken.iter().find(|not_taken| not_taken.metric == metric);
            found.map(|not_taken| not_taken.reason.as_str())
        };
        assert_eq!(reason("tiny_arith/acc_norm"), Some("has no filter in its key"));
        let missing = Some("is the standard error of a metric that is missing");
        assert_eq!(reason("tiny_arith/acc_norm_stderr,none"), missing);
    }
}
