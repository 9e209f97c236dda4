//! The answers of the user to the question of `approve --interactive` about one version, except the answer that
//! approves.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    Reject,
    Skip,
    /// Skips this version and all versions that `approve --interactive` would show after it.
    Quit,
}

impl Choice {
    pub(crate) fn of(answer: &str) -> Option<Self> {
        match answer.to_ascii_lowercase().as_str() {
            "r" | "reject" => Some(Self::Reject),
            "s" | "skip" | "" => Some(Self::Skip),
            "q" | "quit" => Some(Self::Quit),
            _ => None,
        }
    }
}
