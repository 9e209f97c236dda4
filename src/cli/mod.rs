//! `kubectl assent`: the command line that records decisions and shows status and reasons.
//!
//! The function [`run`] calls the module of the command. Most commands that need a cluster work as follows:
//!
//! ```text
//!  Cli ─► module of the command ─► connect: reads objects ─► policy: judges versions ─► render: prints text
//! ```
//!
//! The module of a command is in `commands`, and usually has the name of the command. The exceptions are:
//!
//! | command | module |
//! |---|---|
//! | `approve`, `renew`, `reject`, `revoke` | `sign`, or `offline_sign` with `--ssh-key` |
//! | `approve --interactive` | `interactive` |
//! | `pause`, `rollback`, `resume` | `incident` |
//! | `override` | `overrides` |
//! | `status --as-if-enforced` | `dry_run` |
//! | `show` | `subject` |

mod bounds;
mod choice;
mod commands;
mod connect;
mod error;
#[cfg(test)]
mod fixtures;
mod formats;
mod render;
mod review;

use std::path::PathBuf;

use clap::{
    Args, Parser, Subcommand,
    builder::styling::{AnsiColor, Styles},
};

use clap_complete::engine::ArgValueCompleter;
use commands::{
    assess::{self, AssessArgs},
    attest::{self, AttestArgs},
    capture,
    certify::{self, CertifyArgs},
    check::{self, FailOn},
    completion, decommission, dry_run, explain, history,
    incident::{self, IncidentCommand, PauseArgs, ResumeArgs, RollbackArgs},
    interactive,
    inventory::{self, Images},
    monitor::{self, MonitorCommand},
    offline_sign::{self, Detached, SshKey},
    overrides::{self, OverrideArgs},
    record::{self, RecordCommand},
    resolve::Act,
    sign::{self, DecisionRequest},
    status::{self, Which},
    subject, version, who_can,
};
pub use connect::session::Connection;
use connect::{
    session::Session,
    signs,
    target::{Target, system_name},
};
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
/// In a namespace that enforces, a version of an AI system runs only after all approvals that its risk level
/// requires. Use this plugin to approve a version, to withdraw clearance, and to see what is missing.
#[derive(Parser, Debug)]
#[command(
    name = "kubectl-assent",
    bin_name = "kubectl assent",
    styles = STYLES,
    disable_version_flag = true,
    after_help = "Exit codes:
  0  success, or nothing to show
  1  the command was refused or failed, or an object does not exist; with the command check: an
     object would not run
  2  the command line is wrong or incomplete; nothing was changed

