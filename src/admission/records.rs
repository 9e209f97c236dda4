//! Policies on the objects of Assent and on namespaces. They limit who may write the objects and which
//! changes are allowed. They also set the authors of decisions, incidents, notes and overrides.

use super::{
    Operator, PolicyObject,
    policy_object::{Answer, MatchScope, ParamUse, Rule, mutating, validating},
};
use crate::api::{self, GROUP, INCIDENT_OPEN, MODE_LABEL, Mode, SCOPE_LABEL};

pub(super) fn policies(operator: &Operator) -> Vec<PolicyObject> {
    let parts = vec![
        stamp("approval", &["approvals"], "approver", "!has(object.spec.signature)"),
        stamp("incident", &["incidents"], "openedBy", "true"),
        stamp("incidentnote", &["incidentnotes"], "by", "true"),
        stamp("override", &["overrides"], "requestedBy", "true"),
        approvals(),
        assessments(),
        incidents(operator),
        monitors(),
        incident_notes(),
        overrides(),
        model_versions(),
        evidence(),
        systems(),
        risk_levels(),
        namespaces(operator),
        operator_only(operator),
        kept_records(operator),
    ];
    parts.into_iter().flatten().collect()
}

/// The match scope for all changes of the objects that people write. Each policy adds its resources.
pub(super) const RECORDS: MatchScope = MatchScope {
    group: GROUP,
    resources: &[],
    also: &[],
    operations: &["CREATE", "UPDATE", "DELETE"],
    enforced: false,
    label: None,
    params: ParamUse::Unread,
};

/// The users of the namespace controller and the garbage collector. If the controller manager runs without
/// `--use-service-account-credentials`, both act as the user of the controller manager.
const CLEANERS: &str = "['system:serviceaccount:kube-system:namespace-controller', \
'system:serviceaccount:kube-system:generic-garbage-collector', 'system:kube-controller-manager']";

/// The users of the namespace controller: its own service account, or the user of the controller manager.
const NAMESPACE_CONTROLLER: &str =
    "['system:serviceaccount:kube-system:namespace-controller', 'system:kube-controller-manager']";

/// Sets the person in `field` to the user of the request, as the API server authenticated them.
fn stamp(kind: &str, resource: &'static [&'static str], field: &str, condition: &str) -> [PolicyObject; 2] {
    let scope = MatchScope { resources: resource, operations: &["CREATE"], ..RECORDS };
    let conditions = [("unsigned", format!("!has(object.spec.{field}) && {condition}"))];
    // `uid` is absent under impersonation, and if the authenticator provides none.
    let patch = format!(
        "[JSONPatch{{op: 'add', path: '/spec/{field}', value: Object.spec.{field}{{
  user: request.userInfo.username,
  groups: request.userInfo.?groups.orValue([]),
  uid: request.userInfo.?uid.orValue('')}}}}]"
    );
    mutating(&format!("assent-{kind}-stamp"), &scope, &conditions, patch, "Never")
}

fn is_requester(field: &str) -> String {
    format!(
        "object.spec.?{field}.?user.orValue('') == request.userInfo.username && object.spec.?{field}.?groups.orValue([]) == request.userInfo.?groups.orValue([]) && object.spec.?{field}.?uid.orValue('') == request.userInfo.?uid.orValue('')"
    )
}

/// A CEL rule that applies to one operation.
fn on(operation: &str, rule: &str) -> String {
    format!("request.operation != '{operation}' || ({rule})")
}

