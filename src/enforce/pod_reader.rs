//! Converts the pods of the API server to [`Pod`]s. To save memory, pods with the same owner, system, node or runtime
//! share one copy of this value.

use std::{collections::HashSet, hash::Hash, sync::Arc};

use k8s_openapi::{api::core::v1 as core, jiff::Timestamp};
use kube::ResourceExt;

use super::{
    deadline::Life,
    owner::OwnerRef,
    pod::{Deletion, KeptBy, Pod, PodKey, has_ended},
    statefulset::Member,
};
use crate::{
    api::{GATE, Runtime, SYSTEM_LABEL, Scope, SharedRuntime},
    images::Signs,
    policy::{narrowest_scope, runtime_of_pod},
};

/// The number of shared values at which the reader drops unused values for the first time.
const PRUNE_AT: usize = 1024;

/// The values that pods share, each stored once.
#[derive(Debug)]
struct Shared<T: ?Sized>(HashSet<Arc<T>>);

impl<T: ?Sized + Hash + Eq> Shared<T>
where
    Arc<T>: std::borrow::Borrow<T>,
{
    fn get(&mut self, value: Arc<T>) -> Arc<T> {
        if let Some(known) = self.0.get(&*value) {
            return Arc::clone(known);
        }
        self.0.insert(Arc::clone(&value));
        value
    }

    /// Drops the values that no pod uses.
    fn prune(&mut self) {
        self.0.retain(|value| Arc::strong_count(value) > 1);
    }
}

#[derive(Debug)]
pub(super) struct PodReader {
    texts: Shared<str>,
    owners: Shared<OwnerRef>,
    prune_at: usize,
    signs: Signs,
}

impl PodReader {
    /// A reader that recognises the pods of AI workloads by `signs`.
    pub(super) fn new(signs: Signs) -> Self {
        Self { texts: Shared(HashSet::new()), owners: Shared(HashSet::new()), prune_at: PRUNE_AT, signs }
    }

    pub(super) fn text(&mut self, text: &str) -> Arc<str> {
        self.texts.get(text.into())
    }

    pub(super) fn key(&mut self, namespace: &str, name: &str) -> PodKey {
        PodKey { namespace: self.text(namespace), name: name.into() }
    }

    pub(super) fn read(&mut self, pod: &core::Pod) -> Pod {
        self.prune();
        let spec = pod.spec.as_ref();
        let gates = spec.iter().flat_map(|spec| spec.scheduling_gates.iter().flatten());
        let owner = OwnerRef::of(pod).map(|owner| self.owners.get(Arc::new(owner)));
        let runtime = spec
            .map_or_else(|| Ok(Runtime::default()), |spec| runtime_of_pod(Some(pod.annotations()), spec))
            .map(SharedRuntime::from);
        let termination_grace = seconds(spec.and_then(|spec| spec.termination_grace_period_seconds), 30);
        let probes = spec.into_iter().flat_map(probe_graces).max();
        Pod {
            uid: pod.uid().unwrap_or_default().into(),
            system: self.text(pod.labels().get(SYSTEM_LABEL).map_or("", String::as_str)),
            runtime,
            member: Member::of(pod, owner.as_deref()).map(Box::new),
            life: Life::of(pod, owner.as_deref()),
            owner,
            gated: gates.into_iter().any(|gate| gate.name == GATE),
            scope: spec
                .map_or(Scope::All, |spec| narrowest_scope(&pod.metadata, spec, &self.signs.accelerators)),
            suspect: spec.is_some_and(|spec| self.signs.suspect(&pod.metadata, spec)),
            ended: has_ended(pod),
            ending: pod.metadata.deletion_timestamp.as_ref().map(|at| Box::new(self.ending(pod, at.0))),
            created: pod.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |at| at.0),
            termination_grace,
            longest_grace: termination_grace.max(seconds(probes, 0)),
            notes: None,
        }
    }

    fn ending(&mut self, pod: &core::Pod, at: Timestamp) -> Deletion {
        let with = pod.metadata.deletion_grace_period_seconds.and_then(|s| u32::try_from(s).ok());
        Deletion { at, with, kept_by: self.kept_by(pod) }
    }

    fn kept_by(&mut self, pod: &core::Pod) -> KeptBy {
        // After the containers end, the kubelet deletes the pod with a grace period of zero. After that, only
        // finalizers can prevent the removal of the pod.
        let ended = pod.metadata.deletion_grace_period_seconds == Some(0);
        match pod.finalizers() {
            finalizers if ended && !finalizers.is_empty() => {
                KeptBy::Finalizers(self.text(&finalizers.join(", ")))
            }
            _ => {
                let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
                KeptBy::Node(self.text(node))
            }
        }
    }

    fn prune(&mut self) {
        if self.owners.0.len() + self.texts.0.len() > self.prune_at {
            self.owners.prune();
            self.texts.prune();
            self.prune_at = PRUNE_AT + 2 * (self.owners.0.len() + self.texts.0.len());
        }
    }
}

/// A number of seconds in the spec of a pod, or `default` if the spec has none. As in Kubernetes, a negative
/// number counts as one second.
fn seconds(value: Option<i64>, default: u32) -> u32 {
    value.map_or(default, |seconds| if seconds < 0 { 1 } else { u32::try_from(seconds).unwrap_or(u32::MAX) })
}

/// The termination grace periods of liveness and startup probes. A failure of such a probe stops the container.
fn probe_graces(spec: &core::PodSpec) -> impl Iterator<Item = i64> {
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let probes = containers.flat_map(|container| [&container.liveness_probe, &container.startup_probe]);
    probes.flatten().filter_map(|probe| probe.termination_grace_period_seconds)
}
