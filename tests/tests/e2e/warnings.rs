//! Warnings of the policies. The API server warns about a change that stops pods or holds new pods, but accepts the
//! change.

use anyhow::{Result, ensure};
use assent_tests::{ControlPlane, Person, SOON, Scenario, container, digest, until};
use serde_json::json;

use Person::{Admin, Dev};

/// Runs a change as a dry run, which must succeed. Returns what kubectl prints to standard error.
async fn warned(scene: &Scenario<'_>, person: Person, args: &[&str]) -> Result<String> {
    let args = [args, &["--dry-run=server", "-n", &scene.namespace]].concat();
    let said = scene.cluster.kubectl(person, &args).await?;
    ensure!(said.status.success(), "a warning refused the change: {said:?}");
    Ok(said.stderr)
}

async fn running<'a>(cluster: &'a ControlPlane, name: &str) -> Result<Scenario<'a>> {
    let scene = Scenario::new(cluster, name, "high").await?;
    scene.clear("v1", &container("1")).await?;
    scene.apply(Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.running("scorer", 2).await?;
    until(SOON, "the status to count the pods", async || {
        Ok((scene.get("aisystem", "scorer").await?["status"]["pods"]["running"] == 2).then_some(()))
    })
    .await?;
    Ok(scene)
}

pub async fn a_system_change_warns_how_many_pods_it_stops(cluster: &ControlPlane) -> Result<()> {
    let scene = running(cluster, "warned-system").await?;
    let patch = |spec: &str| format!(r#"{{"spec":{spec}}}"#);
    for (spec, wanted) in [
        (r#"{"riskLevel":"limited"}"#, "a change of spec.riskLevel ends all its approvals"),
        (r#"{"intendedPurpose":"Another."}"#, "a change of spec.intendedPurpose ends all its approvals"),
        (r#"{"jurisdictions":["EU"]}"#, "a change of spec.jurisdictions ends all its approvals"),
        (r#"{"documentation":[]}"#, "a change of spec.documentation can end its clearance"),
        (r#"{"owners":[{"kind":"User","name":"alice"}]}"#, "a change of spec.owners can end its clearance"),
        (r#"{"decommission":{"date":"2026-01-01T00:00:00Z","reason":"old"}}"#, "stop for good at 2026-01-01"),
    ] {
        let said =
            warned(&scene, Admin, &["patch", "aisystem/scorer", "--type=merge", "-p", &patch(spec)]).await?;
        ensure!(said.contains("Warning: ") && said.contains(wanted), "{spec}: {said}");
        ensure!(said.contains("its 2 running pods stop"), "{spec}: {said}");
    }
    let said = warned(&scene, Admin, &["delete", "aisystem/scorer"]).await?;
    ensure!(said.contains("AI system scorer is being deleted: its 2 running pods stop"), "{said}");
    let said = warned(&scene, Admin, &["delete", "modelversion/v1"]).await?;
    ensure!(said.contains("model version v1 is cleared: without it the pods that run it stop"), "{said}");

    let said = warned(&scene, Admin, &["annotate", "aisystem/scorer", "note=1"]).await?;
    ensure!(!said.contains("Warning"), "no pod stops, but there is a warning: {said}");
    let owner = patch(r#"{"owners":[{"kind":"User","name":"dev"}],"dependsOn":[{"name":"other"}]}"#);
    let said = warned(&scene, Admin, &["patch", "aisystem/scorer", "--type=merge", "-p", &owner]).await?;
    ensure!(!said.contains("Warning"), "no pod stops, but there is a warning: {said}");
    Ok(())
}

pub async fn a_risk_level_change_warns_how_many_systems_and_pods_it_affects(
    cluster: &ControlPlane,
) -> Result<()> {
    let scene = Scenario::new(cluster, "warned-level", "limited").await?;
    let level = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "RiskLevel",
        "metadata": { "name": "warned-level" }, "spec": { "validity": "8760h" } });
    scene.apply(Admin, &level).await?;
    let patch = ["patch", "risklevel/warned-level", "--type=merge", "-p", r#"{"spec":{"validity":"1h"}}"#];
    let said = warned(&scene, Admin, &patch).await?;
    ensure!(!said.contains("Warning"), "no system has the level, but there is a warning: {said}");
    scene.apply(Admin, &scene.system("warned-level")).await?;
    scene.publish("v1", &container("1")).await?;
    scene.is_cleared("v1").await?;
    scene.apply(Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.running("scorer", 2).await?;
    until(SOON, "the level to count its systems and pods", async || {
        Ok((scene.get("risklevel", "warned-level").await?["status"]["runningPods"] == 2).then_some(()))
    })
    .await?;
    let said = warned(&scene, Admin, &patch).await?;
    ensure!(
        said.contains("a change of spec.validity applies at once to 1 AI systems with 2 running pods"),
        "{said}"
    );
    let described = r#"{"spec":{"description":"Other words."}}"#;
    let said =
        warned(&scene, Admin, &["patch", "risklevel/warned-level", "--type=merge", "-p", described]).await?;
    ensure!(!said.contains("Warning"), "a new description has no effect, but there is a warning: {said}");
    Ok(())
}

pub async fn a_workload_change_warns_that_its_pods_will_be_held(cluster: &ControlPlane) -> Result<()> {
    let scene = running(cluster, "warned-workload").await?;
    let said = warned(&scene, Dev, &["set", "env", "deployment/scorer", "HF_ENDPOINT=https://other.example"])
        .await?;
    let wanted = "deployment/scorer: its pods will be held: it is not what was approved for AI system scorer";
    ensure!(said.contains(wanted), "{said}");
    ensure!(said.contains("kubectl assent explain deployment/scorer -n warned-workload"), "{said}");
    let image = format!("server=registry.example/scorer@{}", digest('b'));
    let said = warned(&scene, Dev, &["set", "image", "deployment/scorer", &image]).await?;
    ensure!(said.contains(wanted), "{said}");
    let said = warned(&scene, Dev, &["scale", "deployment/scorer", "--replicas=3"]).await?;
    ensure!(!said.contains("Warning"), "the template is unchanged, but there is a warning: {said}");
    let said = warned(&scene, Dev, &["annotate", "deployment/scorer", "note=1"]).await?;
    ensure!(!said.contains("Warning"), "the template is unchanged, but there is a warning: {said}");
    Ok(())
}
