//! Which of the names that exist somebody meant who typed another.

use similar::TextDiff;

/// How much two names have to have in common, from 0 to 1.
const ALIKE: f32 = 0.7;

/// The name of `names` that is most like `name`, if one is like it.
pub fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |other: &str| TextDiff::from_chars(name, other).ratio();
    let rated = names.into_iter().filter(|other| *other != name).map(|other| (likeness(other), other));
    let best = rated.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (best.0 >= ALIKE).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_is_near_and_another_name_is_not() {
        let names = ["fraud", "credit-scorer", "chat"];
        for (typed, meant) in [
            ("froud", Some("fraud")),
            ("credit-score", Some("credit-scorer")),
            ("hcat", Some("chat")),
            ("inventory", None),
            ("fraud", None),
        ] {
            assert_eq!(nearest(typed, names), meant, "{typed}");
        }
    }
}
