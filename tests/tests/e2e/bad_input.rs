//! Invalid input: the API server refuses the object, or a condition of the object names the mistake. An invalid object
//! clears no pod and does not affect other objects.

use std::time::Duration;

use anyhow::{Result, ensure};
use assent_tests::{ControlPlane, Person, Scenario, container, digest};
use serde_json::{Value, json};

use Person::{Admin, Alice, Dev};

async fn refused(scene: &Scenario<'_>, manifest: &Value, words: &str) -> Result<()> {
    let said = scene.refused(Admin, manifest).await?;
    ensure!(said.contains(words), "{words:?} is missing in: {said}");
    Ok(())
}

/// Returns a scenario in which v1 runs. Each test that calls this function checks at its end that v1 still runs.
async fn running<'a>(cluster: &'a ControlPlane, name: &str) -> Result<Scenario<'a>> {
    let scene = Scenario::new(cluster, name, "high").await?;
    scene.clear("v1", &container("1")).await?;
    scene.apply(Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.running("scorer", 2).await?;
    Ok(scene)
}

fn level(spec: &Value) -> Value {
    json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "RiskLevel", "metadata": { "name": "bad" }, "spec": spec })
}

pub async fn an_unknown_risk_level_is_a_condition(cluster: &ControlPlane) -> Result<()> {
    let scene = running(cluster, "unknown-level").await?;
    let mut other = scene.system("sky-high");
    other["metadata"]["name"] = json!("other");
    scene.apply(Admin, &other).await?;
    let mut version = scene.version("other-v1", &container("2"));
    version["spec"]["system"] = json!("other");
    scene.apply(Dev, &version).await?;
    let message =
        scene.condition("modelversion", "other-v1", "Cleared", "False", "RiskLevelNotFound").await?;
    ensure!(
        message.contains("there is no RiskLevel sky-high (list the risk levels: kubectl get risklevels)"),
        message
    );
    scene.condition("aisystem", "other", "Ready", "False", "RiskLevelNotFound").await?;
    scene.running("scorer", 2).await.map(drop)
}

pub async fn a_missing_system_is_a_condition(cluster: &ControlPlane) -> Result<()> {
    let scene = running(cluster, "missing-system").await?;
    let mut version = scene.version("orphan", &container("2"));
    version["spec"]["system"] = json!("nobodys");
    scene.apply(Dev, &version).await?;
    let message = scene.condition("modelversion", "orphan", "Cleared", "False", "SystemNotFound").await?;
    ensure!(message.contains("there is no AISystem nobodys"), message);
    let approval = scene.decision("Approve", "nothing", &digest('0').parse()?, "risk-officer");
    let approval = scene.decide(Alice, &approval).await?;
    scene.condition("approval", &approval, "Counted", "False", "SubjectNotFound").await?;
    scene.running("scorer", 2).await.map(drop)
}

pub async fn a_system_that_succeeds_itself_is_refused(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "own-successor", "high").await?;
    let mut system = scene.system("high");
    system["spec"]["decommission"] =
        json!({ "date": "2030-01-01T00:00:00Z", "reason": "old", "successor": "scorer" });
    refused(&scene, &system, "a system cannot be its own successor").await
}

pub async fn systems_that_succeed_each_other_are_not_ready(cluster: &ControlPlane) -> Result<()> {
    let scene = running(cluster, "cyclic").await?;
    for (name, next) in [("hen", "egg"), ("egg", "hen")] {
        let mut system = scene.system("high");
        system["metadata"]["name"] = json!(name);
        system["spec"]["decommission"] =
            json!({ "date": "2030-01-01T00:00:00Z", "reason": "old", "successor": next });
        scene.apply(Admin, &system).await?;
    }
    let message = scene.condition("aisystem", "hen", "Ready", "False", "SuccessorCycle").await?;
    ensure!(message.contains("hen -> egg -> hen"), message);
    let mut lonely = scene.system("high");
    lonely["metadata"]["name"] = json!("lonely");
    lonely["spec"]["decommission"] =
        json!({ "date": "2030-01-01T00:00:00Z", "reason": "old", "successor": "nobody" });
    scene.apply(Admin, &lonely).await?;
    let message = scene.condition("aisystem", "lonely", "Ready", "False", "SuccessorNotFound").await?;
    ensure!(message.contains("there is no AISystem nobody"), message);
    scene.running("scorer", 2).await.map(drop)
}

pub async fn an_invalid_validity_is_refused(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "zero-validity", "high").await?;
    let words = "must be a duration such as 8760h";
    refused(&scene, &level(&json!({ "validity": "0s" })), words).await?;
    refused(&scene, &level(&json!({ "validity": "90000h" })), words).await?;
    for validity in ["a year", "1y", "", "-1h", "1h 30m"] {
        refused(&scene, &level(&json!({ "validity": validity })), words).await?;
    }
    refused(
        &scene,
        &level(&json!({ "approvals": [{ "role": "risk-officer", "count": 0 }] })),
        "greater than or equal to 1",
    )
    .await?;
    refused(&scene, &level(&json!({ "onLoss": { "gracePeriodSeconds": -1 } })), "greater than or equal to 0")
        .await
}

