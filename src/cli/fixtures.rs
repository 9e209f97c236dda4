//! Test data: the credit scorer of a bank, as in the documentation.
//!
//! ```text
//!  fixtures/lending.yaml ──► SystemRecord ── with(decision) ──► SystemRecord with decisions
//! ```

use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use crate::{
    api::{Approval, Approver, Decision},
    cli::connect::system_record::SystemRecord,
};

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
