//! Opens incidents, with or without a hold on versions.
//!
//! ```text
//!  pause, rollback ─► review ─► ask ─► create the Incident ─► wait until the operator holds the versions
//! ```

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{Api, ResourceExt, api::ObjectMeta, runtime::wait::await_condition};

use crate::{
    api::{ConcernedVersion, HarmCriterion, Incident, IncidentEffect, IncidentSpec},
    cli::{
        commands::{
            ask, completion,
            decommission::{pods_in_words, running},
            outcome::STATUS_TIMEOUT,
            sign::{params, signer},
        },
        connect::{session::Session, system_record::SystemRecord, target::system_name},
        error::{Error, Next, Result},
        render::{
            page::{BAD, FAINT, GOOD, LOOK, PLAIN, Page, STRONG},
            shell::{CommandLine, value_name},
        },
    },
};

/// The options for the facts of an incident that the commands to open an incident share.
#[derive(Args, Clone, Debug)]
pub struct FactsArgs {
    /// Harm that occurred or is likely (EU AI Act article 3(49) and 3(61)); may be repeated
    #[arg(long, value_name = "CRITERION", value_enum)]
    criterion: Vec<HarmCriterion>,
    /// People, groups or things that are affected
    #[arg(long, value_name = "TEXT")]
    affected: Option<String>,
    /// When the incident occurred or began: 2027-03-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    occurred: Option<Timestamp>,
    /// When the organisation became aware, which starts legal deadlines (default: now): 2027-03-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    aware: Option<Timestamp>,
    /// Name of the incident (default: the name of the system and a random suffix)
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

#[derive(Args, Clone, Debug)]
pub struct OpenArgs {
    /// AI system
    #[arg(value_parser = system_name, add = ArgValueCompleter::new(completion::systems))]
    system: String,
    /// Version that the incident concerns; may be repeated (default: every version)
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(completion::versions))]
    version: Vec<String>,
    /// Event and its known cause, for the record
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    facts: FactsArgs,
}

#[derive(Args, Clone, Debug)]
pub struct PauseArgs {
    /// AI system
    #[arg(value_parser = system_name, add = ArgValueCompleter::new(completion::systems))]
    system: String,
    /// Version to hold; may be repeated (default: every version, also later ones)
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(completion::versions))]
    version: Vec<String>,
    /// Event and its known cause, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    facts: FactsArgs,
    /// Do not ask for confirmation
    #[arg(short, long)]
    yes: bool,
}

#[derive(Args, Clone, Debug)]
pub struct RollbackArgs {
    /// AI system
    #[arg(value_parser = system_name, add = ArgValueCompleter::new(completion::systems))]
    system: String,
    /// Cleared version that stays; every other version is held, also later ones
    #[arg(long, value_name = "VERSION", add = ArgValueCompleter::new(completion::versions))]
    to: String,
    /// Event and its known cause, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    facts: FactsArgs,
    /// Do not ask for confirmation
    #[arg(short, long)]
    yes: bool,
}

struct Request<'a> {
    session: &'a Session,
    record: SystemRecord,
    versions: Vec<ConcernedVersion>,
    except: Option<ConcernedVersion>,
    effect: IncidentEffect,
    reason: String,
    facts: &'a FactsArgs,
}

pub async fn open(session: &Session, args: &OpenArgs) -> Result<()> {
    let mut request = Request::read(session, &args.system, args.reason.clone(), &args.facts).await?;
    request.versions = concerned(&request.record, &args.version)?;
    let incident = request.create().await?;
    report(session, &incident, "it holds nothing");
    Ok(())
}

pub async fn pause(session: &Session, args: &PauseArgs) -> Result<()> {
    let typed = args.typed(&session.place());
    let reason = reason(args.reason.as_deref(), "pause", &args.system, &typed)?;
    let mut request = Request::read(session, &args.system, reason, &args.facts).await?;
    request.versions = concerned(&request.record, &args.version)?;
    request.effect = IncidentEffect::Hold;
    request.hold(typed, args.yes).await
}

/// Opens an incident that holds every version but one.
pub async fn rollback(session: &Session, args: &RollbackArgs) -> Result<()> {
    let typed = args.typed(&session.place());
    let reason = reason(args.reason.as_deref(), "rollback", &args.system, &typed)?;
    let mut request = Request::read(session, &args.system, reason, &args.facts).await?;
    request.refuse_uncleared(&args.to)?;
    request.except = concerned(&request.record, std::slice::from_ref(&args.to))?.pop();
    request.effect = IncidentEffect::Hold;
    request.hold(typed, args.yes).await
}

