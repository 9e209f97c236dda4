//! Computes the Clearance and the statuses of one namespace at a given time, from the cached objects.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use super::{
    cost::Added,
    incident_status,
    index::{Cached, NamespaceFacts},
    judged::{Judged, UpcomingEnd},
    notice::Notice,
    on_loss::terms,
    overrides,
    records::Records,
    room::{Allotment, CandidateSystem, CandidateVersion, Claim, METADATA, Room, allot},
    status::Statuses,
    stored::stored_size,
    withheld,
};
use crate::{
    api::{
        ClearanceSpec, ClearedVersion, Digest, Governance, ModelVersion, OnLoss, RequirementState,
        RequirementStatus, SystemClearance, Trusted, WithheldVersion,
    },
    expression::Budget,
    policy::{
        self, Authors, Capacity, Finding, HeldSubject, HoldJudgement, Reason, RequirementFacts, ResultEffect,
        Subject, Verdict, applies_to, assessment_effects, judge,
    },
};

#[derive(Debug)]
pub struct Compiled {
    /// `None` if the namespace has no mode label, no system, no version, and no deleted system in its grace period.
    pub clearance: Option<ClearanceSpec>,
    pub statuses: Statuses,
    /// The next time at which the Clearance or a status can change although no object changes, such as the end of an
    /// approval.
    pub revisit: Option<Timestamp>,
}

/// The `notAfter` in the Clearance of a version whose clearance has no end. The admission policies compare `notAfter`
/// with the current time, so the field must have a value.
const NEVER: &str = "9999-12-30T00:00:00Z";

pub fn compile(namespace: &str, governance: Governance, facts: &NamespaceFacts, now: Timestamp) -> Compiled {
    compile_within(Room::Everything, namespace, governance, facts, now)
}

/// Compiles only the part of the Clearance that `room` allows. The caller selects a smaller `room` after the API server
/// refused a larger Clearance.
pub fn compile_within(
    room: Room,
    namespace: &str,
    governance: Governance,
    facts: &NamespaceFacts,
    now: Timestamp,
) -> Compiled {
    let overrides = overrides::overrides(facts);
    let records = Records::new(facts, &overrides);
    let mut budget = Budget::of_namespace();
    // All versions share one budget for expressions. The versions in the current Clearance come first. So a flood of
    // new versions cannot use up the budget, and the running versions stay cleared.
    let (kept, others): (Vec<_>, Vec<_>) =
        facts.versions.values().map(AsRef::as_ref).partition(|version| was_cleared(facts, version));
    let mut judge = |version| judge_version(namespace, facts, (&records, &mut budget), version, now);
    let ordered = kept.into_iter().chain(others);
    let mut judged: BTreeMap<&str, Judged> =
        ordered.map(|version| (&*version.name, judge(version))).collect();
    let mut spec = ClearanceSpec {
        mode: governance.mode,
        scope: governance.scope,
        since: Some(since(governance, facts, now)),
        trusted: Trusted::clone(&facts.trusted),
        systems: BTreeMap::new(),
    };
    let allotment = {
        let bytes = stored_size(&spec).saturating_add(METADATA);
        let (places, candidates) = (places(facts, &judged, now), candidates(facts, &judged));
        allot(room, bytes, places, candidates, &Added::from(&spec.trusted))
    };
    withhold(&mut judged, &allotment.refused);
    let bytes = allotment.bytes;
    let revisit_terms = add_entries(&mut spec.systems, facts, allotment, now);
    if room == Room::Everything {
        withheld::add(&mut spec.systems, withheld_versions(namespace, &judged), bytes);
    }
    let remembered = remember_losses(&mut spec.systems, facts, now);
    let revisit = judged.values().filter_map(|j| j.revisit).chain(remembered).chain(revisit_terms);
    let revisit = revisit.chain(overrides::next(&records.overrides, &judged, now));
    let revisit = revisit.chain(incident_status::next(facts, &records.incidents, now));
    let revisit = revisit.chain(next_of_systems(facts, now)).min();
    let described = !(facts.systems.is_empty() && facts.versions.is_empty() && spec.systems.is_empty());
    Compiled {
        clearance: (governance.mode.is_some() || described).then_some(spec),
        statuses: Statuses::new(namespace, facts, (&records, &judged), now),
        revisit,
    }
}

fn was_cleared(facts: &NamespaceFacts, version: &Cached<ModelVersion>) -> bool {
    let entry = before(facts).and_then(|systems| systems.get(&version.spec.system));
    entry.is_some_and(|entry| entry.cleared.iter().any(|cleared| cleared.model_version == version.name))
}

