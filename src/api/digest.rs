//! A SHA-256 digest in the text form of OCI registries and Kubernetes. [`Digest`] accepts no other text.

use std::{borrow::Cow, fmt, str::FromStr};

use internment::ArcIntern;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A digest: `sha256:` and 64 lower-case hexadecimal digits (OCI image specification, "Digests").
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(ArcIntern<[u8; 32]>);

/// The error for a text that is not `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Debug, thiserror::Error)]
#[error("\"{0}\" is not a digest: use sha256: and 64 lower-case hexadecimal digits")]
pub struct InvalidDigest(String);

impl Digest {
    /// Makes a digest from the 32 bytes of a SHA-256 hash.
    pub fn from_sha256(hash: [u8; 32]) -> Self {
        Self(ArcIntern::new(hash))
    }

    /// The first eight hexadecimal digits, for generated names. Two different digests can have the same eight digits.
    pub fn eight(&self) -> String {
        self.hex(4)
    }

    /// The first twelve hexadecimal digits, for texts that people read. A decision must name all 64 digits.
    pub fn short(&self) -> String {
        self.hex(6)
    }

    fn hex(&self, bytes: usize) -> String {
        base16ct::lower::encode_string(&self.0[..bytes])
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let mut hash = [0; 32];
        let hex = text.strip_prefix("sha256:").filter(|hex| hex.len() == 2 * hash.len());
        let is_hash = hex.is_some_and(|hex| base16ct::lower::decode(hex, &mut hash).is_ok());
        if is_hash { Ok(Self::from_sha256(hash)) } else { Err(InvalidDigest(text.to_owned())) }
    }
}

impl TryFrom<String> for Digest {
    type Error = InvalidDigest;

    fn try_from(text: String) -> Result<Self, InvalidDigest> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex(32))
    }
}

impl JsonSchema for Digest {
    fn schema_name() -> Cow<'static, str> {
        "Digest".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": 71, "pattern": "^sha256:[0-9a-f]{64}$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_complete_lower_case_sha256_parses() {
        let good = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(good.parse::<Digest>().expect("valid").to_string(), good);
        for bad in
            ["", "sha256:", "latest", &good[..70], &good.to_uppercase(), &format!("{good}0"), "sha256:ßß"]
        {
            assert!(bad.parse::<Digest>().is_err(), "{bad} parsed");
        }
    }

    #[test]
    fn digest_of_a_hash_parses() {
        let digest = Digest::from_sha256([0xab; 32]);
        assert_eq!(digest.to_string().parse::<Digest>().expect("valid"), digest);
        assert_eq!(digest.short(), "abababababab");
    }
}
