//! A crash at any point loses no entry, and writes none twice.

use super::{
    at, cleared, decision, declared, exported, findings, key, life, log, next_key,
    stores::{Heads, Life, Memory},
    verified,
};
use crate::api::Decision;
use crate::record::{AppendError, Log, NewEntry, OpenError, SwapError};

/// Kills the recorder after `changes` changes, and lets the next recorder record the same facts. Returns whether the
/// first recorder survived.
fn killed_after(changes: usize, facts: &[NewEntry]) -> bool {
    let (files, heads) = (Memory::default(), Heads::default());
    // Most of the tests must cross the border between two tiles.
    let begin: Vec<_> = (100..354).map(declared).collect();
    let first = Log::create(files.clone(), heads.clone(), key()).expect("a log");
    first.append(&begin, at(0)).expect("a batch");
    let life = Life::of(changes);
    let mortal = Log::open(files.with(life.clone()), heads.with(life), key(), at(1));
    let survived = mortal.is_ok_and(|log| log.append(facts, at(1)).is_ok());
    let log = Log::open(files.with(Life::default()), heads.with(Life::default()), key(), at(2));
    let log = log.unwrap_or_else(|error| panic!("after {changes} changes: {error}"));
    let log = log.append(facts, at(2)).unwrap_or_else(|error| panic!("after {changes} changes: {error}"));
    assert_eq!(log.size(), (begin.len() + facts.len()) as u64, "after {changes} changes");
    let directory = tempfile::tempdir().expect("a directory");
    exported(&log, key().verifier(), directory.path());
    let verified = verified(directory.path());
    assert_eq!(findings(&verified), Vec::<String>::new(), "after {changes} changes");
    assert_eq!(verified.disclosed, 4, "after {changes} changes");
    assert!(!files.files.borrow().keys().any(|path| path.starts_with("staging/")), "after {changes} changes");
    survived
}

#[test]
fn a_crash_at_any_point_loses_no_entry_and_writes_none_twice() {
    let facts = life();
    let survived = (0..100).take_while(|changes| !killed_after(*changes, &facts)).count();
    // Two contents, the batch, the head, six tiles, the checkpoint, and the removal of the batch and of partial tiles.
    assert!((12..40).contains(&survived), "{survived} crash points");
}

#[test]
fn a_crash_during_a_change_of_the_key_is_completed_with_the_key_that_the_head_has() {
    for changes in 0..12 {
        let log = log(20);
        let (files, heads, life) = (log.storage.clone(), log.heads.clone(), Life::of(changes));
        let mortal = Log::open(files.with(life.clone()), heads.with(life), key(), at(3));
        let _ = mortal.map(|log| log.rotate(super::id("key-1"), next_key(), at(3)));
        let open = |key| Log::open(files.with(Life::default()), heads.with(Life::default()), key, at(4));
        let log = match open(next_key()) {
            Ok(log) => log,
            Err(_) => open(key())
                .expect("the key before")
                .rotate(super::id("key-1"), next_key(), at(4))
                .expect("a change"),
        };
        let log = log.append(&[declared(50)], at(5)).expect("a batch");
        let directory = tempfile::tempdir().expect("a directory");
        exported(&log, next_key().verifier(), directory.path());
        let verified = verified(directory.path());
        assert_eq!(findings(&verified), Vec::<String>::new(), "after {changes} changes");
        assert_eq!((verified.key_changes, verified.key), (vec![20], Some(next_key().verifier().clone())));
    }
}

#[test]
fn a_paused_writer_loses_the_swap() {
    let log = log(10);
    let (files, heads) = (log.storage.clone(), log.heads.clone());
    let newer = Log::open(files, heads, key(), at(3)).expect("a second recorder");
    let newer = newer.append(&[declared(20)], at(3)).expect("a batch");
    let lost = log.append(&[declared(30)], at(4)).expect_err("the swap is lost");
    assert!(matches!(lost, AppendError::Swap(SwapError::Lost)), "{lost}");
    let newer = newer.append(&[declared(40)], at(5)).expect("the batch of the paused writer changes nothing");
    assert_eq!(newer.size(), 12);
    let (files, heads) = (newer.storage.clone(), newer.heads.clone());
    let reopened = Log::open(files, heads, key(), at(6)).expect("the log is whole");
    assert_eq!(reopened.index_of(&super::id("declared-30")), None);
}

