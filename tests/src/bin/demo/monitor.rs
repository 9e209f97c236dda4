//! Step: a real Prometheus shows that a metric drifts, and a monitor holds the system.

use anyhow::{Context as _, Result};
use assent_tests::Prometheus;
use serde_json::json;

use crate::stage::{CARD_SCORER, Stage, ensure_contains};

/// Applies a monitor, lets its metric drift, and waits until the pods of the system stop.
pub async fn drift_holds_the_system(stage: &Stage<'_>) -> Result<()> {
    stage.time.step(
        "A monitor sees drift and holds the system",
        "The operator asks Prometheus for one metric of the system. The query reads only the series of its own \
         namespace. A monitor never clears anything: only people let the system run again.",
    );
    // The results of card-scorer are too old for the shorter age of this demo, so its pod is held.
    let age =
        |n: usize| format!(r#"{{"op":"replace","path":"/spec/assessments/{n}/maxAge","value":"4320h"}}"#);
    let patch = format!("kubectl patch risklevel measured --type=json -p '[{},{}]'", age(0), age(1));
    stage.run_and_show(&stage.admin, "lets results count for 180 days again", &patch).await?;
    stage.wait_for_pods(&CARD_SCORER, 1, 0).await?;
    stage.time.line("assent", "releases the pod of card-scorer");
    let prometheus = Prometheus::start(stage.cluster).await?;
    prometheus.set("trustyai_spd{namespace=\"cards\"}", "0.03");
    prometheus.has("trustyai_spd", 1).await?;
    let monitor = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "Monitor",
        "metadata": { "name": "parity", "namespace": "cards" },
        "spec": { "system": "card-scorer", "metric": "trustyai_spd", "query": "max(abs(trustyai_spd))", "interval": "5s",
            "breach": { "above": "0.1" }, "noData": { "after": "6h", "then": "Unknown" }, "onBreach": "Hold" } });
    stage.apply(&stage.admin, &monitor).await?;
    let wait = "kubectl wait monitor parity -n cards --for=condition=WithinLimits --timeout=30s";
    stage.run(&stage.admin, wait, None).await?.ok()?;
    stage
        .time
        .line("assent", "asks Prometheus: the statistical parity difference is 0.03, at most 0.1 is allowed");
    let running = stage.pod_names(&CARD_SCORER, false);
    prometheus.set("trustyai_spd{namespace=\"cards\"}", "0.14");
    stage.time.line("prometheus", "now has the value 0.14: the model drifted");
    let held = async {
        let message = stage.wait_until_withheld(&CARD_SCORER, "card-scorer-v1").await?;
        ensure_contains(&message, "0.14 is above 0.1")?;
        stage.wait_until_gone(&CARD_SCORER, running).await.context("the pods of the held system")
    };
    stage.time.expect("assent", "opens an incident and stops the pods", held).await.map(drop)
}
