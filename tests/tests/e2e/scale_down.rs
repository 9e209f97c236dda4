//! A workload that Assent scaled down or suspended starts again when its own version is cleared. A clearance of another
//! version of the system does not start the workload.

use std::time::Duration;

use anyhow::{Result, ensure};
use assent_tests::{ControlPlane, Person, SOON, Scenario, container, until};
use serde_json::{Value, json};

use crate::workloads::{level, replicas, revoke, set, temple};

/// The time for which a test checks that something does not change.
const A_WHILE: Duration = Duration::from_secs(3);

/// Approves a version as Alice. The level of these tests requires only this approval.
async fn approve(scene: &Scenario<'_>, version: &str) -> Result<()> {
    // An approval counts only if it is created in a later second than the revocation before it.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let digest = scene.digest_of(version).await?;
    scene.decide(Person::Alice, &scene.decision("Approve", version, &digest, "risk-officer")).await?;
    scene.is_cleared(version).await
}

async fn two_versions<'a>(cluster: &'a ControlPlane, name: &str, mode: &str) -> Result<Scenario<'a>> {
    let scene = Scenario::new(cluster, name, "high").await?;
    level(&scene, name, &json!({ "mode": mode, "gracePeriodSeconds": 60 })).await?;
    for revision in ["1", "2"] {
        let version = format!("v{revision}");
        scene.publish(&version, &container(revision)).await?;
        approve(&scene, &version).await?;
    }
    Ok(scene)
}

async fn generation(scene: &Scenario<'_>, kind: &str, name: &str) -> Result<Value> {
    Ok(scene.get(kind, name).await?["metadata"]["generation"].take())
}

async fn uids(scene: &Scenario<'_>, app: &str) -> Result<Vec<String>> {
    let pods = scene.pods(app).await?;
    let mut uids: Vec<_> = pods.iter().map(|pod| pod["metadata"]["uid"].to_string()).collect();
    uids.sort();
    Ok(uids)
}

pub async fn i3_a_clearance_of_another_version_does_not_start_a_stopped_deployment(
    cluster: &ControlPlane,
) -> Result<()> {
    let scene = two_versions(cluster, "blue-green", "ScaleDown").await?;
    scene.apply(Person::Dev, &scene.deployment("blue", &container("1"))).await?;
    scene.apply(Person::Dev, &scene.deployment("green", &container("2"))).await?;
    scene.running("blue", 2).await?;
    scene.running("green", 2).await?;
    let (before, green) = (generation(&scene, "deployment", "blue").await?, uids(&scene, "green").await?);
    revoke(&scene, "v1").await?;
    replicas(&scene, "deployment", "blue", 0).await?;
    scene.settled("blue", 0, 0).await?;
    // The Clearance also lists the new version, which is withheld. This change of the Clearance makes the operator
    // reconcile all workloads of the namespace again.
    scene.publish("v3", &container("3")).await?;
    tokio::time::sleep(A_WHILE).await;
    replicas(&scene, "deployment", "blue", 0).await?;
    let after = generation(&scene, "deployment", "blue").await?;
    ensure!(
        after.as_i64() == before.as_i64().map(|before| before + 1),
        "blue was changed more than once: {before} {after}"
    );
    ensure!(uids(&scene, "green").await? == green, "green has new pods");
    approve(&scene, "v1").await?;
    scene.running("blue", 2).await?;
    ensure!(uids(&scene, "green").await? == green, "green has new pods");
    Ok(())
}

pub async fn a_stopped_deployment_starts_when_it_changes_to_a_cleared_version(
    cluster: &ControlPlane,
) -> Result<()> {
    let scene = two_versions(cluster, "changed-while-stopped", "ScaleDown").await?;
    scene.apply(Person::Dev, &scene.deployment("blue", &container("1"))).await?;
    scene.running("blue", 2).await?;
    revoke(&scene, "v1").await?;
    replicas(&scene, "deployment", "blue", 0).await?;
    let template =
        json!({ "spec": { "template": { "spec": { "containers": [container("2")] } } } }).to_string();
    scene.kubectl(Person::Dev, &["patch", "deployment", "blue", "-p", &template]).await?;
    scene.running("blue", 2).await.map(drop)
}

