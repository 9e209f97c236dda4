//! Shows an incident with its notes, decisions, legal deadlines and state.

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;

use super::{
    ShowArgs,
    incident_record::{IncidentRecord, say_notes},
};
use crate::{
    api::{Approval, DeadlineState, Incident, IncidentNote},
    cli::{
        connect::{session::Session, system_record::recorded_at},
        error::Result,
        render::{
            output::{self, Prose},
            page::{BAD, GOOD, LOOK, PLAIN, Page, STRONG},
            time::in_words,
        },
    },
    policy::{Deadline, deadlines},
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    incident: &'a Incident,
    notes: Vec<&'a IncidentNote>,
    /// The decisions to resume after the incident, and the reviews of the incident.
    decisions: Vec<&'a Approval>,
    deadlines: Vec<Deadline<'a>>,
    #[serde(skip)]
    found: &'a IncidentRecord,
}

pub async fn show(session: &Session, args: &ShowArgs) -> Result<()> {
    let found = IncidentRecord::read(session, &args.incident).await?;
    let now = Timestamp::now();
    let shown = Shown {
        notes: found.notes().collect(),
        decisions: found.decisions(),
        deadlines: found.judged(|incident| deadlines(incident, found.level(), now))?,
        incident: &found.incident,
        found: &found,
    };
    let text = match args.output {
        Prose::Json => output::json(&shown)?,
        Prose::Yaml => output::yaml(&shown)?,
        Prose::Text => shown.page(now),
    };
    anstream::print!("{text}");
    Ok(())
}

impl Shown<'_> {
    fn page(&self, now: Timestamp) -> String {
        let mut page = Page::default();
        let spec = &self.incident.spec;
        page.say(
            STRONG,
            &format!(
                "incident/{} of {} in namespace {}",
                self.incident.name_any(),
                spec.system,
                self.found.record.namespace
            ),
        );
        page.prose("event", &spec.description);
        page.field("effect", &format!("{:?}", spec.effect));
        let versions: Vec<_> = spec.model_versions.iter().map(|version| &*version.name).collect();
        let versions = match (&versions[..], &spec.except) {
            ([], None) => "all".to_owned(),
            ([], Some(kept)) => format!("all except {}", kept.name),
            (versions, _) => versions.join(", "),
        };
        page.field("versions", &versions);
        page.field(
            "criteria",
            &not_known(
                spec.criteria.iter().map(|criterion| format!("{criterion:?}")).collect::<Vec<_>>().join(", "),
            ),
        );
        page.prose("affected", &not_known(spec.affected.clone().unwrap_or_default()));
        let time = |at: Option<Timestamp>| not_known(at.map(|at| in_words(at, now)).unwrap_or_default());
        page.field("occurred", &time(spec.occurred_at.as_ref().map(|at| at.0)));
        page.field(
            "aware",
            &time(spec.aware_at.as_ref().map(|at| at.0).or_else(|| recorded_at(self.incident))),
        );
        page.field("opened by", spec.opened_by.as_ref().map_or("not known", |person| &person.user));
        if let Some(monitor) = &spec.monitor {
            page.field("because of", &format!("monitor/{monitor}"));
        }
        say_notes(&mut page, &self.found.record, self.incident, now);
        self.say_decisions(&mut page, now);
        self.say_deadlines(&mut page, now);
        self.say_state(&mut page);
        page.finish()
    }

    fn say_decisions(&self, page: &mut Page, now: Timestamp) {
        if self.decisions.is_empty() {
            return;
        }
        page.heading("DECISIONS");
        for decision in &self.decisions {
            let spec = &decision.spec;
            let by =
                self.found.record.approver(decision).map_or("not known".to_owned(), |by| by.user.clone());
            let when = recorded_at(*decision).map(|at| in_words(at, now)).unwrap_or_default();
            let outcome = spec.outcome.map(|outcome| format!(" ({outcome:?})")).unwrap_or_default();
            let text = format!(
                "{:?}{outcome} of {} by {by} as {} {when}",
                spec.decision, spec.model_version, spec.role
            );
            page.mark("-", PLAIN, &text);
        }
    }

    fn say_deadlines(&self, page: &mut Page, now: Timestamp) {
        page.heading("DEADLINES, IF IT MUST BE REPORTED");
        for deadline in &self.deadlines {
            let (mark, style) = match deadline.state {
                DeadlineState::Met | DeadlineState::NotApplicable => ("✓", GOOD),
                DeadlineState::Missed => ("✗", BAD),
                DeadlineState::Running => ("!", LOOK),
            };
            let (due, state) = (in_words(deadline.due, now), deadline.state.words());
            let late = deadline.settled_at.filter(|_| deadline.state == DeadlineState::Missed);
            let late = late.map(|at| format!(", noted late {}", in_words(at, now))).unwrap_or_default();
            let case = deadline.case.map(|case| format!(", {case}")).unwrap_or_default();
            let (reference, name) = (deadline.reference, deadline.name);
            page.mark(mark, style, &format!("{reference}: {due}, {state}{late}{case} (deadline {name})"));
        }
    }

    fn say_state(&self, page: &mut Page) {
        page.heading("STATE");
        for (type_, wanted) in
            [("Holding", "False"), ("Handled", "True"), ("Closed", "True"), ("Reviewed", "True")]
        {
            let Some(condition) = self.incident.condition(type_) else { continue };
            let (mark, style) = if condition.status == *wanted { ("✓", GOOD) } else { ("✗", BAD) };
            page.mark(mark, style, &condition.message);
        }
        if self.incident.holding().is_none() {
            page.mark("!", LOOK, "the operator has not acted on it yet");
        }
    }
}

fn not_known(text: String) -> String {
    if text.is_empty() { "not known".to_owned() } else { text }
}
