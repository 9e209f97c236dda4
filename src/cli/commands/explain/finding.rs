//! From what was read to what is the matter: pure, so that it can be tested on any case, and one value
//! for every output format.
//!
//! ```text
//!  PodGroup + ExplainInput ──► PodFinding ─┬─ matches a version?  else the closest and the difference
//!                                   └─ conclusion
//!  SystemRecord ──► SystemFinding ── VersionFinding ── reasons, remedies
//!         └─► roles that are short, and who holds them
//! ```

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;

use super::{
    pod_group::{PodGroup, PodGroups, Refusal, State},
    target::Target,
};
use crate::{
    api::{
        Clearance, Container, Governance, MODE_LABEL, Mode, ModelVersion, Runtime, SCOPE_LABEL, SYSTEM_LABEL,
        Scope, Trusted,
    },
    cli::{
        commands::capture::repository,
        connect::rbac::Holders,
        connect::system_record::{OwnedJudgement, SystemRecord},
        nearest::nearest,
        render::difference,
    },
    policy::{Reason, matches, without_trusted},
};

/// Something that this person may not be allowed to read.
#[derive(Clone, Debug, Default)]
pub enum Seen<T> {
    /// It could not be read.
    #[default]
    Hidden,
    /// There is none.
    Absent,
    /// This one.
    There(T),
}

impl<T> Seen<T> {
    /// Whether it is there and meets `condition`; none if it could not be read.
    pub fn is(&self, condition: impl FnOnce(&T) -> bool) -> Option<bool> {
        match self {
            Self::Hidden => None,
            Self::Absent => Some(false),
            Self::There(value) => Some(condition(value)),
        }
    }
}

impl Seen<Governance> {
    pub fn mode(&self) -> Option<Mode> {
        match self {
            Self::There(governance) => governance.mode,
            Self::Hidden | Self::Absent => None,
        }
    }
}

/// All that an explanation depends on, besides the object itself.
#[derive(Clone, Debug, Default)]
pub struct ExplainInput {
    /// The namespace.
    pub namespace: String,
    /// `--namespace` and the connection flags for commands.
    pub place: String,
    /// How it says that it is governed.
    pub governance: Seen<Governance>,
    /// What the API server admits by.
    pub clearance: Seen<Clearance>,
    /// The systems that are named.
    pub records: BTreeMap<String, SystemRecord>,
    /// Who holds which role, if that could be read.
    pub holders: Option<Holders>,
    /// The time.
    pub now: Timestamp,
}

impl ExplainInput {
    /// What may be in a pod besides what was approved; nothing, as far as it could not be read.
    fn trusted(&self) -> &Trusted {
        const NOTHING: &Trusted = &Trusted {
            containers: Vec::new(),
            init_containers: Vec::new(),
            volumes: Vec::new(),
            volume_mounts: Vec::new(),
            env: Vec::new(),
        };
        match &self.clearance {
            Seen::There(clearance) => &clearance.spec.trusted,
            Seen::Hidden | Seen::Absent => NOTHING,
        }
    }
}

/// Why something runs or does not.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// What was asked about.
    pub object: String,
    /// Whether that is an image, and not what has it.
    #[serde(skip)]
    pub is_image: bool,
    /// Its namespace.
    pub namespace: String,
    /// Whether the namespace is enforced; none: it could not be read.
    pub enforced: Option<bool>,
    /// How it is governed; none: not, or it could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Whether the namespace has the `Clearance` that the API server admits by; none: it could not be read.
    pub has_clearance: Option<bool>,
    /// What the API server refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<Refusal>,
    /// Pods and templates.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pods: Vec<PodFinding>,
    /// The systems that they name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub systems: Vec<SystemFinding>,
    /// The roles whose approval is missing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<RoleFinding>,
}

/// What is the matter with pods that are alike.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodFinding {
    /// Their names; none: the pod template.
    pub names: Vec<String>,
    /// What became of them.
    pub state: State,
    /// The system that they name.
    pub system: Option<String>,
    /// Whether they may run.
    pub cleared: bool,
    /// Why, in a sentence.
    pub conclusion: String,
    /// What to do.
    pub next: Vec<String>,
    /// The versions that they are.
    pub matches: Vec<String>,
    /// They are a version to which nothing is missing but approvals.
    #[serde(skip)]
    pub is_for_want_of_approval: bool,
    /// The version that they are closest to, if they are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closest: Option<Closest>,
}