#[test]
fn a_writer_that_was_paused_after_its_swap_does_not_replace_the_later_checkpoint() {
    let log = log(10);
    let (files, heads) = (log.storage.clone(), log.heads.clone());
    // The process makes the batch and the swap, and stops before the first tile.
    let life = Life::of(2);
    let paused = Log::open(files.with(life.clone()), heads.with(life), key(), at(3)).expect("a recorder");
    assert!(paused.append(&[declared(20)], at(3)).is_err());
    let stale = files.files.borrow()["checkpoint"].clone();
    let staged = files.snapshot();
    let newer = Log::open(files.clone(), heads.clone(), key(), at(4)).expect("a second recorder");
    let newer = newer.append(&[declared(30)], at(4)).expect("a batch");
    // The paused process goes on: its tiles are equal, and its checkpoint is older.
    let batch = staged
        .files
        .borrow()
        .iter()
        .find(|(path, _)| path.starts_with("staging/"))
        .map(|(_, tar)| tar.clone());
    let batch = crate::record::stage::Batch::unpack(&batch.expect("a batch")).expect("a batch");
    batch.apply(&files).expect("its tiles are equal");
    let stale = crate::record::Checkpoint::parse(&stale).expect("a checkpoint");
    crate::record::stage::publish(&files, &stale).expect("it writes nothing");
    assert_eq!(newer.size(), 12);
    let directory = tempfile::tempdir().expect("a directory");
    exported(&newer, key().verifier(), directory.path());
    assert_eq!(verified(directory.path()).head.size, 12);
}

#[test]
fn a_batch_needs_one_swap_and_a_recorded_fact_needs_none() {
    let log = log(10);
    let swaps = log.heads.swaps.clone();
    let before = swaps.get();
    let facts: Vec<_> = (20..520).map(declared).collect();
    let log = log.append(&facts, at(3)).expect("a batch");
    assert_eq!(swaps.get(), before + 1);
    let log = log.append(&facts, at(4)).expect("nothing new");
    assert_eq!(swaps.get(), before + 1);
    assert_eq!(log.size(), 510);
}

#[test]
fn a_fact_that_rests_on_an_unknown_fact_is_refused() {
    let error = log(10).append(&[cleared("cleared-9", &["decided-9"])], at(3)).expect_err("refused");
    assert_eq!(error.to_string(), "cleared-9 rests on decided-9, which is not recorded");
}

#[test]
fn a_log_is_not_created_twice() {
    let log = log(10);
    let error = Log::create(log.storage.clone(), log.heads.clone(), key()).expect_err("it exists");
    assert!(matches!(error, OpenError::Exists { size: 10 }), "{error}");
    let error = Log::create(Memory::default(), log.heads.clone(), key()).expect_err("the volume is empty");
    assert!(matches!(error, OpenError::Exists { size: 10 }), "{error}");
    let error = Log::open(Memory::default(), Heads::default(), key(), at(3)).expect_err("there is none");
    assert!(matches!(error, OpenError::NoHead), "{error}");
}

#[test]
fn the_salts_of_an_earlier_attempt_are_used_again() {
    let (files, heads) = (Memory::default(), Heads::default());
    Log::create(files.clone(), heads.clone(), key()).expect("a log");
    let life = Life::of(1);
    let mortal = Log::open(files.with(life.clone()), heads.with(life), key(), at(1)).expect("a log");
    assert!(mortal.append(&[decision("decided-1", Decision::Approve)], at(1)).is_err());
    let path = super::id("decided-1").content_path();
    let content = files.files.borrow()[&path].clone();
    let log = Log::open(files.clone(), heads, key(), at(2)).expect("a log");
    log.append(&[decision("decided-1", Decision::Approve)], at(2)).expect("a batch");
    assert_eq!(files.files.borrow()[&path], content);
}
