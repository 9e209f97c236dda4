//! Tests the state of a monitor against a naive implementation that reads the whole history. Also tests the monitors
//! that a level requires.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    api::{Digest, MonitorSpec, MonitorState, RiskLevelSpec},
    policy::{
        Measurement, MissingMonitor, MonitorGap, MonitorRules, MonitorTrack, RecordedMonitor,
        missing_monitors,
    },
};

/// A monitor with an interval of 10 s. A value above 10 for one minute is a breach. A value of at most 5 for 30 s ends
/// the breach. No usable value for two minutes is a breach too. The fields in `more` replace fields of the monitor.
fn monitor(more: &Value) -> MonitorSpec {
    let mut spec = json!({ "system": "scorer", "metric": "spd", "query": "spd", "interval": "10s",
        "breach": { "above": "10", "for": "1m" }, "clear": { "below": "5", "for": "30s" },
        "noData": { "after": "2m", "then": "Breach" } });
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    serde_json::from_value(spec).expect("a monitor")
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).expect("a time")
}

const BEYOND: f64 = 11.0;
const BETWEEN: f64 = 7.0;
const CLEAR: f64 = 3.0;

fn silence() -> Measurement {
    Measurement::NoValue("no series".to_owned())
}

fn down() -> Measurement {
    Measurement::NoAnswer("no connection".to_owned())
}

/// The state after each measurement. The time between two measurements is 10 s.
fn states(spec: &MonitorSpec, measured: &[Measurement]) -> Vec<MonitorState> {
    let (rules, mut track) = (MonitorRules::from(spec), MonitorTrack::default());
    let mut states = Vec::new();
    for (n, measured) in measured.iter().enumerate() {
        track.add(&rules, at(10 * i64::try_from(n).expect("small")), measured.clone());
        states.push(track.state());
    }
    states
}

fn last(measured: &[Measurement]) -> MonitorState {
    *states(&monitor(&json!({})), measured).last().expect("a state")
}

fn of(values: &[f64]) -> Vec<Measurement> {
    values.iter().map(|value| Measurement::Value(*value)).collect()
}

#[test]
fn value_beyond_the_limit_for_the_time_is_a_breach() {
    assert_eq!(last(&of(&[BEYOND; 6])), MonitorState::Within, "50 s");
    assert_eq!(last(&of(&[BEYOND; 7])), MonitorState::Breached, "60 s");
    let interrupted = [[BEYOND; 6].as_slice(), &[10.0], &[BEYOND; 6]].concat();
    assert_eq!(last(&of(&interrupted)), MonitorState::Within, "a value at the limit starts the time again");
    let at_once = monitor(&json!({ "breach": { "above": "10" } }));
    assert_eq!(states(&at_once, &of(&[BEYOND])), [MonitorState::Breached]);
    let below = monitor(&json!({ "breach": { "below": "0.8" }, "clear": { "for": "0s" } }));
    assert_eq!(states(&below, &of(&[0.79, 0.8])), [MonitorState::Breached, MonitorState::Within]);
}

#[test]
fn time_without_a_value_does_not_count_and_does_not_start_the_time_again() {
    for unknown in [silence(), down()] {
        let half = of(&[BEYOND; 4]);
        let gap = vec![unknown; 3];
        let before = [half.clone(), gap.clone(), of(&[BEYOND; 3])].concat();
        assert_eq!(last(&before), MonitorState::Within, "30 s and 20 s, without the gap");
        let after = [half.clone(), gap, half].concat();
        assert_eq!(last(&after), MonitorState::Breached, "30 s and 30 s, without the gap");
    }
}

