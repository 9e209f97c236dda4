//! Steps: dev retires a system permanently, and the demo prints the final state.

use anyhow::Result;
use assent::api::AISystem;
use assent_tests::Objects;
use k8s_openapi::jiff::{Timestamp, ToSpan as _};
use serde_json::json;

use crate::stage::{
    Attempt, CREDIT_SCORER, CV_SCREENER, SUPPORT_ASSISTANT, Stage, System, ensure_contains, manifest,
};

/// The command that lists all decisions in the order in which they were recorded.
const RECORD: &str = "kubectl get approvals -A --sort-by=.metadata.creationTimestamp -o custom-columns=\
WHEN:.metadata.creationTimestamp,WHO:.spec.approver.user,DECISION:.spec.decision,ROLE:.spec.role,VERSION:.spec.modelVersion,\
COUNTS:.status.conditions[?(@.type==\"Counted\")].reason";

/// Decommissions cv-screener. The pod of cv-screener stops, and no attempt to restore the system succeeds.
pub async fn retire(stage: &Stage<'_>) -> Result<()> {
    stage.time.step(
        "A system is retired permanently",
        "Nobody can bring a retired system back, neither by mistake nor in a hurry.",
    );
    let date = Timestamp::from_second((Timestamp::now() + 2.seconds()).as_second())?;
    let mut system = manifest("examples/oci-image-volume/aisystem.yaml")?;
    let end = json!({ "date": date, "reason": "Recruiters read every application themselves again." });
    system["spec"]["decommission"] = end.clone();
    let apply = stage.apply(&stage.dev, &system);
    stage
        .time
        .expect("dev", "sets the decommission date of cv-screener, two seconds from now", apply)
        .await?;
    stage.time.quote(&format!("decommission: {end}"));
    let retired = async {
        stage.wait_for_pods(&CV_SCREENER, 0, 1).await?;
        let key = (CV_SCREENER.namespace.to_owned(), CV_SCREENER.name.to_owned());
        let probe = |systems: &Objects<AISystem>| {
            let status = systems.get(&key).and_then(|system| system.status.as_ref());
            let done = status.is_some_and(|status| status.decommissioned == Some(true));
            if done { Ok(()) } else { Err(format!("{status:?}")) }
        };
        stage.systems.until("cv-screener to be decommissioned", probe).await?;
        stage.wait_until_withheld(&CV_SCREENER, "cv-screener-2026-10", "decommissioned since").await
    };
    let what = "stops the pod at that date; the replacement is held";
    let message = stage.time.expect("assent", what, retired).await?;
    stage.time.quote(&message);
    let undo = r#"kubectl patch aisystem cv-screener -n recruiting --type=json -p '[{"op": "remove", "path": "/spec/decommission"}]'"#;
    let delete = "kubectl delete aisystem cv-screener -n recruiting";
    stage
        .expect_refusals(vec![
            Attempt::new(
                &stage.dev,
                "removes the decommission date",
                undo,
                "the system is decommissioned, and this is final",
            ),
            Attempt::new(
                &stage.dev,
                "deletes the system, to create it again",
                delete,
                "is decommissioned and cannot be deleted",
            ),
        ])
        .await?;
    let approve = "kubectl assent approve cv-screener --version cv-screener-2026-10 -n recruiting --yes";
    let outcome = stage.decide(&stage.alice, "approves it anyway", approve).await?;
    ensure_contains(&outcome, "is not cleared")?;
    let held = stage.wait_for_pods(&CV_SCREENER, 0, 1);
    stage.time.expect("kubernetes", "the pod is still held", held).await.map(drop)
}

/// Prints the state of all systems, and the record of all decisions.
pub async fn final_state(stage: &Stage<'_>) -> Result<()> {
    stage.time.step(
        "The final state",
        "Three commands show the result. The record contains every decision above: who decided what, and when.",
    );
    counted(stage, &CREDIT_SCORER, 3, 0).await?;
    counted(stage, &SUPPORT_ASSISTANT, 2, 0).await?;
    counted(stage, &CV_SCREENER, 0, 1).await?;
    for command in ["kubectl assent status -A", "kubectl get aisystems -A", RECORD] {
        let output = stage.run(&stage.alice, command, None).await?.ok()?;
        let shown = command
            .split_once("custom-columns=")
            .map_or(command.to_owned(), |(before, _)| format!("{before}custom-columns=…"));
        stage.time.note(&format!("$ {shown}"));
        stage.time.table(&output);
        stage.time.note("");
    }
    stage.time.line("demo", "all steps passed: every result above was checked");
    if stage.cluster.is_existing() {
        stage.time.note(
            "Remove the demo from this cluster: kubectl delete namespace lending recruiting customer-service \
             cards flux-system probe; kubectl delete clusterrolebinding kustomize-controller; helm uninstall assent -n assent-system",
        );
    }
    Ok(())
}

/// Waits until the status of a system counts exactly `running` running pods and `held` held pods.
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
