//! The reasons why a model version may not run. Each reason has a stable word for programs, a text for people, and the
//! next step for a person.

use std::fmt;

use k8s_openapi::jiff::Timestamp;

use super::{
    Capacity, CitedResult, Comparison, Hold, Inconclusive, MissedReview, MissingMonitor, MissingToResume,
    OverdueReview, RecordedDecision, UnmetCause, UnmetRequirement,
};
use crate::api::{Evidence, RiskRating, VolumeKind};

/// A decision that applies to the judged version, although it names another version. Both versions have the same
/// content.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Elsewhere {
    /// The version that the decision names.
    pub version: String,
    /// The name of the `Approval`.
    pub approval: String,
}

impl Elsewhere {
    /// The version in `statement`, and the name of the `Approval`. `None` if `statement` names the judged version
    /// `name`.
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

/// A reason why a version is not cleared. The variants are in the order of importance. The `Cleared` condition of the
/// version shows the word of the most important reason.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The version names a system that does not exist.
    SystemNotFound {
        /// The name of the missing system.
        system: String,
    },
    /// The system names a risk level that does not exist.
    RiskLevelNotFound {
        /// The name of the missing level.
        level: String,
    },
    /// Systems of the level may never run.
    Prohibited {
        /// The name of the prohibited level.
        level: String,
    },
    /// The decommission date of the system has passed.
    Decommissioned {
        /// The decommission date.
        since: Timestamp,
        /// The reason for the decommission, in the words of the owner.
        why: String,
        /// The name of the system that replaces the decommissioned system, if the owner states one.
        successor: Option<String>,
    },
    /// A revocation is in effect.
    Revoked {
        /// The user who made the last revocation.
        by: String,
        /// The time of the last revocation.
        at: Timestamp,
        /// The reason for the revocation.
        why: Option<String>,
        /// Set if the revocation names another version with the same content.
        elsewhere: Option<Elsewhere>,
    },
    /// A rejection is in effect.
    Rejected {
        /// The user who rejected the version.
        by: String,
        /// The role in which the user rejected the version.
        role: String,
        /// The reason for the rejection.
        why: Option<String>,
        /// Set if the rejection names another version with the same content.
        elsewhere: Option<Elsewhere>,
    },
    /// An incident holds the version.
    Held(Hold),
    /// The review of an override of the system is overdue, and the level lets a missed review withhold versions.
    OverrideNotReviewed(MissedReview),
    /// The level requires digests, and the version names an image by tag.
    ImageNotPinned {
        /// The image reference in the version.
        image: String,
    },
    /// The level forbids the kind of a volume of the version.
    VolumeForbidden {
        /// The name of the volume.
        volume: String,
        /// The forbidden kind.
        kind: VolumeKind,
    },
    /// The newest signed result does not meet the threshold of a requirement.
    AssessmentFailed {
        /// The name of the requirement in the level.
        requirement: String,
        /// The newest signed result.
        result: CitedResult,
        /// How the result must compare with the threshold.
        needed: Comparison,
    },
    /// The newest signed result does not show whether the version meets a requirement.
    AssessmentInconclusive {
        /// The name of the requirement in the level.
        requirement: String,
        /// The newest signed result.
        result: CitedResult,
        /// The cause that makes the result inconclusive.
        cause: Inconclusive,
    },
    /// An expression of the level is invalid, fails, or is false for the version.
    RequirementNotMet(UnmetRequirement),
    /// A document that the level requires is missing.
    DocumentMissing {
        /// The type of the document.
        document: String,
    },
    /// The provenance of the version lacks a part that the level requires.
    EvidenceMissing {
        /// The missing part.
        evidence: Evidence,
    },
    /// A monitor that the level requires is missing, differs from the level, is looser than the level allows,
    /// or never had a value.
    MonitorMissing(MissingMonitor),
    /// The provider of the system or of a hosted model has no current certification of a required name. If the level
    /// names a role for signatures, a certification without a signature in this role does not count.
    CertificationMissing {
        /// The name of the certification.
        certification: String,
        /// The provider of the hosted model. `None` for the provider of the system.
        supplier: Option<String>,
        /// The role in which a person must have signed the certification. `None` if the level requires no signature.
        role: Option<String>,
    },
    /// The provider of a hosted model retired the model.
    HostedModelRetired {
        /// The name of the hosted model in the system.
        model: String,
        /// The time of the retirement.
        since: Timestamp,
    },
    /// The level requires an agreement for each hosted model, and a hosted model has none.
    AgreementMissing {
        /// The name of the hosted model in the system.
        model: String,
    },
    /// The level requires that the system states risks, and the system states none.
    RiskMissing,
    /// The rating of a risk after its treatment is higher than the level accepts.
    RiskTooHigh {
        /// The name of the risk.
        risk: String,
        /// The rating of the risk after its treatment.
        residual: RiskRating,
        /// The highest accepted rating.
        accepted: RiskRating,
    },
    /// The review of a risk or document is overdue, or the system does not state the dates of this review.
    ReviewOverdue(OverdueReview),
    /// The newest signed result is older than the requirement allows.
    AssessmentExpired {
        /// The name of the requirement in the level.
        requirement: String,
        /// The newest signed result.
        result: CitedResult,
        /// The time at which the result reached the maximum age.
        since: Timestamp,
        /// The role in which a person must sign a new result.
        role: String,
    },
    /// There is no signed result for a requirement of the level.
    AssessmentMissing {
        /// The name of the requirement in the level.
        requirement: String,
        /// The metric with its slice.
        measure: String,
        /// The role in which a person must sign the result.
        role: String,
        /// The name of an `Assessment` that states the metric and that nobody signed in the role. Of several such
        /// assessments, the newest one that would not meet the requirement, or else the newest one.
        unsigned: Option<String>,
    },
    /// Approvals in a role ended, and too few valid approvals are left. The end of an approval does not count if the
    /// same person has another valid approval in the role.
    ApprovalExpired {
        /// The name of the required role.
        role: String,
        /// The number of required approvals.
        needed: usize,
        /// The number of people whose approvals count in the role.
        have: usize,
        /// The end of the approval that ended last.
        since: Timestamp,
    },
    /// There are too few approvals in a role.
    AwaitingApproval {
        /// The name of the required role.
        role: String,
        /// The number of required approvals.
        needed: usize,
        /// The number of people whose approvals count in the role.
        have: usize,
        /// The users who own the system. Their approvals do not count.
        owners: Vec<String>,
        /// The users who wrote the version or the system. Their approvals do not count.
        authors: Vec<String>,
        /// The users who approved in this role and in another required role, if the level separates duties. One person
        /// then fills only one role, so at least one of these approvals does not count in this role.
        in_several_roles: Vec<String>,
    },
    /// The version does not fit into the `Clearance`.
    CapacityExceeded(Capacity),
}

