//! Where a namespace warns or audits: what would be held if it enforced, said to whoever creates it.
//!
//! ```text
//!  pod                           ─┐                        warn    ─► kubectl shows it, and the audit log has it
//!  Deployment, Job … ─► template ─┴─► variables.pod ─► ?   audit   ─► the audit log has it
//! ```
//!
//! Pods are made by controllers, which read no warnings: so what people apply is looked at too. What another
//! controller made of it, such as the `ReplicaSet` of a Deployment, is not.

use super::{
    Manifest, Operator,
    cleared::{cleared_versions, matches, system},
    governed::governs,
    manifest::{Clearance, Rule, Scope, advising},
};
use crate::api::{Mode, SYSTEM_LABEL};

pub(super) fn policies(operator: &Operator) -> Vec<Manifest> {
    let scope = Scope {
        group: "",
        resources: &["pods", "replicationcontrollers"],
        also: &[
            ("apps", &["deployments", "statefulsets", "daemonsets", "replicasets"]),
            ("batch", &["jobs", "cronjobs"]),
        ],
        operations: &["CREATE", "UPDATE"],
        enforced: false,
        label: None,
        clearance: Clearance::IfAny,
    };
    let is_pod = "request.resource.resource == 'pods'";
    let conditions = [(
        "made-by-people",
        format!(
            "{is_pod} ? request.operation == 'CREATE' :
  !object.metadata.?ownerReferences.orValue([]).exists(o, o.?controller.orValue(false))
  && (request.operation == 'CREATE' || {} != {})",
            template("object"),
            template("oldObject")
        ),
    )];
    let variables = [
        ("pod", format!("{is_pod} ? object : {}", template("object"))),
        ("system", system("variables.pod")),
        ("object", "request.kind.kind.lowerAscii() + '/' + object.metadata.?name.orValue(object.metadata.?generateName.orValue(''))".to_owned()),
    ];
    let pod = "variables.pod";
    let (versions, matches, governs) =
        (cleared_versions(pod), matches(pod), governs(pod, &operator.accelerators));
    let rules = vec![Rule {
        holds: format!("!{governs} || {versions}.exists(v, {matches})"),
        else_say: format!(
            "variables.object + ' would be held if namespace ' + request.namespace + ' enforced: '
+ (variables.system == '' ? 'its pods have no label {SYSTEM_LABEL} to name their AISystem'
  : size({versions}) == 0 ? 'AI system ' + variables.system + ' has no clearance'
  : 'it is not what was approved for AI system ' + variables.system)
+ '; see: kubectl assent status --as-if-enforced -n ' + request.namespace"
        ),
    }];
    let bindings: [(_, _, &[_]); 2] =
        [("assent-warn", Mode::Warn, &["Warn", "Audit"]), ("assent-audit", Mode::Audit, &["Audit"])];
    advising("assent-preview", &scope, &conditions, &variables, rules, &bindings)
}

/// The pod template of a workload.
fn template(object: &str) -> String {
    format!(
        "(request.resource.resource == 'cronjobs' ? {object}.spec.jobTemplate.spec.template : {object}.spec.template)"
    )
}
