//! `kubectl assent`: what people type. Decisions are recorded, status and reasons are read; nothing
//! here decides anything.
//!
//! ```text
//!  Cli ─┬─ approve, renew, reject, revoke ─ sign ── show (review) ── outcome
//!       ├─ approve --interactive ─ inbox ── sign
//!       ├─ approve --ssh-key ─ detached
//!       ├─ decommission
//!       ├─ status ─ as_if_enforced
//!       ├─ inventory
//!       ├─ check ─── manifests ── finding
//!       ├─ capture ─ group
//!       ├─ who-can ─ people
//!       ├─ history ─ record
//!       ├─ explain ─ group ── finding ── render
//!       ├─ completion ─ clap, names of the cluster
//!       └─ version
//!             │
//!             ├─ connect   the flags of kubectl ──► client, namespace
//!             ├─ record    objects ──► policy core ──► judgement
//!             └─ page, table ── visible ──► terminal
//! ```

mod commands;
mod connect;
mod error;
#[cfg(test)]
mod fixtures;
mod nearest;
mod render;
mod review;

use std::path::PathBuf;

use clap::{
    Args, Parser, Subcommand,
    builder::styling::{AnsiColor, Styles},
};

use clap_complete::engine::ArgValueCompleter;
use commands::{
    capture,
    check::{self, FailOn},
    completion, decommission, dry_run,
    explain::{self, Target},
    history, interactive,
    inventory::{self, Images},
    offline_sign::{self, Detached},
    resolve::Act,
    sign::{self, DecisionRequest},
    status::{self, Which},
    subject, version, who_can,
};
pub use connect::session::Connection;
use connect::{session::Session, signs};
pub use error::{Error, Next, Result};
use render::{
    output::{Listing, ManifestFormat, Prose},
    page,
    time::{self, Until},
};

use crate::api::{Decision, Digest, Scope};

const STYLES: Styles = Styles::styled()
    .header(page::STRONG)
    .usage(page::STRONG)
    .literal(AnsiColor::Green.on_default())
    .placeholder(AnsiColor::Cyan.on_default());

/// Approve AI systems, and see why one does not run.
///
/// In an enforced namespace an AI system runs only with the recorded approval of everyone its level
/// of risk asks for. This plugin is how people give it, withdraw it, and find out what is missing.
#[derive(Parser, Debug)]
#[command(
    name = "kubectl-assent",
    bin_name = "kubectl assent",
    styles = STYLES,
    disable_version_flag = true,
    after_help = "Exit codes:
  0  what was asked for was done, or there was nothing to show
  1  it was refused, it failed, or what was named does not exist; check: something would not run
  2  the command was not typed right or not completely: nothing was asked or changed

