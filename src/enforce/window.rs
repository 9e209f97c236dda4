//! How many requests may be under way: few at first, so that the first of many is answered as if it were
//! alone, then one more for each that was answered, and half as many when the API server has too much to do
//! (additive increase, multiplicative decrease: RFC 5681). While it answers nothing else, one is tried now and
//! then, so that an API server in need is not asked the more the more pods wait.
//!
//! ```text
//!  LEAST ──answered──► +1 … MOST ──overloaded──► half, after a pause ──nothing left to do──► LEAST
//!                                                        └─ overloaded ──► half, a longer pause … one, LONGEST
//! ```

use std::time::Duration;

use tokio::time::Instant;

/// At first.
const LEAST: usize = 8;

/// At most.
const MOST: usize = 64;

/// The first pause after too much was asked; each after it is twice as long.
const SHORTEST: Duration = Duration::from_millis(10);

/// The longest pause, which is what the API server asks for: `Retry-After: 1`.
const LONGEST: Duration = Duration::from_secs(1);

/// The number of requests that may be under way.
#[derive(Debug)]
pub struct Window {
    size: usize,
    pause: Duration,
    opens_at: Option<Instant>,
}

impl Default for Window {
    fn default() -> Self {
        Self { size: LEAST, pause: Duration::ZERO, opens_at: None }
    }
}

impl Window {
    /// Whether there is room beside `under_way`.
    pub fn has_room(&self, under_way: usize, now: Instant) -> bool {
        under_way < self.size && self.opens_at.is_none_or(|opens_at| opens_at <= now)
    }

    /// The end of the pause, if there is one.
    pub const fn opens_at(&self) -> Option<Instant> {
        self.opens_at
    }

    /// The pause is over.
    pub fn open(&mut self) {
        self.opens_at = None;
    }

    /// A request was answered.
    pub fn answered(&mut self) {
        self.size = (self.size + 1).min(MOST);
        self.pause = Duration::ZERO;
    }

    /// A request was not answered in time, or with "too many requests". Those that were under way when the
    /// pause began are told the same, and count as one.
    pub fn overloaded(&mut self, now: Instant) {
        if self.opens_at.is_none_or(|opens_at| opens_at <= now) {
            self.size = (self.size / 2).max(1);
            self.pause = (self.pause * 2).clamp(SHORTEST, LONGEST);
            self.opens_at = Some(now + self.pause);
        }
    }

    /// Nothing is left to do.
    pub fn rest(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_with_answers_and_closes_under_load() {
        let (mut window, mut now) = (Window::default(), Instant::now());
        assert!(window.has_room(LEAST - 1, now) && !window.has_room(LEAST, now));
        (0..1000).for_each(|_| window.answered());
        assert!(window.has_room(MOST - 1, now) && !window.has_room(MOST, now));
        (0..MOST).for_each(|_| window.overloaded(now));
        assert!(!window.has_room(0, now), "nothing is asked in a pause");
        now += SHORTEST;
        assert!(window.has_room(MOST / 2 - 1, now) && !window.has_room(MOST / 2, now), "one halving a pause");
        window.answered();
        window.rest();
        assert!(window.has_room(LEAST - 1, now) && !window.has_room(LEAST, now));
    }

    #[test]
    fn it_asks_once_a_second_at_last_and_is_wide_open_soon_after() {
        let (mut window, begin) = (Window::default(), Instant::now());
        let mut now = begin;
        let mut asked = 0;
        while now < begin + Duration::from_mins(1) {
            assert!(window.has_room(0, now));
            asked += (0..MOST).take_while(|n| window.has_room(*n, now)).count();
            window.overloaded(now);
            now = window.opens_at().expect("a pause");
        }
        assert!((60..90).contains(&asked), "{asked} requests in a minute of refusals");
        (0..LEAST).for_each(|_| window.answered());
        assert!(window.has_room(LEAST, now));
    }
}
