//! Assent stops a workload of any kind after the workload loses its clearance. At a level with `onLoss.mode: Audit`,
//! Assent stops nothing. After a new approval, Assent starts all workloads again except bare pods.

use std::time::Duration;

use anyhow::{Result, ensure};
use assent_tests::{Assent, ControlPlane, Person, SOON, Scenario, container, pod_spec, until};
use serde_json::{Value, json};

/// Assent sets this label on each Job or `CronJob` that it suspends.
pub const SUSPENDED: &str = "assent.dev/suspended";

/// A Job with two parallel pods. The Job fails as soon as one of the pods fails.
pub fn strict_job(scene: &Scenario<'_>, name: &str) -> Value {
    let mut job = scene.workload("batch/v1", "Job", name, &pod_spec(&container("1")));
    job["spec"]["parallelism"] = json!(2);
    job["spec"]["completions"] = json!(2);
    job["spec"]["backoffLimit"] = json!(0);
    job["spec"]["activeDeadlineSeconds"] = json!(3600);
    job
}

pub async fn suspended(scene: &Scenario<'_>, kind: &str, name: &str, by_assent: bool) -> Result<Value> {
    until(SOON, &format!("{kind} {name} to be suspended"), async || {
        let object = scene.get(kind, name).await?;
        let label = object["metadata"]["labels"][SUSPENDED] == "true";
        Ok((object["spec"]["suspend"] == true && label == by_assent).then_some(object))
    })
    .await
}

pub async fn resumed(scene: &Scenario<'_>, kind: &str, name: &str) -> Result<Value> {
    until(SOON, &format!("{kind} {name} to be resumed"), async || {
        let object = scene.get(kind, name).await?;
        let label = !object["metadata"]["labels"][SUSPENDED].is_null();
        Ok((object["spec"]["suspend"] != true && !label).then_some(object))
    })
    .await
}

pub async fn revoke(scene: &Scenario<'_>, version: &str) -> Result<()> {
    let digest = scene.digest_of(version).await?;
    scene.decide(Person::Alice, &scene.decision("Revoke", version, &digest, "risk-officer")).await?;
    scene.condition("modelversion", version, "Cleared", "False", "Revoked").await.map(drop)
}

pub async fn a_new_job_is_suspended_until_it_is_approved(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "new-job", "high").await?;
    scene.publish("v1", &container("1")).await?;
    scene.apply(Person::Dev, &strict_job(&scene, "train")).await?;
    // A policy suspends the Job when the Job is created. So the Job does not run before the approval.
    let job = scene.get("job", "train").await?;
    ensure!(job["spec"]["suspend"] == true && job["metadata"]["labels"][SUSPENDED] == "true", "{job}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    ensure!(scene.pods("train").await?.is_empty(), "a suspended Job has no pods");
    let job = scene.get("job", "train").await?;
    ensure!(job["status"]["startTime"].is_null(), "the deadline of the Job has begun: {job}");
    scene.event("Job", "train", "Held").await?;

    scene.approve("v1").await?;
    scene.running("train", 2).await?;
    resumed(&scene, "job", "train").await?;
    scene.event("Job", "train", "Released").await.map(drop)
}

pub async fn i3_a_running_job_is_suspended_and_resumed_without_failed_pods(
    cluster: &ControlPlane,
) -> Result<()> {
    let scene = Scenario::new(cluster, "running-job", "high").await?;
    scene.clear("v1", &container("1")).await?;
    scene.apply(Person::Dev, &strict_job(&scene, "train")).await?;
    scene.running("train", 2).await?;
    revoke(&scene, "v1").await?;
    suspended(&scene, "job", "train", true).await?;
    scene.settled("train", 0, 0).await?;
    scene.event("Job", "train", "ClearanceLost").await?;

    // An approval counts only if it is created in a later second than the revocation before it.
    tokio::time::sleep(Duration::from_secs(1)).await;
    scene.approve("v1").await?;
    scene.running("train", 2).await?;
    let job = resumed(&scene, "job", "train").await?;
    ensure!(job["status"]["failed"].is_null() || job["status"]["failed"] == 0, "{job}");
    let spec = |field: &str| job["spec"][field].clone();
    ensure!(
        (spec("parallelism"), spec("completions"), spec("backoffLimit")) == (json!(2), json!(2), json!(0))
    );
    Ok(())
}

