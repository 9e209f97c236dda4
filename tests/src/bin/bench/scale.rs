//! Measures the operator in a large cluster: its memory, its idle cost, and the time of a cold start.
//!
//! The baseline of a cold start is the time of one paged read of the same objects. The baseline for more pods or more
//! systems is the same measurement with half of them. Each namespace has ten systems, each with one version and cleared
//! pods.
//!
//! ```text
//! half the systems, half the pods ─► twice the pods ─► twice the systems ─► idle
//! memory, cold starts                memory, …         memory, …            processor, requests
//! ```
//!
//! The pods name a scheduler that does not exist. So the scheduler and KWOK, which are not measured, ignore the pods.
//! The operator treats them like all other pods.

use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use assent::api::{AISystem, Approval, Clearance, GATE, ModelVersion, RiskLevel};
use assent_tests::{Assent, ControlPlane, NAMESPACE, Person, until};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::ObjectList;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::release::released;
use crate::report::{Goal, Row, Unit};
use crate::rest::{Rest, patch};
use crate::stats::ms;
use crate::world::{self, SYSTEMS_PER_NAMESPACE};
use crate::{Scale, machine, progress};

/// The timeout of each step.
const TIMEOUT: Duration = Duration::from_mins(30);

/// An ungoverned namespace, in which a pod waits for the start of the operator.
const UNGOVERNED: &str = "scale-ungoverned";

/// The name of the `FlowSchema` with which the API server counts the requests of the operator.
const FLOW: &str = "assent-bench";

#[derive(Clone, Copy, PartialEq, Eq)]
struct Size {
    systems: usize,
    pods: usize,
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} systems, {} pods", self.systems, self.pods)
    }
}

/// The measured values for one size of the cluster. Each list has one value per round.
struct Figures {
    size: Size,
    /// The time of one read of all objects, in milliseconds.
    lists: Vec<f64>,
    /// The size of all objects as JSON, in MiB.
    bytes: f64,
    /// The milliseconds from the start of the process until the operator has released a pod and compiled every
    /// namespace.
    starts: Vec<f64>,
    /// The memory of the idle operator, in MiB.
    memory: Vec<f64>,
}

pub async fn measure(cluster: &ControlPlane, assent: &Assent, scale: &Scale) -> Result<Vec<Row>> {
    let rest = Rest::of(cluster, Person::Admin)?;
    let full = Size { systems: scale.systems, pods: scale.pods };
    let half = Size { systems: full.systems / 2, pods: full.pods / 2 };
    let more_pods = Size { pods: full.pods, ..half };
    let mut figures = Vec::new();
    let mut before = Size { systems: 0, pods: 0 };
    for size in [half, more_pods, full] {
        grow(&rest, assent, before, size).await?;
        figures.push(starts(&rest, assent, scale, size).await?);
        before = size;
    }
    let mut rows = rows(&figures);
    rows.extend(idle(&rest, assent, scale, full).await?);
    Ok(rows)
}

fn rows(figures: &[Figures]) -> Vec<Row> {
    let [half, more_pods, full] = figures else { return Vec::new() };
    let row = |measure: String, unit, floor: &[f64], assent: &[f64], goal| Row {
        measure,
        unit,
        floor: floor.to_vec(),
        assent: assent.to_vec(),
        goal: Some(goal),
    };
    let size = full.size;
    let json = vec![full.bytes; full.memory.len()];
    let pods = more_pods.size.pods - half.size.pods;
    #[allow(clippy::cast_precision_loss, reason = "counts are small")]
    let a_pod: Vec<f64> = (half.memory.iter().zip(&more_pods.memory))
        .map(|(half, more)| (more - half) * 1024.0 / pods as f64)
        .collect();
    let twice = |what: &str, than: &Figures, of: &Figures| {
        let (before, after) = (than.size, of.size);
        [
            row(
                format!("memory with twice the {what}: {after}; floor: {before}"),
                Unit::Mebibytes,
                &than.memory,
                &of.memory,
                Goal::Times(2.0),
            ),
            row(
                format!("cold start with twice the {what}: {after}; floor: {before}"),
                Unit::Milliseconds,
                &than.starts,
                &of.starts,
                Goal::Times(2.0),
            ),
        ]
    };
    let mut rows = vec![
        row(
            format!("operator's memory, {size}; floor: them as JSON"),
            Unit::Mebibytes,
            &json,
            &full.memory,
            Goal::Within(100.0),
        ),
        row(
            format!("operator's memory for each of {pods} more pods"),
            Unit::Kibibytes,
            &[],
            &a_pod,
            Goal::Within(0.5),
        ),
        row(
            format!("cold start to fully enforcing, {size}; floor: one paged LIST of them"),
            Unit::Milliseconds,
            &full.lists,
            &full.starts,
            Goal::Times(1.5),
        ),
    ];
    rows.extend(twice("pods", half, more_pods));
    rows.extend(twice("systems", more_pods, full));
    rows
}

fn namespace(system: usize) -> String {
    world::namespace_of("scale-", system)
}

