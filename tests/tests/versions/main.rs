//! A short test suite. It runs on several older minor versions of Kubernetes that the chart supports, and on the newest
//! version. For each version, the suite starts a control plane, installs the chart and starts the operator. Then it
//! runs three Rust modules:
//!
//! - `life`: pods are held or refused, and people approve, revoke, attest, hold and override versions.
//! - `policies`: each policy that a request can reach refuses a request, warns about it or changes its object.
//! - `cost`: measures the time to create a pod in namespaces with 1, 10 and 50 systems.
//!
//! `make test-versions` runs the suite. The first run builds the control planes, which takes about five minutes for
//! each version. Arguments select versions: `make test-versions ARGS=1.30`.

mod cost;
mod life;
mod policies;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, ensure};
use assent_tests::{Assent, ControlPlane, Options, Person};
use libtest_mimic::{Arguments, Trial};
use tokio::runtime::Runtime;

/// The older versions of Kubernetes. Each has a Go module `tests/controlplane/kubernetes-VERSION`. The newest version
/// is not in this list.
const OLDER: [&str; 4] = ["1.30", "1.33", "1.35", "1.36"];

/// The first minor version of Kubernetes with `MutatingAdmissionPolicy` v1. The API server needs such policies to hold
/// a pod.
const HOLDS_SINCE: u32 = 36;

struct Stage {
    cluster: ControlPlane,
    /// Keeps the operator running until this field is dropped.
    _assent: Assent,
    /// Whether the policies hold an uncleared pod. If false, the policies refuse the pod.
    holds: bool,
}

impl Stage {
    async fn start(version: Option<&str>) -> Result<Self> {
        let options = Options::default();
        let options = version.into_iter().fold(options, Options::on_kubernetes);
        let cluster = ControlPlane::start_with(options).await?;
        let output = cluster.kubectl(Person::Admin, &["version", "-o=json"]).await?.ok()?;
        let output: serde_json::Value = serde_json::from_str(&output)?;
        let server = &output["serverVersion"];
        let actual = format!("{}.{}", server["major"], server["minor"]).replace('"', "");
        ensure!(version.is_none_or(|version| version == actual), "the API server is {actual}");
        let minor: u32 = actual.rsplit('.').next().unwrap_or_default().parse()?;
        let assent = Assent::install(&cluster).await?;
        Ok(Self { cluster, _assent: assent, holds: minor >= HOLDS_SINCE })
    }
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // A second control plane at the same time would distort the times that `cost` measures.
    arguments.test_threads = Some(1);
    let costs: Arc<Mutex<Vec<cost::Row>>> = Arc::default();
    let versions = OLDER.into_iter().map(Some).chain([None]);
    let trials = versions.map(|version| trial(version, Arc::clone(&costs))).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    let costs = costs.lock().unwrap_or_else(PoisonError::into_inner);
    if !costs.is_empty() {
        println!("{}", cost::table(&costs));
    }
    conclusion.exit_code()
}

fn trial(version: Option<&'static str>, costs: Arc<Mutex<Vec<cost::Row>>>) -> Trial {
    let name = version.unwrap_or("newest");
    Trial::test(format!("kubernetes {name}"), move || {
        let run = async {
            let stage = Stage::start(version).await?;
            life::hold_or_refuse_approve_run_revoke(&stage).await?;
            life::expire(&stage).await?;
            life::evidence(&stage).await?;
            life::incidents(&stage).await?;
            life::placeholders(&stage).await?;
            life::overrides(&stage).await?;
            policies::each_policy_answers_once(&stage).await?;
            let row = cost::measure(&stage.cluster, name).await?;
            costs.lock().unwrap_or_else(PoisonError::into_inner).push(row);
            anyhow::Ok(())
        };
        Runtime::new()?.block_on(run).map_err(|error| format!("{error:#}").into())
    })
}
