//! The plugin as people use it: the real `kubectl assent`, with their own kubeconfigs.

use anyhow::{Result, ensure};
use assent_tests::{ControlPlane, Output, Person, Scenario, binaries, container, digest};
use serde_json::{Value, json};

/// What `kubectl assent ARGS -n NAMESPACE` of `person` did.
pub async fn assent(scene: &Scenario<'_>, person: Person, args: &[&str]) -> Result<Output> {
    let plugin = binaries()?.join("kubectl-assent");
    let args = [args, &["-n", &scene.namespace]].concat();
    scene.cluster.run(scene.cluster.account(person), &plugin.display().to_string(), &args, None).await
}

pub async fn two_people_approve_what_they_are_shown(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "plugin-approve", "high").await?;
    let subject = scene.publish("v1", &container("1")).await?;
    scene.apply(Person::Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.held("scorer", 2).await?;
    let said = assent(&scene, Person::Alice, &["approve", "scorer", "--yes"]).await?.ok()?;
    for shown in [
        "Scores.",
        "--model=scorer",
        "registry.example/scorer@sha256:",
        subject.as_str(),
        "ethics-board",
        "risk-officer",
    ] {
        ensure!(said.contains(shown), "{shown:?} was not shown: {said}");
    }
    ensure!(!said.contains('\u{1b}'), "colour in a pipe: {said:?}");
    let said = assent(&scene, Person::Bob, &["approve", "scorer", "--yes"]).await?.ok()?;
    ensure!(said.contains("v1 of scorer is cleared until"), "{said}");
    scene.running("scorer", 2).await?;
    let revoked = ["revoke", "scorer", "--role=risk-officer", "--reason=an incident", "--yes"];
    assent(&scene, Person::Carol, &revoked).await?.ok()?;
    scene.held("scorer", 2).await?;
    // Approving anew right after a revocation waits for the next second by itself.
    assent(&scene, Person::Alice, &["approve", "scorer", "--yes"]).await?.ok()?;
    let said = assent(&scene, Person::Bob, &["reject", "scorer", "--yes"]).await?;
    ensure!(said.status.code() == Some(2) && said.stderr.contains("--reason"), "{said:?}");
    assent(&scene, Person::Bob, &["approve", "scorer", "--yes"]).await?.ok()?;
    scene.running("scorer", 2).await.map(drop)
}

pub async fn what_is_not_what_was_read_is_not_signed(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "plugin-refuses", "high").await?;
    let subject = scene.publish("v1", &container("1")).await?;
    let outdated = digest('0');
    let said = assent(&scene, Person::Alice, &["approve", "scorer", "--yes", "--digest", &outdated]).await?;
    ensure!(said.status.code() == Some(1), "{said:?}");
    ensure!(said.stderr.contains(&outdated) && said.stderr.contains(subject.as_str()), "{}", said.stderr);
    let said = assent(&scene, Person::Alice, &["approve", "scorer"]).await?;
    ensure!(
        said.status.code() == Some(2) && said.stderr.contains("--yes"),
        "not a terminal, and yet: {said:?}"
    );
    let said = assent(&scene, Person::Dev, &["approve", "scorer", "--role=risk-officer", "--yes"])
        .await?
        .denied()?;
    ensure!(said.contains("does not hold the role risk-officer"), "{said}");
    ensure!(scene.list("approvals").await?.is_empty(), "something was signed");
    Ok(())
}

