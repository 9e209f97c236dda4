//! The `RiskLevel` resource: the requirements for a version before it may run, and the action on pods that lose their
//! clearance.

use kube::{CustomResource, KubeSchema, core::Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Conditions, IncidentRules, OverrideRules, RequiredAssessment, RequiredMonitor, RequiredOfHostedModels,
    RequiredReview, RequiredRisks, Requirement, VolumeKind, conditions_schema,
};

/// Requirements of a level of risk, as in the EU AI Act or in the scheme of the organisation.
///
/// Governance writes this resource. To assign a level to an `AISystem`, a user needs the RBAC verb `use` on the level.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "assent.dev",
    version = "v1alpha1",
    kind = "RiskLevel",
    doc = "A level of risk, with the requirements for a version before it may run (ISO/IEC 42001 clause 6.1, EU AI Act chapter III).",
    status = "RiskLevelStatus",
    derive = "PartialEq",
    shortname = "rl",
    category = "assent",
    printcolumn(name = "Requires", type_ = "string", json_path = ".status.requires"),
    printcolumn(name = "Prohibited", type_ = "boolean", json_path = ".spec.prohibited"),
    printcolumn(name = "Validity", type_ = "string", json_path = ".spec.validity"),
    printcolumn(name = "On Loss", type_ = "string", json_path = ".spec.onLoss.mode"),
    printcolumn(name = "Grace", type_ = "integer", json_path = ".spec.onLoss.gracePeriodSeconds"),
    printcolumn(name = "Systems", type_ = "integer", json_path = ".status.systems"),
    printcolumn(
        name = "Changed By",
        type_ = "string",
        json_path = r".metadata.annotations.assent\.dev/changed-by",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct RiskLevelSpec {
    /// Purpose of the level, in the words of the organisation. Default: none.
    /// Example: `High-risk systems of EU AI Act annex III`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub description: Option<String>,

    /// Whether all systems of this level are forbidden, even if people approve them (EU AI Act article 5).
    /// Default: false. Example: `true`.
    #[serde(default)]
    pub prohibited: bool,

    /// Approvals that a version needs. A version needs all of them. Default: none, so a version needs no approval.
    /// Example: `[{ role: risk-officer }, { role: ethics-board, count: 2 }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["role"]))]
    pub approvals: Vec<RequiredApproval>,

    /// Whether duties are separated. If so, one person fills only one role, and approvals by owners and
    /// authors do not count. Authors are the user who created the version and the user who last changed any
    /// field of the system except `decommission`. Before Kubernetes 1.36 authors are not known, and their
    /// approvals count. Default: false. Example: `true`.
    #[serde(default)]
    pub separation_of_duties: bool,

    /// Time for which an approval counts, as a Go duration with the units `h`, `m`, `s` and `ms`. It must be longer
    /// than `0s` and at most `87600h`, which is ten years. Default: no limit, so an approval counts until its own
    /// `notAfter`, if it has one. Example: `8760h`, which is one year.
    #[serde(
        default,
        deserialize_with = "super::duration::optional",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(extend("maxLength" = 32))]
    #[x_kube(validation = (r"self.matches('^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$') && duration(self) > duration('0s') && duration(self) <= duration('87600h')", "must be a duration such as 8760h (one year) or 90m, longer than 0s and at most 87600h"))]
    pub validity: Option<Duration>,

    /// Results that a version needs. A version needs all of them. Default: none, so a version needs no result.
    /// Example: the file `examples/evidence/risklevel.yaml`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub assessments: Vec<RequiredAssessment>,

    /// Requirements as expressions. A version needs to meet all of them. Default: none.
    /// Example: the file `examples/requirements/general.yaml`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub requirements: Vec<Requirement>,

    /// Types of documents that the system must list in `spec.documentation`. Approvers sign the digests of these
    /// documents too. Default: none. Example: `[impact-assessment, technical-documentation]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub documents: Vec<String>,

    /// Review that each required document needs. Default: none, so the dates of the documents do not matter.
    /// Example: `{ maxAge: 8760h, overdue: Withhold }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document_review: Option<RequiredReview>,

    /// Risks that the system must state in `spec.risks`: at least one, and all within these limits. Approvers sign
    /// the risks. Default: none, so the system need not state risks. Example: `{ maxResidual: Medium }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risks: Option<RequiredRisks>,

    /// Requirements for the hosted models in `spec.hostedModels` of the system. Default: none.
    /// Example: `{ certifications: [ISO/IEC 42001], agreement: true }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosted_models: Option<RequiredOfHostedModels>,

    /// Parts of `spec.provenance` that a model version must state: `Data`, `BaseModel`, `Architecture`, `Rationale`,
    /// `Tests` or `Sbom`. Default: none. Example: `[Data, Tests]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "set"))]
    pub evidence: Vec<super::Evidence>,

    /// Certifications that the provider of the system must hold, by the names in `spec.provider.certifications`.
    /// Default: none. Example: `[ISO/IEC 42001]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "set"))]
    pub certifications: Vec<String>,

    /// Role in which a person must have signed each required certification. This includes the certifications
    /// of the providers of hosted models. Default: none, so a self-asserted certification suffices.
    /// Example: `vendor-manager`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub certification_role: Option<String>,

    /// Form in which a version must name its images. `Digest`: only by digest. `Tag`: by digest or by tag. A tag can
    /// point to another image after the approval. Default: `Digest`. Example: `Tag`.
    #[serde(default)]
    pub images: ImagePolicy,

    /// Kinds of volumes that a version must not have, by the names of the pod API. `configMap`, `secret` and
    /// `downwardAPI` also forbid these sources in a projected volume. Trusted additions may have volumes of
    /// every kind. Default: none.
    /// Example: `[hostPath, nfs]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 15), extend("x-kubernetes-list-type" = "set"))]
    pub forbidden_volumes: Vec<VolumeKind>,

    /// Action on running pods that lose their clearance. Default: mode `Evict` within 60 seconds.
    /// Example: `{ mode: ScaleDown, gracePeriodSeconds: 300 }`.
    #[serde(default)]
    pub on_loss: OnLoss,

    /// Rules for incidents of the systems of this level. Default: none. Then the roles in `approvals` resume
    /// a held version, incidents do not escalate, and no review is due.
    /// Example: `{ resume: [{ role: risk-officer, count: 2 }] }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incidents: Option<IncidentRules>,

    /// Rules for overrides. An override lets a version run for a limited time although named requirements are
    /// not met.
    /// Default: none, so no override has an effect. Example: the file `examples/evidence/risklevel.yaml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overrides: Option<OverrideRules>,

    /// Monitors that a version needs before it may run. Each must have measured at least once. A breach does not
    /// withhold a version by itself. Default: none, so a version needs no monitor.
    /// Example: the file `examples/monitors/risklevel.yaml`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub monitors: Vec<RequiredMonitor>,

    /// Controls of frameworks that this level helps to implement, as information for auditors. Default: none.
    /// Example: `[{ framework: ISO/IEC 42001, id: A.9.4 }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub controls: Vec<Control>,
}

