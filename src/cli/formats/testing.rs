//! Helpers for the tests of the formats.

use super::{Measured, Options, Reading, Refusal};

pub(super) fn read(bytes: &[u8]) -> Result<Reading, Refusal> {
    read_with(bytes, &Options::default())
}

pub(super) fn read_with(bytes: &[u8], options: &Options) -> Result<Reading, Refusal> {
    super::read("results", bytes, options)
}

pub(super) fn problem(text: &str) -> String {
    problem_with(text, &Options::default())
}

pub(super) fn problem_with(text: &str, options: &Options) -> String {
    match read_with(text.as_bytes(), options) {
        Ok(reading) => panic!("read {reading:?}"),
        Err(refusal) => refusal.problem.to_string(),
    }
}

pub(super) fn row(measured: &Measured) -> String {
    let Measured { metric, value, direction, slice, samples, errors, interval } = measured;
    let slice = slice.as_ref().map_or_else(String::new, |slice| format!("[{slice}]"));
    let interval = interval.as_ref().map_or_else(String::new, |interval| {
        format!(", {} to {} at {}", interval.lower, interval.upper, interval.level)
    });
    format!("{metric}{slice} = {value} {direction}, {samples} samples, {errors} errors{interval}")
}

/// Replaces the first `from` in a sample by `to`. Panics if the sample has no `from`.
pub(super) fn edited(sample: &[u8], from: &str, to: &str) -> String {
    let text = std::str::from_utf8(sample).unwrap();
    assert!(text.contains(from), "the sample has no {from}");
    text.replacen(from, to, 1)
}
