//! Caches all monitors, and decides the next step of each monitor.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::jiff::Timestamp;

use super::{
    entry::{Begun, Entry, LATER, Place, RETRY, Unopened, significant},
    schedule::until_next,
    source::Source,
    status::{self, StatusWrite, Wrote},
};
use crate::{
    api::{Monitor, MonitorSpec, MonitorState, OnBreach, OpenedIncident, condition_states},
    policy::{Measurement, counted_monitors},
    promql::LimitedQueries,
    watch::{Change, jittered},
};

/// A monitor is slow if its last measurement took at least this time, which is half of the maximum time of a query.
const SLOW: Duration = Duration::from_secs(5);

/// A query of a monitor. If the monitor has another `uid` or `generation` when the query ends, the operator drops the
/// result.
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
    /// The monitor was deleted. `is_last` is true if the namespace of the deleted monitor has no other monitor.
    Gone {
        is_last: bool,
    },
    /// The next query is due after this time.
    Wait(Duration),
    Query(Query),
    /// Open the incident of a breach. The next query must wait until the incident exists.
    Open,
    /// Do not query the monitor. Write its status, and check the monitor again after this time.
    Report(Duration),
}

pub(super) struct Wanted {
    pub(super) state: MonitorState,
    /// Whether the operator queries the monitor. If a namespace has too many monitors, the operator queries only some
    /// of them.
    pub(super) is_queried: bool,
    pub(super) write: Option<StatusWrite>,
    pub(super) unopened: Option<Unopened>,
}

#[derive(Default)]
pub(super) struct Entries {
    all: BTreeMap<Place, Entry>,
    /// The monitors that hold their system on a breach.
    holding: BTreeSet<Place>,
}

impl Entries {
    /// Applies a change from the watch. Returns the monitors that are new or deleted, or whose spec changed.
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

    /// Stores a monitor. Returns whether the monitor is new or its spec changed.
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
        // A listed monitor that already has a value waits for its own time in the interval. So the operator does not
        // query all monitors at once after its start.
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

    fn is_surplus(&self, place: &Place) -> bool {
        let holding = self.holding.range((place.0.clone(), String::new())..);
        let holding = holding.take_while(|(namespace, _)| *namespace == place.0);
        let others = self.of_namespace(&place.0).map(|(other, _)| other);
        let others = others.filter(|other| !self.holding.contains(*other));
        counted_monitors(holding, others).all(|counted| counted != place)
    }

    pub(super) fn is_slow(&self, place: &Place) -> bool {
        self.all.get(place).is_some_and(|entry| entry.is_slow)
    }

    /// The spec of the monitor, if its queries are not parsed yet. `None` for a monitor that the operator does not
    /// query.
    pub(super) fn unparsed(&self, place: &Place) -> Option<Arc<MonitorSpec>> {
        let entry = self.all.get(place).filter(|entry| entry.queries.is_none())?;
        (!self.is_surplus(place)).then(|| Arc::clone(&entry.spec))
    }

    /// Records the parsed queries of a monitor, unless the spec of the monitor changed in the meantime.
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

    pub(super) fn task(&mut self, place: &Place, now: Timestamp) -> Task {
        let is_surplus = self.is_surplus(place);
        let is_last = self.of_namespace(&place.0).next().is_none();
        let Some(entry) = self.all.get_mut(place) else { return Task::Gone { is_last } };
        entry.is_surplus = is_surplus;
        // Open the incident first, because the next query could give a value within the limit, and so end the breach.
        if entry.unopened().is_some() {
            return Task::Open;
        }
        if is_surplus {
            return Task::Report(LATER);
        }
        let queries = match &entry.queries {
            Some(Ok(queries)) => queries.clone(),
            Some(Err(_)) => return Task::Report(LATER),
            // The spec changed after the caller parsed the queries.
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

    /// Adds a measurement, unless the monitor changed after [`Self::task`] made the query. Returns the Event that the
    /// measurement causes, if any.
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
            significant: significant(&status),
            status,
        });
        Some(Wanted { state, is_queried: !entry.is_surplus, write, unopened: entry.unopened() })
    }

    /// Returns the pause after a failure. The pause doubles with each failure in a row, up to a limit.
    pub(super) fn failed(&mut self, place: &Place) -> Duration {
        let Some(entry) = self.all.get_mut(place) else { return RETRY[0] };
        let pause = entry.retry;
        entry.retry = (pause * 2).min(RETRY[1]);
        jittered(pause)
    }

    /// After a success, the pause after the next failure is short again.
    pub(super) fn succeeded(&mut self, place: &Place) {
        if let Some(entry) = self.all.get_mut(place) {
            entry.retry = RETRY[0];
        }
    }

    /// Applies the stored status of `monitor` after a conflict. If another operator wrote the status, this function
    /// takes its breach and its incident. A breach that only this operator knows stays. This function ignores a changed
    /// spec, because the watch delivers it.
    pub(super) fn reread(&mut self, place: &Place, monitor: Monitor) {
        let Monitor { metadata, status, .. } = monitor;
        let entry = self.all.get_mut(place).filter(|entry| Some(&entry.uid) == metadata.uid.as_ref());
        if let Some(entry) = entry {
            entry.resource_version = metadata.resource_version;
            if let Some(stored) = status {
                entry.adopt(stored);
            }
        }
    }

    pub(super) fn wrote(&mut self, place: &Place, wrote: &Wrote) {
        if let (Wrote::Stored { resource_version, conditions, significant }, Some(entry)) =
            (wrote, self.all.get_mut(place))
        {
            entry.resource_version.clone_from(resource_version);
            entry.conditions.clone_from(conditions);
            entry.written = Some((*significant, Instant::now()));
        }
    }

    /// Records the incident that the operator opened for `breach`, unless this breach is over.
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
    use crate::{api::MonitorStatus, policy::MONITORS_OF_NAMESPACE};

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

    /// Parses new queries, and returns the next step for the monitor, as the operator does.
    fn task(entries: &mut Entries, place: &Place) -> Task {
        if let Some(spec) = entries.unparsed(place) {
            let queries = LimitedQueries::of(&spec, "namespace", &place.0);
            entries.parsed(place, &spec, queries.map_err(|why| why.to_string()));
        }
        entries.task(place, Timestamp::UNIX_EPOCH)
    }

    /// Changes `onBreach` of a monitor, as a user does.
    fn acts(entries: &mut Entries, place: &Place, generation: i64, on_breach: OnBreach) {
        let (place, mut monitor) = monitor(&place.0, &place.1);
        (monitor.spec.on_breach, monitor.metadata.generation) = (on_breach, Some(generation));
        apply(entries, (place, monitor));
    }

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
        // After a restart, the operator knows only the status.
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
