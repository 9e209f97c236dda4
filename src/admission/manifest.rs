//! The shapes of admission policies, so that what a policy says is not lost in how it is written.

use k8s_openapi::{
    api::admissionregistration::v1::{
        JSONPatch, MatchCondition, MatchResources, MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding,
        MutatingAdmissionPolicyBindingSpec, MutatingAdmissionPolicySpec, Mutation, NamedRuleWithOperations,
        ParamKind, ParamRef, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
        ValidatingAdmissionPolicyBindingSpec, ValidatingAdmissionPolicySpec, Validation, Variable,
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
};
use kube::api::ObjectMeta;
use serde::Serialize;

use crate::api::{CLEARANCE_NAME, GROUP, MODE_ENFORCE, MODE_LABEL};

/// One object to apply.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Manifest {
    /// Changes objects.
    Mutating(MutatingAdmissionPolicy),
    /// Puts a [`Manifest::Mutating`] in force.
    MutatingBinding(MutatingAdmissionPolicyBinding),
    /// Refuses objects.
    Validating(ValidatingAdmissionPolicy),
    /// Puts a [`Manifest::Validating`] in force.
    ValidatingBinding(ValidatingAdmissionPolicyBinding),
}

/// What a policy looks at.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    pub group: &'static str,
    pub resources: &'static [&'static str],
    pub operations: &'static [&'static str],
    /// Only in namespaces that opted in.
    pub enforced: bool,
    /// Only objects with, or without, a label.
    pub label: Option<Label>,
    /// What of the namespace's `Clearance` it needs to know.
    pub clearance: Clearance,
}

/// How a policy reads the namespace's `Clearance`, which its expressions see as `params`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clearance {
    /// Not at all.
    Unread,
    /// Where there is none, the policy refuses.
    Required,
    /// Where there is none, the policy does nothing.
    IfAny,
}

