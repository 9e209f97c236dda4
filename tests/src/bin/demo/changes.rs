//! A signature is for what was signed: changed, it does not count; put back, it does.

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::stage::{Attempt, CV_SCREENER, Stage, manifest, says};

/// What can be edited, what not, and what editing it comes to.
pub async fn dev_changes_what_was_signed(stage: &Stage<'_>) -> Result<()> {
    stage.time.step(
        "dev changes what was signed, or the signature",
        "AISystems and ModelVersions are dev's to write. But a signature is for a digest of what they say, and for \
         nothing else.",
    );
    stage.refused(edits(stage)?).await?;
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
            "lowers the risk to the level that asks for nobody's approval",
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
        Attempt::new(dev, "deletes it", delete.clone(), "is part of the record and is not deleted"),
        Attempt::new(admin, "deletes it as a cluster administrator", delete, "is part of the record"),
    ])
}

/// A level that dev may assign, but nobody signed.
async fn lowered(stage: &Stage<'_>) -> Result<()> {
    let level = |level: &str| {
        let patch = format!(r#"{{"spec":{{"riskLevel":"{level}"}}}}"#);
        format!("kubectl patch aisystem cv-screener -n recruiting --type=merge -p '{patch}'")
    };
    let what = "lowers the risk to limited, which dev may assign and for which carol alone would be enough";
    stage.does(&stage.dev, what, &level("limited")).await?;
    let stopped = async {
        let message = stage.withheld(&CV_SCREENER, "cv-screener-2026-10").await?;
        stage.settled(&CV_SCREENER, 0, 1).await?;
        Ok(message)
    };
    let what = "stopped the pod: nobody has signed this system at this level; its replacement is held";
    let message = stage.time.expect("assent", what, stopped).await?;
    says(&message, "awaiting approval")?;
    stage.time.quote(&message);
    stage.does(&stage.dev, "puts the level back", &level("high")).await?;
    let back = stage.settled(&CV_SCREENER, 1, 0);
    stage.time.expect("assent", "it runs again: this is what carol and bob signed", back).await.map(drop)
}

/// Other content under the name of an approved version.
async fn replaced(stage: &Stage<'_>) -> Result<()> {
    let mut version = manifest("examples/oci-image-volume/modelversion.yaml")?;
    let reference = format!("registry.acme-people.example/models/cv-screener@sha256:{}", "b".repeat(64));
    version["spec"]["runtime"]["volumes"][0]["image"]["reference"] = json!(reference);
    let replace = async {
        let delete = "kubectl delete modelversion cv-screener-2026-10 -n recruiting";
        stage.run(&stage.dev, delete, None).await?.ok()?;
        stage.applies(&stage.dev, &version).await
    };
    let what = "deletes the ModelVersion and creates it anew under the same name, with other weights";
    stage.time.expect("dev", what, replace).await?;
    let stopped = async {
        stage.settled(&CV_SCREENER, 0, 1).await?;
        stage.withheld(&CV_SCREENER, "cv-screener-2026-10").await
    };
    let what = "stopped the pod: the name is approved, this content is not";
    let message = stage.time.expect("assent", what, stopped).await?;
    says(&message, "awaiting approval")?;
    stage.time.quote(&message);
    let restore = "kubectl replace --force -f examples/oci-image-volume/modelversion.yaml";
    stage.does(&stage.gitops, "puts back what is in Git", restore).await?;
    let back = stage.settled(&CV_SCREENER, 1, 0);
    let what = "it runs again: the same content has the same digest, and the signatures hold for that";
    stage.time.expect("assent", what, back).await.map(drop)
}
