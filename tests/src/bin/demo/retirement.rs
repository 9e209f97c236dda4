//! The end of a system is for good, and of the demo.

use anyhow::Result;
use assent::api::AISystem;
use assent_tests::Objects;
use k8s_openapi::jiff::{Timestamp, ToSpan as _};
use serde_json::json;

use crate::stage::{Attempt, CREDIT_SCORER, CV_SCREENER, SUPPORT_ASSISTANT, Stage, System, manifest, says};

/// The decisions, by when they were recorded.
const RECORD: &str = "kubectl get approvals -A --sort-by=.metadata.creationTimestamp -o custom-columns=\
WHEN:.metadata.creationTimestamp,WHO:.spec.approver.user,DECISION:.spec.decision,ROLE:.spec.role,VERSION:.spec.modelVersion,\
COUNTS:.status.conditions[?(@.type==\"Counted\")].reason";

/// Decommissioned, it stops, and nobody brings it back.
pub async fn a_system_is_retired(stage: &Stage<'_>) -> Result<()> {
    stage.time.step(
        "A system is retired, for good",
        "Nobody should be able to bring a retired system back by mistake, or in a hurry.",
    );
    let date = Timestamp::from_second((Timestamp::now() + 2.seconds()).as_second())?;
    let mut system = manifest("examples/oci-image-volume/aisystem.yaml")?;
    let end = json!({ "date": date, "reason": "Recruiters read every application themselves again." });
    system["spec"]["decommission"] = end.clone();
    let apply = stage.applies(&stage.dev, &system);
    stage.time.expect("dev", "sets the end of cv-screener, two seconds from now", apply).await?;
    stage.time.quote(&format!("decommission: {end}"));
    let retired = async {
        stage.settled(&CV_SCREENER, 0, 1).await?;
        let key = (CV_SCREENER.namespace.to_owned(), CV_SCREENER.name.to_owned());
        let probe = |systems: &Objects<AISystem>| {
            let status = systems.get(&key).and_then(|system| system.status.as_ref());
            let done = status.is_some_and(|status| status.decommissioned == Some(true));
            if done { Ok(()) } else { Err(format!("{status:?}")) }
        };
        stage.systems.until("cv-screener to be decommissioned", probe).await?;
        stage.withheld(&CV_SCREENER, "cv-screener-2026-10").await
    };
    let what = "stopped it when the time came; the replacement is held";
    let message = stage.time.expect("assent", what, retired).await?;
    says(&message, "decommissioned since")?;
    stage.time.quote(&message);
    let undo = r#"kubectl patch aisystem cv-screener -n recruiting --type=json -p '[{"op": "remove", "path": "/spec/decommission"}]'"#;
    let delete = "kubectl delete aisystem cv-screener -n recruiting";
    stage
        .refused(vec![
            Attempt::new(&stage.dev, "takes the end back", undo, "the system is decommissioned, for good"),
            Attempt::new(
                &stage.dev,
                "deletes the system, to create it anew",
                delete,
                "is decommissioned and stays as the record",
            ),
        ])
        .await?;
    let approve = "kubectl assent approve cv-screener --version cv-screener-2026-10 -n recruiting --yes";
    let outcome = stage.decides(&stage.alice, "approves it all the same", approve).await?;
    says(&outcome, "is not cleared")?;
    let held = stage.settled(&CV_SCREENER, 0, 1);
    stage.time.expect("kubernetes", "its pod stays held", held).await.map(drop)
}

/// What kubectl says about all of it.
pub async fn how_things_stand(stage: &Stage<'_>) -> Result<()> {
    stage.time.step(
        "How things stand",
        "Anybody can ask. Every decision above is in the record, with who, when and what.",
    );
    counted(stage, &CREDIT_SCORER, 3, 0).await?;
    counted(stage, &SUPPORT_ASSISTANT, 2, 0).await?;
    counted(stage, &CV_SCREENER, 0, 1).await?;
    for command in ["kubectl assent status -A", "kubectl get aisystems -A", RECORD] {
        let said = stage.run(&stage.alice, command, None).await?.ok()?;
        let shown = command
            .split_once("custom-columns=")
            .map_or(command.to_owned(), |(before, _)| format!("{before}custom-columns=…"));
        stage.time.note(&format!("$ {shown}"));
        stage.time.table(&said);
        stage.time.note("");
    }
    stage.time.line("demo", "everything above happened as it says");
    if stage.cluster.is_existing() {
        stage.time.note(
            "To remove it from this cluster: kubectl delete namespace lending recruiting customer-service \
             flux-system probe; kubectl delete clusterrolebinding gitops; helm uninstall assent -n assent-system",
        );
    }
    Ok(())
}

/// Waits until the status counts what runs.
async fn counted(stage: &Stage<'_>, system: &System, running: u32, held: u32) -> Result<()> {
    let key = (system.namespace.to_owned(), system.name.to_owned());
    let probe = |systems: &Objects<AISystem>| {
        let status = systems.get(&key).and_then(|system| system.status.as_ref());
        let pods = status.and_then(|status| status.pods);
        let right = pods.is_some_and(|pods| (pods.running, pods.held) == (running, held));
        if right { Ok(()) } else { Err(format!("{pods:?}")) }
    };
    let what = format!("{} to count {running} running and {held} held pods", system.name);
    stage.systems.until(&what, probe).await.map(drop)
}
