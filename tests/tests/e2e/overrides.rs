//! Overrides: people waive named requirements of one version for a limited time, and another person reviews the
//! override.
//!
//! In most tests, Alice requests an override and grants it with an Approval (`Override`). The version then has the
//! reason `ClearedByOverride` until the override ends. Afterwards, Bob reviews the override with an Approval
//! (`Review`).

use anyhow::{Result, ensure};
use assent_tests::{ControlPlane, Person, Scenario, container, from_now};
use serde_json::{Value, json};

use Person::{Admin, Alice, Bob, Carol, Dev};

/// Returns `spec.overrides` of a level: Alice or Carol can grant an override, and Bob or Carol can review the override.
fn rules(count: u32, review_within: &str, on_missed: &str) -> Value {
    json!({ "maxDuration": "1h", "roles": [{ "role": "risk-officer" }], "waivable": ["Approval"],
        "perSystem": { "count": count, "within": "1h" },
        "review": { "within": review_within, "roles": ["ethics-board"], "onMissed": on_missed } })
}

/// Returns a scenario with a version v1 that nobody approved. The scenario has its own level, which requires an
/// approval of the ethics board. `rules` is `spec.overrides` of this level.
pub async fn scene<'a>(cluster: &'a ControlPlane, name: &str, rules: &Value) -> Result<Scenario<'a>> {
    let scene = Scenario::new(cluster, name, "limited").await?;
    let level = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "RiskLevel", "metadata": { "name": scene.namespace },
        "spec": { "onLoss": { "gracePeriodSeconds": 10 }, "approvals": [{ "role": "ethics-board" }],
            "overrides": rules } });
    scene.apply(Admin, &level).await?;
    scene.apply(Admin, &scene.system(&scene.namespace)).await?;
    scene.publish("v1", &container("v1")).await?;
    scene.condition("modelversion", "v1", "Cleared", "False", "AwaitingApproval").await?;
    Ok(scene)
}

const WAIVE: [&str; 4] = ["override", "scorer", "--waive=approval/ethics-board", "--reason=outage"];

/// Requests and grants an override of v1 as Alice. `time` is the duration or the end of the override. Returns the
/// output of the plugin.
pub async fn overrule(scene: &Scenario<'_>, name: &str, time: &str) -> Result<String> {
    let (name, time) = (format!("--name={name}"), format!("--for={time}"));
    scene.assent(Alice, &[&WAIVE[..], &["--version=v1", "--yes", &name, &time]].concat()).await?.ok()
}

async fn review(scene: &Scenario<'_>, person: Person, name: &str) -> Result<String> {
    let review = ["override", "review", name, "--outcome=Justified", "--reason=it was needed", "--yes"];
    scene.assent(person, &review).await?.ok()
}

async fn manifest(scene: &Scenario<'_>, name: &str, spec: &Value) -> Result<Value> {
    let mut about = scene.override_("v1", name, &scene.digest_of("v1").await?);
    for (field, value) in spec.as_object().into_iter().flatten() {
        about["spec"][field] = value.clone();
    }
    Ok(about)
}

/// The manifest of a decision about the override `name`. The decision has the digest from the status of the override.
async fn decision(scene: &Scenario<'_>, decision: &str, role: &str, name: &str) -> Result<Value> {
    scene.condition("override", name, "Granted", "False", "AwaitingGrant").await?;
    let digest = scene.get("override", name).await?["status"]["digest"].take();
    let mut manifest = scene.decision(decision, "v1", &scene.digest_of("v1").await?, role);
    manifest["spec"]["override"] = json!({ "name": name, "digest": digest });
    Ok(manifest)
}

