//! The modes and scopes of a namespace. The tests check what each mode reports and stops, and which pods each scope
//! covers. A change to a weaker mode or a narrower scope needs the verb `ungovern`.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use assent_tests::{
    Assent, ControlPlane, Options, Person, SOON, Scenario, binaries, container, pod_spec, until,
};
use serde_json::{Value, json};

use crate::refusals::says;

use Person::{Admin, Alice, Dev};

async fn warnings_for(scene: &Scenario<'_>, person: Person, manifest: &Value) -> Result<String> {
    let apply = ["apply", "-f", "-"];
    let said = scene.cluster.kubectl_stdin(person, &apply, &manifest.to_string()).await?;
    let warnings = said.stderr.clone();
    said.ok()?;
    Ok(warnings)
}

async fn label(scene: &Scenario<'_>, person: Person, labels: &[&str]) -> Result<assent_tests::Output> {
    let namespace = ["label", "namespace", &scene.namespace, "--overwrite"];
    scene.cluster.kubectl(person, &[&namespace, labels].concat()).await
}

async fn dev_may_label(scene: &Scenario<'_>) -> Result<()> {
    let verbs = ["create", "role", "labels", "--verb=get,patch", "--resource=namespaces"];
    scene.kubectl(Admin, &verbs).await?;
    let bind = ["create", "rolebinding", "labels", "--role=labels", "--user=dev"];
    scene.kubectl(Admin, &bind).await.map(drop)
}

pub async fn mode_warn_warns_the_creator_and_holds_nothing(cluster: &ControlPlane) -> Result<()> {
    let labels = json!({ "assent.dev/mode": "warn" });
    let scene = Scenario::governed_by(cluster, "warns", "high", &labels).await?;
    let spec = pod_spec(&container("1"));
    for (api_version, kind) in [
        ("v1", "Pod"),
        ("v1", "ReplicationController"),
        ("apps/v1", "Deployment"),
        ("apps/v1", "ReplicaSet"),
        ("apps/v1", "StatefulSet"),
        ("apps/v1", "DaemonSet"),
        ("batch/v1", "Job"),
        ("batch/v1", "CronJob"),
    ] {
        let name = kind.to_lowercase();
        let mut workload = scene.workload(api_version, kind, &name, &spec);
        if kind == "ReplicationController" {
            workload["spec"]["selector"] = json!({ "app": name });
        }
        let said = warnings_for(&scene, Dev, &workload).await?;
        let words = format!(
            "{name}/{name} would be held if namespace warns enforced: AI system scorer has no clearance"
        );
        says(&said, &["Warning", &words, "kubectl assent status --as-if-enforced -n warns"])?;
    }
    scene.running("deployment", 2).await?;
    scene.running_pod("pod").await?;
    let scale = ["scale", "deployment/deployment", "--replicas=3"];
    let said = cluster.kubectl(Dev, &[&scale[..], &["-n", "warns"]].concat()).await?;
    ensure!(
        !said.stderr.contains("Warning"),
        "scaling does not change the approved content: {}",
        said.stderr
    );
    let mut unlabelled = scene.pod("unlabelled", &container("1"));
    unlabelled["metadata"]["labels"] = json!({});
    says(&warnings_for(&scene, Dev, &unlabelled).await?, &["have no label assent.dev/system"])?;
    until(SOON, "the system to count the pods that would stop", async || {
        let pods = scene.get("aisystem", "scorer").await?["status"]["pods"].clone();
        ensure!(pods["wouldStop"].as_u64() >= Some(4) && pods["held"] == 0, "wrong counts: {pods}");
        Ok(Some(()))
    })
    .await?;
    scene.clear("v1", &container("1")).await?;
    until(SOON, "the API server to see the clearance", async || {
        let said = warnings_for(&scene, Dev, &scene.deployment("cleared", &container("1"))).await?;
        scene.kubectl(Dev, &["delete", "deployment", "cleared"]).await?;
        ensure!(said.is_empty(), "{said}");
        Ok(Some(()))
    })
    .await?;
    let said = warnings_for(&scene, Dev, &scene.deployment("other", &container("2"))).await?;
    says(&said, &["deployment/other would be held", "it is not what was approved for AI system scorer"])?;
    scene.running("other", 2).await.map(drop)
}

