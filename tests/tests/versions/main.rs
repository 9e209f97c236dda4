//! A short suite on each older minor version of Kubernetes that the chart supports, and on the newest.
//!
//! ```text
//!  version ── control plane of that version ── chart, operator ─┬─ life       hold or refuse, approve, run, revoke, expire
//!                                                               ├─ policies   each policy refuses something
//!                                                               └─ cost       a create with 1, 10 and 50 systems
//! ```
//!
//! `make test-versions` runs it. The first run builds the control planes, which takes about five minutes each. Arguments
//! select versions: `make test-versions ARGS=1.30`.

mod cost;
mod life;
mod policies;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, ensure};
use assent_tests::{Assent, ControlPlane, Options, Person};
use libtest_mimic::{Arguments, Trial};
use tokio::runtime::Runtime;

/// The versions of which `tests/controlplane` has a module. The newest is in `tests/controlplane/kubernetes`.
const OLDER: [&str; 4] = ["1.30", "1.33", "1.35", "1.36"];

/// The first version whose API server can hold a pod: it has `MutatingAdmissionPolicy` v1.
const HOLDS_SINCE: u32 = 36;

/// A control plane of one version with Assent on it.
struct Stage {
    cluster: ControlPlane,
    /// The operator runs until this is dropped.
    _assent: Assent,
    /// Whether a pod that is not cleared is held; otherwise it is refused.
    holds: bool,
}

impl Stage {
    async fn start(version: Option<&str>) -> Result<Self> {
        let options = Options::default();
        let options = version.into_iter().fold(options, Options::on_kubernetes);
        let cluster = ControlPlane::start_with(options).await?;
        let said = cluster.kubectl(Person::Admin, &["version", "-o=json"]).await?.ok()?;
        let said: serde_json::Value = serde_json::from_str(&said)?;
        let server = &said["serverVersion"];
        let runs = format!("{}.{}", server["major"], server["minor"]).replace('"', "");
        ensure!(version.is_none_or(|version| version == runs), "the API server is {runs}");
        let minor: u32 = runs.rsplit('.').next().unwrap_or_default().parse()?;
        let assent = Assent::install(&cluster).await?;
        Ok(Self { cluster, _assent: assent, holds: minor >= HOLDS_SINCE })
    }
}

fn main() -> Result<ExitCode> {
    let mut arguments = Arguments::from_args();
    // What is measured must not wait for another control plane.
    arguments.test_threads = Some(1);
    let costs: Arc<Mutex<Vec<cost::Row>>> = Arc::default();
    let versions = OLDER.into_iter().map(Some).chain([None]);
    let trials = versions.map(|version| trial(version, Arc::clone(&costs))).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    let costs = costs.lock().unwrap_or_else(PoisonError::into_inner);
    if !costs.is_empty() {
        println!("{}", cost::table(&costs));
    }
    Ok(conclusion.exit_code())
}

fn trial(version: Option<&'static str>, costs: Arc<Mutex<Vec<cost::Row>>>) -> Trial {
    let name = version.unwrap_or("newest");
    Trial::test(format!("kubernetes {name}"), move || {
        let run = async {
            let stage = Stage::start(version).await?;
            life::hold_or_refuse_approve_run_revoke(&stage).await?;
            life::expire(&stage).await?;
            policies::each_refuses_something(&stage).await?;
            let row = cost::measure(&stage.cluster, name).await?;
            costs.lock().unwrap_or_else(PoisonError::into_inner).push(row);
            anyhow::Ok(())
        };
        Runtime::new()?.block_on(run).map_err(|error| format!("{error:#}").into())
    })
}
