//! What the operator costs where there is much to govern: its memory, what it does when nothing happens,
//! and how long it needs to be there again. The floor is reading the same objects once, in pages.
//!
//! ```text
//! namespace scale-0 … ── 20 systems each, a version each ── pods that are cleared, spread over all systems
//! ```

use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use assent::api::{AISystem, Approval, Clearance, ModelVersion, RiskLevel};
use assent_tests::{Assent, ControlPlane, NAMESPACE, Person, until};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::ObjectList;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::release::released;
use crate::report::{Row, Unit};
use crate::rest::Rest;
use crate::stats::ms;
use crate::world;
use crate::{NODES, Scale, machine, progress};

/// How long everything may take.
const PATIENCE: Duration = Duration::from_mins(30);

/// How many systems share a namespace.
const SYSTEMS_PER_NAMESPACE: usize = 20;

/// The name of the flow by which the API server counts what the operator asks.
const FLOW: &str = "assent-bench";

/// The rows about the operator.
pub async fn measure(cluster: &ControlPlane, assent: &Assent, scale: &Scale) -> Result<Vec<Row>> {
    let rest = Rest::of(cluster, Person::Admin)?;
    populate(&rest, scale).await?;
    progress("waiting for the operator to have nothing to do");
    quiet(assent).await?;
    let what = format!("{} systems, {} pods", scale.systems, scale.pods);
    let mut rows = idle(&rest, assent, scale, &what).await?;
    progress("cold starts");
    rows.extend(starts(&rest, assent, scale, &what).await?);
    Ok(rows)
}

async fn populate(rest: &Rest, scale: &Scale) -> Result<()> {
    let namespace = |system: usize| format!("scale-{}", system / SYSTEMS_PER_NAMESPACE);
    let systems = 0..scale.systems;
    progress(&format!("creating {} systems", scale.systems));
    let labels = json!({ "assent.dev/mode": "enforce" });
    let namespaces = systems.clone().step_by(SYSTEMS_PER_NAMESPACE).map(|system| {
        let metadata = json!({ "name": namespace(system), "labels": labels });
        (
            "/api/v1/namespaces".to_owned(),
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata }),
        )
    });
    rest.create_all(namespaces.collect()).await?;
    let ai_systems = systems.clone().map(|system| {
        (
            world::ours(&namespace(system), "aisystems"),
            world::ai_system(&world::system_name(system), "minimal"),
        )
    });
    rest.create_all(ai_systems.collect()).await?;
    let versions = systems.map(|system| {
        let version = world::model_version(&world::system_name(system), &world::version_name(system, 0));
        (world::ours(&namespace(system), "modelversions"), version)
    });
    rest.create_all(versions.collect()).await?;
    cleared(rest, scale.systems).await?;
    progress(&format!("creating {} pods", scale.pods));
    let pods = (0..scale.pods).map(|number| {
        let system = number % scale.systems;
        let mut pod = world::pod(&world::system_name(system), &world::version_name(system, 0));
        // The scheduler is not what is measured.
        pod["spec"]["nodeName"] = json!(format!("node-{}", number % NODES as usize + 1));
        (world::pods(&namespace(system)), pod)
    });
    rest.create_all(pods.collect()).await?;
    let waiting = "/api/v1/pods?fieldSelector=status.phase!=Running&limit=1";
    slowly("all pods to run", async || {
        Ok(rest.get(waiting).await?["items"].as_array().is_none_or(Vec::is_empty))
    })
    .await
}

async fn cleared(rest: &Rest, systems: usize) -> Result<()> {
    slowly("all systems to be cleared", async || {
        let (clearances, _) = list::<Clearance>(rest, "/apis/assent.dev/v1alpha1/clearances").await?;
        let ours = clearances
            .iter()
            .filter(|c| c.metadata.namespace.as_ref().is_some_and(|n| n.starts_with("scale-")));
        let cleared = ours.flat_map(|c| c.spec.systems.values()).filter(|s| !s.cleared.is_empty()).count();
        Ok(cleared == systems)
    })
    .await?;
    // The API server learns of the last clearance a moment after it was written.
    sleep(Duration::from_secs(1)).await;
    Ok(())
}

/// Polls seldom, not to be a part of the load.
async fn slowly(what: &str, mut probe: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    until(PATIENCE, what, async || {
        sleep(Duration::from_secs(1)).await;
        Ok(probe().await?.then_some(()))
    })
    .await
}

/// Waits until the operator has used next to no processor for three seconds.
async fn quiet(assent: &Assent) -> Result<()> {
    until(PATIENCE, "the operator to be quiet", async || {
        let before = machine::processor(assent.operator())?;
        sleep(Duration::from_secs(3)).await;
        let used = machine::processor(assent.operator())?.saturating_sub(before);
        ensure!(used < Duration::from_millis(100), "it used {used:?} in 3 s");
        Ok(Some(()))
    })
    .await
}

/// Memory, and what is done when nothing happens.
async fn idle(rest: &Rest, assent: &Assent, scale: &Scale, what: &str) -> Result<Vec<Row>> {
    progress("quiet operator");
    count_requests(rest).await?;
    let (mut memory, mut used, mut asked) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..scale.rounds {
        let (processor, requests) = (machine::processor(assent.operator())?, requests(rest).await?);
        sleep(scale.quiet).await;
        used.push((machine::processor(assent.operator())?.saturating_sub(processor)).as_secs_f64());
        asked.push(self::requests(rest).await? - requests);
        memory.push(machine::resident(assent.operator())?);
    }
    let size = vec![everything(rest).await?.1; scale.rounds];
    let seconds = scale.quiet.as_secs();
    let row = |measure: String, unit, floor, assent| Row { measure, unit, floor, assent, goal: None };
    Ok(vec![
        row(format!("operator's memory, {what}; floor: them as JSON"), Unit::Mebibytes, size, memory),
        row(
            format!("operator's processor time in {seconds} quiet s, {what}"),
            Unit::Seconds,
            Vec::new(),
            used,
        ),
        row(format!("operator's requests in {seconds} quiet s, {what}"), Unit::Requests, Vec::new(), asked),
    ])
}

