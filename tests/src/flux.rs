//! Runs the real kustomize-controller of Flux. The test takes the place of the source-controller. It serves the files
//! of a directory as an artifact, and writes the address and the digest of the artifact to the status of a
//! `GitRepository`.
//!
//! ```text
//!  directory ── tar ──► artifact at http://127.0.0.1 ◄── kustomize-controller ──► API server
//! ```

use anyhow::{Context, Result, ensure};
use assent::api::Digest;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio::sync::SemaphorePermit;
use tokio::task::JoinHandle;

use crate::gitops::{NAME, NAMESPACE, PERMITS};
use crate::{ControlPlane, Person, Process, SOON, binaries, ports, until};

/// The served artifacts, by path.
type Artifacts = Arc<Mutex<HashMap<String, Vec<u8>>>>;

/// Flux on a control plane. Its controller stops when this value is dropped.
pub struct Flux<'a> {
    cluster: &'a ControlPlane,
    _controller: Process,
    address: String,
    artifacts: Artifacts,
    server: JoinHandle<()>,
    _permit: SemaphorePermit<'static>,
}

impl Drop for Flux<'_> {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl<'a> Flux<'a> {
    /// Installs the CRDs of Flux and starts its controller as `cluster-admin`, as `flux install` does.
    pub async fn install(cluster: &'a ControlPlane) -> Result<Self> {
        let permit = PERMITS.acquire().await?;
        let built = binaries::built(&["flux"]).await?;
        cluster.define(&built.join("crds")).await?;
        let account = cluster.gitops().await?;
        let health = format!("--health-addr=127.0.0.1:{}", ports::free_port().context("no free port")?);
        let scratch = cluster.directory().join("flux");
        std::fs::create_dir_all(&scratch)?;
        let args = ["--metrics-addr=0", &health, "--requeue-dependency=1s", "--watch-all-namespaces=true"];
        let env: [(&str, OsString); 3] = [
            ("KUBECONFIG", account.kubeconfig().into()),
            ("RUNTIME_NAMESPACE", NAMESPACE.into()),
            ("TMPDIR", scratch.into()),
        ];
        let controller = Process::spawn(NAME, built.join(NAME), args, env, &cluster.log_dir())?;
        let artifacts = Artifacts::default();
        let router = axum::Router::new().fallback(serve).with_state(Arc::clone(&artifacts));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { cluster, _controller: controller, address, artifacts, server, _permit: permit })
    }

    /// Sets the files of `directory` as the content of the `GitRepository` named `repository`.
    pub async fn commit(&self, repository: &str, directory: &Path) -> Result<()> {
        let tar = tokio::process::Command::new("tar")
            .args(["--sort=name", "--mtime=@0", "-czf", "-", "-C"])
            .arg(directory)
            .arg(".")
            .output()
            .await?;
        ensure!(tar.status.success(), "tar: {}", String::from_utf8_lossy(&tar.stderr));
        let digest = Digest::from_sha256(Sha256::digest(&tar.stdout).into()).to_string();
        let hash = digest.trim_start_matches("sha256:");
        let (file, size) = (format!("/{repository}/{hash}.tar.gz"), tar.stdout.len());
        self.artifacts.lock().unwrap_or_else(PoisonError::into_inner).insert(file.clone(), tar.stdout);
        let now = jiff::Timestamp::now().round(jiff::Unit::Second)?.to_string();
        let ready = json!({ "type": "Ready", "status": "True", "reason": "Succeeded", "message": "stored artifact",
            "lastTransitionTime": now, "observedGeneration": 1 });
        let status = json!({ "status": { "observedGeneration": 1, "conditions": [ready], "artifact": {
            "path": file, "url": format!("http://{}{file}", self.address), "digest": digest,
            "revision": format!("main@sha1:{}", &hash[..40]), "lastUpdateTime": now, "size": size } } })
        .to_string();
        let patch =
            ["patch", "gitrepository", repository, "-n", NAMESPACE, "--subresource=status", "--type=merge"];
        let patch = [&patch[..], &["-p", &status]].concat();
        self.cluster.kubectl(Person::Admin, &patch).await?.ok().map(drop)
    }

    /// Requests a reconciliation of a `Kustomization`, as `flux reconcile kustomization` does. Returns the new status.
    pub async fn reconcile(&self, name: &str) -> Result<Value> {
        let now = jiff::Timestamp::now().to_string();
        let request = format!("reconcile.fluxcd.io/requestedAt={now}");
        let annotate =
            ["annotate", "--overwrite", "kustomization.kustomize.toolkit.fluxcd.io", name, &request];
        self.cluster.kubectl(Person::Admin, &[&annotate[..], &["-n", NAMESPACE]].concat()).await?.ok()?;
        until(SOON, &format!("Flux to reconcile {name}"), async || {
            let object = self.kustomization(name).await?;
            Ok((object["status"]["lastHandledReconcileAt"] == now.as_str()).then(|| object["status"].clone()))
        })
        .await
    }

    /// Waits until a condition of a `Kustomization` has this status and reason. Returns the message of the condition.
    pub async fn is(&self, name: &str, type_: &str, status: &str, reason: &str) -> Result<String> {
        until(SOON, &format!("Kustomization {name} to be {type_}={status} {reason}"), async || {
            let object = self.kustomization(name).await?;
            let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let found = conditions.iter().find(|c| c["type"] == type_).with_context(|| object.to_string())?;
            ensure!(found["status"] == status && found["reason"] == reason, "{}", object["status"]);
            Ok(Some(found["message"].as_str().unwrap_or_default().to_owned()))
        })
        .await
    }

    /// A `Kustomization` as JSON.
    pub async fn kustomization(&self, name: &str) -> Result<Value> {
        self.cluster.reader().get("kustomizations.kustomize.toolkit.fluxcd.io", NAMESPACE, name).await
    }
}

async fn serve(State(artifacts): State<Artifacts>, uri: axum::http::Uri) -> Result<Vec<u8>, StatusCode> {
    let artifacts = artifacts.lock().unwrap_or_else(PoisonError::into_inner);
    artifacts.get(uri.path()).cloned().ok_or(StatusCode::NOT_FOUND)
}
