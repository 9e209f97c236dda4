//! The real `kubectl assent`, run by several people with their own kubeconfigs.

use std::{os::unix::fs::PermissionsExt, time::Duration};

use anyhow::{Context, Result, ensure};
use assent_tests::{
    ControlPlane, ON_A_TERMINAL, Output, Person, SOON, Scenario, binaries, container, digest, root, until,
};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    time::timeout,
};

pub async fn two_people_approve_the_version_that_they_are_shown(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "plugin-approve", "high").await?;
    let subject = scene.publish("v1", &container("1")).await?;
    scene.apply(Person::Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.held("scorer", 2).await?;
    let said = scene.assent(Person::Alice, &["approve", "scorer", "--yes"]).await?.ok()?;
    for shown in [
        "Scores.",
        "--model=scorer",
        "registry.example/scorer@sha256:",
        &subject.to_string(),
        "ethics-board",
        "risk-officer",
    ] {
        ensure!(said.contains(shown), "{shown:?} was not shown: {said}");
    }
    ensure!(!said.contains('\u{1b}'), "the output to a pipe has colours: {said:?}");
    let said = scene.assent(Person::Bob, &["approve", "scorer", "--yes"]).await?.ok()?;
    ensure!(said.contains("v1 of scorer is cleared until"), "{said}");
    scene.running("scorer", 2).await?;
    let revoked = ["revoke", "scorer", "--role=risk-officer", "--reason=an incident", "--yes"];
    scene.assent(Person::Carol, &revoked).await?.ok()?;
    scene.held("scorer", 2).await?;
    // An approval counts only if it is created in a later second than the revocation. The plugin waits for this second.
    scene.assent(Person::Alice, &["approve", "scorer", "--yes"]).await?.ok()?;
    let said = scene.assent(Person::Bob, &["reject", "scorer", "--yes"]).await?;
    ensure!(said.status.code() == Some(2) && said.stderr.contains("--reason"), "{said:?}");
    scene.assent(Person::Bob, &["approve", "scorer", "--yes"]).await?.ok()?;
    scene.running("scorer", 2).await.map(drop)
}

pub async fn approve_needs_the_current_digest_a_confirmation_and_the_role(
    cluster: &ControlPlane,
) -> Result<()> {
    let scene = Scenario::new(cluster, "plugin-refuses", "high").await?;
    let subject = scene.publish("v1", &container("1")).await?;
    let outdated = digest('0');
    let said = scene.assent(Person::Alice, &["approve", "scorer", "--yes", "--digest", &outdated]).await?;
    ensure!(said.status.code() == Some(1), "{said:?}");
    ensure!(said.stderr.contains(&outdated) && said.stderr.contains(&subject.to_string()), "{}", said.stderr);
    let said = scene.assent(Person::Alice, &["approve", "scorer"]).await?;
    ensure!(
        said.status.code() == Some(2) && said.stderr.contains("--yes"),
        "approve asked no confirmation without a terminal: {said:?}"
    );
    let said =
        scene.assent(Person::Dev, &["approve", "scorer", "--role=risk-officer", "--yes"]).await?.denied()?;
    ensure!(said.contains("does not hold the role risk-officer"), "{said}");
    ensure!(scene.list("approvals").await?.is_empty(), "an Approval was created");
    Ok(())
}

pub async fn status_and_explain_name_the_missing_approvals(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "plugin-explains", "high").await?;
    scene.publish("v1", &container("1")).await?;
    scene.apply(Person::Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.apply(Person::Dev, &scene.pod("other", &container("2"))).await?;
    scene.held("scorer", 2).await?;
    let said = scene.assent(Person::Alice, &["status"]).await?.ok()?;
    for word in ["SYSTEM", "WAITING FOR", "scorer", "high", "risk-officer", "ethics-board"] {
        ensure!(said.contains(word), "{word:?} is missing: {said}");
    }
    let json: Value =
        serde_json::from_str(&scene.assent(Person::Alice, &["status", "-o=json"]).await?.ok()?)?;
    ensure!(json.to_string().contains("scorer"), "{json}");
    let said = scene.assent(Person::Dev, &["explain", "deployment/scorer"]).await?.ok()?;
    for word in ["kubectl assent approve scorer --version v1 --role risk-officer", "ethics-board", "held"] {
        ensure!(said.contains(word), "{word:?} is missing: {said}");
    }
    let said = scene.assent(Person::Dev, &["explain", "pod/other"]).await?.ok()?;
    ensure!(
        said.contains("--revision=1") && said.contains("--revision=2"),
        "the difference is not shown: {said}"
    );
    for image in ["registry.example/scorer", &digest('a')] {
        let said = scene.assent(Person::Dev, &["explain", &format!("image/{image}")]).await?.ok()?;
        for word in
            ["PODS scorer-", "POD other: held until cleared", "v1 is not cleared", "--role risk-officer"]
        {
            ensure!(said.contains(word), "{word:?} is missing: {said}");
        }
    }
    let said = scene.assent(Person::Dev, &["explain", "image/registry.example/unknown"]).await?.ok()?;
    ensure!(
        said.contains("no pod in this namespace has it") && said.contains("no ModelVersion names it"),
        "{said}"
    );
    let said = scene.assent(Person::Dev, &["explain", "pod/nobody"]).await?;
    ensure!(said.status.code() == Some(1) && said.stderr.contains("nobody"), "{said:?}");
    Ok(())
}

