//! Tests the statuses and Events of an override during its life.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{
    api::{
        AISystem, Approval, CLEARED_BY_OVERRIDE, Condition, Digest, Governance, Mode, ModelVersion, Override,
        RiskLevel, Scope,
    },
    compile::{
        clearance::Compiled,
        compile,
        index::NamespaceFacts,
        override_events::{announcements, counts},
    },
    policy::Subject,
};

const GOVERNED: Governance = Governance { mode: Some(Mode::Enforce), scope: Scope::All };

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).expect("in range")
}

fn object<K: DeserializeOwned>(kind: &str, name: &str, spec: &Value) -> K {
    serde_json::from_value(json!({ "apiVersion": "assent.dev/v1alpha1", "kind": kind,
        "metadata": { "name": name, "namespace": "lending", "creationTimestamp": at(0), "generation": 1 },
        "spec": spec }))
    .expect("as the schema says")
}

fn one<K, V: From<K>>(name: &str, object: K) -> BTreeMap<String, Arc<V>> {
    BTreeMap::from([(name.to_owned(), Arc::new(object.into()))])
}

/// A version that nobody approved, with an override that Alice granted. The override ends at `at(100)`.
fn facts() -> NamespaceFacts {
    let rules = json!({ "maxDuration": "1h", "roles": [{ "role": "duty" }], "waivable": ["Approval"],
        "perSystem": { "count": 1, "within": "1h" }, "review": { "within": "60s", "roles": ["risk"] } });
    let level = json!({ "approvals": [{ "role": "risk" }], "images": "Tag", "overrides": rules });
    let level: RiskLevel = object("RiskLevel", "high", &level);
    let owners = json!([{ "kind": "User", "name": "olga" }]);
    let system = json!({ "intendedPurpose": "triage", "owners": owners, "riskLevel": "high", "jurisdictions": ["EU"] });
    let system: AISystem = object("AISystem", "scorer", &system);
    let runtime = json!({ "containers": [{ "name": "model", "image": "scorer:1" }] });
    let version: ModelVersion =
        object("ModelVersion", "v1", &json!({ "system": "scorer", "runtime": runtime }));
    let digest: Digest = Subject::new("lending", &system.spec, Some(&level.spec), &version.spec).digest();
    let subject = json!({ "system": "scorer", "modelVersion": "v1", "subjectDigest": digest });
    let mut asked = subject.clone();
    asked["waives"] = json!([{ "type": "Approval", "name": "risk" }]);
    asked["reason"] = json!("outage");
    asked["notAfter"] = json!(at(100));
    asked["requestedBy"] = json!({ "user": "rita" });
    let asked: Override = object("Override", "outage", &asked);
    let mut grant = subject;
    grant["decision"] = json!("Override");
    grant["role"] = json!("duty");
    grant["override"] = json!({ "name": "outage", "digest": asked.spec.digest("lending") });
    grant["approver"] = json!({ "user": "alice" });
    NamespaceFacts {
        levels: one("high", level),
        systems: one("scorer", system),
        versions: one("v1", version),
        overrides: one("outage", asked),
        approvals: one("grant", object::<Approval>("Approval", "grant", &grant)),
        ..NamespaceFacts::default()
    }
}

fn compiled(now: i64) -> Compiled {
    compile("lending", GOVERNED, &facts(), at(now))
}

fn reason(conditions: &[Condition], type_: &str) -> String {
    conditions.iter().find(|c| c.type_ == type_).map(|c| c.reason.to_string()).unwrap_or_default()
}

#[test]
fn clearance_of_an_override_ends_like_that_of_an_approval() {
    let cleared =
        |compiled: Compiled| compiled.clearance.expect("governed").systems["scorer"].cleared.clone();
    let during = cleared(compiled(5));
    assert_eq!(during.iter().map(|version| version.not_after.0).collect::<Vec<_>>(), [at(100)]);
    assert!(cleared(compiled(100)).is_empty());
}

#[test]
fn statuses_follow_the_life_of_an_override() {
    for (now, active, reviewed) in [
        (5, "InEffect", "NotDue"),
        (100, "Expired", "Due"),
        (159, "Expired", "Due"),
        (160, "Expired", "Overdue"),
    ] {
        let compiled = compiled(now);
        let status = &compiled.statuses.overrides["outage"];
        assert_eq!(reason(&status.conditions, "Granted"), "Granted", "{now}");
        assert_eq!(reason(&status.conditions, "Active"), active, "{now}");
        assert_eq!(reason(&status.conditions, "Reviewed"), reviewed, "{now}");
        assert_eq!(status.review_due.as_ref().map(|due| due.0), Some(at(160)));
        let facts = facts();
        let (counted, reviews) = counts(&facts, &compiled.statuses);
        assert_eq!(counted["scorer"], usize::from(active == "InEffect"), "{now}");
        assert_eq!(reviews, [usize::from(reviewed == "Due"), usize::from(reviewed == "Overdue")], "{now}");
        let version = &compiled.statuses.versions["v1"].conditions;
        let cleared = if now < 100 { CLEARED_BY_OVERRIDE } else { "AwaitingApproval" };
        assert_eq!(reason(version, "Cleared"), cleared, "{now}");
        let next = [100, 160].into_iter().find(|next| *next > now).map(at);
        assert_eq!(compiled.revisit.filter(|revisit| *revisit < at(1000)), next, "{now}");
    }
}

#[test]
fn each_transition_is_announced_once() {
    let mut facts = facts();
    let mut announced = Vec::new();
    for now in [5, 6, 100, 101, 160, 161] {
        let statuses = compile("lending", GOVERNED, &facts, at(now)).statuses;
        let events = announcements("lending", &facts, &statuses);
        announced.extend(events.into_iter().map(|announcement| (now, announcement.event.reason)));
        let mut about: Override = {
            let cached = &facts.overrides["outage"];
            Override::new("outage", cached.spec.clone())
        };
        about.metadata.namespace = Some("lending".to_owned());
        about.metadata.creation_timestamp = Some(Time(at(0)));
        about.status = statuses.overrides.get("outage").cloned();
        facts.overrides = one("outage", about);
    }
    let expected = [(5, "OverrideGranted"), (100, "OverrideReviewDue"), (160, "OverrideReviewMissed")];
    assert_eq!(announced, expected.map(|(now, reason)| (now, reason.to_owned())));
}
