//! The `IncidentNote` resource: a note that one person adds to the record of an incident.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Approver, Report, Text};

/// One addition to the record of an incident, for example a fact, the root cause or the closing of the incident. No
/// user can edit or delete an `IncidentNote`.
///
/// Some types need an RBAC verb on the incident: `Acknowledgement` needs `acknowledge`, `Report` and `Notified` need
/// `report`, and `Closing` needs `close`.
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
#[x_kube(validation = ("!has(self.deadlines) || self.type in ['Report', 'Notified', 'Closing']", "only notes of the types Report, Notified and Closing settle deadlines: leave deadlines out"))]
pub struct IncidentNoteSpec {
    /// Name of the `Incident` that the note is about, in the same namespace. Example: `credit-scorer-7f3k2`.
    #[schemars(length(min = 1, max = 253))]
    pub incident: Text,

    /// Type of the note. People can resume a held version only after the notes contain a `RootCause`, an `Action` and a
    /// `Verification`. An `Acknowledgement` ends the escalation. `Report` and `Notified` meet deadlines. A `Closing`
    /// closes the incident, if another person opened it. Example: `RootCause`.
    #[serde(rename = "type")]
    pub type_: NoteType,

    /// Names of the deadlines that the note settles. A `Report` or `Notified` meets them. A `Closing` states that they
    /// do not apply, for the reason in `text`. Default: none. Example: `[eu-ai-act-73-2]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub deadlines: Vec<Text>,

    /// Text of the note. Example: `The training data of March lacks applicants over 60`.
    #[schemars(length(min = 1, max = 4096))]
    pub text: String,

    /// Reference to a document with the details. The document stays outside the cluster. Default: none.
    /// Example: `{ uri: https://wiki.example.org/rca-17, digest: sha256:… }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,

    /// User who wrote the note. Leave this field out. The API server sets it from the request. Before Kubernetes 1.36,
    /// the `kubectl assent` plugin sets it. Default: the user of the request.
    /// Example: `{ user: alice@acme-bank.example }`.
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
    /// A check that the corrective action works.
    Verification,
    /// The person takes care of the incident, so it does not escalate further.
    Acknowledgement,
    /// A report was sent to an authority.
    Report,
    /// Other parties were notified, for example the provider, customers or affected people.
    Notified,
    /// The incident is closed, for the reason in the text. If it holds versions, they stay held.
    Closing,
}

impl NoteType {
    /// The type in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Fact => "fact",
            Self::RootCause => "root cause",
            Self::Action => "action",
            Self::Verification => "verification",
            Self::Acknowledgement => "acknowledgement",
            Self::Report => "report to an authority",
            Self::Notified => "notification",
            Self::Closing => "closing",
        }
    }

    /// The value for the option `--type` of `kubectl assent incident note`.
    pub const fn option(self) -> &'static str {
        match self {
            Self::Fact => "fact",
            Self::RootCause => "root-cause",
            Self::Action => "action",
            Self::Verification => "verification",
            Self::Acknowledgement => "acknowledgement",
            Self::Report => "report",
            Self::Notified => "notified",
            Self::Closing => "closing",
        }
    }

    /// The types of notes that must exist before people can resume a version.
    pub const BEFORE_RESUME: [Self; 3] = [Self::RootCause, Self::Action, Self::Verification];
}
