//! Before Kubernetes 1.36, the API server cannot hold a pod, because Kubernetes has no `MutatingAdmissionPolicy` v1. So
//! the policies refuse uncleared pods. After the approval, the pods must not wait for the back-off of their controller.
//! Each test starts a control plane without mutating policies.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use assent_tests::{Assent, ControlPlane, Options, Person, SOON, Scenario, container, pod_spec, until};
use serde_json::{Value, json};

async fn stage() -> Result<(ControlPlane, Assent)> {
    let cluster = ControlPlane::start_with(Options::default().without_mutation()).await?;
    let served = cluster.kubectl(Person::Admin, &["api-resources", "-o=name"]).await?.ok()?;
    ensure!(!served.contains("mutatingadmissionpolicies"), "the API is served");
    let assent = Assent::install(&cluster).await?;
    Ok((cluster, assent))
}

async fn approve(scene: &Scenario<'_>) -> Result<()> {
    scene.assent(Person::Alice, &["approve", "scorer", "--yes"]).await?.ok()?;
    let said = scene.assent(Person::Bob, &["approve", "scorer", "--yes"]).await?.ok()?;
    ensure!(said.contains("v1 of scorer is cleared until"), "{said}");
    Ok(())
}

/// Returns how often the API server refused a pod of a controller of this kind, according to the Events.
async fn attempts(scene: &Scenario<'_>, kind: &str) -> Result<u64> {
    let events = scene.list("events").await?;
    let refused =
        events.iter().filter(|e| e["involvedObject"]["kind"] == kind && e["reason"] == "FailedCreate");
    Ok(refused.map(|e| e["count"].as_u64().unwrap_or(1)).sum())
}

pub async fn i1_i3_refused_workloads_get_a_reason_and_run_soon_after_the_approval() -> Result<()> {
    let (cluster, _assent) = stage().await?;
    let scene = Scenario::new(&cluster, "refused", "high").await?;
    scene.publish("v1", &container("1")).await?;
    let mut spec = pod_spec(&container("1"));
    for (api, kind, name) in [
        ("apps/v1", "Deployment", "deployment"),
        ("apps/v1", "StatefulSet", "set"),
        ("apps/v1", "DaemonSet", "daemons"),
        ("batch/v1", "Job", "job"),
    ] {
        if kind == "Job" {
            spec["restartPolicy"] = json!("Never");
        }
        scene.apply(Person::Dev, &scene.workload(api, kind, name, &spec)).await?;
    }
    let mut other = scene.deployment("uncleared", &container("other"));
    other["spec"]["replicas"] = json!(1);
    scene.apply(Person::Dev, &other).await?;
    let begin = Instant::now();
    let said = until(SOON, "the Event of the ReplicaSet", async || {
        let events = scene.list("events").await?;
        let refused = events
            .iter()
            .find(|e| e["involvedObject"]["kind"] == "ReplicaSet" && e["reason"] == "FailedCreate");
        Ok(refused.map(|e| e["message"].as_str().unwrap_or_default().to_owned()))
    })
    .await?;
    for words in ["AI system scorer has no clearance", "kubectl assent explain aisystem/scorer -n refused"] {
        ensure!(said.contains(words), "no {words:?} in {said}");
    }
    // Each retry doubles the wait of the controller. After 50 seconds, the next retry of the controller itself would come
    // too late for the limit below. So the pods start in time only if the operator triggers a retry.
    tokio::time::sleep_until((begin + Duration::from_secs(50)).into()).await;
    ensure!(scene.list("pods").await?.is_empty(), "the API server accepted pods");
    ensure!(attempts(&scene, "ReplicaSet").await? >= 5, "the controller did not retry");

    approve(&scene).await?;
    let approved = Instant::now();
    for (app, pods) in [("deployment", 2), ("set", 2), ("daemons", 2)] {
        scene.running(app, pods).await?;
    }
    until(SOON, "the pod of the Job", async || Ok((scene.pods("job").await?.len() == 1).then_some(())))
        .await?;
    let took = approved.elapsed();
    ensure!(took < Duration::from_secs(15), "the pods took {took:?}");
    ensure!(scene.pods("uncleared").await?.is_empty(), "an uncleared Deployment has pods");
    let set = scene.get("statefulset", "set").await?;
    ensure!(
        set["metadata"]["annotations"]["assent.dev/poked"].is_string(),
        "the operator did not trigger a retry: {set}"
    );

    let revoke = ["revoke", "scorer", "--role=risk-officer", "--reason=an incident", "--yes"];
    scene.assent(Person::Carol, &revoke).await?.ok()?;
    until(SOON, "all pods to stop", async || {
        let pods = scene.list("pods").await?;
        Ok(pods.iter().all(|pod| pod["status"]["phase"] == "Succeeded").then_some(()))
    })
    .await?;
    // The second approval has the same effect as the first approval, because Assent keeps no state about refused pods.
    tokio::time::sleep(Duration::from_secs(3)).await;
    approve(&scene).await?;
    scene.running("deployment", 2).await?;
    scene.running("set", 2).await.map(drop)
}

