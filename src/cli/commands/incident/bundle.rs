//! Collects the records of an incident in a directory, with the digest of each file.
//!
//! ```text
//!  Incident, notes, decisions, versions, assessments, system, level, histories, Events ─► DIRECTORY/KIND/NAME.yaml
//!                                                                                          ├─ report.md
//!                                                                                          └─ SHA256SUMS
//! ```
//!
//! Equal records give equal files. The bundle has no Secret: Assent reads none.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::PathBuf};

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use k8s_openapi::api::core::v1::Event;
use kube::{Api, Resource, ResourceExt, api::ListParams};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{incident_record::IncidentRecord, report};
use crate::{
    api::{DecisionSubject, Digest, SystemHistory},
    cli::{
        commands::completion,
        connect::session::Session,
        error::{Error, Result},
        render::{
            output,
            page::{GOOD, LOOK, PLAIN, Page},
            shell::quoted,
        },
    },
    watch::request,
};

/// The file with the digests of the other files.
const SUMS: &str = "SHA256SUMS";

/// The command line of `incident bundle`.
#[derive(Args, Clone, Debug)]
pub struct BundleArgs {
    /// Incident
    #[arg(value_name = "INCIDENT", add = ArgValueCompleter::new(completion::incidents))]
    incident: String,
    /// New directory for the files
    #[arg(short, long, value_name = "DIRECTORY")]
    output: PathBuf,
}

/// The files of a bundle, and the records that the user may not read.
#[derive(Default)]
struct Bundle {
    files: BTreeMap<String, String>,
    unread: Vec<&'static str>,
}

/// Writes the records of an incident to a new directory.
pub async fn bundle(session: &Session, args: &BundleArgs) -> Result<()> {
    let found = IncidentRecord::read(session, &args.incident).await?;
    let mut bundle = Bundle::default();
    bundle.add_record(&found)?;
    bundle.add_of_namespace(session, &found).await?;
    bundle.files.insert("report.md".to_owned(), report::markdown(&found)?);
    bundle.write(args)?;
    let directory = args.output.display().to_string();
    let mut page = Page::default();
    page.mark("✓", GOOD, &format!("Wrote {} files to {directory}", bundle.files.len() + 1));
    for kind in &bundle.unread {
        page.mark("!", LOOK, &format!("you may not list {kind}, so the bundle has none"));
    }
    page.mark("-", PLAIN, "check the files later:");
    page.command(&format!("cd {} && sha256sum -c {SUMS}", quoted(&directory)));
    anstream::print!("{}", page.finish());
    Ok(())
}

impl Bundle {
    /// Adds an object without the fields that only the API server uses.
    fn add<K: Resource<DynamicType = ()> + Serialize + Clone>(&mut self, object: &K) -> Result<()> {
        let mut object = object.clone();
        object.meta_mut().managed_fields = None;
        object.meta_mut().resource_version = None;
        let file = format!("{}/{}.yaml", K::plural(&()), object.name_any());
        self.files.insert(file, output::yaml(&object)?);
        Ok(())
    }

    fn add_all<'a, K: Resource<DynamicType = ()> + Serialize + Clone + 'a>(
        &mut self,
        objects: impl IntoIterator<Item = &'a K>,
    ) -> Result<()> {
        objects.into_iter().try_for_each(|object| self.add(object))
    }

    /// Adds the records of the system and the incident.
    fn add_record(&mut self, found: &IncidentRecord) -> Result<()> {
        let record = &found.record;
        self.add(&found.incident)?;
        self.add_all(found.notes())?;
        self.add_all(record.system.iter())?;
        self.add_all(record.level.iter())?;
        self.add_all(&record.versions)?;
        self.add_all(&record.assessments)?;
        let decisions =
            [&record.approvals, &record.attestations, &record.resumes, &record.reviews, &record.grants];
        decisions.into_iter().try_for_each(|decisions| self.add_all(decisions))
    }

    /// Adds the histories, the subjects of the decisions and the Events.
    async fn add_of_namespace(&mut self, session: &Session, found: &IncidentRecord) -> Result<()> {
        let name = &found.record.name;
        let histories: Vec<SystemHistory> = self.read(session, "systemhistories").await?;
        self.add_all(histories.iter().filter(|history| history.name_any() == *name))?;
        let subjects: Vec<DecisionSubject> = self.read(session, "decisionsubjects").await?;
        self.add_all(subjects.iter().filter(|subject| subject.spec.version.system == *name))?;
        let events: Vec<Event> = self.read(session, "events").await?;
        let names = [Some(name.clone()), Some(found.name())];
        let versions: Vec<_> = found.record.versions.iter().map(|version| Some(version.name_any())).collect();
        let is_about = |event: &&Event| {
            let about = &event.involved_object.name;
            names.contains(about) || versions.contains(about)
        };
        self.add_all(events.iter().filter(is_about))
    }

    /// The objects of a kind in the namespace. Empty if the user may not list them.
    async fn read<K>(&mut self, session: &Session, kind: &'static str) -> Result<Vec<K>>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + serde::de::DeserializeOwned
            + std::fmt::Debug,
    {
        let api = Api::<K>::namespaced(session.client.clone(), &session.namespace);
        match request::list(&api, &ListParams::default()).await {
            Ok(list) => Ok(list.items),
            Err(kube::Error::Api(status)) if status.is_forbidden() || status.is_not_found() => {
                self.unread.push(kind);
                Ok(Vec::new())
            }
            Err(error) => {
                Err(Error::api(format!("read the {kind} of namespace {}", session.namespace))(error))
            }
        }
    }

    /// Writes the files and their digests. The directory must not exist.
    fn write(&self, args: &BundleArgs) -> Result<()> {
        let failed = |path: &PathBuf, error: std::io::Error| Error::Flag {
            flag: "--output",
            value: path.display().to_string(),
            why: error.to_string(),
        };
        fs::create_dir(&args.output).map_err(|error| failed(&args.output, error))?;
        let mut sums = String::new();
        for (file, text) in &self.files {
            let path = args.output.join(file);
            let parent = path.parent().unwrap_or(&args.output).to_owned();
            fs::create_dir_all(&parent).map_err(|error| failed(&parent, error))?;
            fs::write(&path, text).map_err(|error| failed(&path, error))?;
            let digest = Digest::from_sha256(Sha256::digest(text).into()).to_string();
            let _ = writeln!(sums, "{}  {file}", digest.trim_start_matches("sha256:"));
        }
        let path = args.output.join(SUMS);
        fs::write(&path, sums).map_err(|error| failed(&path, error))
    }
}
