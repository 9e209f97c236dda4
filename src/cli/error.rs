//! What went wrong, to which object, why, and the next command to type: an error that ends a command
//! is read by somebody who has to act on it.
//!
//! ```text
//!  Error ─┬─ Display     what, to which object, why
//!         ├─ next        commands, each with what it is for
//!         └─ exit_code   2: the command was not typed right, or not completely; 1: everything else
//! ```

use k8s_openapi::jiff::Timestamp;
use kube::config::{InferConfigError, KubeconfigError};

use crate::{
    api::{Decision, Digest},
    cli::{
        commands::ask::Choice,
        connect::session::quoted,
        render::{
            page::{BAD, Page, STRONG, styled},
            time::in_words,
        },
    },
};

/// A command to type and what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    /// The command.
    pub command: String,
    /// What it is for.
    pub what_for: String,
}

impl Next {
    /// A command for a purpose.
    pub fn new(command: impl Into<String>, what_for: impl Into<String>) -> Self {
        Self { command: command.into(), what_for: what_for.into() }
    }
}

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection flags or the kubeconfig do not lead to a cluster.
    #[error("cannot tell which cluster to talk to: {0}")]
    Kubeconfig(#[from] KubeconfigError),
    /// Neither a kubeconfig nor a pod's credentials.
    #[error("cannot tell which cluster to talk to: {0}")]
    NoCluster(#[source] Box<InferConfigError>),
    /// A connection flag has a value that cannot be.
    #[error("{flag} {value}: {why}")]
    Flag {
        /// The flag.
        flag: &'static str,
        /// What was given.
        value: String,
        /// Why it cannot be.
        why: String,
    },
    /// The API server refused, or could not be asked.
    #[error("cannot {doing}: {}", explain(source))]
    Api {
        /// What was being done to which object.
        doing: String,
        /// Why not.
        #[source]
        source: Box<kube::Error>,
        /// What to do.
        next: Vec<Next>,
    },
    /// The kinds of Assent are not served.
    #[error("this cluster does not serve {group}: Assent is not installed here", group = crate::api::GROUP)]
    NotInstalled,
    /// An object does not exist.
    #[error("there is no {what} in namespace {namespace}{}", seen(others))]
    NotFound {
        /// Kind and name.
        what: String,
        /// Where it was looked for.
        namespace: String,
        /// The names there are.
        others: Vec<String>,
        /// What to do.
        next: Vec<Next>,
    },
    /// It is not clear which one is meant.
    #[error("{question}")]
    Choose {
        /// What is not clear.
        question: String,
        /// One command for each possibility.
        next: Vec<Next>,
    },
    /// The person may not decide in any role that is asked for.
    #[error("{user} holds none of the roles that decide about {subject}: {}", roles.join(", "))]
    NoRole {
        /// The person.
        user: String,
        /// What is decided about.
        subject: String,
        /// The roles.
        roles: Vec<String>,
    },
    /// A decision that withholds needs a reason.
    #[error("--reason is required to {act}: the record must say why")]
    NoReason {
        /// The command.
        act: &'static str,
        /// The command with a reason.
        command: String,
    },
    /// What would be signed is not what was read before.
    #[error("{subject} is no longer what you reviewed: you were going to sign {expected}, now it is {found}")]
    DigestChanged {
        /// System and version.
        subject: String,
        /// What `--digest` says.
        expected: Digest,
        /// What it is.
        found: Digest,
        /// The command that reviews again.
        review: String,
    },
    /// The operator's status has another digest than the objects.
    #[error(
        "the operator's digest of {subject} is {theirs}, but the objects give {ours}: the operator has not caught up with a change, or the status was tampered with. Nothing was signed"
    )]
    OperatorDisagrees {
        /// System and version.
        subject: String,
        /// From the objects.
        ours: Digest,
        /// From the status.
        theirs: Digest,
        /// Commands that show both.
        next: Vec<Next>,
    },
    /// A shorter end would have no effect.
    #[error(
        "--until {} would change nothing: your approval in role {role} stands {}, and of several approvals the one that ends last counts. To shorten it, revoke first and approve again; the revocation stops what runs",
        in_words(*until, *now), match standing { Some(end) => format!("until {}", in_words(*end, *now)), None => "without end".to_owned() }
    )]
    Shortens {
        /// What was asked for.
        until: Timestamp,
        /// What stands.
        standing: Option<Timestamp>,
        /// In which role.
        role: String,
        /// The time.
        now: Timestamp,
        /// Commands that shorten.
        next: Vec<Next>,
    },
    /// An end that is not in the future.
    #[error("--until {until} is not in the future")]
    Past {
        /// The end.
        until: String,
    },
    /// Nobody can read the review or answer the question.
    #[error("this is not a terminal, so nobody can confirm what is signed")]
    NotATerminal {
        /// The command that needs no answer.
        command: String,
    },
    /// The person did not confirm.
    #[error("nothing was signed: the answer was not {wanted}")]
    Declined {
        /// What would have been.
        wanted: String,
    },
    /// Whoever walks through the inbox chose otherwise.
    #[error("nothing was signed")]
    Chose(Choice),
    /// A key cannot sign what it is to sign.
    #[error("{key} cannot sign this: {why}")]
    Key {
        /// The file.
        key: String,
        /// Why not.
        why: String,
        /// What to do.
        next: Vec<Next>,
    },
    /// A system that is to end is needed by others.
    #[error("{system} is needed: {} depends on it", by.join(", "))]
    Needed {
        /// The system.
        system: String,
        /// Those that need it.
        by: Vec<String>,
        /// The command that ends it all the same.
        command: String,
    },
    /// Of what was walked through, not all could be signed.
    #[error("{failed} of {of} could not be signed")]
    NotSigned {
        /// How many.
        failed: usize,
        /// Of how many.
        of: usize,
    },
    /// The record changed between the review and the signature.
    #[error("nothing was signed: {what} while you were reading")]
    ChangedMeanwhile {
        /// What happened.
        what: String,
        /// The command that reviews again.
        review: String,
    },
    /// The API server does not say who decides.
    #[error(
        "the API server does not record who decides: without its admission policies an approval counts for nothing. Nothing was signed"
    )]
    NotStamped,
    /// No version can describe what is there.
    #[error("{what} cannot be captured: {why}")]
    NotCaptured {
        /// The workload or pod.
        what: String,
        /// Why not.
        why: String,
        /// What to do.
        next: Vec<Next>,
    },
    /// Manifests cannot be read.
    #[error("cannot read {path}: {why}")]
    Manifest {
        /// The file or directory; `-`: standard input.
        path: String,
        /// Why not.
        why: String,
    },
    /// The files of a directory are not what is applied.
    #[error("{path} is built by Kustomize: its files alone are not what is applied")]
    Kustomization {
        /// The directory.
        path: String,
    },
    /// There is what must not be.
    #[error("{failed} of {of} would not run")]
    CheckFailed {
        /// How many.
        failed: usize,
        /// Of how many.
        of: usize,
    },
    /// The terminal went away.
    #[error("cannot read the answer: {0}")]
    Input(#[from] std::io::Error),
    /// An answer could not be written in the format asked for.
    #[error("cannot write the answer: {0}")]
    Output(String),
}

