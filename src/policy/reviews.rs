//! Judges the stated risks of a system, and the dates of the reviews of risks and documents.
//!
//! The level says whether an overdue review withholds the versions of the system, or only leads to a warning.

use std::fmt;

use k8s_openapi::jiff::Timestamp;

use super::{Reason, effect::whole_seconds};
use crate::api::{AISystemSpec, OverdueAction, RequiredReview, ReviewDates, RiskLevelSpec};

/// A risk or a document that needs reviews.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reviewed {
    /// The risk of this name.
    Risk(String),
    /// The document of this type.
    Document(String),
}

impl fmt::Display for Reviewed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Risk(name) => write!(f, "risk {name}"),
            Self::Document(type_) => write!(f, "document {type_}"),
        }
    }
}

/// A required review that is overdue, or whose dates the system does not state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OverdueReview {
    /// The risk or document that needs a review.
    pub of: Reviewed,
    /// The time since which the review is overdue. `None` if the system does not state the dates that the level needs.
    pub since: Option<Timestamp>,
}

impl fmt::Display for OverdueReview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.since {
            Some(since) => write!(f, "the review of {} is overdue since {since}", self.of),
            None => write!(f, "{} does not state the dates of its reviews", self.of),
        }
    }
}

/// The reviews that the level requires of the system. Each item has the rule of the level and the dates that the system
/// states.
fn required<'a>(
    system: &'a AISystemSpec,
    level: &'a RiskLevelSpec,
) -> impl Iterator<Item = (Reviewed, &'a RequiredReview, &'a ReviewDates)> {
    let rule = level.risks.as_ref().and_then(|risks| risks.review.as_ref());
    let of_risks = rule.into_iter().flat_map(|rule| {
        system.risks.iter().map(move |risk| (Reviewed::Risk(risk.name.clone()), rule, &risk.review))
    });
    let of_documents = level.document_review.iter().flat_map(|rule| {
        let documents = system.documentation.iter().filter(|d| level.documents.contains(&d.type_));
        documents.map(move |d| (Reviewed::Document(d.type_.clone()), rule, &d.review))
    });
    of_risks.chain(of_documents)
}

/// The times at which the required reviews become overdue. Reviews without dates have no such time.
pub fn due_times<'a>(
    system: &'a AISystemSpec,
    level: &'a RiskLevelSpec,
) -> impl Iterator<Item = Timestamp> + 'a {
    required(system, level).filter_map(|(_, rule, dates)| rule.due(dates)).map(whole_seconds)
}

/// The overdue reviews for which the level requires `action`: first of risks, then of documents, in the order in which
/// the system lists them.
pub fn overdue<'a>(
    system: &'a AISystemSpec,
    level: &'a RiskLevelSpec,
    action: OverdueAction,
    now: Timestamp,
) -> impl Iterator<Item = OverdueReview> + 'a {
    required(system, level).filter(move |(_, rule, _)| rule.overdue == action).filter_map(
        move |(of, rule, dates)| {
            let since = rule.due(dates).map(whole_seconds);
            since.is_none_or(|since| since <= now).then_some(OverdueReview { of, since })
        },
    )
}

pub(super) fn reasons(system: &AISystemSpec, level: &RiskLevelSpec, now: Timestamp) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if let Some(required) = &level.risks {
        reasons.extend(system.risks.is_empty().then_some(Reason::RiskMissing));
        if let Some(accepted) = required.max_residual {
            let too_high = system.risks.iter().filter(|risk| risk.residual > accepted);
            reasons.extend(too_high.map(|risk| Reason::RiskTooHigh {
                risk: risk.name.clone(),
                residual: risk.residual,
                accepted,
            }));
        }
    }
    reasons.extend(overdue(system, level, OverdueAction::Withhold, now).map(Reason::ReviewOverdue));
    reasons
}
