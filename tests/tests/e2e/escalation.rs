//! The escalation, closing, review and evidence of incidents.
//!
//! If nobody acknowledges an incident, the incident escalates through the tiers of the risk level. A tier with the
//! effect `Hold` holds the system until somebody acknowledges the incident. If nobody reviews an incident in time, a
//! level can hold the system until somebody reviews the incident.

use std::time::Duration;

use anyhow::{Result, ensure};
use assent_tests::{ControlPlane, Person, SOON, Scenario, container, until};
use serde_json::{Value, json};

use Person::{Admin, Alice, Bob, Carol, Dev};

async fn scene<'a>(cluster: &'a ControlPlane, name: &str, rules: &Value) -> Result<Scenario<'a>> {
    let scene = Scenario::new(cluster, name, "limited").await?;
    let level = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "RiskLevel", "metadata": { "name": scene.namespace },
        "spec": { "onLoss": { "gracePeriodSeconds": 10 }, "approvals": [{ "role": "risk-officer", "count": 1 }],
            "incidents": rules } });
    scene.apply(Admin, &level).await?;
    scene.apply(Admin, &scene.system(&scene.namespace)).await?;
    let digest = scene.publish("v1", &container("v1")).await?;
    scene.decide(Alice, &scene.decision("Approve", "v1", &digest, "risk-officer")).await?;
    scene.is_cleared("v1").await?;
    Ok(scene)
}

async fn open(scene: &Scenario<'_>, name: &str) -> Result<()> {
    scene.apply(Dev, &scene.incident(name, &json!({ "effect": "None" }))).await.map(drop)
}

async fn is(scene: &Scenario<'_>, name: &str, type_: &str, status: &str, reason: &str) -> Result<String> {
    scene.condition("incident", name, type_, status, reason).await
}

/// Returns the manifest of a note of this type. For some types, a user needs an additional verb, such as `acknowledge`.
fn note(scene: &Scenario<'_>, incident: &str, type_: &str) -> Value {
    let mut note = scene.note(&format!("{incident}-{}", type_.to_lowercase()), incident);
    note["spec"]["type"] = json!(type_);
    note
}

pub async fn an_unacknowledged_incident_escalates_and_then_holds_until_somebody_acknowledges_it(
    cluster: &ControlPlane,
) -> Result<()> {
    let tiers = json!([{ "after": "2s", "role": "risk-officer" }, { "after": "5s", "role": "ethics-board", "effect": "Hold" }]);
    let scene = scene(cluster, "escalates", &json!({ "escalation": tiers })).await?;
    open(&scene, "complaint").await?;
    let message = is(&scene, "complaint", "Handled", "False", "Escalated").await?;
    ensure!(
        message.contains("role risk-officer must handle it") || message.contains("role ethics-board"),
        "{message}"
    );
    for (kind, name) in [("AISystem", "scorer"), ("Incident", "complaint")] {
        let note = scene.event(kind, name, "IncidentEscalated").await?;
        ensure!(note.contains("nobody acknowledged it"), "{note}");
    }
    let message = scene.condition("modelversion", "v1", "Cleared", "False", "Held").await?;
    ensure!(
        message.contains("escalated to role ethics-board")
            && message.contains("incident acknowledge complaint"),
        "{message}"
    );
    // The operator writes the status of the incident after the condition of the version. The command `incident list`
    // shows this status.
    until(SOON, "the list to name the escalation", async || {
        let listed = scene.assent(Dev, &["incident", "list"]).await?.ok()?;
        ensure!(listed.contains("Escalated to ethics-board"), "{listed}");
        Ok(Some(()))
    })
    .await?;
    let refused = scene.assent(Alice, &["resume", "scorer", "--yes"]).await?.denied()?;
    ensure!(refused.contains("incident acknowledge complaint"), "{refused}");

    scene.assent(Carol, &["incident", "acknowledge", "complaint"]).await?.ok()?;
    scene.is_cleared("v1").await?;
    is(&scene, "complaint", "Handled", "True", "Acknowledged").await?;
    ensure!(
        scene.get("incident", "complaint").await?["status"]["escalation"].is_null(),
        "the acknowledged incident still escalates"
    );
    Ok(())
}

