//! Assent and Argo CD. A version that awaits approval has the health Suspended in Argo CD. A rejected or revoked
//! version has the health Degraded. Argo CD writes nothing while the cluster matches Git.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use assent_tests::{
    ArgoCd, Assent, ControlPlane, Layout, Person, SOON, Scenario, container, pod_spec, until,
};
use serde_json::{Value, json};

use crate::assistant::{
    INVALID_MONITOR, SYSTEM, VERSION, as_written, attest, decide, decommission, documented,
    is_decommissioned, of_incidents, record, register_key, replicas, require_result, scene, sign, unsigned,
};
use Person::Admin;

/// The namespace of the example system (`scene`), Argo CD, and a local copy of example repositories (`layout`).
struct Stage<'a> {
    scene: Scenario<'a>,
    argo: ArgoCd<'a>,
    layout: Layout,
}

impl<'a> Stage<'a> {
    async fn new(cluster: &'a ControlPlane) -> Result<Self> {
        let scene = scene(cluster);
        let layout = Layout::copy("one-repository")?;
        Ok(Self { scene, argo: ArgoCd::install(cluster).await?, layout })
    }

    /// Commits the repository, and applies its Argo CD Applications. In these Applications, the address of the local
    /// copy replaces the example address.
    async fn bootstrap(&self) -> Result<()> {
        let url = self.layout.commit("one-repository")?;
        for application in ["governance", "support"] {
            let file = format!("one-repository/argocd/{application}.yaml");
            self.layout.edit(&file, "https://github.com/example/platform.git", &url)?;
        }
        let directory = self.layout.path("one-repository/argocd").display().to_string();
        self.scene.cluster.kubectl(Admin, &["apply", "-k", &directory]).await?.ok().map(drop)
    }

    /// Returns the time of the last sync of an Application, and the objects of the Application. The objects have no
    /// status, because the operator can write a status at any time.
    async fn written(&self, application: &str) -> Result<Vec<Value>> {
        let status = self.argo.application(application).await?["status"].take();
        let mut written = vec![status["operationState"]["finishedAt"].clone()];
        for resource in status["resources"].as_array().context("no resources")? {
            let kind = match resource["group"].as_str() {
                Some(group) => format!("{}.{group}", resource["kind"].as_str().context("no kind")?),
                None => resource["kind"].as_str().context("no kind")?.to_owned(),
            };
            let namespace = resource["namespace"].as_str().unwrap_or("default");
            let name = resource["name"].as_str().context("no name")?;
            written.push(as_written(&self.scene, &kind, namespace, name).await?);
        }
        Ok(written)
    }

    /// Checks that an Application stays Synced in ten refreshes. Also checks that nobody writes to the objects of the
    /// Application in this time, except to their statuses.
    async fn is_quiet(&self, application: &str) -> Result<()> {
        self.argo.refresh(application).await?;
        let before = self.written(application).await?;
        for _ in 0..10 {
            let status = self.argo.refresh(application).await?;
            ensure!(status["sync"]["status"] == "Synced", "{status}");
        }
        let after = self.written(application).await?;
        ensure!(before == after, "an object was written: {before:?}, then {after:?}");
        Ok(())
    }
}

