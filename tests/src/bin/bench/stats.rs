//! Statistics of rounds. A busy machine affects single values, so each figure is the median of several rounds.

use std::time::Duration;

use serde::Serialize;

/// The median and the range of several rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    /// The spread of one value per round. Without values, all fields are zero.
    pub fn of(rounds: &[f64]) -> Self {
        let sorted = sorted(rounds);
        let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
        Self { median: middle(&sorted), min: at(0), max: at(sorted.len().saturating_sub(1)) }
    }

    /// Applies a monotonic function to each field.
    pub fn map(self, of: impl Fn(f64) -> f64) -> Self {
        Self { median: of(self.median), min: of(self.min), max: of(self.max) }
    }
}

/// The median. Zero if there are no values.
pub fn median(values: &[f64]) -> f64 {
    middle(&sorted(values))
}

pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}

/// The median of sorted values. For an even number of values, the mean of the two middle values.
fn middle(sorted: &[f64]) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    f64::midpoint(sorted[last / 2], sorted[last.div_ceil(2)])
}
