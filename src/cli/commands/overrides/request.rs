//! Requests an override. If the requester holds a role that may grant overrides, the command also grants the
//! override.
//!
//! ```text
//!  predict the effect ─► show ─► ask ─► create the Override ─► create the Approval that grants it ─► outcome
//! ```
//!
//! If the risk level does not allow the override, the command fails before it shows the effect. With `--dry-run`, the
//! command only shows the effect.

use clap::{Args, ValueEnum};
use clap_complete::engine::ArgValueCompleter;
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::{SignedDuration, Timestamp},
};
use kube::{Api, ResourceExt, api::ObjectMeta};

use super::decision::{Decided, decision, in_words_of, may_grant, refused, rules};
use crate::{
    api::{Approver, Decision, ModelVersion, Override, OverrideRules, OverrideSpec, Waiver, WaiverType},
    cli::{
        commands::{
            ask, completion, outcome,
            sign::{params, signer},
        },
        connect::{
            rbac,
            session::Session,
            system_record::{OwnedJudgement, SystemRecord},
            target::system_name,
        },
        error::{Error, Next, Result},
        render::{
            page::{FAINT, GOOD, LOOK, PLAIN, Page, STRONG},
            shell::{CommandLine, quoted},
            time::{TOO_LATE, Until, in_words, two_units},
        },
        review::missing,
        until,
    },
    policy::{GrantState, SystemOverrides, waiver_of},
};

/// The name of the requested override in the record with which the command predicts the effect.
const NEW: &str = "new";

#[derive(Args, Clone, Debug)]
pub struct RequestArgs {
    /// AI system
    #[arg(value_parser = system_name, add = ArgValueCompleter::new(completion::systems))]
    system: String,
    /// Version that the override lets run (default: the only withheld version)
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(completion::versions))]
    version: Option<String>,
    /// Requirement to waive, such as approval/risk-officer or assessment/fairness; repeat the option for
    /// several, or separate them with commas
    #[arg(long, value_name = "TYPE/NAME", required = true, value_delimiter = ',', value_parser = waiver)]
    waive: Vec<Waiver>,
    /// Duration of the override, or its end, such as 2h or 2027-03-31T12:00:00Z
    #[arg(long = "for", value_name = "DURATION", value_parser = until)]
    until: (String, Until),
    /// Reason, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Ticket or change request of the emergency
    #[arg(long, value_name = "TEXT")]
    ticket: Option<String>,
    /// Role in which you grant the override together with the request (default: the only role that may grant it and that you hold)
    #[arg(long, value_name = "ROLE", add = ArgValueCompleter::new(completion::roles))]
    role: Option<String>,
    /// Name of the override (default: the name of the system and a random suffix)
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Show what the override would do, and record nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask for confirmation
    #[arg(short, long)]
    yes: bool,
}

/// Parses `TYPE/NAME`. Ignores the case of the type, and reads `_` in the type as `-`.
fn waiver(text: &str) -> std::result::Result<Waiver, String> {
    let known = || {
        let names = WaiverType::value_variants().iter().filter_map(ValueEnum::to_possible_value);
        names.map(|value| value.get_name().to_owned()).collect::<Vec<_>>().join(", ")
    };
    let (type_, name) = text.split_once('/').filter(|(_, name)| !name.is_empty()).ok_or_else(|| {
        format!("expected TYPE/NAME, such as approval/risk-officer; the types are {}", known())
    })?;
    let dashed = type_.replace('_', "-");
    let type_ = WaiverType::from_str(&dashed, true)
        .map_err(|_| format!("there is no type {type_}; the types are {}", known()))?;
    Ok(Waiver { type_, name: name.into() })
}

struct Request<'a> {
    session: &'a Session,
    record: &'a SystemRecord,
    args: &'a RequestArgs,
    rules: &'a OverrideRules,
    version: &'a ModelVersion,
    reason: String,
    now: Timestamp,
}

