//! Grants and reviews overrides.
//!
//! ```text
//!  show the override and the effect ─► ask ─┬─► Approval in the cluster ─► outcome
//!                                           └─► --ssh-key: signed Approval in a file
//! ```

use std::{path::PathBuf, time::Duration};

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{Api, ResourceExt};

use super::decision::{Decided, decision, in_words_of, may_grant, refused, rules};
use crate::{
    api::{Approval, Approver, Decision, Override, OverrideRules, ReviewOutcome},
    cli::{
        commands::{
            ask, completion,
            offline_sign::{Detached, SshKey},
            outcome,
            resolve::held_role,
            sign::{params, signer},
        },
        connect::{
            rbac,
            session::Session,
            system_record::{SystemRecord, recorded_at},
        },
        error::{Error, Result, can_i},
        render::{
            page::{FAINT, GOOD, LOOK, PLAIN, Page, STRONG},
            shell::{CommandLine, value_name},
            time::in_words,
        },
        review::missing,
    },
    policy::{GrantState, NoReview, OverrideDecision, OverrideState, SystemOverrides},
};

/// The options that `override grant` and `override review` share.
#[derive(Args, Clone, Debug)]
struct How {
    /// Name of the override to decide on
    #[arg(value_name = "OVERRIDE", add = ArgValueCompleter::new(completion::overrides))]
    name: String,
    /// Role in which you decide (default: the only role of the risk level that you hold)
    #[arg(long, value_name = "ROLE", add = ArgValueCompleter::new(completion::roles))]
    role: Option<String>,
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

#[derive(Args, Clone, Debug)]
pub struct GrantArgs {
    #[command(flatten)]
    how: How,
    /// Reason, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Args, Clone, Debug)]
pub struct ReviewArgs {
    #[command(flatten)]
    how: How,
    /// Result of the review
    #[arg(long, value_name = "OUTCOME", value_enum)]
    outcome: ReviewOutcome,
    /// Reason, for the record
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

pub struct Found {
    pub about: Override,
    pub record: SystemRecord,
}

impl Found {
    pub async fn read(session: &Session, name: &str) -> Result<Self> {
        let api = Api::<Override>::namespaced(session.client.clone(), &session.namespace);
        let doing = format!("read override/{name} in namespace {}", session.namespace);
        let about = api.get(name).await.map_err(Error::api(doing))?;
        let mut record = SystemRecord::read(&session.client, &session.namespace, &about.spec.system).await?;
        if !record.overrides.iter().any(|known| known.name_any() == name) {
            record.overrides.push(about.clone());
        }
        Ok(Self { about, record })
    }

    /// The state of the override according to `rules`. `None` if the record does not contain the override.
    pub fn state(&self, rules: &OverrideRules) -> Option<OverrideState> {
        let recorded = self.record.recorded_overrides();
        let judged = SystemOverrides::new(recorded.of(&self.record.name), rules);
        let name = self.about.name_any();
        let mut states = judged.states();
        states.find(|(about, _)| about.name == name).map(|(_, state)| state.clone())
    }

