//! The CEL admission policies. With these policies, the API server itself holds and refuses pods, without a
//! webhook. The chart, the operator and the tests use this source.
//!
//! ```text
//!  CREATE pod ─► assent-gate (mutating)      no cleared runtime matches: add gate and label. One matches after
//!                                            webhooks: remove both. Add approved digests to its images. Cut the
//!                                            termination grace period
//!     held    ─► assent-pod-held             label only with the gate
//!     others  ─► assent-pod-create           cleared at the pod's creationTimestamp
//!  Job, CronJob ─► assent-job, assent-cronjob (mutating)   no cleared runtime matches its template: suspend.
//!                                                          its user suspends it too: remove the label
//!  UPDATE pod ─► assent-pod-update           gate, label, images, annotations of Assent stay; no ephemeral containers.
//!                                            The operator may add digests when it lifts the gate
//!     held    ─► assent-pod-release          gate lifted: cleared at the time of this request
//!  DELETE pod ─► assent-pod-delete           within the grace period that the risk level allows for a pod
//!  evict pod  ─► assent-pod-evict            within the shortest such period in the namespace
//!  Binding    ─► assent-binding              adds no label or annotation of Assent to the pod
//!  CREATE pod or workload ─► assent-preview  warns of pods that are not cleared
//!                        ▲
//!                    Clearance               param, written by the operator only
//!
//!  Approval   ─► assent-approval-stamp       (mutating) the approver is the user of the request
//!             ─► assent-approvals            only with a permission for the role, immutable, not deleted
//!  Assessment ─► assent-assessments          not performed in the future, immutable, not deleted
//!  Incident, IncidentNote ─► assent-incident-stamp, assent-incidentnote-stamp   (mutating) the author is the user
//!                         ─► assent-incidents, assent-incidentnotes   a hold only with a permission, immutable,
//!                                                                     not deleted
//!  Override   ─► assent-override-stamp       (mutating) the requester is the user
//!             ─► assent-overrides            ends within 744 hours, immutable, not deleted
//!  Monitor    ─► assent-monitors             a hold only with a permission, also to change or delete it, always for
//!                                            the same system
//!  ModelVersion ─► assent-modelversions      immutable
//!  AISystem   ─► assent-aisystems            only with a permission for the level, not deleted after its decommission
//!  AISystem, ModelVersion ─► assent-evidence not deleted while an open incident concerns it
//!  RiskLevel  ─► assent-risklevels           not deleted while in use
//!  Namespace  ─► assent-namespaces           weaker governance only with a permission
//!  Clearance, statuses ─► assent-operator-only
//!  DecisionSubject, SystemHistory ─► assent-record   written by the operator only, not deleted
//!  ModelVersion, AISystem, Assessment ─► assent-author-stamp   (mutating) the author of the fields that approvers
//!                                                              rely on
//!                                     ─► assent-author         no forged name
//!  AISystem, RiskLevel, ApproverRole, TrustedSidecar ─► assent-changed-by-stamp, assent-changed-by   the last author
//!  UPDATE of a workload by the operator ─► assent-operator-workloads   metadata only
//!  UPDATE or DELETE of an object that clears pods ─► assent-stop-…     warns of pods that stop
//! ```
//!
//! CREATE and UPDATE of pods have separate policies. If a binding requires a parameter that is missing, the API server
//! refuses the request before it evaluates the match conditions. An update of a pod that is not held must never depend on
//! a `Clearance`, so the policy for these updates has no parameter.
//!
//! On an API server without mutating policies ([`HoldMethod::Refuse`]), no policy can add the gate. So
//! assent-pod-create refuses each uncleared pod whose manifest does not contain gate and label. It also
//! refuses each pod that names an approved image without its digest. The client of the approver writes the name of the
//! approver, and assent-approvals checks the name.

mod authors;
mod cel;
mod grace;
mod hold_method;
mod jobs;
mod pins;
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

/// The data of the operator that policies contain. Only the service account of the operator may write Clearances and
/// remove the gate of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// The namespace of the service account.
    pub namespace: String,
    /// The name of the service account.
    pub service_account: String,
    /// The signs that a pod uses an accelerator.
    pub accelerators: Accelerators,
}

impl Operator {
    /// The user name of the service account in requests.
    pub fn username(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.service_account)
    }

    /// The name of the operator's `ClusterRole`.
    pub fn role(&self) -> String {
        format!("{}-operator", self.service_account)
    }

    /// The CEL expression for "the operator sent this request".
    fn asks(&self) -> String {
        format!("request.userInfo.username == '{}'", self.username())
    }
}

/// The field manager for the release of pods, and for nothing else. The entry of this manager in
/// `managedFields` contains the time of the release, which the API server sets.
pub const RELEASE_MANAGER: &str = "assent-release";

/// The message for a release whose time is unknown. Either the API server tracks no field managers of the pod, or the
/// request used another field manager.
pub const RELEASE_WITHOUT_TIME: &str = "only the field manager assent-release may lift the gate, and the API server must track the field managers of the pod";

/// All policies and bindings.
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

/// The annotation with the [`fingerprint`] of the policies that the chart installed.
pub const POLICIES_ANNOTATION: &str = "assent.dev/policies";

/// The fingerprint of the policies of this version of Assent. `accelerators` contains the names that the chart's values add.
/// The first part is a hash of the policies without added names and without the operator's name. If there are added names, a
/// second part follows: the first digits of the SHA-256 of their text. The chart computes the second part in the same way.
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
    let short = |bytes: &[u8]| Digest::from_sha256(Sha256::digest(bytes).into()).short();
    match accelerators.to_string() {
        none if none.is_empty() => short(&json),
        added => format!("{}-{}", short(&json), short(added.as_bytes())),
    }
}
