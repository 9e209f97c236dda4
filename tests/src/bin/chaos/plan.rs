//! What goes wrong and when: all of it follows from the seed, so that a seed can be run again.
//!
//! ```text
//!  seed ──► Plan ─┬─ skew: seconds by which each operator's clock is wrong
//!                 └─ faults ── at ── kind ── for how long       on one target one at a time
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use assent_tests::{Component, Specimen};
use fastrand::Rng;

/// How many operators there are.
pub const OPERATORS: usize = 2;

/// How many hostile objects come at a time.
const TOGETHER: usize = 3;

/// What can be hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// One of the operators.
    Operator(usize),
    /// A part of the control plane.
    Component(Component),
    /// A hostile object of another tenant: the number of its specimen.
    Hostile(usize),
    /// The namespace in which another tenant makes many changes.
    Flood,
}

/// How it is hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SIGKILL, and started again later.
    Kill,
    /// SIGTERM, and started again later, as a rolling upgrade does.
    Terminate,
    /// SIGSTOP, and SIGCONT later.
    Pause,
    /// Its watches are broken off.
    Cut,
    /// So many of a hundred of its requests fail.
    Storm(u8),
    /// Nothing comes through to the API server or from it.
    Partition,
    /// The object is created, made odd, and then deleted, or left until the end.
    Odd {
        /// Whether it is left.
        stays: bool,
    },
    /// Thousands of changes.
    Flood,
}

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// When, since the beginning.
    pub at: Duration,
    /// For how long.
    pub lasts: Duration,
    /// To whom.
    pub target: Target,
    /// What.
    pub kind: Kind,
}

/// Everything that goes wrong.
#[derive(Clone, Debug)]
pub struct Plan {
    /// By how many seconds each operator's clock is ahead of the API server's.
    pub skew: [i64; OPERATORS],
    /// In the order in which they begin.
    pub faults: Vec<Fault>,
}

impl Plan {
    /// The plan of `seed` for so long.
    pub fn new(seed: u64, length: Duration) -> Self {
        let mut dice = Rng::with_seed(seed);
        let skew = match dice.u8(0..4) {
            0 => [0; OPERATORS],
            1 => [dice.i64(-30..=30); OPERATORS],
            _ => [dice.i64(-30..=30), dice.i64(-30..=30)],
        };
        let mut busy = BTreeMap::new();
        let mut faults = Vec::new();
        let mut at = Duration::from_secs(2);
        while at + Duration::from_secs(3) < length {
            for fault in one(&mut dice, at) {
                let until = busy.entry(fault.target).or_default();
                if *until <= at {
                    *until = at + fault.lasts + Duration::from_secs(2);
                    faults.push(fault);
                }
            }
            at += Duration::from_millis(dice.u64(400..3000));
        }
        Self { skew, faults }
    }
}

/// The next fault. It is several when the operators die together, or when hostile objects come.
fn one(dice: &mut Rng, at: Duration) -> Vec<Fault> {
    use Component::{ApiServer, ControllerManager, Etcd, Scheduler};
    let operator = Target::Operator(dice.usize(0..OPERATORS));
    let moment = Duration::from_millis(dice.u64(0..300));
    let short = Duration::from_millis(dice.u64(300..5000));
    let long = Duration::from_millis(dice.u64(3000..22_000));
    let component = |component| Target::Component(component);
    let of = |target, kind, lasts| vec![Fault { at, lasts, target, kind }];
    match dice.u8(0..28) {
        0 => of(operator, Kind::Kill, moment),
        1 | 2 => of(operator, Kind::Kill, short),
        3 => of(operator, Kind::Terminate, moment),
        4 => of(operator, Kind::Pause, short),
        5 | 6 => of(operator, Kind::Pause, long),
        7 => of(operator, Kind::Cut, Duration::ZERO),
        8 => of(operator, Kind::Storm(dice.u8(20..90)), short * 2),
        9 => of(operator, Kind::Partition, short),
        10 => of(operator, Kind::Partition, long),
        11 => (0..OPERATORS)
            .map(|n| Fault { at, lasts: long, target: Target::Operator(n), kind: Kind::Kill })
            .collect(),
        12 => of(component(ApiServer), Kind::Kill, moment),
        13 => of(component(ApiServer), Kind::Pause, short),
        14 => of(component(Etcd), Kind::Kill, moment),
        15 => of(component(Etcd), Kind::Pause, short),
        16 => of(component(ControllerManager), Kind::Kill, moment),
        17 => of(component(ControllerManager), Kind::Pause, short),
        18 => of(component(Scheduler), Kind::Kill, short),
        19 => of(component(Scheduler), Kind::Pause, short),
        20..=24 => {
            let kind = Kind::Odd { stays: dice.bool() };
            let specimens = std::iter::repeat_with(|| Target::Hostile(dice.usize(0..Specimen::COUNT)));
            specimens.take(TOGETHER).map(|target| Fault { at, lasts: short, target, kind }).collect()
        }
        _ => of(Target::Flood, Kind::Flood, long),
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator(n) => write!(f, "operator-{n}"),
            Self::Component(component) => f.write_str(component.program()),
            Self::Hostile(n) => write!(f, "hostile-{n}"),
            Self::Flood => f.write_str("flood"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, lasts, target, kind } = self;
        write!(f, "{:5.1}s {target} {kind:?} for {:.1}s", at.as_secs_f64(), lasts.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_objects_of_every_kind_and_floods_are_among_the_faults() {
        let plans = (0..100).map(|seed| Plan::new(seed, Duration::from_secs(30)));
        let faults: Vec<_> = plans.flat_map(|plan| plan.faults).collect();
        assert!(faults.iter().filter(|fault| fault.target == Target::Flood).count() > 50);
        for specimen in 0..Specimen::COUNT {
            let hostile = faults.iter().filter(|fault| fault.target == Target::Hostile(specimen));
            assert!(hostile.count() > 2, "hostile-{specimen}");
        }
    }

    #[test]
    fn a_seed_is_a_plan_and_faults_of_one_target_do_not_overlap() {
        let shown = |seed| {
            let plan = Plan::new(seed, Duration::from_mins(1));
            format!(
                "{:?} {}",
                plan.skew,
                plan.faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
            )
        };
        assert_eq!(shown(7), shown(7));
        assert_ne!(shown(7), shown(8));
        for seed in 0..100 {
            let plan = Plan::new(seed, Duration::from_mins(1));
            for (n, fault) in plan.faults.iter().enumerate() {
                let overlaps = plan.faults[n + 1..]
                    .iter()
                    .any(|other| other.target == fault.target && other.at < fault.at + fault.lasts);
                assert!(!overlaps, "seed {seed}: {fault}");
            }
        }
    }
}
