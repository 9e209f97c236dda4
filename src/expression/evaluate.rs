//! Evaluates an expression within a budget of steps.
//!
//! Each visit of a node is a step. Work on texts and comparisons of list elements cost more steps. If the budget is
//! used up, the evaluation ends at once. An operator such as `||` can ignore other failures of an operand, but not this
//! failure.

use super::{
    error::Failure,
    inputs::Inputs,
    node::{Function, Loop, LoopKind, Node, Selected, Value},
};

/// An operand has a type that the operator does not take. The checker cannot find this error if the operand has the
/// type `Dyn`, or if an input does not have the type of its schema.
pub(super) const WRONG_TYPE: Failure =
    Failure::Other("a value has a type that the operator or function does not take");

const OUT_OF_RANGE: Failure = Failure::Other("the index is not in the list");

pub(super) struct Evaluation<'a> {
    inputs: &'a Inputs,
    /// The values of the loop variables, the outermost loop first.
    pub(super) locals: Vec<Value>,
    steps: u64,
}

impl<'a> Evaluation<'a> {
    pub(super) fn new(inputs: &'a Inputs, steps: u64) -> Self {
        Self { inputs, locals: Vec::new(), steps }
    }

    pub(super) const fn left(&self) -> u64 {
        self.steps
    }

    pub(super) fn charge(&mut self, steps: u64) -> Result<(), Failure> {
        let left = self.steps.checked_sub(steps);
        self.steps = left.unwrap_or(0);
        left.map(drop).ok_or(Failure::TooExpensive)
    }

    /// Takes one step from the budget for each 64 bytes of a text with `bytes` bytes.
    pub(super) fn charge_bytes(&mut self, bytes: usize) -> Result<(), Failure> {
        self.charge(u64::try_from(bytes / 64).unwrap_or(u64::MAX))
    }

    pub(super) fn is_true(&mut self, node: &Node) -> Result<bool, Failure> {
        if let Value::Bool(bool) = self.value(node)? { Ok(bool) } else { Err(WRONG_TYPE) }
    }

    /// Evaluates `node` for an operator that can ignore a failure of its operand. The inner error is a failure that the
    /// operator can ignore. The outer error is [`Failure::TooExpensive`], which must end the evaluation.
    pub(super) fn attempt(&mut self, node: &Node) -> Result<Result<bool, Failure>, Failure> {
        match self.is_true(node) {
            Err(Failure::TooExpensive) => Err(Failure::TooExpensive),
            other => Ok(other),
        }
    }

    pub(super) fn value(&mut self, node: &Node) -> Result<Value, Failure> {
        self.charge(1)?;
        match node {
            Node::Constant(value) => Ok(value.clone()),
            Node::Variable(name) => {
                self.inputs.get(name).cloned().ok_or_else(|| Failure::NoSuchField(name.clone()))
            }
            Node::Local(depth) => self.locals.get(*depth).cloned().ok_or(WRONG_TYPE),
            Node::Select(from, selected) => self.select(from, selected),
            Node::Has(from, selected) => self.has(from, selected).map(Value::Bool),
            Node::Index(operands) => self.index(operands),
            Node::Not(operand) => self.is_true(operand).map(|bool| Value::Bool(!bool)),
            Node::Negate(operand) => self.negate(operand),
            Node::Logic(deciding, operands) => self.logic(*deciding, operands).map(Value::Bool),
            Node::Conditional(parts) => self.conditional(parts),
            Node::Binary(operator, operands) => self.binary(*operator, operands),
            Node::List(elements) => {
                let elements: Result<_, _> = elements.iter().map(|element| self.value(element)).collect();
                elements.map(Value::List)
            }
            Node::Loop(inner) => self.run_loop(inner),
            Node::Call(function, operands) => self.call(*function, operands),
            Node::Matches(text, pattern) => {
                let Value::Text(text) = self.value(text)? else { return Err(WRONG_TYPE) };
                self.charge(pattern.steps(&text))?;
                Ok(Value::Bool(pattern.matches(&text)))
            }
        }
    }

    fn select(&mut self, from: &Node, selected: &Selected) -> Result<Value, Failure> {
        let Value::Map(map) = self.value(from)? else { return Err(WRONG_TYPE) };
        map.get(&selected.name).cloned().ok_or_else(|| {
            let name = selected.name.to_string();
            if selected.is_key { Failure::NoSuchKey(Some(name)) } else { Failure::NoSuchField(name) }
        })
    }

    fn has(&mut self, from: &Node, selected: &Selected) -> Result<bool, Failure> {
        let Value::Map(map) = self.value(from)? else { return Err(WRONG_TYPE) };
        Ok(map.contains_key(&selected.name))
    }

