//! Builders for admission policies and their bindings.

use std::fmt;

use k8s_openapi::{
    api::admissionregistration::v1::{
        JSONPatch, MatchCondition, MatchResources, MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding,
        MutatingAdmissionPolicyBindingSpec, MutatingAdmissionPolicySpec, Mutation, NamedRuleWithOperations,
        ParamKind, ParamRef, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
        ValidatingAdmissionPolicyBindingSpec, ValidatingAdmissionPolicySpec, Validation, Variable,
    },
    api::core::v1::ObjectReference,
    apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
};
use kube::{Resource, api::ObjectMeta};
use serde::Serialize;

use crate::api::{self, CLEARANCE_NAME, GROUP, MODE_LABEL, Mode, SCOPE_LABEL, last_write};

/// A policy or a binding.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum PolicyObject {
    /// A policy that changes objects.
    Mutating(MutatingAdmissionPolicy),
    /// A binding that activates a [`PolicyObject::Mutating`].
    MutatingBinding(MutatingAdmissionPolicyBinding),
    /// A policy that refuses requests, or admits them with a warning or an entry in the audit log.
    Validating(ValidatingAdmissionPolicy),
    /// A binding that activates a [`PolicyObject::Validating`].
    ValidatingBinding(ValidatingAdmissionPolicyBinding),
}

macro_rules! manifest_of {
    ($($kind:ident => $variant:ident),*) => {
        $(impl From<$kind> for PolicyObject {
            fn from(policy: $kind) -> Self {
                Self::$variant(policy)
            }
        })*

        impl PolicyObject {
            /// The kind, such as `ValidatingAdmissionPolicy`.
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$variant(_) => <$kind as k8s_openapi::Resource>::KIND),* }
            }

            /// The metadata of the policy or binding.
            pub fn metadata(&self) -> &ObjectMeta {
                match self { $(Self::$variant(policy) => policy.meta()),* }
            }

            /// A reference to this object, for Events about it.
            pub fn reference(&self) -> ObjectReference {
                match self { $(Self::$variant(policy) => policy.object_ref(&())),* }
            }
        }
    };
}

manifest_of!(
    MutatingAdmissionPolicy => Mutating,
    MutatingAdmissionPolicyBinding => MutatingBinding,
    ValidatingAdmissionPolicy => Validating,
    ValidatingAdmissionPolicyBinding => ValidatingBinding
);

/// The identity of a policy or binding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The kind, such as `ValidatingAdmissionPolicy`.
    pub kind: &'static str,
    /// The name of the object.
    pub name: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

impl PolicyObject {
    /// The kind and name.
    pub fn key(&self) -> Key {
        Key { kind: self.kind(), name: self.metadata().name.clone().unwrap_or_default() }
    }

    /// Whether `live` has all labels of this object and the same spec.
    pub fn stands_as(&self, live: &Self) -> bool {
        let live_labels = live.metadata().labels.as_ref();
        let labels = self.metadata().labels.iter().flatten();
        let has_labels = labels.into_iter().all(|(k, v)| live_labels.and_then(|live| live.get(k)) == Some(v));
        has_labels
            && match (self, live) {
                (Self::Mutating(a), Self::Mutating(b)) => a.spec == b.spec,
                (Self::MutatingBinding(a), Self::MutatingBinding(b)) => a.spec == b.spec,
                (Self::Validating(a), Self::Validating(b)) => a.spec == b.spec,
                (Self::ValidatingBinding(a), Self::ValidatingBinding(b)) => a.spec == b.spec,
                _ => false,
            }
    }

    /// The field manager that wrote the object last.
    pub fn last_manager(&self) -> Option<&str> {
        last_write(self.metadata())?.manager.as_deref()
    }
}

