//! Reads what is written about one system and asks the policy core, so that this program and the
//! operator can not come to different verdicts on the same record.
//!
//! ```text
//!  API server ── read ──► SystemRecord ─┬─ AISystem, RiskLevel
//!                                 ├─ ModelVersions ─┬─ digest, recomputed
//!                                 └─ Approvals ─────┴─ rule(version, one more statement?, now) ──► OwnedJudgement
//! ```

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, PartialObjectMeta},
};

use crate::{
    api::{AISystem, AUTHOR, Approval, Approver, ApproverRole, Decision, Digest, ModelVersion, RiskLevel},
    cli::{
        connect::session::Session,
        error::{Error, Next, Result},
    },
    policy::{
        self, ApprovalEffect, ApproverRoles, Authors, Facts, Reason, RecordedDecision, Subject,
        SubjectDigests, Verdict, applies_to, approver_of, judge,
    },
    watch::request,
};

/// All that is written about one system.
#[derive(Clone, Debug, Default)]
pub struct SystemRecord {
    /// The namespace.
    pub namespace: String,
    /// The name of the system.
    pub name: String,
    /// The system.
    pub system: Option<AISystem>,
    /// The level that it names.
    pub level: Option<RiskLevel>,
    /// Its versions, the newest first.
    pub versions: Vec<ModelVersion>,
    /// The decisions on them, in time.
    pub approvals: Vec<Approval>,
    /// The roles that have keys.
    pub keys: ApproverRoles,
}

/// A judgement that owns what it says.
#[derive(Clone, Debug)]
pub struct OwnedJudgement {
    /// Whether the version may run.
    pub verdict: Verdict,
    /// The earliest instant at which the verdict is another.
    pub not_after: Option<Timestamp>,
    /// What became of each statement.
    pub effects: BTreeMap<String, ApprovalEffect>,
}

impl OwnedJudgement {
    /// Whether the version may run.
    pub fn is_cleared(&self) -> bool {
        self.verdict == Verdict::Cleared
    }

    /// Why it may not.
    pub fn reasons(&self) -> &[Reason] {
        self.verdict.reasons()
    }
}