async fn complete(scene: &Scenario<'_>, index: &str) -> Result<()> {
    let what = format!("the pod of index {index} to run");
    let pod = until(SOON, &what, async || {
        let pods = scene.pods("train").await?;
        let runs = |pod: &&Value| index_of(pod) == index && pod["status"]["phase"] == "Running";
        Ok(pods.iter().find(runs).map(|pod| pod["metadata"]["name"].as_str().unwrap_or_default().to_owned()))
    });
    scene.complete_pod(&pod.await?).await?;
    until(SOON, &format!("index {index} to complete"), async || {
        let job = scene.get("job", "train").await?;
        ensure!(
            job["status"]["failed"].is_null() || job["status"]["failed"] == 0,
            "the Job has failed pods: {job}"
        );
        Ok(job["status"]["completedIndexes"].as_str().is_some_and(|all| all.ends_with(index)).then_some(()))
    })
    .await
}

fn index_of(pod: &Value) -> &str {
    pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"].as_str().unwrap_or_default()
}

pub async fn completed_indexes_of_a_job_do_not_run_again(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "half-done", "high").await?;
    let mut indexed = container("1");
    indexed["mayVary"] = json!({ "env": ["JOB_COMPLETION_INDEX"] });
    scene.clear("v1", &indexed).await?;
    let mut job = strict_job(&scene, "train");
    job["spec"]["completionMode"] = json!("Indexed");
    scene.apply(Person::Dev, &job).await?;
    scene.running("train", 2).await?;
    complete(&scene, "0").await?;
    revoke(&scene, "v1").await?;
    suspended(&scene, "job", "train", true).await?;
    until(SOON, "the other pod to end", async || {
        Ok(scene.pods("train").await?.iter().all(|pod| pod["status"]["phase"] == "Succeeded").then_some(()))
    })
    .await?;

    tokio::time::sleep(Duration::from_secs(1)).await;
    scene.approve("v1").await?;
    complete(&scene, "1").await?;
    let pods = scene.pods("train").await?;
    ensure!(pods.iter().filter(|pod| index_of(pod) == "0").count() == 1, "index 0 ran again");
    // Assent does not change a completed Job.
    revoke(&scene, "v1").await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    ensure!(scene.get("job", "train").await?["spec"]["suspend"] != true, "a completed Job was suspended");
    Ok(())
}

pub async fn a_job_that_its_user_suspended_stays_suspended(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "own-suspend", "high").await?;
    scene.publish("v1", &container("1")).await?;
    let mut job = strict_job(&scene, "train");
    job["spec"]["suspend"] = json!(true);
    scene.apply(Person::Dev, &job).await?;
    suspended(&scene, "job", "train", false).await?;
    let mut cron = scene.workload("batch/v1", "CronJob", "nightly", &pod_spec(&container("1")));
    cron["spec"]["suspend"] = json!(true);
    scene.apply(Person::Dev, &cron).await?;
    scene.approve("v1").await?;
    revoke(&scene, "v1").await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    scene.approve("v1").await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    suspended(&scene, "job", "train", false).await?;
    suspended(&scene, "cronjob", "nightly", false).await.map(drop)
}