pub async fn overridden_version_runs_until_its_end_and_asks_for_its_review(
    cluster: &ControlPlane,
) -> Result<()> {
    let scene = scene(cluster, "overridden", &rules(2, "1h", "NoFurtherOverrides")).await?;
    scene.apply(Dev, &scene.deployment("scorer", &container("v1"))).await?;
    scene.held("scorer", 2).await?;
    let exercise = scene.assent(Dev, &[&WAIVE[..], &["--for=1m", "--dry-run"]].concat()).await?.ok()?;
    ensure!(exercise.contains("awaiting approval by role ethics-board"), "{exercise}");
    ensure!(scene.list("overrides").await?.is_empty(), "the exercise recorded an override");

    let said = overrule(&scene, "outage", "12s").await?;
    ensure!(said.contains("override/outage waives: awaiting approval by role ethics-board"), "{said}");
    let message = scene.condition("modelversion", "v1", "Cleared", "True", "ClearedByOverride").await?;
    ensure!(message.contains("override/outage waives: awaiting approval"), "{message}");
    scene.condition("aisystem", "scorer", "Cleared", "True", "ClearedByOverride").await?;
    scene.condition("override", "outage", "Active", "True", "InEffect").await?;
    scene.running("scorer", 2).await?;
    scene.event("AISystem", "scorer", "OverrideGranted").await?;

    scene.held("scorer", 2).await?;
    scene.condition("modelversion", "v1", "Cleared", "False", "AwaitingApproval").await?;
    scene.condition("override", "outage", "Active", "False", "Expired").await?;
    let due = scene.condition("override", "outage", "Reviewed", "False", "Due").await?;
    ensure!(due.contains("someone in role ethics-board"), "{due}");
    scene.event("AISystem", "scorer", "OverrideReviewDue").await?;
    let refused = scene.assent(Dev, &["override", "grant", "outage", "--yes"]).await?.denied()?;
    ensure!(refused.contains("you hold none of the roles"), "{refused}");
    review(&scene, Bob, "outage").await?;
    scene.condition("override", "outage", "Reviewed", "True", "Justified").await?;

    let history = scene.assent(Dev, &["history", "scorer"]).await?.ok()?;
    for entry in ["OverrideRequested", "OverrideGranted", "Reviewed"] {
        ensure!(history.contains(entry), "{entry}: {history}");
    }
    let who = scene.assent(Admin, &["who-can", "override", "scorer"]).await?.ok()?;
    ensure!(who.contains("risk-officer") && !who.contains("ethics-board"), "{who}");
    Ok(())
}

pub async fn objections_and_holds_are_stronger_than_an_override(cluster: &ControlPlane) -> Result<()> {
    let scene = scene(cluster, "overruled", &rules(4, "1h", "NoFurtherOverrides")).await?;
    let cleared =
        async || scene.condition("modelversion", "v1", "Cleared", "True", "ClearedByOverride").await;
    overrule(&scene, "first", "1h").await?;
    cleared().await?;
    let digest = scene.digest_of("v1").await?;
    scene.decide(Bob, &scene.decision("Reject", "v1", &digest, "ethics-board")).await?;
    scene.condition("modelversion", "v1", "Cleared", "False", "Rejected").await?;
    overrule(&scene, "second", "1h").await?;
    scene.condition("override", "second", "Granted", "True", "Granted").await?;
    scene.condition("modelversion", "v1", "Cleared", "False", "Rejected").await?;

    scene.publish("v2", &container("v2")).await?;
    let incident = scene.incident("drift", &json!({ "effect": "Hold" }));
    scene.apply(Admin, &incident).await?;
    scene.condition("modelversion", "v2", "Cleared", "False", "Held").await?;
    let third = [&WAIVE[..], &["--version=v2", "--for=1h", "--yes", "--name=third"]].concat();
    let said = scene.assent(Alice, &third).await?.ok()?;
    ensure!(said.contains("held by incident/drift"), "{said}");
    scene.condition("override", "third", "Granted", "True", "Granted").await?;
    scene.condition("modelversion", "v2", "Cleared", "False", "Held").await?;

    // A revocation of the version ends the override.
    scene.decide(Bob, &scene.decision("Revoke", "v1", &digest, "ethics-board")).await?;
    scene.condition("override", "first", "Active", "False", "Revoked").await?;
    for refused in ["held/drift", "rejected/bob", "prohibited/high", "image-not-pinned/x", "approval/"] {
        let waive = ["override", "scorer", "--version=v1", "--for=1h", "--reason=x", "--waive", refused];
        let said = scene.assent(Alice, &waive).await?.denied()?;
        ensure!(said.contains("the types are"), "{refused}: {said}");
    }
    Ok(())
}

