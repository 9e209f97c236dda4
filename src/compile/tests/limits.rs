//! Tests the limits of a Clearance.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::{SignedDuration, Timestamp},
};
use kube::core::object::{HasSpec, HasStatus};
use proptest::prelude::*;
use serde::Serialize;

use crate::compile::{
    NamespaceFacts,
    clearance::{Compiled, compile_within},
    cost::{self, Added, Shape},
    index::{Cached, Index},
    room::{METADATA, MOST_BYTES, Room},
    stored::stored_size,
    stored_status::{Slim, StoredStatus},
};
use crate::{
    api::{
        AISystemSpec, AISystemStatus, Attribution, CLEARANCE_NAME, Clearance, ClearanceSpec, Container,
        Decommission, EnvVar, Governance, ImagePolicy, Mode, ModelVersionSpec, OnLoss, PodCount, Requirement,
        RiskLevel, RiskLevelSpec, Runtime, Scope, Text, Trusted,
    },
    policy::{ClusterVariable, Requirements},
};

const GOVERNED: Governance = Governance { mode: Some(Mode::Enforce), scope: Scope::All };

/// The grace period of the levels `free` and `never`, in seconds.
const GRACE: u32 = 77;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).expect("in range")
}

fn cached<K: HasSpec + HasStatus<Status: Serialize + Slim>>(
    name: &str,
    created: Option<Timestamp>,
    spec: K::Spec,
    status: Option<K::Status>,
) -> Arc<Cached<K>> {
    let (name, attribution) = (name.to_owned(), Attribution::default());
    Arc::new(Cached {
        name,
        namespace: Text::default(),
        uid: None,
        generation: None,
        created,
        attribution,
        spec,
        status: status.map(StoredStatus::new),
    })
}

/// The compiled requirements of the level `free`: only `expression`.
fn requirements(expression: &str) -> BTreeMap<String, Arc<Requirements>> {
    let requirement = Requirement {
        name: "rule".to_owned(),
        expression: expression.to_owned(),
        message: "the rule".to_owned(),
        controls: Vec::new(),
    };
    BTreeMap::from([("free".to_owned(), Arc::new(Requirements::compile(&[requirement])))])
}

/// A namespace and two levels. All versions of a system of level `free` may run, but no version of a system of level
/// `never`.
struct World {
    facts: NamespaceFacts,
    now: i64,
}

impl World {
    fn new() -> Self {
        let level = |name: &str, prohibited| {
            let on_loss = OnLoss { grace_period_seconds: GRACE, ..OnLoss::default() };
            let spec =
                RiskLevelSpec { images: ImagePolicy::Tag, prohibited, on_loss, ..RiskLevelSpec::default() };
            (name.to_owned(), Arc::new(RiskLevel::new(name, spec)))
        };
        let levels = BTreeMap::from([level("free", false), level("never", true)]);
        Self { facts: NamespaceFacts { levels, ..NamespaceFacts::default() }, now: 0 }
    }

    fn system(&mut self, name: &str, level: &str, running: u32) {
        let spec = AISystemSpec { risk_level: level.to_owned(), ..AISystemSpec::default() };
        let pods = PodCount { running, ..PodCount::default() };
        let status = Some(AISystemStatus { pods: Some(pods), ..AISystemStatus::default() });
        let before = self.facts.systems.get(name);
        let created = Some(before.and_then(|before| before.created).unwrap_or(at(self.now)));
        self.facts.systems.insert(name.to_owned(), cached(name, created, spec, status));
    }

    /// Adds a version of `system` with one argument of `ampersands` characters `&`, and with `env` variables.
    fn version(&mut self, system: &str, name: &str, ampersands: usize, env: usize) {
        let container = Container {
            args: vec![name.into(), "&".repeat(ampersands).as_str().into()],
            env: vec![EnvVar { name: "X".into(), ..EnvVar::default() }; env],
            ..Container::default()
        };
        let runtime = Runtime { containers: vec![container], ..Runtime::default() };
        let spec = ModelVersionSpec {
            system: system.to_owned(),
            runtime: runtime.into(),
            ..ModelVersionSpec::default()
        };
        let created = Some(at(self.now));
        self.facts.versions.insert(name.to_owned(), cached(name, created, spec, None));
    }

    fn trust(&mut self, env: usize) {
        let env = (0..env).map(|n| EnvVar { name: format!("T{n}").into(), ..EnvVar::default() }).collect();
        self.facts.trusted = Arc::new(Trusted { env, ..Trusted::default() });
    }

