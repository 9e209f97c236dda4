//! Tests the optional variables of expressions: the pods that a network policy selects, and objects that the operator
//! does not know.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::{Value, json};

use super::requirements::requirement;
use crate::{
    api::{AISystemSpec, ModelVersionSpec},
    expression::Budget,
    policy::{
        Authors, ClusterObjects, ClusterVariable, NetworkPolicyFacts, RequirementFacts, RequirementResults,
        Requirements, Storage,
    },
};

/// The results of an expression about a version with a claim `data`.
fn results(expression: &str, cluster: &ClusterObjects) -> RequirementResults {
    let system: AISystemSpec = serde_json::from_value(json!({
        "intendedPurpose": "Answers.", "owners": [{ "name": "olga" }], "riskLevel": "limited" }))
    .expect("a system");
    let version: ModelVersionSpec = serde_json::from_value(json!({ "system": "chat", "runtime": {
        "containers": [{ "name": "server", "image": "server" }],
        "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": "data" } }] } }))
    .expect("a version");
    let facts = RequirementFacts {
        namespace: "support",
        labels: None,
        system: &system,
        name: "chat-v1",
        version: &version,
        assessments: &[],
        authors: Authors::default(),
        cluster,
    };
    let compiled = Requirements::compile(&[requirement(expression)]);
    assert!(compiled.invalid().next().is_none(), "{:?}", compiled.invalid().next());
    compiled.evaluate(&facts, &mut Budget::of_namespace())
}

fn with_policy(selector: &Value) -> ClusterObjects {
    let policy: NetworkPolicy =
        serde_json::from_value(json!({ "metadata": { "name": "p" }, "spec": { "podSelector": selector } }))
            .expect("a policy");
    let policies = BTreeMap::from([("p".to_owned(), Arc::new(NetworkPolicyFacts::from(policy)))]);
    ClusterObjects { network_policies: Some(policies), storage: None }
}

#[test]
fn only_the_label_of_the_system_shows_which_pods_a_policy_selects() {
    let expression = |operator: &str, values: &[&str]| json!({ "matchExpressions": [{ "key": "assent.dev/system", "operator": operator, "values": values }] });
    let other_key = |operator: &str| json!({ "matchExpressions": [{ "key": "app", "operator": operator }] });
    for (selector, every, any) in [
        (json!({}), true, true),
        (json!({ "matchLabels": { "assent.dev/system": "chat" } }), true, true),
        (json!({ "matchLabels": { "assent.dev/system": "other" } }), false, false),
        (json!({ "matchLabels": { "app": "chat" } }), false, true),
        (json!({ "matchLabels": { "app": "chat", "assent.dev/system": "other" } }), false, false),
        (expression("In", &["chat", "other"]), true, true),
        (expression("In", &["other"]), false, false),
        (expression("NotIn", &["other"]), true, true),
        (expression("NotIn", &["chat"]), false, false),
        (expression("Exists", &[]), true, true),
        (expression("DoesNotExist", &[]), false, false),
        (other_key("DoesNotExist"), false, true),
    ] {
        let cluster = with_policy(&selector);
        let holds = |expression: &str| results(expression, &cluster).unmet.is_empty();
        assert_eq!(holds("networkPolicies.exists(p, p.selectsEveryPod)"), every, "{selector}");
        assert_eq!(holds(r#"networkPolicies.exists(p, p.metadata.name == "p")"#), any, "{selector}");
    }
}

#[test]
fn a_policy_without_types_limits_incoming_traffic() {
    let cluster = with_policy(&json!({}));
    let results = results(r#"networkPolicies.all(p, p.spec.policyTypes == ["Ingress"])"#, &cluster);
    assert_eq!(results, RequirementResults::default());
}

#[test]
fn objects_that_are_not_known_give_unknown_results() {
    let unknown = BTreeSet::from(["rule".to_owned()]);
    let nothing = ClusterObjects::default();
    assert_eq!(results("networkPolicies.size() > 0", &nothing).unknown, unknown);
    assert_eq!(results("claims.size() > 0", &nothing).unknown, unknown);
    assert!(results("version.spec.system == \"chat\"", &nothing).unknown.is_empty());
    // If manifest files do not contain the claim, the claim can still exist in the cluster.
    let manifests = ClusterObjects { storage: Some(Storage::default()), ..ClusterObjects::default() };
    assert_eq!(results("claims.size() > 0", &manifests).unknown, unknown);
    let all = Storage { is_complete: true, ..Storage::default() };
    let cluster = ClusterObjects { storage: Some(all), ..ClusterObjects::default() };
    let missing = results("claims.all(c, c.name == \"data\" && !has(c.storageClassName))", &cluster);
    assert_eq!(missing, RequirementResults::default());
}

#[test]
fn an_expression_that_reads_a_disabled_variable_is_invalid() {
    let enabled = BTreeSet::from([ClusterVariable::Claims]);
    let compile = |expression| Requirements::compile_with(&enabled, &[requirement(expression)]);
    assert_eq!(compile("claims.size() == 0").invalid().count(), 0);
    let invalid = compile("networkPolicies.size() > 0");
    let (_, why) = invalid.invalid().next().expect("an invalid expression");
    assert_eq!(
        why.to_string(),
        "the operator does not read networkPolicies, a platform engineer adds networkPolicies to the chart value \
         expressionVariables"
    );
}

#[test]
fn optional_variables_are_listed_with_commas() {
    assert_eq!(ClusterVariable::list(""), Ok(BTreeSet::new()));
    assert_eq!(ClusterVariable::list("claims, networkPolicies"), Ok(ClusterVariable::ALL.into()));
    let why = ClusterVariable::list("claims,pods").expect_err("an unknown name");
    assert_eq!(why, "no optional variable pods; the variables are: networkPolicies, claims");
}
