//! The watches of the operator, their health, and the objects that they cannot read.
//!
//! If a watch fails for some time, `/readyz` names the watch, and the metric `assent_watch_up` of its kind is 0. The
//! caller gets every event of a watch. The operator logs and counts each unreadable object. It reports a limited number
//! of them in each namespace.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures::{Stream, StreamExt};
use k8s_openapi::{api::core::v1::ObjectReference, jiff::Timestamp};
use kube::{
    Client, Resource,
    runtime::watcher::{self, Event},
};
use serde::de::DeserializeOwned;
use tokio::{sync::Notify, time::Instant};
use tracing::{error, warn};

use super::{
    Lenient, Unreadable,
    stream::{describe, watch_all},
};
use crate::{
    lock::lock,
    metrics::{KindLabel, Metrics},
};

/// If the first list of a watch takes longer than this time, the operator reports the watch as a problem.
const FIRST_LIST_TIMEOUT: Duration = Duration::from_mins(1);

/// If a watch fails for longer than this time, the operator reports the watch as a problem. A restart of the API server
/// takes less time.
const TOLERATED_OUTAGE: Duration = Duration::from_secs(15);

/// A watch counts as recovered after this time without an error. A success is visible only if an object changes, so a
/// watch without errors can be silent. A watch that still fails reports the next error earlier, because the maximum
/// back-off is shorter than this time.
const RECOVERED_AFTER: Duration = Duration::from_secs(20);

/// The maximum number of unreadable objects that get a report, for each kind and namespace. The metric counts all
/// unreadable objects.
const MAX_REPORTS: usize = 20;

pub(crate) struct Watches {
    client: Client,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
    pub(super) unreadable_added: Notify,
}

#[derive(Debug, Default)]
struct State {
    streams: Vec<Health>,
    unreadable: BTreeMap<String, BTreeMap<ObjectKey, Entry>>,
}

/// Namespace and name.
type ObjectKey = (String, String);

#[derive(Debug)]
struct Health {
    kind: String,
    began: Instant,
    listed: bool,
    outage: Option<Outage>,
}

/// A series of errors of a watch. The time between two successive errors is shorter than [`RECOVERED_AFTER`].
#[derive(Debug)]
struct Outage {
    since: Instant,
    last: Instant,
    why: String,
}

impl Health {
    fn failed(&mut self, why: String, now: Instant) {
        let since = self.outage(now).map_or(now, |outage| outage.since);
        self.outage = Some(Outage { since, last: now, why });
    }

    fn outage(&self, now: Instant) -> Option<&Outage> {
        self.outage.as_ref().filter(|outage| now < outage.last + RECOVERED_AFTER)
    }

    fn problem(&self, now: Instant) -> Option<String> {
        let outage = self.outage(now);
        let why = outage.map_or("its first list is not complete", |outage| &outage.why);
        let since = match outage {
            // Only a later error proves that the outage lasted. A watch that works again sends no event until an object
            // changes.
            Some(outage) if outage.last >= outage.since + TOLERATED_OUTAGE => outage.since,
            _ if !self.listed && now >= self.began + FIRST_LIST_TIMEOUT => self.began,
            _ => return None,
        };
        Some(format!("the watch of {} has failed for {} s: {why}", self.kind, (now - since).as_secs()))
    }
}

#[derive(Clone, Debug)]
struct Entry {
    report: UnreadableReport,
    reported: bool,
}

/// The content of the Event and of the condition that report an unreadable object.
#[derive(Clone, Debug)]
pub(super) struct UnreadableReport {
    pub(super) object: ObjectReference,
    /// The URL path of all objects of the same kind in the same namespace.
    pub(super) path: String,
    pub(super) generation: Option<i64>,
    pub(super) since: Timestamp,
    pub(super) why: String,
}

