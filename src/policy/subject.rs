//! What an approver signs: everything that, if it changed, would need to be asked about again.

use std::collections::BTreeSet;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::api::{AISystemSpec, Digest, ModelVersionSpec};

/// The subject of an approval; what of a system and a version is material.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Subject<'a> {
    namespace: &'a str,
    system: &'a str,
    intended_purpose: &'a str,
    risk_level: &'a str,
    jurisdictions: BTreeSet<&'a str>,
    model_version: &'a ModelVersionSpec,
}

impl<'a> Subject<'a> {
    /// The subject that `version` of `system` in `namespace` is.
    pub fn new(namespace: &'a str, system: &'a AISystemSpec, version: &'a ModelVersionSpec) -> Self {
        Self {
            namespace,
            system: &version.system,
            intended_purpose: &system.intended_purpose,
            risk_level: &system.risk_level,
            jurisdictions: system.jurisdictions.iter().map(String::as_str).collect(),
            model_version: version,
        }
    }

    /// SHA-256 over the canonical JSON (RFC 8785) of the subject.
    ///
    /// # Panics
    /// Never: what a subject is made of always serialises.
    pub fn digest(&self) -> Digest {
        let canonical = serde_jcs::to_vec(self).expect("strings, booleans and lists always serialise");
        Digest::from_sha256(Sha256::digest(canonical).into())
    }
}
