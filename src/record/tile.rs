//! Tiles and entry bundles, the files of a log (C2SP tlog-tiles).
//!
//! ```text
//!  tile/entries/000        256 entries ──► 256 leaf hashes   tile/0/000
//!                                                 └─ root ──► 1 hash of   tile/1/000
//!  tile/entries/001.p/3      3 entries ──►   3 leaf hashes   tile/0/001.p/3
//! ```

use std::fmt::Write as _;

use super::tree::Hash;

/// The number of hashes in a full tile, and of entries in a full bundle.
pub const WIDTH: u16 = 256;

/// The number of levels: a level covers 8 bits of a size.
const LEVELS: u8 = 8;

/// What the files of a column contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Column {
    /// Entries.
    Entries,
    /// The hashes of a level. At level 0, they are the hashes of entries.
    Level(u8),
}

/// The place of a tile or an entry bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tile {
    /// The kind of the content.
    pub column: Column,
    /// The position within the column.
    pub number: u64,
    /// The number of hashes or entries, from 1 to [`WIDTH`].
    pub width: u16,
}

impl Tile {
    /// The tile with this number in a log with `size` entries. `None` if the log has no such tile.
    pub fn at(column: Column, number: u64, size: u64) -> Option<Self> {
        let level = match column {
            Column::Entries => 0,
            Column::Level(level) => level,
        };
        let hashes = size.checked_shr(8 * u32::from(level)).unwrap_or(0);
        let left = hashes.checked_sub(number.checked_mul(WIDTH.into())?)?;
        let width = u16::try_from(left.min(WIDTH.into())).ok().filter(|width| *width > 0)?;
        Some(Self { column, number, width })
    }

    /// All tiles and bundles of a log with `size` entries.
    pub fn all(size: u64) -> impl Iterator<Item = Self> {
        let columns = (0..LEVELS).map(Column::Level).chain([Column::Entries]);
        columns.flat_map(move |column| (0..).map_while(move |number| Self::at(column, number, size)))
    }

    /// The full tile or bundle that replaces this one when the log grows.
    pub(super) const fn full(self) -> Self {
        Self { width: WIDTH, ..self }
    }

    /// Whether the width is [`WIDTH`].
    pub(super) const fn is_full(self) -> bool {
        self.width == WIDTH
    }

    /// The path of the file.
    pub fn path(self) -> String {
        let full = self.full_path();
        if self.is_full() { full } else { format!("{full}.p/{}", self.width) }
    }

    /// The directory of the partial tiles at this place.
    pub(super) fn partial_directory(self) -> String {
        self.full_path() + ".p"
    }

    fn full_path(self) -> String {
        let mut path = match self.column {
            Column::Entries => "tile/entries/".to_owned(),
            Column::Level(level) => format!("tile/{level}/"),
        };
        let digits = self.number.to_string();
        let digits = format!("{digits:0>width$}", width = digits.len().div_ceil(3) * 3);
        let last = digits.len() - 3;
        for at in (0..last).step_by(3) {
            // A write to a `String` does not fail.
            let _ = write!(path, "x{}/", &digits[at..at + 3]);
        }
        path + &digits[last..]
    }

    /// Reads the path of a file. `None` if the path is not exactly one that [`Tile::path`] writes.
    pub fn parse(path: &str) -> Option<Self> {
        let (column, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let column = match column {
            "entries" => Column::Entries,
            level => Column::Level(level.parse().ok().filter(|level| *level < LEVELS)?),
        };
        let (number, width) = match rest.split_once(".p/") {
            Some((number, width)) => (number, width.parse().ok().filter(|width| (1..WIDTH).contains(width))?),
            None => (rest, WIDTH),
        };
        let digits: String = number.split('/').map(|part| part.strip_prefix('x').unwrap_or(part)).collect();
        let tile = Self { column, number: digits.parse().ok()?, width };
        (tile.path() == path).then_some(tile)
    }
}

/// The file of a tile.
pub(super) fn write_hashes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.bytes()).collect()
}

/// The first `width` hashes of a tile. `None` if the file has another number of hashes than `stored`.
pub(super) fn read_hashes(file: &[u8], stored: u16, width: u16) -> Option<Vec<Hash>> {
    let (hashes, rest) = file.as_chunks::<{ Hash::LEN }>();
    let fits = rest.is_empty() && hashes.len() == usize::from(stored);
    fits.then(|| hashes.iter().take(width.into()).map(|bytes| Hash::from(*bytes)).collect())
}

/// Appends an entry to an entry bundle. `false` if the entry is longer than a bundle can state.
pub(super) fn push_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> bool {
    let Ok(length) = u16::try_from(entry.len()) else { return false };
    bundle.extend(length.to_be_bytes());
    bundle.extend(entry);
    true
}

/// The first `width` entries of a bundle. `None` if the file does not consist of exactly `stored` entries.
pub fn read_entries(mut file: &[u8], stored: u16, width: u16) -> Option<Vec<&[u8]>> {
    let mut entries = Vec::with_capacity(stored.into());
    while let Some((length, rest)) = file.split_first_chunk::<2>() {
        let (entry, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        entries.push(entry);
        file = rest;
    }
    let fits = file.is_empty() && entries.len() == usize::from(stored);
    entries.truncate(width.into());
    fits.then_some(entries)
}
