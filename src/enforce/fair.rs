//! A queue in which namespaces take turns: a namespace with much to say delays no other.
//!
//! ```text
//!  push ─► flooded  b c d e …   full: the newest of the longest line is dropped ─┐
//!          quiet    a                                                             ├─► pop: b a c d e …
//! ```

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

/// The items that wait, in a line for each namespace.
pub struct Fair<T> {
    lines: Mutex<Lines<T>>,
    more: Notify,
}

struct Lines<T> {
    by_namespace: HashMap<String, VecDeque<T>>,
    /// The namespaces with a line, the next first.
    turns: VecDeque<String>,
    len: usize,
    room: usize,
}

impl<T> Fair<T> {
    /// An empty queue with room for so many items.
    pub fn new(room: usize) -> Self {
        let lines = Lines { by_namespace: HashMap::new(), turns: VecDeque::new(), len: 0, room };
        Self { lines: Mutex::new(lines), more: Notify::new() }
    }

    /// Adds an item. Returns whether all items had room: if not, this item or another was dropped.
    pub fn push(&self, namespace: &str, item: T) -> bool {
        let had_room = self.lines().push(namespace, item);
        self.more.notify_one();
        had_room
    }

    /// Waits for the next item. One task may wait at a time.
    pub async fn pop(&self) -> T {
        loop {
            let next = self.lines().pop();
            match next {
                Some(item) => return item,
                None => self.more.notified().await,
            }
        }
    }

    fn lines(&self) -> MutexGuard<'_, Lines<T>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Lines<T> {
    fn push(&mut self, namespace: &str, item: T) -> bool {
        let had_room = self.len < self.room;
        if !had_room && !self.makes_room(namespace) {
            return false;
        }
        if let Some(line) = self.by_namespace.get_mut(namespace) {
            line.push_back(item);
        } else {
            self.by_namespace.insert(namespace.to_owned(), VecDeque::from([item]));
            self.turns.push_back(namespace.to_owned());
        }
        self.len += 1;
        had_room
    }

    /// Drops the newest item of the longest line, if the namespace's line stays shorter than that one.
    fn makes_room(&mut self, namespace: &str) -> bool {
        let own = self.by_namespace.get(namespace).map_or(0, VecDeque::len);
        let longest = self.by_namespace.values_mut().max_by_key(|line| line.len());
        let Some(longest) = longest.filter(|line| line.len() > own + 1) else { return false };
        longest.pop_back();
        self.len -= 1;
        true
    }

    fn pop(&mut self) -> Option<T> {
        let namespace = self.turns.pop_front()?;
        let line = self.by_namespace.get_mut(&namespace)?;
        let item = line.pop_front();
        if line.is_empty() {
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

    async fn all(queue: &Fair<u32>, count: usize) -> Vec<u32> {
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(queue.pop().await);
        }
        items
    }

    #[tokio::test]
    async fn a_namespace_waits_for_one_item_of_each_other() {
        let queue = Fair::new(100);
        for number in 0..50 {
            assert!(queue.push("flooded", number));
        }
        assert!(queue.push("quiet", 1000) && queue.push("quiet", 1001));
        assert_eq!(all(&queue, 5).await, [0, 1000, 1, 1001, 2]);
        assert_eq!(all(&queue, 47).await, (3..50).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_full_queue_drops_the_newest_of_the_longest_line() {
        let queue = Fair::new(4);
        let had_room: Vec<_> = (0..6).map(|number| queue.push("flooded", number)).collect();
        assert_eq!(had_room, [true, true, true, true, false, false]);
        let had_room: Vec<_> = (1000..1003).map(|number| queue.push("quiet", number)).collect();
        assert_eq!(had_room, [false, false, false], "3 and 2 are dropped, and 1002 for a line as long");
        assert_eq!(all(&queue, 4).await, [0, 1000, 1, 1001]);
    }

    #[tokio::test]
    async fn whoever_waits_is_woken() {
        let queue = Fair::new(1);
        let (item, ()) = tokio::join!(queue.pop(), async {
            tokio::task::yield_now().await;
            queue.push("quiet", 1);
        });
        assert_eq!(item, 1);
    }
}
