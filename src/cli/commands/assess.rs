//! Records the results in the files of evaluation tools. Reads the files, shows each result beside the requirements of
//! the risk level, and creates one Assessment for each file.
//!
//! ```text
//!  FILE ─► formats ─► Reading ────────────┐
//!  SystemRecord ─► digest of the version ─┴─► Assessment ─► cluster
//! ```
//!
//! With `--dry-run`, the cluster stores no Assessment. With `-o`, the command only prints the manifests.
//!
//! The name of an Assessment contains a digest of its content. If a pipeline runs again with the same results, an
//! Assessment with this name already exists. So the command does not record the same results twice.

use std::{
    collections::BTreeSet,
    fmt::Debug,
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{Api, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::{
    api::{
        Assessment, AssessmentKind, AssessmentResult, AssessmentSpec, Decimal, Digest, Direction, GROUP,
        Interval, ModelVersion, ModelVersionSpec, Relationship, Report, RequiredAssessment, Tool, measure,
    },
    cli::{
        commands::{completion, sign::params},
        connect::{session::Session, system_record::SystemRecord, target::system_name},
        error::{Error, Next, Result},
        formats::{self, Provenance, Reading, Trust},
        render::{
            output::{self, ManifestFormat},
            page::{BAD, FAINT, GOOD, LOOK, PLAIN, Page},
            shell::{CommandLine, value_name},
            table::{Cell, table},
            time::in_words,
        },
    },
    policy::{ResultEffect, effect_if_signed},
};

#[derive(Args, Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each flag of the command line is independent")]
pub struct AssessArgs {
    /// AI system
    #[arg(value_parser = system_name, add = ArgValueCompleter::new(completion::systems))]
    pub system: String,
    /// Result file; may be repeated
    #[arg(short, long, required = true, value_name = "FILE")]
    pub filename: Vec<PathBuf>,
    /// Version that was assessed (default: the only one)
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(completion::versions))]
    pub version: Option<String>,
    /// Kind of the assessment, if the file does not state it: Fairness, Performance, RedTeam, …
    #[arg(long, value_name = "KIND", value_parser = named::<AssessmentKind>)]
    pub kind: Option<AssessmentKind>,
    /// Metric to take; may be repeated (default: all)
    #[arg(long, value_name = "NAME")]
    pub metric: Vec<String>,
    /// Whether a higher value of a metric is better, if the file does not state it: METRIC=HigherIsBetter or
    /// METRIC=LowerIsBetter
    #[arg(long, value_name = "METRIC=DIRECTION", value_parser = direction)]
    pub direction: Vec<(String, Direction)>,
    /// Number of samples, if the file does not state it
    #[arg(long, value_name = "NUMBER")]
    pub samples: Option<u64>,
    /// Model whose results to take, if the file has results of several models
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// Take results with samples that have no score, and record these samples as errors
    #[arg(long)]
    pub allow_errors: bool,
    /// Take results of a run on a part of the data set
    #[arg(long)]
    pub allow_subset: bool,
    /// Take results even if the file names only digests that the version does not have
    #[arg(long)]
    pub allow_other_digest: bool,
    /// Time of the assessment, such as 2027-03-31T12:00:00Z (default: the time in the file)
    #[arg(long, value_name = "TIME")]
    pub performed_at: Option<Timestamp>,
    /// Relation of the assessor to the provider of the system: FirstParty or ThirdParty
    #[arg(long, value_name = "RELATION", value_parser = named::<Relationship>)]
    pub relationship: Option<Relationship>,
    /// Address of the whole report
    #[arg(long, value_name = "URI")]
    pub report: Option<String>,
    /// Public key that must verify the signature of the file
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Identity that must have signed the file, with sigstore; needs --issuer
    #[arg(long, requires = "issuer")]
    pub identity: Option<String>,
    /// Issuer of the identity
    #[arg(long, requires = "identity")]
    pub issuer: Option<String>,
    /// Trusted root of sigstore (default: the root of the public instance)
    #[arg(long, value_name = "FILE")]
    pub trusted_root: Option<PathBuf>,
    /// Record nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print the manifest instead of recording it
    #[arg(short, long, value_enum)]
    pub output: Option<ManifestFormat>,
}