    /// Compiles, and uses the result as the current Clearance.
    fn compile(&mut self) -> Compiled {
        self.compile_within(Room::Everything)
    }

    fn compile_within(&mut self, room: Room) -> Compiled {
        let compiled = compile_within(room, "n", GOVERNED, &self.facts, at(self.now));
        let spec = compiled.clearance.clone().expect("a governed namespace has a Clearance");
        self.facts.clearance = Some(Arc::new(Clearance::new(CLEARANCE_NAME, spec)));
        self.now += 1;
        compiled
    }

    fn in_force(&self) -> &ClearanceSpec {
        &self.facts.clearance.as_ref().expect("it was compiled").spec
    }

    fn cleared(&self, system: &str) -> Vec<&str> {
        let system = self.in_force().systems.get(system);
        system.into_iter().flat_map(|s| &s.cleared).map(|v| &*v.model_version).collect()
    }

    fn message(compiled: &Compiled, version: &str) -> String {
        let conditions = &compiled.statuses.versions[version].conditions;
        let cleared = conditions.iter().find(|c| c.type_ == "Cleared").expect("every version has it");
        format!("{} {}", &*cleared.reason, &*cleared.message)
    }
}

#[test]
fn newer_versions_do_not_displace_a_running_version() {
    let mut world = World::new();
    world.system("colleague", "free", 1);
    world.version("colleague", "v1", 10_000, 1);
    world.compile();
    for n in 0..40 {
        let system = format!("a-{n:02}");
        world.system(&system, "free", 0);
        for v in 0..4 {
            world.version(&system, &format!("{system}-{v}"), 16_000, 1);
        }
        world.compile();
    }
    assert_eq!(world.cleared("colleague"), ["v1"]);
    assert!(world.cleared("a-39").is_empty(), "the last version fits, although the Clearance is full");
    let compiled = world.compile();
    let message = World::message(&compiled, "a-39-0");
    for words in [
        "CapacityExceeded",
        "the version takes 96",
        "the largest systems are: a-0",
        "kubectl get modelversions -n n",
    ] {
        assert!(message.contains(words), "{words}: {message}");
    }
}

#[test]
fn the_first_version_of_each_system_precedes_the_second_of_any() {
    let mut world = World::new();
    for v in 0..30 {
        world.now = v;
        world.system("flood", "free", 0);
        world.version("flood", &format!("flood-{v:02}"), 4_000, 1);
    }
    for n in 0..20 {
        let system = format!("z-{n:02}");
        world.system(&system, "free", 0);
        world.version(&system, &format!("{system}-0"), 4_000, 1);
    }
    world.compile();
    assert!((0..20).all(|n| world.cleared(&format!("z-{n:02}")).len() == 1));
    assert!(world.cleared("flood").contains(&"flood-00") && !world.cleared("flood").contains(&"flood-29"));
}

#[test]
fn a_new_system_does_not_displace_another_although_its_name_sorts_first() {
    let mut world = World::new();
    for n in 0..256 {
        let system = format!("m-{n:03}");
        world.system(&system, "free", 0);
        world.version(&system, &format!("{system}-0"), 1, 1);
    }
    world.compile();
    world.system("a-first", "free", 0);
    world.version("a-first", "a-0", 1, 1);
    let compiled = world.compile();
    assert_eq!(world.in_force().systems.len(), 256);
    assert!((0..256).all(|n| world.cleared(&format!("m-{n:03}")).len() == 1));
    let message = World::message(&compiled, "a-0");
    assert!(
        message.starts_with("CapacityExceeded the Clearance of the namespace already has 256 systems"),
        "{message}"
    );
    // A deleted system keeps its entry until the end of its grace period.
    world.facts.systems.remove("m-100");
    world.compile();
    assert_eq!(world.in_force().systems["m-100"].on_loss.grace_period_seconds, GRACE);
    world.now += i64::from(GRACE);
    world.compile();
    assert_eq!(world.cleared("a-first"), ["a-0"]);
}

#[test]
fn a_system_with_pods_keeps_its_entry_without_any_cleared_version() {
    let mut world = World::new();
    for n in 0..255 {
        world.system(&format!("m-{n:03}"), "free", 0);
    }
    world.system("z-audited", "never", 2);
    world.compile();
    for n in 0..300 {
        let system = format!("a-{n:03}");
        world.system(&system, "free", 0);
        world.version(&system, &format!("{system}-0"), 1, 1);
    }
    world.compile();
    assert_eq!(world.in_force().systems["z-audited"].on_loss.grace_period_seconds, GRACE);
}

