//! Faults of nodes, finalizers, quotas and the API server. The operator continues its work on all other objects, limits
//! its retries, and reports the fault.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use assent_tests::{Assent, ControlPlane, NAMESPACE, Person, SOON, Scenario, container, pod_spec, until};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::outage::{approve_until, sleep_past};

/// Returns the sum of a metric of the operator over all label values.
async fn metric(assent: &Assent, name: &str) -> Result<u64> {
    let text = assent.get("/metrics").await?;
    let values =
        text.lines().filter(|line| line.starts_with(name)).filter_map(|line| line.rsplit(' ').next());
    Ok(values.filter_map(|value| value.parse::<u64>().ok()).sum())
}

async fn scene_of_grace<'a>(cluster: &'a ControlPlane, name: &str, seconds: u32) -> Result<Scenario<'a>> {
    let scene = Scenario::new(cluster, name, "limited").await?;
    let mut level = scene.get("risklevel", "limited").await?;
    level["metadata"] = json!({ "name": name });
    level["spec"]["onLoss"] = json!({ "gracePeriodSeconds": seconds });
    scene.apply(Person::Admin, &level).await?;
    scene.apply(Person::Admin, &scene.system(name)).await?;
    approve(&scene, "v1", "1").await?;
    Ok(scene)
}

async fn approve(scene: &Scenario<'_>, version: &str, revision: &str) -> Result<()> {
    let digest = scene.publish(version, &container(revision)).await?;
    scene.decide(Person::Alice, &scene.decision("Approve", version, &digest, "risk-officer")).await?;
    scene.is_cleared(version).await
}

async fn revoke(scene: &Scenario<'_>, version: &str) -> Result<()> {
    let digest = scene.digest_of(version).await?;
    scene.decide(Person::Alice, &scene.decision("Revoke", version, &digest, "risk-officer")).await.map(drop)
}

async fn counted(scene: &Scenario<'_>, wanted: &Value) -> Result<()> {
    until(SOON, &format!("the pod counts {wanted}"), async || {
        let system = scene.get("aisystem", "scorer").await?;
        ensure!(system["status"]["pods"] == *wanted, "the counts are {}", system["status"]["pods"]);
        Ok(Some(()))
    })
    .await
}

/// Checks for four seconds that the operator sends no requests about pods while it can only wait.
async fn sends_no_requests(assent: &Assent) -> Result<()> {
    let before = metric(assent, "assent_enforcements_total").await?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let after = metric(assent, "assent_enforcements_total").await?;
    ensure!(before == after, "{} requests about pods, although the operator can only wait", after - before);
    Ok(())
}

fn uid(pod: &Value) -> Value {
    pod["metadata"]["uid"].clone()
}

