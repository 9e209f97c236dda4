//! Test data: the credit scorer of a bank, as in the documentation.
//!
//! ```text
//!  fixtures/lending.yaml ──► SystemRecord ── with(decision) ──► SystemRecord with decisions
//! ```

use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use crate::{
    api::{Approval, Approver, Decision},
    cli::{connect::system_record::SystemRecord, render::shell::CommandLine},
};

/// The namespace in the commands of the tests.
pub const PLACE: &str = " -n lending";

/// Asserts that the command from `typed` repeats all of `arguments`. Fails if `arguments` lacks a flag of `A` other
/// than `--yes`, so that a test covers every new flag.
pub fn assert_repeated<A: clap::Args>(command: &str, arguments: &str, typed: impl Fn(&A) -> CommandLine) {
    let definition = A::augment_args(clap::Command::new("test"));
    let words: Vec<_> = arguments.split(' ').collect();
    for flag in definition.get_arguments().filter_map(clap::Arg::get_long).filter(|flag| *flag != "yes") {
        assert!(words.contains(&&*format!("--{flag}")), "the test does not set --{flag}");
    }
    let matches =
        definition.try_get_matches_from([&["test"][..], &words[..]].concat()).expect("valid arguments");
    let args = A::from_arg_matches(&matches).expect("valid arguments");
    assert_eq!(typed(&args).to_string(), format!("kubectl assent {command} {arguments}{PLACE}"));
}

/// The time at which the tests judge the record.
pub fn now() -> Timestamp {
    at("2026-11-24T12:00:00Z")
}

pub fn at(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

/// The credit scorer without decisions.
pub fn record() -> SystemRecord {
    let [level, system, v1, v2] = documents();
    SystemRecord {
        namespace: "lending".to_owned(),
        name: "credit-scorer".to_owned(),
        level: Some(serde_json::from_value(level).expect("a RiskLevel")),
        system: Some(serde_json::from_value(system).expect("an AISystem")),
        versions: [v2, v1].map(|v| serde_json::from_value(v).expect("a ModelVersion")).into(),
        ..SystemRecord::default()
    }
}

fn documents() -> [serde_json::Value; 4] {
    let documents = include_str!("fixtures/lending.yaml").split("---\n").skip(1);
    let documents: Vec<_> = documents.map(|d| serde_saphyr::from_str(d).expect("YAML")).collect();
    documents.try_into().expect("four documents")
}

pub fn person(user: &str) -> Approver {
    Approver { user: user.to_owned(), ..Approver::default() }
}

impl SystemRecord {
    /// Adds a decision of `user` about `version`, recorded at the time `recorded`.
    pub fn with(mut self, user: &str, decision: Decision, role: &str, version: &str, recorded: &str) -> Self {
        let subject = self.version(version).expect("a version");
        let approval = json!({
            "apiVersion": "assent.dev/v1alpha1", "kind": "Approval",
            "metadata": { "name": format!("a{}", self.approvals.len()), "creationTimestamp": recorded },
            "spec": { "system": self.name, "modelVersion": version, "subjectDigest": self.digest(subject),
                      "decision": decision, "role": role, "approver": { "user": user } }
        });
        self.approvals.push(serde_json::from_value::<Approval>(approval).expect("an Approval"));
        self
    }
}