/// The rules for a record that nobody may change or delete.
fn final_record(kind: &str, instead: &str) -> [Rule; 3] {
    [
        Rule {
            // The schema contains this rule too. The policy also works if a user edits the schema.
            holds: on("UPDATE", "object.spec == oldObject.spec"),
            else_say: format!("'{kind} ' + oldObject.metadata.name + ' is final: {instead}'"),
        },
        Rule {
            // The deletion of an owner would also delete the record.
            holds:
                "request.operation == 'DELETE' || object.metadata.?ownerReferences.orValue([]).size() == 0"
                    .to_owned(),
            else_say: format!(
                "'the {kind} must have no ownerReferences, so that it stays when its system is deleted'"
            ),
        },
        Rule {
            holds: on("DELETE", &format!("request.userInfo.username in {CLEANERS}")),
            else_say: format!(
                "'{kind} ' + oldObject.metadata.name + ' is part of the record and cannot be deleted: {instead}'"
            ),
        },
    ]
}

/// To open an incident, an account needs only the permission to create incidents. A hold needs one more
/// permission, because it stops a system. Nobody can change an incident, so nobody can extend or end a hold
/// with an edit.
fn incidents(operator: &Operator) -> [PolicyObject; 2] {
    let scope = MatchScope { resources: &["incidents"], ..RECORDS };
    let mut rules = vec![
        Rule {
            holds: on("CREATE", &is_requester("openedBy")),
            else_say: "has(object.spec.openedBy) ? 'spec.openedBy must be the user of the request, ' + request.userInfo.username + ': leave spec.openedBy out, the API server or kubectl assent fills it in'
: 'spec.openedBy is missing, and this API server does not fill it in (Kubernetes before 1.36): use kubectl assent ' + (object.spec.?effect.orValue('None') == 'Hold' ? 'pause ' : 'incident open ') + object.spec.system + ' -n ' + request.namespace".to_owned(),
        },
        Rule {
            holds: on("CREATE", &format!("object.spec.?effect.orValue('None') != 'Hold' || authorizer.group('{GROUP}').resource('aisystems').namespace(request.namespace).name(object.spec.system).check('hold').allowed()")),
            else_say: "'user ' + request.userInfo.username + ' may not hold AI system ' + object.spec.system + ': open the incident without a hold (effect: None), or ask for the verb hold on aisystems.assent.dev/' + object.spec.system".to_owned(),
        },
        Rule {
            // The operator recognises its own incidents by this field, so nobody else may set it.
            holds: on("CREATE", &format!("!has(object.spec.monitor) || {}", operator.asks())),
            else_say: "'spec.monitor is set by Assent only: leave it out'".to_owned(),
        },
        Rule {
            // The creation time has whole seconds, so any time within the same second is allowed.
            holds: on("CREATE", "!has(object.spec.awareAt) || timestamp(object.spec.awareAt) < timestamp(object.metadata.creationTimestamp) + duration('1s')"),
            else_say: "'spec.awareAt ' + string(object.spec.awareAt) + ' is later than now, ' + string(object.metadata.creationTimestamp) + ': state the time at which the organisation became aware'".to_owned(),
        },
        Rule {
            holds: on("CREATE", "!has(object.spec.occurredAt) || (has(object.spec.awareAt) ? timestamp(object.spec.occurredAt) <= timestamp(object.spec.awareAt) : timestamp(object.spec.occurredAt) < timestamp(object.metadata.creationTimestamp) + duration('1s'))"),
            else_say: "'spec.occurredAt ' + string(object.spec.occurredAt) + ' is later than the time of awareness: correct one of the two'".to_owned(),
        },
    ];
    rules.extend(final_record("incident", "add an IncidentNote"));
    validating("assent-incidents", Answer::Refuse, &scope, &[], &[], rules)
}

