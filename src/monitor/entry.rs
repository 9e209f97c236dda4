//! The monitors in memory, with the state that the next measurement needs.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::core::ObjectMeta;

use super::{
    incident::Unopened,
    opens_incident,
    schedule::until_next,
    source::Source,
    status::{self, StatusWrite, Wrote},
};
use crate::{
    api::{
        ConditionState, Digest, Monitor, MonitorSpec, MonitorState, MonitorStatus, NoDataEffect,
        condition_states,
    },
    policy::{MONITORS_OF_NAMESPACE, Measurement, MonitorBreach, MonitorRules, MonitorTrack},
    promql::LimitedQueries,
    watch::Change,
};

/// The namespace and name of a monitor.
pub(super) type Place = (String, String);

/// The pause before another look at a monitor that the operator cannot query. Also the minimum pause between two writes
/// of the status of a quiet monitor.
const LATER: Duration = Duration::from_mins(10);

/// The maximum number of measurements in a status.
const MEASUREMENTS: usize = 10;

/// A monitor with its state.
pub(super) struct Entry {
    pub(super) uid: String,
    pub(super) generation: Option<i64>,
    pub(super) resource_version: Option<String>,
    pub(super) spec: Arc<MonitorSpec>,
    rules: MonitorRules,
    /// The queries with the matcher for the namespace, or the reason why they are refused. `None` until they are
    /// needed.
    pub(super) queries: Option<Result<LimitedQueries, String>>,
    /// Whether the monitor is not queried, because its namespace has too many monitors.
    pub(super) is_surplus: bool,
    pub(super) track: MonitorTrack,
    /// The digest of the settings that gave the last value: query or alert, required samples, and source.
    pub(super) measured: Option<Digest>,
    pub(super) value: Option<f64>,
    pub(super) last_success: Option<Timestamp>,
    /// The state, and the time since which the monitor is in it.
    pub(super) since: Option<(MonitorState, Timestamp)>,
    pub(super) measurements: VecDeque<(Timestamp, Option<f64>)>,
    pub(super) incident: Option<String>,
    pub(super) conditions: Box<[ConditionState]>,
    /// The hash of the significant fields of the stored status, and the time of the last write.
    written: Option<(u64, Instant)>,
    due: Timestamp,
}

