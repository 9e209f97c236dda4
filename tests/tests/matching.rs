//! The comparison of a pod with the approved runtime exists twice: in CEL for the API server, and in Rust for the
//! operator and the plugin. In this test, both implementations compare the same generated pods with the same Clearance.
//! They must agree on each pod.
//!
//! ```text
//!                              ┌─► API server: adds the gate, or does not ─┐
//!  random Clearance and pod ───┤                                           ├─► equal decisions
//!                              └─► Rust: `policy::matches` ────────────────┘
//! ```
//!
//! A third of the approved runtimes have placeholders. Their pods contain values of these placeholders, or near misses.
//! A near miss is a text that the placeholder does not match. A quarter of the pods name images without the approved
//! digest, or with a similar name. At the end, the test checks that the pods covered the
//! fields of a runtime: each field occurs in a cleared pod. For each field that can differ, a pod is held because only
//! this field differs.
//!
//! The environment variable `ASSENT_MATCHING_PODS` sets the number of pods (default 10,000), and `ASSENT_SEED` sets the
//! seed of the random generator (default 42).

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use assent::api::{Clearance, Placeholder, Runtime, Trusted, definitions};
use assent::policy::{Pins, matches, matches_if_pinned, patterns, runtime_of_pod};
use assent_tests::{Assent, Component, ControlPlane, NAMESPACE, Options, Person, until};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, PostParams};
use kube::{Api, Error};
use serde_json::{Value, json};

const NS: &str = "matching";

/// The number of generated runtimes in one Clearance.
const RUNTIMES: usize = 40;

/// The number of pods in one round. Each round has a new Clearance. The last round can have fewer pods.
const PODS: usize = 1000;

const CONCURRENCY: usize = 8;

/// Fields for which the API server accepts only one value. So no valid pod differs from its runtime in these fields.
const FIXED: [&str; 4] = [
    "containers.env.valueFrom.fieldRef.apiVersion",
    "initContainers.env.valueFrom.fieldRef.apiVersion",
    "volumes.downwardAPI.items.fieldRef.apiVersion",
    "volumes.projected.sources.downwardAPI.items.fieldRef.apiVersion",
];

struct Case {
    pod: Value,
    /// The index of the system that the pod names. Before the changes, the pod had the runtime of this system.
    system: usize,
    /// The field that [`change_one_field`] changed. The pod then has no other change.
    field: Option<String>,
    /// Whether the pod went through [`inject`], which adds parts that a cluster can inject, such as sidecars.
    injected: bool,
    /// Whether images of the pod lost their digests.
    by_tag: bool,
}

/// For each field, how often [`change_one_field`] chose this field.
type Changes = BTreeMap<String, usize>;

/// The result of [`compare`] for one pod.
enum Outcome {
    Cleared,
    Held,
    /// Kubernetes refuses the pod as invalid, so Rust does not compare the pod.
    Invalid,
}

#[derive(Default)]
struct Tally {
    cleared: usize,
    /// The number of cleared pods with injected parts.
    injected: usize,
    /// Of the pods whose approved runtime has placeholders: the number of cleared pods, and the number of held pods.
    patterned: [usize; 2],
    /// The numbers of cleared and of held pods whose images lost their digests.
    by_tag: [usize; 2],
    held: usize,
    invalid: usize,
    /// The fields that occur in the approved runtime of at least one cleared pod.
    cleared_fields: BTreeSet<String>,
    /// For each field, the number of held pods in which only this field was changed.
    held_fields: BTreeMap<String, usize>,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_and_the_operator_agree_on_every_pod() -> Result<()> {
    let number =
        |name: &str, default: u64| env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    let (pods, seed) = (usize::try_from(number("ASSENT_MATCHING_PODS", 10_000))?, number("ASSENT_SEED", 42));
    let options =
        Options { nodes: 0, without: vec![Component::Scheduler, Component::Kwok], ..Options::default() };
    let cluster = ControlPlane::start_with(options).await?;
    let assent = Assent::install(&cluster).await?;
    // The test writes the Clearance itself, with the account of the operator. A running operator would overwrite this
    // Clearance.
    assent.operator().kill();
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": NS, "labels": { "assent.dev/mode": "enforce" } } });
    cluster.kubectl_stdin(Person::Admin, &["apply", "-f", "-"], &namespace.to_string()).await?.ok()?;
    let operator = cluster.service_account(NAMESPACE, "assent").await?.client()?;
    let api: Api<Pod> = Api::namespaced(cluster.client(Person::Admin)?, NS);

    let mut rng = fastrand::Rng::with_seed(seed);
    let (mut tally, mut changes) = (Tally::default(), Changes::new());
    for round in 0..pods.div_ceil(PODS) {
        let runtimes: Vec<Value> = (0..RUNTIMES).map(|_| runtime(&mut rng)).collect();
        // In the first round, the Clearance trusts no parts. So this round also tests injected parts that nobody
        // trusts.
        let trusted_parts = if round == 0 { json!({}) } else { trusted() };
        let (known, trusted) = publish(&operator, round, &runtimes, &trusted_parts).await?;
        wait_for_round(&api, round).await?;
        let cases: Vec<Case> =
            (0..PODS.min(pods - round * PODS)).map(|_| case(&mut rng, &runtimes, &mut changes)).collect();
        let outcomes = futures::stream::iter(&cases)
            .map(async |case| compare(&api, &case.pod, &known[case.system], &trusted).await);
        let outcomes: Vec<Outcome> =
            outcomes.buffered(CONCURRENCY).try_collect().await.with_context(|| format!("seed {seed}"))?;
        for (case, outcome) in cases.iter().zip(outcomes) {
            tally.count(case, &outcome, &known[case.system])?;
        }
    }
    println!(
        "{} pods cleared, {} of them with trusted sidecars, {} held, {} invalid; cleared and held: with placeholders {:?}, by tag {:?}",
        tally.cleared, tally.injected, tally.held, tally.invalid, tally.patterned, tally.by_tag
    );
    tally.check_coverage(pods)
}

impl Tally {
    fn count(&mut self, case: &Case, outcome: &Outcome, approved: &Runtime) -> Result<()> {
        if patterns(approved).is_some() {
            self.patterned[0] += usize::from(matches!(outcome, Outcome::Cleared));
            self.patterned[1] += usize::from(matches!(outcome, Outcome::Held));
        }
        if case.by_tag {
            self.by_tag[0] += usize::from(matches!(outcome, Outcome::Cleared));
            self.by_tag[1] += usize::from(matches!(outcome, Outcome::Held));
        }
        match outcome {
            Outcome::Cleared => {
                self.cleared += 1;
                self.injected += usize::from(case.injected);
                collect_fields(&serde_json::to_value(approved)?, "", &mut self.cleared_fields);
            }
            Outcome::Held => {
                self.held += 1;
                if let Some(field) = &case.field {
                    *self.held_fields.entry(field.clone()).or_default() += 1;
                }
            }
            Outcome::Invalid => self.invalid += 1,
        }
        Ok(())
    }

