//! The facts by namespace, as the API server last told them, so that a change costs what its
//! namespace holds and not what the cluster does.
//!
//! ```text
//!  watch of a kind ──► Cache: namespace ─► name ─► what is kept of it   (a re-list replaces it whole)
//!        │
//!        └──► what is dirty: the namespace; for a RiskLevel, every namespace that uses it
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::{Arc, PoisonError, RwLock},
};

use futures::{Stream, StreamExt, channel::mpsc, stream::BoxStream};
use k8s_openapi::{api::core::v1::ObjectReference, jiff::Timestamp};
use kube::{
    Client, Resource, ResourceExt,
    core::{
        DeserializeGuard, ObjectMeta,
        object::{HasSpec, HasStatus},
    },
    runtime::{reflector::ObjectRef, watcher::Event},
};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tracing::{error, warn};

use super::{LevelRef, NamespaceRef, SidecarRef, trust::trust};
use crate::{
    api::{
        AISystem, Approval, ApproverRole, CLEARANCE_NAME, Clearance, ModelVersion, RiskLevel, Trusted,
        TrustedSidecar,
    },
    metrics::Metrics,
    policy::ApproverRoles,
    watching::watch_all,
};

/// What is described, and of its metadata only what is asked for: whole, that was half of it.
#[derive(Debug)]
pub struct Kept<K: HasSpec + HasStatus> {
    pub name: String,
    pub uid: Option<String>,
    pub generation: Option<i64>,
    pub created: Option<Timestamp>,
    pub spec: K::Spec,
    pub status: Option<K::Status>,
}

impl<K: Resource<DynamicType = ()> + HasSpec + HasStatus> Kept<K> {
    fn new(meta: ObjectMeta, spec: K::Spec, status: Option<K::Status>) -> Self {
        Self {
            name: meta.name.unwrap_or_default(),
            uid: meta.uid,
            generation: meta.generation,
            created: meta.creation_timestamp.map(|t| t.0),
            spec,
            status,
        }
    }

    /// How an Event of `namespace` refers to it.
    pub fn reference(&self, namespace: &str) -> ObjectReference {
        let mut reference = ObjectRef::<K>::new(&self.name).within(namespace);
        reference.extra.uid.clone_from(&self.uid);
        reference.into()
    }
}

impl From<AISystem> for Kept<AISystem> {
    fn from(AISystem { metadata, spec, status }: AISystem) -> Self {
        Self::new(metadata, spec, status)
    }
}

impl From<ModelVersion> for Kept<ModelVersion> {
    fn from(ModelVersion { metadata, spec, status }: ModelVersion) -> Self {
        Self::new(metadata, spec, status)
    }
}

/// Objects of one kind by namespace and name.
#[derive(Debug)]
struct Cache<V> {
    objects: BTreeMap<String, BTreeMap<String, Arc<V>>>,
    relisting: BTreeMap<String, BTreeMap<String, Arc<V>>>,
}

/// Of the metadata only what is asked for later: annotations hold a whole manifest where `kubectl apply` wrote it.
/// And cloned, for what was read has room for four where there is one condition.
fn kept<K: Resource + Clone, V: From<K>>(mut object: K) -> Arc<V> {
    let meta = std::mem::take(object.meta_mut());
    *object.meta_mut() = ObjectMeta {
        name: meta.name,
        namespace: meta.namespace,
        uid: meta.uid,
        generation: meta.generation,
        resource_version: meta.resource_version,
        creation_timestamp: meta.creation_timestamp,
        ..ObjectMeta::default()
    };
    Arc::new(object.clone().into())
}

impl<V> Default for Cache<V> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), relisting: BTreeMap::new() }
    }
}

impl<V> Cache<V> {
    fn of(&self, namespace: &str) -> BTreeMap<String, Arc<V>> {
        self.objects.get(namespace).cloned().unwrap_or_default()
    }

    fn all(&self) -> impl Iterator<Item = &Arc<V>> {
        self.objects.values().flat_map(BTreeMap::values)
    }

    fn insert<K: Resource + Clone>(&mut self, object: K) -> String
    where
        V: From<K>,
    {
        let namespace = object.namespace().unwrap_or_default();
        self.objects.entry(namespace.clone()).or_default().insert(object.name_any(), kept(object));
        namespace
    }