pub async fn a_cron_job_creates_no_jobs_until_it_is_approved(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "cron", "high").await?;
    scene.publish("v1", &container("1")).await?;
    let cron = scene.workload("batch/v1", "CronJob", "nightly", &pod_spec(&container("1")));
    scene.apply(Person::Dev, &cron).await?;
    let object = scene.get("cronjob", "nightly").await?;
    ensure!(
        object["spec"]["suspend"] == true && object["metadata"]["labels"][SUSPENDED] == "true",
        "{object}"
    );
    scene.approve("v1").await?;
    resumed(&scene, "cronjob", "nightly").await?;
    revoke(&scene, "v1").await?;
    suspended(&scene, "cronjob", "nightly", true).await?;
    // A Job that a user creates from the CronJob is also suspended.
    scene.kubectl(Person::Dev, &["create", "job", "by-hand", "--from=cronjob/nightly"]).await?;
    suspended(&scene, "job", "by-hand", true).await.map(drop)
}

pub async fn dev_cannot_resume_a_job_that_assent_suspended(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "resumes-job", "high").await?;
    scene.publish("v1", &container("1")).await?;
    scene.apply(Person::Dev, &strict_job(&scene, "train")).await?;
    let resume = r#"{"spec":{"suspend":false},"metadata":{"labels":{"assent.dev/suspended":null}}}"#;
    scene.kubectl(Person::Dev, &["patch", "job", "train", "--type=merge", "-p", resume]).await?;
    let job = scene.get("job", "train").await?;
    ensure!(job["spec"]["suspend"] == true && job["metadata"]["labels"][SUSPENDED] == "true", "{job}");
    // A GitOps controller applies the same manifest repeatedly. These requests must not resume the Job.
    let mut manifest = strict_job(&scene, "train");
    manifest["spec"]["suspend"] = json!(false);
    for _ in 0..3 {
        scene.apply(Person::Dev, &manifest).await?;
    }
    suspended(&scene, "job", "train", true).await?;
    ensure!(scene.pods("train").await?.is_empty(), "the Job has pods");
    scene.approve("v1").await?;
    scene.running("train", 2).await.map(drop)
}

pub async fn an_ungoverned_namespace_resumes_its_jobs(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "out-jobs", "high").await?;
    scene.publish("v1", &container("1")).await?;
    scene.apply(Person::Dev, &strict_job(&scene, "train")).await?;
    suspended(&scene, "job", "train", true).await?;
    let name = scene.namespace.clone();
    scene.cluster.kubectl(Person::Admin, &["label", "namespace", &name, "assent.dev/mode-"]).await?.ok()?;
    scene.running("train", 2).await.map(drop)
}

pub fn set(scene: &Scenario<'_>, policy: &str, revision: &str) -> Value {
    let mut set = scene.workload("apps/v1", "StatefulSet", "shards", &pod_spec(&container(revision)));
    set["spec"]["podManagementPolicy"] = json!(policy);
    set["spec"]["replicas"] = json!(3);
    set
}

/// Waits until `count` pods have an Event with this `reason`. Returns the names of the pods, ordered by the time of the
/// first such Event.
async fn order_of(scene: &Scenario<'_>, reason: &str, count: usize) -> Result<Vec<String>> {
    until(SOON, &format!("Events {reason} of {count} pods"), async || {
        let events = scene.list("events.v1.events.k8s.io").await?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let of_pods = events.iter().filter(|e| e["regarding"]["kind"] == "Pod" && e["reason"] == reason);
        let mut ordered: Vec<_> =
            of_pods.map(|e| (text(&e["eventTime"]), text(&e["regarding"]["name"]))).collect();
        ordered.sort();
        let mut pods: Vec<String> = Vec::new();
        for (_, pod) in ordered {
            if !pods.contains(&pod) {
                pods.push(pod);
            }
        }
        Ok((pods.len() == count).then_some(pods))
    })
    .await
}

