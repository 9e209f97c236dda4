//! How objects are watched: all of a kind, and soon again when a watch breaks, since what was revoked meanwhile
//! goes on until it is seen.
//!
//! ```text
//!  list ─► watch ─► Event …     broken ─► 0.5 s ─► 1 s ─► 2 s ─► 4 s ─► 5 s ─► 5 s …, with jitter
//! ```

use std::{fmt::Debug, time::Duration};

use backon::ExponentialBuilder;
use futures::Stream;
use kube::{
    Api, Client, Resource,
    runtime::{
        WatchStreamExt,
        utils::ResetTimerBackoff,
        watcher::{self, Error, Event, ExponentialBackoff},
    },
};
use serde::de::DeserializeOwned;

/// The first and the longest wait before a watch that broke is begun again. The Kubernetes default, up to half a
/// minute, is for clients that can wait.
const WAITS: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(5)];

/// How long a watch must hold for the next wait to be the first again.
const RECOVERED: Duration = Duration::from_mins(1);

/// Watches every object of a kind for ever; after an error it goes on by itself.
pub fn watch_all<K>(client: &Client) -> impl Stream<Item = Result<Event<K>, Error>> + Send + 'static
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let [first, longest] = WAITS;
    let waits = ExponentialBuilder::default().with_min_delay(first).with_max_delay(longest);
    let waits = ExponentialBackoff::from(waits.without_max_times().with_jitter());
    kube::runtime::watcher(Api::all(client.clone()), watcher::Config::default())
        .backoff(ResetTimerBackoff::new(waits, RECOVERED))
}
