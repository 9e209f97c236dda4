//! The commands about incidents, and the commands that hold and resume versions.
//!
//! ```text
//!  pause, rollback ──────────────────► Incident that holds versions
//!  incident open ────────────────────► Incident that holds nothing
//!  incident note, acknowledge, close ► IncidentNote
//!  resume, incident review ──────────► Approval
//! ```
//!
//! The other commands only read these objects.

mod bundle;
mod incident_record;
mod list;
mod note;
mod open;
mod report;
mod resume;
mod review;
mod show;

use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCompleter;

pub use open::{PauseArgs, RollbackArgs, pause, rollback};
pub use resume::{ResumeArgs, resume};

use crate::cli::{commands::completion, connect::session::Session, error::Result, render::output::Prose};

#[derive(Subcommand, Clone, Debug)]
pub enum IncidentCommand {
    /// Open an incident that holds nothing
    Open(open::OpenArgs),
    /// List incidents: open ones first, by their next deadline
    List(list::ListArgs),
    /// Show an incident: its facts, notes, deadlines, and what is missing to resume
    Show(ShowArgs),
    /// Say that you take care of incidents, which ends their escalation; needs the verb acknowledge
    Acknowledge(note::AcknowledgeArgs),
    /// Add a fact, a root cause, an action, a verification, a report or a notification to an incident
    Note(note::NoteArgs),
    /// Close an incident with a reason; a hold stays; needs the verb close
    Close(note::CloseArgs),
    /// Record the review that is due after an incident
    Review(review::ReviewArgs),
    /// Write a report with the fields of the European Commission's draft template for serious incidents
    Report(report::ReportArgs),
    /// Collect the records of an incident in a directory or tar file, with their digests
    Bundle(bundle::BundleArgs),
}

#[derive(Args, Clone, Debug)]
pub struct ShowArgs {
    /// Incident
    #[arg(value_name = "INCIDENT", add = ArgValueCompleter::new(completion::incidents))]
    pub incident: String,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Prose,
}

pub async fn incident(session: &Session, command: &IncidentCommand) -> Result<()> {
    match command {
        IncidentCommand::Open(args) => open::open(session, args).await,
        IncidentCommand::List(args) => list::list(session, args).await,
        IncidentCommand::Show(args) => show::show(session, args).await,
        IncidentCommand::Acknowledge(args) => note::acknowledge(session, args).await,
        IncidentCommand::Note(args) => note::note(session, args).await,
        IncidentCommand::Close(args) => note::close(session, args).await,
        IncidentCommand::Review(args) => review::review(session, args).await,
        IncidentCommand::Report(args) => report::report(session, args).await,
        IncidentCommand::Bundle(args) => bundle::bundle(session, args).await,
    }
}