impl SystemRecord {
    /// Reads it all.
    pub async fn read(client: &Client, namespace: &str, name: &str) -> Result<Self> {
        let systems = Api::<AISystem>::namespaced(client.clone(), namespace);
        let versions = Api::<ModelVersion>::namespaced(client.clone(), namespace);
        let approvals = Api::<Approval>::namespaced(client.clone(), namespace);
        let all = ListParams::default();
        let (system, versions, approvals) = futures::join!(
            request::get_opt(&systems, name),
            request::list(&versions, &all),
            request::list(&approvals, &all)
        );
        let in_namespace = |what: &str| format!("read the {what} of namespace {namespace}");
        let system = system.map_err(Error::api(format!("read aisystem/{name} in namespace {namespace}")))?;
        let versions = versions.map_err(unless_installed(in_namespace("modelversions")))?;
        let approvals = approvals.map_err(unless_installed(in_namespace("approvals")))?;
        let level = match &system {
            Some(system) => read_level(client, &system.spec.risk_level).await?,
            None => None,
        };
        let record = Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            system,
            level,
            keys: read_keys(client).await?,
            ..Self::default()
        };
        Ok(record.with_objects(&versions.items, &approvals.items))
    }

    /// Whether the operator has read what is written here of `version`, or of all of them: its digests are these.
    pub fn is_read(&self, version: Option<&str>) -> bool {
        let meant = |v: &&ModelVersion| version.is_none_or(|name| v.name_any() == name);
        self.versions.iter().filter(meant).all(|version| {
            let theirs = version.status.as_ref().and_then(|status| status.subject_digest.clone());
            self.digest(version) == theirs
        })
    }

    /// Reads what is written about `systems`, of one namespace or of all.
    pub async fn read_all(
        client: &Client,
        namespace: Option<&str>,
        systems: &[AISystem],
    ) -> Result<Vec<Self>> {
        let all = ListParams::default();
        let levels = Api::<RiskLevel>::all(client.clone());
        let versions = scoped::<ModelVersion>(client, namespace);
        let approvals = scoped::<Approval>(client, namespace);
        let (levels, versions, approvals) = futures::join!(
            request::list(&levels, &all),
            request::list(&versions, &all),
            request::list(&approvals, &all)
        );
        let levels = levels.map_err(Error::api("read the risklevels"))?;
        let versions = versions.map_err(Error::api("read the modelversions"))?;
        let approvals = approvals.map_err(Error::api("read the approvals"))?;
        let keys = read_keys(client).await?;
        let record = |system: &AISystem| {
            let level = levels.items.iter().find(|level| level.name_any() == system.spec.risk_level);
            let record = Self {
                namespace: system.namespace().unwrap_or_default(),
                name: system.name_any(),
                system: Some(system.clone()),
                level: level.cloned(),
                keys: keys.clone(),
                ..Self::default()
            };
            record.with_objects(&versions.items, &approvals.items)
        };
        Ok(systems.iter().map(record).collect())
    }

    /// With those of `versions` and `approvals` that are about this system.
    pub fn with_objects<'a>(
        mut self,
        versions: impl IntoIterator<Item = &'a ModelVersion>,
        approvals: impl IntoIterator<Item = &'a Approval>,
    ) -> Self {
        let here = |namespace: Option<String>| namespace.as_ref() == Some(&self.namespace);
        let versions = versions.into_iter().filter(|v| here(v.namespace()) && v.spec.system == self.name);
        let mut versions: Vec<_> = versions.cloned().collect();
        versions.sort_by_key(|v| (std::cmp::Reverse(v.creation_timestamp()), v.name_any()));
        let approvals = approvals.into_iter().filter(|a| here(a.namespace()) && a.spec.system == self.name);
        let mut approvals: Vec<_> = approvals.cloned().collect();
        approvals.sort_by_key(|a| (recorded_at(a), a.name_any()));
        (self.versions, self.approvals) = (versions, approvals);
        self
    }

    /// The system, or that there is none.
    pub async fn system(&self, client: &Client) -> Result<&AISystem> {
        if let Some(system) = &self.system {
            return Ok(system);
        }
        let api = Api::<AISystem>::namespaced(client.clone(), &self.namespace);
        let others =
            api.list_metadata(&ListParams::default()).await.map(|list| list.items).unwrap_or_default();
        Err(Error::NotFound {
            what: format!("AISystem {}", self.name),
            namespace: self.namespace.clone(),
            others: others.iter().map(PartialObjectMeta::name_any).collect(),
            next: vec![Next::new("kubectl get aisystems --all-namespaces", "the systems of every namespace")],
        })
    }

    /// The roles in which its level asks for approval.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        let required = self.level.iter().flat_map(|level| &level.spec.approvals);
        required.map(|required| required.role.as_str())
    }

    /// Whether one person fills one role only.
    pub fn separates_duties(&self) -> bool {
        self.level.as_ref().is_some_and(|level| level.spec.separation_of_duties)
    }

    /// The version of that name.
    pub fn version(&self, name: &str) -> Option<&ModelVersion> {
        self.versions.iter().find(|v| v.name_any() == name)
    }

    /// The subject digest of a version, recomputed from the objects.
    pub fn digest(&self, version: &ModelVersion) -> Option<Digest> {
        self.digests(version).map(|digests| digests.signed)
    }

    fn digests(&self, version: &ModelVersion) -> Option<SubjectDigests> {
        let (system, level) = (self.system.as_ref()?, self.level.as_ref().map(|level| &level.spec));
        Some(Subject::new(&self.namespace, &system.spec, level, &version.spec).digests())
    }

    /// The decisions that bear on this version as it is now, in time.
    pub fn decisions(&self, version: &ModelVersion) -> Vec<&Approval> {
        self.sorted(version).0
    }

    /// The approvals of this version as it was before something material changed, in time.
    pub fn outdated(&self, version: &ModelVersion) -> Vec<&Approval> {
        self.sorted(version).1
    }

    fn sorted(&self, version: &ModelVersion) -> (Vec<&Approval>, Vec<&Approval>) {
        let digests = self.digests(version);
        let bears = |a: &&Approval| {
            digests.as_ref().is_some_and(|digests| applies_to(a, &self.name, &version.name_any(), digests))
        };
        let named = version.name_any();
        self.approvals.iter().filter(|a| a.spec.model_version == named || bears(a)).partition(bears)
    }

    /// What the policy says of a version at `now`, with one more statement if there is one.
    pub fn rule(
        &self,
        version: &ModelVersion,
        more: Option<RecordedDecision<'_>>,
        now: Timestamp,
    ) -> OwnedJudgement {
        let mut statements = policy::statements(self.decisions(version), &self.keys);
        statements.extend(more);
        let name = version.name_any();
        let facts = Facts {
            name: &name,
            version: &version.spec,
            system: self.system.as_ref().map(|system| &system.spec),
            level: self.level.as_ref().map(|level| &level.spec),
            authors: Authors {
                version: version.annotations().get(AUTHOR).map(String::as_str),
                system: self.system.as_ref().and_then(|s| s.annotations().get(AUTHOR)).map(String::as_str),
            },
            statements,
        };
        let judgement = judge(&facts, now);
        let effects = judgement.effects.into_iter().map(|(name, standing)| (name.to_owned(), standing));
        OwnedJudgement {
            verdict: judgement.verdict,
            not_after: judgement.not_after,
            effects: effects.collect(),
        }
    }

    /// What was stated; none where nobody whose decision counts did.
    pub fn statement<'a>(&'a self, approval: &'a Approval) -> Option<RecordedDecision<'a>> {
        RecordedDecision::of(approval, &self.keys)
    }

    /// Who decided, if that counts.
    pub fn approver<'a>(&'a self, approval: &'a Approval) -> Option<Cow<'a, Approver>> {
        approver_of(approval, &self.keys).ok()
    }

    /// When an approval ends: at its own end, or with the validity of the level.
    pub fn end(&self, approval: &RecordedDecision<'_>) -> Option<Timestamp> {
        let level = self.level.as_ref().map(|level| level.spec.clone()).unwrap_or_default();
        policy::end(approval, &level)
    }

    /// The version of this system that was approved last, other than `version`, and whether that was
    /// for the system as it is described now.
    pub fn last_approved(&self, version: &ModelVersion) -> Option<(&ModelVersion, &Approval, bool)> {
        self.approvals.iter().rev().filter(|a| a.spec.decision == Decision::Approve).find_map(|approval| {
            let other = self.version(&approval.spec.model_version)?;
            let same_system = self.digest(other).as_ref() == Some(&approval.spec.subject_digest);
            (other.name_any() != version.name_any()).then_some((other, approval, same_system))
        })
    }
}