/// KWOK never confirms the end of a pod on the node `lost`. The operator must not force the deletion of the pod, even
/// if the grace period of the level is zero. After a forced deletion, the `StatefulSet` would replace a pod that may
/// still run.
pub async fn a_lost_node_is_reported_and_its_pods_are_not_force_deleted(
    cluster: &ControlPlane,
    operator: &Assent,
) -> Result<()> {
    let scene = scene_of_grace(cluster, "node-gone", 0).await?;
    let machine = json!({ "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": "lost", "labels": { "kubernetes.io/hostname": "lost" },
            "annotations": { "kwok.x-k8s.io/node": "fake" } },
        "spec": { "taints": [{ "key": "example.com/lost", "effect": "NoSchedule" }] },
        "status": { "capacity": { "cpu": "8", "memory": "8Gi", "pods": "10" }, "allocatable": { "cpu": "8", "memory": "8Gi", "pods": "10" } } });
    scene.apply(Person::Admin, &machine).await?;
    let mut lost = pod_spec(&container("1"));
    lost["nodeSelector"] = json!({ "kubernetes.io/hostname": "lost" });
    lost["tolerations"] = json!([{ "key": "example.com/lost", "operator": "Exists" }]);
    scene.apply(Person::Dev, &scene.workload("apps/v1", "StatefulSet", "there", &lost)).await?;
    scene.apply(Person::Dev, &scene.deployment("here", &container("1"))).await?;
    scene.running("there", 2).await?;
    scene.running("here", 2).await?;
    let before: Vec<_> = scene.pods("there").await?.iter().map(uid).collect();

    revoke(&scene, "v1").await?;
    scene.held("here", 2).await?;
    let note = scene.event("Pod", "there-0", "StopOverdue").await?;
    ensure!(note.contains("the kubelet of node lost has not confirmed that the pod ended"), "{note}");
    ensure!(note.contains("kubectl delete node lost"), "{note}");
    scene.event("StatefulSet", "there", "StopOverdue").await?;
    scene.event("AISystem", "scorer", "StopOverdue").await?;
    let stuck = scene.list("pods").await?;
    let stuck: Vec<_> = stuck.iter().filter(|pod| pod["metadata"]["labels"]["app"] == "there").collect();
    ensure!(
        stuck.iter().all(|pod| before.contains(&uid(pod))),
        "a pod that may still run is gone: {stuck:?}"
    );
    ensure!(stuck.iter().all(|pod| pod["metadata"]["deletionTimestamp"].is_string()), "{stuck:?}");
    counted(&scene, &json!({ "running": 0, "held": 2, "terminating": 2 })).await?;
    sends_no_requests(operator).await?;
    ensure!(
        metric(operator, "assent_overdue_pods ").await? == 2,
        "the metric does not count the overdue pods"
    );

    // The Event `StopOverdue` recommends this command. Kubernetes then deletes the pods within about a minute.
    cluster.kubectl(Person::Admin, &["delete", "node", "lost"]).await?.ok()?;
    until(Duration::from_mins(3), "Kubernetes to delete the pods of the lost node", async || {
        Ok(scene.list("pods").await?.iter().all(|pod| !before.contains(&uid(pod))).then_some(()))
    })
    .await?;
    scene.held("there", 2).await?;
    counted(&scene, &json!({ "running": 0, "held": 4 })).await
}

pub async fn an_endless_finalizer_is_reported_and_delays_no_other_pod(
    cluster: &ControlPlane,
    operator: &Assent,
) -> Result<()> {
    let scene = scene_of_grace(cluster, "finalizer", 2).await?;
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
    ensure!(note.contains("finalizers example.com/never keep the pod"), "{note}");
    scene.event("Deployment", "kept", "StopOverdue").await?;
    counted(&scene, &json!({ "running": 0, "held": 4, "terminating": 2 })).await?;
    sends_no_requests(operator).await?;
    let said = scene.assent(Person::Dev, &["explain", &format!("pod/{name}")]).await?.ok()?;
    ensure!(said.contains("stopping"), "{said}");

    remove_finalizers(&scene, &before).await?;
    counted(&scene, &json!({ "running": 0, "held": 4 })).await?;
    // The operator sets the metric of overdue pods separately from the counts in the status of the system.
    until(SOON, "the metric to count no overdue pods", async || {
        Ok((metric(operator, "assent_overdue_pods ").await? == 0).then_some(()))
    })
    .await?;
    // The new, held pods have the finalizer too. The finalizer would delay the deletion of the namespace.
    remove_finalizers(&scene, &scene.pods("kept").await?).await
}

