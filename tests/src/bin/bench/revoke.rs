//! Measures the time from the response to a revocation until the last pod is gone.
//!
//! The baseline is the time in which a client deletes the same number of equal pods, with the concurrency of the
//! operator. The pods have an owner that does not replace them. Without an owner, Assent would store the manifest of
//! each pod.

use std::time::Instant;

use anyhow::Result;
use assent_tests::{Assent, ControlPlane, Person};
use http::Request;
use serde_json::json;

use crate::leave::{Left, leaving};
use crate::release::{from_end, from_start};
use crate::report::{Goal, Row, Unit};
use crate::rest::{OPERATOR_CONCURRENCY, Rest, post};
use crate::stats::ms;
use crate::world;
use crate::{Scale, machine, progress};

const GOVERNED: &str = "revoke";
const FREE: &str = "revoke-floor";

/// The milliseconds until the deletion of the first pod began, and until the last pod was gone.
struct Gone {
    first: f64,
    last: f64,
}

pub async fn measure(cluster: &ControlPlane, assent: &Assent, scale: &Scale) -> Result<Vec<Row>> {
    let (admin, alice) = (Rest::of(cluster, Person::Admin)?, Rest::of(cluster, Person::Alice)?);
    world::namespace(&admin, GOVERNED, true).await?;
    world::namespace(&admin, FREE, false).await?;
    let (mut floor, mut evictions, mut revoked) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..scale.rounds {
        progress(&format!("revocation of {} pods, round {} of {}", scale.stopped, round + 1, scale.rounds));
        let digest = clear(&admin, &alice, GOVERNED, round).await?;
        // Each of the three measurements needs the whole machine, so they run one after the other. Each round has
        // another order.
        for turn in 0..3 {
            let namespace = if (round + turn) % 3 == 2 { GOVERNED } else { FREE };
            populate(&admin, assent, namespace, round, scale.stopped).await?;
            match (round + turn) % 3 {
                0 => floor.push(ended(&admin, scale.stopped, delete).await?),
                1 => evictions.push(ended(&admin, scale.stopped, evict).await?),
                _ => revoked.push(revoke(&admin, &alice, round, &digest, scale.stopped).await?),
            }
        }
    }
    let times = |gone: &[Gone], of: fn(&Gone) -> f64| gone.iter().map(of).collect();
    let row = |what: &str, how: &str, floor: &[Gone], of: fn(&Gone) -> f64, goal| Row {
        measure: format!("revocation to {what}; floor: a client {how} them"),
        unit: Unit::Milliseconds,
        floor: times(floor, of),
        assent: times(&revoked, of),
        goal,
    };
    let gone = format!("{} pods gone", scale.stopped);
    Ok(vec![
        row("first of its pods deleted", "deletes", &floor, |gone| gone.first, Some(Goal::Within(50.0))),
        row(&gone, "deletes", &floor, |gone| gone.last, Some(Goal::Times(1.2))),
        // The operator evicts pods, which takes longer than a deletion. This row has evictions as the baseline.
        row(&gone, "evicts", &evictions, |gone| gone.last, None),
    ])
}

/// Creates a system with an approved version. Returns the digest of the version.
pub async fn clear(admin: &Rest, alice: &Rest, namespace: &str, round: usize) -> Result<serde_json::Value> {
    let (system, version) = (world::system_name(round), world::version_name(round, 0));
    admin.create(&world::ours(namespace, "aisystems"), &world::ai_system(&system, "limited")).await?;
    let manifest = world::model_version(&system, &version);
    admin.create(&world::ours(namespace, "modelversions"), &manifest).await?;
    let digest = world::judged(admin, namespace, &version).await?;
    let approval = world::decision("Approve", &system, &version, &digest);
    alice.create(&world::ours(namespace, "approvals"), &approval).await?;
    world::admitted(admin, namespace, &world::pod(&system, &version), false).await?;
    Ok(digest)
}

/// Measures a baseline: a client ends each pod with one request.
async fn ended(admin: &Rest, count: usize, request: fn(&str) -> Result<Request<Vec<u8>>>) -> Result<Gone> {
    let names = admin.names(&world::pods(FREE)).await?;
    let requests = names.iter().map(|name| request(name)).collect::<Result<_>>()?;
    until_gone(admin, FREE, count, from_start(admin.all(requests, OPERATOR_CONCURRENCY))).await
}

fn delete(name: &str) -> Result<Request<Vec<u8>>> {
    let delete = Request::delete(format!("{}/{name}", world::pods(FREE)));
    let body = br#"{"gracePeriodSeconds":1}"#.to_vec();
    Ok(delete.header("content-type", "application/json").body(body)?)
}

fn evict(name: &str) -> Result<Request<Vec<u8>>> {
    let eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": name, "namespace": FREE },
        "deleteOptions": { "gracePeriodSeconds": 1 } });
    post(&format!("{}/{name}/eviction", world::pods(FREE)), &eviction)
}

/// Measures Assent: a person revokes the approval, and the operator ends the pods.
async fn revoke(
    admin: &Rest,
    alice: &Rest,
    round: usize,
    digest: &serde_json::Value,
    count: usize,
) -> Result<Gone> {
    let (system, version) = (world::system_name(round), world::version_name(round, 0));
    let revocation = world::decision("Revoke", &system, &version, digest);
    let approvals = world::ours(GOVERNED, "approvals");
    until_gone(admin, GOVERNED, count, from_end(alice.create(&approvals, &revocation))).await
}

/// Creates `count` pods of a version, and waits until these pods run and the operator is idle.
pub async fn populate(
    admin: &Rest,
    assent: &Assent,
    namespace: &str,
    round: usize,
    count: usize,
) -> Result<()> {
    let config_map = json!({ "metadata": { "generateName": "controller-" } });
    let config_maps = format!("/api/v1/namespaces/{namespace}/configmaps");
    let controller = admin.create(&config_maps, &config_map).await?;
    let mut pod = world::pod(&world::system_name(round), &world::version_name(round, 0));
    pod["metadata"]["ownerReferences"] = json!([{ "apiVersion": "v1", "kind": "ConfigMap", "controller": true,
        "name": controller["metadata"]["name"], "uid": controller["metadata"]["uid"] }]);
    admin.create_all((0..count).map(|_| (world::pods(namespace), pod.clone())).collect()).await?;
    world::running(admin, namespace, count).await?;
    // Earlier work of the operator must not affect the measurement.
    machine::quiet(assent).await
}

/// Watches the pods of a namespace while `end` ends them. `end` returns the instant from which the times count.
async fn until_gone(
    admin: &Rest,
    namespace: &str,
    count: usize,
    end: impl Future<Output = Result<Instant>>,
) -> Result<Gone> {
    let gone = leaving(admin, namespace, "app", count).await?;
    let (begin, Left { first, last }) = tokio::try_join!(end, gone)?;
    let since = |instant: Instant| ms(instant.saturating_duration_since(begin));
    Ok(Gone { first: since(first), last: since(last) })
}
