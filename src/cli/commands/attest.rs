//! Signs the results of recorded assessments, so that the results count. Shows the results beside the requirements of
//! the risk level, asks for confirmation, and records an Approval.
//!
//! ```text
//!  choose the version, role and assessments ─► review ─► ask ─┬─► Approval in the cluster ─► outcome
//!                                                             └─► --ssh-key: signed Approval in a file
//! ```
//!
//! The Approval contains the digest of each assessment that the command showed. So the Approval never counts for other
//! results.

use std::path::PathBuf;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{Api, ResourceExt, api::ObjectMeta};

use crate::{
    api::{
        AUTHOR, Approval, ApprovalSpec, Approver, Assessment, AttestedAssessment, Decision, Digest,
        ModelVersion,
    },
    cli::{
        commands::{
            ask, completion,
            offline_sign::{Detached, SshKey},
            outcome, resolve,
            sign::{params, signer},
        },
        connect::{rbac, session::Session, system_record::SystemRecord, target::system_name},
        error::{Error, Next, Result, can_i},
        render::{
            page::{FAINT, GOOD, LOOK, PLAIN, Page, STRONG},
            shell::CommandLine,
            time::in_words,
        },
        review::{evidence, missing},
    },
};

#[derive(Args, Clone, Debug)]
pub struct AttestArgs {
    /// AI system
    #[arg(value_parser = system_name, add = ArgValueCompleter::new(completion::systems))]
    pub system: String,
    /// Version (default: the only one with unsigned results)
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(completion::versions))]
    pub version: Option<String>,
    /// Assessment to sign; may be repeated (default: all that await a signature in the role)
    #[arg(long, value_name = "NAME")]
    pub assessment: Vec<String>,
    /// Role in which you sign (default: the only required role that you hold)
    #[arg(long, value_name = "ROLE", add = ArgValueCompleter::new(completion::roles))]
    pub role: Option<String>,
    /// Reason, for the record
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Do not ask for confirmation
    #[arg(short, long)]
    pub yes: bool,
    /// File of an SSH key that the role lists: the private key, or the public key if an agent holds the private key;
    /// needs --to
    #[arg(long, value_name = "FILE", requires = "to")]
    pub ssh_key: Option<PathBuf>,
    /// File for the signed decision; the decision counts after any user applies the file
    #[arg(long, value_name = "FILE", requires = "ssh_key")]
    pub to: Option<PathBuf>,
}

impl AttestArgs {
    fn typed(&self, place: &str) -> CommandLine {
        CommandLine::new("attest", &[&self.system], place)
            .with("--version", &self.version)
            .with("--assessment", &self.assessment)
            .with("--role", &self.role)
            .with("--reason", &self.reason)
            .with_paths("--ssh-key", &self.ssh_key)
            .with_paths("--to", &self.to)
    }
}

struct SigningRequest<'a> {
    session: &'a Session,
    record: &'a SystemRecord,
    args: &'a AttestArgs,
    version: &'a ModelVersion,
    digest: Digest,
    role: String,
    assessments: Vec<&'a Assessment>,
}

pub async fn attest(session: &Session, args: &AttestArgs) -> Result<()> {
    let record = SystemRecord::read(&session.client, &session.namespace, &args.system).await?;
    record.system(&session.client).await?;
    let now = Timestamp::now();
    let version = version(session, &record, args, now)?;
    let by = args.ssh_key.clone().zip(args.to.clone()).map(|(key, to)| Detached { key: SshKey(key), to });
    let (role, approver, stamped) = if let Some(by) = &by {
        let roles: Vec<_> = record.assessor_roles().collect();
        let (role, key) = by.key.role(&record.keys, &roles, args.role.as_deref(), now)?;
        (role, key.approver, None)
    } else {
        let role = role(session, &record, version, args, now).await?;
        (role, rbac::myself(&session.client).await?, signer(session).await?)
    };
    let differs = |assessment: &&Assessment| {
        let stated = assessment.status.as_ref().and_then(|status| status.digest.as_ref());
        stated.is_some_and(|stated| *stated != assessment.spec.digest(&record.namespace))
    };
    if let Some(assessment) = record.assessments_of(version).into_iter().find(differs) {
        let name = assessment.name_any();
        return Err(choose(&format!(
            "the operator computed another digest of assessment/{name} than this program: update the plugin"
        )));
    }
    let digest = record.digest(version).ok_or_else(|| choose("the system does not exist"))?;
    let assessments = assessments(&record, version, args, &role, now)?;
    let attestation = SigningRequest { session, record: &record, args, version, digest, role, assessments };
    attestation.review(&approver, now);
    attestation.confirm()?;
    let approval = attestation.approval(stamped);
    if let Some(by) = by {
        return by.finish(approval, &record, &approver.user);
    }
    let api = Api::<Approval>::namespaced(session.client.clone(), &session.namespace);
    let created = api.create(&params(false), &approval).await.map_err(|source| Error::Api {
        doing: format!("sign the results as {}", attestation.role),
        source: Box::new(source),
        next: vec![can_i(&attestation.role)],
    })?;
    outcome::report(session, &created, &record).await
}

