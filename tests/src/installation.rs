//! Installs Assent as users do: with Helm. The operator uses the service account of the chart.
//!
//! The operator is a process on this machine, because simulated nodes run no containers. It has only the permissions
//! that the RBAC of the chart gives to the service account.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::{Account, ControlPlane, Person, Process, Prometheus, SOON, ports, until};

/// The namespace of the Helm release.
pub const NAMESPACE: &str = "assent-system";

/// The values of the chart: who holds each approver role, who may use each risk level, and one custom workload kind.
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

/// Values that the chart of the earliest release of Assent does not know.
const NEW_VALUES: &str = "
expressionVariables: [networkPolicies, claims]
onCall: { groups: [ml-on-call] }
monitoring: { prometheus: [{ name: default, url: 'http://prometheus.monitoring.svc:9090' }] }
";

/// An operator that runs on this machine.
pub struct Assent {
    operator: Arc<Process>,
    /// The address of the health checks and metrics of the operator.
    pub address: String,
}

impl Assent {
    /// Installs the chart and the example risk levels, and runs the operator.
    pub async fn install(cluster: &ControlPlane) -> Result<Self> {
        Self::release(cluster).await?;
        Self::risk_levels(cluster).await?;
        Self::run(cluster).await
    }

    /// Starts the operator, and waits until pods are governed. An operator that exits by itself starts again.
    pub async fn run(cluster: &ControlPlane) -> Result<Self> {
        let assent = Self::start(cluster, "operator").await?;
        assent.restart_like_a_kubelet();
        Self::governed(cluster).await?;
        Ok(assent)
    }

    /// Installs the chart without risk levels and without an operator. Returns the output of Helm.
    pub async fn release(cluster: &ControlPlane) -> Result<String> {
        Self::release_with(cluster, &root().join("charts/assent"), &[VALUES, NEW_VALUES].concat()).await
    }

    /// Installs the chart of an earlier release of Assent. Returns the output of Helm.
    pub async fn earlier_release(cluster: &ControlPlane, chart: &Path) -> Result<String> {
        Self::release_with(cluster, chart, VALUES).await
    }

    /// Installs a chart, or upgrades to it. Returns the output of Helm.
    async fn release_with(cluster: &ControlPlane, chart: &Path, content: &str) -> Result<String> {
        let values = cluster.directory().join("values.yaml");
        std::fs::write(&values, content)?;
        let (chart, values) = (chart.display().to_string(), values.display().to_string());
        let release =
            ["upgrade", "--install", "assent", &chart, "--namespace", NAMESPACE, "--create-namespace"];
        let output = cluster.helm(&[&release[..], &["--values", &values]].concat()).await?.ok()?;
        until(Duration::from_secs(30), "the CRDs to be established", async || {
            let reader = cluster.reader();
            let crds =
                reader.list("customresourcedefinitions", "", "app.kubernetes.io/part-of=assent").await?;
            Ok((!crds.is_empty() && crds.iter().all(is_established)).then_some(()))
        })
        .await?;
        Ok(output)
    }

    /// Applies the example risk levels. Retries, because the API server may serve a CRD only a moment after the
    /// CRD is established.
    pub async fn risk_levels(cluster: &ControlPlane) -> Result<()> {
        let levels = root().join("examples/risk-levels").display().to_string();
        let apply = async || cluster.kubectl(Person::Admin, &["apply", "-k", &levels]).await?.ok().map(Some);
        until(Duration::from_secs(30), "the risk levels to be applied", apply).await.map(drop)
    }

    /// The account of the operator with this `--identity`, with a new token. A running operator with this identity uses
    /// the new token after its next restart, because it then reads the same kubeconfig file again.
    pub async fn account(cluster: &ControlPlane, identity: &str, server: &str) -> Result<Account> {
        let user = format!("{NAMESPACE}.assent.{identity}");
        cluster.service_account_via(NAMESPACE, "assent", server, &user).await
    }

    /// Starts an operator with this `--identity`.
    pub async fn start(cluster: &ControlPlane, identity: &str) -> Result<Self> {
        Self::start_in(cluster, identity, cluster.server(), &[]).await
    }

    /// Starts an operator that connects to the API server at `server`, with more environment variables.
    pub async fn start_in(
        cluster: &ControlPlane,
        identity: &str,
        server: &str,
        more_env: &[(&str, OsString)],
    ) -> Result<Self> {
        let account = Self::account(cluster, identity, server).await?;
        let address = format!("127.0.0.1:{}", ports::free_port().context("no free port")?);
        let args = ["operator", "--log-format=text", "--identity", identity, "--listen", &address];
        // In a cluster, the operator pod gets these variables from this ConfigMap and from the Deployment.
        let inventory = cluster.reader().get("configmap", NAMESPACE, "assent-inventory").await?;
        let of = |key: &str| inventory["data"][key].as_str().unwrap_or_default().to_owned();
        let (patterns, accelerators) = (of("image-patterns"), of("accelerators"));
        let deployment = cluster.reader().get("deployment", NAMESPACE, "assent").await?;
        let env = deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array();
        let variables = env.into_iter().flatten().find(|env| env["name"] == "ASSENT_EXPRESSION_VARIABLES");
        let variables = variables.and_then(|env| env["value"].as_str()).unwrap_or_default();
        let prometheus = Prometheus::configuration(cluster)?;
        let env = [
            ("KUBECONFIG", account.kubeconfig().as_os_str()),
            ("NO_COLOR", "1".as_ref()),
            ("ASSENT_IMAGE_PATTERNS", patterns.as_ref()),
            ("ASSENT_ACCELERATORS", accelerators.as_ref()),
            ("ASSENT_EXPRESSION_VARIABLES", variables.as_ref()),
            ("ASSENT_PROMETHEUS", prometheus.as_ref()),
        ];
        let env = env.into_iter().chain(more_env.iter().map(|(name, value)| (*name, value.as_os_str())));
        let operator = Process::spawn(identity, binaries()?.join("assent"), args, env, &cluster.log_dir())?;
        Ok(Self { operator: Arc::new(operator), address })
    }

