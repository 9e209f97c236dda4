//! Tests of the log as a whole.

mod attacks;
mod crashes;
mod formats;
mod properties;
mod restored;
mod stores;

use std::path::Path;

use jiff::Timestamp;
use serde_json::json;

use super::{
    Checkpoint, Declared, Directory, DurableDirectory, EntryId, Fact, Files, Finding, Head, Log, NewEntry,
    Personal, Purpose, SigningKey, Storage, TrustPolicy, Verified, VerifierKey, Version, edge::Edge, export,
    finding::entry, verify,
};
use crate::api::Decision;
use stores::{Heads, Memory};

const ORIGIN: &str = "record.example.org/cluster-a";

fn key() -> SigningKey {
    SigningKey::of(ORIGIN.parse().expect("a name"), Purpose::Note, [7; 32]).expect("a key")
}

/// The key after a change of the key.
fn next_key() -> SigningKey {
    SigningKey::of(ORIGIN.parse().expect("a name"), Purpose::Note, [8; 32]).expect("a key")
}

fn other_key() -> SigningKey {
    SigningKey::generate(ORIGIN.parse().expect("a name"), Purpose::Note).expect("a key")
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).expect("a time")
}

fn id(text: &str) -> EntryId {
    text.parse().expect("an identity")
}

fn version() -> Version {
    Version {
        namespace: "lending".to_owned(),
        system: "credit-scorer".to_owned(),
        model_version: "credit-scorer-v1".to_owned(),
        subject_digest: format!("sha256:{}", "ab".repeat(32)).parse().expect("a digest"),
    }
}

fn fact(name: &str, fact: Fact, rests_on: &[&str]) -> NewEntry {
    let rests_on = rests_on.iter().map(|on| id(on)).collect();
    NewEntry::new(id(name), fact, rests_on, Personal::new()).expect("a short entry")
}

/// A decision with personal data.
fn decision(name: &str, decision: Decision) -> NewEntry {
    let fact = Fact::Decided {
        version: version(),
        decision,
        proven: true,
        role: "risk-officer".to_owned(),
        decided: at(0),
        not_after: None,
    };
    let personal = [("user", json!("alice")), ("reason", json!("IA-2026-014 reviewed"))];
    let personal = personal.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    NewEntry::new(id(name), fact, Vec::new(), personal).expect("a short entry")
}

fn cleared(name: &str, rests_on: &[&str]) -> NewEntry {
    fact(name, Fact::Cleared { version: version(), until: None }, rests_on)
}

fn declared(number: u64) -> NewEntry {
    let name = format!("declared-{number}");
    let declared = Fact::Declared {
        object: Declared::AISystem,
        namespace: Some("lending".to_owned()),
        name: format!("system-{number}"),
        uid: format!("00000000-0000-0000-0000-{number:012}"),
        generation: 1,
        change: super::Change::Created,
    };
    fact(&name, declared, &[])
}

/// A decision, the clearance that rests on it, and the loss of this clearance.
fn life() -> Vec<NewEntry> {
    let lost = Fact::Lost { version: version(), reason: "Revoked".to_owned() };
    vec![
        decision("decided-1", Decision::Approve),
        cleared("cleared-1", &["decided-1"]),
        decision("decided-2", Decision::Revoke),
        fact("lost-1", lost, &["cleared-1", "decided-2"]),
    ]
}

fn policy() -> TrustPolicy {
    TrustPolicy::of_log(key().verifier().clone())
}

type MemoryLog = Log<Memory, Heads>;

/// A log in memory with `size` entries: a life, and then declarations. The second half is a second batch.
fn log(size: u64) -> MemoryLog {
    let log = Log::create(Memory::default(), Heads::default(), key()).expect("a new log");
    let mut facts = life();
    facts.extend((4..size).map(declared));
    let (first, second) = facts.split_at(facts.len() / 2);
    let log = log.append(first, at(1)).expect("the first batch");
    log.append(second, at(2)).expect("the second batch")
}

/// A log of these entries that the key signed, as its owner could write it.
fn forged(entries: &[Vec<u8>], key: &SigningKey) -> Memory {
    let (files, mut edge, mut full) = (Memory::default(), Edge::default(), Vec::new());
    for entry in entries {
        edge.push(entry, &mut full);
    }
    for (tile, content) in full.into_iter().chain(edge.partial()) {
        write(&files, &tile.path(), &content);
    }
    let head = Head {
        origin: key.verifier().name().clone(),
        size: edge.frontier().size(),
        root: edge.frontier().root(),
    };
    write(&files, "checkpoint", Checkpoint::sign(head, &[key]).to_string().as_bytes());
    files
}

/// The texts of the entries of a log.
fn texts(files: &impl Files, size: u64) -> Vec<Vec<u8>> {
    (0..size).map(|index| entry(files, index, size).expect("an entry")).collect()
}

/// Exports a log to a directory.
fn exported(log: &MemoryLog, key: &VerifierKey, directory: &Path) {
    let target = DurableDirectory::open(directory).expect("a directory");
    export(log.storage(), key, &target).expect("an export");
    target.close().expect("no incomplete file");
}

fn verified(directory: &Path) -> Verified {
    verified_with(directory, &policy(), None)
}

fn verified_with(directory: &Path, policy: &TrustPolicy, kept: Option<&Checkpoint>) -> Verified {
    verify(&Directory::new(directory), policy, kept, &mut |_, _| {}).expect("a checkpoint")
}

fn findings(verified: &Verified) -> Vec<String> {
    verified.findings.iter().map(Finding::to_string).collect()
}

fn write(storage: &impl Storage, path: &str, content: &[u8]) {
    storage.replace(path, content).expect("a file");
}
