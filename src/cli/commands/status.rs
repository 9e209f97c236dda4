//! Prints one line for each system: its cleared versions, the end of its clearance, its pods, monitors and overrides, and
//! what its other versions wait for.
//!
//! The data comes from each `AISystem` and its status. The monitors, the overrides and the missing approvals come from
//! the [`SystemRecord`].

use std::{collections::BTreeMap, io::Write, ops::ControlFlow};

use futures::StreamExt;
use k8s_openapi::jiff::Timestamp;
use kube::{
    ResourceExt,
    api::ListParams,
    runtime::{WatchStreamExt, watcher},
};
use serde::Serialize;

use crate::{
    api::{AISystem, VersionSummary},
    cli::{
        commands::safeguards::Safeguards,
        connect::session::Session,
        connect::system_record::{OwnedJudgement, SystemRecord, read_system, unless_installed},
        error::{Error, Result},
        render::{
            escape::visible,
            output::{self, Listing},
            page::{BAD, FAINT, GOOD, LOOK, PLAIN},
            screen,
            table::{Cell, Columns, Head, table},
            time::{Until, in_words, relative},
        },
    },
    policy::Reason,
    watch::request,
};

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    namespace: String,
    system: String,
    risk_level: String,
    /// `None` if the operator has not written a status yet.
    cleared: Option<bool>,
    reason: Option<String>,
    until: Option<Timestamp>,
    cleared_versions: Vec<String>,
    pods_running: Option<u32>,
    pods_held: Option<u32>,
    /// Set only if the mode of the namespace is `warn` or `audit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pods_would_stop: Option<u32>,
    /// The names of the versions that are not cleared. If the system has a cleared version, only the names of the
    /// versions that wait for an approval or an assessment.
    waiting_for: Vec<String>,
    #[serde(flatten)]
    safeguards: Safeguards,
    message: Option<String>,
    owners: Vec<String>,
    versions: Vec<Version>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    name: String,
    cleared: bool,
    reason: String,
    until: Option<Timestamp>,
    /// The missing approvals, and the other reasons why the version is not cleared. Empty if the version is cleared, or
    /// if the person may not read the record of the system. Also empty if the only reason is that the Clearance is
    /// full.
    missing: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct Which {
    /// The only system, if the command names one.
    pub system: Option<String>,
    pub everywhere: bool,
    /// Only systems that lose a clearance by this time.
    pub expiring: Option<Until>,
    /// Only systems of this risk level.
    pub level: Option<String>,
}

pub async fn status(session: &Session, which: &Which, format: Listing) -> Result<()> {
    let (everywhere, now) = (which.everywhere, Timestamp::now());
    let rows = which.rows(session, now).await?;
    let text = match format {
        Listing::Json => output::json(&rows)?,
        Listing::Yaml => output::yaml(&rows)?,
        Listing::Table | Listing::Wide if rows.is_empty() => {
            match (&which.expiring, &which.level) {
                (Some(by), _) => {
                    let text = which.none_ends(by, &session.namespace, now);
                    anstream::eprintln!("{}", visible(&text));
                }
                (None, Some(level)) => {
                    session.say_none_found(&format!("AI systems of risk level {level}"), everywhere);
                }
                (None, None) => session.say_none_found("AI systems", everywhere),
            }
            return Ok(());
        }
        Listing::Table | Listing::Wide => {
            let wide = format == Listing::Wide;
            let details = which.system.as_ref().map(|_| details(&rows, now)).unwrap_or_default();
            systems_table(&rows, Shown::of(&rows, everywhere, wide), now) + &details
        }
    };
    anstream::print!("{text}");
    Ok(())
}

