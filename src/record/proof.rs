//! Proofs that one entry is in a log (C2SP tlog-proof; RFC 6962, section 2.1.1).
//!
//! ```text
//!  tiles ─► path: the hashes of the subtrees beside the entry, from the leaf to the root
//! ```

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    checkpoint::Checkpoint,
    finding::{Finding, entry, hashes},
    storage::Files,
    tile::{Column, Tile},
    tree::{Hash, is_included},
};

/// A proof that one entry is in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The position of the entry.
    pub index: u64,
    /// The text of the entry.
    pub entry: Vec<u8>,
    /// The hashes beside the entry, from the leaf to the root.
    pub path: Vec<Hash>,
    /// The checkpoint, with all its signatures.
    pub checkpoint: Checkpoint,
}

impl Proof {
    /// Proves an entry of a log. Fails if the proof does not lead to the root of the checkpoint.
    pub fn new(files: &impl Files, checkpoint: Checkpoint, index: u64) -> Result<Self, Finding> {
        let size = checkpoint.head().size;
        let entry = entry(files, index, size)?;
        let mut path = Vec::new();
        fill(files, index, 0, size, size, &mut path)?;
        if is_included(Hash::of_leaf(&entry), index, size, &path, &checkpoint.head().root) {
            Ok(Self { index, entry, path, checkpoint })
        } else {
            Err(Finding::Root)
        }
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "c2sp.org/tlog-proof@v1\nextra {}", STANDARD.encode(&self.entry))?;
        writeln!(f, "index {}", self.index)?;
        self.path.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

/// Adds the path from the leaf at `index` to the root of the entries from `start` to `end`.
fn fill(
    files: &impl Files,
    index: u64,
    start: u64,
    end: u64,
    size: u64,
    path: &mut Vec<Hash>,
) -> Result<(), Finding> {
    if end - start < 2 {
        return Ok(());
    }
    let middle = start + split(end - start);
    if index < middle {
        fill(files, index, start, middle, size, path)?;
        path.push(root(files, middle, end, size)?);
    } else {
        fill(files, index, middle, end, size, path)?;
        path.push(root(files, start, middle, size)?);
    }
    Ok(())
}

/// The root of the entries from `start` to `end`, which are a subtree of the log with `size` entries.
fn root(files: &impl Files, start: u64, end: u64, size: u64) -> Result<Hash, Finding> {
    let length = end - start;
    if !length.is_power_of_two() {
        let middle = start + split(length);
        return Ok(Hash::of_node(&root(files, start, middle, size)?, &root(files, middle, end, size)?));
    }
    // A full subtree is a run of hashes in one tile of the highest level below it.
    let level = u8::try_from(length.ilog2() / 8).unwrap_or(u8::MAX);
    let shift = 8 * u32::from(level);
    let (first, count) = (start >> shift, usize::try_from(length >> shift).unwrap_or(usize::MAX));
    let missing = || Finding::Missing { path: format!("tile/{level}") };
    let tile = Tile::at(Column::Level(level), first >> 8, size).ok_or_else(missing)?;
    let hashes = hashes(files, tile)?;
    let place = usize::from(first.to_be_bytes()[7]);
    hashes.get(place..place.saturating_add(count)).and_then(Hash::of_full).ok_or_else(missing)
}

/// The largest power of two below `length`, which is at least 2.
const fn split(length: u64) -> u64 {
    1 << (length - 1).ilog2()
}
