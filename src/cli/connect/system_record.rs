//! Reads the objects of a system and judges its versions with the policy core, `crate::policy`. The operator uses the
//! same core, so the plugin and the operator get the same verdict for the same objects. The plugin computes the digest
//! of each version itself.
//!
//! ```text
//!  API server ── read ──► SystemRecord ── rule(version, more, now) ──► OwnedJudgement
//! ```

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::{api::core::v1::Namespace, jiff::Timestamp};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, ObjectList, PartialObjectMeta},
};

use crate::{
    api::{
        AISystem, AUTHOR, Approval, Approver, ApproverRole, Assessment, Decision, Digest, Incident,
        IncidentNote, ModelVersion, Monitor, OnBreach, Override, OverrideRules, RiskLevel,
    },
    cli::{
        connect::{
            cluster_objects::{self, scoped},
            session::Session,
        },
        error::{Error, Next, Result},
    },
    expression::Budget,
    policy::{
        self, ApprovalEffect, ApproverRoles, AssessmentEffect, Attestations, Authors, ClusterObjects, Facts,
        HeldSubject, Hold, Incidents, MissingMonitor, OverrideFacts, Overrides, Reason, RecordedAssessment,
        RecordedDecision, RecordedMonitor, RequirementFacts, RequirementResults, Requirements,
        SignedCertifications, Subject, SubjectDigests, SystemOverrides, Verdict, Waived, applies_to,
        approver_of, assessment_effects, counted_monitors, judge, missing_monitors,
    },
    watch::request,
};

/// The objects of one system.
#[derive(Clone, Debug, Default)]
pub struct SystemRecord {
    pub namespace: String,
    /// The name of the system, even if the system does not exist.
    pub name: String,
    pub system: Option<AISystem>,
    /// The risk level that the system names.
    pub level: Option<RiskLevel>,
    /// The versions of the system, newest first.
    pub versions: Vec<ModelVersion>,
    /// The decisions on the versions, oldest first.
    pub approvals: Vec<Approval>,
    /// The assessments of the versions, in the order in which they were performed.
    pub assessments: Vec<Assessment>,
    /// The decisions on the assessments, oldest first.
    pub attestations: Vec<Approval>,
    /// The incidents of the system, oldest first.
    pub incidents: Vec<Incident>,
    /// `true` if the user may not list incidents or notes. Then a version that seems cleared may be held.
    pub incidents_unknown: bool,
    /// The notes of all incidents of the namespace, oldest first.
    pub notes: Vec<IncidentNote>,
    /// The monitors of the system, sorted by name. `None` if the user may not list monitors. Then no required monitor
    /// counts as missing.
    pub monitors: Option<Vec<Monitor>>,
    /// The decisions to resume held versions, oldest first.
    pub resumes: Vec<Approval>,
    /// The overrides of the system, oldest first.
    pub overrides: Vec<Override>,
    /// The decisions that grant overrides, oldest first.
    pub grants: Vec<Approval>,
    /// The reviews of overrides and incidents, oldest first.
    pub reviews: Vec<Approval>,
    /// The `ApproverRole` objects, which list the keys of roles.
    pub keys: ApproverRoles,
    /// The labels of the namespace. `None` if no level that was read has CEL expressions, or if the user may not read
    /// the namespace. An expression about unknown labels does not affect the verdict.
    pub labels: Option<BTreeMap<String, String>>,
    /// The objects of Kubernetes that the expressions of the level read, without kinds that the user may not list.
    pub cluster: ClusterObjects,
}

/// A [`policy::Judgement`] that borrows nothing from the [`SystemRecord`].
#[derive(Clone, Debug)]
pub struct OwnedJudgement {
    pub verdict: Verdict,
    /// The requirements that the version does not meet and that an override waives.
    pub waived: Vec<Waived>,
    /// The earliest time at which the verdict changes while all objects stay the same. `None` if time alone never
    /// changes the verdict.
    pub not_after: Option<Timestamp>,
    /// The effect of each decision on the version, by the name of its `Approval`.
    pub effects: BTreeMap<String, ApprovalEffect>,
}

