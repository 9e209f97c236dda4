//! A set of keys, each with a time at which the key is due.

use std::collections::{BTreeMap, BTreeSet};

/// The keys by the time at which they are due. A key can have several times.
#[derive(Debug)]
pub(crate) struct Timers<T, K>(BTreeMap<T, BTreeSet<K>>);

impl<T, K> Default for Timers<T, K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Copy + Ord, K: Ord> Timers<T, K> {
    pub(crate) fn add(&mut self, at: T, key: K) {
        self.0.entry(at).or_default().insert(key);
    }

    pub(crate) fn next(&self) -> Option<T> {
        self.0.first_key_value().map(|(at, _)| *at)
    }

    /// Removes and returns the keys whose time is `now` or earlier.
    pub(crate) fn take(&mut self, now: T) -> Vec<K> {
        let later = self.0.split_off(&now);
        let mut due = std::mem::replace(&mut self.0, later);
        due.extend(self.0.remove(&now).map(|at_now| (now, at_now)));
        due.into_values().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_due_once_at_its_time() {
        let mut timers = Timers::default();
        timers.add(1, "a");
        timers.add(2, "b");
        timers.add(2, "b");
        timers.add(3, "c");
        assert_eq!((timers.next(), timers.take(2)), (Some(1), vec!["a", "b"]));
        assert_eq!((timers.next(), timers.take(2)), (Some(3), vec![]));
    }
}