#[test]
fn a_version_larger_than_the_share_of_its_system_is_withheld() {
    let mut world = World::new();
    world.system("s", "free", 0);
    world.version("s", "v1", 213_000, 1);
    world.version("s", "v2", 213_000, 1);
    let compiled = world.compile();
    assert!(world.cleared("s").is_empty());
    assert!(World::message(&compiled, "v1").contains("of the 524288 that one system can have"));
}

#[test]
fn versions_beyond_the_cost_limit_are_withheld_and_running_ones_stay_cleared() {
    let mut world = World::new();
    world.trust(32);
    world.system("s", "free", 1);
    for v in 0..32 {
        world.now = v;
        world.version("s", &format!("v{v:02}"), 1, 150);
    }
    let compiled = world.compile();
    let cleared = world.cleared("s").len();
    assert!((4..20).contains(&cleared), "{cleared}");
    assert!(world.cleared("s").contains(&"v00") && !world.cleared("s").contains(&"v31"));
    let message = World::message(&compiled, "v31");
    assert!(message.contains("of the API server's cost limit"), "{message}");
    world.trust(36);
    world.compile();
    assert_eq!(world.cleared("s").len(), cleared, "a trusted sidecar added later displaces no version");
}

#[test]
fn a_smaller_clearance_still_records_every_loss() {
    for (room, kept, new) in [
        (Room::Everything, true, true),
        (Room::WithoutMessages, true, true),
        (Room::WhatIsCleared, true, false),
        (Room::Losses, false, false),
    ] {
        let mut world = World::new();
        for name in ["lost", "kept"] {
            world.system(name, "free", 1);
            world.version(name, &format!("{name}-1"), 1, 1);
        }
        world.compile();
        world.system("lost", "never", 1);
        world.system("new", "free", 0);
        world.version("new", "new-1", 1, 1);
        world.version("lost", "lost-2", 1, 1);
        let compiled = world.compile_within(room);
        let lost = &world.in_force().systems["lost"];
        assert!(lost.cleared.is_empty() && lost.lost_at.is_some(), "{room:?}");
        assert_eq!(lost.on_loss.grace_period_seconds, GRACE);
        assert_eq!(lost.withheld.is_empty(), room != Room::Everything);
        assert_eq!(
            (world.cleared("kept").len() == 1, world.cleared("new").len() == 1),
            (kept, new),
            "{room:?}"
        );
        assert_eq!(World::message(&compiled, "new-1").contains("the API server refused to store"), !new);
    }
}

#[test]
fn messages_are_shortened_until_all_fit() {
    let mut world = World::new();
    for n in 0..40 {
        let (system, level) = (format!("s-{n:02}"), format!("no-such-{}", "x".repeat(50)));
        world.system(&system, &level, 0);
        for v in 0..16 {
            world.version(&system, &format!("{system}-{v}-{}", "y".repeat(200)), 1, 1);
        }
    }
    world.compile();
    let sizes = world.in_force().systems.values().map(|s| s.withheld.len());
    assert!(sizes.clone().all(|size| size == 16), "{:?}", sizes.collect::<Vec<_>>());
    assert!(stored_size(world.in_force()) < MOST_BYTES);
}

