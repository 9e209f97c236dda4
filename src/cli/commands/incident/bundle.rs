//! Collects the records of an incident and of its system in a directory or a tar file. Each object is a file, such as
//! `incidents/NAME.yaml`. The file `report.md` contains the report, and `SHA256SUMS` the digest of each file.
//!
//! Equal records give equal files and an equal tar file. The bundle contains no Secret.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

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

#[derive(Args, Clone, Debug)]
pub struct BundleArgs {
    /// Incident
    #[arg(value_name = "INCIDENT", add = ArgValueCompleter::new(completion::incidents))]
    incident: String,
    /// New directory for the files, or new file whose name ends with .tar
    #[arg(short, long, value_name = "DIRECTORY|FILE.tar")]
    output: PathBuf,
}

/// The content of each file of a bundle by the path of the file, and the kinds that the command could not list.
#[derive(Default)]
struct Bundle {
    files: BTreeMap<String, String>,
    unread: Vec<&'static str>,
}

pub async fn bundle(session: &Session, args: &BundleArgs) -> Result<()> {
    let found = IncidentRecord::read(session, &args.incident).await?;
    let mut bundle = Bundle::default();
    bundle.add_record(&found)?;
    bundle.add_of_namespace(session, &found).await?;
    bundle.files.insert("report.md".to_owned(), report::markdown(&found)?);
    bundle.add_sums();
    let is_tar = args.output.extension().is_some_and(|extension| extension == "tar");
    let written = if is_tar { bundle.pack(&args.output, &args.incident) } else { bundle.write(&args.output) };
    let place = args.output.display().to_string();
    written.map_err(|error| Error::Flag {
        flag: "--output",
        value: place.clone(),
        why: error.to_string(),
    })?;
    let mut page = Page::default();
    page.mark("✓", GOOD, &format!("Wrote {} files to {place}", bundle.files.len()));
    for kind in &bundle.unread {
        page.mark("!", LOOK, &format!("{kind} could not be listed, so the bundle has none"));
    }
    page.mark("-", PLAIN, "check the files later:");
    let unpack = if is_tar { format!("tar -xf {} && ", quoted(&place)) } else { String::new() };
    let directory = if is_tar { &args.incident } else { &place };
    page.command(&format!("{unpack}cd {} && sha256sum -c {SUMS}", quoted(directory)));
    anstream::print!("{}", page.finish());
    Ok(())
}

impl Bundle {
    /// Adds an object without `managedFields` and `resourceVersion`, because these fields can change while the other
    /// fields stay the same.
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

    fn add_record(&mut self, found: &IncidentRecord) -> Result<()> {
        let record = &found.record;
        self.add(&found.incident)?;
        self.add_all(found.notes())?;
        self.add_all(record.system.iter())?;
        self.add_all(record.level.iter())?;
        self.add_all(record.keys.values().map(AsRef::as_ref))?;
        self.add_all(&record.versions)?;
        self.add_all(&record.overrides)?;
        match &record.monitors {
            Some(monitors) => self.add_all(monitors)?,
            None => self.unread.push("monitors"),
        }
        self.add_all(&record.assessments)?;
        let decisions =
            [&record.approvals, &record.attestations, &record.resumes, &record.reviews, &record.grants];
        decisions.into_iter().try_for_each(|decisions| self.add_all(decisions))
    }

    /// Adds the `SystemHistory` and the `DecisionSubject` objects of the system. Also adds the Events about the system
    /// and the incident, and about the versions, overrides and monitors of the system.
    async fn add_of_namespace(&mut self, session: &Session, found: &IncidentRecord) -> Result<()> {
        let name = &found.record.name;
        let histories: Vec<SystemHistory> = self.read(session, "systemhistories").await?;
        self.add_all(histories.iter().filter(|history| history.name_any() == *name))?;
        let subjects: Vec<DecisionSubject> = self.read(session, "decisionsubjects").await?;
        self.add_all(subjects.iter().filter(|subject| subject.spec.version.system == *name))?;
        let events: Vec<Event> = self.read(session, "events").await?;
        let record = &found.record;
        let versions = record.versions.iter().map(ResourceExt::name_any);
        let overrides = record.overrides.iter().map(ResourceExt::name_any);
        let monitors = record.monitors.iter().flatten().map(ResourceExt::name_any);
        let names: BTreeSet<_> = [name.clone(), found.name()]
            .into_iter()
            .chain(versions)
            .chain(overrides)
            .chain(monitors)
            .collect();
        let is_about =
            |event: &&Event| event.involved_object.name.as_ref().is_some_and(|about| names.contains(about));
        self.add_all(events.iter().filter(is_about))
    }

    /// Returns the objects of a kind in the namespace. If the user may not list the kind, or if the cluster does not
    /// have the kind, returns no objects and adds the kind to `unread`.
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

    fn add_sums(&mut self) {
        let mut sums = String::new();
        for (file, text) in &self.files {
            let digest = Digest::from_sha256(Sha256::digest(text).into()).to_string();
            // A write to a `String` does not fail.
            let _ = writeln!(sums, "{}  {file}", digest.trim_start_matches("sha256:"));
        }
        self.files.insert(SUMS.to_owned(), sums);
    }

    /// Writes the files to a new directory. Fails if the directory exists.
    fn write(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir(directory)?;
        for (file, text) in &self.files {
            let path = directory.join(file);
            fs::create_dir_all(path.parent().unwrap_or(directory))?;
            fs::write(&path, text)?;
        }
        Ok(())
    }

    /// Writes the files to a new tar file, in which they are in a directory with the name of the incident. Fails if the
    /// tar file exists. The time and the user of each tar header are zero, so equal files give equal bytes.
    fn pack(&self, file: &Path, incident: &str) -> io::Result<()> {
        let mut tar = tar::Builder::new(fs::File::create_new(file)?);
        for (name, text) in &self.files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            header.set_mtime(0);
            header.set_uid(0);
            header.set_gid(0);
            tar.append_data(&mut header, Path::new(incident).join(name), text.as_bytes())?;
        }
        tar.into_inner()?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn bundle() -> Bundle {
        let files = [("report.md", "# Report"), ("incidents/age.yaml", "kind: Incident\n")];
        let files = files.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
        let mut bundle = Bundle { files, unread: Vec::new() };
        bundle.add_sums();
        bundle
    }

    #[test]
    fn equal_records_give_an_equal_tar_file_with_the_digest_of_each_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let [first, second] = ["a.tar", "b.tar"].map(|name| {
            let path = directory.path().join(name);
            bundle().pack(&path, "age").expect("a tar file");
            assert!(bundle().pack(&path, "age").is_err(), "an existing file is not replaced");
            fs::read(path).expect("the tar file")
        });
        assert_eq!(first, second);
        let mut unpacked = tar::Archive::new(&first[..]);
        let mut names = Vec::new();
        for entry in unpacked.entries().expect("entries") {
            let mut entry = entry.expect("an entry");
            names.push(entry.path().expect("a path").display().to_string());
            let mut text = String::new();
            entry.read_to_string(&mut text).expect("a text");
            if names.last().is_some_and(|name| name.ends_with(SUMS)) {
                assert_eq!(text, bundle().files[SUMS]);
                assert_eq!(text.lines().count(), 2, "{text}");
            }
        }
        assert_eq!(names, ["age/SHA256SUMS", "age/incidents/age.yaml", "age/report.md"]);
    }
}
