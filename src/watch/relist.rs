//! Converts the events of a kube watcher to changes of a cache, so that every cache handles a new list in the same way.
//!
//! A list consists of the events `Init`, `InitApply` for each object, and `InitDone`. It becomes the changes `Apply`
//! for each object, and `Listed`. The events `Apply` and `Delete` become the changes with the same names.

use std::{collections::HashSet, hash::Hash};

use kube::runtime::watcher::Event;

use super::Lenient;

#[derive(Debug)]
pub(crate) enum Change<I, K> {
    /// The object is new or changed. `listing` is true if the object comes from a list in progress.
    Apply {
        key: I,
        object: K,
        listing: bool,
    },
    Delete {
        key: I,
    },
    /// A list is complete, and its objects have these keys. Objects with other keys no longer exist.
    Listed(HashSet<I>),
}

/// The keys of the objects that the list in progress has returned so far. Empty if no list is in progress.
#[derive(Debug)]
pub(crate) struct Relist<I> {
    keys: HashSet<I>,
}

impl<I> Default for Relist<I> {
    fn default() -> Self {
        Self { keys: HashSet::new() }
    }
}

impl<I: Clone + Eq + Hash> Relist<I> {
    /// Converts `event` to a change. Returns `None` for the start of a list.
    pub(crate) fn change<K>(&mut self, event: Event<K>, key: impl FnOnce(&K) -> I) -> Option<Change<I, K>> {
        match event {
            Event::Init => {
                self.keys.clear();
                None
            }
            Event::InitApply(object) => {
                let key = key(&object);
                self.keys.insert(key.clone());
                Some(Change::Apply { key, object, listing: true })
            }
            Event::InitDone => Some(Change::Listed(std::mem::take(&mut self.keys))),
            Event::Apply(object) => Some(Change::Apply { key: key(&object), object, listing: false }),
            Event::Delete(object) => Some(Change::Delete { key: key(&object) }),
        }
    }
}

impl<I, K> Change<I, K> {
    /// Maps the object of the change with `map`. If `map` returns `None`, the change becomes a deletion.
    pub(crate) fn filter_map<V>(self, map: impl FnOnce(K) -> Option<V>) -> Change<I, V> {
        match self {
            Self::Apply { key, object, listing } => match map(object) {
                Some(object) => Change::Apply { key, object, listing },
                None => Change::Delete { key },
            },
            Self::Delete { key } => Change::Delete { key },
            Self::Listed(keys) => Change::Listed(keys),
        }
    }
}

impl<I, K> Change<I, Lenient<K>> {
    /// Converts an unreadable object to a deletion, because the object counts as missing.
    pub(crate) fn readable(self) -> Change<I, K> {
        self.filter_map(|object| object.0.ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(relist: &mut Relist<u8>, events: Vec<Event<u8>>) -> Vec<String> {
        let changes = events.into_iter().filter_map(|event| relist.change(event, |key| *key));
        changes.map(|change| format!("{change:?}")).collect()
    }

    #[test]
    fn keys_of_an_aborted_list_do_not_count() {
        let mut relist = Relist::default();
        let broken = vec![Event::Init, Event::InitApply(1)];
        assert_eq!(changes(&mut relist, broken), ["Apply { key: 1, object: 1, listing: true }"]);
        let complete = vec![Event::Init, Event::InitApply(2), Event::InitDone, Event::Delete(2)];
        let changed = changes(&mut relist, complete);
        assert_eq!(changed[1..], ["Listed({2})", "Delete { key: 2 }"]);
        assert_eq!(changes(&mut relist, vec![Event::InitDone]), ["Listed({})"]);
    }
}
