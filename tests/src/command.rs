//! Runs kubectl, helm and other programs, without the configuration and caches of the user who runs the tests.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use anyhow::{Context, Result, bail};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// A bash script that runs its argument on a pseudo-terminal. The program `script` runs the argument with the shell in
/// `SHELL`, so this line sets `SHELL` to bash.
pub const ON_A_TERMINAL: &str = r#"SHELL=$BASH exec script -qefc "$0" /dev/null"#;

/// The result of a command.
#[derive(Debug)]
pub struct Output {
    /// The command line, for messages.
    pub command: String,
    /// The exit status.
    pub status: ExitStatus,
    /// The standard output.
    pub stdout: String,
    /// The standard error.
    pub stderr: String,
}

impl Output {
    /// The standard output of a command that must succeed.
    ///
    /// # Errors
    ///
    /// Fails if the command failed. The error contains all output.
    pub fn ok(self) -> Result<String> {
        let Self { command, status, stdout, stderr } = self;
        if !status.success() {
            bail!("{command}: {status}\n{stdout}{stderr}");
        }
        Ok(stdout)
    }

    /// The standard error of a command that must fail.
    ///
    /// # Errors
    ///
    /// Fails if the command succeeded. The error contains all output.
    pub fn denied(self) -> Result<String> {
        let Self { command, status, stdout, stderr } = self;
        if status.success() {
            bail!("{command} succeeded, but it must fail\n{stdout}{stderr}");
        }
        Ok(stderr)
    }
}

pub struct Programs {
    /// The directories before `PATH` in the search for programs.
    pub path: Vec<PathBuf>,
    /// The directory of the caches. Each cluster has its own directory: kubectl names its caches by the address of the
    /// API server, and a later cluster may use the same address.
    pub home: PathBuf,
}

impl Programs {
    /// The command that runs `program` as the user of `kubeconfig`.
    pub fn command(&self, kubeconfig: &Path, program: impl AsRef<OsStr>) -> Result<Command> {
        let inherited = env::var_os("PATH").unwrap_or_default();
        let path = self.path.iter().cloned().chain(env::split_paths(&inherited));
        let path = env::join_paths(path).context("joining PATH")?;
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
            // The write fails if the program ends before it has read its input. Such a program may still succeed.
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