    fn remove(&mut self, namespace: &str, name: &str) {
        if let Some(objects) = self.objects.get_mut(namespace) {
            objects.remove(name);
            if objects.is_empty() {
                self.objects.remove(namespace);
            }
        }
    }

    /// Takes in one event; returns the namespaces whose facts it changed. An object that does not
    /// parse counts as missing: it must neither stand as it was nor keep the others from being seen.
    fn apply<K>(&mut self, event: Event<DeserializeGuard<K>>) -> BTreeSet<String>
    where
        K: Resource<DynamicType = ()> + Clone,
        V: From<K>,
    {
        match event {
            Event::Init => self.relisting.clear(),
            Event::InitApply(DeserializeGuard(Ok(object))) => {
                let namespace = self.relisting.entry(object.namespace().unwrap_or_default()).or_default();
                namespace.insert(object.name_any(), kept(object));
            }
            Event::InitApply(DeserializeGuard(Err(_))) => {}
            Event::InitDone => {
                let listed = std::mem::take(&mut self.relisting);
                let before = std::mem::replace(&mut self.objects, listed);
                return before.into_keys().chain(self.objects.keys().cloned()).collect();
            }
            Event::Apply(DeserializeGuard(Ok(object))) => return BTreeSet::from([self.insert(object)]),
            Event::Apply(gone) | Event::Delete(gone) => {
                let namespace = gone.namespace().unwrap_or_default();
                self.remove(&namespace, &gone.name_any());
                return BTreeSet::from([namespace]);
            }
        }
        BTreeSet::new()
    }
}

/// What is known of one namespace.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub systems: BTreeMap<String, Arc<Kept<AISystem>>>,
    pub versions: BTreeMap<String, Arc<Kept<ModelVersion>>>,
    pub approvals: BTreeMap<String, Arc<Approval>>,
    pub clearance: Option<Arc<Clearance>>,
    /// The roles in which people decide, as far as they have keys.
    pub roles: ApproverRoles,
    /// The levels that the systems name, as far as they exist.
    pub levels: BTreeMap<String, Arc<RiskLevel>>,
    /// What may be in any pod besides what was approved.
    pub trusted: Arc<Trusted>,
}

#[derive(Debug, Default)]
struct Caches {
    levels: Cache<RiskLevel>,
    systems: Cache<Kept<AISystem>>,
    versions: Cache<Kept<ModelVersion>>,
    approvals: Cache<Approval>,
    clearances: Cache<Clearance>,
    sidecars: Cache<TrustedSidecar>,
    roles: Cache<ApproverRole>,
    /// Of the sidecars, worked out when one of them changes.
    trusted: Arc<Trusted>,
    /// Uid and generation of the clearance that this operator wrote last, by namespace.
    written: BTreeMap<String, Edition>,
}

/// Which object, and which of its contents.
type Edition = (Option<String>, Option<i64>);

fn edition(clearance: &Clearance) -> Edition {
    (clearance.uid(), clearance.metadata.generation)
}

/// Everything the operator knows of what people wrote.
#[derive(Debug)]
pub struct Index {
    caches: RwLock<Caches>,
    unlisted: watch::Sender<BTreeSet<&'static str>>,
}

impl Default for Index {
    fn default() -> Self {
        let kinds = [
            "RiskLevel",
            "TrustedSidecar",
            "ApproverRole",
            "AISystem",
            "ModelVersion",
            "Approval",
            "Clearance",
        ];
        Self { caches: RwLock::default(), unlisted: watch::Sender::new(BTreeSet::from(kinds)) }
    }
}

impl Index {
    /// Waits until every kind was listed once.
    pub async fn synced(&self) {
        // The sender lives as long as the index does.
        let _ = self.unlisted.subscribe().wait_for(BTreeSet::is_empty).await;
    }

