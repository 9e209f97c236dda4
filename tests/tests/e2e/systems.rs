//! Requirements of a level for the system: risks, reviews of documents, and hosted models.

use anyhow::{Result, ensure};
use assent_tests::{ControlPlane, Person, SOON, Scenario, container, from_now, until};
use serde_json::{Value, json};

use Person::{Admin, Dev};

async fn scene<'a>(
    cluster: &'a ControlPlane,
    name: &str,
    mut requirements: Value,
    system: &Value,
) -> Result<Scenario<'a>> {
    let scene = Scenario::new(cluster, name, "limited").await?;
    requirements["onLoss"] = json!({ "gracePeriodSeconds": 10 });
    requirements["approvals"] = json!([{ "role": "risk-officer" }]);
    let level = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "RiskLevel", "metadata": { "name": scene.namespace },
        "spec": requirements });
    scene.apply(Admin, &level).await?;
    change(&scene, system).await?;
    scene.publish("v1", &container("1")).await?;
    Ok(scene)
}

async fn change(scene: &Scenario<'_>, changes: &Value) -> Result<()> {
    scene.apply(Admin, &changed(scene, &scene.namespace, changes)).await.map(drop)
}

fn changed(scene: &Scenario<'_>, level: &str, changes: &Value) -> Value {
    let mut system = scene.system(level);
    for (field, value) in changes.as_object().into_iter().flatten() {
        system["spec"][field] = value.clone();
    }
    system
}

fn risk(residual: &str, last: &str, next: &str) -> Value {
    json!({ "name": "bias-by-age", "description": "Older applicants get worse scores.", "treatment": "Mitigate",
        "owner": "dana", "residual": residual, "review": { "last": last, "next": next } })
}

async fn withheld(scene: &Scenario<'_>, reason: &str) -> Result<String> {
    scene.condition("modelversion", "v1", "Cleared", "False", reason).await
}

/// Waits until v1 lacks only an approval, and then approves v1 as Alice.
async fn approve(scene: &Scenario<'_>) -> Result<()> {
    withheld(scene, "AwaitingApproval").await?;
    scene
        .assent(Person::Alice, &["approve", "scorer", "--version=v1", "--yes", "--reason=reviewed"])
        .await?
        .ok()?;
    scene.is_cleared("v1").await.map(drop)
}