pub async fn a_missed_review_holds_until_somebody_else_reviews(cluster: &ControlPlane) -> Result<()> {
    let review = json!({ "within": "2s", "roles": [{ "role": "risk-officer" }], "onMissed": "Hold" });
    let rules = json!({ "resume": [{ "role": "risk-officer" }], "review": review });
    let scene = scene(cluster, "reviewed", &rules).await?;
    scene.apply(Dev, &scene.incident("drift", &json!({ "effect": "Hold" }))).await?;
    scene.condition("modelversion", "v1", "Cleared", "False", "Held").await?;
    let early = ["incident", "review", "drift", "--reason=too early", "--yes"];
    let early = scene.assent(Alice, &early).await?.denied()?;
    ensure!(early.contains("so no review is due"), "{early}");
    for type_ in ["root-cause", "action", "verification"] {
        scene
            .assent(Dev, &["incident", "note", "drift", "--type", type_, "--text", "for the test"])
            .await?
            .ok()?;
    }
    scene.assent(Alice, &["resume", "scorer", "--yes"]).await?.ok()?;
    is(&scene, "drift", "Reviewed", "False", "ReviewMissed").await?;
    let message = scene.condition("modelversion", "v1", "Cleared", "False", "Held").await?;
    ensure!(message.contains("its review by role risk-officer is overdue"), "{message}");
    scene.event("AISystem", "scorer", "ReviewMissed").await?;

    // Alice resumed the system alone, so she is involved and her review does not count.
    let review =
        |reason: &'static str| ["incident", "review", "drift", reason, "--role=risk-officer", "--yes"];
    scene.assent(Alice, &review("--reason=it was fine")).await?.ok()?;
    let approvals = scene.list("approvals").await?;
    let of_alice = approvals.iter().find(|approval| approval["spec"]["decision"] == "Review");
    let name = of_alice.and_then(|approval| approval["metadata"]["name"].as_str()).unwrap_or_default();
    scene.condition("approval", name, "Counted", "False", "ReviewerIsInvolved").await?;
    scene.condition("modelversion", "v1", "Cleared", "False", "Held").await?;
    scene.assent(Carol, &review("--reason=tests by age are now required")).await?.ok()?;
    is(&scene, "drift", "Reviewed", "True", "Reviewed").await?;
    scene.is_cleared("v1").await?;
    let history = scene.assent(Dev, &["history", "scorer"]).await?.ok()?;
    ensure!(history.contains("IncidentReviewed"), "{history}");
    Ok(())
}

pub async fn only_people_with_the_verbs_handle_an_incident(cluster: &ControlPlane) -> Result<()> {
    let tiers = json!([{ "after": "1s", "role": "risk-officer" }]);
    let scene = scene(cluster, "handled", &json!({ "escalation": tiers })).await?;
    open(&scene, "complaint").await?;
    let binding = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": { "name": "mallory", "namespace": scene.namespace },
        "roleRef": { "kind": "ClusterRole", "name": "edit", "apiGroup": "rbac.authorization.k8s.io" },
        "subjects": [{ "kind": "User", "name": "mallory" }] });
    scene.apply(Admin, &binding).await?;
    let create = ["create", "-f", "-", "--as=mallory"];
    for (type_, verb) in [
        ("Acknowledgement", "acknowledge"),
        ("Report", "report"),
        ("Notified", "report"),
        ("Closing", "close"),
    ] {
        let manifest = note(&scene, "complaint", type_).to_string();
        let refused = cluster.kubectl_stdin(Admin, &create, &manifest).await?.denied()?;
        ensure!(
            refused.contains(&format!("ask for the verb {verb} on incidents.assent.dev/complaint")),
            "{refused}"
        );
    }
    // A service account is not a person, so it cannot acknowledge an incident.
    let account = format!("--as=system:serviceaccount:{}:default", scene.namespace);
    let all = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": { "name": "controller", "namespace": scene.namespace },
        "roleRef": { "kind": "ClusterRole", "name": "cluster-admin", "apiGroup": "rbac.authorization.k8s.io" },
        "subjects": [{ "kind": "ServiceAccount", "name": "default", "namespace": scene.namespace }] });
    scene.apply(Admin, &all).await?;
    let manifest = note(&scene, "complaint", "Acknowledgement").to_string();
    let refused =
        cluster.kubectl_stdin(Admin, &["create", "-f", "-", &account], &manifest).await?.denied()?;
    ensure!(refused.contains("is not a person"), "{refused}");

    // The opener cannot close an incident alone, even with all permissions in the namespace.
    scene.assent(Dev, &["incident", "close", "complaint", "--reason=it is mine"]).await?.ok()?;
    is(&scene, "complaint", "Closed", "False", "ClosedByOpener").await?;
    is(&scene, "complaint", "Handled", "False", "Escalated").await?;
    let wrong = ["incident", "close", "complaint", "--reason=x", "--not-applicable=another"];
    let refused = scene.assent(Carol, &wrong).await?.denied()?;
    ensure!(refused.contains("has no open deadline another"), "{refused}");
    let close = [
        "incident",
        "close",
        "complaint",
        "--reason=not reportable because nobody was harmed",
        "--not-applicable=eu-ai-act-73-2",
    ];
    scene.assent(Carol, &close).await?.ok()?;
    is(&scene, "complaint", "Closed", "True", "Closed").await?;
    let state = scene.get("incident", "complaint").await?["status"]["deadlines"][0]["state"].take();
    ensure!(state == "NotApplicable", "{state}");
    Ok(())
}

