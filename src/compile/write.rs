//! Writing the Clearance that was compiled, if it is another, or as much of it as the API server takes.

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

/// The field manager of clearances and statuses.
pub(super) const MANAGER: &str = "assent";

/// What was written of what was compiled.
pub struct Written {
    /// What was compiled; the Clearance is taken out.
    pub compiled: Compiled,
    /// Somebody other than this operator had written or deleted the Clearance.
    pub anothers: bool,
    /// Why the API server refused a larger Clearance just now.
    pub refusal: Option<String>,
    /// How long compiling took, without the writes.
    pub took: Duration,
}

/// Compiles the Clearance of `namespace` and brings it to that. If the API server refuses it for what it is, a smaller
/// one takes its place at once: what must stop stops, whatever else there is no room for.
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
            Ok(anothers) => {
                let again = SignedDuration::try_from(AGAIN_AFTER).ok().map(|wait| now + wait);
                let again = again.filter(|_| room != Room::Everything);
                compiled.revisit = compiled.revisit.into_iter().chain(again).min();
                return Ok(Written { compiled, anothers, refusal, took });
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

/// Compiles on a thread that may block: what one namespace holds must not keep others from being enforced, and
/// what goes wrong with it must not end the operator.
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

/// Brings the `Clearance` of `namespace` to `wanted`, from the version that `facts` knows: an operator
/// that missed another's write gets a conflict and looks again. Returns whether it was somebody else who had
/// written or deleted it.
async fn clearance(
    client: &Client,
    index: &Index,
    namespace: &str,
    facts: &NamespaceFacts,
    wanted: Option<ClearanceSpec>,
) -> Result<bool, kube::Error> {
    let api: Api<Clearance> = Api::namespaced(client.clone(), namespace);
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    let anothers = index.was_modified_externally(namespace, facts.clearance.as_deref());
    match (wanted, &facts.clearance) {
        (None, None) => return Ok(false),
        (Some(wanted), Some(is)) if is.spec == wanted => return Ok(false),
        (Some(wanted), Some(is)) => {
            let mut next = Clearance::new(CLEARANCE_NAME, wanted);
            next.metadata.resource_version = is.resource_version();
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
    Ok(anothers)
}
