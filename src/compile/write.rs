//! Writes a Clearance if it differs from the stored Clearance. If the API server refuses the content, writes a smaller
//! Clearance.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, PostParams},
};
use tracing::warn;

use super::{
    Error,
    clearance::{Compiled, compile_within},
    index::{Index, NamespaceFacts},
    refused::{AGAIN_AFTER, Refused, answer, is_refusal},
    room::Room,
};
use crate::{
    api::{CLEARANCE_NAME, Clearance, ClearanceSpec, Governance},
    metrics::Metrics,
};

/// The field manager of all objects and statuses that the compile writes.
pub(super) const MANAGER: &str = "assent";

pub struct Written {
    /// The result of the compile. Its field `clearance` is `None`, because the write took the value of this field.
    pub compiled: Compiled,
    /// Whether another user had changed or deleted the Clearance, and this write restored it.
    pub modified_externally: bool,
    /// The error message of the API server, if the API server refused a larger Clearance.
    pub refusal: Option<String>,
    /// The total duration of all compiles in this call, without the writes.
    pub took: Duration,
}

/// Compiles and writes the Clearance of `namespace`. If the API server refuses the content, the operator writes a
/// smaller Clearance at once. So withheld versions leave the Clearance even if the new entries are too large.
pub async fn compiled_clearance(
    (client, index, refused, metrics): (&Client, &Index, &Refused, &Metrics),
    (namespace, governance): (&str, Governance),
    facts: &Arc<NamespaceFacts>,
    now: Timestamp,
) -> Result<Written, Error> {
    let (mut room, mut refusal, mut took) = (refused.room(namespace), None, Duration::ZERO);
    loop {
        let begun = Instant::now();
        let mut compiled = in_background(room, (namespace, governance), facts, now).await?;
        took += begun.elapsed();
        let source = match clearance(client, index, namespace, facts, compiled.clearance.take()).await {
            Ok(modified_externally) => {
                let again = SignedDuration::try_from(AGAIN_AFTER).ok().map(|wait| now + wait);
                let again = again.filter(|_| room != Room::Everything);
                compiled.revisit = compiled.revisit.into_iter().chain(again).min();
                return Ok(Written { compiled, modified_externally, refusal, took });
            }
            Err(source) => source,
        };
        let Some(smaller) = room.smaller().filter(|_| is_refusal(&source)) else {
            return Err(Error::Write { what: format!("clearance of namespace {namespace}"), source });
        };
        let why = answer(&source);
        metrics.refused("Clearance");
        warn!(namespace, ?room, "the API server refused the clearance: {why}; writing a smaller one");
        refused.note_room(namespace, smaller);
        (room, refusal) = (smaller, Some(why));
    }
}

/// Compiles on a blocking thread. So a large namespace does not delay enforcement in other namespaces, and a panic does
/// not end the operator.
async fn in_background(
    room: Room,
    (namespace, governance): (&str, Governance),
    facts: &Arc<NamespaceFacts>,
    now: Timestamp,
) -> Result<Compiled, Error> {
    let (owned, facts) = (namespace.to_owned(), Arc::clone(facts));
    let compile = move || compile_within(room, &owned, governance, &facts, now);
    let compiled = tokio::task::spawn_blocking(compile).await;
    compiled.map_err(|_| Error::Compile { namespace: namespace.to_owned() })
}

/// Writes `wanted` as the Clearance of `namespace`. A replacement states the resource version of the Clearance in
/// `facts`, so an operator with a stale cache gets a conflict and retries. If `wanted` is `None`, deletes the Clearance
/// at any resource version. Returns whether the write replaced a change by another user.
async fn clearance(
    client: &Client,
    index: &Index,
    namespace: &str,
    facts: &NamespaceFacts,
    wanted: Option<ClearanceSpec>,
) -> Result<bool, kube::Error> {
    let api: Api<Clearance> = Api::namespaced(client.clone(), namespace);
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    let modified_externally = index.was_modified_externally(namespace, facts.clearance.as_deref());
    match (wanted, &facts.clearance) {
        (None, None) => return Ok(false),
        (Some(wanted), Some(current)) if current.spec == wanted => return Ok(false),
        (Some(wanted), Some(current)) => {
            let mut next = Clearance::new(CLEARANCE_NAME, wanted);
            next.metadata.resource_version = current.resource_version();
            index.record_write(api.replace(CLEARANCE_NAME, &params, &next).await?);
        }
        (Some(wanted), None) => {
            let first = Clearance::new(CLEARANCE_NAME, wanted);
            index.record_write(api.create(&params, &first).await?);
        }
        (None, Some(_)) => {
            api.delete(CLEARANCE_NAME, &DeleteParams::default()).await?;
            index.record_delete(namespace);
        }
    }
    Ok(modified_externally)
}
