//! Step: three AI systems are deployed, and every pod is held.

use anyhow::Result;
use futures::{StreamExt as _, stream};
use tokio::try_join;

use crate::stage::{CONCURRENCY, CREDIT_SCORER, CV_SCREENER, SUPPORT_ASSISTANT, Stage, System};

/// Applies three examples as the GitOps controller, and waits until all their pods are held.
pub async fn deploy_three_systems(stage: &Stage<'_>) -> Result<()> {
    stage.time.step(
        "Deploy three AI systems without an approval",
        "Each example has a namespace, an AISystem (its purpose, owners and risk level), a ModelVersion (what \
         exactly runs, and where it comes from) and an ordinary Deployment.",
    );
    let systems = [&CREDIT_SCORER, &CV_SCREENER, &SUPPORT_ASSISTANT];
    let mut applied = stream::iter(systems).map(|system| deploy(stage, system)).buffered(CONCURRENCY);
    while let Some(applied) = applied.next().await {
        let (system, command, output) = applied?;
        stage.time.line(stage.gitops.name, &format!("applies {}", system.name));
        stage.time.quote(&format!("$ {command}\n{output}"));
    }
    let held = async {
        try_join!(
            stage.wait_for_pods(&CREDIT_SCORER, 0, 2),
            stage.wait_for_pods(&CV_SCREENER, 0, 1),
            stage.wait_for_pods(&SUPPORT_ASSISTANT, 0, 1)
        )
    };
    let what = "the API server adds a scheduling gate to every pod: 4 pods are held, and none is on a node";
    stage.time.expect("kubernetes", what, held).await?;
    let get = format!("kubectl get pods -n {}", CREDIT_SCORER.namespace);
    stage.time.table(&stage.run(&stage.dev, &get, None).await?.ok()?);
    Ok(())
}

/// Applies a system, and makes dev the administrator of its namespace. Returns the command and its output.
async fn deploy<'a>(stage: &Stage<'_>, system: &'a System) -> Result<(&'a System, String, String)> {
    let apply = format!("kubectl apply -k {}", system.example);
    let output = stage.run(&stage.gitops, &apply, None).await?.ok()?;
    let bind = format!(
        "kubectl create rolebinding dev --clusterrole=cluster-admin --user=dev -n {}",
        system.namespace
    );
    stage.run(&stage.admin, &bind, None).await?.ok()?;
    Ok((system, apply, output))
}
