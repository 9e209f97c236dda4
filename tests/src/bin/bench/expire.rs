//! Measures many expiries at once: in each of many namespaces, the only approval of a system expires in the same
//! second.
//!
//! The measured time is from that second until the last Clearance is rewritten. The baseline is the time in
//! which a client writes the same number of objects.
//!
//! ```text
//!  approve all until T ──► cleared ──► T ──┬─ create pods in some namespaces: none is admitted unchanged
//!                                          └─ watch Clearances until the last one is rewritten
//! ```

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use assent::api::Clearance;
use assent_tests::{Assent, ControlPlane, Person, until};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use kube::Api;
use kube::api::{WatchEvent, WatchParams};
use serde_json::json;

use crate::report::{Goal, Row, Unit};
use crate::rest::{Rest, post};
use crate::stats::ms;
use crate::world;
use crate::{Scale, machine, progress};

const SYSTEM: &str = "system-0";
const VERSION: &str = "system-0-v0";

/// The number of concurrent requests.
const CONCURRENCY: usize = 16;

/// The number of namespaces in which a dry run creates a pod after the expiry.
const SAMPLE: usize = 50;

/// The validity of the approvals. Within this time, the benchmark creates all approvals and the operator compiles them.
/// With fewer than 100 namespaces, the validity is a ninth of this time.
const LEAD: Duration = Duration::from_secs(45);

/// The timeout of each step.
const TIMEOUT: Duration = Duration::from_mins(10);

pub async fn measure(cluster: &ControlPlane, assent: &Assent, scale: &Scale) -> Result<Vec<Row>> {
    let (admin, alice) = (Rest::of(cluster, Person::Admin)?, Rest::of(cluster, Person::Alice)?);
    let count = scale.expiring;
    progress(&format!("creating {count} namespaces with a system each"));
    prepare(&admin, count).await?;
    let digests = digests(&admin, count).await?;
    let (mut floor, mut rewritten, mut admitted) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=scale.rounds {
        progress(&format!("expiry of {count} systems, round {round} of {}", scale.rounds));
        machine::quiet(assent).await?;
        floor.push(written(&admin, count).await?);
        let end = Timestamp::now() + SignedDuration::try_from(lead(count))?;
        let end = Timestamp::from_second(end.as_second())?;
        approve(&alice, &digests, end).await?;
        until_cleared(&admin, count).await?;
        let (last, without_gate) =
            tokio::try_join!(last_rewritten(&admin, count, end), admitted_after(&admin, count, end))?;
        rewritten.push(last);
        admitted.push(without_gate);
    }
    Ok(vec![
        Row {
            measure: format!(
                "{count} systems expire in a second: last Clearance; floor: a client writes as many objects"
            ),
            unit: Unit::Milliseconds,
            floor,
            assent: rewritten,
            goal: Some(Goal::Within(5000.0)),
        },
        Row {
            measure: format!("pods admitted after that, of {} created", SAMPLE.min(count)),
            unit: Unit::Pods,
            floor: Vec::new(),
            assent: admitted,
            goal: Some(Goal::Within(0.0)),
        },
    ])
}

fn namespace(number: usize) -> String {
    format!("expire-{number}")
}

fn lead(count: usize) -> Duration {
    if count < 100 { LEAD / 9 } else { LEAD }
}

async fn prepare(admin: &Rest, count: usize) -> Result<()> {
    let namespaces =
        (0..count).map(|number| ("/api/v1/namespaces".to_owned(), world::governed(&namespace(number))));
    admin.create_all(namespaces.collect()).await?;
    let systems = (0..count)
        .map(|number| (world::ours(&namespace(number), "aisystems"), world::ai_system(SYSTEM, "limited")));
    admin.create_all(systems.collect()).await?;
    let versions = (0..count).map(|number| {
        (world::ours(&namespace(number), "modelversions"), world::model_version(SYSTEM, VERSION))
    });
    admin.create_all(versions.collect()).await
}

/// The digests to approve, in the order of the namespaces.
async fn digests(admin: &Rest, count: usize) -> Result<Vec<serde_json::Value>> {
    let all = (0..count).map(|number| async move { world::judged(admin, &namespace(number), VERSION).await });
    stream::iter(all).buffered(CONCURRENCY).try_collect().await
}

