//! From nothing to a cluster that Assent governs.

use anyhow::{Context as _, Result, ensure};
use assent_tests::{Assent, ControlPlane, Options, Person, binaries};

use crate::stage::{CREDIT_SCORER, CV_SCREENER, SUPPORT_ASSISTANT, Stage};
use crate::timeline::Timeline;

/// Builds what is under test and opens the cluster.
pub async fn cluster(time: &Timeline) -> Result<ControlPlane> {
    time.step(
        "A cluster, and Assent in it",
        "dev builds AI systems and may do anything in their namespaces (cluster-admin there), so what refuses \
         dev below is Assent and not RBAC. alice is a risk officer, bob sits on the ethics board, carol holds \
         both roles. gitops is a controller that applies what is in Git.",
    );
    let build = async { tokio::task::spawn_blocking(binaries).await.context("building")? };
    let programs = time.expect("cargo", "built the operator and kubectl-assent", build).await?;
    let options = Options { path: vec![programs], ..Options::default() };
    let cluster = ControlPlane::open(options).await.context("opening a cluster")?;
    let what = if cluster.is_existing() {
        "the cluster of KUBECONFIG answers"
    } else {
        "etcd, API server, controllers and scheduler run; KWOK plays the nodes"
    };
    time.line("kubernetes", what);
    let version = cluster.kubectl(Person::Admin, &["version"]).await?.ok()?;
    let server = version.lines().filter(|line| line.starts_with("Server")).collect::<String>();
    time.quote(&format!("{server} at {}", cluster.server()));
    ensure_fresh(&cluster).await?;
    Ok(cluster)
}

/// Approvals outlive their demo: on a cluster that had one before, they would be there already.
async fn ensure_fresh(cluster: &ControlPlane) -> Result<()> {
    let namespaces = [&CREDIT_SCORER, &CV_SCREENER, &SUPPORT_ASSISTANT].map(|system| system.namespace);
    let get = [&["get", "namespaces", "--ignore-not-found", "-o=name"], &namespaces[..]].concat();
    let found = cluster.kubectl(Person::Admin, &get).await?.ok()?;
    ensure!(
        found.is_empty(),
        "expected: a cluster without the namespaces of the demo\nseen: {found}\
         to remove them: kubectl delete namespace {}",
        namespaces.join(" ")
    );
    Ok(())
}

/// Installs Assent, and makes the account of what applies from Git.
pub async fn assent<'a>(time: &'a Timeline, cluster: &'a ControlPlane) -> Result<Stage<'a>> {
    let release = Assent::release(cluster);
    let release = time.expect("helm", "Assent is installed: its definitions, policies and roles", release);
    time.quote(release.await?.lines().take(5).collect::<Vec<_>>().join("\n").as_str());
    let levels = Assent::risk_levels(cluster);
    time.expect("admin", "the risk levels of the EU AI Act are applied", levels).await?;
    let operator = Assent::start(cluster, "operator").await?;
    let governed = Assent::governed(cluster);
    time.expect("assent", "the operator runs, and the API server enforces the policies", governed).await?;
    let levels = cluster.kubectl(Person::Dev, &["get", "risklevels"]).await?.ok()?;
    time.table(&levels);
    let gitops = cluster.gitops().await?;
    Stage::new(time, cluster, operator, gitops).await
}
