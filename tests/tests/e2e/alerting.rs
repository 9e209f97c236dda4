//! The example rules of Prometheus and the example routes of Alertmanager, with the real programs.

use anyhow::{Result, ensure};
use assent_tests::{Alerting, Assent, ControlPlane, Person, Scenario};
use serde_json::json;

use Person::{Admin, Carol, Dev};

pub async fn an_unacknowledged_incident_reaches_the_receiver_of_the_next_role() -> Result<()> {
    let cluster = ControlPlane::start().await?;
    let assent = Assent::install(&cluster).await?;
    let scene = Scenario::new(&cluster, "alerts", "limited").await?;
    let rules = json!({
        "escalation": [{ "after": "1s", "role": "risk-officer" }, { "after": "8s", "role": "ethics-board" }],
        "deadlines": [{ "name": "tell-customers", "within": "3s", "reference": "contract section 8" }] });
    let level = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "RiskLevel", "metadata": { "name": "limited" },
        "spec": { "incidents": rules } });
    scene.apply(Admin, &level).await?;
    let alerting = Alerting::start(&cluster, &assent).await?;
    scene.apply(Dev, &scene.incident("complaint", &json!({ "effect": "None" }))).await?;
    for role in ["risk-officer", "ethics-board"] {
        let alert = alerting.received(role, "AssentIncidentEscalated").await?;
        let labels = &alert["labels"];
        ensure!(labels["incident"] == "complaint" && labels["namespace"] == "alerts", "{alert}");
    }
    let missed = alerting.received("on-call", "AssentIncidentDeadlineMissed").await?;
    ensure!(missed["labels"]["deadline"] == "tell-customers", "{missed}");
    scene.assent(Carol, &["incident", "acknowledge", "complaint"]).await?.ok().map(drop)
}
