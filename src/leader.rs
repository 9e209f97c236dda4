//! One operator at a time: the others wait for the Lease, so that two do not do the same work twice.
//!
//! No pod starts for want of it: the API server looks again at every release. But of two that compile, the
//! one whose watches lag could bring back what the other has withdrawn; so whoever loses it stops at once.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::{SignedDuration, Timestamp},
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::time::Instant;
use tracing::{info, warn};

/// How long a lease holds that is not renewed.
const DURATION: Duration = Duration::from_secs(30);

/// How often it is renewed: what a quiet operator asks of the API server is little else.
const RENEW: Duration = Duration::from_secs(10);

/// How often those that wait look at it: it may be handed over at any time.
const LOOK: Duration = Duration::from_secs(3);

/// How long before its end a leader that cannot renew gives up.
const MARGIN: Duration = Duration::from_secs(3);

/// The Lease by which operators agree who works.
pub struct Leadership {
    leases: Api<Lease>,
    name: &'static str,
    identity: String,
    /// As it was last written: who leads need not read it to renew it.
    written: Mutex<Option<Lease>>,
}

impl Leadership {
    /// The lease `assent` in `namespace`, for the operator that calls itself `identity`.
    pub fn new(client: Client, namespace: &str, identity: String) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            name: "assent",
            identity,
            written: Mutex::default(),
        }
    }

    /// Waits until this operator leads.
    pub async fn acquire(&self) {
        let mut waiting = false;
        while !self.attempt("acquire").await {
            if !std::mem::replace(&mut waiting, true) {
                info!(identity = self.identity, "another operator leads; standing by");
            }
            tokio::time::sleep(LOOK).await;
        }
        info!(identity = self.identity, "leading");
    }

    /// Renews for as long as it can; returns when this operator must stop leading. A process that was paused
    /// looks at the time before it asks anybody: until the answer, it would go on with what it knew.
    pub async fn keep(&self) {
        let mut held_until = Instant::now() + DURATION;
        loop {
            tokio::time::sleep(RENEW).await;
            let begun = Instant::now();
            if held_until <= begun + MARGIN {
                break;
            }
            if tokio::time::timeout(RENEW, self.attempt("renew")).await.unwrap_or_default() {
                held_until = begun + DURATION;
            }
        }
        warn!(identity = self.identity, "the lease could not be renewed; no longer leading");
    }

    /// Hands over at once instead of letting the lease run out.
    pub async fn release(&self) {
        let Ok(Some(mut lease)) = self.leases.get_opt(self.name).await else { return };
        let Some(spec) = lease.spec.as_mut() else { return };
        if spec.holder_identity.as_ref() == Some(&self.identity) {
            spec.holder_identity = None;
            if let Err(error) = self.leases.replace(self.name, &PostParams::default(), &lease).await {
                warn!("the lease was not handed over: {error}");
            }
        }
    }

    async fn attempt(&self, what: &str) -> bool {
        match self.take().await {
            Ok(taken) => taken,
            Err(error) => {
                warn!(identity = self.identity, "{what} the lease: {error}; trying again");
                false
            }
        }
    }

    /// Takes or renews the lease, from the version that was read: of two that try, one gets a conflict.
    async fn take(&self) -> Result<bool, kube::Error> {
        let now = Timestamp::now();
        let Some(mut lease) = self.read().await? else {
            let metadata = ObjectMeta { name: Some(self.name.to_owned()), ..ObjectMeta::default() };
            let lease = Lease { metadata, spec: Some(self.held(LeaseSpec::default(), now)) };
            return self.leases.create(&PostParams::default(), &lease).await.map(|_| true);
        };
        let spec = lease.spec.take().unwrap_or_default();
        if is_held_by_another(&spec, &self.identity, now) {
            return Ok(false);
        }
        lease.spec = Some(self.held(spec, now));
        let lease = self.leases.replace(self.name, &PostParams::default(), &lease).await?;
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) = Some(lease);
        Ok(true)
    }

    /// The lease as this operator wrote it, once: a write that fails is followed by a look.
    async fn read(&self) -> Result<Option<Lease>, kube::Error> {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner).take();
        if written.is_some() { Ok(written) } else { self.leases.get_opt(self.name).await }
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

fn is_held_by_another(spec: &LeaseSpec, identity: &str, now: Timestamp) -> bool {
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    let duration = SignedDuration::from_secs(spec.lease_duration_seconds.unwrap_or_default().into());
    let expired = spec.renew_time.as_ref().is_none_or(|renewed| renewed.0 + duration <= now);
    !holder.is_empty() && holder != identity && !expired
}
