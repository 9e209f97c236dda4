//! Runs the real controllers and repository server of Argo CD, with an in-memory Redis.
//! `argocd-applicationset-controller` creates the Applications of an `ApplicationSet`.
//!
//! ```text
//!  git ◄── file:// ── argocd-repo-server ◄── gRPC ── argocd-application-controller ──► API servers
//! ```

use anyhow::{Context, Result, ensure};
use k8s_openapi::ByteString;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::PathBuf;
use tokio::sync::SemaphorePermit;

use crate::gitops::PERMITS;
use crate::{Account, ControlPlane, Person, Process, SOON, binaries, ports, root, until};

const NAMESPACE: &str = "argocd";

/// The name of the controller and of its service account, as in the installation manifests of Argo CD.
const NAME: &str = "argocd-application-controller";

/// Argo CD on a control plane. Its processes stop when this value is dropped.
pub struct ArgoCd<'a> {
    cluster: &'a ControlPlane,
    program: PathBuf,
    _processes: [Process; 4],
    _permit: SemaphorePermit<'static>,
}

impl<'a> ArgoCd<'a> {
    /// Installs the CRDs and the settings of Argo CD, and the settings for Assent from `packaging/argocd`. Then starts
    /// the processes of Argo CD.
    pub async fn install(cluster: &'a ControlPlane) -> Result<Self> {
        let permit = PERMITS.acquire().await?;
        let built = binaries::built(&["argocd"]).await?;
        for crd in ["application", "appproject", "applicationset"] {
            cluster.define(&built.join(format!("crds/{crd}-crd.yaml"))).await?;
        }
        let account = cluster.applier(NAMESPACE, NAME).await?;
        let apply = ["apply", "-f", "-"];
        cluster.kubectl_stdin(Person::Admin, &apply, &settings().to_string()).await?.ok()?;
        let customizations = root().join("packaging/argocd").display().to_string();
        let apply = ["apply", "--server-side", "--field-manager=assent", "-k", &customizations];
        cluster.kubectl(Person::Admin, &apply).await?.ok()?;

        let scratch = cluster.directory().join("argocd");
        std::fs::create_dir_all(&scratch)?;
        let free = || ports::free_port().context("no free port");
        let redis = format!("127.0.0.1:{}", free()?);
        let repository = format!("127.0.0.1:{}", free()?);
        let at = |flag: &str| free().map(|port| format!("--{flag}{port}"));
        let path = std::env::join_paths(
            // `built` has kustomize, and the directory of the control plane programs has helm.
            [built.clone(), binaries::directory().await?]
                .into_iter()
                .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
        )?;
        let env = |name: &str| -> [(&str, OsString); 8] {
            [
                ("ARGOCD_BINARY_NAME", name.into()),
                ("ARGOCD_FAKE_IN_CLUSTER", "true".into()),
                ("ARGOCD_GPG_ENABLED", "false".into()),
                ("KUBECONFIG", account.kubeconfig().into()),
                ("PATH", path.clone()),
                ("TMPDIR", scratch.clone().into()),
                ("ARGOCD_TLS_DATA_PATH", scratch.join("tls").into()),
                ("ARGOCD_SSH_DATA_PATH", scratch.join("ssh").into()),
            ]
        };
        let argocd = built.join("argocd");
        let logs = cluster.log_dir();
        let no_env: [(&str, &str); 0] = [];
        let in_memory = Process::spawn("redis", built.join("redis"), [&redis], no_env, &logs)?;
        let args = [
            "--address=127.0.0.1".to_owned(),
            format!("--port={}", repository.trim_start_matches("127.0.0.1:")),
            "--metrics-address=127.0.0.1".to_owned(),
            at("metrics-port=")?,
            format!("--redis={redis}"),
            "--disable-tls".to_owned(),
            "--client-ca-path=".to_owned(),
        ];
        let name = "argocd-repo-server";
        let repositories = Process::spawn(name, &argocd, args, env(name), &logs)?;
        let args = [
            format!("--repo-server={repository}"),
            "--repo-server-plaintext".to_owned(),
            format!("--redis={redis}"),
            at("metrics-port=")?,
            // With this flag, the controller writes the health of each object to the Application, from which the tests
            // read it.
            "--persist-resource-health".to_owned(),
            format!("--namespace={NAMESPACE}"),
        ];
        let controller = Process::spawn(NAME, &argocd, args, env(NAME), &logs)?;
        let args = [
            format!("--argocd-repo-server={repository}"),
            "--repo-server-plaintext".to_owned(),
            at("metrics-addr=127.0.0.1:")?,
            at("probe-addr=127.0.0.1:")?,
            at("webhook-addr=127.0.0.1:")?,
            format!("--namespace={NAMESPACE}"),
        ];
        let name = "argocd-applicationset-controller";
        let sets = Process::spawn(name, &argocd, args, env(name), &logs)?;
        let processes = [sets, controller, repositories, in_memory];
        Ok(Self { cluster, program: argocd, _processes: processes, _permit: permit })
    }

