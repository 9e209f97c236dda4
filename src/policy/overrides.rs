//! Finds the overrides that are in effect for a version, and the missing reviews of overrides.
//!
//! ```text
//!  Override (version, digest, waived requirements) ────────┐
//!  Approvals (Override) in the roles of the level ─────────┼─► Granted ──► Waiving
//!  quota and missed reviews at the time of the last grant ─┘
//! ```
//!
//! A granted override waives requirements until its `notAfter`, its review, or the maximum duration of the level,
//! whichever comes first. A person who neither requested nor granted the override must review it. If nobody reviews the
//! override in time, the level can withhold all versions of the system.
//!
//! Whether an override counts depends only on the decisions and overrides from before its grant. So a later review or
//! override never makes an override count that did not count at its grant.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use k8s_openapi::jiff::Timestamp;

use super::{
    ApprovalObject, ApproverRoles, HeldSubject, OverdueReview, Reason, RecordedDecision, Reviewed,
    UnmetCause, approver_of, decided_at,
    effect::{is_involved, whole_seconds},
    roles::assign_roles,
};
use crate::api::{
    Approver, Decision, Digest, MissedOverrideReview as OnMissed, OverrideRules, OverrideSpec,
    RequiredApproval, ReviewOutcome, Waiver, WaiverType, duration::after,
};

/// An override of the system of the judged version.
#[derive(Clone, Debug)]
pub struct RecordedOverride<'a> {
    /// The name of the `Override`.
    pub name: &'a str,
    /// The time at which the API server recorded the override.
    pub at: Timestamp,
    /// The content of the override.
    pub spec: &'a OverrideSpec,
    /// The digest of the content of the override. Grants and reviews must name this digest.
    pub digest: Digest,
    /// The decisions that grant the override.
    pub grants: Vec<OverrideDecision<'a>>,
    /// The reviews of the override, with their outcomes.
    pub reviews: Vec<(OverrideDecision<'a>, ReviewOutcome)>,
}

/// A grant or a review of an override by one person.
#[derive(Clone, Debug)]
pub struct OverrideDecision<'a> {
    /// The name of the `Approval`.
    pub name: &'a str,
    /// The person who decided, from the record of the API server or from the signature.
    pub approver: Cow<'a, Approver>,
    /// The role in which the person decided.
    pub role: &'a str,
    /// The time of the decision. For a signed decision, the time of the signature if it is earlier than `recorded`.
    pub at: Timestamp,
    /// The time at which the API server recorded the decision.
    pub recorded: Timestamp,
}

/// The overrides of a namespace, by the name of the system. The overrides of a system are in the order of
/// their names.
#[derive(Clone, Debug, Default)]
pub struct Overrides<'a>(BTreeMap<&'a str, Vec<RecordedOverride<'a>>>);

impl<'a> Overrides<'a> {
    /// Joins overrides with the verified decisions about them. Each item of `overrides` is the name, the creation time,
    /// the content and the digest of one override.
    pub fn new<A: ApprovalObject + 'a>(
        overrides: impl IntoIterator<Item = ((&'a str, Timestamp), &'a OverrideSpec, Digest)>,
        approvals: impl IntoIterator<Item = &'a A>,
        roles: &'a ApproverRoles,
    ) -> Self {
        let recorded = |((name, at), spec, digest): ((&'a str, Timestamp), &'a OverrideSpec, Digest)| {
            let (grants, reviews) = (Vec::new(), Vec::new());
            (name, RecordedOverride { name, at, spec, digest, grants, reviews })
        };
        let mut by_name: BTreeMap<&str, RecordedOverride<'a>> = overrides.into_iter().map(recorded).collect();
        for approval in approvals {
            let spec = approval.spec();
            let Some(named) = &spec.override_ else { continue };
            let Some(about) = by_name.get_mut(&*named.name).filter(|about| about.is_named_by(approval))
            else {
                continue;
            };
            let Some(decision) = OverrideDecision::of(approval, roles) else { continue };
            match (spec.decision, spec.outcome) {
                (Decision::Override, _) => about.grants.push(decision),
                (Decision::Review, Some(outcome)) => about.reviews.push((decision, outcome)),
                _ => {}
            }
        }
        let mut by_system: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for about in by_name.into_values() {
            by_system.entry(&about.spec.system).or_default().push(about);
        }
        Self(by_system)
    }

    /// The overrides of a system, in the order of their names.
    pub fn of(&self, system: &str) -> &[RecordedOverride<'a>] {
        self.0.get(system).map_or(&[], Vec::as_slice)
    }

    /// The overrides of each system.
    pub fn systems(&self) -> impl Iterator<Item = (&'a str, &[RecordedOverride<'a>])> {
        self.0.iter().map(|(system, overrides)| (*system, overrides.as_slice()))
    }
}

