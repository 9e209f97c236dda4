//! Shortens texts to byte limits, and replaces characters that the API server refuses.

use std::borrow::Cow;

/// The maximum size of an Event's note in bytes. A longer note is hard to read in `kubectl describe`. The API server
/// allows 1024.
pub const NOTE_BYTES: usize = 300;

/// Cuts `text` to at most `bytes` bytes, between two characters, and marks the cut with an ellipsis.
pub fn shorten(text: String, bytes: usize) -> String {
    if text.len() <= bytes {
        return text;
    }
    let end = text.floor_char_boundary(bytes.saturating_sub('…'.len_utf8()));
    format!("{}…", &text[..end])
}

/// The note of an Event: the cause, then the next command. The function shortens only the cause. It leaves out a long
/// command, because a shortened command is useless.
pub fn note(cause: String, next: &str) -> String {
    let next = if next.len() <= NOTE_BYTES * 2 / 3 { next } else { "" };
    shorten(cause, NOTE_BYTES - next.len()) + next
}

/// Writes U+FFFD instead of each character that can control a terminal or that YAML does not allow. YAML matters
/// because the API server parses statuses as YAML. Line feeds and tabs stay.
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
    use super::{NOTE_BYTES, note, plain, shorten};

    #[test]
    fn characters_that_yaml_does_not_allow_are_replaced() {
        assert_eq!(plain("für\n\talle"), "für\n\talle");
        assert_eq!(
            plain("a\u{80}b\u{1b}[2Jc\u{7f}\u{85}\u{ffff}\r"),
            "a\u{fffd}b\u{fffd}[2Jc\u{fffd}\u{fffd}\u{fffd}\u{fffd}"
        );
    }

    #[test]
    fn a_note_keeps_its_command_or_leaves_it_out() {
        let command = "; see: kubectl assent explain pod/a -n b";
        let text = note("x".repeat(400), command);
        assert!(text.len() <= NOTE_BYTES && text.ends_with(command), "{text}");
        assert_eq!(note("cause".to_owned(), &"c".repeat(201)), "cause");
    }

    #[test]
    fn a_text_that_is_too_long_is_cut_between_characters() {
        assert_eq!(shorten("für".to_owned(), 4), "für");
        assert_eq!(shorten("füür alle".to_owned(), 7), "fü…");
        for bytes in 3..20 {
            assert!(shorten("ééééééééééé".to_owned(), bytes).len() <= bytes);
        }
    }
}