pub async fn request(session: &Session, args: &RequestArgs) -> Result<()> {
    let record = SystemRecord::read(&session.client, &session.namespace, &args.system).await?;
    record.system(&session.client).await?;
    let rules = rules(&record)?;
    let now = Timestamp::now();
    let version = version(session, &record, args, now)?;
    let missing = || {
        let command = args.typed(&session.place()).with("--reason", ["TEXT"]).to_string();
        Error::NoReason { act: "override", command }
    };
    let reason = ask::reason(args.reason.as_deref(), "override the requirements of", &args.system, missing)?;
    let request = Request { session, record: &record, args, rules, version, reason, now };
    let me = rbac::myself(&session.client).await?;
    request.refuse_early(&me)?;
    let role = request.role().await?;
    request.show(&me, role.as_deref())?;
    if args.dry_run {
        anstream::println!("  This was an exercise (--dry-run): nothing was recorded.");
        return Ok(());
    }
    request.confirm(role.as_deref())?;
    let created = request.create().await?;
    request.report(&created, role.is_some());
    let Some(role) = role else { return Ok(()) };
    let decided = Decided { role: &role, reason: None, outcome: None, approver: signer(session).await? };
    let mut record = record.clone();
    record.overrides.push(created.clone());
    let approval = decision(&record, &created, Decision::Override, decided);
    let api = Api::namespaced(session.client.clone(), &session.namespace);
    let doing = format!("grant override/{} as {role}", created.name_any());
    let approval = api.create(&params(false), &approval).await.map_err(Error::api(doing))?;
    outcome::report(session, &approval, &record).await
}

/// Returns the version that `--version` names, or else the only withheld version of the system. Fails if there is no
/// such version, or if several versions are withheld and `--version` is missing.
fn version<'a>(
    session: &Session,
    record: &'a SystemRecord,
    args: &RequestArgs,
    now: Timestamp,
) -> Result<&'a ModelVersion> {
    let withheld = |version: &&ModelVersion| !record.rule(version, None, now).is_cleared();
    let found: Vec<_> = match &args.version {
        Some(name) => record.version(name).into_iter().collect(),
        None => record.versions.iter().filter(withheld).collect(),
    };
    if let [version] = found[..] {
        return Ok(version);
    }
    let place = format!(" -n {}{}", record.namespace, session.flags);
    let question = match (&args.version, found.is_empty()) {
        (Some(name), _) => format!("there is no ModelVersion {name} of system {}", record.name),
        (None, true) => format!("no version of {} is withheld, so it needs no override", record.name),
        (None, false) => format!("several versions of {} are withheld; name one with --version", record.name),
    };
    let next = vec![Next::new(format!("kubectl assent status {}{place}", record.name), "see its versions")];
    Err(Error::Choose { question, next })
}

impl RequestArgs {
    fn typed(&self, place: &str) -> CommandLine {
        CommandLine::new("override", &[&self.system], place)
            .with("--version", &self.version)
            .with("--waive", self.waive.iter().map(in_words_of))
            .with("--for", [&self.until.0])
            .with("--reason", &self.reason)
            .with("--ticket", &self.ticket)
            .with("--role", &self.role)
            .with("--name", &self.name)
            .with_switch("--dry-run", self.dry_run)
    }

    /// Returns the arguments with the version, the end, the reason and the role that the command showed. The proposed
    /// command contains these arguments.
    fn shown(&self, version: String, now: Timestamp, reason: String, role: Option<&str>) -> Result<Self> {
        let end = self.end(now)?;
        Ok(Self {
            version: Some(version),
            until: (end.to_string(), Until::At(end)),
            reason: Some(reason),
            role: role.map(str::to_owned),
            ..self.clone()
        })
    }

    /// The end of the override. Fails if this end is after the year 9999.
    fn end(&self, now: Timestamp) -> Result<Timestamp> {
        let (text, until) = &self.until;
        until.instant(now).ok_or_else(|| Error::Flag {
            flag: "--for",
            value: text.clone(),
            why: format!("{TOO_LATE}, such as 2h"),
        })
    }
}

