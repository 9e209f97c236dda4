//! Adds notes to incidents. An acknowledgement and a closing are notes too.
//!
//! The operator reads each `IncidentNote`, and updates the status of the incident.

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use k8s_openapi::jiff::Timestamp;
use kube::{Api, ResourceExt};

use super::{
    incident_record::{IncidentRecord, read_incident},
    open::generated,
};
use crate::{
    api::{Digest, IncidentNote, IncidentNoteSpec, NoteType, Report},
    cli::{
        commands::{
            completion,
            sign::{params, signer},
        },
        connect::session::Session,
        error::{Error, Next, Result},
        render::{
            page::{GOOD, LOOK, PLAIN, Page},
            time::in_words,
        },
    },
    policy::{Deadline, deadlines},
};

#[derive(Args, Clone, Debug)]
pub struct NoteArgs {
    /// Name of the incident that the note is about
    #[arg(value_name = "INCIDENT", add = ArgValueCompleter::new(completion::incidents))]
    incident: String,
    /// Type of the note; people can resume a version only after a root-cause, an action and a verification note
    #[arg(long = "type", value_name = "TYPE", value_enum)]
    type_: NoteType,
    /// Text of the note; nobody can edit or delete it
    #[arg(long, value_name = "TEXT")]
    text: String,
    /// Name of a deadline that the note meets, for the types report and notified; may be repeated
    #[arg(long, value_name = "NAME")]
    deadline: Vec<String>,
    /// Address of a document with the details
    #[arg(long, value_name = "URI", requires = "report_digest")]
    report: Option<String>,
    /// Digest of that document
    #[arg(long, value_name = "sha256:…")]
    report_digest: Option<Digest>,
}

#[derive(Args, Clone, Debug)]
pub struct AcknowledgeArgs {
    /// Names of the incidents to acknowledge
    #[arg(value_name = "INCIDENT", required = true, add = ArgValueCompleter::new(completion::incidents))]
    incidents: Vec<String>,
    /// Text of the note; nobody can edit or delete it
    #[arg(long, value_name = "TEXT", default_value = "I take care of it")]
    text: String,
}

#[derive(Args, Clone, Debug)]
pub struct CloseArgs {
    /// Name of the incident to close
    #[arg(value_name = "INCIDENT", add = ArgValueCompleter::new(completion::incidents))]
    incident: String,
    /// Reason for the closing; nobody can edit or delete it
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Name of a deadline that does not apply, for the reason in --reason; may be repeated
    #[arg(long, value_name = "NAME")]
    not_applicable: Vec<String>,
}

pub async fn note(session: &Session, args: &NoteArgs) -> Result<()> {
    let found = IncidentRecord::read(session, &args.incident).await?;
    let meets = matches!(args.type_, NoteType::Report | NoteType::Notified);
    if meets || !args.deadline.is_empty() {
        refuse_other_deadlines(session, &found, &args.deadline, meets)?;
    }
    let report = args.report_digest.clone().map(|digest| Report { uri: args.report.clone(), digest });
    let spec = note_spec(&args.incident, args.type_, &args.text, &args.deadline);
    create(session, IncidentNoteSpec { report, ..spec }).await
}

pub async fn acknowledge(session: &Session, args: &AcknowledgeArgs) -> Result<()> {
    for name in &args.incidents {
        read_incident(session, name).await?;
        create(session, note_spec(name, NoteType::Acknowledgement, &args.text, &[])).await?;
    }
    Ok(())
}

/// Closes an incident, and prints the open deadlines that `--not-applicable` does not name.
pub async fn close(session: &Session, args: &CloseArgs) -> Result<()> {
    let found = IncidentRecord::read(session, &args.incident).await?;
    refuse_other_deadlines(session, &found, &args.not_applicable, false)?;
    create(session, note_spec(&args.incident, NoteType::Closing, &args.reason, &args.not_applicable)).await?;
    let now = Timestamp::now();
    let mut page = Page::default();
    for deadline in open_deadlines(&found, now)? {
        if !args.not_applicable.contains(&deadline.name) {
            let text = format!("{} still runs, until {}", deadline.reference, in_words(deadline.due, now));
            page.mark("!", LOOK, &text);
        }
    }
    anstream::print!("{}", page.finish());
    Ok(())
}

/// A deadline that no note meets and that no closing declares not applicable.
struct OpenDeadline {
    name: String,
    reference: String,
    due: Timestamp,
}

fn open_deadlines(found: &IncidentRecord, now: Timestamp) -> Result<Vec<OpenDeadline>> {
    let open = |deadline: &Deadline<'_>| OpenDeadline {
        name: deadline.name.to_owned(),
        reference: deadline.reference.to_owned(),
        due: deadline.due,
    };
    found.judged(|incident| {
        let all = deadlines(incident, found.level(), now);
        all.iter().filter(|deadline| deadline.is_open()).map(open).collect()
    })
}

/// Fails if a name in `named` is not an open deadline of the incident. If `needed` is true, also fails if `named` is empty
/// although deadlines are open.
fn refuse_other_deadlines(
    session: &Session,
    found: &IncidentRecord,
    named: &[String],
    needed: bool,
) -> Result<()> {
    let open = open_deadlines(found, Timestamp::now())?;
    let other = named.iter().find(|name| open.iter().all(|deadline| deadline.name != **name));
    let question = match other {
        Some(other) => format!("incident/{} has no open deadline {other}", found.name()),
        None if needed && named.is_empty() && !open.is_empty() => {
            format!("name the deadline of incident/{} that the note meets with --deadline", found.name())
        }
        None => return Ok(()),
    };
    let command =
        format!("kubectl assent incident show {} -n {}{}", found.name(), session.namespace, session.flags);
    let next = open.iter().map(|deadline| format!("{} ({})", deadline.name, deadline.reference));
    let next = next.collect::<Vec<_>>().join(", ");
    let says = if next.is_empty() { "every deadline is settled".to_owned() } else { format!("open: {next}") };
    Err(Error::Choose { question, next: vec![Next::new(command, says)] })
}

fn note_spec(incident: &str, type_: NoteType, text: &str, deadlines: &[String]) -> IncidentNoteSpec {
    IncidentNoteSpec {
        incident: incident.into(),
        type_,
        deadlines: deadlines.iter().map(|name| name.as_str().into()).collect(),
        text: text.to_owned(),
        report: None,
        by: None,
    }
}

async fn create(session: &Session, spec: IncidentNoteSpec) -> Result<()> {
    let (incident, type_) = (spec.incident.clone(), spec.type_);
    let spec = IncidentNoteSpec { by: signer(session).await?, ..spec };
    let note = IncidentNote { metadata: generated(&incident), spec };
    let api = Api::<IncidentNote>::namespaced(session.client.clone(), &session.namespace);
    let doing = format!("add a note to incident/{incident} in namespace {}", session.namespace);
    let created = api.create(&params(false), &note).await.map_err(Error::api(doing))?;
    let mut page = Page::default();
    let (name, words) = (created.name_any(), type_.words());
    page.mark("✓", GOOD, &format!("Recorded: incidentnote/{name}, the {words} of incident/{incident}"));
    page.mark("-", PLAIN, "see the state of the incident, and what is missing:");
    page.command(&format!(
        "kubectl assent incident show {incident} -n {}{}",
        session.namespace, session.flags
    ));
    anstream::print!("{}", page.finish());
    Ok(())
}
