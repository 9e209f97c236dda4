//! The shapes of admission policies, so that what a policy says is not lost in how it is written.

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

/// One object to apply.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum PolicyObject {
    /// Changes objects.
    Mutating(MutatingAdmissionPolicy),
    /// Puts a [`PolicyObject::Mutating`] in force.
    MutatingBinding(MutatingAdmissionPolicyBinding),
    /// Refuses objects.
    Validating(ValidatingAdmissionPolicy),
    /// Puts a [`PolicyObject::Validating`] in force.
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
            /// Its kind.
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$variant(_) => <$kind as k8s_openapi::Resource>::KIND),* }
            }

            /// Its name, labels and the like.
            pub fn metadata(&self) -> &ObjectMeta {
                match self { $(Self::$variant(policy) => policy.meta()),* }
            }

            /// It, to tell people about.
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

/// Which policy or binding: its kind and its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its kind.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

impl PolicyObject {
    /// Which one it is.
    pub fn key(&self) -> Key {
        Key { kind: self.kind(), name: self.metadata().name.clone().unwrap_or_default() }
    }

    /// Whether `live` has all that this says, and says nothing else.
    pub fn stands_as(&self, live: &Self) -> bool {
        let has = live.metadata().labels.as_ref();
        let labels = self.metadata().labels.iter().flatten();
        let labelled = labels.into_iter().all(|(k, v)| has.and_then(|has| has.get(k)) == Some(v));
        labelled
            && match (self, live) {
                (Self::Mutating(a), Self::Mutating(b)) => a.spec == b.spec,
                (Self::MutatingBinding(a), Self::MutatingBinding(b)) => a.spec == b.spec,
                (Self::Validating(a), Self::Validating(b)) => a.spec == b.spec,
                (Self::ValidatingBinding(a), Self::ValidatingBinding(b)) => a.spec == b.spec,
                _ => false,
            }
    }

    /// The field manager that wrote it last.
    pub fn last_manager(&self) -> Option<&str> {
        last_write(self.metadata())?.manager.as_deref()
    }
}

/// What a policy looks at.
#[derive(Clone, Debug)]
pub(super) struct MatchScope {
    pub group: &'static str,
    pub resources: &'static [&'static str],
    /// And those of other groups.
    pub also: &'static [(&'static str, &'static [&'static str])],
    pub operations: &'static [&'static str],
    /// Only in namespaces that enforce.
    pub enforced: bool,
    /// Only objects with, or without, a label.
    pub label: Option<Label>,
    /// What of the namespace's `Clearance` it needs to know.
    pub params: ParamUse,
}

/// How a policy reads the namespace's `Clearance`, which its expressions see as `params`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ParamUse {
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

    /// The operations of this scope on resources of a group.
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
        let where_there_is_none = match self.params {
            ParamUse::Unread => return None,
            ParamUse::Required => "Deny",
            ParamUse::IfAny => "Allow",
        };
        Some(ParamRef {
            name: Some(CLEARANCE_NAME.to_owned()),
            parameter_not_found_action: Some(where_there_is_none.to_owned()),
            ..ParamRef::default()
        })
    }
}

/// Where a binding is in force, within what its policy looks at.
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

/// A rule: what must hold, and what the user is told where it does not, as a CEL expression.
pub(super) struct Rule {
    pub holds: String,
    pub else_say: String,
}

/// A policy that patches, by JSON patch, what meets all `conditions`; and its binding.
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

/// The condition under which a policy with `rules` has anything to refuse, for requests that come often.
/// Where rules are looked at, every one of them and every message is worked out, each list from a copy of
/// the `Clearance` of its own, even if all of them hold; a condition is worked out once, and stops early.
/// Conditions know no variables, so these rules must not use any.
pub(super) fn breaks_one_of(rules: &[Rule]) -> String {
    let all: Vec<_> = rules.iter().map(|rule| format!("({})", rule.holds)).collect();
    format!("!({})", all.join("\n&& "))
}

/// The answer to a request that breaks a rule, and to one that the API server cannot judge.
#[derive(Clone, Copy)]
pub(super) enum Answer {
    /// Refuse both.
    Refuse,
    /// Refuse the first, and let the second through.
    RefuseIfJudged,
    /// Warn the user of the first, and let both through.
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

/// A policy that answers requests that break one of `rules`, and its binding. The reason is Forbidden: on the
/// default, Invalid, some `GitOps` controllers delete and recreate the object.
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

/// Where a policy that advises is in force, and to whom it speaks.
pub(super) struct Advice {
    /// The name of the binding.
    pub binding: &'static str,
    /// In namespaces of this mode.
    pub mode: Mode,
    /// `Warn` is for whoever asks, `Audit` for the audit log.
    pub actions: &'static [&'static str],
    /// For these groups and resources only; for all that the policy looks at, if there are none.
    pub only: &'static [(&'static str, &'static [&'static str])],
}

/// A policy that refuses nothing, whatever goes wrong, and says what breaks one of `rules`; and its bindings.
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

/// In which of the namespaces that enforce, and for which objects, a policy is in force.
pub(super) struct Binding {
    /// What the name of its binding adds to that of the policy.
    pub suffix: &'static str,
    /// In namespaces of these scopes, or of all others.
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

/// A policy as it is, and its binding once for each of `bindings`.
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
