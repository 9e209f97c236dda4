//! Assent and Flux. If a version is not cleared, Flux reports the Kustomization of the version as not ready. Flux and
//! the operator do not revert each other's changes.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use assent_tests::{Assent, ControlPlane, Flux, Layout, Person, SOON, Scenario, root, until};
use serde_json::{Value, json};

use crate::assistant::{
    INVALID_MONITOR, SYSTEM, VERSION, as_written, attest, decide, decommission, documented,
    is_decommissioned, of_incidents, record, register_key, replicas, require_result, scene, sign, unsigned,
};
use Person::{Admin, Alice};

struct Stage<'a> {
    scene: Scenario<'a>,
    flux: Flux<'a>,
}

impl<'a> Stage<'a> {
    async fn new(cluster: &'a ControlPlane) -> Result<Self> {
        let scene = scene(cluster);
        Ok(Self { scene, flux: Flux::install(cluster).await? })
    }

    async fn bootstrap(&self, directory: &Path) -> Result<()> {
        let directory = directory.display().to_string();
        self.scene.cluster.kubectl(Admin, &["apply", "-k", &directory]).await?.ok().map(drop)
    }

    /// Shortens the timeout of the health checks of a Kustomization, so that the Kustomization reports a failure soon.
    async fn shorten_timeout(&self, name: &str) -> Result<()> {
        // Half a minute is the shortest timeout that Flux uses.
        self.patch(name, &json!({ "timeout": "30s", "retryInterval": "1s" })).await
    }

    /// Removes the health checks of a Kustomization. The Kustomization is then Ready as soon as Flux has applied the
    /// objects.
    async fn without_health(&self, name: &str) -> Result<()> {
        self.patch(name, &json!({ "healthChecks": null })).await
    }

    async fn apply_and_approve(&self, layout: &Layout) -> Result<()> {
        self.bootstrap(&layout.path("one-repository/flux")).await?;
        self.without_health("support").await?;
        self.flux.commit("platform", &layout.path("one-repository")).await?;
        self.scene.held(SYSTEM, 2).await?;
        decide(&self.scene, "approve").await
    }

    async fn patch(&self, name: &str, spec: &Value) -> Result<()> {
        let patch = json!({ "spec": spec }).to_string();
        let kind = "kustomization.kustomize.toolkit.fluxcd.io";
        let patch = ["patch", kind, name, "-n=flux-system", "--type=merge", "-p", &patch];
        self.scene.cluster.kubectl(Admin, &patch).await?.ok().map(drop)
    }

    /// Returns the objects that the Kustomization `name` applied. The objects have no status, because the operator can
    /// write a status at any time.
    async fn written(&self, name: &str) -> Result<Vec<Value>> {
        let inventory = self.flux.kustomization(name).await?["status"]["inventory"]["entries"].take();
        let mut written = Vec::new();
        for entry in inventory.as_array().context("no inventory")? {
            let id = entry["id"].as_str().context("no id")?;
            let [namespace, name, group, kind] = id.split('_').collect::<Vec<_>>()[..] else { continue };
            let kind = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
            let namespace = if namespace.is_empty() { "default" } else { namespace };
            written.push(as_written(&self.scene, &kind, namespace, name).await?);
        }
        ensure!(!written.is_empty(), "Flux applied nothing");
        Ok(written)
    }

    /// Checks that a Kustomization stays Ready in ten reconciliations. Also checks that nobody writes to the objects of
    /// the Kustomization in this time, except to their statuses.
    async fn is_quiet(&self, name: &str) -> Result<()> {
        self.flux.reconcile(name).await?;
        let before = self.written(name).await?;
        for _ in 0..10 {
            let status = self.flux.reconcile(name).await?;
            let conditions = status["conditions"].as_array().context("no conditions")?;
            let ready = conditions.iter().find(|c| c["type"] == "Ready").context("no condition Ready")?;
            ensure!(ready["status"] == "True", "{status}");
        }
        let after = self.written(name).await?;
        ensure!(before == after, "an object was written: {before:?}, then {after:?}");
        Ok(())
    }
}

