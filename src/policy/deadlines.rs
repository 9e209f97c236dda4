//! The deadlines of an incident: the deadlines of the EU AI Act, and the deadlines that the risk level sets.
//!
//! A deadline ends a fixed period after people became aware of the incident. The first of these rules that applies
//! gives the state of the deadline:
//!
//! - `Met`: a `Report` or `Notified` note names the deadline, and is not later than the end of the deadline.
//! - `NotApplicable`: a `Closing` note names the deadline.
//! - Otherwise `Running` until the end of the deadline, then `Missed`.
//!
//! The operator lists the deadlines of the law for every incident that states their criteria, because only people can
//! decide whether the law requires a report.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{RecordedIncident, RecordedNote};
use crate::api::{DeadlineState, HarmCriterion, NoteType, RequiredDeadline, RiskLevelSpec};

/// A deadline that the EU AI Act sets.
#[derive(Clone, Copy, Debug)]
struct DeadlineRule {
    /// The name by which notes refer to the deadline.
    name: &'static str,
    reference: &'static str,
    case: &'static str,
    /// The length of the deadline in days, from the time at which people became aware of the incident.
    days: i64,
    /// The rule applies if the incident states at least one of these criteria. If the list is empty, the rule applies
    /// to every incident.
    criteria: &'static [HarmCriterion],
    source: &'static str,
}

const AI_ACT: &str = "https://eur-lex.europa.eu/eli/reg/2024/1689/oj";

/// The deadlines of article 73 of the EU AI Act, in the order of its paragraphs.
static RULES: [DeadlineRule; 3] = [
    DeadlineRule {
        name: "eu-ai-act-73-2",
        reference: "EU AI Act article 73(2)",
        case: "any serious incident: not later than 15 days after becoming aware",
        days: 15,
        criteria: &[],
        source: AI_ACT,
    },
    DeadlineRule {
        name: "eu-ai-act-73-3",
        reference: "EU AI Act article 73(3)",
        case: "a widespread infringement or a disruption of critical infrastructure: not later than two days after becoming aware",
        days: 2,
        criteria: &[HarmCriterion::WidespreadInfringement, HarmCriterion::CriticalInfrastructure],
        source: AI_ACT,
    },
    DeadlineRule {
        name: "eu-ai-act-73-4",
        reference: "EU AI Act article 73(4)",
        case: "the death of a person: not later than 10 days after becoming aware",
        days: 10,
        criteria: &[HarmCriterion::Death],
        source: AI_ACT,
    },
];

/// A deadline of an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deadline<'a> {
    /// The name by which notes refer to the deadline.
    pub name: &'a str,
    /// The law, contract or other text that sets the deadline, such as `EU AI Act article 73(2)`.
    pub reference: &'a str,
    /// The case to which the deadline applies. `None` if the risk level sets the deadline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub case: Option<&'a str>,
    /// The web address of the law. `None` if the risk level sets the deadline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<&'a str>,
    /// The time at which the deadline ends.
    pub due: Timestamp,
    /// Whether the deadline runs, is met, is missed, or does not apply.
    pub state: DeadlineState,
    /// The time of the first note that settles the deadline. `None` if no note settles the deadline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settled_at: Option<Timestamp>,
}

impl Deadline<'_> {
    /// Whether no note settles the deadline.
    pub const fn is_open(&self) -> bool {
        self.settled_at.is_none()
    }
}

