//! The lifecycle of a version: its pods are held, run after the approval, stop, and run again after a new approval.

use std::time::Duration;

use anyhow::{Result, ensure};
use assent_tests::{ControlPlane, Person, SOON, Scenario, container, until};
use k8s_openapi::jiff::{Timestamp, ToSpan};
use serde_json::json;

pub async fn i1_an_unapproved_pod_is_held_and_names_the_missing_approval(
    cluster: &ControlPlane,
) -> Result<()> {
    let scene = Scenario::new(cluster, "unapproved", "high").await?;
    let digest = scene.publish("v1", &container("1")).await?;
    scene.apply(Person::Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.held("scorer", 2).await?;
    let pods = scene.pods("scorer").await?;
    ensure!(pods.iter().all(|pod| pod["spec"]["nodeName"].is_null()), "a held pod is bound to a node");
    ensure!(pods.iter().all(|pod| pod["metadata"]["labels"]["assent.dev/held"] == "true"), "{pods:?}");

    scene.decide(Person::Alice, &scene.decision("Approve", "v1", &digest, "risk-officer")).await?;
    let message = until(Duration::from_secs(10), "the approval of alice to count", async || {
        let message = scene.condition("aisystem", "scorer", "Cleared", "False", "AwaitingApproval").await?;
        Ok((!message.contains("risk-officer")).then_some(message))
    });
    let message = message.await?;
    ensure!(message.contains("awaiting approval by role ethics-board: 0 of 1 given"), message);
    ensure!(
        message.contains("kubectl assent approve scorer --version v1 --role ethics-board -n unapproved"),
        message
    );
    scene.held("scorer", 2).await?;
    let name = pods[0]["metadata"]["name"].as_str().unwrap_or_default();
    let note = scene.event("Pod", name, "Held").await?;
    ensure!(note.contains(&format!("kubectl assent explain pod/{name} -n unapproved")), note);
    scene.event("Deployment", "scorer", "Held").await?;
    scene.event("AISystem", "scorer", "Held").await.map(drop)
}

pub async fn i1_an_approved_pod_runs(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "approved", "high").await?;
    scene.publish("v1", &container("1")).await?;
    scene.apply(Person::Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.held("scorer", 2).await?;
    scene.approve("v1").await?;
    scene.running("scorer", 2).await?;
    let pods = scene.pods("scorer").await?;
    let digest = scene.digest_of("v1").await?;
    for pod in &pods {
        let released = pod["metadata"]["annotations"]["assent.dev/released"].as_str().unwrap_or_default();
        ensure!(released.starts_with(&format!("v1@{digest} ")), "the annotation is {released}");
        ensure!(pod["metadata"]["labels"]["assent.dev/held"].is_null(), "the pod still has the label: {pod}");
    }
    // A pod that is cleared at its creation is never held.
    scene.apply(Person::Dev, &scene.pod("direct", &container("1"))).await?;
    let direct = scene.get("pod", "direct").await?;
    ensure!(direct["spec"]["schedulingGates"].is_null(), "{direct}");
    let system = until(Duration::from_secs(10), "the pod counts", async || {
        let system = scene.get("aisystem", "scorer").await?;
        Ok((system["status"]["pods"] == json!({ "running": 3, "held": 0 })).then_some(system))
    });
    ensure!(
        system.await?["status"]["clearedVersions"] == "v1",
        "the status does not name the cleared version"
    );
    Ok(())
}

pub async fn i2_a_revocation_stops_pods_and_holds_their_replacements(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "revoked", "high").await?;
    scene.clear("v1", &container("1")).await?;
    scene.apply(Person::Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.running("scorer", 2).await?;
    let digest = scene.digest_of("v1").await?;
    scene.decide(Person::Carol, &scene.decision("Revoke", "v1", &digest, "risk-officer")).await?;
    scene.held("scorer", 2).await?;
    let message = scene.condition("modelversion", "v1", "Cleared", "False", "Revoked").await?;
    ensure!(message.contains("revoked by carol") && message.contains("for the test"), message);
    scene.condition("modelversion", "v1", "Stalled", "True", "Revoked").await?;
    let deployment = scene.get("deployment", "scorer").await?;
    ensure!(deployment["spec"]["replicas"] == 2, "the Deployment was changed: {deployment}");
    scene.event("Deployment", "scorer", "ClearanceLost").await?;
    Ok(())
}

pub async fn i3_a_deployment_comes_back_unchanged(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "comes-back", "high").await?;
    scene.clear("v1", &container("1")).await?;
    scene.apply(Person::Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.kubectl(Person::Dev, &["scale", "deployment/scorer", "--replicas=3"]).await?;
    scene.running("scorer", 3).await?;
    let before = scene.get("deployment", "scorer").await?;
    let digest = scene.digest_of("v1").await?;
    scene.decide(Person::Carol, &scene.decision("Revoke", "v1", &digest, "ethics-board")).await?;
    scene.held("scorer", 3).await?;
    // An approval counts only if it is created in a later second than the revocation.
    tokio::time::sleep(Duration::from_secs(1)).await;
    scene.approve("v1").await?;
    scene.running("scorer", 3).await?;
    let after = scene.get("deployment", "scorer").await?;
    ensure!(
        after["metadata"]["generation"] == before["metadata"]["generation"],
        "the Deployment was changed: {after}"
    );
    Ok(())
}

pub async fn i4_every_decision_and_every_enforcement_is_recorded(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "recorded", "high").await?;
    scene.apply(Person::Dev, &scene.deployment("scorer", &container("1"))).await?;
    let digest = scene.publish("v1", &container("1")).await?;
    scene.held("scorer", 2).await?;
    let held = scene.pods("scorer").await?[0]["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    scene.approve("v1").await?;
    scene.running("scorer", 2).await?;
    let revoke =
        scene.decide(Person::Carol, &scene.decision("Revoke", "v1", &digest, "ethics-board")).await?;
    scene.held("scorer", 2).await?;
    for reason in ["Held", "Released", "ClearanceLost"] {
        scene.event("Pod", &held, reason).await?;
        scene.event("Deployment", "scorer", reason).await?;
        scene.event("AISystem", "scorer", reason).await?;
    }
    let mut who = Vec::new();
    for approval in scene.list("approvals").await? {
        let spec = &approval["spec"];
        ensure!(spec["subjectDigest"] == json!(digest) && spec["reason"] == "for the test", "{spec}");
        ensure!(spec["approver"]["groups"].as_array().is_some_and(|groups| groups.len() > 1), "{spec}");
        who.push(
            format!("{} {} {}", spec["approver"]["user"], spec["decision"], spec["role"]).replace('"', ""),
        );
    }
    who.sort();
    ensure!(
        who == ["alice Approve risk-officer", "bob Approve ethics-board", "carol Revoke ethics-board"],
        "{who:?}"
    );
    for person in [Person::Dev, Person::Admin] {
        let said = scene.denied(person, &["delete", "approval", &revoke]).await?;
        ensure!(said.contains("is part of the record and cannot be deleted"), "{said}");
        let edit = r#"{"spec":{"decision":"Approve"}}"#;
        let said = scene.denied(person, &["patch", "approval", &revoke, "--type=merge", "-p", edit]).await?;
        ensure!(said.contains("an approval is final"), "{said}");
    }
    Ok(())
}

pub async fn i2_an_expiry_stops_pods_within_two_seconds(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "expired", "limited").await?;
    let digest = scene.publish("v1", &container("1")).await?;
    let end = Timestamp::from_second((Timestamp::now() + 8.seconds()).as_second())?;
    let mut approval = scene.decision("Approve", "v1", &digest, "risk-officer");
    approval["spec"]["notAfter"] = json!(end);
    scene.decide(Person::Alice, &approval).await?;
    scene.is_cleared("v1").await?;
    scene.apply(Person::Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.running("scorer", 2).await?;
    ensure!(Timestamp::now() < end, "the machine is too slow for this test");
    let wait = Duration::try_from(end.duration_since(Timestamp::now()))?;
    tokio::time::sleep(wait.saturating_sub(Duration::from_secs(1))).await;
    let all_run = scene.pods("scorer").await?.iter().all(|p| p["status"]["phase"] == "Running");
    // On a slow machine, the request can return after the expiry of the approval.
    ensure!(all_run || Timestamp::now() >= end, "the pods stopped too early");
    scene.held("scorer", 2).await?;
    let pods = scene.pods("scorer").await?;
    let created: Vec<Timestamp> =
        pods.iter().filter_map(|pod| pod["metadata"]["creationTimestamp"].as_str()?.parse().ok()).collect();
    ensure!(
        created.iter().all(|at| *at >= end && *at <= end + 2.seconds()),
        "expired at {end}, replaced at {created:?}"
    );
    let message = scene.condition("modelversion", "v1", "Cleared", "False", "ApprovalExpired").await?;
    ensure!(message.contains(&format!("expired at {end}")), message);
    scene.decide(Person::Alice, &scene.decision("Approve", "v1", &digest, "risk-officer")).await?;
    scene.running("scorer", 2).await.map(drop)
}

pub async fn i2_a_decommissioned_system_stops_permanently(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "decommissioned", "high").await?;
    scene.clear("v1", &container("1")).await?;
    scene.apply(Person::Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.running("scorer", 2).await?;
    let mut retired = scene.system("high");
    retired["spec"]["decommission"] =
        json!({ "date": Timestamp::now() + 2.seconds(), "reason": "replaced", "successor": "next" });
    scene.apply(Person::Dev, &retired).await?;
    scene.held("scorer", 2).await?;
    let message = scene.condition("aisystem", "scorer", "Cleared", "False", "Decommissioned").await?;
    ensure!(message.contains("replaced (successor: next)"), message);
    scene.condition("aisystem", "scorer", "Ready", "True", "Decommissioned").await?;

    let said = scene.refused(Person::Dev, &scene.system("high")).await?;
    ensure!(said.contains("the system is decommissioned, and this is final"), said);
    let said = scene.denied(Person::Dev, &["delete", "aisystem", "scorer"]).await?;
    ensure!(said.contains("decommissioned and cannot be deleted, because it is the record"), said);
    let digest = scene.digest_of("v1").await?;
    scene.decide(Person::Alice, &scene.decision("Approve", "v1", &digest, "risk-officer")).await?;
    scene.decide(Person::Bob, &scene.decision("Approve", "v1", &digest, "ethics-board")).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    scene.held("scorer", 2).await.map(drop)
}

pub async fn held_pods_start_when_the_mode_label_is_removed(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "taken-out", "high").await?;
    scene.apply(Person::Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.held("scorer", 2).await?;
    let label = ["label", "namespace", "taken-out", "assent.dev/mode-"];
    cluster.kubectl(Person::Admin, &label).await?.ok()?;
    scene.running("scorer", 2).await.map(drop)
}

pub async fn a_new_version_waits_while_the_old_one_runs(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "new-version", "high").await?;
    scene.clear("v1", &container("1")).await?;
    let mut deployment = scene.deployment("scorer", &container("1"));
    deployment["spec"]["strategy"] = json!({ "rollingUpdate": { "maxUnavailable": 0, "maxSurge": 1 } });
    scene.apply(Person::Dev, &deployment).await?;
    scene.running("scorer", 2).await?;
    scene.publish("v2", &container("2")).await?;
    deployment["spec"]["template"]["spec"]["containers"][0] = container("2");
    scene.apply(Person::Dev, &deployment).await?;
    scene.settled("scorer", 2, 1).await?;
    scene.approve("v2").await?;
    scene.running("scorer", 2).await?;
    until(SOON, "the rollout to end", async || {
        let pods = scene.pods("scorer").await?;
        Ok(pods.iter().all(|pod| pod["spec"]["containers"][0]["args"][1] == "--revision=2").then_some(()))
    })
    .await
}

