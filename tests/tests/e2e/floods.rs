//! A flood of changes in one namespace does not delay approvals in another namespace.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use assent_tests::{Assent, ControlPlane, Flood, Objects, Person, Scenario, Watched, container};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use tokio::time::timeout;

/// The longest allowed time from an approval to running pods during the flood, even on a loaded machine.
const BOUND: Duration = Duration::from_secs(5);

/// The lowest number of stored changes per minute that counts as a flood. The flood attempts 5,500 changes per minute,
/// but other tests slow the flood down.
const LEAST_RATE: f64 = 600.0;

/// The number of approvals in one measurement. Each approval is for a new version.
const SAMPLES: usize = 6;

async fn slowest(scene: &Scenario<'_>, pods: &Watched<Pod>, prefix: &str) -> Result<Duration> {
    let mut slowest = Duration::ZERO;
    for sample in 0..SAMPLES {
        let name = format!("{prefix}-{sample}");
        let digest = scene.publish(&name, &container(&name)).await?;
        scene.apply(Person::Dev, &scene.deployment(&name, &container(&name))).await?;
        pods.until(&format!("{name} to be held"), |pods| two(pods, &name, false)).await?;
        let approval = scene.decision("Approve", &name, &digest, "risk-officer");
        let begun = Instant::now();
        scene.decide(Person::Alice, &approval).await?;
        let ((), runs) = pods.until(&format!("{name} to run"), |pods| two(pods, &name, true)).await?;
        slowest = slowest.max(runs.duration_since(begun));
    }
    Ok(slowest)
}

/// Checks that exactly two pods of `app` run, or that exactly two pods of `app` are held if `running` is false.
fn two(pods: &Objects<Pod>, app: &str, running: bool) -> Result<(), String> {
    let of_app = pods.values().filter(|pod| pod.labels().get("app").is_some_and(|label| label == app));
    let matching = of_app.filter(|pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let held = pod.labels().contains_key("assent.dev/held");
        held != running && (phase == Some("Running")) == running
    });
    let count = matching.count();
    if count == 2 { Ok(()) } else { Err(format!("{count} pods match")) }
}

pub async fn a_flood_in_one_namespace_does_not_delay_another(
    cluster: &ControlPlane,
    assent: &Assent,
) -> Result<()> {
    let victim = Scenario::new(cluster, "quiet", "limited").await?;
    let flooded = Scenario::new(cluster, "flooded", "limited").await?;
    let pods = Watched::start(cluster.client(Person::Admin)?).await?;
    let quiet = slowest(&victim, &pods, "before").await?;

    let flood = Flood::new(cluster, "flooded")?;
    let begun = Instant::now();
    let flooding = tokio::select! {
        () = flood.rise() => unreachable!("the flood never ends"),
        longest = slowest(&victim, &pods, "during") => longest?,
    };
    let rate = f64::from(flood.changes()) / begun.elapsed().as_secs_f64() * 60.0;
    let system =
        timeout(BOUND * 6, flooded.condition("aisystem", "scorer", "Cleared", "False", "AwaitingApproval"));
    let behind = Instant::now();
    system.await??;
    eprintln!(
        "{rate:.0} changes a minute; from an approval to running pods: at most {quiet:.2?} without and {flooding:.2?} with the \
         flood; the flooded namespace was up to date {:.1?} after the last change",
        behind.elapsed()
    );
    ensure!(rate > LEAST_RATE, "the machine is too slow for a flood: {rate:.0} changes a minute");
    ensure!(flooding < BOUND, "{flooding:?} instead of {quiet:?}\n{}", assent.operator().log_tail(20));
    Ok(())
}
