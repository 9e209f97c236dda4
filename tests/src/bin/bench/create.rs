//! Measures how much time admission adds to the creation and the change of a pod. The baseline is the time of the same
//! requests in an ungoverned namespace.
//!
//! ```text
//! round ── request i ──┬─ ungoverned
//!                      ├─ cleared, 1 system
//!                      ├─ cleared, 50 systems x 2
//!                      ├─ held
//!                      └─ policies that only look, 1 system, 50 systems x 2
//! ```
//!
//! The cases take turns, so that a slow machine affects all cases. The last two cases show the minimum cost of policies
//! that read a Clearance. The two policies of these cases "only look": they read a Clearance with the same content as
//! in the other cases, but compare nothing.

use std::time::{Duration, Instant};

use anyhow::Result;
use assent::api::{CLEARANCE_NAME, SYSTEM_LABEL};
use assent_tests::{ControlPlane, Person, until};
use futures::future::try_join_all;
use http::Request;
use serde_json::{Value, json};

use crate::report::{Goal, Row, Unit};
use crate::rest::{Rest, patch, post};
use crate::stats::{median, ms};
use crate::world;
use crate::{Scale, progress};

/// The number of clients that send requests at the same time in a measurement of a rate.
const CLIENTS: usize = 8;

/// The number of measurements of a rate per round for each case.
const TURNS: usize = 8;

/// The goal: admission adds at most half a millisecond to the creation of a pod.
const CREATE: Goal = Goal::Over(0.5);

/// A case: a namespace, and the pod that is created in it.
struct Place {
    name: &'static str,
    namespace: &'static str,
    pod: Value,
    held: bool,
}

/// The namespaces of all cases. Two cases use `large`.
const NAMESPACES: [&str; 5] = ["free", "small", "large", "looks-small", "looks-large"];

/// Whether the namespace is governed. Only cases in governed namespaces have goals.
fn is_governed(namespace: &str) -> bool {
    matches!(namespace, "small" | "large")
}

/// The name of the policies that only look. The namespaces of these policies have a label `bench` with this value.
const LOOK: &str = "bench-look";

/// A pod and the path at which it is created.
struct Creation {
    path: String,
    body: Value,
}

impl Creation {
    fn request(&self) -> Result<Request<Vec<u8>>> {
        post(&self.path, &self.body)
    }
}

/// The measured values, in milliseconds or requests per second: a list for each [`Place`], with one value for each
/// round.
type Figures = Vec<Vec<f64>>;

pub async fn measure(cluster: &ControlPlane, scale: &Scale) -> Result<Vec<Row>> {
    let rest = Rest::of(cluster, Person::Admin)?;
    let places = prepare(&rest).await?;
    let mut rows = Vec::new();

    progress("pod create, dry run, one client");
    let dry = creations(&places, "?dryRun=All");
    latency(&rest, &dry, 1, scale.requests / 4).await?;
    let figures = latency(&rest, &dry, scale.rounds, scale.requests).await?;
    rows.extend(rows_of("create, dry run", &places, &figures, Unit::Milliseconds, Some(CREATE)));

    progress("pod create, dry run, 8 clients");
    let figures = rates(cluster, &dry, scale).await?;
    rows.extend(rows_of(
        "create, dry run, 8 clients",
        &places,
        &figures,
        Unit::PerSecond,
        Some(Goal::Share(0.7)),
    ));

    progress("pod create, for real");
    let figures = real(&rest, &places, scale).await?;
    rows.extend(rows_of("create", &places, &figures, Unit::Milliseconds, Some(CREATE)));

    progress("pod update");
    let running = &places[..3];
    let figures = updates(&rest, running, scale).await?;
    rows.extend(rows_of("label change of a running pod", running, &figures, Unit::Milliseconds, None));
    Ok(rows)
}

