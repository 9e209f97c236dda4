//! A cached monitor, with the state that the next measurement needs.

use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::core::ObjectMeta;

use crate::{
    api::{
        ConditionState, Digest, MonitorSpec, MonitorState, MonitorStatus, NoDataEffect, OnBreach,
        OpenedIncident, condition_states,
    },
    policy::{Measurement, MonitorBreach, MonitorRules, MonitorTrack},
    promql::LimitedQueries,
};

/// The namespace and name of a monitor.
pub(super) type Place = (String, String);

/// The pause before the operator checks a monitor again that it cannot query, for example because the query is invalid.
/// Also the minimum pause between two status writes while the value stays within the limit.
pub(super) const LATER: Duration = Duration::from_mins(10);

/// The minimum and maximum pause, without jitter, after a failure to open an incident or to resolve a write conflict.
pub(super) const RETRY: [Duration; 2] = [Duration::from_secs(1), Duration::from_mins(1)];

/// The maximum number of measurements in a status.
const MEASUREMENTS: usize = 10;

pub(super) struct Entry {
    pub(super) uid: String,
    pub(super) generation: Option<i64>,
    pub(super) resource_version: Option<String>,
    pub(super) spec: Arc<MonitorSpec>,
    rules: MonitorRules,
    /// The queries, limited to the namespace, or the reason why a query is invalid. `None` until the operator parses
    /// the queries.
    pub(super) queries: Option<Result<LimitedQueries, String>>,
    /// Whether the namespace has too many monitors, so that the operator does not query this monitor.
    pub(super) is_surplus: bool,
    /// Whether the last measurement was slow. The next query then needs the slow turn of its namespace.
    pub(super) is_slow: bool,
    pub(super) track: MonitorTrack,
    /// The digest of the query or alert, the required samples and the source that gave the last value.
    pub(super) measured: Option<Digest>,
    pub(super) value: Option<f64>,
    pub(super) last_success: Option<Timestamp>,
    /// The state, and the time at which the monitor entered this state.
    pub(super) since: Option<(MonitorState, Timestamp)>,
    pub(super) measurements: VecDeque<(Timestamp, Option<f64>)>,
    pub(super) last_incident: Option<OpenedIncident>,
    /// Whether `last_incident` is the incident of the current breach.
    pub(super) has_incident: bool,
    /// The pause after the next failure, without jitter.
    pub(super) retry: Duration,
    pub(super) conditions: Box<[ConditionState]>,
    /// The [`significant`] hash of the stored status, and the time of its write.
    pub(super) written: Option<(u64, Instant)>,
    pub(super) due: Timestamp,
}

impl Entry {
    pub(super) fn new(
        metadata: ObjectMeta,
        spec: MonitorSpec,
        status: Option<MonitorStatus>,
        due: Timestamp,
    ) -> Self {
        let written = status.as_ref().map(|status| (significant(status), Instant::now()));
        let status = status.unwrap_or_default();
        let seconds = |count: u32| Duration::from_secs(count.into());
        let progress = status.progress.unwrap_or_default();
        let number = |text: &String| text.parse::<f64>().ok();
        let measurements = status.measurements.iter().rev();
        Self {
            uid: metadata.uid.unwrap_or_default(),
            generation: metadata.generation,
            resource_version: metadata.resource_version,
            rules: MonitorRules::from(&spec),
            spec: Arc::new(spec),
            queries: None,
            is_surplus: false,
            is_slow: false,
            has_incident: status.breach.as_ref().is_some_and(|breach| breach.incident.is_some()),
            last_incident: status.last_incident,
            retry: RETRY[0],
            track: MonitorTrack {
                breach: status
                    .breach
                    .map(|breach| MonitorBreach { since: breach.since.0, cause: breach.cause }),
                beyond: seconds(progress.beyond_seconds),
                clear: seconds(progress.clear_seconds),
                no_data: seconds(progress.no_data_seconds),
                last_beyond: None,
                last: None,
            },
            measured: status.measured,
            value: status.value.as_ref().and_then(number),
            last_success: status.last_success.map(|Time(time)| time),
            since: status.state.zip(status.since.map(|Time(time)| time)),
            measurements: measurements.map(|m| (m.at.0, m.value.as_ref().and_then(number))).collect(),
            conditions: condition_states(&status.conditions),
            written,
            due,
        }
    }

    /// Applies a new spec. If the new spec has another query, alert, required number of samples or source, the times in
    /// `track` start again.
    pub(super) fn change(&mut self, generation: Option<i64>, spec: MonitorSpec, now: Timestamp) {
        if spec.measured_digest() != self.spec.measured_digest() {
            self.track.start_again();
            self.is_slow = false;
        }
        (self.rules, self.spec) = (MonitorRules::from(&spec), Arc::new(spec));
        (self.generation, self.queries, self.due) = (generation, None, now);
    }

    pub(super) fn incident(&self) -> Option<&OpenedIncident> {
        self.last_incident.as_ref().filter(|_| self.has_incident && self.track.breach.is_some())
    }

