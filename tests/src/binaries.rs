//! Builds the programs of the control plane with `tests/controlplane/build`.
//!
//! The build uses only Go modules, because a module proxy may be the only network service that it can reach.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

pub fn controlplane(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("controlplane").join(file)
}

/// The directory that holds etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubectl, kwok and helm. The
/// first call builds these programs, which takes minutes and prints its progress.
pub async fn directory() -> Result<PathBuf> {
    build(&[]).await
}

/// The directory of the programs that the given Go modules of `tests/controlplane` build. The subdirectory `crds/` has
/// the CRDs of these programs, if they have any.
pub async fn built(modules: &[&str]) -> Result<PathBuf> {
    build(modules).await
}

async fn build(modules: &[&str]) -> Result<PathBuf> {
    let build = controlplane("build");
    let output = Command::new(&build)
        .args(modules)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .await
        .with_context(|| format!("running {}", build.display()))?;
    ensure!(output.status.success(), "{} failed, see above", build.display());
    let printed = String::from_utf8(output.stdout).context("the directory of the binaries")?;
    Ok(PathBuf::from(printed.trim_end()))
}
