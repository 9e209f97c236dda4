//! Completes what people type, in every shell in which kubectl completes: kubectl runs `kubectl_complete-assent`,
//! which it finds in `PATH`, with the words so far.
//!
//! ```text
//!  kubectl assent approve cre⇥ ─► kubectl_complete-assent approve cre ─► kubectl-assent __complete -- approve cre
//!                                                                        ├─ commands, flags, values   clap
//!                                                                        └─ names                     the cluster
//! ```

use std::{ffi::OsStr, ffi::OsString, fmt::Debug, thread, time::Duration};

use clap::{CommandFactory, Parser};
use clap_complete::engine::{CompletionCandidate, complete};
use kube::{Api, Resource, ResourceExt, api::ListParams, core::NamespaceResourceScope};
use serde::de::DeserializeOwned;

use super::{
    Cli,
    connect::Connection,
    error::{Error, Result},
};
use crate::api::{AISystem, ModelVersion};

/// What kubectl runs.
pub const SCRIPT: &str = r#"#!/bin/sh
# kubectl runs this to complete `kubectl assent`: it has to be in PATH, executable, as kubectl_complete-assent.
exec kubectl-assent __complete -- "$@"
"#;

/// No file names, whether or not there is a candidate (cobra's `ShellCompDirectiveNoFileComp`).
const NO_FILES: &str = ":4";

/// How long somebody who pressed a key waits for the cluster.
const PATIENCE: Duration = Duration::from_secs(2);

/// What may come in place of the last of `words`, one a line, and after a tab what it is for.
pub fn candidates(words: Vec<String>) -> Result<String> {
    let args: Vec<OsString> =
        [Cli::command().get_name().to_owned()].into_iter().chain(words).map(Into::into).collect();
    let last = args.len().saturating_sub(1);
    let found = complete(&mut Cli::command(), args, last, None).map_err(Error::Input)?;
    let line = |candidate: &CompletionCandidate| {
        let value = candidate.get_value().to_string_lossy().into_owned();
        let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
        match help.lines().next() {
            Some(help) => format!("{value}\t{help}\n"),
            None => format!("{value}\n"),
        }
    };
    let lines: String = found.iter().filter(|candidate| !candidate.is_hide_set()).map(line).collect();
    Ok(lines + NO_FILES + "\n")
}

/// The systems of the namespace that is meant.
pub fn systems(current: &OsStr) -> Vec<CompletionCandidate> {
    names::<AISystem>(current)
}

/// The versions of the namespace that is meant.
pub fn versions(current: &OsStr) -> Vec<CompletionCandidate> {
    names::<ModelVersion>(current)
}

/// The names of a kind that begin as `current` does; none where the cluster does not say in time.
fn names<K>(current: &OsStr) -> Vec<CompletionCandidate>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + 'static,
{
    let Some(current) = current.to_str().map(str::to_owned) else { return Vec::new() };
    // This is asked for in the middle of one runtime, and needs another.
    let asked = thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        runtime.block_on(async { tokio::time::timeout(PATIENCE, list::<K>()).await }).ok()?
    });
    let found = asked.join().ok().flatten().unwrap_or_default();
    found.into_iter().filter(|name| name.starts_with(&current)).map(CompletionCandidate::new).collect()
}

async fn list<K>() -> Option<Vec<String>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    let session = place(std::env::args())?.session().await.ok()?;
    let api = Api::<K>::namespaced(session.client, &session.namespace);
    let list = api.list_metadata(&ListParams::default()).await.ok()?;
    Some(list.items.iter().map(ResourceExt::name_any).collect())
}

/// Which cluster and namespace the words mean: a line that is not complete is none that can be parsed whole.
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
        let said = candidates(words).expect("candidates");
        let lines: Vec<_> =
            said.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect();
        assert_eq!(lines.last().map(String::as_str), Some(":4"));
        lines
    }

    #[test]
    fn commands_flags_and_values() {
        assert!(complete(&["app"]).contains(&"approve".to_owned()));
        assert!(!complete(&[""]).contains(&"__complete".to_owned()), "it is not for people");
        assert!(complete(&["status", "--exp"]).contains(&"--expiring".to_owned()));
        assert!(complete(&["check", "-o", "sa"]).contains(&"sarif".to_owned()));
    }

    #[test]
    fn the_place_of_a_line_that_is_not_complete() {
        let words = ["approve", "-n", "lending", "--context=prod", "--until", "cre"].map(str::to_owned);
        let place = place(words).expect("a place");
        assert_eq!((place.namespace.as_deref(), place.context.as_deref()), (Some("lending"), Some("prod")));
    }
}