pub async fn status_and_explain_say_who_must_do_what(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "plugin-explains", "high").await?;
    scene.publish("v1", &container("1")).await?;
    scene.apply(Person::Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.apply(Person::Dev, &scene.pod("other", &container("2"))).await?;
    scene.held("scorer", 2).await?;
    let said = assent(&scene, Person::Alice, &["status"]).await?.ok()?;
    for word in ["SYSTEM", "WAITING FOR", "scorer", "high", "risk-officer", "ethics-board"] {
        ensure!(said.contains(word), "{word:?} is missing: {said}");
    }
    let json: Value =
        serde_json::from_str(&assent(&scene, Person::Alice, &["status", "-o=json"]).await?.ok()?)?;
    ensure!(json.to_string().contains("scorer"), "{json}");
    let said = assent(&scene, Person::Dev, &["explain", "deployment/scorer"]).await?.ok()?;
    for word in ["kubectl assent approve scorer --version v1 --role risk-officer", "ethics-board", "held"] {
        ensure!(said.contains(word), "{word:?} is missing: {said}");
    }
    let said = assent(&scene, Person::Dev, &["explain", "pod/other"]).await?.ok()?;
    ensure!(
        said.contains("--revision=1") && said.contains("--revision=2"),
        "the difference is not shown: {said}"
    );
    let said = assent(&scene, Person::Dev, &["explain", "pod/nobody"]).await?;
    ensure!(said.status.code() == Some(1) && said.stderr.contains("nobody"), "{said:?}");
    Ok(())
}

pub async fn a_plain_manifest_approves_too(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "plain-manifest", "limited").await?;
    let subject = scene.publish("v1", &container("1")).await?;
    let approval = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "Approval",
        "metadata": { "name": "v1-risk-officer", "namespace": scene.namespace },
        "spec": { "system": "scorer", "modelVersion": "v1", "role": "risk-officer", "decision": "Approve", "subjectDigest": subject } });
    scene.apply(Person::Alice, &approval).await?;
    scene.is_cleared("v1").await?;
    let signed = scene.get("approval", "v1-risk-officer").await?;
    ensure!(signed["spec"]["approver"]["user"] == "alice", "{signed}");
    ensure!(
        signed["status"]["notAfter"].is_string(),
        "the end by the level's validity is not said: {signed}"
    );
    scene
        .apply(Person::Alice, &approval)
        .await?
        .contains("unchanged")
        .then_some(())
        .ok_or_else(|| anyhow::anyhow!("applying it again is a change"))
}

/// The dry run says what enforcing does, to the pod: whatever it names stops, and nothing else.
pub async fn status_says_what_would_stop_before_anybody_enforces(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::governed_by(cluster, "rehearses", "high", &json!({})).await?;
    let rehearse = async |more: &[&str]| -> Result<Vec<Value>> {
        let args = [&["status", "--as-if-enforced", "-o=json"], more].concat();
        Ok(serde_json::from_str(&assent(&scene, Person::Dev, &args).await?.ok()?)?)
    };
    scene.clear("v1", &container("1")).await?;
    scene.apply(Person::Dev, &scene.deployment("good", &container("1"))).await?;
    scene.apply(Person::Dev, &scene.deployment("other", &container("2"))).await?;
    let gpu = json!({ "name": "c", "image": "c", "resources": { "limits": { "nvidia.com/gpu": "1" } } });
    for (name, container) in [("plain", json!({ "name": "c", "image": "c" })), ("gpu", gpu)] {
        let mut pod = scene.pod(name, &container);
        pod["metadata"]["labels"] = json!({ "app": name });
        scene.apply(Person::Dev, &pod).await?;
        scene.running_pod(name).await?;
    }
    scene.running("good", 2).await?;
    scene.running("other", 2).await?;
    let workloads = |rows: &[Value]| -> Vec<String> {
        let workload = |row: &Value| format!("{}/{}", row["workload"]["kind"], row["workload"]["name"]);
        rows.iter().map(|row| workload(row).replace('"', "")).collect()
    };
    ensure!(workloads(&rehearse(&["--scope=labelled"]).await?) == ["Deployment/other"]);
    ensure!(workloads(&rehearse(&["--scope=accelerated"]).await?) == ["Deployment/other", "Pod/gpu"]);
    let rows = rehearse(&[]).await?;
    ensure!(workloads(&rows) == ["Deployment/other", "Pod/gpu", "Pod/plain"], "{rows:?}");
    ensure!(rows[0]["pods"].as_array().is_some_and(|pods| pods.len() == 2), "{rows:?}");
    let said = assent(&scene, Person::Dev, &["status", "--as-if-enforced"]).await?.ok()?;
    for words in [
        "deployment/other",
        "is not what was approved for AI system scorer",
        "has no label assent.dev/system",
    ] {
        ensure!(said.contains(words), "{words:?} is missing: {said}");
    }
    for (workload, running) in [("good", 2), ("other", 2)] {
        scene.running(workload, running).await?;
    }
    let label =
        ["label", "namespace", "rehearses", "assent.dev/mode=enforce", "assent.dev/scope=accelerated"];
    scene.cluster.kubectl(Person::Admin, &label).await?.ok()?;
    for pod in rows.iter().take(2).flat_map(|row| row["pods"].as_array().into_iter().flatten()) {
        scene.event("Pod", pod.as_str().unwrap_or_default(), "WillStop").await?;
    }
    let events = scene.list("events.v1.events.k8s.io").await?;
    let stopped =
        events.iter().filter(|e| e["reason"] == "WillStop" && e["regarding"]["kind"] == "Pod").count();
    ensure!(stopped == 3, "{stopped} pods stop");
    Ok(())
}

