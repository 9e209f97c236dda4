//! Prints the history of one system or of every system: the versions, the decisions on them, and the effects
//! on pods.
//!
//! ```text
//!  SystemRecord, SystemHistory, Events ─► entries ─► sort by time ─► table, wide, json, yaml
//! ```
//!
//! Decisions are permanent. A `SystemHistory` keeps at most 256 changes. The API server deletes an Event after the time
//! in its option `--event-ttl`, by default after one hour.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::Event, jiff::Timestamp};
use kube::{
    Api, Resource, ResourceExt,
    api::{ListParams, ObjectMeta},
};
use serde::Serialize;

use crate::{
    api::{
        AISystem, AUTHOR, Approval, ApprovalSpec, Assessment, AssessmentResult, Change, Decision, GROUP,
        HistoryEntry, Incident, IncidentEffect, IncidentNote, Override, SystemHistory, measure, unproven,
    },
    cli::{
        commands::status,
        connect::session::Session,
        connect::system_record::{SystemRecord, recorded_at},
        error::{Error, Result},
        render::{
            output::{self, Listing},
            page::{BAD, FAINT, GOOD, LOOK, PLAIN},
            table::{Cell, table},
            time::relative,
        },
    },
    policy::ApprovalEffect,
    watch::request,
};

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    at: Timestamp,
    namespace: String,
    system: String,
    /// The kind of the entry as one CamelCase word, such as `Approved`. For an Event, this is the reason of the Event.
    what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// The person who acted, or the controller that sent the Event. For a change by an unknown person, the field
    /// manager.
    #[serde(skip_serializing_if = "Option::is_none")]
    who: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    /// The object that the entry is about, as `KIND/NAME`, such as an Approval or an Event.
    object: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// The objects that contain the history of one system.
struct Sources {
    record: SystemRecord,
    history: Option<SystemHistory>,
}

pub async fn history(session: &Session, name: Option<&str>, everywhere: bool, format: Listing) -> Result<()> {
    let all = match name {
        Some(name) => vec![sources(session, name).await?],
        None => all_sources(session, everywhere).await?,
    };
    let (now, mut entries) = (Timestamp::now(), Vec::new());
    for sources in &all {
        entries.extend(sources.entries(now));
    }
    entries.extend(event_entries(session, name, everywhere).await?);
    // The API server records most times in whole seconds. The sort is stable, so the entry for a new version stays
    // before the entry for a decision about the version in the same second.
    entries.sort_by_key(|entry| entry.at.as_second());
    let text = match format {
        Listing::Json => output::json(&entries)?,
        Listing::Yaml => output::yaml(&entries)?,
        Listing::Table | Listing::Wide if name.is_none() && entries.is_empty() => {
            session.say_none_found("AI systems", everywhere);
            return Ok(());
        }
        Listing::Table | Listing::Wide => {
            entries_table(&entries, (everywhere, name.is_none()), format == Listing::Wide, now)
        }
    };
    anstream::print!("{text}");
    for Sources { record, history } in &all {
        let dropped = history.as_ref().map_or(0, |history| history.spec.dropped);
        if dropped > 0 {
            anstream::eprintln!("{}", dropped_in_words(dropped, &record.name));
        }
    }
    Ok(())
}

fn dropped_in_words(changes: u64, system: &str) -> String {
    if changes == 1 {
        return format!("1 older change had no room in systemhistory/{system} and is not shown.");
    }
    format!("{changes} older changes had no room in systemhistory/{system} and are not shown.")
}

/// Reads the objects that contain the history of one system. Fails if the system does not exist and has neither a
/// decision about a version nor a `SystemHistory`.
async fn sources(session: &Session, name: &str) -> Result<Sources> {
    let record = SystemRecord::read(&session.client, &session.namespace, name).await?;
    let history = system_history(session, name).await?;
    if record.approvals.is_empty() && history.is_none() {
        record.system(&session.client).await?;
    }
    Ok(Sources { record, history })
}

