//! Somebody changes very much in one namespace: another namespace waits no longer than it is promised.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use assent_tests::{Person, Scenario, container, digest};
use futures::{StreamExt, stream};
use kube::{
    Client,
    api::{Patch, PatchParams, PostParams},
    core::Request,
};
use serde_json::{Value, json};
use tokio::time::{interval, timeout};

use crate::outage::stage;

/// 5,000 changes a minute.
const PERIOD: Duration = Duration::from_millis(12);

/// How long an approval in another namespace may take to release a pod meanwhile, on a loaded machine.
const BOUND: Duration = Duration::from_secs(5);

/// How many changes are under way at a time.
const CONCURRENCY: usize = 16;

/// How many approvals are measured, each of its own version.
const SAMPLES: usize = 6;

const API: &str = "/apis/assent.dev/v1alpha1/namespaces/flooded";

async fn create(client: &Client, plural: &str, object: &Value) -> Result<()> {
    let path = format!("{API}/{plural}");
    let create = Request::new(path).create(&PostParams::default(), serde_json::to_vec(object)?)?;
    Ok(client.request_text(create).await.map(drop)?)
}

/// One change: a new version, a system that changes, or a signed decision of nobody.
async fn change(client: &Client, scene: &Scenario<'_>, number: u32) -> Result<()> {
    match number % 3 {
        0 => {
            let version = scene.version(&format!("flood-{number}"), &container(&format!("flood-{number}")));
            create(client, "modelversions", &version).await
        }
        1 => {
            let mut approval = scene.decision(
                "Approve",
                &format!("flood-{}", number - 1),
                &digest('0').parse()?,
                "risk-officer",
            );
            approval["spec"]["signature"] =
                json!({ "signedAt": "2026-01-01T00:00:00Z", "ssh": "-----BEGIN SSH SIGNATURE-----\nAAAA" });
            create(client, "approvals", &approval).await
        }
        _ => {
            let patch = json!({ "spec": { "intendedPurpose": format!("Purpose {number}.") } });
            let request = Request::new(format!("{API}/aisystems"));
            let request = request.patch("scorer", &PatchParams::default(), &Patch::Merge(&patch))?;
            Ok(client.request_text(request).await.map(drop)?)
        }
    }
}

/// How long it takes from an approval to pods that run, in the worst of some cases.
async fn slowest(scene: &Scenario<'_>, prefix: &str) -> Result<Duration> {
    let mut slowest = Duration::ZERO;
    for sample in 0..SAMPLES {
        let name = format!("{prefix}-{sample}");
        let digest = scene.publish(&name, &container(&name)).await?;
        scene.apply(Person::Dev, &scene.deployment(&name, &container(&name))).await?;
        scene.held(&name, 2).await?;
        let approval = scene.decision("Approve", &name, &digest, "risk-officer");
        scene.decide(Person::Alice, &approval).await?;
        let begun = Instant::now();
        scene.running(&name, 2).await?;
        slowest = slowest.max(begun.elapsed());
    }
    Ok(slowest)
}

pub async fn five_thousand_changes_a_minute_in_one_namespace_delay_no_other() -> Result<()> {
    let (cluster, assent) = stage().await?;
    let victim = Scenario::new(&cluster, "quiet", "limited").await?;
    let flooded = Scenario::new(&cluster, "flooded", "limited").await?;
    let quiet = slowest(&victim, "before").await?;

    let client = cluster.client(Person::Dev)?;
    let begun = Instant::now();
    let numbers = stream::unfold((0, interval(PERIOD)), async |(number, mut ticks)| {
        ticks.tick().await;
        Some((number, (number + 1, ticks)))
    });
    let mut changes = 0;
    let flood = numbers
        .map(|number| change(&client, &flooded, number))
        .buffer_unordered(CONCURRENCY)
        .for_each(|changed| {
            changes += u32::from(changed.is_ok());
            std::future::ready(())
        });
    let loud = tokio::select! {
        () = flood => unreachable!("it goes on for ever"),
        loud = slowest(&victim, "during") => loud?,
    };
    let rate = f64::from(changes) / begun.elapsed().as_secs_f64() * 60.0;
    let system =
        timeout(BOUND * 6, flooded.condition("aisystem", "scorer", "Cleared", "False", "AwaitingApproval"));
    let behind = Instant::now();
    system.await??;
    eprintln!(
        "{rate:.0} changes a minute; from an approval to running pods: {quiet:.2?} at most without, {loud:.2?} with; \
         the flooded namespace was up to date {:.1?} after the last change",
        behind.elapsed()
    );
    ensure!(rate > 300.0, "the machine is too slow for a flood: {rate:.0} changes a minute");
    ensure!(loud < BOUND, "{loud:?} instead of {quiet:?}\n{}", assent.operator().log_tail(20));
    Ok(())
}
