//! Makes texts of a file safe and short, for messages and for the record.

use crate::cli::render::escape::is_hidden;

/// A text of at most 128 characters, in which `\u{fffd}` replaces each hidden character.
pub(super) fn shown(text: &str) -> String {
    shortened(text, 128)
}

/// A text cut to `limit` characters, in which `\u{fffd}` replaces each hidden character.
pub(super) fn shortened(text: &str, limit: usize) -> String {
    let clean = |character: char| if is_hidden(character) { '\u{fffd}' } else { character };
    match text.char_indices().nth(limit) {
        None => text.chars().map(clean).collect(),
        Some(_) => text.chars().take(limit.saturating_sub(1)).map(clean).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_a_file_cannot_control_the_terminal() {
        assert_eq!(shown("a\u{1b}[31mb\u{202e}c"), "a\u{fffd}[31mb\u{fffd}c");
        assert_eq!(shown(&"x".repeat(500)).chars().count(), 128);
    }
}
