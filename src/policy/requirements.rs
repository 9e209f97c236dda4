//! Evaluates the requirements that governance writes as expressions.
//!
//! ```text
//!  RiskLevel ── expressions ──► Requirements ─┐
//!  system, version, assessments, namespace ───┴─► unmet requirements ──► judge
//! ```
//!
//! An expression has no variable for the time. So its result changes only if an object changes.

use std::{collections::BTreeMap, fmt, sync::LazyLock};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps,
};
use kube::CustomResourceExt;
use serde::Serialize;
use serde_json::{Value, json};

use super::RecordedAssessment;
use crate::{
    api::{AISystem, AISystemSpec, Assessment, ModelVersion, ModelVersionSpec, Requirement},
    expression::{Environment, Expression, Inputs, InvalidExpression, Type},
};

/// The name of the variable for the namespace.
const NAMESPACE: &str = "namespaceObject";

/// The compiled requirements of a level.
#[derive(Debug, Default)]
pub struct Requirements(Vec<Compiled>);

#[derive(Debug)]
struct Compiled {
    name: String,
    message: String,
    expression: Result<Expression, InvalidExpression>,
}

/// The objects that an expression can read.
#[derive(Clone, Copy, Debug)]
pub struct RequirementFacts<'a> {
    /// The name of the namespace.
    pub namespace: &'a str,
    /// The labels of the namespace. `None` if they are not known.
    pub labels: Option<&'a BTreeMap<String, String>>,
    /// The system of the version.
    pub system: &'a AISystemSpec,
    /// The name of the version.
    pub name: &'a str,
    /// The content of the version.
    pub version: &'a ModelVersionSpec,
    /// The assessments of the content. Expressions see only those that a person signed.
    pub assessments: &'a [RecordedAssessment<'a>],
}

/// A requirement that a version does not meet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnmetRequirement {
    /// The name of the requirement in the level.
    pub name: String,
    /// The message of the requirement.
    pub message: String,
    /// The cause.
    pub cause: UnmetCause,
}

/// The cause why a requirement is not met.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UnmetCause {
    /// The result of the expression is false.
    False,
    /// The evaluation failed.
    Failed(String),
    /// The expression is invalid, so no version of the level may run.
    Invalid(String),
}

impl fmt::Display for UnmetRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, message, cause } = self;
        match cause {
            UnmetCause::False => write!(f, "requirement {name} is not met: {message}"),
            UnmetCause::Failed(why) => {
                write!(f, "requirement {name} is not met: {message} (its expression failed: {why})")
            }
            UnmetCause::Invalid(why) => write!(f, "requirement {name} of the level is invalid: {why}"),
        }
    }
}

impl Requirements {
    /// Compiles the requirements of a level.
    pub fn compile(requirements: &[Requirement]) -> Self {
        let compiled = requirements.iter().map(|requirement| Compiled {
            name: requirement.name.clone(),
            message: requirement.message.clone(),
            expression: Expression::compile(&requirement.expression, &ENVIRONMENT),
        });
        Self(compiled.collect())
    }

    /// The names of the requirements that are invalid, with the error of each.
    pub fn invalid(&self) -> impl Iterator<Item = (&str, &InvalidExpression)> {
        self.0.iter().filter_map(|compiled| Some((&*compiled.name, compiled.expression.as_ref().err()?)))
    }

    /// The requirements that are not met. Without labels of the namespace, leaves out the expressions that read the
    /// namespace.
    pub fn unmet(&self, facts: &RequirementFacts<'_>) -> Vec<UnmetRequirement> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let inputs = inputs(facts);
        let is_unknown =
            |expression: &Expression| facts.labels.is_none() && expression.variables().contains(NAMESPACE);
        let cause = |compiled: &Compiled| match &compiled.expression {
            Err(why) => Some(UnmetCause::Invalid(why.to_string())),
            Ok(expression) if is_unknown(expression) => None,
            Ok(expression) => match expression.evaluate(&inputs) {
                Ok(true) => None,
                Ok(false) => Some(UnmetCause::False),
                Err(why) => Some(UnmetCause::Failed(why.to_string())),
            },
        };
        let unmet = self.0.iter().filter_map(|compiled| {
            let (name, message) = (compiled.name.clone(), compiled.message.clone());
            cause(compiled).map(|cause| UnmetRequirement { name, message, cause })
        });
        unmet.collect()
    }
}

/// An assessment as an expression sees it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SignedAssessment<'a> {
    name: &'a str,
    kind: Value,
    results: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    relationship: Option<Value>,
    performed_at: String,
    /// The roles in which people signed.
    roles: Vec<&'a str>,
}

fn inputs(facts: &RequirementFacts<'_>) -> Inputs {
    let system = json!({
        "metadata": { "name": &*facts.version.system, "namespace": facts.namespace },
        "spec": json(&facts.system),
    });
    let version = json!({
        "metadata": { "name": facts.name, "namespace": facts.namespace },
        "spec": json(&facts.version),
    });
    let signed = facts.assessments.iter().filter_map(|assessment| {
        let valid = assessment.attestations.iter().filter(|signature| signature.is_valid);
        let roles: Vec<_> = valid.map(|signature| signature.role).collect();
        let seen = SignedAssessment {
            name: assessment.name,
            kind: json(&assessment.kind),
            results: json(&assessment.results),
            relationship: assessment.relationship.as_ref().map(json),
            performed_at: assessment.performed_at.to_string(),
            roles,
        };
        (!seen.roles.is_empty()).then(|| json(&seen))
    });
    let assessments = Value::Array(signed.collect());
    let namespace =
        facts.labels.map(|labels| json!({ "metadata": { "name": facts.namespace, "labels": labels } }));
    let values = [("system", &system), ("version", &version), ("assessments", &assessments)];
    Inputs::new(&ENVIRONMENT, values.into_iter().chain(namespace.as_ref().map(|value| (NAMESPACE, value))))
}

/// The value of an object of the API. Such an object always serialises.
fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// The variables with the types of the schemas.
static ENVIRONMENT: LazyLock<Environment> = LazyLock::new(|| {
    let metadata = || Type::object([("name", Type::String), ("namespace", Type::String)]);
    let described = |spec| Type::object([("metadata", metadata()), ("spec", spec)]);
    let assessment = of_spec(&Assessment::crd());
    let field = |name: &str| match &assessment {
        Type::Object(fields) => fields.get(name).cloned().unwrap_or(Type::Dyn),
        _ => Type::Dyn,
    };
    let signed = Type::object([
        ("name", Type::String),
        ("kind", field("kind")),
        ("results", field("results")),
        ("relationship", field("relationship")),
        ("performedAt", Type::Timestamp),
        ("roles", Type::list(Type::String)),
    ]);
    let namespace = Type::object([("name", Type::String), ("labels", Type::map(Type::String))]);
    Environment::from_iter([
        ("system", described(of_spec(&AISystem::crd()))),
        ("version", described(of_spec(&ModelVersion::crd()))),
        ("assessments", Type::list(signed)),
        (NAMESPACE, Type::object([("metadata", namespace)])),
    ])
});

/// The type of `spec` in the only version of a resource.
fn of_spec(definition: &CustomResourceDefinition) -> Type {
    let version = definition.spec.versions.first();
    let schema = version.and_then(|version| version.schema.as_ref()?.open_api_v3_schema.as_ref());
    let properties = schema.and_then(|schema| schema.properties.as_ref());
    let spec: Option<&JSONSchemaProps> = properties.and_then(|properties| properties.get("spec"));
    spec.map_or(Type::Dyn, Type::of_schema)
}
