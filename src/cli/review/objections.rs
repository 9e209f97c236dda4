//! Shows the rejections and revocations of this content under any name. If there are none, an approver sees the most
//! similar version that was rejected or revoked.
//!
//! ```text
//!  OwnedJudgement before ── Rejected, Revoked ────► OBJECTIONS: the decision, and the name of the decided version
//!  rejected and revoked versions ── similarity ──► NEAREST: the decision, and the difference to this version
//! ```

use kube::ResourceExt;

use super::{Review, decisions::in_words};
use crate::{
    api::{Approval, Decision, ModelVersion},
    cli::render::{
        difference,
        page::{BAD, FAINT, LOOK, Page},
    },
    policy::Reason,
};

pub fn objections(page: &mut Page, review: &Review<'_>) {
    let before = review.before();
    let objections: Vec<_> = before
        .reasons()
        .iter()
        .filter(|reason| matches!(reason, Reason::Rejected { .. } | Reason::Revoked { .. }))
        .collect();
    if !objections.is_empty() {
        page.heading("OBJECTIONS to this content");
        for reason in &objections {
            page.mark("✗", BAD, &reason.to_string());
        }
        return;
    }
    if review.decision != Decision::Approve {
        return;
    }
    let Some((version, approval)) = nearest(review) else { return };
    page.heading(&format!("NEAREST to {}, which was {}", version.name_any(), past_tense(approval)));
    page.mark("!", LOOK, &in_words(approval, review));
    let difference = difference::between_versions(version, review.version);
    if difference.is_empty() {
        page.mark("-", FAINT, "runtime and provenance are the same; the system has changed since");
    }
    page.difference(&difference);
}

const fn past_tense(approval: &Approval) -> &'static str {
    match approval.spec.decision {
        Decision::Revoke => "revoked",
        _ => "rejected",
    }
}

/// The rejected or revoked version with the most similar runtime, and the last decision against this version.
fn nearest<'a>(review: &'a Review<'_>) -> Option<(&'a ModelVersion, &'a Approval)> {
    let name = review.version.name_any();
    let others = review.record.versions.iter().filter(|version| version.name_any() != name);
    let objected = others.filter_map(|version| {
        let judgement = review.record.rule(version, None, review.now);
        let withheld =
            judgement.reasons().iter().any(|r| matches!(r, Reason::Rejected { .. } | Reason::Revoked { .. }));
        let decisions = review.record.decisions(version);
        let objection = decisions.into_iter().rev().find(|a| a.spec.decision.withholds())?;
        withheld.then_some((version, objection))
    });
    let likeness =
        |version: &ModelVersion| difference::likeness(&version.spec.runtime, &review.version.spec.runtime);
    objected.max_by(|(a, _), (b, _)| likeness(a).total_cmp(&likeness(b)))
}
