//! Computes the statuses of systems, versions, approvals, assessments, levels and trusted sidecars.
//!
//! ```text
//!  system or version  condition Cleared          condition Ready  condition Stalled  kstatus
//!  cleared            True  Cleared              True             absent             Current
//!  waiting            False AwaitingApproval …   False            absent             InProgress
//!  decided            False Rejected, Revoked …  False            True               Failed
//!  decommissioned     False Decommissioned       True             absent             Current
//! ```

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    iter,
};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use super::{
    incident_status::{self, named_incident, of_incident},
    index::{Cached, CachedAssessment, NamespaceFacts},
    judged::Judged,
    notice::Notice,
    overrides,
    records::{Records, UNSIGNED},
};
use crate::{
    api::{
        AISystem, AISystemStatus, Approval, ApprovalStatus, Approver, AssessmentSpec, AssessmentStatus,
        AttestedAssessment, CLEARANCE_EXPIRING, CLEARED_BY_OVERRIDE, Condition, ConditionState, Conditions,
        CountedApproval, Decision, Digest, INCIDENT_OPEN, IncidentStatus, ModelVersion, ModelVersionStatus,
        OverdueAction, OverrideStatus, REVIEWS_OVERDUE, RiskLevel, RiskLevelStatus, TrustedSidecar,
        TrustedSidecarStatus, VersionSummary, condition, condition_states,
    },
    policy::{
        self, ApprovalEffect, AssessmentEffect, Incidents, NotSigned, RecordedDecision, Requirements,
        ResumeEffect, Verdict, approver_of,
    },
    truncate::{plain, shorten},
};

#[derive(Debug, Default)]
pub struct Statuses {
    pub systems: BTreeMap<String, AISystemStatus>,
    pub versions: BTreeMap<String, ModelVersionStatus>,
    pub approvals: BTreeMap<String, ApprovalStatus>,
    pub assessments: BTreeMap<String, AssessmentStatus>,
    pub incidents: BTreeMap<String, IncidentStatus>,
    pub overrides: BTreeMap<String, OverrideStatus>,
    /// The names of assessments without a stored status that would not meet a requirement if a person signed them.
    pub failing: Vec<String>,
}

impl Statuses {
    pub fn new(
        namespace: &str,
        facts: &NamespaceFacts,
        (records, judged): (&Records<'_>, &BTreeMap<&str, Judged>),
        now: Timestamp,
    ) -> Self {
        let version = |(name, version): (&String, &std::sync::Arc<Cached<ModelVersion>>)| {
            let judged = judged.get(name.as_str())?;
            Some((name.clone(), of_version(namespace, version, judged, facts, now)))
        };
        let systems = facts.systems.iter().map(|(name, system)| {
            let versions = judged.iter().filter(|(_, j)| j.system == *name);
            (
                name.clone(),
                of_system(
                    namespace,
                    (facts, &records.incidents),
                    system,
                    &versions.map(|(n, j)| (*n, j)).collect::<Vec<_>>(),
                    now,
                ),
            )
        });
        let approvals = facts.approvals.iter();
        Self {
            systems: systems.collect(),
            versions: facts.versions.iter().filter_map(version).collect(),
            approvals: approvals
                .map(|(name, a)| (name.clone(), of_approval(a, facts, (records, judged), now)))
                .collect(),
            assessments: facts
                .assessments
                .iter()
                .map(|(name, a)| (name.clone(), of_assessment((namespace, name), a, judged, now)))
                .collect(),
            overrides: overrides::statuses((namespace, facts), &records.overrides, judged, now),
            incidents: records
                .incidents
                .all()
                .filter_map(|incident| {
                    let cached = facts.incidents.get(incident.name)?;
                    let status = of_incident(namespace, facts, (cached, incident), judged, now);
                    Some((incident.name.to_owned(), status))
                })
                .collect(),
            failing: facts
                .assessments
                .iter()
                .filter(|(name, a)| a.status.is_none() && fails_unsigned(name, judged))
                .map(|(name, _)| name.clone())
                .collect(),
        }
    }
}

impl Statuses {
    /// For each [`Notice`]: its number of days, and the number of versions whose clearance ends within these days.
    pub fn expiring(&self) -> [(u32, usize); 4] {
        let conditions = self.versions.values().flat_map(|status| &status.conditions);
        let reasons = conditions.filter(|c| c.type_ == CLEARANCE_EXPIRING).map(|c| &*c.reason);
        let reasons: Vec<_> = reasons.collect();
        Notice::ALL.map(|step| {
            let within = Notice::ALL.into_iter().filter(|notice| *notice <= step).map(Notice::reason);
            (step.days(), within.map(|step| reasons.iter().filter(|reason| **reason == step).count()).sum())
        })
    }
}

/// The content of the conditions `Ready`, `Cleared` and `Stalled` of a system or version.
struct ConditionContent<'a> {
    cleared: bool,
    stalled: bool,
    decommissioned: bool,
    reason: &'a str,
    message: String,
    /// The reason and message of a defect of the object itself. With a defect, even a cleared object has `Ready` False.
    defect: Option<(&'static str, String)>,
}

impl ConditionContent<'_> {
    fn conditions(
        &self,
        generation: Option<i64>,
        before: &[ConditionState],
        now: Timestamp,
    ) -> Vec<Condition> {
        let of_verdict = |type_, status| {
            condition(before, (type_, status), self.reason, self.message.clone(), generation, now)
        };
        let stalled = self.stalled && !self.decommissioned;
        let ready = match &self.defect {
            Some((reason, message)) if !self.decommissioned => {
                condition(before, ("Ready", false), reason, message.clone(), generation, now)
            }
            _ => of_verdict("Ready", self.cleared || self.decommissioned),
        };
        let mut conditions = vec![ready, of_verdict("Cleared", self.cleared)];
        // kstatus reports an object with the condition `Stalled` as failed. So the condition is absent if nothing is
        // wrong.
        conditions.extend(stalled.then(|| of_verdict("Stalled", true)));
        conditions
    }
}

