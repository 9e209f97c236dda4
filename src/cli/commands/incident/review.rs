//! Records the review that is due after an incident.
//!
//! ```text
//!  show the incident, notes and decisions ─► ask ─┬─► Approval in the cluster
//!                                                 └─► --ssh-key: signed Approval in a file
//! ```

use std::path::PathBuf;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use k8s_openapi::jiff::Timestamp;
use kube::{Api, ResourceExt};

use super::incident_record::{DecisionOnIncident, IncidentRecord, say_notes};
use crate::{
    api::{Approval, Decision, Digest, ModelVersion, ReviewOutcome},
    cli::{
        commands::{
            ask, completion,
            offline_sign::{Detached, SshKey},
            resolve,
            sign::{params, signer},
        },
        connect::{rbac, session::Session},
        error::{Error, Next, Result, can_i},
        render::{
            page::{GOOD, LOOK, PLAIN, Page, STRONG},
            shell::{CommandLine, value_name},
            time::in_words,
        },
    },
    policy::{DueReview, due_review, required_to_review},
};

#[derive(Args, Clone, Debug)]
pub struct ReviewArgs {
    /// Incident
    #[arg(value_name = "INCIDENT", add = ArgValueCompleter::new(completion::incidents))]
    incident: String,
    /// Your judgement of the reaction to the incident
    #[arg(long, value_name = "OUTCOME", value_enum, default_value = "Justified")]
    outcome: ReviewOutcome,
    /// Lessons from the incident, and the changes that followed, for the record
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Role in which you review (default: the only required role that you hold)
    #[arg(long, value_name = "ROLE", add = ArgValueCompleter::new(completion::roles))]
    role: Option<String>,
    /// Do not ask for confirmation
    #[arg(short, long)]
    yes: bool,
    /// File of an SSH key that the role lists: the private key, or the public key if an agent holds the
    /// private key; needs --to
    #[arg(long, value_name = "FILE", requires = "to")]
    ssh_key: Option<PathBuf>,
    /// File for the signed decision; the decision counts after any user applies the file
    #[arg(long, value_name = "FILE", requires = "ssh_key")]
    to: Option<PathBuf>,
}

impl ReviewArgs {
    fn typed(&self, place: &str) -> CommandLine {
        CommandLine::new("incident review", &[&self.incident], place)
            .with("--outcome", [value_name(&self.outcome)])
            .with("--reason", [&self.reason])
            .with("--role", &self.role)
            .with_paths("--ssh-key", &self.ssh_key)
            .with_paths("--to", &self.to)
    }
}

pub async fn review(session: &Session, args: &ReviewArgs) -> Result<()> {
    let found = IncidentRecord::read(session, &args.incident).await?;
    let level = found.level().ok_or_else(|| choose("the system of the incident has no risk level"))?;
    let required =
        required_to_review(level).ok_or_else(|| choose("the risk level requires no review of incidents"))?;
    let due = found.judged(|incident| due_review(incident, level))?;
    let due = due.ok_or_else(|| too_early(session, &found))?;
    let (version, digest) = subject(&found)?;
    let roles: Vec<&str> = required.iter().map(|required| required.role.as_str()).collect();
    let by = args.ssh_key.clone().zip(args.to.clone()).map(|(key, to)| Detached { key: SshKey(key), to });
    let (role, user) = match &by {
        Some(by) => {
            let keys = &found.record.keys;
            let (role, key) = by.key.role(keys, &roles, args.role.as_deref(), Timestamp::now())?;
            (role, key.approver.user)
        }
        None => (role(session, &found, &roles, args).await?, rbac::myself(&session.client).await?.user),
    };
    anstream::print!("{}", page(&found, args, (&role, &user), &due, Timestamp::now()));
    confirm(session, &found, args, &role)?;
    let decision = DecisionOnIncident {
        found: &found,
        version: &version,
        digest,
        decision: Decision::Review,
        outcome: Some(args.outcome),
        role: role.clone(),
        reason: Some(args.reason.clone()),
    };
    if let Some(by) = by {
        return by.finish(decision.approval(None), &found.record, &user);
    }
    let api = Api::<Approval>::namespaced(session.client.clone(), &session.namespace);
    let created = api.create(&params(false), &decision.approval(signer(session).await?)).await;
    let created = created.map_err(|source| Error::Api {
        doing: format!("record your review as {role}"),
        source: Box::new(source),
        next: vec![can_i(&role)],
    })?;
    let mut page = Page::default();
    page.mark("✓", GOOD, &format!("Recorded: approval/{} by {user} as {role}", created.name_any()));
    page.mark("-", PLAIN, "see whether the review is complete:");
    page.command(&format!(
        "kubectl assent incident show {} -n {}{}",
        found.name(),
        session.namespace,
        session.flags
    ));
    anstream::print!("\n{}", page.finish());
    Ok(())
}

