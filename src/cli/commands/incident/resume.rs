//! Signs that a held version may run again. Shows the incident and its notes, asks for confirmation, and records an
//! Approval.
//!
//! ```text
//!  choose the incident, version and role ─► review ─► ask ─┬─► Approval in the cluster ─► outcome
//!                                                          └─► --ssh-key: signed Approval in a file
//! ```
//!
//! The Approval contains the digest of the incident and the digest of the version that the command showed. So the
//! Approval lifts no other hold.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{Api, ResourceExt};

use super::incident_record::{DecisionOnIncident, IncidentRecord, say_notes};
use crate::{
    api::{Approval, Approver, Decision, Digest, Incident, ModelVersion, NoteType},
    cli::{
        commands::{
            ask, completion,
            offline_sign::{Detached, SshKey},
            outcome, resolve,
            sign::{params, signer},
        },
        connect::{
            rbac,
            session::Session,
            system_record::{SystemRecord, recorded_at},
            target::system_name,
        },
        error::{Error, Next, Result, can_i},
        render::{
            page::{GOOD, LOOK, PLAIN, Page, STRONG},
            shell::CommandLine,
            time::in_words,
        },
        review::missing,
    },
    policy::{Hold, MissingToResume, Reason, required_to_resume},
};

#[derive(Args, Clone, Debug)]
pub struct ResumeArgs {
    /// AI system
    #[arg(value_parser = system_name, add = ArgValueCompleter::new(completion::systems))]
    system: String,
    /// Incident whose hold ends (default: the only one that holds the version)
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(completion::incidents))]
    incident: Option<String>,
    /// Version that may run again (default: the only held version)
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(completion::versions))]
    version: Option<String>,
    /// Role in which you decide (default: the only required role that you hold)
    #[arg(long, value_name = "ROLE", add = ArgValueCompleter::new(completion::roles))]
    role: Option<String>,
    /// Reason, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Do not ask for confirmation
    #[arg(short, long)]
    yes: bool,
    /// File of an SSH key that the role lists: the private key, or the public key if an agent holds the private key;
    /// needs --to
    #[arg(long, value_name = "FILE", requires = "to")]
    ssh_key: Option<PathBuf>,
    /// File for the signed decision; the decision counts after any user applies the file
    #[arg(long, value_name = "FILE", requires = "ssh_key")]
    to: Option<PathBuf>,
}

struct Request<'a> {
    session: &'a Session,
    found: &'a IncidentRecord,
    args: &'a ResumeArgs,
    version: &'a ModelVersion,
    digest: Digest,
    role: String,
}

impl ResumeArgs {
    fn typed(&self, place: &str) -> CommandLine {
        CommandLine::new("resume", &[&self.system], place)
            .with("--incident", &self.incident)
            .with("--version", &self.version)
            .with("--role", &self.role)
            .with("--reason", &self.reason)
            .with_paths("--ssh-key", &self.ssh_key)
            .with_paths("--to", &self.to)
    }
}

pub async fn resume(session: &Session, args: &ResumeArgs) -> Result<()> {
    let record = SystemRecord::read(&session.client, &session.namespace, &args.system).await?;
    record.system(&session.client).await?;
    record.refuse_without_incidents()?;
    let now = Timestamp::now();
    let (version, hold) = held(session, &record, args)?;
    let incident = record.incidents.iter().find(|incident| incident.name_any() == hold.incident);
    let incident = incident.ok_or_else(|| choose("the incident does not exist"))?;
    refuse_other_steps(session, &hold, version)?;
    refuse_other_digest(&record, incident)?;
    let found = IncidentRecord { incident: incident.clone(), record: record.clone() };
    let by = args.ssh_key.clone().zip(args.to.clone()).map(|(key, to)| Detached { key: SshKey(key), to });
    let level = record.level.as_ref().map(|level| &level.spec);
    let required = level.map(required_to_resume).unwrap_or_default();
    let roles: Vec<&str> = required.iter().map(|required| required.role.as_str()).collect();
    let (role, approver, stamped) = if let Some(by) = &by {
        let (role, key) = by.key.role(&record.keys, &roles, args.role.as_deref(), now)?;
        (role, key.approver, None)
    } else {
        let role = role(session, &record, &roles, args).await?;
        (role, rbac::myself(&session.client).await?, signer(session).await?)
    };
    let digest = record.digest(version).ok_or_else(|| choose("the system does not exist"))?;
    let request = Request { session, found: &found, args, version, digest, role };
    request.review(&approver, now);
    request.confirm()?;
    let approval = request.approval(stamped);
    if let Some(by) = by {
        request.wait_for_next_second(&async || Ok(Timestamp::now())).await?;
        return by.finish(approval, &record, &approver.user);
    }
    let create = async |dry_run: bool| request.create(&approval, dry_run).await;
    let clock = async || Ok(recorded_at(&create(true).await?).unwrap_or_default());
    request.wait_for_next_second(&clock).await?;
    outcome::report(session, &create(false).await?, &record).await
}

