//! The limit of concurrent requests. It is low at first, so that the first of many requests is answered as if it were
//! alone. It grows by one with each answer, and halves when the API server is overloaded (additive increase,
//! multiplicative decrease: RFC 5681). Each overload brings a longer pause, so that an overloaded API server does not
//! get more requests because more pods wait.
//!
//! ```text
//!  LEAST ──answered──► +1 … MOST ──overloaded──► half, after a pause ──nothing left to do──► LEAST
//!                                                        └─ overloaded ──► half, a longer pause … one, LONGEST
//! ```

use std::time::Duration;

use tokio::time::Instant;

/// The limit at first.
const LEAST: usize = 8;

/// The greatest limit.
const MOST: usize = 64;

/// The first pause after an overload. Each further one is twice as long.
const SHORTEST: Duration = Duration::from_millis(10);

/// The longest pause, as the API server asks: `Retry-After: 1`.
const LONGEST: Duration = Duration::from_secs(1);

/// The number of requests that may be under way.
#[derive(Debug)]
pub(super) struct ConcurrencyLimit {
    size: usize,
    pause: Duration,
    opens_at: Option<Instant>,
}

impl Default for ConcurrencyLimit {
    fn default() -> Self {
        Self { size: LEAST, pause: Duration::ZERO, opens_at: None }
    }
}

impl ConcurrencyLimit {
    /// Whether another request may start beside `under_way` others.
    pub(super) fn has_room(&self, under_way: usize, now: Instant) -> bool {
        under_way < self.size && self.opens_at.is_none_or(|opens_at| opens_at <= now)
    }

    /// The end of the pause, if there is one.
    pub(super) const fn opens_at(&self) -> Option<Instant> {
        self.opens_at
    }

    /// Ends the pause.
    pub(super) fn open(&mut self) {
        self.opens_at = None;
    }

    /// Notes an answer.
    pub(super) fn answered(&mut self) {
        self.size = (self.size + 1).min(MOST);
        self.pause = Duration::ZERO;
    }

    /// Notes a request without an answer, or with the answer "too many requests". The requests that were under way
    /// when the pause began count as one.
    pub(super) fn overloaded(&mut self, now: Instant) {
        if self.opens_at.is_none_or(|opens_at| opens_at <= now) {
            self.size = (self.size / 2).max(1);
            self.pause = (self.pause * 2).clamp(SHORTEST, LONGEST);
            self.opens_at = Some(now + self.pause);
        }
    }

    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_with_answers_and_closes_under_load() {
        let (mut limit, mut now) = (ConcurrencyLimit::default(), Instant::now());
        assert!(limit.has_room(LEAST - 1, now) && !limit.has_room(LEAST, now));
        (0..1000).for_each(|_| limit.answered());
        assert!(limit.has_room(MOST - 1, now) && !limit.has_room(MOST, now));
        (0..MOST).for_each(|_| limit.overloaded(now));
        assert!(!limit.has_room(0, now), "nothing is asked in a pause");
        now += SHORTEST;
        assert!(limit.has_room(MOST / 2 - 1, now) && !limit.has_room(MOST / 2, now), "one halving a pause");
        limit.answered();
        limit.reset();
        assert!(limit.has_room(LEAST - 1, now) && !limit.has_room(LEAST, now));
    }

    #[test]
    fn it_asks_once_a_second_at_last_and_is_wide_open_soon_after() {
        let (mut limit, begin) = (ConcurrencyLimit::default(), Instant::now());
        let mut now = begin;
        let mut asked = 0;
        while now < begin + Duration::from_mins(1) {
            assert!(limit.has_room(0, now));
            asked += (0..MOST).take_while(|n| limit.has_room(*n, now)).count();
            limit.overloaded(now);
            now = limit.opens_at().expect("a pause");
        }
        assert!((60..90).contains(&asked), "{asked} requests in a minute of refusals");
        (0..LEAST).for_each(|_| limit.answered());
        assert!(limit.has_room(LEAST, now));
    }
}
