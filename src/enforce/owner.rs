//! The workload that people know: the root of a pod's controllers, such as its Deployment, or the custom
//! resource that made the Deployment.
//!
//! ```text
//!  Pod ─► ReplicaSet ─► Deployment ─► InferenceService      each names the next as its controller
//!         └─ apps, batch: read ─┘     └─ of any other kind: the root
//!  Pod ─► StatefulSet ─► Pod ─► StatefulSet ─► LeaderWorkerSet
//!                        └─ the leader of a group, which owns its workers
//! ```
//!
//! The operator may read pods and the controllers that Kubernetes has, and these name their own controller. So
//! kinds that it knows nothing of and may not read are found all the same.

use std::collections::HashMap;

use backon::Retryable;
use kube::{
    Client, Resource, ResourceExt,
    api::{ApiResource, DynamicObject, GetParams, GroupVersionKind, PartialObjectMeta},
    core::Request,
};

use super::{
    act::{is_passing, patience},
    roster::OwnerIs,
};
use crate::watch::Lenient;

/// How many roots are remembered before all are forgotten.
const REMEMBERED: usize = 4096;

/// How many controllers are looked at, in case they go in a circle.
const LONGEST_CHAIN: usize = 8;

/// Finds roots, and remembers them by the uid of the controller they were found from.
#[derive(Default)]
pub struct Roots {
    known: HashMap<String, OwnerIs>,
}

impl Roots {
    /// The root above `owner`. A controller that cannot be read counts as the root: an Event about the
    /// wrong object is better than none.
    pub async fn of(&mut self, client: &Client, namespace: &str, owner: &OwnerIs) -> OwnerIs {
        if let Some(root) = self.known.get(&owner.uid) {
            return root.clone();
        }
        let root = root_of(client, namespace, owner).await;
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        self.known.insert(owner.uid.clone(), root.clone());
        root
    }
}

/// The root above `owner`, as the API server tells.
pub async fn root_of(client: &Client, namespace: &str, owner: &OwnerIs) -> OwnerIs {
    let mut root = owner.clone();
    for _ in 0..LONGEST_CHAIN {
        let Some(parent) = parent(client, namespace, &root).await else { break };
        root = parent;
    }
    root
}

/// The controller of a pod or of a controller of Kubernetes itself, if it has one.
async fn parent(client: &Client, namespace: &str, owner: &OwnerIs) -> Option<OwnerIs> {
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
    let object = read.retry(patience()).when(is_passing).await.ok()?;
    // Another object may have the name by now.
    OwnerIs::of(&object).filter(|_| object.uid().as_ref() == Some(&owner.uid))
}
