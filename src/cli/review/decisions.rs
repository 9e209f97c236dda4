//! Shows the decisions so far, and the effect of the new decision. So a person learns before the signature whether the
//! new decision counts, and whether it clears the version.
//!
//! ```text
//!  Approvals on this digest ───────► DECISIONS so far
//!  Approvals on another digest ────► DECISIONS so far, as "no longer counts"
//!  OwnedJudgement before, after ───► IF YOU APPROVE
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::{Review, UNRECORDED};
use crate::{
    api::{Approval, Decision, ModelVersion, OnLossMode},
    cli::{
        connect::system_record::{OwnedJudgement, SystemRecord, recorded_at},
        error::verb,
        render::{
            page::{BAD, FAINT, GOOD, LOOK, PLAIN, Page},
            time,
        },
    },
    policy::{ApprovalEffect, Reason},
};

/// Shows each decision on this version, and whether it counts. Of the decisions that a later revocation voided, shows
/// only the number.
pub fn decisions(page: &mut Page, review: &Review<'_>) {
    page.heading("DECISIONS so far");
    let effects = review.before().effects;
    let current = review.record.decisions(review.version);
    let outdated = review.record.outdated(review.version);
    if current.is_empty() && outdated.is_empty() {
        page.mark("-", FAINT, "none");
    }
    let last_revoke = current.iter().rposition(|approval| approval.spec.decision == Decision::Revoke);
    let is_void = |i: usize, approval: &Approval| {
        let effect = approval.metadata.name.as_ref().and_then(|name| effects.get(name));
        let revoked = effect == Some(&ApprovalEffect::Revoked);
        revoked || (approval.spec.decision == Decision::Revoke && Some(i) != last_revoke)
    };
    let (void, rest): (Vec<_>, Vec<_>) = current.into_iter().enumerate().partition(|(i, a)| is_void(*i, a));
    if !void.is_empty() {
        page.mark("-", FAINT, &format!("{} that a later revocation voided", counted(void.len())));
    }
    for (_, approval) in rest {
        decision(page, review, approval, &effects);
    }
    for approval in outdated {
        let text = format!("{}: no longer counts, because the content changed", in_words(approval, review));
        page.mark("-", FAINT, &text);
    }
}

fn counted(decisions: usize) -> String {
    format!("{decisions} decision{}", if decisions == 1 { "" } else { "s" })
}

fn decision(
    page: &mut Page,
    review: &Review<'_>,
    approval: &Approval,
    effects: &BTreeMap<String, ApprovalEffect>,
) {
    let effect = approval.metadata.name.as_ref().and_then(|name| effects.get(name)).copied();
    let words = in_words(approval, review);
    match (effect, approval.spec.decision) {
        (Some(ApprovalEffect::Counted), Decision::Approve) => page.mark("✓", GOOD, &words),
        (Some(ApprovalEffect::Counted), _) => page.mark("✗", BAD, &words),
        (effect, _) => page.mark("-", FAINT, &format!("{words}: {}", why_not(effect))),
    }
}

/// A decision in one sentence: person, act, role, time, end and reason.
pub fn in_words(approval: &Approval, review: &Review<'_>) -> String {
    let spec = &approval.spec;
    let approver = review.record.approver(approval);
    let who = approver.as_ref().map_or("an unverified person", |a| &a.user);
    let when = recorded_at(approval).map(|at| time::in_words(at, review.now)).unwrap_or_default();
    let done = match spec.decision {
        Decision::Approve => "approved",
        Decision::Reject => "rejected",
        Decision::Revoke => "revoked",
        Decision::Attest => "attested",
        Decision::Resume => "resumed",
        Decision::Override => "granted an override of",
        Decision::Review => "reviewed",
    };
    let end = spec.not_after.as_ref().map(|end| format!(", until {}", time::in_words(end.0, review.now)));
    let reason = spec.reason.as_ref().map(|reason| format!(": “{reason}”"));
    format!("{who} {done} as {} {when}{}{}", spec.role, end.unwrap_or_default(), reason.unwrap_or_default())
}

const fn why_not(effect: Option<ApprovalEffect>) -> &'static str {
    match effect {
        Some(ApprovalEffect::Counted) => "counts",
        Some(ApprovalEffect::Superseded) => "superseded by a later decision of the same person",
        Some(ApprovalEffect::Revoked) => "voided by a revocation",
        Some(ApprovalEffect::Expired) => "has ended",
        Some(ApprovalEffect::ApproverIsOwner) => "does not count, because the approver owns the system",
        Some(ApprovalEffect::ApproverIsAuthor) => {
            "does not count, because the approver created the version or last changed the system"
        }
        Some(ApprovalEffect::RoleNotRequired) => {
            "does not count, because the risk level does not require this role"
        }
        None => "does not count",
    }
}

pub fn effect(page: &mut Page, review: &Review<'_>) {
    let (before, after) = (review.before(), review.after());
    page.heading(&format!("IF YOU {}", verb(review.decision).to_uppercase()));
    warn_if_not_counted(page, &after);
    if review.decision.withholds() {
        to_withhold(page, review, &before);
    } else {
        to_approve(page, review, &before, &after);
    }
}

