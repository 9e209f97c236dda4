//! Checks the names and types of an expression, and translates the syntax tree to nodes.

use std::collections::BTreeSet;

use cel::common::ast::{ComprehensionExpr, Expr, IdedExpr, ListExpr, LiteralValue, SelectExpr};

use super::{
    error::{InvalidExpression, Position},
    node::{Loop, LoopKind, Node, Selected, Value},
    parse::{DEPTH, Parsed},
    types::{Environment, Type},
};
use crate::nearest::nearest;

/// The maximum size in bytes of a name for which the checker searches a similar name. The search is slow for long
/// names.
const SUGGESTION_BYTES: usize = 64;

pub(super) struct Checked {
    pub(super) node: Node,
    pub(super) of: Type,
}

type Result<T> = std::result::Result<T, InvalidExpression>;

/// Checks `parsed`. Returns the root node, and the names of the variables that the expression reads.
pub(super) fn check(parsed: &Parsed, environment: &Environment) -> Result<(Node, BTreeSet<String>)> {
    let mut checker = Checker {
        environment,
        leaves: &parsed.leaves,
        visited: 0,
        depth: 0,
        scope: Vec::new(),
        variables: BTreeSet::new(),
        patterns: 0,
    };
    let start = checker.here();
    let root = checker.expression(&parsed.root)?;
    must_be_bool(&root, start, "the result of the expression")?;
    Ok((root.node, checker.variables))
}

pub(super) struct Checker<'a> {
    environment: &'a Environment,
    /// The positions of all names and literals in the text. The checker visits the names and literals in the order of
    /// the text.
    leaves: &'a [Position],
    visited: usize,
    depth: usize,
    /// The variables of the loops around the visited part, the outermost loop first.
    scope: Vec<(String, Type)>,
    variables: BTreeSet<String>,
    /// The number of regular expressions in the visited part of the expression.
    pub(super) patterns: usize,
}