pub async fn health_follows_the_decisions_without_flapping() -> Result<()> {
    let cluster = ControlPlane::start().await?;
    let _assent = Assent::install(&cluster).await?;
    let stage = Stage::new(&cluster).await?;
    stage.bootstrap().await?;
    let (scene, argo) = (&stage.scene, &stage.argo);
    argo.is("governance", "Healthy").await?;
    scene.held(SYSTEM, 2).await?;
    for kind in ["AISystem", "ModelVersion"] {
        argo.shows("support", kind, "Suspended", "kubectl assent approve support-assistant").await?;
    }
    // The command `argocd` reports the same health.
    for (kind, name, health) in [
        ("aisystem", SYSTEM, "Suspended"),
        ("modelversion", VERSION, "Suspended"),
        ("risklevel", "limited", "Healthy"),
    ] {
        let object = scene.get(kind, name).await?;
        let said = argo.override_says("health", &object).await?;
        ensure!(said.contains(&format!("STATUS: {health}")), "{kind}: {said}");
    }
    let menu = argo.override_says("list-actions", &scene.get("modelversion", VERSION).await?).await?;
    let command = "kubectl assent approve support-assistant --version support-assistant-v1 -n support";
    ensure!(menu.lines().any(|line| line.starts_with(command) && line.ends_with("true")), "{menu}");

    decide(scene, "reject").await?;
    argo.shows("support", "ModelVersion", "Degraded", "rejected by alice").await?;

    decide(scene, "approve").await?;
    scene.running(SYSTEM, 2).await?;
    argo.is("support", "Healthy").await?;
    stage.is_quiet("support").await?;
    let menu = argo.override_says("list-actions", &scene.get("modelversion", VERSION).await?).await?;
    ensure!(menu.contains("kubectl assent revoke support-assistant"), "{menu}");
    let approvals = scene.list("approvals").await?;
    let approval = approvals.iter().find(|a| a["spec"]["decision"] == "Approve").context("no approval")?;
    let said = argo.override_says("health", approval).await?;
    ensure!(said.contains("STATUS: Healthy") && said.contains("Counted"), "{said}");

    the_kinds_of_incidents_have_a_health(&stage).await?;

    decide(scene, "revoke").await?;
    scene.held(SYSTEM, 2).await?;
    argo.is("support", "Degraded").await?;
    argo.shows("support", "AISystem", "Degraded", "revoked by alice").await?;
    stage.is_quiet("support").await?;
    decide(scene, "approve").await?;
    scene.running(SYSTEM, 2).await?;
    argo.is("support", "Healthy").await?;

    // Governance changes the level in Git, so that the level requires a fairness result. CI adds a result to Git, and a
    // person signs the result with the plugin.
    require_result(&stage.layout)?;
    stage.layout.commit("one-repository")?;
    argo.refresh("governance").await?;
    scene.condition("modelversion", VERSION, "Cleared", "False", "AssessmentMissing").await?;
    record(scene, &stage.layout, "good", "0.01").await?;
    stage.layout.commit("one-repository")?;
    argo.refresh("support").await?;
    argo.shows("support", "Assessment", "Healthy", "kubectl assent attest support-assistant").await?;
    attest(scene, "good").await?;
    scene.running(SYSTEM, 2).await?;
    argo.is("support", "Healthy").await?;
    stage.is_quiet("support").await
}

async fn the_kinds_of_incidents_have_a_health(stage: &Stage<'_>) -> Result<()> {
    let (scene, argo) = (&stage.scene, &stage.argo);
    for (kind, name) in of_incidents(scene).await? {
        let said = argo.override_says("health", &scene.get(kind, name).await?).await?;
        let expected = match (kind, name) {
            // A note has no status. So Argo CD reports no health of the note, and the note does not affect the health
            // of its Application.
            ("incidentnote", _) => "Health script is not configured",
            (_, INVALID_MONITOR) => "STATUS: Degraded",
            _ => "STATUS: Healthy",
        };
        ensure!(said.contains(expected), "{kind} {name}: {said}");
    }
    Ok(())
}