async fn remove_finalizers(scene: &Scenario<'_>, pods: &[Value]) -> Result<()> {
    for pod in pods {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let patch = ["patch", "pod", name, "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#];
        scene.kubectl(Person::Dev, &patch).await?;
    }
    Ok(())
}

/// A `ConfigMap` with a finalizer keeps the namespace in deletion. Meanwhile, the operator must not write to the
/// namespace.
pub async fn the_operator_does_not_write_to_a_namespace_being_deleted(
    cluster: &ControlPlane,
    operator: &Assent,
) -> Result<()> {
    let scene = scene_of_grace(cluster, "doomed", 60).await?;
    scene.apply(Person::Dev, &scene.deployment("runs", &container("1"))).await?;
    scene.apply(Person::Dev, &scene.deployment("waits", &container("other"))).await?;
    scene.running("runs", 2).await?;
    scene.held("waits", 2).await?;
    let kept = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "kept", "namespace": "doomed",
        "finalizers": ["example.com/never"] } });
    scene.apply(Person::Dev, &kept).await?;
    cluster.kubectl(Person::Admin, &["delete", "namespace", "doomed", "--wait=false"]).await?.ok()?;
    until(Duration::from_secs(40), "the objects of the namespace to be deleted", async || {
        for kind in ["pods", "approvals", "modelversions", "aisystems", "clearances"] {
            let left = scene.list(kind).await?.len();
            ensure!(left == 0, "{left} {kind} are left");
        }
        Ok(Some(()))
    })
    .await?;

    tokio::time::sleep(Duration::from_secs(1)).await;
    let errors = metric(operator, "assent_compile_errors_total").await?;
    sends_no_requests(operator).await?;
    let more = metric(operator, "assent_compile_errors_total").await? - errors;
    ensure!(more == 0, "{more} errors in a namespace that is being deleted");
    ensure!(
        errors < 10,
        "{errors} errors during the deletion of its objects:\n{}",
        operator.operator().log_tail(40)
    );
    ensure!(scene.list("clearances").await?.is_empty(), "the Clearance was created again");

    let patch = ["patch", "configmap", "kept", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#];
    scene.kubectl(Person::Admin, &patch).await?;
    cluster
        .kubectl(Person::Admin, &["wait", "--for=delete", "namespace/doomed", "--timeout=30s"])
        .await?
        .ok()?;
    // A new namespace with the same name must not get the state of the deleted namespace.
    let again = Scenario::new(cluster, "doomed", "limited").await?;
    counted(&again, &json!({ "running": 0, "held": 0 })).await?;
    again.publish("v1", &container("1")).await?;
    again.apply(Person::Dev, &again.deployment("runs", &container("1"))).await?;
    again.held("runs", 2).await?;
    counted(&again, &json!({ "running": 0, "held": 2 })).await
}

