//! The test harness. It runs real Kubernetes control planes on this machine, with Assent and its users.
//!
//! Assent relies on the admission control of the API server, so most tests need a real API server. kwok simulates the
//! nodes. A test can also start a [`Node`], which runs containers.
//!
//! ```text
//!  ControlPlane ─┬─ people      an Account for each Person
//!                ├─ directory   a temporary directory with data, keys, kubeconfigs and logs
//!                └─ processes   a Process for each Component: etcd, API server, controllers, scheduler, kwok
//! ```
//!
//! When the test process ends, all other processes end and all files are removed. [`Process`] ends the processes.

mod alerting;
mod argocd;
mod binaries;
mod certificates;
mod clock;
mod command;
mod component;
mod control_plane;
mod directory;
mod flood;
mod flux;
mod gitops;
mod hostile;
mod installation;
mod kubeconfig;
mod node;
mod nodes;
mod other_verifiers;
mod people;
mod ports;
mod process;
mod prometheus;
mod reader;
mod scenario;
mod setup;
mod start;
mod wait;
mod watched;
mod webhook;

pub use alerting::Alerting;
pub use argocd::ArgoCd;
pub use clock::Clock;
pub use command::{ON_A_TERMINAL, Output};
pub use component::Component;
pub use control_plane::{ControlPlane, Options};
pub use flood::Flood;
pub use flux::Flux;
pub use gitops::Layout;
pub use hostile::{FAR, FINE, HOSTILE, SECRET, Specimen};
pub use installation::{Assent, NAMESPACE, binaries, root};
pub use kubeconfig::Account;
pub use node::{NAME as NODE, Node, PORT, Running};
pub use other_verifiers::OtherVerifiers;
pub use people::Person;
pub use process::Process;
pub use prometheus::Prometheus;
pub use scenario::{Scenario, container, digest, fairness_requirement, from_now, pod_spec};
pub use wait::{SOON, until};
pub use watched::{Objects, Watched};
pub use webhook::Webhook;