fn warn_if_not_counted(page: &mut Page, after: &OwnedJudgement) {
    match after.effects.get(UNRECORDED) {
        Some(ApprovalEffect::ApproverIsOwner) => {
            page.mark(
                "✗",
                BAD,
                "your decision does not count: you own the system, and the risk level separates duties",
            );
        }
        Some(ApprovalEffect::ApproverIsAuthor) => {
            page.mark(
                "✗",
                BAD,
                "your decision does not count: you created this version or last changed the system, and the \
                 risk level separates duties",
            );
        }
        Some(ApprovalEffect::RoleNotRequired) => {
            page.mark("✗", BAD, "your decision does not count: the risk level does not require this role");
        }
        _ => {}
    }
}

fn to_approve(page: &mut Page, review: &Review<'_>, before: &OwnedJudgement, after: &OwnedJudgement) {
    let end = review.record.end(&review.statement());
    let holds = end.map_or("until it is withdrawn".to_owned(), |end| {
        format!("until {}", time::in_words(end, review.now))
    });
    page.mark("-", PLAIN, &format!("your approval holds {holds}"));
    if after.is_cleared() {
        let end = after
            .not_after
            .map_or("with no end".to_owned(), |end| format!("until {}", time::in_words(end, review.now)));
        let is_or_stays = if before.is_cleared() { "stays" } else { "is" };
        page.mark("✓", GOOD, &format!("it {is_or_stays} cleared to run {end}"));
        return;
    }
    if before.verdict == after.verdict {
        page.mark("!", LOOK, "your approval does not change the result");
    }
    page.mark("-", PLAIN, "it will not run yet:");
    for reason in after.reasons() {
        page.mark("  ✗", LOOK, &missing(reason));
    }
    let user = &review.approver.user;
    if let Some(text) = fills_one_role(review.record, review.version, after, user, Some(review.role)) {
        page.mark("!", LOOK, &text);
    }
}

/// Returns a warning if `user` approved in several required roles, because one person fills only one role. `role` is
/// the role of a decision that is not recorded yet. Returns `None` if the risk level does not separate duties, or if
/// the version is cleared anyway.
pub fn fills_one_role(
    record: &SystemRecord,
    version: &ModelVersion,
    judgement: &OwnedJudgement,
    user: &str,
    role: Option<&str>,
) -> Option<String> {
    let counts = |approval: &&Approval| {
        let effect = approval.metadata.name.as_ref().and_then(|name| judgement.effects.get(name));
        approval.spec.decision == Decision::Approve
            && effect == Some(&ApprovalEffect::Counted)
            && record.approver(approval).is_some_and(|approver| approver.user == user)
    };
    let decisions = record.decisions(version);
    let roles = decisions.into_iter().filter(counts).map(|approval| &*approval.spec.role);
    let roles: BTreeSet<&str> = roles.chain(role).filter(|role| record.roles().any(|r| r == *role)).collect();
    let roles = (record.separates_duties() && !judgement.is_cleared() && roles.len() > 1).then_some(roles)?;
    let roles = roles.into_iter().collect::<Vec<_>>().join(" and ");
    Some(format!(
        "{user} approved as {roles}, but one person fills one role: another person must approve in the other role"
    ))
}

fn to_withhold(page: &mut Page, review: &Review<'_>, before: &OwnedJudgement) {
    if before.is_cleared() {
        page.mark("!", BAD, &format!("it is cleared to run now: {}", effect_on_pods(review)));
    } else {
        page.mark("-", PLAIN, "it is not cleared to run now, and that does not change");
    }
    let later = match review.decision {
        Decision::Revoke => "it can run again after every role approves again",
        _ => "only you can lift your rejection: approve it in the same role",
    };
    page.mark("-", PLAIN, later);
}

/// The effect of a lost clearance on the pods of the system.
fn effect_on_pods(review: &Review<'_>) -> String {
    let pods = review.system.status.as_ref().and_then(|status| status.pods).unwrap_or_default();
    // The operator counts `wouldStop` only in namespaces that warn or audit.
    if pods.would_stop.is_some() {
        return "its pods still start and run, because its namespace does not enforce".to_owned();
    }
    let running =
        format!("no new pod of it will start, and its running pods ({} in this system)", pods.running);
    let on_loss = review.record.level.as_ref().map(|level| level.spec.on_loss.clone()).unwrap_or_default();
    match on_loss.mode {
        OnLossMode::Audit => {
            format!("{running} continue to run, because its risk level has onLoss.mode: Audit")
        }
        _ => format!("{running} stop within {}s", on_loss.grace_period_seconds),
    }
}

/// The reason why a version is withheld, in few words.
pub fn missing(reason: &Reason) -> String {
    match reason {
        Reason::AwaitingApproval { role, needed, have, owners, authors, in_several_roles }
            if owners.is_empty() && authors.is_empty() && in_several_roles.is_empty() =>
        {
            format!("still awaiting {role} ({})", needed - have)
        }
        Reason::ApprovalExpired { role, needed, have, .. } => {
            format!("still awaiting {role} ({}): the last approval has ended", needed - have)
        }
        other => other.to_string(),
    }
}
