//! A work queue. It runs one function for each key.
//!
//! - A changed key runs at once. If the key rests, it runs after the rest.
//! - If a key changes during its run, the key runs once more.
//! - A run can request the next run after a delay. After a failure, the key runs again after a back-off.
//!
//! A key has at most one run at a time. After each run, the key rests for the time that the run requests, up to
//! [`MAX_REST`]. All changes during the rest cause one run. So a key that changes often does not run all the time.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use futures::{Stream, StreamExt, stream::FuturesUnordered};
use tokio::time::Instant;

use crate::timer::sleep_until_opt;

/// The minimum and the maximum back-off after a failure, without jitter.
const BACKOFF: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(4)];

const MAX_REST: Duration = Duration::from_secs(1);

/// If the queue stores at least this number of rests, it removes the rests that are over.
const CLEANUP_AT: usize = 1024;

/// The result of a successful run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The delay after which the key runs again, even without a change.
    pub(crate) again: Option<Duration>,
    /// The minimum time until the next run, even after a change.
    pub(crate) rest: Duration,
}

#[derive(Debug)]
pub(crate) struct Queue<K> {
    due: BTreeSet<(Instant, K)>,
    /// The same entries as in `due`, but by key.
    due_at: HashMap<K, Instant>,
    /// The keys that run. The value is the time of the next run, if the key changed during this run.
    running: HashMap<K, Option<Instant>>,
    rests_until: HashMap<K, Instant>,
    backoffs: HashMap<K, ExponentialBackoff>,
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Self {
            due: BTreeSet::new(),
            due_at: HashMap::new(),
            running: HashMap::new(),
            rests_until: HashMap::new(),
            backoffs: HashMap::new(),
        }
    }
}

impl<K: Clone + Eq + Hash + Ord> Queue<K> {
    /// Runs `work` for each key of `changed` until `shutdown`, and then finishes the runs in progress. After a failure,
    /// `work` logs the error and returns `None`.
    pub(crate) async fn run<F: Future<Output = Option<Outcome>>>(
        mut self,
        changed: impl Stream<Item = K>,
        work: impl Fn(K) -> F,
        shutdown: impl Future<Output = ()>,
    ) {
        let mut runs = FuturesUnordered::new();
        tokio::pin!(changed, shutdown);
        loop {
            let next = self.due.first().map(|(at, _)| *at);
            tokio::select! {
                () = &mut shutdown => break,
                Some(key) = changed.next() => self.add(key, Instant::now()),
                Some((key, outcome)) = runs.next() => self.done(&key, outcome, Instant::now()),
                () = sleep_until_opt(next) => {}
            }
            while let Some(key) = self.take(Instant::now()) {
                let work = work(key.clone());
                runs.push(async move { (key, work.await) });
            }
        }
        while runs.next().await.is_some() {}
    }

    fn add(&mut self, key: K, at: Instant) {
        if let Some(next) = self.running.get_mut(&key) {
            *next = Some(next.map_or(at, |next| next.min(at)));
            return;
        }
        let at = self.rests_until.get(&key).map_or(at, |until| at.max(*until));
        match self.due_at.get(&key) {
            Some(earlier) if *earlier <= at => return,
            Some(later) => drop(self.due.remove(&(*later, key.clone()))),
            None => {}
        }
        self.due_at.insert(key.clone(), at);
        self.due.insert((at, key));
    }

    fn take(&mut self, now: Instant) -> Option<K> {
        if self.due.first().is_none_or(|(at, _)| *at > now) {
            return None;
        }
        let (_, key) = self.due.pop_first()?;
        self.due_at.remove(&key);
        self.running.insert(key.clone(), None);
        Some(key)
    }

    fn done(&mut self, key: &K, outcome: Option<Outcome>, now: Instant) {
        let changed = self.running.remove(key).flatten();
        let (again, rest) = if let Some(Outcome { again, rest }) = outcome {
            self.backoffs.remove(key);
            (again, rest)
        } else {
            let [min, max] = BACKOFF;
            let backoff = || {
                let delays = ExponentialBuilder::default().with_min_delay(min).with_max_delay(max);
                delays.without_max_times().with_jitter().build()
            };
            let delay = self.backoffs.entry(key.clone()).or_insert_with(backoff).next().unwrap_or(max);
            // The key rests during the back-off, up to `MAX_REST`. So a change in this time causes no earlier retry.
            (Some(delay), delay)
        };
        if self.rests_until.len() >= CLEANUP_AT {
            self.rests_until.retain(|_, until| *until > now);
        }
        self.rests_until.insert(key.clone(), now + rest.min(MAX_REST));
        let again = again.map(|delay| now + delay);
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
    fn key_that_changes_during_its_run_runs_once_more() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        queue.add("a", start);
        queue.add("a", start);
        assert_eq!((queue.take(start), queue.take(start)), (Some("a"), None));
        queue.add("a", start);
        assert_eq!(queue.take(start), None, "the key runs");
        queue.done(&"a", Some(Outcome::default()), start);
        assert_eq!((queue.take(start), queue.take(start)), (Some("a"), None));
    }

    #[test]
    fn resting_key_does_not_delay_other_keys() {
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
        assert_eq!(queue.take(start + MAX_REST), Some("busy"), "the rest is cut to the maximum");
    }

    #[test]
    fn scheduled_key_is_due_at_once_after_a_change() {
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
    fn failed_key_is_retried_with_a_bounded_backoff() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        queue.add("a", start);
        for _ in 0..20 {
            assert_eq!(queue.take(after(start, 600_000)), Some("a"));
            queue.done(&"a", None, start);
            assert_eq!(queue.take(start), None, "the retry waits for the back-off");
            queue.add("a", start);
            assert_eq!(queue.take(start), None, "a change waits for the back-off too");
        }
        assert!(queue.due.first().is_some_and(|(at, _)| *at <= start + 2 * BACKOFF[1]));
    }
}
