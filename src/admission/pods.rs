//! Policies on pods. A pod is held unless it is cleared, is released only while it is cleared, and keeps its admitted
//! content.

use super::{
    Operator, PolicyObject, RELEASE_MANAGER, RELEASE_WITHOUT_TIME,
    cel::{cleared_versions, matches, matches_if_pinned, refused_annotation, system},
    grace, pins,
    policy_object::{
        Answer, Binding, Label, MatchScope, ParamUse, Rule, breaks_one_of, mutating, validating,
        with_bindings, with_costly_rule,
    },
    scope_cel::governs,
};
use crate::api::{self, GATE, GROUP, HELD_LABEL, SYSTEM_LABEL};

pub(super) fn policies(operator: &Operator) -> Vec<PolicyObject> {
    let (delete, evict) = grace::policies(operator);
    let mut manifests: Vec<_> = [gate(operator), held_create(), create(operator), release(operator), delete]
        .into_iter()
        .flat_map(|policy| with_bindings(policy, &REACHES))
        .collect();
    manifests.extend(with_bindings(update(operator), &REACHES_WITHOUT_CLEARANCE));
    manifests.extend(evict);
    manifests.extend(binding());
    manifests
}

/// The bindings of the policies that need a `Clearance`, and of assent-pod-held. In a namespace with the scope
/// `labelled`, a pod without the label of a system matches no binding. So the policies add no cost to this pod, and the
/// pod does not depend on a `Clearance`. A binding cannot select the pods that use an accelerator, so the expressions
/// evaluate the scope `accelerated`: see [`governs`].
const REACHES: [Binding; 2] = [
    Binding { suffix: "", scopes: Err(&[api::Scope::Labelled]), label: None },
    Binding {
        suffix: "-labelled",
        scopes: Ok(&[api::Scope::Labelled]),
        label: Some(Label::Present(SYSTEM_LABEL)),
    },
];

/// The bindings of assent-pod-update, which reads no `Clearance`. They select governed pods by [`SYSTEM_LABEL`] or
/// [`HELD_LABEL`]. Each governed pod has one of these labels, because a pod that names no system is never cleared and
/// so is held.
const REACHES_WITHOUT_CLEARANCE: [Binding; 3] = [
    Binding { suffix: "", scopes: Err(LAXER_SCOPES), label: None },
    Binding { suffix: "-labelled", scopes: Ok(LAXER_SCOPES), label: Some(Label::Present(SYSTEM_LABEL)) },
    Binding { suffix: "-held", scopes: Ok(LAXER_SCOPES), label: Some(Label::Present(HELD_LABEL)) },
];

const LAXER_SCOPES: &[api::Scope] = &[api::Scope::Accelerated, api::Scope::Labelled];

const PODS: MatchScope = MatchScope {
    group: "",
    resources: &["pods"],
    also: &[],
    operations: &["CREATE"],
    enforced: true,
    label: None,
    params: ParamUse::Required,
};

/// Holds uncleared pods, pins the images of cleared pods, and cuts termination grace periods that are too long. One
/// match condition contains the whole decision. So the API server computes no patch for a pod that needs no change.
///
/// The API server calls this policy a second time for a pod that it patched, after webhooks and other policies made their
/// changes. If the pod is cleared with these changes, it loses gate and label again and starts without the operator. If
/// the first call did not patch a pod, there is no second call. assent-pod-create checks such a pod after all mutations.
///
/// This policy also pins and cuts, because a separate policy would cost each pod another copy of the `Clearance`.
fn gate(operator: &Operator) -> [PolicyObject; 2] {
    let (versions, matches) = (cleared_versions("object"), matches_if_pinned("object"));
    let too_long = grace::is_too_long("object");
    let condition = format!(
        "{} && ({too_long} || [{versions}.exists(version, {matches})].exists(cleared, {}
  || cleared && {} && {versions}.exists(version, {})))",
        governs("object", &operator.accelerators),
        gate_changes("cleared"),
        pins::names_tag(),
        pins::exist()
    );
    // The Clearance lists the newest version first. So `found[0]` is the newest version that matches the pod.
    let patch = format!(
        "[{versions}.filter(version, {matches})].map(found, ({too_long} ? {} : [])
+ ({} ? ({}) : [])
+ (found.size() > 0 ? [found[0]].map(version, {})[0] : []))[0]",
        grace::cut("object"),
        gate_changes("(found.size() > 0)"),
        change_gate(),
        pins::patch()
    );
    mutating("assent-gate", &PODS, &[("not-cleared", condition)], patch, "IfNeeded")
}