    /// The current breach, if it still needs an incident. An incident without a hold does not suffice for a monitor
    /// that must hold its system.
    pub(super) fn unopened(&self) -> Option<Unopened> {
        let breach = self.track.breach.as_ref()?;
        let (on_breach, incident) = (self.spec.on_breach, self.incident());
        let suffices = |incident: &OpenedIncident| incident.holds || on_breach == OnBreach::OpenIncident;
        if on_breach == OnBreach::Warn || incident.is_some_and(suffices) {
            return None;
        }
        Some(Unopened {
            uid: self.uid.clone(),
            since: breach.since,
            cause: breach.cause.clone(),
            spec: Arc::clone(&self.spec),
            earlier: self.last_incident.clone().filter(|_| incident.is_none()),
        })
    }

    pub(super) fn is_beyond(&self) -> bool {
        self.track.last.as_ref().is_some_and(|(_, measured)| self.rules.is_beyond(measured))
    }

    /// Takes the incident and the breach from the stored status, if another operator wrote this status.
    pub(super) fn adopt(&mut self, stored: MonitorStatus) {
        if self.written.is_some_and(|(written, _)| written == significant(&stored)) {
            return;
        }
        if let Some(incident) = stored.last_incident
            && self.incident().is_none_or(|own| incident.holds || !own.holds)
        {
            self.last_incident = Some(incident);
        }
        if let Some(breach) = stored.breach {
            self.has_incident |= breach.incident.is_some();
            self.track.breach = Some(MonitorBreach { since: breach.since.0, cause: breach.cause });
        }
    }

    pub(super) fn interval(&self) -> Duration {
        self.spec.interval.into()
    }

    /// Adds a measurement. Returns the Event that the measurement causes, if any.
    pub(super) fn add(&mut self, at: Timestamp, measured: Measurement) -> Option<Begun> {
        let value = if let Measurement::Value(value) = measured { Some(value) } else { None };
        if value.is_some() {
            (self.value, self.last_success) = (value, Some(at));
            self.measured = Some(self.spec.measured_digest());
        }
        self.measurements.push_back((at, value));
        while self.measurements.len() > MEASUREMENTS {
            self.measurements.pop_front();
        }
        let (was_breached, silent_before) = (self.track.breach.is_some(), self.track.no_data);
        self.track.add(&self.rules, at, measured);
        let begun = |reason, note| Some(Begun { uid: self.uid.clone(), reason, note });
        let metric = &self.spec.metric;
        let after: Duration = self.spec.no_data.after.into();
        match &self.track.breach {
            Some(breach) if !was_breached => begun("MonitorBreached", format!("{metric}: {}", breach.cause)),
            None if was_breached => {
                self.has_incident = false;
                let value = self.value.unwrap_or_default();
                begun(
                    "MonitorRecovered",
                    format!("{metric}: {value} is within the limit again; this lifts no hold"),
                )
            }
            None if silent_before < after
                && self.track.no_data >= after
                && self.spec.no_data.then == NoDataEffect::Unknown =>
            {
                begun("MonitorSilent", format!("{metric}: no usable value since {} s", after.as_secs()))
            }
            _ => None,
        }
    }

    /// Whether the operator must write the status now. The operator writes a [`significant`] change at once. It writes
    /// other changes a minute after the last write. While the value is within the limit, this pause is 10 to 20
    /// minutes. The exact pause depends on the UID, so that the operator does not write many statuses at the same time.
    pub(super) fn is_write_due(&self, wanted: &MonitorStatus) -> bool {
        let Some((written, at)) = self.written else { return true };
        let mut hasher = DefaultHasher::new();
        self.uid.hash(&mut hasher);
        let is_quiet = wanted.state == Some(MonitorState::Within) && self.track.beyond.is_zero();
        let pause = if is_quiet { LATER.as_secs() + hasher.finish() % LATER.as_secs() } else { 60 };
        written != significant(wanted) || at.elapsed() >= Duration::from_secs(pause)
    }
}

/// The content of an Event about a monitor, such as the start or the end of a breach.
pub(super) struct Begun {
    pub(super) uid: String,
    pub(super) reason: &'static str,
    pub(super) note: String,
}

/// A breach that needs an incident.
pub(super) struct Unopened {
    pub(super) uid: String,
    pub(super) since: Timestamp,
    pub(super) cause: String,
    pub(super) spec: Arc<MonitorSpec>,
    /// The last incident of the monitor, if the operator opened it for an earlier breach.
    pub(super) earlier: Option<OpenedIncident>,
}

impl Unopened {
    pub(super) fn holds(&self) -> bool {
        self.spec.on_breach == OnBreach::Hold
    }
}

/// A hash of the fields of a status whose changes the operator writes at once.
pub(super) fn significant(status: &MonitorStatus) -> u64 {
    let mut hasher = DefaultHasher::new();
    let conditions = status.conditions.iter();
    let conditions: Vec<_> = conditions.map(|c| (&*c.type_, &*c.status, &*c.reason)).collect();
    let breach =
        status.breach.as_ref().map(|breach| (breach.since.0, &breach.incident, &status.last_incident));
    let has_value = status.measurements.first().is_some_and(|last| last.value.is_some());
    (status.observed_generation, status.state, &status.query, &status.measured, has_value).hash(&mut hasher);
    (conditions, breach).hash(&mut hasher);
    hasher.finish()
}
