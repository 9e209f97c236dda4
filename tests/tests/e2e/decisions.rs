//! Decisions stay on record. A rejection or revocation applies to the same content under every name, until a later
//! decision replaces it.

use std::time::Duration;

use anyhow::{Result, ensure};
use assent::api::Digest;
use assent_tests::{Assent, ControlPlane, Person, SOON, Scenario, container, digest, until};
use serde_json::{Value, json};

use crate::refusals::says;

use Person::{Admin, Alice, Bob, Carol, Dev};

const SYSTEM: &str = "scorer";

/// Waits for the next second. The timestamps of decisions have whole seconds, and a later decision must have a later
/// timestamp.
async fn next_second() {
    tokio::time::sleep(Duration::from_millis(1100)).await;
}

async fn withheld(scene: &Scenario<'_>, version: &str, reason: &str) -> Result<String> {
    scene.condition("modelversion", version, "Cleared", "False", reason).await
}

async fn notes(scene: &Scenario<'_>, kind: &str, name: &str, reason: &str) -> Result<Vec<String>> {
    let events = scene.list("events.v1.events.k8s.io").await?;
    let matching = events.iter().filter(|event| {
        event["reason"] == reason && event["regarding"]["kind"] == kind && event["regarding"]["name"] == name
    });
    Ok(matching.map(|event| event["note"].as_str().unwrap_or_default().to_owned()).collect())
}

pub async fn a_rejection_or_revocation_is_one_event_on_version_and_system(
    cluster: &ControlPlane,
) -> Result<()> {
    let scene = Scenario::new(cluster, "announced", "high").await?;
    scene.publish("v1", &container("1")).await?;
    let why = format!("no bias test {}", "x".repeat(400));
    let reject = ["reject", "scorer", "--version=v1", "--yes", "--reason"];
    scene.assent(Bob, &[&reject[..], &[&why]].concat()).await?.ok()?;
    for (kind, name) in [("ModelVersion", "v1"), ("AISystem", "scorer")] {
        let note = scene.event(kind, name, "Rejected").await?;
        says(&note, &["v1 was rejected by bob as ethics-board: no bias test", "kubectl assent explain"])?;
        ensure!(note.chars().count() <= 300, "{note}");
    }
    let status = scene.assent(Alice, &["status", "scorer"]).await?.ok()?;
    says(&status, &["rejected by bob: no bias test"])?;
    // The decision of another person causes a new Event. The operator does not repeat the first Event.
    let revoke = ["revoke", "scorer", "--version=v1", "--role=risk-officer", "--reason=drift", "--yes"];
    scene.assent(Alice, &revoke).await?.ok()?;
    let note = scene.event("ModelVersion", "v1", "Revoked").await?;
    says(&note, &["v1 was revoked by alice as risk-officer: drift"])?;
    scene.kubectl(Admin, &["annotate", "aisystem/scorer", "note=1"]).await?;
    let rejected = notes(&scene, "ModelVersion", "v1", "Rejected").await?;
    ensure!(rejected.len() == 1, "{rejected:?}");
    Ok(())
}

/// If the reason why pods are held changes, the operator sends a new Event `Held`. The operator does not count this
/// Event as a repetition of the earlier Event.
pub async fn a_held_event_states_the_current_cause(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "current-cause", "high").await?;
    scene.publish("v1", &container("1")).await?;
    let mut deployment = scene.deployment("scorer", &container("1"));
    scene.apply(Dev, &deployment).await?;
    for (kind, name) in [("Deployment", "scorer"), ("AISystem", "scorer")] {
        says(&scene.event(kind, name, "Held").await?, &["awaiting approval"])?;
    }
    scene.assent(Bob, &["reject", "scorer", "--version=v1", "--yes", "--reason=no bias test"]).await?.ok()?;
    withheld(&scene, "v1", "Rejected").await?;
    deployment["spec"]["replicas"] = json!(3);
    scene.apply(Dev, &deployment).await?;
    for (kind, name) in [("Deployment", "scorer"), ("AISystem", "scorer")] {
        until(SOON, "an Event about the rejection", async || {
            let notes = notes(&scene, kind, name, "Held").await?;
            Ok(notes.iter().any(|note| note.contains("rejected by bob")).then_some(()))
        })
        .await?;
    }
    Ok(())
}