/// Returns the [`Sources`] of every system that exists or has a `SystemHistory`.
async fn all_sources(session: &Session, everywhere: bool) -> Result<Vec<Sources>> {
    let systems = status::all(session, everywhere).await?;
    let namespace = (!everywhere).then_some(session.namespace.as_str());
    let records = SystemRecord::read_all(&session.client, namespace, &systems).await?;
    let (api, place) = session.reach::<SystemHistory>(everywhere);
    let histories = match request::list(&api, &ListParams::default()).await {
        Ok(list) => list.items,
        Err(kube::Error::Api(status)) if status.is_not_found() => Vec::new(),
        Err(error) => {
            let warning = "You may not list systemhistories: changes and deletions are not shown.";
            unless_forbidden(Err(error), warning, format!("read the systemhistories {place}"))?
                .unwrap_or_default()
        }
    };
    let by_system =
        |history: SystemHistory| ((history.namespace().unwrap_or_default(), history.name_any()), history);
    let mut histories: BTreeMap<_, _> = histories.into_iter().map(by_system).collect();
    let with_history = |record: SystemRecord| {
        let history = histories.remove(&(record.namespace.clone(), record.name.clone()));
        Sources { record, history }
    };
    let mut all: Vec<_> = records.into_iter().map(with_history).collect();
    // The remaining histories belong to deleted systems.
    for ((namespace, name), history) in histories {
        let record = SystemRecord::read(&session.client, &namespace, &name).await?;
        all.push(Sources { record, history: Some(history) });
    }
    Ok(all)
}

impl Sources {
    fn entries(&self, now: Timestamp) -> Vec<Entry> {
        let Self { record, history } = self;
        let mut entries: Vec<_> =
            record.system.iter().flat_map(|system| system_entries(system, now)).collect();
        let mut effects = BTreeMap::new();
        for version in &record.versions {
            let name = version.name_any();
            let published = created(&version.metadata, "Published", &format!("modelversion/{name}"));
            entries.extend(published.map(|entry| Entry { version: Some(name), ..entry }));
            effects.extend(record.rule(version, None, now).effects);
        }
        let approvals = record.approvals.iter();
        entries.extend(approvals.flat_map(|approval| decision_entries(record, &effects, approval, now)));
        entries.extend(record.assessments.iter().filter_map(assessment_entry));
        entries.extend(record.attestations.iter().filter_map(|a| attestation_entry(record, a)));
        entries.extend(record.incidents.iter().filter_map(incident_entry));
        entries.extend(record.notes.iter().filter_map(|note| note_entry(record, note)));
        let (of_incidents, of_overrides): (Vec<_>, Vec<_>) =
            record.reviews.iter().partition(|review| review.spec.incident.is_some());
        let about_incidents = record.resumes.iter().chain(of_incidents);
        entries.extend(about_incidents.filter_map(|decision| incident_decision_entry(record, decision)));
        entries.extend(record.overrides.iter().filter_map(override_entry));
        let about_overrides = record.grants.iter().chain(of_overrides);
        entries.extend(about_overrides.filter_map(|decision| override_decision_entry(record, decision)));
        entries.extend(history.iter().flat_map(|history| history.spec.entries.iter().map(Entry::from)));
        let of_it =
            |entry| Entry { namespace: record.namespace.clone(), system: record.name.clone(), ..entry };
        entries.into_iter().map(of_it).collect()
    }
}

/// Reads the `SystemHistory` of a system. Returns `None` if there is none, or if the user may not read it. Also returns
/// `None` if the cluster does not have this kind, for example before an upgrade of Assent.
async fn system_history(session: &Session, name: &str) -> Result<Option<SystemHistory>> {
    let api = Api::<SystemHistory>::namespaced(session.client.clone(), &session.namespace);
    let read = request::get_opt(&api, name).await;
    let warning = "You may not get systemhistories: changes and deletions are not shown.";
    Ok(unless_forbidden(read, warning, format!("read systemhistory/{name}"))?.flatten())
}

