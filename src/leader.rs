//! One operator at a time: the others wait for the Lease, so that two do not do the same work twice.
//!
//! No pod starts for want of it: the API server looks again at every release. But of two that compile, the
//! one whose watches lag could bring back what the other has withdrawn; so whoever loses it stops at once.

use std::{pin::pin, time::Duration};

use futures::{Stream, StreamExt};
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
    runtime::watcher::{self, watch_object},
};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::watch::Lenient;

/// How long a lease holds that is not renewed.
const DURATION: Duration = Duration::from_secs(25);

/// How often it is renewed: of what a quiet operator asks of the API server, this is the most.
const RENEW: Duration = Duration::from_secs(10);

/// How soon what came to nothing is tried again, and how long an answer may take.
const RETRY: Duration = Duration::from_secs(3);

/// How long before its end a leader that cannot renew gives up.
const MARGIN: Duration = Duration::from_secs(3);

/// The Lease by which operators agree who works.
#[derive(Clone)]
pub struct Leadership {
    leases: Api<Lease>,
    /// The same, to read them.
    known: Api<Lenient<Lease>>,
    name: &'static str,
    identity: String,
}

impl Leadership {
    /// The lease `assent` in `namespace`, for the operator that calls itself `identity`.
    pub fn new(client: Client, namespace: &str, identity: String) -> Self {
        let known = Api::namespaced(client.clone(), namespace);
        Self { leases: Api::namespaced(client, namespace), known, name: "assent", identity }
    }

    /// Waits until this operator leads.
    pub async fn acquire(&self) {
        let (mut waiting, mut observed) = (false, Observed::default());
        let mut changes = pin!(watch_object(self.known.clone(), self.name));
        while self.attempt("acquire", &mut observed).await != Some(true) {
            if !std::mem::replace(&mut waiting, true) {
                info!(identity = self.identity, "another operator leads; standing by");
            }
            self.wait_for_vacancy(&mut changes, &mut observed).await;
        }
        info!(identity = self.identity, "leading");
    }

    /// Waits until the lease is handed over, or as long as it holds if nobody is seen to renew it.
    async fn wait_for_vacancy(&self, changes: &mut (impl Changes + Unpin), observed: &mut Observed) {
        loop {
            let left = observed.left(Instant::now()).max(RETRY);
            let lease = match tokio::time::timeout(left, changes.next()).await {
                Ok(Some(Ok(lease))) => lease.and_then(|lease| readable(lease).spec).unwrap_or_default(),
                Ok(Some(Err(error))) => {
                    debug!(identity = self.identity, "watch of the lease: {error}; trying again");
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
                Ok(None) | Err(_) => return,
            };
            let age = observed.age(&lease, Instant::now());
            if !is_held_by_another(&lease, &self.identity, age) {
                return;
            }
        }
    }

    /// Renews for as long as it can; returns when this operator must stop leading. A process that was paused
    /// looks at the time before it asks anybody: until the answer, it would go on with what it knew.
    pub async fn renew(&self) {
        let (mut held_until, mut observed, mut wait) =
            (Instant::now() + DURATION, Observed::default(), RENEW);
        loop {
            tokio::time::sleep(wait).await;
            let begun = Instant::now();
            if held_until <= begun + MARGIN {
                break;
            }
            wait = match tokio::time::timeout(RETRY, self.attempt("renew", &mut observed)).await {
                Ok(Some(true)) => {
                    held_until = begun + DURATION;
                    RENEW
                }
                Ok(Some(false)) => break,
                Ok(None) | Err(_) => RETRY,
            }
        }
        warn!(identity = self.identity, "the lease is another's or could not be renewed; no longer leading");
    }

    /// Hands over at once instead of letting the lease run out.
    pub async fn release(&self) {
        let Ok(Some(lease)) = self.known.get_opt(self.name).await else { return };
        let mut lease = readable(lease);
        let Some(spec) = lease.spec.as_mut() else { return };
        if spec.holder_identity.as_ref() == Some(&self.identity) {
            spec.holder_identity = None;
            if let Err(error) = self.leases.replace(self.name, &PostParams::default(), &lease).await {
                warn!("the lease was not handed over: {error}");
            }
        }
    }

    /// Whether this operator holds the lease now; `None` where the API server did not say.
    async fn attempt(&self, what: &str, observed: &mut Observed) -> Option<bool> {
        match self.take(observed).await {
            Ok(taken) => Some(taken),
            Err(error) => {
                warn!(identity = self.identity, "{what} the lease: {error}; trying again");
                None
            }
        }
    }

    /// Takes or renews the lease, from the version that was read or written last: of two that try, one gets
    /// a conflict.
    async fn take(&self, observed: &mut Observed) -> Result<bool, kube::Error> {
        let now = Timestamp::now();
        let known = match observed.written.take() {
            None => self.known.get_opt(self.name).await?.map(readable),
            written => written,
        };
        let Some(mut lease) = known else {
            let metadata = ObjectMeta { name: Some(self.name.to_owned()), ..ObjectMeta::default() };
            let lease = Lease { metadata, spec: Some(self.held(LeaseSpec::default(), now)) };
            return self.leases.create(&PostParams::default(), &lease).await.map(|_| true);
        };
        let spec = lease.spec.take().unwrap_or_default();
        if is_held_by_another(&spec, &self.identity, observed.age(&spec, Instant::now())) {
            return Ok(false);
        }
        lease.spec = Some(self.held(spec, now));
        observed.written = Some(self.leases.replace(self.name, &PostParams::default(), &lease).await?);
        Ok(true)
    }

    fn held(&self, before: LeaseSpec, now: Timestamp) -> LeaseSpec {
        let renewed = before.holder_identity.as_ref() == Some(&self.identity);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: if renewed { before.acquire_time } else { Some(MicroTime(now)) },
            renew_time: Some(MicroTime(now)),
            lease_transitions: Some(before.lease_transitions.unwrap_or_default() + i32::from(!renewed)),
            ..before
        }
    }
}