/// A version that pods are not, but almost.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Closest {
    /// The version.
    pub version: String,
    /// From the version to the pod.
    pub difference: String,
}

/// A system and its versions.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SystemFinding {
    /// Its name.
    pub name: String,
    /// Whether it exists.
    pub exists: bool,
    /// Its level.
    pub risk_level: Option<String>,
    /// Its versions, the newest first.
    pub versions: Vec<VersionFinding>,
}

/// A version and the verdict on it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionFinding {
    /// Its name.
    pub name: String,
    /// Whether it may run.
    pub cleared: bool,
    /// Until when, if it may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
    /// Why not, if it may not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<ReasonFinding>,
    /// Whether the API server admits by the same verdict; none: it could not be read.
    pub in_force: Option<bool>,
}

/// A reason and what to do about it.
#[derive(Clone, Debug, Serialize)]
pub struct ReasonFinding {
    /// The stable word.
    pub code: &'static str,
    /// In a sentence.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

/// A role whose approval is missing.
#[derive(Clone, Debug, Serialize)]
pub struct RoleFinding {
    /// The role.
    pub role: String,
    /// Who holds it by RBAC; none: it could not be read.
    pub holders: Option<Vec<String>>,
}

impl Explanation {
    /// Draws the conclusions.
    pub fn new(target: &Target, found: &PodGroups, facts: &ExplainInput) -> Self {
        let systems: Vec<_> = facts.records.values().map(|l| SystemFinding::new(l, facts, target)).collect();
        let pods = found.groups.iter().map(|group| PodFinding::new(group, facts));
        let asked = |pod: &PodFinding| match target {
            Target::Version(only) => pod.matches.iter().any(|name| name == only),
            _ => true,
        };
        let pods: Vec<_> = pods.filter(asked).collect();
        Self {
            object: target.in_words(),
            is_image: matches!(target, Target::Image(_)),
            namespace: facts.namespace.clone(),
            enforced: facts.governance.is(|governance| governance.mode == Some(Mode::Enforce)),
            mode: facts.governance.mode(),
            has_clearance: facts.clearance.is(|_| true),
            refusals: found.refusals.clone(),
            roles: short_roles(facts, target, &pods),
            pods,
            systems,
        }
    }
}

impl SystemFinding {
    fn new(record: &SystemRecord, facts: &ExplainInput, target: &Target) -> Self {
        let versions = record.versions.iter().filter(|version| target.concerns(version));
        Self {
            name: record.name.clone(),
            exists: record.system.is_some(),
            risk_level: record.system.as_ref().map(|system| system.spec.risk_level.clone()),
            versions: versions.map(|version| VersionFinding::new(record, version, facts)).collect(),
        }
    }
}

impl VersionFinding {
    fn new(record: &SystemRecord, version: &ModelVersion, facts: &ExplainInput) -> Self {
        let judgement = record.rule(version, None, facts.now);
        let name = version.name_any();
        let reasons = judgement.reasons().iter().map(|reason| ReasonFinding {
            code: reason.code(),
            message: reason.to_string(),
            remedy: reason.remedy(&record.namespace, &record.name, &name),
        });
        Self {
            cleared: judgement.is_cleared(),
            not_after: judgement.not_after.filter(|_| judgement.is_cleared()),
            reasons: reasons.collect(),
            in_force: in_force(record, version, &judgement, facts),
            name,
        }
    }
}

/// Whether the `Clearance` says what the policy does.
fn in_force(
    record: &SystemRecord,
    version: &ModelVersion,
    judgement: &OwnedJudgement,
    facts: &ExplainInput,
) -> Option<bool> {
    let digest = record.digest(version);
    let listed = facts.clearance.is(|clearance| {
        let cleared = clearance.spec.systems.get(&record.name).map(|system| &system.cleared);
        cleared.into_iter().flatten().any(|c| {
            c.model_version == version.name_any()
                && digest.as_ref() == Some(&c.subject_digest)
                && c.not_after.0 > facts.now
        })
    })?;
    Some(listed == judgement.is_cleared())
}

/// The roles that are short on the versions that were asked about, or that the pods are.
fn short_roles(facts: &ExplainInput, target: &Target, pods: &[PodFinding]) -> Vec<RoleFinding> {
    let asked = |version: &&ModelVersion| {
        let name = version.name_any();
        target.concerns(version) && (pods.is_empty() || pods.iter().any(|pod| pod.matches.contains(&name)))
    };
    let mut short = BTreeSet::new();
    for record in facts.records.values() {
        for version in record.versions.iter().filter(asked) {
            let judgement = record.rule(version, None, facts.now);
            short.extend(judgement.reasons().iter().filter_map(|reason| match reason {
                Reason::AwaitingApproval { role, .. } | Reason::ApprovalExpired { role, .. } => {
                    Some(role.clone())
                }
                _ => None,
            }));
        }
    }
    let holders = |role: &String| facts.holders.as_ref().map(|holders| holders.of(role));
    short.into_iter().map(|role| RoleFinding { holders: holders(&role), role }).collect()
}

/// A version that a pod is, and what the policy says of it.
type Match<'a> = (&'a ModelVersion, OwnedJudgement);

