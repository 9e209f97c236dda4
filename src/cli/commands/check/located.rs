//! Parses a YAML document and keeps the line number of each value in the document.
//!
//! ```text
//!  document ── serde-saphyr ──► Located ──► serde_json::Value, and the line at a JSON pointer
//! ```

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

/// A value with its line number in the document.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub struct Located(Spanned<Tree>);

#[derive(Debug)]
enum Tree {
    Scalar(Value),
    List(Vec<Located>),
    Object(Vec<(String, Located)>),
}

impl Located {
    /// The number of the first line of the value. The document begins at line 1.
    pub fn line(&self) -> u64 {
        self.0.referenced.line()
    }

    pub fn get(&self, name: &str) -> Option<&Self> {
        match &self.0.value {
            Tree::Object(fields) => fields.iter().find(|(field, _)| field == name).map(|(_, value)| value),
            Tree::Scalar(_) | Tree::List(_) => None,
        }
    }

    /// The items of a list. Empty for any other value.
    pub fn items(self) -> Vec<Self> {
        match self.0.value {
            Tree::List(items) => items,
            Tree::Scalar(_) | Tree::Object(_) => Vec::new(),
        }
    }

    pub fn take(self, name: &str) -> Option<Self> {
        match self.0.value {
            Tree::Object(fields) => {
                fields.into_iter().find(|(field, _)| field == name).map(|(_, value)| value)
            }
            Tree::Scalar(_) | Tree::List(_) => None,
        }
    }

    pub const fn is_list(&self) -> bool {
        matches!(self.0.value, Tree::List(_))
    }

    /// The value, if it is a string.
    pub fn text(&self) -> Option<&str> {
        match &self.0.value {
            Tree::Scalar(value) => value.as_str(),
            Tree::List(_) | Tree::Object(_) => None,
        }
    }

    /// The line of the value at a JSON pointer (RFC 6901). If there is no such value, the line of the nearest existing
    /// ancestor.
    pub fn line_at(&self, pointer: &str) -> u64 {
        let mut at = self;
        for part in pointer.split('/').skip(1) {
            let part = part.replace("~1", "/").replace("~0", "~");
            let next = match &at.0.value {
                Tree::Object(_) => at.get(&part),
                Tree::List(items) => part.parse::<usize>().ok().and_then(|index| items.get(index)),
                Tree::Scalar(_) => None,
            };
            let Some(next) = next else { break };
            at = next;
        }
        at.line()
    }

    /// The value without the line numbers.
    pub fn value(&self) -> Value {
        match &self.0.value {
            Tree::Scalar(value) => value.clone(),
            Tree::List(items) => items.iter().map(Self::value).collect(),
            Tree::Object(fields) => {
                let fields = fields.iter().map(|(name, value)| (name.clone(), value.value()));
                Value::Object(fields.collect::<Map<_, _>>())
            }
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON supports")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Tree, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("JSON does not support this number"))?;
        Ok(Tree::Scalar(number.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(Value::Null))
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Tree, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = object.next_entry()? {
            fields.push(field);
        }
        Ok(Tree::Object(fields))
    }
}