async fn approve(alice: &Rest, digests: &[serde_json::Value], end: Timestamp) -> Result<()> {
    let approvals = digests.iter().enumerate().map(|(number, digest)| {
        let mut approval = world::decision("Approve", SYSTEM, VERSION, digest);
        approval["spec"]["notAfter"] = json!(end);
        (world::ours(&namespace(number), "approvals"), approval)
    });
    alice.create_all(approvals.collect()).await
}

/// Measures the baseline: the time to write `count` objects, in milliseconds.
async fn written(admin: &Rest, count: usize) -> Result<f64> {
    let write = |number| {
        let path = format!("/api/v1/namespaces/{}/configmaps", namespace(number));
        post(
            &path,
            &json!({ "metadata": { "generateName": "floor-" }, "data": { "floor": "x".repeat(1500) } }),
        )
    };
    let writes = (0..count).map(write).collect::<Result<_>>()?;
    let begin = Instant::now();
    admin.all(writes, CONCURRENCY).await?;
    Ok(ms(begin.elapsed()))
}

/// A stream of all Clearances: first the existing ones, then each created or modified one.
async fn clearances(admin: &Rest) -> Result<BoxStream<'static, Result<Clearance>>> {
    let api: Api<Clearance> = Api::all(admin.0.clone());
    let events = api.watch(&WatchParams::default(), "0").await?.map_err(Into::into);
    let clearance = |event| async move {
        match event {
            WatchEvent::Added(clearance) | WatchEvent::Modified(clearance) => Ok(Some(clearance)),
            _ => Ok(None),
        }
    };
    Ok(events.try_filter_map(clearance).boxed())
}

/// Waits until `count` Clearances of the benchmark clear a version. If `cleared` is false, waits until `count` of them
/// clear no version. Returns the time at which this is true.
async fn until_all(admin: &Rest, count: usize, cleared: bool) -> Result<SystemTime> {
    let mut clearances = clearances(admin).await?;
    let mut there = BTreeSet::new();
    let all = async {
        while let Some(clearance) = clearances.try_next().await? {
            let namespace = clearance.metadata.namespace.unwrap_or_default();
            let clears = clearance.spec.systems.values().any(|system| !system.cleared.is_empty());
            if namespace.starts_with("expire-") && clears == cleared {
                there.insert(namespace);
            } else {
                there.remove(&namespace);
            }
            if there.len() == count {
                return Ok(SystemTime::now());
            }
        }
        bail!("the watch ended")
    };
    tokio::time::timeout(TIMEOUT, all)
        .await
        .context("the Clearances were not rewritten before the timeout")?
}

async fn until_cleared(admin: &Rest, count: usize) -> Result<()> {
    until_all(admin, count, true).await.map(drop)
}

/// Waits until the last Clearance is rewritten. Returns the time since `end` in milliseconds.
async fn last_rewritten(admin: &Rest, count: usize, end: Timestamp) -> Result<f64> {
    let end = SystemTime::from(end);
    ensure!(SystemTime::now() < end, "the approvals expired before all of them were compiled");
    Ok(ms(until_all(admin, count, false).await?.duration_since(end)?))
}

/// After `end`, creates one pod in each sampled namespace, as a dry run. Returns the number of pods that are admitted
/// without a gate. Other pods are held, or refused while the Clearance still contains the expired version.
#[allow(clippy::cast_precision_loss, reason = "counts are small")]
async fn admitted_after(admin: &Rest, count: usize, end: Timestamp) -> Result<f64> {
    let pod = world::pod(SYSTEM, VERSION);
    world::admitted(admin, &namespace(count - 1), &pod, false).await?;
    until(TIMEOUT, "the approvals to expire", async || Ok((Timestamp::now() >= end).then_some(()))).await?;
    let sample = count.min(SAMPLE);
    let mut admitted = 0;
    for number in (0..sample).map(|number| number * count / sample) {
        let path = format!("{}?dryRun=All", world::pods(&namespace(number)));
        match admin.timed(post(&path, &pod)?).await {
            Ok((answer, _)) => admitted += usize::from(!world::is_held(&answer)),
            Err(error) if format!("{error:#}").contains("no clearance that is valid") => {}
            Err(error) => return Err(error),
        }
    }
    Ok(admitted as f64)
}
