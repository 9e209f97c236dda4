//! Assent keeps its promises while the operator or the API server is down, paused or replaced.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use assent_tests::{
    Assent, Clock, Component, ControlPlane, NAMESPACE, Person, SOON, Scenario, container, until,
};
use k8s_openapi::jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use crate::{overrides, refusals::lift_as_operator};

pub async fn stage() -> Result<(ControlPlane, Assent)> {
    let cluster = ControlPlane::start().await?;
    let assent = Assent::install(&cluster).await?;
    Ok((cluster, assent))
}

pub async fn approve_until(
    scene: &Scenario<'_>,
    version: &str,
    revision: &str,
    seconds: i64,
) -> Result<Timestamp> {
    let digest = scene.publish(version, &container(revision)).await?;
    let end = Timestamp::from_second(Timestamp::now().as_second() + seconds)?;
    let mut approval = scene.decision("Approve", version, &digest, "risk-officer");
    approval["spec"]["notAfter"] = json!(end);
    scene.decide(Person::Alice, &approval).await?;
    scene.is_cleared(version).await?;
    Ok(end)
}

pub async fn sleep_past(end: Timestamp) {
    let wait = Duration::try_from(end.duration_since(Timestamp::now())).unwrap_or_default();
    tokio::time::sleep(wait + Duration::from_millis(200)).await;
}

fn uids(pods: &[Value]) -> Vec<Value> {
    let mut uids: Vec<_> = pods.iter().map(|pod| pod["metadata"]["uid"].clone()).collect();
    uids.sort_by_key(ToString::to_string);
    uids
}