/// Whether the gate or the label of a pod changes. `cleared` says whether the pod is cleared. A pod with gate and label
/// changes if it is cleared. A pod with neither changes if it is not cleared. A pod with the gate only gets the label.
///
/// A pod with the label only does not change, and assent-pod-held refuses it. A pod that names its node does not change,
/// because the API server refuses a gate on it. assent-pod-create then tells the user to leave out the node.
fn gate_changes(cleared: &str) -> String {
    let (gated, held) = (gated("object"), held("object"));
    format!("(!has(object.spec.nodeName) && ({gated} == {held} ? {cleared} == {held} : {gated}))")
}

/// The patch that removes gate and label of a held pod, or adds the missing ones to any other pod.
fn change_gate() -> String {
    let (gated, held) = (gated("object"), held("object"));
    // The patch writes the gate as a CEL map. With an `Object{}` literal in a list, the API server of Kubernetes 1.36 panics:
    // its `ObjectVal.ConvertToNative` returns a `structpb.Struct` where a `structpb.Value` is expected. Kubernetes 1.37 fixed
    // this bug.
    format!(
        "{held}
? [JSONPatch{{op: 'remove', path: '/spec/schedulingGates/' + string(object.spec.schedulingGates.map(gate, gate.name).indexOf('{GATE}'))}},
   JSONPatch{{op: 'remove', path: '/metadata/labels/' + jsonpatch.escapeKey('{HELD_LABEL}')}}]
: ({gated} ? [] : has(object.spec.schedulingGates)
  ? [JSONPatch{{op: 'add', path: '/spec/schedulingGates/-', value: {{'name': '{GATE}'}}}}]
  : [JSONPatch{{op: 'add', path: '/spec/schedulingGates', value: [{{'name': '{GATE}'}}]}}])
+ (has(object.metadata.labels)
  ? [JSONPatch{{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('{HELD_LABEL}'), value: 'true'}}]
  : [JSONPatch{{op: 'add', path: '/metadata/labels', value: {{'{HELD_LABEL}': 'true'}}}}])"
    )
}

/// Checks new pods with [`HELD_LABEL`]. Refuses a pod that lacks the gate, or that has an annotation of Assent. This
/// policy needs no `Clearance`.
fn held_create() -> [PolicyObject; 2] {
    let scope = MatchScope { label: Some(Label::Present(HELD_LABEL)), params: ParamUse::Unread, ..PODS };
    let rules = vec![label_follows_gate(), no_record_yet()];
    let conditions = [("breaks-a-rule", breaks_one_of(&rules))];
    validating("assent-pod-held", Answer::Refuse, &scope, &conditions, &[("name", pod_name("object"))], rules)
}

/// Whether `version` is still cleared at the creation of the pod.
const LIVE: &str = "timestamp(object.metadata.creationTimestamp) < timestamp(version.notAfter)";

/// Checks new pods without [`HELD_LABEL`] again after all mutations. Also checks that the clearance has not ended at
/// the `creationTimestamp`, which the API server sets between the mutating and the validating stage.
fn create(operator: &Operator) -> [PolicyObject; 2] {
    let variables = [
        ("name", pod_name("object")),
        ("system", system("object")),
        ("live", format!("{}.filter(version, {LIVE})", cleared_versions("object"))),
        ("images", pins::of_containers("variables.live")),
        ("volumes", pins::of_volumes("variables.live")),
        ("workload", pins::workload().to_owned()),
    ];
    let gated_or_cleared = Rule {
        holds: format!("{} || {}.exists(version, {LIVE} && {})", gated("object"), cleared_versions("object"), matches("object")),
        else_say: format!(
            "variables.name + (
  variables.system == '' ? ' has no label {SYSTEM_LABEL}: name its AISystem in the pod template'
  : has(object.spec.nodeName) ? ' sets spec.nodeName and is not cleared: leave nodeName out, so that it can be held until AI system ' + variables.system + ' is approved'
  : size(variables.live) == 0 ? ': AI system ' + variables.system + ' has no clearance that is valid at ' + string(object.metadata.creationTimestamp)
  : size(variables.images) + size(variables.volumes) > 0 ? ' names images by tag, but AI system ' + variables.system + ' approves only their digests. Kubernetes 1.36 and later add the digests, unless a webhook removes them. Write them into the manifest'
    + (size(variables.volumes) > 0 ? ', ' + variables.volumes.join(', ') : '')
    + (size(variables.images) > 0 ? ': kubectl set image ' + variables.workload + ' ' + variables.images.join(' ') + ' -n ' + request.namespace : '')
  : ' is not what was approved for AI system ' + variables.system + ': a webhook or a policy changed it after Assent checked it; if the cluster added a sidecar, governance can trust the sidecar: kubectl get trustedsidecars')
+ '; see: kubectl assent explain aisystem/' + (variables.system == '' ? 'NAME' : variables.system) + ' -n ' + request.namespace"
        ),
    };
    let scope = MatchScope { label: Some(Label::Absent(HELD_LABEL)), ..PODS };
    let others = vec![label_follows_gate(), no_record_yet(), grace::bounded("object")];
    let (broken, rules) = with_costly_rule(others, gated_or_cleared);
    let condition = format!("{} && {broken}", governs("object", &operator.accelerators));
    validating(
        "assent-pod-create",
        Answer::Refuse,
        &scope,
        &[("breaks-a-rule", condition)],
        &variables,
        rules,
    )
}

