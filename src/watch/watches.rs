//! Every watch of the operator: whether it is up, and which objects it cannot read.
//!
//! ```text
//!  stream of a kind ─┬─ error ─────► broken since, log, metric ─► problems(): /readyz, assent_watch_up
//!                    └─ event ─┬───► the caller
//!                              └─ unreadable ─► known by kind and name ─► log, metric, report
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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
    stream::{in_words, watch_all},
};
use crate::metrics::{KindLabel, Metrics};

/// How long a watch may take to list all objects for the first time.
const LISTS_WITHIN: Duration = Duration::from_mins(1);

/// How long a watch may break again and again before that is a problem: an API server that restarts is none.
const BROKEN: Duration = Duration::from_secs(15);

/// How long after its last error a watch counts as up: an attempt that succeeds says nothing until an object
/// changes. More than the longest wait between two attempts.
const RECOVERS: Duration = Duration::from_secs(20);

/// How many unreadable objects of a namespace are told of one by one; the metric counts all.
const TOLD: usize = 20;

/// The watches of this operator.
pub(crate) struct Watches {
    client: Client,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
    /// An object became unreadable.
    pub(super) news: Notify,
}

#[derive(Debug, Default)]
struct State {
    streams: Vec<Health>,
    unreadable: BTreeMap<String, BTreeMap<Place, Known>>,
}

/// Namespace and name.
type Place = (String, String);

/// Whether one watch is up.
#[derive(Debug)]
struct Health {
    kind: String,
    began: Instant,
    listed: bool,
    broken: Option<Broken>,
}

#[derive(Debug)]
struct Broken {
    since: Instant,
    last: Instant,
    why: String,
}

impl Health {
    fn failed(&mut self, why: String, now: Instant) {
        let since =
            self.broken.as_ref().filter(|broken| now < broken.last + RECOVERS).map_or(now, |b| b.since);
        self.broken = Some(Broken { since, last: now, why });
    }

    /// Why nothing is known of this kind now, if that lasts too long already.
    fn problem(&self, now: Instant) -> Option<String> {
        let broken = self.broken.as_ref().filter(|broken| now < broken.last + RECOVERS);
        let why = broken.map_or("it has not listed all objects yet", |broken| &broken.why);
        let since = match broken {
            Some(broken) if now >= broken.since + BROKEN => broken.since,
            _ if !self.listed && now >= self.began + LISTS_WITHIN => self.began,
            _ => return None,
        };
        Some(format!("the watch of {} is broken for {} s: {why}", self.kind, (now - since).as_secs()))
    }
}

/// An object that cannot be read now.
#[derive(Clone, Debug)]
struct Known {
    unreadable: Told,
    told: bool,
}

/// What is told of an object that cannot be read.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) object: ObjectReference,
    /// Where its kind is, for a request.
    pub(super) path: String,
    pub(super) generation: Option<i64>,
    pub(super) since: Timestamp,
    pub(super) why: String,
}

