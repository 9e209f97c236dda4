//! A second, naive implementation of the rules, for comparison with the policy. It replays the decisions in order,
//! tries every assignment of people to roles, and checks every half second.
//!
//! The naive implementation shares no code with the policy, so the same bug in both is unlikely.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;

use super::generate::{Assessed, Case, HORIZON, Said, Signed, VERSION, half};
use crate::{
    api::{
        AISystemSpec, Approver, AssessmentResult, Comparator, Decision, Direction, Evidence, ImagePolicy,
        OverdueAction, OwnerKind, Relationship, RequiredApproval, RequiredAssessment, RequiredReview,
        ReviewDates, RiskLevelSpec,
    },
    policy::{
        ApprovalEffect, CitedResult, Comparison, Elsewhere, Inconclusive, OverdueReview, Reason, Reviewed,
        UnmetCause, Verdict, Waived, Waiving,
    },
};

/// The decisions in effect after the replay of all decisions, and the effects of the other decisions.
#[derive(Default)]
struct Outcome<'a> {
    /// The approvals that no later decision withdrew. Some of these approvals can have ended.
    approvals: Vec<&'a Said>,
    /// The rejections that no later decision superseded.
    rejections: Vec<&'a Said>,
    revocation: Option<&'a Said>,
    /// The effects of the decisions that do not count.
    without_effect: BTreeMap<&'a str, ApprovalEffect>,
}

/// Replays the decisions in order of time. Within one second, approvals come first, then rejections, then revocations.
fn replay<'a>(case: &'a Case, level: &RiskLevelSpec) -> Outcome<'a> {
    let mut said: Vec<_> = case.said.iter().collect();
    said.sort_by_key(|s| (s.at, s.decision, &s.name));
    let required = |role: &str| level.approvals.is_empty() || level.approvals.iter().any(|r| r.role == role);
    let mut outcome = Outcome::default();
    for (n, s) in said.iter().enumerate() {
        let same = |other: &&Said| other.approver.user == s.approver.user && other.role == s.role;
        if s.decision == Decision::Revoke {
            outcome.revocation = Some(s);
            outcome.approvals.clear();
            for earlier in &said[..n] {
                if earlier.decision == Decision::Approve && required(&earlier.role) {
                    outcome.without_effect.insert(&earlier.name, ApprovalEffect::Revoked);
                }
            }
        } else if !required(&s.role) {
            outcome.without_effect.insert(&s.name, ApprovalEffect::RoleNotRequired);
        } else if s.decision == Decision::Reject {
            for withdrawn in outcome.approvals.extract_if(.., |a| same(a)) {
                outcome.without_effect.insert(&withdrawn.name, ApprovalEffect::Superseded);
            }
            for replaced in outcome.rejections.extract_if(.., |r| same(r) && r.at < s.at) {
                outcome.without_effect.insert(&replaced.name, ApprovalEffect::Superseded);
            }
            outcome.rejections.push(s);
        } else {
            for superseded in outcome.rejections.extract_if(.., |r| same(r)) {
                outcome.without_effect.insert(&superseded.name, ApprovalEffect::Superseded);
            }
            outcome.approvals.push(s);
        }
    }
    outcome
}

/// The start of the whole second that contains `nanosecond`.
fn floor(nanosecond: i128) -> i128 {
    nanosecond - nanosecond.rem_euclid(1_000_000_000)
}

fn has_come(instant: Timestamp, now: Timestamp) -> bool {
    floor(instant.as_nanosecond()) <= now.as_nanosecond()
}

/// The end of an approval, in nanoseconds. `None` if the approval does not end.
fn end(said: &Said, level: &RiskLevelSpec) -> Option<i128> {
    let mut end = said.not_after.map(Timestamp::as_nanosecond);
    if let Some(validity) = level.validity {
        let nanos = i128::try_from(std::time::Duration::from(validity).as_nanos()).expect("small");
        let by_level = said.at.as_nanosecond() + nanos;
        end = Some(end.map_or(by_level, |own| own.min(by_level)));
    }
    end.map(floor)
}

fn is_owner(case: &Case, said: &Said) -> bool {
    let owners = case.system.iter().flat_map(|s| &s.owners);
    let names: BTreeSet<_> = owners.map(|o| (o.kind == OwnerKind::User, o.name.as_str())).collect();
    names.contains(&(true, said.approver.user.as_str()))
        || said.approver.groups.iter().any(|g| names.contains(&(false, g.as_str())))
}

