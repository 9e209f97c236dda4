//! Judges one model version: computes the verdict at a given time, and the time at which this verdict changes.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;

use super::{
    ApprovalEffect, Authors, Elsewhere, Hold, MissingMonitor, OverrideFacts, Reason, RecordedAssessment,
    RecordedDecision, SignedCertifications, UnmetRequirement, Waived,
    assessments::{Finding, Selected, select},
    certifications,
    effect::{Record, end, whole_seconds},
    hosted_models, reviews,
    roles::assign_roles,
};
use crate::api::{
    AISystemSpec, Decision, Evidence, ImagePolicy, ModelVersionSpec, RequiredApproval, RiskLevelSpec,
    Runtime, WaiverType,
};

/// All inputs of a verdict on one model version, except the time.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The name of the version.
    pub name: &'a str,
    /// The content of the version.
    pub version: &'a ModelVersionSpec,
    /// The system that the version names, if it exists.
    pub system: Option<&'a AISystemSpec>,
    /// The level that the system names, if it exists.
    pub level: Option<&'a RiskLevelSpec>,
    /// The users who wrote the version and the system.
    pub authors: Authors<'a>,
    /// The decisions that apply to the version.
    pub statements: Vec<RecordedDecision<'a>>,
    /// The assessments of the content of the version.
    pub assessments: Vec<RecordedAssessment<'a>>,
    /// The expressions of the level that are invalid, that fail, or that are false for the version. Time alone does not
    /// change this list.
    pub unmet: Vec<UnmetRequirement>,
    /// The certifications in the spec of the system that a person signed.
    pub certified: SignedCertifications,
    /// The incidents that hold the version, or will hold it from a known time.
    pub holds: Vec<Hold>,
    /// The required monitors that no monitor of the system satisfies. Time alone does not change this list.
    pub unmonitored: Vec<MissingMonitor>,
    /// The granted overrides of the version, and the missing reviews of overrides of the system.
    pub overrides: OverrideFacts,
}

impl Facts<'_> {
    /// The state at `now` of each assessment that the level requires, in the order of the level.
    pub fn findings(&self, now: Timestamp) -> Vec<Finding<'_>> {
        self.selected().iter().map(|selected| selected.at(now)).collect()
    }

    fn selected(&self) -> Vec<Selected<'_>> {
        let required = self.level.map_or(&[][..], |level| &level.assessments);
        let owners = self.system.map_or(&[][..], |system| &system.owners);
        select(required, &self.assessments, owners, self.authors)
    }
}

/// Whether a version may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The version may run.
    Cleared,
    /// The version may not run, for all of these reasons. The most important is first. The list is never empty.
    Withheld(Vec<Reason>),
}

impl Verdict {
    /// The reasons why the version may not run. Empty if the version may run.
    pub fn reasons(&self) -> &[Reason] {
        match self {
            Self::Cleared => &[],
            Self::Withheld(reasons) => reasons,
        }
    }
}

/// A verdict at a given time, and the time at which this verdict changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement<'a> {
    /// Whether the version may run.
    pub verdict: Verdict,
    /// The requirements that the version does not meet and that an override waives. The reasons of the verdict do not
    /// include these requirements.
    pub waived: Vec<Waived>,
    /// The earliest time at which the verdict changes, if no fact changes. `None` if time alone never changes the
    /// verdict.
    pub not_after: Option<Timestamp>,
    /// The effect of each decision, by the name of its `Approval`. Empty if the level does not exist.
    pub effects: BTreeMap<&'a str, ApprovalEffect>,
    /// The earliest time at which the verdict, a waiver or the effect of a decision changes. `None` if time alone
    /// changes none of them.
    pub revisit: Option<Timestamp>,
    /// The state of each assessment that the level requires, in the order of the level.
    pub findings: Vec<Finding<'a>>,
}

/// The verdict, the waived requirements, and the effects of [`Facts::statements`] in the same order. Without a level,
/// there are no effects.
type Outcome = (Verdict, Vec<Waived>, Vec<ApprovalEffect>);