Examples:
  # What may run, until when, and what waits for whom
  kubectl assent status

  # Review a version and sign it
  kubectl assent approve credit-scorer

  # Why does this not start?
  kubectl assent explain deployment/credit-scorer"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Review a version of a system and sign that it may run
    ///
    /// Shows what is signed: what the system is for, what its level of risk asks for, exactly what
    /// runs, where it comes from, what changed, and what a signature does not pin. Signs only what was
    /// shown, under your name, for good.
    #[command(after_help = "Examples:
  # Review the one version that waits for approval, and sign it
  kubectl assent approve credit-scorer

  # Sign a certain version in a certain role, for 90 days
  kubectl assent approve credit-scorer --version v3 --role risk-officer --until 90d

  # Into a file to be merged, signed by a key that the role lists
  kubectl assent approve credit-scorer --ssh-key ~/.ssh/id_ed25519 --to approval.yaml

  # Review everything that waits for you, the oldest deadline first: approve, reject or skip each
  kubectl assent approve --interactive -A

  # In a script: sign what was reviewed before, and nothing else
  kubectl assent approve credit-scorer --version v3 --role risk-officer \\
    --digest sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae --yes")]
    Approve {
        /// The AI system
        #[arg(value_parser = system, add = ArgValueCompleter::new(completion::systems), required_unless_present = "interactive")]
        system: Option<String>,
        #[command(flatten)]
        how: How,
        #[command(flatten)]
        end: End,
        /// Instead of one system: everything that waits for you, and what ends within 30 days
        #[arg(short, long, conflicts_with_all = ["system", "version", "role", "digest", "yes", "ssh_key"])]
        interactive: bool,
        /// With --interactive: of every namespace
        #[arg(short = 'A', long, requires = "interactive")]
        all_namespaces: bool,
    },
    /// Approve anew what is cleared, before it ends
    ///
    /// The same review and signature as approve. A new approval stands beside the one before; of several approvals
    /// of one person, the one that ends last counts.
    #[command(after_help = "Examples:
  # What ends within a month, and then one of them
  kubectl assent status -A --expiring 30d
  kubectl assent renew credit-scorer

  # For another 90 days
  kubectl assent renew credit-scorer --version v3 --until 90d")]
    Renew {
        #[command(flatten)]
        subject: SubjectArgs,
        #[command(flatten)]
        end: End,
    },
    /// Record that a version must not run, as long as you do not approve it after all
    #[command(after_help = "Examples:
  # Reject the one version that waits for approval
  kubectl assent reject credit-scorer --reason 'no bias test for applicants under 25'

  # Reject a certain version
  kubectl assent reject credit-scorer --version v3 --reason 'see ticket AI-42'")]
    Reject {
        #[command(flatten)]
        subject: SubjectArgs,
    },
    /// Withdraw clearance at once: what runs is stopped, and every role has to approve anew
    #[command(after_help = "Examples:
  # Stop the one version that is cleared
  kubectl assent revoke credit-scorer --reason 'incident 2026-117: scores drift'

  # In a script
  kubectl assent revoke credit-scorer --version v3 --role risk-officer --reason 'drift alarm' --yes")]
    Revoke {
        #[command(flatten)]
        subject: SubjectArgs,
    },
    /// End a system for good: date, reason and what replaces it
    ///
    /// Shows what will stop and which systems need it, and refuses while one does. Until the date has come it can
    /// be taken back; from then on nothing of the system runs, whoever approved.
    #[command(after_help = "Examples:
  # At once
  kubectl assent decommission faq-chatbot --reason 'replaced' --successor support-assistant

  # At the end of a quarter
  kubectl assent decommission faq-chatbot --date 2027-03-31 --reason 'its licence ends'")]
    Decommission {
        /// The AI system
        #[arg(value_parser = system, add = ArgValueCompleter::new(completion::systems))]
        system: String,
        /// From when on nothing of it runs; otherwise now: 2027-03-31, 2027-03-31T12:00:00Z, 90d
        #[arg(long, value_name = "TIME", value_parser = until)]
        date: Option<(String, Until)>,
        /// Why; the record keeps it
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// The AI system of this namespace that replaces it
        #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(completion::systems))]
        successor: Option<String>,
        /// Though another system says that it depends on it
        #[arg(long)]
        force: bool,
        /// Do not ask; for scripts
        #[arg(short, long)]
        yes: bool,
    },
    /// Show what may run, until when, and what the rest waits for
    #[command(after_help = "Examples:
  # The systems of this namespace
  kubectl assent status

  # One system and its versions
  kubectl assent status credit-scorer -n lending

  # The systems of every namespace
  kubectl assent status -A

  # What loses its clearance within a fortnight, in every namespace
  kubectl assent status -A --expiring 14d

  # The systems of one risk level
  kubectl assent status -A --level high

  # And again whenever one changes
  kubectl assent status -A --watch

  # What would stop if this namespace enforced, before it is made to
  kubectl assent status --as-if-enforced

  # If every namespace did, for what asks for accelerators
  kubectl assent status -A --as-if-enforced --scope accelerated

  # For a program
  kubectl assent status -A -o json")]
    Status {
        /// The AI system; otherwise all of them
        #[arg(value_parser = system, add = ArgValueCompleter::new(completion::systems))]
        system: Option<String>,
        /// The systems of every namespace
        #[arg(short = 'A', long, conflicts_with = "system")]
        all_namespaces: bool,
        /// Only what loses its clearance by then, the first to do so first: 14d, 2027-03-31
        #[arg(long, value_name = "TIME", value_parser = until, conflicts_with = "as_if_enforced")]
        expiring: Option<(String, Until)>,
        /// Only the systems of this risk level
        #[arg(long, value_name = "LEVEL", conflicts_with_all = ["system", "as_if_enforced"], add = ArgValueCompleter::new(completion::levels))]
        level: Option<String>,
        /// Watch for changes
        #[arg(short, long, conflicts_with = "as_if_enforced")]
        watch: bool,
        /// Preview which running workloads enforcement would stop
        #[arg(long, conflicts_with = "system")]
        as_if_enforced: bool,
        /// With --as-if-enforced: which pods would be governed; otherwise as the namespace says, or all
        #[arg(long, value_enum, requires = "as_if_enforced")]
        scope: Option<Scope>,
        /// The format
        #[arg(short, long, value_enum, default_value_t)]
        output: Listing,
    },
    /// List what AI runs, and which of it belongs to no AI system: shadow AI
    ///
    /// What belongs to no system is found by what it asks for (GPUs and other accelerators) and by its images.
    #[command(after_help = "Examples:
  # This namespace
  kubectl assent inventory

  # What nobody answers for, in the whole cluster
  kubectl assent inventory -A --shadow

  # By images of your own, for a program
  kubectl assent inventory -A --image-pattern '*/our-models/*' -o json")]
    Inventory {
        /// Every namespace, governed or not
        #[arg(short = 'A', long)]
        all_namespaces: bool,
        /// Only what belongs to no AI system
        #[arg(long)]
        shadow: bool,
        /// Images of AI workloads, * stands for anything; may be repeated. Otherwise those of the chart's values
        #[arg(long, value_name = "PATTERN")]
        image_pattern: Vec<String>,
        /// Where Assent is installed, if not in assent-system: there the patterns are kept
        #[arg(long, value_name = "NAME", default_value = signs::NAMESPACE)]
        assent_namespace: String,
        /// The format
        #[arg(short, long, value_enum, default_value_t)]
        output: Listing,
    },
    /// Explain why a pod, workload, system, version or image does not run, and who can change that
    #[command(after_help = "Examples:
  # A pod that is held
  kubectl assent explain pod/credit-scorer-6d5f8-x2x7k

  # A workload, whether or not it has pods
  kubectl assent explain deployment/credit-scorer

  # A system and a version
  kubectl assent explain aisystem/credit-scorer
  kubectl assent explain modelversion/credit-scorer-v3

  # An image: all of it that this namespace has, by name, name and tag, or digest
  kubectl assent explain image/vllm/vllm-openai

  # For a program
  kubectl assent explain deployment/credit-scorer -o json")]
    Explain {
        /// What: a pod, a workload of any kind, aisystem, modelversion or image
        #[arg(value_name = "KIND/NAME", add = ArgValueCompleter::new(completion::targets))]
        kind: String,
        /// The name, if it is not given with the kind
        #[arg(hide = true)]
        name: Option<String>,
        /// The format
        #[arg(short, long, value_enum, default_value_t)]
        output: Prose,
    },
    /// Judge manifests without a cluster: what would be held and why, and which approvals it needs
    ///
    /// Compares pod templates of any kind with the systems, versions and levels among the manifests, as the
    /// API server would once all of them were applied. For a pull request.
    #[command(
        after_help = "Exit codes: 0 if nothing fails, 1 if something does or cannot be read, 2 if the command was not typed right.