fn is_author(case: &Case, said: &Said) -> bool {
    case.authors.iter().flatten().any(|author| *author == said.approver.user)
}

pub fn effects(case: &Case, now: Timestamp) -> Vec<(String, ApprovalEffect)> {
    let Some(level) = &case.level else { return Vec::new() };
    let mut outcome = replay(case, level);
    for approval in &outcome.approvals {
        let ended = end(approval, level).is_some_and(|end| end <= now.as_nanosecond());
        if level.separation_of_duties && is_owner(case, approval) {
            outcome.without_effect.insert(&approval.name, ApprovalEffect::ApproverIsOwner);
        } else if level.separation_of_duties && is_author(case, approval) {
            outcome.without_effect.insert(&approval.name, ApprovalEffect::ApproverIsAuthor);
        } else if ended {
            outcome.without_effect.insert(&approval.name, ApprovalEffect::Expired);
        }
    }
    let effect = |name: &str| outcome.without_effect.get(name).copied().unwrap_or(ApprovalEffect::Counted);
    let mut effects: Vec<_> = case.said.iter().map(|s| (s.name.clone(), effect(&s.name))).collect();
    effects.sort_by(|(a, _), (b, _)| a.cmp(b));
    effects
}

pub fn verdict(case: &Case, now: Timestamp) -> Verdict {
    with_waived(case, now).0
}

pub fn with_waived(case: &Case, now: Timestamp) -> (Verdict, Vec<Waived>) {
    let (mut why, mut waived) = (Vec::new(), Vec::new());
    for missed in &case.overrides.missed {
        if missed.due <= now {
            why.push(Reason::OverrideNotReviewed(missed.clone()));
        }
    }
    let retired = case.system.as_ref().and_then(|s| s.decommission.as_ref());
    if let Some(end) = retired.filter(|end| has_come(end.date.0, now)) {
        let since = Timestamp::from_nanosecond(floor(end.date.0.as_nanosecond())).expect("in range");
        why.push(Reason::Decommissioned { since, why: end.reason.clone(), successor: end.successor.clone() });
    }
    match (&case.system, &case.level) {
        (None, _) => why.push(Reason::SystemNotFound { system: case.version.system.clone() }),
        (Some(system), None) => why.push(Reason::RiskLevelNotFound { level: system.risk_level.clone() }),
        (Some(system), Some(level)) => {
            if level.prohibited {
                why.push(Reason::Prohibited { level: system.risk_level.clone() });
            }
            requirements(case, level, now, &mut why);
            why.extend(case.unmet.iter().map(|unmet| Reason::RequirementNotMet(unmet.clone())));
            why.extend(case.unmonitored.iter().map(|missing| Reason::MonitorMissing(missing.clone())));
            hosted_models(system, level, now, &mut why);
            risks(system, level, now, &mut why);
            for required in &level.assessments {
                why.extend(assessment(case, required, now));
            }
            decisions(case, level, now, &mut why);
            let mut reduced = level.approvals.clone();
            reduced.retain(|required| last_override(case, ("Approval", &required.role), now).is_none());
            let (mut all, mut left) = (Vec::new(), Vec::new());
            approvals(case, level, &level.approvals, now, &mut all);
            approvals(case, level, &reduced, now, &mut left);
            for reason in all {
                let role = subject(&reason).expect("a role").1;
                if !left.iter().any(|other| subject(other).expect("a role").1 == role) {
                    // If no override waives this role itself, an approver of a waived role fills this role. Of the
                    // overrides that waive any role, the override that ends last is then the one in `Waived`.
                    let mut by = last_override(case, ("Approval", &role), now);
                    by = by.or_else(|| last_override(case, ("Approval", "*"), now));
                    let by = by.expect("an override");
                    waived.push(Waived { by: by.name.clone(), until: by.end, reason });
                }
            }
            why.retain(|reason| {
                let by = subject(reason).and_then(|(type_, name)| last_override(case, (type_, &name), now));
                waived.extend(by.map(|by| Waived {
                    by: by.name.clone(),
                    until: by.end,
                    reason: reason.clone(),
                }));
                by.is_none()
            });
            why.extend(left);
        }
    }
    waived.sort();
    waived.dedup();
    if why.is_empty() {
        return (Verdict::Cleared, waived);
    }
    why.sort();
    why.dedup();
    (Verdict::Withheld(why), waived)
}