pub async fn self_heal_does_not_conflict_with_enforcement() -> Result<()> {
    let cluster = ControlPlane::start().await?;
    let _assent = Assent::install(&cluster).await?;
    let stage = Stage::new(&cluster).await?;
    let (scene, argo) = (&stage.scene, &stage.argo);
    let level = "one-repository/governance/risklevel-limited.yaml";
    stage.layout.edit(level, "  images: Digest\n", "  images: Digest\n  onLoss: {mode: ScaleDown}\n")?;
    let job = scene.workload("batch/v1", "Job", "train", &pod_spec(&container("1")));
    let job = json!({ "apiVersion": "batch/v1", "kind": "Job", "spec": job["spec"],
        "metadata": { "name": "train", "namespace": "support" } });
    stage.layout.add("one-repository/support", "job.yaml", &job)?;
    // Git has `suspend: false`, and Assent suspends the CronJob. Argo CD must ignore this difference.
    let mut nightly = scene.workload("batch/v1", "CronJob", "nightly", &pod_spec(&container("1")));
    nightly["spec"]["suspend"] = json!(false);
    stage.layout.add("one-repository/support", "cronjob.yaml", &nightly)?;
    stage.bootstrap().await?;
    let ignore = documented("spec:\n    ignoreDifferences:")?.to_string();
    let patch = ["patch", "applications.argoproj.io", "support", "-n=argocd", "--type=merge", "-p", &ignore];
    cluster.kubectl(Admin, &patch).await?.ok()?;
    scene.held(SYSTEM, 2).await?;
    decide(scene, "approve").await?;
    scene.running(SYSTEM, 2).await?;
    argo.synced("support").await?;

    stage.is_quiet("support").await?;
    for (kind, name) in [("job", "train"), ("cronjob", "nightly")] {
        ensure!(scene.get(kind, name).await?["spec"]["suspend"] == true, "{kind} {name} was resumed");
    }

    // Argo CD still reverts changes by users.
    scene.kubectl(Admin, &["scale", "deployment", SYSTEM, "--replicas=4"]).await?;
    argo.refresh("support").await?;
    replicas(scene, 2).await?;
    scene.running(SYSTEM, 2).await?;

    // In Git, `replicas` is 2, so Argo CD restores this number after each time that the operator scales down. After the
    // third time, the operator holds the pods instead.
    decide(scene, "revoke").await?;
    // The timeout covers the back-off of Argo CD between its syncs: 2, 6 and 18 seconds.
    let contested = async || Ok(scene.event("Deployment", SYSTEM, "Contested").await.ok());
    until(Duration::from_mins(2), "the Event Contested", contested).await?;
    scene.held(SYSTEM, 2).await?;
    argo.synced("support").await?;
    stage.is_quiet("support").await?;
    decide(scene, "approve").await?;
    scene.running(SYSTEM, 2).await?;

    // If `replicas` is not in Git, Argo CD does not change the replicas.
    stage.layout.edit("one-repository/support/deployment.yaml", "  replicas: 2\n", "")?;
    stage.layout.commit("one-repository")?;
    argo.refresh("support").await?;
    argo.synced("support").await?;
    let before = scene.get("deployment", SYSTEM).await?["spec"]["replicas"].take();
    decide(scene, "revoke").await?;
    replicas(scene, 0).await?;
    stage.is_quiet("support").await?;
    replicas(scene, 0).await?;
    decide(scene, "approve").await?;
    until(SOON, "the earlier replicas", async || {
        let now = scene.get("deployment", SYSTEM).await?["spec"]["replicas"].take();
        ensure!(now == before, "{now} instead of {before}");
        Ok(Some(()))
    })
    .await?;

    // Argo CD does not revert `kubectl assent decommission`.
    decommission(scene, Some("2090-01-01")).await?;
    stage.is_quiet("support").await?;
    is_decommissioned(scene).await
}

pub async fn a_later_sync_wave_waits_for_the_approval() -> Result<()> {
    let cluster = ControlPlane::start().await?;
    let _assent = Assent::install(&cluster).await?;
    let stage = Stage::new(&cluster).await?;
    let (scene, argo) = (&stage.scene, &stage.argo);
    let wave = "metadata:\n  annotations: {argocd.argoproj.io/sync-wave: \"1\"}\n  name: support-assistant\n";
    let deployment = "one-repository/support/deployment.yaml";
    stage.layout.edit(deployment, "metadata:\n  name: support-assistant\n", wave)?;
    stage.bootstrap().await?;
    argo.shows("support", "ModelVersion", "Suspended", "AwaitingApproval").await?;
    argo.refresh("support").await?;
    scene
        .kubectl(Admin, &["get", "deployment", SYSTEM])
        .await
        .err()
        .context("applied before the approval")?;

    // While the sync of one commit waits for the approval, Argo CD does not sync a later commit. So an approval in the
    // same Application would never be applied.
    let later = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "later", "namespace": "support",
        "annotations": { "argocd.argoproj.io/sync-wave": "-1" } } });
    stage.layout.add("one-repository/support", "later.yaml", &later)?;
    stage.layout.commit("one-repository")?;
    for _ in 0..3 {
        argo.refresh("support").await?;
    }
    scene.kubectl(Admin, &["get", "configmap", "later"]).await.err().context("synced before the approval")?;

    decide(scene, "approve").await?;
    scene.running(SYSTEM, 2).await?;
    scene.kubectl(Admin, &["wait", "configmap/later", "--for=create", "--timeout=60s"]).await?;
    argo.is("support", "Healthy").await
}

