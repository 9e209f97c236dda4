//! Calls two functions of the operator from the model. The function [`compile`] calls the operator's code that computes
//! a Clearance. The function [`decide`] calls the operator's code that decides about a pod. Both convert the types of
//! the model to the types of the operator, and convert the result back.
//!
//! Both functions are pure, and the model calls them many times with the same arguments. So this module caches their
//! results.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::Hash,
    sync::{Arc, LazyLock, PoisonError, RwLock},
};

use k8s_openapi::{api::core::v1 as core, jiff::Timestamp};
use kube::ResourceExt;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::state::{ClearanceState, Fact, Pod, RequestedAction, Runtime, Tick};
use crate::{
    api::{
        AISystem, Approval, CLEARANCE_NAME, ClearanceSpec, ClearedVersion, Digest, GATE, Incident,
        IncidentNote, ModelVersion, Override, RiskLevel, SYSTEM_LABEL, SystemClearance,
    },
    compile::{
        clearance::compile as compile_facts,
        index::{Cached, NamespaceFacts},
    },
    enforce::{
        action::{Action, Step},
        decide::{LEAST_GRACE, decide as decide_about},
        pod_cache::PodCache,
    },
    policy::Subject,
};

/// The duration of a tick in seconds.
pub const TICK: i64 = 10;

/// The grace period of the level, in ticks. The first half is for evictions, the second for deletion.
pub const GRACE: Tick = 2;

/// The pod's own grace period: the longest that the level allows.
pub const OWN: Tick = 1;

/// The grace period of a request if no guard limits it. This period is longer than the grace period of the level.
pub const ASKED: Tick = 6;

const NAMESPACE: &str = "lending";
const SYSTEM: &str = "scorer";
const VERSION: &str = "scorer-v1";
const EPOCH: i64 = 1_800_000_000;

fn instant(tick: Tick) -> Timestamp {
    Timestamp::from_second(EPOCH + TICK * i64::from(tick)).expect("in range")
}

fn ticks(seconds: i64) -> Tick {
    assert_eq!(seconds % TICK, 0, "the duration is not a multiple of a tick");
    Tick::try_from(seconds / TICK).expect("a short time")
}

/// Converts a grace period to ticks. The shortest grace period counts as zero ticks.
fn grace(seconds: u32) -> Tick {
    if seconds == LEAST_GRACE { 0 } else { ticks(seconds.into()) }
}

fn tick(instant: Timestamp) -> Tick {
    ticks(instant.as_second() - EPOCH)
}

/// The objects that are the same in all states.
struct World {
    level: Arc<RiskLevel>,
    system: Arc<Cached<AISystem>>,
    version: Arc<Cached<ModelVersion>>,
    digest: Digest,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let parse = "as the schema says";
    let seconds = TICK * i64::from(GRACE);
    let level = json!({ "metadata": { "name": "high" }, "spec": {
        "description": "", "approvals": [{ "role": "risk" }], "images": "Tag",
        "onLoss": { "gracePeriodSeconds": seconds },
        "overrides": { "maxDuration": "8h", "roles": [{ "role": "risk" }], "waivable": ["Approval"],
            "perSystem": { "count": 9, "within": "720h" }, "review": { "within": "72h", "roles": ["board"] } },
    }});
    let system = json!({ "metadata": { "name": SYSTEM }, "spec": {
        "intendedPurpose": "scores", "owners": [{ "name": "dev" }], "riskLevel": "high",
    }});
    let created = Timestamp::from_second(EPOCH - 2000).expect("in range").to_string();
    let version = json!({ "metadata": { "name": VERSION, "creationTimestamp": created }, "spec": {
        "system": SYSTEM, "runtime": { "containers": [{ "name": "model", "image": "scorer:1@sha256:0" }] },
    }});
    let level: RiskLevel = serde_json::from_value(with_type(level, "RiskLevel")).expect(parse);
    let system: AISystem = serde_json::from_value(with_type(system, "AISystem")).expect(parse);
    let version: ModelVersion = serde_json::from_value(with_type(version, "ModelVersion")).expect(parse);
    let digest = Subject::new(NAMESPACE, &system.spec, Some(&level.spec), &version.spec).digest();
    World {
        level: Arc::new(level),
        system: Arc::new(system.into()),
        version: Arc::new(version.into()),
        digest,
    }
});

fn with_type(mut object: serde_json::Value, kind: &str) -> serde_json::Value {
    object["apiVersion"] = json!("assent.dev/v1alpha1");
    object["kind"] = json!(kind);
    object
}

/// A cache of the results of a function, by its arguments.
struct Memo<K, V>(RwLock<HashMap<K, V>>);

impl<K: Hash + Eq, V: Copy> Memo<K, V> {
    fn new() -> Self {
        Self(RwLock::default())
    }

    fn get_or_compute(&self, key: K, compute: impl FnOnce(&K) -> V) -> V {
        let cached = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
        cached.unwrap_or_else(|| {
            let value = compute(&key);
            self.0.write().unwrap_or_else(PoisonError::into_inner).insert(key, value);
            value
        })
    }
}

