//! The effect of each decision at a given time. A decision counts, or does not count for a stated reason.
//!
//! ```text
//!  the decisions of one person in one role, in order    their effects
//!  Approve                                              Counted
//!  Approve, Reject                                      Superseded, Counted
//!  Approve, Revoke                                      Revoked, Counted
//! ```
//!
//! A revocation also voids the earlier approvals of all other people. The API server records times in whole seconds. If
//! two decisions have the same second, a rejection or revocation takes precedence over an approval.

use std::{borrow::Cow, collections::BTreeMap};

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::api::{Approver, Decision, Owner, OwnerKind, RiskLevelSpec};

/// A recorded decision of a person that applies to the judged version.
#[derive(Clone, Debug)]
pub struct RecordedDecision<'a> {
    /// The name of the `Approval`.
    pub name: &'a str,
    /// The approver, from the record of the API server or from the signature.
    pub approver: Cow<'a, Approver>,
    /// The name of the version in the decision.
    pub version: &'a str,
    /// The role in which the person decided.
    pub role: &'a str,
    /// Whether the person approved, rejected or revoked the version.
    pub decision: Decision,
    /// The reason that the person gave.
    pub reason: Option<&'a str>,
    /// The time at which the API server recorded the decision. If an approval has a signature with an earlier time,
    /// this is the time of the signature.
    pub at: Timestamp,
    /// The end of the approval, if the person set one.
    pub not_after: Option<Timestamp>,
}

/// The users who wrote the version and its system, as the API server recorded them. `None` stands for a user who is not
/// known. Before Kubernetes 1.36, no user is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Authors<'a> {
    /// The user who created the model version.
    pub version: Option<&'a str>,
    /// The user who last changed any field of the system except `decommission`.
    pub system: Option<&'a str>,
}

impl Authors<'_> {
    pub(super) fn include(&self, user: &str) -> bool {
        [self.version, self.system].contains(&Some(user))
    }
}

/// The effect of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApprovalEffect {
    /// The decision counts.
    Counted,
    /// A later decision of the same person in the same role supersedes this decision. A rejection supersedes earlier
    /// approvals and rejections. An approval supersedes only earlier rejections. So several approvals of one person can
    /// count until their ends.
    Superseded,
    /// A later revocation voids the approval.
    Revoked,
    /// The approval ended.
    Expired,
    /// The level separates duties, and the approver owns the system.
    ApproverIsOwner,
    /// The level separates duties, and the approver wrote the version or the system.
    ApproverIsAuthor,
    /// The level does not require the role of the decision, or the decision is not about a version.
    RoleNotRequired,
}

impl ApprovalEffect {
    /// The stable machine-readable reason, in upper camel case.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Counted => "Counted",
            Self::Superseded => "Superseded",
            Self::Revoked => "Revoked",
            Self::Expired => "Expired",
            Self::ApproverIsOwner => "ApproverIsOwner",
            Self::ApproverIsAuthor => "ApproverIsAuthor",
            Self::RoleNotRequired => "RoleNotRequired",
        }
    }
}

/// The end of an approval: its own `notAfter`, or the time of the decision plus the validity of the level, whichever is
/// earlier. `None` if there is neither. The result is in whole seconds, like the times of the API server.
pub fn end(statement: &RecordedDecision<'_>, level: &RiskLevelSpec) -> Option<Timestamp> {
    let by_level = level.validity.and_then(|validity| {
        let validity = SignedDuration::try_from(std::time::Duration::from(validity)).ok()?;
        statement.at.checked_add(validity).ok()
    });
    by_level.into_iter().chain(statement.not_after).min().map(whole_seconds)
}

pub fn whole_seconds(instant: Timestamp) -> Timestamp {
    Timestamp::from_second(instant.as_second()).unwrap_or(instant)
}

/// The decisions that apply to one version, with their effects by the rules of one level.
pub struct Record<'a> {
    /// Each decision, the effect of the decision before its end, and this end.
    statements: Vec<(&'a RecordedDecision<'a>, ApprovalEffect, Option<Timestamp>)>,
}

