//! Assent as its users have it: what the chart renders, installed by Helm, and the operator as the service
//! account that the chart made for it.
//!
//! The operator is a process of this machine, because KWOK's nodes run nothing; all that it may do is what
//! the chart's RBAC lets its service account do.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::{ControlPlane, Person, Process, ports, until};

/// Where the release is.
pub const NAMESPACE: &str = "assent-system";

/// Who holds which role, and who may assign which level.
const VALUES: &str = "
replicas: 0
approverRoles:
  - { name: risk-officer, groups: [risk-officers] }
  - { name: ethics-board, groups: [ethics-board] }
riskLevelUsers:
  - { level: high, groups: [developers], serviceAccounts: [{ namespace: flux-system, name: kustomize-controller }] }
  - { level: limited, groups: [developers], serviceAccounts: [{ namespace: flux-system, name: kustomize-controller }] }
workloads:
  - { group: made-up.example, resources: [temples] }
";

/// What of Assent runs on this machine.
pub struct Assent {
    operator: Process,
    /// Where its health and metrics are.
    pub address: String,
}

impl Assent {
    /// Installs the chart and the example risk levels, starts the operator, and waits until pods are governed.
    pub async fn install(cluster: &ControlPlane) -> Result<Self> {
        Self::release(cluster).await?;
        Self::risk_levels(cluster).await?;
        let assent = Self::start(cluster, "operator").await?;
        Self::governed(cluster).await?;
        Ok(assent)
    }

    /// Installs the chart alone; what Helm says.
    pub async fn release(cluster: &ControlPlane) -> Result<String> {
        Self::release_of(cluster, &root().join("charts/assent")).await
    }

    /// Installs a chart, or upgrades to it; what Helm says.
    pub async fn release_of(cluster: &ControlPlane, chart: &Path) -> Result<String> {
        let values = cluster.directory().join("values.yaml");
        std::fs::write(&values, VALUES)?;
        let (chart, values) = (chart.display().to_string(), values.display().to_string());
        let release =
            ["upgrade", "--install", "assent", &chart, "--namespace", NAMESPACE, "--create-namespace"];
        let said = cluster.helm(&[&release[..], &["--values", &values]].concat()).await?.ok()?;
        let crds = ["wait", "--for=condition=Established", "crd", "-l", "app.kubernetes.io/part-of=assent"];
        cluster.kubectl(Person::Admin, &crds).await?.ok()?;
        Ok(said)
    }

    /// Applies the example risk levels. A definition that is established can still be unknown for a moment.
    pub async fn risk_levels(cluster: &ControlPlane) -> Result<()> {
        let levels = root().join("examples/risk-levels").display().to_string();
        let apply = async || cluster.kubectl(Person::Admin, &["apply", "-k", &levels]).await?.ok().map(Some);
        until(Duration::from_secs(30), "the risk levels to be applied", apply).await.map(drop)
    }

    /// Starts one more operator, that calls itself `identity`.
    pub async fn start(cluster: &ControlPlane, identity: &str) -> Result<Self> {
        Self::start_in(cluster, identity, cluster.server(), &[]).await
    }

    /// Starts one more operator, that reaches the API server at `server`, with `surroundings` in its environment.
    pub async fn start_in(
        cluster: &ControlPlane,
        identity: &str,
        server: &str,
        surroundings: &[(&str, OsString)],
    ) -> Result<Self> {
        let user = format!("{NAMESPACE}.assent.{identity}");
        let account = cluster.service_account_via(NAMESPACE, "assent", server, &user).await?;
        let address = format!("127.0.0.1:{}", ports::free_port().context("no free port")?);
        let args = ["operator", "--log-format=text", "--identity", identity, "--listen", &address];
        // As the kubelet would set it for the pod of the chart.
        let signs = ["get", "configmap", "assent-inventory", "-n", NAMESPACE, "-o=json"];
        let signs: Value = serde_json::from_str(&cluster.kubectl(Person::Admin, &signs).await?.ok()?)?;
        let of = |key: &str| signs["data"][key].as_str().unwrap_or_default().to_owned();
        let (patterns, accelerators) = (of("image-patterns"), of("accelerators"));
        let env = [
            ("KUBECONFIG", account.kubeconfig().as_os_str()),
            ("NO_COLOR", "1".as_ref()),
            ("ASSENT_IMAGE_PATTERNS", patterns.as_ref()),
            ("ASSENT_ACCELERATORS", accelerators.as_ref()),
        ];
        let env = env.into_iter().chain(surroundings.iter().map(|(name, value)| (*name, value.as_os_str())));
        let operator = Process::spawn(identity, binaries()?.join("assent"), args, env, &cluster.log_dir())?;
        Ok(Self { operator, address })
    }

    /// The API server takes a moment to know new policies: waits until a pod that nothing clears is held, or
    /// refused where none can be held, and an approval is signed, or has to be.
    pub async fn governed(cluster: &ControlPlane) -> Result<()> {
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": {
            "name": "probe", "labels": { "assent.dev/mode": "enforce" } } });
        cluster.kubectl_stdin(Person::Admin, &["apply", "-f", "-"], &namespace.to_string()).await?.ok()?;
        let held = async || {
            let run = ["run", "probe", "--image=probe", "-n", "probe", "--dry-run=server", "-o=json"];
            let pod = cluster.kubectl(Person::Admin, &run).await?;
            let unsigned = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "Approval", "metadata": { "name": "probe", "namespace": "probe" },
                "spec": { "system": "probe", "modelVersion": "probe", "role": "risk-officer", "decision": "Approve",
                          "subjectDigest": format!("sha256:{}", "0".repeat(64)) } });
            let signed = ["create", "--dry-run=server", "-o=json", "-f", "-"];
            let approval = cluster.kubectl_stdin(Person::Alice, &signed, &unsigned.to_string()).await?;
            let held =
                pod.stdout.contains("assent.dev/clearance") || pod.stderr.contains("name its AISystem");
            let signed =
                approval.stdout.contains("risk-officers") || approval.stderr.contains("approver is missing");
            ensure!(held && signed, "{}{}", pod.stderr, approval.stderr);
            Ok(Some(()))
        };
        // An API server that has just started can refuse governed pods for 31 s.
        until(Duration::from_secs(45), "pods and approvals to be governed", held).await
    }

    /// What it serves at `path`: the answer, headers included.
    pub async fn get(&self, path: &str) -> Result<String> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let mut stream = TcpStream::connect(&self.address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.with_context(|| format!("reading {path}"))?;
        Ok(answer)
    }

    /// The operator, to kill, pause and restart.
    pub fn operator(&self) -> &Process {
        &self.operator
    }
}

/// The root of the checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// The directory of the programs under test: `ASSENT_BINARIES`, or else they are built as this one was.
pub fn binaries() -> Result<PathBuf> {
    if let Some(built) = std::env::var_os("ASSENT_BINARIES") {
        return Ok(built.into());
    }
    let release = if cfg!(debug_assertions) { &[][..] } else { &["--release"] };
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--package", "assent", "--bins"])
        .args(release)
        .current_dir(root())
        .status()
        .context("cargo build")?;
    ensure!(built.success(), "the programs under test do not build");
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let us = std::env::current_exe()?;
    let target = us.ancestors().find(|directory| directory.ends_with(profile));
    Ok(target.context("this program is not in a target directory")?.to_owned())
}