/// The Clearance that `compile` computes from `facts`, if the current Clearance is `before`.
pub fn compile(facts: &[Fact], before: ClearanceState, now: Tick) -> ClearanceState {
    type Key = (Vec<Fact>, ClearanceState, Tick);
    static MEMO: LazyLock<Memo<Key, ClearanceState>> = LazyLock::new(Memo::new);
    MEMO.get_or_compute((facts.to_vec(), before, now), |(facts, before, now)| {
        call_compile(facts, *before, *now)
    })
}

const GOVERNED: crate::api::Governance =
    crate::api::Governance { mode: Some(crate::api::Mode::Enforce), scope: crate::api::Scope::All };

/// Whether the version may run at `now`, according to all `facts`.
pub fn may_run(facts: &[Fact], now: Tick) -> bool {
    compile(facts, ClearanceState::default(), now).until.is_some()
}

fn call_compile(facts: &[Fact], before: ClearanceState, now: Tick) -> ClearanceState {
    let records = Records::of(facts);
    let facts = NamespaceFacts {
        systems: BTreeMap::from([(SYSTEM.to_owned(), Arc::clone(&WORLD.system))]),
        versions: BTreeMap::from([(VERSION.to_owned(), Arc::clone(&WORLD.version))]),
        approvals: cached(records.approvals),
        incidents: cached(records.incidents),
        notes: cached(records.notes),
        overrides: cached(records.overrides),
        clearance: Some(Arc::new(crate::api::Clearance::new(CLEARANCE_NAME, spec(before)))),
        levels: BTreeMap::from([("high".to_owned(), Arc::clone(&WORLD.level))]),
        ..NamespaceFacts::default()
    };
    let spec =
        compile_facts(NAMESPACE, GOVERNED, &facts, instant(now)).clearance.expect("of a governed namespace");
    let system = &spec.systems[SYSTEM];
    ClearanceState {
        until: system.cleared.first().map(|version| tick(version.not_after.0)),
        lost_at: system.lost_at.as_ref().map(|at| tick(at.0)),
    }
}

/// Converts objects to the types in the operator's caches.
fn cached<K: kube::Resource, V: From<K>>(objects: Vec<K>) -> BTreeMap<String, Arc<V>> {
    objects.into_iter().map(|object| (object.name_any(), Arc::new(object.into()))).collect()
}

/// The objects that people create. Their creation times are before the start of the model, in the order of the facts.
#[derive(Default)]
struct Records {
    approvals: Vec<Approval>,
    incidents: Vec<Incident>,
    notes: Vec<IncidentNote>,
    overrides: Vec<Override>,
}

impl Records {
    fn of(facts: &[Fact]) -> Self {
        let (mut records, mut held) = (Self::default(), Vec::new());
        for (n, fact) in facts.iter().enumerate() {
            match fact {
                Fact::Approve(until) => records.approve(n, *until),
                Fact::Revoke => records.approvals.push(approval(n, &json!({ "decision": "Revoke" }))),
                Fact::Hold => {
                    held.push(records.incidents.len());
                    let incident = json!({ "system": SYSTEM, "effect": "Hold", "description": "drift",
                        "openedBy": { "user": "bob" } });
                    records.incidents.push(object("Incident", ("incident", n), 0, &incident));
                }
                Fact::Resume => {
                    let incident = held.pop().expect("a hold that is not lifted");
                    records.resume(n, incident);
                }
                Fact::Override(until) => records.override_(n, *until),
            }
        }
        records
    }

    fn approve(&mut self, n: usize, until: Tick) {
        let spec = json!({ "decision": "Approve", "notAfter": instant(until).to_string() });
        self.approvals.push(approval(n, &spec));
    }

    /// Adds the notes that must exist before people can resume a version, and then the decision to resume.
    fn resume(&mut self, n: usize, incident: usize) {
        let incident = &self.incidents[incident];
        for type_ in ["RootCause", "Action", "Verification"] {
            let note = json!({ "incident": incident.name_any(), "type": type_, "text": "text", "by": { "user": "dev" } });
            self.notes.push(object("IncidentNote", (&type_.to_lowercase(), n), 0, &note));
        }
        let named = json!({ "name": incident.name_any(), "digest": incident.spec.digest(NAMESPACE) });
        self.approvals.push(approval(n, &json!({ "decision": "Resume", "incident": named })));
    }

    fn override_(&mut self, n: usize, until: Tick) {
        let waives = json!([{ "type": "Approval", "name": "risk" }]);
        let spec = json!({ "system": SYSTEM, "modelVersion": VERSION, "subjectDigest": WORLD.digest, "waives": waives,
            "reason": "outage", "notAfter": instant(until).to_string(), "requestedBy": { "user": "bob" } });
        let asked: Override = object("Override", ("override", n), 0, &spec);
        let named = json!({ "name": asked.name_any(), "digest": asked.spec.digest(NAMESPACE) });
        self.approvals.push(approval(n, &json!({ "decision": "Override", "override": named })));
        self.overrides.push(asked);
    }
}

