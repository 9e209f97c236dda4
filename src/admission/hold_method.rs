//! Selects the method for holding uncleared pods, depending on the policies that the API server supports.

use kube::Client;

use super::PolicyObject;

/// The method for holding an uncleared pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldMethod {
    /// The pod gets a scheduling gate.
    Gate,
    /// The API server refuses the pod, and the controller of the pod retries. Before Kubernetes 1.36, the API server
    /// has no `MutatingAdmissionPolicy` v1, which could add the gate.
    Refuse,
}

impl HoldMethod {
    /// The method that the API server of `client` supports.
    ///
    /// # Errors
    /// The API server does not respond.
    pub async fn of(client: &Client) -> Result<Self, kube::Error> {
        let served = client.list_api_group_resources("admissionregistration.k8s.io/v1").await?.resources;
        let mutates = served.iter().any(|resource| resource.name == "mutatingadmissionpolicies");
        Ok(if mutates { Self::Gate } else { Self::Refuse })
    }

    /// Whether the API server supports the kind of `policy`.
    pub fn has(self, policy: &PolicyObject) -> bool {
        match policy {
            PolicyObject::Mutating(_) | PolicyObject::MutatingBinding(_) => self == Self::Gate,
            PolicyObject::Validating(_) | PolicyObject::ValidatingBinding(_) => true,
        }
    }
}
