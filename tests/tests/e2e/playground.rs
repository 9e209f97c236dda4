//! The cluster that `make playground` starts.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use assent_tests::{binaries, until};
use tokio::process::Command;

const PATIENCE: Duration = Duration::from_mins(4);

/// A shell starts the playground and ends, but the playground continues to run. Each command that the playground
/// suggests succeeds. After the stop, the files of the server are gone.
pub async fn a_playground_outlives_its_shell_until_it_is_stopped() -> Result<()> {
    let home = tempfile::tempdir()?;
    let programs = binaries()?.display().to_string();
    let playground = format!("{programs}/playground");
    let started = shell(home.path(), &programs, &format!("{playground} start")).await?;
    let tried = try_it(home.path(), &programs, &playground, &started).await;
    let stopped = shell(home.path(), &programs, &format!("{playground} stop")).await?;
    tried.with_context(|| started.clone())?;
    ensure!(stopped.contains("is stopped"), "{stopped}");
    ensure!(!home.path().join("env").exists() && !home.path().join("kubeconfig").exists(), "files are left");
    let again = shell(home.path(), &programs, &format!("{playground} stop")).await?;
    ensure!(again.contains("No playground runs"), "{again}");
    Ok(())
}

async fn try_it(home: &Path, programs: &str, playground: &str, started: &str) -> Result<()> {
    let pid = std::fs::read_to_string(home.join("lock"))?.trim().to_owned();
    shell(home, programs, &format!("kill -s HUP {pid}")).await?;
    let again = shell(home, programs, &format!("{playground} start")).await?;
    ensure!(again.contains("already runs"), "{again}");
    let source = started.lines().map(str::trim).find(|line| line.starts_with(". "));
    let source = source.context("the welcome names no file to source")?;
    let commands: Vec<_> =
        started.lines().map(str::trim).filter(|line| line.starts_with("kubectl ")).collect();
    ensure!(commands.len() >= 5, "the welcome suggests {commands:?}");
    let ask = |command: &str| format!("{source} && {command}");
    for command in commands {
        let decides = ["approve", "revoke"].iter().any(|verb| command.contains(&format!(" {verb} ")));
        let yes = if decides { " --yes" } else { "" };
        let digest =
            "$(kubectl get modelversion credit-scorer-v1 -n lending -o jsonpath={.status.subjectDigest})";
        let signs = if command.contains(" approve ") { format!(" --digest {digest}") } else { String::new() };
        shell(home, programs, &ask(&format!("{command}{signs}{yes}"))).await?;
        if command.contains("--context bob") {
            let running = "kubectl wait pods -n lending --all --for=condition=Ready --timeout=60s";
            shell(home, programs, &ask(running)).await?;
        }
    }
    until(PATIENCE, "the pods of the revoked version to stop", async || {
        let pods = "kubectl get pods -n lending --field-selector=status.phase=Running -o=name";
        Ok(shell(home, programs, &ask(pods)).await?.is_empty().then_some(()))
    })
    .await
}

async fn shell(home: &Path, programs: &str, script: &str) -> Result<String> {
    let mut command = Command::new("bash");
    command
        .args(["-c", script])
        .env("ASSENT_PLAYGROUND", home)
        .env("ASSENT_BINARIES", programs)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let ended = tokio::time::timeout(PATIENCE, command.output()).await;
    let Output { status, stdout, stderr } = ended.with_context(|| format!("{script}: timeout"))??;
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    ensure!(status.success(), "{script}: {status}\n{stdout}{stderr}");
    Ok(stdout.into_owned())
}