/// Converts a forbidden read to `None`, and prints `warning`. Fails on any other error.
fn unless_forbidden<T>(read: kube::Result<T>, warning: &str, doing: String) -> Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(kube::Error::Api(status)) if status.is_forbidden() => {
            anstream::eprintln!("{warning}");
            Ok(None)
        }
        Err(error) => Err(Error::api(doing)(error)),
    }
}

impl From<&HistoryEntry> for Entry {
    fn from(entry: &HistoryEntry) -> Self {
        let version = entry.object.strip_prefix("modelversion/").map(str::to_owned);
        let manager = entry.field_manager.as_deref().map(unproven);
        let about = match entry.change {
            Change::Changed | Change::Deleted => Some(entry.object.clone()),
            Change::Cleared | Change::Withheld => entry.note.clone(),
        };
        Self {
            version,
            who: entry.by.clone().or(manager),
            note: about,
            ..Self::new(entry.at.0, entry.change.code(), &entry.object)
        }
    }
}

fn system_entries(system: &AISystem, now: Timestamp) -> Vec<Entry> {
    let object = format!("aisystem/{}", system.name_any());
    let retired = system.spec.decommission.as_ref().filter(|retired| retired.date.0 <= now);
    let retired = retired.map(|retired| Entry {
        note: Some(retired.reason.clone()),
        ..Entry::new(retired.date.0, "Decommissioned", &object)
    });
    created(&system.metadata, "Described", &object).into_iter().chain(retired).collect()
}

fn created(metadata: &ObjectMeta, what: &str, object: &str) -> Option<Entry> {
    let at = metadata.creation_timestamp.as_ref()?.0;
    Some(Entry::new(at, what, object))
}

/// Returns the entry for a decision about a version. For an approval that has ended, also returns an entry for the end.
fn decision_entries(
    record: &SystemRecord,
    effects: &BTreeMap<String, ApprovalEffect>,
    approval: &Approval,
    now: Timestamp,
) -> Vec<Entry> {
    let (Some(at), spec) = (recorded_at(approval), &approval.spec) else { return Vec::new() };
    let what = match spec.decision {
        Decision::Approve => "Approved",
        Decision::Reject => "Rejected",
        Decision::Revoke => "Revoked",
        // `SystemRecord::approvals` has none of these decisions. Other functions make the entries for these decisions.
        Decision::Attest | Decision::Resume | Decision::Override | Decision::Review => return Vec::new(),
    };
    let effect = effects.get(&approval.name_any()).copied();
    let entry = |at, what, note| Entry {
        version: Some(spec.model_version.clone()),
        who: record.approver(approval).map(|approver| approver.user.clone()),
        role: Some(spec.role.clone()),
        note,
        ..Entry::new(at, what, &format!("approval/{}", approval.name_any()))
    };
    let recorded = entry(at, what, Some(decision_note(spec, effect)).filter(|note| !note.is_empty()));
    let end = record.statement(approval).and_then(|statement| record.end(&statement));
    let ended = end.filter(|end| *end <= now && spec.decision == Decision::Approve);
    let ended = ended.map(|end| entry(end, "ApprovalEnded", None));
    [Some(recorded), ended].into_iter().flatten().collect()
}

fn incident_entry(incident: &Incident) -> Option<Entry> {
    let spec = &incident.spec;
    let at = recorded_at(incident)?;
    let what = if spec.effect == IncidentEffect::Hold { "Paused" } else { "IncidentOpened" };
    Some(Entry {
        who: spec.opened_by.as_ref().map(|person| person.user.clone()),
        note: Some(spec.description.clone()),
        ..Entry::new(at, what, &format!("incident/{}", incident.name_any()))
    })
}