/// The next time at which a system is decommissioned, or a review of its risks or documents becomes overdue. Both
/// change the status of the system, even if the system has no version.
fn next_of_systems(facts: &NamespaceFacts, now: Timestamp) -> Option<Timestamp> {
    let with_level = facts.systems.values().filter_map(|s| Some((s, facts.levels.get(&s.spec.risk_level)?)));
    let due = with_level.flat_map(|(system, level)| policy::due_times(&system.spec, &level.spec));
    let ends = facts.systems.values().filter_map(|system| policy::decommission_time(&system.spec));
    due.chain(ends).filter(|time| *time > now).min()
}

/// The time at which the namespace got its current mode and scope. The time has whole seconds, like the
/// `creationTimestamp` of a pod, because `enforce` compares both times.
fn since(governance: Governance, facts: &NamespaceFacts, now: Timestamp) -> Time {
    let before = facts.clearance.as_ref().map(|clearance| &clearance.spec);
    let same = before.filter(|before| (before.mode, before.scope) == (governance.mode, governance.scope));
    same.and_then(|before| before.since.clone())
        .unwrap_or_else(|| Time(Timestamp::from_second(now.as_second()).unwrap_or(now)))
}

fn judge_version<'a>(
    namespace: &str,
    facts: &'a NamespaceFacts,
    (records, budget): (&Records<'a>, &mut Budget),
    version: &'a Cached<ModelVersion>,
    now: Timestamp,
) -> Judged {
    let described = facts.systems.get(&version.spec.system);
    let authors = Authors {
        version: version.attribution.author.as_deref(),
        system: described.and_then(|system| system.attribution.author.as_deref()),
    };
    let system = described.map(|s| &s.spec);
    let level = system.and_then(|s| facts.levels.get(&s.risk_level)).map(|l| &l.spec);
    let digests = system.map(|system| Subject::new(namespace, system, level, &version.spec).digests());
    let bearing = digests.iter().flat_map(|digests| {
        facts
            .approvals
            .values()
            .filter(move |a| applies_to(&***a, &version.spec.system, &version.name, digests))
    });
    let statements = policy::statements(bearing.map(AsRef::as_ref), &facts.roles);
    let assessments = records.evidence.of(digests.as_ref().map(|digests| &digests.signed));
    let required = system.and_then(|system| Some((system, facts.requirements.get(&system.risk_level)?)));
    let results = required.map(|(system, requirements)| {
        let of_version = RequirementFacts {
            namespace,
            labels: facts.labels.as_ref(),
            system,
            name: &version.name,
            version: &version.spec,
            assessments: &assessments,
            authors,
            cluster: &facts.cluster,
        };
        requirements.evaluate(&of_version, budget)
    });
    let unmet = results.map(|results| results.unmet);
    let incidents = records.incidents.of(&version.spec.system);
    let held = digests.as_ref().zip(system).zip(level).map(|((digests, system), level)| HeldSubject {
        name: &version.name,
        digests,
        level,
        owners: &system.owners,
        authors,
    });
    let HoldJudgement { holds, held_by, lifted, open, resumes } =
        held.map(|held| held.judge(incidents)).unwrap_or_default();
    let overrides = held.zip(records.overrides.get(&*version.spec.system));
    let overrides = overrides.map(|(held, of)| of.on_version(&held, version.created, &statements));
    let (overrides, effects_of_overrides) = overrides.unwrap_or_default();
    let facts = policy::Facts {
        name: &version.name,
        version: &version.spec,
        system,
        level,
        authors,
        statements,
        assessments,
        unmet: unmet.unwrap_or_default(),
        certified: records.certified.get(&*version.spec.system).cloned().unwrap_or_default(),
        holds,
        overrides,
        unmonitored: records.unmonitored.get(&*version.spec.system).cloned().unwrap_or_default(),
    };
    let judgement = judge(&facts, now);
    let effects = assessment_effects(&facts.assessments, &judgement.findings, now);
    let end = judgement.not_after.filter(|_| judgement.verdict == Verdict::Cleared);
    let ending = end.and_then(|end| {
        Some(UpcomingEnd { notice: Notice::of(end, now)?, then: judge(&facts, end).verdict })
    });
    Judged {
        system: version.spec.system.clone(),
        digest: digests.map(|digests| digests.signed),
        created: version.created,
        requirements: judgement.findings.iter().map(requirement).collect(),
        assessments: effects.into_iter().map(|(name, effect)| (name.to_owned(), effect)).collect(),
        effects: judgement.effects.iter().map(|(name, effect)| ((*name).to_owned(), *effect)).collect(),
        not_after: judgement.not_after,
        revisit: judgement.revisit.into_iter().chain(end.and_then(|end| Notice::next(end, now))).min(),
        ending,
        resumes,
        held_by: begun(held_by, now),
        lifted,
        waived: judgement.waived,
        overrides: effects_of_overrides,
        open_incident: open,
        verdict: judgement.verdict,
    }
}

