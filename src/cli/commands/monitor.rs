//! Checks monitors in files, without a cluster. Shows the queries that the operator would send, or the reason why the
//! operator would refuse these queries. Does not check the other rules for a Monitor, such as the limits of a duration.
//! Only the API server checks these rules.
//!
//! ```text
//!  FILE ─► manifests ─► Monitor ─► queries, limited to the namespace ─► CheckedMonitor
//! ```

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::check::{
    manifests::{self, Manifest},
    strict::unknown_field,
};
use crate::{
    api::Monitor,
    cli::{
        error::{Error, Result},
        render::{
            output::{self, Prose},
            page::{BAD, GOOD, PLAIN, Page},
            shell::{CommandLine, value_name},
        },
    },
    promql::{LimitedQueries, NAMESPACE_LABEL, namespace_label},
};

#[derive(Subcommand, Clone, Debug)]
pub enum MonitorCommand {
    /// Show the queries of monitors in files as the operator sends them; needs no cluster, and does not check the other
    /// rules of the API server
    Check(CheckArgs),
}

#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// Files and directories with manifests, or - for standard input
    #[arg(value_name = "FILE|DIR|-", required = true)]
    paths: Vec<PathBuf>,
    /// Also read subdirectories
    #[arg(short = 'R', long)]
    recursive: bool,
    /// Label with which each series names its namespace, as in the chart value monitoring.namespaceLabel
    #[arg(long, value_name = "LABEL", default_value = NAMESPACE_LABEL, value_parser = label)]
    namespace_label: String,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Prose,
}

impl CheckArgs {
    /// The command that the user typed, but with `-` in place of the files and directories.
    fn piped(&self, place: &str) -> CommandLine {
        let label = (self.namespace_label != NAMESPACE_LABEL).then_some(&self.namespace_label);
        let format = (self.output != Prose::default()).then(|| value_name(&self.output));
        CommandLine::new("monitor check", &["-"], place).with("--namespace-label", label).with("-o", format)
    }
}