pub async fn i3_a_stateful_set_stops_in_reverse_order_and_starts_in_order(
    cluster: &ControlPlane,
) -> Result<()> {
    let scene = Scenario::new(cluster, "ordered-set", "high").await?;
    scene.clear("v1", &container("1")).await?;
    scene.apply(Person::Dev, &set(&scene, "OrderedReady", "1")).await?;
    scene.running("shards", 3).await?;
    revoke(&scene, "v1").await?;
    // The StatefulSet controller creates a pod only after the previous pod is ready, and a held pod never becomes
    // ready. So the number of held pods depends on timing.
    until(SOON, "all pods of the set to stop", async || {
        let pods = scene.pods("shards").await?;
        Ok((!pods.is_empty() && pods.iter().all(|pod| pod["spec"]["nodeName"].is_null())).then_some(()))
    })
    .await?;
    let stopped = order_of(&scene, "ClearanceLost", 3).await?;
    ensure!(stopped == ["shards-2", "shards-1", "shards-0"], "stopped in the order {stopped:?}");

    tokio::time::sleep(Duration::from_secs(1)).await;
    // Only held pods get an Event `Released`. Pods that the controller creates after the approval are not held.
    let held = scene.pods("shards").await?.len();
    scene.approve("v1").await?;
    scene.running("shards", 3).await?;
    let released = order_of(&scene, "Released", held).await?;
    ensure!(
        released == ["shards-0", "shards-1", "shards-2"][..held],
        "of {held} held pods, the order of release is {released:?}"
    );
    Ok(())
}

pub async fn a_rolled_back_stateful_set_does_not_hang(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "rolled-back-set", "high").await?;
    scene.clear("v1", &container("1")).await?;
    let of = |revision: &str| set(&scene, "OrderedReady", revision);
    scene.apply(Person::Dev, &of("1")).await?;
    scene.running("shards", 3).await?;
    scene.apply(Person::Dev, &of("2")).await?;
    scene.settled("shards", 2, 1).await?;
    scene.apply(Person::Dev, &of("1")).await?;
    scene.running("shards", 3).await.map(drop)
}

/// The approved runtime contains the name of the claim, and each pod has its own claim. Without a placeholder in this
/// name, each pod needs its own version.
pub async fn each_pod_of_a_stateful_set_with_claims_needs_its_own_version(
    cluster: &ControlPlane,
) -> Result<()> {
    let scene = Scenario::new(cluster, "claims", "high").await?;
    let mut container = container("1");
    container["volumeMounts"] = json!([{ "name": "cache", "mountPath": "/cache" }]);
    for ordinal in 0..3 {
        let claim = format!("cache-shards-{ordinal}");
        scene.apply(Person::Admin, &json!({ "apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": { "name": format!("claims-test-{ordinal}") },
            "spec": { "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"], "hostPath": { "path": "/tmp" },
                "claimRef": { "namespace": scene.namespace, "name": claim } } })).await?;
        let volume = json!({ "name": "cache", "persistentVolumeClaim": { "claimName": claim } });
        let runtime = json!({ "containers": [container], "volumes": [volume] });
        scene.apply(Person::Admin, &scene.version_of(&format!("v{ordinal}"), &runtime)).await?;
    }
    let mut set = set(&scene, "Parallel", "1");
    set["spec"]["replicas"] = json!(3);
    set["spec"]["template"]["spec"]["containers"][0] = container;
    set["spec"]["volumeClaimTemplates"] = json!([{ "metadata": { "name": "cache" },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } } }]);
    scene.approve("v0").await?;
    scene.approve("v2").await?;
    scene.apply(Person::Dev, &set).await?;
    scene.settled("shards", 2, 1).await?;
    let held = scene.get("pod", "shards-1").await?;
    ensure!(held["metadata"]["labels"]["assent.dev/held"] == "true", "shards-1 is not the held pod: {held}");
    scene.approve("v1").await?;
    scene.running("shards", 3).await?;

    let claim = scene.get("persistentvolumeclaim", "cache-shards-0").await?["metadata"]["uid"].clone();
    revoke(&scene, "v0").await?;
    scene.settled("shards", 2, 1).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    scene.approve("v0").await?;
    scene.running("shards", 3).await?;
    ensure!(
        scene.get("persistentvolumeclaim", "cache-shards-0").await?["metadata"]["uid"] == claim,
        "the claim was replaced"
    );
    Ok(())
}

