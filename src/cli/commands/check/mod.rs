//! Judges manifests before they are applied, in a pull request: with the policy core and the match of the operator, and
//! without a cluster.
//!
//! ```text
//!  manifests ──► judge ──► Checked ─┬─ text, json, yaml
//!                                   ├─ junit    one test case a pod template
//!                                   └─ sarif    one result for each that would be held
//! ```

mod judge;
mod junit;
mod located;
pub mod manifests;
mod proof;
mod sarif;
mod strict;
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
    },
};

/// A format for a person, a program or a CI system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// `JUnit` XML, which CI systems show as test results.
    Junit,
    /// SARIF 2.1.0, which code hosts show beside the lines.
    Sarif,
}

/// From which outcome on the check fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// What no approval would let run.
    #[default]
    Held,
    /// What waits for an approval too.
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

/// What is checked.
#[derive(Clone, Debug)]
pub struct CheckRequest {
    /// Files, directories, or `-`.
    pub paths: Vec<PathBuf>,
    /// With the directories below.
    pub recursive: bool,
    /// The namespace of what names none.
    pub namespace: String,
    /// When it fails.
    pub fail_on: FailOn,
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

/// Checks the manifests and prints what was found; an error if there is what must not be.
pub fn check(request: &CheckRequest, format: Format) -> Result<()> {
    let manifests = manifests::read(&request.paths, request.recursive)?;
    let results = judge(&manifests, &request.namespace, Timestamp::now());
    let failed = results.iter().filter(|checked| request.fail_on.fails(checked.outcome)).count();
    let report = Report { summary: Summary::of(&results), results };
    let text = match format {
        Format::Text => text(&report),
        Format::Json => output::json(&report)?,
        Format::Yaml => output::yaml(&report)?,
        Format::Junit => junit::xml(&report.results, request.fail_on)?,
        Format::Sarif => output::json(&sarif::log(&report.results))?,
    };
    anstream::print!("{text}");
    if failed == 0 {
        Ok(())
    } else {
        {
            let of = report.results.len() - report.summary.not_counted;
            Err(Error::CheckFailed { failed, of })
        }
    }
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
    /// The object and where its pods stand in it.
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
            Outcome::Unforeseen => ("?", LOOK, "not foreseen"),
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
        if checked.enforcement_assumed {
            let namespace = &checked.namespace;
            page.mark(
                " ",
                FAINT,
                &format!("namespace {namespace} is not among the manifests and is taken to enforce"),
            );
        }
    }
    page.blank();
    let Summary { runs, unforeseen, awaits_approval, held, invalid, not_counted } = report.summary;
    let count = format!(
        "{} checked: {runs} would run, {awaits_approval} wait for approval, {held} would be held, {invalid} are not valid, {unforeseen} undetermined.",
        report.results.len() - not_counted
    );
    page.say(PLAIN, &count);
    if not_counted > 0 {
        page.say(LOOK, &format!("{not_counted} approvals do not count: they prove nothing."));
    }
    page.finish()
}