fn begun(held_by: BTreeMap<String, Option<Timestamp>>, now: Timestamp) -> BTreeSet<String> {
    held_by
        .into_iter()
        .filter(|(_, from)| from.is_none_or(|from| from <= now))
        .map(|(name, _)| name)
        .collect()
}

fn requirement(finding: &Finding<'_>) -> RequirementStatus {
    let required = finding.required;
    let measured = finding.decided.as_ref().map(|(measured, _)| measured);
    RequirementStatus {
        name: required.name.clone(),
        state: match finding.decided.as_ref().map(|(_, effect)| *effect) {
            None => RequirementState::Missing,
            Some(ResultEffect::Met) => RequirementState::Met,
            Some(ResultEffect::Expired(_)) => RequirementState::Expired,
            Some(ResultEffect::Inconclusive(_)) => RequirementState::Inconclusive,
            Some(ResultEffect::Failed) => RequirementState::Failed,
        },
        required: format!("{} {}", required.comparator, required.threshold),
        value: measured.map(|m| m.compared(required)),
        margin: measured.map(|m| m.margin(required).to_string()),
        assessment: measured.map(|m| m.assessment.to_owned()),
        signer: measured.and_then(|m| m.signer.clone()),
        performed_at: measured.map(|m| Time(m.performed_at)),
        not_after: finding.end().map(Time),
        unsigned: finding.unsigned.as_ref().map(|m| m.assessment.to_owned()),
    }
}

/// The systems that could get an entry in the Clearance, each with its priority.
fn places<'a>(
    facts: &'a NamespaceFacts,
    judged: &BTreeMap<&str, Judged>,
    now: Timestamp,
) -> Vec<CandidateSystem<'a>> {
    let before = before(facts);
    let cleared = judged.values().filter(|judged| judged.verdict == Verdict::Cleared);
    let newly: BTreeSet<&str> = cleared.map(|judged| &*judged.system).collect();
    // Pods of a version in the current Clearance can run now, even if this compile withholds the version.
    let runs = |entry: &SystemClearance| !entry.cleared.is_empty() || is_in_grace(entry, now);
    let of_facts = facts.systems.values().map(|system| {
        let pods = system.status.as_ref().and_then(|status| status.pods).unwrap_or_default();
        let claim = match before.and_then(|systems| systems.get(&system.name)) {
            Some(entry) if runs(entry) || pods.running + pods.terminating > 0 => Claim::Runs,
            _ if newly.contains(&*system.name) => Claim::New,
            Some(_) => Claim::Known,
            None => Claim::None,
        };
        CandidateSystem {
            system: &system.name,
            level: &system.spec.risk_level,
            claim,
            created: system.created,
        }
    });
    let gone = before.into_iter().flatten().filter(|(name, _)| !facts.systems.contains_key(*name));
    let gone = gone.filter(|(_, entry)| runs(entry)).map(|(name, entry)| CandidateSystem {
        system: name,
        level: entry.risk_level.as_deref().unwrap_or_default(),
        claim: Claim::Runs,
        created: None,
    });
    of_facts.chain(gone).collect()
}

/// The entries of the current Clearance, by system.
fn before(facts: &NamespaceFacts) -> Option<&BTreeMap<String, SystemClearance>> {
    facts.clearance.as_ref().map(|clearance| &clearance.spec.systems)
}

fn end_of_grace(entry: &SystemClearance, lost_at: Timestamp) -> Timestamp {
    lost_at + Duration::from_secs(entry.on_loss.grace_period_seconds.into())
}

fn is_in_grace(entry: &SystemClearance, now: Timestamp) -> bool {
    entry.lost_at.as_ref().is_some_and(|at| now < end_of_grace(entry, at.0))
}

fn candidates<'a>(facts: &'a NamespaceFacts, judged: &BTreeMap<&str, Judged>) -> Vec<CandidateVersion<'a>> {
    let cleared = judged.iter().filter(|(_, judged)| judged.verdict == Verdict::Cleared);
    let candidate = |(name, judged): (&&str, &Judged)| {
        let (version, digest) = (facts.versions.get(*name)?, judged.digest.as_ref()?);
        let entry = before(facts).and_then(|systems| systems.get(&judged.system));
        let kept = entry.into_iter().flat_map(|entry| &entry.cleared);
        let is_this = |v: &ClearedVersion| v.model_version == version.name && v.subject_digest == *digest;
        Some(CandidateVersion {
            system: &version.spec.system,
            created: version.created,
            kept: kept.into_iter().any(is_this),
            entry: ClearedVersion {
                model_version: version.name.clone(),
                subject_digest: digest.clone(),
                not_after: Time(judged.not_after.unwrap_or_else(never)),
                patterns: policy::patterns(&version.spec.runtime),
                runtime: version.spec.runtime.clone(),
            },
        })
    };
    cleared.filter_map(candidate).collect()
}

