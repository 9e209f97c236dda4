//! What becomes of a pod that nothing clears: that depends on what the API server can do.

use kube::Client;

use super::PolicyObject;

/// What becomes of a pod that nothing clears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldMethod {
    /// It gets a scheduling gate, and waits.
    Gate,
    /// It is refused, and its controller tries again: before Kubernetes 1.36 the API server has no
    /// `MutatingAdmissionPolicy` v1, by which it could give the gate.
    Refuse,
}

impl HoldMethod {
    /// What the API server of `client` can do.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn of(client: &Client) -> Result<Self, kube::Error> {
        let served = client.list_api_group_resources("admissionregistration.k8s.io/v1").await?.resources;
        let mutates = served.iter().any(|resource| resource.name == "mutatingadmissionpolicies");
        Ok(if mutates { Self::Gate } else { Self::Refuse })
    }

    /// Whether the API server knows policies of this kind.
    pub fn has(self, policy: &PolicyObject) -> bool {
        match policy {
            PolicyObject::Mutating(_) | PolicyObject::MutatingBinding(_) => self == Self::Gate,
            PolicyObject::Validating(_) | PolicyObject::ValidatingBinding(_) => true,
        }
    }
}
