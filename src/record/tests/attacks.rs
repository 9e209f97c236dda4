//! Every change of an export is detected, except changes that only a witness or a kept checkpoint can show.

use std::{fs, path::Path};

use super::{
    at, cleared, declared, exported, fact, findings, forged, id, key, log, next_key, other_key, policy,
    stores::Memory, texts, verified, verified_with, version, write,
};
use crate::api::Decision;
use crate::record::{
    Checkpoint, Entry, Fact, Finding, Log, NewEntry, Personal, Purpose, SigningKey, TrustPolicy,
    trust::cosigned_text, verify,
};

fn export_of(size: u64) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    exported(&log(size), key().verifier(), directory.path());
    directory
}

/// Every file of a directory.
fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn verified_in_memory(files: &Memory) -> Vec<String> {
    findings(&verify(files, &policy(), None, &mut |_, _| {}).expect("a checkpoint"))
}

/// The entries of a log after a change, signed again with the right key.
fn rewritten(size: u64, change: impl FnOnce(&mut Vec<Vec<u8>>)) -> Vec<String> {
    let log = log(size);
    let mut entries = texts(log.storage(), size);
    change(&mut entries);
    let files = forged(&entries, &key());
    for (path, content) in
        log.storage().files.borrow().iter().filter(|(path, _)| path.starts_with("content/"))
    {
        write(&files, path, content);
    }
    verified_in_memory(&files)
}

#[test]
fn an_intact_export_has_no_finding() {
    for size in [4, 5, 255, 256, 257, 600] {
        let directory = export_of(size);
        let verified = verified(directory.path());
        assert_eq!(findings(&verified), Vec::<String>::new(), "{size} entries");
        assert_eq!((verified.head.size, verified.disclosed), (size, 4));
    }
}

#[test]
fn an_empty_log_has_no_finding() {
    let log = Log::create(Memory::default(), super::Heads::default(), key()).expect("a log");
    assert_eq!(verified_in_memory(log.storage()), Vec::<String>::new());
}

/// The files that no checkpoint covers: an auditor takes the policy and the key from another source.
const OUTSIDE: [&str; 3] = ["VERIFY.md", "policy.txt", "log.vkey"];

/// The files of an export that a verification covers.
fn covered(directory: &Path) -> Vec<std::path::PathBuf> {
    let is_covered = |file: &std::path::PathBuf| !OUTSIDE.iter().any(|outside| file.ends_with(outside));
    files(directory).into_iter().filter(is_covered).collect()
}

fn is_intact(directory: &Path) -> bool {
    let found = verify(&super::Directory::new(directory), &policy(), None, &mut |_, _| {});
    found.is_ok_and(|verified| verified.found == 0)
}

#[test]
fn one_changed_bit_in_any_file_of_the_log_is_detected() {
    // The small log has only partial tiles, and the large one has full tiles.
    for (size, samples) in [(6, 150), (257, 4)] {
        let directory = export_of(size);
        for file in covered(directory.path()) {
            let content = fs::read(&file).expect("a file");
            // An odd step reaches every bit of a byte.
            for bit in (0..content.len() * 8).step_by((content.len() * 8 / samples) | 1) {
                let mut damaged = content.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                fs::write(&file, &damaged).expect("a file");
                assert!(!is_intact(directory.path()), "bit {bit} of {}", file.display());
            }
            fs::write(&file, &content).expect("a file");
        }
        assert!(is_intact(directory.path()));
    }
}

#[test]
fn a_missing_file_is_detected() {
    let directory = export_of(257);
    for file in covered(directory.path()) {
        let content = fs::read(&file).expect("a file");
        fs::remove_file(&file).expect("a file");
        assert!(!is_intact(directory.path()), "{}", file.display());
        fs::write(&file, &content).expect("a file");
    }
}

#[test]
fn an_added_file_is_detected() {
    for added in [
        "tile/entries/001",
        "tile/0/002.p/7",
        "content/00/x.json",
        "keys/3",
        "more.txt",
        "tile/entries/000.p/9",
    ] {
        let directory = export_of(300);
        let file = directory.path().join(added);
        fs::create_dir_all(file.parent().expect("a directory")).expect("a directory");
        fs::write(&file, "x").expect("a file");
        let found = findings(&verified(directory.path()));
        assert!(found.iter().any(|why| why.contains(added)), "{added}: {found:?}");
    }
}

