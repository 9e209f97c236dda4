//! Jobs and `CronJobs`: suspended unless cleared, so that what they promise does not run down meanwhile.
//!
//! A Job whose pods were held would use up its `activeDeadlineSeconds`, and a `CronJob` would pile up Jobs
//! that all start at once on the approval. Suspension is a comfort and no guard: whatever a Job makes,
//! the policies on pods decide about. So a missing `Clearance` refuses nothing here.

use super::{
    Manifest, Operator,
    cleared::{cleared_versions, matches},
    governed::governs,
    manifest::{Clearance, Scope, mutating},
};
use crate::api::SUSPENDED_LABEL;

pub(super) fn policies(operator: &Operator) -> Vec<Manifest> {
    let jobs = suspend("assent-job", &["jobs"], "object.spec.template", operator);
    let cron_jobs =
        suspend("assent-cronjob", &["cronjobs"], "object.spec.jobTemplate.spec.template", operator);
    jobs.into_iter().chain(cron_jobs).collect()
}

/// On updates too: whoever applies `suspend: false` for ever, sees it as it was applied to what is held,
/// and need not apply it again.
fn suspend(
    name: &str,
    resources: &'static [&'static str],
    template: &str,
    operator: &Operator,
) -> [Manifest; 2] {
    let scope = Scope {
        group: "batch",
        resources,
        also: &[],
        operations: &["CREATE", "UPDATE"],
        enforced: true,
        label: None,
        clearance: Clearance::IfAny,
    };
    let due = "!object.spec.?suspend.orValue(false)
&& !has(object.metadata.deletionTimestamp)
&& !object.?status.?conditions.orValue([]).exists(c, c.type in ['Complete', 'Failed'] && c.status == 'True')";
    let condition = format!(
        "{due} && {} && !{}.exists(v, {})",
        governs(template, &operator.accelerators),
        cleared_versions(template),
        matches(template)
    );
    let patch = format!(
        "[JSONPatch{{op: 'add', path: '/spec/suspend', value: true}}]
+ (has(object.metadata.labels)
  ? [JSONPatch{{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('{SUSPENDED_LABEL}'), value: 'true'}}]
  : [JSONPatch{{op: 'add', path: '/metadata/labels', value: {{'{SUSPENDED_LABEL}': 'true'}}}}])"
    );
    mutating(name, &scope, &[("not-cleared", condition)], patch, "Never")
}
