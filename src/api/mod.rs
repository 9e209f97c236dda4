//! The custom resources: what people write, and the one object enforcement reads.
//!
//! ```text
//!  cluster     RiskLevel ──────────────┐ what a level asks for
//!              TrustedSidecar ──────────┤ what the cluster itself puts into pods
//!              ApproverRole ────────────┤ whose signature counts where it is not the API server that says who
//!                                      │
//!  namespace   AISystem ◄── ModelVersion ◄── Approval
//!              purpose,     exact runtime,   a person's decision on
//!              owners,      provenance       one subject digest
//!              level           │
//!                              ▼ compiled by the operator
//!                          Clearance         system -> runtimes cleared, until when
//!                          DecisionSubject   subject digest -> what somebody decided on, for good
//!                          SystemHistory     system -> who changed what altered a verdict, and deletions
//! ```
//!
//! One file a kind. Nothing here has logic beyond its own shape; bounds and CEL rules are part of
//! the schema, so that bad input is refused by the API server and never reaches the operator.
#![allow(clippy::duplicated_attributes, reason = "two printer columns may have the same type")]

mod ai_system;
mod approval;
mod approver_role;
mod attribution;
mod clearance;
mod condition;
mod decision_subject;
mod digest;
mod governance;
mod model_version;
mod risk_level;
mod runtime;
mod system_history;
mod text;
mod time;
mod trusted_sidecar;
mod volume;

pub use ai_system::{
    AISystem, AISystemSpec, AISystemStatus, CLEARANCE_EXPIRING, Certification, Decommission, Document, Owner,
    OwnerKind, PODS_HELD, PodCount, Provider, SystemReference, VersionSummary,
};
pub use approval::{Approval, ApprovalSpec, ApprovalStatus, Approver, Decision, Signature};
pub use approver_role::{ApproverKey, ApproverRole, ApproverRoleSpec};
pub use attribution::{AUTHOR, Attribution, CHANGED_BY, last_write, unproven};
pub use clearance::{
    CLEARANCE_NAME, Clearance, ClearanceSpec, ClearedVersion, SystemClearance, WithheldVersion,
};
pub use condition::{Condition, Conditions, condition, conditions_schema};
pub use decision_subject::{DecisionSubject, DecisionSubjectSpec};
pub use digest::{Digest, InvalidDigest};
pub use governance::{Governance, MODE_LABEL, Mode, SCOPE_LABEL, Scope};
pub use model_version::{
    Artifact, CountedApproval, Evidence, ModelVersion, ModelVersionSpec, ModelVersionStatus, Provenance,
};
pub use risk_level::{
    Control, ImagePolicy, OnLoss, OnLossMode, RequiredApproval, RiskLevel, RiskLevelSpec, RiskLevelStatus,
};
pub use runtime::{
    Container, EnvFrom, EnvVar, EnvVarSource, ExecHooks, FieldRef, HttpGet, HttpHeader, HttpHooks, KeyRef,
    MayVary, ResourceFieldRef, Runtime, SharedRuntime, SourceRef, VolumeMount,
};
pub use system_history::{
    Change, HistoryEntry, Observed, ObservedSource, ObservedVersion, SystemHistory, SystemHistorySpec,
};
pub use text::Text;
pub use trusted_sidecar::{
    Trusted, TrustedContainer, TrustedImages, TrustedSidecar, TrustedSidecarSpec, TrustedSidecarStatus,
};
pub use volume::{
    ConfigMapVolume, DownwardApiFile, DownwardApiVolume, EmptyDirVolume, ImageVolume, KeyToPath,
    PersistentVolumeClaimVolume, ProjectedObject, ProjectedSource, ProjectedVolume, SecretVolume,
    ServiceAccountTokenSource, Volume,
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// The API group of every custom resource, label, annotation and virtual RBAC resource of Assent.
pub const GROUP: &str = "assent.dev";

/// The label by which a pod names the [`AISystem`] it belongs to.
pub const SYSTEM_LABEL: &str = "assent.dev/system";

/// The scheduling gate (KEP-3521) that holds a pod for which there is no clearance.
pub const GATE: &str = "assent.dev/clearance";

/// The label that a pod carries exactly as long as it carries [`GATE`], so that held pods can be
/// selected by `kubectl`, by a watch and by the admission policy that guards their release.
pub const HELD_LABEL: &str = "assent.dev/held";

/// The label that a Job or `CronJob` carries as long as Assent suspends it. One that its user suspended
/// has none, and stays so.
pub const SUSPENDED_LABEL: &str = "assent.dev/suspended";

/// The label by which a `ControllerRevision` names the system for which the operator keeps in it what it
/// stopped. Not [`SYSTEM_LABEL`]: a `StatefulSet` that selects its pods by that would adopt it.
pub const KEPT_FOR_LABEL: &str = "assent.dev/kept-for";

/// The label by which a `ControllerRevision` names the system for which the operator stopped a workload as a
/// whole, and keeps in it what that was.
pub const STOPPED_FOR_LABEL: &str = "assent.dev/stopped-for";

/// The annotation that notes the `activeDeadlineSeconds` that the operator gave a pod.
pub const DEADLINE_ANNOTATION: &str = "assent.dev/deadline";

/// The annotation that the operator sets when it lifts the gate: `<model version>@<subject digest>`.
pub const RELEASED_ANNOTATION: &str = "assent.dev/released";

/// On a workload whose pods were refused before they were cleared: when it was told to try again.
pub const POKED_ANNOTATION: &str = "assent.dev/poked";

/// Every custom resource definition, in the order in which they are best read.
pub fn definitions() -> Vec<CustomResourceDefinition> {
    vec![
        RiskLevel::crd(),
        TrustedSidecar::crd(),
        ApproverRole::crd(),
        AISystem::crd(),
        ModelVersion::crd(),
        Approval::crd(),
        Clearance::crd(),
        DecisionSubject::crd(),
        SystemHistory::crd(),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::definitions;

    /// Where in `schema` something may be of any length.
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
        assert!(found.is_empty(), "of any length: {found:?}");
    }
}
