//! Parts of the cluster do not do what is asked of them: what does not depend on them goes on, nobody is asked
//! without end, and somebody is told.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use assent_tests::{Assent, ControlPlane, NAMESPACE, Person, Scenario, container, pod_spec, until};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::outage::{approve_until, sleep_past, stage};

/// The sum of a metric of the operator over its labels.
async fn metric(assent: &Assent, name: &str) -> Result<u64> {
    let text = assent.get("/metrics").await?;
    let values =
        text.lines().filter(|line| line.starts_with(name)).filter_map(|line| line.rsplit(' ').next());
    Ok(values.filter_map(|value| value.parse::<u64>().ok()).sum())
}

/// A scene whose level stops what lost its clearance within `seconds`, and v1 of it approved by Alice.
async fn scene_of_grace<'a>(cluster: &'a ControlPlane, name: &str, seconds: u32) -> Result<Scenario<'a>> {
    let scene = Scenario::new(cluster, name, "limited").await?;
    let mut level = scene.get_cluster("risklevel", "limited").await?;
    level["metadata"] = json!({ "name": name });
    level["spec"]["onLoss"] = json!({ "gracePeriodSeconds": seconds });
    scene.apply(Person::Admin, &level).await?;
    scene.apply(Person::Admin, &scene.system(name)).await?;
    approve(&scene, "v1", "1").await?;
    Ok(scene)
}

/// Publishes a version of the container `revision`, and Alice approves it.
async fn approve(scene: &Scenario<'_>, version: &str, revision: &str) -> Result<()> {
    let digest = scene.publish(version, &container(revision)).await?;
    scene.decide(Person::Alice, &scene.decision("Approve", version, &digest, "risk-officer")).await?;
    scene.is_cleared(version).await
}

async fn revoke(scene: &Scenario<'_>, version: &str) -> Result<()> {
    let digest = scene.digest_of(version).await?;
    scene.decide(Person::Alice, &scene.decision("Revoke", version, &digest, "risk-officer")).await.map(drop)
}

/// Waits until the system's status counts its pods as wanted.
async fn counted(scene: &Scenario<'_>, wanted: &Value) -> Result<()> {
    until(Duration::from_secs(20), &format!("the count of pods {wanted}"), async || {
        let system = scene.get("aisystem", "scorer").await?;
        ensure!(system["status"]["pods"] == *wanted, "it is {}", system["status"]["pods"]);
        Ok(Some(()))
    })
    .await
}

/// That the operator asks for nothing while it can but wait.
async fn is_patient(assent: &Assent) -> Result<()> {
    let before = metric(assent, "assent_enforcements_total").await?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let after = metric(assent, "assent_enforcements_total").await?;
    ensure!(before == after, "{} requests about pods that can only be waited for", after - before);
    Ok(())
}

fn uid(pod: &Value) -> Value {
    pod["metadata"]["uid"].clone()
}

/// KWOK never says that a pod on the node "lost" ended. The level leaves no grace at all, and still no pod is
/// deleted with none: it would be forgotten while it runs on, and its place in a `StatefulSet` be taken.
pub async fn a_node_that_is_gone_is_told_of_and_nothing_on_it_is_forgotten() -> Result<()> {
    let (cluster, operator) = stage().await?;
    let scene = scene_of_grace(&cluster, "node-gone", 0).await?;
    let machine = json!({ "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": "lost", "labels": { "kubernetes.io/hostname": "lost" },
            "annotations": { "kwok.x-k8s.io/node": "fake" } },
        "spec": { "taints": [{ "key": "example.com/lost", "effect": "NoSchedule" }] },
        "status": { "capacity": { "cpu": "8", "memory": "8Gi", "pods": "10" }, "allocatable": { "cpu": "8", "memory": "8Gi", "pods": "10" } } });
    scene.apply(Person::Admin, &machine).await?;
    let mut there = pod_spec(&container("1"));
    there["nodeSelector"] = json!({ "kubernetes.io/hostname": "lost" });
    there["tolerations"] = json!([{ "key": "example.com/lost", "operator": "Exists" }]);
    scene.apply(Person::Dev, &scene.workload("apps/v1", "StatefulSet", "there", &there)).await?;
    scene.apply(Person::Dev, &scene.deployment("here", &container("1"))).await?;
    scene.running("there", 2).await?;
    scene.running("here", 2).await?;
    let before: Vec<_> = scene.pods("there").await?.iter().map(uid).collect();

    revoke(&scene, "v1").await?;
    scene.held("here", 2).await?;
    let note = scene.event("Pod", "there-0", "StopOverdue").await?;
    ensure!(note.contains("the kubelet of node lost has not said that it ended"), "{note}");
    ensure!(note.contains("kubectl delete node lost"), "{note}");
    scene.event("StatefulSet", "there", "StopOverdue").await?;
    scene.event("AISystem", "scorer", "StopOverdue").await?;
    let stuck = scene.list("pods").await?;
    let stuck: Vec<_> = stuck.iter().filter(|pod| pod["metadata"]["labels"]["app"] == "there").collect();
    ensure!(stuck.iter().all(|pod| before.contains(&uid(pod))), "what may run on was forgotten: {stuck:?}");
    ensure!(stuck.iter().all(|pod| pod["metadata"]["deletionTimestamp"].is_string()), "{stuck:?}");
    counted(&scene, &json!({ "running": 0, "held": 2, "terminating": 2 })).await?;
    is_patient(&operator).await?;
    ensure!(metric(&operator, "assent_overdue_pods ").await? == 2, "the alarm does not show");

    // What the Event says to do, and what Kubernetes then does by itself within a minute or so.
    cluster.kubectl(Person::Admin, &["delete", "node", "lost"]).await?.ok()?;
    until(Duration::from_mins(3), "Kubernetes to give the pods up", async || {
        Ok(scene.list("pods").await?.iter().all(|pod| !before.contains(&uid(pod))).then_some(()))
    })
    .await?;
    scene.held("there", 2).await?;
    counted(&scene, &json!({ "running": 0, "held": 4 })).await
}