fn choose(question: &str) -> Error {
    Error::Choose { question: question.to_owned(), next: Vec::new() }
}

fn too_early(session: &Session, found: &IncidentRecord) -> Error {
    let (name, place) = (found.name(), format!(" -n {}{}", session.namespace, session.flags));
    Error::Choose {
        question: format!("people neither resumed a version nor closed incident/{name}, so no review is due"),
        next: vec![Next::new(
            format!("kubectl assent incident close {name} --reason TEXT{place}"),
            "close it",
        )],
    }
}

/// Returns the version for the Approval of the review, and the digest of the version. This is the version of the first
/// decision to resume. Without such a decision, it is the first version that the incident names. If the incident names
/// no version, it is the newest version of the system.
fn subject(found: &IncidentRecord) -> Result<(String, Digest)> {
    let resumed = found.decisions().into_iter().find(|decision| decision.spec.decision == Decision::Resume);
    let resumed =
        resumed.map(|resume| (resume.spec.model_version.clone(), resume.spec.subject_digest.clone()));
    let concerned = found.incident.spec.model_versions.first();
    let concerned = concerned.map(|version| (version.name.to_string(), version.subject_digest.clone()));
    let newest = found.record.versions.first();
    let newest = || {
        newest.and_then(|version: &ModelVersion| Some((version.name_any(), found.record.digest(version)?)))
    };
    resumed.or(concerned).or_else(newest).ok_or_else(|| choose("the system of the incident has no version"))
}

async fn role(
    session: &Session,
    found: &IncidentRecord,
    roles: &[&str],
    args: &ReviewArgs,
) -> Result<String> {
    if let Some(role) = &args.role {
        return Ok(role.clone());
    }
    if roles.is_empty() {
        return Err(choose("the risk level requires no role to review; name your role with --role"));
    }
    resolve::held_role(session, &found.record, roles, (Decision::Review, "review an incident")).await
}

fn page(
    found: &IncidentRecord,
    args: &ReviewArgs,
    (role, user): (&str, &str),
    due: &DueReview,
    now: Timestamp,
) -> String {
    let mut page = Page::default();
    page.say(STRONG, &format!("You are about to review incident/{} of {}", found.name(), found.record.name));
    page.say(PLAIN, &format!("as {user}, in role {role}, with the outcome {:?}", args.outcome));
    page.prose("reason", &args.reason);
    page.prose("event", &found.incident.spec.description);
    page.field("due", &in_words(due.due, now));
    if let Some(missing) = due.missing.as_ref().filter(|_| due.due <= now) {
        page.mark("!", LOOK, &missing.to_string());
    }
    say_notes(&mut page, &found.record, &found.incident, now);
    page.heading("DECISIONS TO RESUME");
    for decision in found.decisions().iter().filter(|decision| decision.spec.decision == Decision::Resume) {
        let spec = &decision.spec;
        let by = found.record.approver(decision).map_or("not known".to_owned(), |by| by.user.clone());
        page.mark("-", PLAIN, &format!("{} by {by} as {}", spec.model_version, spec.role));
    }
    page.prose("final", "the review counts under your name; no user can edit or delete it");
    page.finish()
}

fn confirm(session: &Session, found: &IncidentRecord, args: &ReviewArgs, role: &str) -> Result<()> {
    if args.yes {
        return Ok(());
    }
    if ask::is_interactive() {
        return ask::for_yes(&format!("Review incident/{}", found.name()));
    }
    let command = args.typed(&session.place()).with("--role", [role]).confirmed();
    Err(Error::NotATerminal { command })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixtures::{PLACE, assert_repeated};

    #[test]
    fn proposed_review_keeps_every_typed_flag() {
        let review =
            "drift --outcome NotJustified --reason late --role auditor --ssh-key key --to review.yaml";
        assert_repeated("incident review", review, |args: &ReviewArgs| args.typed(PLACE));
    }
}
