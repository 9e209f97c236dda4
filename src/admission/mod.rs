//! The policies by which the API server itself enforces, with no webhook: one source for the chart,
//! the operator and the tests.
//!
//! ```text
//!  CREATE pod ─► assent-gate (mutating)      no cleared runtime matches: add gate and label; after webhooks one does:
//!                                            remove both; cut its grace
//!     held    ─► assent-pod-held             gated
//!     others  ─► assent-pod-create           cleared at the pod's creationTimestamp
//!  Job, CronJob ─► assent-job, assent-cronjob (mutating)   no cleared runtime matches its template: suspend
//!                                                          its user wants it suspended anyway: label off
//!  UPDATE pod ─► assent-pod-update           gate, label, images and records stay; no ephemeral containers
//!     held    ─► assent-pod-release          gate lifted: cleared at the time of this very request
//!  DELETE pod ─► assent-pod-delete           within the grace that the risk level leaves to a pod
//!  evict pod  ─► assent-pod-evict            likewise
//!  Binding    ─► assent-binding              gives the pod no label and no annotation of Assent
//!  CREATE pod, or what makes pods ─► assent-preview    says what will be held, or would be
//!                        ▲
//!                    Clearance               param, written by the operator only
//!
//!  Approval   ─► assent-approval-stamp       who asks is who approves
//!             ─► assent-approvals            role by RBAC, final, kept
//!  ModelVersion ─► assent-modelversions      final
//!  AISystem   ─► assent-aisystems            level by RBAC, decommissioned stays so
//!  RiskLevel  ─► assent-risklevels           not deleted while in use
//!  Namespace  ─► assent-namespaces           opting out by RBAC
//!  Clearance, statuses ─► assent-operator-only
//!  DecisionSubject, SystemHistory ─► assent-record   by the operator, for good
//!  ModelVersion, AISystem ─► assent-author-stamp      (mutating) who wrote what approvers rely on
//!                         ─► assent-author            no forged name
//!  AISystem, RiskLevel, ApproverRole, TrustedSidecar ─► assent-changed-by-stamp, assent-changed-by   who changed it last
//!  UPDATE by the operator of what makes pods ─► assent-operator-workloads   nothing but metadata
//!  UPDATE or DELETE of what clears pods ─► assent-stop-…     warns of what stops
//! ```
//!
//! CREATE and UPDATE of pods are kept apart because a binding that denies where its parameter is
//! missing does so before its match conditions are looked at: an update of a pod that is not held
//! must never depend on a `Clearance`.
//!
//! Where the API server has no mutating policies ([`HoldMethod::Refuse`]), assent-pod-create refuses what would
//! have been held, and whoever signs an approval fills in the approver, which assent-approvals checks.

mod authors;
mod cel;
mod grace;
mod hold_method;
mod jobs;
mod pods;
mod policy_object;
mod preview;
mod records;
mod scope_cel;
mod stops;
mod workloads;

use sha2::{Digest as _, Sha256};

pub use cel::PARTS as MATCH_PARTS;
pub use hold_method::HoldMethod;
pub use policy_object::{Key, PolicyObject};

use crate::{api::Digest, policy::Accelerators};

/// The service account that the operator runs as: the one that may write clearances and lift gates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub service_account: String,
    /// How pods show that they use an accelerator.
    pub accelerators: Accelerators,
}

impl Operator {
    /// Its name as the API server authenticates it.
    pub fn username(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.service_account)
    }

    /// The `ClusterRole` that lets it do its work.
    pub fn role(&self) -> String {
        format!("{}-operator", self.service_account)
    }

    /// The CEL expression for "the operator asks".
    fn asks(&self) -> String {
        format!("request.userInfo.username == '{}'", self.username())
    }
}

/// The field manager by which the operator lifts gates, and by nothing else: its entry in
/// `managedFields` tells the API server's time of the release.
pub const RELEASE_MANAGER: &str = "assent-release";

/// What the API server answers to a release that it noted no time for: it tracks no field managers of the pod,
/// or the request named another manager.
pub const RELEASE_WITHOUT_TIME: &str =
    "the gate is lifted by the field manager assent-release only, in a pod whose field managers are tracked";

/// Every policy and binding, in the order in which they are best read.
pub fn policies(operator: &Operator) -> Vec<PolicyObject> {
    let mut manifests = pods::policies(operator);
    manifests.extend(jobs::policies(operator));
    manifests.extend(workloads::policies(operator));
    manifests.extend(preview::policies(operator));
    manifests.extend(records::policies(operator));
    manifests.extend(authors::policies());
    manifests.extend(stops::policies());
    manifests
}

/// The annotation by which a release says which policies it installed: their [`fingerprint`].
pub const POLICIES_ANNOTATION: &str = "assent.dev/policies";

/// Tells the policies of this version, with these `accelerators`, from any others, whoever the operator is.
/// The chart computes the second part by itself: the first digits of the SHA-256 of the same text.
///
/// # Panics
/// Never: policies serialise.
pub fn fingerprint(accelerators: &Accelerators) -> String {
    let anybody = Operator {
        namespace: String::new(),
        service_account: String::new(),
        accelerators: Accelerators::default(),
    };
    let json = serde_json::to_vec(&policies(&anybody)).expect("policies serialise");
    let short = |bytes: &[u8]| Digest::from_sha256(Sha256::digest(bytes).into()).short().to_owned();
    match accelerators.to_string() {
        none if none.is_empty() => short(&json),
        added => format!("{}-{}", short(&json), short(added.as_bytes())),
    }
}
