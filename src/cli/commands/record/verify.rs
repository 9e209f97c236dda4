//! Verifies an export and prints what it proves, or why it proves nothing.

use std::{
    collections::BTreeMap,
    fs,
    io::{IsTerminal as _, stderr},
    path::Path,
    time::{Duration, Instant},
};

use k8s_openapi::jiff::Timestamp;
use serde::Serialize;

use super::{VerifyArgs, broken, policy, unreadable};
use crate::{
    cli::{
        error::{Error, Result},
        render::{
            output::{self, Prose},
            page::{BAD, GOOD, LOOK, PLAIN, Page},
            shell::quoted,
        },
    },
    record::{self, Checkpoint, Directory, GapCause, Verified},
};

/// How often the number of verified entries changes on a terminal.
const REFRESH: Duration = Duration::from_millis(500);

/// The result for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    origin: String,
    size: u64,
    root: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<Timestamp>,
    entries: BTreeMap<&'static str, u64>,
    disclosed: u64,
    erased: u64,
    /// The entries that changed the key.
    key_changes: Vec<u64>,
    /// The key that signs the checkpoint now.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    cosignatures: Vec<Cosigned>,
    gaps: Vec<Gap>,
    /// The number of findings. The list has the first of them.
    found: u64,
    findings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Cosigned {
    witness: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
struct Gap {
    index: u64,
    cause: GapCause,
}

/// Verifies an export. Fails if anything differs from what the checkpoint and the policy require.
pub fn verify(args: &VerifyArgs) -> Result<()> {
    let policy = policy(&args.directory, args.policy.as_deref())?;
    let kept = args.kept.as_deref().map(kept).transpose()?;
    let mut progress = Progress::default();
    let verified =
        record::verify(&Directory::new(&args.directory), &policy, kept.as_ref(), &mut |done, of| {
            progress.at(done, of);
        });
    progress.end();
    let report = Report::of(verified.map_err(broken(&args.directory))?);
    let text = match args.output {
        Prose::Text => page(&report, args),
        Prose::Json => output::json(&report)?,
        Prose::Yaml => output::yaml(&report)?,
    };
    anstream::print!("{text}");
    if report.found == 0 {
        return Ok(());
    }
    Err(Error::NotProven { directory: args.directory.display().to_string(), found: report.found })
}

fn kept(path: &Path) -> Result<Checkpoint> {
    let file = fs::read(path).map_err(|error| unreadable(path, &error))?;
    Checkpoint::parse(&file).map_err(|error| unreadable(path, &error))
}

impl Report {
    fn of(verified: Verified) -> Self {
        let cosigned = |cosignature: record::Cosignature| Cosigned {
            witness: cosignature.witness,
            at: i64::try_from(cosignature.seconds).ok().and_then(|at| Timestamp::from_second(at).ok()),
        };
        Self {
            origin: verified.head.origin.to_string(),
            size: verified.head.size,
            root: verified.head.root.to_string(),
            first: verified.times.map(|(first, _)| first),
            last: verified.times.map(|(_, last)| last),
            entries: verified.kinds,
            disclosed: verified.disclosed,
            erased: verified.erased,
            key_changes: verified.key_changes,
            key: verified.key.map(|key| key.to_string()),
            cosignatures: verified.cosignatures.into_iter().map(cosigned).collect(),
            gaps: verified.gaps.into_iter().map(|(index, cause)| Gap { index, cause }).collect(),
            found: verified.found,
            findings: verified.findings.iter().map(ToString::to_string).collect(),
        }
    }
}

fn page(report: &Report, args: &VerifyArgs) -> String {
    let mut page = Page::default();
    page.field("Log", &report.origin);
    page.field("Entries", &counts(report));
    if let Some((first, last)) = report.first.zip(report.last) {
        page.field("Recorded", &format!("{first} to {last}"));
    }
    page.field("Root", &report.root);
    page.blank();
    if report.found > 0 {
        report.findings.iter().for_each(|finding| page.mark("✗", BAD, finding));
        let more = report.found - report.findings.len() as u64;
        if more > 0 {
            page.mark("✗", BAD, &format!("{more} more findings"));
        }
        return page.finish();
    }
    page.mark("✓", GOOD, "every entry is there, unchanged and in order, and the checkpoint is signed");
    page.mark("✓", GOOD, &format!("the disclosures are those of the entries: {}", report.disclosed));
    page.mark("✓", GOOD, "each clearance rests on earlier decisions that were not revoked");
    for Cosigned { witness, at } in &report.cosignatures {
        let at = at.map_or("an unknown time".to_owned(), |at| at.to_string());
        page.mark("✓", GOOD, &format!("witness {witness} saw this checkpoint at {at}"));
    }
    limits(&mut page, report, args);
    page.finish()
}

/// Adds the facts that limit the result, such as gaps and a key that nobody else confirms.
fn limits(page: &mut Page, report: &Report, args: &VerifyArgs) {
    if report.erased > 0 {
        page.mark("!", LOOK, &format!("erased values: {}", report.erased));
    }
    for index in &report.key_changes {
        page.mark("!", LOOK, &format!("entry {index} changed the key, signed by the key before"));
    }
    for Gap { index, cause } in &report.gaps {
        page.mark("!", LOOK, &format!("entry {index} states a gap: {cause:?}"));
    }
    if args.policy.is_none() {
        let text = "the key is from the export itself. Get the policy from another source, and use --policy";
        page.mark("!", LOOK, text);
    }
    if report.cosignatures.is_empty() && args.kept.is_none() {
        let text = "no witness saw this checkpoint, so the owner of the key could have written another history. Keep the checkpoint, and verify the next export against it:";
        page.mark("!", LOOK, text);
        let checkpoint = args.directory.join("checkpoint").display().to_string();
        page.command(&format!("kubectl assent record verify NEXT --kept {}", quoted(&checkpoint)));
    }
    if report.size == 0 {
        page.mark("-", PLAIN, "the log has no entry");
    }
}

/// The number of entries, and of each kind.
fn counts(report: &Report) -> String {
    let kinds: Vec<_> = report.entries.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    if kinds.is_empty() { report.size.to_string() } else { format!("{} ({})", report.size, kinds.join(", ")) }
}

/// The number of verified entries, on one line of a terminal.
#[derive(Default)]
struct Progress {
    shown: Option<Instant>,
    begun: Option<Instant>,
}

impl Progress {
    fn at(&mut self, done: u64, of: u64) {
        // The clock is read once for each bundle, because it takes longer than a small entry.
        if !done.is_multiple_of(256) {
            return;
        }
        let now = Instant::now();
        let last = *self.shown.as_ref().unwrap_or(self.begun.get_or_insert(now));
        if now.duration_since(last) >= REFRESH && stderr().is_terminal() {
            self.shown = Some(now);
            anstream::eprint!("\r{done} of {of} entries verified");
        }
    }

    fn end(&self) {
        if self.shown.is_some() {
            anstream::eprint!("\r\u{1b}[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn report() -> Report {
        Report {
            origin: "record.example.org/cluster-a".to_owned(),
            size: 20,
            root: "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=".to_owned(),
            first: "2026-09-21T14:13:21Z".parse().ok(),
            last: "2026-09-21T14:13:22Z".parse().ok(),
            entries: BTreeMap::from([("cleared", 1), ("declared", 19)]),
            disclosed: 4,
            erased: 1,
            key_changes: vec![5],
            key: None,
            cosignatures: Vec::new(),
            gaps: vec![Gap { index: 7, cause: GapCause::HeadRestored }],
            found: 0,
            findings: Vec::new(),
        }
    }

    fn args() -> VerifyArgs {
        VerifyArgs { directory: PathBuf::from("export"), policy: None, kept: None, output: Prose::Text }
    }

    #[test]
    fn a_proven_record_shows_what_it_does_not_prove() {
        let page = page(&report(), &args());
        insta::assert_snapshot!(anstream::adapter::strip_str(&page).to_string());
    }

    #[test]
    fn a_changed_record_shows_only_the_findings() {
        let findings = vec!["tile/0/000 is missing, so entries may have been dropped".to_owned()];
        let page = page(&Report { found: 3, findings, ..report() }, &args());
        insta::assert_snapshot!(anstream::adapter::strip_str(&page).to_string());
    }
}