impl OwnedJudgement {
    pub fn is_cleared(&self) -> bool {
        self.verdict == Verdict::Cleared
    }

    /// The reasons why the version is withheld. Empty if the version is cleared.
    pub fn reasons(&self) -> &[Reason] {
        self.verdict.reasons()
    }
}

impl SystemRecord {
    pub async fn read(client: &Client, namespace: &str, name: &str) -> Result<Self> {
        let systems = Api::<AISystem>::namespaced(client.clone(), namespace);
        let versions = Api::<ModelVersion>::namespaced(client.clone(), namespace);
        let approvals = Api::<Approval>::namespaced(client.clone(), namespace);
        let assessments = Api::<Assessment>::namespaced(client.clone(), namespace);
        let all = ListParams::default();
        let (system, versions, approvals, assessments) = futures::join!(
            request::get_opt(&systems, name),
            request::list(&versions, &all),
            request::list(&approvals, &all),
            request::list(&assessments, &all)
        );
        let in_namespace = |what: &str| format!("read the {what} of namespace {namespace}");
        let system = system.map_err(Error::api(format!("read aisystem/{name} in namespace {namespace}")))?;
        let versions = versions.map_err(unless_installed(in_namespace("modelversions")))?;
        let approvals = approvals.map_err(unless_installed(in_namespace("approvals")))?;
        let level = match &system {
            Some(system) => read_level(client, &system.spec.risk_level).await?,
            None => None,
        };
        let assessments = items_if_required(assessments, &level, in_namespace("assessments"))?;
        let (incidents, notes, incidents_unknown) = Box::pin(read_incidents(client, Some(namespace))).await?;
        let overrides = Box::pin(read_overrides(client, Some(namespace))).await?;
        let monitors = Box::pin(read_monitors(client, Some(namespace), &level)).await?;
        let labels = if has_expressions(&level) { labels_of(client, namespace).await? } else { None };
        let cluster = cluster_objects::read(client, Some(namespace), &level).await?.of(namespace);
        let record = Self {
            labels,
            cluster,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            system,
            level,
            keys: read_keys(client).await?,
            incidents_unknown,
            ..Self::default()
        };
        let record = record.with_objects(&versions.items, &approvals.items, &assessments);
        let record = record.with_incidents(&incidents, &notes).with_overrides(&overrides);
        Ok(record.with_monitors(monitors.as_deref()))
    }

    /// Whether the operator has read the current content of `version`, or of every version if `version` is
    /// `None`. Compares the digest in the status with the digest of the content.
    pub fn is_read(&self, version: Option<&str>) -> bool {
        let selected = |v: &&ModelVersion| version.is_none_or(|name| v.name_any() == name);
        self.versions.iter().filter(selected).all(|version| {
            let in_status = version.status.as_ref().and_then(|status| status.subject_digest.clone());
            self.digest(version) == in_status
        })
    }

    /// Reads the objects of `systems`. If `namespace` is set, all systems must be in this namespace. If `namespace` is
    /// `None`, the systems can be in different namespaces.
    pub async fn read_all(
        client: &Client,
        namespace: Option<&str>,
        systems: &[AISystem],
    ) -> Result<Vec<Self>> {
        let all = ListParams::default();
        let levels = Api::<RiskLevel>::all(client.clone());
        let versions = scoped::<ModelVersion>(client, namespace);
        let approvals = scoped::<Approval>(client, namespace);
        let assessments = scoped::<Assessment>(client, namespace);
        let (levels, versions, approvals, assessments) = futures::join!(
            request::list(&levels, &all),
            request::list(&versions, &all),
            request::list(&approvals, &all),
            request::list(&assessments, &all)
        );
        let levels = levels.map_err(Error::api("read the risklevels"))?;
        let versions = versions.map_err(Error::api("read the modelversions"))?;
        let approvals = approvals.map_err(Error::api("read the approvals"))?;
        let assessments = items_if_required(assessments, &levels.items, "read the assessments".to_owned())?;
        let (incidents, notes, incidents_unknown) = Box::pin(read_incidents(client, namespace)).await?;
        let overrides = Box::pin(read_overrides(client, namespace)).await?;
        let monitors = Box::pin(read_monitors(client, namespace, &levels.items)).await?;
        let keys = read_keys(client).await?;
        let mut labels = BTreeMap::new();
        if has_expressions(&levels.items) {
            for namespace in systems.iter().filter_map(ResourceExt::namespace).collect::<BTreeSet<_>>() {
                labels.insert(namespace.clone(), labels_of(client, &namespace).await?);
            }
        }
        let cluster = cluster_objects::read(client, namespace, &levels.items).await?;
        let record = |system: &AISystem| {
            let level = levels.items.iter().find(|level| level.name_any() == system.spec.risk_level);
            let namespace = system.namespace().unwrap_or_default();
            let record = Self {
                labels: labels.get(&namespace).cloned().flatten(),
                cluster: cluster.of(&namespace),
                namespace,
                name: system.name_any(),
                system: Some(system.clone()),
                level: level.cloned(),
                keys: keys.clone(),
                incidents_unknown,
                ..Self::default()
            };
            let record = record.with_objects(&versions.items, &approvals.items, &assessments);
            let record = record.with_incidents(&incidents, &notes).with_overrides(&overrides);
            record.with_monitors(monitors.as_deref())
        };
        Ok(systems.iter().map(record).collect())
    }