#[derive(Clone, Debug)]
enum Step {
    Version { system: usize, ampersands: usize, env: usize },
    Prohibit(usize),
    Allow(usize),
    Delete(usize),
    Trust(usize),
    Wait(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let system = 0..6_usize;
    prop_oneof![
        8 => (system.clone(), prop_oneof![Just(1), Just(5_000), Just(16_000), Just(60_000)], 0..256_usize)
            .prop_map(|(system, ampersands, env)| Step::Version { system, ampersands, env }),
        1 => system.clone().prop_map(Step::Prohibit),
        2 => system.clone().prop_map(Step::Allow),
        1 => system.prop_map(Step::Delete),
        1 => (0..64_usize).prop_map(Step::Trust),
        1 => (0..100_i64).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_clearance_can_be_stored_and_cleared_versions_stay_cleared(steps in proptest::collection::vec(step(), 1..40)) {
        let mut world = World::new();
        for (n, step) in steps.into_iter().enumerate() {
            let trusted_more = matches!(step, Step::Trust(_));
            match step {
                Step::Version { system, ampersands, env } => {
                    world.version(&format!("s{system}"), &format!("v{n:02}"), ampersands, env);
                }
                Step::Prohibit(system) => world.system(&format!("s{system}"), "never", 1),
                Step::Allow(system) => world.system(&format!("s{system}"), "free", 1),
                Step::Delete(system) => {
                    world.facts.systems.remove(&format!("s{system}"));
                }
                Step::Trust(env) => world.trust(env),
                Step::Wait(seconds) => world.now += seconds,
            }
            let before = world.facts.clearance.as_ref().map(|c| c.spec.clone()).unwrap_or_default();
            let compiled = world.compile();
            let after = world.in_force();

            prop_assert!(stored_size(after) + METADATA <= MOST_BYTES);
            for (name, system) in &after.systems {
                let shapes: Vec<_> = system.cleared.iter().map(|v| Shape::from(&*v.runtime)).collect();
                prop_assert!(cost::bound(shapes.iter(), &Added::from(&after.trusted)) <= cost::LIMIT);
                prop_assert!(system.cleared.len() <= 32 && system.withheld.len() <= 64);
                prop_assert!(before.systems.contains_key(name) || world.facts.systems.contains_key(name));
            }
            for (name, system) in &before.systems {
                let now = after.systems.get(name);
                for version in &system.cleared {
                    let stays = now.is_some_and(|now| now.cleared.iter().any(|v| v.model_version == version.model_version));
                    let allowed = world.facts.systems.get(name).is_some_and(|s| s.spec.risk_level == "free");
                    // A cleared version leaves the Clearance only if its system is deleted or gets the level
                    // `never`, or if a new trusted sidecar displaces the version.
                    prop_assert!(stays == allowed || trusted_more, "{}", &version.model_version);
                    if !stays {
                        let lost = now.is_some_and(|now| now.lost_at.is_some());
                        prop_assert!(lost, "the loss of {} is not recorded", name);
                    }
                }
            }
            for (name, status) in &compiled.statuses.versions {
                let status = status.conditions.iter().any(|c| c.type_ == "Cleared" && c.status == "True");
                let entry = after.systems.values().flat_map(|s| &s.cleared).any(|v| v.model_version == *name);
                prop_assert_eq!(status, entry, "the status of {} contradicts the Clearance", name);
            }
        }
    }
}

#[test]
fn only_a_namespace_whose_expressions_read_network_policies_waits_for_their_list() {
    let index = Index::new(ClusterVariable::ALL.into());
    let facts =
        |expression: &str| NamespaceFacts { requirements: requirements(expression), ..Default::default() };
    assert!(!index.is_complete(&facts("networkPolicies.size() > 0")));
    assert!(index.is_complete(&facts("version.spec.system == \"chat\"")));
}

#[test]
fn a_system_without_a_version_is_compiled_again_and_decommissioned_at_its_date() {
    let mut world = World::new();
    world.now = 100;
    world.system("chat", "free", 0);
    let (date, reason) = (at(120) + SignedDuration::from_millis(900), "it is replaced".to_owned());
    let decommission = Some(Decommission { date: Time(date), reason, successor: None });
    let spec = AISystemSpec { decommission, ..world.facts.systems["chat"].spec.clone() };
    world.facts.systems.insert("chat".to_owned(), cached("chat", Some(at(1)), spec, None));
    let compiled = world.compile();
    assert_eq!(compiled.revisit, Some(at(120)));
    assert_eq!(compiled.statuses.systems["chat"].decommissioned, None);
    world.now = 120;
    assert_eq!(world.compile().statuses.systems["chat"].decommissioned, Some(true));
}

#[test]
fn expensive_expressions_of_other_versions_do_not_stop_a_cleared_version() {
    let mut world = World::new();
    world.system("chat", "free", 1);
    world.version("chat", "z-runs", 1, 0);
    world.compile();
    assert_eq!(world.cleared("chat"), ["z-runs"]);

    let nested =
        "version.spec.runtime.containers.all(c, !has(c.env) || c.env.all(a, c.env.all(b, a.name == b.name)))";
    world.facts.requirements = requirements(nested);
    for n in 0..200 {
        world.version("chat", &format!("a-{n}"), 1, 250);
    }
    let compiled = world.compile();
    assert!(world.cleared("chat").contains(&"z-runs"), "{:?}", world.cleared("chat"));
    let last = &compiled.statuses.versions["a-99"].conditions;
    assert!(last.iter().any(|c| c.message.contains("too many steps")), "the budget is not used up: {last:?}");
}
