//! Elects one leading operator with a Lease. The other operators stand by.
//!
//! Two leaders cannot release an uncleared pod, because the API server checks every release. But a compile with stale
//! watches could restore a clearance that the other leader has withdrawn. So an operator that loses the Lease exits at
//! once.

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

/// The duration of the lease after a renewal.
const DURATION: Duration = Duration::from_secs(25);

/// The interval of renewals. Most requests of an idle operator are renewals, so the interval is long.
const RENEW: Duration = Duration::from_secs(10);

/// The timeout of a renewal, and the wait after a failed renewal or watch. A standby that sees no change of the lease waits
/// at least this long before it tries to take the lease.
const RETRY: Duration = Duration::from_secs(3);

/// A leader that cannot renew the lease stops leading this long before the end of the lease.
const MARGIN: Duration = Duration::from_secs(3);

/// The Lease of the operators.
#[derive(Clone)]
pub struct Leadership {
    leases: Api<Lease>,
    /// The API for reads. A read succeeds even if this program cannot parse the stored lease.
    lenient: Api<Lenient<Lease>>,
    name: &'static str,
    identity: String,
}

impl Leadership {
    /// The lease `assent` in `namespace`. `identity` is the holder name of this operator.
    pub fn new(client: Client, namespace: &str, identity: String) -> Self {
        let lenient = Api::namespaced(client.clone(), namespace);
        Self { leases: Api::namespaced(client, namespace), lenient, name: "assent", identity }
    }

    /// Waits until this operator leads.
    pub async fn acquire(&self) {
        let (mut waiting, mut observed) = (false, Observed::default());
        let mut changes = pin!(watch_object(self.lenient.clone(), self.name));
        while self.attempt("acquire", &mut observed).await != Some(true) {
            if !std::mem::replace(&mut waiting, true) {
                info!(identity = self.identity, "another operator leads; standing by");
            }
            self.wait_for_vacancy(&mut changes, &mut observed).await;
        }
        info!(identity = self.identity, "leading");
    }

    /// Waits until the holder releases the lease, or until the lease expires without an observed renewal.
    async fn wait_for_vacancy(&self, changes: &mut (impl Changes + Unpin), observed: &mut Observed) {
        loop {
            let left = observed.left(Instant::now()).max(RETRY);
            let lease = match tokio::time::timeout(left, changes.next()).await {
                Ok(Some(Ok(lease))) => lease.and_then(|lease| readable(lease).spec).unwrap_or_default(),
                Ok(Some(Err(error))) => {
                    debug!(identity = self.identity, "cannot watch the lease: {error}; retrying in 3 s");
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

    /// Renews the lease. Returns when this operator must stop leading. After a pause of the process, this function
    /// checks the time before it sends a request. Otherwise the operator would continue with stale facts until the
    /// response arrives.
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
        warn!(
            identity = self.identity,
            "another operator holds the lease, or the renewal failed; this operator no longer leads"
        );
    }

    /// Releases the lease, so that a standby does not wait until the lease expires.
    pub async fn release(&self) {
        let Ok(Some(lease)) = self.lenient.get_opt(self.name).await else { return };
        let mut lease = readable(lease);
        let Some(spec) = lease.spec.as_mut() else { return };
        if spec.holder_identity.as_ref() == Some(&self.identity) {
            spec.holder_identity = None;
            if let Err(error) = self.leases.replace(self.name, &PostParams::default(), &lease).await {
                warn!(
                    identity = self.identity,
                    "cannot release the lease: {error}; a standby waits until it expires"
                );
            }
        }
    }

    /// Takes or renews the lease. Returns whether this operator holds the lease now, or `None` if the request failed.
    async fn attempt(&self, verb: &str, observed: &mut Observed) -> Option<bool> {
        match self.take(observed).await {
            Ok(taken) => Some(taken),
            Err(error) => {
                warn!(identity = self.identity, "cannot {verb} the lease: {error}; retrying");
                None
            }
        }
    }

    /// Takes or renews the lease. The write names the resource version that this operator read or wrote last. So if two
    /// operators try at once, one of them gets a conflict.
    async fn take(&self, observed: &mut Observed) -> Result<bool, kube::Error> {
        let now = Timestamp::now();
        let current = match observed.written.take() {
            None => self.lenient.get_opt(self.name).await?.map(readable),
            written => written,
        };
        let Some(mut lease) = current else {
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

/// The results of a watch of the lease.
trait Changes: Stream<Item = Result<Option<Lenient<Lease>>, watcher::Error>> {}

impl<S: Stream<Item = Result<Option<Lenient<Lease>>, watcher::Error>>> Changes for S {}

/// The state that an operator keeps between two attempts to take or renew the lease.
#[derive(Default)]
struct Observed {
    /// The lease as this operator wrote it, so that a renewal needs no read. After a failed attempt it is `None`, and
    /// the next attempt reads the lease.
    written: Option<Lease>,
    /// The last observed spec, and the local time of the first observation of this spec. The operator ignores the
    /// renewal time in the spec, because the clocks can differ by more than the duration of the lease.
    seen: Option<(LeaseSpec, Instant)>,
}

impl Observed {
    /// The remaining time of the lease, if its holder does not renew it.
    fn left(&self, now: Instant) -> Duration {
        self.seen
            .as_ref()
            .map_or(Duration::ZERO, |(spec, at)| (*at + holds_for(spec)).saturating_duration_since(now))
    }

    /// The time since this operator first observed `spec`. Remembers `spec` if it differs from the last observed spec.
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

/// Converts a lease. An unreadable lease counts as free. The operator that takes the lease repairs it.
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
    fn a_lease_lasts_from_the_observed_renewal_regardless_of_the_clock_of_its_holder() {
        let (mut observed, begin) = (Observed::default(), Instant::now());
        let mut held = |spec: &LeaseSpec, second| {
            let age = observed.age(spec, begin + Duration::from_secs(second));
            is_held_by_another(spec, "two", age)
        };
        let long_ago = renewed_at(0);
        assert!(held(&long_ago, 0) && held(&long_ago, 14) && !held(&long_ago, 15));
        assert!(held(&renewed_at(3), 16), "a renewed lease counts as free");
        assert!(!is_held_by_another(&long_ago, "one", Duration::ZERO), "the holder counts as another");
        assert!(
            !is_held_by_another(&LeaseSpec::default(), "two", Duration::ZERO),
            "a free lease counts as held"
        );
    }
}
