//! Prints the proof that one entry is in the log.

use serde::Serialize;

use super::{ProofArgs, broken, export, show::no_entry};
use crate::{
    cli::{
        error::Result,
        render::output::{self, Prose},
    },
    record::{Hash, Proof},
};

/// The proof for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    index: u64,
    entry: String,
    leaf_hash: Hash,
    path: Vec<Hash>,
    checkpoint: String,
}

/// Prints a proof, after a check that it leads to the root of the checkpoint.
pub fn proof(args: &ProofArgs) -> Result<()> {
    let (files, checkpoint) = export(&args.directory)?;
    let size = checkpoint.head().size;
    if args.index >= size {
        return Err(no_entry(&args.directory, args.index, size));
    }
    let proof = Proof::new(&files, checkpoint, args.index).map_err(broken(&args.directory))?;
    let text = match args.output {
        Prose::Text => proof.to_string(),
        Prose::Json => output::json(&shown(&proof))?,
        Prose::Yaml => output::yaml(&shown(&proof))?,
    };
    anstream::print!("{text}");
    Ok(())
}

fn shown(proof: &Proof) -> Shown {
    Shown {
        index: proof.index,
        entry: String::from_utf8_lossy(&proof.entry).into_owned(),
        leaf_hash: Hash::of_leaf(&proof.entry),
        path: proof.path.clone(),
        checkpoint: proof.checkpoint.to_string(),
    }
}
