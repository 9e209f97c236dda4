//! Computes the state of a monitor from its measurements, and the required monitors that a system lacks.
//!
//! A breach begins in two cases:
//!
//! - Values are beyond the limit of `breach` for the time `breach.for`.
//! - Prometheus answers without a usable value for the time `noData.after`, and `noData.then` is `Breach`.
//!
//! A breach ends after values were within the limit of `clear` for the time `clear.for`. Without a usable value, the
//! state is `Unknown` if there is no breach.
//!
//! The time between two values counts only if it is at most three intervals. For `breach.for`, measurements without a
//! value can be between the two values. So a value that is often missing cannot hide a breach. A value that is not
//! beyond the limit resets the time for `breach.for`. For `clear.for`, the two values must be consecutive measurements.
//!
//! The end of a breach changes only the state of the monitor. The incident of the breach stays open, and a hold stays.

use std::{fmt, time::Duration};

use k8s_openapi::jiff::Timestamp;

use crate::api::{
    BreachBar, Digest, MonitorSpec, MonitorState, NoData, NoDataEffect, RequiredMonitor, RiskLevelSpec,
};

/// The result of one query of a monitor.
#[derive(Clone, Debug, PartialEq)]
pub enum Measurement {
    /// A usable value, which is a finite number.
    Value(f64),
    /// Prometheus answered, and the answer has no usable value. The text says why.
    NoValue(String),
    /// Prometheus did not answer the query. The text says why. Time without an answer never leads to a breach.
    NoAnswer(String),
}

/// The position of a measurement relative to the limits of a monitor.
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

/// The limits and durations of a monitor.
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

/// The maximum length of a time between two measurements, in intervals of the monitor. A longer time does not count,
/// because the value can change without a measurement.
const GAP_INTERVALS: u32 = 3;

impl From<&MonitorSpec> for MonitorRules {
    fn from(spec: &MonitorSpec) -> Self {
        let BreachBar { above, below, for_ } = &spec.breach;
        // A monitor of an alert states no limit. Its query gives the number of firing alerts, so any number above 0 is
        // a breach.
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
    /// The time of the last value beyond the limit of `breach`. `None` if there is no such value since the last reset
    /// of `beyond`.
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

    /// Resets the counted times, and forgets the last measurement. A present breach stays.
    pub fn start_again(&mut self) {
        *self = Self { breach: self.breach.take(), ..Self::default() };
    }

    /// Adds the measurement `measured`, which was made at `at`. The measurement can start or end a breach.
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
            // the breach by bad values and the breach by missing values.
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

/// The maximum number of monitors that count in a namespace. The operator does not query further monitors. A Clearance
/// lists at most 256 systems, so each of these systems can have two monitors.
pub const MONITORS_OF_NAMESPACE: usize = 512;

/// The monitors of a namespace that count: first the monitors that hold their system on a breach, then the others. So a
/// user without the verb `hold` cannot displace a monitor that holds. Both inputs must be sorted by the names of the
/// monitors.
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

/// A monitor that the level requires, and that no monitor of the system satisfies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MissingMonitor {
    /// The name of the requirement in the level.
    pub requirement: String,
    /// The required metric.
    pub metric: String,
    /// The difference between the requirement and the most similar monitor.
    pub gap: MonitorGap,
}

/// The difference between a requirement and a monitor. The order of the variants is from the smallest to the largest
/// difference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MonitorGap {
    /// The monitor has no value yet, or has a value only from an earlier query than the required query.
    NotMeasured {
        /// The name of the `Monitor`.
        monitor: String,
    },
    /// A field of the monitor is looser than the level allows.
    Looser {
        /// The name of the `Monitor`.
        monitor: String,
        /// The field that is looser.
        field: &'static str,
    },
    /// The monitor has another query, other samples or another source than the level requires.
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

/// The monitors that the level requires and that no monitor in `monitors` satisfies, in the order of the level.
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
    // If the level requires a query, a value from an earlier query does not count. So the digest of the last measured
    // query must equal the digest of the present query.
    let has_measured = match (monitor.measured, &required.query) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(digest), Some(_)) => *digest == spec.measured_digest(),
    };
    (!has_measured).then_some(MonitorGap::NotMeasured { monitor: name })
}

/// The first of `query`, `samples` and `source` that differs from the level. `None` if none differs, or if the level
/// states no query.
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

/// The first field of the monitor that is looser than the level allows. `None` if no field is looser.
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
