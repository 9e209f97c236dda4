//! Whether a pod is what was approved is decided twice: in CEL, by the API server, and in Rust, by the
//! operator and the plugin. Here both judge the same generated pods, and must agree on every one.
//!
//! ```text
//!  seed ─► runtimes, trusted sidecars ─► Clearance ─► API server: gate or none ─┐
//!            └─► pods, changed in up to two places ─────┤                       ├─ equal
//!                and injected into                      └─► policy::matches ────┘
//!  schema of a runtime ─► fields: each was in a cleared pod, and changed in one that was held
//! ```
//!
//! `ASSENT_MATCHING_PODS` says how many pods (default 10,000), `ASSENT_SEED` which.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use assent::api::{Clearance, Runtime, Trusted, definitions};
use assent::policy::{matches, runtime_of_pod};
use assent_tests::{Assent, Component, ControlPlane, NAMESPACE, Options, Person, until};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, PostParams};
use kube::{Api, Error};
use serde_json::{Value, json};

const NS: &str = "matching";

/// How many runtimes one Clearance holds.
const RUNTIMES: usize = 40;

/// How many pods are judged by one Clearance.
const PODS: usize = 1000;

/// How many pods the API server judges at the same time.
const CONCURRENCY: usize = 8;

/// The fields that a pod cannot have otherwise, because the API server takes only one value.
const FIXED: [&str; 4] = [
    "containers.env.valueFrom.fieldRef.apiVersion",
    "initContainers.env.valueFrom.fieldRef.apiVersion",
    "volumes.downwardAPI.items.fieldRef.apiVersion",
    "volumes.projected.sources.downwardAPI.items.fieldRef.apiVersion",
];

/// A pod, how it came about, and the system whose runtime it had before it was changed.
struct Case {
    pod: Value,
    which: usize,
    /// The one field in which it differs, if it is one.
    field: Option<String>,
    /// Something was put into it besides.
    injected: bool,
}

/// How often each field was the one that was changed.
type Turns = BTreeMap<String, usize>;

/// What was found out about a pod.
enum Found {
    Cleared,
    Held,
    /// No pod at all: Kubernetes itself refuses it.
    Invalid,
}

/// What was seen so far.
#[derive(Default)]
struct Tally {
    cleared: usize,
    /// Of those that were cleared.
    injected: usize,
    held: usize,
    invalid: usize,
    /// The fields of runtimes that pods were cleared for.
    had: BTreeSet<String>,
    /// How often a change of a field alone was noticed.
    noticed: BTreeMap<String, usize>,
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
    // From here on the clearance is ours to write, with the operator's name.
    assent.operator().kill();
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": NS, "labels": { "assent.dev/mode": "enforce" } } });
    cluster.kubectl_stdin(Person::Admin, &["apply", "-f", "-"], &namespace.to_string()).await?.ok()?;
    let operator = cluster.service_account(NAMESPACE, "assent").await?.client()?;
    let api: Api<Pod> = Api::namespaced(cluster.client(Person::Admin)?, NS);

    let mut dice = fastrand::Rng::with_seed(seed);
    let (mut tally, mut turns) = (Tally::default(), Turns::new());
    for round in 0..pods.div_ceil(PODS) {
        let runtimes: Vec<Value> = (0..RUNTIMES).map(|_| runtime(&mut dice)).collect();
        // In the first round nothing is trusted, and the same is injected.
        let trusts = if round == 0 { json!({}) } else { trusted() };
        let (known, trusted) = publish(&operator, round, &runtimes, &trusts).await?;
        seen(&api, round).await?;
        let cases: Vec<Case> =
            (0..PODS.min(pods - round * PODS)).map(|_| case(&mut dice, &runtimes, &mut turns)).collect();
        let found = futures::stream::iter(&cases)
            .map(async |case| agree(&api, &case.pod, &known[case.which], &trusted).await);
        let found: Vec<Found> =
            found.buffered(CONCURRENCY).try_collect().await.with_context(|| format!("seed {seed}"))?;
        for (case, found) in cases.iter().zip(found) {
            tally.count(case, &found, &known[case.which])?;
        }
    }
    println!(
        "{} pods cleared, {} of them with trusted sidecars, {} held, {} invalid",
        tally.cleared, tally.injected, tally.held, tally.invalid
    );
    tally.is_telling(pods)
}

