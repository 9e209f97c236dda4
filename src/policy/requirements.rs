//! Evaluates the CEL expressions that governance writes as requirements of a risk level.
//!
//! The expressions can read the system, the version, its signed assessments, and the labels of the namespace. If the
//! administrator enables it, expressions can also read network policies, claims and storage classes.
//!
//! An expression has no variable for the present time. So its result changes only if an object changes.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::LazyLock,
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps,
};
use kube::CustomResourceExt;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Attestation, Authors, ClusterObjects, ClusterVariable, RecordedAssessment, effect::is_involved};
use crate::{
    api::{AISystem, AISystemSpec, Assessment, ModelVersion, ModelVersionSpec, Requirement},
    expression::{Budget, Environment, Expression, Inputs, InvalidExpression, Type},
};

/// The name of the variable for the namespace of the version.
const NAMESPACE: &str = "namespaceObject";

/// The requirements of a level, with their compiled expressions.
#[derive(Debug, Default)]
pub struct Requirements(Vec<Compiled>);

#[derive(Debug)]
struct Compiled {
    name: String,
    message: String,
    expression: Result<Expression, InvalidExpression>,
}

/// The inputs from which the expressions of a level get their variables, for one version.
#[derive(Clone, Copy, Debug)]
pub struct RequirementFacts<'a> {
    /// The name of the namespace.
    pub namespace: &'a str,
    /// The labels of the namespace. `None` if the operator does not know the labels.
    pub labels: Option<&'a BTreeMap<String, String>>,
    /// The system of the version.
    pub system: &'a AISystemSpec,
    /// The name of the version.
    pub name: &'a str,
    /// The content of the version.
    pub version: &'a ModelVersionSpec,
    /// The assessments of the content of the version. Expressions see only assessments that a person signed.
    pub assessments: &'a [RecordedAssessment<'a>],
    /// The users who wrote the version and the system.
    pub authors: Authors<'a>,
    /// The network policies, claims and storage classes that expressions can read.
    pub cluster: &'a ClusterObjects,
}

/// A requirement that a version does not meet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnmetRequirement {
    /// The name of the requirement in the level.
    pub name: String,
    /// The message that the level states for the requirement.
    pub message: String,
    /// The reason why the version does not meet the requirement.
    pub cause: UnmetCause,
}

/// The reason why a version does not meet a requirement.
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
    /// Compiles the requirements of a level. An expression may read every optional variable (a [`ClusterVariable`]).
    pub fn compile(requirements: &[Requirement]) -> Self {
        Self::compile_with(&ClusterVariable::ALL.into(), requirements)
    }

    /// Compiles the requirements of a level. An expression is invalid if it reads an optional variable (a
    /// [`ClusterVariable`]) that is not in `enabled`.
    pub fn compile_with(enabled: &BTreeSet<ClusterVariable>, requirements: &[Requirement]) -> Self {
        let compiled = requirements.iter().map(|requirement| Compiled {
            name: requirement.name.clone(),
            message: requirement.message.clone(),
            expression: Expression::compile(&requirement.expression, &ENVIRONMENT)
                .and_then(|expression| without_disabled(expression, enabled)),
        });
        Self(compiled.collect())
    }

    /// The optional variables that the valid expressions read.
    pub fn cluster_variables(&self) -> BTreeSet<ClusterVariable> {
        let valid = self.0.iter().filter_map(|compiled| compiled.expression.as_ref().ok());
        valid.flat_map(cluster_variables).collect()
    }

    /// The names of the requirements that are invalid, with the error of each.
    pub fn invalid(&self) -> impl Iterator<Item = (&str, &InvalidExpression)> {
        self.0.iter().filter_map(|compiled| Some((&*compiled.name, compiled.expression.as_ref().err()?)))
    }

    /// Evaluates the expressions. The result of an expression is unknown if the expression reads a variable whose value
    /// the operator does not know.
    pub fn evaluate(&self, facts: &RequirementFacts<'_>, budget: &mut Budget) -> RequirementResults {
        let mut results = RequirementResults::default();
        if self.0.is_empty() {
            return results;
        }
        let (inputs, unknown) = inputs(facts, &self.cluster_variables());
        for Compiled { name, message, expression } in &self.0 {
            let cause = match expression {
                Err(why) => UnmetCause::Invalid(why.to_string()),
                Ok(expression) if unknown.iter().any(|name| expression.variables().contains(*name)) => {
                    results.unknown.insert(name.clone());
                    continue;
                }
                Ok(expression) => match expression.evaluate(&inputs, budget) {
                    Ok(true) => continue,
                    Ok(false) => UnmetCause::False,
                    Err(why) => UnmetCause::Failed(why.to_string()),
                },
            };
            let (name, message) = (name.clone(), message.clone());
            results.unmet.push(UnmetRequirement { name, message, cause });
        }
        results
    }
}

/// The results for one version: the requirements that are not met, and the requirements with an unknown result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequirementResults {
    /// The requirements that are not met, in the order of the level.
    pub unmet: Vec<UnmetRequirement>,
    /// The names of the requirements whose result is not known.
    pub unknown: BTreeSet<String>,
}

/// An assessment in the form that expressions see.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SignedAssessment<'a> {
    name: &'a str,
    kind: Value,
    results: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    relationship: Option<Value>,
    performed_at: String,
    /// The valid signatures, without duplicates. If the roles no longer list any key that signed, the set is empty, but
    /// expressions still see the assessment. Otherwise, the removal of a key would hide a bad result.
    signatures: BTreeSet<SeenSignature<'a>>,
}