pub async fn nobody_names_another_person_as_the_approver() -> Result<()> {
    let (cluster, _assent) = stage().await?;
    let scene = Scenario::new(&cluster, "forged-approver", "high").await?;
    let digest = scene.publish("v1", &container("1")).await?;
    let unsigned = scene.decision("Approve", "v1", &digest, "risk-officer");
    let said = scene.undecided(Person::Alice, &unsigned).await?;
    for words in ["spec.approver is missing", "kubectl assent approve scorer -n forged-approver"] {
        ensure!(said.contains(words), "no {words:?} in {said}");
    }
    let review = cluster.kubectl(Person::Alice, &["auth", "whoami", "-o=json"]).await?.ok()?;
    let alice: Value = serde_json::from_str(&review)?;
    let alice = &alice["status"]["userInfo"];
    let signed = |user: &Value, groups: &Value| {
        let mut approval = unsigned.clone();
        approval["spec"]["approver"] = json!({ "user": user, "groups": groups, "uid": alice["uid"] });
        approval
    };
    let carols = signed(&json!("carol"), &alice["groups"]);
    let mut more = alice["groups"].clone();
    more.as_array_mut().context("groups")?.push(json!("ethics-board"));
    let with_more_groups = signed(&alice["username"], &more);
    for forged in [carols, with_more_groups] {
        let said = scene.undecided(Person::Alice, &forged).await?;
        ensure!(said.contains("spec.approver must be the user of the request, alice"), "{said}");
    }
    let as_alice = signed(&alice["username"], &alice["groups"]);
    let said = scene.undecided(Person::Dev, &as_alice).await?;
    ensure!(said.contains("spec.approver must be the user of the request, dev"), "{said}");
    let mut own = as_alice;
    own["metadata"] = json!({ "name": "signed", "namespace": scene.namespace });
    scene.decide(Person::Alice, &own).await?;
    scene.condition("approval", "signed", "Counted", "True", "Counted").await?;
    scene.assent(Person::Bob, &["approve", "scorer", "--yes"]).await?.ok()?;
    let approvals = scene.list("approvals").await?;
    let bob = approvals.iter().find(|a| a["spec"]["role"] == "ethics-board");
    ensure!(bob.is_some_and(|a| a["spec"]["approver"]["user"] == "bob"), "{approvals:?}");
    scene.is_cleared("v1").await
}

pub async fn a_gate_set_by_hand_is_lifted_and_deleted_policies_are_restored() -> Result<()> {
    let (cluster, assent) = stage().await?;
    let scene = Scenario::new(&cluster, "own-gate", "high").await?;
    scene.publish("v1", &container("1")).await?;
    let mut pod = scene.pod("waits", &container("1"));
    pod["spec"]["schedulingGates"] = json!([{ "name": "assent.dev/clearance" }]);
    let said = scene.refused(Person::Dev, &pod).await?;
    ensure!(said.contains("needs the label assent.dev/held=true beside it"), "{said}");
    pod["metadata"]["labels"]["assent.dev/held"] = json!("true");
    scene.apply(Person::Dev, &pod).await?;
    scene.held_pods("app=waits", 1).await?;
    let lift = json!([{ "op": "remove", "path": "/spec/schedulingGates/0" }]).to_string();
    let said = scene.denied(Person::Dev, &["patch", "pod/waits", "--type=json", "-p", &lift]).await?;
    ensure!(said.contains("only Assent lifts the gate"), "{said}");

    let of_assent = "app.kubernetes.io/part-of=assent";
    let kinds = "validatingadmissionpolicies,validatingadmissionpolicybindings";
    let count = async || {
        let policies =
            cluster.kubectl(Person::Admin, &["get", kinds, "-l", of_assent, "-o=name"]).await?.ok()?;
        Ok::<_, anyhow::Error>(policies.lines().count())
    };
    let before = count().await?;
    cluster.kubectl(Person::Admin, &["delete", kinds, "-l", of_assent]).await?.ok()?;
    until(
        SOON,
        "the operator to restore the policies",
        async || Ok((count().await? == before).then_some(())),
    )
    .await?;
    until(SOON, "the API server to refuse pods again", async || {
        let dry = ["create", "--dry-run=server", "-f", "-"];
        let pod = scene.pod("bad", &container("bad")).to_string();
        let said = cluster.kubectl_stdin(Person::Dev, &dry, &pod).await?.denied()?;
        Ok(said.contains("no clearance").then_some(()))
    })
    .await?;
    let log = assent.operator().log_tail(500);
    let alarm = |line: &str| line.contains("assent::guard") && line.contains("retrying");
    ensure!(!log.contains("MutatingAdmissionPolicy/") && !log.lines().any(alarm), "{log}");

    approve(&scene).await?;
    scene.running_pod("waits").await
}
