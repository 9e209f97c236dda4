//! Caches the watched objects by namespace, and says what to compile again after a change.
//!
//! ```text
//!  watch of a kind ──► Cache of this kind: namespace ─► name ─► object
//!       └──► keys to compile again
//! ```
//!
//! The keys of a change are the namespace of the changed object, or all namespaces that a cluster-scoped object can
//! affect. The keys also include the risk levels or trusted sidecars whose status can change. With the cache, a compile
//! of one namespace does not search the objects of other namespaces.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt::Debug,
    sync::{Arc, PoisonError, RwLock},
};

use futures::{Stream, StreamExt, stream::BoxStream};
use k8s_openapi::{
    api::{
        core::v1::{ObjectReference, PersistentVolumeClaim},
        networking::v1::NetworkPolicy,
        storage::v1::StorageClass,
    },
    apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry,
    jiff::Timestamp,
};
use kube::{
    Resource, ResourceExt,
    core::{
        ObjectMeta,
        object::{HasSpec, HasStatus},
    },
    runtime::reflector::ObjectRef,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::watch as signal;

use super::{
    fingerprint::fingerprint,
    stored_status::{KeptOfIncident, Slim, StoredStatus},
    trusted::trust,
};
use crate::{
    api::{
        AISystem, AUTHOR, Approval, ApprovalSpec, Approver, ApproverRole, Assessment, AssessmentSpec,
        Attribution, CHANGED_BY, CLEARANCE_NAME, Clearance, ClearanceSpec, ConditionState, Digest, Incident,
        IncidentNote, IncidentNoteSpec, IncidentSpec, ModelVersion, Monitor, MonitorSpec, Override,
        OverrideSpec, RiskLevel, Text, Trusted, TrustedSidecar, last_write,
    },
    policy::{
        ApprovalObject, ApproverRoles, ClaimFacts, ClusterObjects, ClusterVariable, NetworkPolicyFacts,
        Requirements, Storage, StorageClassFacts,
    },
    truncate::shorten,
    watch::{Change, Lenient, NamespaceMeta, Relist, Unreadable, Watches},
};

/// An `AISystem`, `ModelVersion` or `Approval` with only the metadata that the operator uses. The other metadata would
/// double the size of the object.
#[derive(Debug)]
pub struct Cached<K: HasSpec + HasStatus<Status: Slim>> {
    pub name: String,
    pub namespace: Text,
    pub uid: Option<String>,
    pub generation: Option<i64>,
    pub created: Option<Timestamp>,
    pub attribution: Attribution,
    pub spec: K::Spec,
    pub status: Option<StoredStatus<<K::Status as Slim>::Kept>>,
}

impl<K> Cached<K>
where
    K: Resource<DynamicType = ()> + HasSpec + HasStatus<Status: Serialize + Slim>,
{
    fn new(meta: ObjectMeta, spec: K::Spec, status: Option<K::Status>) -> Self {
        Self {
            attribution: Attribution::of(&meta),
            name: meta.name.unwrap_or_default(),
            namespace: meta.namespace.unwrap_or_default().into(),
            uid: meta.uid,
            generation: meta.generation,
            created: meta.creation_timestamp.map(|t| t.0),
            spec,
            status: status.map(StoredStatus::new),
        }
    }

    pub fn reference(&self, namespace: &str) -> ObjectReference {
        let mut reference = ObjectRef::<K>::new(&self.name).within(namespace);
        reference.extra.uid.clone_from(&self.uid);
        reference.into()
    }
}

impl From<AISystem> for Cached<AISystem> {
    fn from(AISystem { metadata, spec, status }: AISystem) -> Self {
        Self::new(metadata, spec, status)
    }
}

impl From<Approval> for Cached<Approval> {
    fn from(Approval { metadata, spec, status }: Approval) -> Self {
        Self::new(metadata, spec, status)
    }
}

impl From<ModelVersion> for Cached<ModelVersion> {
    fn from(ModelVersion { metadata, spec, status }: ModelVersion) -> Self {
        Self::new(metadata, spec, status)
    }
}

impl ApprovalObject for Cached<Approval> {
    fn name(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn namespace(&self) -> Option<&str> {
        Some(&self.namespace)
    }

    fn created(&self) -> Option<Timestamp> {
        self.created
    }

    fn spec(&self) -> &ApprovalSpec {
        &self.spec
    }

    fn signed_by(&self) -> Option<&str> {
        self.status.as_ref()?.signed_by.as_deref()
    }
}

/// An `Assessment` with only the fields that the operator uses. `digest` covers all fields of the original spec.
#[derive(Debug)]
pub struct CachedAssessment {
    pub generation: Option<i64>,
    pub created: Option<Timestamp>,
    pub digest: Digest,
    pub spec: AssessmentSpec,
    pub status: Option<StoredStatus<Box<[ConditionState]>>>,
}

impl From<Assessment> for CachedAssessment {
    fn from(Assessment { metadata, mut spec, status }: Assessment) -> Self {
        let digest = spec.digest(metadata.namespace.as_deref().unwrap_or_default());
        (spec.method, spec.tool, spec.report) = (None, None, None);
        Self {
            generation: metadata.generation,
            created: metadata.creation_timestamp.map(|t| t.0),
            digest,
            spec,
            status: status.map(StoredStatus::new),
        }
    }
}

/// The maximum size in bytes of the cached description of an incident, and of the cached reason of an override.
const KEPT_DESCRIPTION: usize = 512;

/// Drops the groups and the UID of a person, to save memory.
fn only_user(person: Approver) -> Approver {
    Approver { user: person.user, ..Approver::default() }
}

/// An `Incident` with only the fields that the operator uses. `digest` covers all fields of the original spec.
#[derive(Debug)]
pub struct CachedIncident {
    pub name: String,
    pub generation: Option<i64>,
    pub created: Option<Timestamp>,
    pub digest: Digest,
    pub spec: IncidentSpec,
    pub status: Option<StoredStatus<KeptOfIncident>>,
}

impl From<Incident> for CachedIncident {
    fn from(Incident { metadata, mut spec, status }: Incident) -> Self {
        let digest = spec.digest(metadata.namespace.as_deref().unwrap_or_default());
        spec.affected = None;
        spec.description = shorten(spec.description, KEPT_DESCRIPTION);
        spec.opened_by = spec.opened_by.map(only_user);
        Self {
            name: metadata.name.unwrap_or_default(),
            generation: metadata.generation,
            created: metadata.creation_timestamp.map(|t| t.0),
            digest,
            spec,
            status: status.map(StoredStatus::new),
        }
    }
}

impl CachedIncident {
    pub fn reference(&self, namespace: &str) -> ObjectReference {
        ObjectRef::<Incident>::new(&self.name).within(namespace).into()
    }
}

/// An `Override` with only the fields that the operator uses. `digest` covers all fields of the original spec.
#[derive(Debug)]
pub struct CachedOverride {
    pub name: String,
    pub generation: Option<i64>,
    pub created: Option<Timestamp>,
    pub digest: Digest,
    pub spec: OverrideSpec,
    pub status: Option<StoredStatus<Box<[ConditionState]>>>,
}

impl From<Override> for CachedOverride {
    fn from(Override { metadata, mut spec, status }: Override) -> Self {
        let digest = spec.digest(metadata.namespace.as_deref().unwrap_or_default());
        spec.ticket = None;
        spec.reason = shorten(spec.reason, KEPT_DESCRIPTION);
        spec.requested_by = spec.requested_by.map(only_user);
        Self {
            name: metadata.name.unwrap_or_default(),
            generation: metadata.generation,
            created: metadata.creation_timestamp.map(|t| t.0),
            digest,
            spec,
            status: status.map(StoredStatus::new),
        }
    }
}

impl CachedOverride {
    pub fn reference(&self, namespace: &str) -> ObjectReference {
        ObjectRef::<Override>::new(&self.name).within(namespace).into()
    }
}

/// An `IncidentNote` without its text and its report.
#[derive(Debug)]
pub struct CachedNote {
    pub created: Option<Timestamp>,
    pub spec: IncidentNoteSpec,
}

impl From<IncidentNote> for CachedNote {
    fn from(IncidentNote { metadata, mut spec }: IncidentNote) -> Self {
        (spec.text, spec.report) = (String::new(), None);
        spec.by = spec.by.map(only_user);
        Self { created: metadata.creation_timestamp.map(|t| t.0), spec }
    }
}

#[derive(Debug)]
pub struct CachedMonitor {
    pub generation: Option<i64>,
    pub spec: MonitorSpec,
    /// The digest of the query or alert, the samples and the source with which the operator got the last value.
    pub measured: Option<Digest>,
}

impl From<Monitor> for CachedMonitor {
    fn from(Monitor { metadata, spec, status }: Monitor) -> Self {
        Self { generation: metadata.generation, spec, measured: status.and_then(|status| status.measured) }
    }
}

/// How the index reads monitors. A monitor starts a compile only if its spec or its `measured` changes. Most new values
/// of the metric change neither of them.
fn measured_or_changed() -> Reading<Monitor, CachedMonitor> {
    let version = |monitor: &CachedMonitor| {
        let digest = fingerprint(&(monitor.generation, &monitor.measured));
        Some(i64::from_ne_bytes(digest.to_ne_bytes()))
    };
    Reading { salvage: |_| None, generation: version }
}

/// Objects of one kind, by namespace and then by name.
#[derive(Debug)]
struct Cache<V> {
    objects: BTreeMap<String, BTreeMap<String, Arc<V>>>,
}

/// Converts a watched object to its cached form. Drops unused metadata, such as the annotation in which `kubectl apply`
/// stores the whole manifest. The `clone` frees the spare capacity of the deserialised vectors.
fn trimmed<K: Resource<DynamicType = ()> + Clone, V: From<K>>(mut object: K) -> Arc<V> {
    let meta = std::mem::take(object.meta_mut());
    let is_attributed = ["AISystem", "ModelVersion", "RiskLevel", "ApproverRole"].contains(&&*K::kind(&()));
    *object.meta_mut() = ObjectMeta {
        managed_fields: last_write(&meta).filter(|_| is_attributed).map(|entry| {
            vec![ManagedFieldsEntry { manager: entry.manager.clone(), ..ManagedFieldsEntry::default() }]
        }),
        annotations: meta.annotations.filter(|_| is_attributed).map(|mut annotations| {
            annotations.retain(|key, _| [AUTHOR, CHANGED_BY].contains(&&**key));
            annotations
        }),
        name: meta.name,
        namespace: meta.namespace,
        uid: meta.uid,
        labels: meta.labels,
        generation: meta.generation,
        deletion_timestamp: meta.deletion_timestamp,
        resource_version: meta.resource_version,
        creation_timestamp: meta.creation_timestamp,
        ..ObjectMeta::default()
    };
    Arc::new(object.clone().into())
}

impl<V> Default for Cache<V> {
    fn default() -> Self {
        Self { objects: BTreeMap::new() }
    }
}

impl<V> Cache<V> {
    fn of(&self, namespace: &str) -> BTreeMap<String, Arc<V>> {
        self.objects.get(namespace).cloned().unwrap_or_default()
    }

    fn all(&self) -> impl Iterator<Item = &Arc<V>> {
        self.objects.values().flat_map(BTreeMap::values)
    }

    fn insert<K: Resource<DynamicType = ()> + Clone>(&mut self, object: K)
    where
        V: From<K>,
    {
        self.objects.entry(home(&object)).or_default().insert(object.name_any(), trimmed(object));
    }

    fn remove(&mut self, namespace: &str, name: &str) {
        if let Some(objects) = self.objects.get_mut(namespace) {
            objects.remove(name);
            if objects.is_empty() {
                self.objects.remove(namespace);
            }
        }
    }

    /// Applies a change to the cache. Returns the namespaces to compile again. While a list is in progress, returns no
    /// namespace. At the end of the list, returns every namespace that has or had an object of this kind.
    fn apply<K>(&mut self, change: Change<Place, Lenient<K>>, reading: Reading<K, V>) -> BTreeSet<String>
    where
        K: Resource<DynamicType = ()> + Clone,
        V: From<K>,
    {
        let change = change.filter_map(|object| match object.0 {
            Ok(object) => Some(object),
            Err(unreadable) => (reading.salvage)(&unreadable),
        });
        match change {
            Change::Apply { object, listing: true, .. } => {
                self.insert(object);
                BTreeSet::new()
            }
            Change::Apply { key: (namespace, name), object, listing: false } => {
                let generation = |cache: &Self| {
                    let object = cache.objects.get(&namespace).and_then(|objects| objects.get(&name));
                    object.and_then(|object| (reading.generation)(object))
                };
                let before = generation(self);
                self.insert(object);
                let is_same = before.is_some() && before == generation(self);
                if is_same { BTreeSet::new() } else { BTreeSet::from([namespace]) }
            }
            Change::Delete { key: (namespace, name) } => {
                self.remove(&namespace, &name);
                BTreeSet::from([namespace])
            }
            Change::Listed(keys) => {
                let changed = self.objects.keys().cloned().collect();
                self.retain(&keys);
                self.compact();
                changed
            }
        }
    }

    /// Builds the maps again to free memory. Insertions in the order of the keys leave the nodes of a map half empty.
    fn compact(&mut self) {
        for objects in self.objects.values_mut() {
            *objects = std::mem::take(objects).into_iter().collect();
        }
    }

    fn retain(&mut self, keys: &HashSet<Place>) {
        let gone = |(namespace, objects): (&String, &BTreeMap<String, _>)| {
            let places = objects.keys().map(|name| (namespace.clone(), name.clone()));
            places.filter(|place| !keys.contains(place)).collect::<Vec<_>>()
        };
        let gone: Vec<_> = self.objects.iter().flat_map(gone).collect();
        for (namespace, name) in gone {
            self.remove(&namespace, &name);
        }
    }
}

/// The namespace and name of an object.
type Place = (String, String);

/// The namespace under which a [`Cache`] stores an object. A `Namespace` is stored under its own name. Any other
/// cluster-scoped object is stored under an empty name.
fn home<K: Resource<DynamicType = ()>>(object: &K) -> String {
    let is_namespace = K::kind(&()) == "Namespace";
    object.namespace().unwrap_or_else(|| if is_namespace { object.name_any() } else { String::new() })
}

/// Reads a rejection or revocation without its `notAfter`. An unreadable `notAfter` must not disable the decision.
fn without_end(unreadable: &Unreadable) -> Option<Approval> {
    let mut approval: serde_json::Value = serde_json::from_str(&unreadable.text).ok()?;
    let spec = approval.get_mut("spec")?.as_object_mut()?;
    spec.remove("notAfter")?;
    let approval: Approval = serde_json::from_value(approval).ok()?;
    approval.spec.decision.withholds().then_some(approval)
}

/// Reads an incident without the fields that do not matter for its hold, because an unreadable field must not end the
/// hold. If a field such as the list of versions is unreadable, the incident concerns every version of its system. In
/// this case, any effect other than `None` counts as `Hold`.
fn without_details(unreadable: &Unreadable) -> Option<Incident> {
    let mut incident: serde_json::Value = serde_json::from_str(&unreadable.text).ok()?;
    let spec = incident.get_mut("spec")?.as_object_mut()?;
    for field in ["criteria", "affected", "occurredAt", "awareAt"] {
        spec.remove(field);
    }
    if let Ok(incident) = serde_json::from_value(incident.clone()) {
        return Some(incident);
    }
    let spec = incident.get_mut("spec")?.as_object_mut()?;
    spec.retain(|field, _| ["system", "description", "openedBy", "effect"].contains(&&**field));
    if spec.get("effect").is_some_and(|effect| effect != "None") {
        spec.insert("effect".to_owned(), "Hold".into());
    }
    serde_json::from_value(incident).ok()
}

/// How the index reads the changes of one kind.
struct Reading<K, V> {
    /// Returns a replacement for an unreadable object. Without a replacement, the object counts as missing.
    salvage: fn(&Unreadable) -> Option<K>,
    /// A change of an object starts a compile only if this value changes. With `None`, every change starts a compile.
    generation: fn(&V) -> Option<i64>,
}

impl<K, V> Copy for Reading<K, V> {}

impl<K, V> Clone for Reading<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

/// How the index reads a kind if every change starts a compile. An unreadable object counts as missing.
fn every_change<K, V>() -> Reading<K, V> {
    Reading { salvage: |_| None, generation: |_| None }
}

/// How the index reads a kind if only a change of the spec starts a compile. The operator itself writes statuses, for
/// example of a `RiskLevel`, and such a write must not start a compile. An unreadable object counts as missing.
fn every_spec<K: Resource>() -> Reading<K, K> {
    Reading { salvage: |_| None, generation: |object| object.meta().generation }
}

/// An empty replacement for an unreadable Clearance. Without the replacement, the operator would try to create the
/// Clearance, although it exists.
fn empty_clearance(unreadable: &Unreadable) -> Clearance {
    let mut clearance = Clearance::new(CLEARANCE_NAME, ClearanceSpec::default());
    clearance.metadata = unreadable.metadata.clone();
    clearance
}

/// The cached objects on which the Clearance of one namespace depends.
#[derive(Clone, Debug, Default)]
pub struct NamespaceFacts {
    pub systems: BTreeMap<String, Arc<Cached<AISystem>>>,
    pub versions: BTreeMap<String, Arc<Cached<ModelVersion>>>,
    pub approvals: BTreeMap<String, Arc<Cached<Approval>>>,
    pub assessments: BTreeMap<String, Arc<CachedAssessment>>,
    pub incidents: BTreeMap<String, Arc<CachedIncident>>,
    pub notes: BTreeMap<String, Arc<CachedNote>>,
    pub overrides: BTreeMap<String, Arc<CachedOverride>>,
    pub monitors: BTreeMap<String, Arc<CachedMonitor>>,
    pub clearance: Option<Arc<Clearance>>,
    pub roles: ApproverRoles,
    /// The existing risk levels that the systems name, by the name of the level.
    pub levels: BTreeMap<String, Arc<RiskLevel>>,
    pub requirements: BTreeMap<String, Arc<Requirements>>,
    /// The labels of the namespace. `None` if the cache lacks the namespace, or if the namespace has no label.
    pub labels: Option<BTreeMap<String, String>>,
    /// The built-in Kubernetes objects that expressions can read, such as network policies.
    pub cluster: ClusterObjects,
    /// The containers, volumes, mounts and variables that every pod may have in addition to the approved version.
    pub trusted: Arc<Trusted>,
}

#[derive(Debug, Default)]
struct Caches {
    namespaces: Cache<NamespaceMeta>,
    levels: Cache<RiskLevel>,
    systems: Cache<Cached<AISystem>>,
    versions: Cache<Cached<ModelVersion>>,
    approvals: Cache<Cached<Approval>>,
    assessments: Cache<CachedAssessment>,
    incidents: Cache<CachedIncident>,
    notes: Cache<CachedNote>,
    overrides: Cache<CachedOverride>,
    monitors: Cache<CachedMonitor>,
    clearances: Cache<Clearance>,
    sidecars: Cache<TrustedSidecar>,
    roles: Cache<ApproverRole>,
    network_policies: Cache<NetworkPolicyFacts>,
    claims: Cache<ClaimFacts>,
    storage_classes: Cache<StorageClassFacts>,
    /// The optional variables of expressions that the operator's configuration turns on.
    enabled: BTreeSet<ClusterVariable>,
    /// The compiled expressions of each level, with the level from which they were compiled.
    requirements: BTreeMap<String, (Arc<RiskLevel>, Arc<Requirements>)>,
    trusted: Arc<Trusted>,
    /// The UID and generation of the Clearance that this operator wrote last, by namespace.
    written: BTreeMap<String, Revision>,
}

impl Caches {
    /// The compiled expressions of `level`. While a list of levels is in progress, `self.requirements` can lack these
    /// expressions. In this case, this function compiles them.
    fn requirements(&self, level: &Arc<RiskLevel>) -> Arc<Requirements> {
        let known = self.requirements.get(&level.name_any()).filter(|(of, _)| Arc::ptr_eq(of, level));
        let compile = || Arc::new(Requirements::compile_with(&self.enabled, &level.spec.requirements));
        known.map_or_else(compile, |(_, requirements)| Arc::clone(requirements))
    }

    fn cluster_objects(&self, namespace: &str) -> ClusterObjects {
        let enabled = |variable| self.enabled.contains(&variable);
        let storage = || Storage {
            claims: self.claims.of(namespace),
            classes: self.storage_classes.of(""),
            is_complete: true,
        };
        ClusterObjects {
            network_policies: enabled(ClusterVariable::NetworkPolicies)
                .then(|| self.network_policies.of(namespace)),
            storage: enabled(ClusterVariable::Claims).then(storage),
        }
    }
}

/// The UID and the generation of an object.
type Revision = (Option<String>, Option<i64>);

fn revision(clearance: &Clearance) -> Revision {
    (clearance.uid(), clearance.metadata.generation)
}

#[derive(Debug)]
pub struct Index {
    caches: RwLock<Caches>,
    /// The kinds whose first list is not complete.
    unlisted: signal::Sender<BTreeSet<&'static str>>,
}

impl Index {
    /// `enabled` has the optional variables of expressions that the operator's configuration turns on.
    pub fn new(enabled: BTreeSet<ClusterVariable>) -> Self {
        let kinds = [
            "Namespace",
            "RiskLevel",
            "TrustedSidecar",
            "ApproverRole",
            "AISystem",
            "ModelVersion",
            "Approval",
            "Assessment",
            "Incident",
            "IncidentNote",
            "Override",
            "Monitor",
            "Clearance",
        ];
        let kinds = kinds.into_iter().chain(enabled.iter().flat_map(|variable| kinds_of(*variable)).copied());
        let unlisted = signal::Sender::new(kinds.collect());
        Self { caches: RwLock::new(Caches { enabled, ..Caches::default() }), unlisted }
    }

    /// Waits until the first list of every kind is complete, except the kinds that only expressions read.
    pub async fn synced(&self) {
        let is_optional = |kind: &&str| ClusterVariable::ALL.iter().any(|v| kinds_of(*v).contains(kind));
        // The wait cannot fail, because the sender lives as long as the index.
        let _ = self.unlisted.subscribe().wait_for(|unlisted| unlisted.iter().all(is_optional)).await;
    }

    /// Whether the first list is complete for each kind that an expression of the levels in `facts` reads. So if the
    /// operator may not list such a kind, only the namespaces with such an expression wait.
    pub fn is_complete(&self, facts: &NamespaceFacts) -> bool {
        let unlisted = self.unlisted.borrow();
        let variables = facts.requirements.values().flat_map(|level| level.cluster_variables());
        unlisted.is_empty() || !variables.flat_map(kinds_of).any(|kind| unlisted.contains(kind))
    }

    pub fn facts(&self, namespace: &str) -> NamespaceFacts {
        let caches = self.caches.read().unwrap_or_else(PoisonError::into_inner);
        let levels = caches.levels.of("");
        let systems = caches.systems.of(namespace);
        let used = systems.values().filter_map(|s| levels.get_key_value(&s.spec.risk_level));
        let namespaces = caches.namespaces.of(namespace);
        let labels = namespaces.get(namespace).and_then(|meta| meta.meta().labels.clone());
        NamespaceFacts {
            labels: Some(labels.unwrap_or_default()),
            requirements: used
                .clone()
                .map(|(name, level)| (name.clone(), caches.requirements(level)))
                .collect(),
            levels: used.map(|(name, level)| (name.clone(), Arc::clone(level))).collect(),
            versions: caches.versions.of(namespace),
            approvals: caches.approvals.of(namespace),
            assessments: caches.assessments.of(namespace),
            incidents: caches.incidents.of(namespace),
            notes: caches.notes.of(namespace),
            overrides: caches.overrides.of(namespace),
            monitors: caches.monitors.of(namespace),
            clearance: caches.clearances.of(namespace).remove(CLEARANCE_NAME),
            cluster: caches.cluster_objects(namespace),
            trusted: Arc::clone(&caches.trusted),
            roles: caches.roles.of(""),
            systems,
        }
    }

    pub fn namespace(&self, name: &str) -> Option<Arc<NamespaceMeta>> {
        let caches = self.caches.read().unwrap_or_else(PoisonError::into_inner);
        caches.namespaces.objects.get(name)?.get(name).cloned()
    }

    pub fn level(&self, name: &str) -> Option<(Arc<RiskLevel>, Arc<Requirements>)> {
        let caches = self.caches.read().unwrap_or_else(PoisonError::into_inner);
        let level = caches.levels.objects.get("")?.get(name)?;
        Some((Arc::clone(level), caches.requirements(level)))
    }

    pub fn sidecar(&self, name: &str) -> Option<Arc<TrustedSidecar>> {
        let caches = self.caches.read().unwrap_or_else(PoisonError::into_inner);
        caches.sidecars.objects.get("")?.get(name).cloned()
    }

    /// The number of systems that name `level`, and the number of running pods of these systems that would stop without
    /// a clearance.
    pub fn use_of_level(&self, level: &str) -> (u32, u32) {
        let caches = self.caches.read().unwrap_or_else(PoisonError::into_inner);
        let systems = caches.systems.all().filter(|system| system.spec.risk_level == level);
        systems.fold((0, 0), |(systems, running): (u32, u32), system| {
            let pods = system.status.as_ref().and_then(|status| status.pods).unwrap_or_default();
            // The operator sets `would_stop` only in namespaces that warn or audit, where it stops no pod.
            let stops = if pods.would_stop.is_none() { pods.running } else { 0 };
            (systems.saturating_add(1), running.saturating_add(stops))
        })
    }

    /// Whether the size limit of the trusted additions leaves room for `sidecar`.
    pub fn has_room_for(&self, sidecar: &str) -> bool {
        let caches = self.caches.read().unwrap_or_else(PoisonError::into_inner);
        !trust(&caches.sidecars.of("")).1.contains(sidecar)
    }

    /// Caches a Clearance that this operator just wrote, before the watch delivers it.
    pub fn record_write(&self, clearance: Clearance) {
        let mut caches = self.caches.write().unwrap_or_else(PoisonError::into_inner);
        caches.written.insert(clearance.namespace().unwrap_or_default(), revision(&clearance));
        caches.clearances.insert(clearance);
    }

    /// Forgets which Clearance this operator wrote last in `namespace`. Call this if the operator deleted the
    /// Clearance, or if the namespace is being deleted. Otherwise, the missing Clearance would count as a change by
    /// another user.
    pub fn record_delete(&self, namespace: &str) {
        self.caches.write().unwrap_or_else(PoisonError::into_inner).written.remove(namespace);
    }

    /// Whether the `clearance` of `namespace` differs from the Clearance that this operator wrote last.
    pub fn was_modified_externally(&self, namespace: &str, clearance: Option<&Clearance>) -> bool {
        let caches = self.caches.read().unwrap_or_else(PoisonError::into_inner);
        caches.written.get(namespace).is_some_and(|written| clearance.map(revision).as_ref() != Some(written))
    }

    fn update<K: Resource<DynamicType = ()> + Clone, V: From<K>>(
        &self,
        change: Change<Place, Lenient<K>>,
        cache: CacheOf<V>,
        reading: Reading<K, V>,
        kind: &'static str,
    ) -> BTreeSet<String> {
        let listed = matches!(change, Change::Listed(_));
        let mut caches = self.caches.write().unwrap_or_else(PoisonError::into_inner);
        let changed = cache(&mut caches).apply(change, reading);
        if kind == "RiskLevel" && !changed.is_empty() {
            let compiled = |(name, level): (String, Arc<RiskLevel>)| {
                let requirements = caches.requirements(&level);
                (name, (level, requirements))
            };
            caches.requirements = caches.levels.of("").into_iter().map(compiled).collect();
        }
        if kind == "TrustedSidecar" && !changed.is_empty() {
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

    fn enabled(&self) -> BTreeSet<ClusterVariable> {
        self.caches.read().unwrap_or_else(PoisonError::into_inner).enabled.clone()
    }

    fn namespaces_with_systems(&self) -> BTreeSet<String> {
        let caches = self.caches.read().unwrap_or_else(PoisonError::into_inner);
        caches.systems.objects.keys().cloned().collect()
    }

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

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    Namespace(String),
    Level(String),
    Sidecar(String),
}

const fn kinds_of(variable: ClusterVariable) -> &'static [&'static str] {
    match variable {
        ClusterVariable::NetworkPolicies => &["NetworkPolicy"],
        ClusterVariable::Claims => &["PersistentVolumeClaim", "StorageClass"],
    }
}

type CacheOf<V> = fn(&mut Caches) -> &mut Cache<V>;

/// Updates the [`Index`] from the watches. Returns a stream of the keys to compile again.
pub fn feed(index: &Arc<Index>, watches: &Arc<Watches>) -> impl Stream<Item = Key> + Send + use<> + 'static {
    let mut changes = futures::stream::select_all([
        watch::<NamespaceMeta, _>(index, watches, |c| &mut c.namespaces, every_change(), "Namespace"),
        watch::<RiskLevel, _>(index, watches, |c| &mut c.levels, every_spec(), "RiskLevel"),
        watch::<TrustedSidecar, _>(index, watches, |c| &mut c.sidecars, every_spec(), "TrustedSidecar"),
        watch::<ApproverRole, _>(index, watches, |c| &mut c.roles, every_spec(), "ApproverRole"),
        watch::<AISystem, _>(index, watches, |c| &mut c.systems, every_change(), "AISystem"),
        watch::<ModelVersion, _>(index, watches, |c| &mut c.versions, every_change(), "ModelVersion"),
        watch::<Approval, _>(
            index,
            watches,
            |c| &mut c.approvals,
            Reading { salvage: without_end, ..every_change() },
            "Approval",
        ),
        watch::<Assessment, _>(index, watches, |c| &mut c.assessments, every_change(), "Assessment"),
        watch::<Incident, _>(
            index,
            watches,
            |c| &mut c.incidents,
            Reading { salvage: without_details, ..every_change() },
            "Incident",
        ),
        watch::<IncidentNote, _>(index, watches, |c| &mut c.notes, every_change(), "IncidentNote"),
        watch::<Override, _>(index, watches, |c| &mut c.overrides, every_change(), "Override"),
        watch::<Monitor, _>(index, watches, |c| &mut c.monitors, measured_or_changed(), "Monitor"),
        watch::<Clearance, _>(
            index,
            watches,
            |c| &mut c.clearances,
            Reading { salvage: |unreadable| Some(empty_clearance(unreadable)), ..every_spec() },
            "Clearance",
        ),
    ]);
    for variable in index.enabled() {
        match variable {
            ClusterVariable::NetworkPolicies => {
                let (cache, kind): (CacheOf<NetworkPolicyFacts>, _) =
                    (|c| &mut c.network_policies, "NetworkPolicy");
                changes.push(watch::<NetworkPolicy, _>(index, watches, cache, every_change(), kind));
            }
            ClusterVariable::Claims => {
                let (cache, kind): (CacheOf<ClaimFacts>, _) = (|c| &mut c.claims, "PersistentVolumeClaim");
                changes.push(watch::<PersistentVolumeClaim, _>(index, watches, cache, every_change(), kind));
                let (cache, kind): (CacheOf<StorageClassFacts>, _) =
                    (|c| &mut c.storage_classes, "StorageClass");
                changes.push(watch::<StorageClass, _>(index, watches, cache, every_change(), kind));
            }
        }
    }
    let index = Arc::clone(index);
    changes.flat_map(move |(kind, changed)| futures::stream::iter(affected(&index, kind, changed)))
}

/// The keys to compile again after objects of `kind` changed in the namespaces `changed`.
fn affected(index: &Index, kind: &str, changed: BTreeSet<String>) -> Vec<Key> {
    let all = |keys: BTreeSet<String>, key: fn(String) -> Key| keys.into_iter().map(key).collect::<Vec<_>>();
    match kind {
        "RiskLevel" => {
            let levels = all(index.all_levels(), Key::Level);
            [all(index.namespaces_with_systems(), Key::Namespace), levels].concat()
        }
        "ApproverRole" | "StorageClass" => all(index.namespaces_with_systems(), Key::Namespace),
        // Many namespaces have such objects but no AI system. These namespaces need no compile.
        "NetworkPolicy" | "PersistentVolumeClaim" => {
            let with_systems = index.namespaces_with_systems();
            all(
                changed.into_iter().filter(|namespace| with_systems.contains(namespace)).collect(),
                Key::Namespace,
            )
        }
        "TrustedSidecar" => {
            let sidecars = all(index.all_sidecars(), Key::Sidecar);
            [all(index.namespaces_with_clearances(), Key::Namespace), sidecars].concat()
        }
        "AISystem" => [all(changed, Key::Namespace), all(index.all_levels(), Key::Level)].concat(),
        _ => all(changed, Key::Namespace),
    }
}

/// Watches one kind, and applies the changes to `cache`. The stream yields the kind and the namespaces to compile
/// again.
fn watch<K, V>(
    index: &Arc<Index>,
    watches: &Arc<Watches>,
    cache: CacheOf<V>,
    reading: Reading<K, V>,
    kind: &'static str,
) -> BoxStream<'static, (&'static str, BTreeSet<String>)>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    V: From<K> + 'static,
{
    let (index, mut relist) = (Arc::clone(index), Relist::default());
    watches
        .all::<K>()
        .filter_map(move |event| {
            let change = relist.change(event, |object| (home(object), object.name_any()));
            let changed = change.map(|change| index.update(change, cache, reading, kind));
            std::future::ready(changed.filter(|changed| !changed.is_empty()).map(|changed| (kind, changed)))
        })
        .boxed()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::IncidentEffect;

    /// The incident that the operator uses instead of an incident with this unreadable `spec`. `None` if there is none.
    fn salvaged(spec: &Value) -> Option<Incident> {
        let object = json!({ "metadata": { "name": "drift", "namespace": "lending" }, "spec": spec });
        assert!(serde_json::from_value::<Incident>(object.clone()).is_err(), "{object}");
        let (metadata, why, text) = (ObjectMeta::default(), String::new(), object.to_string().into());
        without_details(&Unreadable { metadata, why, text })
    }

    #[test]
    fn an_unreadable_incident_still_holds_its_versions() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let spec = json!({ "system": "scorer", "effect": "Hold", "description": "drift", "criteria": ["Unknown"],
            "modelVersions": [{ "name": "v1", "subjectDigest": digest }] });
        let incident = salvaged(&spec).expect("it names a system");
        assert_eq!((incident.spec.effect, incident.spec.model_versions.len()), (IncidentEffect::Hold, 1));
        let time = json!({ "system": "scorer", "effect": "Hold", "description": "drift",
            "occurredAt": "9999-12-31T23:59:59Z" });
        assert_eq!(salvaged(&time).map(|incident| incident.spec.effect), Some(IncidentEffect::Hold));
        let effect = json!({ "system": "scorer", "effect": "Unknown", "description": "drift" });
        assert_eq!(salvaged(&effect).map(|incident| incident.spec.effect), Some(IncidentEffect::Hold));
    }

    #[test]
    fn an_unreadable_incident_without_a_hold_holds_nothing() {
        let spec =
            json!({ "system": "scorer", "effect": "None", "description": "drift", "modelVersions": "v1" });
        assert_eq!(salvaged(&spec).map(|incident| incident.spec.effect), Some(IncidentEffect::None));
        assert!(
            salvaged(&json!({ "effect": "Hold" })).is_none(),
            "an incident without a system was salvaged"
        );
    }
}
