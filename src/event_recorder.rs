//! Publishes Events (`events.k8s.io/v1`). A repeated Event becomes a series: one Event object with a count. An Event
//! counts as repeated if an Event about the same objects with the same reason, action and cause occurred in the last
//! six minutes.
//!
//! The recorder of kube does not compare notes. It would count an Event with a new cause in the series of an older
//! cause.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Mutex,
    time::{Duration, Instant},
};

use k8s_openapi::{
    api::{
        core::v1::ObjectReference,
        events::v1::{Event as Object, EventSeries},
    },
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
    runtime::events::{Event, EventType},
};
use serde_json::json;

use crate::lock::lock;

/// The name in `reportingController`.
const CONTROLLER: &str = "assent.dev/operator";

/// If an Event repeats after this time, it becomes a new object, as in client-go.
const SERIES_TTL: Duration = Duration::from_mins(6);

/// The time between two removals of old series from the cache.
const CLEANUP: Duration = Duration::from_mins(1);

/// The maximum length of the object's name in the name of an Event. The time of the Event follows. The whole name may
/// have at most 253 characters.
const NAME: usize = 230;

/// The namespace for Events about objects without a namespace.
const DEFAULT_NAMESPACE: &str = "default";

pub(crate) struct EventRecorder {
    client: Client,
    cache: Mutex<Cache>,
}

/// The published Events, by [`key`].
struct Cache {
    series: HashMap<u64, Series>,
    cleaned: Instant,
}

/// A published Event, with the number of its occurrences and the time of the last one.
#[derive(Clone)]
struct Series {
    name: String,
    count: i32,
    last: Instant,
}

impl EventRecorder {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, cache: Mutex::new(Cache { series: HashMap::new(), cleaned: Instant::now() }) }
    }

    /// Publishes `event` about `regarding`. The note of the Event is also its cause.
    ///
    /// # Errors
    ///
    /// The API server did not accept the Event.
    pub(crate) async fn publish(&self, event: &Event, regarding: &ObjectReference) -> kube::Result<()> {
        self.publish_with_cause(event, event.note.as_deref().unwrap_or_default(), regarding).await
    }

    /// Publishes `event` about `regarding`. Events with an equal `cause` are one series, even if their notes name
    /// different commands.
    ///
    /// # Errors
    ///
    /// The API server did not accept the Event.
    pub(crate) async fn publish_with_cause(
        &self,
        event: &Event,
        cause: &str,
        regarding: &ObjectReference,
    ) -> kube::Result<()> {
        let namespace = regarding.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
        let api: Api<Object> = Api::namespaced(self.client.clone(), namespace);
        let key = key(event, cause, regarding);
        if let Some(Series { name, count, .. }) = self.known(key) {
            let count = count.saturating_add(1);
            let series = EventSeries { count, last_observed_time: MicroTime(Timestamp::now()) };
            let patch = Patch::Merge(json!({ "series": series }));
            match api.patch_metadata(&name, &PatchParams::default(), &patch).await {
                Ok(_) => {
                    self.remember(key, name, count);
                    return Ok(());
                }
                // The Event was deleted. Create a new one.
                Err(kube::Error::Api(answer)) if answer.code == 404 => {}
                Err(error) => return Err(error),
            }
        }
        let object = object(event, regarding, namespace);
        let name = object.metadata.name.clone().unwrap_or_default();
        api.create(&PostParams::default(), &object).await?;
        self.remember(key, name, 1);
        Ok(())
    }

    fn known(&self, key: u64) -> Option<Series> {
        let cache = lock(&self.cache);
        cache.series.get(&key).filter(|series| series.last.elapsed() < SERIES_TTL).cloned()
    }

    fn remember(&self, key: u64, name: String, count: i32) {
        let now = Instant::now();
        let mut cache = lock(&self.cache);
        if cache.cleaned.elapsed() > CLEANUP {
            cache.series.retain(|_, series| series.last.elapsed() < SERIES_TTL);
            cache.cleaned = now;
        }
        cache.series.insert(key, Series { name, count, last: now });
    }
}

fn key(event: &Event, cause: &str, regarding: &ObjectReference) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&event.reason, &event.action, cause).hash(&mut hasher);
    for object in [Some(regarding), event.secondary.as_ref()] {
        let fields = object.map(|o| (&o.kind, &o.namespace, &o.name, &o.uid));
        fields.hash(&mut hasher);
    }
    hasher.finish()
}

fn object(event: &Event, regarding: &ObjectReference, namespace: &str) -> Object {
    let now = Timestamp::now();
    let about = regarding.name.as_deref().unwrap_or("assent");
    let about = about.get(..NAME).unwrap_or(about).trim_end_matches(['-', '.']);
    Object {
        metadata: ObjectMeta {
            namespace: Some(namespace.to_owned()),
            name: Some(format!("{about}.{:x}", now.as_nanosecond())),
            ..ObjectMeta::default()
        },
        action: Some(event.action.clone()),
        event_time: Some(MicroTime(now)),
        note: event.note.clone(),
        reason: Some(event.reason.clone()),
        regarding: Some(regarding.clone()),
        related: event.secondary.clone(),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(CONTROLLER.to_owned()),
        type_: Some(
            match event.type_ {
                EventType::Normal => "Normal",
                EventType::Warning => "Warning",
            }
            .to_owned(),
        ),
        ..Object::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(note: &str) -> Event {
        Event {
            type_: EventType::Warning,
            reason: "Held".to_owned(),
            note: Some(note.to_owned()),
            action: "Hold".to_owned(),
            secondary: None,
        }
    }

    #[test]
    fn another_cause_or_object_is_another_series() {
        let about =
            |name: &str| ObjectReference { name: Some(name.to_owned()), ..ObjectReference::default() };
        let same = key(&held("x; see: a"), "x", &about("scorer"));
        assert_eq!(key(&held("x; see: b"), "x", &about("scorer")), same);
        assert_ne!(key(&held("x; see: a"), "y", &about("scorer")), same);
        assert_ne!(key(&held("x; see: a"), "x", &about("other")), same);
    }
}
