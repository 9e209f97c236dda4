//! What a verification found, and how it reads the files of a log.

use jiff::Timestamp;

use super::{
    storage::{Files, StorageError},
    tile::{Column, Tile, read_entries, read_hashes},
    tree::Hash,
};

/// A reason why a log does not prove what it states.
#[derive(Debug, thiserror::Error)]
pub enum Finding {
    /// A file cannot be read.
    #[error("{0}")]
    Storage(#[from] StorageError),
    /// A file is missing.
    #[error("{path} is missing, so entries may have been dropped")]
    Missing {
        /// The file.
        path: String,
    },
    /// A file does not have the required form.
    #[error("{path} is damaged: {why}")]
    Damaged {
        /// The file.
        path: String,
        /// The error.
        why: String,
    },
    /// A file does not belong to the log of this checkpoint.
    #[error(
        "{path} does not belong to the log of this checkpoint: it was added, or the checkpoint is older than the log"
    )]
    Unexpected {
        /// The file.
        path: String,
    },
    /// The hash of an entry in the tile is not the hash of the entry.
    #[error("entry {index} is not the entry whose hash is in {path}: it was changed, moved or replaced")]
    LeafHash {
        /// The entry.
        index: u64,
        /// The tile.
        path: String,
    },
    /// The hashes of a tile do not follow from the entries.
    #[error("{path} does not have the hashes of the entries below it")]
    Tile {
        /// The tile.
        path: String,
    },
    /// The entries do not give the root of the checkpoint.
    #[error(
        "the entries do not give the root of the checkpoint: an entry was changed, dropped, moved or added"
    )]
    Root,
    /// No key that may sign signed the checkpoint.
    #[error(
        "the checkpoint of {origin} is not signed by a key that the policy trusts, or its content was changed"
    )]
    Signature {
        /// The origin in the checkpoint.
        origin: String,
    },
    /// A cosignature of a known witness is not valid.
    #[error("the cosignature of witness {witness} is not valid for this checkpoint")]
    Cosignature {
        /// The witness.
        witness: String,
    },
    /// Too few witnesses cosigned the checkpoint.
    #[error("too few witnesses cosigned the checkpoint for the quorum of the policy")]
    Quorum,
    /// The log does not extend a checkpoint that the auditor kept.
    #[error("the log does not extend the checkpoint of size {size} that you kept: its history was rewritten")]
    Rewritten {
        /// The size of the kept checkpoint.
        size: u64,
    },
    /// The log is shorter than a checkpoint that the auditor kept.
    #[error("the log has {size} entries, but the checkpoint that you kept has {kept}: entries were dropped")]
    Shortened {
        /// The size of the log.
        size: u64,
        /// The size of the kept checkpoint.
        kept: u64,
    },
    /// A text is not an entry.
    #[error("entry {index} is not an entry of this log: {why}")]
    Entry {
        /// The position.
        index: u64,
        /// The error.
        why: String,
    },
    /// An entry states another position.
    #[error(
        "entry {index} states the index {stated}: it was moved, or an entry before it was dropped or added"
    )]
    Index {
        /// The position.
        index: u64,
        /// The index in the entry.
        stated: u64,
    },
    /// An identity is in the log twice.
    #[error("entry {index} has the identity {id} of entry {first}: it was recorded twice")]
    Repeated {
        /// The later position.
        index: u64,
        /// The identity.
        id: String,
        /// The earlier position.
        first: u64,
    },
    /// An entry is earlier than the entry before it.
    #[error("entry {index} was recorded at {recorded}, earlier than the entry before it at {before}")]
    Order {
        /// The position.
        index: u64,
        /// The time of the entry.
        recorded: Timestamp,
        /// The time of the entry before it.
        before: Timestamp,
    },
    /// The disclosures of an entry are not those that it committed to.
    #[error("the disclosures of entry {index} in {path} {why}")]
    Disclosures {
        /// The entry.
        index: u64,
        /// The file.
        path: String,
        /// The difference.
        why: String,
    },
    /// A change of the key is not signed by the key before.
    #[error("the change of the key in entry {index} is not signed by the key before: {path} {why}")]
    Handover {
        /// The entry.
        index: u64,
        /// The file with the signed checkpoint of the change.
        path: String,
        /// The error.
        why: String,
    },
    /// An entry contradicts earlier entries.
    #[error("entry {index} contradicts the log: {why}")]
    Contradiction {
        /// The entry.
        index: u64,
        /// The contradiction.
        why: String,
    },
}

/// Reads a tile or bundle, or the full one if the partial one is gone, because a log may remove a partial tile after
/// the full tile is written (C2SP tlog-tiles, "Partial Tiles"). Returns the file and the width of the tile in it.
pub(super) fn read_tile(files: &impl Files, tile: Tile) -> Result<(Vec<u8>, u16), Finding> {
    for stored in [tile, tile.full()] {
        if let Some(file) = files.read(&stored.path())? {
            return Ok((file, stored.width));
        }
    }
    Err(Finding::Missing { path: tile.path() })
}

/// The hashes of a tile.
pub(super) fn hashes(files: &impl Files, tile: Tile) -> Result<Vec<Hash>, Finding> {
    let (file, stored) = read_tile(files, tile)?;
    let damaged = || Finding::Damaged { path: tile.path(), why: format!("it does not have {stored} hashes") };
    read_hashes(&file, stored, tile.width).ok_or_else(damaged)
}

/// The text of one entry. It is not verified.
pub fn entry(files: &impl Files, index: u64, size: u64) -> Result<Vec<u8>, Finding> {
    let unknown = || Finding::Entry { index, why: format!("the log has {size} entries") };
    let tile = Tile::at(Column::Entries, index >> 8, size).ok_or_else(unknown)?;
    let (file, stored) = read_tile(files, tile)?;
    let entries = read_entries(&file, stored, tile.width);
    let place = usize::from(index.to_be_bytes()[7]);
    let entry = entries.and_then(|entries| entries.get(place).map(|entry| entry.to_vec()));
    entry.ok_or_else(|| Finding::Damaged {
        path: tile.path(),
        why: format!("it does not have {stored} entries"),
    })
}