/// Returns the value `given` on the command line, or else the value `stated` in the file. Fails if the two values
/// differ, so that no user can give an old result a new date.
fn agreed<T: PartialEq + Debug>(
    file: &str,
    option: &str,
    given: Option<T>,
    stated: Option<T>,
) -> Result<Option<T>> {
    match (given, stated) {
        (Some(given), Some(stated)) if given != stated => Err(Error::Results {
            why: format!("{file}: the file states {stated:?}, and {option} states {given:?}. Omit {option}."),
        }),
        (given, stated) => Ok(given.or(stated)),
    }
}

/// Parses the name of an enum value of the API, such as `Fairness`.
fn named<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}

fn direction(text: &str) -> Result<(String, Direction), String> {
    let (metric, direction) =
        text.rsplit_once('=').ok_or("use METRIC=HigherIsBetter or METRIC=LowerIsBetter")?;
    Ok((metric.to_owned(), named(direction)?))
}

pub async fn assess(session: &Session, args: &AssessArgs) -> Result<()> {
    let record = SystemRecord::read(&session.client, &session.namespace, &args.system).await?;
    record.system(&session.client).await?;
    let version = version(&record, args, &session.place())?;
    let options = args.options(&record, version)?;
    let mut assessments = Vec::new();
    for file in &args.filename {
        let name = file.display().to_string();
        let bytes = fs::read(file).map_err(unreadable(file))?;
        let reading = formats::read(&name, &bytes, &options).map_err(|refusal| refused(&refusal))?;
        let assessment = args.assessment(&record, version, &name, &reading)?;
        if args.output.is_none() {
            anstream::print!("{}", shown(&record, &name, &reading, &assessment));
        }
        assessments.push(assessment);
    }
    match args.output {
        Some(format) => print(&assessments, format),
        None => create(session, &record, version, &assessments, args.dry_run).await,
    }
}

fn unreadable(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    move |error| Error::Manifest {
        path: path.display().to_string(),
        why: error.to_string(),
        next: Vec::new(),
    }
}

fn refused(refusal: &formats::Refusal) -> Error {
    let next = refusal.next().map(|next| format!(". {next}.")).unwrap_or_default();
    Error::Results { why: format!("{refusal}{next}") }
}

/// Returns the version that `--version` names, or else the only version of the system. Fails if there is no such
/// version. Also fails if the system has several versions and `--version` is missing.
fn version<'a>(record: &'a SystemRecord, args: &AssessArgs, place: &str) -> Result<&'a ModelVersion> {
    let found = match (args.version.as_deref(), &record.versions[..]) {
        (Some(name), _) => record.version(name),
        (None, [only]) => Some(only),
        (None, _) => None,
    };
    let names = record.versions.iter().map(ResourceExt::name_any);
    found.ok_or_else(|| Error::Choose {
        question: format!("name the assessed version of {} with --version", record.name),
        next: names
            .map(|name| {
                let command = args.typed(place).with("--version", [&name]);
                Next::new(command.to_string(), format!("assess {name}"))
            })
            .collect(),
    })
}

impl AssessArgs {
    fn typed(&self, place: &str) -> CommandLine {
        let direction = |(metric, direction): &(String, Direction)| format!("{metric}={direction}");
        CommandLine::new("assess", &[&self.system], place)
            .with_paths("--filename", &self.filename)
            .with("--version", &self.version)
            .with("--kind", self.kind)
            .with("--metric", &self.metric)
            .with("--direction", self.direction.iter().map(direction))
            .with("--samples", self.samples)
            .with("--model", &self.model)
            .with_switch("--allow-errors", self.allow_errors)
            .with_switch("--allow-subset", self.allow_subset)
            .with_switch("--allow-other-digest", self.allow_other_digest)
            .with("--performed-at", self.performed_at)
            .with("--relationship", self.relationship.map(|relationship| format!("{relationship:?}")))
            .with("--report", &self.report)
            .with_paths("--key", &self.key)
            .with("--identity", &self.identity)
            .with("--issuer", &self.issuer)
            .with_paths("--trusted-root", &self.trusted_root)
            .with_switch("--dry-run", self.dry_run)
            .with("--output", self.output.as_ref().map(value_name))
    }