/// The override that waives the requirement `name` of type `type_` and that ends last. The name `*` stands for any
/// requirement of the type.
fn last_override<'c>(case: &'c Case, (type_, name): (&str, &str), now: Timestamp) -> Option<&'c Waiving> {
    let mut last: Option<&Waiving> = None;
    for waiving in &case.overrides.waiving {
        let names = waiving
            .waives
            .iter()
            .any(|waiver| format!("{:?}", waiver.type_) == type_ && (name == "*" || *waiver.name == *name));
        let is_later = last.is_none_or(|last| (waiving.end, &waiving.name) > (last.end, &last.name));
        if names && waiving.end > now && is_later {
            last = Some(waiving);
        }
    }
    last
}

/// The type and the name of the requirement that a reason is about. `None` if nobody can waive the
/// requirement.
fn subject(reason: &Reason) -> Option<(&'static str, String)> {
    Some(match reason {
        Reason::AwaitingApproval { role, .. } | Reason::ApprovalExpired { role, .. } => {
            ("Approval", role.clone())
        }
        Reason::AssessmentFailed { requirement, .. }
        | Reason::AssessmentInconclusive { requirement, .. }
        | Reason::AssessmentExpired { requirement, .. }
        | Reason::AssessmentMissing { requirement, .. } => ("Assessment", requirement.clone()),
        Reason::RequirementNotMet(unmet) if unmet.cause == UnmetCause::False => {
            ("Requirement", unmet.name.clone())
        }
        Reason::DocumentMissing { document } => ("Document", document.clone()),
        Reason::EvidenceMissing { evidence } => ("Evidence", format!("{evidence:?}")),
        Reason::CertificationMissing { certification, supplier, .. } => {
            let type_ = if supplier.is_some() { "SupplierCertification" } else { "Certification" };
            (type_, certification.clone())
        }
        Reason::HostedModelRetired { model, .. } | Reason::AgreementMissing { model } => {
            ("HostedModel", model.clone())
        }
        Reason::RiskTooHigh { risk, .. } => ("Risk", risk.clone()),
        Reason::MonitorMissing(missing) => ("Monitor", missing.requirement.clone()),
        Reason::ReviewOverdue(OverdueReview { of: Reviewed::Risk(risk), .. }) => {
            ("Review", format!("risk/{risk}"))
        }
        Reason::ReviewOverdue(OverdueReview { of: Reviewed::Document(document), .. }) => {
            ("Review", format!("document/{document}"))
        }
        _ => return None,
    })
}

/// The first half second after `now` with another verdict.
pub fn not_after(case: &Case, now: Timestamp) -> Option<Timestamp> {
    let before = verdict(case, now);
    (0..=HORIZON).map(half).find(|then| *then > now && verdict(case, *then) != before)
}

/// The first half second after `now` with another verdict or another effect.
pub fn revisit(case: &Case, now: Timestamp) -> Option<Timestamp> {
    let judge = |at| (with_waived(case, at), effects(case, at));
    let before = judge(now);
    (0..=HORIZON).map(half).find(|then| *then > now && judge(*then) != before)
}