impl<'a> OverrideDecision<'a> {
    fn of(approval: &'a impl ApprovalObject, roles: &'a ApproverRoles) -> Option<Self> {
        Some(Self {
            name: approval.name()?,
            approver: approver_of(approval, roles).ok()?,
            role: &approval.spec().role,
            at: decided_at(approval)?,
            recorded: approval.created()?,
        })
    }
}

impl RecordedOverride<'_> {
    /// Whether `approval` names this override with its digest, and the system, version and subject digest of this
    /// override.
    pub fn is_named_by(&self, approval: &impl ApprovalObject) -> bool {
        let spec = approval.spec();
        let named = spec.override_.as_ref();
        named.is_some_and(|named| *named.name == *self.name && named.digest == self.digest)
            && *self.spec.system == *spec.system
            && *self.spec.model_version == *spec.model_version
            && self.spec.subject_digest == spec.subject_digest
    }

    fn planned_end(&self, rules: &OverrideRules) -> Timestamp {
        whole_seconds(self.spec.not_after.0.min(after(self.at, rules.max_duration)))
    }

    /// The time at which enough people had granted the override. `None` if the requester is not known, or if too few
    /// people granted the override. Grants by owners and authors of the system count here. Otherwise, a later edit of
    /// the system could make a granter an owner or author, and so end the duty to review the override.
    fn granted_at(&self, rules: &OverrideRules) -> Option<Timestamp> {
        self.spec.requested_by.as_ref()?;
        // Only the first grant of a person in a role can change the number of granters. So the code checks only the
        // times of the first grants, and a flood of grants costs little.
        let mut first: BTreeMap<(&str, &str), Timestamp> = BTreeMap::new();
        for grant in &self.grants {
            let at = first.entry((&grant.approver.user, grant.role)).or_insert(grant.recorded);
            *at = grant.recorded.min(*at);
        }
        let times: BTreeSet<_> = first.into_values().collect();
        let is_enough = |time: &Timestamp| {
            let grants = self.grants.iter().filter(|grant| grant.recorded <= *time);
            missing_grant(&rules.roles, grants, false).is_none()
        };
        times.into_iter().find(is_enough).map(|time| time.max(self.at))
    }

    /// The reason why `review` does not count. `None` if `review` counts. If the reviewer grants the override only
    /// after the review, the review still counts.
    pub fn why_not(&self, review: &OverrideDecision<'_>, rules: &OverrideRules) -> Option<NoReview> {
        let user = &*review.approver.user;
        let requested = self.spec.requested_by.as_ref().is_some_and(|by| by.user == user);
        let granted =
            |grant: &OverrideDecision<'_>| grant.recorded <= review.recorded && grant.approver.user == user;
        if !rules.review.roles.iter().any(|role| *role == *review.role) {
            Some(NoReview::RoleNotRequired)
        } else if review.at < self.at {
            Some(NoReview::BeforeOverride)
        } else if requested || self.grants.iter().any(granted) {
            Some(NoReview::ReviewerIsInvolved)
        } else {
            None
        }
    }

    fn review(&self, rules: &OverrideRules) -> Option<Review> {
        let counted = self.reviews.iter().filter(|(review, _)| self.why_not(review, rules).is_none());
        let first = counted.min_by_key(|(review, _)| (review.recorded, review.name));
        first.map(|(review, outcome)| Review { at: review.recorded, outcome: *outcome })
    }
}

/// The reason why a review does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoReview {
    /// The role of the review is not among the roles in which people may review overrides of the level.
    RoleNotRequired,
    /// The review has an earlier time than the override.
    BeforeOverride,
    /// The reviewer requested the override, or granted the override before the review.
    ReviewerIsInvolved,
}

impl NoReview {
    /// The stable machine-readable reason, in upper camel case.
    pub const fn code(self) -> &'static str {
        match self {
            Self::RoleNotRequired => "RoleNotRequired",
            Self::BeforeOverride => "BeforeOverride",
            Self::ReviewerIsInvolved => "ReviewerIsInvolved",
        }
    }
}

