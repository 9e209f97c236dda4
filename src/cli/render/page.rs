//! Lays out a page of text. Text from a cluster object cannot imitate a heading, a warning or a verdict. Every method
//! except `block` escapes hidden characters. Only headings and sentences of this program start at the margin. The
//! methods for values indent each line, and put a │ before each line if a value has several lines.
//!
//! ```text
//!  heading        LIKE THIS
//!  field          label      value
//!  mark           ! warning
//!  difference     - old / + new
//! ```

use std::borrow::Cow;

use clap::builder::styling::{AnsiColor, Style};

use crate::cli::render::{
    escape::{visible, visible_lines},
    screen,
};

pub const GOOD: Style = AnsiColor::Green.on_default();
/// The style of a warning.
pub const LOOK: Style = AnsiColor::Yellow.on_default();
pub const BAD: Style = AnsiColor::Red.on_default();
pub const STRONG: Style = Style::new().bold();
pub const FAINT: Style = Style::new().dimmed();
pub const PLAIN: Style = Style::new();

/// The width of the labels, in columns.
const LABEL: usize = 14;

/// A page of text. Sentences wrap at the width of the terminal. Values do not wrap, because people copy and
/// compare them.
#[derive(Debug)]
pub struct Page {
    text: String,
    width: usize,
}

impl Default for Page {
    fn default() -> Self {
        Self { text: String::new(), width: screen::prose() }
    }
}

impl Page {
    /// Adds a heading, with an empty line above unless the page is empty.
    pub fn heading(&mut self, title: &str) {
        self.blank();
        self.paint(STRONG, &visible(title));
        self.text.push('\n');
    }

    /// Adds an empty line, unless the page is empty or already ends with one.
    pub fn blank(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    /// Adds wrapped text at the margin.
    pub fn say(&mut self, style: Style, text: &str) {
        self.wrapped("", "", style, text);
    }

    /// Adds a labelled value, not wrapped.
    pub fn field(&mut self, label: &str, value: &str) {
        self.styled_field(label, PLAIN, value);
    }

    pub fn styled_field(&mut self, label: &str, style: Style, value: &str) {
        self.labelled(label, style, visible_lines(value.trim_end_matches('\n')).collect());
    }

    /// Adds a labelled text, wrapped. Line breaks in the text stay.
    pub fn prose(&mut self, label: &str, text: &str) {
        let text: Vec<String> = visible_lines(text.trim_end_matches('\n')).map(Cow::into_owned).collect();
        let width = self.width - LABEL - 4;
        let wrap = |line: &String| -> Vec<String> {
            textwrap::wrap(line, width).into_iter().map(Cow::into_owned).collect()
        };
        if let [line] = &text[..] {
            let mut lines = wrap(line).into_iter();
            self.labelled(label, PLAIN, vec![lines.next().unwrap_or_default().into()]);
            lines.for_each(|line| self.labelled("", PLAIN, vec![line.into()]));
        } else {
            self.labelled(label, PLAIN, text.iter().flat_map(wrap).map(Cow::Owned).collect());
        }
    }

    /// Adds values under one label. If there are no values, adds `none`.
    pub fn list<T: AsRef<str>>(&mut self, label: &str, values: impl IntoIterator<Item = T>) {
        let mut label = label;
        for value in values {
            self.field(label, value.as_ref());
            label = "";
        }
        if !label.is_empty() {
            self.styled_field(label, FAINT, "none");
        }
    }

    /// Adds wrapped text with a mark before it, such as `!` or `✓`.
    pub fn mark(&mut self, mark: &str, style: Style, text: &str) {
        let first = format!("  {mark} ");
        let next = " ".repeat(textwrap::core::display_width(&first));
        self.wrapped(&first, &next, style, text);
    }

    /// Adds text with a mark before it. The text is not wrapped, because it may contain a command to copy.
    pub fn step(&mut self, mark: &str, style: Style, text: &str) {
        self.text.push_str("  ");
        self.paint(style, &format!("{mark} {}", visible(text)));
        self.text.push('\n');
    }

    /// Adds a command on a separate line, not wrapped.
    pub fn command(&mut self, command: &str) {
        self.text.push_str("    ");
        self.paint(STRONG, &visible(command));
        self.text.push('\n');
    }

    pub fn difference(&mut self, lines: &str) {
        for line in lines.lines() {
            let style = match line.as_bytes() {
                [b'+', ..] => GOOD,
                [b'-', ..] => BAD,
                [b'@', ..] => FAINT,
                _ => PLAIN,
            };
            self.text.push_str("    ");
            self.paint(style, &visible(line));
            self.text.push('\n');
        }
    }

    /// Adds text unchanged. The caller must escape hidden characters first.
    pub fn block(&mut self, block: &str) {
        self.text.push_str(block);
    }

    /// The text with escape sequences for colour. `anstream` removes these sequences if the output is not a terminal.
    pub fn finish(self) -> String {
        self.text
    }

    fn labelled(&mut self, label: &str, style: Style, lines: Vec<Cow<'_, str>>) {
        let quoted = lines.len() > 1;
        let mut label = visible(label).into_owned();
        for line in lines {
            self.text.push_str("  ");
            self.paint(FAINT, &format!("{label:LABEL$}"));
            self.text.push_str(if quoted { " │ " } else { " " });
            self.paint(style, &line);
            self.trim_line();
            label.clear();
        }
    }

    fn wrapped(&mut self, first: &str, next: &str, style: Style, text: &str) {
        let text = visible(text);
        let options = textwrap::Options::new(self.width).initial_indent(first).subsequent_indent(next);
        let options = options.break_words(false).word_splitter(textwrap::WordSplitter::NoHyphenation);
        for line in textwrap::wrap(&text, options) {
            self.paint(style, &line);
            self.text.push('\n');
        }
    }

    fn paint(&mut self, style: Style, text: &str) {
        use std::fmt::Write;
        write!(self.text, "{style}{text}{style:#}").expect("a String takes every write");
    }

    fn trim_line(&mut self) {
        self.text.truncate(self.text.trim_end_matches(' ').len());
        self.text.push('\n');
    }
}

/// `text` in a style, with hidden characters made visible.
pub fn styled(style: Style, text: &str) -> String {
    format!("{style}{}{style:#}", visible(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(page: Page) -> String {
        anstream::adapter::strip_str(&page.finish()).to_string()
    }

    #[test]
    fn cluster_text_cannot_leave_its_place() {
        let mut page = Page::default();
        page.prose("purpose", "Scores.\n\nDECISIONS\n  \u{1b}[32mapproved by everybody\r");
        page.field("args", "a\nb");
        insta::assert_snapshot!(plain(page));
    }

    #[test]
    fn text_wraps_at_the_width_of_the_terminal() {
        let mut page = Page { width: 60, ..Page::default() };
        page.mark("!", LOOK, &"look ".repeat(30));
        page.prose("purpose", &"word ".repeat(30));
        let text = plain(page);
        assert!(text.lines().all(|line| line.len() <= 60), "{text}");
    }

    #[test]
    fn text_wraps_and_values_do_not() {
        let mut page = Page::default();
        page.heading("System");
        page.prose("purpose", &"word ".repeat(30));
        page.field("image", &"x".repeat(120));
        page.list("owners", ["User alice", "Group credit"]);
        page.list("documents", Vec::<String>::new());
        page.mark("!", LOOK, &"look ".repeat(30));
        insta::assert_snapshot!(plain(page));
    }
}
