//! Tests of the policy.
//!
//! ```text
//!  applicable            the decisions that apply to a version
//!  assessments           attacks on the results that a level requires
//!  cases                 the rules, by example
//!  systems               the rules about risks, reviews and hosted models, by example
//!  requirements          requirements as expressions: realistic ones, and attacks
//!  certifications        attacks on signed certifications
//!  cluster_objects       network policies and claims in requirements
//!  example_requirements  the library of requirements in `examples/requirements`
//!  incidents             holds, and the decisions that lift them
//!  overrides             overrides, their quota and their review, with a second, naive implementation
//!  incident_times        escalation, reviews and closings, over time
//!  monitors              the state of a monitor, and the monitors that a level requires
//!  properties            rules that hold for all facts ─┬─ generate, generate_system  random facts by proptest
//!                                                       └─ oracle                     a second, naive implementation of the rules
//!  subject               the changes of a version or a system that change the signed digest
//!  scale                 time to judge thousands of decisions
//!  signature             decisions that are signed outside the cluster
//!  matching              the changes of a pod that break the match ─┬ runtime   random pods by proptest
//!  placeholders          the values of placeholders, and attacks    │
//!  trusted               the sidecars that a pod may have ──────────┘
//! ```

mod applicable;
mod assessments;
mod cases;
mod certifications;
mod cluster_objects;
mod example_requirements;
mod generate;
mod generate_system;
mod incident_times;
mod incidents;
mod matching;
mod monitors;
mod oracle;
mod overrides;
mod placeholders;
mod properties;
mod requirements;
mod runtime;
mod scale;
mod signature;
mod subject;
mod systems;
mod trusted;

use std::{fs, path::Path};

/// Tests can control every input of the policy only if the policy reads no clock and no API server.
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
