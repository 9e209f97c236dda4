//! Copies a log to a directory that an auditor can verify without a cluster. Holds one tile or bundle at a time.
//!
//! ```text
//!  volume ─► tile/…, content/…, keys/…, checkpoint ─┬─► EXPORT
//!            policy.txt, log.vkey, VERIFY.md ───────┘
//! ```

use super::{
    checkpoint::Checkpoint,
    entry::Entry,
    fact::Fact,
    finding::{Finding, read_tile},
    key::VerifierKey,
    stage::{CHECKPOINT, key_path},
    storage::{Files, Storage},
    tile::{Column, Tile, read_entries},
    trust,
};

/// The file with the policy.
pub const POLICY: &str = "policy.txt";

/// The file with the key of the log.
const KEY: &str = "log.vkey";

/// The file with the commands for an auditor.
const INSTRUCTIONS: &str = "VERIFY.md";

/// The files of an export that no checkpoint covers.
pub(super) const OUTSIDE: &[&str] = &[POLICY, KEY, INSTRUCTIONS];

/// Copies the log of the published checkpoint, which has a signature of `key`. Returns the checkpoint.
pub fn export(files: &impl Files, key: &VerifierKey, target: &impl Storage) -> Result<Checkpoint, Finding> {
    let file = files.read(CHECKPOINT)?.ok_or_else(|| Finding::Missing { path: CHECKPOINT.to_owned() })?;
    let damaged = |why: String| Finding::Damaged { path: CHECKPOINT.to_owned(), why };
    let checkpoint = Checkpoint::parse(&file).map_err(|error| damaged(error.to_string()))?;
    if !checkpoint.is_signed_by(key) {
        return Err(Finding::Signature { origin: checkpoint.head().origin.to_string() });
    }
    for tile in Tile::all(checkpoint.head().size) {
        copy_tile(files, tile, target)?;
    }
    target.create(POLICY, trust::file_for(key).as_bytes())?;
    target.create(KEY, format!("{key}\n").as_bytes())?;
    target.create(INSTRUCTIONS, include_str!("VERIFY.md").as_bytes())?;
    target.create(CHECKPOINT, &file)?;
    Ok(checkpoint)
}

fn copy_tile(files: &impl Files, tile: Tile, target: &impl Storage) -> Result<(), Finding> {
    let (file, stored) = read_tile(files, tile)?;
    let Column::Entries = tile.column else {
        let length = usize::from(tile.width) * 32;
        return Ok(target.create(&tile.path(), file.get(..length).unwrap_or(&file))?);
    };
    let entries = read_entries(&file, stored, tile.width);
    let damaged =
        || Finding::Damaged { path: tile.path(), why: format!("it does not have {stored} entries") };
    let entries = entries.ok_or_else(damaged)?;
    for text in &entries {
        copy_beside(files, text, target)?;
    }
    let length = entries.iter().map(|entry| entry.len() + 2).sum();
    Ok(target.create(&tile.path(), file.get(..length).unwrap_or(&file))?)
}

/// Copies the files beside the tiles that belong to an entry.
fn copy_beside(files: &impl Files, text: &[u8], target: &impl Storage) -> Result<(), Finding> {
    // An unreadable entry has no files. The verification of the export reports it.
    let Ok(entry) = Entry::parse(text) else { return Ok(()) };
    let content = (!entry.disclosures.is_empty()).then(|| entry.id.content_path());
    let key = matches!(entry.fact, Fact::Key { .. }).then(|| key_path(entry.index));
    for path in content.into_iter().chain(key) {
        if let Some(file) = files.read(&path)? {
            target.create(&path, &file)?;
        }
    }
    Ok(())
}