/// Adds the reasons about images, forbidden volumes, documents, evidence and certifications.
fn requirements(case: &Case, level: &RiskLevelSpec, now: Timestamp, why: &mut Vec<Reason>) {
    let system = case.system.as_ref().expect("the caller has checked it");
    let runtime = &case.version.runtime;
    let mut images = Vec::new();
    images.extend(runtime.containers.iter().map(|c| c.image.clone()));
    images.extend(runtime.init_containers.iter().map(|c| c.image.clone()));
    images.extend(runtime.volumes.iter().filter_map(|v| Some(v.image.as_ref()?.reference.clone())));
    for image in images {
        let pinned = image.len() > 72 && image[..image.len() - 64].ends_with("@sha256:");
        if level.images == ImagePolicy::Digest && !pinned {
            why.push(Reason::ImageNotPinned { image: image.to_string() });
        }
    }
    for volume in &runtime.volumes {
        let json = serde_json::to_value(volume).expect("serialises");
        let sources = json["projected"]["sources"].as_array().cloned().unwrap_or_default();
        for kind in &level.forbidden_volumes {
            let field = serde_json::to_value(kind).expect("serialises");
            let field = field.as_str().expect("a name");
            if json.get(field).is_some() || sources.iter().any(|source| source.get(field).is_some()) {
                why.push(Reason::VolumeForbidden { volume: volume.name.to_string(), kind: *kind });
            }
        }
    }
    for document in &level.documents {
        if !system.documentation.iter().any(|d| d.type_ == *document) {
            why.push(Reason::DocumentMissing { document: document.clone() });
        }
    }
    let provenance = serde_json::to_value(&case.version.provenance).expect("serialises");
    for evidence in &level.evidence {
        let field = match evidence {
            Evidence::Data => "data",
            Evidence::BaseModel => "baseModel",
            Evidence::Architecture => "architecture",
            Evidence::Rationale => "rationale",
            Evidence::Tests => "tests",
            Evidence::Sbom => "sbom",
        };
        if provenance.get(field).is_none() {
            why.push(Reason::EvidenceMissing { evidence: *evidence });
        }
    }
    for wanted in &level.certifications {
        let mut held = false;
        for certification in system.provider.iter().flat_map(|p| &p.certifications) {
            let over = certification.not_after.as_ref().is_some_and(|end| has_come(end.0, now));
            held |= certification.name == *wanted && !over;
        }
        if !held {
            why.push(Reason::CertificationMissing {
                certification: wanted.clone(),
                supplier: None,
                role: None,
            });
        }
    }
}

fn hosted_models(system: &AISystemSpec, level: &RiskLevelSpec, now: Timestamp, why: &mut Vec<Reason>) {
    for hosted in &system.hosted_models {
        if let Some(end) = hosted.retires_at.as_ref().filter(|end| has_come(end.0, now)) {
            let since = Timestamp::from_nanosecond(floor(end.0.as_nanosecond())).expect("in range");
            why.push(Reason::HostedModelRetired { model: hosted.name.clone(), since });
        }
        let Some(required) = &level.hosted_models else { continue };
        if required.agreement && hosted.agreement.is_none() {
            why.push(Reason::AgreementMissing { model: hosted.name.clone() });
        }
        for wanted in &required.certifications {
            let of_supplier = system.suppliers.iter().filter(|s| s.name == hosted.provider);
            let mut same_name = of_supplier.flat_map(|s| &s.certifications).filter(|c| c.name == *wanted);
            if !same_name.any(|c| !c.not_after.as_ref().is_some_and(|end| has_come(end.0, now))) {
                let supplier = Some(hosted.provider.clone());
                why.push(Reason::CertificationMissing {
                    certification: wanted.clone(),
                    supplier,
                    role: None,
                });
            }
        }
    }
}

/// Adds the reasons about risks, and about overdue reviews if the level lets them withhold the version.
fn risks(system: &AISystemSpec, level: &RiskLevelSpec, now: Timestamp, why: &mut Vec<Reason>) {
    if let Some(required) = &level.risks {
        if system.risks.is_empty() {
            why.push(Reason::RiskMissing);
        }
        for risk in &system.risks {
            match required.max_residual {
                Some(accepted) if (risk.residual as u8) > (accepted as u8) => {
                    let (risk, residual) = (risk.name.clone(), risk.residual);
                    why.push(Reason::RiskTooHigh { risk, residual, accepted });
                }
                _ => {}
            }
            if let Some(rule) = &required.review {
                review(rule, &risk.review, Reviewed::Risk(risk.name.clone()), now, why);
            }
        }
    }
    for document in &system.documentation {
        if let Some(rule) = &level.document_review
            && level.documents.contains(&document.type_)
        {
            review(rule, &document.review, Reviewed::Document(document.type_.clone()), now, why);
        }
    }
}

fn review(rule: &RequiredReview, dates: &ReviewDates, of: Reviewed, now: Timestamp, why: &mut Vec<Reason>) {
    if rule.overdue == OverdueAction::Warn {
        return;
    }
    let mut ends = Vec::new();
    let mut unknown = rule.max_age.is_none() && dates.next.is_none();
    ends.extend(dates.next.as_ref().map(|next| next.0.as_nanosecond()));
    if let Some(age) = rule.max_age {
        let age = i128::try_from(std::time::Duration::from(age).as_nanos()).expect("small");
        unknown |= dates.last.is_none();
        ends.extend(dates.last.as_ref().map(|last| last.0.as_nanosecond() + age));
    }
    let first = ends.into_iter().min().map(floor);
    if unknown {
        why.push(Reason::ReviewOverdue(OverdueReview { of, since: None }));
    } else if let Some(first) = first.filter(|first| *first <= now.as_nanosecond()) {
        let since = Some(Timestamp::from_nanosecond(first).expect("in range"));
        why.push(Reason::ReviewOverdue(OverdueReview { of, since }));
    }
}

