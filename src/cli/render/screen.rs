//! How much room there is: tables and texts fit the terminal, and a file or a pipe takes whole lines.

use std::io::{IsTerminal, stdout};

/// A text is not wider than this, however wide the terminal is: long lines are hard to read.
const PROSE: usize = 100;

/// A text is not narrower than this.
const LEAST: usize = 40;

/// The width of the terminal on standard output; none where there is no terminal, or one that does not say.
pub fn width() -> Option<usize> {
    // Whoever runs the unit tests may have a terminal of any width.
    if cfg!(test) || !stdout().is_terminal() {
        return None;
    }
    terminal_size::terminal_size().map(|(width, _)| usize::from(width.0)).filter(|width| *width > 0)
}

/// The width of a text.
pub fn prose() -> usize {
    width().unwrap_or(PROSE).clamp(LEAST, PROSE)
}
