//! The sizes of the model. A size limits the steps, so that the model checker can visit all states. Each size is the
//! smallest size in which a property fails without the guards that name this size in `guard::FINDINGS`.

use super::{
    promise::{BELATED, RESUMED, RUNS_AGAIN, STARTS_ALONE, UNTIMELY, WAIVED},
    state::Tick,
};

/// The rule for the passage of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// Time passes at any moment, even while a watch lags.
    Free,
    /// Time passes only while the API server and all active operators have current caches, and no operator has work
    /// left. Otherwise, the model could let time pass before an operator acts, so every operator could exceed the grace
    /// period.
    Prompt,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    Approve,
    Revoke,
    Hold,
    Resume,
    Override,
}

#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub name: &'static str,
    pub time: Time,
    pub ticks: Tick,
    /// The duration of an approval.
    pub validity: Tick,
    /// The steps that people can take.
    pub acts: &'static [Act],
    /// The maximum number of facts. The first fact is an approval.
    pub decisions: usize,
    pub pods: u8,
    /// Whether a second operator stands by and can take over at any moment.
    pub takeover: bool,
    /// The maximum number of writes of the Clearance by which a cache can lag.
    pub lag: usize,
    /// The possible clock skews of the two operators, relative to the API server.
    pub skews: &'static [[Tick; 2]],
    /// The names of the examples that the model checker must find.
    pub possible: &'static [&'static str],
}

const SAME: &[[Tick; 2]] = &[[0, 0]];
const APART: &[[Tick; 2]] = &[[-1, 1], [1, -1]];

/// All caches lag. An approval can end, and people can revoke it.
pub const LAGS: Size = Size {
    name: "lags",
    time: Time::Free,
    ticks: 1,
    validity: 1,
    acts: &[Act::Approve, Act::Revoke],
    decisions: 2,
    pods: 1,
    takeover: true,
    lag: 2,
    skews: SAME,
    possible: &[STARTS_ALONE, BELATED, UNTIMELY],
};

/// All caches lag. An approval can end, but nobody revokes it.
pub const END: Size = Size { name: "end", decisions: 1, possible: &[STARTS_ALONE], ..LAGS };

/// Two successive pods with the same name.
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

/// A hold, and the decision of people to resume.
pub const HOLDS: Size = Size {
    name: "holds",
    acts: &[Act::Hold, Act::Resume],
    ticks: 0,
    decisions: 3,
    lag: 1,
    possible: &[RESUMED],
    ..LAGS
};

/// An approval that has ended, an override for one tick, and a hold that the override does not waive.
pub const OVERRIDES: Size = Size {
    name: "overrides",
    acts: &[Act::Override, Act::Hold],
    validity: 0,
    decisions: 3,
    lag: 1,
    possible: &[WAIVED],
    ..LAGS
};

/// A grace period, and a disruption budget that can refuse each eviction.
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

/// A grace period, a disruption budget, and a second operator that takes over. A restart of the first operator would
/// have the same effects, so no size models a restart.
pub const HANDOVER: Size = Size { name: "handover", takeover: true, ..BUDGETS };

/// A takeover between operators whose clocks differ. An approval can end, but nobody revokes it.
pub const CLOCKS: Size =
    Size { name: "clocks", ticks: 6, validity: 2, decisions: 1, skews: APART, ..HANDOVER };
