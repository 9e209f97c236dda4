//! Finds the existing name that is most similar to a mistyped name.

use similar::TextDiff;

/// The lowest similarity that counts, from 0 (nothing in common) to 1 (equal).
const MIN_SIMILARITY: f32 = 0.7;

/// The name in `names` that is most similar to `name`, but not equal to it. `None` if no name is similar enough.
pub fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let similarity = |other: &str| TextDiff::from_chars(name, other).ratio();
    let rated = names.into_iter().filter(|other| *other != name).map(|other| (similarity(other), other));
    let best = rated.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (best.0 >= MIN_SIMILARITY).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_error_is_near_and_another_name_is_not() {
        let names = ["fraud", "credit-scorer", "chat"];
        for (typed, expected) in [
            ("froud", Some("fraud")),
            ("credit-score", Some("credit-scorer")),
            ("hcat", Some("chat")),
            ("inventory", None),
            ("fraud", None),
        ] {
            assert_eq!(nearest(typed, names), expected, "{typed}");
        }
    }
}
