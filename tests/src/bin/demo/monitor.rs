//! Steps: a metric in a real Prometheus drifts, and a monitor holds the system. The incident escalates, and two people
//! resume the system.

use anyhow::{Context as _, Result};
use assent_tests::Prometheus;
use serde_json::json;

use crate::stage::{CARD_SCORER, Stage, milliseconds};

/// The value of `spec.incidents` that this demo adds to the risk level.
const RULES: &str = r#"{"escalation":[{"after":"1s","role":"risk-officer"},{"after":"2h","role":"ethics-board"}],"resume":[{"role":"risk-officer"},{"role":"ethics-board"}],"review":{"within":"336h","roles":[{"role":"risk-officer"}],"onMissed":"Hold"}}"#;

/// The series that the monitor of this demo queries.
const SERIES: &str = "trustyai_spd{namespace=\"cards\"}";

/// Lets a metric of card-scorer drift, and lets people resume the system.
pub async fn drift_and_review(stage: &Stage<'_>) -> Result<()> {
    if stage.cluster.is_existing() {
        // The operator of an existing cluster cannot reach a Prometheus on this machine.
        return Ok(());
    }
    let prometheus = Prometheus::start(stage.cluster).await?;
    let incident = drift_holds_the_system(stage, &prometheus).await?;
    escalate_resume_and_review(stage, &prometheus, &incident).await
}

/// Applies a monitor, lets its metric drift, and waits until the pods of the system stop. Returns the name of
/// the incident.
async fn drift_holds_the_system(stage: &Stage<'_>, prometheus: &Prometheus) -> Result<String> {
    stage.time.step(
        "A monitor sees drift and holds the system",
        "The operator asks a Prometheus for one metric of the system. The query reads only the series of its own \
         namespace. A monitor never clears anything: only people let the system run again.",
    );
    // An earlier step shortened `maxAge` in the risk level. So the results of card-scorer are too old, and its pod is
    // held.
    let age =
        |n: usize| format!(r#"{{"op":"replace","path":"/spec/assessments/{n}/maxAge","value":"4320h"}}"#);
    let rules = format!(r#"{{"op":"add","path":"/spec/incidents","value":{RULES}}}"#);
    let patch = format!("kubectl patch risklevel measured --type=json -p '[{},{},{rules}]'", age(0), age(1));
    stage.run_and_show(&stage.admin, "lets results count for 180 days again", &patch).await?;
    stage.wait_for_pods(&CARD_SCORER, 1, 0).await?;
    stage.time.line("assent", "releases the pod of card-scorer");
    prometheus.set(SERIES, "0.03");
    prometheus.has("trustyai_spd", 1).await?;
    let monitor = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "Monitor",
        "metadata": { "name": "parity", "namespace": "cards" },
        "spec": { "system": "card-scorer", "metric": "trustyai_spd", "query": "max(abs(trustyai_spd))", "interval": "5s",
            "breach": { "above": "0.1" }, "clear": { "for": "1s" }, "noData": { "after": "6h", "then": "Unknown" },
            "onBreach": "Hold" } });
    stage.apply(&stage.admin, &monitor).await?;
    let wait = "kubectl wait monitor parity -n cards --for=condition=WithinLimits --timeout=30s";
    stage.run(&stage.admin, wait, None).await?.ok()?;
    stage
        .time
        .line("assent", "asks Prometheus: the statistical parity difference is 0.03, at most 0.1 is allowed");
    let running = stage.pod_names(&CARD_SCORER, false);
    prometheus.set(SERIES, "0.14");
    stage.time.line("prometheus", "now has the value 0.14: the model drifted");
    let held = async {
        stage.wait_until_withheld(&CARD_SCORER, "card-scorer-v1", "held by incident/parity-").await?;
        stage.wait_until_gone(&CARD_SCORER, running).await.context("the pods of the held system")?;
        let named = "kubectl get monitor parity -n cards -o jsonpath={.status.breach.incident}";
        Ok(stage.run(&stage.admin, named, None).await?.ok()?.trim().to_owned())
    };
    let incident = stage.time.expect("assent", "opens an incident and stops the pods", held).await?;
    let status = "kubectl assent status card-scorer -n cards";
    stage.run_and_show(&stage.alice, "sees the breach of the monitor", status).await?;
    Ok(incident)
}

/// Shows that an unacknowledged incident escalates to the next role, and that two people resume the system.
async fn escalate_resume_and_review(
    stage: &Stage<'_>,
    prometheus: &Prometheus,
    incident: &str,
) -> Result<()> {
    stage.time.step(
        "The incident escalates, and two people resume the system",
        "An incident that nobody acknowledges escalates to the next role of the risk level. A good value does not lift the \
         hold. People note what they learned, two of them resume the system, and one of them writes the review.",
    );
    let escalated = format!(
        "kubectl wait incident/{incident} --for=jsonpath={{.status.escalation.role}}=risk-officer --timeout=30s -n cards"
    );
    stage.run(&stage.admin, &escalated, None).await?.ok()?;
    let list = "kubectl assent incident list -n cards";
    stage.run_and_show(&stage.alice, "sees that it is the turn of the risk officers", list).await?;
    let acknowledge = format!("kubectl assent incident acknowledge {incident} -n cards");
    stage.decide(&stage.alice, "acknowledges the incident", &acknowledge).await?;
    prometheus.set(SERIES, "0.02");
    let wait = "kubectl wait monitor parity -n cards --for=condition=WithinLimits --timeout=30s";
    stage.run(&stage.admin, wait, None).await?.ok()?;
    stage.wait_until_withheld(&CARD_SCORER, "card-scorer-v1", "held by incident/parity-").await?;
    stage.time.line("assent", "sees the value 0.02, and holds the system until people resume it");
    for (type_, text) in [
        ("root-cause", "a new card product attracts younger customers"),
        ("action", "the model is calibrated again for each age group"),
        ("verification", "the parity difference is 0.02 with the traffic of today"),
    ] {
        let note = format!("kubectl assent incident note {incident} --type {type_} --text '{text}' -n cards");
        stage.run(&stage.dev, &note, None).await?.ok()?;
    }
    stage.time.line("dev", "notes the root cause, an action and a verification");
    let resume = "kubectl assent resume card-scorer -n cards --yes";
    stage.decide(&stage.alice, "resumes it as risk officer; one person is not enough", resume).await?;
    let second = stage.decide(&stage.bob, "resumes it for the ethics board", resume);
    let took = stage.time_release(&CARD_SCORER, second).await?;
    stage.wait_for_pods(&CARD_SCORER, 1, 0).await?;
    stage.time.line("assent", &format!("releases the pod {} after bob's signature", milliseconds(took)));
    let review = format!(
        "kubectl assent incident review {incident} --reason 'Each new product gets a fairness test' -n cards --yes"
    );
    stage.decide(&stage.alice, "writes the review that the risk level requires", &review).await.map(drop)
}
