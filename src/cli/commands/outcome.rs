//! Prints the effect of a decision: the end of the clearance, or the reasons why the version is not cleared.
//!
//! The module `policy` computes this effect. The command then waits a few seconds for the operator to come to the same
//! result.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::{Api, ResourceExt, runtime::wait::await_condition};

use crate::{
    api::{Approval, Decision, ModelVersion},
    cli::{
        connect::session::Session,
        connect::system_record::{OwnedJudgement, SystemRecord},
        error::Result,
        render::{
            page::{BAD, GOOD, LOOK, PLAIN, Page},
            time::in_words,
        },
        review::{fills_one_role, missing},
    },
};

/// The longest time that a command waits until the operator updates a status. The operator normally needs less than a
/// second.
pub const STATUS_TIMEOUT: Duration = Duration::from_secs(5);

/// Judges the version as if the record `before` contained `approval`, and prints the result. First waits until the
/// operator has come to the same result, but at most [`STATUS_TIMEOUT`].
pub async fn report(session: &Session, approval: &Approval, before: &SystemRecord) -> Result<()> {
    let mut record = before.clone();
    record.add_decision(approval.clone());
    let Some(version) = record.version(&approval.spec.model_version) else {
        anstream::println!("Recorded: approval/{}", approval.name_any());
        return Ok(());
    };
    let now =
        Timestamp::now().max(crate::cli::connect::system_record::recorded_at(approval).unwrap_or_default());
    let judgement = record.rule(version, None, now);
    let confirmed = agrees(session, version, approval, judgement.is_cleared()).await;
    anstream::print!("\n{}", render(&record, approval, &judgement, (confirmed, &session.flags), now));
    Ok(())
}

/// Waits until the condition `Cleared` of the version equals `cleared`. After an approval that clears the version, also
/// waits until the status lists this approval. Returns `false` after a timeout or an error.
async fn agrees(session: &Session, version: &ModelVersion, approval: &Approval, cleared: bool) -> bool {
    let versions = Api::<ModelVersion>::namespaced(session.client.clone(), &session.namespace);
    let name = approval.name_any();
    let counts = approval.spec.decision == Decision::Approve && cleared;
    let has_judgement = move |version: Option<&ModelVersion>| {
        let status = version.and_then(|version| version.status.as_ref());
        status.is_some_and(|status| {
            let wanted = if cleared { "True" } else { "False" };
            status.conditions.iter().any(|c| c.type_ == "Cleared" && c.status == wanted)
                && (!counts || status.approvals.iter().any(|a| a.name == name))
        })
    };
    let name = version.name_any();
    matches!(
        tokio::time::timeout(STATUS_TIMEOUT, await_condition(versions, &name, has_judgement)).await,
        Ok(Ok(_))
    )
}

fn render(
    record: &SystemRecord,
    approval: &Approval,
    judgement: &OwnedJudgement,
    (confirmed, flags): (bool, &str),
    now: Timestamp,
) -> String {
    let spec = &approval.spec;
    let mut page = Page::default();
    let who = spec.approver.as_ref().map_or("an unknown person", |a| &a.user);
    page.say(PLAIN, &format!("Recorded: approval/{} by {who} as {}", approval.name_any(), spec.role));
    let subject = format!("{} of {}", spec.model_version, spec.system);
    if judgement.is_cleared() {
        let until = judgement
            .not_after
            .map_or("with no end".to_owned(), |end| format!("until {}", in_words(end, now)));
        let (mark, style, will) = if confirmed { ("✓", GOOD, "is") } else { ("…", LOOK, "will be") };
        page.mark(mark, style, &format!("{subject} {will} cleared {until}"));
        for waived in &judgement.waived {
            page.mark("!", LOOK, &format!("override/{} waives: {}", waived.by, waived.reason));
        }
    } else {
        let style = if spec.decision.withholds() { BAD } else { LOOK };
        for reason in judgement.reasons() {
            page.mark("✗", style, &format!("{subject} is not cleared: {}", missing(reason)));
            page.step("  →", PLAIN, &reason.remedy(&record.namespace, &spec.system, &spec.model_version));
        }
        let version = record.version(&spec.model_version);
        if let Some(text) = version.and_then(|version| fills_one_role(record, version, judgement, who, None))
        {
            page.mark("!", LOOK, &text);
        }
    }
    if !confirmed {
        let text = "the operator has not acted on it yet; nothing starts or stops until it does. See:";
        page.mark("!", LOOK, text);
        page.command(&format!("kubectl assent status {} -n {}{flags}", spec.system, record.namespace));
    }
    page.finish()
}
