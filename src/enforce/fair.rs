//! A queue with one line of items for each namespace. The queue returns one item of each line in rotation, so many
//! items of one namespace do not delay the other namespaces.
//!
//! If the API server refuses an item, the item returns to the head of its line. The queue then returns no item of this
//! line until a back-off ends. A full queue drops an item of the longest line.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use crate::lock::lock;

pub(super) struct FairQueue<T> {
    lines: Mutex<Lines<T>>,
    changed: Notify,
}

struct Lines<T> {
    by_namespace: HashMap<String, Line<T>>,
    /// The namespaces with a line. The queue returns the next item of the first namespace that does not back off.
    turns: VecDeque<String>,
    len: usize,
    capacity: usize,
}

struct Line<T> {
    items: VecDeque<T>,
    /// The end of the back-off of the namespace.
    not_before: Option<Instant>,
}

/// The result of [`Lines::pop`].
enum Next<T> {
    Item(T),
    /// All namespaces back off. The first back-off ends at this instant.
    NotBefore(Instant),
    Empty,
}

impl<T> FairQueue<T> {
    pub(super) fn new(capacity: usize) -> Self {
        let lines = Lines { by_namespace: HashMap::new(), turns: VecDeque::new(), len: 0, capacity };
        Self { lines: Mutex::new(lines), changed: Notify::new() }
    }

    /// Adds an item. Returns `false` if the queue was full, so that it dropped this item or another item.
    pub(super) fn push(&self, namespace: &str, item: T) -> bool {
        let had_room = self.lines().push(namespace, item);
        self.changed.notify_one();
        had_room
    }

    /// Puts a refused item back at the head of its line. The namespace backs off for `delay`.
    pub(super) fn put_back(&self, namespace: &str, item: T, delay: Duration) {
        self.lines().put_back(namespace, item, Instant::now() + delay);
        self.changed.notify_one();
    }

    /// Waits for the next item. One task may wait at a time.
    pub(super) async fn pop(&self) -> T {
        loop {
            let next = self.lines().pop(Instant::now());
            match next {
                Next::Item(item) => return item,
                Next::NotBefore(at) => drop(timeout_at(at, self.changed.notified()).await),
                Next::Empty => self.changed.notified().await,
            }
        }
    }

    fn lines(&self) -> MutexGuard<'_, Lines<T>> {
        lock(&self.lines)
    }
}

impl<T> Lines<T> {
    fn push(&mut self, namespace: &str, item: T) -> bool {
        let had_room = self.len < self.capacity;
        if !had_room && !self.make_room(namespace) {
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

    /// Drops the newest item of the longest line, if this line has at least two items more than the line of
    /// `namespace`. Returns whether the queue dropped an item.
    fn make_room(&mut self, namespace: &str) -> bool {
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

    /// Takes the first item of the namespace at the position `turn` of `turns`. If its line has more items, the
    /// namespace moves to the end of `turns`.
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
    async fn namespaces_take_turns_item_by_item() {
        let queue = FairQueue::new(100);
        for number in 0..50 {
            assert!(queue.push("flooded", number));
        }
        assert!(queue.push("quiet", 1000) && queue.push("quiet", 1001));
        assert_eq!(all(&queue, 5).await, [0, 1000, 1, 1001, 2]);
        assert_eq!(all(&queue, 47).await, (3..50).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn full_queue_drops_the_newest_item_of_the_longest_line() {
        let queue = FairQueue::new(4);
        let had_room: Vec<_> = (0..6).map(|number| queue.push("flooded", number)).collect();
        assert_eq!(had_room, [true, true, true, true, false, false]);
        let had_room: Vec<_> = (1000..1003).map(|number| queue.push("quiet", number)).collect();
        assert_eq!(
            had_room,
            [false, false, false],
            "3 and 2 are dropped, then 1002, because no line is longer"
        );
        assert_eq!(all(&queue, 4).await, [0, 1000, 1, 1001]);
    }

    #[tokio::test]
    async fn refused_item_delays_only_its_own_namespace() {
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
    async fn push_wakes_a_waiting_pop() {
        let queue = FairQueue::new(1);
        let (item, ()) = tokio::join!(queue.pop(), async {
            tokio::task::yield_now().await;
            queue.push("quiet", 1);
        });
        assert_eq!(item, 1);
    }
}