/// Requires the verb `hold` to create, change or delete a monitor that can hold a system. The operator opens the
/// incidents of monitors with its own permissions. Without this policy, a user without the verb could hold a system
/// through a monitor, or remove a monitor that protects people.
fn monitors() -> [PolicyObject; 2] {
    let scope = MatchScope { resources: &["monitors"], ..RECORDS };
    let may_hold = |of: &str| {
        format!(
            "authorizer.group('{GROUP}').resource('aisystems').namespace(request.namespace).name({of}.spec.system).check('hold').allowed()"
        )
    };
    let holds = |of: &str| format!("{of}.spec.?onBreach.orValue('Warn') == 'Hold'");
    let rules = vec![
        Rule {
            holds: format!("request.operation == 'DELETE' || !({}) || (request.operation == 'UPDATE' && object.spec == oldObject.spec) || {}", holds("object"), may_hold("object")),
            else_say: "'user ' + request.userInfo.username + ' may not hold AI system ' + object.spec.system + ', so this monitor may not either: set onBreach to OpenIncident, or ask for the verb hold on aisystems.assent.dev/' + object.spec.system".to_owned(),
        },
        Rule {
            // The garbage collector deletes a monitor with its owner, so a new owner counts as a change. The namespace
            // controller may delete the monitor, because it also deletes the pods of the namespace.
            holds: format!("request.operation == 'CREATE' || !({}) || (request.operation == 'DELETE' ? request.userInfo.username in {NAMESPACE_CONTROLLER} : object.spec == oldObject.spec && object.metadata.?ownerReferences == oldObject.metadata.?ownerReferences) || {}", holds("oldObject"), may_hold("oldObject")),
            else_say: "'user ' + request.userInfo.username + ' may not hold AI system ' + oldObject.spec.system + ', so the user may not change or delete monitor ' + oldObject.metadata.name + ', which can hold it: ask for the verb hold on aisystems.assent.dev/' + oldObject.spec.system".to_owned(),
        },
        Rule {
            // Without this rule, a user could name another system during a breach. The breach would then count for the
            // other system.
            holds: on("UPDATE", "object.spec.system == oldObject.spec.system"),
            else_say: "'monitor ' + object.metadata.name + ' is for AI system ' + oldObject.spec.system + ': create another Monitor for ' + object.spec.system".to_owned(),
        },
    ];
    validating("assent-monitors", Answer::Refuse, &scope, &[], &[], rules)
}

/// The verb that the type of a note needs, as a CEL expression. Types that need no verb give an empty string.
const VERB_OF_NOTE: &str = "{'Acknowledgement': 'acknowledge', 'Report': 'report', 'Notified': 'report', 'Closing': 'close'}[?object.spec.type].orValue('')";

/// To add a fact, a root cause, an action or a verification, an account needs only the permission to create notes. The
/// other notes end the escalation, meet deadlines or close the incident. For each, a person needs one more permission.
fn incident_notes() -> [PolicyObject; 2] {
    let scope = MatchScope { resources: &["incidentnotes"], ..RECORDS };
    let variables = [("verb", format!("request.operation == 'CREATE' ? {VERB_OF_NOTE} : ''"))];
    let mut rules = vec![
        Rule {
            holds: on("CREATE", &is_requester("by")),
            else_say: "has(object.spec.by) ? 'spec.by must be the user of the request, ' + request.userInfo.username + ': leave spec.by out, the API server or kubectl assent fills it in'
: 'spec.by is missing, and this API server does not fill it in (Kubernetes before 1.36): use kubectl assent incident note ' + object.spec.incident + ' -n ' + request.namespace".to_owned(),
        },
        Rule {
            holds: format!("variables.verb == '' || authorizer.group('{GROUP}').resource('incidents').namespace(request.namespace).name(object.spec.incident).check(variables.verb).allowed()"),
            else_say: "'user ' + request.userInfo.username + ' may not add a note of the type ' + object.spec.type + ': ask for the verb ' + variables.verb + ' on incidents.assent.dev/' + object.spec.incident".to_owned(),
        },
        Rule {
            holds: "variables.verb == '' || !request.userInfo.username.startsWith('system:')".to_owned(),
            else_say: "request.userInfo.username + ' is not a person: a person must add a note of the type ' + object.spec.type".to_owned(),
        },
    ];
    rules.extend(final_record("note", "add another IncidentNote"));
    validating("assent-incidentnotes", Answer::Refuse, &scope, &[], &variables, rules)
}

