//! Columns as `kubectl get` prints them, so that a status reads like every other listing.
//!
//! ```text
//!  header, rows of visible text ──► padded columns, three spaces apart; colour after the padding
//!                    later rows ──► under them
//! ```

use clap::builder::styling::Style;

use super::{page::styled, visible::visible};

/// One cell.
#[derive(Clone, Debug)]
pub struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// A cell in a style; empty text shows as `-`.
    pub fn new(style: Style, text: &str) -> Self {
        let text = if text.is_empty() { "-".to_owned() } else { visible(text).into_owned() };
        Self { text, style }
    }
}

/// Columns as wide as the widest of the rows that came first, so that more can follow under them.
#[derive(Clone, Debug)]
pub struct Columns {
    widths: Vec<usize>,
}

/// The rows under their header.
pub fn table(header: &[&str], rows: &[Vec<Cell>]) -> String {
    let columns = Columns::of(header, rows);
    columns.head(header) + &columns.rows(rows)
}

impl Columns {
    /// For a header and rows.
    pub fn of(header: &[&str], rows: &[Vec<Cell>]) -> Self {
        let width = |(column, head): (usize, &&str)| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| width(&cell.text));
            cells.chain([width(head)]).max().unwrap_or(0)
        };
        Self { widths: header.iter().enumerate().map(width).collect() }
    }

    /// The header.
    pub fn head(&self, header: &[&str]) -> String {
        let cells =
            header.iter().enumerate().map(|(column, head)| format!("{head}{}", self.pad(head, column)));
        cells.collect::<String>() + "\n"
    }

    /// Rows under it; one that is wider than its column moves the rest of its own row.
    pub fn rows(&self, rows: &[Vec<Cell>]) -> String {
        let row = |row: &Vec<Cell>| {
            let cells = row.iter().enumerate();
            let cells = cells.map(|(i, cell)| styled(cell.style, &cell.text) + &self.pad(&cell.text, i));
            cells.collect::<String>() + "\n"
        };
        rows.iter().map(row).collect()
    }

    fn pad(&self, text: &str, column: usize) -> String {
        let last = column + 1 == self.widths.len();
        let missing = self.widths.get(column).copied().unwrap_or_default().saturating_sub(width(text));
        " ".repeat(if last { 0 } else { missing + 3 })
    }
}

fn width(text: &str) -> usize {
    textwrap::core::display_width(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::page::{GOOD, PLAIN};

    #[test]
    fn columns_line_up_whatever_the_colour() {
        let row = |a: &str, b: &str| vec![Cell::new(PLAIN, a), Cell::new(GOOD, b), Cell::new(PLAIN, "x")];
        let text = table(&["NAME", "CLEARED", "C"], &[row("credit-scorer", "Yes"), row("ü", "")]);
        insta::assert_snapshot!(anstream::adapter::strip_str(&text).to_string());
    }
}
