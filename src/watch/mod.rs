//! Watches objects, reports unreadable objects, and provides a work queue and a pool of requests.
//!
//! ```text
//!  API server ─► Watches ─► Lenient ─► Relist ─► Change ─► the cache of the caller ─► Queue or Pool
//! ```
//!
//! A watch that fails restarts after a back-off. An unreadable object never hides the other objects of its kind. It
//! usually counts as missing, and the operator reports it with an Event and the condition `Ready`.
//!
//! The API server stores objects that the operator cannot parse, for example with the time `9999-12-31T23:59:59Z` in
//! `managedFields`. A user who may write one object must not be able to hide all objects of its kind.
//!
//! Some unreadable objects do not count as missing. An unreadable pod exists, but is never cleared. If a `Clearance`
//! becomes unreadable, `enforce` keeps the last readable `Clearance`. `guard` restores an unreadable admission policy.
//! `compile` applies an unreadable rejection, revocation or incident if it can read the fields that decide about
//! versions.
//!
//! This module replaces the `Controller` and the `reflector` of kube-runtime. Both keep whole objects, drop a list with
//! an unreadable object, and have no concurrency limit that adapts to the load of the API server.

mod concurrency;
mod lenient;
mod light;
mod pool;
mod queue;
mod relist;
mod report;
pub(crate) mod request;
mod retry;
mod stream;
mod timers;
mod watches;

pub(crate) use self::{
    lenient::{Lenient, Unreadable},
    light::{Metadata, NamespaceMeta},
    pool::Pool,
    queue::{Outcome, Queue},
    relist::{Change, Relist},
    report::report,
    retry::{RETRY, background_backoff, is_transient, jittered, retry_delay},
    timers::Timers,
    watches::Watches,
};