pub async fn i5_without_an_operator_only_cleared_pods_start(
    cluster: &ControlPlane,
    assent: &Assent,
) -> Result<()> {
    let scene = Scenario::new(cluster, "down", "limited").await?;
    let rules = json!({ "maxDuration": "1h", "roles": [{ "role": "risk-officer" }], "waivable": ["Approval"],
        "perSystem": { "count": 1, "within": "1h" }, "review": { "within": "1h", "roles": ["ethics-board"] } });
    let overridden = overrides::scene(cluster, "down-overridden", &rules).await?;
    let end = approve_until(&scene, "v1", "1", 15).await?;
    overrides::overrule(&overridden, "outage", &end.to_string()).await?;
    overridden.condition("modelversion", "v1", "Cleared", "True", "ClearedByOverride").await?;
    scene.apply(Person::Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.running("scorer", 2).await?;
    assent.operator().kill();
    overridden.apply(Person::Dev, &overridden.pod("in-time", &container("v1"))).await?;

    scene.kubectl(Person::Dev, &["scale", "deployment/scorer", "--replicas=3"]).await?;
    scene.running("scorer", 3).await?;
    scene.apply(Person::Dev, &scene.pod("uncleared", &container("other"))).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let uncleared = scene.get("pod", "uncleared").await?;
    ensure!(uncleared["spec"]["nodeName"].is_null(), "an uncleared pod was bound: {uncleared}");

    // No operator runs. The API server itself compares the end of the clearance with its own clock.
    ensure!(Timestamp::now() < end, "the machine is too slow for this test");
    sleep_past(end).await;
    let said = scene.refused(Person::Dev, &scene.pod("late", &container("1"))).await?;
    ensure!(said.contains("AI system scorer has no clearance that is valid at"), "{said}");
    let said = overridden.refused(Person::Dev, &overridden.pod("late", &container("v1"))).await?;
    ensure!(said.contains("AI system scorer has no clearance that is valid at"), "an ended override: {said}");

    assent.operator().restart()?;
    scene.held("scorer", 3).await.map(drop)
}

pub async fn i1_an_operator_that_missed_an_expiry_releases_nothing(
    cluster: &ControlPlane,
    assent: &Assent,
) -> Result<()> {
    let scene = Scenario::new(cluster, "overslept", "limited").await?;
    for name in ["in-time", "too-late"] {
        scene.apply(Person::Dev, &scene.pod(name, &container("1"))).await?;
        scene.event("Pod", name, "Held").await?;
    }
    let digest = scene.publish("v1", &container("1")).await?;
    assent.operator().kill();
    // The test writes the Clearance with the account of the operator, as if the operator had crashed just after this
    // write.
    let end = Timestamp::from_second(Timestamp::now().as_second() + 10)?;
    let cleared = json!([{ "modelVersion": "v1", "subjectDigest": digest, "notAfter": end,
        "runtime": { "containers": [container("1")] } }]);
    let mut clearance = scene.get("clearance", "clearance").await?;
    clearance["spec"]["systems"]["scorer"]["cleared"] = cleared;
    let operator = cluster.service_account(NAMESPACE, "assent").await?;
    cluster.run(&operator, "kubectl", &["replace", "-f", "-"], Some(&clearance.to_string())).await?.ok()?;
    // The policies see the new Clearance after a short delay.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let said = lift_as_operator(&scene, "in-time", Some("assent-release")).await?;
    ensure!(said.is_empty() && Timestamp::now() < end, "a cleared pod was not released: {said}");
    sleep_past(end).await;
    let clearance = scene.get("clearance", "clearance").await?;
    ensure!(
        clearance["spec"]["systems"]["scorer"]["cleared"][0]["modelVersion"] == "v1",
        "the Clearance changed: {clearance}"
    );
    let said = lift_as_operator(&scene, "too-late", Some("assent-release")).await?;
    ensure!(said.contains("has no valid clearance for it"), "an expired clearance released a pod: {said:?}");
    Ok(())
}

pub async fn i2_a_restarted_operator_stops_pods_that_lost_their_clearance_meanwhile(
    cluster: &ControlPlane,
    assent: &Assent,
) -> Result<()> {
    let scene = Scenario::new(cluster, "lost-while-down", "high").await?;
    scene.clear("v1", &container("1")).await?;
    scene.apply(Person::Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.running("scorer", 2).await?;
    let before = uids(&scene.pods("scorer").await?);
    assent.operator().kill();
    assent.operator().restart()?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    ensure!(uids(&scene.pods("scorer").await?) == before, "a restart stopped cleared pods");
    assent.operator().kill();
    let digest = scene.digest_of("v1").await?;
    scene.decide(Person::Bob, &scene.decision("Reject", "v1", &digest, "ethics-board")).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    ensure!(uids(&scene.pods("scorer").await?) == before, "pods stopped without an operator");
    assent.operator().restart()?;
    scene.held("scorer", 2).await.map(drop)
}

pub async fn the_operator_reconnects_to_a_restarted_api_server(
    cluster: &ControlPlane,
    _assent: &Assent,
) -> Result<()> {
    let scene = Scenario::new(cluster, "api-restart", "high").await?;
    scene.publish("v1", &container("1")).await?;
    scene.apply(Person::Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.held("scorer", 2).await?;
    cluster.kill(Component::ApiServer)?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    cluster.restart(Component::ApiServer).await?;
    // Until the API server has discovered the custom resources again, the policies refuse approvals.
    let approve = async || scene.approve("v1").await.map(Some);
    until(SOON, "the API server to accept approvals again", approve).await?;
    scene.running("scorer", 2).await.map(drop)
}

/// The environment variable that says how often the test restarts the API server. The default is one restart. To
/// measure how often pods are refused, use a higher number.
const RESTARTS: &str = "ASSENT_TEST_RESTARTS";

/// The parameter of Assent's policies is the kind `Clearance`. To find this kind, the API server needs discovery data,
/// which it reads at its start and again after 30 seconds. No client can trigger an earlier read.
pub async fn a_restarted_api_server_refuses_governed_pods_for_at_most_half_a_minute(
    cluster: &ControlPlane,
    _assent: &Assent,
) -> Result<()> {
    let scene = Scenario::new(cluster, "api-restarts", "high").await?;
    scene.clear("v1", &container("1")).await?;
    let pod = scene.pod("probe", &container("1"));
    let mut free = pod.clone();
    free["metadata"]["namespace"] = json!("default");
    let job = scene.workload("batch/v1", "Job", "probe", &assent_tests::pod_spec(&container("1")));
    let restarts = std::env::var(RESTARTS).ok().and_then(|count| count.parse().ok()).unwrap_or(1);
    for restart in 1..=restarts {
        cluster.kill(Component::ApiServer)?;
        cluster.restart(Component::ApiServer).await?;
        let (ready, mut last, mut refusals) = (Instant::now(), Duration::ZERO, 0);
        // The loop ends after five seconds without a refusal.
        while ready.elapsed() < last + Duration::from_secs(5) {
            let said = cluster.dry_run(Person::Dev, &pod).await?;
            let of_job = cluster.dry_run(Person::Dev, &job).await?;
            let ungoverned = cluster.dry_run(Person::Admin, &free).await?;
            ensure!(ungoverned.is_ok(), "an ungoverned pod was refused: {ungoverned:?}");
            for refusal in [said, of_job].into_iter().filter_map(Result::err) {
                ensure!(refusal.contains("failed to find resource referenced by paramKind"), "{refusal}");
                (last, refusals) = (ready.elapsed(), refusals + 1);
                ensure!(last < Duration::from_secs(35), "refused for {last:.1?} after it was ready");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        eprintln!("restart {restart} of {restarts}: {refusals} refusals, the last {last:.1?} after /readyz");
    }
    Ok(())
}

pub async fn one_operator_leads_and_hands_over_on_termination(
    cluster: &ControlPlane,
    first: &Assent,
) -> Result<()> {
    let second = Assent::start(cluster, "second").await?;
    is_on_standby(&second).await?;
    ensure!(lease(cluster).await?["holderIdentity"] == "operator", "{}", lease(cluster).await?);
    let status = first.operator().terminate(Duration::from_secs(10)).await?;
    ensure!(status.success(), "the operator ended with {status}:\n{}", first.operator().log_tail(20));
    let begin = Instant::now();
    leads(cluster, "second").await?;
    ensure!(begin.elapsed() < Duration::from_secs(8), "the lease expired instead of being released");
    let scene = Scenario::new(cluster, "handed-over", "high").await?;
    scene.apply(Person::Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.clear("v1", &container("1")).await?;
    scene.running("scorer", 2).await.map(drop)
}

async fn lease(cluster: &ControlPlane) -> Result<Value> {
    Ok(cluster.reader().get("lease", NAMESPACE, "assent").await?["spec"].take())
}

/// Waits until `operator` leads. The timeout is the sum of the lease duration, one retry and some extra time.
async fn leads(cluster: &ControlPlane, operator: &str) -> Result<()> {
    until(Duration::from_secs(25 + 3 + 10), &format!("{operator} to lead"), async || {
        Ok((lease(cluster).await?["holderIdentity"] == operator).then_some(()))
    })
    .await
}

async fn is_on_standby(operator: &Assent) -> Result<()> {
    until(Duration::from_secs(10), "an operator to be on standby", async || {
        Ok(operator.operator().log_tail(50).contains("standing by").then_some(()))
    })
    .await
}

pub async fn i2_a_standby_takes_over_within_the_lease_and_stops_uncleared_pods(
    cluster: &ControlPlane,
    first: &Assent,
) -> Result<()> {
    let second = Assent::start(cluster, "second").await?;
    is_on_standby(&second).await?;
    let scene = Scenario::new(cluster, "takeover", "high").await?;
    scene.clear("v1", &container("1")).await?;
    scene.apply(Person::Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.running("scorer", 2).await?;
    first.operator().kill();
    let digest = scene.digest_of("v1").await?;
    scene.decide(Person::Carol, &scene.decision("Revoke", "v1", &digest, "ethics-board")).await?;
    leads(cluster, "second").await?;
    scene.held("scorer", 2).await?;
    first.operator().restart()?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    ensure!(
        lease(cluster).await?["holderIdentity"] == "second",
        "the restarted operator took the lease back"
    );
    Ok(())
}

/// Returns the number of cluster-wide list requests for a resource since the API server started, from all clients.
async fn lists_of(cluster: &ControlPlane, resource: &str) -> Result<u32> {
    let metrics = cluster.kubectl(Person::Admin, &["get", "--raw", "/metrics"]).await?.ok()?;
    let lists = metrics.lines().filter(|line| {
        line.starts_with("apiserver_request_total{")
            && [
                format!("resource=\"{resource}\""),
                r#"verb="LIST""#.to_owned(),
                r#"scope="cluster""#.to_owned(),
            ]
            .iter()
            .all(|l| line.contains(l.as_str()))
    });
    lists.map(|line| Ok(line.rsplit(' ').next().unwrap_or_default().parse::<u32>()?)).sum()
}

pub async fn a_standby_fills_its_cache_and_writes_nothing_until_it_leads(
    cluster: &ControlPlane,
    first: &Assent,
) -> Result<()> {
    let scene = Scenario::new(cluster, "standby", "high").await?;
    scene.publish("v1", &container("1")).await?;
    scene.apply(Person::Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.held("scorer", 2).await?;
    let lists_of_the_first = lists_of(cluster, "pods").await?;
    ensure!(lists_of_the_first > 0, "the API server counts no list requests");
    let second = Assent::start(cluster, "second").await?;
    is_on_standby(&second).await?;
    until(Duration::from_secs(10), "the standby to list pods before it leads", async || {
        Ok((lists_of(cluster, "pods").await? > lists_of_the_first).then_some(()))
    })
    .await?;
    ensure!(lease(cluster).await?["holderIdentity"] == "operator", "{}", lease(cluster).await?);
    first.operator().kill();
    scene.approve_without_waiting("v1").await?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    ensure!(lease(cluster).await?["holderIdentity"] == "operator", "the lease expired too soon");
    let clearance = scene.get("clearance", "clearance").await?;
    ensure!(
        clearance["spec"]["systems"]["scorer"]["cleared"].is_null(),
        "the standby wrote the Clearance: {clearance}"
    );
    scene.held("scorer", 2).await?;
    let (pods, approvals) = (lists_of(cluster, "pods").await?, lists_of(cluster, "approvals").await?);
    leads(cluster, "second").await?;
    scene.running("scorer", 2).await?;
    ensure!(
        lists_of(cluster, "pods").await? == pods,
        "the new leader listed pods again instead of using its cache"
    );
    ensure!(
        lists_of(cluster, "approvals").await? > approvals,
        "the new leader compiled from approvals that it read before it led"
    );
    Ok(())
}

pub async fn i1_a_leader_paused_past_its_lease_releases_nothing_and_exits(
    cluster: &ControlPlane,
    first: &Assent,
) -> Result<()> {
    let second = Assent::start(cluster, "second").await?;
    is_on_standby(&second).await?;
    let scene = Scenario::new(cluster, "paused", "high").await?;
    scene.clear("v1", &container("1")).await?;
    scene.apply(Person::Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.running("scorer", 2).await?;
    first.operator().pause()?;
    let digest = scene.digest_of("v1").await?;
    scene.decide(Person::Carol, &scene.decision("Revoke", "v1", &digest, "ethics-board")).await?;
    leads(cluster, "second").await?;
    scene.held("scorer", 2).await?;
    let said = lift_as_operator(&scene, &held_pod(&scene).await?, Some("assent-release")).await?;
    ensure!(said.contains("has no valid clearance for it"), "a stale operator released a pod: {said:?}");

    first.operator().resume()?;
    until(SOON, "the stale leader to end", async || {
        let said = first.operator().log_tail(20);
        Ok((said.contains("no longer leads") && said.contains("the lease was lost")).then_some(()))
    })
    .await?;
    scene.held("scorer", 2).await?;
    ensure!(lease(cluster).await?["holderIdentity"] == "second", "the stale leader took the lease back");
    // A late write of the stale leader can still arrive in this second. This write must not disturb the new leader.
    tokio::time::sleep(Duration::from_secs(1)).await;
    scene.approve("v1").await?;
    scene.running("scorer", 2).await.map(drop)
}

async fn held_pod(scene: &Scenario<'_>) -> Result<String> {
    let pods = scene.pods("scorer").await?;
    Ok(pods.first().and_then(|pod| pod["metadata"]["name"].as_str()).context("no pod")?.to_owned())
}

/// The clock of the second operator is one minute ahead of the clock of the first operator. On the clock of the second
/// operator, the lease seems to have expired long ago. The second operator must not take this lease.
pub async fn operators_with_clocks_a_minute_apart_elect_one_leader(
    cluster: &ControlPlane,
    assent: &Assent,
) -> Result<()> {
    let clock = Clock::build(cluster.directory())?;
    let (slow, fast) = (clock.off_by(-30), clock.off_by(30));
    assent.operator().terminate(Duration::from_secs(10)).await?;
    let first = Assent::start_in(cluster, "first", cluster.server(), &slow).await?;
    leads(cluster, "first").await?;
    let renewed = lease(cluster).await?["renewTime"].as_str().unwrap_or_default().parse::<Timestamp>()?;
    ensure!(
        renewed + 20.seconds() < Timestamp::now(),
        "the clock of the first operator is not slow: {renewed}"
    );
    let second = Assent::start_in(cluster, "second", cluster.server(), &fast).await?;
    is_on_standby(&second).await?;
    for _ in 0..12 {
        let lease = lease(cluster).await?;
        ensure!(lease["holderIdentity"] == "first", "the lease changed its holder: {lease}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    ensure!(!second.operator().log_tail(50).contains("leading\n"), "both operators lead");
    first.operator().kill();
    leads(cluster, "second").await
}

pub async fn a_rolling_upgrade_loses_no_decision(cluster: &ControlPlane, first: &Assent) -> Result<()> {
    let second = Assent::start(cluster, "second").await?;
    let scene = Scenario::new(cluster, "upgraded", "high").await?;
    scene.clear("v1", &container("1")).await?;
    scene.apply(Person::Dev, &scene.deployment("stays", &container("1"))).await?;
    scene.running("stays", 2).await?;
    let before = uids(&scene.pods("stays").await?);
    scene.clear("v2", &container("2")).await?;
    scene.apply(Person::Dev, &scene.deployment("goes", &container("2"))).await?;
    scene.running("goes", 2).await?;
    scene.publish("v3", &container("3")).await?;
    scene.apply(Person::Dev, &scene.deployment("comes", &container("3"))).await?;
    scene.held("comes", 2).await?;

    let (v2, timeout) = (scene.digest_of("v2").await?, Duration::from_secs(10));
    let decisions = async {
        scene.decide(Person::Carol, &scene.decision("Revoke", "v2", &v2, "ethics-board")).await?;
        scene.approve_without_waiting("v3").await
    };
    let (ended, decided) = tokio::join!(first.operator().terminate(timeout), decisions);
    ensure!(ended?.success(), "{}", first.operator().log_tail(20));
    decided?;
    first.operator().restart()?;
    let ended = second.operator().terminate(timeout).await?;
    ensure!(ended.success(), "{}", second.operator().log_tail(20));
    second.operator().restart()?;
    scene.running("comes", 2).await?;
    scene.held("goes", 2).await?;
    ensure!(uids(&scene.pods("stays").await?) == before, "the upgrade stopped cleared pods");
    Ok(())
}

pub async fn health_and_metrics_are_served(_cluster: &ControlPlane, assent: &Assent) -> Result<()> {
    for path in ["/healthz", "/readyz"] {
        let answer = assent.get(path).await?;
        ensure!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"), "{path}: {answer}");
    }
    let metrics = assent.get("/metrics").await?;
    for metric in [
        "assent_compiles_total",
        "assent_held_pods",
        "assent_release_seconds_count",
        "assent_watch_errors_total",
    ] {
        ensure!(metrics.contains(metric), "no {metric} in {metrics}");
    }
    Ok(())
}

/// During the first half of the grace period, Assent respects the disruption budget. In the second half, Assent deletes
/// the pods.
pub async fn i2_a_disruption_budget_delays_a_stop_only_within_the_grace(
    cluster: &ControlPlane,
    _assent: &Assent,
) -> Result<()> {
    let scene = Scenario::new(cluster, "budget", "high").await?;
    let mut level = scene.get("risklevel", "limited").await?;
    level["metadata"] = json!({ "name": "swift" });
    level["spec"]["onLoss"] = json!({ "gracePeriodSeconds": 8 });
    scene.apply(Person::Admin, &level).await?;
    scene.apply(Person::Admin, &scene.system("swift")).await?;
    let digest = scene.publish("v1", &container("1")).await?;
    scene.decide(Person::Alice, &scene.decision("Approve", "v1", &digest, "risk-officer")).await?;
    scene.apply(Person::Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.running("scorer", 2).await?;
    scene
        .kubectl(Person::Dev, &["create", "pdb", "tight", "--selector=app=scorer", "--min-available=2"])
        .await?;
    until(Duration::from_secs(10), "the budget to count its pods", async || {
        Ok((scene.get("poddisruptionbudget", "tight").await?["status"]["currentHealthy"] == 2).then_some(()))
    })
    .await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begin = Instant::now();
    scene.decide(Person::Alice, &scene.decision("Revoke", "v1", &digest, "risk-officer")).await?;
    scene.condition("modelversion", "v1", "Cleared", "False", "Revoked").await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    ensure!(
        begin.elapsed() > Duration::from_millis(3900)
            || scene.pods("scorer").await?.iter().all(|p| p["status"]["phase"] == "Running"),
        "the budget was not respected"
    );
    scene.event("Deployment", "scorer", "EvictionDelayed").await?;
    scene.held("scorer", 2).await?;
    let took = begin.elapsed();
    ensure!(
        took >= Duration::from_secs(3) && took < Duration::from_secs(9),
        "the pods stopped after {took:?}"
    );
    let now = Timestamp::now() + 1.seconds();
    let created = |pod: &Value| {
        pod["metadata"]["creationTimestamp"].as_str().and_then(|at| at.parse::<Timestamp>().ok())
    };
    ensure!(
        scene.pods("scorer").await?.iter().filter_map(created).all(|at| at <= now),
        "a replacement has a creation time in the future"
    );
    Ok(())
}
