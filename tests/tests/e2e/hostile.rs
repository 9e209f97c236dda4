//! The API server can store objects that most clients cannot parse. These unreadable objects must not affect other
//! objects.
//!
//! One test stores unreadable objects of the kinds that people create and the operator watches. Then an approval and a revocation in
//! another namespace must take effect within seconds: at once, after a restart of the operator, and after the operator
//! listed all objects again.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use assent_tests::{
    Assent, Component, ControlPlane, FAR, Person, SECRET, SOON, Scenario, Specimen, container, until,
};
use kube::{
    api::{Patch, PatchParams},
    core::Request,
};
use serde_json::{Value, json};

use crate::outage::stage;

/// The longest allowed time for a decision to take effect on a loaded machine.
const SECONDS: Duration = Duration::from_secs(10);

const ROLE: &str = "assent-operator";

fn shortened(text: &str) -> String {
    text.chars().take(160).collect()
}

async fn decides_in_time(scene: &Scenario<'_>, when: &str, revision: &str) -> Result<()> {
    let digest = scene.publish(revision, &container(revision)).await?;
    let begun = Instant::now();
    scene.decide(Person::Alice, &scene.decision("Approve", revision, &digest, "risk-officer")).await?;
    scene.is_cleared(revision).await?;
    let approved = begun.elapsed();
    let begun = Instant::now();
    scene.decide(Person::Alice, &scene.decision("Revoke", revision, &digest, "risk-officer")).await?;
    scene.condition("modelversion", revision, "Cleared", "False", "Revoked").await?;
    let revoked = begun.elapsed();
    eprintln!("{when}: approved within {approved:.1?}, revoked within {revoked:.1?}");
    ensure!(
        approved < SECONDS && revoked < SECONDS,
        "{when}: approved after {approved:?}, revoked after {revoked:?}"
    );
    Ok(())
}

/// Checks that an Event, a condition and metrics report the unreadable objects, that the operator is ready, and that
/// the log contains no secret.
async fn reports_unreadable_objects(assent: &Assent, scene: &Scenario<'_>) -> Result<()> {
    let log = std::fs::read_to_string(assent.operator().log())?;
    ensure!(!log.contains(SECRET), "the log has an environment variable of a container");
    ensure!(log.len() < 1 << 20, "the log has {} bytes", log.len());
    let note = scene.event("Job", "odd", "UnreadableObject").await?;
    ensure!(note.contains("spec.template.metadata.creationTimestamp"), "{note}");
    ensure!(note.contains(&format!("kubectl edit job odd -n {}", scene.namespace)), "{note}");
    let message = scene.condition("aisystem", "odd", "Ready", "False", "UnreadableObject").await?;
    ensure!(message.contains("spec.decommission.date"), "{message}");
    let metrics = assent.get("/metrics").await?;
    for kind in ["Job", "CronJob", "StatefulSet", "AISystem"] {
        let line = format!("assent_invalid_objects{{kind=\"{kind}\"}} ");
        let value = metrics.lines().find_map(|l| l.strip_prefix(line.as_str())).unwrap_or("missing");
        ensure!(value.parse::<u32>().is_ok_and(|n| n > 0), "{line}{value}");
    }
    let ready = assent.get("/readyz").await?;
    ensure!(ready.starts_with("HTTP/1.1 200") && ready.ends_with("ok"), "{ready}");
    Ok(())
}

pub async fn unreadable_objects_of_any_kind_affect_only_themselves() -> Result<()> {
    let (cluster, assent) = stage().await?;
    let victim = Scenario::new(&cluster, "victim", "limited").await?;
    let digest = victim.publish("v1", &container("1")).await?;
    victim.decide(Person::Alice, &victim.decision("Approve", "v1", &digest, "risk-officer")).await?;
    victim.apply(Person::Dev, &victim.deployment("scorer", &container("1"))).await?;
    victim.running("scorer", 2).await?;

    for (namespace, labels) in
        [("hostile", json!({})), ("hostile-governed", json!({ "assent.dev/mode": "enforce" }))]
    {
        let hostile = Scenario::governed_by(&cluster, namespace, "limited", &labels).await?;
        for specimen in
            Specimen::all(&hostile)?.iter().filter(|s| namespace == "hostile" || s.is_namespaced())
        {
            specimen.create(&cluster).await?;
            let answers = specimen.make_odd(&cluster).await?;
            for (what, answer) in &answers {
                if let Err(error) = answer {
                    eprintln!(
                        "the API server refuses a {} with {what}: {}",
                        specimen.kind,
                        shortened(&error.to_string())
                    );
                }
            }
            ensure!(
                answers.iter().any(|(_, answer)| answer.is_ok()),
                "the API server stored no odd {}",
                specimen.kind
            );
        }
        decides_in_time(&victim, &format!("{namespace}, live"), &format!("{namespace}-live")).await?;
    }

    assent.operator().kill();
    assent.operator().restart()?;
    decides_in_time(&victim, "after a restart", "restarted").await?;
    victim.running("scorer", 2).await?;
    victim.decide(Person::Alice, &victim.decision("Revoke", "v1", &digest, "risk-officer")).await?;
    victim.held("scorer", 2).await?;
    let hostile = Scenario { cluster: &cluster, namespace: "hostile".to_owned() };
    reports_unreadable_objects(&assent, &hostile).await?;

    cluster.restart(Component::ApiServer).await?;
    Assent::governed(&cluster).await?;
    // On a busy machine, a watch can back off until long after the restart of the API server.
    until(Duration::from_mins(3), "all watches", async || {
        let metrics = assent.get("/metrics").await?;
        let mut watches = metrics.lines().filter(|line| line.starts_with("assent_watch_up{"));
        Ok(watches.all(|line| line.ends_with(" 1")).then_some(()))
    })
    .await?;
    decides_in_time(&victim, "after a relist", "relisted").await?;
    reports_unreadable_objects(&assent, &hostile).await
}