/// The number of millionths in a decimal text.
fn millionths(text: &str) -> i64 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{fraction:0<6}").parse().expect("a small number")
}

/// The reason why `required` is not met. `None` if `required` is met. Sorts the signed results, and judges the last
/// result.
fn assessment(case: &Case, required: &RequiredAssessment, now: Timestamp) -> Option<Reason> {
    let mut signed: Vec<(i128, u8, &Assessed, &AssessmentResult, &Signed)> = Vec::new();
    let mut unsigned: Vec<(i128, &Assessed)> = Vec::new();
    for assessed in &case.assessed {
        if assessed.kind != required.kind
            || (required.third_party && assessed.relationship != Some(Relationship::ThirdParty))
        {
            continue;
        }
        for result in &assessed.results {
            if &*result.metric != required.metric.as_str() || &*result.slice != required.slice.as_str() {
                continue;
            }
            let at = floor(assessed.performed_at.as_nanosecond());
            let mut signatures: Vec<_> =
                assessed.signatures.iter().filter(|s| s.role == required.role).collect();
            // Sort the signatures from worst to best: with a removed key, by an involved person, valid.
            signatures.sort_by(|a, b| {
                (rank(case, required, a), &b.approver.user).cmp(&(rank(case, required, b), &a.approver.user))
            });
            match signatures.last() {
                None => unsigned.push((at, assessed)),
                Some(by) => {
                    let severity = match judged(case, required, result, at, by, now) {
                        Judged::Met => 0,
                        Judged::Old => 1,
                        Judged::Open(_) => 2,
                        Judged::Bad => 3,
                    };
                    signed.push((at, severity, assessed, result, by));
                }
            }
        }
    }
    // Of several results from the same second, the worst result comes last and decides.
    signed.sort_by(|a, b| (a.0, a.1, &b.2.name).cmp(&(b.0, b.1, &a.2.name)));
    // An unsigned result that would fail takes precedence over an unsigned result that would meet the requirement.
    let fails = |assessed: &Assessed| {
        let good = Signed { approver: Approver::default(), role: String::new(), is_valid: true };
        let results = assessed.results.iter();
        let mut results = results
            .filter(|r| &*r.metric == required.metric.as_str() && &*r.slice == required.slice.as_str());
        results.any(|r| !matches!(judged(case, required, r, 0, &good, Timestamp::MIN), Judged::Met))
    };
    unsigned.sort_by_key(|(at, assessed)| (fails(assessed), *at, assessed.name.clone()));
    let (requirement, role) = (required.name.clone(), required.role.clone());
    let measure = match required.slice.as_str() {
        "" => required.metric.clone(),
        slice => format!("{} ({slice})", required.metric),
    };
    let Some((at, _, assessed, result, by)) = signed.last() else {
        let unsigned = unsigned.last().map(|(_, assessed)| assessed.name.clone());
        return Some(Reason::AssessmentMissing { requirement, measure, role, unsigned });
    };
    let cited = CitedResult {
        assessment: assessed.name.clone(),
        measure,
        value: compared(required, result).parse().expect("a decimal"),
        signer: by.approver.user.clone(),
    };
    match judged(case, required, result, *at, by, now) {
        Judged::Met => None,
        Judged::Old => {
            let age = i128::try_from(std::time::Duration::from(required.max_age).as_nanos()).expect("small");
            let since = Timestamp::from_nanosecond(floor(at + age)).expect("in range");
            Some(Reason::AssessmentExpired { requirement, result: cited, since, role })
        }
        Judged::Open(why) => Some(Reason::AssessmentInconclusive { requirement, result: cited, cause: why }),
        Judged::Bad => {
            let needed = Comparison { comparator: required.comparator, threshold: required.threshold };
            Some(Reason::AssessmentFailed { requirement, result: cited, needed })
        }
    }
}