impl fmt::Display for NoReview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RoleNotRequired => "the risk level lets nobody in this role review an override",
            Self::BeforeOverride => "the person signed it before the override existed",
            Self::ReviewerIsInvolved => {
                "the person requested or granted the override: another person must review it"
            }
        })
    }
}

/// The first role of `required` in which too few people granted the override. `None` if enough people granted it in
/// each role. If `required` has no role, nobody can grant an override. With `separate`, one person counts in only one
/// role.
fn missing_grant<'g>(
    required: &[RequiredApproval],
    grants: impl IntoIterator<Item = &'g OverrideDecision<'g>>,
    separate: bool,
) -> Option<MissingGrant> {
    if required.is_empty() {
        return Some(MissingGrant::NobodyMay);
    }
    let mut people: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for grant in grants {
        people.entry(grant.role).or_default().insert(&grant.approver.user);
    }
    let have = assign_roles(required, &people, separate);
    let mut short = required.iter().zip(have).filter(|(role, have)| *have < role.count as usize);
    short.next().map(|(role, have)| MissingGrant::In {
        role: role.role.clone(),
        needed: role.count as usize,
        have,
    })
}

/// The reason why the grants of an override are not enough.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MissingGrant {
    /// The level names no role that may grant overrides.
    NobodyMay,
    /// More people must grant the override in a role.
    In {
        /// The name of the role.
        role: String,
        /// The number of required people.
        needed: usize,
        /// The number of people whose grants count in the role.
        have: usize,
    },
}

impl fmt::Display for MissingGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NobodyMay => f.write_str("the risk level names no role that may grant an override"),
            Self::In { role, needed, have } => {
                write!(f, "awaiting the grant by role {role}: {have} of {needed} given")
            }
        }
    }
}

/// The first review that counts for an override.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Review {
    /// The time at which the API server recorded the review. The override ends at this time, or earlier.
    pub at: Timestamp,
    /// Whether the reviewer found the override justified.
    pub outcome: ReviewOutcome,
}

/// The state of an override by the rules of a level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverrideState {
    /// Whether the override counts, or the reason why it does not count.
    pub grant: GrantState,
    /// The latest end of the override: its `notAfter`, or its creation plus the maximum duration of the level,
    /// whichever is earlier. A review or the age of the grants can end the override earlier.
    pub planned_end: Timestamp,
    /// The time at which the review is due. `None` if the override does not count.
    pub review_due: Option<Timestamp>,
    /// The first review that counts.
    pub review: Option<Review>,
}

/// Whether an override counts, or the reason why it does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantState {
    /// The override counts. Enough people had granted the override at this time.
    Granted(Timestamp),
    /// Too few people granted the override, or the requester is not known.
    Awaiting(MissingGrant),
    /// Enough people granted the override, but only at or after its planned end or its review.
    TooLate,
    /// At the time of the grant, the quota of the system was used up.
    OverQuota,
    /// At the time of the grant, the review of another override was overdue. The text is the name of the other
    /// override.
    AfterMissedReview(String),
}

/// The overrides of one system, judged by the rules of its level.
#[derive(Clone, Debug, Default)]
pub struct SystemOverrides<'a> {
    judged: Vec<(&'a RecordedOverride<'a>, OverrideState)>,
    on_missed: OnMissed,
}

