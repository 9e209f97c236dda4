//! Shows the content with a given digest that people decided about, and the decisions on this content. The content
//! comes from a `DecisionSubject`, so it stays available after a user deletes the version or the system.

use kube::{Api, ResourceExt, api::ListParams};
use serde::Serialize;

use crate::{
    api::{
        Approval, ApprovalSpec, DecisionSubject, DecisionSubjectSpec, Digest, RequiredReview, RequiredRisks,
        RiskLevelSpec,
    },
    cli::{
        connect::session::Session,
        connect::system_record::unless_installed,
        error::{Error, Next, Result},
        render::output::ManifestFormat,
    },
    policy::Subject,
    watch::request,
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    /// Whether the digest that the `DecisionSubject` states equals the digest that this program computes from the
    /// content.
    verified: bool,
    #[serde(flatten)]
    content: &'a DecisionSubjectSpec,
    decisions: Vec<DecisionEntry<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DecisionEntry<'a> {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded: Option<String>,
    #[serde(flatten)]
    spec: &'a ApprovalSpec,
}

impl<'a> DecisionEntry<'a> {
    fn new(approval: &'a Approval) -> Self {
        Self {
            name: approval.name_any(),
            recorded: approval.metadata.creation_timestamp.as_ref().map(|at| at.0.to_string()),
            spec: &approval.spec,
        }
    }
}

pub async fn show(session: &Session, prefix: &str, format: ManifestFormat) -> Result<()> {
    let namespace = &session.namespace;
    let all = ListParams::default();
    let subjects = Api::<DecisionSubject>::namespaced(session.client.clone(), namespace);
    let approvals = Api::<Approval>::namespaced(session.client.clone(), namespace);
    let subjects = request::list(&subjects, &all).await;
    let subjects = subjects.map_err(unless_installed(format!("read the decisionsubjects of {namespace}")))?;
    let approvals = request::list(&approvals, &all).await;
    let approvals = approvals.map_err(unless_installed(format!("read the approvals of {namespace}")))?;
    let subject = found(&subjects.items, prefix, (namespace, &session.flags))?;
    let digest = &subject.spec.subject_digest;
    let mut decisions: Vec<_> =
        approvals.items.iter().filter(|approval| approval.spec.subject_digest == *digest).collect();
    decisions.sort_by_key(|approval| (approval.creation_timestamp(), approval.name_any()));
    let shown = Shown {
        verified: computed(namespace, &subject.spec) == *digest,
        content: &subject.spec,
        decisions: decisions.into_iter().map(DecisionEntry::new).collect(),
    };
    anstream::print!("{}", format.text(&shown)?);
    Ok(())
}

/// The digest that this program computes from the content.
fn computed(namespace: &str, content: &DecisionSubjectSpec) -> Digest {
    let level = RiskLevelSpec {
        documents: content.required_documents.clone(),
        risks: content.required_risks.then(|| RequiredRisks {
            review: content.required_risk_review.then(RequiredReview::default),
            ..RequiredRisks::default()
        }),
        document_review: content.required_document_review.then(RequiredReview::default),
        ..RiskLevelSpec::default()
    };
    Subject::new(namespace, &content.ai_system, Some(&level), &content.version).digest()
}

/// Returns the `DecisionSubject` whose digest begins with `prefix`. `prefix` can begin with `sha256:` or not. Fails if
/// no `DecisionSubject` or more than one matches.
fn found<'a>(
    subjects: &'a [DecisionSubject],
    prefix: &str,
    (namespace, flags): (&str, &str),
) -> Result<&'a DecisionSubject> {
    let digest = format!("sha256:{}", prefix.strip_prefix("sha256:").unwrap_or(prefix));
    let begins = |subject: &&DecisionSubject| subject.spec.subject_digest.to_string().starts_with(&digest);
    let matches: Vec<_> = subjects.iter().filter(begins).collect();
    match matches[..] {
        [subject] => Ok(subject),
        [] => Err(Error::NotFound {
            what: format!("decision on a digest that begins with {prefix}"),
            namespace: namespace.to_owned(),
            others: Vec::new(),
            next: vec![Next::new(
                format!("kubectl get decisionsubjects -n {namespace}{flags}"),
                "list the digests of this namespace",
            )],
        }),
        _ => Err(Error::Choose {
            question: format!("{} digests begin with {prefix}: type more digits", matches.len()),
            next: Vec::new(),
        }),
    }
}