impl Request<'_> {
    fn spec(&self, requested_by: Option<Approver>) -> Result<OverrideSpec> {
        let end = self.args.end(self.now)?;
        let subject_digest =
            self.record.digest(self.version).ok_or_else(|| refused("the system does not exist"))?;
        Ok(OverrideSpec {
            system: self.record.name.clone().into(),
            model_version: self.version.name_any().into(),
            subject_digest,
            waives: self.args.waive.clone(),
            reason: self.reason.clone(),
            ticket: self.args.ticket.clone(),
            not_after: Time(end),
            requested_by,
        })
    }

    /// Returns the record with this override and with all grants that the risk level requires. From this record, the
    /// command predicts the effect of the override.
    fn granted(&self, me: &Approver) -> Result<SystemRecord> {
        let mut about = Override::new(NEW, self.spec(Some(me.clone()))?);
        about.metadata.namespace = Some(self.record.namespace.clone());
        about.metadata.creation_timestamp = Some(Time(self.now));
        let mut record = self.record.clone();
        for (role, n) in
            self.rules.roles.iter().flat_map(|role| (0..role.count).map(move |n| (&role.role, n)))
        {
            let person = Approver { user: format!("{role} {n}"), ..Approver::default() };
            let decided = Decided { role, reason: None, outcome: None, approver: Some(person) };
            let mut grant = decision(&record, &about, Decision::Override, decided);
            grant.metadata.name = Some(format!("{NEW}-{role}-{n}"));
            grant.metadata.creation_timestamp = Some(Time(self.now));
            record.add_decision(grant);
        }
        record.overrides.push(about);
        Ok(record)
    }

    fn judgement(&self, me: &Approver) -> Result<OwnedJudgement> {
        Ok(self.granted(me)?.rule(self.version, None, self.now))
    }

    /// Fails if the risk level does not allow the override. The error states the rule of the level.
    fn refuse_early(&self, me: &Approver) -> Result<()> {
        let level = self.record.system.as_ref().map_or("", |system| &*system.spec.risk_level);
        let refused_type = self.args.waive.iter().find(|waiver| !self.rules.waivable.contains(&waiver.type_));
        if let Some(waiver) = refused_type {
            let allowed: Vec<_> = self.rules.waivable.iter().map(|type_| format!("{type_:?}")).collect();
            let allowed = if allowed.is_empty() { "nothing".to_owned() } else { allowed.join(", ") };
            return Err(refused(&format!(
                "risk level {level} lets nobody waive {}; it allows {allowed}",
                in_words_of(waiver)
            )));
        }
        if self.rules.roles.is_empty() {
            return Err(refused(&format!("risk level {level} names no role that may grant an override")));
        }
        let longest = std::time::Duration::from(self.rules.max_duration);
        let end = self.spec(None)?.not_after.0;
        let asked = std::time::Duration::try_from(end.duration_since(self.now)).unwrap_or_default();
        if asked > longest {
            let longest = in_two_units(self.rules.max_duration);
            return Err(refused(&format!("risk level {level} allows an override of at most {longest}")));
        }
        let record = self.granted(me)?;
        let recorded = record.recorded_overrides();
        let judged = SystemOverrides::new(recorded.of(&record.name), self.rules);
        let mut states = judged.states();
        match states.find(|(about, _)| about.name == NEW).map(|(_, state)| &state.grant) {
            Some(GrantState::OverQuota) => {
                let count = self.rules.per_system.count;
                let within = in_two_units(self.rules.per_system.within);
                Err(refused(&format!(
                    "{} has used its quota of {count} within {within}, as risk level {level} allows",
                    record.name
                )))
            }
            Some(GrantState::AfterMissedReview(missed)) => Err(Error::Choose {
                question: format!(
                    "the review of override/{missed} is missed, so {} can use no other",
                    record.name
                ),
                next: vec![Next::new(
                    format!(
                        "kubectl assent override review {missed} -n {}{}",
                        record.namespace, self.session.flags
                    ),
                    "another person reviews it first",
                )],
            }),
            _ => Ok(()),
        }
    }

    /// Returns the role in which the person grants the override: `--role`, or else the only role of the person that may
    /// grant overrides. Returns `None` if the person holds no such role. Fails if the person holds several such roles.
    async fn role(&self) -> Result<Option<String>> {
        if let Some(role) = &self.args.role {
            return Ok(Some(role.clone()));
        }
        let held = rbac::held(&self.session.client, may_grant(self.rules)).await?;
        match &held[..] {
            [] => Ok(None),
            [role] => Ok(Some((*role).to_owned())),
            several => Err(refused(&format!(
                "you hold several roles that may grant an override; name one with --role: {}",
                several.join(", ")
            ))),
        }
    }

    /// Prints the waived requirements, the remaining reasons why the version may not run, and who must act.
    fn show(&self, me: &Approver, role: Option<&str>) -> Result<()> {
        let (judgement, spec) = (self.judgement(me)?, self.spec(None)?);
        let (version, system) = (self.version.name_any(), &self.record.name);
        let mut page = Page::default();
        let place = format!("in namespace {}", self.record.namespace);
        page.say(STRONG, &format!("You are about to override requirements of {version} of {system} {place}"));
        page.prose("reason", &self.reason);
        page.field("content", &spec.subject_digest.to_string());
        page.field("until", &in_words(spec.not_after.0, self.now));
        page.heading("WAIVED");
        for waived in judgement.waived.iter().filter(|waived| waived.by == NEW) {
            page.mark("!", LOOK, &waived.reason.to_string());
        }
        for waiver in &self.args.waive {
            let mut waived = judgement.waived.iter().filter_map(|waived| waiver_of(&waived.reason));
            let is_waived = waived.any(|(type_, name)| waiver.type_ == type_ && *waiver.name == *name);
            if !is_waived {
                page.mark(
                    "-",
                    FAINT,
                    &format!("{}: nothing to waive, it is met or not required", in_words_of(waiver)),
                );
            }
        }
        page.heading("WHAT REMAINS");
        for reason in judgement.reasons() {
            page.mark("✗", LOOK, &format!("{version} may still not run: {}", missing(reason)));
            if let Some((type_, name)) = waiver_of(reason) {
                let waiver = Waiver { type_, name: (&*name).into() };
                page.mark("-", FAINT, &format!("--waive {} would waive it", quoted(&in_words_of(&waiver))));
            }
        }
        if judgement.is_cleared() {
            page.mark("✓", GOOD, &format!("nothing: {version} may run once the override is granted"));
        }
        page.heading("WHO ACTS");
        for required in &self.rules.roles {
            let you = if role == Some(&*required.role) { " (you grant it now)" } else { "" };
            page.mark("-", PLAIN, &format!("{} of role {} grant it{you}", required.count, required.role));
        }
        let review = &self.rules.review;
        let within = in_two_units(review.within);
        page.mark(
            "-",
            PLAIN,
            &format!(
                "another person in role {} reviews it within {within} after its end",
                review.roles.join(" or ")
            ),
        );
        page.prose("final", "nobody can edit or delete the override; a review or a revocation ends it early");
        anstream::print!("{}", page.finish());
        Ok(())
    }

    fn confirm(&self, role: Option<&str>) -> Result<()> {
        if self.args.yes {
            return Ok(());
        }
        if !ask::is_interactive() {
            let shown = self.args.shown(self.version.name_any(), self.now, self.reason.clone(), role)?;
            let command = shown.typed(&self.session.place()).confirmed();
            return Err(Error::NotATerminal { command });
        }
        ask::for_name(&self.record.name, "override its requirements")
    }

    async fn create(&self) -> Result<Override> {
        let spec = self.spec(signer(self.session).await?)?;
        let (name, prefix) = match &self.args.name {
            Some(name) => (Some(name.clone()), None),
            None => (None, Some(format!("{}-", self.record.name))),
        };
        let metadata = ObjectMeta { name, generate_name: prefix, ..ObjectMeta::default() };
        let api = Api::<Override>::namespaced(self.session.client.clone(), &self.session.namespace);
        let doing =
            format!("request an override of {} in namespace {}", self.record.name, self.session.namespace);
        let about = Override { metadata, spec, status: None };
        api.create(&params(false), &about).await.map_err(Error::api(doing))
    }

    fn report(&self, created: &Override, granted: bool) {
        let mut page = Page::default();
        let (name, place) =
            (created.name_any(), format!(" -n {}{}", self.session.namespace, self.session.flags));
        page.mark("✓", GOOD, &format!("Recorded: override/{name}"));
        if !granted {
            let roles: Vec<_> = may_grant(self.rules).collect();
            page.mark("-", PLAIN, &format!("it has no effect until role {} grants it:", roles.join(" and ")));
            page.command(&format!("kubectl assent override grant {name}{place}"));
        }
        anstream::print!("\n{}", page.finish());
    }
}