/// The modes `audit` and `warn` hold no pod, even without a Clearance or an operator.
pub async fn mode_audit_writes_to_the_audit_log_and_warns_nobody() -> Result<()> {
    let options = Options { audit: true, path: vec![binaries()?], ..Options::default() };
    let cluster = ControlPlane::start_with(options).await?;
    let assent = Assent::install(&cluster).await?;
    let scene =
        Scenario::governed_by(&cluster, "audits", "high", &json!({ "assent.dev/mode": "audit" })).await?;
    let said = warnings_for(&scene, Dev, &scene.deployment("scorer", &container("1"))).await?;
    ensure!(said.is_empty(), "dev sees a warning: {said}");
    scene.running("scorer", 2).await?;
    until(SOON, "three annotations in the audit log", async || {
        let noted = noted(&cluster, "assent-audit")?;
        ensure!(noted.len() == 3, "the audit log has {noted:#?}");
        says(&noted.concat(), &["deployment/scorer would be held", "pod/scorer-"])?;
        Ok(Some(()))
    })
    .await?;
    let metric = async |line: &str| {
        until(SOON, line, async || {
            let metrics = assent.get("/metrics").await?;
            ensure!(metrics.contains(line), "the line is missing in {metrics}");
            Ok(Some(()))
        })
        .await
    };
    metric("assent_would_stop_pods{namespace=\"audits\"} 2").await?;
    scene.clear("v1", &container("1")).await?;
    until(SOON, "the metric of pods that would stop to disappear", async || {
        Ok((!assent.get("/metrics").await?.contains("assent_would_stop_pods{")).then_some(()))
    })
    .await?;
    let plain = Scenario { cluster: &cluster, namespace: "plain".to_owned() };
    cluster.kubectl(Admin, &["create", "namespace", "plain"]).await?.ok()?;
    let mut shadow = plain.pod("shadow", &json!({ "name": "c", "image": "vllm/vllm-openai:latest" }));
    shadow["metadata"]["labels"] = json!({ "assent.dev/system": "made-up" });
    plain.apply(Admin, &shadow).await?;
    metric("assent_shadow_pods{namespace=\"plain\"} 1").await?;
    assent.operator().kill();
    label(&plain, Admin, &["assent.dev/mode=warn"]).await?.ok()?;
    // The admission plugin of the API server reads namespaces from a cache, which gets the label after a short delay.
    // No request shows whether the cache has the label.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let said = warnings_for(&plain, Admin, &plain.pod("second", &container("1"))).await?;
    ensure!(said.is_empty(), "no operator wrote a Clearance, but kubectl prints a warning: {said}");
    Ok(())
}

/// Returns the messages that the policy binding `binding` wrote to the audit log.
fn noted(cluster: &ControlPlane, binding: &str) -> Result<Vec<String>> {
    let log = std::fs::read_to_string(cluster.audit_log()).context("reading the audit log")?;
    let mut found = Vec::new();
    for line in log.lines() {
        let event: Value = serde_json::from_str(line)?;
        let message = event["annotations"]["validation.policy.admission.k8s.io/validation_failure"].as_str();
        found.extend(message.filter(|message| message.contains(binding)).map(str::to_owned));
    }
    Ok(found)
}

