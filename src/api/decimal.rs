//! A decimal number as text. Binary floating-point numbers would change the digits that a tool reported.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A decimal number: at most 12 digits before the point and at most 12 digits after it, without an exponent.
///
/// The type keeps trailing zeros, because a digest covers the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Decimal(rust_decimal::Decimal);

/// The pattern of the schema. Leading zeros, a plus sign and an exponent are not allowed. So a number with a
/// given count of decimal places has only one text. The pattern allows `-0`, but the CEL rule of the schema
/// and the parser refuse a negative zero.
const PATTERN: &str = r"^-?(0|[1-9][0-9]{0,11})(\.[0-9]{1,12})?$";

/// The error for a text that is not a [`Decimal`].
#[derive(Debug, thiserror::Error)]
#[error(
    "\"{0}\" is not a decimal number: use at most 12 digits before and after the point, without an exponent"
)]
pub struct InvalidDecimal(String);

impl Decimal {
    /// `self - other`. The result has at most 13 digits before the point.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }

    /// The nearest floating-point number. Callers compare it with a sample of Prometheus.
    pub fn to_f64(self) -> f64 {
        self.to_string().parse().unwrap_or(f64::NAN)
    }

    /// `part / whole`, with at most 12 digits after the point. `None` if `whole` is 0.
    pub fn ratio(part: u64, whole: u64) -> Option<Self> {
        let ratio = rust_decimal::Decimal::from(part).checked_div(whole.into())?;
        Some(Self(ratio.round_dp(12)))
    }
}

impl FromStr for Decimal {
    type Err = InvalidDecimal;

    fn from_str(text: &str) -> Result<Self, InvalidDecimal> {
        let invalid = || InvalidDecimal(text.to_owned());
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = whole.strip_prefix('-').unwrap_or(whole);
        let is_number =
            |part: &str| (1..=12).contains(&part.len()) && part.bytes().all(|digit| digit.is_ascii_digit());
        let has_leading_zero = digits.len() > 1 && digits.starts_with('0');
        if !is_number(digits) || !is_number(fraction) || has_leading_zero {
            return Err(invalid());
        }
        let number = rust_decimal::Decimal::from_str_exact(text).map_err(|_| invalid())?;
        // Without this check, a zero would have two texts, such as `0` and `-0`.
        if number.is_zero() && whole.starts_with('-') { Err(invalid()) } else { Ok(Self(number)) }
    }
}

impl TryFrom<String> for Decimal {
    type Error = InvalidDecimal;

    fn try_from(text: String) -> Result<Self, InvalidDecimal> {
        text.parse()
    }
}

impl From<Decimal> for String {
    fn from(number: Decimal) -> Self {
        number.to_string()
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl JsonSchema for Decimal {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Decimal".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 26,
            "pattern": PATTERN,
            "x-kubernetes-validations": [{
                "rule": r"!self.matches('^-0(\\.0+)?$')",
                "message": "write 0 without a sign",
            }],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_decimal_stays_the_same() {
        for text in ["0", "0.0310", "-1.5", "999999999999.999999999999", "100.00", "-0.000000000001"] {
            assert_eq!(text.parse::<Decimal>().map(String::from).ok().as_deref(), Some(text));
        }
    }

    #[test]
    fn other_texts_are_not_decimals() {
        for text in [
            "",
            "-",
            ".5",
            "5.",
            "1e3",
            "+1",
            "NaN",
            "inf",
            "1,5",
            "00",
            "01.5",
            "-0",
            "-0.00",
            " 1",
            "1 ",
            "1000000000000",
            "0.0000000000001",
            "1.2.3",
            "١",
        ] {
            assert!(text.parse::<Decimal>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn decimals_compare_by_value() {
        let number = |text: &str| text.parse::<Decimal>().expect("a decimal");
        assert_eq!(number("0.50"), number("0.5"));
        assert!(number("-1") < number("0.3") && number("0.3") < number("10"));
        assert_eq!(number("0.05").minus(number("0.031")).to_string(), "0.019");
        assert_eq!(Decimal::ratio(1, 3).map(String::from).as_deref(), Some("0.333333333333"));
        assert_eq!(Decimal::ratio(1, 0), None);
    }
}
