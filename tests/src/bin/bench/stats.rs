//! A busy machine makes one number worthless: every figure is measured in rounds, and shown as the median
//! of the rounds with the smallest and the largest.

use std::time::Duration;

use serde::Serialize;

/// The middle of what several rounds gave, and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    /// Of one value a round; of nothing, zeroes.
    pub fn of(rounds: &[f64]) -> Self {
        let sorted = sorted(rounds);
        let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
        Self { median: middle(&sorted), min: at(0), max: at(sorted.len().saturating_sub(1)) }
    }

    /// The same of what `of` makes of each value, if it keeps or turns their order.
    pub fn map(self, of: impl Fn(f64) -> f64) -> Self {
        Self { median: of(self.median), min: of(self.min), max: of(self.max) }
    }
}

/// The value in the middle; of nothing, zero.
pub fn median(values: &[f64]) -> f64 {
    middle(&sorted(values))
}

/// Milliseconds.
pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}

/// Of an even number, half way between the two.
fn middle(sorted: &[f64]) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    f64::midpoint(sorted[last / 2], sorted[last.div_ceil(2)])
}
