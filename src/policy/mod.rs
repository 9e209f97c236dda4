//! The policy decides which versions and pods may run. Its functions are pure: a result depends only on the objects
//! that people wrote, and on the current time.
//!
//! ```text
//!  AISystem     ─┐
//!  RiskLevel     │
//!  ModelVersion  │
//!  Approvals     ├─► Facts ──► judge ──► Judgement
//!  Assessments   │               ▲
//!  Incidents     │              now
//!  Overrides     │
//!  Monitors     ─┘
//! ```
//!
//! A [`Judgement`] contains the verdict, the earliest time at which the verdict changes, and the effect of each
//! approval. A pod may run if its runtime matches the runtime of a cleared version. [`runtime_of_pod`] reads the
//! runtime of the pod, and [`matches()`] compares the two runtimes.
//!
//! This module has no client, no clock and no async code. The current time is a parameter. Equal facts at equal times
//! give equal judgements. The order of decisions and assessments does not matter.

mod accelerators;
mod applicable;
mod assessments;
mod attestations;
mod capacity;
mod certifications;
mod cluster_objects;
mod convert;
mod deadlines;
mod effect;
mod escalation;
mod fields;
mod holds;
mod hooks;
mod hosted_models;
mod incident_review;
mod incidents;
mod judgement;
mod matching;
mod monitors;
mod overrides;
mod pins;
mod placeholders;
mod reason;
mod requirements;
mod result_effect;
mod reviews;
mod roles;
mod scope;
mod signature;
mod subject;
mod suspension;
mod trusted;
mod unmatchable;
mod volume_sources;
mod volumes;

pub use accelerators::{Accelerators, NO_DEVICE, NotASign, Sign};
pub use applicable::{ApprovalObject, applies_to, decided_at, statements};
pub use assessments::{
    AssessmentEffect, Finding, RecordedAssessment, effect_if_signed, effects as assessment_effects,
};
pub use attestations::{Attestation, Attestations};
pub use capacity::Capacity;
pub use certifications::{SignedCertifications, certification_text, certifier};
pub use cluster_objects::{
    ClaimFacts, ClusterObjects, ClusterVariable, NetworkPolicyFacts, Storage, StorageClassFacts,
};
pub use deadlines::{Deadline, deadlines};
pub use effect::{ApprovalEffect, Authors, RecordedDecision, end};
pub use escalation::{Escalation, Tier};
pub use fields::{
    ANNOTATIONS, Class, FIELDS, FORMER_FIELDS, HARMLESS_ANNOTATIONS, free_fields, is_refused_annotation,
};
pub use holds::{HeldSubject, Hold, HoldJudgement, NAMES as INCIDENT_NAMES, ResumeEffect};
pub use hosted_models::undeclared;
pub use incident_review::{DueReview, ReviewEffect, due_review, required_to_review, review_effect};
pub use incidents::{
    IncidentDecision, Incidents, MissingToResume, RecordedIncident, RecordedNote,
    required as required_to_resume,
};
pub use judgement::{Facts, Judgement, Verdict, decommission_time, judge, unpinned};
pub use matching::{matches, runtime_of_pod};
pub use monitors::{
    MONITORS_OF_NAMESPACE, Measurement, MissingMonitor, MonitorBreach, MonitorGap, MonitorRules,
    MonitorTrack, RecordedMonitor, counted_monitors, missing_monitors,
};
pub use overrides::{
    GrantState, MissedReview, MissingGrant, NoEffect, NoReview, OverrideDecision, OverrideFacts,
    OverrideState, Overrides, RecordedOverride, Review, SystemOverrides, Waived, Waiving, waiver_of,
};
pub use pins::{Pin, Pins, as_in_template, is_pinned_by, matches_if_pinned};
pub use placeholders::{Placeholders, not_used as placeholders_not_used, patterns};
pub use reason::{Elsewhere, Reason};
pub use requirements::{RequirementFacts, RequirementResults, Requirements, UnmetCause, UnmetRequirement};
pub use result_effect::{CitedResult, Comparison, Inconclusive, Measured, ResultEffect};
pub use reviews::{OverdueReview, Reviewed, due_times, overdue};
pub use scope::narrowest_scope;
pub use signature::{
    ApproverRoles, Content, NotSigned, SIGNATURE_NAMESPACE, approver_of, attester_of, public_key, signed_text,
};
pub use subject::{Subject, SubjectDigests};
pub use suspension::{JOB_CONTROLLER, QUEUE_LABELS, Suspender, is_queued};
pub use trusted::without_trusted;
pub use unmatchable::Unmatchable;

#[cfg(test)]
mod tests;