impl Entry {
    fn new(metadata: ObjectMeta, spec: MonitorSpec, status: Option<MonitorStatus>, due: Timestamp) -> Self {
        let written = status.as_ref().map(|status| (status::significant(status), Instant::now()));
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
            incident: status.breach.as_ref().and_then(|breach| breach.incident.clone()),
            track: MonitorTrack {
                breach: status
                    .breach
                    .map(|breach| MonitorBreach { since: breach.since.0, cause: breach.cause }),
                beyond: seconds(progress.beyond_seconds),
                clear: seconds(progress.clear_seconds),
                no_data: seconds(progress.no_data_seconds),
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

    /// Applies a new spec. If the monitor then measures something else, the counted times start again.
    fn change(&mut self, generation: Option<i64>, spec: MonitorSpec, now: Timestamp) {
        if spec.measured_digest() != self.spec.measured_digest() {
            self.track.measures_something_else();
        }
        (self.rules, self.spec) = (MonitorRules::from(&spec), Arc::new(spec));
        (self.generation, self.queries, self.due) = (generation, None, now);
    }

    /// Whether the last value is beyond the limit.
    pub(super) fn is_beyond(&self) -> bool {
        self.track.last.as_ref().is_some_and(|(_, measured)| self.rules.is_beyond(measured))
    }

    fn interval(&self) -> Duration {
        self.spec.interval.into()
    }

    /// Adds a measurement. Returns the Event that it causes.
    fn add(&mut self, at: Timestamp, measured: Measurement) -> Option<Begun> {
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
                self.incident = None;
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

    /// Whether the wanted status must be written now. Changes of the state are written at once, and other changes at
    /// most once a minute. If the value is within the limit, the pause is 10 to 20 minutes. It depends on the UID, so
    /// that many monitors do not write at the same time.
    fn is_write_due(&self, wanted: &MonitorStatus) -> bool {
        let Some((significant, at)) = self.written else { return true };
        let mut hasher = DefaultHasher::new();
        self.uid.hash(&mut hasher);
        let is_quiet = wanted.state == Some(MonitorState::Within) && self.track.beyond.is_zero();
        let pause = if is_quiet { LATER.as_secs() + hasher.finish() % LATER.as_secs() } else { 60 };
        significant != status::significant(wanted) || at.elapsed() >= Duration::from_secs(pause)
    }
}

/// A query to run. The UID and the generation show later whether the result still belongs to the monitor.
pub(super) struct Query {
    uid: String,
    generation: Option<i64>,
    interval: Duration,
    pub(super) source: String,
    pub(super) value: String,
    pub(super) samples: Option<(String, f64)>,
}

impl Query {
    pub(super) fn until_next(&self, now: Timestamp) -> Duration {
        until_next(&self.uid, self.interval, now)
    }
}

/// The next step for a monitor.
pub(super) enum Task {
    /// The monitor was deleted. `is_last`: its namespace has no other monitor.
    Gone { is_last: bool },
    /// The next query is due after this time.
    Wait(Duration),
    /// Run a query.
    Query(Query),
    /// Only write the status, and look again after this time.
    Report(Duration),
}

/// An Event about a monitor, such as the start or the end of a breach.
pub(super) struct Begun {
    pub(super) uid: String,
    pub(super) reason: &'static str,
    pub(super) note: String,
}

/// The status that a monitor should have, and the incident that it should open.
pub(super) struct Wanted {
    pub(super) state: MonitorState,
    /// Whether the monitor is among the first ones of its namespace, which the operator queries.
    pub(super) is_queried: bool,
    pub(super) write: Option<StatusWrite>,
    pub(super) unopened: Option<Unopened>,
}

/// All monitors, by namespace and name.
#[derive(Default)]
pub(super) struct Entries(BTreeMap<Place, Entry>);

impl Entries {
    /// Applies a change from the watch. Returns the monitors that are new, deleted or have another spec.
    pub(super) fn apply(&mut self, change: Change<Place, Monitor>, now: Timestamp) -> Vec<Place> {
        match change {
            Change::Apply { key, object, listing } => {
                if self.insert(&key, object, listing, now) {
                    vec![key]
                } else {
                    Vec::new()
                }
            }
            Change::Delete { key } => {
                self.0.remove(&key);
                vec![key]
            }
            Change::Listed(keys) => {
                let gone: Vec<_> = self.0.keys().filter(|place| !keys.contains(*place)).cloned().collect();
                for place in &gone {
                    self.0.remove(place);
                }
                gone
            }
        }
    }

    /// Returns whether the monitor is new or its spec changed.
    fn insert(&mut self, place: &Place, monitor: Monitor, listing: bool, now: Timestamp) -> bool {
        let Monitor { metadata, spec, status } = monitor;
        if let Some(entry) = self.0.get_mut(place)
            && Some(&entry.uid) == metadata.uid.as_ref()
        {
            entry.resource_version.clone_from(&metadata.resource_version);
            let is_changed = entry.generation != metadata.generation;
            if is_changed {
                entry.change(metadata.generation, spec, now);
            }
            return is_changed;
        }
        // After a start of the operator, a monitor that had a value before waits for its turn in the interval. So the
        // monitors do not all query at the same time.
        let is_known = listing && status.as_ref().is_some_and(|status| status.measured.is_some());
        let wait = until_next(metadata.uid.as_deref().unwrap_or_default(), spec.interval.into(), now);
        let due = if is_known { now + wait } else { now };
        self.0.insert(place.clone(), Entry::new(metadata, spec, status, due));
        true
    }

    /// The next step for the monitor at `place`.
    pub(super) fn task(&mut self, place: &Place, label: &str, now: Timestamp) -> Task {
        let of_namespace =
            || self.0.range((place.0.clone(), String::new())..).take_while(|(p, _)| p.0 == place.0);
        // The operator queries only the first monitors of a namespace, by name. So a tenant with too many monitors
        // displaces only its own.
        let is_surplus = of_namespace().take(MONITORS_OF_NAMESPACE).all(|(p, _)| p != place);
        let is_last = of_namespace().next().is_none();
        let Some(entry) = self.0.get_mut(place) else { return Task::Gone { is_last } };
        entry.is_surplus = is_surplus;
        if is_surplus {
            return Task::Report(LATER);
        }
        let spec = &entry.spec;
        let limited = || LimitedQueries::of(spec, label, &place.0).map_err(|refused| refused.to_string());
        let queries = match entry.queries.get_or_insert_with(limited) {
            Ok(queries) => queries.clone(),
            Err(_) => return Task::Report(LATER),
        };
        if let Ok(wait) = Duration::try_from(entry.due.duration_since(now))
            && !wait.is_zero()
        {
            return Task::Wait(wait);
        }
        entry.due = now;
        let at_least = entry.spec.samples.as_ref().map(|samples| samples.at_least.to_f64());
        Task::Query(Query {
            uid: entry.uid.clone(),
            generation: entry.generation,
            interval: entry.interval(),
            source: entry.spec.source.to_string(),
            value: queries.value,
            samples: queries.samples.zip(at_least),
        })
    }

    /// Adds a measurement, unless the monitor changed since the query was made. Returns the Event that it causes.
    pub(super) fn add(
        &mut self,
        place: &Place,
        query: &Query,
        at: Timestamp,
        measured: Measurement,
    ) -> Option<Begun> {
        let entry = self.0.get_mut(place)?;
        if (&entry.uid, entry.generation) != (&query.uid, query.generation) {
            return None;
        }
        entry.add(at, measured)
    }

    /// The status that the monitor should have now.
    pub(super) fn status(
        &mut self,
        place: &Place,
        sources: &HashMap<String, Source>,
        now: Timestamp,
    ) -> Option<Wanted> {
        let entry = self.0.get_mut(place)?;
        let state = entry.track.state();
        let since = entry.since.filter(|(before, _)| *before == state).unwrap_or((state, now));
        entry.since = Some(since);
        let has_source = sources.contains_key(&*entry.spec.source);
        let status = status::of(entry, place, has_source, now);
        let write = entry.is_write_due(&status).then(|| StatusWrite {
            resource_version: entry.resource_version.clone(),
            conditions: condition_states(&status.conditions),
            significant: status::significant(&status),
            status,
        });
        let unopened = entry.track.breach.as_ref().filter(|_| entry.incident.is_none());
        let unopened = unopened.filter(|_| opens_incident(entry.spec.on_breach));
        let unopened = unopened.map(|breach| Unopened {
            uid: entry.uid.clone(),
            since: breach.since,
            cause: breach.cause.clone(),
            spec: Arc::clone(&entry.spec),
        });
        Some(Wanted { state, is_queried: !entry.is_surplus, write, unopened })
    }

    /// Records the result of a write.
    pub(super) fn wrote(&mut self, place: &Place, wrote: &Wrote) {
        if let (Wrote::Stored { resource_version, conditions, significant }, Some(entry)) =
            (wrote, self.0.get_mut(place))
        {
            entry.resource_version.clone_from(resource_version);
            entry.conditions.clone_from(conditions);
            entry.written = Some((*significant, Instant::now()));
        }
    }

    /// Records the incident of a breach.
    pub(super) fn opened(&mut self, place: &Place, breach: &Unopened, name: String) {
        let entry = self.0.get_mut(place).filter(|entry| entry.uid == breach.uid);
        if let Some(entry) = entry
            && entry.track.breach.as_ref().is_some_and(|open| open.since == breach.since)
        {
            entry.incident = Some(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn monitor(namespace: &str, name: &str) -> (Place, Monitor) {
        let object = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "Monitor",
            "metadata": { "name": name, "namespace": namespace, "uid": format!("{namespace}-{name}"), "generation": 1 },
            "spec": { "system": "scorer", "metric": "spd", "query": "spd", "breach": { "above": "0.1" },
                "noData": { "after": "6h", "then": "Unknown" } } });
        ((namespace.to_owned(), name.to_owned()), serde_json::from_value(object).expect("a Monitor"))
    }

    #[test]
    fn flood_of_one_namespace_is_queried_up_to_a_limit_and_takes_no_turn_of_another() {
        let (mut entries, now) = (Entries::default(), Timestamp::UNIX_EPOCH);
        let flood = (0..10_000).map(|n| monitor("flood", &format!("m-{n:05}")));
        for (key, object) in flood.chain([monitor("calm", "drift"), monitor("zone", "drift")]) {
            entries.apply(Change::Apply { key, object, listing: true }, now);
        }
        let mut is_queried = |namespace: &str, name: &str| {
            let place = (namespace.to_owned(), name.to_owned());
            matches!(entries.task(&place, "namespace", now), Task::Query(_))
        };
        let queried = (0..10_000).filter(|n| is_queried("flood", &format!("m-{n:05}"))).count();
        assert_eq!(queried, MONITORS_OF_NAMESPACE);
        assert!(is_queried("calm", "drift") && is_queried("zone", "drift"));
        let place = ("flood".to_owned(), "m-09999".to_owned());
        let wanted = entries.status(&place, &HashMap::new(), now).expect("a monitor");
        assert!(!wanted.is_queried, "a monitor over the limit has no series");
    }
}
