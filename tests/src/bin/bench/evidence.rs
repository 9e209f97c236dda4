//! Measures the operator with many systems whose level requires five assessments and three expressions. Each namespace
//! has ten systems. Each system has one version, five assessments, and one decision that signs all five.
//!
//! ```text
//! all cleared ─► restarts: memory ─► idle: processor ─► a failing result is signed ─► its system is not cleared
//! ```

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use assent::api::{Assessment, CLEARANCE_NAME, Clearance, Digest, ModelVersion};
use assent_tests::{Assent, ControlPlane, Person, from_now};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::report::{Goal, Row, Unit};
use crate::rest::{Rest, patch};
use crate::scale::{cleared, list, slowly};
use crate::stats::{median, ms};
use crate::world::{self, SYSTEMS_PER_NAMESPACE};
use crate::{Scale, machine, progress};

/// The name of the risk level of all systems.
const LEVEL: &str = "evidence";

/// The number of assessments of a system. Each assessment is for a different requirement.
const ASSESSMENTS: usize = 5;

pub async fn measure(cluster: &ControlPlane, assent: &Assent, scale: &Scale) -> Result<Vec<Row>> {
    let (admin, alice) = (Rest::of(cluster, Person::Admin)?, Rest::of(cluster, Person::Alice)?);
    create(&admin, &alice, scale.systems).await?;
    progress("waiting for all systems to be cleared");
    cleared(&admin, "evidence-", scale.systems).await?;
    machine::quiet(assent).await?;
    let memory = memory(assent, scale).await?;
    progress(&format!("quiet operator, for {:.0?}", scale.quiet));
    let share = machine::share(assent, scale).await?;
    let (floor, judged) = results(&admin, &alice, scale).await?;
    let size = format!(
        "{} systems with {ASSESSMENTS} assessments and {} expressions each",
        scale.systems,
        expressions().len()
    );
    let row =
        |measure: String, unit, floor, assent, goal| Row { measure, unit, floor, assent, goal: Some(goal) };
    Ok(vec![
        row(format!("operator's memory, {size}"), Unit::Mebibytes, Vec::new(), memory, Goal::Within(120.0)),
        row(
            format!("operator's share of a core when quiet, {size}"),
            Unit::Percent,
            Vec::new(),
            share,
            Goal::Within(1.0),
        ),
        row(
            "signed failing result to Clearance without its version; floor: 1 PATCH".to_owned(),
            Unit::Milliseconds,
            floor,
            judged,
            Goal::Within(20.0),
        ),
    ])
}

fn namespace(system: usize) -> String {
    world::namespace_of("evidence-", system)
}

fn metric(number: usize) -> String {
    format!("metric_{number}")
}

fn level() -> Value {
    let assessments: Vec<_> = (0..ASSESSMENTS)
        .map(|number| {
            json!({ "name": format!("result-{number}"), "kind": "Performance", "metric": metric(number),
                "comparator": "AtMost", "threshold": "0.05", "minSamples": 100, "maxErrorRate": "0.01",
                "maxAge": "4320h", "role": "risk-officer" })
        })
        .collect();
    json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "RiskLevel", "metadata": { "name": LEVEL },
        "spec": { "assessments": assessments, "requirements": expressions() } })
}

/// Three requirements like those of `examples/requirements`.
fn expressions() -> Vec<Value> {
    [
        ("registry", "version.spec.runtime.containers.all(c, c.image.startsWith('registry.example/'))"),
        (
            "no-remote-code",
            "version.spec.runtime.containers.all(c, !has(c.args) || c.args.all(a, !a.startsWith('--trust-remote-code')))",
        ),
        ("samples", "assessments.all(a, a.results.all(r, !has(r.samples) || r.samples >= 100))"),
    ]
    .map(|(name, expression)| json!({ "name": name, "expression": expression, "message": "Not allowed." }))
    .into()
}