    fn index(&mut self, [from, index]: &[Node; 2]) -> Result<Value, Failure> {
        match (self.value(from)?, self.value(index)?) {
            (Value::List(list), Value::Int(index)) => {
                let element = usize::try_from(index).ok().and_then(|index| list.get(index));
                element.cloned().ok_or(OUT_OF_RANGE)
            }
            (Value::Map(map), Value::Text(key)) => {
                self.charge_bytes(key.len())?;
                // A key that the expression computes can be secret, so the failure does not show such a key.
                let shown = || matches!(index, Node::Constant(_)).then(|| key.to_string());
                map.get(&key).cloned().ok_or_else(|| Failure::NoSuchKey(shown()))
            }
            _ => Err(WRONG_TYPE),
        }
    }

    fn logic(&mut self, deciding: bool, [left, right]: &[Node; 2]) -> Result<bool, Failure> {
        let left = self.attempt(left)?;
        if left == Ok(deciding) {
            return Ok(deciding);
        }
        let right = self.attempt(right)?;
        if right == Ok(deciding) { right } else { left.and(right) }
    }

    fn conditional(&mut self, [condition, then, otherwise]: &[Node; 3]) -> Result<Value, Failure> {
        let chosen = if self.is_true(condition)? { then } else { otherwise };
        self.value(chosen)
    }

    fn call(&mut self, function: Function, operands: &[Node]) -> Result<Value, Failure> {
        match operands {
            [operand] => {
                let operand = self.value(operand)?;
                self.charge_bytes(text_bytes(&operand))?;
                function.of(&operand)
            }
            [text, part] => {
                let (Value::Text(text), Value::Text(part)) = (self.value(text)?, self.value(part)?) else {
                    return Err(WRONG_TYPE);
                };
                self.charge_bytes(text.len().saturating_add(part.len()))?;
                function.of_texts(&text, &part)
            }
            _ => Err(WRONG_TYPE),
        }
    }
}

impl Evaluation<'_> {
    /// Evaluates a loop. A loop over a map visits the keys in sorted order.
    fn run_loop(&mut self, inner: &Loop) -> Result<Value, Failure> {
        match self.value(&inner.range)? {
            Value::List(list) => self.over(inner, list.iter().cloned()),
            Value::Map(map) => self.over(inner, map.keys().map(|key| Value::Text(key.clone()))),
            _ => Err(WRONG_TYPE),
        }
    }

    fn over(&mut self, inner: &Loop, elements: impl Iterator<Item = Value>) -> Result<Value, Failure> {
        let depth = self.locals.len();
        let result = match inner.kind {
            LoopKind::All => self.decide(inner, elements, false).map(Value::Bool),
            LoopKind::Exists => self.decide(inner, elements, true).map(Value::Bool),
            LoopKind::ExistsOne => self.count(inner, elements).map(|count| Value::Bool(count == 1)),
            LoopKind::Map => self.collect(inner, elements),
        };
        // After a failure, `locals` still has the loop variable.
        self.locals.truncate(depth);
        result
    }

    /// Evaluates the body for each element, and returns `deciding` as soon as a result is `deciding`. Otherwise,
    /// returns the first failure. Without a failure, returns the opposite of `deciding`.
    fn decide(
        &mut self,
        inner: &Loop,
        elements: impl Iterator<Item = Value>,
        deciding: bool,
    ) -> Result<bool, Failure> {
        let mut failure = None;
        for element in elements {
            self.locals.push(element);
            let depth = self.locals.len();
            let result = self.attempt(&inner.body)?;
            self.locals.truncate(depth - 1);
            match result {
                Ok(bool) if bool == deciding => return Ok(deciding),
                Ok(_) => {}
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(!deciding), Err)
    }

    fn count(&mut self, inner: &Loop, elements: impl Iterator<Item = Value>) -> Result<usize, Failure> {
        let mut count = 0;
        for element in elements {
            self.locals.push(element);
            count += usize::from(self.is_true(&inner.body)?);
            self.locals.pop();
        }
        Ok(count)
    }

    /// The values of the body for the elements that meet the condition. Each value costs at least one step, so the
    /// budget bounds the size of the list.
    fn collect(&mut self, inner: &Loop, elements: impl Iterator<Item = Value>) -> Result<Value, Failure> {
        let mut values = Vec::new();
        for element in elements {
            self.locals.push(element);
            let is_included = match &inner.condition {
                Some(condition) => self.is_true(condition)?,
                None => true,
            };
            if is_included {
                values.push(self.value(&inner.body)?);
            }
            self.locals.pop();
        }
        Ok(Value::List(values.into()))
    }
}

fn text_bytes(value: &Value) -> usize {
    if let Value::Text(text) = value { text.len() } else { 0 }
}
