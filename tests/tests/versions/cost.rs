//! Measures how much time the policies add to the creation of a pod, for several numbers of systems in the namespace of
//! the pod.
//!
//! In each round, the test creates the same pod in four namespaces, as a dry run. One namespace is not governed, and
//! its time is the baseline. The other three namespaces are governed and have 1, 10 and 50 systems. Each round covers
//! all four namespaces, so that a slow moment of the machine affects all of them.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use assent_tests::{ControlPlane, Person, container, pod_spec, until};
use http::Request;
use serde_json::{Value, json};

/// The number of systems in each governed namespace. Each system has one version.
const SYSTEMS: [usize; 3] = [1, 10, 50];

/// The number of rounds. The times of the first `WARM_UP` rounds are not counted.
const TURNS: usize = 220;
const WARM_UP: usize = 20;

/// The median times to create a pod on one version of Kubernetes, in milliseconds. `baseline` is the time in the
/// ungoverned namespace. `governed` has one time for each number in [`SYSTEMS`].
pub struct Row {
    version: String,
    baseline: f64,
    governed: [f64; SYSTEMS.len()],
}

/// Formats the rows as the table in `docs/performance.md`.
pub fn table(rows: &[Row]) -> String {
    let head = "| Kubernetes | not governed | 1 system | 10 systems | 50 systems |\n|---|---|---|---|---|"
        .to_owned();
    let line = |row: &Row| {
        let governed =
            row.governed.map(|ms| format!("+{:.2} ms ({:.2}x)", ms - row.baseline, ms / row.baseline));
        format!("| {} | {:.2} ms | {} |", row.version, row.baseline, governed.join(" | "))
    };
    std::iter::once(head).chain(rows.iter().map(line)).collect::<Vec<_>>().join("\n")
}

pub async fn measure(cluster: &ControlPlane, version: &str) -> Result<Row> {
    let mut requests = vec![namespace_with(cluster, None).await?];
    for systems in SYSTEMS {
        requests.push(namespace_with(cluster, Some(systems)).await?);
    }
    let client = cluster.client(Person::Admin)?;
    let mut took = vec![Vec::new(); requests.len()];
    for turn in 0..TURNS {
        for (request, took) in requests.iter().zip(&mut took) {
            let request = request_to_create(&request.0, &request.1)?;
            let begin = Instant::now();
            let answer = client.request_text(request).await?;
            let elapsed = begin.elapsed();
            ensure!(!answer.contains("assent.dev/clearance"), "a cleared pod was held: {answer}");
            if turn >= WARM_UP {
                took.push(elapsed);
            }
        }
    }
    let mut medians = took.into_iter().map(median);
    let baseline = medians.next().unwrap_or_default();
    let governed = [(); SYSTEMS.len()].map(|()| medians.next().unwrap_or_default());
    Ok(Row { version: version.to_owned(), baseline, governed })
}

fn request_to_create(namespace: &str, pod: &Value) -> Result<Request<Vec<u8>>> {
    let path = format!("/api/v1/namespaces/{namespace}/pods?dryRun=All");
    let request = Request::post(path).header("content-type", "application/json");
    Ok(request.body(pod.to_string().into_bytes())?)
}

fn median(mut took: Vec<Duration>) -> f64 {
    took.sort();
    took.get(took.len() / 2).map_or(0.0, |middle| middle.as_secs_f64() * 1000.0)
}

/// Creates a governed namespace with this number of systems, or an ungoverned namespace for `None`. Returns the name of
/// the namespace, and a pod that the API server creates there without a gate.
async fn namespace_with(cluster: &ControlPlane, systems: Option<usize>) -> Result<(String, Value)> {
    let namespace = systems.map_or_else(|| "cost-free".to_owned(), |systems| format!("cost-{systems}"));
    let labels = if systems.is_some() { json!({ "assent.dev/mode": "enforce" }) } else { json!({}) };
    let mut objects = vec![json!({ "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": namespace, "labels": labels } })];
    for system in 0..systems.unwrap_or_default() {
        let name = format!("system-{system}");
        let meta = json!({ "name": name, "namespace": namespace });
        objects.push(json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "AISystem", "metadata": meta,
            "spec": { "intendedPurpose": "Answers.", "riskLevel": "minimal", "owners": [{ "name": "dev" }] } }));
        objects.push(json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "ModelVersion", "metadata": meta,
            "spec": { "system": name, "runtime": { "containers": [container(&name)] } } }));
    }
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
    cluster.kubectl_stdin(Person::Admin, &["apply", "-f", "-"], &list.to_string()).await?.ok()?;
    let name = "system-0";
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "spec": pod_spec(&container(name)),
        "metadata": { "name": "pod", "labels": { "assent.dev/system": name } } });
    let client = cluster.client(Person::Admin)?;
    until(Duration::from_mins(1), &format!("the API server to accept pods in {namespace}"), async || {
        if let Some(systems) = systems {
            let get = ["get", "clearance", "clearance", "-n", &namespace, "-o=json"];
            let clearance: Value = serde_json::from_str(&cluster.kubectl(Person::Admin, &get).await?.ok()?)?;
            let cleared = clearance["spec"]["systems"].as_object().into_iter().flatten();
            let cleared = cleared.filter(|(_, system)| system["cleared"].is_array()).count();
            ensure!(cleared == systems, "{cleared} of {systems} systems are cleared");
        }
        let answer = client.request_text(request_to_create(&namespace, &pod)?).await?;
        ensure!(!answer.contains("assent.dev/clearance"), "the pod is held: {answer}");
        Ok(Some(()))
    })
    .await?;
    Ok((namespace, pod))
}
