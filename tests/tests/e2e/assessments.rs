//! Evidence: CI records the results of tests as Assessments, and a person signs an Assessment with an Approval
//! (`Attest`). A signed result decides whether the version meets the requirement of its level. The result counts until
//! its maximum age.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use assent::api::Digest;
use assent_tests::{Assent, ControlPlane, Person, Scenario, container, fairness_requirement, from_now};
use serde_json::{Value, json};

use crate::outage::sleep_past;

use Person::{Admin, Alice, Dev};

async fn scene<'a>(cluster: &'a ControlPlane, name: &str, max_age: &str) -> Result<Scenario<'a>> {
    let scene = Scenario::new(cluster, name, "limited").await?;
    let level = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "RiskLevel", "metadata": { "name": scene.namespace },
        "spec": { "onLoss": { "gracePeriodSeconds": 10 }, "assessments": [fairness_requirement(max_age)] } });
    scene.apply(Admin, &level).await?;
    scene.apply(Admin, &scene.system(&scene.namespace)).await?;
    Ok(scene)
}

async fn counted(scene: &Scenario<'_>, name: &str, reason: &str) -> Result<String> {
    let status = if reason == "Counted" { "True" } else { "False" };
    scene.condition("assessment", name, "Counted", status, reason).await
}

async fn attest(scene: &Scenario<'_>) -> Result<String> {
    let signed = scene.assent(Alice, &["attest", "scorer", "--version=v1", "--yes"]).await?;
    signed.ok()
}

/// The manifest of a decision `Attest` about an assessment, as a person could write it without the plugin.
async fn attestation(scene: &Scenario<'_>, name: &str, digest: &Digest) -> Result<Value> {
    let signed = scene.get("assessment", name).await?["status"]["digest"].take();
    let mut attest = scene.decision("Attest", "v1", digest, "risk-officer");
    attest["spec"]["assessments"] = json!([{ "name": name, "digest": signed }]);
    Ok(attest)
}