/// Has the API server count the requests of the operator apart from all others.
async fn count_requests(rest: &Rest) -> Result<()> {
    let everything = json!({ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": true });
    let operator =
        json!({ "kind": "ServiceAccount", "serviceAccount": { "name": "assent", "namespace": NAMESPACE } });
    let flow = json!({ "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema", "metadata": { "name": FLOW },
        "spec": { "priorityLevelConfiguration": { "name": "workload-low" }, "matchingPrecedence": 500,
            "rules": [{ "subjects": [operator], "resourceRules": [everything] }] } });
    rest.create("/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas", &flow).await?;
    // The lease is renewed every few seconds.
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

/// From the start of the process to a state as before it was killed.
async fn starts(rest: &Rest, assent: &Assent, scale: &Scale, what: &str) -> Result<Vec<Row>> {
    let namespaces = list::<Namespace>(rest, "/api/v1/namespaces").await?.0.len();
    let (mut lists, mut compiled, mut enforcing, mut memory) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..scale.rounds {
        lists.push(ms(everything(rest).await?.0));
        let (first, all) = start(rest, assent, namespaces).await?;
        enforcing.push(ms(first));
        compiled.push(ms(all));
        quiet(assent).await?;
        memory.push(machine::resident(assent.operator())?);
    }
    let row = |measure: &str, assent| Row {
        measure: format!("{measure}, {what}; floor: one LIST"),
        unit: Unit::Milliseconds,
        floor: lists.clone(),
        assent,
        goal: None,
    };
    let size = vec![everything(rest).await?.1; scale.rounds];
    Ok(vec![
        row("cold start to first release", enforcing),
        row("cold start to all compiled", compiled),
        Row {
            measure: format!("operator's memory after a cold start, {what}"),
            unit: Unit::Mebibytes,
            floor: size,
            assent: memory,
            goal: None,
        },
    ])
}

/// How long after its start the operator has released a pod, and has compiled every namespace.
async fn start(rest: &Rest, assent: &Assent, namespaces: usize) -> Result<(Duration, Duration)> {
    assent.operator().kill();
    // Whoever sets the gate by hand, of a pod that is cleared, waits for the operator to lift it.
    let mut pod = world::pod(&world::system_name(0), &world::version_name(0, 0));
    pod["spec"]["schedulingGates"] = json!([{ "name": assent::api::GATE }]);
    let name = world::start(rest, "scale-0", &pod).await?;
    let mut release = pin!(released(rest, "scale-0", &name).await?);
    let begin = Instant::now();
    assent.operator().restart()?;
    let compiled = async {
        loop {
            if compiles(&assent.address).await.is_some_and(|count| count >= namespaces) {
                return anyhow::Ok(Instant::now());
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    let both = async { tokio::try_join!(&mut release, compiled) };
    let (first, all) =
        tokio::time::timeout(PATIENCE, both).await.context("the operator does not start")??;
    rest.delete_now(&format!("{}/{name}", world::pods("scale-0"))).await?;
    Ok((first - begin, all - begin))
}

/// How many namespaces the operator has compiled.
async fn compiles(address: &str) -> Option<usize> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    answer.lines().find(|line| line.starts_with("assent_compiles_total"))?.rsplit(' ').next()?.parse().ok()
}

/// Reads all that the operator reads, all kinds at the same time: how long that takes, and its MiB.
async fn everything(rest: &Rest) -> Result<(Duration, f64)> {
    let ours = |plural: &str| format!("/apis/assent.dev/v1alpha1/{plural}");
    let begin = Instant::now();
    let kinds = tokio::try_join!(
        size::<Pod>(rest, "/api/v1/pods".to_owned()),
        size::<Namespace>(rest, "/api/v1/namespaces".to_owned()),
        size::<AISystem>(rest, ours("aisystems")),
        size::<ModelVersion>(rest, ours("modelversions")),
        size::<Approval>(rest, ours("approvals")),
        size::<RiskLevel>(rest, ours("risklevels")),
        size::<Clearance>(rest, ours("clearances")),
    )?;
    let (pods, namespaces, systems, versions, approvals, levels, clearances) = kinds;
    let bytes = pods + namespaces + systems + versions + approvals + levels + clearances;
    Ok((begin.elapsed(), bytes / 1024.0 / 1024.0))
}

async fn size<T: DeserializeOwned + Clone>(rest: &Rest, path: String) -> Result<f64> {
    list::<T>(rest, &path).await.map(|(_, bytes)| bytes)
}

/// All objects of a kind, in pages, and how many bytes they were.
#[allow(clippy::cast_precision_loss, reason = "sizes are small")]
async fn list<T: DeserializeOwned + Clone>(rest: &Rest, path: &str) -> Result<(Vec<T>, f64)> {
    let (mut objects, mut bytes, mut next) = (Vec::new(), 0.0, String::new());
    loop {
        let page = http::Request::get(format!("{path}?limit=500&continue={next}")).body(Vec::new())?;
        let (page, _) = rest.timed(page).await?;
        bytes += page.len() as f64;
        let page: ObjectList<T> = serde_json::from_str(&page).with_context(|| format!("reading {path}"))?;
        objects.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => next = token,
            None => return Ok((objects, bytes)),
        }
    }
}
