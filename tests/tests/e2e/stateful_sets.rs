//! A pod of a `StatefulSet` waits for other pods of the set only as the `podManagementPolicy` requires. It never waits
//! for an uncleared pod.

use std::time::Duration;

use anyhow::{Result, ensure};
use assent_tests::{ControlPlane, Person, SOON, Scenario, container, until};
use serde_json::{Value, json};

use crate::workloads::{approve_alone, level, replicas, revoke, set};

/// Returns the `StatefulSet` `shards` with this pod management policy and a partition. A rolling update does not change
/// the first pod of the set.
fn partitioned(scene: &Scenario<'_>, policy: &str, revision: &str) -> Value {
    let mut set = set(scene, policy, revision);
    set["spec"]["updateStrategy"] = json!({ "type": "RollingUpdate", "rollingUpdate": { "partition": 1 } });
    set
}

async fn pods_of_revision(scene: &Scenario<'_>, revision: &str, phase: &str, count: usize) -> Result<()> {
    until(SOON, &format!("{count} {phase} pods of revision {revision}"), async || {
        let pods = scene.pods("shards").await?;
        let arg = format!("--revision={revision}");
        let is = |pod: &&Value| {
            pod["spec"]["containers"][0]["args"][1] == arg.as_str() && pod["status"]["phase"] == phase
        };
        Ok((pods.iter().filter(is).count() == count).then_some(()))
    })
    .await
}

async fn cleared_pods_above_a_partition_run(cluster: &ControlPlane, name: &str, policy: &str) -> Result<()> {
    let scene = Scenario::new(cluster, name, "high").await?;
    scene.clear("v1", &container("1")).await?;
    scene.publish("v2", &container("2")).await?;
    scene.apply(Person::Dev, &partitioned(&scene, policy, "1")).await?;
    scene.running("shards", 3).await?;
    scene.apply(Person::Dev, &partitioned(&scene, policy, "2")).await?;
    until(SOON, "a held pod of the new revision", async || {
        Ok(scene
            .pods("shards")
            .await?
            .iter()
            .any(|pod| pod["metadata"]["labels"]["assent.dev/held"] == "true")
            .then_some(()))
    })
    .await?;
    revoke(&scene, "v1").await?;
    pods_of_revision(&scene, "1", "Pending", 1).await?;
    pods_of_revision(&scene, "2", "Pending", 2).await?;
    scene.approve("v2").await?;
    pods_of_revision(&scene, "2", "Running", 2).await?;
    scene.settled("shards", 2, 1).await.map(drop)
}

pub async fn cleared_pods_of_a_parallel_set_do_not_wait_for_uncleared_pods(
    cluster: &ControlPlane,
) -> Result<()> {
    cleared_pods_above_a_partition_run(cluster, "canary-parallel", "Parallel").await
}

pub async fn cleared_pods_of_an_ordered_set_do_not_wait_for_uncleared_pods(
    cluster: &ControlPlane,
) -> Result<()> {
    cleared_pods_above_a_partition_run(cluster, "canary-ordered", "OrderedReady").await
}

pub async fn a_held_pod_named_like_a_member_does_not_delay_the_set(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "same-name", "high").await?;
    scene.publish("v1", &container("1")).await?;
    scene.apply(Person::Dev, &scene.pod("shards-0", &container("other"))).await?;
    let mut set = set(&scene, "OrderedReady", "1");
    set["spec"]["ordinals"] = json!({ "start": 1 });
    scene.apply(Person::Dev, &set).await?;
    scene.held("shards", 1).await?;
    scene.approve("v1").await?;
    scene.running("shards", 3).await?;
    scene.held("shards-0", 1).await.map(drop)
}

pub async fn a_held_pod_below_a_partition_is_not_deleted_repeatedly(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "partition-start", "high").await?;
    scene.clear("v1", &container("1")).await?;
    scene.clear("v2", &container("2")).await?;
    let of = |revision: &str| {
        let mut set = partitioned(&scene, "Parallel", revision);
        set["spec"]["ordinals"] = json!({ "start": 1 });
        set["spec"]["replicas"] = json!(2);
        set
    };
    scene.apply(Person::Dev, &of("1")).await?;
    scene.running("shards", 2).await?;
    scene.apply(Person::Dev, &of("2")).await?;
    pods_of_revision(&scene, "2", "Running", 1).await?;
    revoke(&scene, "v1").await?;
    scene.settled("shards", 1, 1).await?;
    let uid = async || Ok::<_, anyhow::Error>(scene.get("pod", "shards-1").await?["metadata"]["uid"].take());
    let before = uid().await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    ensure!(uid().await? == before, "the operator deleted a held pod that its set wants");
    Ok(())
}

/// Returns the `StatefulSet` with the workers of a group, as `LeaderWorkerSet` creates it. The pod `leader` owns this
/// `StatefulSet`.
fn workers(scene: &Scenario<'_>, leader: &Value) -> Value {
    let mut workers = set(scene, "Parallel", "1");
    workers["metadata"]["name"] = json!("shards-0");
    workers["metadata"]["ownerReferences"] = json!([{ "apiVersion": "v1", "kind": "Pod", "name": "shards-0",
        "uid": leader["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true }]);
    workers["spec"]["ordinals"] = json!({ "start": 1 });
    workers["spec"]["replicas"] = json!(2);
    workers["spec"]["selector"]["matchLabels"]["app"] = json!("workers");
    workers["spec"]["template"]["metadata"]["labels"]["app"] = json!("workers");
    workers
}

pub async fn i3_a_leader_worker_group_stops_and_starts_at_its_root(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "group", "high").await?;
    level(&scene, "group", &json!({ "mode": "ScaleDown", "gracePeriodSeconds": 60 })).await?;
    scene.publish("v1", &container("1")).await?;
    let mut leaders = set(&scene, "Parallel", "1");
    leaders["spec"]["replicas"] = json!(1);
    scene.apply(Person::Dev, &leaders).await?;
    scene.held("shards", 1).await?;
    scene.apply(Person::Dev, &workers(&scene, &scene.get("pod", "shards-0").await?)).await?;
    scene.held("workers", 2).await?;
    until(SOON, "the condition PodsHeld to name the workload", async || {
        let system = scene.get("aisystem", "scorer").await?;
        let conditions = system["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let held = conditions.iter().find(|condition| condition["type"] == "PodsHeld");
        Ok(held.filter(|held| held["message"] == "3 pods of StatefulSet shards wait for clearance").map(drop))
    })
    .await?;
    approve_alone(&scene).await?;
    scene.running("shards", 1).await?;
    scene.running("workers", 2).await?;
    revoke(&scene, "v1").await?;
    replicas(&scene, "statefulset", "shards", 0).await?;
    // After the leader is deleted, the garbage collector deletes the workers.
    scene.settled("shards", 0, 0).await?;
    scene.settled("workers", 0, 0).await?;
    scene.event("StatefulSet", "shards", "ClearanceLost").await?;
    approve_alone(&scene).await?;
    scene.running("shards", 1).await?;
    scene.apply(Person::Dev, &workers(&scene, &scene.get("pod", "shards-0").await?)).await?;
    scene.running("workers", 2).await.map(drop)
}