    /// Returns the options for the module `formats`. Reads the files that `--key` and `--trusted-root` name.
    fn options(&self, record: &SystemRecord, version: &ModelVersion) -> Result<formats::Options> {
        let read = |path: Option<&PathBuf>| {
            let Some(path) = path else { return Ok(None) };
            fs::read_to_string(path).map(Some).map_err(unreadable(path))
        };
        let trust = Trust {
            key: read(self.key.as_ref())?,
            trusted_root: read(self.trusted_root.as_ref())?,
            identity: self.identity.clone(),
            issuer: self.issuer.clone(),
        };
        Ok(formats::Options {
            metrics: self.metric.clone(),
            directions: self.direction.iter().cloned().collect(),
            kind: self.kind,
            model: self.model.clone(),
            samples: self.samples,
            allow_errors: self.allow_errors,
            allow_subset: self.allow_subset,
            version_digests: if self.allow_other_digest { BTreeSet::new() } else { digests(record, version) },
            trust,
        })
    }

    fn assessment(
        &self,
        record: &SystemRecord,
        version: &ModelVersion,
        file: &str,
        reading: &Reading,
    ) -> Result<Assessment> {
        let missing = |what: &str, option: &str| Error::Results {
            why: format!("{file}: the file does not state {what}. Pass {option}."),
        };
        let kind = self.kind.or(reading.kind).ok_or_else(|| missing("the kind", "--kind KIND"))?;
        let performed = agreed(file, "--performed-at", self.performed_at, reading.performed_at)?;
        let performed = performed.ok_or_else(|| missing("when it was performed", "--performed-at TIME"))?;
        let digest = record.digest(version).ok_or_else(|| Error::Choose {
            question: format!("there is no system {}", record.name),
            next: Vec::new(),
        })?;
        let results: Result<Vec<_>> = reading.results.iter().map(|measured| result(file, measured)).collect();
        let spec = AssessmentSpec {
            system: record.name.as_str().into(),
            model_version: version.name_any().into(),
            subject_digest: digest,
            kind,
            results: results?,
            method: reading.method.clone(),
            tool: reading
                .tool
                .as_ref()
                .map(|tool| Box::new(Tool { name: tool.name.clone(), version: tool.version.clone() })),
            report: Some(Box::new(self.report_of(file, reading)?)),
            relationship: agreed(file, "--relationship", self.relationship, reading.relationship)?,
            // The schema of `performedAt` accepts only whole seconds.
            performed_at: Time(Timestamp::from_second(performed.as_second()).unwrap_or(performed)),
        };
        let content = spec.digest(&record.namespace);
        let version: String = version.name_any().chars().take(200).collect();
        let name = format!("{version}-{kind}-{}", content.short()).to_lowercase();
        let mut assessment = Assessment::new(&name, spec);
        assessment.metadata.namespace = Some(record.namespace.clone());
        Ok(assessment)
    }

    /// Returns the report for the Assessment. The digest is that of the report that the file names, or else that of the
    /// file itself. The address is that of `--report`, or else that of the report that the file names.
    fn report_of(&self, file: &str, reading: &Reading) -> Result<Report> {
        let stated = reading.report.as_ref();
        let digest = stated.map_or(&reading.file_digest, |report| &report.digest);
        let digest: Digest =
            digest.parse().map_err(|error| Error::Results { why: format!("{file}: {error}") })?;
        let uri = self.report.clone().or_else(|| stated.and_then(|report| report.uri.clone()));
        Ok(Report { uri, digest })
    }
}

