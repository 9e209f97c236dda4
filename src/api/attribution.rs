//! The authors of an object, as far as they are known.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::core::ObjectMeta;

use super::Text;

/// The annotation of an `AISystem` or `ModelVersion` that names who wrote what approvers rely on: who created the
/// version, and who last changed anything of the system but its `decommission`. The API server sets it.
pub const AUTHOR: &str = "assent.dev/author";

/// The annotation of an `AISystem`, `RiskLevel`, `ApproverRole` or `TrustedSidecar` that names who last changed its
/// `spec`. The API server sets it.
pub const CHANGED_BY: &str = "assent.dev/changed-by";

/// The authors of an object. Each is `None` where it is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attribution {
    /// The value of [`AUTHOR`].
    pub author: Option<Text>,
    /// The value of [`CHANGED_BY`].
    pub changed_by: Option<Text>,
    /// The field manager that wrote last. Any client can claim any name, so it proves nothing.
    pub field_manager: Option<Text>,
}

impl Attribution {
    /// What `metadata` says. Before Kubernetes 1.36 that is a field manager alone.
    pub fn of(metadata: &ObjectMeta) -> Self {
        let annotation = |key: &str| Some(metadata.annotations.as_ref()?.get(key)?.as_str().into());
        Self {
            author: annotation(AUTHOR),
            changed_by: annotation(CHANGED_BY),
            field_manager: last_write(metadata).and_then(|entry| Some(entry.manager.as_deref()?.into())),
        }
    }

    /// The user who last changed the object, as the API server stamped it.
    pub fn user(&self) -> Option<&str> {
        self.changed_by.as_deref().or(self.author.as_deref())
    }

    /// The author in words, or the user or field manager who changed the object last.
    pub fn in_words(&self) -> String {
        match (&self.author.as_ref().or(self.changed_by.as_ref()), &self.field_manager) {
            (Some(user), _) => user.to_string(),
            (None, Some(manager)) => unproven(manager),
            (None, None) => "not known".to_owned(),
        }
    }
}

/// How people see a field manager: any client can claim any name.
pub fn unproven(field_manager: &str) -> String {
    format!("field manager {field_manager} (unproven)")
}

/// The entry of the field manager that wrote last, but for subresources.
pub fn last_write(metadata: &ObjectMeta) -> Option<&ManagedFieldsEntry> {
    let entries = metadata.managed_fields.iter().flatten();
    entries.filter(|entry| entry.subresource.is_none()).max_by_key(|entry| entry.time.clone())
}
