//! Estimates the CEL cost of comparing a pod with the cleared versions of its system.
//!
//! The policy compares the pod with one version after the other, until it finds the version that the pod runs. In the
//! worst case, the pod is almost equal to each earlier version, so the policy compares every field. The cost is the sum
//! over all versions.
//!
//! The API server refuses a request if a CEL expression costs more than 1,000,000. So the API server could refuse a
//! cleared pod whose system has too many or too large versions. [`bound`] is an upper bound of the cost.
//!
//! The constants come from measurements of the expression in `admission/cel/matches.cel`, increased by at least half.
//! The end-to-end test `capacity::a_pod_of_the_last_of_many_large_versions_starts` checks the bound on a real API
//! server.

use crate::{
    api::{Container, Patterns, Runtime, Trusted, TrustedContainer, Volume},
    policy::patterns,
};

/// The maximum cost of one expression in the API server.
pub const LIMIT: u64 = 1_000_000;

/// The cost of comparing a pod with a version, apart from the containers and volumes.
const PER_VERSION: u64 = 340;

/// The cost of comparing a container, apart from the items of its lists.
const PER_CONTAINER: u64 = 640;

/// The cost of a search by name in a list, for each item of the list.
const PER_ITEM: u64 = 16;

/// The cost of checking whether a variable is in the list `mayVary.env`. Some checks of mounts and volumes cost the
/// same.
const PER_VARYING: u64 = 28;

/// The cost of comparing a variable's name with one prefix in `envPrefixes` of a trusted sidecar.
const PER_PREFIX: u64 = 8;

/// The cost of one source of a projected volume. [`parts`] states the cost of other volumes as a number of such
/// sources.
const PER_SOURCE: u64 = 80;

/// For a version with placeholders: the cost of comparing the command, arguments and variables at one list index.
const PER_POSITION: u64 = 72;

/// For a version with placeholders: the additional cost of each variable and each mount.
const PER_PATTERN_ITEM: u64 = 64;

/// The maximum length of the name of a volume claim, in characters.
const LONGEST_NAME: u64 = 253;

/// The assumed number of variables in one trusted container of a pod whose names have a prefix from `envPrefixes`.
const PREFIXED: u64 = 32;

/// The sizes of a container that determine the cost of its comparison.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    env: u64,
    varying: u64,
    prefixes: u64,
    mounts: u64,
    /// The total number of items in the lists that the expression compares as a whole, such as the list of arguments.
    items: u64,
}

/// The sizes of a version's runtime that determine the cost of its comparison.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    containers: Vec<Counts>,
    init_containers: Vec<Counts>,
    volumes: u64,
    sources: u64,
    /// The number of host aliases, name servers and search domains.
    names: u64,
    patterns: PatternCosts,
}

/// The additional costs of a version with placeholders. All are 0 for a version without placeholders.
#[derive(Clone, Copy, Debug, Default)]
struct PatternCosts {
    /// The length of the longest list among the commands, arguments and variables of all containers.
    positions: u64,
    /// The cost of matching each pattern once with the longest text.
    texts: u64,
    /// The cost of comparing all commands, arguments and values of variables once.
    literals: u64,
    /// The cost of matching one name with the pattern of a volume name.
    volume: u64,
}

/// The sizes of the trusted additions that determine the cost of a comparison.
#[derive(Clone, Debug, Default)]
pub struct Added {
    any: bool,
    env: u64,
    mounts: u64,
    volumes: u64,
    sources: u64,
    containers: Vec<Counts>,
    init_containers: Vec<Counts>,
}

impl From<&Container> for Counts {
    fn from(container: &Container) -> Self {
        let exec = &container.exec;
        let probes = [&exec.liveness_probe, &exec.readiness_probe, &exec.startup_probe];
        let commands = [&container.command, &container.args, &exec.post_start, &exec.pre_stop];
        let items = commands.into_iter().chain(probes).map(Vec::len).sum::<usize>()
            + container.env_from.len()
            + container.volume_devices.len();
        Self {
            env: count(&container.env),
            varying: count(&container.may_vary.env),
            prefixes: 0,
            mounts: count(&container.volume_mounts),
            items: items as u64,
        }
    }
}

impl From<&TrustedContainer> for Counts {
    fn from(trusted: &TrustedContainer) -> Self {
        Self { prefixes: count(&trusted.env_prefixes), ..Self::from(&trusted.container) }
    }
}

