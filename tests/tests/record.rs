//! A record that this project writes, verified by other people's programs.
//!
//! ```text
//!  Log ─► export ─┬─► Tessera fsck, torchwood, golang.org/x/mod ─► accept; refuse each change
//!                 ├─► Tessera appender: the same entries give the same files
//!                 └─► jq, openssl: the disclosures
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use assent::record::{
    Change, Declared, Directory, DurableDirectory, Fact, HeadError, HeadStore, Log, NewEntry, Personal,
    Proof, Purpose, Revision, SigningKey, SwapError, TrustPolicy, export, verify,
};
use assent_tests::OtherVerifiers;
use serde_json::json;
use tempfile::TempDir;

const ORIGIN: &str = "record.example.org/cluster-a";

/// The head of the log of one test.
#[derive(Debug, Default)]
struct Heads(Mutex<Option<(String, u64)>>);

impl HeadStore for Heads {
    fn read(&self) -> Result<Option<(String, Revision)>, HeadError> {
        let head = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(head.as_ref().map(|(head, revision)| (head.clone(), Revision(revision.to_string()))))
    }

    fn swap(&self, expected: Option<&Revision>, checkpoint: &str) -> Result<Revision, SwapError> {
        let mut head = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stored = head.as_ref().map(|(_, revision)| Revision(revision.to_string()));
        if stored.as_ref() != expected {
            return Err(SwapError::Lost);
        }
        let next = head.as_ref().map_or(0, |(_, revision)| revision + 1);
        *head = Some((checkpoint.to_owned(), next));
        Ok(Revision(next.to_string()))
    }
}

/// An exported log.
struct Exported {
    directory: TempDir,
    /// The private key.
    secret: String,
    /// The public key.
    key: String,
}

impl Exported {
    /// Writes and exports a log. Every hundredth entry has personal data.
    fn with_entries(size: u64) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let [volume, target] = ["volume", "export"].map(|name| directory.path().join(name));
        fs::create_dir(&volume)?;
        fs::create_dir(&target)?;
        let key = SigningKey::generate(ORIGIN.parse()?, Purpose::Note)?;
        let (secret, public) = (key.secret_text(), key.verifier().clone());
        let log = Log::create(DurableDirectory::open(volume)?, Heads::default(), key)?;
        let facts = (0..size).map(declared).collect::<Result<Vec<_>>>()?;
        let log = log.append(&facts, "2026-11-29T21:00:00Z".parse()?)?;
        let target = DurableDirectory::open(target)?;
        export(log.storage(), &public, &target)?;
        target.close()?;
        Ok(Self { directory, secret, key: public.to_string() })
    }

    /// A file or directory of the export.
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("export").join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Writes the proof of an entry. Returns its path.
    fn proof(&self, index: u64) -> Result<String> {
        let files = Directory::new(self.path(""));
        let checkpoint = assent::record::Checkpoint::parse(&fs::read(self.path("checkpoint"))?)?;
        let path = self.directory.path().join(format!("{index}.tlog-proof"));
        fs::write(&path, Proof::new(&files, checkpoint, index)?.to_string())?;
        Ok(path.display().to_string())
    }
}

fn declared(number: u64) -> Result<NewEntry> {
    let fact = Fact::Declared {
        object: Declared::AISystem,
        namespace: Some("lending".to_owned()),
        name: format!("system-{number}"),
        uid: format!("00000000-0000-0000-0000-{number:012}"),
        generation: 1,
        change: Change::Created,
    };
    let personal = number.is_multiple_of(100).then(|| ("author".to_owned(), json!("alice")));
    let personal: Personal = personal.into_iter().collect();
    Ok(NewEntry::new(format!("declared-{number}").parse()?, fact, Vec::new(), personal)?)
}

fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    Ok(found)
}

