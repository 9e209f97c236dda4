//! Computes the [`Explanation`] from objects that the caller has read. Every output format prints the same explanation.
//!
//! An explanation has a [`PodFinding`] for each group of pods, a [`SystemFinding`] for each system, and a
//! [`RoleFinding`] for each role that must decide.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;

use super::{
    pod_group::{PodGroup, PodGroups, Refusal, State},
    tags,
};
use crate::{
    api::{
        Clearance, Governance, MODE_LABEL, Mode, ModelVersion, Runtime, SCOPE_LABEL, SYSTEM_LABEL, Scope,
        Trusted,
    },
    cli::{
        commands::safeguards::Safeguards,
        connect::{
            rbac::Holders,
            system_record::{OwnedJudgement, SystemRecord},
            target::Target,
        },
        render::difference,
    },
    nearest::nearest,
    policy::{Hold, MissingToResume, Reason, Waived, matches, without_trusted},
};

/// The result of a read that the API server can forbid.
#[derive(Clone, Debug, Default)]
pub enum Seen<T> {
    /// The person may not read the object.
    #[default]
    Hidden,
    Absent,
    Found(T),
}

impl<T> Seen<T> {
    pub fn map<U>(self, map: impl FnOnce(T) -> U) -> Seen<U> {
        match self {
            Self::Hidden => Seen::Hidden,
            Self::Absent => Seen::Absent,
            Self::Found(value) => Seen::Found(map(value)),
        }
    }

    /// Whether the object exists and meets `condition`. `None` if the person may not read the object.
    pub fn is(&self, condition: impl FnOnce(&T) -> bool) -> Option<bool> {
        match self {
            Self::Hidden => None,
            Self::Absent => Some(false),
            Self::Found(value) => Some(condition(value)),
        }
    }
}

impl Seen<Governance> {
    pub fn mode(&self) -> Option<Mode> {
        match self {
            Self::Found(governance) => governance.mode,
            Self::Hidden | Self::Absent => None,
        }
    }
}

/// All inputs of an explanation except the explained object and its pods.
#[derive(Clone, Debug)]
pub struct ExplainInput {
    pub namespace: String,
    /// The flag `-n` and the connection flags, such as `--context`. The proposed commands end with these flags.
    pub place: String,
    pub governance: Seen<Governance>,
    pub clearance: Seen<Clearance>,
    /// Whether the API server adds approved digests to the images of new pods.
    pub pins: bool,
    /// The records of the systems that the explanation is about. The key is the name of the system.
    pub records: BTreeMap<String, SystemRecord>,
    /// The people who hold each role. The error says why the holders are not known.
    pub holders: Result<Holders, String>,
    pub now: Timestamp,
}

