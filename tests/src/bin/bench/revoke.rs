//! How soon nothing runs any more: from the answer to the revocation until the last of its pods is gone.
//! The floor is a client that deletes as many pods of the same kind, as many at a time as the operator does.
//!
//! The pods run, and something that makes no others controls them: of bare ones, Assent would keep the manifests.

use std::time::Instant;

use anyhow::Result;
use assent_tests::{Assent, ControlPlane, Person};
use http::Request;
use serde_json::json;

use crate::leave::{Left, leaving};
use crate::release::{from_end, from_start};
use crate::report::{Goal, Row, Unit};
use crate::rest::{OPERATOR_CONCURRENCY, Rest};
use crate::stats::ms;
use crate::world;
use crate::{Scale, machine, progress};

const GOVERNED: &str = "revoke";
const FREE: &str = "revoke-floor";

/// When the first and the last pod was gone.
struct Gone {
    first: f64,
    last: f64,
}

/// The rows about stopping pods.
pub async fn measure(cluster: &ControlPlane, assent: &Assent, scale: &Scale) -> Result<Vec<Row>> {
    let (admin, alice) = (Rest::of(cluster, Person::Admin)?, Rest::of(cluster, Person::Alice)?);
    world::namespace(&admin, GOVERNED, true).await?;
    world::namespace(&admin, FREE, false).await?;
    let (mut floor, mut revoked) = (Vec::new(), Vec::new());
    for round in 0..scale.rounds {
        progress(&format!("revocation of {} pods, round {} of {}", scale.stopped, round + 1, scale.rounds));
        let digest = clear(&admin, &alice, round).await?;
        // One after the other, since both need all of the machine; who is first changes.
        for turn in 0..2 {
            if (round + turn) % 2 == 0 {
                populate(&admin, assent, FREE, round, scale.stopped).await?;
                floor.push(deleted(&admin, scale.stopped).await?);
            } else {
                populate(&admin, assent, GOVERNED, round, scale.stopped).await?;
                revoked.push(revoke(&admin, &alice, round, &digest, scale.stopped).await?);
            }
        }
    }
    let times = |gone: &[Gone], of: fn(&Gone) -> f64| gone.iter().map(of).collect();
    let row = |what: &str, of: fn(&Gone) -> f64, goal| Row {
        measure: format!("revocation to {what}; floor: a client deletes them"),
        unit: Unit::Milliseconds,
        floor: times(&floor, of),
        assent: times(&revoked, of),
        goal: Some(goal),
    };
    Ok(vec![
        row("first of its pods deleted", |gone| gone.first, Goal::Within(50.0)),
        row(&format!("{} pods gone", scale.stopped), |gone| gone.last, Goal::Times(1.2)),
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
async fn deleted(admin: &Rest, count: usize) -> Result<Gone> {
    let delete = |name: String| {
        let delete = Request::delete(format!("{}/{name}", world::pods(FREE)));
        let body = br#"{"gracePeriodSeconds":1}"#.to_vec();
        Ok(delete.header("content-type", "application/json").body(body)?)
    };
    let names = admin.names(&world::pods(FREE)).await?;
    let requests = names.into_iter().map(delete).collect::<Result<_>>()?;
    until_gone(admin, FREE, count, from_start(admin.all(requests, OPERATOR_CONCURRENCY))).await
}

/// Assent.
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

async fn populate(admin: &Rest, assent: &Assent, namespace: &str, round: usize, count: usize) -> Result<()> {
    let config_map = json!({ "metadata": { "generateName": "controller-" } });
    let config_maps = format!("/api/v1/namespaces/{namespace}/configmaps");
    let controller = admin.create(&config_maps, &config_map).await?;
    let mut pod = world::pod(&world::system_name(round), &world::version_name(round, 0));
    pod["metadata"]["ownerReferences"] = json!([{ "apiVersion": "v1", "kind": "ConfigMap", "controller": true,
        "name": controller["metadata"]["name"], "uid": controller["metadata"]["uid"] }]);
    admin.create_all((0..count).map(|_| (world::pods(namespace), pod.clone())).collect()).await?;
    world::running(admin, namespace, count).await?;
    // Events and counts about them.
    machine::quiet(assent).await
}

/// Watches the pods of a namespace while `end` makes them go; it gives the instant to count from.
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