    /// Sets the versions, decisions and assessments. Leaves out the objects of other systems.
    pub fn with_objects<'a>(
        mut self,
        versions: impl IntoIterator<Item = &'a ModelVersion>,
        approvals: impl IntoIterator<Item = &'a Approval>,
        assessments: impl IntoIterator<Item = &'a Assessment>,
    ) -> Self {
        let here = |namespace: Option<String>| namespace.as_ref() == Some(&self.namespace);
        let versions = versions.into_iter().filter(|v| here(v.namespace()) && v.spec.system == self.name);
        let mut versions: Vec<_> = versions.cloned().collect();
        versions.sort_by_key(|v| (std::cmp::Reverse(v.creation_timestamp()), v.name_any()));
        let approvals = approvals.into_iter().filter(|a| here(a.namespace()) && a.spec.system == self.name);
        let mut approvals: Vec<_> = approvals.cloned().collect();
        approvals.sort_by_key(|a| (recorded_at(a), a.name_any()));
        let assessments =
            assessments.into_iter().filter(|a| here(a.namespace()) && a.spec.system == *self.name);
        let mut assessments: Vec<_> = assessments.cloned().collect();
        assessments.sort_by_key(|a| (a.spec.performed_at.0, a.name_any()));
        (self.versions, self.assessments) = (versions, assessments);
        for approval in approvals {
            self.add_decision(approval);
        }
        self
    }

    /// Adds a decision. The decision must be newer than all decisions of the record, because the record keeps them
    /// sorted by time.
    pub fn add_decision(&mut self, approval: Approval) {
        match approval.spec.decision {
            Decision::Approve | Decision::Reject | Decision::Revoke => self.approvals.push(approval),
            Decision::Attest => self.attestations.push(approval),
            Decision::Resume => self.resumes.push(approval),
            Decision::Override => self.grants.push(approval),
            Decision::Review => self.reviews.push(approval),
        }
    }

    /// Sets the incidents and the notes. Leaves out incidents of other systems, and notes of other namespaces.
    pub fn with_incidents<'a>(
        mut self,
        incidents: impl IntoIterator<Item = &'a Incident>,
        notes: impl IntoIterator<Item = &'a IncidentNote>,
    ) -> Self {
        let here = |namespace: Option<String>| namespace.as_ref() == Some(&self.namespace);
        let incidents = incidents.into_iter().filter(|i| here(i.namespace()) && *i.spec.system == *self.name);
        let mut incidents: Vec<_> = incidents.cloned().collect();
        incidents.sort_by_key(|i| (recorded_at(i), i.name_any()));
        let mut notes: Vec<_> = notes.into_iter().filter(|note| here(note.namespace())).cloned().collect();
        notes.sort_by_key(|note| (recorded_at(note), note.name_any()));
        (self.incidents, self.notes) = (incidents, notes);
        self
    }

    /// Sets the overrides. Leaves out the overrides of other systems.
    pub fn with_overrides<'a>(mut self, overrides: impl IntoIterator<Item = &'a Override>) -> Self {
        let here =
            |o: &&Override| o.namespace().as_ref() == Some(&self.namespace) && *o.spec.system == *self.name;
        let mut overrides: Vec<_> = overrides.into_iter().filter(here).cloned().collect();
        overrides.sort_by_key(|o| (recorded_at(o), o.name_any()));
        self.overrides = overrides;
        self
    }

    pub fn override_rules(&self) -> Option<&OverrideRules> {
        self.level.as_ref()?.spec.overrides.as_ref()
    }

    /// The overrides of the system in the form that the policy core reads, with the decisions that grant or review
    /// them.
    pub fn recorded_overrides(&self) -> Overrides<'_> {
        let overrides = self.overrides.iter().filter_map(|o| {
            let digest = o.spec.digest(&self.namespace);
            Some(((o.metadata.name.as_deref()?, recorded_at(o)?), &o.spec, digest))
        });
        Overrides::new(overrides, self.grants.iter().chain(&self.reviews), &self.keys)
    }

    fn overrides_of(&self, version: &ModelVersion, statements: &[RecordedDecision<'_>]) -> OverrideFacts {
        let digests = self.digests(version);
        let subject = digests.as_ref().and_then(|digests| self.subject(version, digests));
        let Some((subject, rules)) = subject.zip(self.override_rules()) else {
            return OverrideFacts::default();
        };
        let recorded = self.recorded_overrides();
        let judged = SystemOverrides::new(recorded.of(&self.name), rules);
        judged.on_version(&subject, recorded_at(version), statements).0
    }

    /// The facts about `version` that the policy core needs to judge holds and overrides. `None` if the system or its
    /// level does not exist.
    fn subject<'a>(
        &'a self,
        version: &'a ModelVersion,
        digests: &'a SubjectDigests,
    ) -> Option<HeldSubject<'a>> {
        let (system, level) = (self.system.as_ref()?, self.level.as_ref()?);
        Some(HeldSubject {
            name: version.metadata.name.as_deref().unwrap_or_default(),
            digests,
            level: &level.spec,
            owners: &system.spec.owners,
            authors: self.authors(version),
        })
    }

    /// Sets the monitors of the system. Leaves out monitors of other systems. A namespace has a maximum number of
    /// monitors, and monitors above this number do not count, so they are left out too. `monitors` is `None` if the
    /// user may not list monitors.
    pub fn with_monitors<'a>(mut self, monitors: Option<impl IntoIterator<Item = &'a Monitor>>) -> Self {
        let here = |monitor: &&Monitor| monitor.namespace().as_ref() == Some(&self.namespace);
        let is_of_system = |monitor: &&Monitor| *monitor.spec.system == *self.name;
        self.monitors = monitors.map(|monitors| {
            let here = monitors.into_iter().filter(here);
            let by_name: BTreeMap<_, _> = here.map(|monitor| (monitor.name_any(), monitor)).collect();
            let (holding, others): (Vec<_>, Vec<_>) = by_name
                .into_values()
                .partition(|monitor: &&Monitor| monitor.spec.on_breach == OnBreach::Hold);
            let counted = counted_monitors(holding.into_iter(), others.into_iter());
            counted.filter(is_of_system).cloned().collect()
        });
        self
    }

    /// The incidents of the system in the form that the policy core reads, with their notes and the decisions to
    /// resume.
    pub fn recorded_incidents(&self) -> Incidents<'_> {
        let incidents = self.incidents.iter().filter_map(|incident| {
            let digest = incident.spec.digest(&self.namespace);
            Some(((incident.metadata.name.as_deref()?, recorded_at(incident)?), &incident.spec, digest))
        });
        let notes = self.notes.iter().filter_map(|note| Some((&note.spec, recorded_at(note)?)));
        Incidents::new(incidents, notes, &self.resumes, &self.keys)
    }

    pub fn holds(&self, version: &ModelVersion) -> Vec<Hold> {
        let digests = self.digests(version);
        let held = digests.as_ref().and_then(|digests| self.subject(version, digests));
        let Some(held) = held else { return Vec::new() };
        held.judge(self.recorded_incidents().of(&self.name)).holds
    }

    /// The system, or an error that names the existing systems.
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
            next: vec![Next::new(
                "kubectl get aisystems --all-namespaces",
                "list the systems of every namespace",
            )],
        })
    }

    /// The roles whose approval the risk level requires.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        let required = self.level.iter().flat_map(|level| &level.spec.approvals);
        required.map(|required| required.role.as_str())
    }

    /// The roles in which people must sign assessments, as the risk level requires.
    pub fn assessor_roles(&self) -> impl Iterator<Item = &str> {
        let required = self.level.iter().flat_map(|level| &level.spec.assessments);
        required.map(|required| required.role.as_str())
    }

    /// The assessments of the current content of the version, in the order in which they were performed.
    pub fn assessments_of(&self, version: &ModelVersion) -> Vec<&Assessment> {
        let digest = self.digest(version);
        self.assessments.iter().filter(|a| digest.as_ref() == Some(&a.spec.subject_digest)).collect()
    }

    /// The assessments of the version that await a signature in `role`. If `role` is `None`, the role does not matter.
    pub fn unsigned(&self, version: &ModelVersion, role: Option<&str>, now: Timestamp) -> Vec<&Assessment> {
        let facts = self.facts(version);
        let effects = assessment_effects(&facts.assessments, &facts.findings(now), now);
        let awaits = |assessment: &&Assessment| match effects.get(&*assessment.name_any()) {
            Some(AssessmentEffect::Unsigned { roles, .. }) => role.is_none_or(|role| roles.contains(role)),
            _ => false,
        };
        self.assessments_of(version).into_iter().filter(awaits).collect()
    }

    /// Whether the risk level separates duties, so that the approval of one person counts in only one role.
    pub fn separates_duties(&self) -> bool {
        self.level.as_ref().is_some_and(|level| level.spec.separation_of_duties)
    }

    pub fn version(&self, name: &str) -> Option<&ModelVersion> {
        self.versions.iter().find(|v| v.name_any() == name)
    }

    /// The version, or an error that names the existing versions.
    pub fn named_version(&self, name: &str) -> Result<&ModelVersion> {
        self.version(name).ok_or_else(|| self.no_version(name, |_| None))
    }

    /// The error for a version that does not exist. `next` returns the command to suggest for the name of an existing
    /// version.
    pub fn no_version(&self, name: &str, next: impl Fn(&str) -> Option<Next>) -> Error {
        let others: Vec<_> = self.versions.iter().map(ModelVersion::name_any).collect();
        Error::NotFound {
            what: format!("ModelVersion {name} of system {}", self.name),
            namespace: self.namespace.clone(),
            next: others.iter().filter_map(|other| next(other)).collect(),
            others,
        }
    }

    /// Fails if the user may not list incidents or notes. Without them, the plugin does not know which versions are
    /// held.
    pub fn refuse_without_incidents(&self) -> Result<()> {
        if !self.incidents_unknown {
            return Ok(());
        }
        let can_i = format!("kubectl auth can-i list incidents.assent.dev -n {}", self.namespace);
        Err(Error::Choose {
            question: format!(
                "you may not list {INCIDENT_KINDS} in namespace {}, so it is not known which versions are held: ask for the verb list on both",
                self.namespace
            ),
            next: vec![Next::new(can_i, "check your permission")],
        })
    }

    /// The digest that an approval of the version must state as `subjectDigest`, computed from the objects. `None` if
    /// the system does not exist.
    pub fn digest(&self, version: &ModelVersion) -> Option<Digest> {
        self.digests(version).map(|digests| digests.signed)
    }

    fn digests(&self, version: &ModelVersion) -> Option<SubjectDigests> {
        let (system, level) = (self.system.as_ref()?, self.level.as_ref().map(|level| &level.spec));
        Some(Subject::new(&self.namespace, &system.spec, level, &version.spec).digests())
    }

    /// The decisions that apply to the current content of the version, oldest first.
    pub fn decisions(&self, version: &ModelVersion) -> Vec<&Approval> {
        self.sorted(version).0
    }

    /// The decisions that name the version but do not apply to its current content, oldest first.
    pub fn outdated(&self, version: &ModelVersion) -> Vec<&Approval> {
        self.sorted(version).1
    }

    fn sorted(&self, version: &ModelVersion) -> (Vec<&Approval>, Vec<&Approval>) {
        let digests = self.digests(version);
        let applies = |a: &&Approval| {
            digests.as_ref().is_some_and(|digests| applies_to(*a, &self.name, &version.name_any(), digests))
        };
        let named = version.name_any();
        self.approvals.iter().filter(|a| a.spec.model_version == named || applies(a)).partition(applies)
    }

    /// Judges a version at the time `now`, as if the decision `more` were recorded too.
    pub fn rule(
        &self,
        version: &ModelVersion,
        more: Option<RecordedDecision<'_>>,
        now: Timestamp,
    ) -> OwnedJudgement {
        let mut facts = self.facts(version);
        if let Some(more) = more {
            facts.statements.push(more);
            facts.overrides = self.overrides_of(version, &facts.statements);
        }
        let judgement = judge(&facts, now);
        let effects = judgement.effects.into_iter().map(|(name, effect)| (name.to_owned(), effect));
        OwnedJudgement {
            verdict: judgement.verdict,
            waived: judgement.waived,
            not_after: judgement.not_after,
            effects: effects.collect(),
        }
    }

    /// The input of the policy core for one version.
    pub fn facts<'a>(&'a self, version: &'a ModelVersion) -> Facts<'a> {
        let assessments = self.recorded_assessments(version);
        let statements = policy::statements(self.decisions(version), &self.keys);
        Facts {
            unmet: self.evaluated(version, &assessments).unmet,
            name: version.metadata.name.as_deref().unwrap_or_default(),
            version: &version.spec,
            system: self.system.as_ref().map(|system| &system.spec),
            level: self.level.as_ref().map(|level| &level.spec),
            authors: self.authors(version),
            overrides: self.overrides_of(version, &statements),
            statements,
            assessments,
            certified: self.certified(),
            holds: self.holds(version),
            unmonitored: self.unmonitored(),
        }
    }

    /// The monitors that the level requires and the system lacks. Empty if the monitors or the level are not known.
    fn unmonitored(&self) -> Vec<MissingMonitor> {
        let Some((monitors, level)) = self.monitors.as_ref().zip(self.level.as_ref()) else {
            return Vec::new();
        };
        let recorded = monitors.iter().map(|monitor| RecordedMonitor {
            name: monitor.metadata.name.as_deref().unwrap_or_default(),
            spec: &monitor.spec,
            measured: monitor.status.as_ref().and_then(|status| status.measured.as_ref()),
        });
        missing_monitors(&level.spec, recorded)
    }

    fn certified(&self) -> SignedCertifications {
        let level = self.level.as_ref().map(|level| &level.spec);
        let of = |system: &AISystem| SignedCertifications::of(&system.spec, level, &self.keys);
        self.system.as_ref().map(of).unwrap_or_default()
    }

    /// The results of the CEL expressions of the level for the version.
    pub fn requirement_results(&self, version: &ModelVersion) -> RequirementResults {
        self.evaluated(version, &self.recorded_assessments(version))
    }

    fn evaluated(
        &self,
        version: &ModelVersion,
        assessments: &[RecordedAssessment<'_>],
    ) -> RequirementResults {
        let Some((system, level)) = self.system.as_ref().zip(self.level.as_ref()) else {
            return RequirementResults::default();
        };
        let of_version = RequirementFacts {
            namespace: &self.namespace,
            labels: self.labels.as_ref(),
            system: &system.spec,
            name: version.metadata.name.as_deref().unwrap_or_default(),
            version: &version.spec,
            assessments,
            authors: self.authors(version),
            cluster: &self.cluster,
        };
        Requirements::compile(&level.spec.requirements).evaluate(&of_version, &mut Budget::of_namespace())
    }

    fn authors<'a>(&'a self, version: &'a ModelVersion) -> Authors<'a> {
        Authors {
            version: version.annotations().get(AUTHOR).map(String::as_str),
            system: self.system.as_ref().and_then(|s| s.annotations().get(AUTHOR)).map(String::as_str),
        }
    }

    /// The assessments of the current content of the version, with their signatures.
    fn recorded_assessments<'a>(&'a self, version: &ModelVersion) -> Vec<RecordedAssessment<'a>> {
        let attestations = Attestations::new(&self.attestations, &self.keys);
        let recorded = |assessment: &'a Assessment| {
            let digest = assessment.spec.digest(&self.namespace);
            let at = assessment.metadata.creation_timestamp.as_ref()?.0;
            let name = assessment.metadata.name.as_deref()?;
            Some(RecordedAssessment::new(name, &assessment.spec, &digest, at, &attestations))
        };
        self.assessments_of(version).into_iter().filter_map(recorded).collect()
    }

    /// Converts an `Approval` to the decision that the policy core reads. `None` if the approver is not verified.
    pub fn statement<'a>(&'a self, approval: &'a Approval) -> Option<RecordedDecision<'a>> {
        RecordedDecision::of(approval, &self.keys)
    }

    /// The approver of an `Approval`. `None` if the approver is not verified.
    pub fn approver<'a>(&'a self, approval: &'a Approval) -> Option<Cow<'a, Approver>> {
        approver_of(approval, &self.keys).ok()
    }

    /// The end of an approval: the end that the approval states or the end that the risk level sets, whichever is
    /// earlier. `None` if neither sets an end.
    pub fn end(&self, approval: &RecordedDecision<'_>) -> Option<Timestamp> {
        let level = self.level.as_ref().map(|level| level.spec.clone()).unwrap_or_default();
        policy::end(approval, &level)
    }

    /// Returns the last approval of a version other than `version`, and the version that this approval names. The
    /// `bool` is `true` if the approval still covers the current content of the named version and of the system.
    pub fn last_approved(&self, version: &ModelVersion) -> Option<(&ModelVersion, &Approval, bool)> {
        self.approvals.iter().rev().filter(|a| a.spec.decision == Decision::Approve).find_map(|approval| {
            let other = self.version(&approval.spec.model_version)?;
            let same_system = self.digest(other).as_ref() == Some(&approval.spec.subject_digest);
            (other.name_any() != version.name_any()).then_some((other, approval, same_system))
        })
    }
}

