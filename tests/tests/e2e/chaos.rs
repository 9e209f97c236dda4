//! A short run of what `make chaos` does at length.

use std::process::Stdio;

use anyhow::{Result, ensure};
use tokio::process::Command;

pub async fn a_few_seeds() -> Result<()> {
    let kept = concat!(env!("CARGO_TARGET_TMPDIR"), "/chaos");
    let mut chaos = Command::new(env!("CARGO_BIN_EXE_chaos"));
    chaos.args(["--seed", "1", "--seeds", "2", "--seconds", "25", "--keep", kept]);
    let output = chaos.stdin(Stdio::null()).kill_on_drop(true).output().await?;
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{said}\n{complained}");
    Ok(())
}
