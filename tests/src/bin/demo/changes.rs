//! Step: dev changes the content after the approval. The approval does not count for the changed content, and counts
//! again for the restored content.

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::stage::{Attempt, CV_SCREENER, Stage, manifest};

/// Tries edits that are refused. Then makes edits that are allowed and stop the workload.
pub async fn change_after_approval(stage: &Stage<'_>) -> Result<()> {
    stage.time.step(
        "dev changes the approved content, or an approval",
        "dev may write AISystems and ModelVersions. But an approval is for the digest of their content, and for \
         nothing else.",
    );
    stage.expect_refusals(edits(stage)?).await?;
    lowered(stage).await?;
    replaced(stage).await
}

fn edits<'a>(stage: &'a Stage<'_>) -> Result<Vec<Attempt<'a>>> {
    let Stage { dev, admin, .. } = stage;
    let approval = stage.approvals.now(|all| {
        all.keys().find(|(namespace, _)| namespace == CV_SCREENER.namespace).map(|(_, name)| name.clone())
    });
    let approval = approval.context("no approval of cv-screener")?;
    let patch =
        |what: &str, patch: &str| format!("kubectl patch {what} -n recruiting --type=merge -p '{patch}'");
    let delete = format!("kubectl delete approval {approval} -n recruiting");
    Ok(vec![
        Attempt::new(
            dev,
            "lowers the risk level to minimal, which requires no approval",
            patch("aisystem cv-screener", r#"{"spec":{"riskLevel":"minimal"}}"#),
            "user dev may not assign risk level minimal",
        ),
        Attempt::new(
            dev,
            "edits the approved ModelVersion",
            patch("modelversion cv-screener-2026-10", r#"{"spec":{"provenance":{"rationale":"Better."}}}"#),
            "a model version is immutable",
        ),
        Attempt::new(
            dev,
            "edits an approval",
            patch(&format!("approval {approval}"), r#"{"spec":{"modelVersion":"cv-screener-2026-11"}}"#),
            "an approval is final",
        ),
        Attempt::new(
            dev,
            "deletes the approval",
            delete.clone(),
            "is part of the record and cannot be deleted",
        ),
        Attempt::new(
            admin,
            "deletes the approval as a cluster administrator",
            delete,
            "is part of the record",
        ),
    ])
}

/// Changes the risk level of cv-screener to a level that dev may assign, and back.
async fn lowered(stage: &Stage<'_>) -> Result<()> {
    let level = |level: &str| {
        let patch = format!(r#"{{"spec":{{"riskLevel":"{level}"}}}}"#);
        format!("kubectl patch aisystem cv-screener -n recruiting --type=merge -p '{patch}'")
    };
    let what = "lowers the risk level to limited: dev may assign it, and carol alone could approve it";
    stage.run_and_show(&stage.dev, what, &level("limited")).await?;
    let stopped = async {
        let message =
            stage.wait_until_withheld(&CV_SCREENER, "cv-screener-2026-10", "awaiting approval").await?;
        stage.wait_for_pods(&CV_SCREENER, 0, 1).await?;
        Ok(message)
    };
    let what = "stops the pod, because nobody approved the system at this level; the new pod is held";
    let message = stage.time.expect("assent", what, stopped).await?;
    stage.time.quote(&message);
    stage.run_and_show(&stage.dev, "restores the level", &level("high")).await?;
    let back = stage.wait_for_pods(&CV_SCREENER, 1, 0);
    stage
        .time
        .expect("assent", "releases the new pod, because carol and bob approved exactly this content", back)
        .await
        .map(drop)
}

/// Replaces the content of an approved version under the same name, and then restores the approved content.
async fn replaced(stage: &Stage<'_>) -> Result<()> {
    let mut version = manifest("examples/oci-image-volume/modelversion.yaml")?;
    let reference = format!("registry.acme-people.example/models/cv-screener@sha256:{}", "b".repeat(64));
    version["spec"]["runtime"]["volumes"][0]["image"]["reference"] = json!(reference);
    let replace = async {
        let delete = "kubectl delete modelversion cv-screener-2026-10 -n recruiting";
        stage.run(&stage.dev, delete, None).await?.ok()?;
        stage.apply(&stage.dev, &version).await
    };
    let what = "deletes the ModelVersion and creates it again under the same name, with other weights";
    stage.time.expect("dev", what, replace).await?;
    let stopped = async {
        stage.wait_for_pods(&CV_SCREENER, 0, 1).await?;
        stage.wait_until_withheld(&CV_SCREENER, "cv-screener-2026-10", "awaiting approval").await
    };
    let what = "stops the pod, because an approval is for the content and not for the name";
    let message = stage.time.expect("assent", what, stopped).await?;
    stage.time.quote(&message);
    let restore = "kubectl replace --force -f examples/oci-image-volume/modelversion.yaml";
    stage.run_and_show(&stage.gitops, "restores the ModelVersion from Git", restore).await?;
    let back = stage.wait_for_pods(&CV_SCREENER, 1, 0);
    let what = "releases the new pod: the content has the approved digest again, so the approvals count";
    stage.time.expect("assent", what, back).await.map(drop)
}
