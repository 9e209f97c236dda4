//! A hash to recognise a value that was written or refused before.

use std::hash::{DefaultHasher, Hash, Hasher};

/// The hash of `value`. Another build can give another hash, so the hash is only kept in memory.
pub fn fingerprint<T: Hash + ?Sized>(value: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
