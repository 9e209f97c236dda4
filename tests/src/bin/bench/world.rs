//! The objects that the measurements need: namespaces, systems with versions, and realistic pods. Each version, such as
//! `system-0-v0`, has a different runtime with one container that runs vLLM.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use assent_tests::{digest, until};
use serde_json::{Value, json};

use crate::rest::{Rest, patch, post};

/// The timeout of each wait. It allows for a busy machine.
const TIMEOUT: Duration = Duration::from_mins(5);

/// [`running`] assumes that KWOK, which simulates the kubelets, has missed a pod if the pod does not run after this
/// time.
const MISSED: Duration = Duration::from_secs(30);

/// The API path of a kind of the group `assent.dev` in a namespace.
pub fn ours(namespace: &str, plural: &str) -> String {
    format!("/apis/assent.dev/v1alpha1/namespaces/{namespace}/{plural}")
}

pub fn pods(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/pods")
}

/// The number of systems in a namespace of a large cluster.
pub const SYSTEMS_PER_NAMESPACE: usize = 10;

/// The namespace of a system in a large cluster.
pub fn namespace_of(prefix: &str, system: usize) -> String {
    format!("{prefix}{}", system / SYSTEMS_PER_NAMESPACE)
}

pub fn system_name(number: usize) -> String {
    format!("system-{number}")
}

pub fn version_name(system: usize, version: usize) -> String {
    format!("system-{system}-v{version}")
}

/// Creates a namespace. Waits until the API server holds an uncleared pod in this namespace, or admits the pod if the
/// namespace is ungoverned.
pub async fn namespace(rest: &Rest, name: &str, governed: bool) -> Result<()> {
    let namespace = if governed { self::governed(name) } else { plain(name) };
    rest.create("/api/v1/namespaces", &namespace).await?;
    admitted(rest, name, &pod("none", "probe"), governed).await
}

pub fn plain(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } })
}

pub fn governed(name: &str) -> Value {
    let mut namespace = plain(name);
    namespace["metadata"]["labels"] = json!({ "assent.dev/mode": "enforce" });
    namespace
}

/// Waits until the API server adds the gate to a new pod, or admits a new pod without the gate if `held` is false. The
/// API server learns of a new Clearance by a watch, so a new Clearance takes effect a moment after the write.
pub async fn admitted(rest: &Rest, namespace: &str, pod: &Value, held: bool) -> Result<()> {
    let how = if held { "held" } else { "admitted" };
    until(TIMEOUT, &format!("pods of {namespace} to be {how}"), async || {
        let (answer, _) = rest.timed(post(&format!("{}?dryRun=All", pods(namespace)), pod)?).await?;
        ensure!(is_held(&answer) == held, "the answer is {answer}");
        Ok(Some(()))
    })
    .await
}

/// Creates systems that need no approval, and waits until all their versions are cleared.
pub async fn systems(rest: &Rest, namespace: &str, systems: usize, versions: usize) -> Result<()> {
    let of = |system| (ours(namespace, "aisystems"), ai_system(&system_name(system), "minimal"));
    rest.create_all((0..systems).map(of).collect()).await?;
    let all = (0..versions).flat_map(|version| (0..systems).map(move |system| (system, version)));
    let of = |(system, version)| {
        let name = version_name(system, version);
        (ours(namespace, "modelversions"), model_version(&system_name(system), &name))
    };
    rest.create_all(all.map(of).collect()).await?;
    until(TIMEOUT, &format!("the systems of {namespace} to be cleared"), async || {
        let clearance = rest.get(&format!("{}/clearance", ours(namespace, "clearances"))).await?;
        let cleared = |system: &Value| system["cleared"].as_array().map_or(0, Vec::len);
        let cleared: usize =
            clearance["spec"]["systems"].as_object().into_iter().flatten().map(|(_, s)| cleared(s)).sum();
        ensure!(cleared == systems * versions, "{cleared} of {} are cleared", systems * versions);
        Ok(Some(()))
    })
    .await
}

/// A system with all fields that the levels of the benchmark require.
pub fn ai_system(name: &str, level: &str) -> Value {
    json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "AISystem", "metadata": { "name": name },
        "spec": { "intendedPurpose": "Answers.", "riskLevel": level, "owners": [{ "kind": "User", "name": "dev" }] } })
}

/// A version that matches [`pod`], if the name of the version is the revision of the pod.
pub fn model_version(system: &str, name: &str) -> Value {
    let mut container = container(name);
    // A version does not contain these fields of a container.
    for key in ["ports", "resources", "readinessProbe"] {
        container.as_object_mut().map(|fields| fields.remove(key));
    }
    container["mayVary"] = json!({ "env": ["VLLM_LOGGING_LEVEL"] });
    if let Some(env) = container["env"].as_array_mut() {
        env.retain(|variable| variable["name"] != "VLLM_LOGGING_LEVEL");
    }
    json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "ModelVersion", "metadata": { "name": name },
        "spec": { "system": system, "runtime": { "containers": [container], "volumes": [models(), { "name": "shm", "emptyDir": {} }] },
            "provenance": { "rationale": "It is better." } } })
}