    /// Restarts the operator when it exits, as a kubelet does. On a busy machine, an operator can lose its Lease and
    /// exit. After a panic, the operator stays down, so that the test fails.
    fn restart_like_a_kubelet(&self) {
        let operator = Arc::downgrade(&self.operator);
        thread::spawn(move || {
            while let Some(operator) = operator.upgrade() {
                if operator.ended_by_itself() && !operator.log_tail(20).contains("panicked at") {
                    // If the start fails, the operator stays down, so that the test fails.
                    let _ = operator.restart();
                }
                drop(operator);
                thread::sleep(Duration::from_millis(500));
            }
        });
    }

    /// Deletes all namespaces of a test, so that another test can use the cluster. No operator may run. Cluster-scoped
    /// objects stay, so a test must not change the example risk levels.
    pub async fn forget(cluster: &ControlPlane) -> Result<()> {
        let client = cluster.client(Person::Admin)?;
        // Without this deletion, the next operator would wait until the Lease expires.
        let leases: Api<Lease> = Api::namespaced(client.clone(), NAMESPACE);
        leases.delete("assent", &DeleteParams::default()).await.context("deleting the Lease")?;
        let namespaces: Api<Namespace> = Api::all(client);
        let of_tests = async || {
            let all = namespaces.list(&ListParams::default()).await?.items.into_iter();
            let names = all.filter_map(|namespace| namespace.metadata.name);
            let is_kept = |name: &str| name == NAMESPACE || name == "default" || name.starts_with("kube-");
            Ok::<_, kube::Error>(names.filter(|name| !is_kept(name)).collect::<Vec<_>>())
        };
        for name in of_tests().await? {
            namespaces.delete(&name, &DeleteParams::default()).await?;
        }
        until(SOON, "the namespaces of the test to be deleted", async || {
            let left = of_tests().await?;
            ensure!(left.is_empty(), "{left:?} are left");
            Ok(Some(()))
        })
        .await
    }

    /// Waits until the API server enforces the admission policies.
    ///
    /// The API server must hold an uncleared pod, and add the approver to an unsigned approval. A Kubernetes version
    /// that cannot change these objects must refuse them.
    pub async fn governed(cluster: &ControlPlane) -> Result<()> {
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": {
            "name": "probe", "labels": { "assent.dev/mode": "enforce" } } });
        cluster.kubectl_stdin(Person::Admin, &["apply", "-f", "-"], &namespace.to_string()).await?.ok()?;
        let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "probe", "namespace": "probe" },
            "spec": { "containers": [{ "name": "probe", "image": "probe" }] } });
        let unsigned = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "Approval", "metadata": { "name": "probe", "namespace": "probe" },
            "spec": { "system": "probe", "modelVersion": "probe", "role": "risk-officer", "decision": "Approve",
                      "subjectDigest": format!("sha256:{}", "0".repeat(64)) } });
        let held = async || {
            let pod = cluster.dry_run(Person::Admin, &pod).await?;
            let approval = cluster.dry_run(Person::Alice, &unsigned).await?;
            let held = match &pod {
                Ok(pod) => pod.to_string().contains("assent.dev/clearance"),
                Err(refusal) => refusal.contains("name its AISystem"),
            };
            let signed = match &approval {
                Ok(approval) => approval.to_string().contains("risk-officers"),
                Err(refusal) => refusal.contains("approver is missing"),
            };
            ensure!(held && signed, "{pod:?} {approval:?}");
            Ok(Some(()))
        };
        // An API server that has just started may refuse governed pods for 31 s.
        until(Duration::from_secs(45), "pods and approvals to be governed", held).await
    }

    /// The HTTP response of the operator for `path`, with its headers.
    pub async fn get(&self, path: &str) -> Result<String> {
        get(&self.address, path).await
    }

    /// The process of the operator, to kill, pause and restart it.
    pub fn operator(&self) -> &Process {
        &self.operator
    }
}

fn is_established(crd: &Value) -> bool {
    let conditions = crd["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|c| c["type"] == "Established" && c["status"] == "True")
}

/// The HTTP response of the server at `address` for `path`, with its headers.
pub async fn get(address: &str, path: &str) -> Result<String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.with_context(|| format!("reading {path}"))?;
    Ok(answer)
}

/// The root of the checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// The directory of the programs under test: the value of `ASSENT_BINARIES`, if this variable is set. Otherwise, builds
/// the programs with the Cargo profile of this program and returns the target directory.
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
    ensure!(built.success(), "the build of the programs under test failed");
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let this = std::env::current_exe()?;
    let target = this.ancestors().find(|directory| directory.ends_with(profile));
    Ok(target.context("this program is not in a target directory")?.to_owned())
}
