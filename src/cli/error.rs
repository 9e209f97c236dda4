//! The errors of the command line. An error states what failed and why, and can suggest the next commands.
//!
//! ```text
//!  Error ─┬─ Display     the failed operation, its object and the reason
//!         ├─ next        commands, each with its purpose
//!         └─ exit_code   2 if the command line is wrong or incomplete, 1 for every other error
//! ```

use k8s_openapi::jiff::Timestamp;
use kube::config::{InferConfigError, KubeconfigError};

use crate::{
    api::{Decision, Digest},
    cli::{
        choice::Choice,
        render::{
            page::{BAD, Page, STRONG, styled},
            shell::quoted,
            time::in_words,
        },
    },
};

/// A command that the user can run next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    /// The whole command line, with its arguments quoted for a shell.
    pub command: String,
    /// The purpose of the command. [`Error::report`] prints it above the command.
    pub what_for: String,
}

impl Next {
    /// A command and its purpose.
    pub fn new(command: impl Into<String>, what_for: impl Into<String>) -> Self {
        Self { command: command.into(), what_for: what_for.into() }
    }
}

/// The reason why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The user typed a connection flag, but the kubeconfig is not valid or lacks the context, cluster or user of the
    /// flag.
    #[error("cannot find the cluster to connect to: {0}")]
    Kubeconfig(#[from] KubeconfigError),
    /// There is no usable kubeconfig, and the program does not run in a pod with credentials.
    #[error("cannot find the cluster to connect to: {0}")]
    NoCluster(#[source] Box<InferConfigError>),
    /// A flag or an argument has an invalid value.
    #[error("{flag} {value}: {why}")]
    Flag {
        /// The flag with its dashes. For an argument without a flag, the name of the command.
        flag: &'static str,
        /// The value on the command line.
        value: String,
        /// The reason why the value is invalid.
        why: String,
    },
    /// A request to the API server failed.
    #[error("cannot {doing}: {}", cause(source))]
    Api {
        /// The failed operation and its object, as in `read the approvals`.
        doing: String,
        /// The error of the `kube` client.
        #[source]
        source: Box<kube::Error>,
        /// Commands that help. If empty, [`Error::next`] derives commands from `source`.
        next: Vec<Next>,
    },
    /// The API server does not serve the kinds of Assent.
    #[error("this cluster does not serve {group}: Assent is not installed here", group = crate::api::GROUP)]
    NotInstalled,
    /// An object does not exist.
    #[error("there is no {what} in namespace {namespace}{}", existing(others))]
    NotFound {
        /// Kind and name of the missing object.
        what: String,
        /// The namespace that does not have the object.
        namespace: String,
        /// Names of existing objects of the same kind, which the message lists. Can be empty.
        others: Vec<String>,
        /// Commands that help.
        next: Vec<Next>,
    },
    /// The command line is ambiguous, or the command is not possible in the current state of the objects.
    #[error("{question}")]
    Choose {
        /// A question if the command line is ambiguous, otherwise the reason why the command is not possible.
        question: String,
        /// Commands that help, such as one command for each possible answer. Can be empty.
        next: Vec<Next>,
    },
    /// The user holds none of the roles that the risk level requires.
    #[error("{user} holds none of the roles that decide on {subject}: {}", roles.join(", "))]
    NoRole {
        /// The name of the user at the API server.
        user: String,
        /// The version and its system.
        subject: String,
        /// The roles that the risk level requires.
        roles: Vec<String>,
    },
    /// The command lacks `--reason`. A record such as a rejection or a revocation must have a reason.
    #[error("--reason is required to {act}: the record must have a reason")]
    NoReason {
        /// The verb of the command, such as `reject`.
        act: &'static str,
        /// The typed command, with `--reason` added.
        command: String,
    },
    /// The current digest of the version differs from the value of `--digest`.
    #[error(
        "{subject} changed after your review: you reviewed {expected}, and now it is {found}. Nothing was signed"
    )]
    DigestChanged {
        /// The version and its system.
        subject: String,
        /// The value of `--digest`.
        expected: Digest,
        /// The current digest of the version.
        found: Digest,
        /// The command that shows the review again.
        review: String,
    },
    /// The digest in the status of the version differs from the digest that this program computed.
    #[error(
        "the status of {subject} has digest {theirs}, but its content has {ours}: the operator has not read the last change, or another user edited the status. Nothing was signed"
    )]
    OperatorDisagrees {
        /// The version and its system.
        subject: String,
        /// The digest that this program computed from the content.
        ours: Digest,
        /// The digest in the status.
        theirs: Digest,
        /// Commands that help.
        next: Vec<Next>,
    },
    /// The new approval has no effect, because an earlier approval of the same person ends later.
    #[error(
        "--until {} has no effect: your approval in role {role} lasts {}, and the approval that ends last counts. To shorten it, revoke first and approve again; the revocation stops running pods",
        in_words(*until, *now), match standing { Some(end) => format!("until {}", in_words(*end, *now)), None => "without end".to_owned() }
    )]
    Shortens {
        /// The value of `--until`.
        until: Timestamp,
        /// The end of the earlier approval. `None` if it has no end.
        standing: Option<Timestamp>,
        /// The role of the two approvals.
        role: String,
        /// The current time according to the clock of the API server.
        now: Timestamp,
        /// Commands that shorten the earlier approval.
        next: Vec<Next>,
    },
    /// `--until` is not in the future.
    #[error("--until {until} is not in the future; enter a later end, such as 90d")]
    Past {
        /// The value of `--until`, as typed.
        until: String,
    },
    /// Standard input or standard output is not a terminal, so no user can answer a question.
    #[error("cannot ask for confirmation: this is not a terminal")]
    NotATerminal {
        /// The typed command, with `--yes` added.
        command: String,
    },
    /// The program cannot record a file with test results.
    #[error("{why}")]
    Results {
        /// The file, the reason and the next step.
        why: String,
    },
    /// The user did not confirm the command.
    #[error("nothing was changed: the answer was not {wanted}")]
    Declined {
        /// The answer that confirms.
        wanted: String,
    },
    /// The user of `approve --interactive` chose to reject, to skip or to quit.
    #[error("nothing was signed")]
    Chose(Choice),
    /// The key cannot sign the decision.
    #[error("cannot sign with key {key}: {why}")]
    Key {
        /// The path of the key file.
        key: String,
        /// The reason why the key cannot sign.
        why: String,
        /// Commands that help.
        next: Vec<Next>,
    },
    /// Other systems depend on the system to decommission.
    #[error("cannot decommission {system}: other systems depend on it: {}", by.join(", "))]
    Needed {
        /// The system to decommission.
        system: String,
        /// The systems that depend on `system`, as `NAMESPACE/NAME`.
        by: Vec<String>,
        /// The typed command, with `--force` added.
        command: String,
    },
    /// Some decisions of `approve --interactive` failed.
    #[error("{failed} of {of} versions could not be signed")]
    NotSigned {
        /// The number of versions whose decision failed.
        failed: usize,
        /// The number of versions that awaited a decision of the user.
        of: usize,
    },
    /// The objects changed between the review and the signature.
    #[error("nothing was recorded: {what} while you were reading")]
    ChangedMeanwhile {
        /// The change, as in `aisystem/chat changed`.
        what: String,
        /// The command that shows the review again.
        review: String,
    },
    /// The cluster lacks the admission policies that set and check the approver of a decision.
    #[error(
        "nothing was signed: the API server does not record who approves, so the approval would not count. Its admission policies of Assent are missing"
    )]
    NotStamped,
    /// No model version can describe the workload.
    #[error("cannot capture {what}: {why}")]
    NotCaptured {
        /// The workload, pod or manifest.
        what: String,
        /// The reason why no version can describe the workload.
        why: String,
        /// Commands that help.
        next: Vec<Next>,
    },
    /// The program cannot read or parse a manifest, a key or another input file.
    #[error("cannot read {path}: {why}")]
    Manifest {
        /// The file or directory, or `-` for standard input.
        path: String,
        /// The reason why the file cannot be read.
        why: String,
        /// Commands that help. Can be empty.
        next: Vec<Next>,
    },
    /// The directory has a kustomization file. Kustomize changes the manifests, so the files differ from the applied
    /// objects.
    #[error("cannot read the files of {path}: Kustomize builds the manifests that are applied")]
    Kustomization {
        /// The directory.
        path: String,
        /// The typed command, with the output of Kustomize as its input.
        command: String,
    },
    /// `check` or `monitor check` found objects that fail.
    #[error("{failed} of {of} objects failed the check")]
    CheckFailed {
        /// The number of objects that fail.
        failed: usize,
        /// The number of checked objects and pod templates. Approvals without a valid signature are left out.
        of: usize,
    },
    /// `record verify` found that a record does not prove what it states.
    #[error("the record in {directory} does not prove what it states: {found} findings")]
    NotProven {
        /// The directory of the record.
        directory: String,
        /// The number of findings.
        found: u64,
    },
    /// A read or write failed, such as the read of an answer from standard input.
    #[error("cannot read or write: {0}")]
    Input(#[from] std::io::Error),
    /// The output cannot be serialised or written.
    #[error("cannot write the output: {0}")]
    Output(String),
}