/// The decision of the `n`th fact. It is created one second after the other objects of this fact.
fn approval(n: usize, more: &serde_json::Value) -> Approval {
    let mut spec = json!({ "system": SYSTEM, "modelVersion": VERSION, "subjectDigest": WORLD.digest, "role": "risk",
        "approver": { "user": "alice" } });
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    object("Approval", ("decision", n), 1, &spec)
}

/// An object of the `n`th fact. It is created `after` seconds after the first object of this fact.
fn object<K: DeserializeOwned>(
    kind: &str,
    (name, n): (&str, usize),
    after: i64,
    spec: &serde_json::Value,
) -> K {
    let second = EPOCH - 1000 + 10 * i64::try_from(n).expect("few") + after;
    let at = Timestamp::from_second(second).expect("in range");
    let object = json!({ "spec": spec,
        "metadata": { "name": format!("{name}-{n}"), "namespace": NAMESPACE, "creationTimestamp": at.to_string() } });
    serde_json::from_value(with_type(object, kind)).expect("as the schema says")
}

fn spec(clearance: ClearanceState) -> ClearanceSpec {
    let time = |tick| k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(instant(tick));
    let cleared = clearance.until.map(|until| ClearedVersion {
        model_version: VERSION.to_owned(),
        subject_digest: WORLD.digest.clone(),
        not_after: time(until),
        runtime: WORLD.version.spec.runtime.clone(),
        patterns: None,
    });
    let system = SystemClearance {
        cleared: cleared.into_iter().collect(),
        on_loss: WORLD.level.spec.on_loss.clone(),
        lost_at: clearance.lost_at.map(time),
        ..SystemClearance::default()
    };
    ClearanceSpec {
        mode: Some(crate::api::Mode::Enforce),
        scope: crate::api::Scope::All,
        since: None,
        systems: BTreeMap::from([(SYSTEM.to_owned(), system)]),
        trusted: crate::api::Trusted::default(),
    }
}

/// The request that `enforce` sends about the pod, and the instant of the loss of clearance that `enforce` notes.
pub fn decide(
    pod: &Pod,
    clearance: Option<ClearanceState>,
    lost_since: Option<Tick>,
    now: Tick,
) -> (RequestedAction, Option<Tick>) {
    type Key = ((Runtime, bool, Tick, Option<Tick>), Option<ClearanceState>, Option<Tick>, Tick);
    static MEMO: LazyLock<Memo<Key, (RequestedAction, Option<Tick>)>> = LazyLock::new(Memo::new);
    let key = ((pod.runtime, pod.gated, pod.created, pod.ends_at), clearance, lost_since, now);
    MEMO.get_or_compute(key, |_| call_decide(pod, clearance, lost_since, now))
}

/// Decides about the pod and notes the instant of its loss of clearance, in the same way as the `Enforcer`.
fn call_decide(
    pod: &Pod,
    clearance: Option<ClearanceState>,
    lost_since: Option<Tick>,
    now: Tick,
) -> (RequestedAction, Option<Tick>) {
    let now = instant(now);
    let mut cache = PodCache::new(crate::images::Signs::default());
    cache.set_clearance(NAMESPACE, clearance.map(spec));
    let key = cache.set_pod(&manifest(pod));
    let decide = |cache: &PodCache| decide_about(cache, &HashSet::new(), &key, now).expect("just set");
    let note = |cache: &mut PodCache, since| {
        cache.pod_mut(&key).expect("just set").0.note(|notes| notes.lost_since = since);
    };
    note(&mut cache, lost_since.map(instant));
    let decision = decide(&cache);
    if let Some(since) = decision.lost_since() {
        note(&mut cache, Some(since));
    }
    if decision.is_cleared() {
        note(&mut cache, None);
    }
    let requested = match decide(&cache).into_action() {
        Some(Action::Release(_)) => RequestedAction::Release,
        Some(Action::Stop(Step::Evict { grace_period_seconds: s, .. })) => RequestedAction::Evict(grace(s)),
        Some(Action::Stop(Step::Delete { grace_period_seconds: s })) => RequestedAction::Delete(grace(s)),
        None => RequestedAction::Nothing,
        other => panic!("a pod of a Deployment in the mode Evict does not need {other:?}"),
    };
    let (pod, _) = cache.pod_mut(&key).expect("just set");
    (requested, pod.notes().lost_since.map(tick))
}

fn manifest(pod: &Pod) -> core::Pod {
    let image = match pod.runtime {
        Runtime::Described => "scorer:1@sha256:0",
        Runtime::ByTag => "scorer:1",
        Runtime::Other => "scorer:2",
    };
    let gates = pod.gated.then(|| json!([{ "name": GATE }]));
    let manifest = json!({
        "metadata": { "name": "pod", "namespace": NAMESPACE, "uid": pod.uid.to_string(),
                      "labels": { SYSTEM_LABEL: SYSTEM },
                      "creationTimestamp": instant(pod.created).to_string(),
                      "deletionTimestamp": pod.ends_at.map(|end| instant(end).to_string()) },
        "spec": { "containers": [{ "name": "model", "image": image }], "schedulingGates": gates,
                  "terminationGracePeriodSeconds": TICK * i64::from(OWN) },
    });
    serde_json::from_value(manifest).expect("a pod")
}
