//! The functions that an expression can call, and their types.

use super::{node::Function, types::Type};

/// The name of each function and loop, with an example of its use.
pub(super) const USES: [(&str, &str); 16] = [
    ("all", "list.all(x, condition)"),
    ("contains", "text.contains(\"part\")"),
    ("double", "double(value)"),
    ("duration", "duration(\"1h30m\")"),
    ("endsWith", "text.endsWith(\"end\")"),
    ("exists", "list.exists(x, condition)"),
    ("exists_one", "list.exists_one(x, condition)"),
    ("filter", "list.filter(x, condition)"),
    ("has", "has(object.field)"),
    ("int", "int(value)"),
    ("map", "list.map(x, value)"),
    ("matches", "text.matches(\"pattern\")"),
    ("size", "size(value)"),
    ("startsWith", "text.startsWith(\"start\")"),
    ("string", "string(value)"),
    ("timestamp", "timestamp(\"2027-03-31T00:00:00Z\")"),
];

pub(super) struct Signature {
    pub(super) function: Function,
    pub(super) takes: fn(&Type) -> bool,
    pub(super) result: Type,
}

/// The signature of the function `name` with `count` operands. The value before the dot of a method call is its first
/// operand. `None` if there is no such function.
pub(super) fn signature(name: &str, is_method: bool, count: usize) -> Option<Signature> {
    let text = |function, result| Signature { function, takes: |of| of.is(&Type::String), result };
    Some(match (name, is_method, count) {
        ("size", _, 1) => Signature {
            function: Function::Size,
            takes: |of| matches!(of, Type::String | Type::List(_) | Type::Map(_) | Type::Dyn),
            result: Type::Int,
        },
        ("contains", true, 2) => text(Function::Contains, Type::Bool),
        ("startsWith", true, 2) => text(Function::StartsWith, Type::Bool),
        ("endsWith", true, 2) => text(Function::EndsWith, Type::Bool),
        ("int", false, 1) => Signature {
            function: Function::Int,
            takes: |of| of.is_number() || matches!(of, Type::String | Type::Timestamp | Type::Dyn),
            result: Type::Int,
        },
        ("double", false, 1) => Signature {
            function: Function::Double,
            takes: |of| of.is_number() || of.is(&Type::String),
            result: Type::Double,
        },
        ("string", false, 1) => Signature {
            function: Function::String,
            takes: |of| {
                of.is_number() || matches!(of, Type::Bool | Type::String | Type::Timestamp | Type::Dyn)
            },
            result: Type::String,
        },
        ("timestamp", false, 1) => text(Function::Timestamp, Type::Timestamp),
        ("duration", false, 1) => text(Function::Duration, Type::Duration),
        _ => return None,
    })
}
