//! Shows every version that waits for an approval by the person who runs the command. The person approves, rejects or
//! skips each version.
//!
//! A version waits for the person if an approval by this person would count. The command asks the module `policy`
//! whether the approval would count. For a cleared version, the question is whether the approval counts when the
//! clearance ends.

use std::{borrow::Cow, collections::BTreeSet};

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::{
    api::{Approver, Decision, ModelVersion},
    cli::{
        choice::Choice,
        commands::{
            ask,
            resolve::Act,
            sign::{self, DecisionRequest},
            status,
        },
        connect::{
            rbac,
            session::Session,
            system_record::{OwnedJudgement, SystemRecord},
        },
        error::{Error, Next, Result},
        render::{
            page::{LOOK, Page},
            time::{Until, in_words},
        },
        review::UNRECORDED,
    },
    compile::Notice,
    policy::{Reason, RecordedDecision},
};

/// A version that waits for an approval in a role that this person holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Item {
    /// The time by which the command sorts the items. For a cleared version, this is the end of the clearance. For a
    /// withheld version, this is the time at which the last approval expired, or the creation time if no approval
    /// expired.
    due: Timestamp,
    namespace: String,
    system: String,
    version: String,
    role: String,
    renewal: bool,
    /// The other roles of this person in which the version needs approvals. Empty if one person may fill several roles.
    other_roles: Vec<String>,
}

/// The options of the command line that apply to every version that the command shows. A rejection ignores `until`.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// The end of the approvals, as typed and as parsed.
    pub until: Option<(String, Until)>,
    pub reason: Option<String>,
    pub full: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    signed: usize,
    rejected: usize,
    skipped: usize,
    failed: usize,
}

/// Shows every version that waits for the person, and asks for a decision. Needs a terminal.
pub async fn walk(session: &Session, everywhere: bool, given: &Given) -> Result<()> {
    if !ask::is_interactive() {
        return Err(no_terminal(session, everywhere));
    }
    let items = waiting(session, everywhere).await?;
    if items.is_empty() {
        anstream::println!("Nothing waits for you.");
        return Ok(());
    }
    let mut tally = Tally::default();
    for (index, item) in items.iter().enumerate() {
        anstream::print!("\n{}", item.heading(index + 1, items.len()));
        let there = Session { namespace: item.namespace.clone(), ..session.clone() };
        if item.decide(&there, given, &mut tally).await == Some(Choice::Quit) {
            tally.skipped += items.len() - index;
            break;
        }
    }
    let Tally { signed, rejected, skipped, failed } = tally;
    anstream::println!("\n{signed} signed, {rejected} rejected, {skipped} skipped, {failed} failed.");
    if failed == 0 { Ok(()) } else { Err(Error::NotSigned { failed, of: items.len() }) }
}

fn no_terminal(session: &Session, everywhere: bool) -> Error {
    let place = if everywhere { " -A".to_owned() } else { format!(" -n {}", session.namespace) };
    Error::Choose {
        question: "--interactive needs a terminal".to_owned(),
        next: vec![Next::new(
            format!("kubectl assent status{place}{}", session.flags),
            "see which roles each version waits for",
        )],
    }
}

async fn waiting(session: &Session, everywhere: bool) -> Result<Vec<Item>> {
    let systems = status::all(session, everywhere).await?;
    let namespace = (!everywhere).then_some(session.namespace.as_str());
    let records = SystemRecord::read_all(&session.client, namespace, &systems).await?;
    let me = rbac::myself(&session.client).await?;
    let asked: BTreeSet<&str> = records.iter().flat_map(SystemRecord::roles).collect();
    let held = rbac::held(&session.client, asked).await?;
    let now = Timestamp::now();
    let mut items: Vec<_> = records.iter().flat_map(|record| items(record, &me, &held, now)).collect();
    items.sort();
    Ok(items)
}