    /// Fails if the shares of cleared, invalid or injected pods are not as expected. With at least 2,000 pods, also
    /// fails if too few pods belong to runtimes with placeholders, or if the pods do not cover every field of a
    /// runtime.
    fn check_coverage(&self, pods: usize) -> Result<()> {
        let valid = self.cleared + self.held;
        let share = self.cleared * 100 / valid.max(1);
        ensure!((40..=60).contains(&share), "{share} % of the pods are cleared, expected 40 to 60 %");
        ensure!(self.invalid * 10 < valid, "{} of {pods} pods are invalid", self.invalid);
        ensure!(self.injected * 10 > self.cleared, "only {} cleared pods have injected parts", self.injected);
        if pods < 2000 {
            return Ok(());
        }
        let enough = self.patterned.iter().all(|count| count * 20 > pods);
        ensure!(enough, "too few pods of runtimes with placeholders: {:?} of {pods}", self.patterned);
        let enough = self.by_tag.iter().all(|count| count * 20 > pods);
        ensure!(enough, "too few pods that name images by tag: {:?} of {pods}", self.by_tag);
        let all = schema_fields()?;
        let never: Vec<_> = all.iter().filter(|field| !self.cleared_fields.contains(*field)).collect();
        ensure!(never.is_empty(), "no cleared pod has {never:?}");
        let may_differ = |field: &&String| {
            !FIXED.contains(&field.as_str()) && !field.contains("mayVary") && *field != "placeholders"
        };
        let missing: Vec<_> =
            all.iter().filter(may_differ).filter(|field| !self.held_fields.contains_key(*field)).collect();
        ensure!(missing.is_empty(), "no pod was held because only {missing:?} differed");
        Ok(())
    }
}

/// Returns the path of every leaf field of a runtime in the schema of a Clearance, such as `containers.env.value`.
fn schema_fields() -> Result<BTreeSet<String>> {
    let definition =
        definitions().into_iter().find(|d| d.spec.names.kind == "Clearance").context("no Clearance")?;
    let schema = serde_json::to_value(definition.spec.versions.first().context("no version")?)?;
    let system = &schema["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["systems"]["additionalProperties"];
    let mut fields = BTreeSet::new();
    collect_schema_fields(
        &system["properties"]["cleared"]["items"]["properties"]["runtime"],
        "",
        &mut fields,
    );
    ensure!(fields.len() > 40, "the schema of a runtime has too few fields: {system}");
    Ok(fields)
}

fn collect_schema_fields(schema: &Value, path: &str, fields: &mut BTreeSet<String>) {
    let inner = if schema["items"].is_object() { &schema["items"] } else { schema };
    match inner["properties"].as_object() {
        Some(properties) => {
            for (name, inner) in properties {
                collect_schema_fields(inner, &join(path, name), fields);
            }
        }
        None => drop(fields.insert(path.to_owned())),
    }
}

fn collect_fields(value: &Value, path: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(inner) if !inner.is_empty() && !is_map(path) => {
            for (name, value) in inner {
                collect_fields(value, &join(path, name), into);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for item in items {
                collect_fields(item, path, into);
            }
        }
        _ => drop(into.insert(path.to_owned())),
    }
}

fn is_map(path: &str) -> bool {
    path.rsplit('.').next().is_some_and(|name| MAPS.contains(&name))
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Lets the API server and Rust decide about a pod. Fails if their decisions differ. Returns the common decision.
async fn compare(api: &Api<Pod>, pod: &Value, approved: &Runtime, trusted: &Trusted) -> Result<Outcome> {
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let admitted = match api.create(&dry, &serde_json::from_value(pod.clone())?).await {
        Err(Error::Api(answer)) if answer.reason == "Invalid" => return Ok(Outcome::Invalid),
        admitted => admitted.with_context(|| pod.to_string())?,
    };
    let (annotations, spec) = (admitted.metadata.annotations, admitted.spec.context("a pod without a spec")?);
    let gated = spec.scheduling_gates.iter().flatten().any(|gate| gate.name == "assent.dev/clearance");
    let admitted = runtime_of_pod(annotations.as_ref(), &spec);
    let asked = admitted.clone().map(|admitted| with_images_of(pod, admitted));
    let matched = asked.as_ref().is_ok_and(|asked| matches_if_pinned(approved, trusted, asked));
    ensure!(
        gated != matched,
        "cleared by the API server: {}, by Rust: {}:\n{pod}\n{}",
        !gated,
        matched,
        serde_json::to_string(approved)?
    );
    if let (Ok(asked), Ok(admitted)) = (&asked, &admitted) {
        let pins = if gated { Pins::default() } else { Pins::of(approved, asked) };
        ensure!(*pins.apply(asked) == *admitted, "other images than by Rust: {admitted:?}\n{pod}");
        ensure!(
            gated || matches(approved, trusted, admitted),
            "the result does not match: {admitted:?}\n{pod}"
        );
    }
    Ok(if matched { Outcome::Cleared } else { Outcome::Held })
}

/// The runtime of the admitted pod with the images that the request asked for.
fn with_images_of(pod: &Value, mut admitted: Runtime) -> Runtime {
    let asked = |list: &str, name: &str, image: &str| {
        let mut all = pod["spec"][list].as_array().into_iter().flatten();
        let part = all.find(|part| part["name"] == name);
        part.and_then(|part| part.pointer(image)).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    for container in &mut admitted.containers {
        container.image = asked("containers", &container.name, "/image").into();
    }
    for container in &mut admitted.init_containers {
        container.image = asked("initContainers", &container.name, "/image").into();
    }
    for volume in &mut admitted.volumes {
        if let Some(image) = &mut volume.image {
            image.reference = asked("volumes", &volume.name, "/image/reference").into();
        }
    }
    admitted
}

/// Writes the Clearance of a round. Returns the runtimes and the trusted parts of this Clearance as the API server
/// stores them.
async fn publish(
    operator: &kube::Client,
    round: usize,
    runtimes: &[Value],
    trusted: &Value,
) -> Result<(Vec<Runtime>, Trusted)> {
    let clear = |runtime: &Value| -> Result<Value> {
        let patterns = patterns(&serde_json::from_value(runtime.clone())?);
        let mut version = json!({ "modelVersion": "v", "notAfter": "2099-01-01T00:00:00Z",
            "subjectDigest": format!("sha256:{}", "0".repeat(64)), "runtime": runtime });
        if let Some(patterns) = patterns {
            version["patterns"] = serde_json::to_value(patterns)?;
        }
        Ok(json!({ "cleared": [version] }))
    };
    let mut systems = runtimes
        .iter()
        .enumerate()
        .map(|(i, runtime)| Ok((format!("s{i}"), clear(runtime)?)))
        .collect::<Result<serde_json::Map<_, _>>>()?;
    systems.insert(
        "round".to_owned(),
        clear(&json!({ "containers": [{ "name": "round", "image": round.to_string() }] }))?,
    );
    let clearance = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "Clearance", "metadata": { "name": "clearance" },
        "spec": { "mode": "enforce", "trusted": trusted, "systems": systems } });
    let api: Api<Clearance> = Api::namespaced(operator.clone(), NS);
    let written = match api.list(&ListParams::default()).await?.items.pop() {
        None => api.create(&PostParams::default(), &serde_json::from_value(clearance)?).await?,
        Some(before) => {
            let mut next: Clearance = serde_json::from_value(clearance)?;
            next.metadata.resource_version = before.metadata.resource_version;
            api.replace("clearance", &PostParams::default(), &next).await?
        }
    };
    let stored =
        |i: usize| written.spec.systems.get(&format!("s{i}")).map(|s| (*s.cleared[0].runtime).clone());
    let known = (0..runtimes.len())
        .map(|i| stored(i).context("the API server dropped a system"))
        .collect::<Result<_>>()?;
    Ok((known, written.spec.trusted.clone()))
}

/// Waits until the policies of the API server use the Clearance of a round. The image of the pod `probe` is the number
/// of the round, so only this Clearance clears the pod.
async fn wait_for_round(api: &Api<Pod>, round: usize) -> Result<()> {
    let probe = json!({ "metadata": { "name": "round", "labels": { "assent.dev/system": "round" } },
        "spec": { "containers": [{ "name": "round", "image": round.to_string() }] } });
    let probe: Pod = serde_json::from_value(probe)?;
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    until(Duration::from_secs(20), "the API server to use the new Clearance", async || {
        let gates = api.create(&dry, &probe).await?.spec.and_then(|spec| spec.scheduling_gates);
        Ok(gates.is_none_or(|gates| gates.is_empty()).then_some(()))
    })
    .await
}

fn pick<'a, T>(rng: &mut fastrand::Rng, of: &'a [T]) -> &'a T {
    &of[rng.usize(..of.len())]
}