pub async fn inventory_lists_what_nobody_answers_for(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "inventory", "high").await?;
    scene.apply(Person::Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.held("scorer", 2).await?;
    let other = Scenario::governed_by(cluster, "inventory-shadow", "high", &json!({})).await?;
    let run = async |name: &str, labels: Value, container: Value| {
        let mut deployment = other.deployment(name, &container);
        deployment["spec"]["template"]["metadata"]["labels"]["assent.dev/system"] = labels;
        other.apply(Person::Dev, &deployment).await?;
        other.running(name, 2).await
    };
    let gpu = json!({ "limits": { "amd.com/gpu": "0", "nvidia.com/gpu": "1" } });
    run("gpu", Value::Null, json!({ "name": "c", "image": "c", "resources": gpu })).await?;
    run("server", json!("made-up"), json!({ "name": "c", "image": "ollama/ollama:latest" })).await?;
    run("plain", Value::Null, json!({ "name": "c", "image": "c" })).await?;
    let said = assent(&other, Person::Dev, &["inventory"]).await?.ok()?;
    let lines: Vec<_> =
        said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    ensure!(
        lines
            == [
                "WORKLOAD PODS SYSTEM FOUND BY",
                "deployment/gpu 2 none nvidia.com/gpu",
                "deployment/server 2 none image ollama/ollama:latest",
            ],
        "{said}"
    );
    let denied = assent(&other, Person::Dev, &["inventory", "-A"]).await?.denied()?;
    ensure!(denied.contains("cannot read the"), "{denied}");
    let all = ["inventory", "-A", "-o=json", "--image-pattern=c"];
    let rows: Vec<Value> = serde_json::from_str(&assent(&scene, Person::Admin, &all).await?.ok()?)?;
    let row = |namespace: &str, name: &str| {
        rows.iter().find(|r| r["namespace"] == namespace && r["workload"]["name"] == name)
    };
    ensure!(
        row("inventory", "scorer").is_some_and(|r| r["system"] == "scorer" && r["pods"] == 2),
        "{rows:?}"
    );
    ensure!(row("inventory-shadow", "plain").is_some_and(|r| r["system"].is_null()), "{rows:?}");
    ensure!(row("inventory-shadow", "server").is_none(), "what was typed takes the place of the chart's");
    let shadow = ["inventory", "-A", "--shadow", "--assent-namespace=elsewhere"];
    let said = assent(&scene, Person::Admin, &shadow).await?;
    ensure!(
        said.stderr.contains("images are not looked at") && said.stdout.contains("deployment/gpu"),
        "{said:?}"
    );
    ensure!(!said.stdout.contains("deployment/scorer"), "{said:?}");
    Ok(())
}
