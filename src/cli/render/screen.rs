//! The width of the output. Tables and texts fit the terminal. In a file or a pipe, tables have no maximum width.

use std::io::{IsTerminal, stdout};

/// The maximum width of a text, in columns. Longer lines are hard to read, even on a wide terminal.
const MAX_PROSE: usize = 100;

/// The minimum width at which sentences wrap, in columns.
const MIN_PROSE: usize = 40;

/// The width of the terminal on standard output. `None` if there is no terminal, or if the width is unknown.
pub fn width() -> Option<usize> {
    // The snapshots of the unit tests must not depend on the terminal.
    if cfg!(test) || !stdout().is_terminal() {
        return None;
    }
    terminal_size::terminal_size().map(|(width, _)| usize::from(width.0)).filter(|width| *width > 0)
}

/// The column at which sentences wrap: the width of the terminal, from [`MIN_PROSE`] to [`MAX_PROSE`]. Without a
/// terminal, [`MAX_PROSE`].
pub fn prose() -> usize {
    width().unwrap_or(MAX_PROSE).clamp(MIN_PROSE, MAX_PROSE)
}
