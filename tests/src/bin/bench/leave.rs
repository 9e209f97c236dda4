//! Measures when the pods of a label selector are gone or lose the label.
//!
//! A separate task reads the watch, because the API server closes the watch of a slow client.

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

/// When the first pod began to leave the selection, and when the last pod had left it.
pub struct Left {
    pub first: Instant,
    pub last: Instant,
}

/// Starts a watch of the `count` pods that `labels` select. The returned future ends when no pod is left.
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
                // After an error, the watcher retries by itself.
                Err(_) => {}
            }
            if let (true, None, Some(first)) = (there.is_empty(), &listed, first) {
                return Ok(Left { first, last: Instant::now() });
            }
        }
        bail!("the watch ended")
    });
    let there = first_list.await.context("the watch listed nothing")?;
    ensure!(there == count, "expected: {count} pods of {namespace}\nseen: {there}");
    Ok(async move { watch.await? })
}
