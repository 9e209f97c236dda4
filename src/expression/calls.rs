//! Checks the operators and functions of an expression.

use cel::common::ast::{CallExpr, IdedExpr, operators};

use super::{
    check::{Checked, Checker, join, must_be_bool, path, suggestion},
    error::{InvalidExpression, Position},
    node::{Binary, Node, Value},
    pattern::Pattern,
    signatures::{Signature, USES, signature},
    types::Type,
};

/// The maximum number of regular expressions in one expression, because each needs memory and time.
const PATTERNS: usize = 16;

type Result<T> = std::result::Result<T, InvalidExpression>;

impl Checker<'_> {
    pub(super) fn call(&mut self, call: &CallExpr) -> Result<Checked> {
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::CONDITIONAL, [condition, then, otherwise]) => {
                self.conditional(condition, then, otherwise)
            }
            (operators::LOGICAL_AND, [left, right]) => self.logic(false, left, right),
            (operators::LOGICAL_OR, [left, right]) => self.logic(true, left, right),
            (operators::LOGICAL_NOT, [operand]) => {
                let node = self.operand_of_logic(operand, "!")?;
                Ok(Checked { node: Node::Not(Box::new(node)), of: Type::Bool })
            }
            (operators::NEGATE, [operand]) => self.negate(operand),
            (operators::INDEX, [from, index]) => self.index(from, index),
            (operators::OPT_INDEX | operators::OPT_SELECT, _) => {
                Err(self.unsupported("an optional").hint("test the field with has()"))
            }
            (name, [left, right]) if call.target.is_none() => match binary(name) {
                Some((operator, symbol)) => self.binary(operator, symbol, left, right),
                None => self.function(call),
            },
            _ => self.function(call),
        }
    }

    fn conditional(
        &mut self,
        condition: &IdedExpr,
        then: &IdedExpr,
        otherwise: &IdedExpr,
    ) -> Result<Checked> {
        let condition = self.operand_of_logic(condition, "?")?;
        let start = self.here();
        let (then, otherwise) = (self.expression(then)?, self.expression(otherwise)?);
        let of = join(&then.of, &otherwise.of).ok_or_else(|| {
            let message =
                format!("the results of ? : have different types, {} and {}", then.of, otherwise.of);
            InvalidExpression::new(start, message)
        })?;
        Ok(Checked { node: Node::Conditional(Box::new([condition, then.node, otherwise.node])), of })
    }

    fn logic(&mut self, deciding: bool, left: &IdedExpr, right: &IdedExpr) -> Result<Checked> {
        let symbol = if deciding { "||" } else { "&&" };
        let operands = [self.operand_of_logic(left, symbol)?, self.operand_of_logic(right, symbol)?];
        Ok(Checked { node: Node::Logic(deciding, Box::new(operands)), of: Type::Bool })
    }

    fn operand_of_logic(&mut self, operand: &IdedExpr, symbol: &str) -> Result<Node> {
        let start = self.here();
        let checked = self.expression(operand)?;
        must_be_bool(&checked, start, &format!("an operand of {symbol}"))?;
        Ok(checked.node)
    }

    fn negate(&mut self, operand: &IdedExpr) -> Result<Checked> {
        let start = self.here();
        let operand = self.expression(operand)?;
        if !operand.of.is_number() && operand.of != Type::Dyn {
            let message = format!("- needs a number, and this is {}", operand.of);
            return Err(InvalidExpression::new(start, message));
        }
        Ok(Checked { node: Node::Negate(Box::new(operand.node)), of: operand.of })
    }

    fn index(&mut self, from: &IdedExpr, index: &IdedExpr) -> Result<Checked> {
        let named = path(from);
        let (from, start) = (self.expression(from)?, self.here());
        let index = self.expression(index)?;
        let of = match (&from.of, &index.of) {
            (Type::List(element), Type::Int | Type::Dyn) => (**element).clone(),
            (Type::Map(value), Type::String | Type::Dyn) => (**value).clone(),
            (Type::Dyn, Type::Int | Type::String | Type::Dyn) => Type::Dyn,
            (of, by) => {
                let error =
                    InvalidExpression::new(start, format!("{named} is {of} and has no index of {by}"));
                let is_object = matches!(of, Type::Object(_));
                return Err(if is_object { error.hint("write a field as .name") } else { error });
            }
        };
        Ok(Checked { node: Node::Index(Box::new([from.node, index.node])), of })
    }

    fn binary(
        &mut self,
        operator: Binary,
        symbol: &str,
        left: &IdedExpr,
        right: &IdedExpr,
    ) -> Result<Checked> {
        let start = self.here();
        let (left, right) = (self.expression(left)?, self.expression(right)?);
        let of = result(operator, &left.of, &right.of).ok_or_else(|| {
            let message = format!("{symbol} does not take {} and {}", left.of, right.of);
            let error = InvalidExpression::new(start, message);
            match hint(operator, &left.of, &right.of) {
                Some(hint) => error.hint(hint),
                None => error,
            }
        })?;
        Ok(Checked { node: Node::Binary(operator, Box::new([left.node, right.node])), of })
    }

    fn function(&mut self, call: &CallExpr) -> Result<Checked> {
        let start = self.here();
        let mut operands = Vec::new();
        if let Some(target) = &call.target {
            operands.push(self.expression(target)?);
        }
        let position = self.leaf();
        let name = call.func_name.as_str();
        let Some((_, usage)) = USES.iter().find(|(known, _)| *known == name) else {
            let known = USES.map(|(known, _)| known);
            let error = InvalidExpression::new(position, format!("there is no function {name}"));
            return Err(error.hint(suggestion(name, &known, "the functions are")));
        };
        let misused =
            || InvalidExpression::new(position, format!("{name} is not used correctly, write {usage}"));
        let count = operands.len() + call.args.len();
        let is_method = call.target.is_some();
        let signature = signature(name, is_method, count);
        if signature.is_none() && !(name == "matches" && is_method && count == 2) {
            return Err(misused());
        }
        for operand in &call.args {
            operands.push(self.expression(operand)?);
        }
        let Some(Signature { function, takes, result: of }) = signature else {
            return self.matches(operands, start, position);
        };
        if let Some(wrong) = operands.iter().find(|operand| !takes(&operand.of)) {
            let message = format!("{name} does not take {}, write {usage}", wrong.of);
            return Err(InvalidExpression::new(start, message));
        }
        let nodes: Vec<_> = operands.into_iter().map(|operand| operand.node).collect();
        // If the only operand is a constant, call the function now. If the call fails, the expression is invalid.
        let node = match nodes.as_slice() {
            [Node::Constant(constant)] => {
                let value = function.of(constant);
                Node::Constant(value.map_err(|failure| InvalidExpression::new(start, failure.to_string()))?)
            }
            _ => Node::Call(function, nodes),
        };
        Ok(Checked { node, of })
    }

    fn matches(
        &mut self,
        operands: Vec<Checked>,
        start: Option<Position>,
        position: Option<Position>,
    ) -> Result<Checked> {
        let nodes: [Checked; 2] = operands.try_into().map_err(|_| self.unsupported("this use of matches"))?;
        let [text, pattern] = nodes;
        if !text.of.is(&Type::String) {
            let message = format!("matches does not take {}", text.of);
            return Err(InvalidExpression::new(start, message));
        }
        let Node::Constant(Value::Text(pattern)) = pattern.node else {
            return Err(InvalidExpression::new(position, "the pattern of matches must be a text in quotes"));
        };
        self.patterns += 1;
        if self.patterns > PATTERNS {
            let message = format!("the expression has more than {PATTERNS} patterns");
            return Err(InvalidExpression::new(position, message));
        }
        let pattern = Pattern::new(&pattern).map_err(|error| {
            InvalidExpression::new(position, format!("the pattern is not valid: {error}"))
        })?;
        Ok(Checked { node: Node::Matches(Box::new(text.node), pattern), of: Type::Bool })
    }
}

