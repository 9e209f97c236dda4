//! How long people wait after the last approval: from the answer to the Approval until the held pod is
//! seen without its gate. The floor is one change of a pod, of which a release needs at least two in a row:
//! the Clearance is written, then the pod is.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use assent_tests::{ControlPlane, Person};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{WatchEvent, WatchParams};
use serde_json::json;

use crate::report::{Goal, Row, Unit};
use crate::rest::{Rest, patch};
use crate::stats::p50;
use crate::world;
use crate::{Scale, progress};

const NAMESPACE: &str = "release";

/// How many pods are changed for each that is released.
const CHANGES: usize = 10;

/// The row about releasing a pod.
pub async fn measure(cluster: &ControlPlane, scale: &Scale) -> Result<Vec<Row>> {
    progress("approval to release");
    let (admin, alice) = (Rest::of(cluster, Person::Admin)?, Rest::of(cluster, Person::Alice)?);
    world::namespace(&admin, NAMESPACE, true).await?;
    let (mut floor, mut assent) = (Vec::new(), Vec::new());
    let mut system = 0;
    for _ in 0..scale.rounds {
        let (mut patched, mut released) = (Vec::new(), Vec::new());
        for _ in 0..scale.releases {
            let pod = held_pod(&admin, system).await?;
            released.push(release(&admin, &alice, system, &pod).await?);
            patched.extend(change(&admin, &pod).await?);
            admin.delete_now(&format!("{}/{pod}", world::pods(NAMESPACE))).await?;
            system += 1;
        }
        floor.push(p50(&patched));
        assent.push(p50(&released));
    }
    Ok(vec![Row {
        measure: "approval to release of 1 pod; floor: 1 PATCH".to_owned(),
        unit: Unit::Milliseconds,
        floor,
        assent,
        goal: Some(Goal::Within(1000.0)),
    }])
}

/// A pod of a system of its own, held for want of one approval, when the operator has nothing left to do.
async fn held_pod(admin: &Rest, system: usize) -> Result<String> {
    let (name, version) = (world::system_name(system), world::version_name(system, 0));
    admin.create(&world::ours(NAMESPACE, "aisystems"), &world::ai_system(&name, "limited")).await?;
    admin.create(&world::ours(NAMESPACE, "modelversions"), &world::model_version(&name, &version)).await?;
    world::judged(admin, NAMESPACE, &version).await?;
    let pod = admin.create(&world::pods(NAMESPACE), &world::pod(&name, &version)).await?;
    ensure!(world::is_held(&pod.to_string()), "the pod is not held: {pod}");
    // Events, counts and statuses about the pod and the system.
    tokio::time::sleep(Duration::from_millis(700)).await;
    Ok(pod["metadata"]["name"].as_str().context("a pod without a name")?.to_owned())
}

async fn release(admin: &Rest, alice: &Rest, system: usize, pod: &str) -> Result<Duration> {
    let (name, version) = (world::system_name(system), world::version_name(system, 0));
    let digest = world::judged(admin, NAMESPACE, &version).await?;
    let release = released(admin, NAMESPACE, pod).await?;
    let approval = world::decision("Approve", &name, &version, &digest);
    let approved = async {
        alice.create(&world::ours(NAMESPACE, "approvals"), &approval).await?;
        Ok(Instant::now())
    };
    let (approved, released) = tokio::try_join!(approved, release)?;
    Ok(released.saturating_duration_since(approved))
}

/// Starts to watch a pod; then, the instant at which it is seen without its gate.
pub async fn released(
    rest: &Rest,
    namespace: &str,
    pod: &str,
) -> Result<impl Future<Output = Result<Instant>>> {
    let api: Api<Pod> = Api::namespaced(rest.0.clone(), namespace);
    let only = WatchParams::default().fields(&format!("metadata.name={pod}"));
    let mut events = api.watch(&only, "0").await?.boxed();
    let name = pod.to_owned();
    Ok(async move {
        while let Some(event) = events.try_next().await? {
            let (WatchEvent::Added(pod) | WatchEvent::Modified(pod)) = event else { continue };
            if pod.spec.is_some_and(|spec| spec.scheduling_gates.is_none_or(|gates| gates.is_empty())) {
                return Ok(Instant::now());
            }
        }
        bail!("the watch of {name} ended")
    })
}

async fn change(admin: &Rest, pod: &str) -> Result<Vec<Duration>> {
    let path = format!("{}/{pod}", world::pods(NAMESPACE));
    let mut times = Vec::new();
    for number in 0..CHANGES {
        let label = json!({ "metadata": { "labels": { "bench": number.to_string() } } });
        times.push(admin.timed(patch(&path, &label)?).await?.1);
    }
    Ok(times)
}