Examples:
  # A directory, and those below it
  kubectl assent check -R -f deploy/

  # Fail on what waits for an approval too
  kubectl assent check -f deploy/ --fail-on awaiting

  # What Kustomize or Helm makes, for a code host
  kubectl assent check -f - -o sarif"
    )]
    Check {
        /// Files, directories, or - for standard input; may be repeated
        #[arg(short, long, required = true, value_name = "FILE|DIR|-")]
        filename: Vec<PathBuf>,
        /// With the directories below
        #[arg(short = 'R', long)]
        recursive: bool,
        /// What it fails on
        #[arg(long, value_enum, default_value_t)]
        fail_on: FailOn,
        /// The format
        #[arg(short, long, value_enum, default_value_t)]
        output: check::Format,
    },
    /// Write the model version that matches a pod or a workload as it is
    ///
    /// Starts from the newest version of the system: keeps its mayVary and provenance, and shows the difference to it.
    /// Images that are named by tag become those that the nodes report, by digest. Nothing is created: review it, and
    /// apply it. One kubectl patch that is printed adds the label and pins the images in a single rollout.
    #[command(after_help = "Examples:
  # The version of a workload
  kubectl assent capture deployment/credit-scorer > credit-scorer-v3.yaml

  # Under a name of your own, at once
  kubectl assent capture deployment/credit-scorer --version credit-scorer-v3 | kubectl apply -f -

  # Of a manifest, without a cluster
  kubectl assent capture -f deployment.yaml

  # Of a custom resource that has made pods, for a system that they do not name
  kubectl assent capture inferenceservice/support-assistant --system support-assistant")]
    Capture {
        /// What: a pod, or a workload of any kind
        #[arg(value_name = "KIND/NAME", required_unless_present = "filename", add = ArgValueCompleter::new(completion::targets))]
        kind: Option<String>,
        /// The name, if it is not given with the kind
        #[arg(hide = true)]
        name: Option<String>,
        /// Instead: a manifest, of any kind that says what its pods are; -: standard input
        #[arg(short, long, value_name = "FILE|-", conflicts_with = "kind")]
        filename: Option<PathBuf>,
        /// The AI system; otherwise the one that the label assent.dev/system names
        #[arg(long, value_parser = system, add = ArgValueCompleter::new(completion::systems))]
        system: Option<String>,
        /// The name of the version; otherwise one made of the system's name and the content
        #[arg(long, value_name = "NAME")]
        version: Option<String>,
        /// The format
        #[arg(short, long, value_enum, default_value_t)]
        output: ManifestFormat,
    },
    /// Show the life of a system in order: its versions, the decisions on them, and what was enforced
    ///
    /// Decisions are kept for good. Events are kept only for as long as the API server does, an hour unless it
    /// was told otherwise.
    #[command(after_help = "Examples:
  # Who decided what, and what became of it
  kubectl assent history credit-scorer

  # Of every system of every namespace
  kubectl assent history -A

  # With the objects that say so
  kubectl assent history credit-scorer -o wide

  # For a program
  kubectl assent history credit-scorer -o json")]
    History {
        /// The AI system (default: every system of the namespace)
        #[arg(value_parser = system, add = ArgValueCompleter::new(completion::systems))]
        system: Option<String>,
        /// Every system of every namespace
        #[arg(short = 'A', long, conflicts_with = "system")]
        all_namespaces: bool,
        /// The format
        #[arg(short, long, value_enum, default_value_t)]
        output: Listing,
    },
    /// Show what somebody decided on, in full, by its digest
    ///
    /// It stays as long as its namespace, after the model version or the system was deleted or replaced, too.
    #[command(after_help = "Examples:
  # What the decisions of this namespace are about
  kubectl get decisionsubjects

  # One of them, by the first digits of its digest
  kubectl assent show f4f8af7c627f")]
    Show {
        /// The subject digest, or the digits with which it begins
        digest: String,
        /// The format
        #[arg(short, long, value_enum, default_value_t)]
        output: ManifestFormat,
    },
    /// Show who may decide about a system: the roles that are asked for, and who holds them
    ///
    /// Who holds a role is what RBAC says, which not everybody may read; other authorizers are not seen.
    #[command(after_help = "Examples:
  # Whom to ask to approve a system
  kubectl assent who-can approve credit-scorer

  # Who can stop it
  kubectl assent who-can revoke credit-scorer

  # Every role that any risk level asks for
  kubectl assent who-can approve -o wide")]
    WhoCan {
        /// What they may do
        #[arg(value_enum)]
        decision: Decision,
        /// The AI system; otherwise every role that is asked for
        #[arg(value_parser = system, add = ArgValueCompleter::new(completion::systems))]
        system: Option<String>,
        /// The format
        #[arg(short, long, value_enum, default_value_t)]
        output: Listing,
    },
    /// Write what completes this command in every shell in which kubectl completes
    ///
    /// kubectl looks for a program kubectl_complete-assent in PATH, which is this.
    #[command(after_help = "Examples:
  # Into a directory that is in PATH
  kubectl assent completion > ~/.local/bin/kubectl_complete-assent
  chmod +x ~/.local/bin/kubectl_complete-assent")]
    Completion,
    /// What may come in place of the last word
    #[command(name = "__complete", hide = true)]
    Complete {
        /// The words so far, the last perhaps not whole
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Show the versions of this plugin and of what the cluster serves
    #[command(after_help = "Examples:
  # The plugin and the cluster
  kubectl assent version

  # Only the plugin
  kubectl assent version --client")]
    Version {
        /// Do not ask the cluster
        #[arg(long)]
        client: bool,
    },
}

