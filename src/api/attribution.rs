//! Reads the authors of an object from its annotations and its managed fields.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::core::ObjectMeta;

use super::Text;

/// The annotation of an `AISystem`, `ModelVersion` or `Assessment` that names its author. The author of a version or
/// assessment is the user who created the object. The author of a system is the user who last changed any field except
/// `decommission`. The API server sets the annotation.
pub const AUTHOR: &str = "assent.dev/author";

/// The annotation of an `AISystem`, `RiskLevel`, `ApproverRole` or `TrustedSidecar` that names the user who last
/// changed its `spec`. The API server sets the annotation.
pub const CHANGED_BY: &str = "assent.dev/changed-by";

/// The authors of an object. An author that is not known is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attribution {
    /// The value of the annotation [`AUTHOR`].
    pub author: Option<Text>,
    /// The value of the annotation [`CHANGED_BY`].
    pub changed_by: Option<Text>,
    /// The field manager of the last write. Any client can claim any name, so the name proves nothing.
    pub field_manager: Option<Text>,
}

impl Attribution {
    /// Reads the authors from `metadata`. Before Kubernetes 1.36 only the field manager is known.
    pub fn of(metadata: &ObjectMeta) -> Self {
        let annotation = |key: &str| Some(metadata.annotations.as_ref()?.get(key)?.as_str().into());
        Self {
            author: annotation(AUTHOR),
            changed_by: annotation(CHANGED_BY),
            field_manager: last_write(metadata).and_then(|entry| Some(entry.manager.as_deref()?.into())),
        }
    }

    /// The user in [`Attribution::changed_by`], or else the user in [`Attribution::author`]. `None` if the API server
    /// recorded neither.
    pub fn user(&self) -> Option<&str> {
        self.changed_by.as_deref().or(self.author.as_deref())
    }

    /// The author as text. If the author is not known, the text names the user in [`Attribution::changed_by`]. If this
    /// user is not known either, the text names the field manager or says `not known`.
    pub fn in_words(&self) -> String {
        match (&self.author.as_ref().or(self.changed_by.as_ref()), &self.field_manager) {
            (Some(user), _) => user.to_string(),
            (None, Some(manager)) => unproven(manager),
            (None, None) => "not known".to_owned(),
        }
    }
}

/// A field manager as text. The text states that the name is unproven, because any client can claim any name.
pub fn unproven(field_manager: &str) -> String {
    format!("field manager {field_manager} (unproven)")
}

/// Returns the managed fields of the client that wrote the object last. Ignores writes to subresources.
pub fn last_write(metadata: &ObjectMeta) -> Option<&ManagedFieldsEntry> {
    let entries = metadata.managed_fields.iter().flatten();
    entries.filter(|entry| entry.subresource.is_none()).max_by_key(|entry| entry.time.clone())
}
