//! Assent is not the only client that sets `spec.suspend` of Jobs and `CronJobs`: users, queues such as Kueue, and
//! parents of Jobs such as `JobSet` set it too. Assent resumes only the Jobs and `CronJobs` that Assent itself
//! suspended.

use std::time::Duration;

use anyhow::{Result, ensure};
use assent_tests::{ControlPlane, Person, SOON, Scenario, container, pod_spec, until};
use serde_json::{Value, json};

use crate::workloads::{SUSPENDED, resumed, revoke, strict_job, suspended};

/// Kueue manages the Jobs that have this label.
const QUEUE: &str = "kueue.x-k8s.io/queue-name";

/// The time for which a test checks that something does not change.
const A_WHILE: Duration = Duration::from_secs(2);

fn patch_of(suspend: bool) -> String {
    json!({ "spec": { "suspend": suspend } }).to_string()
}

/// Sets `spec.suspend` of a Job, as a queue or a parent controller does.
async fn set_suspend(scene: &Scenario<'_>, name: &str, suspend: bool) -> Result<()> {
    let patch = patch_of(suspend);
    let args = ["patch", "job", name, "--type=merge", "--field-manager=manager", "-p", &patch];
    scene.kubectl(Person::Dev, &args).await.map(drop)
}

/// Returns whether `spec.suspend` of the Job is true, and whether the Job has the label [`SUSPENDED`].
async fn is_suspended(scene: &Scenario<'_>, name: &str) -> Result<(bool, bool)> {
    let job = scene.get("job", name).await?;
    Ok((job["spec"]["suspend"] == true, job["metadata"]["labels"][SUSPENDED] == "true"))
}

/// Simulates the webhook of a queue with a mutating policy for one namespace. The policy suspends each new Job with the
/// label [`QUEUE`]. It also suspends each new Job with the label `default-queue`, and adds the label [`QUEUE`] to this
/// Job. Waits until the policy has an effect.
async fn queue(scene: &Scenario<'_>) -> Result<()> {
    let name = format!("queue-{}", scene.namespace);
    let label = format!("metadata/labels/{}", QUEUE.replace('/', "~1"));
    let policy = json!({ "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy",
        "metadata": { "name": name },
        "spec": { "failurePolicy": "Fail", "reinvocationPolicy": "Never",
            "matchConstraints": {
                "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": scene.namespace } },
                "resourceRules": [{ "apiGroups": ["batch"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["jobs"] }] },
            "matchConditions": [{ "name": "queued", "expression":
                format!("'{QUEUE}' in object.metadata.?labels.orValue({{}}) || 'default-queue' in object.metadata.?labels.orValue({{}})") }],
            "mutations": [{ "patchType": "JSONPatch", "jsonPatch": { "expression":
                format!("[JSONPatch{{op: 'add', path: '/spec/suspend', value: true}}, JSONPatch{{op: 'add', path: '/{label}', value: 'main'}}]") } }] } });
    let binding = json!({ "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding",
        "metadata": { "name": name }, "spec": { "policyName": name } });
    scene.apply(Person::Admin, &policy).await?;
    scene.apply(Person::Admin, &binding).await?;
    until(SOON, "the queue to suspend Jobs", async || {
        let mut job = labelled(strict_job(scene, "probe"), QUEUE);
        job["spec"]["template"]["metadata"]["labels"] = json!({});
        let dry = ["create", "--dry-run=server", "-o=json", "-f", "-"];
        let said = scene.cluster.kubectl_stdin(Person::Dev, &dry, &job.to_string()).await?.ok()?;
        let job: Value = serde_json::from_str(&said)?;
        Ok((job["spec"]["suspend"] == true && job["metadata"]["labels"][SUSPENDED].is_null()).then_some(()))
    })
    .await
}

fn labelled(mut job: Value, label: &str) -> Value {
    job["metadata"]["labels"][label] = json!("main");
    job
}

