//! The review: everything that a signature covers and everything that it depends on, in the order in
//! which somebody decides who answers for it and does not read YAML. What is new comes first. What is the same for
//! every system of a level is counted, and shown with `--full`.
//!
//! ```text
//!  Review ─┬─ objections   who rejected or revoked this content, or the one nearest to it
//!          ├─ difference   what changed since the last approved version
//!          ├─ attention    what the signature does not pin
//!          ├─ system       what it is for, whose it is, what its level asks for
//!          ├─ runtime      what will run, and where it comes from
//!          ├─ decisions    who decided what, and what this decision changes
//!          └─ digest       what is signed
//! ```

mod decisions;
mod loads;
mod objections;
mod runtime;
mod system;
mod unpinned;

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

/// How the statement is called that is not recorded yet; no object can be called that.
pub const UNRECORDED: &str = "this one";

/// A decision that is about to be made.
#[derive(Clone, Debug)]
pub struct Review<'a> {
    /// What is written about the system.
    pub record: &'a SystemRecord,
    /// The system.
    pub system: &'a AISystem,
    /// The version that is decided about.
    pub version: &'a ModelVersion,
    /// The digest, recomputed.
    pub digest: &'a Digest,
    /// What is decided.
    pub decision: Decision,
    /// In which role.
    pub role: &'a str,
    /// Who decides.
    pub approver: &'a Approver,
    /// The end that was set.
    pub until: Option<Timestamp>,
    /// Why.
    pub reason: Option<&'a str>,
    /// Show what is folded, too.
    pub full: bool,
    /// The time.
    pub now: Timestamp,
}

impl<'a> Review<'a> {
    /// The text to read before deciding: all of it to approve, what changes to withhold.
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
            if self.full {
                system::level(&mut page, self);
            }
            runtime::runtime(&mut page, &self.version.spec.runtime, self.full);
            runtime::provenance(&mut page, &self.version.spec.provenance, self.full);
        }
        decisions::decisions(&mut page, self);
        decisions::effect(&mut page, self);
        self.signature(&mut page);
        page.finish()
    }

    /// The decision as the policy core would see it if it were recorded now.
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

    /// What the policy says before the decision.
    pub fn before(&self) -> OwnedJudgement {
        self.record.rule(self.version, None, self.now)
    }

    /// What the policy will say after it.
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
        let who = approver.as_ref().map_or("somebody", |a| &a.user);
        let when = recorded_at(approval).map(|at| in_words(at, self.now)).unwrap_or_default();
        page.heading(&format!("CHANGES since {}, approved last by {who}, {when}", last.name_any()));
        let difference = difference::between_versions(last, self.version);
        if difference.is_empty() {
            page.mark("-", PLAIN, "runtime and provenance are the same");
        }
        page.difference(&difference);
        if !same_system {
            let text = "the system's purpose, risk level, jurisdictions or required documents changed since then; what was approved:";
            page.mark("!", LOOK, text);
            let (digest, namespace) = (approval.spec.subject_digest.short(), &self.record.namespace);
            page.command(&format!("kubectl assent show {digest} -n {namespace}"));
        }
    }

    fn signature(&self, page: &mut Page) {
        page.heading("SIGNATURE");
        page.field("digest", self.digest.as_str());
        if self.full || self.decision != Decision::Approve {
            self.covers(page);
        } else {
            page.prose(
                "covers",
                "the system's purpose, level and documents; runtime; provenance (all: --full)",
            );
        }
        if let Some(reason) = self.reason {
            page.prose("reason", reason);
        }
        // The effect says when the approval ends; the full review says what is signed.
        if let Some(until) = self.until.filter(|_| self.full) {
            page.field("until", &in_words(until, self.now));
        }
        if self.version.status.as_ref().is_none_or(|status| status.subject_digest.is_none()) {
            page.mark(
                "!",
                LOOK,
                "the operator has not read this version yet: the digest is this program's alone",
            );
        }
        page.prose("final", "recorded under your name; nobody can edit or delete it");
    }

    fn covers(&self, page: &mut Page) {
        let covers = "namespace, system, purpose, the name of the risk level, jurisdictions, the documents that \
                      the level requires, runtime and provenance";
        let then = match self.decision {
            Decision::Approve => "if one of them changes, this decision no longer counts",
            Decision::Reject | Decision::Revoke => {
                "this decision holds for the version even if they change, and for the same content under any name"
            }
        };
        page.prose("covers", &format!("{covers}: {then}"));
        if self.decision == Decision::Approve {
            page.prose(
                "does not cover",
                "owners, provider, other documents, and what else the risk level asks for",
            );
        }
    }
}

#[cfg(test)]
mod tests;
