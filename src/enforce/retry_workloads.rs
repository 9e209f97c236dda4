//! Makes controllers retry at once after the API server refused their pods. The back-off of a controller is up to 15
//! minutes, which is too long after an approval. A controller reconciles a changed workload at once, so the operator
//! changes the annotation `assent.dev/poked` of the workload.
//!
//! The operator does this if a Clearance clears one more version, if its trusted additions change, or if its namespace
//! begins or ends to enforce. It changes the `ReplicaSets`, `StatefulSets`, `DaemonSets` and Jobs that lack pods.
//!
//! The API server refuses pods that it cannot hold. It cannot hold pods before Kubernetes 1.36, or before a new
//! namespace has its `Clearance`. It also cannot hold a pod if a webhook changes the pod after the mutating policy
//! `assent-gate` found the pod cleared.
//!
//! The operator makes a controller retry several times, because the policies of the API server read a new Clearance
//! late. Otherwise, a refusal of the first retry would double the back-off of the controller.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, ReplicaSet, StatefulSet},
        batch::v1::Job,
        core::v1::PodTemplateSpec,
    },
    jiff::{SignedDuration, Timestamp},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ListParams, Patch, PatchParams},
    core::NamespaceResourceScope,
    runtime::watcher::Event,
};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::{
    api::{
        CLEARANCE_NAME, Clearance, ClearanceSpec, ClearedVersion, Digest, Mode, POKED_ANNOTATION,
        SYSTEM_LABEL, Trusted,
    },
    timer::sleep_until_opt,
    watch::{Lenient, Timers, Watches},
};

/// The delay of each retry after a change of a Clearance.
const RETRY_DELAYS: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(15),
];

/// The delay of each retry after the start of the operator. An earlier operator may have ended before its last retry.
const START_DELAYS: [Duration; 1] = [Duration::from_secs(2)];

/// The operator changes only workloads that are older than this. The controller of a younger workload still retries
/// quickly by itself.
const MINIMUM_AGE: SignedDuration = SignedDuration::from_secs(5);

/// The maximum number of namespaces that the operator handles at the same time, and of workloads in each namespace.
const CONCURRENCY: usize = 8;

/// Makes controllers retry until `shutdown`.
pub(crate) async fn run(client: Client, watches: &Arc<Watches>, shutdown: impl Future<Output = ()>) {
    let mut clearances = watches.all::<Clearance>().boxed();
    let mut retries = Retries::default();
    tokio::pin!(shutdown);
    loop {
        let next = retries.timers.next();
        tokio::select! {
            () = &mut shutdown => break,
            Some(event) = clearances.next() => retries.apply(event, Instant::now()),
            () = sleep_until_opt(next) => {
                let due = stream::iter(retries.due(Instant::now()));
                due.for_each_concurrent(CONCURRENCY, |(namespace, groups)| retry(&client, namespace, groups)).await;
            }
        }
    }
}

/// A group of workloads in one namespace. The operator makes the controllers of these workloads retry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    System(String),
    All,
}

impl Group {
    fn includes(&self, template: &PodTemplateSpec) -> bool {
        let labels = template.metadata.as_ref().and_then(|metadata| metadata.labels.as_ref());
        match self {
            Self::All => true,
            Self::System(system) => labels.and_then(|labels| labels.get(SYSTEM_LABEL)) == Some(system),
        }
    }
}

/// The content of a Clearance that decides about retries: the cleared digests by system, and the trusted
/// additions.
#[derive(Clone, Debug, Default)]
struct Cleared {
    systems: BTreeMap<String, BTreeSet<Digest>>,
    trusted: Trusted,
}

impl From<&ClearanceSpec> for Cleared {
    fn from(clearance: &ClearanceSpec) -> Self {
        let digests =
            |versions: &[ClearedVersion]| versions.iter().map(|v| v.subject_digest.clone()).collect();
        let systems = clearance.systems.iter();
        Self {
            systems: systems.map(|(name, system)| (name.clone(), digests(&system.cleared))).collect(),
            trusted: clearance.trusted.clone(),
        }
    }
}

impl Cleared {
    /// The groups of workloads whose pods the API server may admit with this Clearance, although it may have refused
    /// them with the Clearance `before`.
    fn more_than(&self, before: &Self) -> Vec<Group> {
        if self.trusted != before.trusted {
            return vec![Group::All];
        }
        let has_more = |(system, digests): &(&String, &BTreeSet<Digest>)| {
            let before = before.systems.get(*system);
            !digests.is_empty() && before.is_none_or(|before| !digests.is_subset(before))
        };
        let systems = self.systems.iter().filter(has_more);
        systems.map(|(system, _)| Group::System(system.clone())).collect()
    }
}

