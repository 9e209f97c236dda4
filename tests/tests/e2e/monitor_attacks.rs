//! Attacks on monitors: a flood of monitors, a second series beside a bad one, missing values, and values that flap.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use assent_tests::{ControlPlane, Person, Prometheus, Scenario, container, until};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::json;
use tokio::time::sleep;

use crate::monitors::{incident, incidents, series, set, within};
use Person::{Admin, Dev};

type Monitors = Api<assent::api::Monitor>;

/// The number of monitors in the namespace of the hostile tenant. The operator queries at most 512 monitors of a
/// namespace.
const FLOOD: usize = 2_000;

/// The longest allowed time from the creation of a monitor to its first value, and from a breach to the hold, on a
/// loaded machine.
const SOON: Duration = Duration::from_secs(20);

/// The number of requests that the hostile tenant sends at the same time.
const CLIENTS: usize = 16;

pub async fn a_flood_of_monitors_delays_no_other_namespace(cluster: &ControlPlane) -> Result<()> {
    let prometheus = Prometheus::shared(cluster).await?;
    let flood = Scenario::new(cluster, "monitor-flood", "limited").await?;
    let calm = Scenario::new(cluster, "monitor-calm", "limited").await?;
    calm.clear("v1", &container("v1")).await?;
    set(prometheus, &calm, "spd", "0.03").await?;
    let api: Monitors = Api::namespaced(cluster.client(Dev)?, &flood.namespace);
    // Each query has 8,640 steps. The operator accepts queries with at most 11,000 steps.
    let costly = json!({ "onBreach": "Warn", "query": "max_over_time(sum(spd)[1d:10s])" });
    let many = (0..FLOOD).map(|n| flood.monitor(&format!("flood-{n:05}"), &costly));
    let create = |manifest| {
        let api = api.clone();
        async move {
            let object = serde_json::from_value(manifest)?;
            let created = api.create(&PostParams::default(), &object).await;
            // The API server closes idle connections, so a request can fail. If the API server stored the object
            // anyway, the repeated request gets 409.
            let created =
                if created.is_err() { api.create(&PostParams::default(), &object).await } else { created };
            match created {
                Err(kube::Error::Api(answer)) if answer.code == 409 => Ok(()),
                created => created.map(drop).map_err(anyhow::Error::from),
            }
        }
    };
    stream::iter(many).map(create).buffer_unordered(CLIENTS).try_collect::<Vec<()>>().await?;

    // The operator has probably not processed most monitors of the flood yet.
    let begin = Instant::now();
    calm.apply(Admin, &calm.monitor("drift", &json!({}))).await?;
    within(&calm, "drift", "True", "Within").await?;
    ensure!(begin.elapsed() < SOON, "the first value took {:?}", begin.elapsed());
    set(prometheus, &calm, "spd", "0.2").await?;
    let begin = Instant::now();
    calm.condition("modelversion", "v1", "Cleared", "False", "Held").await?;
    ensure!(begin.elapsed() < SOON, "the hold took {:?}", begin.elapsed());

    // Of the monitors in this flood, the operator queries only the first 512.
    within(&flood, "flood-00000", "Unknown", "NoValue").await?;
    let message = within(&flood, "flood-00512", "Unknown", "TooManyMonitors").await?;
    ensure!(message.contains("more than 512 monitors"), "{message}");
    // A monitor that holds is always one of the 512 monitors that the operator queries, whatever its name is.
    flood.apply(Admin, &flood.monitor("zz-hold", &json!({}))).await?;
    within(&flood, "zz-hold", "Unknown", "NoValue").await?;
    // The operator does not send a query with more than 11,000 steps to Prometheus.
    let slow = json!({ "query": "max_over_time(spd[30d:1s])", "onBreach": "Warn" });
    flood.apply(Dev, &flood.monitor("a-slow", &slow)).await?;
    let message = within(&flood, "a-slow", "Unknown", "QueryInvalid").await?;
    ensure!(message.contains("more than 11000 steps"), "{message}");
    // Other trials share the operator, so the flood must not stay.
    let admin: Monitors = Api::namespaced(cluster.client(Admin)?, &flood.namespace);
    admin.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
    Ok(())
}

