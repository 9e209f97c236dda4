//! Somebody changes very much in one namespace: another namespace waits no longer than it is promised.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use assent_tests::{Flood, Objects, Person, Scenario, Watched, container};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use tokio::time::timeout;

use crate::outage::stage;

/// How long an approval in another namespace may take to release a pod meanwhile, on a loaded machine.
const BOUND: Duration = Duration::from_secs(5);

/// How many changes a minute the API server stores at least beside other tests. The flood asks for 5,500.
const LEAST_RATE: f64 = 600.0;

/// How many approvals are measured, each of its own version.
const SAMPLES: usize = 6;

/// How long it takes from an approval to pods that run, in the worst of some cases.
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

/// Whether two pods of `app` run, or are held.
fn two(pods: &Objects<Pod>, app: &str, running: bool) -> Result<(), String> {
    let ours = pods.values().filter(|pod| pod.labels().get("app").is_some_and(|label| label == app));
    let as_wanted = ours.filter(|pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let held = pod.labels().contains_key("assent.dev/held");
        held != running && (phase == Some("Running")) == running
    });
    let count = as_wanted.count();
    if count == 2 { Ok(()) } else { Err(format!("{count} are")) }
}

pub async fn a_flood_in_one_namespace_delays_no_other() -> Result<()> {
    let (cluster, assent) = stage().await?;
    let victim = Scenario::new(&cluster, "quiet", "limited").await?;
    let flooded = Scenario::new(&cluster, "flooded", "limited").await?;
    let pods = Watched::start(cluster.client(Person::Admin)?).await?;
    let quiet = slowest(&victim, &pods, "before").await?;

    let flood = Flood::new(&cluster, "flooded")?;
    let begun = Instant::now();
    let loud = tokio::select! {
        () = flood.rise() => unreachable!("it goes on for ever"),
        loud = slowest(&victim, &pods, "during") => loud?,
    };
    let rate = f64::from(flood.changes()) / begun.elapsed().as_secs_f64() * 60.0;
    let system =
        timeout(BOUND * 6, flooded.condition("aisystem", "scorer", "Cleared", "False", "AwaitingApproval"));
    let behind = Instant::now();
    system.await??;
    eprintln!(
        "{rate:.0} changes a minute; from the request of an approval to running pods: {quiet:.2?} at most without, {loud:.2?} with; \
         the flooded namespace was up to date {:.1?} after the last change",
        behind.elapsed()
    );
    ensure!(rate > LEAST_RATE, "the machine is too slow for a flood: {rate:.0} changes a minute");
    ensure!(loud < BOUND, "{loud:?} instead of {quiet:?}\n{}", assent.operator().log_tail(20));
    Ok(())
}