impl Tally {
    fn count(&mut self, case: &Case, found: &Found, approved: &Runtime) -> Result<()> {
        match found {
            Found::Cleared => {
                self.cleared += 1;
                self.injected += usize::from(case.injected);
                fields(&serde_json::to_value(approved)?, "", &mut self.had);
            }
            Found::Held => {
                self.held += 1;
                if let Some(field) = &case.field {
                    *self.noticed.entry(field.clone()).or_default() += 1;
                }
            }
            Found::Invalid => self.invalid += 1,
        }
        Ok(())
    }

    /// That these pods test what they should: with fewer, not every field has its turn.
    fn is_telling(&self, pods: usize) -> Result<()> {
        let judged = self.cleared + self.held;
        let share = self.cleared * 100 / judged.max(1);
        ensure!((40..=60).contains(&share), "{share} % are cleared: these pods test little");
        ensure!(self.invalid * 10 < judged, "{} of {pods} pods are none", self.invalid);
        ensure!(self.injected * 10 > self.cleared, "{} pods were injected into and cleared", self.injected);
        if pods < 2000 {
            return Ok(());
        }
        let all = schema_fields()?;
        let never: Vec<_> = all.iter().filter(|field| !self.had.contains(*field)).collect();
        ensure!(never.is_empty(), "no cleared pod had {never:?}");
        let may_differ = |field: &&String| !FIXED.contains(&field.as_str()) && !field.contains("mayVary");
        let unnoticed: Vec<_> =
            all.iter().filter(may_differ).filter(|field| !self.noticed.contains_key(*field)).collect();
        ensure!(unnoticed.is_empty(), "no pod was held because it differed only in {unnoticed:?}");
        Ok(())
    }
}

