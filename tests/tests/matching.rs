//! Whether a pod is what was approved is decided twice: in CEL, by the API server, and in Rust, by the
//! operator and the plugin. Here both judge the same generated pods, and must agree on every one.
//!
//! ```text
//!  seed ─► runtimes, trusted sidecars ─► Clearance ─► API server: gate or none ─┐
//!            └─► pods, changed in up to two places ─────┤                       ├─ equal
//!                and injected into                      └─► policy::matches ────┘
//! ```
//!
//! `ASSENT_MATCHING_PODS` says how many pods (default 600), `ASSENT_SEED` which.

use std::env;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use assent::api::{Clearance, Runtime, Trusted};
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
    let (mut cleared, mut judged, mut injected) = (0, 0, 0);
    for round in 0..pods.div_ceil(200) {
        let runtimes: Vec<Value> = (0..RUNTIMES).map(|_| runtime(&mut dice)).collect();
        // In the first round nothing is trusted, and the same is injected.
        let trusts = if round == 0 { json!({}) } else { trusted() };
        let (known, trusted) = publish(&operator, round, &runtimes, &trusts).await?;
        let api: Api<Pod> = Api::namespaced(cluster.client(Person::Admin)?, NS);
        seen(&api, round).await?;
        for _ in 0..200.min(pods - judged) {
            let which = dice.usize(..RUNTIMES);
            let mut pod = pod(&mut dice, &format!("s{which}"), &runtimes[which]);
            let has_more = dice.u8(..3) > 0;
            if has_more {
                inject(&mut dice, &mut pod["spec"]);
            }
            let agreed = agree(&api, &pod, &known[which], &trusted).await;
            let is_cleared = u64::from(agreed.with_context(|| format!("seed {seed}"))?);
            cleared += is_cleared;
            injected += is_cleared * u64::from(has_more);
            judged += 1;
        }
    }
    ensure!(
        cleared > judged / 5 && cleared < judged * 4 / 5 && injected > judged / 10,
        "{cleared} of {judged} are cleared, {injected} of them injected into: these pods test little"
    );
    println!("{judged} pods, {cleared} of them cleared, {injected} of these with trusted sidecars");
    Ok(())
}

/// Whether both clear the pod; an error if they disagree.
async fn agree(api: &Api<Pod>, pod: &Value, approved: &Runtime, trusted: &Trusted) -> Result<bool> {
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let admitted =
        api.create(&dry, &serde_json::from_value(pod.clone())?).await.with_context(|| pod.to_string())?;
    let spec = admitted.spec.context("a pod without a spec")?;
    let gated = spec.scheduling_gates.iter().flatten().any(|gate| gate.name == "assent.dev/clearance");
    let matched = runtime_of_pod(&spec).is_ok_and(|runtime| matches(approved, trusted, &runtime));
    ensure!(
        gated != matched,
        "the API server says {}, we say {}:\n{pod}\n{}",
        !gated,
        matched,
        serde_json::to_string(approved)?
    );
    Ok(matched)
}

/// Writes the clearance of a round; the runtimes and what is trusted as the API server keeps them.
async fn publish(
    operator: &kube::Client,
    round: u64,
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
        "spec": { "enforced": true, "trusted": trusted, "systems": systems } });
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
    let known = (0..runtimes.len()).map(|i| of(i).context("a system was lost")).collect::<Result<_>>()?;
    Ok((known, written.spec.trusted.clone()))
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
        json!({ "downwardAPI": {} }),
        json!({ "projected": { "sources": [{ "serviceAccountToken": {} }, { "secret": { "name": "s" } }] } }),
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
    for volume in spec["volumes"].as_array_mut().into_iter().flatten() {
        if volume["projected"].is_object() {
            volume["projected"]["sources"][0]["serviceAccountToken"] = json!({ "path": "token" });
        }
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
            { "name": "labels", "downwardAPI": {} },
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
            3 => add(&mut spec["volumes"], &json!({ "name": "labels", "downwardAPI": { "items": [] } })),
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

/// A volume that has the name of the service account's token.
fn token(source: &Value) -> Value {
    json!({ "name": "kube-api-access-x", "projected": { "sources": [source] } })
}
