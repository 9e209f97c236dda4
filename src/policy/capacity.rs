//! The reasons why a version does not fit into a `Clearance`, each with the next step for the user.

use std::fmt;

/// The reason why a version does not fit into a Clearance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Capacity {
    /// The Clearance already has the maximum number of systems.
    Systems {
        /// The maximum number of systems.
        limit: usize,
    },
    /// The system already has the maximum number of cleared versions.
    Versions {
        /// The maximum number of cleared versions of one system.
        limit: usize,
    },
    /// The cleared versions of the system would need more bytes of the Clearance than one system may use.
    Share {
        /// The number of bytes that the version needs.
        bytes: usize,
        /// The number of bytes that the other cleared versions of the system need.
        used: usize,
        /// The number of bytes that one system may use.
        limit: usize,
    },
    /// The Clearance has too few free bytes for the version.
    Bytes {
        /// The number of bytes that the version needs.
        bytes: usize,
        /// The number of free bytes in the Clearance.
        free: usize,
        /// The systems that need the most bytes, with the number of bytes of each.
        largest: Vec<(String, usize)>,
    },
    /// The comparison of a pod with all cleared versions of the system would cost too much for the API server.
    Cost {
        /// The number of other cleared versions of the system.
        versions: usize,
        /// The cost of a comparison with all these versions and the new version, in percent of the cost limit.
        percent: u64,
    },
    /// The API server refused to store a Clearance that contains the version.
    Refused,
}

impl Capacity {
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
                "see the cause: kubectl describe clearance -n {namespace}; then delete model versions that are no longer used: {versions}"
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
                if of.is_empty() { Ok(()) } else { write!(f, "; the largest systems are: {}", of.join(", ")) }
            }
            Self::Cost { versions, percent } => write!(
                f,
                "with this version and the {versions} cleared versions of the system, comparing a pod would reach {percent}% of the API server's cost limit"
            ),
            Self::Refused => f.write_str("the API server refused to store a Clearance with this version"),
        }
    }
}
