//! If the API server refuses pods, their controllers retry with a growing back-off. When the pods would be cleared or
//! held, Assent triggers a retry within seconds.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use assent_tests::{
    Assent, ControlPlane, Person, SOON, Scenario, Webhook, container, digest, pod_spec, until,
};
use serde_json::{Value, json};

/// The time for which the API server refuses the pods. The back-off of a controller doubles with each retry. So at the
/// end, the back-off is about as long as this time.
const BACK_OFF: Duration = Duration::from_secs(45);

fn sidecar() -> Value {
    json!({ "name": "late-proxy", "image": format!("late/proxy@{}", digest('9')) })
}

async fn was_retried(scene: &Scenario<'_>, kind: &str, name: &str) -> Result<bool> {
    Ok(scene.get(kind, name).await?["metadata"]["annotations"]["assent.dev/poked"].is_string())
}

pub async fn i3_pods_refused_for_an_untrusted_sidecar_run_soon_after_it_is_trusted(
    cluster: &ControlPlane,
) -> Result<()> {
    let scene = Scenario::new(cluster, "late-sidecar", "high").await?;
    scene.clear("v1", &container("1")).await?;
    let inject = |pod: &Value| {
        let mut containers = pod["spec"]["containers"].as_array().cloned().unwrap_or_default();
        containers.push(sidecar());
        json!([{ "op": "add", "path": "/spec/containers", "value": containers }])
    };
    // The operator must not change a workload that already has all its pods.
    scene
        .apply(Person::Dev, &scene.workload("apps/v1", "StatefulSet", "before", &pod_spec(&container("1"))))
        .await?;
    scene.running("before", 2).await?;
    let _webhook = Webhook::start(cluster, &scene.namespace, inject).await?;
    let mut spec = pod_spec(&container("1"));
    for (api, kind, name) in [
        ("apps/v1", "Deployment", "deployment"),
        ("apps/v1", "StatefulSet", "set"),
        ("apps/v1", "DaemonSet", "daemons"),
        ("batch/v1", "Job", "job"),
    ] {
        if kind == "Job" {
            spec["restartPolicy"] = json!("Never");
        }
        scene.apply(Person::Dev, &scene.workload(api, kind, name, &spec)).await?;
    }
    let begin = Instant::now();
    until(SOON, "the Event of the ReplicaSet", async || {
        let events = scene.list("events").await?;
        let is = |e: &&Value| e["involvedObject"]["kind"] == "ReplicaSet" && e["reason"] == "FailedCreate";
        Ok(events.iter().find(is).map(drop))
    })
    .await?;
    tokio::time::sleep_until((begin + BACK_OFF).into()).await;
    ensure!(scene.pods("deployment").await?.is_empty(), "the API server accepted the pods");

    let trusted = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "TrustedSidecar",
        "metadata": { "name": "late-proxy" }, "spec": { "containers": [sidecar()] } });
    scene.apply(Person::Admin, &trusted).await?;
    let begin = Instant::now();
    for name in ["deployment", "set"] {
        scene.running(name, 2).await?;
    }
    for name in ["daemons", "job"] {
        until(SOON, &format!("pods of {name}"), async || {
            Ok((!scene.pods(name).await?.is_empty()).then_some(()))
        })
        .await?;
    }
    let took = begin.elapsed();
    ensure!(took < Duration::from_secs(15), "the pods took {took:?}");
    ensure!(was_retried(&scene, "statefulset", "set").await?, "the operator did not trigger a retry");
    ensure!(
        !was_retried(&scene, "statefulset", "before").await?,
        "the operator changed a workload that lacks no pods"
    );
    cluster.kubectl(Person::Admin, &["delete", "trustedsidecar", "late-proxy"]).await?.ok().map(drop)
}

pub async fn the_operator_changes_only_metadata_of_a_workload_that_it_retries(
    cluster: &ControlPlane,
) -> Result<()> {
    let scene = Scenario::new(cluster, "no-change", "high").await?;
    scene.clear("v1", &container("1")).await?;
    scene
        .apply(Person::Dev, &scene.workload("apps/v1", "StatefulSet", "set", &pod_spec(&container("1"))))
        .await?;
    let operator = "--as=system:serviceaccount:assent-system:assent";
    let patch = |body: &Value| {
        let body = body.to_string();
        async move { patch_set(cluster, operator, &body).await }
    };
    let said = patch(&json!({ "spec": { "template": { "metadata": { "labels": { "x": "y" } } } } }))
        .await?
        .denied()?;
    ensure!(said.contains("Assent may change only the metadata of a workload"), "{said}");
    patch(&json!({ "metadata": { "annotations": { "assent.dev/poked": "now" } } })).await?.ok().map(drop)
}

async fn patch_set(cluster: &ControlPlane, operator: &str, body: &str) -> Result<assent_tests::Output> {
    let args = ["patch", "statefulset", "set", "-n", "no-change", "--type=merge", operator, "-p", body];
    cluster.kubectl(Person::Admin, &args).await
}

/// The namespace gets the label of Assent while no operator runs. So the namespace has no Clearance, and the API server
/// refuses the pods of the namespace.
pub async fn i3_pods_refused_while_the_operator_was_down_are_held_soon_after(
    cluster: &ControlPlane,
    assent: &Assent,
) -> Result<()> {
    assent.operator().kill();
    let scene = Scenario { cluster, namespace: "labelled-meanwhile".to_owned() };
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": scene.namespace, "labels": { "assent.dev/mode": "enforce" } } });
    scene.apply(Person::Admin, &namespace).await?;
    scene.apply(Person::Admin, &scene.deployment("scorer", &container("1"))).await?;
    tokio::time::sleep(BACK_OFF).await;
    ensure!(scene.pods("scorer").await?.is_empty(), "the API server accepted the pods");
    assent.operator().restart()?;
    scene.has_mode(&json!("enforce")).await?;
    let took = scene.held("scorer", 2).await?;
    ensure!(took < Duration::from_secs(10), "the pods took {took:?}");
    Ok(())
}
