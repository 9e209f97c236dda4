//! Regular expressions with a known maximum cost.

use regex::{Error, Regex, RegexBuilder};

/// The size limits of a compiled pattern, in kilobytes. [`Pattern::new`] tries one limit after the other, to find the
/// size of the pattern. The size determines the cost: in the worst case, a search visits each part of the compiled
/// pattern for each byte of the text.
const SIZES: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];

/// A search with a pattern of one kilobyte costs one step for this number of bytes of the text.
const BYTES_PER_STEP: usize = 2;

/// The maximum size of the state cache of a search, in bytes.
const CACHE_BYTES: usize = 256 << 10;

/// The maximum nesting of a pattern. This limit bounds the stack while the operator compiles the pattern.
const NESTING: u32 = 32;

/// A compiled regular expression. As in other CEL implementations, `\d`, `\s`, `\w` and `\b` are ASCII.
#[derive(Debug)]
pub(super) struct Pattern {
    regex: Regex,
    /// The smallest limit of [`SIZES`] into which the compiled pattern fits.
    size: usize,
}

impl Pattern {
    /// Compiles `text`. The text of the error is one line.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let ascii = ascii(text);
        let mut builder = RegexBuilder::new(&ascii);
        builder.nest_limit(NESTING).dfa_size_limit(CACHE_BYTES);
        for size in SIZES {
            match builder.size_limit(size << 10).build() {
                Ok(regex) => return Ok(Self { regex, size }),
                Err(Error::CompiledTooBig(_)) => {}
                Err(error) => {
                    let error = error.to_string();
                    let cause = error.lines().last().unwrap_or_default();
                    return Err(cause.trim_start_matches("error: ").to_owned());
                }
            }
        }
        Err("the pattern is too large".to_owned())
    }

    pub(super) fn steps(&self, text: &str) -> u64 {
        let steps = text.len().saturating_mul(self.size) / BYTES_PER_STEP;
        u64::try_from(steps).unwrap_or(u64::MAX)
    }

    /// Whether a part of `text` matches.
    pub(super) fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

/// Replaces `\d`, `\s`, `\w`, `\b` and their opposites by ASCII forms. In CEL, these classes are ASCII, but the regex
/// library matches Unicode.
fn ascii(pattern: &str) -> String {
    let mut ascii = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(char) = chars.next() {
        if char != '\\' {
            ascii.push(char);
            continue;
        }
        match chars.next() {
            Some('d') => ascii.push_str("[0-9]"),
            Some('D') => ascii.push_str("[^0-9]"),
            Some('s') => ascii.push_str(r"[\t\n\f\r ]"),
            Some('S') => ascii.push_str(r"[^\t\n\f\r ]"),
            Some('w') => ascii.push_str("[0-9A-Za-z_]"),
            Some('W') => ascii.push_str("[^0-9A-Za-z_]"),
            Some('b') => ascii.push_str(r"(?-u:\b)"),
            Some('B') => ascii.push_str(r"(?-u:\B)"),
            other => ascii.extend(['\\'].into_iter().chain(other)),
        }
    }
    ascii
}