/// Creates the objects by which the cluster grows from `before` to `size`. This time is not measured. While the objects
/// are created, the operator is down and the new namespaces are ungoverned.
async fn grow(rest: &Rest, assent: &Assent, before: Size, size: Size) -> Result<()> {
    assent.operator().kill();
    let systems = before.systems..size.systems;
    let first = before.systems.next_multiple_of(SYSTEMS_PER_NAMESPACE);
    let namespaces = || (first..size.systems).step_by(SYSTEMS_PER_NAMESPACE).map(namespace);
    progress(&format!("{size}: creating systems"));
    rest.create_all(
        namespaces().map(|name| ("/api/v1/namespaces".to_owned(), world::plain(&name))).collect(),
    )
    .await?;
    let ai_systems = systems.clone().map(|system| {
        let name = world::system_name(system);
        (world::ours(&namespace(system), "aisystems"), world::ai_system(&name, "minimal"))
    });
    rest.create_all(ai_systems.collect()).await?;
    let versions = systems.map(|system| {
        let version = world::model_version(&world::system_name(system), &world::version_name(system, 0));
        (world::ours(&namespace(system), "modelversions"), version)
    });
    rest.create_all(versions.collect()).await?;
    for batch in (before.pods..size.pods).step_by(10_000) {
        let end = size.pods.min(batch + 10_000);
        progress(&format!("{size}: creating pods up to {end}"));
        let pods = (batch..end).map(|number| {
            let system = number % size.systems;
            let pod = world::pod(&world::system_name(system), &world::version_name(system, 0));
            (world::pods(&namespace(system)), world::parked(pod))
        });
        rest.create_all(pods.collect()).await?;
    }
    assent.operator().restart()?;
    progress(&format!("{size}: waiting for all systems to be cleared"));
    cleared(rest, "scale-", size.systems).await?;
    let govern = json!({ "metadata": { "labels": { "assent.dev/mode": "enforce" } } });
    let govern = |name| patch(&format!("/api/v1/namespaces/{name}"), &govern);
    rest.all(namespaces().map(govern).collect::<Result<_>>()?, 16).await?;
    progress(&format!("{size}: waiting for the operator to have nothing to do"));
    machine::quiet(assent).await
}

/// Waits until exactly `systems` systems are cleared in the namespaces whose names begin with `prefix`.
pub async fn cleared(rest: &Rest, prefix: &str, systems: usize) -> Result<()> {
    slowly("all systems to be cleared", async || {
        let mut cleared = 0;
        list(rest, "/apis/assent.dev/v1alpha1/clearances", |clearance: Clearance| {
            if clearance.metadata.namespace.is_some_and(|namespace| namespace.starts_with(prefix)) {
                cleared +=
                    clearance.spec.systems.values().filter(|system| !system.cleared.is_empty()).count();
            }
        })
        .await?;
        Ok(cleared == systems)
    })
    .await?;
    // The API server uses a new Clearance a moment after the write.
    sleep(Duration::from_secs(1)).await;
    Ok(())
}

/// Waits until `probe` returns true. Calls `probe` only once per second, to cause little load.
pub async fn slowly(what: &str, mut probe: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    until(TIMEOUT, what, async || {
        sleep(Duration::from_secs(1)).await;
        Ok(probe().await?.then_some(()))
    })
    .await
}

/// Measures the idle operator. Counts the requests of the operator over all rounds, because watches restart only about
/// every five minutes.
async fn idle(rest: &Rest, assent: &Assent, scale: &Scale, size: Size) -> Result<Vec<Row>> {
    progress(&format!("quiet operator, for {:.0?}", scale.quiet));
    machine::quiet(assent).await?;
    count_requests(rest).await?;
    let before = requests(rest).await?;
    let share = machine::share(assent, scale).await?;
    let per_minute = (requests(rest).await? - before) / (scale.quiet.as_secs_f64() / 60.0);
    let row = |measure: String, unit, assent, goal| Row {
        measure,
        unit,
        floor: Vec::new(),
        assent,
        goal: Some(Goal::Within(goal)),
    };
    Ok(vec![
        row(format!("operator's share of a core when quiet, {size}"), Unit::Percent, share, 1.0),
        row(
            format!("operator's requests a minute when quiet, {size}"),
            Unit::Requests,
            vec![per_minute],
            10.0,
        ),
    ])
}

