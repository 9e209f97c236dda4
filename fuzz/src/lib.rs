//! A mutator for JSON documents. Random bytes are rarely valid JSON, so random bytes test only the JSON parser.
//!
//! If the input is JSON, the mutator replaces, removes, duplicates or changes one node. If the input is not JSON, and
//! in one of eight cases, libFuzzer mutates the bytes instead.

use fastrand::Rng;
use libfuzzer_sys::fuzzer_mutate;
use serde_json::{Value, json};

/// Parses a document that the API server could return. Returns `None` if a string begins with `-`, because the string
/// may be a time before the year 0. The API server refuses such a time. k8s-openapi reads such a time, but cannot read
/// its own output.
pub fn document(data: &[u8]) -> Option<Value> {
    if data.windows(2).any(|two| two == b"\"-") {
        return None;
    }
    serde_json::from_slice(data).ok()
}

/// A random generator that depends only on the input.
pub fn rng(data: &[u8]) -> Rng {
    Rng::with_seed(data.iter().fold(0, |sum, byte| sum * 31 % 65_521 + u64::from(*byte)))
}

/// Mutates the input for `fuzz_mutator!`. Returns the new size.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut rng = Rng::with_seed(seed.into());
    let document = serde_json::from_slice(&data[..size]).ok().filter(|_| rng.u8(..8) > 0);
    let changed = document.and_then(|mut document: Value| {
        change(&mut document, &mut rng);
        serde_json::to_vec(&document).ok().filter(|bytes| bytes.len() <= max_size)
    });
    match changed {
        None => fuzzer_mutate(data, size, max_size),
        Some(bytes) => {
            data[..bytes.len()].copy_from_slice(&bytes);
            bytes.len()
        }
    }
}

/// Changes one random node of `document`.
pub fn change(document: &mut Value, rng: &mut Rng) {
    let mut places = Vec::new();
    list(document, String::new(), &mut places);
    let donor = document.pointer(&places[rng.usize(..places.len())]).cloned().unwrap_or_default();
    let Some(place) = document.pointer_mut(&places[rng.usize(..places.len())]) else { return };
    match (rng.u8(..6), &mut *place) {
        (0, _) => *place = donor,
        (1 | 2, Value::Array(items)) if !items.is_empty() => {
            let which = rng.usize(..items.len());
            if rng.bool() {
                items.remove(which);
            } else {
                items.push(items[which].clone());
                items.swap(0, which);
            }
        }
        (1 | 2, Value::Object(fields)) if !fields.is_empty() => {
            let name = fields.keys().nth(rng.usize(..fields.len())).cloned().unwrap_or_default();
            let value = fields.remove(&name);
            if rng.bool() {
                // Keep the value under the name of another field.
                let other = fields.keys().nth(rng.usize(..fields.len().max(1))).cloned();
                fields.insert(other.unwrap_or_default(), value.unwrap_or_default());
            }
        }
        (1..=3, Value::String(text)) => change_text(text, rng),
        (1..=3, Value::Number(_)) => *place = number(rng),
        _ => *place = anything(rng),
    }
}

/// Adds the JSON pointers of all nodes to `places`. The pointer of a node comes after the pointers of its children.
fn list(node: &Value, here: String, places: &mut Vec<String>) {
    match node {
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                list(item, format!("{here}/{i}"), places);
            }
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                list(value, format!("{here}/{name}"), places);
            }
        }
        _ => {}
    }
    places.push(here);
}

fn change_text(text: &mut String, rng: &mut Rng) {
    let odd = ['a', 'A', '0', '-', '/', '@', ':', '.', ' ', '\0', 'ß', '\u{202e}', '𝄞', 'T', 'Z', 'f'];
    let mut letters: Vec<char> = text.chars().collect();
    let at = rng.usize(..=letters.len());
    if rng.bool() || at == letters.len() {
        letters.insert(at, odd[rng.usize(..odd.len())]);
    } else {
        letters.remove(at);
    }
    *text = letters.into_iter().collect();
}

fn number(rng: &mut Rng) -> Value {
    let numbers = [
        json!(0),
        json!(1),
        json!(-1),
        json!(u32::MAX),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(1e300),
        json!(0.5),
    ];
    numbers[rng.usize(..numbers.len())].clone()
}

fn anything(rng: &mut Rng) -> Value {
    let values = [
        Value::Null,
        json!(true),
        json!(""),
        json!([]),
        json!({}),
        json!("x"),
        json!("sha256:0000000000000000000000000000000000000000000000000000000000000000"),
        json!("2027-03-31T12:00:00Z"),
        json!("9999-12-30T22:00:00Z"),
        json!("8760h"),
        json!("9223372036854775807ns"),
        number(rng),
    ];
    values[rng.usize(..values.len())].clone()
}
