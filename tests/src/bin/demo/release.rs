//! Steps: a new version needs a new approval, and an approval can be revoked.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;

use crate::stage::{CREDIT_SCORER, Stage, is_held, milliseconds};

/// The argument that only pods of the second version have.
const V2_REVISION: &str = "--revision=fb7c492e8dd9b5fb3f2ebcac25aa5f7b2ca90449";

/// Rolls out a second version. The new pod is held until two people approve, and the first version runs until then.
pub async fn new_version(stage: &Stage<'_>) -> Result<()> {
    stage.time.step(
        "A new version needs a new approval",
        "credit-scorer was tuned again. GitOps rolls out the new version before anybody has reviewed it.",
    );
    let apply = "kubectl apply -f examples/credit-scorer/modelversion-v2.yaml";
    stage.run_and_show(&stage.gitops, "applies the new ModelVersion", apply).await?;
    let patch = "kubectl patch deployment credit-scorer -n lending --patch-file examples/credit-scorer/deployment-v2.patch.yaml";
    stage.run_and_show(&stage.gitops, "rolls it out without an approval", patch).await?;
    let held = stage.wait_for_pods(&CREDIT_SCORER, 3, 1);
    let what = "the new pod is held; the three pods of the approved version still run";
    stage.time.expect("kubernetes", what, held).await?;
    let approve = "kubectl assent approve credit-scorer --version credit-scorer-v2 -n lending --yes";
    stage.decide(&stage.alice, "approves v2 as risk officer", approve).await?;
    let bob = stage.decide(&stage.bob, "approves v2 for the ethics board", approve);
    let took = stage.time_release(&CREDIT_SCORER, bob).await?;
    stage.time.line("assent", &format!("releases the new pod {} after bob's approval", milliseconds(took)));
    if stage.cluster.is_existing() {
        // On an existing cluster, the rollout does not finish: the images of the examples do not exist, so no pod
        // becomes ready.
        return Ok(());
    }
    let status = "kubectl rollout status deployment/credit-scorer -n lending --timeout=60s";
    let done = async {
        stage.run(&stage.dev, status, None).await?.ok()?;
        stage.wait_for_pods(&CREDIT_SCORER, 3, 0).await?;
        let second = stage.pods.now(|pods| pods.values().filter(|pod| is_v2(pod)).count());
        ensure!(second == 3, "expected: 3 pods of v2\nseen: {second}");
        Ok(())
    };
    stage.time.expect("kubernetes", "the rollout continues by itself: three pods of v2 run", done).await
}

/// Revokes the second version. The pods of this version stop, and the first version is still approved.
pub async fn revoke(stage: &Stage<'_>) -> Result<()> {
    stage.time.step(
        "An approval is revoked",
        "Each person who may approve may also revoke, and one person is enough. Nobody needs to know where the \
         version runs.",
    );
    let pods: Vec<_> = stage.pods.now(|pods| {
        pods.values().filter(|pod| is_v2(pod)).filter_map(|pod| pod.metadata.name.clone()).collect()
    });
    let count = pods.len();
    ensure!(count > 0, "expected: pods of v2\nseen: none");
    let command = "kubectl assent revoke credit-scorer --version credit-scorer-v2 \
                   --reason 'Scores of the self-employed drift' -n lending --yes";
    let recorded = stage.next_decision();
    let gone = stage.wait_until_gone(&CREDIT_SCORER, pods);
    let revoke = stage.decide(&stage.bob, "revokes v2 in production", command);
    let (_, recorded, gone) = tokio::try_join!(revoke, recorded, gone)?;
    let took = milliseconds(gone.saturating_duration_since(recorded));
    stage
        .time
        .line("assent", &format!("stops all {count} pods of v2; they are gone {took} after bob's decision"));
    if !stage.cluster.is_existing() {
        let held = stage.wait_for_pods(&CREDIT_SCORER, 0, 3);
        stage.time.expect("kubernetes", "the replacement pods are held", held).await?;
    }
    let undo = "kubectl rollout undo deployment/credit-scorer -n lending";
    stage.run_and_show(&stage.dev, "rolls back to v1", undo).await?;
    let back = stage.wait_for_pods(&CREDIT_SCORER, 3, 0);
    stage
        .time
        .expect("kubernetes", "v1 runs at once, because its approvals are still valid", back)
        .await
        .map(drop)
}

fn is_v2(pod: &Pod) -> bool {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    pod.metadata.deletion_timestamp.is_none()
        && !is_held(pod)
        && containers.into_iter().any(|c| c.args.iter().flatten().any(|arg| arg == V2_REVISION))
}
