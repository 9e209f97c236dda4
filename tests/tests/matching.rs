//! Whether a pod is what was approved is decided twice: in CEL, by the API server, and in Rust, by the
//! operator and the plugin. Here both judge the same generated pods, and must agree on every one.
//!
//! ```text
//!  seed ─► runtimes ─► Clearance ─────────────► API server: gate or none ─┐
//!            └─► pods, changed in up to two places ─┤                     ├─ equal
//!                                                   └─► policy::matches ──┘
//! ```
//!
//! `ASSENT_MATCHING_PODS` says how many pods (default 600), `ASSENT_SEED` which.

use std::env;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use assent::api::{Clearance, Runtime};
use assent::policy::{matches, runtime_of_pod};
use assent_tests::{Assent, Component, ControlPlane, NAMESPACE, Options, Person, until};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, PostParams};
use serde_json::{Value, json};

const NS: &str = "matching";

/// How many runtimes one Clearance holds.
const RUNTIMES: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_and_the_operator_agree_on_every_pod() -> Result<()> {
    let number =
        |name: &str, default: u64| env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    let (pods, seed) = (number("ASSENT_MATCHING_PODS", 600), number("ASSENT_SEED", 42));
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

    let mut dice = fastrand::Rng::with_seed(seed);
    let (mut cleared, mut judged) = (0, 0);
    for round in 0..pods.div_ceil(200) {
        let runtimes: Vec<Value> = (0..RUNTIMES).map(|_| runtime(&mut dice)).collect();
        let known = publish(&operator, round, &runtimes).await?;
        let api: Api<Pod> = Api::namespaced(cluster.client(Person::Admin)?, NS);
        seen(&api, round).await?;
        for _ in 0..200.min(pods - judged) {
            let which = dice.usize(..RUNTIMES);
            let pod = pod(&mut dice, &format!("s{which}"), &runtimes[which]);
            cleared +=
                u64::from(agree(&api, &pod, &known[which]).await.with_context(|| format!("seed {seed}"))?);
            judged += 1;
        }
    }
    ensure!(
        cleared > judged / 5 && cleared < judged * 4 / 5,
        "{cleared} of {judged} are cleared: these pods test little"
    );
    println!("{judged} pods, {cleared} of them cleared");
    Ok(())
}

/// Whether both clear the pod; an error if they disagree.
async fn agree(api: &Api<Pod>, pod: &Value, approved: &Runtime) -> Result<bool> {
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let admitted =
        api.create(&dry, &serde_json::from_value(pod.clone())?).await.with_context(|| pod.to_string())?;
    let spec = admitted.spec.context("a pod without a spec")?;
    let gated = spec.scheduling_gates.iter().flatten().any(|gate| gate.name == "assent.dev/clearance");
    let matched = runtime_of_pod(&spec).is_ok_and(|runtime| matches(approved, &runtime));
    ensure!(
        gated != matched,
        "the API server says {}, we say {}:\n{pod}\n{}",
        !gated,
        matched,
        serde_json::to_string(approved)?
    );
    Ok(matched)
}

/// Writes the clearance of a round; the runtimes as the API server keeps them.
async fn publish(operator: &kube::Client, round: u64, runtimes: &[Value]) -> Result<Vec<Runtime>> {
    let clear = |runtime: &Value| {
        json!({ "gracePeriodSeconds": 60, "cleared": [{ "modelVersion": "v", "notAfter": "2099-01-01T00:00:00Z",
            "subjectDigest": format!("sha256:{}", "0".repeat(64)), "runtime": runtime }] })
    };
    let mut systems: serde_json::Map<_, _> =
        runtimes.iter().enumerate().map(|(i, runtime)| (format!("s{i}"), clear(runtime))).collect();
    systems.insert(
        "round".to_owned(),
        clear(&json!({ "containers": [{ "name": "round", "image": round.to_string() }] })),
    );
    let clearance = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "Clearance", "metadata": { "name": "clearance" },
        "spec": { "mode": "enforce", "systems": systems } });
    let api: Api<Clearance> = Api::namespaced(operator.clone(), NS);
    let written = match api.list(&ListParams::default()).await?.items.pop() {
        None => api.create(&PostParams::default(), &serde_json::from_value(clearance)?).await?,
        Some(before) => {
            let mut next: Clearance = serde_json::from_value(clearance)?;
            next.metadata.resource_version = before.metadata.resource_version;
            api.replace("clearance", &PostParams::default(), &next).await?
        }
    };
    let of = |i: usize| written.spec.systems.get(&format!("s{i}")).map(|s| s.cleared[0].runtime.clone());
    (0..runtimes.len()).map(|i| of(i).context("a system was lost")).collect()
}