fn of_version(
    namespace: &str,
    version: &Cached<ModelVersion>,
    judged: &Judged,
    facts: &NamespaceFacts,
    now: Timestamp,
) -> ModelVersionStatus {
    let cleared = judged.verdict == Verdict::Cleared;
    let content = ConditionContent {
        cleared,
        stalled: judged.is_stalled(),
        decommissioned: judged.is_decommissioned(),
        reason: judged.reason(),
        message: judged.message(namespace, &version.name),
        defect: None,
    };
    let counted = judged.effects.iter().filter(|(_, effect)| **effect == ApprovalEffect::Counted);
    let before = version.status.as_deref().map_or(&[][..], AsRef::as_ref);
    let mut conditions = content.conditions(version.generation, before, now);
    conditions.extend(expiring(judged.expiring(namespace, &version.name), version.generation, before, now));
    let open = judged.open_incident.as_deref();
    conditions.extend(incident_open(namespace, open, version.generation, before, now));
    ModelVersionStatus {
        observed_generation: version.generation,
        conditions,
        subject_digest: judged.digest.clone(),
        not_after: judged.not_after.filter(|_| cleared).map(Time),
        approvals: counted.filter_map(|(name, _)| counted_approval(facts, name)).take(256).collect(),
        assessments: judged.requirements.clone(),
    }
}

fn expiring(
    content: Option<(&str, String)>,
    generation: Option<i64>,
    before: &[ConditionState],
    now: Timestamp,
) -> Option<Condition> {
    let (reason, message) = content?;
    Some(condition(before, (CLEARANCE_EXPIRING, true), reason, message, generation, now))
}

/// The `IncidentOpen` condition, if `incident` names an incident. An admission policy refuses the deletion of an object
/// with this condition.
fn incident_open(
    namespace: &str,
    incident: Option<&str>,
    generation: Option<i64>,
    before: &[ConditionState],
    now: Timestamp,
) -> Option<Condition> {
    let name = incident?;
    let message = format!(
        "incident/{name} is open, so this object is kept as evidence (kubectl assent incident show {name} -n {namespace})"
    );
    Some(condition(before, (INCIDENT_OPEN, true), "IncidentOpen", message, generation, now))
}

