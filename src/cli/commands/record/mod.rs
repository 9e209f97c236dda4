//! Reads an export of the transparency log, without a cluster.
//!
//! ```text
//!  DIRECTORY ─► record ─┬─ verify: findings, or the proven facts
//!                       ├─ show:   entries with their disclosures
//!                       └─ proof:  one entry and the hashes beside it
//! ```

mod proof;
mod show;
mod verify;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::{
    cli::{
        error::{Error, Result},
        render::output::{Listing, Prose},
    },
    record::{Checkpoint, Directory, Files as _, Finding, POLICY, TrustPolicy},
};

/// The commands about the record.
#[derive(Subcommand, Clone, Debug)]
pub enum RecordCommand {
    /// Verify that an export is complete, in order and unchanged
    ///
    /// Computes the tree from the entries and compares it with the signed checkpoint. Checks the order of the entries,
    /// their disclosures, the changes of the key, and whether each clearance rests on earlier decisions. Fails if
    /// anything differs.
    Verify(VerifyArgs),
    /// Show the entries of an export, or one entry with its personal data
    ///
    /// Shows what the files state. To know whether they prove it, run verify.
    Show(ShowArgs),
    /// Print the proof that one entry is in the log, as a C2SP tlog-proof
    ///
    /// Another person can verify the proof with the policy alone, without the other entries. The line "extra" contains
    /// the entry.
    Proof(ProofArgs),
}

/// The command line of `record verify`.
#[derive(Args, Clone, Debug)]
pub struct VerifyArgs {
    /// Directory of the export
    #[arg(value_name = "DIRECTORY")]
    directory: PathBuf,
    /// Trust policy with the key of the log and the witnesses (C2SP tlog-policy; default: policy.txt of the export)
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Checkpoint of an earlier export, which this export must extend
    #[arg(long, value_name = "FILE")]
    kept: Option<PathBuf>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Prose,
}

/// The command line of `record show`.
#[derive(Args, Clone, Debug)]
pub struct ShowArgs {
    /// Directory of the export
    #[arg(value_name = "DIRECTORY")]
    directory: PathBuf,
    /// Position of one entry, which begins at 0 (default: every entry)
    #[arg(value_name = "INDEX")]
    index: Option<u64>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Listing,
}

/// The command line of `record proof`.
#[derive(Args, Clone, Debug)]
pub struct ProofArgs {
    /// Directory of the export
    #[arg(value_name = "DIRECTORY")]
    directory: PathBuf,
    /// Position of the entry, which begins at 0
    #[arg(value_name = "INDEX")]
    index: u64,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Prose,
}

/// Runs a command about the record.
pub fn record(command: &RecordCommand) -> Result<()> {
    match command {
        RecordCommand::Verify(args) => verify::verify(args),
        RecordCommand::Show(args) => show::show(args),
        RecordCommand::Proof(args) => proof::proof(args),
    }
}

fn unreadable(path: &Path, why: &impl ToString) -> Error {
    Error::Manifest { path: path.display().to_string(), why: why.to_string(), next: Vec::new() }
}

/// The files of an export, and its checkpoint, whose signature is not verified.
fn export(directory: &Path) -> Result<(Directory, Checkpoint)> {
    let files = Directory::new(directory);
    let no_export =
        || unreadable(directory, &"it has no file named checkpoint, so it is not an export of a record");
    let file =
        files.read("checkpoint").map_err(|error| unreadable(directory, &error))?.ok_or_else(no_export)?;
    let checkpoint = Checkpoint::parse(&file);
    let checkpoint = checkpoint.map_err(|error| unreadable(&directory.join("checkpoint"), &error))?;
    Ok((files, checkpoint))
}

/// The policy of the user, or the policy in the export.
fn policy(directory: &Path, named: Option<&Path>) -> Result<TrustPolicy> {
    let path = named.map_or_else(|| directory.join(POLICY), Path::to_path_buf);
    let file = std::fs::read(&path).map_err(|error| unreadable(&path, &error))?;
    TrustPolicy::parse(&file).map_err(|error| unreadable(&path, &error))
}

fn broken(directory: &Path) -> impl Fn(Finding) -> Error + '_ {
    move |finding| unreadable(directory, &finding)
}
