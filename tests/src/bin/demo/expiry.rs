//! Step: an approval expires, and the pods that need this approval stop.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::jiff::{Timestamp, ToSpan as _};

use crate::stage::{SUPPORT_ASSISTANT, Stage, milliseconds};

/// The validity of the trial approval.
const TRIAL_SECONDS: i64 = 8;

/// Approves a trial of a few seconds, waits until the trial is over, and approves again.
pub async fn approval_expires(stage: &Stage<'_>) -> Result<()> {
    stage.time.step(
        "An approval expires, to the second",
        "The risk level of support-assistant is limited: one risk officer is enough. alice approves a trial of a few \
         seconds. Without --until, her approval is valid for two years, as the level says.",
    );
    let end = Timestamp::from_second((Timestamp::now() + TRIAL_SECONDS.seconds()).as_second())?;
    let approve = "kubectl assent approve support-assistant -n customer-service --yes";
    let until_end = format!("{approve} --until {end}");
    let what = format!("approves support-assistant until {end}");
    let trial = stage.decide(&stage.alice, &what, &until_end);
    let took = stage.time_release(&SUPPORT_ASSISTANT, trial).await?;
    stage.wait_for_pods(&SUPPORT_ASSISTANT, 2, 0).await?;
    let left = end.duration_since(Timestamp::now());
    let what = format!("releases both pods {} after alice's approval, and they run", milliseconds(took));
    stage.time.line("assent", &what);
    ensure!(
        left.is_positive(),
        "expected: pods that run before {end}\nseen: the trial is over, because this machine is too slow"
    );

    let before = stage.deployment(&SUPPORT_ASSISTANT).await?;
    let ended = stage
        .wait_until_gone(&SUPPORT_ASSISTANT, stage.pod_names(&SUPPORT_ASSISTANT, false))
        .await
        .map(|_| Timestamp::now())?;
    ensure!(ended >= end, "expected: pods that run until {end}\nseen: their end at {ended}");
    let late = Duration::try_from(ended.duration_since(end)).unwrap_or_default();
    stage
        .time
        .line("assent", &format!("stops both pods at {end}; they are gone {} later", milliseconds(late)));
    let held = stage.wait_for_pods(&SUPPORT_ASSISTANT, 0, 2);
    let what = "the ReplicaSet creates two new pods, and both are held";
    stage.time.expect("kubernetes", what, held).await?;
    let get = "kubectl get deployment support-assistant-predictor -n customer-service";
    stage.time.table(&stage.run(&stage.dev, get, None).await?.ok()?);

    let again = stage.decide(&stage.alice, "approves it again, for the full validity of the level", approve);
    stage.time_release(&SUPPORT_ASSISTANT, again).await?;
    stage.wait_for_pods(&SUPPORT_ASSISTANT, 2, 0).await?;
    let after = stage.deployment(&SUPPORT_ASSISTANT).await?;
    let generation = |deployment: &k8s_openapi::api::apps::v1::Deployment| deployment.metadata.generation;
    let replicas = after.spec.replicas.context("no replicas")?;
    ensure!(
        replicas == 2 && generation(&before) == generation(&after),
        "expected: an unchanged Deployment with 2 replicas\nseen: {replicas} replicas, or a new generation"
    );
    stage.time.line("kubernetes", "both pods run again; the Deployment had 2 replicas all the time");
    Ok(())
}