/// Within a minute, the operator sends equal Events about a system only once. An equal Event after this minute only
/// increases the count in the series of the first Event.
pub async fn an_equal_event_after_a_minute_is_counted_in_a_series(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "event-series", "high").await?;
    scene.publish("v1", &container("1")).await?;
    scene.apply(Dev, &scene.pod("first", &container("1"))).await?;
    scene.event("AISystem", SYSTEM, "Held").await?;
    tokio::time::sleep(Duration::from_secs(65)).await;
    scene.apply(Dev, &scene.pod("second", &container("1"))).await?;
    until(SOON, "a series of two Events", async || {
        let events = scene.list("events.v1.events.k8s.io").await?;
        let about_system =
            |event: &&Value| event["reason"] == "Held" && event["regarding"]["kind"] == "AISystem";
        let held: Vec<_> = events.iter().filter(about_system).collect();
        ensure!(held.len() == 1, "{} Events about the system", held.len());
        Ok((held[0]["series"]["count"] == 2).then_some(()))
    })
    .await
}

/// Approves a version as people other than Alice, who rejects and revokes in these tests.
async fn others_approve(scene: &Scenario<'_>, version: &str) -> Result<()> {
    let digest = scene.digest_of(version).await?;
    scene.decide(Carol, &scene.decision("Approve", version, &digest, "risk-officer")).await?;
    scene.decide(Bob, &scene.decision("Approve", version, &digest, "ethics-board")).await.map(drop)
}

pub async fn rejected_digest_stays_withheld_under_a_new_name(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "renamed-rejected", "high").await?;
    let digest = scene.publish("v2", &container("2")).await?;
    let rejection = scene.decide(Alice, &scene.decision("Reject", "v2", &digest, "risk-officer")).await?;
    withheld(&scene, "v2", "Rejected").await?;
    next_second().await;
    ensure!(scene.publish("v3", &container("2")).await? == digest, "the same content has another digest");
    others_approve(&scene, "v3").await?;
    let message = withheld(&scene, "v3", "Rejected").await?;
    says(&message, &["rejected by alice", "under the name v2", &format!("approval/{rejection}")])?;
    // After a user deletes the version that the rejection names, the rejection still applies to v3.
    scene.kubectl(Dev, &["delete", "modelversion", "v2"]).await?;
    until(SOON, "the rejection to name the affected version", async || {
        let message = scene.condition("approval", &rejection, "Counted", "True", "Counted").await?;
        says(&message, &["the decision counts for v3"]).map(Some)
    })
    .await?;
    withheld(&scene, "v3", "Rejected").await?;
    let review = scene.assent(Carol, &["approve", SYSTEM, "--version=v3", "--role=risk-officer"]).await?;
    says(
        &review.stdout,
        &["OBJECTIONS to this content", "rejected by alice as risk-officer under the name v2"],
    )?;
    scene.apply(Dev, &scene.deployment("scorer", &container("2"))).await?;
    scene.held("scorer", 2).await?;
    // A version with the old name and the same content is withheld too.
    scene.publish("v2", &container("2")).await?;
    withheld(&scene, "v2", "Rejected").await?;
    next_second().await;
    scene.decide(Alice, &scene.decision("Approve", "v3", &digest, "risk-officer")).await?;
    scene.is_cleared("v3").await?;
    scene.running("scorer", 2).await.map(drop)
}

