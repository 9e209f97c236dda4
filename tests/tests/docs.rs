//! Runs the commands of README.md and docs/ on a real control plane, and compares their output with the documented
//! output. The order of the documents is the order of the links in docs/README.md. An HTML comment above a block of
//! commands says how to run the block:
//!
//! ````text
//! <!-- run as alice -->                             as this person (without a comment: as admin)
//! <!-- run as alice, who types credit-scorer -->    on a terminal, with this answer to a question
//! <!-- run as dev, who is refused -->               every command must fail
//! <!-- not run: it pulls an image -->               the test leaves this block out
//! ````
//!
//! A block `sh` is one script. In a block `console`, each command begins with `$ `, and its expected output follows. In
//! this output, … stands for any text. The comparison treats any white space as one space, because the width of a table
//! column depends on the values in the column.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use assent_tests::{Assent, ControlPlane, ON_A_TERMINAL, Options, Person, binaries, root};
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;
use tokio::time::timeout;

/// The timeout of a command. This time is longer than the timeout of every `kubectl wait` in the documents.
const TIMEOUT: Duration = Duration::from_mins(3);

fn main() -> Result<ExitCode> {
    // Only one thread, because each document continues with the cluster state of the previous document.
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    std::env::set_current_dir(root())?;
    let runtime = Runtime::new()?;
    let cluster = if arguments.list { None } else { Some(runtime.block_on(cluster())?) };
    let stage = Arc::new(Stage { runtime, cluster, run: AtomicUsize::new(0), not_run: AtomicUsize::new(0) });
    let failed = |error: anyhow::Error| Failed::from(format!("{error:#}"));
    let mut trials = vec![Trial::test("every link has a target", move || links().map_err(failed))];
    for document in in_order()? {
        let stage = Arc::clone(&stage);
        let name = document.display().to_string();
        trials.push(Trial::test(name, move || stage.run_document(&document).map_err(failed)));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    let (run, not_run) = (stage.run.load(Relaxed), stage.not_run.load(Relaxed));
    println!("{run} blocks of commands ran, {not_run} did not\n");
    Ok(conclusion.exit_code())
}

async fn cluster() -> Result<(ControlPlane, Assent)> {
    let options = Options { path: vec![binaries()?], ..Options::default() };
    let cluster = ControlPlane::start_with(options).await?;
    let assent = Assent::install(&cluster).await?;
    Ok((cluster, assent))
}

/// Returns README.md and docs/README.md, and then the other documents in the order of the links in docs/README.md.
/// Fails if docs/README.md does not link to every document in docs/.
fn in_order() -> Result<Vec<PathBuf>> {
    let mut documents = vec![PathBuf::from("README.md"), PathBuf::from("docs/README.md")];
    for link in links_of(&fs::read_to_string("docs/README.md")?) {
        let document = Path::new("docs").join(&link);
        let is_document = document.extension().is_some_and(|extension| extension == "md");
        if is_document && !link.contains('/') && !documents.contains(&document) {
            documents.push(document);
        }
    }
    for entry in fs::read_dir("docs")? {
        let path = entry?.path();
        let linked = path.extension().is_none_or(|e| e != "md") || documents.contains(&path);
        ensure!(linked, "docs/README.md has no link to {}", path.display());
    }
    Ok(documents)
}

/// A fenced block of commands in a document.
struct Block {
    line: usize,
    /// The text of the HTML comment above the block. Empty if there is no comment.
    directive: String,
    kind: String,
    text: String,
}

fn blocks(document: &str) -> Vec<Block> {
    let (mut blocks, mut open, mut directive) = (Vec::new(), None::<Block>, String::new());
    for (line, text) in (1..).zip(document.lines()) {
        match (&mut open, text.strip_prefix("```")) {
            (Some(_), Some("")) => blocks.extend(open.take()),
            (Some(block), _) => block.text.extend([text, "\n"]),
            (None, Some(kind)) => {
                let directive = std::mem::take(&mut directive);
                open = Some(Block { line, directive, kind: kind.to_owned(), text: String::new() });
            }
            (None, None) if text.is_empty() => {}
            (None, None) => {
                let comment = text.strip_prefix("<!-- ").and_then(|text| text.strip_suffix(" -->"));
                comment.unwrap_or_default().clone_into(&mut directive);
            }
        }
    }
    blocks.retain(|block| ["sh", "console"].contains(&&*block.kind));
    blocks
}

/// Returns the commands of a block, each with its expected output. A block `sh` is one command without expected output.
fn commands(block: &Block) -> Vec<(String, Option<String>)> {
    if block.kind == "sh" {
        return vec![(block.text.clone(), None)];
    }
    let mut commands: Vec<(String, Option<String>)> = Vec::new();
    for line in block.text.lines() {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push((command.to_owned(), Some(String::new()))),
            (None, Some((command, _))) if command.ends_with('\\') => command.extend(["\n", line]),
            (None, Some((_, Some(expected)))) => expected.extend([line, "\n"]),
            (None, _) => {}
        }
    }
    commands
}

