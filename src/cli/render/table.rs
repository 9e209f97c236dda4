//! Tables in the layout of `kubectl get`. If a table is wider than the terminal, the last column wraps. If the table is
//! still too wide, the cells use their short texts, and then the table drops columns.

use clap::builder::styling::Style;

use crate::cli::render::{escape::visible, page::styled, screen};

/// The table drops other columns until the last column has this width, or all the width that its cells need.
const MIN_LAST: usize = 30;

/// The minimum width of a column that wraps.
const MIN_WRAPPED: usize = 20;

/// The space between columns.
const GAP: usize = 3;

/// The header of a column, and the number that sets when a narrow terminal drops the column. The column with the
/// highest number is dropped first. A column with the number 0 is never dropped.
pub type Head = (&'static str, u8);

#[derive(Clone, Debug)]
pub struct Cell {
    text: String,
    /// The text for a narrow terminal, if it differs.
    short: Option<String>,
    style: Style,
}

impl Cell {
    /// A cell in a style. An empty text becomes `-`.
    pub fn new(style: Style, text: &str) -> Self {
        let text = if text.is_empty() { "-".to_owned() } else { visible(text).into_owned() };
        Self { text, short: None, style }
    }

    pub fn or_short(self, short: &str) -> Self {
        Self { short: (!short.is_empty()).then(|| visible(short).into_owned()), ..self }
    }

    fn text(&self, short: bool) -> &str {
        self.short.as_ref().filter(|_| short).unwrap_or(&self.text)
    }
}

/// The columns of a table. The rows given to [`Columns::of`] determine the widths. Rows that `--watch` prints later
/// have the same widths.
#[derive(Clone, Debug)]
pub struct Columns {
    heads: Vec<&'static str>,
    /// Index and width of each column that is not dropped.
    shown: Vec<(usize, usize)>,
    short: bool,
    /// The width at which the last column wraps. `None` if this column does not wrap.
    wraps: Option<usize>,
}

pub fn table(header: &[Head], rows: &[Vec<Cell>]) -> String {
    let columns = Columns::of(header, rows, screen::width());
    columns.head() + &columns.rows(rows)
}

impl Columns {
    /// Computes the columns for a header and rows. If possible, the table is at most `room` wide. `None` sets no limit.
    pub fn of(header: &[Head], rows: &[Vec<Cell>], room: Option<usize>) -> Self {
        let measure = |short: bool| -> Vec<(usize, usize)> {
            let width = |(column, (head, _)): (usize, &Head)| {
                let cells = rows.iter().filter_map(|row| row.get(column));
                let widths = cells.map(|cell| width(cell.text(short)));
                (column, widths.chain([width(head)]).max().unwrap_or(0))
            };
            header.iter().enumerate().map(width).collect()
        };
        let heads = header.iter().map(|(head, _)| *head).collect();
        let unshortened = Self { heads, shown: measure(false), short: false, wraps: None };
        let Some(room) = room.filter(|room| unshortened.min_width() > *room) else {
            return Self { wraps: unshortened.wrap_width(room), ..unshortened };
        };
        let mut fitted = Self { shown: measure(true), short: true, ..unshortened };
        while fitted.min_width() > room {
            let droppable = fitted.shown.iter().enumerate().filter(|(_, (column, _))| header[*column].1 > 0);
            let Some((at, _)) = droppable.max_by_key(|(_, (column, _))| header[*column].1) else { break };
            fitted.shown.remove(at);
        }
        Self { wraps: fitted.wrap_width(Some(room)), ..fitted }
    }

    /// The minimum width of the table. The last column can wrap.
    fn min_width(&self) -> usize {
        let last = self.shown.last().map_or(0, |(_, width)| (*width).min(MIN_LAST));
        self.before_last() + last
    }

    fn before_last(&self) -> usize {
        let all_but_last = self.shown.len().saturating_sub(1);
        self.shown.iter().take(all_but_last).map(|(_, width)| width + GAP).sum()
    }

    /// The remaining width for the last column. `None` if the cells fit without a wrap, or if the remaining
    /// width is too small to wrap.
    fn wrap_width(&self, room: Option<usize>) -> Option<usize> {
        let left = room?.saturating_sub(self.before_last());
        let wide = self.shown.last().is_some_and(|(_, width)| *width > left);
        (wide && left >= MIN_WRAPPED).then_some(left)
    }

    pub fn head(&self) -> String {
        let cells = self.shown.iter().enumerate().map(|(at, (column, _))| {
            let head = self.heads[*column];
            format!("{head}{}", self.pad(head, at))
        });
        cells.collect::<String>() + "\n"
    }

    /// The lines of the rows. A cell that is wider than its column shifts the rest of its row to the right.
    pub fn rows(&self, rows: &[Vec<Cell>]) -> String {
        rows.iter().map(|row| self.row(row)).collect()
    }

    fn row(&self, row: &[Cell]) -> String {
        let mut line = String::new();
        for (at, (column, _)) in self.shown.iter().enumerate() {
            let Some(cell) = row.get(*column) else { continue };
            let text = cell.text(self.short);
            match self.wraps.filter(|_| at + 1 == self.shown.len()) {
                Some(width) => line += &self.wrapped(text, cell.style, width),
                None => line += &(styled(cell.style, text) + &self.pad(text, at)),
            }
        }
        line + "\n"
    }

    fn wrapped(&self, text: &str, style: Style, width: usize) -> String {
        let options = textwrap::Options::new(width).word_splitter(textwrap::WordSplitter::NoHyphenation);
        let lines: Vec<_> = textwrap::wrap(text, options).iter().map(|line| styled(style, line)).collect();
        lines.join(&format!("\n{}", " ".repeat(self.before_last())))
    }

    fn pad(&self, text: &str, at: usize) -> String {
        let last = at + 1 == self.shown.len();
        let missing = self.shown.get(at).map_or(0, |(_, width)| *width).saturating_sub(width(text));
        " ".repeat(if last { 0 } else { missing + GAP })
    }
}

fn width(text: &str) -> usize {
    textwrap::core::display_width(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::page::{GOOD, PLAIN};

    const HEADER: [Head; 4] = [("NAME", 0), ("CLEARED", 1), ("UNTIL", 2), ("WAITING FOR", 0)];

    fn row(name: &str, cleared: &str, why: &str) -> Vec<Cell> {
        let until = Cell::new(PLAIN, "2026-11-27T16:30:00Z (in 3d4h)").or_short("in 3d4h");
        vec![Cell::new(PLAIN, name), Cell::new(GOOD, cleared), until, Cell::new(PLAIN, why)]
    }

    fn at(width: usize) -> String {
        let rows =
            [row("credit-scorer", "Yes", "one two three four five six seven eight"), row("ü", "", "x")];
        let columns = Columns::of(&HEADER, &rows, Some(width));
        anstream::adapter::strip_str(&(columns.head() + &columns.rows(&rows))).to_string()
    }

    #[test]
    fn columns_align_in_every_colour() {
        let text = table(&HEADER, &[row("credit-scorer", "Yes", "x"), row("ü", "", "x")]);
        insta::assert_snapshot!(anstream::adapter::strip_str(&text).to_string());
    }

    #[test]
    fn narrow_table_shortens_cells_then_drops_columns_then_wraps_the_last() {
        insta::assert_snapshot!([200, 80, 70, 50, 40].map(at).join("\n"));
    }

    #[test]
    fn table_fits_the_terminal() {
        for width in [50, 60, 80, 100, 120] {
            let text = at(width);
            assert!(text.lines().all(|line| super::width(line) <= width), "{width}:\n{text}");
        }
    }
}
