//! The dates of reviews of risks and documents, and the age that a `RiskLevel` allows.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{KubeSchema, core::Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The last and the next review of a risk or a document. Approvers sign both dates if the risk level withholds versions
/// while a review is overdue.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!has(self.last) || !has(self.next) || self.last < self.next", "the last review must be before the next review"))]
pub struct ReviewDates {
    /// Time of the last review. If the risk level sets `maxAge`, a review without this time is overdue. Default: none.
    /// Example: `2026-09-01T00:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("self < timestamp('9000-01-01T00:00:00Z')", "the year must be before 9000"))]
    pub last: Option<Time>,

    /// Time at which the next review is due. From this time on, the review is overdue. Default: none, so only the
    /// `maxAge` of the risk level applies. If the level requires reviews without `maxAge`, a review without this time
    /// is overdue. Example: `2027-09-01T00:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("self < timestamp('9000-01-01T00:00:00Z')", "the year must be before 9000"))]
    pub next: Option<Time>,
}

/// The reviews that a risk level requires of risks or documents.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequiredReview {
    /// Longest time since the last review, as a Go duration with the units `h`, `m`, `s` and `ms`, at most `87600h`.
    /// With this field, a review without the date of the last review is overdue. Default: none, so each risk or
    /// document must state the date of its next review. Example: `8760h`, which is one year.
    #[serde(
        default,
        deserialize_with = "super::duration::optional",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(extend("maxLength" = 32))]
    #[x_kube(validation = (r"self.matches('^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) > duration('0s') && duration(self) <= duration('87600h')", "must be a duration such as 8760h (one year), longer than 0s and at most 87600h"))]
    pub max_age: Option<Duration>,

    /// Action on an overdue review. `Withhold`: no version of the system may run. `Warn`: versions run, and the system
    /// gets the condition `ReviewsOverdue`. Default: `Withhold`. Example: `Warn`.
    #[serde(default)]
    pub overdue: OverdueAction,
}

/// The action on an overdue review.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OverdueAction {
    /// No version of the system may run.
    #[default]
    Withhold,
    /// Versions run, and the system gets the condition `ReviewsOverdue`.
    Warn,
}

impl ReviewDates {
    /// Whether no date is stated.
    pub const fn is_empty(&self) -> bool {
        self.last.is_none() && self.next.is_none()
    }
}

impl RequiredReview {
    /// Whether an overdue review withholds the versions of the system. If so, the signed content includes the review
    /// dates.
    pub(crate) fn withholds(&self) -> bool {
        self.overdue == OverdueAction::Withhold
    }

    /// The time from which a review is overdue: the stated date of the next review, or the end of the maximum
    /// age if that is earlier. `None` if `dates` lack a date that the rule needs. Then the review is already
    /// overdue.
    pub fn due(&self, dates: &ReviewDates) -> Option<Timestamp> {
        let stated = dates.next.as_ref().map(|next| next.0);
        let Some(age) = self.max_age else { return stated };
        let oldest = super::duration::after(dates.last.as_ref()?.0, age);
        stated.into_iter().chain([oldest]).min()
    }
}