/// To request an override, an account needs only the permission to create overrides. An override has an
/// effect only after people grant it. The policy cannot read the risk level, so every override has the same
/// maximum time.
fn overrides() -> [PolicyObject; 2] {
    let scope = MatchScope { resources: &["overrides"], ..RECORDS };
    let mut rules = vec![
        Rule {
            holds: on("CREATE", &is_requester("requestedBy")),
            else_say: "has(object.spec.requestedBy) ? 'spec.requestedBy must be the user of the request, ' + request.userInfo.username + ': leave spec.requestedBy out, the API server or kubectl assent fills it in'
: 'spec.requestedBy is missing, and this API server does not fill it in (Kubernetes before 1.36): use kubectl assent override ' + object.spec.system + ' -n ' + request.namespace".to_owned(),
        },
        Rule {
            holds: on("CREATE", "timestamp(object.spec.notAfter) > timestamp(object.metadata.creationTimestamp)"),
            else_say: "'spec.notAfter ' + string(object.spec.notAfter) + ' is in the past: choose a later time'".to_owned(),
        },
        Rule {
            holds: on("CREATE", "timestamp(object.spec.notAfter) <= timestamp(object.metadata.creationTimestamp) + duration('744h')"),
            else_say: "'spec.notAfter ' + string(object.spec.notAfter) + ' is more than 744 hours (31 days) from now: choose an earlier time'".to_owned(),
        },
    ];
    rules.extend(final_record("override", "request another Override"));
    validating("assent-overrides", Answer::Refuse, &scope, &[], &[], rules)
}

fn approvals() -> [PolicyObject; 2] {
    let scope = MatchScope { resources: &["approvals"], ..RECORDS };
    // The operator verifies signed decisions. The approver of such a decision is the signer, not the user of
    // the request.
    let on_create = |rule: &str| on("CREATE", &format!("has(object.spec.signature) || ({rule})"));
    let mut rules = vec![
        Rule {
            holds: on_create(&is_requester("approver")),
            else_say: "has(object.spec.approver) ? 'spec.approver must be the user of the request, ' + request.userInfo.username + ': leave spec.approver out, the API server or kubectl assent fills it in'
: 'spec.approver is missing, and this API server does not fill it in (Kubernetes before 1.36): use kubectl assent '
+ (object.spec.decision == 'Override' ? 'override grant ' + object.spec.override.name
  : object.spec.decision != 'Review' ? object.spec.decision.lowerAscii() + ' ' + object.spec.system
  : has(object.spec.override) ? 'override review ' + object.spec.override.name : 'incident review ' + object.spec.incident.name)
+ ' -n ' + request.namespace".to_owned(),
        },
        Rule {
            holds: on_create("!request.userInfo.username.startsWith('system:')"),
            else_say: "request.userInfo.username + ' is not a person and cannot approve: a person must run kubectl assent approve ' + object.spec.system + ' -n ' + request.namespace".to_owned(),
        },
        Rule {
            holds: on_create(&format!("authorizer.group('{GROUP}').resource('approverroles').name(object.spec.role).check('approve').allowed()")),
            else_say: "'user ' + request.userInfo.username + ' does not hold the role ' + object.spec.role + ': bind a ClusterRole with the verb approve on approverroles.assent.dev/' + object.spec.role + ', or use a role you hold'".to_owned(),
        },
        Rule {
            // This rule does not apply to signed approvals: a GitOps controller can apply them to a new cluster after
            // they expired.
            holds: on_create("!has(object.spec.notAfter) || timestamp(object.spec.notAfter) > timestamp(object.metadata.creationTimestamp)"),
            else_say: "'spec.notAfter ' + string(object.spec.notAfter) + ' is in the past: choose a later time'".to_owned(),
        },
        Rule {
            // Without this rule, a person could sign an approval with a future date, and apply it only after a
            // revocation. The same is possible with `Resume` after a hold, and with `Override` and `Review`. Other
            // decisions may have any date. The creation time has whole seconds, so any time within the same second is
            // allowed.
            holds: on("CREATE", "!has(object.spec.signature) || !(object.spec.decision in ['Approve', 'Resume', 'Override', 'Review']) || timestamp(object.spec.signature.signedAt) < timestamp(object.metadata.creationTimestamp) + duration('1s')"),
            else_say: "'spec.signature.signedAt ' + string(object.spec.signature.signedAt) + ' is later than now, ' + string(object.metadata.creationTimestamp) + ': apply it after that time, or correct the clock of the signing machine and sign again'".to_owned(),
        },
        Rule {
            holds: on("CREATE", "object.spec.decision in ['Approve', 'Attest', 'Resume', 'Override'] || object.spec.?reason.orValue('') != ''"),
            else_say: "'spec.reason is missing: give a reason for the decision ' + object.spec.decision".to_owned(),
        },
    ];
    let [unchanged, ownerless, kept] = final_record("approval", "create another Approval");
    let else_say = "'approval ' + oldObject.metadata.name + ' is part of the record and cannot be deleted; to end it: kubectl assent revoke ' + oldObject.spec.system + ' -n ' + request.namespace".to_owned();
    rules.extend([unchanged, ownerless, Rule { else_say, ..kept }]);
    validating("assent-approvals", Answer::Refuse, &scope, &[], &[], rules)
}

