//! Where the API server cannot hold a pod and refuses it, what makes the pod tries again after ever longer
//! waits, up to a quarter of an hour; who approves must not wait for that. A controller looks at once at an
//! object that changes: so those that lack pods are poked, with an annotation, when their system is cleared.
//!
//! ```text
//!  watch Clearance ─► newly cleared ─► timers ─► ReplicaSets, StatefulSets, DaemonSets and Jobs of the
//!                                     1, 2, 3 …  system that lack pods ─► annotation assent.dev/poked
//! ```
//!
//! More than once, because the API server's policies take a moment to see a new clearance, and a pod that is
//! refused once more makes the wait twice as long.

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
    jiff::Timestamp,
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
    api::{CLEARANCE_NAME, Clearance, Digest, Mode, POKED_ANNOTATION, SYSTEM_LABEL},
    timer::at,
    watch::{Lenient, Watches},
};

/// How long after the clearance.
const AFTER: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(15),
];

/// How many namespaces are looked at, and workloads poked, at the same time.
const CONCURRENCY: usize = 8;

/// Pokes until `shutdown`.
pub(crate) async fn run(client: Client, watches: &Arc<Watches>, shutdown: impl Future<Output = ()>) {
    let mut clearances = watches.all::<Clearance>().boxed();
    let mut poker = Poker::default();
    tokio::pin!(shutdown);
    loop {
        let next = poker.timers.first_key_value().map(|(at, _)| *at);
        tokio::select! {
            () = &mut shutdown => break,
            Some(event) = clearances.next() => poker.take_in(event, Instant::now()),
            () = at(next) => {
                let due = stream::iter(poker.due(Instant::now()));
                due.for_each_concurrent(CONCURRENCY, |(namespace, whose)| poke(&client, namespace, whose)).await;
            }
        }
    }
}

/// Whose workloads are poked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Whose {
    /// Those of one system.
    System(String),
    /// Everybody's, because nobody governs the namespace any longer.
    All,
}

impl Whose {
    fn has(&self, template: &PodTemplateSpec) -> bool {
        let labels = template.metadata.as_ref().and_then(|metadata| metadata.labels.as_ref());
        match self {
            Self::All => true,
            Self::System(system) => labels.and_then(|labels| labels.get(SYSTEM_LABEL)) == Some(system),
        }
    }
}

/// What is cleared in a governed namespace, by system.
type Cleared = BTreeMap<String, BTreeSet<Digest>>;

#[derive(Debug, Default)]
struct Poker {
    governed: BTreeMap<String, Cleared>,
    timers: BTreeMap<Instant, BTreeMap<String, BTreeSet<Whose>>>,
}

impl Poker {
    fn take_in(&mut self, event: Event<Lenient<Clearance>>, now: Instant) {
        match event {
            // An operator that began anew does not know whom the one before it poked.
            Event::InitApply(Lenient(Ok(clearance))) | Event::Apply(Lenient(Ok(clearance))) => {
                self.clearance(&clearance, now);
            }
            Event::Delete(clearance) => self.ungoverned(&clearance.namespace().unwrap_or_default(), now),
            // The operator replaces a clearance that cannot be read.
            Event::Init | Event::InitDone | Event::InitApply(_) | Event::Apply(_) => {}
        }
    }

    fn clearance(&mut self, clearance: &Clearance, now: Instant) {
        if clearance.name_any() != CLEARANCE_NAME {
            return;
        }
        let namespace = clearance.namespace().unwrap_or_default();
        if clearance.spec.mode != Some(Mode::Enforce) {
            return self.ungoverned(&namespace, now);
        }
        let digests = |versions: &[_]| versions.iter().map(digest).collect::<BTreeSet<_>>();
        let systems = clearance.spec.systems.iter();
        let cleared: Cleared = systems.map(|(name, s)| (name.clone(), digests(&s.cleared))).collect();
        let before = self.governed.insert(namespace.clone(), cleared.clone()).unwrap_or_default();
        for (system, digests) in cleared {
            if before.get(&system).is_none_or(|before| !digests.is_subset(before)) && !digests.is_empty() {
                self.schedule(&namespace, &Whose::System(system), now);
            }
        }
    }

