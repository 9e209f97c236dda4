//! DSSE envelopes and sigstore bundles around an in-toto statement.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::{
    Format, Options, Provenance,
    json::parse,
    node::Node,
    refusal::Problem,
    select::Content,
    signature::{self, Envelope},
    statement,
    text::shown,
};

/// Accepts base64 with and without padding, because some signers write none. DSSE allows the standard and the URL-safe
/// alphabet of base64, so there is one engine for each.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Reads the statement in an envelope. If the options require a signature, verifies the signature first.
pub(super) fn content(
    format: Format,
    root: &Node<'_>,
    text: &str,
    options: &Options,
) -> Result<(Content, Provenance), Problem> {
    let bundle = format == Format::SigstoreBundle;
    let envelope = if bundle { envelope_of_bundle(root)? } else { root.clone() };
    let payload_type = envelope.need("payloadType")?.text()?;
    if !is_in_toto(payload_type) {
        let why = "the payload is not an in-toto statement in JSON";
        return Err(Problem::field("payloadType", format!("{}: {why}", shown(payload_type))));
    }
    let payload = decoded(&envelope.need("payload")?)?;
    let signatures = envelope.need("signatures")?.items()?;
    let signatures =
        signatures.iter().map(|signature| decoded(&signature.need("sig")?)).collect::<Result<_, _>>()?;
    let envelope = Envelope { payload_type, payload: &payload, signatures };
    let payload_text =
        std::str::from_utf8(&payload).map_err(|_| Problem::field("payload", "is not UTF-8 text"))?;
    let value = parse(payload_text)?;
    let statement = Node::root(&value);
    let subject = statement::sha256_subjects(&statement)?.into_iter().next();
    let provenance =
        signature::provenance(&options.trust, &envelope, bundle.then_some(text), subject.as_deref())?;
    Ok((statement::content(&statement, options)?, provenance))
}

fn envelope_of_bundle<'a>(root: &Node<'a>) -> Result<Node<'a>, Problem> {
    root.get("dsseEnvelope").ok_or(Problem::Unsupported {
        tool: "sigstore",
        why: "the bundle is the signature of another file, and it has no statement with values",
    })
}

