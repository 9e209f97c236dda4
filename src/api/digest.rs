//! A SHA-256 digest in the text form of OCI registries and Kubernetes. The type accepts no other text.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::Text;

/// A digest: `sha256:` and 64 lower-case hexadecimal digits (OCI image specification, "Digests").
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(Text);

/// The error for a text that is not `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Debug, thiserror::Error)]
#[error("\"{0}\" is not a digest: use sha256: and 64 lower-case hexadecimal digits")]
pub struct InvalidDigest(String);

impl Digest {
    /// Makes a digest from the 32 bytes of a SHA-256 hash.
    pub fn from_sha256(hash: [u8; 32]) -> Self {
        use fmt::Write;
        let mut text = String::with_capacity(71);
        text.push_str("sha256:");
        for byte in hash {
            write!(text, "{byte:02x}").expect("a String takes every write");
        }
        Self(text.into())
    }

    /// The whole text of the digest, with `sha256:`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first eight hexadecimal digits, for generated names. Two different digests can have the same eight digits.
    pub fn eight(&self) -> &str {
        &self.short()[..8]
    }

    /// The first twelve hexadecimal digits, for people. They are too short to sign.
    pub fn short(&self) -> &str {
        &self.0["sha256:".len()..][..12]
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let is_hex = |hex: &str| {
            hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        match text.strip_prefix("sha256:") {
            Some(hex) if is_hex(hex) => Ok(Self(text.into())),
            _ => Err(InvalidDigest(text.to_owned())),
        }
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
        digest.0.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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
        assert_eq!(good.parse::<Digest>().expect("valid").as_str(), good);
        for bad in
            ["", "sha256:", "latest", &good[..70], &good.to_uppercase(), &format!("{good}0"), "sha256:ßß"]
        {
            assert!(bad.parse::<Digest>().is_err(), "{bad} parsed");
        }
    }

    #[test]
    fn digest_of_a_hash_parses() {
        let digest = Digest::from_sha256([0xab; 32]);
        assert_eq!(digest.as_str().parse::<Digest>().expect("valid"), digest);
        assert_eq!(digest.short(), "abababababab");
    }
}
