//! Reads the objects of Kubernetes that the expressions of risk levels use, with the permissions of the user.
//!
//! ```text
//!  levels ── variables of their expressions ──► list requests ──► ReadObjects ── of a namespace ──► ClusterObjects
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::Arc,
};

use k8s_openapi::api::{
    core::v1::PersistentVolumeClaim, networking::v1::NetworkPolicy, storage::v1::StorageClass,
};
use kube::{Api, Client, Resource, ResourceExt, api::ListParams};
use serde::de::DeserializeOwned;

use crate::{
    api::RiskLevel,
    cli::error::{Error, Result},
    policy::{
        ClaimFacts, ClusterObjects, ClusterVariable, NetworkPolicyFacts, Requirements, Storage,
        StorageClassFacts,
    },
    watch::request,
};

/// The objects of one kind, by namespace and name. Cluster-scoped objects have an empty namespace.
type ByNamespace<V> = BTreeMap<String, BTreeMap<String, Arc<V>>>;

pub(super) fn scoped<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// The objects that the expressions of levels use: read from the cluster, or taken from manifests. The field for a kind
/// is `None` if no level needs the kind, if the user may not list the kind, or if the manifests have no object of the
/// kind.
#[derive(Debug, Default)]
pub struct ReadObjects {
    pub network_policies: Option<ByNamespace<NetworkPolicyFacts>>,
    pub claims: Option<ByNamespace<ClaimFacts>>,
    pub classes: Option<ByNamespace<StorageClassFacts>>,
    /// Whether the other fields contain all objects of their kinds in each namespace that was read. `false` for objects
    /// from manifests, because the cluster can have more objects.
    pub is_complete: bool,
}

impl ReadObjects {
    /// The objects that expressions about `namespace` can read.
    pub fn of(&self, namespace: &str) -> ClusterObjects {
        let storage = self.claims.as_ref().zip(self.classes.as_ref()).map(|(claims, classes)| Storage {
            claims: claims.get(namespace).cloned().unwrap_or_default(),
            classes: classes.get("").cloned().unwrap_or_default(),
            is_complete: self.is_complete,
        });
        let policies = self.network_policies.as_ref().map(|all| all.get(namespace).cloned());
        // If the list is not complete, a namespace without an entry can still have network policies. Then it is not
        // known which policies the namespace has.
        let network_policies = policies.and_then(|of| of.or_else(|| self.is_complete.then(BTreeMap::new)));
        ClusterObjects { network_policies, storage }
    }

    /// Adds `object` to `objects`, which is the field of [`ReadObjects`] for the kind of `object`.
    pub fn add<K, V>(objects: &mut Option<ByNamespace<V>>, namespace: &str, object: K)
    where
        K: Resource<DynamicType = ()>,
        V: From<K>,
    {
        let name = object.name_any();
        let by_namespace = objects.get_or_insert_default();
        by_namespace.entry(namespace.to_owned()).or_default().insert(name, Arc::new(object.into()));
    }
}

/// Reads the objects of each kind that the expressions of `levels` use. Reads the network policies and claims of
/// `namespace`, or of all namespaces if `namespace` is `None`. Reads all `StorageClass` objects, because they have no
/// namespace.
pub async fn read(
    client: &Client,
    namespace: Option<&str>,
    levels: impl IntoIterator<Item = &RiskLevel>,
) -> Result<ReadObjects> {
    let compiled = levels.into_iter().map(|level| Requirements::compile(&level.spec.requirements));
    let variables: BTreeSet<_> = compiled.flat_map(|level| level.cluster_variables()).collect();
    let mut read = ReadObjects { is_complete: true, ..ReadObjects::default() };
    if variables.contains(&ClusterVariable::NetworkPolicies) {
        read.network_policies = list(scoped::<NetworkPolicy>(client, namespace), "networkpolicies").await?;
    }
    if variables.contains(&ClusterVariable::Claims) {
        read.claims =
            list(scoped::<PersistentVolumeClaim>(client, namespace), "persistentvolumeclaims").await?;
        read.classes = list(Api::<StorageClass>::all(client.clone()), "storageclasses").await?;
    }
    Ok(read)
}

/// Lists the objects of a kind. Returns `None` if the user may not list this kind.
async fn list<K, V: From<K>>(api: Api<K>, plural: &str) -> Result<Option<ByNamespace<V>>>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let items = match request::list(&api, &ListParams::default()).await {
        Ok(list) => list.items,
        Err(kube::Error::Api(status)) if status.is_forbidden() => return Ok(None),
        Err(error) => return Err(Error::api(format!("read the {plural}"))(error)),
    };
    let mut objects = Some(ByNamespace::new());
    for item in items {
        let namespace = item.namespace().unwrap_or_default();
        ReadObjects::add(&mut objects, &namespace, item);
    }
    Ok(objects)
}
