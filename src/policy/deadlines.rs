//! The legal deadlines to report a serious incident, as data.
//!
//! The deadlines begin when the organisation becomes aware of the incident. They apply only if the incident must be
//! reported, which this program never decides.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::api::HarmCriterion;

/// A rule that sets a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadlineRule {
    /// The regime, for example a law.
    pub regime: &'static str,
    /// The paragraph of the regime.
    pub paragraph: &'static str,
    /// The case to which the paragraph applies.
    pub case: &'static str,
    /// The number of days after awareness.
    #[serde(skip)]
    pub days: i64,
    /// The criteria of which one must be met. Empty if the rule applies to every serious incident.
    #[serde(skip)]
    pub criteria: &'static [HarmCriterion],
    /// The address of the text.
    pub source: &'static str,
}

const AI_ACT: &str = "https://eur-lex.europa.eu/eli/reg/2024/1689/oj";

/// The deadlines of EU AI Act article 73, in the order of its paragraphs.
static RULES: [DeadlineRule; 3] = [
    DeadlineRule {
        regime: "EU AI Act",
        paragraph: "article 73(2)",
        case: "any serious incident: not later than 15 days after becoming aware",
        days: 15,
        criteria: &[],
        source: AI_ACT,
    },
    DeadlineRule {
        regime: "EU AI Act",
        paragraph: "article 73(3)",
        case: "a widespread infringement or a disruption of critical infrastructure: not later than two days after becoming aware",
        days: 2,
        criteria: &[HarmCriterion::WidespreadInfringement, HarmCriterion::CriticalInfrastructure],
        source: AI_ACT,
    },
    DeadlineRule {
        regime: "EU AI Act",
        paragraph: "article 73(4)",
        case: "the death of a person: not later than 10 days after becoming aware",
        days: 10,
        criteria: &[HarmCriterion::Death],
        source: AI_ACT,
    },
];

/// A deadline of an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deadline {
    /// The rule that sets the deadline.
    #[serde(flatten)]
    pub rule: &'static DeadlineRule,
    /// The end of the period.
    pub due: Timestamp,
}

/// The deadlines of an incident with these criteria, the earliest first. `aware` is the time at which the organisation
/// became aware of it. Without a criterion, only the rule for every serious incident applies.
pub fn deadlines(criteria: &[HarmCriterion], aware: Timestamp) -> Vec<Deadline> {
    let applies = |rule: &&'static DeadlineRule| {
        rule.criteria.is_empty() || rule.criteria.iter().any(|criterion| criteria.contains(criterion))
    };
    let deadline = |rule: &'static DeadlineRule| Deadline {
        rule,
        due: aware.checked_add(SignedDuration::from_hours(24 * rule.days)).unwrap_or(Timestamp::MAX),
    };
    let mut deadlines: Vec<_> = RULES.iter().filter(applies).map(deadline).collect();
    deadlines.sort_by_key(|deadline| deadline.due);
    deadlines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(criteria: &[HarmCriterion]) -> Vec<(&'static str, String)> {
        let aware = "2026-11-01T08:30:00Z".parse().expect("a time");
        deadlines(criteria, aware).into_iter().map(|d| (d.rule.paragraph, d.due.to_string())).collect()
    }

    #[test]
    fn every_serious_incident_is_due_after_15_days() {
        assert_eq!(due(&[]), [("article 73(2)", "2026-11-16T08:30:00Z".to_owned())]);
        assert_eq!(due(&[HarmCriterion::FundamentalRights]), due(&[]));
    }

    #[test]
    fn widespread_infringement_and_critical_infrastructure_are_due_after_2_days() {
        for criterion in [HarmCriterion::WidespreadInfringement, HarmCriterion::CriticalInfrastructure] {
            assert_eq!(due(&[criterion])[0], ("article 73(3)", "2026-11-03T08:30:00Z".to_owned()));
        }
    }

    #[test]
    fn death_is_due_after_10_days_and_the_shortest_deadline_comes_first() {
        assert_eq!(due(&[HarmCriterion::Death])[0], ("article 73(4)", "2026-11-11T08:30:00Z".to_owned()));
        let both = due(&[HarmCriterion::Death, HarmCriterion::CriticalInfrastructure]);
        assert_eq!(
            both.iter().map(|d| d.0).collect::<Vec<_>>(),
            ["article 73(3)", "article 73(4)", "article 73(2)"]
        );
    }
}
