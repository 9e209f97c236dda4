//! Every kind of workload loses its clearance in its own way, and comes back as it was.

use std::time::Duration;

use anyhow::{Result, ensure};
use assent_tests::{ControlPlane, Person, Scenario, container, pod_spec, until};
use serde_json::{Value, json};

/// How long what should happen at once may take on a loaded machine.
const SOON: Duration = Duration::from_secs(20);

/// The label of what Assent suspended.
const SUSPENDED: &str = "assent.dev/suspended";

/// A Job of two pods at a time that does not forgive a single failure.
fn strict_job(scene: &Scenario<'_>, name: &str) -> Value {
    let mut job = scene.workload("batch/v1", "Job", name, &pod_spec(&container("1")));
    job["spec"]["parallelism"] = json!(2);
    job["spec"]["completions"] = json!(2);
    job["spec"]["backoffLimit"] = json!(0);
    job["spec"]["activeDeadlineSeconds"] = json!(3600);
    job
}

async fn suspended(scene: &Scenario<'_>, kind: &str, name: &str, by_assent: bool) -> Result<Value> {
    until(SOON, &format!("{kind} {name} to be suspended"), async || {
        let object = scene.get(kind, name).await?;
        let label = object["metadata"]["labels"][SUSPENDED] == "true";
        Ok((object["spec"]["suspend"] == true && label == by_assent).then_some(object))
    })
    .await
}

async fn resumed(scene: &Scenario<'_>, kind: &str, name: &str) -> Result<Value> {
    until(SOON, &format!("{kind} {name} to be resumed"), async || {
        let object = scene.get(kind, name).await?;
        let label = !object["metadata"]["labels"][SUSPENDED].is_null();
        Ok((object["spec"]["suspend"] != true && !label).then_some(object))
    })
    .await
}

async fn revoke(scene: &Scenario<'_>, version: &str) -> Result<()> {
    let digest = scene.digest_of(version).await?;
    scene.decide(Person::Alice, &scene.decision("Revoke", version, &digest, "risk-officer")).await?;
    scene.condition("modelversion", version, "Cleared", "False", "Revoked").await.map(drop)
}

pub async fn a_new_job_is_suspended_until_it_is_approved(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "new-job", "high").await?;
    scene.publish("v1", &container("1")).await?;
    scene.apply(Person::Dev, &strict_job(&scene, "train")).await?;
    // By the API server itself: there is no moment in which it is not.
    let job = scene.get("job", "train").await?;
    ensure!(job["spec"]["suspend"] == true && job["metadata"]["labels"][SUSPENDED] == "true", "{job}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    ensure!(scene.pods("train").await?.is_empty(), "a suspended Job has no pods");
    let job = scene.get("job", "train").await?;
    ensure!(job["status"]["startTime"].is_null(), "its deadline runs down: {job}");
    scene.event("Job", "train", "Held").await?;

    scene.approve("v1").await?;
    scene.running("train", 2).await?;
    resumed(&scene, "job", "train").await?;
    scene.event("Job", "train", "Released").await.map(drop)
}

pub async fn i3_a_running_job_is_suspended_and_resumed_and_nothing_counts_as_failed(
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

    // The API server counts approvals in whole seconds.
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

pub async fn completed_work_of_a_job_is_not_run_again(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "half-done", "high").await?;
    let mut indexed = container("1");
    indexed["mayVary"] = json!({ "env": ["JOB_COMPLETION_INDEX"] });
    scene.clear("v1", &indexed).await?;
    let mut job = strict_job(&scene, "train");
    job["spec"]["completionMode"] = json!("Indexed");
    job["spec"]["parallelism"] = json!(1);
    // The first index ends at once, the others are kept from ending.
    job["spec"]["template"]["metadata"]["annotations"] =
        json!({ "pod-complete.stage.kwok.x-k8s.io/delay": "4s" });
    scene.apply(Person::Dev, &job).await?;
    let succeeded = async || -> Result<Value> {
        Ok(scene.get("job", "train").await?["status"]["completedIndexes"].clone())
    };
    until(SOON, "the first index to complete", async || Ok((succeeded().await? == "0").then_some(())))
        .await?;
    revoke(&scene, "v1").await?;
    suspended(&scene, "job", "train", true).await?;
    until(SOON, "its pod to end", async || {
        Ok(scene.pods("train").await?.iter().all(|pod| pod["status"]["phase"] == "Succeeded").then_some(()))
    })
    .await?;
    ensure!(succeeded().await? == "0", "it was lost, or ran on");

    tokio::time::sleep(Duration::from_secs(1)).await;
    scene.approve("v1").await?;
    until(SOON, "the Job to complete", async || {
        let job = scene.get("job", "train").await?;
        ensure!(job["status"]["failed"].is_null(), "it failed: {job}");
        Ok((job["status"]["completedIndexes"] == "0,1").then_some(()))
    })
    .await?;
    let pods = scene.pods("train").await?;
    let index =
        |pod: &&Value| pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"] == "0";
    ensure!(pods.iter().filter(index).count() == 1, "index 0 ran again");
    // A Job that is done is left alone.
    revoke(&scene, "v1").await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    ensure!(scene.get("job", "train").await?["spec"]["suspend"] != true, "a Job that is done was suspended");
    Ok(())
}

pub async fn what_its_user_suspended_stays_suspended(cluster: &ControlPlane) -> Result<()> {
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

pub async fn a_cron_job_makes_no_jobs_until_it_is_approved(cluster: &ControlPlane) -> Result<()> {
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
    // One that was made by hand from it waits as well.
    scene.kubectl(Person::Dev, &["create", "job", "by-hand", "--from=cronjob/nightly"]).await?;
    suspended(&scene, "job", "by-hand", true).await.map(drop)
}

pub async fn dev_resumes_a_job_that_assent_suspended(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "resumes-job", "high").await?;
    scene.publish("v1", &container("1")).await?;
    scene.apply(Person::Dev, &strict_job(&scene, "train")).await?;
    let resume = r#"{"spec":{"suspend":false},"metadata":{"labels":{"assent.dev/suspended":null}}}"#;
    scene.kubectl(Person::Dev, &["patch", "job", "train", "--type=merge", "-p", resume]).await?;
    let job = scene.get("job", "train").await?;
    ensure!(job["spec"]["suspend"] == true && job["metadata"]["labels"][SUSPENDED] == "true", "{job}");
    // Whoever applies the same again for ever sees no difference, and changes nothing.
    let mut manifest = strict_job(&scene, "train");
    manifest["spec"]["suspend"] = json!(false);
    for _ in 0..3 {
        scene.apply(Person::Dev, &manifest).await?;
    }
    suspended(&scene, "job", "train", true).await?;
    ensure!(scene.pods("train").await?.is_empty(), "it made pods");
    scene.approve("v1").await?;
    scene.running("train", 2).await.map(drop)
}

pub async fn a_namespace_that_is_taken_out_resumes_its_jobs(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "out-jobs", "high").await?;
    scene.publish("v1", &container("1")).await?;
    scene.apply(Person::Dev, &strict_job(&scene, "train")).await?;
    suspended(&scene, "job", "train", true).await?;
    let name = scene.namespace.clone();
    scene.cluster.kubectl(Person::Admin, &["label", "namespace", &name, "assent.dev/mode-"]).await?.ok()?;
    scene.running("train", 2).await.map(drop)
}
