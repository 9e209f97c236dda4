//! The right edge of the log: the files that a new entry changes.

use super::{
    tile::{Column, Tile, WIDTH, push_entry, write_hashes},
    tree::{Frontier, Hash},
};

/// A tile or an entry bundle with its content.
pub(super) type TileFile = (Tile, Vec<u8>);

/// The root of a log, and the content of its partial tiles.
#[derive(Clone, Debug, Default)]
pub(super) struct Edge {
    frontier: Frontier,
    /// The hashes of the partial tile of each level.
    levels: Vec<Vec<Hash>>,
    /// The partial entry bundle.
    bundle: Vec<u8>,
}

impl Edge {
    pub(super) const fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// Appends an entry, which is at most 4 KiB long. Adds the tiles that are full now to `full`.
    pub(super) fn push(&mut self, entry: &[u8], full: &mut Vec<TileFile>) {
        let leaf = Hash::of_leaf(entry);
        self.frontier.push(leaf);
        push_entry(&mut self.bundle, entry);
        let size = self.frontier.size();
        if size.is_multiple_of(WIDTH.into()) {
            let number = size / u64::from(WIDTH) - 1;
            let tile = Tile { column: Column::Entries, number, width: WIDTH };
            full.push((tile, std::mem::take(&mut self.bundle)));
        }
        self.push_hash(0, leaf, full);
    }

    fn push_hash(&mut self, level: u8, hash: Hash, full: &mut Vec<TileFile>) {
        if self.levels.len() == usize::from(level) {
            self.levels.push(Vec::new());
        }
        let hashes = &mut self.levels[usize::from(level)];
        hashes.push(hash);
        if hashes.len() < usize::from(WIDTH) {
            return;
        }
        let hashes = std::mem::take(hashes);
        let number = (self.frontier.size() >> (8 * (u32::from(level) + 1))) - 1;
        full.push((Tile { column: Column::Level(level), number, width: WIDTH }, write_hashes(&hashes)));
        if let Some(root) = Hash::of_full(&hashes) {
            self.push_hash(level + 1, root, full);
        }
    }

    /// The partial tiles of the present size.
    pub(super) fn partial(&self) -> Vec<TileFile> {
        let size = self.frontier.size();
        let levels =
            (0..).zip(&self.levels).map(|(level, hashes)| (Column::Level(level), write_hashes(hashes)));
        let columns = levels.chain([(Column::Entries, self.bundle.clone())]);
        let partial = columns.filter(|(_, content)| !content.is_empty());
        partial
            .filter_map(|(column, content)| {
                let level = if let Column::Level(level) = column { level } else { 0 };
                let number = size >> (8 * (u32::from(level) + 1));
                Tile::at(column, number, size).map(|tile| (tile, content))
            })
            .collect()
    }
}
