//! Shows the results of assessments and the requirements of the risk level.
//!
//! ```text
//!  Facts ── findings ──► for each requirement: state, value, threshold, margin, age, signer, newer unsigned result
//! ```

use k8s_openapi::jiff::Timestamp;

use crate::{
    api::{AssessmentResult, ModelVersion, Requirement},
    cli::{
        connect::system_record::SystemRecord,
        render::{
            page::{BAD, FAINT, GOOD, LOOK, PLAIN, Page},
            time::in_words,
        },
    },
    policy::{Finding, Measured, RequirementResults, ResultEffect},
};

/// Shows the state of each required assessment. Shows nothing if the risk level requires none.
pub fn evidence(page: &mut Page, findings: &[Finding<'_>], now: Timestamp) {
    if findings.is_empty() {
        return;
    }
    page.heading("EVIDENCE: results and the requirements of the risk level");
    for finding in findings {
        requirement(page, finding, now);
    }
}

/// Shows each CEL expression of the risk level, and whether the version meets it. Shows nothing if the level has no
/// expressions.
pub fn expressions(page: &mut Page, record: &SystemRecord, version: &ModelVersion) {
    let required = record.level.as_ref().map_or(&[][..], |level| &level.spec.requirements);
    if required.is_empty() {
        return;
    }
    page.heading("REQUIREMENTS of the risk level");
    let RequirementResults { unmet, unknown } = record.requirement_results(version);
    for Requirement { name, message, .. } in required {
        if let Some(unmet) = unmet.iter().find(|unmet| unmet.name == *name) {
            page.mark("✗", BAD, &unmet.to_string());
        } else if unknown.contains(name) {
            let text =
                format!("{name}: not known, because you may not read all objects that it reads: {message}");
            page.mark("?", LOOK, &text);
        } else {
            page.mark("✓", GOOD, &format!("{name}: met"));
        }
    }
}

fn requirement(page: &mut Page, finding: &Finding<'_>, now: Timestamp) {
    let required = finding.required;
    let needed = format!("{} {} {}", required.measure(), required.comparator, required.threshold);
    match &finding.decided {
        None => {
            let text = format!("{}: {needed} is required, and no result is signed", required.name);
            page.mark("✗", LOOK, &text);
        }
        Some((measured, effect)) => {
            let (mark, style, state) = match effect {
                ResultEffect::Met => ("✓", GOOD, "met".to_owned()),
                ResultEffect::Expired(since) => {
                    ("✗", LOOK, format!("too old since {}", in_words(*since, now)))
                }
                ResultEffect::Inconclusive(cause) => ("✗", LOOK, format!("inconclusive: {cause}")),
                ResultEffect::Failed => ("✗", BAD, "not met".to_owned()),
            };
            let text = format!(
                "{}: {state}: {} is {}, {} {} is required (margin {})",
                required.name,
                required.measure(),
                measured.compared(required),
                required.comparator,
                required.threshold,
                measured.margin(required)
            );
            page.mark(mark, style, &text);
            page.mark(" ", FAINT, &origin(measured, now));
            if let Some(end) = finding.end() {
                page.mark(" ", FAINT, &format!("counts until {}", in_words(end, now)));
            }
        }
    }
    if let Some(measured) = &finding.unsigned {
        let would = match finding.effect_if_signed(now) {
            Some(ResultEffect::Met) => "would meet the requirement",
            _ => "would not meet the requirement",
        };
        let text = format!(
            "a newer result is not signed: assessment/{} states {}, which {would}",
            measured.assessment, measured.result.value
        );
        page.mark("!", LOOK, &text);
    }
}

fn origin(measured: &Measured<'_>, now: Timestamp) -> String {
    let signed = measured.signer.as_ref().map_or("not signed".to_owned(), |user| format!("signed by {user}"));
    format!(
        "{}; assessment/{}, performed {}, {signed}",
        samples(measured.result),
        measured.assessment,
        in_words(measured.performed_at, now)
    )
}

fn samples(result: &AssessmentResult) -> String {
    match result.errors {
        0 => format!("{} samples", result.samples),
        errors => format!("{} samples, and {errors} without a score", result.samples),
    }
}

pub fn measured(page: &mut Page, result: &AssessmentResult) {
    let interval = result
        .interval
        .as_ref()
        .map(|interval| format!(" ({} to {} at level {})", interval.lower, interval.upper, interval.level));
    let direction = match result.direction {
        crate::api::Direction::HigherIsBetter => "higher is better",
        crate::api::Direction::LowerIsBetter => "lower is better",
    };
    let text = format!(
        "{} = {}{}, {direction}, {}",
        crate::api::measure(&result.metric, &result.slice),
        result.value,
        interval.unwrap_or_default(),
        samples(result)
    );
    page.mark("-", PLAIN, &text);
}