impl Watches {
    pub(crate) fn new(client: Client, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { client, metrics, state: Mutex::default(), news: Notify::new() })
    }

    /// Watches every object of a kind for ever. An object that cannot be read comes as such; its stream goes on.
    pub(crate) fn all<K>(self: &Arc<Self>) -> impl Stream<Item = Event<Lenient<K>>> + Send + use<K> + 'static
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let kind = K::kind(&()).into_owned();
        let id = {
            let mut state = self.state();
            let began = Instant::now();
            state.streams.push(Health { kind: kind.clone(), began, listed: false, broken: None });
            state.streams.len() - 1
        };
        let (watches, mut listing) = (Arc::clone(self), BTreeSet::new());
        watch_all::<Lenient<K>>(&self.client).filter_map(move |event| {
            let event = match event {
                Ok(event) => {
                    watches.saw(id, &kind, &event, &mut listing);
                    Some(event)
                }
                Err(error) => {
                    watches.broke(id, &kind, &error);
                    None
                }
            };
            std::future::ready(event)
        })
    }

    /// What is wrong with which watch, for longer than a restart of the API server takes.
    pub(crate) fn problems(&self) -> Vec<String> {
        let now = Instant::now();
        self.state().streams.iter().filter_map(|stream| stream.problem(now)).collect()
    }

    /// Brings the metric of the watches up to date.
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
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn broke(&self, id: usize, kind: &str, error: &watcher::Error) {
        let why = in_words(error);
        self.metrics.watch_errors.inc();
        warn!(kind, "the watch broke: {why}; trying again");
        self.state().streams[id].failed(why, Instant::now());
    }

    fn saw<K>(&self, id: usize, kind: &str, event: &Event<Lenient<K>>, listing: &mut BTreeSet<Place>)
    where
        K: Resource<DynamicType = ()>,
    {
        let mut state = self.state();
        // Each attempt to list begins with this, also one that fails.
        if !matches!(event, Event::Init) {
            state.streams[id].broken = None;
        }
        let known = state.unreadable.entry(kind.to_owned()).or_default();
        let before = known.len();
        match event {
            Event::Init => listing.clear(),
            Event::InitApply(Lenient(Err(unreadable))) | Event::Apply(Lenient(Err(unreadable))) => {
                listing.insert(place(&unreadable.metadata));
                if remember::<K>(known, unreadable) {
                    self.news.notify_one();
                }
            }
            Event::InitApply(object) | Event::Apply(object) | Event::Delete(object) => {
                if !known.is_empty() {
                    known.remove(&place(object.meta()));
                }
            }
            Event::InitDone => {
                let listed = std::mem::take(listing);
                known.retain(|place, _| listed.contains(place));
                state.streams[id].listed = true;
            }
        }
        let now = state.unreadable.get(kind).map_or(0, BTreeMap::len);
        if before != now {
            let gauge = self.metrics.invalid_objects.get_or_create(&KindLabel::of(kind)).clone();
            gauge.set(i64::try_from(now).unwrap_or(i64::MAX));
        }
    }

    /// Objects that nobody was told of yet, at most one of each kind and namespace, so that none keeps others waiting.
    pub(super) fn untold(&self) -> Vec<Told> {
        let mut next = Vec::new();
        for known in self.state().unreadable.values_mut() {
            let mut told: BTreeMap<String, usize> = BTreeMap::new();
            for ((namespace, _), known) in known.iter().filter(|(_, known)| known.told) {
                *told.entry(namespace.clone()).or_default() += usize::from(known.told);
            }
            let mut taken = BTreeSet::new();
            for ((namespace, _), known) in known.iter_mut().filter(|(_, known)| !known.told) {
                let is_enough = told.get(namespace).is_some_and(|told| *told >= TOLD);
                if !is_enough && taken.insert(namespace.clone()) {
                    known.told = true;
                    next.push(known.unreadable.clone());
                }
            }
        }
        next
    }
}

fn place(metadata: &kube::core::ObjectMeta) -> Place {
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

/// Remembers an object that cannot be read; whether that is new.
fn remember<K: Resource<DynamicType = ()>>(
    known: &mut BTreeMap<Place, Known>,
    unreadable: &Unreadable,
) -> bool {
    let Unreadable { metadata, why, .. } = unreadable;
    let place = place(metadata);
    let is_known = known
        .get(&place)
        .is_some_and(|known| known.unreadable.object.uid == metadata.uid && known.unreadable.why == *why);
    if is_known {
        return false;
    }
    let (kind, namespace) = (K::kind(&()).into_owned(), metadata.namespace.clone());
    error!(kind, namespace, name = metadata.name, "cannot be read and counts as missing: {why}");
    let told = Told {
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
    known.insert(place, Known { unreadable: told, told: false });
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(now: Instant) -> Health {
        Health { kind: "Job".to_owned(), began: now, listed: true, broken: None }
    }

    #[test]
    fn a_watch_that_keeps_breaking_is_a_problem_and_one_error_is_none() {
        let start = Instant::now();
        let mut job = health(start);
        job.failed("403 Forbidden".to_owned(), start);
        assert_eq!(job.problem(start + Duration::from_secs(14)), None);
        job.failed("403 Forbidden".to_owned(), start + Duration::from_secs(14));
        let said = job.problem(start + Duration::from_secs(16));
        assert_eq!(said.as_deref(), Some("the watch of Job is broken for 16 s: 403 Forbidden"));
        assert_eq!(job.problem(start + Duration::from_secs(35)), None, "nothing failed for twenty seconds");
        job.failed("403 Forbidden".to_owned(), start + Duration::from_mins(1));
        assert_eq!(job.problem(start + Duration::from_secs(61)), None, "it is another failure");
    }

    #[test]
    fn a_watch_that_never_lists_is_a_problem_after_a_minute() {
        let start = Instant::now();
        let job = Health { listed: false, ..health(start) };
        assert_eq!(job.problem(start + Duration::from_secs(59)), None);
        assert!(job.problem(start + Duration::from_secs(61)).is_some_and(|said| said.contains("not listed")));
    }
}
