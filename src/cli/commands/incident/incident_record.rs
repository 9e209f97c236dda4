//! Reads an incident and the record of its system, which contains the notes and the decisions about the incident.

use k8s_openapi::jiff::Timestamp;
use kube::{Api, ResourceExt, api::ObjectMeta};

use crate::{
    api::{
        Approval, ApprovalSpec, Approver, Decision, Digest, Incident, IncidentNote, RecordReference,
        ReviewOutcome, RiskLevelSpec,
    },
    cli::{
        connect::{
            session::Session,
            system_record::{SystemRecord, recorded_at},
        },
        error::{Error, Result},
        render::{
            page::{FAINT, PLAIN, Page},
            time::in_words,
        },
    },
    policy::RecordedIncident,
};

#[derive(Clone, Debug)]
pub struct IncidentRecord {
    pub incident: Incident,
    pub record: SystemRecord,
}

/// Reads only the incident, without the record of its system.
pub async fn read_incident(session: &Session, name: &str) -> Result<Incident> {
    let api = Api::<Incident>::namespaced(session.client.clone(), &session.namespace);
    let doing = format!("read incident/{name} in namespace {}", session.namespace);
    api.get(name).await.map_err(Error::api(doing))
}

impl IncidentRecord {
    /// Reads an incident and the record of its system. Fails if the user may not list incidents.
    pub async fn read(session: &Session, name: &str) -> Result<Self> {
        let incident = read_incident(session, name).await?;
        let record = SystemRecord::read(&session.client, &session.namespace, &incident.spec.system).await?;
        record.refuse_without_incidents()?;
        Ok(Self { incident, record })
    }

    pub fn name(&self) -> String {
        self.incident.name_any()
    }

    /// The notes of the incident, oldest first.
    pub fn notes(&self) -> impl Iterator<Item = &IncidentNote> {
        notes_of(&self.record, &self.incident)
    }

    /// The decisions to resume and the reviews that name the incident, oldest first.
    pub fn decisions(&self) -> Vec<&Approval> {
        let name = self.name();
        let is_named =
            |approval: &&Approval| approval.spec.incident.as_ref().is_some_and(|named| *named.name == *name);
        let mut decisions: Vec<_> =
            self.record.resumes.iter().chain(&self.record.reviews).filter(is_named).collect();
        decisions.sort_by_key(|approval| (recorded_at(*approval), approval.name_any()));
        decisions
    }

    /// The risk level of the system. `None` if the system or the risk level does not exist.
    pub fn level(&self) -> Option<&RiskLevelSpec> {
        self.record.level.as_ref().map(|level| &level.spec)
    }

    /// Converts the incident to the type that the module `policy` reads, and returns the result of `with` for it. Fails
    /// if the record does not contain the incident yet.
    pub fn judged<T>(&self, with: impl FnOnce(&RecordedIncident<'_>) -> T) -> Result<T> {
        let (incidents, name) = (self.record.recorded_incidents(), self.name());
        let found = incidents.of(&self.record.name).iter().find(|incident| incident.name == name);
        found.map(with).ok_or_else(|| Error::Choose {
            question: format!("incident/{name} was created a moment ago: repeat the command"),
            next: Vec::new(),
        })
    }
}

/// The notes of an incident, oldest first.
pub fn notes_of<'a>(
    record: &'a SystemRecord,
    incident: &Incident,
) -> impl Iterator<Item = &'a IncidentNote> + use<'a> {
    let name = incident.name_any();
    record.notes.iter().filter(move |note| *note.spec.incident == *name)
}

pub fn say_notes(page: &mut Page, record: &SystemRecord, incident: &Incident, now: Timestamp) {
    page.heading("NOTES");
    let mut some = false;
    for note in notes_of(record, incident) {
        some = true;
        let by = note.spec.by.as_ref().map_or("not known", |person| &person.user);
        let when = recorded_at(note).map(|at| in_words(at, now)).unwrap_or_default();
        page.mark("-", PLAIN, &format!("{} by {by} {when}: {}", note.spec.type_.words(), note.spec.text));
    }
    if !some {
        page.mark("-", FAINT, "none");
    }
}

/// A decision to resume one version after an incident, or a review of an incident. Both decisions name the incident and
/// the digest of one version.
pub struct DecisionOnIncident<'a> {
    pub found: &'a IncidentRecord,
    pub version: &'a str,
    pub digest: Digest,
    pub decision: Decision,
    pub outcome: Option<ReviewOutcome>,
    pub role: String,
    pub reason: Option<String>,
}

impl DecisionOnIncident<'_> {
    pub fn approval(&self, approver: Option<Approver>) -> Approval {
        let word = format!("{:?}", self.decision).to_lowercase();
        let metadata =
            ObjectMeta { generate_name: Some(format!("{}-{word}-", self.version)), ..ObjectMeta::default() };
        let incident = RecordReference {
            name: self.found.name().into(),
            digest: self.found.incident.spec.digest(&self.found.record.namespace),
        };
        let spec = ApprovalSpec {
            system: self.found.record.name.clone(),
            model_version: self.version.to_owned(),
            subject_digest: self.digest.clone(),
            decision: self.decision,
            role: self.role.clone(),
            assessments: Vec::new(),
            incident: Some(incident),
            override_: None,
            outcome: self.outcome,
            reason: self.reason.clone(),
            not_after: None,
            approver,
            signature: None,
        };
        Approval { metadata, spec, status: None }
    }
}
