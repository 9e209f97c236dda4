//! A strict JSON reader that keeps the text of numbers and accepts the literals `NaN` and `Infinity` of Python.
//!
//! ```text
//!  bytes ─► UTF-8 ─► values ─┬─ numbers: their text, for `Decimal`
//!                            ├─ strings: decoded by serde_json
//!                            └─ refused: duplicate keys, deep nesting, too many values, trailing text
//! ```
//!
//! A `serde_json::Value` would not be strict: it keeps the last of two equal keys, and holds decimal numbers as floats.
//! Evaluation tools use the `json` module of Python, which writes `NaN`. The JSON standard does not allow `NaN`.

use std::{borrow::Cow, collections::BTreeMap};

use super::text::shown;

/// The maximum depth of nested arrays and objects.
const MAX_DEPTH: usize = 128;
/// The maximum number of values in a file, so that a hostile file cannot fill the memory.
const MAX_VALUES: usize = 8_000_000;

pub(super) type Object<'a> = BTreeMap<Cow<'a, str>, Value<'a>>;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    /// The text of a number, or one of `NaN`, `Infinity`, `-Infinity`.
    Number(&'a str),
    String(Cow<'a, str>),
    Array(Vec<Value<'a>>),
    Object(Object<'a>),
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {why}")]
pub struct JsonError {
    /// The number of the line. The first line is 1.
    pub line: usize,
    /// The number of the column, in bytes. The first column is 1.
    pub column: usize,
    pub why: String,
}

pub(super) fn parse(text: &str) -> Result<Value<'_>, JsonError> {
    let mut parser = Parser::new(text);
    let value = parser.value(0)?;
    parser.skip_space();
    if parser.at < text.len() {
        return Err(parser.error("expected the end of the file after the first value"));
    }
    Ok(value)
}

/// Reads a stream of JSON values, such as JSON Lines.
pub(super) fn parse_stream(text: &str) -> Result<Vec<Value<'_>>, JsonError> {
    let mut parser = Parser::new(text);
    let mut values = Vec::new();
    parser.skip_space();
    while parser.at < text.len() {
        values.push(parser.value(0)?);
        parser.skip_space();
    }
    Ok(values)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    values: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0, values: 0 }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn error(&self, why: impl Into<String>) -> JsonError {
        let before = self.text.get(..self.at).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.len() - before.rfind('\n').map_or(0, |end| end + 1) + 1;
        JsonError { line, column, why: why.into() }
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, JsonError> {
        self.skip_space();
        self.values += 1;
        if depth > MAX_DEPTH {
            return Err(self.error(format!("more than {MAX_DEPTH} nested arrays and objects")));
        }
        if self.values > MAX_VALUES {
            return Err(self.error(format!("more than {MAX_VALUES} values")));
        }
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Value::String),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) => self.literal(),
            None => Err(self.error("the text ends where a value is expected")),
        }
    }

    fn literal(&mut self) -> Result<Value<'a>, JsonError> {
        const LITERALS: [(&str, Value<'static>); 5] = [
            ("null", Value::Null),
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("NaN", Value::Number("NaN")),
            ("Infinity", Value::Number("Infinity")),
        ];
        for (text, value) in LITERALS {
            if self.rest().starts_with(text) {
                self.at += text.len();
                return Ok(value);
            }
        }
        Err(self.error("expected a value"))
    }

    fn number(&mut self) -> Result<Value<'a>, JsonError> {
        let rest = self.rest();
        let length = if rest.starts_with("-Infinity") { 9 } else { number_length(rest) };
        if length == 0 {
            return Err(self.error("invalid number"));
        }
        self.at += length;
        Ok(Value::Number(rest.get(..length).unwrap_or_default()))
    }

    /// Reads a string. Finds only the end of the token, because `serde_json` checks and decodes the token.
    fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        let rest = self.rest();
        let mut escaped = false;
        let end = rest.bytes().enumerate().skip(1).find_map(|(at, byte)| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends.then_some(at + 1)
        });
        let Some(token) = end.and_then(|end| rest.get(..end)) else {
            return Err(self.error("a string does not end"));
        };
        let decoded = match serde_json::from_str::<&str>(token) {
            Ok(borrowed) => Cow::Borrowed(borrowed),
            Err(_) => Cow::Owned(serde_json::from_str(token).map_err(|_| self.error("invalid string"))?),
        };
        self.at += token.len();
        Ok(decoded)
    }

    fn array(&mut self, depth: usize) -> Result<Value<'a>, JsonError> {
        let mut items = Vec::new();
        self.at += 1;
        self.skip_space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if !self.continues(b']')? {
                return Ok(Value::Array(items));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value<'a>, JsonError> {
        let mut object = Object::new();
        self.at += 1;
        self.skip_space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Object(object));
        }
        loop {
            let (key, value) = self.member(depth, &object)?;
            object.insert(key, value);
            if !self.continues(b'}')? {
                return Ok(Value::Object(object));
            }
        }
    }

    fn member(&mut self, depth: usize, object: &Object<'a>) -> Result<(Cow<'a, str>, Value<'a>), JsonError> {
        self.skip_space();
        if self.peek() != Some(b'"') {
            return Err(self.error("expected a key in double quotes"));
        }
        let start = self.at;
        let key = self.string()?;
        if object.contains_key(&key) {
            self.at = start;
            return Err(self.error(format!("the key {:?} occurs twice in one object", shown(&key))));
        }
        self.skip_space();
        if self.peek() != Some(b':') {
            return Err(self.error("expected `:` after a key"));
        }
        self.at += 1;
        Ok((key, self.value(depth + 1)?))
    }

    /// Reads the comma or the closing byte `end` after an item of an array or object. Returns false at the closing
    /// byte.
    fn continues(&mut self, end: u8) -> Result<bool, JsonError> {
        self.skip_space();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == end => {
                self.at += 1;
                Ok(false)
            }
            _ => Err(self.error(format!("expected `,` or `{}`", char::from(end)))),
        }
    }
}