impl FactsArgs {
    fn add_to(&self, command: CommandLine) -> CommandLine {
        command
            .with("--criterion", self.criterion.iter().map(value_name))
            .with("--affected", &self.affected)
            .with("--occurred", self.occurred)
            .with("--aware", self.aware)
            .with("--name", &self.name)
    }
}

impl PauseArgs {
    fn typed(&self, place: &str) -> CommandLine {
        let command = CommandLine::new("pause", &[&self.system], place).with("--version", &self.version);
        self.facts.add_to(command.with("--reason", &self.reason))
    }
}

impl RollbackArgs {
    fn typed(&self, place: &str) -> CommandLine {
        let command = CommandLine::new("rollback", &[&self.system], place).with("--to", [&self.to]);
        self.facts.add_to(command.with("--reason", &self.reason))
    }
}

/// Returns the reason on the command line, or asks the user for the reason. If there is no terminal or the user types
/// no reason, the error proposes the command `typed` with `--reason`.
fn reason(given: Option<&str>, verb: &'static str, system: &str, typed: &CommandLine) -> Result<String> {
    let missing =
        || Error::NoReason { act: verb, command: typed.clone().with("--reason", ["TEXT"]).to_string() };
    ask::reason(given, verb, system, missing)
}

impl<'a> Request<'a> {
    /// Reads the record of the system. Returns a request for an incident that concerns all versions and holds none.
    async fn read(session: &'a Session, system: &str, reason: String, facts: &'a FactsArgs) -> Result<Self> {
        let record = SystemRecord::read(&session.client, &session.namespace, system).await?;
        record.system(&session.client).await?;
        let (versions, except, effect) = (Vec::new(), None, IncidentEffect::None);
        Ok(Self { session, record, versions, except, effect, reason, facts })
    }

    /// Refuses a rollback to a version that is not cleared. Also refuses if the user may not list incidents, because
    /// then the command cannot see whether an incident holds the version.
    fn refuse_uncleared(&self, to: &str) -> Result<()> {
        self.record.refuse_without_incidents()?;
        let judgement = self.record.rule(self.record.named_version(to)?, None, Timestamp::now());
        if judgement.is_cleared() {
            return Ok(());
        }
        let why: Vec<_> = judgement.reasons().iter().map(ToString::to_string).collect();
        Err(Error::Choose {
            question: format!("{to} is not cleared, so nothing would run: {}", why.join("; ")),
            next: vec![Next::new(
                format!("kubectl assent status {}{}", self.record.name, self.session.place()),
                "see which versions are cleared",
            )],
        })
    }

    async fn hold(&self, typed: CommandLine, yes: bool) -> Result<()> {
        let system = &self.record.name;
        if !yes {
            anstream::print!("{}", self.review().await?);
            if !ask::is_interactive() {
                let command = typed.with("--reason", [&self.reason]).confirmed();
                return Err(Error::NotATerminal { command });
            }
            ask::for_yes(&format!("Hold {system}"))?;
        }
        let incident = self.create().await?;
        let api = Api::<Incident>::namespaced(self.session.client.clone(), &self.session.namespace);
        let judged =
            |incident: Option<&Incident>| incident.is_some_and(|incident| incident.holding().is_some());
        let seen =
            tokio::time::timeout(STATUS_TIMEOUT, await_condition(api, &incident.name_any(), judged)).await;
        let incident = seen.ok().and_then(Result::ok).flatten().unwrap_or(incident);
        let effect =
            incident.holding().map_or("the operator has not acted on it yet", |holding| &holding.message);
        report(self.session, &incident, effect);
        if yes {
            let mut page = Page::default();
            say_how_to_save_logs(&mut page, self.session, system, "before the grace period ends");
            anstream::print!("{}", page.finish());
        }
        Ok(())
    }

    async fn review(&self) -> Result<String> {
        let mut page = Page::default();
        let (system, namespace) = (&self.record.name, &self.session.namespace);
        page.say(STRONG, &format!("You are about to hold {system} in namespace {namespace}"));
        page.prose("reason", &self.reason);
        page.heading("WHAT IS HELD");
        let held = match (&self.versions[..], &self.except) {
            ([], None) => "every version, also later ones".to_owned(),
            ([], Some(kept)) => format!("every version except {}, also later ones", kept.name),
            (versions, _) => versions.iter().map(|version| &*version.name).collect::<Vec<_>>().join(", "),
        };
        page.mark("✗", BAD, &held);
        page.heading("WORKLOADS OF THE SYSTEM");
        // A user who may not list pods must be able to hold the system, so an error gives an empty list.
        let stops = running(self.session, system).await.unwrap_or_default();
        for (workload, pods) in &stops {
            page.mark("-", PLAIN, &format!("{}: {}", workload.in_words(), pods_in_words(*pods)));
        }
        if stops.is_empty() {
            page.mark("-", FAINT, "none that you can list");
        } else {
            say_how_to_save_logs(&mut page, self.session, system, "first");
        }
        page.prose("final", "nobody can edit or delete the incident; people resume the versions after a root cause, an action and a verification are noted");
        Ok(page.finish())
    }

