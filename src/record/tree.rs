//! The hashes of the Merkle tree (RFC 6962, section 2.1), with SHA-256.
//!
//! ```text
//!  entry ── 0x00 ──► leaf hash ─┐
//!                               ├── 0x01 ──► node hash ── … ──► root
//!  entry ── 0x00 ──► leaf hash ─┘
//! ```

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The hash of an entry, of an inner node, or of a whole tree. Its text is base64, as in checkpoints and proofs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hash([u8; 32]);

/// The error for a text that is not base64 of 32 bytes.
#[derive(Debug, thiserror::Error)]
#[error("it is not base64 of 32 bytes")]
pub struct InvalidHash;

impl Hash {
    /// The number of bytes.
    pub const LEN: usize = 32;

    /// The root of the tree without entries.
    pub fn of_nothing() -> Self {
        Self(Sha256::digest([]).into())
    }

    /// The hash of an entry.
    pub fn of_leaf(entry: &[u8]) -> Self {
        Self(Sha256::new().chain_update([0]).chain_update(entry).finalize().into())
    }

    /// The hash of the node above two nodes.
    pub fn of_node(left: &Self, right: &Self) -> Self {
        Self(Sha256::new().chain_update([1]).chain_update(left.0).chain_update(right.0).finalize().into())
    }

    /// The root of the tree over `leaves`, whose number is a power of two. `None` without leaves.
    pub(super) fn of_full(leaves: &[Self]) -> Option<Self> {
        match leaves {
            [] => None,
            [only] => Some(*only),
            _ => {
                let (left, right) = leaves.split_at(leaves.len() / 2);
                Some(Self::of_node(&Self::of_full(left)?, &Self::of_full(right)?))
            }
        }
    }

    /// The bytes of the hash.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The hexadecimal digits of the hash, for file names.
    pub(super) fn hex(&self) -> String {
        base16ct::lower::encode_string(&self.0)
    }
}

impl FromStr for Hash {
    type Err = InvalidHash;

    fn from_str(text: &str) -> Result<Self, InvalidHash> {
        let bytes = STANDARD.decode(text).map_err(|_| InvalidHash)?;
        bytes.try_into().map(Self).map_err(|_| InvalidHash)
    }
}

impl TryFrom<String> for Hash {
    type Error = InvalidHash;

    fn try_from(text: String) -> Result<Self, InvalidHash> {
        text.parse()
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        hash.to_string()
    }
}

impl From<[u8; 32]> for Hash {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The right edge of a growing tree. It needs one hash for each bit of the size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// The roots of the full subtrees, the largest first: one for each bit that `size` has.
    peaks: Vec<Hash>,
}

impl Frontier {
    /// Appends the hash of an entry.
    pub fn push(&mut self, leaf: Hash) {
        let (mut carried, mut left) = (leaf, self.size);
        while left & 1 == 1 {
            let Some(peak) = self.peaks.pop() else { break };
            carried = Hash::of_node(&peak, &carried);
            left >>= 1;
        }
        self.peaks.push(carried);
        self.size += 1;
    }

    /// The number of entries.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree.
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else { return Hash::of_nothing() };
        peaks.fold(*last, |right, left| Hash::of_node(left, &right))
    }
}

/// Whether `path` proves that the leaf is at `index` of the tree with this size and root (RFC 9162, section 2.1.3.2).
pub fn is_included(leaf: Hash, index: u64, size: u64, path: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut node, mut last, mut hash) = (index, size - 1, leaf);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = Hash::of_node(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = Hash::of_node(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}
