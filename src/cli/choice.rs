//! The answers in `approve --interactive`.

/// An answer in `approve --interactive` other than an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    Reject,
    Skip,
    /// Skips this version and all later versions.
    Quit,
}

impl Choice {
    /// Parses an answer. `None` if it is not a choice.
    pub(crate) fn of(answer: &str) -> Option<Self> {
        match answer.to_ascii_lowercase().as_str() {
            "r" | "reject" => Some(Self::Reject),
            "s" | "skip" | "" => Some(Self::Skip),
            "q" | "quit" => Some(Self::Quit),
            _ => None,
        }
    }
}
