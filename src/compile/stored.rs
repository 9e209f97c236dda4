//! How many bytes an object takes where the API server stores it.
//!
//! The API server stores custom resources as JSON that Go writes. Go escapes more than `serde_json` does: `&`, `<`, `>`,
//! and the line separators U+2028 and U+2029 take six bytes each. So text of 250 KB can take 1.5 MB, which etcd refuses.

use std::io::{self, Write};

use serde::Serialize;

/// What an escape such as `\u0026` takes.
const ESCAPED: usize = 6;

/// The size of `value` in bytes, as the API server stores it. It is never too low.
pub fn stored_size<T: Serialize>(value: &T) -> usize {
    let mut counter = Counter(0);
    // Only a map with keys that are not text fails, and no custom resource has one.
    serde_json::to_writer(&mut counter, value).map_or(usize::MAX, |()| counter.0)
}

/// Counts what is written to it. `serde_json` writes whole characters, so none is split between two writes.
struct Counter(usize);

impl Write for Counter {
    fn write(&mut self, json: &[u8]) -> io::Result<usize> {
        let html = json.iter().filter(|byte| matches!(byte, b'&' | b'<' | b'>')).count();
        let separators = json.windows(3).filter(|w| matches!(w, [0xE2, 0x80, 0xA8 | 0xA9])).count();
        // Older servers write these two in the long form.
        let short = json.windows(2).filter(|w| matches!(w, [b'\\', b'b' | b'f'])).count();
        self.0 += json.len() + html * (ESCAPED - 1) + separators * (ESCAPED - 3) + short * (ESCAPED - 2);
        Ok(json.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::stored_size;

    #[test]
    fn text_takes_what_go_writes() {
        for (text, bytes) in [
            ("", 2),
            ("plain", 7),
            ("&<>", 20),
            ("\u{2028}\u{2029}", 14),
            ("\u{8}\u{c}", 14),
            ("\n\t\r", 8),
            ("\u{1}", 8),
            ("\"\\", 6),
            ("é\u{80}", 6),
        ] {
            assert_eq!(stored_size(&text), bytes, "{text:?}");
        }
    }

    #[test]
    fn keys_count_too() {
        assert_eq!(stored_size(&serde_json::json!({ "a&": [1, null] })), "{\"a\\u0026\":[1,null]}".len());
    }
}