/// The result of a command.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Returns a function that converts an error of the `kube` client. `doing` is the failed operation, as in `read the
    /// approvals`.
    pub fn api(doing: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        |source| Self::Api { doing: doing.into(), source: Box::new(source), next: Vec::new() }
    }

    /// 2 if the command line is wrong or incomplete, else 1.
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

    /// The commands that the user can run next. Empty if no command is known to help.
    pub fn next(&self) -> Vec<Next> {
        match self {
            Self::Kubeconfig(_) | Self::NoCluster(_) => {
                vec![Next::new("kubectl config get-contexts", "list the configured clusters")]
            }
            Self::Api { source, next, .. } if next.is_empty() => next_for(source),
            Self::Api { next, .. }
            | Self::NotFound { next, .. }
            | Self::Choose { next, .. }
            | Self::OperatorDisagrees { next, .. }
            | Self::NotCaptured { next, .. }
            | Self::Manifest { next, .. }
            | Self::Key { next, .. }
            | Self::Shortens { next, .. } => next.clone(),
            Self::NotInstalled => vec![
                Next::new("kubectl config current-context", "check that this is the right cluster"),
                Next::new(
                    "kubectl api-resources --api-group=assent.dev",
                    "list the kinds of Assent that it serves",
                ),
            ],
            Self::NoRole { roles, .. } => roles.iter().map(|role| can_i(role)).collect(),
            Self::DigestChanged { review, .. } | Self::ChangedMeanwhile { review, .. } => {
                vec![Next::new(review, "review it again")]
            }
            Self::Kustomization { command, .. } => {
                vec![Next::new(command, "read the manifests that Kustomize builds")]
            }
            Self::Needed { command, .. } => vec![Next::new(command, "to decommission it anyway")],
            Self::NotProven { directory, .. } => {
                let command = format!("kubectl assent record show {}", quoted(directory));
                vec![Next::new(command, "list the entries that the files state, without proof")]
            }
            Self::NoReason { command, .. } => vec![Next::new(command, "add a reason")],
            Self::NotATerminal { command } => vec![Next::new(command, "if you already reviewed it")],
            Self::NotStamped => vec![Next::new(
                "kubectl get mutatingadmissionpolicies,validatingadmissionpolicies | grep assent",
                "check that these policies exist",
            )],
            _ => Vec::new(),
        }
    }

    /// The message and the next commands, for a terminal.
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

