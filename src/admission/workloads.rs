//! The operator annotates workloads so that their controllers retry. Such a request may change only the metadata of
//! the workload. RBAC cannot express this limit, so this policy enforces it. The operator scales workloads through the
//! `scale` subresource, which the policy does not match. The policy does not match Jobs either, because the operator
//! suspends and resumes Jobs.

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