/// Returns a random container of a runtime. Each field has few possible values, so that two containers often have equal
/// values.
fn container(rng: &mut fastrand::Rng, name: &str, volumes: &[Value]) -> Value {
    let mut container = json!({ "name": name, "image": pick(rng, &["a", "b@sha256:0", "b:v1@sha256:0", "reg:5000/c", "reg:5000/c:v1@sha256:0", "a:b:c@sha256:0", "a@b@sha256:0"]) });
    // The container can become an init container. Only with `restartPolicy: Always`, an init container can have hooks and
    // probes.
    if rng.bool() {
        container["restartPolicy"] = json!("Always");
        match rng.u8(..4) {
            0 | 1 => {
                let hook = *pick(rng, &HOOKS);
                container["exec"] = json!({ hook: ["run", "this"] });
            }
            2 => {
                let hook = *pick(rng, &HOOKS[..2]);
                container["http"] = json!({ hook: pick(rng, &requests()) });
            }
            _ => {}
        }
    }
    let mut maybe = |rng: &mut fastrand::Rng, field: &str, values: &[Value]| {
        if rng.u8(..3) == 0 {
            container[field] = pick(rng, values).clone();
        }
    };
    maybe(rng, "command", &[json!(["sh", "-c", "run"]), json!(["run"])]);
    maybe(
        rng,
        "args",
        &[
            json!(["--model=x"]),
            json!(["--model=x", "--y"]),
            json!(["--y", "--model=x"]),
            json!([""]),
            json!(["ü", "\u{202e}"]),
        ],
    );
    maybe(rng, "workingDir", &[json!("/app"), json!("/tmp")]);
    maybe(rng, "env", &environments());
    maybe(
        rng,
        "envFrom",
        &[
            json!([{ "configMapRef": { "name": "c" } }]),
            json!([{ "configMapRef": { "name": "c", "optional": true } }, { "secretRef": { "name": "s" } }]),
            json!([{ "prefix": "P_", "secretRef": { "name": "s", "optional": true } }]),
        ],
    );
    let (blocks, volumes): (Vec<&Value>, Vec<&Value>) = volumes.iter().partition(|volume| is_block(volume));
    if let Some(block) = blocks.first() {
        container["volumeDevices"] =
            json!([{ "name": block["name"], "devicePath": pick(rng, &["/dev/a", "/dev/b"]) }]);
    }
    if !volumes.is_empty() && rng.bool() {
        let mut mount =
            json!({ "name": pick(rng, &volumes)["name"], "mountPath": pick(rng, &["/models", "/data"]) });
        match rng.u8(..5) {
            0 => mount["readOnly"] = json!(true),
            1 => mount["subPath"] = json!("sub"),
            2 => mount["subPathExpr"] = json!("$(A)"),
            3 => mount["mountPropagation"] = json!(pick(rng, &["HostToContainer", "None"])),
            _ => {}
        }
        container["volumeMounts"] = json!([mount]);
    }
    container
}

/// Returns HTTP requests for the hooks of a container.
fn requests() -> [Value; 3] {
    let headers = json!([{ "name": "Accept", "value": "a" }, { "name": "X", "value": "" }]);
    [
        json!({ "port": 80 }),
        json!({ "port": 80, "path": "/drain", "httpHeaders": headers }),
        json!({ "port": 8022, "path": "/drain", "scheme": "HTTPS", "httpHeaders": headers }),
    ]
}

fn environments() -> Vec<Value> {
    vec![
        json!([{ "name": "A", "value": "1" }]),
        json!([{ "name": "A", "value": "1" }, { "name": "TOKEN", "value": "t" }]),
        json!([{ "name": "TOKEN", "valueFrom": { "secretKeyRef": { "name": "s", "key": "k", "optional": true } } }, { "name": "A", "value": "1" }]),
        json!([{ "name": "A", "value": "" }]),
        json!([{ "name": "A", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }]),
        json!([{ "name": "A", "valueFrom": { "resourceFieldRef": { "resource": "limits.memory" } } }]),
        json!([{ "name": "A", "valueFrom": { "resourceFieldRef": { "containerName": "main", "resource": "limits.memory", "divisor": "1Mi" } } }]),
        json!([{ "name": "A", "valueFrom": { "secretKeyRef": { "name": "s", "key": "k", "optional": true } } }]),
        json!([{ "name": "A", "valueFrom": { "configMapKeyRef": { "name": "c", "key": "k", "optional": false } } }]),
    ]
}

fn volume(rng: &mut fastrand::Rng, name: &str) -> Value {
    let items = json!([{ "key": "k", "path": "sub/k" }, { "key": "l", "path": "l" }]);
    let files = json!([
        { "path": "name", "fieldRef": { "fieldPath": "metadata.name" } },
        { "path": "memory", "resourceFieldRef": { "containerName": "main", "resource": "limits.memory", "divisor": "1Mi" } },
    ]);
    let sources = [
        json!({ "emptyDir": {} }),
        json!({ "image": { "reference": "weights@sha256:1" } }),
        json!({ "image": { "reference": "weights:v1@sha256:1" } }),
        json!({ "image": { "reference": "weights@sha256:2" } }),
        json!({ "persistentVolumeClaim": { "claimName": "claim" } }),
        json!({ "configMap": { "name": "c" } }),
        json!({ "configMap": { "name": "c", "items": items } }),
        json!({ "secret": { "secretName": "s" } }),
        json!({ "secret": { "secretName": "s", "items": items } }),
        json!({ "downwardAPI": {} }),
        json!({ "downwardAPI": { "items": files } }),
        json!({ "projected": { "sources": [
            { "serviceAccountToken": { "path": "mesh-token" } }, { "downwardAPI": { "items": files } },
            { "configMap": { "name": "c", "items": items } }] } }),
        json!({ "projected": { "sources": [{ "secret": { "name": "s", "items": items } }] } }),
        json!({ "projected": { "sources": [{ "serviceAccountToken": {} }, { "secret": { "name": "s" } }] } }),
        json!({ "projected": { "sources": [{ "downwardAPI": {} }, { "configMap": { "name": "c" } }] } }),
    ];
    let outside = outside();
    let block = outside.iter().find(|volume| is_block(volume)).filter(|_| rng.u8(..5) == 0);
    let any = if rng.bool() { pick(rng, &sources) } else { pick(rng, &outside) };
    let mut volume = block.unwrap_or(any).clone();
    volume["name"] = json!(name);
    volume
}

fn is_block(volume: &Value) -> bool {
    volume["ephemeral"]["volumeClaimTemplate"]["spec"]["volumeMode"] == "Block"
}

/// Returns volumes without a name. A runtime states all fields of volumes of these kinds. Most kinds occur here both
/// with and without their optional fields.
fn outside() -> Vec<Value> {
    let selector = json!({ "matchLabels": { "tier": "fast" },
        "matchExpressions": [{ "key": "a", "operator": "In", "values": ["b"] }] });
    let size = json!({ "requests": { "storage": "1Gi" } });
    let claim = |spec: Value| json!({ "ephemeral": { "volumeClaimTemplate": { "spec": spec } } });
    vec![
        json!({ "hostPath": { "path": "/models" } }),
        json!({ "hostPath": { "path": "/models", "type": "Directory" } }),
        json!({ "csi": { "driver": "d.example" } }),
        json!({ "csi": { "driver": "d.example", "readOnly": true, "fsType": "ext4",
            "volumeAttributes": { "bucket": "m" }, "nodePublishSecretRef": { "name": "s" } } }),
        json!({ "nfs": { "server": "s", "path": "/m" } }),
        json!({ "nfs": { "server": "s", "path": "/m", "readOnly": true } }),
        json!({ "iscsi": { "targetPortal": "192.0.2.5", "iqn": "iqn.2026-01.example:m", "lun": 0 } }),
        json!({ "iscsi": { "targetPortal": "192.0.2.5", "iqn": "iqn.2026-01.example:m", "lun": 1,
            "iscsiInterface": "eth", "fsType": "ext4", "readOnly": true, "portals": ["192.0.2.6"],
            "chapAuthDiscovery": true, "chapAuthSession": true, "secretRef": { "name": "s" },
            "initiatorName": "iqn.2026-01.example:n" } }),
        claim(json!({ "accessModes": ["ReadWriteOnce"], "resources": size })),
        claim(json!({ "accessModes": ["ReadWriteOnce"], "resources": size, "volumeMode": "Block" })),
        json!({ "ephemeral": { "volumeClaimTemplate": {
            "metadata": { "labels": { "a": "b" }, "annotations": { "c": "d" } },
            "spec": { "accessModes": ["ReadWriteOnce"], "storageClassName": "", "volumeName": "pv", "selector": selector,
                "volumeAttributesClassName": "gold",
                "resources": { "requests": { "storage": "1Gi" }, "limits": { "storage": "2Gi" } } } } } }),
        claim(json!({ "accessModes": ["ReadWriteOnce"], "resources": size,
            "dataSource": { "apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s" } })),
        claim(json!({ "accessModes": ["ReadWriteOnce"], "resources": size,
            "dataSourceRef": { "apiGroup": "g.example", "kind": "K", "name": "s", "namespace": "n" } })),
        claim(json!({ "accessModes": ["ReadWriteOnce"], "resources": size,
            "dataSource": { "kind": "PersistentVolumeClaim", "name": "s" } })),
        json!({ "projected": { "sources": [{ "clusterTrustBundle": { "name": "b", "optional": true, "path": "ca.crt" } }] } }),
        json!({ "projected": { "sources": [{ "clusterTrustBundle": {
            "signerName": "example.org/s", "labelSelector": selector, "path": "ca.crt" } }] } }),
        json!({ "projected": { "sources": [{ "podCertificate": { "signerName": "example.org/s", "keyType": "ED25519",
            "credentialBundlePath": "c.pem" } }] } }),
        json!({ "projected": { "sources": [{ "podCertificate": { "signerName": "example.org/s", "keyType": "ED25519",
            "keyPath": "k.pem", "certificateChainPath": "h.pem", "maxExpirationSeconds": 3600,
            "userAnnotations": { "example.org/a": "b" } } }] } }),
    ]
}