fn assessment(system: usize, number: usize, value: &str, digest: &Value) -> Value {
    json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "Assessment",
        "metadata": { "name": result_name(system, number, value) },
        "spec": { "system": world::system_name(system), "modelVersion": world::version_name(system, 0),
            "subjectDigest": digest, "kind": "Performance", "performedAt": from_now(-2),
            "tool": { "name": "lm-eval", "version": "0.4.9" },
            "results": [{ "metric": metric(number), "value": value, "direction": "LowerIsBetter", "samples": 1000 }] } })
}

fn result_name(system: usize, number: usize, value: &str) -> String {
    format!("system-{system}-result-{number}-{value}")
}

/// The decision that signs results. Each entry of `results` has the name and the digest of an assessment.
fn attestation(system: usize, digest: &Value, results: &[Value]) -> Value {
    let version = world::version_name(system, 0);
    let mut attest = world::decision("Attest", &world::system_name(system), &version, digest);
    attest["spec"]["assessments"] = json!(results);
    attest
}

/// Creates all systems with their versions, results and signatures.
async fn create(admin: &Rest, alice: &Rest, systems: usize) -> Result<()> {
    progress(&format!("creating {systems} systems"));
    admin.create("/apis/assent.dev/v1alpha1/risklevels", &level()).await?;
    let namespaces = (0..systems).step_by(SYSTEMS_PER_NAMESPACE).map(namespace);
    let namespaces = namespaces.map(|name| ("/api/v1/namespaces".to_owned(), world::governed(&name)));
    admin.create_all(namespaces.collect()).await?;
    let all = (0..systems).map(|system| {
        (world::ours(&namespace(system), "aisystems"), world::ai_system(&world::system_name(system), LEVEL))
    });
    admin.create_all(all.collect()).await?;
    let versions = (0..systems).map(|system| {
        let version = world::model_version(&world::system_name(system), &world::version_name(system, 0));
        (world::ours(&namespace(system), "modelversions"), version)
    });
    admin.create_all(versions.collect()).await?;
    let subjects = digests(admin, "modelversions", systems, |version: &ModelVersion| {
        version.status.as_ref()?.subject_digest.as_ref()
    })
    .await?;
    progress(&format!("creating {} assessments", systems * ASSESSMENTS));
    let digest = |system| subjects.get(&world::version_name(system, 0)).context("a version without a digest");
    let results = (0..systems).flat_map(|system| (0..ASSESSMENTS).map(move |number| (system, number)));
    let results = results.map(|(system, number)| {
        let result = assessment(system, number, "0.01", digest(system)?);
        Ok((world::ours(&namespace(system), "assessments"), result))
    });
    admin.create_all(results.collect::<Result<_>>()?).await?;
    let signed = digests(admin, "assessments", systems * ASSESSMENTS, |result: &Assessment| {
        result.status.as_ref()?.digest.as_ref()
    })
    .await?;
    progress("signing the assessments");
    let attestations = (0..systems).map(|system| {
        let results = (0..ASSESSMENTS).map(|number| {
            let name = result_name(system, number, "0.01");
            let digest = signed.get(&name).context("an assessment without a digest")?;
            Ok(json!({ "name": name, "digest": digest }))
        });
        let attest = attestation(system, digest(system)?, &results.collect::<Result<Vec<_>>>()?);
        Ok((world::ours(&namespace(system), "approvals"), attest))
    });
    alice.create_all(attestations.collect::<Result<_>>()?).await
}

/// Waits until `count` objects have a digest in their status. Returns the digests by the name of the object.
async fn digests<K: Resource + DeserializeOwned + Clone>(
    admin: &Rest,
    plural: &str,
    count: usize,
    of: fn(&K) -> Option<&Digest>,
) -> Result<BTreeMap<String, Value>> {
    let mut digests = BTreeMap::new();
    slowly(&format!("the digests of all {plural}"), async || {
        list(admin, format!("/apis/assent.dev/v1alpha1/{plural}"), |object: K| {
            digests.extend(of(&object).map(|digest| (object.name_any(), json!(digest))));
        })
        .await?;
        Ok(digests.len() == count)
    })
    .await?;
    Ok(digests)
}

