//! Step: the demo opens a cluster and installs Assent.

use anyhow::{Context as _, Result, ensure};
use assent_tests::{Assent, ControlPlane, Options, Person, binaries};

use crate::stage::{CARD_SCORER, CREDIT_SCORER, CV_SCREENER, SUPPORT_ASSISTANT, Stage};
use crate::timeline::Timeline;

/// Builds the programs under test. Then starts a control plane, or connects to the existing cluster of `KUBECONFIG`.
pub async fn cluster(time: &Timeline) -> Result<ControlPlane> {
    time.step(
        "Install Assent on a cluster",
        "alice is a risk officer. bob is a member of the ethics board. carol has both roles. dev builds the AI \
         systems and is cluster-admin in their namespaces, so Assent refuses dev below, and not RBAC. gitops is a \
         controller that applies manifests from Git.",
    );
    let build = async { tokio::task::spawn_blocking(binaries).await.context("building")? };
    let programs = time.expect("cargo", "builds the operator and kubectl-assent", build).await?;
    let options = Options { path: vec![programs], ..Options::default() };
    let cluster = ControlPlane::open(options).await.context("opening a cluster")?;
    let what = if cluster.is_existing() {
        "the cluster of KUBECONFIG is reachable"
    } else {
        "etcd, the API server, the controllers and the scheduler run; KWOK simulates the nodes"
    };
    time.line("kubernetes", what);
    let version = cluster.kubectl(Person::Admin, &["version"]).await?.ok()?;
    let server = version.lines().filter(|line| line.starts_with("Server")).collect::<String>();
    time.quote(&format!("{server} at {}", cluster.server()));
    ensure_fresh(&cluster).await?;
    Ok(cluster)
}

/// Fails if the cluster has namespaces of an earlier demo, because the approvals in these namespaces would count in
/// this demo.
async fn ensure_fresh(cluster: &ControlPlane) -> Result<()> {
    let namespaces =
        [&CREDIT_SCORER, &CV_SCREENER, &SUPPORT_ASSISTANT, &CARD_SCORER].map(|system| system.namespace);
    let get = [&["get", "namespaces", "--ignore-not-found", "-o=name"], &namespaces[..]].concat();
    let found = cluster.kubectl(Person::Admin, &get).await?.ok()?;
    ensure!(
        found.is_empty(),
        "expected: a cluster without the namespaces of the demo\nseen: {found}\
         remove them: kubectl delete namespace {}",
        namespaces.join(" ")
    );
    Ok(())
}

/// Installs Assent and creates the account of the GitOps controller.
pub async fn assent<'a>(time: &'a Timeline, cluster: &'a ControlPlane) -> Result<Stage<'a>> {
    let release = Assent::release(cluster);
    let release = time.expect("helm", "installs Assent: its CRDs, admission policies and roles", release);
    time.quote(release.await?.lines().take(5).collect::<Vec<_>>().join("\n").as_str());
    let levels = Assent::risk_levels(cluster);
    time.expect("admin", "applies the example risk levels, which follow the EU AI Act", levels).await?;
    let operator = Assent::start(cluster, "operator").await?;
    let governed = Assent::governed(cluster);
    time.expect("assent", "the operator runs, and the API server enforces the policies", governed).await?;
    let levels = cluster.kubectl(Person::Dev, &["get", "risklevels"]).await?.ok()?;
    time.table(&levels);
    let gitops = cluster.gitops().await?;
    Stage::new(time, cluster, operator, gitops).await
}