#[test]
fn value_that_is_often_missing_does_not_hide_a_breach() {
    let alternating =
        |unknown: Measurement, times| vec![[Measurement::Value(BEYOND), unknown]; times].concat();
    for unknown in [silence(), down()] {
        assert_eq!(last(&alternating(unknown.clone(), 3)), MonitorState::Unknown, "40 s");
        assert_eq!(last(&alternating(unknown, 4)), MonitorState::Breached, "60 s");
    }
    let rare = vec![[Measurement::Value(BEYOND), down(), down(), down()]; 100].concat();
    assert_eq!(last(&rare), MonitorState::Unknown, "the values are more than three intervals apart");
    let good = [alternating(silence(), 3), of(&[CLEAR]), alternating(silence(), 3)].concat();
    assert_eq!(last(&good), MonitorState::Unknown, "a good value starts the time again");
}

#[test]
fn bad_value_does_not_start_the_time_without_a_value_again() {
    let half = vec![silence(); 7];
    let with = |value| last(&[half.clone(), of(&[value]), half.clone()].concat());
    assert_eq!(with(BEYOND), MonitorState::Breached, "60 s and 60 s");
    assert_eq!(with(CLEAR), MonitorState::Unknown);
    assert_eq!(with(BETWEEN), MonitorState::Unknown);
}

#[test]
fn restart_continues_the_time_of_a_value_that_is_often_missing() {
    let rules = MonitorRules::from(&monitor(&json!({})));
    let mut track = MonitorTrack { beyond: Duration::from_secs(40), ..MonitorTrack::default() };
    for (second, measured) in [(0, Measurement::Value(BEYOND)), (10, silence())] {
        track.add(&rules, at(second), measured);
        assert_ne!(track.state(), MonitorState::Breached, "the time before the restart is 40 s");
    }
    track.add(&rules, at(20), Measurement::Value(BEYOND));
    assert_eq!(track.state(), MonitorState::Breached, "40 s before and 20 s after");
}

#[test]
fn breach_ends_only_after_the_clear_time() {
    let breached = of(&[BEYOND; 7]);
    let with = |more: &[f64]| last(&[breached.clone(), of(more)].concat());
    assert_eq!(with(&[BETWEEN; 100]), MonitorState::Breached);
    assert_eq!(with(&[CLEAR; 3]), MonitorState::Breached, "20 s");
    assert_eq!(with(&[CLEAR; 4]), MonitorState::Within, "30 s");
    assert_eq!(with(&[CLEAR, CLEAR, CLEAR, BETWEEN, CLEAR, CLEAR, CLEAR]), MonitorState::Breached);
    assert_eq!(
        last(&[breached, vec![silence(); 100]].concat()),
        MonitorState::Breached,
        "silence ends nothing"
    );
}

#[test]
fn only_silence_of_a_prometheus_that_answers_is_a_breach() {
    assert_eq!(last(&vec![silence(); 12]), MonitorState::Unknown, "110 s");
    assert_eq!(last(&vec![silence(); 13]), MonitorState::Breached, "120 s");
    assert_eq!(last(&vec![down(); 10_000]), MonitorState::Unknown);
    let harmless = monitor(&json!({ "noData": { "after": "2m", "then": "Unknown" } }));
    assert!(states(&harmless, &vec![silence(); 1000]).iter().all(|state| *state == MonitorState::Unknown));
}

#[test]
fn restored_state_continues_and_a_gap_does_not_count() {
    let (rules, spec) = (MonitorRules::from(&monitor(&json!({}))), monitor(&json!({})));
    let mut track = MonitorTrack { beyond: Duration::from_secs(50), ..MonitorTrack::default() };
    // The operator was down for an hour before this measurement.
    track.add(&rules, at(3600), Measurement::Value(BEYOND));
    assert_eq!(track.state(), MonitorState::Within);
    track.add(&rules, at(3610), Measurement::Value(BEYOND));
    assert_eq!(track.state(), MonitorState::Breached);
    track.start_again();
    assert!(track.breach.is_some(), "an edit does not end a breach");
    let mut late = MonitorTrack::default();
    late.add(&rules, at(0), Measurement::Value(BEYOND));
    late.add(&rules, at(3600), Measurement::Value(BEYOND));
    assert_eq!((late.state(), late.beyond), (MonitorState::Within, Duration::ZERO), "{spec:?}");
}