/// The digests by which a result file can name the version: the digest that approvers sign, and the digests of the
/// images, the base model, the tests and the SBOM. The digests of data sets are not included.
fn digests(record: &SystemRecord, version: &ModelVersion) -> BTreeSet<String> {
    let ModelVersionSpec { runtime, provenance, .. } = &version.spec;
    let images = runtime.images().filter_map(|image| Some(image.split_once('@')?.1.to_owned()));
    let artifacts = provenance.base_model.iter().chain(&provenance.tests).chain(&provenance.sbom);
    let artifacts = artifacts.map(|artifact| artifact.digest.to_string());
    let subject = record.digest(version).map(|digest| digest.to_string());
    images.chain(artifacts).chain(subject).collect()
}

fn result(file: &str, measured: &formats::Measured) -> Result<AssessmentResult> {
    let decimal = |number: formats::Decimal| -> Result<Decimal> {
        number.to_string().parse().map_err(|error| Error::Results { why: format!("{file}: {error}") })
    };
    let interval = measured.interval.as_ref().map(|interval| {
        Ok::<_, Error>(Interval {
            lower: decimal(interval.lower)?,
            upper: decimal(interval.upper)?,
            level: decimal(interval.level)?,
        })
    });
    Ok(AssessmentResult {
        metric: measured.metric.as_str().into(),
        value: decimal(measured.value)?,
        direction: measured.direction,
        slice: measured.slice.as_deref().unwrap_or_default().into(),
        samples: measured.samples,
        errors: measured.errors,
        interval: interval.transpose()?.map(Box::new),
    })
}

/// Describes what the command read from a file: the provenance, the time, and a table of the results beside their
/// requirements. The last lines name the metrics that the command did not take.
fn shown(record: &SystemRecord, file: &str, reading: &Reading, assessment: &Assessment) -> String {
    let spec = &assessment.spec;
    let mut page = Page::default();
    page.heading(&format!("{file}: {}", reading.format));
    let signed = match &reading.provenance {
        Provenance::Unsigned => "no signature was verified".to_owned(),
        Provenance::Key { fingerprint, .. } => format!("signed by the key {fingerprint}"),
        Provenance::Identity { identity, issuer, .. } => format!("signed by {identity} of {issuer}"),
    };
    page.field("provenance", &signed);
    page.field("performed", &in_words(spec.performed_at.0, Timestamp::now()));
    if let Some(model) = &reading.model {
        page.field("model", model);
    }
    let required = record.level.as_ref().map_or(&[][..], |level| &level.spec.assessments);
    let rows: Vec<_> = spec.results.iter().map(|result| cells(required, spec, result)).collect();
    let head =
        [("METRIC", 0), ("VALUE", 0), ("BETTER", 3), ("SAMPLES", 2), ("ERRORS", 2), ("REQUIREMENT", 0)];
    let mut text = page.finish() + &table(&head, &rows);
    let mut rest = Page::default();
    for not_taken in &reading.not_taken {
        rest.mark("!", LOOK, &format!("not taken: {} {}", not_taken.metric, not_taken.reason));
    }
    text.push_str(&rest.finish());
    text
}

/// The table row of a result. The last cell names each requirement for the result, and says whether the result meets
/// the requirement.
fn cells(required: &[RequiredAssessment], spec: &AssessmentSpec, result: &AssessmentResult) -> Vec<Cell> {
    let now = Timestamp::now();
    let judged = required.iter().filter_map(|required| {
        let effect = effect_if_signed(required, spec, result, now)?;
        let needed = format!("{} ({} {})", required.name, required.comparator, required.threshold);
        Some(match effect {
            ResultEffect::Met => (GOOD, format!("meets {needed}")),
            ResultEffect::Expired(_) => (LOOK, format!("is too old for {needed}")),
            ResultEffect::Inconclusive(cause) => (LOOK, format!("does not meet {needed}: {cause}")),
            ResultEffect::Failed => (BAD, format!("does not meet {needed}")),
        })
    });
    let (styles, texts): (Vec<_>, Vec<_>) = judged.unzip();
    let requirement = match styles.iter().find(|style| **style != GOOD).or(styles.first()) {
        None => Cell::new(FAINT, "not required"),
        Some(style) => Cell::new(*style, &texts.join("; ")),
    };
    let better = match result.direction {
        Direction::HigherIsBetter => "higher",
        Direction::LowerIsBetter => "lower",
    };
    vec![
        Cell::new(PLAIN, &measure(&result.metric, &result.slice)),
        Cell::new(PLAIN, &result.value.to_string()),
        Cell::new(PLAIN, better),
        Cell::new(PLAIN, &result.samples.to_string()),
        Cell::new(PLAIN, &result.errors.to_string()),
        requirement,
    ]
}

