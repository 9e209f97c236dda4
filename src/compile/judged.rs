//! The judgement of a version, and the texts of its conditions.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;

use super::notice::Notice;
use crate::{
    api::{CLEARED_BY_OVERRIDE, Digest, RequirementStatus},
    policy::{ApprovalEffect, AssessmentEffect, Hold, NoEffect, Reason, ResumeEffect, Verdict, Waived},
    truncate::{plain, shorten},
};

/// The end of a clearance that ends within 30 days.
#[derive(Clone, Debug)]
pub struct UpcomingEnd {
    pub notice: Notice,
    /// The verdict at the end of the clearance. The reasons of this verdict say what people must renew.
    pub then: Verdict,
}

/// The judgement of a version, with the results that the statuses and the Clearance entry of the version need.
#[derive(Clone, Debug)]
pub struct Judged {
    pub system: String,
    pub digest: Option<Digest>,
    pub created: Option<Timestamp>,
    pub verdict: Verdict,
    pub not_after: Option<Timestamp>,
    pub revisit: Option<Timestamp>,
    pub ending: Option<UpcomingEnd>,
    pub effects: BTreeMap<String, ApprovalEffect>,
    pub requirements: Vec<RequirementStatus>,
    /// The effect of each assessment of the version, by the name of the assessment.
    pub assessments: BTreeMap<String, AssessmentEffect>,
    /// The effect of each decision to resume the version after an incident, by the name of the decision.
    pub resumes: BTreeMap<String, ResumeEffect>,
    /// The names of the incidents that hold the version, at most [`INCIDENT_NAMES`](crate::policy::INCIDENT_NAMES).
    pub held_by: BTreeSet<String>,
    /// The names of the incidents whose hold on the version people lifted.
    pub lifted: BTreeSet<String>,
    pub waived: Vec<Waived>,
    /// The granted overrides of the version, by name. The value is the end of the override, or why the override has no
    /// effect.
    pub overrides: BTreeMap<String, Result<Timestamp, NoEffect>>,
    /// The name of the first open incident about the version. An incident that only its opener closed counts as open.
    pub open_incident: Option<String>,
}

impl Judged {
    /// The reason of the `Cleared` condition.
    pub fn reason(&self) -> &'static str {
        let cleared = if self.waived.is_empty() { "Cleared" } else { CLEARED_BY_OVERRIDE };
        self.verdict.reasons().first().map_or(cleared, Reason::code)
    }

    /// The message of the `Cleared` condition. It states the end of the clearance, or the reasons why the version is
    /// withheld, each with its remedy.
    pub fn message(&self, namespace: &str, name: &str) -> String {
        match (&self.verdict, self.not_after) {
            (Verdict::Cleared, Some(end)) => format!("may run until {end}{}", self.waivers()),
            (Verdict::Cleared, None) => "may run".to_owned(),
            (Verdict::Withheld(reasons), _) => self.remedies(reasons, namespace, name),
        }
    }

    /// The last part of the message about a cleared version: each override, with the requirement that the override
    /// waives. Empty without overrides.
    fn waivers(&self) -> String {
        let waived =
            self.waived.iter().map(|waived| format!("override/{} waives: {}", waived.by, waived.reason));
        let waived: Vec<_> = waived.collect();
        let separator = if waived.is_empty() { "" } else { "; " };
        shorten(plain(&format!("{separator}{}", waived.join("; "))).into_owned(), 4096)
    }

    fn remedies(&self, reasons: &[Reason], namespace: &str, name: &str) -> String {
        let text = |reason: &Reason| format!("{reason} ({})", reason.remedy(namespace, &self.system, name));
        shorten(plain(&reasons.iter().map(text).collect::<Vec<_>>().join("; ")).into_owned(), 4096)
    }

    /// The reason and message of the `ClearanceExpiring` condition. `None` if the clearance does not end within 30
    /// days.
    pub fn expiring(&self, namespace: &str, name: &str) -> Option<(&'static str, String)> {
        let (ending, end) = (self.ending.as_ref()?, self.not_after?);
        let then = self.remedies(ending.then.reasons(), namespace, name);
        Some((ending.notice.reason(), format!("{name} may run until {end}, but not after that: {then}")))
    }

    pub fn hold_of(&self, incident: &str) -> Option<&Hold> {
        self.verdict.reasons().iter().find_map(|reason| match reason {
            Reason::Held(hold) if hold.incident == incident => Some(hold),
            _ => None,
        })
    }

    pub fn is_stalled(&self) -> bool {
        self.verdict.reasons().iter().any(Reason::is_stalled)
    }

    pub fn is_decommissioned(&self) -> bool {
        self.verdict.reasons().iter().any(|r| matches!(r, Reason::Decommissioned { .. }))
    }
}
