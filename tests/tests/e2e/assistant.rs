//! Shared steps of the tests of Flux and Argo CD. The example repositories in these tests contain one system, an
//! assistant for customer support.

use anyhow::{Context, Result, ensure};
use assent_tests::{ControlPlane, Layout, Person, SOON, Scenario, from_now, root, until};
use serde_json::{Value, json};
use std::fs;

/// The name of the system and of its Deployment.
pub const SYSTEM: &str = "support-assistant";

pub const VERSION: &str = "support-assistant-v1";

/// Returns a scenario for the namespace of the system. The GitOps controller creates this namespace from the
/// repository.
pub fn scene(cluster: &ControlPlane) -> Scenario<'_> {
    Scenario { cluster, namespace: "support".to_owned() }
}

/// Decides about the version as the risk officer Alice. First waits until the version exists, because Argo CD applies
/// the version after the Deployment.
pub async fn decide(scene: &Scenario<'_>, decision: &str) -> Result<()> {
    until(SOON, "the version", async || scene.get("modelversion", VERSION).await.map(Some)).await?;
    let args = [decision, SYSTEM, "--version", VERSION, "--reason=for the test", "--yes"];
    scene.assent(Person::Alice, &args).await?.ok().map(drop)
}

/// Decommissions the system as the administrator: at `date`, or now if `date` is `None`.
pub async fn decommission(scene: &Scenario<'_>, date: Option<&str>) -> Result<()> {
    let args = ["decommission", SYSTEM, "--reason=its model is no longer served", "--yes"];
    let date = date.map(|date| format!("--date={date}"));
    let args = args.into_iter().chain(date.as_deref()).collect::<Vec<_>>();
    scene.assent(Person::Admin, &args).await?.ok().map(drop)
}

pub async fn is_decommissioned(scene: &Scenario<'_>) -> Result<()> {
    let system = scene.get("aisystem", SYSTEM).await?;
    ensure!(system["spec"]["decommission"]["reason"] == "its model is no longer served", "{system}");
    Ok(())
}

/// The name of a monitor with an invalid query.
pub const INVALID_MONITOR: &str = "invalid";

/// Applies an incident that holds nothing, a note, an override that nobody grants, and two monitors. Waits until the
/// operator has written the conditions of these objects, except the note, which has no status. Returns the kinds and
/// names of the objects.
pub async fn of_incidents(scene: &Scenario<'_>) -> Result<[(&'static str, &'static str); 5]> {
    let mut incident = scene.incident("complaint", &json!({ "effect": "None" }));
    let mut asked = scene.override_(VERSION, "urgent", &scene.digest_of(VERSION).await?);
    for manifest in [&mut incident, &mut asked] {
        manifest["spec"]["system"] = json!(SYSTEM);
    }
    scene.apply(Person::Admin, &incident).await?;
    scene.apply(Person::Admin, &scene.note("fact", "complaint")).await?;
    scene.apply(Person::Admin, &asked).await?;
    for (name, query) in [("watch", "spd"), (INVALID_MONITOR, "sum(")] {
        let spec = json!({ "system": SYSTEM, "query": query, "onBreach": "Warn" });
        scene.apply(Person::Admin, &scene.monitor(name, &spec)).await?;
    }
    // The test runs no Prometheus, so the monitor `watch` gets no answer.
    scene.condition("monitor", "watch", "WithinLimits", "Unknown", "NoAnswer").await?;
    scene.condition("monitor", INVALID_MONITOR, "Stalled", "True", "QueryInvalid").await?;
    scene.condition("incident", "complaint", "Holding", "False", "NoEffect").await?;
    scene.condition("override", "urgent", "Granted", "False", "NotAllowed").await?;
    Ok([
        ("incident", "complaint"),
        ("incidentnote", "fact"),
        ("override", "urgent"),
        ("monitor", "watch"),
        ("monitor", INVALID_MONITOR),
    ])
}

pub async fn unsigned(scene: &Scenario<'_>) -> Result<Value> {
    let digest = scene.digest_of(VERSION).await?;
    let mut approval = scene.decision("Approve", VERSION, &digest, "risk-officer");
    approval["spec"]["system"] = json!(SYSTEM);
    approval["metadata"] = json!({ "name": "mine", "namespace": scene.namespace });
    Ok(approval)
}