/// By which label objects are told apart. An update counts as both where the label comes or goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Label {
    Present(&'static str),
    Absent(&'static str),
}

impl Label {
    fn requirement(self) -> LabelSelectorRequirement {
        let (key, operator) = match self {
            Self::Present(key) => (key, "Exists"),
            Self::Absent(key) => (key, "DoesNotExist"),
        };
        LabelSelectorRequirement { key: key.to_owned(), operator: operator.to_owned(), values: None }
    }
}

impl Scope {
    fn constraints(&self) -> MatchResources {
        let strings = |list: &[&str]| Some(list.iter().map(|s| (*s).to_owned()).collect());
        let version = if self.group == GROUP { "v1alpha1" } else { "v1" };
        MatchResources {
            match_policy: Some("Equivalent".to_owned()),
            namespace_selector: Some(LabelSelector {
                match_labels: self
                    .enforced
                    .then(|| [(MODE_LABEL.to_owned(), MODE_ENFORCE.to_owned())].into()),
                ..LabelSelector::default()
            }),
            object_selector: Some(LabelSelector {
                match_expressions: self.label.map(|label| vec![label.requirement()]),
                ..LabelSelector::default()
            }),
            resource_rules: Some(vec![NamedRuleWithOperations {
                api_groups: strings(&[self.group]),
                api_versions: strings(&[version]),
                operations: strings(self.operations),
                resources: strings(self.resources),
                scope: Some("*".to_owned()),
                ..NamedRuleWithOperations::default()
            }]),
            ..MatchResources::default()
        }
    }

    fn param_kind(&self) -> Option<ParamKind> {
        (self.clearance != Clearance::Unread).then(|| ParamKind {
            api_version: Some(format!("{GROUP}/v1alpha1")),
            kind: Some("Clearance".to_owned()),
        })
    }

    fn param_ref(&self) -> Option<ParamRef> {
        let where_there_is_none = match self.clearance {
            Clearance::Unread => return None,
            Clearance::Required => "Deny",
            Clearance::IfAny => "Allow",
        };
        Some(ParamRef {
            name: Some(CLEARANCE_NAME.to_owned()),
            parameter_not_found_action: Some(where_there_is_none.to_owned()),
            ..ParamRef::default()
        })
    }
}

/// A rule: what must hold, and what the user is told where it does not, as a CEL expression.
pub(super) struct Rule {
    pub holds: String,
    pub else_say: String,
}

/// A policy that patches, by JSON patch, what meets all `conditions`; and its binding.
pub(super) fn mutating(
    name: &str,
    scope: &Scope,
    conditions: &[(&str, String)],
    patch: String,
    reinvocation: &str,
) -> [Manifest; 2] {
    let policy = MutatingAdmissionPolicy {
        metadata: named(name),
        spec: Some(MutatingAdmissionPolicySpec {
            failure_policy: Some("Fail".to_owned()),
            reinvocation_policy: Some(reinvocation.to_owned()),
            param_kind: scope.param_kind(),
            match_constraints: Some(scope.constraints()),
            match_conditions: Some(conditions_of(conditions)),
            mutations: Some(vec![Mutation {
                patch_type: "JSONPatch".to_owned(),
                json_patch: Some(JSONPatch { expression: Some(patch) }),
                ..Mutation::default()
            }]),
            ..MutatingAdmissionPolicySpec::default()
        }),
    };
    let binding = MutatingAdmissionPolicyBinding {
        metadata: named(name),
        spec: Some(MutatingAdmissionPolicyBindingSpec {
            policy_name: Some(name.to_owned()),
            param_ref: scope.param_ref(),
            ..MutatingAdmissionPolicyBindingSpec::default()
        }),
    };
    [Manifest::Mutating(policy), Manifest::MutatingBinding(binding)]
}

/// The condition under which a policy with `rules` has anything to refuse, for requests that come often.
/// Where rules are looked at, every one of them and every message is worked out, each list from a copy of
/// the `Clearance` of its own, even if all of them hold; a condition is worked out once, and stops early.
/// Conditions know no variables, so these rules must not use any.
pub(super) fn breaks_one_of(rules: &[Rule]) -> String {
    let all: Vec<_> = rules.iter().map(|rule| format!("({})", rule.holds)).collect();
    format!("!({})", all.join("\n&& "))
}

/// A policy that refuses what breaks one of `rules`, and its binding. The reason is Forbidden: on the
/// default, Invalid, some `GitOps` controllers delete and recreate the object.
pub(super) fn validating(
    name: &str,
    scope: &Scope,
    conditions: &[(&str, String)],
    variables: &[(&str, String)],
    rules: Vec<Rule>,
) -> [Manifest; 2] {
    let policy = ValidatingAdmissionPolicy {
        metadata: named(name),
        spec: Some(ValidatingAdmissionPolicySpec {
            failure_policy: Some("Fail".to_owned()),
            param_kind: scope.param_kind(),
            match_constraints: Some(scope.constraints()),
            match_conditions: (!conditions.is_empty()).then(|| conditions_of(conditions)),
            variables: (!variables.is_empty()).then(|| variables.iter().map(variable).collect()),
            validations: Some(rules.into_iter().map(validation).collect()),
            ..ValidatingAdmissionPolicySpec::default()
        }),
        ..ValidatingAdmissionPolicy::default()
    };
    let binding = ValidatingAdmissionPolicyBinding {
        metadata: named(name),
        spec: ValidatingAdmissionPolicyBindingSpec {
            policy_name: name.to_owned(),
            validation_actions: vec!["Deny".to_owned()],
            param_ref: scope.param_ref(),
            ..ValidatingAdmissionPolicyBindingSpec::default()
        },
    };
    [Manifest::Validating(policy), Manifest::ValidatingBinding(binding)]
}

fn named(name: &str) -> ObjectMeta {
    let labels = [("app.kubernetes.io/name", "assent"), ("app.kubernetes.io/part-of", "assent")];
    ObjectMeta {
        name: Some(name.to_owned()),
        labels: Some(labels.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect()),
        ..ObjectMeta::default()
    }
}

fn conditions_of(conditions: &[(&str, String)]) -> Vec<MatchCondition> {
    let condition = |(name, expression): &(&str, String)| MatchCondition {
        name: (*name).to_owned(),
        expression: expression.clone(),
    };
    conditions.iter().map(condition).collect()
}

fn variable((name, expression): &(&str, String)) -> Variable {
    Variable { name: (*name).to_owned(), expression: expression.clone() }
}

fn validation(rule: Rule) -> Validation {
    Validation {
        expression: rule.holds,
        message_expression: Some(rule.else_say),
        reason: Some("Forbidden".to_owned()),
        ..Validation::default()
    }
}
