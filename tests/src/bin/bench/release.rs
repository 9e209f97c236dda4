//! Measures the time until the operator releases pods. The time starts at the response to the creation of the last
//! Approval. It ends when a held pod, or the last of many held pods, has no gate.
//!
//! The baseline is a lower bound without Assent. For one release, the baseline is the time of one update of a pod,
//! although a release needs at least two writes: the Clearance, then the pod. For many releases, a client removes the
//! gates of the same number of ungoverned pods, with the concurrency of the operator.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use assent::api::HELD_LABEL;
use assent_tests::{Assent, ControlPlane, Person};
use http::Request;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use crate::leave::leaving;
use crate::report::{Goal, Row, Unit};
use crate::rest::{OPERATOR_CONCURRENCY, Rest, patch, strategic};
use crate::stats::{median, ms};
use crate::world;
use crate::{Scale, machine, progress};

const GOVERNED: &str = "release-many";
const FREE: &str = "release-floor";

/// The gate of the baseline pods. The operator ignores this gate.
const FLOOR_GATE: &str = "bench.example/clearance";
const FLOOR_LABEL: &str = "bench.example/held";

/// The number of updates of each released pod. The median time of all these updates is the baseline.
const CHANGES: usize = 10;

pub async fn measure(cluster: &ControlPlane, assent: &Assent, scale: &Scale) -> Result<Vec<Row>> {
    let (admin, alice) = (Rest::of(cluster, Person::Admin)?, Rest::of(cluster, Person::Alice)?);
    Ok(vec![one(&admin, &alice, scale).await?, many(&admin, &alice, assent, scale).await?])
}

async fn one(admin: &Rest, alice: &Rest, scale: &Scale) -> Result<Row> {
    progress("approval to release of a pod");
    let (mut floor, mut assent) = (Vec::new(), Vec::new());
    let mut system = 0;
    for _ in 0..scale.rounds {
        let (mut patched, mut released) = (Vec::new(), Vec::new());
        for _ in 0..scale.releases {
            // Each pod has its own namespace, so that the Clearance contains only one version.
            let namespace = format!("release-{system}");
            world::namespace(admin, &namespace, true).await?;
            let pod = held_pod(admin, &namespace, system).await?;
            released.push(ms(release(admin, alice, &namespace, system, &pod).await?));
            patched.extend(change(admin, &namespace, &pod).await?);
            admin.delete_now(&format!("{}/{pod}", world::pods(&namespace))).await?;
            system += 1;
        }
        floor.push(median(&patched));
        assent.push(median(&released));
    }
    Ok(Row {
        measure: "approval to release of 1 pod; floor: 1 PATCH".to_owned(),
        unit: Unit::Milliseconds,
        floor,
        assent,
        goal: Some(Goal::Times(3.0)),
    })
}

async fn many(admin: &Rest, alice: &Rest, assent: &Assent, scale: &Scale) -> Result<Row> {
    let count = scale.released;
    world::namespace(admin, GOVERNED, true).await?;
    world::namespace(admin, FREE, false).await?;
    let (mut floor, mut released) = (Vec::new(), Vec::new());
    for round in 0..scale.rounds {
        progress(&format!("release of {count} pods, round {} of {}", round + 1, scale.rounds));
        let (system, version) = (world::system_name(round), world::version_name(round, 0));
        admin.create(&world::ours(GOVERNED, "aisystems"), &world::ai_system(&system, "limited")).await?;
        let manifest = world::model_version(&system, &version);
        admin.create(&world::ours(GOVERNED, "modelversions"), &manifest).await?;
        let digest = world::judged(admin, GOVERNED, &version).await?;
        let pod = world::parked(world::pod(&system, &version));
        let mut by_hand = world::gated(pod.clone(), FLOOR_GATE);
        by_hand["metadata"]["labels"][FLOOR_LABEL] = json!("true");
        for (namespace, pod) in [(FREE, &by_hand), (GOVERNED, &pod)] {
            admin.create_all((0..count).map(|_| (world::pods(namespace), pod.clone())).collect()).await?;
        }
        let removals = removals(admin).await?;
        // Earlier work of the operator must not affect the measurement.
        machine::quiet(assent).await?;
        let approval = world::decision("Approve", &system, &version, &digest);
        for turn in 0..2 {
            if (round + turn) % 2 == 0 {
                let remove = admin.all(removals.clone(), OPERATOR_CONCURRENCY);
                floor.push(until_released(admin, FREE, FLOOR_LABEL, count, from_start(remove)).await?);
            } else {
                let approvals = world::ours(GOVERNED, "approvals");
                let approve = alice.create(&approvals, &approval);
                let approved = from_end(approve);
                released.push(until_released(admin, GOVERNED, HELD_LABEL, count, approved).await?);
                machine::quiet(assent).await?;
            }
        }
        for namespace in [FREE, GOVERNED] {
            admin.delete_now(&world::pods(namespace)).await?;
        }
    }
    Ok(Row {
        measure: format!("approval to release of {count} pods; floor: a client patches them"),
        unit: Unit::Milliseconds,
        floor,
        assent: released,
        goal: Some(Goal::Times(1.2)),
    })
}