impl<'a> SystemOverrides<'a> {
    /// Judges the overrides in the order of their grants. `rules` are the rules of the level for overrides.
    pub fn new(overrides: &'a [RecordedOverride<'a>], rules: &OverrideRules) -> Self {
        let granted_at = |about: &RecordedOverride<'_>| about.granted_at(rules);
        let mut ordered: Vec<_> = overrides.iter().map(|about| (granted_at(about), about)).collect();
        ordered.sort_by_key(|(granted, about)| (granted.is_none(), *granted, about.name));
        let mut judged = Self { judged: Vec::new(), on_missed: rules.review.on_missed };
        for (granted, about) in ordered {
            let state = judged.state(about, granted, rules);
            judged.judged.push((about, state));
        }
        judged
    }

    /// The state of the override `about`. `granted` is the time of its grant, or `None` if too few people granted it.
    /// `self` must contain the overrides that people granted before `about`.
    fn state(
        &self,
        about: &RecordedOverride<'_>,
        granted: Option<Timestamp>,
        rules: &OverrideRules,
    ) -> OverrideState {
        let (planned_end, review) = (about.planned_end(rules), about.review(rules));
        let end = review.map_or(planned_end, |review| planned_end.min(review.at));
        let grant = match granted {
            None => {
                let missing = missing_grant(&rules.roles, &about.grants, false);
                GrantState::Awaiting(missing.unwrap_or(MissingGrant::NobodyMay))
            }
            Some(granted) if granted >= end => GrantState::TooLate,
            Some(granted) => match self.missed_before(granted) {
                Some(missed) => GrantState::AfterMissedReview(missed.to_owned()),
                None if self.used_before(granted, rules) >= rules.per_system.count as usize => {
                    GrantState::OverQuota
                }
                None => GrantState::Granted(granted),
            },
        };
        let counts = matches!(grant, GrantState::Granted(_));
        let review_due = counts.then(|| whole_seconds(after(planned_end, rules.review.within)));
        OverrideState { grant, planned_end, review_due, review }
    }

    /// The name of an override in `self` whose review was overdue at `granted`.
    fn missed_before(&self, granted: Timestamp) -> Option<&str> {
        let is_missed = |state: &OverrideState| {
            state.review_due.is_some_and(|due| due <= granted)
                && state.review.is_none_or(|review| review.at > granted)
        };
        self.judged.iter().find(|(_, state)| is_missed(state)).map(|(about, _)| about.name)
    }

    /// The number of counted overrides in `self` whose grant is within the period of the quota. This period ends at
    /// `granted`.
    fn used_before(&self, granted: Timestamp, rules: &OverrideRules) -> usize {
        let is_recent = |state: &OverrideState| match state.grant {
            GrantState::Granted(at) => after(at, rules.per_system.within) > granted,
            _ => false,
        };
        self.judged.iter().filter(|(_, state)| is_recent(state)).count()
    }

    /// The state of each override.
    pub fn states(&self) -> impl Iterator<Item = (&'a RecordedOverride<'a>, &OverrideState)> {
        self.judged.iter().map(|(about, state)| (*about, state))
    }

    /// The granted overrides without a review, if the level lets a missed review withhold versions. Otherwise, the list
    /// is empty.
    pub fn missed(&self) -> Vec<MissedReview> {
        let holds = self.on_missed == OnMissed::Hold;
        let unreviewed = self.judged.iter().filter(|(_, state)| holds && state.review.is_none());
        let missed = unreviewed.filter_map(|(about, state)| {
            Some(MissedReview { due: state.review_due?, name: about.name.to_owned() })
        });
        missed.collect()
    }
}

/// A missing review of an override. From `due` on, the missing review withholds every version of the system.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MissedReview {
    /// The time at which the review is due.
    pub due: Timestamp,
    /// The name of the `Override`.
    pub name: String,
}

/// A granted override of a version, which can have ended already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiving {
    /// The name of the `Override`.
    pub name: String,
    /// The end of the override. From this time on, the override waives nothing.
    pub end: Timestamp,
    /// The requirements that the override waives. The list leaves out requirements of types that the level does not let
    /// overrides waive.
    pub waives: Vec<Waiver>,
}

/// The facts about overrides that can change the verdict on one version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OverrideFacts {
    /// The granted overrides that have an effect on the version, including overrides that ended.
    pub waiving: Vec<Waiving>,
    /// The missing reviews of overrides of the system. Each missing review withholds the version from its `due` time
    /// on.
    pub missed: Vec<MissedReview>,
}

/// The reason why a granted override has no effect on a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoEffect {
    /// The version has other content, was created after the override, or has no known creation time.
    SubjectChanged,
    /// A revocation of the version came after the override, or in the same second.
    Revoked,
    /// Too few grants count. A grant counts only if it is later than every revocation of the version. With separation
    /// of duties, a grant by an owner or author does not count, and one person counts in only one role.
    PeopleInvolved(MissingGrant),
}