/// Creates a `FlowSchema`. Then the API server counts the requests of the operator separately.
async fn count_requests(rest: &Rest) -> Result<()> {
    let everything = json!({ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": true });
    let operator =
        json!({ "kind": "ServiceAccount", "serviceAccount": { "name": "assent", "namespace": NAMESPACE } });
    let flow = json!({ "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema", "metadata": { "name": FLOW },
        "spec": { "priorityLevelConfiguration": { "name": "workload-low" }, "matchingPrecedence": 500,
            "rules": [{ "subjects": [operator], "resourceRules": [everything] }] } });
    rest.create("/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas", &flow).await?;
    // The operator renews its Lease every few seconds, so the count soon exceeds zero.
    slowly("the operator's requests to be counted", async || Ok(requests(rest).await? > 0.0)).await
}

async fn requests(rest: &Rest) -> Result<f64> {
    let request = http::Request::get("/metrics").body(Vec::new())?;
    let metrics = rest.0.request_text(request).await.context("the API server's metrics")?;
    let flow = format!("flow_schema=\"{FLOW}\"");
    let counted = metrics.lines().filter(|line| {
        line.starts_with("apiserver_flowcontrol_dispatched_requests_total") && line.contains(&flow)
    });
    Ok(counted.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
}

/// Measures cold starts, and the memory of the operator after each start.
async fn starts(rest: &Rest, assent: &Assent, scale: &Scale, size: Size) -> Result<Figures> {
    if rest.get(&format!("/api/v1/namespaces/{UNGOVERNED}")).await.is_err() {
        world::namespace(rest, UNGOVERNED, false).await?;
    }
    let mut namespaces = 0;
    list(rest, "/api/v1/namespaces", |_: Namespace| namespaces += 1).await?;
    let mut figures = Figures { size, lists: Vec::new(), bytes: 0.0, starts: Vec::new(), memory: Vec::new() };
    for round in 1..=scale.rounds {
        let (list, bytes) = everything(rest).await?;
        let start = start(rest, assent, namespaces).await?;
        machine::quiet(assent).await?;
        let memory = machine::resident(assent.operator())?;
        progress(&format!(
            "{size}: cold start {round} of {}: LIST {list:.2?}, start {start:.2?}, then {memory:.1} MiB",
            scale.rounds
        ));
        figures.lists.push(ms(list));
        figures.bytes = bytes;
        figures.starts.push(ms(start));
        figures.memory.push(memory);
    }
    Ok(figures)
}

/// Restarts the operator. Returns the time until the operator has released a pod and compiled every namespace.
async fn start(rest: &Rest, assent: &Assent, namespaces: usize) -> Result<Duration> {
    assent.operator().kill();
    // The operator removes a gate from the pods of an ungoverned namespace.
    let pod = world::parked(world::pod(&world::system_name(0), &world::version_name(0, 0)));
    let pod = world::gated(pod, GATE);
    let name = world::start(rest, UNGOVERNED, &pod).await?;
    let release = pin!(released(rest, UNGOVERNED, &name).await?);
    let begin = Instant::now();
    assent.operator().restart()?;
    let compiled = async {
        while compiles(&assent.address).await.is_none_or(|count| count < namespaces) {
            sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(Instant::now())
    };
    let both = tokio::time::timeout(TIMEOUT, async { tokio::try_join!(release, compiled) });
    let (released, compiled) = both.await.context("the operator did not start before the timeout")??;
    rest.delete_now(&format!("{}/{name}", world::pods(UNGOVERNED))).await?;
    Ok(released.max(compiled) - begin)
}

/// The number of times that the operator has compiled a namespace since its start.
async fn compiles(address: &str) -> Option<usize> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    answer.lines().find(|line| line.starts_with("assent_compiles_total"))?.rsplit(' ').next()?.parse().ok()
}

/// Reads all objects of the main kinds that the operator reads, all kinds at the same time. Returns the time, and the
/// size in MiB.
async fn everything(rest: &Rest) -> Result<(Duration, f64)> {
    let ours = |plural: &str| format!("/apis/assent.dev/v1alpha1/{plural}");
    let begin = Instant::now();
    let kinds = tokio::try_join!(
        list(rest, "/api/v1/pods", drop::<Pod>),
        list(rest, "/api/v1/namespaces", drop::<Namespace>),
        list(rest, ours("aisystems"), drop::<AISystem>),
        list(rest, ours("modelversions"), drop::<ModelVersion>),
        list(rest, ours("approvals"), drop::<Approval>),
        list(rest, ours("risklevels"), drop::<RiskLevel>),
        list(rest, ours("clearances"), drop::<Clearance>),
    )?;
    let (pods, namespaces, systems, versions, approvals, levels, clearances) = kinds;
    let bytes = pods + namespaces + systems + versions + approvals + levels + clearances;
    Ok((begin.elapsed(), bytes / 1024.0 / 1024.0))
}

/// Reads all objects of a kind in pages of 500. Returns the size of these objects in bytes. The operator reads pages of
/// 100, so the operator needs more requests.
#[allow(clippy::cast_precision_loss, reason = "sizes are small")]
pub async fn list<T: DeserializeOwned + Clone>(
    rest: &Rest,
    path: impl AsRef<str>,
    mut take: impl FnMut(T),
) -> Result<f64> {
    let (path, mut bytes, mut next) = (path.as_ref(), 0.0, String::new());
    loop {
        let page = http::Request::get(format!("{path}?limit=500&continue={next}")).body(Vec::new())?;
        let (page, _) = rest.timed(page).await?;
        bytes += page.len() as f64;
        let page: ObjectList<T> = serde_json::from_str(&page).with_context(|| format!("reading {path}"))?;
        page.items.into_iter().for_each(&mut take);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => next = token,
            None => return Ok(bytes),
        }
    }
}