#[test]
fn dropped_entries_are_detected_even_if_the_right_key_signs_again() {
    let found = rewritten(20, |entries| drop(entries.remove(7)));
    assert!(found.iter().any(|why| why.starts_with("entry 7 states the index 8")), "{found:?}");
}

#[test]
fn reordered_entries_are_detected_even_if_the_right_key_signs_again() {
    let found = rewritten(20, |entries| entries.swap(5, 6));
    assert!(found.iter().any(|why| why.starts_with("entry 5 states the index 6")), "{found:?}");
}

#[test]
fn duplicated_entries_are_detected_even_if_the_right_key_signs_again() {
    let found = rewritten(20, |entries| entries.push(entries[7].clone()));
    assert!(found.iter().any(|why| why.contains("has the identity declared-7 of entry 7")), "{found:?}");
}

#[test]
fn invented_entries_are_detected_without_the_key() {
    let log = log(20);
    let mut entries = texts(log.storage(), 20);
    let mut invented = Entry::parse(&entries[7]).expect("an entry");
    (invented.index, invented.id) = (20, id("declared-99"));
    entries.push(invented.text().expect("a text"));
    let found = verified_in_memory(&forged(&entries, &other_key()));
    assert!(
        found.iter().any(|why| why.contains("is not signed by a key that the policy trusts")),
        "{found:?}"
    );
}

#[test]
fn a_time_that_goes_back_is_detected() {
    let found = rewritten(20, |entries| {
        let mut entry = Entry::parse(&entries[15]).expect("an entry");
        entry.recorded = at(-5);
        entries[15] = entry.text().expect("a text");
    });
    assert!(found.iter().any(|why| why.starts_with("entry 15 was recorded at")), "{found:?}");
}

#[test]
fn a_text_that_is_not_canonical_is_detected() {
    let found = rewritten(20, |entries| entries[9].push(b' '));
    assert!(found.iter().any(|why| why.contains("entry 9 is not an entry of this log")), "{found:?}");
}

#[test]
fn a_foreign_key_is_detected() {
    let entries = texts(log(20).storage(), 20);
    let found = verified_in_memory(&forged(&entries, &other_key()));
    assert!(
        found.iter().any(|why| why.contains("is not signed by a key that the policy trusts")),
        "{found:?}"
    );
}

#[test]
fn a_log_of_another_origin_is_detected() {
    let name = "record.example.org/cluster-b".parse().expect("a name");
    let other = SigningKey::of(name, Purpose::Note, [7; 32]).expect("a key");
    let found = verified_in_memory(&forged(&texts(log(20).storage(), 20), &other));
    assert!(found.iter().any(|why| why.contains("cluster-b is not signed by")), "{found:?}");
}

/// The owner of the key can write another history. Without a witness and without a kept checkpoint, nobody can see it.
#[test]
fn a_rewritten_suffix_with_the_right_key_is_detected_only_with_a_kept_checkpoint_or_a_witness() {
    let honest = log(20);
    let kept = Checkpoint::parse(&honest.storage().files.borrow()["checkpoint"]).expect("a checkpoint");
    let mut entries = texts(honest.storage(), 20);
    for text in &mut entries[15..] {
        let mut entry = Entry::parse(text).expect("an entry");
        entry.id = id(&format!("{}-b", entry.id));
        *text = entry.text().expect("a text");
    }
    let forged = forged(&entries, &key());
    for (path, content) in
        honest.storage().files.borrow().iter().filter(|(path, _)| path.starts_with("content/"))
    {
        write(&forged, path, content);
    }
    assert_eq!(verified_in_memory(&forged), Vec::<String>::new());
    let with_kept = verify(&forged, &policy(), Some(&kept), &mut |_, _| {}).expect("a checkpoint");
    assert!(matches!(with_kept.findings[..], [Finding::Rewritten { size: 20 }]), "{:?}", with_kept.findings);
    let (policy, _) = witnessed();
    let with_witness = verify(&forged, &policy, None, &mut |_, _| {}).expect("a checkpoint");
    assert!(matches!(with_witness.findings[..], [Finding::Quorum]), "{:?}", with_witness.findings);
}

/// An old export is a whole log. Only a kept checkpoint, or the time of a witness, shows that it is old.
#[test]
fn an_old_checkpoint_is_detected_only_with_a_kept_checkpoint() {
    let old = export_of(20);
    let log = log(20).append(&[declared(99)], at(9)).expect("a batch");
    assert_eq!(findings(&verified(old.path())), Vec::<String>::new());
    let kept = Checkpoint::parse(&log.storage().files.borrow()["checkpoint"]).expect("a checkpoint");
    let found = verified_with(old.path(), &policy(), Some(&kept));
    assert!(
        matches!(found.findings[..], [Finding::Shortened { size: 20, kept: 21 }]),
        "{:?}",
        found.findings
    );
}