pub async fn a_finalizer_that_never_ends_is_named_and_holds_up_nothing() -> Result<()> {
    let (cluster, operator) = stage().await?;
    let scene = scene_of_grace(&cluster, "finalizer", 2).await?;
    let mut kept = scene.deployment("kept", &container("1"));
    kept["spec"]["template"]["metadata"]["finalizers"] = json!(["example.com/never"]);
    scene.apply(Person::Dev, &kept).await?;
    scene.apply(Person::Dev, &scene.deployment("free", &container("1"))).await?;
    scene.running("kept", 2).await?;
    scene.running("free", 2).await?;
    let before: Vec<_> = scene.pods("kept").await?;
    let name = before[0]["metadata"]["name"].as_str().unwrap_or_default().to_owned();

    revoke(&scene, "v1").await?;
    scene.held("free", 2).await?;
    scene.held("kept", 2).await?;
    let note = scene.event("Pod", &name, "StopOverdue").await?;
    ensure!(note.contains("kept by the finalizers example.com/never"), "{note}");
    scene.event("Deployment", "kept", "StopOverdue").await?;
    counted(&scene, &json!({ "running": 0, "held": 4, "terminating": 2 })).await?;
    is_patient(&operator).await?;
    let said = scene.assent(Person::Dev, &["explain", &format!("pod/{name}")]).await?.ok()?;
    ensure!(said.contains("stopping"), "{said}");

    for pod in &before {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let patch = ["patch", "pod", name, "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#];
        scene.kubectl(Person::Dev, &patch).await?;
    }
    counted(&scene, &json!({ "running": 0, "held": 4 })).await?;
    ensure!(metric(&operator, "assent_overdue_pods ").await? == 0, "the alarm stays");
    Ok(())
}

/// A finalizer keeps the namespace for a while; the operator has nothing to do in it any more.
pub async fn a_namespace_being_deleted_is_left_to_go() -> Result<()> {
    let (cluster, operator) = stage().await?;
    let scene = scene_of_grace(&cluster, "doomed", 60).await?;
    scene.apply(Person::Dev, &scene.deployment("runs", &container("1"))).await?;
    scene.apply(Person::Dev, &scene.deployment("waits", &container("other"))).await?;
    scene.running("runs", 2).await?;
    scene.held("waits", 2).await?;
    let kept = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "kept", "namespace": "doomed",
        "finalizers": ["example.com/never"] } });
    scene.apply(Person::Dev, &kept).await?;
    cluster.kubectl(Person::Admin, &["delete", "namespace", "doomed", "--wait=false"]).await?.ok()?;
    until(Duration::from_secs(40), "all in it to go", async || {
        for kind in ["pods", "approvals", "modelversions", "aisystems", "clearances"] {
            let left = scene.list(kind).await?.len();
            ensure!(left == 0, "{left} {kind} are left");
        }
        Ok(Some(()))
    })
    .await?;

    tokio::time::sleep(Duration::from_secs(1)).await;
    let errors = metric(&operator, "assent_compile_errors_total").await?;
    is_patient(&operator).await?;
    let more = metric(&operator, "assent_compile_errors_total").await? - errors;
    ensure!(more == 0, "{more} errors in a namespace that is being deleted");
    ensure!(errors < 10, "{errors} errors while it was emptied:\n{}", operator.operator().log_tail(40));
    ensure!(scene.list("clearances").await?.is_empty(), "the Clearance came back");

    let patch = ["patch", "configmap", "kept", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#];
    scene.kubectl(Person::Admin, &patch).await?;
    cluster
        .kubectl(Person::Admin, &["wait", "--for=delete", "namespace/doomed", "--timeout=30s"])
        .await?
        .ok()?;
    // One of the same name begins with nothing.
    let again = Scenario::new(&cluster, "doomed", "limited").await?;
    counted(&again, &json!({ "running": 0, "held": 0 })).await?;
    again.publish("v1", &container("1")).await?;
    again.apply(Person::Dev, &again.deployment("runs", &container("1"))).await?;
    again.held("runs", 2).await?;
    counted(&again, &json!({ "running": 0, "held": 2 })).await
}

