//! Other tenants of the cluster. They create hostile objects, some of them cluster-scoped, and make thousands of
//! changes. The witness does not judge the namespaces of these tenants.
//!
//! ```text
//!  Tenants ─┬─ tenant-7-1-odd     hostile objects in a namespace that enforces
//!           ├─ tenant-7-1-free    hostile objects in an ungoverned namespace
//!           └─ tenant-7-1-flood   5,500 changes per minute
//! ```

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Result;
use assent_tests::{ControlPlane, Flood, Scenario, Specimen};
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::plan::{Fault, Kind};

/// The timeout for the requests about one hostile object.
const TIMEOUT: Duration = Duration::from_secs(10);

pub struct Tenants<'a> {
    cluster: &'a ControlPlane,
    namespaces: Vec<String>,
    /// For each namespace with hostile objects, one specimen of each kind.
    specimens: Vec<Vec<Specimen>>,
    flood: Flood<'a>,
    stored: AtomicUsize,
}

impl<'a> Tenants<'a> {
    /// Creates the namespaces of the tenants. Their names begin with `name`.
    pub async fn start(cluster: &'a ControlPlane, name: &str) -> Result<Self> {
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

    /// Creates the specimen with this number in each namespace, and applies the hostile patches. Deletes the objects at
    /// the end of the fault, unless the fault has `stays: true`.
    pub async fn create_odd(&self, number: usize, fault: &Fault) {
        let all = self.specimens.iter().map(|specimens| &specimens[number]);
        for specimen in all.clone() {
            let storing = async {
                // The creation fails if the object still exists from an earlier fault.
                let created = specimen.create(self.cluster).await.is_ok();
                let answers = specimen.make_odd(self.cluster).await.unwrap_or_default();
                answers.iter().filter(|(_, answer)| answer.is_ok()).count() + usize::from(created)
            };
            let stored = timeout(TIMEOUT, storing).await.unwrap_or(0);
            self.stored.fetch_add(stored, Relaxed);
        }
        sleep(fault.lasts).await;
        if fault.kind == (Kind::Odd { stays: false }) {
            for specimen in all {
                let _ = timeout(TIMEOUT, specimen.delete(self.cluster)).await;
            }
        }
    }

    pub async fn flood(&self, lasts: Duration) {
        let _ = timeout(lasts, self.flood.rise()).await;
    }

    pub fn summary(&self) -> String {
        let (stored, changes) = (self.stored.load(Relaxed), self.flood.changes());
        format!(
            "tenants stored {stored} hostile objects or changes of them, and made {changes} changes in floods"
        )
    }

    /// Deletes the cluster-scoped objects. Returns the namespaces, which the caller must delete.
    pub async fn clean_up(&self) -> Vec<String> {
        for specimen in self.specimens.iter().flatten().filter(|specimen| !specimen.is_namespaced()) {
            let _ = timeout(TIMEOUT, specimen.delete(self.cluster)).await;
        }
        self.namespaces.clone()
    }
}
