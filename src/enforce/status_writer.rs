//! Writes the counts of pods into the status of each system. The condition `PodsHeld` names the topmost controllers of
//! the held pods. The writer sends a patch only if the counts or the condition changed.

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
    api::{AISystem, Condition, PODS_HELD, PodCount, condition, condition_states},
    watch::{Lenient, is_transient, request, retry_delay},
};

/// The field manager of the pod counts. The other fields of a status have another manager.
const MANAGER: &str = "assent-census";

const PAGE: u32 = 100;

/// The maximum number of controllers of held pods that a count records for the condition `PodsHeld`.
const MAX_OWNERS: usize = 8;

/// The namespace and name of a system.
pub(super) type System = (Arc<str>, Arc<str>);

/// The numbers of pods of a system, and the controllers of its held pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) pods: PodCount,
    held_of: BTreeSet<Arc<OwnerRef>>,
}

impl Count {
    /// A count without held pods.
    pub(super) const fn none(pods: PodCount) -> Self {
        Self { pods, held_of: BTreeSet::new() }
    }

    /// Counts a held pod. Records the owner of the pod, unless the count already has [`MAX_OWNERS`] owners.
    pub(super) fn hold(&mut self, owner: Option<&Arc<OwnerRef>>) {
        self.pods.held += 1;
        if self.held_of.len() < MAX_OWNERS {
            self.held_of.extend(owner.cloned());
        }
    }
}

/// The fields that this module writes into the status of a system.
type Written = (PodCount, Condition);

pub(super) struct StatusWriter {
    client: Client,
    roots: Roots,
    /// For each system, the fields that this operator or an earlier operator wrote last.
    written: BTreeMap<System, Written>,
}

impl StatusWriter {
    pub(super) fn new(client: Client) -> Self {
        Self { client, roots: Roots::default(), written: BTreeMap::new() }
    }

    /// Writes the last count of each system, and retries transient errors. If the count is `None`, the system was
    /// deleted. The writer then forgets the last status of the system, because a new system with the same name has no
    /// status.
    pub(super) async fn run(mut self, mut counts: mpsc::UnboundedReceiver<(System, Option<Count>)>) {
        let mut pending = BTreeMap::new();
        let mut next = counts.recv().await;
        self.written = read_written(&self.client).await;
        loop {
            while let Some((system, count)) = next.take().or_else(|| counts.try_recv().ok()) {
                if count.is_none() {
                    self.written.remove(&system);
                }
                pending.insert(system, count);
            }
            match pending.pop_first() {
                Some((system, Some(count))) => {
                    if let Err(error) = self.write(&system, &count).await {
                        if is_transient(&error) {
                            pending.insert(system, Some(count));
                            retry_delay().await;
                        } else {
                            debug!(
                                namespace = &*system.0,
                                system = &*system.1,
                                "cannot write the pod counts into the status: {error}"
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

    async fn write(&mut self, system: &System, count: &Count) -> Result<(), kube::Error> {
        let (namespace, name) = system;
        let held = self.held(system, count).await;
        let status = (count.pods, held);
        if self.written.get(system) == Some(&status) {
            return Ok(());
        }
        let applied = json!({ "apiVersion": "assent.dev/v1alpha1", "kind": "AISystem",
            "status": { "pods": status.0, "conditions": [status.1] } });
        let (path, params) = (AISystem::url_path(&(), Some(namespace)), PatchParams::apply(MANAGER).force());
        request::patch_status(&self.client, &path, name, &params, &Patch::Apply(&applied)).await?;
        self.written.insert(system.clone(), status);
        Ok(())
    }

    /// The condition [`PODS_HELD`]. It names the topmost controllers of the held pods.
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
        let before = self.written.get(system).map_or(&[][..], |(_, before)| std::slice::from_ref(before));
        condition(&condition_states(before), (PODS_HELD, is), reason, message, None, Timestamp::now())
    }
}

/// Reads the counts from the statuses of all systems. The operator writes a missing or unreadable status again.
async fn read_written(client: &Client) -> BTreeMap<System, Written> {
    let api: Api<Lenient<AISystem>> = Api::all(client.clone());
    let (mut written, mut page) = (BTreeMap::new(), ListParams::default().limit(PAGE));
    loop {
        let listed = match api.list(&page).await {
            Ok(listed) => listed,
            Err(error) => {
                debug!("cannot list the statuses of all systems: {error}; rewriting the unread ones");
                return written;
            }
        };
        for system in listed.items.into_iter().filter_map(|system| system.0.ok()) {
            let name = (Arc::from(system.namespace().unwrap_or_default()), Arc::from(system.name_any()));
            let status = system.status.unwrap_or_default();
            let held = status.conditions.into_iter().find(|condition| condition.type_ == PODS_HELD);
            written.extend(status.pods.zip(held).map(|counts| (name, counts)));
        }
        match listed.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return written,
        }
    }
}
