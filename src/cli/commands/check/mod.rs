//! Checks manifests before they are applied, for example in a pull request. The check uses the policy code of
//! the operator and needs no cluster.
//!
//! ```text
//!  manifests ─► judge ─► Checked, one for each result ─► text, json, yaml, junit, sarif
//! ```

mod judge;
mod junit;
mod located;
pub mod manifests;
mod proof;
mod sarif;
pub mod strict;
pub mod templates;

use std::path::PathBuf;

use clap::ValueEnum;
use k8s_openapi::jiff::Timestamp;
use serde::Serialize;

use self::judge::{Checked, Outcome, judge};
use crate::cli::{
    error::{Error, Result},
    render::{
        output,
        page::{BAD, FAINT, GOOD, LOOK, PLAIN, Page},
        shell::{CommandLine, value_name},
    },
};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text for people.
    #[default]
    Text,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// `JUnit` XML. CI systems show it as test results.
    Junit,
    /// SARIF 2.1.0. Code hosts show the results next to the lines of the files.
    Sarif,
}

/// Which objects make the check fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// Objects that are not valid, or that are held for another reason than missing approvals.
    #[default]
    Held,
    /// The same objects as for `held`, and objects that wait for an approval.
    Awaiting,
}

impl FailOn {
    fn fails(self, outcome: Outcome) -> bool {
        match outcome {
            Outcome::Runs | Outcome::Unforeseen | Outcome::NotCounted => false,
            Outcome::AwaitsApproval => self == Self::Awaiting,
            Outcome::Held | Outcome::Invalid => true,
        }
    }
}

#[derive(Clone, Debug)]
pub struct CheckRequest {
    /// Files, directories, or `-` for standard input.
    pub paths: Vec<PathBuf>,
    pub recursive: bool,
    /// The namespace of the objects that state no namespace.
    pub namespace: String,
    /// The flag `-n` with its value as the user typed it, or empty.
    pub place: String,
    pub fail_on: FailOn,
    pub format: Format,
}

impl CheckRequest {
    /// The command that the user typed, but with `-f -` in place of the files and directories.
    fn piped(&self) -> CommandLine {
        let fail_on = (self.fail_on != FailOn::default()).then(|| value_name(&self.fail_on));
        let format = (self.format != Format::default()).then(|| value_name(&self.format));
        let command = CommandLine::new("check", &[], &self.place).with("-f", ["-"]);
        command.with("--fail-on", fail_on).with("-o", format)
    }
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    runs: usize,
    unforeseen: usize,
    awaits_approval: usize,
    held: usize,
    invalid: usize,
    not_counted: usize,
}

#[derive(Debug, Serialize)]
struct Report {
    results: Vec<Checked>,
    summary: Summary,
}

/// Checks the manifests and prints the results. Fails if a result has an outcome that makes the check fail.
pub fn check(request: &CheckRequest) -> Result<()> {
    let manifests = manifests::read(&request.paths, request.recursive, &request.piped())?;
    let results = judge(&manifests, &request.namespace, Timestamp::now());
    let failed = results.iter().filter(|checked| request.fail_on.fails(checked.outcome)).count();
    let report = Report { summary: Summary::of(&results), results };
    let text = match request.format {
        Format::Text => text(&report),
        Format::Json => output::json(&report)?,
        Format::Yaml => output::yaml(&report)?,
        Format::Junit => junit::xml(&report.results, request.fail_on)?,
        Format::Sarif => output::json(&sarif::log(&report.results))?,
    };
    anstream::print!("{text}");
    if failed == 0 {
        return Ok(());
    }
    let of = report.results.len() - report.summary.not_counted;
    Err(Error::CheckFailed { failed, of })
}

impl Summary {
    fn of(results: &[Checked]) -> Self {
        let mut summary = Self::default();
        for checked in results {
            *match checked.outcome {
                Outcome::Runs => &mut summary.runs,
                Outcome::Unforeseen => &mut summary.unforeseen,
                Outcome::AwaitsApproval => &mut summary.awaits_approval,
                Outcome::Held => &mut summary.held,
                Outcome::Invalid => &mut summary.invalid,
                Outcome::NotCounted => &mut summary.not_counted,
            } += 1;
        }
        summary
    }
}

impl Checked {
    /// The namespace and the object, such as `lending/deployment/scorer`. The JSON pointer to the pod template follows,
    /// unless the pointer is empty or is that of a Deployment or a `CronJob`.
    fn place(&self) -> String {
        let Self { namespace, object, pointer, .. } = self;
        let known = matches!(&**pointer, "" | "/spec/template" | "/spec/jobTemplate/spec/template");
        if known { format!("{namespace}/{object}") } else { format!("{namespace}/{object}{pointer}") }
    }
}

fn text(report: &Report) -> String {
    let mut page = Page::default();
    for checked in &report.results {
        page.say(PLAIN, &format!("{} ({}:{})", checked.place(), checked.path, checked.line));
        let (mark, style, what) = match checked.outcome {
            Outcome::Runs => ("✓", GOOD, "runs"),
            Outcome::Unforeseen => ("?", LOOK, "undetermined"),
            Outcome::AwaitsApproval => ("!", LOOK, "held until it is approved"),
            Outcome::Held => ("✗", BAD, "held"),
            Outcome::Invalid => ("✗", BAD, "not valid"),
            Outcome::NotCounted => ("!", LOOK, "does not count"),
        };
        page.mark(mark, style, &format!("{what}: {}", checked.conclusion));
        if let Some(difference) = &checked.difference {
            page.difference(difference);
        }
        for next in checked.next.iter().filter(|_| checked.outcome != Outcome::Runs) {
            page.step("  →", PLAIN, next);
        }
        for warning in &checked.warnings {
            page.mark("!", LOOK, warning);
        }
        if checked.enforcement_assumed {
            let namespace = &checked.namespace;
            page.mark(
                " ",
                FAINT,
                &format!(
                    "namespace {namespace} is not in the manifests, so the check assumes that it enforces"
                ),
            );
        }
    }
    page.blank();
    let Summary { runs, unforeseen, awaits_approval, held, invalid, not_counted } = report.summary;
    let count = format!(
        "{} checked: {runs} would run, {awaits_approval} would wait for approval, {held} would be held, {invalid} not valid, {unforeseen} undetermined.",
        report.results.len() - not_counted
    );
    page.say(PLAIN, &count);
    if not_counted > 0 {
        page.say(LOOK, &not_counted_in_words(not_counted));
    }
    page.finish()
}

fn not_counted_in_words(approvals: usize) -> String {
    if approvals == 1 {
        return "1 approval does not count: it has no valid signature.".to_owned();
    }
    format!("{approvals} approvals do not count: they have no valid signature.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proposed_check_keeps_every_typed_flag() {
        let request = CheckRequest {
            paths: vec!["deploy".into()],
            recursive: true,
            namespace: "lending".to_owned(),
            place: " -n lending".to_owned(),
            fail_on: FailOn::Awaiting,
            format: Format::Sarif,
        };
        let wanted = "kubectl assent check -f - --fail-on awaiting -o sarif -n lending";
        assert_eq!(request.piped().to_string(), wanted);
    }

    #[test]
    fn one_approval_without_a_signature_is_singular() {
        assert_eq!(not_counted_in_words(1), "1 approval does not count: it has no valid signature.");
        assert_eq!(not_counted_in_words(2), "2 approvals do not count: they have no valid signature.");
    }
}