/// Waits until the API server's policies see the clearance of a round.
async fn seen(api: &Api<Pod>, round: u64) -> Result<()> {
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

fn environments() -> Vec<Value> {
    vec![
        json!([{ "name": "A", "value": "1" }]),
        json!([{ "name": "A", "value": "1" }, { "name": "TOKEN", "value": "t" }]),
        json!([{ "name": "TOKEN", "valueFrom": { "secretKeyRef": { "name": "s", "key": "k" } } }, { "name": "A", "value": "1" }]),
        json!([{ "name": "A", "value": "" }]),
        json!([{ "name": "A", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }]),
        json!([{ "name": "A", "valueFrom": { "resourceFieldRef": { "resource": "limits.memory" } } }]),
        json!([{ "name": "A", "valueFrom": { "configMapKeyRef": { "name": "c", "key": "k", "optional": false } } }]),
    ]
}

fn volume(dice: &mut fastrand::Rng, name: &str) -> Value {
    let sources = [
        json!({ "emptyDir": {} }),
        json!({ "image": { "reference": "weights@sha256:1" } }),
        json!({ "image": { "reference": "weights@sha256:2" } }),
        json!({ "persistentVolumeClaim": { "claimName": "claim" } }),
        json!({ "configMap": { "name": "c" } }),
        json!({ "secret": { "secretName": "s" } }),
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
    if dice.u8(..4) == 0 {
        containers[0]["exec"] =
            one(dice, &[json!({ "postStart": ["warm"] }), json!({ "livenessProbe": ["ok"] })]).clone();
    }
    let init = ["fetch", "check"][..dice.usize(..3)].iter();
    let init: Vec<Value> = init.map(|name| container(dice, name, &volumes)).collect();
    json!({ "containers": containers, "initContainers": init, "volumes": volumes })
}

/// A pod that has the runtime, but for up to two changes.
fn pod(dice: &mut fastrand::Rng, system: &str, runtime: &Value) -> Value {
    let mut spec = runtime.clone();
    for container in spec["containers"].as_array_mut().into_iter().flatten() {
        as_in_a_pod(container);
    }
    for _ in 0..dice.usize(..3) {
        change(dice, &mut spec);
    }
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "pod", "labels": { "assent.dev/system": system } }, "spec": spec })
}

/// From the words of a runtime to those of a pod.
fn as_in_a_pod(container: &mut Value) {
    let Some(fields) = container.as_object_mut() else { return };
    fields.remove("mayVary");
    let exec = fields.remove("exec").unwrap_or_default();
    if exec["postStart"].is_array() {
        fields.insert(
            "lifecycle".to_owned(),
            json!({ "postStart": { "exec": { "command": exec["postStart"] } } }),
        );
    }
    if exec["livenessProbe"].is_array() {
        fields.insert("livenessProbe".to_owned(), json!({ "exec": { "command": exec["livenessProbe"] } }));
    }
}

fn change(dice: &mut fastrand::Rng, spec: &mut Value) {
    let fresh = container(dice, "main", &[]);
    let main = &mut spec["containers"][0];
    match dice.u8(..27) {
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
        // What does not.
        14 => add(&mut spec["volumes"], &token(&json!({ "serviceAccountToken": { "path": "token" } }))),
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

fn reverse(list: &mut Value) {
    if let Some(items) = list.as_array_mut() {
        items.reverse();
    }
}

/// Adds an item once: the API server takes no two of a name.
fn add(list: &mut Value, item: &Value) {
    let items = list.as_array_mut().filter(|items| items.iter().all(|known| known["name"] != item["name"]));
    if let Some(items) = items {
        items.push(item.clone());
    }
}

/// Where the API server mounts the service account's token.
const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// A volume that has the name of the service account's token.
fn token(source: &Value) -> Value {
    json!({ "name": "kube-api-access-x", "projected": { "sources": [source] } })
}
