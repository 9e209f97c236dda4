//! Announces a rejection or revocation when it begins to count. Each version to which the decision applies gets an
//! Event, and the system gets an Event too.
//!
//! A decision begins to count if its new status says so, and its stored status does not. Until the watch delivers the
//! new status, [`Objections`] remembers the announcement, so that no later compile announces the decision again.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType};

use super::{
    by_namespace::ByNamespace,
    index::{Cached, NamespaceFacts},
    status::Statuses,
};
use crate::{
    api::{Approval, ConditionState, Decision, condition_states},
    policy::approver_of,
    truncate::{note, plain},
};

/// The maximum number of decisions that one compile announces. A further decision usually gets no Event. The same
/// compile writes its status, so the next compile finds that the decision counted before.
const AT_ONCE: usize = 16;

/// The maximum number of versions with the same content that get an Event for one decision.
const VERSIONS: usize = 8;

/// The names of announced decisions, by namespace. A name stays until the cached status of the decision says that it
/// counts.
#[derive(Debug, Default)]
pub struct Objections(ByNamespace<BTreeSet<String>>);

pub struct Announcement {
    pub event: Event,
    pub about: Vec<ObjectReference>,
}

impl Objections {
    /// The Events about decisions that count in `statuses` and did not count before.
    pub fn begun(&self, namespace: &str, facts: &NamespaceFacts, statuses: &Statuses) -> Vec<Announcement> {
        let mut pending = self.0.take(namespace);
        let counted_before = |approval: &Cached<Approval>| {
            approval.status.as_ref().is_some_and(|status| is_counted(&status.conditions))
        };
        pending.retain(|name| facts.approvals.get(name).is_some_and(|approval| !counted_before(approval)));
        let begins = |approval: &&Cached<Approval>| {
            approval.spec.decision.withholds()
                && !counted_before(approval)
                && !pending.contains(&approval.name)
                && statuses
                    .approvals
                    .get(&approval.name)
                    .is_some_and(|status| is_counted(&condition_states(&status.conditions)))
        };
        let begun: Vec<_> =
            facts.approvals.values().map(AsRef::as_ref).filter(begins).take(AT_ONCE).collect();
        pending.extend(begun.iter().map(|approval| approval.name.clone()));
        if !pending.is_empty() {
            self.0.put(namespace, pending);
        }
        let announcement = |approval| Announcement {
            event: event(namespace, facts, approval),
            about: subjects(namespace, facts, statuses, approval),
        };
        begun.into_iter().map(announcement).collect()
    }

    pub fn forget(&self, namespace: &str) {
        self.0.forget(namespace);
    }
}

fn is_counted(conditions: &[ConditionState]) -> bool {
    conditions.iter().any(|condition| condition.type_ == "Counted" && condition.status == "True")
}

/// The versions to which the decision applies by name or by digest, at most [`VERSIONS`], and the system.
fn subjects(
    namespace: &str,
    facts: &NamespaceFacts,
    statuses: &Statuses,
    approval: &Cached<Approval>,
) -> Vec<ObjectReference> {
    let spec = &approval.spec;
    let is_subject = |name: &str| {
        let digest = statuses.versions.get(name).and_then(|status| status.subject_digest.as_ref());
        name == spec.model_version || digest == Some(&spec.subject_digest)
    };
    let versions = facts.versions.values().filter(|v| v.spec.system == spec.system && is_subject(&v.name));
    let versions = versions.take(VERSIONS).map(|version| version.reference(namespace));
    versions.chain(facts.systems.get(&spec.system).map(|system| system.reference(namespace))).collect()
}

fn event(namespace: &str, facts: &NamespaceFacts, approval: &Cached<Approval>) -> Event {
    let spec = &approval.spec;
    let (reason, done, action) = if spec.decision == Decision::Revoke {
        ("Revoked", "revoked", "Revoke")
    } else {
        ("Rejected", "rejected", "Reject")
    };
    let approver = approver_of(approval, &facts.roles);
    let who = approver.as_ref().map_or("an unknown person", |approver| &*approver.user);
    let why = spec.reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    let version = &spec.model_version;
    let what = format!("{version} was {done} by {who} as {}{why}", spec.role);
    let next = format!("; see: kubectl assent explain modelversion/{version} -n {namespace}");
    Event {
        type_: EventType::Warning,
        reason: reason.to_owned(),
        note: Some(note(plain(&what).into_owned(), &next)),
        action: action.to_owned(),
        // `secondary` makes the Events of two decisions different. Otherwise, the recorder would merge two Events with
        // equal notes.
        secondary: Some(approval.reference(namespace)),
    }
}