/// The `ClearanceExpiring` condition of `status`, if it needs an Event. The stored conditions `before` decide this: the
/// version must be cleared there, and `ClearanceExpiring` must be absent there or have another reason.
pub fn next_notice<'a>(
    before: Option<&[ConditionState]>,
    status: &'a ModelVersionStatus,
) -> Option<&'a Condition> {
    let of = |conditions: &'a [Condition], type_: &str| conditions.iter().find(|c| c.type_ == type_);
    let expiring = of(&status.conditions, CLEARANCE_EXPIRING)?;
    let before = before?;
    let was_cleared = before.iter().any(|c| c.type_ == "Cleared" && c.status == "True");
    let was_sent = before.iter().any(|c| c.type_ == CLEARANCE_EXPIRING && c.reason == expiring.reason);
    (was_cleared && !was_sent).then_some(expiring)
}

fn counted_approval(facts: &NamespaceFacts, name: &str) -> Option<CountedApproval> {
    let approval = facts.approvals.get(name).filter(|a| a.spec.decision == Decision::Approve)?;
    let approver = approver_of(&**approval, &facts.roles).ok()?;
    Some(CountedApproval {
        name: name.to_owned(),
        role: approval.spec.role.clone(),
        user: approver.user.clone(),
        not_after: end_of(facts, approval, &approver),
    })
}

/// The end of an approval: its `notAfter`, or the time of the approval plus the `validity` of the level, whichever is
/// earlier.
fn end_of(facts: &NamespaceFacts, approval: &Cached<Approval>, approver: &Approver) -> Option<Time> {
    let level = facts.levels.get(&facts.systems.get(&approval.spec.system)?.spec.risk_level)?;
    let statement = RecordedDecision::by(Cow::Borrowed(approver), approval)
        .filter(|s| s.decision == Decision::Approve)?;
    policy::end(&statement, &level.spec).map(Time)
}

/// The reason and message of the defect of a system whose successors form a cycle or include a missing system.
fn successor_defect(facts: &NamespaceFacts, system: &Cached<AISystem>) -> Option<(&'static str, String)> {
    let successor = |system: &Cached<AISystem>| system.spec.decommission.as_ref()?.successor.clone();
    let mut path = vec![system.name.clone()];
    let mut next = successor(system);
    while let Some(name) = next {
        let seen = path.contains(&name);
        path.push(name.clone());
        let chain = path.join(" -> ");
        next = match facts.systems.get(&name) {
            _ if seen => return Some(("SuccessorCycle", format!("the successors form a cycle: {chain}"))),
            None => return Some(("SuccessorNotFound", format!("there is no AISystem {name} ({chain})"))),
            Some(known) => successor(known),
        };
    }
    None
}

