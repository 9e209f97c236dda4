//! The pure core: from what people wrote, and an instant, to what may run.
//!
//! ```text
//!  AISystem ─┐                  ┌─► Verdict   Cleared | Withheld(every reason)
//!  RiskLevel ├─ Facts ─ judge ──┼─► not_after the earliest instant at which the verdict changes
//!  Version   │            ▲     └─► effects what became of each Approval, and why
//!  Approvals ┘            now
//!
//!  Pod ── runtime_of_pod ── without_trusted ── matches ── Runtime of a cleared version
//! ```
//!
//! No client, no clock, no async: time comes in as a parameter, and the same facts at the same
//! instant give the same judgement, in whatever order they arrive.

mod accelerators;
mod applicable;
mod capacity;
mod effect;
mod fields;
mod hooks;
mod judgement;
mod matching;
mod reason;
mod roles;
mod scope;
mod signature;
mod subject;
mod suspension;
mod trusted;
mod volumes;

pub use accelerators::{Accelerators, NO_DEVICE, NotASign, Sign};
pub use applicable::{applies_to, statements};
pub use capacity::Capacity;
pub use effect::{ApprovalEffect, Authors, RecordedDecision, end};
pub use fields::{
    ANNOTATIONS, Class, FIELDS, FORMER_FIELDS, HARMLESS_ANNOTATIONS, free_fields, is_refused_annotation,
};
pub use judgement::{Facts, Judgement, Verdict, judge, unpinned};
pub use matching::{Unmatchable, matches, runtime_of_pod};
pub use reason::{Elsewhere, Reason};
pub use scope::narrowest_scope;
pub use signature::{ApproverRoles, NotSigned, SIGNATURE_NAMESPACE, approver_of, public_key, signed_text};
pub use subject::{Subject, SubjectDigests};
pub use suspension::{JOB_CONTROLLER, QUEUE_LABELS, Suspender, is_queued};
pub use trusted::without_trusted;

#[cfg(test)]
mod tests;