fn runtime(rng: &mut fastrand::Rng) -> Value {
    let volumes: Vec<Value> = ["v0", "v1"][..rng.usize(..3)].iter().map(|name| volume(rng, name)).collect();
    let containers = ["main", "side"][..=rng.usize(..2)].iter();
    let mut containers: Vec<Value> = containers.map(|name| container(rng, name, &volumes)).collect();
    if rng.bool() {
        containers[0]["mayVary"] = json!({ "env": ["TOKEN"] });
    }
    let init = ["fetch", "check"][..rng.usize(..3)].iter();
    let mut init: Vec<Value> = init.map(|name| container(rng, name, &volumes)).collect();
    if let Some(first) = init.first_mut().filter(|_| rng.bool()) {
        first["mayVary"] = json!({ "env": ["TOKEN"] });
    }
    let mut runtime = json!({ "containers": containers, "initContainers": init, "volumes": volumes });
    if rng.u8(..4) == 0 {
        runtime[*pick(rng, &SHARES)] = json!(true);
    }
    if rng.u8(..6) == 0 {
        runtime["hostAliases"] = pick(rng, &aliases()).clone();
    }
    if rng.u8(..6) == 0 {
        runtime["dnsConfig"] = pick(rng, &name_servers()).clone();
    }
    if rng.u8(..3) == 0 {
        add_placeholders(rng, &mut runtime);
    }
    runtime
}

/// Returns a text with one or two placeholders, most of them from `listed`, the list of the runtime. If a placeholder
/// is not in this list, the runtime treats it as plain text.
fn placeholder_text(rng: &mut fastrand::Rng, listed: &[Placeholder]) -> String {
    let one = |rng: &mut fastrand::Rng| {
        if rng.u8(..8) == 0 { *pick(rng, &Placeholder::ALL) } else { *pick(rng, listed) }
    };
    let (a, b) = (one(rng).text(), one(rng).text());
    match rng.u8(..8) {
        0 => a.to_owned(),
        1 => format!("{a}{b}"),
        2 => format!("--rank={a}"),
        3 => format!("--peer={a}.svc,{b}"),
        4 => format!("sh -c 'run {a} < in' (x|y)+ $HOME [a] {b}\n"),
        5 => format!("<{a}"),
        6 => format!("{{\"index\": {a}, \"job\": \"{b}\"}}"),
        _ => format!("x-{a}-{b}-ü"),
    }
}

fn add_placeholders(rng: &mut fastrand::Rng, runtime: &mut Value) {
    let mut listed = Placeholder::ALL.to_vec();
    rng.shuffle(&mut listed);
    listed.truncate(rng.usize(1..4));
    for containers in ["containers", "initContainers"] {
        for container in runtime.get_mut(containers).and_then(Value::as_array_mut).into_iter().flatten() {
            for list in ["command", "args"] {
                if rng.bool() {
                    let texts: Vec<String> =
                        (0..rng.usize(1..4))
                            .map(|_| {
                                if rng.u8(..3) == 0 {
                                    "run".to_owned()
                                } else {
                                    placeholder_text(rng, &listed)
                                }
                            })
                            .collect();
                    container[list] = json!(texts);
                }
            }
            if rng.bool() {
                add(
                    &mut container["env"],
                    &json!({ "name": "RANK", "value": placeholder_text(rng, &listed) }),
                );
            }
            if rng.bool() {
                let entry =
                    format!("{}={}", pick(rng, &["LEADER", "A", "TOKEN"]), placeholder_text(rng, &listed));
                container["mayVary"] =
                    json!({ "env": pick(rng, &[vec![entry.as_str()], vec![entry.as_str(), "TOKEN"]]) });
            }
        }
    }
    let in_name = [Placeholder::Ordinal, Placeholder::Name, Placeholder::Random5, Placeholder::Uid];
    let in_name: Vec<_> = listed.iter().filter(|placeholder| in_name.contains(placeholder)).collect();
    if !in_name.is_empty() {
        let text = |rng: &mut fastrand::Rng, start: &str| format!("{start}{}", pick(rng, &in_name).text());
        for volume in runtime.get_mut("volumes").and_then(Value::as_array_mut).into_iter().flatten() {
            if volume["persistentVolumeClaim"].is_object() && rng.bool() {
                volume["persistentVolumeClaim"]["claimName"] = json!(text(rng, "data-m-"));
            }
        }
        if runtime["volumes"][0].is_object() && rng.u8(..3) == 0 {
            let start = *pick(rng, &["volume-", "volume-", "volume-", "v"]);
            let name = text(rng, start);
            rename_volume(runtime, "v0", &name);
        }
    }
    runtime["placeholders"] = json!(listed);
}

fn rename_volume(spec: &mut Value, from: &str, to: &str) {
    let rename = |named: &mut Value| {
        if named["name"] == from {
            named["name"] = json!(to);
        }
    };
    spec.get_mut("volumes").and_then(Value::as_array_mut).into_iter().flatten().for_each(rename);
    for containers in ["containers", "initContainers"] {
        for container in spec.get_mut(containers).and_then(Value::as_array_mut).into_iter().flatten() {
            for list in ["volumeMounts", "volumeDevices"] {
                container.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten().for_each(rename);
            }
        }
    }
}

/// Texts that replace placeholders in pods. For each text, at least one placeholder does not match it. For example,
/// `01` is a value of `<number>`, but not of `<ordinal>`.
const NEAR_MISSES: [&str; 40] = [
    "", " ", "1 ", " 1", "-1", "+1", "01", "100000", "1.", ".5", "1e", "1e+100", "0x1", "1_0", "1;x", "a;b",
    "a/b", "../a", "a b", "$(A)", "`a`", "\"a\"", "'a'", "a\n", "\na", "A", "a_b", "a,b", "a=b", "<name>",
    "a.", "-a", "a-", "ü", "١", "a:1", "a:123456", "a:", "bcdfa", "a\0",
];

/// Near misses that Kubernetes accepts in the names of claims and volumes.
const NEAR_NAMES: [&str; 6] = ["01", "100000", "1-1", "bcdfa", "x", "0"];

