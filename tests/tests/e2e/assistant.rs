//! The system of the example repositories, an assistant in customers' support, and the people around it.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use assent_tests::{ControlPlane, Layout, Person, Scenario, root, until};
use serde_json::{Value, json};

/// The system, and its Deployment.
pub const SYSTEM: &str = "support-assistant";

/// Its version.
pub const VERSION: &str = "support-assistant-v1";

/// How long what should happen at once may take on a loaded machine.
pub const SOON: Duration = Duration::from_mins(1);

/// Its namespace, which whoever applies the repositories makes.
pub fn scene(cluster: &ControlPlane) -> Scenario<'_> {
    Scenario { cluster, namespace: "support".to_owned() }
}

/// Alice, a risk officer, approves or revokes, once the version is applied: Argo CD does so after the Deployment.
pub async fn decide(scene: &Scenario<'_>, decision: &str) -> Result<()> {
    until(SOON, "the version", async || scene.get("modelversion", VERSION).await.map(Some)).await?;
    let args = [decision, SYSTEM, "--version", VERSION, "--reason=for the test", "--yes"];
    scene.assent(Person::Alice, &args).await?.ok().map(drop)
}

/// Ends it, by the admin: from `date` on, or now.
pub async fn decommission(scene: &Scenario<'_>, date: Option<&str>) -> Result<()> {
    let args = ["decommission", SYSTEM, "--reason=its model is no longer served", "--yes"];
    let date = date.map(|date| format!("--date={date}"));
    let args = args.into_iter().chain(date.as_deref()).collect::<Vec<_>>();
    scene.assent(Person::Admin, &args).await?.ok().map(drop)
}

/// That what was said in [`decommission`] still stands.
pub async fn is_decommissioned(scene: &Scenario<'_>) -> Result<()> {
    let system = scene.get("aisystem", SYSTEM).await?;
    ensure!(system["spec"]["decommission"]["reason"] == "its model is no longer served", "{system}");
    Ok(())
}

/// An approval of the version as a manifest, which nobody has signed.
pub async fn unsigned(scene: &Scenario<'_>) -> Result<Value> {
    let digest = scene.digest_of(VERSION).await?;
    let mut approval = scene.decision("Approve", VERSION, &digest, "risk-officer");
    approval["spec"]["system"] = json!(SYSTEM);
    approval["metadata"] = json!({ "name": "mine", "namespace": scene.namespace });
    Ok(approval)
}

/// Waits until the Deployment asks for so many pods.
pub async fn replicas(scene: &Scenario<'_>, count: u32) -> Result<()> {
    until(SOON, &format!("{count} replicas"), async || {
        let deployment = scene.get("deployment", SYSTEM).await?;
        ensure!(deployment["spec"]["replicas"] == count, "it is {}", deployment["spec"]["replicas"]);
        Ok(Some(()))
    })
    .await
}

/// An object as it is written, with who wrote what and when; but for its status, which is said anew as things change.
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

/// In the layout for many clusters: makes a key, and has Erin, a risk officer, sign with it.
pub fn may_sign(layout: &Layout) -> Result<String> {
    let key = layout.path("erin").display().to_string();
    let made = ["-q", "-t", "ed25519", "-N", "", "-C", "erin@example.com", "-f", &key];
    ensure!(std::process::Command::new("ssh-keygen").args(made).status()?.success(), "ssh-keygen");
    let public = fs::read_to_string(layout.path("erin.pub"))?;
    let role = "many-clusters/governance/approverrole-risk-officer.yaml";
    let example = fs::read_to_string(layout.path(role))?;
    let placeholder = example.lines().find(|line| line.contains("publicKey:")).context("a key")?;
    layout.edit(role, placeholder, &format!("      publicKey: {}", public.trim()))?;
    Ok(key)
}

/// Adds an approval that is signed with `key` to the layout for many clusters, as it is reviewed in one of them.
pub async fn sign(scene: &Scenario<'_>, layout: &Layout, key: &str) -> Result<()> {
    const APPROVALS: &str = "many-clusters/support/approvals";
    let file = layout.path(APPROVALS).join("erin.yaml").display().to_string();
    let args = ["approve", SYSTEM, "--version", VERSION, "--ssh-key", key, "--to", &file, "--yes"];
    scene.assent(Person::Admin, &args).await?.ok()?;
    let signed: Value = serde_saphyr::from_str(&fs::read_to_string(&file)?)?;
    layout.add(APPROVALS, "erin.yaml", &signed)
}

/// The YAML in docs/gitops.md that begins with `first`.
pub fn documented(first: &str) -> Result<Value> {
    let document = fs::read_to_string(root().join("docs/gitops.md"))?;
    let block = &document[document.find(first).context("the document has no such line")?..];
    Ok(serde_saphyr::from_str(&block[..block.find("```").context("no end")?])?)
}
