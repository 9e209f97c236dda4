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
