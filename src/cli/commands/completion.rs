//! Completes the command line in every shell that kubectl supports.
//!
//! kubectl finds the program `kubectl_complete-assent` in `PATH` and runs the program with the typed words. The program
//! runs `kubectl-assent __complete`.
//!
//! ```text
//!  kubectl assent approve cre⇥ ─► kubectl_complete-assent approve cre ─► kubectl-assent __complete -- approve cre
//! ```
//!
//! clap completes commands, flags and their fixed values. The names of objects come from the cluster.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fmt::Debug,
    thread,
    time::Duration,
};

use clap::{Arg, CommandFactory, Parser};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, complete};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{
    Api, Resource, ResourceExt,
    api::{DynamicObject, ListParams},
};
use serde::de::DeserializeOwned;

use crate::{
    api::{AISystem, Incident, ModelVersion, Override, RiskLevel},
    cli::{
        Cli,
        connect::{
            session::{Connection, Session},
            target::{Target, WORKLOADS},
        },
        error::{Error, Result},
    },
};

pub const SCRIPT: &str = r#"#!/bin/sh
# kubectl runs this program to complete `kubectl assent`. Save it in PATH as the executable file kubectl_complete-assent.
exec kubectl-assent __complete -- "$@"
"#;

/// `ShellCompDirectiveNoFileComp` of cobra, the command-line library of kubectl: offer no file names.
const NO_FILES: &str = ":4";

/// `ShellCompDirectiveNoFileComp` and `ShellCompDirectiveNoSpace` of cobra: offer no file names, and add no space after
/// the completion.
const NO_FILES_NO_SPACE: &str = ":6";

/// The longest time for a request of names from the cluster. This time is short, because a person waits at the prompt.
const CLUSTER_TIMEOUT: Duration = Duration::from_secs(2);

/// Returns the completions of the last of `words`, one per line. The help of a completion follows after a tab. The last
/// line is a directive for cobra, such as `NO_FILES`.
pub fn candidates(words: Vec<String>) -> Result<String> {
    let args: Vec<OsString> =
        [Cli::command().get_name().to_owned()].into_iter().chain(words).map(Into::into).collect();
    let last = args.len().saturating_sub(1);
    let completer = |arg: Arg| arg.add(ArgValueCompleter::new(namespaces));
    let found = complete(&mut Cli::command().mut_arg("namespace", completer), args, last, None)
        .map_err(Error::Input)?;
    let line = |candidate: &CompletionCandidate| {
        let value = candidate.get_value().to_string_lossy().into_owned();
        let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
        match help.lines().next() {
            Some(help) => format!("{value}\t{help}\n"),
            None => format!("{value}\n"),
        }
    };
    let shown: Vec<_> = found.iter().filter(|candidate| !candidate.is_hide_set()).collect();
    let is_part = |candidate: &&CompletionCandidate| candidate.get_value().to_string_lossy().ends_with('/');
    let directive = if !shown.is_empty() && shown.iter().all(is_part) { NO_FILES_NO_SPACE } else { NO_FILES };
    let lines: String = shown.into_iter().map(line).collect();
    Ok(lines + directive + "\n")
}

pub fn systems(current: &OsStr) -> Vec<CompletionCandidate> {
    offered(current, |session| names(Api::<AISystem>::namespaced(session.client, &session.namespace)))
}

pub fn versions(current: &OsStr) -> Vec<CompletionCandidate> {
    offered(current, |session| names(Api::<ModelVersion>::namespaced(session.client, &session.namespace)))
}

pub fn incidents(current: &OsStr) -> Vec<CompletionCandidate> {
    offered(current, |session| names(Api::<Incident>::namespaced(session.client, &session.namespace)))
}

pub fn overrides(current: &OsStr) -> Vec<CompletionCandidate> {
    offered(current, |session| names(Api::<Override>::namespaced(session.client, &session.namespace)))
}

pub fn namespaces(current: &OsStr) -> Vec<CompletionCandidate> {
    offered(current, |session| names(Api::<Namespace>::all(session.client)))
}

pub fn levels(current: &OsStr) -> Vec<CompletionCandidate> {
    offered(current, |session| names(Api::<RiskLevel>::all(session.client)))
}

pub fn roles(current: &OsStr) -> Vec<CompletionCandidate> {
    offered(current, |session| async {
        let levels = Api::<RiskLevel>::all(session.client).list(&ListParams::default()).await.ok()?;
        let roles = levels.items.into_iter().flat_map(|level| {
            let approvers = level.spec.approvals.into_iter().map(|required| required.role);
            let assessors = level.spec.assessments.into_iter().map(|required| required.role);
            let resumes = level.spec.incidents.into_iter().flat_map(|rules| {
                rules.resume.into_iter().chain(rules.review.into_iter().flat_map(|review| review.roles))
            });
            let overrides = level.spec.overrides.into_iter().flat_map(|rules| {
                rules.roles.into_iter().map(|required| required.role).chain(rules.review.roles)
            });
            let certifiers = level.spec.certification_role;
            let signers = approvers.chain(assessors).chain(certifiers);
            signers.chain(resumes.map(|required| required.role)).chain(overrides)
        });
        Some(roles.collect::<BTreeSet<_>>().into_iter().collect())
    })
}

