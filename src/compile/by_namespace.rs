//! A map that keeps state of each namespace from one compile to the next.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
};

use crate::lock::lock;

/// The state by namespace. The queue runs at most one compile of a namespace at a time. So a compile can take the state
/// out, change it without a lock, and put it back.
#[derive(Debug)]
pub struct ByNamespace<T>(Mutex<HashMap<String, T>>);

impl<T> Default for ByNamespace<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Default> ByNamespace<T> {
    pub fn take(&self, namespace: &str) -> T {
        self.lock().remove(namespace).unwrap_or_default()
    }

    pub fn put(&self, namespace: &str, state: T) {
        self.lock().insert(namespace.to_owned(), state);
    }

    /// Drops the state of a namespace that is being deleted.
    pub fn forget(&self, namespace: &str) {
        self.lock().remove(namespace);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, T>> {
        lock(&self.0)
    }
}
