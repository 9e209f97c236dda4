//! Reads a whole log once, and checks that its tiles follow from its entries.
//!
//! ```text
//!  bundle ─► entries ─► Edge ─┬─► tiles ── equal? ── tiles of the log
//!               └─► Visitor   └─► root
//! ```

use super::{
    edge::{Edge, TileFile},
    entry::Entry,
    finding::{Finding, hashes, read_tile},
    storage::Files,
    tile::{Column, Tile, read_entries, read_hashes},
    tree::Frontier,
};

/// Takes the entries and the findings of a scan.
pub(super) trait Visitor {
    /// An entry at its position. `tree` includes the entry.
    fn entry(&mut self, index: u64, entry: Entry, tree: &Frontier);

    /// A finding. The scan goes on if later entries can be read.
    fn finding(&mut self, finding: Finding);
}

/// Reads the entries of a log with `size` entries.
pub(super) fn scan(files: &impl Files, size: u64, visitor: &mut impl Visitor) -> Edge {
    let mut edge = Edge::default();
    let bundles = (0..).map_while(|number| Tile::at(Column::Entries, number, size));
    for bundle in bundles {
        if let Err(finding) = scan_bundle(files, bundle, &mut edge, visitor) {
            visitor.finding(finding);
            return edge;
        }
    }
    for (tile, content) in edge.partial() {
        compare(files, tile, &content, visitor);
    }
    edge
}

fn scan_bundle(
    files: &impl Files,
    bundle: Tile,
    edge: &mut Edge,
    visitor: &mut impl Visitor,
) -> Result<(), Finding> {
    let (file, stored) = read_tile(files, bundle)?;
    let why = || format!("it does not have {stored} entries");
    let entries = read_entries(&file, stored, bundle.width);
    let entries = entries.ok_or_else(|| Finding::Damaged { path: bundle.path(), why: why() })?;
    let mut full: Vec<TileFile> = Vec::new();
    for text in entries {
        let index = edge.frontier().size();
        edge.push(text, &mut full);
        match Entry::parse(text) {
            Ok(entry) => visitor.entry(index, entry, edge.frontier()),
            Err(error) => visitor.finding(Finding::Entry { index, why: error.to_string() }),
        }
    }
    for (tile, content) in full {
        compare(files, tile, &content, visitor);
    }
    Ok(())
}

/// Compares a tile of hashes with the hashes that follow from the entries. Skips entry bundles, because these hashes were
/// computed from them.
fn compare(files: &impl Files, tile: Tile, content: &[u8], visitor: &mut impl Visitor) {
    let Column::Level(level) = tile.column else { return };
    let Some(expected) = read_hashes(content, tile.width, tile.width) else { return };
    match hashes(files, tile) {
        Err(finding) => visitor.finding(finding),
        Ok(found) if found == expected => {}
        Ok(_) if level > 0 => visitor.finding(Finding::Tile { path: tile.path() }),
        Ok(found) => {
            let differs =
                (0..).zip(found.iter().zip(&expected)).filter(|(_, (found, expected))| found != expected);
            for (place, _) in differs {
                let index = tile.number * 256 + place;
                visitor.finding(Finding::LeafHash { index, path: tile.path() });
            }
        }
    }
}
