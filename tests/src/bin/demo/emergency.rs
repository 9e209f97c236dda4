//! Step: an override lets a version run for seconds without valid test results, and another person reviews the
//! override.

use anyhow::Result;

use crate::stage::{CARD_SCORER, Stage, ensure_contains, milliseconds};

/// The duration of the override.
const SECONDS: u64 = 6;

/// Lets the version of card-scorer run for some seconds with an override, because its test results are too old.
pub async fn override_and_review(stage: &Stage<'_>) -> Result<()> {
    stage.time.step(
        "An override in an emergency",
        "Governance allows few and short overrides. They waive named requirements of one version, and another person \
         must review each. A rejected, revoked or held version stays stopped.",
    );
    let ask = format!(
        "kubectl assent override card-scorer --waive assessment/fairness-sex,assessment/fairness-age --for {SECONDS}s \
         --reason 'The test lab is down, and customers wait' --name lab-down -n cards --yes"
    );
    let granted = stage.decide(&stage.alice, "waives the two results that are too old", &ask);
    let took = stage.time_release(&CARD_SCORER, granted).await?;
    stage.wait_for_pods(&CARD_SCORER, 1, 0).await?;
    stage.time.line("assent", &format!("releases the pod {} after alice's grant", milliseconds(took)));

    let running = stage.pod_names(&CARD_SCORER, false);
    let ended = async {
        stage.wait_until_gone(&CARD_SCORER, running).await?;
        stage.wait_for_pods(&CARD_SCORER, 0, 1).await
    };
    stage.time.expect("assent", "stops the pod at the end of the override", ended).await?;

    let due = r#"kubectl wait override/lab-down -n cards --for=jsonpath={.status.conditions[?(@.type=="Reviewed")].reason}=Due --timeout=30s"#;
    stage.run(&stage.admin, due, None).await?.ok()?;
    let status = "kubectl assent status card-scorer -n cards";
    stage.run_and_show(&stage.bob, "sees that the override asks for its review", status).await?;

    let review = "kubectl assent override review lab-down --outcome Justified \
                  --reason 'the results were six months old and good' -n cards --yes";
    let own = stage.run(&stage.alice, &format!("{review} --role ethics-board"), None).await?.denied()?;
    ensure_contains(&own, "requested or granted the override")?;
    stage.time.line("alice", "cannot review it, because she granted it");
    stage.decide(&stage.bob, "reviews it for the ethics board", review).await?;
    let show = "kubectl assent override list -n cards";
    stage.run_and_show(&stage.bob, "reads the overrides of the namespace", show).await
}
