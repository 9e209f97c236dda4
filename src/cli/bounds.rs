//! Checks a value against the limits of a CRD schema: text lengths, numbers, list sizes, enums and unique keys. So the
//! plugin prints no object that the API server would refuse because of such a limit.
//!
//! ```text
//!  schema, value ──► spec.runtime.containers[0].image is empty
//! ```

use serde_json::Value;

/// Returns the first field of `value` that violates a limit of `schema`, with the reason. Returns `None` if every field
/// is within its limits.
pub fn violation(schema: &Value, value: &Value) -> Option<String> {
    at(schema, value, "")
}

fn at(schema: &Value, value: &Value, path: &str) -> Option<String> {
    let own = match value {
        Value::String(text) => of_text(schema, text),
        Value::Number(number) => number.as_f64().and_then(|number| of_number(schema, number)),
        Value::Array(items) => of_size(schema, "Items", items.len()).or_else(|| of_names(schema, items)),
        Value::Object(fields) => of_size(schema, "Properties", fields.len()),
        Value::Null | Value::Bool(_) => None,
    };
    let inside = || match value {
        Value::Array(items) => {
            let mut items = items.iter().enumerate();
            items.find_map(|(n, item)| at(&schema["items"], item, &format!("{path}[{n}]")))
        }
        Value::Object(fields) => fields.iter().find_map(|(name, value)| {
            let known = schema["properties"].get(name);
            let schema = known.unwrap_or(&schema["additionalProperties"]);
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            at(schema, value, &path)
        }),
        _ => None,
    };
    own.map(|why| format!("{path} {why}")).or_else(inside)
}

fn of_text(schema: &Value, text: &str) -> Option<String> {
    let allowed = schema["enum"].as_array().filter(|allowed| !allowed.iter().any(|one| one == text));
    if let Some(allowed) = allowed {
        let allowed: Vec<_> =
            allowed.iter().filter_map(Value::as_str).filter(|one| !one.is_empty()).collect();
        return Some(format!("is {text:?}, and a version can state only {}", allowed.join(", ")));
    }
    if text.is_empty() && schema["minLength"].as_u64() > Some(0) {
        return Some("is empty".to_owned());
    }
    let (count, most) = (text.chars().count() as u64, schema["maxLength"].as_u64()?);
    (count > most).then(|| format!("has {count} characters, and a version can state at most {most}"))
}

fn of_number(schema: &Value, number: f64) -> Option<String> {
    let least = schema["minimum"].as_f64().unwrap_or(f64::MIN);
    let most = schema["maximum"].as_f64().unwrap_or(f64::MAX);
    let is_allowed = (least..=most).contains(&number);
    (!is_allowed).then(|| format!("is {number}, and a version can state only {least} to {most}"))
}

/// Returns the message for a list or a JSON object with too few or too many entries. `what` is the end of the names of
/// both limits in the schema, such as `Items` in `minItems` and `maxItems`.
fn of_size(schema: &Value, what: &str, size: usize) -> Option<String> {
    let (least, most) = (schema[format!("min{what}")].as_u64(), schema[format!("max{what}")].as_u64());
    let size = size as u64;
    if least.is_some_and(|least| size < least) {
        return Some("is empty or incomplete".to_owned());
    }
    most.filter(|most| size > *most)
        .map(|most| format!("has {size} entries, and a version can state at most {most}"))
}

/// Returns the message if two items of a list have the same value in the key field. The schema names the key field of
/// the list, such as `name`.
fn of_names(schema: &Value, items: &[Value]) -> Option<String> {
    let key = schema["x-kubernetes-list-map-keys"][0].as_str()?;
    let twice =
        items.iter().enumerate().find(|(n, item)| items[..*n].iter().any(|other| other[key] == item[key]));
    twice.map(|(_, item)| format!("has two items with {key} {}", item[key]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn first_value_outside_the_bounds_is_named_with_its_path() {
        let name = json!({ "type": "string", "minLength": 1, "maxLength": 3 });
        let schema = json!({ "properties": {
            "list": { "maxItems": 2, "x-kubernetes-list-map-keys": ["name"], "items": { "properties": {
                "name": name, "kind": { "enum": ["", "A", "B"] }, "port": { "minimum": 1, "maximum": 9 } } } },
            "map": { "maxProperties": 1, "additionalProperties": { "maxLength": 1 } },
            "one": { "minProperties": 1 } } });
        for (value, wanted) in [
            (
                json!({ "list": [{ "name": "abc", "kind": "A", "port": 9 }], "map": { "k": "v" }, "other": "x" }),
                None,
            ),
            (json!({ "list": [{ "name": "" }] }), Some("list[0].name is empty")),
            (
                json!({ "list": [{ "name": "a" }, { "name": "äöüß" }] }),
                Some("list[1].name has 4 characters, and a version can state at most 3"),
            ),
            (
                json!({ "list": [{ "kind": "C" }] }),
                Some("list[0].kind is \"C\", and a version can state only A, B"),
            ),
            (
                json!({ "list": [{ "port": 10 }] }),
                Some("list[0].port is 10, and a version can state only 1 to 9"),
            ),
            (
                json!({ "list": [{ "name": "a" }, { "name": "a" }] }),
                Some("list has two items with name \"a\""),
            ),
            (
                json!({ "list": [{}, { "name": "a" }, {}] }),
                Some("list has 3 entries, and a version can state at most 2"),
            ),
            (
                json!({ "map": { "k": "vv" } }),
                Some("map.k has 2 characters, and a version can state at most 1"),
            ),
            (json!({ "one": {} }), Some("one is empty or incomplete")),
        ] {
            assert_eq!(violation(&schema, &value).as_deref(), wanted, "{value}");
        }
    }
}
