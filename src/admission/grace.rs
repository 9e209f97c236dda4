//! Limits the termination grace period of pods. A kubelet does not shorten a stop that has begun, so the period must be
//! short from the start.
//!
//! [`OnLoss::pod_grace_seconds`] is the limit: half of the grace period of the risk level. A pod that another user
//! deletes in the first half then ends before the grace period is over. In the second half, the operator deletes the
//! remaining pods itself.
//!
//! The limit applies to deletions and evictions by other users, and to `terminationGracePeriodSeconds` of the pod. It
//! also applies to `terminationGracePeriodSeconds` of probes, because a container gets this time to end after its probe
//! failed.
//!
//! If a deletion has no grace period, the API server sets the pod's own grace period before it evaluates the policy. So
//! the policy admits a deletion with exactly the pod's own grace period. Otherwise the policy would block controllers,
//! drains and namespace deletions.

use super::{
    Operator, PolicyObject,
    cel::system,
    policy_object::{Answer, MatchScope, ParamUse, Rule, breaks_one_of, validating},
    scope_cel::governs,
};
use crate::api::OnLoss;

/// The longest grace period that a pod of `system` may have, as a CEL expression. The result must agree with
/// [`OnLoss::pod_grace_seconds`].
fn bound(system: &str) -> String {
    format!(
        "[1, int(params.?spec.?systems[?{system}].?onLoss.?gracePeriodSeconds.orValue({})) / 2].max()",
        OnLoss::DEFAULT_GRACE_PERIOD_SECONDS
    )
}

fn own(pod: &str) -> String {
    format!("{pod}.spec.?terminationGracePeriodSeconds.orValue(30)")
}

/// The grace period of the liveness probe or startup probe of each container, whichever is longer. 0 if a container has
/// none.
fn of_probes(pod: &str) -> String {
    format!(
        "({pod}.spec.containers + {pod}.spec.?initContainers.orValue([])).map(c,
  [c.?livenessProbe.?terminationGracePeriodSeconds.orValue(0), c.?startupProbe.?terminationGracePeriodSeconds.orValue(0)].max())"
    )
}

/// Whether the pod's own grace period exceeds the limit in [`bound`].
pub(super) fn is_too_long(pod: &str) -> String {
    format!("{} > {}", own(pod), bound(&system(pod)))
}

/// The patch that reduces the pod's own grace period to the limit in [`bound`].
pub(super) fn cut(pod: &str) -> String {
    format!(
        "[JSONPatch{{op: 'replace', path: '/spec/terminationGracePeriodSeconds', value: {}}}]",
        bound(&system(pod))
    )
}

/// Requires that neither the grace period of the pod nor that of a probe exceeds the limit in [`bound`].
pub(super) fn bounded(pod: &str) -> Rule {
    let (own, probes, system) = (own(pod), of_probes(pod), system(pod));
    let bound = bound(&system);
    Rule {
        holds: format!("([{own}] + {probes}).all(grace, grace <= {bound})"),
        else_say: format!(
            "variables.name + ({own} > {bound} ? ': spec.terminationGracePeriodSeconds is ' + string({own}) : ': terminationGracePeriodSeconds of a probe is ' + string({probes}.max()))
+ ', more than the ' + string({bound}) + ' s that the risk level of AI system ' + {system} + ' allows for a pod (half of its onLoss.gracePeriodSeconds): set it lower in the pod template'"
        ),
    }
}

/// The policies on deletions and evictions. Pods must be able to end at any time, so both policies admit a request that
/// the API server cannot judge. For example, the API server may not find the `Clearance` in the half minute after its
/// start.
pub(super) fn policies(operator: &Operator) -> ([PolicyObject; 2], [PolicyObject; 2]) {
    (delete(operator), evict(operator))
}

/// Refuses a deletion whose grace period exceeds the limit in [`bound`]. A deletion with exactly the pod's own grace
/// period and a deletion by the operator are always allowed.
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
            "'pod ' + oldObject.metadata.name + ': a deletion with a grace period of ' + string({asked}) + ' s is too slow for a revocation: AI system ' + {} + ' allows at most ' + string({bound}) + ' s (half of onLoss.gracePeriodSeconds of its risk level); use a shorter grace period, or none'",
            system(OLD)
        ),
    }];
    let conditions =
        [("breaks-a-rule", format!("{} && {}", governs(OLD, &operator.accelerators), breaks_one_of(&rules)))];
    validating("assent-pod-delete", Answer::RefuseIfJudged, &scope, &conditions, &[], rules)
}

/// Limits the grace period of evictions. An eviction does not show the system of the pod, so the shortest limit in the
/// namespace counts.
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
            "'pod ' + object.metadata.name + ': an eviction with a grace period of ' + string({asked}) + ' s is too slow for a revocation: the AI systems of namespace ' + request.namespace + ' allow at most ' + string({systems}.map(name, {}).min()) + ' s (half of onLoss.gracePeriodSeconds of their risk levels); use a shorter grace period, or none'",
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
