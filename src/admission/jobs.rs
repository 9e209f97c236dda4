//! Jobs and `CronJobs`: suspended unless cleared, so that what they promise does not run down meanwhile.
//!
//! A Job whose pods were held would use up its `activeDeadlineSeconds`, and a `CronJob` would pile up Jobs
//! that all start at once on the approval. Suspension is a comfort and no guard: whatever a Job makes,
//! the policies on pods decide about. So a missing `Clearance` refuses nothing here.
//!
//! ```text
//!  not suspended, not cleared ─► suspended, label on     of a queue or a controller: only if the label was on
//!  suspended, with the label  ─► label off               if the request says that it is to stay suspended
//! ```

use super::{
    Operator, PolicyObject,
    cel::{cleared_versions, matches},
    policy_object::{MatchScope, ParamUse, mutating},
    scope_cel::governs,
};
use crate::{
    api::SUSPENDED_LABEL,
    policy::{JOB_CONTROLLER, QUEUE_LABELS},
};

/// What `kubectl apply` writes of a Job or a `CronJob` whose manifest suspends it. Its JSON has sorted keys, and
/// a nested `suspend` does not stand beside these.
const JOB_IS_SUSPENDED: &str = r#""suspend":true,"template":[{]"#;
const CRON_JOB_IS_SUSPENDED: &str = r#""schedule":"[^"]*"(,"startingDeadlineSeconds":[0-9]+)?(,"successfulJobsHistoryLimit":[0-9]+)?,"suspend":true"#;

pub(super) fn policies(operator: &Operator) -> Vec<PolicyObject> {
    let jobs = suspend(
        "assent-job",
        &["jobs"],
        "object.spec.template",
        operator,
        (&format!("(!{} || {})", others_suspend(), labelled("oldObject")), JOB_IS_SUSPENDED),
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

/// On updates too: whoever applies `suspend: false` for ever, sees it as it was applied to what is held,
/// and need not apply it again.
fn suspend(
    name: &str,
    resources: &'static [&'static str],
    template: &str,
    operator: &Operator,
    (ours, applied_suspended): (&str, &str),
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
        "({due} && {ours} && {} && !{}.exists(version, {}))
|| ({})",
        governs(template, &operator.accelerators),
        cleared_versions(template),
        matches(template),
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

/// Whether a queue or a controller suspends and resumes the Job: the same as `policy::Suspender`.
fn others_suspend() -> String {
    let labels = QUEUE_LABELS.map(|label| format!("'{label}'")).join(", ");
    format!(
        "([{labels}].exists(label, label in object.metadata.?labels.orValue({{}}))
|| object.spec.?managedBy.orValue('{JOB_CONTROLLER}') != '{JOB_CONTROLLER}'
|| object.metadata.?ownerReferences.orValue([]).exists(owner, owner.?controller.orValue(false) && owner.kind != 'CronJob'))"
    )
}

/// Whether the request asks to suspend what Assent has suspended. That changes nothing in the stored object, so it
/// shows in the request only: by server-side apply, by `kubectl apply`, or by a `kubectl patch` without effect.
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