/// The pods lose their clearance while the namespace has the mode `warn`. Their grace period starts when the namespace
/// gets the mode `enforce`, and they stop one after the other.
pub async fn mode_enforce_stops_running_pods_gradually(cluster: &ControlPlane) -> Result<()> {
    let labels = json!({ "assent.dev/mode": "warn" });
    let scene = Scenario::governed_by(cluster, "turned-on", "limited", &labels).await?;
    let grace = 12;
    let mut level = scene.get("risklevel", "limited").await?;
    level["metadata"] = json!({ "name": "turned-on" });
    level["spec"]["onLoss"] = json!({ "gracePeriodSeconds": grace });
    scene.apply(Admin, &level).await?;
    scene.apply(Admin, &scene.system("turned-on")).await?;
    let lost = scene.publish("lost", &container("lost")).await?;
    scene.decide(Alice, &scene.decision("Approve", "lost", &lost, "risk-officer")).await?;
    let kept = scene.publish("kept", &container("kept")).await?;
    scene.decide(Alice, &scene.decision("Approve", "kept", &kept, "risk-officer")).await?;
    let mut many = scene.deployment("lost", &container("lost"));
    many["spec"]["replicas"] = json!(12);
    scene.apply(Dev, &many).await?;
    scene.apply(Dev, &scene.deployment("kept", &container("kept"))).await?;
    scene.running("lost", 12).await?;
    scene.decide(Alice, &scene.decision("Revoke", "lost", &lost, "risk-officer")).await?;
    tokio::time::sleep(Duration::from_secs(grace + 1)).await;
    scene.running("lost", 12).await?;

    label(&scene, Admin, &["assent.dev/mode=enforce"]).await?.ok()?;
    let begin = Instant::now();
    let mut seen = Vec::new();
    while begin.elapsed() < Duration::from_secs(grace) && seen.last() != Some(&0) {
        let running = scene.pods("lost").await?.iter().filter(|p| p["spec"]["nodeName"].is_string()).count();
        if seen.last() != Some(&running) {
            seen.push(running);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let took = begin.elapsed();
    ensure!(seen.last() == Some(&0), "pods still run after {took:?}: {seen:?}");
    ensure!(took > Duration::from_secs(grace / 4), "all pods stopped within {took:?}: {seen:?}");
    ensure!(seen.len() > 3, "the pods did not stop one by one: {seen:?}");
    let note = scene.event("Deployment", "lost", "WillStop").await?;
    says(&note, &["the namespace has begun to enforce", "it stops at", "--as-if-enforced -n turned-on"])?;
    scene.held("lost", 12).await?;
    scene.running("kept", 2).await.map(drop)
}

pub async fn a_loosened_namespace_releases_its_pods(cluster: &ControlPlane) -> Result<()> {
    for (namespace, looser) in [
        ("loosened-to-warn", "assent.dev/mode=warn"),
        ("loosened-to-audit", "assent.dev/mode=audit"),
        ("loosened-to-accelerated", "assent.dev/scope=accelerated"),
        ("loosened-to-labelled", "assent.dev/scope=labelled"),
    ] {
        let scene = Scenario::new(cluster, namespace, "high").await?;
        let mut pod = scene.pod("plain", &container("1"));
        pod["metadata"]["labels"] = json!({ "app": "plain" });
        scene.apply(Dev, &pod).await?;
        scene.held("plain", 1).await?;
        label(&scene, Admin, &[looser]).await?.ok()?;
        scene.running_pod("plain").await?;
    }
    Ok(())
}

pub async fn loosening_needs_the_verb_ungovern(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::governed_by(
        cluster,
        "loosens",
        "high",
        &json!({ "assent.dev/mode": "audit", "assent.dev/scope": "labelled" }),
    )
    .await?;
    dev_may_label(&scene).await?;
    let may = async |labels: &[&str]| label(&scene, Dev, labels).await?.ok().map(drop);
    let may_not = async |labels: &[&str], words: &str| {
        let said = label(&scene, Dev, labels).await?.denied()?;
        says(&said, &["user dev may not", words, "the verb ungovern on namespaces.assent.dev"])
    };
    may_not(&["assent.dev/mode-"], "end the governance of namespace loosens").await?;
    may(&["assent.dev/scope=accelerated"]).await?;
    may_not(&["assent.dev/scope=labelled"], "keep the label assent.dev/scope=accelerated").await?;
    may(&["assent.dev/scope-"]).await?;
    may_not(&["assent.dev/scope=accelerated"], "keep the label assent.dev/scope=all").await?;
    may(&["assent.dev/mode=warn"]).await?;
    may_not(
        &["assent.dev/mode=audit"],
        "weaken the governance of namespace loosens: keep the label assent.dev/mode=warn",
    )
    .await?;
    may_not(&["assent.dev/mode=enforce", "assent.dev/scope=labelled"], "keep the label assent.dev/scope=all")
        .await?;
    may(&["assent.dev/mode=enforce", "assent.dev/scope=all"]).await?;
    may_not(&["assent.dev/mode=warn"], "keep the label assent.dev/mode=enforce").await?;
    let said = label(&scene, Dev, &["assent.dev/scope=gpu"]).await?.denied()?;
    says(&said, &["label assent.dev/scope=gpu is not known: use all, accelerated or labelled"])?;
    label(&scene, Admin, &["assent.dev/mode=audit", "assent.dev/scope=labelled"]).await?.ok().map(drop)
}

/// In the scope `labelled`, Assent ignores pods without the label `assent.dev/system`. A pod can neither get nor lose
/// this label after its creation.
pub async fn scope_labelled_covers_only_pods_that_name_a_system(cluster: &ControlPlane) -> Result<()> {
    let labels = json!({ "assent.dev/mode": "enforce", "assent.dev/scope": "labelled" });
    let scene = Scenario::governed_by(cluster, "labelled", "high", &labels).await?;
    let mut pod = scene.pod("plain", &container("1"));
    pod["metadata"]["labels"] = json!({ "app": "plain" });
    scene.apply(Dev, &pod).await?;
    scene.running_pod("plain").await?;
    let debug = ["debug", "plain", "--image=other", "--attach=false", "--profile=general"];
    scene.kubectl(Dev, &debug).await?;
    let said = scene.denied(Dev, &["label", "pod", "plain", "assent.dev/system=scorer"]).await?;
    says(&said, &["label assent.dev/system of a pod does not change"])?;
    scene.apply(Dev, &scene.pod("scorer", &container("1"))).await?;
    scene.held("scorer", 1).await?;
    let said = scene.denied(Dev, &["label", "pod", "scorer", "assent.dev/system-"]).await?;
    says(&said, &["label assent.dev/system of a pod does not change"])?;
    let mut empty = scene.pod("empty", &container("1"));
    empty["metadata"]["labels"]["assent.dev/system"] = json!("");
    empty["metadata"]["labels"]["app"] = json!("empty");
    scene.apply(Dev, &empty).await?;
    scene.held("empty", 1).await?;
    scene.event("Pod", "empty", "Held").await?;
    scene.clear("v1", &container("1")).await?;
    scene.running_pod("scorer").await?;
    scene.held("empty", 1).await?;
    label(&scene, Admin, &["assent.dev/scope=all"]).await?.ok()?;
    says(&scene.event("Pod", "plain", "WillStop").await?, &["it has no label assent.dev/system"])
}
