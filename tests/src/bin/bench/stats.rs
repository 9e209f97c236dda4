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
        Self { median: quantile(&sorted, 0.5), min: at(0), max: at(sorted.len().saturating_sub(1)) }
    }

    /// The same of what `of` makes of each value, if it keeps or turns their order.
    pub fn map(self, of: impl Fn(f64) -> f64) -> Self {
        Self { median: of(self.median), min: of(self.min), max: of(self.max) }
    }
}

/// The median of some times, in milliseconds.
pub fn p50(times: &[Duration]) -> f64 {
    quantile(&sorted(&times.iter().copied().map(ms).collect::<Vec<_>>()), 0.5)
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

/// Between two values, so that the median of an even number is in their middle.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn quantile(sorted: &[f64], quantile: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let position = last as f64 * quantile;
    let (below, above) = (sorted[position.floor() as usize], sorted[position.ceil() as usize]);
    below + (above - below) * position.fract()
}
