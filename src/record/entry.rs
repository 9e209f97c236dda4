//! Entries, the leaves of the log: one canonical text for each (RFC 8785).
//!
//! ```text
//!  NewEntry ── index, time, digests of disclosures ──► Entry ──► canonical JSON, at most 4 KiB
//! ```

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{disclosure::DisclosureDigest, fact::Fact};

/// The largest number of bytes of an entry.
pub const MAX_ENTRY: usize = 4096;

/// The largest number of bytes of the identity of an entry.
const MAX_ID: usize = 120;

/// Why a text is not an entry of this log.
#[derive(Debug, thiserror::Error)]
pub enum NotAnEntry {
    /// The entry is too long.
    #[error("it has {0} bytes, and an entry has at most {MAX_ENTRY}")]
    TooLong(usize),
    /// The text is not JSON with the fields of an entry.
    #[error("it cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// The text is not the canonical text of its content, or has an unknown field.
    #[error("it is not the canonical text of its content (RFC 8785), or has an unknown field")]
    NotCanonical,
}

/// The identity of a fact: lower-case letters, digits, dots and hyphens. A fact is recorded once, so a log has each
/// identity once. It is also a file name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EntryId(String);

/// The error for a text that is not the identity of a fact.
#[derive(Debug, thiserror::Error)]
#[error(
    "\"{0}\" is not an identity of an entry: use at most {MAX_ID} lower-case letters, digits, dots and hyphens, and begin with a letter or a digit"
)]
pub struct InvalidId(String);

impl EntryId {
    /// The text of the identity.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A short hash of the identity. Two different identities with the same short hash cannot be found.
    pub(super) fn short_hash(&self) -> u128 {
        let hash: [u8; 32] = Sha256::digest(&self.0).into();
        hash.iter().take(16).fold(0, |sum, byte| sum << 8 | u128::from(*byte))
    }

    /// The file with the disclosures of the entry. The files are spread over 256 directories.
    pub(crate) fn content_path(&self) -> String {
        let directory = (self.short_hash() >> 120) & 0xff;
        format!("content/{directory:02x}/{}.json", self.0)
    }

    /// Returns the identity of the entry whose disclosures are in the file `path`. `None` if [`Self::content_path`] gives no
    /// such path.
    pub(super) fn of_content_path(path: &str) -> Option<Self> {
        let name = path.rsplit_once('/')?.1.strip_suffix(".json")?;
        let id: Self = name.parse().ok()?;
        (id.content_path() == path).then_some(id)
    }
}

impl FromStr for EntryId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let begins = text.bytes().next().is_some_and(is_plain);
        let fits =
            text.len() <= MAX_ID && text.bytes().all(|byte| is_plain(byte) || matches!(byte, b'.' | b'-'));
        if begins && fits { Ok(Self(text.to_owned())) } else { Err(InvalidId(text.to_owned())) }
    }
}

impl TryFrom<String> for EntryId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<EntryId> for String {
    fn from(id: EntryId) -> Self {
        id.0
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// The position in the log. The first entry has the index 0.
    pub index: u64,
    /// The time of the recorder. It does not decrease from entry to entry.
    pub recorded: Timestamp,
    /// The identity of the fact.
    pub id: EntryId,
    /// The fact.
    #[serde(flatten)]
    pub fact: Fact,
    /// The earlier entries on which this entry rests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rests_on: Vec<u64>,
    /// The digests of the disclosures, sorted (RFC 9901, section 4.2.4.1).
    #[serde(rename = "_sd", default, skip_serializing_if = "Vec::is_empty")]
    pub disclosures: Vec<DisclosureDigest>,
}

impl Entry {
    /// The canonical text.
    pub(super) fn text(&self) -> Result<Vec<u8>, NotAnEntry> {
        let text = serde_jcs::to_vec(self)?;
        if text.len() > MAX_ENTRY { Err(NotAnEntry::TooLong(text.len())) } else { Ok(text) }
    }

    /// Reads an entry.
    pub fn parse(text: &[u8]) -> Result<Self, NotAnEntry> {
        if text.len() > MAX_ENTRY {
            return Err(NotAnEntry::TooLong(text.len()));
        }
        let entry: Self = serde_json::from_slice(text)?;
        if entry.text()? == text { Ok(entry) } else { Err(NotAnEntry::NotCanonical) }
    }
}
