//! The account of a GitOps controller, and the Git repositories that the controller applies.
//!
//! The account is `cluster-admin`, as usual for GitOps controllers, so RBAC permits all requests of the account. But
//! Assent refuses approvals without a signature from this account, because the account is not a person.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Semaphore;

use crate::control_plane::ControlPlane;
use crate::installation::root;
use crate::kubeconfig::Account;
use crate::people::Person;
use crate::wait::until;

/// The namespace of the controller. Flux uses this name too.
pub const NAMESPACE: &str = "flux-system";

/// The name of the controller and of its service account.
pub const NAME: &str = "kustomize-controller";

/// Limits how many clusters of a test run have a GitOps controller at the same time, because a controller uses much
/// CPU.
pub static PERMITS: Semaphore = Semaphore::const_new(2);

impl ControlPlane {
    /// Installs the CRDs of a file or directory. Returns when the API server serves them.
    pub async fn define(&self, definitions: &Path) -> Result<()> {
        // kubectl does not follow a link to a directory.
        let definitions = definitions.canonicalize()?.display().to_string();
        self.kubectl(Person::Admin, &["apply", "--server-side", "-f", &definitions]).await?.ok()?;
        until(Duration::from_secs(20), "the definitions to be served", async || {
            // `kubectl wait` fails at once for a CRD that has no conditions, so the command is retried.
            let wait = ["wait", "--for=condition=Established", "--timeout=5s", "-f", &definitions];
            self.kubectl(Person::Admin, &wait).await?.ok().map(Some)
        })
        .await
        .map(drop)
    }

    /// The account of Flux's kustomize-controller, with the role `cluster-admin`.
    pub async fn gitops(&self) -> Result<Account> {
        self.applier(NAMESPACE, NAME).await
    }

    /// An [`Account`] with a new token of a service account with the role `cluster-admin`. Creates the namespace, the
    /// service account and the binding if they do not exist.
    pub async fn applier(&self, namespace: &str, name: &str) -> Result<Account> {
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": [
            { "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } },
            { "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": name, "namespace": namespace } },
            { "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
              "metadata": { "name": name },
              "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
              "subjects": [{ "kind": "ServiceAccount", "name": name, "namespace": namespace }] },
        ] });
        self.kubectl_stdin(Person::Admin, &["apply", "-f", "-"], &list.to_string()).await?.ok()?;
        self.service_account(namespace, name).await
    }
}

/// A copy of the repositories of a layout in `examples/gitops`, which a test can edit and commit.
pub struct Layout(TempDir);

impl Layout {
    /// Copies the layout with this name.
    pub fn copy(name: &str) -> Result<Self> {
        let copy = Self(tempfile::tempdir()?);
        copy.bring(&format!("examples/gitops/{name}"), "")?;
        Ok(copy)
    }

    /// Copies a file or directory of the checkout into a directory of the layout.
    pub fn bring(&self, from: &str, to: &str) -> Result<()> {
        let copied =
            std::process::Command::new("cp").arg("-r").arg(root().join(from)).arg(self.path(to)).status()?;
        ensure!(copied.success(), "cp {from}: {copied}");
        Ok(())
    }

    /// The path of a file of the layout.
    pub fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    /// Replaces each `from` in a file by `to`. Fails if the file does not contain `from`.
    pub fn edit(&self, path: &str, from: &str, to: &str) -> Result<()> {
        let path = self.path(path);
        let text = fs::read_to_string(&path)?;
        ensure!(text.contains(from), "{} has no {from:?}", path.display());
        Ok(fs::write(&path, text.replace(from, to))?)
    }

    /// Adds a manifest to a directory and to the `kustomization.yaml` of this directory.
    pub fn add(&self, directory: &str, name: &str, manifest: &Value) -> Result<()> {
        fs::write(self.path(directory).join(name), manifest.to_string())?;
        let list = self.path(directory).join("kustomization.yaml");
        let text = fs::read_to_string(&list)?.replace("resources: []", "resources:");
        Ok(fs::write(&list, text.replacen("resources:\n", &format!("resources:\n  - {name}\n"), 1))?)
    }

    /// Commits all files of a directory to the Git repository in this directory. Returns the URL of the repository.
    pub fn commit(&self, directory: &str) -> Result<String> {
        let directory = self.path(directory);
        if !directory.join(".git").exists() {
            git(&directory, &["init", "--quiet", "--initial-branch=main"])?;
        }
        git(&directory, &["add", "--all"])?;
        git(&directory, &["commit", "--quiet", "--allow-empty", "--message=for the test"])?;
        Ok(format!("file://{}", directory.display()))
    }
}

fn git(directory: &Path, args: &[&str]) -> Result<()> {
    let mut git = std::process::Command::new("git");
    for (name, value) in [("NAME", "dev"), ("EMAIL", "dev@example.com")] {
        git.env(format!("GIT_AUTHOR_{name}"), value).env(format!("GIT_COMMITTER_{name}"), value);
    }
    let output = git.arg("-C").arg(directory).args(args).output()?;
    ensure!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