pub async fn quota_and_maximum_of_the_level_limit_overrides(cluster: &ControlPlane) -> Result<()> {
    let scene = scene(cluster, "override-limits", &rules(1, "1h", "NoFurtherOverrides")).await?;
    let ask = |more: &'static [&'static str]| [&WAIVE[..], &["--version=v1", "--yes"], more].concat();
    for (more, refusal) in [
        (&["--for=2h"][..], "allows an override of at most 1h"),
        (&["--for=1h", "--waive=assessment/fairness"][..], "lets nobody waive assessment/fairness"),
    ] {
        let said = scene.assent(Alice, &ask(more)).await?.denied()?;
        ensure!(said.contains(refusal), "{said}");
    }
    // The API server accepts this override. But the level allows neither the long duration nor the waiver of a document.
    let long = manifest(
        &scene,
        "long",
        &json!({ "notAfter": from_now(700 * 3600),
        "waives": [{ "type": "Approval", "name": "*" }, { "type": "Document", "name": "manual" }] }),
    )
    .await?;
    scene.apply(Dev, &long).await?;
    scene.decide(Alice, &decision(&scene, "Override", "risk-officer", "long").await?).await?;
    let message = scene.condition("override", "long", "Active", "True", "InEffect").await?;
    ensure!(
        message.contains("lets nobody waive Document manual") && message.contains("waives nothing"),
        "{message}"
    );
    scene.condition("modelversion", "v1", "Cleared", "False", "AwaitingApproval").await?;

    // Only granted overrides count for the quota, which is one override. The override `long` is granted, so the quota
    // is used.
    let said = scene.assent(Alice, &ask(&["--for=1h"])).await?.denied()?;
    ensure!(said.contains("has used its quota of 1"), "{said}");
    scene.apply(Dev, &manifest(&scene, "second", &json!({})).await?).await?;
    scene.decide(Alice, &decision(&scene, "Override", "risk-officer", "second").await?).await?;
    scene.condition("override", "second", "Granted", "False", "OverQuota").await?;
    scene.condition("modelversion", "v1", "Cleared", "False", "AwaitingApproval").await.map(drop)
}

pub async fn override_is_final_and_has_a_hard_ceiling(cluster: &ControlPlane) -> Result<()> {
    let scene = scene(cluster, "override-record", &rules(2, "1h", "NoFurtherOverrides")).await?;
    let one = json!({ "type": "Approval", "name": "ethics-board" });
    let many: Vec<_> = (0..17).map(|n| json!({ "type": "Risk", "name": format!("risk-{n}") })).collect();
    for (spec, refusal) in [
        (json!({ "notAfter": from_now(745 * 3600) }), "more than 744 hours"),
        (json!({ "notAfter": from_now(-60) }), "is in the past"),
        (
            json!({ "requestedBy": { "user": "eve" } }),
            "spec.requestedBy must be the user of the request, dev",
        ),
        (json!({ "reason": "" }), "spec.reason"),
        (json!({ "waives": [] }), "spec.waives"),
        (json!({ "waives": [one, one] }), "spec.waives[1]: Duplicate value"),
        (json!({ "waives": many }), "spec.waives"),
        (json!({ "waives": [{ "type": "Held", "name": "drift" }] }), "spec.waives[0].type"),
    ] {
        let refused = scene.refused(Dev, &manifest(&scene, "wrong", &spec).await?).await?;
        ensure!(refused.contains(refusal), "{spec}: {refused}");
    }
    scene.apply(Dev, &manifest(&scene, "right", &json!({})).await?).await?;
    ensure!(
        scene.get("override", "right").await?["spec"]["requestedBy"]["user"] == "dev",
        "the override has no requester"
    );
    for (verb, refusal) in [
        (
            &[
                "patch",
                "override",
                "right",
                "--type=merge",
                "-p",
                r#"{"spec":{"notAfter":"2999-01-01T00:00:00Z"}}"#,
            ][..],
            "final",
        ),
        (&["delete", "override", "right"][..], "cannot be deleted"),
    ] {
        let refused = scene.denied(Admin, verb).await?;
        ensure!(refused.contains(refusal), "{refused}");
    }
    // Only a person in the role can grant an override. A decision `Override` must name its override, and must not have
    // fields of other kinds of decisions.
    let grant = decision(&scene, "Override", "risk-officer", "right").await?;
    let refused = scene.undecided(Dev, &grant).await?;
    ensure!(refused.contains("forbidden") || refused.contains("does not hold the role"), "{refused}");
    let mut nameless = grant.clone();
    nameless["spec"].as_object_mut().map(|spec| spec.remove("override"));
    let refused = scene.undecided(Alice, &nameless).await?;
    ensure!(refused.contains("the decision Override must name an override"), "{refused}");
    for (field, value) in [("outcome", json!("Justified")), ("notAfter", json!(from_now(60)))] {
        let mut wrong = grant.clone();
        wrong["spec"][field] = value;
        let refused = scene.undecided(Alice, &wrong).await?;
        ensure!(refused.contains("outcome") || refused.contains("has no end"), "{refused}");
    }
    let review = decision(&scene, "Review", "ethics-board", "right").await?;
    let refused = scene.undecided(Bob, &review).await?;
    ensure!(refused.contains("must state an outcome"), "{refused}");
    // The digest in the decision covers the namespace of the override. So the decision does not count in another
    // namespace.
    let other = self::scene(cluster, "override-other", &rules(2, "1h", "NoFurtherOverrides")).await?;
    other.apply(Dev, &manifest(&other, "right", &json!({})).await?).await?;
    let mut moved = decision(&other, "Override", "risk-officer", "right").await?;
    moved["spec"]["override"] = grant["spec"]["override"].clone();
    let name = other.decide(Alice, &moved).await?;
    other.condition("approval", &name, "Counted", "False", "OverrideNotFound").await?;
    other.condition("override", "right", "Granted", "False", "AwaitingGrant").await.map(drop)
}

