//! Verifies the signature of a DSSE envelope or a sigstore bundle, without network.
//!
//! ```text
//!  --key                             one signature must be valid for the key
//!  --key --trusted-root              a bundle: the entry of the transparency log must also be valid
//!  --identity --issuer               a bundle: certificate, log entry and signature must be valid
//!  none of these                     no signature is verified
//! ```

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use sigstore_verify::{
    PublicKeyVerificationPolicy, VerificationPolicy, Verifier,
    crypto::{self, KeyAlgorithm, SigningScheme, VerificationKey},
    trust_root::{SIGSTORE_PRODUCTION_TRUSTED_ROOT, TrustedRoot},
    types::{Bundle, DerPublicKey, Sha256Hash, SignatureBytes, SignatureContent},
};

use super::{Provenance, hex, refusal::Problem, ring_provider, text::shortened};

/// The key or the identity that must have signed a file.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// A public key in PEM: ECDSA P-256 or P-384, Ed25519, or RSA.
    pub key: Option<String>,
    /// The trusted root of sigstore in JSON. By default, the reader uses the root of the public instance, as it was
    /// when this program was built.
    pub trusted_root: Option<String>,
    /// The identity in the certificate, such as an e-mail address.
    pub identity: Option<String>,
    pub issuer: Option<String>,
}

impl Trust {
    /// The first option about signatures that the user gave. `None` if the user does not ask for a signature.
    pub(super) fn option(&self) -> Option<&'static str> {
        let options = [
            ("--key", &self.key),
            ("--identity", &self.identity),
            ("--issuer", &self.issuer),
            ("--trusted-root", &self.trusted_root),
        ];
        options.into_iter().find_map(|(name, value)| value.is_some().then_some(name))
    }
}

pub(super) struct Envelope<'a> {
    pub(super) payload_type: &'a str,
    pub(super) payload: &'a [u8],
    pub(super) signatures: Vec<Vec<u8>>,
}

impl Envelope<'_> {
    /// The bytes that the signatures cover: the pre-authentication encoding of DSSE.
    pub(super) fn signed_bytes(&self) -> Vec<u8> {
        let kind = self.payload_type;
        let head = format!("DSSEv1 {} {kind} {} ", kind.len(), self.payload.len());
        [head.as_bytes(), self.payload].concat()
    }
}

/// Verifies the signature of an envelope as `trust` requires, and returns who signed. `bundle` is the JSON text of the
/// bundle around the envelope, or `None` if there is no bundle. `subject` is the SHA-256 digest of one subject of the
/// statement.
pub(super) fn provenance(
    trust: &Trust,
    envelope: &Envelope<'_>,
    bundle: Option<&str>,
    subject: Option<&str>,
) -> Result<Provenance, Problem> {
    let Some(option) = trust.option() else { return Ok(Provenance::Unsigned) };
    ring_provider::install();
    match (&trust.key, &trust.identity, &trust.issuer) {
        (Some(key), None, None) => {
            let key = public_key(key)?;
            verify_key(&key, envelope)?;
            let logged_at = match (bundle, &trust.trusted_root) {
                (Some(bundle), Some(root)) => verify_log(&key, bundle, root, envelope, subject)?,
                (None, Some(_)) => return Err(needs_bundle("--trusted-root")),
                (_, None) => None,
            };
            Ok(Provenance::Key { fingerprint: hex(&Sha256::digest(key.as_bytes())), logged_at })
        }
        (None, Some(identity), Some(issuer)) => {
            let bundle = bundle.ok_or_else(|| needs_bundle("--identity"))?;
            let policy = VerificationPolicy::new(identity.as_str(), issuer.as_str());
            let root = trust.trusted_root.as_deref().unwrap_or(SIGSTORE_PRODUCTION_TRUSTED_ROOT);
            let signed_at = verify_bundle(bundle, root, envelope, subject, &policy)?;
            Ok(Provenance::Identity { identity: identity.clone(), issuer: issuer.clone(), signed_at })
        }
        (Some(_), ..) => Err(wrong_option(option, "cannot be combined with --identity or --issuer")),
        (None, Some(_), None) => Err(wrong_option("--identity", "needs --issuer")),
        (None, None, Some(_)) => Err(wrong_option("--issuer", "needs --identity")),
        (None, None, None) => Err(wrong_option("--trusted-root", "needs --key, or --identity and --issuer")),
    }
}