    fn refuse_other_digest(&self) -> Result<()> {
        let stated = self.about.status.as_ref().and_then(|status| status.digest.as_ref());
        if stated.is_some_and(|stated| *stated != self.about.spec.digest(&self.record.namespace)) {
            return Err(refused(&format!(
                "the operator computed another digest of override/{} than this program: update the plugin",
                self.about.name_any()
            )));
        }
        Ok(())
    }
}

struct Request<'a> {
    session: &'a Session,
    found: &'a Found,
    how: &'a How,
    typed: CommandLine,
    decision: Decision,
    role: String,
    approver: Approver,
    stamped: Option<Approver>,
    reason: Option<String>,
    outcome: Option<ReviewOutcome>,
    now: Timestamp,
}

pub async fn grant(session: &Session, args: &GrantArgs) -> Result<()> {
    let found = Found::read(session, &args.how.name).await?;
    found.refuse_other_digest()?;
    let rules = rules(&found.record)?;
    if let Some(why) = found.state(rules).and_then(|state| why_not_granted(&state)) {
        return Err(refused(&format!("nobody can grant override/{} any more: {why}", args.how.name)));
    }
    let granters: Vec<_> = may_grant(rules).collect();
    let decided = (Decision::Override, None, args.reason.clone());
    let how = (&args.how, args.typed(&session.place()));
    let request = Request::new(session, &found, how, &granters, decided).await?;
    request.finish("grant it").await
}

/// The reason why people can no longer grant the override. `None` if people can still grant the override.
fn why_not_granted(state: &OverrideState) -> Option<String> {
    match &state.grant {
        GrantState::TooLate => Some("it has ended".to_owned()),
        GrantState::OverQuota => Some("the system had used all its overrides".to_owned()),
        GrantState::AfterMissedReview(missed) => Some(format!("the review of override/{missed} was missed")),
        GrantState::Granted(_) if state.review.is_some() => Some("a person has reviewed it".to_owned()),
        GrantState::Granted(_) | GrantState::Awaiting(_) => None,
    }
}

pub async fn review(session: &Session, args: &ReviewArgs) -> Result<()> {
    let found = Found::read(session, &args.how.name).await?;
    found.refuse_other_digest()?;
    let rules = rules(&found.record)?;
    let reviewers: Vec<_> = rules.review.roles.iter().map(String::as_str).collect();
    let decided = (Decision::Review, Some(args.outcome), Some(args.reason.clone()));
    let how = (&args.how, args.typed(&session.place()));
    let request = Request::new(session, &found, how, &reviewers, decided).await?;
    request.refuse_involved(rules)?;
    request.finish("record the review").await
}

impl<'a> Request<'a> {
    async fn new(
        session: &'a Session,
        found: &'a Found,
        (how, typed): (&'a How, CommandLine),
        roles: &[&str],
        (decision, outcome, reason): (Decision, Option<ReviewOutcome>, Option<String>),
    ) -> Result<Self> {
        let now = Timestamp::now();
        let to_do = if decision == Decision::Review { "review an override" } else { "grant an override" };
        let (role, approver, stamped) = if let Some(by) = how.signing() {
            let (role, key) = by.key.role(&found.record.keys, roles, how.role.as_deref(), now)?;
            (role, key.approver, None)
        } else {
            let role = match &how.role {
                Some(role) => role.clone(),
                None => held_role(session, &found.record, roles, (decision, to_do)).await?,
            };
            (role, rbac::myself(&session.client).await?, signer(session).await?)
        };
        Ok(Self { session, found, how, typed, decision, role, approver, stamped, reason, outcome, now })
    }

    /// Refuses a review by a person who requested or granted the override. Also refuses a review in a role that may not
    /// review overrides.
    fn refuse_involved(&self, rules: &OverrideRules) -> Result<()> {
        let recorded = self.found.record.recorded_overrides();
        let name = self.found.about.name_any();
        let about = recorded.of(&self.found.record.name).iter().find(|about| about.name == name);
        let mine = OverrideDecision {
            name: "new",
            approver: std::borrow::Cow::Borrowed(&self.approver),
            role: &self.role,
            at: self.now,
            recorded: self.now,
        };
        match about.and_then(|about| about.why_not(&mine, rules)) {
            Some(why @ (NoReview::ReviewerIsInvolved | NoReview::RoleNotRequired)) => {
                Err(refused(&why.to_string()))
            }
            _ => Ok(()),
        }
    }

    async fn finish(self, to_do: &str) -> Result<()> {
        self.show();
        self.confirm(to_do)?;
        let record = &self.found.record;
        let approval = self.approval(self.stamped.clone());
        if let Some(by) = self.how.signing() {
            return by.finish(approval, record, &self.approver.user);
        }
        if self.decision == Decision::Review {
            self.wait_for_next_second(&approval).await?;
        }
        let created = self.create(&approval, false).await?;
        outcome::report(self.session, &created, record).await
    }

    async fn create(&self, approval: &Approval, dry_run: bool) -> Result<Approval> {
        let api = Api::<Approval>::namespaced(self.session.client.clone(), &self.session.namespace);
        api.create(&params(dry_run), approval).await.map_err(|source| Error::Api {
            doing: format!("record your decision as {}", self.role),
            source: Box::new(source),
            next: vec![can_i(&self.role)],
        })
    }

    /// Waits until the API server would record the review in a later second than the last grant of the override. A
    /// grant counts only if the grant is earlier than the review.
    async fn wait_for_next_second(&self, review: &Approval) -> Result<()> {
        let of_override = |grant: &&Approval| grant.spec.override_ == review.spec.override_;
        let grants = self.found.record.grants.iter().filter(of_override);
        let last = grants.filter_map(recorded_at).max();
        while recorded_at(&self.create(review, true).await?) <= last {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    fn approval(&self, approver: Option<Approver>) -> Approval {
        let decided =
            Decided { role: &self.role, reason: self.reason.clone(), outcome: self.outcome, approver };
        decision(&self.found.record, &self.found.about, self.decision, decided)
    }

    fn show(&self) {
        let (spec, record) = (&self.found.about.spec, &self.found.record);
        let mut page = Page::default();
        let act = if self.decision == Decision::Review { "review" } else { "grant" };
        let name = self.found.about.name_any();
        page.say(
            STRONG,
            &format!("You are about to {act} override/{name} in namespace {}", record.namespace),
        );
        page.say(PLAIN, &format!("as {}, in role {}", self.approver.user, self.role));
        facts(&mut page, &self.found.about, self.now);
        page.field("digest", &spec.digest(&record.namespace).to_string());
        page.heading("IF YOU SIGN");
        let mut after = record.clone();
        let mut signed = self.approval(Some(self.approver.clone()));
        signed.metadata.name = Some("new".to_owned());
        signed.metadata.creation_timestamp = Some(Time(self.now));
        after.add_decision(signed);
        match record.version(&spec.model_version).map(|version| after.rule(version, None, self.now)) {
            None => page.mark("-", FAINT, &format!("there is no ModelVersion {}", spec.model_version)),
            Some(judgement) => {
                for waived in &judgement.waived {
                    page.mark("!", LOOK, &format!("override/{} waives: {}", waived.by, waived.reason));
                }
                for reason in judgement.reasons() {
                    page.mark("✗", LOOK, &format!("{} may not run: {}", spec.model_version, missing(reason)));
                }
                if judgement.is_cleared() {
                    let end = judgement.not_after.map(|end| format!(" until {}", in_words(end, self.now)));
                    let end = end.unwrap_or_default();
                    page.mark("✓", GOOD, &format!("{} may run{end}", spec.model_version));
                }
            }
        }
        page.prose("final", "the decision counts under your name; no user can edit or delete it");
        anstream::print!("{}", page.finish());
    }

    fn confirm(&self, to_do: &str) -> Result<()> {
        if self.how.yes {
            return Ok(());
        }
        if ask::is_interactive() {
            return ask::for_name(&self.found.record.name, to_do);
        }
        let command = self.typed.clone().with("--role", [&self.role]).confirmed();
        Err(Error::NotATerminal { command })
    }
}

impl GrantArgs {
    fn typed(&self, place: &str) -> CommandLine {
        let command = CommandLine::new("override grant", &[&self.how.name], place);
        self.how.add_to(command.with("--reason", &self.reason))
    }
}

impl ReviewArgs {
    fn typed(&self, place: &str) -> CommandLine {
        let command = CommandLine::new("override review", &[&self.how.name], place);
        self.how
            .add_to(command.with("--outcome", [value_name(&self.outcome)]).with("--reason", [&self.reason]))
    }
}

impl How {
    fn add_to(&self, command: CommandLine) -> CommandLine {
        let command = command.with("--role", &self.role);
        command.with_paths("--ssh-key", &self.ssh_key).with_paths("--to", &self.to)
    }

    fn signing(&self) -> Option<Detached> {
        let (key, to) = self.ssh_key.clone().zip(self.to.clone())?;
        Some(Detached { key: SshKey(key), to })
    }
}

pub fn facts(page: &mut Page, about: &Override, now: Timestamp) {
    let spec = &about.spec;
    page.prose("reason", &spec.reason);
    if let Some(ticket) = &spec.ticket {
        page.field("ticket", ticket);
    }
    page.field("version", &spec.model_version);
    page.field("content", &spec.subject_digest.to_string());
    page.list("waives", spec.waives.iter().map(in_words_of));
    page.field("until", &in_words(spec.not_after.0, now));
    page.field("requested by", spec.requested_by.as_ref().map_or("not known", |person| &person.user));
    let at = recorded_at(about).map(|at| in_words(at, now)).unwrap_or_default();
    page.field("requested", &at);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixtures::{PLACE, assert_repeated};

    #[test]
    fn proposed_grant_and_review_keep_every_typed_flag() {
        let grant = "emergency --reason outage --role ethics-board --ssh-key key --to grant.yaml";
        assert_repeated("override grant", grant, |args: &GrantArgs| args.typed(PLACE));
        let review =
            "emergency --outcome NotJustified --reason outage --role auditor --ssh-key key --to a.yaml";
        assert_repeated("override review", review, |args: &ReviewArgs| args.typed(PLACE));
    }
}
