//! Tests the requirements that governance writes as expressions, with realistic expressions and attacks.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::generate::second;
use crate::{
    api::{AISystemSpec, Approver, AssessmentSpec, ModelVersionSpec, Requirement},
    expression::Budget,
    policy::{
        Attestation, Attestations, Authors, ClusterObjects, RecordedAssessment, RequirementFacts,
        Requirements, UnmetCause,
    },
};

fn system() -> AISystemSpec {
    serde_json::from_value(json!({
        "intendedPurpose": "Answers questions of customers.", "owners": [{ "name": "olga" }], "riskLevel": "limited",
        "jurisdictions": ["EU"],
        "documentation": [{ "type": "transparency-notice", "uri": "https://docs.example" }],
        "hostedModels": [{ "name": "chat", "provider": "OpenAI", "model": "gpt-5", "region": "eu" }],
    }))
    .expect("a system")
}

fn version(container: &Value) -> ModelVersionSpec {
    serde_json::from_value(json!({ "system": "chat", "runtime": { "containers": [container] } }))
        .expect("a version")
}

fn vllm(args: &[&str]) -> Value {
    json!({ "name": "vllm", "image": format!("registry.example/vllm@sha256:{}", "ab".repeat(32)), "args": args })
}

pub(super) fn requirement(expression: &str) -> Requirement {
    Requirement {
        name: "rule".to_owned(),
        expression: expression.to_owned(),
        message: "the rule".to_owned(),
        controls: Vec::new(),
    }
}

