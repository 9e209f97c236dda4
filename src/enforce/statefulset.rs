//! The state of a pod in its `StatefulSet`, and the order in which the pods of a set start and stop.
//!
//! - The operator evicts the pod with the highest ordinal first. It evicts the next pod when all pods with higher
//!   ordinals are gone, or when their share of the time for evictions is over.
//! - The operator releases the pod with the lowest ordinal first. It releases the next pod when the previous pod is
//!   ready or may not run. In a set with `podManagementPolicy: Parallel`, it releases all pods at once.
//! - The operator replaces a gated pod of an old revision. Otherwise, the set would wait for this pod without end:
//!   <https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#forced-rollback>.

use std::sync::Arc;

use k8s_openapi::{
    api::{apps::v1::StatefulSet, core::v1 as core},
    jiff::{SignedDuration, Timestamp},
};
use kube::ResourceExt;

use super::owner::OwnerRef;

/// The label of a pod with the name of its revision.
const REVISION_LABEL: &str = "controller-revision-hash";

/// The state of a pod in its `StatefulSet`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(super) ordinal: u32,
    pub(super) revision: Arc<str>,
    pub(super) ready: bool,
}

impl Member {
    /// The state of `pod` in its `StatefulSet`. `None` if `owner` is not a `StatefulSet`, or the name of `pod` has no
    /// ordinal.
    pub(super) fn of(pod: &core::Pod, owner: Option<&OwnerRef>) -> Option<Self> {
        let set =
            owner.filter(|owner| owner.kind == "StatefulSet" && owner.api_version.starts_with("apps/"))?;
        let ordinal = pod.name_any().strip_prefix(&set.name)?.strip_prefix('-')?.parse().ok()?;
        let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        Some(Self {
            ordinal,
            revision: pod.labels().get(REVISION_LABEL).map_or("", String::as_str).into(),
            ready: conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True"),
        })
    }
}

/// The fields of a `StatefulSet` that decisions read. The default is an ordered set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Set {
    parallel: bool,
    /// The first ordinal that gets the new revision, and the name of this revision. The `partition` of a rolling update
    /// counts from the first ordinal of the set. `None` if the revision is not known, or if the set has another update
    /// strategy.
    wanted: Option<(u32, String)>,
}

impl From<&StatefulSet> for Set {
    fn from(set: &StatefulSet) -> Self {
        let spec = &set.spec;
        let strategy = spec.update_strategy.as_ref();
        let rolling = strategy.and_then(|s| s.type_.as_deref()).is_none_or(|type_| type_ == "RollingUpdate");
        let partition = strategy.and_then(|s| s.rolling_update.as_ref()?.partition).unwrap_or_default();
        let first = spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or_default();
        let from = u32::try_from(first.saturating_add(partition)).unwrap_or_default();
        let status = set.status.as_ref().filter(|s| s.observed_generation == set.metadata.generation);
        let revision = status.and_then(|s| s.update_revision.clone()).filter(|_| rolling);
        Self {
            parallel: spec.pod_management_policy.as_deref() == Some("Parallel"),
            wanted: revision.map(|revision| (from, revision)),
        }
    }
}

impl Set {
    /// Whether the set starts all its pods at once, and not in order.
    pub(super) const fn is_parallel(&self) -> bool {
        self.parallel
    }

    /// Whether the set wants a pod of another revision instead of the gated pod `held`.
    pub(super) fn wants_another(&self, held: &Member) -> bool {
        self.wanted
            .as_ref()
            .is_some_and(|(from, revision)| held.ordinal >= *from && *held.revision != **revision)
    }
}

/// The instant at which the operator evicts the pod with `ordinal` after a loss of clearance at `since`. `running`
/// contains the ordinals of the running pods. Each running pod has an equal share of the time from `since` to `until`.
/// From `until` on, the operator deletes pods and ignores disruption budgets.
pub(super) fn stops_at(ordinal: u32, running: &[u32], since: Timestamp, until: Timestamp) -> Timestamp {
    let after = running.iter().filter(|other| **other > ordinal).count();
    let (after, all) =
        (i32::try_from(after).unwrap_or(i32::MAX), i32::try_from(running.len()).unwrap_or(i32::MAX));
    let span: SignedDuration = until.duration_since(since);
    since + span * after / all.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_counts_from_the_first_ordinal() {
        let set = |start: i32| {
            let set = serde_json::json!({ "metadata": { "generation": 1 }, "spec": { "ordinals": { "start": start },
                "selector": {}, "template": {}, "serviceName": "s",
                "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "partition": 1 } } },
                "status": { "observedGeneration": 1, "updateRevision": "new", "replicas": 3 } });
            Set::from(&serde_json::from_value::<StatefulSet>(set).expect("a StatefulSet"))
        };
        let held = |ordinal| Member { ordinal, revision: "old".into(), ready: false };
        assert!(!set(0).wants_another(&held(0)) && set(0).wants_another(&held(1)));
        assert!(!set(1).wants_another(&held(1)) && set(1).wants_another(&held(2)));
    }

    #[test]
    fn pods_stop_from_the_highest_ordinal_before_the_time_for_budgets_is_over() {
        let (since, until) = (Timestamp::UNIX_EPOCH, Timestamp::from_second(30).expect("in range"));
        let at = |ordinal, running: &[u32]| stops_at(ordinal, running, since, until).as_second();
        assert_eq!([2, 1, 0].map(|ordinal| at(ordinal, &[0, 1, 2])), [0, 10, 20]);
        assert_eq!(at(1, &[0, 1]), 0, "no pod waits for a pod that is gone");
        assert!((0..1000).all(|ordinal| at(ordinal, &(0..1000).collect::<Vec<_>>()) < 30));
    }
}
