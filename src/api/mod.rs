//! The custom resources: objects that people write, and objects that the operator writes. The API server and
//! the operator enforce the `Clearance`.
//!
//! ```text
//!  cluster     RiskLevel ──────────────┐ requirements of a level
//!              TrustedSidecar ──────────┤ additions of the cluster to pods
//!              ApproverRole ────────────┤ keys of people who sign outside the cluster
//!                                      │
//!  namespace   AISystem ◄── ModelVersion ◄── Approval
//!              purpose,     exact runtime,   a person's decision on
//!              owners,      provenance       one subject digest, or on assessments
//!              level           │     ▲
//!                              │     └────── Assessment
//!                              │             results for one subject digest
//!              Incident ◄── IncidentNote
//!              hold of versions, which people resume with an Approval
//!              Override
//!              waived requirements, which people grant and review with an Approval
//!              Monitor ──► Incident
//!              condition on a metric of a system, which opens an incident
//!                              ▼ the operator compiles
//!                          Clearance         system -> cleared runtimes, until when
//!                          DecisionSubject   subject digest -> the content of the decisions
//!                          SystemHistory     system -> changes of verdicts, with their authors, and deletions
//! ```
//!
//! Each kind has its own file. Bounds and CEL rules are part of the schema, so the API server refuses invalid input
//! before it reaches the operator. The doc comments of the types and fields are the texts of `kubectl explain`.
#![allow(clippy::duplicated_attributes, reason = "two printer columns may have the same type")]

mod ai_system;
mod approval;
mod approver_role;
mod assessment;
mod attribution;
mod clearance;
mod condition;
mod decimal;
mod decision_subject;
mod digest;
pub(crate) mod duration;
mod governance;
mod hosted_model;
mod incident;
mod incident_note;
mod model_version;
mod monitor;
mod overrides;
mod quantity;
mod required_assessment;
mod requirement;
mod review;
mod risk;
mod risk_level;
mod runtime;
mod system_history;
mod text;
mod time;
mod trusted_sidecar;
mod volume;
mod volume_source;