#[test]
fn an_old_checkpoint_beside_newer_tiles_is_detected() {
    let log = log(20);
    let old = log.storage().files.borrow()["checkpoint"].clone();
    let log = log.append(&[declared(99)], at(9)).expect("a batch");
    write(log.storage(), "checkpoint", &old);
    let found = verified_in_memory(log.storage());
    assert!(found.iter().any(|why| why.contains("tile/entries/000.p/21 does not belong")), "{found:?}");
}

#[test]
fn a_kept_checkpoint_of_the_same_log_has_no_finding() {
    let log = log(20);
    let kept = Checkpoint::parse(&log.storage().files.borrow()["checkpoint"]).expect("a checkpoint");
    let log = log.append(&[declared(99)], at(9)).expect("a batch");
    let found = verify(log.storage(), &policy(), Some(&kept), &mut |_, _| {}).expect("a checkpoint");
    assert_eq!(findings(&found), Vec::<String>::new());
}

/// A policy that requires one witness, and the key of the witness.
fn witnessed() -> (TrustPolicy, SigningKey) {
    let name = "witness.example.org/w1".parse().expect("a name");
    let witness = SigningKey::of(name, Purpose::Cosignature, [9; 32]).expect("a key");
    let text = format!("log {}\nwitness w1 {}\nquorum w1\n", key().verifier(), witness.verifier());
    (TrustPolicy::parse(text.as_bytes()).expect("a policy"), witness)
}

fn cosigned(checkpoint: &Checkpoint, witness: &SigningKey, seconds: u64) -> Checkpoint {
    let mut signature = seconds.to_be_bytes().to_vec();
    signature.extend(witness.sign(cosigned_text(checkpoint, seconds).as_bytes()));
    let mut checkpoint = checkpoint.clone();
    checkpoint.add_signature(witness.verifier(), signature);
    checkpoint
}

#[test]
fn a_cosigned_log_meets_the_quorum_and_a_changed_cosignature_does_not() {
    let log = log(20);
    let (policy, witness) = witnessed();
    let checkpoint = Checkpoint::parse(&log.storage().files.borrow()["checkpoint"]).expect("a checkpoint");
    let good = cosigned(&checkpoint, &witness, 1_790_000_100);
    write(log.storage(), "checkpoint", good.to_string().as_bytes());
    let found = verify(log.storage(), &policy, None, &mut |_, _| {}).expect("a checkpoint");
    assert_eq!(findings(&found), Vec::<String>::new());
    assert_eq!(found.cosignatures[0].seconds, 1_790_000_100);
    let mut signature = 1_790_000_101_u64.to_be_bytes().to_vec();
    signature.extend(witness.sign(cosigned_text(&checkpoint, 1_790_000_100).as_bytes()));
    let mut bad = checkpoint;
    bad.add_signature(witness.verifier(), signature);
    write(log.storage(), "checkpoint", bad.to_string().as_bytes());
    let found = verify(log.storage(), &policy, None, &mut |_, _| {}).expect("a checkpoint");
    assert!(
        matches!(found.findings[..], [Finding::Cosignature { .. }, Finding::Quorum]),
        "{:?}",
        found.findings
    );
}

#[test]
fn a_change_of_the_key_is_trusted_only_if_the_key_before_signed_it() {
    let log = log(20).rotate(id("key-1"), next_key(), at(9)).expect("a change");
    let log = log.append(&[declared(99)], at(10)).expect("a batch");
    assert_eq!(verified_in_memory(log.storage()), Vec::<String>::new());
    // An auditor who trusts only the new key accepts the log too.
    let new = TrustPolicy::of_log(next_key().verifier().clone());
    let found = verify(log.storage(), &new, None, &mut |_, _| {}).expect("a checkpoint");
    assert_eq!(findings(&found), Vec::<String>::new());
    // The key before can no longer sign.
    let mut stale = Checkpoint::parse(&log.storage().files.borrow()["checkpoint"]).expect("a checkpoint");
    stale = Checkpoint::sign(stale.head().clone(), &[&key()]);
    write(log.storage(), "checkpoint", stale.to_string().as_bytes());
    let found = verified_in_memory(log.storage());
    assert!(found.iter().any(|why| why.contains("is not signed by a key")), "{found:?}");
    // A thief without the key before cannot begin a new key.
    let handover = Checkpoint::parse(&log.storage().files.borrow()["keys/20"]).expect("a checkpoint");
    let forged = Checkpoint::sign(handover.head().clone(), &[&next_key()]);
    write(log.storage(), "keys/20", forged.to_string().as_bytes());
    let found = verified_in_memory(log.storage());
    assert!(found.iter().any(|why| why.contains("the change of the key in entry 20")), "{found:?}");
}