fn label_follows_gate() -> Rule {
    Rule {
        holds: format!("{} == {}", gated("object"), held("object")),
        else_say: format!(
            "variables.name + ({} ? ': the gate {GATE} needs the label {HELD_LABEL}=true beside it: set both in the pod template, or neither'
  : ': only Assent may set label {HELD_LABEL}, on pods that it holds: remove the label from the pod template')",
            gated("object")
        ),
    }
}

/// Refuses annotations of Assent on a new pod, because the operator records its actions in such annotations.
fn no_record_yet() -> Rule {
    Rule {
        holds: format!("!{}.exists(key, {OURS})", annotations("object")),
        else_say: format!(
            "variables.name + ': annotations that begin with {GROUP}/ are written by Assent only: remove them from the pod template'"
        ),
    }
}

/// Whether the `key` of a label or annotation belongs to Assent.
const OURS: &str = "key.startsWith('assent.dev/')";

/// Refuses labels and annotations of Assent on a Binding. The API server copies them to the pod, and the policies on
/// pods do not check this change.
fn binding() -> [PolicyObject; 2] {
    let scope = MatchScope { resources: &["pods/binding", "bindings"], params: ParamUse::Unread, ..PODS };
    let rule = Rule {
        holds: format!(
            "!object.metadata.?labels.orValue({{}}).exists(key, {OURS}) && !{}.exists(key, {OURS})",
            annotations("object")
        ),
        else_say: format!(
            "'the Binding of pod ' + object.metadata.?name.orValue('') + ' has labels or annotations that begin with {GROUP}/: the pod would get them, so remove them from the Binding'"
        ),
    };
    validating("assent-binding", Answer::Refuse, &scope, &[], &[], vec![rule])
}

/// The rules for every update, with or without a `Clearance`. The rules also apply to the subresource `status`, because
/// a request for this subresource can change labels too.
fn update(operator: &Operator) -> [PolicyObject; 2] {
    let scope = MatchScope {
        resources: &["pods", "pods/status", "pods/ephemeralcontainers"],
        operations: &["UPDATE"],
        params: ParamUse::Unread,
        ..PODS
    };
    let variables = [("name", pod_name("object"))];
    let rules = vec![
        Rule {
            holds: "request.?subResource.orValue('') != 'ephemeralcontainers'".to_owned(),
            else_say: "variables.name + ': an ephemeral container is not part of what was approved; debug a copy in a namespace that Assent does not govern'".to_owned(),
        },
        operator_lifts(operator),
        Rule {
            holds: format!(
                "{} == {} || {} != {}",
                gated("object"),
                held("object"),
                gated("oldObject"),
                held("oldObject")
            ),
            else_say: format!("variables.name + ': label {HELD_LABEL} stays as long as the gate {GATE} does; Assent removes both'"),
        },
        Rule {
            holds: format!("{} == {}", system("object"), system("oldObject")),
            else_say: format!("variables.name + ': label {SYSTEM_LABEL} of a pod does not change; set it in the pod template of its workload'"),
        },
        runtime_annotations_stay(),
        images_stay(operator),
        record_stays(operator),
    ];
    let conditions = [("breaks-a-rule", breaks_one_of(&rules))];
    validating("assent-pod-update", Answer::Refuse, &scope, &conditions, &variables, rules)
}

/// Refuses changes of images. Only the operator may add digests to images, in the request that lifts the gate.
/// assent-pod-release checks the digests.
fn images_stay(operator: &Operator) -> Rule {
    let images = |of: &str, list: &str| {
        format!("{of}.spec.?{list}.orValue([]).map(container, container.?image.orValue(''))")
    };
    let unchanged = |list: &str| format!("{} == {}", images("object", list), images("oldObject", list));
    let pinned = |list: &str| {
        format!(
            "object.spec.?{list}.orValue([]).all(container, oldObject.spec.?{list}.orValue([]).exists(old, container.name == old.name && (container.?image == old.?image || {})))",
            pins::is_pinned_by("old.?image.orValue('')", "container.?image.orValue('')")
        )
    };
    Rule {
        holds: format!(
            "{} && {} || {} && {} && !{} && {} && {}",
            unchanged("containers"),
            unchanged("initContainers"),
            operator.asks(),
            gated("oldObject"),
            gated("object"),
            pinned("containers"),
            pinned("initContainers")
        ),
        else_say: "variables.name + ': the image of a pod that Assent governs does not change in place; change the workload, and approve a ModelVersion with the new image'".to_owned(),
    }
}

