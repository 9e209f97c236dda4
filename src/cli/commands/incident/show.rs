//! Shows an incident with its notes, its legal deadlines and the next step.

use k8s_openapi::jiff::Timestamp;
use kube::{Api, ResourceExt};
use serde::Serialize;

use super::ShowArgs;
use crate::{
    api::{Approval, Incident, IncidentNote},
    cli::{
        connect::{
            session::Session,
            system_record::{SystemRecord, recorded_at},
        },
        error::{Error, Result},
        render::{
            output::{self, Prose},
            page::{BAD, FAINT, GOOD, LOOK, PLAIN, Page, STRONG},
            time::in_words,
        },
    },
    policy::{Deadline, deadlines},
};

/// The records of an incident.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    incident: &'a Incident,
    notes: Vec<&'a IncidentNote>,
    resumes: Vec<&'a Approval>,
    deadlines: Vec<Deadline>,
}

/// Prints an incident.
pub async fn show(session: &Session, args: &ShowArgs) -> Result<()> {
    let api = Api::<Incident>::namespaced(session.client.clone(), &session.namespace);
    let doing = format!("read incident/{} in namespace {}", args.incident, session.namespace);
    let incident = api.get(&args.incident).await.map_err(Error::api(doing))?;
    let record = SystemRecord::read(&session.client, &session.namespace, &incident.spec.system).await?;
    let notes = record.notes.iter().filter(|note| *note.spec.incident == *args.incident);
    let is_named = |approval: &&Approval| {
        approval.spec.incident.as_ref().is_some_and(|named| *named.name == *args.incident)
    };
    let now = Timestamp::now();
    let aware = incident.spec.aware_at.as_ref().map(|at| at.0).or_else(|| recorded_at(&incident));
    let shown = Shown {
        notes: notes.collect(),
        resumes: record.resumes.iter().filter(is_named).collect(),
        deadlines: deadlines(&incident.spec.criteria, aware.unwrap_or(now)),
        incident: &incident,
    };
    let text = match args.output {
        Prose::Json => output::json(&shown)?,
        Prose::Yaml => output::yaml(&shown)?,
        Prose::Text => shown.page(&record, now),
    };
    anstream::print!("{text}");
    Ok(())
}

impl Shown<'_> {
    fn page(&self, record: &SystemRecord, now: Timestamp) -> String {
        let mut page = Page::default();
        let spec = &self.incident.spec;
        page.say(
            STRONG,
            &format!(
                "incident/{} of {} in namespace {}",
                self.incident.name_any(),
                spec.system,
                record.namespace
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
        page.heading("NOTES");
        for note in &self.notes {
            let by = note.spec.by.as_ref().map_or("not known", |person| &person.user);
            let when = recorded_at(*note).map(|at| in_words(at, now)).unwrap_or_default();
            page.mark("-", PLAIN, &format!("{} by {by} {when}: {}", note.spec.type_.words(), note.spec.text));
        }
        if self.notes.is_empty() {
            page.mark("-", FAINT, "none");
        }
        page.heading("DEADLINES, IF IT MUST BE REPORTED");
        for deadline in &self.deadlines {
            let style = if deadline.due <= now { BAD } else { LOOK };
            page.mark(
                "!",
                style,
                &format!(
                    "{} {}: {}, {}",
                    deadline.rule.regime,
                    deadline.rule.paragraph,
                    in_words(deadline.due, now),
                    deadline.rule.case
                ),
            );
        }
        page.heading("STATE");
        match self.incident.holding() {
            Some(holding) if holding.status == "True" => page.mark("✗", BAD, &holding.message),
            Some(holding) => page.mark("✓", GOOD, &holding.message),
            None => page.mark("!", LOOK, "the operator has not acted on it yet"),
        }
        page.finish()
    }
}

fn not_known(text: String) -> String {
    if text.is_empty() { "not known".to_owned() } else { text }
}