/// What is decided about, and how.
#[derive(Args, Clone, Debug)]
struct SubjectArgs {
    /// The AI system
    #[arg(value_parser = system, add = ArgValueCompleter::new(completion::systems))]
    system: String,
    #[command(flatten)]
    how: How,
}

/// Until when.
#[derive(Args, Clone, Debug)]
struct End {
    /// When the approval ends, if before the risk level says: 2027-03-31, 2027-03-31T12:00:00Z, 90d or 12h
    #[arg(long, value_name = "TIME", value_parser = until)]
    until: Option<(String, Until)>,
}

/// How it is decided.
#[derive(Args, Clone, Debug)]
struct How {
    /// Model version (default: the only candidate)
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(completion::versions))]
    version: Option<String>,
    /// The role to decide in; otherwise the only one that you hold
    #[arg(long, add = ArgValueCompleter::new(completion::roles))]
    role: Option<String>,
    /// Why; the record keeps it
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// What you reviewed: refuse to sign anything else
    #[arg(long, value_name = "sha256:…")]
    digest: Option<Digest>,
    /// Do not ask; for scripts
    #[arg(short, long)]
    yes: bool,
    /// Show all of the review: every control, requirement, field and digest
    #[arg(long)]
    full: bool,
    /// Sign with an SSH key listed in the role; anyone may then apply the file
    #[arg(long, value_name = "FILE", requires = "to")]
    ssh_key: Option<PathBuf>,
    /// With --ssh-key: the file that the signed decision goes to; nothing is recorded
    #[arg(long, value_name = "FILE", requires = "ssh_key")]
    to: Option<PathBuf>,
}