Examples:
  # Show what may run, until when, and what is missing
  kubectl assent status

  # Review a version and sign it
  kubectl assent approve credit-scorer

  # Explain why a workload does not start
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
    /// Review a version of a system, and sign that it may run
    ///
    /// Shows the purpose of the system, the requirements of its risk level, the containers and their provenance. Also
    /// shows the changes since the last approved version, and the content that can change without a new approval.
    /// Signs only the content that it showed, under your name. Nobody can edit or delete the signature.
    #[command(after_help = "Examples:
  # Review the only version that waits for approval, and sign it
  kubectl assent approve credit-scorer

  # Sign a given version in a given role, for 90 days
  kubectl assent approve credit-scorer --version v3 --role risk-officer --until 90d

  # Sign with an SSH key that the role lists, into a file for a pull request
  kubectl assent approve credit-scorer --ssh-key ~/.ssh/id_ed25519 --to approval.yaml

  # Review everything that waits for you, the earliest deadline first: approve, reject or skip each
  kubectl assent approve --interactive -A

  # In a script: sign only the digest that you reviewed
  kubectl assent approve credit-scorer --version v3 --role risk-officer \\
    --digest sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae --yes")]
    Approve {
        /// AI system
        #[arg(value_parser = system_name, add = ArgValueCompleter::new(completion::systems), required_unless_present = "interactive")]
        system: Option<String>,
        #[command(flatten)]
        how: How,
        #[command(flatten)]
        end: End,
        /// Review everything that waits for you, and clearances that end within 30 days
        #[arg(short, long, conflicts_with_all = ["system", "version", "role", "digest", "yes", "ssh_key"])]
        interactive: bool,
        /// With --interactive: review every namespace
        #[arg(short = 'A', long, requires = "interactive")]
        all_namespaces: bool,
    },
    /// Approve a version again, before or after its clearance ends
    ///
    /// Shows the same review as approve, and signs again. The earlier approval stays. Of several approvals by one
    /// person, the one that ends last counts.
    #[command(after_help = "Examples:
  # Show the clearances that end within 30 days, and renew one of them
  kubectl assent status -A --expiring 30d
  kubectl assent renew credit-scorer

  # Renew for 90 days
  kubectl assent renew credit-scorer --version v3 --until 90d")]
    Renew {
        #[command(flatten)]
        subject: SubjectArgs,
        #[command(flatten)]
        end: End,
    },
    /// Record that a version must not run until you approve it
    #[command(after_help = "Examples:
  # Reject the only version that waits for approval
  kubectl assent reject credit-scorer --reason 'no bias test for applicants under 25'

  # Reject a given version
  kubectl assent reject credit-scorer --version v3 --reason 'see ticket AI-42'")]
    Reject {
        #[command(flatten)]
        subject: SubjectArgs,
    },
    /// Withdraw the clearance of a version now: its pods stop, and every required role must approve again
    #[command(after_help = "Examples:
  # Stop the only version that is cleared
  kubectl assent revoke credit-scorer --reason 'incident 2026-117: scores drift'

  # In a script
  kubectl assent revoke credit-scorer --version v3 --role risk-officer --reason 'drift alarm' --yes")]
    Revoke {
        #[command(flatten)]
        subject: SubjectArgs,
    },
    /// Record the results of evaluation tools as evidence for a version
    ///
    /// Reads the files of lm-evaluation-harness, Inspect AI, garak, promptfoo, deepeval, EvalHub, Every Eval Ever,
    /// JUnit, in-toto and CycloneDX, and your own JSON or YAML. Detects the format by the content. Shows each value
    /// beside the requirements of the risk level, and each metric that it did not take. Fails if a file is
    /// ambiguous. Results count after a person in the required role signs them with attest.
    #[command(after_help = "Examples:
  # Show what a file states, and record nothing
  kubectl assent assess credit-scorer -f results.json --dry-run

  # Record the results of a pipeline for a version
  kubectl assent assess credit-scorer --version v3 -f fairness.json -f lm-eval/results.json \\
    --kind Performance

  # Take two metrics, and state the direction that the file does not state
  kubectl assent assess credit-scorer -f bom.cdx.json --metric accuracy --metric gap \\
    --direction gap=LowerIsBetter

  # Require the signature of the test laboratory, and write a manifest for a pull request
  kubectl assent assess credit-scorer -f attestation.json --key lab.pub -o yaml")]
    Assess(AssessArgs),
    /// Sign recorded results of assessments, so that they count
    ///
    /// Shows the results beside the requirements of the risk level, and the effect of your signature. Signs only the
    /// results that it showed, under your name. Nobody can edit or delete the signature.
    #[command(after_help = "Examples:
  # Sign all results of the only version that has unsigned results
  kubectl assent attest credit-scorer

  # Sign one assessment in a given role
  kubectl assent attest credit-scorer --version v3 --role model-validator --assessment v3-fairness

  # Sign with an SSH key that the role lists, into a file for a pull request
  kubectl assent attest credit-scorer --ssh-key ~/.ssh/id_ed25519 --to attestation.yaml")]
    Attest(AttestArgs),
    /// Sign a certification of a provider, after you verified the certificate
    ///
    /// A risk level can name a role that must sign certifications. The signature covers the provider, and the name,
    /// end, address and digest of the certificate. The signature is not bound to a system: it also counts in other
    /// systems that state the same certification.
    #[command(after_help = "Examples:
  # Sign, and write the signature to the cluster
  kubectl assent certify chatbot --provider OpenAI --certification 'ISO/IEC 42001' \\
    --ssh-key ~/.ssh/id_ed25519

  # Print the signature, to add it to the AISystem in Git
  kubectl assent certify chatbot --provider OpenAI --certification 'ISO/IEC 42001' \\
    --ssh-key ~/.ssh/id_ed25519 -o yaml")]
    Certify(CertifyArgs),
    /// Hold a system or versions of it now, because of an incident
    ///
    /// Opens an incident. The held versions stop, and stay stopped until people resume them. Needs the
    /// permission to hold the system. The approvals of the versions stay.
    #[command(after_help = "Examples:
  # Hold every version, also later ones
  kubectl assent pause credit-scorer --reason 'applicants over 60 are refused twice as often'

  # Hold one version, and record the harm
  kubectl assent pause credit-scorer --version v3 --reason 'drift alarm' \\
    --criterion FundamentalRights

  # In a script
  kubectl assent pause credit-scorer --reason 'drift alarm' --yes")]
    Pause(PauseArgs),
    /// Hold every version of a system except a cleared one, because of an incident
    ///
    /// Opens an incident. The named version must be cleared, and continues to run. A rollback does not clear
    /// a version.
    #[command(after_help = "Examples:
  # Return to the version before
  kubectl assent rollback credit-scorer --to v2 \\
    --reason 'v3 refuses applicants over 60 twice as often'")]
    Rollback(RollbackArgs),
    /// Open, show and complete incidents
    ///
    /// An incident is an event that harmed people or could have harmed them. Nobody can edit or delete an incident or a
    /// note. To hold versions, use pause or rollback.
    #[command(
        subcommand,
        after_help = "Examples:
  # Open an incident that holds nothing
  kubectl assent incident open credit-scorer --reason 'complaint 4711: refused without a reason'

  # See what needs attention, and say that you take care of it
  kubectl assent incident list
  kubectl assent incident acknowledge credit-scorer-x7k2p

  # Add what people learned and did; these three types are needed before people can resume
  kubectl assent incident note credit-scorer-x7k2p --type root-cause \\
    --text 'the data of March lacks applicants over 60'
  kubectl assent incident note credit-scorer-x7k2p --type action \\
    --text 'trained again with complete data'
  kubectl assent incident note credit-scorer-x7k2p --type verification \\
    --text 'parity by age is 0.97 in report FR-12'

  # Show facts, notes, legal deadlines and state
  kubectl assent incident show credit-scorer-x7k2p

  # Close it, and record the review afterwards
  kubectl assent incident close credit-scorer-x7k2p \\
    --reason 'not reportable because nobody was harmed'
  kubectl assent incident review credit-scorer-x7k2p --reason 'tests by age are required now'"
    )]
    Incident(IncidentCommand),
    /// Sign that a held version may run again
    ///
    /// Shows the incident, its notes and the effect of your signature. People must sign in the roles that the
    /// risk level names. At least one of them must be a person who neither opened the incident nor noted an
    /// action. A decision to resume does not clear the version: the version also needs its approvals. Nobody can
    /// edit or delete the signature.
    #[command(after_help = "Examples:
  # Resume the only held version
  kubectl assent resume credit-scorer

  # Resume a given version in a given role
  kubectl assent resume credit-scorer --version v3 --incident credit-scorer-x7k2p \\
    --role risk-officer

  # Sign with an SSH key that the role lists, into a file for a pull request
  kubectl assent resume credit-scorer --ssh-key ~/.ssh/id_ed25519 --to resume.yaml")]
    Resume(ResumeArgs),
    /// Let a version run for a limited time without the requirements that you name
    ///
    /// Use an override only in an emergency. The command shows the waived requirements and the remaining ones. The
    /// risk level states the requirements that can be waived, for how long, and how often. It also states the roles
    /// that grant and review an override. A prohibited, rejected, revoked, held or decommissioned version never runs.
    /// If you hold a role that may grant overrides, the command also grants the override.
    #[command(after_help = "Examples:
  # See what an override would do, and record nothing
  kubectl assent override credit-scorer --waive approval/risk-officer --for 2h \\
    --reason 'exercise' --dry-run

  # Waive two requirements of one version for two hours
  kubectl assent override credit-scorer --version v3 \\
    --waive approval/risk-officer,assessment/fairness-sex --for 2h \\
    --reason 'v2 refuses every applicant' --ticket INC-2026-117

  # Grant an override that another person requested
  kubectl assent override grant credit-scorer-x2b9q

  # Judge it afterwards; the requester and the granters cannot
  kubectl assent override review credit-scorer-x2b9q --outcome Justified \\
    --reason 'v2 was broken, v3 was tested'

  # Show one override, or list those of every namespace
  kubectl assent override show credit-scorer-x2b9q
  kubectl assent override list -A")]
    Override(Box<OverrideArgs>),
    /// Check monitors before they are applied
    ///
    /// A monitor queries Prometheus. The operator limits each query to the series of the namespace of the monitor, and
    /// refuses a query that it cannot limit. To see the state of a monitor in the cluster, use kubectl describe
    /// monitor.
    #[command(
        subcommand,
        after_help = "Examples:
  # Show the queries in a file as the operator sends them
  kubectl assent monitor check monitor.yaml -n credit

  # Every monitor of a repository, for a program
  kubectl assent monitor check -R deploy -o json"
    )]
    Monitor(MonitorCommand),
    /// End a system permanently, with date, reason and successor
    ///
    /// Shows the workloads that will stop, and the systems that depend on this system. Fails if another system
    /// depends on this system, unless you set --force. Until the date, you can undo the decommission. From the date
    /// on, no version of the system runs, even if it is approved.
    #[command(after_help = "Examples:
  # End a system now
  kubectl assent decommission faq-chatbot --reason 'replaced' --successor support-assistant

  # End a system on a date
  kubectl assent decommission faq-chatbot --date 2027-03-31 --reason 'its licence ends'")]
    Decommission {
        /// AI system
        #[arg(value_parser = system_name, add = ArgValueCompleter::new(completion::systems))]
        system: String,
        /// When the system ends (default: now): 2027-03-31, 2027-03-31T12:00:00Z, 90d
        #[arg(long, value_name = "TIME", value_parser = until)]
        date: Option<(String, Until)>,
        /// Reason, for the record
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// AI system of this namespace that replaces the system
        #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(completion::systems))]
        successor: Option<String>,
        /// End the system even if another system depends on it
        #[arg(long)]
        force: bool,
        /// Do not ask for confirmation
        #[arg(short, long)]
        yes: bool,
    },
    /// Show what may run, until when, and what is missing
    #[command(after_help = "Examples:
  # The systems of this namespace
  kubectl assent status

  # One system and its versions
  kubectl assent status credit-scorer -n lending

  # The systems of every namespace
  kubectl assent status -A

  # The systems that lose their clearance within 14 days, in every namespace
  kubectl assent status -A --expiring 14d

  # The systems of one risk level
  kubectl assent status -A --level high

  # The systems of every namespace, and their changes
  kubectl assent status -A --watch

  # The pods that would stop if this namespace enforced
  kubectl assent status --as-if-enforced

  # The pods with accelerators that would stop if every namespace enforced
  kubectl assent status -A --as-if-enforced --scope accelerated

  # For a program
  kubectl assent status -A -o json")]
    Status {
        /// AI system (default: every system of the namespace)
        #[arg(value_parser = system_name, add = ArgValueCompleter::new(completion::systems))]
        system: Option<String>,
        /// Show the systems of every namespace
        #[arg(short = 'A', long, conflicts_with = "system")]
        all_namespaces: bool,
        /// Show only systems that lose a clearance by this time, the earliest first: 14d, 2027-03-31
        #[arg(long, value_name = "TIME", value_parser = until, conflicts_with = "as_if_enforced")]
        expiring: Option<(String, Until)>,
        /// Show only systems of this risk level
        #[arg(long, value_name = "LEVEL", conflicts_with_all = ["system", "as_if_enforced"], add = ArgValueCompleter::new(completion::levels))]
        level: Option<String>,
        /// Watch for changes
        #[arg(short, long, conflicts_with = "as_if_enforced")]
        watch: bool,
        /// List the workloads that enforcement would stop or hold
        #[arg(long, conflicts_with = "system")]
        as_if_enforced: bool,
        /// With --as-if-enforced: pods to govern (default: the scope of the namespace, or all)
        #[arg(long, value_enum, requires = "as_if_enforced")]
        scope: Option<Scope>,
        /// Output format
        #[arg(short, long, value_enum, default_value_t)]
        output: Listing,
    },
    /// List AI workloads, and show which of them belong to no AI system (shadow AI)
    ///
    /// Finds shadow AI by its images, and by the accelerators that it requests, such as GPUs.
    #[command(after_help = "Examples:
  # The AI workloads of this namespace
  kubectl assent inventory

  # The shadow AI of the whole cluster
  kubectl assent inventory -A --shadow

  # With your own image pattern, for a program
  kubectl assent inventory -A --image-pattern '*/our-models/*' -o json")]
    Inventory {
        /// List every namespace, governed or not
        #[arg(short = 'A', long)]
        all_namespaces: bool,
        /// List only workloads that belong to no AI system
        #[arg(long)]
        shadow: bool,
        /// Image pattern of AI workloads; * matches anything; may be repeated (default: the chart's values)
        #[arg(long, value_name = "PATTERN")]
        image_pattern: Vec<String>,
        /// Namespace where Assent is installed. The command reads the image patterns there
        #[arg(long, value_name = "NAME", default_value = signs::NAMESPACE)]
        assent_namespace: String,
        /// Output format
        #[arg(short, long, value_enum, default_value_t)]
        output: Listing,
    },
    /// Explain why a pod, workload, system, version or image does not run, and who can change that
    #[command(after_help = "Examples:
  # A pod that is held
  kubectl assent explain pod/credit-scorer-6d5f8-x2x7k

  # A workload, with or without pods
  kubectl assent explain deployment/credit-scorer

  # A system and a version
  kubectl assent explain aisystem/credit-scorer
  kubectl assent explain modelversion/credit-scorer-v3

  # Everything in this namespace that uses an image, by name, name and tag, or digest
  kubectl assent explain image/vllm/vllm-openai

  # For a program
  kubectl assent explain deployment/credit-scorer -o json")]
    Explain {
        /// Pod, workload of any kind, aisystem, modelversion or image
        #[arg(value_name = "KIND/NAME", add = ArgValueCompleter::new(completion::targets))]
        kind: String,
        /// Name, if it is not given with the kind
        #[arg(hide = true)]
        name: Option<String>,
        /// Output format
        #[arg(short, long, value_enum, default_value_t)]
        output: Prose,
    },
    /// Check manifests without a cluster: what would be held, why, and which approvals are missing
    ///
    /// Compares pod templates of any kind with the systems, versions and risk levels in the same manifests.
    /// Predicts which pods would be held after you apply all of these manifests. Use the check in a pull
    /// request.
    #[command(
        after_help = "Exit codes: 0 if nothing fails, 1 if something fails or cannot be read, 2 if the command line is wrong.