/// When the API server recorded a decision.
pub fn recorded_at(approval: &Approval) -> Option<Timestamp> {
    approval.metadata.creation_timestamp.as_ref().map(|time| time.0)
}

/// A list that is not found is one that is not served.
pub fn unless_installed(doing: String) -> impl FnOnce(kube::Error) -> Error {
    |error| match error {
        kube::Error::Api(status) if status.is_not_found() => Error::NotInstalled,
        error => Error::api(doing)(error),
    }
}

fn scoped<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// The system of that name, or that there is none.
pub async fn read_system(session: &Session, name: &str) -> Result<AISystem> {
    let api = Api::<AISystem>::namespaced(session.client.clone(), &session.namespace);
    let doing = format!("read aisystem/{name} in namespace {}", session.namespace);
    if let Some(system) = request::get_opt(&api, name).await.map_err(Error::api(doing))? {
        Ok(system)
    } else {
        let missing = SystemRecord {
            namespace: session.namespace.clone(),
            name: name.to_owned(),
            ..SystemRecord::default()
        };
        missing.system(&session.client).await.cloned()
    }
}

/// The roles that have keys; none where the cluster serves none yet, as before an upgrade of its definitions.
async fn read_keys(client: &Client) -> Result<ApproverRoles> {
    let roles = match request::list(&Api::<ApproverRole>::all(client.clone()), &ListParams::default()).await {
        Ok(roles) => roles.items,
        Err(kube::Error::Api(status)) if status.is_not_found() => Vec::new(),
        Err(error) => return Err(Error::api("read the approverroles")(error)),
    };
    Ok(roles.into_iter().map(|role| (role.name_any(), Arc::new(role))).collect())
}

/// The level of that name.
pub async fn read_level(client: &Client, name: &str) -> Result<Option<RiskLevel>> {
    let levels = Api::<RiskLevel>::all(client.clone());
    request::get_opt(&levels, name).await.map_err(Error::api(format!("read risklevel/{name}")))
}