pub async fn a_stopped_daemon_set_can_still_roll_out(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "daemons", "high").await?;
    scene.clear("v1", &container("1")).await?;
    let of =
        |revision: &str| scene.workload("apps/v1", "DaemonSet", "agents", &pod_spec(&container(revision)));
    scene.apply(Person::Dev, &of("1")).await?;
    until(SOON, "the pods of the DaemonSet to run", async || {
        let status = &scene.get("daemonset", "agents").await?["status"];
        Ok((status["numberReady"].as_u64() > Some(0)
            && status["numberReady"] == status["desiredNumberScheduled"])
            .then_some(()))
    })
    .await?;
    let all = scene.pods("agents").await?.len();
    // The rollout to an uncleared version stops after one pod, because the new pod is held and never becomes ready.
    scene.apply(Person::Dev, &of("2")).await?;
    scene.settled("agents", all - 1, 1).await?;
    scene.apply(Person::Dev, &of("1")).await?;
    scene.running("agents", all).await?;
    revoke(&scene, "v1").await?;
    scene.held("agents", all).await?;
    scene.apply(Person::Dev, &of("2")).await?;
    scene.clear("v2", &container("2")).await?;
    scene.running("agents", all).await.map(drop)
}

pub async fn a_stopped_bare_pod_can_be_created_again_from_its_backup(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "bare", "high").await?;
    scene.clear("v1", &container("1")).await?;
    let mut pod = scene.pod("once", &container("1"));
    pod["metadata"]["annotations"] = json!({ "team": "risk" });
    scene.apply(Person::Dev, &pod).await?;
    scene.running("once", 1).await?;
    revoke(&scene, "v1").await?;
    scene.settled("once", 0, 0).await?;
    let note = scene.event("Pod", "once", "Kept").await?;
    ensure!(note.contains("kubectl get controllerrevision"), "{note}");
    let kept = scene
        .kubectl(
            Person::Dev,
            &[
                "get",
                "controllerrevision",
                "-l",
                "assent.dev/kept-for=scorer",
                "-o=jsonpath={.items[0].data}",
            ],
        )
        .await?;
    let kept: Value = serde_json::from_str(&kept)?;
    scene.apply(Person::Dev, &kept).await?;
    scene.held("once", 1).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    scene.approve("v1").await?;
    scene.running("once", 1).await?;
    let again = scene.get("pod", "once").await?;
    ensure!(again["metadata"]["annotations"]["team"] == "risk", "{again}");
    ensure!(again["spec"]["containers"] == kept["spec"]["containers"], "{again}");
    Ok(())
}

pub async fn a_stopped_replica_set_starts_again_after_the_approval(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "replica-set", "high").await?;
    scene.clear("v1", &container("1")).await?;
    scene
        .apply(Person::Dev, &scene.workload("apps/v1", "ReplicaSet", "plain", &pod_spec(&container("1"))))
        .await?;
    scene.running("plain", 2).await?;
    revoke(&scene, "v1").await?;
    scene.held("plain", 2).await?;
    ensure!(
        scene.get("replicaset", "plain").await?["spec"]["replicas"] == 2,
        "the replicas of the ReplicaSet were changed"
    );
    tokio::time::sleep(Duration::from_secs(1)).await;
    scene.approve("v1").await?;
    scene.running("plain", 2).await.map(drop)
}

/// Copies the level `limited`, which requires one risk officer, under a new name and with this `onLoss`. Assigns the
/// new level to the system.
pub async fn level(scene: &Scenario<'_>, name: &str, on_loss: &Value) -> Result<()> {
    let mut level = scene.get("risklevel", "limited").await?;
    level["metadata"] = json!({ "name": name });
    level["spec"]["onLoss"] = on_loss.clone();
    scene.apply(Person::Admin, &level).await?;
    scene.apply(Person::Admin, &scene.system(name)).await.map(drop)
}