async fn prepare(rest: &Rest) -> Result<Vec<Place>> {
    progress("creating namespaces, systems and versions");
    for namespace in NAMESPACES {
        world::namespace(rest, namespace, is_governed(namespace)).await?;
    }
    world::systems(rest, "small", 1, 1).await?;
    world::systems(rest, "large", 50, 2).await?;
    world::systems(rest, "looks-small", 1, 1).await?;
    world::systems(rest, "looks-large", 50, 2).await?;
    look(rest, &["looks-small", "looks-large"]).await?;
    let place = |name, namespace, system: usize, version: usize, held| {
        // A held pod differs from a cleared pod in the last argument of its container.
        let revision = if held { "unknown".to_owned() } else { world::version_name(system, version) };
        Place { name, namespace, pod: world::pod(&world::system_name(system), &revision), held }
    };
    // The Clearance lists the newest version first, so admission compares v0 last. This is the slowest case.
    let places = vec![
        place("ungoverned", "free", 0, 0, false),
        place("cleared, 1 system", "small", 0, 0, false),
        place("cleared, 50 systems x 2", "large", 25, 0, false),
        place("held, 50 systems x 2", "large", 25, 0, true),
        place("policies that only look, 1 system", "looks-small", 0, 0, false),
        place("policies that only look, 50 systems x 2", "looks-large", 25, 0, false),
    ];
    for place in &places {
        world::admitted(rest, place.namespace, &place.pod, place.held).await?;
    }
    Ok(places)
}