#[tokio::test]
async fn other_programs_accept_an_intact_record() -> Result<()> {
    let others = OtherVerifiers::build().await?;
    for size in [1, 255, 256, 257, 700] {
        let exported = Exported::with_entries(size)?;
        others.run(&["log", &exported.text(""), &exported.key]).await?;
        others.run(&["note", &exported.text("checkpoint"), &exported.key]).await?;
        for index in [0, size / 2, size - 1] {
            others.run(&["proof", &exported.text("policy.txt"), &exported.proof(index)?]).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_appender_of_tessera_writes_the_same_files() -> Result<()> {
    let others = OtherVerifiers::build().await?;
    for size in [1, 256, 257, 700] {
        let exported = Exported::with_entries(size)?;
        let tessera = exported.directory.path().join("tessera");
        let output = tessera.display().to_string();
        others.run(&["append", &exported.text(""), &output, &exported.secret]).await?;
        for file in files(&exported.path("tile"))? {
            let relative = file.strip_prefix(exported.path(""))?;
            let theirs = fs::read(tessera.join(relative)).with_context(|| relative.display().to_string())?;
            ensure!(fs::read(&file)? == theirs, "{} differs with {size} entries", relative.display());
        }
    }
    Ok(())
}

#[tokio::test]
async fn other_programs_refuse_each_change() -> Result<()> {
    let others = OtherVerifiers::build().await?;
    let exported = Exported::with_entries(257)?;
    let directory = exported.text("");
    for name in ["checkpoint", "tile/entries/000", "tile/entries/001.p/1", "tile/0/000", "tile/1/000.p/1"] {
        let (path, content) = (exported.path(name), fs::read(exported.path(name))?);
        let mut changed = content.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        fs::write(&path, changed)?;
        let accepted = others.run(&["log", &directory, &exported.key]).await;
        ensure!(accepted.is_err(), "{name} was changed");
        fs::remove_file(&path)?;
        let accepted = others.run(&["log", &directory, &exported.key]).await;
        ensure!(accepted.is_err(), "{name} was removed");
        fs::write(&path, content)?;
    }
    let foreign = Exported::with_entries(1)?.key;
    ensure!(others.run(&["log", &directory, &foreign]).await.is_err(), "the key is another key");
    let proof = exported.proof(7)?;
    let text = fs::read_to_string(&proof)?;
    for (from, to) in [("index 7", "index 8"), ("\n257\n", "\n258\n"), ("extra ey", "extra eY")] {
        ensure!(text.contains(from), "the proof has no {from:?}");
        fs::write(&proof, text.replace(from, to))?;
        let accepted = others.run(&["proof", &exported.text("policy.txt"), &proof]).await;
        ensure!(accepted.is_err(), "{from:?} was replaced by {to:?}");
    }
    others.run(&["log", &directory, &exported.key]).await?;
    Ok(())
}

#[tokio::test]
async fn a_cosignature_of_another_program_meets_the_quorum() -> Result<()> {
    let others = OtherVerifiers::build().await?;
    let exported = Exported::with_entries(300)?;
    let checkpoint = exported.text("checkpoint");
    let before = fs::read(&checkpoint)?;
    let witness = others.run(&["cosign", &checkpoint, &exported.key, "witness.example.org/w1"]).await?;
    let policy = format!("log {}\nwitness w1 {witness}group g all w1\nquorum g\n", exported.key);
    fs::write(exported.path("policy.txt"), &policy)?;
    others.run(&["proof", &exported.text("policy.txt"), &exported.proof(42)?]).await?;
    let (files, policy) = (Directory::new(exported.path("")), TrustPolicy::parse(policy.as_bytes())?);
    let verified = verify(&files, &policy, None, &mut |_, _| {})?;
    ensure!(verified.findings.is_empty(), "{:?}", verified.findings);
    ensure!(verified.cosignatures.len() == 1, "{:?}", verified.cosignatures);
    fs::write(&checkpoint, before)?;
    ensure!(verify(&files, &policy, None, &mut |_, _| {})?.found == 1, "the cosignature is missing");
    let accepted = others.run(&["proof", &exported.text("policy.txt"), &exported.proof(42)?]).await;
    ensure!(accepted.is_err(), "the cosignature is missing");
    Ok(())
}

/// Runs the commands for disclosures in VERIFY.md, with the identity of an entry.
#[test]
fn the_documented_commands_print_the_digest_of_a_disclosure() -> Result<()> {
    let exported = Exported::with_entries(1)?;
    let document = fs::read_to_string(exported.path("VERIFY.md"))?;
    let lines = document.lines().skip_while(|line| !line.contains("jq -r '.disclosures[]'"));
    let block: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
    let script = block.join("\n").replace("/ID.json", "/declared-0.json");
    let output = Command::new("bash").args(["-c", &script]).current_dir(exported.path("")).output()?;
    let output = String::from_utf8(output.stdout)?;
    let digest = output.lines().next().context("the script printed nothing")?;
    let entries = fs::read(exported.path("tile/entries/000.p/1"))?;
    let entries = String::from_utf8_lossy(&entries);
    ensure!(entries.contains(&format!("\"_sd\":[\"{digest}\"]")), "{output}");
    ensure!(output.contains("\"author\",\"alice\""), "{output}");
    Ok(())
}
