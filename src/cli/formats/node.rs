//! A JSON value together with its path in the file, such as `results.scores[0].metrics`. So each error names the field.

use jiff::Timestamp;

use super::{decimal::Decimal, json::Value, refusal::Problem, text::shown};

#[derive(Clone, Debug)]
pub(super) struct Node<'a> {
    pub(super) value: &'a Value<'a>,
    at: String,
}

impl<'a> Node<'a> {
    pub(super) fn root(value: &'a Value<'a>) -> Self {
        Self { value, at: String::new() }
    }

    /// The member `key` of an object. `None` if the member is missing or null, or if this value is not an
    /// object.
    pub(super) fn get(&self, key: &str) -> Option<Self> {
        match self.value {
            Value::Object(object) => {
                let value = object.get(key)?;
                (*value != Value::Null).then(|| self.child(key, value))
            }
            _ => None,
        }
    }

    /// The member at the end of a path. `None` if a member of the path is missing or null.
    pub(super) fn path(&self, keys: &[&str]) -> Option<Self> {
        keys.iter().try_fold(self.clone(), |node, key| node.get(key))
    }

    pub(super) fn need(&self, key: &str) -> Result<Self, Problem> {
        self.get(key).ok_or_else(|| Problem::field(self.join(key), "the field is missing"))
    }

    pub(super) fn need_path(&self, keys: &[&str]) -> Result<Self, Problem> {
        keys.iter().try_fold(self.clone(), |node, key| node.need(key))
    }

    /// The members of an object, sorted by key. Members that are null are left out.
    pub(super) fn members(&self) -> Result<Vec<(&'a str, Self)>, Problem> {
        let Value::Object(object) = self.value else { return Err(self.expected("an object")) };
        let present = object.iter().filter(|(_, value)| **value != Value::Null);
        Ok(present.map(|(key, value)| (key.as_ref(), self.child(key, value))).collect())
    }

    pub(super) fn items(&self) -> Result<Vec<Self>, Problem> {
        let Value::Array(items) = self.value else { return Err(self.expected("an array")) };
        let item = |(index, value)| Self { value, at: format!("{}[{index}]", self.at) };
        Ok(items.iter().enumerate().map(item).collect())
    }

    pub(super) fn text(&self) -> Result<&'a str, Problem> {
        match self.value {
            Value::String(text) => Ok(text),
            _ => Err(self.expected("a text")),
        }
    }

    pub(super) fn bool(&self) -> Result<bool, Problem> {
        match self.value {
            Value::Bool(bool) => Ok(*bool),
            _ => Err(self.expected("true or false")),
        }
    }

    /// A non-negative integer. It has at most 12 digits, so it fits the `int64` of a Kubernetes schema.
    pub(super) fn count(&self) -> Result<u64, Problem> {
        let count = match self.value {
            Value::Number(text) => Decimal::parse(text).ok().and_then(Decimal::whole),
            _ => None,
        };
        count
            .and_then(|count| u64::try_from(count).ok())
            .ok_or_else(|| self.expected("a non-negative integer"))
    }

    /// The number that the tool measured. The error states why the value cannot be taken.
    pub(super) fn measured(&self) -> Result<Decimal, String> {
        match self.value {
            Value::Number(text) => Decimal::parse(text).map_err(|error| format!("{} {error}", shown(text))),
            Value::String(text) => Err(format!("the text {:?} is not a number", shown(text))),
            _ => Err(format!("{} is not a number", self.kind())),
        }
    }

    /// A number that must be valid, such as a bound of an interval. If it is not valid, the whole file is refused.
    pub(super) fn decimal(&self) -> Result<Decimal, Problem> {
        self.measured().map_err(|why| Problem::field(&self.at, why))
    }

    /// A number or a text that contains a number, as `CycloneDX` writes its values.
    pub(super) fn decimal_text(&self) -> Result<Decimal, String> {
        match self.value {
            Value::String(text) => Decimal::parse(text).map_err(|error| format!("{:?} {error}", shown(text))),
            _ => self.measured(),
        }
    }

    /// A time with an offset: RFC 3339, or the seconds since 1970 as a number or a text.
    ///
    /// A time without an offset is `None`, because the file does not state the time zone.
    pub(super) fn time(&self) -> Option<Timestamp> {
        match self.value {
            Value::Number(text) => from_seconds(text),
            Value::String(text) => text.parse().ok().or_else(|| from_seconds(text)),
            _ => None,
        }
    }

    /// A SHA-256 digest, converted to lower-case hex.
    pub(super) fn sha256(&self) -> Result<String, Problem> {
        let text = self.text()?;
        if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(text.to_ascii_lowercase());
        }
        Err(self.expected("64 hex digits"))
    }

    pub(super) fn expected(&self, what: &str) -> Problem {
        Problem::field(&self.at, format!("expected {what}, found {}", self.kind()))
    }

    fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a text",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        }
    }

    fn child(&self, key: &str, value: &'a Value<'a>) -> Self {
        Self { value, at: self.join(key) }
    }

    pub(super) fn at(&self) -> &str {
        &self.at
    }

    fn join(&self, key: &str) -> String {
        if self.at.is_empty() { key.to_owned() } else { format!("{}.{key}", self.at) }
    }
}

fn from_seconds(text: &str) -> Option<Timestamp> {
    Timestamp::from_nanosecond(Decimal::parse(text).ok()?.nanoseconds()).ok()
}

#[cfg(test)]
mod tests {
    use super::super::json::parse;
    use super::*;

    #[test]
    fn errors_name_the_path() {
        let value = parse(r#"{"a": [{"b": "x", "n": null}]}"#).unwrap();
        let item = &Node::root(&value).need("a").unwrap().items().unwrap()[0];
        assert_eq!(
            item.need("b").unwrap().count().unwrap_err().to_string(),
            "a[0].b: expected a non-negative integer, found a text"
        );
        assert_eq!(item.need("n").unwrap_err().to_string(), "a[0].n: the field is missing");
    }

    #[test]
    fn times_need_an_offset() {
        let value = parse(
            r#"[1795874914.3462975, "2026-11-28T14:00:00Z", "2026-11-28T14:00:00", "1795874914", true]"#,
        );
        let value = value.unwrap();
        let times: Vec<_> = Node::root(&value).items().unwrap().iter().map(Node::time).collect();
        assert_eq!(times[0].unwrap().to_string(), "2026-11-28T14:08:34.3462975Z");
        assert!(times[1].is_some() && times[2].is_none() && times[3].is_some() && times[4].is_none());
    }
}