/// Argo CD has no timeout for a hook. So Argo CD waits until Assent resumes the Job of the hook.
pub async fn a_hook_waits_for_the_approval() -> Result<()> {
    let cluster = ControlPlane::start().await?;
    let _assent = Assent::install(&cluster).await?;
    let stage = Stage::new(&cluster).await?;
    let (scene, argo) = (&stage.scene, &stage.argo);
    stage.bootstrap().await?;
    decide(scene, "approve").await?;
    argo.is("support", "Healthy").await?;

    let mut version = scene.version("warm-up", &container("1"));
    version["spec"]["system"] = json!(SYSTEM);
    scene.apply(Admin, &version).await?;
    let mut hook = scene.workload("batch/v1", "Job", "warm-up", &pod_spec(&container("1")));
    hook["spec"]["template"]["metadata"]["labels"]["assent.dev/system"] = json!(SYSTEM);
    hook["metadata"]["annotations"] = json!({ "argocd.argoproj.io/hook": "PreSync" });
    stage.layout.add("one-repository/support", "hook.yaml", &hook)?;
    // A new hook alone does not start a sync, so the commit also adds a ConfigMap.
    let change = json!({ "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "change", "namespace": "support" } });
    stage.layout.add("one-repository/support", "change.yaml", &change)?;
    stage.layout.commit("one-repository")?;
    argo.refresh("support").await?;
    let note = scene.event("Job", "warm-up", "Held").await?;
    ensure!(note.contains("warm-up awaiting approval by role"), "{note}");
    until(SOON, "the sync to wait for the hook", async || {
        let operation = argo.application("support").await?["status"]["operationState"].take();
        let message = operation["message"].as_str().unwrap_or_default();
        ensure!(operation["phase"] == "Running" && message.contains("batch/Job/warm-up"), "{operation}");
        Ok(Some(()))
    })
    .await?;

    scene.assent(Person::Alice, &["approve", SYSTEM, "--version", "warm-up", "--yes"]).await?.ok()?;
    scene.running("warm-up", 1).await?;
    let pod = scene.pods("warm-up").await?[0]["metadata"]["name"].as_str().context("no name")?.to_owned();
    scene.complete_pod(&pod).await?;
    until(SOON, "the sync to end", async || {
        let operation = argo.application("support").await?["status"]["operationState"].take();
        ensure!(operation["phase"] == "Succeeded", "{operation}");
        Ok(Some(()))
    })
    .await?;
    argo.is("support", "Healthy").await
}

pub async fn an_application_repository_cannot_add_systems_and_argocd_cannot_approve() -> Result<()> {
    let cluster = ControlPlane::start().await?;
    let _assent = Assent::install(&cluster).await?;
    let stage = Stage { layout: Layout::copy("two-repositories")?, ..Stage::new(&cluster).await? };
    let (scene, argo) = (&stage.scene, &stage.argo);
    let argocd = "two-repositories/governance-repository/argocd";
    let governance = stage.layout.commit("two-repositories/governance-repository")?;
    let application = stage.layout.commit("two-repositories/application-repository")?;
    for (file, url, to) in [
        ("governance.yaml", "https://github.com/example/ai-governance.git", &governance),
        ("systems.yaml", "https://github.com/example/ai-governance.git", &governance),
        ("support.yaml", "https://github.com/example/support-assistant.git", &application),
        ("project-support.yaml", "https://github.com/example/support-assistant.git", &application),
    ] {
        stage.layout.edit(&format!("{argocd}/{file}"), url, to)?;
    }
    let directory = stage.layout.path(argocd).display().to_string();
    cluster.kubectl(Admin, &["apply", "-k", &directory]).await?.ok()?;
    argo.is("systems", "Suspended").await?;
    scene.held(SYSTEM, 2).await?;
    decide(scene, "approve").await?;
    scene.running(SYSTEM, 2).await?;
    argo.is("support", "Healthy").await?;

    let mut mildest = scene.system("minimal");
    mildest["metadata"] = json!({ "name": "mine", "namespace": "support" });
    let deploy = "two-repositories/application-repository/deploy";
    stage.layout.add(deploy, "mine.yaml", &mildest)?;
    stage.layout.commit("two-repositories/application-repository")?;
    let refused = until(SOON, "the sync to be refused", async || {
        let status = argo.refresh("support").await?;
        let message = status["operationState"]["syncResult"]["resources"].to_string();
        Ok(message.contains("is not permitted in project").then_some(message))
    })
    .await?;
    ensure!(refused.contains("assent.dev:AISystem"), "{refused}");
    scene.kubectl(Admin, &["get", "aisystem", "mine"]).await.err().context("the system was applied")?;

    // The account of Argo CD is cluster-admin. But this account is not a person, so Assent refuses an approval by this
    // account.
    let approval = unsigned(scene).await?;
    stage.layout.add("two-repositories/governance-repository/systems/support", "mine.yaml", &approval)?;
    stage.layout.commit("two-repositories/governance-repository")?;
    until(SOON, "the approval to be refused", async || {
        let status = argo.refresh("systems").await?;
        let message = status["operationState"]["syncResult"]["resources"].to_string();
        ensure!(message.contains("is not a person and cannot approve"), "{message}");
        Ok(Some(()))
    })
    .await
}

pub async fn argocd_installs_assent_without_drift() -> Result<()> {
    let cluster = ControlPlane::start().await?;
    let stage = Stage { layout: Layout::copy("install")?, ..Stage::new(&cluster).await? };
    stage.layout.bring("charts", "install")?;
    let url = stage.layout.commit("install")?;
    let file = "install/argocd.yaml";
    stage.layout.edit(file, "https://github.com/assent-dev/assent.git", &url)?;
    // The simulated nodes run no containers, so the test starts the operator as a process.
    stage.layout.edit(file, "valuesObject:\n", "valuesObject:\n        replicas: 0\n")?;
    let file = stage.layout.path(file).display().to_string();
    cluster.kubectl(Admin, &["apply", "-f", &file]).await?.ok()?;
    // Argo CD can need two minutes until it reads new CRDs.
    until(Duration::from_mins(4), "the release to be healthy", async || {
        let status = stage.argo.refresh("assent").await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let is = (&status["sync"]["status"], &status["health"]["status"]);
        ensure!(is == (&json!("Synced"), &json!("Healthy")), "{is:?}: {}", status["health"]["message"]);
        Ok(Some(()))
    })
    .await?;
    Assent::risk_levels(&cluster).await?;
    let _operator = Assent::start(&cluster, "operator").await?;
    Assent::governed(&cluster).await?;
    stage.is_quiet("assent").await
}

pub async fn one_signature_clears_a_version_in_every_cluster() -> Result<()> {
    let (staging, production) = (ControlPlane::start().await?, ControlPlane::start().await?);
    let _operators = (Assent::install(&staging).await?, Assent::install(&production).await?);
    let stage = Stage { layout: Layout::copy("many-clusters")?, ..Stage::new(&production).await? };
    let (scenes, argo) = ([scene(&staging), scene(&production)], &stage.argo);
    argo.register("staging", Some(&staging)).await?;
    argo.register("production", None).await?;
    let key = register_key(&stage.layout)?;
    let url = stage.layout.commit("many-clusters")?;
    for set in ["governance", "support"] {
        let file = format!("many-clusters/argocd/{set}.yaml");
        stage.layout.edit(&file, "https://github.com/example/fleet.git", &url)?;
    }
    let directory = stage.layout.path("many-clusters/argocd").display().to_string();
    production.kubectl(Admin, &["apply", "-k", &directory]).await?.ok()?;
    let [in_staging, in_production] = &scenes;
    // Staging has the mode warn, and production has the mode enforce.
    until(SOON, "both Deployments", async || {
        in_staging.get("deployment", SYSTEM).await?;
        in_production.get("deployment", SYSTEM).await.map(Some)
    })
    .await?;
    in_staging.running(SYSTEM, 1).await?;
    in_production.held(SYSTEM, 2).await?;
    argo.shows("support-production", "AISystem", "Suspended", "").await?;

    sign(in_production, &stage.layout, &key).await?;
    stage.layout.commit("many-clusters")?;
    for cluster in ["staging", "production"] {
        let application = format!("support-{cluster}");
        argo.refresh(&application).await?;
        argo.is(&application, "Healthy").await?;
    }
    in_staging.is_cleared(VERSION).await?;
    in_production.running(SYSTEM, 2).await.map(drop)
}