/// The deadlines of an incident at `now`, the earliest first. A rule with criteria applies if the incident states at
/// least one of these criteria. Without a level, the list contains only deadlines of the law.
pub fn deadlines<'a>(
    incident: &RecordedIncident<'_>,
    level: Option<&'a RiskLevelSpec>,
    now: Timestamp,
) -> Vec<Deadline<'a>> {
    let aware = incident.spec.aware_at.as_ref().map_or(incident.at, |aware| aware.0);
    let applies = |criteria: &[HarmCriterion]| HarmCriterion::applies(criteria, &incident.spec.criteria);
    let of_law = RULES.iter().filter(|rule| applies(rule.criteria)).map(|rule| rule.deadline(aware));
    let rules = level.and_then(|level| level.incidents.as_ref());
    let of_level = rules.into_iter().flat_map(|rules| &rules.deadlines);
    let of_level = of_level.filter(|rule| applies(&rule.criteria)).map(|rule| of_level_rule(rule, aware));
    let mut deadlines: Vec<_> = of_law.chain(of_level).collect();
    for deadline in &mut deadlines {
        deadline.settle(incident, now);
    }
    deadlines.sort_by_key(|deadline| (deadline.due, deadline.name));
    deadlines
}

impl DeadlineRule {
    fn deadline(&self, aware: Timestamp) -> Deadline<'static> {
        let period = SignedDuration::from_hours(24 * self.days);
        Deadline {
            name: self.name,
            reference: self.reference,
            case: Some(self.case),
            source: Some(self.source),
            due: aware.checked_add(period).unwrap_or(Timestamp::MAX),
            state: DeadlineState::Running,
            settled_at: None,
        }
    }
}

fn of_level_rule(rule: &RequiredDeadline, aware: Timestamp) -> Deadline<'_> {
    Deadline {
        name: &rule.name,
        reference: &rule.reference,
        case: None,
        source: None,
        due: rule.due(aware),
        state: DeadlineState::Running,
        settled_at: None,
    }
}