Examples:
  # A directory and its subdirectories
  kubectl assent check -R -f deploy/

  # Also fail if a pod waits for an approval
  kubectl assent check -f deploy/ --fail-on awaiting

  # Check the output of Kustomize or Helm, and write SARIF for GitHub or GitLab
  kubectl assent check -f - -o sarif"
    )]
    Check {
        /// Files, directories, or - for standard input; may be repeated
        #[arg(short, long, required = true, value_name = "FILE|DIR|-")]
        filename: Vec<PathBuf>,
        /// Include subdirectories
        #[arg(short = 'R', long)]
        recursive: bool,
        /// Outcome that makes the check fail
        #[arg(long, value_enum, default_value_t)]
        fail_on: FailOn,
        /// Output format
        #[arg(short, long, value_enum, default_value_t)]
        output: check::Format,
    },
    /// Write a ModelVersion with the content of a pod or workload
    ///
    /// Starts from the newest version of the system: keeps the mayVary and the provenance of this version,
    /// and shows the difference from this version. Replaces each image tag by the digest that the nodes report.
    /// Creates nothing: review the output, and apply it. Also prints one kubectl patch for the workload, which adds
    /// the label assent.dev/system and pins the images in a single rollout. With -f, writes only what the manifest
    /// states: no digests, no mayVary, no provenance and no patch.
    #[command(after_help = "Examples:
  # Write the version of a workload
  kubectl assent capture deployment/credit-scorer > credit-scorer-v3.yaml

  # Choose the name, and apply the version
  kubectl assent capture deployment/credit-scorer --version credit-scorer-v3 | kubectl apply -f -

  # Read a manifest, without a cluster
  kubectl assent capture -f deployment.yaml

  # State the system, because the pods of this custom resource have no label with its name
  kubectl assent capture inferenceservice/support-assistant --system support-assistant")]
    Capture {
        /// Pod, or workload of any kind
        #[arg(value_name = "KIND/NAME", required_unless_present = "filename", add = ArgValueCompleter::new(completion::targets))]
        kind: Option<String>,
        /// Name, if it is not given with the kind
        #[arg(hide = true)]
        name: Option<String>,
        /// Manifest to read instead, of any kind that has a pod template, or - for standard input
        #[arg(short, long, value_name = "FILE|-", conflicts_with = "kind")]
        filename: Option<PathBuf>,
        /// AI system (default: from the label assent.dev/system)
        #[arg(long, value_parser = system_name, add = ArgValueCompleter::new(completion::systems))]
        system: Option<String>,
        /// Name of the version (default: the name of the system and a hash of the content)
        #[arg(long, value_name = "NAME")]
        version: Option<String>,
        /// Output format
        #[arg(short, long, value_enum, default_value_t)]
        output: ManifestFormat,
    },
    /// Show the history of a system: its versions, the decisions on them, and what was enforced
    ///
    /// Decisions are permanent. The API server deletes Events, such as those about held pods, after one hour by default.
    #[command(after_help = "Examples:
  # The decisions on one system, and their effects
  kubectl assent history credit-scorer

  # Every system of every namespace
  kubectl assent history -A

  # With the object that each line comes from
  kubectl assent history credit-scorer -o wide

  # For a program
  kubectl assent history credit-scorer -o json")]
    History {
        /// AI system (default: every system of the namespace)
        #[arg(value_parser = system_name, add = ArgValueCompleter::new(completion::systems))]
        system: Option<String>,
        /// Show every system of every namespace
        #[arg(short = 'A', long, conflicts_with = "system")]
        all_namespaces: bool,
        /// Output format
        #[arg(short, long, value_enum, default_value_t)]
        output: Listing,
    },
    /// Verify and read a copy of the transparency log, without a cluster
    ///
    /// The log records each decision, each clearance and each enforcement. Nobody can change, move or drop an entry
    /// without a trace. Programs of other people can verify the log too: see VERIFY.md in the copy.
    #[command(
        subcommand,
        after_help = "Examples:
  # Verify a copy with the policy that you received from another source
  kubectl assent record verify record-2026-11 --policy policy.txt

  # Verify that a copy continues the one of last year
  kubectl assent record verify record-2026-11 --kept record-2025-11/checkpoint

  # List the entries, and show one of them
  kubectl assent record show record-2026-11
  kubectl assent record show record-2026-11 42

  # Prove one entry to a person who has only the policy
  kubectl assent record proof record-2026-11 42 > 42.tlog-proof"
    )]
    Record(RecordCommand),
    /// Show the full content that people decided about, by its digest
    ///
    /// The content stays as long as its namespace, even after somebody deletes or replaces the model version or the
    /// system.
    #[command(after_help = "Examples:
  # List the decided content of this namespace
  kubectl get decisionsubjects

  # Show one of them, by the first digits of its digest
  kubectl assent show f4f8af7c627f")]
    Show {
        /// Digest of the content (subjectDigest), or its first digits
        digest: String,
        /// Output format
        #[arg(short, long, value_enum, default_value_t)]
        output: ManifestFormat,
    },
    /// Show the roles that a risk level requires for a decision, and who holds them
    ///
    /// A revocation also counts in every other role. The output does not show these roles. The command reads the holders
    /// from RBAC and from the keys of approver roles. Not every user may read these objects. The command does not show
    /// holders from other authorizers.
    #[command(after_help = "Examples:
  # The people who can approve a system
  kubectl assent who-can approve credit-scorer

  # The people who can stop it
  kubectl assent who-can revoke credit-scorer

  # Every role that a risk level requires
  kubectl assent who-can approve -o wide")]
    WhoCan {
        /// Decision to look up
        #[arg(value_enum)]
        decision: Decision,
        /// AI system (default: the roles of every risk level)
        #[arg(value_parser = system_name, add = ArgValueCompleter::new(completion::systems))]
        system: Option<String>,
        /// Output format
        #[arg(short, long, value_enum, default_value_t)]
        output: Listing,
    },
    /// Write the completion program for every shell that kubectl supports
    ///
    /// kubectl looks for the program kubectl_complete-assent in PATH.
    #[command(after_help = "Examples:
  # Write the program to a directory in PATH
  kubectl assent completion > ~/.local/bin/kubectl_complete-assent
  chmod +x ~/.local/bin/kubectl_complete-assent")]
    Completion,
    /// Print the completions of the last word
    #[command(name = "__complete", hide = true)]
    Complete {
        /// Words of the command line; the last one may be incomplete
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Show the versions of the plugin, of Kubernetes and of the API
    #[command(after_help = "Examples:
  # The plugin and the cluster
  kubectl assent version

  # Only the plugin
  kubectl assent version --client")]
    Version {
        /// Show only the plugin; do not contact the cluster
        #[arg(long)]
        client: bool,
    },
}

