//! Computes the size of an object in etcd.
//!
//! The API server stores custom resources as JSON, and writes this JSON with Go. Go escapes more characters than
//! `serde_json`: `&`, `<`, `>`, U+2028 and U+2029 take six bytes each. So a text of 300 KB can take 1.8 MB. etcd
//! refuses an object of more than 1.5 MiB.

use std::io::{self, Write};

use serde::Serialize;

/// The length in bytes of an escape such as `\u0026`.
const ESCAPED: usize = 6;

/// The size of `value` in bytes, as the API server stores it. The computed size can be too large, but not too small.
pub fn stored_size<T: Serialize>(value: &T) -> usize {
    let mut counter = Counter(0);
    // The serialisation fails only for a map whose keys are not strings. No custom resource has such a map.
    serde_json::to_writer(&mut counter, value).map_or(usize::MAX, |()| counter.0)
}

/// Counts the written bytes. `serde_json` passes each character and each escape to one call of `write`, never to two.
struct Counter(usize);

impl Write for Counter {
    fn write(&mut self, json: &[u8]) -> io::Result<usize> {
        let html = json.iter().filter(|byte| matches!(byte, b'&' | b'<' | b'>')).count();
        let separators = json.windows(3).filter(|w| matches!(w, [0xE2, 0x80, 0xA8 | 0xA9])).count();
        // Older API servers write `\b` and `\f` as six bytes.
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
    fn text_is_counted_as_go_escapes_it() {
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
    fn keys_are_counted() {
        assert_eq!(stored_size(&serde_json::json!({ "a&": [1, null] })), "{\"a\\u0026\":[1,null]}".len());
    }
}
