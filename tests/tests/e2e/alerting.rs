//! Prometheus evaluates the example alerting rules, and Alertmanager sends the alerts to the receivers of the example
//! routes. The test runs a real Prometheus and a real Alertmanager.

use anyhow::{Result, ensure};
use assent_tests::{Alerting, Assent, ControlPlane, Person, Scenario};
use serde_json::json;

use Person::{Admin, Carol, Dev};

pub async fn an_unacknowledged_incident_and_a_breach_reach_their_receivers() -> Result<()> {
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
    // A breach of a monitor with `onBreach: Warn` opens no incident. An alert of the example rules reports the breach.
    alerting.prometheus().set("spd{namespace=\"alerts\"}", "0.2");
    scene.apply(Dev, &scene.monitor("drift", &json!({ "onBreach": "Warn" }))).await?;
    scene.apply(Dev, &scene.incident("complaint", &json!({ "effect": "None" }))).await?;
    for role in ["risk-officer", "ethics-board"] {
        let alert = alerting.received(role, "AssentIncidentEscalated").await?;
        let labels = &alert["labels"];
        ensure!(labels["incident"] == "complaint" && labels["namespace"] == "alerts", "{alert}");
    }
    let missed = alerting.received("on-call", "AssentIncidentDeadlineMissed").await?;
    ensure!(missed["labels"]["deadline"] == "tell-customers", "{missed}");
    let breached = alerting.received("governance", "AssentMonitorBreached").await?;
    let labels = &breached["labels"];
    ensure!(labels["monitor"] == "drift" && labels["namespace"] == "alerts", "{breached}");
    scene.assent(Carol, &["incident", "acknowledge", "complaint"]).await?.ok().map(drop)
}