/// The API server refuses a pod if a CEL expression of a policy exceeds the cost limit. The comparison with many large
/// versions must stay below this limit.
pub async fn a_system_with_many_large_versions_still_starts(cluster: &ControlPlane) -> Result<()> {
    const VERSIONS: usize = 24;
    let scene = Scenario::new(cluster, "many-versions", "minimal").await?;
    let containers = |version: usize| {
        let one = |number: usize| {
            let mut one = container(&format!("{version}"));
            one["name"] = json!(format!("server-{number}"));
            one["args"] = (0..40).map(|n| json!(format!("--option-{n}={}", "x".repeat(24)))).collect();
            one["env"] = (0..40)
                .map(|n| json!({ "name": format!("VARIABLE_{n}"), "value": version.to_string() }))
                .collect();
            one
        };
        (0..6).map(one).collect::<Vec<_>>()
    };
    let versions =
        (0..VERSIONS).map(|n| scene.version_of(&format!("v{n}"), &json!({ "containers": containers(n) })));
    let versions: Vec<_> = versions.collect();
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": versions });
    scene.cluster.kubectl_stdin(Person::Admin, &["create", "-f", "-"], &list.to_string()).await?.ok()?;
    for n in 0..VERSIONS {
        scene.is_cleared(&format!("v{n}")).await?;
    }
    let pod = |name: &str, version: usize| {
        let mut pod = scene.pod(name, &container("1"));
        pod["spec"]["containers"] = json!(containers(version));
        pod
    };
    for version in [0, VERSIONS - 1] {
        let name = format!("pod-{version}");
        scene.apply(Person::Dev, &pod(&name, version)).await?;
        scene.running_pod(&name).await?;
    }
    scene.apply(Person::Dev, &pod("other", VERSIONS)).await?;
    let other = scene.get("pod", "other").await?;
    ensure!(other["metadata"]["labels"]["assent.dev/held"] == "true", "the pod is not held: {other}");
    Ok(())
}