pub async fn a_plain_manifest_approves_a_version(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "plain-manifest", "limited").await?;
    let subject = scene.publish("v1", &container("1")).await?;
    let approval = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "Approval",
        "metadata": { "name": "v1-risk-officer", "namespace": scene.namespace },
        "spec": { "system": "scorer", "modelVersion": "v1", "role": "risk-officer", "decision": "Approve", "subjectDigest": subject } });
    let (apply, approval) = (["apply", "-f", "-"], approval.to_string());
    cluster.kubectl_stdin(Person::Alice, &apply, &approval).await?.ok()?;
    scene.is_cleared("v1").await?;
    let signed = scene.get("approval", "v1-risk-officer").await?;
    ensure!(signed["spec"]["approver"]["user"] == "alice", "{signed}");
    until(Duration::from_secs(10), "the end of the approval from the validity of the level", async || {
        let signed = scene.get("approval", "v1-risk-officer").await?;
        Ok(signed["status"]["notAfter"].is_string().then_some(()))
    })
    .await?;
    let again = cluster.kubectl_stdin(Person::Alice, &apply, &approval).await?.ok()?;
    ensure!(again.contains("unchanged"), "the second apply changed the Approval: {again}");
    Ok(())
}

/// `status --as-if-enforced` lists exactly the pods that stop when the namespace gets the mode `enforce`.
pub async fn status_as_if_enforced_lists_the_pods_that_enforcing_stops(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::governed_by(cluster, "rehearses", "high", &json!({})).await?;
    let dry_run = async |more: &[&str]| -> Result<Vec<Value>> {
        let args = [&["status", "--as-if-enforced", "-o=json"], more].concat();
        Ok(serde_json::from_str(&scene.assent(Person::Dev, &args).await?.ok()?)?)
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
    ensure!(workloads(&dry_run(&["--scope=labelled"]).await?) == ["Deployment/other"]);
    ensure!(workloads(&dry_run(&["--scope=accelerated"]).await?) == ["Deployment/other", "Pod/gpu"]);
    let rows = dry_run(&[]).await?;
    ensure!(workloads(&rows) == ["Deployment/other", "Pod/gpu", "Pod/plain"], "{rows:?}");
    ensure!(rows[0]["pods"].as_array().is_some_and(|pods| pods.len() == 2), "{rows:?}");
    let batch = json!({ "containers": [container("3")], "automountServiceAccountToken": false });
    let mut nightly = scene.workload("batch/v1", "CronJob", "nightly", &batch);
    nightly["spec"]["schedule"] = json!("0 0 1 1 *");
    scene.apply(Person::Dev, &nightly).await?;
    let with_cron_job = workloads(&dry_run(&[]).await?);
    ensure!(
        with_cron_job.last().map(String::as_str) == Some("CronJob/nightly"),
        "a CronJob without a Job is missing: {with_cron_job:?}"
    );
    let said = scene.assent(Person::Dev, &["status", "--as-if-enforced"]).await?.ok()?;
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

pub async fn inventory_lists_ai_workloads_without_a_system(cluster: &ControlPlane) -> Result<()> {
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
    // This CronJob has no pod and uses no accelerator. So the inventory can find it only by its image.
    let predictor = json!({ "containers": [{ "name": "c", "image": "kserve/sklearnserver:v1" }] });
    let mut nightly = other.workload("batch/v1", "CronJob", "nightly", &predictor);
    nightly["spec"]["schedule"] = json!("0 0 1 1 *");
    nightly["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]["assent.dev/system"] =
        Value::Null;
    other.apply(Person::Dev, &nightly).await?;
    let said = other.assent(Person::Dev, &["inventory"]).await?.ok()?;
    let lines: Vec<_> =
        said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    ensure!(
        lines
            == [
                "WORKLOAD PODS SYSTEM FOUND BY",
                "deployment/gpu 2 none nvidia.com/gpu",
                "deployment/server 2 none image ollama/ollama:latest",
                "cronjob/nightly 0 none image kserve/sklearnserver:v1",
            ],
        "{said}"
    );
    let denied = other.assent(Person::Dev, &["inventory", "-A"]).await?.denied()?;
    ensure!(denied.contains("cannot read the"), "{denied}");
    let all = ["inventory", "-A", "-o=json", "--image-pattern=c"];
    let rows: Vec<Value> = serde_json::from_str(&scene.assent(Person::Admin, &all).await?.ok()?)?;
    let row = |namespace: &str, name: &str| {
        rows.iter().find(|r| r["namespace"] == namespace && r["workload"]["name"] == name)
    };
    ensure!(
        row("inventory", "scorer").is_some_and(|r| r["system"] == "scorer" && r["pods"] == 2),
        "{rows:?}"
    );
    ensure!(row("inventory-shadow", "plain").is_some_and(|r| r["system"].is_null()), "{rows:?}");
    ensure!(
        row("inventory-shadow", "server").is_none(),
        "--image-pattern does not replace the patterns of the chart: {rows:?}"
    );
    let shadow = ["inventory", "-A", "--shadow", "--assent-namespace=elsewhere"];
    let said = scene.assent(Person::Admin, &shadow).await?;
    ensure!(
        said.stderr.contains("searching only for the built-in accelerators")
            && said.stdout.contains("deployment/gpu"),
        "{said:?}"
    );
    ensure!(!said.stdout.contains("deployment/scorer"), "{said:?}");
    Ok(())
}

pub async fn who_can_lists_the_roles_and_their_holders(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "who-can", "high").await?;
    let ask = async |person, act: &str| -> Result<Vec<Value>> {
        let said = scene.assent(person, &["who-can", act, "scorer", "-o=json"]).await?.ok()?;
        Ok(serde_json::from_str(&said)?)
    };
    let rows = ask(Person::Alice, "approve").await?;
    let role = |rows: &[Value], name: &str| rows.iter().find(|row| row["role"] == name).cloned();
    let (risk, ethics) = (role(&rows, "risk-officer"), role(&rows, "ethics-board"));
    ensure!(rows.len() == 2, "level high requires two roles: {rows:?}");
    ensure!(risk.is_some_and(|r| r["you"] == true && r["needed"] == 1), "alice holds the role: {rows:?}");
    ensure!(
        ethics.is_some_and(|r| r["you"] == false && r["holders"].is_null()),
        "alice cannot read RBAC, but sees holders: {rows:?}"
    );
    let said = scene.assent(Person::Alice, &["who-can", "approve", "scorer"]).await?;
    ensure!(said.stdout.contains("not known"), "{said:?}");
    ensure!(said.stderr.contains("you may not list clusterroles and clusterrolebindings"), "{said:?}");
    ensure!(said.stderr.contains("One person fills one role"), "{said:?}");

    let rows = ask(Person::Admin, "approve").await?;
    let ethics = role(&rows, "ethics-board").unwrap_or_default();
    ensure!(ethics["holders"].to_string().contains(r#""Group ethics-board""#), "{rows:?}");
    // If the group `ethics-board` owns the system, approvals by the members of this group do not count.
    let mut system = scene.system("high");
    system["spec"]["owners"] = json!([{ "kind": "Group", "name": "ethics-board" }]);
    scene.apply(Person::Admin, &system).await?;
    let owners = |rows: &[Value]| role(rows, "ethics-board").map(|row| row["owners"].to_string());
    let excluded = owners(&ask(Person::Admin, "approve").await?);
    ensure!(excluded.as_deref() == Some(r#"["Group ethics-board"]"#), "{excluded:?}");
    ensure!(
        owners(&ask(Person::Admin, "revoke").await?).as_deref() == Some("[]"),
        "owners are excluded from revoking"
    );
    let said = scene.assent(Person::Admin, &["who-can", "approve", "scorer"]).await?.ok()?;
    ensure!(said.contains("Group ethics-board (owner: does not count)"), "{said}");
    let said = scene.assent(Person::Admin, &["who-can", "approve"]).await?.ok()?;
    ensure!(said.starts_with("ROLE ") && said.contains("RISK LEVELS"), "{said}");
    Ok(())
}

pub async fn history_lists_the_changes_of_a_system_in_order(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "history", "limited").await?;
    scene.clear("v1", &container("1")).await?;
    scene.apply(Person::Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.running("scorer", 2).await?;
    let revoke = ["revoke", "scorer", "--role=risk-officer", "--reason=scores drift", "--yes"];
    scene.assent(Person::Alice, &revoke).await?.ok()?;
    scene.held("scorer", 2).await?;
    scene.event("AISystem", "scorer", "ClearanceLost").await?;
    let said = scene.assent(Person::Alice, &["history", "scorer", "-o=json"]).await?.ok()?;
    let entries: Vec<Value> = serde_json::from_str(&said)?;
    let at = |what: &str| entries.iter().position(|entry| entry["what"] == what);
    let order = ["Described", "Published", "Approved", "Revoked", "ClearanceLost"].map(at);
    ensure!(order.iter().all(Option::is_some) && order.is_sorted(), "{order:?}: {said}");
    let revocations = entries.iter().filter(|entry| entry["what"] == "Revoked").count();
    ensure!(revocations == 1, "a decision is listed more than once: {said}");
    let revoked = &entries[at("Revoked").unwrap_or_default()];
    ensure!(revoked["who"] == "alice" && revoked["role"] == "risk-officer", "{revoked}");
    ensure!(revoked["version"] == "v1" && revoked["note"] == "scores drift", "{revoked}");
    let approved = |entry: &&Value| entry["what"] == "Approved" && entry["role"] == "risk-officer";
    let note = entries.iter().find(approved).and_then(|approved| approved["note"].as_str());
    ensure!(note.is_some_and(|note| note.contains("[Revoked]")), "{note:?}: {said}");
    let said = scene.assent(Person::Alice, &["history", "scorer"]).await?.ok()?;
    ensure!(said.starts_with("TIME ") && said.contains("alice as risk-officer"), "{said}");
    let all = scene.assent(Person::Admin, &["history", "-A", "-o=json"]).await?.ok()?;
    let all: Vec<Value> = serde_json::from_str(&all)?;
    let here = |entry: &&Value| entry["namespace"] == "history" && entry["system"] == "scorer";
    ensure!(
        all.iter().filter(here).count() == entries.len(),
        "history -A has {all:?}, and history scorer has {said}"
    );
    let table = scene.assent(Person::Admin, &["history", "-A"]).await?.ok()?;
    ensure!(table.lines().next().is_some_and(|head| head.contains("NAMESPACE")), "{table}");

    // The RBAC role below is like a role that was written before the kind SystemHistory existed. Its users may not read
    // this kind.
    let reads = json!({ "apiGroups": ["assent.dev"], "verbs": ["get", "list"],
        "resources": ["aisystems", "modelversions", "approvals", "risklevels", "approverroles"] });
    let role = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": { "name": "old-reader" }, "rules": [reads] });
    scene.apply(Person::Admin, &role).await?;
    let bind = ["create", "clusterrolebinding", "old-reader", "--clusterrole=old-reader", "--user=reader"];
    cluster.kubectl(Person::Admin, &bind).await?.ok()?;
    let said = scene.assent(Person::Admin, &["history", "scorer", "--as=reader"]).await?;
    ensure!(said.stderr.contains("You may not get systemhistories"), "{said:?}");
    ensure!(said.ok()?.contains("alice as risk-officer"), "the decisions are not shown");
    let said = scene.assent(Person::Admin, &["history", "-A", "--as=reader"]).await?;
    ensure!(said.stderr.contains("You may not list systemhistories"), "{said:?}");
    ensure!(said.ok()?.contains("alice as risk-officer"), "the decisions of all systems are not shown");
    let missing = scene.assent(Person::Alice, &["history", "scorre"]).await?;
    ensure!(
        missing.status.code() == Some(1) && missing.stderr.contains("there is no AISystem"),
        "{missing:?}"
    );
    Ok(())
}

pub async fn status_expiring_lists_clearances_that_end_soon(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "expiring", "limited").await?;
    let digest = scene.publish("v1", &container("1")).await?;
    let within = async |time: &str| scene.assent(Person::Alice, &["status", "--expiring", time]).await;
    let none = within("90d").await?;
    ensure!(
        none.stdout.is_empty() && none.stderr.contains("No clearance in namespace expiring ends by "),
        "a clearance is listed before any approval: {none:?}"
    );
    let mut approval = scene.decision("Approve", "v1", &digest, "risk-officer");
    approval["spec"]["notAfter"] = json!(Timestamp::now() + SignedDuration::from_hours(10 * 24));
    scene.decide(Person::Alice, &approval).await?;
    scene.is_cleared("v1").await?;
    ensure!(within("9d").await?.ok()?.is_empty(), "a clearance that ends in ten days is listed for 9d");
    ensure!(
        within("14d").await?.ok()?.contains("scorer"),
        "a clearance that ends in ten days is missing for 14d"
    );
    let wrong = within("soon").await?;
    ensure!(wrong.status.code() == Some(2) && wrong.stderr.contains("a duration such as 90d"), "{wrong:?}");
    Ok(())
}

pub async fn capture_writes_a_version_that_matches_the_workload(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "capture", "limited").await?;
    scene.apply(Person::Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.held("scorer", 2).await?;
    let said = scene.assent(Person::Dev, &["capture", "deployment/scorer", "--version=v1"]).await?;
    ensure!(said.stderr.is_empty(), "there is a warning about an image with a digest: {}", said.stderr);
    scene.cluster.kubectl_stdin(Person::Admin, &["apply", "-f", "-"], &said.ok()?).await?.ok()?;
    let digest = scene.digest_of("v1").await?;
    scene.decide(Person::Alice, &scene.decision("Approve", "v1", &digest, "risk-officer")).await?;
    scene.running("scorer", 2).await?;
    let pod = scene.pods("scorer").await?.remove(0);
    let pod = format!("pod/{}", pod["metadata"]["name"].as_str().unwrap_or_default());
    let of_pod = scene.assent(Person::Dev, &["capture", &pod, "-o=json"]).await?.ok()?;
    let of_workload = scene.assent(Person::Dev, &["capture", "deploy", "scorer", "-o=json"]).await?.ok()?;
    ensure!(of_pod == of_workload, "the pod gives {of_pod}, and the workload gives {of_workload}");
    ensure!(of_pod.contains(r#""name": "scorer-"#), "the version has no generated name: {of_pod}");

    let mut unlabelled = scene.deployment("nobodys", &container("1"));
    unlabelled["spec"]["template"]["metadata"]["labels"] = json!({ "app": "nobodys" });
    scene.apply(Person::Dev, &unlabelled).await?;
    let said = scene.assent(Person::Dev, &["capture", "deployment/nobodys"]).await?;
    ensure!(said.status.code() == Some(2) && said.stderr.contains("--system SYSTEM"), "{said:?}");
    scene.assent(Person::Dev, &["capture", "deployment/nobodys", "--system=scorer"]).await?.ok()?;
    Ok(())
}

pub async fn capture_names_the_digest_that_the_nodes_report(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::governed_by(cluster, "capture-tag", "limited", &json!({})).await?;
    let mut by_tag = container("1");
    by_tag["image"] = json!("registry.example:5000/scorer:1");
    scene.apply(Person::Dev, &scene.deployment("scorer", &by_tag)).await?;
    scene.running("scorer", 2).await?;
    let capture = async || scene.assent(Person::Dev, &["capture", "deployment/scorer"]).await;
    let unknown = capture().await?;
    ensure!(unknown.stderr.contains("no node has reported its digest yet"), "{unknown:?}");
    // The simulated nodes do not write `imageID`, so the test writes `imageID` as a kubelet does.
    let report = async |pod: &Value, of: char| {
        let id = format!("registry.example:5000/scorer@{}", digest(of));
        let patch = json!([{ "op": "add", "path": "/status/containerStatuses/0/imageID", "value": id }]);
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let patch = ["patch", "pod", name, "--subresource=status", "--type=json", "-p", &patch.to_string()];
        scene.kubectl(Person::Admin, &patch).await
    };
    let pods = scene.pods("scorer").await?;
    report(&pods[0], 'a').await?;
    report(&pods[1], 'b').await?;
    let differ = capture().await?;
    ensure!(differ.status.code() == Some(1) && differ.stderr.contains("different images"), "{differ:?}");
    report(&pods[1], 'a').await?;
    let said = capture().await?;
    let image = format!("registry.example:5000/scorer:1@{}", digest('a'));
    ensure!(said.stdout.contains(&image), "{said:?}");
    ensure!(said.stderr.is_empty(), "the API server pins, so the workload needs no change: {said:?}");
    // A pod that names the digest gives the same version, whatever digest the node reports for its platform.
    by_tag["image"] = json!(image);
    scene.apply(Person::Dev, &scene.deployment("pinned", &by_tag)).await?;
    scene.running("pinned", 2).await?;
    report(&scene.pods("pinned").await?[0], 'c').await?;
    let pinned = scene.assent(Person::Dev, &["capture", "deployment/pinned"]).await?;
    ensure!(
        pinned.stderr.is_empty() && pinned.stdout == said.stdout,
        "the pinned workload gives {pinned:?} and not {said:?}"
    );
    Ok(())
}

async fn roll_out(scene: &Scenario<'_>, said: &Output) -> Result<()> {
    let command = said.stderr.lines().map(str::trim).find(|line| line.starts_with("kubectl "));
    let command = command.with_context(|| format!("capture printed no command: {said:?}"))?;
    ensure!(command.starts_with("kubectl patch deployment/scorer"), "{command}");
    scene
        .cluster
        .run(scene.cluster.account(Person::Dev), "bash", &["-c", command], None)
        .await?
        .ok()
        .map(drop)
}

pub async fn capture_starts_from_the_newest_version_and_rolls_out_once(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::governed_by(cluster, "capture-again", "limited", &json!({})).await?;
    let mut first = scene.version("v1", &container("1"));
    first["spec"]["runtime"]["containers"][0]["mayVary"] = json!({ "env": ["LOG_LEVEL"] });
    first["spec"]["provenance"] = json!({ "rationale": "First version." });
    scene.apply(Person::Dev, &first).await?;
    let mut next = container("2");
    next["env"] = json!([{ "name": "MODE", "value": "batch" }, { "name": "LOG_LEVEL", "value": "debug" }]);
    let mut deployment = scene.deployment("scorer", &next);
    deployment["spec"]["template"]["metadata"]["labels"]["assent.dev/system"] = Value::Null;
    scene.apply(Person::Dev, &deployment).await?;
    let capture = ["capture", "deployment/scorer", "--system=scorer", "-o=json"];
    let said = scene.assent(Person::Dev, &capture).await?;
    let version: Value = serde_json::from_str(&said.stdout)?;
    ensure!(version["spec"]["provenance"]["rationale"] == "First version.", "{version}");
    let captured = &version["spec"]["runtime"]["containers"][0];
    ensure!(captured["mayVary"]["env"] == json!(["LOG_LEVEL"]), "{captured}");
    ensure!(captured["env"].as_array().is_some_and(|env| env.len() == 1), "{captured}");
    ensure!(said.stderr.contains("+  - --revision=2") && said.stderr.contains("v1"), "{}", said.stderr);
    ensure!(!said.stderr.contains("LOG_LEVEL"), "{}", said.stderr);
    roll_out(&scene, &said).await?;
    let labels = scene.get("deployment", "scorer").await?["spec"]["template"]["metadata"]["labels"].take();
    ensure!(labels["assent.dev/system"] == "scorer", "{labels}");
    scene.cluster.kubectl_stdin(Person::Admin, &["apply", "-f", "-"], &said.stdout).await?.ok()?;
    let again = scene.assent(Person::Dev, &["capture", "deployment/scorer"]).await?;
    ensure!(again.stderr.contains("no new version is needed"), "{again:?}");
    Ok(())
}

pub async fn completion_lists_commands_and_objects_of_the_cluster(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "completion", "limited").await?;
    scene.publish("v1", &container("1")).await?;
    scene.apply(Person::Dev, &scene.pod("alone", &container("1"))).await?;
    let script = scene.assent(Person::Alice, &["completion"]).await?.ok()?;
    let directory = tempfile::tempdir()?;
    let helper = directory.path().join("kubectl_complete-assent");
    std::fs::write(&helper, script)?;
    std::fs::set_permissions(&helper, PermissionsExt::from_mode(0o755))?;
    // In every shell, the completion of kubectl runs `kubectl __complete`.
    let complete_as = async |person, words: &str| {
        let path = format!("export PATH={}:{}:$PATH", directory.path().display(), binaries()?.display());
        let script = format!("{path}; kubectl __complete assent {words}");
        cluster.run(cluster.account(person), "bash", &["-c", &script], None).await?.ok()
    };
    let complete = async |words: &str| complete_as(Person::Alice, words).await;
    let said = complete("app").await?;
    ensure!(said.lines().any(|line| line.starts_with("approve\tReview a version")), "{said}");
    let said = complete("approve -n completion sco").await?;
    ensure!(said.lines().next() == Some("scorer"), "{said}");
    let said = complete("approve scorer -n completion --version ''").await?;
    ensure!(said.lines().next() == Some("v1"), "{said}");
    for (words, first) in [
        ("approve scorer -n completion --role risk", "risk-officer"),
        ("status --level limi", "limited"),
        ("status -n compl", "completion"),
        ("explain -n completion pod/alo", "pod/alone"),
        ("explain -n completion modelversion/", "modelversion/v1"),
    ] {
        let said = complete_as(Person::Admin, words).await?;
        ensure!(said.lines().next() == Some(first), "{words}: {said}");
    }
    let said = complete("status --kubeconfig /nonexistent sco").await?;
    ensure!(said.trim() == ":4", "completion without a cluster must print no names and no error: {said}");
    Ok(())
}

async fn at_a_terminal(scene: &Scenario<'_>, person: Person, args: &[&str], typed: &str) -> Result<Output> {
    let plugin = binaries()?.join("kubectl-assent").display().to_string();
    let words = [&[plugin.as_str()], args, &["-n", &scene.namespace]].concat();
    let line = format!("NO_COLOR=1 '{}'", words.join("' '"));
    let args = ["-c", ON_A_TERMINAL, &line];
    scene.cluster.run(scene.cluster.account(person), "bash", &args, Some(typed)).await
}

pub async fn approve_interactive_shows_each_pending_version(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "walk", "high").await?;
    let digest = scene.publish("v1", &container("1")).await?;
    scene.publish("v2", &container("2")).await?;
    // Bob's approval ends soon, so the plugin asks him to renew it. Alice's approval does not end soon.
    let mut short = scene.decision("Approve", "v1", &digest, "ethics-board");
    short["spec"]["notAfter"] = json!(Timestamp::now() + SignedDuration::from_hours(10 * 24));
    scene.decide(Person::Bob, &short).await?;
    scene.decide(Person::Alice, &scene.decision("Approve", "v1", &digest, "risk-officer")).await?;
    scene.is_cleared("v1").await?;

    let walk = ["approve", "--interactive"];
    let piped = scene.assent(Person::Alice, &walk).await?;
    ensure!(piped.status.code() == Some(2) && piped.stderr.contains("needs a terminal"), "{piped:?}");
    let none = at_a_terminal(&scene, Person::Dev, &walk, "").await?.ok()?;
    ensure!(none.contains("Nothing waits for you."), "dev holds no role: {none}");

    let said = at_a_terminal(&scene, Person::Alice, &walk, "\n").await?.ok()?;
    ensure!(
        said.contains("1 of 1: v2 of scorer") && said.contains("0 signed, 0 rejected, 1 skipped"),
        "{said}"
    );
    let said = at_a_terminal(&scene, Person::Bob, &walk, "scorer\nscorer\n").await?.ok()?;
    let order = ["1 of 2: v2 of scorer", "2 of 2: v1 of scorer", "2 signed, 0 rejected, 0 skipped"];
    ensure!(order.map(|text| said.find(text)).is_sorted() && said.contains(order[2]), "{said}");
    ensure!(said.contains("stays cleared to run until"), "Bob does not see that he renews: {said}");
    let said = at_a_terminal(&scene, Person::Alice, &walk, "scorer\n").await?.ok()?;
    ensure!(said.contains("v2 of scorer is cleared until"), "{said}");
    let none = at_a_terminal(&scene, Person::Bob, &walk, "").await?.ok()?;
    ensure!(none.contains("Nothing waits for you."), "{none}");
    Ok(())
}

pub async fn approve_interactive_can_reject_and_quit(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "inbox", "limited").await?;
    scene.publish("v1", &container("1")).await?;
    let walk = ["approve", "--interactive"];
    let said = at_a_terminal(&scene, Person::Alice, &walk, "q\n").await?.ok()?;
    ensure!(said.contains("0 signed, 0 rejected, 1 skipped"), "{said}");
    let said = at_a_terminal(&scene, Person::Alice, &walk, "what\nr\nno bias test\ny\n").await?.ok()?;
    ensure!(said.contains("0 signed, 1 rejected, 0 skipped"), "{said}");
    let message = scene.condition("modelversion", "v1", "Cleared", "False", "Rejected").await?;
    ensure!(message.contains("no bias test"), "{message}");
    Ok(())
}

pub async fn tables_fit_a_terminal_of_80_columns(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "narrow", "limited").await?;
    scene.clear("v1", &container("1")).await?;
    let why = format!("no bias test for applicants {}", "under 25 ".repeat(20));
    scene.publish("v2", &container("2")).await?;
    let reject = ["reject", "scorer", "--version=v2", "--role=risk-officer", "--yes", "--reason", &why];
    scene.assent(Person::Alice, &reject).await?.ok()?;
    let plugin = binaries()?.join("kubectl-assent").display().to_string();
    for args in
        ["status -A", "status scorer", "history scorer", "who-can approve scorer", "explain aisystem/scorer"]
    {
        let line = format!("stty cols 80 rows 40; NO_COLOR=1 '{plugin}' {args} -n {}", scene.namespace);
        let said = cluster
            .run(cluster.account(Person::Admin), "bash", &["-c", ON_A_TERMINAL, &line], None)
            .await?
            .ok()?;
        // The plugin does not wrap a command, so that the user can copy it.
        let wide =
            said.lines().find(|line| line.trim_end().chars().count() > 80 && !line.contains("kubectl"));
        ensure!(wide.is_none(), "{args}: {wide:?}\n{said}");
    }
    let piped = scene.assent(Person::Admin, &["status"]).await?.ok()?;
    ensure!(
        piped.contains("VERSIONS") && piped.contains("PODS(running/held)"),
        "the output to a pipe lacks columns: {piped}"
    );
    Ok(())
}

pub async fn a_clearance_that_ends_soon_is_announced_and_can_be_renewed(
    cluster: &ControlPlane,
) -> Result<()> {
    let scene = Scenario::new(cluster, "renew", "limited").await?;
    let digest = scene.publish("v1", &container("1")).await?;
    let ends_in = |hours| {
        let mut approval = scene.decision("Approve", "v1", &digest, "risk-officer");
        approval["spec"]["notAfter"] = json!(Timestamp::now() + SignedDuration::from_hours(hours));
        approval
    };
    let expiring = async |kind: &str, name: &str| -> Result<Value> {
        let conditions = scene.get(kind, name).await?["status"]["conditions"].take();
        let of_it = |c: &&Value| c["type"] == "ClearanceExpiring";
        Ok(conditions.as_array().into_iter().flatten().find(of_it).cloned().unwrap_or_default())
    };
    scene.decide(Person::Alice, &ends_in(10 * 24)).await?;
    scene.is_cleared("v1").await?;
    let of_version = expiring("modelversion", "v1").await?;
    ensure!(of_version["reason"] == "Within14Days", "{of_version}");
    let of_system = until(SOON, "the condition ClearanceExpiring of the system", async || {
        let of_system = expiring("aisystem", "scorer").await?;
        Ok((of_system["reason"] == "Within14Days").then_some(of_system))
    });
    let of_system = of_system.await?;
    let message = of_system["message"].as_str().unwrap_or_default();
    ensure!(message.contains("but not after that: approval by role risk-officer expired"), "{message}");
    let events = async || -> Result<usize> {
        let events = scene.list("events.v1.events.k8s.io").await?;
        Ok(events.iter().filter(|event| event["reason"] == "ClearanceExpiring").count())
    };
    ensure!(events().await? == 0, "an Event repeats what the approver has just seen");

    // After a renewal, the clearance no longer ends soon. After a revocation, no clearance exists, so nobody can renew
    // it.
    let revoke = ["revoke", "scorer", "--reason=shorter", "--yes"];
    scene.assent(Person::Alice, &["renew", "scorer", "--yes"]).await?.ok()?;
    until(SOON, "the condition ClearanceExpiring to disappear", async || {
        Ok(expiring("modelversion", "v1").await?.is_null().then_some(()))
    })
    .await?;
    let said = scene.assent(Person::Alice, &["status", "--expiring", "30d"]).await?;
    ensure!(said.stdout.is_empty(), "a renewed clearance is listed: {said:?}");
    scene.assent(Person::Alice, &revoke).await?.ok()?;
    let nothing = scene.assent(Person::Alice, &["renew", "scorer", "--yes"]).await?;
    ensure!(
        nothing.status.code() == Some(2) && nothing.stderr.contains("has a clearance that ends"),
        "{nothing:?}"
    );

    // The scheduled decommission ends the clearance earlier than the approval would end it.
    scene.assent(Person::Alice, &["approve", "scorer", "--yes"]).await?.ok()?;
    scene.is_cleared("v1").await?;
    let end = ["decommission", "scorer", "--date=6d", "--reason=the pilot ends", "--yes"];
    let said = scene.assent(Person::Dev, &end).await?.ok()?;
    ensure!(said.contains("until then you can undo it"), "{said}");
    let note = scene.event("AISystem", "scorer", "ClearanceExpiring").await?;
    ensure!(
        note.contains("but not after that: decommissioned since") && note.contains("the pilot ends"),
        "{note}"
    );
    // The operator sends the Event before it writes the conditions, so the test waits for the condition.
    until(SOON, "the condition ClearanceExpiring to have the next step", async || {
        Ok((expiring("modelversion", "v1").await?["reason"] == "Within7Days").then_some(()))
    })
    .await
}

pub async fn decommission_lists_what_stops_and_refuses_a_system_with_dependents(
    cluster: &ControlPlane,
) -> Result<()> {
    let scene = Scenario::new(cluster, "decommission", "limited").await?;
    scene.clear("v1", &container("1")).await?;
    scene.apply(Person::Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.running("scorer", 2).await?;
    let mut needing = scene.system("limited");
    needing["metadata"]["name"] = json!("front");
    needing["spec"]["dependsOn"] = json!([{ "name": "scorer" }]);
    scene.apply(Person::Admin, &needing).await?;

    let end = ["decommission", "scorer", "--reason=replaced"];
    let needed = scene.assent(Person::Dev, &end).await?;
    ensure!(
        needed.status.code() == Some(1)
            && needed.stderr.contains("other systems depend on it: decommission/front"),
        "{needed:?}"
    );
    ensure!(needed.stderr.contains("--force"), "{needed:?}");
    let missing = scene.assent(Person::Dev, &[&end[..], &["--successor=nobody", "--force"]].concat()).await?;
    ensure!(missing.stderr.contains("there is no AISystem nobody"), "{missing:?}");
    let why = scene.assent(Person::Dev, &["decommission", "scorer", "--force", "--yes"]).await?;
    ensure!(why.status.code() == Some(2) && why.stderr.contains("--reason is required"), "{why:?}");
    let piped = scene.assent(Person::Dev, &[&end[..], &["--force"]].concat()).await?;
    ensure!(
        piped.status.code() == Some(2) && piped.stdout.contains("deployment/scorer: 2 pods"),
        "{piped:?}"
    );
    scene.running("scorer", 2).await?;

    let kept = json!({ "metadata": { "labels": { "kustomize.toolkit.fluxcd.io/name": "apps" } } });
    scene
        .kubectl(Person::Admin, &["patch", "aisystem", "scorer", "--type=merge", "-p", &kept.to_string()])
        .await?;
    let args = ["decommission", "scorer", "--reason=replaced", "--successor=front", "--force"];
    let said = at_a_terminal(&scene, Person::Dev, &args, "yes\n").await?;
    ensure!(
        said.status.code() == Some(1) && said.stdout.contains("Flux (apps) applies this system"),
        "{said:?}"
    );
    let said = at_a_terminal(&scene, Person::Dev, &args, "scorer\n").await?.ok()?;
    ensure!(said.contains("scorer is decommissioned"), "{said}");
    scene.held("scorer", 2).await?;
    let system = scene.get("aisystem", "scorer").await?;
    ensure!(system["spec"]["decommission"]["successor"] == "front", "{system}");
    let again = scene.assent(Person::Dev, &[&end[..], &["--force", "--yes"]].concat()).await?;
    ensure!(again.stderr.contains("and this is final: replaced"), "{again:?}");
    Ok(())
}

pub async fn capture_reads_a_manifest_without_a_cluster(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "capture-file", "limited").await?;
    let offline = async |manifest: &Value, more: &[&str]| -> Result<Output> {
        let plugin = binaries()?.join("kubectl-assent").display().to_string();
        let args = [&["KUBECONFIG=/nonexistent", &plugin, "capture", "-f", "-"], more].concat();
        cluster.run(cluster.account(Person::Dev), "env", &args, Some(&manifest.to_string())).await
    };
    let deployment = scene.deployment("scorer", &container("1"));
    let said = offline(&deployment, &[]).await?.ok()?;
    scene.apply(Person::Dev, &deployment).await?;
    let from_cluster = scene.assent(Person::Dev, &["capture", "deployment/scorer"]).await?.ok()?;
    ensure!(said == from_cluster, "the file gives {said}, and the cluster gives {from_cluster}");
    let two = json!({ "apiVersion": "v1", "kind": "List",
        "items": [deployment, scene.deployment("other", &container("2"))] });
    let list: Value = serde_json::from_str(&offline(&two, &["-o=json"]).await?.ok()?)?;
    ensure!(list["items"].as_array().is_some_and(|items| items.len() == 2), "{list}");
    let service = json!({ "apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService",
        "metadata": { "name": "i" }, "spec": { "predictor": { "model": { "storageUri": "s3://m" } } } });
    let none = offline(&service, &[]).await?;
    ensure!(none.status.code() == Some(1) && none.stderr.contains("capture KIND/NAME"), "{none:?}");
    Ok(())
}

pub async fn status_watch_prints_every_change(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "watches", "limited").await?;
    let digest = scene.publish("v1", &container("1")).await?;
    let mut command =
        scene.cluster.command(scene.cluster.account(Person::Alice), binaries()?.join("kubectl-assent"))?;
    command.args(["status", "--watch", "-n", &scene.namespace]).stdout(std::process::Stdio::piped());
    let mut watching = command.spawn()?;
    let mut lines = BufReader::new(watching.stdout.take().context("a pipe")?).lines();
    let mut next = async |what: &str| -> Result<String> {
        loop {
            let line =
                timeout(SOON, lines.next_line()).await.with_context(|| format!("waiting for {what}"))??;
            let line = line.context("the watch ended")?;
            if line.contains(what) {
                return Ok(line);
            }
        }
    };
    next("SYSTEM").await?;
    next("risk-officer (1)").await?;
    scene.decide(Person::Alice, &scene.decision("Approve", "v1", &digest, "risk-officer")).await?;
    let cleared = next("Yes").await?;
    ensure!(cleared.contains("v1"), "{cleared}");
    scene.apply(Person::Dev, &scene.deployment("scorer", &container("1"))).await?;
    next("2/0").await.map(drop)
}

pub async fn the_krew_archive_matches_its_manifest(cluster: &ControlPlane) -> Result<()> {
    let (out, unpacked) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let run = async |program: &str, args: &[&str]| {
        cluster.run(cluster.account(Person::Dev), program, args, None).await?.ok()
    };
    let (pack, plugin) = (root().join("packaging/krew/pack"), binaries()?.join("kubectl-assent"));
    let out_dir = out.path().display().to_string();
    run(&pack.display().to_string(), &[&plugin.display().to_string(), &out_dir]).await?;
    let manifest = std::fs::read_to_string(out.path().join("assent.yaml"))?;
    let manifest: Value = serde_saphyr::from_str(&manifest)?;
    let platform = &manifest["spec"]["platforms"][0];
    let file = platform["uri"].as_str().and_then(|uri| uri.rsplit('/').next()).context("a uri")?;
    let archive = out.path().join(file).display().to_string();
    let sum = run("sha256sum", &[&archive]).await?;
    ensure!(
        sum.split_whitespace().next() == platform["sha256"].as_str(),
        "the archive has {sum}, and the manifest says {platform}"
    );
    run("tar", &["-xzf", &archive, "-C", &unpacked.path().display().to_string()]).await?;
    let name = platform["bin"].as_str().context("a program")?;
    let said = run(&unpacked.path().join(name).display().to_string(), &["version", "--client"]).await?;
    let version = manifest["spec"]["version"].as_str().unwrap_or_default();
    ensure!(said.contains(version), "the program prints {said}, and the manifest says {version}");
    Ok(())
}

pub async fn an_exec_credential_program_receives_the_cluster_info(cluster: &ControlPlane) -> Result<()> {
    let account = cluster.account(Person::Alice);
    let mut config: Value = serde_saphyr::from_str(&std::fs::read_to_string(account.kubeconfig())?)?;
    let token = config["users"][0]["user"]["token"].as_str().context("a token")?.to_owned();
    let credential = json!({ "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
        "status": { "token": token } });
    // The credential program returns a token only if its caller, kubectl or the plugin, states the address and the
    // certificate authority of the server.
    let script = format!(
        r#"case "$KUBERNETES_EXEC_INFO" in *'"server":"https://'*certificate-authority-data*) echo '{credential}';; *) echo "$KUBERNETES_EXEC_INFO" >&2; exit 1;; esac"#
    );
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("config").display().to_string();
    for mode in ["Never", "IfAvailable"] {
        config["users"][0]["user"] = json!({ "exec": { "apiVersion": "client.authentication.k8s.io/v1",
            "command": "sh", "args": ["-c", script], "interactiveMode": mode, "provideClusterInfo": true } });
        std::fs::write(&file, config.to_string())?;
        let plugin = binaries()?.join("kubectl-assent").display().to_string();
        for (program, args) in [("kubectl", &["get", "aisystems", "-A"][..]), (&*plugin, &["status", "-A"])] {
            let args = [args, &["--kubeconfig", &file]].concat();
            cluster.run(account, program, &args, None).await?.ok()?;
        }
    }
    let server = config["clusters"][0]["cluster"]["server"].as_str().context("a server")?;
    let plugin = binaries()?.join("kubectl-assent").display().to_string();
    let args =
        ["HOME=/nonexistent", "KUBECONFIG=/nonexistent/config", &plugin, "status", "-A", "--server", server];
    let with_token = [&args[..], &["--token", &token, "--insecure-skip-tls-verify"]].concat();
    cluster.run(account, "env", &with_token, None).await?.ok().map(drop)
}