/// Prints a row for each system. Prints the row of a system again after each change of the row.
pub async fn watch(session: &Session, which: &Which, format: Listing) -> Result<()> {
    let (everywhere, wide) = (which.everywhere, format == Listing::Wide);
    let first = which.rows(session, Timestamp::now()).await?;
    let now = Timestamp::now();
    let shown = Shown::of(&first, everywhere, wide);
    let header = header(shown);
    let cells: Vec<_> = first.iter().map(|row| row.cells(shown, now)).collect();
    let columns = Columns::of(&header, &cells, screen::width());
    if matches!(format, Listing::Table | Listing::Wide) {
        anstream::print!("{}", columns.head());
    }
    let print = |row: &Row| -> Result<ControlFlow<()>> {
        let text = match format {
            Listing::Json => output::json(row)?,
            Listing::Yaml => format!("---\n{}", output::yaml(row)?),
            Listing::Table | Listing::Wide => columns.rows(&[row.cells(shown, Timestamp::now())]),
        };
        let mut out = anstream::stdout().lock();
        // If the row cannot be written, the command ends without an error. Usually, the reader of a pipe closed the pipe.
        let gone = out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err();
        Ok(if gone { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    };
    let mut printed = BTreeMap::new();
    for row in first {
        if print(&row)?.is_break() {
            return Ok(());
        }
        printed.insert(row.key(), row);
    }
    let (api, place) = session.reach::<AISystem>(everywhere);
    let of_one = |name: &String| watcher::Config::default().fields(&format!("metadata.name={name}"));
    let config = which.system.as_ref().map_or_else(watcher::Config::default, of_one);
    let mut changes = watcher(api, config).default_backoff().applied_objects().boxed();
    while let Some(change) = changes.next().await {
        let system = match change {
            Ok(system) => system,
            Err(watcher::Error::InitialListFailed(error)) => {
                return Err(Error::api(format!("read the aisystems {place}"))(error));
            }
            // The watcher retries by itself.
            Err(_) => continue,
        };
        for row in which.rows_of(session, vec![system], Timestamp::now()).await {
            if printed.get(&row.key()) == Some(&row) {
                continue;
            }
            if print(&row)?.is_break() {
                return Ok(());
            }
            printed.insert(row.key(), row);
        }
    }
    Ok(())
}

impl Which {
    async fn rows(&self, session: &Session, now: Timestamp) -> Result<Vec<Row>> {
        let systems = match &self.system {
            Some(name) => vec![read_system(session, name).await?],
            None => all(session, self.everywhere).await?,
        };
        Ok(self.rows_of(session, systems, now).await)
    }

    async fn rows_of(&self, session: &Session, systems: Vec<AISystem>, now: Timestamp) -> Vec<Row> {
        let is_selected =
            |system: &AISystem| self.level.as_ref().is_none_or(|level| system.spec.risk_level == *level);
        let systems = self.expiring(systems.into_iter().filter(is_selected).collect(), now);
        let namespace = match &systems[..] {
            [only] => only.namespace(),
            _ => (!self.everywhere).then(|| session.namespace.clone()),
        };
        // A user can lack the permission to read these records. The rows then have only the data of the `AISystem`
        // status.
        let records = SystemRecord::read_all(&session.client, namespace.as_deref(), &systems).await.ok();
        let record = |i: usize| records.as_ref().and_then(|records| records.get(i));
        systems.iter().enumerate().map(|(i, system)| Row::new(system, record(i), now)).collect()
    }

    /// The message if no clearance ends by the time in `--expiring`.
    fn none_ends(&self, by: &Until, namespace: &str, now: Timestamp) -> String {
        let of = match (&self.system, &self.level) {
            (Some(system), _) => format!(" of {system}"),
            (None, Some(level)) => format!(" at risk level {level}"),
            (None, None) => String::new(),
        };
        let by = by.instant(now).map(|by| format!(" by {}", in_words(by, now))).unwrap_or_default();
        let place = if self.everywhere { String::new() } else { format!(" in namespace {namespace}") };
        format!("No clearance{of}{place} ends{by}.")
    }

    /// The systems that lose a clearance by the time in `--expiring`, the earliest loss first. Without `--expiring`,
    /// all `systems`.
    fn expiring(&self, mut systems: Vec<AISystem>, now: Timestamp) -> Vec<AISystem> {
        let Some(by) = &self.expiring else { return systems };
        let end = |system: &AISystem| system.status.as_ref()?.not_after.as_ref().map(|end| end.0);
        // If the time in `--expiring` is after the last possible `Timestamp`, every system whose clearance has an end
        // stays in the list.
        systems.retain(|system| end(system).is_some_and(|end| by.instant(now).is_none_or(|by| end <= by)));
        systems.sort_by_key(end);
        systems
    }
}

/// Every system of the namespace, or of the cluster.
pub async fn all(session: &Session, everywhere: bool) -> Result<Vec<AISystem>> {
    let (api, place) = session.reach::<AISystem>(everywhere);
    let list = request::list(&api, &ListParams::default()).await;
    Ok(list.map_err(unless_installed(format!("read the aisystems {place}")))?.items)
}

impl Row {
    fn new(system: &AISystem, record: Option<&SystemRecord>, now: Timestamp) -> Self {
        let status = system.status.clone().unwrap_or_default();
        let condition = status.conditions.iter().find(|c| c.type_ == "Cleared");
        let cleared = condition.map(|c| c.status == "True");
        let pods = status.pods;
        let mut versions: Vec<_> = status.versions.iter().map(|v| Version::new(v, record, now)).collect();
        versions.sort_by_key(|v| age_rank(record, &v.name));
        Self {
            namespace: system.namespace().unwrap_or_default(),
            system: system.name_any(),
            risk_level: system.spec.risk_level.clone(),
            cleared,
            reason: condition.map(|c| c.reason.to_string()),
            until: status.not_after.as_ref().map(|time| time.0),
            cleared_versions: status.versions.iter().filter(|v| v.cleared).map(|v| v.name.clone()).collect(),
            pods_running: pods.map(|pods| pods.running),
            pods_held: pods.map(|pods| pods.held),
            pods_would_stop: pods.and_then(|pods| pods.would_stop),
            safeguards: record.map(|record| Safeguards::of(record, now)).unwrap_or_default(),
            waiting_for: waiting(&versions, cleared == Some(true)),
            message: condition.map(|c| c.message.to_string()),
            owners: system.spec.owners.iter().map(ToString::to_string).collect(),
            versions,
        }
    }

    fn key(&self) -> (String, String) {
        (self.namespace.clone(), self.system.clone())
    }

    fn cells(&self, shown: Shown, now: Timestamp) -> Vec<Cell> {
        let mut cells = Vec::new();
        if shown.everywhere {
            cells.push(Cell::new(PLAIN, &self.namespace));
        }
        cells.push(Cell::new(PLAIN, &self.system));
        cells.push(Cell::new(PLAIN, &self.risk_level));
        cells.push(match self.cleared {
            Some(true) => Cell::new(GOOD, "Yes"),
            Some(false) => Cell::new(BAD, "No"),
            None => Cell::new(LOOK, "Unknown"),
        });
        cells.push(until(self.until, until_style(self.until, now), now));
        cells.push(Cell::new(PLAIN, &self.cleared_versions.join(",")));
        cells.push(self.pods());
        cells.extend(shown.monitors.then(|| self.safeguards.monitors_in_short()));
        cells.extend(shown.overrides.then(|| self.safeguards.overrides_in_short()));
        cells.push(Cell::new(PLAIN, &self.waiting_in_words()));
        if shown.wide {
            cells.push(Cell::new(FAINT, &self.owners.join(",")));
            cells.push(Cell::new(FAINT, self.message.as_deref().unwrap_or_default()));
        }
        cells
    }

    fn pods(&self) -> Cell {
        let (Some(running), Some(held)) = (self.pods_running, self.pods_held) else {
            return Cell::new(FAINT, "");
        };
        let would_stop = self.pods_would_stop.filter(|count| *count > 0);
        let text = would_stop.map_or_else(String::new, |count| format!(" ({count} would stop)"));
        let style = if held > 0 || would_stop.is_some() { LOOK } else { PLAIN };
        Cell::new(style, &format!("{running}/{held}{text}"))
    }

    fn waiting_in_words(&self) -> String {
        if self.cleared.is_none() {
            return "the operator, which has not written a status yet".to_owned();
        }
        if self.versions.is_empty() {
            return match self.reason.as_deref() {
                Some("NoModelVersion") => "a ModelVersion".to_owned(),
                reason => reason.unwrap_or_default().to_owned(),
            };
        }
        let versions = self.versions.iter().filter(|v| self.waiting_for.contains(&v.name));
        versions.map(|v| format!("{}: {}", v.name, v.why_not(", "))).collect::<Vec<_>>().join("; ")
    }
}

impl Version {
    fn new(summary: &VersionSummary, record: Option<&SystemRecord>, now: Timestamp) -> Self {
        let version = record.and_then(|record| Some((record, record.version(&summary.name)?)));
        let judgement = version.filter(|_| !summary.cleared).map(|(record, v)| record.rule(v, None, now));
        let missing = judgement.iter().flat_map(OwnedJudgement::reasons).map(in_short);
        Self {
            name: summary.name.clone(),
            cleared: summary.cleared,
            reason: summary.reason.clone(),
            until: summary.not_after.as_ref().map(|time| time.0),
            missing: missing.collect(),
        }
    }

    fn why_not(&self, separator: &str) -> String {
        if self.cleared {
            return String::new();
        }
        if self.missing.is_empty() { self.reason.clone() } else { self.missing.join(separator) }
    }
}

fn in_short(reason: &Reason) -> String {
    match reason {
        Reason::AwaitingApproval { role, needed, have, in_several_roles, .. }
            if !in_several_roles.is_empty() =>
        {
            let people = in_several_roles.join(", ");
            format!("{role} ({}, not {people}: one person fills one role)", needed - have)
        }
        Reason::AwaitingApproval { role, needed, have, .. }
        | Reason::ApprovalExpired { role, needed, have, .. } => format!("{role} ({})", needed - have),
        Reason::Rejected { by, why, .. } => {
            let why = why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            format!("rejected by {by}{why}")
        }
        Reason::Revoked { by, .. } => format!("revoked by {by}; every role must approve again"),
        Reason::AssessmentMissing { requirement, role, .. } => format!("result {requirement} ({role})"),
        Reason::AssessmentExpired { requirement, .. } => format!("newer result {requirement}"),
        Reason::AssessmentFailed { requirement, result, needed } => {
            format!("{requirement} failed: {} is {}, not {needed}", result.measure, result.value)
        }
        Reason::AssessmentInconclusive { requirement, cause, .. } => format!("{requirement} open: {cause}"),
        Reason::RequirementNotMet(unmet) => format!("requirement {}", unmet.name),
        Reason::OverrideNotReviewed(missed) => format!("review of override/{}", missed.name),
        Reason::Held(hold) => format!("held by incident/{}: {}", hold.incident, hold.missing),
        Reason::DocumentMissing { document } => format!("document {document}"),
        Reason::CertificationMissing { certification, .. } => format!("certificate {certification}"),
        other => other.to_string(),
    }
}

/// The position of the version, where 0 is the newest version. `None` if the record is missing or does not have the
/// version.
fn age_rank(record: Option<&SystemRecord>, version: &str) -> Option<usize> {
    record?.versions.iter().position(|v| v.name_any() == version)
}

/// The names of the versions that are not cleared. If the system has a cleared version, only the names of the versions
/// that wait for an approval or an assessment.
fn waiting(versions: &[Version], cleared: bool) -> Vec<String> {
    let undecided = |reason: &str| {
        matches!(reason, "AwaitingApproval" | "ApprovalExpired" | "AssessmentMissing" | "AssessmentExpired")
    };
    let waiting = versions.iter().filter(|v| !v.cleared && (!cleared || undecided(&v.reason)));
    waiting.map(|v| v.name.clone()).collect()
}

/// The cell for the end of a clearance. On a narrow terminal, the cell shows only the time left.
fn until(until: Option<Timestamp>, style: clap::builder::styling::Style, now: Timestamp) -> Cell {
    let (long, short) = until.map(|until| (in_words(until, now), relative(until, now))).unwrap_or_default();
    Cell::new(style, &long).or_short(&short)
}

/// The style for the end of a clearance. Highlights an end that is less than a week away.
fn until_style(until: Option<Timestamp>, now: Timestamp) -> clap::builder::styling::Style {
    let week = k8s_openapi::jiff::SignedDuration::from_hours(7 * 24);
    until.map_or(PLAIN, |until| if until.duration_since(now) < week { LOOK } else { PLAIN })
}

/// Which optional columns the table of systems has.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a group of columns")]
struct Shown {
    everywhere: bool,
    wide: bool,
    monitors: bool,
    overrides: bool,
}

impl Shown {
    /// A wide table has the columns for monitors and overrides. Another table has such a column only if a system has a
    /// monitor or an override to show.
    fn of(rows: &[Row], everywhere: bool, wide: bool) -> Self {
        let has_monitors = |row: &Row| row.safeguards.monitors.as_ref().is_some_and(|all| !all.is_empty());
        let has_overrides = |row: &Row| !row.safeguards.overrides.is_empty();
        Self {
            everywhere,
            wide,
            monitors: wide || rows.iter().any(has_monitors),
            overrides: wide || rows.iter().any(has_overrides),
        }
    }
}

fn header(shown: Shown) -> Vec<Head> {
    let mut header = Vec::new();
    header.extend(shown.everywhere.then_some(("NAMESPACE", 0)));
    header.extend([("SYSTEM", 0), ("LEVEL", 3), ("CLEARED", 0), ("UNTIL", 1), ("VERSIONS", 4)]);
    header.push(("PODS(running/held)", 2));
    header.extend(shown.monitors.then_some(("MONITORS", 2)));
    header.extend(shown.overrides.then_some(("OVERRIDES", 1)));
    header.push(("WAITING FOR", 0));
    if shown.wide {
        header.extend([("OWNERS", 0), ("MESSAGE", 0)]);
        // A column with rank 0 stays in the table even on a narrow terminal.
        for (_, rank) in &mut header {
            *rank = 0;
        }
    }
    header
}

fn systems_table(rows: &[Row], shown: Shown, now: Timestamp) -> String {
    table(&header(shown), &rows.iter().map(|row| row.cells(shown, now)).collect::<Vec<_>>())
}

fn details(rows: &[Row], now: Timestamp) -> String {
    versions_table(rows, now) + &rows.iter().map(|row| row.safeguards.tables(now)).collect::<String>()
}

fn versions_table(rows: &[Row], now: Timestamp) -> String {
    let cells = rows.iter().flat_map(|row| &row.versions).map(|version| {
        let cleared = if version.cleared { Cell::new(GOOD, "Yes") } else { Cell::new(BAD, "No") };
        let why = Cell::new(PLAIN, &version.why_not(", "));
        vec![Cell::new(PLAIN, &version.name), cleared, until(version.until, PLAIN, now), why]
    });
    let cells: Vec<_> = cells.collect();
    if cells.is_empty() {
        return String::new();
    }
    format!("\n{}", table(&[("VERSION", 0), ("CLEARED", 0), ("UNTIL", 1), ("WAITING FOR", 0)], &cells))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        api::Decision,
        cli::fixtures::{self, now},
    };

    fn system(name: &str, status: &serde_json::Value) -> AISystem {
        serde_json::from_value(json!({
            "apiVersion": "assent.dev/v1alpha1", "kind": "AISystem",
            "metadata": { "name": name, "namespace": "lending" },
            "spec": { "intendedPurpose": "Scores.", "owners": [{ "name": "dev" }], "riskLevel": "high" },
            "status": status,
        }))
        .expect("an AISystem")
    }

    fn condition(status: &str, reason: &str) -> serde_json::Value {
        json!([{ "type": "Cleared", "status": status, "reason": reason, "message": "in words",
                 "lastTransitionTime": "2026-11-01T00:00:00Z" }])
    }

    fn rows() -> Vec<Row> {
        let cleared = json!({ "conditions": condition("True", "Cleared"), "notAfter": "2026-11-27T16:30:00Z",
            "clearedVersions": "v3", "pods": { "running": 3, "held": 1 }, "versions": [
                { "name": "v4", "cleared": false, "reason": "AwaitingApproval" },
                { "name": "v3", "cleared": true, "reason": "Cleared", "notAfter": "2026-11-27T16:30:00Z" },
                { "name": "v2", "cleared": false, "reason": "Revoked" }] });
        let withheld = json!({ "conditions": condition("False", "AwaitingApproval"), "pods": { "running": 0, "held": 2 },
            "versions": [{ "name": "v1", "cleared": false, "reason": "AwaitingApproval" }] });
        let empty = json!({ "conditions": condition("False", "NoModelVersion") });
        let systems = [
            system("credit-scorer", &cleared),
            system("chat", &withheld),
            system("draft", &empty),
            system("new", &json!(null)),
        ];
        systems.iter().map(|system| Row::new(system, None, now())).collect()
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn message_without_an_ending_clearance_states_the_time_and_the_place() {
        let which = |everywhere, level: Option<&str>| Which {
            system: None,
            everywhere,
            expiring: None,
            level: level.map(str::to_owned),
        };
        let by: Until = "14d".parse().expect("an end");
        assert_eq!(
            which(false, None).none_ends(&by, "lending", now()),
            "No clearance in namespace lending ends by 2026-12-08T12:00:00Z (in 14d)."
        );
        assert_eq!(
            which(true, Some("high")).none_ends(&by, "lending", now()),
            "No clearance at risk level high ends by 2026-12-08T12:00:00Z (in 14d)."
        );
        let never: Until = "9000y".parse().expect("an end");
        assert_eq!(which(true, None).none_ends(&never, "lending", now()), "No clearance ends.");
    }

    #[test]
    fn each_system_has_one_line() {
        let rows = rows();
        insta::assert_snapshot!(plain(&systems_table(&rows, Shown::of(&rows, false, false), now())));
    }

    #[test]
    fn wide_table_of_every_namespace_has_all_columns() {
        let rows = &rows()[..1];
        insta::assert_snapshot!(plain(&systems_table(rows, Shown::of(rows, true, true), now())));
    }

    #[test]
    fn every_version_names_the_roles_that_it_waits_for() {
        let record = fixtures::record().with(
            "alice",
            Decision::Approve,
            "risk-officer",
            "credit-scorer-v2",
            "2026-11-23T09:00:00Z",
        );
        let status = json!({ "conditions": condition("False", "AwaitingApproval"), "versions": [
            { "name": "credit-scorer-v1", "cleared": false, "reason": "AwaitingApproval" },
            { "name": "credit-scorer-v2", "cleared": false, "reason": "AwaitingApproval" }] });
        let row = Row::new(&system("credit-scorer", &status), Some(&record), now());
        assert_eq!(
            row.waiting_in_words(),
            "credit-scorer-v2: ethics-board (1); credit-scorer-v1: ethics-board (1), risk-officer (1)"
        );
    }

    #[test]
    fn rejection_and_revocation_name_the_person_and_the_consequence() {
        let record = |decision| {
            let mut record = fixtures::record().with(
                "bob",
                decision,
                "ethics-board",
                "credit-scorer-v2",
                "2026-11-23T09:00:00Z",
            );
            record.approvals[0].spec.reason = Some("no bias test".to_owned());
            record
        };
        let status = json!({ "conditions": condition("False", "Rejected"), "versions": [
            { "name": "credit-scorer-v2", "cleared": false, "reason": "Rejected" }] });
        let waiting = |decision| {
            Row::new(&system("credit-scorer", &status), Some(&record(decision)), now()).waiting_in_words()
        };
        let rejected = waiting(Decision::Reject);
        assert!(rejected.starts_with("credit-scorer-v2: rejected by bob: no bias test"), "{rejected}");
        let revoked = waiting(Decision::Revoke);
        assert!(revoked.contains("revoked by bob; every role must approve again"), "{revoked}");
    }

    #[test]
    fn versions_of_a_system_have_one_line_each() {
        insta::assert_snapshot!(plain(&versions_table(&rows()[..1], now())));
    }
}
