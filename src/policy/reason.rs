//! Why a model version may not run: a stable word for machines, a sentence for people, and the next
//! command to type.

use std::fmt;

use k8s_openapi::jiff::Timestamp;

use super::{Capacity, RecordedDecision};
use crate::api::Evidence;

/// A decision that names another version with the same content.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Elsewhere {
    /// The version that it names.
    pub version: String,
    /// The name of the `Approval`.
    pub approval: String,
}

impl Elsewhere {
    /// Where `statement` was made, if not on the version `name`.
    pub(super) fn of(statement: &RecordedDecision<'_>, name: &str) -> Option<Self> {
        (statement.version != name)
            .then(|| Self { version: statement.version.to_owned(), approval: statement.name.to_owned() })
    }
}

impl fmt::Display for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " under the name {}, with the same content (approval/{})", self.version, self.approval)
    }
}

/// One reason to withhold clearance. The order is that of weight: the first of several is the one
/// that a condition shows as its `reason`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The version names a system that does not exist.
    SystemNotFound {
        /// The name.
        system: String,
    },
    /// The system names a risk level that does not exist.
    RiskLevelNotFound {
        /// The name.
        level: String,
    },
    /// The level may never run.
    Prohibited {
        /// The level.
        level: String,
    },
    /// The decommission date has come.
    Decommissioned {
        /// The date.
        since: Timestamp,
        /// Why.
        why: String,
        /// What replaces the system.
        successor: Option<String>,
    },
    /// Revoked, and not approved anew since.
    Revoked {
        /// Who revoked last.
        by: String,
        /// When.
        at: Timestamp,
        /// Why.
        why: Option<String>,
        /// Where the decision names another version.
        elsewhere: Option<Elsewhere>,
    },
    /// A rejection stands.
    Rejected {
        /// Whose.
        by: String,
        /// In which role.
        role: String,
        /// Why.
        why: Option<String>,
        /// Where the decision names another version.
        elsewhere: Option<Elsewhere>,
    },
    /// The level wants digests, and an image is named by tag.
    ImageNotPinned {
        /// The image.
        image: String,
    },
    /// A document that the level requires is missing.
    DocumentMissing {
        /// Its type.
        document: String,
    },
    /// A part of the provenance that the level requires is missing.
    EvidenceMissing {
        /// The part.
        evidence: Evidence,
    },
    /// A certification that the level requires of the provider is missing or has ended.
    CertificationMissing {
        /// Its name.
        certification: String,
    },
    /// Approvals in a role ended, of people of whom no other stands, and too few are left.
    ApprovalExpired {
        /// The role.
        role: String,
        /// How many are needed.
        needed: usize,
        /// How many count.
        have: usize,
        /// When the last of them ended.
        since: Timestamp,
    },
    /// There are too few approvals in a role.
    AwaitingApproval {
        /// The role.
        role: String,
        /// How many are needed.
        needed: usize,
        /// How many count.
        have: usize,
        /// Whose do not count because they own the system.
        owners: Vec<String>,
        /// Whose do not count because they wrote the version or the system.
        authors: Vec<String>,
        /// Who approved in this role and in another, where one person fills one role.
        in_several_roles: Vec<String>,
    },
    /// A `Clearance` has no room for the version.
    CapacityExceeded(Capacity),
}

impl Reason {
    /// Whether somebody's approval is all that it takes.
    pub const fn is_for_want_of_approval(&self) -> bool {
        matches!(self, Self::AwaitingApproval { .. } | Self::ApprovalExpired { .. })
    }

