//! The plan of faults. The seed determines the complete plan, so a run can be repeated with the same faults. A target
//! has at most one fault at a time.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use assent_tests::{Component, Specimen};
use fastrand::Rng;

/// The number of operators that run at the same time.
pub const OPERATORS: usize = 2;

/// The number of hostile objects that the tenants create at the same time.
const TOGETHER: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// The operator with this number.
    Operator(usize),
    Component(Component),
    /// The hostile object with this number, which another tenant creates.
    Hostile(usize),
    /// The namespace in which another tenant makes many changes.
    Flood,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SIGKILL, and a later start.
    Kill,
    /// SIGTERM, and a later start, as in a rolling upgrade.
    Terminate,
    /// SIGSTOP, and a later SIGCONT.
    Pause,
    /// The proxy closes all open watches.
    Cut,
    /// This percentage of requests fails or is late.
    Storm(u8),
    /// No data passes between the operator and the API server.
    Partition,
    /// A tenant creates a hostile object and applies hostile patches. At the end of the fault, the tenant deletes the
    /// object, unless `stays` is true.
    Odd {
        /// Whether the object stays until the end of the run.
        stays: bool,
    },
    /// One user makes thousands of changes per minute.
    Flood,
}

#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// The start, relative to the start of the plan.
    pub at: Duration,
    pub lasts: Duration,
    pub target: Target,
    pub kind: Kind,
}

/// All faults and clock errors of a seed.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seconds by which each operator's clock is ahead of the clock of the API server.
    pub skew: [i64; OPERATORS],
    /// The faults, in the order of their start.
    pub faults: Vec<Fault>,
}

impl Plan {
    /// The plan of `seed` with this length.
    pub fn new(seed: u64, length: Duration) -> Self {
        let mut rng = Rng::with_seed(seed);
        let skew = match rng.u8(0..4) {
            0 => [0; OPERATORS],
            1 => [rng.i64(-30..=30); OPERATORS],
            _ => [rng.i64(-30..=30), rng.i64(-30..=30)],
        };
        let mut busy = BTreeMap::new();
        let mut faults = Vec::new();
        let mut at = Duration::from_secs(2);
        while at + Duration::from_secs(3) < length {
            for fault in one(&mut rng, at) {
                let until = busy.entry(fault.target).or_default();
                if *until <= at {
                    *until = at + fault.lasts + Duration::from_secs(2);
                    faults.push(fault);
                }
            }
            at += Duration::from_millis(rng.u64(400..3000));
        }
        Self { skew, faults }
    }
}

/// The next random fault. Returns several faults if it kills all operators together, or creates hostile objects.
fn one(rng: &mut Rng, at: Duration) -> Vec<Fault> {
    use Component::{ApiServer, ControllerManager, Etcd, Scheduler};
    let operator = Target::Operator(rng.usize(0..OPERATORS));
    let moment = Duration::from_millis(rng.u64(0..300));
    let short = Duration::from_millis(rng.u64(300..5000));
    let long = Duration::from_millis(rng.u64(3000..22_000));
    let component = |component| Target::Component(component);
    let of = |target, kind, lasts| vec![Fault { at, lasts, target, kind }];
    match rng.u8(0..28) {
        0 => of(operator, Kind::Kill, moment),
        1 | 2 => of(operator, Kind::Kill, short),
        3 => of(operator, Kind::Terminate, moment),
        4 => of(operator, Kind::Pause, short),
        5 | 6 => of(operator, Kind::Pause, long),
        7 => of(operator, Kind::Cut, Duration::ZERO),
        8 => of(operator, Kind::Storm(rng.u8(20..90)), short * 2),
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
            let kind = Kind::Odd { stays: rng.bool() };
            let specimens = std::iter::repeat_with(|| Target::Hostile(rng.usize(0..Specimen::COUNT)));
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
    fn plans_contain_floods_and_hostile_objects_of_every_kind() {
        let plans = (0..100).map(|seed| Plan::new(seed, Duration::from_secs(30)));
        let faults: Vec<_> = plans.flat_map(|plan| plan.faults).collect();
        assert!(faults.iter().filter(|fault| fault.target == Target::Flood).count() > 50);
        for specimen in 0..Specimen::COUNT {
            let hostile = faults.iter().filter(|fault| fault.target == Target::Hostile(specimen));
            assert!(hostile.count() > 2, "hostile-{specimen}");
        }
    }

    #[test]
    fn a_seed_determines_its_plan_and_faults_of_one_target_do_not_overlap() {
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
