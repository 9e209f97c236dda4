//! Times that people write, and what becomes of one that this program cannot read.
//!
//! The API server takes more digits of a second than this program does. An object with such a time must not count as
//! missing as a whole: a revocation would have no effect.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use serde::{Deserialize, Deserializer};

/// What the API server takes for a time: RFC 3339 with nanoseconds at most.
pub(crate) const TIME_PATTERN: &str =
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$";

/// Reads a time; one that cannot be read is in 1970. An approval that ended then, or was signed then, clears nothing.
pub(crate) fn time_or_past<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok(Time(text.parse().unwrap_or(Timestamp::UNIX_EPOCH)))
}

/// The same where there may be none.
pub(crate) fn optional_time_or_past<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Time>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.map(|text| Time(text.parse().unwrap_or(Timestamp::UNIX_EPOCH))))
}
