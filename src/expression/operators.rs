//! Evaluates comparisons, calculations and the operator `in`.

use std::cmp::Ordering;

use super::{
    error::Failure,
    evaluate::{Evaluation, WRONG_TYPE},
    node::{Binary, Node, Value},
};

const OVERFLOW: Failure = Failure::Other("the result of a calculation is out of range");

impl Evaluation<'_> {
    pub(super) fn binary(&mut self, operator: Binary, [left, right]: &[Node; 2]) -> Result<Value, Failure> {
        let (left, right) = (self.value(left)?, self.value(right)?);
        let is = |result: Option<Ordering>, expected: &[Ordering]| {
            Value::Bool(result.is_some_and(|order| expected.contains(&order)))
        };
        Ok(match operator {
            Binary::Equal => Value::Bool(self.equal(&left, &right)?),
            Binary::NotEqual => Value::Bool(!self.equal(&left, &right)?),
            Binary::In => Value::Bool(self.contains(&right, &left)?),
            Binary::Less => is(self.order(&left, &right)?, &[Ordering::Less]),
            Binary::LessEqual => is(self.order(&left, &right)?, &[Ordering::Less, Ordering::Equal]),
            Binary::Greater => is(self.order(&left, &right)?, &[Ordering::Greater]),
            Binary::GreaterEqual => is(self.order(&left, &right)?, &[Ordering::Greater, Ordering::Equal]),
            _ => return calculate(operator, &left, &right),
        })
    }

    pub(super) fn negate(&mut self, operand: &Node) -> Result<Value, Failure> {
        match self.value(operand)? {
            Value::Int(int) => int.checked_neg().map(Value::Int).ok_or(OVERFLOW),
            Value::Double(double) => Ok(Value::Double(-double)),
            _ => Err(WRONG_TYPE),
        }
    }
}

fn calculate(operator: Binary, left: &Value, right: &Value) -> Result<Value, Failure> {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => ints(operator, *left, *right),
        (Value::Double(left), Value::Double(right)) => Ok(Value::Double(match operator {
            Binary::Add => left + right,
            Binary::Subtract => left - right,
            Binary::Multiply => left * right,
            Binary::Divide => left / right,
            _ => return Err(WRONG_TYPE),
        })),
        _ => times(operator, left, right),
    }
}

fn ints(operator: Binary, left: i64, right: i64) -> Result<Value, Failure> {
    if matches!(operator, Binary::Divide | Binary::Remainder) && right == 0 {
        return Err(Failure::Other("a number is divided by zero"));
    }
    let result = match operator {
        Binary::Add => left.checked_add(right),
        Binary::Subtract => left.checked_sub(right),
        Binary::Multiply => left.checked_mul(right),
        Binary::Divide => left.checked_div(right),
        Binary::Remainder => left.checked_rem(right),
        _ => return Err(WRONG_TYPE),
    };
    result.map(Value::Int).ok_or(OVERFLOW)
}

fn times(operator: Binary, left: &Value, right: &Value) -> Result<Value, Failure> {
    let result = match (operator, left, right) {
        (Binary::Add, Value::Timestamp(at), Value::Duration(by))
        | (Binary::Add, Value::Duration(by), Value::Timestamp(at)) => {
            at.checked_add(*by).ok().map(Value::Timestamp)
        }
        (Binary::Subtract, Value::Timestamp(at), Value::Duration(by)) => {
            at.checked_sub(*by).ok().map(Value::Timestamp)
        }
        (Binary::Subtract, Value::Timestamp(end), Value::Timestamp(start)) => {
            Some(Value::Duration(end.duration_since(*start)))
        }
        (Binary::Add, Value::Duration(left), Value::Duration(right)) => {
            left.checked_add(*right).map(Value::Duration)
        }
        (Binary::Subtract, Value::Duration(left), Value::Duration(right)) => {
            left.checked_sub(*right).map(Value::Duration)
        }
        _ => return Err(WRONG_TYPE),
    };
    result.ok_or(OVERFLOW)
}