impl ExplainInput {
    /// The trusted additions to a pod. Empty if the Clearance is missing or not readable.
    pub(super) fn trusted(&self) -> &Trusted {
        const NOTHING: &Trusted = &Trusted {
            containers: Vec::new(),
            init_containers: Vec::new(),
            volumes: Vec::new(),
            volume_mounts: Vec::new(),
            env: Vec::new(),
        };
        match &self.clearance {
            Seen::Found(clearance) => &clearance.spec.trusted,
            Seen::Hidden | Seen::Absent => NOTHING,
        }
    }
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The explained object, as `KIND/NAME`.
    pub object: String,
    #[serde(skip)]
    pub is_image: bool,
    pub namespace: String,
    /// Whether the namespace enforces. `None` if the person may not read the namespace.
    pub enforced: Option<bool>,
    /// The mode of the namespace. `None` if the namespace has no mode, or if the person may not read the namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Whether the namespace has a `Clearance`. `None` if the person may not read the `Clearance`.
    pub has_clearance: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<Refusal>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pods: Vec<PodFinding>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub systems: Vec<SystemFinding>,
    /// The roles that must still approve, sign results, or resume a held version.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<RoleFinding>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodFinding {
    /// The names of the pods. Empty for a pod template.
    pub names: Vec<String>,
    pub state: State,
    pub system: Option<String>,
    pub cleared: bool,
    /// The reason why the pods may run or not, in one sentence.
    pub conclusion: String,
    pub next: Vec<String>,
    pub matches: Vec<String>,
    /// Whether the pods match a version that lacks only approvals.
    #[serde(skip)]
    pub is_for_want_of_approval: bool,
    /// The most similar version, if the pods match no version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closest: Option<Closest>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Closest {
    pub version: String,
    /// The changes that turn the runtime of the version into the runtime of the pods.
    pub difference: String,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SystemFinding {
    pub name: String,
    pub exists: bool,
    pub risk_level: Option<String>,
    /// The versions, the newest first.
    pub versions: Vec<VersionFinding>,
    #[serde(flatten)]
    pub safeguards: Safeguards,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionFinding {
    pub name: String,
    pub cleared: bool,
    /// The end of the clearance. `None` if the version is not cleared, or if the clearance has no end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
    /// The reasons why the version is not cleared. Empty if the version is cleared.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<ReasonFinding>,
    /// The unmet requirements that an override waives.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waived: Vec<WaivedFinding>,
    /// Whether the Clearance lists the version if this program judges the version as cleared, and omits the version
    /// otherwise. `None` if the person may not read the Clearance.
    pub in_force: Option<bool>,
}

#[derive(Clone, Debug, Serialize)]
pub struct ReasonFinding {
    pub code: &'static str,
    pub message: String,
    pub remedy: String,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WaivedFinding {
    pub by: String,
    pub until: Timestamp,
    /// The reason why the version would be withheld without the override.
    pub message: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct RoleFinding {
    pub role: String,
    /// The holders of the role by RBAC or by a key. `None` if the read failed.
    pub holders: Option<Vec<String>>,
    /// The reason why the holders are not known. `None` if they are known.
    #[serde(skip)]
    pub not_read: Option<String>,
}

impl Explanation {
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
            safeguards: Safeguards::of(record, facts.now),
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
            waived: judgement.waived.iter().map(waived).collect(),
            in_force: in_force(record, version, &judgement, facts),
            name,
        }
    }
}

fn waived(Waived { by, until, reason }: &Waived) -> WaivedFinding {
    WaivedFinding { by: by.clone(), until: *until, message: reason.to_string() }
}

/// The value for [`VersionFinding::in_force`].
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

/// The roles that must still approve, sign results, or resume a held version. Considers only the versions of the target
/// that `pods` match. If `pods` is empty, considers every version of the target.
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
                Reason::AwaitingApproval { role, .. }
                | Reason::ApprovalExpired { role, .. }
                | Reason::AssessmentMissing { role, .. }
                | Reason::AssessmentExpired { role, .. }
                | Reason::Held(Hold { missing: MissingToResume::Approvals { role, .. }, .. }) => {
                    Some(role.clone())
                }
                _ => None,
            }));
        }
    }
    let found = |role: String| RoleFinding {
        holders: facts.holders.as_ref().ok().map(|holders| holders.of(&role)),
        not_read: facts.holders.as_ref().err().cloned(),
        role,
    };
    short.into_iter().map(found).collect()
}

pub(super) type Match<'a> = (&'a ModelVersion, OwnedJudgement);

impl PodFinding {
    pub fn new(group: &PodGroup, facts: &ExplainInput) -> Self {
        let record = group.system.as_ref().and_then(|system| facts.records.get(system));
        let matching = record.map(|record| matching(record, group, facts)).unwrap_or_default();
        let closest = match (&group.runtime, record) {
            (Ok(runtime), Some(record)) if matching.is_empty() => closest(record, facts, group, runtime),
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
                .map(|(_, judgement)| judgement.reasons())
                .any(|reasons| !reasons.is_empty() && reasons.iter().all(Reason::is_for_want_of_approval)),
            closest,
        }
    }
}

fn matching<'a>(record: &'a SystemRecord, group: &PodGroup, facts: &ExplainInput) -> Vec<Match<'a>> {
    let Ok(runtime) = &group.runtime else { return Vec::new() };
    let is = |version: &&ModelVersion| {
        let approved = &version.spec.runtime;
        matches(approved, facts.trusted(), &group.pins(approved, runtime).apply(runtime))
    };
    let versions = record.versions.iter().filter(is);
    versions.map(|version| (version, record.rule(version, None, facts.now))).collect()
}

