//! Columns as `kubectl get` prints them, so that a status reads like every other listing.
//!
//! ```text
//!  header, rows of visible text ──► padded columns, three spaces apart; colour after the padding
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

/// The rows under their header.
pub fn table(header: &[&str], rows: &[Vec<Cell>]) -> String {
    let width = |text: &str| textwrap::core::display_width(text);
    let widths: Vec<usize> = (0..header.len())
        .map(|column| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(|cell| width(&cell.text))
                .chain([width(header[column])])
                .max()
                .unwrap_or(0)
        })
        .collect();
    let pad = |text: &str, column: usize| {
        let last = column + 1 == header.len();
        " ".repeat(if last { 0 } else { widths[column] - width(text) + 3 })
    };
    let line = |cells: Vec<String>| cells.concat() + "\n";
    let head = line(header.iter().enumerate().map(|(i, h)| format!("{h}{}", pad(h, i))).collect());
    let body = rows.iter().map(|row| {
        let cells = row.iter().enumerate();
        line(cells.map(|(i, cell)| styled(cell.style, &cell.text) + &pad(&cell.text, i)).collect())
    });
    head + &body.collect::<String>()
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