/// Every field of a runtime that holds a value, by the schema: `containers.env.value`, …
fn schema_fields() -> Result<BTreeSet<String>> {
    let definition =
        definitions().into_iter().find(|d| d.spec.names.kind == "Clearance").context("no Clearance")?;
    let schema = serde_json::to_value(definition.spec.versions.first().context("no version")?)?;
    let system = &schema["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["systems"]["additionalProperties"];
    let mut fields = BTreeSet::new();
    of_schema(&system["properties"]["cleared"]["items"]["properties"]["runtime"], "", &mut fields);
    ensure!(fields.len() > 40, "that is not the schema of a runtime: {system}");
    Ok(fields)
}

fn of_schema(schema: &Value, path: &str, fields: &mut BTreeSet<String>) {
    let inner = if schema["items"].is_object() { &schema["items"] } else { schema };
    match inner["properties"].as_object() {
        Some(properties) => {
            for (name, inner) in properties {
                of_schema(inner, &join(path, name), fields);
            }
        }
        None => drop(fields.insert(path.to_owned())),
    }
}

/// The fields of a value that hold one.
fn fields(value: &Value, path: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(inner) if !inner.is_empty() => {
            for (name, value) in inner {
                fields(value, &join(path, name), into);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for item in items {
                fields(item, path, into);
            }
        }
        _ => drop(into.insert(path.to_owned())),
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// What both say of the pod; an error if they disagree.
async fn agree(api: &Api<Pod>, pod: &Value, approved: &Runtime, trusted: &Trusted) -> Result<Found> {
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let admitted = match api.create(&dry, &serde_json::from_value(pod.clone())?).await {
        Err(Error::Api(answer)) if answer.reason == "Invalid" => return Ok(Found::Invalid),
        admitted => admitted.with_context(|| pod.to_string())?,
    };
    let (annotations, spec) = (admitted.metadata.annotations, admitted.spec.context("a pod without a spec")?);
    let gated = spec.scheduling_gates.iter().flatten().any(|gate| gate.name == "assent.dev/clearance");
    let matched =
        runtime_of_pod(annotations.as_ref(), &spec).is_ok_and(|runtime| matches(approved, trusted, &runtime));
    ensure!(
        gated != matched,
        "the API server says {}, we say {}:\n{pod}\n{}",
        !gated,
        matched,
        serde_json::to_string(approved)?
    );
    Ok(if matched { Found::Cleared } else { Found::Held })
}

/// Writes the clearance of a round; the runtimes and what is trusted as the API server keeps them.
async fn publish(
    operator: &kube::Client,
    round: usize,
    runtimes: &[Value],
    trusted: &Value,
) -> Result<(Vec<Runtime>, Trusted)> {
    let clear = |runtime: &Value| {
        json!({ "cleared": [{ "modelVersion": "v", "notAfter": "2099-01-01T00:00:00Z",
            "subjectDigest": format!("sha256:{}", "0".repeat(64)), "runtime": runtime }] })
    };
    let mut systems: serde_json::Map<_, _> =
        runtimes.iter().enumerate().map(|(i, runtime)| (format!("s{i}"), clear(runtime))).collect();
    systems.insert(
        "round".to_owned(),
        clear(&json!({ "containers": [{ "name": "round", "image": round.to_string() }] })),
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
    let of = |i: usize| written.spec.systems.get(&format!("s{i}")).map(|s| (*s.cleared[0].runtime).clone());
    let known = (0..runtimes.len()).map(|i| of(i).context("a system was lost")).collect::<Result<_>>()?;
    Ok((known, written.spec.trusted.clone()))
}

/// Waits until the API server's policies see the clearance of a round.
async fn seen(api: &Api<Pod>, round: usize) -> Result<()> {
    let probe = json!({ "metadata": { "name": "round", "labels": { "assent.dev/system": "round" } },
        "spec": { "containers": [{ "name": "round", "image": round.to_string() }] } });
    let probe: Pod = serde_json::from_value(probe)?;
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    until(Duration::from_secs(20), "the API server to see the clearance", async || {
        let gates = api.create(&dry, &probe).await?.spec.and_then(|spec| spec.scheduling_gates);
        Ok(gates.is_none_or(|gates| gates.is_empty()).then_some(()))
    })
    .await
}

fn one<'a, T>(dice: &mut fastrand::Rng, of: &'a [T]) -> &'a T {
    &of[dice.usize(..of.len())]
}

/// A container of few possible images, arguments and so on, so that two are often alike.
fn container(dice: &mut fastrand::Rng, name: &str, volumes: &[Value]) -> Value {
    let mut container = json!({ "name": name, "image": one(dice, &["a", "b@sha256:0", "reg:5000/c"]) });
    // An init container that goes on running is a sidecar, which may have hooks and probes as others do.
    if dice.bool() {
        container["restartPolicy"] = json!("Always");
        match dice.u8(..4) {
            0 | 1 => {
                let hook = *one(dice, &HOOKS);
                container["exec"] = json!({ hook: ["run", "this"] });
            }
            2 => {
                let hook = *one(dice, &HOOKS[..2]);
                container["http"] = json!({ hook: one(dice, &requests()) });
            }
            _ => {}
        }
    }
    let mut maybe = |dice: &mut fastrand::Rng, field: &str, values: &[Value]| {
        if dice.u8(..3) == 0 {
            container[field] = one(dice, values).clone();
        }
    };
    maybe(dice, "command", &[json!(["sh", "-c", "run"]), json!(["run"])]);
    maybe(
        dice,
        "args",
        &[
            json!(["--model=x"]),
            json!(["--model=x", "--y"]),
            json!(["--y", "--model=x"]),
            json!([""]),
            json!(["ü", "\u{202e}"]),
        ],
    );
    maybe(dice, "workingDir", &[json!("/app"), json!("/tmp")]);
    maybe(dice, "env", &environments());
    maybe(
        dice,
        "envFrom",
        &[
            json!([{ "configMapRef": { "name": "c" } }]),
            json!([{ "configMapRef": { "name": "c", "optional": true } }, { "secretRef": { "name": "s" } }]),
            json!([{ "prefix": "P_", "secretRef": { "name": "s", "optional": true } }]),
        ],
    );
    if !volumes.is_empty() && dice.bool() {
        let mut mount =
            json!({ "name": one(dice, volumes)["name"], "mountPath": one(dice, &["/models", "/data"]) });
        match dice.u8(..4) {
            0 => mount["readOnly"] = json!(true),
            1 => mount["subPath"] = json!("sub"),
            2 => mount["subPathExpr"] = json!("$(A)"),
            _ => {}
        }
        container["volumeMounts"] = json!([mount]);
    }
    container
}

/// Requests that a hook may send.
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

fn volume(dice: &mut fastrand::Rng, name: &str) -> Value {
    let items = json!([{ "key": "k", "path": "sub/k" }, { "key": "l", "path": "l" }]);
    let files = json!([
        { "path": "name", "fieldRef": { "fieldPath": "metadata.name" } },
        { "path": "memory", "resourceFieldRef": { "containerName": "main", "resource": "limits.memory", "divisor": "1Mi" } },
    ]);
    let sources = [
        json!({ "emptyDir": {} }),
        json!({ "image": { "reference": "weights@sha256:1" } }),
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
    let mut volume = one(dice, &sources).clone();
    volume["name"] = json!(name);
    volume
}

/// A runtime as a `ModelVersion` says it.
fn runtime(dice: &mut fastrand::Rng) -> Value {
    let volumes: Vec<Value> = ["v0", "v1"][..dice.usize(..3)].iter().map(|name| volume(dice, name)).collect();
    let containers = ["main", "side"][..=dice.usize(..2)].iter();
    let mut containers: Vec<Value> = containers.map(|name| container(dice, name, &volumes)).collect();
    if dice.bool() {
        containers[0]["mayVary"] = json!({ "env": ["TOKEN"] });
    }
    let init = ["fetch", "check"][..dice.usize(..3)].iter();
    let mut init: Vec<Value> = init.map(|name| container(dice, name, &volumes)).collect();
    if let Some(first) = init.first_mut().filter(|_| dice.bool()) {
        first["mayVary"] = json!({ "env": ["TOKEN"] });
    }
    let mut runtime = json!({ "containers": containers, "initContainers": init, "volumes": volumes });
    if dice.u8(..4) == 0 {
        runtime[*one(dice, &SHARES)] = json!(true);
    }
    runtime
}

/// What a pod may share with its node, and its containers with each other.
const SHARES: [&str; 4] = ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"];

/// What a container runs beside its command, by the names of a runtime, and where a pod has it.
const HOOKS: [&str; 5] = ["postStart", "preStop", "livenessProbe", "readinessProbe", "startupProbe"];

/// A pod that has one of the runtimes, but for up to two changes.
fn case(dice: &mut fastrand::Rng, runtimes: &[Value], turns: &mut Turns) -> Case {
    let which = dice.usize(..runtimes.len());
    let mut runtime = runtimes[which].clone();
    let turn = dice.u8(..8);
    let field = (turn < 2).then(|| differ(dice, &mut runtime, turns)).flatten();
    let mut spec = runtime;
    for containers in ["containers", "initContainers"] {
        spec[containers].as_array_mut().into_iter().flatten().for_each(as_in_a_pod);
    }
    for source in sources(&mut spec).filter(|source| source["serviceAccountToken"].is_object()) {
        if source["serviceAccountToken"]["path"].is_null() {
            source["serviceAccountToken"]["path"] = json!("token");
        }
    }
    if turn > 4 {
        (0..dice.usize(1..3)).for_each(|_| change(dice, &mut spec));
    }
    let injected = field.is_none() && dice.u8(..4) == 0;
    if injected {
        inject(dice, &mut spec);
    }
    let mut metadata = json!({ "name": "pod", "labels": { "assent.dev/system": format!("s{which}") } });
    if turn == 7 && dice.bool() {
        metadata["annotations"] = json!({ *one(dice, &ANNOTATIONS): "x" });
    }
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec });
    Case { pod, which, field, injected }
}

/// Some of these are read by a container runtime, and some only look like it.
const ANNOTATIONS: [&str; 6] = [
    "cdi.k8s.io/gpu",
    "io.kubernetes.cri-o.Devices",
    "io.kubernetes.cri-o.ShmSize",
    "cdiXk8s.io/gpu",
    "x.cdi.k8s.io/gpu",
    "prometheus.io/scrape",
];

/// The sources of the projected volumes.
fn sources(spec: &mut Value) -> impl Iterator<Item = &mut Value> {
    let volumes = spec["volumes"].as_array_mut().into_iter().flatten();
    volumes.filter_map(|volume| volume.pointer_mut("/projected/sources")?.as_array_mut()).flatten()
}

/// Changes one field of a runtime to another value that a pod may have; which.
fn differ(dice: &mut fastrand::Rng, runtime: &mut Value, turns: &mut Turns) -> Option<String> {
    let mut places = Vec::new();
    leaves(runtime, String::new(), &mut places);
    let kinds: BTreeSet<String> = places.iter().map(|place| field_of(place)).collect();
    // The field whose turn comes least often, so that rare ones are changed too.
    let kinds = kinds.into_iter().filter(|field| !field.contains("mayVary"));
    let field = kinds.min_by_key(|field| (turns.get(field).copied().unwrap_or(0), dice.u32(..)))?;
    *turns.entry(field.clone()).or_default() += 1;
    let places: Vec<_> = places.into_iter().filter(|place| field_of(place) == field).collect();
    let place = one(dice, &places);
    let name = place.rsplit('/').find(|part| part.parse::<usize>().is_err()).unwrap_or_default();
    let volumes = runtime["volumes"].clone();
    if ["emptyDir", "downwardAPI", "serviceAccountToken"].contains(&name) {
        // Without it, there would be no source, or a volume that is an emptyDir all the same.
        let of = runtime.pointer_mut(place.rsplit_once('/')?.0)?.as_object_mut()?;
        of.remove(name);
        of.insert("configMap".to_owned(), json!({ "name": "other" }));
        return Some(field);
    }
    let value = runtime.pointer_mut(place)?;
    let other = match (name, &*value) {
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

/// The pointers of the values of a runtime.
fn leaves(value: &Value, here: String, into: &mut Vec<String>) {
    match value {
        Value::Object(inner) if !inner.is_empty() => {
            inner.iter().for_each(|(name, value)| leaves(value, format!("{here}/{name}"), into));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, item)| leaves(item, format!("{here}/{i}"), into));
        }
        _ => into.push(here),
    }
}

/// The field that a pointer points to: without the positions in lists.
fn field_of(pointer: &str) -> String {
    let names: Vec<_> =
        pointer.split('/').filter(|part| !part.is_empty() && part.parse::<usize>().is_err()).collect();
    names.join(".")
}

/// From the words of a runtime to those of a pod.
fn as_in_a_pod(container: &mut Value) {
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

fn change(dice: &mut fastrand::Rng, spec: &mut Value) {
    let fresh = container(dice, "main", &[]);
    let main = &mut spec["containers"][0];
    match dice.u8(..47) {
        // What matters.
        0 => main["image"] = fresh["image"].clone(),
        1 => main["args"] = json!(["--model=other"]),
        2 => main["command"] = json!(["sh"]),
        3 => main["env"] = one(dice, &environments()).clone(),
        4 => main["workingDir"] = json!("/elsewhere"),
        5 => main["lifecycle"] = json!({ "preStop": { "exec": { "command": ["x"] } } }),
        6 => main["startupProbe"] = json!({ "exec": { "command": ["x"] } }),
        7 => spec["hostAliases"] = json!([{ "ip": "10.0.0.1", "hostnames": ["hub"] }]),
        8 => spec["dnsConfig"] = json!({ "nameservers": ["10.0.0.1"] }),
        9 => add(&mut spec["containers"], &json!({ "name": "extra", "image": "a" })),
        10 => reverse(&mut spec["initContainers"]),
        11 => add(&mut spec["volumes"], &json!({ "name": "extra", "hostPath": { "path": "/" } })),
        12 => add(&mut spec["volumes"], &token(&json!({ "configMap": { "name": "other" } }))),
        13 => {
            let volume = spec["volumes"][0]["name"].clone();
            if !volume.is_null() {
                spec["containers"][0]["volumeMounts"] = json!([{ "name": volume, "mountPath": TOKEN_PATH }]);
            }
        }
        24 => spec["dnsConfig"] = json!({ "searches": ["models.example"] }),
        25 => {
            if spec["initContainers"][0].is_object() {
                spec["initContainers"][0]["restartPolicy"] = json!("Always");
            }
        }
        27..37 => change_what_runs(dice, spec),
        37..47 => change_what_is_free(dice, spec),
        // What does not.
        14 => add(&mut spec["volumes"], &token(one(dice, &token_sources()))),
        15 => reverse(&mut spec["containers"]),
        16 => reverse(&mut spec["volumes"]),
        17 => main["resources"] = json!({ "limits": { "memory": "1Gi" } }),
        18 => main["readinessProbe"] = json!({ "httpGet": { "path": "/", "port": 80 } }),
        19 => main["imagePullPolicy"] = json!("Never"),
        20 => spec["automountServiceAccountToken"] = json!(false),
        21 => spec["tolerations"] = json!([{ "operator": "Exists" }]),
        22 => spec["dnsConfig"] = json!({ "options": [{ "name": "ndots", "value": "2" }] }),
        23 => main["lifecycle"] = json!({ "preStop": { "sleep": { "seconds": 1 } } }),
        _ => spec["terminationGracePeriodSeconds"] = json!(7),
    }
}

/// Sets a field that no approved pod has, or may have in that way.
fn change_what_runs(dice: &mut fastrand::Rng, spec: &mut Value) {
    let main = &mut spec["containers"][0];
    match dice.u8(..10) {
        0 => main["terminationMessagePath"] = json!("/models/config.json"),
        1 => main["lifecycle"] = json!({ "postStart": { "httpGet": one(dice, &requests()) } }),
        2 => {
            let kind = *one(dice, &["httpGet", "tcpSocket"]);
            main["livenessProbe"] = json!({ kind: { "port": 80, "host": "10.0.0.1" } });
        }
        3 => main["lifecycle"] = json!({ "preStop": { "tcpSocket": { "port": 80 } } }),
        4 => {
            let host = one(dice, &["", "10.0.0.1"]);
            main["lifecycle"] = json!({ "preStop": { "httpGet": { "port": "web", "host": host } } });
        }
        5 => spec["hostnameOverride"] = json!("hub.example"),
        6 => {
            let option = json!({ "name": "ndots", "value": "2\nnameserver 10.0.0.1" });
            spec["dnsConfig"] = json!({ "options": [option] });
        }
        7 => spec[*one(dice, &SHARES)] = json!(true),
        8 => {
            let file = json!([{ "path": "x", "fieldRef": { "fieldPath": "metadata.name" } }]);
            let sources = [
                json!({ "downwardAPI": { "items": file } }),
                json!({ "serviceAccountToken": { "path": "other" } }),
                json!({ "configMap": { "name": "kube-root-ca.crt" } }),
            ];
            add(&mut spec["volumes"], &token(one(dice, &sources)));
        }
        _ => {
            let mounts = [
                json!({ "readOnly": true }),
                json!({}),
                json!({ "readOnly": true, "subPath": "token" }),
                json!({ "readOnly": true, "mountPropagation": "HostToContainer" }),
            ];
            let mut mount = one(dice, &mounts).clone();
            mount["name"] = json!("kube-api-access-x");
            mount["mountPath"] = json!(TOKEN_PATH);
            add(&mut spec["volumes"], &token(&json!({ "serviceAccountToken": { "path": "token" } })));
            add(&mut spec["containers"][0]["volumeMounts"], &mount);
        }
    }
}

/// Sets a field that may have any value.
fn change_what_is_free(dice: &mut fastrand::Rng, spec: &mut Value) {
    let main = &mut spec["containers"][0];
    match dice.u8(..8) {
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
            let kind = *one(dice, &["tcpSocket", "grpc"]);
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

/// What the cluster may add; some of it under the names of what is approved.
fn trusted() -> Value {
    let digest = format!("mesh/proxy@sha256:{}", "a".repeat(64));
    json!({
        "containers": [
            { "name": "proxy", "image": digest, "args": ["proxy"], "envPrefixes": ["MESH_"],
              "env": [{ "name": "A", "value": "1" }], "mayVary": { "env": ["TOKEN"] },
              "volumeMounts": [{ "name": "mesh", "mountPath": "/mesh" }] },
            { "name": "agent", "image": "reg.example/mesh/agent", "images": "Name", "anyArgs": true, "command": ["agent"] },
            { "name": "side", "image": digest },
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
        ],
        "volumeMounts": [{ "name": "mesh", "mountPath": "/mesh", "readOnly": true }, { "name": "v0", "mountPath": "/models" }],
        "env": [{ "name": "MESH", "value": "on" }, { "name": "A", "value": "1" }],
    })
}

/// Adds what a cluster may add to a pod, and sometimes what only looks like it.
fn inject(dice: &mut fastrand::Rng, spec: &mut Value) {
    let digest = format!("mesh/proxy@sha256:{}", "a".repeat(64));
    if !spec["initContainers"].is_array() {
        spec["initContainers"] = json!([]);
    }
    let mesh = json!({ "name": "mesh", "emptyDir": {} });
    add(&mut spec["volumes"], &mesh);
    let mut proxy = json!({ "name": "proxy", "image": digest, "args": ["proxy"],
        "env": [{ "name": "A", "value": "1" }], "volumeMounts": [{ "name": "mesh", "mountPath": "/mesh" }] });
    for _ in 0..=dice.usize(..4) {
        match dice.u8(..16) {
            0 => add(
                &mut spec["containers"],
                &json!({ "name": "agent", "command": ["agent"],
                "image": one(dice, &["reg.example/mesh/agent:1", "reg.example/mesh/agent@sha256:0", "reg.example/mesh/agents:1"]) }),
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
                "fieldRef": { "fieldPath": one(dice, &["metadata.labels", "metadata.labels", "metadata.annotations"]) } }] } }),
            ),
            4 => add(
                &mut spec["volumes"],
                &json!({ "name": "identity", "projected": { "sources": [
                { "serviceAccountToken": { "path": "token", "audience": "mesh" } },
                { "configMap": { "name": one(dice, &["ca", "ca", "other"]) } }] } }),
            ),
            5 => add(
                &mut spec["containers"][0]["volumeMounts"],
                &json!({ "name": "mesh", "mountPath": "/mesh", "readOnly": true }),
            ),
            6 => add(
                &mut spec["containers"][0]["env"],
                &json!({ "name": "MESH", "value": one(dice, &["on", "on", "off"]) }),
            ),
            7 => add(&mut proxy["env"], &json!({ "name": "MESH_ID", "value": "any" })),
            8 => add(&mut proxy["env"], &json!({ "name": "TOKEN", "value": "any" })),
            9 => add(&mut proxy["env"], &json!({ "name": "MESH", "value": "on" })),
            // What only looks like it.
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
            _ => add(&mut spec["containers"][0]["env"], &json!({ "name": "A", "value": "1" })),
        }
    }
    if dice.bool() {
        add(&mut spec["containers"], &proxy);
    }
}

