//! Reads times that people write, with a fallback for times that this program cannot read.
//!
//! The schema refuses such times, but an object of an older schema can contain one. If that object counted as
//! missing, a revocation in it would have no effect.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use serde::{Deserialize, Deserializer};

/// The pattern of times that the schema allows: RFC 3339, with at most nine decimal places of a second.
pub(crate) const TIME_PATTERN: &str =
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$";

/// Reads a time. A time that cannot be read becomes 1970-01-01T00:00:00Z. An approval that ends or was signed at that
/// time clears nothing.
pub(crate) fn time_or_past<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok(Time(text.parse().unwrap_or(Timestamp::UNIX_EPOCH)))
}

/// Reads an optional time, with the fallback of [`time_or_past`].
pub(crate) fn optional_time_or_past<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Time>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.map(|text| Time(text.parse().unwrap_or(Timestamp::UNIX_EPOCH))))
}
