//! Runs the chaos test of `make chaos` for a short time, with two seeds.

use std::process::Stdio;

use anyhow::{Result, ensure};
use tokio::process::Command;

pub async fn two_seeds_of_the_chaos_test_pass() -> Result<()> {
    let directory = concat!(env!("CARGO_TARGET_TMPDIR"), "/chaos");
    let mut chaos = Command::new(env!("CARGO_BIN_EXE_chaos"));
    chaos.args(["--seed", "1", "--seeds", "2", "--seconds", "25", "--keep", directory]);
    let output = chaos.stdin(Stdio::null()).kill_on_drop(true).output().await?;
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{stdout}\n{stderr}");
    Ok(())
}
