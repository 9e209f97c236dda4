//! Jobs and `CronJobs`, with only the fields that decisions read.

use std::{fmt::Debug, sync::Arc};

use k8s_openapi::{
    api::{batch::v1 as batch, core::v1::PodTemplateSpec},
    apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry,
    jiff::Timestamp,
};
use kube::{Resource, ResourceExt, core::NamespaceResourceScope};
use serde::de::DeserializeOwned;

use super::super::{owner::OwnerRef, subject::EventSubject};
use crate::{
    api::{Runtime, SUSPENDED_LABEL, SYSTEM_LABEL, Scope, SharedRuntime},
    policy::{Accelerators, Suspender, Unmatchable, narrowest_scope, runtime_of_pod},
};

/// The field manager of the requests that suspend and resume Jobs.
pub(super) const MANAGER: &str = "assent-suspend";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Job,
    CronJob,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) namespace: String,
    pub(super) kind: Kind,
    pub(super) name: String,
}

#[derive(Debug)]
pub(super) struct Job {
    pub(super) uid: String,
    pub(super) resource_version: String,
    pub(super) owner: Option<Arc<OwnerRef>>,
    pub(super) system: Arc<str>,
    pub(super) runtime: Result<SharedRuntime, Unmatchable>,
    /// The narrowest scope that includes the pods of the Job.
    pub(super) scope: Scope,
    pub(super) created: Timestamp,
    pub(super) state: State,
    pub(super) suspender: Suspender,
    /// Whether the Job has [`SUSPENDED_LABEL`]. If a Job with this label runs, another user resumed the Job.
    pub(super) labelled: bool,
    pub(super) event_sent: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Runs,
    SuspendedByAssent,
    SuspendedByItsUser,
    /// The Job ended, or is being deleted.
    Done,
}

/// Whether a user also suspended a Job that Assent suspended, with a server-side apply. Then the operator and the user
/// both own the field `spec.suspend`, and only the user may resume the Job.
fn is_applied_by_others(entries: &[ManagedFieldsEntry]) -> bool {
    let suspends = |entry: &&ManagedFieldsEntry| {
        entry.fields_v1.as_ref().is_some_and(|fields| !fields.0["f:spec"]["f:suspend"].is_null())
    };
    let is_own = |entry: &ManagedFieldsEntry| entry.manager.as_deref() == Some(MANAGER);
    let (own, others): (Vec<_>, Vec<_>) = entries.iter().filter(suspends).partition(|entry| is_own(entry));
    !own.is_empty() && others.iter().any(|entry| entry.operation.as_deref() == Some("Apply"))
}

pub(super) trait Suspendable:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned
{
    const KIND: Kind;
    fn template(&self) -> Option<&PodTemplateSpec>;
    fn is_suspended(&self) -> bool;
    fn is_done(&self) -> bool;
    fn suspender(&self) -> Suspender;

    fn read(&self, accelerators: &Accelerators) -> Job {
        let template = self.template();
        let metadata = template.and_then(|template| template.metadata.clone()).unwrap_or_default();
        let labelled = self.labels().contains_key(SUSPENDED_LABEL);
        let state = match (self.is_suspended(), labelled) {
            _ if self.is_done() || self.meta().deletion_timestamp.is_some() => State::Done,
            (false, _) => State::Runs,
            (true, true) if !is_applied_by_others(self.managed_fields()) => State::SuspendedByAssent,
            (true, _) => State::SuspendedByItsUser,
        };
        Job {
            uid: self.uid().unwrap_or_default(),
            resource_version: self.resource_version().unwrap_or_default(),
            owner: OwnerRef::of(self).map(Arc::new),
            system: metadata
                .labels
                .as_ref()
                .and_then(|l| l.get(SYSTEM_LABEL))
                .map_or("", String::as_str)
                .into(),
            runtime: template
                .and_then(|t| {
                    Some((t.metadata.as_ref().and_then(|m| m.annotations.as_ref()), t.spec.as_ref()?))
                })
                .map_or_else(
                    || Ok(Runtime::default()),
                    |(annotations, spec)| runtime_of_pod(annotations, spec),
                )
                .map(SharedRuntime::from),
            scope: template
                .and_then(|t| t.spec.as_ref())
                .map_or(Scope::All, |spec| narrowest_scope(&metadata, spec, accelerators)),
            created: self.creation_timestamp().map_or(Timestamp::UNIX_EPOCH, |at| at.0),
            state,
            suspender: self.suspender(),
            labelled,
            event_sent: false,
        }
    }
}

impl Suspendable for batch::Job {
    const KIND: Kind = Kind::Job;

    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref().map(|spec| &spec.template)
    }

    fn is_suspended(&self) -> bool {
        self.spec.as_ref().and_then(|spec| spec.suspend).unwrap_or_default()
    }

    fn is_done(&self) -> bool {
        let conditions = self.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.into_iter().any(|c| matches!(&*c.type_, "Complete" | "Failed") && c.status == "True")
    }

    fn suspender(&self) -> Suspender {
        Suspender::of(self)
    }
}

impl Suspendable for batch::CronJob {
    const KIND: Kind = Kind::CronJob;

    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.job_template.spec.as_ref().map(|spec| &spec.template)
    }

    fn is_suspended(&self) -> bool {
        self.spec.suspend.unwrap_or_default()
    }

    fn is_done(&self) -> bool {
        false
    }

    fn suspender(&self) -> Suspender {
        Suspender::User
    }
}

pub(super) fn key<K: Suspendable>(object: &impl ResourceExt) -> Key {
    Key { namespace: object.namespace().unwrap_or_default(), kind: K::KIND, name: object.name_any() }
}

pub(super) fn subject<'a>(key: &'a Key, job: &'a Job) -> EventSubject<'a> {
    EventSubject {
        api_version: "batch/v1",
        kind: match key.kind {
            Kind::Job => "Job",
            Kind::CronJob => "CronJob",
        },
        namespace: &key.namespace,
        name: &key.name,
        uid: job.uid.as_str().into(),
        owner: job.owner.as_ref(),
        system: &job.system,
        runtime: &job.runtime,
    }
}