impl Watches {
    pub(crate) fn new(client: Client, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { client, metrics, state: Mutex::default(), unreadable_added: Notify::new() })
    }

    /// Watches all objects of a kind. The stream never ends. It also yields unreadable objects.
    pub(crate) fn all<K>(self: &Arc<Self>) -> impl Stream<Item = Event<Lenient<K>>> + Send + use<K> + 'static
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let kind = K::kind(&()).into_owned();
        let id = {
            let mut state = self.state();
            let began = Instant::now();
            state.streams.push(Health { kind: kind.clone(), began, listed: false, outage: None });
            state.streams.len() - 1
        };
        let (watches, mut listing) = (Arc::clone(self), BTreeSet::new());
        watch_all::<Lenient<K>>(&self.client).filter_map(move |event| {
            let event = match event {
                Ok(event) => {
                    watches.observe(id, &kind, &event, &mut listing);
                    Some(event)
                }
                Err(error) => {
                    watches.failed(id, &kind, &error);
                    None
                }
            };
            std::future::ready(event)
        })
    }

    /// Describes the watches whose first list or whose errors last longer than a restart of the API server.
    pub(crate) fn problems(&self) -> Vec<String> {
        let now = Instant::now();
        self.state().streams.iter().filter_map(|stream| stream.problem(now)).collect()
    }

    /// Updates the metric `assent_watch_up`. The value of a kind is 1 if none of its watches has a problem.
    pub(crate) fn measure(&self) {
        let now = Instant::now();
        let mut up: BTreeMap<&str, bool> = BTreeMap::new();
        let state = self.state();
        for stream in &state.streams {
            *up.entry(&stream.kind).or_insert(true) &= stream.problem(now).is_none();
        }
        for (kind, up) in up {
            self.metrics.watch_up.get_or_create(&KindLabel::of(kind)).set(i64::from(up));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn failed(&self, id: usize, kind: &str, error: &watcher::Error) {
        let why = describe(error);
        self.metrics.watch_errors.inc();
        warn!(kind, "the watch failed: {why}; retrying with back-off");
        self.state().streams[id].failed(why, Instant::now());
    }

    fn observe<K>(&self, id: usize, kind: &str, event: &Event<Lenient<K>>, listing: &mut BTreeSet<ObjectKey>)
    where
        K: Resource<DynamicType = ()>,
    {
        let mut state = self.state();
        // `Init` comes before each attempt to list, so it does not prove that the watch works.
        if !matches!(event, Event::Init) {
            state.streams[id].outage = None;
        }
        let unreadable = state.unreadable.entry(kind.to_owned()).or_default();
        let before = unreadable.len();
        match event {
            Event::Init => listing.clear(),
            Event::InitApply(Lenient(Err(object))) | Event::Apply(Lenient(Err(object))) => {
                listing.insert(key(&object.metadata));
                if insert::<K>(unreadable, object) {
                    self.unreadable_added.notify_one();
                }
            }
            Event::InitApply(object) | Event::Apply(object) | Event::Delete(object) => {
                if !unreadable.is_empty() {
                    unreadable.remove(&key(object.meta()));
                }
            }
            Event::InitDone => {
                let listed = std::mem::take(listing);
                unreadable.retain(|key, _| listed.contains(key));
                state.streams[id].listed = true;
            }
        }
        let now = state.unreadable.get(kind).map_or(0, BTreeMap::len);
        if before != now {
            let gauge = self.metrics.invalid_objects.get_or_create(&KindLabel::of(kind)).clone();
            gauge.set(i64::try_from(now).unwrap_or(i64::MAX));
        }
    }

    /// Takes the next reports, at most one for each kind and namespace. So a flood of unreadable objects in one
    /// namespace does not delay the reports of other namespaces.
    pub(super) fn take_reports(&self) -> Vec<UnreadableReport> {
        let mut next = Vec::new();
        for entries in self.state().unreadable.values_mut() {
            let mut reported: BTreeMap<String, usize> = BTreeMap::new();
            for ((namespace, _), _) in entries.iter().filter(|(_, entry)| entry.reported) {
                *reported.entry(namespace.clone()).or_default() += 1;
            }
            let mut taken = BTreeSet::new();
            for ((namespace, _), entry) in entries.iter_mut().filter(|(_, entry)| !entry.reported) {
                let is_enough = reported.get(namespace).is_some_and(|count| *count >= MAX_REPORTS);
                if !is_enough && taken.insert(namespace.clone()) {
                    entry.reported = true;
                    next.push(entry.report.clone());
                }
            }
        }
        next
    }
}

fn key(metadata: &kube::core::ObjectMeta) -> ObjectKey {
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

/// Records an unreadable object. Returns whether the object or its error is new.
fn insert<K: Resource<DynamicType = ()>>(
    entries: &mut BTreeMap<ObjectKey, Entry>,
    unreadable: &Unreadable,
) -> bool {
    let Unreadable { metadata, why, .. } = unreadable;
    let key = key(metadata);
    let is_known = entries
        .get(&key)
        .is_some_and(|entry| entry.report.object.uid == metadata.uid && entry.report.why == *why);
    if is_known {
        return false;
    }
    let (kind, namespace) = (K::kind(&()).into_owned(), metadata.namespace.clone());
    error!(kind, namespace, name = metadata.name, "unreadable, so it counts as missing: {why}");
    let report = UnreadableReport {
        path: K::url_path(&(), namespace.as_deref()),
        generation: metadata.generation,
        since: Timestamp::now(),
        why: why.clone(),
        object: ObjectReference {
            api_version: Some(K::api_version(&()).into_owned()),
            kind: Some(kind),
            name: metadata.name.clone(),
            uid: metadata.uid.clone(),
            namespace,
            ..ObjectReference::default()
        },
    };
    entries.insert(key, Entry { report, reported: false });
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(now: Instant) -> Health {
        Health { kind: "Job".to_owned(), began: now, listed: true, outage: None }
    }

    #[test]
    fn repeated_errors_are_a_problem_and_a_single_error_is_not() {
        let start = Instant::now();
        let mut job = health(start);
        job.failed("403 Forbidden".to_owned(), start);
        for second in [0, 14, 16, 19] {
            assert_eq!(
                job.problem(start + Duration::from_secs(second)),
                None,
                "a single error, after {second} s"
            );
        }
        job.failed("403 Forbidden".to_owned(), start + Duration::from_secs(10));
        job.failed("403 Forbidden".to_owned(), start + Duration::from_secs(16));
        let problem = job.problem(start + Duration::from_secs(17));
        assert_eq!(problem.as_deref(), Some("the watch of Job has failed for 17 s: 403 Forbidden"));
        assert_eq!(job.problem(start + Duration::from_secs(37)), None, "20 s without an error");
        job.failed("403 Forbidden".to_owned(), start + Duration::from_mins(1));
        assert_eq!(job.problem(start + Duration::from_secs(61)), None, "a new outage begins");
    }

    #[test]
    fn missing_first_list_is_a_problem_after_a_minute() {
        let start = Instant::now();
        let job = Health { listed: false, ..health(start) };
        assert_eq!(job.problem(start + Duration::from_secs(59)), None);
        let problem = job.problem(start + Duration::from_secs(61));
        assert!(problem.is_some_and(|problem| problem.contains("first list is not complete")));
    }
}