impl Checker<'_> {
    pub(super) fn expression(&mut self, part: &IdedExpr) -> Result<Checked> {
        if self.depth == DEPTH {
            let message = format!("the expression is nested more than {DEPTH} levels deep");
            return Err(InvalidExpression::new(self.here(), message));
        }
        self.depth += 1;
        let checked = match &part.expr {
            Expr::Ident(name) => self.variable(name),
            Expr::Literal(literal) => self.literal(literal),
            Expr::Select(select) => self.select(select),
            Expr::List(list) => self.list(list),
            Expr::Call(call) => self.call(call),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::Map(_) => Err(self.unsupported("a map in braces")),
            Expr::Struct(_) => Err(self.unsupported("an object in braces")),
            Expr::Unspecified => Err(self.unsupported("this syntax")),
        };
        self.depth -= 1;
        checked
    }

    /// The position of the next name or literal.
    pub(super) fn here(&self) -> Option<Position> {
        self.leaves.get(self.visited).copied()
    }

    /// Moves past the next name or literal, and returns its position.
    pub(super) fn leaf(&mut self) -> Option<Position> {
        let position = self.here();
        self.visited += 1;
        position
    }

    pub(super) fn unsupported(&self, what: &str) -> InvalidExpression {
        InvalidExpression::new(self.here(), format!("{what} is not supported"))
    }

    fn variable(&mut self, name: &str) -> Result<Checked> {
        let position = self.leaf();
        if let Some(depth) = self.scope.iter().rposition(|(local, _)| local == name) {
            return Ok(Checked { node: Node::Local(depth), of: self.scope[depth].1.clone() });
        }
        if let Some(of) = self.environment.get(name) {
            self.variables.insert(name.to_owned());
            return Ok(Checked { node: Node::Variable(name.to_owned()), of: of.clone() });
        }
        let error = InvalidExpression::new(position, format!("there is no variable {name}"));
        let known: Vec<_> =
            self.scope.iter().map(|(local, _)| &**local).chain(self.environment.names()).collect();
        Err(error.hint(suggestion(name, &known, "the variables are")))
    }

    fn literal(&mut self, literal: &LiteralValue) -> Result<Checked> {
        let (value, of) = match literal {
            LiteralValue::Boolean(bool) => (Value::Bool(*bool.inner()), Type::Bool),
            LiteralValue::Int(int) => (Value::Int(*int.inner()), Type::Int),
            LiteralValue::Double(double) => (Value::Double(*double.inner()), Type::Double),
            LiteralValue::String(text) => (Value::Text(text.inner().into()), Type::String),
            LiteralValue::Null => (Value::Null, Type::Null),
            LiteralValue::UInt(_) => {
                return Err(self.unsupported("an unsigned number").hint("write the number without u"));
            }
            LiteralValue::Bytes(_) => {
                return Err(self.unsupported("a byte string").hint("write the text without b"));
            }
        };
        self.leaf();
        Ok(Checked { node: Node::Constant(value), of })
    }

    fn select(&mut self, select: &SelectExpr) -> Result<Checked> {
        if select.test {
            // Skip the name `has`, which has a position in `leaves` too.
            self.leaf();
        }
        let from = self.expression(&select.operand)?;
        let position = self.leaf();
        let name = &select.field;
        let of = match &from.of {
            Type::Object(fields) => fields.get(name).cloned().ok_or_else(|| {
                let message = format!("{} has no field {name}", path(&select.operand));
                let known: Vec<_> = fields.keys().map(String::as_str).collect();
                InvalidExpression::new(position, message).hint(suggestion(name, &known, "its fields are"))
            })?,
            Type::Map(value) => (**value).clone(),
            Type::Dyn => Type::Dyn,
            other => {
                let message = format!("{} is {other} and has no field {name}", path(&select.operand));
                let error = InvalidExpression::new(position, message);
                let is_list = matches!(other, Type::List(_));
                return Err(if is_list {
                    error.hint("test its elements with all() or exists()")
                } else {
                    error
                });
            }
        };
        let selected = Selected { name: name.as_str().into(), is_key: matches!(from.of, Type::Map(_)) };
        let from = Box::new(from.node);
        if select.test {
            return Ok(Checked { node: Node::Has(from, selected), of: Type::Bool });
        }
        Ok(Checked { node: Node::Select(from, selected), of })
    }

    fn list(&mut self, list: &ListExpr) -> Result<Checked> {
        let (mut nodes, mut of) = (Vec::new(), None);
        for element in &list.elements {
            let element = self.expression(element)?;
            nodes.push(element.node);
            of = Some(match of {
                None => element.of,
                Some(of) => join(&of, &element.of).unwrap_or(Type::Dyn),
            });
        }
        Ok(Checked { node: Node::List(nodes), of: Type::list(of.unwrap_or(Type::Dyn)) })
    }

    fn comprehension(&mut self, parsed: &ComprehensionExpr) -> Result<Checked> {
        let Some((kind, condition, body)) = parts(parsed) else { return Err(self.unsupported("this loop")) };
        let range = self.expression(&parsed.iter_range)?;
        let position = self.leaf();
        let element = match &range.of {
            Type::List(element) => (**element).clone(),
            // The loop `map` does not take a map, because its result would depend on the order of the keys.
            Type::Map(_) if kind != LoopKind::Map => Type::String,
            Type::Dyn => Type::Dyn,
            other => {
                let message = format!("this loop needs a list, and {} is {other}", path(&parsed.iter_range));
                return Err(InvalidExpression::new(position, message));
            }
        };
        let variable = self.leaf();
        if parsed.iter_var.starts_with('.') {
            return Err(InvalidExpression::new(variable, "the variable of a loop must be a simple name"));
        }
        self.scope.push((parsed.iter_var.clone(), element.clone()));
        let condition = condition.map(|condition| self.condition(condition)).transpose()?;
        let is_filter = condition.is_some() && is_reused(parsed, body);
        let (body, of) = if is_filter {
            (Node::Local(self.scope.len() - 1), Type::list(element))
        } else if kind == LoopKind::Map {
            let body = self.expression(body)?;
            (body.node, Type::list(body.of))
        } else {
            (self.condition(body)?, Type::Bool)
        };
        self.scope.pop();
        Ok(Checked { node: Node::Loop(Box::new(Loop { kind, range: range.node, condition, body })), of })
    }

    fn condition(&mut self, condition: &IdedExpr) -> Result<Node> {
        let start = self.here();
        let checked = self.expression(condition)?;
        must_be_bool(&checked, start, "the condition of a loop")?;
        Ok(checked.node)
    }
}

