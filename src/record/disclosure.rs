//! Personal data beside the log: the log has salted digests, and the values can be erased (RFC 9901).
//!
//! ```text
//!  name, value ── random salt ──► Disclosure: base64url of [salt, name, value] ──► content/…/ID.json
//!                                     └─ SHA-256 ──► DisclosureDigest ──► "_sd" of the entry
//! ```

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::entry::EntryId;

/// The number of random bytes of a salt (RFC 9901, section 9.3).
const SALT: usize = 16;

/// Why a text is not a disclosure or not a file of disclosures.
#[derive(Debug, thiserror::Error)]
pub enum InvalidDisclosure {
    /// The text is not base64url of a JSON list of salt, name and value.
    #[error("a disclosure is not base64url of a list of salt, name and value")]
    Form,
    /// The file is not JSON with an identity and disclosures.
    #[error("the file cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// The file is not the canonical text of its content.
    #[error("the file is not the canonical text of its content")]
    NotCanonical,
    /// The system has no random numbers.
    #[error("the system returned no random numbers for a salt")]
    Random,
}

/// The digest of a disclosure.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DisclosureDigest([u8; 32]);

impl TryFrom<String> for DisclosureDigest {
    type Error = InvalidDisclosure;

    fn try_from(text: String) -> Result<Self, InvalidDisclosure> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidDisclosure::Form)?;
        bytes.try_into().map(Self).map_err(|_| InvalidDisclosure::Form)
    }
}

impl From<DisclosureDigest> for String {
    fn from(digest: DisclosureDigest) -> Self {
        URL_SAFE_NO_PAD.encode(digest.0)
    }
}

/// A salted value. The text is kept as it is, because the digest is over the text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Disclosure(String);

impl Disclosure {
    /// Salts a value.
    fn new(name: &str, value: &Value) -> Result<Self, InvalidDisclosure> {
        let mut salt = [0; SALT];
        SystemRandom::new().fill(&mut salt).map_err(|_| InvalidDisclosure::Random)?;
        let json = serde_json::to_vec(&(URL_SAFE_NO_PAD.encode(salt), name, value))?;
        Ok(Self(URL_SAFE_NO_PAD.encode(json)))
    }

    /// The digest in the entry.
    pub fn digest(&self) -> DisclosureDigest {
        DisclosureDigest(Sha256::digest(&self.0).into())
    }

    /// The name and the value.
    pub fn value(&self) -> Result<(String, Value), InvalidDisclosure> {
        let json = URL_SAFE_NO_PAD.decode(&self.0).map_err(|_| InvalidDisclosure::Form)?;
        let (_, name, value): (String, String, Value) =
            serde_json::from_slice(&json).map_err(|_| InvalidDisclosure::Form)?;
        Ok((name, value))
    }
}

/// The values of a fact that are personal data, by name.
pub type Personal = BTreeMap<String, Value>;

/// The file with the disclosures of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// The identity of the entry.
    pub id: EntryId,
    /// The disclosures that are not erased.
    pub disclosures: Vec<Disclosure>,
}

impl Content {
    /// Salts the values of an entry.
    pub(super) fn new(id: EntryId, values: &Personal) -> Result<Self, InvalidDisclosure> {
        let disclosures = values.iter().map(|(name, value)| Disclosure::new(name, value));
        Ok(Self { id, disclosures: disclosures.collect::<Result<_, _>>()? })
    }

    /// The digests in the entry, sorted so that their order tells nothing.
    pub(super) fn digests(&self) -> Vec<DisclosureDigest> {
        let mut digests: Vec<_> = self.disclosures.iter().map(Disclosure::digest).collect();
        digests.sort_unstable();
        digests
    }

    /// The file.
    pub(super) fn file(&self) -> Result<Vec<u8>, InvalidDisclosure> {
        Ok(serde_jcs::to_vec(self)?)
    }

    /// Reads a file.
    pub fn parse(file: &[u8]) -> Result<Self, InvalidDisclosure> {
        let content: Self = serde_json::from_slice(file)?;
        if content.file()? == file { Ok(content) } else { Err(InvalidDisclosure::NotCanonical) }
    }
}