pub async fn health_follows_the_decisions_without_flapping() -> Result<()> {
    let cluster = ControlPlane::start().await?;
    let _assent = Assent::install(&cluster).await?;
    let (stage, layout) = (Stage::new(&cluster).await?, Layout::copy("one-repository")?);
    let (scene, flux) = (&stage.scene, &stage.flux);
    stage.bootstrap(&layout.path("one-repository/flux")).await?;
    stage.shorten_timeout("support").await?;
    flux.commit("platform", &layout.path("one-repository")).await?;
    flux.is("governance", "Ready", "True", "ReconciliationSucceeded").await?;

    scene.held(SYSTEM, 2).await?;
    flux.is("support", "Healthy", "Unknown", "Progressing").await?;
    let awaited = flux.is("support", "Ready", "False", "HealthCheckFailed").await?;
    ensure!(awaited.contains("AISystem/support/support-assistant status: 'InProgress'"), "{awaited}");

    decide(scene, "approve").await?;
    scene.running(SYSTEM, 2).await?;
    flux.is("support", "Ready", "True", "ReconciliationSucceeded").await?;
    stage.is_quiet("support").await?;

    // For a revoked version, the health check fails at once. Flux does not wait for the timeout of the health check.
    decide(scene, "revoke").await?;
    scene.held(SYSTEM, 2).await?;
    let status = flux.reconcile("support").await?;
    let withheld = flux.is("support", "Ready", "False", "HealthCheckFailed").await?;
    ensure!(withheld.contains("AISystem/support/support-assistant status: 'Failed'"), "{withheld} {status}");
    scene.held(SYSTEM, 2).await?;

    // People approve the version for a short time. When this approval expires, the health check in docs/gitops.md
    // fails.
    stage.patch("support", &documented("healthCheckExprs:")?).await?;
    let soon = jiff::Timestamp::now() + Duration::from_secs(40);
    let end = format!("--until={}", soon.round(jiff::Unit::Second)?);
    scene.assent(Alice, &["approve", SYSTEM, "--version", VERSION, "--yes", &end]).await?.ok()?;
    scene.running(SYSTEM, 2).await?;
    flux.is("support", "Ready", "True", "ReconciliationSucceeded").await?;
    let has_expired =
        async || Ok(scene.condition("aisystem", SYSTEM, "Ready", "False", "ApprovalExpired").await.ok());
    until(SOON, "the approval to expire", has_expired).await?;
    flux.reconcile("support").await?;
    let expired = flux.is("support", "Ready", "False", "HealthCheckFailed").await?;
    ensure!(expired.contains("AISystem/support/support-assistant status: 'Failed'"), "{expired}");

    decide(scene, "approve").await?;
    scene.running(SYSTEM, 2).await?;
    flux.is("support", "Ready", "True", "ReconciliationSucceeded").await?;

    // Flux reports incidents, notes, overrides and monitors as healthy, except a monitor with an invalid query.
    let objects = of_incidents(scene).await?;
    let checked = async |invalid: bool| {
        let of = objects.into_iter().filter(|(_, name)| invalid || *name != INVALID_MONITOR);
        let check = |(kind, name): (&str, &str)| {
            let kind = match kind {
                "incident" => "Incident",
                "incidentnote" => "IncidentNote",
                "override" => "Override",
                _ => "Monitor",
            };
            json!({ "apiVersion": "assent.dev/v1alpha1", "kind": kind, "name": name, "namespace": scene.namespace })
        };
        stage.patch("support", &json!({ "healthChecks": of.map(check).collect::<Vec<_>>() })).await?;
        flux.reconcile("support").await
    };
    checked(false).await?;
    flux.is("support", "Ready", "True", "ReconciliationSucceeded").await?;
    checked(true).await?;
    let failed = flux.is("support", "Ready", "False", "HealthCheckFailed").await?;
    ensure!(failed.contains("Monitor/support/invalid status: 'Failed'"), "{failed}");
    Ok(())
}

