//! Parses and prints the end of an approval.
//!
//! ```text
//!  "90d", "2027-03-31", "2027-03-31T12:00:00Z" ── parse ──► Timestamp ── in_words ──► "2027-… (in 89d23h)"
//! ```

use k8s_openapi::jiff::{
    RoundMode, SignedDuration, Span, SpanRound, Timestamp, ToSpan, Unit, Zoned,
    civil::Date,
    fmt::friendly::{Designator, Spacing, SpanPrinter},
    tz::TimeZone,
};

/// The error for an end that [`Until::instant`] cannot compute. The caller adds an example.
pub const TOO_LATE: &str = "the calendar ends with the year 9999; enter an earlier end";

/// An end time on the command line: an instant, or a duration from now.
#[derive(Clone, Debug, PartialEq)]
pub enum Until {
    /// An instant, such as `2027-03-31T12:00:00Z`. A date means 00:00 UTC on that date.
    At(Timestamp),
    /// A duration, such as `90d`, `12h` or `1y 6mo`.
    In(Box<SpanText>),
}

/// A positive duration in the units of the command line. Two durations are equal only if each unit is equal, so `1d`
/// differs from `24h`.
#[derive(Clone, Debug)]
pub struct SpanText(Span);

impl PartialEq for SpanText {
    fn eq(&self, other: &Self) -> bool {
        self.0.fieldwise() == other.0.fieldwise()
    }
}

#[derive(Debug, thiserror::Error)]
#[error(
    "expected a time such as 2027-03-31T12:00:00Z, a date such as 2027-03-31, or a duration such as 90d or 12h"
)]
pub struct NotAnEnd;

impl std::str::FromStr for Until {
    type Err = NotAnEnd;

    fn from_str(text: &str) -> Result<Self, NotAnEnd> {
        if let Ok(instant) = text.parse::<Timestamp>() {
            return Ok(Self::At(instant));
        }
        if let Ok(span) = text.parse::<Span>() {
            return if span.is_positive() { Ok(Self::In(Box::new(SpanText(span)))) } else { Err(NotAnEnd) };
        }
        let midnight = text.parse::<Date>().ok().and_then(|date| date.to_zoned(TimeZone::UTC).ok());
        midnight.map(|zoned| Self::At(zoned.timestamp())).ok_or(NotAnEnd)
    }
}

impl Until {
    /// The instant in whole seconds. `None` if the instant is later than the latest possible timestamp.
    pub fn instant(&self, now: Timestamp) -> Option<Timestamp> {
        let instant = match self {
            Self::At(instant) => *instant,
            Self::In(span) => Zoned::new(now, TimeZone::UTC).checked_add(span.0).ok()?.timestamp(),
        };
        Timestamp::from_second(instant.as_second()).ok()
    }
}

/// An instant and its distance from now: `2027-03-31T12:00:00Z (in 89d23h)`.
pub fn in_words(instant: Timestamp, now: Timestamp) -> String {
    format!("{} ({})", whole_seconds(instant), relative(instant, now))
}

/// The distance of an instant from now: `in 3d4h`, `2h5m ago`, `now`.
pub fn relative(instant: Timestamp, now: Timestamp) -> String {
    let distance = whole_seconds(instant).duration_since(whole_seconds(now));
    match distance.signum() {
        0 => "now".to_owned(),
        1 => format!("in {}", two_units(distance)),
        _ => format!("{} ago", two_units(distance.abs())),
    }
}

/// A duration in its two largest units, rounded down: `3d4h`, `2h5m`, `45s`. A duration of at least 365 days has only
/// days.
pub fn two_units(duration: SignedDuration) -> String {
    let smallest = match duration.as_hours() {
        0 => Unit::Second,
        1..24 => Unit::Minute,
        24..8760 => Unit::Hour,
        _ => Unit::Day,
    };
    let round = SpanRound::new().largest(Unit::Day).smallest(smallest).mode(RoundMode::Trunc);
    let span = Span::try_from(duration).and_then(|span| span.round(round.days_are_24_hours()));
    let printer = SpanPrinter::new().designator(Designator::Compact).spacing(Spacing::None);
    printer.span_to_string(&span.unwrap_or_else(|_| 0.seconds()))
}

fn whole_seconds(instant: Timestamp) -> Timestamp {
    Timestamp::from_second(instant.as_second()).unwrap_or(instant)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("an instant")
    }

    #[test]
    fn valid_ends_parse() {
        let now = at("2026-11-30T12:00:00.7Z");
        for (typed, end) in [
            ("2027-03-31T12:00:00Z", "2027-03-31T12:00:00Z"),
            ("2027-03-31T12:00:00+02:00", "2027-03-31T10:00:00Z"),
            ("2027-03-31", "2027-03-31T00:00:00Z"),
            ("90d", "2027-02-28T12:00:00Z"),
            ("12h", "2026-12-01T00:00:00Z"),
            ("3mo", "2027-02-28T12:00:00Z"),
            ("1y", "2027-11-30T12:00:00Z"),
        ] {
            let until: Until = typed.parse().expect(typed);
            assert_eq!(until.instant(now), Some(at(end)), "{typed}");
        }
    }

    #[test]
    fn invalid_ends_do_not_parse() {
        for typed in ["", "soon", "90", "-1d", "0s", "2027-13-01", "31.03.2027"] {
            assert!(typed.parse::<Until>().is_err(), "{typed} parsed");
        }
    }

    #[test]
    fn distances_have_two_units() {
        let now = at("2026-01-01T00:00:00Z");
        for (instant, words) in [
            ("2026-01-01T00:00:00.9Z", "now"),
            ("2026-01-01T00:00:45Z", "in 45s"),
            ("2026-01-01T00:05:45Z", "in 5m45s"),
            ("2026-01-01T02:05:45Z", "in 2h5m"),
            ("2026-01-04T04:59:59Z", "in 3d4h"),
            ("2027-12-31T04:59:59Z", "in 729d"),
            ("2025-12-31T23:00:00Z", "1h ago"),
        ] {
            assert_eq!(relative(at(instant), now), words);
        }
    }
}
