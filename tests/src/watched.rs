//! Waits for changes with a watch, so that a measured time contains no polling interval.
//!
//! ```text
//! API server ── watch ──> all objects of a kind ── until(probe) ──> its result, and the instant of success
//! ```

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures::StreamExt as _;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The timeout of a wait. Pods on real nodes can take half a minute to end.
const TIMEOUT: Duration = Duration::from_mins(1);

/// The objects of a kind by namespace and name.
pub type Objects<K> = BTreeMap<(String, String), K>;

/// All objects of a kind, kept up to date by a watch.
pub struct Watched<K> {
    objects: watch::Receiver<Objects<K>>,
    task: JoinHandle<()>,
}

impl<K> Watched<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    /// Starts the watch, and returns when it has listed all existing objects.
    pub async fn start(client: Client) -> Result<Self> {
        let mut events = watcher(Api::<K>::all(client), watcher::Config::default()).default_backoff().boxed();
        let (sender, objects) = watch::channel(Objects::new());
        let (listed, first_list) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut listing = Objects::new();
            let mut listed = Some(listed);
            while let Some(event) = events.next().await {
                match event {
                    Ok(Event::Init) => listing = Objects::new(),
                    Ok(Event::InitApply(object)) => drop(listing.insert(key(&object), object)),
                    Ok(Event::InitDone) => {
                        sender.send_replace(std::mem::take(&mut listing));
                        let _ = listed.take().map(|listed| listed.send(()));
                    }
                    Ok(Event::Apply(object)) => {
                        sender.send_modify(|all| drop(all.insert(key(&object), object)));
                    }
                    Ok(Event::Delete(object)) => sender.send_modify(|all| drop(all.remove(&key(&object)))),
                    // The watcher retries. If all retries fail, `start` or `until` reports a timeout.
                    Err(_) => {}
                }
            }
        });
        timeout(TIMEOUT, first_list).await.context("the watch listed nothing before the timeout")??;
        Ok(Self { objects, task })
    }

    /// Calls `about` with the current objects, and returns its result.
    pub fn now<T>(&self, about: impl FnOnce(&Objects<K>) -> T) -> T {
        about(&self.objects.borrow())
    }

    /// Waits until `probe` succeeds. Returns the result of `probe` and the instant of the success. The message of a
    /// timeout contains the last error of `probe`, which describes the current objects.
    pub async fn until<T>(
        &self,
        what: &str,
        mut probe: impl FnMut(&Objects<K>) -> Result<T, String>,
    ) -> Result<(T, Instant)> {
        let mut objects = self.objects.clone();
        let mut seen = String::new();
        let found = async {
            loop {
                match probe(&objects.borrow_and_update()) {
                    Ok(found) => return Ok((found, Instant::now())),
                    Err(instead) => seen = instead,
                }
                objects.changed().await.context("the watch ended")?;
            }
        };
        match timeout(TIMEOUT, found).await {
            Ok(found) => found,
            Err(_) => bail!("expected within {TIMEOUT:?}: {what}\nseen: {seen}"),
        }
    }
}

impl<K> Drop for Watched<K> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn key<K: Resource<DynamicType = ()>>(object: &K) -> (String, String) {
    (object.namespace().unwrap_or_default(), object.name_any())
}