/// Returns a value of a placeholder. For `<name>` and `<host>`, the text is sometimes one character too long.
fn value_of(rng: &mut fastrand::Rng, placeholder: Placeholder) -> String {
    let values: &[&str] = match placeholder {
        Placeholder::Ordinal => &["0", "7", "10", "99999"],
        Placeholder::Number => &["0", "007", "17179869184", "0.001", "1e-05", "2.5e+10"],
        Placeholder::Name => &["a", "0", "raycluster-x7k2p-head", "a--b"],
        Placeholder::Host => &["lws-0.lws.default", "10.0.0.5", "a"],
        Placeholder::HostPort => &["head-svc.default.svc.cluster.local:6379", "10.0.0.5:1", "a:65535"],
        Placeholder::Uid => &["0b0e9c44-7c3d-4b1e-9f5a-0123456789ab"],
        Placeholder::Random5 => &["x7k2p", "bbbbb"],
    };
    let long = [Placeholder::Name, Placeholder::Host].contains(&placeholder) && rng.u8(..8) == 0;
    let limit = if placeholder == Placeholder::Name { 63 } else { 253 };
    if long { "a".repeat(limit + rng.usize(..2)) } else { (*pick(rng, values)).to_owned() }
}

/// Replaces each placeholder from `listed` in a text by a value. With `miss`, the first of these placeholders gets one
/// of `misses` instead of a value.
fn fill(rng: &mut fastrand::Rng, text: &mut Value, listed: &[Placeholder], miss: bool, misses: &[&str]) {
    let Some(mut filled) = text.as_str().map(str::to_owned).filter(|text| text.contains('<')) else { return };
    let mut miss = miss;
    let mut at = 0;
    while let Some(found) = filled[at..].find('<') {
        at += found;
        let Some(placeholder) = listed.iter().find(|p| filled[at..].starts_with(p.text())) else {
            at += 1;
            continue;
        };
        let value = if std::mem::take(&mut miss) {
            (*pick(rng, misses)).to_owned()
        } else {
            value_of(rng, *placeholder)
        };
        filled.replace_range(at..at + placeholder.text().len(), &value);
        at += value.len();
    }
    *text = json!(filled);
}

/// Replaces the placeholders of a runtime by values, and with `miss` also by near misses. Adds some of the variables
/// that `mayVary` lists with a value.
fn fill_placeholders(rng: &mut fastrand::Rng, spec: &mut Value, miss: bool) {
    let listed: Vec<Placeholder> = serde_json::from_value(spec["placeholders"].clone()).unwrap_or_default();
    drop(spec.as_object_mut().and_then(|spec| spec.remove("placeholders")));
    if listed.is_empty() {
        return;
    }
    // Each text gets a near miss only with probability 1/6, so that many of these pods differ in only one text.
    let missing = |rng: &mut fastrand::Rng| miss && rng.u8(..6) == 0;
    for containers in ["containers", "initContainers"] {
        for container in spec.get_mut(containers).and_then(Value::as_array_mut).into_iter().flatten() {
            for list in ["command", "args"] {
                for text in container.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                    let miss = missing(rng);
                    fill(rng, text, &listed, miss, &NEAR_MISSES);
                }
            }
            for variable in container.get_mut("env").and_then(Value::as_array_mut).into_iter().flatten() {
                let miss = missing(rng);
                if let Some(value) = variable.get_mut("value") {
                    fill(rng, value, &listed, miss, &NEAR_MISSES);
                }
            }
            let entries = container["mayVary"]["env"].clone();
            for entry in entries.as_array().into_iter().flatten().filter_map(Value::as_str) {
                let Some((name, value)) = entry.split_once('=').filter(|_| rng.bool()) else { continue };
                let mut variable = json!({ "name": name, "value": value });
                let miss = missing(rng);
                fill(rng, &mut variable["value"], &listed, miss, &NEAR_MISSES);
                let at = rng.usize(..=container["env"].as_array().map_or(0, Vec::len));
                if container["env"].is_null() {
                    container["env"] = json!([]);
                }
                container["env"].as_array_mut().into_iter().for_each(|env| env.insert(at, variable.clone()));
            }
        }
    }
    for volume in spec.get_mut("volumes").and_then(Value::as_array_mut).into_iter().flatten() {
        if volume["persistentVolumeClaim"].is_object() {
            let miss = missing(rng);
            fill(rng, &mut volume["persistentVolumeClaim"]["claimName"], &listed, miss, &NEAR_NAMES);
        }
    }
    let names: Vec<Value> =
        spec["volumes"].as_array().into_iter().flatten().map(|v| v["name"].clone()).collect();
    for name in names.iter().filter_map(Value::as_str).filter(|name| name.contains('<')) {
        let mut new = json!(name);
        let miss = missing(rng);
        fill(rng, &mut new, &listed, miss, &NEAR_NAMES);
        rename_volume(spec, name, new.as_str().unwrap_or_default());
    }
}

fn aliases() -> [Value; 2] {
    [
        json!([{ "ip": "192.0.2.1" }]),
        json!([{ "ip": "192.0.2.1", "hostnames": ["hub.example", "b.example"] }]),
    ]
}

fn name_servers() -> [Value; 3] {
    [
        json!({ "nameservers": ["192.0.2.3"] }),
        json!({ "searches": ["models.example"] }),
        json!({ "nameservers": ["192.0.2.4", "192.0.2.3"], "searches": ["b.example", "models.example"] }),
    ]
}

/// Fields that make a pod use Linux namespaces of the node, or make its containers share a process namespace.
const SHARES: [&str; 4] = ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"];

/// The hooks and probes of a container. Runtimes and pods use the same names for hooks and probes.
const HOOKS: [&str; 5] = ["postStart", "preStop", "livenessProbe", "readinessProbe", "startupProbe"];

/// Generates a pod of a random system. The pod has the runtime of this system. Most pods then get changes, and some get
/// injected parts.
fn case(rng: &mut fastrand::Rng, runtimes: &[Value], changes: &mut Changes) -> Case {
    let system = rng.usize(..runtimes.len());
    let mut runtime = runtimes[system].clone();
    let kind = rng.u8(..8);
    let patterned = runtime["placeholders"].is_array();
    let field = (kind < 2).then(|| change_one_field(rng, &mut runtime, changes)).flatten();
    let mut spec = runtime;
    let miss = kind > 5;
    fill_placeholders(rng, &mut spec, miss);
    for containers in ["containers", "initContainers"] {
        spec[containers].as_array_mut().into_iter().flatten().for_each(to_pod_container);
    }
    for source in sources(&mut spec).filter(|source| source["serviceAccountToken"].is_object()) {
        if source["serviceAccountToken"]["path"].is_null() {
            source["serviceAccountToken"]["path"] = json!("token");
        }
    }
    let by_tag = field.is_none() && rng.u8(..4) == 0 && unpin(rng, &mut spec);
    if kind > 4 && !(patterned && (miss || rng.bool())) {
        (0..rng.usize(1..3)).for_each(|_| change(rng, &mut spec));
    }
    let injected = field.is_none() && rng.u8(..4) == 0;
    if injected {
        inject(rng, &mut spec);
    }
    let mut metadata = json!({ "name": "pod", "labels": { "assent.dev/system": format!("s{system}") } });
    if kind == 7 && rng.bool() {
        metadata["annotations"] = json!({ *pick(rng, &ANNOTATIONS): "x" });
    }
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec });
    Case { pod, system, field, injected, by_tag }
}

/// Removes the digest of each image, or of some images, and sometimes changes the rest of the image. Returns whether an
/// image lost its digest.
fn unpin(rng: &mut fastrand::Rng, spec: &mut Value) -> bool {
    let (mut changed, miss) = (false, rng.u8(..6) == 0);
    for (list, field) in
        [("containers", "/image"), ("initContainers", "/image"), ("volumes", "/image/reference")]
    {
        for part in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(image) = part.pointer_mut(field).filter(|_| rng.u8(..4) > 0) else { continue };
            let Some((name, digest)) = image.as_str().and_then(|image| image.split_once('@')) else {
                continue;
            };
            let repository = name.rsplit_once(":v1").map_or(name, |(repository, _)| repository);
            let near = [
                format!("{repository}:v2"),
                format!("{repository}:latest"),
                format!("{name}x"),
                format!("docker.io/library/{name}"),
                format!("{name}@"),
                format!("{name}@sha256:7"),
                format!("{name}@{digest}@{digest}"),
                name.to_uppercase(),
                repository.to_owned(),
            ];
            *image = json!(if miss && rng.bool() { pick(rng, &near).clone() } else { name.to_owned() });
            changed = true;
        }
    }
    changed
}

