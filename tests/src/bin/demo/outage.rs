//! Step: while the operator is down, approved pods still start and unapproved pods are still held.

use std::time::Duration;

use anyhow::{Result, ensure};
use assent::api::RELEASED_ANNOTATION;
use assent_tests::{NAMESPACE, Person, until};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::{Api, ResourceExt as _};

use crate::stage::{Attempt, CREDIT_SCORER, SUPPORT_ASSISTANT, Stage, remove_gate};

/// The longest time until the restarted operator has renewed its Lease.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Kills the operator, scales an approved and an unapproved workload, and starts the operator again.
pub async fn operator_down(stage: &Stage<'_>) -> Result<()> {
    stage.time.step(
        "The operator is killed",
        "An admission webhook that is down blocks every pod or admits every pod. Assent has no webhook: the API \
         server itself compares each new pod with the approved versions.",
    );
    let operator = stage.assent.operator();
    operator.kill();
    ensure!(!operator.is_running(), "expected: the operator to be dead\nseen: it runs");
    stage.time.line("admin", "kills the operator (SIGKILL)");
    let scale = "kubectl scale deployment credit-scorer --replicas=3 -n lending";
    stage.run_and_show(&stage.dev, "scales credit-scorer to 3 pods; it is approved", scale).await?;
    let running = async {
        stage.wait_for_pods(&CREDIT_SCORER, 3, 0).await?;
        let names = stage.pod_names(&CREDIT_SCORER, false);
        let never_held = stage.pods.now(|pods| {
            let keys = names.iter().map(|name| (CREDIT_SCORER.namespace.to_owned(), name.clone()));
            let alive = keys.filter_map(|key| pods.get(&key));
            alive.filter(|pod| !pod.annotations().contains_key(RELEASED_ANNOTATION)).count()
        });
        ensure!(never_held == 1, "expected: a pod that was never held\nseen: {never_held}");
        Ok(())
    };
    let what = "the third pod runs; the API server admitted it without a gate";
    stage.time.expect("kubernetes", what, running).await?;
    let scale = "kubectl scale deployment support-assistant-predictor --replicas=2 -n customer-service";
    stage.run_and_show(&stage.dev, "scales support-assistant to 2 pods; it is not approved", scale).await?;
    let held = stage.wait_for_pods(&SUPPORT_ASSISTANT, 0, 2);
    stage.time.expect("kubernetes", "the second pod is held, as the first is", held).await?;
    let pod = stage.pod_name(&SUPPORT_ASSISTANT, true)?;
    let lift = remove_gate(SUPPORT_ASSISTANT.namespace, &pod);
    let title = "removes the gate while the operator is down";
    let because = "only Assent lifts the gate";
    stage.expect_refusals(vec![Attempt::new(&stage.dev, title, lift, because)]).await?;
    let back = async {
        operator.restart()?;
        wait_for_lease(stage).await
    };
    stage.time.expect("admin", "starts the operator again, and it renews its Lease", back).await
}

async fn wait_for_lease(stage: &Stage<'_>) -> Result<()> {
    let since = Timestamp::now();
    let leases: Api<Lease> = Api::namespaced(stage.cluster.client(Person::Admin)?, NAMESPACE);
    until(TIMEOUT, "the operator to renew its Lease", async || {
        let renewed = leases.get("assent").await?.spec.and_then(|spec| spec.renew_time);
        Ok(renewed.filter(|renewed| renewed.0 > since).map(drop))
    })
    .await
}