pub(super) fn must_be_bool(checked: &Checked, at: Option<Position>, what: &str) -> Result<()> {
    if checked.of.is(&Type::Bool) {
        return Ok(());
    }
    let message = format!("{what} must be bool, and it is {}", checked.of);
    Err(InvalidExpression::new(at, message))
}

/// Recovers the kind, the condition and the body of a loop. The parser of the library turns each loop, such as `all`,
/// into a general loop with an accumulator.
fn parts(parsed: &ComprehensionExpr) -> Option<(LoopKind, Option<&IdedExpr>, &IdedExpr)> {
    use cel::common::ast::operators::{ADD, CONDITIONAL, LOGICAL_AND, LOGICAL_OR};
    let Expr::Call(step) = &parsed.loop_step.expr else { return None };
    let is_count = matches!(parsed.accu_init.expr, Expr::Literal(LiteralValue::Int(_)));
    match (step.func_name.as_str(), step.args.as_slice()) {
        (LOGICAL_AND, [_, body]) => Some((LoopKind::All, None, body)),
        (LOGICAL_OR, [_, body]) => Some((LoopKind::Exists, None, body)),
        (CONDITIONAL, [body, ..]) if is_count => Some((LoopKind::ExistsOne, None, body)),
        (CONDITIONAL, [condition, append, _]) => Some((LoopKind::Map, Some(condition), appended(append)?)),
        (ADD, _) => Some((LoopKind::Map, None, appended(&parsed.loop_step)?)),
        _ => None,
    }
}

/// Returns the `x` in the loop step `@result + [x]`.
fn appended(append: &IdedExpr) -> Option<&IdedExpr> {
    let Expr::Call(call) = &append.expr else { return None };
    let Expr::List(list) = &call.args.get(1)?.expr else { return None };
    list.elements.first()
}

/// Whether the loop is `filter(x, condition)`, and not `map(x, condition, x)`. The parser numbers the parts in the
/// order of the text. So the body `x` has a lower number than the condition only in a `filter`.
fn is_reused(parsed: &ComprehensionExpr, body: &IdedExpr) -> bool {
    let is_variable = matches!(&body.expr, Expr::Ident(name) if *name == parsed.iter_var);
    let condition = match &parsed.loop_step.expr {
        Expr::Call(step) => step.args.first(),
        _ => None,
    };
    is_variable && condition.is_some_and(|condition| body.id < condition.id)
}

/// The common type of two types, for example of the two results of `? :`. `None` if they have no common type.
pub(super) fn join(one: &Type, two: &Type) -> Option<Type> {
    match (one, two) {
        (one, two) if one == two => Some(one.clone()),
        (Type::Dyn, _) | (_, Type::Dyn) => Some(Type::Dyn),
        (Type::List(one), Type::List(two)) => join(one, two).map(Type::list),
        (Type::Map(one), Type::Map(two)) => join(one, two).map(Type::map),
        _ => None,
    }
}

/// A hint that names the most similar name. If no name is similar, the hint is `intro` with all names.
pub(super) fn suggestion(name: &str, known: &[&str], intro: &str) -> String {
    let similar = if name.len() > SUGGESTION_BYTES { None } else { nearest(name, known.iter().copied()) };
    match similar {
        Some(similar) => format!("did you mean {similar}?"),
        None => format!("{intro}: {}", known.join(", ")),
    }
}

/// The text of a chain of names, such as `version.runtime`, for a message. For other syntax, returns "the value".
pub(super) fn path(part: &IdedExpr) -> String {
    let mut names = Vec::new();
    let mut part = part;
    loop {
        match &part.expr {
            Expr::Ident(name) => {
                names.push(name.as_str());
                names.reverse();
                return names.join(".");
            }
            Expr::Select(select) => {
                names.push(&select.field);
                part = &select.operand;
            }
            _ => return "the value".to_owned(),
        }
    }
}
