//! Measures durations in uptime: only the time counts in which all required components were up and had recovered.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// The time that a component needs after an outage until it works again.
const RECOVERY: SignedDuration = SignedDuration::from_secs(5);

/// The times at which all required components were up.
#[derive(Clone, Debug, Default)]
pub struct Uptime {
    /// The periods in which at least one of these components was down, in order and without overlap.
    down: Vec<(Timestamp, Timestamp)>,
}

impl Uptime {
    /// The uptime outside `outages`. The outages may overlap and can have any order.
    pub fn new(outages: impl IntoIterator<Item = (Timestamp, Timestamp)>) -> Self {
        let mut outages: Vec<_> = outages.into_iter().collect();
        outages.sort_unstable();
        let mut down: Vec<(Timestamp, Timestamp)> = Vec::new();
        for (from, to) in outages {
            match down.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => down.push((from, to)),
            }
        }
        Self { down }
    }

    /// As [`Uptime::new`], but each outage is longer by the time that a component needs to recover.
    pub fn recovering(outages: impl IntoIterator<Item = (Timestamp, Timestamp)>) -> Self {
        Self::new(outages.into_iter().map(|(from, to)| (from, to + RECOVERY)))
    }

    /// As [`Uptime::recovering`], but each outage is also longer by the back-off of the clients. The back-off can be as
    /// long as the outage.
    pub fn backing_off(outages: impl IntoIterator<Item = (Timestamp, Timestamp)>) -> Self {
        Self::recovering(outages.into_iter().map(|(from, to)| (from, to + to.duration_since(from))))
    }

    /// The times at which the components of both values are up.
    pub fn and(&self, other: &Self) -> Self {
        Self::new(self.down.iter().chain(&other.down).copied())
    }

    /// The uptime between two instants.
    pub fn between(&self, from: Timestamp, to: Timestamp) -> Duration {
        let down = self.down.iter().map(|(begin, end)| {
            let (begin, end) = ((*begin).max(from), (*end).min(to));
            if begin < end { end.duration_since(begin) } else { SignedDuration::ZERO }
        });
        let down = down.fold(SignedDuration::ZERO, |sum, one| sum + one);
        Duration::try_from(to.duration_since(from) - down).unwrap_or_default()
    }

    /// The latest instant such that the uptime between that instant and `to` is `time`.
    pub fn before(&self, to: Timestamp, time: Duration) -> Timestamp {
        let mut left = SignedDuration::try_from(time).unwrap_or_default();
        let mut at = to;
        for (begin, end) in self.down.iter().rev().filter(|(begin, _)| *begin < to) {
            let up = at.duration_since((*end).min(at));
            if up >= left {
                break;
            }
            left -= up;
            at = *begin;
        }
        at - left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap_or_default()
    }

    #[test]
    fn downtime_does_not_count_as_uptime() {
        let uptime = Uptime::new([(at(20), at(30)), (at(10), at(15)), (at(12), at(18))]);
        assert_eq!(uptime.between(at(0), at(40)), Duration::from_secs(22));
        assert_eq!(uptime.between(at(12), at(17)), Duration::ZERO);
        assert_eq!(uptime.before(at(9), Duration::from_secs(5)), at(4));
        assert_eq!(uptime.before(at(31), Duration::from_secs(5)), at(8));
        assert_eq!(uptime.before(at(25), Duration::from_secs(1)), at(19));
    }
}