pub async fn the_newest_signed_result_decides_until_its_maximum_age(cluster: &ControlPlane) -> Result<()> {
    const MAX_AGE: Duration = Duration::from_mins(1);
    let scene = scene(cluster, "evidence-decides", "60s").await?;
    let digest = scene.publish("v1", &container("1")).await?;
    scene.apply(Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.held("scorer", 2).await?;
    scene.condition("modelversion", "v1", "Cleared", "False", "AssessmentMissing").await?;

    scene.apply(Dev, &scene.assessment("bad", &digest, "0.08", &from_now(-2))).await?;
    let message = counted(&scene, "bad", "AwaitingSignature").await?;
    ensure!(message.contains("it does not meet fairness-sex"), "{message}");
    ensure!(message.contains("kubectl assent attest scorer --version v1 -n evidence-decides"), "{message}");
    let note = scene.event("AISystem", "scorer", "ResultFails").await?;
    ensure!(note.contains("assessment/bad: it does not meet fairness-sex"), "{note}");
    let review = attest(&scene).await?;
    ensure!(review.contains("fairness-sex: not met"), "{review}");
    let message = scene.condition("modelversion", "v1", "Cleared", "False", "AssessmentFailed").await?;
    ensure!(message.contains("demographic_parity_difference (sex) is 0.08"), "{message}");
    counted(&scene, "bad", "Counted").await?;

    // Without a signature, a good result changes nothing.
    let performed = Instant::now();
    scene.apply(Dev, &scene.assessment("good", &digest, "0.031", &from_now(0))).await?;
    counted(&scene, "good", "AwaitingSignature").await?;
    scene.condition("modelversion", "v1", "Cleared", "False", "AssessmentFailed").await?;
    let review = attest(&scene).await?;
    ensure!(review.contains("fairness-sex: met") && review.contains("margin 0.019"), "{review}");
    scene.is_cleared("v1").await?;
    scene.running("scorer", 2).await?;
    counted(&scene, "bad", "Superseded").await?;
    let state = scene.get("modelversion", "v1").await?["status"]["assessments"][0].take();
    ensure!(state["state"] == "Met" && state["value"] == "0.031" && state["signer"] == "alice", "{state}");

    // The version loses its clearance when the result reaches its maximum age. Then the pods stop.
    tokio::time::sleep_until((performed + MAX_AGE).into()).await;
    scene.condition("modelversion", "v1", "Cleared", "False", "AssessmentExpired").await?;
    scene.held("scorer", 2).await?;
    let history = scene.assent(Dev, &["history", "scorer"]).await?.ok()?;
    ensure!(history.contains("Assessed") && history.contains("Attested"), "{history}");
    Ok(())
}

pub async fn a_recorded_result_is_final_and_not_from_the_future(cluster: &ControlPlane) -> Result<()> {
    let scene = scene(cluster, "evidence-final", "24h").await?;
    let digest = scene.publish("v1", &container("1")).await?;
    let ahead = scene.refused(Dev, &scene.assessment("ahead", &digest, "0.01", &from_now(60))).await?;
    ensure!(ahead.contains("is later than now"), "{ahead}");

    scene.apply(Dev, &scene.assessment("bad", &digest, "0.08", &from_now(-5))).await?;
    let changed = scene.refused(Admin, &scene.assessment("bad", &digest, "0.01", &from_now(-5))).await?;
    ensure!(changed.contains("an assessment is final"), "{changed}");
    for delete in [&["delete", "assessment", "bad"][..], &["delete", "assessments", "--all"]] {
        let refused = scene.denied(Admin, delete).await?;
        ensure!(refused.contains("is part of the record and cannot be deleted"), "{refused}");
    }
    let references =
        r#"{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"x","uid":"y"}]}}"#;
    let owned =
        scene.denied(Admin, &["patch", "assessment", "bad", "--type=merge", "-p", references]).await?;
    ensure!(owned.contains("must have no ownerReferences"), "{owned}");
    let status = r#"{"status":{"conditions":[]}}"#;
    let patch = ["patch", "assessment", "bad", "--subresource=status", "--type=merge", "-p", status];
    let forged = scene.denied(Admin, &patch).await?;
    ensure!(forged.contains("written by Assent only"), "{forged}");

    for (field, value, refusal) in [
        ("value", json!("1e3"), "spec.results[0].value"),
        ("value", json!("-0"), "write 0 without a sign"),
        ("errors", json!(-1), "spec.results[0].errors"),
        ("interval", json!({ "lower": "2", "upper": "1", "level": "0.9" }), "lower must not be greater"),
        ("interval", json!({ "lower": "1", "upper": "2", "level": "95" }), "level must be between 0 and 1"),
    ] {
        let mut wrong = scene.assessment("wrong", &digest, "0.01", &from_now(-5));
        wrong["spec"]["results"][0][field] = value;
        let refused = scene.refused(Dev, &wrong).await?;
        ensure!(refused.contains(refusal), "{field}: {refused}");
    }
    let mut twice = scene.assessment("twice", &digest, "0.01", &from_now(-5));
    let result = twice["spec"]["results"][0].clone();
    twice["spec"]["results"] = json!([result, result]);
    let refused = scene.refused(Dev, &twice).await?;
    ensure!(refused.contains("Duplicate value"), "{refused}");
    Ok(())
}

pub async fn only_a_person_in_the_role_makes_a_result_count(cluster: &ControlPlane) -> Result<()> {
    let scene = scene(cluster, "evidence-role", "24h").await?;
    let digest = scene.publish("v1", &container("1")).await?;
    scene.apply(Dev, &scene.assessment("good", &digest, "0.01", &from_now(-5))).await?;
    counted(&scene, "good", "AwaitingSignature").await?;
    let attest = attestation(&scene, "good", &digest).await?;

    // Dev recorded the result and does not hold the role.
    let refused = scene.undecided(Dev, &attest).await?;
    ensure!(refused.contains("does not hold the role risk-officer"), "{refused}");
    let mut without = attest.clone();
    without["spec"]["assessments"] = json!([]);
    let refused = scene.undecided(Alice, &without).await?;
    ensure!(
        refused.contains("the decision Attest, and no other decision, must name assessments"),
        "{refused}"
    );
    let mut approve = attest.clone();
    approve["spec"]["decision"] = json!("Approve");
    let refused = scene.undecided(Alice, &approve).await?;
    ensure!(refused.contains("and no other decision, must name assessments"), "{refused}");

    // A decision with another digest than the digest of the Assessment does not count.
    let mut other = attest.clone();
    other["spec"]["assessments"][0]["digest"] = json!(digest);
    let name = scene.decide(Alice, &other).await?;
    scene.condition("approval", &name, "Counted", "False", "AssessmentNotFound").await?;
    counted(&scene, "good", "AwaitingSignature").await?;

    let name = scene.decide(Alice, &attest).await?;
    scene.condition("approval", &name, "Counted", "True", "Counted").await?;
    scene.is_cleared("v1").await
}

pub async fn a_result_for_other_content_does_not_count(cluster: &ControlPlane) -> Result<()> {
    let scene = scene(cluster, "evidence-replay", "24h").await?;
    let digest = scene.publish("v1", &container("1")).await?;
    scene.apply(Dev, &scene.assessment("good", &digest, "0.01", &from_now(-5))).await?;
    counted(&scene, "good", "AwaitingSignature").await?;
    attest(&scene).await?;
    scene.is_cleared("v1").await?;

    // The result of v1 does not count for v2, which has other content. The result counts for v3, which has the same
    // content as v1.
    scene.publish("v2", &container("2")).await?;
    scene.condition("modelversion", "v2", "Cleared", "False", "AssessmentMissing").await?;
    scene.publish("v3", &container("1")).await?;
    scene.is_cleared("v3").await?;

    // A new purpose changes the digest of v1, so the result no longer counts for v1.
    let mut system = scene.system(&scene.namespace);
    system["spec"]["intendedPurpose"] = json!("Rejects.");
    scene.apply(Admin, &system).await?;
    scene.condition("modelversion", "v1", "Cleared", "False", "AssessmentMissing").await?;
    counted(&scene, "good", "SubjectNotFound").await?;
    Ok(())
}

pub async fn assess_records_a_file_once_and_refuses_an_ambiguous_one(cluster: &ControlPlane) -> Result<()> {
    let scene = scene(cluster, "evidence-files", "24h").await?;
    scene.publish("v1", &container("1")).await?;
    let folder = tempfile::tempdir()?;
    let write = |name: &str, text: &str| -> Result<String> {
        let path = folder.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    };
    let results = |value: &str| {
        json!({ "kind": "Fairness", "performedAt": from_now(-5), "tool": { "name": "fairlearn", "version": "0.13.0" },
            "results": [{ "metric": "demographic_parity_difference", "slice": "sex", "value": value,
                "direction": "LowerIsBetter", "samples": 1000 }] })
        .to_string()
    };
    let good = write("good.json", &results("0.031"))?;

    let dry = scene.assent(Dev, &["assess", "scorer", "-f", &good, "--dry-run"]).await?.ok()?;
    ensure!(dry.contains("meets fairness-sex (at most 0.05)"), "{dry}");
    ensure!(scene.list("assessments").await?.is_empty(), "a dry run recorded an assessment");

    let recorded = scene.assent(Dev, &["assess", "scorer", "-f", &good]).await?.ok()?;
    ensure!(recorded.contains("kubectl assent attest scorer --version v1 -n evidence-files"), "{recorded}");
    let again = scene.assent(Dev, &["assess", "scorer", "-f", &good]).await?.ok()?;
    ensure!(again.contains("was recorded before"), "{again}");
    let all = scene.list("assessments").await?;
    ensure!(all.len() == 1, "{} assessments", all.len());
    let report = &all[0]["spec"]["report"]["digest"];
    ensure!(report.as_str().is_some_and(|digest| digest.starts_with("sha256:")), "{report}");
    ensure!(all[0]["metadata"]["annotations"]["assent.dev/author"] == "dev", "{}", all[0]["metadata"]);

    // The content of the file determines the name of the Assessment. So if another user applies the same manifest, the
    // API server creates no second Assessment.
    let manifest = scene.assent(Dev, &["assess", "scorer", "-f", &good, "-o", "yaml"]).await?.ok()?;
    let same = cluster.kubectl_stdin(Admin, &["apply", "-f", "-"], &manifest).await?.ok()?;
    ensure!(same.contains("configured") || same.contains("unchanged"), "{same}");

    for (file, text, refusal) in [
        ("nan.json", results("NaN"), "not a finite number"),
        ("odd.json", "{\"hello\": 1}".to_owned(), "the format is unknown"),
        ("twice.json", results("0.01").replacen("\"kind\"", "\"kind\":\"Other\",\"kind\"", 1), "kind"),
    ] {
        let refused = scene.assent(Dev, &["assess", "scorer", "-f", &write(file, &text)?]).await?;
        ensure!(!refused.status.success(), "{file} was recorded");
        ensure!(refused.stderr.contains(refusal), "{file}: {refused:?}");
    }
    let statement = |digest: &str| {
        json!({ "_type": "https://in-toto.io/Statement/v1", "subject": [{ "digest": { "sha256": digest } }],
            "predicateType": "https://in-toto.io/attestation/test-result/v0.1",
            "predicate": { "configuration": [], "passedTests": ["keeps secrets"], "failedTests": [] } })
        .to_string()
    };
    let assess = async |file: &str, more: &[&str]| {
        let assess = ["assess", "scorer", "-f", file, "--dry-run", "--kind=Fairness"];
        scene.assent(Dev, &[&assess, &["--performed-at", &from_now(-5)][..], more].concat()).await
    };
    // The digest of the image in v1 is 64 times the letter a.
    let same = write("same.json", &statement(&"a".repeat(64)))?;
    assess(&same, &[]).await?.ok()?;
    let other = write("other.json", &statement(&"b".repeat(64)))?;
    let refused = assess(&other, &[]).await?;
    ensure!(
        !refused.status.success() && refused.stderr.contains("and the version names only"),
        "{refused:?}"
    );
    assess(&other, &["--allow-other-digest"]).await?.ok()?;
    attest(&scene).await?;
    scene.is_cleared("v1").await
}

/// The operator writes the end of the clearance into the Clearance. The API server compares this end with its own
/// clock. So the API server refuses later pods even if no operator runs.
pub async fn i1_without_an_operator_a_result_at_its_maximum_age_starts_nothing(
    cluster: &ControlPlane,
    assent: &Assent,
) -> Result<()> {
    let scene = scene(cluster, "evidence-aged", "30s").await?;
    let digest = scene.publish("v1", &container("1")).await?;
    let performed = from_now(0);
    scene.apply(Dev, &scene.assessment("good", &digest, "0.01", &performed)).await?;
    counted(&scene, "good", "AwaitingSignature").await?;
    attest(&scene).await?;
    scene.is_cleared("v1").await?;
    scene.apply(Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.running("scorer", 2).await?;
    assent.operator().kill();

    let end = performed.parse::<jiff::Timestamp>()? + jiff::SignedDuration::from_secs(30);
    let status = scene.get("modelversion", "v1").await?["status"]["notAfter"].take();
    ensure!(status == json!(end.to_string()), "{status} is not {end}");
    ensure!(jiff::Timestamp::now() < end, "the machine is too slow for this test");
    scene.apply(Dev, &scene.pod("early", &container("1"))).await?;
    scene.running_pod("early").await?;
    sleep_past(end).await;
    let refused = scene.refused(Dev, &scene.pod("late", &container("1"))).await?;
    ensure!(refused.contains("AI system scorer has no clearance that is valid at"), "{refused}");
    Ok(())
}
