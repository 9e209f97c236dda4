//! Requests, grants, reviews and shows overrides.
//!
//! ```text
//!  override SYSTEM ──► show the effect ─► ask ─► Override ─┐
//!  override grant ───► show the effect ─► ask ─► Approval (Override) ─► the version may run
//!  override review ──► show the effect ─► ask ─► Approval (Review) ───► the override ends
//!  override show, override list
//! ```

mod decide;
mod decision;
mod request;
mod show;

use clap::{Args, Subcommand};

use crate::cli::{connect::session::Session, error::Result};

#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct OverrideArgs {
    #[command(subcommand)]
    command: Option<OverrideCommand>,
    #[command(flatten)]
    request: Option<request::RequestArgs>,
}

/// The commands about existing overrides. `override SYSTEM` requests a new one.
#[derive(Subcommand, Clone, Debug)]
pub enum OverrideCommand {
    /// Grant an override in a role of the risk level
    Grant(decide::GrantArgs),
    /// Judge an override afterwards; the review also ends the override
    Review(decide::ReviewArgs),
    /// Show an override: what it waives, who granted it, and its review
    Show(show::ShowArgs),
    /// List the overrides
    List(show::ListArgs),
}

pub async fn overrides(session: &Session, args: &OverrideArgs) -> Result<()> {
    match (&args.command, &args.request) {
        (Some(OverrideCommand::Grant(args)), _) => decide::grant(session, args).await,
        (Some(OverrideCommand::Review(args)), _) => decide::review(session, args).await,
        (Some(OverrideCommand::Show(args)), _) => show::show(session, args).await,
        (Some(OverrideCommand::List(args)), _) => show::list(session, args).await,
        (None, Some(args)) => request::request(session, args).await,
        (None, None) => Ok(()),
    }
}
