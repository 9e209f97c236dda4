//! The compile itself: the facts of a namespace at an instant, judged version by version.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use super::{
    index::{Facts, Kept},
    notice::Notice,
    status::{Ending, Judged, Statuses},
};
use crate::{
    api::{
        ClearanceSpec, ClearedVersion, Digest, Governance, ModelVersion, OnLoss, SystemClearance, Trusted,
        WithheldVersion,
    },
    policy::{self, Reason, Subject, Verdict, bears_on, judge},
};

/// What is to be written, and when to look again.
#[derive(Debug)]
pub struct Compiled {
    /// `None` where nobody asks for one: not opted in, and nothing described.
    pub clearance: Option<ClearanceSpec>,
    pub statuses: Statuses,
    pub revisit: Option<Timestamp>,
}

/// The bounds of a `Clearance`, below those of its schema and of etcd's 1.5 MiB an object.
const SYSTEMS: usize = 256;
const CLEARED_VERSIONS: usize = 32;
const WITHHELD_VERSIONS: usize = 16;
const BYTES: usize = 1024 * 1024;

/// The end of what never ends, for the API server to compare with.
const NEVER: &str = "9999-12-30T00:00:00Z";

/// Compiles `facts` of `namespace` as they are at `now`.
pub fn compile(namespace: &str, governance: Governance, facts: &Facts, now: Timestamp) -> Compiled {
    let mut judged: BTreeMap<&str, Judged> = facts
        .versions
        .values()
        .map(|version| (&*version.name, judge_version(namespace, facts, version, now)))
        .collect();
    let mut systems = systems(namespace, facts, &mut judged);
    let remembered = remember_losses(&mut systems, facts, now);
    let revisit = judged.values().filter_map(|j| j.revisit).chain(remembered).min();
    let described = !(facts.systems.is_empty() && facts.versions.is_empty() && systems.is_empty());
    Compiled {
        clearance: (governance.mode.is_some() || described).then(|| ClearanceSpec {
            mode: governance.mode,
            scope: governance.scope,
            since: Some(since(governance, facts, now)),
            trusted: Trusted::clone(&facts.trusted),
            systems,
        }),
        statuses: Statuses::new(namespace, facts, &judged, now),
        revisit,
    }
}

/// Since when the namespace is governed as it is; in whole seconds, as is a pod's creation.
fn since(governance: Governance, facts: &Facts, now: Timestamp) -> Time {
    let before = facts.clearance.as_ref().map(|clearance| &clearance.spec);
    let same = before.filter(|before| (before.mode, before.scope) == (governance.mode, governance.scope));
    same.and_then(|before| before.since.clone())
        .unwrap_or_else(|| Time(Timestamp::from_second(now.as_second()).unwrap_or(now)))
}

fn judge_version<'a>(
    namespace: &str,
    facts: &'a Facts,
    version: &'a Kept<ModelVersion>,
    now: Timestamp,
) -> Judged {
    let system = facts.systems.get(&version.spec.system).map(|s| &s.spec);
    let level = system.and_then(|s| facts.levels.get(&s.risk_level)).map(|l| &l.spec);
    let digests = system.map(|system| Subject::new(namespace, system, level, &version.spec).digests());
    let bearing = digests.iter().flat_map(|digests| {
        facts.approvals.values().filter(move |a| bears_on(a, &version.spec.system, &version.name, digests))
    });
    let statements = policy::statements(bearing.map(AsRef::as_ref), &facts.roles);
    let facts = policy::Facts { name: &version.name, version: &version.spec, system, level, statements };
    let judgement = judge(&facts, now);
    let end = judgement.not_after.filter(|_| judgement.verdict == Verdict::Cleared);
    let ending =
        end.and_then(|end| Some(Ending { notice: Notice::of(end, now)?, then: judge(&facts, end).verdict }));
    Judged {
        system: version.spec.system.clone(),
        digest: digests.map(|digests| digests.signed),
        created: version.created,
        standings: judgement
            .standings
            .iter()
            .map(|(name, standing)| ((*name).to_owned(), *standing))
            .collect(),
        not_after: judgement.not_after,
        revisit: judgement.revisit.into_iter().chain(end.and_then(|end| Notice::next(end, now))).min(),
        ending,
        verdict: judgement.verdict,
    }
}

