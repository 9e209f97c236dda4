//! Assent: no AI runs without assent.
//!
//! ```text
//!  api ◄── policy ◄── compile ──► Clearance ──► enforce ──► pods
//!   ▲                                  │
//!   └── admission: CEL policies, which read the Clearance in the API server itself ◄── guard: restores them
//! ```
//!
//! `policy` is pure. `compile` and `enforce` know nothing of each other: all that goes from one to the
//! other goes through the [`api::Clearance`].

#![forbid(unsafe_code)]

pub mod admin_server;
pub mod admission;
pub mod api;
pub mod cli;
pub mod compile;
pub mod enforce;
pub mod guard;
pub mod images;
pub mod leader;
pub mod metrics;
pub mod operator;
pub mod policy;
#[cfg(test)]
mod protocol_model;
mod timer;
pub mod truncate;
mod watch;
