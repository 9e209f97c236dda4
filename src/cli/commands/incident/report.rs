//! Writes a report about an incident. The fields and their order are those of the draft template of the European
//! Commission for reports of serious incidents.
//!
//! The values of the fields come from the records of the incident and of its system. If the records have no value for a
//! field, the report names the person who must fill in the field.

use clap::{Args, ValueEnum};
use clap_complete::engine::ArgValueCompleter;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;

use super::incident_record::IncidentRecord;
use crate::{
    api::{Approval, Decision, IncidentNote, NoteType},
    cli::{
        commands::completion,
        connect::{session::Session, system_record::recorded_at},
        error::Result,
        render::{
            escape::{visible, visible_lines},
            output,
        },
    },
    policy::deadlines,
};

/// The people who must fill in the fields for which the records have no value.
const PROVIDER: &str = "provider of the system";
const RISK_MANAGER: &str = "risk manager";
const SUBMITTER: &str = "person who submits the report";
const OWNERS: &str = "owners of the system";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// Markdown, for people.
    #[default]
    Markdown,
    /// JSON, for programs.
    Json,
}

#[derive(Args, Clone, Debug)]
pub struct ReportArgs {
    /// Incident
    #[arg(value_name = "INCIDENT", add = ArgValueCompleter::new(completion::incidents))]
    incident: String,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: ReportFormat,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    incident: String,
    namespace: String,
    digest: String,
    sections: Vec<Section>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Section {
    title: &'static str,
    fields: Vec<Field>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Field {
    name: &'static str,
    /// The values from the records. Empty if the records have no value.
    values: Vec<String>,
    /// The person who must fill in the field. `None` if the records have a value.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing_from: Option<&'static str>,
}

pub async fn report(session: &Session, args: &ReportArgs) -> Result<()> {
    let found = IncidentRecord::read(session, &args.incident).await?;
    let report = Report::of(&found)?;
    let text = match args.output {
        ReportFormat::Markdown => report.markdown(),
        ReportFormat::Json => output::json(&report)?,
    };
    anstream::print!("{text}");
    Ok(())
}

pub fn markdown(found: &IncidentRecord) -> Result<String> {
    Ok(Report::of(found)?.markdown())
}

/// Returns a field with `values`. If `values` is empty, the field names `who` as the person who must fill in the field.
fn field(name: &'static str, values: Vec<String>, who: &'static str) -> Field {
    let missing_from = values.is_empty().then_some(who);
    Field { name, values, missing_from }
}

fn one(value: Option<impl ToString>) -> Vec<String> {
    value.into_iter().map(|value| value.to_string()).collect()
}

impl Report {
    fn of(found: &IncidentRecord) -> Result<Self> {
        let digest = found.incident.spec.digest(&found.record.namespace).to_string();
        Ok(Self {
            incident: found.name(),
            namespace: found.record.namespace.clone(),
            digest,
            sections: vec![
                Section { title: "1 Administrative information", fields: administration(found)? },
                Section { title: "2 AI system", fields: system(found) },
                Section { title: "3 Serious incident", fields: event(found) },
                Section { title: "4 Analysis of the provider", fields: analysis(found) },
                Section { title: "5 General comments", fields: comments(found) },
            ],
        })
    }

    fn markdown(&self) -> String {
        let (incident, namespace) = (visible(&self.incident), visible(&self.namespace));
        let mut parts = vec![
            format!("# Report on incident {incident} in namespace {namespace}"),
            format!("Digest of the incident: {}", self.digest),
        ];
        for section in &self.sections {
            parts.push(format!("## {}", section.title));
            let fields = section.fields.iter();
            parts.extend(fields.map(|field| format!("### {}\n\n{}", field.name, field.markdown())));
        }
        parts.push("## Missing".to_owned());
        let fields = self.sections.iter().flat_map(|section| &section.fields);
        let missing = fields.filter_map(|field| Some(format!("- {}: {}", field.name, field.missing_from?)));
        parts.push(missing.collect::<Vec<_>>().join("\n"));
        parts.join("\n\n") + "\n"
    }
}

impl Field {
    /// The values as Markdown quotes, so that no text of a user becomes a heading of the report. Without values, the
    /// person who must fill in the field.
    fn markdown(&self) -> String {
        if let Some(who) = self.missing_from {
            return format!("*Missing. To be filled by: {who}.*");
        }
        let quote = |value: &String| {
            visible_lines(value).map(|line| format!("> {line}")).collect::<Vec<_>>().join("\n")
        };
        self.values.iter().map(quote).collect::<Vec<_>>().join("\n\n")
    }
}

fn administration(found: &IncidentRecord) -> Result<Vec<Field>> {
    let spec = &found.incident.spec;
    let criteria = spec.criteria.iter().map(|criterion| format!("{criterion:?}")).collect();
    let aware = spec.aware_at.as_ref().map(|at| at.0).or_else(|| recorded_at(&found.incident));
    let due = found.judged(|incident| {
        let all = deadlines(incident, found.level(), Timestamp::MIN);
        all.iter().map(|deadline| format!("{}: {}", deadline.reference, deadline.due)).collect()
    })?;
    Ok(vec![
        field("Competent authority", Vec::new(), RISK_MANAGER),
        field("Date of this report", Vec::new(), SUBMITTER),
        field(
            "Type of report (initial, follow-up, combined initial and final, final)",
            Vec::new(),
            SUBMITTER,
        ),
        field(
            "Reference of the submitter",
            vec![format!("{}/{}", found.record.namespace, found.name())],
            SUBMITTER,
        ),
        field("Classification of the incident", criteria, RISK_MANAGER),
        field("Date of the incident", one(spec.occurred_at.as_ref().map(|at| at.0)), OWNERS),
        field("Date of awareness", one(aware), OWNERS),
        field("Deadlines, if the incident must be reported", due, RISK_MANAGER),
        field(
            "Role of the submitter (provider, deployer, authorised representative, other)",
            Vec::new(),
            SUBMITTER,
        ),
        field("Name and contact of the submitter", Vec::new(), SUBMITTER),
        field(
            "Reports and notifications so far",
            notes(found, &[NoteType::Report, NoteType::Notified]),
            RISK_MANAGER,
        ),
    ])
}

fn system(found: &IncidentRecord) -> Vec<Field> {
    let system = found.record.system.as_ref().map(|system| &system.spec);
    let provider = system.and_then(|system| system.provider.as_ref()).map(|provider| &provider.name);
    vec![
        field("Registration in the EU database", Vec::new(), PROVIDER),
        field("Name of the system", vec![found.record.name.clone()], OWNERS),
        field("Description of the system", one(system.map(|system| &system.intended_purpose)), OWNERS),
        field("Provider of the system", one(provider), OWNERS),
        field("Nomenclature", Vec::new(), PROVIDER),
        field("Model, catalogue reference, serial number, lot", Vec::new(), PROVIDER),
        field("Versions of the software", versions(found), OWNERS),
    ]
}

/// The versions that the incident names, with their digests and images. A deleted version has no images. If the
/// incident names no version, all versions.
fn versions(found: &IncidentRecord) -> Vec<String> {
    let named = &found.incident.spec.model_versions;
    let is_named = |name: &str| named.is_empty() || named.iter().any(|version| *version.name == *name);
    let concerned = found.record.versions.iter().filter(|version| is_named(&version.name_any()));
    let line = |version: &crate::api::ModelVersion| {
        let digest = found.record.digest(version).map(|digest| digest.to_string()).unwrap_or_default();
        let images: Vec<_> = version.spec.runtime.images().collect();
        format!("{} ({digest}): {}", version.name_any(), images.join(", "))
    };
    let deleted = named.iter().filter(|named| found.record.version(&named.name).is_none());
    let deleted = deleted.map(|version| format!("{} ({}): deleted", version.name, version.subject_digest));
    concerned.map(line).chain(deleted).collect()
}

fn event(found: &IncidentRecord) -> Vec<Field> {
    let spec = &found.incident.spec;
    let owners = found.record.system.iter().flat_map(|system| &system.spec.owners);
    let owners = owners.map(|owner| owner.name.clone()).collect();
    vec![
        field(
            "Description of the incident",
            [vec![spec.description.clone()], one(monitor(found))].concat(),
            OWNERS,
        ),
        field("Effects, and affected people or things", one(spec.affected.as_ref()), OWNERS),
        field("Likely causal link with the system", notes(found, &[NoteType::RootCause]), OWNERS),
        field("Number of affected people", Vec::new(), RISK_MANAGER),
        field("Operator of the system", owners, OWNERS),
        field("Remedial actions", [notes(found, &[NoteType::Action]), stops(found)].concat(), OWNERS),
        field("Initial reporter", one(spec.opened_by.as_ref().map(|person| &person.user)), RISK_MANAGER),
    ]
}

/// Names the monitor that opened the incident. If the monitor exists and the user may read it, also states its current
/// metric and query. `None` if no monitor opened the incident.
fn monitor(found: &IncidentRecord) -> Option<String> {
    let name = found.incident.spec.monitor.as_ref()?;
    let Some(monitors) = &found.record.monitors else {
        return Some(format!("Opened by monitor/{name}, which the author of this report may not read."));
    };
    let Some(monitor) = monitors.iter().find(|monitor| monitor.name_any() == **name) else {
        return Some(format!("Opened by monitor/{name}, which is deleted."));
    };
    let query = monitor.status.as_ref().and_then(|status| status.query.as_deref()).unwrap_or("not known");
    Some(format!("Opened by monitor/{name} with the metric {} and the query {query}.", monitor.spec.metric))
}

/// The time from which the incident held versions, and the decisions to resume versions after the incident.
fn stops(found: &IncidentRecord) -> Vec<String> {
    let opened = recorded_at(&found.incident)
        .filter(|_| found.incident.spec.effect == crate::api::IncidentEffect::Hold);
    let held = opened.map(|at| format!("The versions were held at {at}."));
    held.into_iter().chain(decisions(found, Decision::Resume)).collect()
}

fn analysis(found: &IncidentRecord) -> Vec<Field> {
    vec![
        field("Preliminary comments of the provider", notes(found, &[NoteType::Fact]), PROVIDER),
        field("Initial corrective actions", notes(found, &[NoteType::Action]), PROVIDER),
        field("Planned investigations", Vec::new(), PROVIDER),
        field("Root cause", notes(found, &[NoteType::RootCause]), PROVIDER),
        field("Verification of the corrective actions", notes(found, &[NoteType::Verification]), PROVIDER),
        field(
            "Reason if the incident need not be reported",
            notes(found, &[NoteType::Closing]),
            RISK_MANAGER,
        ),
        field("Review of the risk assessment", decisions(found, Decision::Review), RISK_MANAGER),
    ]
}

fn comments(found: &IncidentRecord) -> Vec<Field> {
    vec![field("Comments", notes(found, &[NoteType::Acknowledgement]), SUBMITTER)]
}

fn notes(found: &IncidentRecord, types: &[NoteType]) -> Vec<String> {
    let line = |note: &IncidentNote| {
        let by = note.spec.by.as_ref().map_or("not known", |person| &person.user);
        let at = recorded_at(note).map(|at| at.to_string()).unwrap_or_default();
        format!("{} ({by}, {at})", note.spec.text)
    };
    found.notes().filter(|note| types.contains(&note.spec.type_)).map(line).collect()
}

fn decisions(found: &IncidentRecord, decision: Decision) -> Vec<String> {
    let line = |approval: &Approval| {
        let spec = &approval.spec;
        let by = found.record.approver(approval)?.user.clone();
        let at = recorded_at(approval)?;
        let outcome = spec.outcome.map(|outcome| format!(" {outcome:?}")).unwrap_or_default();
        let reason = spec.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        Some(format!(
            "{decision:?}{outcome} of {} by {by} as {} at {at}{reason}",
            spec.model_version, spec.role
        ))
    };
    found
        .decisions()
        .into_iter()
        .filter(|approval| approval.spec.decision == decision)
        .filter_map(line)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        api::{Incident, IncidentNote},
        cli::fixtures,
    };

    fn note(type_: &str, text: &str, at: &str) -> IncidentNote {
        let note = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "IncidentNote",
            "metadata": { "name": type_.to_lowercase(), "creationTimestamp": at },
            "spec": { "incident": "age", "type": type_, "text": text, "by": { "user": "dave" } } });
        serde_json::from_value(note).expect("an IncidentNote")
    }

    fn report(more: &Value, notes: Vec<IncidentNote>) -> Report {
        let mut incident = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "Incident",
            "metadata": { "name": "age", "namespace": "lending", "creationTimestamp": "2026-11-20T10:00:00Z" },
            "spec": { "system": "credit-scorer", "effect": "Hold", "description": "Applicants over 60 are refused\n# twice as often",
                "openedBy": { "user": "dave" } } });
        for (field, value) in more.as_object().into_iter().flatten() {
            incident["spec"][field] = value.clone();
        }
        let incident: Incident = serde_json::from_value(incident).expect("an Incident");
        let mut record = fixtures::record();
        (record.incidents, record.notes) = (vec![incident.clone()], notes);
        Report::of(&IncidentRecord { incident, record }).expect("a report")
    }

    #[test]
    fn report_has_every_field_of_the_template_and_names_who_fills_the_missing_ones() {
        insta::assert_snapshot!(report(&json!({}), Vec::new()).markdown());
    }

    #[test]
    fn report_has_the_notes_of_people() {
        let facts = json!({ "criteria": ["FundamentalRights"], "affected": "About 300 applicants",
            "occurredAt": "2026-11-19T08:00:00Z", "awareAt": "2026-11-20T09:00:00Z" });
        let at = "2026-11-21T10:00:00Z";
        let notes = ["RootCause", "Action", "Verification", "Report", "Closing"];
        let notes = notes.map(|type_| note(type_, &format!("the {type_}"), at)).to_vec();
        insta::assert_snapshot!(report(&facts, notes).markdown());
    }

    #[test]
    fn no_text_of_a_user_becomes_a_heading() {
        let text =
            report(&json!({}), vec![note("Fact", "x\n## 6 Forged", "2026-11-21T10:00:00Z")]).markdown();
        assert!(text.contains("> ## 6 Forged") && !text.contains("\n## 6 Forged"), "{text}");
    }
}