pub async fn revoked_digest_stays_withheld_under_a_new_name(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "renamed-revoked", "high").await?;
    scene.clear("v1", &container("1")).await?;
    let digest = scene.digest_of("v1").await?;
    next_second().await;
    let revocation = scene.decide(Alice, &scene.decision("Revoke", "v1", &digest, "risk-officer")).await?;
    withheld(&scene, "v1", "Revoked").await?;
    scene.kubectl(Dev, &["delete", "modelversion", "v1"]).await?;
    scene.publish("v4", &container("1")).await?;
    let message = withheld(&scene, "v4", "Revoked").await?;
    says(&message, &["revoked by alice", "under the name v1", &format!("approval/{revocation}")])?;
    scene.publish("v1", &container("1")).await?;
    withheld(&scene, "v1", "Revoked").await?;
    next_second().await;
    others_approve(&scene, "v4").await?;
    scene.is_cleared("v4").await?;
    // An approval counts only for the version that it names. So v1 needs its own approval.
    withheld(&scene, "v1", "Revoked").await.map(drop)
}

pub async fn review_shows_the_nearest_rejected_version(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "nearest-rejected", "high").await?;
    let digest = scene.publish("v2", &container("2")).await?;
    scene.decide(Alice, &scene.decision("Reject", "v2", &digest, "risk-officer")).await?;
    withheld(&scene, "v2", "Rejected").await?;
    scene.publish("v3", &container("3")).await?;
    let review = scene.assent(Carol, &["approve", SYSTEM, "--version=v3", "--role=risk-officer"]).await?;
    says(
        &review.stdout,
        &["NEAREST to v2, which was rejected", "alice rejected as risk-officer", "--revision=3"],
    )
}

pub async fn review_names_content_that_can_change_after_the_approval(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "unpinned", "high").await?;
    let mut container = container("1");
    container["args"] = json!(["--model=org/chat", "--trust-remote-code"]);
    container["env"] = json!([{ "name": "STORAGE_URI", "value": "s3://models/chat" }]);
    container["volumeMounts"] = json!([{ "name": "config", "mountPath": "/config" }]);
    let sources = json!([{ "configMap": { "name": "prompts" } }, { "secret": { "name": "hub" } }]);
    let volume = json!({ "name": "config", "projected": { "sources": sources } });
    let runtime = json!({ "containers": [container], "volumes": [volume] });
    scene.apply(Admin, &scene.version_of("v1", &runtime)).await?;
    scene.digest_of("v1").await?;
    let review = scene.assent(Carol, &["approve", SYSTEM, "--version=v1", "--role=risk-officer"]).await?;
    let all = ["config map prompts", "secret hub", "org/chat", "remote", "s3://models/chat"];
    says(&review.stdout, &all)?;
    ensure!(!review.stdout.contains("nothing was found"), "{}", review.stdout);
    Ok(())
}

