//! Whether the release that this operator belongs to still stands, and installed the policies that this
//! operator knows: the one question between restoring a policy and leaving it alone.

use k8s_openapi::{
    api::rbac::v1::ClusterRole,
    apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, OwnerReference},
    jiff::Timestamp,
};
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::json;

use crate::{
    admission::{Operator, POLICIES_ANNOTATION, fingerprint},
    watch::Lenient,
};

/// A release that stands, as its `ClusterRole` tells.
#[derive(Debug)]
pub struct Release {
    role: ClusterRole,
    /// When it was last written.
    pub written: Timestamp,
    /// Who wrote it, and how: Helm, or what stands in for it.
    pub applier: ManagedFieldsEntry,
}

/// Why nothing is to be restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotInstalled {
    /// It was uninstalled.
    Gone,
    /// It installed the policies of another version, which has this fingerprint.
    Other(String),
}

impl Release {
    /// Reads it, and not from a cache: what Helm removed before the policies must be seen as gone.
    pub async fn read(
        client: &Client,
        operator: &Operator,
    ) -> Result<Result<Self, NotInstalled>, kube::Error> {
        let roles: Api<Lenient<ClusterRole>> = Api::all(client.clone());
        let role = match roles.get(&operator.role()).await.and_then(Lenient::readable) {
            Ok(role) => role,
            // Without its role it may not even read that it has none.
            Err(kube::Error::Api(answer)) if matches!(answer.code, 401 | 403 | 404) => {
                return Ok(Err(NotInstalled::Gone));
            }
            Err(error) => return Err(error),
        };
        if role.metadata.deletion_timestamp.is_some() {
            return Ok(Err(NotInstalled::Gone));
        }
        let says = role.annotations().get(POLICIES_ANNOTATION).cloned().unwrap_or_default();
        if says != fingerprint(&operator.accelerators) {
            return Ok(Err(NotInstalled::Other(says)));
        }
        let applier = applier(&role).cloned().unwrap_or_default();
        let written = applier.time.as_ref().or(role.metadata.creation_timestamp.as_ref());
        let written = written.map_or(Timestamp::UNIX_EPOCH, |time| time.0);
        Ok(Ok(Self { role, written, applier }))
    }

    /// What of the release's bookkeeping every object of it has.
    pub fn annotations(&self) -> impl Iterator<Item = (String, String)> {
        let all = self.role.annotations().iter().filter(|(key, _)| key.starts_with("meta.helm.sh/"));
        all.map(|(key, value)| (key.clone(), value.clone()))
    }

    /// Likewise.
    pub fn labels(&self) -> impl Iterator<Item = (String, String)> {
        let managed_by = self.role.labels().get_key_value("app.kubernetes.io/managed-by");
        managed_by.into_iter().map(|(key, value)| (key.clone(), value.clone()))
    }

    /// Makes what is restored go with the release, in whatever order it is removed.
    pub fn owner(&self) -> Option<OwnerReference> {
        self.role.owner_ref(&())
    }
}

/// Who wrote the annotation is who writes the policies.
fn applier(role: &ClusterRole) -> Option<&ManagedFieldsEntry> {
    let annotation = format!("/f:metadata/f:annotations/f:{}", POLICIES_ANNOTATION.replace('/', "~1"));
    let wrote = |entry: &&ManagedFieldsEntry| {
        let fields = entry.fields_v1.as_ref().map(|fields| json!(fields));
        fields.is_some_and(|fields| fields.pointer(&annotation).is_some())
    };
    role.metadata.managed_fields.as_ref()?.iter().find(wrote)
}
