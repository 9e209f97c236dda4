//! The answers to `approve --interactive`, except an approval.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    Reject,
    Skip,
    /// Skips this version and all later versions.
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