    /// What is known of `namespace` now.
    pub fn facts(&self, namespace: &str) -> Facts {
        let caches = self.caches.read().unwrap_or_else(PoisonError::into_inner);
        let levels = caches.levels.of("");
        let systems = caches.systems.of(namespace);
        let used = systems.values().filter_map(|s| levels.get_key_value(&s.spec.risk_level));
        Facts {
            levels: used.map(|(name, level)| (name.clone(), Arc::clone(level))).collect(),
            versions: caches.versions.of(namespace),
            approvals: caches.approvals.of(namespace),
            clearance: caches.clearances.of(namespace).remove(CLEARANCE_NAME),
            trusted: Arc::clone(&caches.trusted),
            roles: caches.roles.of(""),
            systems,
        }
    }

    /// How many systems name `level`.
    pub fn systems_of_level(&self, level: &str) -> usize {
        let caches = self.caches.read().unwrap_or_else(PoisonError::into_inner);
        caches.systems.all().filter(|system| system.spec.risk_level == level).count()
    }

    /// Whether `sidecar` is part of what is trusted, or there is no room for it.
    pub fn has_room_for(&self, sidecar: &str) -> bool {
        let caches = self.caches.read().unwrap_or_else(PoisonError::into_inner);
        !trust(&caches.sidecars.of("")).1.contains(sidecar)
    }

    /// Takes in what was just written, ahead of the watch.
    pub fn wrote(&self, clearance: Clearance) {
        let mut caches = self.caches.write().unwrap_or_else(PoisonError::into_inner);
        caches.written.insert(clearance.namespace().unwrap_or_default(), edition(&clearance));
        caches.clearances.insert(clearance);
    }

    /// Takes in that the clearance of `namespace` is to be gone.
    pub fn withdrew(&self, namespace: &str) {
        self.caches.write().unwrap_or_else(PoisonError::into_inner).written.remove(namespace);
    }

    /// Whether the `clearance` of `namespace` is another than this operator wrote last.
    pub fn is_anothers(&self, namespace: &str, clearance: Option<&Clearance>) -> bool {
        let caches = self.caches.read().unwrap_or_else(PoisonError::into_inner);
        caches.written.get(namespace).is_some_and(|written| clearance.map(edition).as_ref() != Some(written))
    }

    fn update<K: Resource<DynamicType = ()> + Clone, V: From<K>>(
        &self,
        event: Event<DeserializeGuard<K>>,
        cache: fn(&mut Caches) -> &mut Cache<V>,
        kind: &'static str,
    ) -> BTreeSet<String> {
        let listed = matches!(event, Event::InitDone);
        let mut caches = self.caches.write().unwrap_or_else(PoisonError::into_inner);
        let changed = cache(&mut caches).apply(event);
        if kind == "TrustedSidecar" {
            caches.trusted = Arc::new(trust(&caches.sidecars.of("")).0);
        }
        drop(caches);
        if listed {
            self.unlisted.send_modify(|unlisted| {
                unlisted.remove(kind);
            });
        }
        changed
    }

    /// The namespaces that have a system.
    fn namespaces_with_systems(&self) -> BTreeSet<String> {
        let caches = self.caches.read().unwrap_or_else(PoisonError::into_inner);
        caches.systems.objects.keys().cloned().collect()
    }

    /// The namespaces that have a clearance.
    fn namespaces_with_clearances(&self) -> BTreeSet<String> {
        let caches = self.caches.read().unwrap_or_else(PoisonError::into_inner);
        caches.clearances.objects.keys().cloned().collect()
    }

    fn all_sidecars(&self) -> BTreeSet<String> {
        let caches = self.caches.read().unwrap_or_else(PoisonError::into_inner);
        caches.sidecars.of("").into_keys().collect()
    }

    fn all_levels(&self) -> BTreeSet<String> {
        let caches = self.caches.read().unwrap_or_else(PoisonError::into_inner);
        caches.levels.of("").into_keys().collect()
    }
}

/// What is to be looked at again.
#[derive(Default)]
struct Dirty {
    in_namespaces: BTreeSet<String>,
    of_levels: BTreeSet<String>,
    of_sidecars: BTreeSet<String>,
}

/// Keeps an [`Index`] current and says what is dirty.
pub struct Feed {
    client: Client,
    index: Arc<Index>,
    metrics: Arc<Metrics>,
}

impl Feed {
    pub fn new(client: Client, index: Arc<Index>, metrics: Arc<Metrics>) -> Self {
        Self { client, index, metrics }
    }