/// Held pods count in a quota, as all pending pods do. `explain` reports that the approved version v2 waits for quota.
/// After another workload frees quota, the pods of v2 run and replace the held pods of the revoked v1.
pub async fn explain_reports_a_quota_full_of_held_pods(cluster: &ControlPlane) -> Result<()> {
    let scene = scene_of_grace(cluster, "quota-full", 60).await?;
    scene.kubectl(Person::Admin, &["create", "quota", "pods", "--hard=pods=3"]).await?;
    until(SOON, "the quota to take effect", async || {
        Ok((scene.get("resourcequota", "pods").await?["status"]["hard"]["pods"] == "3").then_some(()))
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
    until(SOON, "explain to name the quota", async || {
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

/// Returns objects that make the API server busy for requests of dev, and for requests of the operator about the API
/// `groups`.
///
/// These requests share a priority level that serves one request at a time. The API server responds with 429 to any
/// further request. One request of dev occupies this priority level for one minute: the API server calls six webhooks
/// for it, one after the other. Nothing responds at `address`, so the API server ends each TLS handshake after ten
/// seconds.
fn overload(namespace: &str, address: &str, groups: &[&str]) -> Value {
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
        { "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration", "metadata": { "name": namespace },
          "webhooks": (1..=6).map(webhook).collect::<Vec<_>>() },
        { "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "PriorityLevelConfiguration", "metadata": { "name": namespace },
          "spec": { "type": "Limited", "limited": { "nominalConcurrencyShares": 0, "lendablePercent": 0,
                    "borrowingLimitPercent": 0, "limitResponse": { "type": "Reject" } } } },
        { "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema", "metadata": { "name": namespace },
          "spec": { "matchingPrecedence": 2, "priorityLevelConfiguration": { "name": namespace },
                    "rules": [{ "subjects": [operator], "resourceRules": [of(groups)] },
                              { "subjects": [dev], "resourceRules": [of(&["*"])] }] } },
    ] })
}

/// Runs `work` while the API server responds with 429 to each request of the operator about `groups`. The API server
/// can respond in this way for at most one minute.
async fn while_busy(
    scene: &Scenario<'_>,
    groups: &[&str],
    work: impl Future<Output = Result<()>>,
) -> Result<()> {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let overload = overload(&scene.namespace, &silent.local_addr()?.to_string(), groups);
    scene.apply(Person::Admin, &overload).await?;
    // Until the API server uses the flow schema, a request of dev uses another priority level.
    until(SOON, "the API server to use the flow schema", async || {
        scene.kubectl(Person::Dev, &["get", "configmaps"]).await?;
        let metrics = scene.cluster.kubectl(Person::Admin, &["get", "--raw", "/metrics"]).await?.ok()?;
        Ok(metrics.contains(&flow_schema(scene)).then_some(()))
    })
    .await?;
    let occupying = until(Duration::from_mins(3), "never", async || {
        scene.kubectl(Person::Dev, &["create", "configmap", "occupied", "--dry-run=server"]).await?;
        Ok(None::<()>)
    });
    let working = async {
        let patience = Duration::from_mins(1);
        let asked = tokio::time::timeout(patience, silent.accept()).await;
        let _open = asked.context("the request of dev did not reach the webhook")??;
        work.await
    };
    tokio::select! {
        occupied = occupying => occupied?,
        worked = working => worked?,
    }
    let schema = format!("flowschema/{}", scene.namespace);
    scene.cluster.kubectl(Person::Admin, &["delete", &schema]).await?.ok().map(drop)
}

fn flow_schema(scene: &Scenario<'_>) -> String {
    format!("flow_schema=\"{}\"", scene.namespace)
}

/// Returns the number of requests in the flow schema of the scenario to which the API server responded with 429.
async fn rejected(scene: &Scenario<'_>) -> Result<u64> {
    let schema = flow_schema(scene);
    let metrics = scene.cluster.kubectl(Person::Admin, &["get", "--raw", "/metrics"]).await?.ok()?;
    let of_this_schema = |line: &&str| {
        line.starts_with("apiserver_flowcontrol_rejected_requests_total{") && line.contains(&schema)
    };
    let counts = metrics
        .lines()
        .filter(of_this_schema)
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    Ok(counts.sum::<f64>() as u64)
}

/// The API server responds with 429 to the operator while twenty pods wait for their release and two pods must stop.
/// The operator may lose its lease and restart once.
pub async fn the_operator_backs_off_on_429_and_then_catches_up(
    cluster: &ControlPlane,
    operator: &Assent,
) -> Result<()> {
    let lost = scene_of_grace(cluster, "busy-lost", 60).await?;
    lost.apply(Person::Dev, &lost.deployment("scorer", &container("1"))).await?;
    lost.running("scorer", 2).await?;
    let gained = Scenario::new(cluster, "busy-gained", "limited").await?;
    let digest = gained.publish("v1", &container("1")).await?;
    let mut many = gained.deployment("scorer", &container("1"));
    many["spec"]["replicas"] = json!(20);
    gained.apply(Person::Dev, &many).await?;
    gained.held("scorer", 20).await?;

    Box::pin(while_busy(&lost, &["*"], async {
        let (begin, before) = (Instant::now(), rejected(&lost).await?);
        revoke(&lost, "v1").await?;
        gained.decide(Person::Alice, &gained.decision("Approve", "v1", &digest, "risk-officer")).await?;
        tokio::time::sleep(Duration::from_secs(50)).await;
        let exits = operator.operator().log_tail(1000).matches("the lease was lost").count();
        ensure!(exits <= 1, "the operator exited {exits} times:\n{}", operator.operator().log_tail(20));
        lost.running("scorer", 2).await.context("stopped while the API server was busy")?;
        gained.held("scorer", 20).await.context("released while the API server was busy")?;
        let asked = rejected(&lost).await? - before;
        println!("{asked} answers of 429 within {:.0?}, {exits} restarts", begin.elapsed());
        ensure!((10..600).contains(&asked), "{asked} requests within 50 s of 429 answers");
        Ok(())
    }))
    .await?;
    let begin = Instant::now();
    lost.held("scorer", 2).await?;
    gained.running("scorer", 20).await?;
    println!("caught up within {:.1?}", begin.elapsed());
    ensure!(
        begin.elapsed() < Duration::from_secs(30),
        "the operator caught up only after {:?}",
        begin.elapsed()
    );
    counted(&lost, &json!({ "running": 0, "held": 2 })).await?;
    counted(&gained, &json!({ "running": 20, "held": 0 })).await?;
    lost.event("Deployment", "scorer", "ClearanceLost").await?;
    gained.event("Deployment", "scorer", "Released").await.map(drop)
}

/// The clearance of forty pods expires while the API server responds with 429 to the requests about pods and
/// Events. Requests about the Lease succeed, so the operator keeps its lease.
pub async fn delayed_stops_and_events_follow_a_busy_api_server_without_a_request_storm(
    cluster: &ControlPlane,
    operator: &Assent,
) -> Result<()> {
    let scene = scene_of_grace(cluster, "busy-moment", 60).await?;
    let end = approve_until(&scene, "v2", "2", 60).await?;
    let mut many = scene.deployment("many", &container("2"));
    many["spec"]["replicas"] = json!(40);
    scene.apply(Person::Dev, &many).await?;
    scene.running("many", 40).await?;
    // The API server is busy for at most one minute, so the load begins shortly before the end of the clearance.
    sleep_past(end - Duration::from_secs(20)).await;
    while_busy(&scene, &["", "apps", "events.k8s.io", "policy"], async {
        // The operator still gets the new pods, because its watch of pods is open.
        scene.apply(Person::Admin, &scene.deployment("waits", &container("other"))).await?;
        scene.held("waits", 2).await?;
        ensure!(Timestamp::now() < end, "the machine is too slow for this test");
        sleep_past(end).await;
        let before = rejected(&scene).await?;
        tokio::time::sleep(Duration::from_secs(10)).await;
        let asked = rejected(&scene).await? - before;
        println!("{asked} answers of 429 about 40 pods within ten seconds");
        ensure!((5..100).contains(&asked), "{asked} requests about 40 pods within ten seconds");
        scene.running("many", 40).await.context("stopped while the API server was busy")?;
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
    ensure!(
        !log.contains("EvictionDelayed"),
        "the operator treats 429 of a busy API server as a disruption budget"
    );
    ensure!(operator.operator().is_running(), "{}", operator.operator().log_tail(20));
    Ok(())
}

/// The API server refuses the write that removes an expired version from the `Clearance`. If the operator stopped the
/// pods now, the API server would refuse the new pods instead of holding them. So the operator waits until the write
/// succeeds, but for at most half of the grace period.
pub async fn i2_expired_pods_stop_by_half_of_their_grace_without_a_new_clearance(
    cluster: &ControlPlane,
    _operator: &Assent,
) -> Result<()> {
    let patient = scene_of_grace(cluster, "unwritten-patient", 240).await?;
    let scene = scene_of_grace(cluster, "unwritten", 40).await?;
    approve_until(&patient, "v2", "2", 60).await?;
    let end = approve_until(&scene, "v2", "2", 60).await?;
    for scene in [&patient, &scene] {
        scene.apply(Person::Dev, &scene.deployment("scorer", &container("2"))).await?;
        scene.running("scorer", 2).await?;
    }
    for scene in [&patient, &scene] {
        scene.refuse_clearances_unless("false", "this test refuses every Clearance").await?;
    }
    ensure!(Timestamp::now() < end, "the machine is too slow for this test");
    sleep_past(end + Duration::from_secs(5)).await;
    for scene in [&patient, &scene] {
        let clearance = scene.get("clearance", "clearance").await?;
        let cleared = clearance["spec"]["systems"]["scorer"]["cleared"].to_string();
        ensure!(cleared.contains(r#""v2""#), "the operator wrote the clearance: {cleared}");
        scene.running("scorer", 2).await.context("stopped before replacements could be held")?;
    }
    sleep_past(end + Duration::from_secs(20)).await;
    scene.settled("scorer", 0, 0).await.context("still running after half of the grace")?;
    patient.running("scorer", 2).await?;
    for scene in [&patient, &scene] {
        scene.accept_clearances().await?;
    }
    patient.held("scorer", 2).await?;
    scene.held("scorer", 2).await.map(drop)
}