pub async fn drift_correction_and_scale_down_do_not_conflict() -> Result<()> {
    let cluster = ControlPlane::start().await?;
    let _assent = Assent::install(&cluster).await?;
    let (stage, layout) = (Stage::new(&cluster).await?, Layout::copy("one-repository")?);
    let (scene, flux) = (&stage.scene, &stage.flux);
    let level = "one-repository/governance/risklevel-limited.yaml";
    layout.edit(level, "  images: Digest\n", "  images: Digest\n  onLoss: {mode: ScaleDown}\n")?;
    stage.apply_and_approve(&layout).await?;
    scene.running(SYSTEM, 2).await?;

    // Flux still reverts changes by users.
    scene.kubectl(Admin, &["scale", "deployment", SYSTEM, "--replicas=4"]).await?;
    flux.reconcile("support").await?;
    scene.running(SYSTEM, 2).await?;

    // In Git, `replicas` is 2, so Flux restores this number after each time that the operator scales down. After the
    // third time, the operator holds the pods instead.
    decide(scene, "revoke").await?;
    for _ in 0..3 {
        replicas(scene, 0).await?;
        flux.reconcile("support").await?;
    }
    scene.event("Deployment", SYSTEM, "Contested").await?;
    scene.held(SYSTEM, 2).await?;
    stage.is_quiet("support").await?;
    replicas(scene, 2).await?;
    decide(scene, "approve").await?;
    scene.running(SYSTEM, 2).await?;

    // If `replicas` is not in Git, Flux does not change the replicas.
    layout.edit("one-repository/support/deployment.yaml", "  replicas: 2\n", "")?;
    flux.commit("platform", &layout.path("one-repository")).await?;
    scene.running(SYSTEM, 1).await?;
    decide(scene, "revoke").await?;
    replicas(scene, 0).await?;
    stage.is_quiet("support").await?;
    replicas(scene, 0).await?;
    decide(scene, "approve").await?;
    scene.running(SYSTEM, 1).await.map(drop)
}

pub async fn flux_does_not_revert_a_decision_by_kubectl() -> Result<()> {
    let cluster = ControlPlane::start().await?;
    let _assent = Assent::install(&cluster).await?;
    let (stage, layout) = (Stage::new(&cluster).await?, Layout::copy("one-repository")?);
    let scene = &stage.scene;
    stage.apply_and_approve(&layout).await?;
    // Before the decommission date, no policy of Assent prevents a revert of the decommission. But Flux must not revert
    // it.
    decommission(scene, Some("2090-01-01")).await?;
    stage.is_quiet("support").await?;
    is_decommissioned(scene).await?;
    decommission(scene, None).await?;
    scene.held(SYSTEM, 2).await?;
    stage.is_quiet("support").await
}

pub async fn results_in_git_decide_without_conflicts() -> Result<()> {
    let cluster = ControlPlane::start().await?;
    let _assent = Assent::install(&cluster).await?;
    let (stage, layout) = (Stage::new(&cluster).await?, Layout::copy("one-repository")?);
    let (scene, flux) = (&stage.scene, &stage.flux);
    require_result(&layout)?;
    stage.apply_and_approve(&layout).await?;
    scene.condition("modelversion", VERSION, "Cleared", "False", "AssessmentMissing").await?;

    // Flux reports an unsigned result as ready, although the result does not count yet.
    record(scene, &layout, "bad", "0.08").await?;
    flux.commit("platform", &layout.path("one-repository")).await?;
    let health = json!({ "healthChecks": [{ "apiVersion": "assent.dev/v1alpha1", "kind": "Assessment",
        "name": "bad", "namespace": "support" }] });
    stage.patch("support", &health).await?;
    flux.is("support", "Ready", "True", "ReconciliationSucceeded").await?;
    attest(scene, "bad").await?;
    scene.condition("modelversion", VERSION, "Cleared", "False", "AssessmentFailed").await?;
    stage.is_quiet("support").await?;

    record(scene, &layout, "good", "0.01").await?;
    flux.commit("platform", &layout.path("one-repository")).await?;
    attest(scene, "good").await?;
    scene.running(SYSTEM, 2).await?;
    stage.is_quiet("support").await
}