    /// Registers the cluster `other` as `name`, with the label `env=<name>`. If `other` is `None`, registers the
    /// cluster on which Argo CD runs.
    pub async fn register(&self, name: &str, other: Option<&ControlPlane>) -> Result<()> {
        let (server, config) = match other {
            None => ("https://kubernetes.default.svc", json!({ "tlsClientConfig": { "insecure": false } })),
            Some(other) => (other.server(), credentials(&other.gitops().await?)?),
        };
        let secret = json!({ "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": format!("cluster-{name}"), "namespace": NAMESPACE,
                "labels": { "argocd.argoproj.io/secret-type": "cluster", "env": name } },
            "stringData": { "name": name, "server": server, "config": config.to_string() } });
        let apply = ["apply", "-f", "-"];
        self.cluster.kubectl_stdin(Person::Admin, &apply, &secret.to_string()).await?.ok().map(drop)
    }

    /// Runs `argocd admin settings resource-overrides ASK` for an object, with the `ConfigMap` named `argocd-cm` of the
    /// cluster. Returns the output.
    pub async fn override_says(&self, ask: &str, object: &Value) -> Result<String> {
        let settings = ["get", "configmap", "argocd-cm", "-n", NAMESPACE, "-o=yaml"];
        let settings = self.cluster.kubectl(Person::Admin, &settings).await?.ok()?;
        let file = |name: &str| self.cluster.directory().join("argocd").join(name).display().to_string();
        let (object_file, settings_file) = (file("object.yaml"), file("settings.yaml"));
        std::fs::write(&object_file, object.to_string())?;
        std::fs::write(&settings_file, settings)?;
        let (program, admin) =
            (self.program.display().to_string(), ["admin", "settings", "resource-overrides"]);
        let args = [&admin[..], &[ask, &object_file, "--argocd-cm-path", &settings_file]].concat();
        self.cluster.run(self.cluster.account(Person::Admin), &program, &args, None).await?.ok()
    }

    /// An `Application` as JSON.
    pub async fn application(&self, name: &str) -> Result<Value> {
        self.cluster.reader().get("applications.argoproj.io", NAMESPACE, name).await
    }

    /// Makes Argo CD compare an `Application` with Git. Returns the new status of the `Application`.
    pub async fn refresh(&self, name: &str) -> Result<Value> {
        let annotate = ["annotate", "--overwrite", "applications.argoproj.io", name, "-n", NAMESPACE];
        let hard = [&annotate[..], &["argocd.argoproj.io/refresh=hard"]].concat();
        self.cluster.kubectl(Person::Admin, &hard).await?.ok()?;
        until(SOON, &format!("Argo CD to refresh {name}"), async || {
            let application = self.application(name).await?;
            let asked = &application["metadata"]["annotations"]["argocd.argoproj.io/refresh"];
            Ok(asked.is_null().then(|| application["status"].clone()))
        })
        .await
    }

    /// Waits until an `Application` is `Synced`, with any health.
    pub async fn synced(&self, name: &str) -> Result<()> {
        until(SOON, &format!("Application {name} to be Synced"), async || {
            let status = self.application(name).await?["status"].take();
            ensure!(status["sync"]["status"] == "Synced", "{}", status["operationState"]["message"]);
            Ok(Some(()))
        })
        .await
    }

    /// Waits until an `Application` is `Synced` and has the health `health`.
    pub async fn is(&self, name: &str, health: &str) -> Result<()> {
        until(SOON, &format!("Application {name} to be Synced and {health}"), async || {
            let status = self.application(name).await?["status"].take();
            ensure!(
                status["sync"]["status"] == "Synced" && status["health"]["status"] == health,
                "sync {}, health {}, conditions {}, operation {}",
                status["sync"]["status"],
                status["health"],
                status["conditions"],
                status["operationState"]["message"],
            );
            Ok(Some(()))
        })
        .await
    }

    /// Waits until the first object with kind `kind` in an `Application` has the health `health` and a message that
    /// contains `text`.
    pub async fn shows(&self, name: &str, kind: &str, health: &str, text: &str) -> Result<()> {
        until(SOON, &format!("{kind} of Application {name} to be {health}"), async || {
            let status = self.application(name).await?["status"].take();
            let resources = status["resources"].as_array().context("resources")?;
            let resource = resources.iter().find(|r| r["kind"] == kind).context(kind.to_owned())?;
            let message = resource["health"]["message"].as_str().unwrap_or_default();
            ensure!(resource["health"]["status"] == health && message.contains(text), "{resource}");
            Ok(Some(()))
        })
        .await
    }
}

/// The cluster credentials with which Argo CD acts as `account`.
fn credentials(account: &Account) -> Result<Value> {
    let kubeconfig: Value = serde_saphyr::from_str(&std::fs::read_to_string(account.kubeconfig())?)?;
    let authority = kubeconfig["clusters"][0]["cluster"]["certificate-authority"].as_str();
    let authority = ByteString(std::fs::read(authority.context("no certificate authority")?)?);
    let token = &kubeconfig["users"][0]["user"]["token"];
    Ok(json!({ "bearerToken": token, "tlsClientConfig": { "caData": authority } }))
}

/// The objects that the manifests of Argo CD install, without CRDs and programs.
fn settings() -> Value {
    let labels = json!({ "app.kubernetes.io/part-of": "argocd" });
    let metadata = |name: &str| json!({ "name": name, "namespace": NAMESPACE, "labels": labels });
    let config = |name: &str| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(name) });
    let mut items: Vec<Value> = [
        "argocd-cm",
        "argocd-cmd-params-cm",
        "argocd-rbac-cm",
        "argocd-ssh-known-hosts-cm",
        "argocd-tls-certs-cm",
        "argocd-gpg-keys-cm",
    ]
    .iter()
    .map(|name| config(name))
    .collect();
    items.extend([
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata("argocd-secret"),
            "stringData": { "server.secretkey": "of this test" } }),
        json!({ "apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject", "metadata": metadata("default"),
            "spec": { "sourceRepos": ["*"], "destinations": [{ "namespace": "*", "server": "*" }],
                "clusterResourceWhitelist": [{ "group": "*", "kind": "*" }] } }),
    ]);
    json!({ "apiVersion": "v1", "kind": "List", "items": items })
}
