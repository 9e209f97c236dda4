//! The grace period of a risk level limits the termination grace period of each pod. This limit does not block the
//! usual ways to stop pods.

use anyhow::{Context, Result, ensure};
use assent_tests::{ControlPlane, Person, SOON, Scenario, container, pod_spec, until};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::{Value, json};

use crate::refusals::lift_as_operator;
use Person::{Admin, Alice, Dev};

async fn scene<'a>(
    cluster: &'a ControlPlane,
    name: &str,
    grace: u32,
    labels: &Value,
) -> Result<Scenario<'a>> {
    let scene = Scenario::governed_by(cluster, name, "limited", labels).await?;
    level(&scene, grace).await?;
    scene.apply(Admin, &scene.system(name)).await?;
    let digest = scene.publish("v1", &container("1")).await?;
    scene.decide(Alice, &scene.decision("Approve", "v1", &digest, "risk-officer")).await?;
    scene.is_cleared("v1").await?;
    Ok(scene)
}

async fn level(scene: &Scenario<'_>, grace: u32) -> Result<()> {
    let mut level = scene.get("risklevel", "limited").await?;
    level["metadata"] = json!({ "name": scene.namespace });
    level["spec"]["onLoss"] = json!({ "gracePeriodSeconds": grace });
    scene.apply(Admin, &level).await.map(drop)
}

fn enforce() -> Value {
    json!({ "assent.dev/mode": "enforce" })
}

fn pod(scene: &Scenario<'_>, name: &str, grace: u32) -> Value {
    let mut pod = scene.pod(name, &container("1"));
    pod["spec"]["terminationGracePeriodSeconds"] = json!(grace);
    pod
}

pub async fn the_grace_of_a_pod_is_cut_to_half_of_its_level(cluster: &ControlPlane) -> Result<()> {
    let scene = scene(cluster, "grace-own", 60, &enforce()).await?;
    let mut uncleared = pod(&scene, "uncleared", 31);
    uncleared["spec"]["containers"][0] = container("2");
    let mut by_node = pod(&scene, "by-node", 600);
    by_node["spec"]["nodeName"] = json!("node-1");
    let mut own_gate = pod(&scene, "own-gate", 600);
    own_gate["spec"]["schedulingGates"] = json!([{ "name": "assent.dev/clearance" }]);
    own_gate["metadata"]["labels"]["assent.dev/held"] = json!("true");
    let cases = [
        (pod(&scene, "short", 7), 7),
        (pod(&scene, "long", 600), 30),
        (uncleared, 30),
        (by_node, 30),
        (own_gate, 30),
    ];
    for (pod, wanted) in cases {
        scene.apply(Dev, &pod).await?;
        let name = pod["metadata"]["name"].as_str().context("no name")?;
        let created = scene.get("pod", name).await?;
        ensure!(created["spec"]["terminationGracePeriodSeconds"] == wanted, "{name}: {}", created["spec"]);
        let held = created["metadata"]["labels"]["assent.dev/held"] == "true";
        ensure!(held == (name == "uncleared"), "{name}: {}", created["metadata"]);
    }
    Ok(())
}

/// If a probe fails, the kubelet stops the container with the grace period of the probe. Nobody can shorten this stop
/// later, so the grace period of the probe is limited too.
pub async fn the_grace_of_a_probe_is_bounded(cluster: &ControlPlane) -> Result<()> {
    let scene = scene(cluster, "grace-probe", 60, &enforce()).await?;
    for probe in ["livenessProbe", "startupProbe"] {
        let mut pod = pod(&scene, "probed", 30);
        let check = json!({ "tcpSocket": { "port": 1 }, "terminationGracePeriodSeconds": 31 });
        pod["spec"]["containers"][0][probe] = check;
        let said = scene.cluster.kubectl_stdin(Dev, &["create", "-f", "-"], &pod.to_string()).await?;
        if said.status.success() {
            // The approved version does not have this probe, so the pod is held.
            let probed = scene.get("pod", "probed").await?;
            ensure!(probed["metadata"]["labels"]["assent.dev/held"] == "true", "{probe} runs: {probed}");
            scene.kubectl(Dev, &["delete", "pod", "probed"]).await?;
        } else {
            let why = "terminationGracePeriodSeconds of a probe is 31, more than the 30 s";
            ensure!(said.stderr.contains(why), "{probe}: {}", said.stderr);
        }
    }
    Ok(())
}