impl Deadline<'_> {
    /// Sets `state` and `settled_at` from the notes that name the deadline. A report or notification in time meets the
    /// deadline. Otherwise, a closing makes the deadline not applicable. The first report, notification or closing
    /// settles the deadline.
    fn settle(&mut self, incident: &RecordedIncident<'_>, now: Timestamp) {
        let names = |note: &&RecordedNote<'_>| note.deadlines.iter().any(|name| **name == *self.name);
        let reported = incident
            .notes
            .iter()
            .filter(|note| matches!(note.type_, NoteType::Report | NoteType::Notified) && note.by.is_some());
        let met = reported.filter(names).map(|note| note.at).min();
        let dismissed = incident.closings().filter(names).map(|note| note.at).min();
        self.settled_at = met.into_iter().chain(dismissed).min();
        self.state = match (met, dismissed) {
            (Some(met), _) if met <= self.due => DeadlineState::Met,
            (_, Some(_)) => DeadlineState::NotApplicable,
            _ if self.due <= now => DeadlineState::Missed,
            _ => DeadlineState::Running,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use crate::api::{Approver, Digest, IncidentEffect, IncidentRules, IncidentSpec};

    const AWARE: &str = "2026-11-01T08:30:00Z";

    fn time(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn incident(criteria: &[HarmCriterion]) -> IncidentSpec {
        IncidentSpec {
            system: "triage".into(),
            model_versions: Vec::new(),
            effect: IncidentEffect::None,
            except: None,
            description: "drift".to_owned(),
            criteria: criteria.to_vec(),
            affected: None,
            occurred_at: None,
            aware_at: Some(Time(time(AWARE))),
            monitor: None,
            opened_by: Some(Approver { user: "oscar".to_owned(), ..Approver::default() }),
        }
    }

    fn recorded<'a>(spec: &'a IncidentSpec, notes: Vec<RecordedNote<'a>>) -> RecordedIncident<'a> {
        let (resumes, reviews, digest) = (Vec::new(), Vec::new(), Digest::from_sha256([0; 32]));
        RecordedIncident {
            name: "drift",
            at: time("2026-11-02T08:30:00Z"),
            spec,
            digest,
            notes,
            resumes,
            reviews,
        }
    }

    fn due(criteria: &[HarmCriterion]) -> Vec<(&'static str, String)> {
        let spec = incident(criteria);
        let deadlines = deadlines(&recorded(&spec, Vec::new()), None, time(AWARE));
        deadlines.into_iter().map(|d| (d.name, d.due.to_string())).collect()
    }

    /// The state of the 15-day deadline at the time `now`, after a note at the time `at`.
    fn after(type_: NoteType, by: &str, at: &str, now: &str) -> DeadlineState {
        let (spec, names) = (incident(&[]), ["eu-ai-act-73-2".into()]);
        let note = RecordedNote { type_, by: Some(by), at: time(at), deadlines: &names };
        deadlines(&recorded(&spec, vec![note]), None, time(now))[0].state
    }

    #[test]
    fn every_serious_incident_is_due_after_15_days() {
        assert_eq!(due(&[]), [("eu-ai-act-73-2", "2026-11-16T08:30:00Z".to_owned())]);
        assert_eq!(due(&[HarmCriterion::FundamentalRights]), due(&[]));
    }

    #[test]
    fn widespread_infringement_and_critical_infrastructure_are_due_after_2_days() {
        for criterion in [HarmCriterion::WidespreadInfringement, HarmCriterion::CriticalInfrastructure] {
            assert_eq!(due(&[criterion])[0], ("eu-ai-act-73-3", "2026-11-03T08:30:00Z".to_owned()));
        }
    }

    #[test]
    fn death_is_due_after_10_days_and_the_shortest_deadline_comes_first() {
        assert_eq!(due(&[HarmCriterion::Death])[0], ("eu-ai-act-73-4", "2026-11-11T08:30:00Z".to_owned()));
        let both = due(&[HarmCriterion::Death, HarmCriterion::CriticalInfrastructure]);
        assert_eq!(
            both.iter().map(|d| d.0).collect::<Vec<_>>(),
            ["eu-ai-act-73-3", "eu-ai-act-73-4", "eu-ai-act-73-2"]
        );
    }

    #[test]
    fn only_a_report_before_the_end_meets_a_deadline() {
        let (early, late) = ("2026-11-10T00:00:00Z", "2026-11-17T00:00:00Z");
        let end = "2026-11-16T08:30:00Z";
        assert_eq!(after(NoteType::Report, "rita", early, late), DeadlineState::Met);
        assert_eq!(after(NoteType::Notified, "rita", end, late), DeadlineState::Met);
        assert_eq!(after(NoteType::Report, "rita", late, late), DeadlineState::Missed);
        assert_eq!(after(NoteType::Fact, "rita", early, early), DeadlineState::Running);
        assert_eq!(after(NoteType::Fact, "rita", early, end), DeadlineState::Missed);
    }

    #[test]
    fn only_a_closing_by_another_person_than_the_opener_says_that_a_deadline_does_not_apply() {
        let early = "2026-11-10T00:00:00Z";
        assert_eq!(after(NoteType::Closing, "rita", early, early), DeadlineState::NotApplicable);
        assert_eq!(after(NoteType::Closing, "oscar", early, early), DeadlineState::Running);
    }

    #[test]
    fn the_level_adds_deadlines_for_its_criteria() {
        let rule = |name: &str, criteria: &[HarmCriterion]| RequiredDeadline {
            name: name.into(),
            within: "72h".parse().expect("a duration"),
            criteria: criteria.to_vec(),
            reference: "contract".into(),
        };
        let deadlines_of_level = vec![rule("customers", &[]), rule("hospital", &[HarmCriterion::Death])];
        let rules = IncidentRules { deadlines: deadlines_of_level, ..IncidentRules::default() };
        let level = RiskLevelSpec { incidents: Some(rules), ..RiskLevelSpec::default() };
        let spec = incident(&[]);
        let found = deadlines(&recorded(&spec, Vec::new()), Some(&level), time(AWARE));
        let found: Vec<_> = found.iter().map(|d| (d.name, d.due.to_string())).collect();
        assert_eq!(
            found,
            [
                ("customers", "2026-11-04T08:30:00Z".to_owned()),
                ("eu-ai-act-73-2", "2026-11-16T08:30:00Z".to_owned())
            ]
        );
    }
}