/// What may run of each system; what is too much for one object is withheld instead.
fn systems(
    namespace: &str,
    facts: &Facts,
    judged: &mut BTreeMap<&str, Judged>,
) -> BTreeMap<String, SystemClearance> {
    let mut systems: BTreeMap<String, SystemClearance> = BTreeMap::new();
    let mut bytes = 0;
    for (system, level) in
        facts.systems.values().map(|s| (s, facts.levels.get(&s.spec.risk_level))).take(SYSTEMS)
    {
        let on_loss = level.map_or_else(OnLoss::default, |l| l.spec.on_loss.clone());
        let clearance = SystemClearance { on_loss, ..SystemClearance::default() };
        systems.insert(system.name.clone(), clearance);
    }
    for (name, judged) in newest_first(judged) {
        let Some(version) = facts.versions.get(name) else { continue };
        let size = serde_json::to_vec(&version.spec.runtime).map_or(BYTES, |json| json.len());
        let room = systems.get(&judged.system).is_some_and(|s| s.cleared.len() < CLEARED_VERSIONS);
        if judged.verdict == Verdict::Cleared && (!room || bytes + size > BYTES) {
            judged.verdict = Verdict::Withheld(vec![Reason::CapacityExceeded]);
        }
        let Some(system) = systems.get_mut(&judged.system) else { continue };
        match (&judged.verdict, &judged.digest) {
            (Verdict::Cleared, Some(digest)) => {
                bytes += size;
                system.cleared.push(ClearedVersion {
                    model_version: name.to_owned(),
                    subject_digest: digest.clone(),
                    not_after: Time(judged.not_after.unwrap_or_else(never)),
                    runtime: version.spec.runtime.clone(),
                });
            }
            _ if system.withheld.len() < WITHHELD_VERSIONS => system.withheld.push(WithheldVersion {
                model_version: name.to_owned(),
                reason: judged.reason().to_owned(),
                message: judged.message(namespace, name),
            }),
            _ => {}
        }
    }
    systems
}

fn never() -> Timestamp {
    NEVER.parse().expect("a constant")
}

/// So that where there is not room for all, the old ones go first.
fn newest_first<'a, 'b>(judged: &'a mut BTreeMap<&'b str, Judged>) -> Vec<(&'b str, &'a mut Judged)> {
    let mut versions: Vec<_> = judged.iter_mut().map(|(name, judged)| (*name, judged)).collect();
    versions.sort_by(|(a_name, a), (b_name, b)| (b.created, b_name).cmp(&(a.created, a_name)));
    versions
}

/// Notes since when what was cleared before is no longer: the grace of its pods counts from there. A
/// system that is gone is remembered until its grace is over. Returns the earliest such end.
fn remember_losses(
    systems: &mut BTreeMap<String, SystemClearance>,
    facts: &Facts,
    now: Timestamp,
) -> Option<Timestamp> {
    let before = facts.clearance.iter().flat_map(|clearance| &clearance.spec.systems);
    let mut forget_at = None;
    for (name, before) in before {
        let still: BTreeSet<&Digest> =
            systems.get(name).into_iter().flat_map(|s| &s.cleared).map(|v| &v.subject_digest).collect();
        let lost = before.cleared.iter().any(|v| !still.contains(&v.subject_digest));
        let lost_at = if lost { Some(Time(now)) } else { before.lost_at.clone() };
        let Some(lost_at) = lost_at else { continue };
        let over = lost_at.0 + std::time::Duration::from_secs(before.on_loss.grace_period_seconds.into());
        if let Some(system) = systems.get_mut(name) {
            system.lost_at = Some(lost_at);
        } else if now < over {
            forget_at = forget_at.into_iter().chain([over]).min();
            let gone = SystemClearance {
                on_loss: before.on_loss.clone(),
                lost_at: Some(lost_at),
                ..SystemClearance::default()
            };
            systems.insert(name.clone(), gone);
        }
    }
    forget_at
}
