//! Signs a certification of a provider, after a person verified the certificate.
//!
//! ```text
//!  certification in an AISystem ─► canonical JSON ─► ssh-keygen ─► signature ─┬─► AISystem in the cluster
//!                                                                            └─► -o yaml: text for Git
//! ```

use std::path::PathBuf;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    api::{AISystem, Certification, CertificationSignature, Provider},
    cli::{
        commands::{completion, offline_sign::SshKey, sign::MANAGER},
        connect::{
            session::Session,
            system_record::{read_keys, read_level, read_system},
            target::system_name,
        },
        error::{Error, Next, Result},
        render::output::ManifestFormat,
    },
    policy::{certification_text, certifier},
};

#[derive(Args, Clone, Debug)]
pub struct CertifyArgs {
    /// AI system
    #[arg(value_parser = system_name, add = ArgValueCompleter::new(completion::systems))]
    pub system: String,
    /// Provider or supplier that holds the certification
    #[arg(long, value_name = "NAME")]
    pub provider: String,
    /// Certification to sign
    #[arg(long, value_name = "NAME")]
    pub certification: String,
    /// Role in which you sign (default: the role that the risk level names)
    #[arg(long, value_name = "ROLE", add = ArgValueCompleter::new(completion::roles))]
    pub role: Option<String>,
    /// File of an SSH key that the role lists: the private key, or the public key if an agent holds the private key
    #[arg(long, value_name = "FILE")]
    pub ssh_key: PathBuf,
    /// Print the signature for a manifest in Git, and change nothing in the cluster
    #[arg(short, long, value_enum)]
    pub output: Option<ManifestFormat>,
}

struct Found<'a> {
    /// The JSON pointer to the certification in the spec of the `AISystem`.
    pointer: String,
    certification: &'a Certification,
}

pub async fn certify(session: &Session, args: &CertifyArgs) -> Result<()> {
    let system = read_system(session, &args.system).await?;
    let level = read_level(&session.client, &system.spec.risk_level).await?;
    let roles = read_keys(&session.client).await?;
    let found = find(&system, args, session)?;
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
    let level_role = level.as_ref().and_then(|level| level.spec.certification_role.as_deref());
    let key = SshKey(args.ssh_key.clone());
    let required: Vec<_> = level_role.into_iter().collect();
    let (role, _) = key.role(&roles, &required, args.role.as_deref(), now)?;
    let signature = CertificationSignature { role, signed_at: Time(now), ssh: String::new() };
    let mut certification = Certification { signature: Some(signature), ..found.certification.clone() };
    let text = certification_text(&args.provider, &certification).unwrap_or_default();
    let ssh = key.ssh_keygen(&text)?;
    if let Some(signature) = certification.signature.as_mut() {
        signature.ssh = ssh;
    }
    let signer = certifier(&args.provider, &certification, &roles).map_err(|why| key.failed(&why))?;
    let user = signer.map_or("an unknown person", |signer| &signer.approver.user);
    let signature = json!(certification.signature);
    if let Some(format) = args.output {
        anstream::print!("{}", format.text(&json!({ "signature": signature }))?);
        return Ok(());
    }
    write(session, &system, &found, &signature).await?;
    let (certification, provider) = (&args.certification, &args.provider);
    anstream::println!("✓ Signed: {certification} of {provider} by {user}, in aisystem/{}", args.system);
    Ok(())
}

/// Returns the certification that the command line names. Fails if the system does not state this certification, or if
/// the certification does not state the digest of the certificate.
fn find<'a>(system: &'a AISystem, args: &CertifyArgs, session: &Session) -> Result<Found<'a>> {
    let of = |holder: &'a Provider, pointer: String| {
        holder.certifications.iter().enumerate().map(move |(index, certification)| {
            let pointer = format!("{pointer}/certifications/{index}");
            (holder, Found { pointer, certification })
        })
    };
    let provider = system.spec.provider.iter().map(|holder| (holder, "/provider".to_owned()));
    let suppliers = system.spec.suppliers.iter().enumerate();
    let suppliers = suppliers.map(|(index, holder)| (holder, format!("/suppliers/{index}")));
    let mut all = provider.chain(suppliers).flat_map(|(holder, pointer)| of(holder, pointer));
    let named = all.find(|(holder, found)| {
        holder.name == args.provider && found.certification.name == args.certification
    });
    let (name, place) = (&args.system, format!("-n {}{}", session.namespace, session.flags));
    let next =
        |what_for: &str| vec![Next::new(format!("kubectl get aisystem {name} {place} -o yaml"), what_for)];
    let Some((_, found)) = named else {
        let question = format!("{name} states no certification {} of {}", args.certification, args.provider);
        return Err(Error::Choose { question, next: next("see the certifications that it states") });
    };
    if found.certification.digest.is_none() {
        let question =
            format!("certification {} does not state the digest of the certificate", args.certification);
        return Err(Error::Choose {
            question,
            next: next("add `digest` to the certification in this manifest"),
        });
    }
    Ok(found)
}

/// Adds the signature to the certification in the cluster. Fails if the `AISystem` changed after the command read the
/// `AISystem`.
async fn write(session: &Session, system: &AISystem, found: &Found<'_>, signature: &Value) -> Result<()> {
    let name = system.metadata.name.as_deref().unwrap_or_default();
    let mut spec = json!({ "provider": system.spec.provider, "suppliers": system.spec.suppliers });
    if let Some(certification) = spec.pointer_mut(&found.pointer) {
        certification["signature"] = signature.clone();
    }
    let patch = json!({ "metadata": { "resourceVersion": system.metadata.resource_version }, "spec": spec });
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let api = Api::<AISystem>::namespaced(session.client.clone(), &session.namespace);
    let written = api.patch(name, &params, &Patch::Merge(&patch)).await;
    written.map(drop).map_err(Error::api(format!("add the signature to aisystem/{name}")))
}
