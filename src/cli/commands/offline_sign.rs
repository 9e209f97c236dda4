//! Signs a decision with an SSH key and writes the decision to a file, for organisations that decide in Git.
//!
//! The owner of the key is the approver. Any user who may create Approvals may apply the file.
//!
//! ```text
//!  choose the version and role ─► review ─► ask ─► ssh-keygen -Y sign ─► check the signature ─► FILE
//! ```

use std::{
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::ResourceExt;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use ssh_key::PublicKey;

use crate::{
    api::{Approval, ApproverKey, Digest, GROUP, Signature},
    cli::{
        commands::{
            resolve,
            sign::{self, DecisionRequest, ResolvedDecision},
        },
        connect::{session::Session, system_record::SystemRecord},
        error::{Error, Next, Result, verb},
        render::{
            output,
            page::{GOOD, PLAIN, Page},
            shell::{CommandLine, quoted},
        },
    },
    policy::{ApproverRoles, SIGNATURE_NAMESPACE, approver_of, public_key, signed_text},
};

/// The path of the private key, or of the public key if an agent or a security key holds the private key.
#[derive(Clone, Debug)]
pub struct SshKey(pub PathBuf);

/// The key that signs, and the path of the file for the signed decision.
#[derive(Clone, Debug)]
pub struct Detached {
    pub key: SshKey,
    pub to: PathBuf,
}

pub async fn sign(session: &Session, request: DecisionRequest, by: &Detached) -> Result<()> {
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
    let until = request.end(now)?;
    let typed = by.typed(&request, &session.place());
    let request = DecisionRequest { reason: sign::reason(&request, &typed)?, ..request };
    let typed = typed.with("--reason", &request.reason);
    let record = request.record(session).await?;
    let system = record.system(&session.client).await?;
    let version = resolve::version(&record, request.act, request.version.as_deref(), &typed, now)?;
    let roles: Vec<_> = record.roles().collect();
    let (role, key) = by.key.role(&record.keys, &roles, request.role.as_deref(), now)?;
    let digest = request.digest_of(&record, version, &typed)?;
    let typed = typed.with("--version", [version.name_any()]).with("--role", [&role]);
    let decision = ResolvedDecision {
        session,
        request: &request,
        typed,
        version: version.name_any(),
        role,
        digest,
        until,
        signer: None,
    };
    decision.review(&record, system, version, &key.approver, now)?;
    by.finish(decision.approval(), &record, &key.approver.user)
}

impl SshKey {
    pub fn failed(&self, why: &dyn ToString) -> Error {
        Error::Key { key: self.0.display().to_string(), why: why.to_string(), next: Vec::new() }
    }

    fn public(&self) -> Result<PublicKey> {
        let is_public = self.0.extension().is_some_and(|extension| extension == "pub");
        let mut file = self.0.clone().into_os_string();
        if !is_public {
            file.push(".pub");
        }
        let file = PathBuf::from(file);
        let failed = |why: &dyn std::fmt::Display| {
            self.failed(&format!("its public key {} cannot be read: {why}", file.display()))
        };
        let text = fs::read_to_string(&file).map_err(|error| failed(&error))?;
        PublicKey::from_openssh(text.trim()).map_err(|error| failed(&error))
    }

    /// Returns the role in which this key signs, and the entry of the key in the `ApproverRole`. The role is `wanted`,
    /// or else the only one of `required` that lists the key as valid at `now`. Fails if `wanted` does not list the
    /// key, or if none or several of `required` list it.
    pub fn role(
        &self,
        keys: &ApproverRoles,
        required: &[&str],
        wanted: Option<&str>,
        now: Timestamp,
    ) -> Result<(String, ApproverKey)> {
        let public = self.public()?;
        let is_it = |key: &&ApproverKey| {
            key.is_valid_at(now)
                && public_key(key).is_some_and(|listed| listed.key_data() == public.key_data())
        };
        let asked: Vec<&str> = wanted.map_or_else(|| required.to_vec(), |wanted| vec![wanted]);
        let lists = |role: &&str| {
            let key = keys.get(*role)?.spec.keys.iter().find(is_it)?;
            Some(((*role).to_owned(), key.clone()))
        };
        let mut found: Vec<_> = asked.iter().filter_map(lists).collect();
        if found.len() > 1 {
            let roles: Vec<_> = found.into_iter().map(|(role, _)| role).collect();
            let question = format!("several roles list this key: {}; name one with --role", roles.join(", "));
            return Err(Error::Choose { question, next: Vec::new() });
        }
        found.pop().ok_or_else(|| Error::Key {
            key: self.0.display().to_string(),
            why: format!("no ApproverRole lists it as valid now: {}", asked.join(", ")),
            next: vec![
                Next::new("kubectl get approverroles -o yaml", "list the keys that count"),
                Next::new("kubectl explain approverrole.spec.keys", "see how a role lists a key"),
            ],
        })
    }

    /// Signs `text` with `ssh-keygen`, and returns the signature. If the key needs a passphrase or a touch,
    /// `ssh-keygen` asks the user for the passphrase or the touch.
    pub fn ssh_keygen(&self, text: &[u8]) -> Result<String> {
        let mut command = Command::new("ssh-keygen");
        command.args(["-Y", "sign", "-n", SIGNATURE_NAMESPACE, "-f"]).arg(&self.0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child =
            command.spawn().map_err(|error| self.failed(&format!("ssh-keygen cannot be run: {error}")))?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(text)?;
        }
        let output = child.wait_with_output()?;
        if !output.status.success() {
            return Err(self.failed(&format!("ssh-keygen did not sign: {}", output.status)));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Detached {
    /// The command that the user typed, with `--ssh-key` and `--to`. Without these flags, a proposed command would
    /// record the decision in the cluster.
    pub fn typed(&self, request: &DecisionRequest, place: &str) -> CommandLine {
        request.typed(place).with_paths("--ssh-key", [&self.key.0]).with_paths("--to", [&self.to])
    }

    pub fn finish(&self, approval: Approval, record: &SystemRecord, user: &str) -> Result<()> {
        let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
        let approval = self.signed(approval, record, now)?;
        self.write(&approval)?;
        anstream::print!("{}", self.report(&approval, user));
        Ok(())
    }

    /// Returns `approval` with a name and a signature. Fails if the operator would not accept the signature at `now`.
    fn signed(&self, mut approval: Approval, record: &SystemRecord, now: Timestamp) -> Result<Approval> {
        approval.metadata.namespace = Some(record.namespace.clone());
        approval.spec.signature = Some(Signature { signed_at: Time(now), ssh: String::new() });
        let text = signed_text(&record.namespace, &approval.spec).unwrap_or_default();
        let digest = Digest::from_sha256(Sha256::digest(&text).into());
        let prefix = format!("{}-{}", approval.spec.model_version, verb(approval.spec.decision));
        approval.metadata.generate_name = None;
        approval.metadata.name = Some(format!("{prefix}-{}", digest.eight()));
        let ssh = self.key.ssh_keygen(&text)?;
        approval.spec.signature = Some(Signature { signed_at: Time(now), ssh });
        let mut recorded = approval.clone();
        recorded.metadata.creation_timestamp = Some(Time(now));
        approver_of(&recorded, &record.keys).map_err(|why| self.key.failed(&why))?;
        Ok(approval)
    }

    fn write(&self, approval: &Approval) -> Result<()> {
        let manifest = json!({
            "apiVersion": format!("{GROUP}/v1alpha1"),
            "kind": "Approval",
            "metadata": {
                "name": approval.metadata.name,
                "namespace": approval.metadata.namespace,
                "annotations": output::without_prune(),
            },
            "spec": approval.spec,
        });
        let failed = |error: std::io::Error| Error::Output(format!("{}: {error}", self.to.display()));
        fs::write(&self.to, output::yaml(&manifest)?).map_err(failed)
    }

    fn report(&self, approval: &Approval, user: &str) -> String {
        let mut page = Page::default();
        let file = quoted(&self.to.display().to_string());
        let name = approval.name_any();
        page.mark(
            "✓",
            GOOD,
            &format!("Signed: approval/{name} by {user} as {}, in {file}", approval.spec.role),
        );
        page.mark("-", PLAIN, "it counts after it is applied, by any account: merge it, or");
        page.command(&format!("kubectl apply -f {file}"));
        format!("\n{}", page.finish())
    }
}
