//! Limits the number of concurrent requests by additive increase and multiplicative decrease (RFC 5681).
//!
//! - Each response without an overload increases the limit by one.
//! - An overload halves the limit and starts a pause. No request starts during the pause.
//! - If the API server is still overloaded after the pause, the next pause is twice as long. The first response without
//!   an overload resets the pause.
//! - When no request waits or runs, the limit starts again at [`INITIAL`].
//!
//! The limit starts low, so that the first of many requests gets its response as fast as a single request.

use std::time::Duration;

use tokio::time::Instant;

const INITIAL: usize = 8;

const MAX: usize = 64;

/// The first pause after an overload. While the overload lasts, each further pause is twice as long.
const MIN_PAUSE: Duration = Duration::from_millis(10);

/// The maximum pause. An overloaded API server asks for this pause with `Retry-After: 1`.
const MAX_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct ConcurrencyLimit {
    size: usize,
    pause: Duration,
    opens_at: Option<Instant>,
}

impl Default for ConcurrencyLimit {
    fn default() -> Self {
        Self { size: INITIAL, pause: Duration::ZERO, opens_at: None }
    }
}

impl ConcurrencyLimit {
    pub(super) fn has_room(&self, under_way: usize, now: Instant) -> bool {
        under_way < self.size && self.opens_at.is_none_or(|opens_at| opens_at <= now)
    }

    pub(super) const fn opens_at(&self) -> Option<Instant> {
        self.opens_at
    }

    pub(super) fn open(&mut self) {
        self.opens_at = None;
    }

    pub(super) fn answered(&mut self) {
        self.size = (self.size + 1).min(MAX);
        self.pause = Duration::ZERO;
    }

    /// Records a timeout, or another error of an unavailable or overloaded API server. An error during a pause has no
    /// effect, because its request started before the pause.
    pub(super) fn overloaded(&mut self, now: Instant) {
        if self.opens_at.is_none_or(|opens_at| opens_at <= now) {
            self.size = (self.size / 2).max(1);
            self.pause = (self.pause * 2).clamp(MIN_PAUSE, MAX_PAUSE);
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
    fn limit_grows_with_answers_and_halves_after_an_overload() {
        let (mut limit, mut now) = (ConcurrencyLimit::default(), Instant::now());
        assert!(limit.has_room(INITIAL - 1, now) && !limit.has_room(INITIAL, now));
        (0..1000).for_each(|_| limit.answered());
        assert!(limit.has_room(MAX - 1, now) && !limit.has_room(MAX, now));
        (0..MAX).for_each(|_| limit.overloaded(now));
        assert!(!limit.has_room(0, now), "no request starts in a pause");
        now += MIN_PAUSE;
        assert!(
            limit.has_room(MAX / 2 - 1, now) && !limit.has_room(MAX / 2, now),
            "the limit halves once for each pause"
        );
        limit.answered();
        limit.reset();
        assert!(limit.has_room(INITIAL - 1, now) && !limit.has_room(INITIAL, now));
    }

    #[test]
    fn overload_slows_requests_to_one_a_second_and_recovery_is_fast() {
        let (mut limit, begin) = (ConcurrencyLimit::default(), Instant::now());
        let mut now = begin;
        let mut sent = 0;
        while now < begin + Duration::from_mins(1) {
            assert!(limit.has_room(0, now));
            sent += (0..MAX).take_while(|n| limit.has_room(*n, now)).count();
            limit.overloaded(now);
            now = limit.opens_at().expect("a pause");
        }
        assert!((60..90).contains(&sent), "{sent} requests in a minute of overload");
        (0..INITIAL).for_each(|_| limit.answered());
        assert!(limit.has_room(INITIAL, now));
    }
}
