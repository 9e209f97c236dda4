//! How many requests may be under way: few at first, so that the first of many is answered as if it were
//! alone, then one more for each that was answered, and half as many when the API server has too much to do
//! (additive increase, multiplicative decrease: RFC 5681).
//!
//! ```text
//!  LEAST ──answered──► +1 … MOST ──overloaded──► half ──nothing left to do──► LEAST
//! ```

/// At first, and at least.
const LEAST: usize = 8;

/// At most.
const MOST: usize = 64;

/// The number of requests that may be under way.
#[derive(Debug)]
pub struct Window(usize);

impl Default for Window {
    fn default() -> Self {
        Self(LEAST)
    }
}

impl Window {
    /// Whether there is room beside `under_way`.
    pub const fn has_room(&self, under_way: usize) -> bool {
        under_way < self.0
    }

    /// A request was answered.
    pub fn answered(&mut self) {
        self.0 = (self.0 + 1).min(MOST);
    }

    /// A request was not answered in time, or with "too many requests".
    pub fn overloaded(&mut self) {
        self.0 = (self.0 / 2).max(LEAST);
    }

    /// Nothing is left to do.
    pub fn rest(&mut self) {
        self.0 = LEAST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_with_answers_and_closes_under_load() {
        let mut window = Window::default();
        assert!(window.has_room(LEAST - 1) && !window.has_room(LEAST));
        (0..1000).for_each(|_| window.answered());
        assert!(window.has_room(MOST - 1) && !window.has_room(MOST));
        window.overloaded();
        assert!(window.has_room(MOST / 2 - 1) && !window.has_room(MOST / 2));
        (0..1000).for_each(|_| window.overloaded());
        assert!(window.has_room(LEAST - 1), "something is always possible");
        window.answered();
        window.rest();
        assert!(!window.has_room(LEAST));
    }
}
