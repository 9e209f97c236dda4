//! How long the end of a pod may take: a kubelet does not shorten a stop that it has begun, so it must be
//! short from the start.
//!
//! ```text
//!  loss ──────────── half of the grace ──────────── grace
//!   │ anybody may delete: ends within a half ─┤        │
//!   │                       └ the operator deletes: ends within the rest
//! ```
//!
//! [`OnLoss::pod_grace_seconds`] is the bound for whoever else deletes or evicts, for the pod's own
//! `terminationGracePeriodSeconds`, and for those of its probes, by which the kubelet stops single containers.
//!
//! A deletion that names no grace takes the pod's own, and the API server fills that in before it asks the
//! policy. So a deletion with exactly the pod's own grace passes: no controller, drain or namespace deletion is
//! blocked.

use super::{
    Operator, PolicyObject,
    cel::system,
    policy_object::{Answer, MatchScope, ParamUse, Rule, breaks_one_of, validating},
    scope_cel::governs,
};
use crate::api::OnLoss;

/// The bound for the pods of `system`, a CEL expression: the same as [`OnLoss::pod_grace_seconds`].
fn bound(system: &str) -> String {
    format!(
        "[1, int(params.?spec.?systems[?{system}].?onLoss.?gracePeriodSeconds.orValue({})) / 2].max()",
        OnLoss::DEFAULT_GRACE_PERIOD_SECONDS
    )
}

/// The pod's own grace.
fn own(pod: &str) -> String {
    format!("{pod}.spec.?terminationGracePeriodSeconds.orValue(30)")
}

/// The graces of the probes whose failure stops a container.
fn of_probes(pod: &str) -> String {
    format!(
        "({pod}.spec.containers + {pod}.spec.?initContainers.orValue([])).map(c,
  [c.?livenessProbe.?terminationGracePeriodSeconds.orValue(0), c.?startupProbe.?terminationGracePeriodSeconds.orValue(0)].max())"
    )
}

/// Whether the pod's own grace is beyond the bound, so that it is to be cut.
pub(super) fn is_too_long(pod: &str) -> String {
    format!("{} > {}", own(pod), bound(&system(pod)))
}

/// The patch that cuts it.
pub(super) fn cut(pod: &str) -> String {
    format!(
        "[JSONPatch{{op: 'replace', path: '/spec/terminationGracePeriodSeconds', value: {}}}]",
        bound(&system(pod))
    )
}

/// No grace of the pod is beyond the bound.
pub(super) fn bounded(pod: &str) -> Rule {
    let (own, probes, system) = (own(pod), of_probes(pod), system(pod));
    let bound = bound(&system);
    Rule {
        holds: format!("([{own}] + {probes}).all(grace, grace <= {bound})"),
        else_say: format!(
            "variables.name + ({own} > {bound} ? ': spec.terminationGracePeriodSeconds is ' + string({own}) : ': terminationGracePeriodSeconds of a probe is ' + string({probes}.max()))
+ ', more than the ' + string({bound}) + ' s that the risk level of AI system ' + {system} + ' leaves to a pod (half of its onLoss.gracePeriodSeconds): set it lower in the pod template'"
        ),
    }
}

/// Both let a request through that the API server cannot judge: for half a minute after it starts it may not
/// find the `Clearance`, and pods must end all the same.
pub(super) fn policies(operator: &Operator) -> ([PolicyObject; 2], [PolicyObject; 2]) {
    (delete(operator), evict(operator))
}

/// Nobody but the operator begins a stop that takes longer.
fn delete(operator: &Operator) -> [PolicyObject; 2] {
    const OLD: &str = "oldObject";
    let scope = MatchScope {
        group: "",
        resources: &["pods"],
        also: &[],
        operations: &["DELETE"],
        enforced: true,
        label: None,
        params: ParamUse::IfAny,
    };
    let asked = "request.?options.?gracePeriodSeconds.orValue(0)";
    let bound = bound(&system(OLD));
    let rules = vec![Rule {
        holds: format!("{asked} <= {bound} || {asked} == {} || {}", own(OLD), operator.asks()),
        else_say: format!(
            "'pod ' + oldObject.metadata.name + ': a deletion with a grace of ' + string({asked}) + ' s would let it run on after a revocation: AI system ' + {} + ' leaves at most ' + string({bound}) + ' s (half of onLoss.gracePeriodSeconds of its risk level); ask for less, or leave the grace out'",
            system(OLD)
        ),
    }];
    let conditions =
        [("breaks-a-rule", format!("{} && {}", governs(OLD, &operator.accelerators), breaks_one_of(&rules)))];
    validating("assent-pod-delete", Answer::RefuseIfJudged, &scope, &conditions, &[], rules)
}

/// An eviction does not show whose pod it is: the shortest grace in the namespace counts.
fn evict(operator: &Operator) -> [PolicyObject; 2] {
    let scope = MatchScope {
        group: "",
        resources: &["pods/eviction"],
        also: &[],
        operations: &["CREATE"],
        enforced: true,
        label: None,
        params: ParamUse::IfAny,
    };
    let asked = "object.?deleteOptions.?gracePeriodSeconds.orValue(0)";
    let systems = "params.?spec.?systems.orValue({})";
    let rules = vec![Rule {
        holds: format!("{} || {systems}.all(name, {asked} <= {})", operator.asks(), bound("name")),
        else_say: format!(
            "'pod ' + object.metadata.name + ': an eviction with a grace of ' + string({asked}) + ' s would let it run on after a revocation: the AI systems of namespace ' + request.namespace + ' leave at most ' + string({systems}.map(name, {}).min()) + ' s (half of onLoss.gracePeriodSeconds of their risk levels); ask for less, or leave the grace out'",
            bound("name")
        ),
    }];
    validating(
        "assent-pod-evict",
        Answer::RefuseIfJudged,
        &scope,
        &[("breaks-a-rule", breaks_one_of(&rules))],
        &[],
        rules,
    )
}
