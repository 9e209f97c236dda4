//! The Ed25519 keys of logs and witnesses. The text of a public key is as in C2SP signed-note. The text of a private key is
//! as in Go's package `golang.org/x/mod/sumdb/note`.
//!
//! ```text
//!  PRIVATE+KEY+name+id+seed ◄─► SigningKey ──► VerifierKey ◄─► name+id+public key
//! ```

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{
    rand::{SecureRandom as _, SystemRandom},
    signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// What a key signs (C2SP signed-note, "Signature types").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// The text of a note.
    Note,
    /// A checkpoint and a time, as a witness (C2SP tlog-cosignature).
    Cosignature,
}

impl Purpose {
    const fn identifier(self) -> u8 {
        match self {
            Self::Note => 0x01,
            Self::Cosignature => 0x04,
        }
    }
}

/// Why a key has no effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// The text does not have the form of a key.
    #[error("it does not have the form NAME+ID+KEY")]
    Form,
    /// The name is empty, or has a space, a plus sign or a control character.
    #[error("the name is empty, or has a space, a plus sign or a control character")]
    Name,
    /// The key has a type other than Ed25519.
    #[error("the key type {0:#04x} is not supported, only the Ed25519 types 0x01 and 0x04 are")]
    Type(u8),
    /// The ID is not the hash of the name and the key.
    #[error("the ID {0:08x} does not belong to this name and key")]
    Id(u32),
    /// The system has no random numbers.
    #[error("the system returned no random numbers")]
    Random,
}

/// The name of a key. It has no Unicode space, plus sign or control character (C2SP signed-note, "Format").
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyName(String);

impl KeyName {
    /// The text of the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyName {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let is_odd = |char: char| char.is_whitespace() || char.is_control() || char == '+';
        if text.is_empty() || text.contains(is_odd) {
            Err(InvalidKey::Name)
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A public key with its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VerifierKey {
    name: KeyName,
    purpose: Purpose,
    public: [u8; 32],
}

impl VerifierKey {
    /// The name of the key. The name of a log's key is the origin of the log.
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// What the key signs.
    pub const fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// The 32 bytes of the key. They are equal for all names and purposes of a key.
    pub(super) const fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// The ID in signature lines: the first four bytes of the hash of name, purpose and key.
    pub fn id(&self) -> u32 {
        let hash = Sha256::new()
            .chain_update(self.name.as_str())
            .chain_update([b'\n', self.purpose.identifier()])
            .chain_update(self.public)
            .finalize();
        u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
    }

    /// Whether the key made this signature of `message`.
    pub(super) fn is_valid(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.public).verify(message, signature).is_ok()
    }
}

impl FromStr for VerifierKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let (name, id, kind, public) = split(text)?;
        let purpose = match kind {
            0x01 => Purpose::Note,
            0x04 => Purpose::Cosignature,
            other => return Err(InvalidKey::Type(other)),
        };
        let key = Self { name, purpose, public };
        if key.id() == id { Ok(key) } else { Err(InvalidKey::Id(id)) }
    }
}

impl TryFrom<String> for VerifierKey {
    type Error = InvalidKey;

    fn try_from(text: String) -> Result<Self, InvalidKey> {
        text.parse()
    }
}

impl From<VerifierKey> for String {
    fn from(key: VerifierKey) -> Self {
        key.to_string()
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{:08x}+{}", self.name, self.id(), encoded(self.purpose, &self.public))
    }
}

/// A private key with its name.
pub struct SigningKey {
    seed: [u8; 32],
    pair: Ed25519KeyPair,
    verifier: VerifierKey,
}

impl SigningKey {
    /// The prefix that keeps a private key from being used as a public key. Go's `note` package defines it.
    const PREFIX: &str = "PRIVATE+KEY+";

    /// A new random key.
    pub fn generate(name: KeyName, purpose: Purpose) -> Result<Self, InvalidKey> {
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).map_err(|_| InvalidKey::Random)?;
        Self::of(name, purpose, seed)
    }

    pub(super) fn of(name: KeyName, purpose: Purpose, seed: [u8; 32]) -> Result<Self, InvalidKey> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| InvalidKey::Form)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| InvalidKey::Form)?;
        Ok(Self { seed, pair, verifier: VerifierKey { name, purpose, public } })
    }

    /// The public key.
    pub const fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The text of the private key, as Go's `note` package reads it. It is a secret.
    pub fn secret_text(&self) -> String {
        let VerifierKey { name, purpose, .. } = &self.verifier;
        format!("{}{name}+{:08x}+{}", Self::PREFIX, self.verifier.id(), encoded(*purpose, &self.seed))
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }
}

impl FromStr for SigningKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let (name, id, kind, seed) = split(text.strip_prefix(Self::PREFIX).ok_or(InvalidKey::Form)?)?;
        let purpose = match kind {
            0x01 => Purpose::Note,
            0x04 => Purpose::Cosignature,
            other => return Err(InvalidKey::Type(other)),
        };
        let key = Self::of(name, purpose, seed)?;
        if key.verifier.id() == id { Ok(key) } else { Err(InvalidKey::Id(id)) }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.verifier)
    }
}

fn encoded(purpose: Purpose, key: &[u8; 32]) -> String {
    let mut bytes = vec![purpose.identifier()];
    bytes.extend(key);
    STANDARD.encode(bytes)
}

/// The name, the ID, the type and the key of `NAME+ID+KEY`. Base64 can contain plus signs, and a name cannot.
fn split(text: &str) -> Result<(KeyName, u32, u8, [u8; 32]), InvalidKey> {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(InvalidKey::Form);
    };
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if id.len() != 8 || !id.bytes().all(is_hex) {
        return Err(InvalidKey::Form);
    }
    let id = u32::from_str_radix(id, 16).map_err(|_| InvalidKey::Form)?;
    let key = STANDARD.decode(key).map_err(|_| InvalidKey::Form)?;
    let (kind, key) = key.split_first().ok_or(InvalidKey::Form)?;
    let key = key.try_into().map_err(|_| match kind {
        0x01 | 0x04 => InvalidKey::Form,
        other => InvalidKey::Type(*other),
    })?;
    Ok((name.parse()?, id, *kind, key))
}