/// The naive implementation: computes the state from the whole history. The time between two measurements is 10 s.
fn naive(measured: &[Measurement]) -> MonitorState {
    let place = |measured: &Measurement| match measured {
        Measurement::Value(value) if *value > 10.0 => 'b',
        Measurement::Value(value) if *value <= 5.0 => 'c',
        Measurement::Value(_) => '-',
        Measurement::NoValue(_) => 's',
        Measurement::NoAnswer(_) => 'd',
    };
    let history: String = measured.iter().map(place).collect();
    let pairs = |text: &str, pair: &str| {
        text.as_bytes().windows(2).filter(|window| *window == pair.as_bytes()).count() * 10
    };
    // The time between two values beyond the limit counts if at most two measurements without a value are between them.
    let beyond = |text: &str| {
        let bad: Vec<_> = text.match_indices('b').map(|(at, _)| at).collect();
        bad.windows(2).map(|pair| pair[1] - pair[0]).filter(|steps| *steps <= 3).sum::<usize>() * 10
    };
    // The part of the history after the last measurement whose letter is in `restarts`. Such a measurement resets the
    // counted time.
    let since = |text: &str, restarts: &[char]| text.rsplit(restarts).next().unwrap_or_default().to_owned();
    let mut breach = None;
    for end in 1..=history.len() {
        let text = &history[..end];
        breach = match (breach, text.chars().last()) {
            (None, Some('b')) if beyond(&since(text, &['c', '-'])) >= 60 => Some(end),
            (None, Some('s')) if pairs(&since(text, &['c', '-']), "ss") >= 120 => Some(end),
            (Some(from), Some('c')) if pairs(&since(&text[from - 1..], &['b', '-']), "cc") >= 30 => None,
            (breach, _) => breach,
        };
    }
    match (breach, history.chars().last()) {
        (Some(_), _) => MonitorState::Breached,
        (None, Some('b' | 'c' | '-')) => MonitorState::Within,
        (None, _) => MonitorState::Unknown,
    }
}

fn measurement() -> impl Strategy<Value = Vec<Measurement>> {
    let one = prop_oneof![
        4 => Just(Measurement::Value(BEYOND)),
        1 => Just(Measurement::Value(BETWEEN)),
        3 => Just(Measurement::Value(CLEAR)),
        2 => Just(silence()),
        1 => Just(down()),
    ];
    (prop::collection::vec(one, 1..4), 1_usize..14)
        .prop_map(|(measured, times)| vec![measured; times].concat())
}

proptest! {
    #[test]
    fn state_equals_the_state_from_the_whole_history(runs in prop::collection::vec(measurement(), 1..12)) {
        let history = runs.concat();
        let spec = monitor(&json!({}));
        for (n, state) in states(&spec, &history).into_iter().enumerate() {
            prop_assert_eq!(state, naive(&history[..=n]), "after {} of {:?}", n + 1, &history);
        }
    }

    #[test]
    fn source_that_never_answers_never_breaches(before in 0_usize..6, gap in 1_usize..500) {
        let history = [of(&vec![BEYOND; before]), vec![down(); gap]].concat();
        prop_assert_ne!(last(&history), MonitorState::Breached);
    }
}

fn level(more: &Value) -> RiskLevelSpec {
    let mut required = json!({ "name": "fairness", "metric": "spd", "query": "spd", "onBreach": "OpenIncident",
        "breach": { "above": "10", "for": "1m" } });
    for (field, value) in more.as_object().into_iter().flatten() {
        required[field] = value.clone();
    }
    serde_json::from_value(json!({ "monitors": [required] })).expect("a level")
}

fn strict(more: &Value) -> MonitorSpec {
    let mut all = json!({ "onBreach": "Hold" });
    for (field, value) in more.as_object().into_iter().flatten() {
        all[field] = value.clone();
    }
    monitor(&all)
}