impl From<&Runtime> for Shape {
    fn from(runtime: &Runtime) -> Self {
        let dns = &runtime.dns_config;
        Self {
            containers: runtime.containers.iter().map(Counts::from).collect(),
            init_containers: runtime.init_containers.iter().map(Counts::from).collect(),
            volumes: count(&runtime.volumes),
            sources: runtime.volumes.iter().map(parts).sum(),
            names: count(&runtime.host_aliases) + count(&dns.nameservers) + count(&dns.searches),
            patterns: patterns(runtime)
                .map(|patterns| PatternCosts::of(runtime, &patterns))
                .unwrap_or_default(),
        }
    }
}

impl PatternCosts {
    fn of(runtime: &Runtime, patterns: &Patterns) -> Self {
        let containers = runtime.containers.iter().chain(&runtime.init_containers);
        let bytes = containers.map(|Container { command, args, env, .. }| {
            let values = env.iter().filter_map(|var| var.value.as_ref());
            command.iter().chain(args).chain(values).map(|text| text.len() as u64 / 10 + 1).sum::<u64>()
        });
        let volume = patterns.volume.as_ref().and_then(|volume| patterns.texts.get(volume));
        let longest = u64::try_from(patterns.longest).unwrap_or_default().max(LONGEST_NAME);
        Self {
            positions: count(&patterns.positions),
            literals: bytes.sum(),
            texts: patterns.texts.values().map(|pattern| pattern_cost(longest, pattern)).sum(),
            volume: volume.map_or(0, |pattern| PER_VARYING + pattern_cost(LONGEST_NAME, pattern)),
        }
    }
}

/// The cost of matching a text of `length` characters with a pattern. As in cel-go, the cost is the product of both
/// lengths, each with a factor: `StringTraversalCostFactor` (0.1) and `RegexStringLengthCostFactor` (0.25).
fn pattern_cost(length: u64, pattern: &str) -> u64 {
    (length / 10 + 1) * (pattern.len() as u64 / 4 + 1) + 16
}

impl From<&Trusted> for Added {
    fn from(trusted: &Trusted) -> Self {
        Self {
            any: !trusted.is_empty(),
            env: count(&trusted.env),
            mounts: count(&trusted.volume_mounts),
            volumes: count(&trusted.volumes),
            sources: trusted.volumes.iter().map(parts).sum(),
            containers: trusted.containers.iter().map(Counts::from).collect(),
            init_containers: trusted.init_containers.iter().map(Counts::from).collect(),
        }
    }
}

fn count<T>(list: &[T]) -> u64 {
    list.len() as u64
}

/// The cost of the source of a volume, in units of [`PER_SOURCE`].
fn parts(volume: &Volume) -> u64 {
    let projected = volume.projected.as_ref().map_or(0, |projected| count(&projected.sources));
    let csi = volume.csi.as_ref().map_or(0, |csi| 2 + csi.volume_attributes.len() as u64 / 8);
    let iscsi = volume.iscsi.as_ref().map_or(0, |iscsi| 2 + count(&iscsi.portals) / 8);
    let image = if volume.image.is_some() { 8 } else { 0 };
    let ephemeral = if volume.ephemeral.is_some() { 8 } else { 0 };
    projected + csi + iscsi + image + ephemeral
}

/// The sizes of the largest pod that can match one of several versions, with all trusted additions.
struct Pod {
    env: u64,
    mounts: u64,
    volumes: u64,
    containers: u64,
    init_containers: u64,
}

impl Pod {
    fn of<'a>(versions: &(impl Iterator<Item = &'a Shape> + Clone), added: &Added) -> Self {
        let most = |part: &dyn Fn(&Shape) -> u64| versions.clone().map(part).max().unwrap_or(0);
        let each = |part: &dyn Fn(&Counts) -> u64| {
            most(&|v| v.containers.iter().chain(&v.init_containers).map(part).max().unwrap_or(0))
        };
        Self {
            env: each(&|c| c.env + c.varying) + added.env,
            mounts: each(&|c| c.mounts) + added.mounts,
            volumes: most(&|v| v.volumes) + added.volumes,
            containers: most(&|v| count(&v.containers)) + count(&added.containers),
            init_containers: most(&|v| count(&v.init_containers)) + count(&added.init_containers),
        }
    }
}

