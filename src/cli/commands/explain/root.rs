//! Finds the pods of a workload of any kind, such as an `InferenceService`. The search follows the owner references of
//! each pod to its root, which is the topmost controller.

use std::collections::{BTreeSet, HashMap};

use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::APIResourceList};

use crate::{
    cli::{
        connect::{pods::each_page, session::Session},
        error::{Error, Next, Result},
    },
    enforce::{OwnerRef, Roots},
};

/// Returns the pods whose root has this kind and name. Fails if there is no such pod. As in kubectl, `kind` is the name
/// of a kind, the name of a resource or a short name, such as `isvc`.
pub async fn pods_of(session: &Session, kind: &str, name: &str) -> Result<Vec<Pod>> {
    let mut pods = Vec::new();
    each_page(session, false, |page| pods.extend(page)).await?;
    let (mut roots, mut names) = (Roots::default(), ResourceNames::default());
    let (mut found, mut others) = (Vec::new(), BTreeSet::new());
    for pod in pods {
        let Some(owner) = OwnerRef::of(&pod) else { continue };
        let root = roots.of(&session.client, &session.namespace, &owner).await;
        if root.name == name && names.match_root(session, &root, kind).await {
            found.push(pod);
        } else {
            others.insert(format!("{}/{}", root.kind.to_lowercase(), root.name));
        }
    }
    if found.is_empty() {
        let place = format!("-n {}{}", session.namespace, session.flags);
        return Err(Error::NotFound {
            what: format!("pod of {kind}/{name}"),
            namespace: session.namespace.clone(),
            others: others.into_iter().collect(),
            next: vec![
                Next::new(
                    format!("kubectl get {kind} {name} {place}"),
                    "check that it exists, and read its status",
                ),
                Next::new(format!("kubectl get pods {place}"), "list the pods"),
            ],
        });
    }
    Ok(found)
}

/// A cache of the discovery API: the resources of each API group and version.
#[derive(Default)]
struct ResourceNames(HashMap<String, APIResourceList>);

impl ResourceNames {
    /// Whether `kind` is the kind, the resource name or a short name of `root`.
    async fn match_root(&mut self, session: &Session, root: &OwnerRef, kind: &str) -> bool {
        if root.kind.eq_ignore_ascii_case(kind) {
            return true;
        }
        if !self.0.contains_key(&root.api_version) {
            let resources = match root.api_version.as_str() {
                core if !core.contains('/') => session.client.list_core_api_resources(core).await,
                group => session.client.list_api_group_resources(group).await,
            };
            // If discovery fails, for example without permission, only the full kind matches.
            self.0.insert(root.api_version.clone(), resources.unwrap_or_default());
        }
        self.0[&root.api_version].resources.iter().any(|resource| {
            let is_short = resource.short_names.iter().flatten().any(|short| short == kind);
            resource.kind == root.kind && (resource.name == kind || is_short)
        })
    }
}