fn gap_of(level: &RiskLevelSpec, spec: &MonitorSpec, measured: Option<&Digest>) -> Option<MonitorGap> {
    let recorded = RecordedMonitor { name: "drift", spec, measured };
    missing_monitors(level, [recorded].into_iter()).pop().map(|missing| missing.gap)
}

#[test]
fn required_monitor_must_exist_be_as_strict_and_have_measured() {
    let required = level(&json!({ "noData": { "after": "1h", "then": "Breach" }, "interval": "10s" }));
    assert_eq!(
        missing_monitors(&required, std::iter::empty()),
        [MissingMonitor {
            requirement: "fairness".to_owned(),
            metric: "spd".to_owned(),
            gap: MonitorGap::Absent
        }]
    );
    let met = |spec: &MonitorSpec| gap_of(&required, spec, Some(&spec.measured_digest()));
    assert_eq!(met(&strict(&json!({}))), None);
    assert_eq!(met(&strict(&json!({ "breach": { "above": "9.9" } }))), None, "stricter");
    assert_eq!(met(&strict(&json!({ "metric": "dir" }))), Some(MonitorGap::Absent));
    let drift = || "drift".to_owned();
    for (more, field) in [
        (json!({ "breach": { "above": "10.1", "for": "1m" } }), "breach"),
        (json!({ "breach": { "below": "10", "for": "1m" } , "clear": { "for": "1m" } }), "breach"),
        (json!({ "breach": { "above": "10", "for": "61s" } }), "breach.for"),
        (json!({ "interval": "11s" }), "interval"),
        (json!({ "onBreach": "Warn" }), "onBreach"),
        (json!({ "noData": { "after": "2h", "then": "Breach" } }), "noData"),
        (json!({ "noData": { "after": "1m", "then": "Unknown" } }), "noData"),
    ] {
        let spec = strict(&more);
        assert_eq!(met(&spec), Some(MonitorGap::Looser { monitor: drift(), field }), "{more}");
    }
    // With each of these changes, the monitor keeps the required metric, but can hide every breach.
    for (more, field) in [
        (json!({ "query": "spd * 0" }), "query"),
        (json!({ "query": null, "alert": { "name": "Drift" } }), "query"),
        (json!({ "samples": { "query": "vector(0)", "atLeast": "1" } }), "samples"),
        (json!({ "source": "empty" }), "source"),
    ] {
        let spec = strict(&more);
        assert_eq!(met(&spec), Some(MonitorGap::Differs { monitor: drift(), field }), "{more}");
    }
    let spec = strict(&json!({}));
    let not_measured = Some(MonitorGap::NotMeasured { monitor: drift() });
    assert_eq!(gap_of(&required, &spec, None), not_measured);
    let other = strict(&json!({ "query": "vector(0)" })).measured_digest();
    assert_eq!(gap_of(&required, &spec, Some(&other)), not_measured, "another query had a value");
    let free = level(&json!({ "query": null }));
    assert_eq!(gap_of(&free, &spec, Some(&other)), None, "the level states no query");
}

#[test]
fn one_of_several_monitors_suffices_and_the_nearest_is_named() {
    let required = level(&json!({}));
    let (good, loose, other) =
        (strict(&json!({})), strict(&json!({ "onBreach": "Warn" })), strict(&json!({ "query": "x" })));
    let digest = good.measured_digest();
    let recorded = |name, spec| RecordedMonitor { name, spec, measured: Some(&digest) };
    let all = [recorded("a", &other), recorded("b", &loose), recorded("c", &good)];
    assert_eq!(missing_monitors(&required, all.into_iter()), []);
    let gap = missing_monitors(&required, all[..2].iter().copied()).pop().map(|missing| missing.gap);
    assert_eq!(gap, Some(MonitorGap::Looser { monitor: "b".to_owned(), field: "onBreach" }));
}
