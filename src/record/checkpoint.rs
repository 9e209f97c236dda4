//! Checkpoints: signed statements about the size and the root of a log (C2SP tlog-checkpoint).

use std::fmt;

use super::{
    key::{KeyName, SigningKey, VerifierKey},
    note::{NotANote, Note},
    tree::Hash,
};

/// The largest size. Every JSON number up to this size is exact (RFC 8785, section 3.2.2.3).
pub const MAX_SIZE: u64 = 1 << 53;

/// Why a file is not a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotACheckpoint {
    /// The file is not a signed note.
    #[error("it is not a signed note: {0}")]
    Note(#[from] NotANote),
    /// The text does not consist of an origin, a size and a root.
    #[error("its text is not an origin, a size and a root")]
    Form,
}

/// The statement of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The identity of the log.
    pub origin: KeyName,
    /// The number of entries.
    pub size: u64,
    /// The root of the tree.
    pub root: Hash,
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, self.root)
    }
}

/// A statement with signatures, which are not verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    head: Head,
    note: Note,
}

impl Checkpoint {
    /// Signs a statement with keys of the log.
    pub(super) fn sign(head: Head, keys: &[&SigningKey]) -> Self {
        let note = Note::sign(head.to_string(), keys);
        Self { head, note }
    }

    /// Reads a checkpoint. Extension lines are refused, because this log writes none.
    pub fn parse(file: &[u8]) -> Result<Self, NotACheckpoint> {
        let note = Note::parse(file)?;
        let head = head(note.text()).ok_or(NotACheckpoint::Form)?;
        Ok(Self { head, note })
    }

    /// The statement. It is not trusted before a signature is verified.
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// The statement with its signatures.
    pub const fn note(&self) -> &Note {
        &self.note
    }

    /// Adds the cosignature of a witness.
    #[cfg(test)]
    pub(super) fn add_signature(&mut self, key: &VerifierKey, bytes: Vec<u8>) {
        self.note.add(key, bytes);
    }

    /// Whether the key is a key of this log and signed the statement.
    pub fn is_signed_by(&self, key: &VerifierKey) -> bool {
        *key.name() == self.head.origin && self.note.is_signed_by(key)
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.note.fmt(f)
    }
}

fn head(text: &str) -> Option<Head> {
    let mut lines = text.strip_suffix('\n')?.split('\n');
    let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
    let size = size.parse().ok().filter(|size| *size <= MAX_SIZE)?;
    let head = Head { origin: origin.parse().ok()?, size, root: root.parse().ok()? };
    // The text must be equal, so that a size has no leading zero and no extension line follows.
    (head.to_string() == text).then_some(head)
}