pub async fn a_closed_incident_still_holds_and_a_missed_deadline_is_told(
    cluster: &ControlPlane,
) -> Result<()> {
    let deadlines = json!([{ "name": "tell-customers", "within": "2s", "reference": "contract section 8" },
        { "name": "tell-staff", "within": "24h", "reference": "works agreement" }]);
    let scene = scene(cluster, "deadlines", &json!({ "deadlines": deadlines })).await?;
    scene.apply(Dev, &scene.incident("drift", &json!({ "effect": "Hold" }))).await?;
    let note = scene.event("AISystem", "scorer", "Paused").await?;
    ensure!(note.contains("save the logs"), "{note}");
    let note = scene.event("AISystem", "scorer", "DeadlineMissed").await?;
    ensure!(note.contains("tell-customers") && note.contains("contract section 8"), "{note}");
    let unnamed = ["incident", "note", "drift", "--type=notified", "--text=told them"];
    let refused = scene.assent(Alice, &unnamed).await?.denied()?;
    ensure!(refused.contains("name the deadline") && refused.contains("tell-staff"), "{refused}");
    let told = ["incident", "note", "drift", "--type=notified", "--text=told them", "--deadline=tell-staff"];
    scene.assent(Alice, &told).await?.ok()?;
    let state = async |name: &'static str, wanted: &'static str| {
        until(SOON, name, async || {
            let status = scene.get("incident", "drift").await?["status"].take();
            let all = status["deadlines"].as_array().cloned().unwrap_or_default();
            let is = all.iter().any(|deadline| deadline["name"] == name && deadline["state"] == wanted);
            Ok(is.then_some(()))
        })
        .await
    };
    state("tell-staff", "Met").await?;
    state("tell-customers", "Missed").await?;
    scene.assent(Carol, &["incident", "close", "drift", "--reason=over"]).await?.ok()?;
    is(&scene, "drift", "Closed", "True", "Closed").await?;
    is(&scene, "drift", "Holding", "True", "Holding").await?;
    scene.condition("modelversion", "v1", "Cleared", "False", "Held").await.map(drop)
}