/// What a watch tells of the lease.
trait Changes: Stream<Item = Result<Option<Lenient<Lease>>, watcher::Error>> {}

impl<S: Stream<Item = Result<Option<Lenient<Lease>>, watcher::Error>>> Changes for S {}

/// What is known of the lease from one attempt to the next.
#[derive(Default)]
struct Observed {
    /// As this operator wrote it: who renews it need not read it first. Whatever an attempt that failed did,
    /// the next one looks.
    written: Option<Lease>,
    /// The last renewal that was seen, and when. How old it is, the holder's clock cannot tell: it may differ
    /// from ours by more than the lease lasts.
    seen: Option<(LeaseSpec, Instant)>,
}

impl Observed {
    /// For how long the lease holds yet, if nobody renews it.
    fn left(&self, now: Instant) -> Duration {
        self.seen
            .as_ref()
            .map_or(Duration::ZERO, |(spec, at)| (*at + holds_for(spec)).saturating_duration_since(now))
    }

    /// For how long nobody renewed the lease that is now `spec`, as far as was seen.
    fn age(&mut self, spec: &LeaseSpec, now: Instant) -> Duration {
        match &self.seen {
            Some((seen, at)) if seen == spec => now - *at,
            _ => {
                self.seen = Some((spec.clone(), now));
                Duration::ZERO
            }
        }
    }
}

/// A lease that cannot be read is nobody's, and whoever takes it puts it right.
fn readable(lease: Lenient<Lease>) -> Lease {
    lease.0.unwrap_or_else(|unreadable| Lease { metadata: unreadable.metadata, spec: None })
}

fn holds_for(spec: &LeaseSpec) -> Duration {
    let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    Duration::from_secs(seconds.unwrap_or_default())
}

fn is_held_by_another(spec: &LeaseSpec, identity: &str, age: Duration) -> bool {
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    !holder.is_empty() && holder != identity && age < holds_for(spec)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renewed_at(second: i64) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some("one".to_owned()),
            lease_duration_seconds: Some(15),
            renew_time: Timestamp::from_second(second).ok().map(MicroTime),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn a_lease_lasts_from_when_its_renewal_was_seen_whatever_the_holders_clock_says() {
        let (mut observed, begin) = (Observed::default(), Instant::now());
        let mut held = |spec: &LeaseSpec, second| {
            let age = observed.age(spec, begin + Duration::from_secs(second));
            is_held_by_another(spec, "two", age)
        };
        let long_ago = renewed_at(0);
        assert!(held(&long_ago, 0) && held(&long_ago, 14) && !held(&long_ago, 15));
        assert!(held(&renewed_at(3), 16), "it was renewed after all");
        assert!(!is_held_by_another(&long_ago, "one", Duration::ZERO), "it is one's own");
        assert!(!is_held_by_another(&LeaseSpec::default(), "two", Duration::ZERO), "nobody holds it");
    }
}
