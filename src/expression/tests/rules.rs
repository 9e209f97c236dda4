//! Tests expressions of a real risk level with a typical version.

use std::collections::BTreeSet;

use serde_json::json;

use super::{compile, evaluate, inputs_of, values};

/// Realistic expressions, each with its result for the version of [`values`].
pub(super) const EXPRESSIONS: [(&str, bool); 12] = [
    (r#"version.runtime.containers.all(c, c.image.startsWith("registry.acme.example/"))"#, true),
    (
        r#"version.runtime.containers.all(c, !has(c.args) || !c.args.exists(a, a == "--trust-remote-code" || a.startsWith("--trust-remote-code=")))"#,
        true,
    ),
    (r#"version.runtime.containers.exists(c, has(c.args) && "--enable-log-requests" in c.args)"#, true),
    (
        r#"version.runtime.containers.all(c, !has(c.env) || c.env.all(e, !(e.name in ["LD_PRELOAD", "HF_TOKEN", "VLLM_ALLOW_RUNTIME_LORA_UPDATING"])))"#,
        true,
    ),
    (r#"system.documentation.exists(d, d.type == "transparency-notice")"#, true),
    (r#"namespaceObject.metadata.labels["region"] == "eu""#, true),
    (
        r#"assessments.exists(a, a.kind == "RedTeam" && a.results.all(r, r.metric != "refusal-rate" || double(r.value) < 0.05))"#,
        true,
    ),
    (
        r#"version.runtime.containers.all(c, c.image.matches("^[a-z0-9.-]+(/[a-z0-9._-]+)+@sha256:[0-9a-f]{64}$"))"#,
        true,
    ),
    (
        "has(version.provenance.sbom) && size(version.runtime.containers) <= 8 && !version.runtime.hostNetwork",
        true,
    ),
    (r#"assessments.exists(a, a.kind == "RedTeam" && now - a.performedAt < duration("2160h"))"#, true),
    ("!has(system.decommission) || system.decommission.date > now", true),
    (
        r#""EU" in system.jurisdictions ? system.documentation.filter(d, has(d.digest)).size() >= 2 : true"#,
        false,
    ),
];

#[test]
fn realistic_expressions_have_the_expected_results() {
    for (text, expected) in EXPRESSIONS {
        assert_eq!(evaluate(text), Ok(expected), "{text}");
    }
}

#[test]
fn expression_that_the_version_does_not_meet_is_false() {
    let mut values = values(2, 3);
    values[1].1["runtime"]["containers"][1]["args"] = json!(["--trust-remote-code=true"]);
    values[1].1["runtime"]["containers"][1]["image"] = json!("docker.example/server");
    let inputs = inputs_of(&values);
    for (text, _) in &EXPRESSIONS[..2] {
        assert_eq!(compile(text).evaluate_alone(&inputs), Ok(false), "{text}");
    }
}

#[test]
fn variables_are_the_variables_that_the_expression_reads() {
    let expression =
        compile(r#"assessments.exists(version, version.kind == "RedTeam") && size(system.owners) > 0"#);
    let expected = BTreeSet::from(["assessments".to_owned(), "system".to_owned()]);
    assert_eq!(expression.variables(), &expected);
}
