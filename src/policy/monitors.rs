//! Computes the state of a monitor from its measurements, and the required monitors that a system lacks.
//!
//! ```text
//!  Within or Unknown ─┬─ beyond the limit for `breach.for` ─────────────────────────────┬─► Breached
//!                     └─ no usable value for `noData.after`, if `noData.then` is Breach ┘
//!  Breached ──────────── within the limit of `clear` for `clear.for` ─────────────────────► Within
//! ```
//!
//! Without a usable value, the state is `Unknown`, but a breach stays. Only a value that is not beyond the limit resets
//! the time for `breach.for`. The time between two values beyond the limit counts if it is at most three intervals,
//! even if measurements between them have no value. So a value that is often missing cannot hide a breach. For
//! `clear.for`, only the time between two consecutive values within the limit of `clear` counts.
//!
//! The end of a breach changes only the state. It does not end an incident, and does not lift a hold.

use std::{fmt, time::Duration};

use k8s_openapi::jiff::Timestamp;

use crate::api::{
    BreachBar, Digest, MonitorSpec, MonitorState, NoData, NoDataEffect, RequiredMonitor, RiskLevelSpec,
};

/// The result of a query.
#[derive(Clone, Debug, PartialEq)]
pub enum Measurement {
    /// A usable value, which is a finite number.
    Value(f64),
    /// Prometheus answered, and the answer has no usable value. The text says why.
    NoValue(String),
    /// Prometheus did not answer the query. The text says why. Time without an answer never leads to a breach.
    NoAnswer(String),
}

/// A measurement relative to the limits of a monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Beyond the limit of `breach`.
    Beyond,
    /// Neither beyond the limit of `breach`, nor within the limit of `clear`.
    Between,
    /// Within the limit of `clear`.
    Clear,
    NoValue,
    NoAnswer,
}

/// The limits and times of a monitor.
#[derive(Clone, Debug, PartialEq)]
pub struct MonitorRules {
    bar: Bar,
    clear: f64,
    for_: Duration,
    clear_for: Duration,
    no_data: Option<Duration>,
    gap: Duration,
}

/// The limit of `breach`: a value beyond the limit is above or below this number.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Bar {
    Above(f64),
    Below(f64),
}

/// The longest time between two measurements that counts, in intervals of the monitor. In a longer time, the value can
/// have changed without a measurement.
const GAP_INTERVALS: u32 = 3;

impl From<&MonitorSpec> for MonitorRules {
    fn from(spec: &MonitorSpec) -> Self {
        let BreachBar { above, below, for_ } = &spec.breach;
        // A monitor of an alert has no limit. Its query gives the number of firing alerts, so a breach is a number
        // above 0.
        let bar = match (above, below) {
            (Some(above), _) => Bar::Above(above.to_f64()),
            (None, Some(below)) => Bar::Below(below.to_f64()),
            (None, None) => Bar::Above(0.0),
        };
        let end = spec.clear.clone().unwrap_or_default();
        let (Bar::Above(limit) | Bar::Below(limit)) = bar;
        Self {
            bar,
            clear: end.below.or(end.above).map_or(limit, crate::api::Decimal::to_f64),
            for_: unsigned(for_),
            clear_for: unsigned(&end.for_),
            no_data: (spec.no_data.then == NoDataEffect::Breach).then(|| unsigned(&spec.no_data.after)),
            gap: unsigned(&spec.interval) * GAP_INTERVALS,
        }
    }
}

fn unsigned(duration: &kube::core::Duration) -> Duration {
    std::time::Duration::from(*duration)
}