pub async fn a_scaled_down_deployment_starts_after_its_field_managers_are_reset(
    cluster: &ControlPlane,
) -> Result<()> {
    let scene = two_versions(cluster, "reset-managers", "ScaleDown").await?;
    for name in ["reset", "adopted"] {
        let manifest = scene.deployment(name, &container("1")).to_string();
        cluster.kubectl_stdin(Person::Dev, &["create", "-f", "-"], &manifest).await?.ok()?;
        scene.running(name, 2).await?;
    }
    revoke(&scene, "v1").await?;
    for name in ["reset", "adopted"] {
        replicas(&scene, "deployment", name, 0).await?;
        let reset = r#"{"metadata":{"managedFields":[{}]}}"#;
        scene.kubectl(Person::Dev, &["patch", "deployment", name, "--type=merge", "-p", reset]).await?;
    }
    // The first server-side apply after the reset records another field manager for all existing fields, including
    // `replicas`.
    let label = json!({ "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "adopted", "namespace": scene.namespace, "labels": { "team": "risk" } } });
    let apply = ["apply", "--server-side", "--field-manager=gitops", "-f", "-"];
    cluster.kubectl_stdin(Person::Dev, &apply, &label.to_string()).await?.ok()?;
    approve(&scene, "v1").await?;
    scene.running("reset", 2).await?;
    scene.running("adopted", 2).await.map(drop)
}

pub async fn a_rollout_keeps_the_pods_of_the_cleared_version(cluster: &ControlPlane) -> Result<()> {
    let scene = two_versions(cluster, "kept-rollout", "ScaleDown").await?;
    let of = |revision: &str| {
        let mut set = set(&scene, "Parallel", revision);
        set["spec"]["updateStrategy"] =
            json!({ "type": "RollingUpdate", "rollingUpdate": { "partition": 1 } });
        set
    };
    scene.apply(Person::Dev, &of("1")).await?;
    scene.running("shards", 3).await?;
    scene.apply(Person::Dev, &of("2")).await?;
    until(SOON, "two pods of the new revision", async || {
        let pods = scene.pods("shards").await?;
        let new = pods.iter().filter(|pod| pod["spec"]["containers"][0]["args"][1] == "--revision=2");
        Ok((new.count() == 2).then_some(()))
    })
    .await?;
    scene.running("shards", 3).await?;
    let before = uids(&scene, "shards").await?;
    revoke(&scene, "v1").await?;
    let took = scene.settled("shards", 2, 1).await?;
    ensure!(took < Duration::from_secs(20), "the eviction took {took:?}");
    let after = uids(&scene, "shards").await?;
    ensure!(before.iter().filter(|uid| after.contains(uid)).count() == 2, "cleared pods were stopped");
    replicas(&scene, "statefulset", "shards", 3).await
}

pub async fn a_custom_resource_stays_suspended_until_its_own_version_is_cleared(
    cluster: &ControlPlane,
) -> Result<()> {
    let scene = two_versions(cluster, "temple-two", "Suspend").await?;
    let deployment = temple(&scene).await?;
    scene.apply(Person::Dev, &deployment).await?;
    scene.running("scorer", 2).await?;
    revoke(&scene, "v1").await?;
    let suspended = async |wanted: Value| {
        until(SOON, &format!("spec.suspend to be {wanted}"), async || {
            Ok((scene.get("temple", "delphi").await?["spec"]["suspend"] == wanted).then_some(()))
        })
        .await
    };
    suspended(json!(true)).await?;
    scene.publish("v3", &container("3")).await?;
    tokio::time::sleep(A_WHILE).await;
    ensure!(scene.get("temple", "delphi").await?["spec"]["suspend"] == true, "the resource was resumed");
    approve(&scene, "v1").await?;
    suspended(json!(null)).await
}
