//! An approval ends on its second, and what relied on it with it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::jiff::{Timestamp, ToSpan as _};

use crate::stage::{SUPPORT_ASSISTANT, Stage, milliseconds};

/// How long the trial lasts.
const TRIAL_SECONDS: i64 = 8;

/// A trial of a few seconds, and what is left of the workload after it.
pub async fn an_approval_ends(stage: &Stage<'_>) -> Result<()> {
    stage.time.step(
        "An approval ends on its second",
        "support-assistant is of level limited: one risk officer is enough. alice allows a trial of a few seconds; \
         without --until her approval holds for the two years that the level says.",
    );
    let end = Timestamp::from_second((Timestamp::now() + TRIAL_SECONDS.seconds()).as_second())?;
    let approve = "kubectl assent approve support-assistant -n customer-service --yes";
    let until_end = format!("{approve} --until {end}");
    let what = format!("approves support-assistant until {end}");
    let trial = stage.decides(&stage.alice, &what, &until_end);
    let took = stage.release(&SUPPORT_ASSISTANT, trial).await?;
    stage.settled(&SUPPORT_ASSISTANT, 2, 0).await?;
    let left = end.duration_since(Timestamp::now());
    let what = format!("both pods run, released {} after alice signed", milliseconds(took));
    stage.time.line("kubernetes", &what);
    ensure!(left.is_positive(), "expected: pods that run before {end}\nseen: this machine is too slow");

    let before = stage.deployment(&SUPPORT_ASSISTANT).await?;
    let ended = stage
        .gone(&SUPPORT_ASSISTANT, stage.names(&SUPPORT_ASSISTANT, false))
        .await
        .map(|_| Timestamp::now())?;
    ensure!(ended >= end, "expected: pods that run until {end}\nseen: their end at {ended}");
    let late = Duration::try_from(ended.duration_since(end)).unwrap_or_default();
    stage
        .time
        .line("assent", &format!("{end} has come: both pods are gone, {} after it", milliseconds(late)));
    let held = stage.settled(&SUPPORT_ASSISTANT, 0, 2);
    let what = "the ReplicaSet made two new pods, and both are held; nobody scaled anything";
    stage.time.expect("kubernetes", what, held).await?;
    let get = "kubectl get deployment support-assistant-predictor -n customer-service";
    stage.time.table(&stage.run(&stage.dev, get, None).await?.ok()?);

    let again = stage.decides(&stage.alice, "approves it again, for as long as the level allows", approve);
    stage.release(&SUPPORT_ASSISTANT, again).await?;
    stage.settled(&SUPPORT_ASSISTANT, 2, 0).await?;
    let after = stage.deployment(&SUPPORT_ASSISTANT).await?;
    let generation = |deployment: &k8s_openapi::api::apps::v1::Deployment| deployment.metadata.generation;
    let replicas = after.spec.replicas.context("no replicas")?;
    ensure!(
        replicas == 2 && generation(&before) == generation(&after),
        "expected: a Deployment as it was, of 2 replicas\nseen: {replicas}, changed"
    );
    stage
        .time
        .line("kubernetes", "both pods run again; the Deployment says 2 replicas, as it did all the time");
    Ok(())
}