/// The entry for an incident note. `None` if the record does not contain the incident that the note names.
fn note_entry(record: &SystemRecord, note: &IncidentNote) -> Option<Entry> {
    let spec = &note.spec;
    Some(Entry {
        who: spec.by.as_ref().map(|person| person.user.clone()),
        note: Some(format!("{} of incident/{}: {}", spec.type_.words(), spec.incident, spec.text)),
        ..Entry::new(recorded_at(note)?, "Noted", &format!("incidentnote/{}", note.name_any()))
    })
    .filter(|_| record.incidents.iter().any(|incident| incident.name_any() == *spec.incident))
}

/// The entry for a decision to resume, or for a review of an incident. `None` if the approver is not verified.
fn incident_decision_entry(record: &SystemRecord, decision: &Approval) -> Option<Entry> {
    let spec = &decision.spec;
    let what = if spec.decision == Decision::Resume { "Resumed" } else { "IncidentReviewed" };
    let incident = spec.incident.as_ref().map(|incident| format!("incident/{}", incident.name));
    let reason = spec.reason.clone();
    Some(Entry {
        version: Some(spec.model_version.clone()),
        who: Some(record.approver(decision)?.user.clone()),
        role: Some(spec.role.clone()),
        note: Some([incident, reason].into_iter().flatten().collect::<Vec<_>>().join(": ")),
        ..Entry::new(recorded_at(decision)?, what, &format!("approval/{}", decision.name_any()))
    })
}

/// The entry for the request of an override. Each grant of the override has an entry of its own.
fn override_entry(about: &Override) -> Option<Entry> {
    let spec = &about.spec;
    Some(Entry {
        version: Some(spec.model_version.to_string()),
        who: spec.requested_by.as_ref().map(|person| person.user.clone()),
        note: Some(format!("{}, until {}", spec.reason, spec.not_after.0)),
        ..Entry::new(recorded_at(about)?, "OverrideRequested", &format!("override/{}", about.name_any()))
    })
}

/// The entry for a grant or a review of an override. `None` if the approver is not verified.
fn override_decision_entry(record: &SystemRecord, approval: &Approval) -> Option<Entry> {
    let spec = &approval.spec;
    let about = spec.override_.as_ref().map(|about| format!("override/{}", about.name));
    let outcome = spec.outcome.map(|outcome| format!("{outcome:?}"));
    let note = [about, outcome, spec.reason.clone()].into_iter().flatten().collect::<Vec<_>>().join(": ");
    let what = if spec.decision == Decision::Review { "Reviewed" } else { "OverrideGranted" };
    Some(Entry {
        version: Some(spec.model_version.clone()),
        who: Some(record.approver(approval)?.user.clone()),
        role: Some(spec.role.clone()),
        note: Some(note),
        ..Entry::new(recorded_at(approval)?, what, &format!("approval/{}", approval.name_any()))
    })
}

fn assessment_entry(assessment: &Assessment) -> Option<Entry> {
    let spec = &assessment.spec;
    let value =
        |result: &AssessmentResult| format!("{} = {}", measure(&result.metric, &result.slice), result.value);
    let values: Vec<_> = spec.results.iter().map(value).collect();
    let object = format!("assessment/{}", assessment.name_any());
    Some(Entry {
        version: Some(spec.model_version.to_string()),
        who: assessment.annotations().get(AUTHOR).cloned(),
        note: Some(format!("{:?}: {}", spec.kind, values.join(", "))),
        ..created(&assessment.metadata, "Assessed", &object)?
    })
}

fn attestation_entry(record: &SystemRecord, approval: &Approval) -> Option<Entry> {
    let spec = &approval.spec;
    let names: Vec<_> = spec.assessments.iter().map(|signed| format!("assessment/{}", signed.name)).collect();
    Some(Entry {
        version: Some(spec.model_version.clone()),
        who: record.approver(approval).map(|approver| approver.user.clone()),
        role: Some(spec.role.clone()),
        note: Some(spec.reason.iter().cloned().chain(names).collect::<Vec<_>>().join(" ")),
        ..created(&approval.metadata, "Attested", &format!("approval/{}", approval.name_any()))?
    })
}

