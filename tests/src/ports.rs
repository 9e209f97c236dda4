//! Assigns free ports. Several control planes run at the same time, and the port of a stopped server must stay free for
//! its restart. So the ports are outside the range from which the kernel assigns ports to clients.
//!
//! ```text
//!     20000 ······ assigned here ······ 30000      32768 ······ assigned to clients by the kernel ······
//! ```

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};

pub struct Ports {
    pub etcd: u16,
    pub etcd_peer: u16,
    pub api_server: u16,
}

impl Ports {
    pub fn pick() -> Result<Self> {
        let port = || free_port().context("no free port on 127.0.0.1 between 20000 and 30000");
        Ok(Self { etcd: port()?, etcd_peer: port()?, api_server: port()? })
    }
}

/// A port that is free now. Earlier calls in this process returned other ports, up to 10,000 calls. The process id sets
/// the first candidate, so processes that start at the same time try different ports.
pub fn free_port() -> Option<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(37);
    let candidates = (0..10_000).map(|_| start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)));
    let mut ports = candidates.filter_map(|number| u16::try_from(20_000 + number % 10_000).ok());
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
}
