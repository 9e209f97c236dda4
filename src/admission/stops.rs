//! Warns the user whose change or deletion can stop pods, and refuses no request:
//!
//! - An `AISystem` with running pods is deleted, gets a date of its end, or a field changes on which its clearance
//!   depends.
//! - A requirement of a `RiskLevel` changes.
//! - A cleared `ModelVersion` is deleted.
//! - An `ApproverRole` or `TrustedSidecar` is deleted, or loses a key or an addition.
//!
//! A warning is an estimate from the statuses that the operator wrote last. The operator decides which pods stop.

use super::{
    PolicyObject,
    policy_object::{Answer, MatchScope, Rule, validating},
    records::RECORDS,
};

pub(super) fn policies() -> Vec<PolicyObject> {
    [system(), risk_level(), model_version(), approver_role(), trusted_sidecar()]
        .into_iter()
        .flatten()
        .collect()
}

const CHANGES: MatchScope = MatchScope { operations: &["UPDATE", "DELETE"], ..RECORDS };

const DELETED: &str = "request.operation == 'DELETE'";

/// The fields of `spec` that an update changes, as a CEL list of names.
fn changed(fields: &[&str]) -> String {
    let one =
        |field: &&str| format!("(object.spec.?{field} != oldObject.spec.?{field} ? ['spec.{field}'] : [])");
    fields.iter().map(one).collect::<Vec<_>>().join(" + ")
}

/// Whether an update removes an item from a list of the spec.
fn shrinks(list: &str) -> String {
    format!("oldObject.spec.{list}.orValue([]).exists(item, !(item in object.spec.{list}.orValue([])))")
}

fn system() -> [PolicyObject; 2] {
    let scope = MatchScope { resources: &["aisystems"], enforced: true, ..CHANGES };
    // The status counts pods in every namespace. In a namespace that does not enforce, no pod stops, so `enforced`
    // excludes this namespace.
    let conditions = [("something-runs", "oldObject.?status.?pods.?running.orValue(0) > 0".to_owned())];
    let variables = [
        ("name", "'AI system ' + oldObject.metadata.name".to_owned()),
        ("pods", "string(oldObject.status.pods.running) + ' running pods'".to_owned()),
        (
            "see",
            "'; see: kubectl assent status ' + oldObject.metadata.name + ' -n ' + request.namespace"
                .to_owned(),
        ),
        (
            "signed",
            format!(
                "{DELETED} ? [] : {}",
                changed(&["riskLevel", "intendedPurpose", "jurisdictions", "hostedModels"])
            ),
        ),
        (
            "checked",
            format!(
                "{DELETED} ? [] : ({} ? ['spec.documentation'] : []) + ({} ? ['spec.provider'] : []) \
+ ({} ? ['spec.suppliers'] : []) + {} + (object.spec.owners.exists(owner, !(owner in oldObject.spec.owners)) ? ['spec.owners'] : [])",
                shrinks("?documentation"),
                shrinks("?provider.?certifications"),
                shrinks("?suppliers"),
                changed(&["risks"]),
            ),
        ),
    ];
    let rules = vec![
        Rule {
            holds: format!("!({DELETED})"),
            else_say: "variables.name + ' is being deleted: its ' + variables.pods + ' stop'".to_owned(),
        },
        Rule {
            holds: format!("{DELETED} || !has(object.spec.decommission) || object.spec.?decommission.?date == oldObject.spec.?decommission.?date"),
            else_say: "variables.name + ' is decommissioned: its ' + variables.pods + ' stop for good at ' + string(object.spec.decommission.date)".to_owned(),
        },
        Rule {
            holds: "size(variables.signed) == 0".to_owned(),
            else_say: "variables.name + ': a change of ' + variables.signed.join(', ') + ' ends all its approvals: its ' + variables.pods + ' stop, unless the new content needs no approval' + variables.see".to_owned(),
        },
        Rule {
            holds: "size(variables.checked) == 0".to_owned(),
            else_say: "variables.name + ': a change of ' + variables.checked.join(', ') + ' can end its clearance, if its risk level requires a removed item or risks, or an approver is now an owner: then its ' + variables.pods + ' stop' + variables.see".to_owned(),
        },
    ];
    validating("assent-stop-aisystem", Answer::Warn, &scope, &conditions, &variables, rules)
}

fn risk_level() -> [PolicyObject; 2] {
    let scope = MatchScope { resources: &["risklevels"], operations: &["UPDATE"], ..CHANGES };
    let conditions = [("in-use", "oldObject.?status.?systems.orValue(0) > 0".to_owned())];
    let fields = [
        "prohibited",
        "approvals",
        "separationOfDuties",
        "validity",
        "incidents",
        "overrides",
        "monitors",
        "assessments",
        "requirements",
        "risks",
        "hostedModels",
        "documentReview",
        "documents",
        "evidence",
        "certifications",
        "images",
        "forbiddenVolumes",
    ];
    let variables = [("requirements", changed(&fields))];
    let rules = vec![Rule {
        holds: "size(variables.requirements) == 0".to_owned(),
        else_say: "'risk level ' + object.metadata.name + ': a change of ' + variables.requirements.join(', ') + ' applies at once to ' + string(oldObject.status.systems) + ' AI systems with ' + string(oldObject.status.?runningPods.orValue(0)) + ' running pods: the systems that do not meet it lose their clearance, and their pods stop; to see their pods: kubectl get aisystems -A'".to_owned(),
    }];
    validating("assent-stop-risklevel", Answer::Warn, &scope, &conditions, &variables, rules)
}

fn model_version() -> [PolicyObject; 2] {
    let scope =
        MatchScope { resources: &["modelversions"], operations: &["DELETE"], enforced: true, ..CHANGES };
    let rules = vec![Rule {
        holds: "!oldObject.?status.?conditions.orValue([]).exists(condition, condition.type == 'Cleared' && condition.status == 'True')".to_owned(),
        else_say: "'model version ' + oldObject.metadata.name + ' is cleared: without it the pods that run it stop; see: kubectl assent status ' + oldObject.spec.system + ' -n ' + request.namespace".to_owned(),
    }];
    validating("assent-stop-modelversion", Answer::Warn, &scope, &[], &[], rules)
}

fn approver_role() -> [PolicyObject; 2] {
    let scope = MatchScope { resources: &["approverroles"], ..CHANGES };
    let rules = vec![Rule {
        holds: format!("{DELETED} ? oldObject.spec.?keys.orValue([]).size() == 0 : !{}", shrinks("?keys")),
        else_say: "'approver role ' + oldObject.metadata.name + ': approvals that were signed with a removed or changed key no longer count, and pods that need them stop; see: kubectl assent status -A'".to_owned(),
    }];
    validating("assent-stop-approverrole", Answer::Warn, &scope, &[], &[], rules)
}

fn trusted_sidecar() -> [PolicyObject; 2] {
    let scope = MatchScope { resources: &["trustedsidecars"], ..CHANGES };
    let lists = ["?containers", "?initContainers", "?volumes", "?volumeMounts", "?env"].map(shrinks);
    let rules = vec![Rule {
        holds: format!("!({DELETED} || {})", lists.join(" || ")),
        else_say: "'trusted sidecar ' + oldObject.metadata.name + ': pods with an addition that is no longer trusted stop; first add the new one, then restart the workloads, then remove the old one'".to_owned(),
    }];
    validating("assent-stop-trustedsidecar", Answer::Warn, &scope, &[], &[], rules)
}