/// The requests that a policy matches.
#[derive(Clone, Debug)]
pub(super) struct MatchScope {
    pub group: &'static str,
    pub resources: &'static [&'static str],
    /// Resources of other groups, in addition to `resources`.
    pub also: &'static [(&'static str, &'static [&'static str])],
    pub operations: &'static [&'static str],
    /// Whether the policy matches only in namespaces that enforce.
    pub enforced: bool,
    /// The label that matched objects must have or must not have.
    pub label: Option<Label>,
    pub params: ParamUse,
}

/// The use of the namespace's `Clearance` by a policy. The expressions of the policy read the `Clearance` as `params`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ParamUse {
    /// The policy does not read the `Clearance`.
    Unread,
    /// Without a `Clearance`, the policy refuses the request.
    Required,
    /// Without a `Clearance`, the policy does nothing.
    IfAny,
}

/// Selects objects by a label. An update that adds or removes the label matches both variants.
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

impl MatchScope {
    fn constraints(&self) -> MatchResources {
        MatchResources {
            match_policy: Some("Equivalent".to_owned()),
            namespace_selector: Some(if self.enforced {
                with_mode(Mode::Enforce)
            } else {
                LabelSelector::default()
            }),
            object_selector: Some(LabelSelector {
                match_expressions: self.label.map(|label| vec![label.requirement()]),
                ..LabelSelector::default()
            }),
            resource_rules: Some(
                [(self.group, self.resources)].iter().chain(self.also).map(|of| self.rule(of)).collect(),
            ),
            ..MatchResources::default()
        }
    }

    fn rule(&self, (group, resources): &(&str, &[&str])) -> NamedRuleWithOperations {
        let strings = |list: &[&str]| Some(list.iter().map(|s| (*s).to_owned()).collect());
        NamedRuleWithOperations {
            api_groups: strings(&[group]),
            api_versions: strings(&[if *group == GROUP { "v1alpha1" } else { "v1" }]),
            operations: strings(self.operations),
            resources: strings(resources),
            scope: Some("*".to_owned()),
            ..NamedRuleWithOperations::default()
        }
    }

    fn param_kind(&self) -> Option<ParamKind> {
        (self.params != ParamUse::Unread).then(|| ParamKind {
            api_version: Some(format!("{GROUP}/v1alpha1")),
            kind: Some("Clearance".to_owned()),
        })
    }

    fn param_ref(&self) -> Option<ParamRef> {
        let not_found_action = match self.params {
            ParamUse::Unread => return None,
            ParamUse::Required => "Deny",
            ParamUse::IfAny => "Allow",
        };
        Some(ParamRef {
            name: Some(CLEARANCE_NAME.to_owned()),
            parameter_not_found_action: Some(not_found_action.to_owned()),
            ..ParamRef::default()
        })
    }
}

/// Restricts a binding to some namespaces and objects.
fn reach(namespaces: LabelSelector, objects: LabelSelector) -> MatchResources {
    MatchResources {
        match_policy: Some("Equivalent".to_owned()),
        namespace_selector: Some(namespaces),
        object_selector: Some(objects),
        ..MatchResources::default()
    }
}

fn with_mode(mode: Mode) -> LabelSelector {
    LabelSelector {
        match_labels: Some([(MODE_LABEL.to_owned(), mode.name().to_owned())].into()),
        ..LabelSelector::default()
    }
}

/// A validation rule. Both fields are CEL expressions: the condition, and the message if it is false.
pub(super) struct Rule {
    pub holds: String,
    pub else_say: String,
}

/// A policy that patches objects that meet all `conditions`, and its binding. `patch` is a JSON patch in CEL.
pub(super) fn mutating(
    name: &str,
    scope: &MatchScope,
    conditions: &[(&str, String)],
    patch: String,
    reinvocation: &str,
) -> [PolicyObject; 2] {
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
    [PolicyObject::Mutating(policy), PolicyObject::MutatingBinding(binding)]
}

