//! Suspends Jobs and `CronJobs` that are not cleared.
//!
//! Without the suspension, a Job with held pods would use up its `activeDeadlineSeconds`. A `CronJob` would create Jobs
//! that all start when the approval comes. Safety does not depend on the suspension, because the policies on pods check
//! each pod anyway. So the policies of this module do nothing while the `Clearance` is missing.
//!
//! - If a Job is neither suspended nor cleared, a policy suspends the Job and adds the label `assent.dev/suspended`. If
//!   a queue or a controller manages the Job, the policy does this only if the Job had the label before the request.
//! - If Assent suspended a Job, and a user now suspends the Job too, the policy removes the label.

use super::{
    Operator, PolicyObject,
    cel::{cleared_versions, matches_if_pinned},
    policy_object::{MatchScope, ParamUse, mutating},
    scope_cel::governs,
};
use crate::{
    api::SUSPENDED_LABEL,
    policy::{JOB_CONTROLLER, QUEUE_LABELS},
};

/// A regular expression for the annotation that `kubectl apply` writes for a manifest with `suspend: true`. The
/// annotation is JSON with sorted keys. The keys next to `suspend` distinguish this field from nested fields of the
/// same name.
const JOB_IS_SUSPENDED: &str = r#""suspend":true,"template":[{]"#;
const CRON_JOB_IS_SUSPENDED: &str = r#""schedule":"[^"]*"(,"startingDeadlineSeconds":[0-9]+)?(,"successfulJobsHistoryLimit":[0-9]+)?,"suspend":true"#;

pub(super) fn policies(operator: &Operator) -> Vec<PolicyObject> {
    let jobs = suspend(
        "assent-job",
        &["jobs"],
        "object.spec.template",
        operator,
        (&format!("(!{} || {})", suspended_by_others(), labelled("oldObject")), JOB_IS_SUSPENDED),
    );
    let cron_jobs = suspend(
        "assent-cronjob",
        &["cronjobs"],
        "object.spec.jobTemplate.spec.template",
        operator,
        ("true", CRON_JOB_IS_SUSPENDED),
    );
    jobs.into_iter().chain(cron_jobs).collect()
}

/// A policy that suspends uncleared Jobs or `CronJobs` at each creation and update. So a `GitOps` controller that
/// applies `suspend: false` again and again does not resume an uncleared Job.
fn suspend(
    name: &str,
    resources: &'static [&'static str],
    template: &str,
    operator: &Operator,
    (responsible, applied_suspended): (&str, &str),
) -> [PolicyObject; 2] {
    let scope = MatchScope {
        group: "batch",
        resources,
        also: &[],
        operations: &["CREATE", "UPDATE"],
        enforced: true,
        label: None,
        params: ParamUse::IfAny,
    };
    let due = "!object.spec.?suspend.orValue(false)
&& !has(object.metadata.deletionTimestamp)
&& !object.?status.?conditions.orValue([]).exists(condition, condition.type in ['Complete', 'Failed'] && condition.status == 'True')";
    let condition = format!(
        "({due} && {responsible} && {} && !{}.exists(version, {}))
|| ({})",
        governs(template, &operator.accelerators),
        cleared_versions(template),
        matches_if_pinned(template),
        stays_suspended(applied_suspended)
    );
    let patch = format!(
        "object.spec.?suspend.orValue(false)
? [JSONPatch{{op: 'remove', path: '/metadata/labels/' + jsonpatch.escapeKey('{SUSPENDED_LABEL}')}}]
: [JSONPatch{{op: 'add', path: '/spec/suspend', value: true}}]
+ (has(object.metadata.labels)
  ? [JSONPatch{{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('{SUSPENDED_LABEL}'), value: 'true'}}]
  : [JSONPatch{{op: 'add', path: '/metadata/labels', value: {{'{SUSPENDED_LABEL}': 'true'}}}}])"
    );
    mutating(name, &scope, &[("not-cleared", condition)], patch, "Never")
}

/// Whether a queue or a controller sets `spec.suspend` of the Job, and not its user. The result must be false exactly
/// if `policy::Suspender` is `User`.
fn suspended_by_others() -> String {
    let labels = QUEUE_LABELS.map(|label| format!("'{label}'")).join(", ");
    format!(
        "([{labels}].exists(label, label in object.metadata.?labels.orValue({{}}))
|| object.spec.?managedBy.orValue('{JOB_CONTROLLER}') != '{JOB_CONTROLLER}'
|| object.metadata.?ownerReferences.orValue([]).exists(owner, owner.?controller.orValue(false) && owner.kind != 'CronJob'))"
    )
}

/// Whether the request of a user suspends a Job that Assent has suspended already. `spec.suspend` is true before and
/// after the request, so only the form of the request shows the intent. Three forms count: a server-side apply, a
/// `kubectl apply`, and a `kubectl patch` without effect.
fn stays_suspended(applied_suspended: &str) -> String {
    let manager = "request.?options.?fieldManager.orValue('')";
    let applied = "metadata.?annotations[?'kubectl.kubernetes.io/last-applied-configuration'].orValue('')";
    format!(
        "{} && {} && object.spec.?suspend.orValue(false) && oldObject.spec.?suspend.orValue(false)
&& (object.metadata.?managedFields.orValue([]).exists(entry, entry.?operation.orValue('') == 'Apply'
      && entry.?manager.orValue('') == {manager} && entry.?fieldsV1[?'f:spec'][?'f:suspend'].hasValue())
  || object.{applied} != oldObject.{applied} && object.{applied}.matches(r'{applied_suspended}')
  || {manager} == 'kubectl-patch' && object.spec == oldObject.spec
    && object.metadata.?labels == oldObject.metadata.?labels
    && object.metadata.?annotations == oldObject.metadata.?annotations)",
        labelled("oldObject"),
        labelled("object"),
    )
}

fn labelled(job: &str) -> String {
    format!("({job} != null && '{SUSPENDED_LABEL}' in {job}.metadata.?labels.orValue({{}}))")
}