/// Judges `facts` at `now`.
pub fn judge<'a>(facts: &'a Facts<'a>, now: Timestamp) -> Judgement<'a> {
    let owners = facts.system.map_or(&[][..], |system| &system.owners);
    let record = facts.level.map(|level| Record::new(&facts.statements, level, owners, facts.authors));
    let selected = facts.selected();
    let at = |instant| outcome(facts, record.as_ref(), &selected, instant);
    let (verdict, waived, effects) = at(now);
    let findings: Vec<_> = selected.iter().map(|selected| selected.at(now)).collect();
    let ends = findings.iter().filter_map(Finding::end);
    let later: BTreeSet<_> =
        instants(facts).into_iter().chain(ends).filter(|instant| *instant > now).collect();
    let later: Vec<_> = later.into_iter().collect();
    // While no fact changes, approvals, results, certifications and overrides can only end. Holds can only begin. So an
    // earlier outcome never comes back, and a binary search finds the first time at which the outcome changes.
    let first_not = |same: &dyn Fn(&Outcome) -> bool| {
        later.get(later.partition_point(|instant| same(&at(*instant)))).copied()
    };
    let not_after = first_not(&|(then, ..)| *then == verdict);
    let revisit = first_not(&|(then, waived_then, effects_then)| {
        *then == verdict && *waived_then == waived && *effects_then == effects
    });
    let effects = facts.statements.iter().map(|s| s.name).zip(effects).collect();
    Judgement { verdict, waived, not_after, effects, revisit, findings }
}

/// The times at which the verdict can change: an approval, certification, hosted model or override ends, a review
/// becomes overdue, a hold begins, or the system is decommissioned. The caller adds the ends of assessment results.
fn instants(facts: &Facts<'_>) -> BTreeSet<Timestamp> {
    let approvals =
        facts.level.into_iter().flat_map(|level| facts.statements.iter().filter_map(move |s| end(s, level)));
    let dates = facts.system.into_iter().flat_map(|system| {
        let retirements = system.hosted_models.iter().filter_map(|model| model.retires_at.as_ref());
        retirements.map(|time| whole_seconds(time.0)).chain(decommission_time(system))
    });
    let certifications = facts.system.into_iter().flat_map(certifications::end_times);
    let certifications = certifications.chain(facts.certified.end_times());
    let reviews = facts.system.zip(facts.level).into_iter().flat_map(|(s, l)| reviews::due_times(s, l));
    let holds = facts.holds.iter().filter_map(|hold| hold.from);
    let instants = approvals.chain(dates).chain(certifications).chain(reviews).chain(holds);
    instants.chain(facts.overrides.instants()).collect()
}