impl MonitorRules {
    fn place(&self, measured: &Measurement) -> Place {
        let value = match measured {
            Measurement::Value(value) => *value,
            Measurement::NoValue(_) => return Place::NoValue,
            Measurement::NoAnswer(_) => return Place::NoAnswer,
        };
        let (beyond, clear) = match self.bar {
            Bar::Above(limit) => (value > limit, value <= self.clear),
            Bar::Below(limit) => (value < limit, value >= self.clear),
        };
        match (beyond, clear) {
            (true, _) => Place::Beyond,
            (false, true) => Place::Clear,
            (false, false) => Place::Between,
        }
    }

    /// Whether a measurement is beyond the limit of `breach`.
    pub fn is_beyond(&self, measured: &Measurement) -> bool {
        self.place(measured) == Place::Beyond
    }

    fn cause(&self, measured: &Measurement) -> String {
        let long =
            |time: Duration| if time.is_zero() { String::new() } else { format!(" for {}", words(time)) };
        match (measured, self.bar) {
            (Measurement::Value(value), Bar::Above(limit)) => {
                format!("{value} is above {limit}{}", long(self.for_))
            }
            (Measurement::Value(value), Bar::Below(limit)) => {
                format!("{value} is below {limit}{}", long(self.for_))
            }
            (Measurement::NoValue(why) | Measurement::NoAnswer(why), _) => {
                format!("no value{}: {why}", long(self.no_data.unwrap_or_default()))
            }
        }
    }
}

/// A duration as text, such as `30m` or `1h30m`.
fn words(time: Duration) -> String {
    let seconds = time.as_secs();
    let parts = [(seconds / 3600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let parts = parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}"));
    let parts = parts.collect::<Vec<_>>().concat();
    if parts.is_empty() { format!("{}ms", time.as_millis()) } else { parts }
}

/// A breach that is not over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonitorBreach {
    /// The time at which the breach began, in whole seconds.
    pub since: Timestamp,
    /// The cause, as a text for people.
    pub cause: String,
}

/// The state of a monitor: its breach, and the times that count for the start and the end of a breach.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MonitorTrack {
    /// The breach that is not over.
    pub breach: Option<MonitorBreach>,
    /// The counted time with values beyond the limit of `breach`.
    pub beyond: Duration,
    /// The counted time with values within the limit of `clear`, during a breach.
    pub clear: Duration,
    /// The counted time in which Prometheus answered without a usable value.
    pub no_data: Duration,
    /// The time of the last value beyond the limit. `None` if there is no such value since `beyond` was reset.
    pub last_beyond: Option<Timestamp>,
    /// The last measurement.
    pub last: Option<(Timestamp, Measurement)>,
}

impl MonitorTrack {
    /// The state after the last measurement.
    pub fn state(&self) -> MonitorState {
        match (&self.breach, &self.last) {
            (Some(_), _) => MonitorState::Breached,
            (None, Some((_, Measurement::Value(_)))) => MonitorState::Within,
            (None, _) => MonitorState::Unknown,
        }
    }

    /// Resets the counted times, and forgets the last measurement. A breach stays.
    pub fn start_again(&mut self) {
        *self = Self { breach: self.breach.take(), ..Self::default() };
    }

    /// Adds a measurement that was made at `at`. The measurement can start or end a breach.
    pub fn add(&mut self, rules: &MonitorRules, at: Timestamp, measured: Measurement) {
        let place = rules.place(&measured);
        let counted = |since: Option<Timestamp>| {
            let elapsed = since.and_then(|since| Duration::try_from(at.duration_since(since)).ok());
            elapsed.filter(|elapsed| *elapsed <= rules.gap).unwrap_or_default()
        };
        let neighbour = self.last.as_ref().filter(|(_, last)| rules.place(last) == place);
        let since_equal = counted(neighbour.map(|(at, _)| *at));
        match place {
            Place::NoAnswer => {}
            Place::NoValue => self.no_data += since_equal,
            // A value beyond the limit does not reset `no_data`. So a mix of bad and missing values cannot delay both
            // kinds of breach.
            Place::Beyond => {
                self.beyond += counted(self.last_beyond);
                (self.last_beyond, self.clear) = (Some(at), Duration::ZERO);
            }
            Place::Between => self.start_again(),
            Place::Clear => {
                let clear = self.clear + since_equal;
                self.start_again();
                self.clear = clear;
            }
        }
        self.decide(rules, place, at, &measured);
        self.last = Some((at, measured));
    }

