//! What is in Git is applied by a controller and not by a person, with all the rights that such controllers
//! are usually given: what it may not do, it is refused for what it is.

use anyhow::Result;
use serde_json::json;

use crate::control_plane::ControlPlane;
use crate::kubeconfig::Account;
use crate::people::Person;

/// Where it runs, as Flux has it.
pub const NAMESPACE: &str = "flux-system";

/// Its service account.
pub const NAME: &str = "kustomize-controller";

impl ControlPlane {
    /// The account of the `GitOps` controller, a service account bound to `cluster-admin`; it is made if it is
    /// not there yet.
    pub async fn gitops(&self) -> Result<Account> {
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": [
            { "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } },
            { "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": NAME, "namespace": NAMESPACE } },
            { "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
              "metadata": { "name": "gitops" },
              "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
              "subjects": [{ "kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE }] },
        ] });
        self.kubectl_stdin(Person::Admin, &["apply", "-f", "-"], &list.to_string()).await?.ok()?;
        self.service_account(NAMESPACE, NAME).await
    }
}