impl How {
    async fn decide(
        self,
        session: &Session,
        act: Act,
        system: String,
        until: Option<(String, Until)>,
    ) -> Result<()> {
        let Self { version, role, reason, digest, yes, full, ssh_key, to } = self;
        let request =
            DecisionRequest { act, system, version, role, until, reason, digest, yes, full, walks: false };
        match ssh_key.zip(to) {
            Some((key, to)) => offline_sign::sign(session, request, &Detached { key, to }).await,
            None => sign::sign(session, request).await,
        }
    }
}

fn until(text: &str) -> Result<(String, Until), time::NotAnEnd> {
    Ok((text.to_owned(), text.parse()?))
}

/// The name of a system, also as kubectl writes it: `aisystem/NAME`.
fn system(text: &str) -> Result<String, String> {
    match text.split_once('/') {
        None => Ok(text.to_owned()),
        Some(_) => match Target::parse(text, None)? {
            Target::System(name) => Ok(name),
            other => Err(format!("{} is not an AI system", other.in_words())),
        },
    }
}

fn target(command: &'static str, kind: String, name: Option<&str>) -> Result<Target> {
    Target::parse(&kind, name).map_err(|why| Error::Flag { flag: command, value: kind, why })
}

/// Carries out what was typed.
pub async fn run(cli: Cli) -> Result<()> {
    let connection = cli.connection;
    match cli.command {
        Command::Approve { system: Some(system), how, end, .. } => {
            how.decide(&connection.session().await?, Act::Approve, system, end.until).await
        }
        Command::Approve { system: None, how, end, all_namespaces, .. } => {
            let session = connection.session().await?;
            let given = interactive::Given { until: end.until, reason: how.reason, full: how.full };
            interactive::walk(&session, all_namespaces, &given).await
        }
        Command::Renew { subject: SubjectArgs { system, how }, end } => {
            how.decide(&connection.session().await?, Act::Renew, system, end.until).await
        }
        Command::Reject { subject: SubjectArgs { system, how } } => {
            how.decide(&connection.session().await?, Act::Reject, system, None).await
        }
        Command::Revoke { subject: SubjectArgs { system, how } } => {
            how.decide(&connection.session().await?, Act::Revoke, system, None).await
        }
        Command::Decommission { system, date, reason, successor, force, yes } => {
            let request = decommission::DecommissionRequest { system, date, reason, successor, force, yes };
            decommission::decommission(&connection.session().await?, request).await
        }
        Command::Status { as_if_enforced: true, all_namespaces, scope, output, .. } => {
            dry_run::as_if_enforced(&connection.session().await?, all_namespaces, scope, output).await
        }
        Command::Inventory { all_namespaces, shadow, image_pattern, assent_namespace, output } => {
            let images = Images { patterns: image_pattern, namespace: assent_namespace };
            inventory::inventory(&connection.session().await?, all_namespaces, shadow, &images, output).await
        }
        Command::Status { system, all_namespaces, expiring, level, watch, output, .. } => {
            let expiring = expiring.map(|(_, until)| until);
            let which = Which { system, everywhere: all_namespaces, expiring, level };
            let session = connection.session().await?;
            if watch {
                status::watch(&session, &which, output).await
            } else {
                status::status(&session, &which, output).await
            }
        }
        Command::Explain { kind, name, output } => {
            let target = target("explain", kind, name.as_deref())?;
            explain::explain(&connection.session().await?, &target, output).await
        }
        Command::Check { filename, recursive, fail_on, output } => {
            let namespace = connection.offline_namespace();
            check::check(&check::CheckRequest { paths: filename, recursive, namespace, fail_on }, output)
        }
        Command::Capture { kind, name, filename, system, version, output } => {
            let request = capture::CaptureRequest { system, version, format: output };
            if let Some(file) = filename {
                return capture::capture_file(&file, &connection.offline_namespace(), &request);
            }
            let target = target("capture", kind.unwrap_or_default(), name.as_deref())?;
            capture::capture(&connection.session().await?, &target, &request).await
        }
        Command::History { system, all_namespaces, output } => {
            let session = connection.session().await?;
            history::history(&session, system.as_deref(), all_namespaces, output).await
        }
        Command::Show { digest, output } => {
            subject::show(&connection.session().await?, &digest, output).await
        }
        Command::WhoCan { decision, system, output } => {
            who_can::who_can(&connection.session().await?, decision, system.as_deref(), output).await
        }
        Command::Completion => {
            anstream::print!("{}", completion::SCRIPT);
            Ok(())
        }
        Command::Complete { words } => {
            anstream::print!("{}", completion::candidates(words)?);
            Ok(())
        }
        Command::Version { client } => version::version(&connection, client).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_commands_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_example_for_every_command() {
        for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(
                help.contains(&format!("kubectl assent {}", command.get_name())),
                "{}",
                command.get_name()
            );
        }
    }

    #[test]
    fn the_examples_parse() {
        let mut examples = Vec::new();
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let joined = help.replace("\\\n", " ");
            let lines = joined.lines().map(str::trim).filter(|line| line.starts_with("kubectl assent "));
            examples.extend(lines.map(str::to_owned));
        }
        for example in examples {
            let parts = example.split('\'').enumerate();
            let words = parts.flat_map(|(i, part)| match i % 2 {
                0 => part.split_whitespace().map(str::to_owned).collect::<Vec<_>>(),
                _ => vec![part.to_owned()],
            });
            // What is printed may go to a file or another program.
            let words = words.skip(1).take_while(|word| word != ">" && word != "|").collect::<Vec<_>>();
            Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{example}: {error}"));
        }
    }
}