pub async fn approve_alone(scene: &Scenario<'_>) -> Result<()> {
    // An approval counts only if it is created in a later second than the revocation before it.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let digest = scene.digest_of("v1").await?;
    scene.decide(Person::Alice, &scene.decision("Approve", "v1", &digest, "risk-officer")).await?;
    scene.is_cleared("v1").await
}

pub async fn replicas(scene: &Scenario<'_>, kind: &str, name: &str, count: u64) -> Result<()> {
    until(SOON, &format!("{kind} {name} to have {count} replicas"), async || {
        let object = scene.get(kind, name).await?;
        Ok((object["spec"]["replicas"] == count).then_some(()))
    })
    .await
}

fn three(scene: &Scenario<'_>) -> Value {
    let mut deployment = scene.deployment("scorer", &container("1"));
    deployment["spec"]["replicas"] = json!(3);
    deployment
}

pub async fn i3_scale_down_scales_to_zero_and_back(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "scale-down", "high").await?;
    level(&scene, "scale-down", &json!({ "mode": "ScaleDown", "gracePeriodSeconds": 60 })).await?;
    scene.publish("v1", &container("1")).await?;
    approve_alone(&scene).await?;
    scene.apply(Person::Dev, &three(&scene)).await?;
    scene.running("scorer", 3).await?;
    revoke(&scene, "v1").await?;
    replicas(&scene, "deployment", "scorer", 0).await?;
    scene.settled("scorer", 0, 0).await?;
    scene.event("Deployment", "scorer", "ClearanceLost").await?;
    approve_alone(&scene).await?;
    scene.running("scorer", 3).await?;
    let backups = scene.list("controllerrevisions").await?;
    ensure!(backups.is_empty(), "the backup was not deleted: {backups:?}");

    // After a second loss of clearance, a user sets the number of replicas to 5. After the approval, Assent restores
    // these 5 replicas.
    revoke(&scene, "v1").await?;
    replicas(&scene, "deployment", "scorer", 0).await?;
    scene.settled("scorer", 0, 0).await?;
    scene.kubectl(Person::Dev, &["scale", "deployment/scorer", "--replicas=5"]).await?;
    replicas(&scene, "deployment", "scorer", 0).await?;
    approve_alone(&scene).await?;
    scene.running("scorer", 5).await.map(drop)
}

pub async fn scale_down_gives_up_if_another_client_keeps_scaling_up(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "contested", "high").await?;
    level(&scene, "contested", &json!({ "mode": "ScaleDown" })).await?;
    scene.publish("v1", &container("1")).await?;
    approve_alone(&scene).await?;
    let gitops = ["apply", "--server-side", "--force-conflicts", "--field-manager=gitops", "-f", "-"];
    let apply = async || {
        let manifest = three(&scene).to_string();
        scene.cluster.kubectl_stdin(Person::Dev, &gitops, &manifest).await?.ok()
    };
    apply().await?;
    scene.running("scorer", 3).await?;
    revoke(&scene, "v1").await?;
    for _ in 0..3 {
        replicas(&scene, "deployment", "scorer", 0).await?;
        apply().await?;
    }
    let note = scene.event("Deployment", "scorer", "Contested").await?;
    ensure!(note.contains("keeps starting it again"), "{note}");
    scene.held("scorer", 3).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    replicas(&scene, "deployment", "scorer", 3).await?;
    approve_alone(&scene).await?;
    scene.running("scorer", 3).await.map(drop)
}

