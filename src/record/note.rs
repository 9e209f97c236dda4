//! Signed notes: a text, an empty line, and a line for each signature (C2SP signed-note).
//!
//! ```text
//!  text that ends with a newline
//!  ⏎
//!  — NAME base64(ID ‖ signature)
//! ```

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::key::{KeyName, SigningKey, VerifierKey};

/// The longest note that is read. It has room for a checkpoint and a hundred signatures of a post-quantum key.
const MAX_SIZE: usize = 1 << 19;

/// The largest number of signatures. C2SP signed-note requires at least 16.
const MAX_SIGNATURES: usize = 100;

/// Why a text is not a signed note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotANote {
    /// The note is too long.
    #[error("it is longer than {MAX_SIZE} bytes")]
    TooLong,
    /// The note has a control character other than a newline, or is not UTF-8.
    #[error("it has a control character, or is not UTF-8")]
    Character,
    /// No empty line separates a text from signatures.
    #[error("it has no text and signatures with an empty line between them")]
    Form,
    /// A line after the empty line is not a signature.
    #[error("line {0} after the text is not a signature")]
    Signature(usize),
    /// The note has too many signatures.
    #[error("it has more than {MAX_SIGNATURES} signatures")]
    TooMany,
}

/// A signature line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    name: KeyName,
    id: u32,
    bytes: Vec<u8>,
}

impl Signature {
    /// Whether the line names this key.
    pub(super) fn is_by(&self, key: &VerifierKey) -> bool {
        self.name == *key.name() && self.id == key.id()
    }

    /// The signature without the ID of the key.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A text with signatures, which are not verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

impl Note {
    /// Signs a text, which must end with a newline.
    pub(super) fn sign(text: String, keys: &[&SigningKey]) -> Self {
        let mut note = Self { text, signatures: Vec::new() };
        for key in keys {
            let bytes = key.sign(note.text.as_bytes());
            note.add(key.verifier(), bytes);
        }
        note
    }

    /// Adds the signature of a key.
    pub(super) fn add(&mut self, key: &VerifierKey, bytes: Vec<u8>) {
        self.signatures.push(Signature { name: key.name().clone(), id: key.id(), bytes });
    }

    /// Reads a note.
    pub fn parse(file: &[u8]) -> Result<Self, NotANote> {
        if file.len() > MAX_SIZE {
            return Err(NotANote::TooLong);
        }
        let note = std::str::from_utf8(file).map_err(|_| NotANote::Character)?;
        if note.bytes().any(|byte| byte < 0x20 && byte != b'\n') {
            return Err(NotANote::Character);
        }
        let (text, lines) = note.rsplit_once("\n\n").ok_or(NotANote::Form)?;
        let lines = lines.strip_suffix('\n').ok_or(NotANote::Form)?;
        if lines.lines().count() > MAX_SIGNATURES {
            return Err(NotANote::TooMany);
        }
        let signature = |(at, line)| signature(line).ok_or(NotANote::Signature(at + 1));
        let signatures = lines.split('\n').enumerate().map(signature).collect::<Result<_, _>>()?;
        Ok(Self { text: format!("{text}\n"), signatures })
    }

    /// The text with its last newline. It is not trusted before a signature is verified.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures.
    pub(super) fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Whether the key signed the text. `false` too if one of several signatures of the key is invalid.
    pub fn is_signed_by(&self, key: &VerifierKey) -> bool {
        let mut signed = self.signatures.iter().filter(|signature| signature.is_by(key)).peekable();
        signed.peek().is_some()
            && signed.all(|signature| key.is_valid(self.text.as_bytes(), &signature.bytes))
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for Signature { name, id, bytes } in &self.signatures {
            let mut signed = id.to_be_bytes().to_vec();
            signed.extend(bytes);
            writeln!(f, "— {name} {}", STANDARD.encode(signed))?;
        }
        Ok(())
    }
}

fn signature(line: &str) -> Option<Signature> {
    let (name, encoded) = line.strip_prefix("— ")?.split_once(' ')?;
    let decoded = STANDARD.decode(encoded).ok()?;
    let (id, bytes) = decoded.split_first_chunk::<4>()?;
    let signature =
        Signature { name: name.parse().ok()?, id: u32::from_be_bytes(*id), bytes: bytes.to_vec() };
    (!bytes.is_empty()).then_some(signature)
}
