//! Finds the version and the role of a decision if the command line does not name them.
//!
//! If several versions or several roles are possible, the command fails, and the error lists these versions or roles.
//! There is no default, because a person could then sign the wrong version or in the wrong role.

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::{
    api::{Decision, ModelVersion},
    cli::{
        connect::{
            rbac,
            session::Session,
            system_record::{OwnedJudgement, SystemRecord},
        },
        error::{Error, Next, Result, can_i, verb},
        render::shell::CommandLine,
    },
    policy::Reason,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Allows a version to run.
    Approve,
    /// Allows a version to run longer than its current clearance, or again after its approvals expired.
    Renew,
    /// Forbids a version to run.
    Reject,
    /// Voids all approvals of a version, so that the version stops.
    Revoke,
}

impl Act {
    pub const fn decision(self) -> Decision {
        match self {
            Self::Approve | Self::Renew => Decision::Approve,
            Self::Reject => Decision::Reject,
            Self::Revoke => Decision::Revoke,
        }
    }

    pub const fn verb(self) -> &'static str {
        match self {
            Self::Renew => "renew",
            act => verb(act.decision()),
        }
    }

    /// The versions to which the act can apply if the command line names no version.
    fn candidates<'a, 'b>(
        self,
        judged: &'b [(&'a ModelVersion, OwnedJudgement)],
    ) -> Vec<&'b (&'a ModelVersion, OwnedJudgement)> {
        let with = |is: fn(&OwnedJudgement) -> bool| {
            judged.iter().filter(|(_, judgement)| is(judgement)).collect::<Vec<_>>()
        };
        match self {
            Self::Revoke => with(OwnedJudgement::is_cleared),
            Self::Approve | Self::Reject => with(|judgement| judgement.reasons().iter().any(awaits)),
            Self::Renew => {
                let ending = with(|judgement| judgement.is_cleared() && judgement.not_after.is_some());
                if ending.is_empty() { with(has_expired) } else { ending }
            }
        }
    }

    const fn looks_for(self) -> &'static str {
        match self {
            Self::Revoke => "is cleared",
            Self::Renew => "has a clearance that ends or has ended",
            Self::Approve | Self::Reject => "awaits approval",
        }
    }
}

/// Returns the version `wanted`, or else the only version to which `act` can apply. Fails if there is no such version.
/// Also fails if `wanted` is `None` and `act` can apply to several versions.
pub fn version<'a>(
    record: &'a SystemRecord,
    act: Act,
    wanted: Option<&str>,
    typed: &CommandLine,
    now: Timestamp,
) -> Result<&'a ModelVersion> {
    let with = |version: &str| typed.clone().with("--version", [version]).to_string();
    if let Some(name) = wanted {
        return record
            .version(name)
            .ok_or_else(|| record.no_version(name, |other| Some(Next::new(with(other), other))));
    }
    let judged: Vec<_> = record.versions.iter().map(|v| (v, record.rule(v, None, now))).collect();
    let matching = act.candidates(&judged);
    if let [(version, _)] = matching[..] {
        return Ok(version);
    }
    let system = &record.name;
    let looked_for = act.looks_for();
    let (question, offered): (_, Vec<_>) = if judged.is_empty() {
        (format!("no ModelVersion names system {system}: there is nothing to {}", act.verb()), Vec::new())
    } else if matching.is_empty() {
        (format!("no version of {system} {looked_for}; name one with --version"), judged.iter().collect())
    } else {
        (format!("more than one version of {system} {looked_for}; name one with --version"), matching)
    };
    let next = offered.into_iter().map(|(v, judgement)| Next::new(with(&v.name_any()), state(v, judgement)));
    Err(Error::Choose { question, next: next.collect() })
}

const fn awaits(reason: &Reason) -> bool {
    reason.is_for_want_of_approval() || matches!(reason, Reason::Revoked { .. })
}

fn has_expired(judgement: &OwnedJudgement) -> bool {
    let reasons = judgement.reasons();
    reasons.iter().all(Reason::is_for_want_of_approval)
        && reasons.iter().any(|reason| matches!(reason, Reason::ApprovalExpired { .. }))
}

fn state(version: &ModelVersion, judgement: &OwnedJudgement) -> String {
    let state = judgement.reasons().first().map_or("cleared".to_owned(), crate::cli::review::missing);
    format!("{}, {state}", version.name_any())
}

/// Returns the role `wanted`, or else the only role that the risk level requires and the person holds. Fails if
/// `wanted` is `None` and the person holds no required role or more than one.
pub async fn role(
    session: &Session,
    record: &SystemRecord,
    version: &ModelVersion,
    wanted: Option<&str>,
    typed: &CommandLine,
) -> Result<String> {
    if let Some(role) = wanted {
        return Ok(role.to_owned());
    }
    let subject = format!("{} of {}", version.name_any(), record.name);
    let needed: Vec<&str> = record.roles().collect();
    if needed.is_empty() {
        let question =
            format!("the risk level of {} requires no approval: name your role with --role", record.name);
        return Err(Error::Choose { question, next: vec![can_i("ROLE")] });
    }
    let held = rbac::held(&session.client, needed.iter().copied()).await?;
    match &held[..] {
        [] => Err(Error::NoRole {
            user: rbac::myself(&session.client).await?.user,
            subject,
            roles: needed.into_iter().map(str::to_owned).collect(),
        }),
        [role] => Ok((*role).to_owned()),
        several => {
            let typed = typed.clone().with("--version", [version.name_any()]);
            let next =
                several.iter().map(|role| Next::new(typed.clone().with("--role", [role]).to_string(), *role));
            let one = if record.separates_duties() { ": one person fills one role" } else { "" };
            let question = format!(
                "you hold {} roles that decide on {subject}; name one with --role{one}",
                several.len()
            );
            Err(Error::Choose { question, next: next.collect() })
        }
    }
}

/// Returns the only one of `roles` that the user holds. Fails if the user holds none or more than one of these roles.
/// `to_do` names the act that the roles allow, such as `resume a version`.
pub async fn held_role(
    session: &Session,
    record: &SystemRecord,
    roles: &[&str],
    (decision, to_do): (Decision, &str),
) -> Result<String> {
    let held = rbac::held(&session.client, roles.iter().copied()).await?;
    match &held[..] {
        [role] => Ok((*role).to_owned()),
        [] => Err(Error::Choose {
            question: format!("you hold none of the roles that {to_do}: {}", roles.join(", ")),
            next: vec![Next::new(
                format!(
                    "kubectl assent who-can {} {} -n {}{}",
                    verb(decision),
                    record.name,
                    record.namespace,
                    session.flags
                ),
                "see who holds them",
            )],
        }),
        several => Err(Error::Choose {
            question: format!("you hold several roles; name one with --role: {}", several.join(", ")),
            next: Vec::new(),
        }),
    }
}