pub async fn audit_records_a_loss_and_stops_nothing(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "audit-level", "high").await?;
    level(&scene, "audit-level", &json!({ "mode": "Audit", "gracePeriodSeconds": 0 })).await?;
    // The new level is milder than the level `high`. So the stricter values of `high` still apply for a short time.
    until(Duration::from_secs(90), "the less strict level to apply", async || {
        let clearance = scene.get("clearance", "clearance").await?;
        Ok((clearance["spec"]["systems"]["scorer"]["onLoss"]["mode"] == "Audit").then_some(()))
    })
    .await?;
    scene.publish("v1", &container("1")).await?;
    approve_alone(&scene).await?;
    scene.apply(Person::Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.apply(Person::Dev, &strict_job(&scene, "train")).await?;
    scene.running("scorer", 2).await?;
    scene.running("train", 2).await?;
    revoke(&scene, "v1").await?;
    scene.event("Deployment", "scorer", "ClearanceLost").await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    scene.running("scorer", 2).await?;
    scene.running("train", 2).await?;
    // At a level with the mode `Audit`, new pods are still held.
    scene.kubectl(Person::Dev, &["scale", "deployment/scorer", "--replicas=3"]).await?;
    scene.settled("scorer", 2, 1).await.map(drop)
}

/// Creates a custom resource with the subresource `scale` and the field `spec.suspend`. Returns the manifest of a
/// Deployment that the custom resource controls.
pub async fn temple(scene: &Scenario<'_>) -> Result<Value> {
    let spec = json!({ "type": "object", "properties": { "replicas": { "type": "integer" }, "suspend": { "type": "boolean" } } });
    let status = json!({ "type": "object", "properties": { "replicas": { "type": "integer" } } });
    let schema =
        json!({ "openAPIV3Schema": { "type": "object", "properties": { "spec": spec, "status": status } } });
    let scale = json!({ "scale": { "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas" }, "status": {} });
    let definition = json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "temples.made-up.example" },
        "spec": { "group": "made-up.example", "scope": "Namespaced", "names": { "kind": "Temple", "plural": "temples" },
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": schema, "subresources": scale }] } });
    // Several tests can create the definition at the same time. A request can then fail, so the test retries it.
    until(SOON, "the definition to be accepted", async || {
        Ok(scene.apply(Person::Admin, &definition).await.ok())
    })
    .await?;
    let temple = json!({ "apiVersion": "made-up.example/v1", "kind": "Temple",
        "metadata": { "name": "delphi", "namespace": scene.namespace }, "spec": { "replicas": 2 } });
    until(SOON, "the custom resource to be served", async || {
        Ok(scene.apply(Person::Dev, &temple).await.ok())
    })
    .await?;
    let uid = scene.get("temple", "delphi").await?["metadata"]["uid"].take();
    let mut deployment = scene.deployment("scorer", &container("1"));
    deployment["metadata"]["ownerReferences"] = json!([{ "apiVersion": "made-up.example/v1", "kind": "Temple",
        "name": "delphi", "uid": uid, "controller": true }]);
    Ok(deployment)
}

pub async fn a_custom_resource_at_the_root_is_scaled_down(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "temple-scale", "high").await?;
    level(&scene, "temple-scale", &json!({ "mode": "ScaleDown", "gracePeriodSeconds": 8 })).await?;
    scene.publish("v1", &container("1")).await?;
    approve_alone(&scene).await?;
    let deployment = temple(&scene).await?;
    scene.apply(Person::Dev, &deployment).await?;
    scene.running("scorer", 2).await?;
    the_plugin_accepts_the_root(&scene).await?;
    revoke(&scene, "v1").await?;
    replicas(&scene, "temple", "delphi", 0).await?;
    // No controller scales the Deployment of the custom resource down. So its pods do not stop by themselves, and
    // Assent stops them within the grace period.
    scene.held("scorer", 2).await?;
    approve_alone(&scene).await?;
    replicas(&scene, "temple", "delphi", 2).await?;
    scene.running("scorer", 2).await.map(drop)
}