    /// The stable CamelCase word.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::SystemNotFound { .. } => "SystemNotFound",
            Self::RiskLevelNotFound { .. } => "RiskLevelNotFound",
            Self::Prohibited { .. } => "Prohibited",
            Self::Decommissioned { .. } => "Decommissioned",
            Self::Revoked { .. } => "Revoked",
            Self::Rejected { .. } => "Rejected",
            Self::ImageNotPinned { .. } => "ImageNotPinned",
            Self::DocumentMissing { .. } => "DocumentMissing",
            Self::EvidenceMissing { .. } => "EvidenceMissing",
            Self::CertificationMissing { .. } => "CertificationMissing",
            Self::ApprovalExpired { .. } => "ApprovalExpired",
            Self::AwaitingApproval { .. } => "AwaitingApproval",
            Self::CapacityExceeded(_) => "CapacityExceeded",
        }
    }

    /// Whether a person has to change their mind or make something new: waiting will not help.
    pub const fn is_stalled(&self) -> bool {
        matches!(
            self,
            Self::Prohibited { .. }
                | Self::Revoked { .. }
                | Self::Rejected { .. }
                | Self::ImageNotPinned { .. }
                | Self::EvidenceMissing { .. }
        )
    }

    /// What to do about it, for `version` of `system`.
    pub fn remedy(&self, namespace: &str, system: &str, version: &str) -> String {
        let approve = |role: &str| {
            format!(
                "someone in role {role} runs: kubectl assent approve {system} --version {version} --role {role} -n {namespace}"
            )
        };
        match self {
            Self::SystemNotFound { system } => format!(
                "create it: kubectl explain aisystem.spec; then apply an AISystem named {system} in namespace {namespace}"
            ),
            Self::RiskLevelNotFound { .. } => "see what there is: kubectl get risklevels".to_owned(),
            Self::Prohibited { .. } => format!(
                "if the level is wrong: kubectl edit aisystem/{system} -n {namespace} (needs the verb \"use\" on the new level)"
            ),
            Self::Decommissioned { successor: Some(next), .. } => {
                format!("use its successor: kubectl assent status {next} -n {namespace}")
            }
            Self::Decommissioned { successor: None, .. } => "remove its workloads".to_owned(),
            Self::Revoked { .. } => format!(
                "when resolved, every role approves anew: kubectl assent approve {system} --version {version} -n {namespace}"
            ),
            Self::Rejected { by, role, .. } => format!(
                "{by} can approve after all: kubectl assent approve {system} --version {version} --role {role} -n {namespace}"
            ),
            Self::ImageNotPinned { image } => {
                format!("create a new ModelVersion that names {image} by digest (…@sha256:…)")
            }
            Self::DocumentMissing { document } => {
                format!("add documentation of type {document}: kubectl edit aisystem/{system} -n {namespace}")
            }
            Self::EvidenceMissing { evidence } => {
                format!("create a new ModelVersion whose provenance states {evidence:?}")
            }
            Self::CertificationMissing { certification } => format!(
                "add a current certification {certification}: kubectl edit aisystem/{system} -n {namespace}"
            ),
            Self::ApprovalExpired { role, .. } | Self::AwaitingApproval { role, .. } => approve(role),
            Self::CapacityExceeded(capacity) => capacity.remedy(namespace, system),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SystemNotFound { system } => write!(f, "there is no AISystem {system}"),
            Self::RiskLevelNotFound { level } => write!(f, "there is no RiskLevel {level}"),
            Self::Prohibited { level } => write!(f, "risk level {level} is prohibited"),
            Self::Decommissioned { since, why, successor } => {
                write!(f, "decommissioned since {since}: {why}")?;
                successor.iter().try_for_each(|next| write!(f, " (successor: {next})"))
            }
            Self::Revoked { by, at, why, elsewhere } => {
                write!(f, "revoked by {by} at {at}")?;
                elsewhere.iter().try_for_each(|elsewhere| write!(f, "{elsewhere}"))?;
                why.iter().try_for_each(|why| write!(f, ": {why}"))
            }
            Self::Rejected { by, role, why, elsewhere } => {
                write!(f, "rejected by {by} as {role}")?;
                elsewhere.iter().try_for_each(|elsewhere| write!(f, "{elsewhere}"))?;
                why.iter().try_for_each(|why| write!(f, ": {why}"))
            }
            Self::ImageNotPinned { image } => write!(f, "image {image} is not pinned by digest"),
            Self::DocumentMissing { document } => write!(f, "documentation of type {document} is missing"),
            Self::EvidenceMissing { evidence } => write!(f, "provenance does not state {evidence:?}"),
            Self::CertificationMissing { certification } => {
                write!(f, "the provider has no current certification {certification}")
            }
            Self::ApprovalExpired { role, needed, have, since } => {
                write!(f, "approval by role {role} expired at {since}: {have} of {needed} stand")
            }
            Self::AwaitingApproval { role, needed, have, owners, authors, in_several_roles } => {
                write!(f, "awaiting approval by role {role}: {have} of {needed} given")?;
                if !owners.is_empty() {
                    write!(f, "; {} owns the system and does not count", owners.join(", "))?;
                }
                if !authors.is_empty() {
                    let people = authors.join(", ");
                    write!(
                        f,
                        "; {people} created the version or last changed the system, and does not count"
                    )?;
                }
                if !in_several_roles.is_empty() {
                    let people = in_several_roles.join(", ");
                    write!(f, "; {people} approved in several roles, and one person fills only one")?;
                }
                Ok(())
            }
            Self::CapacityExceeded(capacity) => capacity.fmt(f),
        }
    }
}
