//! Which limit of a `Clearance` leaves no room for a version, and what to do about it.

use std::fmt;

/// A limit that a version would exceed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Capacity {
    /// The Clearance has an entry for as many systems as it can have.
    Systems {
        /// How many systems can have an entry.
        limit: usize,
    },
    /// The system has as many cleared versions as it can have.
    Versions {
        /// How many versions of one system can be cleared.
        limit: usize,
    },
    /// The versions of the system would take more than the share of one system.
    Share {
        /// What the version takes.
        bytes: usize,
        /// What the cleared versions of the system take.
        used: usize,
        /// What the versions of one system can take.
        limit: usize,
    },
    /// The versions of the namespace would take more than there is room for.
    Bytes {
        /// What the version takes.
        bytes: usize,
        /// How much is free.
        free: usize,
        /// The systems that take the most, and how much.
        largest: Vec<(String, usize)>,
    },
    /// The API server could not compare a pod with all cleared versions of the system.
    Cost {
        /// How many versions of the system are cleared.
        versions: usize,
        /// The percentage of the cost limit that the system would reach with the version.
        percent: u64,
    },
    /// The API server refused a Clearance with the version.
    Refused,
}

impl Capacity {
    /// What to do about it, for a version of `system`.
    pub(super) fn remedy(&self, namespace: &str, system: &str) -> String {
        let versions = format!("kubectl get modelversions -n {namespace}");
        match self {
            Self::Systems { .. } => format!(
                "delete AISystems that are no longer used, or use another namespace: kubectl get aisystems -n {namespace}"
            ),
            Self::Versions { .. } => {
                format!("delete model versions of {system} that are no longer used: {versions}")
            }
            Self::Share { .. } | Self::Bytes { .. } => {
                format!(
                    "delete model versions that are no longer used, or shorten their arguments and variables: {versions}"
                )
            }
            Self::Cost { .. } => format!(
                "delete model versions of {system} that are no longer used, or list fewer variables in env and mayVary: {versions}"
            ),
            Self::Refused => format!(
                "see why: kubectl describe clearance -n {namespace}; then delete model versions that are no longer used: {versions}"
            ),
        }
    }
}

impl fmt::Display for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Systems { limit } => {
                write!(f, "the Clearance of the namespace already has {limit} systems, which is the limit")
            }
            Self::Versions { limit } => {
                write!(f, "the system already has {limit} cleared versions, which is the limit")
            }
            Self::Share { bytes, used, limit } => write!(
                f,
                "the version takes {bytes} bytes of the Clearance, and other versions of the system take {used} of the {limit} that one system can have"
            ),
            Self::Bytes { bytes, free, largest } => {
                write!(f, "the version takes {bytes} bytes of the Clearance, and {free} are free")?;
                let of: Vec<_> = largest.iter().map(|(system, bytes)| format!("{system} {bytes}")).collect();
                if of.is_empty() { Ok(()) } else { write!(f, "; most is taken by: {}", of.join(", ")) }
            }
            Self::Cost { versions, percent } => write!(
                f,
                "with it and the {versions} cleared versions of the system, comparing a pod would reach {percent}% of the API server's cost limit"
            ),
            Self::Refused => f.write_str("the API server refused to store a Clearance with this version"),
        }
    }
}