impl RiskLevelSpec {
    /// Whether approvers sign the dates of the reviews of risks.
    pub fn signs_reviews_of_risks(&self) -> bool {
        let rule = self.risks.as_ref().and_then(|risks| risks.review.as_ref());
        rule.is_some_and(RequiredReview::withholds)
    }

    /// Whether approvers sign the dates of the reviews of documents.
    pub fn signs_reviews_of_documents(&self) -> bool {
        self.document_review.as_ref().is_some_and(RequiredReview::withholds)
    }
}

/// Approvals that a version needs from different people in one role.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequiredApproval {
    /// Name of the role. Users with the RBAC verb `approve` on `approverroles.assent.dev/<role>` hold the role. People
    /// whose keys the `ApproverRole` of this name lists also hold the role. Example: `risk-officer`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub role: String,

    /// Number of different people who must approve in this role, from 1 to 16. Default: 1. Example: `2`.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 16), extend("format" = "int32"))]
    pub count: u32,
}

const fn one() -> u32 {
    1
}

/// The form in which a version must name its images.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImagePolicy {
    /// Only by digest, so that exactly the approved image runs.
    #[default]
    Digest,
    /// By digest or by tag. A tag can point to another image after the approval.
    Tag,
}

/// Action on running pods that lose their clearance.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!(self.?deadManSwitch.orValue(false) && self.?mode.orValue('Evict') == 'Audit')", "deadManSwitch stops pods, and mode Audit stops nothing: set only one of them"))]
pub struct OnLoss {
    /// Way in which pods or workloads stop. `Evict`: evict pods within disruption budgets. `ScaleDown`: scale the
    /// workload to zero and back. `Suspend`: set and clear `spec.suspend` of the workload. `Audit`: only record the
    /// loss. Jobs and `CronJobs` are suspended in every mode except `Audit`. Default: `Evict`. Example: `ScaleDown`.
    #[serde(default)]
    pub mode: OnLossMode,

