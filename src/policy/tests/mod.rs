//! Attacks on the policy.
//!
//! ```text
//!  bearing     which decisions are heard
//!  cases       the rules as a reader would put them, one example a line
//!  properties  what holds for all facts ── generate   facts made up by proptest
//!                                       └─ oracle     the rules a second time, naively
//!  subject     what changes the digest that people sign, and what does not
//!  scale       thousands of statements
//!  signature   decisions that were signed outside the cluster
//!  matching    which changes to a pod make it another model ─┬ runtime   pods made up by proptest
//!  trust       what may be in a pod besides ─────────────────┘
//! ```

mod applicable;
mod cases;
mod generate;
mod matching;
mod oracle;
mod properties;
mod runtime;
mod scale;
mod signature;
mod subject;
mod trusted;

use std::{fs, path::Path};

/// A policy that could look at the clock or ask the API server could not be tested as this one is.
#[test]
fn the_policy_has_no_client_no_clock_and_no_async() {
    let forbidden = [
        "kube::Client",
        "kube::client",
        "kube::Api",
        "tokio",
        "async fn",
        "async move",
        ".await",
        "Timestamp::now",
        "Zoned::now",
        "SystemTime",
        "Instant::now",
        "std::env",
        "std::fs",
        "std::net",
        "rand::",
    ];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/policy");
    let mut read = 0;
    for entry in fs::read_dir(&folder).expect("the sources are here") {
        let path = entry.expect("readable").path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let source = fs::read_to_string(&path).expect("readable");
        for word in forbidden {
            assert!(!source.contains(word), "{} mentions {word}", path.display());
        }
        read += 1;
    }
    assert!(read >= 7, "only {read} files were read");
}
