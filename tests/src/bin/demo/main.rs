//! The demo installs Assent on a real control plane, uses it and attacks it. Each step after the installation gets a
//! `Stage`, which runs the commands of people and of a GitOps controller. The demo checks each result before it prints
//! the result.

mod approvals;
mod changes;
mod deployment;
mod emergency;
mod evidence;
mod expiry;
mod gate;
mod incident;
mod install;
mod monitor;
mod outage;
mod release;
mod retirement;
mod stage;
mod timeline;
mod variants;

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
        "Assent runs an AI workload on Kubernetes only if the right people approved it. The risk level of the \
         workload says who must approve. This demo uses a real API server. It prints a line only after it has \
         checked the result.",
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
    let result = Box::pin(steps(time, &cluster)).await;
    if result.is_err() {
        let logs = copy_logs(&cluster)?;
        let operator = fs::read_to_string(logs.join("operator.log")).unwrap_or_default();
        let lines: Vec<_> = operator.lines().collect();
        eprintln!("\nThe last lines of the operator's log:");
        lines[lines.len().saturating_sub(20)..].iter().for_each(|line| eprintln!("  {line}"));
        eprintln!("All logs are in {}", logs.display());
    }
    result
}

async fn steps(time: &Timeline, cluster: &ControlPlane) -> Result<()> {
    let stage = install::assent(time, cluster).await?;
    deployment::deploy_three_systems(&stage).await?;
    approvals::approve_credit_scorer(&stage).await?;
    approvals::invalid_approvals(&stage).await?;
    gate::remove_the_gate(&stage).await?;
    variants::run_unapproved_content(&stage).await?;
    changes::change_after_approval(&stage).await?;
    outage::operator_down(&stage).await?;
    expiry::approval_expires(&stage).await?;
    evidence::evidence_decides(&stage).await?;
    emergency::override_and_review(&stage).await?;
    release::new_version(&stage).await?;
    release::revoke(&stage).await?;
    incident::hold_and_resume(&stage).await?;
    Box::pin(monitor::drift_and_review(&stage)).await?;
    retirement::retire(&stage).await?;
    retirement::final_state(&stage).await
}

/// Copies the logs, because the exit of the demo removes the directory of the cluster.
fn copy_logs(cluster: &ControlPlane) -> Result<PathBuf> {
    let copy = tempfile::Builder::new().prefix("assent-demo-logs-").tempdir()?.keep();
    for file in fs::read_dir(cluster.log_dir()).context("reading the logs")? {
        let file = file?;
        fs::copy(file.path(), copy.join(file.file_name()))?;
    }
    Ok(copy)
}
