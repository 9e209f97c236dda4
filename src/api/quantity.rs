//! The canonical text of a quantity, such as `1Gi` for `1024Mi`.
//!
//! ```text
//!  0.5Gi ─► number × unit ─► 512Mi      the API server stores pods with this text
//! ```

use serde::{Deserialize, Deserializer};

use super::Text;

const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/// The decimal units, from 10⁻⁹ in steps of 10³.
const DECIMAL: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];

const NANOS: i128 = 1_000_000_000;

/// The text that the API server stores for a quantity. A text with an exponent, a sign, more than nine decimal places,
/// or a number beyond 64 bits stays unchanged.
pub fn canonical(text: &str) -> Text {
    nanos(text).map_or_else(|| text.into(), |(nanos, binary)| format(nanos, binary).into())
}

/// Reads a quantity, and returns its canonical text.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
    Ok(canonical(&String::deserialize(deserializer)?))
}

/// The quantity in units of 10⁻⁹, and whether its unit is binary. `None` if [`canonical`] leaves the text unchanged.
fn nanos(text: &str) -> Option<(i128, bool)> {
    let unit = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_number = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit());
    if number.len() > 24 || fraction.len() > 9 || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let scale = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
    let binary = BINARY.iter().skip(1).position(|name| *name == unit);
    let (multiplied, divisor) = if let Some(step) = binary {
        (digits.checked_mul(1024_i128.pow(u32::try_from(step).ok()? + 1))?, scale)
    } else {
        let step = DECIMAL.iter().position(|name| *name == unit)?;
        (digits.checked_mul(1000_i128.pow(u32::try_from(step).ok()?))?, scale.checked_mul(NANOS)?)
    };
    let all = multiplied.checked_mul(NANOS)?;
    let exact = all % divisor == 0 && all / divisor / NANOS <= i128::from(i64::MAX);
    exact.then_some((all / divisor, binary.is_some()))
}

fn format(nanos: i128, binary: bool) -> String {
    let (step, units): (i128, &[&str]) = if binary && nanos % NANOS == 0 && nanos >= 1024 * NANOS {
        (1024, &BINARY)
    } else {
        (1000, &DECIMAL)
    };
    let mut number = if step == 1024 { nanos / NANOS } else { nanos };
    if number == 0 {
        return "0".to_owned();
    }
    let mut unit = 0;
    while number % step == 0 && unit + 1 < units.len() {
        number /= step;
        unit += 1;
    }
    format!("{number}{}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each pair: the text in a manifest, and the text that the API server stores for it.
    #[test]
    fn quantities_with_equal_values_have_one_text() {
        for (written, stored) in [
            ("1Gi", "1Gi"),
            ("1024Mi", "1Gi"),
            ("0.5Gi", "512Mi"),
            ("1000Mi", "1000Mi"),
            ("1000M", "1G"),
            ("1.5G", "1500M"),
            ("100", "100"),
            ("1000", "1k"),
            ("0", "0"),
            ("0Gi", "0"),
            ("0.5", "500m"),
            ("512", "512"),
            ("0.5Ki", "512"),
            ("1Ki", "1Ki"),
            ("1.0001Ki", "1024102400u"),
            ("007Gi", "7Gi"),
        ] {
            assert_eq!(canonical(written), *stored, "{written}");
            assert_eq!(canonical(stored), *stored, "the text of {written} is not stable");
        }
    }

    #[test]
    fn unusual_text_stays_as_it_is() {
        for text in ["", "Gi", "-1Gi", "1e3", "1Gib", "1.0000000001", "99999999999Ei", "1.2.3", "ü"] {
            assert_eq!(canonical(text), *text);
        }
    }
}
