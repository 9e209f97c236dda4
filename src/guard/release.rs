//! Checks whether the chart of this operator is still installed, and whether it installed the policies that this
//! operator knows.

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

/// An installed chart, with the data of the operator's `ClusterRole`.
#[derive(Debug)]
pub struct Release {
    role: ClusterRole,
    /// The time at which the installer last changed the `ClusterRole`.
    pub written: Timestamp,
    /// The entry of the installer in the `managedFields` of the `ClusterRole`. The installer is, for example, Helm or a
    /// `GitOps` controller.
    pub applier: ManagedFieldsEntry,
}

/// The reason why the operator does not restore policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotInstalled {
    /// The chart was uninstalled.
    Gone,
    /// The installed chart has other policies than this operator. The text is the fingerprint of the installed
    /// policies.
    Other(String),
}

impl Release {
    /// Reads the `ClusterRole` without a cache. Helm deletes the `ClusterRole` before the policies, and a cache could
    /// show this deletion too late.
    pub async fn read(
        client: &Client,
        operator: &Operator,
    ) -> Result<Result<Self, NotInstalled>, kube::Error> {
        let roles: Api<Lenient<ClusterRole>> = Api::all(client.clone());
        let role = match roles.get(&operator.role()).await.and_then(Lenient::readable) {
            Ok(role) => role,
            // Without its `ClusterRole`, the operator has no permission to read the `ClusterRole`.
            Err(kube::Error::Api(answer)) if matches!(answer.code, 401 | 403 | 404) => {
                return Ok(Err(NotInstalled::Gone));
            }
            Err(error) => return Err(error),
        };
        if role.metadata.deletion_timestamp.is_some() {
            return Ok(Err(NotInstalled::Gone));
        }
        let installed = role.annotations().get(POLICIES_ANNOTATION).cloned().unwrap_or_default();
        if installed != fingerprint(&operator.accelerators) {
            return Ok(Err(NotInstalled::Other(installed)));
        }
        let applier = applier(&role).cloned().unwrap_or_default();
        let written = applier.time.as_ref().or(role.metadata.creation_timestamp.as_ref());
        let written = written.map_or(Timestamp::UNIX_EPOCH, |time| time.0);
        Ok(Ok(Self { role, written, applier }))
    }

    /// The annotations that Helm adds to each object of the chart.
    pub fn annotations(&self) -> impl Iterator<Item = (String, String)> {
        let all = self.role.annotations().iter().filter(|(key, _)| key.starts_with("meta.helm.sh/"));
        all.map(|(key, value)| (key.clone(), value.clone()))
    }

    /// The label that Helm adds to each object of the chart.
    pub fn labels(&self) -> impl Iterator<Item = (String, String)> {
        let managed_by = self.role.labels().get_key_value("app.kubernetes.io/managed-by");
        managed_by.into_iter().map(|(key, value)| (key.clone(), value.clone()))
    }

    /// The owner reference of a restored policy: the `ClusterRole`. An uninstall deletes the `ClusterRole`, and then
    /// the garbage collector deletes the policy.
    pub fn owner(&self) -> Option<OwnerReference> {
        self.role.owner_ref(&())
    }
}

/// The `managedFields` entry of the field manager that wrote [`POLICIES_ANNOTATION`]. The same client writes the
/// policies of the chart.
fn applier(role: &ClusterRole) -> Option<&ManagedFieldsEntry> {
    let annotation = format!("/f:metadata/f:annotations/f:{}", POLICIES_ANNOTATION.replace('/', "~1"));
    let wrote = |entry: &&ManagedFieldsEntry| {
        let fields = entry.fields_v1.as_ref().map(|fields| json!(fields));
        fields.is_some_and(|fields| fields.pointer(&annotation).is_some())
    };
    role.metadata.managed_fields.as_ref()?.iter().find(wrote)
}