fn of_system(
    namespace: &str,
    (facts, incidents): (&NamespaceFacts, &Incidents<'_>),
    system: &Cached<AISystem>,
    versions: &[(&str, &Judged)],
    now: Timestamp,
) -> AISystemStatus {
    let cleared: Vec<_> = versions.iter().filter(|(_, j)| j.verdict == Verdict::Cleared).collect();
    let due = policy::decommission_time(&system.spec).is_some_and(|since| since <= now);
    let was = system.status.as_ref().and_then(|s| s.decommissioned).unwrap_or_default();
    let mut content = system_content(namespace, system, versions, due || was);
    content.defect = successor_defect(facts, system);
    let before = system.status.as_ref().map_or(&[][..], |s| &s.conditions);
    let mut conditions = content.conditions(system.generation, before, now);
    let first = cleared.iter().filter(|(_, j)| j.ending.is_some()).min_by_key(|(_, j)| j.not_after);
    let content = first.and_then(|(name, judged)| judged.expiring(namespace, name));
    conditions.extend(expiring(content, system.generation, before, now));
    conditions.extend(reviews_overdue(namespace, facts, system, now));
    let open = incidents.of(&system.name).iter().find(|incident| incident.closed_at().is_none());
    let open = open.map(|incident| incident.name);
    conditions.extend(incident_open(namespace, open, system.generation, before, now));
    AISystemStatus {
        observed_generation: system.generation,
        conditions,
        cleared_versions: (!cleared.is_empty())
            .then(|| shorten(cleared.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(","), 16384)),
        not_after: cleared.iter().filter_map(|(_, j)| j.not_after).min().map(Time),
        versions: versions.iter().take(256).map(|(name, judged)| summary(name, judged)).collect(),
        decommissioned: (due || was).then_some(true),
        pods: None,
    }
}

/// The `ReviewsOverdue` condition, if a review is overdue and the level only warns about this review.
fn reviews_overdue(
    namespace: &str,
    facts: &NamespaceFacts,
    system: &Cached<AISystem>,
    now: Timestamp,
) -> Option<Condition> {
    let level = facts.levels.get(&system.spec.risk_level)?;
    let overdue = policy::overdue(&system.spec, &level.spec, OverdueAction::Warn, now);
    let overdue = overdue.map(|review| review.to_string()).collect::<Vec<_>>();
    if overdue.is_empty() {
        return None;
    }
    let name = &system.name;
    let message = format!(
        "{} (review, then state the new dates: kubectl edit aisystem/{name} -n {namespace})",
        overdue.join("; ")
    );
    let before = system.status.as_ref().map_or(&[][..], |s| &s.conditions);
    let message = shorten(plain(&message).into_owned(), 4096);
    let (type_, generation) = ((REVIEWS_OVERDUE, true), system.generation);
    Some(condition(before, type_, "ReviewOverdue", message, generation, now))
}

fn summary(name: &str, judged: &Judged) -> VersionSummary {
    let cleared = judged.verdict == Verdict::Cleared;
    VersionSummary {
        name: name.to_owned(),
        cleared,
        reason: judged.reason().to_owned(),
        not_after: judged.not_after.filter(|_| cleared).map(Time),
    }
}

/// The content of the conditions of a system. A decommissioned system is not cleared. Any other system is cleared if
/// one of its versions is cleared. Otherwise, the newest version gives the reason.
fn system_content<'a>(
    namespace: &str,
    system: &Cached<AISystem>,
    versions: &[(&str, &'a Judged)],
    decommissioned: bool,
) -> ConditionContent<'a> {
    let each = versions.iter().map(|(name, judged)| format!("{name} {}", judged.message(namespace, name)));
    let message = shorten(each.collect::<Vec<_>>().join("; "), 32768);
    let newest =
        versions.iter().max_by_key(|(name, judged)| (judged.created, *name)).map(|(_, judged)| *judged);
    let cleared = versions.iter().any(|(_, j)| j.verdict == Verdict::Cleared);
    let (reason, message, stalled) = match (newest, &system.spec.decommission) {
        (_, Some(end)) if decommissioned => {
            let next = end.successor.as_ref().map(|s| format!(" (successor: {s})")).unwrap_or_default();
            ("Decommissioned", format!("decommissioned since {}: {}{next}", end.date.0, end.reason), false)
        }
        _ if cleared => (cleared_reason(versions), message, false),
        (Some(newest), _) => (newest.reason(), message, newest.is_stalled()),
        (None, _) => {
            let message = format!(
                "no ModelVersion names system {}: create one (kubectl explain modelversion.spec)",
                system.name
            );
            ("NoModelVersion", message, false)
        }
    };
    ConditionContent { cleared, stalled, decommissioned, reason, message, defect: None }
}

fn cleared_reason(versions: &[(&str, &Judged)]) -> &'static str {
    let mut cleared = versions.iter().filter(|(_, judged)| judged.verdict == Verdict::Cleared);
    let by_override = cleared.any(|(_, judged)| !judged.waived.is_empty());
    if by_override { CLEARED_BY_OVERRIDE } else { "Cleared" }
}

