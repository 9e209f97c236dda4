//! A log whose head, volume or clock went back stops, and continues only with a gap that every reader sees.

use super::{
    ORIGIN, at, declared, exported, findings, id, key, log,
    stores::{Heads, Memory},
    verified, verified_with,
};
use crate::record::{AppendError, GapCause, Log, OpenError, Purpose, SigningKey, TrustPolicy};

#[test]
fn a_restored_head_stops_the_recorder_and_adoption_shows_a_gap() {
    let log = log(10);
    let (files, heads) = (log.storage.clone(), log.heads.clone());
    let old = heads.head.borrow().clone();
    log.append(&[declared(20), declared(21)], at(3)).expect("a batch");
    *heads.head.borrow_mut() = old;
    let error = Log::open(files.clone(), heads.clone(), key(), at(4)).expect_err("the head is older");
    assert!(matches!(error, OpenError::HeadRestored { head: 10, volume: 12 }), "{error}");
    let log = Log::adopt(files, heads, key(), id("gap-1"), at(5)).expect("a gap");
    assert_eq!(log.size(), 13);
    let directory = tempfile::tempdir().expect("a directory");
    exported(&log, key().verifier(), directory.path());
    let verified = verified(directory.path());
    assert_eq!(findings(&verified), Vec::<String>::new());
    assert_eq!(verified.gaps, [(12, GapCause::HeadRestored)]);
}

#[test]
fn a_lost_head_stops_the_recorder_and_adoption_shows_a_gap() {
    let log = log(10);
    let files = log.storage.clone();
    let error = Log::open(files.clone(), Heads::default(), key(), at(3)).expect_err("no head");
    assert!(matches!(error, OpenError::NoHead), "{error}");
    let log = Log::adopt(files, Heads::default(), key(), id("gap-1"), at(5)).expect("a gap");
    assert_eq!(log.size(), 11);
}

#[test]
fn a_restored_volume_stops_the_recorder_and_only_a_new_origin_continues() {
    let log = log(10);
    let (snapshot, heads) = (log.storage.snapshot(), log.heads.clone());
    log.append(&[declared(20), declared(21)], at(3)).expect("a batch");
    let error = Log::open(snapshot.clone(), heads.clone(), key(), at(4)).expect_err("the volume is older");
    assert!(matches!(error, OpenError::StorageRestored { head: 12, volume: 10 }), "{error}");
    let error = Log::adopt(snapshot, heads.clone(), key(), id("gap-1"), at(5)).expect_err("entries are lost");
    assert!(matches!(error, OpenError::StorageRestored { .. }), "{error}");
    let error =
        Log::succeed(Memory::default(), heads.clone(), key(), id("gap-1"), at(5)).expect_err("a fork");
    assert!(matches!(error, OpenError::SameOrigin { .. }), "{error}");
    let name = format!("{ORIGIN}/2").parse().expect("a name");
    let next = SigningKey::generate(name, Purpose::Note).expect("a key");
    let public = next.verifier().clone();
    let log = Log::succeed(Memory::default(), heads, next, id("gap-1"), at(5)).expect("a new log");
    let directory = tempfile::tempdir().expect("a directory");
    exported(&log, &public, directory.path());
    let verified = verified_with(directory.path(), &TrustPolicy::of_log(public), None);
    assert_eq!(findings(&verified), Vec::<String>::new());
    assert_eq!(verified.gaps, [(0, GapCause::StorageRestored)]);
}

#[test]
fn an_empty_volume_stops_the_recorder() {
    let log = log(10);
    let error =
        Log::open(Memory::default(), log.heads.clone(), key(), at(4)).expect_err("the volume is empty");
    assert!(matches!(error, OpenError::StorageRestored { head: 10, volume: 0 }), "{error}");
}

#[test]
fn a_damaged_volume_stops_the_recorder() {
    for damaged in ["tile/entries/000.p/10", "tile/0/000.p/10"] {
        let log = log(10);
        let mut content = log.storage.files.borrow()[damaged].clone();
        content[40] ^= 1;
        super::write(&log.storage, damaged, &content);
        let error =
            Log::open(log.storage.clone(), log.heads.clone(), key(), at(4)).expect_err("it is damaged");
        assert!(matches!(error, OpenError::Damaged(_)), "{error}");
    }
}

#[test]
fn a_clock_that_was_set_back_stops_the_recorder_and_adoption_shows_a_gap() {
    let log = log(10).append(&[declared(20)], at(1000)).expect("a batch");
    let (files, heads) = (log.storage.clone(), log.heads.clone());
    let error = log.append(&[declared(21)], at(900)).expect_err("the clock was set back");
    assert!(matches!(error, AppendError::Clock(_)), "{error}");
    let error = Log::open(files.clone(), heads.clone(), key(), at(900)).expect_err("the clock was set back");
    assert!(matches!(error, OpenError::Clock(_)), "{error}");
    let log = Log::adopt(files, heads, key(), id("gap-1"), at(900)).expect("a gap");
    let log = log.append(&[declared(21)], at(901)).expect("a batch");
    let directory = tempfile::tempdir().expect("a directory");
    exported(&log, key().verifier(), directory.path());
    let verified = verified(directory.path());
    assert_eq!(findings(&verified), Vec::<String>::new());
    assert_eq!(verified.gaps, [(11, GapCause::ClockSetBack)]);
}

#[test]
fn a_clock_that_is_corrected_by_a_minute_stops_nothing() {
    let log = log(10).append(&[declared(20)], at(1000)).expect("a batch");
    let log = log.append(&[declared(21)], at(950)).expect("the time of the entry before");
    let directory = tempfile::tempdir().expect("a directory");
    exported(&log, key().verifier(), directory.path());
    assert_eq!(verified(directory.path()).times.map(|(_, last)| last), Some(at(1000)));
}

#[test]
fn a_log_without_a_gap_is_not_adopted() {
    let log = log(10);
    let error =
        Log::adopt(log.storage.clone(), log.heads.clone(), key(), id("gap-1"), at(5)).expect_err("no gap");
    assert!(matches!(error, OpenError::NoGap), "{error}");
}

#[test]
fn a_head_of_another_history_is_not_adopted() {
    let (one, other) = (log(10), log(12));
    // The salts of the two logs differ, so their roots differ too.
    let error =
        Log::adopt(other.storage.clone(), one.heads.clone(), key(), id("gap-1"), at(5)).expect_err("a fork");
    assert!(matches!(error, OpenError::Forked { size: 10 }), "{error}");
    let same = log(10);
    let error = Log::open(same.storage.clone(), one.heads.clone(), key(), at(5)).expect_err("a fork");
    assert!(matches!(error, OpenError::Forked { size: 10 }), "{error}");
}

#[test]
fn a_log_of_another_key_is_not_opened() {
    let log = log(10);
    let error =
        Log::open(log.storage.clone(), log.heads.clone(), super::other_key(), at(5)).expect_err("foreign");
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
}