    async fn create(&self) -> Result<Incident> {
        let spec = IncidentSpec {
            system: self.record.name.clone().into(),
            model_versions: self.versions.clone(),
            effect: self.effect,
            except: self.except.clone(),
            description: self.reason.clone(),
            criteria: self.facts.criterion.clone(),
            affected: self.facts.affected.clone(),
            occurred_at: self.facts.occurred.map(whole_seconds),
            aware_at: self.facts.aware.map(whole_seconds),
            monitor: None,
            opened_by: signer(self.session).await?,
        };
        let metadata = match &self.facts.name {
            Some(name) => ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
            None => generated(&self.record.name),
        };
        let incident = Incident { metadata, spec, status: None };
        let api = Api::<Incident>::namespaced(self.session.client.clone(), &self.session.namespace);
        let doing =
            format!("open an incident of {} in namespace {}", self.record.name, self.session.namespace);
        api.create(&params(false), &incident).await.map_err(|source| Error::Api {
            doing,
            source: Box::new(source),
            next: vec![Next::new(
                format!(
                    "kubectl auth can-i hold aisystems.assent.dev/{} -n {}",
                    self.record.name, self.session.namespace
                ),
                "check whether you may hold the system",
            )],
        })
    }
}

/// Prints the command that saves the logs of the pods, because a stop deletes the pods and their logs.
fn say_how_to_save_logs(page: &mut Page, session: &Session, system: &str, when: &str) {
    let text = format!(
        "a stop deletes the logs of the pods: save them {when} if authorities may need them (EU AI Act article 73(6))"
    );
    page.mark("!", LOOK, &text);
    page.command(&format!(
        "kubectl logs -l assent.dev/system={system} --all-containers -n {}{} > logs.txt",
        session.namespace, session.flags
    ));
}

/// The metadata of a new object whose name is `prefix`, `-` and a random suffix from the API server.
pub(super) fn generated(prefix: &str) -> ObjectMeta {
    ObjectMeta { generate_name: Some(format!("{prefix}-")), ..ObjectMeta::default() }
}

/// The time without the fraction of a second. Custom resources of Assent have times in whole seconds.
fn whole_seconds(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).unwrap_or(time))
}

fn concerned(record: &SystemRecord, names: &[String]) -> Result<Vec<ConcernedVersion>> {
    let concerned = |name: &String| {
        let subject_digest = record.digest(record.named_version(name)?).ok_or_else(|| Error::Choose {
            question: format!("there is no system {}", record.name),
            next: Vec::new(),
        })?;
        Ok(ConcernedVersion { name: name.clone().into(), subject_digest })
    };
    names.iter().map(concerned).collect()
}

fn report(session: &Session, incident: &Incident, effect: &str) {
    let mut page = Page::default();
    let name = incident.name_any();
    page.mark("✓", GOOD, &format!("Recorded: incident/{name}"));
    page.mark("-", PLAIN, effect);
    page.mark("-", PLAIN, "see the facts, notes and deadlines of the incident:");
    page.command(&format!("kubectl assent incident show {name} -n {}{}", session.namespace, session.flags));
    anstream::print!("\n{}", page.finish());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixtures::{PLACE, assert_repeated};

    const FACTS: &str = "--reason drift --criterion FundamentalRights --criterion Property --affected applicants \
        --occurred 2026-11-23T08:00:00Z --aware 2026-11-23T09:00:00Z --name drift";

    #[test]
    fn proposed_pause_and_rollback_keep_every_typed_flag() {
        let pause = format!("credit-scorer --version v1 --version v2 {FACTS}");
        assert_repeated("pause", &pause, |args: &PauseArgs| args.typed(PLACE));
        let rollback = format!("credit-scorer --to v1 {FACTS}");
        assert_repeated("rollback", &rollback, |args: &RollbackArgs| args.typed(PLACE));
    }
}
