//! Step: an incident holds a system, and two people resume the system after dev noted the root cause.

use anyhow::Result;

use crate::stage::{CREDIT_SCORER, Stage, ensure_contains, milliseconds};

/// Holds the first version, writes the required notes, and resumes the version.
pub async fn hold_and_resume(stage: &Stage<'_>) -> Result<()> {
    stage.time.step(
        "An incident holds the system",
        "A person on call stops a system at once. Only people let it run again, after they noted the root cause, an \
         action and a verification. At least one of them must be independent of the incident.",
    );
    let running = stage.pod_names(&CREDIT_SCORER, false);
    let pause = "kubectl assent pause credit-scorer --version credit-scorer-v1 --name applicants-over-60 \
                 --reason 'Applicants over 60 are refused twice as often' --criterion FundamentalRights -n lending --yes";
    stage.decide(&stage.dev, "is on call and holds v1", pause).await?;
    let stopped = async {
        let held = "held by incident/applicants-over-60 of dev";
        stage.wait_until_withheld(&CREDIT_SCORER, "credit-scorer-v1", held).await?;
        stage.wait_until_gone(&CREDIT_SCORER, running).await?;
        stage.wait_for_pods(&CREDIT_SCORER, 0, 3).await
    };
    stage.time.expect("assent", "stops its pods, although all approvals are valid", stopped).await?;

    let resume = "kubectl assent resume credit-scorer -n lending --yes";
    let early = stage.run(&stage.alice, resume, None).await?.denied()?;
    ensure_contains(&early, "nobody can resume yet")?;
    stage.time.line("alice", "cannot resume it yet, because nobody noted the root cause");
    for (type_, text) in [
        ("root-cause", "the training data of March lacks applicants over 60"),
        ("action", "the scores of applicants over 60 are reviewed by hand"),
        ("verification", "of 200 reviewed scores, none differed by age"),
    ] {
        let note = format!(
            "kubectl assent incident note applicants-over-60 --type {type_} --text '{text}' -n lending"
        );
        stage.run(&stage.dev, &note, None).await?.ok()?;
    }
    stage.time.line("dev", "notes the root cause, an action and a verification");
    let first = stage.decide(&stage.alice, "signs as risk officer; one person is not enough", resume).await?;
    ensure_contains(&first, "ethics-board: 0 of 1")?;
    let second = stage.decide(&stage.bob, "signs for the ethics board", resume);
    let took = stage.time_release(&CREDIT_SCORER, second).await?;
    stage.wait_for_pods(&CREDIT_SCORER, 3, 0).await?;
    stage.time.line("assent", &format!("releases the pods {} after bob's signature", milliseconds(took)));
    let show = "kubectl assent incident show applicants-over-60 -n lending";
    stage.run_and_show(&stage.alice, "reads the incident, with the deadline of the EU AI Act", show).await
}
