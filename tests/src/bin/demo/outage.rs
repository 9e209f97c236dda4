//! An operator that is down must neither let in what is not approved nor keep out what is.

use std::time::Duration;

use anyhow::{Result, ensure};
use assent::api::RELEASED_ANNOTATION;
use assent_tests::{NAMESPACE, Person, until};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::{Api, ResourceExt as _};

use crate::stage::{Attempt, CREDIT_SCORER, SUPPORT_ASSISTANT, Stage, lift_gate};

/// How long a lease may take to be taken over.
const PATIENCE: Duration = Duration::from_mins(1);

/// The API server decides alone, and the operator takes up its work when it is back.
pub async fn the_operator_is_killed(stage: &Stage<'_>) -> Result<()> {
    stage.time.step(
        "The operator is killed",
        "An admission webhook that is down either blocks everything or lets everything in. Assent has none: the API \
         server itself reads what is cleared.",
    );
    let operator = stage.assent.operator();
    operator.kill();
    ensure!(!operator.is_running(), "expected: the operator to be dead\nseen: it runs");
    stage.time.line("admin", "kills the operator (SIGKILL)");
    let scale = "kubectl scale deployment credit-scorer --replicas=3 -n lending";
    stage.does(&stage.dev, "scales credit-scorer, which is approved, to 3", scale).await?;
    let running = async {
        stage.settled(&CREDIT_SCORER, 3, 0).await?;
        let names = stage.names(&CREDIT_SCORER, false);
        let never_held = stage.pods.now(|pods| {
            let keys = names.iter().map(|name| (CREDIT_SCORER.namespace.to_owned(), name.clone()));
            let alive = keys.filter_map(|key| pods.get(&key));
            alive.filter(|pod| !pod.annotations().contains_key(RELEASED_ANNOTATION)).count()
        });
        ensure!(never_held == 1, "expected: a pod that was never held\nseen: {never_held}");
        Ok(())
    };
    let what = "the third pod runs; nobody had to release it, because it never was held";
    stage.time.expect("kubernetes", what, running).await?;
    let scale = "kubectl scale deployment support-assistant-predictor --replicas=2 -n customer-service";
    stage.does(&stage.dev, "scales support-assistant, which is not approved, to 2", scale).await?;
    let held = stage.settled(&SUPPORT_ASSISTANT, 0, 2);
    stage.time.expect("kubernetes", "the second pod is held like the first", held).await?;
    let pod = stage.name(&SUPPORT_ASSISTANT, true)?;
    let lift = lift_gate(SUPPORT_ASSISTANT.namespace, &pod);
    let title = "removes the gate while nobody looks";
    let because = "only Assent lifts the gate";
    stage.refused(vec![Attempt::new(&stage.dev, title, lift, because)]).await?;
    let back = async {
        operator.restart()?;
        leads(stage).await
    };
    stage.time.expect("admin", "starts the operator again; it has its Lease", back).await
}

async fn leads(stage: &Stage<'_>) -> Result<()> {
    let since = Timestamp::now();
    let leases: Api<Lease> = Api::namespaced(stage.cluster.client(Person::Admin)?, NAMESPACE);
    until(PATIENCE, "the operator to renew its Lease", async || {
        let renewed = leases.get("assent").await?.spec.and_then(|spec| spec.renew_time);
        Ok(renewed.filter(|renewed| renewed.0 > since).map(drop))
    })
    .await
}