    fn ungoverned(&mut self, namespace: &str, now: Instant) {
        if self.governed.remove(namespace).is_some() {
            self.schedule(namespace, &Whose::All, now);
        }
    }

    fn schedule(&mut self, namespace: &str, whose: &Whose, now: Instant) {
        for after in AFTER {
            let due = self.timers.entry(now + after).or_default();
            due.entry(namespace.to_owned()).or_default().insert(whose.clone());
        }
    }

    fn due(&mut self, now: Instant) -> BTreeMap<String, BTreeSet<Whose>> {
        let later = self.timers.split_off(&(now + Duration::from_millis(1)));
        let mut due: BTreeMap<String, BTreeSet<Whose>> = BTreeMap::new();
        for (namespace, whose) in std::mem::replace(&mut self.timers, later).into_values().flatten() {
            due.entry(namespace).or_default().extend(whose);
        }
        due
    }
}

fn digest(version: &crate::api::ClearedVersion) -> Digest {
    version.subject_digest.clone()
}

/// A controller of pods, as far as it matters here.
trait Controller:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug
{
    fn template(&self) -> Option<&PodTemplateSpec>;
    /// Whether it has fewer pods than it is to have.
    fn lacks_pods(&self) -> bool;
}

impl Controller for ReplicaSet {
    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.template.as_ref()
    }

    fn lacks_pods(&self) -> bool {
        let wanted = self.spec.replicas.unwrap_or(1);
        self.status.as_ref().is_none_or(|status| status.replicas < wanted)
    }
}

impl Controller for StatefulSet {
    fn template(&self) -> Option<&PodTemplateSpec> {
        Some(&self.spec.template)
    }

    fn lacks_pods(&self) -> bool {
        let wanted = self.spec.replicas.unwrap_or(1);
        self.status.as_ref().is_none_or(|status| status.replicas < wanted)
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
        let wanted = spec.parallelism.unwrap_or(1);
        !ended && spec.suspend != Some(true) && status.active.unwrap_or(0) < wanted
    }
}

async fn poke(client: &Client, namespace: String, whose: BTreeSet<Whose>) {
    let poked = async {
        poke_all::<ReplicaSet>(client, &namespace, &whose).await?;
        poke_all::<StatefulSet>(client, &namespace, &whose).await?;
        poke_all::<DaemonSet>(client, &namespace, &whose).await?;
        poke_all::<Job>(client, &namespace, &whose).await
    };
    if let Err(error) = poked.await {
        warn!(namespace, "workloads that lack pods were not poked, and try again by themselves: {error}");
    }
}

async fn poke_all<K: Controller>(
    client: &Client,
    namespace: &str,
    whose: &BTreeSet<Whose>,
) -> Result<(), kube::Error> {
    let api: Api<Lenient<K>> = Api::namespaced(client.clone(), namespace);
    let all = api.list(&ListParams::default()).await?.items.into_iter().filter_map(|object| object.0.ok());
    let ours = |of: &K| of.template().is_some_and(|template| whose.iter().any(|whose| whose.has(template)));
    let lacking = all.filter(|of| of.lacks_pods() && ours(of)).map(Ok);
    let patch =
        Patch::Merge(json!({ "metadata": { "annotations": { POKED_ANNOTATION: Timestamp::now() } } }));
    stream::iter(lacking)
        .try_for_each_concurrent(CONCURRENCY, async |of| {
            let name = of.name_any();
            info!(namespace, kind = &*K::kind(&()), name, "lacks pods that are cleared: poked");
            match api.patch(&name, &PatchParams::default(), &patch).await {
                Err(kube::Error::Api(answer)) if answer.code == 404 => Ok(()),
                answer => answer.map(drop),
            }
        })
        .await
}
