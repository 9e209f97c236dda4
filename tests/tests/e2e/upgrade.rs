//! Assent is upgraded and rolled back while workloads run. Running pods continue, held pods stay held, and no decision
//! is lost.

use anyhow::{Context, Result, bail, ensure};
use assent_tests::{Assent, ControlPlane, NAMESPACE, Person, SOON, Scenario, container, root, until};
use serde_json::{Value, json};

use Person::{Admin, Dev};

/// The chart of the previous release.
const BEFORE: &str = "tests/releases/assent-0.1.0.tgz";

async fn uids(scene: &Scenario<'_>, app: &str) -> Result<Vec<String>> {
    let pods = scene.pods(app).await?;
    let mut uids: Vec<_> = pods.iter().map(|pod| pod["metadata"]["uid"].to_string()).collect();
    uids.sort();
    Ok(uids)
}

/// Creates uncleared pods in dry runs while `work` runs. The API server must hold or refuse each of these pods.
async fn while_attacked<T>(scene: &Scenario<'_>, work: impl Future<Output = Result<T>>) -> Result<T> {
    let attempts = async {
        for number in 0.. {
            let pod = scene.pod(&format!("intruder-{number}"), &container("bad"));
            let create = ["create", "-f", "-", "-o=json", "--dry-run=server"];
            let said = scene.cluster.kubectl_stdin(Dev, &create, &pod.to_string()).await?;
            let gated = said.stdout.contains("assent.dev/clearance");
            ensure!(gated || !said.status.success(), "an uncleared pod would start: {}", said.stdout);
        }
        Ok(())
    };
    tokio::select! {
        failed = attempts => bail!("{failed:?}"),
        done = work => done,
    }
}

/// A namespace with running pods of v1, and held pods of an uncleared Deployment. `uids` are the UIDs of the running
/// pods.
struct Running<'a> {
    scene: Scenario<'a>,
    uids: Vec<String>,
}

impl<'a> Running<'a> {
    async fn of(scene: Scenario<'a>) -> Result<Self> {
        scene.approve("v1").await?;
        scene.apply(Dev, &scene.deployment("scorer", &container("1"))).await?;
        scene.apply(Dev, &scene.deployment("other", &container("other"))).await?;
        scene.running("scorer", 2).await?;
        scene.held("other", 2).await?;
        let uids = uids(&scene, "scorer").await?;
        Ok(Self { scene, uids })
    }

    async fn is_unchanged(&self) -> Result<()> {
        self.scene.running("scorer", 2).await?;
        self.scene.held("other", 2).await?;
        ensure!(uids(&self.scene, "scorer").await? == self.uids, "running pods were replaced");
        self.scene.is_cleared("v1").await?;
        let approvals = self.scene.list("approvals").await?;
        ensure!(approvals.len() == 2, "{approvals:?}");
        Ok(())
    }
}

pub async fn an_upgrade_and_a_rollback_disturb_no_workload() -> Result<()> {
    let cluster = ControlPlane::start().await?;
    Assent::earlier_release(&cluster, &root().join(BEFORE)).await?;
    Assent::risk_levels(&cluster).await?;
    let scene = Scenario::governed_by(&cluster, "upgraded", "high", &json!({})).await?;
    scene.apply(Admin, &scene.version("v1", &container("1"))).await?;

    Assent::release(&cluster).await?;
    let assent = Assent::start(&cluster, "operator").await?;
    Assent::governed(&cluster).await?;
    scene.kubectl(Admin, &["label", "namespace", &scene.namespace, "assent.dev/mode=enforce"]).await?;
    scene.has_mode(&json!("enforce")).await?;
    let running = Running::of(scene).await?;

    let back = async || {
        let back = ["rollback", "assent", "1", "--namespace", NAMESPACE];
        cluster.helm(&back).await?.ok()
    };
    while_attacked(&running.scene, back()).await?;
    // The operator is newer than the chart, so it must not change the policies of the chart.
    until(SOON, "the operator to log that it leaves the policies", async || {
        let said = assent.operator().log_tail(1000);
        Ok(said
            .contains(
                "the release has policies of another version or with other chart values than this operator:",
            )
            .then_some(()))
    })
    .await?;
    running.is_unchanged().await?;
    while_attacked(&running.scene, Assent::release(&cluster)).await?;
    running.is_unchanged().await?;
    // After the rollback and the upgrade, an approver can still revoke.
    let digest = running.scene.digest_of("v1").await?;
    let revoke = running.scene.decision("Revoke", "v1", &digest, "risk-officer");
    running.scene.decide(Person::Alice, &revoke).await?;
    running.scene.held("scorer", 2).await.map(drop)
}

pub async fn a_second_api_version_changes_no_decision() -> Result<()> {
    let cluster = ControlPlane::start().await?;
    let _assent = Assent::install(&cluster).await?;
    let scene = Scenario::new(&cluster, "versions", "high").await?;
    let digest = scene.publish("v1", &container("1")).await?;
    let running = Running::of(scene).await?;
    let scene = &running.scene;

    let definitions = ["get", "crd", "-l", "app.kubernetes.io/part-of=assent", "-o=json"];
    let definitions: Value = serde_json::from_str(&cluster.kubectl(Admin, &definitions).await?.ok()?)?;
    for mut definition in definitions["items"].as_array().cloned().context("definitions")? {
        let versions = definition["spec"]["versions"].as_array_mut().context("versions")?;
        let mut next = versions[0].clone();
        versions[0]["storage"] = json!(false);
        next["name"] = json!("v1beta1");
        versions.push(next);
        cluster.kubectl_stdin(Admin, &["replace", "-f", "-"], &definition.to_string()).await?.ok()?;
    }
    let read = async || {
        let version = scene.get("modelversions.v1beta1.assent.dev", "v1").await?;
        ensure!(version["status"]["subjectDigest"] == json!(digest), "{version}");
        Ok(Some(()))
    };
    until(SOON, "the version to be served", read).await?;
    running.is_unchanged().await?;

    // The policies also refuse requests in the new API version.
    let as_beta = |mut manifest: Value| {
        manifest["apiVersion"] = json!("assent.dev/v1beta1");
        manifest
    };
    let approval = as_beta(scene.decision("Approve", "v1", &digest, "risk-officer"));
    let gitops = cluster.gitops().await?;
    let create = ["create", "-f", "-"];
    let refused = cluster.run(&gitops, "kubectl", &create, Some(&approval.to_string())).await?.denied()?;
    ensure!(refused.contains("is not a person and cannot approve"), "{refused}");
    let clearance = ["get", "clearances.v1beta1.assent.dev", "clearance", "-o=json"];
    let mut clearance: Value = serde_json::from_str(&scene.kubectl(Admin, &clearance).await?)?;
    clearance["spec"]["mode"] = json!("audit");
    let edited = cluster.kubectl_stdin(Admin, &["replace", "-f", "-"], &clearance.to_string()).await?;
    let refused = edited.denied()?;
    ensure!(refused.contains("denied request"), "{refused}");
    let mut lowered = as_beta(scene.system("minimal"));
    lowered["spec"]["owners"] = json!([{ "kind": "User", "name": "dev" }]);
    let refused = scene.refused(Dev, &lowered).await?;
    ensure!(refused.contains("risk level"), "{refused}");

    // A decision in the new API version counts.
    let name = scene
        .decide(Person::Alice, &as_beta(scene.decision("Revoke", "v1", &digest, "risk-officer")))
        .await?;
    let recorded = scene.get("approval", &name).await?;
    ensure!(recorded["spec"]["approver"]["user"] == "alice", "{recorded}");
    scene.held("scorer", 2).await.map(drop)
}