#[derive(Args, Clone, Debug)]
struct SubjectArgs {
    /// AI system
    #[arg(value_parser = system_name, add = ArgValueCompleter::new(completion::systems))]
    system: String,
    #[command(flatten)]
    how: How,
}

#[derive(Args, Clone, Debug)]
struct End {
    /// End of the approval. The risk level can end it earlier. Examples: 2027-03-31, 2027-03-31T12:00:00Z, 90d, 12h
    #[arg(long, value_name = "TIME", value_parser = until)]
    until: Option<(String, Until)>,
}

/// The options that the commands `approve`, `renew`, `reject` and `revoke` share.
#[derive(Args, Clone, Debug)]
struct How {
    /// Model version (default: the only one that the command can apply to)
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(completion::versions))]
    version: Option<String>,
    /// Role to decide in (default: the only required role that you hold)
    #[arg(long, add = ArgValueCompleter::new(completion::roles))]
    role: Option<String>,
    /// Reason, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Digest that you reviewed; the command fails if the version has another digest
    #[arg(long, value_name = "sha256:…")]
    digest: Option<Digest>,
    /// Do not ask for confirmation
    #[arg(short, long)]
    yes: bool,
    /// Show the full review: every control, requirement, field and digest
    #[arg(long)]
    full: bool,
    /// Sign with an SSH key listed in the role; anyone may then apply the output file
    #[arg(long, value_name = "FILE", requires = "to")]
    ssh_key: Option<PathBuf>,
    /// With --ssh-key: output file; nothing is recorded in the cluster
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
        match self.request(act, system, until) {
            (request, Some(by)) => offline_sign::sign(session, request, &by).await,
            (request, None) => sign::sign(session, request).await,
        }
    }

    fn request(
        self,
        act: Act,
        system: String,
        until: Option<(String, Until)>,
    ) -> (DecisionRequest, Option<Detached>) {
        let Self { version, role, reason, digest, yes, full, ssh_key, to } = self;
        let by = ssh_key.zip(to).map(|(key, to)| Detached { key: SshKey(key), to });
        let request =
            DecisionRequest { act, system, version, role, until, reason, digest, yes, full, walks: false };
        (request, by)
    }
}

