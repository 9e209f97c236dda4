//! Facts about the machine and the programs, and the memory and processor time of processes.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use assent_tests::{Assent, Process, root, until};
use serde_json::{Value, json};

use crate::Scale;
use crate::rest::Rest;

/// The clock ticks per second (`USER_HZ`). It is 100 on every Linux that Kubernetes supports.
const TICKS: f64 = 100.0;

/// The timeout of [`quiet`].
const TIMEOUT: Duration = Duration::from_mins(30);

pub async fn facts(rest: &Rest) -> Result<Value> {
    let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
    };
    Ok(json!({
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "cpu": field(&file("/proc/cpuinfo"), "model name"),
        "memory": field(&file("/proc/meminfo"), "MemTotal"),
        "kernel": file("/proc/sys/kernel/osrelease").trim(),
        "load": file("/proc/loadavg").trim(),
        "kubernetes": rest.get("/version").await?["gitVersion"],
        "assent": env!("CARGO_PKG_VERSION"),
        "commit": commit(),
        "build": if cfg!(debug_assertions) { "debug" } else { "release" },
    }))
}

fn commit() -> Option<String> {
    let output = Command::new("git").args(["describe", "--always", "--dirty"]).current_dir(root()).output();
    output.ok().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The resident memory of a process, in MiB.
pub fn resident(process: &Process) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().context("VmRSS")?;
    Ok(kib / 1024.0)
}

/// The processor time that a process has used.
pub fn processor(process: &Process) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.pid()))?;
    // Fields 12 and 13 after the name are the user and system time. The name is in brackets and may contain spaces.
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks =
        fields.get(11..13).context("a short /proc/PID/stat")?.iter().map(|field| field.parse::<f64>());
    Ok(Duration::from_secs_f64(ticks.sum::<Result<f64, _>>()? / TICKS))
}

/// The share of a core that the operator uses, in percent, for each round. All rounds together take `scale.quiet`.
pub async fn share(assent: &Assent, scale: &Scale) -> Result<Vec<f64>> {
    let round = scale.quiet / u32::try_from(scale.rounds)?;
    let mut share = Vec::new();
    for _ in 0..scale.rounds {
        let before = processor(assent.operator())?;
        tokio::time::sleep(round).await;
        let used = processor(assent.operator())?.saturating_sub(before);
        share.push(100.0 * used.as_secs_f64() / round.as_secs_f64());
    }
    Ok(share)
}

/// Waits until the operator has used less than 60 ms of processor time in two seconds.
pub async fn quiet(assent: &Assent) -> Result<()> {
    until(TIMEOUT, "the operator to be quiet", async || {
        let before = processor(assent.operator())?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let used = processor(assent.operator())?.saturating_sub(before);
        ensure!(used < Duration::from_millis(60), "it used {used:?} in 2 s");
        Ok(Some(()))
    })
    .await
}