fn label(text: &str) -> std::result::Result<String, String> {
    namespace_label(text).map_err(|refused| refused.to_string())
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CheckedMonitor {
    /// The file, or `-` for standard input.
    path: String,
    /// The number of the first line of the object. The file begins at line 1.
    line: u64,
    namespace: String,
    /// The monitor, as `KIND/NAME`.
    object: String,
    /// The query for the value of the metric, as the operator sends it. `None` if there is an `error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<String>,
    /// The query for the number of samples, as the operator sends it. `None` if the monitor does not have such a query,
    /// or if there is an `error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    samples: Option<String>,
    /// The reason why the monitor is not valid, or why the operator would refuse a query of the monitor.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Checks the monitors in files and prints the results. A monitor without a namespace belongs to `namespace`. Fails if
/// a monitor is not valid, or if the operator would refuse a query. `place` is the flag `-n` with its value as the user
/// typed it, or empty.
pub fn check(args: &CheckArgs, namespace: &str, place: &str) -> Result<()> {
    let manifests = manifests::read(&args.paths, args.recursive, &args.piped(place))?;
    let is_monitor = |manifest: &&Manifest| manifest.is_of_assent() && manifest.text("/kind") == "Monitor";
    let monitors = manifests.iter().filter(is_monitor);
    let checked: Vec<_> = monitors.map(|manifest| one(manifest, namespace, &args.namespace_label)).collect();
    let text = match args.output {
        Prose::Text => page(&checked),
        Prose::Json => output::json(&checked)?,
        Prose::Yaml => output::yaml(&checked)?,
    };
    anstream::print!("{text}");
    let failed = checked.iter().filter(|checked| checked.error.is_some()).count();
    if failed == 0 { Ok(()) } else { Err(Error::CheckFailed { failed, of: checked.len() }) }
}

fn one(manifest: &Manifest, namespace: &str, label: &str) -> CheckedMonitor {
    let namespace = match manifest.text("/metadata/namespace") {
        "" => namespace,
        named => named,
    };
    let queries = queries(manifest, namespace, label);
    let (queries, error) = match queries {
        Ok(queries) => (Some(queries), None),
        Err(why) => (None, Some(why)),
    };
    let (query, samples) = queries.map(|queries| (queries.value, queries.samples)).unzip();
    CheckedMonitor {
        path: manifest.path.clone(),
        line: manifest.line,
        namespace: namespace.to_owned(),
        object: manifest.object(),
        query,
        samples: samples.flatten(),
        error,
    }
}

fn queries(manifest: &Manifest, namespace: &str, label: &str) -> std::result::Result<LimitedQueries, String> {
    let monitor: Monitor =
        serde_json::from_value(manifest.value.clone()).map_err(|error| error.to_string())?;
    if let Some(unknown) = unknown_field("Monitor", &manifest.value) {
        return Err(unknown);
    }
    LimitedQueries::of(&monitor.spec, label, namespace).map_err(|refused| refused.to_string())
}

fn page(checked: &[CheckedMonitor]) -> String {
    let mut page = Page::default();
    if checked.is_empty() {
        page.say(PLAIN, "The files have no Monitor.");
    }
    for CheckedMonitor { path, line, namespace, object, query, samples, error } in checked {
        page.say(PLAIN, &format!("{namespace}/{object} ({path}:{line})"));
        if let Some(query) = query {
            page.mark("✓", GOOD, &format!("the operator sends: {query}"));
        }
        if let Some(samples) = samples {
            page.mark("✓", GOOD, &format!("and for the number of samples: {samples}"));
        }
        if let Some(error) = error {
            page.mark("✗", BAD, error);
        }
    }
    page.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::fixtures::PLACE;

    #[test]
    fn proposed_check_keeps_every_typed_flag() {
        let args = CheckArgs {
            paths: vec!["deploy".into()],
            recursive: true,
            namespace_label: "team".to_owned(),
            output: Prose::Json,
        };
        let wanted = "kubectl assent monitor check - --namespace-label team -o json -n lending";
        assert_eq!(args.piped(PLACE).to_string(), wanted);
    }

    fn checked(spec: &serde_json::Value) -> CheckedMonitor {
        let mut value = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "Monitor", "metadata": { "name": "drift" },
            "spec": { "system": "scorer", "metric": "spd", "breach": { "above": "0.1" },
                "noData": { "after": "6h", "then": "Unknown" } } });
        for (field, content) in spec.as_object().into_iter().flatten() {
            value["spec"][field] = content.clone();
        }
        let manifest = Manifest { path: "x.yaml".to_owned(), line: 1, value, located: None };
        one(&manifest, "credit", NAMESPACE_LABEL)
    }

    #[test]
    fn query_is_shown_with_the_matcher_for_the_namespace() {
        let samples = json!({ "query": "sum(n)", "atLeast": "5" });
        let found = checked(&json!({ "query": "max(spd)", "samples": samples }));
        assert_eq!(found.query.as_deref(), Some(r#"max(spd{namespace="credit"})"#));
        assert_eq!(found.samples.as_deref(), Some(r#"sum(n{namespace="credit"})"#));
        assert_eq!(found.error, None);
    }

    #[test]
    fn query_that_the_operator_would_refuse_is_an_error() {
        for (spec, why) in [
            (json!({ "query": "info(up)" }), "info()"),
            (json!({ "query": "sum(" }), "not valid PromQL"),
            (json!({}), "neither query nor alert"),
            (json!({ "query": "up", "metrik": "x" }), "unknown field spec.metrik"),
            (json!({ "query": "up", "noData": null }), "null"),
        ] {
            let found = checked(&spec);
            let error = found.error.unwrap_or_default();
            assert!(found.query.is_none() && error.contains(why), "{spec}: {error}");
        }
    }
}