/// What a command comes to.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of the API while `doing` something to an object.
    pub fn api(doing: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        |source| Self::Api { doing: doing.into(), source: Box::new(source), next: Vec::new() }
    }

    /// 2 if the command was not typed right or not completely, else 1.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Flag { .. }
            | Self::Choose { .. }
            | Self::NoReason { .. }
            | Self::Past { .. }
            | Self::NotATerminal { .. } => 2,
            _ => 1,
        }
    }

    /// The commands to type next.
    pub fn next(&self) -> Vec<Next> {
        match self {
            Self::Kubeconfig(_) | Self::NoCluster(_) => {
                vec![Next::new("kubectl config get-contexts", "the clusters that are configured")]
            }
            Self::Api { source, next, .. } if next.is_empty() => first_aid(source),
            Self::Api { next, .. }
            | Self::NotFound { next, .. }
            | Self::Choose { next, .. }
            | Self::OperatorDisagrees { next, .. }
            | Self::NotCaptured { next, .. }
            | Self::Key { next, .. }
            | Self::Shortens { next, .. } => next.clone(),
            Self::NotInstalled => vec![
                Next::new("kubectl config current-context", "is this the cluster you mean?"),
                Next::new("kubectl api-resources --api-group=assent.dev", "what it serves of Assent"),
            ],
            Self::NoRole { roles, .. } => roles.iter().map(|role| can_i(role)).collect(),
            Self::DigestChanged { review, .. } | Self::ChangedMeanwhile { review, .. } => {
                vec![Next::new(review, "review it again")]
            }
            Self::Kustomization { path } => {
                let command = format!("kubectl kustomize {} | kubectl assent check -f -", quoted(path));
                vec![Next::new(command, "what it builds")]
            }
            Self::Manifest { path, why } if why.contains("{{") || path.contains("templates/") => {
                vec![Next::new(
                    "helm template CHART | kubectl assent check -f -",
                    "if it is a template of Helm",
                )]
            }
            Self::Needed { command, .. } => {
                vec![Next::new(command, "if it is to end all the same, and they with it")]
            }
            Self::NoReason { command, .. } => vec![Next::new(command, "say why")],
            Self::NotATerminal { command } => vec![Next::new(command, "if you have reviewed exactly this")],
            Self::NotStamped => vec![Next::new(
                "kubectl get mutatingadmissionpolicies,validatingadmissionpolicies | grep assent",
                "the policies that should be there",
            )],
            _ => Vec::new(),
        }
    }

    /// All of it, for a terminal.
    pub fn report(&self) -> String {
        let mut page = Page::default();
        page.block(&styled(BAD, "error: "));
        page.say(STRONG, &self.to_string());
        for next in self.next() {
            page.blank();
            page.say(crate::cli::render::page::PLAIN, &format!("{}:", next.what_for));
            page.command(&next.command);
        }
        page.finish()
    }
}