/// The time at which the API server recorded an object.
pub fn recorded_at(object: &impl kube::Resource) -> Option<Timestamp> {
    object.meta().creation_timestamp.as_ref().map(|time| time.0)
}

/// Converts an error of a list request. A list gets 404 only if the API server does not serve the kind. So 404 means
/// that Assent is not installed.
pub fn unless_installed(doing: String) -> impl FnOnce(kube::Error) -> Error {
    |error| match error {
        kube::Error::Api(status) if status.is_not_found() => Error::NotInstalled,
        error => Error::api(doing)(error),
    }
}

fn has_expressions<'a>(levels: impl IntoIterator<Item = &'a RiskLevel>) -> bool {
    levels.into_iter().any(|level| !level.spec.requirements.is_empty())
}

/// The labels of the namespace. `None` if the user may not read the namespace.
async fn labels_of(client: &Client, namespace: &str) -> Result<Option<BTreeMap<String, String>>> {
    let namespaces = Api::<Namespace>::all(client.clone());
    match namespaces.get_metadata(namespace).await {
        Ok(found) => Ok(Some(found.metadata.labels.unwrap_or_default())),
        Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(None),
        Err(error) => Err(Error::api(format!("read namespace {namespace}"))(error)),
    }
}

/// The assessments of a list. Empty if the API server does not serve the kind `Assessment`. Also empty if the user may
/// not list assessments and none of `levels` uses them. The RBAC roles of Assent releases without assessments lack this
/// permission.
fn items_if_required<'a>(
    list: kube::Result<ObjectList<Assessment>>,
    levels: impl IntoIterator<Item = &'a RiskLevel>,
    doing: String,
) -> Result<Vec<Assessment>> {
    match list {
        Err(kube::Error::Api(status))
            if status.is_forbidden()
                && levels
                    .into_iter()
                    .all(|level| level.spec.assessments.is_empty() && level.spec.requirements.is_empty()) =>
        {
            Ok(Vec::new())
        }
        list => items_if_served(list, doing),
    }
}