impl SystemOverrides<'_> {
    /// Returns the overrides that can change the verdict on the version. Also returns the end of each granted override
    /// of the version, by name, or the reason why the override has no effect. `created` is the creation time of the
    /// version. `statements` are the decisions that apply to the version.
    pub fn on_version(
        &self,
        subject: &HeldSubject<'_>,
        created: Option<Timestamp>,
        statements: &[RecordedDecision<'_>],
    ) -> (OverrideFacts, BTreeMap<String, Result<Timestamp, NoEffect>>) {
        let revoked = statements.iter().filter(|s| s.decision == Decision::Revoke).map(|s| s.at).max();
        let mut facts = OverrideFacts { missed: self.missed(), ..OverrideFacts::default() };
        let mut effects = BTreeMap::new();
        let Some(rules) = &subject.level.overrides else { return (OverrideFacts::default(), effects) };
        for (about, state) in &self.judged {
            let names = *about.spec.model_version == *subject.name;
            if !names || !matches!(state.grant, GrantState::Granted(_)) {
                continue;
            }
            let end = subject.end_of(about, state, rules, (created, revoked));
            if let Ok(end) = end {
                let waives = about.spec.waives.iter().filter(|waiver| rules.waivable.contains(&waiver.type_));
                facts.waiving.push(Waiving {
                    name: about.name.to_owned(),
                    end,
                    waives: waives.cloned().collect(),
                });
            }
            effects.insert(about.name.to_owned(), end);
        }
        (facts, effects)
    }
}

impl HeldSubject<'_> {
    /// The end of a granted override of this version, or the reason why the override has no effect.
    fn end_of(
        &self,
        about: &RecordedOverride<'_>,
        state: &OverrideState,
        rules: &OverrideRules,
        (created, revoked): (Option<Timestamp>, Option<Timestamp>),
    ) -> Result<Timestamp, NoEffect> {
        if about.spec.subject_digest != self.digests.signed
            || created.is_none_or(|created| about.at < created)
        {
            return Err(NoEffect::SubjectChanged);
        }
        if revoked >= Some(about.at) {
            return Err(NoEffect::Revoked);
        }
        let separate = self.level.separation_of_duties;
        let is_required = |role: &str| rules.roles.iter().any(|required| required.role == role);
        let counted = about.grants.iter().filter(|grant| {
            is_required(grant.role)
                && revoked < Some(grant.at)
                && !(separate && is_involved(self.owners, self.authors, &grant.approver))
        });
        let counted: Vec<_> = counted.collect();
        if let Some(missing) = missing_grant(&rules.roles, counted.iter().copied(), separate) {
            return Err(NoEffect::PeopleInvolved(missing));
        }
        // The override also ends after the maximum duration from the last grant. Otherwise, a user could create an old
        // override again, for example from a backup, and its old signed grants would count again.
        let signed = counted.iter().map(|grant| grant.at).max();
        let of_grants = signed.map(|at| whole_seconds(after(at, rules.max_duration)));
        let of_review = state.review.map(|review| review.at);
        let ends = of_grants.into_iter().chain(of_review).chain([state.planned_end]);
        Ok(ends.min().unwrap_or(state.planned_end))
    }
}

/// A requirement that the version does not meet and that an override waives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Waived {
    /// The name of the `Override`.
    pub by: String,
    /// The end of the override.
    pub until: Timestamp,
    /// The reason that would withhold the version without the override.
    pub reason: Reason,
}

impl OverrideFacts {
    /// The override that waives the requirement `name` of type `type_` at `now`. If several overrides waive the
    /// requirement, the override that ends last counts.
    pub(super) fn waiving(&self, type_: WaiverType, name: &str, now: Timestamp) -> Option<&Waiving> {
        let waives = |waiver: &Waiver| waiver.type_ == type_ && *waiver.name == *name;
        self.active(now)
            .filter(|waiving| waiving.waives.iter().any(waives))
            .max_by_key(|waiving| (waiving.end, &waiving.name))
    }

    /// The times at which the verdict can change: the ends of the overrides, and the due times of the missing
    /// reviews.
    pub(super) fn instants(&self) -> impl Iterator<Item = Timestamp> {
        let ends = self.waiving.iter().map(|waiving| waiving.end);
        ends.chain(self.missed.iter().map(|missed| missed.due))
    }

    pub(super) fn reasons(&self, now: Timestamp) -> impl Iterator<Item = Reason> {
        let missed = self.missed.iter().filter(move |missed| missed.due <= now);
        missed.cloned().map(Reason::OverrideNotReviewed)
    }

