//! The subject of an approval: all content that approvers sign. A change of this content needs new approvals.
//!
//! The signed content has one of two forms:
//!
//! - Form 1, if the level requires no documents: namespace, system, purpose, level, jurisdictions and version.
//! - Form 2, if the level requires documents: the fields of form 1, the field `form` with the value 2, and the required
//!   documents. Each document has its digest, or its address if it has no digest.
//!
//! Both forms also contain the hosted models, and the risks if the level requires risks. Risks and documents have the
//! dates of their reviews only if an overdue review withholds the version.
//!
//! Hosted models, risks and dates that the system does not state add no field. So the digests that older releases of
//! Assent computed stay valid.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::effect::whole_seconds;
use crate::api::{AISystemSpec, Digest, HostedModel, ModelVersionSpec, ReviewDates, Risk, RiskLevelSpec};

/// The parts of a system and a version that approvers sign.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Subject<'a> {
    namespace: &'a str,
    system: &'a str,
    intended_purpose: &'a str,
    risk_level: &'a str,
    jurisdictions: BTreeSet<&'a str>,
    model_version: &'a ModelVersionSpec,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    hosted_models: BTreeMap<&'a str, SignedModel<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    risks: BTreeMap<&'a str, Risk>,
    #[serde(flatten)]
    required: Option<RequiredDocuments<'a>>,
}

/// The signed fields of a hosted model. The date of its retirement is not signed, so an owner can add this date without
/// a new approval.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SignedModel<'a> {
    provider: &'a str,
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agreement: Option<&'a Digest>,
}

impl<'a> From<&'a HostedModel> for SignedModel<'a> {
    fn from(hosted: &'a HostedModel) -> Self {
        Self {
            provider: &hosted.provider,
            model: &hosted.model,
            version: hosted.version.as_deref(),
            region: hosted.region.as_deref(),
            endpoint: hosted.endpoint.as_deref(),
            agreement: hosted.agreement.as_ref().map(|agreement| &agreement.digest),
        }
    }
}

/// The fields that only form 2 has, for a level that requires documents.
#[derive(Clone, Debug, Serialize)]
struct RequiredDocuments<'a> {
    form: u8,
    documents: BTreeSet<RequiredDocument<'a>>,
}

/// A document by its digest, or by its address if it has no digest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct RequiredDocument<'a> {
    #[serde(rename = "type")]
    type_: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<&'a Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_review: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_review: Option<Timestamp>,
}

/// The digests by which a decision can name the content of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectDigests {
    /// The digest that approvers sign.
    pub signed: Digest,
    /// The digest without the required documents, as older releases of Assent computed it, which did not sign
    /// documents. `None` if the level requires no documents. `None` also if the content has hosted models or risks,
    /// which these releases did not know.
    pub without_documents: Option<Digest>,
}

impl SubjectDigests {
    /// Whether a decision with `digest` names this content.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.signed == *digest || self.without_documents.as_ref() == Some(digest)
    }
}

impl<'a> Subject<'a> {
    /// The subject for `version` of `system` in `namespace`. Without a `level`, the subject contains no documents
    /// and no risks.
    pub fn new(
        namespace: &'a str,
        system: &'a AISystemSpec,
        level: Option<&'a RiskLevelSpec>,
        version: &'a ModelVersionSpec,
    ) -> Self {
        Self {
            namespace,
            system: &version.system,
            intended_purpose: &system.intended_purpose,
            risk_level: &system.risk_level,
            jurisdictions: system.jurisdictions.iter().map(String::as_str).collect(),
            model_version: version,
            hosted_models: system.hosted_models.iter().map(|m| (&*m.name, m.into())).collect(),
            risks: signed_risks(system, level),
            required: level.and_then(|level| required_documents(system, level)),
        }
    }

    /// SHA-256 over the canonical JSON (RFC 8785) of the subject.
    ///
    /// # Panics
    /// Never: the fields of a subject always serialise.
    pub fn digest(&self) -> Digest {
        let canonical =
            serde_jcs::to_vec(self).expect("strings, numbers, booleans and lists always serialise");
        Digest::from_sha256(Sha256::digest(canonical).into())
    }

    /// All digests by which a decision can name the subject.
    pub fn digests(&self) -> SubjectDigests {
        // Older releases of Assent computed the digest without documents, hosted models and risks. So a decision from such
        // a release can name this subject only if the subject has no hosted models and no risks.
        let is_possible = self.required.is_some() && self.hosted_models.is_empty() && self.risks.is_empty();
        let without = || Self { required: None, ..self.clone() }.digest();
        SubjectDigests { signed: self.digest(), without_documents: is_possible.then(without) }
    }
}

/// The risks of the system, if the level requires risks. The signed content has the dates of reviews only if an overdue
/// review of a risk withholds the version. So if the level only warns, a new review needs no new approval.
fn signed_risks<'a>(system: &'a AISystemSpec, level: Option<&RiskLevelSpec>) -> BTreeMap<&'a str, Risk> {
    let Some(level) = level.filter(|level| level.risks.is_some()) else { return BTreeMap::new() };
    let signs_dates = level.signs_reviews_of_risks();
    let signed = |risk: &Risk| {
        let review = if signs_dates { risk.review.clone() } else { ReviewDates::default() };
        Risk { review, ..risk.clone() }
    };
    system.risks.iter().map(|risk| (&*risk.name, signed(risk))).collect()
}

fn required_documents<'a>(
    system: &'a AISystemSpec,
    level: &'a RiskLevelSpec,
) -> Option<RequiredDocuments<'a>> {
    if level.documents.is_empty() {
        return None;
    }
    let required = system.documentation.iter().filter(|document| level.documents.contains(&document.type_));
    let is_signed = level.signs_reviews_of_documents();
    let date = |time: &Option<Time>| time.as_ref().filter(|_| is_signed).map(|time| whole_seconds(time.0));
    let documents = required.map(|document| RequiredDocument {
        type_: &document.type_,
        digest: document.digest.as_ref(),
        uri: document.digest.is_none().then_some(document.uri.as_str()),
        last_review: date(&document.review.last),
        next_review: date(&document.review.next),
    });
    Some(RequiredDocuments { form: 2, documents: documents.collect() })
}
