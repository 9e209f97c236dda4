//! Requests, grants, reviews and shows overrides.
//!
//! `override SYSTEM` creates an Override. If the person may grant overrides, this command also creates an Approval that
//! grants the override. `override grant` and `override review` create an Approval. The other commands only read.

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

/// The commands about existing overrides. `override SYSTEM` requests a new override.
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
