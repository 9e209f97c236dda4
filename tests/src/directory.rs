//! A control plane leaves nothing behind, even when its owner is killed: the directory is removed by a
//! script that waits for the owner to be gone, and not by the owner.
//!
//! ```text
//! /tmp/assent-XXXXXX/
//! ├── pki/         ca.crt, apiserver.{crt,key}, service-account.{key,pub}, tokens.csv
//! ├── etcd/        the data
//! ├── kubeconfig/  alice.yaml, …, kube-scheduler.yaml, …
//! ├── home/        what kubectl and helm cache
//! └── log/         etcd.log, kube-apiserver.log, …
//! ```

use std::env;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use crate::binaries::controlplane;

/// A temporary directory; `ASSENT_KEEP=1` keeps it.
pub struct Directory {
    path: PathBuf,
    sweeper: Option<Child>,
}

impl Directory {
    /// Makes the directory and its subdirectories.
    pub fn create() -> Result<Self> {
        let keep = env::var_os("ASSENT_KEEP").is_some_and(|value| value != "0" && !value.is_empty());
        let path = tempfile::Builder::new().prefix("assent-").tempdir()?.keep();
        let sweeper = if keep { None } else { Some(sweep(&path)?) };
        for part in ["pki", "etcd", "kubeconfig", "home", "log"] {
            fs::create_dir(path.join(part)).with_context(|| format!("creating {part}/"))?;
        }
        Ok(Self { path, sweeper })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn join(&self, part: &str) -> PathBuf {
        self.path.join(part)
    }

    /// The file that makes a program act as `user`.
    pub fn kubeconfig(&self, user: &str) -> PathBuf {
        self.path.join("kubeconfig").join(format!("{user}.yaml"))
    }
}

fn sweep(path: &Path) -> Result<Child> {
    Command::new(controlplane("sweep"))
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .context("starting tests/controlplane/sweep")
}

impl Drop for Directory {
    fn drop(&mut self) {
        match &mut self.sweeper {
            // Waiting closes the pipe first, and that is what the sweeper waits for.
            Some(sweeper) => drop(sweeper.wait()),
            None => eprintln!("ASSENT_KEEP: kept {}", self.path.display()),
        }
    }
}