/// Held pods count in a quota, as all pods do that do not run yet: what is approved waits for room, says so, and
/// has it as soon as there is some; an approved version takes the room of the revoked one before it.
pub async fn a_quota_full_of_held_pods_is_told_of_and_ends(cluster: &ControlPlane) -> Result<()> {
    let scene = scene_of_grace(cluster, "quota-full", 60).await?;
    scene.kubectl(Person::Admin, &["create", "quota", "pods", "--hard=pods=3"]).await?;
    until(Duration::from_secs(20), "the quota", async || {
        Ok((scene.get("quota", "pods").await?["status"]["hard"]["pods"] == "3").then_some(()))
    })
    .await?;
    scene.apply(Person::Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.running("scorer", 2).await?;
    let mut greedy = scene.deployment("greedy", &container("unapproved"));
    greedy["spec"]["replicas"] = json!(1);
    scene.apply(Person::Dev, &greedy).await?;
    scene.held("greedy", 1).await?;

    revoke(&scene, "v1").await?;
    scene.held("scorer", 2).await?;
    approve(&scene, "v2", "2").await?;
    scene.apply(Person::Dev, &scene.deployment("scorer", &container("2"))).await?;
    until(Duration::from_secs(20), "explain to name the quota", async || {
        let said = scene.assent(Person::Dev, &["explain", "deployment/scorer"]).await?.ok()?;
        ensure!(said.contains("requested: pods=1, used: pods=3"), "{said}");
        Ok(Some(()))
    })
    .await?;
    scene.kubectl(Person::Dev, &["scale", "deployment/greedy", "--replicas=0"]).await?;
    until(Duration::from_secs(40), "the approved version to run", async || {
        scene.running("scorer", 2).await.map(Some)
    })
    .await?;
    let pods = scene.pods("scorer").await?;
    let is_new = |pod: &Value| pod["spec"]["containers"][0]["args"][1] == "--revision=2";
    ensure!(pods.iter().all(is_new), "the revoked version runs: {pods:?}");
    Ok(())
}

/// The API server's own priority and fairness, with no room for dev and, where it asks about `groups`, for the operator:
/// it answers one at a time and the rest with 429. `address` never answers, and so dev's request
/// takes a minute: ten seconds for each webhook, which is how long the API server waits for a TLS handshake.
fn rejection(namespace: &str, address: &str, groups: &[&str]) -> Value {
    let operator =
        json!({ "kind": "ServiceAccount", "serviceAccount": { "namespace": NAMESPACE, "name": "assent" } });
    let dev = json!({ "kind": "User", "user": { "name": "dev" } });
    let of = |groups: &[&str]| json!({ "verbs": ["*"], "apiGroups": groups, "resources": ["*"], "clusterScope": true, "namespaces": ["*"] });
    let webhook = |number: u8| {
        json!({ "name": format!("slow-{number}.example.com"), "clientConfig": { "url": format!("https://{address}/") }, "timeoutSeconds": 30,
            "failurePolicy": "Ignore", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": namespace } },
            "rules": [{ "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE"] }] })
    };
    json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration", "metadata": { "name": "slow" },
          "webhooks": (1..=6).map(webhook).collect::<Vec<_>>() },
        { "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "PriorityLevelConfiguration", "metadata": { "name": "none" },
          "spec": { "type": "Limited", "limited": { "nominalConcurrencyShares": 0, "lendablePercent": 0,
                    "borrowingLimitPercent": 0, "limitResponse": { "type": "Reject" } } } },
        { "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema", "metadata": { "name": "none" },
          "spec": { "matchingPrecedence": 2, "priorityLevelConfiguration": { "name": "none" },
                    "rules": [{ "subjects": [operator], "resourceRules": [of(groups)] },
                              { "subjects": [dev], "resourceRules": [of(&["*"])] }] } },
    ] })
}