fn decision_note(spec: &ApprovalSpec, effect: Option<ApprovalEffect>) -> String {
    let effect = match effect {
        Some(ApprovalEffect::Counted | ApprovalEffect::Expired) => None,
        Some(effect) => Some(format!("[{}]", effect.code())),
        None => Some(format!("[for other content: kubectl assent show {}]", spec.subject_digest.short())),
    };
    spec.reason.clone().into_iter().chain(effect).collect::<Vec<_>>().join(" ")
}

/// The entries for the Events of Assent about the system `name`. If `name` is `None`, for the Events about every
/// system.
async fn event_entries(session: &Session, name: Option<&str>, everywhere: bool) -> Result<Vec<Entry>> {
    let (api, place) = session.reach::<Event>(everywhere);
    let name = name.map(|name| format!(",involvedObject.name={name}")).unwrap_or_default();
    let of_it = ListParams::default().fields(&format!("involvedObject.kind=AISystem{name}"));
    let listed = request::list(&api, &of_it).await;
    let warning = "You may not list events: held, released and stopped pods are not shown.";
    let events = unless_forbidden(listed, warning, format!("read the events {place}"))?;
    let is_enforcement = |event: &Event| {
        let version = event.involved_object.api_version.as_deref().unwrap_or_default();
        // The entry of an `Approval` states the same facts as these Events, so the history omits these Events.
        let announces = matches!(event.reason.as_deref(), Some("Rejected" | "Revoked" | "OverrideGranted"));
        version.split('/').next() == Some(GROUP) && !announces
    };
    let events = events.iter().flat_map(|events| &events.items);
    Ok(events.filter(|event| is_enforcement(event)).filter_map(event_entry).collect())
}

fn event_entry(event: &Event) -> Option<Entry> {
    let seen = event.event_time.as_ref().map(|at| at.0);
    let at = seen.or_else(|| event.metadata.creation_timestamp.as_ref().map(|at| at.0))?;
    Some(Entry {
        namespace: event.involved_object.namespace.clone().unwrap_or_default(),
        system: event.involved_object.name.clone().unwrap_or_default(),
        who: event.reporting_component.clone(),
        note: event.message.clone(),
        ..Entry::new(
            at,
            event.reason.as_deref().unwrap_or_default(),
            &format!("event/{}", event.meta().name.as_deref()?),
        )
    })
}

impl Entry {
    fn new(at: Timestamp, what: &str, object: &str) -> Self {
        Self {
            at,
            namespace: String::new(),
            system: String::new(),
            what: what.to_owned(),
            version: None,
            who: None,
            role: None,
            object: object.to_owned(),
            note: None,
        }
    }

    fn cells(&self, (namespace, system): (bool, bool), wide: bool, now: Timestamp) -> Vec<Cell> {
        let style = match &*self.what {
            "Approved" | "Released" | "Cleared" => GOOD,
            "Rejected" | "Revoked" | "ClearanceLost" | "Decommissioned" | "Withheld" => BAD,
            "OverrideRequested"
            | "OverrideGranted"
            | "OverrideReviewDue"
            | "OverrideReviewMissed"
            | "Held"
            | "ApprovalEnded"
            | "StopOverdue"
            | "Changed"
            | "Deleted" => LOOK,
            _ => PLAIN,
        };
        let text = |text: &Option<String>| Cell::new(PLAIN, text.as_deref().unwrap_or_default());
        let who = match (&self.who, &self.role) {
            (Some(who), Some(role)) => format!("{who} as {role}"),
            (who, _) => who.clone().unwrap_or_default(),
        };
        let mut cells =
            vec![Cell::new(PLAIN, &format!("{:.0}", self.at)), Cell::new(FAINT, &relative(self.at, now))];
        cells.extend(namespace.then(|| Cell::new(PLAIN, &self.namespace)));
        cells.extend(system.then(|| Cell::new(PLAIN, &self.system)));
        cells.extend([Cell::new(style, &self.what), text(&self.version), Cell::new(PLAIN, &who)]);
        cells.extend(wide.then(|| Cell::new(FAINT, &self.object)));
        cells.push(text(&self.note.as_ref().map(|note| note.lines().collect::<Vec<_>>().join(" "))));
        cells
    }
}