fn reverse(list: &mut Value) {
    if let Some(items) = list.as_array_mut() {
        items.reverse();
    }
}

/// Adds an item once: the API server takes no two of a name.
fn add(list: &mut Value, item: &Value) {
    if list.is_null() {
        *list = json!([]);
    }
    let items = list.as_array_mut().filter(|items| items.iter().all(|known| known["name"] != item["name"]));
    if let Some(items) = items {
        items.push(item.clone());
    }
}

/// Where the API server mounts the service account's token.
const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The sources of that volume, as the API server and `OpenShift` make them.
fn token_sources() -> [Value; 4] {
    let bundle = |name: &str, file: &str| json!({ "configMap": { "name": name, "items": [{ "key": file, "path": file }] } });
    [
        json!({ "serviceAccountToken": { "path": "token", "expirationSeconds": 3607 } }),
        bundle("kube-root-ca.crt", "ca.crt"),
        bundle("openshift-service-ca.crt", "service-ca.crt"),
        json!({ "downwardAPI": { "items": [{ "path": "namespace", "fieldRef": { "fieldPath": "metadata.namespace" } }] } }),
    ]
}

/// A volume that has the name of the service account's token.
fn token(source: &Value) -> Value {
    json!({ "name": "kube-api-access-x", "projected": { "sources": [source] } })
}