pub async fn missed_review_holds_the_system_until_somebody_else_reviews(
    cluster: &ControlPlane,
) -> Result<()> {
    let scene = scene(cluster, "override-missed", &rules(2, "1s", "Hold")).await?;
    overrule(&scene, "forgotten", "3s").await?;
    let digest = scene.publish("v2", &container("v2")).await?;
    scene.decide(Bob, &scene.decision("Approve", "v2", &digest, "ethics-board")).await?;
    scene.condition("override", "forgotten", "Reviewed", "False", "Overdue").await?;
    let message = scene.condition("modelversion", "v2", "Cleared", "False", "OverrideNotReviewed").await?;
    ensure!(message.contains("kubectl assent override review forgotten"), "{message}");
    scene.event("AISystem", "scorer", "OverrideReviewMissed").await?;
    let next = [&WAIVE[..], &["--version=v1", "--for=1m", "--yes"]].concat();
    let refused = scene.assent(Alice, &next).await?.denied()?;
    ensure!(refused.contains("the review of override/forgotten is missed"), "{refused}");
    // Alice granted the override, so she cannot review it.
    let own = scene
        .assent(Alice, &["override", "review", "forgotten", "--outcome=Justified", "--reason=x", "--yes"]);
    own.await?.denied()?;
    review(&scene, Carol, "forgotten").await?;
    scene.is_cleared("v2").await
}

pub async fn override_of_changed_content_or_a_tightened_level_ends(cluster: &ControlPlane) -> Result<()> {
    let scene = scene(cluster, "override-changed", &rules(4, "1h", "NoFurtherOverrides")).await?;
    overrule(&scene, "first", "1h").await?;
    scene.condition("modelversion", "v1", "Cleared", "True", "ClearedByOverride").await?;
    let level = async |change: Value| {
        let patch = json!({ "spec": { "overrides": change } }).to_string();
        let args = ["patch", "risklevel", &scene.namespace, "--type=merge", "-p", &patch];
        cluster.kubectl(Admin, &args).await?.ok()
    };
    for (change, reason, back) in [
        (json!({ "waivable": ["Document"] }), "InEffect", json!({ "waivable": ["Approval"] })),
        (
            json!({ "roles": [{ "role": "board" }] }),
            "AwaitingGrant",
            json!({ "roles": [{ "role": "risk-officer" }] }),
        ),
        (json!({ "maxDuration": "1ms" }), "GrantedTooLate", json!({ "maxDuration": "1h" })),
        (Value::Null, "NotAllowed", rules(4, "1h", "NoFurtherOverrides")),
    ] {
        level(change).await?;
        let status = if reason == "InEffect" { "True" } else { "False" };
        scene.condition("override", "first", "Active", status, reason).await?;
        scene.condition("modelversion", "v1", "Cleared", "False", "AwaitingApproval").await?;
        level(back).await?;
        scene.condition("modelversion", "v1", "Cleared", "True", "ClearedByOverride").await?;
    }
    // The override has no effect on a new version with the same name, even if this version has the same content.
    scene.kubectl(Admin, &["delete", "modelversion", "v1"]).await?;
    scene.publish("v1", &container("other")).await?;
    scene.condition("override", "first", "Active", "False", "SubjectChanged").await?;
    scene.condition("modelversion", "v1", "Cleared", "False", "AwaitingApproval").await?;
    scene.kubectl(Admin, &["delete", "modelversion", "v1"]).await?;
    scene.publish("v1", &container("v1")).await?;
    scene.condition("override", "first", "Active", "False", "SubjectChanged").await?;
    scene.condition("modelversion", "v1", "Cleared", "False", "AwaitingApproval").await.map(drop)
}