/// Whether a media type is `application/vnd.in-toto+json` or `application/vnd.in-toto.PREDICATE+json`.
fn is_in_toto(payload_type: &str) -> bool {
    let rest =
        payload_type.strip_prefix("application/vnd.in-toto").and_then(|rest| rest.strip_suffix("+json"));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn decoded(node: &Node<'_>) -> Result<Vec<u8>, Problem> {
    let text = node.text()?;
    let engine = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
    engine.decode(text).map_err(|_| node.expected("a text in base64"))
}

#[cfg(test)]
mod tests {
    use ring::{
        rand::SystemRandom,
        signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
    };

    use super::super::{
        Trust,
        testing::{edited, problem, problem_with, read, read_with, row},
    };
    use super::*;

    const STATEMENT: &[u8] = include_bytes!("samples/statement-assessment.json");
    const TYPE: &str = "application/vnd.in-toto+json";
    const BUNDLE: &[u8] = include_bytes!("samples/bundle-other-predicate.sigstore.json");
    const IDENTITY: &str =
        "https://github.com/prefix-dev/sigstore-example/.github/workflows/action.yaml@refs/heads/main";
    const ISSUER: &str = "https://token.actions.githubusercontent.com";

    fn base64(bytes: &[u8]) -> String {
        base64::engine::general_purpose::STANDARD.encode(bytes)
    }

    fn pem(spki_prefix: &[u8], key: &[u8]) -> String {
        let der = [spki_prefix, key].concat();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", base64(&der))
    }

    /// The public key of a new key pair in PEM, and a function that signs with the private key.
    fn p256() -> (String, impl Fn(&[u8]) -> Vec<u8>) {
        const SPKI: [u8; 26] = [
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
            0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
        ];
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random).unwrap();
        let public = pem(&SPKI, pair.public_key().as_ref());
        (public, move |message: &[u8]| pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec())
    }

    fn ed25519() -> (String, impl Fn(&[u8]) -> Vec<u8>) {
        const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        let public = pem(&SPKI, pair.public_key().as_ref());
        (public, move |message: &[u8]| pair.sign(message).as_ref().to_vec())
    }

    fn signed(payload: &[u8], sign: &impl Fn(&[u8]) -> Vec<u8>) -> String {
        let envelope = Envelope { payload_type: TYPE, payload, signatures: Vec::new() };
        let signature = base64(&sign(&envelope.signed_bytes()));
        let signatures = format!(r#"[{{"keyid":"other","sig":"AAAA"}},{{"sig":"{signature}"}}]"#);
        format!(r#"{{"payloadType":"{TYPE}","payload":"{}","signatures":{signatures}}}"#, base64(payload))
    }

    fn with_key(key: &str) -> Options {
        Options { trust: Trust { key: Some(key.to_owned()), ..Trust::default() }, ..Options::default() }
    }

    fn with_identity(identity: &str) -> Options {
        let trust = Trust {
            identity: Some(identity.to_owned()),
            issuer: Some(ISSUER.to_owned()),
            ..Trust::default()
        };
        Options { trust, ..Options::default() }
    }

    #[test]
    fn signed_bytes_are_those_of_the_example_in_the_specification() {
        let envelope = Envelope {
            payload_type: "http://example.com/HelloWorld",
            payload: b"hello world",
            signatures: vec![],
        };
        assert_eq!(envelope.signed_bytes(), b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    }

    #[test]
    fn signature_of_the_key_is_verified() {
        fn check(key: &str, other: &str, sign: &impl Fn(&[u8]) -> Vec<u8>) {
            let file = signed(STATEMENT, sign);
            let reading = read_with(file.as_bytes(), &with_key(key)).unwrap();
            assert!(
                matches!(reading.provenance, Provenance::Key { ref fingerprint, logged_at: None } if fingerprint.len() == 64)
            );
            assert_eq!(row(&reading.results[0]), "toxicity = 0.012 LowerIsBetter, 500 samples, 0 errors");
            let error = problem_with(&file, &with_key(other));
            assert_eq!(
                error,
                "the signature is not valid: none of the 2 signatures of the envelope is valid for the key"
            );
            let changed = String::from_utf8_lossy(STATEMENT).replace("0.012", "0.001");
            let forged = file.replace(&base64(STATEMENT), &base64(changed.as_bytes()));
            assert!(problem_with(&forged, &with_key(key)).starts_with("the signature is not valid"));
            assert_eq!(read(forged.as_bytes()).unwrap().provenance, Provenance::Unsigned);
        }
        let ((p256_key, p256_sign), (ed25519_key, ed25519_sign)) = (p256(), ed25519());
        check(&p256_key, &ed25519_key, &p256_sign);
        check(&ed25519_key, &p256_key, &ed25519_sign);
    }

    #[test]
    fn signatures_of_securesystemslib_are_valid() {
        let (ecdsa, rsa) = (include_str!("samples/dsse-ecdsa.pub"), include_str!("samples/dsse-rsa.pub"));
        for (file, key, other) in [
            (include_str!("samples/dsse-ecdsa.json"), ecdsa, rsa),
            (include_str!("samples/dsse-rsa.json"), rsa, ecdsa),
        ] {
            let reading = read_with(file.as_bytes(), &with_key(key)).unwrap();
            assert!(matches!(reading.provenance, Provenance::Key { .. }));
            assert_eq!(reading.format, Format::Dsse);
            assert!(problem_with(file, &with_key(other)).starts_with("the signature is not valid"));
        }
    }

    #[test]
    fn payload_type_is_part_of_the_signature() {
        let (key, sign) = p256();
        let file = signed(STATEMENT, &sign).replace(TYPE, "application/vnd.in-toto.other+json");
        assert!(problem_with(&file, &with_key(&key)).starts_with("the signature is not valid"));
        let file = signed(STATEMENT, &sign).replace(TYPE, "application/json");
        assert!(problem(&file).contains("not an in-toto statement"));
    }

    #[test]
    fn envelope_without_a_signature_is_not_verified() {
        let (key, sign) = p256();
        let file = signed(STATEMENT, &sign);
        let none = format!("{}[]}}", file.split_once('[').unwrap().0);
        assert!(problem_with(&none, &with_key(&key)).contains("none of the 0 signatures"));
        let plain = std::str::from_utf8(STATEMENT).unwrap();
        assert_eq!(
            problem_with(plain, &with_key(&key)),
            "the file is not signed, but --key requires a signature"
        );
        assert!(problem_with("a: 1", &with_key(&key)).contains("unknown"));
    }

    #[test]
    fn options_for_the_signature_are_checked() {
        let (key, sign) = p256();
        let file = signed(STATEMENT, &sign);
        let options = |trust| Options { trust, ..Options::default() };
        let some = |text: &str| Some(text.to_owned());
        assert!(problem_with(&file, &with_key("no key")).starts_with("--key: "));
        for (trust, expected) in [
            (Trust { identity: some("me"), ..Trust::default() }, "--identity: needs --issuer"),
            (Trust { issuer: some("me"), ..Trust::default() }, "--issuer: needs --identity"),
            (Trust { trusted_root: some("{}"), ..Trust::default() }, "--trusted-root: needs --key"),
            (Trust { key: some(&key), issuer: some("x"), ..Trust::default() }, "--key: cannot be combined"),
            (
                Trust { key: some(&key), trusted_root: some("{}"), ..Trust::default() },
                "--trusted-root: the file is a DSSE",
            ),
        ] {
            let error = problem_with(&file, &options(trust));
            assert!(error.starts_with(expected), "{error}");
        }
        assert!(problem_with(&file, &with_identity("me")).contains("give the sigstore bundle"));
    }

    /// In `BUNDLE`, the certificate, the log entry and the signature are valid, so the predicate is the only problem.
    #[test]
    fn bundle_of_an_identity_is_verified_before_its_statement_is_read() {
        let text = std::str::from_utf8(BUNDLE).unwrap();
        let error = problem_with(text, &with_identity(IDENTITY));
        assert!(error.starts_with("the predicate type https://schemas.conda.org"), "{error}");
        let error = problem_with(text, &with_identity("https://github.com/other"));
        assert!(error.starts_with("the signature is not valid: "), "{error}");
        let tampered = edited(BUNDLE, "\"sig\":\"MEYCIQC/47", "\"sig\":\"MEYCIQC/48");
        let error = problem_with(&tampered, &with_identity(IDENTITY));
        assert!(error.starts_with("the signature is not valid: "), "{error}");
    }

    #[test]
    fn bundle_of_a_key_needs_a_log_entry_only_if_a_trusted_root_is_given() {
        let (key, sign) = p256();
        let envelope = Envelope { payload_type: TYPE, payload: STATEMENT, signatures: Vec::new() };
        let signature = base64(&sign(&envelope.signed_bytes()));
        let payload = base64(STATEMENT);
        let file = format!(
            r#"{{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json",
                "verificationMaterial":{{"publicKey":{{"hint":"x"}}}},
                "dsseEnvelope":{{"payloadType":"{TYPE}","payload":"{payload}","signatures":[{{"sig":"{signature}"}}]}}}}"#
        );
        let reading = read_with(file.as_bytes(), &with_key(&key)).unwrap();
        assert!(matches!(reading.provenance, Provenance::Key { logged_at: None, .. }));
        assert_eq!(reading.format, Format::SigstoreBundle);
        let mut options = with_key(&key);
        options.trust.trusted_root =
            Some(sigstore_verify::trust_root::SIGSTORE_PRODUCTION_TRUSTED_ROOT.to_owned());
        let error = problem_with(&file, &options);
        assert_eq!(error, "the signature is not valid: the bundle has no entry of a transparency log");
        let error = problem_with(&file, &with_identity(IDENTITY));
        assert!(error.starts_with("the signature is not valid: "), "{error}");
    }

    #[test]
    fn bundle_without_a_statement_is_refused() {
        let text = r#"{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","messageSignature":{}}"#;
        assert!(problem(text).contains("the bundle is the signature of another file"));
    }

    #[test]
    fn both_alphabets_of_base64_are_read() {
        let value = parse(r#"["-_8", "+/8=", "+/8", "*"]"#).unwrap();
        let items = Node::root(&value).items().unwrap();
        for item in &items[..3] {
            assert_eq!(decoded(item).unwrap(), [0xfb, 0xff]);
        }
        assert!(decoded(&items[3]).is_err());
    }
}
