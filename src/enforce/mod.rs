//! Enforces the [`Clearance`] of each namespace: releases, holds and stops its pods.
//!
//! ```text
//!  watch Clearance ─┐
//!  watch Pod ───────┼─► PodCache ─► decide ─┬─ Release ─► act: remove the gate and label ───┐
//!  StatefulSet ─────┘      ▲                ├─ Stop ────► act: evict, then delete ──────────┤
//!                          │                └─ Keep, Hold, Revisit ─► Event, timer          │
//!                          └──────────── result: decide again, Event, metric ◄──────────────┘
//! ```
//!
//! One task owns the cache, so the cache needs no lock. Requests run concurrently and send their results to this task.
//! Two other tasks suspend Jobs ([`job`]) and stop workloads ([`workload`]). A lower module never imports a higher one:
//!
//! ```text
//!  the run loop (this file), retry_workloads, dry_run
//!  watch, requests ─► enforcer
//!  job, workload ─► channels
//!  events ─► event_sender, fair, subject, backup        pod_counts ─► status_writer
//!  act ─► backup        decide ─► decision, cleared, deadline
//!  pod_cache ─► pod_reader ─► pod ─► action, deadline, statefulset ─► owner
//! ```

mod act;
pub(crate) mod action;
mod backup;
mod channels;
mod cleared;
mod deadline;
pub(crate) mod decide;
pub(crate) mod decision;
mod dry_run;
mod enforcer;
mod event_sender;
mod events;
mod fair;
mod job;
mod owner;
pub(crate) mod pod;
pub(crate) mod pod_cache;
mod pod_counts;
mod pod_reader;
mod requests;
pub(crate) mod retry_workloads;
mod statefulset;
mod status_writer;
mod subject;
mod trimmed_pod;
mod watch;
mod workload;

pub(crate) use self::{
    dry_run::{WouldStop, would_be_held, would_stop},
    owner::{OwnerRef, Roots},
    pod::has_ended,
};

use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::{api::apps::v1::StatefulSet, jiff::Timestamp};
use kube::Client;
use tokio::sync::{mpsc, watch as state};

use self::{
    channels::Channels, enforcer::Enforcer, events::EventEmitter, pod_cache::PodCache,
    pod_counts::PodCounter, trimmed_pod::TrimmedPod,
};
use crate::{
    api::Clearance,
    images::Signs,
    metrics::Metrics,
    timer::{sleep_until_opt, sleep_until_time},
    watch::Watches,
};

/// Runs the watches until `shutdown`. Enforcement begins when `leading` is true. After `shutdown`, the function waits
/// for the requests in progress. `signs` says which pods are AI workloads.
pub(crate) async fn run(
    client: Client,
    signs: Signs,
    metrics: Arc<Metrics>,
    watches: Arc<Watches>,
    mut leading: state::Receiver<bool>,
    shutdown: impl Future<Output = ()>,
) {
    let mut clearances = watches.all::<Clearance>().boxed();
    let mut pods = watches.all::<TrimmedPod>().boxed();
    let mut sets = watches.all::<StatefulSet>().boxed();
    let (events, sending) = EventEmitter::new(client.clone(), Arc::clone(&metrics));
    let (counts, writing) = PodCounter::new(client.clone(), Arc::clone(&metrics));
    let (jobs, job_updates) = mpsc::unbounded_channel();
    let (workloads, workload_updates) = mpsc::unbounded_channel();
    let (stops, stop_requests) = mpsc::unbounded_channel();
    let (not_supported, mut failures) = mpsc::unbounded_channel();
    let (accelerators, observed) = (signs.accelerators.clone(), Arc::clone(&metrics));
    let suspending =
        job::run(client.clone(), accelerators, Arc::clone(&observed), &watches, events.clone(), job_updates);
    let stopping = workload::run(
        client.clone(),
        observed,
        events.clone(),
        workload_updates,
        stop_requests,
        not_supported,
    );
    let channels = Channels { jobs, workloads, stops };
    let mut enforcer = Enforcer::new(client, PodCache::new(signs), metrics, events, counts, channels);
    let enforcing = async {
        tokio::pin!(shutdown);
        loop {
            let (next, count_at) = (enforcer.timers.next(), enforcer.counts.due);
            let opens_at = enforcer.pool.opens_at();
            tokio::select! {
                () = &mut shutdown => break,
                Ok(_) = leading.wait_for(|leading| *leading), if !enforcer.synced.leading => enforcer.lead(),
                Some(event) = clearances.next() => enforcer.clearance_event(event),
                Some(event) = pods.next() => enforcer.pod_event(event),
                Some(event) = sets.next() => enforcer.set_event(event),
                Some(answer) = failures.recv() => enforcer.not_supported(&answer),
                Some((key, (asked, done))) = enforcer.pool.finished() => enforcer.done(&key, &asked, done),
                () = sleep_until_time(next) => enforcer.look_again(Timestamp::now()),
                () = sleep_until_opt(opens_at) => enforcer.pool.open(),
                () = sleep_until_opt(count_at), if enforcer.synced.enough() => {
                    enforcer.counts.publish(&enforcer.cache);
                }
            }
            enforcer.start();
        }
        while enforcer.pool.finished().await.is_some() {}
        // The drop closes the channels, and closed channels end the tasks for Jobs and workloads.
        drop(enforcer);
    };
    tokio::select! {
        () = async { tokio::join!(enforcing, suspending, stopping); } => {}
        () = async { tokio::join!(sending, writing); } => {}
    }
}