fn choose(question: &str) -> Error {
    Error::Choose { question: question.to_owned(), next: Vec::new() }
}

/// Returns the only hold that has begun and matches `--version` and `--incident`, with the held version. Fails if there
/// is no such hold or more than one.
fn held<'a>(
    session: &Session,
    record: &'a SystemRecord,
    args: &ResumeArgs,
) -> Result<(&'a ModelVersion, Hold)> {
    let is_version =
        |version: &&ModelVersion| args.version.as_ref().is_none_or(|name| version.name_any() == *name);
    let now = Timestamp::now();
    let is_incident =
        |hold: &Hold| hold.has_begun(now) && args.incident.as_ref().is_none_or(|name| hold.incident == *name);
    let holds = record.versions.iter().filter(is_version).flat_map(|version| {
        let holds = record.holds(version).into_iter().filter(is_incident);
        holds.map(move |hold| (version, hold))
    });
    let mut holds: Vec<_> = holds.collect();
    if holds.len() == 1 {
        return Ok(holds.remove(0));
    }
    let next = holds.iter().map(|(version, hold)| {
        let typed = args.typed(&session.place()).with("--incident", [&hold.incident]);
        let typed = typed.with("--version", [version.name_any()]);
        Next::new(typed.to_string(), hold.to_string())
    });
    if holds.is_empty() {
        return Err(Error::Choose {
            question: format!("no such incident holds a version of {}", record.name),
            next: vec![Next::new(format!("kubectl get incidents{}", session.place()), "list the incidents")],
        });
    }
    let question =
        format!("several holds of {} are possible; name the version and the incident", record.name);
    Err(Error::Choose { question, next: next.collect() })
}

/// Fails if a decision to resume would not count now. One possible reason is that required notes are missing. The other
/// is that a decision to resume cannot lift this hold, for example because the hold ends with a review.
fn refuse_other_steps(session: &Session, hold: &Hold, version: &ModelVersion) -> Result<()> {
    let types = match &hold.missing {
        MissingToResume::Notes(types) => types,
        MissingToResume::Acknowledgement { .. } | MissingToResume::Review { .. } => {
            let reason = Reason::Held(hold.clone());
            let remedy = reason.remedy(&session.namespace, &version.spec.system, &version.name_any());
            return Err(choose(&format!(
                "a decision to resume does not lift this hold: {}; {remedy}",
                hold.missing
            )));
        }
        _ => return Ok(()),
    };
    let command = |type_: &NoteType| {
        let command = format!(
            "kubectl assent incident note {} --type {} --text TEXT -n {}{}",
            hold.incident,
            type_.option(),
            session.namespace,
            session.flags
        );
        Next::new(command, format!("note the {}", type_.words()))
    };
    Err(Error::Choose {
        question: format!("nobody can resume yet: {}", hold.missing),
        next: types.iter().map(command).collect(),
    })
}

fn refuse_other_digest(record: &SystemRecord, incident: &Incident) -> Result<()> {
    let stated = incident.status.as_ref().and_then(|status| status.digest.as_ref());
    if stated.is_some_and(|stated| *stated != incident.spec.digest(&record.namespace)) {
        let name = incident.name_any();
        return Err(choose(&format!(
            "the operator computed another digest of incident/{name} than this program: update the plugin"
        )));
    }
    Ok(())
}

