//! Runs the commands of users, and checks after each step whether versions are cleared and pods run.

use anyhow::{Context as _, Result, ensure};
use assent_tests::{Person, SOON, Scenario, container, fairness_requirement, from_now, until};
use k8s_openapi::{
    api::core::v1::Pod,
    jiff::{Timestamp, ToSpan},
};
use kube::{Api, api::PostParams};
use serde_json::{Value, json};

use crate::Stage;

/// Waits until the two pods of `app` are held. If the API server cannot hold pods, waits until it has refused them.
async fn is_withheld(stage: &Stage, scene: &Scenario<'_>, app: &str) -> Result<()> {
    if stage.holds {
        return scene.held(app, 2).await.map(drop);
    }
    until(SOON, &format!("the pods of {app} to be refused"), async || {
        let events = scene.list("events").await?;
        let refused = events.iter().any(|event| {
            event["reason"] == "FailedCreate"
                && event["message"].as_str().is_some_and(|said| said.contains("AI system scorer"))
        });
        Ok((refused && scene.pods(app).await?.is_empty()).then_some(()))
    })
    .await
}

pub async fn hold_or_refuse_approve_run_revoke(stage: &Stage) -> Result<()> {
    let scene = Scenario::new(&stage.cluster, "life", "high").await?;
    scene.publish("v1", &container("1")).await?;
    scene.apply(Person::Dev, &scene.deployment("scorer", &container("1"))).await?;
    is_withheld(stage, &scene, "scorer").await.context("before the approvals")?;
    let said = scene.assent(Person::Dev, &["status"]).await?.ok()?;
    ensure!(said.contains("risk-officer") && said.contains("ethics-board"), "{said}");

    scene.assent(Person::Alice, &["approve", "scorer", "--yes"]).await?.ok()?;
    let said = scene.assent(Person::Bob, &["approve", "scorer", "--yes"]).await?.ok()?;
    ensure!(said.contains("v1 of scorer is cleared until"), "{said}");
    scene.running("scorer", 2).await.context("after both approvals")?;

    let revoke = ["revoke", "scorer", "--role=risk-officer", "--reason=an incident", "--yes"];
    scene.assent(Person::Carol, &revoke).await?.ok()?;
    is_withheld(stage, &scene, "scorer").await.context("after the revocation")?;
    let said = scene.assent(Person::Dev, &["explain", "aisystem/scorer"]).await?;
    let said = format!("{}{}", said.stdout, said.stderr);
    ensure!(said.contains("an incident"), "{said}");
    scene.assent(Person::Dev, &["history", "scorer"]).await?.ok().map(drop)
}

pub async fn expire(stage: &Stage) -> Result<()> {
    let scene = Scenario::new(&stage.cluster, "expire", "limited").await?;
    let digest = scene.publish("v1", &container("1")).await?;
    let end = Timestamp::from_second((Timestamp::now() + 15.seconds()).as_second())?;
    let until = format!("--until={end}");
    let approve = ["approve", "scorer", "--yes", "--role=risk-officer", &until];
    scene.assent(Person::Alice, &approve).await?.ok()?;
    scene.is_cleared("v1").await?;
    scene.apply(Person::Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.running("scorer", 2).await?;
    ensure!(Timestamp::now() < end, "the machine is too slow for this test");
    is_withheld(stage, &scene, "scorer").await.context("after the end of the approval")?;
    ensure!(Timestamp::now() >= end, "the pods stopped before the approval ended");
    scene.condition("modelversion", "v1", "Cleared", "False", "ApprovalExpired").await?;
    let pod = scene.pod("late", &container("1"));
    let created = stage.cluster.kubectl_stdin(Person::Dev, &["apply", "-f", "-"], &pod.to_string()).await?;
    ensure!(created.status.success() == stage.holds, "{}{}", created.stdout, created.stderr);
    ensure!(
        json!(digest) == scene.get("modelversion", "v1").await?["status"]["subjectDigest"],
        "the digest changed"
    );
    Ok(())
}

/// The level requires a fairness result, and that the expression named `purpose` is true. A failing result withholds
/// the version, and a good result clears the version.
pub async fn evidence(stage: &Stage) -> Result<()> {
    let scene = Scenario::new(&stage.cluster, "evidence", "limited").await?;
    let level = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "RiskLevel", "metadata": { "name": "evidence" },
        "spec": {
            "assessments": [fairness_requirement("24h")],
            "requirements": [{ "name": "purpose", "expression": "system.spec.intendedPurpose.size() > 0",
                "message": "The purpose is missing." }] } });
    scene.apply(Person::Admin, &level).await?;
    scene.apply(Person::Admin, &scene.system("evidence")).await?;
    let digest = scene.publish("v1", &container("1")).await?;
    let attest = ["attest", "scorer", "--version=v1", "--yes"];
    for (name, value, performed) in [("bad", "0.08", from_now(-20)), ("good", "0.01", from_now(-10))] {
        scene.apply(Person::Dev, &scene.assessment(name, &digest, value, &performed)).await?;
        scene.condition("assessment", name, "Counted", "False", "AwaitingSignature").await?;
        scene.assent(Person::Alice, &attest).await?.ok()?;
        if name == "bad" {
            scene.condition("modelversion", "v1", "Cleared", "False", "AssessmentFailed").await?;
        }
    }
    scene.is_cleared("v1").await.map(drop)
}

