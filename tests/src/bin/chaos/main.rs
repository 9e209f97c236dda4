//! The chaos test breaks many components while simulated users work. A separate process, the witness, learns the
//! outages from the test and judges whether Assent keeps its promises. See `docs/chaos.md`.
//!
//! ```text
//!  seed ──► Plan ──► faults of operators, proxies and control plane ─┐
//!       └─► churn ─► requests of simulated users ────────────────────┴─► API server ── watches ──► witness ──► Verdict
//! ```

#![forbid(unsafe_code)]

mod churn;
mod faults;
mod plan;
mod proxy;
mod shrink;
mod tenants;
mod witness;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use assent_tests::{Assent, Clock, Component, ControlPlane, Options, Person};
use clap::{Parser, Subcommand};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::churn::{Churn, GRACE};
use crate::faults::Stage;
use crate::plan::Plan;
use crate::proxy::Proxy;
use crate::tenants::Tenants;
use crate::witness::{Testimony, Verdict};

/// The timeout for a response of the witness.
const TIMEOUT: Duration = Duration::from_mins(5);

/// The number of namespaces that the witness judges.
const NAMESPACES: usize = 3;

/// Kills, pauses and slows down the processes of the control plane and the operator while simulated users work. Then
/// judges whether Assent kept its promises.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Hidden>,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The number of seeds, from the first on.
    #[arg(long, default_value_t = 5)]
    seeds: u64,
    /// The number of seconds with faults, per seed.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// The largest number of further runs of a seed with a violation, to find the faults that cause the violation.
    #[arg(long, default_value_t = 0)]
    shrink: u32,
    /// Stop and succeed at the first violation, for a build that is known to be bad.
    #[arg(long)]
    expect_violation: bool,
    /// The directory for the histories of seeds with a violation.
    #[arg(long, default_value = "target/chaos")]
    keep: PathBuf,
}

#[derive(Subcommand)]
enum Hidden {
    /// Run the witness.
    #[command(hide = true)]
    Witness(witness::Options),
    /// Judge a history that was kept.
    #[command(hide = true)]
    Judge {
        /// The file `history.jsonl`.
        history: PathBuf,
        /// The file `testimony.json`.
        testimony: PathBuf,
    },
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    match arguments.command {
        Some(Hidden::Witness(options)) => witness::run(options).await?,
        Some(Hidden::Judge { history, testimony }) => {
            let testimony = serde_json::from_str(&std::fs::read_to_string(testimony)?)?;
            let verdict = witness::judge_file(&history, &testimony)?;
            print(&verdict);
        }
        None => return Box::pin(run(&arguments)).await,
    }
    Ok(ExitCode::SUCCESS)
}

async fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut bed = TestBed::open().await?;
    let length = Duration::from_secs(arguments.seconds);
    let mut violated = 0;
    for seed in arguments.seed..arguments.seed + arguments.seeds {
        let plan = Plan::new(seed, length);
        println!("seed {seed}: clocks {:?} s, {} faults", plan.skew, plan.faults.len());
        let (verdict, testimony) = bed.play(seed, &plan, length).await?;
        print(&verdict);
        if verdict.violations.is_empty() {
            continue;
        }
        violated += 1;
        bed.keep(&arguments.keep, seed, &plan, &verdict, &testimony)?;
        if arguments.expect_violation {
            break;
        }
        shrink::shrink(&mut bed, seed, &plan, length, arguments.shrink).await?;
    }
    println!("{violated} of {} seeds had a violation", arguments.seeds);
    Ok(if (violated > 0) == arguments.expect_violation { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(verdict: &Verdict) {
    println!("  {:?}, settled after {:.1?}", verdict.figures, verdict.settled);
    for violation in &verdict.violations {
        println!("  VIOLATION {} {}", violation.promise, violation.says);
    }
    verdict.story.iter().for_each(|line| println!("    {line}"));
}

/// A control plane with Assent. The runs of all seeds use this control plane one after the other.
pub struct TestBed {
    cluster: ControlPlane,
    clock: Clock,
    rounds: u32,
}

impl TestBed {
    async fn open() -> Result<Self> {
        let options = Options { nodes: 3, ..Options::default() };
        let cluster = ControlPlane::start_with(options).await?;
        let clock = Clock::build(cluster.directory())?;
        Assent::release(&cluster).await?;
        Assent::risk_levels(&cluster).await?;
        let _operator = Assent::start(&cluster, "operator-0").await?;
        Assent::governed(&cluster).await?;
        Ok(Self { cluster, clock, rounds: 0 })
    }

    /// Runs a seed with its own operators and namespaces. Returns the verdict, and the testimony of the run.
    pub async fn play(&mut self, seed: u64, plan: &Plan, length: Duration) -> Result<(Verdict, Testimony)> {
        self.rounds += 1;
        let names = (0..NAMESPACES).map(|n| format!("chaos-{seed}-{}-{n}", self.rounds));
        let namespaces: Vec<_> = names.collect();
        let tenant = format!("tenant-{seed}-{}", self.rounds);
        let stage = self.stage(seed, plan, &tenant).await?;
        let mut witness = Witness::start(&self.cluster, &namespaces).await?;
        let mut churn = Churn::start(&self.cluster, seed, &namespaces).await?;
        let ((taken, refused), played) = tokio::join!(churn.run(length), stage.play(plan, length));
        played?;
        let testimony = {
            let healing = async {
                self.heal().await?;
                churn.approve_final_versions().await
            };
            tokio::select! {
                healed = healing => healed?,
                kept = stage.restart_exited() => kept?,
            }
            let outages = stage.outages.lock().map_err(|_| anyhow::anyhow!("poisoned"))?.clone();
            Testimony { outages, skew: plan.skew.to_vec(), grace: GRACE }
        };
        println!("  {taken} acts, {refused} refused or unanswered; {}", stage.tenants.summary());
        let verdict = tokio::select! {
            verdict = witness.verdict(&testimony) => verdict?,
            kept = stage.restart_exited() => { kept?; anyhow::bail!("the check for exited processes ended") }
        };
        let tenant_namespaces = stage.tenants.clean_up().await;
        self.sweep(&[namespaces, tenant_namespaces].concat()).await?;
        Ok((verdict, testimony))
    }

    async fn stage(&self, seed: u64, plan: &Plan, tenant: &str) -> Result<Stage<'_>> {
        let upstream = self.cluster.anonymous().await?;
        let start = async |n: usize| {
            let proxy =
                Proxy::start(upstream.client()?, seed.wrapping_mul(31).wrapping_add(n as u64)).await?;
            let clock = self.clock.off_by(plan.skew[n]);
            let name = format!("operator-{n}");
            let operator = Assent::start_in(&self.cluster, &name, &proxy.server, &clock).await?;
            anyhow::Ok((operator, proxy))
        };
        let ((first, to_first), (second, to_second)) = (start(0).await?, start(1).await?);
        let tenants = Tenants::start(&self.cluster, tenant).await?;
        Ok(Stage {
            tenants,
            cluster: &self.cluster,
            operators: [first, second],
            proxies: [to_first, to_second],
            outages: Mutex::default(),
            broken: Mutex::default(),
        })
    }

    /// Restarts the scheduler, waits until pods are governed again, and restarts the controllers. A restart resets the
    /// back-off of these components, which can be minutes after many refused requests.
    async fn heal(&self) -> Result<()> {
        self.cluster.restart(Component::Scheduler).await?;
        Assent::governed(&self.cluster).await?;
        self.cluster.restart(Component::ControllerManager).await
    }

    async fn sweep(&self, namespaces: &[String]) -> Result<()> {
        let delete = [
            &["delete", "namespace", "--wait=false"],
            &*namespaces.iter().map(String::as_str).collect::<Vec<_>>(),
        ]
        .concat();
        self.cluster.kubectl(Person::Admin, &delete).await?.ok().map(drop)
    }

    /// Copies the plan, the verdict, the testimony, the history and the logs of a seed with a violation to a
    /// subdirectory of `directory`.
    fn keep(
        &self,
        directory: &std::path::Path,
        seed: u64,
        plan: &Plan,
        verdict: &Verdict,
        testimony: &Testimony,
    ) -> Result<()> {
        let directory = directory.join(format!("seed-{seed}"));
        std::fs::create_dir_all(&directory)?;
        let faults: Vec<_> = plan.faults.iter().map(ToString::to_string).collect();
        std::fs::write(
            directory.join("plan.txt"),
            format!("clocks {:?}\n{}\n", plan.skew, faults.join("\n")),
        )?;
        std::fs::write(directory.join("verdict.json"), serde_json::to_vec_pretty(verdict)?)?;
        std::fs::write(directory.join("testimony.json"), serde_json::to_vec_pretty(testimony)?)?;
        for file in ["history.jsonl", "operator-0.log", "operator-1.log", "kube-apiserver.log"] {
            std::fs::copy(self.cluster.log_dir().join(file), directory.join(file))
                .with_context(|| file.to_owned())?;
        }
        println!("  kept in {}", directory.display());
        Ok(())
    }
}

struct Witness {
    _process: Child,
    stdin: ChildStdin,
    stdout: tokio::io::Lines<BufReader<ChildStdout>>,
}

impl Witness {
    async fn start(cluster: &ControlPlane, namespaces: &[String]) -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["witness", "--namespaces", &namespaces.join(","), "--kubeconfig"])
            .arg(cluster.kubeconfig(Person::Admin))
            .arg("--history")
            .arg(cluster.log_dir().join("history.jsonl"))
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdin = process.stdin.take().context("no stdin")?;
        let mut stdout = BufReader::new(process.stdout.take().context("no stdout")?).lines();
        let first = timeout(TIMEOUT, stdout.next_line()).await??;
        ensure!(first.as_deref() == Some("watching"), "expected: watching\nthe witness printed: {first:?}");
        Ok(Self { _process: process, stdin, stdout })
    }

    async fn verdict(&mut self, testimony: &Testimony) -> Result<Verdict> {
        self.stdin.write_all(format!("{}\n", serde_json::to_string(testimony)?).as_bytes()).await?;
        let line =
            timeout(TIMEOUT, self.stdout.next_line()).await.context("the witness does not answer")??;
        serde_json::from_str(&line.context("the witness ended")?).context("reading the verdict")
    }
}
