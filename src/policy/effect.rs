//! What became of each decision: which approvals count at an instant, and why the others do not.
//!
//! ```text
//!  decisions on one subject digest, by (person, role), in time
//!
//!  alice  ── Approve ───────────────────────►  Counted
//!  bob    ── Approve ── Reject ─────────────►  Superseded, Counted
//!  carol  ── Approve ──────────── Revoke ───►  Revoked,    Counted   (voids every approval before it)
//! ```
//!
//! Ties within the second in which the API server stamps them go against the approval.

use std::{borrow::Cow, collections::BTreeMap};

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::api::{Approver, Decision, Owner, OwnerKind, RiskLevelSpec};

/// A decision of a person, as it was recorded on the subject that is judged.
#[derive(Clone, Debug)]
pub struct RecordedDecision<'a> {
    /// The name of the `Approval`.
    pub name: &'a str,
    /// Who, as the API server stamped it or a signature tells.
    pub approver: Cow<'a, Approver>,
    /// The version that it names.
    pub version: &'a str,
    /// In which role.
    pub role: &'a str,
    /// What.
    pub decision: Decision,
    /// Why.
    pub reason: Option<&'a str>,
    /// When it was recorded, or signed if that was before.
    pub at: Timestamp,
    /// The end that the person set.
    pub not_after: Option<Timestamp>,
}

/// The users who wrote the subject of a decision, as the API server stamped them. `None`: not known, as before
/// Kubernetes 1.36.
#[derive(Clone, Copy, Debug, Default)]
pub struct Authors<'a> {
    /// Who created the model version.
    pub version: Option<&'a str>,
    /// Who last changed anything of the system but its `decommission`.
    pub system: Option<&'a str>,
}

impl Authors<'_> {
    fn include(&self, user: &str) -> bool {
        [self.version, self.system].contains(&Some(user))
    }
}

/// What became of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApprovalEffect {
    /// It has effect.
    Counted,
    /// A later decision of the same person in the same role took its place: a rejection that of an
    /// approval, and either that of a rejection. Approvals stand side by side, each until its end.
    Superseded,
    /// A revocation came after it.
    Revoked,
    /// It ended.
    Expired,
    /// Its approver owns the system, and duties are separated.
    ApproverIsOwner,
    /// Its approver wrote the version or the system, and duties are separated.
    ApproverIsAuthor,
    /// The level asks nothing of its role.
    RoleNotRequired,
}

impl ApprovalEffect {
    /// The stable CamelCase word.
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

/// The end of an approval: its own or the level's validity after it was given, in whole seconds as
/// the API server's clock counts them.
pub fn end(statement: &RecordedDecision<'_>, level: &RiskLevelSpec) -> Option<Timestamp> {
    let by_level = level.validity.and_then(|validity| {
        let validity = SignedDuration::try_from(std::time::Duration::from(validity)).ok()?;
        statement.at.checked_add(validity).ok()
    });
    by_level.into_iter().chain(statement.not_after).min().map(whole_seconds)
}

/// The whole second that `instant` is in.
pub fn whole_seconds(instant: Timestamp) -> Timestamp {
    Timestamp::from_second(instant.as_second()).unwrap_or(instant)
}

/// The decisions on one subject under one level.
pub struct Record<'a> {
    /// Each with what became of it but for the time, and with its end.
    statements: Vec<(&'a RecordedDecision<'a>, ApprovalEffect, Option<Timestamp>)>,
}

impl<'a> Record<'a> {
    /// Sorts out who said what last.
    pub fn new(
        statements: &'a [RecordedDecision<'a>],
        level: &'a RiskLevelSpec,
        owners: &'a [Owner],
        authors: Authors<'a>,
    ) -> Self {
        let last = LastWords::new(statements);
        let judged = statements.iter().map(|s| (s, last.standing(s, level, owners, authors), end(s, level)));
        Self { statements: judged.collect() }
    }

    /// The statements with what became of them at `now`, in the order in which they came.
    pub fn effects(
        &self,
        now: Timestamp,
    ) -> impl Iterator<Item = (&'a RecordedDecision<'a>, ApprovalEffect)> {
        self.statements.iter().map(move |(s, standing, end)| {
            let ended = *standing == ApprovalEffect::Counted
                && s.decision == Decision::Approve
                && end.is_some_and(|end| end <= now);
            (*s, if ended { ApprovalEffect::Expired } else { *standing })
        })
    }

    /// The last revocation; of several in one second, the one whose name comes last.
    pub fn last_revoke(&self) -> Option<&'a RecordedDecision<'a>> {
        let revocations = self.statements.iter().map(|(s, ..)| *s).filter(|s| s.decision == Decision::Revoke);
        revocations.max_by_key(|s| (s.at, s.name))
    }
}

/// When each person said what last, in each role.
struct LastWords<'a> {
    revoked: Option<Timestamp>,
    rejected: BTreeMap<(&'a str, &'a str), Timestamp>,
    approved: BTreeMap<(&'a str, &'a str), Timestamp>,
}

impl<'a> LastWords<'a> {
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

    /// What became of `statement`, but for its end.
    fn standing(
        &self,
        statement: &RecordedDecision<'_>,
        level: &RiskLevelSpec,
        owners: &[Owner],
        authors: Authors<'_>,
    ) -> ApprovalEffect {
        match statement.decision {
            Decision::Revoke => ApprovalEffect::Counted,
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

    /// Whether the person neither approved after it nor said it again.
    fn is_rejecting(&self, statement: &RecordedDecision<'_>) -> bool {
        self.approved.get(&key(statement)) <= Some(&statement.at)
            && self.rejected.get(&key(statement)) <= Some(&statement.at)
    }
}

/// A level that asks for nobody's approval takes anybody's: only so can a revocation be lifted.
fn is_required(level: &RiskLevelSpec, role: &str) -> bool {
    level.approvals.is_empty() || level.approvals.iter().any(|required| required.role == role)
}

fn owns(owners: &[Owner], approver: &Approver) -> bool {
    owners.iter().any(|owner| match owner.kind {
        OwnerKind::User => owner.name == approver.user,
        OwnerKind::Group => approver.groups.contains(&owner.name),
    })
}

fn key<'s>(statement: &'s RecordedDecision<'_>) -> (&'s str, &'s str) {
    (&statement.approver.user, statement.role)
}