fn until(text: &str) -> Result<(String, Until), time::NotAnEnd> {
    Ok((text.to_owned(), text.parse()?))
}

fn target(command: &'static str, kind: String, name: Option<&str>) -> Result<Target> {
    Target::parse(&kind, name).map_err(|why| Error::Flag { flag: command, value: kind, why })
}

/// Runs the command that the command line names.
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
        Command::Assess(args) => assess::assess(&connection.session().await?, &args).await,
        Command::Attest(args) => attest::attest(&connection.session().await?, &args).await,
        Command::Certify(args) => certify::certify(&connection.session().await?, &args).await,
        Command::Pause(args) => incident::pause(&connection.session().await?, &args).await,
        Command::Rollback(args) => incident::rollback(&connection.session().await?, &args).await,
        Command::Incident(command) => incident::incident(&connection.session().await?, &command).await,
        Command::Resume(args) => Box::pin(incident::resume(&connection.session().await?, &args)).await,
        Command::Override(args) => overrides::overrides(&connection.session().await?, &args).await,
        Command::Record(command) => record::record(&command),
        Command::Monitor(MonitorCommand::Check(args)) => {
            monitor::check(&args, &connection.offline_namespace(), &connection.offline_place())
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
            let (namespace, place) = (connection.offline_namespace(), connection.offline_place());
            let request =
                check::CheckRequest { paths: filename, recursive, namespace, place, fail_on, format: output };
            check::check(&request)
        }
        Command::Capture { kind, name, filename, system, version, output } => {
            let request = capture::CaptureRequest { system, version, format: output };
            if let Some(file) = filename {
                let (namespace, place) = (connection.offline_namespace(), connection.offline_place());
                return capture::capture_file(&file, (&namespace, &place), &request);
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
    use crate::cli::fixtures::{PLACE, assert_repeated};

    /// The same arguments as those of the command `renew`.
    #[derive(Args)]
    struct RenewArgs {
        #[command(flatten)]
        subject: SubjectArgs,
        #[command(flatten)]
        end: End,
    }

    #[test]
    fn proposed_decision_keeps_every_typed_flag() {
        let digest = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
        let arguments = format!(
            "chat --version v1 --role ethics-board --until 90d --reason tested --digest {digest} --full \
             --ssh-key key --to approval.yaml"
        );
        assert_repeated("renew", &arguments, |args: &RenewArgs| {
            let SubjectArgs { system, how } = args.subject.clone();
            let (request, by) = how.request(Act::Renew, system, args.end.until.clone());
            by.expect("a key").typed(&request, PLACE)
        });
    }

    #[test]
    fn the_command_line_definition_is_valid() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example() {
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
    fn every_example_parses() {
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
            // The shell handles a redirection or a pipe. So the parser of the plugin gets only the words before `>` or
            // `|`.
            let words = words.skip(1).take_while(|word| word != ">" && word != "|").collect::<Vec<_>>();
            Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{example}: {error}"));
        }
    }
}