pub async fn nobody_deletes_or_evicts_with_more_grace_than_the_level_allows(
    cluster: &ControlPlane,
) -> Result<()> {
    let scene = scene(cluster, "grace-request", 60, &enforce()).await?;
    scene.apply(Dev, &pod(&scene, "runs", 30)).await?;
    scene.running_pod("runs").await?;
    let pods: Api<Pod> = Api::namespaced(cluster.client(Dev)?, &scene.namespace);
    let refused = |request: &str, error: Option<kube::Error>| {
        let said = error.with_context(|| format!("{request} is allowed"))?.to_string();
        ensure!(said.contains("at most 30 s"), "{request}: {said}");
        anyhow::Ok(())
    };
    for grace in ["31", "18446744673", "9223372036854775807"] {
        let said = scene.denied(Dev, &["delete", "pod", "runs", &format!("--grace-period={grace}")]).await?;
        ensure!(said.contains("at most 30 s"), "{grace}: {said}");
        let query = format!("/api/v1/namespaces/{}/pods/runs?gracePeriodSeconds={grace}", scene.namespace);
        let said = scene.denied(Dev, &["delete", "--raw", &query]).await?;
        ensure!(said.contains("at most 30 s"), "{grace} in the query: {said}");
    }
    let long = DeleteParams { grace_period_seconds: Some(31), ..DeleteParams::default() };
    refused("a collection", pods.delete_collection(&long, &ListParams::default()).await.err())?;
    refused("an eviction", evict(&pods, "runs", 31).await.err())?;
    ensure!(
        scene.get("pod", "runs").await?["metadata"]["deletionTimestamp"].is_null(),
        "the pod is being deleted"
    );

    evict(&pods, "runs", 30).await?;
    let allowed = DeleteParams { grace_period_seconds: Some(30), ..DeleteParams::default() };
    scene.apply(Dev, &pod(&scene, "again", 30)).await?;
    scene.running_pod("again").await?;
    pods.delete("again", &allowed).await?;
    Ok(())
}

/// Evicts a pod with a grace period. `Api::evict` writes the grace period into a field `delete_options` that the API
/// server does not know.
async fn evict(pods: &Api<Pod>, name: &str, grace: u32) -> kube::Result<()> {
    let eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": name },
        "deleteOptions": { "gracePeriodSeconds": grace } });
    pods.create_subresource::<_, Value>("eviction", name, &PostParams::default(), &eviction).await.map(drop)
}

/// A level can get a shorter grace period while a pod is held. Then the pod's own grace period can be longer than half
/// of the level's grace period.
pub async fn a_held_pod_with_too_long_a_grace_is_reported_and_not_released(
    cluster: &ControlPlane,
) -> Result<()> {
    let scene = scene(cluster, "grace-held", 60, &enforce()).await?;
    let mut before = pod(&scene, "before", 30);
    before["spec"]["containers"][0] = container("2");
    scene.apply(Dev, &before).await?;
    level(&scene, 40).await?;
    let digest = scene.publish("v2", &container("2")).await?;
    scene.decide(Alice, &scene.decision("Approve", "v2", &digest, "risk-officer")).await?;
    scene.is_cleared("v2").await?;
    until(SOON, "an Event about the grace of the held pod", async || {
        let events = scene.list("events.v1.events.k8s.io").await?;
        let matches = |event: &Value| {
            let note = event["note"].as_str().unwrap_or_default();
            event["regarding"]["name"] == "before" && note.contains("allows at most 20 s")
        };
        Ok(events.iter().any(matches).then_some(()))
    })
    .await?;
    let pod = scene.get("pod", "before").await?;
    ensure!(
        pod["spec"]["schedulingGates"][0]["name"] == "assent.dev/clearance",
        "the pod was released: {pod}"
    );
    // The API server refuses the release too, even if the operator requests it.
    let said = lift_as_operator(&scene, "before", Some("assent-release")).await?;
    ensure!(said.contains("more than the 20 s"), "{said}");
    Ok(())
}

