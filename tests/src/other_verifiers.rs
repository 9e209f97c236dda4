//! Programs of other people that verify a record: Tessera, torchwood and `golang.org/x/mod`.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;

use crate::binaries;

/// The program `verify-record` of `tests/controlplane/record`, which contains no code of Assent.
#[derive(Clone, Debug)]
pub struct OtherVerifiers {
    program: PathBuf,
}

impl OtherVerifiers {
    /// Builds the program. The first call takes about a minute.
    pub async fn build() -> Result<Self> {
        Ok(Self { program: binaries::built(&["record"]).await?.join("verify-record") })
    }

    /// Runs the program. Returns its standard output, or its standard error as the error.
    pub async fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new(&self.program).args(arguments).stdin(Stdio::null()).output().await;
        let output = output.with_context(|| format!("running {}", self.program.display()))?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "verify-record {}: {errors}", arguments.join(" "));
        String::from_utf8(output.stdout).context("the output of verify-record")
    }
}
