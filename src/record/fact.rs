//! The facts that entries of the log state. No fact contains personal data: such values are disclosures beside the log.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{key::VerifierKey, tree::Hash};
use crate::api::{Decision, Digest};

/// The fact of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Fact {
    /// A person decided. The disclosures name the person and the reason.
    Decided {
        /// The version.
        #[serde(flatten)]
        version: Version,
        /// The decision.
        decision: Decision,
        /// Whether the API server or a valid signature proved who decided.
        proven: bool,
        /// The role in which the person decided.
        role: String,
        /// The time at which the API server stored the decision.
        decided: Timestamp,
        /// The end of the decision.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        not_after: Option<Timestamp>,
    },
    /// An object changed that verdicts depend on. The disclosures name its author and the digest of its content.
    Declared {
        /// The kind of the object.
        object: Declared,
        /// The namespace. Cluster objects have none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        namespace: Option<String>,
        /// The name.
        name: String,
        /// The UID of the object.
        uid: String,
        /// The generation of the object.
        generation: u64,
        /// The change of the object.
        change: Change,
    },
    /// A version may run. The entry rests on the decisions and objects that clear it.
    Cleared {
        /// The version.
        #[serde(flatten)]
        version: Version,
        /// The end of the clearance.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
    /// A version may no longer run. The entry rests on the clearance that ended and on the cause.
    Lost {
        /// The version.
        #[serde(flatten)]
        version: Version,
        /// The reason as one `CamelCase` word.
        reason: String,
    },
    /// Pods were released or stopped.
    Enforced {
        /// The namespace of the pods.
        namespace: String,
        /// The system that the pods name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        system: Option<String>,
        /// The action of the operator.
        action: Action,
        /// The UIDs of the pods.
        pods: Vec<String>,
    },
    /// A policy or a Clearance was restored.
    Guarded {
        /// The object, as `KIND/NAME`.
        object: String,
        /// The change that the operator undid.
        change: Change,
    },
    /// An operator began to lead.
    Epoch {
        /// The release of the operator.
        release: String,
        /// How often the lease changed its holder.
        transitions: u64,
        /// Whether the operator before ended in order.
        clean: bool,
    },
    /// Something was not observed, or is no longer in the log.
    Gap {
        /// The cause.
        cause: GapCause,
        /// The begin. `None` if it is not known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<Timestamp>,
        /// The end.
        to: Timestamp,
        /// The statement about the log that no longer holds, or that nobody can check any more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<Before>,
    },
    /// The recorder works, and nothing else happened.
    Heartbeat {},
    /// Personal data of an entry was erased. The entry rests on the erased entry.
    Erased {
        /// The names of the erased values.
        fields: Vec<String>,
        /// The ground.
        ground: String,
        /// The role of the person who erased.
        role: String,
    },
    /// The key that signs all later checkpoints.
    Key {
        /// The new key.
        key: VerifierKey,
    },
}

impl Fact {
    /// The word for the kind.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Decided { .. } => "decided",
            Self::Declared { .. } => "declared",
            Self::Cleared { .. } => "cleared",
            Self::Lost { .. } => "lost",
            Self::Enforced { .. } => "enforced",
            Self::Guarded { .. } => "guarded",
            Self::Epoch { .. } => "epoch",
            Self::Gap { .. } => "gap",
            Self::Heartbeat {} => "heartbeat",
            Self::Erased { .. } => "erased",
            Self::Key { .. } => "key",
        }
    }

    /// The subject of the entry and the event, each in a few words.
    pub fn in_words(&self) -> (String, String) {
        match self {
            Self::Decided { version, decision, role, .. } => {
                (version.in_words(), format!("{decision:?} as {role}"))
            }
            Self::Declared { object, namespace, name, change, generation, .. } => {
                let namespace = namespace.as_ref().map_or_else(String::new, |name| format!("{name}/"));
                (format!("{namespace}{object:?}/{name}"), format!("{change:?}, generation {generation}"))
            }
            Self::Cleared { version, until } => {
                let end = until.map_or("with no end".to_owned(), |until| format!("until {until}"));
                (version.in_words(), end)
            }
            Self::Lost { version, reason } => (version.in_words(), reason.clone()),
            Self::Enforced { namespace, system, action, pods } => {
                let system = system.as_deref().unwrap_or("pods of no system");
                (format!("{namespace}/{system}"), format!("{action:?} {} pods", pods.len()))
            }
            Self::Guarded { object, change } => (object.clone(), format!("restored after it was {change:?}")),
            Self::Epoch { release, clean, .. } => {
                let end = if *clean {
                    "the operator before ended in order"
                } else {
                    "the operator before did not end in order"
                };
                (format!("operator {release}"), end.to_owned())
            }
            Self::Gap { cause, from, to, .. } => {
                let from = from.map_or("an unknown time".to_owned(), |from| from.to_string());
                (format!("{cause:?}"), format!("from {from} to {to}"))
            }
            Self::Heartbeat {} => (String::new(), String::new()),
            Self::Erased { fields, ground, role } => (fields.join(", "), format!("{ground}, by {role}")),
            Self::Key { key } => (key.to_string(), "signs all later checkpoints".to_owned()),
        }
    }
}

/// A version of a system, and the content on which people decide.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// The namespace of the system.
    pub namespace: String,
    /// The name of the system.
    pub system: String,
    /// The name of the `ModelVersion`.
    pub model_version: String,
    /// The digest of the content.
    pub subject_digest: Digest,
}

impl Version {
    fn in_words(&self) -> String {
        format!("{}/{} {}", self.namespace, self.system, self.model_version)
    }
}

/// The kinds of objects that verdicts depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Declared {
    /// A system.
    AISystem,
    /// A version.
    ModelVersion,
    /// A level.
    RiskLevel,
    /// A role.
    ApproverRole,
    /// A trusted addition.
    TrustedSidecar,
}

/// The change of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// A user created the object.
    Created,
    /// A user changed the content of the object.
    Changed,
    /// A user deleted the object.
    Deleted,
}

/// The action of the operator on pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// The pods may start.
    Released,
    /// The pods may not start.
    Held,
    /// The pods were asked to stop, within disruption budgets.
    Evicted,
    /// The pods were asked to stop.
    Deleted,
    /// The workload of the pods was suspended.
    Suspended,
    /// The workload of the pods was scaled to zero.
    ScaledDown,
    /// The workload of the pods runs again.
    Resumed,
}

/// Why something is not in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GapCause {
    /// No operator enforced.
    OperatorDown,
    /// No recorder recorded.
    RecorderDown,
    /// A namespace was deleted before its decisions were recorded.
    NamespaceDeleted,
    /// The API server returned to an earlier state, or lost the head of the log.
    HeadRestored,
    /// The volume of the log returned to an earlier state, or was damaged.
    StorageRestored,
    /// The clock was set back.
    ClockSetBack,
}

/// The head of a log at an earlier time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Before {
    /// The identity of the log.
    pub origin: String,
    /// The number of entries.
    pub size: u64,
    /// The root of the tree.
    pub root: Hash,
}