/// To record results, an account needs only the permission to create assessments. Nobody can change the
/// results. They count only after a person signs them.
fn assessments() -> [PolicyObject; 2] {
    let scope = MatchScope { resources: &["assessments"], ..RECORDS };
    let mut rules = vec![
        Rule {
            // A result with a future date would stay the newest result, and hide later results. The creation
            // time has whole seconds, so any time within the same second is allowed.
            holds: on("CREATE", "timestamp(object.spec.performedAt) < timestamp(object.metadata.creationTimestamp) + duration('1s')"),
            else_say: "'spec.performedAt ' + string(object.spec.performedAt) + ' is later than now, ' + string(object.metadata.creationTimestamp) + ': state the time at which the assessment was performed'".to_owned(),
        },
    ];
    rules.extend(final_record("assessment", "record another Assessment with the new results"));
    validating("assent-assessments", Answer::Refuse, &scope, &[], &[], rules)
}

fn model_versions() -> [PolicyObject; 2] {
    let scope = MatchScope { resources: &["modelversions"], operations: &["UPDATE"], ..RECORDS };
    let rules = vec![Rule {
        // The schema contains this rule too. The policy also works if a user edits the schema.
        holds: "object.spec == oldObject.spec".to_owned(),
        else_say: "'model version ' + oldObject.metadata.name + ' is immutable: create a new ModelVersion for what changed'".to_owned(),
    }];
    validating("assent-modelversions", Answer::Refuse, &scope, &[], &[], rules)
}

/// Refuses to delete a system or version that an open incident concerns. Only the operator writes the condition
/// `IncidentOpen`.
fn evidence() -> [PolicyObject; 2] {
    let scope = MatchScope { resources: &["aisystems", "modelversions"], operations: &["DELETE"], ..RECORDS };
    let rules = vec![Rule {
        holds: format!("request.userInfo.username in {NAMESPACE_CONTROLLER} || !oldObject.?status.?conditions.orValue([]).exists(condition, condition.type == '{INCIDENT_OPEN}' && condition.status == 'True')"),
        else_say: "request.resource.resource + '/' + oldObject.metadata.name + ' is evidence of an open incident and cannot be deleted: close the incident first; see: kubectl assent incident list -n ' + request.namespace".to_owned(),
    }];
    validating("assent-evidence", Answer::Refuse, &scope, &[], &[], rules)
}

