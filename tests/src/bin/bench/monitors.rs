//! Measures the operator with many systems and a real Prometheus. Each namespace has ten systems and one series. Each
//! system has two monitors, which query this series every minute.

use std::time::Duration;

use anyhow::Result;
use assent_tests::{Assent, ControlPlane, Person, Prometheus, until};
use serde_json::{Value, json};

use crate::report::{Goal, Row, Unit};
use crate::rest::Rest;
use crate::world::{self, SYSTEMS_PER_NAMESPACE};
use crate::{Scale, machine, progress};

/// The longest time until every monitor has measured its metric once.
const TIMEOUT: Duration = Duration::from_mins(15);

/// The number of seconds for which the benchmark counts the queries.
const SAMPLES: u32 = 30;

/// The number of monitors of a system.
const MONITORS: usize = 2;

pub async fn measure(cluster: &ControlPlane, assent: &Assent, scale: &Scale) -> Result<Vec<Row>> {
    let (rest, prometheus) = (Rest::of(cluster, Person::Admin)?, Prometheus::start(cluster).await?);
    let monitors = scale.systems * MONITORS;
    let without = machine::resident(assent.operator())?;
    progress(&format!("creating {} systems with {MONITORS} monitors each", scale.systems));
    create(&rest, &prometheus, scale.systems).await?;
    progress("waiting for all monitors to measure");
    until(TIMEOUT, &format!("{monitors} monitors to measure"), async || {
        Ok((within(assent).await? >= monitors).then_some(()))
    })
    .await?;
    let before = queries(assent).await?;
    progress(&format!("measuring, for {:.0?}", scale.quiet));
    let share = machine::share(assent, scale).await?;
    let minutes = scale.quiet.as_secs_f64() / 60.0;
    let a_minute = (queries(assent).await? - before) / minutes;
    let memory = machine::resident(assent.operator())?;
    let seconds = each_second(assent, scale).await?;
    let row = |measure: String, unit, floor: Vec<f64>, assent: Vec<f64>, goal| Row {
        measure,
        unit,
        floor,
        assent,
        goal: Some(Goal::Within(goal)),
    };
    let what = format!("{} systems, {monitors} monitors, {a_minute:.0} queries a minute", scale.systems);
    Ok(vec![
        row(format!("operator's share of a core, {what}"), Unit::Percent, Vec::new(), share, 5.0),
        row(
            format!("operator's memory, {what}; floor: without them"),
            Unit::Mebibytes,
            vec![without],
            vec![memory],
            130.0,
        ),
        Row {
            measure: format!("queries in the busiest second, {what}; floor: in an average second"),
            unit: Unit::Requests,
            floor: vec![seconds.iter().sum::<f64>() / f64::from(SAMPLES)],
            assent: vec![seconds.iter().copied().fold(0.0, f64::max)],
            goal: Some(Goal::Times(1.5)),
        },
    ])
}

/// The number of queries in each of [`SAMPLES`] consecutive seconds.
async fn each_second(assent: &Assent, scale: &Scale) -> Result<Vec<f64>> {
    progress(&format!("counting {} monitors for {SAMPLES} seconds", scale.systems * MONITORS));
    let (mut seconds, mut before) = (Vec::new(), queries(assent).await?);
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.tick().await;
    for _ in 0..SAMPLES {
        ticks.tick().await;
        let now = queries(assent).await?;
        seconds.push(now - before);
        before = now;
    }
    Ok(seconds)
}

async fn create(rest: &Rest, prometheus: &Prometheus, systems: usize) -> Result<()> {
    let namespace = |system: usize| world::namespace_of("monitors-", system);
    let namespaces: Vec<_> = (0..systems).step_by(SYSTEMS_PER_NAMESPACE).map(namespace).collect();
    for name in &namespaces {
        prometheus.set(&format!("spd{{namespace=\"{name}\"}}"), "0.03");
    }
    let plain = |name: &String| ("/api/v1/namespaces".to_owned(), world::plain(name));
    rest.create_all(namespaces.iter().map(plain).collect()).await?;
    let described = (0..systems).map(|system| {
        (
            world::ours(&namespace(system), "aisystems"),
            world::ai_system(&world::system_name(system), "minimal"),
        )
    });
    rest.create_all(described.collect()).await?;
    let monitors = (0..systems * MONITORS).map(|number| {
        let system = number / MONITORS;
        (world::ours(&namespace(system), "monitors"), monitor(&world::system_name(system), number))
    });
    rest.create_all(monitors.collect()).await
}

fn monitor(system: &str, number: usize) -> Value {
    json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "Monitor", "metadata": { "name": format!("monitor-{number}") },
        "spec": { "system": system, "metric": "trustyai_spd", "query": "max(abs(spd))", "interval": "1m",
            "onBreach": "Hold", "breach": { "above": "0.1", "for": "30m" }, "noData": { "after": "6h", "then": "Unknown" } } })
}

/// The number of monitors in the state `Within`.
async fn within(assent: &Assent) -> Result<usize> {
    let metrics = assent.get("/metrics").await?;
    let is_within = |line: &&str| line.starts_with("assent_monitor_state{") && line.contains("\"Within\"");
    Ok(metrics.lines().filter(is_within).count())
}

/// The number of queries since the start of the operator.
async fn queries(assent: &Assent) -> Result<f64> {
    let metrics = assent.get("/metrics").await?;
    let counted = metrics.lines().filter(|line| line.starts_with("assent_monitor_queries_total{"));
    Ok(counted.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
}