const INCIDENT_KINDS: &str = "incidents.assent.dev and incidentnotes.assent.dev";

/// Reads the incidents and their notes in `namespace`, or in all namespaces if `namespace` is `None`. If the user may
/// not list one of the two kinds, the `bool` is `true`. In this case, the function prints a warning instead of an
/// error.
async fn read_incidents(
    client: &Client,
    namespace: Option<&str>,
) -> Result<(Vec<Incident>, Vec<IncidentNote>, bool)> {
    let (incidents, notes) =
        (scoped::<Incident>(client, namespace), scoped::<IncidentNote>(client, namespace));
    let all = ListParams::default();
    let (incidents, notes) = futures::join!(request::list(&incidents, &all), request::list(&notes, &all));
    let incidents = items_if_readable(incidents, "read the incidents".to_owned())?;
    let notes = items_if_readable(notes, "read the incidentnotes".to_owned())?;
    let unknown = incidents.is_none() || notes.is_none();
    if unknown {
        anstream::eprintln!(
            "You may not list {INCIDENT_KINDS}: a version that seems cleared may be held. Ask for the verb list on both."
        );
    }
    Ok((incidents.unwrap_or_default(), notes.unwrap_or_default(), unknown))
}

/// Reads the monitors in `namespace`, or in all namespaces if `namespace` is `None`. Returns `None` if the user may not
/// list monitors. In this case, prints a warning if one of `levels` requires monitors, because a version can lack one.
async fn read_monitors(
    client: &Client,
    namespace: Option<&str>,
    levels: impl IntoIterator<Item = &RiskLevel>,
) -> Result<Option<Vec<Monitor>>> {
    let monitors = request::list(&scoped::<Monitor>(client, namespace), &ListParams::default()).await;
    let monitors = items_if_readable(monitors, "read the monitors".to_owned())?;
    if monitors.is_none() && levels.into_iter().any(|level| !level.spec.monitors.is_empty()) {
        anstream::eprintln!(
            "You may not list monitors.assent.dev: a version that seems cleared may lack a required monitor. Ask for the verb list."
        );
    }
    Ok(monitors)
}

