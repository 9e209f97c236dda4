//! Tests of the expressions:
//!
//! - `rules`: expressions of a real risk level
//! - `checks`: errors of names and types
//! - `limits`: texts that are too large or too deep
//! - `values`: results and failures of operators and functions
//! - `attacks`: expressions that an attacker writes to be slow
//! - `random`: random texts, and random expressions with correct types
//! - `parser`: the parser that Assent uses, and the default parser of the library, agree

mod attacks;
mod checks;
mod limits;
mod parser;
mod random;
mod rules;
mod values;

use std::{fs, path::Path, sync::LazyLock};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value as Json, json};

use super::{BUDGET, Budget, Environment, Expression, Failure, Inputs, Type};

/// The type of the `spec` in a CRD of this repository.
fn spec(plural: &str) -> Type {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("crds/{plural}.yaml"));
    let text = fs::read_to_string(path).expect("the resource definition is here");
    let crd: CustomResourceDefinition = serde_saphyr::from_str(&text).expect("a resource definition");
    let schema = crd.spec.versions[0].schema.as_ref().and_then(|schema| schema.open_api_v3_schema.clone());
    let Type::Object(fields) = Type::of_schema(&schema.expect("a schema")) else { panic!("an object") };
    fields["spec"].clone()
}

/// The variables that the tested expressions can read. The variables `now` and `any` exist only in these tests.
static ENVIRONMENT: LazyLock<Environment> = LazyLock::new(|| {
    let metadata = [("name", Type::String), ("labels", Type::map(Type::String))];
    [
        ("system", spec("aisystems")),
        ("version", spec("modelversions")),
        ("assessments", Type::list(spec("assessments"))),
        ("namespaceObject", Type::object([("metadata", Type::object(metadata))])),
        ("now", Type::Timestamp),
        ("any", Type::Dyn),
    ]
    .into_iter()
    .collect()
});

fn environment() -> Environment {
    ENVIRONMENT.clone()
}

/// The values of a typical version with `containers` containers. Each container has `variables` environment variables.
fn values(containers: usize, variables: usize) -> Vec<(&'static str, Json)> {
    let container = |index: usize| {
        let env =
            (0..variables).map(|n| json!({ "name": format!("VARIABLE_{n}"), "value": format!("value {n}") }));
        json!({
            "name": format!("container-{index}"),
            "image": format!("registry.acme.example/models/server-{index}@sha256:{}", "0a".repeat(32)),
            "args": ["--model", "/models/base-7b", "--max-model-len", "8192", "--enable-log-requests"],
            "env": env.collect::<Vec<_>>(),
            "volumeMounts": [{ "name": "models", "mountPath": "/models", "readOnly": true }],
        })
    };
    let version = json!({
        "system": "credit-scorer",
        "runtime": {
            "containers": (0..containers).map(container).collect::<Vec<_>>(),
            "hostNetwork": false,
            "volumes": [{ "name": "models", "persistentVolumeClaim": { "claimName": "models" } }],
        },
        "provenance": {
            "baseModel": { "name": "base-7b", "digest": "sha256:00", "uri": null },
            "sbom": { "name": "sbom", "digest": "sha256:11" },
        },
    });
    let system = json!({
        "riskLevel": "high",
        "intendedPurpose": "Scores the creditworthiness of persons",
        "jurisdictions": ["EU", "CH"],
        "owners": [{ "kind": "Group", "name": "credit-ml" }],
        "documentation": [
            { "type": "impact-assessment", "uri": "https://docs.acme.example/ia.pdf", "digest": "sha256:22" },
            { "type": "transparency-notice", "uri": "https://docs.acme.example/notice.pdf" },
        ],
        "decommission": { "date": "2027-03-31T00:00:00Z", "reason": "replaced" },
    });
    let assessments = json!([{
        "kind": "RedTeam",
        "performedAt": "2026-10-01T00:00:00Z",
        "results": [{ "metric": "refusal-rate", "value": "0.03" }],
    }]);
    let namespace = json!({ "metadata": { "name": "credit", "labels": { "region": "eu", "tier": "prod" } } });
    vec![
        ("system", system),
        ("version", version),
        ("assessments", assessments),
        ("namespaceObject", namespace),
        ("now", json!("2026-11-28T12:00:00Z")),
        ("any", json!({ "list": [1, 2.5, "three", null], "text": "a", "secret": "hunter2" })),
    ]
}

fn inputs_of(values: &[(&'static str, Json)]) -> Inputs {
    Inputs::new(&environment(), values.iter().map(|(name, json)| (*name, json)))
}

fn inputs() -> Inputs {
    static INPUTS: LazyLock<Inputs> = LazyLock::new(|| inputs_of(&values(5, 40)));
    INPUTS.clone()
}

fn compile(text: &str) -> Expression {
    Expression::compile(text, &environment()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn evaluate(text: &str) -> Result<bool, Failure> {
    compile(text).evaluate_alone(&inputs())
}

/// The error message for a text that is not a valid expression.
fn invalid(text: &str) -> String {
    Expression::compile(text, &environment()).map(|_| ()).expect_err(text).to_string()
}

impl Expression {
    /// Evaluates with the full budget of one evaluation.
    fn evaluate_alone(&self, inputs: &Inputs) -> Result<bool, Failure> {
        self.evaluate_within(inputs, BUDGET)
    }

    fn evaluate_within(&self, inputs: &Inputs, steps: u64) -> Result<bool, Failure> {
        self.evaluate(inputs, &mut Budget(steps))
    }
}