pub async fn an_approved_job_waits_until_its_queue_admits_it(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "queued", "high").await?;
    scene.publish("v1", &container("1")).await?;
    queue(&scene).await?;
    scene.apply(Person::Dev, &labelled(strict_job(&scene, "waits"), QUEUE)).await?;
    scene.apply(Person::Dev, &labelled(strict_job(&scene, "labelled-by-queue"), "default-queue")).await?;
    // Assent suspends this Job before the Job gets the label `QUEUE`.
    scene.apply(Person::Dev, &strict_job(&scene, "labelled-late")).await?;
    suspended(&scene, "job", "labelled-late", true).await?;
    scene.kubectl(Person::Dev, &["label", "job", "labelled-late", &format!("{QUEUE}=main")]).await?;
    scene.apply(Person::Dev, &labelled(strict_job(&scene, "admitted"), QUEUE)).await?;
    let held = is_suspended(&scene, "waits").await?;
    ensure!(held == (true, false), "only the queue must suspend the Job: {held:?}");
    // The queue admits the Job before people approve the version. So the pods of the Job are held.
    set_suspend(&scene, "admitted", false).await?;
    scene.held("admitted", 2).await?;
    scene.approve("v1").await?;
    scene.running("admitted", 2).await?;
    tokio::time::sleep(A_WHILE).await;
    for name in ["waits", "labelled-by-queue", "labelled-late"] {
        until(SOON, "the label of Assent to disappear", async || {
            Ok((is_suspended(&scene, name).await? == (true, false)).then_some(()))
        })
        .await?;
        ensure!(scene.pods(name).await?.is_empty(), "{name} has pods before its queue admits it");
        set_suspend(&scene, name, false).await?;
        scene.running(name, 2).await?;
    }
    Ok(())
}