/// Returns the role that `--role` names, or else the only one of `roles` that the user holds.
async fn role(session: &Session, record: &SystemRecord, roles: &[&str], args: &ResumeArgs) -> Result<String> {
    if let Some(role) = &args.role {
        return Ok(role.clone());
    }
    if roles.is_empty() {
        return Err(choose("the risk level requires no role to resume; name your role with --role"));
    }
    resolve::held_role(session, record, roles, (Decision::Resume, "resume a version")).await
}

impl Request<'_> {
    async fn create(&self, approval: &Approval, dry_run: bool) -> Result<Approval> {
        let api = Api::<Approval>::namespaced(self.session.client.clone(), &self.session.namespace);
        api.create(&params(dry_run), approval).await.map_err(|source| Error::Api {
            doing: format!("record your decision to resume as {}", self.role),
            source: Box::new(source),
            next: vec![can_i(&self.role)],
        })
    }

    /// Waits until `clock` shows a later second than that of the last note about the incident. A decision to resume in
    /// the same second as a note does not count.
    async fn wait_for_next_second(&self, clock: &impl AsyncFn() -> Result<Timestamp>) -> Result<()> {
        let last = self.found.notes().filter_map(recorded_at).map(Timestamp::as_second).max();
        let Some(last) = last else { return Ok(()) };
        while clock().await?.as_second() <= last {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    fn approval(&self, approver: Option<Approver>) -> Approval {
        let decision = DecisionOnIncident {
            found: self.found,
            version: &self.version.name_any(),
            digest: self.digest.clone(),
            decision: Decision::Resume,
            outcome: None,
            role: self.role.clone(),
            reason: self.args.reason.clone(),
        };
        decision.approval(approver)
    }

    fn review(&self, approver: &Approver, now: Timestamp) {
        let mut page = Page::default();
        let (version, system, incident) =
            (self.version.name_any(), &self.found.record.name, self.found.name());
        let namespace = &self.found.record.namespace;
        page.say(STRONG, &format!("You are about to resume {version} of {system} in namespace {namespace}"));
        page.say(PLAIN, &format!("as {}, in role {}", approver.user, self.role));
        page.heading(&format!("INCIDENT {incident}"));
        page.prose("event", &self.found.incident.spec.description);
        let opened = self.found.incident.spec.opened_by.as_ref().map_or("not known", |person| &person.user);
        page.field("opened by", opened);
        page.field("digest", &self.found.incident.spec.digest(namespace).to_string());
        page.field("content", &self.digest.to_string());
        say_notes(&mut page, &self.found.record, &self.found.incident, now);
        page.heading("IF YOU SIGN");
        let judgement = self.after(approver, now).rule(self.version, None, now);
        if judgement.is_cleared() {
            let end = judgement.not_after.map(|end| format!(" until {}", in_words(end, now)));
            page.mark("✓", GOOD, &format!("{version} is cleared to run{}", end.unwrap_or_default()));
        }
        for reason in judgement.reasons() {
            page.mark("✗", LOOK, &format!("{version} may not run: {}", missing(reason)));
        }
        page.prose("final", "the decision counts under your name; no user can edit or delete it");
        anstream::print!("{}", page.finish());
    }

    /// Returns the record as if the user had signed at `now`. From this record, the review predicts the effect of the
    /// signature.
    fn after(&self, approver: &Approver, now: Timestamp) -> SystemRecord {
        let mut signed = self.approval(Some(approver.clone()));
        signed.metadata.name = Some("new".to_owned());
        signed.metadata.creation_timestamp = Some(Time(now));
        let mut record = self.found.record.clone();
        record.add_decision(signed);
        record
    }

    fn confirm(&self) -> Result<()> {
        if self.args.yes {
            return Ok(());
        }
        if !ask::is_interactive() {
            let (version, incident) = (self.version.name_any(), self.found.name());
            let typed = self.args.typed(&self.session.place());
            let typed = typed.with("--incident", [incident]).with("--version", [version]);
            return Err(Error::NotATerminal { command: typed.with("--role", [&self.role]).confirmed() });
        }
        ask::for_name(&self.found.record.name, "resume it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixtures::{PLACE, assert_repeated};

    #[test]
    fn proposed_resume_keeps_every_typed_flag() {
        let resume =
            "chat --incident drift --version v1 --role ethics-board --reason fixed --ssh-key key --to a.yaml";
        assert_repeated("resume", resume, |args: &ResumeArgs| args.typed(PLACE));
    }
}
