//! Steps: approvals that count, and approvals that do not count.

use anyhow::Result;
use serde_json::{Value, json};

use crate::stage::{Attempt, CREDIT_SCORER, CV_SCREENER, Stage, ensure_contains, milliseconds};

/// A digest that no version has.
const OUTDATED: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// Approves credit-scorer in both required roles. The pods stay held after the first approval and run after the second.
pub async fn approve_credit_scorer(stage: &Stage<'_>) -> Result<()> {
    stage.time.step(
        "The required roles approve, and the workload starts",
        "credit-scorer rates loan applications. Its risk level, high, requires a risk officer and a member of the \
         ethics board. kubectl assent approve first shows the content to approve, then asks. Here --yes answers, and \
         the demo prints only the result.",
    );
    let explain = "kubectl assent explain deployment/credit-scorer -n lending";
    stage.run_and_show(&stage.admin, "asks why credit-scorer does not start", explain).await?;
    let approve = "kubectl assent approve credit-scorer -n lending --yes";
    let outcome = stage.decide(&stage.alice, "approves credit-scorer as risk officer", approve).await?;
    ensure_contains(&outcome, "ethics-board")?;
    let held = stage.wait_for_pods(&CREDIT_SCORER, 0, 2);
    stage
        .time
        .expect("kubernetes", "both pods are still held, because the ethics board has not approved", held)
        .await?;
    let bob = stage.decide(&stage.bob, "approves credit-scorer for the ethics board", approve);
    let took = stage.time_release(&CREDIT_SCORER, bob).await?;
    let what = format!("releases both pods {} after bob's approval is recorded", milliseconds(took));
    stage.time.line("assent", &what);
    stage
        .time
        .expect("kubernetes", "both pods run", stage.wait_for_pods(&CREDIT_SCORER, 2, 0))
        .await
        .map(drop)
}

/// Tries approvals by the wrong people, by the same person twice, and for other content.
pub async fn invalid_approvals(stage: &Stage<'_>) -> Result<()> {
    stage.time.step(
        "Some approvals do not count",
        "cv-screener reads job applications. Its risk level is high too. Below each attempt is the message that \
         refuses it. It comes from an admission policy of the API server (assent-…) or from kubectl assent.",
    );
    let approve = "kubectl assent approve cv-screener -n recruiting --yes";
    stage.expect_refusals(refusals(stage, approve).await?).await?;
    outdated(stage).await?;
    let as_officer = format!("{approve} --role risk-officer");
    stage.decide(&stage.carol, "approves as risk officer", &as_officer).await?;
    for (what, command) in [
        ("approves a second time", as_officer),
        ("approves for the ethics board too", format!("{approve} --role ethics-board")),
    ] {
        let outcome = stage.decide(&stage.carol, what, &command).await?;
        ensure_contains(&outcome, "is not cleared")?;
    }
    let held = stage.wait_for_pods(&CV_SCREENER, 0, 1);
    stage
        .time
        .expect("kubernetes", "the pod is still held, because one person counts for one role only", held)
        .await?;
    let bob = stage.decide(&stage.bob, "approves for the ethics board", approve);
    let took = stage.time_release(&CV_SCREENER, bob).await?;
    let what =
        format!("releases the pod {} after bob's approval: now two people have approved", milliseconds(took));
    stage.time.line("assent", &what);
    stage.time.expect("kubernetes", "the pod runs", stage.wait_for_pods(&CV_SCREENER, 1, 0)).await.map(drop)
}

/// Approvals that the API server or `kubectl assent` refuses.
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
        Attempt::new(dev, "approves a system that he builds", approve, "dev holds none of the roles"),
        Attempt::new(
            dev,
            "approves it with plain YAML instead of kubectl assent",
            create,
            "user dev does not hold the role risk-officer",
        )
        .with(by("risk-officer")),
        Attempt::new(
            dev,
            "writes an approval in the name of bob",
            create,
            "spec.approver must be the user of the request, dev",
        )
        .with(as_bob),
        Attempt::new(gitops, "applies an approval from Git", create, "is not a person and cannot approve")
            .with(by("risk-officer")),
        Attempt::new(
            alice,
            "approves for the ethics board, but is not a member",
            format!("{approve} --role ethics-board"),
            "user alice does not hold the role ethics-board",
        ),
        Attempt::new(
            alice,
            "approves with a digest that is not the digest of this version",
            format!("{approve} --digest {OUTDATED}"),
            "changed after your review",
        ),
    ])
}

/// Approves a digest that no version has. The API server records the approval, but the approval does not count.
async fn outdated(stage: &Stage<'_>) -> Result<()> {
    let create = async {
        let create = "kubectl create -f - -o=jsonpath={.metadata.name}";
        let name = stage.run(&stage.alice, create, Some(&approval(OUTDATED, "risk-officer"))).await?.ok()?;
        stage.wait_until_not_counted(&CV_SCREENER, &name).await
    };
    let what = "approves the same digest with plain YAML: the approval is recorded, but does not count";
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
