//! Reads and writes durations such as `8760h`. The functions of this module do not panic if a text is invalid.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::core::Duration;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// The maximum number of consecutive digits in the text of a duration.
const DIGITS: usize = 15;

/// Reads an optional duration in the form that the schema allows.
///
/// The parser of `Duration` panics on numbers with too many digits. An object that bypassed the schema must not crash
/// the operator. So this function returns an error, and the operator treats the object as missing.
pub(crate) fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    Option::<String>::deserialize(deserializer)?
        .map(|text| parse(&text).map_err(D::Error::custom))
        .transpose()
}

/// Reads a duration in the form that the schema allows, as [`optional`] does.
pub(crate) fn required<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// Writes a duration, and a duration of zero as `0s`. `Duration` itself would write zero as `0ns`, which the schemas
/// refuse.
pub(crate) fn written<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    if std::time::Duration::from(*duration).is_zero() {
        serializer.serialize_str("0s")
    } else {
        duration.serialize(serializer)
    }
}

/// Adds `duration` to `start`. If the sum is too large, the result is the latest possible instant.
pub(crate) fn after(start: Timestamp, duration: Duration) -> Timestamp {
    let duration =
        SignedDuration::try_from(std::time::Duration::from(duration)).unwrap_or(SignedDuration::MAX);
    start.checked_add(duration).unwrap_or(Timestamp::MAX)
}

fn parse(text: &str) -> Result<Duration, String> {
    let is_short = text.len() <= 32 && text.split(|c: char| !c.is_ascii_digit()).all(|n| n.len() <= DIGITS);
    // `n` and `µ` are allowed, because `Duration` writes them for durations below one millisecond.
    let is_plain = text.chars().all(|c| c.is_ascii_digit() || ".hmsnµ".contains(c));
    if !(is_short && is_plain) {
        return Err(format!("\"{text}\" is not a valid duration: use one such as 8760h"));
    }
    text.parse().map_err(|error: kube::core::duration::ParseError| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::api::RiskLevelSpec;

    #[test]
    fn validity_outside_the_schema_is_an_error_and_does_not_panic() {
        let read = |validity: &str| serde_json::from_value::<RiskLevelSpec>(json!({ "validity": validity }));
        for good in ["8760h", "1h30m", "0.5h", "87600h", "999999999999999h999999999999999h"] {
            assert!(read(good).is_ok(), "{good}");
        }
        for bad in
            ["9223372036854775807h", "-1h", "1e300h", "NaNh", "infh", "h", "8760", "soon", &"1h".repeat(17)]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
        for short in ["0s", "0.0000001s", "0.00001s", "0.5ms"] {
            let level = read(short).expect("the schema refuses only zero");
            let written = serde_json::to_value(&level).expect("an object serialises");
            assert_eq!(serde_json::from_value(written).ok(), Some(level), "{short}");
        }
        assert_eq!(read("90m").ok().and_then(|level| level.validity), "1h30m".parse().ok());
        assert_eq!(
            serde_json::from_value::<RiskLevelSpec>(json!({ "validity": null })).ok(),
            Some(RiskLevelSpec::default())
        );
    }
}
