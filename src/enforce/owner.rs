//! Finds the controller of an object by its owner reference, and the root of the chain of controllers.
//!
//! ```text
//!  Pod ─► ReplicaSet ─► Deployment ─► InferenceService      each object names the next as its controller
//!         └─ apps, batch: read ─┘     └─ other API groups: not read, so this is the root
//!  Pod ─► StatefulSet ─► Pod ─► StatefulSet ─► LeaderWorkerSet
//!                        └─ the leader of a group, which owns its workers
//! ```
//!
//! The root is the workload that a user created: a Deployment, or the custom resource that created the Deployment. The
//! search reads only pods and the controllers of Kubernetes. Their owner references name the root, so the search needs
//! no permission to read a custom resource.

use std::collections::HashMap;

use backon::Retryable;
use kube::{
    Client, Resource, ResourceExt,
    api::{ApiResource, DynamicObject, GetParams, GroupVersionKind, PartialObjectMeta},
    core::Request,
};
use serde::{Deserialize, Serialize};

use crate::watch::{Lenient, background_backoff, is_transient};

/// The capacity of the cache of roots. If the cache is full, the operator empties it before it adds a root.
const CAPACITY: usize = 4096;

/// The maximum length of a chain of controllers. The search needs a limit, because owner references can form a cycle.
const LONGEST_CHAIN: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OwnerRef {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) uid: String,
}

impl OwnerRef {
    pub(crate) fn of(object: &impl ResourceExt) -> Option<Self> {
        let owner = object.owner_references().iter().find(|owner| owner.controller == Some(true))?;
        Some(Self {
            api_version: owner.api_version.clone(),
            kind: owner.kind.clone(),
            name: owner.name.clone(),
            uid: owner.uid.clone(),
        })
    }
}

/// A cache of roots, by the UID of the controller from which the search began.
#[derive(Default)]
pub(crate) struct Roots {
    known: HashMap<String, OwnerRef>,
}

impl Roots {
    /// The root above `owner`. If the operator cannot read a controller, this controller counts as the root. An Event
    /// about the wrong object is better than no Event.
    pub(crate) async fn of(&mut self, client: &Client, namespace: &str, owner: &OwnerRef) -> OwnerRef {
        if let Some(root) = self.known.get(&owner.uid) {
            return root.clone();
        }
        let root = root_of(client, namespace, owner).await;
        if self.known.len() >= CAPACITY {
            self.known.clear();
        }
        self.known.insert(owner.uid.clone(), root.clone());
        root
    }
}

/// Reads the root above `owner` from the API server.
pub(super) async fn root_of(client: &Client, namespace: &str, owner: &OwnerRef) -> OwnerRef {
    let mut root = owner.clone();
    for _ in 0..LONGEST_CHAIN {
        let Some(parent) = parent(client, namespace, &root).await else { break };
        root = parent;
    }
    root
}

/// Reads the controller of `owner`. `None` if `owner` has no controller, cannot be read, or is neither a pod nor in the
/// API group `apps` or `batch`.
async fn parent(client: &Client, namespace: &str, owner: &OwnerRef) -> Option<OwnerRef> {
    let (group, version) = owner.api_version.split_once('/').unwrap_or(("", &owner.api_version));
    if !(matches!(group, "apps" | "batch") || group.is_empty() && owner.kind == "Pod") {
        return None;
    }
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &owner.kind));
    let path = DynamicObject::url_path(&kind, Some(namespace));
    let read = async || {
        let request = Request::new(path.as_str()).get_metadata(&owner.name, &GetParams::default());
        let answer = client.request(request.map_err(kube::Error::BuildRequest)?).await;
        answer.and_then(Lenient::<PartialObjectMeta<DynamicObject>>::readable)
    };
    let object = read.retry(background_backoff()).when(is_transient).await.ok()?;
    // A new object can have the name of a deleted object, so the UID must match.
    OwnerRef::of(&object).filter(|_| object.uid().as_ref() == Some(&owner.uid))
}
