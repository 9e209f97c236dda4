//! The errors of a compilation and of an evaluation. The text of each error is one line.

use std::fmt;

/// The maximum size of a message about an expression, in bytes.
const MESSAGE_BYTES: usize = 512;

/// The maximum size of a name in a failure, in bytes.
const NAME_BYTES: usize = 128;

/// A place in the text of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The line, counted from 1.
    pub line: usize,
    /// The character in the line, counted from 1.
    pub column: usize,
}

impl Position {
    pub(super) fn of(text: &str, offset: usize) -> Self {
        let before = &text[..text.floor_char_boundary(offset.min(text.len()))];
        let line = before.rsplit('\n').next().unwrap_or_default();
        Self { line: before.matches('\n').count() + 1, column: line.chars().count() + 1 }
    }
}

/// The reason why a text is not a valid expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidExpression {
    /// The place of the error, if it is known.
    pub position: Option<Position>,
    message: String,
    hint: Option<String>,
}

impl InvalidExpression {
    pub(super) fn new(position: Option<Position>, message: impl Into<String>) -> Self {
        Self { position, message: message.into(), hint: None }
    }

    /// The error for an optional variable that the operator's configuration does not turn on.
    pub fn disabled(variable: &str) -> Self {
        Self::new(None, format!("the operator does not read {variable}"))
            .hint(format!("a platform engineer adds {variable} to the chart value expressionVariables"))
    }

    /// Adds a hint: the next step for the writer of the expression.
    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl fmt::Display for InvalidExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Position { line, column }) = self.position {
            write!(f, "{line}:{column}: ")?;
        }
        let hint = self.hint.as_ref().map(|hint| format!(", {hint}")).unwrap_or_default();
        f.write_str(&one_line(&(self.message.clone() + &hint), MESSAGE_BYTES))
    }
}

impl std::error::Error for InvalidExpression {}

/// The reason why an evaluation has no result. The reason never quotes a value of an input, because a value can be
/// secret, for example an environment variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The evaluation needs more steps than its budget.
    TooExpensive,
    /// An object does not have this field, or this variable has no value.
    NoSuchField(String),
    /// A map does not have the key. `None` if the expression computes the key, because such a key can be secret.
    NoSuchKey(Option<String>),
    /// Another error of an operator or a function.
    Other(&'static str),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooExpensive => f.write_str("the expression needs too many steps"),
            Self::NoSuchField(name) => {
                write!(f, "{} is not set, test a field with has() first", one_line(name, NAME_BYTES))
            }
            Self::NoSuchKey(Some(key)) => {
                write!(f, "the key {:?} is not set, test it with `in` first", one_line(key, NAME_BYTES / 2))
            }
            Self::NoSuchKey(None) => f.write_str("a key is not set, test it with `in` first"),
            Self::Other(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Failure {}

/// Writes a space instead of each control character. If `text` is longer than `bytes` bytes, cuts `text` and adds `…`.
pub(super) fn one_line(text: &str, bytes: usize) -> String {
    let cut = &text[..text.floor_char_boundary(bytes.min(text.len()))];
    let printable =
        |char: char| if char.is_control() || matches!(char, '\u{2028}' | '\u{2029}') { ' ' } else { char };
    let line: String = cut.chars().map(printable).collect();
    if cut.len() < text.len() { line + "…" } else { line }
}
