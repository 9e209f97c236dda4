//! Lets the operator change only the metadata of workloads. The operator annotates a workload, so that its controller
//! retries. RBAC cannot limit this permission to the metadata, so a policy does.
//!
//! The operator scales workloads through the `scale` subresource, which the policy does not match. The policy does not
//! match Jobs either, because the operator suspends and resumes Jobs.

use super::{
    Operator, PolicyObject,
    policy_object::{Answer, MatchScope, ParamUse, Rule, validating},
};

pub(super) fn policies(operator: &Operator) -> Vec<PolicyObject> {
    let scope = MatchScope {
        group: "apps",
        resources: &["replicasets", "statefulsets", "daemonsets"],
        also: &[],
        operations: &["UPDATE"],
        enforced: false,
        label: None,
        params: ParamUse::Unread,
    };
    let rule = Rule {
        holds: "object.spec == oldObject.spec".to_owned(),
        else_say: "object.metadata.name + ': Assent may change only the metadata of a workload'".to_owned(),
    };
    let conditions = [("the-operator-asks", operator.asks())];
    validating("assent-operator-workloads", Answer::Refuse, &scope, &conditions, &[], vec![rule]).into()
}