/// The maximum cost of comparing a pod with all `versions`, if the pod matches one of them.
pub fn bound<'a>(versions: impl Iterator<Item = &'a Shape> + Clone, added: &Added) -> u64 {
    let pod = Pod::of(&versions, added);
    versions.map(|version| version_cost(version, &pod, added)).sum()
}

fn version_cost(version: &Shape, pod: &Pod, added: &Added) -> u64 {
    let (containers, inits) = (count(&version.containers), count(&version.init_containers));
    let one = |c: &Counts, among: u64| {
        PER_ITEM * among + container_cost(*c, pod.env, pod.mounts, version.volumes, added)
    };
    let mut cost = PER_VERSION + PER_ITEM * (pod.init_containers + inits);
    cost += version.containers.iter().map(|c| one(c, pod.containers)).sum::<u64>();
    cost += version.init_containers.iter().map(|c| one(c, pod.init_containers)).sum::<u64>();
    cost += 3 * PER_VARYING * pod.volumes + version.volumes * (PER_ITEM * pod.volumes + 64);
    cost += PER_SOURCE * version.sources + version.names;
    cost += patterns_cost(version, pod, added);
    if added.any {
        cost += PER_SOURCE * added.sources;
        cost += PER_ITEM * pod.containers * (containers + count(&added.containers));
        cost += PER_ITEM * pod.init_containers * (2 * inits + count(&added.init_containers));
        cost += PER_ITEM * pod.volumes * (version.volumes + added.volumes);
        cost += added_cost(version.volumes, added);
    }
    cost
}

fn patterns_cost(version: &Shape, pod: &Pod, added: &Added) -> u64 {
    let PatternCosts { positions, texts, literals, volume } = version.patterns;
    if positions == 0 {
        return 0;
    }
    let times = if added.any { 2 } else { 1 };
    let one = |c: &Counts| {
        let entries = PER_VARYING * pod.env * c.varying;
        let mounts = (pod.mounts + c.mounts) * (PER_PATTERN_ITEM + volume);
        let env = PER_PATTERN_ITEM * (pod.env + c.env);
        entries + texts + times * (PER_POSITION * positions + env + texts + mounts) + volume * added.mounts
    };
    let containers = version.containers.iter().chain(&version.init_containers).map(one).sum::<u64>();
    containers + times * literals + 2 * volume * pod.volumes
}

/// The maximum cost of comparing all containers of a pod that are trusted additions. `volumes` is the number of volumes
/// of the version.
fn added_cost(volumes: u64, added: &Added) -> u64 {
    let one = |c: &Counts| {
        let prefixed = if c.prefixes > 0 { PREFIXED } else { 0 };
        container_cost(*c, c.env + c.varying + prefixed + added.env, c.mounts + added.mounts, volumes, added)
    };
    added.containers.iter().chain(&added.init_containers).map(one).sum()
}

/// The cost of comparing the approved or trusted container `c` with a container of the pod. The pod's container has
/// `env` variables and `mounts` mounts. `volumes` is the number of volumes of the version.
fn container_cost(c: Counts, env: u64, mounts: u64, volumes: u64, added: &Added) -> u64 {
    // The expression iterates over the variables once. If any additions are trusted, the expression iterates a second
    // time.
    let per_variable = if c.varying + c.prefixes > 0 { PER_VARYING + PER_PREFIX * c.prefixes } else { 1 };
    let times = if added.any { 2 } else { 1 };
    let mut cost = PER_CONTAINER + c.items + c.env + times * (env * per_variable + 20 * mounts);
    if added.any {
        cost += PER_ITEM * (env + mounts);
        cost +=
            added.env * (PER_ITEM * c.env + PER_VARYING) + added.mounts * (PER_ITEM * volumes + PER_VARYING);
    }
    cost
}

#[cfg(test)]
mod tests {
    use crate::api::{EnvVar, MayVary, VolumeMount};

    use super::*;

    fn shape(containers: usize, env: usize, varying: usize) -> Shape {
        let container = Container {
            env: vec![EnvVar::default(); env],
            may_vary: MayVary { env: vec!["X".into(); varying] },
            ..Container::default()
        };
        Shape::from(&Runtime { containers: vec![container; containers], ..Runtime::default() })
    }