pub use ai_system::{
    AISystem, AISystemSpec, AISystemStatus, CLEARANCE_EXPIRING, Certification, CertificationSignature,
    Decommission, Document, Owner, OwnerKind, PODS_HELD, PodCount, Provider, REVIEWS_OVERDUE,
    SystemReference, VersionSummary,
};
pub use approval::{
    Approval, ApprovalSpec, ApprovalStatus, Approver, AttestedAssessment, Decision, RecordReference,
    ReviewOutcome, Signature,
};
pub use approver_role::{ApproverKey, ApproverRole, ApproverRoleSpec};
pub use assessment::{
    Assessment, AssessmentKind, AssessmentResult, AssessmentSpec, AssessmentStatus, Direction, Interval,
    Relationship, Report, Tool,
};
pub use attribution::{AUTHOR, Attribution, CHANGED_BY, last_write, unproven};
pub use clearance::{
    CLEARANCE_NAME, Clearance, ClearanceSpec, ClearedVersion, Patterns, SystemClearance, WithheldVersion,
};
pub use condition::{
    Condition, ConditionState, Conditions, INCIDENT_OPEN, condition, condition_of, condition_states,
    conditions_schema,
};
pub use decimal::{Decimal, InvalidDecimal};
pub use decision_subject::{DecisionSubject, DecisionSubjectSpec};
pub use digest::{Digest, InvalidDigest};
pub use governance::{Governance, MODE_LABEL, Mode, SCOPE_LABEL, Scope};
pub use hosted_model::{Agreement, HostedModel, RequiredOfHostedModels};
pub use incident::{
    ConcernedVersion, DeadlineState, DeadlineStatus, EscalationStatus, EscalationTier, HarmCriterion,
    Incident, IncidentEffect, IncidentRules, IncidentSpec, IncidentStatus, MissedIncidentReview,
    RequiredDeadline, RequiredIncidentReview,
};
pub use incident_note::{IncidentNote, IncidentNoteSpec, NoteType};
pub use model_version::{
    Artifact, CountedApproval, Evidence, ModelVersion, ModelVersionSpec, ModelVersionStatus, Provenance,
    RequirementState, RequirementStatus,
};
pub use monitor::{
    BreachBar, ClearBar, ExistingAlert, Monitor, MonitorMeasurement, MonitorProgress, MonitorSpec,
    MonitorState, MonitorStatus, NoData, NoDataEffect, OnBreach, OpenBreach, OpenedIncident, RequiredMonitor,
    RequiredSamples,
};
pub use overrides::{
    MissedOverrideReview, Override, OverrideQuota, OverrideReview, OverrideRules, OverrideSpec,
    OverrideStatus, Waiver, WaiverType,
};
pub use required_assessment::{Comparator, RequiredAssessment, measure};
pub use requirement::Requirement;
pub use review::{OverdueAction, RequiredReview, ReviewDates};
pub use risk::{RequiredRisks, Risk, RiskRating, RiskTreatment};
pub use risk_level::{
    Control, ImagePolicy, OnLoss, OnLossMode, RequiredApproval, RiskLevel, RiskLevelSpec, RiskLevelStatus,
};
pub use runtime::{
    Container, DnsConfig, EnvFrom, EnvVar, EnvVarSource, ExecHooks, FieldRef, HostAlias, HttpGet, HttpHeader,
    HttpHooks, KeyRef, MayVary, Placeholder, ResourceFieldRef, Runtime, SharedRuntime, SourceRef,
    VolumeDevice, VolumeMount,
};
pub use system_history::{
    Change, HistoryEntry, Observed, ObservedSource, ObservedVersion, SystemHistory, SystemHistorySpec,
};
pub use text::Text;
use text::non_empty;
pub use trusted_sidecar::{
    Trusted, TrustedContainer, TrustedImages, TrustedSidecar, TrustedSidecarSpec, TrustedSidecarStatus,
};
pub use volume::{
    ConfigMapVolume, DownwardApiFile, DownwardApiVolume, EmptyDirVolume, ImageVolume, KeyToPath,
    PersistentVolumeClaimVolume, ProjectedObject, ProjectedSource, ProjectedVolume, SecretVolume,
    ServiceAccountTokenSource, Volume,
};
pub use volume_source::{
    ClaimMetadata, ClaimResources, ClaimSpec, ClaimTemplate, ClusterTrustBundleSource, CsiVolume, DataSource,
    DataSourceRef, EphemeralVolume, HostPathVolume, IscsiVolume, LabelRule, LabelSelector, NfsVolume,
    PodCertificateSource, SecretName, VolumeKind,
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

pub(crate) use quantity::canonical as canonical_quantity;

/// The API group of all custom resources and virtual RBAC resources of Assent, and the prefix of all its labels and
/// annotations.
pub const GROUP: &str = "assent.dev";

/// The label with which a pod names its [`AISystem`].
pub const SYSTEM_LABEL: &str = "assent.dev/system";

/// The scheduling gate (KEP-3521) that holds a pod without clearance.
pub const GATE: &str = "assent.dev/clearance";

/// The label of a held pod. A pod has this label exactly while it has [`GATE`].
///
/// `kubectl`, watches and the admission policy for the removal of [`GATE`] select held pods by this label.
pub const HELD_LABEL: &str = "assent.dev/held";

/// The label of a Job or `CronJob` that Assent suspended. Assent does not resume a suspended Job without this label,
/// because a user or another controller suspended that Job.
pub const SUSPENDED_LABEL: &str = "assent.dev/suspended";

/// The label of a `ControllerRevision` that contains the manifest of a stopped pod without an owner. The value is the
/// name of the system.
///
/// This label is not [`SYSTEM_LABEL`], because a `StatefulSet` that selects its pods by [`SYSTEM_LABEL`] would adopt
/// the revision.
pub const KEPT_FOR_LABEL: &str = "assent.dev/kept-for";

/// The label of a `ControllerRevision` that contains the state of a workload that the operator stopped as a whole. The
/// value is the name of the system.
pub const STOPPED_FOR_LABEL: &str = "assent.dev/stopped-for";

/// The reason of the condition `Cleared` of a version or system that may run because an override waives requirements.
pub const CLEARED_BY_OVERRIDE: &str = "ClearedByOverride";

/// The annotation with the `activeDeadlineSeconds` that the operator set on a pod.
pub const DEADLINE_ANNOTATION: &str = "assent.dev/deadline";

/// The annotation that the operator sets when it removes the gate: `<model version>@<subject digest> <time>`, or
/// `ungoverned <time>` if the pod is not governed.
pub const RELEASED_ANNOTATION: &str = "assent.dev/released";

/// The annotation of a workload with refused pods. Its value is the time at which the operator made the workload retry.
pub const POKED_ANNOTATION: &str = "assent.dev/poked";

/// All custom resource definitions, in the order of the generated file of the chart.
pub fn definitions() -> Vec<CustomResourceDefinition> {
    vec![
        RiskLevel::crd(),
        TrustedSidecar::crd(),
        ApproverRole::crd(),
        AISystem::crd(),
        ModelVersion::crd(),
        Approval::crd(),
        Assessment::crd(),
        Incident::crd(),
        IncidentNote::crd(),
        Override::crd(),
        Monitor::crd(),
        Clearance::crd(),
        DecisionSubject::crd(),
        SystemHistory::crd(),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::definitions;

    /// Adds to `found` the path of each string, list and map in `schema` that has no maximum size.
    fn unbounded(schema: &Value, path: &str, found: &mut Vec<String>) {
        let bounds: &[&str] = match schema["type"].as_str() {
            Some("string") => &["maxLength", "enum", "format"],
            Some("array") => &["maxItems"],
            Some("object") if !schema["additionalProperties"].is_null() => &["maxProperties"],
            _ => &[],
        };
        if !bounds.is_empty() && bounds.iter().all(|bound| schema[bound].is_null()) {
            found.push(path.to_owned());
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            unbounded(property, &format!("{path}.{name}"), found);
        }
        for part in ["items", "additionalProperties"].map(|part| &schema[part]) {
            if part.is_object() {
                unbounded(part, &format!("{path}[]"), found);
            }
        }
    }

    #[test]
    fn every_list_map_and_string_is_bounded() {
        let mut found = Vec::new();
        for definition in definitions() {
            let kind = definition.spec.names.kind.clone();
            let definition = serde_json::to_value(definition).expect("definitions serialise");
            let properties = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
            assert!(properties["spec"].is_object(), "{kind} has no schema");
            for part in ["spec", "status"] {
                unbounded(&properties[part], &format!("{kind}.{part}"), &mut found);
            }
        }
        assert!(found.is_empty(), "without a bound: {found:?}");
    }

    /// Adds to `found` the properties under `schema` with a description of fewer than four words. `kubectl explain`
    /// shows these descriptions.
    fn undescribed(schema: &serde_json::Value, path: &str, found: &mut Vec<String>) {
        let words = schema["description"].as_str().unwrap_or_default().split_whitespace().count();
        if words < 4 {
            found.push(path.to_owned());
        }
        for part in [schema, &schema["items"], &schema["additionalProperties"]] {
            for (name, property) in part["properties"].as_object().into_iter().flatten() {
                undescribed(property, &format!("{path}.{name}"), found);
            }
        }
    }

    #[test]
    fn every_field_has_a_description_of_at_least_four_words() {
        let mut found = Vec::new();
        for definition in definitions() {
            let kind = definition.spec.names.kind.clone();
            let definition = serde_json::to_value(definition).expect("definitions serialise");
            undescribed(&definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"], &kind, &mut found);
        }
        assert!(found.is_empty(), "{found:?}");
    }
}
