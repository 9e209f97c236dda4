//! Spreads the queries of many monitors evenly over their interval.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;

/// The time until the next query of the monitor `uid`. Each monitor has a fixed offset in its interval. The offset
/// depends only on the UID and the interval, so it stays the same after a restart.
pub(super) fn until_next(uid: &str, interval: Duration, now: Timestamp) -> Duration {
    let interval = interval.as_millis().max(1);
    let mut hasher = DefaultHasher::new();
    uid.hash(&mut hasher);
    let offset = u128::from(hasher.finish()) % interval;
    let now = u128::try_from(now.as_millisecond()).unwrap_or_default();
    let since = (now + interval - offset) % interval;
    Duration::from_millis(u64::try_from(interval - since).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_spread_evenly_over_the_interval() {
        let (minute, start) = (Duration::from_mins(1), Timestamp::UNIX_EPOCH);
        let mut in_second = [0; 61];
        for n in 0..20_000 {
            let wait = until_next(&format!("uid-{n}"), minute, start);
            in_second[usize::try_from(wait.as_secs()).expect("a second")] += 1;
        }
        let (fewest, most) = (in_second[..60].iter().min(), in_second[..60].iter().max());
        assert!(fewest > Some(&240) && most < Some(&430), "{fewest:?} to {most:?} queries a second");
    }

    #[test]
    fn monitor_keeps_its_offset() {
        let minute = Duration::from_mins(1);
        let now = Timestamp::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let next = now + until_next("a", minute, now);
        assert_eq!(until_next("a", minute, next), minute);
        assert_eq!(
            next + until_next("a", minute, next + Duration::from_secs(7)),
            next + Duration::from_secs(53)
        );
    }
}