/// Refuses changes of annotations that container runtimes read. A runtime reads them at each start of a container, so a
/// change would take effect without an approval.
fn runtime_annotations_stay() -> Rule {
    Rule {
        holds: format!(
            "object.metadata.?annotations.orValue({{}}).all(annotation, !{} || oldObject.metadata.?annotations[?annotation] == optional.of(object.metadata.annotations[annotation]))",
            refused_annotation("annotation")
        ),
        else_say: "variables.name + ': an annotation that container runtimes read does not change on a pod that Assent governs; leave it out'".to_owned(),
    }
}

/// Lets only the operator change its annotations on a pod, because these annotations are evidence.
fn record_stays(operator: &Operator) -> Rule {
    let (now, before) = (annotations("object"), annotations("oldObject"));
    Rule {
        // The first comparison is cheap, and most updates change no annotation.
        holds: format!(
            "{now} == {before} || {} || !({now}.exists(key, {OURS} && (!(key in {before}) || {before}[key] != {now}[key])) || {before}.exists(key, {OURS} && !(key in {now})))",
            operator.asks()
        ),
        else_say: format!(
            "variables.name + ': annotations that begin with {GROUP}/ are written by Assent only: leave them as they are'"
        ),
    }
}

/// Requires that the pod is cleared at the time of the request, even if the operator lifts the gate. CEL has no
/// function for the current time, but the API server writes the time of the request into `managedFields`, in the entry
/// of the field manager. An entry with an older time does not count, because another request wrote it.
fn release(operator: &Operator) -> [PolicyObject; 2] {
    let scope = MatchScope { operations: &["UPDATE"], label: Some(Label::Present(HELD_LABEL)), ..PODS };
    let managers = |pod: &str| format!("{pod}.metadata.?managedFields.orValue([])");
    let released = format!(
        "{}.filter(entry, entry.?manager.orValue('') == '{RELEASE_MANAGER}' && entry.?operation.orValue('') == 'Update' && !has(entry.subresource) && has(entry.time)
  && !{}.exists(old, old.?manager.orValue('') == '{RELEASE_MANAGER}' && old.?time == entry.?time)).map(entry, timestamp(entry.time))",
        managers("object"),
        managers("oldObject")
    );
    let others = vec![
        operator_lifts(operator),
        Rule {
            holds: format!("{released}.size() == 1"),
            else_say: format!("variables.name + ': {RELEASE_WITHOUT_TIME}'"),
        },
        // assent-pod-create does not match a pod with the label, so no policy checked the grace period of this pod at
        // its creation. The limit of the risk level can also be shorter now.
        grace::bounded("object"),
    ];
    let cleared = Rule {
        holds: format!(
            "{}.exists(version, {released}.all(time, time < timestamp(version.notAfter)) && {})",
            cleared_versions("object"),
            matches("object")
        ),
        else_say: format!(
            "variables.name + ': AI system ' + {} + ' has no valid clearance for it; see: kubectl assent explain pod/' + object.metadata.name + ' -n ' + request.namespace",
            system("object")
        ),
    };
    let (broken, rules) = with_costly_rule(others, cleared);
    let lifted = format!(
        "{} && !{} && {} && {broken}",
        gated("oldObject"),
        gated("object"),
        governs("object", &operator.accelerators)
    );
    let variables = [("name", pod_name("object"))];
    validating("assent-pod-release", Answer::Refuse, &scope, &[("lifts-the-gate", lifted)], &variables, rules)
}

/// Lets only the operator lift the gate. assent-pod-update and assent-pod-release both have this rule. If both refuse a
/// request, the API server reports only one refusal, so both need this message.
fn operator_lifts(operator: &Operator) -> Rule {
    Rule {
        holds: format!("!{} || {} || {}", gated("oldObject"), gated("object"), operator.asks()),
        else_say: format!(
            "variables.name + ': only Assent lifts the gate {GATE}, once AI system ' + {} + ' is approved; see: kubectl assent explain pod/' + object.metadata.name + ' -n ' + request.namespace",
            system("object")
        ),
    }
}

fn gated(pod: &str) -> String {
    format!("{pod}.spec.?schedulingGates.orValue([]).exists(gate, gate.name == '{GATE}')")
}

fn annotations(pod: &str) -> String {
    format!("{pod}.metadata.?annotations.orValue({{}})")
}

fn held(pod: &str) -> String {
    format!("('{HELD_LABEL}' in {pod}.metadata.?labels.orValue({{}}))")
}

/// The name of a pod in messages. The pod of a workload has only a `generateName` at its creation.
fn pod_name(pod: &str) -> String {
    format!("'pod ' + {pod}.metadata.?name.orValue({pod}.metadata.?generateName.orValue(''))")
}
