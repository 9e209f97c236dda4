//! A hash by which the operator recognises a value that it wrote before, or that the API server refused before.

use std::hash::{DefaultHasher, Hash, Hasher};

/// Another build can give another hash for the same `value`, so never store the hash.
pub fn fingerprint<T: Hash + ?Sized>(value: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
