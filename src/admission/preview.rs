//! Reports uncleared pods, and workloads with an uncleared pod template:
//!
//! - In the mode `warn`, the API server warns the user and writes to the audit log.
//! - In the mode `audit`, it only writes to the audit log.
//! - In the mode `enforce`, it warns the user about workloads. The policies on pods check each pod anyway, so this
//!   policy skips pods and adds no cost to their creation.
//!
//! Controllers create most pods, and they ignore warnings. So this policy checks the workloads that people apply. It
//! skips workloads that a controller owns, such as the `ReplicaSet` of a Deployment.

use super::{
    Operator, PolicyObject,
    cel::{cleared_versions, matches_if_pinned, system},
    policy_object::{Advice, MatchScope, ParamUse, Rule, advising},
    scope_cel::governs,
};
use crate::api::{Mode, SYSTEM_LABEL};

const WORKLOADS: &[(&str, &[&str])] = &[
    ("apps", &["deployments", "statefulsets", "daemonsets", "replicasets"]),
    ("batch", &["jobs", "cronjobs"]),
];

pub(super) fn policies(operator: &Operator) -> Vec<PolicyObject> {
    let scope = MatchScope {
        group: "",
        resources: &["pods", "replicationcontrollers"],
        also: WORKLOADS,
        operations: &["CREATE", "UPDATE"],
        enforced: false,
        label: None,
        params: ParamUse::IfAny,
    };
    let is_pod = "request.resource.resource == 'pods'";
    let made_by_people = format!(
        "{is_pod} ? request.operation == 'CREATE' :
  !object.metadata.?ownerReferences.orValue([]).exists(owner, owner.?controller.orValue(false))
  && (request.operation == 'CREATE' || {} != {})",
        template("object"),
        template("oldObject")
    );
    let pod = format!("({is_pod} ? object : {})", template("object"));
    let not_cleared = format!(
        "[{pod}].exists(pod, {} && !{}.exists(version, {}))",
        governs("pod", &operator.accelerators),
        cleared_versions("pod"),
        matches_if_pinned("pod")
    );
    // The match condition contains the whole decision, because the controller manager does not check the types of match
    // conditions. It checks the types of rules once for each kind of workload.
    let conditions = [("not-cleared", format!("({made_by_people}) && {not_cleared}"))];
    let variables = [
        ("system", system(&pod)),
        ("object", "request.kind.kind.lowerAscii() + '/' + object.metadata.?name.orValue(object.metadata.?generateName.orValue(''))".to_owned()),
    ];
    let versions = cleared_versions(&pod);
    let rules = vec![Rule {
        holds: "false".to_owned(),
        else_say: format!(
            "variables.object + (params.?spec.?mode.orValue('') == '{}'
  ? ': its pods will be held: ' : ' would be held if namespace ' + request.namespace + ' enforced: ')
+ (variables.system == '' ? 'its pods have no label {SYSTEM_LABEL} to name their AISystem'
  : size({versions}) == 0 ? 'AI system ' + variables.system + ' has no clearance'
  : 'it is not what was approved for AI system ' + variables.system)
+ '; see: kubectl assent ' + (params.?spec.?mode.orValue('') == '{}'
  ? 'explain ' + variables.object : 'status --as-if-enforced') + ' -n ' + request.namespace",
            Mode::Enforce.name(),
            Mode::Enforce.name(),
        ),
    }];
    let advice = [
        Advice { binding: "assent-warn", mode: Mode::Warn, actions: &["Warn", "Audit"], only: &[] },
        Advice { binding: "assent-audit", mode: Mode::Audit, actions: &["Audit"], only: &[] },
        Advice { binding: "assent-enforce", mode: Mode::Enforce, actions: &["Warn"], only: WORKLOADS },
    ];
    advising("assent-preview", &scope, &conditions, &variables, rules, &advice)
}

fn template(object: &str) -> String {
    format!(
        "(request.resource.resource == 'cronjobs' ? {object}.spec.jobTemplate.spec.template : {object}.spec.template)"
    )
}