fn systems() -> [PolicyObject; 2] {
    let scope = MatchScope { resources: &["aisystems"], ..RECORDS };
    let rules = vec![
        Rule {
            holds: format!(
                "request.operation == 'DELETE'
|| (request.operation == 'UPDATE' && object.spec.riskLevel == oldObject.spec.riskLevel)
|| authorizer.group('{GROUP}').resource('risklevels').name(object.spec.riskLevel).check('use').allowed()"
            ),
            else_say: "'user ' + request.userInfo.username + ' may not assign risk level ' + object.spec.riskLevel + ' to AI system ' + object.metadata.name + ': ask governance for it, or for the verb use on risklevels.assent.dev/' + object.spec.riskLevel".to_owned(),
        },
        Rule {
            // Without this rule, a user could delete a decommissioned system and create it again. The old
            // approvals would still count for the new system.
            holds: format!("request.operation != 'DELETE' || !oldObject.?status.?decommissioned.orValue(false) || request.userInfo.username in {NAMESPACE_CONTROLLER}"),
            else_say: "'AI system ' + oldObject.metadata.name + ' is decommissioned and cannot be deleted, because it is the record: keep its manifest, remove its workloads'".to_owned(),
        },
    ];
    validating("assent-aisystems", Answer::Refuse, &scope, &[], &[], rules)
}

fn risk_levels() -> [PolicyObject; 2] {
    let scope = MatchScope { resources: &["risklevels"], operations: &["DELETE"], ..RECORDS };
    let rules = vec![Rule {
        holds: "oldObject.?status.?systems.orValue(0) == 0".to_owned(),
        else_say: "'risk level ' + oldObject.metadata.name + ' is in use: without it ' + string(oldObject.status.systems) + ' AI systems would stop; see: kubectl get aisystems -A'".to_owned(),
    }];
    validating("assent-risklevels", Answer::Refuse, &scope, &[], &[], rules)
}