/// A match condition that is true if a request breaks one of `rules`. The condition makes frequent requests cheaper.
/// The API server evaluates all rules and all messages of a matching policy, each with its own copy of the `Clearance`.
/// It evaluates a match condition only once, and stops early. A match condition cannot use variables, so `holds` of
/// these rules must not use variables either.
pub(super) fn breaks_one_of(rules: &[Rule]) -> String {
    let all: Vec<_> = rules.iter().map(|rule| format!("({})", rule.holds)).collect();
    format!("!({})", all.join("\n&& "))
}

/// Returns the match condition and the rules of a policy with the rules `others` and `costly`. The match condition is
/// true only if a request breaks one of these rules. So if a matching request breaks none of `others`, it breaks
/// `costly`. For this reason, the returned rules do not contain the expression of `costly`. With it, the API server
/// would need more time to compile the policy.
pub(super) fn with_costly_rule(mut others: Vec<Rule>, costly: Rule) -> (String, Vec<Rule>) {
    let breaks_another = breaks_one_of(&others);
    let broken = format!("({breaks_another} || !({}))", costly.holds);
    others.push(Rule { holds: breaks_another, ..costly });
    (broken, others)
}

/// The responses to a request that breaks a rule, and to a request that the API server cannot judge: an expression
/// failed, or the API server could not read the parameter.
#[derive(Clone, Copy)]
pub(super) enum Answer {
    /// Refuse a request that breaks a rule, and a request that the API server cannot judge.
    Refuse,
    /// Refuse a request that breaks a rule. Admit a request that the API server cannot judge.
    RefuseIfJudged,
    /// Admit every request. Warn the user of a request that breaks a rule.
    Warn,
}

impl Answer {
    const fn action(self) -> &'static str {
        match self {
            Self::Refuse | Self::RefuseIfJudged => "Deny",
            Self::Warn => "Warn",
        }
    }

    const fn failure_policy(self) -> &'static str {
        match self {
            Self::Refuse => "Fail",
            Self::RefuseIfJudged | Self::Warn => "Ignore",
        }
    }
}

/// A validating policy and its binding. A refusal has the reason Forbidden. After a refusal with the default
/// reason, Invalid, some `GitOps` controllers delete and recreate the object.
pub(super) fn validating(
    name: &str,
    answer: Answer,
    scope: &MatchScope,
    conditions: &[(&str, String)],
    variables: &[(&str, String)],
    rules: Vec<Rule>,
) -> [PolicyObject; 2] {
    let policy = validating_policy(name, scope, conditions, variables, rules, answer.failure_policy());
    [policy, PolicyObject::ValidatingBinding(binding(name, scope, answer.action()))]
}

fn binding(name: &str, scope: &MatchScope, action: &str) -> ValidatingAdmissionPolicyBinding {
    ValidatingAdmissionPolicyBinding {
        metadata: named(name),
        spec: ValidatingAdmissionPolicyBindingSpec {
            policy_name: name.to_owned(),
            validation_actions: vec![action.to_owned()],
            param_ref: scope.param_ref(),
            ..ValidatingAdmissionPolicyBindingSpec::default()
        },
    }
}

/// A binding of a policy that never refuses a request: it warns the user, writes to the audit log, or does both.
pub(super) struct Advice {
    pub binding: &'static str,
    /// The mode of the namespaces that the binding covers.
    pub mode: Mode,
    /// `Warn` warns the user of the request. `Audit` writes to the audit log.
    pub actions: &'static [&'static str],
    /// The groups and resources that the binding covers. An empty list means all resources of the policy.
    pub only: &'static [(&'static str, &'static [&'static str])],
}