#[derive(Debug, Default)]
struct Retries {
    governed: BTreeMap<String, Cleared>,
    timers: Timers<Instant, (String, Group)>,
}

impl Retries {
    fn apply(&mut self, event: Event<Lenient<Clearance>>, now: Instant) {
        match event {
            Event::InitApply(Lenient(Ok(clearance))) => self.clearance(&clearance, now, &START_DELAYS),
            Event::Apply(Lenient(Ok(clearance))) => self.clearance(&clearance, now, &RETRY_DELAYS),
            Event::Delete(clearance) => self.ungoverned(&clearance.namespace().unwrap_or_default(), now),
            // The leader replaces a Clearance that this program cannot read, and the replacement causes another event.
            Event::Init | Event::InitDone | Event::InitApply(_) | Event::Apply(_) => {}
        }
    }

    fn clearance(&mut self, clearance: &Clearance, now: Instant, first_delays: &[Duration]) {
        if clearance.name_any() != CLEARANCE_NAME {
            return;
        }
        let namespace = clearance.namespace().unwrap_or_default();
        if clearance.spec.mode != Some(Mode::Enforce) {
            return self.ungoverned(&namespace, now);
        }
        let cleared = Cleared::from(&clearance.spec);
        match self.governed.insert(namespace.clone(), cleared.clone()) {
            None => self.schedule(&namespace, &Group::All, now, first_delays),
            Some(before) => {
                for group in cleared.more_than(&before) {
                    self.schedule(&namespace, &group, now, &RETRY_DELAYS);
                }
            }
        }
    }

    fn ungoverned(&mut self, namespace: &str, now: Instant) {
        if self.governed.remove(namespace).is_some() {
            self.schedule(namespace, &Group::All, now, &RETRY_DELAYS);
        }
    }

    fn schedule(&mut self, namespace: &str, group: &Group, now: Instant, delays: &[Duration]) {
        for delay in delays {
            self.timers.add(now + *delay, (namespace.to_owned(), group.clone()));
        }
    }

    fn due(&mut self, now: Instant) -> BTreeMap<String, BTreeSet<Group>> {
        let mut due: BTreeMap<String, BTreeSet<Group>> = BTreeMap::new();
        for (namespace, group) in self.timers.take(now) {
            due.entry(namespace).or_default().insert(group);
        }
        due
    }
}

/// A workload whose controller creates pods.
trait Controller:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug
{
    fn template(&self) -> Option<&PodTemplateSpec>;
    /// Whether the workload lacks pods that its controller should create now.
    fn lacks_pods(&self) -> bool;
}

impl Controller for ReplicaSet {
    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.template.as_ref()
    }

    fn lacks_pods(&self) -> bool {
        let Some(status) = &self.status else { return false };
        let conditions = status.conditions.iter().flatten();
        let is_refusal = |kind: Option<&str>, status: Option<&str>| {
            (kind, status) == (Some("ReplicaFailure"), Some("True"))
        };
        let was_refused = conditions.into_iter().any(|c| is_refusal(c.type_.as_deref(), c.status.as_deref()));
        was_refused && status.replicas < self.spec.replicas.unwrap_or(1)
    }
}

impl Controller for StatefulSet {
    fn template(&self) -> Option<&PodTemplateSpec> {
        Some(&self.spec.template)
    }

    fn lacks_pods(&self) -> bool {
        let Some(status) = &self.status else { return true };
        // An ordered set creates its next pod only after all its other pods are ready.
        let is_due = self.spec.pod_management_policy.as_deref() == Some("Parallel")
            || status.ready_replicas.unwrap_or(0) >= status.replicas;
        is_due && status.replicas < self.spec.replicas.unwrap_or(1)
    }
}

impl Controller for DaemonSet {
    fn template(&self) -> Option<&PodTemplateSpec> {
        Some(&self.spec.template)
    }

    fn lacks_pods(&self) -> bool {
        let status = self.status.as_ref();
        status.is_none_or(|status| status.current_number_scheduled < status.desired_number_scheduled)
    }
}

impl Controller for Job {
    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref().map(|spec| &spec.template)
    }

    fn lacks_pods(&self) -> bool {
        let Some(spec) = &self.spec else { return false };
        let status = self.status.clone().unwrap_or_default();
        let ended = status.conditions.unwrap_or_default().into_iter();
        let ended = ended.filter(|c| c.status == "True").any(|c| matches!(&*c.type_, "Complete" | "Failed"));
        let left = spec.completions.map(|completions| completions - status.succeeded.unwrap_or(0));
        let wanted = spec.parallelism.unwrap_or(1).min(left.unwrap_or(i32::MAX));
        !ended && spec.suspend != Some(true) && status.active.unwrap_or(0) < wanted
    }
}

