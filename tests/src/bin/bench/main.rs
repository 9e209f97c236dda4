//! The benchmark measures the cost of Assent, and compares it with a baseline. The code and the output call the
//! baseline `floor`. Each part of the benchmark returns rows of a table. See `docs/performance.md`.
//!
//! ```text
//! main ─┬─ create    the time that admission adds to a request for a pod
//!       ├─ release   the time from an approval to the release of one pod, or of the last of many pods
//!       ├─ revoke    the time from a revocation to the end of the last pod
//!       ├─ hold      the time from an incident to the new Clearance, and to the stop of the first pod
//!       ├─ expire    the time from the expiry of approvals to the write of the last Clearance
//!       ├─ scale     the memory, the idle cost and the start time of the operator
//!       ├─ evidence  the cost of results and expressions for the operator
//!       └─ monitors  the cost of queries to Prometheus for the operator
//! ```

#![forbid(unsafe_code)]

mod chart;
mod create;
mod evidence;
mod expire;
mod hold;
mod leave;
mod machine;
mod monitors;
mod release;
mod report;
mod rest;
mod revoke;
mod scale;
mod stats;
mod world;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use assent_tests::{Assent, ControlPlane, Options, Person, root};
use clap::{Parser, ValueEnum};

use crate::report::Row;
use crate::rest::Rest;

/// The number of simulated nodes.
const NODES: u32 = 16;

/// Measures the cost of Assent on its own control plane.
#[derive(Parser)]
struct Arguments {
    /// Make a small, short run, to check that the benchmark works.
    #[arg(long)]
    quick: bool,
    /// The parts of the benchmark to run.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Measure::value_variants().to_vec())]
    only: Vec<Measure>,
    /// The number of rounds.
    #[arg(long)]
    rounds: Option<usize>,
    /// The number of AI systems for the parts `scale`, `evidence` and `monitors`.
    #[arg(long, env = "ASSENT_BENCH_SYSTEMS")]
    systems: Option<usize>,
    /// The number of pods for the part `scale`.
    #[arg(long, env = "ASSENT_BENCH_PODS")]
    pods: Option<usize>,
    /// The JSON file for all figures. Default: target/bench.json.
    #[arg(long)]
    output: Option<PathBuf>,
    /// The SVG file for the chart.
    #[arg(long)]
    chart: Option<PathBuf>,
    /// Measure nothing, and show the figures in these JSON files of earlier runs.
    #[arg(long, num_args = 1.., conflicts_with = "output")]
    show: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Measure {
    Create,
    Release,
    Revoke,
    Hold,
    Expire,
    Scale,
    Evidence,
    Monitors,
}

/// The sizes and durations of the measurements.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    rounds: usize,
    /// The number of requests that one client sends per round for each case.
    requests: usize,
    /// How long eight clients send requests in one measurement.
    burst: Duration,
    /// The number of single measurements per round: releases of one pod, or failing results of one system.
    releases: usize,
    /// The number of pods that the operator releases together.
    released: usize,
    /// The number of pods that the operator stops together.
    stopped: usize,
    /// The number of namespaces whose only approval expires in the same second.
    expiring: usize,
    systems: usize,
    pods: usize,
    /// How long the benchmark measures the idle operator.
    quiet: Duration,
}

impl Scale {
    const FULL: Self = Self {
        rounds: 5,
        requests: 300,
        burst: Duration::from_millis(500),
        releases: 5,
        released: 5000,
        stopped: 1000,
        expiring: 1000,
        systems: 10_000,
        pods: 100_000,
        quiet: Duration::from_mins(5),
    };

    const QUICK: Self = Self {
        rounds: 2,
        requests: 20,
        burst: Duration::from_millis(100),
        releases: 1,
        released: 50,
        stopped: 20,
        expiring: 20,
        systems: 40,
        pods: 200,
        quiet: Duration::from_secs(10),
    };
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let rows = if arguments.show.is_empty() { run(&arguments).await? } else { read(&arguments.show)? };
    print!("{}", report::table(&rows));
    if let Some(chart) = arguments.chart {
        std::fs::write(&chart, chart::svg(&rows)).with_context(|| format!("writing {}", chart.display()))?;
    }
    Ok(())
}

fn read(files: &[PathBuf]) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for file in files {
        let reading = || format!("reading {}", file.display());
        let figures = std::fs::read_to_string(file).with_context(reading)?;
        rows.extend(report::rows(&serde_json::from_str(&figures).with_context(reading)?)?);
    }
    Ok(rows)
}

/// Measures the requested parts, and writes the figures to the JSON file.
async fn run(arguments: &Arguments) -> Result<Vec<Row>> {
    let base = if arguments.quick { Scale::QUICK } else { Scale::FULL };
    let scale = Scale {
        rounds: arguments.rounds.unwrap_or(base.rounds),
        systems: arguments.systems.unwrap_or(base.systems),
        pods: arguments.pods.unwrap_or(base.pods),
        ..base
    };
    let begin = Instant::now();
    let output = arguments.output.clone().unwrap_or_else(|| root().join("target/bench.json"));
    let mut rows = Vec::new();
    for part in &arguments.only {
        // Objects of other parts would affect the measurement, so each part has its own control plane.
        progress("starting a control plane and installing Assent");
        let cluster = ControlPlane::start_with(Options { nodes: NODES, ..Options::default() }).await?;
        let machine = machine::facts(&Rest::of(&cluster, Person::Admin)?).await?;
        rows.extend(measure(&cluster, *part, &scale).await?);
        // Each part writes the file again, so that a later failure loses no figures.
        let json = serde_json::to_string_pretty(&report::json(&machine, &rows))?;
        std::fs::write(&output, json).with_context(|| format!("writing {}", output.display()))?;
    }
    progress(&format!("done after {:.0?}; all figures are in {}", begin.elapsed(), output.display()));
    Ok(rows)
}

async fn measure(cluster: &ControlPlane, part: Measure, scale: &Scale) -> Result<Vec<Row>> {
    let assent = Assent::install(cluster).await?;
    let measured = match part {
        Measure::Create => create::measure(cluster, scale).await,
        Measure::Release => release::measure(cluster, &assent, scale).await,
        Measure::Revoke => revoke::measure(cluster, &assent, scale).await,
        Measure::Hold => hold::measure(cluster, &assent, scale).await,
        Measure::Expire => expire::measure(cluster, &assent, scale).await,
        Measure::Scale => scale::measure(cluster, &assent, scale).await,
        Measure::Evidence => evidence::measure(cluster, &assent, scale).await,
        Measure::Monitors => monitors::measure(cluster, &assent, scale).await,
    };
    measured
        .with_context(|| format!("The last lines of the operator's log:\n{}", assent.operator().log_tail(20)))
}

/// Prints the progress to standard error, because standard output is for the table only.
fn progress(what: &str) {
    eprintln!("bench: {what}");
}
