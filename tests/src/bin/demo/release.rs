//! A new version is a new decision; what was approved goes on until then. And a decision can be taken back.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;

use crate::stage::{CREDIT_SCORER, Stage, is_held, milliseconds};

/// How the second version's pods are told from the first's.
const V2_REVISION: &str = "--revision=fb7c492e8dd9b5fb3f2ebcac25aa5f7b2ca90449";

/// Rolled out before it is approved, it waits, and the old one goes on.
pub async fn a_new_version(stage: &Stage<'_>) -> Result<()> {
    stage.time.step(
        "A new version is a new decision",
        "credit-scorer was tuned again, and GitOps rolls it out before anybody has looked at it.",
    );
    let apply = "kubectl apply -f examples/credit-scorer/modelversion-v2.yaml";
    stage.does(&stage.gitops, "applies the new ModelVersion", apply).await?;
    let patch = "kubectl patch deployment credit-scorer -n lending --patch-file examples/credit-scorer/deployment-v2.patch.yaml";
    stage.does(&stage.gitops, "rolls it out, without waiting for anybody", patch).await?;
    let held = stage.settled(&CREDIT_SCORER, 3, 1);
    let what = "the new pod is held; the three of the approved version go on";
    stage.time.expect("kubernetes", what, held).await?;
    let approve = "kubectl assent approve credit-scorer --version credit-scorer-v2 -n lending --yes";
    stage.decides(&stage.alice, "approves v2 as risk officer", approve).await?;
    let bob = stage.decides(&stage.bob, "approves v2 for the ethics board", approve);
    let took = stage.release(&CREDIT_SCORER, bob).await?;
    stage.time.line("assent", &format!("the new pod was released {} after bob signed", milliseconds(took)));
    if stage.cluster.is_existing() {
        // Its nodes cannot make the pods ready, for which the rollout would wait.
        return Ok(());
    }
    let status = "kubectl rollout status deployment/credit-scorer -n lending --timeout=60s";
    let done = async {
        stage.run(&stage.dev, status, None).await?.ok()?;
        stage.settled(&CREDIT_SCORER, 3, 0).await?;
        let second = stage.pods.now(|pods| pods.values().filter(|pod| is_v2(pod)).count());
        ensure!(second == 3, "expected: 3 pods of v2\nseen: {second}");
        Ok(())
    };
    stage.time.expect("kubernetes", "the rollout went on by itself: three pods of v2 run", done).await
}

/// Taken back, it stops at once; the version before is approved still.
pub async fn a_revocation(stage: &Stage<'_>) -> Result<()> {
    stage.time.step(
        "An approval is taken back",
        "Whoever may approve may also revoke, and one is enough. Nobody has to find out where it runs.",
    );
    let pods: Vec<_> = stage.pods.now(|pods| {
        pods.values().filter(|pod| is_v2(pod)).filter_map(|pod| pod.metadata.name.clone()).collect()
    });
    let count = pods.len();
    ensure!(count > 0, "expected: pods of v2\nseen: none");
    let command = "kubectl assent revoke credit-scorer --version credit-scorer-v2 \
                   --reason 'Scores of the self-employed drift' -n lending --yes";
    let recorded = stage.next_decision();
    let gone = stage.gone(&CREDIT_SCORER, pods);
    let revoke = stage.decides(&stage.bob, "revokes v2 in production", command);
    let (_, recorded, gone) = tokio::try_join!(revoke, recorded, gone)?;
    let took = milliseconds(gone.saturating_duration_since(recorded));
    stage.time.line("assent", &format!("all {count} pods of v2 are gone, {took} after bob signed"));
    if !stage.cluster.is_existing() {
        let held = stage.settled(&CREDIT_SCORER, 0, 3);
        stage.time.expect("kubernetes", "their replacements are held", held).await?;
    }
    let undo = "kubectl rollout undo deployment/credit-scorer -n lending";
    stage.does(&stage.dev, "rolls back to v1", undo).await?;
    let back = stage.settled(&CREDIT_SCORER, 3, 0);
    stage.time.expect("kubernetes", "v1 runs at once: nobody took back its approvals", back).await.map(drop)
}

fn is_v2(pod: &Pod) -> bool {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    pod.metadata.deletion_timestamp.is_none()
        && !is_held(pod)
        && containers.into_iter().any(|c| c.args.iter().flatten().any(|arg| arg == V2_REVISION))
}