    /// Seconds from the loss of clearance to the end of the last pod, from 0 to 3600. In the first half of
    /// this time, `mode` applies. In the second half, Assent deletes the remaining pods.
    /// `terminationGracePeriodSeconds` of a pod can be at most half of this time, but one second is always
    /// allowed. The same limit applies to the grace period of each deletion, because a node does not shorten
    /// a stop that has begun. Default: 60. Example: `300`.
    #[serde(default = "default_grace")]
    #[schemars(range(min = 0, max = 3600), extend("format" = "int32"))]
    pub grace_period_seconds: u32,

    /// Whether running pods carry the end of their clearance as `activeDeadlineSeconds`. The kubelet then stops them
    /// even if the operator and the API server are down. After a renewal the operator replaces the pods. Pods of Jobs
    /// and pods without an owner are not replaced. They end when the clearance with which they started ends.
    /// Default: false. Example: `true`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dead_man_switch: bool,
}

/// The way to stop pods or workloads that lost their clearance. Jobs and `CronJobs` are suspended in every mode except
/// `Audit`.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnLossMode {
    /// Evict the pods within disruption budgets. Their replacements are held.
    #[default]
    Evict,
    /// Scale the workload, which is the topmost controller of the pods, to zero, and back when it is cleared again.
    /// `Evict` applies instead if the workload has no `scale` subresource, or if another user keeps scaling it up.
    ScaleDown,
    /// Set `spec.suspend` of the workload, which is the topmost controller of the pods, and clear it when the workload
    /// is cleared again. `Evict` applies instead if the workload has no such field.
    Suspend,
    /// Record the loss, and stop nothing. New pods are still held.
    Audit,
}

const fn default_grace() -> u32 {
    OnLoss::DEFAULT_GRACE_PERIOD_SECONDS
}

impl OnLoss {
    /// The default of [`OnLoss::grace_period_seconds`], in seconds.
    pub const DEFAULT_GRACE_PERIOD_SECONDS: u32 = 60;

    /// The longest termination grace period of one pod, in seconds: half of [`OnLoss::grace_period_seconds`], but at
    /// least one second.
    ///
    /// In the first half of [`OnLoss::grace_period_seconds`], any user may delete the pod with this grace period. After
    /// the first half, the operator deletes the pod with the remaining time as its grace period.
    pub fn pod_grace_seconds(&self) -> u32 {
        // With a grace period of 0, the API server removes the pod at once, but its containers can continue to run.
        (self.grace_period_seconds / 2).max(1)
    }
}

impl Default for OnLoss {
    fn default() -> Self {
        Self {
            mode: OnLossMode::default(),
            dead_man_switch: false,
            grace_period_seconds: Self::DEFAULT_GRACE_PERIOD_SECONDS,
        }
    }
}

/// A control of a framework that a risk level helps to implement.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Control {
    /// Name of the framework. Example: `ISO/IEC 42001`, `EU AI Act` or `NIST AI RMF`.
    #[schemars(length(min = 1, max = 63))]
    pub framework: String,

    /// Identifier of the control in the framework. Example: `A.9.4`, `Article 14` or `GOVERN 1.3`.
    #[schemars(length(min = 1, max = 63))]
    pub id: String,

    /// Title of the control. Default: none. Example: `Intended use of the AI system`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub title: Option<String>,
}

/// State of a risk level, as the operator observed it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RiskLevelStatus {
    /// Generation of the object that this status describes. Absent before the first status. Example: `3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Conditions of the level. `Ready`: whether all expressions of the level are valid. `Stalled`: an
    /// expression is invalid, so that no version of the level may run. Absent before the first status.
    /// Example: `[{ type: Ready, status: "True", … }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Conditions,

    /// Required approvals, results, expressions and monitors as text, or `nobody` if the level requires none of them.
    /// Absent before the first status. Example: `1 risk-officer, 2 ethics-board`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub requires: Option<String>,

    /// Number of systems that name this level. A level that is in use cannot be deleted. Default: 0. Example: `3`.
    #[serde(default)]
    #[schemars(extend("format" = "int32", "minimum" = 0))]
    pub systems: u32,

    /// Number of running pods of the systems with this level, in namespaces with the mode `enforce`. Default: 0.
    /// Example: `12`.
    #[serde(default)]
    #[schemars(extend("format" = "int32", "minimum" = 0))]
    pub running_pods: u32,
}