async fn the_plugin_accepts_the_root(scene: &Scenario<'_>) -> Result<()> {
    let ask = async |args: &[&str]| scene.assent(Person::Dev, args).await;
    for typed in ["temple/delphi", "temples.made-up.example/delphi"] {
        let said = ask(&["explain", typed]).await?.ok()?;
        ensure!(said.contains("PODS scorer-") && said.contains("v1 is cleared"), "{said}");
        let captured: Value = serde_json::from_str(&ask(&["capture", typed, "-o=json"]).await?.ok()?)?;
        let version = scene.get("modelversion", "v1").await?;
        ensure!(
            captured["spec"]["runtime"] == version["spec"]["runtime"],
            "captured {captured}, published {version}"
        );
    }
    let said = ask(&["explain", "temple/olympia"]).await?.denied()?;
    ensure!(said.contains("temple/delphi"), "{said}");
    Ok(())
}

pub async fn a_custom_resource_at_the_root_is_suspended(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "temple-suspend", "high").await?;
    level(&scene, "temple-suspend", &json!({ "mode": "Suspend", "gracePeriodSeconds": 8 })).await?;
    scene.publish("v1", &container("1")).await?;
    approve_alone(&scene).await?;
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
    scene.held("scorer", 2).await?;
    approve_alone(&scene).await?;
    suspended(json!(null)).await?;
    scene.running("scorer", 2).await.map(drop)
}

/// A Deployment has no `spec.suspend`, so Assent evicts the pods of the Deployment. The eviction begins at once, not
/// after half of the grace period.
pub async fn a_deployment_is_evicted_if_its_level_suspends(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "suspend-deployment", "high").await?;
    level(&scene, "suspend-deployment", &json!({ "mode": "Suspend", "gracePeriodSeconds": 3600 })).await?;
    scene.publish("v1", &container("1")).await?;
    approve_alone(&scene).await?;
    scene.apply(Person::Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.running("scorer", 2).await?;
    revoke(&scene, "v1").await?;
    scene.held("scorer", 2).await.map(drop)
}

pub async fn i3_a_restarted_operator_scales_a_deployment_up_again(
    cluster: &ControlPlane,
    assent: &Assent,
) -> Result<()> {
    let scene = Scenario::new(cluster, "restarted", "high").await?;
    level(&scene, "restarted", &json!({ "mode": "ScaleDown" })).await?;
    scene.publish("v1", &container("1")).await?;
    approve_alone(&scene).await?;
    scene.apply(Person::Dev, &three(&scene)).await?;
    scene.running("scorer", 3).await?;
    revoke(&scene, "v1").await?;
    replicas(&scene, "deployment", "scorer", 0).await?;
    assent.operator().kill();
    let digest = scene.digest_of("v1").await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    scene.decide(Person::Alice, &scene.decision("Approve", "v1", &digest, "risk-officer")).await?;
    assent.operator().restart()?;
    scene.running("scorer", 3).await.map(drop)
}

/// The test uses a held pod, because the simulated nodes of KWOK do not resize a running pod.
pub async fn a_held_pod_is_resized_in_place(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "resized", "high").await?;
    let mut approved = container("1");
    approved["resources"] = json!({ "requests": { "cpu": "100m" } });
    scene.publish("v1", &container("1")).await?;
    scene.apply(Person::Dev, &scene.pod("waits", &approved)).await?;
    scene.held("waits", 1).await?;
    let name = &approved["name"];
    let resize = json!({ "metadata": { "labels": { "assent.dev/system": "another" } },
        "spec": { "containers": [{ "name": name, "resources": { "requests": { "cpu": "200m" } } }] } });
    let patch = ["patch", "pod", "waits", "--subresource=resize", "--patch", &resize.to_string()];
    scene.kubectl(Person::Dev, &patch).await?;
    let now = scene.get("pod", "waits").await?;
    ensure!(now["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "200m", "{now}");
    ensure!(now["metadata"]["labels"]["assent.dev/system"] == "scorer", "the resize changed a label: {now}");
    scene.held("waits", 1).await.map(drop)
}
