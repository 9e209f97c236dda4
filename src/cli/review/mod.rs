//! The review that a person reads before a decision: everything that the signature covers or depends on.
//!
//! The order suits an approver who is responsible for the decision and does not read YAML. Objections and changes come
//! first. Without `--full`, the review lists the approvals that the risk level requires, but states only the number of
//! the controls and of most other requirements.
//!
//! ```text
//!  Review ─┬─ objections   rejections and revocations of this content, or of the most similar version
//!          ├─ changes      difference to the last approved version
//!          ├─ unpinned     content that can change after the signature
//!          ├─ system       purpose, owners, requirements of the risk level
//!          ├─ risks        risks and hosted models of the system
//!          ├─ runtime      containers and volumes, and their provenance
//!          ├─ evidence     results and the requirements of the risk level
//!          ├─ decisions    decisions so far, and the effect of this one
//!          └─ signature    the digest, and what it covers
//! ```

mod decisions;
pub(crate) mod evidence;
mod loads;
mod objections;
mod risks;
mod runtime;
mod system;
mod unpinned;
mod variables;
mod volume_sources;

use std::borrow::Cow;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::{
    api::{AISystem, Approver, Decision, Digest, ModelVersion},
    cli::{
        connect::system_record::{OwnedJudgement, SystemRecord, recorded_at},
        error::verb,
        render::{
            difference,
            page::{FAINT, LOOK, PLAIN, Page, STRONG},
            time::in_words,
        },
    },
    policy::RecordedDecision,
};

pub use decisions::{fills_one_role, missing};

/// The name of the decision under review, which has no `Approval` yet. No `Approval` can have this name, because names
/// of Kubernetes objects contain no spaces.
pub const UNRECORDED: &str = "this one";

/// The decision that a person is about to make.
#[derive(Clone, Debug)]
pub struct Review<'a> {
    pub record: &'a SystemRecord,
    pub system: &'a AISystem,
    pub version: &'a ModelVersion,
    /// The digest that this program computed from the objects.
    pub digest: &'a Digest,
    pub decision: Decision,
    pub role: &'a str,
    pub approver: &'a Approver,
    /// The value of `--until`.
    pub until: Option<Timestamp>,
    pub reason: Option<&'a str>,
    /// Whether to show all requirements, controls and fields, instead of only their number.
    pub full: bool,
    pub now: Timestamp,
}

impl<'a> Review<'a> {
    /// Returns the text of the review. The review of a rejection or a revocation is shorter than the review of an
    /// approval.
    pub fn render(&self) -> String {
        let mut page = Page::default();
        self.title(&mut page);
        objections::objections(&mut page, self);
        if self.decision == Decision::Approve {
            self.changes(&mut page);
            unpinned::attention(&mut page, self);
        }
        system::system(&mut page, self);
        if self.decision == Decision::Approve {
            risks::risks(&mut page, self);
            risks::hosted_models(&mut page, self);
        }
        if self.decision == Decision::Approve {
            if self.full {
                system::level(&mut page, self);
            }
            runtime::runtime(&mut page, &self.version.spec.runtime, self.full);
            runtime::provenance(&mut page, &self.version.spec.provenance, self.full);
        }
        evidence::evidence(&mut page, &self.record.facts(self.version).findings(self.now), self.now);
        if self.decision == Decision::Approve {
            evidence::expressions(&mut page, self.record, self.version);
        }
        decisions::decisions(&mut page, self);
        decisions::effect(&mut page, self);
        self.signature(&mut page);
        page.finish()
    }

    /// The new decision as if it were recorded now, for the policy core.
    pub fn statement(&self) -> RecordedDecision<'a> {
        RecordedDecision {
            name: UNRECORDED,
            approver: Cow::Borrowed(self.approver),
            version: self.version.metadata.name.as_deref().unwrap_or_default(),
            role: self.role,
            decision: self.decision,
            reason: self.reason,
            at: self.now,
            not_after: self.until,
        }
    }

    /// The judgement of the version without the new decision.
    pub fn before(&self) -> OwnedJudgement {
        self.record.rule(self.version, None, self.now)
    }

    /// The judgement of the version with the new decision.
    pub fn after(&self) -> OwnedJudgement {
        self.record.rule(self.version, Some(self.statement()), self.now)
    }

    fn title(&self, page: &mut Page) {
        let (version, system) = (self.version.name_any(), &self.record.name);
        let title = format!(
            "You are about to {} {version} of {system} in namespace {}",
            verb(self.decision),
            self.record.namespace
        );
        page.say(STRONG, &title);
        page.say(PLAIN, &format!("as {}, in role {}", self.approver.user, self.role));
    }

    fn changes(&self, page: &mut Page) {
        let Some((last, approval, same_system)) = self.record.last_approved(self.version) else {
            page.say(
                FAINT,
                "No other version of this system was ever approved, so there is none to compare with.",
            );
            return;
        };
        let approver = self.record.approver(approval);
        let who = approver.as_ref().map_or("an unknown person", |a| &a.user);
        let when = recorded_at(approval).map(|at| in_words(at, self.now)).unwrap_or_default();
        page.heading(&format!("CHANGES since {}, last approved by {who}, {when}", last.name_any()));
        let difference = difference::between_versions(last, self.version);
        if difference.is_empty() {
            page.mark("-", PLAIN, "runtime and provenance are the same");
        }
        page.difference(&difference);
        if !same_system {
            let text = "the system's purpose, risk level, jurisdictions, hosted models, risks or required documents changed since then; show the approved content:";
            page.mark("!", LOOK, text);
            let (digest, namespace) = (approval.spec.subject_digest.short(), &self.record.namespace);
            page.command(&format!("kubectl assent show {digest} -n {namespace}"));
        }
    }

    fn signature(&self, page: &mut Page) {
        page.heading("SIGNATURE");
        page.field("digest", &self.digest.to_string());
        if self.full || self.decision != Decision::Approve {
            self.covers(page);
        } else {
            page.prose(
                "covers",
                "purpose, level, documents, hosted models, runtime and provenance (all: --full)",
            );
        }
        if let Some(reason) = self.reason {
            page.prose("reason", reason);
        }
        // The section IF YOU APPROVE already shows the end of the approval, so only the full review repeats it.
        if let Some(until) = self.until.filter(|_| self.full) {
            page.field("until", &in_words(until, self.now));
        }
        if self.version.status.as_ref().is_none_or(|status| status.subject_digest.is_none()) {
            page.mark(
                "!",
                LOOK,
                "the operator has not read this version yet: only this program computed the digest",
            );
        }
        page.prose("final", "recorded under your name; nobody can edit or delete it");
    }

    fn covers(&self, page: &mut Page) {
        let covers = "namespace, system, purpose, the name of the risk level, jurisdictions, hosted models, \
                      the documents, risks and reviews that the level requires, runtime and provenance";
        let then = if self.decision.withholds() {
            "this decision holds for the version even if they change, and for the same content under any name"
        } else {
            "if one of them changes, this decision no longer counts"
        };
        page.prose("covers", &format!("{covers}: {then}"));
        if self.decision == Decision::Approve {
            page.prose(
                "does not cover",
                "owners, provider, suppliers, retirement dates, other documents, and other requirements of the risk level",
            );
        }
    }
}

#[cfg(test)]
mod tests;
