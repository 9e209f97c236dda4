//! Limits how many queries of one namespace run at the same time. So slow queries of one namespace do not block the
//! queries of other namespaces.
//!
//! A turn is the permission to run one query. Each namespace has 2 turns. If the last measurement of a monitor was
//! slow, the next query of this monitor also needs the slow turn of the namespace. Each namespace has one slow turn.
//! After a query that needed the slow turn, the slow turn rests for 7 times the duration of this query.
//!
//! So one namespace uses at most an eighth of the 16 queries that a Prometheus gets at a time. The slow queries of a
//! namespace use at most an eighth of one turn. A fast query of the same namespace can use the other turn.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::lock::lock;

/// The maximum number of queries of a namespace at the same time.
const QUERIES_AT_ONCE: usize = 2;

/// The time for which the slow turn rests after a query, as a multiple of the duration of the query.
const REST: u32 = 7;

#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<String, Arc<OfNamespace>>>);

/// The turns of one namespace. Each semaphore serves the queries in the order of their calls. A fast query can overtake
/// a slow query that waits for the slow turn.
struct OfNamespace {
    all: Arc<Semaphore>,
    slow: Arc<Semaphore>,
}

/// The permission to run one query. The turn ends when this value is dropped.
pub(super) struct Turn {
    slow: Option<OwnedSemaphorePermit>,
    _any: OwnedSemaphorePermit,
    of_namespace: Arc<OfNamespace>,
}

impl Turns {
    /// Waits for a turn of the namespace. Always returns `Some`, because nobody closes the semaphores.
    pub(super) async fn of(&self, namespace: &str, is_slow: bool) -> Option<Turn> {
        let of_namespace = self.of_namespace(namespace);
        let slow =
            if is_slow { Some(Arc::clone(&of_namespace.slow).acquire_owned().await.ok()?) } else { None };
        let any = Arc::clone(&of_namespace.all).acquire_owned().await.ok()?;
        Some(Turn { slow, _any: any, of_namespace })
    }

    fn of_namespace(&self, namespace: &str) -> Arc<OfNamespace> {
        let new = || OfNamespace {
            all: Arc::new(Semaphore::new(QUERIES_AT_ONCE)),
            slow: Arc::new(Semaphore::new(1)),
        };
        Arc::clone(lock(&self.0).entry(namespace.to_owned()).or_insert_with(|| Arc::new(new())))
    }

    /// Removes the turns of a namespace without monitors. The turns stay while a query of a deleted monitor still runs,
    /// or while the slow turn rests. Otherwise, a new monitor of the namespace would get additional turns.
    pub(super) fn forget(&self, namespace: &str) {
        let mut all = lock(&self.0);
        if all.get(namespace).is_some_and(|of_namespace| Arc::strong_count(of_namespace) == 1) {
            all.remove(namespace);
        }
    }
}

impl Turn {
    /// Call this after the query, with its duration. If the query needed the slow turn, the slow turn now rests.
    pub(super) fn queried(&mut self, took: Duration) {
        if let Some(slow) = self.slow.take() {
            let of_namespace = Arc::clone(&self.of_namespace);
            tokio::spawn(async move {
                tokio::time::sleep(took * REST).await;
                drop((slow, of_namespace));
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use futures::future::join_all;

    use super::*;

    const QUERY: Duration = Duration::from_millis(20);

    /// The time that `count` concurrent queries of a namespace take.
    async fn all(turns: &Turns, namespace: &str, is_slow: bool, count: usize) -> Duration {
        let one = async || {
            let mut turn = turns.of(namespace, is_slow).await.expect("a turn");
            tokio::time::sleep(QUERY).await;
            turn.queried(QUERY);
        };
        let begun = Instant::now();
        join_all((0..count).map(|_| one())).await;
        begun.elapsed()
    }

    #[tokio::test]
    async fn slow_queries_use_an_eighth_of_a_turn_and_delay_no_other_query() {
        let turns = Turns::default();
        let slow = all(&turns, "flood", true, 4);
        let beside = async {
            tokio::time::sleep(QUERY / 2).await;
            (all(&turns, "flood", false, 1).await, all(&turns, "calm", false, 2).await)
        };
        let (slow, (own, calm)) = futures::join!(slow, beside);
        // The time of four queries, and of the rests after the first three queries.
        assert!(slow >= QUERY * (3 * (REST + 1) + 1), "{slow:?}");
        assert!(own < slow / 2 && calm < slow / 2, "{own:?}, {calm:?} beside {slow:?}");
    }

    #[tokio::test]
    async fn namespace_has_two_turns_and_no_new_ones_while_a_query_runs() {
        let turns = Turns::default();
        assert!(all(&turns, "flood", false, 6).await >= QUERY * 3);
        let (one, two) = (turns.of("flood", false).await, turns.of("flood", false).await);
        turns.forget("flood");
        let third = tokio::time::timeout(QUERY, turns.of("flood", false)).await;
        assert!(third.is_err(), "the namespace got a third turn");
        drop((one, two, third));
        turns.forget("flood");
        assert!(lock(&turns.0).is_empty());
    }
}
