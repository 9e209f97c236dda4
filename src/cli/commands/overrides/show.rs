//! Shows one override, or lists overrides.

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use k8s_openapi::jiff::Timestamp;
use kube::{ResourceExt, api::ListParams};
use serde::Serialize;

use super::decide::{Found, facts};
use crate::{
    api::{Approval, Condition, Override},
    cli::{
        commands::completion,
        connect::{
            session::Session,
            system_record::{SystemRecord, recorded_at, unless_installed},
        },
        error::Result,
        render::{
            output::{self, Listing, Prose},
            page::{BAD, FAINT, GOOD, LOOK, PLAIN, Page, STRONG},
            table::{Cell, table},
            time::in_words,
        },
    },
    watch::request,
};

#[derive(Args, Clone, Debug)]
pub struct ShowArgs {
    /// Name of the override to show
    #[arg(value_name = "OVERRIDE", add = ArgValueCompleter::new(completion::overrides))]
    name: String,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Prose,
}

#[derive(Args, Clone, Debug)]
pub struct ListArgs {
    /// List the overrides of every namespace
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Listing,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    #[serde(rename = "override")]
    about: &'a Override,
    grants: Vec<&'a Approval>,
    reviews: Vec<&'a Approval>,
}

pub async fn show(session: &Session, args: &ShowArgs) -> Result<()> {
    let Found { about, record } = Found::read(session, &args.name).await?;
    let names = |approval: &&Approval| {
        approval.spec.override_.as_ref().is_some_and(|named| *named.name == *args.name)
    };
    let shown = Shown {
        grants: record.grants.iter().filter(names).collect(),
        reviews: record.reviews.iter().filter(names).collect(),
        about: &about,
    };
    let text = match args.output {
        Prose::Json => output::json(&shown)?,
        Prose::Yaml => output::yaml(&shown)?,
        Prose::Text => shown.page(&record, Timestamp::now()),
    };
    anstream::print!("{text}");
    Ok(())
}

impl Shown<'_> {
    fn page(&self, record: &SystemRecord, now: Timestamp) -> String {
        let mut page = Page::default();
        let (name, system) = (self.about.name_any(), &self.about.spec.system);
        page.say(STRONG, &format!("override/{name} of {system} in namespace {}", record.namespace));
        facts(&mut page, self.about, now);
        for (title, decisions) in [("GRANTS", &self.grants), ("REVIEWS", &self.reviews)] {
            page.heading(title);
            for approval in decisions {
                page.mark("-", PLAIN, &in_one_line(record, approval, now));
            }
            if decisions.is_empty() {
                page.mark("-", FAINT, "none");
            }
        }
        page.heading("STATE");
        for type_ in ["Granted", "Active", "Reviewed"] {
            let Some(condition) = self.about.condition(type_) else { continue };
            page.mark(mark(condition), style(condition), &format!("{type_}: {}", condition.message));
        }
        if self.about.condition("Granted").is_none() {
            page.mark("!", LOOK, "the operator has not acted on it yet");
        }
        page.finish()
    }
}

fn mark(condition: &Condition) -> &'static str {
    if condition.status == "True" { "✓" } else { "-" }
}

fn style(condition: &Condition) -> clap::builder::styling::Style {
    match &*condition.reason {
        "Overdue" | "NotJustified" => BAD,
        "InEffect" | "Due" => LOOK,
        _ if condition.status == "True" => GOOD,
        _ => PLAIN,
    }
}

/// A decision about an override in one line: person, role, time, outcome and reason.
fn in_one_line(record: &SystemRecord, approval: &Approval, now: Timestamp) -> String {
    let spec = &approval.spec;
    let who = record.approver(approval).map_or_else(|| "an unverified person".to_owned(), |a| a.user.clone());
    let when = recorded_at(approval).map(|at| in_words(at, now)).unwrap_or_default();
    let outcome = spec.outcome.map(|outcome| format!(", {outcome:?}")).unwrap_or_default();
    let reason = spec.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("{who} as {} {when}{outcome}{reason}", spec.role)
}

pub async fn list(session: &Session, args: &ListArgs) -> Result<()> {
    let (api, place) = session.reach::<Override>(args.all_namespaces);
    let listed = request::list(&api, &ListParams::default()).await;
    let mut overrides = listed.map_err(unless_installed(format!("read the overrides {place}")))?.items;
    overrides.sort_by_key(|about| (std::cmp::Reverse(recorded_at(about)), about.name_any()));
    let text = match args.output {
        Listing::Json => output::json(&overrides)?,
        Listing::Yaml => output::yaml(&overrides)?,
        Listing::Table | Listing::Wide if overrides.is_empty() => {
            session.say_none_found("overrides", args.all_namespaces);
            return Ok(());
        }
        Listing::Table | Listing::Wide => {
            let wide = args.output == Listing::Wide;
            rows(&overrides, (args.all_namespaces, wide), Timestamp::now())
        }
    };
    anstream::print!("{text}");
    Ok(())
}

fn rows(overrides: &[Override], (everywhere, wide): (bool, bool), now: Timestamp) -> String {
    let mut header = Vec::new();
    header.extend(everywhere.then_some(("NAMESPACE", 0)));
    header.extend([("NAME", 0), ("SYSTEM", 0), ("VERSION", 0), ("STATE", 0), ("UNTIL", 0), ("REVIEW", 0)]);
    header.push(("REQUESTED BY", 0));
    header.extend(wide.then_some(("REASON", 0)));
    let row = |about: &Override| {
        let condition = |type_| about.condition(type_);
        let state = condition("Active").map_or(Cell::new(FAINT, "-"), |c| Cell::new(style(c), &c.reason));
        let review = condition("Reviewed").map_or(Cell::new(FAINT, "-"), |c| Cell::new(style(c), &c.reason));
        let end = about.status.as_ref().and_then(|status| status.not_after.as_ref());
        let end = end.map_or(about.spec.not_after.0, |end| end.0);
        let by = about.spec.requested_by.as_ref().map_or("", |person| &*person.user);
        let mut cells = Vec::new();
        cells.extend(everywhere.then(|| Cell::new(PLAIN, &about.namespace().unwrap_or_default())));
        cells.push(Cell::new(PLAIN, &about.name_any()));
        cells.extend([&about.spec.system, &about.spec.model_version].map(|text| Cell::new(PLAIN, text)));
        cells.extend([state, Cell::new(PLAIN, &in_words(end, now)), review, Cell::new(PLAIN, by)]);
        cells.extend(wide.then(|| Cell::new(PLAIN, &about.spec.reason)));
        cells
    };
    table(&header, &overrides.iter().map(row).collect::<Vec<_>>())
}