/// Requires the verb `ungovern` to weaken or end the governance of a namespace. Users who may label the namespace may
/// make its governance stricter.
fn namespaces(operator: &Operator) -> [PolicyObject; 2] {
    let scope = MatchScope {
        group: "",
        resources: &["namespaces", "namespaces/status", "namespaces/finalize"],
        operations: &["CREATE", "UPDATE"],
        ..RECORDS
    };
    let label = |of: &str, label: &str, absent: &str| {
        format!("{of} == null ? '{absent}' : {of}.metadata.?labels[?'{label}'].orValue('{absent}')")
    };
    // The mildest value comes first, so that a higher index is stricter.
    let modes = format!("{:?}", Mode::ALL.map(Mode::name));
    let scopes = format!("{:?}", api::Scope::ALL.map(api::Scope::name));
    let all = api::Scope::All.name();
    let variables = [
        ("mode", label("object", MODE_LABEL, "")),
        ("modeBefore", label("oldObject", MODE_LABEL, "")),
        ("scope", label("object", SCOPE_LABEL, all)),
        ("scopeBefore", label("oldObject", SCOPE_LABEL, all)),
        ("laxerMode", format!("{modes}.indexOf(variables.mode) < {modes}.indexOf(variables.modeBefore)")),
        (
            "laxerScope",
            format!(
                "variables.modeBefore in {modes} && {scopes}.indexOf(variables.scope) < {scopes}.indexOf(variables.scopeBefore)"
            ),
        ),
    ];
    let rules = vec![
        Rule {
            holds: format!("variables.mode in {modes} || variables.mode in ['', variables.modeBefore]"),
            else_say: format!("'label {MODE_LABEL}=' + variables.mode + ' is not known: use enforce, warn or audit'"),
        },
        Rule {
            holds: format!("variables.scope in {scopes} || variables.scope == variables.scopeBefore"),
            else_say: format!("'label {SCOPE_LABEL}=' + variables.scope + ' is not known: use all, accelerated or labelled'"),
        },
        Rule {
            holds: format!(
                "variables.mode == '' || !(object.metadata.name in ['kube-system', 'kube-public', 'kube-node-lease', '{}'])",
                operator.namespace
            ),
            else_say: "'namespace ' + object.metadata.name + ' cannot be governed, because the cluster or Assent itself depends on it'".to_owned(),
        },
        Rule {
            holds: format!(
                "!(variables.laxerMode || variables.laxerScope) || authorizer.group('{GROUP}').resource('namespaces').name(object.metadata.name).check('ungovern').allowed()"
            ),
            else_say: format!("'user ' + request.userInfo.username + ' may not '
+ (variables.mode == '' ? 'end the governance of namespace ' + object.metadata.name : 'weaken the governance of namespace ' + object.metadata.name)
+ ': keep the label ' + (variables.laxerMode ? '{MODE_LABEL}=' + variables.modeBefore : '{SCOPE_LABEL}=' + variables.scopeBefore)
+ ', or ask for the verb ungovern on namespaces.assent.dev'"),
        },
    ];
    validating("assent-namespaces", Answer::Refuse, &scope, &[], &variables, rules)
}

/// Protects `DecisionSubjects` and `SystemHistories`. Only the operator creates them. Nobody changes the spec of a
/// `DecisionSubject`, and only the operator changes the spec of a `SystemHistory`. Only the deletion of the namespace
/// deletes them.
fn kept_records(operator: &Operator) -> [PolicyObject; 2] {
    let scope = MatchScope { resources: &["decisionsubjects", "systemhistories"], ..RECORDS };
    let rules = vec![
        Rule {
            holds: format!("request.operation != 'CREATE' || {}", operator.asks()),
            else_say: "request.resource.resource + ' are written by Assent only'".to_owned(),
        },
        Rule {
            // The deletion of an owner would also delete the record.
            holds: "request.operation == 'DELETE' || object.metadata.?ownerReferences.orValue([]).size() == 0".to_owned(),
            else_say: "request.resource.resource + ' must have no ownerReferences, so that they stay when their system is deleted'".to_owned(),
        },
        Rule {
            holds: format!("request.operation != 'UPDATE' || object.spec == oldObject.spec || request.resource.resource == 'systemhistories' && {}", operator.asks()),
            else_say: "request.resource.resource + '/' + oldObject.metadata.name + ' is part of the record and cannot be changed'".to_owned(),
        },
        Rule {
            holds: format!("request.operation != 'DELETE' || request.userInfo.username in {NAMESPACE_CONTROLLER}"),
            else_say: "request.resource.resource + '/' + oldObject.metadata.name + ' is part of the record and cannot be deleted: only the deletion of its namespace deletes it'".to_owned(),
        },
    ];
    validating("assent-record", Answer::Refuse, &scope, &[], &[], rules)
}

/// Lets only the operator write Clearances and statuses. The namespace controller and the garbage collector may delete
/// Clearances.
fn operator_only(operator: &Operator) -> [PolicyObject; 2] {
    let scope = MatchScope {
        resources: &[
            "clearances",
            "risklevels/status",
            "trustedsidecars/status",
            "aisystems/status",
            "modelversions/status",
            "approvals/status",
            "assessments/status",
            "incidents/status",
            "overrides/status",
            "monitors/status",
        ],
        ..RECORDS
    };
    let rules = vec![Rule {
        holds: format!("{} || (request.operation == 'DELETE' && request.userInfo.username in {CLEANERS})", operator.asks()),
        else_say: "request.resource.resource + (request.?subResource.orValue('') == '' ? '' : '/' + request.subResource) + ' are derived from approvals and written by Assent only; see: kubectl assent status -n ' + request.?namespace.orValue('')".to_owned(),
    }];
    validating("assent-operator-only", Answer::Refuse, &scope, &[], &[], rules)
}