impl PodFinding {
    /// What is the matter with pods or a template.
    pub fn new(group: &PodGroup, facts: &ExplainInput) -> Self {
        let record = group.system.as_ref().and_then(|system| facts.records.get(system));
        let matching = record.map(|record| matching(record, group, facts)).unwrap_or_default();
        let closest = match (&group.runtime, record) {
            (Ok(runtime), Some(record)) if matching.is_empty() => closest(record, facts, runtime),
            _ => None,
        };
        let (cleared, conclusion, next) = conclude(group, facts, record, &matching, closest.as_ref());
        Self {
            names: group.pods.clone(),
            state: group.state,
            system: group.system.clone(),
            cleared,
            conclusion,
            next,
            matches: matching.iter().map(|(version, _)| version.name_any()).collect(),
            is_for_want_of_approval: matching
                .iter()
                .any(|(_, judgement)| judgement.reasons().iter().all(Reason::is_for_want_of_approval)),
            closest,
        }
    }
}

fn matching<'a>(record: &'a SystemRecord, group: &PodGroup, facts: &ExplainInput) -> Vec<Match<'a>> {
    let Ok(runtime) = &group.runtime else { return Vec::new() };
    let is = |version: &&ModelVersion| matches(&version.spec.runtime, facts.trusted(), runtime);
    let versions = record.versions.iter().filter(is);
    versions.map(|version| (version, record.rule(version, None, facts.now))).collect()
}

fn closest(record: &SystemRecord, facts: &ExplainInput, runtime: &Runtime) -> Option<Closest> {
    let ours = |version: &ModelVersion| without_trusted(&version.spec.runtime, facts.trusted(), runtime);
    let likeness = |version: &&ModelVersion| difference::likeness(&version.spec.runtime, &ours(version));
    // Versions come newest first, and of several equals `max_by` takes the last.
    let version = record.versions.iter().rev().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    let difference = difference::of_pod(&version.spec.runtime, &ours(version));
    Some(Closest { version: version.name_any(), difference })
}

type Conclusion = (bool, String, Vec<String>);