/// A decision of a risk officer.
pub fn decision(decision: &str, system: &str, version: &str, digest: &Value) -> Value {
    json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "Approval", "metadata": { "generateName": "bench-" },
        "spec": { "system": system, "modelVersion": version, "subjectDigest": digest, "role": "risk-officer",
            "decision": decision, "reason": "for the benchmark" } })
}

/// A pod that runs vLLM. `revision` is its last argument, in which pods of different versions differ.
pub fn pod(system: &str, revision: &str) -> Value {
    let memory = json!({ "name": "shm", "emptyDir": { "medium": "Memory", "sizeLimit": "2Gi" } });
    json!({ "apiVersion": "v1", "kind": "Pod",
        "metadata": { "generateName": "vllm-", "labels": { "app": "vllm", "assent.dev/system": system } },
        "spec": { "containers": [container(revision)], "volumes": [models(), memory], "terminationGracePeriodSeconds": 1 } })
}

/// The pod with a scheduler that does not exist, so that it never gets a node.
pub fn parked(mut pod: Value) -> Value {
    pod["spec"]["schedulerName"] = json!("nobody");
    pod
}

/// The pod with this gate in its manifest.
pub fn gated(mut pod: Value, gate: &str) -> Value {
    pod["spec"]["schedulingGates"] = json!([{ "name": gate }]);
    pod
}

fn container(revision: &str) -> Value {
    json!({
        "name": "server",
        "image": format!("registry.example/vllm-openai@{}", digest('a')),
        "args": ["--model=/models/llama-3.1-8b-instruct", "--served-model-name=llama-3.1-8b", "--dtype=bfloat16",
            "--tensor-parallel-size=1", "--max-model-len=8192", "--gpu-memory-utilization=0.90", "--port=8000",
            format!("--revision={revision}")],
        "env": [{ "name": "HF_HOME", "value": "/models" }, { "name": "HF_HUB_OFFLINE", "value": "1" },
            { "name": "VLLM_WORKER_MULTIPROC_METHOD", "value": "spawn" },
            { "name": "VLLM_LOGGING_LEVEL", "value": "INFO" }, { "name": "NCCL_DEBUG", "value": "WARN" }],
        "volumeMounts": [{ "name": "models", "mountPath": "/models", "readOnly": true },
            { "name": "shm", "mountPath": "/dev/shm" }],
        "ports": [{ "containerPort": 8000, "name": "http" }],
        "resources": { "requests": { "cpu": "1m", "memory": "1Mi" } },
        "readinessProbe": { "httpGet": { "path": "/health", "port": "http" } },
    })
}

fn models() -> Value {
    json!({ "name": "models", "image": { "reference": format!("registry.example/models/llama@{}", digest('b')) } })
}

/// Whether the pod in a response of the API server has a gate.
pub fn is_held(answer: &str) -> bool {
    answer.contains("\"schedulingGates\"")
}

/// Creates a pod and returns its name.
pub async fn start(rest: &Rest, namespace: &str, pod: &Value) -> Result<String> {
    let created = rest.create(&pods(namespace), pod).await?;
    match created["metadata"]["name"].as_str() {
        Some(name) => Ok(name.to_owned()),
        None => bail!("a pod without a name: {created}"),
    }
}

/// Waits until exactly `count` pods of a namespace run. KWOK misses about one new pod in tens of thousands. KWOK
/// notices such a pod after a change, so this function changes the pods that do not run.
pub async fn running(rest: &Rest, namespace: &str, count: usize) -> Result<()> {
    let pods = pods(namespace);
    let mut checked = Instant::now();
    until(TIMEOUT, &format!("{count} pods of {namespace} to run"), async || {
        let found = rest.names(&format!("{pods}?fieldSelector=status.phase=Running")).await?.len();
        if found < count && checked.elapsed() > MISSED {
            checked = Instant::now();
            let missed = rest.names(&format!("{pods}?fieldSelector=status.phase!=Running")).await?;
            let change = json!({ "metadata": { "annotations": { "missed": "true" } } });
            let touch = |name: &String| patch(&format!("{pods}/{name}"), &change);
            rest.all(missed.iter().map(touch).collect::<Result<_>>()?, 1).await?;
        }
        ensure!(found == count, "{found} run");
        Ok(Some(()))
    })
    .await
}

/// Waits until the operator has computed the digest of a version. Returns the digest.
pub async fn judged(rest: &Rest, namespace: &str, version: &str) -> Result<Value> {
    until(TIMEOUT, &format!("the digest of {version}"), async || {
        let mut version = rest.get(&format!("{}/{version}", ours(namespace, "modelversions"))).await?;
        let digest = version["status"]["subjectDigest"].take();
        Ok((!digest.is_null()).then_some(digest))
    })
    .await
}