pub async fn other_series_and_missing_values_do_not_end_or_hide_a_breach(
    cluster: &ControlPlane,
) -> Result<()> {
    let prometheus = Prometheus::shared(cluster).await?;
    let scene = Scenario::new(cluster, "monitor-mask", "limited").await?;
    let good = format!("spd{{namespace=\"{}\",pod=\"good\"}}", scene.namespace);
    let bad = format!("spd{{namespace=\"{}\",pod=\"bad\"}}", scene.namespace);
    prometheus.set(&bad, "0.2");
    // The hostile tenant adds a series with a good value beside the series with the bad value.
    prometheus.set(&good, "0.01");
    prometheus.has(&format!("spd{{namespace=\"{}\"}}", scene.namespace), 2).await?;
    let silent = json!({ "after": "3s", "then": "Breach" });
    scene
        .apply(
            Admin,
            &scene.monitor("worst", &json!({ "query": "max(abs(spd))", "onBreach": "OpenIncident" })),
        )
        .await?;
    scene
        .apply(Admin, &scene.monitor("both", &json!({ "noData": silent, "onBreach": "OpenIncident" })))
        .await?;
    let message = within(&scene, "worst", "False", "Breached").await?;
    ensure!(message.contains("0.2 is above 0.1"), "{message}");
    let message = within(&scene, "both", "False", "Breached").await?;
    ensure!(message.contains("2 series"), "{message}");
    let opened = incident(&scene, "worst").await?;

    // First, the good series vanishes and the bad series has the value NaN. Then the bad series vanishes too. The
    // breach must not end while the monitor gets no value.
    prometheus.remove(&good);
    prometheus.set(&bad, "NaN");
    for why in ["NaN", "no series"] {
        // While the state stays the same, the operator writes a changed message at most once a minute.
        until(Duration::from_secs(150), &format!("the breach without a value: {why}"), async || {
            let message = within(&scene, "worst", "False", "Breached").await?;
            ensure!(message.contains(why), "{message}");
            Ok(Some(()))
        })
        .await?;
        prometheus.remove(&bad);
    }
    ensure!(incident(&scene, "worst").await? == opened, "the breach has another incident");
    Ok(())
}

pub async fn a_value_that_flaps_opens_one_incident_or_none(cluster: &ControlPlane) -> Result<()> {
    let prometheus = Prometheus::shared(cluster).await?;
    let scene = Scenario::new(cluster, "monitor-flap", "limited").await?;
    set(prometheus, &scene, "spd", "0.01").await?;
    // The monitor `patient` reports a breach only after 20 s above its limit, and each value in this test lasts 7 s.
    // The monitor `hysteresis` stays breached while the value is between its two limits.
    let patient = json!({ "breach": { "above": "0.1", "for": "20s" }, "onBreach": "OpenIncident" });
    let hysteresis = json!({ "clear": { "below": "0.05", "for": "1s" }, "onBreach": "OpenIncident" });
    scene.apply(Admin, &scene.monitor("patient", &patient)).await?;
    scene.apply(Admin, &scene.monitor("hysteresis", &hysteresis)).await?;
    for name in ["patient", "hysteresis"] {
        within(&scene, name, "True", "Within").await?;
    }
    for value in ["0.2", "0.07", "0.2", "0.07"] {
        set(prometheus, &scene, "spd", value).await?;
        // Each value lasts longer than the interval of the monitors. So each monitor measures each value.
        sleep(Duration::from_secs(7)).await;
    }
    ensure!(incidents(&scene, "patient").await?.is_empty(), "a short flap opened an incident");
    let open = incidents(&scene, "hysteresis").await?;
    ensure!(open.len() == 1, "{open:?}");
    let name = series(&scene, "spd");
    prometheus.remove(&name);
    within(&scene, "hysteresis", "False", "Breached").await?;
    set(prometheus, &scene, "spd", "0.01").await?;
    within(&scene, "hysteresis", "True", "Within").await.map(drop)
}
