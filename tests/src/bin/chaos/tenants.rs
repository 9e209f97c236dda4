//! Other tenants: they create hostile objects and make thousands of changes, and none of it concerns the
//! namespaces that the witness judges.
//!
//! ```text
//!  Tenants ─┬─ tenant-7-1-odd, -free   hostile objects: in an enforced namespace, in an ungoverned one, in none
//!           └─ tenant-7-1-flood        5,000 changes a minute
//! ```

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Result;
use assent_tests::{ControlPlane, Flood, Scenario, Specimen};
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::plan::{Fault, Kind};

/// How long a tenant waits for the API server to take an object.
const PATIENCE: Duration = Duration::from_secs(10);

/// The other tenants of one round.
pub struct Tenants<'a> {
    cluster: &'a ControlPlane,
    namespaces: Vec<String>,
    /// One list for each namespace.
    specimens: Vec<Vec<Specimen>>,
    flood: Flood<'a>,
    stored: AtomicUsize,
}

impl<'a> Tenants<'a> {
    /// Creates their namespaces, each of which begins with `name`.
    pub async fn begin(cluster: &'a ControlPlane, name: &str) -> Result<Self> {
        let [odd, free, flooded] = ["odd", "free", "flood"].map(|what| format!("{name}-{what}"));
        let mut specimens = Vec::new();
        for (namespace, labels) in [(&odd, json!({ "assent.dev/mode": "enforce" })), (&free, json!({}))] {
            let scene = Scenario::governed_by(cluster, namespace, "limited", &labels).await?;
            specimens.push(Specimen::all(&scene)?);
        }
        Scenario::new(cluster, &flooded, "limited").await?;
        let flood = Flood::new(cluster, &flooded)?;
        let namespaces = vec![odd, free, flooded];
        Ok(Self { cluster, namespaces, specimens, flood, stored: AtomicUsize::new(0) })
    }

    /// Creates the object of that number in each namespace and makes it odd. After the fault it is deleted, or not.
    pub async fn disturb(&self, number: usize, fault: &Fault) {
        let all = self.specimens.iter().map(|specimens| &specimens[number]);
        for specimen in all.clone() {
            let storing = async {
                // It may be left from before.
                let created = specimen.create(self.cluster).await.is_ok();
                let answers = specimen.make_odd(self.cluster).await.unwrap_or_default();
                answers.iter().filter(|(_, answer)| answer.is_ok()).count() + usize::from(created)
            };
            let stored = timeout(PATIENCE, storing).await.unwrap_or(0);
            self.stored.fetch_add(stored, Relaxed);
        }
        sleep(fault.lasts).await;
        if fault.kind == (Kind::Odd { stays: false }) {
            for specimen in all {
                let _ = timeout(PATIENCE, specimen.delete(self.cluster)).await;
            }
        }
    }

    /// Makes changes for so long.
    pub async fn flood(&self, lasts: Duration) {
        let _ = timeout(lasts, self.flood.rise()).await;
    }

    /// What they did so far, in words.
    pub fn deeds(&self) -> String {
        let (stored, changes) = (self.stored.load(Relaxed), self.flood.changes());
        format!("tenants stored {stored} odd objects or parts of them, and made {changes} changes in floods")
    }

    /// Deletes what is in no namespace, and returns the namespaces, which are to be deleted.
    pub async fn leave(&self) -> Vec<String> {
        for specimen in self.specimens.iter().flatten().filter(|specimen| !specimen.is_namespaced()) {
            let _ = timeout(PATIENCE, specimen.delete(self.cluster)).await;
        }
        self.namespaces.clone()
    }
}