/// Changes the risk level in the layout `one-repository`: the level then requires a signed fairness result.
pub fn require_result(layout: &Layout) -> Result<()> {
    let level = "one-repository/governance/risklevel-limited.yaml";
    let required = json!({ "name": "fairness", "kind": "Fairness", "metric": "demographic_parity_difference",
        "slice": "sex", "comparator": "AtMost", "threshold": "0.05", "minSamples": 100, "maxErrorRate": "0",
        "maxAge": "24h", "role": "risk-officer" });
    layout.edit(level, "  images: Digest\n", &format!("  images: Digest\n  assessments: [{required}]\n"))
}

/// Adds a file with a fairness result of the version to the layout `one-repository`, as CI does.
pub async fn record(scene: &Scenario<'_>, layout: &Layout, name: &str, value: &str) -> Result<()> {
    let digest = scene.digest_of(VERSION).await?;
    let mut result = scene.assessment(name, &digest, value, &from_now(-2));
    result["spec"]["system"] = json!(SYSTEM);
    result["spec"]["modelVersion"] = json!(VERSION);
    layout.add("one-repository/support", &format!("{name}.yaml"), &result)
}

pub async fn attest(scene: &Scenario<'_>, name: &str) -> Result<()> {
    scene.condition("assessment", name, "Counted", "False", "AwaitingSignature").await?;
    let args = ["attest", SYSTEM, "--version", VERSION, "--assessment", name, "--yes"];
    scene.assent(Person::Alice, &args).await?.ok().map(drop)
}

pub async fn replicas(scene: &Scenario<'_>, count: u32) -> Result<()> {
    until(SOON, &format!("{count} replicas"), async || {
        let deployment = scene.get("deployment", SYSTEM).await?;
        ensure!(deployment["spec"]["replicas"] == count, "replicas is {}", deployment["spec"]["replicas"]);
        Ok(Some(()))
    })
    .await
}

/// Reads an object without its status and resource version, because the operator can write the status at any time. The
/// result contains the managed fields, except those of the status.
pub async fn as_written(scene: &Scenario<'_>, kind: &str, namespace: &str, name: &str) -> Result<Value> {
    let get = ["get", kind, name, "-n", namespace, "-o=json", "--show-managed-fields"];
    let mut object: Value = serde_json::from_str(&scene.cluster.kubectl(Person::Admin, &get).await?.ok()?)?;
    object["status"].take();
    object["metadata"]["resourceVersion"].take();
    if let Some(managers) = object["metadata"]["managedFields"].as_array_mut() {
        managers.retain(|manager| manager["subresource"] != "status");
    }
    Ok(object)
}

/// Creates a key for the risk officer Erin, and adds the public key to the role in the layout `many-clusters`. Returns
/// the path of the private key.
pub fn register_key(layout: &Layout) -> Result<String> {
    let key = layout.path("erin").display().to_string();
    let args = ["-q", "-t", "ed25519", "-N", "", "-C", "erin@example.com", "-f", &key];
    ensure!(std::process::Command::new("ssh-keygen").args(args).status()?.success(), "ssh-keygen failed");
    let public = fs::read_to_string(layout.path("erin.pub"))?;
    let role = "many-clusters/governance/approverrole-risk-officer.yaml";
    let example = fs::read_to_string(layout.path(role))?;
    let placeholder = example.lines().find(|line| line.contains("publicKey:")).context("no public key")?;
    layout.edit(role, placeholder, &format!("      publicKey: {}", public.trim()))?;
    Ok(key)
}

/// Signs an approval of the version with `key`, in the cluster of `scene`. Adds the approval to the layout
/// `many-clusters`.
pub async fn sign(scene: &Scenario<'_>, layout: &Layout, key: &str) -> Result<()> {
    const APPROVALS: &str = "many-clusters/support/approvals";
    let file = layout.path(APPROVALS).join("erin.yaml").display().to_string();
    let args = ["approve", SYSTEM, "--version", VERSION, "--ssh-key", key, "--to", &file, "--yes"];
    scene.assent(Person::Admin, &args).await?.ok()?;
    let signed: Value = serde_saphyr::from_str(&fs::read_to_string(&file)?)?;
    layout.add(APPROVALS, "erin.yaml", &signed)
}

/// Reads docs/gitops.md. Returns the YAML from the text `first` to the end of its code block.
pub fn documented(first: &str) -> Result<Value> {
    let document = fs::read_to_string(root().join("docs/gitops.md"))?;
    let block = &document[document.find(first).context("docs/gitops.md has no such line")?..];
    Ok(serde_saphyr::from_str(&block[..block.find("```").context("the code block has no end")?])?)
}