    fn trusted(env: usize) -> Added {
        Added::from(&Trusted { env: vec![EnvVar::default(); env], ..Trusted::default() })
    }

    fn cost(versions: usize, shape: &Shape, added: &Added) -> u64 {
        bound(std::iter::repeat_n(shape, versions), added)
    }

    /// The measured costs come from cel-go and the expression in `admission/cel/matches.cel`. The versions differ in
    /// the last variable. Each pod has all variables that may vary and all trusted additions.
    #[test]
    fn the_bound_exceeds_every_measured_cost_by_half() {
        for (versions, containers, env, varying, added, measured) in [
            (32, 1, 100, 64, 32, 1_118_455),
            (32, 1, 150, 40, 20, 1_111_543),
            (16, 1, 256, 64, 32, 1_386_007),
            (24, 2, 150, 40, 30, 2_329_618),
            (8, 1, 100, 64, 32, 279_751),
            (5, 1, 10, 0, 64, 34_963),
            (5, 1, 100, 64, 0, 15_390),
            (32, 6, 40, 0, 0, 46_151),
        ] {
            let bound = cost(versions, &shape(containers, env, varying), &trusted(added));
            assert!(bound > measured * 3 / 2, "{bound} is not well above {measured}");
        }
    }

    /// The measured costs come from cel-go, with two containers and two volumes. In the last case, the images of the
    /// pod have tags beside their digests, and the approved images have no tags.
    #[test]
    fn the_bound_exceeds_the_measured_cost_of_each_volume_source() {
        let claim = serde_json::json!({ "metadata": { "labels": { "a": "b" } }, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } },
            "selector": { "matchLabels": { "a": "b" } }, "dataSource": { "apiGroup": "g", "kind": "K", "name": "n" } } });
        let attributes: serde_json::Map<_, _> = (0..64).map(|n| (format!("k{n}"), "v".into())).collect();
        for (source, measured) in [
            (serde_json::json!({ "persistentVolumeClaim": { "claimName": "c" } }), 962),
            (serde_json::json!({ "hostPath": { "path": "/m" } }), 973),
            (serde_json::json!({ "csi": { "driver": "d", "volumeAttributes": attributes } }), 998),
            (
                serde_json::json!({ "iscsi": { "targetPortal": "t", "iqn": "i", "lun": 0, "portals": vec!["p"; 16] } }),
                967,
            ),
            (serde_json::json!({ "ephemeral": { "volumeClaimTemplate": claim } }), 1306),
            (serde_json::json!({ "image": { "reference": "r" } }), 1638),
        ] {
            let container = Container {
                args: vec!["a".into(); 2],
                env: vec![EnvVar::default(); 10],
                volume_mounts: vec![VolumeMount::default(); 2],
                ..Container::default()
            };
            let mut runtime = Runtime { containers: vec![container; 2], ..Runtime::default() };
            let mut volume = source.clone();
            volume["name"] = "v".into();
            let volume = serde_json::from_value(volume).expect("a volume");
            runtime.volumes = vec![volume, Volume::default()];
            let bound = cost(1, &Shape::from(&runtime), &Added::default());
            assert!(bound > measured * 3 / 2, "{source}: {bound} is not well above {measured}");
        }
    }

    #[test]
    fn the_maximum_number_of_ordinary_versions_fits_the_cost_limit() {
        let mut ordinary = shape(2, 30, 4);
        ordinary.volumes = 6;
        let sidecar = TrustedContainer {
            container: Container { env: vec![EnvVar::default(); 20], ..Container::default() },
            env_prefixes: vec!["ISTIO_".to_owned()],
            ..TrustedContainer::default()
        };
        let mesh = Trusted {
            containers: vec![sidecar.clone()],
            init_containers: vec![sidecar],
            ..Trusted::default()
        };
        let cost = cost(32, &ordinary, &Added::from(&mesh));
        assert!(cost < LIMIT, "{cost}");
    }

    #[test]
    fn one_large_version_raises_the_cost_of_the_other_versions() {
        let (small, large) = (shape(1, 10, 1), shape(1, 256, 64));
        let apart = cost(1, &small, &trusted(4)) + cost(1, &large, &trusted(4));
        assert!(bound([&small, &large].into_iter(), &trusted(4)) > apart);
    }
}