fn binary(name: &str) -> Option<(Binary, &'static str)> {
    Some(match name {
        operators::EQUALS => (Binary::Equal, "=="),
        operators::NOT_EQUALS => (Binary::NotEqual, "!="),
        operators::LESS => (Binary::Less, "<"),
        operators::LESS_EQUALS => (Binary::LessEqual, "<="),
        operators::GREATER => (Binary::Greater, ">"),
        operators::GREATER_EQUALS => (Binary::GreaterEqual, ">="),
        operators::IN => (Binary::In, "in"),
        operators::ADD => (Binary::Add, "+"),
        operators::SUBSTRACT => (Binary::Subtract, "-"),
        operators::MULTIPLY => (Binary::Multiply, "*"),
        operators::DIVIDE => (Binary::Divide, "/"),
        operators::MODULO => (Binary::Remainder, "%"),
        _ => return None,
    })
}

/// The type of the result of `operator`. `None` if the operator does not take operands of these types. Texts and lists
/// have no `+`, so that an expression cannot build large values.
fn result(operator: Binary, left: &Type, right: &Type) -> Option<Type> {
    use Binary::{Add, Divide, Equal, In, Multiply, NotEqual, Remainder, Subtract};
    use Type::{Bool, Double, Duration, Dyn, Int, List, Map, String, Timestamp};
    let has_order = |of: &Type| of.is_number() || matches!(of, String | Timestamp | Duration | Dyn);
    let has_calculation = |of: &Type| of.is_number() || matches!(of, Timestamp | Duration | Dyn);
    match (operator, left, right) {
        (Equal | NotEqual, ..) => left.is_comparable(right).then_some(Bool),
        (In, left, List(element)) => left.is_comparable(element).then_some(Bool),
        (In, left, Map(_)) => left.is(&String).then_some(Bool),
        (In, _, right) => (*right == Dyn).then_some(Bool),
        (Add | Subtract | Multiply | Divide | Remainder, Int, Int) => Some(Int),
        (Add | Subtract | Multiply | Divide, Double, Double) => Some(Double),
        (Add | Subtract, Timestamp, Duration) | (Add, Duration, Timestamp) => Some(Timestamp),
        (Subtract, Timestamp, Timestamp) | (Add | Subtract, Duration, Duration) => Some(Duration),
        (Add | Subtract | Multiply | Divide | Remainder, left, right) => {
            let is_dyn = *left == Dyn || *right == Dyn;
            (is_dyn && has_calculation(left) && has_calculation(right)).then_some(Dyn)
        }
        _ => (has_order(left) && has_order(right) && left.is_comparable(right)).then_some(Bool),
    }
}

fn hint(operator: Binary, left: &Type, right: &Type) -> Option<&'static str> {
    let either = |of: &Type| left == of || right == of;
    match () {
        () if either(&Type::Null) => Some("test whether a field is set with has()"),
        () if operator == Binary::Add && either(&Type::String) => Some("texts cannot be joined"),
        () if either(&Type::Timestamp) && either(&Type::String) => {
            Some("write timestamp(\"2027-03-31T00:00:00Z\")")
        }
        () if either(&Type::Duration) && either(&Type::String) => Some("write duration(\"1h30m\")"),
        () if either(&Type::Int) && either(&Type::Double) => Some("convert the int with double()"),
        () if operator != Binary::In && either(&Type::String) && (left.is_number() || right.is_number()) => {
            Some("convert the text with int() or double()")
        }
        () => None,
    }
}