/// The kind `Oracle` is like a custom resource of a serving or training operator. Assent does not know this kind.
pub async fn a_custom_resource_gets_the_events_of_its_pods(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "custom-resource", "high").await?;
    let schema =
        json!({ "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } });
    let definition = json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "oracles.made-up.example" },
        "spec": { "group": "made-up.example", "scope": "Namespaced", "names": { "kind": "Oracle", "plural": "oracles" },
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": schema }] } });
    scene.apply(Person::Admin, &definition).await?;
    let crds = ["wait", "--for=condition=Established", "crd/oracles.made-up.example"];
    cluster.kubectl(Person::Admin, &crds).await?.ok()?;
    let oracle = json!({ "apiVersion": "made-up.example/v1", "kind": "Oracle",
        "metadata": { "name": "delphi", "namespace": scene.namespace } });
    scene.apply(Person::Dev, &oracle).await?;
    let uid = scene.get("oracle", "delphi").await?["metadata"]["uid"].take();
    let mut deployment = scene.deployment("scorer", &container("1"));
    deployment["metadata"]["ownerReferences"] = json!([{ "apiVersion": "made-up.example/v1", "kind": "Oracle",
        "name": "delphi", "uid": uid, "controller": true }]);

    let digest = scene.publish("v1", &container("1")).await?;
    scene.apply(Person::Dev, &deployment).await?;
    scene.held("scorer", 2).await?;
    let note = scene.event("Oracle", "delphi", "Held").await?;
    ensure!(note.contains("kubectl assent explain pod/"), note);
    let pods_held = async |status: &str, message: &str| {
        until(
            Duration::from_secs(10),
            &format!("the condition PodsHeld with {status}: {message}"),
            async || {
                let system = scene.get("aisystem", "scorer").await?;
                let conditions = system["status"]["conditions"].as_array().cloned().unwrap_or_default();
                let found = conditions.iter().find(|condition| condition["type"] == "PodsHeld").cloned();
                Ok(found.filter(|found| found["status"] == status && found["message"] == message))
            },
        )
        .await
    };
    let waiting = pods_held("True", "2 pods of Oracle delphi wait for clearance").await?;
    ensure!(waiting["reason"] == "AwaitingClearance", "{waiting}");
    scene.approve("v1").await?;
    scene.running("scorer", 2).await?;
    scene.event("Oracle", "delphi", "Released").await?;
    pods_held("False", "no pod waits for clearance").await?;
    scene.decide(Person::Carol, &scene.decision("Revoke", "v1", &digest, "ethics-board")).await?;
    scene.held("scorer", 2).await?;
    scene.event("Oracle", "delphi", "ClearanceLost").await.map(drop)
}