fn entries_table(entries: &[Entry], (namespace, system): (bool, bool), wide: bool, now: Timestamp) -> String {
    let (time, version) = if wide { (0, 0) } else { (2, 1) };
    let mut header = vec![("TIME", time), ("WHEN", 0)];
    header.extend(namespace.then_some(("NAMESPACE", 0)));
    header.extend(system.then_some(("SYSTEM", 0)));
    header.extend([("WHAT", 0), ("VERSION", version), ("WHO", 0)]);
    header.extend(wide.then_some(("OBJECT", 0)));
    header.push(("NOTE", 0));
    let cells = entries.iter().map(|entry| entry.cells((namespace, system), wide, now));
    table(&header, &cells.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::fixtures::{self, now};

    fn decision(spec: &serde_json::Value) -> Approval {
        let mut approval = json!({
            "apiVersion": "assent.dev/v1alpha1", "kind": "Approval",
            "metadata": { "name": "a", "creationTimestamp": "2026-11-24T09:00:00Z" },
            "spec": { "system": "credit-scorer", "modelVersion": "credit-scorer-v2", "role": "auditor",
                      "subjectDigest": format!("sha256:{}", "0".repeat(64)), "approver": { "user": "alice" } },
        });
        for (field, value) in spec.as_object().into_iter().flatten() {
            approval["spec"][field] = value.clone();
        }
        serde_json::from_value(approval).expect("an Approval")
    }

    fn entries(spec: &serde_json::Value) -> Vec<(String, String)> {
        let mut record = fixtures::record();
        (record.system, record.versions) = (None, Vec::new());
        record.add_decision(decision(spec));
        let entries = Sources { record, history: None }.entries(now()).into_iter();
        entries.map(|entry| (entry.what, entry.note.unwrap_or_default())).collect()
    }

    #[test]
    fn each_decision_has_one_entry() {
        let named = json!({ "name": "x", "digest": format!("sha256:{}", "0".repeat(64)) });
        for (spec, what, note) in [
            (
                json!({ "decision": "Reject", "reason": "late" }),
                "Rejected",
                "late [for other content: kubectl assent show 000000000000]",
            ),
            (json!({ "decision": "Attest" }), "Attested", ""),
            (json!({ "decision": "Resume", "incident": named }), "Resumed", "incident/x"),
            (json!({ "decision": "Override", "override": named }), "OverrideGranted", "override/x"),
            (
                json!({ "decision": "Review", "override": named, "outcome": "Justified", "reason": "late" }),
                "Reviewed",
                "override/x: Justified: late",
            ),
            (
                json!({ "decision": "Review", "incident": named, "outcome": "Justified", "reason": "late" }),
                "IncidentReviewed",
                "incident/x: late",
            ),
        ] {
            assert_eq!(entries(&spec), [(what.to_owned(), note.to_owned())], "{spec}");
        }
    }

    #[test]
    fn one_dropped_change_is_singular() {
        let one = "1 older change had no room in systemhistory/chat and is not shown.";
        assert_eq!(dropped_in_words(1, "chat"), one);
        let two = "2 older changes had no room in systemhistory/chat and are not shown.";
        assert_eq!(dropped_in_words(2, "chat"), two);
    }
}