/// The one sentence: the first thing that admission stumbles over.
fn conclude(
    group: &PodGroup,
    facts: &ExplainInput,
    record: Option<&SystemRecord>,
    matching: &[Match<'_>],
    closest: Option<&Closest>,
) -> Conclusion {
    let place = &facts.place;
    let no = |text: String, next: &[String]| (false, text, next.to_vec());
    if let Seen::There(governance) = &facts.governance {
        if governance.mode.is_none() {
            return ungoverned(facts);
        }
        if group.scope > governance.scope {
            return out_of_scope(facts, governance.scope);
        }
    }
    let Some(system) = &group.system else {
        let label = format!(
            "set the label {SYSTEM_LABEL} in the pod template to the name of its AI system: kubectl get aisystems{place}"
        );
        return no(format!("it names no AI system: it has no label {SYSTEM_LABEL}"), &[label]);
    };
    let Some(record) = record.filter(|record| record.system.is_some()) else {
        let reason = Reason::SystemNotFound { system: system.clone() };
        let known = facts.records.values().filter(|record| record.system.is_some());
        let meant = nearest(system, known.map(|record| &*record.name));
        let meant = meant.map(|name| format!("did you mean {name}? Set the label {SYSTEM_LABEL} to that"));
        let next: Vec<_> = meant.into_iter().chain([reason.remedy(&facts.namespace, system, "")]).collect();
        return no(reason.to_string(), &next);
    };
    if let Err(unmatchable) = &group.runtime {
        return no(unmatchable.clone(), &["take it out of the pod template".to_owned()]);
    }
    if let Some((version, judgement)) = matching.iter().find(|(_, judgement)| judgement.is_cleared()) {
        return cleared(group, facts, record, version, judgement);
    }
    if let Some((version, judgement)) = matching.first() {
        return withheld(facts, record, version, judgement);
    }
    let Some(closest) = closest else {
        let text = format!("no ModelVersion describes a version of {system}: nothing of it can be approved");
        return no(text, &["create one: kubectl explain modelversion.spec".to_owned()]);
    };
    let create = format!("create a new ModelVersion of {system} that has it, to be approved");
    let change = format!("or make the pod template as {} has it", closest.version);
    let tags = record.version(&closest.version).into_iter().zip(group.runtime.as_ref());
    let tags = tags.flat_map(|(version, runtime)| other_spelling(version, runtime));
    no(
        format!("matches no version of {system}; closest is {}", closest.version),
        &tags.chain([create, change]).collect::<Vec<_>>(),
    )
}

/// The images that are the same by repository and digest and not as text, which is what the API server compares.
fn other_spelling(version: &ModelVersion, runtime: &Runtime) -> Vec<String> {
    let parts = |image: &str| {
        let (name, digest) = image.split_once('@')?;
        Some((repository(name).to_owned(), digest.to_owned()))
    };
    let is_same = |a: &str, b: &str| a != b && parts(a).is_some() && parts(a) == parts(b);
    let approved = &version.spec.runtime;
    let pairs = runtime.containers.iter().chain(&runtime.init_containers).filter_map(|container| {
        let mut approved = approved.containers.iter().chain(&approved.init_containers);
        let approved = approved.find(|approved| approved.name == container.name)?;
        is_same(&approved.image, &container.image).then_some((container, approved))
    });
    let say = |(container, approved): (&Container, &Container)| {
        format!(
            "container {} has the approved image under another name, and names are compared as text: write {}",
            container.name, approved.image
        )
    };
    pairs.map(say).collect()
}

fn ungoverned(facts: &ExplainInput) -> Conclusion {
    let namespace = &facts.namespace;
    let enforce = Mode::Enforce;
    let text = format!("Assent does not hold it: namespace {namespace} has no label {MODE_LABEL}={enforce}");
    let next = format!("to enforce: kubectl label namespace {namespace} {MODE_LABEL}={enforce}");
    (true, text, vec![next])
}

fn out_of_scope(facts: &ExplainInput, scope: Scope) -> Conclusion {
    let namespace = &facts.namespace;
    let text = format!(
        "Assent does not hold it: namespace {namespace} has the label {SCOPE_LABEL}={scope}, which does not take it in"
    );
    let next = format!("to govern every pod: kubectl label namespace {namespace} {SCOPE_LABEL}-");
    (true, text, vec![next])
}

fn cleared(
    group: &PodGroup,
    facts: &ExplainInput,
    record: &SystemRecord,
    version: &ModelVersion,
    judgement: &OwnedJudgement,
) -> Conclusion {
    let name = version.name_any();
    let text = format!("it is {name} of {}, which is cleared to run", record.name);
    let operator = format!("the operator has not acted on it yet: is it running? {OPERATOR}");
    let lags = in_force(record, version, judgement, facts) == Some(false);
    let next = if lags || group.state == State::Held { vec![operator] } else { Vec::new() };
    (true, text, next)
}

fn withheld(
    facts: &ExplainInput,
    record: &SystemRecord,
    version: &ModelVersion,
    judgement: &OwnedJudgement,
) -> Conclusion {
    let name = version.name_any();
    let say = |reason: &Reason| reason.to_string();
    let reasons = judgement.reasons().iter().map(say).collect::<Vec<_>>().join("; ");
    let remedies =
        judgement.reasons().iter().map(|reason| reason.remedy(&facts.namespace, &record.name, &name));
    (false, format!("it is {name} of {}, which is not cleared: {reasons}", record.name), remedies.collect())
}

/// How to see whether the operator runs.
pub const OPERATOR: &str = "kubectl get pods --all-namespaces -l app.kubernetes.io/name=assent";

/// How to find out who holds a role.
pub fn how_to_find_holders() -> [String; 2] {
    [
        "kubectl auth can-i --list --as USER | grep approverroles".to_owned(),
        "kubectl get clusterrolebindings -o wide | grep -i assent".to_owned(),
    ]
}

#[cfg(test)]
mod tests;
