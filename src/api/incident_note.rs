//! The `IncidentNote` resource: what one person learned about an incident, or did about it.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Approver, Report, Text};

/// One addition to the record of an incident: a fact, its root cause, an action or a verification. No user can edit or
/// delete an `IncidentNote`.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "assent.dev",
    version = "v1alpha1",
    kind = "IncidentNote",
    doc = "One addition to the record of an incident. Nobody can edit or delete it.",
    namespaced,
    derive = "PartialEq",
    shortname = "note",
    category = "assent",
    printcolumn(name = "Incident", type_ = "string", json_path = ".spec.incident"),
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.type"),
    printcolumn(name = "By", type_ = "string", json_path = ".spec.by.user"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Text", type_ = "string", json_path = ".spec.text", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self == oldSelf", "a note is final: add another IncidentNote"))]
pub struct IncidentNoteSpec {
    /// Name of the `Incident` of this namespace. Example: `credit-scorer-7f3k2`.
    #[schemars(length(min = 1, max = 253))]
    pub incident: Text,

    /// Type of the note. People can resume a held version only after the notes contain a `RootCause`, an `Action` and a
    /// `Verification`. Example: `RootCause`.
    #[serde(rename = "type")]
    pub type_: NoteType,

    /// Text of the note. Example: `The training data of March lacks applicants over 60`.
    #[schemars(length(min = 1, max = 4096))]
    pub text: String,

    /// Document with the details, which stays outside the cluster. Default: none.
    /// Example: `{ uri: https://wiki.example.org/rca-17, digest: sha256:… }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,

    /// User who wrote the note. Leave this field out. The API server sets it from the request. Before Kubernetes 1.36,
    /// the `kubectl assent` plugin sets it. Example: `{ user: alice@acme-bank.example }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Approver>,
}

/// The type of a note.
#[derive(
    JsonSchema,
    clap::ValueEnum,
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
)]
#[value(rename_all = "kebab-case")]
pub enum NoteType {
    /// A fact about the event or its effects.
    Fact,
    /// The cause of the event.
    RootCause,
    /// A corrective action (EU AI Act article 20, ISO/IEC 42001 clause 10.2).
    Action,
    /// A check that the action works.
    Verification,
}

impl NoteType {
    /// The type in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Fact => "fact",
            Self::RootCause => "root cause",
            Self::Action => "action",
            Self::Verification => "verification",
        }
    }

    /// The type as an option of the plugin.
    pub const fn option(self) -> &'static str {
        match self {
            Self::Fact => "fact",
            Self::RootCause => "root-cause",
            Self::Action => "action",
            Self::Verification => "verification",
        }
    }

    /// The types of notes that must exist before people can resume a version.
    pub const BEFORE_RESUME: [Self; 3] = [Self::RootCause, Self::Action, Self::Verification];
}