/// The reason why the version does not meet the expression. `None` if the version meets the expression.
fn cause(
    expression: &str,
    version: &ModelVersionSpec,
    assessments: &[RecordedAssessment<'_>],
) -> Option<UnmetCause> {
    let labels = BTreeMap::from([("region".to_owned(), "eu".to_owned())]);
    let results = Requirements::compile(&[requirement(expression)]).evaluate(
        &RequirementFacts {
            namespace: "support",
            labels: Some(&labels),
            system: &system(),
            name: "chat-v1",
            version,
            assessments,
            authors: Authors { version: Some("vera"), system: None },
            cluster: &ClusterObjects::default(),
        },
        &mut Budget::of_namespace(),
    );
    results.unmet.into_iter().next().map(|unmet| unmet.cause)
}

#[test]
fn realistic_expressions_hold_for_good_content_and_not_for_bad_content() {
    let good = vllm(&["--model=/models", "--enable-log-requests"]);
    let image = |image: &str| json!({ "name": "vllm", "image": image, "args": ["--enable-log-requests"] });
    let cases = [
        (
            r#"version.spec.runtime.containers.all(c, c.image.startsWith("registry.example/"))"#,
            image("registry.example.evil/vllm:1"),
        ),
        (
            r#"version.spec.runtime.containers.all(c, !has(c.args) || !c.args.exists(a, a.startsWith("--trust-remote-code")))"#,
            vllm(&["--trust-remote-code"]),
        ),
        (
            r#"version.spec.runtime.containers.exists(c, has(c.args) && "--enable-log-requests" in c.args)"#,
            vllm(&["--disable-log-requests"]),
        ),
        (
            r#"version.spec.runtime.containers.all(c, c.image.matches("@sha256:[0-9a-f]{64}$"))"#,
            image("registry.example/vllm:1"),
        ),
        (
            r#"version.spec.runtime.containers.all(c, !has(c.env) || !c.env.exists(e, e.name == "LD_PRELOAD"))"#,
            json!({ "name": "vllm", "image": "x", "env": [{ "name": "LD_PRELOAD", "value": "/x.so" }] }),
        ),
    ];
    for (expression, bad) in cases {
        assert_eq!(cause(expression, &version(&good), &[]), None, "{expression}");
        assert_eq!(cause(expression, &version(&bad), &[]), Some(UnmetCause::False), "{expression}");
    }
    for expression in [
        r#"system.spec.documentation.exists(d, d.type == "transparency-notice")"#,
        r#"system.spec.hostedModels.all(m, has(m.region) && m.region == "eu")"#,
        r#"namespaceObject.metadata.labels["region"] == "eu""#,
        r#"system.metadata.name == "chat" && version.metadata.namespace == "support""#,
        r#"!("EU" in system.spec.jurisdictions) || version.metadata.name.endsWith("-v1")"#,
    ] {
        assert_eq!(cause(expression, &version(&good), &[]), None, "{expression}");
    }
}

#[test]
fn expressions_see_only_signed_assessments() {
    let spec: AssessmentSpec = serde_json::from_value(json!({
        "system": "chat", "modelVersion": "chat-v1", "subjectDigest": format!("sha256:{}", "0".repeat(64)),
        "kind": "RedTeam", "performedAt": "2026-09-01T10:00:00Z",
        "results": [{ "metric": "attack_success", "value": "0.02", "direction": "LowerIsBetter", "samples": 500 }],
    }))
    .expect("an assessment");
    let digest = spec.digest("support");
    let unsigned = RecordedAssessment::new("red-team", &spec, &digest, second(0), &Attestations::default());
    let approver = Approver { user: "alice".to_owned(), ..Approver::default() };
    let signed = |is_valid| RecordedAssessment {
        attestations: vec![Attestation {
            approver: std::borrow::Cow::Borrowed(&approver),
            role: "validator",
            is_valid,
        }],
        ..unsigned.clone()
    };
    let expression = r#"assessments.exists(a, a.kind == "RedTeam" && a.signatures.exists(s, s.role == "validator" && s.independent)
        && a.results.all(r, double(r.value) <= 0.05) && a.performedAt > timestamp("2026-01-01T00:00:00Z"))"#;
    let content = version(&vllm(&[]));
    assert_eq!(cause(expression, &content, &[signed(true)]), None);
    for without in [unsigned.clone(), signed(false)] {
        assert_eq!(cause(expression, &content, &[without]), Some(UnmetCause::False));
    }
    // An assessment stays visible after the removal of the key that signed it, so that a bad result does not disappear.
    let visible = "assessments.size() == 1 && assessments[0].signatures.size() == 0";
    assert_eq!(cause(visible, &content, &[signed(false)]), None);
    let by_author = Approver { user: "vera".to_owned(), ..Approver::default() };
    let mut involved = signed(true);
    involved.attestations[0].approver = std::borrow::Cow::Borrowed(&by_author);
    involved.attestations.push(involved.attestations[0].clone());
    assert_eq!(cause(expression, &content, std::slice::from_ref(&involved)), Some(UnmetCause::False));
    assert_eq!(
        cause("assessments[0].signatures.size() == 1", &content, &[involved]),
        None,
        "each signature is listed once"
    );
}

#[test]
fn an_invalid_expression_withholds_and_names_the_error() {
    let content = version(&vllm(&[]));
    for (expression, error) in [
        ("true &&", "1:"),
        ("1", "must be"),
        ("versio.spec.system == \"chat\"", "there is no variable versio"),
        ("version.spec.runtme.containers.size() > 0", "runtme"),
        ("version.spec.system == 3", "string"),
        ("system.spec.intendedPurpose.matches(version.spec.system)", "a text in quotes"),
    ] {
        let Some(UnmetCause::Invalid(why)) = cause(expression, &content, &[]) else {
            panic!("{expression} is valid")
        };
        assert!(why.contains(error), "{expression}: {why}");
        assert!(!why.contains('\n'), "{why}");
    }
}

#[test]
fn an_evaluation_that_fails_withholds_and_shows_no_value() {
    let secret = json!({ "name": "vllm", "image": "x", "env": [{ "name": "TOKEN", "value": "hunter2" }] });
    let content = version(&secret);
    for expression in [
        "version.spec.runtime.containers.all(c, c.args.size() > 0)",
        "version.spec.runtime.containers.all(c, c.env.all(e, double(e.value) > 0.0))",
        r#"namespaceObject.metadata.labels["team"] == "a""#,
    ] {
        let Some(UnmetCause::Failed(why)) = cause(expression, &content, &[]) else {
            panic!("{expression} succeeds")
        };
        assert!(!why.contains("hunter2"), "{why}");
    }
}