fn of_approval(
    approval: &Cached<Approval>,
    facts: &NamespaceFacts,
    (records, judged): (&Records<'_>, &BTreeMap<&str, Judged>),
    now: Timestamp,
) -> ApprovalStatus {
    // Verify the signature only once, because verification is expensive.
    let approver = approver_of(approval, &facts.roles);
    let (reason, message) = effect(approval, approver.as_ref().err(), facts, (records, judged));
    let before = approval.status.as_ref().map_or(&[][..], |s| &s.conditions);
    let of_effect =
        |type_, status| condition(before, (type_, status), reason, message.clone(), approval.generation, now);
    ApprovalStatus {
        observed_generation: approval.generation,
        conditions: vec![
            of_effect("Ready", true),
            of_effect("Counted", reason == ApprovalEffect::Counted.code()),
        ],
        not_after: approver.as_ref().ok().and_then(|approver| end_of(facts, approval, approver)),
        signed_by: approver
            .ok()
            .filter(|_| approval.spec.signature.is_some())
            .map(|approver| approver.user.clone()),
    }
}

/// The reason and message of the `Counted` condition of a decision.
fn effect(
    approval: &Cached<Approval>,
    not_signed: Option<&NotSigned>,
    facts: &NamespaceFacts,
    (records, judged): (&Records<'_>, &BTreeMap<&str, Judged>),
) -> (&'static str, String) {
    let spec = &approval.spec;
    match spec.decision {
        Decision::Attest => return attestation(approval, not_signed, facts),
        Decision::Resume => return resume(approval, not_signed, facts, judged),
        Decision::Override => return overrides::grant(approval, not_signed, (facts, &records.overrides)),
        Decision::Review if spec.incident.is_some() => {
            return incident_status::review(approval, not_signed, facts, &records.incidents);
        }
        Decision::Review => return overrides::review(approval, not_signed, (facts, &records.overrides)),
        Decision::Approve | Decision::Reject | Decision::Revoke => {}
    }
    if let Some(elsewhere) = effect_elsewhere(approval, judged) {
        return elsewhere;
    }
    let again = format!(
        "review it again: kubectl assent approve {} --version {} -n {}",
        spec.system, spec.model_version, approval.namespace
    );
    let Some(version) = judged.get(spec.model_version.as_str()).filter(|j| j.system == spec.system) else {
        return (
            "SubjectNotFound",
            format!("there is no ModelVersion {} of system {}", spec.model_version, spec.system),
        );
    };
    if !facts.systems.contains_key(&spec.system) {
        return ("SubjectNotFound", format!("there is no AISystem {}", spec.system));
    }
    if spec.decision == Decision::Approve && version.digest.as_ref() != Some(&spec.subject_digest) {
        let now = version.digest.as_ref().map(Digest::to_string).unwrap_or_default();
        return (
            "SubjectChanged",
            format!("it is for {}, but the version is now {now}; {again}", spec.subject_digest),
        );
    }
    if let Some(why) = not_signed {
        let message = format!("{why}; have it signed again: kubectl assent approve --help");
        return ("SignatureNotValid", message);
    }
    let effect = version.effects.get(&approval.name);
    let Some(effect) = effect else {
        return (
            "RiskLevelNotFound",
            format!("system {} names a risk level that does not exist", spec.system),
        );
    };
    let message = match effect {
        ApprovalEffect::Counted => "the decision counts".to_owned(),
        ApprovalEffect::Superseded => {
            "a later decision of the same person in the same role replaces it".to_owned()
        }
        ApprovalEffect::Revoked => format!("a revocation came after it, or in the same second; {again}"),
        ApprovalEffect::Expired => format!("it expired; {again}"),
        ApprovalEffect::ApproverIsOwner => {
            "its approver owns the system, and the risk level separates duties: a person who is not an owner must approve"
                .to_owned()
        }
        ApprovalEffect::ApproverIsAuthor => {
            "its approver created the version or last changed the system, and the risk level separates duties: \
             a person who is not an author must approve"
                .to_owned()
        }
        ApprovalEffect::RoleNotRequired => {
            format!("the risk level requires no approval in role {}", spec.role)
        }
    };
    (effect.code(), message)
}

/// The reason and message of the `Counted` condition of a decision that signs assessments.
fn attestation(
    approval: &Cached<Approval>,
    not_signed: Option<&NotSigned>,
    facts: &NamespaceFacts,
) -> (&'static str, String) {
    if let Some(why) = not_signed {
        let message = format!("{why}; have it signed again: kubectl assent attest --help");
        return ("SignatureNotValid", message);
    }
    let spec = &approval.spec;
    let counts = |signed: &&AttestedAssessment| {
        let found = facts.assessments.get(&*signed.name);
        found.is_some_and(|found| spec.attests(&signed.name, &found.digest, &found.spec))
    };
    let (found, missing): (Vec<_>, Vec<_>) = spec.assessments.iter().partition(counts);
    let list = |of: &[&AttestedAssessment]| of.iter().map(|s| &*s.name).collect::<Vec<_>>().join(", ");
    let without = format!(
        "no Assessment of system {} and this subject has the name and digest of {}",
        spec.system,
        list(&missing)
    );
    match (found.is_empty(), missing.is_empty()) {
        (true, _) => ("AssessmentNotFound", without),
        (false, true) => (ApprovalEffect::Counted.code(), format!("it signs {}", list(&found))),
        (false, false) => (ApprovalEffect::Counted.code(), format!("it signs {}; {without}", list(&found))),
    }
}

/// The reason and message of the `Counted` condition of a decision to resume a version that an incident holds.
fn resume(
    approval: &Cached<Approval>,
    not_signed: Option<&NotSigned>,
    facts: &NamespaceFacts,
    judged: &BTreeMap<&str, Judged>,
) -> (&'static str, String) {
    if let Some(why) = not_signed {
        let message = format!("{why}; have it signed again: kubectl assent resume --help");
        return ("SignatureNotValid", message);
    }
    let spec = &approval.spec;
    let incident = match named_incident(approval, facts) {
        Ok(incident) => incident,
        Err(missing) => return missing,
    };
    let effects = judged.values().filter_map(|judged| judged.resumes.get(&approval.name));
    // The decision counts if it counts for at least one version. `Counted` is the smallest [`ResumeEffect`].
    let Some(effect) = effects.min() else {
        return (
            "SubjectNotFound",
            format!("incident/{} holds no version with the content of this decision", incident.name),
        );
    };
    let message = match effect {
        ResumeEffect::Counted => format!("it counts against the hold of incident/{}", incident.name),
        ResumeEffect::BeforeNotes => {
            "root cause, action and verification were not noted before it: decide again after they are noted"
                .to_owned()
        }
        ResumeEffect::ApproverIsInvolved => {
            "its approver owns the system, or wrote the version or the system, and the risk level separates duties"
                .to_owned()
        }
        ResumeEffect::RoleNotRequired => {
            format!("the risk level requires no decision to resume in role {}", spec.role)
        }
    };
    (effect.code(), message)
}

/// Whether the assessment waits for a signature, and has a result that does not meet a requirement.
fn fails_unsigned(assessment: &str, judged: &BTreeMap<&str, Judged>) -> bool {
    let effects = judged.values().filter_map(|judged| judged.assessments.get(assessment));
    let fails = |effect: &AssessmentEffect| matches!(effect, AssessmentEffect::Unsigned { failing, .. } if !failing.is_empty());
    effects.max().is_some_and(fails)
}

/// The status of an assessment. If the assessment has different effects on several versions, the greatest
/// [`AssessmentEffect`] counts.
fn of_assessment(
    (namespace, name): (&str, &str),
    assessment: &CachedAssessment,
    judged: &BTreeMap<&str, Judged>,
    now: Timestamp,
) -> AssessmentStatus {
    let effect = judged.values().filter_map(|judged| judged.assessments.get(name)).max();
    let list = |names: &BTreeSet<String>| names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let (reason, message) = match effect {
        None if judged
            .values()
            .any(|judged| judged.digest.as_ref() == Some(&assessment.spec.subject_digest)) =>
        {
            let message = format!(
                "{UNSIGNED} newer unsigned assessments exist for this content, so the operator does not judge \
                 this one"
            );
            ("TooManyUnsigned", message)
        }
        None => ("SubjectNotFound", "no version of the system has the assessed content".to_owned()),
        Some(AssessmentEffect::NotRequired) => (
            "NotRequired",
            "no requirement of the risk level concerns a result of this assessment".to_owned(),
        ),
        Some(AssessmentEffect::Superseded) => ("Superseded", "a newer signed result decides".to_owned()),
        Some(AssessmentEffect::Counted(requirements)) => {
            ("Counted", format!("it decides about {}", list(requirements)))
        }
        Some(AssessmentEffect::Unsigned { roles, failing }) => {
            let bad = if failing.is_empty() {
                String::new()
            } else {
                format!("it does not meet {}; ", list(failing))
            };
            let AssessmentSpec { system, model_version, .. } = &assessment.spec;
            let sign = format!("kubectl assent attest {system} --version {model_version} -n {namespace}");
            ("AwaitingSignature", format!("{bad}someone in role {} signs it: {sign}", list(roles)))
        }
    };
    let before = assessment.status.as_deref().map_or(&[][..], AsRef::as_ref);
    let generation = assessment.generation;
    let of_effect =
        |type_, status| condition(before, (type_, status), reason, message.clone(), generation, now);
    AssessmentStatus {
        observed_generation: generation,
        conditions: vec![of_effect("Ready", true), of_effect("Counted", reason == "Counted")],
        digest: Some(assessment.digest.clone()),
    }
}

/// The reason and message of the `Counted` condition, if the decision counts only for other versions with the same
/// content. `None` if the decision counts for the version that it names, or for no version.
fn effect_elsewhere(
    approval: &Cached<Approval>,
    judged: &BTreeMap<&str, Judged>,
) -> Option<(&'static str, String)> {
    let decision = &approval.name;
    let counts = |judged: &Judged| judged.effects.get(decision) == Some(&ApprovalEffect::Counted);
    if judged.get(approval.spec.model_version.as_str()).is_some_and(counts) {
        return None;
    }
    let names: Vec<_> = judged.iter().filter(|(_, judged)| counts(judged)).map(|(name, _)| *name).collect();
    let first = *names.first()?;
    let more = if names.len() > 1 { format!(" and {} more", names.len() - 1) } else { String::new() };
    let message = format!("the decision counts for {first}{more}, which has the same content");
    Some((ApprovalEffect::Counted.code(), message))
}

fn states(conditions: Option<&Conditions>) -> Box<[ConditionState]> {
    condition_states(conditions.map_or(&[], Vec::as_slice))
}

/// The status of a level. `systems` is the number of systems that name the level. `running_pods` is the number of their
/// running pods that would stop without a clearance.
pub fn of_level(
    (level, requirements): (&RiskLevel, &Requirements),
    (systems, running_pods): (u32, u32),
    now: Timestamp,
) -> RiskLevelStatus {
    let approvals = level.spec.approvals.iter().map(|r| format!("{} {}", r.count, r.role));
    let results = level.spec.assessments.iter().map(|r| format!("result {}", r.name));
    let expressions = level.spec.requirements.iter().map(|r| format!("requirement {}", r.name));
    let monitors = level.spec.monitors.iter().map(|r| format!("monitor {}", r.name));
    let requires = approvals.chain(results).chain(expressions).chain(monitors).collect::<Vec<_>>();
    let before = &states(level.status.as_ref().map(|s| &s.conditions));
    let invalid: Vec<_> =
        requirements.invalid().map(|(name, why)| format!("requirement {name} is invalid: {why}")).collect();
    let (ready, reason, message) = if invalid.is_empty() {
        (true, "InForce", format!("systems that use it: {systems}"))
    } else {
        let message = format!("no version of this level may run: {}", invalid.join("; "));
        (false, "RequirementInvalid", shorten(plain(&message).into_owned(), 4096))
    };
    let of_level = |type_, status| {
        condition(before, (type_, status), reason, message.clone(), level.metadata.generation, now)
    };
    RiskLevelStatus {
        observed_generation: level.metadata.generation,
        // kstatus reports an object with the condition `Stalled` as failed. So the condition is absent if nothing is
        // wrong.
        conditions: iter::once(of_level("Ready", ready))
            .chain((!ready).then(|| of_level("Stalled", true)))
            .collect(),
        requires: Some(if requires.is_empty() { "nobody".to_owned() } else { requires.join(", ") }),
        systems,
        running_pods,
    }
}

pub fn of_sidecar(sidecar: &TrustedSidecar, has_room: bool, now: Timestamp) -> TrustedSidecarStatus {
    let (reason, message) = if has_room {
        ("InForce", "pods may have it in addition to the approved content")
    } else {
        (
            "CapacityExceeded",
            "pods that have it are held: the trusted sidecars before it in the alphabet leave no room for it in \
             a Clearance; delete one that is no longer needed: kubectl get trustedsidecars",
        )
    };
    let before = &states(sidecar.status.as_ref().map(|s| &s.conditions));
    let generation = sidecar.metadata.generation;
    let ready = condition(before, ("Ready", has_room), reason, message.to_owned(), generation, now);
    TrustedSidecarStatus { observed_generation: generation, conditions: vec![ready] }
}
