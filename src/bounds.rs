//! Texts that the API server bounds in bytes, and that people are to read all the same.

/// The bound of an Event's note, in bytes.
pub const NOTE_BYTES: usize = 1024;

/// `text`, or as much of its beginning as fits `bytes`, cut between characters and marked with an ellipsis.
pub fn shorten(text: String, bytes: usize) -> String {
    if text.len() <= bytes {
        return text;
    }
    let end = text.floor_char_boundary(bytes.saturating_sub('…'.len_utf8()));
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::shorten;

    #[test]
    fn what_fits_stays_and_what_does_not_is_cut_between_characters() {
        assert_eq!(shorten("für".to_owned(), 4), "für");
        assert_eq!(shorten("füür alle".to_owned(), 7), "fü…");
        for bytes in 3..20 {
            assert!(shorten("ééééééééééé".to_owned(), bytes).len() <= bytes);
        }
    }
}