/// A hold stops a version until a person resumes the system. Before Kubernetes 1.36, the API server does not record who
/// opened an incident. So the plugin writes the name of the opener into the incident.
pub async fn incidents(stage: &Stage) -> Result<()> {
    let scene = Scenario::new(&stage.cluster, "incidents", "limited").await?;
    scene.publish("v1", &container("1")).await?;
    let approve = ["approve", "scorer", "--version=v1", "--role=risk-officer", "--yes"];
    scene.assent(Person::Alice, &approve).await?.ok()?;
    scene.assent(Person::Dev, &["pause", "scorer", "--reason=drift", "--name=drift", "--yes"]).await?.ok()?;
    scene.condition("modelversion", "v1", "Cleared", "False", "Held").await?;
    for type_ in ["root-cause", "action", "verification"] {
        let note = ["incident", "note", "drift", "--type", type_, "--text", "for the test"];
        scene.assent(Person::Dev, &note).await?.ok()?;
    }
    scene.assent(Person::Alice, &["resume", "scorer", "--role=risk-officer", "--yes"]).await?.ok()?;
    scene.condition("incident", "drift", "Holding", "False", "Resumed").await.map(drop)
}

/// Placeholders in arguments, variables, mounts, volumes and claims match only valid values. The test runs on each
/// version of Kubernetes, because each evaluates the policies with its own CEL library.
pub async fn placeholders(stage: &Stage) -> Result<()> {
    let scene = Scenario::new(&stage.cluster, "placeholders", "minimal").await?;
    let with = |ordinal: &str, leader: Option<&str>, user: &str| {
        let mut container = container("1");
        container["args"] = json!(["--rank", ordinal]);
        container["env"] = json!([{ "name": "PEER", "value": format!("shard-{ordinal}.models:1") }]);
        if let Some(leader) = leader {
            container["env"].as_array_mut().into_iter().for_each(|env| {
                env.push(json!({ "name": "LEADER", "value": leader }));
            });
        }
        container["volumeMounts"] = json!([{ "name": format!("home-{user}"), "mountPath": "/home" }]);
        let claim = json!({ "claimName": format!("claim-{user}") });
        json!({ "containers": [container], "volumes": [{ "name": format!("home-{user}"), "persistentVolumeClaim": claim }] })
    };
    let mut runtime = with("<ordinal>", None, "<name>");
    runtime["placeholders"] = json!(["ordinal", "name", "host"]);
    runtime["containers"][0]["mayVary"] = json!({ "env": ["LEADER=<host>"] });
    scene.apply(Person::Admin, &scene.version_of("v1", &runtime)).await?;
    scene.is_cleared("v1").await?;
    let api: Api<Pod> = Api::namespaced(stage.cluster.client(Person::Dev)?, &scene.namespace);
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let is_cleared = async |spec: &Value| -> Result<bool> {
        let pod: Pod = serde_json::from_value(scene.workload("v1", "Pod", "pod", spec))?;
        match api.create(&dry, &pod).await {
            Ok(pod) => {
                Ok(pod.spec.and_then(|spec| spec.scheduling_gates).is_none_or(|gates| gates.is_empty()))
            }
            Err(kube::Error::Api(answer)) if answer.reason == "Forbidden" => Ok(false),
            Err(error) => Err(error.into()),
        }
    };
    for spec in
        [with("0", None, "alice"), with("12", Some("lws-0.lws"), "bob"), with("7", Some("10.0.0.5"), "c")]
    {
        until(SOON, "a pod with other values to be cleared", async || {
            Ok(is_cleared(&spec).await?.then_some(()))
        })
        .await?;
    }
    let mut other_claim = with("0", None, "alice");
    other_claim["volumes"][0]["persistentVolumeClaim"]["claimName"] = json!("weights");
    for spec in [
        with("00", None, "alice"),
        with("-1", None, "alice"),
        with("1 --debug", None, "alice"),
        with("0", Some("a/b"), "alice"),
        with("0", Some(""), "alice"),
        other_claim,
    ] {
        ensure!(!is_cleared(&spec).await?, "a near miss is cleared: {spec}");
    }
    Ok(())
}

/// An override clears a version that lacks an approval. A review with the outcome `NotJustified` ends the override and
/// the clearance.
pub async fn overrides(stage: &Stage) -> Result<()> {
    let scene = Scenario::new(&stage.cluster, "overrides", "limited").await?;
    let level = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "RiskLevel", "metadata": { "name": "overridable" },
        "spec": { "approvals": [{ "role": "ethics-board" }], "overrides": {
            "maxDuration": "1h", "roles": [{ "role": "risk-officer" }], "waivable": ["Approval"],
            "perSystem": { "count": 1, "within": "1h" }, "review": { "within": "1h", "roles": ["ethics-board"] } } } });
    scene.apply(Person::Admin, &level).await?;
    scene.apply(Person::Admin, &scene.system("overridable")).await?;
    scene.publish("v1", &container("1")).await?;
    let ask = [
        "override",
        "scorer",
        "--version=v1",
        "--waive=approval/ethics-board",
        "--for=30m",
        "--reason=outage",
    ];
    scene.assent(Person::Alice, &[&ask[..], &["--name=outage", "--yes"]].concat()).await?.ok()?;
    scene.condition("modelversion", "v1", "Cleared", "True", "ClearedByOverride").await?;
    let review = ["override", "review", "outage", "--outcome=NotJustified", "--reason=for the test", "--yes"];
    scene.assent(Person::Bob, &review).await?.ok()?;
    scene.condition("modelversion", "v1", "Cleared", "False", "AwaitingApproval").await?;
    scene.condition("override", "outage", "Reviewed", "True", "NotJustified").await.map(drop)
}
