//! How a namespace is governed: what it says in its labels, and what a `Clearance` repeats of it.
//!
//! ```text
//!  assent.dev/mode   enforce > warn > audit > (absent: not governed)    what is done
//!  assent.dev/scope  all (if absent) > accelerated > labelled           to which pods
//!                    ◄── stricter: who may label      laxer: the verb ungovern ──►
//! ```

use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The label by which a namespace opts in: the name of a [`Mode`].
pub const MODE_LABEL: &str = "assent.dev/mode";

/// The label by which a namespace says which of its pods are governed: the name of a [`Scope`].
pub const SCOPE_LABEL: &str = "assent.dev/scope";

/// What is done about pods that are not cleared. Spelt as in the label; the laxest first.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It is noted: in the API server's audit log, in statuses and in metrics.
    Audit,
    /// Whoever creates them is warned besides.
    Warn,
    /// They are held and stopped.
    Enforce,
}

/// Which pods are governed. Spelt as in the label; the fewest first.
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
    /// Those that name an AI system.
    Labelled,
    /// Those that ask for an accelerator as well.
    Accelerated,
    /// Every pod.
    #[default]
    All,
}

impl Mode {
    /// Every mode, the laxest first.
    pub const ALL: [Self; 3] = [Self::Audit, Self::Warn, Self::Enforce];

    /// As the label spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Warn => "warn",
            Self::Enforce => "enforce",
        }
    }
}

impl Scope {
    /// Every scope, that of the fewest pods first.
    pub const ALL: [Self; 3] = [Self::Labelled, Self::Accelerated, Self::All];

    /// As the label spells it.
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

/// What a namespace says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Governance {
    /// None: it is not governed.
    pub mode: Option<Mode>,
    /// Which of its pods would be.
    pub scope: Scope,
}

impl Governance {
    /// By its labels. What they say that is not known, which the API server refuses, is no mode, as the
    /// policies see it, and every pod.
    pub fn of(labels: &BTreeMap<String, String>) -> Self {
        let is = |label: &str, name: &str| labels.get(label).is_some_and(|value| value == name);
        Self {
            mode: Mode::ALL.into_iter().find(|mode| is(MODE_LABEL, mode.name())),
            scope: Scope::ALL.into_iter().find(|scope| is(SCOPE_LABEL, scope.name())).unwrap_or_default(),
        }
    }
}
