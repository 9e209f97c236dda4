//! People use Assent through kubectl and helm, so the tests do too: the real programs, closed off from the
//! configuration and the caches of whoever runs the tests.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use anyhow::{Context, Result, bail};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// A script for bash that runs its argument on a terminal; `script` would have it run by whatever shell `SHELL`
/// names, if any.
pub const ON_A_TERMINAL: &str = r#"SHELL=$BASH exec script -qefc "$0" /dev/null"#;

/// What a command said.
#[derive(Debug)]
pub struct Output {
    /// The command line.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Output {
    /// Its standard output if it succeeded, else an error that shows what it said.
    pub fn ok(self) -> Result<String> {
        let Self { command, status, stdout, stderr } = self;
        if !status.success() {
            bail!("{command}: {status}\n{stdout}{stderr}");
        }
        Ok(stdout)
    }

    /// Its standard error if it failed, else an error: for what must be denied.
    pub fn denied(self) -> Result<String> {
        let Self { command, status, stdout, stderr } = self;
        if status.success() {
            bail!("{command} should have failed\n{stdout}{stderr}");
        }
        Ok(stderr)
    }
}

/// Where programs are found and what they may remember.
pub struct Programs {
    /// Searched before PATH.
    pub path: Vec<PathBuf>,
    /// For their caches: a cache of one cluster must not answer for another that has its port.
    pub home: PathBuf,
}

impl Programs {
    /// The command to run `program` as the user of `kubeconfig`, for whoever wants to set more of it.
    pub fn command(&self, kubeconfig: &Path, program: impl AsRef<OsStr>) -> Result<Command> {
        let inherited = env::var_os("PATH").unwrap_or_default();
        let path = self.path.iter().cloned().chain(env::split_paths(&inherited));
        let path = env::join_paths(path).context("joining PATH")?;
        // The child's PATH is not what finds the child itself.
        let program = self.find(Path::new(program.as_ref()));
        let mut command = Command::new(program);
        command
            .env("PATH", path)
            .env("KUBECONFIG", kubeconfig)
            .env("KUBERC", "off")
            .env("KUBECACHEDIR", self.home.join("kube"))
            .env("HELM_CACHE_HOME", self.home.join("helm/cache"))
            .env("HELM_CONFIG_HOME", self.home.join("helm/config"))
            .env("HELM_DATA_HOME", self.home.join("helm/data"))
            .kill_on_drop(true);
        Ok(command)
    }

    /// Runs `program` to its end.
    pub async fn run(
        &self,
        kubeconfig: &Path,
        program: &str,
        args: &[&str],
        stdin: Option<&str>,
    ) -> Result<Output> {
        let shown = [&[program], args].concat().join(" ");
        let mut command = self.command(kubeconfig, program)?;
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("starting {shown}"))?;
        let mut input = child.stdin.take().context("no stdin")?;
        let write = async move {
            // A program that does not want all of its input is no failure of ours.
            let _ = input.write_all(stdin.unwrap_or_default().as_bytes()).await;
        };
        let ((), output) = tokio::join!(write, child.wait_with_output());
        let output = output.with_context(|| format!("running {shown}"))?;
        Ok(Output {
            command: shown,
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    fn find(&self, program: &Path) -> PathBuf {
        let here = self.path.iter().map(|directory| directory.join(program)).find(|path| path.is_file());
        here.unwrap_or_else(|| program.to_owned())
    }
}
