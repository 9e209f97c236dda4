//! List-watch, cache and work queue: one object that cannot be read never keeps the others from being seen.
//!
//! ```text
//!  API server ─► list, watch ─► Lenient ─┬─ readable ───► the caller's cache ─► Queue ─► work, retry, pace
//!      ▲          back-off,              └─ unreadable ─► counts as missing ─┐
//!      │          Watches: up or broken                                      │
//!      └── Event, condition Ready=False ◄── report ◄── metric, log ◄─────────┘
//! ```
//!
//! The API server stores objects that this program cannot parse, such as one whose `managedFields` carry the year
//! 9999. Whoever may write one object must not be able to blind the operator for a kind.

mod lenient;
mod light;
mod queue;
mod relist;
mod report;
pub(crate) mod request;
mod retry;
mod stream;
mod watches;

pub(crate) use self::{
    lenient::{Lenient, Unreadable},
    light::{Metadata, NamespaceMeta},
    queue::{Outcome, Queue},
    relist::{Change, Relist},
    report::report,
    retry::{RETRY, background_backoff, is_transient, jittered},
    watches::Watches,
};
