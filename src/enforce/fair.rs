//! A queue in which namespaces take turns: a namespace with many items delays no other.
//!
//! ```text
//!  push ─► flooded  b c d e …   full: drop the newest item of the longest line ─┐
//!          quiet    a                                                            ├─► pop: b a c d e …
//!          refused  f g  (back-off until 12:00:05) ◄── put_back ─────────────────┘
//! ```

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

/// The items that wait, in a line for each namespace.
pub(super) struct FairQueue<T> {
    lines: Mutex<Lines<T>>,
    more: Notify,
}

struct Lines<T> {
    by_namespace: HashMap<String, Line<T>>,
    /// The namespaces with a line, the next first.
    turns: VecDeque<String>,
    len: usize,
    capacity: usize,
}

struct Line<T> {
    items: VecDeque<T>,
    /// The end of the back-off of the namespace.
    not_before: Option<Instant>,
}

/// The answer to a request for an item.
enum Next<T> {
    Item(T),
    /// All namespaces back off. The first of them ends then.
    NotBefore(Instant),
    Empty,
}

impl<T> FairQueue<T> {
    /// An empty queue for at most `capacity` items.
    pub(super) fn new(capacity: usize) -> Self {
        let lines = Lines { by_namespace: HashMap::new(), turns: VecDeque::new(), len: 0, capacity };
        Self { lines: Mutex::new(lines), more: Notify::new() }
    }

    /// Adds an item. Returns whether all items had room: if not, this item or another was dropped.
    pub(super) fn push(&self, namespace: &str, item: T) -> bool {
        let had_room = self.lines().push(namespace, item);
        self.more.notify_one();
        had_room
    }

    /// Puts an item back at the head of its line. No item of its namespace is taken before the delay is over.
    pub(super) fn put_back(&self, namespace: &str, item: T, delay: Duration) {
        self.lines().put_back(namespace, item, Instant::now() + delay);
        self.more.notify_one();
    }

    /// Waits for the next item. One task may wait at a time.
    pub(super) async fn pop(&self) -> T {
        loop {
            let next = self.lines().pop(Instant::now());
            match next {
                Next::Item(item) => return item,
                Next::NotBefore(at) => drop(timeout_at(at, self.more.notified()).await),
                Next::Empty => self.more.notified().await,
            }
        }
    }

    fn lines(&self) -> MutexGuard<'_, Lines<T>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Lines<T> {
    fn push(&mut self, namespace: &str, item: T) -> bool {
        let had_room = self.len < self.capacity;
        if !had_room && !self.makes_room(namespace) {
            return false;
        }
        self.line(namespace).items.push_back(item);
        self.len += 1;
        had_room
    }

    fn put_back(&mut self, namespace: &str, item: T, not_before: Instant) {
        let line = self.line(namespace);
        line.items.push_front(item);
        line.not_before = Some(not_before);
        self.len += 1;
    }

    fn line(&mut self, namespace: &str) -> &mut Line<T> {
        self.by_namespace.entry(namespace.to_owned()).or_insert_with(|| {
            self.turns.push_back(namespace.to_owned());
            Line { items: VecDeque::new(), not_before: None }
        })
    }

    /// Drops the newest item of the longest line, if the namespace's line stays shorter than that one.
    fn makes_room(&mut self, namespace: &str) -> bool {
        let own = self.by_namespace.get(namespace).map_or(0, |line| line.items.len());
        let longest =
            self.by_namespace.values_mut().map(|line| &mut line.items).max_by_key(|items| items.len());
        let Some(longest) = longest.filter(|items| items.len() > own + 1) else { return false };
        longest.pop_back();
        self.len -= 1;
        true
    }

    fn pop(&mut self, now: Instant) -> Next<T> {
        let not_before = |namespace: &String| self.by_namespace.get(namespace)?.not_before;
        let is_ready = |namespace: &String| not_before(namespace).is_none_or(|at| at <= now);
        let Some(turn) = self.turns.iter().position(is_ready) else {
            return self.turns.iter().filter_map(not_before).min().map_or(Next::Empty, Next::NotBefore);
        };
        self.take(turn).map_or(Next::Empty, Next::Item)
    }

    /// Takes the first item of the namespace at this place in the order of turns, and puts the namespace last.
    fn take(&mut self, turn: usize) -> Option<T> {
        let namespace = self.turns.remove(turn)?;
        let line = self.by_namespace.get_mut(&namespace)?;
        line.not_before = None;
        let item = line.items.pop_front();
        if line.items.is_empty() {
            self.by_namespace.remove(&namespace);
        } else {
            self.turns.push_back(namespace);
        }
        self.len -= usize::from(item.is_some());
        item
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(queue: &FairQueue<u32>, count: usize) -> Vec<u32> {
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(queue.pop().await);
        }
        items
    }

    #[tokio::test]
    async fn a_namespace_waits_for_one_item_of_each_other() {
        let queue = FairQueue::new(100);
        for number in 0..50 {
            assert!(queue.push("flooded", number));
        }
        assert!(queue.push("quiet", 1000) && queue.push("quiet", 1001));
        assert_eq!(all(&queue, 5).await, [0, 1000, 1, 1001, 2]);
        assert_eq!(all(&queue, 47).await, (3..50).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_full_queue_drops_the_newest_of_the_longest_line() {
        let queue = FairQueue::new(4);
        let had_room: Vec<_> = (0..6).map(|number| queue.push("flooded", number)).collect();
        assert_eq!(had_room, [true, true, true, true, false, false]);
        let had_room: Vec<_> = (1000..1003).map(|number| queue.push("quiet", number)).collect();
        assert_eq!(had_room, [false, false, false], "3 and 2 are dropped, and 1002 for a line as long");
        assert_eq!(all(&queue, 4).await, [0, 1000, 1, 1001]);
    }

    #[tokio::test]
    async fn a_refused_item_delays_its_own_namespace_alone() {
        let queue = FairQueue::new(100);
        assert!(queue.push("refused", 0) && queue.push("refused", 1) && queue.push("quiet", 1000));
        assert_eq!(queue.pop().await, 0);
        queue.put_back("refused", 0, Duration::from_secs(1));
        let begun = Instant::now();
        assert_eq!(queue.pop().await, 1000);
        assert!(queue.push("quiet", 1001));
        assert_eq!(queue.pop().await, 1001);
        assert_eq!(all(&queue, 2).await, [0, 1], "the order within a namespace stays");
        assert!(begun.elapsed() > Duration::from_millis(900));
    }

    #[tokio::test]
    async fn whoever_waits_is_woken() {
        let queue = FairQueue::new(1);
        let (item, ()) = tokio::join!(queue.pop(), async {
            tokio::task::yield_now().await;
            queue.push("quiet", 1);
        });
        assert_eq!(item, 1);
    }
}