fn choose(question: &str) -> Error {
    Error::Choose { question: question.to_owned(), next: Vec::new() }
}

/// Returns the version that `--version` names, or else the only version with an unsigned assessment. Fails if there is
/// no such version. Also fails if several versions have unsigned assessments and `--version` is missing.
fn version<'a>(
    session: &Session,
    record: &'a SystemRecord,
    args: &AttestArgs,
    now: Timestamp,
) -> Result<&'a ModelVersion> {
    let named = |name: &String| record.versions.iter().find(|version| version.name_any() == *name);
    let candidates: Vec<_> = match &args.version {
        Some(name) => named(name).into_iter().collect(),
        None => {
            record.versions.iter().filter(|version| !record.unsigned(version, None, now).is_empty()).collect()
        }
    };
    match (&candidates[..], &args.version) {
        ([version], _) => Ok(version),
        (_, Some(name)) => Err(choose(&format!("{} has no version {name}", record.name))),
        ([], None) => Err(Error::Choose {
            question: format!(
                "no assessment of {} awaits a signature; name a version with --version",
                record.name
            ),
            next: vec![Next::new(
                format!("kubectl get assessments -n {}{}", record.namespace, session.flags),
                "list the recorded assessments",
            )],
        }),
        (several, None) => Err(Error::Choose {
            question: format!("several versions of {} have unsigned assessments", record.name),
            next: several
                .iter()
                .map(|version| {
                    let name = version.name_any();
                    let command = args.typed(&session.place()).with("--version", [&name]);
                    Next::new(command.to_string(), format!("sign the results of {name}"))
                })
                .collect(),
        }),
    }
}

/// Returns the role that `--role` names. Without `--role`, considers the roles that must sign results of this version,
/// and returns the only one that the user holds.
async fn role(
    session: &Session,
    record: &SystemRecord,
    version: &ModelVersion,
    args: &AttestArgs,
    now: Timestamp,
) -> Result<String> {
    if let Some(role) = &args.role {
        return Ok(role.clone());
    }
    let facts = record.facts(version);
    let mut roles: Vec<_> = facts.findings(now).iter().map(|f| f.required.role.clone()).collect();
    roles.sort();
    roles.dedup();
    if roles.is_empty() {
        return Err(choose("the risk level requires no assessment; name a role with --role"));
    }
    let roles: Vec<_> = roles.iter().map(String::as_str).collect();
    resolve::held_role(session, record, &roles, (Decision::Attest, "sign results")).await
}

/// Returns the assessments that `--assessment` names. Without `--assessment`, returns the first 64 assessments of the
/// version that await a signature in `role`, because one Approval can sign at most 64 assessments.
fn assessments<'a>(
    record: &'a SystemRecord,
    version: &ModelVersion,
    args: &AttestArgs,
    role: &str,
    now: Timestamp,
) -> Result<Vec<&'a Assessment>> {
    let of_version = record.assessments_of(version);
    if args.assessment.is_empty() {
        let unsigned = record.unsigned(version, Some(role), now);
        let none =
            || choose(&format!("no assessment of {} awaits a signature in role {role}", version.name_any()));
        return if unsigned.is_empty() { Err(none()) } else { Ok(unsigned.into_iter().take(64).collect()) };
    }
    let find = |name: &String| {
        of_version.iter().copied().find(|assessment| assessment.name_any() == *name).ok_or_else(|| {
            choose(&format!("assessment/{name} is not about the current content of {}", version.name_any()))
        })
    };
    args.assessment.iter().map(find).collect()
}

