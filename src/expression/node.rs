//! The compiled form of an expression, and the values of an evaluation.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::pattern::Pattern;

/// A value in an evaluation. A clone does not copy texts, lists or maps.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Arc<str>),
    Timestamp(Timestamp),
    Duration(SignedDuration),
    List(Arc<[Value]>),
    /// A map or an object. The keys are sorted, so that equal evaluations give equal results.
    Map(Arc<BTreeMap<Arc<str>, Value>>),
}

/// A part of an expression. The checker guarantees the types of the operands, except for operands of the type
/// [`Dyn`](super::Type::Dyn) and for inputs that do not have the type of their schema.
#[derive(Debug)]
pub(super) enum Node {
    Constant(Value),
    /// An input of the expression, by name.
    Variable(String),
    /// The variable of a loop. The number is the depth of this loop: 0 is the outermost loop.
    Local(usize),
    /// A field of an object, or the value of a key of a map.
    Select(Box<Node>, Selected),
    Has(Box<Node>, Selected),
    Index(Box<[Node; 2]>),
    Not(Box<Node>),
    Negate(Box<Node>),
    /// The operator `&&` or `||`. The bool is the deciding value: false for `&&`, true for `||`. If one operand has the
    /// deciding value, this value is the result, even if the other operand fails.
    Logic(bool, Box<[Node; 2]>),
    Conditional(Box<[Node; 3]>),
    Binary(Binary, Box<[Node; 2]>),
    List(Vec<Node>),
    Loop(Box<Loop>),
    Call(Function, Vec<Node>),
    Matches(Box<Node>, Pattern),
}

#[derive(Clone, Debug)]
pub(super) struct Selected {
    pub(super) name: Arc<str>,
    /// Whether the name is a key of a map, not a field of an object.
    pub(super) is_key: bool,
}

/// An operator that always evaluates both operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binary {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// A loop over the elements of a list or the keys of a map.
#[derive(Debug)]
pub(super) struct Loop {
    pub(super) kind: LoopKind,
    pub(super) range: Node,
    /// The body counts only for elements that meet this condition of a `filter` or `map`. `None` for all other loops.
    pub(super) condition: Option<Node>,
    pub(super) body: Node,
}

/// The kind of a loop. A `filter` has the kind `Map`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoopKind {
    All,
    Exists,
    ExistsOne,
    Map,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Size,
    Contains,
    StartsWith,
    EndsWith,
    Int,
    Double,
    String,
    Timestamp,
    Duration,
}