pub async fn an_approval_cannot_end_in_the_past_but_a_system_can(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "past-date", "high").await?;
    let digest = scene.publish("v1", &container("1")).await?;
    let mut approval = scene.decision("Approve", "v1", &digest, "risk-officer");
    approval["spec"]["notAfter"] = json!("2020-01-01T00:00:00Z");
    let said = scene.undecided(Alice, &approval).await?;
    ensure!(
        said.contains("spec.notAfter 2020-01-01T00:00:00Z is in the past: choose a later time"),
        "{said}"
    );
    // A GitOps controller applies the same manifest again after the decommission date. So the API server must accept a
    // date in the past.
    let mut system = scene.system("high");
    system["spec"]["decommission"] = json!({ "date": "2020-01-01T00:00:00Z", "reason": "over" });
    scene.apply(Dev, &system).await?;
    scene.condition("aisystem", "scorer", "Cleared", "False", "Decommissioned").await?;
    system["metadata"]["name"] = json!("far");
    for date in ["9999-12-31T23:59:59Z", "tomorrow", "2026-13-01T00:00:00Z"] {
        system["spec"]["decommission"]["date"] = json!(date);
        let said = scene.refused(Dev, &system).await?;
        ensure!(said.contains("spec.decommission.date"), "{date}: {said}");
    }
    Ok(())
}

pub async fn a_list_of_invalid_length_is_refused(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "long-list", "high").await?;
    let mut many = container("1");
    many["args"] = json!(vec!["x"; 257]);
    refused(&scene, &scene.version("long", &many), "must have at most 256 items").await?;
    let owner = json!({ "kind": "User", "name": "dev" });
    let mut system = scene.system("high");
    system["spec"]["owners"] = json!(vec![owner; 33]);
    refused(&scene, &system, "must have at most 32 items").await?;
    system["spec"]["owners"] = json!([]);
    refused(&scene, &system, "should have at least 1 items").await
}

pub async fn an_invalid_digest_is_refused(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "not-a-digest", "high").await?;
    let good: Value = scene.decision("Approve", "v1", &digest('0').parse()?, "risk-officer");
    for bad in ["", "latest", "sha256:abc", &digest('0').to_uppercase(), "sha256:🦀"] {
        let mut approval = good.clone();
        approval["spec"]["subjectDigest"] = json!(bad);
        let said = scene.undecided(Alice, &approval).await?;
        ensure!(said.contains("spec.subjectDigest"), "{bad}: {said}");
    }
    Ok(())
}

pub async fn names_are_ascii_and_texts_may_be_unicode(cluster: &ControlPlane) -> Result<()> {
    let scene = running(cluster, "unicode").await?;
    let mut system = scene.system("high");
    system["metadata"]["name"] = json!("bonitätsprüfer");
    refused(&scene, &system, "Invalid value").await?;
    system["metadata"]["name"] = json!("okay");
    system["spec"]["riskLevel"] = json!("höchst");
    refused(&scene, &system, "spec.riskLevel").await?;
    system["spec"]["riskLevel"] = json!("high");
    system["spec"]["intendedPurpose"] = json!("Bonitätsprüfung für Verbraucher 🏦 \u{202e}gnirocs");
    scene.apply(Admin, &system).await?;
    scene.condition("aisystem", "okay", "Cleared", "False", "NoModelVersion").await?;
    scene.running("scorer", 2).await.map(drop)
}

pub async fn an_oversized_manifest_is_refused_and_an_oversized_version_is_withheld(
    cluster: &ControlPlane,
) -> Result<()> {
    let scene = running(cluster, "mebibyte").await?;
    let mut huge = scene.version("huge", &container("2"));
    huge["spec"]["provenance"]["rationale"] = json!("x".repeat(1 << 20));
    let said = scene.cluster.kubectl_stdin(Dev, &["create", "-f", "-"], &huge.to_string()).await?.denied()?;
    ensure!(
        said.contains("spec.provenance.rationale") && said.contains("4096"),
        "{}",
        &said[..said.len().min(500)]
    );
    // Two large versions together exceed the size limit of one system. So the operator withholds the second large
    // version, while v1 still runs.
    let mut large = container("2");
    large["args"] = json!(vec!["x".repeat(4000); 100]);
    let create = async |name: &str| {
        let manifest = scene.version(name, &large).to_string();
        scene.cluster.kubectl_stdin(Dev, &["create", "-f", "-"], &manifest).await?.ok()
    };
    for name in ["large-1", "large-2"] {
        create(name).await?;
        // If a system is too large, the operator withholds the newer version. Creation timestamps have whole seconds,
        // so this wait gives the versions different timestamps.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        scene.approve_without_waiting(name).await?;
    }
    scene.is_cleared("large-1").await?;
    let message = scene.condition("modelversion", "large-2", "Cleared", "False", "CapacityExceeded").await?;
    ensure!(message.contains("of the 524288 that one system can have"), message);
    scene.running("scorer", 2).await.map(drop)
}

pub async fn a_prohibited_level_clears_nothing(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "prohibited", "unacceptable").await?;
    let digest = scene.publish("v1", &container("1")).await?;
    scene.decide(Alice, &scene.decision("Approve", "v1", &digest, "risk-officer")).await?;
    let message = scene.condition("modelversion", "v1", "Cleared", "False", "Prohibited").await?;
    ensure!(message.contains("risk level unacceptable is prohibited"), message);
    scene.condition("modelversion", "v1", "Stalled", "True", "Prohibited").await.map(drop)
}

pub async fn missing_documents_are_all_named(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "documents", "high").await?;
    let mut system = scene.system("high");
    system["spec"]["documentation"] = json!([]);
    scene.apply(Dev, &system).await?;
    let mut version = scene.version("v1", &container("1"));
    version["spec"]["provenance"] = json!({});
    scene.apply(Dev, &version).await?;
    let message = scene.condition("modelversion", "v1", "Cleared", "False", "DocumentMissing").await?;
    let all = [
        "type impact-assessment",
        "type technical-documentation",
        "state Data",
        "state Tests",
        "state Rationale",
        "by role risk-officer",
        "by role ethics-board",
    ];
    for word in all {
        ensure!(message.contains(word), "{word:?} is missing in: {message}");
    }
    Ok(())
}
