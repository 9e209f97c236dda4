//! The four steps of the warning before a clearance ends: 30, 14, 7 and 1 days before the end.
//!
//! When a step begins, the condition `ClearanceExpiring` of the version gets the reason of this step. If the version
//! was cleared before, the operator also sends an Event. The metrics count the versions at each step.

use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// A step of the warning before a clearance ends. The step that is closest to the end is the smallest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Notice {
    Within1Day,
    Within7Days,
    Within14Days,
    Within30Days,
}

impl Notice {
    pub const ALL: [Self; 4] = [Self::Within1Day, Self::Within7Days, Self::Within14Days, Self::Within30Days];

    /// The number of days between the start of the step and the end of the clearance.
    pub const fn days(self) -> u32 {
        match self {
            Self::Within1Day => 1,
            Self::Within7Days => 7,
            Self::Within14Days => 14,
            Self::Within30Days => 30,
        }
    }

    pub const fn reason(self) -> &'static str {
        match self {
            Self::Within1Day => "Within1Day",
            Self::Within7Days => "Within7Days",
            Self::Within14Days => "Within14Days",
            Self::Within30Days => "Within30Days",
        }
    }

    /// The last step that has begun at `now`, if the clearance ends at `end`. `None` before the first step.
    pub fn of(end: Timestamp, now: Timestamp) -> Option<Self> {
        Self::ALL.into_iter().find(|notice| notice.begins(end) <= now)
    }

    /// The time at which the next step begins. `None` after the last step has begun.
    pub fn next(end: Timestamp, now: Timestamp) -> Option<Timestamp> {
        Self::ALL.into_iter().map(|notice| notice.begins(end)).filter(|begins| *begins > now).min()
    }

    fn begins(self, end: Timestamp) -> Timestamp {
        let before = SignedDuration::from_hours(24 * i64::from(self.days()));
        end.checked_sub(before).unwrap_or(Timestamp::MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_step_that_has_begun_applies() {
        let at = |text: &str| text.parse::<Timestamp>().expect("an instant");
        let end = at("2027-01-31T12:00:00Z");
        for (now, notice, next) in [
            ("2026-12-31T12:00:00Z", None, Some("2027-01-01T12:00:00Z")),
            ("2027-01-01T12:00:00Z", Some(Notice::Within30Days), Some("2027-01-17T12:00:00Z")),
            ("2027-01-20T00:00:00Z", Some(Notice::Within14Days), Some("2027-01-24T12:00:00Z")),
            ("2027-01-25T00:00:00Z", Some(Notice::Within7Days), Some("2027-01-30T12:00:00Z")),
            ("2027-01-31T11:59:59Z", Some(Notice::Within1Day), None),
        ] {
            assert_eq!(
                (Notice::of(end, at(now)), Notice::next(end, at(now))),
                (notice, next.map(at)),
                "{now}"
            );
        }
    }
}
