//! How soon nothing runs any more: from the answer to the revocation until the last of its pods is gone.
//! The floor is a client that deletes as many pods of the same kind, as many at a time as the operator does.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use assent_tests::{ControlPlane, Objects, Person, Watched};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::Request;
use k8s_openapi::api::core::v1::Pod;
use kube::core::PartialObjectMeta;

use crate::report::{Goal, Row, Unit};
use crate::rest::Rest;
use crate::stats::ms;
use crate::world;
use crate::{Scale, progress};

const GOVERNED: &str = "revoke";
const FREE: &str = "revoke-floor";

/// As many requests as the operator has under way.
const CONCURRENCY: usize = 64;

/// The pods of the cluster, without what is in them.
type Pods = Objects<PartialObjectMeta<Pod>>;

/// When the first and the last pod was gone.
struct Gone {
    first: f64,
    last: f64,
}

/// The rows about stopping pods.
pub async fn measure(cluster: &ControlPlane, scale: &Scale) -> Result<Vec<Row>> {
    progress("revocation to all pods gone");
    let (admin, alice) = (Rest::of(cluster, Person::Admin)?, Rest::of(cluster, Person::Alice)?);
    world::namespace(&admin, GOVERNED, true).await?;
    world::namespace(&admin, FREE, false).await?;
    let (mut floor, mut assent) = (Vec::new(), Vec::new());
    for round in 0..scale.rounds {
        let digest = clear(&admin, &alice, round).await?;
        // One after the other, since both need all of the machine; who is first changes.
        for turn in 0..2 {
            if (round + turn) % 2 == 0 {
                floor.push(deleted(&admin, round, scale.stopped).await?);
            } else {
                assent.push(revoked(&admin, &alice, round, &digest, scale.stopped).await?);
            }
        }
    }
    let times = |gone: &[Gone], of: fn(&Gone) -> f64| gone.iter().map(of).collect();
    let row = |what: &str, of: fn(&Gone) -> f64, goal| Row {
        measure: format!("revocation to {what}; floor: a client deletes them"),
        unit: Unit::Milliseconds,
        floor: times(&floor, of),
        assent: times(&assent, of),
        goal,
    };
    Ok(vec![
        row("first of its pods deleted", |gone| gone.first, Some(Goal::Within(1000.0))),
        row(&format!("{} pods gone", scale.stopped), |gone| gone.last, None),
    ])
}

async fn clear(admin: &Rest, alice: &Rest, round: usize) -> Result<serde_json::Value> {
    let (system, version) = (world::system_name(round), world::version_name(round, 0));
    admin.create(&world::ours(GOVERNED, "aisystems"), &world::ai_system(&system, "limited")).await?;
    let manifest = world::model_version(&system, &version);
    admin.create(&world::ours(GOVERNED, "modelversions"), &manifest).await?;
    let digest = world::judged(admin, GOVERNED, &version).await?;
    let approval = world::decision("Approve", &system, &version, &digest);
    alice.create(&world::ours(GOVERNED, "approvals"), &approval).await?;
    world::admitted(admin, GOVERNED, &world::pod(&system, &version), false).await?;
    Ok(digest)
}

/// The floor.
async fn deleted(admin: &Rest, round: usize, count: usize) -> Result<Gone> {
    populate(admin, FREE, round, count).await?;
    let names = names(admin).await?;
    let delete = |name: String| async move {
        let body = br#"{"gracePeriodSeconds":1}"#.to_vec();
        let path = format!("{}/{name}", world::pods(FREE));
        admin.timed(Request::delete(path).header("content-type", "application/json").body(body)?).await
    };
    until_gone(admin, FREE, count, async {
        let begin = Instant::now();
        let work =
            stream::iter(names).map(delete).buffer_unordered(CONCURRENCY).try_for_each(|_| async { Ok(()) });
        work.await?;
        Ok(begin)
    })
    .await
}

/// Assent.
async fn revoked(
    admin: &Rest,
    alice: &Rest,
    round: usize,
    digest: &serde_json::Value,
    count: usize,
) -> Result<Gone> {
    populate(admin, GOVERNED, round, count).await?;
    let revocation =
        world::decision("Revoke", &world::system_name(round), &world::version_name(round, 0), digest);
    until_gone(admin, GOVERNED, count, async {
        alice.create(&world::ours(GOVERNED, "approvals"), &revocation).await?;
        Ok(Instant::now())
    })
    .await
}

async fn populate(admin: &Rest, namespace: &str, round: usize, count: usize) -> Result<()> {
    let pod = world::pod(&world::system_name(round), &world::version_name(round, 0));
    admin.create_all((0..count).map(|_| (world::pods(namespace), pod.clone())).collect()).await?;
    world::running(admin, namespace, count).await?;
    // Events, counts and statuses about them.
    tokio::time::sleep(Duration::from_secs(2)).await;
    Ok(())
}

async fn names(admin: &Rest) -> Result<Vec<String>> {
    let pods = admin.get(&world::pods(FREE)).await?;
    let name = |pod: &serde_json::Value| pod["metadata"]["name"].as_str().map(str::to_owned);
    Ok(pods["items"].as_array().into_iter().flatten().filter_map(name).collect())
}

/// Watches the pods of a namespace while `end` makes them go; it gives the instant to count from.
async fn until_gone(
    admin: &Rest,
    namespace: &str,
    count: usize,
    end: impl Future<Output = Result<Instant>>,
) -> Result<Gone> {
    let pods = Watched::start(admin.0.clone()).await?;
    let here = |pods: &Pods| pods.keys().filter(|(of, _)| of == namespace).count();
    ensure!(pods.now(here) == count, "expected: {count} pods in {namespace}\nseen: {}", pods.now(here));
    let is_ending = |((of, _), pod): (&(String, String), &PartialObjectMeta<Pod>)| {
        of == namespace && pod.metadata.deletion_timestamp.is_some()
    };
    let first = pods.until("the first pod to end", |pods| {
        if here(pods) < count || pods.iter().any(is_ending) { Ok(()) } else { Err("none does".to_owned()) }
    });
    let last = pods.until("all pods to be gone", |pods| match here(pods) {
        0 => Ok(()),
        left => Err(format!("{left} are there")),
    });
    let (begin, ((), first), ((), last)) = tokio::try_join!(end, first, last)?;
    let since = |instant: Instant| ms(instant.saturating_duration_since(begin));
    Ok(Gone { first: since(first), last: since(last) })
}