fn closest(
    record: &SystemRecord,
    facts: &ExplainInput,
    group: &PodGroup,
    runtime: &Runtime,
) -> Option<Closest> {
    let untrusted = |version: &ModelVersion| {
        let approved = &version.spec.runtime;
        let pod = group.pins(approved, runtime).apply(runtime).into_owned();
        without_trusted(approved, facts.trusted(), &pod).into_owned()
    };
    let likeness = |version: &&ModelVersion| difference::likeness(&version.spec.runtime, &untrusted(version));
    // `record.versions` begins with the newest version. If several versions are equally similar, `max_by` returns the
    // last of them. Because of `rev`, this is the newest version.
    let version = record.versions.iter().rev().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    let difference = difference::of_pod(&version.spec.runtime, &untrusted(version));
    Some(Closest { version: version.name_any(), difference })
}

/// Whether the pods may run, the reason in one sentence, and the next steps.
pub(super) type Conclusion = (bool, String, Vec<String>);

/// Checks the pods in the order of the admission policies. Returns the conclusion of the first check that decides
/// whether the pods may run.
fn conclude(
    group: &PodGroup,
    facts: &ExplainInput,
    record: Option<&SystemRecord>,
    matching: &[Match<'_>],
    closest: Option<&Closest>,
) -> Conclusion {
    let place = &facts.place;
    let no = |text: String, next: &[String]| (false, text, next.to_vec());
    if let Seen::Found(governance) = &facts.governance {
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
        return no(format!("it has no label {SYSTEM_LABEL}, so it names no AI system"), &[label]);
    };
    let Some(record) = record.filter(|record| record.system.is_some()) else {
        let reason = Reason::SystemNotFound { system: system.clone() };
        let known = facts.records.values().filter(|record| record.system.is_some());
        let meant = nearest(system, known.map(|record| &*record.name));
        let meant =
            meant.map(|name| format!("did you mean {name}? Set the label {SYSTEM_LABEL} to this name"));
        let next: Vec<_> = meant.into_iter().chain([reason.remedy(&facts.namespace, system, "")]).collect();
        return no(reason.to_string(), &next);
    };
    if let Err(unmatchable) = &group.runtime {
        return no(unmatchable.clone(), &["remove it from the pod template".to_owned()]);
    }
    if let Some(found) = matching.iter().find(|(_, judgement)| judgement.is_cleared()) {
        return cleared(group, facts, record, found, matching);
    }
    if let Some((version, judgement)) = matching.first() {
        return withheld(facts, record, version, judgement);
    }
    let Some(closest) = closest else {
        let text = format!("system {system} has no ModelVersion, so there is no version to approve");
        return no(text, &["create one: kubectl explain modelversion.spec".to_owned()]);
    };
    if let Some(only_by_tag) = tags::only_by_tag(group, facts, record) {
        return only_by_tag;
    }
    let create = format!("create a new ModelVersion of {system} with this difference, and get it approved");
    let change = format!("or change the pod template to match {}", closest.version);
    no(format!("it matches no version of {system}; the closest is {}", closest.version), &[create, change])
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
        "Assent does not hold it: namespace {namespace} has the label {SCOPE_LABEL}={scope}, which does not include it"
    );
    let next = format!("to govern every pod: kubectl label namespace {namespace} {SCOPE_LABEL}-");
    (true, text, vec![next])
}

fn cleared(
    group: &PodGroup,
    facts: &ExplainInput,
    record: &SystemRecord,
    (version, judgement): &Match<'_>,
    matching: &[Match<'_>],
) -> Conclusion {
    let name = version.name_any();
    let mut text = format!("it is {name} of {}, which is cleared to run", record.name);
    if let Some(not_pinned) = tags::not_pinned(group, facts, version) {
        return not_pinned;
    }
    text.extend(tags::pinned(group, version, matching));
    let operator = format!("the operator has not acted on it yet. Check that it runs: {OPERATOR}");
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

/// The command that shows whether the operator runs.
pub const OPERATOR: &str = "kubectl get pods --all-namespaces -l app.kubernetes.io/name=assent";

pub fn how_to_find_holders() -> [String; 2] {
    [
        "kubectl auth can-i --list --as USER | grep approverroles".to_owned(),
        "kubectl get clusterrolebindings -o wide | grep -i assent".to_owned(),
    ]
}

#[cfg(test)]
mod tests;
