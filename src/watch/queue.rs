//! A work queue of keys. One function works on each key: once at a time, soon after a change, again after a failure.
//!
//! ```text
//!  changed key ─► due now, or when it has rested ─► work ─┬─ done ─► rests in proportion to what it cost
//!       ▲                                                 ├─ again at an instant ─► due then
//!       └── while it is worked on: due once more          └─ failed ─► due after a back-off
//! ```
//!
//! A key that rests takes a bounded share of the time, however often it changes; many changes become one.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use futures::{Stream, StreamExt, stream::FuturesUnordered};
use tokio::time::Instant;

use crate::timer::sleep_until_opt;

/// The first and the longest wait after a failure, about.
const WAITS: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(4)];

/// The longest rest of a key.
const LONGEST_REST: Duration = Duration::from_secs(1);

/// How many keys that rest are kept before those that have rested are dropped.
const RESTING: usize = 1024;

/// What work on a key came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// After how long it is worked on again, though nothing changes.
    pub(crate) again: Option<Duration>,
    /// How long it is left alone, though it changes.
    pub(crate) rest: Duration,
}

/// The keys that are due, and those that are worked on.
#[derive(Debug)]
pub(crate) struct Queue<K> {
    due: BTreeSet<(Instant, K)>,
    at: HashMap<K, Instant>,
    /// With when the key is due once more.
    busy: HashMap<K, Option<Instant>>,
    resting: HashMap<K, Instant>,
    failing: HashMap<K, ExponentialBackoff>,
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Self {
            due: BTreeSet::new(),
            at: HashMap::new(),
            busy: HashMap::new(),
            resting: HashMap::new(),
            failing: HashMap::new(),
        }
    }
}

impl<K: Clone + Eq + Hash + Ord> Queue<K> {
    /// Works on the keys that `changed` names until `shutdown`; what is under way then is finished.
    /// Work that fails has said why.
    pub(crate) async fn run<F: Future<Output = Option<Outcome>>>(
        mut self,
        changed: impl Stream<Item = K>,
        work: impl Fn(K) -> F,
        shutdown: impl Future<Output = ()>,
    ) {
        let mut under_way = FuturesUnordered::new();
        tokio::pin!(changed, shutdown);
        loop {
            let next = self.due.first().map(|(at, _)| *at);
            tokio::select! {
                () = &mut shutdown => break,
                Some(key) = changed.next() => self.add(key, Instant::now()),
                Some((key, outcome)) = under_way.next() => self.done(&key, outcome, Instant::now()),
                () = sleep_until_opt(next) => {}
            }
            while let Some(key) = self.take(Instant::now()) {
                let work = work(key.clone());
                under_way.push(async move { (key, work.await) });
            }
        }
        while under_way.next().await.is_some() {}
    }

    fn add(&mut self, key: K, at: Instant) {
        if let Some(again) = self.busy.get_mut(&key) {
            *again = Some(again.map_or(at, |again| again.min(at)));
            return;
        }
        let at = self.resting.get(&key).map_or(at, |rested| at.max(*rested));
        match self.at.get(&key) {
            Some(earlier) if *earlier <= at => return,
            Some(later) => drop(self.due.remove(&(*later, key.clone()))),
            None => {}
        }
        self.at.insert(key.clone(), at);
        self.due.insert((at, key));
    }

    fn take(&mut self, now: Instant) -> Option<K> {
        if self.due.first().is_none_or(|(at, _)| *at > now) {
            return None;
        }
        let (_, key) = self.due.pop_first()?;
        self.at.remove(&key);
        self.busy.insert(key.clone(), None);
        Some(key)
    }

    fn done(&mut self, key: &K, outcome: Option<Outcome>, now: Instant) {
        let changed = self.busy.remove(key).flatten();
        let again = if let Some(Outcome { again, rest }) = outcome {
            self.failing.remove(key);
            if self.resting.len() >= RESTING {
                self.resting.retain(|_, rested| *rested > now);
            }
            self.resting.insert(key.clone(), now + rest.min(LONGEST_REST));
            again
        } else {
            let [first, longest] = WAITS;
            let fresh = || {
                let waits = ExponentialBuilder::default().with_min_delay(first).with_max_delay(longest);
                waits.without_max_times().with_jitter().build()
            };
            self.failing.entry(key.clone()).or_insert_with(fresh).next().or(Some(longest))
        };
        let again = again.map(|wait| now + wait);
        for at in [changed, again].into_iter().flatten() {
            self.add(key.clone(), at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn a_key_is_worked_on_once_at_a_time_and_once_more_after_a_change() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        queue.add("a", start);
        queue.add("a", start);
        assert_eq!((queue.take(start), queue.take(start)), (Some("a"), None));
        queue.add("a", start);
        assert_eq!(queue.take(start), None, "it is worked on");
        queue.done(&"a", Some(Outcome::default()), start);
        assert_eq!((queue.take(start), queue.take(start)), (Some("a"), None));
    }

    #[test]
    fn a_key_that_rests_keeps_no_other_waiting() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        queue.add("busy", start);
        assert_eq!(queue.take(start), Some("busy"));
        queue.add("busy", start);
        let rest = Duration::from_millis(300);
        queue.done(&"busy", Some(Outcome { again: None, rest }), start);
        queue.add("quiet", after(start, 1));
        assert_eq!((queue.take(after(start, 1)), queue.take(after(start, 299))), (Some("quiet"), None));
        assert_eq!(queue.take(after(start, 300)), Some("busy"));
        queue.done(&"busy", Some(Outcome { again: None, rest: Duration::from_mins(5) }), start);
        queue.add("busy", start);
        assert_eq!(queue.take(start + LONGEST_REST), Some("busy"), "a rest is bounded");
    }

    #[test]
    fn what_is_due_later_is_due_at_once_when_it_changes() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        queue.add("a", after(start, 5000));
        assert_eq!(queue.take(start), None);
        queue.add("a", start);
        assert_eq!((queue.take(start), queue.take(after(start, 9000))), (Some("a"), None));
        let again = Some(Duration::from_secs(1));
        queue.done(&"a", Some(Outcome { again, rest: Duration::ZERO }), start);
        assert_eq!((queue.take(after(start, 999)), queue.take(after(start, 1000))), (None, Some("a")));
    }

    #[test]
    fn a_failure_is_tried_again_after_ever_longer_waits() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        queue.add("a", start);
        for _ in 0..20 {
            assert_eq!(queue.take(after(start, 600_000)), Some("a"));
            queue.done(&"a", None, start);
            assert_eq!(queue.take(start), None, "not at once");
        }
        assert!(queue.due.first().is_some_and(|(at, _)| *at <= start + 2 * WAITS[1]));
    }
}
