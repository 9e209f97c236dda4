//! The output of the demo. A line shows the time, the user and the checked result. If a program ran, its output follows
//! the line.
//!
//! ```text
//!   2  Deploy three AI systems without an approval                a step
//!   12.3s  dev        scales credit-scorer to 3                   a line: the result is checked
//!                     │ deployment.apps/credit-scorer scaled      a quote, dimmed on a terminal
//! ```

use std::cell::Cell;
use std::env;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// The largest width of text. With this width, a quote has 100 columns, the width at which `kubectl assent` wraps.
const WIDTH: usize = 124;

/// The smallest width of text.
const NARROW: usize = 72;

/// The column at which the text of a line begins.
const INDENT: usize = 22;

/// Prints the steps and lines of the demo, with the time since its start.
pub struct Timeline {
    begin: Instant,
    steps: Cell<usize>,
    terminal: bool,
    colour: bool,
    width: usize,
}

impl Timeline {
    pub fn new() -> Self {
        let terminal = io::stdout().is_terminal() && env::var_os("TERM").is_none_or(|term| term != "dumb");
        let plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let width = if terminal { columns().unwrap_or(WIDTH).clamp(NARROW, WIDTH) } else { WIDTH };
        Self { begin: Instant::now(), steps: Cell::new(0), terminal, colour: terminal && !plain, width }
    }

    pub fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }

    /// Prints the number and title of a step, and an introduction.
    pub fn step(&self, title: &str, introduction: &str) {
        self.steps.set(self.steps.get() + 1);
        let title = self.styled("1", &format!("{:>2}  {title}", self.steps.get()));
        print(&format!("\n{title}"));
        self.note(introduction);
    }

    pub fn note(&self, text: &str) {
        for line in wrapped(text, self.width - 4) {
            print(&format!("    {line}"));
        }
    }

    pub fn line(&self, who: &str, what: &str) {
        let mut lines = wrapped(what, self.width - INDENT).into_iter();
        print(&self.first(who, &lines.next().unwrap_or_default()));
        lines.for_each(|line| print(&format!("{:INDENT$}{line}", "")));
    }

    /// Prints an attempt and its result, such as `refused`.
    pub fn attempt(&self, who: &str, what: &str, result: &str) {
        self.line(who, &format!("{what} {} {}", self.styled("2", "→"), self.styled("1;33", result)));
    }

    /// Prints the output of a program, dimmed. Wraps each line, except the lines of a diff.
    pub fn quote(&self, text: &str) {
        for line in text.trim_end().lines() {
            // `wrapped` keeps only single spaces between words, but all spaces are significant in a diff.
            let as_it_is = line.starts_with(['+', '-']);
            let lines = if as_it_is { vec![line.to_owned()] } else { wrapped(line, self.width - INDENT - 2) };
            for line in lines {
                print(&format!("{:INDENT$}{}", "", self.styled("2", &format!("│ {line}"))));
            }
        }
    }

    /// Prints the output of a program unchanged, with its first line as the header.
    pub fn table(&self, text: &str) {
        for (index, line) in text.trim_end().lines().enumerate() {
            let line = if index == 0 { self.styled("4", line) } else { line.to_owned() };
            print(&format!("    {line}"));
        }
    }

    /// Waits until `work` succeeds, then prints the line. Until then, a terminal shows the line dimmed.
    pub async fn expect<T>(&self, who: &str, what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        if self.terminal {
            let pending = self.styled("2", &self.first(who, what));
            let cut = pending.chars().take(self.width).collect::<String>();
            let _ = write!(io::stdout(), "{cut}\x1b[0m").and_then(|()| io::stdout().flush());
        }
        let result = work.await;
        if self.terminal {
            let _ = write!(io::stdout(), "\r\x1b[K");
        }
        let value = result.with_context(|| format!("{who}: {what}"))?;
        self.line(who, what);
        Ok(value)
    }

    fn first(&self, who: &str, what: &str) -> String {
        let seconds = format!("{:>6.1}s", self.elapsed().as_secs_f64());
        format!("{}  {} {what}", self.styled("2", &seconds), self.styled("36", &format!("{who:<12}")))
    }

    fn styled(&self, style: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn print(line: &str) {
    // The write fails if the reader closes the pipe, as in `make demo | head`.
    let _ = writeln!(io::stdout(), "{line}");
}

/// The width of the terminal, as `stty` reports it.
fn columns() -> Option<usize> {
    let size =
        Command::new("stty").arg("size").stdin(Stdio::inherit()).stderr(Stdio::null()).output().ok()?;
    String::from_utf8(size.stdout).ok()?.split_whitespace().nth(1)?.parse().ok()
}

/// Wraps a line between words. Continuation lines have the indentation of the first line.
fn wrapped(line: &str, width: usize) -> Vec<String> {
    let indent: String = line.chars().take_while(|c| *c == ' ').collect();
    let mut lines = vec![indent.clone()];
    for word in line.split_whitespace() {
        let last = lines.last().map_or(0, |line| line.chars().count());
        if last > indent.len() && last + 1 + word.chars().count() > width {
            lines.push(indent.clone());
        }
        if let Some(line) = lines.last_mut() {
            if line.len() > indent.len() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
