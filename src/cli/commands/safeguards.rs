//! Describes the monitors and the overrides of a system for `status` and `explain`. The description comes from the
//! statuses that the operator wrote.

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;

use crate::{
    api::{Condition, Monitor, MonitorState, OnBreach, Override},
    cli::{
        connect::system_record::SystemRecord,
        render::{
            page::{BAD, FAINT, GOOD, LOOK, PLAIN},
            table::{Cell, table},
            time::in_words,
        },
    },
};

/// The monitors of a system, and the overrides of the system that are in effect or wait for people.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Safeguards {
    /// `None` if the person may not list monitors.
    pub monitors: Option<Vec<MonitorLine>>,
    pub overrides: Vec<OverrideLine>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MonitorLine {
    pub name: String,
    pub metric: String,
    /// `None` if the operator has not written a status yet.
    pub state: Option<MonitorState>,
    /// The last measured value of the metric.
    pub value: Option<String>,
    pub on_breach: OnBreach,
    /// The incident that the current breach opened.
    pub incident: Option<String>,
    /// The message of the condition `WithinLimits`, which states the reason for the state.
    pub message: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OverrideLine {
    pub name: String,
    pub version: String,
    pub active: bool,
    /// The reason of the condition `Active`, such as `InEffect`. If the review is due, the word `Review` with the reason of
    /// the condition `Reviewed`, such as `ReviewOverdue`.
    pub state: String,
    pub until: Timestamp,
    /// The message of the condition that `state` comes from.
    pub message: String,
}

impl Safeguards {
    pub fn of(record: &SystemRecord, now: Timestamp) -> Self {
        let monitors = record.monitors.as_ref();
        Self {
            monitors: monitors.map(|monitors| monitors.iter().map(MonitorLine::of).collect()),
            overrides: record.overrides.iter().filter_map(|about| OverrideLine::of(about, now)).collect(),
        }
    }

    /// The number of monitors in each state, such as `1 breached, 2 within`. Empty without monitors. If the person may
    /// not list monitors, the text is `not readable`.
    pub fn monitors_in_short(&self) -> Cell {
        let Some(monitors) = &self.monitors else { return Cell::new(FAINT, "not readable") };
        let count = |state| monitors.iter().filter(|monitor| monitor.state == state).count();
        let (breached, within) = (count(Some(MonitorState::Breached)), count(Some(MonitorState::Within)));
        let unknown = monitors.len() - breached - within;
        let counts = [(breached, "breached"), (unknown, "unknown"), (within, "within")];
        let style = if breached > 0 {
            BAD
        } else if unknown > 0 {
            LOOK
        } else {
            PLAIN
        };
        Cell::new(style, &in_short(&counts))
    }

    /// The number of overrides in each state, such as `1 in effect`. Empty without overrides.
    pub fn overrides_in_short(&self) -> Cell {
        let active = self.overrides.iter().filter(|about| about.active).count();
        let waiting = self.overrides.len() - active;
        let text = in_short(&[(active, "in effect"), (waiting, "waiting")]);
        Cell::new(if self.overrides.is_empty() { PLAIN } else { LOOK }, &text)
    }

    pub fn tables(&self, now: Timestamp) -> String {
        let monitors: Vec<_> = self.monitors.iter().flatten().map(MonitorLine::cells).collect();
        let overrides: Vec<_> = self.overrides.iter().map(|about| about.cells(now)).collect();
        let heads = [
            (&["MONITOR", "METRIC", "STATE", "VALUE", "ON BREACH", "INCIDENT"][..], monitors),
            (&["OVERRIDE", "VERSION", "STATE", "UNTIL"][..], overrides),
        ];
        let of = |(heads, rows): (&[&'static str], Vec<Vec<Cell>>)| {
            let heads: Vec<_> = heads.iter().map(|head| (*head, 0)).collect();
            if rows.is_empty() { String::new() } else { format!("\n{}", table(&heads, &rows)) }
        };
        heads.into_iter().map(of).collect()
    }
}

/// Each count with its state, such as `1 breached, 2 within`. Omits counts of zero.
fn in_short(counts: &[(usize, &str)]) -> String {
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    counts.map(|(count, state)| format!("{count} {state}")).collect::<Vec<_>>().join(", ")
}

impl MonitorLine {
    fn of(monitor: &Monitor) -> Self {
        let status = monitor.status.clone().unwrap_or_default();
        let within = status.conditions.iter().find(|condition| condition.type_ == "WithinLimits");
        Self {
            name: monitor.name_any(),
            metric: monitor.spec.metric.to_string(),
            state: status.state,
            value: status.value,
            on_breach: monitor.spec.on_breach,
            incident: status.breach.and_then(|breach| breach.incident),
            message: within.map(|condition| condition.message.to_string()),
        }
    }

    pub fn state(&self) -> &'static str {
        self.state.map_or("NotMeasured", MonitorState::name)
    }

    fn cells(&self) -> Vec<Cell> {
        let style = match self.state {
            Some(MonitorState::Within) => GOOD,
            Some(MonitorState::Breached) => BAD,
            Some(MonitorState::Unknown) | None => LOOK,
        };
        vec![
            Cell::new(PLAIN, &self.name),
            Cell::new(PLAIN, &self.metric),
            Cell::new(style, self.state()),
            Cell::new(PLAIN, self.value.as_deref().unwrap_or_default()),
            Cell::new(PLAIN, &format!("{:?}", self.on_breach)),
            Cell::new(PLAIN, self.incident.as_deref().unwrap_or_default()),
        ]
    }
}

impl OverrideLine {
    /// Describes an override that is in effect, waits for its review, or waits for a grant before its end. Returns
    /// `None` for any other override.
    fn of(about: &Override, now: Timestamp) -> Option<Self> {
        let end = about.status.as_ref().and_then(|status| status.not_after.as_ref());
        let until = end.unwrap_or(&about.spec.not_after).0;
        let is = |condition: &&Condition, reasons: &[&str]| reasons.contains(&&*condition.reason);
        let active = about.condition("Active");
        let in_effect = active.filter(|condition| condition.status == "True");
        let due = about.condition("Reviewed").filter(|condition| is(condition, &["Due", "Overdue"]));
        let awaiting = active.filter(|condition| is(condition, &["AwaitingGrant"]) && until > now);
        let shown = in_effect.or(due).or(awaiting)?;
        Some(Self {
            name: about.name_any(),
            version: about.spec.model_version.to_string(),
            active: in_effect.is_some(),
            state: if due.is_some() { format!("Review{}", shown.reason) } else { shown.reason.to_string() },
            until,
            message: shown.message.to_string(),
        })
    }

    fn cells(&self, now: Timestamp) -> Vec<Cell> {
        let style = if self.state == "ReviewOverdue" { BAD } else { LOOK };
        vec![
            Cell::new(PLAIN, &self.name),
            Cell::new(PLAIN, &self.version),
            Cell::new(style, &self.state),
            Cell::new(PLAIN, &in_words(self.until, now)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cli::fixtures::{self, now};

    fn condition(type_: &str, status: &str, reason: &str) -> Value {
        json!({ "type": type_, "status": status, "reason": reason, "message": "in words",
            "lastTransitionTime": "2026-11-01T00:00:00Z" })
    }

    fn monitor(name: &str, status: &Value) -> Monitor {
        serde_json::from_value(json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "Monitor", "metadata": { "name": name },
            "spec": { "system": "credit-scorer", "metric": "spd", "query": "spd", "onBreach": "Hold",
                "breach": { "above": "0.1" }, "noData": { "after": "6h", "then": "Unknown" } }, "status": status }))
        .expect("a Monitor")
    }

    fn override_(name: &str, conditions: &[Value]) -> Override {
        serde_json::from_value(
            json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "Override", "metadata": { "name": name },
            "spec": { "system": "credit-scorer", "modelVersion": "v1", "waives": [], "reason": "r",
                "subjectDigest": format!("sha256:{}", "a".repeat(64)), "notAfter": "2026-11-24T14:00:00Z" },
            "status": { "conditions": conditions } }),
        )
        .expect("an Override")
    }

    #[test]
    fn monitors_and_overrides_have_one_line_each_and_finished_overrides_have_none() {
        let breach =
            json!({ "since": "2026-11-20T10:00:00Z", "cause": "0.14 is above 0.1", "incident": "drift-1" });
        let mut record = fixtures::record();
        record.monitors = Some(vec![
            monitor("drift", &json!({ "state": "Breached", "value": "0.14", "breach": breach })),
            monitor("new", &Value::Null),
        ]);
        record.overrides = vec![
            override_(
                "over",
                &[condition("Active", "False", "Ended"), condition("Reviewed", "True", "Justified")],
            ),
            override_(
                "late",
                &[condition("Active", "False", "Ended"), condition("Reviewed", "False", "Overdue")],
            ),
            override_(
                "now",
                &[condition("Active", "True", "InEffect"), condition("Reviewed", "False", "NotDue")],
            ),
        ];
        let safeguards = Safeguards::of(&record, now());
        insta::assert_snapshot!(anstream::adapter::strip_str(&safeguards.tables(now())).to_string());
    }
}
