//! Step: test results decide whether a version runs, until they are too old.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::stage::{CARD_SCORER, Stage, milliseconds};

/// The maximum age of results in this demo.
const MAX_AGE_SECONDS: i64 = 12;

const ATTEST: &str = "kubectl assent attest card-scorer --role risk-officer -n cards --yes";

/// Sets requirements, records an unfair result and a fair one, and waits until the fair one is too old.
pub async fn evidence_decides(stage: &Stage<'_>) -> Result<()> {
    stage.time.step(
        "Test results decide",
        "The risk level of card-scorer sets the limit before the test: the difference between groups must be at most \
         0.05, by sex and by age. A pipeline records results. They count after a risk officer signed them.",
    );
    deploy(stage).await?;
    let approve = "kubectl assent approve card-scorer --role risk-officer -n cards --yes";
    stage.decide(&stage.alice, "approves card-scorer; without results this is not enough", approve).await?;

    record(stage, "unfair.json").await?;
    stage.decide(&stage.alice, "signs the bad result", ATTEST).await?;
    let failed = async {
        let unmet = "requirement fairness-age is not met";
        stage.wait_until_withheld(&CARD_SCORER, "card-scorer-v1", unmet).await?;
        stage.wait_for_pods(&CARD_SCORER, 0, 1).await
    };
    stage.time.expect("assent", "withholds the version: it is unfair by age", failed).await?;

    let performed = record(stage, "fairness.json").await?;
    let sign = stage.decide(&stage.alice, "signs the newer result, which meets the bar", ATTEST);
    let took = stage.time_release(&CARD_SCORER, sign).await?;
    stage.wait_for_pods(&CARD_SCORER, 1, 0).await?;
    stage.time.line("assent", &format!("releases the pod {} after alice's signature", milliseconds(took)));
    age_out(stage, performed + SignedDuration::from_secs(MAX_AGE_SECONDS)).await
}

async fn deploy(stage: &Stage<'_>) -> Result<()> {
    let apply = format!("kubectl apply -k {}", CARD_SCORER.example);
    stage.run(&stage.admin, &apply, None).await?.ok()?;
    let bind = "kubectl create rolebinding dev --clusterrole=cluster-admin --user=dev -n cards";
    stage.run(&stage.admin, bind, None).await?.ok()?;
    let age = |n: usize| {
        format!(r#"{{"op":"replace","path":"/spec/assessments/{n}/maxAge","value":"{MAX_AGE_SECONDS}s"}}"#)
    };
    let patch = format!("kubectl patch risklevel measured --type=json -p '[{},{}]'", age(0), age(1));
    let what = format!(
        "sets the limit; in this demo, results count for {MAX_AGE_SECONDS} seconds and not for 180 days"
    );
    stage.run_and_show(&stage.admin, &what, &patch).await?;
    let held = stage.wait_for_pods(&CARD_SCORER, 0, 1);
    stage.time.expect("kubernetes", "the pod of card-scorer is held", held).await.map(drop)
}

/// Records the results in a file as dev, who stands for a CI pipeline. Returns the time of the test.
async fn record(stage: &Stage<'_>, file: &str) -> Result<Timestamp> {
    // If two results have the same second, the worse one decides. So each test gets its own second.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let performed = Timestamp::from_second(Timestamp::now().as_second())?;
    let command = format!(
        "kubectl assent assess card-scorer -f examples/evidence/{file} --performed-at {performed} -n cards"
    );
    let assess = async { stage.run(&stage.dev, &command, None).await?.ok() };
    let output = stage.time.expect("dev", &format!("records the results of {file} in CI"), assess).await?;
    let table = output.lines().filter(|line| line.starts_with("METRIC") || line.contains("fairness-"));
    stage.time.quote(&format!("$ {command}"));
    stage.time.table(&table.collect::<Vec<_>>().join("\n"));
    Ok(performed)
}

async fn age_out(stage: &Stage<'_>, end: Timestamp) -> Result<()> {
    ensure!(
        Timestamp::now() < end,
        "expected: a pod that runs before {end}\nseen: the result is too old, because this machine is too slow"
    );
    let ended = async {
        stage.wait_until_gone(&CARD_SCORER, stage.pod_names(&CARD_SCORER, false)).await?;
        ensure!(Timestamp::now() >= end, "expected: a pod that runs until {end}\nseen: its end before");
        stage.wait_for_pods(&CARD_SCORER, 0, 1).await
    };
    let what = format!("stops the pod at {end}, when the result is too old; its replacement is held");
    stage.time.expect("assent", &what, ended).await.map(drop)
}