/// The requests that remove the gates of the baseline pods, with the same patch as the operator.
async fn removals(admin: &Rest) -> Result<Vec<Request<Vec<u8>>>> {
    let remove = |name: String| {
        let patch = json!({
            "metadata": { "labels": { FLOOR_LABEL: null }, "annotations": { "bench": "released: system-0-v0 is cleared" } },
            "spec": { "schedulingGates": [{ "$patch": "delete", "name": FLOOR_GATE }] },
        });
        strategic(&format!("{}/{name}", world::pods(FREE)), &patch)
    };
    admin.names(&world::pods(FREE)).await?.into_iter().map(remove).collect()
}

/// Runs `work` and waits until all pods of a namespace have lost `label`. `work` returns the instant at which the
/// measurement begins. Returns the milliseconds from this instant until the last pod has lost the label.
async fn until_released(
    admin: &Rest,
    namespace: &str,
    label: &str,
    count: usize,
    work: impl Future<Output = Result<Instant>>,
) -> Result<f64> {
    let released = leaving(admin, namespace, label, count).await?;
    let (begin, released) = tokio::try_join!(work, released)?;
    Ok(ms(released.last.saturating_duration_since(begin)))
}

/// Runs `work`. Returns the instant at which `work` began.
pub async fn from_start<T>(work: impl Future<Output = Result<T>>) -> Result<Instant> {
    let begin = Instant::now();
    work.await.map(|_| begin)
}

/// Runs `work`. Returns the instant at which `work` ended.
pub async fn from_end<T>(work: impl Future<Output = Result<T>>) -> Result<Instant> {
    work.await.map(|_| Instant::now())
}

/// Creates a system that needs one approval, and a held pod of this system. Returns the name of the pod.
async fn held_pod(admin: &Rest, namespace: &str, system: usize) -> Result<String> {
    let (name, version) = (world::system_name(system), world::version_name(system, 0));
    admin.create(&world::ours(namespace, "aisystems"), &world::ai_system(&name, "limited")).await?;
    admin.create(&world::ours(namespace, "modelversions"), &world::model_version(&name, &version)).await?;
    world::judged(admin, namespace, &version).await?;
    let pod = admin.create(&world::pods(namespace), &world::pod(&name, &version)).await?;
    ensure!(world::is_held(&pod.to_string()), "the pod is not held: {pod}");
    // Later writes of the operator about the new objects must not affect the measurement.
    tokio::time::sleep(Duration::from_millis(700)).await;
    Ok(pod["metadata"]["name"].as_str().context("a pod without a name")?.to_owned())
}

async fn release(admin: &Rest, alice: &Rest, namespace: &str, system: usize, pod: &str) -> Result<Duration> {
    let (name, version) = (world::system_name(system), world::version_name(system, 0));
    let digest = world::judged(admin, namespace, &version).await?;
    let release = released(admin, namespace, pod).await?;
    let approval = world::decision("Approve", &name, &version, &digest);
    let approved = async {
        alice.create(&world::ours(namespace, "approvals"), &approval).await?;
        Ok(Instant::now())
    };
    let (approved, released) = tokio::try_join!(approved, release)?;
    Ok(released.saturating_duration_since(approved))
}

/// Starts a watch of a pod. The returned future gives the instant at which the pod has no gate.
pub async fn released(
    rest: &Rest,
    namespace: &str,
    pod: &str,
) -> Result<impl Future<Output = Result<Instant>> + use<>> {
    rest.until(namespace, pod, |pod: &Pod| {
        pod.spec.as_ref().is_some_and(|spec| spec.scheduling_gates.as_ref().is_none_or(Vec::is_empty))
    })
    .await
}

async fn change(admin: &Rest, namespace: &str, pod: &str) -> Result<Vec<f64>> {
    let path = format!("{}/{pod}", world::pods(namespace));
    let mut times = Vec::new();
    for number in 0..CHANGES {
        let label = json!({ "metadata": { "labels": { "bench": number.to_string() } } });
        times.push(ms(admin.timed(patch(&path, &label)?).await?.1));
    }
    Ok(times)
}