enum Judged {
    Met,
    Old,
    Open(Inconclusive),
    Bad,
}

/// The rank of a signature for a requirement: 2 if the signature is valid, 1 if the signer is involved, 0 if the key
/// was removed from the role.
fn rank(case: &Case, required: &RequiredAssessment, signed: &Signed) -> u8 {
    let said = Said {
        name: String::new(),
        version: String::new(),
        approver: signed.approver.clone(),
        role: signed.role.clone(),
        decision: Decision::Attest,
        reason: None,
        at: half(0),
        not_after: None,
    };
    match signed.is_valid {
        false => 0,
        true if required.independent && (is_owner(case, &said) || is_author(case, &said)) => 1,
        true => 2,
    }
}

fn compared(required: &RequiredAssessment, result: &AssessmentResult) -> String {
    match (&required.confidence_level, &result.interval) {
        (Some(_), Some(interval)) => {
            let mut ends = [interval.lower.to_string(), interval.upper.to_string(), result.value.to_string()];
            ends.sort_by_key(|text| millionths(text));
            let worst = if required.comparator == Comparator::AtMost { 2 } else { 0 };
            ends[worst].clone()
        }
        _ => result.value.to_string(),
    }
}

/// Judges a result at the time `now`. `at` is the nanosecond at which the assessment was performed.
fn judged(
    case: &Case,
    required: &RequiredAssessment,
    result: &AssessmentResult,
    at: i128,
    by: &Signed,
    now: Timestamp,
) -> Judged {
    let lower_is_better = result.direction == Direction::LowerIsBetter;
    let at_most = required.comparator == Comparator::AtMost;
    if lower_is_better != at_most {
        return Judged::Open(Inconclusive::OtherDirection);
    }
    let (value, threshold) =
        (millionths(&compared(required, result)), millionths(&required.threshold.to_string()));
    if (at_most && value > threshold) || (!at_most && value < threshold) {
        return Judged::Bad;
    }
    if let Some(level) = required.confidence_level {
        let wanted = millionths(&level.to_string());
        if result.interval.as_ref().is_none_or(|i| millionths(&i.level.to_string()) < wanted) {
            return Judged::Open(Inconclusive::NoInterval { level });
        }
    }
    let (scored, needed) = (result.samples, required.min_samples);
    if scored < needed {
        return Judged::Open(Inconclusive::TooFewSamples { scored, needed });
    }
    let most = millionths(&required.max_error_rate.to_string());
    let all = result.samples + result.errors;
    let allowed = i64::try_from(all).expect("small") * most;
    if i64::try_from(result.errors).expect("small") * 1_000_000 > allowed {
        let (errors, samples, most) = (result.errors, all, required.max_error_rate);
        return Judged::Open(Inconclusive::TooManyErrors { errors, samples, most });
    }
    match rank(case, required, by) {
        0 => return Judged::Open(Inconclusive::SignatureNotValid),
        1 => return Judged::Open(Inconclusive::SignerInvolved),
        _ => {}
    }
    let age = i128::try_from(std::time::Duration::from(required.max_age).as_nanos()).expect("small");
    if floor(at + age) <= now.as_nanosecond() { Judged::Old } else { Judged::Met }
}

/// The approvals that no later decision withdrew: first the valid approvals, then the approvals that have ended. If the
/// level separates duties, approvals by owners and authors are left out.
fn counted<'c>(
    case: &Case,
    level: &RiskLevelSpec,
    outcome: &Outcome<'c>,
    now: Timestamp,
) -> (Vec<&'c Said>, Vec<&'c Said>) {
    let independent = |a: &&Said| !(level.separation_of_duties && (is_owner(case, a) || is_author(case, a)));
    let valid = |a: &&Said| end(a, level).is_none_or(|end| now.as_nanosecond() < end);
    outcome.approvals.iter().copied().filter(independent).partition(valid)
}

fn decisions(case: &Case, level: &RiskLevelSpec, now: Timestamp, why: &mut Vec<Reason>) {
    let outcome = replay(case, level);
    for r in outcome.rejections {
        let (by, role) = (r.approver.user.clone(), r.role.clone());
        why.push(Reason::Rejected { by, role, why: r.reason.clone(), elsewhere: elsewhere(r) });
    }
    let again = replay(case, level);
    let (good, ended) = counted(case, level, &again, now);
    let approved_anew = !good.is_empty() || (!ended.is_empty() && !level.approvals.is_empty());
    if let Some(r) = outcome.revocation.filter(|_| !approved_anew) {
        let by = r.approver.user.clone();
        why.push(Reason::Revoked { by, at: r.at, why: r.reason.clone(), elsewhere: elsewhere(r) });
    }
}

