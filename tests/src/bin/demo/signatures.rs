//! Whose signature counts, on what, and how often.

use anyhow::Result;
use serde_json::{Value, json};

use crate::stage::{Attempt, CREDIT_SCORER, CV_SCREENER, Stage, milliseconds, says};

/// A digest of something else than what is there.
const OUTDATED: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// Alice alone is not enough; with bob it runs.
pub async fn those_who_are_asked_sign(stage: &Stage<'_>) -> Result<()> {
    stage.time.step(
        "Those whom the risk level asks sign, and it runs",
        "credit-scorer decides about loans: level high asks for a risk officer and the ethics board. \
         kubectl assent approve shows them all that they sign before it asks; here --yes answers, and only what \
         came of it is shown.",
    );
    let explain = "kubectl assent explain deployment/credit-scorer -n lending";
    stage.does(&stage.admin, "asks why credit-scorer does not start", explain).await?;
    let approve = "kubectl assent approve credit-scorer -n lending --yes";
    let outcome = stage.decides(&stage.alice, "approves credit-scorer as risk officer", approve).await?;
    says(&outcome, "ethics-board")?;
    let held = stage.settled(&CREDIT_SCORER, 0, 2);
    stage
        .time
        .expect("kubernetes", "both pods are still held: the ethics board has not signed", held)
        .await?;
    let bob = stage.decides(&stage.bob, "approves credit-scorer for the ethics board", approve);
    let took = stage.release(&CREDIT_SCORER, bob).await?;
    let what = format!("both pods were released {} after bob's signature was recorded", milliseconds(took));
    stage.time.line("assent", &what);
    stage.time.expect("kubernetes", "both pods run", stage.settled(&CREDIT_SCORER, 2, 0)).await.map(drop)
}

/// The wrong people, the right people twice, and the right people on the wrong thing.
pub async fn signatures_that_count_for_nothing(stage: &Stage<'_>) -> Result<()> {
    stage.time.step(
        "Signatures that count for nothing",
        "cv-screener reads job applications and is of level high too. Under each attempt is what refuses it, an \
         admission policy of the API server (assent-…) or the program itself, in its own words.",
    );
    let approve = "kubectl assent approve cv-screener -n recruiting --yes";
    stage.refused(refusals(stage, approve).await?).await?;
    outdated(stage).await?;
    let as_officer = format!("{approve} --role risk-officer");
    stage.decides(&stage.carol, "approves as risk officer", &as_officer).await?;
    for (what, command) in [
        ("approves a second time", as_officer),
        ("approves for the ethics board as well", format!("{approve} --role ethics-board")),
    ] {
        let outcome = stage.decides(&stage.carol, what, &command).await?;
        says(&outcome, "is not cleared")?;
    }
    let held = stage.settled(&CV_SCREENER, 0, 1);
    stage.time.expect("kubernetes", "its pod is still held: one person fills one role, once", held).await?;
    let bob = stage.decides(&stage.bob, "approves for the ethics board", approve);
    let took = stage.release(&CV_SCREENER, bob).await?;
    let what = format!("now they are two people: released {} after bob signed", milliseconds(took));
    stage.time.line("assent", &what);
    stage.time.expect("kubernetes", "its pod runs", stage.settled(&CV_SCREENER, 1, 0)).await.map(drop)
}

/// Signatures that are not even recorded.
async fn refusals<'a>(stage: &'a Stage<'_>, approve: &str) -> Result<Vec<Attempt<'a>>> {
    let Stage { dev, gitops, alice, .. } = stage;
    let create = "kubectl create -f -";
    let digest =
        "kubectl get modelversion cv-screener-2026-10 -n recruiting -o=jsonpath={.status.subjectDigest}";
    let digest = stage.run(dev, digest, None).await?.ok()?;
    let by = |role: &str| approval(&digest, role);
    let mut as_bob = by("ethics-board");
    as_bob["spec"]["approver"] = json!({ "user": "bob", "groups": ["ethics-board"] });
    Ok(vec![
        Attempt::new(dev, "approves what he builds", approve, "dev holds none of the roles"),
        Attempt::new(
            dev,
            "approves it as plain YAML, without kubectl assent",
            create,
            "user dev does not hold the role risk-officer",
        )
        .with(by("risk-officer")),
        Attempt::new(
            dev,
            "writes an approval in bob's name",
            create,
            "the approver is who asks, and that is dev",
        )
        .with(as_bob),
        Attempt::new(gitops, "approves, because Git says so", create, "is not a person and cannot approve")
            .with(by("risk-officer")),
        Attempt::new(
            alice,
            "approves for the ethics board, of which she is no member",
            format!("{approve} --role ethics-board"),
            "user alice does not hold the role ethics-board",
        ),
        Attempt::new(
            alice,
            "approves a digest that she read before, and that is not this version's any more",
            format!("{approve} --digest {OUTDATED}"),
            "is no longer what you reviewed",
        ),
    ])
}

/// Plain YAML can sign anything; it counts for what has that digest, and that is nothing.
async fn outdated(stage: &Stage<'_>) -> Result<()> {
    let create = async {
        let create = "kubectl create -f - -o=jsonpath={.metadata.name}";
        let name = stage.run(&stage.alice, create, Some(&approval(OUTDATED, "risk-officer"))).await?.ok()?;
        stage.does_not_count(&CV_SCREENER, &name).await
    };
    let what = "approves that digest as plain YAML: it is recorded, and counts for nothing";
    let why = stage.time.expect("alice", what, create).await?;
    stage.time.quote(&why);
    Ok(())
}

fn approval(digest: &str, role: &str) -> Value {
    json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "Approval",
        "metadata": { "generateName": "cv-screener-", "namespace": CV_SCREENER.namespace },
        "spec": { "system": CV_SCREENER.name, "modelVersion": "cv-screener-2026-10", "role": role,
                  "decision": "Approve", "subjectDigest": digest } })
}
