//! Whoever applies an AI workload, it does not run by that.

use anyhow::Result;
use futures::{StreamExt as _, stream};
use tokio::try_join;

use crate::stage::{AT_ONCE, CREDIT_SCORER, CV_SCREENER, SUPPORT_ASSISTANT, Stage, System};

/// They are applied from Git; every pod is held.
pub async fn three_systems_arrive(stage: &Stage<'_>) -> Result<()> {
    stage.time.step(
        "Three AI systems arrive, and none of them may run",
        "Each example is a namespace, an AISystem (what for, whose, how risky), a ModelVersion (exactly what \
         runs, and where it comes from) and an ordinary Deployment.",
    );
    let systems = [&CREDIT_SCORER, &CV_SCREENER, &SUPPORT_ASSISTANT];
    let mut applied = stream::iter(systems).map(|system| arrives(stage, system)).buffered(AT_ONCE);
    while let Some(applied) = applied.next().await {
        let (system, command, said) = applied?;
        stage.time.line(stage.gitops.name, &format!("applies {}", system.name));
        stage.time.quote(&format!("$ {command}\n{said}"));
    }
    let held = async {
        try_join!(
            stage.settled(&CREDIT_SCORER, 0, 2),
            stage.settled(&CV_SCREENER, 0, 1),
            stage.settled(&SUPPORT_ASSISTANT, 0, 1)
        )
    };
    let what = "the API server gave every pod a scheduling gate: 4 held, none on a node";
    stage.time.expect("kubernetes", what, held).await?;
    let get = format!("kubectl get pods -n {}", CREDIT_SCORER.namespace);
    stage.time.table(&stage.run(&stage.dev, &get, None).await?.ok()?);
    Ok(())
}

/// Has a system applied, and dev made the administrator of its namespace; the command and what it said.
async fn arrives<'a>(stage: &Stage<'_>, system: &'a System) -> Result<(&'a System, String, String)> {
    let apply = format!("kubectl apply -k {}", system.example);
    let said = stage.run(&stage.gitops, &apply, None).await?.ok()?;
    let bind = format!(
        "kubectl create rolebinding dev --clusterrole=cluster-admin --user=dev -n {}",
        system.namespace
    );
    stage.run(&stage.admin, &bind, None).await?.ok()?;
    Ok((system, apply, said))
}
