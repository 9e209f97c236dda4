//! Records the content on which people decided: one [`DecisionSubject`] for each digest that a decision names.
//!
//! ```text
//!  digest of a decision by a known person ───┐
//!  AISystem and ModelVersion of this digest ─┴─► not recorded yet: create the DecisionSubject sha256-…
//! ```
//!
//! The operator keeps the content of the previous compile in memory. So the operator can record the content even if one
//! user deletes a version while another user decides on the version.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, PostParams},
};
use tracing::{info, warn};

use super::{
    Error,
    by_namespace::ByNamespace,
    index::{Cached, NamespaceFacts},
    status::Statuses,
    write::MANAGER,
};
use crate::{
    api::{AISystem, DecisionSubject, DecisionSubjectSpec, Digest, ModelVersion, RiskLevel, RiskLevelSpec},
    watch::request,
};

/// The content that one digest covers, as the operator last read this content.
#[derive(Clone)]
struct Content {
    system: Arc<Cached<AISystem>>,
    version: Arc<Cached<ModelVersion>>,
    level: Option<Arc<RiskLevel>>,
}

#[derive(Default)]
struct Known {
    /// The names of the recorded `DecisionSubject`s. `None` until the operator lists them for the first time.
    recorded: Option<BTreeSet<String>>,
    /// The content of each digest in the previous compile. After a failed write, also the older content that the
    /// operator could not record.
    seen: BTreeMap<Digest, Content>,
}

#[derive(Default)]
pub struct Subjects(ByNamespace<Known>);

impl Subjects {
    /// Creates the missing `DecisionSubject` of each decision in `namespace`, if the operator knows the content.
    pub async fn record(
        &self,
        client: &Client,
        namespace: &str,
        facts: &NamespaceFacts,
        statuses: &Statuses,
    ) -> Result<(), Error> {
        let mut known = self.0.take(namespace);
        let decided = decided(facts, statuses);
        let described = contents(facts, statuses);
        let is_recorded = |digest: &Digest| {
            known.recorded.as_ref().is_some_and(|r| r.contains(&DecisionSubject::name_of(digest)))
        };
        let mut pending: BTreeMap<_, _> = std::mem::take(&mut known.seen).into_iter().collect();
        pending.extend(described.clone());
        pending.retain(|digest, _| decided.contains(digest) && !is_recorded(digest));
        let written = write(client, namespace, &mut known.recorded, &pending).await;
        known.seen = described;
        if written.is_err() {
            known.seen.extend(pending);
        }
        self.0.put(namespace, known);
        written
    }

    pub fn forget(&self, namespace: &str) {
        self.0.forget(namespace);
    }
}

/// The digests on which a known person decided. If the signature of a decision is not valid, the person is not known.
fn decided<'a>(facts: &'a NamespaceFacts, statuses: &Statuses) -> BTreeSet<&'a Digest> {
    let by_known_person = facts.approvals.iter().filter(|(name, approval)| {
        approval.spec.signature.is_none() && approval.spec.approver.is_some()
            || statuses.approvals.get(*name).is_some_and(|status| status.signed_by.is_some())
    });
    by_known_person.map(|(_, approval)| &approval.spec.subject_digest).collect()
}

/// The content of each version whose system exists, by the digest of this content.
fn contents(facts: &NamespaceFacts, statuses: &Statuses) -> BTreeMap<Digest, Content> {
    let content = |version: &Arc<Cached<ModelVersion>>| {
        let digest = statuses.versions.get(&version.name)?.subject_digest.clone()?;
        let system = facts.systems.get(&version.spec.system)?;
        let level = facts.levels.get(&system.spec.risk_level).map(Arc::clone);
        let (system, version) = (Arc::clone(system), Arc::clone(version));
        Some((digest, Content { system, version, level }))
    };
    facts.versions.values().filter_map(content).collect()
}

/// Creates the `pending` subjects. The answer 409 is not an error: the operator recorded this subject before.
async fn write(
    client: &Client,
    namespace: &str,
    recorded: &mut Option<BTreeSet<String>>,
    pending: &BTreeMap<Digest, Content>,
) -> Result<(), Error> {
    if pending.is_empty() {
        return Ok(());
    }
    let api: Api<DecisionSubject> = Api::namespaced(client.clone(), namespace);
    let failed = |what: String| move |source| Error::Write { what, source };
    if recorded.is_none() {
        let listed = request::list_metadata(&api, &ListParams::default()).await;
        let listed = listed.map_err(failed(format!("list of decisionsubjects of namespace {namespace}")))?;
        *recorded = Some(listed.iter().map(ResourceExt::name_any).collect());
    }
    let recorded = recorded.get_or_insert_default();
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    for (digest, content) in pending {
        let name = DecisionSubject::name_of(digest);
        if recorded.contains(&name) {
            continue;
        }
        match api.create(&params, &DecisionSubject::new(&name, content.spec(digest))).await {
            Ok(_) => info!(namespace, %digest, "recorded the subject of a decision"),
            Err(kube::Error::Api(answer)) if answer.code == 409 => {}
            // No retry: the API server would refuse the same object again.
            Err(kube::Error::Api(answer)) if [413, 422].contains(&answer.code) => {
                warn!(namespace, %digest, "the subject of a decision cannot be recorded: {}", answer.message);
            }
            Err(source) => return Err(failed(format!("decisionsubject {name}"))(source)),
        }
        recorded.insert(name);
    }
    Ok(())
}

impl Content {
    fn spec(&self, digest: &Digest) -> DecisionSubjectSpec {
        let level = self.level.as_ref().map(|level| &level.spec);
        DecisionSubjectSpec {
            subject_digest: digest.clone(),
            model_version: self.version.name.clone(),
            required_documents: level.map(|level| level.documents.clone()).unwrap_or_default(),
            required_risks: level.is_some_and(|level| level.risks.is_some()),
            required_risk_review: level.is_some_and(RiskLevelSpec::signs_reviews_of_risks),
            required_document_review: level.is_some_and(RiskLevelSpec::signs_reviews_of_documents),
            ai_system: self.system.spec.clone(),
            version: self.version.spec.clone(),
        }
    }
}
