//! The mode and the scope of a namespace, from its labels. The `Clearance` of the namespace contains a copy of both.
//!
//! - The modes, from strict to less strict, are `enforce`, `warn`, `audit` and no label.
//! - The scopes, from strict to less strict, are `all` (the default), `accelerated` and `labelled`.
//!
//! A user who may label the namespace can make its mode or scope stricter. To make the mode or scope less strict, a
//! user needs the verb `ungovern`.

use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The namespace label that sets the [`Mode`]. A namespace without this label is not governed.
pub const MODE_LABEL: &str = "assent.dev/mode";

/// The namespace label that sets the [`Scope`].
pub const SCOPE_LABEL: &str = "assent.dev/scope";

/// The action on pods that are not cleared: `enforce`, `warn` or `audit`. The variants are in the order from the
/// mildest to the strictest.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Write to the audit log of the API server, to statuses and to metrics.
    Audit,
    /// Do the same as `Audit`, and warn the user who creates the pod or its workload.
    Warn,
    /// Hold and stop the pods.
    Enforce,
}

/// The set of governed pods: `all`, `accelerated` or `labelled`. The variants are in the order from the fewest pods to
/// the most.
#[derive(
    JsonSchema,
    clap::ValueEnum,
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Pods that name an AI system.
    Labelled,
    /// Pods that name an AI system, and pods that use an accelerator.
    Accelerated,
    /// Every pod.
    #[default]
    All,
}

impl Mode {
    /// All modes, the mildest first.
    pub const ALL: [Self; 3] = [Self::Audit, Self::Warn, Self::Enforce];

    /// The value of [`MODE_LABEL`] for this mode.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Warn => "warn",
            Self::Enforce => "enforce",
        }
    }
}

impl Scope {
    /// All scopes, from the fewest pods to the most.
    pub const ALL: [Self; 3] = [Self::Labelled, Self::Accelerated, Self::All];

    /// The value of [`SCOPE_LABEL`] for this scope.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Labelled => "labelled",
            Self::Accelerated => "accelerated",
            Self::All => "all",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The mode and the scope of a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Governance {
    /// The mode, or `None` if the namespace is not governed.
    pub mode: Option<Mode>,
    /// The set of governed pods. The scope has no effect without a mode.
    pub scope: Scope,
}

impl Governance {
    /// Reads the labels of a namespace.
    ///
    /// An unknown mode counts as no mode, as in the admission policies. An unknown scope counts as [`Scope::All`].
    /// Unknown values are rare, because an admission policy refuses new labels with unknown values.
    pub fn of(labels: &BTreeMap<String, String>) -> Self {
        let is = |label: &str, name: &str| labels.get(label).is_some_and(|value| value == name);
        Self {
            mode: Mode::ALL.into_iter().find(|mode| is(MODE_LABEL, mode.name())),
            scope: Scope::ALL.into_iter().find(|scope| is(SCOPE_LABEL, scope.name())).unwrap_or_default(),
        }
    }
}