/// Restarts the operator once per round. Returns the memory of the operator after each start, in MiB.
async fn memory(assent: &Assent, scale: &Scale) -> Result<Vec<f64>> {
    let mut memory = Vec::new();
    for round in 1..=scale.rounds {
        assent.operator().kill();
        assent.operator().restart()?;
        machine::quiet(assent).await?;
        memory.push(machine::resident(assent.operator())?);
        progress(&format!("start {round} of {}: {:.1} MiB", scale.rounds, memory[memory.len() - 1]));
    }
    Ok(memory)
}

/// In each round, signs a failing result of some systems, and patches a label of each version. Returns two medians for
/// each round, in milliseconds: the time of the patch, which is the baseline, and the time until the Clearance
/// withholds the system.
async fn results(admin: &Rest, alice: &Rest, scale: &Scale) -> Result<(Vec<f64>, Vec<f64>)> {
    let (mut floor, mut judged) = (Vec::new(), Vec::new());
    let mut systems = 0..scale.systems;
    for round in 1..=scale.rounds {
        progress(&format!("new results, round {round} of {}", scale.rounds));
        let (mut patched, mut times) = (Vec::new(), Vec::new());
        // The operator pauses after each compile of a namespace. So each measured system is in another namespace.
        for system in systems.by_ref().step_by(SYSTEMS_PER_NAMESPACE).take(scale.releases) {
            times.push(ms(judge(admin, alice, system).await?));
            let version = world::version_name(system, 0);
            let path = format!("{}/{version}", world::ours(&namespace(system), "modelversions"));
            let label = json!({ "metadata": { "labels": { "bench": round.to_string() } } });
            patched.push(ms(admin.timed(patch(&path, &label)?).await?.1));
        }
        floor.push(median(&patched));
        judged.push(median(&times));
    }
    Ok((floor, judged))
}

/// Creates and signs a failing result of a system. Returns the time from the response to the signature until the
/// Clearance clears no version of the system.
async fn judge(admin: &Rest, alice: &Rest, system: usize) -> Result<Duration> {
    let namespace = namespace(system);
    let subject = world::judged(admin, &namespace, &world::version_name(system, 0)).await?;
    let assessments = world::ours(&namespace, "assessments");
    let failing = assessment(system, 0, "0.09", &subject);
    admin.create(&assessments, &failing).await?;
    let name = result_name(system, 0, "0.09");
    let mut digest = Value::Null;
    slowly("the digest of the result", async || {
        digest = admin.get(&format!("{assessments}/{name}")).await?["status"]["digest"].take();
        Ok(!digest.is_null())
    })
    .await?;
    // Writes of the operator about the new result must not affect the measurement.
    sleep(Duration::from_millis(700)).await;
    let attest = attestation(system, &subject, &[json!({ "name": name, "digest": digest })]);
    let withheld = pin!(withheld(admin, &namespace, &world::system_name(system)).await?);
    let signed = async {
        alice.create(&world::ours(&namespace, "approvals"), &attest).await?;
        Ok(Instant::now())
    };
    let (signed, withheld) = tokio::try_join!(signed, withheld)?;
    Ok(withheld.saturating_duration_since(signed))
}

/// Starts a watch. The returned future gives the instant at which the Clearance clears no version of the system.
async fn withheld(
    admin: &Rest,
    namespace: &str,
    system: &str,
) -> Result<impl Future<Output = Result<Instant>> + use<>> {
    let system = system.to_owned();
    admin
        .until(namespace, CLEARANCE_NAME, move |clearance: &Clearance| {
            clearance.spec.systems.get(&system).is_none_or(|system| system.cleared.is_empty())
        })
        .await
}