fn print(assessments: &[Assessment], format: ManifestFormat) -> Result<()> {
    let manifest = |assessment: &Assessment| {
        json!({ "apiVersion": format!("{GROUP}/v1alpha1"), "kind": "Assessment",
            "metadata": { "name": assessment.name_any(), "namespace": assessment.namespace(),
                "annotations": output::without_prune() },
            "spec": assessment.spec })
    };
    let items: Vec<_> = assessments.iter().map(manifest).collect();
    let text = match format {
        ManifestFormat::Yaml => {
            let documents: Result<Vec<_>> = items.iter().map(output::yaml).collect();
            documents?.join("---\n")
        }
        ManifestFormat::Json => output::json(&json!({ "apiVersion": "v1", "kind": "List", "items": items }))?,
    };
    anstream::print!("{text}");
    Ok(())
}

/// Fails if the Assessment of the cluster with the same name has other content than `assessment`.
async fn same_as_recorded(
    api: &Api<Assessment>,
    record: &SystemRecord,
    assessment: &Assessment,
) -> Result<()> {
    let name = assessment.name_any();
    let found = api.get(&name).await.map_err(Error::api(format!("read assessment/{name}")))?;
    if found.spec.digest(&record.namespace) == assessment.spec.digest(&record.namespace) {
        return Ok(());
    }
    Err(Error::Results {
        why: format!(
            "assessment/{name} exists with other results: another user chose its name. Record the results under another name with -o yaml."
        ),
    })
}

/// Creates the assessments, and prints what was recorded and the next command. An assessment that already exists with
/// the same content is not an error.
async fn create(
    session: &Session,
    record: &SystemRecord,
    version: &ModelVersion,
    assessments: &[Assessment],
    dry_run: bool,
) -> Result<()> {
    let api = Api::<Assessment>::namespaced(session.client.clone(), &session.namespace);
    let mut page = Page::default();
    for assessment in assessments {
        let name = assessment.name_any();
        let done = match api.create(&params(dry_run), assessment).await {
            Ok(_) if dry_run => "could be recorded (dry run)",
            Ok(_) => "recorded",
            Err(kube::Error::Api(status)) if status.code == 409 => {
                same_as_recorded(&api, record, assessment).await?;
                "was recorded before"
            }
            Err(source) => return Err(Error::api(format!("record assessment/{name}"))(source)),
        };
        page.mark("✓", GOOD, &format!("assessment/{name} {done}"));
    }
    let roles: BTreeSet<_> = record.assessor_roles().collect();
    if !dry_run && !roles.is_empty() {
        let roles: Vec<_> = roles.into_iter().collect();
        page.mark(
            "-",
            PLAIN,
            &format!("the results count after a person in role {} signs them:", roles.join(" or ")),
        );
        let (system, version) = (&record.name, version.name_any());
        page.command(&format!(
            "kubectl assent attest {system} --version {version} -n {}{}",
            record.namespace, session.flags
        ));
    }
    anstream::print!("{}", page.finish());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixtures::{PLACE, assert_repeated};

    #[test]
    fn proposed_assess_keeps_every_typed_flag() {
        let assess = "chat --filename a.json --filename b.json --version v1 --kind Fairness --metric gap \
            --direction gap=LowerIsBetter --samples 100 --model scorer --allow-errors --allow-subset \
            --allow-other-digest --performed-at 2026-11-23T09:00:00Z --relationship ThirdParty \
            --report https://example.com/r --key lab.pub --identity lab --issuer https://example.com \
            --trusted-root root.json --dry-run --output yaml";
        assert_repeated("assess", assess, |args: &AssessArgs| args.typed(PLACE));
    }
}