/// The length of the number at the start of a text. Zero if the text starts with no number, or with an
/// incomplete number such as `1.` or `1e`.
fn number_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digits = |from: usize| bytes.iter().skip(from).take_while(|byte| byte.is_ascii_digit()).count();
    let mut at = usize::from(text.starts_with('-'));
    match digits(at) {
        0 => return 0,
        _ if bytes.get(at) == Some(&b'0') => at += 1,
        count => at += count,
    }
    if bytes.get(at) == Some(&b'.') {
        match digits(at + 1) {
            0 => return 0,
            count => at += 1 + count,
        }
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        match digits(at + 1 + sign) {
            0 => return 0,
            count => at += 1 + sign + count,
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn why(text: &str) -> String {
        parse(text).map_or_else(|error| error.to_string(), |_| "accepted".to_owned())
    }

    #[test]
    fn numbers_keep_their_text() {
        let value = parse("[0.10000000000000000000001, -1E+2, NaN, -Infinity]").unwrap();
        let expected = ["0.10000000000000000000001", "-1E+2", "NaN", "-Infinity"].map(Value::Number).to_vec();
        assert_eq!(value, Value::Array(expected));
    }

    #[test]
    fn duplicate_keys_are_refused_with_their_position() {
        assert_eq!(
            why("{\"a\": 1,\n \"\\u0061\": 2}"),
            "line 2, column 2: the key \"a\" occurs twice in one object"
        );
    }

    #[test]
    fn deep_nesting_is_refused() {
        assert!(why(&"[".repeat(100_000)).contains("more than 128 nested"));
        assert!(why(&r#"{"a":"#.repeat(100_000)).contains("more than 128 nested"));
    }

    #[test]
    fn invalid_texts_are_refused() {
        for text in [
            "",
            "[1,]",
            "{\"a\":1,}",
            "01",
            "1.",
            ".5",
            "+1",
            "nan",
            "[1] 2",
            "\"\u{1}\"",
            "\"",
            "{a:1}",
            "'a'",
            "tru",
        ] {
            assert_ne!(why(text), "accepted", "{text:?}");
        }
    }

    /// The value that `serde_json` would read from the same text.
    fn to_serde(value: &Value<'_>) -> serde_json::Value {
        match value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(bool) => (*bool).into(),
            Value::Number(text) => serde_json::from_str(text).unwrap(),
            Value::String(text) => text.clone().into_owned().into(),
            Value::Array(items) => items.iter().map(to_serde).collect(),
            Value::Object(object) => {
                object.iter().map(|(key, value)| (key.clone().into_owned(), to_serde(value))).collect()
            }
        }
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            (-1.0e9..1.0e9).prop_map(|float: f64| serde_json::json!(float)),
            ".*".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::btree_map(".*", inner, 0..6)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn valid_json_reads_as_in_serde_json(value in any_json(), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            prop_assert_eq!(to_serde(&parse(&text).unwrap()), value);
        }

        #[test]
        fn texts_that_serde_json_refuses_are_refused(text in r#"[\[\]{}:,"\\ 0-9eE.+\-tfn]{0,12}"#) {
            let ours = parse(&text).is_ok();
            let theirs = serde_json::from_str::<serde_json::Value>(&text).is_ok();
            // Numbers beyond f64 are errors only in serde_json, and duplicate keys are errors only here.
            if ours && !theirs { prop_assert!(text.contains(['e', 'E']), "{}", text); }
            if theirs && !ours { prop_assert!(text.matches('"').count() >= 4, "{}", text); }
        }
    }
}
