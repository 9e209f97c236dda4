//! A pool of concurrent requests: at most one request for each key, and at most as many as the [`ConcurrencyLimit`]
//! allows.
//!
//! ```text
//!  add ─► waiting ─► take, if the limit allows it ─► start ─► under way ─► finished
//! ```
//!
//! A [`Queue`](super::Queue) calls the same function for every key. In contrast, the owner of a pool takes each key
//! itself, and can still decide to send no request for the key.

use std::{
    collections::{HashSet, VecDeque},
    hash::Hash,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::time::Instant;

use super::concurrency::ConcurrencyLimit;

/// `T` is the result of a request.
pub(crate) struct Pool<K, T> {
    waiting: VecDeque<K>,
    /// The keys that wait or have a request in progress.
    busy: HashSet<K>,
    under_way: FuturesUnordered<BoxFuture<'static, (K, T)>>,
    limit: ConcurrencyLimit,
}

impl<K, T> Default for Pool<K, T> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            busy: HashSet::new(),
            under_way: FuturesUnordered::new(),
            limit: ConcurrencyLimit::default(),
        }
    }
}

impl<K: Clone + Eq + Hash + Send + 'static, T: Send + 'static> Pool<K, T> {
    pub(crate) fn is_busy(&self, key: &K) -> bool {
        self.busy.contains(key)
    }

    pub(crate) fn add(&mut self, key: &K) {
        if self.busy.insert(key.clone()) {
            self.waiting.push_back(key.clone());
        }
    }

    /// Takes the next waiting key, if the limit allows another request. The key stays in `busy`.
    pub(crate) fn take(&mut self) -> Option<K> {
        let has_room = self.limit.has_room(self.under_way.len(), Instant::now());
        if has_room { self.waiting.pop_front() } else { None }
    }

    pub(crate) fn start(&mut self, key: K, work: impl Future<Output = T> + Send + 'static) {
        self.busy.insert(key.clone());
        self.under_way.push(async move { (key, work.await) }.boxed());
    }

    /// Removes a key that [`Self::take`] returned from `busy`, if the owner sends no request for the key.
    pub(crate) fn give_up(&mut self, key: &K) {
        self.busy.remove(key);
    }

    /// Waits for the end of any request. Returns `None` if no request is in progress.
    pub(crate) async fn finished(&mut self) -> Option<(K, T)> {
        let (key, result) = self.under_way.next().await?;
        self.busy.remove(&key);
        Some((key, result))
    }

    pub(crate) fn answered(&mut self) {
        self.limit.answered();
    }

    pub(crate) fn overloaded(&mut self) {
        self.limit.overloaded(Instant::now());
    }

    /// The end of the pause after an overload of the API server. `None` without a pause.
    pub(crate) const fn opens_at(&self) -> Option<Instant> {
        self.limit.opens_at()
    }

    pub(crate) fn open(&mut self) {
        self.limit.open();
    }

    pub(crate) fn reset_if_empty(&mut self) {
        if self.under_way.is_empty() && self.waiting.is_empty() && self.opens_at().is_none() {
            self.limit.reset();
        }
    }
}