/// Adds the reasons about missing approvals for the roles in `places`.
fn approvals(
    case: &Case,
    level: &RiskLevelSpec,
    places: &[RequiredApproval],
    now: Timestamp,
    why: &mut Vec<Reason>,
) {
    let outcome = replay(case, level);
    let (good, ended) = counted(case, level, &outcome, now);
    let independent = |a: &&&Said| !(level.separation_of_duties && (is_owner(case, a) || is_author(case, a)));
    let who: BTreeSet<_> = good.iter().map(|a| (a.approver.user.as_str(), a.role.as_str())).collect();
    let have = assignments(places, &who, level.separation_of_duties);
    for RequiredApproval { role, count } in places {
        let (needed, have) = (*count as usize, have[role.as_str()]);
        if have >= needed {
            continue;
        }
        let gone = ended.iter().filter(|a| a.role == *role && !who.contains(&(&a.approver.user, role)));
        let role = role.clone();
        if let Some(since) = gone.filter_map(|a| end(a, level)).max() {
            let since = Timestamp::from_nanosecond(since).expect("in range");
            why.push(Reason::ApprovalExpired { role, needed, have, since });
        } else {
            let in_role = outcome.approvals.iter().filter(|a| a.role == role);
            let (owners, authors): (Vec<_>, Vec<_>) =
                in_role.filter(|a| !independent(a)).partition(|a| is_owner(case, a));
            let names = |said: Vec<&&Said>| -> Vec<String> {
                let names: BTreeSet<_> = said.into_iter().map(|a| a.approver.user.clone()).collect();
                names.into_iter().collect()
            };
            let (owners, authors) = (names(owners), names(authors));
            let here: BTreeSet<_> =
                who.iter().filter(|(_, r)| *r == role).map(|(person, _)| *person).collect();
            let mut in_several_roles = Vec::new();
            for person in here.iter().filter(|_| here.len() > have) {
                let required = |r: &str| places.iter().any(|required| required.role == r);
                if who.iter().any(|(other, r)| other == person && *r != role && required(r)) {
                    in_several_roles.push((*person).to_owned());
                }
            }
            why.push(Reason::AwaitingApproval { role, needed, have, owners, authors, in_several_roles });
        }
    }
}

/// The version and the approval of a decision that names another version than the judged version.
fn elsewhere(said: &Said) -> Option<Elsewhere> {
    let (version, approval) = (said.version.clone(), said.name.clone());
    (version != VERSION).then_some(Elsewhere { version, approval })
}

/// The number of people who fill each role. Tries every assignment of people to roles. The best assignment first fills
/// the role with the alphabetically first name with as many people as possible, then the next role, and so on.
pub fn assignments<'r>(
    required: &'r [RequiredApproval],
    who: &BTreeSet<(&str, &str)>,
    separate: bool,
) -> BTreeMap<&'r str, usize> {
    let count = |role: &str| required.iter().find(|r| r.role == role).map_or(0, |r| r.count as usize);
    let roles: BTreeSet<&str> = required.iter().map(|r| r.role.as_str()).collect();
    if !separate {
        let people = |role: &str| who.iter().filter(|(_, r)| *r == role).count();
        return roles.into_iter().map(|role| (role, people(role).min(count(role)))).collect();
    }
    let people: BTreeSet<&str> = who.iter().map(|(person, _)| *person).collect();
    let roles: Vec<&str> = roles.into_iter().collect();
    let mut ways: BTreeSet<Vec<usize>> = BTreeSet::from([vec![0; roles.len()]]);
    for person in people {
        for way in ways.clone() {
            for (n, role) in roles.iter().enumerate() {
                if who.contains(&(person, *role)) && way[n] < count(role) {
                    let mut next = way.clone();
                    next[n] += 1;
                    ways.insert(next);
                }
            }
        }
    }
    let best = ways.into_iter().max().expect("the empty assignment exists");
    roles.into_iter().zip(best).collect()
}