/// The versions of one system that wait for `me`. Each item names the first role in which an approval of `me`
/// would count.
fn items(record: &SystemRecord, me: &Approver, held: &[&str], now: Timestamp) -> Vec<Item> {
    let item = |version: &ModelVersion| {
        let judgement = record.rule(version, None, now);
        let (due, at) = deadline(version, &judgement, now)?;
        let without = missing_approvals(&record.rule(version, None, at));
        let mut roles = record.roles().filter(|role| held.contains(role)).filter(|role| {
            let mine = RecordedDecision {
                name: UNRECORDED,
                approver: Cow::Borrowed(me),
                version: &version.name_any(),
                role,
                decision: Decision::Approve,
                reason: None,
                at: now,
                not_after: None,
            };
            missing_approvals(&record.rule(version, Some(mine), at)) < without
        });
        let role = roles.next()?;
        let others = roles.filter(|_| record.separates_duties()).map(str::to_owned);
        Some(Item {
            other_roles: others.collect(),
            due,
            namespace: record.namespace.clone(),
            system: record.name.clone(),
            version: version.name_any(),
            role: role.to_owned(),
            renewal: judgement.is_cleared(),
        })
    };
    record.versions.iter().filter_map(item).collect()
}

/// Returns the value for [`Item::due`], and the time at which to judge whether an approval would count. For a cleared
/// version, the second time is the end of the clearance. For a withheld version, it is `now`.
///
/// Returns `None` for a cleared version that needs no approval soon. Also returns `None` if another reason than missing
/// approvals withholds the version, such as a revocation.
fn deadline(
    version: &ModelVersion,
    judgement: &OwnedJudgement,
    now: Timestamp,
) -> Option<(Timestamp, Timestamp)> {
    if judgement.is_cleared() {
        // The operator sends the first notice 30 days before the clearance ends. Before this notice, the command does
        // not offer a renewal.
        let end = judgement.not_after.filter(|end| Notice::of(*end, now).is_some())?;
        return Some((end, end));
    }
    let since = |reason: &Reason| match reason {
        Reason::ApprovalExpired { since, .. } => Some(*since),
        _ => None,
    };
    let reasons = judgement.reasons();
    let asked_since = version.metadata.creation_timestamp.as_ref().map_or(now, |at| at.0);
    reasons
        .iter()
        .all(Reason::is_for_want_of_approval)
        .then(|| (reasons.iter().filter_map(since).max().unwrap_or(asked_since), now))
}

fn missing_approvals(judgement: &OwnedJudgement) -> usize {
    let in_role = |reason: &Reason| match reason {
        Reason::AwaitingApproval { needed, have, .. } | Reason::ApprovalExpired { needed, have, .. } => {
            needed - have
        }
        _ => 0,
    };
    judgement.reasons().iter().map(in_role).sum()
}

impl Item {
    /// Asks for a decision on this version, and records the decision in the cluster and in `tally`. Returns the choice
    /// if the person skips the version or quits.
    async fn decide(&self, session: &Session, given: &Given, tally: &mut Tally) -> Option<Choice> {
        let act = if self.renewal { Act::Renew } else { Act::Approve };
        let (decided, rejects) = match sign::sign(session, self.request(act, given)).await {
            Err(Error::Chose(Choice::Reject)) => {
                (sign::sign(session, self.request(Act::Reject, given)).await, true)
            }
            decided => (decided, false),
        };
        match decided {
            Ok(()) if rejects => tally.rejected += 1,
            Ok(()) => tally.signed += 1,
            Err(Error::Chose(Choice::Quit)) => return Some(Choice::Quit),
            Err(Error::Chose(_) | Error::Declined { .. } | Error::NoReason { .. }) => {
                tally.skipped += 1;
                anstream::println!("Skipped.");
                return Some(Choice::Skip);
            }
            Err(error) => {
                tally.failed += 1;
                anstream::eprint!("{}", error.report());
            }
        }
        None
    }

    fn request(&self, act: Act, given: &Given) -> DecisionRequest {
        DecisionRequest {
            act,
            system: self.system.clone(),
            version: Some(self.version.clone()),
            role: Some(self.role.clone()),
            until: given.until.clone().filter(|_| act != Act::Reject),
            reason: given.reason.clone(),
            digest: None,
            yes: false,
            full: given.full,
            walks: true,
        }
    }

    fn heading(&self, number: usize, of: usize) -> String {
        let mut page = Page::default();
        let Self { version, system, namespace, .. } = self;
        let what = if self.renewal { "ends" } else { "waiting since" };
        let when = in_words(self.due, Timestamp::now());
        page.heading(&format!(
            "{number} of {of}: {version} of {system} in namespace {namespace}, {what} {when}"
        ));
        if !self.other_roles.is_empty() {
            let others = self.other_roles.join(" and ");
            let text = format!(
                "One person fills one role: you decide as {}, and another person as {others}.",
                self.role
            );
            page.say(LOOK, &text);
        }
        page.blank();
        page.finish()
    }
}