fn withhold(judged: &mut BTreeMap<&str, Judged>, refused: &BTreeMap<String, Capacity>) {
    for (name, capacity) in refused {
        if let Some(judged) = judged.get_mut(name.as_str()) {
            judged.verdict = Verdict::Withheld(vec![Reason::CapacityExceeded(capacity.clone())]);
        }
    }
}

/// Adds an entry to `systems` for each existing system in `allotment`. The entry has the cleared versions of the
/// system, newest first, and its `onLoss`. Returns the next time at which the `onLoss` of a system can change.
fn add_entries(
    systems: &mut BTreeMap<String, SystemClearance>,
    facts: &NamespaceFacts,
    mut allotment: Allotment<'_>,
    now: Timestamp,
) -> Option<Timestamp> {
    let mut revisit = None;
    for system in facts.systems.values().filter(|system| allotment.systems.contains(&*system.name)) {
        let level = facts.levels.get(&system.spec.risk_level);
        let level = level.map_or_else(OnLoss::default, |level| level.spec.on_loss.clone());
        let pods = system.status.as_ref().and_then(|status| status.pods);
        let entry = before(facts).and_then(|systems| systems.get(&system.name));
        let terms = terms(entry, (&system.spec.risk_level, level), pods, now);
        let mut cleared = allotment.cleared.remove(&*system.name).unwrap_or_default();
        let created = |v: &ClearedVersion| facts.versions.get(&v.model_version).and_then(|v| v.created);
        cleared.sort_by(|a, b| (created(b), &b.model_version).cmp(&(created(a), &a.model_version)));
        revisit = revisit.into_iter().chain(terms.revisit).min();
        let entry = SystemClearance {
            cleared,
            on_loss: terms.on_loss,
            risk_level: Some(system.spec.risk_level.clone()),
            switched_at: terms.switched_at,
            ..SystemClearance::default()
        };
        systems.insert(system.name.clone(), entry);
    }
    revisit
}

fn withheld_versions<'a>(
    namespace: &str,
    judged: &'a BTreeMap<&str, Judged>,
) -> BTreeMap<&'a str, Vec<WithheldVersion>> {
    let mut all: Vec<_> = judged.iter().filter(|(_, j)| j.verdict != Verdict::Cleared).collect();
    all.sort_by(|(a_name, a), (b_name, b)| (b.created, b_name).cmp(&(a.created, a_name)));
    let mut by_system: BTreeMap<&str, Vec<WithheldVersion>> = BTreeMap::new();
    for (name, judged) in all {
        let versions = by_system.entry(&judged.system).or_default();
        if versions.len() < withheld::VERSIONS {
            versions.push(WithheldVersion {
                model_version: (*name).to_owned(),
                reason: judged.reason().to_owned(),
                message: judged.message(namespace, name),
            });
        }
    }
    by_system
}

fn never() -> Timestamp {
    NEVER.parse().expect("a constant")
}

/// Sets the time at which each system last lost a cleared version. This time is `now` if the system loses a version in
/// this compile. The grace period of the system's pods starts at this time. A system that left the Clearance, such as a
/// deleted system, keeps an entry until its grace period ends. Returns the earliest end of these grace periods.
fn remember_losses(
    systems: &mut BTreeMap<String, SystemClearance>,
    facts: &NamespaceFacts,
    now: Timestamp,
) -> Option<Timestamp> {
    let mut forget_at = None;
    for (name, before) in before(facts).into_iter().flatten() {
        let still: BTreeSet<&Digest> =
            systems.get(name).into_iter().flat_map(|s| &s.cleared).map(|v| &v.subject_digest).collect();
        let lost = before.cleared.iter().any(|v| !still.contains(&v.subject_digest));
        let lost_at = if lost { Some(Time(now)) } else { before.lost_at.clone() };
        let Some(lost_at) = lost_at else { continue };
        let over = end_of_grace(before, lost_at.0);
        if let Some(system) = systems.get_mut(name) {
            system.lost_at = Some(lost_at);
        } else if now < over {
            forget_at = forget_at.into_iter().chain([over]).min();
            let gone = SystemClearance {
                on_loss: before.on_loss.clone(),
                risk_level: before.risk_level.clone(),
                switched_at: before.switched_at.clone(),
                lost_at: Some(lost_at),
                ..SystemClearance::default()
            };
            systems.insert(name.clone(), gone);
        }
    }
    forget_at
}