/// The overrides in `namespace`, or in all namespaces if `namespace` is `None`. Empty if the user may not list
/// overrides. In this case, the plugin can show that a version is withheld although an override clears it. Such a wrong
/// verdict is safe, because only the operator decides which versions run.
async fn read_overrides(client: &Client, namespace: Option<&str>) -> Result<Vec<Override>> {
    let list = request::list(&scoped::<Override>(client, namespace), &ListParams::default()).await;
    Ok(items_if_readable(list, "read the overrides".to_owned())?.unwrap_or_default())
}

/// The objects of a list. Empty if the API server does not serve the kind. `None` if the user may not list the kind.
fn items_if_readable<K: Clone>(list: kube::Result<ObjectList<K>>, doing: String) -> Result<Option<Vec<K>>> {
    match list {
        Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(None),
        list => items_if_served(list, doing).map(Some),
    }
}

/// The objects of a list. Empty if the API server does not serve the kind, for example before an upgrade of the CRDs.
fn items_if_served<K: Clone>(list: kube::Result<ObjectList<K>>, doing: String) -> Result<Vec<K>> {
    match list {
        Ok(list) => Ok(list.items),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(Vec::new()),
        Err(error) => Err(Error::api(doing)(error)),
    }
}

/// Reads a system. If the system does not exist, the error names the existing systems.
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

pub async fn read_keys(client: &Client) -> Result<ApproverRoles> {
    let roles = request::list(&Api::<ApproverRole>::all(client.clone()), &ListParams::default()).await;
    let roles = items_if_served(roles, "read the approverroles".to_owned())?;
    Ok(roles.into_iter().map(|role| (role.name_any(), Arc::new(role))).collect())
}

pub async fn read_level(client: &Client, name: &str) -> Result<Option<RiskLevel>> {
    let levels = Api::<RiskLevel>::all(client.clone());
    request::get_opt(&levels, name).await.map_err(Error::api(format!("read risklevel/{name}")))
}