/// Returns the output of a command without the log lines of kubectl's client library. For example, if a process ends
/// during a watch, the library prints `E1125 18:03:41.123456   99 reflector.go:204] …`.
fn without_logs(printed: &str) -> String {
    let is_log = |line: &str| {
        let Some((head, rest)) = line.split_once(' ') else { return false };
        let (level, date) = head.split_at_checked(1).unwrap_or_default();
        ["I", "W", "E"].contains(&level)
            && date.len() == 4
            && date.bytes().all(|byte| byte.is_ascii_digit())
            && rest.contains(".go:")
    };
    printed.split_inclusive('\n').filter(|line| !is_log(line)).collect()
}

/// Whether the printed output matches the documented output, in which … stands for any text.
fn is_match(printed: &str, expected: &str) -> bool {
    let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (printed, expected) = (squeeze(printed), squeeze(expected));
    let mut parts = expected.split('…').map(str::trim);
    let Some(mut rest) = printed.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        let at = if parts.peek().is_none() {
            rest.ends_with(part).then(|| rest.len() - part.len())
        } else {
            rest.find(part)
        };
        let Some(at) = at else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty()
}

/// The control plane on which all documents run, one after the other. `cluster` is `None` if the program only lists the
/// tests. `run` and `not_run` count the blocks of commands that ran and that did not run.
struct Stage {
    runtime: Runtime,
    cluster: Option<(ControlPlane, Assent)>,
    run: AtomicUsize,
    not_run: AtomicUsize,
}

impl Stage {
    /// Runs the blocks of a document, except the blocks with `not run`. Continues after a failure. The error lists all
    /// failures.
    fn run_document(&self, document: &Path) -> Result<()> {
        let mut failures = String::new();
        for block in blocks(&fs::read_to_string(document)?) {
            if block.directive.starts_with("not run: ") {
                self.not_run.fetch_add(1, Relaxed);
                continue;
            }
            self.run.fetch_add(1, Relaxed);
            if let Err(error) = self.runtime.block_on(self.block(&block)) {
                let _ = writeln!(failures, "{}:{}: {error:#}", document.display(), block.line);
            }
        }
        if failures.is_empty() { Ok(()) } else { bail!("{failures}") }
    }

    async fn block(&self, block: &Block) -> Result<()> {
        let (cluster, _) = self.cluster.as_ref().context("no control plane")?;
        let directive = if block.directive.is_empty() { "run as admin" } else { &block.directive };
        let directive = directive
            .strip_prefix("run as ")
            .context("the comment must begin with \"run as \" or \"not run: \"")?;
        let (who, how) = directive.split_once(", who ").unwrap_or((directive, ""));
        let person = Person::ALL
            .into_iter()
            .find(|p| p.name() == who)
            .context("the comment names an unknown person")?;
        let typed = how.strip_prefix("types ").map(|answer| format!("{answer}\n"));
        let refused = how == "is refused";
        ensure!(
            typed.is_some() || refused || how.is_empty(),
            "\"who {how}\" is unknown: use \"types ANSWER\" or \"is refused\""
        );
        let mut failures = String::new();
        for (command, expected) in commands(block) {
            let script = format!("set -euo pipefail; export NO_COLOR=1; exec 2>&1\n{command}");
            let args = if typed.is_some() { ["-c", ON_A_TERMINAL, &script] } else { ["-c", &script, "bash"] };
            let run = cluster.run(cluster.account(person), "bash", &args, typed.as_deref());
            let output = timeout(TIMEOUT, run).await.with_context(|| format!("timeout: {command}"))??;
            let (status, printed) = (output.status, without_logs(&output.stdout));
            ensure!(status.success() != refused, "{command}: {status}\n{printed}");
            if let Some(expected) = expected.filter(|expected| !is_match(&printed, expected)) {
                let _ = write!(
                    failures,
                    "{command}\n--- expected output\n{expected}--- actual output\n{printed}---\n"
                );
            }
        }
        if failures.is_empty() { Ok(()) } else { bail!("{failures}") }
    }
}

/// Returns the targets of the local links of a document, without anchors.
fn links_of(document: &str) -> Vec<String> {
    let targets = document.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
    let targets = targets.filter(|t| !t.contains("://") && !t.starts_with('#') && !t.starts_with("mailto:"));
    targets.filter_map(|t| t.split('#').next()).map(str::to_owned).collect()
}

fn links() -> Result<()> {
    let listed = Command::new("git").args(["ls-files", "*.md"]).output()?;
    ensure!(listed.status.success(), "git ls-files: {}", listed.status);
    for document in String::from_utf8(listed.stdout)?.lines().map(Path::new) {
        let directory = document.parent().unwrap_or(Path::new(""));
        for link in links_of(&fs::read_to_string(document)?) {
            ensure!(
                directory.join(&link).exists(),
                "{} links to {link}, which does not exist",
                document.display()
            );
        }
    }
    Ok(())
}