/// Writes a duration of a risk level in the two largest units of the duration.
fn in_two_units(duration: kube::core::Duration) -> String {
    let duration = SignedDuration::try_from(std::time::Duration::from(duration));
    two_units(duration.unwrap_or(SignedDuration::MAX))
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;

    use super::*;
    use crate::cli::fixtures::{PLACE, assert_repeated, now};

    #[test]
    fn waiver_names_a_type_and_one_requirement() {
        let parsed = |text: &str| waiver(text).map(|waiver| (waiver.type_, waiver.name.to_string()));
        for (text, type_, name) in [
            ("approval/safety", WaiverType::Approval, "safety"),
            ("Assessment/fairness-sex", WaiverType::Assessment, "fairness-sex"),
            ("certification/ISO/IEC 42001", WaiverType::Certification, "ISO/IEC 42001"),
            ("review/risk/bias", WaiverType::Review, "risk/bias"),
            ("hosted-model/gpt", WaiverType::HostedModel, "gpt"),
        ] {
            assert_eq!(parsed(text), Ok((type_, name.to_owned())), "{text}");
        }
        for text in ["approval", "approval/", "held/drift", "*/x", ""] {
            assert!(parsed(text).is_err(), "{text}");
        }
    }
    const TYPED: &str = "credit-scorer --version v3 --waive approval/risk-officer --waive assessment/fairness \
        --for 2h --reason outage --ticket INC-7 --role ethics-board --name emergency --dry-run";

    #[test]
    fn proposed_request_keeps_every_typed_flag() {
        assert_repeated("override", TYPED, |args: &RequestArgs| args.typed(PLACE));
    }

    #[test]
    fn confirmed_request_has_the_shown_version_end_and_role() {
        let args =
            parsed("credit-scorer --waive approval/risk-officer --for 2h --ticket INC-7 --name emergency");
        let shown = args.shown("v3".to_owned(), now(), "an outage".to_owned(), Some("ethics-board"));
        let wanted = "kubectl assent override credit-scorer --version v3 --waive approval/risk-officer \
            --for 2026-11-24T14:00:00Z --reason 'an outage' --ticket INC-7 --role ethics-board --name emergency \
            --yes -n lending";
        assert_eq!(shown.expect("an end").typed(PLACE).confirmed(), wanted);
    }

    #[test]
    fn end_after_the_calendar_is_refused_with_an_example() {
        let args = parsed("credit-scorer --waive approval/risk-officer --for 9000y");
        let refused = args.end(now()).expect_err("too late").to_string();
        let wanted = "--for 9000y: the calendar ends with the year 9999; enter an earlier end, such as 2h";
        assert_eq!(refused, wanted);
    }

    fn parsed(arguments: &str) -> RequestArgs {
        let definition = RequestArgs::augment_args(clap::Command::new("override"));
        let matches = definition.get_matches_from(["override"].into_iter().chain(arguments.split(' ')));
        RequestArgs::from_arg_matches(&matches).expect("valid arguments")
    }
}