pub async fn decisions_stay_immutable_when_an_admin_edits_their_definition() -> Result<()> {
    let cluster = ControlPlane::start().await?;
    let assent = Assent::install(&cluster).await?;
    let scene = Scenario::new(&cluster, "no-rules", "high").await?;
    let digest = scene.publish("v1", &container("1")).await?;
    let decided = scene.decide(Alice, &scene.decision("Revoke", "v1", &digest, "risk-officer")).await?;
    for definition in ["approvals.assent.dev", "modelversions.assent.dev"] {
        let spec: Value = serde_json::from_str(
            &scene.kubectl(Admin, &["get", "customresourcedefinition", definition, "-o=json"]).await?,
        )?;
        let mut spec = spec;
        let schema = &mut spec["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        schema.as_object_mut().map(|schema| schema.remove("x-kubernetes-validations"));
        scene.apply(Admin, &spec).await?;
    }
    let approve = json!({ "spec": { "decision": "Approve" } }).to_string();
    let said = scene.denied(Admin, &["patch", "approval", &decided, "--type=merge", "-p", &approve]).await?;
    says(&said, &["assent-approvals", "is final: create another Approval"])?;
    let other = json!({ "spec": { "provenance": { "rationale": "another" } } }).to_string();
    let said = scene.denied(Admin, &["patch", "modelversion", "v1", "--type=merge", "-p", &other]).await?;
    says(&said, &["assent-modelversions", "is immutable"])?;
    drop(assent);
    Ok(())
}

async fn shown(scene: &Scenario<'_>, digest: &Digest) -> Result<String> {
    until(SOON, "the recorded content", async || {
        let said = scene.assent(Alice, &["show", &digest.short()]).await?;
        Ok(said.status.success().then_some(said.stdout))
    })
    .await
}

pub async fn decided_content_stays_after_its_objects_are_deleted_and_replaced(
    cluster: &ControlPlane,
) -> Result<()> {
    let scene = Scenario::new(cluster, "pruned", "high").await?;
    scene.clear("v1", &container("1")).await?;
    let approved = scene.digest_of("v1").await?;
    let rejected = scene.publish("v2", &container("2")).await?;
    scene.decide(Alice, &scene.decision("Reject", "v2", &rejected, "risk-officer")).await?;
    withheld(&scene, "v2", "Rejected").await?;
    // GitOps tools delete objects that are no longer in Git. So Assent allows these deletions: no policy refuses them,
    // and no finalizer delays them.
    scene.kubectl(Dev, &["delete", "modelversion/v1", "modelversion/v2", "aisystem/scorer"]).await?;
    for (digest, revision, decision) in [(&approved, "1", "Approve"), (&rejected, "2", "Reject")] {
        let said = shown(&scene, digest).await?;
        let revision = format!("--revision={revision}");
        says(&said, &["verified: true", "Scores.", &revision, decision, "alice", &digest.to_string()])?;
    }
    let said = scene.assent(Alice, &["history", SYSTEM]).await?.ok()?;
    says(
        &said,
        &[&format!("kubectl assent show {}", approved.short()), "Rejected", "alice as risk-officer"],
    )?;
    // The new v1 has other content under the same name.
    scene.apply(Admin, &scene.system("high")).await?;
    scene.clear("v1", &container("9")).await?;
    let now = scene.digest_of("v1").await?;
    says(&shown(&scene, &now).await?, &["--revision=9"])?;
    says(&shown(&scene, &approved).await?, &["--revision=1"])?;

    let name = approved.to_string().replace(':', "-");
    for person in [Dev, Admin] {
        let said = scene.denied(person, &["delete", "decisionsubject", &name]).await?;
        says(&said, &["is part of the record and cannot be deleted"])?;
        let other = json!({ "spec": { "modelVersion": "v9" } }).to_string();
        let said =
            scene.denied(person, &["patch", "decisionsubject", &name, "--type=merge", "-p", &other]).await?;
        says(&said, &["is part of the record and cannot be changed"])?;
        let mut forged = scene.get("decisionsubject", &name).await?;
        forged["metadata"] = json!({ "name": "sha256-forged", "namespace": scene.namespace });
        let said = scene.refused(person, &forged).await?;
        says(&said, &["written by Assent only"])?;
    }
    Ok(())
}

pub async fn a_replaced_impact_assessment_withholds_until_it_is_approved_again(
    cluster: &ControlPlane,
) -> Result<()> {
    let scene = Scenario::new(cluster, "replaced-document", "high").await?;
    scene.clear("v1", &container("1")).await?;
    let signed = scene.digest_of("v1").await?;
    let mut system = scene.system("high");
    system["spec"]["documentation"][0]["uri"] = json!("https://moved.example");
    scene.apply(Dev, &system).await?;
    ensure!(scene.digest_of("v1").await? == signed, "a new address of the same document changed the digest");
    system["spec"]["documentation"][0]["digest"] = json!(digest('9'));
    scene.apply(Dev, &system).await?;
    withheld(&scene, "v1", "AwaitingApproval").await?;
    ensure!(scene.digest_of("v1").await? != signed, "another document did not change the digest");
    scene.approve("v1").await
}
