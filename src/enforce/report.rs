//! The status of a system says how many pods it has, and by the condition `PodsHeld` which workloads wait.
//!
//! ```text
//!  Count ─► the roots of the controllers ─► status.pods, condition PodsHeld ─► written, if it is another
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;
use tokio::sync::mpsc;
use tracing::debug;

use super::owner::{OwnerRef, Roots};
use crate::{
    api::{AISystem, Condition, PODS_HELD, PodCount, condition},
    watch::{Lenient, RETRY, is_transient, jittered, request},
};

/// The field manager of what is reported.
const MANAGER: &str = "assent-census";

/// How many systems are read at a time.
const PAGE: u32 = 500;

/// How many controllers of held pods are told of.
const NAMED: usize = 8;

/// A system: its namespace and its name.
pub type System = (Arc<str>, Arc<str>);

/// The pods of a system, and the controllers of those that are held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub pods: PodCount,
    held_of: BTreeSet<Arc<OwnerRef>>,
}

impl Count {
    /// No pods, as `pods` says it.
    pub const fn none(pods: PodCount) -> Self {
        Self { pods, held_of: BTreeSet::new() }
    }

    /// Counts a held pod.
    pub fn hold(&mut self, owner: Option<&Arc<OwnerRef>>) {
        self.pods.held += 1;
        if self.held_of.len() < NAMED {
            self.held_of.extend(owner.cloned());
        }
    }
}

/// What the status of a system says.
type Said = (PodCount, Condition);

/// Writes counts into statuses.
pub struct Report {
    client: Client,
    roots: Roots,
    /// What was said last, by this operator or by the one before it.
    said: BTreeMap<System, Said>,
}

impl Report {
    pub fn new(client: Client) -> Self {
        Self { client, roots: Roots::default(), said: BTreeMap::new() }
    }

    /// Writes the last count of each system, again and again if the API server has too much to do. Of a system that
    /// has none it is gone, and nothing was said of one that comes in its place.
    pub async fn run(mut self, mut counts: mpsc::UnboundedReceiver<(System, Option<Count>)>) {
        let mut unsaid = BTreeMap::new();
        let mut next = counts.recv().await;
        self.said = said_before(&self.client).await;
        loop {
            while let Some((system, count)) = next.take().or_else(|| counts.try_recv().ok()) {
                if count.is_none() {
                    self.said.remove(&system);
                }
                unsaid.insert(system, count);
            }
            match unsaid.pop_first() {
                Some((system, Some(count))) => {
                    if let Err(error) = self.say(&system, &count).await {
                        if is_transient(&error) {
                            unsaid.insert(system, Some(count));
                            tokio::time::sleep(jittered(RETRY)).await;
                        } else {
                            debug!(
                                namespace = &*system.0,
                                system = &*system.1,
                                "a count was not taken: {error}"
                            );
                        }
                    }
                }
                Some((_, None)) => {}
                None => {
                    next = counts.recv().await;
                    if next.is_none() {
                        return;
                    }
                }
            }
        }
    }

    async fn say(&mut self, system: &System, count: &Count) -> Result<(), kube::Error> {
        let (namespace, name) = system;
        let held = self.held(system, count).await;
        let said = (count.pods, held);
        if self.said.get(system) == Some(&said) {
            return Ok(());
        }
        let status = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "AISystem",
            "status": { "pods": said.0, "conditions": [said.1] } });
        let (path, params) = (AISystem::url_path(&(), Some(namespace)), PatchParams::apply(MANAGER).force());
        request::patch_status(&self.client, &path, name, &params, &Patch::Apply(&status)).await?;
        self.said.insert(system.clone(), said);
        Ok(())
    }

    /// The condition that says which workloads have held pods.
    async fn held(&mut self, system: &System, count: &Count) -> Condition {
        let mut workloads = BTreeSet::new();
        for owner in &count.held_of {
            let root = self.roots.of(&self.client, &system.0, owner).await;
            workloads.insert(format!("{} {}", root.kind, root.name));
        }
        let of = workloads.into_iter().collect::<Vec<_>>().join(", ");
        let of = if of.is_empty() { of } else { format!(" of {of}") };
        let (is, reason, message) = match count.pods.held {
            0 => (false, "NoPodsHeld", "no pod waits for clearance".to_owned()),
            1 => (true, "AwaitingClearance", format!("1 pod{of} waits for clearance")),
            held => (true, "AwaitingClearance", format!("{held} pods{of} wait for clearance")),
        };
        let before = self.said.get(system).map(|(_, before)| std::slice::from_ref(before));
        condition(before.unwrap_or_default(), (PODS_HELD, is), reason, message, None, Timestamp::now())
    }
}

/// What the statuses of all systems say; what cannot be read is written again.
async fn said_before(client: &Client) -> BTreeMap<System, Said> {
    let api: Api<Lenient<AISystem>> = Api::all(client.clone());
    let (mut said, mut page) = (BTreeMap::new(), ListParams::default().limit(PAGE));
    loop {
        let listed = match api.list(&page).await {
            Ok(listed) => listed,
            Err(error) => {
                debug!("what the statuses say is not known: {error}");
                return said;
            }
        };
        for system in listed.items.into_iter().filter_map(|system| system.0.ok()) {
            let name = (Arc::from(system.namespace().unwrap_or_default()), Arc::from(system.name_any()));
            let status = system.status.unwrap_or_default();
            let held = status.conditions.into_iter().find(|condition| condition.type_ == PODS_HELD);
            said.extend(status.pods.zip(held).map(|is| (name, is)));
        }
        match listed.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return said,
        }
    }
}