#[test]
fn a_missing_disclosure_is_accepted_only_if_an_entry_states_that_it_was_erased() {
    let log = log(20);
    let path = id("decided-1").content_path();
    log.storage().files.borrow_mut().remove(&path);
    let found = verified_in_memory(log.storage());
    assert!(found.iter().any(|why| why.contains("lack 2 values")), "{found:?}");
    let erased = Fact::Erased {
        fields: vec!["user".to_owned(), "reason".to_owned()],
        ground: "retention".to_owned(),
        role: "records-officer".to_owned(),
    };
    let log = log.append(&[fact("erased-1", erased, &["decided-1"])], at(9)).expect("a batch");
    let found = verify(log.storage(), &policy(), None, &mut |_, _| {}).expect("a checkpoint");
    assert_eq!(findings(&found), Vec::<String>::new());
    assert_eq!((found.disclosed, found.erased), (2, 2));
}

#[test]
fn disclosures_of_another_entry_are_detected() {
    let log = log(20);
    let other = log.storage().files.borrow()[&id("decided-2").content_path()].clone();
    write(log.storage(), &id("decided-1").content_path(), &other);
    let found = verified_in_memory(log.storage());
    assert!(found.iter().any(|why| why.contains("are those of decided-2")), "{found:?}");
}

/// Appends facts to a log, and returns the contradictions.
fn contradictions(facts: &[NewEntry]) -> Vec<String> {
    verified_in_memory(log(20).append(facts, at(9)).expect("a batch").storage())
}

#[test]
fn a_clearance_that_rests_on_a_revoked_approval_is_detected() {
    let found = contradictions(&[cleared("cleared-9", &["decided-1"])]);
    assert!(found.iter().any(|why| why.contains("entry 0, which was revoked before")), "{found:?}");
}

#[test]
fn a_clearance_that_rests_on_nothing_or_on_a_revocation_is_detected() {
    let found = contradictions(&[cleared("cleared-9", &[])]);
    assert!(found.iter().any(|why| why.contains("rests on no entry")), "{found:?}");
    let found = contradictions(&[cleared("cleared-9", &["decided-2"])]);
    assert!(found.iter().any(|why| why.contains("entry 2, which withholds a version")), "{found:?}");
}

#[test]
fn a_clearance_after_a_new_approval_is_accepted() {
    let later = NewEntry::new(
        id("decided-9"),
        Fact::Decided {
            version: version(),
            decision: Decision::Approve,
            proven: true,
            role: "risk-officer".to_owned(),
            decided: at(1),
            not_after: None,
        },
        Vec::new(),
        Personal::new(),
    );
    let facts = [later.expect("a short entry"), cleared("cleared-9", &["decided-9"])];
    assert_eq!(contradictions(&facts), Vec::<String>::new());
}

#[test]
fn a_loss_without_a_clearance_is_detected() {
    let lost = Fact::Lost { version: version(), reason: "Expired".to_owned() };
    let found = contradictions(&[fact("lost-9", lost, &["declared-7"])]);
    assert!(found.iter().any(|why| why.contains("the version is not cleared")), "{found:?}");
}

#[test]
fn an_entry_that_rests_on_a_later_entry_is_detected() {
    let found = rewritten(20, |entries| {
        let mut entry = Entry::parse(&entries[1]).expect("an entry");
        entry.rests_on = vec![5];
        entries[1] = entry.text().expect("a text");
    });
    assert!(
        found.iter().any(|why| why.contains("rests on entry 5, which does not exist before it")),
        "{found:?}"
    );
}

#[test]
fn no_personal_data_is_in_the_tiles() {
    let directory = export_of(20);
    for file in files(&directory.path().join("tile")) {
        let content = fs::read(&file).expect("a file");
        for name in ["alice", "IA-2026-014"] {
            assert!(
                !content.windows(name.len()).any(|window| window == name.as_bytes()),
                "{}",
                file.display()
            );
        }
    }
}