/// A pod with one of the first two annotations is held. The other annotations do not hold a pod, although most of their
/// names are similar.
const ANNOTATIONS: [&str; 6] = [
    "cdi.k8s.io/gpu",
    "io.kubernetes.cri-o.Devices",
    "io.kubernetes.cri-o.ShmSize",
    "cdiXk8s.io/gpu",
    "x.cdi.k8s.io/gpu",
    "prometheus.io/scrape",
];

fn sources(spec: &mut Value) -> impl Iterator<Item = &mut Value> {
    let volumes = spec["volumes"].as_array_mut().into_iter().flatten();
    volumes.filter_map(|volume| volume.pointer_mut("/projected/sources")?.as_array_mut()).flatten()
}

/// Changes or removes one field of a runtime, so that the result is still valid in a pod. Returns the path of the
/// field, or `None` if no field was changed.
fn change_one_field(rng: &mut fastrand::Rng, runtime: &mut Value, changes: &mut Changes) -> Option<String> {
    let mut places = Vec::new();
    leaves(runtime, String::new(), &mut places);
    let kinds: BTreeSet<String> = places.iter().map(|place| field_of(place)).collect();
    // A container can only get the device of another volume if the runtime has a second volume that can be a device.
    // Otherwise, the changed pod is invalid.
    let devices: Vec<Value> = claims(runtime).map(|volume| volume["name"].clone()).collect();
    // Choose the field that this function chose least often, so that rare fields are changed too.
    let kinds = kinds.into_iter().filter(|field| {
        let is_possible = devices.len() > 1 || !field.ends_with("volumeDevices.name");
        is_possible && !field.contains("mayVary") && field != "placeholders"
    });
    let field = kinds.min_by_key(|field| (changes.get(field).copied().unwrap_or(0), rng.u32(..)))?;
    *changes.entry(field.clone()).or_default() += 1;
    let places: Vec<_> = places.into_iter().filter(|place| field_of(place) == field).collect();
    let place = pick(rng, &places);
    let name = place.rsplit('/').find(|part| part.parse::<usize>().is_err()).unwrap_or_default();
    let volumes = runtime["volumes"].clone();
    if let Some(other) = other_text(name) {
        *runtime.pointer_mut(place)? = if *runtime.pointer(place)? == other { json!(null) } else { other };
        return Some(field);
    }
    if ["emptyDir", "downwardAPI", "serviceAccountToken"].contains(&name) {
        // A volume without a source would be invalid, or would become an `emptyDir`. So a ConfigMap replaces the
        // source.
        let of = runtime.pointer_mut(place.rsplit_once('/')?.0)?.as_object_mut()?;
        of.remove(name);
        of.insert("configMap".to_owned(), json!({ "name": "other" }));
        return Some(field);
    }
    let value = runtime.pointer_mut(place)?;
    let other = match (name, &*value) {
        _ if field.ends_with("volumeDevices.name") => devices.iter().find(|name| *name != value)?.clone(),
        _ if field.ends_with("volumeMounts.name") => {
            volumes.as_array()?.iter().map(|volume| &volume["name"]).find(|name| *name != value)?.clone()
        }
        ("restartPolicy", _) => Value::Null,
        ("fieldPath", _) => json!("metadata.namespace"),
        ("resource", _) => json!("requests.memory"),
        ("divisor", _) => json!("1Ki"),
        ("scheme", scheme) => json!(if *scheme == "HTTP" { "HTTPS" } else { "HTTP" }),
        (_, Value::Number(number)) => json!(number.as_i64().unwrap_or_default() + 1),
        ("value", _) if *value == "" => json!("1"),
        (_, Value::Bool(value)) => json!(!value),
        (_, Value::String(text)) => json!(format!("{text}x")),
        (_, Value::Object(_)) => Value::Null,
        _ => return None,
    };
    *value = other;
    Some(field)
}

/// The volumes that can be block devices.
fn claims(runtime: &Value) -> impl Iterator<Item = &Value> {
    let volumes = runtime["volumes"].as_array().into_iter().flatten();
    volumes.filter(|volume| volume["persistentVolumeClaim"].is_object() || volume["ephemeral"].is_object())
}

/// Returns a valid value for a field that accepts only certain texts, such as `keyType`. Returns `None` for other
/// fields.
fn other_text(name: &str) -> Option<Value> {
    let text = match name {
        "type" => "DirectoryOrCreate",
        "ip" | "nameservers" => "192.0.2.77",
        "keyType" => "ECDSAP256",
        "volumeMode" => "Block",
        "accessModes" => "ReadWriteMany",
        "mountPropagation" => "HostToContainer",
        "storage" => "3Gi",
        "operator" => "NotIn",
        _ => return None,
    };
    Some(json!(text))
}

/// Appends the JSON pointers of all scalars and empty objects in `value` to `into`.
fn leaves(value: &Value, here: String, into: &mut Vec<String>) {
    match value {
        Value::Object(inner) if !inner.is_empty() => {
            // Names such as `example.org/a` contain the separator of a JSON pointer, so they are escaped (RFC 6901,
            // section 3).
            let escaped = |name: &str| name.replace('~', "~0").replace('/', "~1");
            inner.iter().for_each(|(name, value)| leaves(value, format!("{here}/{}", escaped(name)), into));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, item)| leaves(item, format!("{here}/{i}"), into));
        }
        _ => into.push(here),
    }
}

/// Returns the path of the field to which a JSON pointer leads, such as `containers.env.value`. The path has no list
/// indexes, and ends at a map in [`MAPS`].
fn field_of(pointer: &str) -> String {
    let names: Vec<_> =
        pointer.split('/').filter(|part| !part.is_empty() && part.parse::<usize>().is_err()).collect();
    let end = names.iter().position(|name| MAPS.contains(name)).map_or(names.len(), |map| map + 1);
    names[..end].join(".")
}

/// Maps whose keys users choose. The schema of a runtime does not list these keys.
const MAPS: [&str; 7] =
    ["labels", "annotations", "volumeAttributes", "userAnnotations", "matchLabels", "requests", "limits"];

/// Turns a container of a runtime into a container of a pod. A runtime states the commands of hooks and probes in the
/// field `exec`, and the HTTP requests of hooks in the field `http`.
fn to_pod_container(container: &mut Value) {
    let Some(fields) = container.as_object_mut() else { return };
    fields.remove("mayVary");
    let exec = fields.remove("exec").unwrap_or_default();
    let http = fields.remove("http").unwrap_or_default();
    for hook in HOOKS.into_iter().filter(|hook| exec[hook].is_array()) {
        let run = json!({ "exec": { "command": exec[hook] } });
        if hook.ends_with("Probe") {
            container[hook] = run;
        } else {
            container["lifecycle"] = json!({ hook: run });
        }
    }
    for hook in HOOKS.into_iter().filter(|hook| http[hook].is_object()) {
        container["lifecycle"] = json!({ hook: { "httpGet": http[hook] } });
    }
}