impl<'a> Record<'a> {
    pub fn new(
        statements: &'a [RecordedDecision<'a>],
        level: &'a RiskLevelSpec,
        owners: &'a [Owner],
        authors: Authors<'a>,
    ) -> Self {
        let latest = LatestDecisions::new(statements);
        let judged =
            statements.iter().map(|s| (s, latest.effect_of(s, level, owners, authors), end(s, level)));
        Self { statements: judged.collect() }
    }

    pub fn effects(
        &self,
        now: Timestamp,
    ) -> impl Iterator<Item = (&'a RecordedDecision<'a>, ApprovalEffect)> {
        self.statements.iter().map(move |(s, effect, end)| {
            let ended = *effect == ApprovalEffect::Counted
                && s.decision == Decision::Approve
                && end.is_some_and(|end| end <= now);
            (*s, if ended { ApprovalEffect::Expired } else { *effect })
        })
    }

    /// The last revocation. If several revocations have the same second, the revocation with the alphabetically last
    /// object name counts as the last.
    pub fn last_revoke(&self) -> Option<&'a RecordedDecision<'a>> {
        let revocations = self.statements.iter().map(|(s, ..)| *s).filter(|s| s.decision == Decision::Revoke);
        revocations.max_by_key(|s| (s.at, s.name))
    }
}

/// The time of the last revocation by any person, and the times of the latest rejections and approvals, by person and
/// role.
struct LatestDecisions<'a> {
    revoked: Option<Timestamp>,
    rejected: BTreeMap<(&'a str, &'a str), Timestamp>,
    approved: BTreeMap<(&'a str, &'a str), Timestamp>,
}

impl<'a> LatestDecisions<'a> {
    fn new(statements: &'a [RecordedDecision<'a>]) -> Self {
        let latest = |decision: Decision| {
            let mut latest = BTreeMap::new();
            for s in statements.iter().filter(|s| s.decision == decision) {
                let at = latest.entry(key(s)).or_insert(s.at);
                *at = s.at.max(*at);
            }
            latest
        };
        let revoked = statements.iter().filter(|s| s.decision == Decision::Revoke).map(|s| s.at).max();
        Self { revoked, rejected: latest(Decision::Reject), approved: latest(Decision::Approve) }
    }

    /// The effect of `statement` before its end. [`Record::effects`] checks the end.
    fn effect_of(
        &self,
        statement: &RecordedDecision<'_>,
        level: &RiskLevelSpec,
        owners: &[Owner],
        authors: Authors<'_>,
    ) -> ApprovalEffect {
        match statement.decision {
            Decision::Revoke => ApprovalEffect::Counted,
            // These decisions are about assessments, incidents and overrides, and not about the version.
            Decision::Attest | Decision::Resume | Decision::Override | Decision::Review => {
                ApprovalEffect::RoleNotRequired
            }
            _ if !is_required(level, statement.role) => ApprovalEffect::RoleNotRequired,
            Decision::Reject if self.is_rejecting(statement) => ApprovalEffect::Counted,
            Decision::Reject => ApprovalEffect::Superseded,
            Decision::Approve if self.revoked >= Some(statement.at) => ApprovalEffect::Revoked,
            Decision::Approve if self.rejected.get(&key(statement)) >= Some(&statement.at) => {
                ApprovalEffect::Superseded
            }
            Decision::Approve if level.separation_of_duties && owns(owners, &statement.approver) => {
                ApprovalEffect::ApproverIsOwner
            }
            Decision::Approve if level.separation_of_duties && authors.include(&statement.approver.user) => {
                ApprovalEffect::ApproverIsAuthor
            }
            Decision::Approve => ApprovalEffect::Counted,
        }
    }

    /// Whether the rejection `statement` is in effect. A later approval or rejection by the same person in the same
    /// role ends the effect.
    fn is_rejecting(&self, statement: &RecordedDecision<'_>) -> bool {
        self.approved.get(&key(statement)) <= Some(&statement.at)
            && self.rejected.get(&key(statement)) <= Some(&statement.at)
    }
}

/// Whether approvals and rejections in `role` count. If a level requires no role, every role counts, so that an
/// approval can lift a revocation.
fn is_required(level: &RiskLevelSpec, role: &str) -> bool {
    level.approvals.is_empty() || level.approvals.iter().any(|required| required.role == role)
}

pub(super) fn is_involved(owners: &[Owner], authors: Authors<'_>, approver: &Approver) -> bool {
    owns(owners, approver) || authors.include(&approver.user)
}

pub fn owns(owners: &[Owner], approver: &Approver) -> bool {
    owners.iter().any(|owner| match owner.kind {
        OwnerKind::User => owner.name == approver.user,
        OwnerKind::Group => approver.groups.contains(&owner.name),
    })
}

fn key<'s>(statement: &'s RecordedDecision<'_>) -> (&'s str, &'s str) {
    (&statement.approver.user, statement.role)
}