/// Regression test: in an earlier version of Assent, each unreadable object broke the watch of its kind. Twelve such
/// objects delayed a revocation by 70 s.
pub async fn many_unreadable_objects_do_not_delay_a_revocation(cluster: &ControlPlane) -> Result<()> {
    let victim = Scenario::new(cluster, "undelayed", "limited").await?;
    let hostile = Scenario::governed_by(cluster, "delaying", "limited", &json!({})).await?;
    let digest = victim.publish("v1", &container("1")).await?;
    victim.decide(Person::Alice, &victim.decision("Approve", "v1", &digest, "risk-officer")).await?;
    victim.is_cleared("v1").await?;
    // The unreadable objects are Approvals, because the same watch delivers the revocation.
    let mut names = Vec::new();
    for number in 0..12 {
        let approval = hostile.decision("Approve", &format!("odd-{number}"), &digest, "risk-officer");
        names.push(hostile.decide(Person::Alice, &approval).await?);
    }
    let client = cluster.client(Person::Admin)?;
    let odd = json!({ "metadata": { "managedFields": [{ "manager": "odd", "operation": "Update", "time": FAR,
        "apiVersion": "assent.dev/v1alpha1", "fieldsType": "FieldsV1", "fieldsV1": { "f:metadata": {} } }] } });
    for name in &names {
        let path = "/apis/assent.dev/v1alpha1/namespaces/delaying/approvals";
        let request = Request::new(path).patch(name, &PatchParams::default(), &Patch::Merge(&odd))?;
        let stored = client.request_text(request).await?;
        ensure!(stored.contains(FAR), "the API server did not store the odd time: {stored}");
    }
    let revocation = victim.decision("Revoke", "v1", &digest, "risk-officer");
    victim.decide(Person::Alice, &revocation).await?;
    let begun = Instant::now();
    victim.condition("modelversion", "v1", "Cleared", "False", "Revoked").await?;
    ensure!(begun.elapsed() < Duration::from_secs(2), "the revocation took {:?}", begun.elapsed());
    Ok(())
}

/// The test removes the operator's permission to list Approvals. The readiness check and a metric of the leader report the broken watch. A standby
/// stays ready.
pub async fn a_leader_with_a_broken_watch_is_not_ready_and_names_the_watch(
    cluster: &ControlPlane,
    assent: &Assent,
) -> Result<()> {
    let mut role: Value = serde_json::from_str(
        &cluster.kubectl(Person::Admin, &["get", "clusterrole", ROLE, "-o=json"]).await?.ok()?,
    )?;
    if let Some(metadata) = role["metadata"].as_object_mut() {
        metadata.remove("resourceVersion");
    }
    let complete = role.to_string();
    let rules = role["rules"].as_array_mut().context("no rules")?;
    for rule in rules {
        if let Some(resources) = rule["resources"].as_array_mut() {
            resources.retain(|resource| resource != "approvals");
        }
    }
    let replaced = cluster.kubectl_stdin(Person::Admin, &["replace", "-f", "-"], &role.to_string()).await?;
    replaced.ok()?;
    assent.operator().kill();
    assent.operator().restart()?;
    let answer = until(SOON, "the operator to report that it is not ready", async || {
        let answer = assent.get("/readyz").await?;
        Ok(answer.starts_with("HTTP/1.1 503").then_some(answer))
    })
    .await?;
    let words = "cannot list: the API server answers 403 Forbidden";
    let Some(line) = answer.lines().find(|line| line.contains("the watch of Approval has failed for")) else {
        bail!("the answer does not name the watch: {answer}")
    };
    ensure!(line.contains(words), "the answer has no reason: {line}");
    let metrics = assent.get("/metrics").await?;
    ensure!(
        metrics.contains("assent_watch_up{kind=\"Approval\"} 0"),
        "the metric does not report the broken watch: {metrics}"
    );
    ensure!(metrics.contains("assent_watch_up{kind=\"AISystem\"} 1"), "another watch is down: {metrics}");
    let standby = Assent::start(cluster, "standby").await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    ensure!(
        standby.get("/readyz").await?.starts_with("HTTP/1.1 200"),
        "a standby must be ready, because it decides nothing"
    );
    cluster.kubectl_stdin(Person::Admin, &["replace", "-f", "-"], &complete).await?.ok().map(drop)
}