/// The command that lists the roles of the user. `kubectl auth can-i VERB RESOURCE` would fail if the API server does
/// not serve `ApproverRole`, for example before an upgrade of the CRDs. So the command uses `--list`.
pub fn can_i(role: &str) -> Next {
    Next::new("kubectl auth can-i --list | grep approverroles", format!("check whether you hold {role}"))
}

pub const fn verb(decision: Decision) -> &'static str {
    match decision {
        Decision::Approve => "approve",
        Decision::Reject => "reject",
        Decision::Revoke => "revoke",
        Decision::Attest => "attest",
        Decision::Resume => "resume",
        Decision::Override => "override",
        Decision::Review => "review",
    }
}

pub fn cause(source: &kube::Error) -> String {
    match source {
        kube::Error::Api(status) => refused(&status.message),
        kube::Error::Service(error) => format!("the API server did not answer: {}", chain(error.as_ref())),
        kube::Error::HyperError(error) => format!("the API server did not answer: {}", chain(error)),
        kube::Error::Auth(error) => format!("the credentials of the kubeconfig do not work: {error}"),
        other => other.to_string(),
    }
}

/// The next commands for an error of the `kube` client, if the error itself contains none.
fn next_for(source: &kube::Error) -> Vec<Next> {
    match source {
        kube::Error::Api(status) if matches!(status.code, 401 | 403) => {
            vec![Next::new("kubectl auth whoami", "show your user name at the API server")]
        }
        kube::Error::Service(_) | kube::Error::HyperError(_) => {
            vec![Next::new("kubectl cluster-info", "check that kubectl reaches the API server")]
        }
        _ => Vec::new(),
    }
}

/// Rewrites the error of an admission policy: the message comes first, then the name of the policy. Returns any other
/// error unchanged.
fn refused(message: &str) -> String {
    let Some((what, why)) = message.split_once(" denied request: ") else { return message.to_owned() };
    let policy = what.split('\'').nth(1).unwrap_or("an admission policy");
    format!("{why} (refused by the policy {policy})")
}

/// The text of an error and of its causes. Skips a cause that the text already contains.
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

fn existing(others: &[String]) -> String {
    if others.is_empty() { String::new() } else { format!("; existing: {}", others.join(", ")) }
}
