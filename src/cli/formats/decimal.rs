//! Decimal numbers with at most 12 integer digits and 12 decimals, as in the fields of an `Assessment`.
//!
//! ```text
//!  "6.666666666666666e-1" ── parse ──► 0.666666666666|6666 ── half to even ──► "0.666666666667"
//! ```
//!
//! The numbers never pass through a float, so that no digit changes on the way from the file to the record.

use std::fmt;

/// The maximum number of decimals. More decimals are rounded.
const DECIMALS: usize = 12;
/// The maximum number of digits before the decimal point.
const INTEGER_DIGITS: i64 = 12;
/// The number 1, in units of the last decimal place.
const ONE: i128 = 1_000_000_000_000;

/// A decimal number. Its text matches `^-?(0|[1-9][0-9]{0,11})(\.[0-9]{1,12})?$` and is never `-0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal(i128);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    #[error("is not a finite number")]
    NotFinite,
    /// The text does not follow the grammar of JSON numbers.
    #[error("is not a decimal number")]
    Syntax,
    #[error("has more than 12 digits before the decimal point")]
    TooLarge,
}

impl Decimal {
    pub const ZERO: Self = Self(0);
    pub const ONE: Self = Self(ONE);

    /// Reads a number in the grammar of JSON. A number with more than 12 decimals is rounded half to even, in one step.
    pub fn parse(text: &str) -> Result<Self, DecimalError> {
        if ["NaN", "Infinity", "-Infinity", "nan", ".nan", ".inf", "-.inf", "inf", "-inf"].contains(&text) {
            return Err(DecimalError::NotFinite);
        }
        let parts = Parts::split(text).ok_or(DecimalError::Syntax)?;
        let magnitude = parts.magnitude()?;
        Ok(Self(if parts.negative { -magnitude } else { magnitude }))
    }

    /// The number as an integer. `None` if it has decimals.
    pub fn whole(self) -> Option<i128> {
        (self.0 % ONE == 0).then_some(self.0 / ONE)
    }

    /// `part / whole`, rounded half to even. `None` if `whole` is zero.
    pub fn ratio(part: u64, whole: u64) -> Option<Self> {
        (whole != 0).then(|| Self(divide(i128::from(part) * ONE, i128::from(whole))))
    }

    /// The mean of the numbers, rounded half to even. `None` if there are no numbers.
    pub fn mean(numbers: &[Self]) -> Option<Self> {
        let count = i128::try_from(numbers.len()).ok().filter(|count| *count > 0)?;
        // Each stored integer is below 10^24, and a file has fewer than 2^26 numbers, so the sum fits.
        Some(Self(divide(numbers.iter().map(|number| number.0).sum(), count)))
    }

    /// The quotient, rounded half to even. `None` if the divisor is zero.
    pub fn over(self, divisor: u64) -> Option<Self> {
        (divisor != 0).then(|| Self(divide(self.0, i128::from(divisor))))
    }

    /// Converts seconds to nanoseconds.
    pub(super) fn nanoseconds(self) -> i128 {
        divide(self.0, 1_000)
    }

    /// Converts an unsigned integer. `None` if the integer has more than 12 digits.
    pub fn from_count(count: u64) -> Option<Self> {
        (i128::from(count) < ONE).then(|| Self(i128::from(count) * ONE))
    }
}

/// `dividend / divisor`, rounded half to even. The divisor is positive.
fn divide(dividend: i128, divisor: i128) -> i128 {
    let (quotient, rest) = (dividend.div_euclid(divisor), dividend.rem_euclid(divisor));
    match (rest * 2).cmp(&divisor) {
        std::cmp::Ordering::Less => quotient,
        std::cmp::Ordering::Greater => quotient + 1,
        std::cmp::Ordering::Equal => quotient + quotient.rem_euclid(2),
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.unsigned_abs();
        let (whole, fraction) = (magnitude / ONE.unsigned_abs(), magnitude % ONE.unsigned_abs());
        if self.0 < 0 {
            f.write_str("-")?;
        }
        write!(f, "{whole}")?;
        if fraction == 0 {
            return Ok(());
        }
        write!(f, ".{}", format!("{fraction:0DECIMALS$}").trim_end_matches('0'))
    }
}

struct Parts<'a> {
    negative: bool,
    integer: &'a str,
    fraction: &'a str,
    exponent: i64,
}

impl<'a> Parts<'a> {
    fn split(text: &'a str) -> Option<Self> {
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
            None => (rest, 0),
        };
        let (integer, fraction) = match mantissa.split_once('.') {
            Some((integer, fraction)) => (integer, Some(fraction)),
            None => (mantissa, None),
        };
        let valid = all_digits(integer)
            && (integer.len() == 1 || !integer.starts_with('0'))
            && fraction.is_none_or(all_digits);
        valid.then_some(Self { negative, integer, fraction: fraction.unwrap_or_default(), exponent })
    }

    /// The absolute value in units of the last decimal place.
    fn magnitude(&self) -> Result<i128, DecimalError> {
        let digits: Vec<i128> = self.integer.bytes().chain(self.fraction.bytes()).map(digit).collect();
        let Some(first) = digits.iter().position(|digit| *digit != 0) else { return Ok(0) };
        let integer_digits = i64::try_from(self.integer.len()).map_err(|_| DecimalError::TooLarge)?;
        // The number of digits before the decimal point, after the exponent moved the point. If this number
        // is negative, zeros follow the point.
        let point = integer_digits.saturating_add(self.exponent);
        let leading = i64::try_from(first).map_err(|_| DecimalError::TooLarge)?;
        if point.saturating_sub(leading) > INTEGER_DIGITS {
            return Err(DecimalError::TooLarge);
        }
        let Ok(kept) = usize::try_from(point.saturating_add(12)) else { return Ok(0) };
        let units = (first..kept).fold(0, |sum, at| sum * 10 + digits.get(at).copied().unwrap_or(0));
        let rounded = units + i128::from(rounds_up(&digits, kept, units));
        if rounded < ONE * ONE { Ok(rounded) } else { Err(DecimalError::TooLarge) }
    }
}