/// A policy that never refuses a request but reports broken `rules`, and its bindings.
pub(super) fn advising(
    name: &str,
    scope: &MatchScope,
    conditions: &[(&str, String)],
    variables: &[(&str, String)],
    rules: Vec<Rule>,
    advice: &[Advice],
) -> Vec<PolicyObject> {
    let binding = |advice: &Advice| ValidatingAdmissionPolicyBinding {
        metadata: named(advice.binding),
        spec: ValidatingAdmissionPolicyBindingSpec {
            policy_name: name.to_owned(),
            validation_actions: advice.actions.iter().map(|action| (*action).to_owned()).collect(),
            param_ref: scope.param_ref(),
            match_resources: Some(MatchResources {
                resource_rules: (!advice.only.is_empty())
                    .then(|| advice.only.iter().map(|only| scope.rule(only)).collect()),
                ..reach(with_mode(advice.mode), LabelSelector::default())
            }),
        },
    };
    let policy = validating_policy(name, scope, conditions, variables, rules, "Ignore");
    let bindings = advice.iter().map(|advice| PolicyObject::ValidatingBinding(binding(advice)));
    std::iter::once(policy).chain(bindings).collect()
}

fn validating_policy(
    name: &str,
    scope: &MatchScope,
    conditions: &[(&str, String)],
    variables: &[(&str, String)],
    rules: Vec<Rule>,
    failure_policy: &str,
) -> PolicyObject {
    PolicyObject::Validating(ValidatingAdmissionPolicy {
        metadata: named(name),
        spec: Some(ValidatingAdmissionPolicySpec {
            failure_policy: Some(failure_policy.to_owned()),
            param_kind: scope.param_kind(),
            match_constraints: Some(scope.constraints()),
            match_conditions: (!conditions.is_empty()).then(|| conditions_of(conditions)),
            variables: (!variables.is_empty()).then(|| variables.iter().map(variable).collect()),
            validations: Some(rules.into_iter().map(validation).collect()),
            ..ValidatingAdmissionPolicySpec::default()
        }),
        ..ValidatingAdmissionPolicy::default()
    })
}

/// The namespaces and objects that one binding of a policy covers.
pub(super) struct Binding {
    /// The end of the binding's name, after the name of the policy.
    pub suffix: &'static str,
    /// `Ok`: namespaces with these scopes. `Err`: namespaces with other scopes.
    pub scopes: Result<&'static [api::Scope], &'static [api::Scope]>,
    pub label: Option<Label>,
}

impl Binding {
    fn resources(&self) -> MatchResources {
        let (operator, scopes) = match self.scopes {
            Ok(scopes) => ("In", scopes),
            Err(scopes) => ("NotIn", scopes),
        };
        let scope = LabelSelectorRequirement {
            key: SCOPE_LABEL.to_owned(),
            operator: operator.to_owned(),
            values: Some(scopes.iter().map(ToString::to_string).collect()),
        };
        let selector =
            |expressions| LabelSelector { match_expressions: expressions, ..LabelSelector::default() };
        reach(selector(Some(vec![scope])), selector(self.label.map(|label| vec![label.requirement()])))
    }

    fn name(&self, metadata: &ObjectMeta) -> Option<String> {
        metadata.name.as_ref().map(|name| format!("{name}{}", self.suffix))
    }
}

/// The policy, and one copy of its binding for each of `bindings`.
pub(super) fn with_bindings(manifests: [PolicyObject; 2], bindings: &[Binding]) -> Vec<PolicyObject> {
    let [policy, binding] = manifests;
    let bindings = bindings.iter().map(|reach| match binding.clone() {
        PolicyObject::MutatingBinding(mut binding) => {
            binding.metadata.name = reach.name(&binding.metadata);
            binding.spec.get_or_insert_default().match_resources = Some(reach.resources());
            PolicyObject::MutatingBinding(binding)
        }
        PolicyObject::ValidatingBinding(mut binding) => {
            binding.metadata.name = reach.name(&binding.metadata);
            binding.spec.match_resources = Some(reach.resources());
            PolicyObject::ValidatingBinding(binding)
        }
        other => other,
    });
    std::iter::once(policy).chain(bindings).collect()
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