fn outcome(
    facts: &Facts<'_>,
    record: Option<&Record<'_>>,
    selected: &[Selected<'_>],
    now: Timestamp,
) -> Outcome {
    let effects: Vec<_> = record.into_iter().flat_map(|record| record.effects(now)).collect();
    let mut reasons = undefined(facts);
    reasons.extend(facts.system.and_then(|system| retired(system, now)));
    let holds = facts.holds.iter().filter(|hold| hold.has_begun(now));
    reasons.extend(holds.cloned().map(Reason::Held));
    reasons.extend(facts.overrides.reasons(now));
    let mut waived = Vec::new();
    if let (Some(system), Some(level), Some(record)) = (facts.system, facts.level, record) {
        reasons.extend(level.prohibited.then(|| Reason::Prohibited { level: system.risk_level.clone() }));
        let by_digest = level.images == ImagePolicy::Digest;
        let by_tag = unpinned(&facts.version.runtime).filter(|_| by_digest);
        reasons.extend(by_tag.map(|image| Reason::ImageNotPinned { image: image.to_owned() }));
        reasons.extend(forbidden_volumes(&facts.version.runtime, level));
        reasons.extend(undocumented(facts, system, level, now));
        reasons.extend(facts.unmonitored.iter().cloned().map(Reason::MonitorMissing));
        reasons.extend(facts.unmet.iter().cloned().map(Reason::RequirementNotMet));
        reasons.extend(hosted_models::reasons(system, (level, &facts.certified), now));
        reasons.extend(reviews::reasons(system, level, now));
        reasons.extend(selected.iter().filter_map(|selected| selected.at(now).reason()));
        let missing = missing_approvals(level, &level.approvals, &effects);
        reasons.extend(decisions(facts.name, record, &effects, &missing));
        let remaining = remaining_approvals(facts, level, &effects, now);
        waived = facts.overrides.waived_approvals(&missing, &remaining, now);
        waived.extend(facts.overrides.waive(&mut reasons, now));
        reasons.extend(remaining);
        waived.sort();
    }
    reasons.sort();
    reasons.dedup();
    let verdict = if reasons.is_empty() { Verdict::Cleared } else { Verdict::Withheld(reasons) };
    (verdict, waived, effects.into_iter().map(|(_, effect)| effect).collect())
}

fn undefined(facts: &Facts<'_>) -> Vec<Reason> {
    match (facts.system, facts.level) {
        (None, _) => vec![Reason::SystemNotFound { system: facts.version.system.clone() }],
        (Some(system), None) => vec![Reason::RiskLevelNotFound { level: system.risk_level.clone() }],
        (Some(_), Some(_)) => Vec::new(),
    }
}

/// The time from which a system is decommissioned, in whole seconds.
pub fn decommission_time(system: &AISystemSpec) -> Option<Timestamp> {
    system.decommission.as_ref().map(|end| whole_seconds(end.date.0))
}

fn retired(system: &AISystemSpec, now: Timestamp) -> Option<Reason> {
    let since = decommission_time(system).filter(|since| *since <= now)?;
    let end = system.decommission.as_ref()?;
    Some(Reason::Decommissioned { since, why: end.reason.clone(), successor: end.successor.clone() })
}

/// One reason for each rejection in effect, and one for the last revocation if nobody approved after the revocation. If
/// an approval after the revocation expires in a required role, the reason is [`Reason::ApprovalExpired`] instead. If
/// the level requires no role, the reason is the revocation again after such an approval expires.
fn decisions(
    name: &str,
    record: &Record<'_>,
    effects: &[(&RecordedDecision<'_>, ApprovalEffect)],
    missing: &[Reason],
) -> Vec<Reason> {
    let counted = |decision| {
        effects.iter().filter(move |(s, effect)| s.decision == decision && *effect == ApprovalEffect::Counted)
    };
    let mut reasons: Vec<_> = counted(Decision::Reject)
        .map(|(s, _)| Reason::Rejected {
            by: s.approver.user.clone(),
            role: s.role.to_owned(),
            why: s.reason.map(str::to_owned),
            elsewhere: Elsewhere::of(s, name),
        })
        .collect();
    let ended = missing.iter().any(|reason| matches!(reason, Reason::ApprovalExpired { .. }));
    let approved_again = ended || counted(Decision::Approve).next().is_some();
    reasons.extend(record.last_revoke().filter(|_| !approved_again).map(|s| Reason::Revoked {
        by: s.approver.user.clone(),
        at: s.at,
        why: s.reason.map(str::to_owned),
        elsewhere: Elsewhere::of(s, name),
    }));
    reasons
}

/// The image references without a digest in the containers and volumes of a runtime.
pub fn unpinned(runtime: &Runtime) -> impl Iterator<Item = &str> {
    runtime.images().filter(|image| !is_pinned(image))
}

fn forbidden_volumes(runtime: &Runtime, level: &RiskLevelSpec) -> impl Iterator<Item = Reason> {
    runtime.volumes.iter().flat_map(|volume| {
        let kinds = volume.kinds().filter(|kind| level.forbidden_volumes.contains(kind));
        kinds.map(|kind| Reason::VolumeForbidden { volume: volume.name.to_string(), kind })
    })
}

/// Whether an image reference ends in a SHA-256 digest.
fn is_pinned(image: &str) -> bool {
    image
        .split_once('@')
        .is_some_and(|(name, digest)| !name.is_empty() && digest.parse::<crate::api::Digest>().is_ok())
}

fn undocumented(
    facts: &Facts<'_>,
    system: &AISystemSpec,
    level: &RiskLevelSpec,
    now: Timestamp,
) -> Vec<Reason> {
    let has_document = |wanted: &&String| system.documentation.iter().any(|d| d.type_ == **wanted);
    let documents = level.documents.iter().filter(|d| !has_document(d));
    let documents = documents.map(|document| Reason::DocumentMissing { document: document.clone() });
    let evidence = level.evidence.iter().filter(|e| !states(facts.version, **e));
    let evidence = evidence.map(|evidence| Reason::EvidenceMissing { evidence: *evidence });
    let signed = (level, &facts.certified);
    let certifications =
        certifications::missing(system.provider.as_ref(), &level.certifications, signed, now);
    let certifications = certifications.map(|certification| Reason::CertificationMissing {
        certification: certification.clone(),
        supplier: None,
        role: level.certification_role.clone(),
    });
    documents.chain(evidence).chain(certifications).collect()
}

fn states(version: &ModelVersionSpec, evidence: Evidence) -> bool {
    let provenance = &version.provenance;
    match evidence {
        Evidence::Data => !provenance.data.is_empty(),
        Evidence::BaseModel => provenance.base_model.is_some(),
        Evidence::Architecture => provenance.architecture.is_some(),
        Evidence::Rationale => provenance.rationale.is_some(),
        Evidence::Tests => !provenance.tests.is_empty(),
        Evidence::Sbom => provenance.sbom.is_some(),
    }
}

/// One reason for each required role that has too few approvals and that no override waives. A person who approved in a
/// waived role can fill another required role instead.
fn remaining_approvals(
    facts: &Facts<'_>,
    level: &RiskLevelSpec,
    effects: &[(&RecordedDecision<'_>, ApprovalEffect)],
    now: Timestamp,
) -> Vec<Reason> {
    let is_waived = |role: &str| facts.overrides.waiving(WaiverType::Approval, role, now).is_some();
    let required = level.approvals.iter().filter(|required| !is_waived(&required.role));
    missing_approvals(level, &required.cloned().collect::<Vec<_>>(), effects)
}

/// One reason for each role of `required` with too few approvals.
fn missing_approvals(
    level: &RiskLevelSpec,
    required: &[RequiredApproval],
    effects: &[(&RecordedDecision<'_>, ApprovalEffect)],
) -> Vec<Reason> {
    let by = |role: &str, wanted: ApprovalEffect| -> BTreeSet<&str> {
        let of_role = effects
            .iter()
            .filter(|(s, effect)| s.role == role && *effect == wanted && s.decision == Decision::Approve);
        of_role.map(|(s, _)| s.approver.user.as_str()).collect()
    };
    let approvers: BTreeMap<_, _> =
        required.iter().map(|r| (r.role.as_str(), by(&r.role, ApprovalEffect::Counted))).collect();
    let have = assign_roles(required, &approvers, level.separation_of_duties);
    let short = required.iter().zip(have).filter(|(required, have)| *have < required.count as usize);
    let reason = |(short, have): (&RequiredApproval, usize)| {
        let (role, needed) = (short.role.clone(), short.count as usize);
        // The end of an approval does not matter if the same person has another approval that counts in the role.
        let counted = by(&role, ApprovalEffect::Counted);
        let ended = effects.iter().filter(|(s, effect)| {
            s.role == role
                && *effect == ApprovalEffect::Expired
                && !counted.contains(s.approver.user.as_str())
        });
        if let Some(since) = ended.filter_map(|(s, _)| end(s, level)).max() {
            return Reason::ApprovalExpired { role, needed, have, since };
        }
        let not_counted = |why| by(&role, why).into_iter().map(str::to_owned).collect();
        let owners = not_counted(ApprovalEffect::ApproverIsOwner);
        let authors = not_counted(ApprovalEffect::ApproverIsAuthor);
        // Whether an approval of the user counts in another required role too. With separation of duties, the user
        // fills only one of these roles. So too few people can be left for this role.
        let elsewhere = |user: &&str| {
            let mut others = required.iter().filter(|other| other.role != role);
            others.any(|other| approvers.get(other.role.as_str()).is_some_and(|people| people.contains(user)))
        };
        let in_several_roles = counted.iter().filter(|user| counted.len() > have && elsewhere(user));
        let in_several_roles = in_several_roles.map(|user| (*user).to_owned()).collect();
        Reason::AwaitingApproval { role, needed, have, owners, authors, in_several_roles }
    };
    short.map(reason).collect()
}
