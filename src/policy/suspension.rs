//! Determines who sets `spec.suspend` of a Job besides Assent: the user, a queue, or the controller that created the
//! Job.

use std::collections::BTreeMap;

use k8s_openapi::{api::batch::v1 as batch, apimachinery::pkg::apis::meta::v1::OwnerReference};

/// The labels that mark the workloads of a queue. The queue suspends a workload, and resumes it when capacity is free.
pub const QUEUE_LABELS: [&str; 1] = ["kueue.x-k8s.io/queue-name"];

/// The API groups of controllers that suspend their Jobs and resume them automatically.
pub const SUSPENDING_GROUPS: [&str; 2] = ["jobset.x-k8s.io", "kubeflow.org"];

/// The value of `spec.managedBy` with which the Job controller of Kubernetes manages a Job. Without `spec.managedBy`,
/// the Job controller manages the Job too.
pub const JOB_CONTROLLER: &str = "kubernetes.io/job-controller";

/// The party that sets `spec.suspend` of a Job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspender {
    /// The user of the Job. Besides the user, only Assent sets `spec.suspend`.
    User,
    /// The controller that created the Job. Assent does not know whether this controller resumes Jobs that another
    /// party suspended.
    Owner,
    /// A queue or a controller that suspends the Job and resumes it automatically.
    Manager,
}

impl Suspender {
    /// The party that sets `spec.suspend` of `job`.
    pub fn of(job: &batch::Job) -> Self {
        let metadata = &job.metadata;
        let managed_by = job.spec.as_ref().and_then(|spec| spec.managed_by.as_deref());
        let owners = metadata.owner_references.iter().flatten();
        let owner = owners.into_iter().find(|owner| owner.controller == Some(true));
        match owner {
            _ if metadata.labels.as_ref().is_some_and(is_queued) => Self::Manager,
            _ if managed_by.is_some_and(|manager| manager != JOB_CONTROLLER) => Self::Manager,
            Some(owner) if is_suspending(owner) => Self::Manager,
            Some(owner) if owner.kind != "CronJob" => Self::Owner,
            _ => Self::User,
        }
    }
}

/// Whether a queue manages an object with these labels.
pub fn is_queued(labels: &BTreeMap<String, String>) -> bool {
    QUEUE_LABELS.iter().any(|label| labels.contains_key(*label))
}

fn is_suspending(owner: &OwnerReference) -> bool {
    let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
    SUSPENDING_GROUPS.contains(&group)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn labels_owners_and_managed_by_show_who_suspends_a_job() {
        let of = |metadata: Value, spec: Value| {
            let job = json!({ "metadata": metadata, "spec": spec });
            Suspender::of(&serde_json::from_value(job).expect("a Job"))
        };
        let (spec, managed) =
            (json!({ "template": {} }), |by: &str| json!({ "template": {}, "managedBy": by }));
        let owned = |api_version: &str, kind: &str| json!({ "ownerReferences": [{ "apiVersion": api_version, "kind": kind, "name": "n", "uid": "1", "controller": true }] });
        assert_eq!(of(json!({}), spec.clone()), Suspender::User);
        assert_eq!(of(json!({}), managed(JOB_CONTROLLER)), Suspender::User);
        assert_eq!(of(json!({}), managed("kueue.x-k8s.io/multikueue")), Suspender::Manager);
        assert_eq!(of(owned("batch/v1", "CronJob"), spec.clone()), Suspender::User);
        assert_eq!(of(owned("jobset.x-k8s.io/v1alpha2", "JobSet"), spec.clone()), Suspender::Manager);
        assert_eq!(of(owned("made-up.example/v1", "Batch"), spec.clone()), Suspender::Owner);
        assert_eq!(
            of(json!({ "labels": { "kueue.x-k8s.io/queue-name": "main" } }), spec),
            Suspender::Manager
        );
    }
}