/// The pods start before the namespace has the mode `enforce`. So their own grace period is longer than the level
/// allows.
pub async fn scaling_draining_and_deletion_with_the_grace_of_the_pod_are_not_blocked(
    cluster: &ControlPlane,
) -> Result<()> {
    let scene = scene(cluster, "grace-others", 60, &json!({})).await?;
    let machine = json!({ "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": "drained", "labels": { "kubernetes.io/hostname": "drained" },
            "annotations": { "kwok.x-k8s.io/node": "fake" } },
        "spec": { "taints": [{ "key": "example.com/drained", "effect": "NoSchedule" }] },
        "status": { "capacity": { "cpu": "8", "memory": "8Gi", "pods": "10" }, "allocatable": { "cpu": "8", "memory": "8Gi", "pods": "10" } } });
    scene.apply(Admin, &machine).await?;
    let mut spec = pod_spec(&container("1"));
    spec["terminationGracePeriodSeconds"] = json!(600);
    scene.apply(Dev, &scene.workload("apps/v1", "Deployment", "scaled", &spec)).await?;
    let mut job = scene.workload("batch/v1", "Job", "job", &spec);
    job["spec"]["ttlSecondsAfterFinished"] = json!(0);
    scene.apply(Dev, &job).await?;
    spec["nodeSelector"] = json!({ "kubernetes.io/hostname": "drained" });
    spec["tolerations"] = json!([{ "key": "example.com/drained", "operator": "Exists" }]);
    scene.apply(Dev, &scene.workload("apps/v1", "Deployment", "drained", &spec)).await?;
    for (app, count) in [("scaled", 2), ("drained", 2), ("job", 1)] {
        scene.running(app, count).await?;
    }
    scene.kubectl(Admin, &["label", "namespace", "grace-others", "assent.dev/mode=enforce"]).await?;
    scene.has_mode(&json!("enforce")).await?;
    scene.running("drained", 2).await?;

    scene.kubectl(Dev, &["scale", "deployment/scaled", "--replicas=1"]).await?;
    scene.running("scaled", 1).await?;
    let before = scene.pods("drained").await?;
    let drain = ["drain", "drained", "--disable-eviction=false", "--delete-emptydir-data", "--timeout=30s"];
    cluster.kubectl(Admin, &drain).await?.ok()?;
    cluster.kubectl(Admin, &["uncordon", "drained"]).await?.ok()?;
    scene.running("drained", 2).await?;
    for pod in scene.pods("drained").await? {
        ensure!(
            before.iter().all(|b| b["metadata"]["uid"] != pod["metadata"]["uid"]),
            "a pod was not drained"
        );
        ensure!(pod["spec"]["terminationGracePeriodSeconds"] == 30, "{}", pod["spec"]);
    }
    let name = scene.pods("scaled").await?[0]["metadata"]["name"].as_str().context("no name")?.to_owned();
    scene.kubectl(Dev, &["delete", "pod", &name]).await?;
    scene.kubectl(Dev, &["delete", "job", "job"]).await?;
    until(SOON, "the pods of the Job to be deleted", async || {
        Ok(scene.pods("job").await?.is_empty().then_some(()))
    })
    .await?;
    cluster.kubectl(Admin, &["delete", "node", "drained"]).await?.ok()?;
    let delete = ["delete", "namespace", "grace-others", "--timeout=180s"];
    cluster.kubectl(Admin, &delete).await?.ok().map(drop)
}