pub async fn a_level_requires_risks_that_approvers_sign(cluster: &ControlPlane) -> Result<()> {
    let scene = scene(cluster, "risks", json!({ "risks": { "maxResidual": "Medium" } }), &json!({})).await?;
    let message = withheld(&scene, "RiskMissing").await?;
    ensure!(message.contains("kubectl edit aisystem/scorer -n risks"), "{message}");
    let (last, next) = (from_now(-3600), from_now(3600));
    change(&scene, &json!({ "risks": [risk("High", &last, &next)] })).await?;
    let message = withheld(&scene, "RiskTooHigh").await?;
    ensure!(message.contains("risk bias-by-age is rated High, and at most Medium is accepted"), "{message}");
    change(&scene, &json!({ "risks": [risk("Medium", &last, &next)] })).await?;
    approve(&scene).await?;
    scene.apply(Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.running("scorer", 2).await?;

    // A lower rating needs a new approval. So no developer can lower a rating alone.
    change(&scene, &json!({ "risks": [risk("Low", &last, &next)] })).await?;
    withheld(&scene, "AwaitingApproval").await?;
    scene.held("scorer", 2).await.map(drop)
}

pub async fn pods_stop_when_a_review_is_overdue(cluster: &ControlPlane) -> Result<()> {
    let requirements = json!({ "risks": { "review": {} }, "documents": ["impact-assessment"],
        "documentReview": { "maxAge": "1h", "overdue": "Warn" } });
    let document = json!({ "type": "impact-assessment", "uri": "https://docs.example",
        "review": { "last": from_now(-7200), "next": from_now(3600) } });
    let (last, next) = (from_now(-60), from_now(30));
    let system = json!({ "risks": [risk("High", &last, &next)], "documentation": [document] });
    let scene = scene(cluster, "reviews", requirements, &system).await?;
    approve(&scene).await?;
    // At this level, an overdue review of a document causes only a warning.
    let message = scene.condition("aisystem", "scorer", "ReviewsOverdue", "True", "ReviewOverdue").await?;
    ensure!(message.contains("the review of document impact-assessment is overdue since"), "{message}");
    scene.apply(Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.running("scorer", 2).await?;
    let message = withheld(&scene, "ReviewOverdue").await?;
    ensure!(
        message.contains(&format!("the review of risk bias-by-age is overdue since {next}")),
        "{message}"
    );
    scene.held("scorer", 2).await?;

    change(&scene, &json!({ "risks": [risk("High", &last, &from_now(3600))], "documentation": [] })).await?;
    withheld(&scene, "DocumentMissing").await?;
    let document = json!({ "type": "impact-assessment", "uri": "https://docs.example",
        "review": { "last": from_now(-1), "next": from_now(3600) } });
    change(&scene, &json!({ "risks": [risk("High", &last, &from_now(3600))], "documentation": [document] }))
        .await?;
    // The approvers sign the dates of reviews too, so the new dates need a new approval.
    approve(&scene).await?;
    scene.running("scorer", 2).await?;
    // The pods start as soon as the operator has written the Clearance. The operator writes the status of the system
    // only after that.
    until(SOON, "the condition ReviewsOverdue to disappear", async || {
        let conditions = scene.get("aisystem", "scorer").await?["status"]["conditions"].to_string();
        ensure!(!conditions.contains("ReviewsOverdue"), "{conditions}");
        Ok(Some(()))
    })
    .await
}

pub async fn a_hosted_model_needs_its_agreement_and_ends_with_its_retirement(
    cluster: &ControlPlane,
) -> Result<()> {
    let requirements = json!({ "hostedModels": { "certifications": ["ISO/IEC 42001"], "agreement": true } });
    let mut hosted = json!({ "name": "chat", "provider": "OpenAI", "model": "gpt-5" });
    let scene = scene(cluster, "hosted", requirements, &json!({ "hostedModels": [hosted] })).await?;
    let message = withheld(&scene, "CertificationMissing").await?;
    ensure!(message.contains("supplier OpenAI has no current certification ISO/IEC 42001"), "{message}");
    ensure!(message.contains("the hosted model chat has no agreement"), "{message}");
    let digest = format!("sha256:{}", "ab".repeat(32));
    hosted["agreement"] = json!({ "uri": "https://docs.example/dpa.pdf", "digest": digest });
    let suppliers = json!([{ "name": "OpenAI", "certifications": [{ "name": "ISO/IEC 42001" }] }]);
    change(&scene, &json!({ "hostedModels": [hosted], "suppliers": suppliers })).await?;
    approve(&scene).await?;
    scene.apply(Dev, &scene.deployment("scorer", &container("1"))).await?;
    scene.running("scorer", 2).await?;

    // If the supplier announces the retirement of a hosted model, the version needs no new approval. The clearance ends
    // at the time of the retirement.
    hosted["retiresAt"] = json!(from_now(20));
    change(&scene, &json!({ "hostedModels": [hosted], "suppliers": suppliers })).await?;
    scene.condition("modelversion", "v1", "Cleared", "True", "Cleared").await?;
    let message = withheld(&scene, "HostedModelRetired").await?;
    ensure!(message.contains("the provider retired the hosted model chat"), "{message}");
    scene.held("scorer", 2).await?;
    // A change to another model needs a new approval.
    hosted["retiresAt"] = Value::Null;
    hosted["model"] = json!("gpt-6");
    change(&scene, &json!({ "hostedModels": [hosted], "suppliers": suppliers })).await?;
    withheld(&scene, "AwaitingApproval").await.map(drop)
}

pub async fn the_api_server_refuses_invalid_risks_and_hosted_models(cluster: &ControlPlane) -> Result<()> {
    let scene = Scenario::new(cluster, "systems-refused", "limited").await?;
    let good = risk("Low", &from_now(-60), &from_now(60));
    let with = |field: &str, value: Value| {
        let mut risk = good.clone();
        risk[field] = value;
        json!({ "risks": [risk] })
    };
    let dates = json!({ "last": from_now(60), "next": from_now(-60) });
    let model = json!({ "name": "chat", "provider": "OpenAI", "model": "gpt-5" });
    for (system, refusal) in [
        (with("residual", json!("None")), "supported values: \"Low\", \"Medium\", \"High\", \"Critical\""),
        (
            with("treatment", json!("Ignore")),
            "supported values: \"Avoid\", \"Mitigate\", \"Transfer\", \"Accept\"",
        ),
        (with("review", dates), "the last review must be before the next review"),
        (with("name", json!("Bias by age")), "spec.risks[0].name"),
        (json!({ "risks": [good, good] }), "Duplicate value"),
        (json!({ "hostedModels": [model, model] }), "Duplicate value"),
    ] {
        let refused = scene.refused(Dev, &changed(&scene, "limited", &system)).await?;
        ensure!(refused.contains(refusal), "{system}: {refused}");
    }
    Ok(())
}
