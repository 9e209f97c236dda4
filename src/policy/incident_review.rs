//! The review of an incident, which is due some time after people resumed a version or closed the incident.
//!
//! The time until the review is due begins with the first decision to resume, or with the closing if the closing is
//! earlier. The review is complete when enough people in the roles of the level reviewed the incident. Reviews by
//! people who are involved do not count. If the review is overdue, the level warns, or it lets the incident hold
//! versions.

use k8s_openapi::jiff::Timestamp;

use super::{
    IncidentDecision, MissingToResume, RecordedIncident,
    effect::whole_seconds,
    incidents::{first_short, is_after_notes, required, requires},
};
use crate::api::{MissedIncidentReview, RequiredApproval, RequiredIncidentReview, RiskLevelSpec};

/// The due time of the review that a level requires after an incident, and the missing reviews.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueReview {
    /// The time at which the review is due.
    pub due: Timestamp,
    /// The missing reviews in the first role with too few reviewers. `None` if the review is complete.
    pub missing: Option<MissingToResume>,
}

/// The effect of one person's review of an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReviewEffect {
    /// The review counts.
    Counted,
    /// At the time of the review, people had neither resumed a version nor closed the incident.
    TooEarly,
    /// The reviewer opened the incident, or made all decisions to resume that count.
    ReviewerIsInvolved,
    /// The level does not let the role of the reviewer review incidents, or requires no review.
    RoleNotRequired,
}

impl ReviewEffect {
    /// The stable machine-readable reason, in upper camel case.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Counted => "Counted",
            Self::TooEarly => "TooEarly",
            Self::ReviewerIsInvolved => "ReviewerIsInvolved",
            Self::RoleNotRequired => "RoleNotRequired",
        }
    }
}

/// The roles that must review an incident: `incidents.review.roles` of the level. If this list is empty, the roles that
/// must resume a version must also review. `None` if the level requires no review.
pub fn required_to_review(level: &RiskLevelSpec) -> Option<&[RequiredApproval]> {
    let rule = rule(level)?;
    Some(if rule.roles.is_empty() { required(level) } else { rule.roles.as_slice() })
}

fn rule(level: &RiskLevelSpec) -> Option<&RequiredIncidentReview> {
    level.incidents.as_ref()?.review.as_ref()
}

/// The review that the level requires after `incident`. `None` if the level requires no review, or if people neither
/// resumed a version nor closed the incident.
pub fn due_review(incident: &RecordedIncident<'_>, level: &RiskLevelSpec) -> Option<DueReview> {
    let due = whole_seconds(rule(level)?.due(start(incident, level)?));
    let required = required_to_review(level)?;
    let counted = incident.reviews.iter();
    let counted: Vec<_> =
        counted.filter(|review| review_effect(incident, level, review) == ReviewEffect::Counted).collect();
    let short = first_short(required, &counted, level);
    let missing = short.map(|(role, have)| MissingToResume::Review {
        role: Some(role.role.clone()),
        needed: role.count as usize,
        have,
    });
    let any = required.is_empty() && counted.is_empty();
    let any = any.then_some(MissingToResume::Review { role: None, needed: 1, have: 0 });
    Some(DueReview { due, missing: missing.or(any) })
}

/// The effect of `review`, which is one person's review of the incident.
pub fn review_effect(
    incident: &RecordedIncident<'_>,
    level: &RiskLevelSpec,
    review: &IncidentDecision<'_>,
) -> ReviewEffect {
    let is_required = required_to_review(level).is_some_and(|required| requires(required, review.role));
    if !is_required {
        ReviewEffect::RoleNotRequired
    } else if start(incident, level).is_none_or(|start| review.at < start) {
        ReviewEffect::TooEarly
    } else if is_reviewer_involved(incident, level, &review.approver.user) {
        ReviewEffect::ReviewerIsInvolved
    } else {
        ReviewEffect::Counted
    }
}

/// The time from which a missing review holds versions, and the missing reviews. `None` if the level does not let a
/// missed review hold versions, if the review is complete, or if people neither resumed a version nor closed the
/// incident.
pub(super) fn hold(
    incident: &RecordedIncident<'_>,
    level: &RiskLevelSpec,
) -> Option<(Timestamp, MissingToResume)> {
    let rule = rule(level).filter(|rule| rule.on_missed == MissedIncidentReview::Hold);
    let review = rule.and_then(|_| due_review(incident, level))?;
    Some((review.due, review.missing?))
}

/// The time from which the due time of the review counts: the first decision to resume that counts, or the closing of the
/// incident, whichever is earlier. `None` if neither exists.
fn start(incident: &RecordedIncident<'_>, level: &RiskLevelSpec) -> Option<Timestamp> {
    let resumed = resumes(incident, level).map(|resume| resume.at);
    resumed.chain(incident.closed_at()).min()
}

/// The decisions to resume that count here. Each is in a role that the level requires, and is later than the required
/// notes.
fn resumes<'i>(
    incident: &'i RecordedIncident<'_>,
    level: &'i RiskLevelSpec,
) -> impl Iterator<Item = &'i IncidentDecision<'i>> {
    let resumes = incident.resumes.iter().filter(move |resume| requires(required(level), resume.role));
    resumes.filter(move |resume| is_after_notes(incident, resume))
}

fn is_reviewer_involved(incident: &RecordedIncident<'_>, level: &RiskLevelSpec, user: &str) -> bool {
    let mut people = resumes(incident, level).map(|resume| &*resume.approver.user).peekable();
    let resumed_alone = people.peek().is_some() && people.all(|person| person == user);
    incident.is_opener(user) || resumed_alone
}