/// Completes `KIND/NAME`: first the kind, then the name of an object of this kind.
pub fn targets(current: &OsStr) -> Vec<CompletionCandidate> {
    let Some((kind, _)) = current.to_str().and_then(|current| current.split_once('/')) else {
        let current = current.to_string_lossy();
        let kinds = ["aisystem/", "modelversion/", "pod/"].into_iter().map(str::to_owned);
        let kinds = kinds.chain(WORKLOADS.iter().map(|kind| format!("{}/", kind.kind.to_lowercase())));
        return kinds.filter(|kind| kind.starts_with(&*current)).map(CompletionCandidate::new).collect();
    };
    let Ok(target) = Target::parse(kind, Some("NAME")) else { return Vec::new() };
    let typed = format!("{kind}/");
    offered(current, |session| async move {
        let Session { client, namespace, .. } = session;
        let names = match target {
            Target::Pod(_) => names(Api::<Pod>::namespaced(client, &namespace)).await?,
            Target::System(_) => names(Api::<AISystem>::namespaced(client, &namespace)).await?,
            Target::Version(_) => names(Api::<ModelVersion>::namespaced(client, &namespace)).await?,
            Target::Workload(kind, _) => {
                names(Api::<DynamicObject>::namespaced_with(client, &namespace, &kind.resource())).await?
            }
            Target::Root(..) | Target::Image(_) => Vec::new(),
        };
        Some(names.into_iter().map(|name| format!("{typed}{name}")).collect())
    })
}

/// The names from the cluster that begin with `current`. Empty after an error or a timeout.
fn offered<F, A>(current: &OsStr, ask: F) -> Vec<CompletionCandidate>
where
    F: FnOnce(Session) -> A + Send + 'static,
    A: Future<Output = Option<Vec<String>>>,
{
    let Some(current) = current.to_str().map(str::to_owned) else { return Vec::new() };
    // The caller runs in a thread of a tokio runtime. Such a thread cannot block on a second runtime, so the request
    // gets a thread of its own.
    let asked = thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        let answer = async { ask(place(std::env::args())?.session().await.ok()?).await };
        runtime.block_on(async { tokio::time::timeout(CLUSTER_TIMEOUT, answer).await }).ok()?
    });
    let found = asked.join().ok().flatten().unwrap_or_default();
    found.into_iter().filter(|name| name.starts_with(&current)).map(CompletionCandidate::new).collect()
}

async fn names<K>(api: Api<K>) -> Option<Vec<String>>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let list = api.list_metadata(&ListParams::default()).await.ok()?;
    Some(list.items.iter().map(ResourceExt::name_any).collect())
}

/// Returns the connection flags in `words`. Ignores all other words, because clap cannot parse an incomplete command
/// line.
fn place(words: impl IntoIterator<Item = String>) -> Option<Connection> {
    #[derive(Parser)]
    struct Place {
        #[command(flatten)]
        connection: Connection,
    }
    let command = Place::command();
    let named = |flag: &str| {
        command.get_arguments().find(|arg| {
            arg.get_long().is_some_and(|long| flag.strip_prefix("--") == Some(long))
                || arg.get_short().is_some_and(|short| flag.strip_prefix('-') == Some(&short.to_string()))
        })
    };
    let (mut flags, mut words) = (vec![String::new()], words.into_iter());
    while let Some(word) = words.next() {
        let flag = word.split_once('=').map_or(&*word, |(flag, _)| flag);
        let Some(arg) = named(flag) else { continue };
        let apart = flag == word && arg.get_action().takes_values();
        flags.push(word);
        flags.extend(words.next().filter(|_| apart));
    }
    Place::try_parse_from(flags).ok().map(|place| place.connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(words: &[&str]) -> Vec<String> {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        let output = candidates(words).expect("candidates");
        output.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn commands_flags_and_values_are_completed() {
        assert!(complete(&["app"]).contains(&"approve".to_owned()));
        assert!(!complete(&[""]).contains(&"__complete".to_owned()), "it is a hidden command");
        assert!(complete(&["status", "--exp"]).contains(&"--expiring".to_owned()));
        assert_eq!(complete(&["check", "-o", "sa"]), ["sarif", ":4"]);
    }

    #[test]
    fn kind_takes_no_space_because_a_name_follows() {
        assert_eq!(complete(&["explain", "dep"]), ["deployment/", ":6"]);
        assert_eq!(complete(&["capture", "cron"]), ["cronjob/", ":6"]);
    }

    #[test]
    fn connection_flags_of_an_incomplete_line_are_parsed() {
        let words = ["approve", "-n", "lending", "--context=prod", "--until", "cre"].map(str::to_owned);
        let place = place(words).expect("a place");
        assert_eq!((place.namespace.as_deref(), place.context.as_deref()), (Some("lending"), Some("prod")));
    }
}