async fn retry(client: &Client, namespace: String, groups: BTreeSet<Group>) {
    let retried = async {
        retry_all::<ReplicaSet>(client, &namespace, &groups).await?;
        retry_all::<StatefulSet>(client, &namespace, &groups).await?;
        retry_all::<DaemonSet>(client, &namespace, &groups).await?;
        retry_all::<Job>(client, &namespace, &groups).await
    };
    if let Err(error) = retried.await {
        warn!(namespace, "cannot annotate workloads that lack pods: {error}; their controllers retry later");
    }
}

async fn retry_all<K: Controller>(
    client: &Client,
    namespace: &str,
    groups: &BTreeSet<Group>,
) -> Result<(), kube::Error> {
    let api: Api<Lenient<K>> = Api::namespaced(client.clone(), namespace);
    let all = api.list(&ListParams::default().match_any()).await?;
    let all = all.items.into_iter().filter_map(|object| object.0.ok());
    let is_included = |object: &K| {
        object.template().is_some_and(|template| groups.iter().any(|group| group.includes(template)))
    };
    let old_enough = Timestamp::now() - MINIMUM_AGE;
    let is_old = |object: &K| object.creation_timestamp().is_none_or(|created| created.0 < old_enough);
    let lacking = all.filter(|object| object.lacks_pods() && is_old(object) && is_included(object)).map(Ok);
    let patch =
        Patch::Merge(json!({ "metadata": { "annotations": { POKED_ANNOTATION: Timestamp::now() } } }));
    stream::iter(lacking)
        .try_for_each_concurrent(CONCURRENCY, async |object| {
            let name = object.name_any();
            info!(namespace, kind = &*K::kind(&()), name, "lacks pods; making its controller retry");
            match api.patch(&name, &PatchParams::default(), &patch).await {
                Err(kube::Error::Api(answer)) if answer.code == 404 => Ok(()),
                answer => answer.map(drop),
            }
        })
        .await
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn clearance(spec: &Value) -> Lenient<Clearance> {
        let clearance = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "Clearance",
            "metadata": { "name": "clearance", "namespace": "n" }, "spec": spec });
        Lenient(Ok(serde_json::from_value(clearance).expect("a Clearance")))
    }

    fn spec(digits: &str, trusted: &Value) -> Value {
        let version = |digit: char| {
            json!({ "modelVersion": "v", "subjectDigest": format!("sha256:{}", digit.to_string().repeat(64)),
                "notAfter": "2030-01-01T00:00:00Z", "runtime": { "containers": [] } })
        };
        let cleared: Vec<_> = digits.chars().map(version).collect();
        json!({ "mode": "enforce", "trusted": trusted, "systems": { "s": { "cleared": cleared } } })
    }

    /// The number of retries that the events schedule, by group.
    fn scheduled(events: Vec<Event<Lenient<Clearance>>>) -> Vec<(Group, usize)> {
        let (mut retries, now) = (Retries::default(), Instant::now());
        for event in events {
            retries.apply(event, now);
        }
        let mut count = BTreeMap::new();
        for (_, group) in retries.timers.take(now + Duration::from_mins(1)) {
            *count.entry(group).or_insert(0) += 1;
        }
        count.into_iter().collect()
    }

    #[test]
    fn workloads_retry_only_when_more_pods_may_be_admitted() {
        let none = json!({});
        let sidecar = json!({ "containers": [{ "name": "mesh", "image": "mesh:1" }] });
        let start = |digits: &str| Event::InitApply(clearance(&spec(digits, &none)));
        let after = |digits: &str, trusted: &Value| {
            let next = Event::Apply(clearance(&spec(digits, trusted)));
            scheduled(vec![start("12"), next])
        };
        let started = (Group::All, START_DELAYS.len());
        let only_started = std::slice::from_ref(&started);
        assert_eq!(after("12", &none), only_started, "nothing changed");
        assert_eq!(after("1", &none), only_started, "one version fewer is cleared");
        let system = (Group::System("s".to_owned()), RETRY_DELAYS.len());
        assert_eq!(after("123", &none), [system, started.clone()]);
        assert_eq!(
            after("12", &sidecar),
            [(Group::All, RETRY_DELAYS.len())],
            "the retry after the start has the time of one of them"
        );
        assert_eq!(scheduled(vec![start("12"), start("12")]), [started], "the watch listed again");
        let new = Event::Apply(clearance(&spec("", &none)));
        assert_eq!(scheduled(vec![new]), [(Group::All, RETRY_DELAYS.len())]);
    }
}