/// A signature in the form that expressions see.
#[derive(PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct SeenSignature<'a> {
    user: &'a str,
    role: &'a str,
    /// Whether the person neither owns the system nor wrote the system or the version.
    independent: bool,
}

fn cluster_variables(expression: &Expression) -> impl Iterator<Item = ClusterVariable> {
    ClusterVariable::ALL.into_iter().filter(|variable| expression.variables().contains(variable.name()))
}

fn without_disabled(
    expression: Expression,
    enabled: &BTreeSet<ClusterVariable>,
) -> Result<Expression, InvalidExpression> {
    let disabled = cluster_variables(&expression).find(|variable| !enabled.contains(variable));
    match disabled {
        Some(disabled) => Err(InvalidExpression::disabled(disabled.name())),
        None => Ok(expression),
    }
}

/// The values of the variables, and the names of the variables whose values are not known. Without an entry in `read`,
/// an optional variable gets no value, because the conversion of many objects takes long.
fn inputs(facts: &RequirementFacts<'_>, read: &BTreeSet<ClusterVariable>) -> (Inputs, Vec<&'static str>) {
    let system = json!({
        "metadata": { "name": &*facts.version.system, "namespace": facts.namespace },
        "spec": json(&facts.system),
    });
    let version = json!({
        "metadata": { "name": facts.name, "namespace": facts.namespace },
        "spec": json(&facts.version),
    });
    let mut signed: Vec<_> = facts.assessments.iter().filter(|a| !a.attestations.is_empty()).collect();
    signed.sort_by_key(|assessment| (Reverse(assessment.performed_at), assessment.name));
    let signed = signed.into_iter().map(|assessment| {
        json(&SignedAssessment {
            name: assessment.name,
            kind: json(&assessment.kind),
            results: json(&assessment.results),
            relationship: assessment.relationship.as_ref().map(json),
            performed_at: assessment.performed_at.to_string(),
            signatures: seen_signatures(assessment, facts),
        })
    });
    let assessments = Value::Array(signed.collect());
    let namespace =
        facts.labels.map(|labels| json!({ "metadata": { "name": facts.namespace, "labels": labels } }));
    let volumes = &facts.version.runtime.volumes;
    let of_cluster = read
        .iter()
        .map(|variable| (variable.name(), facts.cluster.value(*variable, &facts.version.system, volumes)));
    let optional = std::iter::once((NAMESPACE, namespace)).chain(of_cluster);
    let (known, unknown): (Vec<_>, Vec<_>) = optional.partition(|(_, value)| value.is_some());
    let values = [("system", &system), ("version", &version), ("assessments", &assessments)];
    let known = known.iter().filter_map(|(name, value)| Some((*name, value.as_ref()?)));
    let inputs = Inputs::new(&ENVIRONMENT, values.into_iter().chain(known));
    (inputs, unknown.into_iter().map(|(name, _)| name).collect())
}

fn seen_signatures<'a>(
    assessment: &'a RecordedAssessment<'_>,
    facts: &RequirementFacts<'_>,
) -> BTreeSet<SeenSignature<'a>> {
    let valid = assessment.attestations.iter().filter(|signature| signature.is_valid);
    let seen = valid.map(|Attestation { approver, role, .. }| {
        let independent = !is_involved(&facts.system.owners, facts.authors, approver);
        SeenSignature { user: &approver.user, role, independent }
    });
    seen.collect()
}

/// Converts an object of the API to JSON. The conversion never fails for these objects.
fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// The variables that expressions can read, with their types. The types of the fields in `spec` come from the schemas
/// of the custom resources.
static ENVIRONMENT: LazyLock<Environment> = LazyLock::new(|| {
    let metadata = || Type::object([("name", Type::String), ("namespace", Type::String)]);
    let described = |spec| Type::object([("metadata", metadata()), ("spec", spec)]);
    let assessment = of_spec(&Assessment::crd());
    let field = |name: &str| match &assessment {
        Type::Object(fields) => fields.get(name).cloned().unwrap_or(Type::Dyn),
        _ => Type::Dyn,
    };
    let signature =
        Type::object([("user", Type::String), ("role", Type::String), ("independent", Type::Bool)]);
    let signed = Type::object([
        ("name", Type::String),
        ("kind", field("kind")),
        ("results", field("results")),
        ("relationship", field("relationship")),
        ("performedAt", Type::Timestamp),
        ("signatures", Type::list(signature)),
    ]);
    let namespace = Type::object([("name", Type::String), ("labels", Type::map(Type::String))]);
    let always = [
        ("system", described(of_spec(&AISystem::crd()))),
        ("version", described(of_spec(&ModelVersion::crd()))),
        ("assessments", Type::list(signed)),
        (NAMESPACE, Type::object([("metadata", namespace)])),
    ];
    let optional = ClusterVariable::ALL.map(|variable| (variable.name(), variable.type_of()));
    always.into_iter().chain(optional).collect()
});

/// The type of the field `spec` of a custom resource, which has only one API version.
fn of_spec(definition: &CustomResourceDefinition) -> Type {
    let version = definition.spec.versions.first();
    let schema = version.and_then(|version| version.schema.as_ref()?.open_api_v3_schema.as_ref());
    let properties = schema.and_then(|schema| schema.properties.as_ref());
    let spec: Option<&JSONSchemaProps> = properties.and_then(|properties| properties.get("spec"));
    spec.map_or(Type::Dyn, Type::of_schema)
}