/// Creates the policies that only look, for `namespaces`. While the Clearance lists systems, these policies refuse only
/// a pod of the system `none`. The refusal of such a pod shows that the API server uses the policies.
async fn look(rest: &Rest, namespaces: &[&str]) -> Result<()> {
    let path = |plural: &str| format!("/apis/admissionregistration.k8s.io/v1/{plural}");
    let name = json!({ "name": LOOK });
    let pods = json!({ "resourceRules": [{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"] }] });
    let clearance = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "Clearance" });
    let condition = format!(
        "size(params.?spec.?systems.orValue({{}})) == 0 || object.metadata.labels['{SYSTEM_LABEL}'] == 'none'"
    );
    let conditions = json!([{ "name": "looks", "expression": condition }]);
    let untouched = "[JSONPatch{op: 'test', path: '/kind', value: 'Pod'}]";
    let mutating = json!({ "metadata": name, "spec": { "paramKind": clearance, "matchConstraints": pods, "matchConditions": conditions,
        "reinvocationPolicy": "IfNeeded", "mutations": [{ "patchType": "JSONPatch", "jsonPatch": { "expression": untouched } }] } });
    let validating = json!({ "metadata": name, "spec": { "paramKind": clearance, "matchConstraints": pods, "matchConditions": conditions,
        "validations": [{ "expression": "false", "message": "of no system" }] } });
    let labelled = json!({ "namespaceSelector": { "matchLabels": { "bench": LOOK } } });
    let param = json!({ "name": CLEARANCE_NAME, "parameterNotFoundAction": "Deny" });
    let mut binding = json!({ "metadata": name, "spec": { "policyName": LOOK, "paramRef": param, "matchResources": labelled } });
    rest.create(&path("mutatingadmissionpolicies"), &mutating).await?;
    rest.create(&path("validatingadmissionpolicies"), &validating).await?;
    rest.create(&path("mutatingadmissionpolicybindings"), &binding).await?;
    binding["spec"]["validationActions"] = json!(["Deny"]);
    rest.create(&path("validatingadmissionpolicybindings"), &binding).await?;
    let (label, probe) =
        (json!({ "metadata": { "labels": { "bench": LOOK } } }), world::pod("none", "probe"));
    for namespace in namespaces {
        rest.timed(patch(&format!("/api/v1/namespaces/{namespace}"), &label)?).await?;
        until(
            Duration::from_mins(1),
            "the API server to use the policies that only read the Clearance",
            async || {
                let answer =
                    rest.timed(post(&format!("{}?dryRun=All", world::pods(namespace)), &probe)?).await;
                Ok(answer.is_err().then_some(()))
            },
        )
        .await?;
    }
    Ok(())
}

fn creations(places: &[Place], query: &str) -> Vec<Creation> {
    let creation =
        |of: &Place| Creation { path: format!("{}{query}", world::pods(of.namespace)), body: of.pod.clone() };
    places.iter().map(creation).collect()
}

/// Measures each place `turns` times in each round. The places take turns. Returns the median for each place and round.
async fn in_turn<T>(
    places: &[T],
    rounds: usize,
    turns: usize,
    mut measure: impl AsyncFnMut(&T) -> Result<f64>,
) -> Result<Figures> {
    let mut figures = vec![Vec::new(); places.len()];
    for _ in 0..rounds {
        let mut round = vec![Vec::with_capacity(turns); places.len()];
        for turn in 0..turns {
            for index in 0..places.len() {
                // Each turn begins with another place.
                let place = (index + turn) % places.len();
                round[place].push(measure(&places[place]).await?);
            }
        }
        figures.iter_mut().zip(&round).for_each(|(figures, round)| figures.push(median(round)));
    }
    Ok(figures)
}

/// Returns the median duration of each creation in each round, in milliseconds.
async fn latency(rest: &Rest, creations: &[Creation], rounds: usize, requests: usize) -> Result<Figures> {
    in_turn(creations, rounds, requests, async |creation| Ok(ms(rest.timed(creation.request()?).await?.1)))
        .await
}

/// The completed requests per second with [`CLIENTS`] clients.
async fn rates(cluster: &ControlPlane, creations: &[Creation], scale: &Scale) -> Result<Figures> {
    let clients = (0..CLIENTS).map(|_| Rest::of(cluster, Person::Admin)).collect::<Result<Vec<_>>>()?;
    let measure = async |creation: &Creation| rate(&clients, creation, scale.burst).await;
    // This round is a warm-up.
    in_turn(creations, 1, 1, measure).await?;
    in_turn(creations, scale.rounds, TURNS, measure).await
}

#[allow(clippy::cast_precision_loss, reason = "counts of requests are small")]
async fn rate(clients: &[Rest], creation: &Creation, burst: Duration) -> Result<f64> {
    let begin = Instant::now();
    let loops = clients.iter().cloned().map(|rest| {
        let request = creation.request();
        async move {
            let request = request?;
            let mut count = 0_usize;
            while begin.elapsed() < burst {
                rest.timed(request.clone()).await?;
                count += 1;
            }
            anyhow::Ok(count)
        }
    });
    let tasks = loops.map(tokio::spawn);
    let counts = try_join_all(tasks).await?.into_iter().sum::<Result<usize>>()?;
    Ok(counts as f64 / begin.elapsed().as_secs_f64())
}

/// The duration of creations without dry run. Deletes the pods after each round.
async fn real(rest: &Rest, places: &[Place], scale: &Scale) -> Result<Figures> {
    let creations = creations(places, "");
    let mut figures = vec![Vec::new(); places.len()];
    for _ in 0..scale.rounds {
        let round = latency(rest, &creations, 1, scale.requests / 4).await?;
        figures.iter_mut().zip(round).for_each(|(figures, round)| figures.extend(round));
        for namespace in NAMESPACES {
            rest.delete_now(&world::pods(namespace)).await?;
            world::running(rest, namespace, 0).await?;
        }
    }
    Ok(figures)
}

/// The duration of a change of a label that Assent does not use, on running pods.
async fn updates(rest: &Rest, places: &[Place], scale: &Scale) -> Result<Figures> {
    let mut pods = Vec::new();
    for place in places {
        let name = world::start(rest, place.namespace, &place.pod).await?;
        world::running(rest, place.namespace, 1).await?;
        pods.push(format!("{}/{name}", world::pods(place.namespace)));
    }
    let mut number = 0;
    in_turn(&pods, scale.rounds, scale.requests, async |pod| {
        number += 1;
        let label = json!({ "metadata": { "labels": { "bench": number.to_string() } } });
        Ok(ms(rest.timed(patch(pod, &label)?).await?.1))
    })
    .await
}

fn rows_of(what: &str, places: &[Place], figures: &Figures, unit: Unit, goal: Option<Goal>) -> Vec<Row> {
    let row = |(place, assent): (&Place, &Vec<f64>)| Row {
        measure: format!("{what}: {}", place.name),
        unit,
        floor: figures[0].clone(),
        assent: assent.clone(),
        goal: goal.filter(|_| is_governed(place.namespace)),
    };
    places.iter().zip(figures).skip(1).map(row).collect()
}
