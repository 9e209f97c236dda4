//! Texts that the API server bounds in bytes, and that people are to read all the same.

use std::borrow::Cow;

/// The bound of an Event's note, in bytes: what `kubectl describe` shows at a glance. The API server takes 1024.
pub const NOTE_BYTES: usize = 300;

/// `text`, or as much of its beginning as fits `bytes`, cut between characters and marked with an ellipsis.
pub fn shorten(text: String, bytes: usize) -> String {
    if text.len() <= bytes {
        return text;
    }
    let end = text.floor_char_boundary(bytes.saturating_sub('…'.len_utf8()));
    format!("{}…", &text[..end])
}

/// `text` with the replacement character in place of each that YAML does not allow, as the API server reads statuses, or
/// that a terminal could take for a command. Line feeds and tabs stay.
pub fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unprintable) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace(is_unprintable, "\u{fffd}"))
}

fn is_unprintable(char: char) -> bool {
    let is_white = matches!(char, '\n' | '\t');
    (char.is_control() && !is_white)
        || matches!(char, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::{plain, shorten};

    #[test]
    fn what_yaml_does_not_allow_is_replaced() {
        assert_eq!(plain("für\n\talle"), "für\n\talle");
        assert_eq!(
            plain("a\u{80}b\u{1b}[2Jc\u{7f}\u{85}\u{ffff}\r"),
            "a\u{fffd}b\u{fffd}[2Jc\u{fffd}\u{fffd}\u{fffd}\u{fffd}"
        );
    }

    #[test]
    fn what_fits_stays_and_what_does_not_is_cut_between_characters() {
        assert_eq!(shorten("für".to_owned(), 4), "für");
        assert_eq!(shorten("füür alle".to_owned(), 7), "fü…");
        for bytes in 3..20 {
            assert!(shorten("ééééééééééé".to_owned(), bytes).len() <= bytes);
        }
    }
}