fn change(rng: &mut fastrand::Rng, spec: &mut Value) {
    let fresh = container(rng, "main", &[]);
    let main = &mut spec["containers"][0];
    match rng.u8(..47) {
        // Most of the following changes hold the pod, because Assent compares the changed fields. `add_equal_meaning`
        // and most changes of `change_free_field` do not hold the pod.
        0 => main["image"] = fresh["image"].clone(),
        1 => main["args"] = json!(["--model=other"]),
        2 => main["command"] = json!(["sh"]),
        3 => main["env"] = pick(rng, &environments()).clone(),
        4 => main["workingDir"] = json!("/elsewhere"),
        5 => main["lifecycle"] = json!({ "preStop": { "exec": { "command": ["x"] } } }),
        6 => main["startupProbe"] = json!({ "exec": { "command": ["x"] } }),
        7 => spec["hostAliases"] = pick(rng, &aliases()).clone(),
        8 => spec["dnsConfig"] = pick(rng, &name_servers()).clone(),
        9 => add(&mut spec["containers"], &json!({ "name": "extra", "image": "a" })),
        10 => reverse(&mut spec["initContainers"]),
        11 => {
            let mut volume = pick(rng, &outside()).clone();
            volume["name"] = json!("extra");
            add(&mut spec["volumes"], &volume);
        }
        12 => add(&mut spec["volumes"], &token(&json!({ "configMap": { "name": "other" } }))),
        13 => {
            let volume = spec["volumes"][0]["name"].clone();
            if !volume.is_null() {
                spec["containers"][0]["volumeMounts"] = json!([{ "name": volume, "mountPath": TOKEN_PATH }]);
            }
        }
        24 => add_equal_meaning(rng, spec),
        25 => {
            if spec["initContainers"][0].is_object() {
                spec["initContainers"][0]["restartPolicy"] = json!("Always");
            }
        }
        27..37 => change_compared_field(rng, spec),
        37..47 => change_free_field(rng, spec),
        // The following changes do not hold the pod, unless they replace an approved hook or probe.
        14 => add(&mut spec["volumes"], &token(pick(rng, &token_sources()))),
        15 => reverse(&mut spec["containers"]),
        16 => reverse(&mut spec["volumes"]),
        17 => main["resources"] = json!({ "limits": { "memory": "1Gi" } }),
        18 => main["readinessProbe"] = json!({ "httpGet": { "path": "/", "port": 80 } }),
        19 => main["imagePullPolicy"] = json!("Never"),
        20 => spec["automountServiceAccountToken"] = json!(false),
        21 => spec["tolerations"] = json!([{ "operator": "Exists" }]),
        22 => spec["dnsConfig"]["options"] = json!([{ "name": "ndots", "value": "2" }]),
        23 => main["lifecycle"] = json!({ "preStop": { "sleep": { "seconds": 1 } } }),
        _ => spec["terminationGracePeriodSeconds"] = json!(7),
    }
}

/// Changes how a pod states some fields, but not the meaning of these fields. For example, writes `1024Mi` instead of
/// `1Gi`.
fn add_equal_meaning(rng: &mut fastrand::Rng, spec: &mut Value) {
    for container in spec["containers"].as_array_mut().into_iter().flatten() {
        if let Some((name, digest)) = container["image"].as_str().and_then(|image| image.split_once('@')) {
            let repository = name.rsplit_once(":v1").map_or(name, |(repository, _)| repository);
            container["image"] = json!(format!("{repository}{}@{digest}", pick(rng, &["", ":v1", ":v2"])));
        }
        for mount in container["volumeMounts"].as_array_mut().into_iter().flatten() {
            if mount["readOnly"].is_null() {
                mount["readOnly"] = json!(false);
            }
            if mount["subPath"].is_null() {
                mount["subPath"] = json!("");
            }
        }
    }
    for volume in spec["volumes"].as_array_mut().into_iter().flatten() {
        if volume["csi"].is_object() && volume["csi"]["readOnly"].is_null() {
            volume["csi"]["readOnly"] = json!(false);
            volume["csi"]["fsType"] = json!("");
            volume["csi"]["volumeAttributes"] = json!({});
        }
        if volume["hostPath"].is_object() && volume["hostPath"]["type"].is_null() {
            volume["hostPath"]["type"] = json!("");
        }
        if let Some(size) =
            volume.pointer_mut("/ephemeral/volumeClaimTemplate/spec/resources/requests/storage")
        {
            *size = json!(if *size == "1Gi" { "1024Mi" } else { "3072Mi" });
        }
    }
}

/// Sets a field that Assent compares. Few approved runtimes have the new value, so Assent holds most of these pods.
fn change_compared_field(rng: &mut fastrand::Rng, spec: &mut Value) {
    let main = &mut spec["containers"][0];
    match rng.u8(..10) {
        0 => main["terminationMessagePath"] = json!("/models/config.json"),
        1 => main["lifecycle"] = json!({ "postStart": { "httpGet": pick(rng, &requests()) } }),
        2 => {
            let kind = *pick(rng, &["httpGet", "tcpSocket"]);
            main["livenessProbe"] = json!({ kind: { "port": 80, "host": "10.0.0.1" } });
        }
        3 => main["lifecycle"] = json!({ "preStop": { "tcpSocket": { "port": 80 } } }),
        4 => {
            let host = pick(rng, &["", "10.0.0.1"]);
            main["lifecycle"] = json!({ "preStop": { "httpGet": { "port": "web", "host": host } } });
        }
        5 => spec["hostnameOverride"] = json!("hub.example"),
        6 => {
            let option = json!({ "name": "ndots", "value": "2\nnameserver 10.0.0.1" });
            spec["dnsConfig"]["options"] = json!([option]);
        }
        7 => spec[*pick(rng, &SHARES)] = json!(true),
        8 => {
            let file = json!([{ "path": "x", "fieldRef": { "fieldPath": "metadata.name" } }]);
            let sources = [
                json!({ "downwardAPI": { "items": file } }),
                json!({ "serviceAccountToken": { "path": "other" } }),
                json!({ "configMap": { "name": "kube-root-ca.crt" } }),
            ];
            add(&mut spec["volumes"], &token(pick(rng, &sources)));
        }
        _ => {
            let mounts = [
                json!({ "readOnly": true }),
                json!({}),
                json!({ "readOnly": true, "subPath": "token" }),
                json!({ "readOnly": true, "mountPropagation": "HostToContainer" }),
            ];
            let mut mount = pick(rng, &mounts).clone();
            mount["name"] = json!("kube-api-access-x");
            mount["mountPath"] = json!(TOKEN_PATH);
            add(&mut spec["volumes"], &token(&json!({ "serviceAccountToken": { "path": "token" } })));
            add(&mut spec["containers"][0]["volumeMounts"], &mount);
        }
    }
}

/// Sets a field that Assent does not compare, or sets a compared field to its default. So the pod still matches, unless
/// the change replaces an approved probe.
fn change_free_field(rng: &mut fastrand::Rng, spec: &mut Value) {
    let main = &mut spec["containers"][0];
    match rng.u8(..8) {
        0 => main["terminationMessagePath"] = json!("/dev/termination-log"),
        1 => main["terminationMessagePolicy"] = json!("FallbackToLogsOnError"),
        2 => {
            spec["hostname"] = json!("hub");
            spec["subdomain"] = json!("models");
            spec["setHostnameAsFQDN"] = json!(true);
        }
        3 => {
            let headers = json!([{ "name": "X", "value": "y" }]);
            main["startupProbe"] =
                json!({ "httpGet": { "path": "/?x", "port": "web", "httpHeaders": headers } });
        }
        4 => {
            let kind = *pick(rng, &["tcpSocket", "grpc"]);
            main["livenessProbe"] = json!({ kind: { "port": 80 } });
        }
        5 => main["securityContext"] = json!({ "runAsUser": 0, "capabilities": { "add": ["SYS_PTRACE"] } }),
        6 => {
            for volume in spec["volumes"].as_array_mut().into_iter().flatten() {
                for kind in ["configMap", "secret"] {
                    let Some(source) = volume.get_mut(kind).filter(|source| source.is_object()) else {
                        continue;
                    };
                    source["optional"] = json!(true);
                    source["defaultMode"] = json!(0o500);
                    if let Some(item) = source.pointer_mut("/items/0") {
                        item["mode"] = json!(0o400);
                    }
                }
            }
        }
        _ => {
            for source in sources(spec).filter(|source| source["serviceAccountToken"].is_object()) {
                source["serviceAccountToken"]["audience"] = json!("vault");
            }
        }
    }
}