impl SigningRequest<'_> {
    fn approval(&self, approver: Option<Approver>) -> Approval {
        let signed = |assessment: &&Assessment| AttestedAssessment {
            name: assessment.name_any().into(),
            digest: assessment.spec.digest(&self.record.namespace),
        };
        let version = self.version.name_any();
        Approval {
            metadata: ObjectMeta {
                generate_name: Some(format!("{version}-attest-")),
                ..ObjectMeta::default()
            },
            spec: ApprovalSpec {
                system: self.record.name.clone(),
                model_version: version,
                subject_digest: self.digest.clone(),
                decision: Decision::Attest,
                role: self.role.clone(),
                assessments: self.assessments.iter().map(signed).collect(),
                incident: None,
                override_: None,
                outcome: None,
                reason: self.args.reason.clone(),
                not_after: None,
                approver,
                signature: None,
            },
            status: None,
        }
    }

    fn review(&self, approver: &Approver, now: Timestamp) {
        let mut page = Page::default();
        let (version, system) = (self.version.name_any(), &self.record.name);
        let title = format!(
            "You are about to sign results of {version} of {system} in namespace {}",
            self.record.namespace
        );
        page.say(STRONG, &title);
        page.say(PLAIN, &format!("as {}, in role {}", approver.user, self.role));
        for assessment in &self.assessments {
            self.assessment(&mut page, assessment, now);
        }
        let after = self.after(approver, now);
        evidence::evidence(&mut page, &after.facts(self.version).findings(now), now);
        page.heading("IF YOU SIGN");
        let judgement = after.rule(self.version, None, now);
        if judgement.is_cleared() {
            let end = judgement.not_after.map(|end| format!(" until {}", in_words(end, now)));
            page.mark("✓", GOOD, &format!("{version} is cleared to run{}", end.unwrap_or_default()));
        }
        for reason in judgement.reasons() {
            page.mark("✗", LOOK, &format!("{version} may not run: {}", missing(reason)));
        }
        page.prose(
            "final",
            "the results count under your name, good or bad; no user can edit or delete them",
        );
        anstream::print!("{}", page.finish());
    }

    fn assessment(&self, page: &mut Page, assessment: &Assessment, now: Timestamp) {
        let spec = &assessment.spec;
        page.heading(&format!("ASSESSMENT {}: {:?}", assessment.name_any(), spec.kind));
        for result in &spec.results {
            evidence::measured(page, result);
        }
        page.field("performed", &in_words(spec.performed_at.0, now));
        let recorder = assessment.annotations().get(AUTHOR).map_or("not known", String::as_str);
        page.field("recorded by", recorder);
        if let Some(tool) = &spec.tool {
            page.field("tool", &format!("{} {}", tool.name, tool.version.as_deref().unwrap_or_default()));
        }
        if let Some(method) = &spec.method {
            page.prose("method", method);
        }
        match &spec.report {
            Some(report) => {
                page.field("report", &report.digest.to_string());
                report.uri.iter().for_each(|uri| page.prose("report at", uri));
            }
            None => page.mark("!", LOOK, "it names no report, so the values cannot be checked later"),
        }
        page.field("digest", &spec.digest(&self.record.namespace).to_string());
        if let Some(relationship) = spec.relationship {
            page.styled_field("relation", FAINT, &format!("{relationship:?}, as the recorder claims"));
        }
    }

    /// Returns the record as if the user had signed at `now`. From this record, the review predicts the effect of the
    /// signature.
    fn after(&self, approver: &Approver, now: Timestamp) -> SystemRecord {
        let mut signed = self.approval(Some(approver.clone()));
        signed.metadata.creation_timestamp = Some(Time(now));
        let mut record = self.record.clone();
        record.attestations.push(signed);
        record
    }

    fn confirm(&self) -> Result<()> {
        if self.args.yes {
            return Ok(());
        }
        if !ask::is_interactive() {
            let names = self.assessments.iter().map(|assessment| assessment.name_any());
            let typed = self.args.typed(&self.session.place());
            let typed = typed.with("--version", [self.version.name_any()]).with("--assessment", names);
            return Err(Error::NotATerminal { command: typed.with("--role", [&self.role]).confirmed() });
        }
        ask::for_name(&self.record.name, "sign")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixtures::{PLACE, assert_repeated};

    #[test]
    fn proposed_attest_keeps_every_typed_flag() {
        let attest = "chat --version v1 --assessment a --assessment b --role tester --reason done --ssh-key key --to a.yaml";
        assert_repeated("attest", attest, |args: &AttestArgs| args.typed(PLACE));
    }
}