pub async fn an_application_repository_cannot_change_governance() -> Result<()> {
    let cluster = ControlPlane::start().await?;
    let _assent = Assent::install(&cluster).await?;
    let (stage, layout) = (Stage::new(&cluster).await?, Layout::copy("two-repositories")?);
    let (scene, flux) = (&stage.scene, &stage.flux);
    let governance = layout.path("two-repositories/governance-repository");
    let application = layout.path("two-repositories/application-repository");
    stage.bootstrap(&governance.join("flux")).await?;
    stage.shorten_timeout("support").await?;
    flux.commit("ai-governance", &governance).await?;
    flux.commit("support-assistant", &application).await?;
    flux.is("systems", "Ready", "True", "ReconciliationSucceeded").await?;
    scene.held(SYSTEM, 2).await?;
    decide(scene, "approve").await?;
    scene.running(SYSTEM, 2).await?;
    flux.is("support", "Ready", "True", "ReconciliationSucceeded").await?;

    // A developer pushes objects that only governance may write.
    let deploy = "two-repositories/application-repository/deploy";
    let deployment = format!("{deploy}/deployment.yaml");
    let list = fs::read_to_string(layout.path(deploy).join("kustomization.yaml"))?;
    let mut system = scene.system("limited");
    system["metadata"] = json!({ "name": SYSTEM, "namespace": "support" });
    let approval = unsigned(scene).await?;
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "support",
        "labels": { "assent.dev/mode": "audit" } } });
    for (kind, manifest) in [("AISystem", system), ("Approval", approval), ("Namespace", namespace)] {
        layout.add(deploy, "mine.yaml", &manifest)?;
        layout.edit(&deployment, "  replicas: 2\n", "  replicas: 3\n")?;
        flux.commit("support-assistant", &application).await?;
        let refused = flux.is("support", "Ready", "False", "ReconciliationFailed").await?;
        ensure!(refused.contains(kind) && refused.contains("forbidden"), "{kind}: {refused}");
        // One refused object blocks all other changes of its Kustomization.
        scene.running(SYSTEM, 2).await?;
        layout.edit(&deployment, "  replicas: 3\n", "  replicas: 2\n")?;
        fs::write(layout.path(deploy).join("kustomization.yaml"), &list)?;
        flux.commit("support-assistant", &application).await?;
        flux.is("support", "Ready", "True", "ReconciliationSucceeded").await?;
    }
    scene.running(SYSTEM, 2).await.map(drop)
}

pub async fn one_signature_clears_a_version_in_every_cluster() -> Result<()> {
    let layout = Layout::copy("many-clusters")?;
    let key = register_key(&layout)?;
    let (staging, production) = (ControlPlane::start().await?, ControlPlane::start().await?);
    let _operators = (Assent::install(&staging).await?, Assent::install(&production).await?);
    let stages = [("staging", Stage::new(&staging).await?), ("production", Stage::new(&production).await?)];
    for (cluster, stage) in &stages {
        stage.bootstrap(&layout.path(&format!("many-clusters/clusters/{cluster}/flux"))).await?;
        stage.shorten_timeout("support").await?;
        stage.flux.commit("fleet", &layout.path("many-clusters")).await?;
    }
    let [(_, staging), (_, production)] = &stages;
    // Staging has the mode warn, and production has the mode enforce.
    staging.scene.running(SYSTEM, 1).await?;
    production.scene.held(SYSTEM, 2).await?;
    for (_, stage) in &stages {
        stage.flux.is("support", "Ready", "False", "HealthCheckFailed").await?;
    }

    sign(&production.scene, &layout, &key).await?;
    for (_, stage) in &stages {
        stage.flux.commit("fleet", &layout.path("many-clusters")).await?;
        stage.flux.is("support", "Ready", "True", "ReconciliationSucceeded").await?;
    }
    for (_, stage) in &stages {
        stage.scene.is_cleared(VERSION).await?;
    }
    production.scene.running(SYSTEM, 2).await.map(drop)
}

pub async fn flux_installs_assent_without_drift() -> Result<()> {
    let cluster = ControlPlane::start().await?;
    let (stage, layout) = (Stage::new(&cluster).await?, Layout::copy("install")?);
    let release = layout.path("install/flux.yaml").display().to_string();
    cluster.kubectl(Admin, &["apply", "-f", &release]).await?.ok()?;

    // The test runs no helm-controller. Instead, the kustomize-controller applies the rendered chart.
    let render = root().join("packaging/manifests").display().to_string();
    let rendered = layout.path("install/rendered").display().to_string();
    let admin = cluster.account(Admin);
    cluster.run(admin, &render, &[&rendered, "--set=replicas=0"], None).await?.ok()?;
    fs::remove_file(layout.path("install/rendered/assent-before-1.36.yaml"))?;
    let apply = json!({ "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
        "metadata": { "name": "assent", "namespace": "flux-system" },
        "spec": { "sourceRef": { "kind": "GitRepository", "name": "assent" }, "path": "./rendered",
            "interval": "10m", "prune": true, "wait": true } });
    stage.scene.apply(Admin, &apply).await?;
    stage.flux.commit("assent", &layout.path("install")).await?;
    stage.flux.is("assent", "Ready", "True", "ReconciliationSucceeded").await?;
    let _operator = Assent::start(&cluster, "operator").await?;
    stage.is_quiet("assent").await
}
