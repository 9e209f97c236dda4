//! Converts JSON values to values of an evaluation.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value as Json;

use super::{
    node::Value,
    types::{Environment, Type},
};

/// The maximum nesting of a value in an input. Values that are nested deeper are left out. The JSON parser has a lower
/// limit, so parsed objects never reach this limit.
const NESTING: usize = 160;

/// The values of the variables. Many expressions can share these values.
#[derive(Clone, Debug, Default)]
pub struct Inputs(BTreeMap<String, Value>);

impl Inputs {
    /// Converts the values of the variables of `environment`, and leaves out other variables. An expression fails when
    /// it reads a variable without a value.
    pub fn new<'a>(environment: &Environment, values: impl IntoIterator<Item = (&'a str, &'a Json)>) -> Self {
        let known = values.into_iter().filter_map(|(name, json)| {
            let value = value(json, environment.get(name)?, NESTING)?;
            Some((name.to_owned(), value))
        });
        Self(known.collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }
}

/// The value of `json`, which should have the type `of`. If `json` has another type, the value keeps the type of
/// `json`. Most operators that read such a value fail.
fn value(json: &Json, of: &Type, nesting: usize) -> Option<Value> {
    let nesting = nesting.checked_sub(1)?;
    Some(match json {
        Json::Null => Value::Null,
        Json::Bool(bool) => Value::Bool(*bool),
        Json::Number(number) => match (number.as_i64(), of) {
            (Some(int), Type::Int | Type::Dyn) => Value::Int(int),
            _ => Value::Double(number.as_f64()?),
        },
        Json::String(text) => match of {
            Type::Timestamp => text.parse().map_or_else(|_| text_value(text), Value::Timestamp),
            _ => text_value(text),
        },
        Json::Array(elements) => {
            let of = if let Type::List(element) = of { element } else { &Type::Dyn };
            // A null element stays in the list, so that the other elements keep their positions.
            Value::List(elements.iter().filter_map(|element| value(element, of, nesting)).collect())
        }
        Json::Object(fields) => {
            let type_of = |name: &str| match of {
                Type::Object(fields) => fields.get(name),
                Type::Map(value) => Some(&**value),
                _ => Some(&Type::Dyn),
            };
            // In a custom resource, a null field means an absent field, so null fields are left out.
            let set = fields.iter().filter(|(_, field)| !field.is_null());
            let set = set.filter_map(|(name, field)| {
                Some((Arc::from(name.as_str()), value(field, type_of(name)?, nesting)?))
            });
            Value::Map(Arc::new(set.collect()))
        }
    })
}

fn text_value(text: &str) -> Value {
    Value::Text(text.into())
}
