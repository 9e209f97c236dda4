//! The monitors in memory, with the state that the next measurement needs.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::core::ObjectMeta;

use super::{
    incident::Unopened,
    schedule::until_next,
    source::Source,
    status::{self, StatusWrite, Wrote},
};
use crate::{
    api::{
        ConditionState, Digest, Monitor, MonitorSpec, MonitorState, MonitorStatus, NoDataEffect, OnBreach,
        OpenedIncident, condition_states,
    },
    policy::{Measurement, MonitorBreach, MonitorRules, MonitorTrack, counted_monitors},
    promql::LimitedQueries,
    watch::{Change, jittered},
};

/// The namespace and name of a monitor.
pub(super) type Place = (String, String);

/// The pause before another look at a monitor that the operator cannot query. Also the minimum pause between two writes
/// of the status of a quiet monitor.
const LATER: Duration = Duration::from_mins(10);

/// The minimum and maximum mean pause after a failure to write a status or to open an incident.
const RETRY: [Duration; 2] = [Duration::from_secs(1), Duration::from_mins(1)];

/// The duration from which a query is slow: half of the maximum.
const SLOW: Duration = Duration::from_secs(5);

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
    /// Whether the last query was slow.
    is_slow: bool,
    pub(super) track: MonitorTrack,
    /// The digest of the settings that gave the last value: query or alert, required samples, and source.
    pub(super) measured: Option<Digest>,
    pub(super) value: Option<f64>,
    pub(super) last_success: Option<Timestamp>,
    /// The state, and the time since which the monitor is in it.
    pub(super) since: Option<(MonitorState, Timestamp)>,
    pub(super) measurements: VecDeque<(Timestamp, Option<f64>)>,
    /// The last incident that the monitor opened.
    pub(super) last_incident: Option<OpenedIncident>,
    /// Whether `last_incident` is the incident of the breach that is not over.
    has_incident: bool,
    /// The mean pause after the next failure.
    retry: Duration,
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

    /// Applies a new spec. If the monitor then measures something else, the counted times start again.
    fn change(&mut self, generation: Option<i64>, spec: MonitorSpec, now: Timestamp) {
        if spec.measured_digest() != self.spec.measured_digest() {
            self.track.start_again();
            self.is_slow = false;
        }
        (self.rules, self.spec) = (MonitorRules::from(&spec), Arc::new(spec));
        (self.generation, self.queries, self.due) = (generation, None, now);
    }

    /// The incident of the breach that is not over.
    pub(super) fn incident(&self) -> Option<&OpenedIncident> {
        self.last_incident.as_ref().filter(|_| self.has_incident && self.track.breach.is_some())
    }

    /// The breach that is not over, if it still needs an incident. An incident without a hold does not suffice if the
    /// monitor holds the system now.
    fn unopened(&self) -> Option<Unopened> {
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

    /// Whether the last value is beyond the limit.
    pub(super) fn is_beyond(&self) -> bool {
        self.track.last.as_ref().is_some_and(|(_, measured)| self.rules.is_beyond(measured))
    }

    /// Applies a status that another writer stored.
    fn adopt(&mut self, stored: MonitorStatus) {
        if self.written.is_some_and(|(significant, _)| significant == status::significant(&stored)) {
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
    /// Open the incident of a breach, before the next query.
    Open,
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
pub(super) struct Entries {
    all: BTreeMap<Place, Entry>,
    /// The monitors that hold their system on a breach.
    holding: BTreeSet<Place>,
}

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
                self.remove(&key);
                vec![key]
            }
            Change::Listed(keys) => {
                let gone: Vec<_> = self.all.keys().filter(|place| !keys.contains(*place)).cloned().collect();
                for place in &gone {
                    self.remove(place);
                }
                gone
            }
        }
    }

    fn remove(&mut self, place: &Place) {
        self.all.remove(place);
        self.holding.remove(place);
    }

    /// Returns whether the monitor is new or its spec changed.
    fn insert(&mut self, place: &Place, monitor: Monitor, listing: bool, now: Timestamp) -> bool {
        let Monitor { metadata, spec, status } = monitor;
        if spec.on_breach == OnBreach::Hold {
            self.holding.insert(place.clone());
        } else {
            self.holding.remove(place);
        }
        if let Some(entry) = self.all.get_mut(place)
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
        self.all.insert(place.clone(), Entry::new(metadata, spec, status, due));
        true
    }

    fn of_namespace<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = (&'a Place, &'a Entry)> {
        let all = self.all.range((namespace.to_owned(), String::new())..);
        all.take_while(move |(place, _)| place.0 == namespace)
    }

    /// Whether the monitor is not queried, because its namespace has too many.
    fn is_surplus(&self, place: &Place) -> bool {
        let holding = self.holding.range((place.0.clone(), String::new())..);
        let holding = holding.take_while(|(namespace, _)| *namespace == place.0);
        let others = self.of_namespace(&place.0).map(|(other, _)| other);
        let others = others.filter(|other| !self.holding.contains(*other));
        counted_monitors(holding, others).all(|counted| counted != place)
    }

    /// Whether the last query of the monitor was slow.
    pub(super) fn is_slow(&self, place: &Place) -> bool {
        self.all.get(place).is_some_and(|entry| entry.is_slow)
    }

    /// The spec of a monitor whose queries must be parsed.
    pub(super) fn unparsed(&self, place: &Place) -> Option<Arc<MonitorSpec>> {
        let entry = self.all.get(place).filter(|entry| entry.queries.is_none())?;
        (!self.is_surplus(place)).then(|| Arc::clone(&entry.spec))
    }

    /// Records the queries of a monitor, unless its spec changed meanwhile.
    pub(super) fn parsed(
        &mut self,
        place: &Place,
        spec: &Arc<MonitorSpec>,
        queries: Result<LimitedQueries, String>,
    ) {
        if let Some(entry) = self.all.get_mut(place).filter(|entry| Arc::ptr_eq(&entry.spec, spec)) {
            entry.queries = Some(queries);
        }
    }

    /// The next step for the monitor at `place`.
    pub(super) fn task(&mut self, place: &Place, now: Timestamp) -> Task {
        let is_surplus = self.is_surplus(place);
        let is_last = self.of_namespace(&place.0).next().is_none();
        let Some(entry) = self.all.get_mut(place) else { return Task::Gone { is_last } };
        entry.is_surplus = is_surplus;
        // A value within the limit could end the breach, so no query comes before the incident.
        if entry.unopened().is_some() {
            return Task::Open;
        }
        if is_surplus {
            return Task::Report(LATER);
        }
        let queries = match &entry.queries {
            Some(Ok(queries)) => queries.clone(),
            Some(Err(_)) => return Task::Report(LATER),
            // The spec changed since `unparsed`.
            None => return Task::Wait(Duration::ZERO),
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
        (measured, took): (Measurement, Duration),
    ) -> Option<Begun> {
        let entry = self.all.get_mut(place)?;
        if (&entry.uid, entry.generation) != (&query.uid, query.generation) {
            return None;
        }
        entry.is_slow = took >= SLOW;
        entry.add(at, measured)
    }

    /// The status that the monitor should have now.
    pub(super) fn status(
        &mut self,
        place: &Place,
        sources: &HashMap<String, Source>,
        now: Timestamp,
    ) -> Option<Wanted> {
        let entry = self.all.get_mut(place)?;
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
        Some(Wanted { state, is_queried: !entry.is_surplus, write, unopened: entry.unopened() })
    }

    /// The pause after a failure. It doubles with each failure in a row.
    pub(super) fn failed(&mut self, place: &Place) -> Duration {
        let Some(entry) = self.all.get_mut(place) else { return RETRY[0] };
        let pause = entry.retry;
        entry.retry = (pause * 2).min(RETRY[1]);
        jittered(pause)
    }

    /// Records a success, which ends the failures in a row.
    pub(super) fn succeeded(&mut self, place: &Place) {
        if let Some(entry) = self.all.get_mut(place) {
            entry.retry = RETRY[0];
        }
    }

    /// Applies the stored monitor after a conflict. If another operator wrote the status, its breach and incident count.
    /// A breach that only this operator knows stays. The watch delivers a changed spec.
    pub(super) fn reread(&mut self, place: &Place, monitor: Monitor) {
        let Monitor { metadata, status, .. } = monitor;
        let entry = self.all.get_mut(place).filter(|entry| Some(&entry.uid) == metadata.uid.as_ref());
        if let Some(entry) = entry {
            entry.resource_version = metadata.resource_version;
            status.into_iter().for_each(|stored| entry.adopt(stored));
        }
    }

    /// Records the result of a write.
    pub(super) fn wrote(&mut self, place: &Place, wrote: &Wrote) {
        if let (Wrote::Stored { resource_version, conditions, significant }, Some(entry)) =
            (wrote, self.all.get_mut(place))
        {
            entry.resource_version.clone_from(resource_version);
            entry.conditions.clone_from(conditions);
            entry.written = Some((*significant, Instant::now()));
        }
    }

    /// Records the incident of a breach.
    pub(super) fn opened(&mut self, place: &Place, breach: &Unopened, incident: OpenedIncident) {
        let entry = self.all.get_mut(place).filter(|entry| entry.uid == breach.uid);
        if let Some(entry) = entry
            && entry.track.breach.as_ref().is_some_and(|open| open.since == breach.since)
        {
            (entry.last_incident, entry.has_incident) = (Some(incident), true);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::policy::MONITORS_OF_NAMESPACE;

    fn monitor(namespace: &str, name: &str) -> (Place, Monitor) {
        let object = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "Monitor",
            "metadata": { "name": name, "namespace": namespace, "uid": format!("{namespace}-{name}"), "generation": 1 },
            "spec": { "system": "scorer", "metric": "spd", "query": "spd", "breach": { "above": "0.1" },
                "noData": { "after": "6h", "then": "Unknown" } } });
        ((namespace.to_owned(), name.to_owned()), serde_json::from_value(object).expect("a Monitor"))
    }

    fn apply(entries: &mut Entries, (key, object): (Place, Monitor)) {
        entries.apply(Change::Apply { key, object, listing: true }, Timestamp::UNIX_EPOCH);
    }

    /// The next step for a monitor, as the operator takes it.
    fn task(entries: &mut Entries, place: &Place) -> Task {
        if let Some(spec) = entries.unparsed(place) {
            let queries = LimitedQueries::of(&spec, "namespace", &place.0);
            entries.parsed(place, &spec, queries.map_err(|why| why.to_string()));
        }
        entries.task(place, Timestamp::UNIX_EPOCH)
    }

    /// Changes the action of a monitor, as an edit by a user does.
    fn acts(entries: &mut Entries, place: &Place, generation: i64, on_breach: OnBreach) {
        let (place, mut monitor) = monitor(&place.0, &place.1);
        (monitor.spec.on_breach, monitor.metadata.generation) = (on_breach, Some(generation));
        apply(entries, (place, monitor));
    }

    /// Measures a value.
    fn measure(entries: &mut Entries, place: &Place, value: f64) {
        let Task::Query(query) = task(entries, place) else { panic!("no query is due") };
        entries.add(place, &query, Timestamp::UNIX_EPOCH, (Measurement::Value(value), Duration::ZERO));
    }

    fn unopened(entries: &mut Entries, place: &Place) -> Option<Unopened> {
        entries.status(place, &HashMap::new(), Timestamp::UNIX_EPOCH).expect("a monitor").unopened
    }

    fn opened(name: &str, holds: bool) -> OpenedIncident {
        OpenedIncident { name: name.to_owned(), holds }
    }

    #[test]
    fn breach_without_an_incident_is_not_measured_again_before_its_incident_is_open() {
        let (mut entries, (place, _)) = (Entries::default(), monitor("credit", "drift"));
        acts(&mut entries, &place, 1, OnBreach::Hold);
        measure(&mut entries, &place, 0.2);
        for _ in 0..3 {
            assert!(matches!(task(&mut entries, &place), Task::Open));
        }
        let breach = unopened(&mut entries, &place).expect("a breach without an incident");
        // A restarted operator has only the status.
        let status = entries.status(&place, &HashMap::new(), Timestamp::UNIX_EPOCH).and_then(|w| w.write);
        let mut stored = monitor("credit", "drift").1;
        (stored.spec.on_breach, stored.status) = (OnBreach::Hold, status.map(|write| write.status));
        let mut restarted = Entries::default();
        apply(&mut restarted, (place.clone(), stored));
        assert!(matches!(task(&mut restarted, &place), Task::Open));
        let again = unopened(&mut restarted, &place).expect("the same breach");
        assert_eq!((again.uid, again.since), (breach.uid.clone(), breach.since));

        entries.opened(&place, &breach, opened("drift-1", true));
        assert!(unopened(&mut entries, &place).is_none());
        assert!(matches!(task(&mut entries, &place), Task::Query(_)));
    }

    #[test]
    fn action_that_becomes_hold_during_a_breach_needs_another_incident() {
        let (mut entries, (place, _)) = (Entries::default(), monitor("credit", "drift"));
        acts(&mut entries, &place, 1, OnBreach::OpenIncident);
        measure(&mut entries, &place, 0.2);
        let breach = unopened(&mut entries, &place).expect("a breach");
        entries.opened(&place, &breach, opened("drift-1", false));
        assert!(unopened(&mut entries, &place).is_none());
        acts(&mut entries, &place, 2, OnBreach::Hold);
        let breach = unopened(&mut entries, &place).expect("the incident holds nothing");
        assert_eq!(breach.earlier, None, "the incident of this breach does not count again");
        entries.opened(&place, &breach, opened("drift-2", true));
        for (generation, action) in [(3, OnBreach::OpenIncident), (4, OnBreach::Warn), (5, OnBreach::Hold)] {
            acts(&mut entries, &place, generation, action);
            assert!(unopened(&mut entries, &place).is_none(), "{action:?}");
        }
    }

    #[test]
    fn later_breach_names_the_earlier_incident() {
        let (mut entries, (place, mut object)) = (Entries::default(), monitor("credit", "drift"));
        object.spec.on_breach = OnBreach::Hold;
        object.spec.clear = Some(serde_json::from_value(json!({ "for": "0s" })).expect("a limit"));
        apply(&mut entries, (place.clone(), object));
        measure(&mut entries, &place, 0.2);
        let breach = unopened(&mut entries, &place).expect("a breach");
        entries.opened(&place, &breach, opened("drift-1", true));
        measure(&mut entries, &place, 0.05);
        assert!(unopened(&mut entries, &place).is_none());
        measure(&mut entries, &place, 0.2);
        let breach = unopened(&mut entries, &place).expect("another breach");
        assert_eq!(breach.earlier, Some(opened("drift-1", true)));
    }

    #[test]
    fn conflict_adopts_the_breach_of_another_operator_and_drops_no_own_breach() {
        let (mut entries, (place, _)) = (Entries::default(), monitor("credit", "drift"));
        acts(&mut entries, &place, 1, OnBreach::Hold);
        measure(&mut entries, &place, 0.2);
        let mut stored = monitor("credit", "drift").1;
        stored.status = Some(MonitorStatus::default());
        stored.metadata.resource_version = Some("7".to_owned());
        entries.reread(&place, stored.clone());
        assert!(unopened(&mut entries, &place).is_some(), "the breach of this operator stays");
        let status = json!({ "breach": { "since": "2026-01-01T00:00:00Z", "cause": "other", "incident": "drift-9" },
            "lastIncident": { "name": "drift-9", "holds": true } });
        stored.status = Some(serde_json::from_value(status).expect("a status"));
        entries.reread(&place, stored);
        assert!(unopened(&mut entries, &place).is_none(), "the other operator opened the incident");
        let write = entries.status(&place, &HashMap::new(), Timestamp::UNIX_EPOCH).and_then(|w| w.write);
        let write = write.expect("a status to write");
        assert_eq!(write.resource_version.as_deref(), Some("7"));
        assert_eq!(write.status.breach.and_then(|breach| breach.incident).as_deref(), Some("drift-9"));
    }

    #[test]
    fn pause_after_failures_grows_to_a_limit_and_a_success_ends_it() {
        let (mut entries, (place, object)) = (Entries::default(), monitor("credit", "drift"));
        apply(&mut entries, (place.clone(), object));
        let pauses: Vec<_> = (0..10).map(|_| entries.failed(&place)).collect();
        assert!(pauses[0] < RETRY[0] * 2 && pauses[9] >= RETRY[1] / 2, "{pauses:?}");
        assert!(pauses.iter().all(|pause| *pause <= RETRY[1] * 3 / 2), "{pauses:?}");
        entries.succeeded(&place);
        assert!(entries.failed(&place) < RETRY[0] * 2);
    }

    #[test]
    fn slow_monitor_waits_for_a_slow_turn_until_it_is_fast_or_measures_something_else() {
        let (mut entries, (place, object)) = (Entries::default(), monitor("credit", "drift"));
        apply(&mut entries, (place.clone(), object.clone()));
        let took = |entries: &mut Entries, took| {
            let Task::Query(query) = task(entries, &place) else { panic!("no query is due") };
            let measured = Measurement::NoAnswer("slow".to_owned());
            entries.add(&place, &query, Timestamp::UNIX_EPOCH, (measured, took));
            entries.is_slow(&place)
        };
        assert!(took(&mut entries, SLOW));
        assert!(!took(&mut entries, Duration::from_millis(10)));
        assert!(took(&mut entries, SLOW));
        let (place, mut changed) = monitor("credit", "drift");
        (changed.spec.query, changed.metadata.generation) = (Some("up".to_owned()), Some(2));
        apply(&mut entries, (place.clone(), changed));
        assert!(!entries.is_slow(&place));
    }

    #[test]
    fn monitors_that_hold_are_queried_before_the_others() {
        let mut entries = Entries::default();
        for n in 0..600 {
            apply(&mut entries, monitor("flood", &format!("m-{n:05}")));
        }
        let guard = ("flood".to_owned(), "z-guard".to_owned());
        acts(&mut entries, &guard, 1, OnBreach::Hold);
        assert!(matches!(task(&mut entries, &guard), Task::Query(_)));
        let queried = |entries: &mut Entries| {
            let is_queried = |n: &usize| {
                let place = ("flood".to_owned(), format!("m-{n:05}"));
                matches!(task(entries, &place), Task::Query(_))
            };
            (0..600).filter(is_queried).count()
        };
        assert_eq!(queried(&mut entries), MONITORS_OF_NAMESPACE - 1);
        entries.apply(Change::Delete { key: guard }, Timestamp::UNIX_EPOCH);
        assert_eq!(queried(&mut entries), MONITORS_OF_NAMESPACE);
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
            matches!(task(&mut entries, &place), Task::Query(_))
        };
        let queried = (0..10_000).filter(|n| is_queried("flood", &format!("m-{n:05}"))).count();
        assert_eq!(queried, MONITORS_OF_NAMESPACE);
        assert!(is_queried("calm", "drift") && is_queried("zone", "drift"));
        let place = ("flood".to_owned(), "m-09999".to_owned());
        let wanted = entries.status(&place, &HashMap::new(), now).expect("a monitor");
        assert!(!wanted.is_queried, "a monitor over the limit has no series");
    }
}
