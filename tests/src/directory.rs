//! The temporary directory of a control plane. A script removes the directory when the test process ends, even after
//! SIGKILL.
//!
//! ```text
//! /tmp/assent-XXXXXX/
//! ├── pki/         ca.crt, apiserver.{crt,key}, service-account.{key,pub}, tokens.csv
//! ├── etcd/        the data
//! ├── kubeconfig/  alice.yaml, …, kube-scheduler.yaml, …
//! ├── home/        the caches of kubectl and helm
//! └── log/         etcd.log, kube-apiserver.log, …
//! ```

use std::env;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use crate::binaries::controlplane;

/// A temporary directory. Drop removes the directory, unless the environment variable `ASSENT_KEEP` is set to a value
/// other than `0`.
pub struct Directory {
    path: PathBuf,
    sweeper: Option<Child>,
}

impl Directory {
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
            // `wait` first closes the pipe to the script. Then the script removes the directory.
            Some(sweeper) => drop(sweeper.wait()),
            None => eprintln!("{} is kept, because ASSENT_KEEP is set", self.path.display()),
        }
    }
}