pub async fn a_queued_job_that_lost_its_clearance_goes_back_to_its_queue(
    cluster: &ControlPlane,
) -> Result<()> {
    let scene = Scenario::new(cluster, "queue-loss", "high").await?;
    scene.clear("v1", &container("1")).await?;
    queue(&scene).await?;
    scene.apply(Person::Dev, &labelled(strict_job(&scene, "train"), QUEUE)).await?;
    set_suspend(&scene, "train", false).await?;
    scene.running("train", 2).await?;
    revoke(&scene, "v1").await?;
    suspended(&scene, "job", "train", true).await?;
    scene.settled("train", 0, 0).await?;
    // The queue admitted the Job before the revocation. Now the queue tries to start the Job again.
    set_suspend(&scene, "train", false).await?;
    let held = is_suspended(&scene, "train").await?;
    ensure!(held == (true, true), "the Job was resumed: {held:?}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    scene.approve("v1").await?;
    suspended(&scene, "job", "train", false).await?;
    tokio::time::sleep(A_WHILE).await;
    ensure!(scene.pods("train").await?.is_empty(), "the Job has pods before its queue admits it");
    set_suspend(&scene, "train", false).await?;
    scene.running("train", 2).await?;
    let job = scene.get("job", "train").await?;
    ensure!(
        job["status"]["failed"].is_null() || job["status"]["failed"] == 0,
        "the Job has failed pods: {job}"
    );
    Ok(())
}

/// Creates a `ConfigMap` as the parent of a Job. Returns the manifest of a Job that the `ConfigMap` controls, as
/// `JobSet` controls its Jobs.
async fn child_job(scene: &Scenario<'_>, name: &str) -> Result<Value> {
    let parent = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "namespace": scene.namespace } });
    scene.apply(Person::Dev, &parent).await?;
    let uid = scene.get("configmap", name).await?["metadata"]["uid"].take();
    let mut job = strict_job(scene, name);
    job["metadata"]["ownerReferences"] =
        json!([{ "apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid, "controller": true }]);
    Ok(job)
}

pub async fn a_new_child_job_is_not_suspended_and_its_pods_are_held(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "child-job", "high").await?;
    scene.publish("v1", &container("1")).await?;
    for name in ["runs", "stays"] {
        scene.apply(Person::Dev, &child_job(&scene, name).await?).await?;
        scene.held(name, 2).await?;
        ensure!(is_suspended(&scene, name).await? == (false, false), "Assent suspended {name}");
    }
    // While nothing changes, Assent must not write to the Job. Its writes could conflict with those of the parent
    // controller.
    let version = async || {
        Ok::<_, anyhow::Error>(scene.get("job", "runs").await?["metadata"]["resourceVersion"].take())
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = version().await?;
    tokio::time::sleep(A_WHILE).await;
    ensure!(version().await? == before, "the Job changes without a reason");
    // Assent must not resume a Job that its parent suspended.
    set_suspend(&scene, "stays", true).await?;
    scene.approve("v1").await?;
    scene.running("runs", 2).await?;
    tokio::time::sleep(A_WHILE).await;
    ensure!(
        is_suspended(&scene, "stays").await? == (true, false),
        "Assent resumed a Job that its parent suspended"
    );
    // After a loss of clearance, Assent suspends the Job. So no pod of the Job counts as failed.
    revoke(&scene, "v1").await?;
    suspended(&scene, "job", "runs", true).await?;
    scene.settled("runs", 0, 0).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    scene.approve("v1").await?;
    let job = resumed(&scene, "job", "runs").await?;
    ensure!(
        job["status"]["failed"].is_null() || job["status"]["failed"] == 0,
        "the Job has failed pods: {job}"
    );
    scene.running("runs", 2).await.map(drop)
}

#[derive(Clone, Copy)]
enum UserWrite {
    Patch(&'static str),
    Apply(Option<bool>),
    ServerSideApply(Option<bool>),
    Label,
    Replace,
    Annotate,
}

async fn write(scene: &Scenario<'_>, kind: &str, manifest: &Value, user_write: UserWrite) -> Result<()> {
    let name = manifest["metadata"]["name"].as_str().unwrap_or_default();
    let with = |suspend: Option<bool>| {
        let mut manifest = manifest.clone();
        if let Some(suspend) = suspend {
            manifest["spec"]["suspend"] = json!(suspend);
        }
        manifest.to_string()
    };
    let stdin = async |args: &[&str], manifest: String| {
        scene.cluster.kubectl_stdin(Person::Dev, args, &manifest).await?.ok().map(drop)
    };
    match user_write {
        UserWrite::Patch(patch_type) => {
            let args = ["patch", kind, name, patch_type, "-p", &patch_of(true)];
            scene.kubectl(Person::Dev, &args).await.map(drop)
        }
        UserWrite::Apply(suspend) => stdin(&["apply", "-f", "-"], with(suspend)).await,
        UserWrite::ServerSideApply(suspend) => {
            let args = ["apply", "--server-side", "--force-conflicts", "--field-manager=gitops", "-f", "-"];
            stdin(&args, with(suspend)).await
        }
        UserWrite::Label => {
            scene.kubectl(Person::Dev, &["label", kind, name, &format!("{SUSPENDED}-")]).await.map(drop)
        }
        UserWrite::Replace => {
            let mut live = scene.get(kind, name).await?;
            live["metadata"]["labels"] = json!({});
            live["spec"]["suspend"] = json!(true);
            stdin(&["replace", "-f", "-"], live.to_string()).await
        }
        UserWrite::Annotate => {
            scene.kubectl(Person::Dev, &["annotate", kind, name, "team=risk"]).await?;
            scene.kubectl(Person::Dev, &["label", kind, name, "team=risk"]).await.map(drop)
        }
    }
}

pub async fn a_job_that_its_user_also_suspends_stays_suspended(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "both-suspend", "high").await?;
    scene.publish("v1", &container("1")).await?;
    // The last value is true if the object must stay suspended after the approval.
    let writes = [
        ("patched", UserWrite::Patch("--type=merge"), true),
        ("strategic", UserWrite::Patch("--type=strategic"), true),
        ("applied", UserWrite::Apply(Some(true)), true),
        ("by-server", UserWrite::ServerSideApply(Some(true)), true),
        ("unlabelled", UserWrite::Label, true),
        ("replaced", UserWrite::Replace, true),
        ("annotated", UserWrite::Annotate, false),
        ("applied-again", UserWrite::Apply(None), false),
        ("applied-false", UserWrite::Apply(Some(false)), false),
        ("by-server-again", UserWrite::ServerSideApply(None), false),
        ("by-server-false", UserWrite::ServerSideApply(Some(false)), false),
    ];
    for kind in ["Job", "CronJob"] {
        for (name, user_write, _) in writes {
            let mut manifest = strict_job(&scene, name);
            if kind == "CronJob" {
                manifest = scene.workload("batch/v1", kind, name, &pod_spec(&container("1")));
                // Assent resumes some of these CronJobs after the approval. To run no pod in this test, a CronJob
                // creates a Job only once a year, and this Job is suspended.
                manifest["spec"]["schedule"] = json!("0 0 1 1 *");
                manifest["spec"]["jobTemplate"]["spec"]["suspend"] = json!(true);
            }
            scene.apply(Person::Dev, &manifest).await?;
            suspended(&scene, kind, name, true).await?;
            write(&scene, kind, &manifest, user_write).await?;
        }
    }
    scene.approve("v1").await?;
    for kind in ["Job", "CronJob"] {
        for (name, _, _) in writes.iter().filter(|(_, _, stays)| !stays) {
            resumed(&scene, kind, name).await.map_err(|error| error.context(format!("{kind} {name}")))?;
        }
        for (name, _, _) in writes.iter().filter(|(_, _, stays)| *stays) {
            suspended(&scene, kind, name, false).await.map_err(|e| e.context(format!("{kind} {name}")))?;
        }
    }
    Ok(())
}

/// Writes a Helm chart with one object, a Job that is a `pre-install` hook.
fn chart_with_a_hook(scene: &Scenario<'_>) -> Result<tempfile::TempDir> {
    let mut hook = scene.workload("batch/v1", "Job", "migrate", &pod_spec(&container("1")));
    hook["metadata"]["annotations"] = json!({ "helm.sh/hook": "pre-install" });
    let chart = tempfile::tempdir()?;
    std::fs::create_dir(chart.path().join("templates"))?;
    std::fs::write(chart.path().join("Chart.yaml"), "apiVersion: v2\nname: scorer\nversion: 0.1.0\n")?;
    std::fs::write(chart.path().join("templates/hook.yaml"), hook.to_string())?;
    Ok(chart)
}

pub async fn helm_waits_for_a_held_hook_until_its_timeout(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "helm-hook", "high").await?;
    scene.publish("v1", &container("1")).await?;
    let chart = chart_with_a_hook(&scene)?;
    let directory = chart.path().display().to_string();
    let install = ["install", "scorer", &directory, "--namespace", &scene.namespace];
    let said = cluster.helm(&[&install[..], &["--timeout=3s"]].concat()).await?.denied()?;
    ensure!(said.contains("pre-install") && said.contains("context deadline exceeded"), "{said}");
    suspended(&scene, "job", "migrate", true).await?;
    let note = scene.event("Job", "migrate", "Held").await?;
    ensure!(note.contains("awaiting approval by role") && note.contains("kubectl assent"), "{note}");

    cluster.helm(&["uninstall", "scorer", "--namespace", &scene.namespace]).await?.ok()?;
    scene.kubectl(Person::Dev, &["delete", "job", "migrate"]).await?;
    scene.approve("v1").await?;
    let complete = async {
        scene.running("migrate", 1).await?;
        let name = scene.pods("migrate").await?[0]["metadata"]["name"].take();
        scene.complete_pod(name.as_str().unwrap_or_default()).await
    };
    let long = [&install[..], &["--timeout=60s"]].concat();
    let (installed, completed) = tokio::join!(cluster.helm(&long), complete);
    completed?;
    installed?.ok().map(drop)
}