pub async fn evidence_of_an_open_incident_stays(cluster: &ControlPlane) -> Result<()> {
    let scene = scene(cluster, "evidence-hold", &json!({})).await?;
    scene.publish("v2", &container("v2")).await?;
    let digest = scene.digest_of("v1").await?;
    let versions = json!([{ "name": "v1", "subjectDigest": digest }]);
    scene.apply(Dev, &scene.incident("drift", &json!({ "modelVersions": versions }))).await?;
    scene.condition("modelversion", "v1", "IncidentOpen", "True", "IncidentOpen").await?;
    scene.condition("aisystem", "scorer", "IncidentOpen", "True", "IncidentOpen").await?;
    for (kind, name) in [("modelversion", "v1"), ("aisystem", "scorer")] {
        let refused = scene.denied(Admin, &["delete", kind, name]).await?;
        ensure!(refused.contains("is evidence of an open incident"), "{refused}");
        let forged = r#"{"status":{"conditions":[]}}"#;
        let patch = ["patch", kind, name, "--subresource=status", "--type=merge", "-p", forged];
        let refused = scene.denied(Admin, &patch).await?;
        ensure!(refused.contains("written by Assent only"), "{refused}");
    }
    // The incident does not concern v2, so v2 can be deleted.
    scene.kubectl(Admin, &["delete", "modelversion", "v2"]).await?;

    scene.apply(Dev, &scene.monitor("watch", &json!({ "onBreach": "Warn" }))).await?;
    let directory = cluster.directory().join(format!("bundle-{}", scene.namespace));
    let path = directory.display().to_string();
    let wrote = scene.assent(Alice, &["incident", "bundle", "drift", "-o", &path]).await?.ok()?;
    ensure!(wrote.contains("sha256sum -c SHA256SUMS"), "{wrote}");
    let tar = format!("{path}.tar");
    scene.assent(Alice, &["incident", "bundle", "drift", "-o", &tar]).await?.ok()?;
    let unpacked = cluster.directory().join(format!("unpacked-{}", scene.namespace));
    std::fs::create_dir(&unpacked)?;
    let unpack = std::process::Command::new("tar").args(["-xf", &tar, "-C"]).arg(&unpacked).output()?;
    ensure!(unpack.status.success(), "{unpack:?}");
    for directory in [directory, unpacked.join("drift")] {
        let check = std::process::Command::new("sha256sum")
            .args(["-c", "SHA256SUMS"])
            .current_dir(&directory)
            .output()?;
        ensure!(check.status.success(), "{check:?}");
        for file in [
            "incidents/drift.yaml",
            "aisystems/scorer.yaml",
            "modelversions/v1.yaml",
            "monitors/watch.yaml",
            "report.md",
        ] {
            ensure!(directory.join(file).exists(), "no {file}");
        }
    }
    let again = scene.assent(Alice, &["incident", "bundle", "drift", "-o", &path]).await?.denied()?;
    ensure!(again.contains("--output"), "{again}");
    let report = scene.assent(Alice, &["incident", "report", "drift"]).await?.ok()?;
    ensure!(
        report.contains("## 4 Analysis of the provider")
            && report.contains("Competent authority: risk manager"),
        "{report}"
    );

    scene.assent(Carol, &["incident", "close", "drift", "--reason=over"]).await?.ok()?;
    until(SOON, "the evidence to be released", async || {
        let conditions = scene.get("modelversion", "v1").await?["status"]["conditions"].to_string();
        Ok((!conditions.contains("IncidentOpen")).then_some(()))
    })
    .await?;
    scene.kubectl(Admin, &["delete", "modelversion", "v1"]).await.map(drop)
}

pub async fn a_flood_of_incidents_stops_nothing_and_hides_no_hold(cluster: &ControlPlane) -> Result<()> {
    let tiers = json!([{ "after": "1h", "role": "risk-officer", "effect": "Hold" }]);
    let scene = scene(cluster, "incident-flood", &json!({ "escalation": tiers })).await?;
    let flood: Vec<_> =
        (0..100).map(|n| scene.incident(&format!("noise-{n}"), &json!({ "effect": "None" }))).collect();
    scene.apply(Dev, &json!({ "apiVersion": "v1", "kind": "List", "items": flood })).await?;
    scene.is_cleared("v1").await?;
    let begin = std::time::Instant::now();
    scene.apply(Bob, &scene.incident("drift", &json!({ "effect": "Hold" }))).await?;
    scene.condition("modelversion", "v1", "Cleared", "False", "Held").await?;
    ensure!(begin.elapsed() < Duration::from_secs(10), "the hold took {:?}", begin.elapsed());
    Ok(())
}
