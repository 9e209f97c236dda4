//! The dead-man switch: pods end with their clearance, even without an operator.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use assent_tests::{Assent, ControlPlane, Person, SOON, Scenario, container, until};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use Person::{Admin, Alice, Dev};

async fn switched<'a>(cluster: &'a ControlPlane, name: &str, grace: u32) -> Result<Scenario<'a>> {
    let scene = Scenario::new(cluster, name, "limited").await?;
    let mut level = scene.get("risklevel", "limited").await?;
    level["metadata"] = json!({ "name": name });
    level["spec"]["onLoss"] = json!({ "gracePeriodSeconds": grace, "deadManSwitch": true });
    scene.apply(Admin, &level).await?;
    scene.apply(Admin, &scene.system(name)).await?;
    Ok(scene)
}

async fn approve_for(scene: &Scenario<'_>, seconds: i64) -> Result<Timestamp> {
    let digest = scene.digest_of("v1").await?;
    let end = Timestamp::from_second(Timestamp::now().as_second() + seconds)?;
    let mut approval = scene.decision("Approve", "v1", &digest, "risk-officer");
    approval["spec"]["notAfter"] = json!(end);
    scene.decide(Alice, &approval).await?;
    scene.is_cleared("v1").await?;
    Ok(end)
}

/// Returns the time at which the kubelet begins to stop a pod because of its deadline. Returns `None` if the pod has no
/// deadline or has not started.
fn end(pod: &Value) -> Option<Timestamp> {
    let started: Timestamp = pod["status"]["startTime"].as_str()?.parse().ok()?;
    Some(started + Duration::from_secs(pod["spec"]["activeDeadlineSeconds"].as_u64()?))
}

/// Waits until the Deployment `scorer` has exactly `count` pods, all of them run, and `wanted` accepts the deadline of
/// each pod.
async fn ends(scene: &Scenario<'_>, count: usize, wanted: impl Fn(Timestamp) -> bool) -> Result<()> {
    until(Duration::from_secs(40), "the deadlines of the pods", async || {
        let pods = scene.pods("scorer").await?;
        let matching =
            pods.iter().filter(|pod| pod["status"]["phase"] == "Running" && end(pod).is_some_and(&wanted));
        ensure!(
            matching.count() == count && pods.len() == count,
            "{:?}",
            pods.iter().map(end).collect::<Vec<_>>()
        );
        Ok(Some(()))
    })
    .await
}

pub async fn i2_without_an_operator_the_nodes_end_expired_pods(
    cluster: &ControlPlane,
    assent: &Assent,
) -> Result<()> {
    let scene = switched(cluster, "deadman", 5).await?;
    scene.publish("v1", &container("1")).await?;
    let not_after = approve_for(&scene, 20).await?;
    scene.apply(Dev, &scene.deployment("scorer", &container("1"))).await?;
    let mut job = scene.workload("batch/v1", "Job", "train", &assent_tests::pod_spec(&container("1")));
    job["spec"]["backoffLimit"] = json!(0);
    scene.apply(Dev, &job).await?;
    ends(&scene, 2, |end| end == not_after).await?;
    until(Duration::from_secs(10), "the deadline of the pod of the Job", async || {
        let train = scene.pods("train").await?;
        Ok(train.first().and_then(end).filter(|end| *end == not_after).map(drop))
    })
    .await?;
    assent.operator().kill();
    ensure!(Timestamp::now() < not_after, "the machine is too slow for this test");

    until(Duration::from_secs(40), "the end of every pod", async || {
        let pods = scene.list("pods").await?;
        let running = pods.iter().filter(|pod| pod["status"]["phase"] == "Running").count();
        Ok((running == 0).then_some(()))
    })
    .await?;
    let late = Timestamp::now().duration_since(not_after).as_secs();
    ensure!((0..10).contains(&late), "the pods ended {late} s after {not_after}");
    let pods = scene.list("pods").await?;
    let ended: Vec<_> = pods.iter().filter(|pod| pod["status"]["phase"] == "Failed").collect();
    ensure!(ended.iter().all(|pod| pod["status"]["reason"] == "DeadlineExceeded"), "{ended:?}");
    ensure!(ended.len() >= 3, "only {} pods ended", ended.len());
    Ok(())
}

/// The API server does not allow a higher `activeDeadlineSeconds`. So after people renew the approval, the operator
/// replaces each pod before the deadline of the pod, within the disruption budget.
pub async fn a_renewal_replaces_pods_within_their_budget(cluster: &ControlPlane) -> Result<()> {
    let scene = switched(cluster, "deadman-renewal", 50).await?;
    scene.publish("v1", &container("1")).await?;
    let first = approve_for(&scene, 70).await?;
    let mut deployment = scene.deployment("scorer", &container("1"));
    deployment["spec"]["replicas"] = json!(3);
    scene.apply(Dev, &deployment).await?;
    scene.kubectl(Dev, &["create", "pdb", "most", "--selector=app=scorer", "--min-available=2"]).await?;
    ends(&scene, 3, |end| end == first).await?;
    let before = scene.pods("scorer").await?;
    let second = approve_for(&scene, 3600).await?;
    until(SOON, "every pod to be replaced", async || {
        let pods = scene.pods("scorer").await?;
        let running = pods.iter().filter(|pod| pod["status"]["phase"] == "Running").count();
        ensure!(running >= 2, "only {running} pods run");
        let old = |pod: &Value| before.iter().any(|b| b["metadata"]["uid"] == pod["metadata"]["uid"]);
        Ok((!pods.iter().any(old)).then_some(()))
    })
    .await?;
    ensure!(Timestamp::now() < first, "the pods were replaced only after their end");
    ends(&scene, 3, |end| end == second).await?;
    scene.event("Deployment", "scorer", "Renewed").await.map(drop)
}

pub async fn pods_get_an_earlier_end_at_once(cluster: &ControlPlane) -> Result<()> {
    let scene = switched(cluster, "deadman-earlier", 5).await?;
    scene.publish("v1", &container("1")).await?;
    let first = approve_for(&scene, 7200).await?;
    scene.apply(Dev, &scene.deployment("scorer", &container("1"))).await?;
    ends(&scene, 2, |end| end == first).await?;
    let second = Timestamp::from_second(Timestamp::now().as_second() + 3600)?;
    let decommission =
        json!({ "spec": { "decommission": { "date": second, "reason": "The next one is better." } } });
    let patch = ["patch", "aisystem", "scorer", "--type=merge", "-p", &decommission.to_string()];
    scene.kubectl(Admin, &patch).await?;
    ends(&scene, 2, |end| end == second).await?;
    // A user with write access to pods cannot extend the deadline of a pod.
    let pods = scene.pods("scorer").await?;
    let name = pods.first().and_then(|pod| pod["metadata"]["name"].as_str()).context("no pod")?;
    let longer = r#"{"spec":{"activeDeadlineSeconds":7200}}"#;
    let said = scene.denied(Dev, &["patch", "pod", name, "-p", longer]).await?;
    ensure!(said.contains("activeDeadlineSeconds"), "{said}");
    Ok(())
}
