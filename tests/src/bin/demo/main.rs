//! "No AI runs without assent" is a claim that nobody should take on trust: this program installs Assent on a
//! real control plane, does to it what people would do, honest or not, and waits to see each thing happen.
//!
//! ```text
//! main ── Timeline ──> what a reader sees
//!   └─ story ── Stage ─┬─ people and a GitOps controller, through kubectl, kubectl assent and helm
//!                      └─ Watched ──> when it happened
//! ```

mod arrival;
mod changes;
mod expiry;
mod gate;
mod impostors;
mod install;
mod outage;
mod release;
mod retirement;
mod signatures;
mod stage;
mod timeline;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use assent_tests::ControlPlane;

use timeline::Timeline;

#[tokio::main]
async fn main() -> ExitCode {
    let time = Timeline::new();
    time.note(
        "Assent: an AI workload runs on Kubernetes only with the recorded approval of the people whom its risk \
         asks for. This happens as you read it, on a real API server; a line is printed when it was seen to have \
         happened.",
    );
    match Box::pin(run(&time)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nThe demo failed after {:.1} s.", time.elapsed().as_secs_f64());
            for cause in error.chain() {
                eprintln!("  {}", cause.to_string().trim_end().replace('\n', "\n  "));
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(time: &Timeline) -> Result<()> {
    let cluster = install::cluster(time).await?;
    let told = Box::pin(story(time, &cluster)).await;
    if told.is_err() {
        let kept = keep_logs(&cluster)?;
        let operator = fs::read_to_string(kept.join("operator.log")).unwrap_or_default();
        let lines: Vec<_> = operator.lines().collect();
        eprintln!("\nThe operator's last words:");
        lines[lines.len().saturating_sub(20)..].iter().for_each(|line| eprintln!("  {line}"));
        eprintln!("The logs of everything are kept in {}", kept.display());
    }
    told
}

async fn story(time: &Timeline, cluster: &ControlPlane) -> Result<()> {
    let stage = install::assent(time, cluster).await?;
    arrival::three_systems_arrive(&stage).await?;
    signatures::those_who_are_asked_sign(&stage).await?;
    signatures::signatures_that_count_for_nothing(&stage).await?;
    gate::dev_attacks_the_gate(&stage).await?;
    impostors::something_else_under_an_approved_name(&stage).await?;
    changes::dev_changes_what_was_signed(&stage).await?;
    outage::the_operator_is_killed(&stage).await?;
    expiry::an_approval_ends(&stage).await?;
    release::a_new_version(&stage).await?;
    release::a_revocation(&stage).await?;
    retirement::a_system_is_retired(&stage).await?;
    retirement::how_things_stand(&stage).await
}

/// The cluster's directory goes when we do, so its logs are copied.
fn keep_logs(cluster: &ControlPlane) -> Result<PathBuf> {
    let kept = tempfile::Builder::new().prefix("assent-demo-logs-").tempdir()?.keep();
    for file in fs::read_dir(cluster.log_dir()).context("reading the logs")? {
        let file = file?;
        fs::copy(file.path(), kept.join(file.file_name()))?;
    }
    Ok(kept)
}
