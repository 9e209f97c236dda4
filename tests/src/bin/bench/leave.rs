//! When the pods of a selection leave it: as they are deleted, or as they lose the label that selects them.
//! A task of its own reads the watch, or the API server would end it for being slow.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, ResourceExt as _};
use tokio::sync::oneshot;

use crate::rest::Rest;

/// When the first began to leave, and when the last had left.
pub struct Left {
    pub first: Instant,
    pub last: Instant,
}

/// Begins to watch the pods of a namespace that `labels` select, of which there are `count`; then, until none is
/// left.
pub async fn leaving(
    rest: &Rest,
    namespace: &str,
    labels: &str,
    count: usize,
) -> Result<impl Future<Output = Result<Left>> + use<>> {
    let api: Api<PartialObjectMeta<Pod>> = Api::namespaced(rest.0.clone(), namespace);
    let mut events = watcher(api, Config::default().labels(labels)).default_backoff().boxed();
    let (listed, first_list) = oneshot::channel();
    let watch = tokio::spawn(async move {
        let (mut there, mut first, mut listed) = (BTreeSet::new(), None, Some(listed));
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => there.clear(),
                Ok(Event::InitDone) => drop(listed.take().map(|listed| listed.send(there.len()))),
                Ok(Event::InitApply(pod) | Event::Apply(pod)) => {
                    if pod.metadata.deletion_timestamp.is_some() {
                        first.get_or_insert_with(Instant::now);
                    }
                    there.insert(pod.name_any());
                }
                Ok(Event::Delete(pod)) => {
                    first.get_or_insert_with(Instant::now);
                    there.remove(&pod.name_any());
                }
                // It is tried again.
                Err(_) => {}
            }
            if let (true, None, Some(first)) = (there.is_empty(), &listed, first) {
                return Ok(Left { first, last: Instant::now() });
            }
        }
        bail!("the watch ended")
    });
    let there = first_list.await.context("a watch that lists nothing")?;
    ensure!(there == count, "expected: {count} pods of {namespace}\nseen: {there}");
    Ok(async move { watch.await? })
}
