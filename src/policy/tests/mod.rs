//! Tests of the policy.
//!
//! ```text
//!  applicable                 the decisions that apply to a version
//!  assessments                attacks on required assessments
//!  cases                      examples of each rule
//!  certifications             attacks on signed certifications
//!  cluster_objects            network policies and claims in expressions
//!  example_requirements       the requirements in `examples/requirements`
//!  generate, generate_system  random facts by proptest
//!  incident_times             escalation, closing and review of incidents
//!  incidents                  holds, and the decisions that lift holds
//!  matching                   changes of a pod that break the match with a runtime
//!  monitors                   the state of a monitor, and the monitors that a level requires
//!  oracle                     a second, naive implementation of the rules, for `properties`
//!  overrides                  grants, reviews, quota and ends of overrides
//!  pins                       the images that get a digest
//!  placeholders               the values of placeholders, and attacks
//!  properties                 rules that are true for all generated facts
//!  requirements               expressions as requirements, and attacks
//!  runtime                    random runtimes by proptest, and the pods with these runtimes
//!  scale                      the time to judge thousands of decisions
//!  signature                  attacks on signed decisions
//!  subject                    changes that change the signed digest
//!  systems                    examples of the rules about risks, reviews and hosted models
//!  trusted                    the trusted additions to a pod
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
mod pins;
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