#[test]
fn an_expensive_expression_fails_quickly() {
    let args: Vec<String> = (0..256).map(|n| format!("--flag-{n}={}", "a".repeat(1000))).collect();
    let content = version(&vllm(&args.iter().map(String::as_str).collect::<Vec<_>>()));
    let expression = "version.spec.runtime.containers.all(c, c.args.all(a, c.args.all(b, c.args.all(d, a != b || d != 'x'))))";
    let begin = std::time::Instant::now();
    let Some(UnmetCause::Failed(why)) = cause(expression, &content, &[]) else {
        panic!("the expression does not fail")
    };
    assert!(why.contains("too many steps"), "{why}");
    assert!(begin.elapsed() < std::time::Duration::from_secs(5), "{:?}", begin.elapsed());
}

#[test]
fn assessments_are_listed_newest_first() {
    let spec = |at: &str| -> AssessmentSpec {
        serde_json::from_value(json!({
            "system": "chat", "modelVersion": "chat-v1", "subjectDigest": format!("sha256:{}", "0".repeat(64)),
            "kind": "RedTeam", "performedAt": at,
            "results": [{ "metric": "m", "value": "1", "direction": "LowerIsBetter", "samples": 1 }],
        }))
        .expect("an assessment")
    };
    let (old, new) = (spec("2026-09-01T10:00:00Z"), spec("2026-09-02T10:00:00Z"));
    let approver = Approver { user: "alice".to_owned(), ..Approver::default() };
    let recorded = |name, spec| RecordedAssessment {
        attestations: vec![Attestation {
            approver: std::borrow::Cow::Borrowed(&approver),
            role: "validator",
            is_valid: true,
        }],
        ..RecordedAssessment::new(name, spec, &spec.digest("support"), second(0), &Attestations::default())
    };
    let content = version(&vllm(&[]));
    let (old, new) = (recorded("old", &old), recorded("new", &new));
    for order in [[old.clone(), new.clone()], [new, old]] {
        assert_eq!(cause(r#"assessments[0].name == "new""#, &content, &order), None);
    }
}

#[test]
fn the_versions_of_a_namespace_share_a_budget() {
    let args: Vec<String> = (0..256).map(|n| format!("--flag-{n}")).collect();
    let content = version(&vllm(&args.iter().map(String::as_str).collect::<Vec<_>>()));
    let expensive = requirement(
        "version.spec.runtime.containers.all(c, c.args.all(a, c.args.all(b, a != b || a != 'x')))",
    );
    let requirements = Requirements::compile(&[expensive, requirement("true")]);
    let system = system();
    let facts = RequirementFacts {
        namespace: "support",
        labels: None,
        system: &system,
        name: "chat-v1",
        version: &content,
        assessments: &[],
        authors: Authors::default(),
        cluster: &ClusterObjects::default(),
    };
    let mut budget = Budget::of_namespace();
    let begin = std::time::Instant::now();
    let last = (0..200).map(|_| requirements.evaluate(&facts, &mut budget)).last().expect("results");
    assert_eq!(last.unmet.len(), 2, "no step is left for the cheap expression: {last:?}");
    assert!(begin.elapsed() < std::time::Duration::from_secs(20), "{:?}", begin.elapsed());
}

#[test]
fn without_labels_an_expression_about_the_namespace_is_left_out() {
    let requirements = Requirements::compile(&[
        requirement(r#"namespaceObject.metadata.labels["region"] == "us""#),
        Requirement { name: "other".to_owned(), ..requirement("false") },
    ]);
    let results = requirements.evaluate(
        &RequirementFacts {
            namespace: "support",
            labels: None,
            system: &system(),
            name: "chat-v1",
            version: &version(&vllm(&[])),
            assessments: &[],
            authors: Authors::default(),
            cluster: &ClusterObjects::default(),
        },
        &mut Budget::of_namespace(),
    );
    assert_eq!(results.unmet.iter().map(|unmet| &*unmet.name).collect::<Vec<_>>(), ["other"]);
    assert_eq!(results.unknown.into_iter().collect::<Vec<_>>(), ["rule"]);
}