    fn decide(&mut self, rules: &MonitorRules, place: Place, at: Timestamp, measured: &Measurement) {
        let begins = match place {
            Place::Beyond => self.beyond >= rules.for_,
            Place::NoValue => rules.no_data.is_some_and(|after| self.no_data >= after),
            Place::Between | Place::Clear | Place::NoAnswer => false,
        };
        if self.breach.is_none() {
            self.clear = Duration::ZERO;
            let since = Timestamp::from_second(at.as_second()).unwrap_or(at);
            self.breach = begins.then(|| MonitorBreach { since, cause: rules.cause(measured) });
        } else if place == Place::Clear && self.clear >= rules.clear_for {
            (self.breach, self.clear) = (None, Duration::ZERO);
        }
    }
}

/// The maximum number of monitors of a namespace that count. The operator does not query further monitors. A Clearance
/// has room for 256 systems, so each system can have two monitors.
pub const MONITORS_OF_NAMESPACE: usize = 512;

/// The monitors of a namespace that count: first the monitors that hold their system on a breach, then the others. Both
/// inputs must be in the order of their names. So a user without the verb `hold` cannot displace a monitor that holds.
pub fn counted_monitors<T>(
    holding: impl Iterator<Item = T>,
    others: impl Iterator<Item = T>,
) -> impl Iterator<Item = T> {
    holding.chain(others).take(MONITORS_OF_NAMESPACE)
}

/// A monitor of the system of the judged version.
#[derive(Clone, Copy, Debug)]
pub struct RecordedMonitor<'a> {
    /// The name of the `Monitor`.
    pub name: &'a str,
    /// The content of the monitor.
    pub spec: &'a MonitorSpec,
    /// The digest of the query, samples and source that gave the last value. `None` if the monitor never had a value.
    pub measured: Option<&'a Digest>,
}

/// A monitor that the level requires and the system lacks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MissingMonitor {
    /// The name of the requirement in the level.
    pub requirement: String,
    /// The required metric.
    pub metric: String,
    /// The difference between the requirement and the nearest monitor.
    pub gap: MonitorGap,
}

/// The difference between a requirement and a monitor. The variants are in order, the smallest difference first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MonitorGap {
    /// The monitor never had a value of the required query.
    NotMeasured {
        /// The name of the `Monitor`.
        monitor: String,
    },
    /// The monitor is looser than the level allows.
    Looser {
        /// The name of the `Monitor`.
        monitor: String,
        /// The field that is looser.
        field: &'static str,
    },
    /// The monitor has another query, other samples or another source.
    Differs {
        /// The name of the `Monitor`.
        monitor: String,
        /// The field that differs.
        field: &'static str,
    },
    /// No monitor of the system has the metric.
    Absent,
}

impl MissingMonitor {
    pub(super) fn remedy(&self, namespace: &str, system: &str) -> String {
        match &self.gap {
            MonitorGap::Absent => format!(
                "apply a Monitor with system {system} and metric {}: kubectl explain monitor.spec",
                self.metric
            ),
            MonitorGap::NotMeasured { monitor } => {
                format!("see its state: kubectl describe monitor/{monitor} -n {namespace}")
            }
            MonitorGap::Looser { monitor, .. } | MonitorGap::Differs { monitor, .. } => {
                format!("correct it: kubectl edit monitor/{monitor} -n {namespace}")
            }
        }
    }
}