/// Whether to round up `units`, which is the number from the digits before the index `kept`. A half is rounded to even.
fn rounds_up(digits: &[i128], kept: usize, units: i128) -> bool {
    let Some((next, rest)) = digits.get(kept..).and_then(<[i128]>::split_first) else { return false };
    *next > 5 || *next == 5 && (units % 2 == 1 || rest.iter().any(|digit| *digit != 0))
}

fn digit(byte: u8) -> i128 {
    i128::from(byte.saturating_sub(b'0'))
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Parses an exponent. Cuts its absolute value to `i64::MAX / 4`, because a larger exponent has the same effect.
/// Returns `None` if the text is not an integer.
fn parse_exponent(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    all_digits(digits).then(|| {
        let magnitude = digits.parse().unwrap_or(i64::MAX / 4).min(i64::MAX / 4);
        if negative { -magnitude } else { magnitude }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(input: &str) -> String {
        Decimal::parse(input).map_or_else(|error| error.to_string(), |value| value.to_string())
    }

    #[test]
    fn short_numbers_keep_all_digits() {
        for (input, expected) in [
            ("0", "0"),
            ("-0", "0"),
            ("-0.0", "0"),
            ("0.031", "0.031"),
            ("-12.50", "-12.5"),
            ("1e-3", "0.001"),
            ("1.5E+3", "1500"),
            ("999999999999.999999999999", "999999999999.999999999999"),
            ("0e99999999999999999999", "0"),
        ] {
            assert_eq!(text(input), expected, "{input}");
        }
    }

    #[test]
    fn longer_numbers_round_half_to_even() {
        for (input, expected) in [
            ("0.6666666666666666", "0.666666666667"),
            ("0.0000000000005", "0"),
            ("0.0000000000015", "0.000000000002"),
            ("0.0000000000025", "0.000000000002"),
            ("0.00000000000250000000000000000000000000000000001", "0.000000000003"),
            ("-0.0000000000005", "0"),
            ("1e-13", "0"),
            ("6e-13", "0.000000000001"),
            ("1e-999999999999999999999", "0"),
            ("0.9999999999999", "1"),
        ] {
            assert_eq!(text(input), expected, "{input}");
        }
    }

    #[test]
    fn numbers_outside_the_range_or_the_grammar_are_errors() {
        for input in ["1e12", "1000000000000", "999999999999.9999999999999", "1e999999999999999999999"] {
            assert_eq!(Decimal::parse(input), Err(DecimalError::TooLarge), "{input}");
        }
        for input in ["", "-", "+1", ".5", "5.", "01", "1e", "0x1", "1_000", "N/A", "1,5", "20.0 ± 1.2", "٣"]
        {
            assert_eq!(Decimal::parse(input), Err(DecimalError::Syntax), "{input}");
        }
        for input in ["NaN", "Infinity", "-Infinity", ".nan"] {
            assert_eq!(Decimal::parse(input), Err(DecimalError::NotFinite), "{input}");
        }
    }

    #[test]
    fn ratios_and_means_round_half_to_even() {
        let shown = |value: Option<Decimal>| value.map(|value| value.to_string());
        assert_eq!(shown(Decimal::ratio(1, 3)).as_deref(), Some("0.333333333333"));
        assert_eq!(shown(Decimal::ratio(2, 3)).as_deref(), Some("0.666666666667"));
        assert_eq!(Decimal::ratio(1, 0), None);
        assert_eq!(Decimal::mean(&[]), None);
        assert_eq!(divide(-5, 2), -2, "half to even also below zero");
        assert_eq!(divide(-3, 2), -2);
    }

    proptest! {
        #[test]
        fn texts_match_the_pattern_of_the_schema(input in "-?(0|[1-9][0-9]{0,13})(\\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?") {
            if let Ok(value) = Decimal::parse(&input) {
                let text = value.to_string();
                prop_assert!(text != "-0");
                let digits = text.strip_prefix('-').unwrap_or(&text);
                let (integer, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
                prop_assert!((1..=12).contains(&integer.len()) && (1..=12).contains(&fraction.len()));
                prop_assert!(integer == "0" || !integer.starts_with('0'));
                prop_assert_eq!(Decimal::parse(&text), Ok(value));
            }
        }

        #[test]
        fn values_agree_with_floats(input in -1.0e11..1.0e11) {
            let value = Decimal::parse(&format!("{input:?}")).unwrap();
            let back: f64 = value.to_string().parse().unwrap();
            prop_assert!(f64::abs(back - input) <= 1e-12_f64.max(f64::abs(input) * 1e-15));
        }
    }
}