    /// The dirty namespaces, levels and sidecars, and the work that feeds them.
    pub fn start(
        self,
    ) -> (
        impl Stream<Item = NamespaceRef> + Send + 'static,
        impl Stream<Item = LevelRef> + Send + 'static,
        impl Stream<Item = SidecarRef> + Send + 'static,
        impl Future<Output = ()> + Send,
    ) {
        let (dirty_namespaces, namespaces) = mpsc::unbounded();
        let (dirty_levels, levels) = mpsc::unbounded();
        let (dirty_sidecars, sidecars) = mpsc::unbounded();
        let mut changes = futures::stream::select_all([
            self.watch::<RiskLevel, _>(|c| &mut c.levels, "RiskLevel"),
            self.watch::<TrustedSidecar, _>(|c| &mut c.sidecars, "TrustedSidecar"),
            self.watch::<ApproverRole, _>(|c| &mut c.roles, "ApproverRole"),
            self.watch::<AISystem, _>(|c| &mut c.systems, "AISystem"),
            self.watch::<ModelVersion, _>(|c| &mut c.versions, "ModelVersion"),
            self.watch::<Approval, _>(|c| &mut c.approvals, "Approval"),
            self.watch::<Clearance, _>(|c| &mut c.clearances, "Clearance"),
        ]);
        let work = async move {
            while let Some((kind, changed)) = changes.next().await {
                let Dirty { in_namespaces, of_levels, of_sidecars } = self.dirty(kind, changed);
                // A receiver that is gone is shutting down.
                for name in in_namespaces {
                    let _ = dirty_namespaces.unbounded_send(NamespaceRef::new(&name));
                }
                for name in of_levels {
                    let _ = dirty_levels.unbounded_send(LevelRef::new(&name));
                }
                for name in of_sidecars {
                    let _ = dirty_sidecars.unbounded_send(SidecarRef::new(&name));
                }
            }
        };
        (namespaces, levels, sidecars, work)
    }

    /// What a change of objects of `kind` in `changed` concerns.
    fn dirty(&self, kind: &str, changed: BTreeSet<String>) -> Dirty {
        match kind {
            "RiskLevel" | "ApproverRole" => {
                Dirty { in_namespaces: self.index.namespaces_with_systems(), ..Dirty::default() }
            }
            "TrustedSidecar" => Dirty {
                in_namespaces: self.index.namespaces_with_clearances(),
                of_sidecars: self.index.all_sidecars(),
                ..Dirty::default()
            },
            "AISystem" => {
                Dirty { in_namespaces: changed, of_levels: self.index.all_levels(), ..Dirty::default() }
            }
            _ => Dirty { in_namespaces: changed, ..Dirty::default() },
        }
    }

    /// The changes of one kind.
    fn watch<K, V>(
        &self,
        cache: fn(&mut Caches) -> &mut Cache<V>,
        kind: &'static str,
    ) -> BoxStream<'static, (&'static str, BTreeSet<String>)>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
        V: From<K> + 'static,
    {
        let (index, metrics) = (Arc::clone(&self.index), Arc::clone(&self.metrics));
        watch_all::<DeserializeGuard<K>>(&self.client)
            .filter_map(move |event| {
                let changed = match event {
                    Ok(event) => {
                        report_invalid(&event, kind, &metrics);
                        index.update(event, cache, kind)
                    }
                    Err(error) => {
                        metrics.watch_errors.inc();
                        warn!(kind, "watch: {error}; trying again");
                        BTreeSet::new()
                    }
                };
                std::future::ready((!changed.is_empty()).then_some((kind, changed)))
            })
            .boxed()
    }
}

fn report_invalid<K>(event: &Event<DeserializeGuard<K>>, kind: &str, metrics: &Metrics) {
    if let Event::Apply(DeserializeGuard(Err(invalid))) | Event::InitApply(DeserializeGuard(Err(invalid))) =
        event
    {
        let (namespace, name) = (&invalid.metadata.namespace, &invalid.metadata.name);
        metrics.invalid_objects.inc();
        error!(kind, namespace, name, "cannot be read and counts as missing: {invalid}");
    }
}
