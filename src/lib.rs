//! Assent: AI models run on Kubernetes only after the named approvers approved them.
//!
//! ```text
//!  api ◄── policy ◄── compile ──► Clearance ──► enforce ──► pods
//!   ▲                                  │
//!   └── admission: CEL policies that read the Clearance in the API server ◄── guard: restores them
//! ```
//!
//! An arrow to the left or up points to a module that is imported. An arrow to the right shows the flow of data.
//!
//! `policy` has no side effects. `compile` sends its decisions to `enforce` only through the [`api::Clearance`]. `enforce`
//! writes the numbers of pods to `status.pods` of each system. `monitor` queries Prometheus, and opens an
//! [`api::Incident`] on a breach. `record` is the transparency log, which an outsider can verify.

#![forbid(unsafe_code)]

pub mod admin_server;
pub mod admission;
pub mod api;
pub mod cli;
pub mod compile;
pub mod enforce;
mod event_recorder;
pub mod expression;
pub mod guard;
pub mod images;
pub mod leader;
mod lock;
pub mod metrics;
pub mod monitor;
mod nearest;
pub mod operator;
pub mod policy;
pub mod promql;
#[cfg(test)]
mod protocol_model;
pub mod record;
mod timer;
pub mod truncate;
mod watch;