/// Does `work` while the API server answers the operator nothing but 429 when it asks about `groups`, which it does
/// for a minute at most.
async fn while_busy(
    scene: &Scenario<'_>,
    groups: &[&str],
    work: impl Future<Output = Result<()>>,
) -> Result<()> {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let rejection = rejection(&scene.namespace, &silent.local_addr()?.to_string(), groups);
    scene.apply(Person::Admin, &rejection).await?;
    // What it answers before it knows of the flow occupies nothing there.
    until(Duration::from_secs(20), "the API server to know of the flow", async || {
        scene.kubectl(Person::Dev, &["get", "configmaps"]).await?;
        let metrics = scene.cluster.kubectl(Person::Admin, &["get", "--raw", "/metrics"]).await?.ok()?;
        Ok(metrics.contains(r#"flow_schema="none""#).then_some(()))
    })
    .await?;
    let occupying = until(Duration::from_mins(3), "never", async || {
        scene.kubectl(Person::Dev, &["create", "configmap", "occupied", "--dry-run=server"]).await?;
        Ok(None::<()>)
    });
    let working = async {
        let patience = Duration::from_mins(1);
        let asked = tokio::time::timeout(patience, silent.accept()).await;
        let _open = asked.context("dev's request did not get through")??;
        work.await
    };
    tokio::select! {
        occupied = occupying => occupied?,
        worked = working => worked?,
    }
    scene.cluster.kubectl(Person::Admin, &["delete", "flowschema/none"]).await?.ok().map(drop)
}

/// How many requests the API server answered with 429 so.
async fn rejected(cluster: &ControlPlane) -> Result<u64> {
    let metrics = cluster.kubectl(Person::Admin, &["get", "--raw", "/metrics"]).await?.ok()?;
    let of_us = |line: &&str| {
        line.starts_with("apiserver_flowcontrol_rejected_requests_total{")
            && line.contains(r#"flow_schema="none""#)
    };
    let counts =
        metrics.lines().filter(of_us).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    Ok(counts.sum::<f64>() as u64)
}

/// Twenty pods wait for release and two for their end while the API server answers the operator nothing but 429,
/// until it has lost its lease and was started anew.
pub async fn an_api_server_that_answers_429_for_a_minute_is_asked_little_and_misses_nothing() -> Result<()> {
    let (cluster, operator) = stage().await?;
    let lost = scene_of_grace(&cluster, "busy-lost", 60).await?;
    lost.apply(Person::Dev, &lost.deployment("scorer", &container("1"))).await?;
    lost.running("scorer", 2).await?;
    let gained = Scenario::new(&cluster, "busy-gained", "limited").await?;
    let digest = gained.publish("v1", &container("1")).await?;
    let mut many = gained.deployment("scorer", &container("1"));
    many["spec"]["replicas"] = json!(20);
    gained.apply(Person::Dev, &many).await?;
    gained.held("scorer", 20).await?;

    Box::pin(while_busy(&lost, &["*"], async {
        let (begin, before) = (Instant::now(), rejected(&cluster).await?);
        revoke(&lost, "v1").await?;
        gained.decide(Person::Alice, &gained.decision("Approve", "v1", &digest, "risk-officer")).await?;
        let mut restarts = 0;
        while begin.elapsed() < Duration::from_secs(50) {
            // What the kubelet does.
            if !operator.operator().is_running() {
                operator.operator().restart()?;
                restarts += 1;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        ensure!(restarts <= 1, "it gave up {restarts} times:\n{}", operator.operator().log_tail(20));
        lost.running("scorer", 2).await.context("nobody could stop them")?;
        gained.held("scorer", 20).await.context("nobody could release them")?;
        let asked = rejected(&cluster).await? - before;
        println!(
            "{asked} requests were answered with 429 within {:.0?}, {restarts} restarts",
            begin.elapsed()
        );
        ensure!((10..600).contains(&asked), "{asked} requests in a minute of 429s");
        Ok(())
    }))
    .await?;
    let begin = Instant::now();
    lost.held("scorer", 2).await?;
    gained.running("scorer", 20).await?;
    println!("all was caught up within {:.1?}", begin.elapsed());
    ensure!(begin.elapsed() < Duration::from_secs(30), "it took {:?}", begin.elapsed());
    counted(&lost, &json!({ "running": 0, "held": 2 })).await?;
    counted(&gained, &json!({ "running": 20, "held": 0 })).await?;
    lost.event("Deployment", "scorer", "ClearanceLost").await?;
    gained.event("Deployment", "scorer", "Released").await.map(drop)
}

/// It keeps its lease, and sees by its own clock that forty pods lost their clearance.
pub async fn a_busy_moment_is_no_storm_and_what_was_to_be_done_and_said_in_it_is_after_it() -> Result<()> {
    let (cluster, operator) = stage().await?;
    let scene = scene_of_grace(&cluster, "busy-moment", 60).await?;
    let end = approve_until(&scene, "v2", "2", 60).await?;
    let mut many = scene.deployment("many", &container("2"));
    many["spec"]["replicas"] = json!(40);
    scene.apply(Person::Dev, &many).await?;
    scene.running("many", 40).await?;
    // It is busy for a minute at most: until well after the end.
    sleep_past(end - Duration::from_secs(20)).await;
    while_busy(&scene, &["", "apps", "events.k8s.io", "policy"], async {
        // The watch still tells the operator of it.
        scene.apply(Person::Admin, &scene.deployment("waits", &container("other"))).await?;
        scene.held("waits", 2).await?;
        ensure!(Timestamp::now() < end, "the machine is too slow for this test");
        sleep_past(end).await;
        let before = rejected(&cluster).await?;
        tokio::time::sleep(Duration::from_secs(10)).await;
        let asked = rejected(&cluster).await? - before;
        println!("{asked} requests about 40 pods were answered with 429 within ten seconds");
        ensure!((5..100).contains(&asked), "{asked} requests about 40 pods within ten seconds");
        scene.running("many", 40).await.context("nobody could stop them")?;
        let events = scene.list("events.v1.events.k8s.io").await?;
        ensure!(
            events.iter().all(|event| event["reason"] != "Held"),
            "the API server was not busy: {events:?}"
        );
        Ok(())
    })
    .await?;
    scene.held("many", 40).await?;
    scene.event("Deployment", "waits", "Held").await?;
    scene.event("Deployment", "many", "ClearanceLost").await?;
    counted(&scene, &json!({ "running": 0, "held": 42 })).await?;
    let log = operator.operator().log_tail(1000);
    ensure!(!log.contains("EvictionDelayed"), "what was busy was taken for a budget");
    ensure!(operator.operator().is_running(), "{}", operator.operator().log_tail(20));
    Ok(())
}

/// Who stopped what ran out while the `Clearance` still has it would have what takes its place refused and not
/// held, and its `ReplicaSet` wait ever longer between tries. Nor may it run on for want of the write.
pub async fn i2_what_ran_out_is_stopped_once_others_can_be_held_and_at_half_of_its_grace_at_the_latest()
-> Result<()> {
    let (cluster, _operator) = stage().await?;
    let patient = scene_of_grace(&cluster, "unwritten-patient", 240).await?;
    let scene = scene_of_grace(&cluster, "unwritten", 40).await?;
    approve_until(&patient, "v2", "2", 60).await?;
    let end = approve_until(&scene, "v2", "2", 60).await?;
    for scene in [&patient, &scene] {
        scene.apply(Person::Dev, &scene.deployment("scorer", &container("2"))).await?;
        scene.running("scorer", 2).await?;
    }
    sleep_past(end - Duration::from_secs(15)).await;
    while_busy(&scene, &["assent.dev"], async {
        ensure!(Timestamp::now() < end, "the machine is too slow for this test");
        sleep_past(end + Duration::from_secs(5)).await;
        for scene in [&patient, &scene] {
            let clearance = scene.get("clearance", "clearance").await?;
            let cleared = clearance["spec"]["systems"]["scorer"]["cleared"].to_string();
            ensure!(cleared.contains(r#""v2""#), "the API server was not busy: {cleared}");
            scene.running("scorer", 2).await.context("stopped before others could be held")?;
        }
        sleep_past(end + Duration::from_secs(20)).await;
        scene.settled("scorer", 0, 0).await.context("half of the grace is over")?;
        patient.running("scorer", 2).await.map(drop)
    })
    .await?;
    patient.held("scorer", 2).await?;
    scene.held("scorer", 2).await.map(drop)
}
