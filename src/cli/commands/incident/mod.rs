//! Opens incidents, holds systems with them, adds notes, and resumes held versions.
//!
//! ```text
//!  pause, rollback ─► Incident (Hold) ─► the operator withholds the versions
//!  incident open ───► Incident (None)        │
//!  incident note ───► IncidentNote           │   root cause, action, verification
//!  incident show ◄───────────────────────────┤   what is missing
//!  resume ──────────► Approval (Resume) ─────┴─► the versions may run again
//! ```

mod open;
mod resume;
mod show;

use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCompleter;

pub use open::{PauseArgs, RollbackArgs, pause, rollback};
pub use resume::{ResumeArgs, resume};

use crate::{
    api::{Digest, NoteType},
    cli::{commands::completion, connect::session::Session, error::Result, render::output::Prose},
};

/// The commands about incidents.
#[derive(Subcommand, Clone, Debug)]
pub enum IncidentCommand {
    /// Open an incident that holds nothing
    Open(open::OpenArgs),
    /// Add a fact, a root cause, an action or a verification to an incident
    Note(NoteArgs),
    /// Show an incident: its facts, notes, legal deadlines, and what is missing to resume
    Show(ShowArgs),
}

/// The command line of `incident note`.
#[derive(Args, Clone, Debug)]
pub struct NoteArgs {
    /// Incident
    #[arg(value_name = "INCIDENT", add = ArgValueCompleter::new(completion::incidents))]
    pub incident: String,
    /// Type of the note; people can resume only after a root-cause, an action and a verification
    #[arg(long = "type", value_name = "TYPE", value_enum)]
    pub type_: NoteType,
    /// Text, for the record
    #[arg(long, value_name = "TEXT")]
    pub text: String,
    /// Address of a document with the details
    #[arg(long, value_name = "URI", requires = "report_digest")]
    pub report: Option<String>,
    /// Digest of that document
    #[arg(long, value_name = "sha256:…")]
    pub report_digest: Option<Digest>,
}

/// The command line of `incident show`.
#[derive(Args, Clone, Debug)]
pub struct ShowArgs {
    /// Incident
    #[arg(value_name = "INCIDENT", add = ArgValueCompleter::new(completion::incidents))]
    pub incident: String,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Prose,
}

/// Runs a command about an incident.
pub async fn incident(session: &Session, command: &IncidentCommand) -> Result<()> {
    match command {
        IncidentCommand::Open(args) => open::open(session, args).await,
        IncidentCommand::Note(args) => open::note(session, args).await,
        IncidentCommand::Show(args) => show::show(session, args).await,
    }
}
