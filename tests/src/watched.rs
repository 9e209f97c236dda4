//! Waiting without polling: a watch tells every change as the API server announces it, so that what is
//! measured is Assent and not the interval of a loop.
//!
//! ```text
//! API server ── watch ──> every object of a kind ── until(probe) ──> what it found, and when
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

/// How long anything may take that should happen at once; real nodes give pods half a minute to end.
const PATIENCE: Duration = Duration::from_mins(1);

/// The objects of a kind by namespace and name.
pub type Objects<K> = BTreeMap<(String, String), K>;

/// Every object of a kind, as a watch tells.
pub struct Watched<K> {
    objects: watch::Receiver<Objects<K>>,
    task: JoinHandle<()>,
}

impl<K> Watched<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    /// Begins to watch; returns when everything that is there has been seen.
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
                    // It is tried again; who waits in vain says for what.
                    Err(_) => {}
                }
            }
        });
        timeout(PATIENCE, first_list).await.context("a watch that lists nothing")??;
        Ok(Self { objects, task })
    }

    /// Something about what there is now.
    pub fn now<T>(&self, about: impl FnOnce(&Objects<K>) -> T) -> T {
        about(&self.objects.borrow())
    }

    /// Waits until `probe` finds `what`, and when that was; until then it says what it sees instead.
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
        match timeout(PATIENCE, found).await {
            Ok(found) => found,
            Err(_) => bail!("expected within {PATIENCE:?}: {what}\nseen: {seen}"),
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
