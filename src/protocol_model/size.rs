//! How much there is of everything: as little as shows what each guard is for.

use super::{
    property::{BELATED, RUNS_AGAIN, STARTS_ALONE, UNTIMELY},
    state::Tick,
};

/// When time passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// At any moment, whoever lags however long.
    Free,
    /// When whoever leads has done what it can. Without such a bound nothing is done in any time.
    Prompt,
}

/// A size.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub name: &'static str,
    pub time: Time,
    pub ticks: Tick,
    /// How long an approval lasts.
    pub validity: Tick,
    pub decisions: usize,
    pub pods: u8,
    /// Whether a second operator stands by and takes over, at any moment.
    pub takeover: bool,
    /// How many versions of the Clearance somebody may be behind.
    pub lag: usize,
    /// How far the operators' clocks are ahead of the API server's.
    pub skews: &'static [[Tick; 2]],
    /// What must be possible.
    pub possible: &'static [&'static str],
}

const SAME: &[[Tick; 2]] = &[[0, 0]];
const APART: &[[Tick; 2]] = &[[-1, 1], [1, -1]];

/// Everything lags: an approval, a revocation, and an end.
pub const LAGS: Size = Size {
    name: "lags",
    time: Time::Free,
    ticks: 1,
    validity: 1,
    decisions: 2,
    pods: 1,
    takeover: true,
    lag: 2,
    skews: SAME,
    possible: &[STARTS_ALONE, BELATED, UNTIMELY],
};

/// The same without a revocation.
pub const END: Size = Size { name: "end", decisions: 1, possible: &[STARTS_ALONE], ..LAGS };

/// One pod after another, by the same name.
pub const PODS: Size = Size {
    name: "pods",
    ticks: 0,
    decisions: 3,
    pods: 2,
    takeover: false,
    lag: 1,
    possible: &[RUNS_AGAIN],
    ..LAGS
};

/// A grace, and a disruption budget that refuses as it likes.
pub const BUDGETS: Size = Size {
    name: "budgets",
    time: Time::Prompt,
    ticks: 3,
    validity: 9,
    takeover: false,
    lag: 1,
    possible: &[],
    ..LAGS
};

/// The same, with another that takes over: to the rest it is what the first would be, started anew.
pub const HANDOVER: Size = Size { name: "handover", takeover: true, ..BUDGETS };

/// An end instead of a revocation, and clocks that differ.
pub const CLOCKS: Size =
    Size { name: "clocks", ticks: 6, validity: 2, decisions: 1, skews: APART, ..HANDOVER };