/// The command that asks the API server which roles one holds; kubectl's `can-i VERB RESOURCE` asks about
/// no resource that is not served.
pub fn can_i(role: &str) -> Next {
    Next::new("kubectl auth can-i --list | grep approverroles", format!("ask whether you hold {role}"))
}

/// The verb of a decision.
pub const fn verb(decision: Decision) -> &'static str {
    match decision {
        Decision::Approve => "approve",
        Decision::Reject => "reject",
        Decision::Revoke => "revoke",
    }
}

fn explain(source: &kube::Error) -> String {
    match source {
        kube::Error::Api(status) => refused(&status.message),
        kube::Error::Service(error) => format!("the API server did not answer: {}", chain(error.as_ref())),
        kube::Error::HyperError(error) => format!("the API server did not answer: {}", chain(error)),
        kube::Error::Auth(error) => format!("the kubeconfig's credentials do not work: {error}"),
        other => other.to_string(),
    }
}

/// What to look at when a request failed that nothing else is known about.
fn first_aid(source: &kube::Error) -> Vec<Next> {
    match source {
        kube::Error::Api(status) if matches!(status.code, 401 | 403) => {
            vec![Next::new("kubectl auth whoami", "who the API server takes you for")]
        }
        kube::Error::Service(_) | kube::Error::HyperError(_) => {
            vec![Next::new("kubectl cluster-info", "whether kubectl reaches it")]
        }
        _ => Vec::new(),
    }
}

/// What an admission policy says, before the long name of what was refused and by what.
fn refused(message: &str) -> String {
    let Some((what, why)) = message.split_once(" denied request: ") else { return message.to_owned() };
    let policy = what.split('\'').nth(1).unwrap_or("an admission policy");
    format!("{why} (refused by the policy {policy})")
}

/// An error and its causes, without saying anything twice.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

fn seen(others: &[String]) -> String {
    if others.is_empty() { String::new() } else { format!("; there is {}", others.join(", ")) }
}
