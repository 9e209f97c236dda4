//! A hash of a value. The operator compares hashes to recognise a value that it wrote, or that the API server refused.

use std::hash::{DefaultHasher, Hash, Hasher};

/// The hash of `value`. Another build of the operator can compute another hash, so never store the hash.
pub fn fingerprint<T: Hash + ?Sized>(value: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