/// Returns the parts that the Clearance trusts after the first round. Some parts have the name of an approved
/// container, volume or variable.
fn trusted() -> Value {
    let digest = format!("mesh/proxy@sha256:{}", "a".repeat(64));
    json!({
        "containers": [
            { "name": "proxy", "image": digest, "args": ["proxy"], "envPrefixes": ["MESH_"],
              "env": [{ "name": "A", "value": "1" }], "mayVary": { "env": ["TOKEN"] },
              "volumeMounts": [{ "name": "mesh", "mountPath": "/mesh" }] },
            { "name": "agent", "image": "reg.example/mesh/agent", "images": "Name", "anyArgs": true, "command": ["agent"] },
            { "name": "side", "image": digest },
            { "name": "plain", "image": digest, "args": ["--rank=<ordinal>"], "mayVary": { "env": ["LEADER=<host>"] },
              "volumeMounts": [{ "name": "volume-7", "mountPath": "/plain" }] },
        ],
        "initContainers": [
            { "name": "setup", "image": digest },
            { "name": "native", "image": digest, "restartPolicy": "Always", "exec": { "preStop": ["drain"] } },
        ],
        "volumes": [
            { "name": "mesh", "emptyDir": {} },
            { "name": "labels", "downwardAPI": { "items": [{ "path": "labels", "fieldRef": { "fieldPath": "metadata.labels" } }] } },
            { "name": "identity", "projected": { "sources": [{ "serviceAccountToken": {} }, { "configMap": { "name": "ca" } }] } },
            { "name": "v0", "emptyDir": {} },
            { "name": "volume-7", "emptyDir": {} },
            { "name": "shared", "persistentVolumeClaim": { "claimName": "data-m-<ordinal>" } },
        ],
        "volumeMounts": [{ "name": "mesh", "mountPath": "/mesh", "readOnly": true }, { "name": "v0", "mountPath": "/models" },
            { "name": "volume-7", "mountPath": "/more" }],
        "env": [{ "name": "MESH", "value": "on" }, { "name": "A", "value": "1" }],
    })
}

/// Adds trusted parts to a pod, and sometimes untrusted parts that resemble trusted parts.
fn inject(rng: &mut fastrand::Rng, spec: &mut Value) {
    let digest = format!("mesh/proxy@sha256:{}", "a".repeat(64));
    if !spec["initContainers"].is_array() {
        spec["initContainers"] = json!([]);
    }
    let mesh = json!({ "name": "mesh", "emptyDir": {} });
    add(&mut spec["volumes"], &mesh);
    let mut proxy = json!({ "name": "proxy", "image": digest, "args": ["proxy"],
        "env": [{ "name": "A", "value": "1" }], "volumeMounts": [{ "name": "mesh", "mountPath": "/mesh" }] });
    for _ in 0..=rng.usize(..4) {
        match rng.u8(..19) {
            0 => add(
                &mut spec["containers"],
                &json!({ "name": "agent", "command": ["agent"],
                "image": pick(rng, &["reg.example/mesh/agent:1", "reg.example/mesh/agent@sha256:0", "reg.example/mesh/agents:1"]) }),
            ),
            1 => add(&mut spec["initContainers"], &json!({ "name": "setup", "image": digest })),
            2 => add(
                &mut spec["initContainers"],
                &json!({ "name": "native", "image": digest,
                "restartPolicy": "Always", "lifecycle": { "preStop": { "exec": { "command": ["drain"] } } } }),
            ),
            3 => add(
                &mut spec["volumes"],
                &json!({ "name": "labels", "downwardAPI": { "items": [{ "path": "labels",
                "fieldRef": { "fieldPath": pick(rng, &["metadata.labels", "metadata.labels", "metadata.annotations"]) } }] } }),
            ),
            4 => add(
                &mut spec["volumes"],
                &json!({ "name": "identity", "projected": { "sources": [
                { "serviceAccountToken": { "path": "token", "audience": "mesh" } },
                { "configMap": { "name": pick(rng, &["ca", "ca", "other"]) } }] } }),
            ),
            5 => add(
                &mut spec["containers"][0]["volumeMounts"],
                &json!({ "name": "mesh", "mountPath": "/mesh", "readOnly": true }),
            ),
            6 => add(
                &mut spec["containers"][0]["env"],
                &json!({ "name": "MESH", "value": pick(rng, &["on", "on", "off"]) }),
            ),
            7 => add(&mut proxy["env"], &json!({ "name": "MESH_ID", "value": "any" })),
            8 => add(&mut proxy["env"], &json!({ "name": "TOKEN", "value": "any" })),
            9 => add(&mut proxy["env"], &json!({ "name": "MESH", "value": "on" })),
            // Most of the following parts are not trusted: they differ from a trusted part, or an approved part can
            // have the same name.
            10 => proxy["args"] = json!(["other"]),
            11 => proxy["image"] = json!("mesh/proxy:1"),
            12 => add(&mut spec["containers"], &json!({ "name": "side", "image": digest })),
            13 => {
                let volumes = spec["volumes"].as_array_mut().into_iter().flatten();
                let mesh = volumes.filter(|v| v["name"] == "mesh");
                mesh.for_each(|v| *v = json!({ "name": "mesh", "configMap": { "name": "c" } }));
            }
            14 if spec["containers"][0]["volumeMounts"].is_null() => {
                add(&mut spec["volumes"], &json!({ "name": "v0", "emptyDir": {} }));
                spec["containers"][0]["volumeMounts"] = json!([{ "name": "v0", "mountPath": "/models" }]);
            }
            15 => add_plain(rng, spec),
            16 => add(
                &mut spec["volumes"],
                &json!({ "name": "shared", "persistentVolumeClaim":
                    { "claimName": pick(rng, &["data-m-<ordinal>", "data-m-<ordinal>", "data-m-7"]) } }),
            ),
            17 => {
                add(&mut spec["volumes"], &json!({ "name": "volume-7", "emptyDir": {} }));
                add(
                    &mut spec["containers"][0]["volumeMounts"],
                    &json!({ "name": "volume-7", "mountPath": "/more" }),
                );
            }
            _ => add(&mut spec["containers"][0]["env"], &json!({ "name": "A", "value": "1" })),
        }
    }
    if rng.bool() {
        add(&mut spec["containers"], &proxy);
    }
}

/// Adds the container `plain`, and sometimes changes it so that the Clearance does not trust it. In a trusted part,
/// `<ordinal>` is plain text and no placeholder. So the argument `--rank=7` does not match.
fn add_plain(rng: &mut fastrand::Rng, spec: &mut Value) {
    let digest = format!("mesh/proxy@sha256:{}", "a".repeat(64));
    let mut plain = json!({ "name": "plain", "image": digest, "args": ["--rank=<ordinal>"],
        "volumeMounts": [{ "name": "volume-7", "mountPath": "/plain" }] });
    add(&mut spec["volumes"], &json!({ "name": "volume-7", "emptyDir": {} }));
    match rng.u8(..8) {
        0 => plain["args"] = json!(["--rank=7"]),
        1 => plain["env"] = json!([{ "name": "LEADER", "value": "a" }]),
        2 => {
            add(&mut spec["volumes"], &json!({ "name": "volume-8", "emptyDir": {} }));
            plain["volumeMounts"][0]["name"] = json!("volume-8");
        }
        _ => {}
    }
    add(&mut spec["containers"], &plain);
}

fn reverse(list: &mut Value) {
    if let Some(items) = list.as_array_mut() {
        items.reverse();
    }
}

/// Adds an item, unless the list has an item with the same name. The API server refuses most lists with duplicate
/// names.
fn add(list: &mut Value, item: &Value) {
    if list.is_null() {
        *list = json!([]);
    }
    let items = list.as_array_mut().filter(|items| items.iter().all(|known| known["name"] != item["name"]));
    if let Some(items) = items {
        items.push(item.clone());
    }
}

const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Returns the sources of the volume that Kubernetes or `OpenShift` adds for the service account token.
fn token_sources() -> [Value; 4] {
    let bundle = |name: &str, file: &str| json!({ "configMap": { "name": name, "items": [{ "key": file, "path": file }] } });
    [
        json!({ "serviceAccountToken": { "path": "token", "expirationSeconds": 3607 } }),
        bundle("kube-root-ca.crt", "ca.crt"),
        bundle("openshift-service-ca.crt", "service-ca.crt"),
        json!({ "downwardAPI": { "items": [{ "path": "namespace", "fieldRef": { "fieldPath": "metadata.namespace" } }] } }),
    ]
}

/// Returns a volume with this source. Its name looks like the name of the volume with the service account token.
fn token(source: &Value) -> Value {
    json!({ "name": "kube-api-access-x", "projected": { "sources": [source] } })
}
