//! The keys of the API server for TLS and for service account tokens. Each control plane generates new keys, so the
//! repository contains no key.
//!
//! ```text
//!  ca.crt ──────────────── signs ──> apiserver.crt
//!  service-account.key ─── signs ──> tokens of service accounts
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rcgen::{KeyUsagePurpose, PKCS_ECDSA_P256_SHA256};

/// The names in the certificate of the API server.
const NAMES: [&str; 5] =
    ["127.0.0.1", "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];

pub struct Certificates {
    pub ca: PathBuf,
    pub server: PathBuf,
    pub server_key: PathBuf,
    pub service_account_key: PathBuf,
    pub service_account_public_key: PathBuf,
}

impl Certificates {
    /// Generates the keys and certificates. Writes all except the private key of the CA to `directory`.
    pub fn create(directory: &Path) -> Result<Self> {
        let files = Self {
            ca: directory.join("ca.crt"),
            server: directory.join("apiserver.crt"),
            server_key: directory.join("apiserver.key"),
            service_account_key: directory.join("service-account.key"),
            service_account_public_key: directory.join("service-account.pub"),
        };
        let (ca, issuer) = authority()?;
        let key = key()?;
        let server = server()?.signed_by(&key, &issuer)?;
        write(&files.ca, &ca)?;
        write(&files.server, &server.pem())?;
        write(&files.server_key, &key.serialize_pem())?;
        let key = self::key()?;
        write(&files.service_account_key, &key.serialize_pem())?;
        write(&files.service_account_public_key, &key.public_key_pem())?;
        Ok(files)
    }
}

fn authority() -> Result<(String, Issuer<'static, KeyPair>)> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "assent test control plane");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let key = key()?;
    let certificate = params.self_signed(&key)?;
    Ok((certificate.pem(), Issuer::new(params, key)))
}

fn server() -> Result<CertificateParams> {
    let mut params = CertificateParams::new(NAMES.map(String::from))?;
    params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn key() -> Result<KeyPair> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("generating a key")
}

fn write(path: &Path, pem: &str) -> Result<()> {
    fs::write(path, pem).with_context(|| format!("writing {}", path.display()))
}