impl fmt::Display for MissingMonitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requirement, metric, gap } = self;
        write!(f, "requirement {requirement}: ")?;
        match gap {
            MonitorGap::Absent => write!(f, "no monitor of the system has the metric {metric}"),
            MonitorGap::NotMeasured { monitor } => {
                write!(f, "monitor/{monitor} has not measured {metric} yet")
            }
            MonitorGap::Looser { monitor, field } => {
                write!(f, "{field} of monitor/{monitor} is looser than the risk level allows")
            }
            MonitorGap::Differs { monitor, field } => {
                write!(f, "{field} of monitor/{monitor} differs from the risk level")
            }
        }
    }
}

/// The monitors that the level requires and that `monitors` of the system do not meet, in the order of the level.
#[allow(clippy::needless_pass_by_value, reason = "the iterator is cloned for each requirement")]
pub fn missing_monitors<'a>(
    level: &RiskLevelSpec,
    monitors: impl Iterator<Item = RecordedMonitor<'a>> + Clone,
) -> Vec<MissingMonitor> {
    let missing = |required: &RequiredMonitor| {
        let with_metric = monitors.clone().filter(|monitor| *monitor.spec.metric == *required.metric);
        let gaps: Vec<_> = with_metric.map(|monitor| gap(required, monitor)).collect();
        if gaps.iter().any(Option::is_none) {
            return None;
        }
        let nearest = gaps.into_iter().flatten().min().unwrap_or(MonitorGap::Absent);
        Some(MissingMonitor {
            requirement: required.name.clone(),
            metric: required.metric.clone(),
            gap: nearest,
        })
    };
    level.monitors.iter().filter_map(missing).collect()
}

fn gap(required: &RequiredMonitor, monitor: RecordedMonitor<'_>) -> Option<MonitorGap> {
    let (name, spec) = (monitor.name.to_owned(), monitor.spec);
    if let Some(field) = differing(required, spec) {
        return Some(MonitorGap::Differs { monitor: name, field });
    }
    if let Some(field) = looser(required, spec) {
        return Some(MonitorGap::Looser { monitor: name, field });
    }
    // A value of an earlier query does not count. So the digest of the measured query must equal the digest of the
    // present query.
    let has_measured = match (monitor.measured, &required.query) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(digest), Some(_)) => *digest == spec.measured_digest(),
    };
    (!has_measured).then_some(MonitorGap::NotMeasured { monitor: name })
}

/// The first of `query`, `samples` and `source` that differs from the level. `None` if the level states no query.
fn differing(required: &RequiredMonitor, spec: &MonitorSpec) -> Option<&'static str> {
    let query = required.query.as_ref()?;
    if spec.query.as_ref() != Some(query) {
        Some("query")
    } else if spec.samples != required.samples {
        Some("samples")
    } else {
        (spec.source != required.source).then_some("source")
    }
}

/// The first field that is looser than the level allows.
fn looser(required: &RequiredMonitor, spec: &MonitorSpec) -> Option<&'static str> {
    let has_limit = match (&required.breach.above, &required.breach.below) {
        (Some(loosest), _) => spec.breach.above.is_some_and(|above| above <= *loosest),
        (None, Some(loosest)) => spec.breach.below.is_some_and(|below| below >= *loosest),
        (None, None) => true,
    };
    let is_longer =
        |time: &kube::core::Duration, longest: &kube::core::Duration| unsigned(time) > unsigned(longest);
    let no_data = |loosest: &NoData| {
        spec.no_data.then < loosest.then
            || (loosest.then == NoDataEffect::Breach && is_longer(&spec.no_data.after, &loosest.after))
    };
    if !has_limit {
        Some("breach")
    } else if is_longer(&spec.breach.for_, &required.breach.for_) {
        Some("breach.for")
    } else if required.interval.as_ref().is_some_and(|longest| is_longer(&spec.interval, longest)) {
        Some("interval")
    } else if spec.on_breach < required.on_breach {
        Some("onBreach")
    } else {
        required.no_data.as_ref().is_some_and(no_data).then_some("noData")
    }
}
