//! A flood: one user makes thousands of changes per minute in one namespace. Every 10.9 ms, a change with the next
//! number starts. The number determines the kind of the change. At most 32 changes run at the same time.

use std::{
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use anyhow::Result;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use kube::{
    Client,
    api::{Patch, PatchParams, PostParams},
    core::Request,
};
use serde_json::{Value, json};
use tokio::time::{interval, sleep};

use crate::{ControlPlane, Person, Scenario, container, digest};

/// The time between two changes, for 5,500 changes per minute.
const PERIOD: Duration = Duration::from_micros(10_900);

const CONCURRENCY: usize = 32;

const CLIENTS: usize = 4;

/// The wait after a failed change.
const PAUSE: Duration = Duration::from_millis(100);

/// A user who makes many changes in one namespace.
pub struct Flood<'a> {
    scene: Scenario<'a>,
    clients: Vec<Client>,
    begun: AtomicU32,
    done: AtomicU32,
}

impl<'a> Flood<'a> {
    /// A flood that has not started.
    pub fn new(cluster: &'a ControlPlane, namespace: &str) -> Result<Self> {
        let clients = (0..CLIENTS).map(|_| cluster.client(Person::Dev)).collect::<Result<_>>()?;
        let scene = Scenario { cluster, namespace: namespace.to_owned() };
        Ok(Self { scene, clients, begun: AtomicU32::new(0), done: AtomicU32::new(0) })
    }

    /// The number of changes that the API server has stored.
    pub fn changes(&self) -> u32 {
        self.done.load(Relaxed)
    }

    /// Makes changes until the future is dropped.
    pub async fn rise(&self) {
        let numbers = stream::unfold(interval(PERIOD), async |mut ticks| {
            ticks.tick().await;
            Some((self.begun.fetch_add(1, Relaxed), ticks))
        });
        let all = numbers.map(|number| self.try_change(number)).buffer_unordered(CONCURRENCY);
        all.for_each(std::future::ready).await;
    }

    async fn try_change(&self, number: u32) {
        match self.change(number).await {
            Ok(()) => drop(self.done.fetch_add(1, Relaxed)),
            Err(_) => sleep(PAUSE).await,
        }
    }

    /// Makes one change. Most kinds of changes are new objects. One kind edits the system. The approvals have an
    /// invalid signature.
    async fn change(&self, number: u32) -> Result<()> {
        let (scene, name) = (&self.scene, format!("flood-{number}"));
        match number % 6 {
            0 => {
                self.create("assent.dev/v1alpha1", "modelversions", &scene.version(&name, &container(&name)))
                    .await
            }
            1 => {
                let version = format!("flood-{}", number - 1);
                let mut approval = scene.decision("Approve", &version, &digest('0').parse()?, "risk-officer");
                approval["spec"]["signature"] = json!({ "signedAt": "2026-01-01T00:00:00Z", "ssh": "-----BEGIN SSH SIGNATURE-----\nAAAA" });
                self.create("assent.dev/v1alpha1", "approvals", &approval).await
            }
            2 => self.edit(number).await,
            3 => {
                let mut system = scene.system("limited");
                system["metadata"]["name"] = json!(name);
                self.create("assent.dev/v1alpha1", "aisystems", &system).await
            }
            4 => self.create("events.k8s.io/v1", "events", &self.event(&name)).await,
            _ => {
                let assessment =
                    scene.assessment(&name, &digest('0').parse()?, "0.01", "2026-01-01T00:00:00Z");
                self.create("assent.dev/v1alpha1", "assessments", &assessment).await
            }
        }
    }

    async fn create(&self, api_version: &str, plural: &str, object: &Value) -> Result<()> {
        let path = format!("/apis/{api_version}/namespaces/{}/{plural}", self.scene.namespace);
        let create = Request::new(path).create(&PostParams::default(), serde_json::to_vec(object)?)?;
        Ok(self.client().request_text(create).await.map(drop)?)
    }

    async fn edit(&self, number: u32) -> Result<()> {
        let patch = json!({ "spec": { "intendedPurpose": format!("Purpose {number}.") } });
        let request =
            Request::new(format!("/apis/assent.dev/v1alpha1/namespaces/{}/aisystems", self.scene.namespace));
        let request = request.patch("scorer", &PatchParams::default(), &Patch::Merge(&patch))?;
        Ok(self.client().request_text(request).await.map(drop)?)
    }

    fn event(&self, name: &str) -> Value {
        let namespace = &self.scene.namespace;
        json!({ "apiVersion": "events.k8s.io/v1", "kind": "Event", "type": "Normal", "reason": "Flood", "action": "Flood",
            "metadata": { "name": name, "namespace": namespace }, "eventTime": Timestamp::now().round(jiff::Unit::Microsecond).ok(),
            "reportingController": "example.com/flood", "reportingInstance": "flood", "note": "One of many.",
            "regarding": { "apiVersion": "assent.dev/v1alpha1", "kind": "AISystem", "name": "scorer", "namespace": namespace } })
    }

    fn client(&self) -> &Client {
        &self.clients[self.begun.load(Relaxed) as usize % CLIENTS]
    }
}