impl Reason {
    /// Whether the reason is that approvals are missing or expired. False for [`Self::Revoked`] and [`Self::Rejected`],
    /// although an approval can end a revocation or a rejection.
    pub const fn is_for_want_of_approval(&self) -> bool {
        matches!(self, Self::AwaitingApproval { .. } | Self::ApprovalExpired { .. })
    }

    /// The stable machine-readable reason, in upper camel case.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::SystemNotFound { .. } => "SystemNotFound",
            Self::RiskLevelNotFound { .. } => "RiskLevelNotFound",
            Self::Prohibited { .. } => "Prohibited",
            Self::Decommissioned { .. } => "Decommissioned",
            Self::Revoked { .. } => "Revoked",
            Self::Rejected { .. } => "Rejected",
            Self::Held(_) => "Held",
            Self::OverrideNotReviewed(_) => "OverrideNotReviewed",
            Self::ImageNotPinned { .. } => "ImageNotPinned",
            Self::VolumeForbidden { .. } => "VolumeForbidden",
            Self::RequirementNotMet(UnmetRequirement { cause: UnmetCause::Invalid(_), .. }) => {
                "RequirementInvalid"
            }
            Self::RequirementNotMet(_) => "RequirementNotMet",
            Self::AssessmentFailed { .. } => "AssessmentFailed",
            Self::AssessmentInconclusive { .. } => "AssessmentInconclusive",
            Self::AssessmentExpired { .. } => "AssessmentExpired",
            Self::AssessmentMissing { .. } => "AssessmentMissing",
            Self::DocumentMissing { .. } => "DocumentMissing",
            Self::EvidenceMissing { .. } => "EvidenceMissing",
            Self::MonitorMissing(_) => "MonitorMissing",
            Self::CertificationMissing { .. } => "CertificationMissing",
            Self::HostedModelRetired { .. } => "HostedModelRetired",
            Self::AgreementMissing { .. } => "AgreementMissing",
            Self::RiskMissing => "RiskMissing",
            Self::RiskTooHigh { .. } => "RiskTooHigh",
            Self::ReviewOverdue(_) => "ReviewOverdue",
            Self::ApprovalExpired { .. } => "ApprovalExpired",
            Self::AwaitingApproval { .. } => "AwaitingApproval",
            Self::CapacityExceeded(_) => "CapacityExceeded",
        }
    }

    /// Whether the reason sets the condition `Stalled` of the version, which kstatus reports as a failure. For any
    /// other reason, kstatus reports no failure, even if a person must change an object.
    pub const fn is_stalled(&self) -> bool {
        matches!(
            self,
            Self::Prohibited { .. }
                | Self::Revoked { .. }
                | Self::Rejected { .. }
                | Self::Held(_)
                | Self::OverrideNotReviewed(_)
                | Self::ImageNotPinned { .. }
                | Self::VolumeForbidden { .. }
                | Self::EvidenceMissing { .. }
                | Self::RequirementNotMet(_)
                | Self::AssessmentFailed { .. }
                | Self::AssessmentInconclusive { .. }
        )
    }

    /// The next step so that this reason no longer withholds `version` of `system`. The text names a command if there
    /// is one.
    pub fn remedy(&self, namespace: &str, system: &str, version: &str) -> String {
        let command = |verb: &str, options: &str| {
            format!("kubectl assent {verb} {system} --version {version}{options} -n {namespace}")
        };
        let in_role = |verb: &str, role: &str| {
            format!("someone in role {role} runs: {}", command(verb, &format!(" --role {role}")))
        };
        let edit = |what: &str| format!("{what}: kubectl edit aisystem/{system} -n {namespace}");
        let (assess, attest) = (command("assess", " -f FILE"), command("attest", ""));
        match self {
            Self::SystemNotFound { system } => format!(
                "create it: kubectl explain aisystem.spec; then apply an AISystem named {system} in namespace {namespace}"
            ),
            Self::RiskLevelNotFound { .. } => "list the risk levels: kubectl get risklevels".to_owned(),
            Self::Prohibited { .. } => format!(
                "if the level is wrong: kubectl edit aisystem/{system} -n {namespace} (needs the verb \"use\" on the new level)"
            ),
            Self::Decommissioned { successor: Some(next), .. } => {
                format!("use its successor: kubectl assent status {next} -n {namespace}")
            }
            Self::Decommissioned { successor: None, .. } => "remove its workloads".to_owned(),
            Self::Revoked { .. } => format!(
                "when resolved, every role approves again: kubectl assent approve {system} --version {version} -n {namespace}"
            ),
            Self::Rejected { by, role, .. } => format!(
                "only {by} can lift this, by approving: kubectl assent approve {system} --version {version} --role {role} -n {namespace}"
            ),
            Self::Held(Hold { incident, missing: MissingToResume::Notes(types), .. }) => {
                let next = types.first().map_or("", |next| next.option());
                format!(
                    "note it: kubectl assent incident note {incident} --type {next} --text TEXT -n {namespace}"
                )
            }
            Self::Held(Hold { incident, missing: MissingToResume::Acknowledgement { .. }, .. }) => {
                format!("acknowledge it: kubectl assent incident acknowledge {incident} -n {namespace}")
            }
            Self::Held(Hold { incident, missing: MissingToResume::Review { role, .. }, .. }) => {
                let role = role.as_ref().map(|role| format!(" --role {role}")).unwrap_or_default();
                format!("review it: kubectl assent incident review {incident}{role} -n {namespace}")
            }
            Self::Held(Hold { incident, missing, .. }) => {
                let role = match missing {
                    MissingToResume::Approvals { role, .. } => format!(" --role {role}"),
                    _ => String::new(),
                };
                command("resume", &format!(" --incident {incident}{role}"))
            }
            Self::OverrideNotReviewed(missed) => format!(
                "another person than the requester and the granters reviews it: kubectl assent override review {} -n {namespace}",
                missed.name
            ),
            Self::ImageNotPinned { image } => {
                format!("create a new ModelVersion that names {image} by digest (…@sha256:…)")
            }
            Self::VolumeForbidden { volume, .. } => {
                format!("create a new ModelVersion with another kind of volume {volume}")
            }
            Self::RequirementNotMet(UnmetRequirement { cause: UnmetCause::Invalid(_), .. }) => {
                "governance corrects the expression: kubectl get risklevels".to_owned()
            }
            Self::RequirementNotMet(_) => {
                edit("create a new ModelVersion that meets it, or change the system")
            }
            Self::DocumentMissing { document } => edit(&format!("add documentation of type {document}")),
            Self::EvidenceMissing { evidence } => {
                format!("create a new ModelVersion whose provenance states {evidence:?}")
            }
            Self::MonitorMissing(missing) => missing.remedy(namespace, system),
            Self::CertificationMissing { certification, supplier, role } => {
                let of = supplier.as_ref().map(|supplier| format!(" of supplier {supplier}"));
                let of = of.unwrap_or_default();
                let by = role.as_ref().map(|role| format!(", which a person in role {role} signed"));
                edit(&format!("add a current certification {certification}{of}{}", by.unwrap_or_default()))
            }
            Self::HostedModelRetired { model, .. } => edit(&format!("replace the hosted model {model}")),
            Self::AgreementMissing { model } => {
                edit(&format!("add the agreement of the hosted model {model}"))
            }
            Self::RiskMissing => edit("state the risks in spec.risks"),
            Self::RiskTooHigh { risk, .. } => edit(&format!("treat risk {risk}, and state its new rating")),
            Self::ReviewOverdue(OverdueReview { of, .. }) => {
                edit(&format!("review {of}, and state the new dates, which every role approves again"))
            }
            Self::AssessmentFailed { .. } => {
                format!("create a new ModelVersion, or record a newer result: {assess}")
            }
            Self::AssessmentInconclusive {
                cause: Inconclusive::SignatureNotValid | Inconclusive::SignerInvolved,
                ..
            } => format!("another person in the role signs it: {attest}"),
            Self::AssessmentInconclusive { .. } => format!("record a newer result: {assess}"),
            Self::AssessmentExpired { role, .. } | Self::AssessmentMissing { role, unsigned: None, .. } => {
                format!("record a result: {assess}; then someone in role {role} signs it: {attest}")
            }
            Self::AssessmentMissing { role, unsigned: Some(_), .. } => in_role("attest", role),
            Self::ApprovalExpired { role, .. } | Self::AwaitingApproval { role, .. } => {
                in_role("approve", role)
            }
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
            Self::Held(hold) => hold.fmt(f),
            Self::OverrideNotReviewed(missed) => {
                write!(f, "the review of override/{} is missed: it was due at {}", missed.name, missed.due)
            }
            Self::ImageNotPinned { image } => write!(f, "image {image} is not pinned by digest"),
            Self::VolumeForbidden { volume, kind } => {
                write!(f, "volume {volume} is of kind {kind}, which the risk level forbids")
            }
            Self::AssessmentFailed { requirement, result, needed } => {
                write!(f, "requirement {requirement} is not met: {result}, {needed} is required")
            }
            Self::AssessmentInconclusive { requirement, result, cause } => {
                write!(f, "requirement {requirement} is open: {result}, but {cause}")
            }
            Self::AssessmentExpired { requirement, result, since, .. } => {
                write!(f, "requirement {requirement} expired at {since}: {result}")
            }
            Self::AssessmentMissing { requirement, measure, unsigned, .. } => {
                write!(f, "requirement {requirement} has no signed result for {measure}")?;
                unsigned.iter().try_for_each(|name| write!(f, " (assessment/{name} awaits a signature)"))
            }
            Self::RequirementNotMet(unmet) => unmet.fmt(f),
            Self::DocumentMissing { document } => write!(f, "documentation of type {document} is missing"),
            Self::EvidenceMissing { evidence } => write!(f, "provenance does not state {evidence:?}"),
            Self::MonitorMissing(missing) => missing.fmt(f),
            Self::CertificationMissing { certification, supplier, role } => {
                match supplier {
                    None => f.write_str("the provider")?,
                    Some(supplier) => write!(f, "supplier {supplier}")?,
                }
                write!(f, " has no current certification {certification}")?;
                role.iter().try_for_each(|role| write!(f, " with a signature in role {role}"))
            }
            Self::HostedModelRetired { model, since } => {
                write!(f, "the provider retired the hosted model {model} at {since}")
            }
            Self::AgreementMissing { model } => write!(f, "the hosted model {model} has no agreement"),
            Self::RiskMissing => f.write_str("the system states no risk"),
            Self::RiskTooHigh { risk, residual, accepted } => {
                write!(f, "risk {risk} is rated {residual}, and at most {accepted} is accepted")
            }
            Self::ReviewOverdue(overdue) => overdue.fmt(f),
            Self::ApprovalExpired { role, needed, have, since } => {
                write!(f, "approval by role {role} expired at {since}: {have} of {needed} still valid")
            }
            Self::AwaitingApproval { role, needed, have, owners, authors, in_several_roles } => {
                write!(f, "awaiting approval by role {role}: {have} of {needed} given")?;
                match &owners[..] {
                    [] => {}
                    [owner] => write!(f, "; {owner} owns the system and does not count")?,
                    several => write!(f, "; {} own the system and do not count", several.join(", "))?,
                }
                if !authors.is_empty() {
                    let (people, does) = (authors.join(", "), if authors.len() == 1 { "does" } else { "do" });
                    write!(
                        f,
                        "; {people} created the version or last changed the system, and {does} not count"
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
