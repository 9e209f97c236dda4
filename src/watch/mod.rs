//! List-watch, changes, work queue and requests: one unreadable object never hides the others.
//!
//! ```text
//!  API server ─► Watches: list, watch ─► Lenient ─► Relist ─► Change ─► the cache of the caller ─► Queue, Pool
//!      ▲         back-off, up or broken     │                                                       retry, limit
//!      │                                    └─ unreadable: counts as missing ─┐
//!      └── Event, condition Ready=False ◄── report ◄── metric, log ◄─────────┘
//! ```
//!
//! The API server stores objects that this program cannot parse, such as one whose `managedFields` have the year
//! 9999. Whoever may write one object must not be able to hide all objects of its kind.
//!
//! The `Controller` and `reflector` of kube-runtime do not fit: they keep whole objects, drop a list with an
//! unreadable object, and know no limit that follows the answers of the API server.

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
    retry::{RETRY, background_backoff, is_transient, jittered},
    timers::Timers,
    watches::Watches,
};