    /// The missing approvals that overrides make unnecessary: the roles in `missing` that are not in `remaining`. An
    /// override waives such a role itself. Or an override waives another role, and an approver of this other role fills
    /// such a role.
    pub(super) fn waived_approvals(
        &self,
        missing: &[Reason],
        remaining: &[Reason],
        now: Timestamp,
    ) -> Vec<Waived> {
        let still: BTreeSet<_> = remaining.iter().filter_map(waiver_of).collect();
        let of_any_role = self
            .active(now)
            .filter(|waiving| waiving.waives.iter().any(|waiver| waiver.type_ == WaiverType::Approval));
        let of_any_role = of_any_role.max_by_key(|waiving| (waiving.end, &waiving.name));
        let waived = missing.iter().filter_map(|reason| {
            let (type_, name) = waiver_of(reason).filter(|role| !still.contains(role))?;
            let by = self.waiving(type_, &name, now).or(of_any_role)?;
            Some(Waived { by: by.name.clone(), until: by.end, reason: reason.clone() })
        });
        waived.collect()
    }

    fn active(&self, now: Timestamp) -> impl Iterator<Item = &Waiving> {
        self.waiving.iter().filter(move |waiving| waiving.end > now)
    }

    /// Removes the waived reasons from `reasons`, and returns them.
    pub(super) fn waive(&self, reasons: &mut Vec<Reason>, now: Timestamp) -> Vec<Waived> {
        let mut waived = Vec::new();
        reasons.retain(|reason| match self.waived(reason, now) {
            Some(by) => {
                waived.push(by);
                false
            }
            None => true,
        });
        waived.sort();
        waived.dedup();
        waived
    }

    /// The waiver of `reason` by an override that is in effect at `now`.
    fn waived(&self, reason: &Reason, now: Timestamp) -> Option<Waived> {
        let (type_, name) = waiver_of(reason)?;
        let by = self.waiving(type_, &name, now)?;
        Some(Waived { by: by.name.clone(), until: by.end, reason: reason.clone() })
    }
}

/// The type and the name of the requirement that an override must waive to remove `reason`. `None` if no override can
/// remove `reason`.
pub fn waiver_of(reason: &Reason) -> Option<(WaiverType, Cow<'_, str>)> {
    let (type_, name) = match reason {
        Reason::AwaitingApproval { role, .. } | Reason::ApprovalExpired { role, .. } => {
            (WaiverType::Approval, role)
        }
        Reason::AssessmentFailed { requirement, .. }
        | Reason::AssessmentInconclusive { requirement, .. }
        | Reason::AssessmentExpired { requirement, .. }
        | Reason::AssessmentMissing { requirement, .. } => (WaiverType::Assessment, requirement),
        Reason::RequirementNotMet(unmet) if unmet.cause == UnmetCause::False => {
            (WaiverType::Requirement, &unmet.name)
        }
        Reason::DocumentMissing { document } => (WaiverType::Document, document),
        Reason::MonitorMissing(missing) => (WaiverType::Monitor, &missing.requirement),
        Reason::EvidenceMissing { evidence } => {
            return Some((WaiverType::Evidence, Cow::Owned(format!("{evidence:?}"))));
        }
        Reason::CertificationMissing { certification, supplier: None, .. } => {
            (WaiverType::Certification, certification)
        }
        Reason::CertificationMissing { certification, supplier: Some(_), .. } => {
            (WaiverType::SupplierCertification, certification)
        }
        Reason::HostedModelRetired { model, .. } | Reason::AgreementMissing { model } => {
            (WaiverType::HostedModel, model)
        }
        Reason::RiskTooHigh { risk, .. } => (WaiverType::Risk, risk),
        Reason::ReviewOverdue(OverdueReview { of, .. }) => {
            let name = match of {
                Reviewed::Risk(risk) => format!("risk/{risk}"),
                Reviewed::Document(document) => format!("document/{document}"),
            };
            return Some((WaiverType::Review, Cow::Owned(name)));
        }
        Reason::SystemNotFound { .. }
        | Reason::RiskLevelNotFound { .. }
        | Reason::Prohibited { .. }
        | Reason::Decommissioned { .. }
        | Reason::Revoked { .. }
        | Reason::Rejected { .. }
        | Reason::Held(_)
        | Reason::OverrideNotReviewed(_)
        | Reason::ImageNotPinned { .. }
        | Reason::VolumeForbidden { .. }
        | Reason::RequirementNotMet(_)
        | Reason::RiskMissing
        | Reason::CapacityExceeded(_) => return None,
    };
    Some((type_, Cow::Borrowed(name)))
}
