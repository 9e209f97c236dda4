//! Escapes hidden characters before a text reaches a terminal.
//!
//! Without these escapes, the author of an object could hide content from the person who signs it. An escape sequence
//! overwrites a line. A bidirectional override reverses text. A zero-width character makes two names look the same.
//!
//! ```text
//!  text of a cluster object ──► visible ──► the same text, with \u{1b}, \u{202e}, \u{200b} … escaped
//! ```

use std::borrow::Cow;
use std::fmt::Write;

/// `text` on one line. Hidden characters become `\u{…}`, line breaks and tabs become `\n`, `\r` and `\t`.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        if is_hidden(char) { out.push_str(&escaped(char)) } else { out.push(char) }
    }
    Cow::Owned(out)
}

/// The lines of `text`, each with hidden characters escaped.
pub fn visible_lines(text: &str) -> impl Iterator<Item = Cow<'_, str>> {
    text.split('\n').map(visible)
}

/// A JSON text with hidden characters as `\uXXXX`. The value stays the same, because `serde_json` writes such
/// characters only in strings.
pub fn visible_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for char in json.chars() {
        if char == '\n' || !is_hidden(char) {
            out.push(char);
            continue;
        }
        for unit in char.encode_utf16(&mut [0; 2]) {
            write!(out, "\\u{unit:04x}").expect("a String takes every write");
        }
    }
    out
}

/// Whether a reader can overlook `char`: a control, invisible, private or unassigned character, or a blank other than
/// the ASCII space.
pub fn is_hidden(char: char) -> bool {
    if char.is_ascii() { char.is_ascii_control() } else { is_blank(char) || !is_printable(char) }
}

/// Whether most fonts draw nothing for `char`, although Unicode classes it as a letter, mark or symbol. These are
/// characters with the property `Default_Ignorable_Code_Point`, and the blank Braille pattern.
const fn is_blank(char: char) -> bool {
    matches!(char,
        '\u{34f}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{2800}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{e0100}'..='\u{e01ef}')
}

/// Whether the standard library prints the character in a string without an escape. The library escapes
/// control, format, surrogate, private, unassigned and separator characters. It escapes a combining mark only
/// at the start of a string, so this code puts a letter before the character.
fn is_printable(char: char) -> bool {
    let after_a_letter: String = ['x', char].into_iter().collect();
    after_a_letter.escape_debug().eq(['x', char])
}

fn escaped(char: char) -> String {
    match char {
        '\n' | '\t' | '\r' => char.escape_default().collect(),
        _ => char.escape_unicode().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_text_is_unchanged() {
        for text in [
            "",
            "Scores credit applications",
            "Bonität prüfen für 5 € – täglich",
            "信用評価",
            "क्रेडिट",
            "e\u{301}",
            r#"--name="a\b""#,
            "👍",
        ] {
            assert_eq!(visible(text), text);
        }
    }

    #[test]
    fn hidden_characters_are_escaped() {
        for (text, shown) in [
            ("safe\u{1b}[2K\u{1b}[1Aevil", r"safe\u{1b}[2K\u{1b}[1Aevil"),
            ("a\rb\nc\td", r"a\rb\nc\td"),
            ("\u{7}\u{8}\u{7f}", r"\u{7}\u{8}\u{7f}"),
            ("\u{9b}31m", r"\u{9b}31m"),
            ("a\u{202e}b\u{2066}c\u{2069}", r"a\u{202e}b\u{2066}c\u{2069}"),
            ("\u{200b}\u{200d}\u{2060}\u{feff}\u{ad}", r"\u{200b}\u{200d}\u{2060}\u{feff}\u{ad}"),
            ("a\u{a0}b\u{2028}c\u{3000}", r"a\u{a0}b\u{2028}c\u{3000}"),
            ("\u{e0041}\u{fe0f}\u{e0101}", r"\u{e0041}\u{fe0f}\u{e0101}"),
            ("\u{3164}\u{2800}\u{115f}", r"\u{3164}\u{2800}\u{115f}"),
            ("\u{e000}\u{ffff}", r"\u{e000}\u{ffff}"),
        ] {
            assert_eq!(visible(text), shown);
        }
    }

    #[test]
    fn lines_stay_separate() {
        assert_eq!(visible_lines("a\u{1b}\nb").collect::<Vec<_>>(), [r"a\u{1b}", "b"]);
    }

    #[test]
    fn json_keeps_its_value_and_hides_nothing() {
        let value = serde_json::json!({ "a\u{202e}": "b\u{200b}\u{e0041}\u{1b}c\nd" });
        let shown = visible_json(&serde_json::to_string_pretty(&value).expect("serialises"));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).expect("parses"), value);
        assert!(shown.chars().all(|c| c == '\n' || !is_hidden(c)));
    }
}