fn wrong_option(option: &'static str, why: impl Into<String>) -> Problem {
    Problem::Trust { option, why: why.into() }
}

fn needs_bundle(option: &'static str) -> Problem {
    wrong_option(
        option,
        "the file is a DSSE envelope without a certificate or log entry; give the sigstore bundle",
    )
}

fn invalid(error: &impl ToString) -> Problem {
    Problem::Signature(shortened(&error.to_string(), 512))
}

fn public_key(pem: &str) -> Result<DerPublicKey, Problem> {
    DerPublicKey::from_pem(pem.trim())
        .map_err(|error| wrong_option("--key", shortened(&error.to_string(), 256)))
}

fn verify_key(key: &DerPublicKey, envelope: &Envelope<'_>) -> Result<(), Problem> {
    let unusable = |error: crypto::Error| wrong_option("--key", shortened(&error.to_string(), 256));
    let signed = envelope.signed_bytes();
    for scheme in schemes(KeyAlgorithm::from_spki(key).map_err(unusable)?)? {
        let verifier = VerificationKey::from_spki_with_scheme(key, *scheme).map_err(unusable)?;
        let valid =
            |signature: &Vec<u8>| verifier.verify(&signed, &SignatureBytes::new(signature.clone())).is_ok();
        if envelope.signatures.iter().any(valid) {
            return Ok(());
        }
    }
    let count = envelope.signatures.len();
    Err(Problem::Signature(format!("none of the {count} signatures of the envelope is valid for the key")))
}

/// The signature schemes that signers use with a kind of key. DSSE does not name the scheme, so the reader tries each
/// scheme.
fn schemes(algorithm: KeyAlgorithm) -> Result<&'static [SigningScheme], Problem> {
    Ok(match algorithm {
        KeyAlgorithm::EcdsaP256 => &[SigningScheme::EcdsaP256Sha256],
        KeyAlgorithm::EcdsaP384 => &[SigningScheme::EcdsaP384Sha384, SigningScheme::EcdsaP384Sha256],
        KeyAlgorithm::Ed25519 => &[SigningScheme::Ed25519],
        KeyAlgorithm::Rsa => &[SigningScheme::RsaPkcs1Sha256, SigningScheme::RsaPssSha256],
        other => return Err(wrong_option("--key", format!("{other:?} keys are not supported"))),
    })
}

/// Verifies the log entry of a bundle that a key signed. Returns the time in the log or in a verified timestamp.
fn verify_log(
    key: &DerPublicKey,
    bundle: &str,
    root: &str,
    envelope: &Envelope<'_>,
    subject: Option<&str>,
) -> Result<Option<Timestamp>, Problem> {
    verify_bundle(bundle, root, envelope, subject, &PublicKeyVerificationPolicy::new(key.clone()))
}

fn verify_bundle(
    text: &str,
    root: &str,
    envelope: &Envelope<'_>,
    subject: Option<&str>,
    policy: &dyn sigstore_verify::Policy,
) -> Result<Option<Timestamp>, Problem> {
    let bundle = Bundle::from_json(text).map_err(|error| invalid(&error))?;
    // `sigstore-verify` parses the bundle again. The payload that it finds must be the payload that this program
    // parsed.
    match &bundle.content {
        SignatureContent::DsseEnvelope(verified)
            if verified.payload.as_bytes() == envelope.payload
                && verified.payload_type == envelope.payload_type => {}
        _ => return Err(Problem::Signature("the bundle has another payload than the envelope".to_owned())),
    }
    if bundle.verification_material.tlog_entries.is_empty() {
        return Err(Problem::Signature("the bundle has no entry of a transparency log".to_owned()));
    }
    let root =
        TrustedRoot::from_json(root).map_err(|error| wrong_option("--trusted-root", error.to_string()))?;
    let verifier = Verifier::new(&root).map_err(|error| wrong_option("--trusted-root", error.to_string()))?;
    let subject = subject.ok_or_else(|| Problem::Signature("no subject has a SHA-256 digest".to_owned()))?;
    let subject = Sha256Hash::from_hex(subject).map_err(|error| invalid(&error))?;
    let result = verifier.verify(subject, &bundle, policy).map_err(|error| invalid(&error))?;
    Ok(result.integrated_time().or_else(|| result.verified_timestamps().iter().min().copied()))
}
